//! When a token is refreshed, when it is too old to send, and how long to keep off after a failure.
//!
//! Pure arithmetic: it is handed durations and randomness, and has no clock.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use super::rt::Spawner;
use crate::error::Error;

/// The numbers of a cache. Set by [`TokenCacheBuilder`](super::TokenCacheBuilder), whose documentation has them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) token_request_timeout: Duration,
    pub(crate) default_lifetime: Duration,
    pub(crate) refresh_at: f64,
    pub(crate) refresh_jitter: f64,
    pub(crate) hard_margin: Duration,
    pub(crate) hard_margin_fraction: f64,
    pub(crate) transient: Backoff,
    pub(crate) permanent: Backoff,
    pub(crate) rejected: Backoff,
    pub(crate) rejection_allowance: u32,
    pub(crate) rejection_allowance_interval: Duration,
    pub(crate) longest_retry_after: Duration,
    /// Where token requests run, if not where they are asked for.
    pub(crate) runtime: Option<Spawner>,
}

/// A wait that doubles with each failure, from its first step to its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

/// When a token's stages end, counted from just before it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stages {
    /// From here on the token may be requested for one that lasts longer.
    pub(super) renewable_after: Duration,
    /// From here on the token is used and refreshed in the background.
    pub(super) refresh_after: Duration,
    /// From here on requests wait for the next token, while it can be had.
    pub(super) unusable_after: Duration,
    /// From here on the token is not sent any more.
    pub(super) ends_after: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            token_request_timeout: seconds(10),
            default_lifetime: seconds(5 * 60),
            refresh_at: 0.8,
            refresh_jitter: 0.05,
            hard_margin: seconds(30),
            hard_margin_fraction: 0.1,
            transient: Backoff {
                first: seconds(1),
                last: seconds(60),
            },
            permanent: Backoff {
                first: seconds(30),
                last: seconds(5 * 60),
            },
            rejected: Backoff {
                first: seconds(1),
                last: seconds(5 * 60),
            },
            rejection_allowance: 30,
            rejection_allowance_interval: seconds(10),
            longest_retry_after: seconds(5 * 60),
            runtime: None,
        }
    }
}

impl Schedule {
    /// Itself, or the one that was shared last if it is the same: caches by the thousand have theirs in common.
    pub(super) fn shared(self) -> Arc<Self> {
        static LAST: Mutex<Weak<Schedule>> = Mutex::new(Weak::new());
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = last.upgrade().filter(|last| **last == self) {
            return same;
        }
        let new = Arc::new(self);
        *last = Arc::downgrade(&new);
        new
    }

