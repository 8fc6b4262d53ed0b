//! What tests over real sockets share: clients of both versions, an API that takes in bodies of any size, and a count of
//! the bytes that are allocated.

#![allow(
    dead_code,
    reason = "every test file is a crate of its own and uses a part of this"
)]

use std::{
    alloc::System,
    convert::Infallible,
    io,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router, ServiceExt,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    serve::ListenerExt,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Version, header::AUTHORIZATION, request::Parts};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Builder,
    sync::{mpsc, watch},
    task::yield_now,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tower::Service;

use crate::embedded::Hydra;

pub(crate) const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

/// A client that speaks this version and no other: HTTP/2 by prior knowledge, for there is no TLS to agree on it.
pub(crate) fn client<B>(version: Version) -> Client<HttpConnector, B>
where
    B: http_body::Body<Data: Send> + Send,
{
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .http2_only(version == Version::HTTP_2)
        .build(tcp)
}

/// A server under way, until its runtime ends.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) origin: String,
    connections: Arc<AtomicU64>,
}

impl Server {
    pub(crate) async fn start<S>(service: S) -> Self
    where
        S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let connections = Arc::new(AtomicU64::new(0));
        let accepted = Arc::clone(&connections);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let listener = listener.tap_io(move |connection| {
            accepted.fetch_add(1, Ordering::Relaxed);
            let _ = connection.set_nodelay(true);
        });
        let service = service.into_make_service();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self {
            origin,
            connections,
        }
    }

    /// One that runs in another process, whose connections are not counted.
    pub(crate) fn elsewhere(origin: &str) -> Self {
        Self {
            origin: origin.into(),
            connections: Arc::default(),
        }
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// An API that reads a body as it comes, says 200 or, without a token that is good, 401, and then the body's trailers. To
/// a `GET` it answers with the body that it was [given](Sink::gives).
#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    hydra: Hydra,
    last: Mutex<HeaderMap>,
    gives: Mutex<Option<Body>>,
    /// Of all bodies together.
    received: watch::Sender<u64>,
    /// How each body ended, and how long it was.
    ended: watch::Sender<Vec<Result<u64, u64>>>,
}

impl Sink {
    pub(crate) async fn start(hydra: &Hydra) -> Self {
        let shared = Arc::new(Shared {
            hydra: hydra.clone(),
            last: Mutex::default(),
            gives: Mutex::default(),
            received: watch::Sender::default(),
            ended: watch::Sender::default(),
        });
        let router = Router::new().fallback(take_in);
        Self {
            server: Server::start(router.with_state(Arc::clone(&shared))).await,
            shared,
        }
    }

    /// The headers of the last request. Those of all would hold the buffers that they were read into.
    pub(crate) fn last(&self) -> HeaderMap {
        lock(&self.shared.last).clone()
    }

    /// How the bodies ended: whole or not, with their lengths.
    pub(crate) fn ended(&self) -> Vec<Result<u64, u64>> {
        self.shared.ended.borrow().clone()
    }

    /// Answers the next `GET` with this body.
    pub(crate) fn gives(&self, body: Body) {
        *lock(&self.shared.gives) = Some(body);
    }

    /// Waits until so many bytes have come.
    pub(crate) async fn received(&self, bytes: u64) {
        let mut received = self.shared.received.subscribe();
        let all = received.wait_for(|received| *received >= bytes);
        timeout(PATIENCE, all)
            .await
            .expect("the bytes come")
            .unwrap();
    }

    /// Waits until so many bodies have ended, one way or the other.
    pub(crate) async fn bodies(&self, bodies: usize) {
        let mut ended = self.shared.ended.subscribe();
        let all = ended.wait_for(|ended| ended.len() >= bodies);
        timeout(PATIENCE, all)
            .await
            .expect("the bodies end")
            .unwrap();
    }
}

async fn take_in(State(sink): State<Arc<Shared>>, request: Request) -> Response {
    let (head, mut body) = request.into_parts();
    let accepted = bearer(&head).is_some_and(|token| sink.hydra.scopes_of(token).is_some());
    *lock(&sink.last) = head.headers;
    let (mut bytes, mut trailers) = (0, None);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            sink.ended.send_modify(|ended| ended.push(Err(bytes)));
            return StatusCode::BAD_REQUEST.into_response();
        };
        if let Some(data) = frame.data_ref() {
            bytes += data.len() as u64;
            sink.received
                .send_modify(|received| *received += data.len() as u64);
        }
        trailers = frame.into_trailers().ok();
    }
    sink.ended.send_modify(|ended| ended.push(Ok(bytes)));
    if !accepted {
        let challenge = [("www-authenticate", REFUSAL)];
        return (StatusCode::UNAUTHORIZED, challenge, "no good").into_response();
    }
    if let Some(body) = lock(&sink.gives).take() {
        return Response::new(body);
    }
    let mut frames = vec![Ok::<_, io::Error>(Frame::data(Bytes::from("taken in")))];
    let mut response = Response::default();
    if let Some(trailers) = trailers {
        for name in trailers.keys() {
            let name = HeaderValue::from_str(name.as_str()).unwrap();
            response.headers_mut().append("trailer", name);
        }
        frames.push(Ok(Frame::trailers(trailers)));
    }
    response.map(|_: Body| Body::new(StreamBody::new(tokio_stream::iter(frames))))
}

