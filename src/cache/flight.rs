//! The single-flight lock: at most one token request at a time, in a task of its own that belongs to none of its waiters.
//!
//! ```text
//!             join: no token meets the need, no backoff
//!   Parked ──────────────────────────────────────────────▶ Flying ◀──┐ join: wait with the others
//!      ▲                                                      │  └───┘
//!      ├──────────────────────────────────────────────────────┤
//!      │      land: token, error, deadline, panic             │
//!      └──────────────────────────────────────────────────────┘
//!             cut: its runtime shut down, or its pilot is not polled and a waiter gives it up
//! ```
//!
//! The pilot's task lives on some runtime, and runtimes stop, stall and freeze. So each waiter waits by a timer of its own
//! runtime, and when the pilot has been silent it gives the flight up and starts another ([`SingleFlight::wait`]). What the
//! pilot of a flight that was given up brings later is not looked at.
//!
//! One mutex guards the slot. It is never held across an await, and no user code (source, waker, destructor of a
//! user's error) runs under it.

use std::{
    fmt, mem,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::{
    failure::Failure,
    landing::{BEAT, Ending, Flight, GRACE, Landing, Outcome, Patience, SILENT_FOR, Waited},
    need::{Held, Need},
    pilot::{Answer, Base, Pilot, Source},
    rejection_guard::{Guard, Proven, Route},
    rt::{
        AtomicU64, Instant, Mutex, MutexGuard, Ordering, PoisonError, Spawner, interleave,
        look_again,
    },
    schedule::Schedule,
    state::{CacheState, Changes},
    trial::Trial,
};
use crate::{
    error::Error,
    telemetry::Reporter,
    token::{Token, TokenRequest, TokenSource},
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
    /// A hint in nanoseconds since the clock's epoch: before this, a stale token is no reason to take the lock.
    quiet_until: AtomicU64,
    /// The tick of the steady clock in which the wall clock was looked at last. A second clock for each request would cost
    /// as much as all else that a read does.
    wall_tick: AtomicU64,
    /// From the first rejection on.
    proven: OnceLock<Box<Proven>>,
    /// A hint: the generation of the token on trial, if there is one.
    on_trial: AtomicU64,
    /// A hint: the generation of a rejected token while the request for another is under way.
    being_replaced: AtomicU64,
    schedule: Arc<Schedule>,
    /// Told of each change that does not come by time alone, from the first call that asks for them.
    changes: OnceLock<Box<Changes>>,
    reporter: Reporter,
}

struct Slot {
    /// Out of its place for as long as one poll of it takes.
    source: Option<Box<dyn Source>>,
    /// The flight under way.
    flying: Option<Flight>,
    failure: Option<Box<Failure>>,
    /// The newest token that was rejected, but for routes that reject all of them.
    rejected: u64,
    /// After a refresh, until the new token was accepted.
    trial: Option<Box<Trial>>,
    /// From the first rejection on.
    guard: Option<Box<Guard>>,
}

/// Where a caller comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    New,
    /// Its flight was cut off. The guard has permitted it a token request already.
    CutOff,
    /// The token that its flight brought was replaced or rejected before it was polled.
    Late,
}

impl SingleFlight {
    pub(super) fn new(source: impl TokenSource, schedule: Schedule, reporter: Reporter) -> Self {
        Self {
            current: ArcSwapOption::empty(),
            slot: Mutex::new(Slot {
                source: Some(Box::new(source)),
                flying: None,
                failure: None,
                rejected: 0,
                trial: None,
                guard: None,
            }),
            quiet_until: AtomicU64::new(0),
            wall_tick: AtomicU64::new(u64::MAX),
            proven: OnceLock::new(),
            on_trial: AtomicU64::new(0),
            being_replaced: AtomicU64::new(0),
            schedule: schedule.shared(),
            changes: OnceLock::new(),
            reporter,
        }
    }

