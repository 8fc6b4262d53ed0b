//! Tokens that are bound to a key of the client: DPoP ([RFC 9449]).
//!
//! A bearer token is good for anyone who has it. One that is bound to a [`DpopKey`] needs a proof by that key with each request. The
//! guide [DPoP](crate::docs::dpop) says when to use it and what it costs.
//!
//! ```
//! use tower::ServiceBuilder;
//! use tower_bearer::{
//!     BearerAuthLayer, ClientCredentials,
//!     dpop::{DpopKey, DpopLayer},
//! };
//!
//! # fn main() -> Result<(), tower_bearer::Error> {
//! # let client = tower::service_fn(|_: http::Request<String>| async { Ok::<_, std::io::Error>(http::Response::new(String::new())) });
//! # let transport = tower::service_fn(|_: http::Request<http_body_util::Full<bytes::Bytes>>| async { Ok::<_, std::io::Error>(http::Response::new(String::new())) });
//! let key = DpopKey::generate()?;
//! let source = ClientCredentials::builder("https://auth.example.com/oauth2/token", "my-client", "my-secret")
//!     .dpop(key.clone())
//!     .build_with(transport)?;
//! let service = ServiceBuilder::new()
//!     .layer(BearerAuthLayer::new(source))
//!     .layer(DpopLayer::new(key))
//!     .service(client);
//! # fn is_a_service<S: tower::Service<http::Request<String>>>(_: S) {}
//! # is_a_service(service);
//! # Ok(())
//! # }
//! ```
//!
//! [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449

mod future;
mod layer;
mod prover;
mod service;

pub use self::{future::ResponseFuture, layer::DpopLayer, service::Dpop};
pub use crate::client_credentials::dpop::key::DpopKey;
