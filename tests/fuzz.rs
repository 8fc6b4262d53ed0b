//! What comes from outside, as anything at all: the token endpoint's answers, metadata, `Retry-After`, subject tokens, and
//! `WWW-Authenticate` with what it asks for.
//!
//! Each target takes bytes: every file of its folder in `tests/corpus`, then random ones and mutations of those files.
//! Input that broke something belongs into that folder.
//!
//! ```text
//! cargo test --test fuzz                                                  # 2,000 inputs a target
//! FUZZ_CASES=200000 cargo test --release --test fuzz
//! ```
//!
//! By proptest and not by a coverage-guided fuzzer, which needs a nightly compiler: these run wherever the tests do. The
//! corpus and the dictionary stand in for what coverage would find.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    convert::Infallible,
    env,
    error::Error as _,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::{TestError, TestRunner},
};
use tokio::runtime::{Builder, Runtime};
use tower::{ServiceExt, service_fn};
use tower_bearer::{
    ClientCredentials, Error, Token, TokenCache,
    client_credentials::{TokenExchange, TokenType},
    token::{Reason, TokenRequest},
    unauthorized::{BearerChallenge, ResponseHead, Unauthorized},
};

const ISSUER: &str = "https://auth.test";
const ID: &str = "id";
const SECRET: &str = "hunter2/very/secret";

/// The secret in the forms in which it travels: as it is, form-encoded, and with the id in a Basic header.
const SECRETS: [&str; 4] = [
    SECRET,
    "hunter2%2Fvery%2Fsecret",
    "aWQ6aHVudGVyMi92ZXJ5L3NlY3JldA==",
    "aWQ6aHVudGVyMiUyRnZlcnklMkZzZWNyZXQ=",
];

/// A code and a description of 300 characters of up to four bytes each, and a sentence around them.
const LONGEST_TEXT: usize = 2560;

/// What the answer for a subject token says of its own life: three centuries, beyond most ends.
const LIFE: Duration = Duration::from_secs(10_000_000_000);

/// No more is told of what a server asks for.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// No end is further away: years have four digits.
const EIGHT_THOUSAND_YEARS: Duration = Duration::from_secs(8_000 * 366 * 24 * 60 * 60);

/// What is honoured of a `Retry-After` at most.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Shorter ones are found in any text.
const SHORTEST_TOKEN: usize = 8;

/// The members that are kept beside a token.
const KEPT: [&str; 2] = ["instance_url", "limits"];

/// Promise: E1, E3, E8
#[test]
fn any_bytes_as_a_token_answer_are_a_token_or_an_error() {
    let runtime = runtime();
    fuzz("token_answer", &TOKEN_ANSWER, |body| {
        let answer = Response::new(Full::from(body.to_vec()));
        match runtime.block_on(token_request(answer)).0 {
            Ok(kept) => {
                let authorization = kept.authorization();
                assert!(authorization.is_sensitive());
                let token = authorization.as_bytes().strip_prefix(b"Bearer ").unwrap();
                assert!(!token.is_empty() && token.iter().all(u8::is_ascii_graphic));
                if let Some(given) = access_token(body) {
                    assert_eq!(token, given.as_bytes());
                }
                for name in KEPT {
                    if let Some(members) = object(body) {
                        let member = members.get(name).filter(|member| !member.is_null());
                        let text = member.map(|it| it.as_str().map_or(it.to_string(), Into::into));
                        assert_eq!(kept.extra(name), text.as_deref(), "{name}");
                    }
                }
            }
            Err(error) => shows_nothing(&error, body),
        }
    });
}

/// Promise: E1
#[test]
fn the_corpus_of_token_answers_is_taken_as_its_names_say() {
    let runtime = runtime();
    for (name, body) in corpus("token_answer") {
        let answer = Response::new(Full::from(body));
        let result = runtime.block_on(token_request(answer)).0;
        assert_eq!(
            result.is_ok(),
            name.starts_with("token-"),
            "{name}: {result:?}"
        );
    }
}

