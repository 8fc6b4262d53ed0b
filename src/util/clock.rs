//! Time by two clocks, a steady one and the wall clock.
//!
//! A token expires when either clock says so. The steady clock stops while a machine is suspended, and the wall clock may be
//! set back. The clock that is ahead is the right one for expiry.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// A point in time, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    steady: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self::at(steady())
    }

    /// Now, if the steady clock was read just before.
    pub(crate) fn at(steady: Instant) -> Self {
        Self {
            steady,
            wall: wall(),
        }
    }

    /// The steady clock's part, for everything except a token's lifetime.
    pub(crate) fn steady(self) -> Instant {
        self.steady
    }

    /// The wall clock's part, for people and other programs.
    pub(crate) fn wall(self) -> SystemTime {
        self.wall
    }

    pub(crate) fn after(self, duration: Duration) -> Self {
        Self {
            steady: self.steady + duration,
            // Beyond the wall clock's range it is over at once: too early is safe, too late is not.
            wall: self.wall.checked_add(duration).unwrap_or(self.wall),
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
        now.steady >= self.steady || now.wall >= self.wall
    }

    /// The time left at `now`: the smaller of what the two clocks say.
    pub(crate) fn left(self, now: Self) -> Duration {
        let by_wall = self.wall.duration_since(now.wall).unwrap_or_default();
        self.steady
            .saturating_duration_since(now.steady)
            .min(by_wall)
    }
}

/// The steady clock. It is Tokio's, so that tests can pause it.
#[cfg(not(all(test, shuttle)))]
pub(crate) fn steady() -> Instant {
    Instant::now()
}

#[cfg(all(test, shuttle))]
pub(crate) use crate::cache::shuttle::model::steady;

/// A zero point for times that are stored as numbers: no steady clock, not even a paused one, is behind it.
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a paused clock starts at the real time, and may be ahead of it from then on"
)]
pub(crate) fn epoch() -> Instant {
    static EPOCH: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    Instant::from_std(*EPOCH)
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
