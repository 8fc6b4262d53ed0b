//! How a client proves who it is, as the token endpoint sees it.

#![cfg(feature = "jwt")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/endpoint.rs"]
mod endpoint;

use std::{
    collections::{HashMap, HashSet},
    error::Error as StdError,
    fs,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use endpoint::{Endpoint, answer, token_request};
use http::{Response, header::AUTHORIZATION};
use ring::{
    digest, hmac,
    rand::SystemRandom,
    signature::{
        self, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
        ECDSA_P384_SHA384_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
        RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaKeyPair,
        UnparsedPublicKey,
    },
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};
use tower::BoxError;
use tower_bearer::{
    ClientAuth, ClientCredentials, Error, ErrorKind, Secret, TokenCache,
    client_credentials::{
        Assertion, AssertionAudience, ClientCredentialsBuilder, Signer, SigningAlgorithm,
        SigningKey,
    },
};

const TOKEN_URL: &str = "https://auth.example.com/oauth2/token";
const ID: &str = "c:1";
const SECRET: &str = "s3cret:/+%&=~x, longer than 256 bits";

const RSA: &str = include_str!("keys/rsa.pem");
const RSA_PKCS1: &str = include_str!("keys/rsa.pkcs1.pem");
const RSA_JWK: &str = include_str!("keys/rsa.jwk.json");
const P256: &str = include_str!("keys/p256.pem");
const P256_SEC1: &str = include_str!("keys/p256.sec1.pem");
const P256_JWK: &str = include_str!("keys/p256.jwk.json");
const P384: &str = include_str!("keys/p384.pem");
const P384_SEC1: &str = include_str!("keys/p384.sec1.pem");
const P384_JWK: &str = include_str!("keys/p384.jwk.json");
const ED25519_PEM: &str = include_str!("keys/ed25519.pem");
const ED25519_JWK: &str = include_str!("keys/ed25519.jwk.json");
const CERTIFICATE: &str = include_str!("keys/client.crt");

const ALGORITHMS: [(SigningAlgorithm, &str); 10] = [
    (SigningAlgorithm::Rs256, RSA),
    (SigningAlgorithm::Rs384, RSA),
    (SigningAlgorithm::Rs512, RSA),
    (SigningAlgorithm::Ps256, RSA),
    (SigningAlgorithm::Ps384, RSA),
    (SigningAlgorithm::Ps512, RSA),
    (SigningAlgorithm::Es256, P256),
    (SigningAlgorithm::Es384, P384),
    (SigningAlgorithm::EdDsa, ED25519_PEM),
    (SigningAlgorithm::Ed25519, ED25519_PEM),
];

const HMACS: [(SigningAlgorithm, hmac::Algorithm); 3] = [
    (SigningAlgorithm::Hs256, hmac::HMAC_SHA256),
    (SigningAlgorithm::Hs384, hmac::HMAC_SHA384),
    (SigningAlgorithm::Hs512, hmac::HMAC_SHA512),
];

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn client(auth: impl Into<ClientAuth>) -> ClientCredentialsBuilder {
    ClientCredentials::builder(TOKEN_URL, ID, auth)
}

fn granted() -> Response<Bytes> {
    granted_with(&json!({}))
}

/// A token answer with these members too.
fn granted_with(members: &Value) -> Response<Bytes> {
    let mut body = json!({"access_token": "2YotnFZFEjr1zCsicMWpAA", "token_type": "bearer", "expires_in": 3600});
    let members = members.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    answer(200, &[], body.to_string())
}

fn invalid_client() -> Response<Bytes> {
    answer(401, &[], r#"{"error":"invalid_client"}"#)
}

/// What a server sees of each request that a token request makes.
async fn seen(credentials: ClientCredentialsBuilder) -> Vec<(String, String)> {
    let endpoint = Endpoint::new([granted()]);
    token_request(credentials.build_with(endpoint.clone()).unwrap())
        .await
        .unwrap();
    let [form] = &forms(&endpoint)[..] else {
        panic!("one request");
    };
    form.clone()
}

fn forms(endpoint: &Endpoint) -> Vec<Vec<(String, String)>> {
    let form = |request: &http::Request<Bytes>| {
        let mut form: Vec<(String, String)> = url::form_urlencoded::parse(request.body())
            .into_owned()
            .collect();
        form.sort();
        form
    };
    endpoint.requests().iter().map(form).collect()
}

/// The values that a field has in each request.
fn fields(endpoint: &Endpoint, name: &str) -> Vec<String> {
    let forms = forms(endpoint);
    let fields = forms.into_iter().flatten();
    fields
        .filter(|(field, _)| field == name)
        .map(|(_, value)| value)
        .collect()
}

/// The assertion of a form that has nothing else to prove who the client is.
#[track_caller]
fn assertion_in(form: &[(String, String)]) -> Read {
    let names: Vec<&str> = form.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        names,
        [
            "client_assertion",
            "client_assertion_type",
            "client_id",
            "grant_type"
        ]
    );
    assert_eq!(
        form[1].1,
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    );
    assert_eq!(form[2].1, ID);
    Read::of(&form[0].1)
}

/// What a server reads.
struct Read {
    header: Value,
    claims: Value,
    input: String,
    signature: Vec<u8>,
}

impl Read {
    fn of(text: &str) -> Self {
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        let (input, signature) = text.rsplit_once('.').unwrap();
        let (header, claims) = input.split_once('.').unwrap();
        Self {
            header: serde_json::from_slice(&decode(header)).unwrap(),
            claims: serde_json::from_slice(&decode(claims)).unwrap(),
            input: input.to_owned(),
            signature: decode(signature),
        }
    }

    /// Whether the key of the test's file for this algorithm has signed it.
    fn verify(&self, algorithm: SigningAlgorithm) {
        let (public, verification): (_, &dyn signature::VerificationAlgorithm) = match algorithm {
            SigningAlgorithm::Rs256 => (public_key(RSA), &RSA_PKCS1_2048_8192_SHA256),
            SigningAlgorithm::Rs384 => (public_key(RSA), &RSA_PKCS1_2048_8192_SHA384),
            SigningAlgorithm::Rs512 => (public_key(RSA), &RSA_PKCS1_2048_8192_SHA512),
            SigningAlgorithm::Ps256 => (public_key(RSA), &RSA_PSS_2048_8192_SHA256),
            SigningAlgorithm::Ps384 => (public_key(RSA), &RSA_PSS_2048_8192_SHA384),
            SigningAlgorithm::Ps512 => (public_key(RSA), &RSA_PSS_2048_8192_SHA512),
            SigningAlgorithm::Es256 => (public_key(P256), &ECDSA_P256_SHA256_FIXED),
            SigningAlgorithm::Es384 => (public_key(P384), &ECDSA_P384_SHA384_FIXED),
            SigningAlgorithm::EdDsa | SigningAlgorithm::Ed25519 => {
                (public_key(ED25519_PEM), &ED25519)
            }
            other => panic!("{other}"),
        };
        UnparsedPublicKey::new(verification, public)
            .verify(self.input.as_bytes(), &self.signature)
            .unwrap();
    }
}

fn pkcs8(pem: &str) -> Vec<u8> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    der.secret_pkcs8_der().to_vec()
}

fn public_key(pem: &str) -> Vec<u8> {
    let der = pkcs8(pem);
    if let Ok(key) = RsaKeyPair::from_pkcs8(&der) {
        return key.public_key().as_ref().to_vec();
    }
    if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
        return key.public_key().as_ref().to_vec();
    }
    let ec = |curve| EcdsaKeyPair::from_pkcs8(curve, &der, &SystemRandom::new());
    let key =
        ec(&ECDSA_P256_SHA256_FIXED_SIGNING).or_else(|_| ec(&ECDSA_P384_SHA384_FIXED_SIGNING));
    key.unwrap().public_key().as_ref().to_vec()
}

