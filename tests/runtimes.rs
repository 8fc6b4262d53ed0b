//! Runtimes that stop, stall and end, and threads without one: F11–F14, F16 and F17.
//!
//! Where two runtimes meet, time is real. The bounds are far above what a healthy machine takes, and far below what a caller waits
//! who is left alone: ten seconds, or for ever.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    future::pending,
    pin::{Pin, pin},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle, Id, Runtime},
    task::JoinSet,
    time::{Instant, advance, sleep, timeout},
};
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, Error, ErrorKind, Token, TokenCache,
    replay::NoReplay,
    token::{TokenRequest, TokenSource},
};

use self::support::{Api, TokenEndpoint, answer, get, lock, settle, token};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A token request of a healthy server.
const TOOK: Duration = Duration::from_millis(80);

/// Another runtime's silence costs a caller this, and a token request.
const PROMISED: Duration = Duration::from_millis(1080);

/// Only a failure takes that long.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the abandoned token request brings late, a token or an error, is not looked at.
///
/// Promise: F11, F13
#[test]
fn a_caller_takes_over_a_token_request_from_a_runtime_that_nobody_drives() {
    let healthy = multi_thread();
    for late_end in [200, 503] {
        soon_enough(|| {
            let endpoint = TokenEndpoint::new(move |post| async move {
                sleep(TOOK).await;
                match post {
                    1 => answer(late_end, r#"{"access_token":"t1","expires_in":3600}"#),
                    _ => token(&format!("t{post}"), 3600),
                }
            });
            let cache = TokenCache::new(endpoint.credentials());
            let undriven = current_thread();
            let left = undriven.block_on(async { timeout(MILLISECOND * 10, cache.get()).await });
            left.unwrap_err();
            assert_eq!(endpoint.token_requests(), 1);

            let (got, took) = healthy.block_on(timed(cache.get()));
            assert_eq!(bearer(&got.unwrap()), "Bearer t2");

            undriven.block_on(async { sleep(TOOK * 2).await });
            assert_eq!(
                bearer(&undriven.block_on(cache.get()).unwrap()),
                "Bearer t2"
            );
            assert!(cache.state().error().is_none());
            assert_eq!(endpoint.token_requests(), 2);
            took
        });
    }
}

/// Promise: F11
#[test]
fn a_refresh_that_an_idle_runtime_was_left_with_holds_up_nobody_when_the_token_ends() {
    let healthy = multi_thread();
    soon_enough(|| {
        let (source, calls) = short_tokens(TOOK, SECOND);
        let cache = refreshed_at(source, 0.05).build().unwrap();
        let idle = current_thread();
        idle.block_on(cache.get()).unwrap();
        // Real time, until the refresh point: a runtime that nobody drives has no clock that could be paused.
        thread::sleep(MILLISECOND * 60);
        idle.block_on(async {
            cache.get().await.unwrap();
            settle().await;
        });
        assert_eq!(calls.load(SeqCst), 2, "the refresh is under way");
        thread::sleep(SECOND);

        let callers = (0..20).map(|_| {
            let cache = cache.clone();
            healthy.spawn(async move { timed(cache.get()).await })
        });
        let callers: Vec<_> = callers.collect();
        let mut longest = Duration::ZERO;
        for caller in callers {
            let (got, took) = healthy.block_on(caller).unwrap();
            assert_eq!(bearer(&got.unwrap()), "Bearer t3");
            longest = longest.max(took);
        }
        assert_eq!(calls.load(SeqCst), 3);
        longest
    });
}

/// Promise: F11
#[test]
fn a_thread_that_blocks_during_a_token_request_holds_up_nobody_elsewhere() {
    let healthy = multi_thread();
    soon_enough(|| {
        let endpoint = TokenEndpoint::healthy(TOOK);
        let cache = TokenCache::new(endpoint.credentials());
        let (release, released) = mpsc::channel();
        let (block, blocked) = mpsc::channel();
        let blocking = thread::spawn({
            let (cache, endpoint) = (cache.clone(), endpoint.clone());
            move || {
                current_thread().block_on(async {
                    let mut caller = task::spawn(cache.get());
                    assert_pending!(caller.poll());
                    settle().await;
                    assert_eq!(endpoint.token_requests(), 1);
                    block.send(()).unwrap();
                    released.recv_timeout(PATIENCE).unwrap();
                    caller.await
                })
            }
        });
        blocked.recv().unwrap();
        let (got, took) = healthy.block_on(timed(cache.get()));
        release.send(()).unwrap();

        assert_eq!(bearer(&got.unwrap()), "Bearer t2");
        let got = blocking.join().unwrap();
        assert_eq!(
            bearer(&got.unwrap()),
            "Bearer t2",
            "nor itself, once it goes on"
        );
        assert_eq!(endpoint.token_requests(), 2);
        took
    });
}

/// Promise: F11, F7
#[test]
fn a_hanging_source_ends_for_each_caller_within_its_own_time() {
    let cache = TokenCache::builder(TokenEndpoint::new(|_| pending()).credentials())
        .token_request_timeout(SECOND)
        .build()
        .unwrap();
    let undriven = current_thread();
    let left = undriven.block_on(async { timeout(MILLISECOND * 10, cache.get()).await });
    left.unwrap_err();

    // The second comes while the first takes over, and the third after that.
    multi_thread().block_on(async {
        let mut callers = JoinSet::new();
        for caller in 0..3 {
            let cache = cache.clone();
            callers.spawn(async move {
                sleep(MILLISECOND * 400 * caller).await;
                timed(cache.get()).await
            });
        }
        while let Some(ended) = callers.join_next().await {
            let (got, took) = ended.unwrap();
            assert_eq!(got.unwrap_err().kind(), ErrorKind::Timeout);
            assert!(took < SECOND * 19 / 10, "{took:?}");
        }
    });
}

/// Promise: F12
#[test]
fn no_waiter_hears_of_the_end_of_runtimes_that_are_not_its_own() {
    let doomed: Vec<_> = (0..4).map(|_| multi_thread()).collect();
    let asked = Asked::default();
    let ids: Vec<_> = doomed.iter().map(|runtime| runtime.handle().id()).collect();
    let cache = TokenCache::new(asked.source_that_hangs_on(ids));
    let mut first = task::spawn(cache.get());
    doomed[0].block_on(async { assert_pending!(first.poll()) });
    let wait_on = |runtime: &Runtime| {
        let cache = cache.clone();
        runtime.spawn(async move { cache.get().await })
    };
    let _others: Vec<_> = doomed[1..].iter().map(wait_on).collect();
    let ours = multi_thread();
    let callers: Vec<_> = (0..50).map(|_| wait_on(&ours)).collect();

    eventually(|| asked.count() > 0);
    drop(doomed);
    for caller in callers {
        ours.block_on(caller).unwrap().unwrap();
    }
    assert_eq!(asked.last(), ours.handle().id());
}

/// As a static client has it under `#[tokio::test]`, where each test has a runtime.
///
/// Promise: F12
#[test]
fn a_static_cache_serves_many_short_runtimes_one_after_the_other_and_at_once() {
    static CACHE: LazyLock<TokenCache> = LazyLock::new(|| {
        let (source, _) = short_tokens(MILLISECOND * 8, SECOND);
        refreshed_at(source, 0.02).build().unwrap()
    });
    let tests = || {
        for _ in 0..150 {
            current_thread().block_on(async {
                CACHE.get().await.unwrap();
                settle().await;
            });
            thread::sleep(MILLISECOND * 5);
        }
    };
    tests();
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(tests)).collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_cache_that_is_built_outside_any_runtime_is_used_in_two() {
    let endpoint = TokenEndpoint::healthy(MILLISECOND);
    let cache = TokenCache::new(endpoint.credentials());
    for runtime in [current_thread(), multi_thread()] {
        assert_eq!(bearer(&runtime.block_on(cache.get()).unwrap()), "Bearer t1");
    }
    assert_eq!(endpoint.token_requests(), 1);
    let refreshed = current_thread().block_on(cache.refresh()).unwrap();
    assert_eq!(bearer(&refreshed), "Bearer t2");
    assert_eq!(
        bearer(&multi_thread().block_on(cache.get()).unwrap()),
        "Bearer t2"
    );
}

/// A synchronous facade: its runtime stands still from one call to the next, for longer in all than a token request may take,
/// with a refresh that was left on it.
///
/// Promise: F13
#[test]
fn a_facade_that_blocks_on_each_call_fails_none() {
    const LIFETIME: Duration = Duration::from_millis(1500);
    let facade = || {
        let (source, calls) = short_tokens(MILLISECOND * 8, LIFETIME);
        let cache = refreshed_at(source, 0.05)
            .token_request_timeout(MILLISECOND * 800)
            .build()
            .unwrap();
        let runtime = current_thread();
        for call in 0..70 {
            let got = runtime.block_on(cache.get());
            assert!(got.is_ok(), "call {call}: {got:?}");
            assert!(cache.state().error().is_none(), "call {call}");
            thread::sleep(MILLISECOND * 60);
        }
        assert!(calls.load(SeqCst) > 2);
    };
    let facades: Vec<_> = (0..8).map(|_| thread::spawn(facade)).collect();
    for facade in facades {
        facade.join().unwrap();
    }
}

/// Promise: F13
#[test]
fn a_runtime_for_each_call_fails_none() {
    let (source, _) = short_tokens(MILLISECOND * 8, SECOND);
    let cache = refreshed_at(source, 0.02).build().unwrap();
    for call in 0..400 {
        let runtime = Runtime::new().unwrap();
        let got = runtime.block_on(cache.get());
        assert!(got.is_ok(), "call {call}: {got:?}");
        assert!(cache.state().error().is_none(), "call {call}");
        drop(runtime);
        thread::sleep(MILLISECOND * 4);
    }
}

/// As AWS Lambda freezes one between two calls. The connection does not survive it.
///
/// Promise: F13
#[tokio::test(start_paused = true)]
async fn a_process_that_is_frozen_during_a_refresh_fails_no_call_when_it_goes_on() {
    // For how long, with tokens that are good for an hour and refreshed after 45 to 51 minutes.
    for frozen in [5, 60, 1000, 86_400].map(Duration::from_secs) {
        let endpoint = TokenEndpoint::new(|post| async move {
            match post {
                2 => pending().await,
                _ => token(&format!("t{post}"), 3600),
            }
        });
        let cache = TokenCache::new(endpoint.credentials());
        cache.get().await.unwrap();
        advance(SECOND * 3100).await;
        cache.get().await.unwrap();
        settle().await;
        assert_eq!(endpoint.token_requests(), 2, "the refresh is under way");

        advance(frozen).await;
        let before = Instant::now();
        for call in 0..300 {
            let got = cache.get().await;
            assert!(got.is_ok(), "{call} after {frozen:?}: {got:?}");
            assert!(cache.state().error().is_none(), "{call} after {frozen:?}");
            sleep(SECOND / 10).await;
        }
        assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t3");
        assert_eq!(endpoint.token_requests(), 3);
        assert!(before.elapsed() < SECOND * 41, "{:?}", before.elapsed());
    }
}

/// Promise: F14
#[test]
fn a_token_is_kept_warm_until_the_last_runtime_that_was_asked_for_it_is_gone() {
    let asked = Asked::default();
    let cache = TokenCache::builder(asked.source(MILLISECOND * 400))
        .refresh_at(0.3, 0.05)
        .build()
        .unwrap();
    let (first, second) = (multi_thread(), multi_thread());
    for runtime in [&first, &second] {
        let _within = runtime.enter();
        cache.keep_warm().unwrap();
    }
    eventually(|| asked.count() >= 2);
    drop(first);
    let before = asked.count();
    eventually(|| asked.count() >= before + 3);
    drop(second);

    let before = asked.count();
    // Nothing runs any more, so this is no race.
    thread::sleep(MILLISECOND * 500);
    assert_eq!(asked.count(), before);
    let third = multi_thread();
    let _within = third.enter();
    cache.keep_warm().unwrap();
    eventually(|| asked.count() >= before + 3);
    assert_eq!(asked.last(), third.handle().id());
}

/// Promise: F14
#[test]
fn whoever_keeps_a_token_warm_makes_its_token_requests_on_that_runtime() {
    let asked = Asked::default();
    let cache = TokenCache::builder(asked.source(SECOND * 3600))
        .build()
        .unwrap();
    let first = multi_thread();
    {
        let _within = first.enter();
        cache.keep_warm().unwrap();
    }
    eventually(|| cache.state().is_usable());
    assert_eq!((asked.count(), asked.last()), (1, first.handle().id()));
    drop(first);

    let token = current_thread().block_on(cache.get()).unwrap();
    cache.invalidate(&token);
    let second = multi_thread();
    {
        let _within = second.enter();
        cache.keep_warm().unwrap();
    }
    eventually(|| cache.state().is_usable());
    assert_eq!((asked.count(), asked.last()), (2, second.handle().id()));
}

/// One that looked again at once would never let this test's time move on, and hang it.
///
/// Promise: F14, L3
#[test]
fn keeping_warm_backs_off_while_the_token_is_good_and_goes_on_after_that() {
    within(PATIENCE * 4, || {
        let endpoint = TokenEndpoint::new(|post| async move {
            match post {
                1 => token("t1", 3600),
                _ => answer(503, ""),
            }
        });
        let paused = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        paused.unwrap().block_on(async {
            let cache = TokenCache::new(endpoint.credentials());
            cache.keep_warm().unwrap();
            // Until 30 s before its end: 509 to 870 s of steps up to 1, 2, 4 … 60 s, of which a tenth is left at least.
            sleep(SECOND * 3570).await;
            let made = endpoint.token_requests() - 1;
            assert!((10..=100).contains(&made), "{made}");
            assert!(cache.state().is_usable());

            // And for an hour without a token: one that gave up would make none, and one that spins thousands.
            sleep(SECOND * 3600).await;
            let made = endpoint.token_requests() - 1 - made;
            assert!((60..=400).contains(&made), "{made}");
        });
    });
}

/// Promise: F16
#[test]
fn every_way_in_says_what_to_do_on_a_thread_without_a_runtime() {
    every_way_in(|mut call| match call.as_mut().poll(&mut noop()) {
        Poll::Ready(ended) => ended,
        Poll::Pending => panic!("nobody wakes it"),
    });
}

/// Promise: F16
#[test]
fn every_way_in_says_what_to_do_on_a_runtime_without_timers() {
    let threads = || {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).build()
    };
    for runtime in [Builder::new_current_thread().build(), threads()] {
        let runtime = runtime.unwrap();
        every_way_in(|call| runtime.block_on(call));
    }
}