    /// Reads the token to send now, if there is one: an atomic load and a look at the clock. If it is due for refresh and,
    /// as far as can be told without the lock, none is under way, a flight starts; no caller waits for it.
    pub(super) fn read<T>(self: &Arc<Self>, read: impl FnOnce(&Token) -> T) -> Option<T> {
        interleave();
        let current = self.current.load();
        let held = current.as_ref()?;
        let now = clock::since_epoch(clock::steady());
        if held.unusable_at.is_over_by_steady(now) {
            return None;
        }
        let mut due = held.refresh_at.is_over_by_steady(now);
        let tick = now >> WALL_TICK;
        if self.wall_tick.load(Ordering::Relaxed) != tick {
            let moment = Moment::at(now);
            if held.unusable_at.is_over(moment) {
                // The tick is not marked, so that each caller in it looks too.
                return None;
            }
            due |= held.refresh_at.is_over(moment);
            self.wall_tick.store(tick, Ordering::Relaxed);
        }
        if due && now >= self.quiet_until.load(Ordering::Relaxed) {
            drop(self.join(Need::Fresh, Caller::New));
        }
        Some(read(&held.token))
    }

    /// The token that may be sent, if there is one.
    pub(super) fn usable(&self) -> Option<Arc<Held>> {
        self.current
            .load_full()
            .filter(|held| !held.ends_at.is_over(Moment::now()))
    }

    /// Whether the current token may be sent that long, or is as new as one can reasonably be had. Takes no lock.
    pub(super) fn lasts(&self, least: Duration) -> bool {
        let current = self.current.load();
        let need = Need::Lasting(least);
        current
            .as_ref()
            .is_some_and(|held| held.meets(need, Moment::now()))
    }

    /// Where token requests run that are asked for here.
    pub(super) fn spawner(&self) -> Result<Spawner, Error> {
        match &self.schedule.runtime {
            Some(runtime) => Ok(Spawner::clone(runtime)),
            None => Spawner::current().ok_or_else(Error::no_runtime),
        }
    }

    /// Gets what is needed: what is there, or what comes of a flight.
    ///
    /// The wait is bounded on the caller's own runtime, whichever runtime the pilot is on. A flight that was cut off, or whose
    /// pilot is silent, is not this caller's failure: it starts another one, or joins
    /// another caller's, for as long as it has time.
    pub(super) async fn wait(self: &Arc<Self>, need: Need<'_>) -> Outcome {
        match need {
            Need::Usable { .. } | Need::New => {
                let waiting = self.reporter.waiting();
                waiting.over(self.wait_in_turns(need).await)
            }
            // These fail no request for want of a token. One that was rejected is told of as such.
            Need::Fresh | Need::Lasting(_) | Need::Other { .. } => self.wait_in_turns(need).await,
        }
    }

    async fn wait_in_turns(self: &Arc<Self>, need: Need<'_>) -> Outcome {
        let mut patience: Option<Patience> = None;
        let mut caller = Caller::New;
        let mut cuts = 0;
        loop {
            let flight = match self.join(need, caller) {
                Joined::Have(held) => return Ok(held),
                Joined::Fail(error) => return Err(error),
                Joined::Wait(flight) => flight,
            };
            let patience = match &mut patience {
                Some(patience) => patience,
                None => patience.insert(self.patience()?),
            };
            caller = Caller::CutOff;
            match flight.landed(patience).await {
                // A waiter that is polled late may find that its token has ended or was rejected meanwhile, or is the current
                // one no more.
                Waited::Landed(Landing::Held(held)) if !self.is_to_be_sent(&held, need) => {
                    caller = Caller::Late;
                }
                Waited::Landed(Landing::Held(held)) => return Ok(held),
                Waited::Landed(Landing::Failed { error, .. }) => {
                    return self.or_current(need, error);
                }
                // Its own runtime may be the one that shuts down, and cut all that it starts.
                Waited::Landed(Landing::Cut(error)) if cuts == MOST_CUTS => {
                    return self.or_current(need, error);
                }
                Waited::Landed(Landing::Cut(_)) => cuts += 1,
                Waited::Silent(beat) => self.give_up(&flight, beat),
                Waited::OutOfTime => {
                    let error = flight.error(self.out_of_time());
                    return self.or_current(need, error);
                }
            }
        }
    }

    /// By a timer of the caller's own runtime, if it has one.
    fn patience(&self) -> Result<Patience, Error> {
        let within = self.schedule.token_request_timeout;
        if let Some(own) = Spawner::current()
            && let Some(patience) = Patience::new(&own, within)
        {
            return Ok(patience);
        }
        let patience = Patience::new(&self.spawner()?, within);
        patience.ok_or_else(Error::no_runtime)
    }

