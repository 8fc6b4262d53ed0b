//! The main job over real loopback sockets, with the transport that works out of the box: every figure is counted at the
//! servers.

#![cfg(feature = "rustls")]

#[path = "../examples/embedded/mod.rs"]
mod embedded;

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::task::JoinSet;
use tokio_test::{assert_pending, task};
use tower::{BoxError, Layer, ServiceExt};
use tower_bearer::{
    BearerAuth, BearerAuthLayer, ClientAuth, ClientCredentials, Error, ErrorKind, TokenCache,
    client_credentials::ClientCredentialsBuilder, ipxo, select::Origins,
};

use self::embedded::{Call, Gateway, Hydra, Registration, TENANT};

type Api = BearerAuth<Client<HttpConnector, Full<Bytes>>, Origins>;

const CROWD: usize = 200;

/// Promise: F1
#[tokio::test]
async fn two_hundred_cold_calls_over_sockets_make_one_token_request() {
    let (hydra, gateway) = servers().await;
    let api = api(credentials(&hydra), &gateway);
    let token_request = hydra.hold();

    // Polled once each, so that all of them wait for a token before the first token request is answered.
    let mut calls = JoinSet::new();
    for number in 0..CROWD {
        let mut call = task::spawn(api.clone().oneshot(cart(&gateway, number)));
        assert_pending!(call.poll());
        calls.spawn(async move { status(call.into_inner().await).await });
    }
    token_request
        .arrived(1)
        .await
        .expect("the token request is sent");
    assert_eq!(gateway.answered(), 0, "no call goes out without a token");
    token_request.open();

    assert_eq!(calls.join_all().await, [StatusCode::OK; CROWD]);
    assert_eq!(hydra.token_requests(), 1);
    let calls = gateway.calls();
    assert_eq!(calls.len(), CROWD);
    assert_eq!(calls.iter().map(token).collect::<HashSet<_>>().len(), 1);
}

/// Promise: R2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_revoked_with_two_hundred_calls_in_flight_costs_one_token_request_and_one_retry_each()
 {
    let (hydra, gateway) = servers().await;
    let api = api(credentials(&hydra), &gateway);
    assert_eq!(
        status(api.clone().oneshot(cart(&gateway, CROWD)).await).await,
        StatusCode::OK
    );

    let gate = gateway.hold();
    let mut calls = JoinSet::new();
    for number in 0..CROWD {
        let call = api.clone().oneshot(cart(&gateway, number));
        calls.spawn(async move { status(call.await).await });
    }
    gate.arrived(CROWD).await.expect("every call is in flight");
    hydra.revoke_all();
    gate.open();

    assert_eq!(calls.join_all().await, [StatusCode::OK; CROWD]);
    assert_eq!(
        hydra.token_requests(),
        2,
        "one for the first token, one for its successor"
    );
    let mut by_path = HashMap::<_, Vec<_>>::new();
    for call in gateway.calls() {
        by_path
            .entry(call.uri.path().to_owned())
            .or_default()
            .push(call);
    }
    let warm_up = by_path
        .remove(&cart_path(CROWD))
        .expect("the first call was seen");
    let [warm_up] = &warm_up[..] else {
        panic!("the first call was sent {} times", warm_up.len());
    };
    assert_eq!(by_path.len(), CROWD);
    let mut successors = HashSet::new();
    for (path, calls) in &by_path {
        let [first, second] = &calls[..] else {
            panic!("{path} was sent {} times", calls.len());
        };
        assert_eq!(
            (first.status, second.status),
            (Some(StatusCode::UNAUTHORIZED), Some(StatusCode::OK))
        );
        assert_eq!(token(first), token(warm_up));
        successors.insert(token(second));
    }
    assert_eq!(successors.len(), 1);
}

