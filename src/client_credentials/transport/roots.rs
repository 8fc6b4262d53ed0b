//! The root certificates that the default transport trusts in place of the platform's.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{client_credentials::auth::secret::Secret, error::Error};

/// Root certificates, wherever they are kept.
#[derive(Clone, Debug)]
pub(crate) struct RootCertificates(Secret);

impl RootCertificates {
    pub(crate) fn new(pem: Secret) -> Self {
        Self(pem)
    }

    /// Looks at them once, when a credential is built, as far as can be done without waiting for others.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.0.peek(ROOT_CERTIFICATE)? {
            Some(pem) => trusted(&pem).map(drop).map_err(Error::configuration),
            None => Ok(()),
        }
    }

    pub(crate) async fn read(&self) -> Result<RootCertStore, Error> {
        let pem = self.0.read(ROOT_CERTIFICATE).await?;
        trusted(&pem).map_err(Error::half_written)
    }
}

/// # Errors
/// What to change. Of the text nothing is in it: the file may be another one, such as that of a key.
fn trusted(pem: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(pem.as_bytes())) {
        // All of them or none: an endpoint whose root was left out would be found out at some token request.
        let certificate = certificate.map_err(|_| {
            format!("the root certificates are no PEM, or not whole, from number {number} on")
        })?;
        roots.add(certificate).map_err(|error| {
            format!("number {number} of the root certificates cannot be one ({error})")
        })?;
    }
    match roots.is_empty() {
        true => Err("the root certificates are no PEM that begins with BEGIN CERTIFICATE".into()),
        false => Ok(roots),
    }
}

const ROOT_CERTIFICATE: &str = "root certificate";
