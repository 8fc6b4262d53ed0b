//! What the flight takes from Tokio and `std::sync`, in one place, so that a model checker can stand in for them.

#[cfg(not(all(test, shuttle)))]
pub(crate) use self::real::*;
#[cfg(all(test, shuttle))]
pub(crate) use crate::{
    cache::shuttle::model::AtomicU64, cache::shuttle::model::Instant, cache::shuttle::model::Mutex,
    cache::shuttle::model::MutexGuard, cache::shuttle::model::Ordering,
    cache::shuttle::model::PoisonError, cache::shuttle::model::Spawner,
    cache::shuttle::model::interleave, cache::shuttle::model::timeout,
};

#[cfg(not(all(test, shuttle)))]
mod real {
    pub(crate) use std::sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    };

    use tokio::runtime::Handle;
    pub(crate) use tokio::time::{Instant, timeout};

    /// The runtime that a task can be spawned on.
    pub(crate) struct Spawner(Handle);

    impl Spawner {
        /// The one that this code runs on, if any.
        pub(crate) fn current() -> Option<Self> {
            Handle::try_current().ok().map(Self)
        }

        /// Spawns a task that nobody waits for. A runtime that is shutting down drops it here and now.
        pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
            drop(self.0.spawn(task));
        }
    }

    /// A point where another thread may come in between: where memory that threads share is read or written without a
    /// lock.
    pub(crate) fn interleave() {}
}
