//! gRPC clients of tonic.
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
//! - **Rejections.** `UNAUTHENTICATED` (16) in an answer that is nothing but trailers counts, and so does the HTTP 401 of
//!   whatever is in front of the server: [`GrpcUnauthenticated`].
//! - **Second tries.** A call is sent again if all its messages had been sent or were at hand when the server rejected it, and
//!   were small enough to be kept: unary calls, as a rule, and the ones whose answer is a stream. A stream of requests that is
//!   still under way is not sent again; the token is replaced, and calls that begin after that token request have the new one.
//! - **Deadlines.** `grpc-timeout` ([`tonic::Request::set_timeout`]) bounds a call until the head of its answer: the wait for a token and
//!   both tries, of which the second sends the header as it was.
//!   So does a [`Deadline`] that is given by hand, which goes before it. `Endpoint::timeout` is the channel's own, and bounds each try.
//! - **Errors.** Where no token can be had, callers get a [`Status`] with this crate's [`Error`] as its source:
//!   `DEADLINE_EXCEEDED` at the call's deadline, `UNAVAILABLE` where the same call may well succeed a little later
//!   ([`Error::is_transient`]), `FAILED_PRECONDITION` where the layer does not send such a call, else `UNAUTHENTICATED`. Where a rejected token could not be replaced, the server's own
//!   status has the [`Error`] as its source.
//!
//! # Deployment caveat
//! A client that is made by `new` gives calls without an origin, which the channel adds below this layer. So **a token goes
//! where the channel goes**: over plain HTTP/2 to another machine as well, if the `Endpoint` is `http://…`, for this layer
//! cannot see that. And an [`Origins`](crate::select::Origins) would select none of these calls. A client that is made by `with_origin`
//! gives calls that say where they go, by that origin; the channel sends them to its own all the same, so the two have to
//! agree.

#[cfg(feature = "keyed")]
use std::hash::Hash;
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
use http::{HeaderMap, Request, Response, request::Parts};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status, body::Body};
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

#[cfg(feature = "keyed")]
use crate::cache::Keyed;
use crate::{
    cache::{Caches, TokenCache},
    error::{Error, ErrorKind},
    middleware::{BearerAuth, BearerAuthLayer, ResponseFuture, deadline_of, extension::Deadline},
    replay::{Buffered, CloneBody, Recording, Replay, ReplayPolicy},
    select::{Always, ExistingAuthorization, Select},
    token::TokenSource,
    unauthorized::{BearerChallenge, GrpcUnauthenticated},
};

/// [`BearerAuthLayer`] for a tonic `Channel`. Clones, and what they made, share one [`TokenCache`].
#[derive(Clone, Debug)]
pub struct GrpcAuthLayer<Sel = Always, C = TokenCache> {
    layer: BearerAuthLayer<Sel, GrpcUnauthenticated, Messages, C>,
}

impl GrpcAuthLayer {
    /// A layer around `source` with a cache of its own.
    pub fn new(source: impl TokenSource) -> Self {
        Self::from_cache(TokenCache::new(source))
    }

    /// A layer that shares a cache, with other channels or with clients of plain HTTP.
    #[must_use]
    pub fn from_cache(cache: TokenCache) -> Self {
        Self::of(BearerAuthLayer::from_cache(cache))
    }
}

#[cfg(feature = "keyed")]
impl<K, Sel> GrpcAuthLayer<Sel, Keyed<K>>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    Sel: Select<Key = K>,
{
    /// A layer for many credentials: `select` gives a call's key, and `caches` has the cache of that key.
    #[must_use]
    pub fn keyed(caches: Keyed<K>, select: Sel) -> Self {
        Self::of(BearerAuthLayer::keyed(caches, select))
    }
}

impl<Sel, C> GrpcAuthLayer<Sel, C> {
    fn of(layer: BearerAuthLayer<Sel, BearerChallenge, CloneBody, C>) -> Self {
        Self {
            layer: layer
                .unauthorized(GrpcUnauthenticated)
                .replay(Messages(Buffered::up_to(KEPT))),
        }
    }

    /// Which calls get a token. All of them by default.
    #[must_use]
    pub fn select<T>(self, select: T) -> GrpcAuthLayer<T, C>
    where
        T: Select<Key = C::Key>,
        C: Caches,
    {
        GrpcAuthLayer {
            layer: self.layer.select(select),
        }
    }

    /// Keeps the messages of a call, to send them again, up to so many bytes. 64 KiB by default.
    #[must_use]
    pub fn keep_up_to(self, bytes: usize) -> Self {
        Self {
            layer: self.layer.replay(Messages(Buffered::up_to(bytes))),
        }
    }

    /// As [`BearerAuthLayer::existing_authorization`].
    #[must_use]
    pub fn existing_authorization(self, existing: ExistingAuthorization) -> Self {
        Self {
            layer: self.layer.existing_authorization(existing),
        }
    }

    /// As [`BearerAuthLayer::deny_unselected`].
    #[must_use]
    pub fn deny_unselected(self) -> Self {
        Self {
            layer: self.layer.deny_unselected(),
        }
    }

