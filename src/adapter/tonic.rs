//! Layer for gRPC clients of tonic.
//!
//! ```
//! use tonic::transport::Endpoint;
//! use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
//! use tower::Layer;
//! use tower_bearer::{adapter::tonic::GrpcAuthLayer, ClientCredentials};
//!
//! # async fn call() -> Result<(), tower::BoxError> {
//! # fn source() -> Result<ClientCredentials, tower_bearer::Error> { unimplemented!() }
//! let channel = Endpoint::from_static("https://api.example.com").connect_lazy();
//! let mut client = HealthClient::new(GrpcAuthLayer::new(source()?).layer(channel));
//!
//! let answer = client.check(HealthCheckRequest::default()).await?;
//! # let _ = answer;
//! # Ok(())
//! # }
//! ```
//!
//! # What is different from plain HTTP
//! - **Rejections.** The layer recognizes `UNAUTHENTICATED` (16) in a trailers-only response, and an HTTP 401 of a gateway
//!   in front of the server: see [`GrpcUnauthenticated`]. For a server that rejects tokens by another status, see
//!   [`unauthorized`](GrpcAuthLayer::unauthorized).
//! - **Retries.** A rejected call is retried once if all its messages were sent or available when the server rejected it, and
//!   fit in the buffer ([`keep_up_to`](GrpcAuthLayer::keep_up_to)). This usually holds for unary and server-streaming calls.
//!   A request stream that is still open is not retried. The token is replaced, and calls that begin after that get the new
//!   one.
//! - **Deadlines.** `grpc-timeout` ([`tonic::Request::set_timeout`]) bounds a call until the response headers arrive. It
//!   covers the wait for a token, the first attempt and the retry. The retry sends the header unchanged. An explicit
//!   [`Deadline`] extension takes precedence. `Endpoint::timeout` belongs to the channel and bounds each attempt.
//! - **Errors.** If no token is available, the caller gets a [`Status`] with this crate's [`Error`] as its source. The code
//!   is `DEADLINE_EXCEEDED` at the call's deadline, `UNAVAILABLE` if the same call can succeed later
//!   ([`Error::is_transient`]), `FAILED_PRECONDITION` if the layer is configured not to send the call, and
//!   `UNAUTHENTICATED` otherwise. If a rejected token could not be replaced, the caller gets the server's own status, with
//!   the [`Error`] as its source.
//!
//! # Deployment caveat
//! Calls of a client made by `new` have no origin; the channel adds it below this layer. So **a token goes where the channel
//! goes**. If the `Endpoint` is `http://…`, the token is sent unencrypted, because this layer cannot see the scheme. An
//! [`Origins`](crate::select::Origins) selects none of these calls. Calls of a client made by `with_origin` carry that
//! origin. The channel still sends them to its own endpoint, so the two must agree.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, request::Parts};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tonic::{Code, Status, body::Body};
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    cache::{Caches, TokenCache},
    error::{Error, ErrorKind},
    middleware::{BearerAuth, BearerAuthLayer, ResponseFuture, deadline_of, extension::Deadline},
    replay::{Buffered, CloneBody, Recording, Replay, ReplayPolicy},
    select::{Always, ExistingAuthorization, Select},
    token::TokenSource,
    unauthorized::{BearerChallenge, GrpcUnauthenticated, Unauthorized},
    util::timer::timer,
};

/// [`BearerAuthLayer`] for a tonic `Channel`.
///
/// Clones of the layer, and the services that they create, share one [`TokenCache`].
#[derive(Clone, Debug)]
pub struct GrpcAuthLayer<Sel = Always, U = GrpcUnauthenticated, C = TokenCache> {
    layer: BearerAuthLayer<Sel, U, Messages, C>,
}

impl GrpcAuthLayer {
    /// Creates a layer with its own cache around `source`.
    pub fn new(source: impl TokenSource) -> Self {
        Self::from_cache(TokenCache::new(source))
    }

    /// Creates a layer that shares `cache` with other channels or HTTP clients.
    #[must_use]
    pub fn from_cache(cache: TokenCache) -> Self {
        Self::of(BearerAuthLayer::from_cache(cache))
    }
}

impl<Sel, C> GrpcAuthLayer<Sel, GrpcUnauthenticated, C>
where
    Sel: Select<Key = C::Key>,
    C: Caches,
{
    /// Creates a layer for many credentials.
    ///
    /// `select` returns the key of a call; `caches` holds the cache for each key. See [`BearerAuthLayer::keyed`].
    #[must_use]
    pub fn keyed(caches: C, select: Sel) -> Self {
        Self::of(BearerAuthLayer::keyed(caches, select))
    }
}

impl<Sel, C> GrpcAuthLayer<Sel, GrpcUnauthenticated, C> {
    fn of(layer: BearerAuthLayer<Sel, BearerChallenge, CloneBody, C>) -> Self {
        Self {
            layer: layer
                .unauthorized(GrpcUnauthenticated)
                .replay(Messages(Buffered::up_to(KEPT))),
        }
    }
}

