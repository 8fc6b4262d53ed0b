//! One credential's token: read without a lock, requested once for everyone.
//!
//! Knows no HTTP. In `flight` is the single flight, in `pilot` the task that makes its token request, and in `landing` what its
//! waiters see. `schedule` is their arithmetic, `dating` puts a token's stages on the clocks, `trial` says which of two tokens is
//! used while the API may not know the new one, and `rejection_guard` which rejections may cause a token request.

mod builder;
mod caches;
mod dating;
mod failure;
mod flight;
mod keep_warm;
#[cfg(feature = "keyed")]
mod keyed;
mod landing;
mod need;
mod pilot;
mod rejection_guard;
mod rt;
mod schedule;
#[cfg(all(test, shuttle))]
pub(crate) mod shuttle;
mod state;
mod trial;

use std::{sync::Arc, time::Duration};

#[cfg(feature = "keyed")]
pub use self::keyed::Keyed;
use tokio::time::Instant;

pub use self::{
    builder::TokenCacheBuilder,
    caches::Caches,
    state::{CacheState, StateChanges, TokenState},
};
use self::{
    flight::{Caller, SingleFlight},
    need::Need,
};
pub(crate) use self::{landing::Outcome, need::Held, rejection_guard::Route, schedule::Schedule};
use crate::{
    error::Error,
    telemetry::{Names, Reporter},
    token::{Token, TokenSource, challenge::Challenges, remedies::Origin},
    util::{clock::Moment, timer::until},
};