/// Promise: E8, L6
#[test]
fn any_bytes_as_an_end_are_a_life_within_reason() {
    let runtime = runtime();
    fuzz("end", &END, |end| {
        let end = String::from_utf8_lossy(end);
        let as_json = serde_json::from_str(&end).ok();
        for value in [Some(serde_json::json!(end)), as_json]
            .into_iter()
            .flatten()
        {
            let now = SystemTime::now();
            for name in ["expires_on", "expires"] {
                let body = serde_json::json!({"access_token": "t", name: value});
                let answer = Response::new(Full::from(body.to_string()));
                let token = runtime.block_on(token_request(answer)).0.unwrap();
                let lifetime = token.lifetime();
                assert!(lifetime < Some(EIGHT_THOUSAND_YEARS), "{lifetime:?}");
                let seconds = end.trim().parse().ok();
                if let Some(end) =
                    seconds.filter(|end| (1_000_000_000..10_000_000_000).contains(end))
                {
                    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(end);
                    let left = end.duration_since(now).unwrap_or_default();
                    let lifetime = lifetime.unwrap();
                    assert!(lifetime <= left, "{lifetime:?}, {left:?}");
                    assert!(
                        lifetime + Duration::from_secs(60) > left,
                        "{lifetime:?}, {left:?}"
                    );
                }
            }
        }
    });
}

/// Promise: E1, E8, S2, S4
#[test]
fn any_bytes_as_metadata_send_the_secret_nowhere_but_to_a_token_endpoint_of_the_issuers() {
    let runtime = runtime();
    fuzz("metadata", &METADATA, |body| {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, metadata) = (Arc::clone(&asked), Bytes::copy_from_slice(body));
        let source = ClientCredentials::discover(ISSUER, ID, SECRET)
            .build_with(service_fn(move |request: http::Request<Full<Bytes>>| {
                let body = match *request.method() {
                    http::Method::POST => {
                        seen.lock().unwrap().push(request.uri().clone());
                        Bytes::from_static(br#"{"access_token":"t"}"#)
                    }
                    _ => metadata.clone(),
                };
                async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
            }))
            .unwrap();
        let made = runtime.block_on(TokenCache::new(source).get());

        let asked = asked.lock().unwrap();
        match made {
            Ok(_) => {
                // Bytes that are no text are passed over in members that nobody reads.
                let metadata = object(String::from_utf8_lossy(body).as_bytes()).unwrap();
                assert_eq!(metadata["issuer"], ISSUER);
                assert_eq!(asked.len(), 1);
                assert_eq!(asked[0].scheme_str(), Some("https"));
                let named = metadata["token_endpoint"].as_str().unwrap();
                let named = url::Url::parse(named).unwrap();
                assert_eq!(asked[0].host(), named.host_str());
            }
            Err(error) => {
                assert!(asked.is_empty());
                shows_nothing(&error, body);
            }
        }
    });
}

/// Promise: E6, L11, S4
#[test]
fn any_bytes_as_an_error_answer_are_an_error_that_shows_no_secret() {
    let runtime = runtime();
    fuzz("error_answer", &ERROR_ANSWER, |answer| {
        let (status, headers, body) = read_answer(answer);
        let mut answer = Response::new(Full::from(body.to_vec()));
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;

        let (result, retry_after) = runtime.block_on(token_request(answer));

        let error = result.unwrap_err();
        shows_nothing(&error, body);
        assert_eq!(error.status(), Some(status));
        let transient = matches!(status.as_u16(), 408 | 409 | 429 | 500..=599)
            // Not the token endpoint's own words (L16).
            || status.is_client_error() && error.oauth_code().is_none();
        assert_eq!(error.is_transient(), transient);
        // A tenth of the first step at least, and no longer than is documented.
        let shortest = if transient { 90 } else { 2_900 };
        assert!(retry_after.unwrap() >= Duration::from_millis(shortest));
        assert!(retry_after.unwrap() <= LONGEST_WAIT);
    });
}

