//! A request's deadline, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::{BearerAuthLayer, Error, ErrorKind, extension::Deadline};
use tower_test::mock;

use self::support::{Api, Body, TokenEndpoint, answer, bearer, get, text, token};

const SECOND: Duration = Duration::from_secs(1);

fn within(deadline: Duration) -> Request<Body> {
    let mut request = get("/");
    request.extensions_mut().insert(Deadline::after(deadline));
    request
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_first_token_ends_at_the_deadline_and_the_token_request_goes_on() {
    let endpoint = TokenEndpoint::healthy(SECOND * 5);
    let api = Api::accepting(["t1"]);
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let started = Instant::now();

    let error = service
        .clone()
        .oneshot(within(SECOND * 2))
        .await
        .unwrap_err();
    assert_eq!(started.elapsed(), SECOND * 2);
    assert_eq!(
        error.downcast::<Error>().unwrap().kind(),
        ErrorKind::Timeout
    );
    assert_eq!(api.calls().len(), 0);

    let response = service.oneshot(within(SECOND * 4)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(started.elapsed(), SECOND * 5);
    assert_eq!(endpoint.token_requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_another_token_ends_at_the_deadline_with_the_rejection() {
    let endpoint = TokenEndpoint::healthy(SECOND * 5);
    let api = Api::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let started = Instant::now();

    let response = service.oneshot(within(SECOND * 7)).await.unwrap();

    assert_eq!(started.elapsed(), SECOND * 7);
    assert_eq!(response.status(), 401);
    let cause = response.extensions().get::<Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Timeout);
    assert_eq!(text(response).await, "call 1");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_would_take_too_long_is_not_begun() {
    for (deadline, calls) in [(SECOND * 5, 1), (SECOND * 10, 2)] {
        let endpoint = TokenEndpoint::healthy(SECOND);
        let api = Api::default();
        // Each call takes three seconds, so that two of them and two token requests take eight.
        let slow = slow(&api, SECOND * 3);
        let service = BearerAuthLayer::new(endpoint.credentials()).layer(slow);
        let started = Instant::now();
        let response = service.oneshot(within(deadline)).await.unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(text(response).await, format!("call {calls}"));
        assert!(started.elapsed() <= deadline);
        // The token is replaced all the same, for the next request.
        sleep(SECOND * 2).await;
        assert_eq!(endpoint.token_requests(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_for_which_the_token_request_left_too_little_is_not_begun() {
    let endpoint = TokenEndpoint::new(|post| async move {
        sleep(SECOND * post as u32).await;
        token(&format!("t{post}"), 3600)
    });
    let api = Api::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(slow(&api, SECOND * 3));
    // A second, three, two: at six seconds there are two left of eight, and the first try took three.
    let response = service.oneshot(within(SECOND * 8)).await.unwrap();
    assert_eq!(response.status(), 401);
    let cause = response.extensions().get::<Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Timeout);
    assert_eq!(text(response).await, "call 1");
    assert_eq!(api.calls().len(), 1);
}

/// Its body does not end, and is read for 50 ms where there is time.
///
/// Promise: R12
#[tokio::test(start_paused = true)]
async fn a_rejection_is_read_no_longer_than_there_is_time_for_a_retry() {
    let millisecond = SECOND / 1000;
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let api = service_fn(move |request: Request<Body>| async move {
        let is_first = bearer(request.headers()).unwrap() == "t1";
        if is_first {
            sleep(millisecond * 10).await;
        }
        let mut response = Response::new(Silent { ends: !is_first });
        *response.status_mut() = if is_first { 401 } else { 200 }.try_into().unwrap();
        Ok::<_, Infallible>(response)
    });
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api);
    let started = Instant::now();
    let response = service.oneshot(within(millisecond * 40)).await.unwrap();
    assert_eq!(response.status(), 200);
    // The retry may take as long as the first try took.
    let took = started.elapsed().as_millis();
    assert!((30..=32).contains(&took), "{took}");
}

/// A body of nothing, which ends or does not.
struct Silent {
    ends: bool,
}

impl http_body::Body for Silent {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Infallible>>> {
        match self.ends {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ends
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_whose_service_is_not_ready_ends_at_the_deadline() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let (client, mut server) = mock::pair::<Request<Body>, Response<Body>>();
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(client);
    // One call, and no readiness for another.
    server.allow(1);
    service.ready().await.unwrap();
    let started = Instant::now();
    let request = tokio::spawn(service.call(within(SECOND * 3)));
    let (_, respond) = server.next_request().await.unwrap();
    respond.send_response(answer(401, ""));
    let error = timeout(SECOND * 60, request)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert_eq!(
        error.downcast::<Error>().unwrap().kind(),
        ErrorKind::Timeout
    );
    assert_eq!(started.elapsed(), SECOND * 3);
    assert_eq!(endpoint.token_requests(), 2);
}

/// The token for the retry ran out while its service was not ready.
#[tokio::test(start_paused = true)]
async fn a_retry_that_needs_yet_another_token_ends_at_the_deadline() {
    let endpoint = TokenEndpoint::new(|post| async move {
        if post > 2 {
            sleep(SECOND * 9).await;
        }
        token(&format!("t{post}"), 10)
    });
    let (client, mut server) = mock::pair::<Request<Body>, Response<Body>>();
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(client);
    server.allow(1);
    service.ready().await.unwrap();
    let started = Instant::now();
    let request = tokio::spawn(service.call(within(SECOND * 15)));
    let (_, respond) = server.next_request().await.unwrap();
    respond.send_response(answer(401, ""));
    sleep(SECOND * 12).await;
    server.allow(1);
    let error = request.await.unwrap().unwrap_err();
    assert_eq!(
        error.downcast::<Error>().unwrap().kind(),
        ErrorKind::Timeout
    );
    assert_eq!(started.elapsed(), SECOND * 15);
    assert_eq!(endpoint.token_requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_retry_under_way_ends_at_the_deadline() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let api = Api::default();
    let inner = {
        let api = api.clone();
        service_fn(move |request: Request<Body>| {
            let answer = api.clone().handle(request);
            let second = api.calls().len() == 1;
            async move {
                if second {
                    sleep(SECOND * 60).await;
                }
                Ok::<_, Infallible>(answer.await)
            }
        })
    };
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(inner);
    let started = Instant::now();
    let error = service.oneshot(within(SECOND * 3)).await.unwrap_err();
    assert_eq!(
        error.downcast::<Error>().unwrap().kind(),
        ErrorKind::Timeout
    );
    assert_eq!(started.elapsed(), SECOND * 3);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_further_than_the_clock_goes_is_none() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t2"]);
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let response = service.oneshot(within(Duration::MAX)).await.unwrap();
    assert_eq!(response.status(), 200);
}

fn slow(
    api: &Api,
    by: Duration,
) -> impl tower::Service<
    Request<Body>,
    Response = http::Response<Body>,
    Error = Infallible,
    Future: Send,
> + Clone {
    let api = api.clone();
    service_fn(move |request: Request<Body>| {
        let answer = api.clone().handle(request);
        async move {
            sleep(by).await;
            Ok::<_, Infallible>(answer.await)
        }
    })
}
