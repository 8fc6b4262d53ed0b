//! The private key of a client: its storage, its names, and how it is read.

use std::{fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use ring::digest;
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{
    Header,
    key::{LocalKey, Named},
    signer::{Signer, SigningAlgorithm},
};
use crate::{client_credentials::auth::secret::Secret, error::Error, util::wiped::Wiped};

/// A private key that signs assertions, for [`ClientAuth::private_key_jwt`](crate::ClientAuth::private_key_jwt).
///
/// A key is stored like a [`Secret`]: as text, in a file, or behind a provider. A file or provider is read at each token
/// request, so a rotated key is picked up. A key that a [`Signer`] holds never leaves it.
///
/// # Example
/// ```
/// use tower_bearer::{
///     client_credentials::{SigningAlgorithm, SigningKey},
///     ClientAuth,
///     ClientCredentials,
///     Secret,
/// };
///
/// let key = SigningKey::from_pem(SigningAlgorithm::Es256, Secret::from_file("/run/keys/client.pem")).with_key_id("2026-11");
/// let credentials = ClientCredentials::builder(
///     "https://auth.example.com/oauth2/token",
///     "my-client",
///     ClientAuth::private_key_jwt(key),
/// );
/// # let _ = credentials;
/// ```
#[derive(Clone)]
#[must_use = "a key does nothing by itself"]
pub struct SigningKey {
    held: KeptKey,
    key_id: Option<String>,
    certificate: Option<Secret>,
}

#[derive(Clone)]
enum KeptKey {
    Pem(SigningAlgorithm, Secret),
    Jwk(Secret),
    Elsewhere(Arc<dyn Signer>),
}

impl SigningKey {
    /// Uses a private key in PEM: PKCS#8 for any algorithm, PKCS#1 for RSA, SEC1 for P-256.
    ///
    /// The key must not be encrypted. RSA keys must have 2048 to 4096 bits. The credentials builder checks that the key can
    /// be used with the algorithm.
    pub fn from_pem(algorithm: SigningAlgorithm, pem: impl Into<Secret>) -> Self {
        Self::new(KeptKey::Pem(algorithm, pem.into()))
    }

    /// Uses a private JWK ([RFC 7517]): RSA with its primes, EC on P-256, or Ed25519 ([RFC 8037 §2]).
    ///
    /// The `kid` and `x5t#S256` of the JWK are used unless they are set here. Its `alg` selects the algorithm; without it,
    /// an RSA key signs with RS256.
    ///
    /// [RFC 7517]: https://www.rfc-editor.org/rfc/rfc7517
    /// [RFC 8037 §2]: https://www.rfc-editor.org/rfc/rfc8037#section-2
    pub fn from_jwk(jwk: impl Into<Secret>) -> Self {
        Self::new(KeptKey::Jwk(jwk.into()))
    }

    /// Uses a key that a [`Signer`] holds, such as a key management service.
    pub fn held_by(signer: impl Signer) -> Self {
        Self::new(KeptKey::Elsewhere(Arc::new(signer)))
    }

    fn new(held: KeptKey) -> Self {
        Self {
            held,
            key_id: None,
            certificate: None,
        }
    }

    /// Sets the key id in the assertion's header: `kid` ([RFC 7515 §4.1.4]).
    ///
    /// It must be the id under which the server knows the key. If the id changes when the key is rotated, use a JWK, which
    /// holds both.
    ///
    /// [RFC 7515 §4.1.4]: https://www.rfc-editor.org/rfc/rfc7515#section-4.1.4
    pub fn with_key_id(mut self, key_id: impl Into<String>) -> Self {
        self.key_id = Some(key_id.into());
        self
    }

    /// Sets the certificate thumbprint in the assertion's header: `x5t#S256` ([RFC 7515 §4.1.8]).
    ///
    /// Microsoft's server, for example, requires it. The certificate is PEM and stored like a [`Secret`]. Only the first
    /// certificate of a chain is used.
    ///
    /// [RFC 7515 §4.1.8]: https://www.rfc-editor.org/rfc/rfc7515#section-4.1.8
    pub fn with_certificate(mut self, pem: impl Into<Secret>) -> Self {
        self.certificate = Some(pem.into());
        self
    }

    /// Checks it once, when a credential is built, without calling providers.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.held {
            KeptKey::Pem(algorithm, pem) => {
                if let Some(pem) = pem.peek(PRIVATE_KEY)? {
                    LocalKey::from_pem(*algorithm, &pem).map_err(Error::configuration)?;
                }
            }
            KeptKey::Jwk(jwk) => {
                if let Some(jwk) = jwk.peek(PRIVATE_KEY)? {
                    LocalKey::from_jwk(&jwk).map_err(Error::configuration)?;
                }
            }
            KeptKey::Elsewhere(_) => {}
        }
        if let Some(certificate) = &self.certificate
            && let Some(pem) = certificate.peek(CERTIFICATE)?
        {
            thumbprint(&pem).map_err(Error::configuration)?;
        }
        Ok(())
    }

    /// Reads it for one token request.
    pub(crate) async fn read(&self) -> Result<ReadKey, Error> {
        let (text, holder, named) = match &self.held {
            KeptKey::Pem(algorithm, pem) => {
                let pem = pem.read(PRIVATE_KEY).await?;
                let key = LocalKey::from_pem(*algorithm, &pem).map_err(Error::half_written)?;
                (Some(pem), Holder::Local(Box::new(key)), Named::default())
            }
            KeptKey::Jwk(jwk) => {
                let jwk = jwk.read(PRIVATE_KEY).await?;
                let (key, named) = LocalKey::from_jwk(&jwk).map_err(Error::half_written)?;
                (Some(jwk), Holder::Local(Box::new(key)), named)
            }
            KeptKey::Elsewhere(signer) => (
                None,
                Holder::Elsewhere(Arc::clone(signer)),
                Named::default(),
            ),
        };
        let x5t_s256 = match &self.certificate {
            Some(certificate) => {
                let pem = certificate.read(CERTIFICATE).await?;
                Some(thumbprint(&pem).map_err(Error::half_written)?)
            }
            None => named.x5t_s256,
        };
        let header = Header {
            kid: self.key_id.clone().or(named.kid),
            x5t_s256,
            ..Header::new(holder.algorithm().name())
        };
        Ok(ReadKey {
            text,
            holder,
            header,
        })
    }

    /// Whether another read may return a different value.
    pub(crate) fn may_change(&self) -> bool {
        let key_may = match &self.held {
            KeptKey::Pem(_, key) | KeptKey::Jwk(key) => key.may_change(),
            KeptKey::Elsewhere(_) => false,
        };
        key_may || self.certificate.as_ref().is_some_and(Secret::may_change)
    }
}

