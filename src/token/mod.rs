//! An access token as requests carry it.

mod lookup;
mod source;

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderValue;

pub use self::{
    lookup::Lookup,
    source::{FixedToken, Reason, TokenRequest, TokenSource},
};
use crate::error::Error;

/// A bearer access token ([RFC 6750]), ready to be put on requests.
///
/// What a [`TokenSource`] gives and a [`TokenCache`](crate::TokenCache) hands out. The
/// `Authorization` value is built and marked sensitive once, here; a request gets a clone of it. Clones are cheap and
/// `Debug` never shows the token.
///
/// It is not overwritten in memory when it is dropped, as a [`Secret`](crate::Secret) is: requests, and the clients that
/// send them, have the same bytes.
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
    /// A token of unknown lifetime and scopes.
    ///
    /// # Errors
    /// When `access_token` is empty or has a character that is not visible ASCII: no such token can be carried by a
    /// header ([RFC 6750 §2.1] allows fewer still; what servers really issue is let through).
    ///
    /// [RFC 6750 §2.1]: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
    pub fn new(access_token: impl AsRef<str>) -> Result<Self, Error> {
        let access_token = access_token.as_ref();
        if access_token.is_empty() {
            return Err(Error::unusable_token("the access token is empty"));
        }
        if !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::unusable_token(
                "the access token has a character that is not visible ASCII",
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

    /// Says how long the token is good for, counted from before it was asked for (`expires_in`, [RFC 6749 §5.1]).
    ///
    /// [RFC 6749 §5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Says which scopes were granted.
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

    /// The finished `Authorization` value, `Bearer …`, marked sensitive.
    #[must_use]
    pub fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    /// The lifetime that came with the token, if one did. Not what is left of it.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// The scopes that the server says it granted; `None` where it does not say. By [RFC 6749 §5.1] that means those that
    /// were asked for, but some servers also leave the field out where they granted none of them.
    ///
    /// [RFC 6749 §5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
    pub fn scopes(&self) -> Option<impl ExactSizeIterator<Item = &str>> {
        Some(self.scopes.as_ref()?.iter().map(AsRef::as_ref))
    }

    /// The token alone, as the server gave it.
    pub(crate) fn access_token(&self) -> &str {
        let value = self.authorization.to_str().unwrap_or_default();
        value.strip_prefix(PREFIX).unwrap_or(value)
    }

    /// Which token this is: unique in the process, growing, and 0 until a cache has published it. Rejections are keyed
    /// on it.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn with_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// Whether both would be put on a request as the same bytes.
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

/// The scheme, and what separates it from its token.
const PREFIX: &str = "Bearer ";
