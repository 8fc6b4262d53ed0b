//! Access tokens, and the sources that supply them.

pub(crate) mod challenge;
mod lookup;
pub(crate) mod remedies;
mod request;
mod source;

use std::{
    fmt,
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::HeaderValue;

use self::remedies::{Origin, Remedies};
pub use self::{
    lookup::Lookup,
    request::{Reason, TokenRequest},
    source::{FixedToken, TokenSource},
};
use crate::{
    error::Error,
    util::clock::{self, Moment},
};

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
    /// By the wall clock, in milliseconds since 1970, once a cache has dated the token. There are caches by the thousand, and this
    /// is half of what a `SystemTime` takes.
    expires_at: Option<NonZeroU64>,
    generation: u64,
    /// What few ask for, and many tokens do not have.
    details: Option<Arc<Details>>,
}

#[derive(Clone, Default)]
struct Details {
    scopes: Option<Box<[Box<str>]>>,
    refresh_in: Option<Duration>,
    longest_lifetime: Option<Duration>,
    extra: Vec<(Box<str>, Box<str>)>,
    /// What its source can do about a challenge, if it was told to do anything.
    remedies: Option<(Arc<Remedies>, Origin)>,
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
        Self::of_type(BEARER, access_token.as_ref())
    }

    /// Creates a token that is bound to a key ([RFC 9449 §7.1]), of unknown lifetime and scopes.
    ///
    /// Its `Authorization` value is `DPoP …`. Each request that carries it needs a proof by the key, which a
    /// [`DpopLayer`](crate::dpop::DpopLayer) adds.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Example
    /// ```
    /// use tower_bearer::Token;
    ///
    /// let token = Token::dpop("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU")?;
    /// assert_eq!(token.authorization(), "DPoP Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    ///
    /// [RFC 9449 §7.1]: https://www.rfc-editor.org/rfc/rfc9449#section-7.1
    #[cfg(feature = "dpop")]
    pub fn dpop(access_token: impl AsRef<str>) -> Result<Self, Error> {
        Self::of_type(DPOP, access_token.as_ref())
    }

    /// Creates a token of this type: the scheme of its `Authorization`.
    pub(crate) fn of_type(scheme: &str, access_token: &str) -> Result<Self, Error> {
        if access_token.is_empty() {
            return Err(Error::unusable_token("the access token is empty"));
        }
        if !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::unusable_token(
                "the access token contains a character that is not visible ASCII",
            ));
        }
        let mut authorization = HeaderValue::try_from([scheme, " ", access_token].concat())
            .map_err(|_| Error::unusable_token("the access token cannot be put in a header"))?;
        authorization.set_sensitive(true);
        Ok(Self {
            authorization,
            lifetime: None,
            expires_at: None,
            generation: 0,
            details: None,
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
        let scopes = scopes.into_iter().map(|scope| scope.into().into());
        self.details_mut().scopes = Some(scopes.collect());
        self
    }

    /// Sets when the server wants the token to be refreshed (`refresh_in`, as Microsoft Entra ID has it).
    ///
    /// The cache counts it from before the token request was sent, as the lifetime, and refreshes the token no later.
    #[must_use]
    pub fn with_refresh_in(mut self, refresh_in: Duration) -> Self {
        self.details_mut().refresh_in = Some(refresh_in);
        self
    }

    /// It is used no longer than this, also if its lifetime is not known.
    pub(crate) fn with_longest_lifetime(mut self, at_most: Duration) -> Self {
        self.details_mut().longest_lifetime = Some(at_most);
        self
    }

    /// The lifetime as the server said it, or else this one, within what is allowed.
    pub(crate) fn lifetime_or(&self, unknown: Duration) -> Duration {
        let said = self.lifetime.filter(|lifetime| !lifetime.is_zero());
        let longest = self.details.as_ref().and_then(|it| it.longest_lifetime);
        let lifetime = said.unwrap_or(unknown);
        longest.map_or(lifetime, |longest| lifetime.min(longest))
    }

    /// Adds something else that belongs to the token, for [`extra`](Self::extra). It replaces what has the same name.
    #[must_use]
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        let extra = &mut self.details_mut().extra;
        extra.retain(|(other, _)| **other != *name);
        extra.push((name.into(), value.into().into()));
        self
    }

    fn details_mut(&mut self) -> &mut Details {
        Arc::make_mut(self.details.get_or_insert_default())
    }

    /// Returns the `Authorization` value, `Bearer …` or `DPoP …`, marked sensitive.
    #[must_use]
    #[doc(alias = "header")]
    pub fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    /// Returns the token alone, as the server issued it, without the scheme before it.
    ///
    /// Use it where a token does not travel in an `Authorization` header: SASL's `OAUTHBEARER` and `XOAUTH2`, a WebSocket
    /// subprotocol, the password of a database. What you make of it can be logged by mistake;
    /// [`authorization`](Self::authorization) cannot.
    ///
    /// # Example
    /// ```
    /// use tower_bearer::Token;
    ///
    /// let token = Token::new("ory_at_4jSH.k2dW")?;
    /// // RFC 7628
    /// let sasl = format!("n,,\x01auth=Bearer {}\x01\x01", token.expose_secret());
    /// # assert!(sasl.contains("Bearer ory_at_4jSH.k2dW\x01"));
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "secret")]
    #[doc(alias = "access_token")]
    #[doc(alias = "as_str")]
    pub fn expose_secret(&self) -> &str {
        self.scheme_and_text().1
    }

    /// The scheme of its `Authorization`.
    pub(crate) fn scheme(&self) -> &str {
        self.scheme_and_text().0
    }

    fn scheme_and_text(&self) -> (&str, &str) {
        let value = self.authorization.to_str().unwrap_or_default();
        // Neither part has a space.
        value.split_once(' ').unwrap_or(("", value))
    }

    /// Returns the lifetime at issue, if the server said it.
    ///
    /// It does not shrink: [`remaining`](Self::remaining) says what is left of it.
    #[must_use]
    #[doc(alias = "expires_in")]
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// Returns when the token expires, by this machine's wall clock, if it is from a [`TokenCache`](crate::TokenCache).
    ///
    /// The lifetime counts from before the token request was sent, so this is rather too early than too late. If the server
    /// said no lifetime, the cache's default lifetime counts.
    ///
    /// # Example
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use tower_bearer::{Token, TokenCache, token::FixedToken};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_bearer::Error> {
    /// let token = Token::new("ory_at_4jSH")?.with_lifetime(Duration::from_secs(3600));
    /// assert_eq!(token.expires_at(), None);
    ///
    /// let token = TokenCache::new(FixedToken::from(token)).get().await?;
    /// assert!(token.expires_at() > Some(SystemTime::now()));
    /// assert!(token.remaining() < token.lifetime());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[doc(alias = "expires_on")]
    #[doc(alias = "expiration")]
    pub fn expires_at(&self) -> Option<SystemTime> {
        let since_1970 = Duration::from_millis(self.expires_at?.get());
        SystemTime::UNIX_EPOCH.checked_add(since_1970)
    }

    /// Returns the time until [`expires_at`](Self::expires_at); zero if that is past.
    ///
    /// It is by the wall clock alone. The cache knows a steady clock as well: [`state`](crate::TokenCache::state) says how
    /// long it uses the token.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let left = self.expires_at()?.duration_since(clock::wall());
        Some(left.unwrap_or_default())
    }

    /// Returns when the server wants the token to be refreshed, from its issue, if it said so.
    #[must_use]
    pub fn refresh_in(&self) -> Option<Duration> {
        self.details.as_ref()?.refresh_in
    }

    /// Returns the granted scopes; `None` if the server did not list them.
    ///
    /// By [RFC 6749 §5.1], `None` means that the requested scopes were granted. Some servers also omit the list when they
    /// granted none of them.
    ///
    /// [RFC 6749 §5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
    pub fn scopes(&self) -> Option<impl ExactSizeIterator<Item = &str>> {
        let scopes = self.details.as_ref()?.scopes.as_ref()?;
        Some(scopes.iter().map(AsRef::as_ref))
    }

    /// Returns another member of the token endpoint's answer, if the client
    /// [keeps](crate::client_credentials::ClientCredentialsBuilder::keep) it and the answer has it.
    ///
    /// A string is returned as it is, without its quotes, and anything else as JSON. It may be secret, such as an
    /// `id_token`; `Debug` shows its name only.
    #[must_use]
    pub fn extra(&self, name: &str) -> Option<&str> {
        let extra = &self.details.as_ref()?.extra;
        let (_, value) = extra.iter().find(|(other, _)| **other == *name)?;
        Some(value)
    }

    /// All of them, for a store.
    #[cfg(feature = "shared")]
    pub(crate) fn extras(&self) -> impl Iterator<Item = (&str, &str)> {
        let extra = self.details.iter().flat_map(|details| &details.extra);
        extra.map(|(name, value)| (&**name, &**value))
    }

    /// Their values may be secret.
    fn extra_names(&self) -> Vec<&str> {
        let extra = self.details.iter().flat_map(|details| &details.extra);
        extra.map(|(name, _)| &**name).collect()
    }

    pub(crate) fn remedies(&self) -> Option<(&Remedies, Origin)> {
        let (remedies, origin) = self.details.as_ref()?.remedies.as_ref()?;
        Some((remedies, *origin))
    }

    pub(crate) fn with_remedies(mut self, remedies: &Arc<Remedies>, origin: Origin) -> Self {
        self.details_mut().remedies = Some((Arc::clone(remedies), origin));
        self
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

    pub(crate) fn with_end(mut self, end: Moment) -> Self {
        let since_1970 = end.wall().duration_since(SystemTime::UNIX_EPOCH);
        let since_1970 = since_1970.unwrap_or_default().as_millis().try_into();
        self.expires_at = NonZeroU64::new(since_1970.unwrap_or(u64::MAX));
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
            .field(
                "authorization",
                &format_args!("\"{} [redacted]\"", self.scheme()),
            )
            .field("lifetime", &self.lifetime)
            .field("expires_at", &self.expires_at())
            .field("scopes", &self.scopes().map(Vec::from_iter))
            .field("extra", &self.extra_names())
            .finish_non_exhaustive()
    }
}

pub(crate) const BEARER: &str = "Bearer";
pub(crate) const DPOP: &str = "DPoP";
