//! When a token is refreshed, when it is too old to send, and how long to keep off a failing token endpoint.
//!
//! Pure arithmetic: it is handed durations and randomness, and has no clock.

use std::time::Duration;

/// No token is trusted for longer, whatever its `expires_in` says: it keeps `u64::MAX` seconds in the range of clocks.
const LONGEST_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The part of a lifetime after which a token is refreshed.
const REFRESH_FRACTION: f64 = 0.8;
/// How far the refresh point strays from it, either way, so that processes started together part ways.
const REFRESH_JITTER: f64 = 0.05;
/// The refresh point is not moved before this part of a lifetime, however slow the exchanges are.
const EARLIEST_REFRESH: f64 = 0.5;

/// How long before its end a token is no longer sent: this, or this part of its lifetime if that is shorter.
const HARD_MARGIN: Duration = Duration::from_secs(30);
const HARD_MARGIN_FRACTION: f64 = 0.1;

/// What a server may ask for by `Retry-After` is honoured up to here.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// A backoff's jitter takes at most this part of it away.
const SHORTEST_BACKOFF: f64 = 0.1;

/// When a token's stages end, counted from just before it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stages {
    /// From here on the token is used and refreshed in the background.
    pub(super) refresh_after: Duration,
    /// From here on the token is not sent any more.
    pub(super) unusable_after: Duration,
}

/// The stages of a token good for `lifetime`, where its exchange took `exchange`. `random` is in `0.0..1.0`.
pub(super) fn stages(lifetime: Duration, exchange: Duration, random: f64) -> Stages {
    let lifetime = lifetime.min(LONGEST_LIFETIME);
    let margin = HARD_MARGIN.min(lifetime.mul_f64(HARD_MARGIN_FRACTION));
    let unusable_after = lifetime - margin;

    let fraction = REFRESH_FRACTION + REFRESH_JITTER * (2.0 * random - 1.0);
    // A window of two exchanges, so that the new token is there before the old one ends.
    let in_time = unusable_after.saturating_sub(exchange.saturating_mul(2));
    let refresh_after = lifetime
        .mul_f64(fraction)
        .min(in_time)
        .max(lifetime.mul_f64(EARLIEST_REFRESH));

    Stages {
        refresh_after,
        unusable_after,
    }
}

/// Exponential backoff: the first step, doubled by each failure up to the last step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    first: Duration,
    last: Duration,
}

/// The endpoint may be back at any moment.
pub(super) const TRANSIENT: Backoff = Backoff {
    first: Duration::from_secs(1),
    last: Duration::from_secs(60),
};

/// Somebody has to change something first.
pub(super) const PERMANENT: Backoff = Backoff {
    first: Duration::from_secs(30),
    last: Duration::from_secs(5 * 60),
};

impl Backoff {
    /// How long to wait after the `failures`-th failure in a row (1 is the first). `random` is in `0.0..1.0`: full
    /// jitter, except that a tenth always stays, so that no draw is an immediate retry.
    pub(super) fn delay(
        self,
        failures: u32,
        retry_after: Option<Duration>,
        random: f64,
    ) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let step = self.first.saturating_mul(1 << doublings).min(self.last);
        let jittered = step.mul_f64(SHORTEST_BACKOFF + (1.0 - SHORTEST_BACKOFF) * random);
        let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        jittered.max(asked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Promise: L2
    #[test]
    fn a_day_is_refreshed_at_eighty_percent_and_given_up_thirty_seconds_early() {
        let day = SECOND * 86_400;
        let stages = stages(day, Duration::ZERO, 0.5);
        assert_eq!(stages.refresh_after, day.mul_f64(0.8));
        assert_eq!(stages.unusable_after, day - SECOND * 30);
    }

    /// Promise: L2
    #[test]
    fn a_two_second_token_keeps_nine_tenths_of_its_life() {
        let stages = stages(SECOND * 2, Duration::ZERO, 0.5);
        assert_eq!(stages.unusable_after, Duration::from_millis(1800));
    }

    /// Promise: L2
    #[test]
    fn slow_exchanges_widen_the_window_to_two_of_them() {
        let stages = stages(SECOND * 4, Duration::from_millis(500), 1.0);
        assert_eq!(stages.unusable_after, Duration::from_millis(3600));
        assert_eq!(stages.refresh_after, Duration::from_millis(2600));
    }

    #[test]
    fn backoff_doubles_from_its_first_step_to_its_last() {
        let steps: Vec<_> = (1..=8)
            .map(|failures| TRANSIENT.delay(failures, None, 1.0).as_secs())
            .collect();
        assert_eq!(steps, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(PERMANENT.delay(u32::MAX, None, 1.0), SECOND * 300);
    }

    #[test]
    fn retry_after_is_honoured_up_to_five_minutes() {
        assert_eq!(TRANSIENT.delay(1, Some(SECOND * 7), 0.0), SECOND * 7);
        assert_eq!(
            TRANSIENT.delay(1, Some(Duration::MAX), 0.0),
            LONGEST_RETRY_AFTER
        );
    }

    proptest! {
        /// Promise: L2, L6
        #[test]
        fn any_lifetime_gives_stages_in_order_inside_it(
            seconds: u64, nanos in 0..1_000_000_000_u32, exchange_ms: u64, random in 0.0..1.0_f64,
        ) {
            let lifetime = Duration::new(seconds, nanos);
            let stages = stages(lifetime, Duration::from_millis(exchange_ms), random);
            prop_assert!(stages.refresh_after <= stages.unusable_after);
            prop_assert!(stages.unusable_after <= lifetime);
            let capped = lifetime.min(LONGEST_LIFETIME);
            prop_assert!(stages.refresh_after >= capped.mul_f64(EARLIEST_REFRESH));
            prop_assert!(capped - stages.unusable_after <= HARD_MARGIN);
        }

        #[test]
        fn any_backoff_stays_between_a_tenth_of_its_step_and_its_cap(
            failures: u32, retry_after: Option<u64>, random in 0.0..1.0_f64,
        ) {
            let delay = PERMANENT.delay(failures, retry_after.map(Duration::from_secs), random);
            prop_assert!(delay >= SECOND * 3);
            prop_assert!(delay <= SECOND * 300);
        }
    }
}
