//! Whether a rejected token may cause a token request.
//!
//! Usually it may: the token was revoked, and a fresh one heals it. But some rejections no token heals (a wrong audience,
//! a missing scope, a broken route), and a token request for each of those would be a storm. What tells them apart is whether
//! the *fresh* token is rejected too. That is kept by route, so that one failing route costs the healthy ones nothing:
//!
//! - A route whose fresh token was rejected causes no token request for 1 s, then 2 s, … 5 min, each time that the new token is rejected too.
//! - A fresh token that is accepted clears its route. An acceptance elsewhere is no heal.
//! - When more than a few routes are failing, the API as a whole is taken to be: then the routes wait by the same steps
//!   together, until a fresh token heals any of them.
//! - That wait is not for a *proven* route, one that accepted a token while the guard was looking. A caller that can choose paths that
//!   answer 401, without end, so delays the healing of no route that works: proving a route takes an acceptance on it.
//! - Whatever the routes say, no more than so many token requests are made on account of rejections: the allowance. Its last
//!   third is kept for proven routes. So a revocation heals at once on them while failing routes have used up the rest.
//!
//! The guard looks while about as many routes fail as make a crowd, while a third of the allowance is spent, and while the next
//! first try has to tell. Otherwise a healthy request costs one load, and its route is not worked out.
//!
//! What it does not hold against: a caller that makes many routes accept first and reject then may use up the last third
//! too. Then a revocation heals within one interval of the allowance.
//!
//! Has no clock, and knows no HTTP: a route is a number.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    rt::{AtomicU64, Ordering},
    schedule::Schedule,
};

/// What requests that succeed and fail alike have in common. Made from a request by the part that knows HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Route(u64);

impl Route {
    /// The route of a request that is not retried, and that was sent before the guard looked at any.
    pub(crate) const UNSEEN: Self = Self(1);

    pub(crate) fn new(hash: u64) -> Self {
        Self(hash.max(2))
    }
}

/// The routes that accepted a token while the guard was looking. Written without a lock, and of a fixed size: a route takes the
/// place of another.
#[derive(Debug)]
pub(super) struct Proven {
    /// Acceptances count while this is not zero: those of a token that is as new as this generation.
    since: AtomicU64,
    routes: [AtomicU64; PROVEN_ROUTES],
}

impl Default for Proven {
    fn default() -> Self {
        Self {
            since: AtomicU64::new(0),
            routes: [const { AtomicU64::new(0) }; PROVEN_ROUTES],
        }
    }
}

impl Proven {
    pub(super) fn is_looking(&self) -> bool {
        self.since.load(Ordering::Relaxed) != 0
    }

    /// A first try with the token `generation` was accepted on this route. A token that was rejected proves nothing: a route
    /// may well accept one request and reject the next.
    pub(super) fn accepted(&self, route: Route, generation: u64) {
        let since = self.since.load(Ordering::Relaxed);
        if since != 0 && generation >= since {
            self.insert(route);
        }
    }

    fn insert(&self, route: Route) {
        let place = self.place(route);
        // Mostly it is there already, and a line that is only read is shared by all cores.
        if place.load(Ordering::Relaxed) != route.0 {
            place.store(route.0, Ordering::Relaxed);
        }
    }

    fn remove(&self, route: Route) {
        if self.has(route) {
            self.place(route).store(0, Ordering::Relaxed);
        }
    }

    fn has(&self, route: Route) -> bool {
        self.place(route).load(Ordering::Relaxed) == route.0
    }

    fn place(&self, Route(hash): Route) -> &AtomicU64 {
        #[allow(clippy::cast_possible_truncation, reason = "any bits of it do")]
        let hash = hash as usize;
        &self.routes[hash % PROVEN_ROUTES]
    }
}

/// The routes that rejected a token recently.
#[derive(Debug, Default)]
pub(super) struct Guard {
    routes: Vec<(Route, Latch)>,
    /// All routes together that are not proven, while more than a few are failing.
    api: Latch,
    /// When the allowance of token requests is full again.
    full_at: Option<Instant>,
    /// The newest token whose rejection caused a token request.
    rejected: u64,
}

/// How often fresh tokens were rejected in a row, and until when no other is tried.
#[derive(Clone, Copy, Debug, Default)]
struct Latch {
    times: u32,
    until: Option<Instant>,
    /// Whether no retry tells if the last token request healed the route, but the next first try.
    awaits_first_try: bool,
    /// The last token request whose token was rejected too: a thousand requests that its token is rejected for are one time.
    landing: u64,
}

