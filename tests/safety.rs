//! What must never happen: a secret that shows, a request that goes out bare, a header that a server wrote, unsafe code.

#![allow(clippy::unwrap_used)]

#[path = "support/endpoint.rs"]
mod endpoint;

use std::{
    collections::HashSet,
    convert::Infallible,
    error::Error as StdError,
    fmt,
    fmt::Write,
    fs,
    future::{Ready, pending, poll_fn, ready},
    io,
    path::{Path, PathBuf},
    task::{Context, Poll},
    time::Duration,
};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE},
};
use bytes::Bytes;
use endpoint::{Endpoint, answer, on_paused_time, token_request};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header::AUTHORIZATION};
use http_body_util::Full;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio_test::{assert_pending, assert_ready};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, ClientAuth, ClientCredentials, Error, ErrorKind, Token, TokenCache,
    client_credentials::ClientCredentialsBuilder,
    select::Origins,
    token::{FixedToken, Lookup, TokenRequest},
};
use url::form_urlencoded;

const TOKEN_URL: &str = "https://auth.example.com/oauth2/token";
const SECRET: &str = "s3cret:/+%&=~x";
const TOKEN: &str = "ory_at_4jSH.k2dW";

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn over(endpoint: &Endpoint) -> ClientCredentials {
    ClientCredentials::builder(TOKEN_URL, "c1", SECRET)
        .build_with(endpoint.clone())
        .unwrap()
}

fn json_answer(status: u16, body: &Value) -> Response<Bytes> {
    answer(status, JSON, body.to_string())
}

fn granted(token: &str) -> Response<Bytes> {
    json_answer(200, &json!({"access_token": token, "token_type": "bearer"}))
}

/// An API whose answers have these statuses, the last one for ever.
fn api(statuses: impl IntoIterator<Item = u16>) -> Endpoint {
    Endpoint::new(statuses.into_iter().map(|status| answer(status, &[], "")))
}

fn request() -> Request<Bytes> {
    Request::get("https://api.example.com/orders")
        .body(Bytes::from_static(b"body"))
        .unwrap()
}

fn authorizations(headers: &HeaderMap) -> Vec<&HeaderValue> {
    headers.get_all(AUTHORIZATION).iter().collect()
}

mod shown {
    //! S4: what errors say, whatever a server quotes. `tests/leaks.rs` has the rest of what can be printed.

    use super::*;

    /// A credential, and a token that it gets.
    #[derive(Clone, Debug)]
    struct Hidden {
        id: String,
        secret: String,
        token: String,
        auth: fn(String) -> ClientAuth,
    }

    /// Every way to prove oneself by a text.
    const AUTHS: [fn(String) -> ClientAuth; 6] = [
        ClientAuth::from,
        |secret| ClientAuth::post(secret),
        |secret| ClientAuth::basic(secret),
        |secret| ClientAuth::basic_raw(secret),
        |secret| ClientAuth::secret_jwt(secret),
        |secret| ClientAuth::assertion(secret),
    ];

    prop_compose! {
        fn hidden()(
            id in "[a-zA-Z0-9._-]{1,12}",
            // Printable ASCII; blanks only inside, since servers and people trim.
            secret in "[!-~][ -~]{6,38}[!-~]",
            token in "[!-~]{8,60}",
            auth in prop::sample::select(AUTHS.to_vec()),
        ) -> Hidden {
            Hidden { id, secret, token, auth }
        }
    }

    fn form_encode(text: &str) -> String {
        form_urlencoded::byte_serialize(text.as_bytes()).collect()
    }

    impl Hidden {
        fn builder(&self) -> ClientCredentialsBuilder {
            ClientCredentials::builder(TOKEN_URL, &self.id, (self.auth)(self.secret.clone()))
                .scopes(["billing"])
        }

        fn over(&self, endpoint: &Endpoint) -> ClientCredentials {
            self.builder().build_with(endpoint.clone()).unwrap()
        }

        /// The secret as it goes over the wire in one way or another, so that a server can quote it.
        fn secret_on_the_wire(&self) -> [String; 4] {
            let Self { id, secret, .. } = self;
            let encoded = form_encode(secret);
            [
                secret.clone(),
                BASE64_STANDARD.encode(format!("{id}:{secret}")),
                BASE64_STANDARD.encode(format!("{}:{encoded}", form_encode(id))),
                encoded,
            ]
        }

        /// Everything that must not be read anywhere.
        fn forms(&self) -> Vec<String> {
            let mut forms = self.secret_on_the_wire().to_vec();
            for text in [&self.secret, &self.token] {
                forms.extend([
                    text.clone(),
                    form_encode(text),
                    BASE64_STANDARD.encode(text),
                    BASE64_STANDARD_NO_PAD.encode(text),
                    BASE64_URL_SAFE.encode(text),
                    escaped(text),
                    // What `Debug` makes of bytes.
                    format!("{:?}", text.as_bytes())
                        .trim_matches(['[', ']'])
                        .to_owned(),
                ]);
            }
            // `Debug` of a string escapes quotes and backslashes.
            let escaped: Vec<_> = forms
                .iter()
                .map(|form| form.escape_debug().to_string())
                .collect();
            forms.extend(escaped);
            forms
        }

        fn assert_not_in(&self, shown: &str) -> Result<(), TestCaseError> {
            for form in self.forms() {
                prop_assert!(!shown.contains(&form), "{form:?} is in {shown}");
            }
            Ok(())
        }
    }

