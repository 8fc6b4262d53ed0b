//! What a cache tells of itself, and keeping it warm, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use tokio::{
    runtime::{Builder, Handle},
    time::{advance, sleep},
};
use tokio_test::{assert_pending, assert_ready, task};
use tower_bearer::{ErrorKind, TokenCache, cache::TokenState};

use self::support::{TokenEndpoint, answer, settle, token};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_cache_tells_the_stages_of_its_token() {
    let endpoint = TokenEndpoint::new(|post| async move {
        sleep(SECOND).await;
        match post {
            1 => token("t1", 1000),
            _ => answer(503, ""),
        }
    });
    let cache = TokenCache::new(endpoint.credentials());
    assert_eq!(cache.state().token(), TokenState::Absent);
    assert!(!cache.state().is_usable());

    let mut get = task::spawn(cache.get());
    assert_pending!(get.poll());
    assert!(cache.state().is_requesting());
    get.await.unwrap();
    let state = cache.state();
    assert!(!state.is_requesting());
    assert!(state.error().is_none());
    // Born a second ago.
    let usable_for = near(999);
    assert!(
        matches!(state.token(), TokenState::Fresh { usable_for: left } if usable_for.contains(&left))
    );

    advance(SECOND * 900).await;
    assert!(matches!(cache.state().token(), TokenState::Stale { .. }));
    cache.get().await.unwrap();
    sleep(SECOND * 1).await;
    settle().await;
    let state = cache.state();
    assert!(state.is_usable());
    let error = state.error().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.retry_after().unwrap() <= SECOND);

    advance(SECOND * 100).await;
    assert_eq!(cache.state().token(), TokenState::Expired);
    assert!(!cache.state().is_usable());
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_after_each_token_request_and_each_invalidation() {
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 1000),
            _ => answer(503, ""),
        }
    });
    let cache = TokenCache::new(endpoint.credentials());
    let mut changes = cache.changes();
    let mut next = task::spawn(changes.next());
    assert_pending!(next.poll());

    let first = cache.get().await.unwrap();
    assert!(next.is_woken());
    assert!(assert_ready!(next.poll()).is_usable());
    drop(next);

    let mut next = task::spawn(changes.next());
    assert_pending!(next.poll());
    cache.invalidate(&first);
    assert_eq!(assert_ready!(next.poll()).token(), TokenState::Absent);
    drop(next);

    cache.get().await.unwrap_err();
    let state = changes.next().await;
    assert_eq!(state.error().unwrap().kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn warming_gets_the_token_before_anybody_needs_it() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    cache.get().await.unwrap();
    cache.get().await.unwrap();
    assert_eq!(endpoint.token_requests(), 1);
}

/// Promise: L10
#[tokio::test(start_paused = true)]
async fn nothing_runs_for_an_idle_cache() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    cache.get().await.unwrap();
    settle().await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    sleep(SECOND * 100_000).await;
    assert_eq!(endpoint.token_requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_kept_warm_is_refreshed_when_it_is_due_and_not_more_often() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    cache.keep_warm().unwrap();
    cache.keep_warm().unwrap();
    settle().await;
    assert_eq!(
        Handle::current().metrics().num_alive_tasks(),
        2,
        "one task, and its token request"
    );

    // A hundred hours of tokens that are good for one, refreshed at three quarters to 85 % of it.
    for _ in 0..1000 {
        sleep(SECOND * 360).await;
        let state = cache.state();
        let fresh = matches!(state.token(), TokenState::Fresh { .. });
        assert!(fresh || state.is_usable() && state.is_requesting());
    }
    assert!(
        (117..=134).contains(&endpoint.token_requests()),
        "{}",
        endpoint.token_requests()
    );
}

#[tokio::test(start_paused = true)]
async fn a_cache_kept_warm_backs_off_like_any_other() {
    let endpoint = TokenEndpoint::new(|_| async { answer(503, "") });
    let cache = TokenCache::new(endpoint.credentials());
    cache.keep_warm().unwrap();
    sleep(SECOND * 3600).await;
    // Steps up to 60 s, of which a tenth to all is waited.
    assert!(
        (60..=300).contains(&endpoint.token_requests()),
        "{}",
        endpoint.token_requests()
    );
}

