//! The 401: R1–R11 and R13–R15, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header::WWW_AUTHENTICATE};
use http_body::Frame;

use http_body_util::Full;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{advance, sleep, timeout},
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, Error, ErrorKind, TokenCache,
    extension::{NoRetry, NoToken},
    replay::NoReplay,
    token::FixedToken,
};
use tower_test::mock;

use self::support::{Api, Body, TokenEndpoint, answer, bearer, get, settle, text, token};

const SECOND: Duration = Duration::from_secs(1);

/// Promise: R1
#[tokio::test(start_paused = true)]
async fn a_rejected_request_makes_one_token_request_and_is_sent_once_more() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t2"]);
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());

    let response = service.oneshot(get("/")).await.unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "call 2");
    assert_eq!(api.tokens(), ["t1", "t2"]);
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: R2
#[tokio::test(start_paused = true)]
async fn a_thousand_requests_rejected_at_once_share_one_token_request() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t1"]);
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    service.clone().oneshot(get("/warm")).await.unwrap();

    api.accept_only(["t2"]);
    let mut requests = JoinSet::new();
    for _ in 0..1000 {
        requests.spawn(service.clone().oneshot(get("/")));
    }
    while let Some(response) = requests.join_next().await {
        assert_eq!(response.unwrap().unwrap().status(), 200);
    }

    assert_eq!(endpoint.token_requests(), 2);
    assert_eq!(api.calls().len(), 1 + 2 * 1000);
}

/// Promise: R3, R4
#[tokio::test(start_paused = true)]
async fn rejections_that_come_late_and_scattered_make_no_token_request_and_throw_no_newer_token_away()
 {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t1"]);
    // Answers take from 0 to 99 s, longest for those with the old token.
    let slow = {
        let api = api.clone();
        service_fn(move |request: Request<Body>| {
            let answer = api.clone().handle(request);
            async move {
                let answer = answer.await;
                if answer.status() == 401 {
                    sleep(SECOND * fastrand::u32(0..100)).await;
                }
                Ok::<_, Infallible>(answer)
            }
        })
    };
    let cache = TokenCache::new(endpoint.credentials());
    let service = BearerAuthLayer::from_cache(cache.clone()).layer(slow);
    service.clone().oneshot(get("/warm")).await.unwrap();

    api.accept_only(["t2"]);
    let mut requests = JoinSet::new();
    for _ in 0..1000 {
        requests.spawn(service.clone().oneshot(get("/")));
    }
    while let Some(response) = requests.join_next().await {
        assert_eq!(response.unwrap().unwrap().status(), 200);
    }

    assert_eq!(endpoint.token_requests(), 2);
    let retries = api.tokens().iter().filter(|token| *token == "t2").count();
    assert_eq!(retries, 1000);
    let current = cache.get().await.unwrap();
    assert_eq!(current.authorization(), "Bearer t2");
}

/// Promise: R5
#[tokio::test(start_paused = true)]
async fn a_second_rejection_is_the_callers_and_there_is_no_third_call() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());

    let response = service.oneshot(get("/")).await.unwrap();

    assert_eq!(response.status(), 401);
    assert_eq!(text(response).await, "call 2");
    assert_eq!(api.tokens(), ["t1", "t2"]);
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: R7
#[tokio::test(start_paused = true)]
async fn the_same_token_again_is_no_reason_for_a_retry() {
    let endpoint = TokenEndpoint::new(|_| async { token("sticky", 3600) });
    let api = Api::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());

    let response = service.oneshot(get("/")).await.unwrap();

    assert_eq!(response.status(), 401);
    assert_eq!(text(response).await, "call 1");
    assert_eq!(api.calls().len(), 1);
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: R9
#[tokio::test(start_paused = true)]
async fn a_failed_token_request_after_a_rejection_hands_on_the_rejection_with_the_cause() {
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 3600),
            _ => answer(503, ""),
        }
    });
    let api = Api::default();
    let cache = TokenCache::new(endpoint.credentials());
    let service = BearerAuthLayer::from_cache(cache.clone()).layer(api.service());

    let response = service.oneshot(get("/")).await.unwrap();

    assert_eq!(response.status(), 401);
    let cause = response.extensions().get::<Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Unavailable);
    assert_eq!(cause.status().unwrap(), 503);
    assert_eq!(text(response).await, "call 1");
    assert_eq!(endpoint.token_requests(), 2);
    // The failure took no token away: it may be one route that rejects it.
    assert_eq!(cache.get().await.unwrap().authorization(), "Bearer t1");
}

