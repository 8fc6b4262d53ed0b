//! Time by two clocks, a steady one and the wall clock.
//!
//! A token expires when either clock says so. The steady clock stops while a machine is suspended, and the wall clock may be
//! set back. The clock that is ahead is the right one for expiry.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// A point in time, on both clocks. A cache keeps three for each token, so it is two numbers of nanoseconds, which saturate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// As by [`since_epoch`].
    steady: u64,
    /// Since 1970.
    wall: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self::at(since_epoch(steady()))
    }

    /// Now, if the steady clock was read just before, as the time [`since_epoch`].
    pub(crate) fn at(steady: u64) -> Self {
        let wall = wall().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            steady,
            wall: nanos(wall.unwrap_or_default()),
        }
    }

    /// The steady clock's part, for everything except a token's lifetime.
    pub(crate) fn steady(self) -> Instant {
        epoch() + Duration::from_nanos(self.steady)
    }

    /// The wall clock's part, for people and other programs.
    pub(crate) fn wall(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.wall)
    }

    pub(crate) fn after(self, duration: Duration) -> Self {
        Self {
            steady: self.steady.saturating_add(nanos(duration)),
            wall: self.wall.saturating_add(nanos(duration)),
        }
    }

    /// The later of the two, by the steady clock.
    pub(crate) fn later(self, other: Self) -> Self {
        if other.steady > self.steady {
            other
        } else {
            self
        }
    }

    /// Whether it is over at `now`, by either clock.
    pub(crate) fn is_over(self, now: Self) -> bool {
        self.is_over_by_steady(now.steady) || now.wall >= self.wall
    }

    /// Whether it is over by the steady clock, given as the time [`since_epoch`].
    pub(crate) fn is_over_by_steady(self, now: u64) -> bool {
        now >= self.steady
    }

    /// The time left at `now`: the smaller of what the two clocks say.
    pub(crate) fn left(self, now: Self) -> Duration {
        let by_steady = self.steady.saturating_sub(now.steady);
        let by_wall = self.wall.saturating_sub(now.wall);
        Duration::from_nanos(by_steady.min(by_wall))
    }
}

/// Nanoseconds, for six centuries; what is longer counts as that.
fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// The steady clock. It is Tokio's, so that tests can pause it.
#[cfg(not(all(test, shuttle)))]
pub(crate) fn steady() -> Instant {
    Instant::now()
}

#[cfg(all(test, shuttle))]
pub(crate) use crate::cache::shuttle::model::steady;

/// A zero point for times that are stored as numbers: a year before the first look at it, for a clock that was paused before that
/// look stands still at an earlier time. Where the steady clock cannot be so early, it is a day or an hour before.
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the same for all runtimes, whether their clocks are paused or not"
)]
pub(crate) fn epoch() -> Instant {
    static EPOCH: LazyLock<std::time::Instant> = LazyLock::new(|| {
        let now = std::time::Instant::now();
        let hours = [365 * 24, 24, 1].map(|hours| Duration::from_secs(hours * 60 * 60));
        let earlier = hours.iter().find_map(|time| now.checked_sub(*time));
        earlier.unwrap_or(now)
    });
    Instant::from_std(*EPOCH)
}

/// A time of the steady clock as a number: nanoseconds since the [`epoch`].
pub(crate) fn since_epoch(instant: Instant) -> u64 {
    nanos(instant.saturating_duration_since(epoch()))
}

/// The wall clock.
#[cfg(not(test))]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
pub(crate) use set::{set_wall, wall};

/// A wall clock that a test can set for its own thread.
#[cfg(test)]
mod set {
    use std::{
        cell::Cell,
        time::{Duration, SystemTime},
    };

    thread_local! {
        static AHEAD: Cell<i64> = const { Cell::new(0) };
    }

    /// Sets the wall clock `ahead` seconds ahead of the real one, or behind it if negative.
    pub(crate) fn set_wall(ahead: i64) {
        AHEAD.set(ahead);
    }

    pub(crate) fn wall() -> SystemTime {
        let ahead = AHEAD.get();
        let by = Duration::from_secs(ahead.unsigned_abs());
        #[cfg(not(shuttle))]
        let real = SystemTime::now();
        #[cfg(shuttle)]
        let real = crate::cache::shuttle::model::wall();
        if ahead < 0 { real - by } else { real + by }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As with a clock that was paused at the start of a program, before the first look at it.
    #[test]
    fn a_time_before_the_first_look_at_the_clock_is_as_long_ago_as_it_is() {
        let before = steady() - Duration::from_secs(60);
        let moment = Moment::at(since_epoch(before));
        assert_eq!(moment.steady(), before);
        let end = moment.after(Duration::from_secs(3));
        assert!(!end.is_over_by_steady(since_epoch(before + Duration::from_secs(2))));
        assert!(end.is_over_by_steady(since_epoch(before + Duration::from_secs(3))));
    }

    #[test]
    fn a_time_beyond_the_range_of_the_clocks_is_their_end() {
        let now = Moment::now();
        let end = now.after(Duration::MAX);
        assert!(!end.is_over(now));
        assert!(end.left(now) > Duration::from_secs(500 * 365 * 24 * 60 * 60));
    }
}
