//! What a warm request costs, and a credential that waits for one: counted, not timed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    alloc::System,
    convert::Infallible,
    future::{Ready, ready},
    num::NonZeroUsize,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Full;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::runtime::Builder;
use tower::{BoxError, Layer, Service, service_fn, util::BoxCloneService};
use tower_bearer::{
    BearerAuthLayer, Token, TokenCache,
    cache::Keyed,
    replay::NoReplay,
    token::{FixedToken, TokenRequest},
};

/// Counts what is allocated.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Body = Full<Bytes>;
type Answer = Response<Body>;

#[test]
fn a_warm_request_that_cannot_be_sent_again_allocates_nothing() {
    let _alone = alone();
    let once = warm().replay(NoReplay).layer(service_fn(answer));
    assert_eq!(allocations(once), allocations(service_fn(answer)));
}

#[test]
fn a_warm_request_that_can_be_sent_again_allocates_once() {
    let _alone = alone();
    let twice = warm().layer(service_fn(answer));
    assert_eq!(allocations(twice), allocations(service_fn(answer)) + 1);
}

#[test]
fn a_request_under_way_takes_no_more_room_than_half_as_much_again_as_it_is_large() {
    let _alone = alone();
    let most = size_of::<Request<Body>>() * 3 / 2;
    // One that is as small as a client's can be, one that holds its answer, and one that holds its request.
    let boxed = BoxCloneService::new(service_fn(answer));
    let holding = service_fn(async |request: Request<Body>| {
        drop(request);
        Ok::<_, Infallible>(Answer::default())
    });
    for (over, what) in [
        (room_over(boxed), "boxed"),
        (room_over(service_fn(answer)), "ready"),
        (room_over(holding), "holding"),
    ] {
        assert!(over <= most, "{what}: {over} bytes of {most}");
    }
}

/// A client's clone is most of what a warm request could cost over a socket.
#[test]
fn requests_share_a_clone_of_the_service_below_and_a_retry_has_one_of_its_own() {
    let _alone = alone();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let clones = Arc::<AtomicUsize>::default();
        let tokens = AtomicUsize::new(0);
        let source = service_fn(move |_: TokenRequest| {
            ready(Token::new(format!("t{}", tokens.fetch_add(1, SeqCst))))
        });
        let layer = BearerAuthLayer::new(source);
        layer.cache().get().await.unwrap();
        let mut service = layer.layer(Counted(Arc::clone(&clones)));
        for _ in 0..100 {
            assert_eq!(service.call(request()).await.unwrap().status(), 200);
        }
        assert_eq!(clones.swap(0, SeqCst), 1);
        for _ in 0..100 {
            // What `oneshot` does, and many clients.
            let mut one = service.clone();
            assert_eq!(one.call(request()).await.unwrap().status(), 200);
        }
        assert_eq!(clones.swap(0, SeqCst), 100);
        let mut rejected = request();
        rejected
            .headers_mut()
            .insert("x-rejected", HeaderValue::from_static("t0"));
        assert_eq!(service.call(rejected).await.unwrap().status(), 200);
        assert_eq!(clones.swap(0, SeqCst), 1);
    });
}

/// Counts its clones. It rejects the token that a request says.
struct Counted(Arc<AtomicUsize>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, SeqCst);
        Self(Arc::clone(&self.0))
    }
}

impl Service<Request<Body>> for Counted {
    type Response = Answer;
    type Error = Infallible;
    type Future = Ready<Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let token = request.headers()["authorization"].to_str().unwrap();
        let rejected = request.headers().get("x-rejected");
        let mut answer = Answer::default();
        if rejected.is_some_and(|rejected| token.ends_with(rejected.to_str().unwrap())) {
            *answer.status_mut() = http::StatusCode::UNAUTHORIZED;
        }
        ready(Ok(answer))
    }
}

/// Its key, its place in the map, its cache, and all that the cache holds but for the token's own text.
#[test]
fn a_credential_takes_no_more_than_512_bytes_beyond_its_token() {
    let _alone = alone();
    // One text for all, so that it is not in the figure.
    let token: &'static Token = Box::leak(Box::new(Token::new("t".repeat(40)).unwrap()));
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let before = ALLOCATOR.stats();
    let keyed = Keyed::with_capacity(NonZeroUsize::new(12_500).unwrap(), move |_: &String| {
        let source = move |_: TokenRequest| ready(Ok::<_, Infallible>(token.clone()));
        TokenCache::new(service_fn(source))
    });
    runtime.block_on(async {
        for number in 0..10_000 {
            let key = format!("3f0c8c8e-5b7a-4c0e-9d39-{number:012}");
            keyed.get(&key).get().await.unwrap();
        }
    });
    let taken = ALLOCATOR.stats() - before;
    let bytes = (taken.bytes_allocated - taken.bytes_deallocated) / keyed.len();
    assert_eq!(keyed.len(), 10_000);
    // What events and metrics remember of it comes on top.
    let is_told_of = cfg!(any(feature = "tracing", feature = "metrics"));
    let most = if is_told_of { 512 + 160 } else { 512 };
    assert!(bytes <= most, "{bytes} bytes");
}

/// A layer that has its token.
fn warm() -> BearerAuthLayer {
    let cache = TokenCache::new(FixedToken::new("t".repeat(40)).unwrap());
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(cache.get()).unwrap();
    BearerAuthLayer::from_cache(cache)
}

fn answer(_: Request<Body>) -> Ready<Result<Answer, Infallible>> {
    ready(Ok(Answer::default()))
}

/// How often one request allocates.
fn allocations<S>(mut service: S) -> usize
where
    S: Service<Request<Body>, Response = Answer, Error: Into<BoxError>>,
{
    let mut call = || {
        let request = request();
        let before = ALLOCATOR.stats();
        let response = pin!(service.call(request));
        let Poll::Ready(answer) = response.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it waits for something");
        };
        let taken = ALLOCATOR.stats() - before;
        assert!(answer.is_ok());
        taken.allocations + taken.reallocations
    };
    // The one in the middle, for now and then the test runner allocates at the same time.
    let mut each: Vec<_> = (0..101).map(|_| call()).collect();
    each.sort_unstable();
    each[50]
}

/// How much larger the future of a request is than that of the service below.
fn room_over<S>(mut service: S) -> usize
where
    S: Service<Request<Body>, Response = Answer, Error: Into<BoxError>> + Clone,
{
    let below = size_of_val(&service.call(request()));
    size_of_val(&warm().layer(service).call(request())) - below
}

/// Six headers and 256 bytes of body, as a caller makes it: no part of it has been cloned yet.
fn request() -> Request<Body> {
    // With room for the header that comes: that a full map grows for it is so whoever puts it there.
    let mut headers = HeaderMap::with_capacity(8);
    for (name, value) in [
        ("accept", "application/json"),
        ("accept-encoding", "gzip, br"),
        ("content-type", "application/json"),
        ("user-agent", "tower-bearer-test/1"),
        ("x-request-id", "7f9c24e8-3b12-4fef-91e0-5a2b6c7d8e9f"),
        ("x-tenant", "6f1c"),
    ] {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    let body = Full::new(Bytes::from_static(&[b'x'; 256]));
    let mut request = Request::post("/ecommerce/public/6f1c/cart")
        .body(body)
        .unwrap();
    *request.headers_mut() = headers;
    request
}

/// One at a time, for the memory is the process's.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}
