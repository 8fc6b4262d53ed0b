//! Bearer tokens for outbound HTTP calls, as a [tower](https://docs.rs/tower) layer.
//!
//! [`BearerAuthLayer`] wraps an HTTP client. It fetches OAuth 2.0 access tokens
//! (client credentials), puts `Authorization: Bearer` on each request, and
//! retries a request once with a new token when the API answers 401.
//!
//! If many requests need a token at the same time, it sends one token request. It refreshes
//! tokens in the background, and backs off when the token endpoint fails. It never sends an expired
//! token, and no error or log shows a secret. By default every request gets the token;
//! [`origins`](BearerAuthLayer::origins) limits it to your API's hosts.
//!
//! ```text
//! cargo add tower-bearer
//! ```
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
//! // Your HTTP client goes here: any tower service.
//! // This one is a fake that returns the body.
//! let client = service_fn(
//!     async |request: Request<String>| {
//!         let name = "authorization";
//!         let headers = request.headers();
//!         assert!(headers.contains_key(name));
//!         let body = request.into_body();
//!         Ok::<_, BoxError>(Response::new(body))
//!     },
//! );
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
//! [Getting started](docs::getting_started) has a complete program and its `Cargo.toml` for
//! hyper-util, reqwest, reqwest-middleware, tonic, and calls from inside an axum service.
//!
//! # I want to …
//! | I want to … | see |
//! | --- | --- |
//! | add tokens to my client | [getting started](docs::getting_started) |
//! | use Entra ID, Auth0, Okta, Keycloak, Cognito, Kubernetes, Salesforce, IPXO | [providers](docs::providers) |
//! | use a token of my platform (Kubernetes, GitHub, Azure) or a service account's key | [workloads](docs::providers::workloads), [grants](client_credentials::grant) |
//! | rotate secrets, use a private CA | [credentials](docs::credentials) |
//! | know what this crate does about a server's quirk | [quirks](docs::quirks) |
//! | understand refresh, backoff, the retry after a 401 | [token lifetime](docs::token_lifetime), [rejected tokens](docs::token_lifetime#rejected-tokens) |
//! | choose which requests get a token | [`select`] |
//! | use many credentials (tenants) behind one layer | [many credentials](docs::credentials#many-credentials) |
//! | combine it with timeouts, limits and other retries | [composition](docs::composition) |
//! | use it in blocking code or in AWS Lambda | [runtimes and serverless](docs::runtimes) |
//! | exchange a token, or sign the grant (RFC 8693, RFC 7523) | [grants](client_credentials::grant) |
//! | fetch tokens in my own way | [writing a source](docs::writing_a_source) |
//! | test code that uses it | [testing](docs::testing) |
#![cfg_attr(
    feature = "dpop",
    doc = "| bind tokens to a key (RFC 9449) | [DPoP](docs::dpop) |"
)]
#![cfg_attr(
    feature = "shared",
    doc = "| share one token between processes, machines or pods | [a fleet](docs::fleet) |"
)]
//! | have a readiness probe | [readiness](docs::token_lifetime#readiness-metrics-and-logs) |
//! | have traces, logs, metrics, a dashboard, alerts | [telemetry](docs::telemetry) |
//! | replace what I have, or compare | [migrating](docs::migrating), [how it compares](docs::comparison) |
//! | solve a compile error, a 401 or a timeout | [troubleshooting](docs::troubleshooting) |
//! | know what is protected, and what it costs | [security](docs::security), [performance and limits](docs::performance) |
//!
//! # The picture
#![doc = include_str!("docs/picture.svg")]
//!
//! There are four extension points. Each is a trait with a default, so you do not have to
//! write any of them.
//! - [`Select`](select::Select): which token does a request get? By default, every request gets the layer's.
//! - [`TokenSource`]: where do tokens come from? Usually [`ClientCredentials`].
//! - [`Unauthorized`](unauthorized::Unauthorized): did the API reject the token? By default, a 401 says so.
//! - [`Replay`](replay::Replay): can the request body be sent again? By default, if it is `Clone`.
//!
//! # Features
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `rustls` | yes | the default transport for token requests (hyper-util and rustls), with aws-lc-rs for cryptography; the same as `rustls-aws-lc-rs` |
//! | `rustls-ring` | no | the default transport, with ring for cryptography |
//! | `rustls-no-provider` | no | the default transport without cryptography; your program must install aws-lc-rs or ring |
//! | `config` | no | `Configuration`: credentials, allowed origins and timeouts from your service's settings (serde) |
//! | `dpop` | no | tokens that are bound to a key (RFC 9449): `DpopKey`, `DpopLayer`; includes `jwt` |
//! | `jwt` | no | client authentication by signed assertions (`private_key_jwt`, `client_secret_jwt`) |
//! | `keyed` | no | `Keyed`: many credentials behind one layer |
//! | `metrics` | no | counters, histograms and gauges, by the facade `metrics` |
//! | `proxy` | no | an HTTP proxy for the default transport |
//! | `redis` | no | one token for many machines or pods, through Redis or Valkey: one server, behind Sentinels, or a Cluster; includes `shared` |
//! | `reqwest` | no | the layer around reqwest's client; it can also send the token requests |
//! | `reqwest-middleware` | no | the layer as a middleware of reqwest-middleware; includes `reqwest` |
//! | `shared` | no | `SharedLayer`: one token for many processes, through a folder on one machine |
//! | `test-util` | no | `test_util`: an authorization server, an API and a source for your tests |
//! | `tonic` | no | `GrpcAuthLayer`, to use instead of `BearerAuthLayer` around a tonic channel |
//! | `tracing` | no | a span for each token request; events for failures, rejected tokens and retries |
//!
//! If both aws-lc-rs and ring are compiled into a program, it must choose one by rustls' `install_default()`; otherwise
//! rustls panics. This crate uses the one that is chosen. If your program uses ring alone, set `default-features = false`
//! and the feature `rustls-ring` ([troubleshooting](docs::troubleshooting#tls)).

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod adapter;
pub mod cache;
pub mod client_credentials;
#[cfg(feature = "config")]
pub mod config;
pub mod docs;
#[cfg(feature = "dpop")]
pub mod dpop;
mod error;
pub mod ipxo;
mod middleware;
pub mod replay;
pub mod select;
#[cfg(feature = "shared")]
pub mod shared;
mod telemetry;
#[cfg(feature = "test-util")]
pub mod test_util;
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
