//! The service: adds the proof before a request is sent.

use std::{
    mem,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower::BoxError;
use tower_service::Service;

use super::{
    future::{Recorded, ResponseFuture},
    prover::{Prover, token_in},
};
use crate::{
    client_credentials::dpop::DPOP,
    error::Error,
    middleware::{
        Snapshot,
        extension::{NoRetry, NotRetried},
    },
    replay::{CloneBody, Replay},
};

/// Adds a DPoP proof to each request whose token is bound to a key, then calls the inner service.
///
/// Created by [`DpopLayer`](super::DpopLayer).
///
/// # What happens to a request
/// 1. If its `Authorization` is not `DPoP …`, it passes unchanged.
/// 2. Otherwise it gets a new proof, in the header `DPoP`: for its method, its URI without the query, this token, and the newest nonce
///    of its origin. The key is the layer's, or a [`DpopKey`](super::DpopKey) in the request's extensions: one per credential.
/// 3. If the API rejects the proof, and says by a nonce or by its clock what a better one has, the request is retried once. In any
///    other case, and if it cannot be replayed, the caller gets the unchanged response. Its
///    [extensions](http::Response::extensions) then contain [`NotRetried`].
///
/// A nonce is kept from any response, successful ones included, so that usually each request is sent once. A rejected token is
/// for the layer above.
///
/// # Errors
/// - Errors of the inner service, unchanged.
/// - [`Error`] if the request does not say where it goes, or the key cannot sign. Then it is not sent.
/// - [`Error`] of the kind [`Timeout`](crate::ErrorKind::Timeout) at the request's [`Deadline`](crate::extension::Deadline), if it
///   waits for a signature then, or is being retried. It does not cut the first request.
///
/// # Cancellation
/// Dropping the future cancels the request.
///
/// # Cost
/// A signature for each request: see [DPoP](crate::docs::dpop#what-it-costs). A key that a
/// [`Signer`](crate::client_credentials::Signer) holds is asked each time; the request waits with the inner service that was made
/// ready for it.
#[derive(Clone, Debug)]
pub struct Dpop<S, Rp = CloneBody> {
    inner: S,
    prover: Prover,
    replay: Rp,
}

impl<S, Rp> Dpop<S, Rp> {
    pub(crate) fn new(inner: S, prover: Prover, replay: Rp) -> Self {
        Self {
            inner,
            prover,
            replay,
        }
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service and drops the rest.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone, Rp> Dpop<S, Rp> {
    /// Takes the instance that was made ready, for a request that is sent later. The clone stays and is made ready for the next.
    fn take_ready(&mut self) -> S {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }

    fn deny<B, R>(&mut self, error: Error) -> ResponseFuture<S, B, R, Rp>
    where
        S: Service<Request<Rp::Body>>,
        Rp: Replay<B>,
    {
        // What it reserved (a permit) is given back: it sends nothing.
        drop(self.take_ready());
        ResponseFuture::deny(error)
    }
}

impl<S, B, R, Rp> Service<Request<B>> for Dpop<S, Rp>
where
    S: Service<Request<Rp::Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: Body,
    Rp: Replay<B> + Clone,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = ResponseFuture<S, B, R, Rp>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if token_in(request.headers()).is_none() {
            let request = request.map(|body| self.replay.pass(body));
            return ResponseFuture::pass(self.inner.call(request));
        }
        let (mut head, body) = request.into_parts();
        let (unsigned, asked) = match self.prover.prove(&head) {
            Ok(proof) => proof,
            Err(error) => return self.deny(error),
        };
        let (body, again) = if head.extensions.get::<NoRetry>().is_some() {
            (self.replay.pass(body), Err(NotRetried::OptedOut))
        } else {
            let (body, recording) = self.replay.record(&head, body);
            // A clone, which `ResponseFuture` makes ready before it calls it.
            let recorded = recording.map(|recording| Recorded {
                service: self.inner.clone(),
                head: Snapshot::of(&head),
                recording,
            });
            (body, recorded.ok_or(NotRetried::CannotBeReplayed))
        };
        let (prover, replay) = (self.prover.clone(), self.replay.clone());
        match unsigned.now() {
            Ok(Ok(proof)) => {
                head.headers.insert(DPOP, proof.value());
                let request = Request::from_parts(head, body);
                // `self.inner` is the instance that was made ready.
                let response = self.inner.call(request);
                ResponseFuture::sent(response, asked, again, prover, replay)
            }
            Ok(Err(error)) => self.deny(error),
            Err(unsigned) => {
                let ready = self.take_ready();
                let request = Request::from_parts(head, body);
                ResponseFuture::signing(ready, request, unsigned, asked, again, prover, replay)
            }
        }
    }
}
