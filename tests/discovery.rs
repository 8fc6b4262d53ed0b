//! The token endpoint as its issuer tells it, over a transport that keeps every request.

#![cfg(feature = "jwt")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/endpoint.rs"]
mod endpoint;

use std::{
    collections::HashMap,
    error::Error as StdError,
    future::pending,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use endpoint::token_request;
use http::{
    Method, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, LOCATION},
};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::{Instant, advance, sleep};
use tower_bearer::{
    ClientAuth, ClientCredentials, Error, ErrorKind, Secret, Token, TokenCache,
    client_credentials::{
        Assertion, AssertionAudience, ClientCredentialsBuilder, SigningAlgorithm, SigningKey,
    },
};

const ISSUER: &str = "https://auth.example.com";
const BY_RFC: &str = "https://auth.example.com/.well-known/oauth-authorization-server";
const BY_OIDC: &str = "https://auth.example.com/.well-known/openid-configuration";
const TOKEN_URL: &str = "https://auth.example.com/oauth2/token";
const MTLS_URL: &str = "https://mtls.auth.example.com/oauth2/token";

const ID: &str = "c:1";
const SECRET: &str = "s3cret:/+%&=~x, longer than 256 bits";
const TOKEN: &str = "2YotnFZFEjr1zCsicMWpAA";

const P256: &str = include_str!("keys/p256.pem");
const ED25519: &str = include_str!("keys/ed25519.pem");
const RSA_JWK: &str = include_str!("keys/rsa.jwk.json");

const HOUR: Duration = Duration::from_secs(60 * 60);
const SECOND: Duration = Duration::from_secs(1);

/// An authorization server with its metadata: what is at each URL may change. What is at none is 404.
#[derive(Clone, Default)]
struct Server {
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    requests: Arc<Mutex<Vec<Request<Bytes>>>>,
}

#[derive(Clone)]
enum Reply {
    Answer(Response<Bytes>),
    /// An answer that takes so long.
    Late(Duration, Response<Bytes>),
    NoConnection,
    Silence,
}

impl Server {
    /// It has this metadata at this URL, and gives tokens at the usual ones.
    fn with(location: &str, metadata: &Value) -> Self {
        let this = Self::default();
        this.tells(location, metadata);
        this.gives_tokens_at(TOKEN_URL);
        this.gives_tokens_at(MTLS_URL);
        this
    }

    fn set(&self, url: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(url.to_owned(), reply);
    }

    fn answers(&self, url: &str, status: u16, body: impl Into<Bytes>) {
        self.set(url, Reply::Answer(endpoint::answer(status, &[], body)));
    }

    fn tells(&self, location: &str, metadata: &Value) {
        self.answers(location, 200, metadata.to_string());
    }

    fn gives_tokens_at(&self, url: &str) {
        let token = json!({"access_token": TOKEN, "token_type": "bearer", "expires_in": 300});
        self.answers(url, 200, token.to_string());
    }

    fn build(&self, credentials: ClientCredentialsBuilder) -> ClientCredentials {
        let this = self.clone();
        let transport = tower::service_fn(move |request: Request<Bytes>| {
            let url = request.uri().to_string();
            this.requests.lock().unwrap().push(request);
            let reply = this.replies.lock().unwrap().get(&url).cloned();
            async move {
                match reply {
                    Some(Reply::Answer(answer)) => Ok(answer.map(Full::new)),
                    Some(Reply::Late(delay, answer)) => {
                        sleep(delay).await;
                        Ok(answer.map(Full::new))
                    }
                    Some(Reply::NoConnection) => Err(io::Error::other("no connection")),
                    Some(Reply::Silence) => pending().await,
                    None => Ok(endpoint::answer(404, &[], "<p>Not Found").map(Full::new)),
                }
            }
        });
        credentials.build_with(transport).unwrap()
    }

    fn credentials(&self, auth: impl Into<ClientAuth>) -> ClientCredentials {
        self.build(ClientCredentials::discover(ISSUER, ID, auth))
    }

    /// The URLs that were asked by this method, in order.
    fn asked(&self, method: &Method) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let by_it = requests.iter().filter(|it| it.method() == method);
        by_it.map(|it| it.uri().to_string()).collect()
    }

    fn gets(&self) -> Vec<String> {
        self.asked(&Method::GET)
    }

    fn posts(&self) -> Vec<String> {
        self.asked(&Method::POST)
    }

    fn last_post(&self) -> Request<Bytes> {
        let requests = self.requests.lock().unwrap();
        let mut posts = requests.iter().filter(|it| it.method() == Method::POST);
        posts.next_back().unwrap().clone()
    }
}

/// The least that a server has to tell.
fn metadata() -> Value {
    json!({"issuer": ISSUER, "token_endpoint": TOKEN_URL})
}

fn metadata_with(name: &str, value: Value) -> Value {
    let mut metadata = metadata();
    metadata[name] = value;
    metadata
}

fn offering(methods: &[&str]) -> Value {
    let mut metadata = metadata_with("token_endpoint_auth_methods_supported", json!(methods));
    metadata["mtls_endpoint_aliases"] = json!({"token_endpoint": MTLS_URL});
    metadata
}

fn field(request: &Request<Bytes>, name: &str) -> Option<String> {
    let mut form = url::form_urlencoded::parse(request.body());
    let found = form.find(|(field, _)| field == name);
    found.map(|(_, value)| value.into_owned())
}

/// How a request proves who sent it.
fn proof(request: &Request<Bytes>) -> String {
    let header = request.headers().get(AUTHORIZATION);
    if header.is_some_and(|it| it.as_bytes().starts_with(b"Basic ")) {
        return "basic".into();
    }
    if let Some(assertion) = field(request, "client_assertion") {
        let header = BASE64_URL_SAFE_NO_PAD.decode(assertion.split('.').next().unwrap());
        let header: Value = serde_json::from_slice(&header.unwrap()).unwrap();
        return header["alg"].as_str().unwrap().to_owned();
    }
    let secret = field(request, "client_secret");
    secret.map_or("id", |_| "post").to_owned()
}

