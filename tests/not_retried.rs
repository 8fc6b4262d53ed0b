//! R18: a rejected request that is not retried says why, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use http::{Request, Response};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, Error, ErrorKind,
    extension::{Deadline, NoRetry, NotRetried},
    replay::NoReplay,
};

use self::support::{Api, Body, TokenEndpoint, answer, get, settle, token};

const SECOND: Duration = Duration::from_secs(1);

fn reason(response: &Response<Body>) -> (Option<NotRetried>, Option<ErrorKind>) {
    assert_eq!(response.status(), 401);
    let error = response.extensions().get::<Error>();
    (response.extensions().get().copied(), error.map(Error::kind))
}

/// Promise: R18
#[tokio::test(start_paused = true)]
async fn a_request_that_wants_no_retry_or_cannot_be_replayed_says_so() {
    let api = Api::default();
    let endpoint = TokenEndpoint::healthy(SECOND);
    let layer = BearerAuthLayer::new(endpoint.credentials());
    let mut request = get("/");
    request.extensions_mut().insert(NoRetry);
    let response = layer.layer(api.service()).oneshot(request).await.unwrap();
    assert_eq!(reason(&response), (Some(NotRetried::OptedOut), None));

    let endpoint = TokenEndpoint::healthy(SECOND);
    let layer = BearerAuthLayer::new(endpoint.credentials()).replay(NoReplay);
    let service = layer.layer(api.service());
    let response = service.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(
        reason(&response),
        (Some(NotRetried::CannotBeReplayed), None)
    );
    // And the one that waited for another token says the same.
    let response = service.oneshot(get("/")).await.unwrap();
    assert_eq!(
        reason(&response),
        (Some(NotRetried::CannotBeReplayed), None)
    );
}

/// Promise: R18
#[tokio::test(start_paused = true)]
async fn a_request_without_time_for_a_retry_says_so() {
    // It runs out during the token request, or was spent on the first try.
    for slow_api in [false, true] {
        let endpoint = TokenEndpoint::new(move |post| async move {
            if post > 1 && !slow_api {
                sleep(SECOND * 5).await;
            }
            token(&format!("t{post}"), 3600)
        });
        let api = service_fn(move |_: Request<Body>| async move {
            if slow_api {
                sleep(SECOND).await;
            }
            Ok::<_, Error>(answer(401, ""))
        });
        let service = BearerAuthLayer::new(endpoint.credentials()).layer(api);
        let mut request = get("/");
        request
            .extensions_mut()
            .insert(Deadline::after(SECOND * 3 / 2));
        let response = service.oneshot(request).await.unwrap();
        // If it is known at once, no token is waited for.
        let waited = (!slow_api).then_some(ErrorKind::Timeout);
        assert_eq!(reason(&response), (Some(NotRetried::NoTimeLeft), waited));
    }
}

/// Promise: R7, R18
#[tokio::test(start_paused = true)]
async fn a_request_whose_token_was_given_again_says_so_and_then_that_it_cools_down() {
    let endpoint = TokenEndpoint::new(|_| async { token("sticky", 3600) });
    let api = Api::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let response = service.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(reason(&response), (Some(NotRetried::SameToken), None));
    let response = service.oneshot(get("/")).await.unwrap();
    let cooling = (Some(NotRetried::CoolDown), Some(ErrorKind::Rejected));
    assert_eq!(reason(&response), cooling);
}

/// Promise: R9, R18
#[tokio::test(start_paused = true)]
async fn a_request_whose_token_request_fails_says_so_and_the_next_that_it_is_too_early() {
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 3600),
            _ => answer(503, ""),
        }
    });
    let api = Api::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    for reasons in [NotRetried::TokenRequestFailed, NotRetried::Backoff] {
        let response = service.clone().oneshot(get("/")).await.unwrap();
        let told = (Some(reasons), Some(ErrorKind::Unavailable));
        assert_eq!(reason(&response), told);
        settle().await;
    }
}

/// Promise: R5, R18
#[tokio::test(start_paused = true)]
async fn a_request_that_was_retried_says_nothing() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let response = service.oneshot(get("/")).await.unwrap();
    assert_eq!(reason(&response), (None, None));
    assert_eq!(api.calls().len(), 2);
}