#[track_caller]
fn rejection(builder: ClientCredentialsBuilder) -> String {
    let error = builder.build_with(Endpoint::new([granted()])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    error.to_string()
}

fn all_of(error: &Error) -> String {
    let mut shown = String::new();
    let mut level: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = level {
        shown += &format!("{current}\n{current:?}\n");
        level = current.source();
    }
    shown
}

/// Lets any backoff pass.
async fn let_it_calm_down() {
    tokio::time::sleep(Duration::from_secs(600)).await;
}

/// A file of its own for each test, gone with it.
struct File(PathBuf);

impl File {
    fn holding(name: &str, text: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("client-auth-{name}"));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

mod sent {
    //! What each method sends.

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_secret_goes_into_the_form_or_into_a_basic_header_and_nowhere_else() {
        let id = "c1";
        for (auth, basic) in [
            (ClientAuth::from(SECRET), None),
            (ClientAuth::post(SECRET), None),
            (
                ClientAuth::basic(SECRET),
                Some("c1:s3cret%3A%2F%2B%25%26%3D%7Ex%2C+longer+than+256+bits"),
            ),
            (
                ClientAuth::basic_raw(SECRET),
                Some("c1:s3cret:/+%&=~x, longer than 256 bits"),
            ),
        ] {
            let endpoint = Endpoint::new([granted()]);
            let source = ClientCredentials::builder(TOKEN_URL, id, auth.clone())
                .build_with(endpoint.clone())
                .unwrap();
            token_request(source).await.unwrap();
            let request = &endpoint.requests()[0];
            match basic {
                None => {
                    assert!(!request.headers().contains_key(AUTHORIZATION), "{auth:?}");
                    assert_eq!(fields(&endpoint, "client_id"), [id]);
                    assert_eq!(fields(&endpoint, "client_secret"), [SECRET]);
                }
                Some(pair) => {
                    let authorization = &request.headers()[AUTHORIZATION];
                    assert!(authorization.is_sensitive());
                    let wanted = format!("Basic {}", BASE64_STANDARD.encode(pair));
                    assert_eq!(authorization, &wanted, "{auth:?}");
                    assert_eq!(request.body(), "grant_type=client_credentials");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_proof_the_client_id_goes_alone() {
        for auth in [ClientAuth::tls(), ClientAuth::none()] {
            let form = seen(client(auth)).await;
            let form: Vec<_> = form
                .iter()
                .map(|(name, value)| (&**name, &**value))
                .collect();
            assert_eq!(
                form,
                [("client_id", ID), ("grant_type", "client_credentials")]
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_foreign_assertion_is_sent_as_it_is() {
        let file = File::holding("as-it-is", "aGVhZGVy.Y2xhaW1z.c2lnbmF0dXJl\n");
        for auth in [
            ClientAuth::assertion("aGVhZGVy.Y2xhaW1z.c2lnbmF0dXJl"),
            ClientAuth::assertion_file(&file.0),
        ] {
            let form = seen(client(auth)).await;
            assert_eq!(form[0].1, "aGVhZGVy.Y2xhaW1z.c2lnbmF0dXJl");
            assert_eq!(
                form[1].1,
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_signs_an_assertion_and_stays_at_home() {
        let by_default = (ClientAuth::secret_jwt(SECRET), "HS256", hmac::HMAC_SHA256);
        let named = HMACS.map(|(algorithm, hmac)| {
            let key = SigningKey::from_secret(algorithm, SECRET);
            (Assertion::signed_by(key).into(), algorithm.name(), hmac)
        });
        for (auth, algorithm, hmac) in [by_default].into_iter().chain(named) {
            let assertion = assertion_in(&seen(client(auth)).await);
            assert_eq!(assertion.header, json!({"alg": algorithm, "typ": "JWT"}));
            let key = hmac::Key::new(hmac, SECRET.as_bytes());
            hmac::verify(&key, assertion.input.as_bytes(), &assertion.signature).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_assertion_has_the_audience_and_the_type_that_it_is_given() {
        let assertion = Assertion::signed_by(SigningKey::from_pem(SigningAlgorithm::Es256, P256));
        let issuer = "https://auth.example.com";
        let newer = "client-authentication+jwt";
        for (assertion, audience, typ) in [
            (assertion.clone(), TOKEN_URL, "JWT"),
            (assertion.clone().with_typ(newer), TOKEN_URL, newer),
            (
                assertion
                    .clone()
                    .with_audience(AssertionAudience::TokenEndpoint),
                TOKEN_URL,
                "JWT",
            ),
            (assertion.clone().with_audience(issuer), issuer, "JWT"),
            (
                assertion.clone().with_audience(issuer).with_typ(newer),
                issuer,
                newer,
            ),
        ] {
            let assertion = assertion_in(&seen(client(assertion)).await);
            assert_eq!(assertion.header["typ"], typ);
            assert_eq!(assertion.claims["aud"], audience);
            assertion.verify(SigningAlgorithm::Es256);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_assertion_has_claims_and_header_members_of_ones_own() {
        let key = SigningKey::from_pem(SigningAlgorithm::Es256, P256);
        let secret = SigningKey::from_secret(SigningAlgorithm::Hs256, SECRET);
        for key in [key, secret] {
            let own = Assertion::signed_by(key)
                .with_claim("sub", "urn:example:workload:7")
                .with_claim("groups", ["a", "b"])
                .with_claim("level", 3)
                .with_header("kid", "from-the-portal")
                .with_header("x5u", "https://client.example.com/chain.pem");
            let assertion = assertion_in(&seen(client(own)).await);
            assert_eq!(assertion.claims["iss"], ID);
            assert_eq!(assertion.claims["sub"], "urn:example:workload:7");
            assert_eq!(assertion.claims["groups"], json!(["a", "b"]));
            assert_eq!(assertion.claims["level"], 3);
            assert_eq!(assertion.claims.as_object().unwrap().len(), 9);
            assert_eq!(assertion.header["kid"], "from-the-portal");
            let x5u = "https://client.example.com/chain.pem";
            assert_eq!(assertion.header["x5u"], x5u);
            assert_eq!(assertion.header["typ"], "JWT");
            assert_eq!(assertion.header.as_object().unwrap().len(), 4);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_chain_of_certificates_is_sent_whole_and_in_its_order() {
        let chain = format!("{CERTIFICATE}\n{}", include_str!("keys/ca.crt"));
        let key =
            SigningKey::from_pem(SigningAlgorithm::Ps256, RSA).with_certificate_chain(&*chain);
        let assertion = assertion_in(&seen(client(ClientAuth::private_key_jwt(key))).await);
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let own = der(CERTIFICATE);
        let hash = BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &own));
        assert_eq!(assertion.header["x5t#S256"], hash);
        let chain = [own, der(include_str!("keys/ca.crt"))];
        // Padded, and not base64url: RFC 7515 §4.1.6.
        assert_eq!(
            assertion.header["x5c"],
            json!(chain.map(|it| BASE64_STANDARD.encode(it)))
        );
        assertion.verify(SigningAlgorithm::Ps256);
    }

    #[tokio::test(start_paused = true)]
    async fn an_assertion_goes_with_another_type_or_without_the_client_id_where_that_is_asked_for()
    {
        let svid = "aGVhZGVy.Y2xhaW1z.c2lnbmF0dXJl";
        let spiffe = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
        let key = SigningKey::from_pem(SigningAlgorithm::Es256, P256);
        for auth in [
            ClientAuth::assertion(svid),
            ClientAuth::private_key_jwt(key),
        ] {
            for (auth, kind, id) in [
                (auth.clone(), JWT_BEARER, Some(ID)),
                (auth.clone().without_client_id(), JWT_BEARER, None),
                (auth.clone().with_assertion_type(spiffe), spiffe, Some(ID)),
                (
                    auth.with_assertion_type(spiffe).without_client_id(),
                    spiffe,
                    None,
                ),
            ] {
                let endpoint = Endpoint::new([granted()]);
                let source = client(auth).build_with(endpoint.clone()).unwrap();
                token_request(source).await.unwrap();
                let request = &endpoint.requests()[0];
                assert!(!request.headers().contains_key(AUTHORIZATION));
                assert_eq!(fields(&endpoint, "client_assertion_type"), [kind]);
                assert_eq!(fields(&endpoint, "client_assertion").len(), 1);
                let sent = fields(&endpoint, "client_id");
                assert_eq!(sent, id.into_iter().collect::<Vec<_>>());
            }
        }
        let form = seen(client(ClientAuth::spiffe_jwt(svid))).await;
        assert_eq!((&*form[0].1, &*form[1].1), (svid, spiffe));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_in_pem_signs_by_each_algorithm() {
        for (algorithm, pem) in ALGORITHMS {
            let key = SigningKey::from_pem(algorithm, pem);
            let assertion = assertion_in(&seen(client(ClientAuth::private_key_jwt(key))).await);
            assert_eq!(
                assertion.header,
                json!({"alg": algorithm.name(), "typ": "JWT"})
            );
            assertion.verify(algorithm);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_in_the_older_forms_of_pem_signs() {
        for (algorithm, pem) in [
            (SigningAlgorithm::Rs256, RSA_PKCS1),
            (SigningAlgorithm::Ps256, RSA_PKCS1),
            (SigningAlgorithm::Es256, P256_SEC1),
            (SigningAlgorithm::Es384, P384_SEC1),
        ] {
            let key = SigningKey::from_pem(algorithm, pem);
            let assertion = assertion_in(&seen(client(ClientAuth::private_key_jwt(key))).await);
            assertion.verify(algorithm);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_in_a_jwk_signs_as_the_jwk_says_and_is_named_as_it_is() {
        let with = |jwk: &str, member: &str, value: &str| {
            let mut jwk: Value = serde_json::from_str(jwk).unwrap();
            jwk[member] = json!(value);
            jwk.to_string()
        };
        for (jwk, algorithm, kid) in [
            (RSA_JWK.to_owned(), SigningAlgorithm::Rs256, "rsa-from-jwk"),
            (
                with(RSA_JWK, "alg", "RS256"),
                SigningAlgorithm::Rs256,
                "rsa-from-jwk",
            ),
            (
                with(RSA_JWK, "alg", "PS256"),
                SigningAlgorithm::Ps256,
                "rsa-from-jwk",
            ),
            (
                P256_JWK.to_owned(),
                SigningAlgorithm::Es256,
                "p256-from-jwk",
            ),
            (
                with(RSA_JWK, "alg", "PS512"),
                SigningAlgorithm::Ps512,
                "rsa-from-jwk",
            ),
            (
                P384_JWK.to_owned(),
                SigningAlgorithm::Es384,
                "p384-from-jwk",
            ),
            (
                ED25519_JWK.to_owned(),
                SigningAlgorithm::EdDsa,
                "ed25519-from-jwk",
            ),
            (
                with(ED25519_JWK, "alg", "Ed25519"),
                SigningAlgorithm::Ed25519,
                "ed25519-from-jwk",
            ),
        ] {
            let key = SigningKey::from_jwk(jwk);
            let assertion =
                assertion_in(&seen(client(ClientAuth::private_key_jwt(key.clone()))).await);
            assert_eq!(assertion.header["alg"], algorithm.name());
            assert_eq!(assertion.header["kid"], kid);
            assertion.verify(algorithm);

            let key = key.with_key_id("another");
            let assertion = assertion_in(&seen(client(ClientAuth::private_key_jwt(key))).await);
            assert_eq!(assertion.header["kid"], "another");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_named_by_its_id_and_by_the_hash_of_its_certificate() {
        let key = SigningKey::from_pem(SigningAlgorithm::Es256, P256)
            .with_key_id("2026-11")
            .with_certificate(CERTIFICATE);
        let assertion = assertion_in(&seen(client(ClientAuth::private_key_jwt(key))).await);
        let der = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
        let hash = BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &der));
        assert_eq!(
            assertion.header,
            json!({"alg": "ES256", "typ": "JWT", "kid": "2026-11", "x5t#S256": hash})
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_assertion_says_who_the_client_is_for_whom_it_is_and_that_it_is_good_for_a_minute() {
        for key in [
            SigningKey::from_secret(SigningAlgorithm::Hs256, SECRET),
            SigningKey::from_pem(SigningAlgorithm::Es256, P256),
        ] {
            for (audience, wanted) in [
                (None, TOKEN_URL),
                (Some("https://auth.example.com"), "https://auth.example.com"),
            ] {
                let mut assertion = Assertion::signed_by(key.clone());
                if let Some(audience) = audience {
                    assertion = assertion.with_audience(audience);
                }
                let builder = client(assertion);
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let now = now.unwrap().as_secs();
                let claims = assertion_in(&seen(builder).await).claims;
                assert_eq!((&claims["iss"], &claims["sub"]), (&json!(ID), &json!(ID)));
                assert_eq!(claims["aud"], wanted);
                let issued = claims["iat"].as_u64().unwrap();
                assert!((now - 10..now).contains(&issued), "{issued} at {now}");
                assert_eq!(claims["nbf"], issued);
                assert_eq!(claims["exp"], issued + 60);
                let random = claims["jti"].as_str().unwrap();
                let random = BASE64_URL_SAFE_NO_PAD.decode(random).unwrap();
                assert_eq!(random.len(), 16);
                assert_eq!(claims.as_object().unwrap().len(), 7);
            }
        }
    }

    /// Promise: E8
    #[tokio::test(start_paused = true)]
    async fn a_client_id_goes_into_the_form_beside_basic_if_it_is_given_as_a_parameter() {
        for auth in [ClientAuth::basic(SECRET), ClientAuth::basic_raw("secret")] {
            let client = ClientCredentials::builder(TOKEN_URL, "id", auth);
            let form = seen(client.param("client_id", "id")).await;
            let ids: Vec<_> = form
                .iter()
                .filter(|(name, _)| name == "client_id")
                .collect();
            assert_eq!(ids, [&("client_id".to_owned(), "id".to_owned())]);
        }
    }

    /// Promise: E8
    #[tokio::test(start_paused = true)]
    async fn a_resource_that_is_no_uri_is_sent_as_a_parameter() {
        for text in [
            "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d",
            "",
            "https://a.example/#b",
        ] {
            let form = seen(client(SECRET).param("resource", text)).await;
            assert!(form.contains(&("resource".to_owned(), text.to_owned())));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn audiences_resources_and_other_parameters_are_sent_as_often_as_they_are_given() {
        let builder = client("secret")
            .audience("https://one.example")
            .audience("two")
            .resource("https://api.example.com/orders?tenant=7")
            .resource("urn:example:invoices")
            .param("tenant", "7")
            .param("tenant", "");
        let form = seen(builder).await;
        let form: Vec<_> = form
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(
            form,
            [
                ("audience", "https://one.example"),
                ("audience", "two"),
                ("client_id", ID),
                ("client_secret", "secret"),
                ("grant_type", "client_credentials"),
                ("resource", "https://api.example.com/orders?tenant=7"),
                ("resource", "urn:example:invoices"),
                ("tenant", ""),
                ("tenant", "7"),
            ]
        );
    }
}

mod again {
    //! What is read, asked and signed once more.

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_request_has_an_assertion_of_its_own() {
        let file = File::holding("of-its-own", P256);
        let key = SigningKey::from_pem(SigningAlgorithm::Es256, Secret::from_file(&file.0));
        let endpoint = Endpoint::new([answer(500, &[], ""), invalid_client(), granted()]);
        let source = client(ClientAuth::private_key_jwt(key))
            .build_with(endpoint.clone())
            .unwrap();
        let cache = TokenCache::new(source);

        cache.get().await.unwrap_err();
        let_it_calm_down().await;
        // Rejected, and not sent again: the key has not changed.
        cache.refresh().await.unwrap_err();
        for _ in 0..20 {
            cache.refresh().await.unwrap();
        }

        let assertions = fields(&endpoint, "client_assertion");
        assert_eq!(assertions.len(), 22);
        let ids: HashSet<String> = assertions
            .iter()
            .map(|assertion| Read::of(assertion).claims["jti"].to_string())
            .collect();
        assert_eq!(ids.len(), 22);
    }

    /// Promise: L12
    #[tokio::test(start_paused = true)]
    async fn what_is_kept_elsewhere_is_read_at_each_token_request_and_once_more_when_it_is_rejected()
     {
        type Make = fn(Secret) -> ClientAuth;
        let kinds: [(&str, Make, &str, &str); 5] = [
            ("post", |it| ClientAuth::post(it), "one", "two"),
            ("secret-jwt", |it| ClientAuth::secret_jwt(it), "one", "two"),
            (
                "assertion",
                |it| ClientAuth::assertion(it),
                "one.one.one",
                "two.two.two",
            ),
            (
                "jwk",
                |it| ClientAuth::private_key_jwt(SigningKey::from_jwk(it)),
                P256_JWK,
                RSA_JWK,
            ),
            (
                "pem",
                |it| ClientAuth::private_key_jwt(SigningKey::from_pem(SigningAlgorithm::Rs256, it)),
                RSA,
                RSA_PKCS1,
            ),
        ];
        for (name, make, one, two) in kinds {
            let file = File::holding(&format!("rejected-{name}"), one);
            let provided = Arc::new(Mutex::new(one.to_owned()));
            let asked = Arc::new(AtomicUsize::new(0));
            let provider = {
                let (provided, asked) = (Arc::clone(&provided), Arc::clone(&asked));
                Secret::from_provider(move || {
                    asked.fetch_add(1, Ordering::Relaxed);
                    let provided = provided.lock().unwrap().clone();
                    async { Ok::<_, BoxError>(provided) }
                })
            };
            for secret in [Secret::from_file(&file.0), provider] {
                file.write(one);
                *provided.lock().unwrap() = one.to_owned();
                let endpoint = Endpoint::new([granted(), invalid_client(), granted()]);
                let source = make(secret.clone());
                let source = client(source).build_with(endpoint.clone()).unwrap();
                let cache = TokenCache::new(source);
                cache.refresh().await.unwrap();

                // Nothing changed: rejected, and that is that.
                let error = cache.refresh().await.unwrap_err();
                assert_eq!(error.oauth_code(), Some("invalid_client"), "{name}");
                assert_eq!(endpoint.posts(), 2, "{name}");

                file.write(two);
                *provided.lock().unwrap() = two.to_owned();
                cache.refresh().await.unwrap();
                assert_eq!(endpoint.posts(), 3, "{name}");
            }
            // Once for each token request and once for the rejection.
            assert_eq!(asked.load(Ordering::Relaxed), 4, "{name}");
        }
    }

    /// Promise: L12
    #[tokio::test(start_paused = true)]
    async fn what_changed_meanwhile_is_tried_at_once() {
        type Make = fn(Secret) -> ClientAuth;
        let kinds: [(Make, [&str; 2]); 5] = [
            (|it| ClientAuth::basic(it), ["one", "two"]),
            (|it| ClientAuth::secret_jwt(it), ["one", "two"]),
            (|it| ClientAuth::assertion(it), ["one", "two"]),
            (
                |it| ClientAuth::private_key_jwt(SigningKey::from_jwk(it)),
                [P256_JWK, ED25519_JWK],
            ),
            // Under its old id.
            (
                |it| {
                    let key = SigningKey::from_pem(SigningAlgorithm::Es256, it);
                    ClientAuth::private_key_jwt(key.with_key_id("1"))
                },
                [P256, P256_SEC1],
            ),
        ];
        for (make, values) in kinds {
            let asked = AtomicUsize::new(0);
            let secret = Secret::from_provider(move || {
                let value = values[asked.fetch_add(1, Ordering::Relaxed)];
                async move { Ok::<_, BoxError>(value) }
            });
            let endpoint = Endpoint::new([invalid_client(), granted()]);
            let source = ClientCredentials::builder(TOKEN_URL, "c1", make(secret))
                .build_with(endpoint.clone())
                .unwrap();
            token_request(source).await.unwrap();
            assert_eq!(endpoint.posts(), 2);
        }
    }

    /// Promise: L12
    #[tokio::test(start_paused = true)]
    async fn a_token_of_another_cache_is_the_assertion_and_is_forgotten_once_it_is_rejected() {
        let token = |text: &str| granted_with(&json!({"access_token": text}));
        let first = Endpoint::new([token("one.one.one"), token("two.two.two")]);
        let second = Endpoint::new([granted(), granted(), invalid_client(), granted()]);
        let source = client(SECRET).build_with(first.clone()).unwrap();
        let assertion = Secret::from_cache(TokenCache::new(source));
        let source = client(ClientAuth::assertion(assertion))
            .build_with(second.clone())
            .unwrap();
        let cache = TokenCache::new(source);
        cache.get().await.unwrap();
        cache.refresh().await.unwrap();
        assert_eq!((first.posts(), second.posts()), (1, 2));

        cache.refresh().await.unwrap();
        assert_eq!((first.posts(), second.posts()), (2, 4));
        let sent = fields(&second, "client_assertion");
        assert_eq!(
            sent,
            ["one.one.one", "one.one.one", "one.one.one", "two.two.two"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_of_another_cache_is_the_error() {
        let (first, second) = (
            Endpoint::new([invalid_client()]),
            Endpoint::new([granted()]),
        );
        let source = client(SECRET).build_with(first.clone()).unwrap();
        let assertion = Secret::from_cache(TokenCache::new(source));
        let source = client(ClientAuth::assertion(assertion))
            .build_with(second.clone())
            .unwrap();
        let error = token_request(source).await.unwrap_err();
        assert_eq!(error.oauth_code(), Some("invalid_client"));
        assert!(!error.is_transient());
        assert_eq!((first.posts(), second.posts()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_denied_for_another_reason_is_not_read_again() {
        for code in ["invalid_scope", "unauthorized_client"] {
            let read = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&read);
            let secret = Secret::from_provider(move || {
                let secret = format!("secret-{}", counted.fetch_add(1, Ordering::Relaxed));
                async move { Ok::<_, BoxError>(secret) }
            });
            let denied = answer(400, &[], json!({"error": code}).to_string());
            let endpoint = Endpoint::new([denied]);
            let source = client(secret).build_with(endpoint.clone()).unwrap();
            token_request(source).await.unwrap_err();
            assert_eq!((read.load(Ordering::Relaxed), endpoint.posts()), (1, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_whose_certificate_is_renewed_is_tried_at_once() {
        let file = File::holding("renewed-certificate", CERTIFICATE);
        let key = SigningKey::from_pem(SigningAlgorithm::Es256, P256)
            .with_certificate(Secret::from_file(&file.0));
        let endpoint = Endpoint::new([granted(), granted()]);
        let source = client(ClientAuth::private_key_jwt(key))
            .build_with(endpoint.clone())
            .unwrap();
        let cache = TokenCache::new(source);
        cache.refresh().await.unwrap();
        file.write(include_str!("keys/rotated.crt"));
        cache.refresh().await.unwrap();
        let [one, other] = &fields(&endpoint, "client_assertion")[..] else {
            panic!("two assertions");
        };
        let hash = |assertion| Read::of(assertion).header["x5t#S256"].clone();
        assert_ne!(hash(one), hash(other));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_file_that_is_half_written_is_a_transient_error_and_no_request() {
        let file = File::holding("half-written", P256);
        let key = SigningKey::from_pem(SigningAlgorithm::Es256, Secret::from_file(&file.0));
        let endpoint = Endpoint::new([granted()]);
        let source = client(ClientAuth::private_key_jwt(key))
            .build_with(endpoint.clone())
            .unwrap();
        let cache = TokenCache::new(source);
        file.write(&P256[..P256.len() / 2]);
        let error = cache.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.is_transient());
        assert_eq!(endpoint.posts(), 0);
        file.write(P256);
        let_it_calm_down().await;
        cache.refresh().await.unwrap();
    }
}

mod provided {
    //! Providers and signers: code of somebody else's within the token request.

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_fails_backs_off_and_is_the_cause() {
        let asked = Arc::new(AtomicUsize::new(0));
        let secret = {
            let asked = Arc::clone(&asked);
            Secret::from_provider(move || {
                asked.fetch_add(1, Ordering::Relaxed);
                async { Err::<String, _>("the vault is sealed") }
            })
        };
        let endpoint = Endpoint::new([granted()]);
        let source = client(ClientAuth::post(secret)).build_with(endpoint.clone());
        let cache = TokenCache::new(source.unwrap());
        let error = cache.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source);
        assert!(error.is_transient());
        assert_eq!(
            error.to_string(),
            "the provider of the client secret failed (client_id c:1, auth.example.com)"
        );
        assert_eq!(error.source().unwrap().to_string(), "the vault is sealed");

        let error = cache.get().await.unwrap_err();
        assert!(error.retry_after().is_some());
        assert!(all_of(&error).contains("the vault is sealed"));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(endpoint.posts(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_gives_nothing_is_an_error() {
        let secret = Secret::from_provider(|| async { Ok::<_, BoxError>("") });
        let source = client(secret).build_with(Endpoint::new([granted()]));
        let error = token_request(source.unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source);
        assert!(
            error
                .to_string()
                .contains("returned one that is empty or blank"),
            "{error}"
        );
    }

    /// Promise: S4
    #[tokio::test(start_paused = true)]
    async fn a_provider_that_fails_later_shows_no_secret_that_it_gave() {
        let asked = AtomicUsize::new(0);
        let secret = Secret::from_provider(move || {
            let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
            async move { if first { Ok(SECRET) } else { Err("sealed") } }
        });
        let endpoint = Endpoint::new([invalid_client()]);
        let source = client(secret).build_with(endpoint.clone()).unwrap();
        let shown = format!("{source:?}") + &all_of(&token_request(source).await.unwrap_err());
        // Not that it could not be read again: what the server said is what it is backed off from.
        assert!(shown.contains("invalid_client"), "{shown}");
        assert!(!shown.contains(SECRET), "{shown}");
        assert_eq!(endpoint.posts(), 1);
    }

    /// Promise: F7
    #[tokio::test(start_paused = true)]
    async fn a_provider_or_a_signer_that_hangs_is_cut_by_the_token_requests_deadline() {
        let hangs = Secret::from_provider(std::future::pending::<Result<String, BoxError>>);
        for auth in [
            ClientAuth::post(hangs.clone()),
            ClientAuth::private_key_jwt(SigningKey::from_jwk(hangs)),
            ClientAuth::private_key_jwt(Hangs),
        ] {
            let source = client(auth).build_with(Endpoint::new([granted()])).unwrap();
            let started = tokio::time::Instant::now();
            let error = TokenCache::new(source).get().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert_eq!(started.elapsed().as_secs(), 10);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_panics_ends_its_token_request_and_not_the_next() {
        let asked = AtomicUsize::new(0);
        let secret = Secret::from_provider(move || {
            assert!(asked.fetch_add(1, Ordering::Relaxed) > 0, "the first time");
            async { Ok::<_, BoxError>(SECRET) }
        });
        let source = client(secret).build_with(Endpoint::new([granted()]));
        let cache = TokenCache::new(source.unwrap());
        let error = cache.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        cache.refresh().await.unwrap();
    }

    type Signature<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, BoxError>> + Send + 'a>>;

    struct Hangs;

    impl Signer for Hangs {
        fn algorithm(&self) -> SigningAlgorithm {
            SigningAlgorithm::Rs256
        }

        fn sign(&self, _: Bytes) -> Signature<'_> {
            Box::pin(std::future::pending())
        }
    }

    /// A key that is far away.
    struct Kms {
        key: EcdsaKeyPair,
        asked: AtomicUsize,
    }

    impl Signer for Kms {
        fn algorithm(&self) -> SigningAlgorithm {
            SigningAlgorithm::Es256
        }

        fn sign(&self, input: Bytes) -> Signature<'_> {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if self.asked.fetch_add(1, Ordering::Relaxed) == 0 {
                    return Err("throttled".into());
                }
                let signature = self.key.sign(&SystemRandom::new(), &input);
                Ok(signature.map_err(|_| "broken")?.as_ref().to_vec())
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_else_signs_and_a_failure_of_theirs_is_the_cause() {
        let kms = Arc::new(Kms {
            key: EcdsaKeyPair::from_pkcs8(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                &pkcs8(P256),
                &SystemRandom::new(),
            )
            .unwrap(),
            asked: AtomicUsize::new(0),
        });
        let key = SigningKey::held_by(Arc::clone(&kms)).with_key_id("far-away");
        let endpoint = Endpoint::new([granted()]);
        let source = client(ClientAuth::private_key_jwt(key)).build_with(endpoint.clone());
        let cache = TokenCache::new(source.unwrap());

        let error = cache.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source);
        assert!(error.is_transient());
        assert_eq!(error.source().unwrap().to_string(), "throttled");
        assert_eq!(endpoint.posts(), 0);

        let_it_calm_down().await;
        cache.refresh().await.unwrap();
        let assertion = assertion_in(&forms(&endpoint)[0]);
        assert_eq!(assertion.header["kid"], "far-away");
        assertion.verify(SigningAlgorithm::Es256);
    }

    /// A key of any kind, and the algorithm that it is for.
    struct Elsewhere(SigningAlgorithm, &'static str);

    impl Signer for Elsewhere {
        fn algorithm(&self) -> SigningAlgorithm {
            self.0
        }

        fn sign(&self, input: Bytes) -> Signature<'_> {
            let der = pkcs8(self.1);
            let random = SystemRandom::new();
            let rsa = |padding: &'static dyn signature::RsaEncoding| {
                let key = RsaKeyPair::from_pkcs8(&der).unwrap();
                let mut made = vec![0; key.public().modulus_len()];
                key.sign(padding, &random, &input, &mut made).unwrap();
                made
            };
            let ec = |curve| {
                let key = EcdsaKeyPair::from_pkcs8(curve, &der, &random).unwrap();
                key.sign(&random, &input).unwrap().as_ref().to_vec()
            };
            let made = match self.0 {
                SigningAlgorithm::Rs256 => rsa(&signature::RSA_PKCS1_SHA256),
                SigningAlgorithm::Rs384 => rsa(&signature::RSA_PKCS1_SHA384),
                SigningAlgorithm::Rs512 => rsa(&signature::RSA_PKCS1_SHA512),
                SigningAlgorithm::Ps256 => rsa(&signature::RSA_PSS_SHA256),
                SigningAlgorithm::Ps384 => rsa(&signature::RSA_PSS_SHA384),
                SigningAlgorithm::Ps512 => rsa(&signature::RSA_PSS_SHA512),
                SigningAlgorithm::Es256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
                SigningAlgorithm::Es384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
                _ => {
                    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap();
                    key.sign(&input).as_ref().to_vec()
                }
            };
            Box::pin(async { Ok(made) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_signer_may_use_each_algorithm_and_all_that_an_assertion_can_say() {
        for (algorithm, pem) in ALGORITHMS {
            let key = SigningKey::held_by(Elsewhere(algorithm, pem))
                .with_key_id("far-away")
                .with_certificate_chain(CERTIFICATE);
            let own = Assertion::signed_by(key)
                .with_audience("https://auth.example.com")
                .with_typ("client-authentication+jwt")
                .with_claim("tenant", "7")
                .with_header("x5u", "https://client.example.com/chain.pem");
            let auth = ClientAuth::from(own).without_client_id();
            let form = seen(client(auth)).await;
            let assertion = Read::of(&form[0].1);
            assertion.verify(algorithm);
            assert_eq!(assertion.header["alg"], algorithm.name());
            assert_eq!(assertion.header["typ"], "client-authentication+jwt");
            assert_eq!(assertion.header.as_object().unwrap().len(), 6);
            assert_eq!(assertion.claims["tenant"], "7");
            assert!(!form.iter().any(|(name, _)| name == "client_id"));
        }
    }

    /// An HMAC key in a key management service.
    #[tokio::test(start_paused = true)]
    async fn a_signer_with_a_shared_key_is_a_client_secret_jwt() {
        let auth = ClientAuth::private_key_jwt(Gives(SigningAlgorithm::Hs384, 48));
        assert!(format!("{auth:?}").contains("client_secret_jwt"));
        let assertion = assertion_in(&seen(client(auth)).await);
        assert_eq!(assertion.header["alg"], "HS384");
    }

    struct Gives(SigningAlgorithm, usize);

    impl Signer for Gives {
        fn algorithm(&self) -> SigningAlgorithm {
            self.0
        }

        fn sign(&self, _: Bytes) -> Signature<'_> {
            Box::pin(async { Ok(vec![1; self.1]) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_be_no_signature_is_not_sent() {
        for (algorithm, length) in [
            (SigningAlgorithm::Es256, 71),
            (SigningAlgorithm::Es256, 0),
            (SigningAlgorithm::Es384, 64),
            (SigningAlgorithm::EdDsa, 65),
            (SigningAlgorithm::Hs256, 31),
            (SigningAlgorithm::Hs384, 64),
            (SigningAlgorithm::Hs512, 32),
            (SigningAlgorithm::Rs256, 64),
            (SigningAlgorithm::Ps256, 255),
        ] {
            let endpoint = Endpoint::new([granted()]);
            let source = client(ClientAuth::private_key_jwt(Gives(algorithm, length)))
                .build_with(endpoint.clone());
            let error = token_request(source.unwrap()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Source);
            assert!(error.to_string().contains("not DER"), "{error}");
            assert_eq!(endpoint.posts(), 0);
        }
    }

    /// RSA signatures are as long as their key: of 2048 bits at least.
    #[tokio::test(start_paused = true)]
    async fn what_can_be_a_signature_is_sent() {
        for (algorithm, length) in [
            (SigningAlgorithm::Es256, 64),
            (SigningAlgorithm::EdDsa, 64),
            (SigningAlgorithm::Rs256, 256),
            (SigningAlgorithm::Ps256, 256),
            (SigningAlgorithm::Rs256, 512),
        ] {
            let form = seen(client(ClientAuth::private_key_jwt(Gives(
                algorithm, length,
            ))))
            .await;
            assert_eq!(assertion_in(&form).signature, vec![1; length]);
        }
    }
}

mod rejected {
    //! What will not do is told with what to change.

    use super::*;

    #[test]
    fn a_variable_that_is_not_set_or_empty_is_told_by_its_name() {
        for name in ["TOWER_BEARER_NOT_SET", "", "A=B", "A\0B"] {
            let message = rejection(client(Secret::from_env(name)));
            assert!(message.contains(name), "{message}");
            assert!(message.contains("client secret"), "{message}");
            assert!(message.contains("is not set"), "{message}");
        }
        let message = rejection(client(ClientAuth::assertion(Secret::from_env(
            "TOWER_BEARER_NOT_SET",
        ))));
        assert!(message.contains("client assertion"), "{message}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_variable_is_read() {
        // Cargo sets it for every test.
        let form = seen(client(Secret::from_env("CARGO_PKG_NAME"))).await;
        assert!(form.contains(&("client_secret".to_owned(), "tower-bearer".to_owned())));
    }

    #[test]
    fn a_key_that_does_not_do_is_told_with_what_does() {
        use SigningAlgorithm::{EdDsa, Es256, Es384, Hs256, Ps256, Rs256};
        let small = include_str!("keys/rsa1024.pem");
        let encrypted = include_str!("keys/p256.encrypted.pem");
        let half = &P256[..P256.len() / 2];
        let rsa = "an RSA key of 2048 to 4096 bits";
        let ec = "an EC key on P-256";
        let ed = "an Ed25519 key";
        let pem = "is not PEM";
        let cases = [
            ("no PEM", Es256, "hunter2-hunter2", pem),
            ("half of one", Es256, half, pem),
            ("a certificate", Es256, CERTIFICATE, pem),
            ("a JWK", Es256, P256_JWK, pem),
            ("encrypted", Es256, encrypted, "decrypt it first"),
            ("EC for RSA", Rs256, P256, rsa),
            ("SEC1 for RSA", Ps256, P256_SEC1, rsa),
            ("Ed25519 for RSA", Ps256, ED25519_PEM, rsa),
            ("a small RSA key", Rs256, small, rsa),
            ("RSA for EC", Es256, RSA, ec),
            ("PKCS#1 for EC", Es256, RSA_PKCS1, ec),
            ("another curve", Es256, P384, ec),
            ("the smaller curve", Es384, P256, "an EC key on P-384"),
            ("its SEC1", Es384, P256_SEC1, "an EC key on P-384"),
            ("a shared key", Hs256, P256, "`SigningKey::from_secret`"),
            ("EC for Ed25519", EdDsa, P256, ed),
            ("SEC1 for Ed25519", EdDsa, P256_SEC1, ed),
        ];
        for (case, algorithm, pem, part) in cases {
            let auth = ClientAuth::private_key_jwt(SigningKey::from_pem(algorithm, pem));
            let message = rejection(client(auth));
            assert!(message.contains(part), "{case}: {message}");
            assert!(!message.contains("hunter2"), "{case}: {message}");
        }
        let key = SigningKey::from_pem(Es256, P256).with_certificate(P256);
        let message = rejection(client(ClientAuth::private_key_jwt(key)));
        assert!(message.contains("certificate"), "{message}");
    }

    #[test]
    fn a_jwk_that_does_not_do_is_told_with_what_is_wrong_and_shows_nothing_of_itself() {
        let but = |jwk: &str, member: &str, value: Value| {
            let mut jwk: Value = serde_json::from_str(jwk).unwrap();
            jwk[member] = value;
            jwk.to_string()
        };
        let private = |jwk: &str| serde_json::from_str::<Value>(jwk).unwrap()["d"].clone();
        let types = "`kty`, `crv` and `alg`";
        let lacks = "check that the JWK is the private one and complete";
        let cases = [
            ("no JSON", "hunter2".to_owned(), "is not a JWK"),
            ("no object", "[]".to_owned(), "is not a JWK"),
            (
                "a set",
                format!(r#"{{"keys":[{P256_JWK}]}}"#),
                "is not a JWK",
            ),
            ("a number", but(P256_JWK, "d", json!(4711)), "is not a JWK"),
            ("public", but(P256_JWK, "d", Value::Null), lacks),
            ("no base64url", but(P256_JWK, "d", json!("hunter2+")), lacks),
            ("no primes", but(RSA_JWK, "p", Value::Null), lacks),
            ("public RSA", but(RSA_JWK, "d", Value::Null), lacks),
            ("a symmetric key", but(P256_JWK, "kty", json!("oct")), types),
            ("another curve", but(P256_JWK, "crv", json!("P-521")), types),
            (
                "the larger curve",
                but(P256_JWK, "crv", json!("P-384")),
                "cannot be used with ES384",
            ),
            ("HS256 by RSA", but(RSA_JWK, "alg", json!("HS256")), types),
            (
                "ES384 on P-256",
                but(P256_JWK, "alg", json!("ES384")),
                types,
            ),
            ("X25519", but(ED25519_JWK, "crv", json!("X25519")), types),
            ("for another", but(RSA_JWK, "alg", json!("RSA-OAEP")), types),
            ("ES256 by RSA", but(RSA_JWK, "alg", json!("ES256")), types),
            (
                "another point",
                but(P256_JWK, "x", private(P256_JWK)),
                "cannot be used with ES256",
            ),
            (
                "another public key",
                but(ED25519_JWK, "x", private(ED25519_JWK)),
                "cannot be used with EdDSA",
            ),
            (
                "another modulus",
                but(RSA_JWK, "n", private(RSA_JWK)),
                "cannot be used with RS256",
            ),
        ];
        for (case, jwk, part) in cases {
            let auth = ClientAuth::private_key_jwt(SigningKey::from_jwk(jwk));
            let message = rejection(client(auth));
            assert!(message.contains(part), "{case}: {message}");
            for shown in ["hunter2", "4711", private(P256_JWK).as_str().unwrap()] {
                assert!(!message.contains(shown), "{case}: {message}");
            }
        }
    }

    #[test]
    fn an_assertion_that_cannot_be_made_is_told_with_what_to_change() {
        let key = || SigningKey::from_pem(SigningAlgorithm::Es256, P256);
        let assertion = || Assertion::signed_by(key());
        let no_json = HashMap::from([(vec![1], 1)]);
        let mut cases = vec![
            (
                assertion().with_audience(""),
                "the assertion's audience is empty",
            ),
            (
                assertion().with_audience(AssertionAudience::Issuer),
                "use `ClientCredentials::discover`",
            ),
            (
                assertion().with_typ(""),
                "`typ` is empty or not a media type",
            ),
            (
                assertion().with_typ("a b"),
                "`typ` is empty or not a media type",
            ),
            (
                assertion().with_claim("", 1),
                "a claim of the assertion has no name",
            ),
            (
                assertion().with_claim("scores", no_json),
                "the value of the assertion's claim \"scores\" cannot be written as JSON",
            ),
            (
                Assertion::signed_by(key().with_key_id("k1")).with_header("kid", "k2"),
                "\"kid\" is also set by with_key_id",
            ),
            (
                Assertion::signed_by(key().with_certificate(CERTIFICATE))
                    .with_header("x5t#S256", "x"),
                "\"x5t#S256\" is also set by the key's certificate",
            ),
            (
                Assertion::signed_by(key().with_certificate_chain(CERTIFICATE))
                    .with_header("x5c", ["x"]),
                "\"x5c\" is also set by the key's certificate chain",
            ),
            (
                Assertion::signed_by(SigningKey::from_secret(SigningAlgorithm::Rs256, SECRET)),
                "RS256 signs with a private key, not with a secret",
            ),
            (
                Assertion::signed_by(SigningKey::from_secret(SigningAlgorithm::Hs256, "")),
                "the client secret is empty",
            ),
        ];
        for name in ["aud", "exp", "iat", "nbf", "jti"] {
            cases.push((assertion().with_claim(name, 1), "is reserved"));
        }
        for name in ["alg", "typ", "crit", "b64"] {
            cases.push((assertion().with_header(name, "none"), "is reserved"));
        }
        for (assertion, part) in cases {
            let message = rejection(client(assertion.clone()));
            assert!(message.contains(part), "{assertion:?}: {message}");
            assert!(!message.contains(SECRET), "{message}");
        }
    }

    #[test]
    fn what_only_an_assertion_can_have_is_told_where_there_is_none() {
        for auth in [
            ClientAuth::from(SECRET),
            ClientAuth::basic(SECRET),
            ClientAuth::tls(),
            ClientAuth::none(),
        ] {
            for auth in [
                auth.clone().without_client_id(),
                auth.with_assertion_type("urn:example:type"),
            ] {
                let message = rejection(client(auth));
                assert!(message.contains("only an assertion can"), "{message}");
            }
        }
        let auth = ClientAuth::assertion("a.b.c").with_assertion_type("jwt-bearer");
        let message = rejection(client(auth));
        assert!(message.contains("is not an absolute URI"), "{message}");
    }

    /// Promise: E8
    #[test]
    fn a_client_id_that_is_blank_or_has_white_space_around_it_is_an_error() {
        for (id, part) in [
            ("", "empty or blank"),
            (" ", "empty or blank"),
            ("\n", "empty or blank"),
            ("id\n", "begins or ends with white space"),
            (" id", "begins or ends with white space"),
            ("\u{FEFF}id", "a byte order mark"),
        ] {
            let message = rejection(ClientCredentials::builder(TOKEN_URL, id, SECRET));
            assert!(message.contains(part), "{id:?}: {message}");
        }
        let inside = ClientCredentials::builder(TOKEN_URL, "my client", SECRET);
        inside.build_with(Endpoint::new([granted()])).unwrap();
    }

    #[test]
    fn parameters_that_would_not_do_are_told_with_what_to_change() {
        let absolute = "is not an absolute URI without a fragment";
        let own = "use the builder's own methods";
        for (builder, part) in [
            (client(SECRET).resource("orders"), absolute),
            (client(SECRET).resource("/orders"), absolute),
            (client(SECRET).resource(""), absolute),
            (client(SECRET).resource("https://a.example/#b"), absolute),
            (client(SECRET).resource(" https://a.example"), absolute),
            (
                client(SECRET).resource("2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"),
                "`param(\"resource\", ..)`",
            ),
            (client(SECRET).audience(""), "an audience is empty"),
            (client(SECRET).param("client_assertion", "x"), own),
            (client(SECRET).param("client_assertion_type", "x"), own),
            (
                client(SECRET).param("client_id", ID),
                "only beside `ClientAuth::basic`",
            ),
            (
                client(ClientAuth::secret_jwt(SECRET)).param("client_id", ID),
                "only beside `ClientAuth::basic`",
            ),
        ] {
            let message = rejection(builder);
            assert!(message.contains(part), "{message}");
        }
    }
}

mod told {
    //! What a rejection tells, and what it never shows.

    use super::*;

    async fn rejected_with(auth: ClientAuth, answer: Response<Bytes>) -> Error {
        let source = client(auth).build_with(Endpoint::new([answer])).unwrap();
        token_request(source).await.unwrap_err()
    }

    /// Promise: E6
    #[tokio::test(start_paused = true)]
    async fn another_error_says_nothing_of_the_client_authentication() {
        for auth in [ClientAuth::basic(SECRET), ClientAuth::secret_jwt(SECRET)] {
            let body = json!({"error": "invalid_scope"}).to_string();
            let error = rejected_with(auth, answer(400, &[], body)).await;
            let message = error.to_string();
            assert!(!message.contains('['), "{message}");
        }
    }

    /// Promise: E6, E8
    #[tokio::test(start_paused = true)]
    async fn a_rejected_client_authentication_is_told_with_the_other_ways_and_none_of_them_is_tried()
     {
        for (auth, how, others) in [
            (
                SECRET.into(),
                "the secret was sent in the form",
                &["basic", "basic_raw", "secret_jwt"][..],
            ),
            (
                ClientAuth::post(SECRET),
                "the secret was sent in the form",
                &["basic", "basic_raw", "secret_jwt"],
            ),
            (
                ClientAuth::basic(SECRET),
                "the secret was sent in a Basic header",
                &["post", "basic_raw", "secret_jwt"],
            ),
            (
                ClientAuth::basic_raw("the-secret"),
                "the secret was sent in a Basic header without form encoding",
                &["post", "basic", "secret_jwt"],
            ),
            (
                ClientAuth::secret_jwt(SECRET),
                "an assertion was sent, signed with HS256",
                &["post", "basic"],
            ),
            (
                ClientAuth::assertion("a.b.c"),
                "an assertion was sent",
                &["post", "basic"],
            ),
            (
                ClientAuth::none(),
                "only the client id was sent",
                &["post", "basic", "private_key_jwt"],
            ),
        ] {
            for rejection in [
                invalid_client(),
                answer(400, &[], r#"{"error":"invalid_client"}"#),
                // Spring and UAA.
                answer(401, &[("www-authenticate", "Basic realm=\"UAA\"")], ""),
                answer(401, &[], r#"{"error":"unauthorized"}"#),
            ] {
                let endpoint = Endpoint::new([rejection]);
                let client = ClientCredentials::builder(TOKEN_URL, "id", auth.clone());
                let source = client.build_with(endpoint.clone()).unwrap();
                let message = token_request(source).await.unwrap_err().to_string();
                assert!(message.contains(how), "{message}");
                for other in others {
                    let other = format!("`ClientAuth::{other}`");
                    assert!(message.contains(&other), "{message}");
                }
                assert_eq!(endpoint.posts(), 1);
            }
        }
    }

    /// Of three companies the failing one is told.
    ///
    /// Promise: E6
    #[tokio::test(start_paused = true)]
    async fn every_error_of_a_token_request_names_the_client_and_the_token_endpoint() {
        type Failing = fn() -> Result<http::Response<http_body_util::Full<Bytes>>, std::io::Error>;
        let failures: [(Failing, ErrorKind); 4] = [
            (|| Ok(invalid_client().map(Into::into)), ErrorKind::Denied),
            (
                || Ok(answer(200, &[], "").map(Into::into)),
                ErrorKind::InvalidAnswer,
            ),
            (
                || Err(std::io::Error::other("no connection")),
                ErrorKind::Unavailable,
            ),
            (|| panic!("a transport that panics"), ErrorKind::Interrupted),
        ];
        for (url, host) in [
            (TOKEN_URL, "auth.example.com"),
            (
                "https://auth.example.com:8443/t?key=hidden",
                "auth.example.com:8443",
            ),
            ("http://[::1]:4444/token", "[::1]:4444"),
        ] {
            for (failing, kind) in failures {
                let transport =
                    tower::service_fn(move |_: http::Request<Bytes>| async move { failing() });
                let source = ClientCredentials::builder(url, ID, SECRET);
                let cache = TokenCache::new(source.build_with(transport).unwrap());
                let error = cache.get().await.unwrap_err();
                assert_eq!(error.kind(), kind);
                assert_named(&error, ID, host);
            }
        }

        // Errors that are not the source's own.
        let hanging = tower::service_fn(async |_: http::Request<Bytes>| {
            std::future::pending::<Result<Response<http_body_util::Full<Bytes>>, std::io::Error>>()
                .await
        });
        let source = client(SECRET).build_with(hanging).unwrap();
        let cache = TokenCache::new(source);
        let (one, other) = tokio::join!(cache.get(), async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            cache.get().await
        });
        for error in [one.unwrap_err(), other.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert_named(&error, ID, "auth.example.com");
        }

        let foreign = tower::service_fn(async |_: tower_bearer::token::TokenRequest| {
            Err::<tower_bearer::Token, _>(std::io::Error::other("down"))
        });
        let error = TokenCache::new(foreign).get().await.unwrap_err();
        assert_eq!((error.client_id(), error.token_endpoint()), (None, None));
    }

    #[track_caller]
    fn assert_named(error: &Error, client_id: &str, host: &str) {
        assert_eq!(error.client_id(), Some(client_id), "{error}");
        assert_eq!(error.token_endpoint(), Some(host), "{error}");
        let named = format!(" (client_id {client_id}, {host})");
        assert_eq!(error.to_string().matches(&named).count(), 1, "{error}");
    }

    /// Promise: S4
    #[tokio::test(start_paused = true)]
    async fn a_client_id_breaks_no_line_of_a_log() {
        let client = ClientCredentials::builder(TOKEN_URL, "id\nERROR forged", SECRET);
        let source = client
            .build_with(Endpoint::new([invalid_client()]))
            .unwrap();
        let error = token_request(source).await.unwrap_err();
        assert!(
            error.to_string().contains(r"client_id id\nERROR forged"),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains('\n'), "{error:?}");
    }

    /// Promise: E6
    #[tokio::test(start_paused = true)]
    async fn a_rejected_assertion_is_told_by_what_it_was_signed_with() {
        let key = SigningKey::from_pem(SigningAlgorithm::Es256, P256);
        for (auth, part) in [
            (
                ClientAuth::private_key_jwt(key.clone().with_key_id("k1")),
                "signed with ES256 and the key id \"k1\", for the audience \"https://auth.example.com/oauth2/token\"",
            ),
            (
                ClientAuth::private_key_jwt(key),
                "signed with ES256 and no key id, for",
            ),
            (
                ClientAuth::secret_jwt(SECRET),
                "signed with HS256 and this secret, for",
            ),
        ] {
            let message = rejected_with(auth, invalid_client()).await.to_string();
            assert!(message.contains(part), "{message}");
        }
        let message = rejected_with(SECRET.into(), invalid_client()).await;
        assert!(!message.to_string().contains("signed"), "{message}");
    }

    /// Promise: E6
    #[tokio::test(start_paused = true)]
    async fn a_rejected_assertion_is_told_where_the_clocks_differ() {
        for (server_is_ahead, part) in [
            (600, Some("clock is 600 s behind the server's")),
            (-600, Some("clock is 600 s ahead of the server's")),
            (0, None),
            (5, None),
            (-5, None),
        ] {
            let by = Duration::from_secs(i64::unsigned_abs(server_is_ahead));
            let date = match server_is_ahead < 0 {
                true => SystemTime::now() - by,
                false => SystemTime::now() + by,
            };
            let date = httpdate::fmt_http_date(date);
            let rejection = answer(401, &[("date", &date)], r#"{"error":"invalid_client"}"#);
            for (auth, signs) in [
                (ClientAuth::secret_jwt(SECRET), true),
                (ClientAuth::post(SECRET), false),
            ] {
                let message = rejected_with(auth, rejection.clone()).await.to_string();
                // The date has no fractions, so it may be a second off.
                let message = message.replace("599 s", "600 s").replace("601 s", "600 s");
                match part.filter(|_| signs) {
                    Some(part) => assert!(message.contains(part), "{message}"),
                    None => assert!(!message.contains("clock"), "{message}"),
                }
            }
        }
    }

    /// Promise: E6, L12
    #[tokio::test(start_paused = true)]
    async fn a_secret_that_is_a_word_of_the_code_does_not_hide_the_code() {
        for secret in ["client", "invalid", "invalid_client", "i"] {
            let error = rejected_with(secret.into(), invalid_client()).await;
            assert_eq!(error.oauth_code(), Some("invalid_client"));
        }
    }

    /// Promise: S4
    #[tokio::test(start_paused = true)]
    async fn no_error_shows_the_query_of_the_token_url() {
        for query in ["?key=4711", "?a=b?key=4711"] {
            let source = client(ClientAuth::secret_jwt(SECRET))
                .token_url(format!("{TOKEN_URL}{query}"))
                .build_with(Endpoint::new([invalid_client()]));
            let shown = all_of(&token_request(source.unwrap()).await.unwrap_err());
            assert!(shown.contains("for the audience"), "{shown}");
            assert!(!shown.contains("4711"), "{shown}");
        }
    }

    /// Promise: S4, L12
    #[tokio::test(start_paused = true)]
    async fn no_error_shows_a_secret_that_was_read_again_and_that_a_server_quotes() {
        const SECRETS: [&str; 2] = ["the-secret-of-before", "the-secret-of-now"];
        let kinds: [fn(Secret) -> ClientAuth; 3] = [
            |it| ClientAuth::post(it),
            |it| ClientAuth::basic(it),
            |it| ClientAuth::secret_jwt(it),
        ];
        for make in kinds {
            let asked = AtomicUsize::new(0);
            let secret = Secret::from_provider(move || {
                let secret = SECRETS[asked.fetch_add(1, Ordering::Relaxed)];
                async move { Ok::<_, BoxError>(secret) }
            });
            let description = format!("neither {} nor {}", SECRETS[0], SECRETS[1]);
            let quoting = json!({"error": "invalid_client", "error_description": description});
            let endpoint = Endpoint::new([answer(401, &[], quoting.to_string())]);
            let source = client(make(secret)).build_with(endpoint.clone()).unwrap();
            let shown = all_of(&token_request(source).await.unwrap_err());
            assert!(
                shown.contains("neither [redacted] nor [redacted]"),
                "{shown}"
            );
            assert_eq!(endpoint.posts(), 2);
        }
    }

    /// Promise: S4
    #[tokio::test(start_paused = true)]
    async fn no_error_shows_an_assertion_or_what_signed_it_that_a_server_quotes() {
        let foreign = "aGVhZGVyIG9mIGl0.Y2xhaW1zIG9mIGl0.c2lnbmF0dXJlIG9mIGl0IGFzIHdlbGw";
        let key = SigningKey::from_pem(SigningAlgorithm::EdDsa, ED25519_PEM);
        for auth in [
            ClientAuth::assertion(foreign),
            ClientAuth::secret_jwt(SECRET),
            ClientAuth::private_key_jwt(key),
        ] {
            let quoted = Arc::new(Mutex::new(String::new()));
            let transport = {
                let quoted = Arc::clone(&quoted);
                tower::service_fn(move |request: http::Request<Bytes>| {
                    let form: Vec<(String, String)> = url::form_urlencoded::parse(request.body())
                        .into_owned()
                        .collect();
                    let assertion = form.iter().find(|(name, _)| name == "client_assertion");
                    let assertion = assertion.unwrap().1.clone();
                    let (_, signature) = assertion.rsplit_once('.').unwrap();
                    let description = format!("{assertion} and {signature} and {SECRET}");
                    let body = json!({"error": "invalid_client", "error_description": description});
                    *quoted.lock().unwrap() = signature.to_owned();
                    let answer = answer(401, &[], body.to_string());
                    async { Ok::<_, BoxError>(answer.map(http_body_util::Full::new)) }
                })
            };
            let by_secret = format!("{auth:?}").contains("client_secret_jwt");
            let source = client(auth).build_with(transport).unwrap();
            let shown = format!("{source:?}");
            let shown = shown + &all_of(&token_request(source).await.unwrap_err());
            let signature = quoted.lock().unwrap().clone();
            assert!(shown.contains("[redacted]"), "{shown}");
            assert!(!shown.contains(&signature), "{shown}");
            assert!(!by_secret || !shown.contains(SECRET), "{shown}");
        }
    }

    /// Promise: S4
    #[test]
    fn no_debug_shows_what_proves_who_the_client_is() {
        let key = |key: SigningKey| ClientAuth::private_key_jwt(key.with_key_id("k1"));
        let provider = Secret::from_provider(|| async { Ok::<_, BoxError>(SECRET) });
        for (auth, methods) in [
            (ClientAuth::from(SECRET), "client_secret_post"),
            (ClientAuth::post(SECRET), "client_secret_post"),
            (ClientAuth::basic(SECRET), "client_secret_basic"),
            (ClientAuth::basic_raw(provider), "client_secret_basic"),
            (ClientAuth::secret_jwt(SECRET), "client_secret_jwt"),
            (ClientAuth::assertion(SECRET), "private_key_jwt"),
            (
                key(SigningKey::from_pem(SigningAlgorithm::Es256, P256)),
                "private_key_jwt",
            ),
            (key(SigningKey::from_jwk(P256_JWK)), "private_key_jwt"),
            (ClientAuth::tls(), "self_signed_tls_client_auth"),
            (ClientAuth::none(), "none"),
        ] {
            let shown = format!("{auth:?} {auth:#?} {:?}", client(auth.clone()));
            assert!(shown.contains(methods), "{shown}");
            let jwk: Value = serde_json::from_str(P256_JWK).unwrap();
            let (_, base64) = P256.split_once('\n').unwrap();
            for hidden in [SECRET, jwk["d"].as_str().unwrap(), &base64[..20]] {
                assert!(!shown.contains(hidden), "{shown}");
            }
        }
        let shown = format!("{:?}", Secret::from_env("CARGO_PKG_NAME"));
        assert_eq!(shown, "Secret::from_env(\"CARGO_PKG_NAME\")");
    }
}

mod granted_scope {
    //! E7: what was granted, against what was asked for.

    use super::*;

    fn asking(all: bool) -> ClientCredentialsBuilder {
        let builder = client(SECRET).scopes(["read", "write"]);
        match all {
            true => builder.require_all_scopes(),
            false => builder,
        }
    }

    /// Promise: E7
    #[tokio::test(start_paused = true)]
    async fn a_narrower_scope_is_kept_and_visible_or_an_error_on_demand() {
        for (scope, missing) in [
            (json!("read"), "without write"),
            (json!("read admin"), "without write"),
            (json!("READ write"), "without read"),
            (json!(["write"]), "without read"),
            (json!(""), "without read write"),
        ] {
            let answer = granted_with(&json!({ "scope": scope }));
            let source = asking(false).build_with(Endpoint::new([answer.clone()]));
            let token = token_request(source.unwrap()).await.unwrap();
            let granted: Vec<&str> = token.scopes().unwrap().collect();
            assert!(!granted.contains(&"read") || !granted.contains(&"write"));

            let source = asking(true).build_with(Endpoint::new([answer]));
            let error = token_request(source.unwrap()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied);
            assert!(!error.is_transient());
            assert!(
                error.to_string().contains(&format!("{missing};")),
                "{error}"
            );
        }
    }

    /// Promise: E7
    #[tokio::test(start_paused = true)]
    async fn all_that_was_asked_for_in_any_order_or_more_or_no_word_of_it_is_no_error() {
        for members in [
            json!({"scope": "write read"}),
            json!({"scope": "read  write admin"}),
            json!({"scope": ["write", "read"]}),
            // As GitHub and others have it.
            json!({"scope": "read,write"}),
            json!({"scope": "admin, write,  read,"}),
            // RFC 6749 §5.1: then it is what was asked for.
            json!({}),
            json!({"scope": null}),
        ] {
            let source = asking(true).build_with(Endpoint::new([granted_with(&members)]));
            token_request(source.unwrap()).await.unwrap();
        }
        // Whatever the server grants where nothing was asked for.
        let answer = granted_with(&json!({"scope": ""}));
        let source = client(SECRET).require_all_scopes();
        let source = source.build_with(Endpoint::new([answer]));
        token_request(source.unwrap()).await.unwrap();
    }

    /// Promise: E7
    #[cfg(feature = "tracing")]
    #[tokio::test(start_paused = true)]
    async fn a_narrower_scope_is_warned_about_once_however_often_it_is_granted() {
        #[derive(Clone, Default)]
        struct Told(Arc<Mutex<Vec<u8>>>);

        impl std::io::Write for Told {
            fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend(text);
                Ok(text.len())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        let told = Told::default();
        let writer = told.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);

        let answer = granted_with(&json!({"scope": "read"}));
        let source = asking(false).build_with(Endpoint::new([answer]));
        let cache = TokenCache::new(source.unwrap());
        for _ in 0..10 {
            cache.get().await.unwrap();
        }
        cache.refresh().await.unwrap();

        let told = String::from_utf8(told.0.lock().unwrap().clone()).unwrap();
        let warnings: Vec<&str> = told
            .lines()
            .filter(|line| line.contains("granted fewer scopes than were asked for"))
            .collect();
        assert_eq!(warnings.len(), 1, "{told}");
        for warning in warnings {
            assert!(warning.contains("WARN"), "{warning}");
            assert!(warning.contains("missing=\"write\""), "{warning}");
        }
    }
}