    /// Whether the numbers make sense, once, when a cache is built.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.token_request_timeout.is_zero() {
            return Err(Error::configuration(
                "the token request timeout is zero, so that every token request would time out; give it a few seconds",
            ));
        }
        if self.default_lifetime.is_zero() {
            return Err(Error::configuration(
                "the default lifetime is zero, so that every token without `expires_in` would be over when it comes; \
                 give it a minute or more",
            ));
        }
        // Written so that NaN fails too.
        if !(self.refresh_at > 0.0 && self.refresh_at < 1.0) {
            return Err(Error::configuration(format!(
                "the refresh point is {} of a token's lifetime; it must lie between 0 and 1, as 0.8 does",
                self.refresh_at
            )));
        }
        let room = self.refresh_at.min(1.0 - self.refresh_at);
        if !(self.refresh_jitter >= 0.0 && self.refresh_jitter < room) {
            return Err(Error::configuration(format!(
                "a jitter of {} takes the refresh point of {} out of a token's lifetime; with it the jitter must be \
                 at least 0 and below {room:.2}",
                self.refresh_jitter, self.refresh_at
            )));
        }
        if !(self.hard_margin_fraction >= 0.0 && self.hard_margin_fraction <= 0.5) {
            return Err(Error::configuration(format!(
                "a hard margin of {} of a token's lifetime leaves too little of it; it must lie between 0 and 0.5",
                self.hard_margin_fraction
            )));
        }
        for (name, backoff) in [
            ("transient failures", self.transient),
            ("permanent failures", self.permanent),
            ("rejected tokens", self.rejected),
        ] {
            if backoff.first.is_zero() || backoff.first > backoff.last {
                return Err(Error::configuration(format!(
                    "the backoff after {name} goes from {:?} to {:?}; it must start above zero and end no lower than \
                     it starts",
                    backoff.first, backoff.last
                )));
            }
        }
        let interval = self.rejection_allowance_interval;
        let longest = self
            .remembered()
            .max(self.rejected.last)
            .max(self.longest_retry_after)
            .max(self.token_request_timeout)
            .max(interval)
            .max(interval.saturating_mul(self.rejection_allowance));
        if longest > LONGEST_WAIT {
            return Err(Error::configuration(format!(
                "a timeout, a backoff, a cool-down, an allowance or a `Retry-After` of up to {longest:?} is longer than a year; \
                 give it a few minutes"
            )));
        }
        Ok(())
    }

    /// The stages of a token good for `lifetime`, where its token request took `token_request` and the server wants it to be
    /// refreshed after `refresh_in`. `random` is in `0.0..1.0`.
    pub(super) fn stages(
        &self,
        lifetime: Duration,
        refresh_in: Option<Duration>,
        token_request: Duration,
        random: f64,
    ) -> Stages {
        let lifetime = lifetime.min(LONGEST_LIFETIME);
        let margin = self
            .hard_margin
            .min(lifetime.mul_f64(self.hard_margin_fraction));
        let unusable_after = lifetime - margin;

        let fraction = self.refresh_at + self.refresh_jitter * (2.0 * random - 1.0);
        // A window of two token requests, so that the new token is there before the old one ends.
        let in_time = unusable_after.saturating_sub(token_request.saturating_mul(2));
        let refresh_after = lifetime
            .mul_f64(fraction)
            .min(in_time)
            .max(lifetime.mul_f64(fraction.min(EARLIEST_REFRESH)));
        // The jitter only shortens it: processes that were told the same part ways, and none is late. Zero says nothing.
        let told = refresh_in
            .filter(|told| !told.is_zero())
            .map_or(lifetime, |told| told.min(lifetime))
            .mul_f64(1.0 - self.refresh_jitter * random)
            .max(SHORTEST_REFRESH);

        Stages {
            renewable_after: lifetime.mul_f64(EARLIEST_REFRESH),
            refresh_after: refresh_after.min(told).min(unusable_after),
            unusable_after,
            ends_after: lifetime,
        }
    }

    /// How long to wait after a token request failed the `failures`-th time in a row (1 is the first). `random` is in
    /// `0.0..1.0`: full jitter, but for a tenth that always stays, so that no draw is an immediate retry.
    pub(super) fn backoff(
        &self,
        transient: bool,
        failures: u32,
        retry_after: Option<Duration>,
        random: f64,
    ) -> Duration {
        let backoff = if transient {
            self.transient
        } else {
            self.permanent
        };
        let jitter = SHORTEST_BACKOFF + (1.0 - SHORTEST_BACKOFF) * random;
        let asked = retry_after.unwrap_or_default();
        backoff
            .step(failures)
            .mul_f64(jitter)
            .max(asked.min(self.longest_retry_after))
    }

    /// How long after its backoff a failure is remembered. Later ones start anew.
    pub(super) fn remembered(&self) -> Duration {
        self.transient.last.max(self.permanent.last)
    }

    /// How long a route whose fresh token was rejected for the `times`-th time causes no token request. `random` is in
    /// `0.0..1.0`. The jitter only lengthens it: the bound holds, and processes that share a fault part ways.
    pub(super) fn cool_down(&self, times: u32, random: f64) -> Duration {
        self.rejected.step(times).mul_f64(1.0 + 0.1 * random)
    }
}

impl Schedule {
    /// The part of the allowance that is for proven routes alone.
    pub(super) fn rejection_reserve(&self) -> Duration {
        self.rejection_allowance_interval * (self.rejection_allowance / 3)
    }
}

impl Backoff {
    /// The `times`-th step, from 1.
    fn step(self, times: u32) -> Duration {
        let doublings = times.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.last)
    }
}

/// No token is trusted for longer, whatever its `expires_in` says: it keeps `u64::MAX` seconds in the range of clocks.
pub(super) const LONGEST_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Keeps every wait in the range of clocks.
const LONGEST_WAIT: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// However slow the token requests are, the refresh point is not moved before this part of a lifetime.
const EARLIEST_REFRESH: f64 = 0.5;

