//! The layer as a middleware of reqwest-middleware, alone and beside its retries and its tracing, over real sockets: every
//! figure is counted at a server.

#![cfg(feature = "reqwest-middleware")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../examples/embedded/mod.rs"]
mod embedded;
#[path = "support/site.rs"]
mod site;

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    error::Error as StdError,
    fmt, io,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::Full;
use reqwest::{
    Body, Client, Url,
    multipart::{Form, Part},
};
use reqwest_middleware::{
    ClientBuilder, ClientWithMiddleware, Error as MiddlewareError, Middleware, Next, RequestBuilder,
};
use reqwest_retry::{RetryDecision, RetryError, RetryPolicy, RetryTransientMiddleware};
use reqwest_tracing::{SpanBackendWithUrl, TracingMiddleware};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, ClientCredentials, Error, ErrorKind, Token, TokenCache, TokenSource,
    adapter::reqwest::{ReqwestService, ReusableBody},
    client_credentials::ClientCredentialsBuilder,
    extension::{Deadline, NoRetry, NoToken},
    ipxo,
    replay::Buffered,
    select::{Origins, RequestHead},
    token::TokenRequest,
};
use tracing::{
    Dispatch, Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};
use url::form_urlencoded::byte_serialize;

use self::{
    embedded::{Call, Gateway, Hydra, Registration, TENANT},
    site::{
        Answer, JSON, Nobody, REFUSED, SHORT, SIXTY_THOUSAND, STREAMS, Site, http2, large,
        redirect, soon, stream, text,
    },
};

type Answered = Result<reqwest::Response, MiddlewareError>;

/// Promise: F1
#[tokio::test]
async fn three_hundred_cold_calls_make_one_token_request() {
    let (hydra, gateway) = servers().await;
    let calls = cold_herd(&hydra, &gateway, Client::new(), 300).await;
    assert!(calls.iter().all(|call| call.version == Version::HTTP_11));
}

/// Promise: F1
#[tokio::test]
async fn cold_calls_over_one_http2_connection_make_one_token_request() {
    let (hydra, gateway) = servers().await;
    let calls = cold_herd(&hydra, &gateway, http2(), STREAMS).await;
    assert!(calls.iter().all(|call| call.version == Version::HTTP_2));
    assert_eq!(gateway.connections(), 1);
}

async fn cold_herd(hydra: &Hydra, gateway: &Gateway, client: Client, crowd: usize) -> Vec<Call> {
    let api = api(hydra, gateway, client);
    let token_request = hydra.hold();

    // Polled once each, so that all of them wait for a token before the first token request is answered.
    let mut calls = JoinSet::new();
    for number in 0..crowd {
        let mut call = task::spawn(Box::pin(cart(&api, gateway, number).send()));
        assert_pending!(call.poll());
        calls.spawn(async move { status(call.into_inner().await).await });
    }
    token_request.arrived(1).await.unwrap();
    assert_eq!(gateway.answered(), 0, "no call goes out without a token");
    token_request.open();

    assert_eq!(calls.join_all().await, vec![StatusCode::OK; crowd]);
    assert_eq!(hydra.token_requests(), 1);
    let calls = gateway.calls();
    assert_eq!(calls.len(), crowd);
    assert_eq!(calls.iter().map(token).collect::<HashSet<_>>().len(), 1);
    calls
}

#[tokio::test]
async fn a_warm_call_is_one_call_to_the_api_and_no_token_request() {
    for client in [Client::new(), http2()] {
        let (hydra, gateway) = servers().await;
        let api = api(&hydra, &gateway, client);
        for number in 0..100 {
            let answer = cart(&api, &gateway, number).send().await;
            assert_eq!(status(answer).await, StatusCode::OK);
        }
        assert_eq!((hydra.token_requests(), gateway.answered()), (1, 100));
        assert_eq!(gateway.connections(), 1);
    }
}

/// Promise: R2
#[tokio::test]
async fn a_token_revoked_with_three_hundred_calls_in_flight_costs_one_token_request_and_a_retry_each()
 {
    revoked_in_flight(Client::new(), 300).await;
}

/// Promise: R2
#[tokio::test]
async fn a_token_revoked_with_a_connection_full_of_http2_streams_costs_one_token_request_and_a_retry_each()
 {
    let gateway = revoked_in_flight(http2(), STREAMS).await;
    assert_eq!(gateway.connections(), 1);
}

async fn revoked_in_flight(client: Client, crowd: usize) -> Gateway {
    let (hydra, gateway) = servers().await;
    let api = api(&hydra, &gateway, client);
    warm_up(&api, &gateway).await;
    let revoked = token(&gateway.calls()[0]);

    let gate = gateway.hold();
    let mut calls = JoinSet::new();
    for number in 0..crowd {
        let call = credits(&api, &gateway, number).body(JSON).send();
        calls.spawn(async move { status(call.await).await });
    }
    gate.arrived(crowd).await.unwrap();
    hydra.revoke_all();
    gate.open();

    assert_eq!(calls.join_all().await, vec![StatusCode::OK; crowd]);
    assert_eq!(
        hydra.token_requests(),
        2,
        "the first token, and its successor"
    );
    let mut by_path = HashMap::<_, Vec<_>>::new();
    for call in gateway.calls().drain(1..) {
        assert_eq!(call.body, JSON);
        let path = call.uri.path().to_owned();
        by_path.entry(path).or_default().push(call);
    }
    assert_eq!(by_path.len(), crowd);
    let mut successors = HashSet::new();
    for calls in by_path.values() {
        let [first, second] = two(calls);
        let statuses = [first.status, second.status];
        assert_eq!(
            statuses,
            [StatusCode::UNAUTHORIZED, StatusCode::OK].map(Some)
        );
        assert_eq!(token(first), revoked);
        successors.insert(token(second));
    }
    assert_eq!(successors.len(), 1);
    gateway
}