/// Promise: F16
#[test]
fn a_call_without_a_runtime_harms_none_that_has_one() {
    let endpoint = TokenEndpoint::healthy(MILLISECOND);
    let cache = TokenCache::new(endpoint.credentials());
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(cache.get()).unwrap_err();
    block_on(cache.get()).unwrap_err();
    assert!(cache.state().error().is_none());
    assert_eq!(
        bearer(&current_thread().block_on(cache.get()).unwrap()),
        "Bearer t1"
    );
    // With a token there is nothing to run.
    assert_eq!(bearer(&block_on(cache.get()).unwrap()), "Bearer t1");
    assert_eq!(endpoint.token_requests(), 1);
}

/// Promise: F17
#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_polled_late_is_given_no_token_that_was_invalidated_meanwhile() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    let api = Api::accepting(["t1", "t2"]);
    let service = BearerAuthLayer::from_cache(cache.clone()).layer(api.service());
    let mut late = task::spawn(cache.get());
    let mut refresh = task::spawn(cache.refresh());
    let mut request = task::spawn(service.oneshot(get("/")));
    assert_pending!(late.poll());
    assert_pending!(refresh.poll());
    assert_pending!(request.poll());

    let first = cache.get().await.unwrap();
    assert_eq!(bearer(&first), "Bearer t1");
    cache.invalidate(&first);

    assert_pending!(late.poll());
    assert_pending!(refresh.poll());
    assert_eq!(bearer(&late.await.unwrap()), "Bearer t2");
    assert_eq!(bearer(&refresh.await.unwrap()), "Bearer t2");
    assert_eq!(request.await.unwrap().status(), 200);
    assert_eq!(api.tokens(), ["t2"]);
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: F17
#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_polled_late_is_given_the_newer_token_and_none_that_ended_meanwhile() {
    let endpoint = TokenEndpoint::new(|post| async move {
        sleep(SECOND).await;
        token(&format!("t{post}"), 4)
    });
    let cache = TokenCache::new(endpoint.credentials());
    let mut late = task::spawn(cache.get());
    let mut later = task::spawn(cache.get());
    assert_pending!(late.poll());
    assert_pending!(later.poll());

    cache.get().await.unwrap();
    cache.refresh().await.unwrap();
    assert_eq!(bearer(&late.await.unwrap()), "Bearer t2");
    assert_eq!(endpoint.token_requests(), 2);

    advance(SECOND * 5).await;
    assert_eq!(bearer(&later.await.unwrap()), "Bearer t3");
}

