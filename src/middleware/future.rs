//! A request under way, with at most one retry.

use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower::BoxError;
use tower_service::Service;

use crate::{
    cache::{Held, Route, TokenCache},
    error::Error,
    middleware::{
        attempt::{Again, Recorded, Rules, deadline_of, prepare},
        drain::Drain,
        extension::{MinValidity, NotRetried},
        template::Template,
    },
    replay::Replay,
    telemetry,
    unauthorized::Unauthorized,
    util::timer::{timer, until},
};

pin_project! {
    /// Future of [`BearerAuth`](crate::BearerAuth).
    ///
    /// # Cancellation
    /// Dropping it cancels the request, but never the token request that it waits for.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, R, U, Rp>
    where
        S: Service<Request<Rp::Body>>,
        Rp: Replay<B>,
    {
        #[pin]
        state: State<S, B, R, U, Rp>,
    }
}

pin_project! {
    /// ```text
    ///  Cold ──token──▶ First ──rejected──▶ Replacing ──another──▶ Draining ──▶ Readying ──ready──▶ Second ──▶ answer
    ///   │ none           │ not rejected        │ none      ◀───────aged───────────┘
    ///   ▼                ▼                    ▼
    ///  error           answer            the rejection
    /// ```
    /// A request with a valid token starts at `First`. If it can be sent only once and its token was just rejected, it starts
    /// at `HeldBack`, which continues like `Cold`. A request that needs no token stays in `Passing`; one that must not be sent
    /// stays in `NotAllowed`. Values that are taken out of a state are in an `Option`.
    #[project = StateProj]
    enum State<S, B, R, U, Rp>
    where
        S: Service<Request<Rp::Body>>,
        Rp: Replay<B>,
    {
        // There is no token to send: waits for one and holds the ready service.
        Cold {
            wait: Wait<Arc<Held>>,
            first: Option<Box<(S, Request<B>)>>,
            template: Template<S>,
            rules: Rules<U, Rp>,
        },
        // It can be sent only once, and its token was rejected: waits for another and holds the ready service.
        HeldBack {
            wait: Wait<Arc<Held>>,
            first: Option<Box<(S, Request<Rp::Body>)>>,
            route: Route,
            reason: NotRetried,
            rules: Rules<U, Rp>,
        },
        // The first attempt is under way with the token `sent`. Without `again` there is no retry. The route is recorded
        // only while the cache needs it.
        First {
            #[pin]
            response: S::Future,
            sent: u64,
            route: Option<Route>,
            again: Result<Recorded<S, Rp::Recording>, NotRetried>,
            rules: Rules<U, Rp>,
        },
        // The token was rejected: waits for another and holds the rejection in case none comes.
        Replacing {
            wait: Wait<Option<Arc<Held>>>,
            rejection: Option<Response<R>>,
            again: Option<Box<Again<S, Rp::Body>>>,
            rules: Rules<U, Rp>,
        },
        // Another token is available: reads the short rest of the rejection's body.
        Draining {
            #[pin]
            drain: Drain<R>,
            again: Option<Box<Again<S, Rp::Body>>>,
            rules: Rules<U, Rp>,
        },
        // Waits until the service is ready for the retry.
        Readying {
            again: Option<Box<Again<S, Rp::Body>>>,
            deadline: Option<Pin<Box<Sleep>>>,
            rules: Rules<U, Rp>,
        },
        // The retry is under way. The caller gets its response, whatever it is.
        Second {
            #[pin]
            response: S::Future,
            sent: u64,
            route: Route,
            deadline: Option<Pin<Box<Sleep>>>,
            rules: Rules<U, Rp>,
        },
        // Needs no token.
        Passing {
            #[pin]
            response: S::Future,
        },
        // Must not be sent.
        NotAllowed { error: Option<Error> },
    }
}