/// Promise: B1, R1, R14
#[tokio::test]
async fn a_body_of_bytes_is_said_again_byte_for_byte_after_a_401() {
    let json = "{\"amount\": 63,\r\n \"note\": \"\u{1F4B3} \\u0000\"}";
    let (hydra, gateway) = servers().await;
    let api = api(&hydra, &gateway, Client::new());
    warm_up(&api, &gateway).await;
    hydra.revoke_all();

    let path = format!("/ecommerce/public/{TENANT}/orders/7/credits/apply?note=a%20b&note=&note=c");
    let tag = HeaderName::from_static("x-tag");
    let request = api
        .post(format!("{}{path}", gateway.origin()))
        .header(&tag, "one")
        .header(CONTENT_TYPE, "application/json")
        .header(&tag, "two, three")
        .header(ACCEPT, "application/json")
        .header(&tag, "")
        .header(&tag, "one")
        .body(json);
    assert_eq!(status(request.send().await).await, StatusCode::OK);

    assert_eq!((hydra.token_requests(), gateway.answered()), (2, 3));
    let calls = gateway.calls();
    let [first, second] = two(&calls[1..]);
    let statuses = [first.status, second.status];
    assert_eq!(
        statuses,
        [StatusCode::UNAUTHORIZED, StatusCode::OK].map(Some)
    );
    assert_ne!(token(first), token(second));
    for call in [first, second] {
        assert_eq!(call.method, Method::POST);
        assert_eq!(call.uri, *path);
        assert_eq!(call.version, Version::HTTP_11);
        assert_eq!(call.body, json);
        let tags: Vec<_> = call.headers.get_all(&tag).iter().collect();
        assert_eq!(tags, ["one", "two, three", "", "one"]);
    }
    let (first, second) = (&first.headers, &second.headers);
    assert_eq!(all_but_the_token(first), all_but_the_token(second));
}

/// Promise: B3
#[tokio::test]
async fn a_stream_is_sent_whole_its_401_handed_on_and_the_token_replaced_for_the_next() {
    for client in [Client::new(), http2()] {
        for body in [
            Body::wrap_stream(stream()),
            Body::wrap(Full::<Bytes>::from(large())),
        ] {
            let (hydra, gateway) = servers().await;
            let cache = hydra_cache(&hydra);
            let api = with(BearerAuthLayer::from_cache(cache.clone()), client.clone());
            warm_up(&api, &gateway).await;
            hydra.revoke_all();

            let mut changes = cache.changes();
            let token_request = hydra.hold();
            let answer = credits(&api, &gateway, 7).body(body).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(answer.text().await.unwrap(), REFUSED);
            assert_eq!(gateway.answered(), 2);
            assert!(gateway.calls()[1].body == large(), "the body came whole");

            token_request.arrived(1).await.unwrap();
            token_request.open();
            soon(changes.next()).await;
            warm_up(&api, &gateway).await;
            assert_eq!((hydra.token_requests(), gateway.answered()), (2, 3));
        }
    }
}

/// Promise: B5, B6
#[tokio::test]
async fn streams_and_multipart_forms_up_to_a_limit_are_replayed_byte_for_byte() {
    for client in [Client::new, http2] {
        for body in [
            |call: RequestBuilder| call.multipart(form()),
            |call: RequestBuilder| call.multipart(form().part("stream", Part::stream(pieces()))),
            |call: RequestBuilder| call.body(pieces()),
            |call: RequestBuilder| call.header(CONTENT_LENGTH, 9).body(pieces()),
            |call: RequestBuilder| call.body(JSON),
            |call: RequestBuilder| call,
        ] {
            let site = rejecting_the_first().await;
            let layer = BearerAuthLayer::new(Numbered::default().source());
            let layer = layer.replay(Buffered::up_to(1024));
            let call = body(with(layer, client()).post(&site.origin));
            assert_eq!(status(call.send().await).await, StatusCode::OK);
            assert_eq!(site.tokens(), ["Bearer t1", "Bearer t2"]);
            let seen = site.seen();
            assert_eq!(seen[0].body, seen[1].body);
            assert_eq!(
                all_but_the_token(&seen[0].headers),
                all_but_the_token(&seen[1].headers)
            );
        }
    }
}

/// Promise: B3, B6
#[tokio::test]
async fn a_multipart_form_past_the_limit_is_sent_whole_once() {
    let site = rejecting_the_first().await;
    let layer = BearerAuthLayer::new(Numbered::default().source()).replay(Buffered::up_to(64));
    let call = with(layer, Client::new()).post(&site.origin);
    let answer = call.multipart(form()).send().await;
    assert_eq!(status(answer).await, StatusCode::UNAUTHORIZED);
    assert_eq!(site.tokens(), ["Bearer t1"]);
    let body = String::from_utf8(site.seen()[0].body.to_vec()).unwrap();
    assert!(
        body.contains("contents") && body.ends_with("--\r\n"),
        "{body}"
    );
}

/// Promise: B6
#[tokio::test]
async fn bytes_stay_bytes_where_streams_are_kept_so_that_retries_below_can_clone_them() {
    let site = Site::answering(|call| text(if call == 1 { 503 } else { 200 }, "")).await;
    let layer = BearerAuthLayer::new(Numbered::default().source()).replay(Buffered::up_to(64));
    let client = ClientBuilder::new(Client::new())
        .with(layer)
        .with(retries(1));
    let call = client.build().post(&site.origin).body(JSON);
    assert_eq!(status(call.send().await).await, StatusCode::OK);
    assert_eq!(site.tokens(), ["Bearer t1", "Bearer t1"]);
}

/// Promise: B6
#[tokio::test]
async fn a_request_waits_for_a_token_no_longer_than_its_own_timeout() {
    let (hydra, gateway) = servers().await;
    let api = api(&hydra, &gateway, Client::new());
    let unanswered = hydra.hold();
    let call = cart(&api, &gateway, 0).timeout(SHORT);
    let error = soon(call.send()).await.unwrap_err();
    assert_eq!(ours(&error).kind(), ErrorKind::Timeout);
    unanswered.arrived(1).await.unwrap();
    assert_eq!((hydra.token_requests(), gateway.connections()), (1, 0));
}