/// A rejection of its token that somebody else met costs no token request for each waiter, and where no other token comes the
/// rejected one is all there is.
///
/// Promise: F17, R6
#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_polled_late_is_given_no_token_that_is_being_replaced_for_a_rejection() {
    let other = (
        200,
        r#"{"access_token":"t2","expires_in":3600}"#,
        "Bearer t2",
    );
    let none = (400, r#"{"error":"invalid_scope"}"#, "Bearer t1");
    let same = (
        200,
        r#"{"access_token":"t1","expires_in":3600}"#,
        "Bearer t1",
    );
    for (status, body, given) in [other, none, same] {
        let endpoint = TokenEndpoint::new(move |post| async move {
            sleep(SECOND).await;
            match post {
                1 => token("t1", 3600),
                _ => answer(status, body),
            }
        });
        let cache = TokenCache::new(endpoint.credentials());
        let mut late = task::spawn(cache.get());
        assert_pending!(late.poll());
        let first = cache.get().await.unwrap();
        reject(&cache, &first).await;
        assert_eq!(endpoint.token_requests(), 2);

        assert_pending!(late.poll());
        assert_eq!(bearer(&late.await.unwrap()), given);
        assert_eq!(endpoint.token_requests(), 2);
    }
}

/// Promise: F17
#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_polled_late_is_given_no_newer_token_that_is_being_replaced_for_a_rejection()
 {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    let mut late = task::spawn(cache.get());
    let mut refresh = task::spawn(cache.refresh());
    assert_pending!(late.poll());
    assert_pending!(refresh.poll());
    let first = cache.get().await.unwrap();
    cache.invalidate(&first);
    let second = cache.get().await.unwrap();
    reject(&cache, &second).await;

    assert_pending!(late.poll());
    assert_pending!(refresh.poll());
    assert_eq!(bearer(&late.await.unwrap()), "Bearer t3");
    assert_eq!(endpoint.token_requests(), 3);
}

