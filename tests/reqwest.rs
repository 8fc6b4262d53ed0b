//! reqwest's client as a tower service below the layer, and as the transport of the token request, over real sockets:
//! every figure is counted at a server.

#![cfg(feature = "reqwest")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../examples/embedded/mod.rs"]
mod embedded;
#[path = "support/site.rs"]
mod site;

use std::{
    collections::{HashMap, HashSet},
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::Full;
use reqwest::{Body, Client, ClientBuilder, redirect::Policy};
use tokio::task::JoinSet;
use tokio_test::{assert_pending, task};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuth, BearerAuthLayer, ClientCredentials, Error, ErrorKind, Token, TokenCache,
    adapter::reqwest::{ReqwestService, ReusableBody},
    client_credentials::ClientCredentialsBuilder,
    ipxo,
    replay::Buffered,
    select::{Always, Origins, Select},
    token::TokenRequest,
    unauthorized::BearerChallenge,
};
use tower_http::map_request_body::MapRequestBodyLayer;

use self::{
    embedded::{Call, Gateway, Hydra, Registration, TENANT},
    site::{
        JSON, Nobody, REFUSED, SHORT, SIXTY_THOUSAND, STREAMS, Site, http2, large, redirect, soon,
        stream, text,
    },
};

type Stack<Sel> = BearerAuth<ReqwestService, Sel, BearerChallenge, ReusableBody>;

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
        let mut call = task::spawn(api.clone().oneshot(cart(gateway, number)));
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
            let answer = api.clone().oneshot(cart(&gateway, number)).await;
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
        let call = api
            .clone()
            .oneshot(credits(&gateway, number, Body::from(JSON)));
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
async fn a_body_of_bytes_or_text_is_said_again_byte_for_byte_after_a_401() {
    let json = "{\"amount\": 63,\r\n \"note\": \"\u{1F4B3} \\u0000\"}";
    for body in [
        Body::from(json),
        Body::from(json.to_owned()),
        Body::from(json.as_bytes().to_vec()),
        Body::from(Bytes::from(json)),
    ] {
        let (hydra, gateway) = servers().await;
        let api = api(&hydra, &gateway, Client::new());
        warm_up(&api, &gateway).await;
        hydra.revoke_all();

        let path =
            format!("/ecommerce/public/{TENANT}/orders/7/credits/apply?note=a%20b&note=&note=c");
        let tag = HeaderName::from_static("x-tag");
        let request = Request::post(format!("{}{path}", gateway.origin()))
            .header(&tag, "one")
            .header(CONTENT_TYPE, "application/json")
            .header(&tag, "two, three")
            .header(ACCEPT, "application/json")
            .header(&tag, "")
            .header(&tag, "one")
            .body(body)
            .unwrap();
        assert_eq!(status(api.oneshot(request).await).await, StatusCode::OK);

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
            let api = stack(&cache, origins(&gateway), client.clone());
            warm_up(&api, &gateway).await;
            hydra.revoke_all();

            let mut changes = cache.changes();
            let token_request = hydra.hold();
            let answer = api.clone().oneshot(credits(&gateway, 7, body)).await;
            let answer = reqwest::Response::from(answer.unwrap());
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

/// Promise: B3
#[tokio::test]
async fn a_stream_whose_token_is_good_is_sent_whole() {
    let (hydra, gateway) = servers().await;
    let api = api(&hydra, &gateway, Client::new());
    let body = Body::wrap_stream(stream());
    let answer = api.oneshot(credits(&gateway, 7, body)).await;
    assert_eq!(status(answer).await, StatusCode::OK);
    assert_eq!((hydra.token_requests(), gateway.answered()), (1, 1));
    assert!(gateway.calls()[0].body == large());
}

/// Promise: B2
#[tokio::test]
async fn a_stream_that_buffered_keeps_is_said_again_byte_for_byte() {
    for client in [Client::new(), http2()] {
        let (hydra, gateway) = servers().await;
        let cache = hydra_cache(&hydra);
        let api = buffering(&cache, &gateway, client, 1024 * 1024);
        warm_up(&api, &gateway).await;
        hydra.revoke_all();

        let body = Body::wrap_stream(stream());
        let answer = api.oneshot(credits(&gateway, 7, body)).await;
        assert_eq!(status(answer).await, StatusCode::OK);

        assert_eq!((hydra.token_requests(), gateway.answered()), (2, 3));
        let calls = gateway.calls();
        let [first, second] = two(&calls[1..]);
        assert_ne!(token(first), token(second));
        assert!(first.body == large() && second.body == large());
    }
}

/// Promise: B2, B3
#[tokio::test]
async fn a_stream_that_is_more_than_buffered_keeps_is_sent_whole_and_its_401_handed_on() {
    let (hydra, gateway) = servers().await;
    let cache = hydra_cache(&hydra);
    let api = buffering(&cache, &gateway, Client::new(), 64 * 1024);
    warm_up(&api, &gateway).await;
    hydra.revoke_all();

    let mut changes = cache.changes();
    let body = Body::wrap_stream(stream());
    let answer = api.clone().oneshot(credits(&gateway, 7, body)).await;
    assert_eq!(status(answer).await, StatusCode::UNAUTHORIZED);
    assert_eq!(gateway.answered(), 2);
    assert!(gateway.calls()[1].body == large());

    soon(changes.next()).await;
    warm_up(&api, &gateway).await;
    assert_eq!((hydra.token_requests(), gateway.answered()), (2, 3));
}

/// A stack that keeps streams of up to so many bytes.
fn buffering(
    cache: &TokenCache,
    gateway: &Gateway,
    client: Client,
    limit: usize,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send> + Clone
{
    ServiceBuilder::new()
        .layer(
            BearerAuthLayer::from_cache(cache.clone())
                .select(origins(gateway))
                .replay(Buffered::up_to(limit)),
        )
        .layer(MapRequestBodyLayer::new(Body::wrap))
        .service(ReqwestService::new(client))
}

/// Promise: R12
#[tokio::test]
async fn a_rejection_and_its_retry_can_go_by_one_connection() {
    for client in [Client::new, http2] {
        // Nothing, and more than comes with its head.
        for rejection in ["", SIXTY_THOUSAND] {
            let mut connections = connections(client(), rejection).await;
            for _ in 0..4 {
                // On a machine that is busy elsewhere a rejection may come later than is waited for: 50 ms of real time.
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
    let api = Site::answering(move |call| match call {
        1 => text(401, rejection),
        _ => text(200, ""),
    })
    .await;
    let request = Request::post(&api.origin).body(Body::from(JSON)).unwrap();
    let answer = numbered(client).oneshot(request).await;
    assert_eq!(status(answer).await, StatusCode::OK);
    assert_eq!(api.tokens(), ["Bearer t1", "Bearer t2"]);
    api.connections()
}

/// Promise: S1
#[tokio::test]
async fn a_redirect_to_another_origin_carries_no_token_and_one_to_the_same_origin_does() {
    for code in [301, 302, 303, 307, 308] {
        let elsewhere = Site::answering(|_| text(200, "elsewhere")).await;
        let there = elsewhere.origin.clone();
        let api = Site::answering(move |call| match call {
            1 => redirect(code, "/moved"),
            2 => text(200, "here"),
            _ => redirect(code, &there),
        })
        .await;
        let stack = numbered(Client::new());

        for said in ["here", "elsewhere"] {
            let request = Request::get(&api.origin).body(Body::default()).unwrap();
            let answer = stack.clone().oneshot(request).await.unwrap();
            let answer = reqwest::Response::from(answer);
            assert_eq!(answer.text().await.unwrap(), said);
        }
        assert_eq!(api.tokens(), ["Bearer t1"; 3]);
        let seen = elsewhere.seen();
        assert_eq!(seen.len(), 1);
        assert!(!seen[0].headers.contains_key(AUTHORIZATION));
        assert!(!format!("{:?}", seen[0].headers).contains("t1"));
    }
}

/// Promise: R9
#[tokio::test]
async fn a_401_whose_token_could_not_be_replaced_is_handed_on_whole_with_the_cause_beside_it() {
    let endpoint = Site::answering(|post| match post {
        1 => text(200, TOKEN),
        _ => text(503, "busy"),
    })
    .await;
    let api = Site::answering(|_| text(401, "who are you?")).await;
    let cache = cache(credentials(&endpoint), Client::builder());
    let stack = stack(&cache, Always, Client::new());

    let request = Request::get(&api.origin).body(Body::default()).unwrap();
    let answer = reqwest::Response::from(stack.oneshot(request).await.unwrap());
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let cause = answer.extensions().get::<Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Unavailable);
    assert_eq!(cause.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(answer.text().await.unwrap(), "who are you?");
    assert_eq!((endpoint.seen().len(), api.seen().len()), (2, 1));
}

/// Promise: E4
#[tokio::test]
async fn a_token_request_over_reqwest_follows_no_redirect_though_its_client_was_told_to() {
    for code in [301, 302, 303, 307, 308] {
        let elsewhere = Site::answering(|_| text(200, TOKEN)).await;
        let there = elsewhere.origin.clone();
        for location in [there, "/moved".to_owned()] {
            let endpoint = Site::answering(move |_| redirect(code, &location)).await;
            let told_to = Client::builder().redirect(Policy::limited(10));
            let cache = cache(credentials(&endpoint), told_to);
            let error = cache.get().await.unwrap_err();

            assert_eq!(error.kind(), ErrorKind::Denied, "{code}");
            assert_eq!(error.status().map(|status| status.as_u16()), Some(code));
            let [post] = &endpoint.seen()[..] else {
                panic!("the secret was not sent once");
            };
            assert_eq!(post.method, Method::POST);
            let form = String::from_utf8(post.body.to_vec()).unwrap();
            assert!(form.contains("client_secret=the-secret"));
        }
        assert_eq!(elsewhere.seen().len(), 0);
        assert_eq!(elsewhere.connections(), 0);
    }
}

/// A proxy, as the environment names one, may be on another machine.
///
/// Promise: S2
#[tokio::test]
async fn a_token_request_over_reqwest_with_loopback_goes_by_no_proxy() {
    let proxy = Site::answering(|_| text(200, TOKEN)).await;
    let endpoint = Site::answering(|_| text(200, TOKEN)).await;
    let by_proxy = || Client::builder().proxy(reqwest::Proxy::all(&proxy.origin).unwrap());
    let cache = cache(credentials(&endpoint), by_proxy());
    cache.get().await.unwrap();
    assert_eq!((endpoint.seen().len(), proxy.connections()), (1, 0));

    // Elsewhere it does, where plain http is allowed at all.
    let elsewhere = ClientCredentials::builder("http://auth.test/token", "id", "secret")
        .danger_allow_secret_over_plain_http()
        .build_with_reqwest(by_proxy())
        .unwrap();
    TokenCache::new(elsewhere).get().await.unwrap();
    assert_eq!(proxy.seen().len(), 1);
}

#[tokio::test]
async fn a_token_request_over_reqwest_opens_a_connection_of_its_own() {
    for client in [
        Client::builder(),
        Client::builder().pool_max_idle_per_host(8),
        Client::builder().http2_prior_knowledge(),
    ] {
        let endpoint = Site::answering(|_| text(200, TOKEN)).await;
        let cache = cache(credentials(&endpoint), client);
        for token_requests in 1..4 {
            cache.refresh().await.unwrap();
            assert_eq!(endpoint.seen().len(), token_requests);
            assert_eq!(endpoint.connections(), token_requests);
        }
    }
}

#[tokio::test]
async fn a_token_request_over_reqwest_keeps_what_its_client_was_told_about_time() {
    let (hydra, gateway) = servers().await;
    let client = Client::builder().timeout(SHORT);
    let cache = cache(hydra_credentials(&hydra), client);
    let stack = stack(&cache, origins(&gateway), Client::new());

    let _unanswered = hydra.hold();
    let error = ours(soon(stack.oneshot(cart(&gateway, 0))).await);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_transient());
    assert!(cause(&error).is_timeout());
    // A cold token request that fails in passing is tried once more.
    assert_eq!((hydra.token_requests(), gateway.connections()), (2, 0));
}

/// Somebody may have put a secret into it.
///
/// Promise: S4
#[tokio::test]
async fn an_error_of_a_token_request_over_reqwest_does_not_tell_the_token_url() {
    let nobody = Nobody::new();
    let url = format!("{}/token?key=hidden", nobody.origin());
    let credentials = ClientCredentials::builder(url, "id", "the-secret");
    let error = cache(credentials, Client::builder())
        .get()
        .await
        .unwrap_err();
    assert!(cause(&error).is_connect());
    let told = format!("{error} {error:?} {}", cause(&error));
    assert!(!told.contains("hidden"), "{told}");
}

#[test]
fn a_reqwest_client_that_cannot_be_built_is_told_when_the_credential_is_built() {
    let client = Client::builder().user_agent("two\nlines");
    let credentials = ClientCredentials::builder("http://localhost/token", "id", "the-secret");
    let error = credentials.build_with_reqwest(client).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(cause(&error).is_builder());
    assert!(!format!("{error:?}").contains("the-secret"));
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_is_reqwests_own_error() {
    let (hydra, _) = servers().await;
    let stack = stack(&hydra_cache(&hydra), Always, Client::new());
    let nobody = Nobody::new();
    let request = Request::get(nobody.origin()).body(Body::default()).unwrap();
    let error = theirs(stack.oneshot(request).await);
    assert!(error.is_connect());
    assert_eq!(hydra.token_requests(), 1);
}

/// Promise: S6
#[tokio::test]
async fn without_a_token_the_error_is_this_crates_and_the_api_is_not_called() {
    let (hydra, gateway) = servers().await;
    let call = async |token_url: String| {
        let id = &hydra.registration().client_id;
        let wrong = ipxo::credentials(id, "yesterday's secret", [ipxo::scope::ECOMMERCE]);
        let cache = cache(wrong.token_url(token_url), Client::builder());
        let stack = stack(&cache, origins(&gateway), Client::new());
        ours(stack.oneshot(cart(&gateway, 0)).await)
    };
    let error = call(hydra.token_url()).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(error.oauth_code(), Some("invalid_client"));
    assert_eq!(error.status(), Some(StatusCode::UNAUTHORIZED));
    assert!(!format!("{error} {error:?}").contains("yesterday's secret"));

    let nobody = Nobody::new();
    let error = call(nobody.origin()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(cause(&error).is_connect());

    assert_eq!((gateway.answered(), gateway.connections()), (0, 0));
}

#[tokio::test]
async fn a_relative_uri_is_reqwests_own_error() {
    let stack = numbered(Client::new());
    let request = Request::get("/cart").body(Body::default()).unwrap();
    let error = theirs(stack.oneshot(request).await);
    assert!(error.is_builder());
}

#[tokio::test]
async fn a_clients_own_timeout_ends_a_call_with_reqwests_error() {
    let (hydra, gateway) = servers().await;
    let client = Client::builder().timeout(SHORT).build().unwrap();
    let api = api(&hydra, &gateway, client);
    let _unanswered = gateway.hold();
    let error = theirs(soon(api.oneshot(cart(&gateway, 0))).await);
    assert!(error.is_timeout());
}

/// Promise: R14
#[tokio::test]
async fn a_requests_own_timeout_holds_for_the_first_try_and_for_the_second() {
    for unanswered in [1, 2] {
        let api = Site::start(move |call| (call < unanswered).then(|| text(401, ""))).await;
        let client = Client::new();
        let request = client.get(&api.origin).timeout(SHORT).build().unwrap();
        let request = Request::try_from(request).unwrap();
        let call = soon(numbered(client).oneshot(request));
        let error = theirs(call.await);
        assert!(error.is_timeout());
        assert_eq!(api.seen().len(), unanswered);
    }
}

async fn servers() -> (Hydra, Gateway) {
    let hydra = Hydra::start(Registration::default()).await.unwrap();
    let gateway = Gateway::start(&hydra).await.unwrap();
    (hydra, gateway)
}

const TOKEN: &str = r#"{"access_token": "t", "token_type": "bearer", "expires_in": 3600}"#;

fn credentials(endpoint: &Site) -> ClientCredentialsBuilder {
    ClientCredentials::builder(format!("{}/token", endpoint.origin), "id", "the-secret")
}

fn hydra_credentials(hydra: &Hydra) -> ClientCredentialsBuilder {
    let known = hydra.registration();
    ipxo::credentials(&known.client_id, &known.client_secret, &known.scopes)
        .token_url(hydra.token_url())
}

/// The tokens of these credentials, requested by a client that is built so.
fn cache(credentials: ClientCredentialsBuilder, client: ClientBuilder) -> TokenCache {
    TokenCache::new(credentials.build_with_reqwest(client).unwrap())
}

fn hydra_cache(hydra: &Hydra) -> TokenCache {
    cache(hydra_credentials(hydra), Client::builder())
}

fn origins(gateway: &Gateway) -> Origins {
    Origins::new([gateway.origin()]).unwrap()
}

fn stack<Sel: Select<Key = ()> + Clone>(
    cache: &TokenCache,
    select: Sel,
    client: Client,
) -> Stack<Sel> {
    let layer = BearerAuthLayer::from_cache(cache.clone()).replay(ReusableBody);
    layer.select(select).layer(ReqwestService::new(client))
}

fn api(hydra: &Hydra, gateway: &Gateway, client: Client) -> Stack<Origins> {
    stack(&hydra_cache(hydra), origins(gateway), client)
}

/// A stack that gets the tokens `t1`, `t2`, … and sends them anywhere.
fn numbered(client: Client) -> Stack<Always> {
    let given = Arc::<AtomicUsize>::default();
    let source = service_fn(move |_: TokenRequest| {
        let number = given.fetch_add(1, Ordering::Relaxed) + 1;
        async move { Token::new(format!("t{number}")) }
    });
    stack(&TokenCache::new(source), Always, client)
}

async fn warm_up<S>(api: &S, gateway: &Gateway)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError> + Clone,
{
    let answer = api.clone().oneshot(cart(gateway, WARM_UP)).await;
    assert_eq!(status(answer).await, StatusCode::OK);
}

const WARM_UP: usize = 1_000_000;

fn cart(gateway: &Gateway, number: usize) -> Request<Body> {
    let uri = format!(
        "{}/ecommerce/public/{TENANT}/cart/{number}",
        gateway.origin()
    );
    Request::get(uri).body(Body::default()).unwrap()
}

fn credits(gateway: &Gateway, number: usize, json: Body) -> Request<Body> {
    let uri = format!(
        "{}/ecommerce/public/{TENANT}/orders/{number}/credits/apply",
        gateway.origin()
    );
    let request = Request::post(uri).header(CONTENT_TYPE, "application/json");
    request.body(json).unwrap()
}

/// The status of an answer, once the answer is read to its end.
async fn status(answer: Result<Response<Body>, BoxError>) -> StatusCode {
    let answer = reqwest::Response::from(answer.unwrap());
    let status = answer.status();
    answer.bytes().await.unwrap();
    status
}

/// This crate's error, out of what the service gave.
fn ours(answer: Result<Response<Body>, BoxError>) -> Error {
    *answer.unwrap_err().downcast().unwrap()
}

/// reqwest's error, out of what the service gave.
fn theirs(answer: Result<Response<Body>, BoxError>) -> reqwest::Error {
    *answer.unwrap_err().downcast().unwrap()
}

/// reqwest's error behind one of this crate's.
fn cause(error: &Error) -> &reqwest::Error {
    error.source().unwrap().downcast_ref().unwrap()
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