    /// All that `Debug` says, on one line and on many.
    fn debug(value: &impl fmt::Debug) -> String {
        format!("{value:?}\n{value:#?}\n")
    }

    /// All that an error says, and that those below it say.
    fn all_of(error: &Error) -> String {
        let mut shown = format!("{:?}\n{:?}\n", error.oauth_code(), error.status());
        let mut level: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(current) = level {
            writeln!(shown, "{current}\n{current:?}\n{current:#?}").unwrap();
            level = current.source();
        }
        shown
    }

    /// Answers that have `text` in them wherever a server may come to put it.
    fn quoting(text: &str) -> Vec<(&'static str, Response<Bytes>)> {
        let description = format!("the value \"{text}\" was sent, and is wrong");
        let late = format!("{}{text}", "x".repeat(295));
        let page = format!("<html><p>{text}</p></html>");
        let cut = format!("{{\"error_description\":{}", json!(text));
        let location = format!("https://login.example.net/{0}?x={0}", form_encode(text));
        vec![
            (
                "a description",
                json_answer(
                    401,
                    &json!({"error": "x", "error_description": description}),
                ),
            ),
            (
                "a description that is cut",
                json_answer(401, &json!({"error": "x", "error_description": late})),
            ),
            ("a code", json_answer(400, &json!({"error": text}))),
            (
                "a code and a description of a server that is down",
                json_answer(503, &json!({"error": text, "error_description": text})),
            ),
            (
                "an error in a success",
                json_answer(
                    200,
                    &json!({"error": text, "error_description": description}),
                ),
            ),
            ("a success that is cut", answer(200, JSON, cut.clone())),
            ("an error that is cut", answer(400, JSON, cut)),
            (
                "a title",
                answer(200, &[], format!("<title>{text} is wrong</title>")),
            ),
            (
                "an error's title",
                answer(
                    400,
                    &[],
                    format!("<title>{} is wrong</title>", escaped(text)),
                ),
            ),
            ("an error in words", answer(400, &[], format!("no {text}"))),
            (
                "a message",
                json_answer(400, &json!({"error": {"message": description}})),
            ),
            (
                "a message in a success",
                json_answer(200, &json!({"message": description})),
            ),
            (
                "a page about the error",
                json_answer(
                    400,
                    &json!({"error": "x", "error_uri": format!("https://e.example/{text}")}),
                ),
            ),
            ("a web page", answer(200, &[], page.clone())),
            ("an error page", answer(500, &[], page)),
            (
                "plain text",
                answer(200, &[], format!("access_token={text}")),
            ),
            (
                "a token type",
                json_answer(200, &json!({"access_token": text, "token_type": text})),
            ),
            (
                "an unusable token",
                json_answer(200, &json!({"access_token": format!("{text}\r\n")})),
            ),
            ("a redirect", answer(307, &[("location", &location)], "")),
            (
                "an encoding",
                answer(200, &[("content-encoding", text)], "x"),
            ),
            (
                "an error's encoding",
                answer(400, &[("content-encoding", text)], ""),
            ),
            (
                "a header",
                answer(
                    429,
                    &[("retry-after", text), ("www-authenticate", text)],
                    "",
                ),
            ),
        ]
    }

    /// As a page has it.
    fn escaped(text: &str) -> String {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
    }

