//! What the tests of reqwest and of reqwest-middleware share: a server that answers as it is told to, and what is sent to it.

#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::to_bytes, serve::ListenerExt};
use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, LOCATION},
};
use reqwest::Client;
use tokio::{
    net::{TcpListener, TcpSocket},
    time::timeout,
};
use tokio_stream::Stream;

/// A server on a free port that answers as it is told to, and writes down what came before it answers.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Site {
    pub(crate) async fn answering(
        answer: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |call| Some(answer(call))).await
    }

    /// `answer` has the answer to the n-th request, from 1. Without one, the request is never answered.
    pub(crate) async fn start(
        answer: impl Fn(usize) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let connections = Arc::<AtomicUsize>::default();
        let accepted = Arc::clone(&connections);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let listener = listener.tap_io(move |_| {
            accepted.fetch_add(1, Ordering::Relaxed);
        });
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        let routes = Router::new().fallback(move |request: Request<axum::body::Body>| {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            async move {
                let (head, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap();
                let call = {
                    let mut log = log.lock().unwrap();
                    log.push(Seen {
                        method: head.method,
                        headers: head.headers,
                        body,
                    });
                    log.len()
                };
                match answer(call) {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            }
        });
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self {
            origin,
            seen,
            connections,
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The `Authorization` of each request, empty if it had none.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let seen = self.seen();
        let value = |seen: &Seen| match seen.headers.get(AUTHORIZATION) {
            Some(value) => value.to_str().unwrap().to_owned(),
            None => String::new(),
        };
        seen.iter().map(value).collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

pub(crate) type Answer = Response<axum::body::Body>;

pub(crate) fn text(status: u16, body: &'static str) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

pub(crate) fn redirect(status: u16, location: &str) -> Answer {
    let mut answer = text(status, "");
    let location = location.parse().unwrap();
    answer.headers_mut().insert(LOCATION, location);
    answer
}

/// An address that rejects connections, and that nobody else is given meanwhile.
pub(crate) struct Nobody(TcpSocket);

impl Nobody {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self(socket)
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }
}

/// Within what a server lets one HTTP/2 connection have in flight.
pub(crate) const STREAMS: usize = 150;

pub(crate) fn http2() -> Client {
    let client = Client::builder().http2_prior_knowledge();
    client.build().unwrap()
}

/// How long a call takes that is never answered.
pub(crate) const SHORT: Duration = Duration::from_millis(500);

pub(crate) const SIXTY_THOUSAND: &str = match str::from_utf8(&[b'x'; 60_000]) {
    Ok(text) => text,
    Err(_) => unreachable!(),
};

pub(crate) const REFUSED: &str = r#"{"message":"Unauthorized"}"#;

pub(crate) const JSON: &str = r#"{"amount": 63}"#;

/// More than a socket takes at once.
pub(crate) fn large() -> Bytes {
    let note = "0123456789abcdef".repeat(40_000);
    format!(r#"{{"amount": 63, "note": "{note}"}}"#).into()
}

/// The same in pieces.
pub(crate) fn stream() -> impl Stream<Item = Result<Bytes, Infallible>> {
    let large = large();
    let pieces: Vec<_> = large.chunks(50_000).map(Bytes::copy_from_slice).collect();
    tokio_stream::iter(pieces.into_iter().map(Ok))
}

/// What comes of it. Only a failure takes that long.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(10), future).await.unwrap()
}
