//! One token request under way: the task that makes it, and the handle that callers wait with.

use std::{pin::Pin, sync::Arc, thread, time::Duration};

use tokio::sync::watch;
use tower::ServiceExt;

use super::need::Held;
use crate::{
    cache::rt::timeout,
    error::Error,
    telemetry,
    token::{Token, TokenRequest, TokenSource},
    util::clock::{self, Moment},
};

/// What a flight ends with, the same for every waiter.
pub(crate) type Outcome = Result<Arc<Held>, Error>;

/// A flight under way, as a waiter sees it. Dropping it changes nothing for the flight or for the other waiters.
#[derive(Clone, Debug)]
pub(super) struct Flight(watch::Receiver<Option<Outcome>>);

impl Flight {
    /// A flight, and what its pilot tells its end by.
    pub(super) fn new() -> (watch::Sender<Option<Outcome>>, Self) {
        let (tell, told) = watch::channel(None);
        (tell, Self(told))
    }

    /// Waits for the end of the flight.
    pub(super) async fn landed(mut self) -> Outcome {
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            // A pilot tells before it is gone, so this is not reached. It is an answer all the same.
            Ok(None) | Err(_) => Err(Error::shut_down()),
        }
    }
}

/// Flies one token request. However its task ends (done, panicked, dropped by its runtime) its destructor lands the flight,
/// so no waiter is left waiting and the source is always back.
pub(super) struct Pilot<L: Land> {
    /// The source, and who takes it back. `None` only within the destructor.
    aboard: Option<(Box<dyn Source>, L)>,
    tell: watch::Sender<Option<Outcome>>,
    within: Duration,
    started: Moment,
    /// `None` until the token request is over.
    result: Option<Result<Token, Error>>,
}

/// Takes the source back with what the token request gave and when it was started, and gives what the waiters are told.
pub(super) trait Land:
    FnOnce(Box<dyn Source>, Result<Token, Error>, Moment) -> Outcome
{
}

impl<L: FnOnce(Box<dyn Source>, Result<Token, Error>, Moment) -> Outcome> Land for L {}

impl<L: Land> Pilot<L> {
    pub(super) fn new(
        source: Box<dyn Source>,
        tell: watch::Sender<Option<Outcome>>,
        within: Duration,
        land: L,
    ) -> Self {
        Self {
            aboard: Some((source, land)),
            tell,
            within,
            started: Moment::now(),
            result: None,
        }
    }

    pub(super) async fn fly(mut self, request: TokenRequest) {
        if let Some((source, _)) = &mut self.aboard {
            let result = timeout(self.within, source.request(request)).await;
            self.result = Some(result.unwrap_or_else(|_| Err(Error::timeout(self.within))));
        }
    }
}

impl<L: Land> Drop for Pilot<L> {
    fn drop(&mut self) {
        let Some((source, land)) = self.aboard.take() else {
            return;
        };
        let result = self.result.take().unwrap_or_else(|| {
            Err(if thread::panicking() {
                Error::panicked()
            } else {
                Error::shut_down()
            })
        });
        let outcome = land(source, result, self.started);
        let took = clock::steady().saturating_duration_since(self.started.steady());
        telemetry::token_request_over(outcome.as_deref().map(|held| &held.token), took);
        // Publish before waking: a woken waiter whose token is rejected must find this one in the cache, not the last.
        // Nobody may be waiting any more, which is no error.
        let _ = self.tell.send(Some(outcome));
    }
}

/// A [`TokenSource`] without its type.
pub(super) trait Source: Send {
    fn request(&mut self, request: TokenRequest) -> Answer<'_>;
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Token, Error>> + Send + 'a>>;

impl<S: TokenSource> Source for S {
    fn request(&mut self, request: TokenRequest) -> Answer<'_> {
        let ours = |error: S::Error| Error::from_source(error.into());
        Box::pin(async move {
            // Two statements, so that no error that is not `Send` is kept across the second await.
            let ready = self.ready().await.map_err(ours)?;
            ready.call(request).await.map_err(ours)
        })
    }
}