/// Promise: L11
#[test]
fn any_bytes_as_retry_after_are_waited_for_five_minutes_at_most() {
    let runtime = runtime();
    fuzz("retry_after", &RETRY_AFTER, |values| {
        let values = header_values(values);
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        for value in &values {
            let name = header::RETRY_AFTER;
            answer.headers_mut().append(name, value.clone());
        }

        let (result, retry_after) = runtime.block_on(token_request(answer));

        let asked = result.unwrap_err().retry_after();
        let retry_after = retry_after.unwrap();
        assert!(retry_after <= LONGEST_WAIT, "{retry_after:?}");
        // The wall clock, which dates are measured by, goes on meanwhile.
        let honoured = asked.unwrap_or_default().min(LONGEST_WAIT);
        assert!(
            retry_after + Duration::from_secs(1) >= honoured,
            "{retry_after:?}, {asked:?}"
        );
        let first = values.first().and_then(|value| value.to_str().ok());
        if let Some(seconds) = first.and_then(|value| value.trim().parse().ok()) {
            let told = Duration::from_secs(seconds).min(DAY);
            assert_eq!(asked, Some(told));
        }
    });
}

/// Promise: R8
#[test]
fn any_bytes_as_challenges_are_a_rejection_or_none() {
    fuzz("challenge", &CHALLENGE, |values| {
        let values = header_values(values);
        let rejected = |status: u16, values: &mut dyn Iterator<Item = &HeaderValue>| {
            let mut response = http::Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for value in values {
                let headers = response.headers_mut();
                headers.append(header::WWW_AUTHENTICATE, value.clone());
            }
            BearerChallenge.is_rejection(&ResponseHead::from(&response))
        };

        let is_rejection = rejected(401, &mut values.iter());

        assert_eq!(rejected(401, &mut values.iter().rev()), is_rejection);
        assert!(!rejected(403, &mut values.iter()));
        // Nothing beside a challenge that a token meets takes its hope away.
        let plain = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
        assert!(rejected(401, &mut values.iter().chain([&plain])));
    });
}

/// Promise: R8
#[test]
fn any_bytes_as_challenges_add_claims_and_allowed_scopes_to_a_token_request_and_nothing_else() {
    let runtime = runtime();
    fuzz("claims", &CLAIMS, |values| {
        let form = runtime.block_on(challenged(header_values(values)));
        let mut names: Vec<_> = form.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.retain(|name| *name != "claims");
        assert_eq!(names, ["client_id", "client_secret", "grant_type", "scope"]);
        assert!(form.len() <= 5, "{form:?}");
        for (name, value) in &form {
            match &**name {
                "scope" => assert!(["read", "read write"].contains(&&**value), "{value}"),
                "claims" => assert!(
                    serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(value).is_ok()
                ),
                _ => {}
            }
        }
    });
}

/// Promise: R8
#[test]
fn the_corpus_of_claims_is_taken_as_its_names_say() {
    let runtime = runtime();
    for (name, values) in corpus("claims") {
        let form = runtime.block_on(challenged(header_values(&values)));
        let has_claims = form.iter().any(|(name, _)| name == "claims");
        assert_eq!(has_claims, name.starts_with("claims-"), "{name}");
        let has_scope = form.iter().any(|(_, value)| value == "read write");
        assert_eq!(has_scope, name.starts_with("scope-"), "{name}");
    }
}

/// The token request of a source that answers challenges, for a token that met these.
async fn challenged(values: Vec<HeaderValue>) -> Vec<(String, String)> {
    let form = Arc::<Mutex<Vec<_>>>::default();
    let seen = Arc::clone(&form);
    let source = ClientCredentials::builder("https://auth.test/token", ID, SECRET)
        .scope("read")
        .step_up_scopes(["write"])
        .answer_claims_challenges()
        .build_with(service_fn(move |request: http::Request<Full<Bytes>>| {
            let seen = Arc::clone(&seen);
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                let form = url::form_urlencoded::parse(&body).into_owned();
                seen.lock().unwrap().extend(form);
                let token = r#"{"access_token":"t","token_type":"bearer"}"#;
                Ok::<_, Infallible>(Response::new(token.to_owned()))
            }
        }))
        .unwrap();
    let request = TokenRequest::new(Reason::Rejected).with_challenges(values);
    source.oneshot(request).await.unwrap();
    let form = form.lock().unwrap();
    form.clone()
}

