//! The client certificate of the connection to the token endpoint, over real TLS.

#![cfg(feature = "rustls")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/alone.rs"]
mod alone;
#[path = "support/endpoint.rs"]
mod endpoint;
#[path = "support/tls.rs"]
mod tls;

use std::{fs, path::PathBuf};

use endpoint::Endpoint;
use rustls::{
    SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use tls::{Server, chain, der, key_file, pem};
use tower_bearer::{ClientAuth, ClientCredentials, ErrorKind, Secret, TokenCache};

/// The default transport trusts what the platform trusts, so the platform has to trust the tests' authority: here, for a
/// process of its own.
#[cfg(target_os = "linux")]
#[test]
fn the_default_transport_presents_its_certificate() {
    alone::run("presented::", 5, |command| {
        command
            .env("SSL_CERT_FILE", key_file("ca.crt"))
            .env_remove("SSL_CERT_DIR");
    });
}

mod presented {
    use super::*;

    #[tokio::test]
    #[ignore = "run by the_default_transport_presents_its_certificate"]
    async fn a_certificate_of_an_authority_and_one_that_is_self_signed_are_presented() {
        for name in ["client", "self-signed"] {
            let server = Server::start().await;
            let builder = server.client(ClientAuth::tls()).client_certificate(
                Secret::from_file(key_file(&format!("{name}.crt"))),
                Secret::from_file(key_file(&format!("{name}.key"))),
            );
            let cache = TokenCache::new(builder.build().unwrap());
            cache.get().await.unwrap();
            let [seen] = &server.seen()[..] else {
                panic!("one request");
            };
            assert_eq!(seen.certificate, Some(der(&format!("{name}.crt"))));
            assert!(
                seen.request
                    .ends_with("grant_type=client_credentials&client_id=c1"),
                "{}",
                seen.request
            );
        }
    }

    #[tokio::test]
    #[ignore = "run by the_default_transport_presents_its_certificate"]
    async fn a_certificate_goes_beside_a_secret_as_well() {
        let server = Server::start().await;
        let builder = server
            .client(ClientAuth::post("secret"))
            .client_certificate(pem("client.crt"), pem("client.key"));
        let cache = TokenCache::new(builder.build().unwrap());
        cache.get().await.unwrap();
        let seen = server.seen().remove(0);
        assert_eq!(seen.certificate, Some(der("client.crt")));
        assert!(seen.request.ends_with("client_secret=secret"));
    }

    /// A session that is resumed would go on with the certificate that it began with.
    #[tokio::test]
    #[ignore = "run by the_default_transport_presents_its_certificate"]
    async fn a_certificate_that_is_rotated_is_presented_by_the_next_token_request() {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let (certificate, key) = (folder.join("rotating.crt"), folder.join("rotating.key"));
        let put = |name: &str| {
            fs::write(&certificate, pem(&format!("{name}.crt"))).unwrap();
            fs::write(&key, pem(&format!("{name}.key"))).unwrap();
        };
        put("client");
        let server = Server::start().await;
        let builder = server
            .client(ClientAuth::tls())
            .client_certificate(Secret::from_file(&certificate), Secret::from_file(&key));
        let cache = TokenCache::new(builder.build().unwrap());
        cache.refresh().await.unwrap();
        cache.refresh().await.unwrap();
        put("rotated");
        cache.refresh().await.unwrap();
        let seen: Vec<_> = server
            .seen()
            .into_iter()
            .map(|seen| seen.certificate.unwrap())
            .collect();
        assert_eq!(
            seen,
            [der("client.crt"), der("client.crt"), der("rotated.crt")]
        );

        // In the middle of a rotation: a certificate with another one's key.
        fs::write(&key, pem("client.key")).unwrap();
        let error = cache.refresh().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.is_transient());
        fs::remove_file(certificate).unwrap();
        fs::remove_file(key).unwrap();
    }

    #[tokio::test]
    #[ignore = "run by the_default_transport_presents_its_certificate"]
    async fn an_expired_certificate_that_is_rejected_is_told_to_have_expired() {
        for version in [&TLS12, &TLS13] {
            let chain = rejected("expired", version).await;
            assert!(
                chain[0].contains("the client certificate has expired"),
                "{chain:?}"
            );
            // The server's own word for it.
            assert!(
                chain
                    .iter()
                    .any(|level| level.contains("CertificateExpired"))
            );

            let chain = rejected("client", version).await;
            assert!(!chain[0].contains("expired"), "{chain:?}");
            assert!(chain.iter().any(|level| level.contains("UnknownCA")));
        }
    }

    /// What each level of the error says when a server does not take the certificate of this name.
    async fn rejected(name: &str, version: &'static SupportedProtocolVersion) -> Vec<String> {
        const SECRET: &str = "7Fjfp0ZBr1KtDRbnfVdmIw";
        let server = Server::strict(version).await;
        let builder = server.client(ClientAuth::post(SECRET)).client_certificate(
            Secret::from_file(key_file(&format!("{name}.crt"))),
            Secret::from_file(key_file(&format!("{name}.key"))),
        );
        let cache = TokenCache::new(builder.build().unwrap());
        let error = cache.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        // The next token request reads the files again, and there may be another certificate by then.
        assert!(error.is_transient());
        assert!(server.seen().is_empty());

        let chain = chain(&error);
        let shown = format!("{chain:?} {error:?}");
        for secret in pem(&format!("{name}.key")).lines().chain([SECRET]) {
            assert!(!shown.contains(secret), "{shown}");
        }
        chain
    }

    #[tokio::test]
    #[ignore = "run by the_default_transport_presents_its_certificate"]
    async fn without_a_certificate_none_is_presented() {
        let server = Server::start().await;
        let cache = TokenCache::new(server.client("secret").build().unwrap());
        cache.get().await.unwrap();
        assert_eq!(server.seen()[0].certificate, None);
    }
}

#[test]
fn a_certificate_that_would_not_do_is_told_with_what_to_change() {
    let client = |auth: ClientAuth| {
        ClientCredentials::builder("https://auth.example.com/oauth2/token", "c1", auth)
    };
    let (certificate, key) = (pem("client.crt"), pem("client.key"));
    for (builder, part) in [
        (
            client(ClientAuth::tls()),
            "proves nothing without a certificate",
        ),
        (
            client(ClientAuth::tls()).client_certificate(&certificate, pem("rotated.key")),
            "the client certificate and its key cannot be used",
        ),
        (
            client(ClientAuth::tls()).client_certificate(&key, &key),
            "the client certificate is no PEM",
        ),
        (
            client(ClientAuth::tls()).client_certificate(&certificate, &certificate),
            "the client certificate's key is no PEM",
        ),
        (
            client(ClientAuth::tls()).client_certificate(&certificate, pem("p256.encrypted.pem")),
            "or it is encrypted",
        ),
        (
            client(ClientAuth::tls()).client_certificate(Secret::from_file("/no/such/file"), &key),
            "the client certificate's file /no/such/file cannot be read",
        ),
        (
            client(ClientAuth::tls())
                .client_certificate(&certificate, &key)
                .token_url("http://127.0.0.1/"),
            "but the token URL is not https",
        ),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(part), "{error}");
    }
    let builder = client(ClientAuth::tls()).client_certificate(&certificate, &key);
    let error = builder.build_with(Endpoint::new([])).unwrap_err();
    assert!(error.to_string().contains("your own transport"), "{error}");
}
