//! A token request under way, as its waiters see it, and what it ends with.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    need::Held,
    rt::{AtomicU64, Instant, Ordering, Spawner, Timer},
};
use crate::{
    error::{Error, Requester},
    telemetry::Landed,
    token::Token,
    util::clock::steady,
};

/// What a caller gets.
pub(crate) type Outcome = Result<Arc<Held>, Error>;

/// How a token request ended, as its pilot tells it.
pub(super) enum Ending {
    Token(Token),
    Failed(Error),
    /// It was cut off, which says nothing of the server: a caller that still has time starts anew.
    Cut(Error),
}

/// What the waiters of a flight are told.
#[derive(Clone, Debug)]
pub(super) enum Landing {
    Held(Arc<Held>),
    Failed {
        error: Error,
        /// No token request is made until then.
        until: Instant,
    },
    Cut(Error),
}

impl Landing {
    /// The same for operators.
    pub(super) fn told(&self) -> Landed<'_> {
        match self {
            Self::Held(held) => Landed::Token {
                token: &held.token,
                ends_at: held.ends_at,
            },
            Self::Failed { error, until } => Landed::Failed {
                error,
                until: *until,
            },
            Self::Cut(error) => Landed::Cut(error),
        }
    }
}

/// A flight under way. Dropping it changes nothing for the flight or for its waiters.
#[derive(Clone, Debug)]
pub(super) struct Flight(Arc<UnderWay>);

#[derive(Debug)]
struct UnderWay {
    tell: watch::Sender<Option<Landing>>,
    /// When its pilot was polled last, in nanoseconds since it took off.
    beat: AtomicU64,
    /// The beat since which a caller that does not wait found it silent.
    silent_since: AtomicU64,
    took_off: Instant,
    requester: Arc<OnceLock<Requester>>,
}

impl Flight {
    /// `requester` is that of its token request.
    pub(super) fn new(now: Instant, requester: Arc<OnceLock<Requester>>) -> Self {
        Self(Arc::new(UnderWay {
            tell: watch::Sender::new(None),
            beat: AtomicU64::new(0),
            silent_since: AtomicU64::new(u64::MAX),
            took_off: now,
            requester,
        }))
    }

    /// An error of its token request, wherever it was made.
    pub(super) fn error(&self, error: Error) -> Error {
        match self.0.requester.get() {
            Some(requester) => error.of(requester),
            None => error,
        }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Its pilot is alive.
    pub(super) fn beat(&self, now: Instant) {
        self.0
            .beat
            .store(self.since_take_off(now), Ordering::Relaxed);
    }

    fn since_take_off(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.0.took_off).as_nanos();
        since.try_into().unwrap_or(u64::MAX)
    }

    /// When its pilot was alive last, as far as is known here.
    pub(super) fn last_beat(&self) -> Instant {
        self.0.took_off + Duration::from_nanos(self.0.beat.load(Ordering::Relaxed))
    }

    /// Whether it was found silent since this beat before. From now on it was.
    pub(super) fn was_silent_since(&self, beat: Instant) -> bool {
        let since = self.since_take_off(beat);
        self.0.silent_since.swap(since, Ordering::Relaxed) == since
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.tell.borrow().is_some()
    }

    /// Tells everyone who waits. There may be none, which is no error.
    pub(super) fn tell(&self, landing: Landing) {
        self.0.tell.send_replace(Some(landing));
    }

    /// Waits for its end, on the waiter's own runtime.
    ///
    /// A flight whose pilot was silent for [`SILENT_FOR`] is only suspected to be stuck. That settles the interleaving in
    /// which a whole process stood still, and the waiter is polled before the pilot: within [`GRACE`] the pilot beats, if the
    /// two share a runtime.
    pub(super) async fn landed(&self, patience: &mut Patience) -> Waited {
        let mut told = self.0.tell.subscribe();
        let mut landed = pin!(async move {
            let landing = told.wait_for(Option::is_some).await;
            // The flight is held here, and its sender with it.
            landing.ok().and_then(|landing| landing.clone())
        });
        let mut suspicion: Option<Suspicion> = None;
        poll_fn(|cx| {
            if let Poll::Ready(Some(landing)) = landed.as_mut().poll(cx) {
                return Poll::Ready(Waited::Landed(landing));
            }
            loop {
                let now = steady();
                patience.make_up_for_standstill(now);
                if now >= patience.until {
                    return Poll::Ready(Waited::OutOfTime);
                }
                let beat = self.last_beat();
                let look_again = match suspicion.filter(|suspicion| suspicion.beat == beat) {
                    Some(suspicion) if now >= suspicion.until => {
                        return Poll::Ready(Waited::Silent(beat));
                    }
                    Some(suspicion) => suspicion.until,
                    None if now >= beat + SILENT_FOR => {
                        let until = now + GRACE;
                        suspicion = Some(Suspicion { beat, until });
                        until
                    }
                    None => beat + SILENT_FOR,
                };
                ready!(patience.poll_at(look_again, cx));
            }
        })
        .await
    }
}