/// Promise: R10
#[tokio::test(start_paused = true)]
async fn whatever_the_retry_ends_with_is_the_callers() {
    for outcome in ["503", "error"] {
        let endpoint = TokenEndpoint::healthy(SECOND);
        let inner = service_fn(move |request: Request<Body>| async move {
            match (bearer(request.headers()).as_deref(), outcome) {
                (Some("t1"), _) => Ok(answer(401, "")),
                (_, "503") => Ok(answer(503, "down for tea")),
                _ => Err(std::io::Error::other("cut off")),
            }
        });
        let service = BearerAuthLayer::new(endpoint.credentials()).layer(inner);

        match service.oneshot(get("/")).await {
            Ok(response) => {
                assert_eq!(response.status(), 503);
                assert_eq!(text(response).await, "down for tea");
            }
            Err(error) => {
                assert_eq!(outcome, "error");
                let error = error.downcast::<std::io::Error>().unwrap();
                assert_eq!(error.to_string(), "cut off");
            }
        }
        assert_eq!(endpoint.token_requests(), 2);
    }
}

/// Promise: R11
#[tokio::test(start_paused = true)]
async fn the_retry_waits_until_its_service_is_ready() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let (client, mut server) = mock::pair::<Request<Body>, Response<Body>>();
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(client);
    server.allow(1);

    assert_ready_ok!(task::spawn(service.ready()).poll());
    let mut request = task::spawn(service.call(get("/")));
    assert_pending!(request.poll());
    sleep(SECOND * 2).await;
    assert_pending!(request.poll());
    let (first, respond) = server.next_request().await.unwrap();
    assert_eq!(bearer(first.headers()).unwrap(), "t1");
    respond.send_response(answer(401, ""));
    assert_pending!(request.poll());
    sleep(SECOND * 2).await;

    // The token is there; the service is not ready.
    assert_pending!(request.poll());
    assert_eq!(endpoint.token_requests(), 2);
    assert_pending!(task::spawn(server.next_request()).poll());
    server.allow(1);
    assert!(request.is_woken());
    assert_pending!(request.poll());
    let (second, respond) = server.next_request().await.unwrap();
    assert_eq!(bearer(second.headers()).unwrap(), "t2");
    respond.send_response(answer(200, ""));
    assert_eq!(assert_ready!(request.poll()).unwrap().status(), 200);
}

/// Promise: R11
#[tokio::test(start_paused = true)]
async fn services_that_limit_calls_are_not_deadlocked_by_the_retry() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t2"]);
    let service = ServiceBuilder::new()
        .layer(BearerAuthLayer::new(endpoint.credentials()))
        .buffer(1)
        .rate_limit(1, SECOND * 5)
        .concurrency_limit(1)
        .service(api.service());

    let response = timeout(SECOND * 60, service.oneshot(get("/"))).await;

    assert_eq!(response.unwrap().unwrap().status(), 200);
    assert_eq!(api.tokens(), ["t1", "t2"]);
}

/// Promise: R10, R11
#[tokio::test(start_paused = true)]
async fn a_service_that_fails_before_the_retry_is_not_called_and_its_error_is_the_callers() {
    /// Rejects a request, and is broken from then on.
    #[derive(Clone, Default)]
    struct Breaks(Arc<AtomicUsize>);

    impl Service<Request<Body>> for Breaks {
        type Response = Response<Body>;
        type Error = std::io::Error;
        type Future = Ready<Result<Response<Body>, std::io::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
            Poll::Ready(match self.0.load(SeqCst) {
                0 => Ok(()),
                _ => Err(std::io::Error::other("broken")),
            })
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            self.0.fetch_add(1, SeqCst);
            ready(Ok(answer(401, "")))
        }
    }

    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Breaks::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.clone());
    let error = service.oneshot(get("/")).await.unwrap_err();
    assert_eq!(error.to_string(), "broken");
    assert_eq!((endpoint.token_requests(), api.0.load(SeqCst)), (2, 1));
}

