//! One token request under way: the task that makes it.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use tower::BoxError;

use super::{
    landing::{BEAT, Ending, Flight, Landing},
    rt::{Instant, Spawner, Timer},
};
use crate::{
    error::Error,
    telemetry::{Reporter, RequestReport},
    token::{Reason, Token, TokenRequest, TokenSource},
    util::clock::{Moment, steady},
};

/// Flies one token request. However its task ends (done, panicked, dropped by its runtime) its destructor lands the flight,
/// so no waiter is left waiting.
///
/// It does not own the source, which stays in the slot but for the moments in which it is polled. So the caller that takes over from
/// a pilot that is not polled finds it there.
pub(super) struct Pilot<B: Base> {
    base: Arc<B>,
    flight: Flight,
    spawner: Spawner,
    within: Duration,
    started: Moment,
    report: RequestReport,
    /// `None` until the token request is over.
    ending: Option<Ending>,
}

impl<B: Base> Pilot<B> {
    pub(super) fn new(
        base: Arc<B>,
        flight: Flight,
        spawner: Spawner,
        within: Duration,
        report: RequestReport,
    ) -> Self {
        Self {
            base,
            flight,
            spawner,
            within,
            started: Moment::now(),
            report,
            ending: None,
        }
    }

    /// Ends it before it has begun.
    pub(super) fn cut(mut self, error: Error) {
        self.ending = Some(Ending::Cut(error));
    }

    /// Makes the token request.
    ///
    /// It beats: it is polled every [`BEAT`] at the latest, and says so, as long as its runtime is driven. A gap in its own
    /// beats tells it that its runtime, or the whole process, stood still: then a request that did not come to a definite end
    /// says nothing of the server.
    pub(super) async fn fly(mut self, request: TokenRequest, mut timer: Timer) {
        let deadline = self.started.steady() + self.within;
        let mut last_beat = self.started.steady();
        let mut stood_still = false;
        let mut attempts = Box::pin(self.attempts(request.due(deadline), deadline));
        let result = poll_fn(|cx| {
            loop {
                let now = steady();
                stood_still |= now.saturating_duration_since(last_beat) > STOOD_STILL;
                last_beat = now;
                self.flight.beat(now);
                // A caller took over: the connection is of no use any more.
                if self.flight.is_over() {
                    return Poll::Ready(Err(Error::interrupted()));
                }
                let polled = self.report.within(|| attempts.as_mut().poll(cx));
                if let Poll::Ready(result) = polled {
                    return Poll::Ready(result);
                }
                if now >= deadline {
                    return Poll::Ready(Err(Error::timeout(self.within)));
                }
                if timer.poll_at((now + BEAT).min(deadline), cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
        drop(attempts);
        self.ending = Some(match result {
            Ok((token, started)) => {
                self.started = started;
                Ending::Token(token)
            }
            Err(error) if stood_still && error.is_unanswered() => Ending::Cut(Error::interrupted()),
            Err(error) => Ending::Failed(self.flight.error(error)),
        });
    }

    /// One attempt; or two, where a caller waits for a first token and the server could not be reached, or said that it
    /// cannot serve just now.
    /// A token's life is counted from before the attempt that brought it.
    async fn attempts(
        &self,
        request: TokenRequest,
        deadline: Instant,
    ) -> Result<(Token, Moment), Error> {
        let first = self.attempt(request.clone()).await;
        let error = match first {
            Ok(token) => return Ok((token, self.started)),
            Err(error) => error,
        };
        if request.reason() != Reason::Cold || !error.is_worth_another_attempt() {
            return Err(error);
        }
        let again_at = steady() + PAUSE.mul_f64(1.0 + fastrand::f64());
        let Some(mut pause) = self.spawner.timer(again_at).filter(|_| again_at < deadline) else {
            return Err(error);
        };
        self.report.another_attempt(&error);
        poll_fn(|cx| pause.poll_at(again_at, cx)).await;
        let started = Moment::now();
        Ok((self.attempt(request).await?, started))
    }

    /// One call of the source.
    async fn attempt(&self, request: TokenRequest) -> Result<Token, Error> {
        let mut request = Some(request);
        let answer = poll_fn(|cx| self.base.poll_source(&self.flight, &mut request, cx)).await?;
        answer.await
    }
}

impl<B: Base> Drop for Pilot<B> {
    fn drop(&mut self) {
        let ending = self.ending.take().unwrap_or_else(|| {
            if thread::panicking() {
                Ending::Failed(self.flight.error(Error::panicked()))
            } else {
                // Its runtime is shutting down, which says nothing of the server either.
                Ending::Cut(Error::interrupted())
            }
        });
        let Some(landing) = self.base.land(&self.flight, ending, self.started) else {
            return self.report.given_up();
        };
        let took = steady().saturating_duration_since(self.started.steady());
        let reporter = self.base.reporter();
        reporter.landed(&self.report, landing.told(), took);
        // Publish before waking: a woken waiter whose token is rejected must find this one in the cache, not the last.
        self.flight.tell(landing);
    }
}

/// Where pilots start and land.
pub(super) trait Base {
    /// What tells operators of the cache.
    fn reporter(&self) -> &Reporter;

    /// Calls the source for this flight as soon as it is ready. Pending for ever if the flight was given up.
    fn poll_source(
        &self,
        flight: &Flight,
        request: &mut Option<TokenRequest>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answer, Error>>;

    /// Ends this flight, and gives what its waiters are told. `None` if it was given up before.
    fn land(&self, flight: &Flight, ending: Ending, started: Moment) -> Option<Landing>;
}

/// A [`TokenSource`] without its type.
pub(super) trait Source: Send {
    /// Calls it as soon as it is ready.
    fn poll_call(
        &mut self,
        request: &mut Option<TokenRequest>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answer, Error>>;
}

pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Token, Error>> + Send>>;

impl<S: TokenSource> Source for S {
    fn poll_call(
        &mut self,
        request: &mut Option<TokenRequest>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answer, Error>> {
        ready!(self.poll_ready(cx)).map_err(ours)?;
        let Some(request) = request.take() else {
            return Poll::Pending;
        };
        let answer = self.call(request);
        Poll::Ready(Ok(Box::pin(async move { answer.await.map_err(ours) })))
    }
}

fn ours(error: impl Into<BoxError>) -> Error {
    Error::from_source(error.into())
}

/// A gap between two beats that no busy runtime makes.
const STOOD_STILL: Duration = Duration::from_millis(600);

/// Before the second attempt: this, and up to as much again.
const PAUSE: Duration = Duration::from_millis(100);
