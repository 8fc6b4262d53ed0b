//! Bodies of every framing, by a real client over sockets: what the API gets of the first attempt and of the retry.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/script.rs"]
mod script;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, response::Response, serve::ListenerExt};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Version,
    header::{AUTHORIZATION, CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING},
    request::Builder,
};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{net::TcpListener, time::timeout};
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::{BearerAuthLayer, Token, replay::Buffered, token::TokenRequest};

use self::script::{Script, Step};

const LIMIT: usize = 1024;

/// How the length of a body is told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    /// By `Content-Length`, and the body does not know it.
    HeaderAlone,
    /// By the body's size hint.
    SizeHint,
    /// By both.
    Both,
    /// Not at all: chunked over HTTP/1.1.
    Unknown,
}

use Framing::{Both, HeaderAlone, SizeHint, Unknown};

/// What comes when all bytes were given.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    AtOnce,
    /// When it is asked for the second time, as the end of a file.
    Later,
    /// A frame of nothing, and then the end.
    AfterNothing,
    Trailers,
    TrailersLater,
}

/// Promise: B5
#[tokio::test]
async fn a_body_that_was_sent_whole_is_replayed_whatever_its_framing_frames_and_trailers() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let api = Api::start().await;
        for framing in [HeaderAlone, SizeHint, Both, Unknown] {
            for frames in [1, 2, 3, 4, 33] {
                for end in [
                    End::AtOnce,
                    End::Later,
                    End::AfterNothing,
                    End::Trailers,
                    End::TrailersLater,
                ] {
                    let case = format!("{version:?}, {framing:?}, {frames} frames, {end:?}");
                    let (head, body) = request(&api, framing, frames, end);
                    let status = api.call(version, head.body(body).unwrap()).await;
                    let [first, second] = api.two_calls(&case);
                    assert_eq!(status, StatusCode::OK, "{case}");
                    assert_eq!(first.token, "Bearer t1", "{case}");
                    assert_eq!(second.token, "Bearer t2", "{case}");
                    assert_eq!(first.body, "abc".repeat(frames), "{case}");
                    assert_eq!(first.content(), second.content(), "{case}");
                    // HTTP/1.1 has trailers after chunks only.
                    let has_trailers = matches!(end, End::Trailers | End::TrailersLater)
                        && (version == Version::HTTP_2 || framing == Unknown);
                    assert_eq!(first.trailers.is_some(), has_trailers, "{case}");
                }
            }
        }
    }
}

/// Promise: B2
#[tokio::test]
async fn a_body_past_the_limit_is_sent_whole_once_whatever_its_framing() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let api = Api::start().await;
        for framing in [HeaderAlone, SizeHint, Both, Unknown] {
            let frames = LIMIT / 3 + 1;
            let (head, body) = request(&api, framing, frames, End::AtOnce);
            let status = api.call(version, head.body(body).unwrap()).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{framing:?}");
            let [only] = &api.take_calls()[..] else {
                panic!("{framing:?}: retried");
            };
            assert_eq!(only.body, "abc".repeat(frames));
        }
    }
}

/// The body says more than its head: the client sends what was declared, which is not what a replay would send.
///
/// Promise: B3
#[tokio::test]
async fn a_body_that_goes_on_past_its_declared_length_is_not_replayed() {
    let api = Api::start().await;
    let (_, body) = request(&api, Unknown, 4, End::AtOnce);
    let head = Request::post(&api.origin).header(CONTENT_LENGTH, 6);
    let status = api.call(Version::HTTP_11, head.body(body).unwrap()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let [only] = &api.take_calls()[..] else {
        panic!("retried");
    };
    assert_eq!(only.body, "abcabc");
}

fn request(api: &Api, framing: Framing, frames: usize, end: End) -> (Builder, Script) {
    let data = |text: &'static str| Step::Data(Bytes::from(text));
    let trailers = || {
        let sum = ("x-sum".parse().unwrap(), HeaderValue::from_static("17"));
        Step::Trailers(HeaderMap::from_iter([sum]))
    };
    let mut steps = vec![data("abc"); frames];
    steps.extend(match end {
        End::AtOnce => vec![],
        End::Later => vec![Step::Pause],
        End::AfterNothing => vec![data("")],
        End::Trailers => vec![trailers()],
        End::TrailersLater => vec![Step::Pause, trailers()],
    });
    let mut head = Request::post(&api.origin);
    if matches!(framing, HeaderAlone | Both) {
        head = head.header(CONTENT_LENGTH, 3 * frames);
    }
    if matches!(end, End::Trailers | End::TrailersLater) {
        head = head.header(TRAILER, "x-sum");
    }
    let body = Script::new(steps);
    match framing {
        SizeHint | Both => (head, body.sized()),
        HeaderAlone | Unknown => (head, body),
    }
}

/// An API that reads each body to its end, and rejects the first token of each caller.
#[derive(Clone)]
struct Api {
    origin: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// What the API got.
#[derive(Clone, Debug)]
struct Call {
    token: String,
    headers: HeaderMap,
    body: String,
    trailers: Option<HeaderMap>,
}

impl Call {
    /// All that must be the same in both attempts.
    fn content(&self) -> impl PartialEq + std::fmt::Debug + '_ {
        let framing = [CONTENT_LENGTH, TRANSFER_ENCODING].map(|name| self.headers.get(name));
        (framing, &self.body, &self.trailers)
    }
}

impl Api {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            calls: Arc::default(),
        };
        let listener = listener.tap_io(|connection| connection.set_nodelay(true).unwrap());
        let calls = Arc::clone(&api.calls);
        let routes = Router::new().fallback(move |request: Request<Body>| {
            let calls = Arc::clone(&calls);
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap();
                let call = Call {
                    token: head.headers[AUTHORIZATION].to_str().unwrap().to_owned(),
                    headers: head.headers,
                    trailers: body.trailers().cloned(),
                    body: String::from_utf8(body.to_bytes().into()).unwrap(),
                };
                let mut answer = Response::new(Body::empty());
                if call.token == "Bearer t1" {
                    *answer.status_mut() = StatusCode::UNAUTHORIZED;
                }
                calls.lock().unwrap().push(call);
                answer
            }
        });
        tokio::spawn(async move { axum::serve(listener, routes).await });
        api
    }

    /// Sends a request with the token `t1`, and where that is rejected with `t2`.
    async fn call(&self, version: Version, request: Request<Script>) -> StatusCode {
        let given = AtomicUsize::new(0);
        let source = service_fn(move |_: TokenRequest| {
            let number = given.fetch_add(1, Ordering::Relaxed) + 1;
            async move { Token::new(format!("t{number}")) }
        });
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .http2_only(version == Version::HTTP_2)
            .build(tcp);
        let layer = BearerAuthLayer::new(source).replay(Buffered::up_to(LIMIT));
        let answer = layer.layer(client).oneshot(request);
        // Only a failure takes that long.
        let answer = timeout(Duration::from_secs(20), answer).await;
        answer.unwrap().unwrap().status()
    }

    fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    fn two_calls(&self, case: &str) -> [Call; 2] {
        let calls = self.take_calls();
        calls
            .try_into()
            .unwrap_or_else(|calls| panic!("{case}: {calls:?}"))
    }
}
