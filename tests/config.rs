//! A service's own configuration, from its text to a request.

#![cfg(all(feature = "config", feature = "jwt"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/endpoint.rs"]
mod endpoint;

mod support;

use std::collections::HashMap;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use config::{Config, Environment, File, FileFormat};
use endpoint::{Endpoint, answer, token_request};
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use tower_bearer::{
    ErrorKind,
    config::Configuration,
    token::{FixedToken, Reason, TokenRequest},
};

const SECRET: &str = "s3cret:/+%&=~x, longer than 256 bits";
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/p256.pem");
const JWK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/p256.jwk.json");
const ED25519: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/ed25519.pem");
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/client.crt");
/// Whatever it is, it is sent as it is.
const ASSERTION: &str = CERTIFICATE;

/// What a service has around it.
#[derive(Debug, Deserialize)]
struct Settings {
    api: Api,
}

#[derive(Debug, Deserialize)]
struct Api {
    auth: Configuration,
}

/// Reads the members of `[api.auth]` in TOML, and the environment over them.
fn from_toml(auth: &str, variables: &[(&str, &str)]) -> Result<Configuration, String> {
    let variables = variables
        .iter()
        .map(|(name, value)| (format!("APP__API__AUTH__{name}"), (*value).to_owned()));
    let environment = Environment::with_prefix("APP").separator("__");
    let settings = Config::builder()
        .add_source(File::from_str(
            &format!("[api.auth]\n{auth}"),
            FileFormat::Toml,
        ))
        .add_source(environment.source(Some(variables.collect::<HashMap<_, _>>())))
        .build()
        .unwrap()
        .try_deserialize::<Settings>();
    settings
        .map(|it| it.api.auth)
        .map_err(|error| format!("{error}\n{error:?}"))
}

/// Reads a configuration in JSON that is good but for these members.
fn from_json(members: Value) -> Result<Configuration, String> {
    let mut fields = json!({
        "token_url": "https://auth.example.com/oauth2/token",
        "client_id": "my-client",
        "origins": "https://api.example.com",
    });
    let Value::Object(members) = members else {
        panic!("an object")
    };
    fields.as_object_mut().unwrap().extend(members);
    serde_json::from_str(&fields.to_string()).map_err(|error| format!("{error}\n{error:?}"))
}

/// What the token endpoint sees of one token request, for a request that gets its token.
async fn requested(configuration: Configuration) -> (Option<String>, HashMap<String, Vec<String>>) {
    let token =
        r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"bearer","expires_in":3600}"#;
    let token_endpoint = Endpoint::new([answer(200, &[], token)]);
    let source = configuration
        .credentials()
        .build_with(token_endpoint.clone())
        .unwrap();
    let sent = called(&configuration, source, "https://api.example.com/orders").await;
    assert_eq!(sent.as_deref(), Some("Bearer 2YotnFZFEjr1zCsicMWpAA"));

    let [request] = &token_endpoint.requests()[..] else {
        panic!("one token request")
    };
    let mut form: HashMap<String, Vec<String>> = HashMap::new();
    for (name, value) in url::form_urlencoded::parse(request.body()).into_owned() {
        form.entry(name).or_default().push(value);
    }
    (authorization(request), form)
}

/// The header with which a request to `url` comes through the layer.
async fn called(
    configuration: &Configuration,
    source: impl tower_bearer::TokenSource,
    url: &str,
) -> Option<String> {
    let api = Endpoint::new([answer(200, &[], "")]);
    let service = configuration
        .layer_around(source)
        .unwrap()
        .layer(api.clone());
    let request = Request::get(url).body(Bytes::new()).unwrap();
    let _: Response<_> = service.oneshot(request).await.unwrap();
    authorization(&api.requests()[0])
}

fn authorization(request: &Request<Bytes>) -> Option<String> {
    let value = request.headers().get(AUTHORIZATION)?;
    Some(value.to_str().unwrap().to_owned())
}

