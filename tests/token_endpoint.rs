//! What token endpoints answer and what is made of it, and what they are sent.

#![allow(clippy::unwrap_used)]

#[path = "support/endpoint.rs"]
mod endpoint;

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use endpoint::{Endpoint, answer, on_paused_time, token_request};
use http::{
    HeaderValue, Method, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower_bearer::{
    ClientAuth, ClientCredentials, Error, ErrorKind, Token, TokenCache,
    client_credentials::ClientCredentialsBuilder,
};

const ID: &str = "c1";
/// Each of its special characters is one that some encoding changes.
const SECRET: &str = "s3cret:/+%&=~x";
const TOKEN: &str = "ory_at_4jSH.k2dW-_~+/=";

type Headers = &'static [(&'static str, &'static str)];

const JSON: Headers = &[("content-type", "application/json")];
const HTML: Headers = &[("content-type", "text/html; charset=utf-8")];

fn builder(token_url: &str) -> ClientCredentialsBuilder {
    ClientCredentials::builder(token_url, ID, SECRET)
}

fn over(endpoint: &Endpoint) -> ClientCredentials {
    builder("https://auth.example.com/oauth2/token")
        .build_with(endpoint.clone())
        .unwrap()
}

/// What an error says beside whose it is.
fn told(error: &Error) -> String {
    let message = error.to_string();
    let whose = format!(" (client_id {ID}, auth.example.com)");
    message.strip_suffix(&whose).unwrap().to_owned()
}

/// What the source makes of one answer, to one request.
async fn made_of(answer: Response<Bytes>) -> Result<Token, Error> {
    let status = answer.status();
    let endpoint = Endpoint::new([answer]);
    let may_pass = matches!(status.as_u16(), 502..=504);
    let made = token_request(over(&endpoint)).await;
    // A cold token request that fails in passing is tried once more (F15), unless the server says when.
    let most = if may_pass { 2 } else { 1 };
    assert!((1..=most).contains(&endpoint.posts()));
    made
}

/// A 200 with this JSON.
fn granted(body: &Value) -> Response<Bytes> {
    answer(200, JSON, body.to_string())
}

/// A good token answer but for one member.
fn granted_but(name: &str, value: Value) -> Response<Bytes> {
    let mut body = json!({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600});
    body[name] = value;
    granted(&body)
}

fn assert_is(made: &Result<Token, Error>, token: &str, case: &str) {
    match made {
        Ok(made) => assert_eq!(made.authorization(), &format!("Bearer {token}"), "{case}"),
        Err(error) => panic!("{case}: {error:?}"),
    }
}

fn assert_fails(made: Result<Token, Error>, kind: ErrorKind, part: &str, case: &str) -> Error {
    let error = made.expect_err(case);
    assert_eq!(error.kind(), kind, "{case}: {error}");
    let message = error.to_string();
    assert!(message.contains(part), "{case}: {message}");
    assert!(!message.contains(TOKEN), "{case}: {message}");
    error
}

/// Promise: E1
#[tokio::test(start_paused = true)]
async fn a_200_that_is_no_token_answer_is_a_typed_error() {
    let good = format!(r#"{{"access_token":"{TOKEN}","token_type":"bearer"}}"#);
    let deep = format!(r#"{{"access_token":{}"#, "[".repeat(50_000));
    let twice = format!(r#"{{"access_token":"{TOKEN}","access_token":"other"}}"#);
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: &[(&str, Headers, &[u8], &str)] = &[
        ("empty", JSON, b"", "an empty body, 0 bytes"),
        ("blank", JSON, b" \r\n", "an empty body, 3 bytes"),
        ("a mark alone", JSON, b"\xEF\xBB\xBF", "an empty body"),
        (
            "a web page",
            HTML,
            b"<!doctype html><p>Sign in",
            "a web page (check the token URL)",
        ),
        (
            "a web page with a title",
            HTML,
            b"<html><title>Sign in</title><p>Welcome",
            "a web page titled \"Sign in\" (check the token URL)",
        ),
        ("a web page, late", JSON, b"\n\n <html>", "a web page"),
        (
            "cut",
            JSON,
            &good.as_bytes()[..good.len() - 1],
            "not a JSON token response",
        ),
        (
            "cut in the token",
            JSON,
            &good.as_bytes()[..25],
            "not a JSON token response",
        ),
        (
            "form-encoded",
            &[("content-type", "application/x-www-form-urlencoded")],
            b"access_token=ory_at_4jSH&token_type=bearer&expires_in=3600",
            "not a JSON token response, 58 bytes",
        ),
        ("plain text", &[], b"OK", "not a JSON token response"),
        ("UTF-16", JSON, &utf16, "not a JSON token response"),
        (
            "not UTF-8",
            JSON,
            b"{\"access_token\":\"\xFF\xFE\"}",
            "not a JSON token response",
        ),
        ("zeros", JSON, &[0; 1000], "not a JSON token response"),
        ("deep", JSON, deep.as_bytes(), "not a JSON token response"),
        (
            "two tokens in one",
            JSON,
            twice.as_bytes(),
            "not a JSON token response",
        ),
        ("null", JSON, b"null", "the token endpoint"),
        ("a number", JSON, b"42", "the token endpoint"),
        (
            "a string",
            JSON,
            b"\"ory_at_4jSH.k2dW\"",
            "the token endpoint",
        ),
        ("an empty array", JSON, b"[]", "the token endpoint"),
        (
            "an empty object",
            JSON,
            b"{}",
            "no access_token in the answer",
        ),
        (
            "another object",
            JSON,
            br#"{"active":true}"#,
            "no access_token in the answer",
        ),
        (
            "an error of another shape",
            JSON,
            br#"{"message":"no such tenant"}"#,
            "no access_token in the answer of the token endpoint: no such tenant [check the token URL]",
        ),
    ];
    for &(case, headers, body, part) in cases {
        let made = made_of(answer(200, headers, body.to_vec())).await;
        let error = assert_fails(made, ErrorKind::InvalidAnswer, part, case);
        assert!(error.is_transient(), "{case}");
    }
}

/// Promise: E1
#[tokio::test(start_paused = true)]
async fn an_array_is_no_token_answer_whatever_is_in_it() {
    let body = json!([TOKEN, "bearer", 3600]);
    assert_fails(
        made_of(granted(&body)).await,
        ErrorKind::InvalidAnswer,
        "the token endpoint",
        "an array",
    );
}

/// Promise: E1
#[tokio::test(start_paused = true)]
async fn what_follows_a_token_answer_never_changes_its_token() {
    let good = format!(r#"{{"access_token":"{TOKEN}","token_type":"bearer"}}"#);
    for rest in [
        " \r\n\0",
        "<!-- cached -->",
        r#"{"access_token":"other","token_type":"bearer"}"#,
    ] {
        match made_of(answer(200, JSON, good.clone() + rest)).await {
            Ok(token) => assert_is(&Ok(token), TOKEN, rest),
            rejected => {
                assert_fails(rejected, ErrorKind::InvalidAnswer, "the token", rest);
            }
        }
    }
}

/// Promise: E1, E2
#[tokio::test(start_paused = true)]
async fn a_token_answer_counts_whatever_its_content_type_is() {
    let body = json!({"access_token": TOKEN, "token_type": "bearer"}).to_string();
    for content_type in [
        "application/json",
        "application/json;charset=UTF-8",
        "APPLICATION/JSON",
        "text/json",
        "text/plain",
        "text/html",
        "application/octet-stream",
        "application/vnd.oauth+json",
        "",
        "no type at all",
    ] {
        let headers = [("content-type", content_type)];
        let made = made_of(answer(200, &headers, body.clone())).await;
        assert_is(&made, TOKEN, content_type);
    }

    assert_is(
        &made_of(answer(200, &[], body.clone())).await,
        TOKEN,
        "none",
    );

    let mut bytes = answer(200, &[], body.clone());
    let no_text = HeaderValue::from_bytes(b"\xFF\xFE").unwrap();
    bytes.headers_mut().insert(CONTENT_TYPE, no_text);
    assert_is(&made_of(bytes).await, TOKEN, "no text");

    let twice = [
        ("content-type", "text/html"),
        ("content-type", "application/json"),
    ];
    assert_is(&made_of(answer(200, &twice, body)).await, TOKEN, "twice");
}

/// Promise: E1
#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_is_skipped() {
    let body = format!("\u{FEFF}{{\"access_token\":\"{TOKEN}\"}}");
    assert_is(&made_of(answer(200, JSON, body)).await, TOKEN, "a token");
}

/// Promise: E1, E6
#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_does_not_hide_an_oauth_error() {
    let body = "\u{FEFF}{\"error\":\"invalid_client\"}";
    let error = made_of(answer(401, JSON, body)).await.unwrap_err();
    assert_eq!(error.oauth_code(), Some("invalid_client"));
}

/// Promise: E1
#[tokio::test(start_paused = true)]
async fn an_unknown_member_may_come_twice() {
    let body = format!(r#"{{"x":1,"access_token":"{TOKEN}","x":2}}"#);
    assert_is(&made_of(answer(200, JSON, body)).await, TOKEN, "x twice");
}

/// Promise: E1
#[tokio::test(start_paused = true)]
async fn an_answer_is_read_up_to_64_kib_and_not_a_byte_further() {
    let mut body = json!({"access_token": TOKEN}).to_string();
    body.push_str(&" ".repeat(64 * 1024 - body.len()));
    assert_is(
        &made_of(answer(200, JSON, body.clone())).await,
        TOKEN,
        "64 KiB",
    );

    body.push(' ');
    assert_fails(
        made_of(answer(200, JSON, body)).await,
        ErrorKind::InvalidAnswer,
        "larger than 64 KiB",
        "a byte more",
    );
}

/// Promise: E1, E6
#[tokio::test(start_paused = true)]
async fn an_error_answer_of_any_size_keeps_its_status_and_its_retry_after() {
    let page = "<p>".repeat(30_000);
    let made = made_of(answer(403, HTML, page.clone())).await;
    let error = assert_fails(made, ErrorKind::Unavailable, "403", "a large web page");
    assert_eq!(error.status().map(|status| status.as_u16()), Some(403));
    assert!(error.is_transient());

    let made = made_of(answer(503, &[("retry-after", "7")], page)).await;
    let error = assert_fails(made, ErrorKind::Unavailable, "503", "a large web page");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Promise: E1
    #[test]
    fn any_bytes_with_any_status_are_a_token_or_a_typed_error(
        status in 200_u16..600,
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            r#"(\{|"|access_token|error|:|,|\[|\}|\]|1e999|null| ){0,40}"#.prop_map(String::into_bytes),
        ],
        retry_after in "[ -~]{0,30}",
    ) {
        let headers = [("retry-after", retry_after.as_str())];
        match on_paused_time(made_of(answer(status, &headers, body))) {
            Ok(token) => {
                prop_assert!((200..300).contains(&status));
                prop_assert!(token.authorization().to_str().unwrap().starts_with("Bearer "));
            }
            Err(error) if (200..300).contains(&status) => {
                prop_assert!(matches!(error.kind(), ErrorKind::InvalidAnswer | ErrorKind::Denied));
            }
            Err(error) => {
                prop_assert_eq!(error.status().map(|status| status.as_u16()), Some(status));
            }
        }
    }

    /// Promise: E1, E3, L6
    #[test]
    fn any_json_in_the_members_of_an_answer_is_a_token_or_a_typed_error(
        access_token in member(),
        token_type in member(),
        expires_in in member(),
        scope in member(),
        error in member(),
        error_description in member(),
    ) {
        let body = json!({
            "access_token": access_token, "token_type": token_type, "expires_in": expires_in,
            "scope": scope, "error": error, "error_description": error_description,
        });
        match on_paused_time(made_of(granted(&body))) {
            Ok(token) => {
                let sent = format!("Bearer {}", access_token.as_str().unwrap());
                prop_assert_eq!(token.authorization().to_str().unwrap(), sent);
            }
            Err(rejected) => {
                let is_error = error.as_str().is_some_and(|error| !error.trim().is_empty());
                let kind = if is_error { ErrorKind::Denied } else { ErrorKind::InvalidAnswer };
                prop_assert_eq!(rejected.kind(), kind);
            }
        }
    }
}

/// JSON as it may stand where a string or a number should.
fn member() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[!-~]{1,40}".prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        Just(Value::from("Bearer")),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,4}", inner), 0..3)
                .prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

/// Promise: E2
#[tokio::test(start_paused = true)]
async fn any_successful_status_may_bring_a_token() {
    for status in [200, 201, 202, 203, 206] {
        let body = json!({"access_token": TOKEN, "token_type": "bearer"}).to_string();
        let made = made_of(answer(status, JSON, body)).await;
        assert_is(&made, TOKEN, &status.to_string());
    }
    assert_fails(
        made_of(answer(204, &[], "")).await,
        ErrorKind::InvalidAnswer,
        "an empty body",
        "204",
    );
}

/// Promise: E2
#[tokio::test(start_paused = true)]
async fn an_oauth_error_in_a_successful_answer_is_a_denial_even_beside_a_token() {
    for body in [
        json!({"error": "invalid_client", "error_description": "no such client"}),
        json!({"error": "invalid_client", "error_description": "no such client",
            "access_token": TOKEN, "token_type": "bearer"}),
    ] {
        let made = made_of(granted(&body)).await;
        let part = "200 invalid_client: no such client";
        let error = assert_fails(made, ErrorKind::Denied, part, "an error");
        assert_eq!(error.oauth_code(), Some("invalid_client"));
        assert_eq!(error.status().map(|status| status.as_u16()), Some(200));
        assert!(!error.is_transient());
    }
}

/// Promise: E2, E6
#[tokio::test(start_paused = true)]
async fn an_oauth_error_in_a_successful_answer_comes_with_the_answers_own_status() {
    let body = json!({"error": "invalid_scope"}).to_string();
    let error = made_of(answer(201, JSON, body)).await.unwrap_err();
    assert_eq!(error.oauth_code(), Some("invalid_scope"));
    assert_eq!(error.status().map(|status| status.as_u16()), Some(201));
}

/// Promise: E3
#[tokio::test(start_paused = true)]
async fn an_access_token_that_no_header_may_carry_is_an_error() {
    for token in [
        json!(" "),
        json!("two words"),
        json!(" ory_at_4jSH"),
        json!("ory_at_4jSH\n"),
        json!("ory_at_4jSH\r\nx-admin: yes"),
        json!("ory_at\t4jSH"),
        json!("ory_at\u{0}4jSH"),
        json!("ory_at\u{7F}4jSH"),
        json!("ory_at\u{85}4jSH"),
        json!("ory_ät_4jSH"),
        json!("ory_at_4jSH\u{FEFF}"),
    ] {
        let case = token.to_string();
        let made = made_of(granted_but("access_token", token)).await;
        let error = assert_fails(made, ErrorKind::InvalidAnswer, "no usable token", &case);
        assert!(!error.to_string().contains("4jSH"), "{error}");
    }
}

/// Promise: E3, E8
#[tokio::test(start_paused = true)]
async fn an_answer_without_an_access_token_says_so() {
    for token in [
        json!(""),
        Value::Null,
        json!(12345),
        json!(true),
        json!(["ory_at_4jSH"]),
        json!({"value": "ory_at_4jSH"}),
    ] {
        let case = token.to_string();
        let made = made_of(granted_but("access_token", token)).await;
        let part = "no access_token in the answer";
        let error = assert_fails(made, ErrorKind::InvalidAnswer, part, &case);
        assert!(!error.to_string().contains("4jSH"), "{error}");
    }
    let made = made_of(granted(&json!({"token_type": "Bearer", "expires_in": 60}))).await;
    let part = "no access_token in the answer";
    assert_fails(made, ErrorKind::InvalidAnswer, part, "missing");
}

/// Promise: E3
#[tokio::test(start_paused = true)]
async fn every_visible_ascii_character_may_be_in_an_access_token() {
    let token: String = (b'!'..=b'~').map(char::from).collect();
    let made = made_of(granted_but("access_token", json!(token))).await;
    assert_is(&made, &token, "visible ASCII");
    assert!(made.unwrap().authorization().is_sensitive());
}

/// Promise: E3
#[tokio::test(start_paused = true)]
async fn a_token_type_is_bearer_in_any_case_of_letters_or_empty_or_missing() {
    for token_type in [
        json!("Bearer"),
        json!("bearer"),
        json!("BEARER"),
        json!("bEaReR"),
        json!("BearerToken"),
        json!(""),
        Value::Null,
    ] {
        let case = token_type.to_string();
        assert_is(
            &made_of(granted_but("token_type", token_type)).await,
            TOKEN,
            &case,
        );
    }
    assert_is(
        &made_of(granted(&json!({"access_token": TOKEN}))).await,
        TOKEN,
        "missing",
    );
}

/// Promise: E3, E8
#[tokio::test(start_paused = true)]
async fn a_token_of_another_type_is_a_permanent_error_that_names_the_type() {
    for token_type in ["mac", "DPoP", "dpop", "N_A", "Bearer token", "JWT"] {
        let made = made_of(granted_but("token_type", json!(token_type))).await;
        let part = format!("a token of the type {token_type:?}");
        let error = assert_fails(made, ErrorKind::InvalidAnswer, &part, token_type);
        assert!(!error.is_transient(), "{token_type}");
    }
    let long = json!("x".repeat(10_000));
    let error = made_of(granted_but("token_type", long)).await.unwrap_err();
    assert!(error.to_string().len() < 400, "{error}");
}

/// As from proxies of ASP.NET.
///
/// Promise: E8
#[tokio::test(start_paused = true)]
async fn an_empty_error_beside_a_token_is_none() {
    for error in [json!(""), json!(" "), Value::Null] {
        let case = error.to_string();
        assert_is(&made_of(granted_but("error", error)).await, TOKEN, &case);
    }
    let body = json!({"error": "", "error_description": "try later"}).to_string();
    let made = made_of(answer(400, JSON, body)).await;
    let part = "answered 400: try later";
    let error = assert_fails(made, ErrorKind::Unavailable, part, "without a token");
    assert_eq!(error.oauth_code(), None);
}

/// As from managed identities of Azure, which have no `expires_in`, and from Keystone.
///
/// Promise: E8, L6
#[tokio::test(start_paused = true)]
async fn an_end_by_the_wall_clock_counts_where_there_is_no_expires_in() {
    let seconds = Duration::from_secs;
    let end = SystemTime::now() + seconds(600);
    let since_1970 = end
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    for (name, value) in [
        ("expires_on", json!(since_1970)),
        ("expires_on", json!(since_1970.to_string())),
        ("expires", json!(since_1970)),
        ("expires", json!(httpdate::fmt_http_date(end))),
    ] {
        let case = format!("{name}: {value}");
        let body = json!({"access_token": TOKEN, name: value});
        let lifetime = made_of(granted(&body)).await.unwrap().lifetime().unwrap();
        assert!(lifetime <= seconds(600), "{case}: {lifetime:?}");
        assert!(lifetime > seconds(570), "{case}: {lifetime:?}");

        let body = json!({"access_token": TOKEN, name: value, "expires_in": 60});
        let lifetime = made_of(granted(&body)).await.unwrap().lifetime();
        assert_eq!(lifetime, Some(seconds(60)), "{case}");
    }
    for (name, value, lifetime) in [
        ("expires", json!("2101-01-01T00:00:00Z"), None),
        ("expires_on", json!(1_500_000_000), Some(Duration::ZERO)),
        (
            "expires",
            json!("2017-07-14T02:40:00.5Z"),
            Some(Duration::ZERO),
        ),
        ("expires", json!("soon"), None),
        ("expires", json!(3600), None),
    ] {
        let case = format!("{name}: {value}");
        let body = json!({"access_token": TOKEN, name: value});
        let made = made_of(granted(&body)).await.unwrap().lifetime();
        match lifetime {
            None if case.contains("2101") => assert!(made > Some(seconds(2_000_000_000))),
            lifetime => assert_eq!(made, lifetime, "{case}"),
        }
    }
}

/// Promise: E8
#[tokio::test(start_paused = true)]
async fn only_the_members_that_are_asked_for_are_kept_beside_the_token() {
    let body = json!({
        "access_token": TOKEN, "instance_url": "https://na1.example.com", "id_token": "eyJh.eyJp.c2ln",
        "limits": {"daily": 7}, "nothing": null, "x": [1e300],
    });
    let kept = ["instance_url", "limits", "nothing", "absent"];
    let endpoint = Endpoint::new([granted(&body)]);
    let source = builder("https://auth.example.com/oauth2/token").keep(kept);
    let cache = TokenCache::new(source.build_with(endpoint).unwrap());
    let token = cache.get().await.unwrap();
    assert_eq!(token.extra("instance_url"), Some("https://na1.example.com"));
    assert_eq!(token.extra("limits"), Some(r#"{"daily":7}"#));
    for name in ["nothing", "absent", "id_token", "access_token", "x"] {
        assert_eq!(token.extra(name), None, "{name}");
    }
    let shown = format!("{token:?}");
    assert!(shown.contains("instance_url"), "{shown}");
    assert!(
        !shown.contains("na1") && !shown.contains("daily"),
        "{shown}"
    );

    let token = made_of(granted(&body)).await.unwrap();
    assert_eq!(token.extra("instance_url"), None);
}

/// Promise: E8
#[test]
fn the_access_token_is_no_member_to_keep() {
    for name in ["", "access_token"] {
        let endpoint = Endpoint::new([]);
        let source = builder("https://auth.example.com/oauth2/token").keep([name]);
        let error = source.build_with(endpoint).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("cannot be kept"), "{error}");
    }
}

/// Promise: L6
#[tokio::test(start_paused = true)]
async fn expires_in_is_read_as_a_number_a_float_or_a_string() {
    let seconds = Duration::from_secs;
    let cases = [
        ("0", Some(seconds(0))),
        ("1", Some(seconds(1))),
        ("2", Some(seconds(2))),
        ("60", Some(seconds(60))),
        ("300", Some(seconds(300))),
        ("86399", Some(seconds(86_399))),
        ("18446744073709551615", Some(seconds(u64::MAX))),
        ("18446744073709551616", Some(Duration::MAX)),
        ("1e300", Some(Duration::MAX)),
        ("3600.0", Some(seconds(3600))),
        ("3.6e3", Some(seconds(3600))),
        ("0.5", Some(Duration::from_millis(500))),
        ("-0.0", Some(Duration::ZERO)),
        ("-1", Some(Duration::ZERO)),
        ("-9223372036854775808", Some(Duration::ZERO)),
        ("-1e300", Some(Duration::ZERO)),
        ("null", None),
        (r#""3600""#, Some(seconds(3600))),
        (r#"" 3600 ""#, Some(seconds(3600))),
        (r#""3600.5""#, Some(Duration::from_millis(3_600_500))),
        (r#""-1""#, Some(Duration::ZERO)),
        (r#""18446744073709551616""#, Some(Duration::MAX)),
        (r#""1e400""#, Some(Duration::MAX)),
        (r#""-1e400""#, Some(Duration::ZERO)),
        (r#""""#, None),
        (r#""NaN""#, None),
        (r#""1 hour""#, None),
        (r#""0x10""#, None),
        ("true", None),
        ("[3600]", None),
        (r#"{"seconds":3600}"#, None),
    ];
    for (expires_in, lifetime) in cases {
        let body = format!(r#"{{"access_token":"{TOKEN}","expires_in":{expires_in}}}"#);
        let made = made_of(answer(200, JSON, body)).await;
        assert_is(&made, TOKEN, expires_in);
        assert_eq!(made.unwrap().lifetime(), lifetime, "{expires_in}");
    }
    let made = made_of(granted(&json!({"access_token": TOKEN}))).await;
    assert_eq!(made.unwrap().lifetime(), None, "missing");
}

/// Promise: L6
#[tokio::test(start_paused = true)]
async fn an_expires_in_that_is_no_json_number_of_this_world_is_a_typed_error() {
    for expires_in in ["1e400", "-1e400", "NaN", "Infinity", "0x10", "03600"] {
        let body = format!(r#"{{"access_token":"{TOKEN}","expires_in":{expires_in}}}"#);
        let made = made_of(answer(200, JSON, body)).await;
        let part = "not a JSON token response";
        assert_fails(made, ErrorKind::InvalidAnswer, part, expires_in);
    }
}

/// Promise: L6
#[tokio::test(start_paused = true)]
async fn no_expires_in_upsets_the_cache() {
    for (expires_in, usable) in [
        (json!(0), true),
        (json!(-1), true),
        (json!(1), true),
        (json!(u64::MAX), true),
        (json!("1e400"), true),
        (Value::Null, true),
    ] {
        let case = expires_in.to_string();
        let endpoint = Endpoint::new([granted_but("expires_in", expires_in)]);
        let cache = TokenCache::new(over(&endpoint));
        for _ in 0..3 {
            match cache.get().await {
                Ok(token) => assert_is(&Ok(token), TOKEN, &case),
                Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidAnswer, "{case}"),
            }
        }
        assert_eq!(cache.get().await.is_ok(), usable, "{case}");
        assert_eq!(endpoint.posts(), 1, "{case}");
    }
}

/// Promise: E4
#[tokio::test(start_paused = true)]
async fn a_redirect_is_a_denial_that_names_the_host_and_nothing_else_of_its_target() {
    for status in [300, 301, 302, 303, 304, 305, 307, 308, 399] {
        for (location, named) in [
            (
                Some("https://login.example.net/sso?state=dGhl"),
                " to login.example.net)",
            ),
            (
                Some("https://u:pw@login.example.net:8443/"),
                " to login.example.net)",
            ),
            (Some("/oauth2/token/"), "(a redirect)"),
            (Some("//login.example.net/"), "(a redirect)"),
            (Some("no url: at all"), "(a redirect)"),
            (None, "(a redirect)"),
        ] {
            let headers: Vec<_> = location.map(|to| ("location", to)).into_iter().collect();
            let made = made_of(answer(status, &headers, "")).await;
            let case = format!("{status} {location:?}");
            let error = assert_fails(made, ErrorKind::Denied, named, &case);
            assert_eq!(error.status().map(|status| status.as_u16()), Some(status));
            assert!(!error.is_transient(), "{case}");
            let message = error.to_string();
            assert!(message.contains("not followed"), "{message}");
            for hidden in ["sso", "dGhl", "pw", "8443"] {
                assert!(!message.contains(hidden), "{message}");
            }
        }
    }
}

/// Promise: E6
#[tokio::test(start_paused = true)]
async fn an_error_answer_surfaces_its_status_code_and_description() {
    use ErrorKind::{Denied, Unavailable};
    let cases: &[(u16, &str, Option<&str>, &str, ErrorKind)] = &[
        (
            400,
            r#"{"error":"invalid_scope","error_description":"no such scope"}"#,
            Some("invalid_scope"),
            "answered 400 invalid_scope: no such scope",
            Denied,
        ),
        (
            401,
            r#"{"error":"invalid_client"}"#,
            Some("invalid_client"),
            "answered 401 invalid_client",
            Denied,
        ),
        (
            400,
            r#"{"error":"unsupported_grant_type","error_description":null}"#,
            Some("unsupported_grant_type"),
            "answered 400 unsupported_grant_type",
            Denied,
        ),
        (
            400,
            r#"{"error":"unauthorized_client","error_uri":"https://e.example/1"}"#,
            Some("unauthorized_client"),
            "answered 400 unauthorized_client",
            Denied,
        ),
        (
            403,
            r#"{"error":"x_custom","extra":[1,{}]}"#,
            Some("x_custom"),
            "answered 403 x_custom",
            Denied,
        ),
        // Not the token endpoint's own words: L16.
        (403, "", None, "answered 403", Unavailable),
        (404, "<h1>Not Found</h1>", None, "answered 404", Unavailable),
        (405, "Method Not Allowed", None, "answered 405", Unavailable),
        (
            408,
            r#"{"error":"timeout"}"#,
            Some("timeout"),
            "408",
            Unavailable,
        ),
        (409, "", None, "answered 409", Unavailable),
        (429, "slow down", None, "answered 429", Unavailable),
        (
            500,
            r#"{"error":"server_error","error_description":"boom"}"#,
            Some("server_error"),
            "answered 500 server_error: boom",
            Unavailable,
        ),
        (502, "<html>", None, "answered 502", Unavailable),
        (
            503,
            r#"{"error":{"code":503,"message":"no"}}"#,
            None,
            "answered 503",
            Unavailable,
        ),
        (504, "", None, "answered 504", Unavailable),
        (599, "", None, "answered 599", Unavailable),
    ];
    for &(status, body, code, part, kind) in cases {
        let case = format!("{status} {body}");
        let made = made_of(answer(status, JSON, body)).await;
        let error = assert_fails(made, kind, part, &case);
        assert_eq!(error.status().map(|status| status.as_u16()), Some(status));
        assert_eq!(error.oauth_code(), code, "{case}");
        assert_eq!(error.is_transient(), kind == Unavailable, "{case}");
    }
}

/// Promise: E6, E8
#[tokio::test(start_paused = true)]
async fn an_error_of_any_shape_tells_what_it_says() {
    for (status, body, said) in [
        // Okta, and the RFC's own.
        (
            400,
            r#"{"errorCode":"E0000021","errorSummary":"Bad media type"}"#,
            "answered 400: Bad media type",
        ),
        (
            401,
            r#"{"error":"invalid_client","error_uri":"https://e.example/1"}"#,
            "401 invalid_client (see https://e.example/1)",
        ),
        // AWS and gateways.
        (
            403,
            r#"{"message":"Forbidden by policy"}"#,
            "answered 403: Forbidden by policy",
        ),
        (
            400,
            r#"{"__type":"X","Message":"denied"}"#,
            "answered 400: denied",
        ),
        // Azure, Google, Cloudflare, Salesforce.
        (
            400,
            r#"{"error":{"code":"BadRequest","message":"no such tenant"}}"#,
            "answered 400: no such tenant",
        ),
        (
            400,
            r#"{"success":false,"errors":[{"code":9109,"message":"Invalid access"}]}"#,
            "answered 400: Invalid access",
        ),
        (
            400,
            r#"[{"errorCode":"X","message":"unknown app"}]"#,
            "answered 400: unknown app",
        ),
        // RFC 9457.
        (
            422,
            r#"{"type":"about:blank","title":"Wrong","detail":"the form is wrong"}"#,
            "answered 422: the form is wrong",
        ),
        (422, r#"{"title":"Wrong"}"#, "answered 422: Wrong"),
        (
            400,
            "\u{FEFF}{\"message\":\"marked\"}",
            "answered 400: marked",
        ),
        (400, "  Bad client\r\n", "answered 400: Bad client"),
        (
            403,
            "<html><head>\n<TITLE lang=en>Request &quot;blocked&quot;</TITLE>",
            "answered 403: Request \"blocked\"",
        ),
    ] {
        let error = made_of(answer(status, &[], body)).await.unwrap_err();
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
    // Nothing for people, or nothing that may be shown.
    for body in [
        &b"<p>no title"[..],
        b"{\"message\":7}",
        b"{\"message\":\" \"}",
        b"{\"message\":\"cut",
        b"\xFF\xFEtext",
        b"\x1F\x8B\x08\0",
        b"access_token=ory_at_4jSH&token_type=bearer",
        b"\"ory_at_4jSH\"",
    ] {
        let error = made_of(answer(403, &[], body)).await.unwrap_err();
        assert_eq!(told(&error), "the token endpoint answered 403");
    }
    let twice = format!(
        r#"{{"access_token":"{TOKEN}","access_token":"{TOKEN}","message":"{TOKEN} is over"}}"#
    );
    let error = made_of(answer(403, JSON, twice)).await.unwrap_err();
    assert_eq!(told(&error), "the token endpoint answered 403");
    let made = made_of(answer(500, &[], "x".repeat(60_000))).await;
    let message = told(&made.unwrap_err());
    assert!(message.ends_with(&("x".repeat(300) + "…")), "{message}");
}

/// Promise: E8, L16
#[tokio::test(start_paused = true)]
async fn an_answer_that_says_nothing_is_here_asks_about_the_token_url() {
    for status in [404, 405, 410] {
        for body in [
            "",
            "<title>Not Found</title>",
            // Spring's words for the status are no OAuth error.
            r#"{"status":404,"error":"Not Found","path":"/token"}"#,
        ] {
            if status != 404 && body.contains("error") {
                continue;
            }
            let made = made_of(answer(status, &[], body)).await;
            let part = "[is the token URL right?]";
            let error = assert_fails(made, ErrorKind::Unavailable, part, body);
            assert_eq!(error.oauth_code(), None);
        }
    }
    let body = r#"{"error":"invalid_client"}"#;
    let error = made_of(answer(404, JSON, body)).await.unwrap_err();
    assert!(!error.to_string().contains("URL"), "{error}");
}

/// Promise: E8
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_compressed_unasked_says_so() {
    let gzip: Headers = &[("content-encoding", "gzip")];
    let body = b"\x1F\x8B\x08\0\0\0\0\0\0\x03\xAB\x06\0";
    for status in [200, 400, 502] {
        let made = made_of(answer(status, gzip, &body[..])).await;
        let message = made.unwrap_err().to_string();
        assert!(message.contains("`Content-Encoding: gzip`"), "{message}");
    }
    // A gateway may have decompressed it, and a server may say so of what is plain.
    for encoding in ["gzip", "identity", ""] {
        let body = json!({"access_token": TOKEN}).to_string();
        let made = made_of(answer(200, &[("content-encoding", encoding)], body)).await;
        assert_is(&made, TOKEN, encoding);
    }
    let made = made_of(answer(403, gzip, r#"{"message":"plain"}"#)).await;
    let message = told(&made.unwrap_err());
    assert!(message.ends_with("answered 403: plain"), "{message}");
}

/// Promise: E9
#[tokio::test(start_paused = true)]
async fn no_redaction_changes_an_error_code_that_a_program_reads() {
    for (secret, code) in [
        ("temporarily", "temporarily_unavailable"),
        ("invalid", "invalid_client"),
        ("client", "invalid_client"),
        ("e", "server_error"),
    ] {
        let body = json!({"error": code, "error_description": "wrong: temporarily"}).to_string();
        let endpoint = Endpoint::new([answer(400, JSON, body)]);
        let source =
            ClientCredentials::builder("https://auth.example.com/oauth2/token", ID, secret);
        let made = token_request(source.build_with(endpoint).unwrap()).await;
        let error = made.unwrap_err();
        assert_eq!(error.oauth_code(), Some(code), "{secret}");
        assert_eq!(error.is_transient(), code != "invalid_client", "{secret}");
        let message = error.to_string();
        assert!(
            message.contains(&format!("answered 400 {code}: wrong")),
            "{message}"
        );
        // Text for people is searched, for what is long enough to be a secret.
        let is_hidden = message.contains("[redacted]");
        assert_eq!(is_hidden, secret == "temporarily", "{message}");
    }
    for code in [SECRET.to_owned(), format!("bad secret: {SECRET}")] {
        let body = json!({"error": code}).to_string();
        let error = made_of(answer(400, JSON, body)).await.unwrap_err();
        assert!(!error.oauth_code().unwrap().contains(SECRET), "{error}");
    }
}

/// Promise: E6
#[tokio::test(start_paused = true)]
async fn a_description_that_is_no_string_does_not_hide_the_code() {
    for rest in [
        r#""error_description":["no such client"]"#,
        r#""error_description":{"en":"no such client"}"#,
        r#""error_uri":null,"error_description":7"#,
        r#""error_uri":["https://e.example/1"]"#,
    ] {
        let body = format!(r#"{{"error":"invalid_client",{rest}}}"#);
        let error = made_of(answer(401, JSON, body)).await.unwrap_err();
        assert_eq!(error.oauth_code(), Some("invalid_client"), "{rest}");
    }
}

/// Promise: E6
#[tokio::test(start_paused = true)]
async fn a_description_is_bounded_and_on_one_line() {
    for text in [
        "x".repeat(1024 * 1024),
        "x".repeat(60 * 1024),
        "é".repeat(20_000),
        "\u{1F511}".repeat(10_000),
        "line\r\n".repeat(5_000),
        "\u{1B}[31m\u{0}\u{7}\u{8}\u{7F}\u{85}\t".repeat(100),
        SECRET.repeat(4_000),
    ] {
        for body in [
            json!({"error": "invalid_client", "error_description": text}),
            json!({"error": text, "error_description": text}),
        ] {
            for status in [200, 401, 503] {
                let made = made_of(answer(status, JSON, body.to_string())).await;
                let error = made.unwrap_err();
                let message = error.to_string();
                assert!(message.chars().count() < 1024, "{message}");
                assert!(!message.contains(char::is_control), "{message}");
                let code = error.oauth_code().unwrap_or_default();
                assert!(code.chars().count() < 512, "{code}");
                assert!(!code.contains(char::is_control), "{code}");
            }
        }
    }
}

/// Promise: E6
#[tokio::test(start_paused = true)]
async fn no_separator_or_direction_mark_of_unicode_breaks_a_descriptions_line() {
    let text = "a\u{2028}b\u{2029}c\u{202E}d\u{2066}e";
    let body = json!({"error": "invalid_client", "error_description": text}).to_string();
    let error = made_of(answer(401, JSON, body)).await.unwrap_err();
    let message = error.to_string();
    for mark in ['\u{2028}', '\u{2029}', '\u{202E}', '\u{2066}'] {
        assert!(!message.contains(mark), "{mark:?} in {message:?}");
    }
}

/// Promise: E6
#[tokio::test(start_paused = true)]
async fn a_server_that_names_the_right_authentication_method_is_understood() {
    for (method, advice) in [
        ("client_secret_post", Some("; use `ClientAuth::post`]")),
        ("client_secret_basic", Some("; use `ClientAuth::basic`]")),
        ("client_secret_jwt", Some("; use `ClientAuth::secret_jwt`]")),
        (
            "private_key_jwt",
            Some("; use `ClientAuth::private_key_jwt`]"),
        ),
        ("tls_client_auth", Some("; use `ClientAuth::tls`]")),
        ("none", Some("; use `ClientAuth::none`]")),
        ("another", None),
        ("", None),
    ] {
        let description = format!(
            "The OAuth 2.0 Client supports client authentication method '{method}', but method 'x' was requested."
        );
        let body = json!({"error": "invalid_client", "error_description": description});
        let made = made_of(answer(401, JSON, body.to_string())).await;
        let message = told(&made.unwrap_err());
        match advice {
            Some(advice) => assert!(message.ends_with(advice), "{message}"),
            // All that are left are named.
            None => assert!(message.contains("; check the secret; "), "{message}"),
        }
    }
}

/// Promise: E6, L11
#[tokio::test(start_paused = true)]
async fn retry_after_is_surfaced_in_seconds_and_as_a_date() {
    let seconds = Duration::from_secs;
    for (value, retry_after) in [
        ("7", Some(seconds(7))),
        (" 120 ", Some(seconds(120))),
        ("0", Some(seconds(0))),
        // No more than a day is told.
        ("86401", Some(seconds(86_400))),
        ("18446744073709551615", Some(seconds(86_400))),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(seconds(0))),
        ("Sunday, 06-Nov-94 08:49:37 GMT", Some(seconds(0))),
        ("-7", None),
        ("1.5", None),
        ("18446744073709551616", None),
        ("soon", None),
        ("", None),
    ] {
        for status in [400, 429, 503] {
            let made = made_of(answer(status, &[("retry-after", value)], "")).await;
            assert_eq!(
                made.unwrap_err().retry_after(),
                retry_after,
                "{status} {value:?}"
            );
        }
    }

    let date = httpdate::fmt_http_date(SystemTime::now() + seconds(90));
    let made = made_of(answer(503, &[("retry-after", &date)], "")).await;
    let retry_after = made.unwrap_err().retry_after().unwrap();
    // A date has no fractions, and the clock went on.
    assert!(
        seconds(60) < retry_after && retry_after <= seconds(90),
        "{retry_after:?}"
    );
}

/// Promise: E6, L11
#[tokio::test(start_paused = true)]
async fn retry_after_is_kept_by_the_cache_and_its_cause_told() {
    let endpoint = Endpoint::new([answer(503, &[("retry-after", "7")], "")]);
    let cache = TokenCache::new(over(&endpoint));
    let first = cache.get().await.unwrap_err();
    assert_eq!(first.retry_after(), Some(Duration::from_secs(7)));

    tokio::time::advance(Duration::from_secs(2)).await;
    let second = cache.get().await.unwrap_err();
    assert_eq!(second.retry_after(), Some(Duration::from_secs(5)));
    assert_eq!(second.kind(), ErrorKind::Unavailable);
    assert_eq!(second.status(), first.status());
    let beginning = format!("no token: {first}; ");
    assert!(second.to_string().starts_with(&beginning), "{second}");
    assert_eq!(endpoint.posts(), 1);
}

/// Promise: E6
#[tokio::test(start_paused = true)]
async fn a_request_in_the_body_is_a_post_of_exactly_what_was_asked_for() {
    let endpoint = Endpoint::new([granted_but("scope", json!("a b"))]);
    let source = builder("https://auth.example.com/oauth2/token?tenant=7")
        .scope("a")
        .scope("b")
        .audience("https://api.example.com/?x=1&y=ä")
        .audience("another")
        .resource("https://one.example")
        .resource("urn:example:two")
        .param("tenant", "7")
        .param("tenant", "8")
        .build_with(endpoint.clone())
        .unwrap();
    let token = token_request(source).await.unwrap();
    assert_eq!(
        token.scopes().map(|scopes| scopes.collect::<Vec<_>>()),
        Some(vec!["a", "b"])
    );

    let [request] = &endpoint.requests()[..] else {
        panic!("one request");
    };
    assert_eq!(request.method(), Method::POST);
    assert_eq!(
        request.uri(),
        "https://auth.example.com/oauth2/token?tenant=7"
    );
    assert_eq!(
        request.headers()[CONTENT_TYPE],
        "application/x-www-form-urlencoded"
    );
    assert_eq!(request.headers()[ACCEPT], "application/json");
    assert!(!request.headers().contains_key(AUTHORIZATION));
    assert_eq!(
        form(request.body()),
        [
            ("audience", "another"),
            ("audience", "https://api.example.com/?x=1&y=ä"),
            ("client_id", ID),
            ("client_secret", SECRET),
            ("grant_type", "client_credentials"),
            ("resource", "https://one.example"),
            ("resource", "urn:example:two"),
            ("scope", "a b"),
            ("tenant", "7"),
            ("tenant", "8"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

/// Promise: E6, S4
#[tokio::test(start_paused = true)]
async fn basic_is_form_encoded_and_basic_raw_is_not() {
    for (auth, pair) in [
        (ClientAuth::basic(SECRET), "c1:s3cret%3A%2F%2B%25%26%3D%7Ex"),
        (ClientAuth::basic_raw(SECRET), "c1:s3cret:/+%&=~x"),
    ] {
        let endpoint = Endpoint::new([granted_but("x", Value::Null)]);
        let token_url = "https://auth.example.com/oauth2/token";
        let source = ClientCredentials::builder(token_url, ID, auth.clone())
            .build_with(endpoint.clone())
            .unwrap();
        token_request(source).await.unwrap();

        let [request] = &endpoint.requests()[..] else {
            panic!("one request");
        };
        let mut authorizations = request.headers().get_all(AUTHORIZATION).iter();
        let authorization = authorizations.next().unwrap();
        assert!(authorizations.next().is_none(), "{auth:?}");
        assert!(authorization.is_sensitive(), "{auth:?}");
        let sent = authorization.to_str().unwrap().strip_prefix("Basic ");
        let sent = BASE64_STANDARD.decode(sent.unwrap()).unwrap();
        assert_eq!(String::from_utf8(sent).unwrap(), pair);
        // Neither id nor secret a second time, and no scope where none is asked for.
        assert_eq!(request.body(), "grant_type=client_credentials");
    }
}

/// A form's fields, sorted: their order means nothing.
fn form(body: &[u8]) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> =
        url::form_urlencoded::parse(body).into_owned().collect();
    fields.sort();
    fields
}

mod recorded {
    //! What real servers answered. Not only at their token endpoints: nothing else may upset the client either.

    use super::*;

    const FILES: [(&str, &str); 5] = [
        (
            "django-oauth-toolkit",
            include_str!("answers/django-oauth-toolkit.json"),
        ),
        ("hydra-engine", include_str!("answers/hydra-engine.json")),
        (
            "hydra-engine-ttl2",
            include_str!("answers/hydra-engine-ttl2.json"),
        ),
        ("oidc-provider", include_str!("answers/oidc-provider.json")),
        (
            "oidc-provider-ttl2-dpop-nonce",
            include_str!("answers/oidc-provider-ttl2-dpop-nonce.json"),
        ),
    ];

    struct Recorded {
        name: String,
        answer: Response<Bytes>,
    }

    fn recorded() -> Vec<Recorded> {
        let of_file = |(file, text): (&str, &str)| {
            let cases: Vec<Value> = serde_json::from_str(text).unwrap();
            let of_case = |case: &Value| {
                let headers: Vec<(&str, &str)> = case["headers"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|header| (header[0].as_str().unwrap(), header[1].as_str().unwrap()))
                    .collect();
                let status = u16::try_from(case["status"].as_u64().unwrap()).unwrap();
                let body = case["body"].as_str().unwrap().to_owned();
                Recorded {
                    name: format!("{file}: {}", case["case"].as_str().unwrap()),
                    answer: answer(status, &headers, body),
                }
            };
            cases.iter().map(of_case).collect::<Vec<_>>()
        };
        FILES.into_iter().flat_map(of_file).collect()
    }

    async fn made_of_case(name: &str) -> Result<Token, Error> {
        let case = recorded().into_iter().find(|case| case.name == name);
        made_of(case.expect(name).answer).await
    }

    /// The token in a body, JSON or not: some bodies were cut when they were recorded.
    fn token_in(body: &str) -> Option<&str> {
        let (_, rest) = body.split_once("\"access_token\"")?;
        let (_, rest) = rest.split_once('"')?;
        rest.split(['"', '\n']).next()
    }

    /// Promise: E1, E3, E6, L6
    #[tokio::test(start_paused = true)]
    async fn every_recorded_answer_is_its_token_or_a_typed_error_without_it() {
        let cases = recorded();
        let bodies: Vec<String> = cases
            .iter()
            .map(|case| String::from_utf8(case.answer.body().to_vec()).unwrap())
            .collect();
        let tokens: BTreeSet<&str> = bodies.iter().filter_map(|body| token_in(body)).collect();
        let (mut given, mut denied, mut unusable) = (0, 0, 0);
        for (Recorded { name, answer }, body) in cases.into_iter().zip(&bodies) {
            let status = answer.status();
            let json: Value = serde_json::from_str(body).unwrap_or_default();
            let bearer = json["token_type"]
                .as_str()
                .is_some_and(|token_type| token_type.eq_ignore_ascii_case("bearer"));
            let made = made_of(answer).await;
            let error = match (json["access_token"].as_str(), made) {
                (Some(token), Ok(made)) if status == 200 && bearer => {
                    assert_is(&Ok(made.clone()), token, &name);
                    let lifetime = json["expires_in"].as_u64().map(Duration::from_secs);
                    assert_eq!(made.lifetime(), lifetime, "{name}");
                    let scopes = json["scope"]
                        .as_str()
                        .map(|scope| scope.split_whitespace().collect::<Vec<_>>());
                    let made = made.scopes().map(|scopes| scopes.collect::<Vec<_>>());
                    assert_eq!(made, scopes, "{name}");
                    given += 1;
                    continue;
                }
                (_, made) => made.expect_err(&name),
            };
            let message = error.to_string();
            if status == 200 {
                assert_eq!(error.kind(), ErrorKind::InvalidAnswer, "{name}: {message}");
                unusable += 1;
            } else {
                // A 404 without an OAuth error may be a gateway's (L16).
                let kind = match json["error"].as_str() {
                    Some(_) => ErrorKind::Denied,
                    None => ErrorKind::Unavailable,
                };
                assert_eq!(error.kind(), kind, "{name}: {message}");
                assert_eq!(error.status(), Some(status), "{name}");
                assert!(message.contains(status.as_str()), "{name}: {message}");
                assert_eq!(error.oauth_code(), json["error"].as_str(), "{name}");
                let description = json["error_description"].as_str().unwrap_or_default();
                let begin: String = description.chars().take(300).collect();
                assert!(message.contains(&begin), "{name}: {message}");
                denied += 1;
            }
            for token in &tokens {
                assert!(!message.contains(token), "{name}: {message}");
                assert!(!format!("{error:?}").contains(token), "{name}: {error:?}");
            }
        }
        // Whatever the files come to hold, these are what they must not lose.
        assert!(given >= 20 && denied >= 60 && unusable >= 20 && tokens.len() >= 20);
    }

    /// Promise: E6
    #[tokio::test(start_paused = true)]
    async fn hydra_tells_a_client_with_the_wrong_method_which_one_to_use() {
        for (name, advice) in [
            ("basic used by a post client", "; use `ClientAuth::post`]"),
            ("post used by a basic client", "; use `ClientAuth::basic`]"),
        ] {
            let made = made_of_case(&format!("hydra-engine: {name}")).await;
            let part = "answered 401 invalid_client: Client authentication failed";
            let error = assert_fails(made, ErrorKind::Denied, part, name);
            assert_eq!(error.oauth_code(), Some("invalid_client"));
            assert!(told(&error).ends_with(advice), "{error}");
        }
        let made = made_of_case("hydra-engine: post wrong secret").await;
        let message = made.unwrap_err().to_string();
        assert!(message.contains("; check the secret; "), "{message}");
    }

    /// Promise: E6
    #[tokio::test(start_paused = true)]
    async fn a_secret_that_is_not_encoded_as_the_server_wants_is_told_in_its_words() {
        for (name, part) in [
            (
                "hydra-engine: basic raw",
                "400 invalid_request: The request is missing a required parameter",
            ),
            (
                "oidc-provider: basic, RAW (not urlencoded) secret",
                "400 invalid_request: client_id and client_secret in the authorization header are not properly encoded",
            ),
            ("django-oauth-toolkit: basic raw", "401 invalid_client"),
        ] {
            assert_fails(made_of_case(name).await, ErrorKind::Denied, part, name);
        }
    }

    /// Promise: E3, E6
    #[tokio::test(start_paused = true)]
    async fn a_server_that_insists_on_dpop_gives_no_token() {
        let name = "oidc-provider: DPoP: proof with nonce";
        let made = made_of_case(name).await;
        let part = r#"of the type "DPoP""#;
        assert_fails(made, ErrorKind::InvalidAnswer, part, name);

        let name = "oidc-provider-ttl2-dpop-nonce: DPoP: proof, no nonce";
        let made = made_of_case(name).await;
        let error = assert_fails(made, ErrorKind::Denied, "400 use_dpop_nonce", name);
        assert_eq!(error.oauth_code(), Some("use_dpop_nonce"));
    }
}

#[cfg(feature = "rustls")]
mod over_sockets {
    //! What needs a socket, with the transport that works out of the box. Time is real here: paused time runs on
    //! whenever everyone waits for a socket.

    use std::{error::Error as StdError, net::SocketAddr};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpSocket, TcpStream},
        time::interval,
    };

    use super::*;

    /// A server that does what each test says.
    struct Server {
        listener: TcpListener,
        address: SocketAddr,
    }

    impl Server {
        async fn bind() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            Self { listener, address }
        }

        fn source(&self) -> ClientCredentials {
            let token_url = format!("http://{}/oauth2/token", self.address);
            builder(&token_url).scopes(["a", "b"]).build().unwrap()
        }

        /// Takes a connection and reads the request on it.
        async fn accept(&self) -> (TcpStream, String) {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let request = read_request(&mut stream).await;
            (stream, request)
        }

        /// Answers the one request of the one connection.
        async fn answer(&self, answer: &[u8]) -> String {
            let (mut stream, request) = self.accept().await;
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
            // Until the client closes too, so that a second request on this connection would be seen.
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert_eq!(String::from_utf8_lossy(&rest), "");
            self.saw_no_other_connection().await;
            request
        }

        /// Makes sure that nobody waits to be accepted: the next in the queue is one who comes only now.
        async fn saw_no_other_connection(&self) {
            let own = TcpStream::connect(self.address).await.unwrap();
            let (_, next) = self.listener.accept().await.unwrap();
            assert_eq!(next, own.local_addr().unwrap());
        }
    }

    async fn read_request(stream: &mut TcpStream) -> String {
        let mut request = Vec::new();
        loop {
            let text = String::from_utf8(request.clone()).unwrap();
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && body.len() >= content_length(head)
            {
                return text;
            }
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "{text}");
        }
    }

    fn content_length(head: &str) -> usize {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, value)| value.trim().parse().unwrap())
    }

    fn assert_unavailable(made: Result<Token, Error>, case: &str) {
        let part = "could not get an answer from the token endpoint";
        let error = assert_fails(made, ErrorKind::Unavailable, part, case);
        assert!(error.is_transient(), "{case}");
        assert_eq!(error.status(), None, "{case}");
        let mut cause = error.source();
        assert!(cause.is_some(), "{case}");
        while let Some(level) = cause {
            let shown = format!("{level} {level:?}");
            assert!(!shown.contains("s3cret"), "{case}: {shown}");
            cause = level.source();
        }
    }

    /// Promise: E6
    #[tokio::test]
    async fn the_request_on_the_wire_is_a_form_post() {
        let server = Server::bind().await;
        let body = format!(r#"{{"access_token":"{TOKEN}"}}"#);
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        let (made, request) = tokio::join!(
            token_request(server.source()),
            server.answer(answer.as_bytes())
        );
        assert_is(&made, TOKEN, "a keep-alive connection");

        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some("POST /oauth2/token HTTP/1.1"));
        let mut headers: Vec<_> = lines.map(str::to_ascii_lowercase).collect();
        headers.sort();
        assert_eq!(
            headers,
            [
                "accept: application/json".to_owned(),
                format!("content-length: {}", body.len()),
                "content-type: application/x-www-form-urlencoded".to_owned(),
                format!("host: {}", server.address),
                concat!("user-agent: tower-bearer/", env!("CARGO_PKG_VERSION")).to_owned(),
            ]
        );
        assert_eq!(
            form(body.as_bytes()),
            [
                ("client_id", ID),
                ("client_secret", SECRET),
                ("grant_type", "client_credentials"),
                ("scope", "a b"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    /// Promise: E8
    #[tokio::test]
    async fn a_compressed_answer_on_the_wire_says_so() {
        let server = Server::bind().await;
        let mut answer =
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 13\r\n\r\n".to_vec();
        answer.extend(b"\x1F\x8B\x08\0\0\0\0\0\0\x03\xAB\x06\0");
        let (made, request) = tokio::join!(token_request(server.source()), server.answer(&answer));
        let part = "`Content-Encoding: gzip`";
        assert_fails(made, ErrorKind::InvalidAnswer, part, "gzip");
        let request = request.to_ascii_lowercase();
        assert!(!request.contains("accept-encoding"), "{request}");
    }

    /// Promise: E1
    #[tokio::test]
    async fn an_answer_may_be_chunked_or_end_with_its_connection() {
        let body = format!(r#"{{"access_token":"{TOKEN}","expires_in":60}}"#);
        let (one, two) = body.split_at(17);
        for answer in [
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
                one.len(),
                two.len()
            ),
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}"),
            format!("HTTP/1.0 200 OK\r\n\r\n{body}"),
            format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{body}"),
        ] {
            let server = Server::bind().await;
            let (made, _) = tokio::join!(
                token_request(server.source()),
                server.answer(answer.as_bytes())
            );
            assert_is(&made, TOKEN, &answer);
            assert_eq!(made.unwrap().lifetime(), Some(Duration::from_secs(60)));
        }
    }

    /// Promise: E1
    #[tokio::test]
    async fn an_answer_of_100_mib_is_cut_off_and_never_read() {
        const WHOLE: usize = 100 * 1024 * 1024;
        for (head, chunk_head) in [
            (format!("content-length: {WHOLE}"), ""),
            ("connection: close".to_owned(), ""),
            ("transfer-encoding: chunked".to_owned(), "10000\r\n"),
        ] {
            // A small send buffer, inherited by the connection, so that what the server got rid of is what the client
            // took.
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_send_buffer_size(64 * 1024).unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let listener = socket.listen(8).unwrap();
            let address = listener.local_addr().unwrap();
            let server = Server { listener, address };

            let push = async {
                let (mut stream, _) = server.accept().await;
                let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                let mut chunk = chunk_head.as_bytes().to_vec();
                chunk.resize(chunk.len() + 64 * 1024, b' ');
                if !chunk_head.is_empty() {
                    chunk.extend_from_slice(b"\r\n");
                }
                let mut pushed = 0;
                while pushed < WHOLE && stream.write_all(&chunk).await.is_ok() {
                    pushed += chunk.len();
                }
                server.saw_no_other_connection().await;
                pushed
            };
            let (made, pushed) = tokio::join!(token_request(server.source()), push);
            let part = "larger than 64 KiB";
            assert_fails(made, ErrorKind::InvalidAnswer, part, &head);
            assert!(pushed < 4 * 1024 * 1024, "{head}: {pushed} bytes");
        }
    }

    /// Promise: E5
    #[tokio::test]
    async fn one_byte_a_second_is_cut_off_by_the_flights_deadline_for_everyone() {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{{\"access_token\":\"{TOKEN}\",{}",
            " ".repeat(900)
        );
        let head = answer.find('{').unwrap();
        for at_once in [0, head] {
            let server = Server::bind().await;
            let cache = TokenCache::builder(server.source())
                .token_request_timeout(Duration::from_millis(200))
                .build()
                .unwrap();
            let trickle = async {
                let (mut stream, _) = server.accept().await;
                let (now, later) = answer.as_bytes().split_at(at_once);
                stream.write_all(now).await.unwrap();
                let mut tick = interval(Duration::from_secs(1));
                let mut bytes = later.iter();
                loop {
                    tokio::select! {
                        // The client closes: it has given up.
                        _ = stream.read_u8() => break,
                        _ = tick.tick() => {
                            let byte = *bytes.next().unwrap();
                            if stream.write_all(&[byte]).await.is_err() {
                                break;
                            }
                        }
                    }
                }
                server.saw_no_other_connection().await;
                bytes.len()
            };
            let (one, two, three, left) =
                tokio::join!(cache.get(), cache.get(), cache.get(), trickle);
            for made in [one, two, three] {
                let error = assert_fails(made, ErrorKind::Timeout, "200ms", "a trickle");
                assert!(error.is_transient());
            }
            assert!(left > 900);
        }
    }

    /// Promise: E5
    #[tokio::test]
    async fn a_rejected_connection_is_transient() {
        let server = Server::bind().await;
        let source = server.source();
        drop(server);
        assert_unavailable(token_request(source).await, "nobody listens");
    }

    /// Promise: E5
    #[tokio::test]
    async fn a_host_name_that_does_not_resolve_is_transient() {
        // One label longer than DNS allows: resolvers reject it without asking anyone.
        let token_url = format!("https://{}.invalid/token", "a".repeat(64));
        let source = builder(&token_url).build().unwrap();
        assert_unavailable(token_request(source).await, "no such host");
    }

    /// Promise: E5
    #[tokio::test]
    async fn a_connection_that_is_cut_after_the_post_is_transient_and_tried_once_more() {
        let half = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{{\"access_token\":\"{TOKEN}\","
        );
        let chunk =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n40\r\n\"{TOKEN}\"");
        for (case, answer, reset) in [
            ("closed", "", false),
            ("reset", "", true),
            ("closed within the head", "HTTP/1.1 200 OK\r\nconte", false),
            ("closed within the body", &half, false),
            ("reset within the body", &half, true),
            ("closed within a chunk", &chunk, false),
            ("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", false),
        ] {
            let server = Server::bind().await;
            let cut = async {
                for _ in 0..2 {
                    let (mut stream, _) = server.accept().await;
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    if reset {
                        stream.set_zero_linger().unwrap();
                    }
                    drop(stream);
                }
            };
            let (made, ()) = tokio::join!(token_request(server.source()), cut);
            assert_unavailable(made, case);
            server.saw_no_other_connection().await;
        }
    }

    /// Promise: E5
    #[tokio::test]
    async fn a_tls_error_is_transient_and_nothing_was_said_in_the_clear() {
        for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
            let server = Server::bind().await;
            let token_url = format!("https://{}/oauth2/token", server.address);
            let source = builder(&token_url).build().unwrap();
            let plain = async {
                let mut all_seen = Vec::new();
                // A cold token request that cannot connect is tried once more.
                for _ in 0..2 {
                    let (mut stream, _) = server.listener.accept().await.unwrap();
                    let mut seen = vec![0; 64 * 1024];
                    let length = stream.read(&mut seen).await.unwrap();
                    seen.truncate(length);
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    stream.shutdown().await.unwrap();
                    let _ = stream.read_to_end(&mut seen).await;
                    all_seen.extend(seen);
                }
                all_seen
            };
            let (made, seen) = tokio::join!(token_request(source), plain);
            assert_unavailable(made, answer);
            // A TLS handshake record begins so.
            assert_eq!(seen.first(), Some(&0x16));
            assert!(!String::from_utf8_lossy(&seen).contains("s3cret"));
            server.saw_no_other_connection().await;
        }
    }

    /// Promise: E4
    #[tokio::test]
    async fn no_redirect_takes_the_secret_to_another_server() {
        for status in [301, 302, 303, 307, 308] {
            let server = Server::bind().await;
            let other = Server::bind().await;
            let answer = format!(
                "HTTP/1.1 {status} Elsewhere\r\nlocation: http://{}/oauth2/token\r\ncontent-length: 0\r\n\r\n",
                other.address
            );
            let (made, request) = tokio::join!(
                token_request(server.source()),
                server.answer(answer.as_bytes())
            );
            assert!(request.contains("client_secret=s3cret"), "{request}");
            let part = "a redirect to 127.0.0.1), which is not followed";
            let error = assert_fails(made, ErrorKind::Denied, part, &answer);
            assert_eq!(error.status().map(|status| status.as_u16()), Some(status));
            assert!(!error.is_transient());
            other.saw_no_other_connection().await;
        }
    }
}
