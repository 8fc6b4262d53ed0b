//! Bearer tokens for outbound HTTP calls, as a [tower](https://docs.rs/tower) layer.
//!
//! [`BearerAuthLayer`] wraps an HTTP client. It fetches OAuth 2.0 access tokens
//! (client credentials), puts `Authorization: Bearer` on each request, and
//! retries a request once with a new token when the API answers 401.
//!
//! Why not by hand? However many requests wait, one token request is sent. Tokens
//! are refreshed in the background. Failures are followed by a backoff. An expired
//! token is never sent, and no error or log shows a secret.
//!
//! ```
//! use http::{Request, Response};
//! use tower::{
//!     BoxError, ServiceBuilder, ServiceExt,
//!     service_fn,
//! };
//! use tower_bearer::{
//!     BearerAuthLayer, ClientCredentials,
//! };
//!
//! # #[cfg(not(feature = "rustls"))] fn main() {}
//! # #[cfg(feature = "rustls")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let source = ClientCredentials::builder(
//!     "https://auth.example.com/token",
//!     "my-client",
//!     "my-secret",
//! )
//! .scopes(["billing"])
//! .build()?;
//!
//! // Any tower service of HTTP requests. This one
//! // stands for your client, and echoes the body.
//! let client = service_fn(async |it: Request<_>| {
//!     let token = &it.headers()["authorization"];
//!     assert!(token.is_sensitive());
//!     let body: String = it.into_body();
//!     Ok::<_, BoxError>(Response::new(body))
//! });
//!
//! # let _ = source;
//! # // The doctest makes no call to another machine.
//! # let token_endpoint = service_fn(async |_: Request<http_body_util::Full<bytes::Bytes>>| {
//! #     let answer = r#"{"access_token":"ory_at_4jSH","token_type":"bearer","expires_in":300}"#;
//! #     Ok::<_, BoxError>(Response::new(answer.to_owned()))
//! # });
//! # let source = ClientCredentials::builder("https://auth.example.com/token", "my-client", "my-secret")
//! #     .build_with(token_endpoint)?;
//! let service = ServiceBuilder::new()
//!     .layer(BearerAuthLayer::new(source))
//!     .service(client);
//!
//! let url = "https://api.example.com/invoices";
//! let request = Request::post(url)
//!     .body("63 EUR".to_owned())?;
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.body(), "63 EUR");
//! # Ok(())
//! # }
//! ```
//! [Getting started](docs::getting_started) shows the same with hyper-util, reqwest,
//! reqwest-middleware, axum and tonic, each with its `Cargo.toml`.
//!
//! # I want to …
//! | I want to … | see |
//! | --- | --- |
//! | add tokens to my client | [getting started](docs::getting_started) |
//! | use Entra ID, Auth0, Okta, Keycloak, Kubernetes, IPXO | [providers](docs::providers) |
//! | understand refresh, backoff and the retry after a 401 | [token lifetime](docs::token_lifetime), [rejected tokens](docs::token_lifetime#rejected-tokens) |
//! | choose which requests get a token | [`select`], [`Origins`](select::Origins) |
//! | use many credentials behind one layer | [many credentials](docs::providers#many-credentials) |
//! | add timeouts, retries and limits | [composition](docs::composition) |
//! | use it in blocking code, in tests, in AWS Lambda | [runtimes and serverless](docs::runtimes) |
//! | fetch tokens in my own way | [writing a source](docs::writing_a_source) |
//! | test my service | [testing](docs::testing) |
//! | have a readiness probe, metrics or logs | [readiness, metrics and logs](docs::token_lifetime#readiness-metrics-and-logs) |
//! | solve a compile error, a 401 or a timeout | [troubleshooting](docs::troubleshooting) |
//! | know what is protected, and what it costs | [security](docs::security), [performance and limits](docs::performance) |
//!
//! # The picture
#![doc = include_str!("docs/picture.svg")]
//!
//! Four questions have one trait each: which token does a request get
//! ([`Select`](select::Select)), where does a token come from ([`TokenSource`]), was
//! the token rejected ([`Unauthorized`](unauthorized::Unauthorized)), and can the body
//! be replayed ([`Replay`](replay::Replay)).
//!
//! # Features
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `rustls` | yes | the default transport for token requests: hyper-util and rustls, with the platform's root certificates, on aws-lc-rs |
//! | `rustls-aws-lc-rs` | yes | the same |
//! | `rustls-ring` | no | the same transport on ring |
//! | `rustls-no-provider` | yes | the same transport on the provider of cryptography that the program installs |
//! | `config` | no | `Configuration`: credentials, origins and timeouts from your service's own settings, by serde |
//! | `jwt` | no | client authentication by signed assertions (`private_key_jwt`, `client_secret_jwt`) |
//! | `keyed` | no | `Keyed`: many credentials behind one layer |
//! | `reqwest` | no | reqwest's client as a tower service, and as the transport for token requests |
//! | `reqwest-middleware` | no | the layer as a middleware of reqwest-middleware; includes `reqwest` |
//! | `tonic` | no | `GrpcAuthLayer`: the layer for tonic's channels |
//! | `tracing` | no | events for token requests, rejected tokens and retries |
//!
//! A provider that the program installs takes precedence over the one of a feature. This crate installs none. If all TLS in
//! your program is on ring and leaves the choice to rustls, set `default-features = false` and use `rustls-ring`:
//! rustls makes no choice between two providers ([troubleshooting](docs::troubleshooting#tls)).

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod adapter;
pub mod cache;
pub mod client_credentials;
#[cfg(feature = "config")]
pub mod config;
pub mod docs;
mod error;
pub mod ipxo;
mod middleware;
pub mod replay;
pub mod select;
mod telemetry;
pub mod token;
pub mod unauthorized;
mod util;

#[doc(inline)]
pub use self::{
    cache::TokenCache,
    client_credentials::{ClientAuth, ClientCredentials, Secret},
    error::{Error, ErrorKind},
    middleware::{BearerAuth, BearerAuthLayer, ResponseFuture, extension},
    token::{Token, TokenSource},
};

/// The README's code, compiled.
#[cfg(all(doctest, feature = "rustls"))]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
