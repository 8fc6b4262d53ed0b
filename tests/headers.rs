//! The headers of requests to the authorization server, over real sockets by the transport that a program chooses.

#![cfg(all(feature = "reqwest", feature = "rustls"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/site.rs"]
mod site;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower_bearer::{
    ClientAuth, ClientCredentials, ErrorKind, TokenCache,
    client_credentials::ClientCredentialsBuilder,
};

use self::site::{Answer, Site, soon, text};

const TOKEN: &str = r#"{"access_token":"t1","token_type":"bearer","expires_in":3600}"#;
const OWN: &str = concat!("tower-bearer/", env!("CARGO_PKG_VERSION"));

fn known(site: &Site) -> ClientCredentialsBuilder {
    let url = format!("{}/token", site.origin);
    ClientCredentials::builder(url, "id", ClientAuth::basic("the-secret"))
}

async fn token_request(source: ClientCredentials) {
    soon(TokenCache::new(source).get()).await.unwrap();
}

/// The headers of the only request that came.
fn only(site: &Site) -> HeaderMap {
    let [request] = &site.seen()[..] else {
        panic!("one request comes");
    };
    request.headers.clone()
}

/// Promise: E8
#[tokio::test]
async fn a_token_request_names_its_user_agent_by_every_transport() {
    type Build = fn(ClientCredentialsBuilder) -> ClientCredentials;
    let transports: [Build; 3] = [
        |client| client.build().unwrap(),
        |client| {
            let hyper = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
            client.build_with(hyper).unwrap()
        },
        |client| {
            let reqwest = reqwest::Client::builder().user_agent("reqwest's");
            client.build_with_reqwest(reqwest).unwrap()
        },
    ];
    for build in transports {
        let site = Site::answering(|_| text(200, TOKEN)).await;
        token_request(build(known(&site))).await;
        assert_eq!(only(&site)["user-agent"], OWN);

        let site = Site::answering(|_| text(200, TOKEN)).await;
        token_request(build(known(&site).user_agent("billing/2.1"))).await;
        let values: Vec<_> = only(&site).get_all("user-agent").iter().cloned().collect();
        assert_eq!(values, ["billing/2.1"]);
    }
}

/// Promise: E8
#[tokio::test]
async fn metadata_is_looked_up_with_the_same_headers() {
    let origin = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let known_later = std::sync::Arc::clone(&origin);
    let site = Site::answering(move |call| match call {
        1 => metadata(known_later.get().unwrap()),
        _ => text(200, TOKEN),
    })
    .await;
    origin.set(site.origin.clone()).unwrap();
    let source = ClientCredentials::discover(&site.origin, "id", "the-secret")
        .header("X-Api-Key", "key-of-the-gateway");
    token_request(source.build().unwrap()).await;

    let [look_up, token_request] = &site.seen()[..] else {
        panic!("a look-up and a token request");
    };
    for request in [look_up, token_request] {
        assert_eq!(request.headers["user-agent"], OWN);
        assert_eq!(request.headers["x-api-key"], "key-of-the-gateway");
    }
}

fn metadata(origin: &str) -> Answer {
    let metadata = serde_json::json!({
        "issuer": origin,
        "token_endpoint": format!("{origin}/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
    });
    Response::new(metadata.to_string().into())
}

#[tokio::test]
async fn a_header_that_is_given_twice_is_sent_twice_beside_those_of_the_request() {
    let site = Site::answering(|_| text(200, TOKEN)).await;
    let client = known(&site).header("X-Tenant", "7").header("x-tenant", "8");
    token_request(client.build().unwrap()).await;

    let headers = only(&site);
    let tenants: Vec<_> = headers.get_all("x-tenant").iter().collect();
    assert_eq!(tenants, ["7", "8"]);
    assert_eq!(headers["accept"], "application/json");
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    assert!(headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_an_error_that_does_not_show_its_value() {
    let site = Site::answering(|_| text(200, TOKEN)).await;
    for (name, value, part) in [
        ("Authorization", "hidden-value", "authorization is set by"),
        ("content-type", "hidden-value", "content-type is set by"),
        ("Host", "hidden-value", "host is set by"),
        ("X Tenant", "hidden-value", "not the name of a header"),
        ("", "hidden-value", "not the name of a header"),
        ("X-Tenant", "hidden-value\n", "value of the header x-tenant"),
        (
            "User-Agent",
            "hidden-value\r\nX: 1",
            "of the header user-agent",
        ),
    ] {
        let error = known(&site).header(name, value).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(part), "{error}");
        assert!(!format!("{error} {error:?}").contains("hidden-value"));
    }
}

/// Promise: S4
#[tokio::test]
async fn a_header_is_sensitive_and_no_error_shows_what_a_server_echoes_of_it() {
    let client = tower::service_fn(async |request: Request<Bytes>| {
        let key = &request.headers()["x-api-key"];
        assert!(key.is_sensitive());
        let body = serde_json::json!({
            "error": "invalid_request",
            "error_description": format!("no such key: {}", key.to_str().unwrap()),
        });
        let mut answer = Response::new(Full::<Bytes>::from(body.to_string()));
        *answer.status_mut() = StatusCode::BAD_REQUEST;
        Ok::<_, std::convert::Infallible>(answer)
    });
    let source = ClientCredentials::builder("https://auth.test/token", "id", "the-secret")
        .header("X-Api-Key", "key-of-the-gateway")
        .build_with(client)
        .unwrap();
    let error = TokenCache::new(source).get().await.unwrap_err();
    assert!(
        error.to_string().contains("no such key: [redacted]"),
        "{error}"
    );
}