/// The rejection's body holds the one permit; a retry that waited with it in hand would wait for ever.
///
/// Promise: R11
#[tokio::test(start_paused = true)]
async fn the_rejection_is_let_go_before_the_retry_is_made_ready() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let inner = OnePermit::of(Arc::new(Semaphore::new(1)));
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(inner);

    let response = timeout(SECOND * 60, service.oneshot(get("/"))).await;

    assert_eq!(response.unwrap().unwrap().status(), 200);
}

/// A token that ran out while the retry waited for its service is not sent.
///
/// Promise: L4
#[tokio::test(start_paused = true)]
async fn a_token_that_aged_while_the_service_was_not_ready_is_requested_once_more() {
    let endpoint = TokenEndpoint::new(|post| async move { token(&format!("t{post}"), 10) });
    let (client, mut server) = mock::pair::<Request<Body>, Response<Body>>();
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(client);
    server.allow(1);
    service.ready().await.unwrap();
    let request = tokio::spawn(service.call(get("/")));

    let (_, respond) = server.next_request().await.unwrap();
    respond.send_response(answer(401, ""));
    settle().await;
    assert_eq!(endpoint.token_requests(), 2);
    sleep(SECOND * 60).await;
    server.allow(1);
    let (second, respond) = server.next_request().await.unwrap();
    assert_eq!(bearer(second.headers()).unwrap(), "t3");
    respond.send_response(answer(200, ""));
    assert_eq!(request.await.unwrap().unwrap().status(), 200);
}

/// Promise: R14
#[tokio::test(start_paused = true)]
async fn the_retry_is_the_first_but_for_its_token() {
    #[derive(Clone, Debug, PartialEq)]
    struct Mark(u32);

    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t2"]);
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let request = Request::builder()
        .method("PROPFIND")
        .uri("https://api.test:8443/a%2Fb/?q=1&q=2")
        .version(Version::HTTP_2)
        .header("x-twice", "one")
        .header("accept", "text/plain")
        .header("x-twice", "two")
        .header("x-binary", &b"\xFF\xFE"[..])
        .extension(Mark(7))
        .body(Full::new(Bytes::from_static(b"\0body\r\n")))
        .unwrap();

    service.oneshot(request).await.unwrap();

    let calls = api.calls();
    assert_eq!(api.tokens(), ["t1", "t2"]);
    let [first, second] = &calls[..] else {
        panic!("{} calls", calls.len());
    };
    for call in [first, second] {
        assert_eq!(call.head.method, "PROPFIND");
        assert_eq!(call.head.uri, "https://api.test:8443/a%2Fb/?q=1&q=2");
        assert_eq!(call.head.version, Version::HTTP_2);
        let twice: Vec<_> = call.head.headers.get_all("x-twice").iter().collect();
        assert_eq!(twice, ["one", "two"]);
        assert_eq!(call.head.headers["x-binary"].as_bytes(), b"\xFF\xFE");
        assert_eq!(call.head.extensions.get::<Mark>(), Some(&Mark(7)));
        assert_eq!(&call.body[..], b"\0body\r\n");
        assert!(call.head.headers["authorization"].is_sensitive());
        assert_eq!(call.head.headers.len(), 5);
    }
    let without_token = |call: &support::Call| {
        let mut headers = call.head.headers.clone();
        headers.remove("authorization");
        headers
    };
    assert_eq!(without_token(first), without_token(second));
}

