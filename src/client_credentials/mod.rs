//! The client credentials grant ([RFC 6749 §4.4]), by the `oauth2` crate over any HTTP client; and other [grants](grant).
//!
//! [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4

pub(crate) mod auth;
mod builder;
mod check;
pub(crate) mod discovery;
#[cfg(feature = "dpop")]
pub(crate) mod dpop;
mod form;
pub mod grant;
mod headers;
#[cfg(feature = "shared")]
mod identity;
mod redact;
mod request;
mod response;
pub(crate) mod transport;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use url::Url;

#[cfg(feature = "jwt")]
pub use self::auth::jwt::{Assertion, AssertionAudience, Signer, SigningAlgorithm, SigningKey};
#[cfg(feature = "jwt")]
pub use self::grant::{JwtBearer, google_service_account};
pub use self::{
    auth::{ClientAuth, secret::Secret},
    builder::ClientCredentialsBuilder,
    grant::{Grant, TokenExchange, TokenType},
};
use self::{discovery::endpoint::Endpoint, request::Credential, transport::Transport};
use crate::{
    error::Error,
    token::{Token, TokenRequest},
};

/// A [`TokenSource`](crate::TokenSource) that requests tokens with a client's own credentials.
///
/// Each call sends a token request. Nothing is cached here: the layer does that.
///
/// # When to use
/// For calls from server to server without a user: the client credentials grant ([RFC 6749 §4.4]). For token exchange and signed
/// assertions in its place see [`grant`].
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
/// Any 2xx status and any content type, as long as the body is a JSON object of at most 64 KiB.
///
/// - `expires_in` may be a number, a float or a string. If it is missing, `expires_on` or `expires` counts, by this machine's
///   clock: seconds since 1970, an HTTP date, or a date of [RFC 3339].
/// - `refresh_in` is when the token is refreshed at the latest.
/// - `scope` may be a string or an array, with spaces or commas between the scopes.
/// - `token_type` is case-insensitive, and may be missing, empty or `BearerToken`. Any other type is an error (but for `DPoP`, if
///   the credentials have a key for it), and so is an
///   access token that is not visible ASCII.
/// - An `error` that is empty is none.
///
/// The error for any other answer has up to 300 characters of what the server says: the description of an OAuth error, a
/// message in another shape, plain text, or the title of a web page.
///
/// Redirects are never followed: they would send the secret to another host.
///
/// # Client authentication
/// See [`ClientAuth`]. A secret in a file or behind a [`Secret::from_provider`](crate::Secret::from_provider) is read at each token
/// request. If the server answers `invalid_client`, the secret is read again; if it has changed, the token request is
/// retried once, immediately.
///
/// [RFC 3339]: https://www.rfc-editor.org/rfc/rfc3339
/// [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
#[derive(Clone)]
pub struct ClientCredentials {
    credential: Arc<Credential>,
    transport: Transport,
}

impl ClientCredentials {
    /// Returns a builder for a known token URL.
    ///
    /// `auth` is a secret or any [`ClientAuth`]. All values are checked by
    /// [`build`](ClientCredentialsBuilder::build_with), not here.
    pub fn builder(
        token_url: impl Into<String>,
        client_id: impl Into<String>,
        auth: impl Into<ClientAuth>,
    ) -> ClientCredentialsBuilder {
        let endpoint = Endpoint::Known(token_url.into());
        ClientCredentialsBuilder::new(endpoint, client_id.into(), auth.into())
    }

    /// Returns a builder that discovers the token endpoint from the issuer's metadata.
    ///
    /// The metadata is that of [RFC 8414] or of [OpenID Connect Discovery].
    ///
    /// # When the metadata is fetched
    /// The first token request fetches it, within its own deadline and over its transport. It is cached for an hour. It is
    /// refetched early if the token endpoint is unreachable or answers 404, 405 or 410. If a refetch fails because of an
    /// outage, the cached metadata stays in use.
    ///
    /// # How the metadata is used
    /// - Its `issuer` must be exactly the same string as this one.
    /// - A secret without a method is sent by the first offered one of `client_secret_basic`, `client_secret_post` and
    ///   `client_secret_jwt` (feature `jwt`).
    /// - Any other [`ClientAuth`] must be offered. If it is not, each token request fails with an error that lists what is.
    /// - With [`ClientAuth::tls`] or a client certificate, the mTLS endpoint alias is used if there is one
    ///   ([RFC 8705 §5]).
    ///
    /// # Deployment caveat
    /// Servers announce the methods of all their clients, but usually enforce the one that this client is registered with.
    /// If you know the method, give it explicitly, as in [`ClientAuth::basic`].
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

    /// Returns a builder for a known token URL and no client: no client id is sent, and no client authentication.
    ///
    /// What is shown is then the [`grant`](ClientCredentialsBuilder::grant)'s, which must be set. Google's servers have it so: see
    /// [`TokenExchange`] for workload identity, and the [grants](grant) for service accounts.
    pub fn without_client(token_url: impl Into<String>) -> ClientCredentialsBuilder {
        let endpoint = Endpoint::Known(token_url.into());
        ClientCredentialsBuilder::new(endpoint, String::new(), ClientAuth::no_client())
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
        let credential = Arc::clone(&self.credential);
        Box::pin(credential.token_request(request, self.transport.clone()))
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
            .field("grant", &self.credential.grant)
            .field("scopes", &self.credential.scopes)
            .finish_non_exhaustive()
    }
}

/// A query may hold a key.
fn without_query(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
