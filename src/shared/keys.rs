//! The keys that seal what is stored: an AEAD for values, a keyed hash for names.

use std::fmt;

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_URL_SAFE_NO_PAD,
};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    error::Unspecified,
    hkdf::{HKDF_SHA256, Prk, Salt},
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

use super::identity::Digest;
use crate::{client_credentials::Secret, error::Error};

/// The keys that seal shared tokens. The first key seals, all of them open.
///
/// A key is 32 random bytes in base64, as `openssl rand -base64 32` prints them, and is stored like a [`Secret`]. A file or a
/// provider is read at each use of the store, so a key is rotated without a restart. Every process of the fleet needs the same
/// keys. Without a key nothing is shared: there is no unsealed mode.
///
/// # Rotation
/// 1. Add the new key as one that opens, everywhere.
/// 2. Make it the first, and keep the old one as one that opens.
/// 3. After the longest lifetime of a token, remove the old one.
///
/// # Example
/// ```
/// use tower_bearer::{Secret, shared::SealingKeys};
///
/// let keys = SealingKeys::new(Secret::from_file("/run/secrets/sealing-key"))
///     .and_open_with(Secret::from_file("/run/secrets/old-sealing-key"));
/// # let _ = keys;
/// ```
#[derive(Clone)]
#[must_use]
pub struct SealingKeys(Vec<Secret>);

impl SealingKeys {
    /// Uses this key to seal and to open. It is checked when a store is made with it.
    pub fn new(key: impl Into<Secret>) -> Self {
        Self(vec![key.into()])
    }

    /// Adds a key that opens what it has sealed, and seals nothing.
    pub fn and_open_with(mut self, key: impl Into<Secret>) -> Self {
        self.0.push(key.into());
        self
    }

    /// Checks the keys once, when a store is made, without calling providers.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.0.iter().try_for_each(|key| match key.peek(WHAT)? {
            Some(text) => Key::from_text(&text).map(drop),
            None => Ok(()),
        })
    }

    pub(super) async fn read(&self) -> Result<Vec<Key>, Error> {
        let mut keys = Vec::with_capacity(self.0.len());
        for key in &self.0 {
            keys.push(Key::from_text(&key.read(WHAT).await?)?);
        }
        Ok(keys)
    }
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealingKeys").field(&self.0).finish()
    }
}

/// One key of the ring: what seals and what names are derived from it.
pub(super) struct Key {
    seals: LessSafeKey,
    names: hmac::Key,
}

impl Key {
    fn from_text(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::configuration(
                "a sealing key is not 32 or more bytes in base64; make one with `openssl rand -base64 32`",
            )
        };
        let config = GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true);
        let alphabet = match text.contains(['-', '_']) {
            true => &URL_SAFE,
            false => &STANDARD,
        };
        let bytes = GeneralPurpose::new(alphabet, config).decode(text.trim());
        let bytes = Zeroizing::new(bytes.map_err(|_| wrong())?);
        if bytes.len() < SHORTEST {
            return Err(wrong());
        }
        Self::from_bytes(&bytes).map_err(|Unspecified| wrong())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Unspecified> {
        let prk: Prk = Salt::new(HKDF_SHA256, SALT).extract(bytes);
        let seals: UnboundKey = prk.expand(&[b"seal"], &AES_256_GCM)?.into();
        let names: hmac::Key = prk.expand(&[b"name"], hmac::HMAC_SHA256)?.into();
        Ok(Self {
            seals: LessSafeKey::new(seals),
            names,
        })
    }
}

/// Seals and opens what is stored for one identity.
pub(super) struct Seal {
    keys: Vec<Key>,
    identity: Digest,
}

/// What a sealed value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// The token with this generation.
    Token(u64),
    Failure,
}

impl Seal {
    pub(super) fn new(keys: Vec<Key>, identity: Digest) -> Self {
        Self { keys, identity }
    }

