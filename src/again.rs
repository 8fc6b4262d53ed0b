//! A request that may have to be sent again: what is recorded of it, and whether there is time.

use std::time::Duration;

use http::{Extensions, HeaderValue, Request, header::AUTHORIZATION, request::Parts};
use tokio::time::Instant;

use crate::{
    cache::Route,
    extension::{Deadline, NoRetry},
    replay::Replay,
    route,
};

/// A request as it was before the token was put on it, and a service to send it again.
pub(crate) struct Recorded<S, T> {
    service: S,
    head: Parts,
    tape: T,
    /// Known only for a request with a deadline.
    sent_at: Option<Instant>,
}

/// A request to send again, without a token as yet.
pub(crate) struct Again<S, B> {
    pub(crate) service: S,
    pub(crate) request: Request<B>,
    pub(crate) route: Route,
    budget: Option<Budget>,
}

/// A request to send, and what it takes to send it again, if it can be.
pub(crate) type Prepared<S, B, Rp> = (
    Request<<Rp as Replay<B>>::Body>,
    Option<Recorded<S, <Rp as Replay<B>>::Tape>>,
);

/// Puts the token on a request, and records it before, if it can be said again, for a service that `again` makes.
pub(crate) fn prepare<B, S, Rp: Replay<B>>(
    request: Request<B>,
    authorization: HeaderValue,
    replay: &Rp,
    again: impl FnOnce() -> S,
) -> Prepared<S, B, Rp> {
    let (mut head, body) = request.into_parts();
    let (body, recorded) = if head.extensions.get::<NoRetry>().is_some() {
        (replay.pass(body), None)
    } else {
        let (body, tape) = replay.record(body);
        let recorded = tape.map(|tape| Recorded {
            service: again(),
            head: head.clone(),
            tape,
            sent_at: deadline_of(&head.extensions).map(|_| Instant::now()),
        });
        (body, recorded)
    };
    head.headers.insert(AUTHORIZATION, authorization);
    (Request::from_parts(head, body), recorded)
}

impl<S, T> Recorded<S, T> {
    pub(crate) fn route(&self) -> Route {
        route::of(&self.head.method, &self.head.uri)
    }

    /// The request to send again; `None` if its body cannot be said again after all, or if there is no time for it.
    pub(crate) fn rewind<B, Rp: Replay<B, Tape = T>>(
        self,
        replay: &Rp,
    ) -> Option<Again<S, Rp::Body>> {
        let deadline = deadline_of(&self.head.extensions);
        let budget = deadline
            .zip(self.sent_at)
            .map(|(deadline, sent_at)| Budget {
                deadline,
                first_try: sent_at.elapsed(),
            });
        if budget.is_some_and(|budget| !budget.allows_another()) {
            return None;
        }
        let route = self.route();
        let body = replay.rewind(self.tape)?;
        Some(Again {
            service: self.service,
            request: Request::from_parts(self.head, body),
            route,
            budget,
        })
    }
}

impl<S, B> Again<S, B> {
    /// Whether there is still time for it.
    pub(crate) fn is_in_time(&self) -> bool {
        self.budget.is_none_or(Budget::allows_another)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.budget.map(|budget| budget.deadline)
    }

    /// When it must be on its way to be over in time.
    pub(crate) fn latest_start(&self) -> Option<Instant> {
        self.budget.map(Budget::latest_start)
    }
}

/// The time a request has, and what its first try took of it.
#[derive(Clone, Copy)]
struct Budget {
    deadline: Instant,
    first_try: Duration,
}

impl Budget {
    /// Whether a second try would be over in time, should it take as long as the first.
    fn allows_another(self) -> bool {
        Instant::now() < self.latest_start()
    }

    fn latest_start(self) -> Instant {
        let start = self.deadline.checked_sub(self.first_try);
        start.unwrap_or_else(Instant::now)
    }
}

/// What the request says of its own time.
pub(crate) fn deadline_of(extensions: &Extensions) -> Option<Instant> {
    extensions.get().map(|Deadline(at)| *at)
}