/// Promise: B6, R9
#[tokio::test]
async fn a_rejected_request_waits_for_its_second_token_no_longer_than_its_own_timeout() {
    let (hydra, gateway) = servers().await;
    let api = api(&hydra, &gateway, Client::new());
    warm_up(&api, &gateway).await;
    hydra.revoke_all();
    let _unanswered = hydra.hold();
    // So long that the first try is sure to take less than half of it.
    let call = cart(&api, &gateway, 0).timeout(Duration::from_secs(1));
    let answer = soon(call.send()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let cause = answer.extensions().get::<Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Timeout);
    assert_eq!((hydra.token_requests(), gateway.answered()), (2, 2));
}

/// Promise: B6
#[tokio::test]
async fn a_deadline_that_is_given_takes_precedence_over_the_timeout() {
    let (hydra, gateway) = servers().await;
    let api = api(&hydra, &gateway, Client::new());
    let _unanswered = hydra.hold();
    let call = cart(&api, &gateway, 0).timeout(Duration::from_secs(3600));
    let call = call.with_extension(Deadline::after(SHORT));
    let error = soon(call.send()).await.unwrap_err();
    assert_eq!(ours(&error).kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn no_error_says_the_same_twice() {
    let (hydra, gateway) = servers().await;
    let nobody = Nobody::new();
    let unanswered = Site::start(|_| None).await;
    let late = with(
        BearerAuthLayer::from_cache(cache(wrong(&hydra).token_url(&unanswered.origin))),
        Client::new(),
    );
    let failing = || {
        let pieces = [Ok("abc"), Err(io::Error::other("the disk is gone"))];
        Body::wrap_stream(tokio_stream::iter(pieces))
    };
    let kept = BearerAuthLayer::new(Numbered::default().source()).replay(Buffered::up_to(64));
    let calls = [
        (
            cart(
                &with(
                    BearerAuthLayer::from_cache(cache(wrong(&hydra))),
                    Client::new(),
                ),
                &gateway,
                0,
            ),
            "invalid_client",
        ),
        (
            cart(
                &with(
                    BearerAuthLayer::from_cache(cache(wrong(&hydra).token_url(nobody.origin()))),
                    Client::new(),
                ),
                &gateway,
                0,
            ),
            "refused",
        ),
        (cart(&late, &gateway, 0).timeout(SHORT), "deadline"),
        (numbered(Client::new()).get(nobody.origin()), "refused"),
        (
            credits(&numbered(Client::new()), &gateway, 0).body(failing()),
            "the disk is gone",
        ),
        (
            credits(&with(kept, Client::new()), &gateway, 0).body(failing()),
            "the disk is gone",
        ),
    ];
    for (call, expected) in calls {
        let error = soon(call.send()).await.unwrap_err();
        let mut chain = vec![];
        let mut next: Option<&dyn StdError> = Some(&error);
        while let Some(error) = next {
            chain.push(error.to_string());
            next = error.source();
        }
        let all = chain.join(": ");
        assert!(all.contains(expected), "{all}");
        for (at, one) in chain.iter().enumerate() {
            let rest = &chain[at + 1..];
            assert!(!rest.contains(one), "{one:?} twice: {all}");
            assert!(
                !rest
                    .iter()
                    .any(|other| one.ends_with(&format!(": {other}"))),
                "{one:?} says what comes after it: {all}"
            );
        }
    }
}

/// Rejects the first request.
async fn rejecting_the_first() -> Site {
    Site::answering(|call| text(if call == 1 { 401 } else { 200 }, "")).await
}

fn form() -> Form {
    let file = Part::bytes(b"contents".as_slice()).file_name("file.txt");
    Form::new().text("name", "value").part("file", file)
}

/// A stream of three pieces.
fn pieces() -> Body {
    let pieces = ["abc", "def", "ghi"].map(Ok::<_, Infallible>);
    Body::wrap_stream(tokio_stream::iter(pieces))
}

/// Promise: R12
#[tokio::test]
async fn a_rejection_and_its_retry_go_by_one_connection() {
    for client in [Client::new, http2] {
        // Nothing, and more than comes with its head.
        for rejection in ["", SIXTY_THOUSAND] {
            let mut connections = connections(client(), rejection).await;
            for _ in 0..4 {
                // On a machine that is busy elsewhere a rejection may come later than is waited for.
                if connections > 1 {
                    connections = self::connections(client(), rejection).await;
                }
            }
            assert_eq!(connections, 1);
        }
    }
}

/// How many connections it takes to call an API that rejects the first token, and says so much.
async fn connections(client: Client, rejection: &'static str) -> usize {
    let site = Site::answering(move |call| match call {
        1 => text(401, rejection),
        _ => text(200, ""),
    })
    .await;
    let call = numbered(client).post(&site.origin).body(JSON);
    assert_eq!(status(call.send().await).await, StatusCode::OK);
    assert_eq!(site.tokens(), ["Bearer t1", "Bearer t2"]);
    site.connections()
}

/// Promise: R13
#[tokio::test]
async fn a_request_that_says_no_token_goes_out_bare_and_its_401_is_handed_on() {
    let (hydra, gateway) = servers().await;
    let api = api(&hydra, &gateway, Client::new());
    let answer = cart(&api, &gateway, 0).with_extension(NoToken).send().await;
    assert_eq!(status(answer).await, StatusCode::UNAUTHORIZED);
    assert_eq!((hydra.token_requests(), gateway.answered()), (0, 1));
    assert!(!gateway.calls()[0].headers.contains_key(AUTHORIZATION));
}

/// Promise: R13
#[tokio::test]
async fn a_request_that_says_no_retry_is_sent_once() {
    let (hydra, gateway) = servers().await;
    let api = api(&hydra, &gateway, Client::new());
    warm_up(&api, &gateway).await;
    hydra.revoke_all();
    let answer = cart(&api, &gateway, 0).with_extension(NoRetry).send().await;
    assert_eq!(status(answer).await, StatusCode::UNAUTHORIZED);
    assert_eq!(gateway.answered(), 2);
}

/// Promise: F4
#[tokio::test]
async fn a_request_waits_for_a_token_no_longer_than_its_deadline() {
    let (hydra, gateway) = servers().await;
    let api = api(&hydra, &gateway, Client::new());
    let unanswered = hydra.hold();
    let call = cart(&api, &gateway, 0).with_extension(Deadline::after(SHORT));
    let error = soon(call.send()).await.unwrap_err();
    assert_eq!(ours(&error).kind(), ErrorKind::Timeout);
    unanswered.arrived(1).await.unwrap();
    assert_eq!((hydra.token_requests(), gateway.connections()), (1, 0));
}

/// Promise: R9
#[tokio::test]
async fn a_request_whose_deadline_comes_before_its_second_token_gets_the_rejection() {
    let (hydra, gateway) = servers().await;
    let api = api(&hydra, &gateway, Client::new());
    warm_up(&api, &gateway).await;
    hydra.revoke_all();
    let _unanswered = hydra.hold();
    // So long that the first try is sure to take less than half of it.
    let deadline = Deadline::after(Duration::from_secs(1));
    let call = cart(&api, &gateway, 0).with_extension(deadline);
    let answer = soon(call.send()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let cause = answer.extensions().get::<Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Timeout);
    assert_eq!(answer.text().await.unwrap(), REFUSED);
    assert_eq!((hydra.token_requests(), gateway.answered()), (2, 2));
}

/// Promise: S3
#[tokio::test]
async fn a_callers_existing_authorization_is_left_alone_and_its_401_handed_on() {
    let (hydra, gateway) = servers().await;
    let api = api(&hydra, &gateway, Client::new());
    let credentials_in_the_url = cart_uri(&gateway, 0).replace("://", "://id:password@");
    for (call, own) in [
        (
            cart(&api, &gateway, 0).bearer_auth("my own"),
            "Bearer my own",
        ),
        (
            cart(&api, &gateway, 0).header(AUTHORIZATION, "DPoP it"),
            "DPoP it",
        ),
        (api.get(credentials_in_the_url), "Basic aWQ6cGFzc3dvcmQ="),
    ] {
        let before = gateway.answered();
        assert_eq!(status(call.send().await).await, StatusCode::UNAUTHORIZED);
        assert_eq!(gateway.answered(), before + 1);
        assert_eq!(token(gateway.calls().last().unwrap()), own);
    }
    assert_eq!(hydra.token_requests(), 0);
}

/// Promise: S1
#[tokio::test]
async fn another_origin_gets_the_request_and_no_token() {
    let (hydra, gateway) = servers().await;
    let elsewhere = Gateway::start(&hydra).await.unwrap();
    let api = api(&hydra, &gateway, Client::new());
    let answer = cart(&api, &elsewhere, 0).send().await;
    assert_eq!(status(answer).await, StatusCode::UNAUTHORIZED);
    assert!(!elsewhere.calls()[0].headers.contains_key(AUTHORIZATION));
    assert_eq!((hydra.token_requests(), elsewhere.answered()), (0, 1));
}

/// Promise: S1
#[tokio::test]
async fn a_redirect_to_another_origin_carries_no_token() {
    let elsewhere = Site::answering(|_| text(200, "elsewhere")).await;
    let there = elsewhere.origin.clone();
    let site = Site::answering(move |_| redirect(307, &there)).await;
    let answer = numbered(Client::new()).get(&site.origin).send().await;
    assert_eq!(answer.unwrap().text().await.unwrap(), "elsewhere");
    assert_eq!(site.tokens(), ["Bearer t1"]);
    assert_eq!(elsewhere.tokens(), [""]);
}

/// Promise: S1
#[tokio::test]
async fn a_selection_sees_what_a_request_was_given_by_with_extension() {
    #[derive(Clone)]
    struct Public;

    let (hydra, gateway) = servers().await;
    let layer =
        BearerAuthLayer::from_cache(hydra_cache(&hydra)).select(|request: &RequestHead<'_>| {
            match request.extensions().get() {
                Some(Public) => None,
                None => Some(()),
            }
        });
    let api = with(layer, Client::new());
    let answer = cart(&api, &gateway, 0).with_extension(Public).send().await;
    assert_eq!(status(answer).await, StatusCode::UNAUTHORIZED);
    assert_eq!((hydra.token_requests(), gateway.answered()), (0, 1));
    warm_up(&api, &gateway).await;
    assert_eq!((hydra.token_requests(), gateway.answered()), (1, 2));
}

/// Promise: F9
#[tokio::test]
async fn a_middleware_and_a_tower_service_share_a_cache_its_token_requests_and_its_rejections() {
    let (hydra, gateway) = servers().await;
    let cache = hydra_cache(&hydra);
    let layer = BearerAuthLayer::from_cache(cache);
    let service = layer.clone().replay(ReusableBody);
    let service = service.layer(ReqwestService::new(Client::new()));
    let api = with(layer, Client::new());
    let both = async || {
        let request = Request::get(cart_uri(&gateway, 0));
        let request = request.body(Body::default()).unwrap();
        let (one, other) = tokio::join!(
            cart(&api, &gateway, 1).send(),
            service.clone().oneshot(request),
        );
        assert_eq!(status(one).await, StatusCode::OK);
        assert_eq!(other.unwrap().status(), StatusCode::OK);
    };

    both().await;
    assert_eq!((hydra.token_requests(), gateway.answered()), (1, 2));

    let gate = gateway.hold();
    let revoke = async {
        gate.arrived(2).await.unwrap();
        hydra.revoke_all();
        gate.open();
    };
    tokio::join!(both(), revoke);
    assert_eq!((hydra.token_requests(), gateway.answered()), (2, 6));
    let calls = gateway.calls();
    assert_eq!(calls.iter().map(token).collect::<HashSet<_>>().len(), 2);
}

/// Promise: R14
#[tokio::test]
async fn a_response_is_as_it_would_be_without_the_middleware() {
    let answers: [fn(usize) -> Answer; 5] = [
        |_| text(200, "known to be so long"),
        |_| Response::new(axum::body::Body::from_stream(stream())),
        |_| text(404, ""),
        |_| {
            let mut answer = text(418, "twice");
            for value in ["b", "a", "b"] {
                let value = HeaderValue::from_static(value);
                answer.headers_mut().append("x-tag", value);
            }
            answer
        },
        // Every other one is the one that was redirected.
        |call| match call % 2 {
            1 => redirect(307, "/moved?to=here"),
            _ => text(200, "moved"),
        },
    ];
    for client in [Client::new(), http2()] {
        for answer in answers {
            let site = Site::answering(answer).await;
            let url = format!("{}/a%20b/{{c}}?d=e&f=%2F|%7B\"#g", site.origin);
            let without = ClientBuilder::new(client.clone()).with(Marking).build();
            let without = without.get(&url).bearer_auth("t1").send().await;
            let layer = BearerAuthLayer::new(Numbered::default().source());
            let below = ClientBuilder::new(client.clone()).with(layer).with(Marking);
            let below = below.build().get(&url).send().await;
            assert_eq!(told(below.unwrap()).await, told(without.unwrap()).await);
            assert!(site.tokens().iter().all(|token| token == "Bearer t1"));
        }
    }
}

/// Promise: R14
#[tokio::test]
async fn a_response_to_a_retry_is_as_it_would_be_without_the_middleware() {
    let site = Site::answering(|call| match call {
        2 => text(401, "no"),
        _ => text(200, "yes"),
    })
    .await;
    let client = ClientBuilder::new(Client::new()).with(Marking).build();
    let without = client.get(&site.origin).send().await.unwrap();
    let layer = BearerAuthLayer::new(Numbered::default().source());
    let below = ClientBuilder::new(Client::new()).with(layer).with(Marking);
    let below = below.build().get(&site.origin).send().await.unwrap();
    assert_eq!(told(below).await, told(without).await);
    assert_eq!(site.tokens(), ["", "Bearer t1", "Bearer t2"]);
}

/// All that a response tells, but for the time.
async fn told(response: reqwest::Response) -> String {
    let mut headers = response.headers().clone();
    headers.remove("date");
    let head = format!(
        "{} {:?} {headers:?} {} {:?} {:?} {:?} ",
        response.status(),
        response.version(),
        response.url(),
        response.remote_addr().unwrap(),
        response.content_length(),
        response.extensions().get::<Mark>().unwrap(),
    );
    head + &response.text().await.unwrap()
}

/// Left by a middleware in a response.
#[derive(Clone, Debug)]
struct Mark;

struct Marking;

#[async_trait]
impl Middleware for Marking {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Answered {
        let mut response = next.run(request, extensions).await?;
        response.extensions_mut().insert(Mark);
        Ok(response)
    }
}

/// Promise: R14
#[tokio::test]
async fn a_requests_own_timeout_holds_for_the_first_try_and_for_the_second() {
    for unanswered in [1, 2] {
        let site = Site::start(move |call| (call < unanswered).then(|| text(401, ""))).await;
        let call = numbered(Client::new()).get(&site.origin).timeout(SHORT);
        match soon(call.send()).await.unwrap_err() {
            MiddlewareError::Reqwest(error) => assert!(error.is_timeout()),
            // The retry ends when the request's time is over, which its own timer, begun later, does not know.
            error => assert_eq!((ours(&error).kind(), unanswered), (ErrorKind::Timeout, 2)),
        }
        assert_eq!(site.tokens().len(), unanswered);
    }
}

/// Promise: R14
#[tokio::test]
async fn a_requests_own_timeout_holds_while_its_answer_is_read() {
    let site = Site::answering(|_| {
        let endless = stream().chain(tokio_stream::pending());
        Response::new(axum::body::Body::from_stream(endless))
    })
    .await;
    let call = numbered(Client::new()).get(&site.origin).timeout(SHORT);
    let answer = call.send().await.unwrap();
    let error = soon(answer.bytes()).await.unwrap_err();
    assert!(error.is_timeout());
}

#[tokio::test]
async fn what_a_middleware_below_leaves_for_one_above_is_there_after_a_retry_too() {
    let site = Site::answering(|call| match call {
        2 => text(401, ""),
        _ => text(200, ""),
    })
    .await;
    let above = Above::default();
    let client = ClientBuilder::new(Client::new())
        .with(above.clone())
        .with(BearerAuthLayer::new(Numbered::default().source()))
        .with(Below)
        .build();
    for _ in 0..2 {
        client.get(&site.origin).send().await.unwrap();
    }
    let nobody = Nobody::new();
    client.get(nobody.origin()).send().await.unwrap_err();
    let call = client.get(&site.origin).with_extension(NoToken);
    call.send().await.unwrap();

    assert_eq!(site.tokens(), ["Bearer t1", "Bearer t1", "Bearer t2", ""]);
    // One try, two tries, one that failed, and one that is none of the layer's business.
    assert_eq!(*above.found.lock().unwrap(), [101, 102, 101, 101]);
}

/// Counted by a middleware below, from what one above begins with.
#[derive(Clone)]
struct Tries(usize);

#[derive(Clone, Default)]
struct Above {
    found: Arc<Mutex<Vec<usize>>>,
}

#[async_trait]
impl Middleware for Above {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Answered {
        extensions.insert(Tries(100));
        let answer = next.run(request, extensions).await;
        let Tries(found) = extensions.get().unwrap();
        self.found.lock().unwrap().push(*found);
        answer
    }
}

struct Below;

#[async_trait]
impl Middleware for Below {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Answered {
        let Tries(tries) = extensions.get_mut().unwrap();
        *tries += 1;
        next.run(request, extensions).await
    }
}

#[tokio::test]
async fn retries_before_the_layer_ask_for_the_current_token_each_time_and_may_be_rejected_once_each()
 {
    let cache = TokenCache::new(Numbered::default().source());
    let current = cache.get().await.unwrap();
    let layer = BearerAuthLayer::from_cache(cache.clone());
    let site = Site::answering(move |call| match call {
        1 => {
            cache.invalidate(&current);
            text(503, "")
        }
        2 | 4 => text(503, ""),
        3 => text(401, ""),
        _ => text(200, ""),
    })
    .await;
    let client = ClientBuilder::new(Client::new())
        .with(retries(3))
        .with(layer);
    let answer = client.build().get(&site.origin).send().await;
    assert_eq!(status(answer).await, StatusCode::OK);
    // Three attempts after the first: one with the token that is current by then, one that is rejected and sent again, and
    // one with the token that came of it.
    let tokens = ["t1", "t2", "t2", "t3", "t3"].map(|token| format!("Bearer {token}"));
    assert_eq!(site.tokens(), tokens);
}

#[tokio::test]
async fn retries_after_the_layer_are_made_with_the_token_of_the_try_they_belong_to() {
    let cache = TokenCache::new(Numbered::default().source());
    let current = cache.get().await.unwrap();
    let layer = BearerAuthLayer::from_cache(cache.clone());
    let site = Site::answering(move |call| match call {
        1 => {
            cache.invalidate(&current);
            text(503, "")
        }
        2 | 4 => text(503, ""),
        3 => text(401, ""),
        _ => text(200, ""),
    })
    .await;
    let client = ClientBuilder::new(Client::new())
        .with(layer)
        .with(retries(3));
    let answer = client.build().get(&site.origin).send().await;
    assert_eq!(status(answer).await, StatusCode::OK);
    let tokens = ["t1", "t1", "t1", "t2", "t2"].map(|token| format!("Bearer {token}"));
    assert_eq!(site.tokens(), tokens);
}

#[tokio::test]
async fn a_401_is_not_retried_by_retries_before_or_after() {
    for before in [true, false] {
        let site = Site::answering(|_| text(401, "never")).await;
        let layer = BearerAuthLayer::new(Numbered::default().source());
        let answer = beside(retries(3), layer, before)
            .get(&site.origin)
            .send()
            .await;
        assert_eq!(answer.unwrap().text().await.unwrap(), "never");
        assert_eq!(site.tokens(), ["Bearer t1", "Bearer t2"]);
    }
}

#[tokio::test]
async fn an_error_of_this_crate_is_not_retried_by_retries_before_and_is_within_theirs() {
    let asked = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&asked);
    let source = service_fn(move |_: TokenRequest| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Err::<Token, _>("none today") }
    });
    let above = Above::default();
    let client = ClientBuilder::new(Client::new())
        .with(above.clone())
        .with(retries(3))
        .with(Below)
        .with(BearerAuthLayer::new(source))
        .build();
    let error = client.get("http://localhost").send().await.unwrap_err();
    let MiddlewareError::Middleware(error) = error else {
        panic!("{error:?}");
    };
    let Some(RetryError::Error(error)) = error.downcast_ref() else {
        panic!("{error:?}");
    };
    assert_eq!(ours(error).kind(), ErrorKind::Source);
    assert!(ours(error).is_transient());
    assert_eq!(*above.found.lock().unwrap(), [101]);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_error_of_this_crate_is_itself_where_retries_are_after() {
    let (hydra, gateway) = servers().await;
    let layer = BearerAuthLayer::from_cache(cache(wrong(&hydra)));
    let call = cart(&beside(retries(3), layer, false), &gateway, 0);
    let error = call.send().await.unwrap_err();
    assert_eq!(ours(&error).kind(), ErrorKind::Denied);
    assert_eq!((hydra.token_requests(), gateway.answered()), (1, 0));
}

