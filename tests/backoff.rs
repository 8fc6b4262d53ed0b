//! What a failed token request costs, and whom: F15, L2, L11 and L15, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Request, Response};
use tokio::{
    task::JoinSet,
    time::{Instant, advance, sleep},
};
use tower::service_fn;
use tower_bearer::{
    ClientCredentials, Error, ErrorKind, Token, TokenCache, cache::TokenState, token::TokenRequest,
};

use self::support::{Body, TokenEndpoint, answer, settle, token};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn busy(status: u16, retry_after: u32, body: &str) -> Response<Body> {
    let mut busy = answer(status, body);
    busy.headers_mut().insert("retry-after", retry_after.into());
    busy
}

/// Promise: F15, F5
#[tokio::test(start_paused = true)]
async fn one_failure_in_passing_on_a_cold_cache_fails_none_of_a_thousand_requests() {
    for status in [502, 503, 504] {
        let endpoint = TokenEndpoint::new(move |post| async move {
            sleep(MILLISECOND * 80).await;
            match post {
                1 => answer(status, ""),
                _ => token("t", 3600),
            }
        });
        let cache = TokenCache::new(endpoint.credentials());
        a_thousand_requests(&cache).await;
        assert_eq!(endpoint.token_requests(), 2);
    }
}

/// Promise: F15
#[tokio::test(start_paused = true)]
async fn one_connection_that_breaks_on_a_cold_cache_fails_none_of_a_thousand_requests() {
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&posts);
    let transport = service_fn(move |_: Request<Body>| {
        let post = counted.fetch_add(1, SeqCst);
        async move {
            sleep(MILLISECOND * 80).await;
            match post {
                0 => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
                _ => Ok(token("t", 3600)),
            }
        }
    });
    let source = ClientCredentials::builder("https://auth.test/token", "id", "secret")
        .build_with(transport)
        .unwrap();
    a_thousand_requests(&TokenCache::new(source)).await;
    assert_eq!(posts.load(SeqCst), 2);
}

/// A hundred a second.
async fn a_thousand_requests(cache: &TokenCache) {
    let mut requests = JoinSet::new();
    for _ in 0..1000 {
        let cache = cache.clone();
        requests.spawn(async move { cache.get().await });
        sleep(MILLISECOND * 10).await;
    }
    while let Some(got) = requests.join_next().await {
        got.unwrap().unwrap();
    }
}

