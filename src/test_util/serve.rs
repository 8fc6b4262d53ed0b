//! A server on a loopback socket.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tower::BoxError;
use tower_service::Service;

use super::{Answering, body::Body};

/// A server on a socket. Dropping it stops the server and ends its connections.
#[derive(Debug)]
#[must_use = "dropping it stops the server"]
pub struct Served {
    url: String,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Served {
    /// Its scheme, host and port, such as `http://127.0.0.1:49152`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What is known of a connection. Requests that come over a socket have it in their extensions.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) origin: Arc<str>,
    /// The client's, in DER.
    pub(super) certificate: Option<Bytes>,
}

/// Serves over plain TCP.
pub(super) async fn serve<H>(handle: H) -> io::Result<Served>
where
    H: Fn(Request<Bytes>) -> Answering + Clone + Send + Sync + 'static,
{
    start("http://127.0.0.1", move |tcp, origin| {
        let handle = handle.clone();
        async move {
            let certificate = None;
            converse(
                tcp,
                handle,
                Connection {
                    origin,
                    certificate,
                },
            )
            .await;
        }
    })
}

/// Accepts connections on a free port, each in a task that ends with the server.
pub(super) fn start<C, F>(origin: &str, converse: C) -> io::Result<Served>
where
    C: Fn(TcpStream, Arc<str>) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = listen()?;
    let url = format!("{origin}:{}", listener.local_addr()?.port());
    let connections = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&connections);
    let origin = Arc::<str>::from(&*url);
    let accepting = tokio::spawn(async move {
        let mut conversations = JoinSet::new();
        while let Ok((tcp, _)) = listener.accept().await {
            accepted.fetch_add(1, Ordering::Relaxed);
            // Only latency is lost without it.
            let _ = tcp.set_nodelay(true);
            conversations.spawn(converse(tcp, Arc::clone(&origin)));
            while conversations.try_join_next().is_some() {}
        }
    });
    Ok(Served {
        url,
        connections,
        accepting,
    })
}

fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    // The usual 128 overflow in a crowd, and a client that does not get in waits a whole second.
    socket.listen(4096)
}

/// Answers the requests of a connection, until it ends.
pub(super) async fn converse<I, H>(io: I, handle: H, connection: Connection)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Bytes>) -> Answering + Clone + Send + Sync + 'static,
{
    let service = TowerToHyperService::new(Conversation { handle, connection });
    let server = auto::Builder::new(TokioExecutor::new());
    // Its error is that of a client which went away, or of an answer that is scripted to be none.
    let _ = server.serve_connection(TokioIo::new(io), service).await;
}

/// Reads a request and has it answered.
#[derive(Clone)]
struct Conversation<H> {
    handle: H,
    connection: Connection,
}

impl<H, B> Service<Request<B>> for Conversation<H>
where
    H: Fn(Request<Bytes>) -> Answering + Clone + Send + Sync + 'static,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let Self { handle, connection } = self.clone();
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            head.extensions.insert(connection);
            let body = body.collect().await.map_err(Into::into)?.to_bytes();
            handle(Request::from_parts(head, body)).await
        })
    }
}
