//! The builder of a cache.

use std::time::Duration;

use super::{
    TokenCache,
    schedule::{Backoff, Schedule},
};
use crate::{error::Error, telemetry::Names, token::TokenSource};

/// Sets a [`TokenCache`]'s timeouts, refresh and backoff. Made by [`TokenCache::builder`].
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_bearer::{token::FixedToken, TokenCache};
///
/// # let source = FixedToken::new("t")?;
/// let cache = TokenCache::builder(source)
///     .token_request_timeout(Duration::from_secs(3))
///     .refresh_at(0.5, 0.1)
///     .build()?;
/// # let _ = cache;
///
/// # let source = FixedToken::new("t")?;
/// let error = TokenCache::builder(source).refresh_at(1.5, 0.0).build().unwrap_err();
/// assert!(error.to_string().contains("between 0 and 1"));
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct TokenCacheBuilder<S> {
    source: S,
    names: Names,
    schedule: Schedule,
}

impl<S: TokenSource> TokenCacheBuilder<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            names: Names::default(),
            schedule: Schedule::default(),
        }
    }

    /// The name that operators know this cache by: `cache` in its spans, events and metrics. Default: none, and metrics have the
    /// client id and the token endpoint's host instead.
    ///
    /// Give each cache of a program its own. It is a metric's label, so there should be no more names than an operator can look
    /// at: caches of a `Keyed` share one, and differ in their [`key`](Self::key).
    ///
    /// # Example
    /// ```
    /// use tower_bearer::{token::FixedToken, TokenCache};
    ///
    /// # let source = FixedToken::new("t")?;
    /// let cache = TokenCache::builder(source).name("billing").build()?;
    /// assert_eq!(cache.name(), Some("billing"));
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        self.names.name = Some(name.as_ref().into());
        self
    }

    /// What tells this cache from others of the same [`name`](Self::name), such as a tenant: `key` in its spans and events. It is
    /// shown and logged, and is no metric's label. Default: none.
    ///
    /// Metrics of caches with a key are those of all with this name together. They have no times of a single token.
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.names.key = Some(key.as_ref().into());
        self
    }

    /// Every number at once.
    #[cfg(feature = "config")]
    pub(crate) fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// The time limit of one token request. Default: 10 s.
    ///
    /// When it is over, all callers who wait get [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
    #[doc(alias = "timeout")]
    pub fn token_request_timeout(mut self, timeout: Duration) -> Self {
        self.schedule.token_request_timeout = timeout;
        self
    }

    /// The lifetime of a token whose server does not tell it. Default: 5 minutes.
    pub fn default_lifetime(mut self, lifetime: Duration) -> Self {
        self.schedule.default_lifetime = lifetime;
        self
    }

    /// The refresh point, as a fraction of the lifetime, and its jitter. Default: 0.8 ± 0.05, so between 75 % and 85 %.
    ///
    /// The jitter is drawn once per token, so that processes that start together do not refresh together. In the second half of
    /// the lifetime, the refresh point moves forward until two token requests as slow as the last one fit before the token's
    /// end.
    pub fn refresh_at(mut self, fraction: f64, jitter: f64) -> Self {
        self.schedule.refresh_at = fraction;
        self.schedule.refresh_jitter = jitter;
        self
    }

    /// The hard margin before a token's end: `longest`, or `fraction` of the lifetime if that is shorter. Default: 30 s, 0.1.
    ///
    /// In the margin, requests wait for a new token. If none can be fetched, the current one is used until its end.
    pub fn hard_margin(mut self, longest: Duration, fraction: f64) -> Self {
        self.schedule.hard_margin = longest;
        self.schedule.hard_margin_fraction = fraction;
        self
    }

    /// The backoff after [transient](Error::is_transient) failures: starts at `first`, doubles up to `last`, minus up to 90 %
    /// jitter. Default: 1 s, 60 s.
    pub fn transient_backoff(mut self, first: Duration, last: Duration) -> Self {
        self.schedule.transient = Backoff { first, last };
        self
    }

    /// The backoff after permanent failures, such as a wrong secret: starts at `first`, doubles up to `last`, minus up to 90 %
    /// jitter. Default: 30 s, 5 minutes.
    pub fn permanent_backoff(mut self, first: Duration, last: Duration) -> Self {
        self.schedule.permanent = Backoff { first, last };
        self
    }

    /// The longest `Retry-After` that is honored; a longer one counts as this. Default: 5 minutes.
    pub fn longest_retry_after(mut self, longest: Duration) -> Self {
        self.schedule.longest_retry_after = longest;
        self
    }

    /// The cool-down of a route that rejects fresh tokens as well: starts at `first`, doubles up to `last`. Default: 1 s,
    /// 5 minutes.
    ///
    /// During a cool-down, a 401 on that route causes no token request. While more than four routes are in one, it holds for all
    /// routes but those that accepted a token recently.
    pub fn rejection_cool_down(mut self, first: Duration, last: Duration) -> Self {
        self.schedule.rejected = Backoff { first, last };
        self
    }

    /// The number of token requests that 401s can cause in a burst, and the time until one more is allowed. Default: 30, 10 s.
    ///
    /// The last third is kept for routes that accepted a token recently.
    pub fn rejection_allowance(mut self, token_requests: u32, interval: Duration) -> Self {
        self.schedule.rejection_allowance = token_requests;
        self.schedule.rejection_allowance_interval = interval;
        self
    }

    /// The runtime that runs all token requests. Default: the runtime of the caller that causes the request.
    ///
    /// Use it if callers come from many short-lived runtimes, or from threads without one, and one runtime outlives them all.
    /// That runtime must be driven: callers do not take over from it.
    #[cfg(not(all(test, shuttle)))]
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.schedule.runtime = Some(super::rt::Spawner::of(runtime));
        self
    }

    /// Builds the cache. It is empty until the first token request.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), with a message that says what to change, if a value is not
    /// valid: a time that must not be zero, a fraction outside its range, a backoff that shrinks.
    pub fn build(self) -> Result<TokenCache, Error> {
        self.schedule.check()?;
        Ok(TokenCache::with_names(
            self.source,
            self.schedule,
            self.names,
        ))
    }
}