    /// As [`BearerAuthLayer::danger_allow_tokens_over_plain_http`]. A client that is made by `new` gives calls without a
    /// scheme, and whether they travel over TLS is the channel's own business.
    #[must_use]
    pub fn danger_allow_tokens_over_plain_http(self) -> Self {
        Self {
            layer: self.layer.danger_allow_tokens_over_plain_http(),
        }
    }

    /// The cache, or the caches, to share or to look after.
    #[must_use]
    pub fn cache(&self) -> &C {
        self.layer.cache()
    }
}

/// In bytes. Nearly all unary requests are smaller.
const KEPT: usize = 64 * 1024;

impl<S: Clone, Sel: Clone, C: Clone> Layer<S> for GrpcAuthLayer<Sel, C> {
    type Service = GrpcAuth<S, Sel, C>;

    fn layer(&self, channel: S) -> GrpcAuth<S, Sel, C> {
        GrpcAuth {
            inner: self.layer.layer(channel),
        }
    }
}

/// [`BearerAuth`] for gRPC. Made by [`GrpcAuthLayer`].
#[derive(Clone, Debug)]
pub struct GrpcAuth<S, Sel = Always, C = TokenCache> {
    inner: BearerAuth<S, Sel, GrpcUnauthenticated, Messages, C>,
}

impl<S, Sel, C> GrpcAuth<S, Sel, C> {
    /// The service below.
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref()
    }

    /// The service below.
    pub fn get_mut(&mut self) -> &mut S {
        self.inner.get_mut()
    }

    /// The service below.
    pub fn into_inner(self) -> S {
        self.inner.into_inner()
    }
}

impl<S, R, Sel, C> Service<Request<Body>> for GrpcAuth<S, Sel, C>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: http_body::Body,
    Sel: Select<Key = C::Key>,
    C: Caches,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = GrpcFuture<S, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> GrpcFuture<S, R> {
        if let Some(timeout) = grpc_timeout(request.headers()) {
            let extensions = request.extensions_mut();
            extensions.get_or_insert_with(|| Deadline::after(timeout));
        }
        let deadline = deadline_of(request.extensions());
        GrpcFuture {
            response: self.inner.call(request),
            deadline: deadline.map(|at| Box::pin(sleep_until(at))),
        }
    }
}

pin_project! {
    /// The future of [`GrpcAuth`].
    #[must_use = "futures do nothing unless polled"]
    pub struct GrpcFuture<S, R>
    where
        S: Service<Request<Body>>,
    {
        #[pin]
        response: ResponseFuture<S, Body, R, GrpcUnauthenticated, Messages>,
        // The channel's own begins anew with each try.
        deadline: Option<Pin<Box<Sleep>>>,
    }
}

impl<S, R> Future for GrpcFuture<S, R>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: http_body::Body,
{
    type Output = Result<Response<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = this.response.poll(cx);
        // By the clock, and not by a timer: of several for one moment, any may be the first.
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
                // The channel's timer, as a rule, which says CANCELLED.
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

impl<S: Service<Request<Body>>, R> fmt::Debug for GrpcFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcFuture").finish_non_exhaustive()
    }
}

/// The status of a call for which no token could be had.
fn status(error: Error, is_late: bool) -> Status {
    let code = match error.kind() {
        ErrorKind::Timeout if is_late => return late(error.into()),
        ErrorKind::NoRuntime => Code::Internal,
        // The call is of no use here as it is, whatever its credential.
        ErrorKind::NotAllowed => Code::FailedPrecondition,
        _ if error.is_transient() => Code::Unavailable,
        _ => Code::Unauthenticated,
    };
    let mut status = Status::new(code, error.to_string());
    status.set_source(Arc::new(error));
    status
}

/// The status of a call whose deadline has come.
fn late(error: BoxError) -> Status {
    let mut status = Status::deadline_exceeded(error.to_string());
    status.set_source(error.into());
    status
}

/// The server's own status, with the reason why the call was not sent again, which would be lost with the response.
fn rejection<R>(response: &Response<R>) -> Option<Status> {
    let error = response.extensions().get::<Error>()?.clone();
    let mut headers = response.headers().clone();
    // tonic panics on details that are no base64.
    let details = headers.get(Status::GRPC_STATUS_DETAILS);
    if details.is_some_and(|details| PADDED_OR_NOT.decode(details).is_err()) {
        headers.remove(Status::GRPC_STATUS_DETAILS);
    }
    let mut status = Status::from_header_map(&headers).unwrap_or_else(|| {
        Status::unauthenticated(format!("the server answered {}", response.status()))
    });
    status.set_source(Arc::new(error));
    Some(status)
}

/// As gRPC has it.
const PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Keeps the messages of a call while they are sent.
#[derive(Clone, Copy, Debug)]
struct Messages(Buffered);

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

/// How long the call may take: up to eight digits and a unit ([gRPC over HTTP/2]).
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
