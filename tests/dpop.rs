//! Tokens that are bound to a key: the proofs at the token endpoint and at the API, as a checker sees them that has no code of
//! this crate's.

#![cfg(all(
    feature = "config",
    feature = "dpop",
    feature = "reqwest-middleware",
    feature = "tonic"
))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../examples/dpop/checker.rs"]
#[allow(dead_code, reason = "the example uses another part of it")]
mod checker;
#[path = "support/endpoint.rs"]
mod endpoint;

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use checker::{Checker, Problem, Proof, claims_of};
use endpoint::{Endpoint, answer, token_request};
use http::{HeaderMap, Method, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{
    BoxError, Service, ServiceExt, limit::ConcurrencyLimitLayer, service_fn,
    util::BoxCloneSyncService,
};
use tower_bearer::{
    BearerAuthLayer, ClientAuth, ClientCredentials, Error, ErrorKind, Secret, Token, TokenCache,
    adapter::{
        reqwest::{ReqwestService, ReusableBody},
        tonic::{GrpcAuthLayer, Messages},
    },
    client_credentials::{ClientCredentialsBuilder, Signer, SigningAlgorithm, SigningKey},
    config::Configuration,
    dpop::{DpopKey, DpopLayer},
    extension::{Deadline, NoRetry, NotRetried},
    replay::{Buffered, NoReplay},
    token::FixedToken,
};
use tower_layer::Layer;

const TOKEN_URL: &str = "https://auth.test/token";

const RSA: &str = include_str!("keys/rsa.pem");
const P256: &str = include_str!("keys/p256.pem");
const P256_SEC1: &str = include_str!("keys/p256.sec1.pem");
const P256_JWK: &str = include_str!("keys/p256.jwk.json");
const P384: &str = include_str!("keys/p384.pem");
const ED25519: &str = include_str!("keys/ed25519.pem");

type Body = Full<Bytes>;
type Transport = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// An authorization server and an API that take each other's tokens. Each checks its proofs, and writes down what came.
#[derive(Clone, Default)]
struct Servers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    auth: Checker,
    api: Checker,
    /// Whether the authorization server changes its nonce with each answer; and the API.
    auth_changes: AtomicBool,
    api_changes: AtomicBool,
    /// Whether the API has a new nonce once it has rejected a token, and does not say so.
    api_changes_secretly: AtomicBool,
    nonces: AtomicUsize,
    /// The thumbprint of each token's key.
    bound: Mutex<HashMap<String, String>>,
    posts: Mutex<Vec<Came>>,
    calls: Mutex<Vec<Came>>,
}

/// A request as a server saw it.
#[derive(Clone, Debug)]
struct Came {
    proof: Value,
    outcome: Result<Proof, &'static str>,
    form: HashMap<String, String>,
    body: Bytes,
}

impl Servers {
    fn new(auth: Checker, api: Checker) -> Self {
        Self(Arc::new(Inner {
            auth,
            api,
            ..Inner::default()
        }))
    }

    fn client(&self, key: &DpopKey) -> ClientCredentialsBuilder {
        ClientCredentials::builder(TOKEN_URL, "id", "secret").dpop(key.clone())
    }

    fn credentials(&self, key: &DpopKey) -> ClientCredentials {
        self.client(key).build_with(self.token_endpoint()).unwrap()
    }

