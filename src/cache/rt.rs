//! What the flight takes from Tokio and `std::sync`, in one place, so that a model checker can stand in for them.

#[cfg(not(all(test, shuttle)))]
pub(crate) use self::real::*;
#[cfg(all(test, shuttle, feature = "keyed"))]
pub(crate) use crate::cache::shuttle::model::Map;
#[cfg(all(test, shuttle))]
pub(crate) use crate::cache::shuttle::model::{
    AtomicU64, Instant, Mutex, MutexGuard, Ordering, PoisonError, RuntimeId, Spawner, Timer,
    interleave, look_again,
};

#[cfg(not(all(test, shuttle)))]
mod real {
    pub(crate) use std::sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    };
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        pin::Pin,
        task::{Context, Poll},
    };

    #[cfg(feature = "keyed")]
    pub(crate) use quick_cache::sync::Cache as Map;
    use tokio::{
        runtime::Handle,
        time::{Sleep, sleep_until},
    };
    pub(crate) use tokio::{runtime::Id as RuntimeId, time::Instant};

    /// The runtime that a task can be spawned on.
    #[derive(Clone, Debug)]
    pub(crate) struct Spawner(Handle);

    impl PartialEq for Spawner {
        fn eq(&self, other: &Self) -> bool {
            self.id() == other.id()
        }
    }

    impl Spawner {
        /// The one that this code runs on, if any.
        pub(crate) fn current() -> Option<Self> {
            Handle::try_current().ok().map(Self)
        }

        /// This one, wherever the code runs.
        pub(crate) fn of(runtime: Handle) -> Self {
            Self(runtime)
        }

        pub(crate) fn id(&self) -> RuntimeId {
            self.0.id()
        }

        /// Spawns a task that is not awaited. A runtime that is shutting down drops it here and now.
        pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
            drop(self.0.spawn(task));
        }

        /// A timer of this runtime; `None` if the runtime was built without timers, or is shutting down.
        pub(crate) fn timer(&self, at: Instant) -> Option<Timer> {
            let _entered = self.0.enter();
            // Tokio panics where there are no timers, and has no way to ask beforehand.
            let sleep = catch_unwind(AssertUnwindSafe(|| Box::pin(sleep_until(at))));
            sleep.ok().map(Timer)
        }
    }

    /// A timer that can be set anew.
    #[derive(Debug)]
    pub(crate) struct Timer(Pin<Box<Sleep>>);

    impl Timer {
        /// Sets it, and waits until then.
        pub(crate) fn poll_at(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
            if self.0.deadline() != at {
                self.0.as_mut().reset(at);
            }
            self.0.as_mut().poll(cx)
        }
    }

    /// A point where another thread may come in between: where memory that threads share is read or written without a
    /// lock.
    pub(crate) fn interleave() {}

    /// A point that a timer comes back to. A model whose time stands still needs a push.
    pub(crate) fn look_again(_: &Context<'_>) {}
}