#[tokio::test]
async fn a_failure_to_connect_is_retried_by_retries_before_and_after() {
    for before in [true, false] {
        let nobody = Nobody::new();
        let numbered = Numbered::default();
        let layer = BearerAuthLayer::new(numbered.source());
        let client = beside(retries(3), layer, before);
        let error = client.get(nobody.origin()).send().await.unwrap_err();
        let MiddlewareError::Middleware(error) = error else {
            panic!("{error:?}");
        };
        let Some(RetryError::WithRetries { retries, err }) = error.downcast_ref() else {
            panic!("{error:?}");
        };
        assert_eq!(*retries, 3);
        assert!(err.is_connect());
        assert_eq!(numbered.given(), 1);
    }
}

#[tokio::test]
async fn a_stream_is_not_sent_by_retries_before_or_after() {
    for before in [true, false] {
        let site = Site::answering(|_| text(200, "")).await;
        let layer = BearerAuthLayer::new(Numbered::default().source());
        let client = beside(retries(3), layer, before);
        let call = client.post(&site.origin).body(Body::wrap_stream(stream()));
        let error = call.send().await.unwrap_err();
        assert!(error.to_string().contains("not cloneable"), "{error}");
        assert_eq!(site.connections(), 0);
    }
}

fn retries(most: u32) -> RetryTransientMiddleware<AtOnce> {
    RetryTransientMiddleware::new_with_policy(AtOnce(most))
}

