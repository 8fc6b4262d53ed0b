//! The private key of a client: its storage, its names, and how it is read.

use std::{fmt, sync::Arc};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use ring::digest;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Map, Value, json};

use super::{
    algorithm::SigningAlgorithm,
    key::{LocalKey, Named},
    members::Members,
    signer::Signer,
};
#[cfg(feature = "shared")]
use crate::util::parts::Add;
use crate::{
    client_credentials::auth::{carried, secret::Secret},
    error::Error,
    util::wiped::Wiped,
};

/// A key that signs assertions, for [`ClientAuth::private_key_jwt`](crate::ClientAuth::private_key_jwt) and [`Assertion`](super::Assertion).
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
    certificate: Option<Certificate>,
}

#[derive(Clone)]
struct Certificate {
    pem: Secret,
    /// Whether it is sent whole, with its chain.
    is_sent: bool,
}

#[derive(Clone)]
enum KeptKey {
    Pem(SigningAlgorithm, Secret),
    Jwk(Secret),
    Secret(SigningAlgorithm, Secret),
    Elsewhere(Arc<dyn Signer>),
}

impl SigningKey {
    /// Uses a private key in PEM: PKCS#8 for any algorithm, PKCS#1 for RSA, SEC1 for P-256 and P-384.
    ///
    /// The key must not be encrypted. RSA keys must have 2048 to 4096 bits. The credentials builder checks that the key can
    /// be used with the algorithm.
    pub fn from_pem(algorithm: SigningAlgorithm, pem: impl Into<Secret>) -> Self {
        Self::new(KeptKey::Pem(algorithm, pem.into()))
    }

    /// Uses a private JWK ([RFC 7517]): RSA with its primes, EC on P-256 or P-384, or Ed25519 ([RFC 8037 §2]).
    ///
    /// The `kid` and `x5t#S256` of the JWK are used unless they are set here. Its `alg` selects the algorithm; without it,
    /// an RSA key signs with RS256. Ed25519 is `EdDSA` or, by [RFC 9864 §2.2], `Ed25519`.
    ///
    /// [RFC 7517]: https://www.rfc-editor.org/rfc/rfc7517
    /// [RFC 8037 §2]: https://www.rfc-editor.org/rfc/rfc8037#section-2
    /// [RFC 9864 §2.2]: https://www.rfc-editor.org/rfc/rfc9864#section-2.2
    pub fn from_jwk(jwk: impl Into<Secret>) -> Self {
        Self::new(KeptKey::Jwk(jwk.into()))
    }

    /// Uses the client's secret, which the server knows as well: `client_secret_jwt`.
    ///
    /// The algorithm is HS256, HS384 or HS512. [`ClientAuth::secret_jwt`](crate::ClientAuth::secret_jwt) is shorter for HS256.
    pub fn from_secret(algorithm: SigningAlgorithm, secret: impl Into<Secret>) -> Self {
        Self::new(KeptKey::Secret(algorithm, secret.into()))
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
        self.certificate = Some(Certificate {
            pem: pem.into(),
            is_sent: false,
        });
        self
    }

    /// Sets the certificate chain in the assertion's header: `x5c` ([RFC 7515 §4.1.6]), together with `x5t#S256`.
    ///
    /// Use it for a server that trusts the CA rather than each certificate, as Entra ID does for *subject name and issuer*
    /// authentication. The chain is PEM, the key's own certificate first, and stored like a [`Secret`].
    ///
    /// [RFC 7515 §4.1.6]: https://www.rfc-editor.org/rfc/rfc7515#section-4.1.6
    pub fn with_certificate_chain(mut self, pem: impl Into<Secret>) -> Self {
        self.certificate = Some(Certificate {
            pem: pem.into(),
            is_sent: true,
        });
        self
    }

    /// Whether the server has the key too. A signer is asked.
    pub(crate) fn is_symmetric(&self) -> bool {
        match &self.held {
            KeptKey::Secret(..) => true,
            KeptKey::Pem(..) | KeptKey::Jwk(_) => false,
            KeptKey::Elsewhere(signer) => signer.algorithm().is_symmetric(),
        }
    }

    /// Checks it once, when a credential is built, without calling providers. `header` has the header members that others set.
    pub(crate) fn check(&self, header: &Members) -> Result<(), Error> {
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
            KeptKey::Secret(algorithm, secret) => {
                let secret = secret.peek(CLIENT_SECRET)?.unwrap_or_default();
                LocalKey::from_secret(*algorithm, &secret).map_err(Error::configuration)?;
            }
            KeptKey::Elsewhere(_) => {}
        }
        if let Some(certificate) = &self.certificate
            && let Some(pem) = certificate.pem.peek(CERTIFICATE)?
        {
            certificate.read(&pem).map_err(Error::configuration)?;
        }
        let sent = self.certificate.as_ref().map(|it| it.is_sent);
        for (name, is_set, by) in [
            ("kid", self.key_id.is_some(), "with_key_id"),
            ("x5t#S256", sent.is_some(), "the key's certificate"),
            ("x5c", sent == Some(true), "the key's certificate chain"),
        ] {
            if is_set && header.contains(name) {
                return Err(Error::configuration(format!(
                    "the assertion's header member {name:?} is also set by {by}; remove one of them"
                )));
            }
        }
        Ok(())
    }

    /// Reads it for one token request.
    pub(crate) async fn read(&self) -> Result<ReadKey, Error> {
        let (text, holder, mut named) = match &self.held {
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
            KeptKey::Secret(algorithm, secret) => {
                let secret = secret.read(CLIENT_SECRET).await?;
                let key =
                    LocalKey::from_secret(*algorithm, &secret).map_err(Error::configuration)?;
                (Some(secret), Holder::Local(Box::new(key)), Named::default())
            }
            KeptKey::Elsewhere(signer) => (
                None,
                Holder::Elsewhere(Arc::clone(signer)),
                Named::default(),
            ),
        };
        if let Some(certificate) = &self.certificate {
            let pem = certificate.pem.read(CERTIFICATE).await?;
            let (x5t_s256, x5c) = certificate.read(&pem).map_err(Error::half_written)?;
            named.x5t_s256 = Some(x5t_s256);
            named.x5c = x5c;
        }
        named.kid = self.key_id.clone().or(named.kid);
        Ok(ReadKey {
            text,
            holder,
            named,
        })
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
            KeptKey::Secret(algorithm, secret) => {
                out.field("algorithm", algorithm).field("secret", secret)
            }
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
    named: Named,
}

