//! The layer against real authorization servers and their APIs, over real connections.
//!
//! `tests/servers/run` starts the servers and runs these tests. Those of a server that it cannot have it leaves out, by
//! the name of their module.

#![cfg(all(feature = "jwt", feature = "rustls"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    env,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use ring::hmac;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{BoxError, Layer, Service, ServiceExt, util::MapRequest};
use tower_bearer::{
    BearerAuthLayer, ClientAuth, ClientCredentials, Error, ErrorKind, Secret, Token, TokenCache,
    client_credentials::{
        Assertion, AssertionAudience, ClientCredentialsBuilder, SigningAlgorithm, SigningKey,
        TokenExchange, TokenType,
    },
    dpop::{DpopKey, DpopLayer},
    token::FixedToken,
    unauthorized::ResponseHead,
};
use url::form_urlencoded;

/// Every client's, at every server. Basic headers and forms need most of its special characters encoded.
const SECRET: &str = "secret-with:special/+%&=chars~and-32-bytes-min";

const WRONG_SECRET: &str = "wrong:/+%&=~secret";

/// How long the tokens of the client `short-lived` are good, at every server.
const SHORT_LIFETIME: Duration = Duration::from_secs(2);

mod oidc_provider {
    use super::*;

    fn server() -> Server {
        Server {
            origin: origin("TOWER_BEARER_OIDC_PROVIDER"),
            token: "/oauth2/token",
            revocation: "/oauth2/revoke",
        }
    }

