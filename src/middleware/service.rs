//! The service: what happens to a request before it is sent.

use std::{
    mem,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower::BoxError;
use tower_service::Service;

use crate::{
    cache::{Caches, TokenCache},
    middleware::{
        admission::Verdict, attempt::prepare, extension::MinValidity, future::ResponseFuture,
        plan::Plan,
    },
    replay::{CloneBody, Replay},
    select::{Always, Select},
    token::Token,
    unauthorized::{BearerChallenge, Unauthorized},
};

/// Puts a bearer token on every request of the service below it. Made by [`BearerAuthLayer`](crate::BearerAuthLayer).
///
/// # What happens to a request
/// 1. One that is not selected, that has an `Authorization` of its own, or that says [`NoToken`](crate::extension::NoToken), passes
///    untouched, unless the layer was told otherwise. One whose token would travel over plain http to another machine is
///    not sent at all, unless the layer was told otherwise by a long name.
/// 2. It gets the current token. If there is none that is good, it waits for the one token request under way; it never goes
///    out without a token because none could be had.
/// 3. If the server rejects the token (401), it is sent once more, the same but for a newer token, and the caller gets
///    that answer, whatever it is. If no newer token can be had, or the body cannot be said again, the caller gets the
///    401 as it came, with [`NotRetried`](crate::extension::NotRetried) in its [extensions](http::Response::extensions), and an
///    [`Error`](crate::Error) where there was a token request that failed, or none because of a backoff, a cool-down or the request's
///    deadline.
///
/// # Errors
/// The errors of the service below as they are, and [`Error`](crate::Error) when the request is not to be sent, or when no
/// token can be had for the first try; or for the second, in the rare case that the token runs out while the service below
/// is not ready for it.
///
/// # Cancellation
/// Dropping the future cancels the request, and never the token request it may wait for.
///
/// # Deployment caveat
/// A request that waits for a token holds the service that was made ready for it, as it holds it during the call. If that
/// is a permit of tower's `ConcurrencyLimit` which the token request needs as well, because both go through one client,
/// the token request gets none and ends at its deadline. Give the token request a transport of its own.
// Over several lines, because the compiler quotes them to somebody whose stack does not fit.
#[derive(Clone, Debug)]
pub struct BearerAuth<
    S,
    Sel = Always,
    U = BearerChallenge,
    Rp = CloneBody, // for bodies that are `Clone`; for others `.replay(Buffered::up_to(65536))` or `.replay(NoReplay)`
    C = TokenCache, // no `Service`? put `.check::<YourRequestBody>()` before the call, and the compiler says why
> {
    inner: S,
    plan: Plan<Sel, U, Rp, C>,
}

impl<S, Sel, U, Rp, C> BearerAuth<S, Sel, U, Rp, C> {
    pub(crate) fn new(inner: S, plan: Plan<Sel, U, Rp, C>) -> Self {
        Self { inner, plan }
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service below.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service below.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Does nothing, but makes the compiler say why this is not a service for requests with a body of type `B`.
    ///
    /// `oneshot` and `call` on a stack that does not fit give "its trait bounds were not satisfied", without the bound. With
    /// `check` before them, the error names what is missing and the way out. It can stay: it costs nothing.
    ///
    /// # Example
    /// ```
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// # use tower::{BoxError, Layer, ServiceExt};
    /// # use tower_bearer::{BearerAuthLayer, token::FixedToken};
    /// use http_body_util::Full;
    ///
    /// # let source = FixedToken::new("t")?;
    /// # let client = tower::service_fn(|_: Request<Full<Bytes>>| async { Ok::<_, BoxError>(Response::new(String::new())) });
    /// # let request = Request::new(Full::default());
    /// let service = BearerAuthLayer::new(source).layer(client);
    /// let response = service.check::<Full<Bytes>>().oneshot(request);
    /// # let _ = response;
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    #[must_use]
    pub fn check<B>(self) -> Self
    where
        Self: Service<Request<B>>,
    {
        self
    }
}

impl<S, B, R, Sel, U, Rp, C> Service<Request<B>> for BearerAuth<S, Sel, U, Rp, C>
where
    S: Service<Request<Rp::Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: Body,
    Sel: Select<Key = C::Key>,
    U: Unauthorized + Clone,
    Rp: Replay<B> + Clone,
    C: Caches,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = ResponseFuture<S, B, R, U, Rp>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let key = match self.plan.admit(&request) {
            Verdict::Token(key) => key,
            Verdict::Pass => {
                let request = request.map(|body| self.plan.replay.pass(body));
                return ResponseFuture::pass(self.inner.call(request));
            }
            Verdict::Deny(error) => {
                // The instance that was made ready goes, and with it what it reserved: nothing is sent by it, and the next
                // request may not come for long. Its clone has reserved nothing.
                self.inner = self.inner.clone();
                return ResponseFuture::deny(error);
            }
        };
        let rules = self.plan.rules(key);
        let read = |token: &Token| (token.authorization().clone(), token.generation());
        let warm = match request.extensions().get() {
            None => rules.cache.read(read),
            Some(MinValidity(least)) => rules.cache.read_lasting(*least, read),
        };
        let Some((authorization, sent)) = warm else {
            // The instance that was made ready goes with the request, and waits for the token with it. Its clone stays,
            // to be made ready for the next one.
            let clone = self.inner.clone();
            let ready = mem::replace(&mut self.inner, clone);
            return ResponseFuture::cold(ready, request, rules);
        };
        let is_looked_at = rules.cache.is_looking();
        // `self.inner` was made ready and takes the first try. A second goes to a clone, which `ResponseFuture` makes
        // ready before it calls it.
        let clone = || self.inner.clone();
        let (request, again, route) =
            prepare(request, authorization, &rules.replay, is_looked_at, clone);
        if let Some(route) = route
            && let Err(reason) = again
            && rules.cache.is_being_replaced(sent)
        {
            // It has one try, which this token would waste.
            let clone = self.inner.clone();
            let ready = mem::replace(&mut self.inner, clone);
            return ResponseFuture::held_back(ready, request, sent, route, reason, rules);
        }
        ResponseFuture::first(self.inner.call(request), sent, route, again, rules)
    }
}