    fn config() -> ProptestConfig {
        ProptestConfig {
            cases: 64,
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    proptest! {
        #![proptest_config(config())]

        /// Promise: S4, E6
        #[test]
        fn no_error_shows_the_secret_that_a_server_quotes(hidden in hidden()) {
            for text in hidden.secret_on_the_wire() {
                for (case, answer) in quoting(&text) {
                    let endpoint = Endpoint::new([answer]);
                    let error = on_paused_time(token_request(hidden.over(&endpoint)));
                    let shown = all_of(&error.expect_err(case));
                    hidden.assert_not_in(&shown)?;
                }
            }
        }

        /// Promise: S4
        #[test]
        fn no_error_shows_the_token_of_an_answer_that_is_not_to_be_used(hidden in hidden()) {
            let token = hidden.token.as_str();
            for answer in [
                json_answer(200, &json!({"access_token": token, "token_type": "DPoP"})),
                json_answer(200, &json!({"access_token": token, "token_type": token})),
                json_answer(200, &json!({"access_token": format!("{token} ")})),
                json_answer(200, &json!({"access_token": token, "error": "invalid_scope"})),
                json_answer(400, &json!({"access_token": token, "error": "invalid_scope"})),
                answer(200, JSON, format!("{{\"access_token\":{}", json!(token))),
                answer(200, &[], format!("access_token={token}&token_type=bearer")),
                answer(200, &[], format!("<p>{token}")),
            ] {
                let error = on_paused_time(token_request(hidden.over(&Endpoint::new([answer]))));
                hidden.assert_not_in(&all_of(&error.unwrap_err()))?;
            }
        }

        /// Promise: S4
        #[test]
        fn no_error_shows_the_token_beside_it_that_a_server_quotes(hidden in hidden()) {
            for status in [200, 400] {
                let answer = json_answer(status, &json!({
                    "error": "invalid_request",
                    "error_description": format!("the token {} is over", hidden.token),
                    "access_token": hidden.token,
                }));
                let error = on_paused_time(token_request(hidden.over(&Endpoint::new([answer]))));
                hidden.assert_not_in(&all_of(&error.unwrap_err()))?;
            }
        }

        /// Promise: S4
        #[test]
        fn no_error_shows_the_last_token_that_a_server_quotes(hidden in hidden()) {
            for (case, quoting) in quoting(&hidden.token) {
                let endpoint = Endpoint::new([granted(&hidden.token), quoting]);
                let cache = TokenCache::new(hidden.over(&endpoint));
                let error = on_paused_time(async {
                    cache.get().await.unwrap();
                    cache.refresh().await.expect_err(case)
                });
                hidden.assert_not_in(&all_of(&error))?;
            }
        }

        /// A credential that is looked up anew for each token request has given no token yet.
        ///
        /// Promise: S4
        #[test]
        fn no_error_shows_the_rejected_token_that_a_server_quotes_in_any_form(hidden in hidden()) {
            let forms = [
                hidden.token.clone(),
                form_encode(&hidden.token),
                BASE64_STANDARD.encode(&hidden.token),
            ];
            for form in forms {
                let quoted = json!({"error": "invalid_request", "error_description": form});
                let endpoint = Endpoint::new([granted(&hidden.token), json_answer(400, &quoted)]);
                let looked_up = hidden.clone();
                let cache = TokenCache::new(Lookup::new(move || {
                    ready(Ok(looked_up.over(&endpoint)))
                }));
                let api = api([401]);
                let service = BearerAuthLayer::from_cache(cache).layer(api);
                let rejected = on_paused_time(service.oneshot(request())).unwrap();
                let error = rejected.extensions().get::<Error>().unwrap();
                hidden.assert_not_in(&all_of(error))?;
            }
        }

        /// Promise: S4
        #[test]
        fn no_error_shows_the_secret_in_the_host_name_of_a_redirect(secret in "[a-z0-9]{8,30}") {
            let location = format!("https://{secret}.example.net/");
            let endpoint = Endpoint::new([answer(302, &[("location", &location)], "")]);
            let source = ClientCredentials::builder(TOKEN_URL, "c1", &secret)
                .build_with(endpoint)
                .unwrap();
            let shown = all_of(&on_paused_time(token_request(source)).unwrap_err());
            prop_assert!(!shown.contains(&secret), "{shown}");
        }

        /// Promise: S4
        #[test]
        fn no_error_shows_a_parameter_that_a_server_quotes(key in "[a-zA-Z0-9:/+%]{8,30}") {
            for form in [key.clone(), form_encode(&key)] {
                let quoted = json!({"error": "invalid_request", "error_description": format!("bad {form} in audience orders-api, mode dry")});
                let endpoint = Endpoint::new([json_answer(400, &quoted)]);
                let source = ClientCredentials::builder(TOKEN_URL, "c1", SECRET)
                    .param("api_key", &key)
                    .param("mode", "dry")
                    .audience("orders-api")
                    .build_with(endpoint)
                    .unwrap();
                let error = on_paused_time(token_request(source.clone())).unwrap_err();
                let shown = all_of(&error) + &debug(&source);
                prop_assert!(!shown.contains(&key) && !shown.contains(&form), "{shown}");
                // What an operator has to read is left.
                prop_assert!(shown.contains("in audience orders-api, mode dry"), "{shown}");
            }
        }

        /// Promise: S4
        #[test]
        fn no_debug_shows_the_query_of_a_token_url(key in "[a-zA-Z0-9]{8,30}") {
            let token_url = format!("{TOKEN_URL}?key={key}");
            let builder = ClientCredentials::builder(token_url, "c1", SECRET);
            let source = builder.clone().build_with(api([200])).unwrap();
            let shown = debug(&source);
            prop_assert!(shown.contains(TOKEN_URL), "{shown}");
            let shown = debug(&builder) + &shown;
            prop_assert!(!shown.contains(&key), "{shown}");
        }

        /// Promise: S4
        #[test]
        fn no_backoff_shows_the_secret_of_its_cause(hidden in hidden()) {
            let description = format!("{} is wrong", hidden.secret);
            let denied = json_answer(401, &json!({"error": "x", "error_description": description}));
            let cache = TokenCache::new(hidden.over(&Endpoint::new([denied])));
            let (error, shown) = on_paused_time(async {
                cache.get().await.unwrap_err();
                (cache.get().await.unwrap_err(), debug(&cache))
            });
            prop_assert!(error.to_string().starts_with("no token: "));
            hidden.assert_not_in(&(all_of(&error) + &shown))?;
        }
    }

    /// Promise: S4, E6
    #[tokio::test(start_paused = true)]
    async fn a_description_is_never_cut_within_the_secret() {
        for before in 280..301 {
            let description = format!("{}{SECRET}", "x".repeat(before));
            let body = json!({"error": "invalid_client", "error_description": description});
            let endpoint = Endpoint::new([json_answer(401, &body)]);
            let shown = all_of(&token_request(over(&endpoint)).await.unwrap_err());
            assert!(!shown.contains("xs3"), "{before}: {shown}");
        }
    }
}

mod sent {
    //! S3, S4 and S6: what reaches the service below.

    use super::*;

    fn kind_of(error: &BoxError) -> ErrorKind {
        error
            .downcast_ref::<Error>()
            .expect("an error of this crate")
            .kind()
    }

    /// A source that cannot even be made ready.
    struct NeverReady;

    impl Service<TokenRequest> for NeverReady {
        type Response = Token;
        type Error = io::Error;
        type Future = Ready<io::Result<Token>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::Error::other("sealed")))
        }