    /// Its two checkers are oidc-provider's own, at the token endpoint, and jose, at the API.
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn tokens_are_bound_to_a_key_with_nonces_and_without() {
        for (client, posts, calls) in [("dpop", 1, 5), ("dpop-nonce", 2, 6), ("dpop-fapi", 2, 5)] {
            for algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::EdDsa] {
                let server = server();
                let key = DpopKey::generate_for(algorithm).unwrap();
                let auth = match client {
                    "dpop-fapi" => ClientAuth::private_key_jwt(
                        SigningKey::from_pem(SigningAlgorithm::Es256, key_file("p256.pem"))
                            .with_key_id("k1"),
                    ),
                    _ => ClientAuth::post(SECRET),
                };
                let (transport, api) = (Calls::default(), Calls::default());
                let source = server
                    .client(client, auth)
                    .scopes(["read"])
                    .dpop(key.clone())
                    .build_with(transport.counted::<_, Request<Full<Bytes>>>(http_client()))
                    .unwrap();
                let service = DpopLayer::new(key)
                    .layer(api.counted::<_, Request<Full<Bytes>>>(http_client()));
                let service = BearerAuthLayer::new(source).layer(service);
                for _ in 0..5 {
                    let answer = server.get(service.clone()).await.unwrap();
                    assert_eq!(answer.status(), StatusCode::OK, "{client}");
                    assert_eq!(answer.body(), client);
                }
                let came = (transport.so_far(), api.so_far());
                assert_eq!(came, (posts, calls), "{client} {algorithm}");
            }
        }
    }

    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_bound_token_is_of_no_use_without_its_key() {
        let server = server();
        let key = DpopKey::generate().unwrap();
        let source = server.credentials("dpop", "read").dpop(key);
        let cache = TokenCache::new(source.build_with(http_client()).unwrap());
        let token = cache.get().await.unwrap();
        let thief = DpopLayer::new(DpopKey::generate().unwrap()).layer(http_client());
        let stolen = BearerAuthLayer::new(FixedToken::from(token.clone())).layer(thief);
        let answer = server.get(stolen).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let bearer = FixedToken::new(token.expose_secret()).unwrap();
        let bearer = BearerAuthLayer::new(bearer).layer(http_client());
        let answer = server.get(bearer).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);

        // And a client that must prove it gets no token without.
        let error = server
            .call(server.credentials("dpop", "read"))
            .await
            .unwrap_err();
        assert_eq!(error.oauth_code(), Some("invalid_grant"));
    }

    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_secret_in_the_form_gives_a_token_that_the_api_accepts() {
        let server = server();
        let credentials = server
            .client("post", ClientAuth::post(SECRET))
            .scopes(["read"]);
        let answer = server.call(credentials).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.body(), "post");
    }

    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_secret_in_a_basic_header_gives_a_token_that_the_api_accepts() {
        let server = server();
        let credentials = server
            .client("basic", ClientAuth::basic(SECRET))
            .scopes(["read"]);
        let answer = server.call(credentials).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.body(), "basic");
    }

    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_secret_in_a_raw_basic_header_is_denied_and_the_error_says_why() {
        let server = server();
        let credentials = server
            .client("basic", ClientAuth::basic_raw(SECRET))
            .scopes(["read"]);
        let error = server.call(credentials).await.unwrap_err();
        assert_denied(&error, StatusCode::BAD_REQUEST, "invalid_request");
        assert_says(&error, "not properly encoded");
    }

    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_wrong_secret_is_denied_as_an_invalid_client() {
        let server = server();
        let credentials = server.client("post", WRONG_SECRET);
        let error = server.call(credentials).await.unwrap_err();
        assert_denied(&error, StatusCode::UNAUTHORIZED, "invalid_client");
    }

    /// This server drops a scope that it does not know, and does not say so. The API is the first to tell.
    ///
    /// Promise: R8
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn an_unknown_scope_ends_in_the_apis_403_which_is_handed_on() {
        let server = server();
        let token_requests = Calls::default();
        let source = server.credentials("post", "unknown").build().unwrap();
        let layer = BearerAuthLayer::new(token_requests.counted(source));

        let answer = server.get(layer.layer(http_client())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        let challenge = answer.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.contains("insufficient_scope"), "{challenge}");
        assert_eq!(token_requests.so_far(), 1);
        assert!(layer.cache().get().await.unwrap().scopes().is_none());
    }

    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_scope_that_the_client_may_not_have_is_denied_as_an_invalid_scope() {
        let server = server();
        let credentials = server.credentials("reader", "write");
        let error = server.call(credentials).await.unwrap_err();
        assert_denied(&error, StatusCode::BAD_REQUEST, "invalid_scope");
    }

    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_client_without_the_grant_is_denied_and_the_error_says_why() {
        let server = server();
        let credentials = server.credentials("without-grant", "read");
        let error = server.call(credentials).await.unwrap_err();
        assert_denied(&error, StatusCode::BAD_REQUEST, "invalid_request");
        assert_says(&error, "grant type is not allowed");
    }

    /// Promise: F1
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn fifty_calls_at_once_on_a_cold_cache_make_one_token_request() {
        server().assert_fifty_calls_make_one_token_request().await;
    }

    /// Promise: R1
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_revoked_token_is_replaced_by_one_token_request() {
        let server = server();
        let (token_requests, api_calls) = (Calls::default(), Calls::default());
        let source = server.credentials("post", "read").build().unwrap();
        let layer = BearerAuthLayer::new(token_requests.counted(source));
        let service = layer.layer(api_calls.counted(http_client()));

        let before = server.get(service.clone()).await.unwrap();
        assert_eq!(before.status(), StatusCode::OK);
        let token = layer.cache().get().await.unwrap();
        server.revoke("post", &token).await;
        for _ in 0..2 {
            let after = server.get(service.clone()).await.unwrap();
            assert_eq!(after.status(), StatusCode::OK);
        }
        assert_eq!(token_requests.so_far(), 2);
        // The three that were answered, and the one that was rejected.
        assert_eq!(api_calls.so_far(), 4);
    }

    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_secret_signs_an_assertion_that_gives_a_token() {
        let server = server();
        let credentials = server.client("secret-jwt", ClientAuth::secret_jwt(SECRET));
        let answer = server.call(credentials.scopes(["read"])).await.unwrap();
        assert_eq!(answer.body(), "secret-jwt");
    }

    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_private_key_of_any_kind_signs_an_assertion_that_gives_a_token() {
        let server = server();
        for (algorithm, key) in [
            (SigningAlgorithm::Rs256, "rsa.pem"),
            (SigningAlgorithm::Rs384, "rsa.pem"),
            (SigningAlgorithm::Rs512, "rsa.pkcs1.pem"),
            (SigningAlgorithm::Ps256, "rsa.pkcs1.pem"),
            (SigningAlgorithm::Ps384, "rsa.pem"),
            (SigningAlgorithm::Ps512, "rsa.pem"),
            (SigningAlgorithm::Es256, "p256.sec1.pem"),
            (SigningAlgorithm::Es384, "p384.sec1.pem"),
            (SigningAlgorithm::EdDsa, "ed25519.pem"),
            (SigningAlgorithm::Ed25519, "ed25519.pem"),
        ] {
            let key = SigningKey::from_pem(algorithm, key_file(key));
            for key in [key.clone(), key.with_key_id("k1")] {
                let client = server.client(algorithm.name(), ClientAuth::private_key_jwt(key));
                let answer = server.call(client.scopes(["read"])).await.unwrap();
                assert_eq!(answer.body(), algorithm.name());
            }
        }
    }

    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_secret_signs_by_each_hash() {
        let server = server();
        for algorithm in [
            SigningAlgorithm::Hs256,
            SigningAlgorithm::Hs384,
            SigningAlgorithm::Hs512,
        ] {
            let key = SigningKey::from_secret(algorithm, SECRET.repeat(2));
            let client = server.client(algorithm.name(), Assertion::signed_by(key));
            let answer = server.call(client.scopes(["read"])).await.unwrap();
            assert_eq!(answer.body(), algorithm.name());
        }
    }

    /// The server requires one form of each client.
    ///
    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn an_assertion_has_the_form_that_the_server_requires() {
        let server = server();
        let key = SigningKey::from_pem(SigningAlgorithm::Es256, key_file("p256.pem"));
        let assertion = || Assertion::signed_by(key.clone());
        let newer = assertion()
            .with_audience(&server.origin)
            .with_typ("client-authentication+jwt");
        let older = assertion().with_audience(AssertionAudience::TokenEndpoint);
        let by_url = |id, auth: Assertion| server.client(id, auth);
        let by_issuer = |id, auth: Assertion| ClientCredentials::discover(&server.origin, id, auth);
        for (client, is_taken) in [
            (by_url("older", assertion()), true),
            (by_url("newer", newer.clone()), true),
            (by_issuer("newer", assertion()), true),
            (by_issuer("older", older.clone()), true),
            (by_url("newer", assertion()), false),
            (by_url("newer", newer.clone().with_typ("JWT")), false),
            (by_url("older", newer), false),
            (by_issuer("older", assertion()), false),
            (by_issuer("newer", older), false),
        ] {
            let answer = server.call(client.scopes(["read"])).await;
            match is_taken {
                true => assert_eq!(answer.unwrap().status(), StatusCode::OK),
                false => {
                    let error = answer.unwrap_err();
                    assert_denied(&error, StatusCode::UNAUTHORIZED, "invalid_client");
                    assert_says(&error, "for the audience");
                }
            }
        }
    }

    /// By a client with a secret and by a public one, and the subject token is that of another client's cache.
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn the_token_of_a_cache_is_exchanged_for_one_that_the_api_accepts() {
        let server = server();
        for (id, auth) in [
            ("exchanger", ClientAuth::post(SECRET)),
            ("public", ClientAuth::none()),
        ] {
            let token_requests = Calls::default();
            let subject = server.credentials("post", "read").build().unwrap();
            let subject = TokenCache::new(token_requests.counted(subject));
            let exchange = |kind| {
                TokenExchange::new(Secret::from_cache(subject.clone()), kind)
                    .with_requested_type(TokenType::AccessToken)
            };
            let credentials = server.client(id, auth.clone()).scopes(["read"]);
            let credentials = credentials.require_all_scopes();
            let of_access_token = credentials.clone().grant(exchange(TokenType::AccessToken));
            let answer = server.call(of_access_token.clone()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.body(), id);
            assert_eq!(token_requests.so_far(), 1);

            // Rejected as subject token, it is replaced once.
            let token = subject.get().await.unwrap();
            server.revoke("post", &token).await;
            let answer = server.call(of_access_token).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(token_requests.so_far(), 2);

            // Of a type that this server does not exchange.
            let of_jwt = credentials.grant(exchange(TokenType::Jwt));
            let error = server.call(of_jwt).await.unwrap_err();
            assert_denied(&error, StatusCode::BAD_REQUEST, "invalid_request");
            assert_says(&error, "token-type:jwt");
        }
    }

    /// The client is found by the assertion's `sub`.
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn an_assertion_with_claims_and_a_chain_goes_without_the_client_id() {
        let server = server();
        let key = SigningKey::from_pem(SigningAlgorithm::Es256, key_file("p256.pem"));
        let chain = key.clone().with_certificate_chain(key_file("client.crt"));
        let assertion = Assertion::signed_by(chain).with_claim("tenant", "7");
        for auth in [
            assertion.clone().into(),
            ClientAuth::from(assertion.clone()).without_client_id(),
        ] {
            let client = server.client("detailed", auth).scopes(["read"]);
            assert_eq!(server.call(client).await.unwrap().body(), "detailed");
        }
        // `iss` and `sub` name it: the id in the form would be another.
        let named = assertion
            .with_claim("iss", "detailed")
            .with_claim("sub", "detailed");
        let auth = ClientAuth::from(named.clone()).without_client_id();
        let client = server.client("another", auth).scopes(["read"]);
        assert_eq!(server.call(client).await.unwrap().body(), "detailed");

        let error = server.call(server.client("another", named)).await;
        assert_denied(
            &error.unwrap_err(),
            StatusCode::BAD_REQUEST,
            "invalid_request",
        );
        let wrong = Assertion::signed_by(key).with_claim("tenant", "8");
        let error = server.call(server.client("detailed", wrong)).await;
        assert_denied(
            &error.unwrap_err(),
            StatusCode::UNAUTHORIZED,
            "invalid_client",
        );
    }

    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_jwk_signs_an_assertion_for_the_issuer() {
        let server = server();
        for (client_id, jwk) in [
            ("RS256", "rsa.jwk.json"),
            ("ES256", "p256.jwk.json"),
            ("ES384", "p384.jwk.json"),
            ("EdDSA", "ed25519.jwk.json"),
        ] {
            let key = SigningKey::from_jwk(key_file(jwk)).with_key_id("k1");
            let assertion = Assertion::signed_by(key).with_audience(&server.origin);
            let client = server.client(client_id, assertion);
            let answer = server.call(client.scopes(["read"])).await.unwrap();
            assert_eq!(answer.body(), client_id);
        }
    }

    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_certificate_of_the_connection_gives_a_token() {
        let server = server();
        for (client_id, name) in [("tls", "client"), ("self-signed", "self-signed")] {
            let answer = server.call(with_certificate(&server, client_id, name).await);
            assert_eq!(answer.await.unwrap().body(), client_id);
        }
    }

    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn another_certificate_or_none_is_denied_as_an_invalid_client() {
        let server = server();
        for (client_id, name) in [
            ("tls", "rotated"),
            ("tls", "self-signed"),
            ("self-signed", "client"),
        ] {
            let client = with_certificate(&server, client_id, name).await;
            let error = server.call(client).await.unwrap_err();
            assert_denied(&error, StatusCode::UNAUTHORIZED, "invalid_client");
        }
        let client = server.client("tls", ClientAuth::none());
        let error = server.call(client).await.unwrap_err();
        assert_denied(&error, StatusCode::UNAUTHORIZED, "invalid_client");
    }

    /// The server says only that authentication failed. The error says what to compare with what the server knows.
    ///
    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn an_assertion_by_the_wrong_key_or_algorithm_or_for_somebody_else_is_told_by_what_it_was()
     {
        let server = server();
        let key = |algorithm, file| SigningKey::from_pem(algorithm, key_file(file));
        let token_url = server.token_url();
        for (key, audience, part) in [
            (
                key(SigningAlgorithm::Es256, "client.key").with_key_id("k1"),
                &token_url,
                "signed with ES256 and the key id \"k1\"",
            ),
            (
                key(SigningAlgorithm::Rs256, "rsa.pem"),
                &token_url,
                "signed with RS256 and no key id",
            ),
            (
                key(SigningAlgorithm::Es256, "p256.pem").with_key_id("k2"),
                &token_url,
                "the key id \"k2\"",
            ),
            (
                key(SigningAlgorithm::Es256, "p256.pem"),
                &"https://another.example".to_owned(),
                "for the audience \"https://another.example\"",
            ),
        ] {
            let assertion = Assertion::signed_by(key).with_audience(audience);
            let client = server.client("ES256", assertion);
            let error = server.call(client).await.unwrap_err();
            assert_denied(&error, StatusCode::UNAUTHORIZED, "invalid_client");
            assert_says(&error, part);
        }
        let client = server.client("secret-jwt", ClientAuth::secret_jwt(WRONG_SECRET));
        let error = server.call(client).await.unwrap_err();
        assert_denied(&error, StatusCode::UNAUTHORIZED, "invalid_client");
        assert_says(&error, "signed with HS256 and this secret");
    }

    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn an_assertion_of_a_clock_that_is_ten_minutes_off_is_denied() {
        let server = server();
        for off in [-600, 600] {
            let assertion = assertion(&server, off);
            let client = server.client("secret-jwt", ClientAuth::assertion(assertion));
            let error = server.call(client).await.unwrap_err();
            assert_denied(&error, StatusCode::UNAUTHORIZED, "invalid_client");
        }
    }

    /// This server is ten minutes behind. It says only that authentication failed; the error says why.
    ///
    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_clock_that_is_ten_minutes_off_is_told_by_the_error() {
        let server = Server {
            origin: origin("TOWER_BEARER_OIDC_PROVIDER_SLOW"),
            ..server()
        };
        let key = SigningKey::from_pem(SigningAlgorithm::Es256, key_file("p256.pem"));
        for (client_id, auth) in [
            ("secret-jwt", ClientAuth::secret_jwt(SECRET)),
            ("ES256", ClientAuth::private_key_jwt(key)),
        ] {
            let error = server.call(server.client(client_id, auth)).await;
            let error = error.unwrap_err();
            assert_denied(&error, StatusCode::UNAUTHORIZED, "invalid_client");
            assert_says(&error, "s ahead of the server's");
            assert_says(&error, "set the clock");
        }
    }

    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn an_assertion_is_taken_once() {
        let server = server();
        let assertion = assertion(&server, 0);
        let client = server.client("secret-jwt", ClientAuth::assertion(assertion));
        let client = client.scopes(["read"]);
        let answer = server.call(client.clone()).await.unwrap();
        assert_eq!(answer.body(), "secret-jwt");
        let error = server.call(client).await.unwrap_err();
        assert_denied(&error, StatusCode::UNAUTHORIZED, "invalid_client");
    }

    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_method_that_the_client_is_not_registered_with_is_denied_as_an_invalid_client() {
        let server = server();
        let key = || SigningKey::from_pem(SigningAlgorithm::Es256, key_file("p256.pem"));
        for (client_id, auth) in [
            ("post", ClientAuth::secret_jwt(SECRET)),
            ("post", ClientAuth::private_key_jwt(key())),
            ("post", ClientAuth::none()),
            ("ES256", ClientAuth::post(SECRET)),
            ("ES256", ClientAuth::secret_jwt(SECRET)),
            ("ES256", ClientAuth::none()),
            ("secret-jwt", ClientAuth::basic(SECRET)),
            ("secret-jwt", ClientAuth::private_key_jwt(key())),
        ] {
            let error = server
                .call(server.client(client_id, auth))
                .await
                .unwrap_err();
            assert_denied(&error, StatusCode::UNAUTHORIZED, "invalid_client");
        }
    }

    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_secret_goes_by_a_method_that_discovery_tells() {
        let server = server();
        let discover = |id, auth: ClientAuth| ClientCredentials::discover(&server.origin, id, auth);
        for (id, auth) in [
            ("secret-jwt", ClientAuth::secret_jwt(SECRET)),
            ("basic", SECRET.into()),
            ("post", ClientAuth::post(SECRET)),
        ] {
            let answer = server.call(discover(id, auth).scopes(["read"])).await;
            assert_eq!(answer.unwrap().body(), id);
        }
    }

    /// Discovery is over http and the token endpoint over TLS.
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_client_with_a_certificate_goes_where_discovery_tells() {
        let server = server();
        let credentials = ClientCredentials::discover(&server.origin, "tls", ClientAuth::tls())
            .client_certificate(key_file("client.crt"), key_file("client.key"))
            .scopes(["read"]);
        let answer = server.call(credentials).await.unwrap();
        assert_eq!(answer.body(), "tls");
    }

    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_method_that_discovery_tells_and_that_is_not_this_clients_is_told() {
        let server = server();
        let credentials = ClientCredentials::discover(&server.origin, "secret-jwt", SECRET);
        let error = server.call(credentials).await.unwrap_err();
        assert_denied(&error, StatusCode::UNAUTHORIZED, "invalid_client");
        assert_says(&error, "client_secret_basic was picked");
    }

    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn an_issuer_by_another_name_is_told() {
        let server = server();
        let issuer = server.origin.replace("127.0.0.1", "localhost");
        let error = server
            .call(ClientCredentials::discover(&issuer, "post", SECRET))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidAnswer);
        assert_says(&error, &format!("{:?}", server.origin));
        assert_says(&error, &format!("{issuer:?}"));
    }

    /// A client that is asked for its certificate, at the endpoint that discovery names for it.
    async fn with_certificate(
        server: &Server,
        client_id: &str,
        name: &str,
    ) -> ClientCredentialsBuilder {
        let uri = format!("{}/.well-known/openid-configuration", server.origin);
        let answer = http_client().get(uri.parse().unwrap()).await.unwrap();
        let answer = read(answer).await.unwrap().into_body();
        let discovered: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        let token_url = &discovered["mtls_endpoint_aliases"]["token_endpoint"];
        ClientCredentials::builder(token_url.as_str().unwrap(), client_id, ClientAuth::tls())
            .client_certificate(
                key_file(&format!("{name}.crt")),
                key_file(&format!("{name}.key")),
            )
            .scopes(["read"])
    }

    fn key_file(name: &str) -> Secret {
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
        Secret::from_file(keys.join(name))
    }

    /// An assertion of the client `secret-jwt` by a clock that is so many seconds off.
    fn assertion(server: &Server, off: i64) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = i64::try_from(now.unwrap().as_secs()).unwrap() + off;
        let claims = json!({
            "iss": "secret-jwt",
            "sub": "secret-jwt",
            "aud": server.token_url(),
            "jti": format!("{now}-{off}-{}", std::process::id()),
            "iat": now - 10,
            "nbf": now - 10,
            "exp": now + 50,
        });
        let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
        let header = encode(json!({"alg": "HS256"}).to_string().as_bytes());
        let input = format!("{header}.{}", encode(claims.to_string().as_bytes()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let signature = encode(hmac::sign(&key, input.as_bytes()).as_ref());
        format!("{input}.{signature}")
    }

    /// This server counts in whole seconds and rounds down, so its tokens end up to one second before their time. A
    /// call in that second is rejected and sent again.
    ///
    /// Promise: L2
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn calls_succeed_across_the_expiry_of_two_second_tokens() {
        server().assert_calls_succeed_across_expiry().await;
    }
}

