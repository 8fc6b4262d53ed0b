//! Whether a rejected token may cause a token request.
//!
//! As a rule it may: the token was revoked, and a fresh one heals it. But some rejections no token heals (a wrong audience,
//! a missing scope, a broken route), and a token request for each of those would be a storm. What tells them apart is whether
//! the *fresh* token is rejected too. That is kept by route, so that one failing route costs the healthy ones nothing:
//!
//! - A route whose fresh token was rejected causes no token request for 1 s, then 2 s, … 5 min, each time one that is in vain.
//! - A fresh token that is accepted clears its route. An acceptance elsewhere is no heal.
//! - When more than a few routes are failing, the API as a whole is taken to be: then all routes wait by the same steps
//!   together, until a fresh token heals any of them.
//! - An API that rejects good tokens at random is healed each time. Whatever the routes say, no more than so many token requests
//!   are made on account of rejections.
//!
//! Has no clock, and knows no HTTP: a route is a number.

use std::time::Duration;

use tokio::time::Instant;

use super::schedule::Schedule;

/// What requests that succeed and fail alike have in common. Made from a request by whoever knows HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Route(u64);

impl Route {
    /// The route of a request that nobody looked at, because no route was failing when it was sent, and that is not sent
    /// again.
    pub(crate) const UNKNOWN: Self = Self(0);

    pub(crate) fn new(hash: u64) -> Self {
        Self(hash.max(1))
    }

    /// A bit that it shares with a 64th of all routes.
    pub(super) fn bit(self) -> u64 {
        1 << (self.0 % 64)
    }
}

/// Whether a retry will tell if a token request healed a rejection. If none will, the next first try has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judge {
    Retry,
    NextFirstTry,
}

/// The routes that were rejected lately.
#[derive(Debug, Default)]
pub(super) struct Guard {
    routes: Vec<(Route, Latch)>,
    /// All routes together, while more than a few of them are failing.
    api: Latch,
    /// When the allowance of token requests is full again.
    full_at: Option<Instant>,
}

/// How often fresh tokens were rejected in a row, and until when no other is tried.
#[derive(Clone, Copy, Debug, Default)]
struct Latch {
    times: u32,
    until: Option<Instant>,
    /// The token whose rejection caused a token request the last time, if the next first try has to tell whether that healed it.
    awaits_newer_than: Option<u64>,
    /// The token request that was in vain the last time: a thousand requests that its token is rejected for are one time.
    landing: u64,
}

impl Guard {
    /// Whether a rejection on this route may cause a token request now. If not, how long until it may.
    pub(super) fn permit(
        &mut self,
        route: Route,
        rejected: u64,
        judge: Judge,
        schedule: &Schedule,
        now: Instant,
    ) -> Result<(), Duration> {
        let crowded = self.is_crowded(now);
        if crowded {
            self.api.left(now)?;
        }
        self.known(route, now).left(now)?;
        self.spend_allowance(schedule, now)?;

        if crowded {
            // Taken to be in vain, like those before it, until a heal says otherwise.
            self.api.close(schedule, now);
        }
        let latch = self.known(route, now);
        match (latch.times, judge) {
            // Taken to be in vain too, until a first try with another token is accepted here.
            (_, Judge::NextFirstTry) if route != Route::UNKNOWN => {
                latch.awaits_newer_than = Some(rejected);
                latch.close(schedule, now);
            }
            (0, _) => latch.until = Some(now + SHORTEST_INTERVAL),
            // Held as long as the last time until the retry is judged, which may take as long as the API likes:
            // meanwhile first tries with the fresh token are rejected too, and must not have their own.
            (times, _) => latch.until = Some(now + schedule.cool_down(times, fastrand::f64())),
        }
        Ok(())
    }

    /// The token request with this number, made because of a rejection on this route, healed nothing.
    pub(super) fn in_vain(
        &mut self,
        route: Route,
        landing: u64,
        schedule: &Schedule,
        now: Instant,
    ) {
        let latch = self.known(route, now);
        if latch.landing < landing {
            latch.landing = landing;
            latch.close(schedule, now);
        }
    }