/// What a platform's token says of its end, with no key to verify it.
#[test]
fn any_bytes_as_the_claims_of_a_subject_token_are_a_life_within_that_of_the_answer() {
    let runtime = runtime();
    fuzz("subject", &SUBJECT, |claims| {
        let subject = format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let source = ClientCredentials::without_client("https://auth.test/token")
            .grant(TokenExchange::new(subject, TokenType::Jwt))
            .build_with(service_fn(async |_: http::Request<Full<Bytes>>| {
                let body = r#"{"access_token":"t","expires_in":10000000000}"#;
                Ok::<_, Infallible>(Response::new(body.to_owned()))
            }));
        let now = SystemTime::now();
        let token = runtime.block_on(source.unwrap().oneshot(TokenRequest::new(Reason::Cold)));
        let lifetime = token.unwrap().lifetime().unwrap();
        let exp = object(claims).and_then(|claims| claims["exp"].as_f64());
        let end = exp
            .and_then(|exp| Duration::try_from_secs_f64(exp).ok())
            .and_then(|exp| SystemTime::UNIX_EPOCH.checked_add(exp));
        let left = end.and_then(|end| end.duration_since(now).ok());
        let left = left.unwrap_or(LIFE).min(LIFE);
        let over = Duration::from_secs(60);
        assert!(lifetime <= left || left < over, "{lifetime:?}, {left:?}");
        assert!(lifetime + over > left, "{lifetime:?}, {left:?}");
    });
}

/// One token request with a server that gives this answer, and how long until the next one may be tried.
async fn token_request(answer: Response<Full<Bytes>>) -> (Result<Token, Error>, Option<Duration>) {
    let source = ClientCredentials::builder("https://auth.test/token", ID, SECRET)
        .keep(KEPT)
        .build_with(service_fn(move |_: http::Request<Full<Bytes>>| {
            let answer = answer.clone();
            async move { Ok::<_, Infallible>(answer) }
        }))
        .unwrap();
    let cache = TokenCache::new(source);
    let result = cache.get().await;
    (result, cache.state().error().and_then(Error::retry_after))
}

/// In paused time, so that nothing is over but by the answer.
fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

/// All that an error says is short, on one line, and without a secret or the body's token.
fn shows_nothing(error: &Error, body: &[u8]) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    assert!(text.len() <= LONGEST_TEXT, "{} bytes: {text}", text.len());
    assert!(!text.contains(char::is_control), "{text:?}");
    let debug = format!("{error:?} {:?}", error.oauth_code());
    let token = access_token(body).filter(|token| token.len() >= SHORTEST_TOKEN);
    for secret in SECRETS.into_iter().chain(token.as_deref()) {
        assert!(!text.contains(secret), "{text}");
        assert!(!debug.contains(secret), "{debug}");
    }
}

/// The token of a body, if it is JSON and has one.
fn access_token(body: &[u8]) -> Option<String> {
    Some(object(body)?.get("access_token")?.as_str()?.to_owned())
}

fn object(body: &[u8]) -> Option<serde_json::Value> {
    let json = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    serde_json::from_slice(json).ok()
}

/// An answer as the corpus has it: a line with the status, lines with headers, an empty line and a body. What is none
/// of these is left out.
fn read_answer(answer: &[u8]) -> (StatusCode, HeaderMap, &[u8]) {
    let end = answer.windows(2).position(|two| two == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&answer[..end], &answer[end + 2..]),
        None => (&[][..], answer),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines
        .next()
        .and_then(|line| StatusCode::from_bytes(line).ok())
        .filter(|status| status.as_u16() >= 300)
        .unwrap_or(StatusCode::BAD_REQUEST);
    let mut headers = HeaderMap::new();
    for line in lines {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = halves.next().map(HeaderName::from_bytes);
        let value = halves.next().map(HeaderValue::from_bytes);
        if let (Some(Ok(name)), Some(Ok(value))) = (name, value) {
            headers.append(name, value);
        }
    }
    (status, headers, body)
}

