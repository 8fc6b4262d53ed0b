//! A source whose credentials are looked up for each token request.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use tower::{BoxError, ServiceExt};
use tower_service::Service;

use crate::token::{Token, TokenRequest, TokenSource};

/// A [`TokenSource`] that is looked up for each token request, for example in a vault.
///
/// Each token request runs the lookup, so it uses a replaced credential from then on. After an `invalid_client` error, that
/// is when the backoff ends. To retry at once, use a [`Secret::from_provider`](crate::Secret::from_provider) as the secret: it is
/// called again after that error.
///
/// The source that is found serves one token request. State that it caches, such as the endpoint that it
/// [discovers](crate::ClientCredentials::discover), is not kept for the next one. The lookup counts towards the token
/// request's deadline.
///
/// # Errors
/// If the lookup fails, the token request fails, with the same backoff. The error is [`ErrorKind::Source`] with the lookup's
/// error as its source. If the lookup's error is an [`Error`] of this crate, it is returned unchanged.
///
/// # Cancellation
/// The lookup's future is dropped when the token request's timeout is over.
///
/// [`Error`]: crate::Error
/// [`ErrorKind::Source`]: crate::ErrorKind::Source
///
/// # Example
/// ```
/// use tower_bearer::{token::Lookup, ClientCredentials, TokenCache};
///
/// # #[derive(Clone)] struct Vault;
/// # impl Vault { async fn secret(&self) -> Result<String, std::io::Error> { unimplemented!() } }
/// # fn cache<T>(vault: Vault, transport: T) -> TokenCache
/// # where T: tower::Service<http::Request<http_body_util::Full<bytes::Bytes>>, Response = http::Response<String>, Error = std::io::Error, Future: Send> + Clone + Send + Sync + 'static
/// # {
/// let source = Lookup::new(move || {
///     let (vault, transport) = (vault.clone(), transport.clone());
///     async move {
///         let secret = vault.secret().await?;
///         let credentials = ClientCredentials::builder("https://auth.example.com/token", "my-client", secret);
///         Ok(credentials.build_with(transport)?)
///     }
/// });
/// TokenCache::new(source)
/// # }
/// ```
pub struct Lookup<F> {
    look_up: F,
}

impl<F, Fut, S> Lookup<F>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<S, BoxError>>,
    S: TokenSource,
{
    /// Creates a source that calls `look_up` for each token request.
    pub fn new(look_up: F) -> Self {
        Self { look_up }
    }
}

impl<F, Fut, S> Service<TokenRequest> for Lookup<F>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<S, BoxError>> + Send + 'static,
    S: TokenSource,
{
    type Response = Token;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Token, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let found = (self.look_up)();
        Box::pin(async move { found.await?.oneshot(request).await.map_err(Into::into) })
    }
}

impl<F> fmt::Debug for Lookup<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}
