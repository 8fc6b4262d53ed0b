//! A server on a loopback socket, over TLS.

use std::{io, sync::Arc};

use bytes::Bytes;
use http::Request;
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use tokio_rustls::TlsAcceptor;

use super::{
    Answering,
    certificates::{LOCALHOST, LOCALHOST_KEY, ROOT_CERTIFICATE},
    serve::{Connection, Served, converse, start},
};
use crate::client_credentials::transport::provider::provider;

pub(super) async fn serve<H>(handle: H) -> io::Result<Served>
where
    H: Fn(Request<Bytes>) -> Answering + Clone + Send + Sync + 'static,
{
    let tls = TlsAcceptor::from(Arc::new(config()?));
    start("https://localhost", move |tcp, origin| {
        let (tls, handle) = (tls.clone(), handle.clone());
        async move {
            // A client that does not trust the certificate hears so from its own side.
            let Ok(io) = tls.accept(tcp).await else {
                return;
            };
            let shown = io.get_ref().1.peer_certificates();
            let certificate = shown.and_then(<[_]>::first);
            let certificate = certificate.map(|it| Bytes::copy_from_slice(it));
            converse(
                io,
                handle,
                Connection {
                    origin,
                    certificate,
                },
            )
            .await;
        }
    })
}

fn config() -> io::Result<ServerConfig> {
    let provider = provider().map_err(io::Error::other)?;
    let pem =
        |text: &str| CertificateDer::from_pem_slice(text.as_bytes()).map_err(io::Error::other);
    let key = PrivateKeyDer::from_pem_slice(LOCALHOST_KEY.as_bytes()).map_err(io::Error::other)?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_client_cert_verifier(Arc::new(AnyCertificate(provider)))
        .with_single_cert(vec![pem(LOCALHOST)?, pem(ROOT_CERTIFICATE)?], key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = ["h2", "http/1.1"].map(Into::into).into();
    Ok(config)
}

/// Asks for a certificate, and takes each whose key the client has, or none.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyCertificate {
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
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
