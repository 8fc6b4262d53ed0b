//! Troubleshooting: compile errors, and errors at run time.
//!
//! # Compile errors
//! Nearly every mistake in a stack gives the same error at `.oneshot(…)`, `.ready()` or
//! `.call(…)`:
//! ```text
//! error[E0599]: the method `oneshot` exists for
//! struct `BearerAuth<…>`, but its trait bounds were
//! not satisfied
//! ```
//! The compiler says that `BearerAuth` is not a `Service` here. It does not say why.
//! [`check`](crate::BearerAuth::check) brings the reason out. Call it before `oneshot`, with
//! the type of your request body:
//! ```
//! # use tower::Layer;
//! # let client = tower::service_fn(async |_: http::Request<String>| {
//! #     Ok::<_, tower::BoxError>(http::Response::new(String::new()))
//! # });
//! # let source = tower_bearer::token::FixedToken::new("t")?;
//! # let layer = tower_bearer::BearerAuthLayer::new(source);
//! let service =
//!     layer.layer(client).check::<String>();
//! # let _ = service;
//! # Ok::<(), tower_bearer::Error>(())
//! ```
//! If other layers are around it, this function does the same for the whole stack:
//! ```
//! use http::Request;
//! use tower::Service;
//!
//! fn check<S, B>(service: S) -> S
//! where
//!     S: Service<Request<B>>,
//! {
//!     service
//! }
//! # let _ = check::<_, String>(tower::service_fn(async |_: Request<String>| {
//! #     Ok::<_, tower::BoxError>(())
//! # }));
//! ```
//! Then the error is one of these:
//!
//! | the compiler says | section |
//! | --- | --- |
//! | cannot send a request body of type … a second time | [the body is not `Clone`](#the-body-is-not-clone) |
//! | `Service<http::Request<ReplayBody<…>>>` is not implemented for … | [the client has another body type](#the-client-has-another-body-type) |
//! | … `: Clone` is not satisfied | [the client is not `Clone`](#the-client-is-not-clone) |
//! | expected `TokenCache`, found `Keyed<…>` | [`Keyed`](#keyed) |
//! | … `: std::error::Error` is not satisfied | [the error type](#the-error-type) |
//! | expected … to return `Option<_>`, but it returns `bool` | [a closure for `select`](#a-closure-for-select) |
//! | type mismatch in closure arguments; type annotations needed | [a closure for `unauthorized`](#a-closure-for-unauthorized) |
//! | `ClientCredentialsBuilder` is not a source of tokens | [`build` is missing](#build-is-missing) |
//! | `TokenCache` is not a source of tokens | use `BearerAuthLayer::from_cache` |
//! | `BearerAuthLayer<…>: Middleware` is not satisfied | [reqwest-middleware](#reqwest-middleware) |
//!
//! ### The body is not `Clone`
//! ```text
//! `CloneBody` cannot send a request body of type
//! `Body` a second time
//! ```
//! `axum::body::Body`, `hyper::body::Incoming` and boxed bodies are not `Clone`. Choose how
//! they are replayed:
//!
//! - `.replay(Buffered::up_to(64 * 1024))` keeps a copy while the body is sent;
//! - `.replay(ReusableBody)` for `reqwest::Body` (feature `reqwest`);
//! - `.replay(NoReplay)` gives up the retry.
//!
//! ### The client has another body type
//! ```text
//! the trait bound `Client<HttpConnector, Body>:
//! Service<http::Request<ReplayBody<Body>>>`
//! is not satisfied
//! ```
//! [`Buffered`](crate::replay::Buffered) sends a [`ReplayBody`](crate::replay::ReplayBody).
//! Build the client for that type, `build_http::<ReplayBody<Body>>()`. Or put tower-http's
//! `MapRequestBodyLayer::new(Body::new)` below the layer.
//!
//! ### The client is not `Clone`
//! ```text
//! the method `service` exists for struct
//! `ServiceBuilder<…>`, but its trait bounds were
//! not satisfied: `RateLimit<_>: Clone`
//! ```
//! The retry needs a second handle to the client. Put tower's `Buffer` above the service that
//! is not `Clone`: `.buffer(100)` after the layer in a `ServiceBuilder`.
//!
//! ### `Keyed`
//! ```text
//! expected `TokenCache`, found `Keyed<String>`
//! ```
//! A layer with many caches needs to know each request's key. Use
//! `BearerAuthLayer::keyed(caches, select)`, for example with
//! [`ByExtension`](crate::select::ByExtension).
//!
//! ### The error type
//! ```text
//! the trait bound `MyError: std::error::Error`
//! is not satisfied
//! ```
//! The client's error has to be `Into<tower::BoxError>`. Implement `std::error::Error` for it,
//! and make it `Send + Sync + 'static`.
//!
//! ### A closure for `select`
//! ```text
//! expected `{closure@…}` to return `Option<_>`,
//! but it returns `bool`
//! ```
//! The closure returns the key of the credential, `Some(())` if there is only one. Add
//! `.then_some(())`, and write the type of the argument:
//! ```
//! use tower_bearer::{
//!     BearerAuthLayer, select::RequestHead,
//! };
//!
//! # let source = tower_bearer::token::FixedToken::new("t")?;
//! let layer = BearerAuthLayer::new(source).select(
//!     |request: &RequestHead<'_>| {
//!         request
//!             .uri()
//!             .path()
//!             .starts_with("/v2/")
//!             .then_some(())
//!     },
//! );
//! # let _ = layer;
//! # Ok::<(), tower_bearer::Error>(())
//! ```
//!
//! ### A closure for `unauthorized`
//! ```text
//! expected closure signature
//! `for<'a, 'b> fn(&'a ResponseHead<'b>) -> _`
//! ```
//! The closure takes the head of the response and returns a `bool`:
//! ```
//! use tower_bearer::{
//!     BearerAuthLayer, unauthorized::ResponseHead,
//! };
//!
//! # let source = tower_bearer::token::FixedToken::new("t")?;
//! let layer = BearerAuthLayer::new(source)
//!     .unauthorized(
//!         |response: &ResponseHead<'_>| {
//!             matches!(
//!                 response.status().as_u16(),
//!                 401 | 419
//!             )
//!         },
//!     );
//! # let _ = layer;
//! # Ok::<(), tower_bearer::Error>(())
//! ```
//!
//! ### `build` is missing
//! ```text
//! `ClientCredentialsBuilder` is not a source
//! of tokens
//! ```
//! End the builder with `.build()?`. It needs the feature `rustls`, which is on by default.
//! Without it, use `.build_with(transport)?` or `.build_with_reqwest(…)?`.
//!
//! ### reqwest-middleware
//! ```text
//! the trait bound `BearerAuthLayer<…>: Middleware`
//! is not satisfied
//! ```
//! The layer is a middleware with the default `replay`, with `ReusableBody`, with `NoReplay`
//! and with `Buffered`. Ignore the compiler's advice to remove the call. Check that
//! `tower-bearer` has the feature `reqwest-middleware`, and that your versions of reqwest and
//! reqwest-middleware are 0.13 and 0.5.
//!
//! # Errors at run time
//! Through the layer, an error is a `BoxError`. [`Error::find_in`](crate::Error::find_in) finds it,
//! also in the errors of reqwest-middleware, tonic, anyhow and hyper. Look at its kind, its
//! status, its OAuth code, its client id and its cause:
//! ```
//! use std::error::Error as _;
//!
//! use tower::BoxError;
//! use tower_bearer::Error;
//!
//! fn explain(error: &BoxError) -> String {
//!     let Some(error) = Error::find_in(&**error)
//!     else {
//!         return format!(
//!             "the client failed: {error}"
//!         );
//!     };
//!     let mut text =
//!         format!("{:?}: {error}", error.kind());
//!     let mut cause = error.source();
//!     while let Some(error) = cause {
//!         text.push_str(&format!(": {error}"));
//!         cause = error.source();
//!     }
//!     text
//! }
//! # let error: BoxError = tower_bearer::Token::new("").unwrap_err().into();
//! # assert!(explain(&error).starts_with("InvalidAnswer: "));
//! ```
//! | kind | usual cause | what to do |
//! | --- | --- | --- |
//! | `Configuration` | a value of a builder cannot work | the message says what to change |
//! | `Denied` | `invalid_client`, `invalid_scope`, … | see [`invalid_client`](#invalid_client) |
//! | `Unavailable` | no connection, TLS, 5xx, 429 | look at the cause; it recovers by itself. Behind a company's proxy, call `proxy` of the builder (feature `proxy`) |
//! | `Timeout` | a slow token endpoint, or a short deadline | see [timeouts](#timeouts) |
//! | `InvalidAnswer` | the token endpoint's answer is not a bearer token | is the token URL right? |
//! | `Source` | your own source, secret provider or signer failed | look at the cause |
//! | `Interrupted` | the source panicked, or the runtime was shut down | see [runtimes](super::runtimes) |
//! | `Rejected` | the API rejects new tokens too | see [a 401 again and again](#a-401-again-and-again) |
//! | `NoRuntime` | no Tokio runtime, or one without timers | see [no runtime](#no-runtime) |
//! | `NotAllowed` | plain HTTP, an origin that is not selected, an `Authorization` header | see [not sent](#not-sent) |
//!
//! ### `invalid_client`
//! The token endpoint does not accept the client. The message says how the client
//! authenticated, and the other ways. In this order:
//!
//! 1. Is the id right, and the secret? A secret from a file loses white space at both ends; a
//!    secret from text loses only line ends at its end.
//! 2. Is the *method* right? Most servers accept only one. A secret alone goes into the form.
//!    If the client is registered for Basic, use
//!    [`ClientAuth::basic`](crate::ClientAuth::basic). If that fails too and the secret has
//!    special characters, try [`ClientAuth::basic_raw`](crate::ClientAuth::basic_raw).
//! 3. For assertions: the audience and the type (`with_audience` and `with_typ` of an
//!    `Assertion`), the key id, and the machine's clock.
//!
//! The failure is permanent: the backoff is 30 s to 5 minutes. After a fix, restart, or call
//! [`TokenCache::refresh`](crate::TokenCache::refresh).
//!
//! ### A 401 again and again
//! The API rejects new tokens as well, so the layer stopped fetching new ones for this route
//! ([cool-down](super::token_lifetime#rejected-tokens)). Usually the token is valid, but not
//! for this API. Compare the `aud` and `scope` of a token with what the API expects:
//! `audience`, `resource` and `scopes` of the builder. `WWW-Authenticate` in the response
//! often says more.
//!
//! ### Not retried
//! The caller sees the first 401. [`NotRetried`](crate::extension::NotRetried) in the response's
//! extensions says why. If a token request failed, or is held off, an
//! [`Error`](crate::Error) beside it says more:
//! ```
//! use tower_bearer::extension::NotRetried;
//!
//! fn why<B>(
//!     response: &http::Response<B>,
//! ) -> Option<String> {
//!     let extensions = response.extensions();
//!     let reason = extensions.get::<NotRetried>()?;
//!     Some(match extensions.get::<tower_bearer::Error>() {
//!         Some(error) => format!("{reason:?}: {error}"),
//!         None => format!("{reason:?}"),
//!     })
//! }
//! # assert!(why(&http::Response::new(())).is_none());
//! ```
//! - The body could not be replayed: it was larger than the limit of `Buffered`, or still being
//!   sent, or the policy is `NoReplay`.
//! - The request has a [`NoRetry`](crate::extension::NoRetry), or a
//!   [`Deadline`](crate::extension::Deadline) with no time left.
//! - The token request failed, or is in backoff.
//! - The request had no token at all, for example because it was not selected. With the feature
//!   `tracing`, [events](super::telemetry#events) at DEBUG say so.
//! - The status is not a rejection: 403, or a 401 with `insufficient_scope` or
//!   `insufficient_claims`. Set [`unauthorized`](crate::BearerAuthLayer::unauthorized) for a
//!   server that is different. To request the scopes or the claims that an API asks for, see
//!   [`step_up_scopes`](crate::client_credentials::ClientCredentialsBuilder::step_up_scopes)
//!   and [`answer_claims_challenges`](crate::client_credentials::ClientCredentialsBuilder::answer_claims_challenges).
//!
//! ### No `Authorization` header
//! - The request was not selected. [`Origins`](crate::select::Origins) compares scheme, host
//!   and port of the *URI*. A URI without a host is no origin.
//! - The request already has its own `Authorization` header, which stays:
//!   [`ExistingAuthorization`](crate::select::ExistingAuthorization).
//! - A redirect went to another origin, and the client removed the header.
//!
//! ### Not sent
//! `NotAllowed` says why in its message. A token goes over plain HTTP to loopback only. Inside
//! a service mesh that encrypts, call
//! [`danger_allow_tokens_over_plain_http`](crate::BearerAuthLayer::danger_allow_tokens_over_plain_http).
//!
//! ### Timeouts
//! A token request has 10 s. If the token endpoint is slower, raise
//! [`token_request_timeout`](crate::cache::TokenCacheBuilder::token_request_timeout). If only
//! some requests time out, look for a short `Deadline`, for a thread that blocks, and for a
//! `ConcurrencyLimit` that requests and token requests share
//! ([permits](super::composition#permits)).
//!
//! ### No runtime
//! Call the service inside a Tokio runtime with timers. With `Builder`, add `enable_all()`. See
//! [runtimes](super::runtimes).
//!
//! ### TLS
//! - `Could not automatically determine the process-level CryptoProvider` is a panic of rustls
//!   in your own HTTP client: the tree has two providers of cryptography, and rustls does not
//!   choose. `cargo tree -i ring -e features` and `cargo tree -i aws-lc-rs -e features` show who
//!   adds them. This crate adds aws-lc-rs by default. If your client is on ring, use
//!   `tower-bearer` with `default-features = false` and the feature `rustls-ring`. Or install one
//!   at the start of `main`: `rustls::crypto::aws_lc_rs::default_provider().install_default()`.
//! - `TLS has no provider of cryptography`: with the feature `rustls-no-provider`, install one at
//!   the start of `main`, before a credential is built.
//! - `self-signed or of an unknown CA` for the token endpoint: see
//!   [a private CA](super::credentials#a-private-ca).
