//! Credentials that have to be looked up first.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use tower::{BoxError, ServiceExt};
use tower_service::Service;

use crate::token::{Token, TokenRequest, TokenSource};

/// A [`TokenSource`] that is looked up at each token request: in a database, a vault, another service.
///
/// As it is asked at each token request, a credential that was replaced there is picked up by the next one: after an
/// `invalid_client` that is when its backoff is over, or at once if the secret itself is a
/// [`Secret::provider`](crate::Secret::provider), which is asked once more then. What a source keeps for itself, as one that
/// [discovers](crate::ClientCredentials::discover) its endpoint does, it keeps for one token request. The lookup counts
/// towards the token request's deadline, and its failure is the token request's, with the same backoff: [`ErrorKind::Source`] with the
/// lookup's error as its source, or, if that is an [`Error`] of this crate, the error itself.
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
    /// The source that `look_up` finds.
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
