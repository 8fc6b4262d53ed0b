//! What can be read of secrets and tokens by whoever reads along: in `Debug` and `Display`, in errors and all that is below
//! them, and in every line down to TRACE of this crate and of the layers around it, over real sockets.
//!
//! Secrets and tokens are random, anew for each run. What is looked for is each of them in every form in which it travels,
//! and any eight characters in a row of those.
//!
//! ```text
//! cargo test --all-features --test leaks -- --nocapture     # says its seed
//! PROPTEST_RNG_SEED=7 cargo test --all-features --test leaks
//! ```
//!
//! hyper itself traces only in builds with `--cfg hyper_unstable_tracing`, which nobody has by accident; its lines tell
//! sizes, and the names and not the values of headers.

#![cfg(all(
    feature = "config",
    feature = "dpop",
    feature = "keyed",
    feature = "metrics",
    feature = "redis",
    feature = "reqwest-middleware",
    feature = "rustls",
    feature = "tonic",
    feature = "tracing"
))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/alone.rs"]
mod alone;
#[path = "support/secrets.rs"]
mod secrets;

use std::{
    convert::Infallible,
    error::Error as StdError,
    fmt::{self, Write as _},
    fs,
    future::{Ready, pending},
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    serve::Listener,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION, request::Parts,
};
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use reqwest_middleware::ClientBuilder;
use reqwest_tracing::TracingMiddleware;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::{Builder, Runtime},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_test::{assert_pending, assert_ready, task};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, ClientAuth, ClientCredentials, Error, Secret, Token, TokenCache,
    adapter::{
        reqwest::{ReqwestService, ReusableBody},
        tonic::{GrpcAuthLayer, Messages},
    },
    cache::Keyed,
    client_credentials::{
        self, Assertion, ClientCredentialsBuilder, JwtBearer, Signer, SigningAlgorithm, SigningKey,
        TokenExchange, TokenType, google_service_account,
    },
    config::Configuration,
    dpop::{DpopKey, DpopLayer},
    extension::{Deadline, MinValidity, NoRetry, NoToken},
    replay::{Buffered, CloneBody, NoReplay, Replay},
    select::{ByExtension, Origins},
    shared::{Identity, SealingKeys, SharedLayer, SharedStore},
    test_util::{self, Answer, AuthorizationServer, Grant, Outcome, ProtectedApi, ScriptedSource},
    token::{FixedToken, Lookup, TokenRequest},
    unauthorized::{BearerChallenge, GrpcUnauthenticated},
};
use tower_http::{
    classify::{ServerErrorsAsFailures, SharedClassifier},
    trace::{DefaultMakeSpan, DefaultOnRequest, DefaultOnResponse, TraceLayer},
};
use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::fmt::{MakeWriter, format::FmtSpan};

use self::secrets::{Hidden, Random, base64};

mod traced {
    //! Over real sockets, with everybody's lines down to TRACE.

    use super::*;

    /// Promise: S4
    #[tokio::test]
    async fn no_line_down_to_trace_shows_a_secret_or_a_token_over_http_1() {
        every_life(Over::Http1).await;
    }

    /// Promise: S4
    #[tokio::test]
    async fn no_line_down_to_trace_shows_a_secret_or_a_token_over_http_2() {
        every_life(Over::Http2).await;
    }

    /// Promise: S4
    #[tokio::test]
    async fn no_line_down_to_trace_shows_a_secret_or_a_token_over_tls() {
        every_life(Over::Tls).await;
    }

    /// The default transport trusts what the platform trusts: here, for a process of its own, the tests' authority.
    ///
    /// Promise: S4
    #[cfg(target_os = "linux")]
    #[test]
    fn no_line_of_the_default_transport_over_tls_shows_a_secret_or_a_token() {
        alone::run("traced::", 1, |command| {
            command
                .env("SSL_CERT_FILE", keys("ca.crt"))
                .env_remove("SSL_CERT_DIR");
        });
    }

    #[tokio::test]
    #[ignore = "run by no_line_of_the_default_transport_over_tls_shows_a_secret_or_a_token"]
    async fn by_the_default_transport_over_tls() {
        let mut random = Random::new();
        for auth in AUTHS {
            life(&mut random, auth, Transport::Default, Over::Tls).await;
        }
    }

    /// reqwest writes down every byte where its client is told to, which the token request forbids and an API's own client may
    /// be. It shows that what is looked for would be found.
    #[tokio::test]
    async fn a_client_of_the_api_that_is_told_to_log_every_byte_logs_the_token() {
        let mut random = Random::new();
        let (told, _listening) = listen();
        let hidden = Hidden::new(&mut random);
        let api = Server::start(Over::Http1, |_, _| Response::default()).await;
        let client = reqwest::Client::builder().connection_verbose(true);
        let source = FixedToken::new(&hidden.tokens[0]).unwrap();
        let service = BearerAuthLayer::new(source)
            .replay(ReusableBody)
            .layer(ReqwestService::new(client.build().unwrap()));
        let request = Request::get(&api.origin).body(reqwest::Body::default());
        service.oneshot(request.unwrap()).await.unwrap();
        assert!(hidden.found_in(&told.text()).is_some());
    }

    /// Promise: R9, S4
    #[tokio::test]
    async fn what_operators_are_told_by_default_is_what_happened() {
        let mut random = Random::new();
        let told = life(&mut random, Auth::Post, Transport::Default, Over::Http1).await;
        let own: Vec<_> = told
            .lines()
            .filter(|line| line.contains(" tower_bearer: "))
            .collect();
        for event in [
            "requested an access token",
            "token requests fail",
            "the access token was rejected",
            "a rejected request is not retried",
        ] {
            assert!(
                own.iter().any(|line| line.contains(event)),
                "{event} is not in {own:#?}"
            );
        }
        assert!(told.contains("\ntower_bearer_rejections{"), "{told}");
    }

    async fn every_life(over: Over) {
        let mut random = Random::new();
        for transport in TRANSPORTS {
            match (over, transport) {
                // It does not speak HTTP/2 without TLS, and would not trust the tests' authority here.
                (Over::Http2 | Over::Tls, Transport::Default) => continue,
                // It has no TLS.
                (Over::Tls, Transport::Reqwest) => continue,
                _ => {}
            }
            for auth in AUTHS {
                life(&mut random, auth, transport, over).await;
            }
        }
    }

