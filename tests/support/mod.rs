//! An authorization server and an API in process, for tests in paused time. Both count what reaches them.

#![allow(
    dead_code,
    reason = "every test file is a crate of its own and uses a part of this"
)]

use std::{
    collections::HashSet,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tower::util::BoxCloneSyncService;
use tower_bearer::ClientCredentials;

pub(crate) type Body = Full<Bytes>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An authorization server: counts the POSTs that reach it and answers the n-th of them (from 1) as it is told to.
#[derive(Clone)]
pub(crate) struct TokenEndpoint {
    answer: Arc<dyn Fn(usize) -> BoxFuture<Response<Body>> + Send + Sync>,
    posts: Arc<Mutex<usize>>,
}

impl TokenEndpoint {
    pub(crate) fn new<F>(answer: impl Fn(usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self {
            answer: Arc::new(move |post| Box::pin(answer(post))),
            posts: Arc::default(),
        }
    }

    /// Gives the tokens `t1`, `t2`, … after `delay`, good for an hour.
    pub(crate) fn healthy(delay: Duration) -> Self {
        Self::new(move |post| async move {
            tokio::time::sleep(delay).await;
            token(&format!("t{post}"), 3600)
        })
    }

    pub(crate) fn token_requests(&self) -> usize {
        *lock(&self.posts)
    }

    pub(crate) fn credentials(&self) -> ClientCredentials {
        let this = self.clone();
        let transport = tower::service_fn(move |_: Request<Body>| {
            let post = {
                let mut posts = lock(&this.posts);
                *posts += 1;
                *posts
            };
            let answer = (this.answer)(post);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        ClientCredentials::builder("https://auth.test/token", "id", "secret")
            .build_with(transport)
            .unwrap()
    }
}

pub(crate) fn token(access_token: &str, expires_in: u64) -> Response<Body> {
    answer(
        200,
        &format!(
            r#"{{"access_token":"{access_token}","token_type":"bearer","expires_in":{expires_in}}}"#
        ),
    )
}

pub(crate) fn answer(status: u16, body: &str) -> Response<Body> {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

/// A bearer-protected API: 200 for the tokens that it accepts, else 401 with the number of the call as its body.
#[derive(Clone, Default)]
pub(crate) struct Api {
    accepted: Arc<Mutex<HashSet<String>>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// What the API saw of a request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) token: Option<String>,
    pub(crate) head: Arc<http::request::Parts>,
    pub(crate) body: Bytes,
}

impl Api {
    pub(crate) fn accepting<const N: usize>(tokens: [&str; N]) -> Self {
        let this = Self::default();
        this.accept_only(tokens);
        this
    }

    pub(crate) fn accept_only<const N: usize>(&self, tokens: [&str; N]) {
        *lock(&self.accepted) = tokens.iter().map(ToString::to_string).collect();
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    /// The tokens that came, in order.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let tokens = self.calls().into_iter().map(|call| call.token);
        tokens.map(Option::unwrap_or_default).collect()
    }

    /// Looks at a request once it has arrived.
    pub(crate) async fn handle<B>(self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body,
        B::Error: std::fmt::Debug,
    {
        let (head, body) = request.into_parts();
        let body = http_body_util::BodyExt::collect(body)
            .await
            .unwrap()
            .to_bytes();
        let token = bearer(&head.headers);
        let accepted = token
            .as_ref()
            .is_some_and(|token| lock(&self.accepted).contains(token));
        let call = {
            let mut calls = lock(&self.calls);
            calls.push(Call {
                token,
                head: Arc::new(head),
                body,
            });
            calls.len()
        };
        answer(if accepted { 200 } else { 401 }, &format!("call {call}"))
    }

    pub(crate) fn service(&self) -> ApiService {
        let this = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request: Request<Body>| {
            let answer = this.clone().handle(request);
            async move { Ok::<_, Infallible>(answer.await) }
        }))
    }
}

pub(crate) type ApiService = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The token of the one `Authorization` header; a second one is a failure.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let token = values.next().map(token_of);
    assert!(values.next().is_none(), "more than one Authorization");
    token
}

fn token_of(value: &HeaderValue) -> String {
    let value = value.to_str().unwrap();
    value.strip_prefix("Bearer ").unwrap_or(value).to_owned()
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(format!("https://api.test{path}"))
        .body(Body::default())
        .unwrap()
}

pub(crate) async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap()
        .to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Lets every task that can go on do so, and those they wake, without letting paused time move.
pub(crate) async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