impl<S: Signer> From<S> for SigningKey {
    fn from(signer: S) -> Self {
        Self::held_by(signer)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("SigningKey");
        match &self.held {
            KeptKey::Pem(algorithm, pem) => out.field("algorithm", algorithm).field("pem", pem),
            KeptKey::Jwk(jwk) => out.field("jwk", jwk),
            KeptKey::Elsewhere(signer) => out.field("algorithm", &signer.algorithm()),
        };
        out.field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// A key as it was when it was read.
pub(crate) struct ReadKey {
    /// The text of a local key.
    text: Option<Wiped>,
    holder: Holder,
    header: Header,
}

enum Holder {
    Local(Box<LocalKey>),
    Elsewhere(Arc<dyn Signer>),
}

impl Holder {
    fn algorithm(&self) -> SigningAlgorithm {
        match self {
            Self::Local(key) => key.algorithm(),
            Self::Elsewhere(signer) => signer.algorithm(),
        }
    }
}

impl ReadKey {
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        self.header.alg
    }

    pub(crate) async fn sign(&self, input: &str) -> Result<Vec<u8>, Error> {
        let signer = match &self.holder {
            Holder::Local(key) => return key.sign(input.as_bytes()),
            Holder::Elsewhere(signer) => signer,
        };
        let signature = signer.sign(Bytes::copy_from_slice(input.as_bytes())).await;
        let signature = signature
            .map_err(|error| Error::provided("the signer failed".to_owned(), Some(error)))?;
        let algorithm = signer.algorithm();
        if !algorithm.fits(signature.len()) {
            return Err(Error::provided(
                format!(
                    "the signer returned {} bytes, which is not a valid {algorithm} signature (ES256 requires R and S, 64 bytes, \
                     not DER)",
                    signature.len()
                ),
                None,
            ));
        }
        Ok(signature)
    }

    /// Whether both reads returned the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.text == other.text && self.header == other.header
    }

    /// Describes the key, for the error if the server rejects it.
    pub(crate) fn description(&self) -> String {
        match &self.header.kid {
            Some(kid) => format!("{} and the key id {kid:?}", self.header.alg),
            None => format!("{} and no key id", self.header.alg),
        }
    }
}

/// The SHA-256 of a certificate's DER.
fn thumbprint(pem: &str) -> Result<String, String> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(
        |_| "the certificate of the private key is not PEM; it must begin with BEGIN CERTIFICATE",
    )?;
    let digest = digest::digest(&digest::SHA256, &certificate);
    Ok(BASE64_URL_SAFE_NO_PAD.encode(digest))
}

const PRIVATE_KEY: &str = "private key";
const CERTIFICATE: &str = "private key's certificate";
