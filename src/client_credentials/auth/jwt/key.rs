//! A local private key, read from PEM or a JWK. ring signs.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    error::KeyRejected,
    rand::SystemRandom,
    rsa::{KeyPairComponents, PublicKeyComponents},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256,
        RSA_PSS_SHA256, RsaKeyPair,
    },
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::signer::SigningAlgorithm;
use crate::{error::Error, util::wiped::Wiped};

/// A key of the right type for its algorithm.
pub(crate) enum LocalKey {
    Rs256(RsaKeyPair),
    Ps256(RsaKeyPair),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

/// The names of a key that came with it.
#[derive(Default)]
pub(crate) struct Named {
    pub(crate) kid: Option<String>,
    pub(crate) x5t_s256: Option<String>,
}

impl LocalKey {
    /// # Errors
    /// A message that says what to change. It contains nothing of the key.
    pub(crate) fn from_pem(algorithm: SigningAlgorithm, pem: &str) -> Result<Self, String> {
        if pem.contains("ENCRYPTED") {
            return Err(
                "the private key is encrypted; decrypt it first, for example with `openssl pkey`"
                    .into(),
            );
        }
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
            "the private key is not PEM; it must begin with BEGIN PRIVATE KEY, BEGIN RSA PRIVATE KEY or BEGIN EC PRIVATE KEY"
        })?;
        let der = Zeroizing::new(der);
        Self::from_der(algorithm, &der).map_err(|rejected| rejected_for(algorithm, rejected))
    }

    fn from_der(
        algorithm: SigningAlgorithm,
        der: &PrivateKeyDer<'_>,
    ) -> Result<Self, Option<KeyRejected>> {
        use PrivateKeyDer::{Pkcs1, Pkcs8, Sec1};
        let rsa = || match der {
            Pkcs8(pkcs8) => Ok(RsaKeyPair::from_pkcs8(pkcs8.secret_pkcs8_der())?),
            Pkcs1(pkcs1) => Ok(RsaKeyPair::from_der(pkcs1.secret_pkcs1_der())?),
            _ => Err(None),
        };
        Ok(match algorithm {
            SigningAlgorithm::Rs256 => Self::Rs256(rsa()?),
            SigningAlgorithm::Ps256 => Self::Ps256(rsa()?),
            SigningAlgorithm::Es256 => {
                let pkcs8 = match der {
                    Pkcs8(pkcs8) => Zeroizing::new(pkcs8.secret_pkcs8_der().to_vec()),
                    Sec1(sec1) => p256_as_pkcs8(sec1.secret_sec1_der()).ok_or(None)?,
                    _ => return Err(None),
                };
                let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
                Self::Es256(EcdsaKeyPair::from_pkcs8(
                    signing,
                    &pkcs8,
                    &SystemRandom::new(),
                )?)
            }
            SigningAlgorithm::EdDsa => match der {
                // OpenSSL leaves the public key out.
                Pkcs8(pkcs8) => Self::EdDsa(Ed25519KeyPair::from_pkcs8_maybe_unchecked(
                    pkcs8.secret_pkcs8_der(),
                )?),
                _ => return Err(None),
            },
        })
    }

    /// # Errors
    /// A message that says what to change. It contains nothing of the key.
    pub(crate) fn from_jwk(json: &str) -> Result<(Self, Named), String> {
        // serde's message may quote a value.
        let jwk: Jwk = serde_json::from_str(json).map_err(
            |_| "the private key is not a JWK; it must be one JSON object with `kty`, not a key set",
        )?;
        let algorithm = jwk.algorithm()?;
        let key = match algorithm {
            SigningAlgorithm::Rs256 => jwk.rsa().map(Self::Rs256),
            SigningAlgorithm::Ps256 => jwk.rsa().map(Self::Ps256),
            SigningAlgorithm::Es256 => jwk.p256().map(Self::Es256),
            SigningAlgorithm::EdDsa => jwk.ed25519().map(Self::EdDsa),
        };
        let key = key.map_err(|error| match error {
            Unfit::Lacks(member) => format!(
                "the JWK of the private key has no {member:?}, or it is not base64url; check that the JWK is the private one and complete"
            ),
            Unfit::Rejected(rejected) => rejected_for(algorithm, Some(rejected)),
        })?;
        let named = Named {
            kid: jwk.kid,
            x5t_s256: jwk.x5t_s256,
        };
        Ok((key, named))
    }

    pub(crate) fn algorithm(&self) -> SigningAlgorithm {
        match self {
            Self::Rs256(_) => SigningAlgorithm::Rs256,
            Self::Ps256(_) => SigningAlgorithm::Ps256,
            Self::Es256(_) => SigningAlgorithm::Es256,
            Self::EdDsa(_) => SigningAlgorithm::EdDsa,
        }
    }

    pub(crate) fn sign(&self, input: &[u8]) -> Result<Vec<u8>, Error> {
        let random = SystemRandom::new();
        let by_rsa = |key: &RsaKeyPair, padding| {
            let mut signature = vec![0; key.public().modulus_len()];
            key.sign(padding, &random, input, &mut signature)?;
            Ok(signature)
        };
        let signature: Result<Vec<u8>, ring::error::Unspecified> = match self {
            Self::Rs256(key) => by_rsa(key, &RSA_PKCS1_SHA256),
            Self::Ps256(key) => by_rsa(key, &RSA_PSS_SHA256),
            Self::Es256(key) => key.sign(&random, input).map(|it| it.as_ref().to_vec()),
            Self::EdDsa(key) => Ok(key.sign(input).as_ref().to_vec()),
        };
        // ring finds some inconsistent RSA keys only here.
        signature.map_err(|_| {
            Error::unsigned(
                "the private key cannot sign; check that its parts belong to the same key",
            )
        })
    }
}

