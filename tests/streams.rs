//! A stream of 100 MiB to a slow server, through each stack, over real sockets: it arrives whole, the server's pace reaches
//! whoever says it, and memory stays flat.

#![cfg(all(feature = "reqwest-middleware", feature = "tonic"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/grpc.rs"]
mod grpc;

use std::{
    alloc::System,
    convert::Infallible,
    fmt::Debug,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::State};
use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode, Version, header::AUTHORIZATION, uri::PathAndQuery,
};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use reqwest_middleware::ClientBuilder;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::{net::TcpSocket, runtime::Builder, task::yield_now, time::timeout};
use tokio_stream::{Stream, StreamExt, iter};
use tonic::{Status, Streaming, client::Grpc, transport::Endpoint};
use tonic_prost::ProstCodec;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, Token, TokenCache,
    adapter::{reqwest::ReqwestService, tonic::GrpcAuthLayer},
    replay::Buffered,
    select::Always,
    token::TokenRequest,
    unauthorized::BearerChallenge,
};
use tower_http::map_request_body::MapRequestBodyLayer;

use self::grpc::Guard;

/// Counts what is allocated, and what of it was freed again.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

const TOTAL: usize = 100 * MIB;
const PART: usize = 64 * KIB;

/// How much of a body is kept.
const LIMIT: usize = 256 * KIB;

/// What may be allocated at once, by the client and by the server, which share a process: the copy and the parts that were
/// taken ahead of it (half a megabyte), and hyper's buffers or HTTP/2's window (a megabyte). About 1.5 MiB were measured for
/// each stack.
const FLAT: usize = 4 * MIB;

/// What may be said and not yet taken over HTTP/1.1: what the sockets hold. The sender's is the system's to choose, which is
/// 4 MiB at the most on most systems. 5 MiB were measured.
const SOCKETS: usize = 16 * MIB;

/// The same over HTTP/2, where the server's window is what counts: a megabyte. 1.1 MiB were measured.
const WINDOW: usize = 3 * MIB;

/// Promise: B2
#[test]
fn hyper_utils_client_streams_100_mib_over_http_1_in_flat_memory() {
    run(async {
        let api = Api::start().await;
        let service = kept_up_to(LIMIT).layer(client(Version::HTTP_11));
        let answer = service.oneshot(api.upload(TOTAL)).await.unwrap();
        assert_eq!(read(answer).await, (StatusCode::OK, TOTAL.to_string()));
        assert_eq!(api.requests(), [whole(Version::HTTP_11, "Bearer t1")]);
        api.progress.assert_slow_and_flat(SOCKETS);
    });
}

/// Promise: B2
#[test]
fn hyper_utils_client_streams_100_mib_over_http_2_in_flat_memory() {
    run(async {
        let api = Api::start().await;
        let service = kept_up_to(LIMIT).layer(client(Version::HTTP_2));
        let answer = service.oneshot(api.upload(TOTAL)).await.unwrap();
        assert_eq!(read(answer).await, (StatusCode::OK, TOTAL.to_string()));
        assert_eq!(api.requests(), [whole(Version::HTTP_2, "Bearer t1")]);
        api.progress.assert_slow_and_flat(WINDOW);
    });
}

/// Promise: B2
#[test]
fn reqwests_client_streams_100_mib_in_flat_memory() {
    run(async {
        let api = Api::start().await;
        let service = ServiceBuilder::new()
            .layer(kept_up_to(LIMIT))
            .layer(MapRequestBodyLayer::new(reqwest::Body::wrap))
            .service(ReqwestService::new(reqwest::Client::new()));
        let answer = service.oneshot(api.upload(TOTAL)).await.unwrap();
        assert_eq!(read(answer).await, (StatusCode::OK, TOTAL.to_string()));
        assert_eq!(api.requests(), [whole(Version::HTTP_11, "Bearer t1")]);
        api.progress.assert_slow_and_flat(SOCKETS);
    });
}