impl<Sel, U, C> GrpcAuthLayer<Sel, U, C> {
    /// Sets which calls get a token; all of them by default.
    #[must_use]
    pub fn select<T>(self, select: T) -> GrpcAuthLayer<T, U, C>
    where
        T: Select<Key = C::Key>,
        C: Caches,
    {
        GrpcAuthLayer {
            layer: self.layer.select(select),
        }
    }

    /// Sets which responses mean that the token was rejected: a closure, or another [`Unauthorized`].
    /// [`GrpcUnauthenticated`] by default.
    ///
    /// It sees the head of a response. The status of a call is in it only if the response is nothing but trailers.
    ///
    /// # Example
    /// A server that answers `PERMISSION_DENIED` (7) for an expired token, as ZITADEL does:
    /// ```
    /// use tower_bearer::{
    ///     adapter::tonic::GrpcAuthLayer,
    ///     token::FixedToken,
    ///     unauthorized::{GrpcUnauthenticated, ResponseHead, Unauthorized},
    /// };
    ///
    /// # let source = FixedToken::new("t")?;
    /// let layer = GrpcAuthLayer::new(source).unauthorized(|response: &ResponseHead<'_>| {
    ///     let status = response.headers().get("grpc-status");
    ///     status.is_some_and(|status| status == "7") || GrpcUnauthenticated.is_rejection(response)
    /// });
    /// # let _ = layer;
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    #[must_use]
    pub fn unauthorized<T: Unauthorized>(self, unauthorized: T) -> GrpcAuthLayer<Sel, T, C> {
        GrpcAuthLayer {
            layer: self.layer.unauthorized(unauthorized),
        }
    }

    /// Sets how many bytes of a call's messages are kept for the retry; 64 KiB by default.
    #[must_use]
    pub fn keep_up_to(self, bytes: usize) -> Self {
        Self {
            layer: self.layer.replay(Messages(Buffered::up_to(bytes))),
        }
    }

    /// Sets the header that the token goes into, `authorization` by default.
    ///
    /// See [`BearerAuthLayer::header_name`].
    #[must_use]
    pub fn header_name(self, name: HeaderName) -> Self {
        Self {
            layer: self.layer.header_name(name),
        }
    }

    /// Sets what happens to a call that already has an `authorization` header.
    ///
    /// See [`BearerAuthLayer::existing_authorization`].
    #[must_use]
    pub fn existing_authorization(self, existing: ExistingAuthorization) -> Self {
        Self {
            layer: self.layer.existing_authorization(existing),
        }
    }

    /// Fails calls that are not selected, instead of sending them without a token.
    ///
    /// See [`BearerAuthLayer::deny_unselected`].
    #[must_use]
    pub fn deny_unselected(self) -> Self {
        Self {
            layer: self.layer.deny_unselected(),
        }
    }

    /// Allows tokens to be sent unencrypted, over plain HTTP/2.
    ///
    /// See [`BearerAuthLayer::danger_allow_tokens_over_plain_http`]. Calls of a client made by `new` have no scheme; for them
    /// the channel alone decides whether TLS is used.
    #[must_use]
    pub fn danger_allow_tokens_over_plain_http(self) -> Self {
        Self {
            layer: self.layer.danger_allow_tokens_over_plain_http(),
        }
    }

    /// Returns the cache, or the keyed caches, to share or to monitor.
    #[must_use]
    pub fn cache(&self) -> &C {
        self.layer.cache()
    }
}

/// In bytes. Nearly all unary requests are smaller.
const KEPT: usize = 64 * 1024;

impl<S: Clone, Sel: Clone, U: Clone, C: Clone> Layer<S> for GrpcAuthLayer<Sel, U, C> {
    type Service = GrpcAuth<S, Sel, U, C>;

    fn layer(&self, channel: S) -> GrpcAuth<S, Sel, U, C> {
        GrpcAuth {
            inner: self.layer.layer(channel),
        }
    }
}

/// [`BearerAuth`] for gRPC, created by [`GrpcAuthLayer`].
#[derive(Clone, Debug)]
pub struct GrpcAuth<S, Sel = Always, U = GrpcUnauthenticated, C = TokenCache> {
    inner: BearerAuth<S, Sel, U, Messages, C>,
}

impl<S, Sel, U, C> GrpcAuth<S, Sel, U, C> {
    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref()
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        self.inner.get_mut()
    }

    /// Returns the inner service and drops the rest.
    pub fn into_inner(self) -> S {
        self.inner.into_inner()
    }
}

impl<S, R, Sel, U, C> Service<Request<Body>> for GrpcAuth<S, Sel, U, C>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: http_body::Body,
    Sel: Select<Key = C::Key>,
    U: Unauthorized + Clone,
    C: Caches,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = GrpcFuture<S, R, U>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> GrpcFuture<S, R, U> {
        if let Some(timeout) = grpc_timeout(request.headers()) {
            let extensions = request.extensions_mut();
            extensions.get_or_insert_with(|| Deadline::after(timeout));
        }
        let deadline = deadline_of(request.extensions());
        GrpcFuture {
            response: self.inner.call(request),
            deadline: deadline.and_then(timer),
        }
    }
}