/// Retries so often, without a pause.
struct AtOnce(u32);

impl RetryPolicy for AtOnce {
    fn should_retry(&self, _: SystemTime, past: u32) -> RetryDecision {
        if past < self.0 {
            let execute_after = SystemTime::now();
            RetryDecision::Retry { execute_after }
        } else {
            RetryDecision::DoNotRetry
        }
    }
}

fn beside(other: impl Middleware, layer: BearerAuthLayer, before: bool) -> ClientWithMiddleware {
    let client = ClientBuilder::new(Client::new());
    let client = match before {
        true => client.with(other).with(layer),
        false => client.with(layer).with(other),
    };
    client.build()
}

#[tokio::test]
async fn tracing_before_the_layer_is_one_span_with_the_wait_for_a_token_and_the_retry_in_it() {
    let [waiting, cold, rejected] = spans(true).await;
    assert_eq!(waiting, ["opened"]);
    assert_eq!(cold, ["opened", "200", "closed"]);
    assert_eq!(rejected, ["opened", "200", "closed"]);
}

#[tokio::test]
async fn tracing_after_the_layer_is_a_span_for_each_try_and_the_first_ends_with_the_401() {
    let [waiting, cold, rejected] = spans(false).await;
    assert_eq!(waiting, [""; 0]);
    assert_eq!(cold, ["opened", "200", "closed"]);
    assert_eq!(
        rejected,
        ["opened", "401", "closed", "opened", "200", "closed"]
    );
}