/// Promise: R6
#[tokio::test(start_paused = true)]
async fn an_api_that_always_answers_401_costs_few_token_requests_and_one_call_a_request() {
    // The same path each time, paths that differ by an id, and paths that have nothing in common.
    type Path = fn(usize) -> String;
    let cases: [(u32, Path, usize); 3] = [
        (100, |_| "/".to_owned(), 24),
        (10, |n| format!("/orders/{n}/checkout"), 24),
        // Routes without end: 32 are told apart.
        (10, |n| format!("/{}", letters(n)), 56),
    ];
    for (a_second, path, bound) in cases {
        let endpoint = TokenEndpoint::healthy(SECOND / 100);
        let api = Api::default();
        let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());

        // An hour of them. The clock moves by hand, so that no timer rounds it.
        let requests = 3600 * a_second as usize;
        for request in 0..requests {
            let call = tokio::spawn(service.clone().oneshot(get(&path(request))));
            advance(SECOND / a_second).await;
            assert_eq!(call.await.unwrap().unwrap().status(), 401);
        }

        // One for the cold cache; then 1, 2, 4 … 300 s apart.
        let token_requests = endpoint.token_requests();
        assert!(
            (10..=bound).contains(&token_requests),
            "{}: {token_requests}",
            path(1)
        );
        // Each request once, and a second time where a token request gave it another token.
        let retries = api.calls().len() - requests;
        assert!(retries <= 3 * token_requests, "{}: {retries}", path(1));
    }
}

/// Promise: R6, R7
#[tokio::test(start_paused = true)]
async fn a_rejected_token_that_the_server_gives_again_and_again_costs_few_token_requests() {
    let endpoint = TokenEndpoint::new(|_| async { token("sticky", 3600 * 24) });
    let api = Api::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    for _ in 0..36_000 {
        let response = service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(response.status(), 401);
        advance(SECOND / 10).await;
    }
    assert!(
        (10..=24).contains(&endpoint.token_requests()),
        "{}",
        endpoint.token_requests()
    );
    assert_eq!(api.calls().len(), 36_000);
}

/// Promise: R6
#[tokio::test(start_paused = true)]
async fn a_second_revocation_one_second_after_the_first_heals_at_once() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let api = Api::accepting(["t1"]);
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    service.clone().oneshot(get("/")).await.unwrap();
    for revoked in 1..10 {
        let newer = format!("t{}", revoked + 1);
        api.accept_only([&*newer]);
        let response = service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(response.status(), 200, "after revocation {revoked}");
        assert_eq!(endpoint.token_requests(), revoked + 1);
        advance(SECOND).await;
    }
}

/// Promise: R6
#[tokio::test(start_paused = true)]
async fn a_cure_clears_the_latch() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let api = Api::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    // In vain at 0, 1, 3, 7, 15 and 31 s or a little later: the next would be 32 s after that.
    while endpoint.token_requests() < 7 {
        service.clone().oneshot(get("/")).await.unwrap();
        advance(SECOND / 10).await;
    }
    advance(SECOND * 36).await;
    api.accept_only(["t8"]);
    assert_eq!(
        service.clone().oneshot(get("/")).await.unwrap().status(),
        200
    );

    advance(SECOND).await;
    api.accept_only(["t9"]);
    assert_eq!(
        service.clone().oneshot(get("/")).await.unwrap().status(),
        200
    );
}

/// Promise: R6, R9
#[tokio::test(start_paused = true)]
async fn a_latched_rejection_says_that_fresh_tokens_are_rejected_too_and_when_the_next_is_due() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let api = Api::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    service.clone().oneshot(get("/")).await.unwrap();

    let response = service.oneshot(get("/")).await.unwrap();

    assert_eq!(response.status(), 401);
    let cause = response.extensions().get::<Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Rejected);
    assert!(cause.retry_after().unwrap() >= SECOND);
    assert_eq!(api.calls().len(), 3);
}