/// Promise: B1, R1, R14
#[tokio::test]
async fn a_post_is_said_again_byte_for_byte_after_a_401() {
    let (hydra, gateway) = servers().await;
    let api = api(credentials(&hydra), &gateway);
    assert_eq!(
        status(api.clone().oneshot(cart(&gateway, 0)).await).await,
        StatusCode::OK
    );
    hydra.revoke_all();

    let path = format!("/ecommerce/public/{TENANT}/orders/7/credits/apply?note=a%20b&note=&note=c");
    let json = "{\"amount\": 63,\r\n \"note\": \"\u{1F4B3} \\u0000\"}";
    let tag = HeaderName::from_static("x-tag");
    let request = Request::post(format!("{}{path}", gateway.origin()))
        .header(&tag, "one")
        .header(CONTENT_TYPE, "application/json")
        .header(&tag, "two, three")
        .header(ACCEPT, "*/*")
        .header(&tag, "")
        .header(&tag, "one")
        .body(Full::from(json))
        .expect("a valid request");
    assert_eq!(status(api.oneshot(request).await).await, StatusCode::OK);

    assert_eq!(hydra.token_requests(), 2);
    let calls = gateway.calls();
    let [_, first, second] = &calls[..] else {
        panic!("{} calls", calls.len());
    };
    assert_eq!(
        (first.status, second.status),
        (Some(StatusCode::UNAUTHORIZED), Some(StatusCode::OK))
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
    assert_eq!(
        all_but_the_token(&first.headers),
        all_but_the_token(&second.headers)
    );
}

/// Promise: F5, S6
#[tokio::test]
async fn a_wrong_secret_is_one_denial_for_everyone_and_no_call_to_the_api() {
    let (hydra, gateway) = servers().await;
    let secret = "yesterday's secret";
    let client_id = &hydra.registration().client_id;
    let credentials =
        ipxo::credentials(client_id, secret, [ipxo::scope::ECOMMERCE]).token_url(hydra.token_url());
    let api = api(credentials, &gateway);

    let mut calls = Vec::new();
    for number in 0..CROWD {
        let mut call = task::spawn(api.clone().oneshot(cart(&gateway, number)));
        assert_pending!(call.poll());
        calls.push(call.into_inner());
    }
    for call in calls {
        let error = ours(call.await);
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert_eq!(error.oauth_code(), Some("invalid_client"));
        assert_eq!(error.status(), Some(StatusCode::UNAUTHORIZED));
        assert!(!format!("{error} {error:?}").contains(secret));
    }
    assert_eq!(hydra.token_requests(), 1);
    assert_eq!((gateway.answered(), gateway.connections()), (0, 0));
}

/// Promise: E6
#[tokio::test]
async fn a_client_that_uses_basic_where_it_must_not_is_told_what_to_use() {
    let (hydra, gateway) = servers().await;
    let client = hydra.registration();
    let auth = ClientAuth::basic(&client.client_secret);
    let credentials = ClientCredentials::builder(hydra.token_url(), &client.client_id, auth);
    let api = api(credentials, &gateway);

    let error = ours(api.oneshot(cart(&gateway, 0)).await);
    assert_eq!(error.oauth_code(), Some("invalid_client"));
    assert_eq!(error.status(), Some(StatusCode::UNAUTHORIZED));
    let error = error.to_string();
    assert!(error.contains("'client_secret_post'"), "{error}");
    assert!(error.contains("use `ClientAuth::post`"), "{error}");
    assert_eq!(gateway.answered(), 0);
}

/// Promise: R8
#[tokio::test]
async fn a_403_for_want_of_a_scope_is_handed_on_and_costs_nothing() {
    let (hydra, gateway) = servers().await;
    let known = hydra.registration();
    let credentials = ipxo::credentials(
        &known.client_id,
        &known.client_secret,
        [ipxo::scope::CREDITS],
    )
    .token_url(hydra.token_url());
    let api = api(credentials, &gateway);

    assert_eq!(
        status(api.oneshot(cart(&gateway, 0)).await).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!((hydra.token_requests(), gateway.answered()), (1, 1));
}

/// Promise: S1
#[tokio::test]
async fn another_origin_gets_the_request_and_no_token() {
    let (hydra, gateway) = servers().await;
    let elsewhere = Gateway::start(&hydra)
        .await
        .expect("a loopback port is free");
    let api = api(credentials(&hydra), &gateway);

    let answer = status(api.oneshot(cart(&elsewhere, 0)).await).await;
    assert_eq!(answer, StatusCode::UNAUTHORIZED);
    let [call] = &elsewhere.calls()[..] else {
        panic!("the request was not sent once");
    };
    assert!(!call.headers.contains_key(AUTHORIZATION));
    assert_eq!((hydra.token_requests(), gateway.answered()), (0, 0));
}

#[tokio::test]
async fn a_token_says_how_long_it_is_good_for_and_what_for() {
    let (hydra, _) = servers().await;
    let source = credentials(&hydra).build().expect("the defaults are valid");

    let token = TokenCache::new(source).get().await.expect("a token");
    let lifetime = token.lifetime().expect("Hydra always says");
    assert_eq!(lifetime.as_secs(), 24 * 60 * 60);
    let scopes: Vec<_> = token.scopes().expect("Hydra always says").collect();
    assert_eq!(scopes, ["billing", "credits", "ecommerce"]);
}

async fn servers() -> (Hydra, Gateway) {
    let hydra = Hydra::start(Registration::default())
        .await
        .expect("a loopback port is free");
    let gateway = Gateway::start(&hydra)
        .await
        .expect("a loopback port is free");
    (hydra, gateway)
}

fn credentials(hydra: &Hydra) -> ClientCredentialsBuilder {
    let known = hydra.registration();
    ipxo::credentials(&known.client_id, &known.client_secret, &known.scopes)
        .token_url(hydra.token_url())
}

fn api(credentials: ClientCredentialsBuilder, gateway: &Gateway) -> Api {
    let source = credentials.build().expect("the credentials are valid");
    let origins = Origins::new([gateway.origin()]).expect("the gateway's origin is one");
    let client = Client::builder(TokioExecutor::new()).build_http();
    BearerAuthLayer::new(source).select(origins).layer(client)
}

fn cart_path(number: usize) -> String {
    format!("/ecommerce/public/{TENANT}/cart/{number}")
}

fn cart(gateway: &Gateway, number: usize) -> Request<Full<Bytes>> {
    Request::get(format!("{}{}", gateway.origin(), cart_path(number)))
        .body(Full::default())
        .expect("a valid request")
}

/// The status of an answer, once the answer is read to its end.
async fn status<B>(answer: Result<Response<B>, BoxError>) -> StatusCode
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let answer = answer.expect("an answer");
    let status = answer.status();
    answer.into_body().collect().await.expect("a whole answer");
    status
}

/// This crate's error, out of what the service gave.
fn ours<B>(answer: Result<Response<B>, BoxError>) -> Error {
    let Err(error) = answer else {
        panic!("an answer where there should be an error");
    };
    *error.downcast().expect("an error of this crate")
}

/// The one `Authorization` of a call.
fn token(call: &Call) -> HeaderValue {
    let mut values = call.headers.get_all(AUTHORIZATION).iter();
    let value = values.next().expect("a token");
    assert!(values.next().is_none(), "two Authorization headers");
    value.clone()
}

/// In their order, `Authorization` with its place and without its value.
fn all_but_the_token(headers: &HeaderMap) -> Vec<(&HeaderName, Option<&HeaderValue>)> {
    headers
        .iter()
        .map(|(name, value)| (name, (name != AUTHORIZATION).then_some(value)))
        .collect()
}
