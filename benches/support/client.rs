//! hyper's client over a connection in memory, as most users have it below the layer.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection, HttpConnector},
    },
    rt::{TokioExecutor, TokioIo},
};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tower::Service;

use crate::support::warm::{BODY, Body};

/// A client of a server that answers each warm request at once.
pub(crate) fn client() -> Client<InMemory, Body> {
    Client::builder(TokioExecutor::new()).build(InMemory {
        _like: HttpConnector::new(),
    })
}

#[derive(Clone)]
pub(crate) struct InMemory {
    /// What each clone of a client clones.
    _like: HttpConnector,
}

impl Service<Uri> for InMemory {
    type Response = TokioIo<Pipe>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (ours, theirs) = duplex(16 * 1024);
        tokio::spawn(serve(theirs));
        ready(Ok(TokioIo::new(Pipe(ours))))
    }
}

/// Answers requests as soon as they are there to their body's end.
async fn serve(mut connection: DuplexStream) -> io::Result<()> {
    let mut request = Vec::new();
    loop {
        if connection.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        if request.ends_with(&BODY) {
            request.clear();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            connection.write_all(answer).await?;
        }
    }
}

pub(crate) struct Pipe(DuplexStream);

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