    fn token_endpoint(&self) -> Transport {
        let this = self.clone();
        BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
            let this = this.clone();
            async move { Ok(this.grant(request).await) }
        }))
    }

    async fn grant(self, request: Request<Body>) -> Response<Body> {
        let inner = &self.0;
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let outcome = inner
            .auth
            .check(&head.headers, &head.method, TOKEN_URL, None);
        let answer = match &outcome {
            Ok(proof) => {
                let mut bound = inner.bound.lock().unwrap();
                let token = format!("t{}", bound.len() + 1);
                bound.insert(token.clone(), proof.thumbprint.clone());
                let answer =
                    json!({"access_token": token, "token_type": "DPoP", "expires_in": 3600});
                Response::new(answer.to_string())
            }
            Err(problem) => {
                let error =
                    json!({"error": problem.code(), "error_description": proof_in(&head.headers)});
                let mut answer = Response::new(error.to_string());
                *answer.status_mut() = StatusCode::BAD_REQUEST;
                answer
            }
        };
        came(&inner.posts, &head.headers, outcome, body);
        inner.answered(answer, &inner.auth, &inner.auth_changes)
    }

    fn api(&self) -> Transport {
        let this = self.clone();
        BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
            let this = this.clone();
            async move { Ok(this.call(request).await) }
        }))
    }

    /// The API. It rejects what it does not know by the challenges of RFC 9449 §7.1.
    async fn call<B>(self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Error: std::fmt::Debug>,
    {
        let inner = &self.0;
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let token = head
            .headers
            .get(AUTHORIZATION)
            .map(|it| it.to_str().unwrap());
        let token = token.and_then(|token| token.strip_prefix("DPoP "));
        // What the client was told, which has neither a query nor an upper case in its host.
        let uri = head.headers.get("x-uri").map_or_else(
            || format!("https://api.test{}", head.uri.path()),
            |uri| uri.to_str().unwrap().to_owned(),
        );
        let outcome = inner.api.check(&head.headers, &head.method, &uri, token);
        let bound = inner
            .bound
            .lock()
            .unwrap()
            .get(token.unwrap_or_default())
            .cloned();
        let error = match &outcome {
            Ok(proof) if bound.as_ref() == Some(&proof.thumbprint) => None,
            Ok(_) => Some("invalid_token"),
            Err(problem) => Some(problem.code()),
        };
        came(&inner.calls, &head.headers, outcome, body.clone());
        let answer = match error {
            None => Response::new(String::from_utf8(body.to_vec()).unwrap()),
            Some(error) => Response::builder()
                .status(401)
                .header(
                    "WWW-Authenticate",
                    format!(r#"DPoP algs="ES256", error="{error}""#),
                )
                .body(String::new())
                .unwrap(),
        };
        let answer = inner.answered(answer, &inner.api, &inner.api_changes);
        if error == Some("invalid_token") && inner.api_changes_secretly.load(Ordering::Relaxed) {
            inner.api.require("second");
        }
        answer
    }

    /// From now on no token is good that was given before.
    fn revoke(&self) {
        for thumbprint in self.0.bound.lock().unwrap().values_mut() {
            *thumbprint = "nobody's".to_owned();
        }
    }

    fn posts(&self) -> Vec<Came> {
        self.0.posts.lock().unwrap().clone()
    }

    fn calls(&self) -> Vec<Came> {
        self.0.calls.lock().unwrap().clone()
    }
}

impl Inner {
    fn answered(
        &self,
        answer: Response<String>,
        by: &Checker,
        changes: &AtomicBool,
    ) -> Response<Body> {
        let mut answer = answer.map(Full::from);
        if changes.load(Ordering::Relaxed) {
            let number = self.nonces.fetch_add(1, Ordering::Relaxed) + 1;
            by.require(&format!("nonce-{number}"));
        }
        let headers = answer.headers_mut();
        if let Some(nonce) = by.nonce() {
            headers.insert("dpop-nonce", nonce.parse().unwrap());
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(by.now().unsigned_abs());
        headers.insert("date", httpdate::fmt_http_date(now).parse().unwrap());
        answer
    }
}

fn came(log: &Mutex<Vec<Came>>, headers: &HeaderMap, outcome: Result<Proof, Problem>, body: Bytes) {
    log.lock().unwrap().push(Came {
        proof: claims_of(&proof_in(headers)),
        outcome: outcome.map_err(|problem| match problem {
            Problem::Nonce => "nonce",
            Problem::Invalid(what) => what,
        }),
        form: url::form_urlencoded::parse(&body).into_owned().collect(),
        body,
    });
}

fn proof_in(headers: &HeaderMap) -> String {
    let proof = headers.get("dpop").map(|proof| {
        assert!(proof.is_sensitive());
        proof.to_str().unwrap().to_owned()
    });
    proof.unwrap_or_default()
}

/// What became of each request: nothing, or what was wrong with its proof.
fn outcomes(came: &[Came]) -> Vec<Result<(), &'static str>> {
    let outcomes = came.iter().map(|came| came.outcome.clone());
    outcomes.map(|outcome| outcome.map(drop)).collect()
}

fn key() -> DpopKey {
    DpopKey::generate().unwrap()
}

fn get(uri: &str) -> Request<Body> {
    Request::get(uri).body(Body::default()).unwrap()
}

fn service(servers: &Servers, key: &DpopKey) -> Transport {
    let source = servers.credentials(key);
    let service = DpopLayer::new(key.clone()).layer(servers.api());
    let service = BearerAuthLayer::new(source).layer(service);
    BoxCloneSyncService::new(service.map_err(|error: BoxError| panic!("{error}")))
}

#[track_caller]
fn configuration(error: Result<impl std::fmt::Debug, Error>, says: &str) {
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

mod keys {
    //! The key and its proofs.

    use super::*;

    /// Signs in another task's time, as a service elsewhere does.
    struct Elsewhere(ring::signature::EcdsaKeyPair);

    impl Elsewhere {
        /// With its public JWK.
        fn new() -> (Self, &'static str) {
            use ring::{rand::SystemRandom, signature};
            use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
            let der = PrivatePkcs8KeyDer::from_pem_slice(P256.as_bytes()).unwrap();
            let pair = signature::EcdsaKeyPair::from_pkcs8(
                &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                der.secret_pkcs8_der(),
                &SystemRandom::new(),
            );
            let mut jwk: Value = serde_json::from_str(P256_JWK).unwrap();
            jwk.as_object_mut().unwrap().remove("d");
            (Self(pair.unwrap()), jwk.to_string().leak())
        }
    }

    impl Signer for Elsewhere {
        fn algorithm(&self) -> SigningAlgorithm {
            SigningAlgorithm::Es256
        }

        fn sign(
            &self,
            input: Bytes,
        ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, BoxError>> + Send + '_>> {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let signature = self.0.sign(&ring::rand::SystemRandom::new(), &input);
                Ok(signature.unwrap().as_ref().to_vec())
            })
        }
    }

    /// The proof of RFC 9449 figure 2, the thumbprint of figure 9: the checker knows them, and so does a key.
    #[test]
    fn the_rfcs_own_proof_and_thumbprint_are_those_of_the_checker_and_of_a_key() {
        const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
        const THUMBPRINT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        let now = Checker::default().now();
        let checker = Checker::ahead(1_562_262_616 - now);
        let headers = HeaderMap::from_iter([("dpop".parse().unwrap(), PROOF.parse().unwrap())]);
        let uri = "https://server.example.com/token";
        let proof = checker.check(&headers, &Method::POST, uri, None).unwrap();
        assert_eq!(proof.thumbprint, THUMBPRINT);
        // Once is enough.
        let again = checker.check(&headers, &Method::POST, uri, None);
        assert_eq!(again.unwrap_err(), Problem::Invalid("jti"));

        let key = DpopKey::held_by(Elsewhere::new().0, &proof.header["jwk"].to_string()).unwrap();
        assert_eq!(key.thumbprint(), THUMBPRINT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_of_any_kind_signs_proofs_that_another_library_accepts() {
        let pem = |algorithm, pem: &str| DpopKey::from_pem(algorithm, pem).unwrap();
        let (signer, public) = Elsewhere::new();
        let p256 = pem(SigningAlgorithm::Es256, P256);
        for (key, name) in [
            (DpopKey::generate().unwrap(), "ES256"),
            (
                DpopKey::generate_for(SigningAlgorithm::Es384).unwrap(),
                "ES384",
            ),
            (
                DpopKey::generate_for(SigningAlgorithm::EdDsa).unwrap(),
                "EdDSA",
            ),
            (p256.clone(), "ES256"),
            (pem(SigningAlgorithm::Es256, P256_SEC1), "ES256"),
            (pem(SigningAlgorithm::Es384, P384), "ES384"),
            (pem(SigningAlgorithm::EdDsa, ED25519), "EdDSA"),
            (pem(SigningAlgorithm::Rs256, RSA), "RS256"),
            (pem(SigningAlgorithm::Ps256, RSA), "PS256"),
            (pem(SigningAlgorithm::Ps512, RSA), "PS512"),
            (DpopKey::from_jwk(P256_JWK).unwrap(), "ES256"),
            (DpopKey::held_by(signer, public).unwrap(), "ES256"),
        ] {
            let servers = Servers::default();
            let answer = service(&servers, &key)
                .oneshot(get("https://api.test/a"))
                .await;
            assert_eq!(answer.unwrap().status(), 200, "{key:?}");
            let (posts, calls) = (servers.posts(), servers.calls());
            assert_eq!((posts.len(), calls.len()), (1, 1), "{key:?}");
            for came in posts.into_iter().chain(calls) {
                let proof = came.outcome.unwrap();
                assert_eq!(proof.thumbprint, key.thumbprint(), "{key:?}");
                assert_eq!(proof.header["alg"], name);
                let members = proof.header["jwk"].as_object().unwrap();
                assert!(!members.contains_key("d"), "{members:?}");
            }
        }
        assert_eq!(
            DpopKey::from_jwk(P256_JWK).unwrap().thumbprint(),
            p256.thumbprint()
        );
        assert_ne!(key().thumbprint(), key().thumbprint());
    }

    #[test]
    fn a_key_that_cannot_prove_anything_is_an_error_that_says_what_to_do() {
        let pem = |algorithm, pem: &str| DpopKey::from_pem(algorithm, pem);
        configuration(pem(SigningAlgorithm::Hs256, "secret"), "needs a key pair");
        configuration(
            pem(SigningAlgorithm::Es256, RSA),
            "cannot be used with ES256",
        );
        configuration(DpopKey::from_jwk("{}"), "JWK");
        configuration(
            DpopKey::generate_for(SigningAlgorithm::Rs256),
            "openssl genpkey",
        );
        configuration(DpopKey::generate_for(SigningAlgorithm::Hs256), "use ES256");
        let provided = Secret::from_provider(async || Ok::<_, Infallible>(P256));
        configuration(
            DpopKey::from_pem(SigningAlgorithm::Es256, provided),
            "fetch the text first",
        );
        configuration(
            DpopKey::from_pem(SigningAlgorithm::Es256, Secret::from_env("NO_SUCH_KEY")),
            "NO_SUCH_KEY",
        );
        let held = |jwk: &str| DpopKey::held_by(Elsewhere::new().0, jwk);
        configuration(held(P256_JWK), "private member");
        configuration(held("[]"), "one JSON object");
        for jwk in [
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "EC", "crv": "P-384", "x": "AQAB", "y": "AQAB"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AQAB"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AQAB", "y": "\"},{"}),
        ] {
            configuration(held(&jwk.to_string()), "public key for ES256");
        }
    }
}