/// Holds the access token of one credential, and requests the next one.
///
/// Clones share the token. A [`BearerAuthLayer`](crate::BearerAuthLayer) makes a cache for itself. Make one yourself to share it
/// between layers, or with code that is not a tower service.
///
/// # Behaviour
/// - Nothing runs until a token is needed, and nothing runs for an idle cache.
/// - The first use after about 80 % of a token's lifetime refreshes it in the background. The point is jittered by ±5 % of the
///   lifetime. No request waits for a refresh.
/// - In the hard margin, the last min(30 s, 10 %) of the lifetime, a request waits for the token request. If that brings no
///   other token, the current one is used until it ends.
/// - At most one token request is under way. All who need its outcome wait for it. An error reaches all of them at once.
/// - A token request runs as a Tokio task with a time limit of its own. Each caller waits by a timer of its own runtime, and
///   takes over if the task's runtime stops or is not driven. See the guide [runtimes](crate::docs::runtimes).
/// - A caller that waited is not given a token that ended, was invalidated or is being replaced after a rejection meanwhile. It
///   waits for the next one. If the rejected token cannot be replaced, it gets that one, as callers who come later do. A
///   request of the layer may be sent with a token that is being replaced: its retry has the new one.
/// - If the last handle is dropped during a token request, the request goes on to its end or its time limit.
/// - After a transient failure (no connection, 429, 5xx) the backoff is 1 s, doubled up to 60 s. After a permanent one (wrong
///   secret, unknown scope) it is 30 s, doubled up to 5 minutes. Both are jittered. A `Retry-After` is honoured up to 5 minutes.
///   A token that is still good is used meanwhile. Without one, callers get the last error at once.
///
/// # Example
/// ```
/// use tower_bearer::{token::FixedToken, BearerAuthLayer, Token, TokenCache};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_bearer::Error> {
/// let cache = TokenCache::new(FixedToken::new("ory_at_4jSH.k2dW")?);
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
    /// Creates an empty cache with the defaults.
    pub fn new(source: impl TokenSource) -> Self {
        Self::with_names(source, Schedule::default(), Names::default())
    }

    /// A builder for timeouts, refresh and backoff.
    pub fn builder<S: TokenSource>(source: S) -> TokenCacheBuilder<S> {
        TokenCacheBuilder::new(source)
    }

    fn with_names(source: impl TokenSource, schedule: Schedule, names: Names) -> Self {
        let reporter = Reporter::new(names);
        Self {
            flight: Arc::new(SingleFlight::new(source, schedule, reporter)),
        }
    }

    /// Returns the [name](TokenCacheBuilder::name) that operators know this cache by, if it was given one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.reporter().name()
    }

    /// What tells of this cache.
    pub(crate) fn reporter(&self) -> &Reporter {
        self.flight.reporter()
    }

    /// Returns the token to send now. Requests one if the current token is missing or about to end.
    ///
    /// # Errors
    /// A token is needed, and the token request failed, or a recent failure is still backing off. Outside a Tokio runtime:
    /// [`ErrorKind::NoRuntime`](crate::ErrorKind::NoRuntime).
    ///
    /// # Cancellation
    /// Safe. The token request goes on, for other callers and for the next call.
    #[doc(alias = "token")]
    pub async fn get(&self) -> Result<Token, Error> {
        match self.read(Token::clone) {
            Some(token) => Ok(token),
            None => {
                let need = Need::Usable { is_retried: false };
                Ok(self.flight.wait(need).await?.token.clone())
            }
        }
    }

    /// Requests a new token now and returns it. Joins the token request under way, if there is one.
    ///
    /// The current token stays in use until the new one arrives. Also skips the backoff after a *permanent* failure (wrong
    /// secret, unknown scope): call it once you have fixed the cause. The backoff after a transient failure still holds.
    ///
    /// # Errors
    /// As for [`get`](Self::get). A token that is still good stays.
    ///
    /// # Cancellation
    /// As for [`get`](Self::get).
    pub async fn refresh(&self) -> Result<Token, Error> {
        Ok(self.flight.wait(Need::New).await?.token.clone())
    }

    /// Forgets `token` if it is the current one, so that the next [`get`](Self::get) requests another.
    ///
    /// A token that was replaced already changes nothing. Use it in clients that are not tower services, after a 401. The layer
    /// needs no such call: it keeps the rejected token until it has another one.
    pub fn invalidate(&self, token: &Token) {
        self.flight.forget(token.generation());
    }

    /// Keeps the token fresh from now on, also while no request uses it.
    ///
    /// A task on the current runtime refreshes the token when it is due. The task ends when the last handle to this cache is
    /// dropped. Failures back off as usual. A second call on the same runtime changes nothing. A call on another runtime starts
    /// a task there too, so the token stays fresh until the last of these runtimes is gone.
    ///
    /// # Errors
    /// [`ErrorKind::NoRuntime`](crate::ErrorKind::NoRuntime) outside a Tokio runtime, or in one without timers.
    pub fn keep_warm(&self) -> Result<(), Error> {
        keep_warm::keep(&self.flight)
    }

    /// Returns a snapshot: the token's time left, whether a token request is under way, and the last failure.
    ///
    /// For health checks and metrics. It takes a short lock and does no I/O.
    #[must_use]
    pub fn state(&self) -> CacheState {
        self.flight.state()
    }

    /// Returns a stream-like handle to the changes of [`state`](Self::state) from now on.
    #[must_use]
    pub fn changes(&self) -> StateChanges {
        StateChanges::new(self.clone(), self.flight.changes())
    }

    /// Reads the token to send now, if there is one, without waiting and without a lock.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Token) -> T) -> Option<T> {
        self.flight.read(read)
    }

    /// Waits for a token that may be sent, for a request that is sent again if the API rejects it.
    pub(crate) async fn wait_for_usable(&self) -> Outcome {
        self.flight.wait(Need::Usable { is_retried: true }).await
    }

    /// The same for a token that may be sent that long, or is as new as one can reasonably be had.
    pub(crate) fn read_lasting<T>(
        &self,
        least: Duration,
        read: impl FnOnce(&Token) -> T,
    ) -> Option<T> {
        let lasts = self.flight.lasts(least);
        lasts.then(|| self.read(read)).flatten()
    }

    /// Waits for such a token for half of what the current one has left, and until `latest` at the most; then that has to do.
    pub(crate) async fn wait_for_lasting(
        &self,
        least: Duration,
        latest: Option<Instant>,
    ) -> Outcome {
        if let Some(current) = self.flight.usable() {
            let now = Moment::now();
            let half = now.steady() + current.unusable_at.left(now) / 2;
            let latest = latest.map_or(half, |latest| latest.min(half));
            let lasting = until(latest, self.flight.wait(Need::Lasting(least))).await;
            if let Some(Ok(held)) = lasting {
                return Ok(held);
            }
            if let Some(current) = self.flight.usable() {
                return Ok(current);
            }
        }
        self.wait_for_usable().await
    }

    /// The token with generation `rejected` was rejected on this route: waits for one to use in its place. `None` if the
    /// source gave the same again.
    pub(crate) async fn rejected(
        &self,
        rejected: u64,
        route: Route,
        challenges: &Challenges,
    ) -> Result<Option<Arc<Held>>, Error> {
        let need = Need::Other {
            than: rejected,
            route,
            is_retried: true,
            challenges,
        };
        let held = self.flight.wait(need).await?;
        if held.token.generation() == rejected {
            self.flight.in_vain(route, held.landing);
            return Ok(None);
        }
        Ok(Some(held))
    }

    /// The same for a request that is not sent again: starts a token request for those to come, and does not wait.
    pub(crate) fn rejected_for_good(&self, rejected: u64, route: Route, challenges: &Challenges) {
        let need = Need::Other {
            than: rejected,
            route,
            is_retried: false,
            challenges,
        };
        drop(self.flight.join(need, Caller::New));
    }

    /// The token `sent` met these challenges: whether its source can answer them, so that it counts as rejected.
    pub(crate) fn challenged(&self, sent: u64, challenges: &Challenges) -> bool {
        let Some(current) = self.flight.usable() else {
            return false;
        };
        let is_current = current.token.generation() == sent;
        let Some((remedies, origin)) = current.token.remedies() else {
            return false;
        };
        let is_known = is_current && origin == Origin::Here;
        let can_answer = remedies.help(challenges.values(), is_known);
        if can_answer {
            // An API that asks for more of a token knows it. Without this, one that was refreshed just now gives way to the
            // one before it, which has no more.
            self.accepted(None, sent);
        }
        can_answer
    }

    /// Whether the token of this generation was rejected and the request for another is under way.
    pub(crate) fn is_being_replaced(&self, generation: u64) -> bool {
        self.flight.is_being_replaced(generation)
    }

    /// Waits for the token request under way; where none comes of it, for any token that may be sent.
    pub(crate) async fn wait_for_another(&self, than: u64, route: Route) -> Outcome {
        let need = Need::Other {
            than,
            route,
            is_retried: false,
            challenges: &Challenges::default(),
        };
        match self.flight.wait(need).await {
            Ok(held) => Ok(held),
            Err(_) => self.wait_for_usable().await,
        }
    }

    /// What became of a retry with the token `generation`: whether it was rejected as well.
    pub(crate) fn retry(&self, route: Route, generation: u64, rejected: bool) {
        self.reporter().retried(Some(rejected));
        if rejected {
            // A token that took the place of another is the first of its generation.
            self.flight.in_vain(route, generation);
        } else {
            self.flight.healed(route, generation);
        }
    }

    /// Whether it is in use: by a request, by a token request under way, or by the owner of a clone.
    #[cfg(feature = "keyed")]
    pub(crate) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.flight) > 1
    }

    /// Whether it is worth knowing a request's route before it is sent. Usually it is not.
    pub(crate) fn is_looking(&self) -> bool {
        self.flight.is_looking()
    }

    /// A first try with the token `generation` was accepted, on this route if that is worth knowing.
    pub(crate) fn accepted(&self, route: Option<Route>, generation: u64) {
        self.flight.accepted(route, generation);
    }
}

