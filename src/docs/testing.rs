//! Testing: your service without an authorization server, a network or real time.
//!
//! | what you test | use |
//! | --- | --- |
//! | your own code, tokens do not matter | [`FixedToken`](crate::token::FixedToken) and a `service_fn` as the API |
//! | what your code does when a token is rejected | a source that counts, and an API that rejects |
//! | your credentials' configuration | `build_with` and a `service_fn` as the token endpoint |
//! | expiry and backoff | Tokio's paused time |
//! | what your code does when there is no token | a source that fails |
//!
//! # An API in memory
//! ```
//! use http::{Request, Response};
//! use tower::{
//!     BoxError, Layer, ServiceExt, service_fn,
//! };
//! use tower_bearer::{
//!     BearerAuthLayer, token::FixedToken,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let api = service_fn(
//!     async |request: Request<String>| {
//!         let token =
//!             request.headers()["authorization"]
//!                 .clone();
//!         assert_eq!(token, "Bearer test-token");
//!         Ok::<_, BoxError>(Response::new(
//!             "hello".to_owned(),
//!         ))
//!     },
//! );
//! let layer = BearerAuthLayer::new(
//!     FixedToken::new("test-token")?,
//! );
//! let client = layer.layer(api);
//!
//! let request =
//!     Request::get("https://api.example.com/")
//!         .body(String::new())?;
//! let response = client.oneshot(request).await?;
//! assert_eq!(response.body(), "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # A rejected token
//! The source numbers its tokens, and the API accepts the second one only. The caller sees
//! 200, and the source was called twice.
//! ```
//! use std::sync::{
//!     Arc,
//!     atomic::{AtomicUsize, Ordering},
//! };
//!
//! use http::{Request, Response, StatusCode};
//! use tower::{
//!     BoxError, Layer, ServiceExt, service_fn,
//! };
//! use tower_bearer::{
//!     BearerAuthLayer, Token, token::TokenRequest,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let token_requests =
//!     Arc::new(AtomicUsize::new(0));
//! let counter = Arc::clone(&token_requests);
//! let source =
//!     service_fn(move |_: TokenRequest| {
//!         let number = counter
//!             .fetch_add(1, Ordering::SeqCst)
//!             + 1;
//!         async move {
//!             Token::new(format!("token-{number}"))
//!         }
//!     });
//! let api = service_fn(
//!     async |request: Request<String>| {
//!         let token =
//!             &request.headers()["authorization"];
//!         let is_good = token == "Bearer token-2";
//!         let mut response =
//!             Response::new(String::new());
//!         if !is_good {
//!             *response.status_mut() =
//!                 StatusCode::UNAUTHORIZED;
//!         }
//!         Ok::<_, BoxError>(response)
//!     },
//! );
//! let client =
//!     BearerAuthLayer::new(source).layer(api);
//!
//! let request =
//!     Request::get("https://api.example.com/")
//!         .body(String::new())?;
//! let response = client.oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(
//!     token_requests.load(Ordering::SeqCst),
//!     2
//! );
//! # Ok(())
//! # }
//! ```
//!
//! # A token endpoint in memory
//! `build_with` takes any tower service as the transport for token requests. This test sees
//! what your credentials send:
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{BoxError, service_fn};
//! use tower_bearer::{
//!     ClientCredentials, TokenCache,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! async fn answer(
//!     request: Request<Full<Bytes>>,
//! ) -> Result<Response<String>, BoxError> {
//!     let form = request
//!         .into_body()
//!         .collect()
//!         .await?
//!         .to_bytes();
//!     let form = std::str::from_utf8(&form)?;
//!     assert!(form.contains(
//!         "grant_type=client_credentials"
//!     ));
//!     assert!(form.contains("scope=billing"));
//!     let token = r#"{"access_token":"t"}"#;
//!     Ok(Response::new(token.to_owned()))
//! }
//!
//! let source = ClientCredentials::builder(
//!     "https://auth.example.com/oauth2/token",
//!     "my-client",
//!     "my-secret",
//! )
//! .scopes(["billing"])
//! .build_with(service_fn(answer))?;
//! let token = TokenCache::new(source).get().await?;
//! assert_eq!(token.authorization(), "Bearer t");
//! # Ok(())
//! # }
//! ```
//!
//! # No token
//! A source that fails, and what the caller gets. Paused time skips each pause and backoff:
//! ```
//! use http::{Request, Response};
//! use tower::{
//!     BoxError, Layer, ServiceExt, service_fn,
//! };
//! use tower_bearer::{
//!     BearerAuthLayer, Error, ErrorKind, Token,
//!     token::TokenRequest,
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let source =
//!     service_fn(async |_: TokenRequest| {
//!         Err::<Token, BoxError>(
//!             "the vault is sealed".into(),
//!         )
//!     });
//! let api =
//!     service_fn(async |_: Request<String>| {
//!         Ok::<_, BoxError>(Response::new(
//!             String::new(),
//!         ))
//!     });
//! let client =
//!     BearerAuthLayer::new(source).layer(api);
//!
//! let request =
//!     Request::get("https://api.example.com/")
//!         .body(String::new())?;
//! let error =
//!     client.oneshot(request).await.unwrap_err();
//! let error = error
//!     .downcast_ref::<Error>()
//!     .expect("an error of this crate");
//! assert_eq!(error.kind(), ErrorKind::Source);
//! # Ok(())
//! # }
//! ```
//!
//! # Expiry
//! See [paused time](super::runtimes#paused-time). Note that paused time also moves the
//! timeouts of real sockets; use it with servers in memory.
//!
//! # Over real sockets
//! The repository's `examples/embedded` has a small authorization server and an API that run
//! in your process and count requests. Copy what you need.