/// Header values, a line each. Bytes that no header can have become others.
fn header_values(lines: &[u8]) -> Vec<HeaderValue> {
    lines
        .split(|byte| *byte == b'\n')
        .map(|line| {
            let line: Vec<u8> = line
                .iter()
                .map(|byte| match byte {
                    b'\t' => *byte,
                    0x7F => b'"',
                    0..0x20 => *byte + 0x20,
                    _ => *byte,
                })
                .collect();
            HeaderValue::from_bytes(&line).unwrap()
        })
        .collect()
}

/// Checks every entry of the corpus, and as many inputs as are asked for.
fn fuzz(target: &str, dictionary: &'static [&'static str], check: impl Fn(&[u8])) {
    let corpus = corpus(target);
    for (name, entry) in &corpus {
        println!("{name}");
        check(entry);
    }
    let entries = corpus.into_iter().map(|(_, entry)| entry).collect();
    let cases = env::var("FUZZ_CASES").map_or(2_000, |cases| cases.parse().unwrap());
    let mut runner = TestRunner::new(ProptestConfig {
        // The corpus is where they are kept.
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    });
    let result = runner.run(&inputs(entries, dictionary), |input| {
        check(&input);
        Ok(())
    });
    match result {
        Ok(()) => println!("{target}: {cases} inputs"),
        Err(TestError::Fail(reason, input)) => {
            panic!("{reason}, with \"{}\"", input.escape_ascii());
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// The files of a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(target);
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            (name, fs::read(file.path()).unwrap())
        })
        .collect();
    assert!(!entries.is_empty());
    entries.sort();
    entries
}

/// A quarter raw bytes; else an entry with a few things done to it.
fn inputs(
    corpus: Vec<Vec<u8>>,
    dictionary: &'static [&'static str],
) -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..400);
    let entry = select(corpus.clone());
    let mutations = prop::collection::vec(mutation(corpus, dictionary), 1..5);
    let mutated = (entry, mutations).prop_map(|(mut entry, mutations)| {
        for mutation in mutations {
            mutation.change(&mut entry);
        }
        entry
    });
    prop_oneof![1 => bytes, 3 => mutated]
}

/// Something done to an entry.
#[derive(Clone, Debug)]
enum Mutation {
    Flip {
        at: Index,
        bits: u8,
    },
    Insert {
        at: Index,
        bytes: Vec<u8>,
    },
    Delete {
        at: Index,
        length: usize,
    },
    /// The rest is that of another entry.
    Splice {
        at: Index,
        other: Vec<u8>,
        from: Index,
    },
    /// A part of it comes once more, up to a few hundred times.
    Repeat {
        at: Index,
        length: usize,
        times: usize,
    },
}

fn mutation(
    corpus: Vec<Vec<u8>>,
    dictionary: &'static [&'static str],
) -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    let word = select(dictionary).prop_map(|word| word.as_bytes().to_vec());
    let bytes = prop_oneof![word, prop::collection::vec(any::<u8>(), 1..16)];
    prop_oneof![
        3 => (at(), 1..=u8::MAX).prop_map(|(at, bits)| Mutation::Flip { at, bits }),
        4 => (at(), bytes).prop_map(|(at, bytes)| Mutation::Insert { at, bytes }),
        3 => (at(), 1..40_usize).prop_map(|(at, length)| Mutation::Delete { at, length }),
        2 => (at(), select(corpus), at())
            .prop_map(|(at, other, from)| Mutation::Splice { at, other, from }),
        1 => (at(), 1..20_usize, 1..300_usize)
            .prop_map(|(at, length, times)| Mutation::Repeat { at, length, times }),
    ]
}