fn fixed() -> FixedToken {
    FixedToken::new("t").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_toml_section_becomes_a_request_with_a_token() {
    let configuration = from_toml(
        &format!(
            r#"
            token_url = "https://auth.example.com/oauth2/token"
            client_id = "my-client"
            client_secret = "{SECRET}"
            client_auth = "post"
            grant_type = "account_credentials"
            scopes = ["billing", "ecommerce"]
            audience = "https://api.example.com"
            resource = ["https://api.example.com/a", "https://api.example.com/b"]
            params = {{ tenant = "7", mode = ["x", "y"] }}
            origins = ["https://api.example.com"]
            "#
        ),
        &[],
    );
    let (header, form) = requested(configuration.unwrap()).await;
    assert_eq!(header, None);
    for (name, values) in [
        ("grant_type", &["account_credentials"][..]),
        ("client_id", &["my-client"]),
        ("client_secret", &[SECRET]),
        ("scope", &["billing ecommerce"]),
        ("audience", &["https://api.example.com"]),
        (
            "resource",
            &["https://api.example.com/a", "https://api.example.com/b"],
        ),
        ("tenant", &["7"]),
        ("mode", &["x", "y"]),
    ] {
        assert_eq!(form[name], values, "{name}");
    }
    assert_eq!(form.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_secret_goes_where_client_auth_says() {
    for (method, where_to) in [
        (json!(null), "form"),
        (json!(""), "form"),
        (json!(" "), "form"),
        (json!("post"), "form"),
        (json!("client_secret_post"), "form"),
        (json!("basic"), "encoded"),
        (json!(" basic "), "encoded"),
        (json!("client_secret_basic"), "encoded"),
        (json!("basic_raw"), "raw"),
        (json!("secret_jwt"), "assertion"),
        (json!("client_secret_jwt"), "assertion"),
    ] {
        let configuration =
            from_json(json!({"client_secret": SECRET, "client_auth": method})).unwrap();
        let (header, form) = requested(configuration).await;
        let by_basic = |pair: &str| {
            Some(format!(
                "Basic {}",
                base64::prelude::BASE64_STANDARD.encode(pair)
            ))
        };
        let wanted = match where_to {
            "encoded" => by_basic("my-client:s3cret%3A%2F%2B%25%26%3D%7Ex%2C+longer+than+256+bits"),
            "raw" => by_basic(&format!("my-client:{SECRET}")),
            _ => None,
        };
        assert_eq!(header, wanted, "{method}");
        assert_eq!(
            form.contains_key("client_secret"),
            where_to == "form",
            "{method}"
        );
        assert_eq!(
            form.contains_key("client_assertion"),
            where_to == "assertion",
            "{method}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_private_key_signs_with_the_names_that_it_is_given() {
    let pem = json!({
        "private_key_file": KEY,
        "algorithm": " ES256 ",
        "key_id": "2026-11",
        "key_certificate_file": CERTIFICATE,
        "assertion_audience": "https://auth.example.com",
    });
    let jwk = json!({"private_key_jwk_file": JWK, "client_auth": "private_key_jwt"});
    for (members, audience) in [
        (pem, "https://auth.example.com"),
        (jwk, "https://auth.example.com/oauth2/token"),
    ] {
        let is_pem = members.get("algorithm").is_some();
        let (header, form) = requested(from_json(members).unwrap()).await;
        assert_eq!(header, None);
        let [header, claims] = assertion_in(&form);
        assert_eq!(header["alg"], "ES256");
        if is_pem {
            assert_eq!(header["kid"], "2026-11");
            assert!(header["x5t#S256"].is_string());
        }
        assert_eq!(claims["sub"], "my-client");
        assert_eq!(claims["aud"], audience);
    }
}

/// The header and the claims of a form's assertion.
fn assertion_in(form: &HashMap<String, Vec<String>>) -> [Value; 2] {
    read_jwt(&form["client_assertion"][0])
}

fn read_jwt(jwt: &str) -> [Value; 2] {
    [0, 1].map(|nth| {
        let part = jwt.split('.').nth(nth).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    })
}

#[tokio::test(start_paused = true)]
async fn an_assertion_says_what_the_configuration_says() {
    let key = json!({"private_key_file": KEY, "algorithm": "ES256"});
    let newer = json!({
        "assertion_audience": "https://auth.example.com",
        "assertion_typ": "client-authentication+jwt",
        "assertion_claims": {"sub": "workload", "tenant": "7"},
        "key_certificate_chain_file": CERTIFICATE,
        "client_assertion_type": "urn:example:type",
        "omit_client_id": true,
    });
    let older = json!({"assertion_audience": "token_endpoint", "omit_client_id": "false"});
    for (own, is_newer) in [(newer, true), (older, false)] {
        let mut members = key.clone();
        let own = own.as_object().unwrap().clone();
        members.as_object_mut().unwrap().extend(own);
        let (_, form) = requested(from_json(members).unwrap()).await;
        let [header, claims] = assertion_in(&form);
        assert_eq!(form.contains_key("client_id"), !is_newer);
        assert_eq!(header["x5c"].is_array(), is_newer);
        if is_newer {
            assert_eq!(header["typ"], "client-authentication+jwt");
            assert_eq!(claims["aud"], "https://auth.example.com");
            assert_eq!(
                (&claims["sub"], &claims["tenant"]),
                (&json!("workload"), &json!("7"))
            );
            assert_eq!(form["client_assertion_type"], ["urn:example:type"]);
        } else {
            assert_eq!(header["typ"], "JWT");
            assert_eq!(claims["aud"], "https://auth.example.com/oauth2/token");
            assert_eq!(claims["sub"], "my-client");
        }
    }
    for (algorithm, members) in [
        (
            "HS512",
            json!({"client_secret": SECRET, "client_auth": "secret_jwt", "algorithm": "HS512"}),
        ),
        (
            "Ed25519",
            json!({"private_key_file": ED25519, "algorithm": "Ed25519"}),
        ),
    ] {
        let (_, form) = requested(from_json(members).unwrap()).await;
        assert_eq!(assertion_in(&form)[0]["alg"], algorithm);
    }
    // Its name, and not its text: a token URL does not tell it.
    let mut members = key;
    members["assertion_audience"] = json!("issuer");
    let configuration = from_json(members).unwrap();
    let error = configuration.credentials().build_with(Endpoint::new([]));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("which a token URL does not name"), "{error}");

    let members = json!({"assertion_file": ASSERTION, "client_auth": "spiffe_jwt"});
    let (_, form) = requested(from_json(members).unwrap()).await;
    let spiffe = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
    assert_eq!(form["client_assertion_type"], [spiffe]);
}

#[tokio::test(start_paused = true)]
async fn an_assertion_comes_from_its_file_and_other_clients_send_their_id_alone() {
    for method in [json!(null), json!(" "), json!("assertion")] {
        let members = json!({"assertion_file": ASSERTION, "client_auth": method});
        let (_, form) = requested(from_json(members).unwrap()).await;
        assert_eq!(
            form["client_assertion"][0],
            std::fs::read_to_string(ASSERTION).unwrap().trim()
        );
    }
    for method in ["none", "tls", "tls_client_auth"] {
        let (header, form) = requested(from_json(json!({"client_auth": method})).unwrap()).await;
        assert_eq!((header, form.len()), (None, 2), "id and grant: {method}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_environment_gives_all_of_it_as_strings() {
    let configuration = from_toml(
        r#"scopes = ["overridden"]"#,
        &[
            ("TOKEN_URL", "https://auth.example.com/oauth2/token"),
            ("CLIENT_ID", "0042"),
            ("CLIENT_SECRET", "007"),
            ("SCOPES", "billing ecommerce"),
            ("REQUIRE_ALL_SCOPES", "true"),
            (
                "RESOURCE",
                "https://api.example.com/a https://api.example.com/b",
            ),
            ("PARAMS__TENANT", "7"),
            (
                "ORIGINS",
                "https://api.example.com https://other.example.com",
            ),
            ("CACHE__TOKEN_REQUEST_TIMEOUT", "3s"),
            ("CACHE__REFRESH_AT", "0.5"),
            ("CACHE__REJECTION_ALLOWANCE", "12"),
        ],
    )
    .unwrap();
    let shown = format!("{:?}", configuration.cache(fixed()));
    for number in [
        "token_request_timeout: 3s",
        "refresh_at: 0.5",
        "rejection_allowance: 12",
    ] {
        assert!(shown.contains(number), "{number}: {shown}");
    }
    let (_, form) = requested(configuration).await;
    assert_eq!(form["client_id"], ["0042"]);
    assert_eq!(form["client_secret"], ["007"]);
    assert_eq!(form["scope"], ["billing ecommerce"]);
    assert_eq!(form["resource"].len(), 2);
    assert_eq!(form["tenant"], ["7"]);
}

/// A folder of its own for a test, with this file.
fn file(test: &str, text: impl AsRef<[u8]>) -> String {
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("config-{test}"));
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_token_is_exchanged_without_a_client_by_a_public_one_or_with_a_secret() {
    const TYPE: &str = "urn:ietf:params:oauth:token-type:";
    let subject = file("subject", "s.t\n");
    let actor = file("actor", "a.t");
    let exchange = json!({
        "subject_token_file": subject, "subject_token_type": "jwt",
        "actor_token_file": actor, "actor_token_type": "urn:example:robot",
        "requested_token_type": "access_token",
    });
    for (members, client) in [
        (json!({"client_id": null}), &[][..]),
        (json!({"client_auth": "none"}), &["client_id"]),
        (
            json!({"client_secret": SECRET}),
            &["client_id", "client_secret"],
        ),
    ] {
        let mut members = members;
        members["token_exchange"] = exchange.clone();
        members["audience"] = json!("orders");
        let (header, mut form) = requested(from_json(members).unwrap()).await;
        assert_eq!(header, None);
        for (name, value) in [
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange".to_owned(),
            ),
            ("subject_token", "s.t".to_owned()),
            ("subject_token_type", format!("{TYPE}jwt")),
            ("actor_token", "a.t".to_owned()),
            ("actor_token_type", "urn:example:robot".to_owned()),
            ("requested_token_type", format!("{TYPE}access_token")),
            ("audience", "orders".to_owned()),
        ] {
            assert_eq!(form.remove(name), Some(vec![value]), "{name}");
        }
        let mut left: Vec<_> = form.keys().collect();
        left.sort();
        assert_eq!(left, client);
    }
}

#[tokio::test(start_paused = true)]
async fn an_assertion_as_grant_is_ready_or_is_signed_here() {
    let ready = file("assertion", "a.b.c");
    let configuration = from_json(json!({
        "client_secret": SECRET, "jwt_bearer": {"assertion_file": ready},
    }));
    let (_, form) = requested(configuration.unwrap()).await;
    assert_eq!(
        form["grant_type"],
        ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    );
    assert_eq!(form["assertion"], ["a.b.c"]);

    let configuration = from_json(json!({
        "client_id": null, "scopes": "a b",
        "jwt_bearer": {
            "private_key_file": KEY, "algorithm": "ES256", "key_id": "k1", "issuer": "robot",
            "subject": "user", "audience": "https://auth.example.com", "typ": "a+jwt",
            "claims": {"tenant": "7"}, "lifetime": "10m", "scopes_as_claim": true,
        },
    }));
    let (_, form) = requested(configuration.unwrap()).await;
    let [header, claims] = read_jwt(&form["assertion"][0]);
    assert_eq!(header, json!({"alg": "ES256", "typ": "a+jwt", "kid": "k1"}));
    for (name, value) in [
        ("iss", "robot"),
        ("sub", "user"),
        ("aud", "https://auth.example.com"),
        ("tenant", "7"),
        ("scope", "a b"),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        600
    );
    assert_eq!(form.len(), 2);

    let configuration = from_json(json!({
        "client_id": null,
        "jwt_bearer": {"private_key_jwk_file": JWK, "issuer": "robot", "omit_subject": true},
    }));
    let (_, form) = requested(configuration.unwrap()).await;
    let [_, claims] = read_jwt(&form["assertion"][0]);
    assert_eq!(claims.get("sub"), None);
}

#[tokio::test(start_paused = true)]
async fn a_google_service_account_is_its_key_file() {
    let account = json!({
        "client_email": "robot@project.iam.gserviceaccount.com", "private_key_id": "k7",
        "private_key": include_str!("keys/rsa.pem"), "token_uri": "https://oauth2.googleapis.com/token",
    });
    let account = file("account", account.to_string());
    let configuration = from_json(json!({
        "token_url": null, "client_id": null, "scopes": "a", "google_service_account_file": account,
    }));
    let (_, form) = requested(configuration.unwrap()).await;
    let [header, claims] = read_jwt(&form["assertion"][0]);
    assert_eq!(header["kid"], "k7");
    assert_eq!(claims["aud"], "https://oauth2.googleapis.com/token");
    assert_eq!(claims["scope"], "a");
}

#[test]
fn each_mistake_of_a_grant_is_an_error_that_names_its_fields() {
    let exchange = json!({"subject_token_file": KEY, "subject_token_type": "jwt"});
    let signed = json!({"private_key_jwk_file": JWK, "issuer": "i"});
    for (members, named) in [
        (
            json!({"token_exchange": {}}),
            "`token_exchange.subject_token_file` is missing",
        ),
        (
            json!({"token_exchange": {"subject_token_file": KEY}}),
            "`token_exchange.subject_token_type` is missing",
        ),
        (
            json!({"token_exchange": {"subject_token_file": KEY, "subject_token_env": "A"}}),
            "`token_exchange.subject_token_env` cannot be used with",
        ),
        (
            json!({"token_exchange": {"subject_token_file": KEY, "subject_token_type": "jwt", "actor_token_type": "jwt"}}),
            "`token_exchange.actor_token_type` is given without",
        ),
        (
            json!({"token_exchange": {"subject": KEY}}),
            "unknown field `subject`",
        ),
        (
            json!({"jwt_bearer": {}}),
            "`jwt_bearer.assertion_file` is missing",
        ),
        (
            json!({"jwt_bearer": {"assertion_file": KEY, "issuer": "i"}}),
            "`jwt_bearer.issuer` is for an assertion that is signed here",
        ),
        (
            json!({"jwt_bearer": {"private_key_jwk_file": JWK}}),
            "`jwt_bearer.issuer` is missing",
        ),
        (
            json!({"jwt_bearer": {"private_key_jwk_file": JWK, "private_key_file": KEY}}),
            "`jwt_bearer.private_key_jwk_file` cannot be used with",
        ),
        (
            json!({"jwt_bearer": {"private_key_file": KEY, "issuer": "i"}}),
            "`jwt_bearer.algorithm` must be RS256",
        ),
        (
            json!({"jwt_bearer": {"private_key_jwk_file": JWK, "issuer": "i", "subject": "s", "omit_subject": true}}),
            "`jwt_bearer.omit_subject` cannot be used with `jwt_bearer.subject`",
        ),
        (
            json!({"token_exchange": exchange, "jwt_bearer": signed}),
            "`token_exchange` cannot be used with `jwt_bearer`",
        ),
        (
            json!({"jwt_bearer": signed, "grant_type": "a"}),
            "`token_exchange` cannot be used with `jwt_bearer`",
        ),
        (
            json!({"google_service_account_file": KEY}),
            "`google_service_account_file` names the token URL",
        ),
        (
            json!({"google_service_account_file": KEY, "token_url": null, "client_id": null}),
            "`google_service_account_file` is not valid",
        ),
        // A secret is not dropped for want of a client.
        (
            json!({"client_id": null, "token_exchange": exchange, "client_secret": "x"}),
            "`client_secret`",
        ),
        (
            json!({"client_id": null, "token_exchange": exchange, "client_secret": "x", "client_auth": "basic"}),
            "`client_id` is missing",
        ),
        (
            json!({"client_id": null, "token_url": null, "issuer": "https://auth.example.com", "token_exchange": exchange}),
            "`client_id` is missing",
        ),
    ] {
        let error = from_json(members.clone()).expect_err(&members.to_string());
        assert!(error.contains(named), "{members}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_members_to_keep_may_be_listed_or_in_one_string() {
    for keep in [json!(["a", "b"]), json!("a b")] {
        let configuration = from_json(json!({"client_secret": SECRET, "keep": keep})).unwrap();
        let source = configuration.credentials().build_with(tower::service_fn(
            async |_: Request<http_body_util::Full<bytes::Bytes>>| {
                let body = r#"{"access_token":"t","a":"1","b":"2","c":"3"}"#;
                Ok::<_, std::convert::Infallible>(http::Response::new(body.to_owned()))
            },
        ));
        let token = configuration.cache(source.unwrap()).build().unwrap();
        let token = token.get().await.unwrap();
        let kept = ["a", "b", "c"].map(|name| token.extra(name));
        assert_eq!(kept, [Some("1"), Some("2"), None]);
    }
}

/// Promise: E7
#[tokio::test(start_paused = true)]
async fn a_narrower_scope_is_an_error_where_all_are_required() {
    for (required, fails) in [
        (json!(null), false),
        (json!(false), false),
        (json!(true), true),
        (json!("true"), true),
    ] {
        let configuration = from_json(json!({
            "client_secret": SECRET,
            "scopes": "billing ecommerce",
            "require_all_scopes": required,
        }));
        let narrower = r#"{"access_token":"t","token_type":"bearer","scope":"billing"}"#;
        let source = configuration
            .unwrap()
            .credentials()
            .build_with(Endpoint::new([answer(200, &[], narrower)]));
        let told = token_request(source.unwrap()).await;
        assert_eq!(told.is_err(), fails, "{required}");
        if let Err(error) = told {
            assert!(error.to_string().contains("ecommerce"), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_api_may_ask_for_and_the_header_of_the_token_are_settings() {
    let configuration = from_json(json!({
        "client_secret": SECRET,
        "scopes": "read",
        "step_up_scopes": ["write"],
        "answer_claims_challenges": "true",
        "token_header": "X-Serverless-Authorization",
    }))
    .unwrap();
    let token = r#"{"access_token":"t","token_type":"bearer"}"#;
    let token_endpoint = Endpoint::new([answer(200, &[], token)]);
    let source = configuration
        .credentials()
        .build_with(token_endpoint.clone())
        .unwrap();
    let challenges = [
        r#"Bearer error="insufficient_scope", scope="write""#,
        r#"Bearer error="insufficient_claims", claims="eyJhIjoxfQ==""#,
    ];
    for challenge in challenges {
        let request = TokenRequest::new(Reason::Rejected)
            .with_challenges([HeaderValue::from_static(challenge)]);
        source.clone().oneshot(request).await.unwrap();
    }
    let forms: Vec<HashMap<_, _>> = token_endpoint
        .requests()
        .iter()
        .map(|it| {
            url::form_urlencoded::parse(it.body())
                .into_owned()
                .collect()
        })
        .collect();
    assert_eq!(
        (&*forms[0]["scope"], forms[0].get("claims")),
        ("read write", None)
    );
    assert_eq!(forms[1]["claims"], r#"{"a":1}"#);

    let api = Endpoint::new([answer(200, &[], "")]);
    let layer = configuration.layer_around(fixed()).unwrap();
    let request = Request::get("https://api.example.com/").body(Bytes::new());
    let _: Response<_> = layer
        .layer(api.clone())
        .oneshot(request.unwrap())
        .await
        .unwrap();
    let sent = api.requests()[0].headers().clone();
    assert_eq!(sent["x-serverless-authorization"], "Bearer t");
    assert_eq!(sent.len(), 1);
}

#[test]
fn every_number_of_the_cache_can_be_set_in_human_form() {
    let configuration = from_json(json!({
        "client_secret": SECRET,
        "cache": {
            "token_request_timeout": "1500ms",
            "default_lifetime": "5m 1s",
            "refresh_at": 0.6,
            "refresh_jitter": "0.01",
            "hard_margin": "7s",
            "hard_margin_fraction": 0.2,
            "transient_backoff": "2s",
            "transient_backoff_max": "3min",
            "permanent_backoff": "11s",
            "permanent_backoff_max": "1h",
            "longest_retry_after": "13s",
            "rejection_cool_down": "14s",
            "rejection_cool_down_max": "15s",
            "rejection_allowance": 16,
            "rejection_allowance_interval": "17s",
        },
    }));
    assert_eq!(
        format!("{:?}", configuration.unwrap().cache(fixed()))
            .split_once("schedule: ")
            .unwrap()
            .1,
        "Schedule { token_request_timeout: 1.5s, default_lifetime: 301s, refresh_at: 0.6, refresh_jitter: 0.01, \
         hard_margin: 7s, hard_margin_fraction: 0.2, transient: Backoff { first: 2s, last: 180s }, \
         permanent: Backoff { first: 11s, last: 3600s }, rejected: Backoff { first: 14s, last: 15s }, \
         rejection_allowance: 16, rejection_allowance_interval: 17s, longest_retry_after: 13s, runtime: None } }"
    );
}

#[test]
fn a_cache_has_the_name_that_it_is_given_or_none() {
    for (cache, expected) in [
        (json!({"name": "billing"}), Some("billing")),
        (json!({}), None),
    ] {
        let configuration = from_json(json!({"client_secret": SECRET, "cache": cache}));
        let cache = configuration.unwrap().cache(fixed()).build().unwrap();
        assert_eq!(cache.name(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_goes_to_the_origins_or_by_name_to_any() {
    let token_to = async |origins: Value, url: &str| {
        let members = json!({"client_auth": "none", "origins": origins});
        called(&from_json(members).unwrap(), fixed(), url)
            .await
            .is_some()
    };
    let listed = || json!(["https://api.example.com", "https://b.example.com:8443"]);
    assert!(token_to(listed(), "https://api.example.com/a").await);
    assert!(token_to(listed(), "https://b.example.com:8443/a").await);
    assert!(!token_to(listed(), "https://c.example.com/a").await);
    assert!(token_to(json!("any"), "https://c.example.com/a").await);
    assert!(token_to(json!(["any"]), "https://c.example.com/a").await);

    let unsaid = from_json(json!({"client_auth": "none", "origins": null})).unwrap();
    let errors = [
        unsaid.layer_around(fixed()).map(drop),
        #[cfg(feature = "rustls")]
        unsaid.layer().map(drop),
    ];
    for error in errors.map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(
            error.to_string().contains("`origins` is missing"),
            "{error}"
        );
    }
    // A cache alone needs none.
    assert!(unsaid.cache(fixed()).build().is_ok());
}

/// Promise: E8
#[tokio::test(start_paused = true)]
async fn requests_have_the_user_agent_and_the_headers_that_are_given() {
    let auth = r#"
        token_url = "https://auth.example.com/oauth2/token"
        client_id = "my-client"
        client_auth = "none"
        user_agent = "billing/2.1"
        headers = { X-Tenant = "7", X-Mode = ["x", "y z"] }
        origins = "any"
    "#;
    let endpoint = Endpoint::new([answer(200, &[], r#"{"access_token":"t"}"#)]);
    let credentials = from_toml(auth, &[]).unwrap().credentials();
    let source = credentials.build_with(endpoint.clone()).unwrap();
    endpoint::token_request(source).await.unwrap();

    let requests = endpoint.requests();
    let values = |name| -> Vec<_> { requests[0].headers().get_all(name).iter().collect() };
    assert_eq!(values("user-agent"), ["billing/2.1"]);
    assert_eq!(values("x-tenant"), ["7"]);
    assert_eq!(values("x-mode"), ["x", "y z"]);
}

/// Promise: E8
#[cfg(feature = "proxy")]
#[test]
fn a_proxy_is_the_one_that_is_given_or_that_of_the_environment() {
    let with = |members: Value| {
        let mut all = json!({"client_secret": "x"});
        let members = members.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(members);
        from_json(all)
    };
    let built = |members| with(members).unwrap().layer().map(drop);
    assert!(built(json!({"proxy": "http://proxy.example.com:3128"})).is_ok());
    assert!(built(json!({"proxy_from_environment": "false"})).is_ok());
    let error = built(json!({"proxy": "socks5://:hidden-word@proxy.example.com"})).unwrap_err();
    assert!(
        error.to_string().contains("not the URL of an HTTP proxy"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("hidden-word"));
    let both = json!({"proxy": "http://proxy.example.com", "proxy_from_environment": true});
    let error = with(both).unwrap_err();
    assert!(error.contains("cannot be used with `proxy`"), "{error}");
}

#[test]
fn a_struct_that_flattens_a_configuration_can_reject_unknown_fields() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        listen: String,
        #[serde(flatten)]
        auth: Configuration,
    }
    let fields = |name: &str| {
        let mut fields = json!({
            "listen": "[::1]:8080",
            "token_url": "https://auth.example.com/oauth2/token",
            "client_id": "my-client",
            "client_secret": "x",
            "origins": "any",
        });
        fields[name] = json!("billing");
        serde_json::from_value::<Strict>(fields)
    };
    let strict = fields("scopes").unwrap();
    assert_eq!(strict.listen, "[::1]:8080");
    assert!(strict.auth.layer_around(fixed()).is_ok());
    let error = fields("scope").unwrap_err().to_string();
    assert!(error.contains("unknown field `scope`"), "{error}");
}

/// Promise: S2
#[tokio::test]
async fn plain_http_to_another_machine_is_allowed_by_a_long_name_only() {
    let saying = |secret: Value, tokens: Value| {
        let members = json!({
            "token_url": "http://hydra.auth/oauth2/token",
            "client_auth": "none",
            "origins": "http://orders.shop",
            "danger_allow_secret_over_plain_http": secret,
            "danger_allow_tokens_over_plain_http": tokens,
        });
        from_json(members).unwrap()
    };
    let values = || {
        [
            (json!(null), false),
            (json!("false"), false),
            (json!(true), true),
            (json!("true"), true),
        ]
    };
    let endpoint = || Endpoint::new([answer(500, &[], "")]);
    let get = || {
        Request::get("http://orders.shop/")
            .body(Bytes::new())
            .unwrap()
    };
    for (secret, secret_allowed) in values() {
        for (tokens, tokens_allowed) in values() {
            let configuration = saying(secret.clone(), tokens);
            let built = configuration.credentials().build_with(endpoint());
            match built {
                Ok(_) => assert!(secret_allowed),
                Err(error) => {
                    assert!(!secret_allowed);
                    assert!(error.to_string().contains("is not https"), "{error}");
                }
            }

            let api = endpoint();
            let layer = configuration.layer_around(fixed()).unwrap();
            let told = layer.layer(api.clone()).oneshot(get()).await;
            assert_eq!(api.requests().len(), usize::from(tokens_allowed));
            match told {
                Ok(_) => assert!(authorization(&api.requests()[0]).is_some()),
                Err(error) => assert!(error.to_string().contains("sent unencrypted"), "{error}"),
            }
        }
    }
}

#[tokio::test]
async fn an_issuer_stands_in_for_the_token_url() {
    const METADATA: &str = r#"{
        "issuer": "https://auth.test/main",
        "token_endpoint": "https://auth.test/elsewhere/token"
    }"#;
    let configuration: Configuration = serde_json::from_value(json!({
        "issuer": "https://auth.test/main",
        "client_id": "c",
        "client_secret": "x",
    }))
    .unwrap();
    let server = tower::service_fn(|request: http::Request<support::Body>| async move {
        let answer = match request.uri().path() {
            "/.well-known/oauth-authorization-server/main" => support::answer(200, METADATA),
            "/elsewhere/token" => support::token("t1", 60),
            other => panic!("{other} was asked for"),
        };
        Ok::<_, std::convert::Infallible>(answer)
    });
    let credentials = configuration.credentials().build_with(server).unwrap();
    let token = configuration
        .cache(credentials)
        .build()
        .unwrap()
        .get()
        .await
        .unwrap();
    assert_eq!(token.authorization(), "Bearer t1");
}

#[test]
fn each_mistake_is_an_error_that_names_its_fields() {
    for (members, named) in [
        (
            json!({"token_url": null, "client_secret": "x"}),
            &["`token_url` is missing, and so is `issuer`"][..],
        ),
        (
            json!({"issuer": "https://auth.example.com", "client_secret": "x"}),
            &["`issuer` cannot be used with `token_url`"],
        ),
        (
            json!({"client_id": null, "client_secret": "x"}),
            &["`client_id` is missing"],
        ),
        (
            json!({"client_secret": "x", "token_header": "a header"}),
            &["`token_header` must be the name of a header"],
        ),
        (
            json!({"client_secret": "x", "answer_claims_challenges": "maybe"}),
            &["`answer_claims_challenges` must be true or false"],
        ),
        (
            json!({"client_id": 42, "client_secret": "x"}),
            &["`client_id`", "in quotes"],
        ),
        (
            json!({"client_secret": 42}),
            &["`client_secret`", "in quotes"],
        ),
        (
            json!({"client_secret": {"a": 1}}),
            &["`client_secret` must be a string"],
        ),
        (
            json!({}),
            &[
                "`client_secret`",
                "`assertion_file`",
                "client_auth = \"none\"",
            ],
        ),
        (
            json!({"client_secret": "x", "client_secret_file": "y", "private_key_file": "z"}),
            &["`client_secret` and `client_secret_file`, `private_key_file`"],
        ),
        (
            json!({"client_secret": "x", "client_auth": "private_key_jwt"}),
            &["`client_auth`", "`private_key_file`"],
        ),
        (
            json!({"client_secret": "x", "client_auth": "assertion"}),
            &["`client_auth`", "`assertion_file`"],
        ),
        (
            json!({"client_secret": "x", "client_auth": "none"}),
            &["`client_auth`", "`client_secret`"],
        ),
        (
            json!({"assertion_file": "x", "client_auth": "basic"}),
            &["`client_auth`", "`assertion_file`"],
        ),
        (
            json!({"client_secret": "x", "client_auth": "digest"}),
            &["`client_auth` must be post, basic"],
        ),
        (
            json!({"client_secret": "x", "algorithm": "RS256"}),
            &["`algorithm`", "`client_auth`"],
        ),
        (
            json!({"client_secret": "x", "key_id": "1"}),
            &["`key_id`", "`private_key_file`"],
        ),
        (
            json!({"client_auth": "none", "key_certificate_file": "c"}),
            &["`key_certificate_file`"],
        ),
        (
            json!({"private_key_file": KEY}),
            &["`algorithm` must be RS256"],
        ),
        (
            json!({"private_key_file": KEY, "algorithm": "HS256"}),
            &["`algorithm` must be RS256"],
        ),
        (
            json!({"private_key_jwk_file": JWK, "algorithm": "ES256"}),
            &["`algorithm`", "`private_key_jwk_file`"],
        ),
        (
            json!({"client_secret": "x", "assertion_audience": "a"}),
            &["`assertion_audience`", "`client_auth`"],
        ),
        (
            json!({"assertion_file": "a", "assertion_typ": "JWT"}),
            &["`assertion_typ`", "`client_auth`"],
        ),
        (
            json!({"client_secret": "x", "client_auth": "secret_jwt", "algorithm": "RS256"}),
            &["`algorithm` must be HS256"],
        ),
        (
            json!({"private_key_file": KEY, "algorithm": "ES256", "assertion_claims": {"tenant": 7}}),
            &["`assertion_claims.tenant` must be a string"],
        ),
        (
            json!({"private_key_file": KEY, "algorithm": "ES256", "key_certificate_file": "a", "key_certificate_chain_file": "b"}),
            &["`key_certificate_file` cannot be used with `key_certificate_chain_file`"],
        ),
        (
            json!({"client_secret": "x", "omit_client_id": true}),
            &["`omit_client_id`", "`client_auth`"],
        ),
        (
            json!({"client_secret": "x", "client_assertion_type": "a"}),
            &["`client_assertion_type`", "`client_auth`"],
        ),
        (
            json!({"client_certificate_file": "c"}),
            &["`client_certificate_key_file` is missing"],
        ),
        (
            json!({"client_certificate_key_file": "c"}),
            &["`client_certificate_file` is missing"],
        ),
        (
            json!({"client_auth": "none", "scopes": 1}),
            &["`scopes` must be a list"],
        ),
        (
            json!({"client_auth": "none", "scopes": ["a", 1]}),
            &["`scopes` must be a string"],
        ),
        (
            json!({"client_auth": "none", "params": "a"}),
            &["`params` must be a table"],
        ),
        (
            json!({"client_auth": "none", "params": {"a": 1}}),
            &["`params.a` must be a string"],
        ),
        (
            json!({"client_auth": "none", "require_all_scopes": "yes"}),
            &["`require_all_scopes` must be true or false"],
        ),
        (
            json!({"client_auth": "none", "origins": []}),
            &["`origins` is not valid"],
        ),
        (
            json!({"client_auth": "none", "origins": ["any", "https://a.test"]}),
            &["`origins` is not valid", "any"],
        ),
        (
            json!({"client_auth": "none", "cache": {"token_request_timeout": 10}}),
            &["`cache.token_request_timeout`", "10s"],
        ),
        (
            json!({"client_auth": "none", "cache": {"hard_margin": "1 fortnight"}}),
            &["`cache.hard_margin` must be a dur"],
        ),
        (
            json!({"client_auth": "none", "cache": {"refresh_at": "late"}}),
            &["`cache.refresh_at` must be a number"],
        ),
        (
            json!({"client_auth": "none", "cache": {"rejection_allowance": -1}}),
            &["`cache.rejection_allowance` must be a whole"],
        ),
        (
            json!({"client_auth": "none", "cache": {"refresh_at": 1.5}}),
            &["`cache` is not valid", "refresh point"],
        ),
        (
            json!({"client_secret": "x", "client_sceret": "x"}),
            &["unknown field `client_sceret`"],
        ),
        (
            json!({"client_secret": "x", "cache": {"token_request_timout": "1s"}}),
            &["unknown field `token_request_timout`"],
        ),
    ] {
        let error = from_json(members.clone()).expect_err(&members.to_string());
        for name in named {
            assert!(error.contains(name), "{members}: {error}");
        }
    }
}

#[test]
fn a_reader_that_knows_the_path_tells_it_too() {
    let error = from_toml(
        "token_url = 'https://a.test/'\nclient_id = 'c'\nclient_secret = 42",
        &[],
    )
    .unwrap_err();
    assert!(error.contains("`client_secret`"), "{error}");
    assert!(error.contains("api.auth"), "{error}");
}

#[cfg(feature = "rustls")]
#[test]
fn what_a_field_refers_to_is_looked_at_when_it_is_built() {
    for (members, named) in [
        (json!({"client_auth": "tls"}), "`client_certificate_file`"),
        (
            json!({"client_secret_file": "/no/such/file"}),
            "/no/such/file",
        ),
        (
            json!({"client_secret_env": "NO_SUCH_VARIABLE"}),
            "NO_SUCH_VARIABLE",
        ),
        (
            json!({"client_secret": ""}),
            "client secret is empty or blank",
        ),
        (
            json!({"client_secret": " \n"}),
            "client secret is empty or blank",
        ),
        (
            json!({"client_secret": "x", "client_id": " "}),
            "client id is empty or blank",
        ),
        (
            json!({"client_secret": "x", "client_id": "id\n"}),
            "client id begins or ends",
        ),
        (
            json!({"client_secret": "x", "token_url": "http://auth.example.com/"}),
            "token URL is not https",
        ),
        (
            json!({"client_certificate_file": CERTIFICATE, "client_certificate_key_file": "/no/such/key"}),
            "/no/such/key",
        ),
        (
            json!({"client_secret": "x", "root_certificates_file": "/no/such/roots"}),
            "the root certificate's file /no/such/roots",
        ),
    ] {
        let error = from_json(members.clone()).unwrap().layer().unwrap_err();
        assert!(error.to_string().contains(named), "{members}: {error}");
    }
    let key = CERTIFICATE.replace(".crt", ".key");
    let by_certificate =
        json!({"client_certificate_file": CERTIFICATE, "client_certificate_key_file": key});
    assert!(from_json(by_certificate).unwrap().layer().is_ok());
    let by_roots = json!({"client_secret": "x", "root_certificates_file": CERTIFICATE});
    assert!(from_json(by_roots).unwrap().layer().is_ok());
}

/// Promise: S4
#[test]
fn no_secret_is_in_debug_or_in_an_error() {
    const SECRET: &str = "hunter2hunter2";
    let configuration =
        from_json(json!({"client_secret": SECRET, "params": {"key": SECRET}})).unwrap();
    let shown = format!(
        "{configuration:?}{:#?}{:?}",
        configuration,
        configuration.credentials()
    );
    assert!(!shown.contains(SECRET), "{shown}");

    for members in [
        json!({"client_secret": SECRET, "client_secret_file": SECRET}),
        json!({"client_secret": [SECRET]}),
        json!({"client_secret": {SECRET: SECRET}}),
        json!({"client_secret": SECRET, "client_auth": SECRET}),
        json!({"client_secret": SECRET, "client_auth": "none"}),
        json!({"client_secret": SECRET, "params": SECRET}),
        json!({"client_secret": SECRET, "params": {"a": {"b": SECRET}}}),
        json!({"client_secret": SECRET, "require_all_scopes": SECRET}),
        json!({"client_secret": SECRET, "cache": {"token_request_timeout": SECRET}}),
        json!({"client_secret": SECRET, "key_id": SECRET}),
        json!({"client_secret": SECRET, "client_id": null}),
    ] {
        let error = from_json(members.clone()).expect_err(&members.to_string());
        assert!(!error.contains(SECRET), "{members}: {error}");
    }
    for number in [json!(31_337_000), json!(-31_337_000), json!(31_337_000.5)] {
        let error = from_json(json!({"client_secret": number})).unwrap_err();
        assert!(!error.contains("31337"), "{error}");
    }
}

#[cfg(all(feature = "redis", feature = "rustls"))]
mod shared {
    use tower_bearer::shared::Identity;

    use super::*;

    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn shared(members: Value) -> Result<Configuration, String> {
        from_json(json!({ "client_secret": SECRET, "shared": members }))
    }

    #[tokio::test]
    async fn processes_share_a_token_by_configuration() {
        let folder =
            std::env::temp_dir().join(format!("tower-bearer-config-{}", std::process::id()));
        let token = r#"{"access_token":"a-token","token_type":"bearer","expires_in":3600}"#;
        let endpoint = Endpoint::new([answer(200, &[], token)]);
        for (first, second) in [(KEY, None), (KEY, Some(KEY))] {
            let configuration = shared(json!({
                "folder": folder,
                "sealing_key": first,
                "old_sealing_key": second,
                "timeout": "500ms",
            }));
            let configuration = configuration.unwrap();
            let credentials = configuration.credentials();
            let credentials = credentials.build_with(endpoint.clone()).unwrap();
            let layer = configuration.shared(&credentials).unwrap().unwrap();
            let shown = format!("{configuration:?} {layer:?}");
            assert!(!shown.contains(KEY), "{shown}");
            let cache = configuration
                .cache(layer.layer(credentials))
                .build()
                .unwrap();
            assert_eq!(cache.get().await.unwrap().expose_secret(), "a-token");
        }
        assert_eq!(endpoint.posts(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_redis_is_one_server_or_behind_sentinels_or_a_cluster() {
        for (members, expected) in [
            (
                json!({ "redis_url": "redis://u:hunter2@r" }),
                "Redis(r:6379)",
            ),
            (
                json!({
                    "redis_url": "redis://u:hunter2@mymaster",
                    "redis_sentinels": "redis://:hunter2@s-1:26379,s-2:26379",
                }),
                r#"Redis(Sentinel { master: "mymaster", sentinels: [s-1:26379, s-2:26379] })"#,
            ),
            (
                json!({ "redis_url": "redis://u:hunter2@n-1,n-2", "redis_cluster": true }),
                "Redis(Cluster([n-1:6379, n-2:6379]))",
            ),
        ] {
            let mut members = members;
            members["sealing_key"] = json!(KEY);
            let configuration = shared(members).unwrap();
            let layer = configuration.shared(Identity::named("mine")).unwrap();
            let shown = format!("{layer:?}");
            assert!(shown.contains(expected), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_store_without_a_key_or_a_place_is_an_error_that_says_what_to_give() {
        for (members, expected) in [
            (
                json!({ "folder": "/tmp/t" }),
                "`shared.sealing_key_file` is missing",
            ),
            (
                json!({ "sealing_key": KEY }),
                "`shared.redis_url` is missing",
            ),
            (
                json!({ "folder": "/tmp/t", "redis_url": "redis://r", "sealing_key": KEY }),
                "`shared.folder` cannot be used with a `redis_url`",
            ),
            (
                json!({ "redis_url": "redis://r", "sealing_key": KEY, "sealing_key_env": "K" }),
                "`shared.sealing_key_env` cannot be used with `shared.sealing_key`",
            ),
            (
                json!({ "redis_sentinels": "redis://s", "sealing_key": KEY }),
                "`shared.redis_url` is missing; give the master's login",
            ),
            (
                json!({
                    "redis_url": "redis://r", "redis_sentinels": "redis://s",
                    "redis_cluster": true, "sealing_key": KEY,
                }),
                "`shared.redis_cluster` cannot be used with `redis_sentinels`",
            ),
            (
                json!({ "redis_url": "redis://r", "redis_cluster": "yes", "sealing_key": KEY }),
                "`shared.redis_cluster` must be true or false",
            ),
            (json!({ "place": "redis" }), "unknown field `place`"),
        ] {
            let error = shared(members).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let configuration =
            shared(json!({ "redis_url": "redis://r", "sealing_key": KEY, "timeout": "501ms" }));
        let error = configuration.unwrap().layer().unwrap_err();
        assert!(
            error.to_string().contains("`shared.timeout` must"),
            "{error}"
        );
        let configuration = shared(json!({ "redis_url": "redis://r", "sealing_key": "short" }));
        let error = configuration.unwrap().layer().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("openssl rand"), "{error}");
    }
}