    /// A token that is still good for a while goes before the failure to replace it.
    fn or_current(&self, need: Need<'_>, error: Error) -> Outcome {
        let current = self.usable();
        let is_enough = |held: &Arc<Held>| {
            matches!(need, Need::Usable { .. }) || held.meets(need, Moment::now())
        };
        current.filter(is_enough).ok_or(error)
    }

    /// Whether it is the current token still, and it is not being replaced after a rejection.
    fn is_to_be_sent(&self, held: &Held, need: Need<'_>) -> bool {
        let generation = held.token.generation();
        // Before the current token is read. Without this: A reads this token as the current one; the one that replaces it lands; A
        // finds that nothing is being replaced.
        if need.waits_for_replacement() && self.is_being_replaced(generation) {
            return false;
        }
        let current = self.current.load();
        let is_same = |current: &Arc<Held>| current.token.generation() == generation;
        current.as_ref().is_some_and(is_same) && !held.ends_at.is_over(Moment::now())
    }

    /// What a caller is told whose own time is over.
    fn out_of_time(&self) -> Error {
        let now = clock::steady();
        let slot = self.lock();
        let definite = slot
            .failure
            .as_ref()
            .and_then(|failure| failure.definite_at(now, &self.schedule));
        definite.unwrap_or_else(|| Error::timeout(self.schedule.token_request_timeout))
    }

    /// Waits with the flight under way, or starts one, unless a token that meets the need is there already.
    ///
    /// A caller that has waited is not given a token that was rejected meanwhile, but waits for the one that replaces it
    /// ([`Need::waits_for_replacement`]). It asks for none on its own account: that is for those who saw the rejection, and for
    /// the guard. So where no other token comes (the token request fails, brings the same one, or is not permitted), it is given
    /// the one that callers who come now are given.
    pub(super) fn join(self: &Arc<Self>, need: Need<'_>, caller: Caller) -> Joined {
        let spawner = match self.spawner() {
            Ok(spawner) => spawner,
            Err(error) => return Joined::Fail(error),
        };
        let (flight, given_up, request) = {
            let mut slot = self.lock();
            // Looked at again under the lock. Without this: A reads an expired token; B's flight lands; A finds none
            // flying and requests a token once more.
            let now = Moment::now();
            self.note_late_rejection(&mut slot, need, now);
            let current = self.current.load_full();
            if let Some(held) = &current
                && held.meets(need, now)
            {
                return match &slot.flying {
                    Some(flying)
                        if caller != Caller::New
                            && need.waits_for_replacement()
                            && self.is_being_replaced(held.token.generation()) =>
                    {
                        Joined::Wait(flying.clone())
                    }
                    _ => Joined::Have(Arc::clone(held)),
                };
            }
            if let Some(held) = self.of_trial(&slot, need, current.as_deref(), now) {
                return Joined::Have(held);
            }
            self.note_rejection(&mut slot, need, current.as_deref(), now);
            let mut given_up = None;
            if let Some(flying) = slot.flying.take() {
                // A caller that does not wait cannot see a flight stand still: it compares with what the last one saw.
                let is_stuck = matches!(need, Need::Fresh) && self.is_stuck(&flying, now.steady());
                if !is_stuck {
                    slot.flying = Some(flying.clone());
                    return Joined::Wait(flying);
                }
                given_up = Some(flying);
            }
            let objection = self.objection(&mut slot, need, caller, current.as_deref(), now);
            if let Some(error) = objection {
                // In its last stretch a token is good enough while there is no other.
                return match current.filter(|held| !held.ends_at.is_over(now)) {
                    Some(held) if matches!(need, Need::Usable { .. }) => Joined::Have(held),
                    _ => Joined::Fail(error),
                };
            }
            if let (Need::Other { than, .. }, Some(held)) = (need, &current)
                && held.token.generation() == than
            {
                slot.rejected = slot.rejected.max(than);
                self.being_replaced.store(than, Ordering::Release);
            }
            let request = need.request(current.as_deref());
            let flight = Flight::new(now.steady(), Arc::clone(request.requester()));
            slot.flying = Some(flight.clone());
            self.stay_quiet_until(now.steady() + LOOK_AT_FLIGHT);
            (flight, given_up, request)
        };
        if let Some(given_up) = given_up {
            given_up.tell(Landing::Cut(Error::interrupted()));
        }
        let within = self.schedule.token_request_timeout;
        let report = self.reporter.request(&request);
        let pilot = Pilot::new(
            Arc::clone(self),
            flight.clone(),
            spawner.clone(),
            within,
            report,
        );
        // Outside the lock: a runtime that is shutting down drops the task here and now, and the pilot then locks.
        match spawner.timer(clock::steady() + BEAT) {
            Some(timer) => spawner.spawn(pilot.fly(request, timer)),
            None => {
                pilot.cut(Error::no_runtime());
                return Joined::Fail(Error::no_runtime());
            }
        }
        Joined::Wait(flight)
    }

