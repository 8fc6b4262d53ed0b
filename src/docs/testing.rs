//! Testing: your service without an authorization server, a network or real time.
//!
//! The feature `test-util` has an authorization server, an API and a source of tokens, which
//! count what reaches them and fail as they are told to. Switch it on for tests only:
//! ```toml
//! [dev-dependencies]
//! tower-bearer = { version = "0.1", features = [
//!     "test-util",
//! ] }
//! tokio = { version = "1", features = [
//!     "macros", "rt", "test-util",
//! ] }
//! ```
//!
//! | what you test | use |
//! | --- | --- |
//! | your own code, tokens do not matter | [`FixedToken`](crate::token::FixedToken) and a `service_fn` as the API |
//! | how many token requests and calls are made | [both servers in memory](#both-servers-in-memory) |
//! | a rejected token, an upload that is sent again | [`revoke_all`](#a-rejected-token) |
//! | a server that is slow, busy, down or wrong | [`script`](#faults) |
//! | your credentials: scopes, client authentication | [`register`](#your-credentials) |
//! | expiry, refresh, backoff | [paused time](#expiry) |
//! | what your code makes of each error | [`error`](#no-token) and `ScriptedSource` |
//! | a client that needs a socket or TLS | [`serve`](#over-a-socket) |
//!
#![cfg_attr(
    feature = "test-util",
    doc = "The reference is [`test_util`](crate::test_util)."
)]
//! The repository's examples `reqwest`, `reqwest_middleware`, `axum_service`, `tonic` and
//! `multi_tenant` are programs with such tests: `cargo test --example reqwest`.
//!
//! # Both servers in memory
//! They are tower services. The authorization server issues tokens for `credentials()`, and
//! the API lets in who has one. With paused time, no test waits for a clock:
//! ```
//! use std::time::Duration;
//!
//! use http::Request;
//! use tower::{BoxError, Layer, ServiceExt};
//! use tower_bearer::{
//!     BearerAuthLayer,
//!     test_util::{
//!         AuthorizationServer, ProtectedApi,
//!     },
//! };
//!
//! # /*
//! #[tokio::test(start_paused = true)]
//! async fn two_calls_share_one_token()
//! # */
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main()
//! -> Result<(), BoxError> {
//!     let server = AuthorizationServer::new();
//!     server.delay(Duration::from_secs(2));
//!     let api = ProtectedApi::new(&server);
//!     let client =
//!         BearerAuthLayer::new(server.credentials())
//!             .layer(api.clone());
//!
//!     let call = || {
//!         let request =
//!             Request::get("https://api.test/")
//!                 .body(String::new());
//!         let client = client.clone();
//!         async { client.oneshot(request?).await }
//!     };
//!     tokio::try_join!(call(), call())?;
//!     server.assert_token_requests(1);
//!     api.assert_calls(2);
//!     Ok(())
//! }
//! ```
//! An assertion that fails lists what came:
//! ```text
//! expected token requests: 1, but there were 2
//!   1. POST /token of no known client: 401
//!   2. POST /token of "client": 200
//! ```
//! `ProtectedApi::with_handler` takes any tower service for the answers, such as an axum
//! router. It finds whose token came in the request's extensions, as a `Grant`.
//!
//! # A rejected token
//! `revoke_all` ends the life of all tokens, and the client does not know. A call is sent,
//! rejected, and sent again:
//! ```
//! use http::{Request, StatusCode};
//! use tower::{BoxError, Layer, ServiceExt};
//! use tower_bearer::{
//!     BearerAuthLayer,
//!     test_util::{
//!         AuthorizationServer, ProtectedApi,
//!     },
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let server = AuthorizationServer::new();
//! let api = ProtectedApi::new(&server);
//! let layer =
//!     BearerAuthLayer::new(server.credentials());
//! layer.cache().get().await?;
//! server.revoke_all();
//!
//! let request =
//!     Request::post("https://api.test/orders")
//!         .body("63 EUR".to_owned())?;
//! let client = layer.layer(api.clone());
//! let response = client.oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//!
//! let calls = api.calls();
//! assert_eq!(calls.len(), 2);
//! assert_eq!(calls[0].token(), Some("client.1"));
//! assert_eq!(calls[1].token(), Some("client.2"));
//! assert_eq!(calls[1].body, "63 EUR");
//! # Ok(())
//! # }
//! ```
//!
//! # Faults
//! `script` gives the next answers of the token endpoint: `Hang`, `TooManyRequests`,
//! `Unavailable`, `Garbage`, `Disconnected`, `Denied`, `SameToken`, `LateToken`, or, as
//! `Custom`, what your provider answered. After them the server is well again.
//! ```
//! use std::time::Duration;
//!
//! use tower_bearer::{
//!     ErrorKind, TokenCache,
//!     test_util::{Answer, AuthorizationServer},
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_bearer::Error> {
//! let server = AuthorizationServer::new();
//! let busy = Duration::from_secs(20);
//! server.script([Answer::TooManyRequests(busy)]);
//! let cache = TokenCache::new(server.credentials());
//!
//! let error = cache.get().await.unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Unavailable);
//! // `Retry-After` is obeyed: nothing is sent.
//! assert!(cache.get().await.is_err());
//! server.assert_token_requests(1);
//!
//! tokio::time::sleep(busy).await;
//! assert!(cache.get().await.is_ok());
//! # Ok(())
//! # }
//! ```
//! `deny("invalid_client")` denies all, until `allow()`. `hold()` stops the requests that have
//! come until you let them go.
//!
//! # Your credentials
//! Register the client as it authenticates. `build_with` takes the server as transport for any
//! credentials, with any URL. This test sees what they send:
//! ```
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials, TokenCache,
//!     test_util::AuthorizationServer,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_bearer::Error> {
//! let server = AuthorizationServer::new();
//! server.register(
//!     "billing",
//!     ClientAuth::basic("s3cret"),
//! );
//!
//! let source = ClientCredentials::builder(
//!     "https://auth.example.com/oauth2/token",
//!     "billing",
//!     ClientAuth::basic("s3cret"),
//! )
//! .scopes(["invoices"])
//! .build_with(server.clone())?;
//! let token = TokenCache::new(source).get().await?;
//! assert_eq!(token.expose_secret(), "billing.1");
//!
//! let request = &server.calls()[0];
//! let scope = request.form("scope");
//! assert_eq!(scope.as_deref(), Some("invoices"));
//! # Ok(())
//! # }
//! ```
//!
//! # No token
//! `error` makes an error of each kind, as the layer returns it, and `ScriptedSource` is a
//! source that fails with it:
//! ```
//! use http::Request;
//! use tower::{BoxError, Layer, ServiceExt};
//! use tower_bearer::{
//!     BearerAuthLayer, Error, ErrorKind,
//!     test_util::{
//!         self, AuthorizationServer, ProtectedApi,
//!         ScriptedSource,
//!     },
//! };
//!
//! /// What your service answers.
//! fn status(error: &BoxError) -> u16 {
//!     match Error::find_in(&**error) {
//!         Some(error) if error.is_transient() => 503,
//!         _ => 502,
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! for (kind, expected) in [
//!     (ErrorKind::Denied, 502),
//!     (ErrorKind::Timeout, 503),
//! ] {
//!     let error = test_util::error(kind);
//!     let source = ScriptedSource::new([Err(error)]);
//!     let api = ProtectedApi::new(
//!         &AuthorizationServer::new(),
//!     );
//!     let client = BearerAuthLayer::new(source)
//!         .layer(api.clone());
//!     let request =
//!         Request::get("https://api.test/")
//!             .body(String::new())?;
//!     let error =
//!         client.oneshot(request).await.unwrap_err();
//!     assert_eq!(status(&error), expected);
//!     api.assert_calls(0);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Expiry
//! The servers in memory go by Tokio's clock, as the cache does. An hour takes no time:
//! ```
//! use std::time::Duration;
//!
//! use tokio::time::sleep;
//! use tower_bearer::{
//!     TokenCache, test_util::AuthorizationServer,
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_bearer::Error> {
//! let server = AuthorizationServer::new();
//! server.lifetime(Duration::from_secs(600));
//! let cache = TokenCache::new(server.credentials());
//! cache.get().await?;
//! sleep(Duration::from_secs(601)).await;
//! cache.get().await?;
//! server.assert_token_requests(2);
//! # Ok(())
//! # }
//! ```
//! See [paused time](super::runtimes#paused-time).
//!
//! # Over a socket
//! Clients such as reqwest and tonic need one. `serve` puts a server on a free port of this
//! machine until its handle is dropped. `serve_tls` (with a feature for TLS, such as `rustls`)
//! does so over TLS: have the client trust `test_util::ROOT_CERTIFICATE`. Do not pause time
//! then: it also moves the timeouts of real sockets.
//! ```
//! use tower_bearer::{
//!     ClientCredentials, TokenCache, test_util,
//!     test_util::AuthorizationServer,
//! };
//!
//! # #[cfg(not(feature = "rustls"))] fn main() {}
//! # #[cfg(feature = "rustls")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let server = AuthorizationServer::new();
//! let served = server.serve_tls().await?;
//! let source = ClientCredentials::builder(
//!     format!("{}/token", served.url()),
//!     "client",
//!     "secret",
//! )
//! .root_certificates(test_util::ROOT_CERTIFICATE)
//! .build()?;
//! TokenCache::new(source).get().await?;
//! server.assert_token_requests(1);
//! # Ok(())
//! # }
//! ```
//! Discovery works as well: give the handle's `url()` as the issuer.
