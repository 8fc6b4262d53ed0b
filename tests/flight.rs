//! The single flight: F1–F10.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    error::Error as StdError,
    fmt,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::{BearerAuthLayer, Error, ErrorKind, Token, TokenCache, token::TokenRequest};

use self::support::{Api, TokenEndpoint, answer, get, settle, token};

const SECOND: Duration = Duration::from_secs(1);

/// Promise: F1
#[tokio::test(start_paused = true)]
async fn ten_thousand_cold_requests_make_one_token_request_and_carry_one_token() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t1"]);
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());

    let mut requests = JoinSet::new();
    for _ in 0..10_000 {
        requests.spawn(service.clone().oneshot(get("/")));
    }
    while let Some(response) = requests.join_next().await {
        assert_eq!(response.unwrap().unwrap().status(), 200);
    }

    assert_eq!(endpoint.token_requests(), 1);
    let tokens = api.tokens();
    assert_eq!(tokens.len(), 10_000);
    assert!(tokens.iter().all(|token| token == "t1"));
}

/// Promise: F2
#[tokio::test(start_paused = true)]
async fn a_dropped_first_caller_leaves_the_flight_flying() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t1"]);
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());

    let mut first = task::spawn(service.clone().oneshot(get("/first")));
    assert_pending!(first.poll());
    settle().await;
    assert_eq!(endpoint.token_requests(), 1, "it started the token request");
    let other = tokio::spawn(service.clone().oneshot(get("/other")));
    settle().await;
    drop(first);

    assert_eq!(other.await.unwrap().unwrap().status(), 200);
    assert_eq!(endpoint.token_requests(), 1);
    assert_eq!(api.calls().len(), 1);
}

/// Promise: F3
#[tokio::test(start_paused = true)]
async fn a_token_request_that_every_caller_left_completes_and_its_token_is_kept() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());

    let mut callers: Vec<_> = (0..10).map(|_| task::spawn(cache.get())).collect();
    for caller in &mut callers {
        assert_pending!(caller.poll());
    }
    drop(callers);
    settle().await;
    assert_eq!(alive_tasks(), 1, "the token request goes on alone");
    sleep(SECOND * 2).await;

    assert_eq!(alive_tasks(), 0, "and leaves no task behind");
    let before = Instant::now();
    assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t1");
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(endpoint.token_requests(), 1);
}

/// Promise: F3
#[tokio::test(start_paused = true)]
async fn a_token_request_that_fails_after_every_caller_left_is_over_and_the_next_call_does_not_hang()
 {
    let endpoint = TokenEndpoint::new(|post| async move {
        sleep(SECOND).await;
        match post {
            1 => answer(503, ""),
            _ => token("t2", 3600),
        }
    });
    let cache = TokenCache::new(endpoint.credentials());

    let mut caller = task::spawn(cache.get());
    assert_pending!(caller.poll());
    drop(caller);
    // Past the token request and the first step of the backoff.
    sleep(SECOND * 3).await;

    assert_eq!(alive_tasks(), 0);
    assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t2");
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: F4
#[tokio::test(start_paused = true)]
async fn waiters_that_time_out_leave_the_others_untouched_and_wait_no_longer_than_they_said() {
    let endpoint = TokenEndpoint::healthy(SECOND * 5);
    let cache = TokenCache::new(endpoint.credentials());
    let started = Instant::now();

    let mut impatient = JoinSet::new();
    let mut patient = JoinSet::new();
    for _ in 0..200 {
        let cache = cache.clone();
        if fastrand::bool() {
            impatient.spawn(async move { timeout(SECOND * 2, cache.get()).await.is_err() });
        } else {
            patient.spawn(async move { cache.get().await });
        }
    }
    while let Some(timed_out) = impatient.join_next().await {
        assert!(timed_out.unwrap());
        assert_eq!(started.elapsed(), SECOND * 2);
    }
    while let Some(token) = patient.join_next().await {
        assert_eq!(bearer(&token.unwrap().unwrap()), "Bearer t1");
    }
    assert_eq!(started.elapsed(), SECOND * 5);
    assert_eq!(endpoint.token_requests(), 1);
}

/// Promise: F5
#[tokio::test(start_paused = true)]
async fn a_failed_token_request_fails_all_its_waiters_at_once_with_one_error() {
    let endpoint = TokenEndpoint::new(|_| async {
        sleep(SECOND).await;
        answer(400, r#"{"error":"invalid_scope"}"#)
    });
    let cache = TokenCache::new(endpoint.credentials());
    let started = Instant::now();

    let mut waiters = JoinSet::new();
    for _ in 0..1000 {
        let cache = cache.clone();
        waiters.spawn(async move { cache.get().await });
    }
    while let Some(outcome) = waiters.join_next().await {
        let error = outcome.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert_eq!(error.oauth_code(), Some("invalid_scope"));
        // The token request's own error, and not that of a later caller who was told to wait.
        assert_eq!(error.retry_after(), None);
    }
    assert_eq!(started.elapsed(), SECOND);
    assert_eq!(endpoint.token_requests(), 1);
}

/// Promise: F6
#[tokio::test(start_paused = true)]
async fn a_panicking_source_fails_its_waiters_and_the_next_call_starts_anew() {
    for place in ["poll_ready", "call", "future"] {
        let source = PanicsOnce::at(place);
        let token_requests = Arc::clone(&source.token_requests);
        let cache = TokenCache::new(source);

        let mut waiters: Vec<_> = (0..100).map(|_| task::spawn(cache.get())).collect();
        for waiter in &mut waiters {
            assert_pending!(waiter.poll());
        }
        for waiter in waiters {
            let error = waiter.await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Interrupted, "{place}");
            assert!(error.to_string().contains("panicked"), "{error}");
        }
        assert_eq!(token_requests.load(SeqCst), 1, "{place}");

        assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer after");
        assert_eq!(token_requests.load(SeqCst), 2, "{place}");
    }
}

/// Promise: F6
#[tokio::test(start_paused = true)]
async fn a_source_that_always_panics_is_backed_off_from() {
    let token_requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&token_requests);
    let cache = TokenCache::new(service_fn(move |_: TokenRequest| {
        counted.fetch_add(1, SeqCst);
        async { panic!("always") as Result<Token, Error> }
    }));
    for _ in 0..1000 {
        cache.get().await.unwrap_err();
    }
    assert_eq!(token_requests.load(SeqCst), 2);
}

