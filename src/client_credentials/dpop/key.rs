//! The key pair of a client, by which it proves that a token is its own.

use std::{fmt, pin::Pin, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    client_credentials::auth::{
        jwt::{Holder, LocalKey, Signer, SigningAlgorithm},
        secret::Secret,
    },
    error::Error,
};

/// A key pair that signs DPoP proofs ([RFC 9449]).
///
/// Tokens are bound to it: a thief who has a token and not the key cannot use the token. Give the same key to
/// [`ClientCredentialsBuilder::dpop`] and to the [`DpopLayer`](crate::dpop::DpopLayer). Clones are cheap, and are the same key.
///
/// | key | use |
/// | --- | --- |
/// | [`generate`](Self::generate) | by default: a new key in each process, which never leaves it |
/// | [`from_pem`](Self::from_pem), [`from_jwk`](Self::from_jwk) | if the server knows the key beforehand, or if processes share tokens |
/// | [`held_by`](Self::held_by) | a key in a key management service or a hardware module |
///
/// A key is one for the whole life of the value. To change it, build the credentials and the layer anew.
///
/// # Example
/// ```
/// use tower_bearer::dpop::DpopKey;
///
/// let key = DpopKey::generate()?;
/// // Not secret: the server has it in each token, as `cnf.jkt`.
/// assert_eq!(key.thumbprint().len(), 43);
/// # Ok::<(), tower_bearer::Error>(())
/// ```
///
/// [`ClientCredentialsBuilder::dpop`]: crate::client_credentials::ClientCredentialsBuilder::dpop
/// [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449
#[derive(Clone)]
#[must_use = "a key does nothing by itself"]
pub struct DpopKey(Arc<Inner>);

struct Inner {
    holder: Holder,
    /// The header of each proof, encoded.
    header: String,
    thumbprint: String,
    is_generated: bool,
}

/// A signature, or the signer's future of one.
pub(crate) enum Signing {
    Done(Result<Vec<u8>, Error>),
    Pending(Pin<Box<dyn Future<Output = Result<Vec<u8>, Error>> + Send>>),
}

impl DpopKey {
    /// Makes a key for ES256, which all servers accept that say nothing else.
    ///
    /// It is only in the memory of this process.
    ///
    /// # Errors
    /// The system's random number generator fails.
    pub fn generate() -> Result<Self, Error> {
        Self::generate_for(SigningAlgorithm::Es256)
    }

    /// Makes a key for this algorithm: ES256, ES384, EdDSA or Ed25519.
    ///
    /// # Errors
    /// The algorithm is another one, or the system's random number generator fails.
    pub fn generate_for(algorithm: SigningAlgorithm) -> Result<Self, Error> {
        let key = LocalKey::generate(algorithm)?;
        Ok(Self::local(key, true))
    }

    /// Reads a private key in PEM: PKCS#8 for any algorithm, PKCS#1 for RSA, SEC1 for P-256 and P-384.
    ///
    /// It is read by this call, and not again: a [`Secret::from_file`] blocks on the file system.
    ///
    /// # Errors
    /// The key cannot be read, or not be used with the algorithm. HS256, HS384 and HS512 have no key pair. A
    /// [`Secret::from_provider`] or [`Secret::from_cache`] cannot be read at once.
    pub fn from_pem(algorithm: SigningAlgorithm, pem: impl Into<Secret>) -> Result<Self, Error> {
        is_a_pair(algorithm)?;
        let pem = pem.into().peek(WHAT)?.ok_or_else(out_of_reach)?;
        let key = LocalKey::from_pem(algorithm, &pem).map_err(Error::configuration)?;
        Ok(Self::local(key, false))
    }

    /// Reads a private JWK ([RFC 7517]). Its `alg` selects the algorithm; without it, an RSA key signs with RS256.
    ///
    /// It is read by this call, and not again.
    ///
    /// # Errors
    /// As for [`from_pem`](Self::from_pem).
    ///
    /// [RFC 7517]: https://www.rfc-editor.org/rfc/rfc7517
    pub fn from_jwk(jwk: impl Into<Secret>) -> Result<Self, Error> {
        let jwk = jwk.into().peek(WHAT)?.ok_or_else(out_of_reach)?;
        let (key, _) = LocalKey::from_jwk(&jwk).map_err(Error::configuration)?;
        Ok(Self::local(key, false))
    }