/// Promise: B2
#[test]
fn reqwest_middleware_streams_100_mib_in_flat_memory() {
    run(async {
        let api = Api::start().await;
        let client = ClientBuilder::new(reqwest::Client::new())
            .with(BearerAuthLayer::from_cache(tokens()))
            .build();
        let parts = parts(&api.progress, TOTAL).map(Ok::<_, Infallible>);
        let request = client.post(&api.origin);
        let request = request.body(reqwest::Body::wrap_stream(parts));
        let answer = request.send().await.unwrap().into();
        assert_eq!(read(answer).await, (StatusCode::OK, TOTAL.to_string()));
        assert_eq!(api.requests(), [whole(Version::HTTP_11, "Bearer t1")]);
        api.progress.assert_slow_and_flat(SOCKETS);
    });
}

/// Promise: B2
#[test]
fn tonic_streams_100_mib_of_messages_in_flat_memory() {
    run(async {
        let progress = Arc::new(Progress::default());
        let api = Guard::new(|token| token == "t1", Uploads(Arc::clone(&progress)));
        let origin = api.serve().await.unwrap();
        let channel = Endpoint::from_shared(origin).unwrap().connect_lazy();
        let layer = GrpcAuthLayer::from_cache(tokens()).keep_up_to(LIMIT);
        let mut client = Grpc::new(layer.layer(channel));

        let notes = parts(&progress, TOTAL).map(|part| Note { data: part.into() });
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/test.Uploads/Upload");
        let codec = ProstCodec::<Note, Count>::default();
        let answer = client
            .client_streaming(tonic::Request::new(notes), path, codec)
            .await;
        assert_eq!(answer.unwrap().get_ref().bytes, TOTAL as u64);
        assert_eq!(api.calls().len(), 1);
        progress.assert_slow_and_flat(WINDOW);
    });
}

/// Promise: B3
#[test]
fn a_stream_that_is_rejected_after_100_mib_is_sent_once_and_the_next_request_has_another_token() {
    for (version, ahead) in [(Version::HTTP_11, SOCKETS), (Version::HTTP_2, WINDOW)] {
        run(async {
            let api = Api::start().await;
            api.reject("Bearer t1");
            let cache = tokens();
            let layer = BearerAuthLayer::from_cache(cache.clone()).replay(Buffered::up_to(LIMIT));
            let service = layer.layer(client(version));

            let answer = service.clone().oneshot(api.upload(TOTAL)).await.unwrap();
            let (status, said) = read(answer).await;
            assert_eq!((status, &*said), (StatusCode::UNAUTHORIZED, REFUSAL));
            assert_eq!(api.requests(), [whole(version, "Bearer t1")]);
            api.progress.assert_slow_and_flat(ahead);

            replaced(&cache).await;
            let answer = service.oneshot(api.upload(PART)).await.unwrap();
            assert_eq!(read(answer).await, (StatusCode::OK, PART.to_string()));
            let first = whole(version, "Bearer t1");
            let next = Taken {
                token: HeaderValue::from_static("Bearer t2"),
                bytes: PART,
                ..first.clone()
            };
            assert_eq!(api.requests(), [first, next]);
        });
    }
}

/// Else the others would pass for nothing.
#[test]
fn a_copy_of_all_that_is_said_would_be_seen() {
    run(async {
        let api = Api::start().await;
        let service = kept_up_to(usize::MAX).layer(client(Version::HTTP_11));
        let answer = service.oneshot(api.upload(TOTAL)).await.unwrap();
        assert_eq!(read(answer).await, (StatusCode::OK, TOTAL.to_string()));
        let most = api.progress.most_allocated.load(SeqCst);
        assert!(most > TOTAL - PART, "{most} bytes");
    });
}

// What is said, and how far it got.

/// How far an upload got, and what it took.
#[derive(Debug, Default)]
struct Progress {
    /// What was allocated before it began.
    before: AtomicUsize,
    /// How many bytes it has.
    total: AtomicUsize,
    /// How many of them the client has asked for.
    said: AtomicUsize,
    /// How many the server has taken.
    taken: AtomicUsize,
    /// How many had been said and not taken, at the most.
    most_ahead: AtomicUsize,
    /// How many, at the least, whenever the server was about to take more.
    least_ahead: AtomicUsize,
    /// How many were allocated since it began, at the most.
    most_allocated: AtomicUsize,
}

