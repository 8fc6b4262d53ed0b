//! The client certificate of the connection to the token endpoint ([RFC 8705]).
//!
//! [RFC 8705]: https://www.rfc-editor.org/rfc/rfc8705

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

#[cfg(feature = "shared")]
use crate::util::wiped::Wiped;
use crate::{
    client_credentials::{
        auth::secret::Secret,
        transport::provider::{provider, signing_key},
    },
    error::Error,
};

/// A certificate with its chain, and its key, wherever each is kept.
#[derive(Clone, Debug)]
pub(crate) struct ClientCertificate {
    chain: Secret,
    key: Secret,
}

impl ClientCertificate {
    pub(crate) fn new(chain: Secret, key: Secret) -> Self {
        Self { chain, key }
    }

    /// Looks at it once, when a credential is built, as far as can be done without waiting for others.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match (self.chain.peek(CERTIFICATE)?, self.key.peek(KEY)?) {
            (Some(chain), Some(key)) => certified(&chain, &key)
                .map(drop)
                .map_err(Error::configuration),
            _ => Ok(()),
        }
    }

    /// The certificate as it is now, with its chain, in PEM.
    #[cfg(feature = "shared")]
    pub(crate) async fn read_chain(&self) -> Result<Wiped, Error> {
        self.chain.read(CERTIFICATE).await
    }

    async fn read(&self) -> Result<CertifiedKey, Error> {
        let chain = self.chain.read(CERTIFICATE).await?;
        let key = self.key.read(KEY).await?;
        certified(&chain, &key).map_err(Error::half_written)
    }
}

/// # Errors
/// What to change. Nothing of the key is in it.
fn certified(chain: &str, key: &str) -> Result<CertifiedKey, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    if chain.is_empty() {
        return Err("the client certificate is no PEM that begins with BEGIN CERTIFICATE".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| {
        "the client certificate's key is no PEM that begins with BEGIN PRIVATE KEY, or it is encrypted"
    })?;
    // Wiped here, because rustls keeps its copy.
    let key = Zeroizing::new(key);
    let unusable =
        |error: &str| format!("the client certificate and its key cannot be used ({error})");
    let key = signing_key(&key).map_err(|error| unusable(&error))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(error) => Err(unusable(&error.to_string())),
    }
}

/// What connections present, read anew before each.
#[derive(Debug)]
pub(crate) struct Presented {
    certificate: ClientCertificate,
    read: Mutex<Option<Arc<CertifiedKey>>>,
}

impl Presented {
    pub(crate) fn new(certificate: ClientCertificate) -> Self {
        Self {
            certificate,
            read: Mutex::new(None),
        }
    }

    /// Reads the certificate for the connections to come.
    pub(crate) async fn renew(&self) -> Result<(), Error> {
        let read = Arc::new(self.certificate.read().await?);
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        Ok(())
    }
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.read
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

const CERTIFICATE: &str = "client certificate";
const KEY: &str = "client certificate's key";

/// Whether a certificate has expired or is not valid yet.
///
/// It is asked after a failure, not before a token request: there are servers that know a self-signed certificate by its key
/// and do not mind its dates. And it is asked beside the server's alert, as many servers' alert says less, and with TLS 1.3
/// it can be lost: the client is sending its request by then, and a connection that is reset has no alert.
pub(crate) fn is_outdated(certified: &rustls::sign::CertifiedKey) -> bool {
    use rustls::{
        AlertDescription, RootCertStore, pki_types::UnixTime, server::WebPkiClientVerifier,
    };

    let Ok(certificate) = certified.end_entity_cert() else {
        return false;
    };
    // rustls reads the dates only where it verifies, and does so before it looks for who has signed. A verifier needs some
    // root.
    let mut roots = RootCertStore::empty();
    if roots.add(certificate.clone()).is_err() {
        return false;
    }
    let Ok(provider) = provider() else {
        return false;
    };
    let Ok(verifier) = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build()
    else {
        return false;
    };
    match verifier.verify_client_cert(certificate, &[], UnixTime::now()) {
        // The alert stands for all of rustls' ways to say so, those of its later versions among them.
        Err(rustls::Error::InvalidCertificate(problem)) => {
            AlertDescription::from(problem) == AlertDescription::CertificateExpired
        }
        _ => false,
    }
}