/// Promise: F15
#[tokio::test(start_paused = true)]
async fn only_what_passes_by_itself_is_tried_again_and_no_more_than_once() {
    let cases = [
        (503, None, "", 2),
        (503, Some(1), "", 1),
        (500, None, "", 1),
        (429, None, "", 1),
        (400, None, r#"{"error":"invalid_scope"}"#, 1),
        (401, None, r#"{"error":"invalid_client"}"#, 1),
        (200, None, "no JSON", 1),
    ];
    for (status, retry_after, body, posts) in cases {
        let endpoint = TokenEndpoint::new(move |_| async move {
            match retry_after {
                Some(retry_after) => busy(status, retry_after, body),
                None => answer(status, body),
            }
        });
        let cache = TokenCache::new(endpoint.credentials());
        cache.get().await.unwrap_err();
        assert_eq!(endpoint.token_requests(), posts, "{status} {body}");
    }
}

/// An error that is not this crate's says nothing about the server.
///
/// Promise: F15
#[tokio::test(start_paused = true)]
async fn a_source_of_ones_own_that_fails_is_called_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let cache = TokenCache::new(service_fn(move |_: TokenRequest| {
        counted.fetch_add(1, SeqCst);
        async { Err::<Token, _>(io::Error::from(io::ErrorKind::ConnectionReset)) }
    }));
    assert_eq!(cache.get().await.unwrap_err().kind(), ErrorKind::Source);
    assert_eq!(calls.load(SeqCst), 1);
}

/// Promise: F15, L3
#[tokio::test(start_paused = true)]
async fn a_refresh_in_the_background_is_not_tried_again() {
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 3600),
            _ => answer(503, ""),
        }
    });
    let cache = TokenCache::new(endpoint.credentials());
    cache.get().await.unwrap();
    advance(SECOND * 3100).await;
    cache.get().await.unwrap();
    sleep(SECOND).await;
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: F15, F7
#[tokio::test(start_paused = true)]
async fn the_second_attempt_has_what_the_first_left_of_the_time_and_does_not_come_at_once() {
    let mut pauses = Vec::new();
    for seed in 0..100 {
        fastrand::seed(seed);
        let begun = Instant::now();
        let again = Arc::new(AtomicUsize::new(0));
        let endpoint = {
            let again = Arc::clone(&again);
            TokenEndpoint::new(move |post| {
                let again = Arc::clone(&again);
                async move {
                    if post == 1 {
                        sleep(SECOND * 6).await;
                        return answer(503, "");
                    }
                    let pause = begun.elapsed() - SECOND * 6;
                    again.store(pause.as_millis() as usize, SeqCst);
                    pending().await
                }
            })
        };
        let cache = TokenCache::new(endpoint.credentials());
        assert_eq!(cache.get().await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(begun.elapsed(), SECOND * 10);
        assert_eq!(endpoint.token_requests(), 2);
        pauses.push(again.load(SeqCst));
    }
    pauses.sort_unstable();
    assert!(pauses[0] >= 100 && pauses[99] <= 202, "{pauses:?}");
    assert!(pauses[99] - pauses[0] > 60, "{pauses:?}");
}

/// What is left of the backoff of many caches after so many failures of this kind, in milliseconds, from the least on.
async fn backoffs(failures: usize, fails: fn() -> Response<Body>) -> Vec<u128> {
    let mut delays = Vec::new();
    for seed in 0..200 {
        fastrand::seed(seed);
        let endpoint = TokenEndpoint::new(move |_| async move { fails() });
        let cache = TokenCache::new(endpoint.credentials());
        for failure in 1..=failures {
            cache.get().await.unwrap_err();
            let left = || cache.state().error().unwrap().retry_after().unwrap();
            let delay = left();
            // Drawn once, and not for each who asks.
            advance(MILLISECOND * 5).await;
            assert_eq!(left(), delay - MILLISECOND * 5);
            match failure == failures {
                true => delays.push(delay.as_millis()),
                false => advance(delay).await,
            }
        }
    }
    delays.sort_unstable();
    delays
}

/// Promise: L11
#[tokio::test(start_paused = true)]
async fn backoffs_of_many_caches_are_spread_over_their_step_and_none_is_below_a_tenth() {
    let transient = || answer(500, "");
    let permanent = || answer(400, r#"{"error":"invalid_scope"}"#);
    for (failures, fails, step) in [
        (1, transient as fn() -> _, 1000),
        (3, transient, 4000),
        (1, permanent as fn() -> _, 30_000),
        (2, permanent, 60_000),
    ] {
        let delays = backoffs(failures, fails).await;
        assert!(delays[0] >= step / 10 - 1, "{delays:?}");
        assert!(delays[199] <= step, "{delays:?}");
        assert!(
            delays[0] < step / 5 && delays[199] > step * 9 / 10,
            "{delays:?}"
        );
        let middle = delays[100];
        assert!(
            (step * 4 / 10..step * 7 / 10).contains(&middle),
            "{delays:?}"
        );
    }
}

/// Promise: L11
#[tokio::test(start_paused = true)]
async fn a_retry_after_shortens_no_backoff_and_no_backoff_comes_before_it() {
    // In milliseconds: what was asked for, and the step.
    let cases = [
        (5, (|| busy(503, 10, "")) as fn() -> _, 10_000, 16_000),
        (
            1,
            || busy(400, 10, r#"{"error":"invalid_scope"}"#),
            10_000,
            30_000,
        ),
    ];
    for (failures, fails, asked, step) in cases {
        let delays = backoffs(failures, fails).await;
        assert_eq!(delays[0], asked);
        assert!(
            delays[199] > asked * 6 / 5 && delays[199] <= step,
            "{delays:?}"
        );
    }
    let longer = || busy(400, 120, r#"{"error":"invalid_scope"}"#);
    assert!(
        backoffs(1, longer)
            .await
            .iter()
            .all(|delay| *delay == 120_000)
    );
}

/// Promise: L11
#[tokio::test(start_paused = true)]
async fn a_server_error_is_transient_whatever_its_body_says() {
    for status in [500, 502, 503, 504] {
        let endpoint =
            TokenEndpoint::new(
                move |_| async move { answer(status, r#"{"error":"invalid_client"}"#) },
            );
        let cache = TokenCache::new(endpoint.credentials());
        let error = cache.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_transient());
        let next = cache.get().await.unwrap_err();
        assert!(next.retry_after().unwrap() <= SECOND, "{next}");
    }
}

/// A server that lets those wait who come with a wrong secret again.
///
/// Promise: L15
#[tokio::test(start_paused = true)]
async fn a_definite_answer_stays_the_cause_though_later_token_requests_time_out() {
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => answer(401, r#"{"error":"invalid_client"}"#),
            _ => pending().await,
        }
    });
    let cache = TokenCache::new(endpoint.credentials());
    let mut callers = JoinSet::new();
    for _ in 0..3600 {
        let cache = cache.clone();
        callers.spawn(async move { cache.get().await });
        sleep(SECOND).await;
    }
    while let Some(told) = callers.join_next().await {
        let error: Error = told.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert_eq!(error.oauth_code(), Some("invalid_client"));
        assert!(!error.is_transient());
    }
    // A permanent failure's first step of 3 to 30 s and the 10 s between them, and not those of an outage.
    let made = endpoint.token_requests();
    assert!((90..=278).contains(&made), "{made}");
}

/// Promise: L15, L11
#[tokio::test(start_paused = true)]
async fn a_timeout_between_two_definite_answers_does_not_start_the_backoff_anew() {
    let mut delays = Vec::new();
    for seed in 0..100 {
        fastrand::seed(seed);
        let endpoint = TokenEndpoint::new(|post| async move {
            match post {
                3 => pending().await,
                _ => answer(401, r#"{"error":"invalid_client"}"#),
            }
        });
        let cache = TokenCache::new(endpoint.credentials());
        for post in 1..=4 {
            cache.get().await.unwrap_err();
            assert_eq!(endpoint.token_requests(), post);
            let delay = cache.state().error().unwrap().retry_after().unwrap();
            match post {
                4 => delays.push(delay.as_secs()),
                _ => advance(delay).await,
            }
        }
    }
    delays.sort_unstable();
    // The third step, of 120 s. The first has 30.
    assert!(delays[0] >= 11 && delays[99] <= 120, "{delays:?}");
    assert!(delays[99] > 100, "{delays:?}");
}

/// Promise: L2
#[tokio::test(start_paused = true)]
async fn each_token_has_a_refresh_point_of_its_own_and_only_one() {
    let mut points = Vec::new();
    for seed in 0..100 {
        fastrand::seed(seed);
        let endpoint = TokenEndpoint::healthy(Duration::ZERO);
        let cache = TokenCache::new(endpoint.credentials());
        cache.get().await.unwrap();
        let born = Instant::now();
        let mut became_stale = None;
        while born.elapsed() < SECOND * 3300 {
            advance(SECOND * 6).await;
            let is_stale = matches!(cache.state().token(), TokenState::Stale { .. });
            match became_stale {
                None if is_stale => became_stale = Some(born.elapsed().as_secs()),
                None => {}
                Some(at) => assert!(is_stale, "no more so after {at} s"),
            }
        }
        points.push(became_stale.unwrap());
    }
    points.sort_unstable();
    assert!(points[0] >= 2700 && points[99] <= 3066, "{points:?}");
    assert!(points[0] < 2750 && points[99] > 3010, "{points:?}");
    assert!((2820..2940).contains(&points[50]), "{points:?}");
}

/// Promise: L2, L7
#[tokio::test(start_paused = true)]
async fn the_refresh_point_is_counted_from_before_the_token_request() {
    let endpoint = TokenEndpoint::new(|_| async {
        sleep(SECOND * 4).await;
        token("t", 100)
    });
    let cache = TokenCache::builder(endpoint.credentials())
        .refresh_at(0.8, 0.0)
        .build()
        .unwrap();
    let asked = Instant::now();
    cache.get().await.unwrap();
    advance(SECOND * 80 - asked.elapsed() - MILLISECOND * 5).await;
    cache.get().await.unwrap();
    settle().await;
    assert_eq!(endpoint.token_requests(), 1);
    advance(MILLISECOND * 10).await;
    cache.get().await.unwrap();
    settle().await;
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: L11, L15
#[tokio::test(start_paused = true)]
async fn an_error_in_the_backoff_tells_the_failure_and_when_the_next_token_request_is_allowed() {
    let endpoint = TokenEndpoint::new(async |_| answer(401, r#"{"error":"invalid_client"}"#));
    let cache = TokenCache::new(endpoint.credentials());
    let failure = cache.get().await.unwrap_err();
    let later = cache.get().await.unwrap_err();

    let left = later.retry_after().unwrap().as_secs_f64();
    assert_eq!(
        later.to_string(),
        format!("no token: {failure}; the next token request is allowed in {left:.1} s")
    );
    assert!(
        failure.to_string().contains("401 invalid_client"),
        "{failure}"
    );
    assert_eq!(later.client_id(), failure.client_id());
    assert_eq!(later.oauth_code(), Some("invalid_client"));
    assert_eq!(endpoint.token_requests(), 1);

    // Its time is told once, whoever hands it on.
    let shared = cache.clone();
    let above = TokenCache::new(service_fn(move |_: TokenRequest| {
        let shared = shared.clone();
        async move { shared.get().await }
    }));
    above.get().await.unwrap_err();
    let error = above.get().await.unwrap_err().to_string();
    assert_eq!(error.matches("no token: ").count(), 1, "{error}");
    assert_eq!(error.matches("is allowed in").count(), 1, "{error}");
}
