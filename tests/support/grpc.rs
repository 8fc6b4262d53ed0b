//! A gRPC server for those who have a valid token, on a loopback socket in this process.
//!
//! A [`Guard`] stands before the service. Like an interceptor, it looks at a call's head only and answers
//! `UNAUTHENTICATED` at once, without reading what the client sends. It counts and writes down what reaches it.

#![allow(
    dead_code,
    reason = "the example and the test use their own part of it"
)]

#[path = "gate.rs"]
mod gate;

use std::{
    convert::Infallible,
    fmt, io,
    net::Ipv4Addr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tokio_stream::{StreamExt, wrappers::TcpListenerStream};
use tonic::{Status, body::Body, transport::Server};
use tower::{Service, ServiceExt};

use self::gate::{Gate, Held};

/// A service of gRPC behind a check of the token. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Guard<S> {
    inner: S,
    shared: Arc<Shared>,
}

struct Shared {
    accepts: Box<dyn Fn(&str) -> bool + Send + Sync>,
    reject: Mutex<Arc<dyn Fn() -> Response<Body> + Send + Sync>>,
    reads_first: AtomicBool,
    gate: Gate,
    calls: Mutex<Vec<Call>>,
    connections: AtomicU64,
}

/// A call as it came, and whether its token was rejected.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    /// All that the client said, if the guard [reads first](Guard::read_first).
    pub(crate) body: Bytes,
    pub(crate) rejected: bool,
}

impl<S> Guard<S> {
    /// Lets calls through to `inner` whose token `accepts` likes.
    pub(crate) fn new(accepts: impl Fn(&str) -> bool + Send + Sync + 'static, inner: S) -> Self {
        let reject = || Status::unauthenticated(REJECTION).into_http();
        let shared = Shared {
            accepts: Box::new(accepts),
            reject: Mutex::new(Arc::new(reject)),
            reads_first: AtomicBool::new(false),
            gate: Gate::default(),
            calls: Mutex::default(),
            connections: AtomicU64::new(0),
        };
        Self {
            inner,
            shared: Arc::new(shared),
        }
    }

    /// The calls in the order in which their tokens were looked at.
    pub(crate) fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).clone()
    }

    /// How many TCP connections were accepted.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Holds calls in flight: the head of each has arrived, and its token is looked at when the gate opens.
    pub(crate) fn hold(&self) -> Held {
        self.shared.gate.hold()
    }

    /// From now on, reads what the client says to its end, and looks at the token then.
    pub(crate) fn read_first(&self) {
        self.shared.reads_first.store(true, Ordering::Relaxed);
    }

    /// From now on, rejects with this answer.
    pub(crate) fn reject_with(&self, reject: impl Fn() -> Response<Body> + Send + Sync + 'static) {
        *lock(&self.shared.reject) = Arc::new(reject);
    }
}

impl<S> Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    /// Serves on a free port until the runtime ends. Gives scheme, host and port, as in `http://127.0.0.1:8080`.
    pub(crate) async fn serve(&self) -> io::Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::clone(&self.shared);
        let incoming = TcpListenerStream::new(listener).map(move |connection| {
            shared.connections.fetch_add(1, Ordering::Relaxed);
            connection.inspect(|connection| {
                // Only latency is lost without it.
                let _ = connection.set_nodelay(true);
            })
        });
        let server = Server::builder().serve_with_incoming(self.clone(), incoming);
        tokio::spawn(server);
        Ok(format!("http://{address}"))
    }
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { inner, shared } = self.clone();
        Box::pin(async move {
            let (head, mut body) = request.into_parts();
            let mut said = Bytes::new();
            if shared.reads_first.load(Ordering::Relaxed) {
                said = match body.collect().await {
                    Ok(body) => body.to_bytes(),
                    Err(status) => return Ok(status.into_http()),
                };
                body = Body::new(Full::from(said.clone()));
            }
            shared.gate.pass().await;
            let rejected = !shared.accepts(&head.headers);
            lock(&shared.calls).push(Call {
                path: head.uri.path().to_owned(),
                version: head.version,
                headers: head.headers.clone(),
                body: said,
                rejected,
            });
            if rejected {
                let reject = Arc::clone(&lock(&shared.reject));
                return Ok(reject());
            }
            inner.oneshot(Request::from_parts(head, body)).await
        })
    }
}

impl Shared {
    fn accepts(&self, metadata: &HeaderMap) -> bool {
        let token = metadata
            .get(AUTHORIZATION)
            .and_then(|credentials| credentials.to_str().ok())
            .and_then(|credentials| credentials.strip_prefix("Bearer "));
        token.is_some_and(|token| (self.accepts)(token))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the guard says of a token that is missing or no good.
pub(crate) const REJECTION: &str = "the token is no good";
