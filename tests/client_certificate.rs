//! The client certificate of the connection to the token endpoint, over real TLS.

#![cfg(feature = "rustls")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/endpoint.rs"]
mod endpoint;

use std::{
    env,
    error::Error as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use endpoint::Endpoint;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tower_bearer::{
    ClientAuth, ClientCredentials, ClientCredentialsBuilder, ErrorKind, Secret, TokenCache,
};

fn key_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/keys")
        .join(name)
}

fn pem(name: &str) -> String {
    fs::read_to_string(key_file(name)).unwrap()
}

fn der(name: &str) -> Vec<u8> {
    let pem = pem(name);
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    der.to_vec()
}

/// The default transport trusts what the platform trusts, so the platform has to trust the tests' authority: here, for a
/// process of its own.
#[cfg(target_os = "linux")]
#[test]
fn the_default_transport_presents_its_certificate() {
    let status = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "presented::"])
        .env("SSL_CERT_FILE", key_file("ca.crt"))
        .env_remove("SSL_CERT_DIR")
        .status()
        .unwrap();
    assert!(status.success());
}

mod presented {
    use super::*;

    #[tokio::test]
    #[ignore = "run by the_default_transport_presents_its_certificate"]
    async fn a_certificate_of_an_authority_and_one_that_is_self_signed_are_presented() {
        for name in ["client", "self-signed"] {
            let server = Server::start().await;
            let builder = server.client(ClientAuth::tls()).client_certificate(
                Secret::file(key_file(&format!("{name}.crt"))),
                Secret::file(key_file(&format!("{name}.key"))),
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
    async fn a_certificate_that_is_rotated_is_presented_by_the_next_exchange() {
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
            .client_certificate(Secret::file(&certificate), Secret::file(&key));
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
    async fn an_expired_certificate_that_is_refused_is_told_to_have_expired() {
        for version in [&TLS12, &TLS13] {
            let chain = refused("expired", version).await;
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

            let chain = refused("client", version).await;
            assert!(!chain[0].contains("expired"), "{chain:?}");
            assert!(chain.iter().any(|level| level.contains("UnknownCA")));
        }
    }

    /// What each level of the error says when a server does not take the certificate of this name.
    async fn refused(name: &str, version: &'static SupportedProtocolVersion) -> Vec<String> {
        const SECRET: &str = "7Fjfp0ZBr1KtDRbnfVdmIw";
        let server = Server::strict(version).await;
        let builder = server.client(ClientAuth::post(SECRET)).client_certificate(
            Secret::file(key_file(&format!("{name}.crt"))),
            Secret::file(key_file(&format!("{name}.key"))),
        );
        let cache = TokenCache::new(builder.build().unwrap());
        let error = cache.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        // The next exchange reads the files again, and there may be another certificate by then.
        assert!(error.is_transient());
        assert!(server.seen().is_empty());

        let mut chain = vec![error.to_string()];
        let mut cause = error.source();
        while let Some(level) = cause {
            chain.push(level.to_string());
            cause = level.source();
        }
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
            "the client certificate and its key do not do",
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
            client(ClientAuth::tls()).client_certificate(Secret::file("/no/such/file"), &key),
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

/// A token endpoint over TLS that asks for a client certificate, and takes any or none unless it is strict.
#[derive(Clone)]
struct Server {
    origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone)]
struct Seen {
    certificate: Option<Vec<u8>>,
    request: String,
}

impl Server {
    async fn start() -> Self {
        Self::with(Arc::new(Anybody), rustls::DEFAULT_VERSIONS).await
    }

    /// Takes the certificates of `client-ca.crt` and no other.
    async fn strict(version: &'static SupportedProtocolVersion) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(der("client-ca.crt").into()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        Self::with(clients.build().unwrap(), &[version]).await
    }

    async fn with(
        clients: Arc<dyn ClientCertVerifier>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let chain = vec![CertificateDer::from(der("server.crt"))];
        let key = PrivateKeyDer::from_pem_slice(pem("server.key").as_bytes()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            origin: format!(
                "https://localhost:{}",
                listener.local_addr().unwrap().port()
            ),
            seen: Arc::default(),
        };
        let seen = Arc::clone(&this.seen);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let mut connection = match tls.accept(tcp).into_fallible().await {
                    Ok(connection) => connection,
                    Err((_, mut refused)) => {
                        // Closed with something unread it would be reset, and its alert perhaps lost.
                        let _ = refused.shutdown().await;
                        let _ = refused.read_to_end(&mut Vec::new()).await;
                        continue;
                    }
                };
                let certificates = connection.get_ref().1.peer_certificates();
                let certificate = certificates.map(|chain| chain[0].to_vec());
                let mut request = String::new();
                while !is_whole(&request) {
                    let mut part = [0; 4096];
                    let length = connection.read(&mut part).await.unwrap();
                    request += str::from_utf8(&part[..length]).unwrap();
                }
                seen.lock().unwrap().push(Seen {
                    certificate,
                    request,
                });
                let body = r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","expires_in":3600}"#;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                connection.write_all(answer.as_bytes()).await.unwrap();
                let _ = connection.shutdown().await;
            }
        });
        this
    }

    fn client(&self, auth: impl Into<ClientAuth>) -> ClientCredentialsBuilder {
        ClientCredentials::builder(format!("{}/token", self.origin), "c1", auth)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().unwrap())
    });
    body.len() >= length.unwrap()
}

/// Takes every certificate whose key the client has.
#[derive(Debug)]
struct Anybody;

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