        fn call(&mut self, _: TokenRequest) -> Self::Future {
            unreachable!("called without being ready")
        }
    }

    fn fails_with(answer: Response<Bytes>) -> TokenCache {
        TokenCache::new(over(&Endpoint::new([answer])))
    }

    fn fails_over<F>(
        transport: impl Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    ) -> TokenCache
    where
        F: Future<Output = io::Result<Response<Full<Bytes>>>> + Send + 'static,
    {
        let source = ClientCredentials::builder(TOKEN_URL, "c1", SECRET)
            .build_with(service_fn(transport))
            .unwrap();
        TokenCache::new(source)
    }

    /// Promise: S6
    #[tokio::test(start_paused = true)]
    async fn no_request_goes_out_bare_because_a_token_could_not_be_had() {
        let invalid_client = json!({"error": "invalid_client"});
        let cases = [
            (
                "denied",
                fails_with(json_answer(401, &invalid_client)),
                ErrorKind::Denied,
            ),
            (
                "denied by a success",
                fails_with(json_answer(200, &invalid_client)),
                ErrorKind::Denied,
            ),
            (
                "redirected",
                fails_with(answer(307, &[("location", TOKEN_URL)], "")),
                ErrorKind::Denied,
            ),
            (
                "unavailable",
                fails_with(answer(503, &[], "")),
                ErrorKind::Unavailable,
            ),
            (
                "no connection",
                fails_over(|_| async { Err(io::Error::other("no route to host")) }),
                ErrorKind::Unavailable,
            ),
            (
                "no answer in time",
                fails_over(|_| pending()),
                ErrorKind::Timeout,
            ),
            (
                "no token in the answer",
                fails_with(answer(200, &[], "<html>")),
                ErrorKind::InvalidAnswer,
            ),
            (
                "no answer at all",
                fails_with(answer(200, JSON, "")),
                ErrorKind::InvalidAnswer,
            ),
            (
                "no token that may be sent",
                fails_with(granted("two\r\nlines")),
                ErrorKind::InvalidAnswer,
            ),
            (
                "a source that fails",
                TokenCache::new(service_fn(|_: TokenRequest| async {
                    Err::<Token, _>(io::Error::other("sealed"))
                })),
                ErrorKind::Source,
            ),
            (
                "a source that is not ready",
                TokenCache::new(NeverReady),
                ErrorKind::Source,
            ),
            (
                "a source that panics when called",
                TokenCache::new(service_fn(
                    |_: TokenRequest| -> Ready<Result<Token, Infallible>> { panic!("on purpose") },
                )),
                ErrorKind::Interrupted,
            ),
            (
                "a source that panics when polled",
                TokenCache::new(service_fn(|_: TokenRequest| {
                    poll_fn(|_| -> Poll<Result<Token, Infallible>> { panic!("on purpose") })
                })),
                ErrorKind::Interrupted,
            ),
        ];
        for (case, cache, kind) in cases {
            let api = api([200]);
            let service = BearerAuthLayer::from_cache(cache).layer(api.clone());
            let call = || service.clone().oneshot(request());
            let (one, two) = tokio::join!(call(), call());
            // The third is in the backoff, or has a token request of its own.
            for answered in [one, two, call().await] {
                assert_eq!(kind_of(&answered.expect_err(case)), kind, "{case}");
            }
            assert_eq!(api.requests().len(), 0, "{case}");
        }
    }

    /// Promise: S6
    #[test]
    fn without_a_runtime_no_request_goes_out_bare() {
        let endpoint = Endpoint::new([granted(TOKEN)]);
        let api = api([200]);
        let service = BearerAuthLayer::new(over(&endpoint)).layer(api.clone());
        let mut call = tokio_test::task::spawn(service.oneshot(request()));
        let error = assert_ready!(call.poll()).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::NoRuntime);
        assert_eq!((endpoint.posts(), api.requests().len()), (0, 0));
    }

    /// Promise: S6
    #[test]
    fn when_the_runtime_goes_no_request_goes_out_bare() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let api = api([200]);
        let never = service_fn(|_: TokenRequest| pending::<Result<Token, Infallible>>());
        let service = BearerAuthLayer::new(never).layer(api.clone());
        let mut call = tokio_test::task::spawn(service.oneshot(request()));
        {
            let _within = runtime.enter();
            assert_pending!(call.poll());
        }
        drop(runtime);
        let error = assert_ready!(call.poll()).unwrap_err();
        // It would start anew, but has no runtime of its own to do so.
        assert_eq!(kind_of(&error), ErrorKind::NoRuntime);
        assert_eq!(api.requests().len(), 0);
    }

    /// Promise: S6, R9
    #[tokio::test(start_paused = true)]
    async fn no_retry_goes_out_bare_because_a_rejected_token_was_not_replaced() {
        let endpoint = Endpoint::new([granted(TOKEN), answer(503, &[], "")]);
        let api = api([401]);
        let service = BearerAuthLayer::new(over(&endpoint)).layer(api.clone());
        let rejection = service.oneshot(request()).await.unwrap();
        assert_eq!(rejection.status(), 401);
        let cause = rejection.extensions().get::<Error>().map(Error::kind);
        assert_eq!(cause, Some(ErrorKind::Unavailable));
        let [sent] = &api.requests()[..] else {
            panic!("sent once");
        };
        assert_eq!(authorizations(sent.headers()), [&format!("Bearer {TOKEN}")]);
        assert_eq!(endpoint.posts(), 2);
    }

    /// Promise: E3, S6
    #[tokio::test(start_paused = true)]
    async fn no_access_token_writes_a_header_of_its_own() {
        for token in [
            "",
            " ",
            "ory_at_4jSH\r\nx-admin: yes",
            "ory_at_4jSH\rx",
            "ory_at_4jSH\nx",
            "\r\nory_at_4jSH",
            "ory_at_4jSH\r\n",
            "ory_at\u{0}4jSH",
            "ory_at 4jSH",
            "ory_at\u{A0}4jSH",
            "ory_at\u{7F}4jSH",
            "ory_ät_4jSH",
            "ory_at_4jSH\u{10A}",
        ] {
            let error = Token::new(token).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidAnswer, "{token:?}");
            assert!(!format!("{error} {error:?}").contains("4jSH"), "{error:?}");

            let endpoint = Endpoint::new([granted(token)]);
            let api = api([200]);
            let service = BearerAuthLayer::new(over(&endpoint)).layer(api.clone());
            let error = service.oneshot(request()).await.unwrap_err();
            assert_eq!(kind_of(&error), ErrorKind::InvalidAnswer, "{token:?}");
            assert!(!format!("{error} {error:?}").contains("4jSH"), "{error:?}");
            assert_eq!(
                (endpoint.posts(), api.requests().len()),
                (1, 0),
                "{token:?}"
            );
        }
    }

    /// Promise: S4, R14
    #[tokio::test(start_paused = true)]
    async fn both_tries_carry_one_sensitive_authorization_and_nothing_else_is_changed() {
        let endpoint = Endpoint::new([granted("one"), granted("two")]);
        let api = api([401, 200]);
        let service = BearerAuthLayer::new(over(&endpoint)).layer(api.clone());
        let request = Request::put("https://api.example.com/orders?x=%20")
            .header("x-twice", "1")
            .header("x-twice", "2")
            .body(Bytes::from_static(b"body"))
            .unwrap();
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);

        let sent = api.requests();
        assert_eq!(sent.len(), 2);
        for (sent, token) in sent.into_iter().zip(["Bearer one", "Bearer two"]) {
            assert_eq!(authorizations(sent.headers()), [token]);
            assert!(sent.headers()[AUTHORIZATION].is_sensitive());
            assert_eq!(sent.method(), Method::PUT);
            assert_eq!(sent.uri(), "https://api.example.com/orders?x=%20");
            assert_eq!(sent.headers().len(), 3);
            let twice: Vec<_> = sent.headers().get_all("x-twice").iter().collect();
            assert_eq!(twice, ["1", "2"]);
            assert_eq!(sent.body(), "body");
        }
        assert_eq!(endpoint.posts(), 2);
    }

    /// Promise: S3
    #[tokio::test(start_paused = true)]
    async fn the_callers_own_authorization_is_left_alone_without_any_token_request() {
        for own in [
            &["Basic YTpi"][..],
            &["Bearer mine"],
            &[""],
            &["Bearer a", "Bearer b"],
        ] {
            for status in [200, 401] {
                let endpoint = Endpoint::new([granted(TOKEN)]);
                let api = api([status]);
                let service = BearerAuthLayer::new(over(&endpoint)).layer(api.clone());
                let mut request = request();
                for value in own {
                    let value = HeaderValue::from_static(value);
                    request.headers_mut().append(AUTHORIZATION, value);
                }
                let response = service.oneshot(request).await.unwrap();
                assert_eq!(response.status(), status);

                let [sent] = &api.requests()[..] else {
                    panic!("{own:?}: sent once");
                };
                assert_eq!(authorizations(sent.headers()), own);
                assert_eq!(endpoint.posts(), 0, "{own:?}");
            }
        }
    }

    /// Promise: S1
    #[tokio::test(start_paused = true)]
    async fn a_request_to_another_origin_passes_untouched_without_any_token_request() {
        let endpoint = Endpoint::new([granted(TOKEN)]);
        let origins = Origins::new(["https://api.example.com"]).unwrap();
        let layer = BearerAuthLayer::new(over(&endpoint)).select(origins);
        for uri in [
            "http://api.example.com/orders",
            "https://api.example.com:8443/orders",
            "https://example.com/orders",
            "https://v1.api.example.com/orders",
            "https://api.example.com.evil.test/orders",
            "https://api.example.com@evil.test/orders",
            "https://evil.test/api.example.com",
            "/orders",
        ] {
            for status in [200, 401] {
                let api = api([status]);
                let request = Request::post(uri)
                    .header("x-twice", "1")
                    .header("x-twice", "2")
                    .body(Bytes::from_static(b"body"))
                    .unwrap();
                let service = layer.layer(api.clone());
                let response = service.oneshot(request).await.unwrap();
                assert_eq!(response.status(), status, "{uri}");

                let [sent] = &api.requests()[..] else {
                    panic!("{uri}: sent once");
                };
                assert_eq!(sent.method(), Method::POST, "{uri}");
                assert_eq!(sent.uri(), uri);
                assert_eq!(sent.headers().len(), 2, "{uri}: {:?}", sent.headers());
                assert_eq!(sent.body(), "body", "{uri}");
            }
        }
        assert_eq!(endpoint.posts(), 0);

        let api = api([200]);
        let service = layer.layer(api.clone());
        service.oneshot(request()).await.unwrap();
        assert_eq!(
            authorizations(api.requests()[0].headers()),
            [&format!("Bearer {TOKEN}")]
        );
        assert_eq!(endpoint.posts(), 1);
    }
}