    /// Why no flight may start now, if so.
    fn objection(
        &self,
        slot: &mut Slot,
        need: Need<'_>,
        caller: Caller,
        current: Option<&Held>,
        now: Moment,
    ) -> Option<Error> {
        let now_steady = now.steady();
        match &slot.failure {
            // A caller that asks for a token request by name may have changed what a permanent failure is about.
            Some(failure) if matches!(need, Need::New) && !failure.is_transient() => {}
            Some(failure) if now_steady < failure.until => return failure.error_at(now_steady),
            _ => {}
        }
        match need {
            // Only while the rejected token is all there is: without one that may be sent, a token request is due anyway.
            Need::Other {
                than,
                route,
                is_retried,
                ..
            } if caller != Caller::CutOff
                && current.is_some_and(|held| !held.unusable_at.is_over(now)) =>
            {
                let guard = slot.guard.get_or_insert_default();
                let proven = self.proven.get_or_init(Box::default);
                let schedule = &self.schedule;
                let permit = guard.permit(route, than, is_retried, proven, schedule, now_steady);
                permit.err().map(Error::rejected_too)
            }
            _ => None,
        }
    }

    /// Puts the other token of a trial to use, if it meets the need.
    fn of_trial(
        &self,
        slot: &Slot,
        need: Need<'_>,
        current: Option<&Held>,
        now: Moment,
    ) -> Option<Arc<Held>> {
        let held = slot.trial.as_deref()?.other_than(current?, need, now)?;
        interleave();
        self.current.store(Some(Arc::clone(&held)));
        Some(held)
    }

    /// A rejection that joins the flight under way says of the current token what one that starts a flight says.
    fn note_rejection(&self, slot: &mut Slot, need: Need<'_>, current: Option<&Held>, now: Moment) {
        if let (Need::Other { than, route, .. }, Some(held)) = (need, current)
            && slot.flying.is_some()
            && held.token.generation() == than
            && !slot.is_failing(route, now.steady())
        {
            slot.rejected = slot.rejected.max(than);
            self.being_replaced.store(than, Ordering::Release);
        }
    }

    /// The token before the one on trial was rejected after all, by an API that knows it: it is no use to go back to it. Without
    /// this: both are revoked; a 401 of the first comes in when the second is there; that one is rejected as well, and the
    /// first is used again.
    fn note_late_rejection(&self, slot: &mut Slot, need: Need<'_>, now: Moment) {
        if let (Need::Other { than, route, .. }, Some(trial)) = (need, &slot.trial)
            && trial.is_of_previous(than)
            && !slot.is_failing(route, now.steady())
        {
            self.end_trial(slot);
        }
    }

    /// The end of a trial, with the new token in use.
    fn end_trial(&self, slot: &mut Slot) {
        self.on_trial.store(0, Ordering::Relaxed);
        let Some(trial) = slot.trial.take() else {
            return;
        };
        let current = self.current.load();
        let is_set_back = |current: &Arc<Held>| trial.is_of_previous(current.token.generation());
        if current.as_ref().is_some_and(is_set_back) {
            interleave();
            self.current.store(Some(trial.into_next()));
        }
    }

    /// Whether the token of this generation was rejected and the request for another is under way.
    pub(super) fn is_being_replaced(&self, generation: u64) -> bool {
        // With the stores: a caller that finds it reset finds the token that has landed, too.
        self.being_replaced.load(Ordering::Acquire) == generation
    }

    /// Whether the flight under way was as silent at the last look.
    fn is_stuck(&self, flight: &Flight, now: Instant) -> bool {
        let beat = flight.last_beat();
        let is_silent = now >= beat + SILENT_FOR;
        let is_stuck = is_silent && flight.was_silent_since(beat);
        self.stay_quiet_until(now + if is_silent { GRACE } else { LOOK_AT_FLIGHT });
        is_stuck
    }