/// Promise: R15
#[tokio::test(start_paused = true)]
async fn one_failing_route_costs_the_healthy_ones_nothing_and_a_revocation_heals_them_at_once() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let api = Api::accepting(["t1"]);
    let cache = TokenCache::new(endpoint.credentials());
    let service = BearerAuthLayer::from_cache(cache.clone()).layer(sour_and_healthy(&api));

    let mut since_revocation = 0;
    for tick in 0..36_000 {
        // The API accepts whatever token was given last, and nothing once an hour's third is over.
        let current = format!("t{}", endpoint.token_requests());
        if tick % 12_000 == 11_999 {
            api.accept_only(["none of them"]);
            let next = format!("t{}", endpoint.token_requests() + 1);
            api.accept_only([&*next]);
            since_revocation += 1;
        } else {
            let next = format!("t{}", endpoint.token_requests() + 1);
            api.accept_only([&*current, &*next]);
        }
        let healthy = service
            .clone()
            .oneshot(get(&format!("/carts/{tick}")))
            .await;
        assert_eq!(healthy.unwrap().status(), 200, "at {tick}");
        let failing = service
            .clone()
            .oneshot(get(&format!("/failing/{tick}")))
            .await;
        assert_eq!(failing.unwrap().status(), 401);
        advance(SECOND / 10).await;
    }
    // Cold, revoked twice, and the failing route's own: 1, 2, 4 … 300 s apart.
    assert_eq!(since_revocation, 3);
    assert!(
        endpoint.token_requests() <= 28,
        "{}",
        endpoint.token_requests()
    );
}

/// An API whose routes below `/failing` reject every token.
fn sour_and_healthy(
    api: &Api,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone
{
    let api = api.clone();
    service_fn(move |request: Request<Body>| {
        let failing = request.uri().path().starts_with("/failing");
        let answer = api.clone().handle(request);
        async move {
            let answered = answer.await;
            Ok(if failing { answer_401() } else { answered })
        }
    })
}

/// Promise: R15
#[tokio::test(start_paused = true)]
async fn a_failing_route_whose_requests_are_not_sent_again_leaves_the_others_alone_too() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let api = Api::accepting(["t1"]);
    let service = BearerAuthLayer::new(endpoint.credentials())
        .replay(NoReplay)
        .layer(sour_and_healthy(&api));
    for tick in 0..36_000 {
        let current = format!("t{}", endpoint.token_requests().max(1));
        let next = format!("t{}", endpoint.token_requests() + 1);
        api.accept_only([&*current, &*next]);
        let healthy = service
            .clone()
            .oneshot(get(&format!("/carts/{tick}")))
            .await;
        assert_eq!(healthy.unwrap().status(), 200, "at {tick}");
        let failing = service
            .clone()
            .oneshot(get(&format!("/failing/{tick}")))
            .await;
        assert_eq!(failing.unwrap().status(), 401);
        settle().await;
        advance(SECOND / 10).await;
    }
    let token_requests = endpoint.token_requests();
    assert!(token_requests <= 28, "{token_requests}");

    // Really revoked: the one request that sees it is rejected, and the next is not.
    api.accept_only([&*format!("t{}", token_requests + 1)]);
    let rejected = service.clone().oneshot(get("/carts/1")).await.unwrap();
    assert_eq!(rejected.status(), 401);
    settle().await;
    let healed = service.clone().oneshot(get("/carts/1")).await.unwrap();
    assert_eq!(healed.status(), 200);
}

/// Promise: R6
#[tokio::test(start_paused = true)]
async fn revocations_heal_as_ever_where_requests_are_not_sent_again() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let api = Api::accepting(["t1"]);
    let service = BearerAuthLayer::new(endpoint.credentials())
        .replay(NoReplay)
        .layer(api.service());
    service.clone().oneshot(get("/")).await.unwrap();
    for revoked in 1..30 {
        api.accept_only([&*format!("t{}", revoked + 1)]);
        let rejected = service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(rejected.status(), 401);
        settle().await;
        let healed = service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(healed.status(), 200, "after revocation {revoked}");
        advance(SECOND * 2).await;
    }
    assert_eq!(endpoint.token_requests(), 30);
}

