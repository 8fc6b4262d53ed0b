//! Client authentication by an assertion that the client signs itself ([RFC 7523 §2.2]): a JWT in compact form.
//!
//! [RFC 7523 §2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2

mod key;
mod signer;
mod signing_key;

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use serde::Serialize;

pub(crate) use self::signing_key::ReadKey;
pub use self::{
    signer::{Signer, SigningAlgorithm},
    signing_key::SigningKey,
};
use crate::{
    client_credentials::auth::HS256,
    error::Error,
    util::{clock, wiped::Wiped},
};

/// Signs an assertion with the client's secret, by HS256 ([RFC 7518 §3.2]): `client_secret_jwt`.
///
/// [RFC 7518 §3.2]: https://www.rfc-editor.org/rfc/rfc7518#section-3.2
pub(crate) fn sign_by_secret(
    secret: &str,
    client_id: &str,
    audience: &str,
) -> Result<Wiped, Error> {
    let input = signing_input(&Header::new(HS256), client_id, audience)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, input.as_bytes());
    Ok(with_signature(&input, signature.as_ref()))
}

/// Signs an assertion with a private key: `private_key_jwt`.
pub(crate) async fn sign_by_key(
    key: &ReadKey,
    client_id: &str,
    audience: &str,
) -> Result<Wiped, Error> {
    let input = signing_input(key.header(), client_id, audience)?;
    let signature = key.sign(&input).await?;
    Ok(with_signature(&input, &signature))
}

/// The protected header ([RFC 7515 §4.1]).
///
/// [RFC 7515 §4.1]: https://www.rfc-editor.org/rfc/rfc7515#section-4.1
#[derive(PartialEq, Serialize)]
pub(crate) struct Header {
    alg: &'static str,
    typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    x5t_s256: Option<String>,
}

impl Header {
    fn new(alg: &'static str) -> Self {
        Self {
            alg,
            typ: "JWT",
            kid: None,
            x5t_s256: None,
        }
    }
}

/// The claims of the assertion ([RFC 7523 §3]).
///
/// [RFC 7523 §3]: https://www.rfc-editor.org/rfc/rfc7523#section-3
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: u64,
    nbf: u64,
    exp: u64,
}

/// The header and the claims, as they are signed ([RFC 7515 §5.1]).
///
/// [RFC 7515 §5.1]: https://www.rfc-editor.org/rfc/rfc7515#section-5.1
fn signing_input(header: &Header, client_id: &str, audience: &str) -> Result<String, Error> {
    let now = clock::wall()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let issued = now.saturating_sub(SLOW_SERVER).as_secs();
    let claims = Claims {
        iss: client_id,
        sub: client_id,
        aud: audience,
        jti: unique()?,
        iat: issued,
        nbf: issued,
        exp: issued + LIFETIME.as_secs(),
    };
    Ok(format!("{}.{}", part(header)?, part(&claims)?))
}

fn part(json: &impl Serialize) -> Result<String, Error> {
    let json = serde_json::to_vec(json)
        .map_err(|_| Error::unsigned("the client assertion cannot be serialized"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(json))
}

/// The result is wiped because of its signature; the input alone proves nothing.
fn with_signature(input: &str, signature: &[u8]) -> Wiped {
    let signature = Wiped::from(BASE64_URL_SAFE_NO_PAD.encode(signature));
    Wiped::concat(&[input, ".", &signature])
}

/// 128 random bits, so that a `jti` is unique across all processes of a client.
fn unique() -> Result<String, Error> {
    let mut bits = [0; 16];
    SystemRandom::new()
        .fill(&mut bits)
        .map_err(|_| Error::unsigned("the system's random number generator failed"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bits))
}

/// From `iat` to `exp`. Servers with an upper limit accept at least this.
const LIFETIME: Duration = Duration::from_secs(60);

/// `iat` is this far in the past, for servers whose clock is behind and that tolerate no skew.
const SLOW_SERVER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::util::clock::set_wall;

    fn claims_at(ahead: i64) -> Value {
        set_wall(ahead);
        let assertion = sign_by_secret("secret", "id", "https://auth.test/token").unwrap();
        set_wall(0);
        let part = assertion.split('.').nth(1).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
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