    /// Gives up a flight whose last beat is still this one. Those who wait for it start another, or join it.
    fn give_up(&self, flight: &Flight, beat: Instant) {
        {
            let mut slot = self.lock();
            let is_flying = slot.flying.as_ref().is_some_and(|it| it.is(flight));
            if !is_flying || flight.last_beat() != beat {
                return;
            }
            slot.flying = None;
            self.being_replaced.store(0, Ordering::Release);
            self.quiet_until.store(0, Ordering::Relaxed);
        }
        // It is in the slot no more, so its pilot tells no caller anything from now on.
        flight.tell(Landing::Cut(Error::interrupted()));
        self.tell_of_change();
    }

    /// Takes the token with this generation away, if it is in use or may come into use again.
    pub(super) fn forget(&self, generation: u64) {
        {
            // Under the lock, so that no token that lands meanwhile is taken for the one that was looked at.
            let mut slot = self.lock();
            let trial = slot.trial.as_deref();
            if trial.is_some_and(|trial| trial.is_of_previous(generation)) {
                self.end_trial(&mut slot);
            } else {
                let is_on_trial = trial.is_some_and(|trial| trial.is_of_next(generation));
                let current = self.current.load();
                let is_current = current
                    .as_ref()
                    .is_some_and(|held| held.token.generation() == generation);
                if !is_current && !is_on_trial {
                    return;
                }
                slot.trial = None;
                self.on_trial.store(0, Ordering::Relaxed);
                if is_current {
                    interleave();
                    self.current.store(None);
                }
            }
        }
        self.reporter.forgot();
        self.tell_of_change();
    }

    /// Whether acceptances count, so that it is worth knowing a request's route before it is sent.
    pub(super) fn is_looking(&self) -> bool {
        self.proven.get().is_some_and(|proven| proven.is_looking())
    }

    /// A first try with the token `generation` was accepted on this route.
    pub(super) fn accepted(&self, route: Option<Route>, generation: u64) {
        if self.on_trial.load(Ordering::Relaxed) == generation {
            let mut slot = self.lock();
            let trial = slot.trial.as_deref();
            if trial.is_some_and(|trial| trial.is_of_next(generation)) {
                self.end_trial(&mut slot);
            }
        }
        if let Some(route) = route
            && let Some(proven) = self.proven.get()
        {
            proven.accepted(route, generation);
        }
    }

    /// A retry with the token `generation`, which took the place of a rejected one, was accepted on this route.
    pub(super) fn healed(&self, route: Route, generation: u64) {
        self.accepted(None, generation);
        self.reporter.fresh_token_helped(true);
        self.with_guard(|guard, proven, now| {
            guard.healed(route, generation, proven, &self.schedule, now);
        });
    }

    /// The token request with this number, made because of a rejection on this route, healed nothing: its token was rejected as
    /// well, or was the rejected one again.
    pub(super) fn in_vain(&self, route: Route, landing: u64) {
        self.reporter.fresh_token_helped(false);
        {
            // Where the token before was rejected as well, it is no help that the API knows it.
            let mut slot = self.lock();
            let trial = slot.trial.as_deref();
            if trial.is_some_and(|trial| trial.is_of_previous(landing))
                && !slot.is_failing(route, clock::steady())
            {
                self.end_trial(&mut slot);
            }
        }
        self.with_guard(|guard, proven, now| {
            guard.in_vain(route, landing, proven, &self.schedule, now);
        });
    }

    fn with_guard(&self, tell: impl FnOnce(&mut Guard, &Proven, Instant)) {
        let now = clock::steady();
        let mut slot = self.lock();
        let guard = slot.guard.get_or_insert_default();
        tell(guard, self.proven.get_or_init(Box::default), now);
    }

    /// Begins a trial of `next`, if the token before it is still good.
    fn try_out(&self, slot: &mut Slot, next: &Arc<Held>, now: Moment) {
        let current = self.current.load_full();
        let trial = Trial::begin(slot.trial.take(), current, next, slot.rejected, now);
        slot.trial = trial.map(Box::new);
        let on_trial = slot.trial.as_ref().map_or(0, |_| next.token.generation());
        self.on_trial.store(on_trial, Ordering::Relaxed);
    }

