//! The single-flight lock: at most one exchange at a time, in a task of its own that belongs to none of its waiters.
//!
//! ```text
//!             join: no token meets the need, no backoff
//!   Parked ──────────────────────────────────────────────▶ Flying ◀──┐ join: wait with the others
//!      ▲                                                      │  └───┘
//!      └──────────────────────────────────────────────────────┘
//!             land: token, error, deadline, panic or runtime shutdown
//! ```
//!
//! One mutex guards the slot. It is never held across an await, and no user code (source, waker, destructor of a
//! user's error) runs under it.

use std::{
    fmt, mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout},
};
use tower::ServiceExt;

use super::schedule::{self, PERMANENT, TRANSIENT};
use crate::{
    error::{Error, ErrorKind},
    source::{Reason, TokenRequest, TokenSource},
    telemetry,
    token::Token,
};

/// A token that a cache holds, and how long it is good for.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) token: Token,
    refresh_at: Instant,
    unusable_at: Instant,
}

/// What a flight ends with, the same for every waiter.
pub(crate) type Outcome = Result<Arc<Held>, Error>;

/// A flight under way, as a waiter sees it. Dropping it changes nothing for the flight or for the other waiters.
#[derive(Clone, Debug)]
pub(super) struct Flight(watch::Receiver<Option<Outcome>>);

/// What a caller comes for, and so which token would save the exchange.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need {
    /// Any token that may be sent.
    Usable,
    /// A token that is not yet due for refresh.
    Fresh,
    /// A token that may be sent and is not this one, which the API refused.
    Other { than: u64 },
    /// The outcome of an exchange, whatever token is there.
    Exchange,
}

/// What a caller gets.
#[derive(Debug)]
pub(super) enum Joined {
    Have(Arc<Held>),
    Wait(Flight),
    Fail(Error),
}

/// The token in use, the source of the next one, and the flight between them.
pub(super) struct SingleFlight {
    current: ArcSwapOption<Held>,
    slot: Mutex<Slot>,
    /// A hint in nanoseconds since `epoch`: before this, a stale token is no reason to take the lock.
    quiet_until: AtomicU64,
    epoch: Instant,
    exchange_timeout: Duration,
    default_lifetime: Duration,
}

struct Slot {
    stage: Stage,
    failure: Option<Failure>,
}

enum Stage {
    Parked(Box<dyn Source>),
    Flying(Flight),
}

/// The last exchanges failed; until `until` nobody asks again.
struct Failure {
    error: Error,
    in_a_row: u32,
    until: Instant,
}

/// Where generations come from: one counter for the process, so that no token of one cache is taken for one of another.
static GENERATION: AtomicU64 = AtomicU64::new(1);

impl SingleFlight {
    pub(super) fn new(
        source: impl TokenSource,
        exchange_timeout: Duration,
        default_lifetime: Duration,
    ) -> Self {
        Self {
            current: ArcSwapOption::empty(),
            slot: Mutex::new(Slot {
                stage: Stage::Parked(Box::new(source)),
                failure: None,
            }),
            quiet_until: AtomicU64::new(0),
            epoch: Instant::now(),
            exchange_timeout,
            default_lifetime,
        }
    }

    /// Reads the token to send now, if there is one: an atomic load and a clock read. If it is due for refresh and, as
    /// far as can be told without the lock, nobody is at it, a flight starts; nobody waits for it.
    pub(super) fn read<T>(self: &Arc<Self>, read: impl FnOnce(&Token) -> T) -> Option<T> {
        let current = self.current.load();
        let held = current.as_ref()?;
        let now = Instant::now();
        if now >= held.unusable_at {
            return None;
        }
        if now >= held.refresh_at
            && self.since_epoch(now) >= self.quiet_until.load(Ordering::Relaxed)
        {
            drop(self.join(Need::Fresh));
        }
        Some(read(&held.token))
    }