mod configured {
    //! S2 and S4: what a builder rejects, and what it says then.

    use super::*;

    fn builder() -> ClientCredentialsBuilder {
        ClientCredentials::builder(TOKEN_URL, "c1", SECRET)
    }

    /// The sentence that a builder rejects with, by every way to build.
    fn rejection(builder: ClientCredentialsBuilder) -> String {
        let endpoint = Endpoint::new([granted(TOKEN)]);
        let error = builder
            .clone()
            .build_with(endpoint.clone())
            .map(drop)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(!error.is_transient());
        assert_eq!(endpoint.requests().len(), 0);
        let message = error.to_string();
        let shown = format!("{message} {error:?} {builder:?}");
        for hidden in [SECRET, "s3cret", "hunter2"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
        #[cfg(feature = "rustls")]
        assert_eq!(builder.build().map(drop).unwrap_err().to_string(), message);
        message
    }

    /// Promise: S2
    #[test]
    fn a_token_url_that_would_not_do_is_rejected_with_what_to_change() {
        let absolute = "must be absolute, as in https://auth.example.com/oauth2/token";
        let https = "is not https, so the client secret would be sent unencrypted; use https or a loopback host";
        let credentials = "has credentials in it; give them as client id and secret instead";
        let fragment = "does not allow; remove it";
        for (token_url, advice) in [
            ("", absolute),
            ("auth.example.com/oauth2/token", absolute),
            ("/oauth2/token", absolute),
            ("https://", absolute),
            ("https://auth.example.com:https/", absolute),
            ("https://s3cret hunter2/", absolute),
            ("http://auth.example.com/oauth2/token", https),
            ("HTTP://auth.example.com/", https),
            ("http://10.0.0.1/", https),
            ("http://0.0.0.0/", https),
            ("http://128.0.0.1/", https),
            ("http://[::]/", https),
            ("http://[::2]/", https),
            ("http://[::ffff:10.0.0.1]/", https),
            ("http://localhost.example.com/", https),
            ("http://127.0.0.1.example.com/", https),
            ("http://127.0.0.1@auth.example.com/", https),
            ("http://auth.example.com/?127.0.0.1", https),
            ("http://auth.example.com/#@localhost", https),
            ("ftp://127.0.0.1/token", https),
            ("file:///oauth2/token", https),
            ("localhost:8080/token", https),
            ("https://c1:hunter2@auth.example.com/", credentials),
            ("https://c1@auth.example.com/", credentials),
            ("https://:hunter2@auth.example.com/", credentials),
            ("http://c1:hunter2@localhost/", credentials),
            ("https://auth.example.com/oauth2/token#", fragment),
            ("https://auth.example.com/oauth2/token#hunter2", fragment),
        ] {
            let message = rejection(builder().token_url(token_url));
            assert!(message.contains(advice), "{token_url:?}: {message}");
        }
    }

    /// Promise: S2
    #[tokio::test(start_paused = true)]
    async fn a_token_url_may_be_plain_http_elsewhere_by_a_long_name_only() {
        let url = "http://hydra.auth.svc.cluster.local:4444/oauth2/token";
        let told = rejection(builder().token_url(url));
        assert!(
            told.contains("danger_allow_secret_over_plain_http"),
            "{told}"
        );

        let allowed = builder()
            .token_url(url)
            .danger_allow_secret_over_plain_http();
        let endpoint = Endpoint::new([granted(TOKEN)]);
        let source = allowed.build_with(endpoint.clone()).unwrap();
        token_request(source).await.unwrap();
        assert_eq!(endpoint.requests()[0].uri(), url);
        // It allows nothing else.
        for url in [
            "ftp://hydra.auth/",
            "http://id:pw@hydra.auth/",
            "http://a/#b",
        ] {
            rejection(
                builder()
                    .token_url(url)
                    .danger_allow_secret_over_plain_http(),
            );
        }
    }

    /// Promise: S2
    #[test]
    fn a_token_url_may_be_plain_http_on_loopback() {
        for token_url in [
            "http://127.0.0.1/token",
            "http://127.0.0.1:4444/token",
            "http://127.1.2.3:4444/token",
            "http://127.255.255.255/",
            "http://[::1]/token",
            "http://[::1]:4444/token",
            "http://localhost:4444/oauth2/token",
            "http://LOCALHOST/",
            "https://127.0.0.1/token",
            "https://auth.example.com",
            "https://auth.example.com/oauth2/token?tenant=7",
        ] {
            let built = builder().token_url(token_url).build_with(api([200]));
            assert!(built.is_ok(), "{token_url}: {built:?}");
            #[cfg(feature = "rustls")]
            assert!(
                builder().token_url(token_url).build().is_ok(),
                "{token_url}"
            );
        }
    }

    /// Promise: S4
    #[test]
    fn a_credential_that_would_not_do_is_rejected_with_what_to_change() {
        let variable = "check that the variable it comes from is set";
        let apart = "add each scope separately";
        let own = "use the builder's own methods for grant type, client id, secret and scopes";
        let colon = "use `ClientAuth::basic` or `ClientAuth::post`";
        let control = "has a control character (a trailing newline?)";
        let client = |id: &str, secret: &str| ClientCredentials::builder(TOKEN_URL, id, secret);
        let raw = |id: &str, secret: &str| {
            ClientCredentials::builder(TOKEN_URL, id, ClientAuth::basic_raw(secret))
        };
        let newline = format!("{SECRET}\n{SECRET}");
        let cases = [
            ("no id", client("", SECRET), variable),
            ("no secret", client("c1", ""), variable),
            ("a blank in a scope", builder().scopes(["a b"]), apart),
            ("no scope", builder().scopes(["a", ""]), apart),
            ("a tab in a scope", builder().scopes(["a\t"]), apart),
            ("a quote in a scope", builder().scopes(["a\"b"]), apart),
            ("a backslash in a scope", builder().scopes(["a\\b"]), apart),
            ("a scope beyond ASCII", builder().scopes(["ä"]), apart),
            (
                "a grant type",
                builder().param("grant_type", "password"),
                own,
            ),
            ("a client id", builder().param("client_id", "c2"), own),
            ("a secret", builder().param("client_secret", SECRET), own),
            ("a scope", builder().param("scope", "a"), own),
            ("no parameter name", builder().param("", "a"), own),
            ("a colon in a raw id", raw("c:1", SECRET), colon),
            ("a newline in a raw secret", raw("c1", &newline), control),
            ("a newline in a raw id", raw("c\r\n1", SECRET), control),
            ("a bell in a raw secret", raw("c1", "s3cret\u{7}"), control),
        ];
        for (case, builder, advice) in cases {
            let message = rejection(builder);
            assert!(message.contains(advice), "{case}: {message}");
        }

        // What only a raw Basic header cannot carry is no error elsewhere.
        for auth in [ClientAuth::post("s3\ncret"), ClientAuth::basic("s3\ncret")] {
            let odd = ClientCredentials::builder(TOKEN_URL, "c:1", auth.clone());
            assert!(odd.build_with(api([200])).is_ok(), "{auth:?}");
        }
        assert!(raw("c1", SECRET).build_with(api([200])).is_ok());
    }

    /// Promise: F7, L6
    #[test]
    fn a_cache_of_zero_durations_is_rejected_with_what_to_change() {
        let builder = || TokenCache::builder(FixedToken::new(TOKEN).unwrap());
        for (builder, advice) in [
            (
                builder().token_request_timeout(Duration::ZERO),
                "give it a few seconds",
            ),
            (
                builder().default_lifetime(Duration::ZERO),
                "give it a minute or more",
            ),
        ] {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(advice), "{error}");
        }
        let least = builder()
            .token_request_timeout(Duration::from_nanos(1))
            .default_lifetime(Duration::MAX);
        assert!(least.build().is_ok());
    }