    /// How things stand.
    pub(super) fn state(&self) -> CacheState {
        let slot = self.lock();
        let now = Moment::now();
        let backing_off = slot.failure.as_ref().and_then(|f| f.error_at(now.steady()));
        let requesting = slot.flying.is_some();
        let held = self.current.load();
        CacheState::new(
            held.as_ref()
                .map(|held| (held.refresh_at.left(now), held.ends_at.left(now))),
            requesting,
            backing_off,
        )
    }

    /// When the token is due for the next look by the task that keeps it warm; `None` while a token request is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        let slot = self.lock();
        if slot.flying.is_some() {
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

    /// The changes from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.watched_changes().subscribe()
    }

    /// Made by the first call that asks for them.
    pub(super) fn watched_changes(&self) -> &Changes {
        self.changes.get_or_init(Box::default)
    }

    /// Called after the lock is let go. So no watcher misses a change: A lands and finds no channel; B makes one, and only then
    /// looks at how things stand, under the lock, where A's landing is to be seen.
    fn tell_of_change(&self) {
        if let Some(changes) = self.changes.get() {
            changes.tell();
        }
    }

    fn stay_quiet_until(&self, until: Instant) {
        let until = clock::since_epoch(until);
        self.quiet_until.store(until, Ordering::Relaxed);
    }

    /// The generation of the current token, whatever it is good for.
    #[cfg(all(test, shuttle))]
    pub(super) fn in_use(&self) -> Option<u64> {
        let current = self.current.load();
        current.as_ref().map(|held| held.token.generation())
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        // No user code runs under the lock, so a poisoned one was not left half-changed.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Base for SingleFlight {
    fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    fn poll_source(
        &self,
        flight: &Flight,
        request: &mut Option<TokenRequest>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answer, Error>> {
        match self.borrow_source(flight) {
            Some(mut source) => source.poll_call(request, cx),
            // Another thread polls it for a flight that was given up, or this one was. The pilot's next beat looks again.
            None => {
                look_again(cx);
                Poll::Pending
            }
        }
    }

    /// The end of a flight, whatever it was: one change under the lock, so that each look finds the token, the
    /// empty slot and the backoff of the same flight. `None` if it was given up before.
    fn land(&self, flight: &Flight, ending: Ending, started: Moment) -> Option<Landing> {
        let now = Moment::now();
        let mut slot = self.lock();
        if !slot.flying.as_ref().is_some_and(|it| it.is(flight)) {
            return None;
        }
        let result = match ending {
            Ending::Token(token) => {
                let current = self.current.load();
                let held = self.schedule.hold(token, current.as_deref(), started, now);
                held.map(Arc::new)
            }
            Ending::Failed(error) => Err(error),
            Ending::Cut(error) => {
                slot.flying = None;
                self.being_replaced.store(0, Ordering::Release);
                self.quiet_until.store(0, Ordering::Relaxed);
                drop(slot);
                self.tell_of_change();
                return Some(Landing::Cut(error));
            }
        };
        let (landing, failure) = match result {
            Ok(held) => {
                self.try_out(&mut slot, &held, now);
                interleave();
                self.current.store(Some(Arc::clone(&held)));
                (Landing::Held(held), None)
            }
            Err(error) => {
                let last = slot.failure.as_deref();
                let failure = Failure::new(error, last, &self.schedule, now.steady());
                let landing = Landing::Failed {
                    error: failure.told(now.steady()),
                    until: failure.until,
                };
                (landing, Some(Box::new(failure)))
            }
        };
        let quiet_until = failure
            .as_ref()
            .map_or(0, |failure| clock::since_epoch(failure.until));
        self.quiet_until.store(quiet_until, Ordering::Relaxed);
        slot.flying = None;
        self.being_replaced.store(0, Ordering::Release);
        let displaced = mem::replace(&mut slot.failure, failure);
        drop(slot);
        // Only now: the last failure may hold a user's error, whose destructor is not ours.
        drop(displaced);
        self.tell_of_change();
        Some(landing)
    }
}

impl SingleFlight {
    /// What tells operators of this cache.
    pub(super) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// The source, for one poll by the pilot of this flight. `None` if the flight was given up, or if the source is being polled
    /// for one that was.
    fn borrow_source(&self, flight: &Flight) -> Option<Borrowed<'_>> {
        let mut slot = self.lock();
        if !slot.flying.as_ref().is_some_and(|it| it.is(flight)) {
            return None;
        }
        let source = slot.source.take();
        source.map(|source| Borrowed {
            cache: self,
            source: Some(source),
        })
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
    fn is_failing(&self, route: Route, now: Instant) -> bool {
        let guard = self.guard.as_ref();
        guard.is_some_and(|guard| guard.is_failing(route, now))
    }
}

/// The source, out of its slot for one poll. Its destructor puts it back, also where the source panics.
pub(super) struct Borrowed<'a> {
    cache: &'a SingleFlight,
    source: Option<Box<dyn Source>>,
}

impl Borrowed<'_> {
    pub(super) fn poll_call(
        &mut self,
        request: &mut Option<TokenRequest>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answer, Error>> {
        match &mut self.source {
            Some(source) => source.poll_call(request, cx),
            None => Poll::Pending,
        }
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        self.cache.lock().source = self.source.take();
    }
}

/// A waiter whose flight is cut off for the time after that gives up: its own runtime is shutting down, or the source drops it.
const MOST_CUTS: u32 = 8;

/// While a flight is under way, those who need not wait look at it this often.
const LOOK_AT_FLIGHT: Duration = SILENT_FOR;

/// A tick is so many bits of nanoseconds: a millisecond.
const WALL_TICK: u32 = 20;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::LazyLock;

