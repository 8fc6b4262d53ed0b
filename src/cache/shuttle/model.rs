//! What the flight takes from Tokio and `std::sync`, for the model checker: threads that it interleaves as it likes, and a
//! clock that moves only when a test says so.
//!
//! `tokio::sync::watch` and `arc-swap` stay what they are. They are taken to be correct, and each call of theirs to be one
//! step: no thread comes in between within it, but one may before it, where the code calls [`interleave`] or locks. Atomics
//! are taken to be sequentially consistent. `quiet_until` is a hint: a stale one costs a lock, or leaves a refresh to the next
//! use. A stale beat of a pilot is one that is late, and timers go off at any point anyway.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

pub(crate) use shuttle::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use shuttle::{
    rand::{Rng, thread_rng},
    sync::atomic::AtomicBool,
};
pub(crate) use tokio::time::Instant;

use crate::util::clock::epoch;

// The threads of a run are coroutines of one thread of the system, so what is local to that one is shared by all of them
// and by no other run.
thread_local! {
    static BEGINNING: Instant = epoch();
    static ELAPSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static UNRULY: Cell<bool> = const { Cell::new(false) };
    static SLEEPING: RefCell<Vec<(Instant, Waker)>> = const { RefCell::new(Vec::new()) };
}

/// Begins a run. In an unruly one deadlines come early, and now and then the runtime is shutting down.
pub(crate) fn begin(unruly: bool) {
    ELAPSED.set(Duration::ZERO);
    UNRULY.set(unruly);
    SLEEPING.take();
}

/// From here on the run is not unruly.
pub(crate) fn calm() {
    UNRULY.set(false);
}

/// Lets time pass, on both clocks.
pub(crate) fn pass(time: Duration) {
    interleave();
    ELAPSED.set(ELAPSED.get() + time);
    let now = look_at_clock();
    let due = SLEEPING.with_borrow_mut(|sleeping| {
        let (due, later) = sleeping.drain(..).partition(|(at, _)| *at <= now);
        *sleeping = later;
        due
    });
    let due: Vec<(Instant, Waker)> = due;
    for (_, waker) in due {
        waker.wake();
    }
}

/// The steady clock. Time may pass just before it is read, as it may anywhere.
pub(crate) fn steady() -> Instant {
    interleave();
    look_at_clock()
}

/// The steady clock, for a test's own notes: no point where another thread may come in.
pub(crate) fn look_at_clock() -> Instant {
    BEGINNING.with(|beginning| *beginning + ELAPSED.get())
}

/// The wall clock.
pub(crate) fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + ELAPSED.get()
}

/// A point where another thread may come in between: a read of memory that threads share.
pub(crate) fn interleave() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}

/// Time may stand still here, so the next poll does not wait for a timer.
pub(crate) fn look_again(cx: &Context<'_>) {
    // The thread that polls the source goes first, however a scheduler has ranked the two.
    shuttle::thread::yield_now();
    cx.waker().wake_by_ref();
}

/// The map of [`Keyed`](crate::cache::Keyed): what is used of quick_cache's, under one lock. It evicts whatever is not pinned, oldest first.
#[cfg(feature = "keyed")]
pub(crate) use self::map::Map;

#[cfg(feature = "keyed")]
mod map {
    use std::{convert::Infallible, marker::PhantomData};

    use quick_cache::Lifecycle;
    use shuttle::sync::Condvar;

    use super::Mutex;

    pub(crate) struct Map<K, V, We, B, L> {
        /// Without a value, somebody is making it.
        entries: Mutex<Vec<(K, Option<V>)>>,
        made: Condvar,
        capacity: usize,
        lifecycle: L,
        _of: PhantomData<fn() -> (We, B)>,
    }

    impl<K: Clone + Eq, V: Clone, We, B, L: Lifecycle<K, V>> Map<K, V, We, B, L> {
        pub(crate) fn with(capacity: usize, _: u64, _: We, _: B, lifecycle: L) -> Self {
            Self {
                entries: Mutex::new(Vec::new()),
                made: Condvar::new(),
                capacity,
                lifecycle,
                _of: PhantomData,
            }
        }

