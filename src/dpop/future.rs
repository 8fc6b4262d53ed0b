//! A request under way, with at most one retry.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower::BoxError;
use tower_service::Service;

use super::prover::{Asked, Prover, rejects_proof};
use crate::{
    client_credentials::dpop::{
        DPOP,
        proof::{Proof, Unsigned},
    },
    error::Error,
    middleware::{
        Drain, Snapshot, Wait, deadline_of, extension::NotRetried, poll_deadline, within,
    },
    replay::Replay,
    telemetry,
    util::timer::timer,
};

pin_project! {
    /// Future of [`Dpop`](super::Dpop).
    ///
    /// # Cancellation
    /// Dropping it cancels the request.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, R, Rp>
    where
        S: Service<Request<Rp::Body>>,
        Rp: Replay<B>,
    {
        #[pin]
        state: State<S, B, R, Rp>,
    }
}

pin_project! {
    /// ```text
    ///  (Signing) ──proof──▶ Sent ──proof rejected──▶ (Draining) ──▶ Readying ──▶ (Signing) ──▶ Sent ──▶ answer
    ///                        │ anything else
    ///                        ▼
    ///                      answer
    /// ```
    /// What the second `Sent` gets is the answer, whatever it is: its `again` has no request. Values that are taken out of a state
    /// are in an `Option`.
    #[project = StateProj]
    enum State<S, B, R, Rp>
    where
        S: Service<Request<Rp::Body>>,
        Rp: Replay<B>,
    {
        // A signer has the key: waits for the signature and holds the ready service.
        Signing {
            signing: Wait<Proof>,
            ready: Option<(S, Request<Rp::Body>)>,
            asked: Asked,
            again: Again<S, Rp::Recording>,
            rules: Rules<Rp>,
        },
        // The request is under way. A retry has a deadline, if the request has one.
        Sent {
            #[pin]
            response: S::Future,
            asked: Asked,
            again: Again<S, Rp::Recording>,
            deadline: Option<Pin<Box<Sleep>>>,
            rules: Rules<Rp>,
        },
        // The proof was rejected: reads the short rest of the answer's body.
        Draining {
            #[pin]
            drain: Drain<R>,
            again: Option<(S, Request<Rp::Body>)>,
            rules: Rules<Rp>,
        },
        // Waits until the service is ready for the retry.
        Readying {
            again: Option<(S, Request<Rp::Body>)>,
            deadline: Option<Pin<Box<Sleep>>>,
            rules: Rules<Rp>,
        },
        // Needs no proof.
        Passing {
            #[pin]
            response: S::Future,
        },
        // Is not sent.
        Denied { error: Option<Error> },
    }
}

/// A request to send again, or why there is none. `None` if this was the retry.
type Again<S, T> = Option<Result<Recorded<S, T>, NotRetried>>;

/// A request as it was before the proof was put on it, and a service to send it again.
pub(crate) struct Recorded<S, T> {
    pub(crate) service: S,
    pub(crate) head: Snapshot,
    pub(crate) recording: T,
}

#[derive(Clone)]
struct Rules<Rp> {
    prover: Prover,
    replay: Rp,
}

impl<S, T> Recorded<S, T> {
    fn rewind<B, Rp>(self, replay: &Rp) -> Result<(S, Request<Rp::Body>), NotRetried>
    where
        Rp: Replay<B, Recording = T>,
    {
        let deadline = deadline_of(self.head.extensions());
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(NotRetried::NoTimeLeft);
        }
        let head = self.head.restore().ok_or(NotRetried::CannotBeReplayed)?;
        let body = replay.rewind(self.recording);
        let body = body.ok_or(NotRetried::CannotBeReplayed)?;
        Ok((self.service, Request::from_parts(head, body)))
    }
}

impl<S, B, R, Rp> ResponseFuture<S, B, R, Rp>
where
    S: Service<Request<Rp::Body>>,
    Rp: Replay<B>,
{
    /// A request that needs no proof.
    pub(crate) fn pass(response: S::Future) -> Self {
        Self {
            state: State::Passing { response },
        }
    }

    /// A request that is not sent.
    pub(crate) fn deny(error: Error) -> Self {
        Self {
            state: State::Denied { error: Some(error) },
        }
    }

    /// A request that was sent with its proof.
    pub(crate) fn sent(
        response: S::Future,
        asked: Asked,
        again: Result<Recorded<S, Rp::Recording>, NotRetried>,
        prover: Prover,
        replay: Rp,
    ) -> Self {
        Self {
            state: State::Sent {
                response,
                asked,
                again: Some(again),
                deadline: None,
                rules: Rules { prover, replay },
            },
        }
    }

    /// A request whose proof is still to be signed. `ready` is ready, and sends it then.
    pub(crate) fn signing(
        ready: S,
        request: Request<Rp::Body>,
        unsigned: Unsigned,
        asked: Asked,
        again: Result<Recorded<S, Rp::Recording>, NotRetried>,
        prover: Prover,
        replay: Rp,
    ) -> Self {
        Self {
            state: State::Signing {
                signing: within(deadline_of(request.extensions()), unsigned.signed()),
                ready: Some((ready, request)),
                asked,
                again: Some(again),
                rules: Rules { prover, replay },
            },
        }
    }
}

