//! A token endpoint over real TLS, in process, and the keys and certificates of the tests.

#![allow(
    dead_code,
    reason = "every test file is a crate of its own and uses a part of this"
)]

use std::{
    error::Error as StdError,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

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
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tower_bearer::{ClientAuth, ClientCredentials, client_credentials::ClientCredentialsBuilder};

/// A token endpoint over TLS that asks for a client certificate, and takes any or none unless it is strict.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) request: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::shows("server").await
    }

    /// Shows the certificate of this name.
    pub(crate) async fn shows(name: &str) -> Self {
        Self::with(name, Arc::new(Anybody), rustls::DEFAULT_VERSIONS).await
    }

    /// Takes the certificates of `client-ca.crt` and no other.
    pub(crate) async fn strict(version: &'static SupportedProtocolVersion) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(der("client-ca.crt").into()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        Self::with("server", clients.build().unwrap(), &[version]).await
    }

    async fn with(
        name: &str,
        clients: Arc<dyn ClientCertVerifier>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let chain = vec![CertificateDer::from(der(&format!("{name}.crt")))];
        let key = PrivateKeyDer::from_pem_slice(pem(&format!("{name}.key")).as_bytes()).unwrap();
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
                    Err((_, mut rejected)) => {
                        // Closed with something unread it would be reset, and its alert perhaps lost.
                        let _ = rejected.shutdown().await;
                        let _ = rejected.read_to_end(&mut Vec::new()).await;
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

    pub(crate) fn client(&self, auth: impl Into<ClientAuth>) -> ClientCredentialsBuilder {
        ClientCredentials::builder(format!("{}/token", self.origin), "c1", auth)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
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

pub(crate) fn key_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/keys")
        .join(name)
}

pub(crate) fn pem(name: &str) -> String {
    fs::read_to_string(key_file(name)).unwrap()
}

pub(crate) fn der(name: &str) -> Vec<u8> {
    let pem = pem(name);
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    der.to_vec()
}

/// What each level of an error says.
pub(crate) fn chain(error: &dyn StdError) -> Vec<String> {
    let mut chain = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(level) = cause {
        chain.push(level.to_string());
        cause = level.source();
    }
    chain
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
