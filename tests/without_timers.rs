//! F16: requests that are polled where there is no Tokio runtime, or one without timers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use http::Request;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, Error, ErrorKind, TokenCache,
    extension::{Deadline, MinValidity},
};

use self::support::{Api, Body, TokenEndpoint, get, token};

const SECOND: Duration = Duration::from_secs(1);

fn without_timers() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// Runs this in a runtime without timers, and again outside of any.
fn everywhere<T>(request: impl Fn() -> T)
where
    T: Future<Output = ()>,
{
    without_timers().block_on(request());
    let mut request = tokio_test::task::spawn(request());
    while request.poll().is_pending() {
        std::thread::yield_now();
    }
}

fn with_deadline() -> Request<Body> {
    let mut request = get("/");
    let extensions = request.extensions_mut();
    extensions.insert(Deadline::after(SECOND * 60));
    extensions.insert(MinValidity::of(SECOND * 7200));
    request
}

/// A cache that has its token, and nothing of the runtime that it comes from.
fn warm() -> TokenCache {
    let cache = TokenCache::new(endpoint().credentials());
    std::thread::scope(|scope| {
        let warm = || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(cache.get()).unwrap();
        };
        scope.spawn(warm).join().unwrap();
    });
    cache
}

fn endpoint() -> TokenEndpoint {
    TokenEndpoint::new(|post| async move { token(&format!("t{post}"), 3600) })
}

/// Promise: F16
#[test]
fn a_request_that_needs_a_token_is_an_error_that_says_what_is_missing() {
    everywhere(async || {
        let api = Api::default();
        let service = BearerAuthLayer::new(endpoint().credentials()).layer(api.service());
        for request in [get("/"), with_deadline()] {
            let error = service.clone().oneshot(request).await.unwrap_err();
            let error = error.downcast::<Error>().unwrap();
            assert_eq!(error.kind(), ErrorKind::NoRuntime);
        }
        assert_eq!(api.calls().len(), 0);
    });
}

/// Promise: F16
#[test]
fn a_rejected_request_is_its_callers_with_the_same_error() {
    for request in [get, |_: &str| with_deadline()] {
        everywhere(async || {
            let api = Api::default();
            let service = BearerAuthLayer::from_cache(warm()).layer(api.service());
            let response = service.oneshot(request("/")).await.unwrap();
            assert_eq!(response.status(), 401);
            let error = response.extensions().get::<Error>().unwrap();
            assert_eq!(error.kind(), ErrorKind::NoRuntime);
        });
    }
}

/// Promise: F16
#[test]
fn a_runtime_that_was_named_does_the_waiting_and_the_request_is_retried() {
    let named = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    everywhere(async || {
        let api = Api::accepting(["t2"]);
        let cache = TokenCache::builder(endpoint().credentials())
            .runtime(named.handle().clone())
            .build()
            .unwrap();
        let service = BearerAuthLayer::from_cache(cache).layer(api.service());
        let response = service.oneshot(with_deadline()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(api.tokens(), ["t1", "t2"]);
    });
}

/// Promise: F16
#[cfg(feature = "tonic")]
#[test]
fn a_grpc_call_with_a_deadline_ends_as_one_without_it() {
    use tonic::{Code, Status, body::Body};
    use tower_bearer::adapter::tonic::GrpcAuthLayer;

    everywhere(async || {
        let channel = tower::service_fn(async |_: Request<Body>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
        });
        let call = |timeout: Option<&str>| {
            let mut call = Request::new(Body::empty());
            if let Some(timeout) = timeout {
                let headers = call.headers_mut();
                headers.insert("grpc-timeout", timeout.parse().unwrap());
            }
            call
        };
        for timeout in [None, Some("60S")] {
            let cold = GrpcAuthLayer::new(endpoint().credentials()).layer(channel);
            let error = cold.oneshot(call(timeout)).await.unwrap_err();
            let status = error.downcast::<Status>().unwrap();
            assert_eq!(status.code(), Code::Internal, "{status:?}");
            assert!(status.message().contains("enable_all"), "{status:?}");

            let warm = GrpcAuthLayer::from_cache(warm()).layer(channel);
            warm.oneshot(call(timeout)).await.unwrap();
        }
    });
}