impl<S, B, R, Rp> Future for ResponseFuture<S, B, R, Rp>
where
    S: Service<Request<Rp::Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: Body,
    Rp: Replay<B> + Clone,
{
    type Output = Result<Response<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Signing {
                    signing,
                    ready,
                    asked,
                    again,
                    rules,
                } => {
                    let proof = ready!(signing.as_mut().poll(cx));
                    // Taken on success and on failure: what the ready service reserved is given back now.
                    let (mut service, mut request) = ready.take().ok_or(POLLED_AFTER_END)?;
                    request.headers_mut().insert(DPOP, proof?.value());
                    let again = again.take();
                    let deadline = match again {
                        Some(_) => None,
                        None => deadline_of(request.extensions()).and_then(timer),
                    };
                    State::Sent {
                        response: service.call(request),
                        asked: asked.clone(),
                        again,
                        deadline,
                        rules: rules.clone(),
                    }
                }

                StateProj::Sent {
                    response,
                    asked,
                    again,
                    deadline,
                    rules,
                } => {
                    let Poll::Ready(response) = response.poll(cx) else {
                        ready!(poll_deadline(deadline, cx));
                        return Poll::Ready(Err(Error::deadline().into()));
                    };
                    let mut response = response.map_err(Into::into)?;
                    rules.prover.learn(asked, &response);
                    if !rejects_proof(&response) {
                        return Poll::Ready(Ok(response));
                    }
                    let again = again.take().filter(|_| rules.prover.can_do_better(asked));
                    let again = again.map(|again| again.and_then(|it| it.rewind(&rules.replay)));
                    telemetry::proof_rejected(matches!(again, Some(Ok(_))));
                    match again {
                        None => return Poll::Ready(Ok(response)),
                        Some(Err(reason)) => {
                            response.extensions_mut().insert(reason);
                            return Poll::Ready(Ok(response));
                        }
                        Some(Ok(again)) => {
                            let latest = deadline_of(again.1.extensions());
                            let (again, rules) = (Some(again), rules.clone());
                            // Its body may hold the connection or the permit that the retry needs.
                            match Drain::of(response, latest) {
                                Some(drain) => State::Draining {
                                    drain,
                                    again,
                                    rules,
                                },
                                None => State::readying(again, rules),
                            }
                        }
                    }
                }

                StateProj::Draining {
                    drain,
                    again,
                    rules,
                } => {
                    ready!(drain.poll(cx));
                    State::readying(again.take(), rules.clone())
                }

                StateProj::Readying {
                    again,
                    deadline,
                    rules,
                } => {
                    let (service, _) = again.as_mut().ok_or(POLLED_AFTER_END)?;
                    // A clone of the instance that took the first attempt: it is not ready yet.
                    let Poll::Ready(readiness) = service.poll_ready(cx) else {
                        ready!(poll_deadline(deadline, cx));
                        return Poll::Ready(Err(Error::deadline().into()));
                    };
                    readiness.map_err(Into::into)?;
                    let (mut service, request) = again.take().ok_or(POLLED_AFTER_END)?;
                    let (mut head, body) = request.into_parts();
                    let (unsigned, asked) = rules.prover.prove(&head)?;
                    match unsigned.now() {
                        Ok(proof) => {
                            head.headers.insert(DPOP, proof?.value());
                            State::Sent {
                                response: service.call(Request::from_parts(head, body)),
                                asked,
                                again: None,
                                deadline: deadline.take(),
                                rules: rules.clone(),
                            }
                        }
                        Err(unsigned) => State::Signing {
                            signing: within(deadline_of(&head.extensions), unsigned.signed()),
                            ready: Some((service, Request::from_parts(head, body))),
                            asked,
                            again: None,
                            rules: rules.clone(),
                        },
                    }
                }

                StateProj::Passing { response } => return response.poll(cx).map_err(Into::into),

                StateProj::Denied { error } => {
                    let error = error.take().ok_or(POLLED_AFTER_END)?;
                    return Poll::Ready(Err(error.into()));
                }
            };
            state.set(next);
        }
    }
}

impl<S, B, R, Rp> State<S, B, R, Rp>
where
    S: Service<Request<Rp::Body>>,
    Rp: Replay<B>,
{
    fn readying(again: Option<(S, Request<Rp::Body>)>, rules: Rules<Rp>) -> Self {
        let deadline = again
            .as_ref()
            .and_then(|(_, request)| deadline_of(request.extensions()))
            .and_then(timer);
        Self::Readying {
            again,
            deadline,
            rules,
        }
    }
}

impl<S, B, R, Rp> fmt::Debug for ResponseFuture<S, B, R, Rp>
where
    S: Service<Request<Rp::Body>>,
    Rp: Replay<B>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Signing { .. } => "waiting for a signature",
            State::Sent { .. } => "sent",
            State::Draining { .. } | State::Readying { .. } => {
                "its proof rejected, waiting to be retried"
            }
            State::Passing { .. } => "sent unchanged",
            State::Denied { .. } => "not sent",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}

const POLLED_AFTER_END: &str = "the response future was polled after it had ended";