/// What becomes of the spans of a cold call while it waits for its token, when it is over, and of a call that is rejected.
async fn spans(before: bool) -> [Vec<String>; 3] {
    let heard = Heard::default();
    let _guard = heard.listen();
    let (hydra, gateway) = servers().await;
    let layer = BearerAuthLayer::from_cache(hydra_cache(&hydra));
    let client = beside(TracingMiddleware::default(), layer, before);

    let token_request = hydra.hold();
    let while_it_waits = async {
        token_request.arrived(1).await.unwrap();
        let waiting = heard.take_calls();
        token_request.open();
        waiting
    };
    let ((), waiting) = tokio::join!(warm_up(&client, &gateway), while_it_waits);
    let cold = [waiting.clone(), heard.take_calls()].concat();
    hydra.revoke_all();
    warm_up(&client, &gateway).await;
    [waiting, cold, heard.take_calls()]
}

/// Promise: S4
#[tokio::test]
async fn tracing_before_and_after_the_layer_tells_neither_token_nor_secret() {
    for client in [Client::new(), http2()] {
        let heard = Heard::default();
        let _guard = heard.listen();
        let (hydra, gateway) = servers().await;
        let with_url = TracingMiddleware::<SpanBackendWithUrl>::new;
        let traced = |cache: &TokenCache| {
            ClientBuilder::new(client.clone())
                .with(with_url())
                .with(BearerAuthLayer::from_cache(cache.clone()))
                .with(with_url())
                .with(Telling)
                .build()
        };

        let good = hydra_cache(&hydra);
        let api = traced(&good);
        warm_up(&api, &gateway).await;
        hydra.revoke_all();
        warm_up(&api, &gateway).await;
        let api = traced(&cache(wrong(&hydra)));
        cart(&api, &gateway, 0).send().await.unwrap_err();
        let nobody = Nobody::new();
        let api = traced(&cache(wrong(&hydra).token_url(nobody.origin())));
        cart(&api, &gateway, 0).send().await.unwrap_err();

        let heard = heard.all();
        for event in [
            "requested an access token",
            "the access token was rejected",
            "token requests fail",
            "error.cause_chain",
            "url.full",
            "\"authorization\": Sensitive",
            "invalid_client",
        ] {
            assert!(heard.contains(event), "{event} is not in {heard}");
        }
        let tokens = gateway.calls().into_iter().map(|call| {
            let token = token(&call).to_str().unwrap().to_owned();
            token.strip_prefix("Bearer ").unwrap().to_owned()
        });
        let secrets = [&hydra.registration().client_secret[..], WRONG].map(str::to_owned);
        for hidden in tokens.chain(secrets) {
            let encoded: String = byte_serialize(hidden.as_bytes()).collect();
            for shown in [hidden, encoded] {
                assert!(!heard.contains(&shown), "{shown} is in {heard}");
            }
        }
    }
}