mod django {
    use super::*;

    fn server() -> Server {
        Server {
            origin: origin("TOWER_BEARER_DJANGO"),
            token: "/oauth2/token/",
            revocation: "/oauth2/revoke_token/",
        }
    }

    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_secret_in_the_form_gives_a_token_that_the_api_accepts() {
        let server = server();
        let credentials = server
            .client("client", ClientAuth::post(SECRET))
            .scopes(["read"]);
        let answer = server.call(credentials).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }

    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_secret_in_a_basic_header_gives_a_token_that_the_api_accepts() {
        let server = server();
        let credentials = server
            .client("client", ClientAuth::basic(SECRET))
            .scopes(["read"]);
        let answer = server.call(credentials).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }

    /// To this server it is a wrong secret like any other.
    ///
    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_secret_in_a_raw_basic_header_is_denied_as_an_invalid_client() {
        let server = server();
        let credentials = server
            .client("client", ClientAuth::basic_raw(SECRET))
            .scopes(["read"]);
        let error = server.call(credentials).await.unwrap_err();
        assert_denied(&error, StatusCode::UNAUTHORIZED, "invalid_client");
    }

    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_wrong_secret_is_denied_as_an_invalid_client() {
        let server = server();
        let credentials = server.client("client", WRONG_SECRET);
        let error = server.call(credentials).await.unwrap_err();
        assert_denied(&error, StatusCode::UNAUTHORIZED, "invalid_client");
    }

    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn an_unknown_scope_is_denied_as_an_invalid_scope() {
        let server = server();
        let credentials = server.credentials("client", "unknown");
        let error = server.call(credentials).await.unwrap_err();
        assert_denied(&error, StatusCode::BAD_REQUEST, "invalid_scope");
    }