impl Guard {
    /// Whether a rejection of the token `rejected` on this route may cause a token request now. If not, how long until it may.
    pub(super) fn permit(
        &mut self,
        route: Route,
        rejected: u64,
        is_retried: bool,
        proven: &Proven,
        schedule: &Schedule,
        now: Instant,
    ) -> Result<(), Duration> {
        let is_proven = proven.has(route);
        let is_held_up = !is_proven && self.is_crowded(now);
        if is_held_up {
            self.api.left(now)?;
        }
        let latch = self.known(route, now);
        if latch.awaits_first_try && is_proven {
            // Since it was closed, a first try with another token was accepted.
            *latch = Latch {
                landing: latch.landing,
                ..Latch::default()
            };
        }
        latch.left(now)?;
        self.spend_allowance(is_proven, schedule, now)?;

        self.rejected = self.rejected.max(rejected);
        if is_held_up {
            // Counted as failed, like those before it, until a retry succeeds.
            self.api.close(schedule, now);
        }
        let latch = self.known(route, now);
        latch.awaits_first_try = !is_retried;
        match (latch.times, is_retried) {
            (_, false) => {
                // Counted as failed too, until a first try is accepted.
                latch.close(schedule, now);
                proven.remove(route);
            }
            (0, true) => latch.until = Some(now + SHORTEST_INTERVAL),
            // Held as long as the last time until the retry is judged, which may take as long as the API likes:
            // meanwhile first tries with the fresh token are rejected too, and must not have their own.
            (times, true) => latch.until = Some(now + schedule.cool_down(times, fastrand::f64())),
        }
        self.look(proven, schedule, now);
        Ok(())
    }

    /// Whether this route rejected fresh tokens recently, so that its rejections say little of a token.
    pub(super) fn is_failing(&self, route: Route, now: Instant) -> bool {
        let mut failing = self
            .routes
            .iter()
            .filter(|(_, latch)| latch.is_failing(now));
        failing.any(|(known, _)| *known == route)
    }

    /// The token request with this number, made because of a rejection on this route, healed nothing.
    pub(super) fn in_vain(
        &mut self,
        route: Route,
        landing: u64,
        proven: &Proven,
        schedule: &Schedule,
        now: Instant,
    ) {
        let latch = self.known(route, now);
        if latch.landing < landing {
            latch.landing = landing;
            latch.close(schedule, now);
            proven.remove(route);
            self.look(proven, schedule, now);
        }
    }

    /// A retry with the token of this generation was accepted on this route.
    pub(super) fn healed(
        &mut self,
        route: Route,
        generation: u64,
        proven: &Proven,
        schedule: &Schedule,
        now: Instant,
    ) {
        let latch = self.known(route, now);
        // A request that is rejected with it from now on is late, or the token was revoked since. Neither counts as failed.
        let landing = latch.landing.max(generation);
        if latch.times > 0 {
            *latch = Latch::default();
        }
        latch.landing = landing;
        self.api = Latch::default();
        proven.insert(route);
        self.look(proven, schedule, now);
    }

    /// Has acceptances counted for as long as there is something to learn from them.
    fn look(&self, proven: &Proven, schedule: &Schedule, now: Instant) {
        let mut live = self.routes.iter().filter(|(_, latch)| !latch.is_stale(now));
        let is_strained = self
            .full_at
            .is_some_and(|full_at| full_at - now > schedule.rejection_reserve());
        let is_looking = is_strained
            || self.failing(now) >= MOST_FAILING_ROUTES
            || live.any(|(_, latch)| latch.awaits_first_try);
        let since = if is_looking { self.rejected + 1 } else { 0 };
        proven.since.store(since, Ordering::Relaxed);
    }

    /// Takes one token request of the allowance, if there is one left. If not, how long until there is.
    fn spend_allowance(
        &mut self,
        is_proven: bool,
        schedule: &Schedule,
        now: Instant,
    ) -> Result<(), Duration> {
        let interval = schedule.rejection_allowance_interval;
        let full_at = self.full_at.unwrap_or(now).max(now) + interval;
        let spent = full_at - now;
        let mut most = interval * schedule.rejection_allowance;
        if !is_proven {
            most -= schedule.rejection_reserve();
        }
        if spent > most {
            return Err(spent - most);
        }
        self.full_at = Some(full_at);
        Ok(())
    }

    /// Whether the API as a whole is taken to be failing.
    fn is_crowded(&self, now: Instant) -> bool {
        self.api.is_failing(now) || self.failing(now) > MOST_FAILING_ROUTES
    }

    fn failing(&self, now: Instant) -> usize {
        let failing = self
            .routes
            .iter()
            .filter(|(_, latch)| latch.is_failing(now));
        failing.count()
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

    fn is_failing(&self, now: Instant) -> bool {
        self.times > 0 && !self.is_stale(now)
    }

    /// Whether it has been open long enough that it says nothing any more.
    fn is_stale(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until + REMEMBERED)
    }
}