pub(crate) const REFUSAL: &str = r#"Bearer realm="sink", error="invalid_token""#;

/// The token of the one `Authorization` header.
pub(crate) fn bearer(head: &Parts) -> Option<&str> {
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let token = values.next()?.to_str().unwrap().strip_prefix("Bearer ");
    assert!(values.next().is_none(), "two Authorization headers");
    token
}

/// A body that says what is sent to it, and nothing before, and ends when the sender is dropped.
pub(crate) fn streamed() -> (mpsc::Sender<Result<Frame<Bytes>, io::Error>>, Body) {
    let (pieces, body) = mpsc::channel(1);
    (
        pieces,
        Body::new(StreamBody::new(ReceiverStream::new(body))),
    )
}

/// A piece of a streamed body, allocated for it alone.
pub(crate) fn piece() -> Result<Frame<Bytes>, io::Error> {
    Ok(Frame::data(Bytes::from(vec![0x5a; PIECE])))
}

pub(crate) const PIECE: usize = 64 * 1024;
pub(crate) const PIECES: usize = 100 * 1024 * 1024 / PIECE;

/// What may come and go with 100 MiB: the buffers of the connections on their way, many times the limit of a
/// [`Buffered`](tower_bearer::replay::Buffered), and a twentieth of what is streamed at the most.
pub(crate) const FLAT: usize = 5 << 20;

/// Sends a body of 100 MiB, each piece when the one before it has arrived; how many bytes more were allocated on the way
/// than before, at the most.
pub(crate) async fn send_slowly(
    pieces: mpsc::Sender<Result<Frame<Bytes>, io::Error>>,
    sink: &Sink,
) -> usize {
    let before = allocated();
    let mut most = before;
    for number in 1..=PIECES {
        pieces
            .send(piece())
            .await
            .expect("the body is still wanted");
        sink.received((number * PIECE) as u64).await;
        most = most.max(allocated());
    }
    most - before
}

/// Reads a body of 100 MiB, each piece made when the one before it has arrived; how many bytes more were allocated on the
/// way than before, at the most.
pub(crate) async fn read_slowly<B>(
    mut body: B,
    pieces: mpsc::Sender<Result<Frame<Bytes>, io::Error>>,
) -> usize
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    let before = allocated();
    let mut most = before;
    for _ in 0..PIECES {
        pieces
            .send(piece())
            .await
            .expect("the body is still wanted");
        let mut left = PIECE;
        while left > 0 {
            let frame = timeout(PATIENCE, body.frame()).await.expect("a frame");
            left -= frame.unwrap().unwrap().into_data().unwrap().len();
        }
        most = most.max(allocated());
    }
    drop(pieces);
    while let Some(frame) = body.frame().await {
        // An HTTP/2 stream may end with a frame of nothing.
        assert_eq!(frame.unwrap().into_data().unwrap(), "");
    }
    most - before
}

/// An origin where nobody listens, for as long as the socket is kept.
pub(crate) fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let origin = format!("http://{}", socket.local_addr().unwrap());
    (socket, origin)
}

/// Waits for what has to come about by itself.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let so = async {
        while !is_so() {
            yield_now().await;
        }
    };
    timeout(PATIENCE, so).await.expect(what);
}

/// Only a failure takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const LONGEST: Duration = Duration::from_secs(60);

/// How many bytes are allocated and not freed.
pub(crate) fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Runs a test that counts bytes, and none of the others meanwhile.
pub(crate) fn alone(test: impl Future<Output = ()>) {
    let _turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
    let mut runtime = Builder::new_multi_thread();
    run(runtime.worker_threads(2), test);
}

/// Runs one of the others.
pub(crate) fn among_others(test: impl Future<Output = ()>) {
    let _turn = TURN.read().unwrap_or_else(PoisonError::into_inner);
    run(&mut Builder::new_current_thread(), test);
}

/// The runtime is gone with all that it holds before the turn is over.
fn run(runtime: &mut Builder, test: impl Future<Output = ()>) {
    let test = async { timeout(LONGEST, test).await.expect("the test ends") };
    runtime.enable_all().build().unwrap().block_on(test);
}

static TURN: RwLock<()> = RwLock::new(());

/// Counts what is allocated, and what of it was freed again.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