fn rejected_for(algorithm: SigningAlgorithm, rejected: Option<KeyRejected>) -> String {
    let wanted = match algorithm {
        SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 => {
            "an RSA key of 2048 to 4096 bits, in PKCS#8 or PKCS#1"
        }
        SigningAlgorithm::Es256 => {
            "an EC key on P-256 together with its public key, in PKCS#8 or SEC1"
        }
        SigningAlgorithm::EdDsa => "an Ed25519 key, in PKCS#8",
    };
    let why = rejected.map_or_else(|| "WrongFormat".to_owned(), |why| why.to_string());
    format!("the private key cannot be used with {algorithm} ({why}); use {wanted}")
}

/// A SEC1 key on P-256 as PKCS#8 ([RFC 5958 §2], [RFC 5915 §3]), the only form that ring reads. ring
/// rejects keys on other curves.
///
/// [RFC 5958 §2]: https://www.rfc-editor.org/rfc/rfc5958#section-2
/// [RFC 5915 §3]: https://www.rfc-editor.org/rfc/rfc5915#section-3
fn p256_as_pkcs8(sec1: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    /// Version 0, and the algorithm: id-ecPublicKey on prime256v1.
    const PREFIX: &[u8] = &[
        0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
        0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
    ];
    const OCTET_STRING: u8 = 0x04;
    const SEQUENCE: u8 = 0x30;

    /// A key on P-256 has 121 bytes, so one byte holds a length.
    fn tagged(tag: u8, content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let head: &[u8] = match u8::try_from(content.len()).ok()? {
            short @ ..0x80 => &[tag, short],
            long => &[tag, 0x81, long],
        };
        Some(Zeroizing::new([head, content].concat()))
    }

    let key = tagged(OCTET_STRING, sec1)?;
    tagged(SEQUENCE, &Zeroizing::new([PREFIX, &key].concat()))
}

