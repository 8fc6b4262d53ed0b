//! A request that may have to be sent again: what is recorded of it, and whether there is time.

use std::time::Duration;

use http::{Extensions, HeaderValue, Request, Response, StatusCode, header::WWW_AUTHENTICATE};
use tokio::time::Instant;

use crate::{
    cache::{Route, TokenCache},
    middleware::{
        carrier::Carrier,
        extension::{Deadline, NoRetry, NotRetried},
        head::Snapshot,
        route,
        template::Template,
    },
    replay::Replay,
    token::challenge::Challenges,
    unauthorized::{ResponseHead, Unauthorized},
};

/// What a request under way needs to know after it was sent. Each request has its own copy: a handle to the cache of its
/// credential, and values that are mostly nothing at all.
#[derive(Clone, Debug)]
pub(crate) struct Rules<U, Rp> {
    pub(crate) cache: TokenCache,
    pub(crate) unauthorized: U,
    pub(crate) replay: Rp,
    pub(crate) carrier: Carrier,
}

impl<U: Unauthorized, Rp> Rules<U, Rp> {
    /// What the API said of the token `sent`, if it rejected it, or asks for one that its source can get.
    pub(crate) fn rejection<R>(&self, response: &Response<R>, sent: u64) -> Option<Challenges> {
        let headers = response.headers();
        let head = ResponseHead::from(response);
        if self.unauthorized.is_rejection(&head) {
            return Some(Challenges::of(headers));
        }
        let may_challenge = matches!(
            response.status(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        );
        if !may_challenge || !headers.contains_key(WWW_AUTHENTICATE) {
            return None;
        }
        let challenges = Challenges::of(headers);
        let can_answer = self.cache.challenged(sent, &challenges);
        can_answer.then_some(challenges)
    }
}

/// A request as it was before the token was put on it, and the template of a service to send it again.
pub(crate) struct Recorded<S, T> {
    template: Template<S>,
    head: Snapshot,
    recording: T,
    /// Known only for a request with a deadline.
    sent_at: Option<Instant>,
}

/// A request to send again, without a token as yet. Boxed, so that the usual request has no room for it in its future.
pub(crate) struct Again<S, B> {
    pub(crate) service: S,
    pub(crate) request: Request<B>,
    pub(crate) route: Route,
    budget: Option<Budget>,
}

/// A request to send, what it takes to send it again, if it can be, and its route, while it is looked at.
pub(crate) type Prepared<S, B, Rp> = (
    Request<<Rp as Replay<B>>::Body>,
    Result<Recorded<S, <Rp as Replay<B>>::Recording>, NotRetried>,
    Option<Route>,
);

/// Puts the token on a request, and records it before, if it can be replayed.
// Inlined, for else the request is copied twice more on its way through.
#[inline]
pub(crate) fn prepare<B, S, U, Rp: Replay<B>>(
    request: Request<B>,
    authorization: HeaderValue,
    rules: &Rules<U, Rp>,
    is_looked_at: bool,
    template: impl FnOnce() -> Template<S>,
) -> Prepared<S, B, Rp> {
    let (mut head, body) = request.into_parts();
    let Rules {
        replay, carrier, ..
    } = rules;
    let (body, recorded) = if head.extensions.get::<NoRetry>().is_some() {
        (replay.pass(body), Err(NotRetried::OptedOut))
    } else {
        let (body, recording) = replay.record(&head, body);
        let recorded = recording.map(|recording| Recorded {
            template: template(),
            head: Snapshot::of(&head),
            recording,
            sent_at: deadline_of(&head.extensions).map(|_| Instant::now()),
        });
        (body, recorded.ok_or(NotRetried::CannotBeReplayed))
    };
    // Reading the path is a good part of what a request costs, and hardly any route is asked for.
    let route = is_looked_at.then(|| route::of(&head.method, &head.uri));
    carrier.put(&mut head.headers, authorization);
    (Request::from_parts(head, body), recorded, route)
}

impl<S: Clone, T> Recorded<S, T> {
    /// The request to send again, or why there is none.
    pub(crate) fn rewind<B, Rp: Replay<B, Recording = T>>(
        self,
        replay: &Rp,
    ) -> Result<Box<Again<S, Rp::Body>>, NotRetried> {
        let deadline = deadline_of(self.head.extensions());
        let budget = deadline
            .zip(self.sent_at)
            .map(|(deadline, sent_at)| Budget {
                deadline,
                first_try: sent_at.elapsed(),
            });
        if budget.is_some_and(|budget| !budget.allows_another()) {
            return Err(NotRetried::NoTimeLeft);
        }
        let restored = self.head.restore();
        let head = restored.ok_or(NotRetried::CannotBeReplayed)?;
        let route = route::of(&head.method, &head.uri);
        let body = replay.rewind(self.recording);
        let body = body.ok_or(NotRetried::CannotBeReplayed)?;
        Ok(Box::new(Again {
            service: self.template.instance(),
            request: Request::from_parts(head, body),
            route,
            budget,
        }))
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
    /// Whether a retry would be over in time, should it take as long as the first.
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