#[cfg(test)]
mod tests {
    //! The wall clock, which only tests within the crate can set.

    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::time::advance;

    use super::*;
    use crate::{token::TokenRequest, util::clock::set_wall};

    const HOUR: i64 = 3600;

    /// Sleeps until the wall clock is so many seconds ahead. A tick of the steady clock has gone by when it wakes.
    async fn sleep_until_ahead(seconds: i64) {
        set_wall(seconds);
        advance(Duration::from_millis(2)).await;
    }

    /// A cache of one-hour tokens, and how many it has got.
    fn hourly() -> (TokenCache, Arc<AtomicUsize>) {
        set_wall(0);
        let token_requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&token_requests);
        let source = tower::service_fn(move |_: TokenRequest| {
            let token = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                let token = Token::new(format!("t{token}"))?;
                Ok::<_, Error>(token.with_lifetime(Duration::from_secs(3600)))
            }
        });
        (TokenCache::new(source), token_requests)
    }

    /// A suspended machine's steady clock stands still.
    ///
    /// Promise: L8
    #[tokio::test(start_paused = true)]
    async fn a_token_that_ran_out_while_the_machine_slept_is_not_used() {
        let (cache, token_requests) = hourly();
        cache.get().await.unwrap();
        sleep_until_ahead(HOUR).await;
        assert_eq!(cache.state().token(), TokenState::Expired);
        cache.get().await.unwrap();
        assert_eq!(token_requests.load(Ordering::SeqCst), 2);
    }

    /// Promise: L8
    #[tokio::test(start_paused = true)]
    async fn nobody_in_the_same_tick_is_given_a_token_that_ran_out_while_the_machine_slept() {
        let (cache, _) = hourly();
        cache.get().await.unwrap();
        sleep_until_ahead(HOUR).await;
        for _ in 0..2 {
            assert!(cache.read(Token::clone).is_none());
        }
    }

    /// Promise: L8
    #[tokio::test(start_paused = true)]
    async fn a_token_that_became_stale_while_the_machine_slept_is_used_and_refreshed() {
        let (cache, token_requests) = hourly();
        let first = cache.get().await.unwrap();
        sleep_until_ahead(HOUR * 9 / 10).await;
        let second = cache.get().await.unwrap();
        assert!(first.is_same_credential(&second));
        tokio::task::yield_now().await;
        assert_eq!(token_requests.load(Ordering::SeqCst), 2);
    }

    /// The wall clock is looked at once in each tick of the steady clock. Here the tick before had its look.
    ///
    /// Promise: L8
    #[tokio::test(start_paused = true)]
    async fn the_next_tick_after_the_machine_slept_looks_at_the_wall_clock_again() {
        let (cache, _) = hourly();
        cache.get().await.unwrap();
        for hours in 1..=4 {
            assert!(cache.read(Token::clone).is_some());
            sleep_until_ahead(HOUR * hours).await;
            assert!(cache.read(Token::clone).is_none());
            cache.get().await.unwrap();
        }
    }

    /// Promise: L8
    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_kept_warm_is_fetched_within_a_minute_of_the_machine_waking() {
        let (cache, token_requests) = hourly();
        cache.keep_warm().unwrap();
        cache.get().await.unwrap();
        set_wall(HOUR);
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(token_requests.load(Ordering::SeqCst), 2);
    }

    /// Promise: L8
    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_set_back_lengthens_no_life() {
        let (cache, token_requests) = hourly();
        cache.get().await.unwrap();
        set_wall(-24 * HOUR);
        advance(Duration::from_secs(3600)).await;
        assert_eq!(cache.state().token(), TokenState::Expired);
        cache.get().await.unwrap();
        assert_eq!(token_requests.load(Ordering::SeqCst), 2);
    }

    /// Promise: L8
    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_set_forward_costs_one_token_request() {
        let (cache, token_requests) = hourly();
        cache.get().await.unwrap();
        sleep_until_ahead(24 * HOUR).await;
        for _ in 0..100 {
            cache.get().await.unwrap();
        }
        assert_eq!(token_requests.load(Ordering::SeqCst), 2);
        // And set right again, none.
        sleep_until_ahead(0).await;
        cache.get().await.unwrap();
        assert_eq!(token_requests.load(Ordering::SeqCst), 2);
    }
}