    /// How the token request reaches its server.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Transport {
        Default,
        Own,
        Reqwest,
    }

    const TRANSPORTS: [Transport; 3] = [Transport::Default, Transport::Own, Transport::Reqwest];

    /// How a client proves itself.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Auth {
        Open,
        Post,
        Basic,
        BasicRaw,
        SecretJwt,
        Assertion,
        PrivateKey,
        /// A public client that exchanges a token.
        Exchange,
        /// A public client that signs its grant.
        SignedGrant,
    }

    const AUTHS: [Auth; 9] = [
        Auth::Open,
        Auth::Post,
        Auth::Basic,
        Auth::BasicRaw,
        Auth::SecretJwt,
        Auth::Assertion,
        Auth::PrivateKey,
        Auth::Exchange,
        Auth::SignedGrant,
    ];

    fn client_auth(auth: Auth, secret: &str) -> ClientAuth {
        match auth {
            Auth::Open => secret.into(),
            Auth::Post => ClientAuth::post(secret),
            Auth::Basic => ClientAuth::basic(secret),
            Auth::BasicRaw => ClientAuth::basic_raw(secret),
            Auth::SecretJwt => ClientAuth::secret_jwt(secret),
            Auth::Assertion => ClientAuth::assertion(secret),
            Auth::PrivateKey => {
                ClientAuth::private_key_jwt(SigningKey::from_pem(SigningAlgorithm::Es256, pem(KEY)))
            }
            Auth::Exchange | Auth::SignedGrant => ClientAuth::none(),
        }
    }

    fn grant(auth: Auth, secret: &str) -> client_credentials::Grant {
        match auth {
            Auth::Exchange => TokenExchange::new(secret, TokenType::Jwt).into(),
            Auth::SignedGrant => {
                let key = SigningKey::from_pem(SigningAlgorithm::Es256, pem(KEY));
                JwtBearer::signed_by(key, "robot").into()
            }
            _ => client_credentials::Grant::default(),
        }
    }

    /// Takes a credential through its life: a token is got, used, rejected and replaced; another is rejected and not
    /// replaced, for the server denies the client and quotes all that it was sent; so it does a client that begins; and
    /// then neither of the servers is there any more. What was told meanwhile, and what the errors say, is looked at, and
    /// given.
    async fn life(random: &mut Random, auth: Auth, transport: Transport, over: Over) -> String {
        let (told, _listening) = listen();
        let mut hidden = Hidden::new(random);
        for line in pem(KEY).lines().filter(|line| !line.contains('-')) {
            hidden.and(line);
        }
        let tokens = hidden.tokens.clone();
        // The server knows the secret, unless it is a private key.
        let secret = match auth {
            Auth::PrivateKey | Auth::SignedGrant => String::new(),
            _ => hidden.secret.clone(),
        };
        let endpoint = Server::start(over, move |post, (head, body)| match tokens.get(post) {
            Some(token) => json_answer(200, &json!({"access_token": token, "expires_in": 3600})),
            None => {
                let authorization = head.headers.get(AUTHORIZATION);
                let form = String::from_utf8_lossy(body);
                let quoted = format!("{secret} {} {authorization:?} {form}", tokens[2]);
                let body = json!({"error": "invalid_client", "error_description": quoted});
                json_answer(401, &body)
            }
        })
        .await;
        let accepted = Arc::new(AtomicUsize::new(0));
        let (current, tokens) = (Arc::clone(&accepted), hidden.tokens.clone());
        let api = Server::start(over, move |_, (head, _)| {
            let accepted = tokens.get(current.load(Ordering::SeqCst));
            let accepted = accepted.map(|token| format!("Bearer {token}"));
            let status = match head.headers.get(AUTHORIZATION) {
                Some(token) if Some(token.to_str().unwrap()) == accepted.as_deref() => 200,
                _ => 401,
            };
            let mut answer = json_answer(status, &json!({}));
            let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
            answer.headers_mut().insert("www-authenticate", challenge);
            answer
        })
        .await;
        let build = |token_url: &str| {
            let builder = ClientCredentials::builder(
                token_url,
                &hidden.id,
                client_auth(auth, &hidden.secret),
            )
            .grant(grant(auth, &hidden.secret))
            .scopes(["billing"])
            // Not a URL: its `%3A%2F%2` is in a random text now and then.
            .audience("api");
            build(builder, transport, over)
        };
        let credentials = build(&format!("{}/token", endpoint.origin));
        let mut errors = String::new();

        let cache = TokenCache::new(credentials.clone());
        let called = call(&cache, &api.origin, over, &mut errors);
        assert_eq!(called.await, 200);
        accepted.store(1, Ordering::SeqCst);
        let called = call(&cache, &api.origin, over, &mut errors);
        assert_eq!(called.await, 200);
        // Rejected from now on.
        accepted.store(usize::MAX, Ordering::SeqCst);
        let cache = TokenCache::new(credentials.clone());
        let called = call(&cache, &api.origin, over, &mut errors);
        assert_eq!(called.await, 401);
        assert!(errors.contains("[redacted]"), "{errors}");
        let cache = TokenCache::new(credentials);
        let called = call(&cache, &api.origin, over, &mut errors);
        assert_eq!(called.await, 0);
        write!(errors, "{:?} {cache:?}", cache.state()).unwrap();
        assert_eq!(endpoint.requests().len(), 5);

        let (_port, nobody) = nobody(over);
        // A query may hold a key, which only somebody's own trace tells.
        let key = match transport {
            Transport::Own => String::new(),
            Transport::Default | Transport::Reqwest => {
                url::form_urlencoded::byte_serialize(hidden.secret.as_bytes()).collect()
            }
        };
        let cache = TokenCache::new(build(&format!("{nobody}/token?key={key}")));
        let called = call(&cache, &api.origin, over, &mut errors);
        assert_eq!(called.await, 0);
        let token = Token::new(&hidden.tokens[0]).unwrap();
        let cache = TokenCache::new(FixedToken::from(token));
        let called = call(&cache, &nobody, over, &mut errors);
        assert_eq!(called.await, 0);

        // All of it was there to be told.
        for (head, body) in endpoint.requests() {
            hidden.sent_in(&head, &body);
        }
        let told = told.text();
        let mut talkers = vec![
            "hyper_util::client::legacy",
            " tower_bearer: ",
            "tower_http::trace",
        ];
        talkers.extend(match over {
            Over::Http1 => ["reqwest::connect", "reqwest_tracing::"].as_slice(),
            Over::Http2 => &["reqwest::connect", "reqwest_tracing::", "h2::codec"],
            Over::Tls => &[
                "h2::codec",
                "rustls::client",
                "hyper_util::client::legacy::connect",
            ],
        });
        for talker in talkers {
            assert!(told.contains(talker), "{talker} was not heard");
        }
        assert!(told.contains(r#""authorization": Sensitive"#));
        hidden.assert_not_in(&told);
        hidden.assert_not_in(&errors);
        told
    }

    fn build(
        builder: ClientCredentialsBuilder,
        transport: Transport,
        over: Over,
    ) -> ClientCredentials {
        match transport {
            Transport::Default => builder.build(),
            Transport::Own => {
                let client = ServiceBuilder::new().layer(trace()).service(client(over));
                builder.build_with::<_, Full<Bytes>, _>(client)
            }
            Transport::Reqwest => {
                builder.build_with_reqwest(client_of_reqwest(over).connection_verbose(true))
            }
        }
        .unwrap()
    }

    /// Calls the API by each client, with others around the layer that trace. The status that all of them had, 0 for an
    /// error; all that errors say is added to `errors`.
    async fn call(cache: &TokenCache, origin: &str, over: Over, errors: &mut String) -> u16 {
        let layer = BearerAuthLayer::from_cache(cache.clone());
        let uri = format!("{origin}/invoices");

        let by_hyper = ServiceBuilder::new()
            .layer(trace())
            .layer(layer.clone())
            .layer(trace())
            .service(client(over));
        let request = Request::get(&uri).body(Full::default()).unwrap();
        let by_hyper = ended(by_hyper.oneshot(request).await, errors).await;
        if over == Over::Tls {
            return by_hyper;
        }

        let client = client_of_reqwest(over).build().unwrap();
        let by_reqwest = ServiceBuilder::new()
            .layer(trace())
            .layer(layer.clone().replay(ReusableBody))
            .layer(trace())
            .service(ReqwestService::new(client.clone()));
        let request = Request::get(&uri).body(reqwest::Body::default()).unwrap();
        let by_reqwest = ended(by_reqwest.oneshot(request).await, errors).await;

        let by_middleware = ClientBuilder::new(client)
            .with(TracingMiddleware::default())
            .with(layer)
            .with(TracingMiddleware::default())
            .build();
        let answer = by_middleware.get(&uri).send().await;
        let answer = answer.map(Response::<reqwest::Body>::from);
        let by_middleware = ended(answer.map_err(Into::into), errors).await;

        assert_eq!([by_reqwest, by_middleware], [by_hyper; 2]);
        by_hyper
    }

    async fn ended<B>(answer: Result<Response<B>, BoxError>, errors: &mut String) -> u16
    where
        B: http_body::Body<Error: fmt::Debug>,
    {
        match answer {
            Ok(answer) => {
                errors.push_str(&debug(answer.extensions()));
                if let Some(error) = answer.extensions().get::<Error>() {
                    errors.push_str(&all_of(error));
                }
                let status = answer.status().as_u16();
                answer.into_body().collect().await.unwrap();
                status
            }
            Err(error) => {
                errors.push_str(&all_of(&*error));
                0
            }
        }
    }

    type Trace = TraceLayer<
        SharedClassifier<ServerErrorsAsFailures>,
        DefaultMakeSpan,
        DefaultOnRequest,
        DefaultOnResponse,
    >;

    /// Tells every header.
    fn trace() -> Trace {
        let level = Level::INFO;
        TraceLayer::new_for_http()
            .make_span_with(DefaultMakeSpan::new().level(level).include_headers(true))
            .on_request(DefaultOnRequest::new().level(level))
            .on_response(DefaultOnResponse::new().level(level).include_headers(true))
    }
}

mod panicked {
    use super::*;

    /// The panic's own message goes to the panic hook, which is the program's: by default it is printed as it is.
    ///
    /// Promise: F6, S4
    #[tokio::test(start_paused = true)]
    async fn no_error_shows_what_a_source_said_as_it_panicked() {
        let mut random = Random::new();
        let (told, _listening) = listen();
        let hidden = Hidden::new(&mut random);
        let words = format!("{} and {}", hidden.secret, hidden.tokens[0]);
        let quiet = std::panic::take_hook();
        let heard = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&heard);
        std::panic::set_hook(Box::new(move |panic| {
            let said = panic.payload().downcast_ref::<String>();
            match said.is_some_and(|said| said.ends_with("on purpose")) {
                true => drop(count.fetch_add(1, Ordering::SeqCst)),
                false => quiet(panic),
            }
        }));
        let said = words.clone();
        let when_called = TokenCache::new(service_fn(
            move |_: TokenRequest| -> Ready<Result<Token, Infallible>> {
                panic!("{said} on purpose")
            },
        ));
        let when_polled = TokenCache::new(service_fn(move |_: TokenRequest| {
            let said = words.clone();
            async move {
                if !said.is_empty() {
                    panic!("{said} on purpose");
                }
                Token::new("t")
            }
        }));
        let provided = {
            let said = hidden.secret.clone();
            let secret = Secret::from_provider(move || {
                let said = said.clone();
                async move {
                    if !said.is_empty() {
                        panic!("{said} on purpose");
                    }
                    Ok::<_, BoxError>(said)
                }
            });
            let source = ClientCredentials::builder("https://auth.test/token", "id", secret);
            TokenCache::new(source.build().unwrap())
        };
        for cache in [when_called, when_polled, provided] {
            let error = cache.get().await.unwrap_err();
            let shown = all_of(&error) + &debug(&cache) + &debug(&cache.state());
            assert!(shown.contains("panicked"), "{shown}");
            hidden.assert_not_in(&shown);
        }
        assert_eq!(heard.load(Ordering::SeqCst), 3);
        assert!(told.text().contains("token requests fail"));
        hidden.assert_not_in(&told.text());
    }
}