/// Boxed, as are the service and the request that wait with it: requests wait for a token about once per expiry, not each time.
pub(crate) type Wait<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// Waits no longer than until `deadline`, if there is one. If there is none, the box holds nothing but `wait`: requests may
/// wait by the thousand.
pub(crate) fn within<T>(
    deadline: Option<Instant>,
    wait: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Wait<T> {
    match deadline {
        None => Box::pin(wait),
        Some(deadline) => Box::pin(async move {
            let outcome = until(deadline, wait).await;
            outcome.unwrap_or_else(|| Err(Error::deadline()))
        }),
    }
}

/// Adds to the rejection why the request was not retried.
fn tell_why<R>(
    rejection: &mut Response<R>,
    reason: NotRetried,
    error: Option<Error>,
    cache: &TokenCache,
) {
    cache.reporter().not_retried(reason.name(), error.as_ref());
    rejection.extensions_mut().insert(reason);
    if let Some(error) = error {
        rejection.extensions_mut().insert(error);
    }
}

/// Ready at the deadline; never if there is none.
pub(crate) fn poll_deadline(
    deadline: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    match deadline {
        Some(deadline) => deadline.as_mut().poll(cx),
        None => Poll::Pending,
    }
}

impl<S, B, R, U, Rp> ResponseFuture<S, B, R, U, Rp>
where
    S: Service<Request<Rp::Body>>,
    Rp: Replay<B>,
{
    /// A request that needs no token.
    pub(crate) fn pass(response: S::Future) -> Self {
        Self {
            state: State::Passing { response },
        }
    }

    /// A request that is not sent.
    pub(crate) fn deny(error: Error) -> Self {
        Self {
            state: State::NotAllowed { error: Some(error) },
        }
    }

    /// A request that waits for a token, or for one that lasts. `ready` is ready, and sends it with that token.
    pub(crate) fn cold(
        ready: S,
        template: Template<S>,
        request: Request<B>,
        rules: Rules<U, Rp>,
    ) -> Self {
        let cache = rules.cache.clone();
        let deadline = deadline_of(request.extensions());
        let least = request.extensions().get().map(|MinValidity(least)| *least);
        // Best effort: waiting for a token that lasts takes at most half of the time left.
        let half = deadline.map(|at| {
            let now = Instant::now();
            now + at.saturating_duration_since(now) / 2
        });
        let wait = match least {
            None => within(deadline, async move { cache.wait_for_usable().await }),
            Some(least) => within(deadline, async move {
                cache.wait_for_lasting(least, half).await
            }),
        };
        Self {
            state: State::Cold {
                wait,
                first: Some(Box::new((ready, request))),
                template,
                rules,
            },
        }
    }

    /// A request that can be sent only once, and waits for the token that replaces `rejected`.
    pub(crate) fn held_back(
        ready: S,
        request: Request<Rp::Body>,
        rejected: u64,
        route: Route,
        reason: NotRetried,
        rules: Rules<U, Rp>,
    ) -> Self {
        let cache = rules.cache.clone();
        let deadline = deadline_of(request.extensions());
        let wait = async move { cache.wait_for_another(rejected, route).await };
        Self {
            state: State::HeldBack {
                wait: within(deadline, wait),
                first: Some(Box::new((ready, request))),
                route,
                reason,
                rules,
            },
        }
    }

    /// A request that was sent with the token `sent`.
    pub(crate) fn first(
        response: S::Future,
        sent: u64,
        route: Option<Route>,
        again: Result<Recorded<S, Rp::Recording>, NotRetried>,
        rules: Rules<U, Rp>,
    ) -> Self {
        Self {
            state: State::First {
                response,
                sent,
                route,
                again,
                rules,
            },
        }
    }
}

impl<S, B, R, U, Rp> Future for ResponseFuture<S, B, R, U, Rp>
where
    S: Service<Request<Rp::Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: Body,
    U: Unauthorized + Clone,
    Rp: Replay<B> + Clone,
{
    type Output = Result<Response<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Cold {
                    wait,
                    first,
                    template,
                    rules,
                } => {
                    let outcome = ready!(wait.as_mut().poll(cx));
                    // Taken on success and on failure: without a token, the body and the ready service are dropped now, not
                    // when the caller drops this future.
                    let (mut service, request) = *first.take().ok_or(POLLED_AFTER_END)?;
                    let held = outcome?;
                    let authorization = held.token.authorization().clone();
                    let is_looked_at = rules.cache.is_looking();
                    let template = || template.clone();
                    let (request, again, route) =
                        prepare(request, authorization, rules, is_looked_at, template);
                    State::First {
                        // The instance that was made ready before `BearerAuth::call` put it here.
                        response: service.call(request),
                        sent: held.token.generation(),
                        route,
                        again,
                        rules: rules.clone(),
                    }
                }

                StateProj::HeldBack {
                    wait,
                    first,
                    route,
                    reason,
                    rules,
                } => {
                    let held = ready!(wait.as_mut().poll(cx))?;
                    let (mut service, mut request) = *first.take().ok_or(POLLED_AFTER_END)?;
                    let authorization = held.token.authorization().clone();
                    rules.carrier.put(request.headers_mut(), authorization);
                    State::First {
                        response: service.call(request),
                        sent: held.token.generation(),
                        route: Some(*route),
                        again: Err(*reason),
                        rules: rules.clone(),
                    }
                }

                StateProj::First {
                    response,
                    sent,
                    route,
                    again,
                    rules,
                } => {
                    let mut response = ready!(response.poll(cx)).map_err(Into::into)?;
                    let (sent, route) = (*sent, *route);
                    let Some(challenges) = rules.rejection(&response, sent) else {
                        rules.cache.accepted(route, sent);
                        return Poll::Ready(Ok(response));
                    };
                    let recorded = mem::replace(again, Err(NotRetried::CannotBeReplayed));
                    let again = recorded.and_then(|recorded| recorded.rewind(&rules.replay));
                    rules.cache.reporter().rejected(sent, again.is_ok());
                    let again = match again {
                        Ok(again) => again,
                        Err(reason) => {
                            // Another token does not help this request, but the next one.
                            let route = route.unwrap_or(Route::UNSEEN);
                            rules.cache.rejected_for_good(sent, route, &challenges);
                            tell_why(&mut response, reason, None, &rules.cache);
                            return Poll::Ready(Ok(response));
                        }
                    };
                    let (cache, route, deadline) =
                        (rules.cache.clone(), again.route, again.deadline());
                    State::Replacing {
                        wait: within(deadline, async move {
                            cache.rejected(sent, route, &challenges).await
                        }),
                        rejection: Some(response),
                        again: Some(again),
                        rules: rules.clone(),
                    }
                }

                StateProj::Replacing {
                    wait,
                    rejection,
                    again,
                    rules,
                } => {
                    let mut outcome = ready!(wait.as_mut().poll(cx));
                    let again = again.take().ok_or(POLLED_AFTER_END)?;
                    let is_in_time = again.is_in_time();
                    if !is_in_time {
                        outcome = outcome.and(Err(Error::deadline()));
                    }
                    match outcome {
                        // The rejection is read or dropped before the wait for readiness: its body may hold the connection
                        // or the permit that the retry needs.
                        Ok(Some(_another)) => {
                            let rejection = rejection.take();
                            let latest = again.latest_start();
                            match rejection.and_then(|rejection| Drain::of(rejection, latest)) {
                                Some(drain) => State::Draining {
                                    drain,
                                    again: Some(again),
                                    rules: rules.clone(),
                                },
                                None => State::readying(again, rules.clone()),
                            }
                        }
                        Ok(None) => {
                            let mut rejection = rejection.take().ok_or(POLLED_AFTER_END)?;
                            tell_why(&mut rejection, NotRetried::SameToken, None, &rules.cache);
                            return Poll::Ready(Ok(rejection));
                        }
                        Err(error) => {
                            let Some(mut rejection) = rejection.take() else {
                                return Poll::Ready(Err(error.into()));
                            };
                            let reason = match is_in_time {
                                true => NotRetried::because_of(&error),
                                false => NotRetried::NoTimeLeft,
                            };
                            tell_why(&mut rejection, reason, Some(error), &rules.cache);
                            return Poll::Ready(Ok(rejection));
                        }
                    }
                }

                StateProj::Draining {
                    drain,
                    again,
                    rules,
                } => {
                    ready!(drain.poll(cx));
                    let again = again.take().ok_or(POLLED_AFTER_END)?;
                    State::readying(again, rules.clone())
                }

                StateProj::Readying {
                    again,
                    deadline,
                    rules,
                } => {
                    let ready = again.as_mut().ok_or(POLLED_AFTER_END)?;
                    // An instance of the template: it is not ready yet.
                    let Poll::Ready(readiness) = ready.service.poll_ready(cx) else {
                        ready!(poll_deadline(deadline, cx));
                        return Poll::Ready(Err(Error::deadline().into()));
                    };
                    readiness.map_err(Into::into)?;
                    let mut again = again.take().ok_or(POLLED_AFTER_END)?;
                    // Read only now: the token may have expired during the wait.
                    let token = rules
                        .cache
                        .read(|token| (token.authorization().clone(), token.generation()));
                    match token {
                        Some((authorization, sent)) => {
                            let headers = again.request.headers_mut();
                            rules.carrier.put(headers, authorization);
                            State::Second {
                                response: again.service.call(again.request),
                                sent,
                                route: again.route,
                                deadline: deadline.take(),
                                rules: rules.clone(),
                            }
                        }
                        None => {
                            let (cache, deadline) = (rules.cache.clone(), again.deadline());
                            State::Replacing {
                                wait: within(deadline, async move {
                                    cache.wait_for_usable().await.map(Some)
                                }),
                                rejection: None,
                                again: Some(again),
                                rules: rules.clone(),
                            }
                        }
                    }
                }

                StateProj::Second {
                    response,
                    sent,
                    route,
                    deadline,
                    rules,
                } => {
                    if let Poll::Ready(response) = response.poll(cx) {
                        let response = response.map_err(Into::into);
                        let response =
                            response.inspect_err(|_| rules.cache.reporter().retried(None))?;
                        let rejected = rules.rejection(&response, *sent).is_some();
                        rules.cache.retry(*route, *sent, rejected);
                        return Poll::Ready(Ok(response));
                    }
                    ready!(poll_deadline(deadline, cx));
                    return Poll::Ready(Err(Error::deadline().into()));
                }

                StateProj::Passing { response } => {
                    let response = ready!(response.poll(cx)).map_err(Into::into)?;
                    if response.status() == StatusCode::UNAUTHORIZED {
                        telemetry::rejected_without_token();
                    }
                    return Poll::Ready(Ok(response));
                }

                StateProj::NotAllowed { error } => {
                    let error = error.take().ok_or(POLLED_AFTER_END)?;
                    return Poll::Ready(Err(error.into()));
                }
            };
            state.set(next);
        }
    }
}

impl<S, B, R, U, Rp> State<S, B, R, U, Rp>
where
    S: Service<Request<Rp::Body>>,
    Rp: Replay<B>,
{
    fn readying(again: Box<Again<S, Rp::Body>>, rules: Rules<U, Rp>) -> Self {
        Self::Readying {
            deadline: again.deadline().and_then(timer),
            again: Some(again),
            rules,
        }
    }
}

impl<S, B, R, U, Rp> fmt::Debug for ResponseFuture<S, B, R, U, Rp>
where
    S: Service<Request<Rp::Body>>,
    Rp: Replay<B>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Cold { .. } | State::HeldBack { .. } => "waiting for a token",
            State::First { .. } => "sent",
            State::Replacing { .. } => "rejected, waiting for another token",
            State::Draining { .. } | State::Readying { .. } => "rejected, waiting to be retried",
            State::Second { .. } => "retried",
            State::Passing { .. } => "sent unchanged",
            State::NotAllowed { .. } => "not sent",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}

const POLLED_AFTER_END: &str = "the response future was polled after it had ended";
