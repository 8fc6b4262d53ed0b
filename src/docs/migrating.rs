//! Migrating: from a mutex, `middle`, a middleware of reqwest-middleware, tower-http's static header.
//!
//! | you have | what changes |
//! | --- | --- |
//! | [a token behind a mutex](#a-token-behind-a-mutex) | no lock while a token is requested; one error for all who wait; 401s are handled |
//! | [`middle`](#middle) | 401s are handled; any tower client; a token request survives its caller |
//! | [a middleware of reqwest-middleware](#a-middleware-of-reqwest-middleware) | the code goes away; bodies are replayed or not sent again |
//! | [tower-http's static header](#tower-https-static-header) | the token is refreshed |
//!
//! # A token behind a mutex
//! Before:
//! ```
//! use std::time::{Duration, Instant};
//!
//! use tokio::sync::Mutex;
//! use tower::BoxError;
//!
//! # struct Answer { access_token: String, expires_in: u64 }
//! # async fn request_token() -> Result<Answer, BoxError> { Err("no".into()) }
//! #[derive(Default)]
//! struct Tokens(Mutex<Option<(String, Instant)>>);
//!
//! impl Tokens {
//!     async fn get(&self) -> Result<String, BoxError> {
//!         let mut kept = self.0.lock().await;
//!         let soon =
//!             Instant::now() + Duration::from_secs(60);
//!         if let Some((token, end)) = &*kept
//!             && *end > soon
//!         {
//!             return Ok(token.clone());
//!         }
//!         let answer = request_token().await?;
//!         let seconds = answer.expires_in;
//!         let end = Instant::now()
//!             + Duration::from_secs(seconds);
//!         let token = answer.access_token;
//!         *kept = Some((token.clone(), end));
//!         Ok(token)
//!     }
//! }
//! # let _ = Tokens::default().get();
//! ```
//! What this does under trouble:
//!
//! - The lock is held while the token is requested. A slow token endpoint stops all requests,
//!   although the old token is still valid.
//! - If the token request fails, each waiting request sends its own, one after another.
//! - A caller that is dropped takes the token request with it.
//! - With tokens of 60 s, each request requests a token.
//! - A 401 changes nothing until the token's end.
//! - A lifetime that is too large for an `Instant` panics.
//!
//! After, with the same `request_token`:
//! ```
//! use std::time::Duration;
//!
//! use tower::{BoxError, service_fn};
//! use tower_bearer::{
//!     BearerAuthLayer, Token, TokenCache,
//!     token::TokenRequest,
//! };
//!
//! # struct Answer { access_token: String, expires_in: u64 }
//! # async fn request_token() -> Result<Answer, BoxError> {
//! #     Ok(Answer { access_token: "t".to_owned(), expires_in: 300 })
//! # }
//! async fn source(
//!     _: TokenRequest,
//! ) -> Result<Token, BoxError> {
//!     let answer = request_token().await?;
//!     let seconds = answer.expires_in;
//!     Ok(Token::new(answer.access_token)?
//!         .with_lifetime(Duration::from_secs(seconds)))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let tokens = TokenCache::new(service_fn(source));
//!
//! // Where a header was made by hand:
//! let token = tokens.get().await?;
//! let header = token.authorization().clone();
//! # assert_eq!(header, "Bearer t");
//!
//! // Or around the client, which also handles 401s:
//! let layer = BearerAuthLayer::from_cache(tokens);
//! # let _ = layer;
//! # Ok(())
//! # }
//! ```
//! If `request_token` is the client credentials grant, replace it by
//! [`ClientCredentials`](crate::ClientCredentials): it also reads the server's errors,
//! `Retry-After`, and the secret again when it is rotated.
//!
//! # `middle`
//! Before, with `middle` 0.5:
//! ```text
//! let authorizer =
//!     BasicClientCredentialAuthorizer::basic_builder(
//!         "my-client", "my-secret", token_url,
//!     )
//!     .build()
//!     .await?;
//! let header = authorizer.authorization_header()?;
//! ```
//! After:
//! ```
//! # #[cfg(feature = "rustls")]
//! # async fn example() -> Result<(), tower_bearer::Error> {
//! use tower_bearer::{
//!     BearerAuthLayer, ClientAuth,
//!     ClientCredentials, TokenCache,
//! };
//!
//! let credentials = ClientCredentials::builder(
//!     "https://auth.example.com/oauth2/token",
//!     "my-client",
//!     ClientAuth::basic("my-secret"),
//! )
//! .build()?;
//! let tokens = TokenCache::new(credentials);
//! // Fetch the first token now, as `build` did.
//! tokens.get().await?;
//! // Refresh it without requests, as its task did.
//! let keep_warm = tokens.keep_warm()?;
//! let layer = BearerAuthLayer::from_cache(tokens);
//! # let _ = (keep_warm, layer);
//! # Ok(())
//! # }
//! ```
//! | `middle` | here |
//! | --- | --- |
//! | `basic_builder` | [`ClientAuth::basic`](crate::ClientAuth::basic) |
//! | `build().await` fetches a token, or fails | `build()` only checks; [`TokenCache::get`](crate::TokenCache::get) fetches |
//! | `authorization_header()` | [`get`](crate::TokenCache::get), then [`authorization`](crate::Token::authorization); or the layer |
//! | a task refreshes all the time | the first use of a stale token does; [`keep_warm`](crate::TokenCache::keep_warm) for a task |
//! | its layers for reqwest and tonic | features `reqwest`, `reqwest-middleware` and `tonic` |
//!
//! # A middleware of reqwest-middleware
//! Before:
//! ```
//! # #[cfg(not(feature = "reqwest-middleware"))] fn main() {}
//! # #[cfg(feature = "reqwest-middleware")] fn main() {
//! # use std::sync::Arc;
//! # struct Tokens;
//! # impl Tokens {
//! #     async fn get(&self) -> Result<String, std::io::Error> { Ok("t".to_owned()) }
//! #     async fn forget(&self) {}
//! # }
//! use reqwest::{Request, Response, StatusCode};
//! use reqwest_middleware::{
//!     Error, Middleware, Next,
//! };
//!
//! struct Auth(Arc<Tokens>);
//!
//! # #[async_trait::async_trait]
//! impl Middleware for Auth {
//!     async fn handle(
//!         &self,
//!         mut request: Request,
//!         extensions: &mut http::Extensions,
//!         next: Next<'_>,
//!     ) -> Result<Response, Error> {
//!         let again = request.try_clone();
//!         self.authorize(&mut request).await?;
//!         let first = next
//!             .clone()
//!             .run(request, extensions)
//!             .await?;
//!         let rejected = first.status()
//!             == StatusCode::UNAUTHORIZED;
//!         match again {
//!             Some(mut request) if rejected => {
//!                 self.0.forget().await;
//!                 self.authorize(&mut request).await?;
//!                 next.run(request, extensions).await
//!             }
//!             _ => Ok(first),
//!         }
//!     }
//! }
//! # impl Auth {
//! #     async fn authorize(&self, request: &mut Request) -> Result<(), Error> {
//! #         let token = self.0.get().await.map_err(Error::middleware)?;
//! #         let value = format!("Bearer {token}").parse().map_err(Error::middleware)?;
//! #         request.headers_mut().insert("authorization", value);
//! #         Ok(())
//! #     }
//! # }
//! # let _ = Auth(Arc::new(Tokens));
//! # }
//! ```
//! What this does under trouble: a late 401 for the old token throws the new one away; a
//! thousand 401s request a thousand tokens; an API that always answers 401 gets a token request
//! for each request; a stream is not retried at all; and each URL that the client is given
//! gets the token.
//!
//! After:
//! ```
//! # #[cfg(not(feature = "reqwest-middleware"))] fn main() {}
//! # #[cfg(feature = "reqwest-middleware")]
//! # fn main() -> Result<(), tower_bearer::Error> {
//! use reqwest::Client;
//! use reqwest_middleware::ClientBuilder;
//! use tower_bearer::{
//!     BearerAuthLayer, ClientCredentials,
//!     replay::Buffered,
//! };
//!
//! let source = ClientCredentials::builder(
//!     "https://auth.example.com/oauth2/token",
//!     "my-client",
//!     "my-secret",
//! )
//! .build_with_reqwest(Client::builder())?;
//! let layer = BearerAuthLayer::new(source)
//!     .origins(["https://api.example.com"])?
//!     .replay(Buffered::up_to(64 * 1024));
//! let client = ClientBuilder::new(Client::new())
//!     .with(layer)
//!     .build();
//! # let _ = client;
//! # Ok(())
//! # }
//! ```
//! Add other middlewares as before: `reqwest-retry` before the layer, `reqwest-tracing` after it.
//!
//! # tower-http's static header
//! Before:
//! ```
//! use tower::ServiceBuilder;
//! use tower_http::auth::AddAuthorizationLayer;
//!
//! # let client = tower::service_fn(async |_: http::Request<String>| {
//! #     Ok::<_, tower::BoxError>(http::Response::new(String::new()))
//! # });
//! let service = ServiceBuilder::new()
//!     .layer(AddAuthorizationLayer::bearer("a-token"))
//!     .service(client);
//! # let _ = service;
//! ```
//! After, with a token that does not change, or with one that does:
//! ```
//! use tower::ServiceBuilder;
//! use tower_bearer::{
//!     BearerAuthLayer, token::FixedToken,
//! };
//!
//! # fn main() -> Result<(), tower_bearer::Error> {
//! # let client = tower::service_fn(async |_: http::Request<String>| {
//! #     Ok::<_, tower::BoxError>(http::Response::new(String::new()))
//! # });
//! let fixed = FixedToken::new("a-token")?;
//! // Or `ClientCredentials::builder(…).build()?`.
//! let service = ServiceBuilder::new()
//!     .layer(BearerAuthLayer::new(fixed))
//!     .service(client)
//!     .check::<String>();
//! # let _ = service;
//! # Ok(())
//! # }
//! ```
//! - The client must be `Clone`, and the body too, or [`replay`](crate::replay) says how it is
//!   sent again. [`NoReplay`](crate::replay::NoReplay) asks for neither copy nor retry.
//! - A token that cannot be a header's value is an error, not a panic. The header is marked
//!   sensitive.
//! - A request's own `Authorization` stays:
//!   [`ExistingAuthorization`](crate::select::ExistingAuthorization).
//! - Plain HTTP is allowed to loopback only.