/// Sends a request that the API rejects, so that a token request is under way for another token.
async fn reject(cache: &TokenCache, token: &Token) {
    let api = Api::default();
    let layer = BearerAuthLayer::from_cache(cache.clone()).replay(NoReplay);
    let rejected = layer.layer(api.service()).oneshot(get("/")).await;
    assert_eq!(rejected.unwrap().status(), 401);
    assert_eq!(format!("Bearer {}", api.tokens()[0]), bearer(token));
    settle().await;
    assert!(cache.state().is_requesting());
}

/// A runtime that outlives all callers, and that token requests are made on.
mod named {
    use super::*;

    #[test]
    fn token_requests_run_on_the_runtime_that_is_named_wherever_they_are_asked_for() {
        let asked = Asked::default();
        let home = multi_thread();
        let cache = TokenCache::builder(asked.source(SECOND * 3600))
            .runtime(home.handle().clone())
            .build()
            .unwrap();

        // A thread without any runtime, one with another, and one whose runtime has no timers.
        block_on(cache.get()).unwrap();
        current_thread().block_on(cache.refresh()).unwrap();
        let no_timers = Builder::new_current_thread().build().unwrap();
        no_timers.block_on(cache.refresh()).unwrap();
        let token = block_on(cache.get()).unwrap();
        cache.invalidate(&token);
        let api = Api::accepting(["t4"]);
        let service = BearerAuthLayer::from_cache(cache.clone()).layer(api.service());
        let response = block_on(service.oneshot(get("/"))).unwrap();
        assert_eq!(response.status(), 200);
        cache.keep_warm().unwrap();

        assert_eq!(asked.count(), 4);
        let all = lock(&asked.on).clone();
        assert!(all.iter().all(|id| *id == home.handle().id()));
    }

