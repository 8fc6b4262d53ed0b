//! gRPC clients of tonic.
//!
//! ```
//! use tonic::transport::Endpoint;
//! use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
//! use tower::Layer;
//! use tower_bearer::{ClientCredentials, adapter::tonic::GrpcAuthLayer};
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
//! - **Refusals.** `UNAUTHENTICATED` (16) in an answer without messages counts, and so does HTTP 401: [`GrpcUnauthenticated`].
//! - **Second tries.** A call is sent again if the server refused it after all its messages had been sent, and they were
//!   small enough to be kept: unary calls, as a rule, and the ones whose answer is a stream. A stream of requests that is
//!   still under way is not sent again; the token is replaced for the next call.
//! - **Deadlines.** `grpc-timeout` ([`tonic::Request::set_timeout`]) is the call's [`Deadline`]: neither the wait for a token nor a
//!   second try runs past it.
//! - **Errors.** Where no token can be had, callers get a [`Status`] with this crate's [`Error`] as its source:
//!   `DEADLINE_EXCEEDED` for [`ErrorKind::Timeout`], `UNAVAILABLE` where the same call may well succeed a little later
//!   ([`Error::is_transient`]), else `UNAUTHENTICATED`. Where a refused token could not be replaced, the server's own
//!   status has the [`Error`] as its source.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use tonic::{Code, Status, body::Body};
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    cache::{Caches, TokenCache},
    error::{Error, ErrorKind},
    extension::Deadline,
    future::ResponseFuture,
    layer::BearerAuthLayer,
    replay::{Buffered, Replay, Tape},
    select::{Always, Select},
    service::BearerAuth,
    source::TokenSource,
    unauthorized::GrpcUnauthenticated,
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
}

impl<C: Caches> GrpcAuthLayer<Always, C> {
    /// A layer that shares a cache, with other channels or with clients of plain HTTP, or that has many of them by key.
    #[must_use]
    pub fn from_cache(cache: C) -> Self {
        let layer = BearerAuthLayer::from_cache(cache)
            .unauthorized(GrpcUnauthenticated)
            .replay(Messages(Buffered::up_to(KEPT)));
        Self { layer }
    }
}

impl<Sel, C> GrpcAuthLayer<Sel, C> {
    /// Which calls get a token. All of them by default.
    #[must_use]
    pub fn select<T>(self, select: T) -> GrpcAuthLayer<T, C> {
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

    /// The cache, or the caches, to share or to look after.
    #[must_use]
    pub fn cache(&self) -> &C {
        self.layer.cache()
    }
}

/// In bytes. Nearly all unary requests are smaller.
const KEPT: usize = 64 * 1024;

impl<S, Sel: Clone, C: Clone> Layer<S> for GrpcAuthLayer<Sel, C> {
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

impl<S, R, Sel, C> Service<Request<Body>> for GrpcAuth<S, Sel, C>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: http_body::Body,
    Sel: Select<Body, Key = C::Key>,
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
        GrpcFuture {
            response: self.inner.call(request),
        }
    }
}

pin_project! {
    /// The future of [`GrpcAuth`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct GrpcFuture<S, R>
    where
        S: Service<Request<Body>>,
    {
        #[pin]
        response: ResponseFuture<S, Body, R, GrpcUnauthenticated, Messages>,
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
        Poll::Ready(match ready!(self.project().response.poll(cx)) {
            Ok(response) => match refusal(&response) {
                Some(status) => Err(status.into()),
                None => Ok(response),
            },
            Err(error) => Err(match error.downcast::<Error>() {
                Ok(error) => status(*error).into(),
                Err(theirs) => theirs,
            }),
        })
    }
}

/// The status of a call for which no token could be had.
fn status(error: Error) -> Status {
    let code = match error.kind() {
        ErrorKind::Timeout => Code::DeadlineExceeded,
        _ if error.is_transient() => Code::Unavailable,
        _ => Code::Unauthenticated,
    };
    let mut status = Status::new(code, error.to_string());
    status.set_source(Arc::new(error));
    status
}

/// The server's own status, with the reason why the call was not sent again, which would be lost with the response.
fn refusal<R>(response: &Response<R>) -> Option<Status> {
    let error = response.extensions().get::<Error>()?.clone();
    let mut headers = response.headers().clone();
    // Details that are no base64 would be a panic in there.
    headers.remove(Status::GRPC_STATUS_DETAILS);
    let mut status = Status::from_header_map(&headers)?;
    status.set_source(Arc::new(error));
    Some(status)
}

/// Keeps the messages of a call while they are sent.
#[derive(Clone, Copy, Debug)]
pub struct Messages(Buffered);

impl Replay<Body> for Messages {
    type Body = Body;
    type Tape = Tape;

    fn pass(&self, body: Body) -> Body {
        body
    }

    fn record(&self, body: Body) -> (Body, Option<Tape>) {
        let (body, tape) = self.0.record(body);
        (Body::new(body), tape)
    }

    fn rewind(&self, tape: Tape) -> Option<Body> {
        let body = <Buffered as Replay<Body>>::rewind(&self.0, tape)?;
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