    /// Promise: E6
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_client_without_the_grant_is_denied_as_an_unauthorized_client() {
        let server = server();
        let credentials = server.credentials("without-grant", "read");
        let error = server.call(credentials).await.unwrap_err();
        assert_denied(&error, StatusCode::BAD_REQUEST, "unauthorized_client");
    }

    /// Promise: F1
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn fifty_calls_at_once_on_a_cold_cache_make_one_token_request() {
        server().assert_fifty_calls_make_one_token_request().await;
    }

    /// Promise: R8
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn the_403_for_a_revoked_token_is_handed_on_by_default() {
        let server = server();
        let token_requests = Calls::default();
        let source = server.credentials("client", "read").build().unwrap();
        let layer = BearerAuthLayer::new(token_requests.counted(source));

        let token = layer.cache().get().await.unwrap();
        server.revoke("client", &token).await;
        let answer = server.get(layer.layer(http_client())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(!answer.headers().contains_key(header::WWW_AUTHENTICATE));
        assert_eq!(token_requests.so_far(), 1);
    }

    /// Promise: R1, R8
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn a_revoked_token_is_replaced_by_one_token_request_where_a_403_is_a_rejection() {
        let server = server();
        let (token_requests, api_calls) = (Calls::default(), Calls::default());
        let source = server.credentials("client", "read").build().unwrap();
        let layer = BearerAuthLayer::new(token_requests.counted(source))
            .unauthorized(|response: &ResponseHead<'_>| response.status() == StatusCode::FORBIDDEN);
        let service = layer.layer(api_calls.counted(http_client()));

        let before = server.get(service.clone()).await.unwrap();
        assert_eq!(before.status(), StatusCode::OK);
        let token = layer.cache().get().await.unwrap();
        server.revoke("client", &token).await;
        for _ in 0..2 {
            let after = server.get(service.clone()).await.unwrap();
            assert_eq!(after.status(), StatusCode::OK);
        }
        assert_eq!(token_requests.so_far(), 2);
        // The three that were answered, and the one that was rejected.
        assert_eq!(api_calls.so_far(), 4);
    }

    /// An expired token would be answered by 403, which is handed on: none is ever sent.
    ///
    /// Promise: L2
    #[tokio::test]
    #[ignore = "needs the servers that tests/servers/run starts"]
    async fn calls_succeed_across_the_expiry_of_two_second_tokens() {
        server().assert_calls_succeed_across_expiry().await;
    }
}

/// A server that runs, and the paths of its endpoints. Its API is at `/api/me` and wants the scope `read`.
struct Server {
    origin: String,
    token: &'static str,
    revocation: &'static str,
}

impl Server {
    fn token_url(&self) -> String {
        format!("{}{}", self.origin, self.token)
    }

    fn credentials(&self, client_id: &str, scope: &str) -> ClientCredentialsBuilder {
        self.client(client_id, SECRET).scopes([scope])
    }

    fn client(&self, client_id: &str, auth: impl Into<ClientAuth>) -> ClientCredentialsBuilder {
        ClientCredentials::builder(self.token_url(), client_id, auth)
    }

    /// Calls the API once, with a token that these credentials get.
    async fn call(&self, credentials: ClientCredentialsBuilder) -> Result<Response<Bytes>, Error> {
        let layer = BearerAuthLayer::new(credentials.build()?);
        let answer = self.get(layer.layer(http_client())).await;
        answer.map_err(|error| {
            let ours = error.downcast_ref::<Error>();
            ours.expect("only a token request is to fail").clone()
        })
    }

    /// Calls the API once, and reads the whole answer, so that its connection can be used again.
    async fn get<S, B>(&self, service: S) -> Result<Response<Bytes>, BoxError>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>>,
        S::Error: Into<BoxError>,
        B: http_body::Body,
        B::Error: Into<BoxError>,
    {
        let request = Request::get(format!("{}/api/me", self.origin)).body(Full::default())?;
        read(service.oneshot(request).await.map_err(Into::into)?).await
    }

    /// Has a token revoked by its owner (RFC 7009).
    async fn revoke(&self, client_id: &str, token: &Token) {
        let authorization = token.authorization().to_str().expect("it is ASCII");
        let token = authorization.strip_prefix("Bearer ").expect("it is Bearer");
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("client_id", client_id)
            .append_pair("client_secret", SECRET)
            .finish();
        let request = Request::post(format!("{}{}", self.origin, self.revocation))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form))
            .expect("the origin is one");
        let answer = http_client().request(request).await;
        assert_eq!(answer.expect("it answers").status(), StatusCode::OK);
    }