    /// Promise: F12, L1
    #[test]
    fn a_refresh_survives_the_short_runtime_that_caused_it() {
        let asked = Asked::default();
        let home = multi_thread();
        let cache = TokenCache::builder(asked.source(SECOND * 60))
            .refresh_at(0.001, 0.0)
            .runtime(home.handle().clone())
            .build()
            .unwrap();
        current_thread().block_on(cache.get()).unwrap();
        thread::sleep(MILLISECOND * 70);
        current_thread().block_on(cache.get()).unwrap();
        eventually(|| !cache.state().is_requesting());
        assert_eq!(asked.count(), 2);
    }

    /// Promise: F11
    #[test]
    fn a_caller_waits_for_a_named_runtime_that_nobody_drives_no_longer_than_its_own_time() {
        let asked = Asked::default();
        let undriven = current_thread();
        let cache = TokenCache::builder(asked.source(SECOND * 60))
            .token_request_timeout(SECOND)
            .runtime(undriven.handle().clone())
            .build()
            .unwrap();
        let (got, took) = multi_thread().block_on(timed(cache.get()));
        assert_eq!(got.unwrap_err().kind(), ErrorKind::Timeout);
        assert!(took < SECOND * 19 / 10, "{took:?}");

        let got = undriven.block_on(cache.get());
        assert_eq!(bearer(&got.unwrap()), "Bearer t1");
        assert_eq!(asked.count(), 1);
    }
}