/// A private JWK ([RFC 7517 §4], [RFC 7518 §6], [RFC 8037 §2]).
///
/// [RFC 7517 §4]: https://www.rfc-editor.org/rfc/rfc7517#section-4
/// [RFC 7518 §6]: https://www.rfc-editor.org/rfc/rfc7518#section-6
/// [RFC 8037 §2]: https://www.rfc-editor.org/rfc/rfc8037#section-2
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    #[serde(rename = "x5t#S256")]
    x5t_s256: Option<String>,
    n: Option<Wiped>,
    e: Option<Wiped>,
    d: Option<Wiped>,
    p: Option<Wiped>,
    q: Option<Wiped>,
    dp: Option<Wiped>,
    dq: Option<Wiped>,
    qi: Option<Wiped>,
    x: Option<Wiped>,
    y: Option<Wiped>,
}

enum Unfit {
    Lacks(&'static str),
    Rejected(KeyRejected),
}

impl Jwk {
    fn algorithm(&self) -> Result<SigningAlgorithm, String> {
        let curve = self.crv.as_deref().unwrap_or_default();
        match (self.kty.as_str(), curve, self.alg.as_deref()) {
            ("RSA", _, None | Some("RS256")) => Ok(SigningAlgorithm::Rs256),
            ("RSA", _, Some("PS256")) => Ok(SigningAlgorithm::Ps256),
            ("EC", "P-256", None | Some("ES256")) => Ok(SigningAlgorithm::Es256),
            ("OKP", "Ed25519", None | Some("EdDSA")) => Ok(SigningAlgorithm::EdDsa),
            _ => Err("the JWK's `kty`, `crv` and `alg` are not supported; use RSA with RS256 or PS256, EC on P-256 with ES256, or \
                      OKP on Ed25519 with EdDSA"
                .into()),
        }
    }

    fn rsa(&self) -> Result<RsaKeyPair, Unfit> {
        let components = KeyPairComponents {
            public_key: PublicKeyComponents {
                n: number(&self.n, "n")?,
                e: number(&self.e, "e")?,
            },
            d: number(&self.d, "d")?,
            p: number(&self.p, "p")?,
            q: number(&self.q, "q")?,
            dP: number(&self.dp, "dp")?,
            dQ: number(&self.dq, "dq")?,
            qInv: number(&self.qi, "qi")?,
        };
        RsaKeyPair::from_components(&components).map_err(Unfit::Rejected)
    }

    fn p256(&self) -> Result<EcdsaKeyPair, Unfit> {
        /// An uncompressed point follows ([SEC 1 §2.3.3]).
        ///
        /// [SEC 1 §2.3.3]: https://www.secg.org/sec1-v2.pdf
        const UNCOMPRESSED: u8 = 4;

        let private = octets(&self.d, "d")?;
        let (x, y) = (octets(&self.x, "x")?, octets(&self.y, "y")?);
        let public = [&[UNCOMPRESSED], &**x, &y].concat();
        EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &private,
            &public,
            &SystemRandom::new(),
        )
        .map_err(Unfit::Rejected)
    }

    fn ed25519(&self) -> Result<Ed25519KeyPair, Unfit> {
        let (private, public) = (octets(&self.d, "d")?, octets(&self.x, "x")?);
        Ed25519KeyPair::from_seed_and_public_key(&private, &public).map_err(Unfit::Rejected)
    }
}

fn octets(member: &Option<Wiped>, name: &'static str) -> Result<Zeroizing<Vec<u8>>, Unfit> {
    let member = member.as_ref().ok_or(Unfit::Lacks(name))?;
    BASE64_URL_SAFE_NO_PAD
        .decode(&**member)
        .map(Zeroizing::new)
        .map_err(|_| Unfit::Lacks(name))
}

/// Strips leading zeros, which some libraries write and ring rejects.
fn number(member: &Option<Wiped>, name: &'static str) -> Result<Zeroizing<Vec<u8>>, Unfit> {
    let octets = octets(member, name)?;
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    Ok(Zeroizing::new(octets[zeros..].to_vec()))
}
