//! A request under way: at most one refusal, and at most one second try.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Request, Response, header::AUTHORIZATION, request::Parts};
use pin_project_lite::pin_project;
use tower::BoxError;
use tower_service::Service;

use crate::{
    cache::Held, error::Error, replay::Replay, service::Rules, telemetry,
    unauthorized::Unauthorized,
};

pin_project! {
    /// The future of [`BearerAuth`](crate::BearerAuth).
    ///
    /// # Cancellation
    /// Dropping it cancels the request, and never the exchange that it may wait for.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, U, Rp>
    where
        S: Service<Request<Rp::Body>>,
        Rp: Replay<B>,
    {
        #[pin]
        state: State<S, B, U, Rp>,
    }
}

pin_project! {
    /// ```text
    ///  Cold ──token──▶ First ──refused──▶ Replacing ──another──▶ Readying ──ready──▶ Last ──▶ answer
    ///   │ none           │ not refused        │ none      ◀──aged───┘
    ///   ▼                ▼                    ▼
    ///  error           answer            the refusal
    /// ```
    /// A warm request starts at `First`, one that is none of our business at `Last`. What is taken out of a state is in
    /// an `Option`.
    #[project = StateProj]
    enum State<S, B, U, Rp>
    where
        S: Service<Request<Rp::Body>>,
        Rp: Replay<B>,
    {
        // There is no token to send: waits for one, with the ready service in hand.
        Cold {
            wait: Wait<Arc<Held>>,
            first: Option<(S, Request<B>)>,
            rules: Arc<Rules<U, Rp>>,
        },
        // The first try is under way with the token `sent`. Without `second` there can be no other.
        First {
            #[pin]
            response: S::Future,
            sent: u64,
            second: Option<Second<S, Rp::Tape>>,
            rules: Arc<Rules<U, Rp>>,
        },
        // The token was refused: waits for another, with the refusal in hand in case none comes.
        Replacing {
            wait: Wait<Option<Arc<Held>>>,
            refusal: Option<S::Response>,
            again: Option<(S, Request<Rp::Body>)>,
            rules: Arc<Rules<U, Rp>>,
        },
        // Another token is there: waits until the service is ready for the second try.
        Readying {
            again: Option<(S, Request<Rp::Body>)>,
            rules: Arc<Rules<U, Rp>>,
        },
        // The caller gets the answer, whatever it is.
        Last {
            #[pin]
            response: S::Future,
        },
    }
}

/// Boxed, for it is waited for once per expiry and not per request.
type Wait<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// What it takes to try a second time.
pub(crate) struct Second<S, T> {
    service: S,
    recorded: Recorded<T>,
}

/// A request as it was before the token was put on it.
pub(crate) struct Recorded<T> {
    head: Parts,
    tape: T,
}

/// Records a request, if it can be said again, and puts the token on it.
pub(crate) fn prepare<B, Rp: Replay<B>>(
    request: Request<B>,
    authorization: HeaderValue,
    replay: &Rp,
) -> (Request<Rp::Body>, Option<Recorded<Rp::Tape>>) {
    let (mut head, body) = request.into_parts();
    let (body, tape) = replay.record(body);
    let recorded = tape.map(|tape| Recorded {
        head: head.clone(),
        tape,
    });
    head.headers.insert(AUTHORIZATION, authorization);
    (Request::from_parts(head, body), recorded)
}

impl<S, T> Second<S, T> {
    pub(crate) fn new(service: S, recorded: Recorded<T>) -> Self {
        Self { service, recorded }
    }

    /// The request to send again, without a token yet; `None` if its body cannot be said again after all.
    fn rewind<B, Rp: Replay<B, Tape = T>>(self, replay: &Rp) -> Option<(S, Request<Rp::Body>)> {
        let Recorded { head, tape } = self.recorded;
        let body = replay.rewind(tape)?;
        Some((self.service, Request::from_parts(head, body)))
    }
}

impl<S, B, U, Rp> ResponseFuture<S, B, U, Rp>
where
    S: Service<Request<Rp::Body>>,
    Rp: Replay<B>,
{
    /// A request that is none of our business.
    pub(crate) fn pass(response: S::Future) -> Self {
        Self {
            state: State::Last { response },
        }
    }

    /// A request without a token. `ready` was made ready, and takes it when the token is there.
    pub(crate) fn cold(ready: S, request: Request<B>, rules: Arc<Rules<U, Rp>>) -> Self {
        let cache = rules.cache.clone();
        Self {
            state: State::Cold {
                wait: Box::pin(async move { cache.wait_for_usable().await }),
                first: Some((ready, request)),
                rules,
            },
        }
    }

    /// A request that was sent with the token `sent`.
    pub(crate) fn first(
        response: S::Future,
        sent: u64,
        second: Option<Second<S, Rp::Tape>>,
        rules: Arc<Rules<U, Rp>>,
    ) -> Self {
        Self {
            state: State::First {
                response,
                sent,
                second,
                rules,
            },
        }
    }
}

