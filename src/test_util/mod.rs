//! Servers and sources for tests: an authorization server and an API that count what reaches them.
//!
//! [`docs::testing`](crate::docs::testing) is the guide. Switch the feature on for tests only:
//! ```toml
//! [dev-dependencies]
//! tower-bearer = { version = "0.1", features = ["test-util"] }
//! ```
//!
//! | what | does |
//! | --- | --- |
//! | [`AuthorizationServer`] | issues tokens, checks clients, fails as it is told to |
//! | [`ProtectedApi`] | lets in requests with a valid token of that server |
//! | [`ScriptedSource`] | a source that gives tokens and errors from a list |
//! | [`error`] | an error of each kind, for tests of your error handling |
//!
//! Both servers are tower services in memory, which work in Tokio's paused time. `serve` puts them on a loopback socket as
//! well. Clones are handles of one server. They keep all that they receive, and check for tests, not for security.
//!
//! # Example
//! A token is revoked, and the next call is retried with a new one:
//! ```
//! use http::{Request, StatusCode};
//! use tower::{BoxError, Layer, ServiceExt};
//! use tower_bearer::{
//!     BearerAuthLayer,
//!     test_util::{AuthorizationServer, ProtectedApi},
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let server = AuthorizationServer::new();
//! let api = ProtectedApi::new(&server);
//! let layer = BearerAuthLayer::new(server.credentials());
//! let client = layer.layer(api.clone());
//!
//! for _ in 0..2 {
//!     let request = Request::get("https://api.test/")
//!         .body(String::new())?;
//!     let response = client.clone().oneshot(request).await?;
//!     assert_eq!(response.status(), StatusCode::OK);
//!     server.revoke_all();
//! }
//! server.assert_token_requests(2);
//! api.assert_calls(3);
//! # Ok(())
//! # }
//! ```

mod answer;
mod authorization_server;
mod body;
mod call;
#[cfg(feature = "rustls-no-provider")]
mod certificates;
mod clients;
mod errors;
mod gate;
mod protected_api;
mod scripted_source;
mod serve;
#[cfg(feature = "rustls-no-provider")]
mod tls;
mod tokens;

use std::{
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use http::Response;
use tower::BoxError;

#[cfg(feature = "rustls-no-provider")]
pub use self::certificates::ROOT_CERTIFICATE;
pub use self::{
    answer::Answer,
    authorization_server::AuthorizationServer,
    body::Body,
    call::Call,
    errors::error,
    gate::Held,
    protected_api::ProtectedApi,
    scripted_source::{Outcome, ScriptedSource},
    serve::Served,
    tokens::Grant,
};

/// What a server makes of a request, in time. An error is a connection that ends without an answer.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

/// A test that panicked has nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
