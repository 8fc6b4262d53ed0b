//! A local private key, read from PEM or a JWK. ring signs.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
#[cfg(feature = "dpop")]
use ring::signature::KeyPair;
use ring::{
    error::KeyRejected,
    hmac,
    rand::SystemRandom,
    rsa::{KeyPairComponents, PublicKeyComponents},
    signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RsaEncoding, RsaKeyPair},
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::algorithm::{Family, SigningAlgorithm};
use crate::{error::Error, util::wiped::Wiped};

/// A key of the right type for its algorithm.
pub(crate) struct LocalKey {
    algorithm: SigningAlgorithm,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    /// Not a pair: the secret, which both sides have.
    Hmac(hmac::Key),
}

/// What a header says of a key ([RFC 7515 §4.1]).
///
/// [RFC 7515 §4.1]: https://www.rfc-editor.org/rfc/rfc7515#section-4.1
#[derive(Default, PartialEq)]
pub(crate) struct Named {
    pub(crate) kid: Option<String>,
    pub(crate) x5t_s256: Option<String>,
    pub(crate) x5c: Option<Vec<String>>,
}

impl LocalKey {
    /// # Errors
    /// A message that says what to change. It contains nothing of the key.
    pub(crate) fn from_secret(algorithm: SigningAlgorithm, secret: &str) -> Result<Self, String> {
        match algorithm.family() {
            Family::Hmac(hmac) => Ok(Self {
                algorithm,
                pair: Pair::Hmac(hmac::Key::new(hmac, secret.as_bytes())),
            }),
            _ => Err(format!(
                "{algorithm} signs with a private key, not with a secret; use HS256, HS384 or HS512, or a private key"
            )),
        }
    }

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
        match Pair::from_der(algorithm, &der) {
            Ok(pair) => Ok(Self { algorithm, pair }),
            Err(rejected) => Err(rejected_for(algorithm, rejected)),
        }
    }

    /// # Errors
    /// A message that says what to change. It contains nothing of the key.
    pub(crate) fn from_jwk(json: &str) -> Result<(Self, Named), String> {
        // serde's message may quote a value.
        let jwk: Jwk = serde_json::from_str(json).map_err(
            |_| "the private key is not a JWK; it must be one JSON object with `kty`, not a key set",
        )?;
        let algorithm = jwk.algorithm()?;
        let pair = match algorithm.family() {
            Family::Rsa(padding) => jwk.rsa().map(|pair| Pair::Rsa(pair, padding)),
            Family::Ec(signing) => jwk.ec(signing).map(Pair::Ec),
            Family::Ed25519 => jwk.ed25519().map(Pair::Ed25519),
            Family::Hmac(_) => return Err(SYMMETRIC.into()),
        };
        let pair = pair.map_err(|error| match error {
            Unfit::Lacks(member) => format!(
                "the JWK of the private key has no {member:?}, or it is not base64url; check that the JWK is the private one and complete"
            ),
            Unfit::Rejected(rejected) => rejected_for(algorithm, Some(rejected)),
        })?;
        let named = Named {
            kid: jwk.kid,
            x5t_s256: jwk.x5t_s256,
            x5c: None,
        };
        Ok((Self { algorithm, pair }, named))
    }

    pub(crate) fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// Whether this key made the signature.
    #[cfg(feature = "test-util")]
    pub(crate) fn verifies(&self, input: &[u8], signature: &[u8]) -> bool {
        self.pair.verifies(self.algorithm, input, signature)
    }

    pub(crate) fn sign(&self, input: &[u8]) -> Result<Vec<u8>, Error> {
        // ring finds some inconsistent RSA keys only here.
        self.pair.sign(input).map_err(|_| {
            Error::unsigned(
                "the private key cannot sign; check that its parts belong to the same key",
            )
        })
    }
}