    /// Promise: S4
    #[test]
    fn an_origin_with_credentials_is_rejected_without_repeating_them() {
        for origin in [
            "https://me:hunter2@api.example.com",
            "https://me:hunter2@api.example.com/v1",
            "ftp://me:hunter2@api.example.com",
            "https://me:hunter2@api example.com",
        ] {
            let error = Origins::new([origin]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{origin}");
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("https://api.example.com"), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}

mod written {
    //! S7: what the code is written in, and what the threat model says of these tests.

    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries
            .flat_map(|path| {
                if path.is_dir() {
                    sources(&path)
                } else {
                    vec![path]
                }
            })
            .collect()
    }

    /// A line without its comment. A `//` with no blank before it is that of a URL.
    fn code(line: &str) -> &str {
        let comment = line.match_indices("//").map(|(at, _)| at).find(|&at| {
            line[..at]
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace)
        });
        &line[..comment.unwrap_or(line.len())]
    }

    /// Promise: S7
    #[test]
    fn unsafe_code_is_forbidden_by_the_manifest() {
        let manifest = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
        let (_, lints) = manifest.split_once("\n[lints.rust]\n").unwrap();
        let lints = lints.split("\n[").next().unwrap();
        assert!(
            lints
                .lines()
                .any(|line| line.trim() == "unsafe_code = \"forbid\""),
            "{lints}"
        );
    }

    /// And by the crate itself, for whoever builds it without the manifest's lints.
    ///
    /// Promise: S7
    #[test]
    fn unsafe_code_is_forbidden_by_the_crate() {
        let root = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
        assert!(root.lines().any(|line| line == FORBIDDEN));
    }

    const FORBIDDEN: &str = "#![forbid(unsafe_code)]";

    /// Promise: S7
    #[test]
    fn no_code_is_unsafe() {
        let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        assert!(sources.iter().any(|path| path.ends_with("src/lib.rs")));
        for path in sources {
            for (at, line) in read(&path).lines().enumerate() {
                assert!(
                    line == FORBIDDEN || !code(line).contains("unsafe"),
                    "{}:{}: {line}",
                    path.display(),
                    at + 1
                );
            }
        }
    }

    /// The rows of the table below this heading of a chapter, by their first column.
    fn rows(chapter: &str, heading: &str) -> Vec<String> {
        let (_, table) = chapter.split_once(&format!("# {heading}\n")).unwrap();
        let table = table.split("\n//! # ").next().unwrap();
        let rows = table.lines().filter_map(|line| line.strip_prefix("//! | "));
        let first = |row: &str| row.split(" | ").next().unwrap().to_owned();
        // Without the table's own head.
        rows.skip(2).map(first).collect()
    }

    /// The headings of a list of proofs, and the tests that each names, as a file and a test in it.
    fn proofs(list: &str) -> Vec<(String, Vec<(String, String)>)> {
        let sections = list.split("\n## ").skip(1);
        sections
            .map(|section| {
                let mut lines = section.lines();
                let heading = lines.next().unwrap().to_owned();
                let tests = lines.filter(|line| !line.is_empty()).map(|line| {
                    let named = line.strip_prefix("- `").and_then(|it| it.strip_suffix('`'));
                    let (file, test) = named.and_then(|it| it.split_once("::")).expect(line);
                    // Unit tests are named by their file.
                    let file = match file.starts_with("src/") {
                        true => format!("{file}.rs"),
                        false => format!("tests/{file}.rs"),
                    };
                    (file, test.to_owned())
                });
                (heading, tests.collect())
            })
            .collect()
    }

    /// Fails unless this is a test that runs. Gives the promises that it proves.
    fn promises_of(file: &str, test: &str) -> Vec<String> {
        let tests = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        let (before, _) = tests
            .split_once(&format!("fn {test}("))
            .unwrap_or_else(|| panic!("{file}::{test} is not there"));
        let near = before.rsplit("\n\n").next().unwrap();
        let attribute = |line: &str| {
            let line = line.trim();
            line == "#[test]" || line.starts_with("#[tokio::test")
        };
        assert!(near.lines().any(attribute), "{file}::{test} is no test");
        // Those need servers, which `tests/servers/run` starts.
        let is_left_out = near.contains("#[ignore") && file != "tests/real_servers.rs";
        assert!(!is_left_out, "{file}::{test} is ignored");
        let promises = near
            .lines()
            .filter_map(|line| line.trim().strip_prefix("/// Promise: "));
        promises
            .flat_map(|it| it.split(", "))
            .map(str::to_owned)
            .collect()
    }

    /// Fails unless each row of a chapter's table has a test in a list beside these tests. Gives the promises that they prove.
    fn each_row_has_a_test(chapter: &str, heading: &str, list: &str) -> HashSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let rows = rows(&read(&root.join(chapter)), heading);
        let proofs = proofs(&read(&root.join(list)));
        let headings: Vec<_> = proofs.iter().map(|(heading, _)| heading.clone()).collect();
        assert_eq!(rows, headings, "{chapter} and {list}");
        let mut proven = HashSet::new();
        for (heading, tests) in proofs {
            assert!(!tests.is_empty(), "{list}: no test for: {heading}");
            for (file, test) in tests {
                proven.extend(promises_of(&file, &test));
            }
        }
        proven
    }