/// What each way in has to say where no token request can run.
fn every_way_in<F>(run: F)
where
    F: Fn(Pin<&mut dyn Future<Output = Result<(), Error>>>) -> Result<(), Error>,
{
    let endpoint = TokenEndpoint::healthy(MILLISECOND);
    let cache = TokenCache::new(endpoint.credentials());
    let layer = BearerAuthLayer::from_cache(cache.clone());
    let service = layer.layer(Api::default().service());
    let get_token = pin!(async { cache.get().await.map(drop) });
    let refresh = pin!(async { cache.refresh().await.map(drop) });
    let keep_warm = pin!(async { cache.keep_warm() });
    let request = pin!(async {
        let error = service.clone().oneshot(get("/")).await.unwrap_err();
        Err(*error.downcast::<Error>().unwrap())
    });
    let ways: [(&str, Pin<&mut dyn Future<Output = _>>); 4] = [
        ("get", get_token),
        ("refresh", refresh),
        ("keep_warm", keep_warm),
        ("a request", request),
    ];
    for (way, call) in ways {
        let error = run(call).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoRuntime, "{way}");
        let message = error.to_string();
        assert!(message.contains("enable_all"), "{way}: {message}");
    }
    assert_eq!(endpoint.token_requests(), 0);
}

/// On which runtimes a source was asked.
#[derive(Clone, Default)]
struct Asked {
    on: Arc<Mutex<Vec<Id>>>,
}

