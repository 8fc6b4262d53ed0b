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
    fn holding(name: &str, text: impl AsRef<[u8]>) -> Self {
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
    let file = File::holding("too-long", "x".repeat(64 * 1024));
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

/// Promise: E8
#[tokio::test]
async fn a_byte_order_mark_and_line_ends_are_no_part_of_a_secret_wherever_it_comes_from() {
    let file = File::holding("marked", "\u{FEFF}right\r\n");
    for secret in [
        Secret::from("\u{FEFF}right\r\n"),
        Secret::from("right\n\n"),
        file.secret(),
        Secret::from_provider(|| async { Ok::<_, Error>("\u{FEFF}right\n") }),
    ] {
        let server = Server::with_secret("right");
        let cache = TokenCache::new(server.client(secret).unwrap());
        cache.get().await.unwrap();
        assert_eq!(server.sent(), ["right"]);
    }
    alone::run("variables::", 1, |test| {
        test.env("MARKED", "\u{FEFF}right\r\n");
    });
}

mod variables {
    use super::*;

    #[ignore = "run by a_byte_order_mark_and_line_ends_are_no_part_of_a_secret_wherever_it_comes_from"]
    #[tokio::test]
    async fn the_same_of_a_variable() {
        let server = Server::with_secret("right");
        let cache = TokenCache::new(server.client(Secret::from_env("MARKED")).unwrap());
        cache.get().await.unwrap();
        assert_eq!(server.sent(), ["right"]);
    }
}

/// They may be a part of it.
#[tokio::test]
async fn spaces_around_the_text_of_a_secret_are_sent() {
    let server = Server::with_secret(" right ");
    let cache = TokenCache::new(server.client(" right \n").unwrap());
    cache.get().await.unwrap();
    assert_eq!(server.sent(), [" right "]);
}

/// Promise: E8
#[tokio::test]
async fn a_secret_in_utf_16_is_an_error_that_says_so() {
    let encoded = |mark: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let units: Vec<u16> = format!("{mark}secret").encode_utf16().collect();
        units.into_iter().flat_map(bytes).collect()
    };
    for (name, bytes) in [
        ("utf-16-le", encoded("\u{FEFF}", u16::to_le_bytes)),
        ("utf-16-be", encoded("\u{FEFF}", u16::to_be_bytes)),
        ("utf-16-le-without-a-mark", encoded("", u16::to_le_bytes)),
        ("utf-16-be-without-a-mark", encoded("", u16::to_be_bytes)),
    ] {
        let file = File::holding(name, bytes);
        let error = Server::default().client(file.secret()).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let told = format!("{error}: {}", cause.unwrap_or_default());
        assert!(told.contains("is in UTF-16"), "{told}");
    }
    let server = Server::with_secret("right");
    let provided = Secret::from_provider(|| async { Ok::<_, Error>("r\0i\0g\0h\0t\0") });
    let cache = TokenCache::new(server.client(provided).unwrap());
    let error = cache.get().await.unwrap_err();
    assert!(error.to_string().contains("is in UTF-16"), "{error}");
    assert_eq!(server.sent(), [""; 0]);
}

/// Promise: E8
#[tokio::test]
async fn a_blank_secret_is_an_error_wherever_it_comes_from() {
    for blank in ["", " ", "\n", "\u{FEFF}", "\u{FEFF} \t\r\n"] {
        let file = File::holding("blank", blank);
        for secret in [Secret::from(blank), file.secret()] {
            let error = Server::default().client(secret).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains("is empty or blank"), "{error}");
        }
        let server = Server::default();
        let provided = Secret::from_provider(move || async move { Ok::<_, Error>(blank) });
        let cache = TokenCache::new(server.client(provided).unwrap());
        let error = cache.get().await.unwrap_err();
        assert!(error.to_string().contains("is empty or blank"), "{error}");
        assert_eq!(server.sent(), [""; 0]);
    }
}