/// Promise: F7
#[tokio::test(start_paused = true)]
async fn a_hanging_token_request_ends_for_all_waiters_together_at_its_own_deadline() {
    let endpoint = TokenEndpoint::new(|_| pending());
    let cache = TokenCache::new(endpoint.credentials());
    let started = Instant::now();

    let mut waiters = JoinSet::new();
    for waiter in 0..10 {
        let cache = cache.clone();
        waiters.spawn(async move {
            sleep(SECOND * waiter / 2).await;
            cache.get().await
        });
    }
    // Callers that left long before are none that the deadline ended.
    let mut gone = task::spawn(cache.get());
    assert_pending!(gone.poll());
    drop(gone);

    while let Some(outcome) = waiters.join_next().await {
        assert_eq!(outcome.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(started.elapsed(), SECOND * 10);
    }
    assert_eq!(endpoint.token_requests(), 1);
    assert_eq!(alive_tasks(), 0);
}

/// Promise: F8
#[test]
fn a_runtime_that_is_shut_down_during_a_token_request_fails_no_waiter_of_another() {
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => pending().await,
            _ => token("t2", 3600),
        }
    });
    let cache = TokenCache::new(endpoint.credentials());
    let doomed = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let ours = Builder::new_current_thread().enable_all().build().unwrap();

    let mut first = task::spawn(cache.get());
    doomed.block_on(async { assert_pending!(first.poll()) });
    let (join, joined) = mpsc::channel();
    let waiting = thread::spawn({
        let cache = cache.clone();
        move || {
            ours.block_on(async {
                let mut waiter = task::spawn(cache.get());
                assert_pending!(waiter.poll());
                join.send(()).unwrap();
                (waiter.await, cache.get().await)
            })
        }
    });
    joined.recv().unwrap();
    while endpoint.token_requests() == 0 {
        thread::yield_now();
    }
    drop(doomed);

    // The waiter's own runtime lives, so it starts anew and never hears of it.
    let (waited, next) = waiting.join().unwrap();
    assert_eq!(bearer(&waited.unwrap()), "Bearer t2");
    assert_eq!(bearer(&next.unwrap()), "Bearer t2");
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: F8
#[test]
fn a_call_within_a_runtime_that_is_shutting_down_fails_and_does_not_hang() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let cache = TokenCache::new(endpoint.credentials());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    drop(runtime);

    // `spawn` on a runtime that is gone drops the task at once, within the call.
    let _within = handle.enter();
    let mut call = task::spawn(cache.get());
    let Poll::Ready(Err(error)) = call.poll() else {
        panic!("it should have ended");
    };
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(endpoint.token_requests(), 0);
}

/// Promise: F8
#[test]
fn a_call_without_a_runtime_is_an_error() {
    let cache = TokenCache::new(TokenEndpoint::healthy(SECOND).credentials());
    let Poll::Ready(Err(error)) = task::spawn(cache.get()).poll() else {
        panic!("it should have ended");
    };
    assert_eq!(error.kind(), ErrorKind::NoRuntime);
}

