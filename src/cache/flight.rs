//! The single-flight lock: at most one token request at a time, in a task of its own that belongs to none of its waiters.
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
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::{
    need::{Held, Need},
    pilot::{Flight, Outcome, Pilot, Source},
    rejection_guard::{Guard, Route},
    schedule::Schedule,
    state::CacheState,
};
use crate::{
    cache::rt::{
        AtomicU64, Instant, Mutex, MutexGuard, Ordering, PoisonError, Spawner, interleave,
    },
    error::{Error, ErrorKind},
    token::{Token, TokenSource},
    util::clock::{self, Moment},
};

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
    /// The tick of the steady clock in which the wall clock was looked at last. A second clock for each request would cost
    /// as much as all else that a read does.
    wall_tick: AtomicU64,
    /// A hint for the usual request, which meets no failing route: the bits of those whose first tries are worth a look.
    watched: AtomicU64,
    schedule: Arc<Schedule>,
    /// Told of each change that does not come by time alone, from when somebody first asks for them.
    changes: OnceLock<watch::Sender<()>>,
}

struct Slot {
    stage: Stage,
    failure: Option<Box<Failure>>,
    /// From the first rejection on.
    guard: Option<Box<Guard>>,
    /// Whether a task keeps the token warm.
    kept_warm: bool,
}

enum Stage {
    Parked(Box<dyn Source>),
    Flying(Flight),
}

/// The last token requests failed; until `until` nobody asks again. Boxed, like what is known of rejections, for caches by the
/// thousand that have none.
struct Failure {
    error: Error,
    in_a_row: u32,
    until: Instant,
}

/// Numbers the landings of the process, so that no token of one cache is taken for one of another.
static LANDINGS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

impl SingleFlight {
    pub(super) fn new(source: impl TokenSource, schedule: Schedule) -> Self {
        Self {
            current: ArcSwapOption::empty(),
            slot: Mutex::new(Slot {
                stage: Stage::Parked(Box::new(source)),
                failure: None,
                guard: None,
                kept_warm: false,
            }),
            quiet_until: AtomicU64::new(0),
            epoch: clock::steady(),
            wall_tick: AtomicU64::new(u64::MAX),
            watched: AtomicU64::new(0),
            schedule: schedule.shared(),
            changes: OnceLock::new(),
        }
    }

    /// Reads the token to send now, if there is one: an atomic load and a look at the clock. If it is due for refresh and,
    /// as far as can be told without the lock, nobody is at it, a flight starts; nobody waits for it.
    pub(super) fn read<T>(self: &Arc<Self>, read: impl FnOnce(&Token) -> T) -> Option<T> {
        interleave();
        let current = self.current.load();
        let held = current.as_ref()?;
        let now = clock::steady();
        if now >= held.unusable_at.steady() {
            return None;
        }
        let mut due = now >= held.refresh_at.steady();
        let since_epoch = self.since_epoch(now);
        let tick = since_epoch >> WALL_TICK;
        if self.wall_tick.load(Ordering::Relaxed) != tick {
            let now = Moment::at(now);
            if held.unusable_at.is_over(now) {
                // The tick is not marked, so that whoever comes in it looks too.
                return None;
            }
            due |= held.refresh_at.is_over(now);
            self.wall_tick.store(tick, Ordering::Relaxed);
        }
        if due && since_epoch >= self.quiet_until.load(Ordering::Relaxed) {
            drop(self.join(Need::Fresh));
        }
        Some(read(&held.token))
    }

    /// The token to send now, if there is one.
    pub(super) fn usable(&self) -> Option<Arc<Held>> {
        self.current.load_full().filter(|held| held.is_usable())
    }

    /// Whether the current token may be sent for so long, or is as new as one can reasonably be had. Takes no lock.
    pub(super) fn lasts(&self, least: Duration) -> bool {
        let current = self.current.load();
        let need = Need::Lasting(least);
        current
            .as_ref()
            .is_some_and(|held| held.meets(need, Moment::now()))
    }