    /// How many tokens the server has given to a client.
    async fn issued(&self, client_id: &str) -> usize {
        let uri = format!("{}/issued/{client_id}", self.origin);
        let answer = http_client().get(uri.parse().expect("the origin is one"));
        let answer = read(answer.await.expect("it answers")).await;
        let count = answer.expect("the answer can be read").into_body();
        let count = str::from_utf8(&count).expect("it is text");
        count.parse().expect("it is a number")
    }

    async fn assert_fifty_calls_make_one_token_request(self) {
        let server = Arc::new(self);
        let issued_before = server.issued("counted").await;
        let source = server.credentials("counted", "read").build();
        let layer = BearerAuthLayer::new(source.expect("the credentials are good"));
        let service = layer.layer(http_client());

        let mut calls = JoinSet::new();
        for _ in 0..50 {
            let (server, service) = (Arc::clone(&server), service.clone());
            calls.spawn(async move { server.get(service).await });
        }
        for answer in calls.join_all().await {
            assert_eq!(answer.expect("it answers").status(), StatusCode::OK);
        }
        assert_eq!(server.issued("counted").await - issued_before, 1);
    }

    /// Calls the API for two and a half lifetimes of a token. Every call has to succeed, on no more token requests than the
    /// lifetime forces.
    async fn assert_calls_succeed_across_expiry(self) {
        let token_requests = Calls::default();
        let source = self.credentials("short-lived", "read").build();
        let source = token_requests.counted(source.expect("the credentials are good"));
        let service = BearerAuthLayer::new(source).layer(http_client());

        let started = Instant::now();
        let mut last_call = Duration::ZERO;
        while last_call < SHORT_LIFETIME * 5 / 2 {
            sleep(Duration::from_millis(50)).await;
            last_call = started.elapsed();
            let answer = self.get(service.clone()).await.expect("it answers");
            assert_eq!(answer.status(), StatusCode::OK, "after {last_call:?}");
        }

        // On a machine of any speed: no token is good for more than its lifetime, and none is replaced in the first
        // half of it.
        let token_requests = token_requests.so_far() as f64;
        let least = last_call.div_duration_f64(SHORT_LIFETIME);
        let most = started.elapsed().div_duration_f64(SHORT_LIFETIME / 2) + 1.0;
        assert!(
            (least..=most).contains(&token_requests),
            "{token_requests} token requests"
        );
    }
}

