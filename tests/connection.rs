//! The rejection's body and the connection it came by, over real sockets with the real hyper client.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::State, serve::ListenerExt};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{net::TcpListener, sync::Notify, time::timeout};
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::{BearerAuthLayer, Token, token::TokenRequest};

/// An API on a loopback socket that rejects the token `old` with the given body. Counts its connections.
async fn serve(rejection: fn() -> Body) -> (String, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let listener = listener.tap_io(move |_| {
        counted.fetch_add(1, SeqCst);
    });
    let routes = Router::new().fallback(answer).with_state(rejection);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (origin, connections)
}

async fn answer(State(rejection): State<fn() -> Body>, headers: HeaderMap) -> Response<Body> {
    if headers[AUTHORIZATION] != "Bearer old" {
        return Response::new(Body::from("accepted"));
    }
    let mut response = Response::new(rejection());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

/// Calls an API whose first answer is such a rejection; what it says in the end, and how many connections that took.
async fn call(rejection: fn() -> Body) -> (Bytes, usize) {
    call_by(
        Client::builder(TokioExecutor::new()).build_http(),
        rejection,
    )
    .await
}

async fn call_by(
    client: Client<HttpConnector, Full<Bytes>>,
    rejection: fn() -> Body,
) -> (Bytes, usize) {
    let (origin, connections) = serve(rejection).await;
    let source = service_fn(|request: TokenRequest| async move {
        Token::new(match request.rejected_token() {
            None => "old",
            Some(_) => "new",
        })
    });
    let service = BearerAuthLayer::new(source).layer(client);
    let request = Request::get(origin).body(Full::default()).unwrap();
    let response = timeout(Duration::from_secs(10), service.oneshot(request)).await;
    let body = response.unwrap().unwrap().into_body().collect().await;
    (body.unwrap().to_bytes(), connections.load(SeqCst))
}

/// Promise: R12
#[tokio::test]
async fn a_small_rejection_gives_its_connection_to_the_retry() {
    let (body, connections) = call(|| Body::from(r#"{"error":"invalid_token"}"#)).await;
    assert_eq!(body, "accepted");
    assert_eq!(connections, 1);
}

/// The head is there before the body, so that the client cannot tell at once that the connection will be free.
///
/// Promise: R12
#[tokio::test]
async fn a_small_rejection_that_comes_in_parts_gives_its_connection_to_the_retry() {
    let (body, connections) = call(|| Body::new(Late { parts: 3, held: 0 })).await;
    assert_eq!(body, "accepted");
    assert_eq!(connections, 1);
}

/// Promise: R12
#[tokio::test]
async fn over_http_2_the_stream_of_an_endless_rejection_is_reset_and_the_connection_stays() {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    static DROPPED: Notify = Notify::const_new();
    struct Told(Endless);
    impl http_body::Body for Told {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Pin::new(&mut self.0).poll_frame(context)
        }
    }
    impl Drop for Told {
        fn drop(&mut self) {
            DROPPED.notify_one();
        }
    }
    let rejection = || Body::new(Told(Endless { goes_on: true }));
    let (body, connections) = call_by(client.clone(), rejection).await;
    assert_eq!(body, "accepted");
    assert_eq!(connections, 1);
    // The client is there still, so it is the stream that ended, and not the connection.
    timeout(Duration::from_secs(10), DROPPED.notified())
        .await
        .unwrap();
    drop(client);
}

/// Promise: R12
#[tokio::test]
async fn an_endless_rejection_does_not_hang_the_retry() {
    let (body, _) = call(|| Body::new(Endless { goes_on: true })).await;
    assert_eq!(body, "accepted");
}

/// Promise: R12
#[tokio::test]
async fn a_rejection_that_neither_ends_nor_goes_on_does_not_hang_the_retry() {
    let (body, _) = call(|| Body::new(Endless { goes_on: false })).await;
    assert_eq!(body, "accepted");
}

struct Endless {
    goes_on: bool,
}

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.goes_on {
            true => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1024]))))),
            false => Poll::Pending,
        }
    }
}

/// A body whose parts each come a little later than they are asked for.
struct Late {
    parts: usize,
    held: usize,
}

impl http_body::Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.held < TURNS {
            self.held += 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.held = 0;
        let part = self.parts.checked_sub(1).map(|left| {
            self.parts = left;
            Ok(Frame::data(Bytes::from_static(b"part")))
        });
        Poll::Ready(part)
    }
}

/// Turns of the server's task, in which the client gets on.
const TURNS: usize = 100;