#[cfg(feature = "dpop")]
impl LocalKey {
    /// Makes a new key.
    pub(crate) fn generate(algorithm: SigningAlgorithm) -> Result<Self, Error> {
        let random = SystemRandom::new();
        let pkcs8 = match algorithm.family() {
            Family::Ec(signing) => EcdsaKeyPair::generate_pkcs8(signing, &random),
            Family::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random),
            Family::Rsa(_) | Family::Hmac(_) => {
                return Err(Error::configuration(format!(
                    "a key for {algorithm} cannot be generated here; use ES256, ES384 or EdDSA, or make an RSA key beforehand, as \
                     with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048`"
                )));
            }
        };
        let pkcs8 =
            pkcs8.map_err(|_| Error::unsigned("the system's random number generator failed"))?;
        let der = PrivateKeyDer::Pkcs8(pkcs8.as_ref().into());
        let pair = Pair::from_der(algorithm, &der);
        let pair = pair.map_err(|_| Error::unsigned("a new key pair cannot be used"))?;
        Ok(Self { algorithm, pair })
    }

    /// The required members of its public JWK, in the order of their names ([RFC 7638 §3.2]).
    ///
    /// [RFC 7638 §3.2]: https://www.rfc-editor.org/rfc/rfc7638#section-3.2
    pub(crate) fn public_members(&self) -> Vec<(&'static str, String)> {
        let encoded = |octets: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(octets);
        let (kty, crv) = self.algorithm.public_shape();
        let (kty, crv) = (("kty", kty.to_owned()), ("crv", crv.to_owned()));
        match &self.pair {
            Pair::Rsa(pair, _) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                vec![("e", encoded(&e)), kty, ("n", encoded(&n))]
            }
            Pair::Ec(pair) => {
                // An uncompressed point: its mark, and two numbers of one length.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                vec![crv, kty, ("x", encoded(x)), ("y", encoded(y))]
            }
            Pair::Ed25519(pair) => vec![crv, kty, ("x", encoded(pair.public_key().as_ref()))],
            // It has no public half.
            Pair::Hmac(_) => Vec::new(),
        }
    }
}

impl Pair {
    fn from_der(
        algorithm: SigningAlgorithm,
        der: &PrivateKeyDer<'_>,
    ) -> Result<Self, Option<KeyRejected>> {
        use PrivateKeyDer::{Pkcs1, Pkcs8, Sec1};
        Ok(match (algorithm.family(), der) {
            (Family::Rsa(padding), Pkcs8(pkcs8)) => {
                Self::Rsa(RsaKeyPair::from_pkcs8(pkcs8.secret_pkcs8_der())?, padding)
            }
            (Family::Rsa(padding), Pkcs1(pkcs1)) => {
                Self::Rsa(RsaKeyPair::from_der(pkcs1.secret_pkcs1_der())?, padding)
            }
            (Family::Ec(signing), Pkcs8(pkcs8)) => ec(signing, pkcs8.secret_pkcs8_der())?,
            (Family::Ec(signing), Sec1(sec1)) => ec(
                signing,
                &as_pkcs8(algorithm, sec1.secret_sec1_der()).ok_or(None)?,
            )?,
            // OpenSSL leaves the public key out.
            (Family::Ed25519, Pkcs8(pkcs8)) => Self::Ed25519(
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8.secret_pkcs8_der())?,
            ),
            _ => return Err(None),
        })
    }

    #[cfg(feature = "test-util")]
    fn verifies(&self, algorithm: SigningAlgorithm, input: &[u8], signature: &[u8]) -> bool {
        use SigningAlgorithm::{Es384, Ps256, Ps384, Ps512, Rs384, Rs512};
        use ring::signature::{self, KeyPair, UnparsedPublicKey, VerificationAlgorithm};

        let (public, verification): (&[u8], &dyn VerificationAlgorithm) = match self {
            Self::Rsa(pair, _) => {
                let verification = match algorithm {
                    Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => &signature::RSA_PKCS1_2048_8192_SHA256,
                };
                (pair.public_key().as_ref(), verification)
            }
            Self::Ec(pair) if algorithm == Es384 => (
                pair.public_key().as_ref(),
                &signature::ECDSA_P384_SHA384_FIXED,
            ),
            Self::Ec(pair) => (
                pair.public_key().as_ref(),
                &signature::ECDSA_P256_SHA256_FIXED,
            ),
            Self::Ed25519(pair) => (pair.public_key().as_ref(), &signature::ED25519),
            Self::Hmac(key) => return hmac::verify(key, input, signature).is_ok(),
        };
        let public = UnparsedPublicKey::new(verification, public);
        public.verify(input, signature).is_ok()
    }

    fn sign(&self, input: &[u8]) -> Result<Vec<u8>, ring::error::Unspecified> {
        let random = SystemRandom::new();
        Ok(match self {
            Self::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*padding, &random, input, &mut signature)?;
                signature
            }
            Self::Ec(pair) => pair.sign(&random, input)?.as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(input).as_ref().to_vec(),
            Self::Hmac(key) => hmac::sign(key, input).as_ref().to_vec(),
        })
    }
}

fn ec(signing: &'static EcdsaSigningAlgorithm, pkcs8: &[u8]) -> Result<Pair, KeyRejected> {
    EcdsaKeyPair::from_pkcs8(signing, pkcs8, &SystemRandom::new()).map(Pair::Ec)
}