    /// Waits with the flight under way, or starts one, unless a token that meets the need is there already.
    pub(super) fn join(self: &Arc<Self>, need: Need) -> Joined {
        let Ok(runtime) = Handle::try_current() else {
            return Joined::Fail(Error::no_runtime());
        };
        let (take_off, request) = {
            let mut slot = self.lock();
            // Looked at again under the lock. Without this: A reads an expired token; B's flight lands; A finds nobody
            // flying and exchanges once more.
            let current = self.current.load_full();
            let now = Instant::now();
            if let Some(held) = &current
                && held.meets(need, now)
            {
                return Joined::Have(Arc::clone(held));
            }
            if let Some(failure) = &slot.failure
                && now < failure.until
            {
                let retry_in = failure.until - now;
                return Joined::Fail(Error::backing_off(&failure.error, retry_in));
            }
            let take_off = match slot.stage.take_off() {
                Ok(take_off) => take_off,
                Err(under_way) => return Joined::Wait(under_way),
            };
            self.quiet_until.store(UNTIL_LANDING, Ordering::Relaxed);
            (take_off, need.request(current.as_deref()))
        };
        let flight = take_off.flight;
        let pilot = Pilot {
            single_flight: Arc::clone(self),
            source: Some(take_off.source),
            tell: take_off.tell,
            started: Instant::now(),
            result: None,
        };
        // Outside the lock: a runtime that is shutting down drops the task here and now, and the pilot then locks.
        drop(runtime.spawn(pilot.fly(request)));
        Joined::Wait(flight)
    }

    /// Takes the token in use away if it is the one with this generation.
    pub(super) fn forget(&self, generation: u64) {
        // Under the lock, so that no token that lands meanwhile is taken for the one that was looked at.
        let _slot = self.lock();
        if let Some(held) = &*self.current.load()
            && held.token.generation() == generation
        {
            self.current.store(None);
        }
    }

    /// The end of a flight, whatever it was: one change under the lock, so that whoever looks finds the token, the
    /// parked source and the backoff of the same flight.
    fn land(
        &self,
        source: Box<dyn Source>,
        result: Result<Token, Error>,
        started: Instant,
    ) -> Outcome {
        let now = Instant::now();
        let mut slot = self.lock();
        let outcome = result.and_then(|token| self.hold(token, started, now));
        let failure = match &outcome {
            Ok(held) => {
                self.current.store(Some(Arc::clone(held)));
                None
            }
            Err(error) => Some(Failure::new(error.clone(), slot.failure.as_ref(), now)),
        };
        let quiet_until = failure
            .as_ref()
            .map_or(0, |failure| self.since_epoch(failure.until));
        self.quiet_until.store(quiet_until, Ordering::Relaxed);
        let displaced = (
            mem::replace(&mut slot.failure, failure),
            mem::replace(&mut slot.stage, Stage::Parked(source)),
        );
        drop(slot);
        // Only now: the last failure may hold a user's error, whose destructor is not ours.
        drop(displaced);
        outcome
    }

    /// Dates the token, from before it was asked for. One that is over already is an error: held as valid it would be
    /// sent, and held as expired it would be exchanged again at once.
    fn hold(&self, token: Token, started: Instant, now: Instant) -> Outcome {
        let lifetime = token.lifetime().unwrap_or(self.default_lifetime);
        let stages = schedule::stages(lifetime, now - started, fastrand::f64());
        let unusable_at = started + stages.unusable_after;
        if now >= unusable_at {
            return Err(Error::expired_on_arrival(lifetime, now - started));
        }
        // A server that gives the refused token again has given no other one: it stays the token it was.
        let generation = match &*self.current.load() {
            Some(held) if held.token.is_same_credential(&token) => held.token.generation(),
            _ => GENERATION.fetch_add(1, Ordering::Relaxed),
        };
        Ok(Arc::new(Held {
            token: token.with_generation(generation),
            refresh_at: started + stages.refresh_after,
            unusable_at,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        // No user code runs under the lock, so a poisoned one was not left half-changed.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_epoch(&self, instant: Instant) -> u64 {
        let nanos = instant.saturating_duration_since(self.epoch).as_nanos();
        nanos.try_into().unwrap_or(UNTIL_LANDING)
    }
}

impl fmt::Debug for SingleFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlight")
            .field("current", &self.current.load())
            .finish_non_exhaustive()
    }
}

impl Held {
    pub(crate) fn is_usable(&self) -> bool {
        Instant::now() < self.unusable_at
    }

