//! The service: handles a request before it is sent.

use std::{
    mem,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower::BoxError;
use tower_service::Service;

use crate::{
    cache::{Caches, TokenCache},
    error::Error,
    middleware::{
        admission::Verdict, attempt::prepare, extension::MinValidity, future::ResponseFuture,
        plan::Plan, route, template::Template,
    },
    replay::{CloneBody, Replay},
    select::{Always, Select},
    token::Token,
    unauthorized::{BearerChallenge, Unauthorized},
};

/// Adds a bearer token to each selected request, then calls the inner service.
///
/// Created by [`BearerAuthLayer`](crate::BearerAuthLayer).
///
/// # What happens to a request
/// 1. A request passes unchanged if it is not selected, if it already has the layer's header (`Authorization`), or if it carries the
///    [`NoToken`](crate::extension::NoToken) extension. The layer can be configured to handle the first two differently.
///    A request whose token would be sent unencrypted to another machine fails, unless the layer allows it by an explicit
///    [`danger_…` call](crate::BearerAuthLayer::danger_allow_tokens_over_plain_http).
/// 2. A selected request gets the current token. If there is no valid token, it waits for the token request under way. If
///    that fails, the request fails too; it is never sent without a token.
/// 3. If the server rejects the token (401), the request is retried once with a newer token, and the caller gets the
///    response to the retry. If it is not retried, the caller gets the unchanged 401. Its
///    [extensions](http::Response::extensions) contain [`NotRetried`](crate::extension::NotRetried), which says why. They
///    also contain an [`Error`](crate::Error) if the token request failed, or was prevented by a backoff, a cool-down or
///    the request's deadline.
///
/// Retries go to clones of the inner service as it was at the first request.
///
/// # Errors
/// - Errors of the inner service, unchanged.
/// - [`Error`](crate::Error) if the request must not be sent, or if no token is available for the first attempt. Rarely also
///   for the retry, if its token expires or its deadline passes after the rejection.
///
/// # Cancellation
/// Dropping the future cancels the request, but never the token request that it waits for.
///
/// # Deployment caveat
/// A request that waits for a token holds the inner service that was made ready for it, including a permit of tower's
/// `ConcurrencyLimit`. If the token request goes through the same limited client, it may get no permit and end at its
/// deadline. Give the token source its own transport.
// On several lines, because the compiler quotes them in its error when a stack does not fit.
#[derive(Clone, Debug)]
pub struct BearerAuth<
    S,
    Sel = Always,
    U = BearerChallenge,
    Rp = CloneBody, // for bodies that are `Clone`; for others `.replay(Buffered::up_to(65536))` or `.replay(NoReplay)`
    C = TokenCache, // not a `Service`? put `.check::<YourRequestBody>()` before the call, and the compiler says why
> {
    inner: S,
    /// Made for the first request that may need it, and shared by all clones of this service.
    template: Arc<OnceLock<Template<S>>>,
    plan: Plan<Sel, U, Rp, C>,
}

impl<S, Sel, U, Rp, C> BearerAuth<S, Sel, U, Rp, C> {
    pub(crate) fn new(inner: S, plan: Plan<Sel, U, Rp, C>) -> Self {
        Self {
            inner,
            template: Arc::default(),
            plan,
        }
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service. Retries of later requests go to a clone of what it is then.
    pub fn get_mut(&mut self) -> &mut S {
        self.template = Arc::default();
        &mut self.inner
    }

    /// Returns the inner service and drops the rest.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Makes the compiler explain why this is not a service for bodies of type `B`.
    ///
    /// On a stack that does not fit, `oneshot` and `call` fail with "its trait bounds were not satisfied" and do not name
    /// the bound. With `check` before them, the error names the missing bound and the fix. It returns `self` unchanged and
    /// costs nothing, so it can stay in the code.
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

impl<S: Clone, Sel, U, Rp, C> BearerAuth<S, Sel, U, Rp, C> {
    fn template(&self) -> Template<S> {
        match self.template.get() {
            Some(template) => template.clone(),
            None => {
                // Before it is put there, for a clone is user code: it must not hold up the other requests that come first.
                let template = Template::of(&self.inner);
                self.template.get_or_init(|| template).clone()
            }
        }
    }

    fn deny<B, R>(&mut self, error: Error) -> ResponseFuture<S, B, R, U, Rp>
    where
        S: Service<Request<Rp::Body>>,
        Rp: Replay<B>,
    {
        // Drops the ready instance and what it reserved (a permit): it sends nothing, and the next request may come much
        // later. The clone has reserved nothing.
        self.inner = self.inner.clone();
        ResponseFuture::deny(error)
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
            Verdict::Deny(error) => return self.deny(error),
        };
        let rules = match self.plan.rules(key) {
            Ok(rules) => rules,
            Err(error) => return self.deny(error),
        };
        let read = |token: &Token| (token.authorization().clone(), token.generation());
        let warm = match request.extensions().get() {
            None => rules.cache.read(read),
            Some(MinValidity(least)) => rules.cache.read_lasting(*least, read),
        };
        let Some((authorization, sent)) = warm else {
            // The ready instance waits for the token together with the request. The clone stays and is made ready for the
            // next request.
            let clone = self.inner.clone();
            let ready = mem::replace(&mut self.inner, clone);
            return ResponseFuture::cold(ready, self.template(), request, rules);
        };
        let is_looked_at = rules.cache.is_looking();
        // `self.inner` is ready and takes the first attempt. The retry goes to an instance of the template, which
        // `ResponseFuture` makes ready before it calls it.
        let template = || self.template();
        let (request, again, route) =
            prepare(request, authorization, &rules, is_looked_at, template);
        if let Err(reason) = again
            && rules.cache.is_being_replaced(sent)
        {
            let route = route.unwrap_or_else(|| route::of(request.method(), request.uri()));
            // It can be sent only once, and this token would waste that attempt.
            let clone = self.inner.clone();
            let ready = mem::replace(&mut self.inner, clone);
            return ResponseFuture::held_back(ready, request, sent, route, reason, rules);
        }
        ResponseFuture::first(self.inner.call(request), sent, route, again, rules)
    }
}