fn origin(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set. tests/servers/run sets it to the origin of the server that it starts.")
    })
}

/// A client without the layer.
fn http_client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

async fn read<B>(answer: Response<B>) -> Result<Response<Bytes>, BoxError>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(Into::into)?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

/// Counts the calls of a service.
#[derive(Clone, Debug, Default)]
struct Calls(Arc<AtomicUsize>);

impl Calls {
    fn counted<S, R>(&self, service: S) -> MapRequest<S, impl FnMut(R) -> R + Clone + use<S, R>>
    where
        S: Service<R>,
    {
        let Self(calls) = self.clone();
        MapRequest::new(service, move |request| {
            calls.fetch_add(1, Ordering::Relaxed);
            request
        })
    }

    fn so_far(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The token endpoint said no, the error tells what it said, and it tells no secret.
#[track_caller]
fn assert_denied(error: &Error, status: StatusCode, code: &str) {
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(!error.is_transient());
    assert_eq!(error.status(), Some(status));
    assert_eq!(error.oauth_code(), Some(code));
    assert_says(error, code);
    for secret in [SECRET, WRONG_SECRET] {
        assert!(!format!("{error} {error:?}").contains(secret));
    }
}

#[track_caller]
fn assert_says(error: &Error, what: &str) {
    let message = error.to_string();
    assert!(message.contains(what), "{message}");
}