impl Mutation {
    fn change(self, entry: &mut Vec<u8>) {
        // One more place than there are bytes: the end is one too.
        let end = entry.len();
        match self {
            Self::Flip { at, bits } => {
                if end > 0 {
                    entry[at.index(end)] ^= bits;
                }
            }
            Self::Insert { at, bytes } => {
                let at = at.index(end + 1);
                entry.splice(at..at, bytes);
            }
            Self::Delete { at, length } => {
                let at = at.index(end + 1);
                entry.drain(at..end.min(at + length));
            }
            Self::Splice { at, other, from } => {
                entry.truncate(at.index(end + 1));
                entry.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
            Self::Repeat { at, length, times } => {
                let at = at.index(end + 1);
                let part = entry[at..end.min(at + length)].repeat(times);
                entry.splice(at..at, part);
            }
        }
    }
}

// What is likely to matter to each target, which chance alone would not spell.

const TOKEN_ANSWER: [&str; 32] = [
    " ",
    r#""refresh_in":"#,
    r#""expires_on":"#,
    r#""expires":"2101-01-01T00:00:00Z","#,
    r#""instance_url":"#,
    r#""limits":{"#,
    r#""message":"#,
    "BearerToken",
    r#""access_token":"#,
    r#""token_type":"#,
    r#""expires_in":"#,
    r#""scope":"#,
    r#""error":"#,
    r#""error_description":"#,
    r#""hunter2/very/secret""#,
    "hunter2%2Fvery%2Fsecret",
    "aWQ6aHVudGVyMi92ZXJ5L3NlY3JldA==",
    "mF_9.B5f-4.1JqM",
    "bearer",
    "null",
    "-1",
    "1e999",
    "1e-320",
    "18446744073709551616",
    "\"\"",
    "\\u0000",
    "\\ud800",
    "\\r\\n",
    "\u{2028}",
    "\u{1F980}",
    "{",
    "}",
];

const ERROR_ANSWER: [&str; 30] = [
    "\n",
    "\nContent-Encoding: gzip",
    r#""message":"#,
    r#""errors":["#,
    "<title>",
    "</title>",
    "&amp;",
    "\n\n",
    "\nRetry-After: 99999",
    "\nLocation: https://",
    "503",
    "600",
    "304",
    r#""access_token":"#,
    r#""error":"#,
    r#""error_description":"#,
    r#""error_uri":"#,
    r#""hunter2/very/secret""#,
    "hunter2/very/secret",
    "hunter2%2Fvery%2Fsecret",
    "aWQ6aHVudGVyMi92ZXJ5L3NlY3JldA==",
    "mF_9.B5f-4.1JqM",
    "supports client authentication method 'client_secret_post'",
    "null",
    "\\u0000",
    "\\ud800",
    "\\r\\n",
    "\u{202E}",
    "\u{1F980}",
    "\"",
];

const END: [&str; 14] = [
    "Z", "T", "+", "-", ":", ".", "00", "60", "9999", "02-29", "GMT", "1e9", "\"", "\u{E9}",
];

const SUBJECT: [&str; 12] = [
    r#""exp":"#,
    r#""iat":"#,
    "{",
    "}",
    "-",
    ".",
    "e9",
    "9",
    "4102444800",
    "\"",
    "null",
    ",",
];

const METADATA: [&str; 16] = [
    r#""issuer":"https://auth.test""#,
    r#""token_endpoint":"#,
    r#""mtls_endpoint_aliases":{"#,
    r#""token_endpoint_auth_methods_supported":["#,
    r#""token_endpoint_auth_signing_alg_values_supported":["#,
    r#""client_secret_post""#,
    r#""hunter2/very/secret""#,
    "http://",
    "https://",
    "user@",
    "#",
    "\\u0000",
    "null",
    ",",
    "{",
    "}",
];

const RETRY_AFTER: [&str; 12] = [
    "9", "-", "+", " ", ".", "e", "GMT", ":60", "Feb", "29", "9999", "\n",
];

const CLAIMS: [&str; 17] = [
    "Bearer ",
    "DPoP ",
    "error=",
    "\"insufficient_claims\"",
    "insufficient_claims",
    "insufficient_scope",
    "claims=",
    "\"e30=\"",
    "eyJhIjoxfQ",
    "scope=",
    "\"read write\"",
    "write",
    "admin",
    "\"",
    "\\",
    ", ",
    "\n",
];

const CHALLENGE: [&str; 19] = [
    "DPoP ",
    "error=\"use_dpop_nonce\"",
    "error=invalid_dpop_proof",
    "Bearer ",
    "bearer",
    "Basic ",
    "error=",
    "error=\"insufficient_scope\"",
    "insufficient_user_authentication",
    "\"",
    "\\",
    ",",
    ", ",
    "=",
    "==",
    " ",
    "\t",
    "\n",
    "\u{E9}",
];
