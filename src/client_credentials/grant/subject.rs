//! A token or an assertion of another party, which is shown to a server.

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;

use crate::{
    client_credentials::{auth::secret::Secret, response},
    error::Error,
    util::{clock, wiped::Wiped},
};

/// It as it was read for one token request.
pub(crate) struct Subject {
    pub(crate) text: Wiped,
    /// What was left of it then. `None` if that is not known, or if it should be over, which the server can tell better.
    pub(crate) left: Option<Duration>,
}

impl Subject {
    /// `what` names it in errors.
    pub(crate) async fn read(secret: &Secret, what: &'static str) -> Result<Self, Error> {
        let (text, left) = secret.read_with_rest(what).await?;
        let left = left.or_else(|| left_of_jwt(&text, clock::wall()));
        Ok(Self {
            text,
            left: left.filter(|left| !left.is_zero()),
        })
    }
}

/// What is left of a JWT at `now`, by its `exp`. It is not verified: the server that it is shown to does that.
fn left_of_jwt(text: &str, now: SystemTime) -> Option<Duration> {
    /// `exp` is a number, with or without a fraction ([RFC 7519 §2]).
    ///
    /// [RFC 7519 §2]: https://www.rfc-editor.org/rfc/rfc7519#section-2
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }

    let claims = text.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    let Claims { exp } = serde_json::from_slice(response::json_object(&claims)?).ok()?;
    let end = SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(exp).ok()?)?;
    end.duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn jwt(claims: impl AsRef<[u8]>) -> String {
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    fn left(text: &str) -> Option<Duration> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        left_of_jwt(text, now)
    }

    #[test]
    fn a_jwt_says_what_is_left_of_it() {
        let left_by = |claims: &str| left(&jwt(claims));
        assert_eq!(
            left_by(r#"{"exp":1000600}"#),
            Some(Duration::from_secs(600))
        );
        let fraction = left_by(r#"{"iss":"k","exp":1000000.5}"#);
        assert_eq!(fraction, Some(Duration::from_millis(500)));
        for claims in [
            r#"{"exp":999999}"#,
            r#"{"exp":-1}"#,
            r#"{"exp":1e300}"#,
            r#"{"exp":"1000600"}"#,
            r#"{"exp":null}"#,
            "{}",
            "[1000600]",
            "",
        ] {
            assert_eq!(left_by(claims), None, "{claims}");
        }
    }

    #[test]
    fn what_is_no_jwt_says_nothing() {
        for text in ["", ".", "ya29.c.b0", "two words", "e30.e30", "a.b.c.d.e"] {
            assert_eq!(left(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,100}", claims in ".{0,100}", exp in any::<f64>()) {
            let _ = (left(&text), left(&format!("a.{text}")), left(&jwt(claims)));
            let left = left(&jwt(format!(r#"{{"exp":{exp:e}}}"#)));
            prop_assert_eq!(left.is_some(), (1e6..1.8e19).contains(&exp));
        }
    }
}