/// Traces all that there is to trace of a request and its answer.
struct Telling;

#[async_trait]
impl Middleware for Telling {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Answered {
        tracing::info!(?request, ?extensions);
        let answer = next.run(request, extensions).await;
        tracing::info!(?answer, ?extensions);
        answer
    }
}

/// Everything that is told to whoever traces, a line each.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    /// Hears what this thread tells.
    ///
    /// A call site asks once whether it is of interest, when it is first reached. In a process with a single subscriber it asks
    /// the thread that reaches it, and stays silent for all of them if that is a thread of another test, which has none. With
    /// a second one it asks all that there are.
    fn listen(&self) -> DefaultGuard {
        static SECOND: LazyLock<Dispatch> =
            LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
        LazyLock::force(&SECOND);
        tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()))
    }

    fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    /// What became of the calls' spans since it was last asked.
    fn take_calls(&self) -> Vec<String> {
        let lines = std::mem::take(&mut *self.0.lock().unwrap());
        let of_calls = lines.iter().filter_map(|line| {
            let line = line.strip_prefix("HTTP request ")?;
            let status = line.split_once("http.response.status_code=");
            let what = status.map_or(line, |(_, status)| status);
            what.split(' ').next()
        });
        of_calls
            .filter(|what| !what.contains('='))
            .map(str::to_owned)
            .collect()
    }

    fn write(&self, name: &str, what: &str, fields: impl FnOnce(&mut Fields)) {
        let mut line = Fields(format!("{name} {what}"));
        fields(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Heard {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.write(span.metadata().name(), "opened ", |line| span.record(line));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        self.write(span.name(), "", |line| values.record(line));
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.write(event.metadata().name(), "", |line| event.record(line));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        self.write(span.name(), "closed", |_| ());
    }
}

/// Promise: S6
#[tokio::test]
async fn without_a_token_the_error_is_this_crates_by_downcast_and_the_api_is_not_called() {
    let (hydra, gateway) = servers().await;
    let call = async |credentials| {
        let api = with(
            BearerAuthLayer::from_cache(cache(credentials)),
            Client::new(),
        );
        let error = cart(&api, &gateway, 0).send().await.unwrap_err();
        ours(&error).clone()
    };
    let error = call(wrong(&hydra)).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(error.oauth_code(), Some("invalid_client"));
    assert_eq!(error.status(), Some(StatusCode::UNAUTHORIZED));
    assert!(!format!("{error} {error:?}").contains(WRONG));

    let nobody = Nobody::new();
    let error = call(wrong(&hydra).token_url(nobody.origin())).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let cause = error.source().unwrap().downcast_ref::<reqwest::Error>();
    assert!(cause.unwrap().is_connect());

    assert_eq!((gateway.answered(), gateway.connections()), (0, 0));
}

/// Promise: R9
#[tokio::test]
async fn a_401_whose_token_could_not_be_replaced_is_handed_on_whole_with_the_cause_beside_it() {
    let endpoint = Site::answering(|post| match post {
        1 => text(200, r#"{"access_token": "t1", "token_type": "bearer"}"#),
        _ => text(503, "busy"),
    })
    .await;
    let site = Site::answering(|_| text(401, "who are you?")).await;
    let credentials = ClientCredentials::builder(&endpoint.origin, "id", "secret");
    let client = with(
        BearerAuthLayer::from_cache(cache(credentials)),
        Client::new(),
    );

    let answer = client.get(&site.origin).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let cause = answer.extensions().get::<Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Unavailable);
    assert_eq!(cause.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(answer.text().await.unwrap(), "who are you?");
    assert_eq!(site.tokens(), ["Bearer t1"]);
    assert_eq!(endpoint.tokens().len(), 2);
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_is_reqwests_own_error() {
    let nobody = Nobody::new();
    let error = theirs(numbered(Client::new()).get(nobody.origin()).send().await);
    assert!(error.is_connect());
    let url = Url::parse(&nobody.origin()).unwrap();
    assert_eq!(error.url(), Some(&url));
}

#[tokio::test]
async fn a_url_that_cannot_be_called_is_reqwests_own_error() {
    for url in [
        "https://{{hostname}}/",
        "ftp://localhost/",
        "mailto:somebody",
    ] {
        let url = Url::parse(url).unwrap();
        let without = Client::new().get(url.clone()).send().await.unwrap_err();
        let below = theirs(numbered(Client::new()).get(url).send().await);
        assert!(without.is_builder() && below.is_builder());
    }
}

#[tokio::test]
async fn an_error_of_another_middleware_is_handed_on_as_it_came() {
    #[derive(Debug, PartialEq)]
    struct Theirs(u8);

    impl fmt::Display for Theirs {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("theirs")
        }
    }

    impl StdError for Theirs {}

    struct Failing;

    #[async_trait]
    impl Middleware for Failing {
        async fn handle(&self, _: reqwest::Request, _: &mut Extensions, _: Next<'_>) -> Answered {
            Err(MiddlewareError::middleware(Theirs(7)))
        }
    }

    let layer = BearerAuthLayer::new(Numbered::default().source());
    let client = beside(Failing, layer, false);
    let error = client.get("http://localhost").send().await.unwrap_err();
    let MiddlewareError::Middleware(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.downcast_ref(), Some(&Theirs(7)));
}

async fn servers() -> (Hydra, Gateway) {
    let hydra = Hydra::start(Registration::default()).await.unwrap();
    let gateway = Gateway::start(&hydra).await.unwrap();
    (hydra, gateway)
}

/// The tokens of these credentials.
fn cache(credentials: ClientCredentialsBuilder) -> TokenCache {
    let source = credentials.build_with_reqwest(Client::builder());
    TokenCache::new(source.unwrap())
}

fn hydra_cache(hydra: &Hydra) -> TokenCache {
    let known = hydra.registration();
    let credentials = ipxo::credentials(&known.client_id, &known.client_secret, &known.scopes);
    cache(credentials.token_url(hydra.token_url()))
}

/// Credentials with a secret that is not the right one.
fn wrong(hydra: &Hydra) -> ClientCredentialsBuilder {
    let id = &hydra.registration().client_id;
    ipxo::credentials(id, WRONG, [ipxo::scope::ECOMMERCE]).token_url(hydra.token_url())
}

const WRONG: &str = "yesterday's+/ secret";

/// Gives the tokens `t1`, `t2`, …
#[derive(Clone, Default)]
struct Numbered(Arc<AtomicUsize>);

impl Numbered {
    fn source(&self) -> impl TokenSource + use<> {
        let Self(given) = self.clone();
        service_fn(move |_: TokenRequest| {
            let number = given.fetch_add(1, Ordering::Relaxed) + 1;
            async move { Token::new(format!("t{number}")) }
        })
    }

    fn given(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn with(layer: impl Middleware, client: Client) -> ClientWithMiddleware {
    ClientBuilder::new(client).with(layer).build()
}

fn numbered(client: Client) -> ClientWithMiddleware {
    with(BearerAuthLayer::new(Numbered::default().source()), client)
}

fn api(hydra: &Hydra, gateway: &Gateway, client: Client) -> ClientWithMiddleware {
    let origins = Origins::new([gateway.origin()]).unwrap();
    let layer = BearerAuthLayer::from_cache(hydra_cache(hydra)).select(origins);
    with(layer, client)
}

async fn warm_up(api: &ClientWithMiddleware, gateway: &Gateway) {
    let answer = cart(api, gateway, WARM_UP).send().await;
    assert_eq!(status(answer).await, StatusCode::OK);
}

const WARM_UP: usize = 1_000_000;

fn cart_uri(gateway: &Gateway, number: usize) -> String {
    let origin = gateway.origin();
    format!("{origin}/ecommerce/public/{TENANT}/cart/{number}")
}

fn cart(api: &ClientWithMiddleware, gateway: &Gateway, number: usize) -> RequestBuilder {
    api.get(cart_uri(gateway, number))
}

fn credits(api: &ClientWithMiddleware, gateway: &Gateway, number: usize) -> RequestBuilder {
    let uri = format!(
        "{}/ecommerce/public/{TENANT}/orders/{number}/credits/apply",
        gateway.origin()
    );
    api.post(uri).header(CONTENT_TYPE, "application/json")
}

/// The status of an answer, once the answer is read to its end.
async fn status(answer: Answered) -> StatusCode {
    let answer = answer.unwrap();
    let status = answer.status();
    answer.bytes().await.unwrap();
    status
}

/// This crate's error, out of reqwest-middleware's.
#[track_caller]
fn ours(error: &MiddlewareError) -> &Error {
    // As a program finds it that does not know what is between.
    assert!(Error::find_in(error).is_some());
    let MiddlewareError::Middleware(error) = error else {
        panic!("{error:?}");
    };
    error.downcast_ref().unwrap()
}

/// reqwest's error, out of reqwest-middleware's.
fn theirs(answer: Answered) -> reqwest::Error {
    match answer.unwrap_err() {
        MiddlewareError::Reqwest(error) => error,
        error => panic!("{error:?}"),
    }
}

/// The one `Authorization` of a call.
fn token(call: &Call) -> HeaderValue {
    let mut values = call.headers.get_all(AUTHORIZATION).iter();
    let value = values.next().unwrap();
    assert!(values.next().is_none(), "two Authorization headers");
    value.clone()
}

fn two(calls: &[Call]) -> [&Call; 2] {
    let [first, second] = calls else {
        panic!("sent {} times", calls.len());
    };
    [first, second]
}

/// In their order, `Authorization` with its place and without its value.
fn all_but_the_token(headers: &HeaderMap) -> Vec<(&HeaderName, Option<&HeaderValue>)> {
    headers
        .iter()
        .map(|(name, value)| (name, (name != AUTHORIZATION).then_some(value)))
        .collect()
}