    fn meets(&self, need: Need, now: Instant) -> bool {
        match need {
            Need::Usable => now < self.unusable_at,
            Need::Fresh => now < self.refresh_at,
            Need::Other { than } => now < self.unusable_at && self.token.generation() != than,
            Need::Exchange => false,
        }
    }
}

impl Need {
    fn request(self, current: Option<&Held>) -> TokenRequest {
        match (self, current) {
            (Self::Other { than }, Some(held)) if held.token.generation() == than => {
                TokenRequest::refused(held.token.clone())
            }
            (_, None) | (Self::Usable | Self::Other { .. }, _) => TokenRequest::new(Reason::Cold),
            (Self::Fresh | Self::Exchange, Some(_)) => TokenRequest::new(Reason::Refresh),
        }
    }
}

impl Flight {
    /// Waits for the end of the flight.
    pub(super) async fn landed(mut self) -> Outcome {
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            // A pilot tells before it is gone, so this is not reached. It is an answer all the same.
            Ok(None) | Err(_) => Err(Error::shut_down()),
        }
    }
}

/// What a parked source takes off with.
struct TakeOff {
    source: Box<dyn Source>,
    tell: watch::Sender<Option<Outcome>>,
    flight: Flight,
}

impl Stage {
    /// Parked becomes flying; if it is flying already, that flight.
    fn take_off(&mut self) -> Result<TakeOff, Flight> {
        let (tell, told) = watch::channel(None);
        let flight = Flight(told);
        match mem::replace(self, Self::Flying(flight.clone())) {
            Self::Parked(source) => Ok(TakeOff {
                source,
                tell,
                flight,
            }),
            Self::Flying(under_way) => {
                *self = Self::Flying(under_way.clone());
                Err(under_way)
            }
        }
    }
}

impl Failure {
    fn new(error: Error, last: Option<&Self>, now: Instant) -> Self {
        let in_a_row = last.map_or(1, |last| last.in_a_row.saturating_add(1));
        let backoff = if error.is_transient() {
            TRANSIENT
        } else {
            PERMANENT
        };
        let delay = match (error.kind(), in_a_row) {
            // An exchange that was cut off says nothing about the server: the next call starts anew. But only once, so
            // that a source that always panics does not spin.
            (ErrorKind::Interrupted, 1) => Duration::ZERO,
            _ => backoff.delay(in_a_row, error.retry_in(), fastrand::f64()),
        };
        Self {
            error,
            in_a_row,
            until: now + delay,
        }
    }
}

/// Flies one exchange. However its task ends (done, panicked, dropped by its runtime) its destructor lands the flight,
/// so no waiter is left waiting and the source is always back.
struct Pilot {
    single_flight: Arc<SingleFlight>,
    /// `None` only within the destructor.
    source: Option<Box<dyn Source>>,
    tell: watch::Sender<Option<Outcome>>,
    started: Instant,
    /// `None` until the exchange is over.
    result: Option<Result<Token, Error>>,
}

impl Pilot {
    async fn fly(mut self, request: TokenRequest) {
        let within = self.single_flight.exchange_timeout;
        if let Some(source) = &mut self.source {
            let result = timeout(within, source.exchange(request)).await;
            self.result = Some(result.unwrap_or_else(|_| Err(Error::timeout(within))));
        }
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        let Some(source) = self.source.take() else {
            return;
        };
        let result = self.result.take().unwrap_or_else(|| {
            Err(if thread::panicking() {
                Error::panicked()
            } else {
                Error::shut_down()
            })
        });
        let outcome = self.single_flight.land(source, result, self.started);
        telemetry::exchange_over(&outcome, self.started.elapsed());
        // Publish before waking: a woken waiter whose token is refused must find this one in the cache, not the last.
        // Nobody may be waiting any more, which is no error.
        let _ = self.tell.send(Some(outcome));
    }
}

/// A [`TokenSource`] without its type.
trait Source: Send {
    fn exchange(&mut self, request: TokenRequest) -> Exchange<'_>;
}

type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Token, Error>> + Send + 'a>>;

impl<S: TokenSource> Source for S {
    fn exchange(&mut self, request: TokenRequest) -> Exchange<'_> {
        let ours = |error: S::Error| Error::from_source(error.into());
        Box::pin(async move {
            // Two statements, so that no error that is not `Send` is kept across the second await.
            let ready = self.ready().await.map_err(ours)?;
            ready.call(request).await.map_err(ours)
        })
    }
}

/// `quiet_until` while a flight is under way.
const UNTIL_LANDING: u64 = u64::MAX;