/// Promise: R6, R15
#[tokio::test(start_paused = true)]
async fn a_route_that_accepts_some_requests_and_rejects_others_is_as_failing_as_any() {
    let endpoint = TokenEndpoint::healthy(SECOND / 20);
    // One route, of which every tenth order is somebody else's.
    let inner = service_fn(|request: Request<Body>| async move {
        Ok::<_, Infallible>(match request.uri().path().ends_with('0') {
            true => answer_401(),
            false => answer(200, ""),
        })
    });
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(inner);
    for order in 0..36_000 {
        let call = tokio::spawn(service.clone().oneshot(get(&format!("/orders/{order}"))));
        advance(SECOND / 10).await;
        call.await.unwrap().unwrap();
    }
    assert!(
        endpoint.token_requests() <= 24,
        "{}",
        endpoint.token_requests()
    );
}

/// Promise: R6
#[tokio::test(start_paused = true)]
async fn an_api_that_rejects_good_tokens_at_random_costs_no_more_than_the_allowance() {
    for replay in [true, false] {
        let endpoint = TokenEndpoint::healthy(Duration::ZERO);
        let inner = service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(match fastrand::u32(..20) {
                0 => answer_401(),
                _ => answer(200, ""),
            })
        });
        let layer = BearerAuthLayer::new(endpoint.credentials());
        let mut once = layer.clone().replay(NoReplay).layer(inner);
        let mut twice = layer.layer(inner);
        for request in 0..72_000 {
            let request = get(&format!("/{}", letters(request % 7)));
            match replay {
                true => drop(twice.call(request).await.unwrap()),
                false => drop(once.call(request).await.unwrap()),
            }
            settle().await;
            advance(SECOND / 20).await;
        }
        // Thirty at a stretch, and one every ten seconds; and the cold one.
        assert!(
            endpoint.token_requests() <= 391,
            "{}",
            endpoint.token_requests()
        );
    }
}

/// Promise: R6
#[tokio::test(start_paused = true)]
async fn a_failing_route_is_held_while_a_retry_is_under_way_however_slow() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    // One route, where order 1 takes its time.
    let inner = service_fn(|request: Request<Body>| async move {
        if request.uri().path().ends_with('1') {
            sleep(SECOND * 3).await;
        }
        Ok::<_, Infallible>(answer_401())
    });
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(inner);
    service.clone().oneshot(get("/orders/2")).await.unwrap();
    assert_eq!(endpoint.token_requests(), 2, "in vain for the first time");

    sleep(SECOND * 2).await;
    let slow = tokio::spawn(service.clone().oneshot(get("/orders/1")));
    sleep(SECOND * 18 / 5).await;
    assert_eq!(endpoint.token_requests(), 3);
    // Its retry goes on for another 2.4 s. Whoever is rejected with the fresh token meanwhile has to wait for that.
    service.oneshot(get("/orders/2")).await.unwrap();
    assert_eq!(endpoint.token_requests(), 3);
    slow.await.unwrap().unwrap();
}

/// Promise: R6
#[tokio::test(start_paused = true)]
async fn a_straggler_rejected_with_a_token_that_healed_its_route_is_no_new_rejection() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let api = Api::accepting(["t1"]);
    // One route, where order 9 is slow and rejected whatever its token.
    let inner = {
        let api = api.clone();
        service_fn(move |request: Request<Body>| {
            let nine = request.uri().path().ends_with('9');
            let answer = api.clone().handle(request);
            async move {
                let answer = answer.await;
                if nine {
                    sleep(SECOND).await;
                    return Ok::<_, Infallible>(answer_401());
                }
                Ok(answer)
            }
        })
    };
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(inner);
    service.clone().oneshot(get("/orders/1")).await.unwrap();

    let straggler = tokio::spawn(service.clone().oneshot(get("/orders/9")));
    settle().await;
    api.accept_only(["t2"]);
    let healed = service.clone().oneshot(get("/orders/1")).await.unwrap();
    assert_eq!(healed.status(), 200);
    assert_eq!(straggler.await.unwrap().unwrap().status(), 401);

    api.accept_only(["t3"]);
    let healed = service.oneshot(get("/orders/1")).await.unwrap();
    assert_eq!(healed.status(), 200);
    assert_eq!(endpoint.token_requests(), 3);
}

