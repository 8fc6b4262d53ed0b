//! The client credentials grant ([RFC 6749 §4.4]), by the `oauth2` crate over any HTTP client.
//!
//! [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4

pub(crate) mod auth;
mod builder;
mod check;
pub(crate) mod discovery;
mod redact;
mod request;
mod response;
mod transport;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use url::Url;

#[cfg(feature = "jwt")]
pub use self::auth::jwt::{Signer, SigningAlgorithm, SigningKey};
pub use self::{
    auth::{ClientAuth, secret::Secret},
    builder::ClientCredentialsBuilder,
};
use self::{discovery::endpoint::Endpoint, request::Credential, transport::Transport};
use crate::{
    error::Error,
    token::{Token, TokenRequest},
};

/// A [`TokenSource`](crate::TokenSource) that token requests a client's own credentials for a token, at each call.
///
/// # When to use
/// For calls from server to server, with no user: the client credentials grant, [RFC 6749 §4.4].
///
/// # Example
/// ```
/// use tower_bearer::{BearerAuthLayer, ClientAuth, ClientCredentials};
///
/// # fn main() -> Result<(), tower_bearer::Error> {
/// # #[cfg(feature = "rustls")] {
/// let auth = ClientAuth::basic("my-secret");
/// let source = ClientCredentials::builder("https://auth.example.com/oauth2/token", "my-client", auth)
///     .scopes(["billing", "ecommerce"])
///     .audience("https://api.example.com")
///     .build()?;
/// let layer = BearerAuthLayer::new(source);
/// # let _ = layer;
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # What it accepts
/// Any 2xx status and any content type, as long as the body is a JSON object of at most 64 KiB. `expires_in` may be a
/// number, a float or a string; `scope` a string or an array. A missing `token_type` is taken for `Bearer`, in any case
/// of letters. Any other token type, and an access token that is empty or not visible ASCII, is an error.
///
/// Redirects are never followed: they would take the secret to another host.
///
/// # How it proves who it is
/// See [`ClientAuth`]. What is kept elsewhere, in a file or behind a [`Secret::provider`](crate::Secret::provider), is read
/// at each token request. When the server says `invalid_client` it is read once more; if it has changed, the token request is tried
/// again at once.
///
/// [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
#[derive(Clone)]
pub struct ClientCredentials {
    credential: Arc<Credential>,
    transport: Transport,
}

impl ClientCredentials {
    /// Starts with where the token endpoint is, who the client is, and how it proves that: a secret, or any other
    /// [`ClientAuth`].
    ///
    /// Nothing is checked before [`build`](ClientCredentialsBuilder::build_with).
    pub fn builder(
        token_url: impl Into<String>,
        client_id: impl Into<String>,
        auth: impl Into<ClientAuth>,
    ) -> ClientCredentialsBuilder {
        let endpoint = Endpoint::Known(token_url.into());
        ClientCredentialsBuilder::new(endpoint, client_id.into(), auth.into())
    }

    /// Starts with who the issuer is: where its token endpoint is, and what it takes there, is looked up in the metadata
    /// that it publishes ([RFC 8414], or [OpenID Connect Discovery]).
    ///
    /// # When it is looked up
    /// At the first token request, within its deadline and over its transport; again when that was an hour ago, and after the
    /// token endpoint has answered 404, 405 or 410 or could not be reached, at the next token request. When the metadata cannot
    /// be had again because of an outage, what is known of it is used on.
    ///
    /// # What is made of it
    /// The metadata's issuer has to be the same as this one, to the letter. A secret whose method is left open goes by the
    /// first that is offered of `client_secret_basic`, `client_secret_post` and `client_secret_jwt` (feature `jwt`). Any other
    /// [`ClientAuth`] has to be offered, or each token request fails with an error that says what is. With [`ClientAuth::tls`] or
    /// a client certificate the endpoint for clients with a certificate is used, if there is one ([RFC 8705 §5]).
    ///
    /// # Deployment caveat
    /// Servers announce what some client of theirs may use, and commonly enforce the one method that this client is
    /// registered with. A method that is known is better given, as by [`ClientAuth::basic`].
    ///
    /// # Example
    /// ```
    /// use tower_bearer::ClientCredentials;
    ///
    /// # fn main() -> Result<(), tower_bearer::Error> {
    /// # #[cfg(feature = "rustls")] {
    /// let source = ClientCredentials::discover("https://auth.example.com/realms/main", "my-client", "my-secret")
    ///     .scopes(["billing"])
    ///     .build()?;
    /// # let _ = source;
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
    /// [OpenID Connect Discovery]: https://openid.net/specs/openid-connect-discovery-1_0.html
    /// [RFC 8705 §5]: https://www.rfc-editor.org/rfc/rfc8705#section-5
    pub fn discover(
        issuer: impl Into<String>,
        client_id: impl Into<String>,
        auth: impl Into<ClientAuth>,
    ) -> ClientCredentialsBuilder {
        let endpoint = Endpoint::Discovered(issuer.into());
        ClientCredentialsBuilder::new(endpoint, client_id.into(), auth.into())
    }

    pub(crate) fn new(credential: Credential, transport: Transport) -> Self {
        Self {
            credential: Arc::new(credential),
            transport,
        }
    }
}

impl Service<TokenRequest> for ClientCredentials {
    type Response = Token;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Token, Error>> + Send>>;

    /// Always ready: the transport is made ready within the call, under the token request's deadline.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let rejected = request.rejected_token().cloned();
        let credential = Arc::clone(&self.credential);
        Box::pin(credential.token_request(rejected, self.transport.clone()))
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ClientCredentials");
        match &self.credential.endpoint {
            Endpoint::Known(target) => {
                out.field("token_url", &without_query(target.token_url.url()))
            }
            Endpoint::Discovered(discovery) => out.field("issuer", &discovery.issuer()),
        };
        out.field("client_id", &self.credential.client_id)
            .field("auth", &self.credential.auth)
            .field("scopes", &self.credential.scopes)
            .finish_non_exhaustive()
    }
}

/// A query may hold a key.
fn without_query(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
