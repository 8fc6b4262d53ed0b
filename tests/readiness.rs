//! A request that is not sent: what it reserved of the service below is given back, and its body is dropped.

#![cfg(feature = "tonic")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Request, Response};
use tokio::time::Instant;
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit,
    service_fn,
};
use tower_bearer::{
    BearerAuthLayer, Error, ErrorKind, TokenCache, adapter::tonic::GrpcAuthLayer, replay::NoReplay,
    select::RequestHead,
};

use self::support::{Api, Body, TokenEndpoint, answer, get};

const SECOND: Duration = Duration::from_secs(1);

/// Promise: S8
#[tokio::test(start_paused = true)]
async fn a_request_that_is_denied_gives_its_permit_back() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t1"]);
    let limited = ConcurrencyLimit::new(api.service(), 1);
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(limited.clone());
    for _ in 0..2 {
        let error = call(&mut service, in_the_clear()).await.unwrap_err();
        assert_eq!(kind(error), ErrorKind::NotAllowed);
        // The service lives on, and so does its clone.
        assert_free(&limited);
        assert_free(&service.clone());
    }
    assert_eq!(call(&mut service, get("/")).await.unwrap().status(), 200);
    assert_eq!(api.calls().len(), 1);
}

/// Promise: S8
#[tokio::test(start_paused = true)]
async fn a_request_that_is_denied_gives_its_place_in_a_buffer_back() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t1"]);
    let buffered: Buffer<Request<Body>, _> = Buffer::new(api.service(), 1);
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(buffered.clone());
    let error = call(&mut service, in_the_clear()).await.unwrap_err();
    assert_eq!(kind(error), ErrorKind::NotAllowed);
    assert_free(&buffered);
}

/// Promise: S8
#[tokio::test(start_paused = true)]
async fn requests_that_are_denied_use_up_nothing_of_a_rate_limit() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let api = Api::accepting(["t1"]);
    let limited = ServiceBuilder::new()
        .buffer(1)
        .rate_limit(1, SECOND * 60)
        .service(api.service());
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(limited);
    for _ in 0..3 {
        call(&mut service, in_the_clear()).await.unwrap_err();
    }
    let started = Instant::now();
    call(&mut service, get("/")).await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
    call(&mut service, get("/")).await.unwrap();
    assert!(started.elapsed() >= SECOND * 60, "it is limited");
}

/// Promise: S8
#[tokio::test(start_paused = true)]
async fn a_grpc_call_that_is_denied_gives_its_permit_back() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let channel = service_fn(|_: Request<tonic::body::Body>| async {
        Ok::<_, Infallible>(Response::new(tonic::body::Body::empty()))
    });
    let limited = ConcurrencyLimit::new(channel, 1);
    let mut service = GrpcAuthLayer::new(endpoint.credentials())
        .select(|_: &RequestHead<'_>| None)
        .deny_unselected()
        .layer(limited.clone());
    let request = Request::new(tonic::body::Body::empty());
    let call = service.ready().await.unwrap().call(request);
    assert!(call.await.is_err());
    let mut other = limited.clone();
    let mut ready = spawn(ServiceExt::<Request<tonic::body::Body>>::ready(&mut other));
    let _ = assert_ready!(ready.poll());
}

/// Promise: S6, S8
#[tokio::test(start_paused = true)]
async fn a_request_for_which_no_token_comes_gives_its_permit_back_at_once() {
    let endpoint = TokenEndpoint::new(|_| async { answer(400, r#"{"error":"invalid_scope"}"#) });
    let api = Api::accepting(["t1"]);
    let limited = ConcurrencyLimit::new(api.service(), 1);
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(limited.clone());
    let mut response = Box::pin(service.ready().await.unwrap().call(get("/")));
    let error = response.as_mut().await.unwrap_err();
    assert_eq!(kind(error), ErrorKind::Denied);
    // Before the future is dropped.
    assert_free(&limited);
    drop(response);
    assert_eq!((endpoint.token_requests(), api.calls().len()), (1, 0));
}

/// Promise: S8
#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_while_it_waits_gives_its_permit_back() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t1"]);
    let limited = ConcurrencyLimit::new(api.service(), 1);
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(limited.clone());
    let mut response = spawn(service.ready().await.unwrap().call(get("/")));
    assert_pending!(response.poll());
    assert_taken(&limited);
    drop(response);
    assert_free(&limited);
    assert_eq!(call(&mut service, get("/")).await.unwrap().status(), 200);
    assert_eq!(endpoint.token_requests(), 1);
}

/// Promise: S6
#[tokio::test(start_paused = true)]
async fn a_body_for_which_no_token_comes_is_dropped_once_and_at_once() {
    let endpoint = TokenEndpoint::new(|_| async { answer(400, r#"{"error":"invalid_scope"}"#) });
    let cache = TokenCache::new(endpoint.credentials());
    let sent = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&sent);
    let api = service_fn(move |_: Request<Counted>| {
        counted.fetch_add(1, SeqCst);
        async { Ok::<_, Infallible>(Response::new(Body::default())) }
    });
    let mut service = BearerAuthLayer::from_cache(cache)
        .replay(NoReplay)
        .layer(api);
    // The first one asks, and the second one is told of the backoff.
    for _ in 0..2 {
        let dropped = Arc::<AtomicUsize>::default();
        let request = Request::get("https://api.test/")
            .body(Counted(Arc::clone(&dropped)))
            .unwrap();
        let mut response = Box::pin(service.ready().await.unwrap().call(request));
        assert_eq!(dropped.load(SeqCst), 0);
        response.as_mut().await.unwrap_err();
        assert_eq!(dropped.load(SeqCst), 1, "before the future is dropped");
        drop(response);
        assert_eq!(dropped.load(SeqCst), 1);
    }
    assert_eq!((endpoint.token_requests(), sent.load(SeqCst)), (1, 0));
}

/// A body that counts how often it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn in_the_clear() -> Request<Body> {
    Request::get("http://api.test/")
        .body(Body::default())
        .unwrap()
}

async fn call<S>(service: &mut S, request: Request<Body>) -> Result<Response<Body>, BoxError>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError>,
{
    service.ready().await?.call(request).await
}

fn kind(error: BoxError) -> ErrorKind {
    error.downcast::<Error>().unwrap().kind()
}

/// Another request can be sent.
fn assert_free<S: Service<Request<Body>> + Clone>(service: &S) {
    let mut service = service.clone();
    let is_ready = assert_ready!(spawn(service.ready()).poll()).is_ok();
    assert!(is_ready);
}

/// Another request has to wait.
fn assert_taken<S: Service<Request<Body>> + Clone>(service: &S) {
    let mut service = service.clone();
    assert!(spawn(service.ready()).poll().is_pending());
}