    /// Promise: S1, S2, S3, S4, S5, S6, S7
    #[test]
    fn each_threat_that_is_said_to_be_defended_names_tests_that_are_there() {
        let list = "tests/threats.md";
        let proven = each_row_has_a_test("src/docs/security.rs", "What is defended", list);
        for promise in ["S1", "S2", "S3", "S4", "S5", "S6", "S7"] {
            assert!(proven.contains(promise), "no row proves {promise}");
        }
    }

    /// The tests that the last column of each row of the table of quirks names.
    fn tests_of_quirks() -> HashSet<(String, String)> {
        let table = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/docs/quirks.md"));
        let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
        // Without each table's own head.
        let rows = rows.filter(|row| !row.starts_with("a server |") && !row.starts_with("---"));
        let mut tests = HashSet::new();
        for row in rows {
            let (_, last) = row.trim_end_matches(" |").rsplit_once("| ").expect(row);
            for test in last.split(", ") {
                let named = test.strip_prefix('`').and_then(|it| it.strip_suffix('`'));
                let (file, test) = named.and_then(|it| it.split_once("::")).expect(row);
                tests.insert((format!("tests/{file}.rs"), test.to_owned()));
            }
        }
        tests
    }

    /// Promise: E8
    #[test]
    fn each_quirk_of_a_server_names_tests_that_are_there() {
        let tests = tests_of_quirks();
        assert!(!tests.is_empty());
        for (file, test) in tests {
            promises_of(&file, &test);
        }
    }