    use tokio::{
        runtime::{Builder, Runtime},
        time::{advance, sleep},
    };
    use tokio_test::{assert_pending, task};

    use super::*;
    use crate::{telemetry::Names, token::challenge::Challenges};

    const SECOND: Duration = Duration::from_secs(1);

    /// Gives `t1`, `t2`, … after a second, good for an hour; but the second request fails, if so wanted.
    fn cache(second_fails: bool, schedule: Schedule) -> Arc<SingleFlight> {
        let mut number = 0;
        let source = tower::service_fn(move |_: TokenRequest| {
            number += 1;
            let number = number;
            async move {
                sleep(SECOND).await;
                if number == 2 && second_fails {
                    return Err(Error::timeout(SECOND));
                }
                Ok(Token::new(format!("t{number}"))?.with_lifetime(SECOND * 3600))
            }
        });
        let reporter = Reporter::new(Names::default());
        Arc::new(SingleFlight::new(source, schedule, reporter))
    }

    /// A first token, due for refresh.
    async fn stale(second_fails: bool) -> (Arc<SingleFlight>, Arc<Held>) {
        let cache = cache(second_fails, Schedule::default());
        let first = cache.wait(Need::New).await.unwrap();
        advance(SECOND * 3100).await;
        (cache, first)
    }