impl Asked {
    /// Gives `t1`, `t2`, …, good for `lifetime`.
    fn source(&self, lifetime: Duration) -> impl TokenSource + use<> {
        let on = Arc::clone(&self.on);
        service_fn(move |_: TokenRequest| {
            let on = Arc::clone(&on);
            async move {
                let number = {
                    let mut on = lock(&on);
                    on.push(Handle::current().id());
                    on.len()
                };
                sleep(MILLISECOND).await;
                Token::new(format!("t{number}")).map(|token| token.with_lifetime(lifetime))
            }
        })
    }

    /// Gives a token on all runtimes but these.
    fn source_that_hangs_on(&self, runtimes: Vec<Id>) -> impl TokenSource + use<> {
        let on = Arc::clone(&self.on);
        service_fn(move |_: TokenRequest| {
            let here = Handle::current().id();
            lock(&on).push(here);
            let hangs = runtimes.contains(&here);
            async move {
                match hangs {
                    true => pending().await,
                    false => Token::new("t"),
                }
            }
        })
    }

    fn count(&self) -> usize {
        lock(&self.on).len()
    }

    fn last(&self) -> Id {
        *lock(&self.on).last().unwrap()
    }
}

/// Gives `t1`, `t2`, … after `delay`, good for `lifetime`, and counts how often it is called.
fn short_tokens(
    delay: Duration,
    lifetime: Duration,
) -> (impl TokenSource + use<>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let source = service_fn(move |_: TokenRequest| {
        let call = counted.fetch_add(1, SeqCst) + 1;
        async move {
            sleep(delay).await;
            Token::new(format!("t{call}")).map(|token| token.with_lifetime(lifetime))
        }
    });
    (source, calls)
}

fn refreshed_at<S: TokenSource>(
    source: S,
    fraction: f64,
) -> tower_bearer::cache::TokenCacheBuilder<S> {
    TokenCache::builder(source).refresh_at(fraction, 0.0)
}

/// Runs it until it is as fast as promised once: on a machine that has better things to do, any one time may be longer.
fn soon_enough(mut run: impl FnMut() -> Duration) {
    let mut times = Vec::new();
    while times.len() < 5 {
        let took = run();
        assert!(took < PATIENCE, "{took:?}");
        times.push(took);
        if took <= PROMISED {
            return;
        }
    }
    panic!("{times:?}");
}

async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let before = Instant::now();
    let output = timeout(PATIENCE, future).await;
    (output.expect("it ends"), before.elapsed())
}

/// Waits for what another thread does.
fn eventually(mut is_so: impl FnMut() -> bool) {
    let before = Instant::now();
    while !is_so() {
        assert!(before.elapsed() < PATIENCE * 4);
        thread::sleep(MILLISECOND);
    }
}

/// A test that spins fails instead of running for ever.
fn within(longest: Duration, test: impl FnOnce() + Send + 'static) {
    let (done, over) = mpsc::channel();
    let test = thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match over.recv_timeout(longest) {
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => test.join().unwrap(),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it spins"),
    }
}

/// Without any runtime: parks the thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let before = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(before.elapsed() < PATIENCE * 4);
        thread::park_timeout(PATIENCE);
    }
}

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

fn bearer(token: &Token) -> &str {
    token.authorization().to_str().unwrap()
}
