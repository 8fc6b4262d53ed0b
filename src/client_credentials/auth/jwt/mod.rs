//! JWTs that the client signs itself, in compact form ([RFC 7519], [RFC 7515 §7.1]): for client authentication
//! ([RFC 7523 §2.2]), and for grants that are assertions themselves ([RFC 7523 §2.1]).
//!
//! [RFC 7519]: https://www.rfc-editor.org/rfc/rfc7519
//! [RFC 7515 §7.1]: https://www.rfc-editor.org/rfc/rfc7515#section-7.1
//! [RFC 7523 §2.1]: https://www.rfc-editor.org/rfc/rfc7523#section-2.1
//! [RFC 7523 §2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2

mod algorithm;
pub(crate) mod assertion;
mod key;
mod members;
mod signer;
mod signing_key;

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub use self::{
    algorithm::SigningAlgorithm,
    assertion::{Assertion, AssertionAudience},
    signer::Signer,
    signing_key::SigningKey,
};
#[cfg(feature = "dpop")]
pub(crate) use self::{key::LocalKey, signing_key::Holder};
pub(crate) use self::{members::Members, signing_key::ReadKey};
use crate::{
    error::Error,
    util::{clock, wiped::Wiped},
};

/// The content of a JWT that is signed now.
pub(crate) struct Jwt<'a> {
    /// The `typ` in its header.
    pub(crate) typ: &'a str,
    pub(crate) issuer: &'a str,
    pub(crate) subject: Option<&'a str>,
    pub(crate) audience: &'a str,
    /// From `iat` to `exp`.
    pub(crate) lifetime: Duration,
    /// Further members of its header, over those of the key.
    pub(crate) header: &'a Members,
    /// Further claims, over those above.
    pub(crate) claims: &'a Members,
}

impl Jwt<'_> {
    /// Signs it, with a `jti` of its own. `algorithm` is one of the names of the key's algorithm.
    ///
    /// `iat` and `nbf` are [`SLOW_SERVER`] ago.
    pub(crate) async fn sign(&self, key: &ReadKey, algorithm: &str) -> Result<Wiped, Error> {
        let header = self.header.over(key.header(algorithm, self.typ));
        let claims = self.claims.over(self.registered_claims()?);
        let input = format!("{}.{}", part(&header)?, part(&claims)?);
        let signature = key.sign(&input).await?;
        // The result is wiped because of its signature; the input alone proves nothing.
        let signature = Wiped::from(BASE64_URL_SAFE_NO_PAD.encode(signature));
        Ok(Wiped::concat(&[&input, ".", &signature]))
    }

    /// The claims of [RFC 7523 §3].
    ///
    /// [RFC 7523 §3]: https://www.rfc-editor.org/rfc/rfc7523#section-3
    fn registered_claims(&self) -> Result<Map<String, Value>, Error> {
        let now = clock::wall()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let issued = now.saturating_sub(SLOW_SERVER).as_secs();
        let claims = [
            ("iss", json!(self.issuer)),
            ("aud", json!(self.audience)),
            ("jti", json!(unique()?)),
            ("iat", json!(issued)),
            ("nbf", json!(issued)),
            ("exp", json!(issued.saturating_add(self.lifetime.as_secs()))),
        ];
        let subject = self.subject.map(|subject| ("sub", json!(subject)));
        let claims = claims.into_iter().chain(subject);
        Ok(claims
            .map(|(name, value)| (name.to_owned(), value))
            .collect())
    }
}

pub(crate) fn part(json: &impl Serialize) -> Result<String, Error> {
    let json =
        serde_json::to_vec(json).map_err(|_| Error::unsigned("the JWT cannot be serialized"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(json))
}

/// 128 random bits, so that a `jti` is unique across all processes of a client.
pub(crate) fn unique() -> Result<String, Error> {
    let mut bits = [0; 16];
    SystemRandom::new()
        .fill(&mut bits)
        .map_err(|_| Error::unsigned("the system's random number generator failed"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bits))
}

/// `iat` is this far in the past, for servers whose clock is behind and that tolerate no skew.
const SLOW_SERVER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::clock::set_wall;

    fn claims_at(ahead: i64) -> Map<String, Value> {
        let none = Members::default();
        let jwt = Jwt {
            typ: "JWT",
            issuer: "id",
            subject: Some("id"),
            audience: "https://auth.test/token",
            lifetime: Duration::from_secs(60),
            header: &none,
            claims: &none,
        };
        set_wall(ahead);
        let claims = jwt.registered_claims().unwrap();
        set_wall(0);
        claims
    }

    #[test]
    fn an_assertion_is_good_for_a_minute_that_began_ten_seconds_ago_by_the_wall_clock() {
        for ahead in [0, 100_000] {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let now = now.unwrap().as_secs() + u64::try_from(ahead).unwrap();
            let claims = claims_at(ahead);
            let issued = claims["iat"].as_u64().unwrap();
            assert!((now - 10..now - 5).contains(&issued), "{issued} at {now}");
            assert_eq!(claims["nbf"], issued);
            assert_eq!(claims["exp"], issued + 60);
        }
    }

    #[test]
    fn a_clock_before_the_epoch_makes_an_assertion_and_no_panic() {
        assert_eq!(claims_at(-3_000_000_000)["iat"], 0);
    }
}