/// The header and the claims of a request's assertion.
fn assertion_in(request: &Request<Bytes>) -> [Value; 2] {
    let assertion = field(request, "client_assertion").unwrap();
    [0, 1].map(|nth| {
        let part = assertion.split('.').nth(nth).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    })
}

fn key() -> ClientAuth {
    ClientAuth::private_key_jwt(SigningKey::from_pem(SigningAlgorithm::Es256, P256))
}

/// An error with its causes.
fn told(error: &Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}

#[track_caller]
fn assert_fails(made: Result<Token, Error>, kind: ErrorKind, parts: &[&str]) -> Error {
    let error = made.unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    let told = told(&error);
    for part in parts {
        assert!(told.contains(part), "no {part:?} in {told}");
    }
    error
}

#[tokio::test(start_paused = true)]
async fn the_token_endpoint_is_found_where_rfc_8414_has_the_metadata() {
    for (issuer, location) in [
        (
            "https://a.test",
            "https://a.test/.well-known/oauth-authorization-server",
        ),
        (
            "https://a.test/",
            "https://a.test/.well-known/oauth-authorization-server",
        ),
        (
            "https://a.test:8443/realms/main",
            "https://a.test:8443/.well-known/oauth-authorization-server/realms/main",
        ),
        (
            "https://a.test/t%201/",
            "https://a.test/.well-known/oauth-authorization-server/t%201",
        ),
        (
            "http://127.0.0.1:80/",
            "http://127.0.0.1/.well-known/oauth-authorization-server",
        ),
    ] {
        let server = Server::with(
            location,
            &json!({"issuer": issuer, "token_endpoint": TOKEN_URL, "jwks_uri": null, "x": [{"y": 1}]}),
        );
        let source = server.build(ClientCredentials::discover(issuer, ID, SECRET));
        token_request(source).await.unwrap();
        assert_eq!(server.gets(), [location]);
        assert_eq!(server.posts(), [TOKEN_URL]);
        let requests = server.requests.lock().unwrap();
        assert_eq!(requests[0].headers()[ACCEPT], "application/json");
        assert!(requests[0].headers().get(AUTHORIZATION).is_none());
        assert!(requests[0].body().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn else_it_is_found_where_openid_connect_has_it() {
    for (issuer, by_rfc, by_oidc) in [
        (ISSUER, BY_RFC, BY_OIDC),
        (
            "https://auth.example.com/t/1/",
            "https://auth.example.com/.well-known/oauth-authorization-server/t/1",
            "https://auth.example.com/t/1/.well-known/openid-configuration",
        ),
    ] {
        let mut metadata = metadata();
        metadata["issuer"] = json!(issuer);
        let stranger =
            json!({"issuer": "https://stranger.test", "token_endpoint": "https://stranger.test"});
        for (status, body) in [
            (404, "".to_owned()),
            (403, "{}".to_owned()),
            (401, "<html>".to_owned()),
            (302, "".to_owned()),
            (500, "".to_owned()),
            (502, "".to_owned()),
            (503, "<html>".to_owned()),
            (200, "<html>an app for every path".to_owned()),
            (200, "[]".to_owned()),
            (200, "{}".to_owned()),
            (200, "x".repeat(70_000)),
            (200, stranger.to_string()),
        ] {
            let server = Server::with(by_oidc, &metadata);
            server.answers(by_rfc, status, body);
            let source = server.build(ClientCredentials::discover(issuer, ID, SECRET));
            token_request(source).await.unwrap();
            assert_eq!(server.gets(), [by_rfc, by_oidc]);
            assert_eq!(server.posts(), [TOKEN_URL]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_answer_now_is_not_asked_for_other_metadata() {
    for status in [408, 429] {
        let server = Server::with(BY_OIDC, &metadata());
        let answer = endpoint::answer(status, &[("retry-after", "7")], "");
        server.set(BY_RFC, Reply::Answer(answer));
        let made = token_request(server.credentials(SECRET)).await;
        let error = assert_fails(made, ErrorKind::Unavailable, &[BY_RFC]);
        assert!(error.is_transient());
        assert_eq!(error.status(), StatusCode::from_u16(status).ok());
        assert_eq!(error.retry_after(), Some(7 * SECOND));
        assert_eq!(server.gets(), [BY_RFC]);
    }
    let server = Server::with(BY_OIDC, &metadata());
    server.set(BY_RFC, Reply::NoConnection);
    let made = token_request(server.credentials(SECRET)).await;
    let parts = [BY_RFC, "no connection"];
    let error = assert_fails(made, ErrorKind::Unavailable, &parts);
    assert!(error.is_transient());
    assert!(server.posts().is_empty());
}

/// Promise: L11
#[tokio::test(start_paused = true)]
async fn the_other_place_that_cannot_answer_now_says_nothing_against_the_issuer() {
    for status in [408, 429] {
        let server = Server::default();
        server.answers(BY_RFC, 404, "");
        let answer = endpoint::answer(status, &[("retry-after", "7")], "");
        server.set(BY_OIDC, Reply::Answer(answer));
        let made = token_request(server.credentials(SECRET)).await;
        let error = assert_fails(made, ErrorKind::Unavailable, &[BY_OIDC]);
        assert!(!told(&error).contains("issuer"), "{error}");
        assert_eq!(error.status(), StatusCode::from_u16(status).ok());
        assert_eq!(error.retry_after(), Some(7 * SECOND));
    }
}

/// Promise: E8, L11
#[tokio::test(start_paused = true)]
async fn metadata_that_fails_in_one_place_and_is_missing_in_the_other_is_an_outage() {
    for (places, asked) in [([BY_RFC, BY_OIDC], 503), ([BY_OIDC, BY_RFC], 500)] {
        let server = Server::default();
        let answer = endpoint::answer(asked, &[("retry-after", "7")], "");
        server.set(places[0], Reply::Answer(answer));
        server.answers(places[1], 404, "");
        let made = token_request(server.credentials(SECRET)).await;
        let parts = [BY_RFC, BY_OIDC, "cannot be fetched now"];
        let error = assert_fails(made, ErrorKind::Unavailable, &parts);
        assert_eq!(error.status(), StatusCode::from_u16(asked).ok());
        assert_eq!(error.retry_after(), Some(7 * SECOND));
        assert!(!told(&error).contains("check the issuer"));
        assert_eq!(server.gets(), [BY_RFC, BY_OIDC]);
    }
}

/// Promise: E8, S4
#[tokio::test(start_paused = true)]
async fn metadata_that_is_denied_tells_what_the_server_says() {
    let server = Server::default();
    let title = format!("<title>Blocked: {SECRET}</title>");
    server.answers(BY_RFC, 403, title);
    server.answers(BY_OIDC, 401, r#"{"message":"no such tenant"}"#);
    let made = token_request(server.credentials(SECRET)).await;
    let parts = [
        "answered 403: Blocked: [redacted];",
        "answered 401: no such tenant;",
    ];
    assert_fails(made, ErrorKind::Unavailable, &parts);
}

#[tokio::test(start_paused = true)]
async fn a_second_place_that_cannot_be_asked_now_is_told_as_it_is() {
    let busy = endpoint::answer(429, &[("retry-after", "7")], "");
    for reply in [Reply::NoConnection, Reply::Answer(busy)] {
        let server = Server::default();
        server.set(BY_OIDC, reply);
        let made = token_request(server.credentials(SECRET)).await;
        let error = assert_fails(made, ErrorKind::Unavailable, &[BY_OIDC]);
        assert!(!told(&error).contains("check the issuer"), "{error}");
        assert_eq!(server.gets()[..2], [BY_RFC, BY_OIDC]);
    }
}

/// Promise: E8
#[tokio::test(start_paused = true)]
async fn metadata_that_is_compressed_unasked_says_so() {
    let server = Server::default();
    let gzip = [("content-encoding", "gzip")];
    let answer = endpoint::answer(200, &gzip, &b"\x1F\x8B\x08\0"[..]);
    server.set(BY_RFC, Reply::Answer(answer));
    let made = token_request(server.credentials(SECRET)).await;
    let parts = [BY_RFC, "`Content-Encoding: gzip`"];
    assert_fails(made, ErrorKind::InvalidAnswer, &parts);
}

/// Promise: L16
#[tokio::test(start_paused = true)]
async fn no_metadata_anywhere_is_an_error_that_says_where_it_was_looked_for() {
    let server = Server::default();
    let made = token_request(server.credentials(SECRET)).await;
    let parts = [BY_RFC, BY_OIDC, "answered 404", "check the issuer"];
    let error = assert_fails(made, ErrorKind::Unavailable, &parts);
    assert!(error.is_transient());
    assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
}

/// RFC 8414 §3.3, §6.2: whoever could have a client believe another issuer's metadata would get its secret.
#[tokio::test(start_paused = true)]
async fn metadata_of_another_issuer_is_not_used() {
    for other in [
        "https://auth.example.com/",
        "https://AUTH.example.com",
        "https://auth.example.com:443",
        "http://auth.example.com",
        "https://auth.example.com.evil.test",
        "",
    ] {
        let server = Server::with(BY_RFC, &metadata_with("issuer", json!(other)));
        let made = token_request(server.credentials(SECRET)).await;
        let parts = [BY_RFC, &format!("{other:?}"), &format!("{ISSUER:?}")];
        assert_fails(made, ErrorKind::InvalidAnswer, &parts);
        assert!(server.posts().is_empty(), "{other}");
    }
    for none in [json!(null), json!(7)] {
        let server = Server::with(BY_RFC, &metadata_with("issuer", none));
        let made = token_request(server.credentials(SECRET)).await;
        assert_fails(made, ErrorKind::InvalidAnswer, &[BY_RFC]);
        assert!(server.posts().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_endpoint_that_is_missing_or_insecure_is_an_error() {
    for (token_endpoint, part) in [
        (json!(null), "names no token endpoint"),
        (json!("/oauth2/token"), "does not parse"),
        (json!("http://auth.example.com/token"), "is not https"),
        (json!("ftp://127.0.0.1/token"), "is not https"),
        (
            json!("https://u:p@auth.example.com/token"),
            "has credentials",
        ),
        (json!("https://auth.example.com/token#x"), "has a fragment"),
    ] {
        let server = Server::with(BY_RFC, &metadata_with("token_endpoint", token_endpoint));
        let made = token_request(server.credentials(SECRET)).await;
        assert_fails(made, ErrorKind::InvalidAnswer, &[BY_RFC, part]);
        assert!(server.posts().is_empty(), "{part}");
    }
}

/// Anybody may listen on loopback.
///
/// Promise: S2
#[tokio::test(start_paused = true)]
async fn a_token_endpoint_without_tls_does_not_do_where_the_issuer_has_it() {
    let url = "http://127.0.0.1:9000/token";
    let server = Server::with(BY_RFC, &metadata_with("token_endpoint", json!(url)));
    server.gives_tokens_at(url);
    let made = token_request(server.credentials(SECRET)).await;
    assert_fails(made, ErrorKind::InvalidAnswer, &["not https"]);
    assert!(server.posts().is_empty());
}

/// Whoever allows plain http allows no issuer to fall back to it.
///
/// Promise: S2
#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_https_names_no_token_endpoint_without_it_whatever_is_allowed() {
    let url = "http://auth.example.com/token";
    let server = Server::with(BY_RFC, &metadata_with("token_endpoint", json!(url)));
    server.gives_tokens_at(url);
    let builder =
        ClientCredentials::discover(ISSUER, ID, SECRET).danger_allow_secret_over_plain_http();
    let made = token_request(server.build(builder)).await;
    assert_fails(made, ErrorKind::InvalidAnswer, &["not https"]);
    assert!(server.posts().is_empty());
}

/// Promise: E1
#[tokio::test(start_paused = true)]
async fn what_is_no_metadata_is_a_typed_error() {
    let twice =
        format!(r#"{{"issuer":"{ISSUER}","token_endpoint":"{TOKEN_URL}","issuer":"{ISSUER}"}}"#);
    let deep = format!(r#"{{"issuer":{}"#, "[".repeat(50_000));
    let long = metadata_with("x", json!("x".repeat(64 * 1024))).to_string();
    let whole = metadata().to_string();
    for (body, part) in [
        ("", "is not the JSON metadata"),
        ("<!doctype html><p>Sign in", "is not the JSON metadata"),
        (
            r#"["https://auth.example.com"]"#,
            "is not the JSON metadata",
        ),
        (&whole[..whole.len() - 1], "is not the JSON metadata"),
        (&twice, "is not the JSON metadata"),
        (&deep, "is not the JSON metadata"),
        (&long, "larger than 64 KiB"),
    ] {
        let server = Server::default();
        server.answers(BY_RFC, 200, body.to_owned());
        let made = token_request(server.credentials(SECRET)).await;
        let error = assert_fails(made, ErrorKind::InvalidAnswer, &[BY_RFC, part]);
        assert!(error.is_transient());
        assert_eq!(server.gets(), [BY_RFC, BY_OIDC]);
        assert!(server.posts().is_empty());
    }
    let server = Server::with(BY_RFC, &metadata());
    server.answers(BY_RFC, 200, format!("\u{FEFF}\n{whole}"));
    token_request(server.credentials(SECRET)).await.unwrap();
}

/// Promise: E4
#[tokio::test(start_paused = true)]
async fn a_redirect_of_the_metadata_is_never_followed() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = "https://elsewhere.test/metadata";
        let server = Server::with(elsewhere, &metadata());
        for location in [BY_RFC, BY_OIDC] {
            let answer = endpoint::answer(status, &[(LOCATION.as_str(), elsewhere)], "");
            server.set(location, Reply::Answer(answer));
        }
        let made = token_request(server.credentials(SECRET)).await;
        let parts = [&status.to_string(), "a redirect, which is not followed"];
        assert_fails(made, ErrorKind::Denied, &parts);
        assert_eq!(server.gets(), [BY_RFC, BY_OIDC]);
        assert!(server.posts().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_goes_by_the_first_method_that_is_offered_and_anything_else_by_its_own() {
    const ALL: &[&str] = &[
        "client_secret_post",
        "none",
        "client_secret_basic",
        "client_secret_jwt",
        "private_key_jwt",
        "tls_client_auth",
    ];
    let jwk = || ClientAuth::private_key_jwt(SigningKey::from_jwk(RSA_JWK));
    let no_jwt: &[&str] = &["client_secret_post", "client_secret_basic"];
    for (auth, offered, algorithms, expected) in [
        (SECRET.into(), ALL, None, "basic"),
        (SECRET.into(), &["client_secret_jwt"], None, "HS256"),
        (
            SECRET.into(),
            &["client_secret_jwt"],
            Some(json!(["RS256", "HS256"])),
            "HS256",
        ),
        (SECRET.into(), no_jwt, None, "basic"),
        (SECRET.into(), &["client_secret_post"], None, "post"),
        (
            SECRET.into(),
            &["x", "client_secret_post", "tls_client_auth"],
            None,
            "post",
        ),
        (ClientAuth::post(SECRET), ALL, None, "post"),
        (ClientAuth::basic(SECRET), ALL, None, "basic"),
        (
            ClientAuth::basic_raw(SECRET),
            &["client_secret_basic"],
            None,
            "basic",
        ),
        (
            ClientAuth::secret_jwt(SECRET),
            ALL,
            Some(json!(["HS256"])),
            "HS256",
        ),
        (key(), ALL, None, "ES256"),
        (key(), ALL, Some(json!(["PS256", "ES256"])), "ES256"),
        (jwk(), ALL, Some(json!(["RS256"])), "RS256"),
        (ClientAuth::tls(), ALL, None, "id"),
        (
            ClientAuth::tls(),
            &["self_signed_tls_client_auth"],
            None,
            "id",
        ),
        (ClientAuth::none(), ALL, None, "id"),
    ] {
        let auth: ClientAuth = auth;
        // A colon is nothing for a raw Basic header.
        let id = "c1";
        let case = format!("{auth:?} at {offered:?}, {algorithms:?}");
        let mut metadata = offering(offered);
        metadata["token_endpoint_auth_signing_alg_values_supported"] = json!(algorithms);
        let server = Server::with(BY_RFC, &metadata);
        let source = server.build(ClientCredentials::discover(ISSUER, id, auth));
        token_request(source).await.expect(&case);
        assert_eq!(proof(&server.last_post()), expected, "{case}");
    }
}

/// RFC 8414 §2.
#[tokio::test(start_paused = true)]
async fn a_server_that_offers_nothing_takes_a_secret_by_basic() {
    let server = Server::with(BY_RFC, &metadata());
    token_request(server.credentials(SECRET)).await.unwrap();
    let request = server.last_post();
    let encoded = "c%3A1:s3cret%3A%2F%2B%25%26%3D%7Ex%2C+longer+than+256+bits";
    let basic = format!("Basic {}", BASE64_STANDARD.encode(encoded));
    assert_eq!(request.headers()[AUTHORIZATION], basic);
    assert!(request.headers()[AUTHORIZATION].is_sensitive());
    assert_eq!(field(&request, "client_secret"), None);
    let made = token_request(server.credentials(ClientAuth::post(SECRET))).await;
    assert_fails(
        made,
        ErrorKind::Denied,
        &["client_secret_basic", "client_secret_post"],
    );
}

#[tokio::test(start_paused = true)]
async fn where_no_method_is_common_the_error_names_those_of_both_sides() {
    let two: &[&str] = &["private_key_jwt", "tls_client_auth"];
    for (auth, offered, own) in [
        (
            SECRET.into(),
            two,
            "client_secret_basic, client_secret_post, client_secret_jwt",
        ),
        (
            ClientAuth::post(SECRET),
            &["client_secret_basic", "none"],
            "client_secret_post",
        ),
        (key(), &["client_secret_jwt"], "private_key_jwt"),
        (
            ClientAuth::assertion("a.b.c"),
            &["client_secret_jwt"],
            "private_key_jwt",
        ),
        (
            ClientAuth::spiffe_jwt("a.b.c"),
            &["private_key_jwt"],
            "spiffe_jwt",
        ),
        (
            ClientAuth::tls(),
            &["private_key_jwt"],
            "tls_client_auth, self_signed_tls_client_auth",
        ),
        (ClientAuth::none(), two, "none"),
    ] {
        let auth: ClientAuth = auth;
        let server = Server::with(BY_RFC, &offering(offered));
        let made = token_request(server.credentials(auth)).await;
        let parts = [
            &format!("offers the client authentication {}", offered.join(", ")),
            &format!("supports only {own}")[..],
        ];
        let error = assert_fails(made, ErrorKind::Denied, &parts);
        assert!(!error.is_transient());
        assert!(server.posts().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_algorithm_that_is_not_taken_is_told_before_anything_is_signed_by_it() {
    let jwk = || ClientAuth::private_key_jwt(SigningKey::from_jwk(RSA_JWK));
    for (auth, own) in [
        (key(), "ES256"),
        (jwk(), "RS256"),
        (ClientAuth::secret_jwt(SECRET), "HS256"),
        // Nothing else is offered for a secret.
        (SECRET.into(), "HS256"),
    ] {
        let mut metadata = offering(&["private_key_jwt", "client_secret_jwt"]);
        metadata["token_endpoint_auth_signing_alg_values_supported"] = json!(["PS256", "EdDSA"]);
        let server = Server::with(BY_RFC, &metadata);
        let made = token_request(server.credentials(auth)).await;
        let parts = ["signed with PS256, EdDSA", &format!("signed with {own}")];
        let error = assert_fails(made, ErrorKind::Denied, &parts);
        assert!(!error.is_transient());
        assert!(server.posts().is_empty());
    }
}

/// RFC 8705 §5.
#[tokio::test(start_paused = true)]
async fn a_client_certificate_goes_to_the_endpoint_that_is_for_it() {
    let all = ["tls_client_auth", "private_key_jwt", "client_secret_basic"];
    for (auth, url) in [
        (ClientAuth::tls(), MTLS_URL),
        (ClientAuth::basic(SECRET), TOKEN_URL),
        (key(), TOKEN_URL),
    ] {
        let server = Server::with(BY_RFC, &offering(&all));
        token_request(server.credentials(auth)).await.unwrap();
        assert_eq!(server.posts(), [url]);
    }
    for aliases in [
        json!(null),
        json!({}),
        json!({"revocation_endpoint": MTLS_URL}),
    ] {
        let mut metadata = offering(&all);
        metadata["mtls_endpoint_aliases"] = aliases;
        let server = Server::with(BY_RFC, &metadata);
        token_request(server.credentials(ClientAuth::tls()))
            .await
            .unwrap();
        assert_eq!(server.posts(), [TOKEN_URL]);
    }
    let mut metadata = offering(&all);
    metadata["mtls_endpoint_aliases"] = json!({"token_endpoint": "http://mtls.example.com/token"});
    let server = Server::with(BY_RFC, &metadata);
    let made = token_request(server.credentials(ClientAuth::tls())).await;
    assert_fails(made, ErrorKind::InvalidAnswer, &["is not https"]);
}

/// The form of RFC 7523's successor is the default where the issuer is known.
#[tokio::test(start_paused = true)]
async fn an_assertion_is_for_the_issuer_unless_it_is_for_the_token_endpoint_or_another() {
    use AssertionAudience::{Issuer, TokenEndpoint};
    let url = "https://auth.example.com:443/oauth2/../token";
    let mut metadata = offering(&["private_key_jwt", "client_secret_jwt"]);
    metadata["token_endpoint"] = json!(url);
    let newer = "client-authentication+jwt";
    let assertion = || Assertion::signed_by(SigningKey::from_pem(SigningAlgorithm::Es256, P256));
    let cases: [(ClientAuth, &str, &str); 7] = [
        (key(), ISSUER, newer),
        (SECRET.into(), ISSUER, newer),
        (assertion().with_audience(Issuer).into(), ISSUER, newer),
        (
            assertion().with_audience(Issuer).with_typ("JWT").into(),
            ISSUER,
            "JWT",
        ),
        // As it is written in the metadata.
        (assertion().with_audience(TokenEndpoint).into(), url, "JWT"),
        (
            assertion().with_audience("another").into(),
            "another",
            "JWT",
        ),
        (
            assertion().with_audience("another").with_typ(newer).into(),
            "another",
            newer,
        ),
    ];
    for (auth, audience, typ) in cases {
        let server = Server::with(BY_RFC, &metadata);
        server.gives_tokens_at("https://auth.example.com/token");
        token_request(server.credentials(auth)).await.unwrap();
        let [header, claims] = assertion_in(&server.last_post());
        assert_eq!(claims["aud"], audience);
        assert_eq!(header["typ"], typ);
    }
}

/// RFC 9864 gives Ed25519 its own name beside `EdDSA`.
#[tokio::test(start_paused = true)]
async fn an_ed25519_key_signs_by_the_name_that_the_server_knows() {
    use SigningAlgorithm::{Ed25519, EdDsa};
    for (key, listed, name) in [
        (EdDsa, json!(["EdDSA"]), "EdDSA"),
        (EdDsa, json!(["ES256", "Ed25519"]), "Ed25519"),
        (EdDsa, json!(["Ed25519", "EdDSA"]), "EdDSA"),
        (EdDsa, json!(null), "EdDSA"),
        (Ed25519, json!(["EdDSA", "Ed25519"]), "Ed25519"),
        (Ed25519, json!(["EdDSA"]), "EdDSA"),
        (Ed25519, json!(null), "Ed25519"),
    ] {
        let mut metadata = offering(&["private_key_jwt"]);
        metadata["token_endpoint_auth_signing_alg_values_supported"] = listed;
        let server = Server::with(BY_RFC, &metadata);
        let auth = ClientAuth::private_key_jwt(SigningKey::from_pem(key, ED25519));
        token_request(server.credentials(auth)).await.unwrap();
        let [header, _] = assertion_in(&server.last_post());
        assert_eq!(header["alg"], name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_without_a_method_signs_by_the_hash_that_the_server_takes() {
    for (listed, name) in [
        (json!(null), "HS256"),
        (json!(["ES256", "HS512", "HS256"]), "HS256"),
        (json!(["HS512", "HS384"]), "HS384"),
        (json!(["RS256", "HS512"]), "HS512"),
    ] {
        let mut metadata = offering(&["client_secret_jwt"]);
        metadata["token_endpoint_auth_signing_alg_values_supported"] = listed;
        let server = Server::with(BY_RFC, &metadata);
        token_request(server.credentials(SECRET)).await.unwrap();
        let [header, _] = assertion_in(&server.last_post());
        assert_eq!(header["alg"], name);
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_is_kept_for_an_hour() {
    let server = Server::with(BY_RFC, &metadata());
    let source = server.credentials(SECRET);
    for _ in 0..10 {
        token_request(source.clone()).await.unwrap();
        advance(HOUR / 10 - SECOND).await;
    }
    assert_eq!((server.gets().len(), server.posts().len()), (1, 10));
    advance(10 * SECOND).await;
    token_request(source.clone()).await.unwrap();
    assert_eq!((server.gets().len(), server.posts().len()), (2, 11));
    token_request(source).await.unwrap();
    assert_eq!(server.gets().len(), 2);
}

/// Promise: F1
#[tokio::test(start_paused = true)]
async fn a_hundred_calls_on_a_cold_cache_make_one_discovery() {
    let server = Server::with(BY_RFC, &metadata());
    let cache = TokenCache::new(server.credentials(SECRET));
    let calls = (0..100).map(|_| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get().await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    assert_eq!((server.gets().len(), server.posts().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_token_endpoint_that_is_gone_is_looked_up_anew_at_the_next_token_request() {
    let gone = |status| Reply::Answer(endpoint::answer(status, &[], ""));
    for reply in [gone(404), gone(405), gone(410), Reply::NoConnection] {
        let server = Server::with(BY_RFC, &metadata());
        let source = server.credentials(SECRET);
        token_request(source.clone()).await.unwrap();

        let moved = "https://auth.example.com/v2/token";
        let is_unreachable = matches!(reply, Reply::NoConnection);
        server.set(TOKEN_URL, reply);
        server.tells(BY_RFC, &metadata_with("token_endpoint", json!(moved)));
        server.gives_tokens_at(moved);
        let moved_on = token_request(source.clone()).await;
        if is_unreachable {
            // A cold token request that cannot connect is tried once more, and looks again.
            moved_on.unwrap();
            continue;
        }
        moved_on.unwrap_err();
        assert_eq!(server.gets().len(), 1, "one look in an attempt");
        for _ in 0..2 {
            token_request(source.clone()).await.unwrap();
        }
        assert_eq!(server.gets().len(), 2);
        assert_eq!(server.posts(), [TOKEN_URL, TOKEN_URL, moved, moved]);
    }
}

/// Two caches share the credential.
#[tokio::test(start_paused = true)]
async fn a_late_answer_of_the_endpoint_that_is_gone_casts_no_doubt_on_the_one_that_follows_it() {
    let server = Server::with(BY_RFC, &metadata());
    let source = server.credentials(SECRET);
    let gone = endpoint::answer(404, &[], "");
    server.set(TOKEN_URL, Reply::Late(5 * SECOND, gone.clone()));
    let late = tokio::spawn(token_request(source.clone()));
    sleep(SECOND).await;

    let moved = "https://auth.example.com/v2/token";
    server.set(TOKEN_URL, Reply::Answer(gone));
    server.tells(BY_RFC, &metadata_with("token_endpoint", json!(moved)));
    server.gives_tokens_at(moved);
    token_request(source.clone()).await.unwrap_err();
    token_request(source.clone()).await.unwrap();
    assert_eq!(server.gets().len(), 2);

    late.await.unwrap().unwrap_err();
    token_request(source).await.unwrap();
    assert_eq!(server.gets().len(), 2);
    assert_eq!(server.posts(), [TOKEN_URL, TOKEN_URL, moved, moved]);
}

#[tokio::test(start_paused = true)]
async fn a_token_endpoint_that_denies_or_fails_is_not_looked_up_anew() {
    for (status, body) in [
        (400, r#"{"error":"invalid_scope"}"#),
        (401, r#"{"error":"invalid_client"}"#),
        (403, ""),
        (429, ""),
        (503, ""),
        (200, "<html>"),
    ] {
        let server = Server::with(BY_RFC, &metadata());
        let source = server.credentials(SECRET);
        server.answers(TOKEN_URL, status, body);
        token_request(source.clone()).await.unwrap_err();
        server.gives_tokens_at(TOKEN_URL);
        token_request(source).await.unwrap();
        assert_eq!(server.gets().len(), 1, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_metadata_leaves_a_credential_that_has_it_working() {
    let answers = |status, body: &'static str| Reply::Answer(endpoint::answer(status, &[], body));
    for reply in [
        answers(500, ""),
        answers(429, ""),
        answers(200, "<html>We'll be back"),
        Reply::NoConnection,
        Reply::Silence,
    ] {
        let server = Server::with(BY_RFC, &metadata());
        let source = server.credentials(SECRET);
        token_request(source.clone()).await.unwrap();
        server.set(BY_RFC, reply);
        for _ in 0..5 {
            advance(2 * HOUR).await;
            let started = Instant::now();
            token_request(source.clone()).await.unwrap();
            assert!(started.elapsed() < 3 * SECOND);
        }
        // Not at each token request, either.
        let asked = server.gets().len();
        token_request(source.clone()).await.unwrap();
        assert_eq!(server.gets().len(), asked);

        let moved = "https://auth.example.com/v2/token";
        server.tells(BY_RFC, &metadata_with("token_endpoint", json!(moved)));
        server.gives_tokens_at(moved);
        advance(61 * SECOND).await;
        token_request(source).await.unwrap();
        assert_eq!(server.posts().last().unwrap(), moved);
    }
}

/// Two caches share the credential.
#[tokio::test(start_paused = true)]
async fn metadata_that_another_has_fetched_meanwhile_is_used_and_kept_for_its_hour() {
    let server = Server::with(BY_RFC, &metadata());
    let source = server.credentials(SECRET);
    token_request(source.clone()).await.unwrap();
    advance(2 * HOUR).await;
    server.set(BY_RFC, Reply::Late(SECOND, endpoint::answer(503, &[], "")));
    let failing = tokio::spawn(token_request(source.clone()));
    sleep(SECOND / 2).await;

    let moved = "https://auth.example.com/v2/token";
    server.tells(BY_RFC, &metadata_with("token_endpoint", json!(moved)));
    server.gives_tokens_at(moved);
    token_request(source.clone()).await.unwrap();
    failing.await.unwrap().unwrap();
    assert_eq!(server.posts(), [TOKEN_URL, moved, moved]);

    let asked = server.gets().len();
    advance(HOUR - 10 * SECOND).await;
    token_request(source).await.unwrap();
    assert_eq!(server.gets().len(), asked);
}

#[tokio::test(start_paused = true)]
async fn metadata_that_is_withdrawn_or_offers_nothing_any_more_is_an_error_and_not_passed_over() {
    let withdrawn = endpoint::answer(404, &[], "");
    let other = offering(&["private_key_jwt"]).to_string();
    for (answer, kind) in [
        (withdrawn, ErrorKind::Unavailable),
        (endpoint::answer(200, &[], other), ErrorKind::Denied),
    ] {
        let server = Server::with(BY_RFC, &metadata());
        let source = server.credentials(SECRET);
        token_request(source.clone()).await.unwrap();
        server.set(BY_RFC, Reply::Answer(answer));
        advance(HOUR).await;
        assert_fails(token_request(source).await, kind, &[]);
        assert_eq!(server.posts().len(), 1);
    }
}

/// Promise: L11, L16
#[tokio::test(start_paused = true)]
async fn a_discovery_that_fails_backs_off_as_any_token_request_does() {
    let server = Server::default();
    let cache = TokenCache::new(server.credentials(SECRET));
    for _ in 0..10 {
        let error = cache.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_transient());
    }
    assert_eq!(server.gets(), [BY_RFC, BY_OIDC]);
    server.tells(BY_RFC, &metadata());
    server.gives_tokens_at(TOKEN_URL);
    advance(60 * SECOND).await;
    cache.get().await.unwrap();
    assert_eq!(server.gets().len(), 3);
}

/// Promise: E5
#[tokio::test(start_paused = true)]
async fn a_discovery_that_hangs_is_cut_by_the_deadline_of_its_token_request() {
    let server = Server::default();
    server.set(BY_RFC, Reply::Silence);
    let started = Instant::now();
    let made = token_request(server.credentials(SECRET)).await;
    assert_fails(made, ErrorKind::Timeout, &[]);
    assert!(started.elapsed() <= 10 * SECOND + SECOND);
}

/// A server may put into its metadata what it was sent.
///
/// Promise: S4
#[tokio::test(start_paused = true)]
async fn no_error_and_no_debug_output_shows_the_secret_or_the_token() {
    let encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let pair = BASE64_STANDARD.encode(format!("{ID}:{SECRET}"));
    let shown = [SECRET, &encoded, &pair, TOKEN].map(ToOwned::to_owned);
    let all = json!(shown.join(" "));
    let methods = "token_endpoint_auth_methods_supported";
    let algorithms = "token_endpoint_auth_signing_alg_values_supported";
    let mut signed = offering(&["client_secret_jwt"]);
    signed[algorithms] = json!([all]);
    for (auth, echo) in [
        (SECRET.into(), metadata_with("issuer", all.clone())),
        (SECRET.into(), metadata_with("token_endpoint", all.clone())),
        (SECRET.into(), metadata_with(methods, json!([all]))),
        (SECRET.into(), metadata_with(methods, json!(shown))),
        (
            ClientAuth::basic(SECRET),
            metadata_with(methods, json!([all])),
        ),
        (ClientAuth::secret_jwt(SECRET), signed),
    ] {
        let auth: ClientAuth = auth;
        let server = Server::with(
            BY_RFC,
            &offering(&["client_secret_basic", "client_secret_jwt"]),
        );
        let builder = ClientCredentials::discover(ISSUER, ID, auth);
        let mut output = format!("{builder:?}");
        let source = server.build(builder);
        token_request(source.clone()).await.unwrap();
        server.answers(TOKEN_URL, 404, "");
        token_request(source.clone()).await.unwrap_err();
        server.tells(BY_RFC, &echo);
        // The one that is used on, and then the one that has nothing else to use.
        let fresh = server.credentials(ClientAuth::basic(SECRET));
        // The other has never been given the token, and cannot know it.
        for (source, shown) in [(source, &shown[..]), (fresh, &shown[..3])] {
            output += &format!("{source:?}");
            let error = token_request(source).await.unwrap_err();
            output += &format!("{error:?} {}", told(&error));
            for secret in shown {
                assert!(!output.contains(secret), "{secret:?} is in {output}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_token_is_hidden_where_metadata_echoes_it() {
    let server = Server::with(BY_RFC, &metadata());
    let source = server.credentials(SECRET);
    token_request(source.clone()).await.unwrap();
    let echo = metadata_with("token_endpoint_auth_methods_supported", json!([TOKEN]));
    server.tells(BY_RFC, &echo);
    advance(HOUR).await;
    let error = assert_fails(
        token_request(source).await,
        ErrorKind::Denied,
        &["[redacted]"],
    );
    assert!(!told(&error).contains(TOKEN));
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_cannot_be_one_is_told_by_the_builder() {
    for (issuer, part) in [
        ("auth.example.com", "the issuer does not parse"),
        ("http://auth.example.com", "the issuer is not https"),
        ("https://u:p@auth.example.com", "the issuer has credentials"),
        (
            "https://auth.example.com?key=s3cret",
            "a query or a fragment",
        ),
        ("https://auth.example.com#s3cret", "a query or a fragment"),
    ] {
        let builder = ClientCredentials::discover(issuer, ID, SECRET);
        let transport = tower::service_fn(async |_: Request<Bytes>| {
            Ok::<_, io::Error>(Response::new(Full::new(Bytes::new())))
        });
        let error = builder.build_with(transport).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let told = error.to_string();
        assert!(told.contains(part), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn space_around_an_issuer_is_nothing_of_it() {
    let server = Server::with(BY_RFC, &metadata());
    let issuer = format!(" {ISSUER}\n");
    let source = server.build(ClientCredentials::discover(issuer, ID, SECRET));
    assert!(format!("{source:?}").contains(&format!("issuer: {ISSUER:?}")));
    token_request(source).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_url_that_is_given_after_all_is_used_and_nothing_is_discovered() {
    let server = Server::with(BY_RFC, &metadata());
    let credentials = ClientCredentials::discover(ISSUER, ID, SECRET).token_url(MTLS_URL);
    token_request(server.build(credentials)).await.unwrap();
    assert!(server.gets().is_empty());
    assert_eq!(server.posts(), [MTLS_URL]);
    assert_eq!(proof(&server.last_post()), "post");
}

/// Promise: E6
#[tokio::test(start_paused = true)]
async fn an_error_names_the_issuers_host_until_the_token_endpoint_is_known() {
    let server = Server::default();
    let error = token_request(server.credentials(SECRET)).await.unwrap_err();
    let host = url::Url::parse(ISSUER).unwrap();
    assert_eq!(error.token_endpoint(), host.host_str());
    assert_eq!(error.client_id(), Some(ID));

    let elsewhere = "https://tokens.example.net:8443/t";
    let server = Server::with(BY_RFC, &metadata_with("token_endpoint", json!(elsewhere)));
    server.answers(elsewhere, 401, r#"{"error":"invalid_client"}"#);
    let error = token_request(server.credentials(SECRET)).await.unwrap_err();
    assert_eq!(error.token_endpoint(), Some("tokens.example.net:8443"));
    assert_eq!(error.client_id(), Some(ID));
}

/// Promise: E6
#[tokio::test(start_paused = true)]
async fn a_method_that_was_picked_and_is_denied_is_told() {
    for offered in ["client_secret_basic", "client_secret_jwt"] {
        let server = Server::with(BY_RFC, &offering(&[offered, "private_key_jwt"]));
        server.answers(TOKEN_URL, 401, r#"{"error":"invalid_client"}"#);
        let made = token_request(server.credentials(SECRET)).await;
        let picked = format!("{offered} was picked");
        assert_fails(made, ErrorKind::Denied, &[&picked]);
    }
    let server = Server::with(BY_RFC, &metadata());
    server.answers(TOKEN_URL, 401, r#"{"error":"invalid_client"}"#);
    let error = token_request(server.credentials(ClientAuth::basic(SECRET))).await;
    assert!(!error.unwrap_err().to_string().contains("picked"));
}

/// Promise: L12
#[tokio::test(start_paused = true)]
async fn a_secret_that_was_rotated_is_read_again_without_another_discovery() {
    let server = Server::with(BY_RFC, &metadata());
    server.answers(TOKEN_URL, 401, r#"{"error":"invalid_client"}"#);
    let read = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&read);
    let secret = Secret::from_provider(move || {
        let mut read = counted.lock().unwrap();
        *read += 1;
        let secret = format!("secret-{read}");
        async move { Ok::<_, io::Error>(secret) }
    });
    token_request(server.credentials(secret)).await.unwrap_err();
    assert_eq!((server.gets().len(), server.posts().len()), (1, 2));
    assert_eq!(*read.lock().unwrap(), 2);
    assert_eq!(proof(&server.last_post()), "basic");
}

/// A certificate that goes beside a secret, for tokens that are bound to it, asks for the alias too (RFC 8705 §5).
#[cfg(feature = "rustls")]
#[tokio::test]
async fn the_default_transport_discovers_and_takes_a_certificate_to_the_endpoint_that_is_for_it() {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let metadata = json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/token"),
        "mtls_endpoint_aliases": {"token_endpoint": format!("{issuer}/mtls")},
    });
    let token = json!({"access_token": TOKEN, "token_type": "bearer"});
    let paths: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&paths);
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 8 * 1024];
            let read = connection.read(&mut buffer).await.unwrap();
            let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let body = match &*path {
                "/token" | "/mtls" => token.to_string(),
                _ => metadata.to_string(),
            };
            seen.lock().unwrap().push(path);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            connection.write_all(answer.as_bytes()).await.unwrap();
            connection.shutdown().await.unwrap();
            // What is left unread when a connection is closed resets it, and the answer may be lost.
            while connection
                .read(&mut buffer)
                .await
                .is_ok_and(|read| read > 0)
            {}
        }
    });
    let credentials = || ClientCredentials::discover(&issuer, ID, ClientAuth::basic(SECRET));
    let certificate = include_str!("keys/client.crt");
    let with_certificate =
        credentials().client_certificate(certificate, include_str!("keys/client.key"));
    for (credentials, path) in [(credentials(), "/token"), (with_certificate, "/mtls")] {
        token_request(credentials.build().unwrap()).await.unwrap();
        assert_eq!(paths.lock().unwrap().last().unwrap(), path);
    }
    assert_eq!(paths.lock().unwrap().len(), 4);
}