#[derive(Clone, Copy)]
struct Suspicion {
    beat: Instant,
    until: Instant,
}

/// How a wait for a flight ended.
pub(super) enum Waited {
    Landed(Landing),
    /// Its pilot is not polled. It was alive last then.
    Silent(Instant),
    /// The waiter's own time is over.
    OutOfTime,
}

/// How long a waiter waits in all, and a timer of its own runtime to wait by.
pub(super) struct Patience {
    timer: Timer,
    until: Instant,
    /// What the timer is set to, while it is.
    wakes_at: Option<Instant>,
}

impl Patience {
    /// `None` where the runtime has no timers.
    pub(super) fn new(spawner: &Spawner, within: Duration) -> Option<Self> {
        let now = steady();
        Some(Self {
            timer: spawner.timer(now + SILENT_FOR)?,
            // A flight that began with this waiter ends a little before its waiter does.
            until: now + within + GRACE,
            wakes_at: None,
        })
    }

    fn poll_at(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let at = at.min(self.until);
        self.wakes_at = Some(at);
        self.timer.poll_at(at, cx)
    }

    /// A timer that goes off late tells that the waiter's own runtime stood still. That time does not count.
    fn make_up_for_standstill(&mut self, now: Instant) {
        let Some(wakes_at) = self.wakes_at.take() else {
            return;
        };
        let late_by = now.saturating_duration_since(wakes_at);
        if late_by > SILENT_FOR {
            self.until += late_by;
        }
    }
}

/// The pilot beats at least so often.
pub(super) const BEAT: Duration = Duration::from_millis(200);

/// A flight without a beat for this long may be stuck.
pub(super) const SILENT_FOR: Duration = Duration::from_millis(600);

/// And it is, if there is none for this long after a first look.
pub(super) const GRACE: Duration = Duration::from_millis(50);

#[cfg(all(test, not(shuttle)))]
mod tests {
    use tokio::time::advance;
    use tokio_test::task;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MILLISECOND: Duration = Duration::from_millis(1);

    fn waits_for(within: Duration) -> (Flight, Patience) {
        let patience = Patience::new(&Spawner::current().unwrap(), within).unwrap();
        (Flight::new(steady(), Arc::default()), patience)
    }

    /// A process that stood still may poll the waiter first.
    ///
    /// Promise: F13, F11
    #[tokio::test(start_paused = true)]
    async fn a_silent_pilot_has_some_grace_and_a_beat_within_it_clears_it() {
        let (flight, mut patience) = waits_for(SECOND * 10);
        let mut waits = task::spawn(flight.landed(&mut patience));
        assert!(waits.poll().is_pending());
        advance(SILENT_FOR).await;
        assert!(waits.poll().is_pending());

        flight.beat(steady());
        for time in [GRACE, SILENT_FOR - GRACE, GRACE - MILLISECOND] {
            advance(time).await;
            assert!(waits.poll().is_pending(), "{time:?}");
        }
        advance(MILLISECOND).await;
        let Poll::Ready(Waited::Silent(beat)) = waits.poll() else {
            panic!("it is silent");
        };
        assert_eq!(beat, flight.last_beat());
    }

    /// Its timer says so. One that is late as on a busy machine says nothing.
    ///
    /// Promise: F13, F7
    #[tokio::test(start_paused = true)]
    async fn the_time_that_a_waiters_own_runtime_stood_still_is_not_counted() {
        let (flight, mut patience) = waits_for(SECOND * 2);
        let mut waits = task::spawn(flight.landed(&mut patience));
        assert!(waits.poll().is_pending());
        // It was to look again after 600 ms: 2400 ms are not counted, of 2 s and the grace.
        for time in [3000, 650, 600, 190] {
            advance(MILLISECOND * time).await;
            flight.beat(steady());
            assert!(waits.poll().is_pending(), "{time}");
        }
        advance(MILLISECOND * 10).await;
        assert!(matches!(waits.poll(), Poll::Ready(Waited::OutOfTime)));
    }
}