    /// Waits with the flight under way, or starts one, unless a token that meets the need is there already.
    pub(super) fn join(self: &Arc<Self>, need: Need) -> Joined {
        let Some(spawner) = Spawner::current() else {
            return Joined::Fail(Error::no_runtime());
        };
        let (take_off, request) = {
            let mut slot = self.lock();
            // Looked at again under the lock. Without this: A reads an expired token; B's flight lands; A finds nobody
            // flying and token requests once more.
            let current = self.current.load_full();
            let now = Moment::now();
            if let Some(held) = &current
                && held.meets(need, now)
            {
                return Joined::Have(Arc::clone(held));
            }
            if let Some(error) = slot.objection(need, current.as_deref(), &self.schedule, now) {
                return Joined::Fail(error);
            }
            if let Need::Other { .. } = need {
                let guard = slot.guard.as_ref();
                let watched = guard.map_or(0, |guard| guard.watched(now.steady()));
                self.watched.store(watched, Ordering::Relaxed);
            }
            let take_off = match slot.stage.take_off() {
                Ok(take_off) => take_off,
                Err(under_way) => return Joined::Wait(under_way),
            };
            self.quiet_until.store(UNTIL_LANDING, Ordering::Relaxed);
            (take_off, need.request(current.as_deref()))
        };
        let flight = take_off.flight;
        let (this, within) = (Arc::clone(self), self.schedule.token_request_timeout);
        let land = move |source, result, started| this.land(source, result, started);
        let pilot = Pilot::new(take_off.source, take_off.tell, within, land);
        // Outside the lock: a runtime that is shutting down drops the task here and now, and the pilot then locks.
        spawner.spawn(pilot.fly(request));
        Joined::Wait(flight)
    }

    /// Takes the token in use away if it is the one with this generation.
    pub(super) fn forget(&self, generation: u64) {
        {
            // Under the lock, so that no token that lands meanwhile is taken for the one that was looked at.
            let _slot = self.lock();
            match &*self.current.load() {
                Some(held) if held.token.generation() == generation => {}
                _ => return,
            }
            interleave();
            self.current.store(None);
        }
        self.tell_of_change();
    }

    /// Whether any route is watched, so that it is worth knowing a request's route before it is sent.
    pub(super) fn is_watching(&self) -> bool {
        self.watched.load(Ordering::Relaxed) != 0
    }

    /// A first try with the token `generation` was accepted on this route.
    pub(super) fn accepted(&self, route: Route, generation: u64) {
        if self.watched.load(Ordering::Relaxed) & route.bit() != 0 {
            self.judge(|guard, now| guard.accepted(route, generation, now));
        }
    }

    /// A retry with the token `generation`, which took the place of a rejected one, was accepted on this route.
    pub(super) fn healed(&self, route: Route, generation: u64) {
        self.judge(|guard, now| guard.healed(route, generation, now));
    }

    /// The token request with this number, made because of a rejection on this route, healed nothing: its token was rejected as
    /// well, or was the rejected one again.
    pub(super) fn in_vain(&self, route: Route, landing: u64) {
        self.judge(|guard, now| guard.in_vain(route, landing, &self.schedule, now));
    }

    fn judge(&self, judge: impl FnOnce(&mut Guard, Instant)) {
        let now = clock::steady();
        let mut slot = self.lock();
        let guard = slot.guard.get_or_insert_default();
        judge(guard, now);
        self.watched.store(guard.watched(now), Ordering::Relaxed);
    }

    /// The end of a flight, whatever it was: one change under the lock, so that whoever looks finds the token, the
    /// parked source and the backoff of the same flight.
    fn land(
        &self,
        source: Box<dyn Source>,
        result: Result<Token, Error>,
        started: Moment,
    ) -> Outcome {
        let now = Moment::now();
        let mut slot = self.lock();
        let outcome = result.and_then(|token| self.hold(token, started, now));
        let failure = match &outcome {
            Ok(held) => {
                interleave();
                self.current.store(Some(Arc::clone(held)));
                None
            }
            Err(error) => {
                let last = slot.failure.as_deref();
                let failure = Failure::new(error.clone(), last, &self.schedule, now.steady());
                Some(Box::new(failure))
            }
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
        self.tell_of_change();
        outcome
    }

    /// Dates the token, from before it was asked for. One that is over already is an error: held as valid it would be
    /// sent, and held as expired it would be requested again at once.
    fn hold(&self, token: Token, started: Moment, now: Moment) -> Outcome {
        let took = now.steady().saturating_duration_since(started.steady());
        let lifetime = token.lifetime().unwrap_or(self.schedule.default_lifetime);
        let stages = self.schedule.stages(lifetime, took, fastrand::f64());
        let unusable_at = started.after(stages.unusable_after);
        if unusable_at.is_over(now) {
            return Err(Error::expired_on_arrival(lifetime, took));
        }
        let landing = LANDINGS.fetch_add(1, Ordering::Relaxed);
        // A server that gives the rejected token again has given no other one: it stays the token it was.
        let generation = match &*self.current.load() {
            Some(held) if held.token.is_same_credential(&token) => held.token.generation(),
            _ => landing,
        };
        Ok(Arc::new(Held {
            token: token.with_generation(generation),
            landing,
            renewable_at: started.after(stages.renewable_after),
            refresh_at: started.after(stages.refresh_after),
            unusable_at,
        }))
    }

    /// How things stand.
    pub(super) fn state(&self) -> CacheState {
        let slot = self.lock();
        let now = Moment::now();
        let backing_off = slot.failure.as_ref().and_then(|f| f.error_at(now.steady()));
        let requesting = matches!(slot.stage, Stage::Flying(_));
        let held = self.current.load();
        CacheState::new(
            held.as_ref()
                .map(|held| (held.refresh_at.left(now), held.unusable_at.left(now))),
            requesting,
            backing_off,
        )
    }

    /// When the token is due for the next look by whoever keeps it warm; `None` while a token request is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        let slot = self.lock();
        if matches!(slot.stage, Stage::Flying(_)) {
            return None;
        }
        let refresh_at = self
            .current
            .load()
            .as_ref()
            .map(|held| held.refresh_at.steady());
        let backed_off = slot.failure.as_ref().map(|failure| failure.until);
        refresh_at.max(backed_off)
    }