    /// The token with this generation was accepted on this route.
    pub(super) fn healed(&mut self, route: Route, generation: u64, now: Instant) {
        let latch = self.known(route, now);
        if latch.times > 0 {
            latch.times = 0;
            latch.until = None;
        }
        latch.awaits_newer_than = None;
        // Whoever is rejected with it from now on comes late, or it was revoked since: neither is in vain.
        latch.landing = latch.landing.max(generation);
        self.api = Latch::default();
    }

    /// The token with this generation was accepted on this route by a first try. That is a heal only where no retry
    /// tells: a route may well accept one request and reject the next, whatever the token.
    pub(super) fn accepted(&mut self, route: Route, generation: u64, now: Instant) {
        let heals = self.routes.iter().any(|(known, latch)| {
            *known == route
                && latch
                    .awaits_newer_than
                    .is_some_and(|rejected| rejected < generation)
        });
        if heals {
            self.healed(route, generation, now);
        }
    }

    /// The bits of the routes whose first tries are worth a look.
    pub(super) fn watched(&self, now: Instant) -> u64 {
        self.routes
            .iter()
            .filter(|(route, latch)| {
                let is_watched = latch.awaits_newer_than.is_some() || *route == Route::UNKNOWN;
                is_watched && !latch.is_stale(now)
            })
            .fold(0, |bits, (route, _)| bits | route.bit())
    }

    /// Takes one token request of the allowance, if there is one left. If not, how long until there is.
    fn spend_allowance(&mut self, schedule: &Schedule, now: Instant) -> Result<(), Duration> {
        let interval = schedule.rejection_allowance_interval;
        let full_at = self.full_at.unwrap_or(now).max(now) + interval;
        let spent = full_at - now;
        let most = interval * schedule.rejection_allowance;
        if spent > most {
            return Err(spent - most);
        }
        self.full_at = Some(full_at);
        Ok(())
    }

    /// Whether the API as a whole is taken to be failing.
    fn is_crowded(&self, now: Instant) -> bool {
        let is_failing = |latch: &Latch| latch.times > 0 && !latch.is_stale(now);
        let failing = self.routes.iter().filter(|(_, latch)| is_failing(latch));
        is_failing(&self.api) || failing.count() > MOST_FAILING_ROUTES
    }

    /// What is known of a route. A new one takes the place of the one that matters least, if there is no other.
    fn known(&mut self, route: Route, now: Instant) -> &mut Latch {
        let at = match self.routes.iter().position(|(known, _)| *known == route) {
            Some(at) => at,
            None => {
                self.routes.retain(|(_, latch)| !latch.is_stale(now));
                if self.routes.len() >= MOST_ROUTES
                    && let Some(least) =
                        (0..self.routes.len()).min_by_key(|&at| self.routes[at].1.times)
                {
                    self.routes.swap_remove(least);
                }
                if self.routes.is_empty() {
                    // Mostly it is the only one, and there may be caches by the thousand.
                    self.routes.reserve_exact(1);
                }
                self.routes.push((route, Latch::default()));
                self.routes.len() - 1
            }
        };
        &mut self.routes[at].1
    }
}

impl Latch {
    fn left(&self, now: Instant) -> Result<(), Duration> {
        match self.until {
            Some(until) if now < until => Err(until - now),
            _ => Ok(()),
        }
    }

    fn close(&mut self, schedule: &Schedule, now: Instant) {
        let times = if self.is_stale(now) { 0 } else { self.times };
        self.times = times.saturating_add(1);
        self.until = Some(now + schedule.cool_down(self.times, fastrand::f64()));
    }

    /// Whether it has been open for so long that it says nothing any more.
    fn is_stale(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until + REMEMBERED)
    }
}

/// With more failing routes than this, it is the API that is failing.
const MOST_FAILING_ROUTES: usize = 4;

/// As many routes are remembered.
const MOST_ROUTES: usize = 32;

/// A route causes token requests no more often than this, even if each of them heals it.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(500);

/// How long after its wait a route is remembered.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