pin_project! {
    /// The future of [`GrpcAuth`].
    #[must_use = "futures do nothing unless polled"]
    pub struct GrpcFuture<S, R, U = GrpcUnauthenticated>
    where
        S: Service<Request<Body>>,
    {
        #[pin]
        response: ResponseFuture<S, Body, R, U, Messages>,
        // The channel's own timeout starts again with each attempt.
        deadline: Option<Pin<Box<Sleep>>>,
    }
}

impl<S, R, U> Future for GrpcFuture<S, R, U>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: http_body::Body,
    U: Unauthorized + Clone,
{
    type Output = Result<Response<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = this.response.poll(cx);
        // Reads the clock, not a timer: several timers for one instant fire in any order.
        let is_late = this
            .deadline
            .as_ref()
            .is_some_and(|deadline| deadline.deadline() <= Instant::now());
        match outcome {
            Poll::Ready(Ok(response)) => Poll::Ready(match rejection(&response) {
                Some(status) => Err(status.into()),
                None => Ok(response),
            }),
            Poll::Ready(Err(error)) => Poll::Ready(Err(match error.downcast::<Error>() {
                Ok(error) => status(*error, is_late).into(),
                // Usually from the channel's timer, which reports CANCELLED.
                Err(theirs) if is_late => late(theirs).into(),
                Err(theirs) => theirs,
            })),
            Poll::Pending => {
                let Some(deadline) = this.deadline else {
                    return Poll::Pending;
                };
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(Err(late(Error::deadline().into()).into()))
            }
        }
    }
}

impl<S: Service<Request<Body>>, R, U> fmt::Debug for GrpcFuture<S, R, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcFuture").finish_non_exhaustive()
    }
}

/// The status of a call for which no token is available.
fn status(error: Error, is_late: bool) -> Status {
    let code = match error.kind() {
        ErrorKind::Timeout if is_late => return late(error.into()),
        ErrorKind::NoRuntime => Code::Internal,
        // The layer does not send this call, whatever its credential.
        ErrorKind::NotAllowed => Code::FailedPrecondition,
        _ if error.is_transient() => Code::Unavailable,
        _ => Code::Unauthenticated,
    };
    let mut status = Status::new(code, error.to_string());
    status.set_source(Arc::new(error));
    status
}

/// The status of a call whose deadline has passed.
fn late(error: BoxError) -> Status {
    let mut status = Status::deadline_exceeded(error.to_string());
    status.set_source(error.into());
    status
}

/// The server's own status, with the error that prevented the retry: it would be lost with the response.
fn rejection<R>(response: &Response<R>) -> Option<Status> {
    let error = response.extensions().get::<Error>()?.clone();
    let mut headers = response.headers().clone();
    // tonic panics on details that are not base64.
    let details = headers.get(Status::GRPC_STATUS_DETAILS);
    if details.is_some_and(|details| PADDED_OR_NOT.decode(details).is_err()) {
        headers.remove(Status::GRPC_STATUS_DETAILS);
    }
    let mut status = Status::from_header_map(&headers).unwrap_or_else(|| {
        let code = match response.status() {
            StatusCode::FORBIDDEN => Code::PermissionDenied,
            _ => Code::Unauthenticated,
        };
        Status::new(code, format!("the server answered {}", response.status()))
    });
    status.set_source(Arc::new(error));
    Some(status)
}

/// Base64 as gRPC defines it: padding is optional.
const PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Replays a call's messages, which are kept while they are sent: the policy of [`GrpcAuthLayer`].
///
/// Give it to a layer that sends calls again below the [`GrpcAuthLayer`], such as a `DpopLayer` (feature `dpop`).
#[derive(Clone, Copy, Debug)]
pub struct Messages(Buffered);

impl Messages {
    /// Keeps up to `bytes` bytes of a call's messages.
    #[must_use]
    pub const fn up_to(bytes: usize) -> Self {
        Self(Buffered::up_to(bytes))
    }
}

impl ReplayPolicy for Messages {}

impl Replay<Body> for Messages {
    type Body = Body;
    type Recording = Recording<Body>;

    fn pass(&self, body: Body) -> Body {
        body
    }

    fn record(&self, head: &Parts, body: Body) -> (Body, Option<Recording<Body>>) {
        let (body, recording) = self.0.record(head, body);
        (Body::new(body), recording)
    }

    fn rewind(&self, recording: Recording<Body>) -> Option<Body> {
        let body = <Buffered as Replay<Body>>::rewind(&self.0, recording)?;
        Some(Body::new(body))
    }
}

/// Timeout of the call: up to eight digits and a unit ([gRPC over HTTP/2]).
///
/// [gRPC over HTTP/2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 60 * 60)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}
