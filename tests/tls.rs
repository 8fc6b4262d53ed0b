//! Which servers are trusted with the secret, over real TLS.

#![cfg(feature = "rustls")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/alone.rs"]
mod alone;
#[path = "support/endpoint.rs"]
mod endpoint;
#[path = "support/tls.rs"]
mod tls;

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use endpoint::{Endpoint, token_request};
use tls::{Server, chain, key_file, pem};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower_bearer::{
    ClientCredentials, Error, ErrorKind, Secret, client_credentials::ClientCredentialsBuilder,
};

const SECRET: &str = "7Fjfp0ZBr1KtDRbnfVdmIw";

#[tokio::test]
async fn a_private_ca_is_trusted_that_is_given_as_text_or_as_a_file() {
    let server = Server::start().await;
    let bundle = pem("client-ca.crt") + &pem("ca.crt");
    for roots in [
        Secret::from(pem("ca.crt")),
        Secret::from_file(key_file("ca.crt")),
        // Any one of several.
        Secret::from(bundle),
    ] {
        let client = server.client(SECRET).root_certificates(roots);
        token_request(client.build().unwrap()).await.unwrap();
    }
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_that_is_given_itself() {
    let server = Server::shows("server-self-signed").await;
    let client = server.client(SECRET);
    let client = client.root_certificates(pem("server-self-signed.crt"));
    token_request(client.build().unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_ca_that_is_replaced_in_its_file_is_trusted_by_the_next_token_request() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("roots.crt");
    fs::copy(key_file("client-ca.crt"), &file).unwrap();
    let server = Server::start().await;
    let client = server
        .client(SECRET)
        .root_certificates(Secret::from_file(&file));
    let client = client.build().unwrap();
    let error = token_request(client.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);

    fs::copy(key_file("ca.crt"), &file).unwrap();
    token_request(client.clone()).await.unwrap();

    // In the middle of being replaced.
    fs::write(&file, &pem("ca.crt")[..300]).unwrap();
    let error = token_request(client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.is_transient());
    fs::remove_file(file).unwrap();
}

/// Promise: E5
#[tokio::test]
async fn a_wrong_host_name_is_rejected_and_told() {
    let server = Server::shows("server-elsewhere").await;
    rejected_by(&server, "server-ca.crt", "is for another host name").await;
}

/// Promise: E5
#[tokio::test]
async fn an_expired_certificate_is_rejected_and_told() {
    let server = Server::shows("server-expired").await;
    rejected_by(&server, "server-ca.crt", "has expired").await;
}

/// Promise: E5
#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_rejected_and_told() {
    let server = Server::shows("server-not-yet").await;
    rejected_by(&server, "server-ca.crt", "is not valid yet").await;
}

/// Promise: E5
#[tokio::test]
async fn a_self_signed_certificate_is_rejected_and_told() {
    let server = Server::shows("server-self-signed").await;
    rejected_by(&server, "server-ca.crt", "is self-signed or").await;
}

/// As OpenSSL makes them unless told otherwise. It would not do if it were trusted either.
///
/// Promise: E5
#[tokio::test]
async fn a_self_signed_certificate_of_a_ca_is_rejected_and_told() {
    let server = Server::shows("self-signed").await;
    for roots in ["server-ca.crt", "self-signed.crt"] {
        rejected_by(&server, roots, "is one of a CA").await;
    }
}

/// Promise: E5
#[tokio::test]
async fn an_unknown_ca_is_rejected_and_told() {
    let server = Server::start().await;
    rejected_by(&server, "client-ca.crt", "of an unknown CA").await;
}

/// Promise: E5
#[tokio::test]
async fn a_server_without_tls_is_rejected_and_told() {
    let server = Bytes::answer(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    rejected_by_bytes(server, "does not speak TLS").await;
}

/// Promise: E5
#[tokio::test]
async fn a_server_with_an_old_version_of_tls_alone_is_rejected_and_told() {
    // As most say it: a fatal alert, protocol_version.
    let server = Bytes::answer(b"\x15\x03\x02\x00\x02\x02\x46").await;
    rejected_by_bytes(server, "neither TLS 1.2 nor TLS 1.3").await;

    // As some go on regardless: a ServerHello of TLS 1.0 or 1.1.
    for version in [b"\x03\x01", b"\x03\x02"] {
        let mut hello = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26".to_vec();
        hello.extend(version);
        hello.extend([7; 32]);
        hello.extend(b"\x00\xc0\x14\x00");
        let server = Bytes::answer(&hello).await;
        rejected_by_bytes(server, "neither TLS 1.2 nor TLS 1.3").await;
    }
}

/// Nothing is asked of an issuer either that is not who it should be.
///
/// Promise: E5
#[tokio::test]
async fn the_metadata_of_an_issuer_that_is_not_trusted_is_rejected_and_told() {
    for (name, part) in [
        ("server-elsewhere", "is for another host name"),
        ("server-expired", "has expired"),
        ("server-not-yet", "is not valid yet"),
        ("server-self-signed", "is self-signed or"),
        ("server", "of an unknown CA"),
    ] {
        let server = Server::shows(name).await;
        let client = ClientCredentials::discover(&server.origin, "c1", SECRET)
            .root_certificates(pem("server-ca.crt"));
        let error = token_request(client.build().unwrap()).await.unwrap_err();
        told(&error, part);
        let message = error.to_string();
        assert!(
            message.contains(
                "/.well-known/oauth-authorization-server, which names the token endpoint"
            ),
            "{message}"
        );
        assert!(server.seen().is_empty());
    }
}

#[test]
fn root_certificates_that_would_not_do_are_told_with_what_to_change() {
    let client = ClientCredentials::builder("https://auth.example.com/token", "c1", SECRET);
    let ca = pem("ca.crt");
    let cut = format!("{ca}{}", &ca[..300]);
    // A sequence of nothing.
    let empty = format!("{ca}-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    for (roots, part) in [
        (
            Secret::from(pem("server.key")),
            "are no PEM that begins with BEGIN CERTIFICATE",
        ),
        (
            Secret::from("ca.crt"),
            "are no PEM that begins with BEGIN CERTIFICATE",
        ),
        (Secret::from(cut), "not whole, from number 2 on"),
        (
            Secret::from(empty),
            "number 2 of the root certificates cannot be one",
        ),
        (Secret::from(""), "the root certificate is empty"),
        (
            Secret::from_file("/no/such/file"),
            "the root certificate's file /no/such/file cannot be read",
        ),
    ] {
        let error = client.clone().root_certificates(roots).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(part), "{error}");
        for line in pem("server.key").lines() {
            assert!(!format!("{error} {error:?}").contains(line));
        }
    }
}

#[test]
fn root_certificates_that_nothing_would_be_made_of_are_told() {
    let client = ClientCredentials::builder("https://auth.example.com/token", "c1", SECRET)
        .root_certificates(pem("ca.crt"));
    let plain = client.clone().token_url("http://127.0.0.1/token");
    let error = plain.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("is not https"), "{error}");

    let error = client.clone().build_with(Endpoint::new([])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("your own transport"), "{error}");

    #[cfg(feature = "reqwest")]
    {
        let own = client.build_with_reqwest(reqwest::Client::builder());
        let error = own.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("your own transport"), "{error}");
    }
}

