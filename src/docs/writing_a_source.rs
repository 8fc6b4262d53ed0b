//! Writing a source: tokens that do not come from the client credentials grant.
//!
//! A *source* is a tower service from [`TokenRequest`](crate::token::TokenRequest) to
//! [`Token`](crate::Token). There is no trait to implement:
//! [`TokenSource`](crate::TokenSource) is another name for that service.
//!
//! # From a function
//! ```
//! use std::time::Duration;
//!
//! use tower::{BoxError, service_fn};
//! use tower_bearer::{
//!     BearerAuthLayer, Token, token::TokenRequest,
//! };
//!
//! async fn fetch(
//!     _: TokenRequest,
//! ) -> Result<Token, BoxError> {
//!     // Call your own token service here.
//!     let (access_token, seconds) =
//!         ("from-somewhere-else", 3600);
//!     let lifetime = Duration::from_secs(seconds);
//!     Ok(Token::new(access_token)?
//!         .with_lifetime(lifetime))
//! }
//!
//! let layer =
//!     BearerAuthLayer::new(service_fn(fetch));
//! # let _ = layer;
//! ```
//! [`Token::new`](crate::Token::new) fails if the text cannot be in a header. Without
//! [`with_lifetime`](crate::Token::with_lifetime), the token lives 5 minutes.
//!
//! # From a type of your own
//! Implement `Service`. The cache owns the source and makes one call at a time, so the source
//! needs no `Clone` and no lock.
//! ```
//! use std::{
//!     future::{Future, Ready, ready},
//!     task::{Context, Poll},
//! };
//!
//! use tower::Service;
//! use tower_bearer::{
//!     Error, Token, TokenCache, token::TokenRequest,
//! };
//!
//! struct Numbered {
//!     next: u64,
//! }
//!
//! impl Service<TokenRequest> for Numbered {
//!     type Response = Token;
//!     type Error = Error;
//!     type Future = Ready<Result<Token, Error>>;
//!
//!     fn poll_ready(
//!         &mut self,
//!         _: &mut Context<'_>,
//!     ) -> Poll<Result<(), Error>> {
//!         Poll::Ready(Ok(()))
//!     }
//!
//!     fn call(
//!         &mut self,
//!         _: TokenRequest,
//!     ) -> Self::Future {
//!         self.next += 1;
//!         ready(Token::new(format!(
//!             "token-{}",
//!             self.next
//!         )))
//!     }
//! }
//!
//! let cache = TokenCache::new(Numbered { next: 0 });
//! # let _ = cache;
//! ```
//!
//! # What the cache expects
//! - **Errors.** Return any error that is `Into<BoxError>`. It becomes the
//!   [`source`](std::error::Error::source) of an [`Error`](crate::Error) of the kind
//!   [`Source`](crate::ErrorKind::Source). It is transient: the backoff is 1 s doubling to
//!   60 s. An `Error` of this crate keeps its kind. Put no secret into an error.
//! - **Time.** A call has 10 s
//!   ([`token_request_timeout`](crate::cache::TokenCacheBuilder::token_request_timeout)).
//! - **Cancellation.** The future of a call may be dropped at any await. A call on a runtime
//!   that nothing drives is abandoned, and the next call starts while its future still exists.
//! - **Panics.** The callers get an error; the next call starts anew.
//! - **A rejected token.**
//!   [`TokenRequest::rejected_token`](crate::token::TokenRequest::rejected_token) is the token
//!   that the API rejected. A source with a store must not return that one again.
//!   [`current_token`](crate::token::TokenRequest::current_token) names the token to replace,
//!   at a refresh as well.
//!   [`reason`](crate::token::TokenRequest::reason) says why the source is called.
//! - **No cycle.** Do not hold a handle to the cache in its own source: the two would keep
//!   each other alive.
//!
//! # Layers around a source
//! Each tower layer also works around a source. At most 10 token requests a minute, each with
//! 3 seconds:
//! ```
//! use std::time::Duration;
//!
//! use tower::{
//!     BoxError, ServiceBuilder, service_fn,
//! };
//! use tower_bearer::{
//!     BearerAuthLayer, Token, token::TokenRequest,
//! };
//!
//! # async fn fetch(_: TokenRequest) -> Result<Token, BoxError> { unimplemented!() }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let source = ServiceBuilder::new()
//!     .rate_limit(10, Duration::from_secs(60))
//!     .timeout(Duration::from_secs(3))
//!     .service(service_fn(fetch));
//! let layer = BearerAuthLayer::new(source);
//! # let _ = layer;
//! # }
//! ```
//!
//! # Credentials that are looked up
//! [`Lookup`](crate::token::Lookup) finds a source at each token request, in a database or a
//! vault: see [many credentials](super::providers#many-credentials). If only the secret is
//! looked up, [`Secret::from_provider`](crate::Secret::from_provider) is simpler.
//!
//! # A token without a source
//! [`FixedToken`](crate::token::FixedToken) always gives the same token.
//! [`TokenCache::get`](crate::TokenCache::get) gives the token to code that is not a tower
//! service; call [`invalidate`](crate::TokenCache::invalidate) if the API rejects it.