    /// The names of this identity's things, by each key. They tell neither the identity nor, as a plain hash would to a patient
    /// reader, its secret.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |key: &Key| {
            let tag = hmac::sign(&key.names, &self.identity.0);
            BASE64_URL_SAFE_NO_PAD.encode(&tag.as_ref()[..NAME_LEN])
        };
        self.keys.iter().map(name).collect()
    }

    pub(super) fn seal(&self, kind: Kind, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        // Room for the tag: a buffer that grows leaves a copy behind.
        let room = plain.len() + AES_256_GCM.tag_len();
        let mut sealed = Zeroizing::new(Vec::with_capacity(room));
        sealed.extend_from_slice(plain);
        let nonce_of_it = Nonce::assume_unique_for_key(nonce);
        let key = &self.keys.first()?.seals;
        key.seal_in_place_append_tag(nonce_of_it, self.aad(kind), &mut *sealed)
            .ok()?;
        Some([&[FORMAT], &nonce[..], &sealed].concat())
    }

    /// `None` if no key opens it: it was changed, moved, or sealed by another key.
    pub(super) fn open(&self, kind: Kind, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let sealed = sealed.strip_prefix(&[FORMAT])?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        self.keys.iter().find_map(|key| {
            let mut plain = Zeroizing::new(sealed.to_vec());
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let opened = key.seals.open_in_place(nonce, self.aad(kind), &mut plain);
            let length = opened.ok()?.len();
            plain.truncate(length);
            Some(plain)
        })
    }

    /// What a value is sealed for. One that was moved to another place, or given another generation, does not open.
    fn aad(&self, kind: Kind) -> Aad<Vec<u8>> {
        let (kind, generation) = match kind {
            Kind::Token(generation) => (b't', generation),
            Kind::Failure => (b'f', 0),
        };
        Aad::from([&[kind], &generation.to_be_bytes()[..], &self.identity.0].concat())
    }
}

const WHAT: &str = "sealing key";
const SHORTEST: usize = 32;
const SALT: &[u8] = b"tower-bearer shared token 1";
const NAME_LEN: usize = 24;
/// The format of what is sealed.
const FORMAT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const B: &str = "__________________________________________8";

    fn seal(keys: &[&str], identity: u8) -> Seal {
        let keys = keys.iter().map(|key| Key::from_text(key).unwrap());
        Seal::new(keys.collect(), Digest([identity; 32]))
    }

    /// Promise: D5
    #[test]
    fn a_value_with_any_changed_bit_does_not_open() {
        let seal = seal(&[A], 1);
        let sealed = seal.seal(Kind::Token(7), b"ory_at_4jSH").unwrap();
        assert_eq!(
            **seal.open(Kind::Token(7), &sealed).unwrap(),
            *b"ory_at_4jSH"
        );
        for byte in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[byte] ^= 1 << bit;
                assert!(
                    seal.open(Kind::Token(7), &changed).is_none(),
                    "{byte}.{bit}"
                );
            }
        }
        for length in 0..sealed.len() {
            assert!(seal.open(Kind::Token(7), &sealed[..length]).is_none());
        }
    }

    /// Promise: D5
    #[test]
    fn a_value_opens_for_its_own_identity_generation_and_kind_alone() {
        let sealed = seal(&[A], 1).seal(Kind::Token(7), b"t").unwrap();
        assert!(seal(&[A], 2).open(Kind::Token(7), &sealed).is_none());
        assert!(seal(&[A], 1).open(Kind::Token(8), &sealed).is_none());
        assert!(seal(&[A], 1).open(Kind::Failure, &sealed).is_none());
    }

    /// Promise: D5
    #[test]
    fn the_first_key_seals_and_all_open() {
        let sealed = seal(&[A, B], 1).seal(Kind::Failure, b"t").unwrap();
        assert!(seal(&[A], 1).open(Kind::Failure, &sealed).is_some());
        assert!(seal(&[B, A], 1).open(Kind::Failure, &sealed).is_some());
        assert!(seal(&[B], 1).open(Kind::Failure, &sealed).is_none());
    }

    /// Promise: D5
    #[test]
    fn names_hang_on_key_and_identity() {
        let [a, b] = &seal(&[A, B], 1).names()[..] else {
            panic!("a name for each key");
        };
        assert_ne!(a, b);
        assert_eq!(seal(&[A], 1).names()[0], *a);
        assert_ne!(seal(&[A], 2).names()[0], *a);
    }

    #[test]
    fn a_key_that_is_short_or_not_base64_is_told_with_what_to_do() {
        for text in ["", "secret", "AAAA", &"!".repeat(44), &A[..40]] {
            let error = Key::from_text(text).err().unwrap().to_string();
            assert!(error.contains("openssl rand -base64 32"), "{error}");
        }
        // With a line's end, without padding.
        for text in [&format!("{A}\n"), A.trim_end_matches('=')] {
            assert!(Key::from_text(text).is_ok());
        }
    }
}