/// What the platform trusts is set for a process of its own.
#[cfg(target_os = "linux")]
#[test]
fn the_platforms_roots_are_trusted_unless_others_are_given() {
    alone::run("platform::", 2, |command| {
        command
            .env("SSL_CERT_FILE", key_file("ca.crt"))
            .env_remove("SSL_CERT_DIR");
    });
}

mod platform {
    use super::*;

    #[tokio::test]
    #[ignore = "run by the_platforms_roots_are_trusted_unless_others_are_given"]
    async fn what_is_given_is_trusted_in_place_of_the_platforms_roots() {
        let server = Server::start().await;
        token_request(server.client(SECRET).build().unwrap())
            .await
            .unwrap();
        assert_eq!(server.seen().len(), 1);

        let server = Server::start().await;
        rejected_by(&server, "client-ca.crt", "of an unknown CA").await;
    }

    /// Promise: E5
    #[tokio::test]
    #[ignore = "run by the_platforms_roots_are_trusted_unless_others_are_given"]
    async fn what_the_platform_does_not_trust_is_rejected_and_told() {
        for (name, part) in [
            ("server-elsewhere", "of an unknown CA"),
            ("server-expired", "has expired"),
            ("server-not-yet", "is not valid yet"),
            ("server-self-signed", "is self-signed or"),
        ] {
            let server = Server::shows(name).await;
            rejected(&server, server.client(SECRET), part).await;
        }
    }
}

async fn rejected_by(server: &Server, roots: &str, part: &str) {
    let client = server.client(SECRET).root_certificates(pem(roots));
    rejected(server, client, part).await;
}

/// Who is not trusted is not sent the secret.
async fn rejected(server: &Server, client: ClientCredentialsBuilder, part: &str) {
    told(
        &token_request(client.build().unwrap()).await.unwrap_err(),
        part,
    );
    assert!(server.seen().is_empty());
}

async fn rejected_by_bytes(server: Bytes, part: &str) {
    let url = format!("{}/token", server.origin);
    let client = ClientCredentials::builder(url, "c1", SECRET).root_certificates(pem("ca.crt"));
    told(
        &token_request(client.build().unwrap()).await.unwrap_err(),
        part,
    );
    let seen = server.seen.lock().unwrap();
    // A ClientHello, and no secret.
    assert_eq!(seen[0], 0x16);
    assert!(!seen.windows(SECRET.len()).any(|it| it == SECRET.as_bytes()));
}

/// By the error's own message, of which there is a cause, and which may pass.
fn told(error: &Error, part: &str) {
    let chain = chain(error);
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{chain:?}");
    assert!(error.is_transient());
    assert!(chain[0].contains(part), "{chain:?}");
    assert!(chain.len() > 2, "{chain:?}");
    assert!(
        !format!("{chain:?} {error:?}").contains(SECRET),
        "{chain:?}"
    );
}

/// A server that answers whatever comes by the same bytes.
struct Bytes {
    origin: String,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Bytes {
    async fn answer(bytes: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            origin: format!(
                "https://localhost:{}",
                listener.local_addr().unwrap().port()
            ),
            seen: Arc::default(),
        };
        let (seen, bytes) = (Arc::clone(&this.seen), bytes.to_vec());
        tokio::spawn(async move {
            // A token request has a second attempt.
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut part = [0; 4096];
                let length = connection.read(&mut part).await.unwrap();
                seen.lock().unwrap().extend(&part[..length]);
                connection.write_all(&bytes).await.unwrap();
                let mut rest = Vec::new();
                let _ = connection.read_to_end(&mut rest).await;
                seen.lock().unwrap().extend(rest);
            }
        });
        this
    }
}