impl Progress {
    fn begin(&self, total: usize) {
        // Made once, and no upload's own.
        LazyLock::force(&PATTERN);
        self.total.store(total, SeqCst);
        self.said.store(0, SeqCst);
        self.taken.store(0, SeqCst);
        self.most_ahead.store(0, SeqCst);
        self.least_ahead.store(usize::MAX, SeqCst);
        self.most_allocated.store(0, SeqCst);
        self.before.store(allocated(), SeqCst);
    }

    /// Counts what is said next, and looks at the memory.
    fn say(&self, part: &[u8]) {
        let said = self.said.fetch_add(part.len(), SeqCst) + part.len();
        let ahead = said - self.taken.load(SeqCst);
        self.most_ahead.fetch_max(ahead, SeqCst);
        let allocated = allocated().saturating_sub(self.before.load(SeqCst));
        self.most_allocated.fetch_max(allocated, SeqCst);
    }

    /// Looks whether this is what was to come next, and counts it.
    fn take(&self, data: &[u8]) {
        for piece in data.chunks(PART) {
            let taken = self.taken.fetch_add(piece.len(), SeqCst);
            assert!(piece == said_at(taken, piece.len()), "other than was said");
        }
    }

    /// Waits until the client can go no further: it has asked for nothing for many turns of the scheduler.
    async fn stalls(&self) {
        let mut before = self.said.load(SeqCst);
        let mut turns = 0;
        while turns < TURNS {
            yield_now().await;
            let now = self.said.load(SeqCst);
            turns = if now == before { turns + 1 } else { 0 };
            before = now;
        }
        if before < self.total.load(SeqCst) {
            let ahead = before - self.taken.load(SeqCst);
            self.least_ahead.fetch_min(ahead, SeqCst);
        }
    }

    /// The client was never further ahead than that, and never caught up with: all of the way, it was the server that was
    /// waited for. And memory was flat.
    fn assert_slow_and_flat(&self, most: usize) {
        let ahead = self.most_ahead.load(SeqCst);
        let least = self.least_ahead.load(SeqCst);
        assert!(ahead <= most, "{ahead} bytes ahead of the server");
        assert!(least > LIMIT, "only {least} bytes ahead of the server");
        let allocated = self.most_allocated.load(SeqCst);
        assert!(allocated <= FLAT, "{allocated} bytes at once");
    }
}

/// Turns of the scheduler, each with a look at the sockets.
const TURNS: usize = 16;

/// So many bytes, each part made when it is asked for.
fn parts(
    progress: &Arc<Progress>,
    bytes: usize,
) -> impl Stream<Item = Bytes> + Send + Sync + Unpin + 'static {
    progress.begin(bytes);
    let progress = Arc::clone(progress);
    iter((0..bytes).step_by(PART).map(move |position| {
        let part = Bytes::copy_from_slice(said_at(position, PART));
        progress.say(&part);
        part
    }))
}

/// What is said from this position on.
fn said_at(position: usize, length: usize) -> &'static [u8] {
    &PATTERN[position % PERIOD..][..length]
}

/// Over and over again, and then a part.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = fastrand::Rng::with_seed(7);
    let mut pattern: Vec<_> = (0..PERIOD).map(|_| random.u8(..)).collect();
    pattern.extend_from_within(..PART);
    pattern
});

/// A prime, so that no two pieces are the same that are cut where buffers and windows end.
const PERIOD: usize = 65_537;

/// How many bytes are allocated and not freed.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

// Servers.

/// A server of plain HTTP that takes a piece of a body when the client can go no further.
#[derive(Clone)]
struct Api {
    origin: String,
    progress: Arc<Progress>,
    rejected: Arc<Mutex<Option<&'static str>>>,
    requests: Arc<Mutex<Vec<Taken>>>,
}

/// A request as it came, to its end.
#[derive(Clone, Debug, PartialEq)]
struct Taken {
    version: Version,
    token: HeaderValue,
    bytes: usize,
}

fn whole(version: Version, token: &'static str) -> Taken {
    Taken {
        version,
        token: HeaderValue::from_static(token),
        bytes: TOTAL,
    }
}

