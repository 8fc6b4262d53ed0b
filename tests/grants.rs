//! What a token request asks for, as token endpoints of several kinds see it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/endpoint.rs"]
mod endpoint;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use endpoint::{Endpoint, answer, token_request};
use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower::Service;
use tower_bearer::{
    ClientAuth, ClientCredentials, Error, ErrorKind, Secret, TokenCache,
    cache::TokenState,
    client_credentials::{ClientCredentialsBuilder, Grant, TokenExchange, TokenType},
    token::FixedToken,
};

const TOKEN_URL: &str = "https://auth.example.com/oauth2/token";

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

type Form = BTreeMap<String, String>;

/// The form of each request.
fn forms(endpoint: &Endpoint) -> Vec<Form> {
    endpoint.requests().iter().map(form_in).collect()
}

/// The names and values in a form. Each name is there once.
fn form_in(request: &Request<Bytes>) -> Form {
    let pairs = url::form_urlencoded::parse(request.body()).into_owned();
    let mut form = Form::new();
    for (name, value) in pairs {
        assert_eq!(form.insert(name.clone(), value), None, "{name}");
    }
    form
}

fn form(pairs: &[(&str, &str)]) -> Form {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// A server whose answer depends on the form. It keeps what it was sent.
#[derive(Clone)]
struct Server {
    answer: Arc<Answers>,
    forms: Arc<Mutex<Vec<Form>>>,
}

type Answers = dyn Fn(usize, &Form) -> Response<Bytes> + Send + Sync;

impl Server {
    /// `answer` has the answer to the n-th form, from 0.
    fn new(answer: impl Fn(usize, &Form) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        Self {
            answer: Arc::new(answer),
            forms: Arc::default(),
        }
    }

    /// Gives the tokens `{name}0`, `{name}1`, … for an hour.
    fn of_tokens(name: &'static str) -> Self {
        Self::new(move |post, _| granted_with(&json!({"access_token": format!("{name}{post}")})))
    }

    fn forms(&self) -> Vec<Form> {
        self.forms.lock().unwrap().clone()
    }

    fn posts(&self) -> usize {
        self.forms.lock().unwrap().len()
    }

    fn source(&self, builder: ClientCredentialsBuilder) -> ClientCredentials {
        builder.build_with(self.clone()).unwrap()
    }
}

impl Service<Request<Bytes>> for Server {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let form = form_in(&request);
        let mut forms = self.forms.lock().unwrap();
        let answer = (self.answer)(forms.len(), &form);
        forms.push(form);
        ready(Ok(answer.map(Full::new)))
    }
}

/// A JWT that somebody else has signed.
fn jwt(claims: &Value) -> String {
    let claims = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("eyJhbGciOiJSUzI1NiJ9.{claims}.c2lnbmF0dXJlLW9mLXNvbWVib2R5LWVsc2U")
}

/// In seconds since 1970, so many from now.
fn from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_secs()).unwrap() + seconds
}