    /// Whether a task keeps the token warm from now on; whether that is news.
    pub(super) fn set_kept_warm(&self, kept_warm: bool) -> bool {
        mem::replace(&mut self.lock().kept_warm, kept_warm) != kept_warm
    }

    /// The changes from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        let changes = self.changes.get_or_init(|| watch::Sender::new(()));
        changes.subscribe()
    }

    /// Called after the lock is let go. So nobody misses a change: A lands and finds no channel; B makes one, and only then
    /// looks at how things stand, under the lock, where A's landing is to be seen.
    fn tell_of_change(&self) {
        if let Some(changes) = self.changes.get() {
            changes.send_replace(());
        }
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

impl Slot {
    /// Why no flight may start now, if so. Joining one that is under way costs nothing and needs no permission.
    fn objection(
        &mut self,
        need: Need,
        current: Option<&Held>,
        schedule: &Schedule,
        now: Moment,
    ) -> Option<Error> {
        if matches!(self.stage, Stage::Flying(_)) {
            return None;
        }
        let now_steady = now.steady();
        match &self.failure {
            // Whoever asks for a token request by name may have changed what a permanent failure is about.
            Some(failure) if matches!(need, Need::New) && !failure.error.is_transient() => {}
            Some(failure) if now_steady < failure.until => return failure.error_at(now_steady),
            _ => {}
        }
        match need {
            // Only while the rejected token is all there is: without one that may be sent, a token request is due anyway.
            Need::Other { than, route, judge }
                if current.is_some_and(|held| !held.unusable_at.is_over(now)) =>
            {
                let guard = self.guard.get_or_insert_default();
                let permit = guard.permit(route, than, judge, schedule, now_steady);
                permit.err().map(Error::rejected_too)
            }
            _ => None,
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
        // A crowd comes by here, under the lock: nothing is made for whoever only joins.
        if let Self::Flying(under_way) = self {
            return Err(under_way.clone());
        }
        let (tell, flight) = Flight::new();
        match mem::replace(self, Self::Flying(flight.clone())) {
            Self::Parked(source) => Ok(TakeOff {
                source,
                tell,
                flight,
            }),
            Self::Flying(under_way) => Err(under_way),
        }
    }
}

impl Failure {
    fn new(error: Error, last: Option<&Self>, schedule: &Schedule, now: Instant) -> Self {
        let alike = |last: &&Self| {
            last.error.is_transient() == error.is_transient()
                && now < last.until + schedule.remembered()
        };
        let in_a_row = last
            .filter(alike)
            .map_or(1, |last| last.in_a_row.saturating_add(1));
        let delay = match (error.kind(), in_a_row) {
            // A token request that was cut off says nothing about the server: the next call starts anew. But only once, so
            // that a source that always panics does not spin.
            (ErrorKind::Interrupted, 1) => Duration::ZERO,
            _ => schedule.backoff(
                error.is_transient(),
                in_a_row,
                error.retry_after(),
                fastrand::f64(),
            ),
        };
        Self {
            error,
            in_a_row,
            until: now + delay,
        }
    }

    /// The error for a caller who comes at `now`, if it is too early to ask again.
    fn error_at(&self, now: Instant) -> Option<Error> {
        (now < self.until).then(|| Error::backing_off(&self.error, self.until - now))
    }
}

/// `quiet_until` while a flight is under way.
const UNTIL_LANDING: u64 = u64::MAX;

/// A tick is so many bits of nanoseconds: a millisecond.
const WALL_TICK: u32 = 20;
