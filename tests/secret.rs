//! A secret that is rotated under a running client.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/alone.rs"]
mod alone;
mod support;

use std::{
    convert::Infallible,
    fs,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use tokio::time::sleep;
use tower::{Layer, Service, service_fn};
use tower_bearer::{BearerAuthLayer, ClientCredentials, Error, ErrorKind, Secret, TokenCache};

use self::support::{Body, answer, lock, token};

/// A token endpoint that takes one secret, and the secrets that it was sent.
#[derive(Clone, Default)]
struct Server {
    right: Arc<Mutex<String>>,
    sent: Arc<Mutex<Vec<String>>>,
    /// Runs once, while a POST is under way.
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

impl Server {
    fn with_secret(secret: &str) -> Self {
        let this = Self::default();
        secret.clone_into(&mut lock(&this.right));
        this
    }

    fn client(&self, secret: impl Into<Secret>) -> Result<ClientCredentials, Error> {
        let this = self.clone();
        let transport = service_fn(move |request: Request<Body>| {
            let this = this.clone();
            async move {
                let form = request.into_body().collect().await.unwrap().to_bytes();
                if let Some(meanwhile) = lock(&this.meanwhile).take() {
                    meanwhile();
                }
                Ok::<http::Response<Full<Bytes>>, Infallible>(this.answer(&form))
            }
        });
        ClientCredentials::builder("https://auth.test/token", "id", secret).build_with(transport)
    }

    fn answer(&self, form: &[u8]) -> http::Response<Body> {
        let (_, secret) = url::form_urlencoded::parse(form)
            .find(|(name, _)| name == "client_secret")
            .unwrap();
        let right = *secret == **lock(&self.right);
        lock(&self.sent).push(secret.into_owned());
        match right {
            true => token("t", 3600),
            false => answer(401, r#"{"error":"invalid_client"}"#),
        }
    }

    fn sent(&self) -> Vec<String> {
        lock(&self.sent).clone()
    }
}

/// A file of its own for each test, gone with it.
struct File(PathBuf);

impl File {
    fn holding(name: &str, text: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn secret(&self) -> Secret {
        Secret::from_file(&self.0)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_secret_file_is_read_at_each_token_request_without_the_white_space_around_it() {
    let file = File::holding("read-at-each-token_request", "first\n");
    let server = Server::with_secret("first");
    let cache = TokenCache::new(server.client(file.secret()).unwrap());
    cache.refresh().await.unwrap();

    fs::write(&file.0, "  second\r\n").unwrap();
    "second".clone_into(&mut lock(&server.right));
    cache.refresh().await.unwrap();

    assert_eq!(server.sent(), ["first", "second"]);
}

/// It is set for a process of its own.
#[test]
fn a_secret_in_a_variable_is_read_without_the_white_space_around_it() {
    alone::run("environment::", 1, |command| {
        command.env("PADDED", " \tpass word\r\n");
    });
}

mod environment {
    use super::*;

    #[tokio::test]
    #[ignore = "run by a_secret_in_a_variable_is_read_without_the_white_space_around_it"]
    async fn what_is_around_it_is_nothing_of_it() {
        let server = Server::with_secret("pass word");
        let source = server.client(Secret::from_env("PADDED")).unwrap();
        TokenCache::new(source).get().await.unwrap();
        assert_eq!(server.sent(), ["pass word"]);
    }
}

/// Promise: L12
#[tokio::test]
async fn a_secret_that_is_rotated_during_a_token_request_is_read_again_and_tried_at_once() {
    let file = File::holding("rotated-during-an-token_request", "first");
    let server = Server::with_secret("second");
    let path = file.0.clone();
    *lock(&server.meanwhile) = Some(Box::new(move || fs::write(path, "second").unwrap()));
    let cache = TokenCache::new(server.client(file.secret()).unwrap());

    cache.get().await.unwrap();

    assert_eq!(server.sent(), ["first", "second"]);
}

/// Promise: L12
#[tokio::test(start_paused = true)]
async fn a_secret_that_is_still_the_same_is_not_tried_twice() {
    let file = File::holding("still-the-same", "wrong");
    let server = Server::with_secret("right");
    for secret in [file.secret(), Secret::from("wrong")] {
        lock(&server.sent).clear();
        let cache = TokenCache::new(server.client(secret).unwrap());
        for _ in 0..10 {
            let error = cache.get().await.unwrap_err();
            assert_eq!(error.oauth_code(), Some("invalid_client"));
        }
        assert_eq!(server.sent(), ["wrong"]);
    }
}

/// Promise: L12
#[tokio::test(start_paused = true)]
async fn a_secret_that_is_put_right_later_is_picked_up_by_the_next_try_or_at_once_by_a_refresh() {
    let file = File::holding("put-right", "wrong");
    for refresh in [false, true] {
        fs::write(&file.0, "wrong").unwrap();
        let server = Server::with_secret("right");
        let cache = TokenCache::new(server.client(file.secret()).unwrap());
        cache.get().await.unwrap_err();
        fs::write(&file.0, "right").unwrap();
        let error = cache.get().await.unwrap_err();
        if refresh {
            cache.refresh().await.unwrap();
        } else {
            tokio::time::sleep(error.retry_after().unwrap()).await;
        }
        cache.get().await.unwrap();
        assert_eq!(server.sent(), ["wrong", "right"]);
    }
}

/// The server takes the new secret alone from one moment to the next, and the file has it a second after that was noticed.
///
/// Promise: L3, L12
#[tokio::test(start_paused = true)]
async fn a_secret_that_is_rotated_under_load_costs_one_token_request_at_the_most_and_no_request() {
    let file = File::holding("under-load", "first");
    let server = Server::with_secret("first");
    let cache = TokenCache::new(server.client(file.secret()).unwrap());
    let mut api = BearerAuthLayer::from_cache(cache).layer(service_fn(|request: Request<Body>| {
        assert!(request.headers().contains_key(AUTHORIZATION));
        async { Ok::<_, Infallible>(answer(200, "")) }
    }));
    let mut noticed = None;
    // Three tokens of an hour, ten requests a second.
    for tenth in 0..3 * 36_000_u32 {
        if tenth == 6_000 {
            "second".clone_into(&mut lock(&server.right));
        }
        if noticed.is_none() && server.sent().len() > 1 {
            noticed = Some(tenth);
        }
        if noticed.is_some_and(|noticed| tenth == noticed + 10) {
            fs::write(&file.0, "second").unwrap();
        }
        api.call(support::get("/")).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    let sent = server.sent();
    // One that is rejected, and read once more: the file has no other yet.
    assert_eq!(sent[..2], ["first", "first"]);
    assert!(
        sent[2..].iter().all(|secret| secret == "second"),
        "{sent:?}"
    );
    assert!(sent.len() >= 4, "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_secret_file_that_is_gone_for_a_moment_is_a_transient_error() {
    let file = File::holding("gone-for-a-moment", "right");
    let server = Server::with_secret("right");
    let cache = TokenCache::new(server.client(file.secret()).unwrap());
    fs::remove_file(&file.0).unwrap();
    let error = cache.get().await.unwrap_err();
    assert!(error.is_transient());
    assert!(error.to_string().contains("gone-for-a-moment"), "{error}");

    fs::write(&file.0, "").unwrap();
    let error = cache.refresh().await.unwrap_err();
    assert!(error.is_transient());
    assert_eq!(server.sent(), [""; 0]);
}

#[test]
fn a_file_that_is_too_long_for_a_secret_is_an_error_and_not_cut() {
    let file = File::holding("too-long", &"x".repeat(64 * 1024));
    let server = Server::with_secret("right");
    let error = server.client(file.secret()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("64 KiB"), "{cause}");
}

/// Who opens a pipe waits for whoever writes, and a thread with it.
///
/// Promise: F7
#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_secret_file_is_an_error_and_is_not_waited_for() {
    let file = File(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pipe"));
    // One that a run left behind which was cut off.
    let _ = fs::remove_file(&file.0);
    let made = Command::new("mkfifo").arg(&file.0).status();
    assert!(made.unwrap().success());
    let server = Server::with_secret("right");
    let error = server.client(file.secret()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("not a regular file"), "{cause}");
}

#[test]
fn a_secret_file_that_is_not_there_or_empty_is_told_when_a_credential_is_built() {
    let server = Server::with_secret("right");
    let error = server
        .client(Secret::from_file("/no/such/file"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("/no/such/file"), "{error}");

    let file = File::holding("empty", " \n");
    let error = server.client(file.secret()).unwrap_err();
    assert!(error.to_string().contains("is empty"), "{error}");
}
