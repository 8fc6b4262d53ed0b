//! One credential's token: read without a lock, exchanged once for everyone.
//!
//! Knows no HTTP. [`flight`] is the single flight, [`schedule`] its arithmetic.

mod flight;
mod schedule;

use std::{sync::Arc, time::Duration};

pub(crate) use self::flight::{Held, Outcome};
use self::flight::{Joined, Need, SingleFlight};
use crate::{error::Error, source::TokenSource, token::Token};

/// One credential's current token, and the one place where it is exchanged.
///
/// Clones share the token. A [`BearerAuthLayer`](crate::BearerAuthLayer) makes one for itself; make one by hand to share
/// it between layers, or with code that is no tower service.
///
/// # How it behaves
/// - Nothing runs until a token is asked for, and nothing runs for an idle cache.
/// - A token is used until min(30 s, 10 % of its lifetime) before its end, and is refreshed in the background by the
///   first use after about 80 % of it (jittered by ±5 % of the lifetime).
/// - At most one exchange is under way. It runs in a Tokio task of its own, with its own deadline; everyone who needs
///   its outcome waits for it, and an error reaches all of them at once.
/// - After a failed exchange the source is left alone for a while: 1 s doubling to 60 s where it may just be down, 30 s
///   doubling to 5 min where somebody has to change something, with jitter, or for as long as `Retry-After` says (5 min
///   at most). A token that is still good is used meanwhile; without one, callers get the last error at once.
///
/// # Example
/// ```
/// use tower_bearer::{BearerAuthLayer, FixedToken, Token, TokenCache};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_bearer::Error> {
/// let cache = TokenCache::new(FixedToken::new(Token::new("ory_at_4jSH.k2dW")?));
/// let for_billing = BearerAuthLayer::from_cache(cache.clone());
/// let for_commerce = BearerAuthLayer::from_cache(cache.clone());
///
/// let token = cache.get().await?;
/// # let _ = (for_billing, for_commerce, token);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TokenCache {
    flight: Arc<SingleFlight>,
}

impl TokenCache {
    /// A cache with the defaults, empty as yet.
    pub fn new(source: impl TokenSource) -> Self {
        Self::with_settings(source, Settings::default())
    }

    /// A cache whose numbers are yours.
    pub fn builder<S: TokenSource>(source: S) -> TokenCacheBuilder<S> {
        TokenCacheBuilder {
            source,
            settings: Settings::default(),
        }
    }

    fn with_settings(source: impl TokenSource, settings: Settings) -> Self {
        Self {
            flight: Arc::new(SingleFlight::new(
                source,
                settings.exchange_timeout,
                settings.default_lifetime,
            )),
        }
    }

    /// The token to send now: the current one, or the next one if there is none that is still good.
    ///
    /// # Errors
    /// When a token is needed and the exchange fails, or failed so lately that it is not tried again yet.
    ///
    /// # Cancellation
    /// Dropping the future leaves the exchange running for whoever else waits, and for the next call.
    pub async fn get(&self) -> Result<Token, Error> {
        match self.read(Token::clone) {
            Some(token) => Ok(token),
            None => Ok(self.wait_for_usable().await?.token.clone()),
        }
    }

    /// Exchanges now, whatever token is there, and gives the new one; joins the exchange under way if there is one.
    /// The current token is used until the new one is there.
    ///
    /// # Errors
    /// As for [`get`](Self::get). A token that is still good stays.
    ///
    /// # Cancellation
    /// As for [`get`](Self::get).
    pub async fn refresh(&self) -> Result<Token, Error> {
        Ok(self.join(Need::Exchange).await?.token.clone())
    }

    /// Forgets `token`, if it is the current one: the next [`get`](Self::get) exchanges. A token that has been replaced
    /// is forgotten already, and the one that replaced it stays.
    ///
    /// For a client that is no tower service and saw the token refused. The layer does better by itself: it keeps the
    /// refused token until it has another one.
    pub fn invalidate(&self, token: &Token) {
        self.flight.forget(token.generation());
    }

    /// Reads the token to send now, if there is one, without waiting and without a lock.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Token) -> T) -> Option<T> {
        self.flight.read(read)
    }

    /// Waits for a token that may be sent.
    pub(crate) async fn wait_for_usable(&self) -> Outcome {
        loop {
            let held = self.join(Need::Usable).await?;
            // A waiter that is polled late may find that the token has aged meanwhile.
            if held.is_usable() {
                return Ok(held);
            }
        }
    }

    /// Waits for a token to use in place of the one with generation `refused`; `None` if the source gave the same again.
    pub(crate) async fn wait_for_other(&self, refused: u64) -> Result<Option<Arc<Held>>, Error> {
        let held = self.join(Need::Other { than: refused }).await?;
        Ok((held.token.generation() != refused).then_some(held))
    }

    /// Starts an exchange for the token with generation `refused`, if it is the current one, and does not wait for it.
    pub(crate) fn start_replacing(&self, refused: u64) {
        drop(self.flight.join(Need::Other { than: refused }));
    }

    async fn join(&self, need: Need) -> Outcome {
        match self.flight.join(need) {
            Joined::Have(held) => Ok(held),
            Joined::Wait(flight) => flight.landed().await,
            Joined::Fail(error) => Err(error),
        }
    }
}

/// Sets a [`TokenCache`]'s numbers. Made by [`TokenCache::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct TokenCacheBuilder<S> {
    source: S,
    settings: Settings,
}

#[derive(Clone, Debug)]
struct Settings {
    exchange_timeout: Duration,
    default_lifetime: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            exchange_timeout: Duration::from_secs(10),
            default_lifetime: Duration::from_secs(5 * 60),
        }
    }
}

impl<S: TokenSource> TokenCacheBuilder<S> {
    /// How long one exchange may take, from its start to its token. After it everyone who waits gets
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout). 10 seconds by default.
    pub fn exchange_timeout(mut self, timeout: Duration) -> Self {
        self.settings.exchange_timeout = timeout;
        self
    }

    /// How long a token is taken to be good for if the server does not say. 5 minutes by default.
    pub fn default_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.default_lifetime = lifetime;
        self
    }

    /// The cache, empty as yet.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) when a duration is zero.
    pub fn build(self) -> Result<TokenCache, Error> {
        if self.settings.exchange_timeout.is_zero() {
            return Err(Error::configuration(
                "the exchange timeout is zero, so that every exchange would time out; give it a few seconds",
            ));
        }
        if self.settings.default_lifetime.is_zero() {
            return Err(Error::configuration(
                "the default lifetime is zero, so that every token without `expires_in` would be over when it comes; \
                 give it a minute or more",
            ));
        }
        Ok(TokenCache::with_settings(self.source, self.settings))
    }
}