/// Promise: F9
#[tokio::test(start_paused = true)]
async fn clones_of_a_layer_and_of_its_services_share_one_token() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t1"]);
    let layer = BearerAuthLayer::new(endpoint.credentials());
    let one = layer.layer(api.service());
    let two = layer.clone().layer(api.service());

    for service in [&one, &one.clone(), &two] {
        let response = service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(endpoint.token_requests(), 1);
}

/// Promise: F9
#[tokio::test(start_paused = true)]
async fn two_layers_on_one_cache_share_its_token() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t1"]);
    let cache = TokenCache::new(endpoint.credentials());
    for _ in 0..2 {
        let layer = BearerAuthLayer::from_cache(cache.clone());
        let service = layer.layer(api.service());
        assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 200);
    }
    assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t1");
    assert_eq!(endpoint.token_requests(), 1);
}

/// User code that comes back to the cache from wherever it is called: a lock held there would never be given back.
///
/// Promise: F10
#[test]
fn no_user_code_runs_under_a_lock() {
    within_ten_seconds(|| {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let cell = Known::default();
            let source = Reentrant {
                cache: Arc::clone(&cell),
            };
            let cache = TokenCache::new(source);
            *cell.lock().unwrap() = Some(cache.clone());
            let known = Token::new("known").unwrap();

            // A waker that comes back.
            let waker = Waker::from(Arc::new(ReentrantWaker(cache.clone())));
            let mut waiter = Box::pin(cache.get());
            let pending = waiter.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(pending.is_pending());

            // An error whose destructor comes back: the second failure displaces the first, the success the second.
            cache.get().await.unwrap_err();
            sleep(SECOND * 2).await;
            cache.get().await.unwrap_err();
            sleep(SECOND * 4).await;
            assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer third");
            drop(waiter);
            cache.invalidate(&known);
            // A source that knows its own cache keeps it: the two would stay.
            let itself = cell.lock().unwrap().take();
            drop(itself);
        });
    });
}

/// Calls the cache in `poll_ready`, in `call`, in its future and when its error is dropped. Fails twice.
struct Reentrant {
    cache: Known,
}

/// The cache that is come back to, for as long as the test is at it.
type Known = Arc<Mutex<Option<TokenCache>>>;

static REENTRANT_CALLS: AtomicUsize = AtomicUsize::new(0);

impl Service<TokenRequest> for Reentrant {
    type Response = Token;
    type Error = ReentrantError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Token, ReentrantError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ReentrantError>> {
        come_back(&self.cache);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: TokenRequest) -> Self::Future {
        come_back(&self.cache);
        let cache = Arc::clone(&self.cache);
        Box::pin(async move {
            come_back(&cache);
            match REENTRANT_CALLS.fetch_add(1, SeqCst) {
                0 | 1 => Err(ReentrantError(cache)),
                _ => Ok(Token::new("third").unwrap()),
            }
        })
    }
}

struct ReentrantError(Known);

impl Drop for ReentrantError {
    fn drop(&mut self) {
        come_back(&self.0);
    }
}

impl fmt::Debug for ReentrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReentrantError")
    }
}

impl fmt::Display for ReentrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not yet")
    }
}

impl StdError for ReentrantError {}

struct ReentrantWaker(TokenCache);

impl Wake for ReentrantWaker {
    fn wake(self: Arc<Self>) {
        self.0.invalidate(&Token::new("unknown").unwrap());
    }
}

fn come_back(cache: &Known) {
    let Some(cache) = cache.lock().unwrap().clone() else {
        return;
    };
    cache.invalidate(&Token::new("unknown").unwrap());
    if Handle::try_current().is_ok() {
        let _ = task::spawn(cache.get()).poll();
    }
}

/// Panics the first time it comes to `place`, gives a token after that.
struct PanicsOnce {
    place: &'static str,
    token_requests: Arc<AtomicUsize>,
}

impl PanicsOnce {
    fn at(place: &'static str) -> Self {
        Self {
            place,
            token_requests: Arc::default(),
        }
    }
}

impl Service<TokenRequest> for PanicsOnce {
    type Response = Token;
    type Error = Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Token, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let first = self.token_requests.fetch_add(1, SeqCst) == 0;
        assert!(!(first && self.place == "poll_ready"), "in poll_ready");
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: TokenRequest) -> Self::Future {
        let first = self.token_requests.load(SeqCst) == 1;
        assert!(!(first && self.place == "call"), "in call");
        Box::pin(async move {
            assert!(!first, "in the future");
            Token::new("after")
        })
    }
}

fn bearer(token: &Token) -> &str {
    token.authorization().to_str().unwrap()
}

fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// A deadlock fails the test instead of hanging it.
fn within_ten_seconds(test: impl FnOnce() + Send + 'static) {
    let (done, over) = mpsc::channel();
    let test = thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match over.recv_timeout(SECOND * 10) {
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => test.join().unwrap(),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("a deadlock"),
    }
}
