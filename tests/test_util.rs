//! The test kit: each of its servers and sources, as its users' tests see them.

#![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use http::{Request, Response, StatusCode, header::WWW_AUTHENTICATE};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{task::JoinSet, time::sleep};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, ClientAuth, ClientCredentials, Error, ErrorKind, Token, TokenCache,
    client_credentials::{SigningAlgorithm, SigningKey},
    test_util::{
        self, Answer, AuthorizationServer, Body, Grant, Outcome, ProtectedApi, ScriptedSource,
    },
};

const HOUR: Duration = Duration::from_secs(60 * 60);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_crowd_in_memory_makes_one_token_request_and_a_call_each() {
    let server = AuthorizationServer::new();
    server.delay(2 * SECOND);
    let api = ProtectedApi::new(&server);
    let client = BearerAuthLayer::new(server.credentials()).layer(api.clone());

    let mut calls = JoinSet::new();
    for _ in 0..100 {
        calls.spawn(client.clone().oneshot(get()));
    }
    for response in calls.join_all().await {
        assert_eq!(response.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(server.token_requests(), 1);
    server.assert_token_requests(1);
    api.assert_calls(100);
}

#[tokio::test(start_paused = true)]
async fn the_api_rejects_a_token_that_was_revoked_and_one_that_has_expired() {
    let server = AuthorizationServer::new();
    server.lifetime(60 * SECOND);
    server.register("other", "secret");
    let [revoked, other, expired] = [
        token(&server, "client").await,
        token(&server, "other").await,
        token(&server, "client").await,
    ];
    assert_eq!(
        [&*revoked, &other, &expired],
        ["client.1", "other.1", "client.2"]
    );

    let api = ProtectedApi::new(&server);
    assert_eq!(call(&api, Some(&revoked)).await, (200, None));
    server.revoke("client");
    assert_eq!(call(&api, Some(&revoked)).await, (401, Some(INVALID)));
    assert_eq!(call(&api, Some(&other)).await, (200, None));
    sleep(60 * SECOND).await;
    assert_eq!(call(&api, Some(&other)).await, (401, Some(INVALID)));
    assert_eq!(
        call(&api, Some("of another server")).await,
        (401, Some(INVALID))
    );
    assert_eq!(call(&api, None).await, (401, Some("Bearer")));

    let calls = api.calls();
    let of: Vec<_> = calls.iter().map(|call| call.client_id.as_deref()).collect();
    assert_eq!(of, [Some("client"), None, Some("other"), None, None, None]);
    assert_eq!(calls[0].token(), Some("client.1"));
    assert_eq!(calls[3].status, Some(StatusCode::UNAUTHORIZED));
}

#[tokio::test(start_paused = true)]
async fn each_scripted_answer_is_what_a_credential_takes_it_for() {
    let server = AuthorizationServer::new();
    server.script([
        Answer::Hang,
        Answer::TooManyRequests(7 * SECOND),
        Answer::Denied("invalid_scope"),
        Answer::Garbage,
        Answer::Custom(Response::new(r#"{"access_token":"theirs"}"#.into())),
        Answer::Token,
        Answer::SameToken,
    ]);
    let error = fetch(&server).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let error = fetch(&server).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(error.retry_after(), Some(7 * SECOND));
    let error = fetch(&server).await.unwrap_err();
    assert_eq!(error.oauth_code(), Some("invalid_scope"));
    assert_eq!(error.status(), Some(StatusCode::BAD_REQUEST));
    let error = fetch(&server).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidAnswer);
    for expected in ["theirs", "client.1", "client.1", "client.2"] {
        assert_eq!(fetch(&server).await.unwrap().expose_secret(), expected);
    }
    server.assert_token_requests(8);

    // A credential asks once more when a server was down for a moment.
    server.script([
        Answer::Unavailable,
        Answer::Disconnected,
        Answer::Disconnected,
    ]);
    assert_eq!(
        fetch(&server).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    assert!(fetch(&server).await.is_ok());
    server.assert_token_requests(12);
}

#[tokio::test(start_paused = true)]
async fn a_late_token_is_rejected_until_it_has_reached_the_api() {
    let server = AuthorizationServer::new();
    server.script([3 * SECOND, Duration::MAX].map(Answer::LateToken));
    let api = ProtectedApi::new(&server);
    let token = fetch(&server).await.unwrap();
    assert_eq!(call(&api, Some(token.expose_secret())).await.0, 401);
    sleep(3 * SECOND).await;
    assert_eq!(call(&api, Some(token.expose_secret())).await.0, 200);

    let never = fetch(&server).await.unwrap();
    sleep(HOUR / 2).await;
    assert_eq!(call(&api, Some(never.expose_secret())).await.0, 401);
}

#[tokio::test(start_paused = true)]
async fn a_server_denies_what_it_is_told_to_deny_until_it_is_told_otherwise() {
    let server = AuthorizationServer::new();
    server.deny("unauthorized_client");
    let error = fetch(&server).await.unwrap_err();
    assert_eq!(error.oauth_code(), Some("unauthorized_client"));
    server.allow();
    assert!(fetch(&server).await.is_ok());

    server.unregister("client");
    let error = fetch(&server).await.unwrap_err();
    assert_eq!(error.oauth_code(), Some("invalid_client"));
}

#[tokio::test(start_paused = true)]
async fn a_client_is_recognized_by_what_it_was_registered_with_and_by_nothing_else() {
    let id = "the client/+ü";
    let keys = [
        (SigningAlgorithm::Rs256, "rsa.pem"),
        (SigningAlgorithm::Rs384, "rsa.pem"),
        (SigningAlgorithm::Rs512, "rsa.pem"),
        (SigningAlgorithm::Ps256, "rsa.pem"),
        (SigningAlgorithm::Ps384, "rsa.pem"),
        (SigningAlgorithm::Ps512, "rsa.pem"),
        (SigningAlgorithm::Es256, "p256.pem"),
        (SigningAlgorithm::Es384, "p384.pem"),
        (SigningAlgorithm::EdDsa, "ed25519.pem"),
    ];
    let signed = keys.map(|(algorithm, file)| {
        ClientAuth::private_key_jwt(SigningKey::from_pem(algorithm, key(file)))
    });
    let mut all = vec![
        ClientAuth::post("s3cret %+"),
        ClientAuth::post("another"),
        ClientAuth::basic("s3cret %+"),
        ClientAuth::basic("another"),
        ClientAuth::basic_raw("s3cret %+"),
        ClientAuth::secret_jwt("s3cret %+ of thirty-two bytes or more"),
        ClientAuth::secret_jwt("another one of thirty-two bytes or more"),
        ClientAuth::assertion("a.signed.one"),
        ClientAuth::assertion("another.signed.one"),
        ClientAuth::spiffe_jwt("a.signed.one"),
        ClientAuth::none(),
        // Nothing is known of certificates in memory.
        ClientAuth::tls(),
    ];
    all.extend(signed);
    for (registered, ours) in all.iter().enumerate() {
        for (sent, theirs) in all.iter().enumerate() {
            let server = AuthorizationServer::new();
            server.register(id, ours.clone());
            let result = request(&server, id, theirs.clone()).await;
            let without_proof = registered >= 10 && sent >= 10 && registered < 12 && sent < 12;
            match registered == sent || without_proof {
                true => assert!(result.is_ok(), "{ours:?}: {result:?}"),
                false => {
                    let error = result.expect_err("another authentication");
                    assert_eq!(
                        error.oauth_code(),
                        Some("invalid_client"),
                        "{ours:?} {theirs:?}"
                    );
                }
            }
        }
    }
    // A text is a secret without a method.
    for auth in [ClientAuth::post("s3cret"), ClientAuth::basic("s3cret")] {
        let server = AuthorizationServer::new();
        server.register(id, "s3cret");
        assert!(request(&server, id, auth).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_signed_assertion_is_taken_once_and_from_its_own_client_only() {
    let server = AuthorizationServer::new();
    let auth = ClientAuth::private_key_jwt(SigningKey::from_pem(
        SigningAlgorithm::Es256,
        key("p256.pem"),
    ));
    server.register("billing", auth.clone());
    server.register("other", auth.clone());
    assert!(request(&server, "billing", auth).await.is_ok());

    let sent = server.calls().remove(0);
    let replayed = Request::post("https://auth.test/token").body(sent.body.clone());
    let response = server.clone().oneshot(replayed.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);

    let other = String::from_utf8(sent.body.to_vec()).unwrap();
    let other = other.replace("client_id=billing", "client_id=other");
    let stolen = Request::post("https://auth.test/token").body(other.into());
    let response = server.clone().oneshot(stolen.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

/// Promise: E6
#[tokio::test(start_paused = true)]
async fn a_client_that_uses_another_method_is_told_which_one_it_is_registered_with() {
    let server = AuthorizationServer::new();
    server.register("billing", ClientAuth::post("s3cret"));
    let error = request(&server, "billing", ClientAuth::basic("s3cret")).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("use `ClientAuth::post`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_knows_whose_token_came_and_its_scopes() {
    let server = AuthorizationServer::new();
    let api = ProtectedApi::with_handler(
        &server,
        service_fn(async |request: Request<Body>| {
            let grant: &Grant = request.extensions().get().ok_or("no grant")?;
            let answer = format!("{} {:?}", grant.client_id, grant.scopes);
            let body = request.into_body().collect().await?.to_bytes();
            Ok::<_, BoxError>(Response::new(format!("{answer} {body:?}")))
        }),
    );
    let source = ClientCredentials::builder("https://auth.test/token", "client", "secret")
        .scopes(["a", "b"])
        .build_with(server.clone())
        .unwrap();
    let client = BearerAuthLayer::new(source).layer(api.clone());
    let request = Request::post("https://api.test/cart").body("63 EUR".to_owned());
    let response = client.oneshot(request.unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"client ["a", "b"] b"63 EUR""#);
    assert_eq!(api.calls()[0].body, "63 EUR");
    assert_eq!(server.calls()[0].form("scope").as_deref(), Some("a b"));
}

#[tokio::test(start_paused = true)]
async fn a_grpc_call_without_a_valid_token_gets_a_status_of_grpc() {
    let api = ProtectedApi::new(&AuthorizationServer::new());
    let request = Request::post("https://api.test/Billing/Pay")
        .header("content-type", "application/grpc")
        .body(String::new())
        .unwrap();
    let response = api.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "16");
}

#[tokio::test(start_paused = true)]
async fn a_held_server_has_the_requests_and_answers_when_it_is_let_go() {
    let server = AuthorizationServer::new();
    let held = server.hold();
    let cache = TokenCache::new(server.credentials());
    let getting = tokio::spawn(async move { cache.get().await });
    held.arrived(1).await.unwrap();
    assert_eq!(
        held.arrived(2).await.unwrap_err(),
        "only 1 of 2 requests reached the server within 10s"
    );
    server.assert_token_requests(1);
    assert_eq!(server.calls()[0].status, None);
    held.open();
    assert!(getting.await.unwrap().is_ok());
    assert_eq!(server.calls()[0].status, Some(StatusCode::OK));
}

#[tokio::test(start_paused = true)]
async fn an_assertion_that_fails_lists_what_came() {
    let server = AuthorizationServer::new();
    let api = ProtectedApi::new(&server);
    server.script([Answer::Denied("invalid_client")]);
    let _ = fetch(&server).await;
    let _ = fetch(&server).await;
    call(&api, Some("t")).await;

    assert_eq!(
        panic_of(|| server.assert_token_requests(1)),
        "expected token requests: 1, but there were 2\n  \
         1. POST /token of no known client: 401\n  \
         2. POST /token of \"client\": 200"
    );
    assert_eq!(
        panic_of(|| api.assert_calls(2)),
        "expected calls: 2, but there were 1\n  1. GET / of no known client: 401"
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_follows_its_script_and_repeats_the_last_outcome() {
    let token = |text| Token::new(text).unwrap().with_lifetime(HOUR);
    let source = ScriptedSource::new([
        Outcome::Error(Error::permanent("no such role")),
        Outcome::Token(token("a")),
        Outcome::Hang,
        Outcome::Token(token("b")),
    ]);
    let fetch = async || TokenCache::new(source.clone()).get().await;
    assert_eq!(fetch().await.unwrap_err().to_string(), "no such role");
    assert_eq!(fetch().await.unwrap().expose_secret(), "a");
    assert!(fetch().await.unwrap_err().is_timeout());
    for _ in 0..2 {
        assert_eq!(fetch().await.unwrap().expose_secret(), "b");
    }
    source.assert_token_requests(5);
    assert_eq!(
        panic_of(|| source.assert_token_requests(4)),
        "expected token requests: 4, but there were 5"
    );
}

#[test]
fn there_is_an_error_of_each_kind() {
    let kinds = [
        (ErrorKind::Configuration, false),
        (ErrorKind::Denied, false),
        (ErrorKind::Unavailable, true),
        (ErrorKind::Timeout, true),
        (ErrorKind::InvalidAnswer, true),
        (ErrorKind::Source, true),
        (ErrorKind::Interrupted, true),
        (ErrorKind::Rejected, true),
        (ErrorKind::NoRuntime, false),
        (ErrorKind::NotAllowed, false),
    ];
    for (kind, is_transient) in kinds {
        let error = test_util::error(kind);
        assert_eq!((error.kind(), error.is_transient()), (kind, is_transient));
        assert!(error.to_string().len() > 10);
    }
    let denied = test_util::error(ErrorKind::Denied);
    assert_eq!(denied.oauth_code(), Some("invalid_client"));
    assert_eq!(denied.client_id(), Some("client"));
}

#[tokio::test]
async fn over_a_socket_both_versions_of_http_are_spoken_until_the_handle_is_dropped() {
    let server = AuthorizationServer::new();
    let api = ProtectedApi::new(&server);
    let (auth, served) = (server.serve().await.unwrap(), api.serve().await.unwrap());
    let token_url = format!("{}/token", auth.url());
    let source = ClientCredentials::builder(token_url, "client", "secret")
        .build_with_reqwest(reqwest::Client::builder())
        .unwrap();
    let layer = BearerAuthLayer::new(source);
    for is_http2 in [false, true] {
        let client: Client<HttpConnector, String> = Client::builder(TokioExecutor::new())
            .http2_only(is_http2)
            .build_http();
        let request = Request::get(served.url()).body(String::new()).unwrap();
        let response = layer.layer(client).oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    let versions: Vec<_> = api.calls().iter().map(|call| call.version).collect();
    assert_eq!(versions, [http::Version::HTTP_11, http::Version::HTTP_2]);
    assert_eq!((auth.connections(), served.connections()), (1, 2));

    server.script([Answer::Disconnected]);
    let result = reqwest::Client::new().post(auth.url()).send().await;
    assert!(result.is_err());

    let url = served.url().to_owned();
    drop(served);
    // The task that accepts ends when it is next looked at.
    tokio::task::yield_now().await;
    let error = reqwest::get(url).await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
}

#[cfg(feature = "rustls")]
#[tokio::test]
async fn over_tls_a_client_is_recognized_by_its_certificate() {
    let server = AuthorizationServer::new();
    server.register("billing", ClientAuth::tls());
    let served = server.serve_tls().await.unwrap();
    let client = |auth: ClientAuth| {
        ClientCredentials::builder(format!("{}/token", served.url()), "billing", auth)
            .root_certificates(test_util::ROOT_CERTIFICATE)
    };
    let source = client(ClientAuth::tls())
        .client_certificate(key("client.crt"), key("client.key"))
        .build()
        .unwrap();
    let token = TokenCache::new(source).get().await.unwrap();
    assert_eq!(token.expose_secret(), "billing.1");
    assert!(server.calls()[0].certificate.is_some());

    // Not over plain HTTP, and not without a certificate.
    let source = client(ClientAuth::none()).build().unwrap();
    let error = TokenCache::new(source).get().await.unwrap_err();
    assert_eq!(error.oauth_code(), Some("invalid_client"));
    let plain = server.serve().await.unwrap();
    let source = ClientCredentials::builder(plain.url(), "billing", ClientAuth::none())
        .build()
        .unwrap();
    let error = TokenCache::new(source).get().await.unwrap_err();
    assert_eq!(error.oauth_code(), Some("invalid_client"));

    // Who does not trust the kit's root does not trust the server.
    let source = ClientCredentials::builder(served.url(), "billing", "secret")
        .root_certificates(key("ca.crt"))
        .build()
        .unwrap();
    let error = TokenCache::new(source).get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(std::error::Error::source(&error).is_some());
}

#[cfg(feature = "rustls")]
#[tokio::test]
async fn a_server_is_discovered_in_memory_and_over_tls() {
    let server = AuthorizationServer::new();
    let source = ClientCredentials::discover("https://issuer.test", "client", "secret")
        .build_with(server.clone())
        .unwrap();
    assert!(TokenCache::new(source).get().await.is_ok());

    let served = server.serve_tls().await.unwrap();
    let source = ClientCredentials::discover(served.url(), "client", "secret")
        .root_certificates(test_util::ROOT_CERTIFICATE)
        .build()
        .unwrap();
    assert!(TokenCache::new(source).get().await.is_ok());
    server.assert_token_requests(2);
}

/// A token request whose outcome is nobody else's.
async fn fetch(server: &AuthorizationServer) -> Result<Token, Error> {
    TokenCache::new(server.credentials()).get().await
}

async fn token(server: &AuthorizationServer, client_id: &str) -> String {
    let token = request(server, client_id, "secret".into()).await.unwrap();
    token.expose_secret().to_owned()
}

async fn request(
    server: &AuthorizationServer,
    client_id: &str,
    auth: ClientAuth,
) -> Result<Token, Error> {
    let source = ClientCredentials::builder("https://auth.test/token", client_id, auth)
        .build_with(server.clone())
        .unwrap();
    TokenCache::new(source).get().await
}

/// The status and the challenge.
async fn call(api: &ProtectedApi, token: Option<&str>) -> (u16, Option<&'static str>) {
    let mut request = get();
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
    }
    let response = api.clone().oneshot(request).await.unwrap();
    let challenge = response.headers().get(WWW_AUTHENTICATE).map(|challenge| {
        [INVALID, "Bearer"]
            .into_iter()
            .find(|it| challenge == it)
            .expect("a challenge")
    });
    (response.status().as_u16(), challenge)
}

/// What a check says when it fails.
fn panic_of(check: impl FnOnce()) -> String {
    let said = catch_unwind(AssertUnwindSafe(check)).expect_err("it fails");
    *said.downcast().unwrap()
}

const INVALID: &str = r#"Bearer error="invalid_token""#;

fn get() -> Request<String> {
    Request::get("https://api.test/")
        .body(String::new())
        .unwrap()
}

fn key(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}