mod printed {
    //! By `Debug` and `Display`: every public type.

    use super::*;

    /// Promise: S4
    #[test]
    fn no_debug_or_display_of_any_public_type_shows_a_secret_or_a_token() {
        let runtime = paused();
        let mut random = Random::new();
        let types = public_types();
        for _ in 0..20 {
            let hidden = Hidden::new(&mut random);
            let mut shown = String::new();
            shown += &of_credentials(&hidden);
            shown += &of_configurations(&hidden);
            shown += &runtime.block_on(of_caches_and_requests(&hidden));
            shown += &runtime.block_on(of_a_request_under_way(&hidden));
            shown += &runtime.block_on(of_adapters(&hidden));
            shown += &of_a_fleet(&hidden);
            shown += &of_dpop(&hidden);
            shown += &runtime.block_on(of_the_test_kit(&hidden));
            shown += &of_the_rest(&hidden);
            let missing: Vec<_> = types.iter().filter(|name| !shown.contains(*name)).collect();
            assert!(missing.is_empty(), "not looked at: {missing:?}");
            hidden.assert_not_in(&shown);
        }
    }

    /// As they stand in the sources.
    fn public_types() -> Vec<String> {
        // Their values are shown, and not their names.
        const BY_VALUE: [&str; 10] = [
            "Answer",
            "Outcome",
            "AssertionAudience",
            "ErrorKind",
            "Origins",
            "ExistingAuthorization",
            "Reason",
            "SigningAlgorithm",
            "TokenState",
            "TokenType",
        ];
        // A page of documentation, and what stands behind a private module.
        const NONE: [&str; 3] = ["Readme", "BufferedBody", "Kept"];

        let mut names = Vec::new();
        for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
            for line in fs::read_to_string(path).unwrap().lines() {
                let line = line.trim_start();
                let Some(rest) = ["pub struct ", "pub enum "]
                    .iter()
                    .find_map(|declares| line.strip_prefix(declares))
                else {
                    continue;
                };
                let end = rest.find(|c: char| !c.is_alphanumeric());
                let name = &rest[..end.unwrap_or(rest.len())];
                if !NONE.contains(&name) && !BY_VALUE.contains(&name) {
                    names.push(name.to_owned());
                }
            }
        }
        assert!(names.len() > 35, "{names:?}");
        names
    }

    async fn of_the_test_kit(hidden: &Hidden) -> String {
        let server = AuthorizationServer::new();
        server.register(&hidden.id, ClientAuth::basic(&hidden.secret));
        server.script([Answer::Token]);
        let api = ProtectedApi::with_handler(
            &server,
            service_fn(async |request: Request<test_util::Body>| {
                let grant: Option<&Grant> = request.extensions().get();
                Ok::<_, BoxError>(Response::new(format!("{grant:?} {:?}", request.body())))
            }),
        );
        let source =
            ClientCredentials::builder(url(hidden), &hidden.id, ClientAuth::basic(&hidden.secret))
                .build_with(server.clone())
                .unwrap();
        let client = BearerAuthLayer::new(source).layer(api.clone());
        let request = Request::post(url(hidden)).body(hidden.secret.clone());
        let response = client.oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let answer = response.into_body();
        let mut shown = debug(&answer);
        shown += std::str::from_utf8(&answer.collect().await.unwrap().to_bytes()).unwrap();
        let request = Request::get(url(hidden))
            .header(AUTHORIZATION, format!("Bearer {}", hidden.tokens[0]))
            .body(hidden.secret.clone());
        let rejection = api.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(rejection.status(), 401);
        shown += &debug(&rejection);
        let token = Token::new(&hidden.tokens[0]);
        shown += &debug(&ScriptedSource::new([Outcome::from(token), Outcome::Hang]));
        shown += &debug(&(server.calls(), api.calls(), server.hold(), api.hold()));
        for call in server.calls().iter().chain(&api.calls()) {
            shown += &call.to_string();
        }
        let served = server.serve().await.unwrap();
        shown += &debug(&(&served, &server, &api));
        shown
    }

    fn of_credentials(hidden: &Hidden) -> String {
        let mut shown = String::new();
        let file = temporary(&hidden.secret);
        let text = hidden.secret.clone();
        let provided = text.clone();
        let secrets = || {
            let provided = provided.clone();
            [
                Secret::from(&text),
                Secret::from_env("TOWER_BEARER_NO_SUCH_VARIABLE"),
                Secret::from_file(&file),
                Secret::from_provider(move || {
                    let provided = provided.clone();
                    async move { Ok::<_, Infallible>(provided) }
                }),
            ]
        };
        for secret in secrets() {
            shown += &debug(&secret);
            let keys = [
                SigningKey::from_pem(SigningAlgorithm::Es256, secret.clone()),
                SigningKey::from_jwk(secret.clone()).with_key_id("k1"),
                SigningKey::held_by(Hsm(hidden.secret.clone())).with_certificate(secret.clone()),
                SigningKey::from_secret(SigningAlgorithm::Hs512, secret.clone())
                    .with_certificate_chain(secret.clone()),
            ];
            let assertion = Assertion::signed_by(keys[0].clone())
                .with_audience(url(hidden))
                .with_claim("password", &hidden.secret)
                .with_header("api-key", &hidden.secret);
            shown += &debug(&keys);
            let auths = [
                ClientAuth::from(secret.clone()),
                ClientAuth::post(secret.clone()),
                ClientAuth::basic(secret.clone()),
                ClientAuth::basic_raw(secret.clone()),
                ClientAuth::secret_jwt(secret.clone()),
                ClientAuth::assertion(secret.clone()),
                ClientAuth::spiffe_jwt(secret.clone()).without_client_id(),
                ClientAuth::from(assertion.clone()),
                ClientAuth::from(assertion.with_claim("aud", &hidden.secret)),
                ClientAuth::tls(),
                ClientAuth::none(),
            ];
            let exchange = TokenExchange::new(secret.clone(), TokenType::Jwt);
            let exchange = exchange.with_actor(secret.clone(), TokenType::AccessToken);
            let signed = JwtBearer::signed_by(keys[0].clone(), "robot")
                .with_audience(url(hidden))
                .with_claim("password", &hidden.secret)
                .with_header("api-key", &hidden.secret);
            shown += &(debug(&exchange) + &debug(&signed));
            for grant in [
                exchange.into(),
                client_credentials::Grant::from(signed),
                client_credentials::Grant::jwt_bearer(secret.clone()),
            ] {
                let builder = ClientCredentials::without_client(url(hidden)).grant(grant);
                shown += &debug(&builder);
                shown += &result(builder.build_with(Never));
            }
            shown += &match google_service_account(secret.clone()) {
                Ok(builder) => debug(&builder),
                Err(error) => all_of(&error),
            };
            let auths = auths
                .into_iter()
                .chain(keys.map(ClientAuth::private_key_jwt));
            for auth in auths {
                shown += &debug(&auth);
                for builder in [
                    ClientCredentials::builder(url(hidden), &hidden.id, auth.clone()),
                    ClientCredentials::discover(url(hidden), &hidden.id, auth.clone()),
                ] {
                    let builder = builder
                        .scopes(["billing"])
                        .audience("https://api.test")
                        .param("key", &hidden.secret)
                        .client_certificate(secret.clone(), secret.clone());
                    shown += &debug(&builder);
                    // Not all of them can be: a certificate is no secret, and a secret no key.
                    shown += &result(builder.clone().build());
                    shown += &result(builder.build_with(Never));
                    let plain = ClientCredentials::builder(url(hidden), &hidden.id, auth.clone());
                    shown += &result(plain.build_with(Never));
                }
            }
        }
        assert!(shown.contains("Err(") || shown.contains("Configuration"));
        for algorithm in [
            SigningAlgorithm::Rs256,
            SigningAlgorithm::Ps256,
            SigningAlgorithm::Es256,
            SigningAlgorithm::Es384,
            SigningAlgorithm::EdDsa,
            SigningAlgorithm::Hs256,
        ] {
            shown += &format!("{algorithm} {algorithm:?}");
            let key = SigningKey::from_pem(algorithm, pem(KEY));
            shown += &debug(&key);
            let auth = ClientAuth::private_key_jwt(key);
            let builder = ClientCredentials::builder("https://auth.test/", "id", auth);
            shown += &result(builder.build_with(Never));
            // A key that is no key, whose text must not be in the error.
            let halves = pem(KEY).replace("\n", &format!("\n{}", hidden.secret));
            for broken in [halves, format!("{{\"kty\":{:?}}}", hidden.secret)] {
                for key in [
                    SigningKey::from_pem(algorithm, broken.clone()),
                    SigningKey::from_jwk(broken.clone()),
                ] {
                    let auth = ClientAuth::private_key_jwt(key);
                    let builder = ClientCredentials::builder("https://auth.test/", "id", auth);
                    let error = builder.build_with(Never).unwrap_err();
                    shown += &all_of(&error);
                }
            }
        }
        fs::remove_file(file).unwrap();
        shown
    }

    fn url(hidden: &Hidden) -> String {
        // A query may hold a key.
        format!("https://auth.test/token?key={}", base64(&hidden.secret))
    }

    fn of_configurations(hidden: &Hidden) -> String {
        let secret = &hidden.secret;
        let whole = || {
            json!({
                "token_url": url(hidden), "client_id": "c1", "client_secret": secret,
                "origins": "https://api.test", "cache": {"token_request_timeout": "5s"},
                "params": {"key": secret},
            })
        };
        let mut shown = String::new();
        let configuration: Configuration = serde_json::from_value(whole()).unwrap();
        shown += &debug(&configuration);
        shown += &debug(&configuration.destinations().unwrap());
        let layer = configuration.layer_around(FixedToken::from(token(hidden)));
        shown += &debug(&layer.unwrap());
        // One field wrong, and the secret where it does not belong.
        for (field, value) in [
            ("client_secret", json!({"value": secret})),
            ("client_secret", json!([secret, secret])),
            ("client_secret", json!(["a", {"b": secret}])),
            ("client_auth", json!("no such method")),
            ("client_secret_file", json!("/run/secrets/other")),
            ("client_secret_env", json!("OTHER")),
            ("assertion_file", json!("/run/secrets/other")),
            ("algorithm", json!("RS256")),
            ("issuer", json!("https://auth.test")),
            ("token_url", json!(null)),
            ("client_id", json!(null)),
            ("client_id", json!(1)),
            ("scopes", json!(true)),
            ("origins", json!("https://me:pw@api.test/path")),
            ("params", json!(secret)),
            ("params", json!([secret])),
            ("params", json!({"key": {"value": secret}})),
            ("params", json!({"client_secret": secret})),
            ("cache", json!({"token_request_timeout": "soon"})),
            ("unknown", json!(secret)),
        ] {
            let mut fields = whole();
            fields[field] = value;
            match serde_json::from_value::<Configuration>(fields.clone()) {
                Ok(configuration) => {
                    shown += &debug(&configuration);
                    if let Err(error) = configuration.layer() {
                        shown += &all_of(&error);
                    }
                }
                Err(error) => shown += &all_of(&error),
            }
            // From text as well, where a reader may point at what it read.
            let text = serde_json::to_string_pretty(&fields).unwrap();
            if let Err(error) = serde_json::from_str::<Configuration>(&text) {
                shown += &all_of(&error);
            }
        }
        shown
    }

    async fn of_caches_and_requests(hidden: &Hidden) -> String {
        let mut shown = String::new();
        let [first, second, _] = hidden.tokens.clone();
        let asked: Arc<Mutex<String>> = Arc::default();
        let saw = Arc::clone(&asked);
        let source = service_fn(move |request: TokenRequest| {
            *saw.lock().unwrap() += &(debug(&request) + &debug(&request.reason()));
            let token = match request.rejected_token() {
                None => first.clone(),
                Some(_) => second.clone(),
            };
            async move { Token::new(token) }
        });
        let token = token(hidden);
        shown += &debug(&token);
        shown += &debug(token.authorization());
        let fixed = FixedToken::from(token.with_scopes(["billing"]));
        shown += &debug(&fixed);
        let builder = TokenCache::builder(fixed.clone());
        shown += &debug(&builder);
        shown += &debug(&builder.build().unwrap());
        shown += &debug(&Lookup::new(move || {
            let fixed = fixed.clone();
            async move { Ok::<_, BoxError>(fixed) }
        }));
        let credentials = ClientCredentials::builder("https://auth.test/", "c1", &hidden.secret);
        shown += &debug(&TokenCache::builder(credentials.build_with(Never).unwrap()));

        let layer = BearerAuthLayer::new(source);
        let statuses = Arc::new(AtomicUsize::new(0));
        let api = service_fn(move |request: Request<Full<Bytes>>| {
            let status = [401, 200][statuses.fetch_add(1, Ordering::SeqCst).min(1)];
            let sent = debug(&request.headers());
            async move { Ok::<_, Infallible>(answer(status, sent)) }
        });
        let service = layer.layer(api);
        let response = service.clone().oneshot(request()).await.unwrap();
        assert_eq!(response.status(), 200);
        let (head, sent) = response.into_parts();
        shown += &debug(&head);
        let sent = sent.collect().await.unwrap().to_bytes();
        assert!(sent.starts_with(br#"{"authorization": Sensitive}"#));
        shown += str::from_utf8(&sent).unwrap();
        shown += &debug(&layer);
        shown += &debug(layer.cache());
        shown += &debug(&layer.cache().state());
        shown += &debug(&layer.cache().changes());
        let asked = asked.lock().unwrap().clone();
        // With a rejected token in the second one.
        assert!(asked.contains("Cold") && asked.contains("Rejected") && asked.contains("Token {"));
        shown += &asked;

        // A cache that fails, while the API rejects.
        let (id, secret) = (&hidden.id, &hidden.secret);
        let denied = json!({"error": secret, "error_description": secret}).to_string();
        let posts = Arc::new(AtomicUsize::new(0));
        let granted = json!({"access_token": hidden.tokens[0]}).to_string();
        let transport = service_fn(move |_: Request<Full<Bytes>>| {
            let answer = match posts.fetch_add(1, Ordering::SeqCst) {
                0 => answer(200, granted.clone()),
                _ => answer(400, denied.clone()),
            };
            async move { Ok::<_, Infallible>(answer) }
        });
        let source = ClientCredentials::builder("https://auth.test/", id, secret)
            .build_with(transport)
            .unwrap();
        let layer = BearerAuthLayer::new(source);
        let rejects =
            service_fn(|_: Request<Full<Bytes>>| async { Ok::<_, Infallible>(answer(401, "no")) });
        let response = layer.layer(rejects).oneshot(request()).await.unwrap();
        let error = response.extensions().get::<Error>().unwrap();
        assert!(error.to_string().contains("[redacted]"), "{error}");
        shown += &all_of(error);
        shown += &format!("{:?}{:?}", error.oauth_code(), error.status());
        shown += &debug(response.extensions());
        shown += &debug(&layer.cache().state());
        shown += &debug(layer.cache());
        shown
    }

    /// In each of its states.
    async fn of_a_request_under_way(hidden: &Hidden) -> String {
        let mut shown = String::new();
        let (give, given) = mpsc::channel::<Token>(1);
        let given = Arc::new(tokio::sync::Mutex::new(given));
        let layer = BearerAuthLayer::new(service_fn(move |_: TokenRequest| {
            let given = Arc::clone(&given);
            async move { Ok::<_, Infallible>(given.lock().await.recv().await.unwrap()) }
        }));
        let (mock, mut api) = tower_test::mock::pair::<Request<Full<Bytes>>, Response<Body>>();
        let quiet = tower::util::MapRequest::new(mock, |request: Request<Full<Bytes>>| request);
        let mut service = layer.layer(quiet);
        let mut note = |call: &dyn fmt::Debug, state: &str| {
            let call = debug(&call);
            assert!(call.contains(state), "{call}: not {state}");
            shown += &call;
        };

        api.allow(1);
        service.ready().await.unwrap();
        let mut call = task::spawn(service.call(request()));
        assert_pending!(call.poll());
        note(&*call, "waiting for a token");
        give.send(token(hidden)).await.unwrap();
        settle().await;
        assert_pending!(call.poll());
        note(&*call, "\"sent\"");
        let (_, answered) = api.next_request().await.unwrap();
        let (parts, body) = mpsc::channel::<io::Result<Bytes>>(1);
        let mut rejection = Response::new(Body::from_stream(ReceiverStream::new(body)));
        *rejection.status_mut() = StatusCode::UNAUTHORIZED;
        answered.send_response(rejection);
        assert_pending!(call.poll());
        note(&*call, "rejected, waiting for another token");
        give.send(Token::new(&hidden.tokens[1]).unwrap())
            .await
            .unwrap();
        settle().await;
        assert_pending!(call.poll());
        note(&*call, "rejected, waiting to be retried");
        drop(parts);
        assert_pending!(call.poll());
        note(&*call, "rejected, waiting to be retried");
        api.allow(1);
        settle().await;
        assert_pending!(call.poll());
        note(&*call, "retried");
        let (_, answered) = api.next_request().await.unwrap();
        answered.send_response(Response::default());
        assert_eq!(assert_ready!(call.poll()).unwrap().status(), 200);
        note(&*call, "retried");

        let mut bare = request();
        bare.extensions_mut().insert(NoToken);
        api.allow(1);
        service.ready().await.unwrap();
        let call = service.call(bare);
        note(&call, "sent unchanged");
        drop(call);
        let service = layer.layer(());
        note(&service, "BearerAuth");
        shown
    }

    async fn of_adapters(hidden: &Hidden) -> String {
        let mut shown = String::new();
        let cache = TokenCache::new(FixedToken::from(token(hidden)));
        cache.get().await.unwrap();

        let mut client = ReqwestService::new(reqwest::Client::new());
        shown += &debug(&client);
        let request = || {
            let mut request = Request::new(reqwest::Body::default());
            *request.uri_mut() = "http://127.0.0.1:9/".parse().unwrap();
            let headers: &mut HeaderMap = request.headers_mut();
            headers.insert(AUTHORIZATION, token(hidden).authorization().clone());
            request
        };
        shown += &debug(&client.ready().await.unwrap().call(request()));
        let layer = BearerAuthLayer::from_cache(cache.clone()).replay(ReusableBody);
        shown += &debug(&layer);
        shown += &debug(&layer.layer(client));

        let grpc = GrpcAuthLayer::from_cache(cache.clone()).keep_up_to(1024);
        shown += &debug(&grpc);
        let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:9").connect_lazy();
        let mut grpc = grpc.layer(channel);
        shown += &debug(&grpc);
        let ready = grpc.ready().await.unwrap();
        shown += &debug(&ready.call(Request::new(tonic::body::Body::empty())));

        // Keys that are none of anybody's business either.
        let keyed = {
            let cache = cache.clone();
            Keyed::new(move |_: &String| cache.clone())
        };
        keyed.get(&hidden.secret).get().await.unwrap();
        shown += &debug(&keyed);
        let layer = BearerAuthLayer::keyed(keyed, ByExtension::<String>::new());
        shown += &debug(&layer);
        shown
    }

    /// Keys that are none, and a token whose proof is told.
    fn of_dpop(hidden: &Hidden) -> String {
        let mut shown = String::new();
        let jwk = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
        let with_secret = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": hidden.secret});
        let another = json!({"kty": "EC", "x": hidden.secret});
        for wrong in [
            DpopKey::from_pem(SigningAlgorithm::Es256, &*hidden.secret),
            DpopKey::from_pem(SigningAlgorithm::Hs256, &*hidden.secret),
            DpopKey::from_jwk(with_secret.to_string()),
            DpopKey::held_by(Hsm(hidden.secret.clone()), &hidden.secret),
            DpopKey::held_by(Hsm(hidden.secret.clone()), &with_secret.to_string()),
            DpopKey::held_by(Hsm(hidden.secret.clone()), &another.to_string()),
        ] {
            shown += &all_of(&wrong.unwrap_err());
        }
        let held = DpopKey::held_by(Hsm(hidden.secret.clone()), &jwk.to_string()).unwrap();
        let token = Token::dpop(&hidden.tokens[0]).unwrap();
        shown += &debug(&token);
        for key in [
            held,
            DpopKey::from_pem(SigningAlgorithm::Es256, pem(KEY)).unwrap(),
        ] {
            let layer = DpopLayer::new(key.clone());
            let mut service = layer.layer(Never);
            let mut request = Request::new(Bytes::new());
            *request.uri_mut() = "https://api.test/".parse().unwrap();
            let headers = request.headers_mut();
            headers.insert(AUTHORIZATION, token.authorization().clone());
            shown += &debug(&service.call(request));
            shown += &debug(&(key, &layer, &service));
            shown += &debug(&layer.replay(Messages::up_to(1024)));
        }
        shown
    }

    /// A store's keys and its password are secret as well, and the URL may be wrong.
    fn of_a_fleet(hidden: &Hidden) -> String {
        let key = base64(&hidden.secret.repeat(2));
        let keys = SealingKeys::new(key.clone()).and_open_with(key);
        let mut shown = debug(&keys);
        let wrong = SealingKeys::new(hidden.secret.clone());
        let password: String =
            url::form_urlencoded::byte_serialize(hidden.secret.as_bytes()).collect();
        let at = |host: &str| format!("redis://user:{password}@{host}");
        let store = SharedStore::redis(at("redis.test"), keys.clone()).unwrap();
        for error in [
            SharedStore::redis(at("redis.test"), wrong),
            SharedStore::redis(at("redis.test:port"), keys.clone()),
            SharedStore::redis(hidden.secret.clone(), keys),
        ] {
            shown += &all_of(&error.unwrap_err());
        }
        let credentials = ClientCredentials::builder(
            "https://auth.test/token",
            &hidden.id,
            hidden.secret.clone(),
        );
        let credentials = credentials.build_with(Never).unwrap();
        shown += &debug(&Identity::from(&credentials));
        let layer = SharedLayer::new(&credentials, store.clone());
        shown += &debug(&layer.layer(credentials));
        shown += &debug(&(layer, store));
        shown
    }

    fn of_the_rest(hidden: &Hidden) -> String {
        let mut shown = String::new();
        // A key may name a credential, or be one.
        let key = || hidden.secret.clone();
        let origins = [("https://api.test", key()), ("https://b.test:8443", key())];
        shown += &debug(&Origins::keyed(origins).unwrap());
        let twice = Origins::keyed([("https://api.test", key()), ("https://api.test", key())]);
        shown += &all_of(&twice.unwrap_err());
        let origins = Origins::new(["https://api.test"]).unwrap();
        shown += &debug(&origins);
        shown += &debug(&origins.and(ByExtension::<String>::new()));
        shown += &debug(&ByExtension::<u8>::new());
        shown += &debug(&tower_bearer::select::Always);
        shown += &debug(&tower_bearer::ipxo::ByTenant);
        shown += &debug(&(BearerChallenge, GrpcUnauthenticated));
        let mut request = request();
        // The caller's own, which nobody has marked sensitive.
        let authorization = HeaderValue::try_from(format!("Bearer {}", hidden.tokens[0])).unwrap();
        request.headers_mut().insert(AUTHORIZATION, authorization);
        shown += &debug(&tower_bearer::select::RequestHead::from(&request));
        let answer = answer(200, "");
        shown += &debug(&tower_bearer::unauthorized::ResponseHead::from(&answer));
        shown += &debug(&(CloneBody, NoReplay, ReusableBody));
        let limited = Buffered::up_to(64);
        let (body, recording) = limited.record(
            &Request::new(()).into_parts().0,
            Full::new(Bytes::from_static(b"body")),
        );
        shown += &debug(&(limited, &body, &recording));
        let second = Duration::from_secs(1);
        shown += &debug(&(
            NoToken,
            NoRetry,
            MinValidity::of(second),
            Deadline::after(second),
        ));
        shown
    }

    fn token(hidden: &Hidden) -> Token {
        let token = Token::new(&hidden.tokens[0]).unwrap();
        token.with_extra("id_token", &hidden.tokens[1])
    }

    fn request() -> Request<Full<Bytes>> {
        Request::get("https://api.test/")
            .body(Full::default())
            .unwrap()
    }

    fn answer(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
        let mut answer = Response::new(Full::new(body.into()));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        answer
    }

    fn result(built: Result<ClientCredentials, Error>) -> String {
        match built {
            Ok(credentials) => debug(&credentials),
            Err(error) => format!("Err({})", all_of(&error)),
        }
    }

    /// A key that somebody else holds.
    struct Hsm(String);

    impl Signer for Hsm {
        fn algorithm(&self) -> SigningAlgorithm {
            SigningAlgorithm::Rs256
        }

        fn sign(
            &self,
            _: Bytes,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<Vec<u8>, BoxError>> + Send>> {
            let key = self.0.clone();
            Box::pin(async { Ok(key.into_bytes()) })
        }
    }

    /// A transport by which nothing is sent.
    #[derive(Clone, Debug)]
    struct Never;

    impl Service<Request<Bytes>> for Never {
        type Response = Response<Full<Bytes>>;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Self::Response, Infallible>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Bytes>) -> Self::Future {
            pending()
        }
    }

    fn temporary(text: &str) -> PathBuf {
        let name = format!("leaks-{}", fastrand::u64(..));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let paths = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
        paths
            .flat_map(|path| match path.is_dir() {
                true => sources(&path),
                false => vec![path],
            })
            .collect()
    }

    /// Lets every task that can go on do so, without letting paused time move.
    async fn settle() {
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
    }

    fn paused() -> Runtime {
        Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    }
}

mod found {
    //! That what is looked for would be found.

    use super::*;

    #[test]
    fn a_secret_is_found_in_any_form_and_a_piece_of_it_too() {
        let mut random = Random::new();
        for _ in 0..10 {
            let mut hidden = Hidden::new(&mut random);
            hidden.and("an-assertion.of-some-length");
            let (id, secret) = (&hidden.id, &hidden.secret);
            let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            for shown in [
                secret.clone(),
                secret[3..11].to_owned(),
                format!("{secret:?}"),
                format!("{:?}", secret.as_bytes()),
                encoded.clone(),
                encoded.replace('+', "%20"),
                base64(secret),
                base64(&format!("{id}:{secret}")),
                base64(&format!("{id}:{encoded}")),
                base64(&format!("{id}:{secret}")).replace('=', ""),
                hidden.tokens[1].clone(),
                format!("{:?}", HeaderValue::from_str(&hidden.tokens[2])),
                base64(&hidden.tokens[0]),
                "assertion.of".to_owned(),
            ] {
                let shown = format!("at 12:00 <{shown}> was said");
                assert!(hidden.found_in(&shown).is_some(), "{shown}");
            }
            assert_eq!(
                hidden.found_in(&format!("{id} at 12:00 was told nothing")),
                None
            );
        }
    }
}

/// All that `Debug` says, on one line and on many.
fn debug(value: &(impl fmt::Debug + ?Sized)) -> String {
    format!("{value:?}\n{value:#?}\n")
}

/// All that an error says, and that those below it say.
fn all_of(error: &(dyn StdError + 'static)) -> String {
    let mut shown = String::new();
    let mut level = Some(error);
    while let Some(current) = level {
        writeln!(shown, "{current}\n{current:?}\n{current:#?}").unwrap();
        level = current.source();
    }
    shown
}

/// What was told to anybody who listens, down to TRACE, and what is measured.
#[derive(Clone)]
struct Told {
    lines: Arc<Mutex<Vec<u8>>>,
    metrics: PrometheusHandle,
}

/// Listens on this thread. The servers, which know every secret, are on others.
fn listen() -> (Told, impl Sized) {
    use tracing_subscriber::util::SubscriberInitExt;

    // For as long as the process: the guard borrows it.
    let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
    let told = Told {
        lines: Arc::default(),
        metrics: recorder.handle(),
    };
    let recording = metrics::set_default_local_recorder(recorder);
    let listening = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        // With the fields that a span has from the beginning, and in the end.
        .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(told.clone())
        .finish()
        // The `log` crate's lines as well.
        .set_default();
    (told, (listening, recording))
}

impl Told {
    fn text(&self) -> String {
        let lines = String::from_utf8(self.lines.lock().unwrap().clone()).unwrap();
        lines + &self.metrics.render()
    }
}

impl io::Write for Told {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Told {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Over {
    Http1,
    /// By prior knowledge.
    Http2,
    /// HTTP/2 as both sides agree on it.
    Tls,
}

/// A server on threads of its own, which answers as it is told to and writes down what came.
struct Server {
    origin: String,
    requests: Arc<Mutex<Vec<(Parts, Bytes)>>>,
}

impl Server {
    /// `answer` has the answer to the n-th request, from 0.
    async fn start(
        over: Over,
        answer: impl Fn(usize, &(Parts, Bytes)) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let (log, answer) = (Arc::clone(&requests), Arc::new(answer));
        let routes = axum::Router::new().fallback(move |request: Request<Body>| {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            async move {
                let (head, body) = request.into_parts();
                let request = (head, to_bytes(body, usize::MAX).await.unwrap());
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(request.clone());
                    log.len() - 1
                };
                answer(number, &request)
            }
        });
        let started = SERVERS.spawn(async move {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let port = tcp.local_addr().unwrap().port();
            match over {
                Over::Tls => {
                    let tls = TlsListener {
                        tcp,
                        tls: acceptor(),
                    };
                    tokio::spawn(async move { axum::serve(tls, routes).await });
                    format!("https://localhost:{port}")
                }
                Over::Http1 | Over::Http2 => {
                    tokio::spawn(async move { axum::serve(tcp, routes).await });
                    format!("http://127.0.0.1:{port}")
                }
            }
        });
        Self {
            origin: started.await.unwrap(),
            requests,
        }
    }

    fn requests(&self) -> Vec<(Parts, Bytes)> {
        self.requests.lock().unwrap().clone()
    }
}

static SERVERS: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(1).enable_all().build().unwrap()
});

struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (tcp, address) = self.tcp.accept().await.unwrap();
            if let Ok(tls) = self.tls.accept(tcp).await {
                return (tls, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(keys("server.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(keys("server.key")).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

fn client(over: Over) -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(keys("ca.crt")).unwrap();
    roots.add(authority).unwrap();
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .build();
    Client::builder(TokioExecutor::new())
        .http2_only(over == Over::Http2)
        .build(https)
}

/// Without TLS, which reqwest would have more crates for.
fn client_of_reqwest(over: Over) -> reqwest::ClientBuilder {
    match over {
        Over::Http2 => reqwest::Client::builder().http2_prior_knowledge(),
        Over::Http1 | Over::Tls => reqwest::Client::builder(),
    }
}

/// An origin where nobody listens, for as long as the socket is kept.
fn nobody(over: Over) -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let scheme = if over == Over::Tls { "https" } else { "http" };
    let origin = format!("{scheme}://{}", socket.local_addr().unwrap());
    (socket, origin)
}

fn json_answer(status: u16, body: &serde_json::Value) -> Response<Body> {
    let mut answer = Response::new(body.to_string().into());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

fn keys(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/keys")
        .join(name)
}

fn pem(name: &str) -> String {
    fs::read_to_string(keys(name)).unwrap()
}

const KEY: &str = "p256.pem";
