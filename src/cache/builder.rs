//! A cache whose numbers are yours.

use std::time::Duration;

use super::{
    TokenCache,
    rt::Spawner,
    schedule::{Backoff, Schedule},
};
use crate::{error::Error, token::TokenSource};

/// Sets a [`TokenCache`]'s numbers. Made by [`TokenCache::builder`].
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_bearer::{token::FixedToken, Token, TokenCache};
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
    schedule: Schedule,
    runtime: Option<Spawner>,
}

impl<S: TokenSource> TokenCacheBuilder<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            schedule: Schedule::default(),
            runtime: None,
        }
    }

    /// All numbers at once.
    #[cfg(feature = "config")]
    pub(crate) fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// How long one token request may take, from its start to its token. After it everyone who waits gets
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout). 10 s by default.
    pub fn token_request_timeout(mut self, timeout: Duration) -> Self {
        self.schedule.token_request_timeout = timeout;
        self
    }

    /// How long a token is taken to be good for if the server does not say. 5 minutes by default.
    pub fn default_lifetime(mut self, lifetime: Duration) -> Self {
        self.schedule.default_lifetime = lifetime;
        self
    }

    /// After which part of its lifetime a token is refreshed, and how far that point is moved either way, once per token
    /// and at random, so that processes started together part ways. 0.8 and 0.05 by default: between 75 % and 85 %.
    ///
    /// Whatever is set here, the point is early enough for two token requests as long as the last one, if it lies past half
    /// of the lifetime.
    pub fn refresh_at(mut self, fraction: f64, jitter: f64) -> Self {
        self.schedule.refresh_at = fraction;
        self.schedule.refresh_jitter = jitter;
        self
    }

    /// How long before its end a token is no longer sent: `longest`, or this fraction of its lifetime if that is
    /// shorter. 30 s and 0.1 by default.
    pub fn hard_margin(mut self, longest: Duration, fraction: f64) -> Self {
        self.schedule.hard_margin = longest;
        self.schedule.hard_margin_fraction = fraction;
        self
    }

    /// How long no token request is tried after one that failed and may well succeed later: `first`, doubled by each failure
    /// up to `last`, of which a random part of up to nine tenths is taken away. 1 s and 60 s by default.
    pub fn transient_backoff(mut self, first: Duration, last: Duration) -> Self {
        self.schedule.transient = Backoff { first, last };
        self
    }

    /// The same after one that fails until somebody changes something. 30 s and 5 minutes by default.
    pub fn permanent_backoff(mut self, first: Duration, last: Duration) -> Self {
        self.schedule.permanent = Backoff { first, last };
        self
    }

    /// How long a `Retry-After` is honoured at most. 5 minutes by default.
    pub fn longest_retry_after(mut self, longest: Duration) -> Self {
        self.schedule.longest_retry_after = longest;
        self
    }

    /// How long a route that also rejects fresh tokens causes no token request: `first`, doubled each time up to `last`. While
    /// more than four routes do, the same holds for all routes together but those that accepted a token lately. 1 s and 5 minutes by
    /// default.
    pub fn rejection_cool_down(mut self, first: Duration, last: Duration) -> Self {
        self.schedule.rejected = Backoff { first, last };
        self
    }

    /// How many token requests rejections may cause at a stretch, whatever the routes say, and how long until there is one more.
    /// 30 and 10 s by default. The last third is kept for routes that accepted a token lately.
    pub fn rejection_allowance(mut self, token_requests: u32, interval: Duration) -> Self {
        self.schedule.rejection_allowance = token_requests;
        self.schedule.rejection_allowance_interval = interval;
        self
    }

    /// Runs token requests on this runtime, wherever they are asked for. By default each runs on the runtime of the caller that
    /// causes it.
    ///
    /// Use it where callers come from many short-lived runtimes, or from threads without any, and one runtime outlives them
    /// all. That runtime must be driven: callers do not take over from it.
    #[cfg(not(all(test, shuttle)))]
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.runtime = Some(Spawner::of(runtime));
        self
    }

    /// The cache, empty as yet.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), with a message that says what to change, when a
    /// number makes no sense: a time that must not be zero, a fraction outside its range, a backoff that shrinks.
    pub fn build(self) -> Result<TokenCache, Error> {
        self.schedule.check()?;
        Ok(TokenCache::with_schedule(
            self.source,
            self.schedule,
            self.runtime,
        ))
    }
}