impl<S, B, R, U, Rp> Future for ResponseFuture<S, B, U, Rp>
where
    S: Service<Request<Rp::Body>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    U: Unauthorized,
    Rp: Replay<B>,
{
    type Output = Result<Response<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Cold { wait, first, rules } => {
                    let held = ready!(wait.as_mut().poll(cx))?;
                    let (mut service, request) = first.take().ok_or(POLLED_AFTER_END)?;
                    let authorization = held.token.authorization().clone();
                    let (request, recorded) = prepare(request, authorization, &rules.replay);
                    // The instance that was made ready before `BearerAuth::call` put it here.
                    let response = service.call(request);
                    State::First {
                        response,
                        sent: held.token.generation(),
                        second: recorded.map(|recorded| Second::new(service, recorded)),
                        rules: Arc::clone(rules),
                    }
                }

                StateProj::First {
                    response,
                    sent,
                    second,
                    rules,
                } => {
                    let response = ready!(response.poll(cx)).map_err(Into::into)?;
                    let (status, headers) = (response.status(), response.headers());
                    if !rules.unauthorized.is_refusal(status, headers) {
                        return Poll::Ready(Ok(response));
                    }
                    let again = second
                        .take()
                        .and_then(|second| second.rewind(&rules.replay));
                    telemetry::refused(again.is_some());
                    if again.is_none() {
                        // Another token is of no use to this request, but to the next.
                        rules.cache.start_replacing(*sent);
                        return Poll::Ready(Ok(response));
                    }
                    let (cache, sent) = (rules.cache.clone(), *sent);
                    State::Replacing {
                        wait: Box::pin(async move { cache.wait_for_other(sent).await }),
                        refusal: Some(response),
                        again,
                        rules: Arc::clone(rules),
                    }
                }

                StateProj::Replacing {
                    wait,
                    refusal,
                    again,
                    rules,
                } => match ready!(wait.as_mut().poll(cx)) {
                    // The refusal is dropped with this state, before the wait for readiness: its body may hold the
                    // connection or the permit that the second try needs.
                    Ok(Some(_another)) => State::Readying {
                        again: again.take(),
                        rules: Arc::clone(rules),
                    },
                    Ok(None) => {
                        telemetry::not_replaced(None);
                        let refusal = refusal.take().ok_or(POLLED_AFTER_END)?;
                        return Poll::Ready(Ok(refusal));
                    }
                    Err(error) => {
                        telemetry::not_replaced(Some(&error));
                        let Some(mut refusal) = refusal.take() else {
                            return Poll::Ready(Err(error.into()));
                        };
                        refusal.extensions_mut().insert(error);
                        return Poll::Ready(Ok(refusal));
                    }
                },

                StateProj::Readying { again, rules } => {
                    let (service, request) = again.as_mut().ok_or(POLLED_AFTER_END)?;
                    // A clone of the instance that took the first try: nobody has made it ready yet.
                    ready!(service.poll_ready(cx)).map_err(Into::into)?;
                    // Read only now: the wait may have outlived the token that came before it.
                    match rules.cache.read(|token| token.authorization().clone()) {
                        Some(authorization) => {
                            request.headers_mut().insert(AUTHORIZATION, authorization);
                            let (mut service, request) = again.take().ok_or(POLLED_AFTER_END)?;
                            State::Last {
                                response: service.call(request),
                            }
                        }
                        None => {
                            let cache = rules.cache.clone();
                            State::Replacing {
                                wait: Box::pin(
                                    async move { cache.wait_for_usable().await.map(Some) },
                                ),
                                refusal: None,
                                again: again.take(),
                                rules: Arc::clone(rules),
                            }
                        }
                    }
                }

                StateProj::Last { response } => return response.poll(cx).map_err(Into::into),
            };
            state.set(next);
        }
    }
}

impl<S, B, U, Rp> fmt::Debug for ResponseFuture<S, B, U, Rp>
where
    S: Service<Request<Rp::Body>>,
    Rp: Replay<B>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Cold { .. } => "waiting for a token",
            State::First { .. } => "sent",
            State::Replacing { .. } => "refused, waiting for another token",
            State::Readying { .. } => "refused, waiting to be sent again",
            State::Last { .. } => "sent for the last time",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}

const POLLED_AFTER_END: &str = "the response future was polled after it had ended";