impl Api {
    async fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // A system that is generous with buffers would take in much of a body unread.
        socket.set_recv_buffer_size(256 * 1024).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(16).unwrap();
        let api = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            progress: Arc::default(),
            rejected: Arc::default(),
            requests: Arc::default(),
        };
        let routes = Router::new().fallback(take).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        api
    }

    fn upload(&self, bytes: usize) -> Request<Upload> {
        let parts: Parts = Box::new(parts(&self.progress, bytes).map(|part| Ok(Frame::data(part))));
        Request::post(&self.origin)
            .body(StreamBody::new(parts))
            .unwrap()
    }

    /// Rejects this token from now on, once it has the whole body.
    fn reject(&self, token: &'static str) {
        *self.rejected.lock().unwrap() = Some(token);
    }

    fn requests(&self) -> Vec<Taken> {
        self.requests.lock().unwrap().clone()
    }
}

type Upload = StreamBody<Parts>;
type Parts = Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync + Unpin>;

async fn take(State(api): State<Api>, request: Request<Body>) -> Response<Body> {
    let (head, mut body) = request.into_parts();
    api.progress.stalls().await;
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        api.progress.take(&data);
        bytes += data.len();
        api.progress.stalls().await;
    }
    let token = head.headers[AUTHORIZATION].clone();
    let is_rejected = api
        .rejected
        .lock()
        .unwrap()
        .is_some_and(|rejected| token == rejected);
    api.requests.lock().unwrap().push(Taken {
        version: head.version,
        token,
        bytes,
    });
    if is_rejected {
        let mut rejection = Response::new(Body::from(REFUSAL));
        *rejection.status_mut() = StatusCode::UNAUTHORIZED;
        return rejection;
    }
    Response::new(Body::from(bytes.to_string()))
}

const REFUSAL: &str = "after all that";

/// The same as a service of gRPC.
#[derive(Clone, Debug)]
struct Uploads(Arc<Progress>);

#[derive(Clone, PartialEq, prost::Message)]
struct Note {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Count {
    #[prost(uint64, tag = "1")]
    bytes: u64,
}

type Answering =
    Pin<Box<dyn Future<Output = Result<Response<tonic::body::Body>, Infallible>> + Send>>;

impl Service<Request<tonic::body::Body>> for Uploads {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Request<tonic::body::Body>) -> Answering {
        let progress = Arc::clone(&self.0);
        Box::pin(async move {
            let count = service_fn(move |request| count(Arc::clone(&progress), request));
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Count, Note>::default());
            Ok(grpc.client_streaming(count, call).await)
        })
    }
}

async fn count(
    progress: Arc<Progress>,
    request: tonic::Request<Streaming<Note>>,
) -> Result<tonic::Response<Count>, Status> {
    let mut notes = request.into_inner();
    let mut bytes = 0;
    progress.stalls().await;
    while let Some(note) = notes.message().await? {
        progress.take(&note.data);
        bytes += note.data.len() as u64;
        progress.stalls().await;
    }
    Ok(tonic::Response::new(Count { bytes }))
}

// Clients.

/// The tokens `t1`, `t2`, …
fn tokens() -> TokenCache {
    let given = AtomicUsize::new(0);
    TokenCache::new(service_fn(move |_: TokenRequest| {
        let number = given.fetch_add(1, SeqCst) + 1;
        async move { Token::new(format!("t{number}")) }
    }))
}

fn kept_up_to(limit: usize) -> BearerAuthLayer<Always, BearerChallenge, Buffered> {
    BearerAuthLayer::from_cache(tokens()).replay(Buffered::up_to(limit))
}

fn client<B>(version: Version) -> Client<HttpConnector, B>
where
    B: http_body::Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new())
        .http2_only(version == Version::HTTP_2)
        .build_http()
}

/// An answer's status, and what it says.
async fn read<B>(answer: Response<B>) -> (StatusCode, String)
where
    B: http_body::Body<Error: Debug>,
{
    let status = answer.status();
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(said.into()).unwrap())
}

/// Waits until the token request under way is over. Until then, the token that was rejected is all there is.
async fn replaced(cache: &TokenCache) {
    let mut changes = cache.changes();
    while cache.state().is_requesting() {
        changes.next().await;
    }
}

/// One at a time, for the memory is the process's; and on one thread, where a turn of the scheduler is everyone's.
fn run(test: impl Future<Output = ()>) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    // Only a failure takes that long.
    let test = async { timeout(Duration::from_secs(60), test).await };
    runtime.block_on(test).unwrap();
}