    /// Uses a key that a [`Signer`] holds. `public_jwk` is its public half, a JWK as JSON, which each proof shows.
    ///
    /// The signer is called for each request to the API as well as for each token request, and its time is added to theirs.
    ///
    /// # Errors
    /// The JWK is not the public key of a pair for the signer's algorithm, or has a private member.
    ///
    /// # Example
    /// ```
    /// # use std::pin::Pin;
    /// # use bytes::Bytes;
    /// # use tower::BoxError;
    /// # use tower_bearer::client_credentials::{Signer, SigningAlgorithm};
    /// # struct Kms;
    /// # impl Signer for Kms {
    /// #     fn algorithm(&self) -> SigningAlgorithm { SigningAlgorithm::Es256 }
    /// #     fn sign(&self, _: Bytes) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, BoxError>> + Send + '_>> { unimplemented!() }
    /// # }
    /// use tower_bearer::dpop::DpopKey;
    ///
    /// let key = DpopKey::held_by(
    ///     Kms { /* a client of the service, the key's name */ },
    ///     r#"{
    ///         "kty": "EC",
    ///         "crv": "P-256",
    ///         "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
    ///         "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"
    ///     }"#,
    /// )?;
    /// assert_eq!(key.thumbprint(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    pub fn held_by(signer: impl Signer, public_jwk: &str) -> Result<Self, Error> {
        let algorithm = signer.algorithm();
        is_a_pair(algorithm)?;
        let members = PublicJwk::members(public_jwk, algorithm)?;
        let holder = Holder::Elsewhere(Arc::new(signer));
        Ok(Self::new(holder, &members, false))
    }

    fn local(key: LocalKey, is_generated: bool) -> Self {
        let members = key.public_members();
        Self::new(Holder::Local(Box::new(key)), &members, is_generated)
    }

    fn new(holder: Holder, members: &Members, is_generated: bool) -> Self {
        let jwk = json(members);
        let header = format!(
            r#"{{"typ":"{TYP}","alg":"{}","jwk":{jwk}}}"#,
            holder.algorithm()
        );
        Self(Arc::new(Inner {
            holder,
            header: BASE64_URL_SAFE_NO_PAD.encode(header),
            thumbprint: BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, jwk.as_bytes())),
            is_generated,
        }))
    }

    /// Returns the thumbprint of the public key: SHA-256 of its JWK, in base64url ([RFC 7638]).
    ///
    /// Servers bind tokens to it (`cnf.jkt`, [RFC 9449 §6.1]). It is not secret, and good for logs.
    ///
    /// [RFC 7638]: https://www.rfc-editor.org/rfc/rfc7638
    /// [RFC 9449 §6.1]: https://www.rfc-editor.org/rfc/rfc9449#section-6.1
    #[must_use]
    #[doc(alias = "jkt")]
    pub fn thumbprint(&self) -> &str {
        &self.0.thumbprint
    }

    /// Returns the algorithm of the proofs.
    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.0.holder.algorithm()
    }

    /// Whether no other process can have it.
    #[cfg(feature = "shared")]
    pub(crate) fn is_generated(&self) -> bool {
        self.0.is_generated
    }

    pub(crate) fn header(&self) -> &str {
        &self.0.header
    }

    /// Signs at once, if the key is here.
    pub(crate) fn sign(&self, input: &str) -> Signing {
        match &self.0.holder {
            Holder::Local(key) => Signing::Done(key.sign(input.as_bytes())),
            Holder::Elsewhere(_) => {
                let (this, input) = (self.clone(), input.to_owned());
                Signing::Pending(Box::pin(async move { this.0.holder.sign(&input).await }))
            }
        }
    }
}

impl fmt::Debug for DpopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopKey")
            .field("algorithm", &self.algorithm())
            .field("thumbprint", &self.thumbprint())
            .field("is_generated", &self.0.is_generated)
            .finish_non_exhaustive()
    }
}

/// The required members of a public JWK, in the order of their names ([RFC 7638 §3.2]). Their values need no escapes.
///
/// [RFC 7638 §3.2]: https://www.rfc-editor.org/rfc/rfc7638#section-3.2
type Members = [(&'static str, String)];

fn json(members: &Members) -> String {
    let members = members.iter();
    let members: Vec<_> = members
        .map(|(name, value)| format!(r#""{name}":"{value}""#))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A public key as others write it.
#[derive(Deserialize)]
struct PublicJwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<IgnoredAny>,
}

impl PublicJwk {
    fn members(
        json: &str,
        algorithm: SigningAlgorithm,
    ) -> Result<Vec<(&'static str, String)>, Error> {
        let jwk: Self = serde_json::from_str(json).map_err(|_| {
            Error::configuration(
                "the public key is not a JWK; it must be one JSON object with `kty`, not a key set",
            )
        })?;
        if jwk.d.is_some() {
            return Err(Error::configuration(
                "the JWK has the private member \"d\", and each proof would show it; give the public members only, or the key \
                 itself to `DpopKey::from_jwk`",
            ));
        }
        let unfit = || {
            Error::configuration(format!(
                "the JWK is not a public key for {algorithm}; check its `kty`, `crv`, and that its numbers are base64url"
            ))
        };
        let is_number = |it: &String| {
            BASE64_URL_SAFE_NO_PAD
                .decode(it)
                .is_ok_and(|it| !it.is_empty())
        };
        let number = |it: Option<String>| it.filter(is_number).ok_or_else(unfit);
        let has_curve = |curve| jwk.crv.as_deref() == Some(curve);
        match (algorithm.public_shape(), jwk.kty.as_str()) {
            (("RSA", _), "RSA") => Ok(vec![
                ("e", number(jwk.e)?),
                ("kty", "RSA".to_owned()),
                ("n", number(jwk.n)?),
            ]),
            (("EC", curve), "EC") if has_curve(curve) => Ok(vec![
                ("crv", curve.to_owned()),
                ("kty", "EC".to_owned()),
                ("x", number(jwk.x)?),
                ("y", number(jwk.y)?),
            ]),
            (("OKP", curve), "OKP") if has_curve(curve) => Ok(vec![
                ("crv", curve.to_owned()),
                ("kty", "OKP".to_owned()),
                ("x", number(jwk.x)?),
            ]),
            _ => Err(unfit()),
        }
    }
}

fn is_a_pair(algorithm: SigningAlgorithm) -> Result<(), Error> {
    match algorithm.is_symmetric() {
        false => Ok(()),
        true => Err(Error::configuration(format!(
            "{algorithm} signs with a secret that both sides have, and a DPoP proof needs a key pair; use ES256 or another \
             algorithm with a private key"
        ))),
    }
}

fn out_of_reach() -> Error {
    Error::configuration(
        "a DPoP key is read at once, which a `Secret::from_provider` or `Secret::from_cache` cannot be; fetch the text first, \
         or use `DpopKey::held_by`",
    )
}

const TYP: &str = "dpop+jwt";

const WHAT: &str = "DPoP key";
