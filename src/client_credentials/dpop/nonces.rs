//! What servers say about the proofs that they want: their nonces, and their clocks.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use http::{HeaderMap, HeaderName, StatusCode, header::DATE};

use crate::util::clock;

/// By origin. A server's nonce is of no use to another ([RFC 9449 §8.2], [§9]).
///
/// [RFC 9449 §8.2]: https://www.rfc-editor.org/rfc/rfc9449#section-8.2
/// [§9]: https://www.rfc-editor.org/rfc/rfc9449#section-9
#[derive(Default)]
pub(crate) struct Nonces(
    /// The one that changed last is the last.
    Mutex<Vec<(Box<str>, Known)>>,
);

/// What is known of one origin.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Known {
    nonce: Option<Arc<str>>,
    /// How many seconds its clock is ahead of this machine's.
    ahead: i64,
}

impl Known {
    pub(crate) fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    pub(crate) fn ahead(&self) -> i64 {
        self.ahead
    }
}

impl Nonces {
    pub(crate) fn of(&self, origin: &str) -> Known {
        let origins = self.lock();
        let known = origins.iter().find(|(other, _)| **other == *origin);
        known.map_or_else(Known::default, |(_, known)| known.clone())
    }

    /// Keeps what an answer says, a success as well ([RFC 9449 §8.2]). `known` is what the proof had that it answers: usually
    /// there is nothing new.
    ///
    /// A server's `Date` counts only in an answer that may reject a proof: others come from caches too.
    ///
    /// [RFC 9449 §8.2]: https://www.rfc-editor.org/rfc/rfc9449#section-8.2
    pub(crate) fn learn(
        &self,
        origin: &str,
        known: &Known,
        status: StatusCode,
        headers: &HeaderMap,
    ) {
        let nonce = nonce_in(headers).filter(|nonce| Some(*nonce) != known.nonce());
        let ahead = match status.is_client_error() {
            true => ahead_by(headers, clock::wall()),
            false => None,
        };
        let ahead = ahead.filter(|ahead| *ahead != known.ahead);
        if nonce.is_none() && ahead.is_none() {
            return;
        }
        let mut origins = self.lock();
        let at = origins.iter().position(|(other, _)| **other == *origin);
        let (origin, mut now) = match at {
            Some(at) => origins.remove(at),
            None => (origin.into(), Known::default()),
        };
        if let Some(nonce) = nonce {
            now.nonce = Some(nonce.into());
        }
        now.ahead = ahead.unwrap_or(now.ahead);
        if origins.len() == MOST {
            origins.remove(0);
        }
        origins.push((origin, now));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Box<str>, Known)>> {
        // Each entry is taken out and put back whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A nonce as [RFC 9449 §8.1] lets it be: no spaces, quotes or backslashes.
///
/// [RFC 9449 §8.1]: https://www.rfc-editor.org/rfc/rfc9449#section-8.1
fn nonce_in(headers: &HeaderMap) -> Option<&str> {
    let nonce = headers.get(&DPOP_NONCE)?.to_str().ok()?;
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    let is_nonce = !nonce.is_empty() && nonce.len() <= LONGEST && nonce.bytes().all(is_allowed);
    is_nonce.then_some(nonce)
}

/// How many seconds the server's clock is ahead of this one. Zero if they are near enough for any server.
fn ahead_by(headers: &HeaderMap, here: SystemTime) -> Option<i64> {
    let there = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let ahead = match there.duration_since(here) {
        Ok(ahead) => i64::try_from(ahead.as_secs()).ok()?,
        Err(behind) => -i64::try_from(behind.duration().as_secs()).ok()?,
    };
    let is_near = ahead.unsigned_abs() <= NEAR;
    Some(if is_near { 0 } else { ahead })
}

pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Origins. One that is forgotten costs one retry.
const MOST: usize = 64;

/// In bytes. Nonces have some forty.
const LONGEST: usize = 1024;

/// In seconds: the time that an answer takes, and the rounding of its date. Strict servers accept proofs of 10 s.
const NEAR: u64 = 5;

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn with(headers: &[(HeaderName, &str)]) -> HeaderMap {
        let headers = headers.iter().cloned();
        headers
            .map(|(name, value)| (name, HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn learn(nonces: &Nonces, origin: &str, status: u16, headers: &[(HeaderName, &str)]) {
        let known = nonces.of(origin);
        let status = StatusCode::from_u16(status).unwrap();
        nonces.learn(origin, &known, status, &with(headers));
    }

    #[test]
    fn the_newest_nonce_of_each_origin_is_kept_and_only_there() {
        let nonces = Nonces::default();
        learn(&nonces, "https://a.test", 401, &[(DPOP_NONCE, "one")]);
        learn(&nonces, "https://b.test", 200, &[(DPOP_NONCE, "two")]);
        learn(&nonces, "https://a.test", 200, &[(DPOP_NONCE, "three")]);
        learn(&nonces, "https://a.test", 200, &[]);
        assert_eq!(nonces.of("https://a.test").nonce(), Some("three"));
        assert_eq!(nonces.of("https://b.test").nonce(), Some("two"));
        assert_eq!(nonces.of("https://a.test:8443").nonce(), None);
    }

    #[test]
    fn origins_are_forgotten_when_there_are_too_many_the_one_first_that_changed_first() {
        let nonces = Nonces::default();
        for at in 0..MOST {
            learn(&nonces, &format!("https://{at}"), 200, &[(DPOP_NONCE, "n")]);
        }
        learn(&nonces, "https://0", 200, &[(DPOP_NONCE, "m")]);
        learn(&nonces, "https://new", 200, &[(DPOP_NONCE, "n")]);
        assert_eq!(nonces.lock().len(), MOST);
        assert_eq!(nonces.of("https://0").nonce(), Some("m"));
        assert_eq!(nonces.of("https://1").nonce(), None);
    }

    #[test]
    fn a_nonce_is_kept_up_to_a_kibibyte() {
        let nonces = Nonces::default();
        let longest = "n".repeat(1024);
        learn(&nonces, "https://a.test", 200, &[(DPOP_NONCE, &longest)]);
        let longer = "m".repeat(1025);
        learn(&nonces, "https://a.test", 200, &[(DPOP_NONCE, &longer)]);
        assert_eq!(nonces.of("https://a.test").nonce(), Some(&*longest));
    }

    #[test]
    fn a_date_counts_in_a_rejection_if_it_is_far_off() {
        let nonces = Nonces::default();
        let date = |ahead: i64| {
            let now = SystemTime::now();
            let by = std::time::Duration::from_secs(ahead.unsigned_abs());
            httpdate::fmt_http_date(if ahead < 0 { now - by } else { now + by })
        };
        let ahead = || nonces.of("https://a.test").ahead();
        learn(&nonces, "https://a.test", 200, &[(DATE, &date(600))]);
        assert_eq!(ahead(), 0);
        learn(&nonces, "https://a.test", 401, &[(DATE, &date(600))]);
        assert!((598..=600).contains(&ahead()), "{}", ahead());
        learn(&nonces, "https://a.test", 400, &[(DATE, &date(-600))]);
        assert!((-602..=-600).contains(&ahead()), "{}", ahead());
        learn(&nonces, "https://a.test", 401, &[(DATE, &date(1))]);
        assert_eq!(ahead(), 0);
    }

    proptest! {
        #[test]
        fn any_nonce_and_date_are_read_and_nothing_but_a_nonce_is_kept(
            nonce in proptest::collection::vec(prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8], 0..1100),
            date in "[ -~]{0,40}|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        ) {
            let nonces = Nonces::default();
            let mut headers = HeaderMap::new();
            headers.insert(DPOP_NONCE, HeaderValue::from_bytes(&nonce).unwrap());
            headers.insert(DATE, HeaderValue::from_str(&date).unwrap());
            nonces.learn("o", &Known::default(), StatusCode::UNAUTHORIZED, &headers);
            let is_one = !nonce.is_empty() && nonce.len() <= 1024
                && nonce.iter().all(|byte| (0x21..=0x7e).contains(byte) && !b"\"\\".contains(byte));
            let kept = nonces.of("o");
            prop_assert_eq!(kept.nonce().map(str::as_bytes), is_one.then_some(&*nonce));
        }
    }
}
