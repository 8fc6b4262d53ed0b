//! What is told to whoever traces. `tests/leaks.rs` looks for secrets in it.

#![cfg(feature = "tracing")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    convert::Infallible,
    io,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use http::{Request, Response};
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::{BearerAuthLayer, ClientCredentials, TokenCache, replay::NoReplay};
use tracing::{Dispatch, subscriber::DefaultGuard};

use self::support::{Api, Body, TokenEndpoint, answer, get, lock, token};

const SECOND: Duration = Duration::from_secs(1);

/// Promise: R18
#[tokio::test(start_paused = true)]
async fn a_rejected_request_that_is_not_retried_tells_why() {
    let (told, _listening) = listen();
    let endpoint = TokenEndpoint::healthy(SECOND);
    let service = BearerAuthLayer::new(endpoint.credentials())
        .replay(NoReplay)
        .layer(Api::default().service());
    service.oneshot(get("/")).await.unwrap();
    let event = told.one("a rejected request is not retried");
    assert!(event.contains("DEBUG"), "{event}");
    assert!(event.contains("reason=CannotBeReplayed"), "{event}");
    assert!(!event.contains("error="), "{event}");
}

/// Promise: R9, R18
#[tokio::test(start_paused = true)]
async fn a_rejected_request_whose_token_request_fails_tells_its_error() {
    let (told, _listening) = listen();
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 3600),
            _ => answer(400, r#"{"error":"invalid_scope"}"#),
        }
    });
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(Api::default().service());
    service.oneshot(get("/")).await.unwrap();
    let event = told.one("a rejected request is not retried");
    assert!(event.contains("reason=TokenRequestFailed"), "{event}");
    assert!(event.contains("invalid_scope"), "{event}");
}

/// Promise: R5
#[tokio::test(start_paused = true)]
async fn a_rejected_request_tells_whether_it_may_be_retried() {
    for (may, expected) in [(true, "will_retry=true"), (false, "will_retry=false")] {
        let (told, _listening) = listen();
        let layer = BearerAuthLayer::new(TokenEndpoint::healthy(SECOND).credentials());
        let api = Api::default().service();
        let response = match may {
            true => layer.layer(api).oneshot(get("/")).await,
            false => layer.replay(NoReplay).layer(api).oneshot(get("/")).await,
        };
        assert_eq!(response.unwrap().status(), 401);
        let event = told.one("the access token was rejected");
        assert!(event.contains(expected), "{event}");
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_that_cannot_be_fetched_again_is_warned_about_and_used() {
    const METADATA: &str =
        r#"{"issuer":"https://auth.test","token_endpoint":"https://auth.test/token"}"#;
    let (told, _listening) = listen();
    let is_down = Arc::<Mutex<bool>>::default();
    let is_it = Arc::clone(&is_down);
    let server = service_fn(move |request: Request<Body>| {
        let answer: Response<Body> = match request.uri().path() {
            "/token" => token("t", 60),
            _ if *lock(&is_it) => answer(503, ""),
            _ => answer(200, METADATA),
        };
        async { Ok::<_, Infallible>(answer) }
    });
    let source = ClientCredentials::discover("https://auth.test", "id", "secret");
    let cache = TokenCache::new(source.build_with(server).unwrap());
    cache.get().await.unwrap();
    *lock(&is_down) = true;
    advance(SECOND * 2 * 3600).await;
    cache.get().await.unwrap();
    let event = told.one("could not renew the authorization server's metadata");
    assert!(event.contains("WARN"), "{event}");
    assert!(event.contains("answered 503"), "{event}");
}

/// What is told, a line for each event.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

/// Hears what this thread tells.
///
/// A call site asks once whether it is of interest, when it is first reached. In a process with a single subscriber it asks the
/// thread that reaches it, and stays silent for all of them if that is a thread of another test, which has none. With a second
/// one it asks all that there are.
fn listen() -> (Told, DefaultGuard) {
    static SECOND: LazyLock<Dispatch> =
        LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
    LazyLock::force(&SECOND);
    let told = Told::default();
    let writer = told.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (told, tracing::subscriber::set_default(subscriber))
}

impl Told {
    /// The one event that has this message.
    #[track_caller]
    fn one(&self, message: &str) -> String {
        let told = String::from_utf8(lock(&self.0).clone()).unwrap();
        let mut events = told.lines().filter(|line| line.contains(message));
        match (events.next(), events.next()) {
            (Some(event), None) => event.to_owned(),
            _ => panic!("there is not one event {message:?} in {told}"),
        }
    }
}

impl io::Write for Told {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
