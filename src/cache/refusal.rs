//! Whether a refused token may cause an exchange.
//!
//! As a rule it may: the token was revoked, and a fresh one cures it. But some refusals no token cures (a wrong audience,
//! a missing scope, a broken route), and an exchange for each of those would be a storm. What tells them apart is whether
//! the *fresh* token is refused too. That is kept by route, so that one sour route costs the healthy ones nothing:
//!
//! - A route whose fresh token was refused causes no exchange for 1 s, then 2 s, … 5 min, each time one that is in vain.
//! - A fresh token that is accepted clears its route. An acceptance elsewhere is no cure.
//! - Only so many routes are kept. When more than those are sour at once, the API as a whole is taken to be, and routes
//!   that are not known wait by the same steps, until a fresh token cures any of them.
//!
//! Has no clock, and knows no HTTP: a route is a number.

use std::time::Duration;

use tokio::time::Instant;

use super::schedule::Schedule;

/// What requests that succeed and fail alike have in common. Made from a request by whoever knows HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Route(u64);

impl Route {
    /// A request that is not sent a second time: nobody will know whether a fresh token cures it.
    pub(crate) const UNTRIED: Self = Self(0);

    pub(crate) fn new(hash: u64) -> Self {
        Self(hash.max(1))
    }
}

/// The routes that were refused lately.
#[derive(Debug, Default)]
pub(super) struct Guard {
    // Empty until the first refusal, for caches by the thousand.
    routes: Vec<(Route, Latch)>,
    elsewhere: Latch,
}

/// How often fresh tokens were refused in a row, and until when no other is tried.
#[derive(Clone, Copy, Debug, Default)]
struct Latch {
    times: u32,
    until: Option<Instant>,
    /// The exchange that was in vain the last time: a thousand requests that its token is refused for are one time.
    landing: u64,
}

impl Guard {
    /// Whether a refusal on this route may cause an exchange now. If not, how long until it may.
    pub(super) fn permit(
        &mut self,
        route: Route,
        schedule: &Schedule,
        now: Instant,
    ) -> Result<(), Duration> {
        let elsewhere = self.elsewhere.left(now);
        let latch = match self.find(route) {
            Some(latch) => {
                latch.left(now)?;
                latch
            }
            None => {
                elsewhere?;
                self.insert(route, schedule, now)
            }
        };
        if route == Route::UNTRIED {
            // Taken to be in vain; if it is not, there will be no next time for a while.
            latch.close(schedule, now);
        } else {
            latch.until = Some(now + SHORTEST_INTERVAL);
        }
        Ok(())
    }

    /// The exchange with this number, made because of a refusal on this route, cured nothing.
    pub(super) fn in_vain(
        &mut self,
        route: Route,
        landing: u64,
        schedule: &Schedule,
        now: Instant,
    ) {
        let latch = match self.find(route) {
            Some(latch) => latch,
            None => self.insert(route, schedule, now),
        };
        if latch.landing < landing {
            latch.landing = landing;
            latch.close(schedule, now);
        }
    }

    /// A token got because of a refusal on this route was accepted there.
    pub(super) fn cured(&mut self, route: Route) {
        self.elsewhere = Latch::default();
        if let Some(latch) = self.find(route) {
            latch.times = 0;
        }
    }

    fn find(&mut self, route: Route) -> Option<&mut Latch> {
        let (_, latch) = self.routes.iter_mut().find(|(known, _)| *known == route)?;
        Some(latch)
    }

    /// Makes room for a route, if need be by forgetting the one that matters least.
    fn insert(&mut self, route: Route, schedule: &Schedule, now: Instant) -> &mut Latch {
        self.routes.retain(|(_, latch)| !latch.is_stale(now));
        let mut crowded = self.elsewhere.times > 0 && !self.elsewhere.is_stale(now);
        if self.routes.len() >= MOST_ROUTES
            && let Some(least) = (0..self.routes.len()).min_by_key(|&at| self.routes[at].1.times)
        {
            let (_, forgotten) = self.routes.swap_remove(least);
            crowded |= forgotten.times > 0;
        }
        if crowded {
            // Taken to be in vain, like those before it, until a cure says otherwise.
            self.elsewhere.close(schedule, now);
        } else {
            self.elsewhere = Latch::default();
        }
        self.routes.push((route, Latch::default()));
        let last = self.routes.len() - 1;
        &mut self.routes[last].1
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
        self.times = self.times.saturating_add(1);
        self.until = Some(now + schedule.cool_down(self.times, fastrand::f64()));
    }

    /// Whether it has been open for so long that it says nothing any more.
    fn is_stale(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until + REMEMBERED)
    }
}

/// As many sour routes are told apart.
const MOST_ROUTES: usize = 32;

/// A route causes exchanges no more often than this, even if each of them cures it.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(500);

/// How long after its wait a route is remembered.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