/// A secret that is one text after the other, and the last from then on.
fn rotated(texts: &[&'static str]) -> Secret {
    let texts = Mutex::new(texts.to_vec());
    Secret::from_provider(move || {
        let mut texts = texts.lock().unwrap();
        let text = match texts.len() {
            1 => texts[0],
            _ => texts.remove(0),
        };
        ready(Ok::<_, Infallible>(text))
    })
}

fn rejected(code: &str) -> Response<Bytes> {
    let body = json!({"error": code, "error_description": "as it is"});
    answer(400, &[], body.to_string())
}

fn client() -> ClientCredentialsBuilder {
    ClientCredentials::builder(TOKEN_URL, "id", ClientAuth::post("s"))
}

/// The error of a builder.
fn refused(builder: ClientCredentialsBuilder) -> String {
    let error = builder.build_with(Endpoint::new([])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    error.to_string()
}

mod by_another_name {
    use super::*;

    /// As Zoom's servers have it.
    ///
    /// Promise: E8
    #[tokio::test(start_paused = true)]
    async fn a_grant_of_another_name_is_the_client_credentials_grant_in_all_else() {
        for (auth, own) in [
            (ClientAuth::basic("s"), &[][..]),
            (
                ClientAuth::post("s"),
                &[("client_id", "id"), ("client_secret", "s")],
            ),
        ] {
            let endpoint = Endpoint::new([granted()]);
            let credentials = ClientCredentials::builder(TOKEN_URL, "id", auth)
                .grant_type("account_credentials")
                .param("account_id", "a/7")
                .scopes(["meeting:read", "user:read"]);
            let source = credentials.build_with(endpoint.clone()).unwrap();
            token_request(source).await.unwrap();
            let mut expected = form(&[
                ("grant_type", "account_credentials"),
                ("account_id", "a/7"),
                ("scope", "meeting:read user:read"),
            ]);
            expected.extend(form(own));
            assert_eq!(forms(&endpoint), [expected]);
            let is_basic = endpoint.requests()[0].headers().contains_key(AUTHORIZATION);
            assert_eq!(is_basic, own.is_empty());
        }
    }

    #[test]
    fn a_grant_type_is_not_blank_and_is_given_once() {
        let client = || ClientCredentials::builder(TOKEN_URL, "id", "s");
        for builder in [
            client().grant_type(" "),
            client().param("grant_type", "password"),
        ] {
            let error = builder.build_with(Endpoint::new([])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains("grant type"), "{error}");
        }
    }
}

mod token_exchange {
    use super::*;

    const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
    const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
    const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
    const POOL: &str =
        "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k";
    const CLOUD: &str = "https://www.googleapis.com/auth/cloud-platform";

    /// An exchange of this subject token at a server that has a client.
    fn of(subject: impl Into<Secret>) -> ClientCredentialsBuilder {
        client().grant(TokenExchange::new(subject, TokenType::Jwt))
    }

    /// A server like Google's: it knows no client, and wants all of this.
    fn google(trusted: &'static str) -> Server {
        Server::new(move |post, form| {
            let wanted = super::form(&[
                ("grant_type", GRANT),
                ("audience", POOL),
                ("scope", CLOUD),
                ("requested_token_type", ACCESS_TOKEN),
                ("subject_token_type", JWT),
                ("subject_token", &form["subject_token"]),
            ]);
            if *form != wanted {
                return rejected("invalid_request");
            }
            match form["subject_token"].contains(trusted) {
                true => granted_with(&json!({
                    "access_token": format!("ya29.{post}"),
                    "token_type": "Bearer",
                    "issued_token_type": ACCESS_TOKEN,
                })),
                false => rejected("invalid_grant"),
            }
        })
    }

    fn at_google(subject: impl Into<Secret>) -> ClientCredentialsBuilder {
        let exchange = TokenExchange::new(subject, TokenType::Jwt);
        ClientCredentials::without_client("https://sts.googleapis.com/v1/token")
            .grant(exchange.with_requested_type(TokenType::AccessToken))
            .audience(POOL)
            .scopes([CLOUD])
    }

    /// Promise: E8, F1
    #[tokio::test(start_paused = true)]
    async fn a_workload_without_a_client_exchanges_its_platforms_token() {
        let google = google("of-kubernetes");
        let cache = TokenCache::new(google.source(at_google("of-kubernetes")));
        let mut calls = JoinSet::new();
        for _ in 0..100 {
            let cache = cache.clone();
            calls.spawn(async move { cache.get().await.unwrap() });
        }
        for token in calls.join_all().await {
            assert_eq!(token.expose_secret(), "ya29.0");
        }
        assert_eq!(google.posts(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_id_and_no_header_is_sent_where_there_is_no_client() {
        let endpoint = Endpoint::new([granted()]);
        let source = at_google("t").build_with(endpoint.clone()).unwrap();
        token_request(source).await.unwrap();
        let [request] = &endpoint.requests()[..] else {
            panic!("one request")
        };
        assert!(!request.headers().contains_key(AUTHORIZATION));
        let form = form_in(request);
        assert!(
            form.keys().all(|name| !name.starts_with("client")),
            "{form:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_without_a_client_names_the_server_alone() {
        let error = token_request(google("of-kubernetes").source(at_google("of-somebody-else")))
            .await
            .unwrap_err();
        assert_eq!(error.client_id(), None);
        let text = error.to_string();
        assert!(text.ends_with("(sts.googleapis.com)"), "{text}");
        assert!(text.contains("invalid_grant"), "{text}");
        assert!(
            text.contains(JWT) && text.contains("trusts its issuer"),
            "{text}"
        );
    }

    /// As a workload in Azure has it: a token of Entra ID for the pool, by an assertion of its cluster.
    ///
    /// Promise: E8
    #[tokio::test(start_paused = true)]
    async fn a_token_of_entra_id_is_exchanged_at_google_and_each_sees_one_token_request() {
        let cluster = jwt(&json!({"iss": "https://cluster", "sub": "system:serviceaccount:a:b"}));
        let wanted = cluster.clone();
        let entra = Server::new(move |_, form| {
            match form["client_assertion"] == wanted && form["scope"] == "api://pool/.default" {
                true => granted_with(&json!({"access_token": "of-entra", "ext_expires_in": 3600})),
                false => rejected("invalid_client"),
            }
        });
        let pool = ClientCredentials::builder(
            "https://login.microsoftonline.com/t/oauth2/v2.0/token",
            "workload",
            ClientAuth::assertion(cluster),
        )
        .scopes(["api://pool/.default"]);
        let pool = TokenCache::new(entra.source(pool));
        let google = google("of-entra");
        let cache = TokenCache::new(google.source(at_google(Secret::from_cache(pool))));
        for _ in 0..10 {
            assert_eq!(cache.get().await.unwrap().expose_secret(), "ya29.0");
        }
        assert_eq!((entra.posts(), google.posts()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn everything_that_the_rfc_knows_can_be_asked_for() {
        let endpoint = Endpoint::new([granted()]);
        let exchange = TokenExchange::new("subject", TokenType::Saml2)
            .with_actor("actor+/=", "urn:example:robot")
            .with_requested_type(TokenType::Jwt);
        let source = client()
            .grant(exchange)
            .audience("orders")
            .resource("https://orders.example.com/")
            .scopes(["a", "b"])
            .param("tenant", "7")
            .build_with(endpoint.clone());
        token_request(source.unwrap()).await.unwrap();
        let expected = form(&[
            ("grant_type", GRANT),
            ("subject_token", "subject"),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:saml2",
            ),
            ("actor_token", "actor+/="),
            ("actor_token_type", "urn:example:robot"),
            ("requested_token_type", JWT),
            ("audience", "orders"),
            ("resource", "https://orders.example.com/"),
            ("scope", "a b"),
            ("tenant", "7"),
            ("client_id", "id"),
            ("client_secret", "s"),
        ]);
        assert_eq!(forms(&endpoint), [expected]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_public_client_sends_its_id_alone() {
        let endpoint = Endpoint::new([granted()]);
        let source = ClientCredentials::builder(TOKEN_URL, "id", ClientAuth::none())
            .grant(TokenExchange::new("t", TokenType::AccessToken))
            .build_with(endpoint.clone());
        token_request(source.unwrap()).await.unwrap();
        let expected = form(&[
            ("grant_type", GRANT),
            ("subject_token", "t"),
            ("subject_token_type", ACCESS_TOKEN),
            ("client_id", "id"),
        ]);
        assert_eq!(forms(&endpoint), [expected]);
    }

    /// Both codes are in use: RFC 8693 has the first, Google's servers the second.
    ///
    /// Promise: L12
    #[tokio::test(start_paused = true)]
    async fn a_subject_token_that_was_rotated_is_read_again_at_once() {
        for code in ["invalid_request", "invalid_grant"] {
            let server = Server::new(move |_, form| match &*form["subject_token"] {
                "new" => granted(),
                _ => rejected(code),
            });
            let cache = TokenCache::new(server.source(of(rotated(&["old", "new"]))));
            cache.get().await.unwrap();
            let sent: Vec<_> = server
                .forms()
                .iter()
                .map(|it| it["subject_token"].clone())
                .collect();
            assert_eq!(sent, ["old", "new"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_subject_token_that_stays_the_same_is_not_sent_again() {
        for (code, times) in [
            ("invalid_request", 1),
            ("invalid_grant", 1),
            ("invalid_target", 1),
        ] {
            let server = Server::new(move |_, _| rejected(code));
            let error = token_request(server.source(of("same"))).await.unwrap_err();
            assert_eq!(error.oauth_code(), Some(code));
            assert_eq!(server.posts(), times);
        }
    }

    /// With a new one it would be the same wrong secret once more, and servers lock out clients that fail often.
    ///
    /// Promise: L12
    #[tokio::test(start_paused = true)]
    async fn a_new_subject_token_is_no_reason_to_send_a_wrong_secret_again() {
        let server = Server::new(|_, _| rejected("invalid_client"));
        let source = server.source(of(rotated(&["one", "two", "three"])));
        token_request(source).await.unwrap_err();
        assert_eq!(server.posts(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_token_of_a_cache_that_is_rejected_is_replaced_once() {
        let subjects = Server::of_tokens("s");
        let cache = TokenCache::new(subjects.source(client()));
        let server = Server::new(|_, form| match &*form["subject_token"] {
            "s1" => granted(),
            _ => rejected("invalid_request"),
        });
        token_request(server.source(of(Secret::from_cache(cache.clone()))))
            .await
            .unwrap();
        assert_eq!((subjects.posts(), server.posts()), (2, 2));
        assert_eq!(cache.get().await.unwrap().expose_secret(), "s1");
        assert_eq!(subjects.posts(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_rejects_every_subject_token_costs_two_of_them_an_attempt() {
        let subjects = Server::of_tokens("s");
        let subject = TokenCache::new(subjects.source(client()));
        let server = Server::new(|_, _| rejected("invalid_grant"));
        let cache = TokenCache::new(server.source(of(Secret::from_cache(subject))));
        for _ in 0..100 {
            cache.get().await.unwrap_err();
        }
        assert_eq!((subjects.posts(), server.posts()), (2, 2));
    }

    /// How long the token is used that such a subject token is exchanged for.
    async fn life(subject: impl Into<Secret>, expires_in: Value) -> Duration {
        let server = Server::new(move |_, _| granted_with(&json!({"expires_in": expires_in})));
        let cache = TokenCache::new(server.source(of(subject)));
        cache.get().await.unwrap();
        match cache.state().token() {
            TokenState::Fresh { usable_for } | TokenState::Stale { usable_for } => usable_for,
            other => panic!("{other:?}"),
        }
    }

    fn is_about(life: Duration, seconds: u64) -> bool {
        let seconds = Duration::from_secs(seconds);
        life <= seconds && life + Duration::from_secs(5) > seconds
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_lives_no_longer_than_the_subject_token_that_it_was_given_for() {
        for (exp, expires_in, expected) in [
            (from_now(120), json!(3600), 120),
            (from_now(3600), json!(120), 120),
            // The default lifetime is five minutes.
            (from_now(120), json!(null), 120),
            (from_now(3600), json!(null), 300),
            (from_now(120), json!(0), 120),
            // A subject token that should be over was good for the server, whose clock may be another.
            (from_now(-5), json!(600), 600),
        ] {
            let subject = jwt(&json!({"exp": exp, "sub": "w"}));
            let life = life(subject, expires_in.clone()).await;
            assert!(
                is_about(life, expected),
                "{expires_in} {expected}: {life:?}"
            );
        }
        assert!(is_about(life("opaque", json!(3600)).await, 3600));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_lives_no_longer_than_that_of_the_cache_that_it_was_given_for() {
        let subject = tower_bearer::Token::new("s").unwrap();
        let subject = FixedToken::from(subject.with_lifetime(Duration::from_secs(600)));
        let subject = TokenCache::new(subject);
        subject.get().await.unwrap();
        // By the steady clock alone, as far as the test goes.
        tokio::time::advance(Duration::from_secs(400)).await;
        let life = life(Secret::from_cache(subject), json!(3600)).await;
        assert!(is_about(life, 200), "{life:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_access_token_is_taken_only_if_it_was_asked_for() {
        let answered = async |requested: Option<TokenType>, members: Value| {
            let exchange = TokenExchange::new("t", TokenType::Jwt);
            let exchange = match requested {
                Some(requested) => exchange.with_requested_type(requested),
                None => exchange,
            };
            let server = Server::new(move |_, _| granted_with(&members));
            token_request(server.source(client().grant(exchange))).await
        };
        let not_applicable = json!({"token_type": "N_A", "issued_token_type": JWT});
        for requested in [None, Some(TokenType::AccessToken)] {
            let error = answered(requested, not_applicable.clone())
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidAnswer);
            assert!(error.to_string().contains("N_A"), "{error}");
        }
        answered(Some(TokenType::Jwt), not_applicable)
            .await
            .unwrap();
        // Another one is never taken for a bearer token.
        for members in [
            json!({"token_type": "mac"}),
            json!({"issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}),
        ] {
            let answer = answered(Some(TokenType::Jwt), members).await;
            assert!(!answer.unwrap_err().is_transient());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_issued_type_can_be_kept() {
        let server = Server::new(|_, _| granted_with(&json!({"issued_token_type": ACCESS_TOKEN})));
        let source = server.source(of("t").keep(["issued_token_type"]));
        let token = token_request(source).await.unwrap();
        assert_eq!(token.extra("issued_token_type"), Some(ACCESS_TOKEN));
    }

    #[tokio::test(start_paused = true)]
    async fn a_subject_token_that_cannot_be_had_is_a_transient_error_and_asks_no_server() {
        let gone = Secret::from_provider(|| ready(Err::<String, _>("the platform is down")));
        let server = Server::new(|_, _| granted());
        let error = token_request(server.source(of(gone))).await.unwrap_err();
        assert!(error.is_transient());
        assert!(error.to_string().contains("subject token"), "{error}");
        assert_eq!(server.posts(), 0);
    }

    #[test]
    fn what_cannot_work_is_an_error_that_says_what_to_change() {
        let exchange = || TokenExchange::new("t", TokenType::Jwt);
        for (builder, named) in [
            (of(" "), "subject token is empty"),
            (of(Secret::from_file("/no/such/token")), "/no/such/token"),
            (
                client().grant(exchange().with_actor("", TokenType::Jwt)),
                "actor token is empty",
            ),
            (
                client().grant(TokenExchange::new("t", "jwt")),
                "type of the subject token",
            ),
            (
                client().grant(exchange().with_requested_type("")),
                "type of the requested token",
            ),
            (
                client().grant(
                    exchange()
                        .with_requested_type("urn:ietf:params:oauth:token-type:refresh_token"),
                ),
                "refresh token",
            ),
            (of("t").param("subject_token", "other"), "subject_token"),
            (
                of("t").param("requested_token_type", JWT),
                "requested_token_type",
            ),
            (
                ClientCredentials::without_client(TOKEN_URL),
                "set a `grant`",
            ),
            (
                ClientCredentials::without_client(TOKEN_URL).grant_type("account_credentials"),
                "set a `grant`",
            ),
        ] {
            let error = refused(builder);
            assert!(error.contains(named), "{named}: {error}");
        }
    }

    #[test]
    fn a_type_is_the_same_by_its_name_and_by_its_uri() {
        for kind in [
            TokenType::AccessToken,
            TokenType::IdToken,
            TokenType::Jwt,
            TokenType::Saml1,
            TokenType::Saml2,
            TokenType::Other("urn:example:robot".to_owned()),
        ] {
            assert_eq!(TokenType::from(kind.as_str()), kind);
            assert_eq!(TokenType::from(kind.to_string()), kind);
        }
    }
}

mod assertion_of_a_third_party {
    use super::*;

    const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

    #[tokio::test(start_paused = true)]
    async fn it_is_shown_beside_the_clients_own_proof() {
        let endpoint = Endpoint::new([granted()]);
        // As Entra ID has it on behalf of a user.
        let source = client()
            .grant(Grant::jwt_bearer("a.b+c"))
            .param("requested_token_use", "on_behalf_of")
            .scopes(["graph"])
            .build_with(endpoint.clone());
        token_request(source.unwrap()).await.unwrap();
        let expected = form(&[
            ("grant_type", GRANT),
            ("assertion", "a.b+c"),
            ("requested_token_use", "on_behalf_of"),
            ("scope", "graph"),
            ("client_id", "id"),
            ("client_secret", "s"),
        ]);
        assert_eq!(forms(&endpoint), [expected]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_rotated_is_read_again_at_once() {
        let server = Server::new(|_, form| match &*form["assertion"] {
            "new" => granted(),
            _ => rejected("invalid_grant"),
        });
        let grant = Grant::jwt_bearer(rotated(&["old", "new"]));
        token_request(server.source(client().grant(grant)))
            .await
            .unwrap();
        assert_eq!(server.posts(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_of_a_rejected_one_says_what_to_check_and_not_what_it_is() {
        let shown = jwt(&json!({"iss": "k"}));
        let echo = shown.clone();
        let server = Server::new(move |_, _| {
            let body =
                json!({"error": "invalid_grant", "error_description": format!("bad: {echo}")});
            answer(400, &[], body.to_string())
        });
        let source = server.source(client().grant(Grant::jwt_bearer(shown.clone())));
        let error: Error = token_request(source).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("check the assertion") && text.contains("[redacted]"),
            "{text}"
        );
        assert!(
            !text.contains(&shown) && !text.contains("c2lnbmF0dXJl"),
            "{text}"
        );
    }

    #[test]
    fn its_parameter_is_its_own() {
        let error = refused(
            client()
                .grant(Grant::jwt_bearer("a"))
                .param("assertion", "b"),
        );
        assert!(error.contains("assertion"), "{error}");
        let error = refused(client().grant(Grant::jwt_bearer("")));
        assert!(error.contains("assertion is empty"), "{error}");
    }
}

#[cfg(feature = "jwt")]
mod signed_assertion {
    use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
    use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
    use tower_bearer::client_credentials::{
        JwtBearer, SigningAlgorithm, SigningKey, google_service_account,
    };

    use super::*;

    const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    const RSA: &str = include_str!("keys/rsa.pem");
    const P256: &str = include_str!("keys/p256.pem");
    const ACCOUNT: &str = "robot@project.iam.gserviceaccount.com";
    const GOOGLE: &str = "https://oauth2.googleapis.com/token";
    const CLOUD: &str = "https://www.googleapis.com/auth/cloud-platform";

    fn key_file() -> Value {
        json!({
            "type": "service_account", "project_id": "project", "private_key_id": "k7",
            "private_key": RSA, "client_email": ACCOUNT, "client_id": "1",
            "token_uri": GOOGLE, "universe_domain": "googleapis.com",
        })
    }

    /// The header and the claims of an assertion.
    fn read(assertion: &str) -> [Value; 2] {
        let parts: Vec<_> = assertion.split('.').collect();
        [parts[0], parts[1]].map(|part| {
            let part = BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
            serde_json::from_slice(&part).unwrap()
        })
    }

    fn is_signed(assertion: &str) -> bool {
        let key = PrivatePkcs8KeyDer::from_pem_slice(RSA.as_bytes()).unwrap();
        let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
        let (input, signature) = assertion.rsplit_once('.').unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
            .verify(input.as_bytes(), &signature)
            .is_ok()
    }

    /// A server like Google's, for one account.
    fn google() -> Server {
        Server::new(|_, form| {
            let assertion = &form["assertion"];
            let wanted = super::form(&[("grant_type", GRANT), ("assertion", assertion)]);
            let [header, claims] = read(assertion);
            let number = |name: &str| claims[name].as_i64().unwrap();
            let is_right = *form == wanted
                && is_signed(assertion)
                && header["alg"] == "RS256"
                && header["kid"] == "k7"
                && claims["iss"] == ACCOUNT
                && claims["aud"] == GOOGLE
                && claims["scope"] == format!("{CLOUD} email")
                && claims.get("sub").is_none()
                && number("iat") <= from_now(0)
                && number("exp") > from_now(0)
                && number("exp") - number("iat") <= 3600;
            match is_right {
                true => granted(),
                false => rejected("invalid_grant"),
            }
        })
    }

    /// Promise: E8
    #[tokio::test(start_paused = true)]
    async fn the_key_file_of_a_google_service_account_is_all_that_is_needed() {
        let google = google();
        let builder = google_service_account(key_file().to_string()).unwrap();
        let cache = TokenCache::new(google.source(builder.scopes([CLOUD, "email"])));
        for _ in 0..10 {
            cache.get().await.unwrap();
        }
        assert_eq!(google.posts(), 1);
    }

    #[test]
    fn what_is_no_key_file_is_an_error_that_shows_nothing_of_it() {
        for name in ["client_email", "private_key", "private_key_id", "token_uri"] {
            let mut file = key_file();
            file.as_object_mut().unwrap().remove(name);
            let error = google_service_account(file.to_string()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(name), "{error}");
        }
        let error = google_service_account("hunter2-is-no-json").unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        let provided = Secret::from_provider(|| ready(Ok::<_, Infallible>("{}")));
        google_service_account(provided).unwrap_err();
    }

    fn robot() -> JwtBearer {
        JwtBearer::signed_by(
            SigningKey::from_pem(SigningAlgorithm::Rs256, RSA),
            "robot@example.com",
        )
    }

    async fn assertion(grant: JwtBearer) -> ([Value; 2], Form) {
        let server = Server::new(|_, _| granted());
        token_request(server.source(client().scopes(["a", "b"]).grant(grant)))
            .await
            .unwrap();
        let form = server.forms().remove(0);
        (read(&form["assertion"]), form)
    }

    #[tokio::test(start_paused = true)]
    async fn an_assertion_says_what_the_rfc_requires() {
        let ([header, claims], form) = assertion(robot()).await;
        assert_eq!(header, json!({"alg": "RS256", "typ": "JWT"}));
        for (name, value) in [
            ("iss", "robot@example.com"),
            ("sub", "robot@example.com"),
            ("aud", TOKEN_URL),
        ] {
            assert_eq!(claims[name], value, "{name}");
        }
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
            60
        );
        assert_eq!(claims.as_object().unwrap().len(), 7);
        assert_eq!(form["scope"], "a b");
        assert_eq!(form["client_secret"], "s");
    }

    #[tokio::test(start_paused = true)]
    async fn an_assertion_says_what_it_is_told_to() {
        let grant = robot()
            .with_subject("user@example.com")
            .with_audience("https://auth.example.com")
            .with_typ("authorization-grant+jwt")
            .with_lifetime(Duration::from_secs(3600))
            .with_scopes_as_claim()
            .with_claim("tenant", 7)
            .with_header("x5u", "https://keys.example.com");
        let ([header, claims], form) = assertion(grant).await;
        assert_eq!(header["typ"], "authorization-grant+jwt");
        assert_eq!(header["x5u"], "https://keys.example.com");
        for (name, value) in [
            ("sub", json!("user@example.com")),
            ("aud", json!("https://auth.example.com")),
            ("scope", json!("a b")),
            ("tenant", json!(7)),
        ] {
            assert_eq!(claims[name], value, "{name}");
        }
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
            3600
        );
        assert_eq!(form.get("scope"), None);
    }

    /// Promise: L12
    #[tokio::test(start_paused = true)]
    async fn a_key_that_was_rotated_signs_again_at_once_and_one_that_was_not_does_not() {
        let server = Server::new(|_, form| match is_signed(&form["assertion"]) {
            true => granted(),
            false => rejected("invalid_grant"),
        });
        let jwks = [
            include_str!("keys/p256.jwk.json"),
            include_str!("keys/rsa.jwk.json"),
        ];
        let by = |texts: &[&'static str]| {
            let key = SigningKey::from_jwk(rotated(texts));
            client().grant(JwtBearer::signed_by(key, "i"))
        };
        token_request(server.source(by(&jwks))).await.unwrap();
        assert_eq!(server.posts(), 2);
        let error = token_request(server.source(by(&jwks[..1])))
            .await
            .unwrap_err();
        assert_eq!(server.posts(), 3);
        let text = error.to_string();
        assert!(
            text.contains("signed with ES256") && text.contains("clock"),
            "{text}"
        );
    }

    /// Each HTTP request has its own: servers accept one once.
    #[tokio::test(start_paused = true)]
    async fn no_assertion_is_sent_twice() {
        let server = Server::new(|post, _| match post {
            0 => answer(503, &[], ""),
            _ => granted(),
        });
        let cache = TokenCache::new(server.source(client().grant(robot())));
        cache.get().await.unwrap();
        let forms = server.forms();
        assert_eq!(forms.len(), 2);
        assert_ne!(forms[0]["assertion"], forms[1]["assertion"]);
    }

    #[test]
    fn what_cannot_be_signed_is_an_error_that_says_what_to_change() {
        let signed = |key: SigningKey| client().grant(JwtBearer::signed_by(key, "i"));
        let of = |grant: JwtBearer| client().grant(grant);
        for (builder, named) in [
            (
                signed(SigningKey::from_pem(SigningAlgorithm::Rs256, P256)),
                "RS256",
            ),
            (
                of(robot().with_subject(" ")),
                "subject of the assertion is empty",
            ),
            (
                of(JwtBearer::signed_by(
                    SigningKey::from_pem(SigningAlgorithm::Rs256, RSA),
                    "",
                )),
                "issuer of the assertion is empty",
            ),
            (
                of(robot().with_lifetime(Duration::from_secs(10))),
                "too short",
            ),
            (of(robot().with_claim("iss", "x")), "signed_by"),
            (
                of(robot().with_claim("scope", "x").with_scopes_as_claim()),
                "scope",
            ),
            (of(robot().with_typ("a b")), "media type"),
        ] {
            let error = refused(builder);
            assert!(error.contains(named), "{named}: {error}");
        }
    }
}
