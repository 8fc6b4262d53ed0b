//! Access tokens, and the sources that supply them.

mod lookup;
mod source;

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderValue;

pub use self::{
    lookup::Lookup,
    source::{FixedToken, Reason, TokenRequest, TokenSource},
};
use crate::error::Error;

/// A bearer access token ([RFC 6750]), ready to be added to requests.
///
/// A [`TokenSource`] returns it and a [`TokenCache`](crate::TokenCache) stores it. The `Authorization` value is built and
/// marked sensitive once, when the token is created; each request gets a clone. Clones are cheap, and `Debug` never shows the
/// token.
///
/// Unlike a [`Secret`](crate::Secret), a token is not overwritten in memory when it is dropped: requests, and the clients
/// that send them, share its bytes.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_bearer::Token;
///
/// let token = Token::new("ory_at_4jSH.k2dW")?.with_lifetime(Duration::from_secs(3600));
/// assert!(token.authorization().is_sensitive());
/// assert!(Token::new("two words").is_err());
/// # Ok::<(), tower_bearer::Error>(())
/// ```
///
/// [RFC 6750]: https://www.rfc-editor.org/rfc/rfc6750
#[derive(Clone)]
pub struct Token {
    authorization: HeaderValue,
    lifetime: Option<Duration>,
    scopes: Option<Arc<[Box<str>]>>,
    generation: u64,
}

impl Token {
    /// Creates a token of unknown lifetime and scopes.
    ///
    /// # Errors
    /// If `access_token` is empty or contains a character that is not visible ASCII. [RFC 6750 §2.1] allows fewer
    /// characters, but some servers issue others, so they are accepted.
    ///
    /// [RFC 6750 §2.1]: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
    pub fn new(access_token: impl AsRef<str>) -> Result<Self, Error> {
        let access_token = access_token.as_ref();
        if access_token.is_empty() {
            return Err(Error::unusable_token("the access token is empty"));
        }
        if !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::unusable_token(
                "the access token contains a character that is not visible ASCII",
            ));
        }
        let mut authorization = HeaderValue::try_from([PREFIX, access_token].concat())
            .map_err(|_| Error::unusable_token("the access token cannot be put in a header"))?;
        authorization.set_sensitive(true);
        Ok(Self {
            authorization,
            lifetime: None,
            scopes: None,
            generation: 0,
        })
    }

    /// Sets the lifetime (`expires_in`, [RFC 6749 §5.1]).
    ///
    /// The cache counts it from before the token request was sent.
    ///
    /// [RFC 6749 §5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Sets the granted scopes.
    #[must_use]
    pub fn with_scopes<I>(mut self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.scopes = Some(
            scopes
                .into_iter()
                .map(|scope| scope.into().into())
                .collect(),
        );
        self
    }

    /// Returns the `Authorization` value, `Bearer …`, marked sensitive.
    #[must_use]
    #[doc(alias = "secret")]
    #[doc(alias = "access_token")]
    #[doc(alias = "header")]
    pub fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    /// Returns the lifetime at issue, if known; not the remaining lifetime.
    #[must_use]
    #[doc(alias = "expires_in")]
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// Returns the granted scopes; `None` if the server did not list them.
    ///
    /// By [RFC 6749 §5.1], `None` means that the requested scopes were granted. Some servers also omit the list when they
    /// granted none of them.
    ///
    /// [RFC 6749 §5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
    pub fn scopes(&self) -> Option<impl ExactSizeIterator<Item = &str>> {
        Some(self.scopes.as_ref()?.iter().map(AsRef::as_ref))
    }

    /// Returns the token alone, as the server issued it.
    pub(crate) fn access_token(&self) -> &str {
        let value = self.authorization.to_str().unwrap_or_default();
        value.strip_prefix(PREFIX).unwrap_or(value)
    }

    /// Returns the token's number: unique in the process, growing, and 0 until a cache publishes the token. Rejections are
    /// keyed on it.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn with_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// Whether both tokens have the same `Authorization` value.
    pub(crate) fn is_same_credential(&self, other: &Self) -> bool {
        self.authorization == other.authorization
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("authorization", &"Bearer [redacted]")
            .field("lifetime", &self.lifetime)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// The scheme and the space before the token.
const PREFIX: &str = "Bearer ";