/// With more failing routes than this, it is the API that is failing.
const MOST_FAILING_ROUTES: usize = 4;

/// As many failing routes are remembered.
const MOST_ROUTES: usize = 32;

/// And as many proven ones.
const PROVEN_ROUTES: usize = 256;

/// A route causes token requests no more often than this, even if each of them heals it.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(500);

/// How long after its wait a route is remembered.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A guard, and a time that a test lets pass.
    struct Rejections {
        guard: Guard,
        proven: Proven,
        schedule: Schedule,
        now: Instant,
        landing: u64,
    }

    impl Rejections {
        fn new() -> Self {
            Self {
                guard: Guard::default(),
                proven: Proven::default(),
                schedule: Schedule::default(),
                now: Instant::now(),
                landing: 0,
            }
        }

        /// A rejection of the last token that wants another.
        fn rejected(&mut self, route: u64, is_retried: bool) -> Result<(), Duration> {
            self.guard.permit(
                Route::new(route),
                self.landing,
                is_retried,
                &self.proven,
                &self.schedule,
                self.now,
            )
        }

        /// Another token came, and was rejected too.
        fn in_vain(&mut self, route: u64) {
            self.landing += 1;
            let route = Route::new(route);
            self.guard
                .in_vain(route, self.landing, &self.proven, &self.schedule, self.now);
        }

        fn healed(&mut self, route: u64) {
            self.landing += 1;
            let route = Route::new(route);
            self.guard
                .healed(route, self.landing, &self.proven, &self.schedule, self.now);
        }

        fn is_failing(&self, route: u64) -> bool {
            self.guard.is_failing(Route::new(route), self.now)
        }
    }

    #[test]
    fn a_route_that_each_token_heals_causes_one_token_request_in_half_a_second() {
        let mut it = Rejections::new();
        it.rejected(9, true).unwrap();
        assert_eq!(it.rejected(9, true), Err(SECOND / 2));
        it.now += SECOND / 2;
        it.rejected(9, true).unwrap();
    }

    /// Promise: R6
    #[test]
    fn a_token_that_heals_a_route_ends_its_cool_down_and_its_count() {
        let mut it = Rejections::new();
        for _ in 0..5 {
            it.in_vain(9);
        }
        it.rejected(9, true).unwrap_err();
        it.healed(9);
        assert!(!it.is_failing(9));
        it.rejected(9, true).unwrap();
        it.in_vain(9);
        assert!(it.rejected(9, true).unwrap_err() <= SECOND.mul_f64(1.1));
    }

    /// Promise: R15
    #[test]
    fn more_than_four_failing_routes_are_a_failing_api_until_a_token_heals_one() {
        let mut it = Rejections::new();
        (10..14).for_each(|route| it.in_vain(route));
        it.rejected(20, true).unwrap();
        it.rejected(21, true).unwrap();

        it.in_vain(14);
        it.rejected(22, true).unwrap();
        it.rejected(23, true).unwrap_err();

        it.healed(10);
        it.rejected(24, true).unwrap();
        it.rejected(25, true).unwrap();
    }

    /// Promise: R17
    #[test]
    fn an_allowance_that_is_not_used_does_not_grow() {
        let mut it = Rejections::new();
        it.schedule.rejection_allowance = 3;
        for quiet in [Duration::ZERO, SECOND * 1000] {
            it.now += quiet;
            // The last third is for routes that are proven.
            it.rejected(10, true).unwrap();
            it.rejected(11, true).unwrap();
            assert_eq!(it.rejected(12, true), Err(SECOND * 10));
            it.now += SECOND * 600;
        }
    }

    #[test]
    fn however_many_routes_fail_those_that_failed_most_are_remembered() {
        let mut it = Rejections::new();
        it.in_vain(9);
        it.in_vain(9);
        (100..200).for_each(|route| it.in_vain(route));
        assert_eq!(it.guard.routes.len(), MOST_ROUTES);
        assert!(it.is_failing(9));
    }

    #[test]
    fn a_route_is_forgotten_ten_minutes_after_its_cool_down() {
        let mut it = Rejections::new();
        for _ in 0..5 {
            it.in_vain(9);
        }
        // The fifth step is 16 s, and up to a tenth more.
        it.now += SECOND * (16 + 599);
        assert!(it.is_failing(9));
        it.now += SECOND * 3;
        assert!(!it.is_failing(9));
        it.in_vain(9);
        assert!(it.rejected(9, true).unwrap_err() <= SECOND.mul_f64(1.1));
    }

    #[test]
    fn a_route_that_is_not_retried_waits_for_a_first_try_with_a_newer_token() {
        let mut it = Rejections::new();
        it.landing = 5;
        it.rejected(9, false).unwrap();
        assert!(it.proven.is_looking());
        it.rejected(9, false).unwrap_err();
        // One with the token that was rejected tells nothing.
        it.proven.accepted(Route::new(9), 5);
        it.rejected(9, false).unwrap_err();
        it.proven.accepted(Route::new(9), 6);
        it.rejected(9, false).unwrap();
        // And for one more after that.
        it.rejected(9, false).unwrap_err();
    }

    /// A thousand requests that one token is rejected for, or one that is late.
    ///
    /// Promise: R6, R15
    #[test]
    fn a_token_counts_once_for_a_route_and_not_at_all_if_it_healed_it() {
        let mut it = Rejections::new();
        for _ in 0..1000 {
            it.landing = 0;
            it.in_vain(9);
        }
        assert!(it.rejected(9, true).unwrap_err() <= SECOND.mul_f64(1.1));

        it.landing = 1;
        it.healed(9);
        it.landing = 1;
        it.in_vain(9);
        assert!(!it.is_failing(9));
    }

    #[test]
    fn late_word_of_a_token_counts_no_more_once_a_first_try_healed_the_route() {
        let mut it = Rejections::new();
        it.in_vain(9);
        it.now += SECOND * 2;
        it.rejected(9, false).unwrap();
        it.proven.accepted(Route::new(9), 2);
        it.rejected(9, true).unwrap();
        it.landing = 0;
        it.in_vain(9);
        assert!(!it.is_failing(9));
    }

    /// Promise: R15
    #[test]
    fn until_its_retry_is_judged_a_failing_route_waits_as_long_as_the_last_time() {
        let mut it = Rejections::new();
        (0..3).for_each(|_| it.in_vain(9));
        // The third step is 4 s, and up to a tenth more.
        it.now += SECOND * 5;
        it.rejected(9, true).unwrap();
        assert!(it.rejected(9, true).unwrap_err() >= SECOND * 4);
    }

    /// Promise: R17
    #[test]
    fn a_proven_route_is_not_held_up_by_those_that_fail_until_it_fails_too() {
        let mut it = Rejections::new();
        it.healed(9);
        it.healed(10);
        (20..24).for_each(|route| it.in_vain(route));
        it.in_vain(10);
        // One that has the same place among the proven ones takes it from none.
        it.in_vain(9 + PROVEN_ROUTES as u64);
        it.now += SECOND * 2;
        it.rejected(30, true).unwrap();
        it.rejected(31, true).unwrap_err();
        it.rejected(9, true).unwrap();
        it.rejected(10, true).unwrap_err();
    }

    /// Promise: R17
    #[test]
    fn a_failing_api_stays_one_when_its_routes_are_forgotten() {
        let mut it = Rejections::new();
        (10..15).for_each(|route| it.in_vain(route));
        it.now += SECOND * 590;
        it.rejected(20, true).unwrap();
        it.now += SECOND * 12;
        it.rejected(21, true).unwrap();
        it.rejected(22, true).unwrap_err();
    }

    /// Promise: R17
    #[test]
    fn the_last_third_of_the_allowance_is_for_proven_routes() {
        let mut it = Rejections::new();
        it.schedule.rejection_allowance = 3;
        it.healed(9);
        it.rejected(10, true).unwrap();
        it.rejected(11, true).unwrap();
        it.rejected(12, true).unwrap_err();
        it.rejected(9, true).unwrap();
    }

    /// A healthy request is worth a look while there is something to learn from it.
    #[test]
    fn the_guard_looks_while_four_routes_fail_while_a_third_is_spent_and_while_a_first_try_has_to_tell()
     {
        let mut it = Rejections::new();
        (10..13).for_each(|route| it.in_vain(route));
        assert!(!it.proven.is_looking());
        it.in_vain(13);
        assert!(it.proven.is_looking());

        let mut it = Rejections::new();
        (10..20).for_each(|route| it.rejected(route, true).unwrap());
        assert!(!it.proven.is_looking());
        it.rejected(20, true).unwrap();
        assert!(it.proven.is_looking());

        let mut it = Rejections::new();
        it.rejected(9, false).unwrap();
        assert!(it.proven.is_looking());
        it.healed(9);
        assert!(!it.proven.is_looking());
    }

    #[test]
    fn routes_that_failed_long_ago_make_room_for_those_that_fail_now() {
        let mut it = Rejections::new();
        for route in 100..132 {
            it.in_vain(route);
            it.in_vain(route);
        }
        it.now += SECOND * 3600;
        it.in_vain(9);
        it.in_vain(10);
        assert!(it.is_failing(9));
    }
}