/// Promise: R6
#[tokio::test(start_paused = true)]
async fn a_thousand_requests_that_are_rejected_twice_are_one_token_request_in_vain() {
    let endpoint = TokenEndpoint::healthy(SECOND / 10);
    let api = Api::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let mut requests = JoinSet::new();
    for order in 0..1000 {
        requests.spawn(service.clone().oneshot(get(&format!("/orders/{order}"))));
    }
    requests.join_all().await;
    assert_eq!(endpoint.token_requests(), 2);
    // So it is the first step of the cool-down, and not the last.
    advance(SECOND * 6 / 5).await;
    api.accept_only(["t3"]);
    let response = service.oneshot(get("/orders/1")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(endpoint.token_requests(), 3);
}

/// Promise: R6
#[tokio::test(start_paused = true)]
async fn a_hundred_routes_rejected_at_once_are_one_token_request_in_vain_and_not_a_hundred() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let mut requests = JoinSet::new();
    for route in 0..100 {
        requests.spawn(
            service
                .clone()
                .oneshot(get(&format!("/{}", letters(route)))),
        );
    }
    requests.join_all().await;
    assert_eq!(endpoint.token_requests(), 2);
    // A replica that was behind is there now: who is rejected a little later is healed.
    advance(SECOND * 2).await;
    api.accept_only(["t3"]);
    let response = service.clone().oneshot(get("/another")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(endpoint.token_requests(), 3);
}

/// Promise: R8
#[tokio::test(start_paused = true)]
async fn a_missing_scope_is_no_reason_for_another_token() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let inner = service_fn(|_: Request<Body>| async {
        let mut response = answer_401();
        let challenge = r#"Bearer error="insufficient_scope", scope="admin""#;
        response
            .headers_mut()
            .insert("www-authenticate", challenge.parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(inner);
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 401);
    assert_eq!(endpoint.token_requests(), 1);
}

/// WSO2, Artifactory and their like, Windows' single sign-on, Planning Center; and what cannot be read.
///
/// Promise: R8
#[tokio::test(start_paused = true)]
async fn whatever_challenge_a_401_has_the_request_is_retried_once_with_a_new_token() {
    let odd: [&[u8]; 10] = [
        br#"DPoP error="invalid_token""#,
        br#"OAuth2 realm="WSO2 API Manager", error="invalid_token", error_description="Access failure""#,
        br#"Basic realm="Artifactory Realm""#,
        b"Negotiate YIIB+/8==, NTLM",
        br#"Bearer realm="Planning Center" error="invalid_token" error_description="expired""#,
        br#"bearer error=invalid_token,error_description="no space, and a quoted comma""#,
        b"Bearer realm=\"caf\xE9\", error=\"invalid_token\"",
        br#"Bearer error="something_new", claims="e30=""#,
        br#"Bearer error="insufficient_scope"#,
        b"\xFF\xFE=",
    ];
    for challenge in odd {
        let endpoint = TokenEndpoint::healthy(SECOND);
        let api = Api::accepting(["t2"]);
        let inner = api.service();
        let challenging = service_fn(move |request: Request<Body>| {
            let answer = inner.clone().oneshot(request);
            async move {
                let mut answer = answer.await?;
                let challenge = HeaderValue::from_bytes(challenge).unwrap();
                answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                Ok::<_, Infallible>(answer)
            }
        });
        let service = BearerAuthLayer::new(endpoint.credentials()).layer(challenging);

        let response = service.oneshot(get("/")).await.unwrap();

        assert_eq!(response.status(), 200);
        assert_eq!(api.tokens(), ["t1", "t2"]);
        assert_eq!(endpoint.token_requests(), 2);
    }
}

/// Promise: R13
#[tokio::test(start_paused = true)]
async fn a_request_that_wants_no_token_is_sent_without_one() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let mut request = get("/");
    request.extensions_mut().insert(NoToken);
    assert_eq!(service.oneshot(request).await.unwrap().status(), 401);
    assert_eq!(api.calls().len(), 1);
    assert_eq!(api.calls()[0].token, None);
    assert_eq!(endpoint.token_requests(), 0);
}

/// Promise: R13
#[tokio::test(start_paused = true)]
async fn a_request_that_wants_no_retry_is_sent_once_and_the_token_is_replaced_for_the_next() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t2"]);
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let mut request = get("/");
    request.extensions_mut().insert(NoRetry);
    let rejection = service.clone().oneshot(request).await.unwrap();
    assert_eq!(rejection.status(), 401);
    assert_eq!(text(rejection).await, "call 1");
    sleep(SECOND * 2).await;
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 200);
    assert_eq!(api.tokens(), ["t1", "t2"]);
}

