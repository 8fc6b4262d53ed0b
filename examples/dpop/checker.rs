//! What a server does with a DPoP proof ([RFC 9449 §4.3]). Signatures are checked by the crate `jsonwebtoken`, which shares no code with
//! tower-bearer.
//!
//! [RFC 9449 §4.3]: https://www.rfc-editor.org/rfc/rfc9449#section-4.3

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, Method};
use jsonwebtoken::{
    DecodingKey, Validation, dangerous, decode, decode_header,
    jwk::{Jwk, ThumbprintHash},
};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

/// One server, which takes each proof once.
#[derive(Default)]
pub(crate) struct Checker {
    /// The nonce that proofs must have, if they must have one.
    nonce: Mutex<Option<String>>,
    /// By how many seconds this server's clock is ahead.
    ahead: i64,
    seen: Mutex<HashSet<String>>,
}

/// A proof that holds.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    /// Of its key.
    pub(crate) thumbprint: String,
    pub(crate) header: Value,
    pub(crate) claims: Value,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Problem {
    /// It has no nonce, or an old one.
    Nonce,
    /// Anything else, and what it is.
    Invalid(&'static str),
}

impl Problem {
    /// The error code, at a token endpoint and at an API.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Nonce => "use_dpop_nonce",
            Self::Invalid(_) => "invalid_dpop_proof",
        }
    }
}

impl Checker {
    pub(crate) fn ahead(seconds: i64) -> Self {
        Self {
            ahead: seconds,
            ..Self::default()
        }
    }

    /// From now on proofs must have this nonce.
    pub(crate) fn require(&self, nonce: &str) {
        *lock(&self.nonce) = Some(nonce.to_owned());
    }

    pub(crate) fn nonce(&self) -> Option<String> {
        lock(&self.nonce).clone()
    }

    /// This server's time, in seconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or(0) + self.ahead
    }

    /// Checks the proof of a request to `uri`, which has neither query nor fragment.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        method: &Method,
        uri: &str,
        token: Option<&str>,
    ) -> Result<Proof, Problem> {
        use Problem::Invalid;
        let mut proofs = headers.get_all("dpop").iter();
        let proof = proofs.next().ok_or(Invalid("there is no proof"))?;
        if proofs.next().is_some() {
            return Err(Invalid("there are two proofs"));
        }
        let proof = proof.to_str().map_err(|_| Invalid("it is no text"))?;
        let header = decode_header(proof).map_err(|_| Invalid("it is no JWT"))?;
        if header.typ.as_deref() != Some("dpop+jwt") {
            return Err(Invalid("typ"));
        }
        let key: Jwk = header.jwk.ok_or(Invalid("there is no jwk"))?;
        let decoding = DecodingKey::from_jwk(&key).map_err(|_| Invalid("jwk"))?;
        let mut validation = Validation::new(header.alg);
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        let claims: Value = decode(proof, &decoding, &validation)
            .map_err(|_| Invalid("the signature"))?
            .claims;
        for (name, wanted) in [
            ("htm", json!(method.as_str())),
            ("htu", json!(uri)),
            ("ath", json!(token.map(hash))),
        ] {
            if claims[name] != wanted {
                return Err(Invalid(name));
            }
        }
        let age = self.now() - claims["iat"].as_i64().ok_or(Invalid("iat"))?;
        if !(-5..=60).contains(&age) {
            return Err(Invalid("iat"));
        }
        let nonce = self.nonce();
        if nonce.is_some() && claims["nonce"] != json!(nonce) {
            return Err(Problem::Nonce);
        }
        let jti = claims["jti"].as_str().ok_or(Invalid("jti"))?;
        if jti.len() < 12 || !lock(&self.seen).insert(jti.to_owned()) {
            return Err(Invalid("jti"));
        }
        let thumbprint = key.thumbprint(ThumbprintHash::SHA256);
        Ok(Proof {
            thumbprint: thumbprint.map_err(|_| Invalid("jwk"))?,
            header: header_of(proof),
            claims,
        })
    }
}

/// The claims of a proof, whatever they are worth.
pub(crate) fn claims_of(proof: &str) -> Value {
    dangerous::insecure_decode(proof).map_or(Value::Null, |it| it.claims)
}

/// The header as it stands there.
fn header_of(proof: &str) -> Value {
    let header = proof.split('.').next().unwrap_or_default();
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    serde_json::from_slice(&header).unwrap_or_default()
}

fn hash(token: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
