//! The state of a cache, for people, metrics, health endpoints and readiness probes.

use std::time::Duration;

use tokio::sync::watch;

use super::{
    TokenCache,
    rt::{Mutex, MutexGuard, PoisonError, RuntimeId},
};
use crate::error::Error;

/// A snapshot of a [`TokenCache`]: its token, whether a token request is under way, and the last failure.
///
/// # Example
/// A readiness probe:
/// ```
/// # use tower_bearer::{token::FixedToken, Token, TokenCache};
/// # let cache = TokenCache::new(FixedToken::new("t")?);
/// let state = cache.state();
/// let ready = state.is_usable() || state.error().is_none();
/// # assert!(ready);
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CacheState {
    token: TokenState,
    requesting: bool,
    error: Option<Error>,
}

/// The state of the token in a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenState {
    /// There is no token: none was requested yet, or it was invalidated.
    Absent,
    /// It can be sent, and is not yet due for a refresh.
    Fresh {
        /// How long it can still be sent, unless it is replaced or rejected.
        usable_for: Duration,
    },
    /// It can be sent, and its next use refreshes it.
    Stale {
        /// How long it can still be sent, unless it is replaced or rejected.
        usable_for: Duration,
    },
    /// It cannot be sent any more.
    Expired,
}

impl CacheState {
    /// `token`: what is left until its refresh and until its end.
    pub(super) fn new(
        token: Option<(Duration, Duration)>,
        requesting: bool,
        error: Option<Error>,
    ) -> Self {
        let token = match token {
            None => TokenState::Absent,
            Some((_, Duration::ZERO)) => TokenState::Expired,
            Some((Duration::ZERO, usable_for)) => TokenState::Stale { usable_for },
            Some((_, usable_for)) => TokenState::Fresh { usable_for },
        };
        Self {
            token,
            requesting,
            error,
        }
    }

    /// The token, with the time it has left.
    #[must_use]
    pub fn token(&self) -> TokenState {
        self.token
    }

    /// Whether there is a token that can be sent now.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(
            self.token,
            TokenState::Fresh { .. } | TokenState::Stale { .. }
        )
    }

    /// Whether a token request is under way.
    #[must_use]
    pub fn is_requesting(&self) -> bool {
        self.requesting
    }

    /// During a backoff: an error whose [source](std::error::Error::source) is the failure, and whose
    /// [`retry_after`](Error::retry_after) is the time until the next token request is allowed.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }
}

/// Who is told of each change that does not come by time alone, and on which runtimes the token is kept warm.
#[derive(Debug, Default)]
pub(super) struct Changes {
    tell: watch::Sender<()>,
    keepers: Mutex<Vec<RuntimeId>>,
}

impl Changes {
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.tell.subscribe()
    }

    pub(super) fn tell(&self) {
        self.tell.send_replace(());
    }

    /// A task of this runtime keeps the token warm from now on; whether that is news.
    pub(super) fn keep(&self, runtime: RuntimeId) -> bool {
        let mut keepers = self.lock();
        let is_news = !keepers.contains(&runtime);
        if is_news {
            keepers.push(runtime);
        }
        is_news
    }

    /// It does so no more.
    pub(super) fn let_go(&self, runtime: RuntimeId) {
        self.lock().retain(|keeper| *keeper != runtime);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<RuntimeId>> {
        // No code but this runs under the lock.
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches a cache. Made by [`TokenCache::changes`].
///
/// It is a handle to the cache, like a clone: while it lives, a cache that is kept warm goes on.
#[derive(Clone, Debug)]
pub struct StateChanges {
    cache: TokenCache,
    changes: watch::Receiver<()>,
}

impl StateChanges {
    pub(super) fn new(cache: TokenCache, changes: watch::Receiver<()>) -> Self {
        Self { cache, changes }
    }

    /// Waits until a token request ends or the token is invalidated, and returns the state after it.
    ///
    /// A token that becomes stale or expires is not a change. Several changes before the call are reported as one.
    ///
    /// # Cancellation
    /// Dropping the future loses no change.
    pub async fn next(&mut self) -> CacheState {
        // The sender lives in the cache that is held here, so there is always another change to wait for.
        let _ = self.changes.changed().await;
        self.cache.state()
    }
}