/// Who has the private key.
pub(crate) enum Holder {
    Local(Box<LocalKey>),
    Elsewhere(Arc<dyn Signer>),
}

impl Holder {
    pub(crate) fn algorithm(&self) -> SigningAlgorithm {
        match self {
            Self::Local(key) => key.algorithm(),
            Self::Elsewhere(signer) => signer.algorithm(),
        }
    }

    pub(crate) async fn sign(&self, input: &str) -> Result<Vec<u8>, Error> {
        let signer = match self {
            Self::Local(key) => return key.sign(input.as_bytes()),
            Self::Elsewhere(signer) => signer,
        };
        let signature = signer.sign(Bytes::copy_from_slice(input.as_bytes())).await;
        let signature = signature
            .map_err(|error| Error::provided("the signer failed".to_owned(), Some(error)))?;
        let algorithm = signer.algorithm();
        if !algorithm.fits(signature.len()) {
            return Err(Error::provided(
                format!(
                    "the signer returned {} bytes, which is not a valid {algorithm} signature (ES256 and ES384 require R and S, \
                     64 and 96 bytes, not DER)",
                    signature.len()
                ),
                None,
            ));
        }
        Ok(signature)
    }
}

impl ReadKey {
    pub(crate) fn algorithm(&self) -> SigningAlgorithm {
        self.holder.algorithm()
    }

    /// The protected header ([RFC 7515 §4.1]).
    ///
    /// [RFC 7515 §4.1]: https://www.rfc-editor.org/rfc/rfc7515#section-4.1
    pub(crate) fn header(&self, algorithm: &str, typ: &str) -> Map<String, Value> {
        let Named { kid, x5t_s256, x5c } = &self.named;
        let members = [
            ("alg", Some(json!(algorithm))),
            ("typ", Some(json!(typ))),
            ("kid", kid.as_ref().map(|it| json!(it))),
            ("x5t#S256", x5t_s256.as_ref().map(|it| json!(it))),
            ("x5c", x5c.as_ref().map(|it| json!(it))),
        ];
        let members = members.into_iter();
        members
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }

    pub(crate) async fn sign(&self, input: &str) -> Result<Vec<u8>, Error> {
        self.holder.sign(input).await
    }

    /// Whether this key made the signature. For a key that a [`Signer`] holds it cannot be known, and is taken to be so.
    #[cfg(feature = "test-util")]
    pub(crate) fn verifies(&self, input: &[u8], signature: &[u8]) -> bool {
        match &self.holder {
            Holder::Local(key) => key.verifies(input, signature),
            Holder::Elsewhere(_) => true,
        }
    }

    /// Names the key: its text, or, if a signer holds it, its names.
    #[cfg(feature = "shared")]
    pub(crate) fn identify(&self, add: Add<'_>) {
        add("algorithm", self.algorithm().to_string().as_bytes());
        add(
            "key",
            self.text.as_ref().map_or(&[], |text| text.as_bytes()),
        );
        let Named { kid, x5t_s256, x5c } = &self.named;
        for (name, value) in [("kid", kid), ("x5t_s256", x5t_s256)] {
            add(name, value.as_deref().unwrap_or_default().as_bytes());
        }
        for certificate in x5c.iter().flatten() {
            add("x5c", certificate.as_bytes());
        }
    }

    /// Whether both reads returned the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.text == other.text && self.named == other.named
    }

    /// Describes the key, for the error if the server rejects it.
    pub(crate) fn description(&self) -> String {
        let algorithm = self.algorithm();
        match &self.named.kid {
            Some(kid) => format!("{algorithm} and the key id {kid:?}"),
            None if algorithm.is_symmetric() => format!("{algorithm} and this secret"),
            None => format!("{algorithm} and no key id"),
        }
    }

    /// Texts that no error may show. A server can echo a secret, which it has, but no private key.
    pub(crate) fn hidden(&self, client_id: &str) -> Vec<Wiped> {
        match &self.text {
            Some(secret) if self.algorithm().is_symmetric() => {
                carried::in_all_forms(client_id, secret)
            }
            _ => Vec::new(),
        }
    }
}

impl Certificate {
    /// The SHA-256 of the key's own certificate, and the whole chain if it is sent.
    fn read(&self, pem: &str) -> Result<(String, Option<Vec<String>>), String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let chain = chain.unwrap_or_default();
        let Some(own) = chain.first() else {
            return Err(
                "the certificate of the private key is not PEM; it must begin with BEGIN CERTIFICATE".into(),
            );
        };
        let digest = digest::digest(&digest::SHA256, own);
        let encoded = || chain.iter().map(|it| BASE64_STANDARD.encode(it)).collect();
        Ok((
            BASE64_URL_SAFE_NO_PAD.encode(digest),
            self.is_sent.then(encoded),
        ))
    }
}

const PRIVATE_KEY: &str = "private key";
const CLIENT_SECRET: &str = "client secret";
const CERTIFICATE: &str = "private key's certificate";
