//! Signing algorithms, by the names that JWTs have for them.

use std::fmt;

use ring::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaSigningAlgorithm,
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
        RSA_PSS_SHA512, RsaEncoding,
    },
};

/// The algorithm that signs an assertion ([RFC 7518 §3.1], [RFC 8037 §3.1], [RFC 9864 §2.2]).
///
/// [RFC 7518 §3.1]: https://www.rfc-editor.org/rfc/rfc7518#section-3.1
/// [RFC 8037 §3.1]: https://www.rfc-editor.org/rfc/rfc8037#section-3.1
/// [RFC 9864 §2.2]: https://www.rfc-editor.org/rfc/rfc9864#section-2.2
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256, its salt as long as the hash.
    Ps256,
    /// RSASSA-PSS with SHA-384, its salt as long as the hash.
    Ps384,
    /// RSASSA-PSS with SHA-512, its salt as long as the hash.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519, by its older name `EdDSA`.
    ///
    /// If the server's metadata lists only one of its two names, that one is used.
    EdDsa,
    /// Ed25519, by its newer name `Ed25519`. Otherwise the same as [`EdDsa`](Self::EdDsa).
    Ed25519,
    /// HMAC with SHA-256, keyed with the client's secret.
    Hs256,
    /// HMAC with SHA-384, keyed with the client's secret.
    Hs384,
    /// HMAC with SHA-512, keyed with the client's secret.
    Hs512,
}

/// How an algorithm signs.
pub(crate) enum Family {
    Rsa(&'static dyn RsaEncoding),
    Ec(&'static EcdsaSigningAlgorithm),
    Ed25519,
    Hmac(hmac::Algorithm),
}

impl SigningAlgorithm {
    const ALL: [Self; 13] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
        Self::Ed25519,
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
    ];

    /// Returns the name in a JWT header (`alg`).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// The algorithm of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// The names under which servers know it, its own first.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        let other = match self {
            Self::EdDsa => Some(Self::Ed25519),
            Self::Ed25519 => Some(Self::EdDsa),
            _ => None,
        };
        [Some(self), other].into_iter().flatten().map(Self::name)
    }

    pub(crate) fn family(self) -> Family {
        match self {
            Self::Rs256 => Family::Rsa(&RSA_PKCS1_SHA256),
            Self::Rs384 => Family::Rsa(&RSA_PKCS1_SHA384),
            Self::Rs512 => Family::Rsa(&RSA_PKCS1_SHA512),
            Self::Ps256 => Family::Rsa(&RSA_PSS_SHA256),
            Self::Ps384 => Family::Rsa(&RSA_PSS_SHA384),
            Self::Ps512 => Family::Rsa(&RSA_PSS_SHA512),
            Self::Es256 => Family::Ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
            Self::Es384 => Family::Ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
            Self::EdDsa | Self::Ed25519 => Family::Ed25519,
            Self::Hs256 => Family::Hmac(hmac::HMAC_SHA256),
            Self::Hs384 => Family::Hmac(hmac::HMAC_SHA384),
            Self::Hs512 => Family::Hmac(hmac::HMAC_SHA512),
        }
    }

    /// The `kty` of its public keys, and their `crv`.
    #[cfg(feature = "dpop")]
    pub(crate) fn public_shape(self) -> (&'static str, &'static str) {
        match self.family() {
            Family::Rsa(_) => ("RSA", ""),
            Family::Ec(_) if self == Self::Es384 => ("EC", "P-384"),
            Family::Ec(_) => ("EC", "P-256"),
            Family::Ed25519 => ("OKP", "Ed25519"),
            Family::Hmac(_) => ("oct", ""),
        }
    }

    /// Whether the client and the server share the key.
    pub(crate) fn is_symmetric(self) -> bool {
        matches!(self.family(), Family::Hmac(_))
    }

    /// Whether a signature can have this length.
    pub(crate) fn fits(self, bytes: usize) -> bool {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                bytes >= 256
            }
            Self::Es256 | Self::EdDsa | Self::Ed25519 | Self::Hs512 => bytes == 64,
            Self::Es384 => bytes == 96,
            Self::Hs256 => bytes == 32,
            Self::Hs384 => bytes == 48,
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