fn rejected_for(algorithm: SigningAlgorithm, rejected: Option<KeyRejected>) -> String {
    let wanted = match algorithm.family() {
        Family::Rsa(_) => "an RSA key of 2048 to 4096 bits, in PKCS#8 or PKCS#1",
        Family::Ec(_) => match algorithm {
            SigningAlgorithm::Es384 => {
                "an EC key on P-384 together with its public key, in PKCS#8 or SEC1"
            }
            _ => "an EC key on P-256 together with its public key, in PKCS#8 or SEC1",
        },
        Family::Ed25519 => "an Ed25519 key, in PKCS#8",
        Family::Hmac(_) => return SYMMETRIC.into(),
    };
    let why = rejected.map_or_else(|| "WrongFormat".to_owned(), |why| why.to_string());
    format!("the private key cannot be used with {algorithm} ({why}); use {wanted}")
}

/// A SEC1 key as PKCS#8 ([RFC 5958 §2], [RFC 5915 §3]), the only form that ring reads. ring rejects keys on other curves.
///
/// [RFC 5958 §2]: https://www.rfc-editor.org/rfc/rfc5958#section-2
/// [RFC 5915 §3]: https://www.rfc-editor.org/rfc/rfc5915#section-3
fn as_pkcs8(algorithm: SigningAlgorithm, sec1: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    const VERSION: &[u8] = &[0x02, 0x01, 0x00];
    /// id-ecPublicKey on prime256v1.
    const P256: &[u8] = &[
        0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
    ];
    /// id-ecPublicKey on secp384r1.
    const P384: &[u8] = &[
        0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
        0x04, 0x00, 0x22,
    ];
    const OCTET_STRING: u8 = 0x04;
    const SEQUENCE: u8 = 0x30;

    /// A key has 121 bytes on P-256 and 167 on P-384, so one byte holds a length.
    fn tagged(tag: u8, content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let head: &[u8] = match u8::try_from(content.len()).ok()? {
            short @ ..0x80 => &[tag, short],
            long => &[tag, 0x81, long],
        };
        Some(Zeroizing::new([head, content].concat()))
    }

    let curve = match algorithm {
        SigningAlgorithm::Es384 => P384,
        _ => P256,
    };
    let key = tagged(OCTET_STRING, sec1)?;
    tagged(SEQUENCE, &Zeroizing::new([VERSION, curve, &key].concat()))
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
        use SigningAlgorithm::{EdDsa, Es256, Es384, Rs256};
        let curve = self.crv.as_deref().unwrap_or_default();
        let default = match (self.kty.as_str(), curve) {
            ("RSA", _) => Some(Rs256),
            ("EC", "P-256") => Some(Es256),
            ("EC", "P-384") => Some(Es384),
            ("OKP", "Ed25519") => Some(EdDsa),
            _ => None,
        };
        let named = match &self.alg {
            Some(alg) => SigningAlgorithm::named(alg),
            None => default,
        };
        let same_key = |named: SigningAlgorithm, default: SigningAlgorithm| match named.family() {
            Family::Rsa(_) => default == Rs256,
            Family::Ec(_) => default == named,
            Family::Ed25519 => default == EdDsa,
            Family::Hmac(_) => false,
        };
        match (named, default) {
            (Some(named), Some(default)) if same_key(named, default) => Ok(named),
            _ => Err("the JWK's `kty`, `crv` and `alg` are not supported; use RSA with RS256 to RS512 or PS256 to PS512, EC on \
                      P-256 with ES256 or on P-384 with ES384, or OKP on Ed25519 with EdDSA or Ed25519"
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

    fn ec(&self, signing: &'static EcdsaSigningAlgorithm) -> Result<EcdsaKeyPair, Unfit> {
        /// An uncompressed point follows ([SEC 1 §2.3.3]).
        ///
        /// [SEC 1 §2.3.3]: https://www.secg.org/sec1-v2.pdf
        const UNCOMPRESSED: u8 = 4;

        let private = octets(&self.d, "d")?;
        let (x, y) = (octets(&self.x, "x")?, octets(&self.y, "y")?);
        let public = [&[UNCOMPRESSED], &**x, &y].concat();
        EcdsaKeyPair::from_private_key_and_public_key(
            signing,
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

const SYMMETRIC: &str = "HS256, HS384 and HS512 sign with the client's secret, not with a private key; use `SigningKey::from_secret`, or \
                         another algorithm";