/// However early a server wants its tokens to be refreshed, they are requested no more often.
const SHORTEST_REFRESH: Duration = Duration::from_secs(1);

/// The part of a backoff that its jitter leaves.
const SHORTEST_BACKOFF: f64 = 0.1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Promise: L2
    #[test]
    fn a_day_is_refreshed_at_eighty_percent_and_given_up_thirty_seconds_early() {
        let day = SECOND * 86_400;
        let stages = Schedule::default().stages(day, None, Duration::ZERO, 0.5);
        assert_eq!(stages.refresh_after, day.mul_f64(0.8));
        assert_eq!(stages.unusable_after, day - SECOND * 30);
    }

    /// Promise: L2
    #[test]
    fn a_two_second_token_keeps_nine_tenths_of_its_life() {
        let stages = Schedule::default().stages(SECOND * 2, None, Duration::ZERO, 0.5);
        assert_eq!(stages.unusable_after, Duration::from_millis(1800));
    }

    /// Promise: L2
    #[test]
    fn slow_token_requests_widen_the_window_to_two_of_them() {
        let stages = Schedule::default().stages(SECOND * 4, None, Duration::from_millis(500), 1.0);
        assert_eq!(stages.unusable_after, Duration::from_millis(3600));
        assert_eq!(stages.refresh_after, Duration::from_millis(2600));
    }

    /// Promise: L2
    #[test]
    fn no_token_is_refreshed_or_replaced_before_half_of_its_life_however_slow_its_token_request() {
        let stages = Schedule::default().stages(SECOND * 4, None, SECOND * 10, 0.5);
        assert_eq!(stages.refresh_after, SECOND * 2);
        assert_eq!(stages.renewable_after, SECOND * 2);
    }

    #[test]
    fn a_failure_is_remembered_for_the_longest_backoff_of_either_kind() {
        let schedule = Schedule::default();
        assert_eq!(schedule.remembered(), SECOND * 300);
        let other = Schedule {
            transient: schedule.permanent,
            permanent: schedule.transient,
            ..schedule
        };
        assert_eq!(other.remembered(), SECOND * 300);
    }

    /// Promise: R17
    #[test]
    fn a_third_of_the_allowance_is_kept_for_proven_routes() {
        assert_eq!(Schedule::default().rejection_reserve(), SECOND * 100);
    }

    /// Promise: E8, L2
    #[test]
    fn a_token_is_refreshed_no_later_than_the_server_wants() {
        let schedule = Schedule::default();
        let after = |seconds, random| {
            let told = Some(SECOND * seconds);
            schedule
                .stages(SECOND * 3600, told, Duration::ZERO, random)
                .refresh_after
        };
        assert_eq!(after(1800, 0.0), SECOND * 1800);
        assert_eq!(after(1800, 0.5), SECOND * 1755);
        // Later than the refresh point, or nothing.
        assert_eq!(after(3500, 0.5), SECOND * 2880);
        assert_eq!(after(0, 0.5), SECOND * 2880);
        assert_eq!(after(1, 0.5), SECOND);
    }

    /// Promise: L11
    #[test]
    fn backoff_doubles_from_its_first_step_to_its_last() {
        let schedule = Schedule::default();
        let steps: Vec<_> = (1..=8)
            .map(|failures| schedule.backoff(true, failures, None, 1.0).as_secs())
            .collect();
        assert_eq!(steps, [1, 2, 4, 8, 16, 32, 60, 60]);
        let permanent = schedule.backoff(false, u32::MAX, None, 1.0);
        assert_eq!(permanent, SECOND * 300);
    }

    /// Promise: L11
    #[test]
    fn jitter_takes_up_to_nine_tenths_of_a_backoff() {
        let schedule = Schedule::default();
        for is_transient in [true, false] {
            let step = schedule.backoff(is_transient, 1, None, 1.0);
            for (random, left) in [(0.0, 0.1), (0.5, 0.55)] {
                let delay = schedule.backoff(is_transient, 1, None, random);
                assert_eq!(delay, step.mul_f64(left));
            }
        }
    }

    /// Promise: R6, R15
    #[test]
    fn jitter_lengthens_a_cool_down_by_up_to_a_tenth() {
        let schedule = Schedule::default();
        assert_eq!(schedule.cool_down(1, 0.0), SECOND);
        assert_eq!(schedule.cool_down(1, 1.0), SECOND.mul_f64(1.1));
    }

    /// Promise: L11
    #[test]
    fn retry_after_is_honoured_after_a_permanent_failure() {
        let delay = Schedule::default().backoff(false, 1, Some(SECOND * 200), 1.0);
        assert_eq!(delay, SECOND * 200);
    }

    #[test]
    fn caches_share_a_schedule_only_if_all_its_numbers_are_the_same() {
        let schedule = || Schedule {
            default_lifetime: SECOND * 12_345,
            ..Schedule::default()
        };
        let shared = schedule().shared();
        assert_eq!(*schedule().shared(), *shared);
        let other = Schedule {
            rejection_allowance: 31,
            ..schedule()
        };
        assert_eq!(other.shared().rejection_allowance, 31);
    }

    #[test]
    fn the_ends_of_each_range_are_valid() {
        let backoff = Backoff {
            first: SECOND,
            last: SECOND,
        };
        for hard_margin_fraction in [0.0, 0.5] {
            let schedule = Schedule {
                refresh_jitter: 0.0,
                hard_margin_fraction,
                transient: backoff,
                permanent: backoff,
                rejected: backoff,
                ..Schedule::default()
            };
            schedule.check().unwrap();
        }
    }

    /// Promise: L11
    #[test]
    fn retry_after_is_honoured_up_to_five_minutes() {
        let schedule = Schedule::default();
        let seven = schedule.backoff(true, 1, Some(SECOND * 7), 0.0);
        assert_eq!(seven, SECOND * 7);
        let longest = schedule.backoff(true, 1, Some(Duration::MAX), 0.0);
        assert_eq!(longest, SECOND * 300);
    }

    #[test]
    fn the_defaults_pass_their_own_check() {
        Schedule::default().check().unwrap();
    }

    proptest! {
        /// Promise: L2, L6
        #[test]
        fn any_lifetime_gives_stages_in_order_inside_it(
            seconds: u64, nanos in 0..1_000_000_000_u32, refresh_in in prop::option::of(0..400_000_000_u64), token_request_ms: u64, random in 0.0..1.0_f64,
            refresh_at in 0.01..0.99_f64, jitter in 0.0..1.0_f64, margin in 0.0..0.5_f64,
        ) {
            let schedule = Schedule {
                refresh_at,
                refresh_jitter: jitter * refresh_at.min(1.0 - refresh_at) * 0.99,
                hard_margin_fraction: margin,
                ..Schedule::default()
            };
            schedule.check().unwrap();
            let lifetime = Duration::new(seconds, nanos);
            let refresh_in = refresh_in.map(Duration::from_secs);
            let token_request = Duration::from_millis(token_request_ms);
            let stages = schedule.stages(lifetime, refresh_in, token_request, random);
            prop_assert!(stages.refresh_after <= stages.unusable_after);
            prop_assert!(stages.unusable_after <= lifetime);
            if let Some(told) = refresh_in.filter(|told| !told.is_zero()) {
                prop_assert!(stages.refresh_after <= told);
            }
            let capped = lifetime.min(LONGEST_LIFETIME);
            prop_assert!(capped - stages.unusable_after <= schedule.hard_margin);
        }

        /// Promise: L11
        #[test]
        fn any_backoff_stays_between_a_tenth_of_its_step_and_its_cap(
            failures: u32, retry_after: Option<u64>, random in 0.0..1.0_f64,
        ) {
            let retry_after = retry_after.map(Duration::from_secs);
            let delay = Schedule::default().backoff(false, failures, retry_after, random);
            prop_assert!(delay >= SECOND * 3);
            prop_assert!(delay <= SECOND * 300);
        }

        /// Promise: R6, R15
        #[test]
        fn any_cool_down_is_at_least_its_step(times: u32, random in 0.0..1.0_f64) {
            let cool_down = Schedule::default().cool_down(times, random);
            prop_assert!(cool_down >= SECOND);
            prop_assert!(cool_down <= SECOND * 330);
        }
    }
}
