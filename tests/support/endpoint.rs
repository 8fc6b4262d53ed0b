//! A server in process, a token endpoint or an API: what it answers is given beforehand, and every request is kept.

#![allow(
    dead_code,
    reason = "every test file is a crate of its own and uses a part of this"
)]

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use tower::{Service, ServiceExt, service_fn};
use tower_bearer::{ClientCredentials, Error, Token, TokenCache, token::TokenRequest};

/// One URL of a server, as a transport for `build_with` or as the service below a layer. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    answers: Arc<Mutex<VecDeque<Response<Bytes>>>>,
    requests: Arc<Mutex<Vec<Request<Bytes>>>>,
}

impl Endpoint {
    /// Gives these answers, one to each request, and the last one to all that follow.
    pub(crate) fn new(answers: impl IntoIterator<Item = Response<Bytes>>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            requests: Arc::default(),
        }
    }

    /// What came, in order.
    pub(crate) fn requests(&self) -> Vec<Request<Bytes>> {
        self.requests.lock().unwrap().clone()
    }

    /// How many POSTs came: at a token endpoint, the token requests.
    pub(crate) fn posts(&self) -> usize {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .filter(|request| request.method() == Method::POST)
            .count()
    }
}

impl Service<Request<Bytes>> for Endpoint {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        self.requests.lock().unwrap().push(request);
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.len() {
            1 => answers.front().cloned(),
            _ => answers.pop_front(),
        };
        ready(Ok(answer.expect("an answer was given").map(Full::new)))
    }
}

/// One answer.
pub(crate) fn answer(
    status: u16,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(body.into()).unwrap()
}

/// Makes one token request, and gives what the source made of it: the cache, which alone can ask a source, may think
/// otherwise of a token that is over when it comes.
pub(crate) async fn token_request(source: ClientCredentials) -> Result<Token, Error> {
    let made: Arc<Mutex<Option<Result<Token, Error>>>> = Arc::default();
    let seen = Arc::clone(&made);
    let cache = TokenCache::new(service_fn(move |request: TokenRequest| {
        let (source, seen) = (source.clone(), Arc::clone(&seen));
        async move {
            let result = source.oneshot(request).await;
            *seen.lock().unwrap() = Some(result.clone());
            result
        }
    }));
    let told = cache.get().await;
    let made = made.lock().unwrap().take();
    // Nothing is made where the token request was cut off.
    made.unwrap_or(told)
}

/// Runs a future on a runtime of its own whose time is paused, for tests that cannot be async themselves.
pub(crate) fn on_paused_time<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}