        pub(crate) fn get_or_insert_with(
            &self,
            key: &K,
            make: impl FnOnce() -> Result<V, Infallible>,
        ) -> Result<V, Infallible> {
            let mut entries = self.entries.lock().unwrap();
            loop {
                match entries.iter().find(|(known, _)| known == key) {
                    Some((_, Some(value))) => return Ok(value.clone()),
                    Some((_, None)) => entries = self.made.wait(entries).unwrap(),
                    None => break,
                }
            }
            entries.push((key.clone(), None));
            drop(entries);
            let value = make()?;
            self.insert(key.clone(), value.clone());
            Ok(value)
        }

        fn insert(&self, key: K, value: V) {
            let mut given_up = L::RequestState::default();
            let mut entries = self.entries.lock().unwrap();
            entries.retain(|(known, _)| *known != key);
            entries.push((key, Some(value)));
            let is_given_up = |(key, value): &(K, Option<V>)| {
                let value = value.as_ref();
                value.is_some_and(|value| !self.lifecycle.is_pinned(key, value))
            };
            while entries.len() > self.capacity
                && let Some(at) = entries.iter().position(is_given_up)
                && let (key, Some(value)) = entries.remove(at)
            {
                self.lifecycle.on_evict(&mut given_up, key, value);
            }
            drop(entries);
            self.made.notify_all();
        }

        pub(crate) fn remove(&self, key: &K) {
            self.entries
                .lock()
                .unwrap()
                .retain(|(known, _)| known != key);
        }

        pub(crate) fn len(&self) -> usize {
            self.iter().count()
        }

        pub(crate) fn iter(&self) -> impl Iterator<Item = (K, V)> + use<K, V, We, B, L> {
            let entries = self.entries.lock().unwrap().clone();
            entries
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?)))
        }
    }
}

/// The runtime.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spawner(());

/// There is only one.
pub(crate) type RuntimeId = ();

impl Spawner {
    pub(crate) fn current() -> Option<Self> {
        Some(Self(()))
    }

    pub(crate) fn id(&self) -> RuntimeId {}

    /// A timer. In an unruly run it goes off after a few polls, whatever others have done by then: so a pilot may seem silent, or
    /// its deadline come, at any point. Otherwise it goes off when time passes.
    pub(crate) fn timer(&self, _: Instant) -> Option<Timer> {
        Some(Timer {
            spins: UNRULY.get().then(|| thread_rng().gen_range(0..6)),
        })
    }

    /// Spawns a task that nobody waits for. As with Tokio's, a panic ends that task alone, and unwinds what it holds; and
    /// a runtime that is shutting down drops it here and now.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if UNRULY.get() && thread_rng().gen_ratio(1, 12) {
            return;
        }
        let mut task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(task);
        let caught = poll_fn(move |cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx)));
            polled.unwrap_or_else(|panic| {
                if !panic.is::<Meant>() {
                    // A promise that is broken: that is for the checker.
                    resume_unwind(panic);
                }
                Poll::Ready(())
            })
        });
        drop(shuttle::future::spawn(caught));
    }
}

/// A panic that belongs to the run, past the hook that reports a failed one.
pub(crate) fn meant_panic() -> ! {
    resume_unwind(Box::new(Meant))
}

struct Meant;

#[derive(Debug)]
pub(crate) struct Timer {
    spins: Option<u32>,
}

impl Timer {
    pub(crate) fn poll_at(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let now = look_at_clock();
        if now >= at {
            return Poll::Ready(());
        }
        match &mut self.spins {
            Some(0) => {
                self.spins = Some(thread_rng().gen_range(0..6));
                pass(at - now);
                return Poll::Ready(());
            }
            Some(spins) => {
                *spins -= 1;
                // The next poll is the timer's, and nobody else's.
                cx.waker().wake_by_ref();
            }
            None => SLEEPING.with_borrow_mut(|sleeping| sleeping.push((at, cx.waker().clone()))),
        }
        Poll::Pending
    }
}
