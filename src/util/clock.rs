//! What time it is, by two clocks.
//!
//! A token is over when either clock says so. The steady one stands still while a machine is suspended, and the wall
//! clock may be set back; the one that is right about a token's end is the one that is ahead.

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

    /// Now, where the steady clock was read just before.
    pub(crate) fn at(steady: Instant) -> Self {
        Self {
            steady,
            wall: wall(),
        }
    }

    /// The steady clock's part: for what is no token's life.
    pub(crate) fn steady(self) -> Instant {
        self.steady
    }

    pub(crate) fn after(self, duration: Duration) -> Self {
        Self {
            steady: self.steady + duration,
            // At the end of the wall clock's range it is over at once: too early, and never too late.
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

    /// What is left of it at `now`: the less of what the clocks say.
    pub(crate) fn left(self, now: Self) -> Duration {
        let by_wall = self.wall.duration_since(now.wall).unwrap_or_default();
        self.steady
            .saturating_duration_since(now.steady)
            .min(by_wall)
    }
}

/// The steady clock. It is Tokio's, so that paused time rules every test.
#[cfg(not(all(test, shuttle)))]
pub(crate) fn steady() -> Instant {
    Instant::now()
}

#[cfg(all(test, shuttle))]
pub(crate) use crate::cache::shuttle::model::steady;

/// A point of the steady clock that no clock is behind, paused ones included: for what is kept as a number.
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

/// A wall clock that a test can set, for its thread alone.
#[cfg(test)]
mod set {
    use std::{
        cell::Cell,
        time::{Duration, SystemTime},
    };

    thread_local! {
        static AHEAD: Cell<i64> = const { Cell::new(0) };
    }

    /// Sets the wall clock so many seconds ahead of the real one, or behind it.
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