    #[test]
    fn each_claim_of_the_comparison_names_tests_that_are_there() {
        let table = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/docs/comparison.md"));
        let names = table.split('`').filter_map(|it| it.split_once("::"));
        let mut count = 0;
        for (file, test) in names {
            promises_of(&format!("tests/{file}.rs"), test);
            count += 1;
        }
        assert!(count >= 10, "{count} tests");
    }

    /// Random bytes are no quirk, and these checks are none.
    const OF_NO_QUIRK: [&str; 2] = ["tests/fuzz.rs", "tests/safety.rs"];

    /// Promise: E8
    #[test]
    fn each_test_of_a_quirk_has_a_row_in_the_guide() {
        let named = tests_of_quirks();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for entry in fs::read_dir(root.join("tests")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|it| it != "rs") {
                continue;
            }
            let file = path.strip_prefix(root).unwrap().to_str().unwrap();
            let tests = read(&path);
            // What follows a line of promises is a test's attributes and its name.
            for part in tests.split("/// Promise: ").skip(1) {
                let (promises, rest) = part.split_once('\n').unwrap();
                if OF_NO_QUIRK.contains(&file) || !promises.split(", ").any(|it| it == "E8") {
                    continue;
                }
                let (_, name) = rest.split_once("fn ").unwrap();
                let (test, _) = name.split_once('(').unwrap();
                let is_named = named.contains(&(file.to_owned(), test.to_owned()));
                assert!(is_named, "src/docs/quirks.md has no row for {file}::{test}");
            }
        }
    }

    #[test]
    fn each_bound_that_is_documented_names_a_test_that_is_there() {
        let list = "tests/bounds.md";
        let proven = each_row_has_a_test("src/docs/token_lifetime.rs", "The bounds", list);
        for promise in [
            "F11", "F13", "F15", "L11", "L13", "L14", "L15", "L16", "L17", "R16", "R17", "R19",
        ] {
            assert!(proven.contains(promise), "no row proves {promise}");
        }
    }
}