#[tokio::test(start_paused = true)]
async fn keeping_warm_ends_with_the_last_handle() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    cache.keep_warm().unwrap();
    sleep(SECOND * 2).await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
    let other = cache.clone();
    drop(cache);
    settle().await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
    drop(other);
    settle().await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    sleep(SECOND * 10_000).await;
    assert_eq!(endpoint.token_requests(), 1);
}

/// The first is gone before the token is due.
///
/// Promise: F14
#[test]
fn keeping_warm_goes_on_in_another_runtime_when_its_own_is_gone() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    for (seconds, token_requests) in [(10, 1), (3100, 2)] {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            cache.keep_warm().unwrap();
            sleep(SECOND * seconds).await;
        });
        assert_eq!(endpoint.token_requests(), token_requests);
    }
}

#[test]
fn keeping_warm_without_a_runtime_is_an_error() {
    let cache = TokenCache::new(TokenEndpoint::healthy(SECOND).credentials());
    assert_eq!(cache.keep_warm().unwrap_err().kind(), ErrorKind::NoRuntime);
}

/// A token of 1,000 s. The shorter of the margin's two bounds counts: before it the token is used at once, and in it a caller
/// waits for the next.
///
/// Promise: L2, L13
#[tokio::test(start_paused = true)]
async fn the_hard_margin_is_the_longest_that_was_set_or_the_fraction_if_that_is_shorter() {
    for (longest, fraction, age, expected) in [
        (5, 0.5, 994, "Bearer t1"),
        (5, 0.5, 996, "Bearer t2"),
        (900, 0.2, 799, "Bearer t1"),
        (900, 0.2, 801, "Bearer t2"),
    ] {
        let endpoint = TokenEndpoint::new(|post| async move { token(&format!("t{post}"), 1000) });
        let cache = TokenCache::builder(endpoint.credentials())
            .hard_margin(SECOND * longest, fraction)
            .refresh_at(0.5, 0.0)
            .build()
            .unwrap();
        cache.get().await.unwrap();
        advance(SECOND * age).await;
        let token = cache.get().await.unwrap();
        assert_eq!(token.authorization(), expected, "at {age} s");
    }
}

#[test]
fn numbers_that_make_no_sense_are_told_when_a_cache_is_built() {
    let builder = || TokenCache::builder(TokenEndpoint::healthy(SECOND).credentials());
    let zero = Duration::ZERO;
    for (builder, told) in [
        (
            builder().token_request_timeout(zero),
            "token request timeout is zero",
        ),
        (builder().default_lifetime(zero), "default lifetime is zero"),
        (builder().refresh_at(1.5, 0.0), "the refresh point is 1.5"),
        (
            builder().refresh_at(f64::NAN, 0.0),
            "the refresh point is NaN",
        ),
        (builder().refresh_at(0.8, 0.3), "a jitter of 0.3"),
        (builder().refresh_at(0.8, -0.1), "a jitter of -0.1"),
        (builder().hard_margin(SECOND, 0.9), "a hard margin of 0.9"),
        (
            builder().longest_retry_after(Duration::MAX),
            "longer than a year",
        ),
        (
            builder().rejection_cool_down(SECOND, Duration::MAX),
            "longer than a year",
        ),
        (
            builder().transient_backoff(zero, SECOND),
            "backoff after transient failures",
        ),
        (
            builder().permanent_backoff(SECOND, zero),
            "backoff after permanent failures",
        ),
        (
            builder().rejection_cool_down(SECOND * 2, SECOND),
            "backoff after rejected tokens",
        ),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(told), "{error}");
    }
    builder().build().unwrap();
}

fn near(seconds: u64) -> std::ops::RangeInclusive<Duration> {
    let exact = Duration::from_secs(seconds);
    // The wall clock goes on while Tokio's stands still.
    exact - SECOND..=exact
}