/// Promise: B1
#[tokio::test(start_paused = true)]
async fn a_body_that_is_clone_is_said_again_byte_for_byte() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t2"]);
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let bytes: Vec<u8> = (0..100_000).map(|_| fastrand::u8(..)).collect();
    let request = Request::post("https://api.test/")
        .body(Full::from(bytes.clone()))
        .unwrap();

    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);

    let calls = api.calls();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.body == bytes));
}

/// Promise: B3
#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_said_again_is_sent_once_and_the_next_one_has_a_new_token() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t2"]);
    let service = BearerAuthLayer::new(endpoint.credentials())
        .replay(NoReplay)
        .layer(Unclonable::bodies_of(&api));
    let request = || {
        Request::post("https://api.test/")
            .body(Unclonable(Full::from("all of it")))
            .unwrap()
    };

    let rejection = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(rejection.status(), 401);
    assert_eq!(text(rejection).await, "call 1");
    sleep(SECOND * 2).await;
    assert_eq!(service.oneshot(request()).await.unwrap().status(), 200);

    assert_eq!(api.tokens(), ["t1", "t2"]);
    assert!(api.calls().iter().all(|call| call.body == "all of it"));
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: R4
#[tokio::test(start_paused = true)]
async fn a_token_of_another_cache_is_no_token_of_this_one() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    let other = TokenCache::new(FixedToken::new("t1").unwrap());
    cache.get().await.unwrap();
    cache.invalidate(&other.get().await.unwrap());
    cache.get().await.unwrap();
    assert_eq!(endpoint.token_requests(), 1);
}

fn answer_401() -> Response<Body> {
    answer(401, "")
}

/// A name of letters alone for each number.
fn letters(mut number: usize) -> String {
    let mut name = String::new();
    loop {
        name.push(char::from(b'a' + u8::try_from(number % 26).unwrap()));
        number /= 26;
        if number == 0 {
            return name;
        }
    }
}

/// A body that is not `Clone`.
struct Unclonable(Full<Bytes>);

impl Unclonable {
    fn bodies_of(
        api: &Api,
    ) -> impl Service<Request<Self>, Response = Response<Body>, Error = Infallible> + Clone {
        let api = api.clone();
        service_fn(move |request: Request<Self>| {
            let answer = api.clone().handle(request.map(|body| body.0));
            async move { Ok(answer.await) }
        })
    }
}

/// A service with one permit, which is the body of its response and is free again when that is dropped. Rejects `t1`.
struct OnePermit {
    permits: Arc<Semaphore>,
    acquiring: Option<Acquiring>,
    acquired: Option<OwnedSemaphorePermit>,
}

type Acquiring = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

impl OnePermit {
    fn of(permits: Arc<Semaphore>) -> Self {
        Self {
            permits,
            acquiring: None,
            acquired: None,
        }
    }
}

impl Clone for OnePermit {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.permits))
    }
}

impl Service<Request<Body>> for OnePermit {
    type Response = Response<Holding>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let permits = Arc::clone(&self.permits);
        let acquiring = self
            .acquiring
            .get_or_insert_with(|| Box::pin(permits.acquire_owned()));
        self.acquired = Some(ready!(acquiring.as_mut().poll(cx)).unwrap());
        self.acquiring = None;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut response = Response::new(Holding(self.acquired.take().unwrap()));
        if bearer(request.headers()).as_deref() == Some("t1") {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        ready(Ok(response))
    }
}

/// A body that holds the permit of its request.
struct Holding(#[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit);

impl http_body::Body for Holding {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}