    /// A request that the API rejected, each on a route of its own.
    fn rejected(held: &Held) -> Need<'static> {
        static NONE: LazyLock<Challenges> = LazyLock::new(Challenges::default);
        Need::Other {
            than: held.token.generation(),
            route: Route::new(held.landing + 100),
            is_retried: true,
            challenges: &NONE,
        }
    }

    /// Whether its rejection causes a token request, and the token before it is not used again.
    fn is_requested_anew(cache: &Arc<SingleFlight>, held: &Held) -> bool {
        matches!(cache.join(rejected(held), Caller::New), Joined::Wait(_))
    }

    /// Promise: R16
    #[tokio::test(start_paused = true)]
    async fn a_new_token_that_was_not_accepted_yet_gives_way_to_the_one_before_it() {
        let (cache, first) = stale(false).await;
        let second = cache.wait(Need::Fresh).await.unwrap();
        let Joined::Have(held) = cache.join(rejected(&second), Caller::New) else {
            panic!("the first is good");
        };
        assert_eq!(held.token.generation(), first.token.generation());
    }

    /// Promise: R16
    #[tokio::test(start_paused = true)]
    async fn a_new_token_that_was_accepted_is_replaced_when_it_is_rejected() {
        let (cache, _) = stale(false).await;
        let second = cache.wait(Need::Fresh).await.unwrap();
        cache.accepted(None, second.token.generation());
        assert!(is_requested_anew(&cache, &second));
    }

    /// Promise: R16
    #[tokio::test(start_paused = true)]
    async fn a_token_whose_rejection_caused_a_token_request_is_not_gone_back_to() {
        let (cache, first) = stale(false).await;
        let second = cache.wait(rejected(&first)).await.unwrap();
        assert!(is_requested_anew(&cache, &second));
    }

    /// Promise: R16
    #[tokio::test(start_paused = true)]
    async fn a_token_that_was_rejected_during_its_refresh_is_not_gone_back_to() {
        let (cache, first) = stale(false).await;
        assert!(cache.read(drop_token).is_some());
        assert!(!cache.is_being_replaced(first.token.generation()));
        let second = {
            let mut waits = task::spawn(cache.wait(rejected(&first)));
            assert_pending!(waits.poll());
            assert!(cache.is_being_replaced(first.token.generation()));
            waits.await.unwrap()
        };
        assert!(is_requested_anew(&cache, &second));
    }

    /// Promise: R16
    #[tokio::test(start_paused = true)]
    async fn a_token_that_was_rejected_after_its_refresh_is_not_gone_back_to() {
        let (cache, first) = stale(false).await;
        let second = cache.wait(Need::Fresh).await.unwrap();
        let late = cache.join(rejected(&first), Caller::New);
        assert!(matches!(late, Joined::Have(held) if held.landing == second.landing));
        assert!(is_requested_anew(&cache, &second));
    }

    /// Promise: F17
    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_is_polled_late_takes_what_came_after_its_failed_token_request() {
        let (cache, first) = stale(true).await;
        let mut late = task::spawn(cache.wait(rejected(&first)));
        assert_pending!(late.poll());
        cache.wait(Need::New).await.unwrap_err();
        advance(SECOND * 2).await;
        let third = cache.wait(Need::New).await.unwrap();
        assert_eq!(late.await.unwrap().landing, third.landing);
    }

    /// Promise: F11
    #[tokio::test(start_paused = true)]
    async fn a_flight_is_given_up_only_if_its_pilot_was_silent_to_the_end_and_leaves_nothing_behind()
     {
        let (cache, first) = stale(false).await;
        let Joined::Wait(flight) = cache.join(rejected(&first), Caller::New) else {
            panic!("it was rejected");
        };
        let changes = cache.changes();
        // Its pilot beat between the waiter's look and the lock.
        cache.give_up(&flight, flight.last_beat() - Duration::from_millis(1));
        assert!(cache.state().is_requesting() && !flight.is_over());

        cache.give_up(&flight, flight.last_beat());
        assert!(flight.is_over() && !cache.state().is_requesting());
        assert!(changes.has_changed().unwrap());
        assert!(!cache.is_being_replaced(first.token.generation()));
        assert!(cache.read(drop_token).is_some());
        assert!(cache.state().is_requesting(), "the next read refreshes");

        // And a late waiter of the first leaves the second alone.
        cache.give_up(&flight, flight.last_beat());
        assert!(cache.state().is_requesting());
    }

    /// A thousand reads at once are one look, and a process that stood still has time to go on.
    ///
    /// Promise: F11, F13
    #[test]
    fn reads_take_over_a_silent_refresh_after_a_first_look_and_some_grace() {
        let undriven = runtime();
        let schedule = Schedule {
            runtime: Some(Spawner::of(undriven.handle().clone())),
            ..Schedule::default()
        };
        let cache = cache(false, schedule.clone());
        runtime().block_on(async {
            let token = Token::new("t").unwrap().with_lifetime(SECOND * 3600);
            let now = Moment::now();
            let held = schedule.hold(token, None, now, now).unwrap();
            cache.current.store(Some(Arc::new(held)));
            advance(SECOND * 3100).await;
            let read_often = || (0..3).for_each(|_| assert!(cache.read(drop_token).is_some()));
            read_often();
            let first = cache.lock().flying.clone().unwrap();

            advance(SILENT_FOR - GRACE).await;
            first.beat(clock::steady());
            advance(SILENT_FOR).await;
            read_often();
            advance(GRACE - Duration::from_millis(1)).await;
            read_often();
            assert!(!first.is_over());
            // It is alive after all.
            first.beat(clock::steady());
            advance(SILENT_FOR - Duration::from_millis(1)).await;
            read_often();
            let twice = [(); 2].map(|()| cache.join(Need::Fresh, Caller::New));
            assert!(!first.is_over(), "{twice:?}");

            advance(SILENT_FOR).await;
            read_often();
            assert!(!first.is_over());
            advance(GRACE).await;
            read_often();
            assert!(first.is_over());
            let second = cache.lock().flying.clone().unwrap();
            assert!(!second.is(&first) && !second.is_over());
        });
    }

    fn drop_token(_: &Token) {}

    fn runtime() -> Runtime {
        let mut builder = Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    }
}
