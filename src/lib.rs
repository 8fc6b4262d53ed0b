//! Call bearer-protected APIs from any tower stack: OAuth 2.0 client credentials, one token request for everyone, one retry on
//! 401.
//!
//! [`BearerAuthLayer`] wraps any tower [`Service`](tower::Service) of HTTP requests. It gets access tokens from a
//! [`TokenSource`], as a rule [`ClientCredentials`], puts `Authorization: Bearer` on each request, and sends a request
//! once more with a fresh token when the server rejects the first.
//!
//! ```
//! use http_body_util::Full;
//! use bytes::Bytes;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use tower_bearer::{BearerAuthLayer, ClientCredentials};
//!
//! # #[cfg(feature = "rustls")]
//! # fn stack<C>(client: C) -> Result<(), tower_bearer::Error>
//! # where C: Service<http::Request<Full<Bytes>>, Response = http::Response<Full<Bytes>>> + Clone, C::Error: Into<tower::BoxError>
//! # {
//! let source = ClientCredentials::builder("https://auth.example.com/oauth2/token", "my-client", "my-secret")
//!     .scopes(["billing"])
//!     .build()?;
//! let service = ServiceBuilder::new()
//!     .layer(BearerAuthLayer::new(source))
//!     .service(client);
//! # let _ = service.oneshot(http::Request::new(Full::new(Bytes::new())));
//! # Ok(())
//! # }
//! ```
//!
//! # The picture
//! ```text
//!       every request: no await, no lock, no boxed future         once per expiry: one task per credential
//! Request ─▶ BearerAuth ──which?──▶ TokenCache ──miss/stale──▶ Flight ──▶ TokenSource ──▶ any tower
//!    ▲        │   ▲   ◀───Bearer──────┘   ◀────Arc<Token>───────┘ ◀─Token──┘ ◀──JSON─────┘  service
//!    │        ▼   └── retry, once: same request again, newer token
//!    │   inner service ──▶ Response ── rejected? ──▶ cache.rejected(that token)
//!    └──────────────────────┘  (not rejected, already retried, or cannot be said again: as it is)
//! ```
//!
//! # Where to look
//! | question | answer |
//! | --- | --- |
//! | What happens to a request? | [`BearerAuth`] |
//! | When is a token requestd, refreshed, given up? | [`TokenCache`], and the chapter [`docs::lifetime`] |
//! | What can one request ask for? | [`NoToken`], [`NoRetry`], [`Deadline`], [`MinValidity`] |
//! | How does my token stand? | [`TokenCache::state`] |
//! | Where does a token come from? | [`TokenSource`], [`ClientCredentials`] |
//! | Where is the token endpoint? | [`ClientCredentials::builder`], [`ClientCredentials::discover`] |
//! | How does a client prove who it is? | [`ClientAuth`], [`Secret`] |
//! | What does my server ask for: Entra ID, Auth0, Okta, Keycloak, Google, Kubernetes? | the chapter [`docs::credentials`] |
#![cfg_attr(
    feature = "config",
    doc = "| How is all of it read from a service's own TOML or environment? | [`Configuration`] |"
)]
//! | Which requests get a token, and whose? | [`select`] |
//! | Where may a token go? | [`Origins`], [`deny_unselected`](BearerAuthLayer::deny_unselected), and https but for loopback |
//! | What of a request with an `Authorization` of its own? | [`ExistingAuthorization`] |
//! | What counts as a rejection? | [`unauthorized`] |
//! | How is a body said again? | [`replay`] |
//! | How does it fit reqwest, reqwest-middleware, tonic? | [`adapter`] |
//! | Where does the layer belong in a stack? | the chapter [`docs::composition`] |
//! | What is protected, from whom, and what is not? | the chapter [`docs::security`] |
//! | What can go wrong? | [`Error`] |
//! | The IPXO APIs? | [`ipxo`] |
//!
//! # Features
//! | feature | default | gives |
//! | --- | --- | --- |
//! | `rustls` | yes | the transport that works out of the box: hyper-util's client over rustls, with the platform's roots |
//! | `config` | no | `Configuration`: credentials, origins and a cache's numbers from a service's own configuration, by serde |
//! | `jwt` | no | client authentication by assertions that are signed here, or by a key that somebody else holds |
//! | `keyed` | no | `Keyed`: many credentials behind one layer |
//! | `reqwest` | no | reqwest's client as a tower service, and as the transport of the token request |
//! | `reqwest-middleware` | no | the layer as a middleware of reqwest-middleware; switches `reqwest` on |
//! | `tonic` | no | the layer for tonic's channels: gRPC's rejections, deadlines and statuses |
//! | `tracing` | no | events for token requests and rejections |

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