mod token_endpoint {
    //! The token request.

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_request_has_a_proof_and_its_token_is_bound() {
        let (servers, key) = (Servers::default(), key());
        let token = token_request(servers.credentials(&key)).await.unwrap();
        assert_eq!(token.authorization(), "DPoP t1");
        assert!(token.authorization().is_sensitive());
        assert_eq!(token.expose_secret(), "t1");
        assert!(
            format!("{token:?}").contains("DPoP [redacted]"),
            "{token:?}"
        );
        let [post] = &servers.posts()[..] else {
            panic!("one token request");
        };
        let proof = post.outcome.clone().unwrap();
        assert_eq!(proof.thumbprint, key.thumbprint());
        let names: HashSet<_> = proof.claims.as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            names,
            HashSet::from(["jti", "htm", "htu", "iat"].map(String::from))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_nonce_is_answered_once_and_the_newest_one_is_kept() {
        let (servers, key) = (Servers::default(), key());
        servers.0.auth.require("first");
        let source = servers.credentials(&key);
        token_request(source.clone()).await.unwrap();
        assert_eq!(outcomes(&servers.posts()), [Err("nonce"), Ok(())]);

        // A success brings the next one.
        servers.0.auth_changes.store(true, Ordering::Relaxed);
        token_request(source.clone()).await.unwrap();
        token_request(source).await.unwrap();
        assert_eq!(servers.posts().len(), 4);
        let nonces: Vec<_> = servers
            .posts()
            .iter()
            .map(|it| it.proof["nonce"].clone())
            .collect();
        assert_eq!(
            nonces,
            [
                json!(null),
                json!("first"),
                json!("first"),
                json!("nonce-1")
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_always_asks_for_another_nonce_is_asked_twice() {
        let denial = |nonce: &str| {
            answer(
                400,
                &[("DPoP-Nonce", nonce)],
                r#"{"error":"use_dpop_nonce"}"#,
            )
        };
        for (denials, posts) in [
            (vec![denial("a"), denial("b"), denial("c")], 2),
            // Without a nonce, or with none that may be one, there is nothing to do better.
            (vec![answer(400, &[], r#"{"error":"use_dpop_nonce"}"#)], 1),
            (vec![denial("a b")], 1),
            (vec![denial("a"), denial("a")], 2),
            // Another error is no reason, whatever it brings.
            (
                vec![answer(
                    400,
                    &[("DPoP-Nonce", "a")],
                    r#"{"error":"invalid_scope"}"#,
                )],
                1,
            ),
        ] {
            let endpoint = Endpoint::new(denials.clone());
            let client = ClientCredentials::builder(TOKEN_URL, "id", "secret").dpop(key());
            let source = client.build_with(endpoint.clone()).unwrap();
            token_request(source).await.unwrap_err();
            assert_eq!(endpoint.posts(), posts, "{denials:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_proof_comes_with_a_second_assertion() {
        let (servers, key) = (Servers::default(), key());
        servers.0.auth.require("nonce");
        let auth = ClientAuth::private_key_jwt(SigningKey::from_jwk(P256_JWK));
        let client = ClientCredentials::builder(TOKEN_URL, "id", auth).dpop(key);
        let source = client.build_with(servers.token_endpoint()).unwrap();
        token_request(source).await.unwrap();
        let [first, second] = &servers.posts()[..] else {
            panic!("two token requests");
        };
        let jti = |came: &Came| claims_of(&came.form["client_assertion"])["jti"].clone();
        assert!(jti(first).is_string());
        assert_ne!(jti(first), jti(second));
        assert_ne!(first.proof["jti"], second.proof["jti"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_off_is_set_right_by_the_servers_date() {
        for off in [600, -600] {
            let (servers, key) = (Servers::new(Checker::ahead(off), Checker::default()), key());
            let source = servers.credentials(&key);
            token_request(source.clone()).await.unwrap();
            assert_eq!(outcomes(&servers.posts()), [Err("iat"), Ok(())], "{off}");
            token_request(source).await.unwrap();
            assert_eq!(servers.posts().len(), 3, "{off}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bearer_token_is_an_error_unless_it_is_allowed() {
        let bearer = || {
            let body = r#"{"access_token":"t","token_type":"Bearer","expires_in":3600}"#;
            Endpoint::new([answer(200, &[], body)])
        };
        let client = || ClientCredentials::builder(TOKEN_URL, "id", "secret").dpop(key());
        let source = client().build_with(bearer()).unwrap();
        let error = token_request(source).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidAnswer);
        assert!(!error.is_transient());
        assert!(
            error.to_string().contains("accept_bearer_tokens"),
            "{error}"
        );

        let source = client()
            .accept_bearer_tokens()
            .build_with(bearer())
            .unwrap();
        let token = token_request(source).await.unwrap();
        assert_eq!(token.authorization(), "Bearer t");

        // It takes both.
        let servers = Servers::default();
        let source = servers.client(&key()).accept_bearer_tokens();
        let source = source.build_with(servers.token_endpoint()).unwrap();
        let token = token_request(source).await.unwrap();
        assert_eq!(token.authorization(), "DPoP t1");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_key_a_bound_token_is_an_error_and_so_is_a_demand_for_a_proof() {
        for body in [
            (200, r#"{"access_token":"t","token_type":"DPoP"}"#),
            (400, r#"{"error":"invalid_dpop_proof"}"#),
            (400, r#"{"error":"use_dpop_nonce"}"#),
        ] {
            let endpoint = Endpoint::new([answer(body.0, &[("DPoP-Nonce", "n")], body.1)]);
            let client = ClientCredentials::builder(TOKEN_URL, "id", "secret");
            let source = client.build_with(endpoint.clone()).unwrap();
            let error = token_request(source).await.unwrap_err();
            assert!(error.to_string().contains("DpopLayer"), "{error}");
            assert!(
                endpoint
                    .requests()
                    .iter()
                    .all(|it| !it.headers().contains_key("dpop"))
            );
            assert_eq!(endpoint.posts(), 1);
        }
    }

    /// The server repeats the proof in its error.
    #[tokio::test(start_paused = true)]
    async fn no_error_shows_a_proof() {
        let servers = Servers::new(Checker::ahead(0), Checker::default());
        // One that no proof can have.
        servers.0.auth.require("a b");
        let error = token_request(servers.credentials(&key()))
            .await
            .unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("[redacted]"), "{shown}");
        assert!(!shown.contains("eyJ"), "{shown}");
    }

    #[tokio::test(start_paused = true)]
    async fn discovery_gets_no_proof() {
        let metadata = json!({
            "issuer": "https://auth.test",
            "token_endpoint": TOKEN_URL,
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        });
        let granted = r#"{"access_token":"t","token_type":"DPoP"}"#;
        let endpoint = Endpoint::new([
            answer(200, &[], metadata.to_string()),
            answer(200, &[], granted),
        ]);
        let client = ClientCredentials::discover("https://auth.test", "id", "secret").dpop(key());
        let source = client.build_with(endpoint.clone()).unwrap();
        token_request(source).await.unwrap();
        let has_proof: Vec<_> = endpoint
            .requests()
            .iter()
            .map(|request| request.headers().contains_key("dpop"))
            .collect();
        assert_eq!(has_proof, [false, true]);
    }
}

mod api {
    //! Requests to the API.

    use super::*;

    /// The API alone, for tokens that the client has already.
    fn below(servers: &Servers, key: &DpopKey) -> Transport {
        let bound = (String::from("t"), key.thumbprint().to_owned());
        servers.0.bound.lock().unwrap().extend([bound]);
        let service = DpopLayer::new(key.clone()).layer(servers.api());
        BoxCloneSyncService::new(service.map_err(|error: BoxError| panic!("{error}")))
    }

    fn with_token(mut request: Request<Body>) -> Request<Body> {
        let token = Token::dpop("t").unwrap();
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, token.authorization().clone());
        request
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_has_a_proof_of_its_own_for_its_uri_and_its_token() {
        let (servers, key) = (Servers::default(), key());
        let service = service(&servers, &key);
        for uri in [
            "https://api.test/a?b=c",
            "https://API.test:443/a?d",
            "https://api.test/b",
        ] {
            let answer = service.clone().oneshot(get(uri)).await.unwrap();
            assert_eq!(answer.status(), 200, "{uri}");
        }
        assert_eq!(servers.posts().len(), 1);
        assert_eq!(outcomes(&servers.calls()), [Ok(()); 3]);
        let calls = servers.calls();
        let jtis: HashSet<_> = calls.iter().map(|it| it.proof["jti"].to_string()).collect();
        assert_eq!(jtis.len(), 3);
        assert!(calls.iter().all(|it| it.proof["nonce"].is_null()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_nonce_costs_one_retry_and_no_token_request() {
        let (servers, key) = (Servers::default(), key());
        servers.0.api.require("first");
        let service = service(&servers, &key);
        for _ in 0..3 {
            let answer = service.clone().oneshot(get("https://api.test/a")).await;
            assert_eq!(answer.unwrap().status(), 200);
        }
        let calls = servers.calls();
        assert_eq!(outcomes(&calls), [Err("nonce"), Ok(()), Ok(()), Ok(())]);
        assert_ne!(calls[0].proof["jti"], calls[1].proof["jti"]);
        assert_eq!(servers.posts().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_nonce_of_a_success_is_kept() {
        let (servers, key) = (Servers::default(), key());
        servers.0.api_changes.store(true, Ordering::Relaxed);
        let service = service(&servers, &key);
        for _ in 0..4 {
            let answer = service.clone().oneshot(get("https://api.test/a")).await;
            assert_eq!(answer.unwrap().status(), 200);
        }
        // The first answer brought one, and each later one the next.
        assert_eq!(outcomes(&servers.calls()), [Ok(()); 4]);
        let last = servers.calls()[3].proof["nonce"].clone();
        assert_eq!(last, "nonce-3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_requests_that_meet_a_new_nonce_are_retried_once_each() {
        let (servers, key) = (Servers::default(), key());
        servers.0.api.require("first");
        let service = below(&servers, &key);
        let requests = (0..100).map(|_| {
            let service = service.clone();
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                service.oneshot(with_token(get("https://api.test/a"))).await
            })
        });
        for request in requests.collect::<Vec<_>>() {
            assert_eq!(request.await.unwrap().unwrap().status(), 200);
        }
        let calls = servers.calls().len();
        assert!((101..=200).contains(&calls), "{calls}");
    }

    /// All of them were sent before the first answer.
    #[tokio::test(start_paused = true)]
    async fn a_request_is_retried_though_another_has_told_the_nonce_before() {
        let key = key();
        let calls = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&calls);
        let api = service_fn(move |request: Request<Body>| {
            count.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let has_nonce = claims_of(&proof_in(request.headers()))["nonce"] == "n";
                let answer = Response::builder().status(if has_nonce { 200 } else { 401 });
                let answer = answer.header("DPoP-Nonce", "n");
                let challenge = r#"DPoP error="use_dpop_nonce""#;
                Ok::<_, Infallible>(
                    answer
                        .header("WWW-Authenticate", challenge)
                        .body(Body::default())
                        .unwrap(),
                )
            }
        });
        let service = DpopLayer::new(key).layer(api);
        let requests = (0..10).map(|_| {
            let request = service
                .clone()
                .oneshot(with_token(get("https://api.test/a")));
            tokio::spawn(request)
        });
        for request in requests.collect::<Vec<_>>() {
            assert_eq!(request.await.unwrap().unwrap().status(), 200);
        }
        assert_eq!(calls.load(Ordering::Relaxed), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_always_asks_for_another_nonce_is_asked_twice_and_keeps_its_token() {
        let key = key();
        let (servers, number) = (Servers::default(), AtomicUsize::new(0));
        let calls = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&calls);
        let number = Arc::new(number);
        let api = service_fn(move |_: Request<Body>| {
            count.fetch_add(1, Ordering::Relaxed);
            let nonce = number.fetch_add(1, Ordering::Relaxed);
            let answer = Response::builder().status(401).header("DPoP-Nonce", nonce);
            let challenge = r#"DPoP error="use_dpop_nonce""#;
            let answer = answer.header("WWW-Authenticate", challenge);
            async move { Ok::<_, Infallible>(answer.body(Body::from("the second")).unwrap()) }
        });
        let service = DpopLayer::new(key.clone()).layer(api);
        let service = BearerAuthLayer::new(servers.credentials(&key)).layer(service);
        let answer = service.oneshot(get("https://api.test/a")).await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!(
            answer.into_body().collect().await.unwrap().to_bytes(),
            "the second"
        );
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        assert_eq!(servers.posts().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_token_is_retried_with_a_proof_of_its_own_and_at_worst_that_is_four_calls() {
        let (servers, key) = (Servers::default(), key());
        let service = service(&servers, &key);
        let call = || service.clone().oneshot(get("https://api.test/a"));
        call().await.unwrap();
        servers.revoke();
        servers.0.api.require("first");
        servers
            .0
            .api_changes_secretly
            .store(true, Ordering::Relaxed);
        assert_eq!(call().await.unwrap().status(), 200);
        let calls = servers.calls();
        assert_eq!(
            outcomes(&calls[1..]),
            [Err("nonce"), Ok(()), Err("nonce"), Ok(())]
        );
        assert_eq!(servers.posts().len(), 2);
        let jtis: HashSet<_> = calls.iter().map(|it| it.proof["jti"].to_string()).collect();
        assert_eq!(jtis.len(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_off_is_set_right_by_the_apis_date() {
        for off in [600, -600] {
            let (servers, key) = (Servers::new(Checker::default(), Checker::ahead(off)), key());
            let service = below(&servers, &key);
            for _ in 0..2 {
                let request = with_token(get("https://api.test/a"));
                assert_eq!(
                    service.clone().oneshot(request).await.unwrap().status(),
                    200
                );
            }
            assert_eq!(
                outcomes(&servers.calls()),
                [Err("iat"), Ok(()), Ok(())],
                "{off}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_nonce_is_for_its_own_origin() {
        let (servers, key) = (Servers::default(), key());
        servers.0.api.require("of-one");
        let one = below(&servers, &key);
        // The same layer, around a server that writes down what it gets.
        let seen = Arc::<Mutex<Vec<Value>>>::default();
        let (log, api) = (Arc::clone(&seen), servers.api());
        let both = service_fn(move |request: Request<Body>| {
            let (log, api) = (Arc::clone(&log), api.clone());
            async move {
                if request.uri().host() == Some("api.test") {
                    return api.oneshot(request).await;
                }
                log.lock()
                    .unwrap()
                    .push(claims_of(&proof_in(request.headers())));
                Ok(Response::new(Body::default()))
            }
        });
        let service = DpopLayer::new(key).layer(both);
        drop(one);
        for uri in [
            "https://api.test/a",
            "https://other.test/a",
            "https://api.test/a",
            "https://api.test:8443/a",
        ] {
            let mut request = with_token(get(uri));
            request.headers_mut().insert("x-uri", uri.parse().unwrap());
            service.clone().oneshot(request).await.unwrap();
        }
        let nonces = |proof: &Value| proof["nonce"].clone();
        assert_eq!(
            seen.lock().unwrap().iter().map(nonces).collect::<Vec<_>>(),
            [Value::Null]
        );
        let calls = servers.calls();
        let nonces: Vec<_> = calls.iter().map(|it| nonces(&it.proof)).collect();
        // The port is part of the origin.
        assert_eq!(
            nonces,
            [
                json!(null),
                json!("of-one"),
                json!("of-one"),
                json!(null),
                json!("of-one")
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn other_requests_pass_unchanged() {
        let (servers, key) = (Servers::default(), key());
        let service = below(&servers, &key);
        let bearer = FixedToken::new("t").unwrap();
        let service_of_bearer = BearerAuthLayer::new(bearer).layer(service.clone());
        service_of_bearer
            .oneshot(get("https://api.test/a"))
            .await
            .unwrap();
        service
            .clone()
            .oneshot(get("https://api.test/a"))
            .await
            .unwrap();
        let mut basic = get("https://api.test/a");
        basic
            .headers_mut()
            .insert(AUTHORIZATION, "DPoPe x".parse().unwrap());
        service.oneshot(basic).await.unwrap();
        assert_eq!(outcomes(&servers.calls()), [Err("there is no proof"); 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_proof_of_the_callers_own_is_replaced() {
        let (servers, key) = (Servers::default(), key());
        let mut request = with_token(get("https://api.test/a"));
        request.headers_mut().insert("dpop", "old".parse().unwrap());
        assert_eq!(
            below(&servers, &key)
                .oneshot(request)
                .await
                .unwrap()
                .status(),
            200
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_proof_that_is_rejected_for_no_reason_to_do_better_is_handed_on() {
        let (servers, key) = (Servers::default(), key());
        let mut request = get("https://api.test/a");
        request
            .headers_mut()
            .insert("x-uri", "https://another.test/a".parse().unwrap());
        let answer = service(&servers, &key).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 401);
        assert!(answer.extensions().get::<NotRetried>().is_none());
        assert_eq!(outcomes(&servers.calls()), [Err("htu")]);
        assert_eq!(servers.posts().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_replayed_by_the_layers_policy_or_the_caller_is_told() {
        let (servers, key) = (Servers::default(), key());
        servers.0.api.require("first");
        let api = |servers: &Servers| {
            let servers = servers.clone();
            move || {
                let servers = servers.clone();
                service_fn(move |request: Request<_>| {
                    let servers = servers.clone();
                    async move {
                        Ok::<_, Infallible>(
                            servers
                                .call::<tower_bearer::replay::ReplayBody<
                                    http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>,
                                >>(request)
                                .await,
                        )
                    }
                })
            }
        };
        let bound = (String::from("t"), key.thumbprint().to_owned());
        servers.0.bound.lock().unwrap().extend([bound]);
        let layer = DpopLayer::new(key.clone()).replay(Buffered::up_to(100));
        let stream = || {
            let frames = ["a ", "stream"]
                .map(|part| Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(part))));
            let stream = http_body_util::StreamBody::new(tokio_stream::iter(frames));
            with_token(get("https://api.test/a")).map(|_| stream.boxed_unsync())
        };
        let answer = layer
            .layer(api(&servers)())
            .oneshot(stream())
            .await
            .unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "a stream");
        assert_eq!(servers.calls().len(), 2);
        assert_eq!(servers.calls()[0].body, "a stream");

        let never = DpopLayer::new(key).replay(NoReplay).layer(servers.api());
        let answer = never
            .clone()
            .oneshot(with_token(get("https://api.test/a")))
            .await
            .unwrap();
        assert_eq!(answer.status(), 401);
        let reason = answer.extensions().get::<NotRetried>();
        assert_eq!(reason, Some(&NotRetried::CannotBeReplayed));
        // The nonce is kept all the same.
        let answer = never
            .oneshot(with_token(get("https://api.test/a")))
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_opts_out_is_sent_once() {
        let (servers, key) = (Servers::default(), key());
        servers.0.api.require("first");
        let mut request = with_token(get("https://api.test/a"));
        request.extensions_mut().insert(NoRetry);
        let answer = below(&servers, &key).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.extensions().get(), Some(&NotRetried::OptedOut));
        assert_eq!(servers.calls().len(), 1);
    }

    /// One permit, which the answer to the first attempt holds until its body is read or dropped.
    #[tokio::test(start_paused = true)]
    async fn the_retry_waits_until_the_service_is_ready() {
        let (servers, key) = (Servers::default(), key());
        servers.0.api.require("first");
        let bound = (String::from("t"), key.thumbprint().to_owned());
        servers.0.bound.lock().unwrap().extend([bound]);
        let limited = ConcurrencyLimitLayer::new(1).layer(servers.api());
        let service = DpopLayer::new(key).layer(limited);
        let requests = (0..10).map(|_| {
            let request = service
                .clone()
                .oneshot(with_token(get("https://api.test/a")));
            tokio::spawn(request)
        });
        for request in requests.collect::<Vec<_>>() {
            assert_eq!(request.await.unwrap().unwrap().status(), 200);
        }
    }

    /// A signer that never answers, a service that is not ready for the retry, and one that does not answer it.
    #[tokio::test(start_paused = true)]
    async fn a_signature_and_a_retry_end_at_the_requests_deadline() {
        #[derive(Clone)]
        struct Never;

        impl Signer for Never {
            fn algorithm(&self) -> SigningAlgorithm {
                SigningAlgorithm::Es256
            }

            fn sign(
                &self,
                _: Bytes,
            ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, BoxError>> + Send + '_>> {
                Box::pin(std::future::pending())
            }
        }

        async fn ends_at_its_deadline<S>(key: DpopKey, api: S)
        where
            S: Service<Request<Body>, Response = Response<Body>, Error: Into<BoxError>> + Clone,
        {
            let mut request = with_token(get("https://api.test/a"));
            request
                .extensions_mut()
                .insert(Deadline::after(Duration::from_secs(3)));
            let began = tokio::time::Instant::now();
            let service = DpopLayer::new(key).layer(api);
            let patient = tokio::time::timeout(Duration::from_secs(60), service.oneshot(request));
            let error = patient.await.unwrap().unwrap_err();
            let error = error.downcast::<Error>().unwrap();
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert_eq!(began.elapsed().as_secs(), 3);
        }

        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let api = service_fn(move |_: Request<Body>| {
            let is_first = counted.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
            async move {
                if !is_first {
                    std::future::pending::<()>().await;
                }
                let headers = [
                    ("www-authenticate", r#"DPoP error="use_dpop_nonce""#),
                    ("dpop-nonce", "n1"),
                ];
                Ok::<_, Infallible>(answer(401, &headers, "").map(Full::new))
            }
        });

        let mut public: Value = serde_json::from_str(P256_JWK).unwrap();
        public.as_object_mut().unwrap().remove("d");
        let silent = DpopKey::held_by(Never, &public.to_string()).unwrap();
        ends_at_its_deadline(silent, api.clone()).await;
        assert_eq!(calls.load(Ordering::SeqCst), 0);

        let once = ReadyOnce(api.clone(), Arc::default());
        ends_at_its_deadline(key(), once).await;
        assert_eq!(calls.swap(0, Ordering::SeqCst), 1);

        ends_at_its_deadline(key(), api.clone()).await;
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    /// Is ready for one call in all.
    #[derive(Clone)]
    struct ReadyOnce<S>(S, Arc<AtomicBool>);

    impl<S: Service<Request<Body>>> Service<Request<Body>> for ReadyOnce<S> {
        type Response = S::Response;
        type Error = S::Error;
        type Future = S::Future;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
            match self.1.load(Ordering::SeqCst) {
                true => Poll::Pending,
                false => self.0.poll_ready(cx),
            }
        }

        fn call(&mut self, request: Request<Body>) -> S::Future {
            self.1.store(true, Ordering::SeqCst);
            self.0.call(request)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_say_where_it_goes_is_not_sent() {
        let (servers, key) = (Servers::default(), key());
        let service = below(&servers, &key);
        let layer = DpopLayer::new(key.clone());
        let nowhere = layer.clone().layer(servers.api());
        let error = nowhere.oneshot(with_token(get("/a"))).await.unwrap_err();
        let error = error.downcast::<Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotAllowed);
        assert!(error.to_string().contains("`origin`"), "{error}");
        assert_eq!(servers.calls().len(), 0);

        let mut by_host = with_token(get("/a"));
        by_host
            .headers_mut()
            .insert("host", "API.test".parse().unwrap());
        assert_eq!(service.oneshot(by_host).await.unwrap().status(), 200);

        for origin in [
            "https://api.test",
            "https://api.test/",
            "HTTPS://API.test:443",
        ] {
            let there = layer.clone().origin(origin).unwrap().layer(servers.api());
            let answer = there.oneshot(with_token(get("/a"))).await.unwrap();
            assert_eq!(answer.status(), 200, "{origin}");
        }
        // Reached by another name than it knows.
        let there = layer
            .clone()
            .origin("https://api.test")
            .unwrap()
            .layer(servers.api());
        let answer = there
            .oneshot(with_token(get("http://10.0.0.7:8080/a")))
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        for wrong in [
            "",
            "api.test",
            "ftp://api.test",
            "https://api.test/a",
            "https://api.test?a",
            "https://u@api.test",
        ] {
            configuration(layer.clone().origin(wrong), "is not an origin");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_debug_output_shows_a_key_or_a_proof() {
        let key = DpopKey::from_jwk(P256_JWK).unwrap();
        let jwk: Value = serde_json::from_str(P256_JWK).unwrap();
        let servers = Servers::default();
        let layer = DpopLayer::new(key.clone());
        let service = layer.clone().layer(servers.api());
        let future = service
            .clone()
            .oneshot(with_token(get("https://api.test/a")));
        let client = servers.client(&key);
        let shown = format!("{key:?} {layer:?} {service:?} {future:?} {client:?}");
        assert!(shown.contains(key.thumbprint()), "{shown}");
        assert!(!shown.contains(jwk["d"].as_str().unwrap()), "{shown}");
        assert!(!shown.contains("eyJ"), "{shown}");
        let cache = TokenCache::new(servers.credentials(&key));
        assert!(!format!("{:?}", cache.get().await.unwrap()).contains("t1"));
    }
}

mod with_the_rest {
    //! Configurations, many credentials, and other stacks.

    use super::*;

    fn configured(members: &Value) -> Result<Configuration, String> {
        let mut all = json!({
            "token_url": TOKEN_URL,
            "client_id": "id",
            "client_secret": "secret",
            "origins": "any",
        });
        all.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        serde_json::from_value(all).map_err(|error| error.to_string())
    }

    fn file(name: &str) -> String {
        format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_configuration_binds_tokens_to_its_key() {
        let p256 = DpopKey::from_jwk(P256_JWK).unwrap();
        for (members, key) in [
            (json!({"dpop": true}), None),
            (json!({"dpop": "true", "dpop_algorithm": "EdDSA"}), None),
            (json!({"dpop_key_file": file("p256.pem")}), Some(&p256)),
            (
                json!({"dpop_key_jwk_file": file("p256.jwk.json"), "accept_bearer_tokens": true}),
                Some(&p256),
            ),
        ] {
            let configuration = configured(&members).unwrap();
            let servers = Servers::default();
            let source = configuration
                .credentials()
                .build_with(servers.token_endpoint())
                .unwrap();
            let api = configuration.dpop().unwrap().layer(servers.api());
            let service = configuration.layer_around(source).unwrap().layer(api);
            let answer = service.oneshot(get("https://api.test/a")).await.unwrap();
            assert_eq!(answer.status(), 200, "{members}");
            let proof = servers.calls()[0].outcome.clone().unwrap();
            if let Some(key) = key {
                assert_eq!(proof.thumbprint, key.thumbprint(), "{members}");
            }
        }
        assert!(configured(&json!({})).unwrap().dpop().is_none());
        assert!(
            configured(&json!({"dpop": false}))
                .unwrap()
                .dpop()
                .is_none()
        );
    }

    #[test]
    fn each_mistake_of_a_key_is_an_error_that_names_its_field() {
        let jwk = file("p256.jwk.json");
        for (members, says) in [
            (json!({"dpop": "perhaps"}), "`dpop` must be true or false"),
            (
                json!({"dpop": true, "dpop_algorithm": "none"}),
                "`dpop_algorithm` must be",
            ),
            (
                json!({"dpop": true, "dpop_algorithm": "RS256"}),
                "cannot be generated",
            ),
            (
                json!({"dpop_algorithm": "ES256"}),
                "`dpop_algorithm` is given without a key",
            ),
            (
                json!({"accept_bearer_tokens": true}),
                "`accept_bearer_tokens` is given without a key",
            ),
            (json!({"dpop_key_file": file("none.pem")}), "none.pem"),
            (
                json!({"dpop_key_file": jwk, "dpop_key_jwk_file": jwk}),
                "remove one of them",
            ),
            (
                json!({"dpop_key_jwk_file": jwk, "dpop_algorithm": "ES256"}),
                "its own `alg`",
            ),
            (
                json!({"dpop": true, "shared": {"folder": "/tmp/none", "sealing_key": "k"}}),
                "`dpop` generates a key in each process",
            ),
        ] {
            let error = configured(&members).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_may_have_the_key_of_its_credential() {
        let (servers, keys) = (Servers::default(), [key(), key()]);
        let layer = DpopLayer::new(key());
        for key in keys {
            let service = layer.layer(servers.api());
            let service = BearerAuthLayer::new(servers.credentials(&key)).layer(service);
            let mut request = get("https://api.test/a");
            request.extensions_mut().insert(key.clone());
            assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
            let last = servers.calls().pop().unwrap();
            assert_eq!(last.outcome.unwrap().thumbprint, key.thumbprint());
        }
    }

    /// The API on a socket, which is told the URI that the client went to.
    async fn on_a_socket(servers: &Servers) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/a", listener.local_addr().unwrap());
        let (servers, told) = (servers.clone(), url.clone());
        let routes = axum::Router::new().fallback(move |mut request: Request<axum::body::Body>| {
            // Not a part of the request that the client made.
            if let Some(proof) = request.headers_mut().get_mut("dpop") {
                proof.set_sensitive(true);
            }
            request.headers_mut().insert("x-uri", told.parse().unwrap());
            servers.clone().call(request)
        });
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    #[tokio::test]
    async fn reqwest_and_reqwest_middleware_send_proofs() {
        let (servers, key) = (Servers::default(), key());
        servers.0.api.require("first");
        let url = on_a_socket(&servers).await;
        let source = servers.credentials(&key);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let service = DpopLayer::new(key.clone()).replay(ReusableBody);
        let service = service.layer(ReqwestService::new(client.clone()));
        let bearer = BearerAuthLayer::new(source).replay(ReusableBody);
        let cache = bearer.cache().clone();
        let request = Request::post(&url)
            .body(reqwest::Body::from("by reqwest"))
            .unwrap();
        let answer = bearer.layer(service).oneshot(request).await.unwrap();
        assert_eq!(
            reqwest::Response::from(answer).text().await.unwrap(),
            "by reqwest"
        );
        assert_eq!(outcomes(&servers.calls()), [Err("nonce"), Ok(())]);

        let client = reqwest_middleware::ClientBuilder::new(client)
            .with(BearerAuthLayer::from_cache(cache))
            .with(DpopLayer::new(key).replay(Buffered::up_to(1024)))
            .build();
        let parts = ["a ", "stream"].map(Ok::<_, Infallible>);
        let body = reqwest::Body::wrap_stream(tokio_stream::iter(parts));
        let answer = client.post(&url).body(body).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "a stream");
        assert_eq!(outcomes(&servers.calls()[2..]), [Err("nonce"), Ok(())]);
        assert_eq!(servers.posts().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tonic_channel_sends_proofs_for_the_origin_that_it_is_told() {
        let (servers, key) = (Servers::default(), key());
        servers.0.api.require("first");
        let source = servers.credentials(&key);
        let api = servers.clone();
        let channel = service_fn(move |request: Request<tonic::body::Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.call(request).await) }
        });
        let layer = DpopLayer::new(key).replay(Messages::up_to(1024));
        let layer = layer.origin("https://api.test").unwrap();
        let service = GrpcAuthLayer::new(source).layer(layer.layer(channel));
        let message = tonic::body::Body::new(Full::new(Bytes::from("a message")));
        let request = Request::post("/package.Service/Method")
            .body(message)
            .unwrap();
        let answer = service.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "a message");
        assert_eq!(outcomes(&servers.calls()), [Err("nonce"), Ok(())]);
    }
}
