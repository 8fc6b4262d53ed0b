//! Sources of tokens.
//!
//! A source is a tower service from [`TokenRequest`] to [`Token`]. It does not know the cache, which calls it when a token is
//! needed, one request at a time.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use tower::BoxError;
use tower_service::Service;

use super::{Token, TokenRequest};
use crate::error::Error;

/// A source of tokens: an alias for a [`Service`] from [`TokenRequest`] to [`Token`].
///
/// Every matching service implements it: [`ClientCredentials`](crate::ClientCredentials), [`FixedToken`], a
/// [`service_fn`](tower::service_fn), and each of them inside tower layers. A [`TokenCache`](crate::TokenCache) makes one
/// call at a time, so a source need not be [`Clone`].
///
/// Do not hold a handle to the cache in its own source: that is a reference cycle, and neither is ever dropped.
///
/// # Errors
/// An [`Error`] of this crate keeps its class, transient or permanent, and its
/// [`retry_after`](Error::retry_after). Any other error is transient, and becomes the cause of one of kind
/// [`Source`](crate::ErrorKind::Source). All callers who wait get the same error.
///
/// # Panics
/// If a source panics, the callers who wait get an error of kind [`Interrupted`](crate::ErrorKind::Interrupted), and the next
/// call starts anew. A source that panics each time is backed off from.
///
/// # Cancellation
/// A source's future is dropped when the token request's timeout is over, and with the runtime that runs it. It is not
/// dropped with the callers who wait for it.
///
/// # Example
/// Tower layers around the source, for at most 10 token requests a minute, with a timeout of 3 seconds each:
/// ```
/// use std::time::Duration;
/// use tower::ServiceBuilder;
/// use tower_bearer::{BearerAuthLayer, ClientCredentials};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_bearer::Error> {
/// # #[cfg(feature = "rustls")] {
/// let credentials = ClientCredentials::builder("https://auth.example.com/oauth2/token", "id", "secret")
///     .scopes(["billing"])
///     .build()?;
/// let source = ServiceBuilder::new()
///     .rate_limit(10, Duration::from_secs(60))
///     .timeout(Duration::from_secs(3))
///     .service(credentials);
/// let layer = BearerAuthLayer::new(source);
/// # let _ = layer;
/// # }
/// # Ok(())
/// # }
/// ```
/// A custom source, as a closure:
/// ```
/// use tower_bearer::{token::TokenRequest, BearerAuthLayer, Error, Token};
///
/// let source = tower::service_fn(|_: TokenRequest| async { Token::new("from-somewhere-else") });
/// let layer = BearerAuthLayer::new(source);
/// # let _ = layer;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of tokens",
    note = "a builder or a `Result` is not a source yet: finish it with `.build()?`, or with `?`",
    note = "a `TokenCache` is for `BearerAuthLayer::from_cache`",
    note = "a source is a `tower::Service<TokenRequest, Response = Token>` that is `Send + 'static`, with a future that is `Send + 'static`: `ClientCredentials`, `FixedToken`, or `tower::service_fn(|_: TokenRequest| async {{ Token::new(..) }})`"
)]
pub trait TokenSource:
    Service<TokenRequest, Response = Token, Error: Into<BoxError>, Future: Send + 'static>
    + Send
    + 'static
    + sealed::Sealed
{
}

#[diagnostic::do_not_recommend]
impl<S> TokenSource for S where
    S: Service<TokenRequest, Response = Token, Error: Into<BoxError>, Future: Send + 'static>
        + Send
        + 'static
{
}

mod sealed {
    pub trait Sealed {}
    #[diagnostic::do_not_recommend]
    impl<S> Sealed for S where S: tower_service::Service<super::TokenRequest, Response = super::Token> {}
}

/// A [`TokenSource`] that always returns the same token.
///
/// Use it in tests, and for tokens that a portal issues manually.
///
/// # Example
/// ```
/// use tower_bearer::{token::FixedToken, BearerAuthLayer, Token};
///
/// let layer = BearerAuthLayer::new(FixedToken::new("a-token-from-a-portal")?);
/// # let _ = layer;
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FixedToken {
    token: Token,
}

impl FixedToken {
    /// Creates a source that returns this access token.
    ///
    /// # Errors
    /// As for [`Token::new`].
    pub fn new(access_token: impl AsRef<str>) -> Result<Self, Error> {
        Token::new(access_token).map(Self::from)
    }
}

impl From<Token> for FixedToken {
    fn from(token: Token) -> Self {
        Self { token }
    }
}

impl Service<TokenRequest> for FixedToken {
    type Response = Token;
    type Error = Infallible;
    type Future = Ready<Result<Token, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: TokenRequest) -> Self::Future {
        ready(Ok(self.token.clone()))
    }
}
