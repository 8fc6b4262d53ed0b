//! The challenges of a `WWW-Authenticate`, by [RFC 9110 §11.6.1] and by what servers make of it.
//!
//! Lenient, because nothing hangs on a well-formed header: several challenges in one value, a `token68` beside others, commas
//! that are missing or too many, white space anywhere, bytes that are no text. It reads each byte once; only the scopes and the
//! claims of a challenge are copied, where a source asks for them.
//!
//! [RFC 9110 §11.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1

use std::sync::Arc;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};
use serde_json::{Map, Value};

/// The values of `WWW-Authenticate` in a response that rejected a token, as many as are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Challenges(Option<Arc<[HeaderValue]>>);

impl Challenges {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        headers
            .get_all(WWW_AUTHENTICATE)
            .into_iter()
            .cloned()
            .collect()
    }

    pub(crate) fn values(&self) -> &[HeaderValue] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl FromIterator<HeaderValue> for Challenges {
    fn from_iter<I: IntoIterator<Item = HeaderValue>>(values: I) -> Self {
        let mut left = LONGEST_READ;
        let values: Arc<[_]> = values
            .into_iter()
            .take(MOST_VALUES)
            .take_while(|value| {
                left.checked_sub(value.len())
                    .map(|less| left = less)
                    .is_some()
            })
            .collect();
        Self((!values.is_empty()).then_some(values))
    }
}

/// In bytes. Challenges have some hundred. This may be anything, and no server is to choose how long it is read.
pub(crate) const LONGEST_READ: usize = 8 * 1024;

const MOST_VALUES: usize = 16;

/// One challenge, and the parameters that matter here, as they were sent, with the backslashes of a quoted string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Challenge<'a> {
    scheme: &'a [u8],
    error: Option<&'a [u8]>,
    scope: Option<&'a [u8]>,
    claims: Option<&'a [u8]>,
}

impl Challenge<'_> {
    fn is_bearer(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"bearer")
    }

    /// Whether it says something about the token: a Bearer challenge, or a DPoP one with an error. One without is only an offer.
    pub(crate) fn is_about_token(&self) -> bool {
        self.is_bearer() || (self.is_dpop() && self.error.is_some())
    }

    /// Whether it rejects the proof beside the token, and not the token ([RFC 9449 §7.1], [§9]).
    ///
    /// [RFC 9449 §7.1]: https://www.rfc-editor.org/rfc/rfc9449#section-7.1
    /// [§9]: https://www.rfc-editor.org/rfc/rfc9449#section-9
    pub(crate) fn rejects_proof(&self) -> bool {
        self.is_dpop() && PROOF_REJECTIONS.iter().any(|code| self.has_error(code))
    }

    pub(crate) fn has_any_error(&self) -> bool {
        self.error.is_some()
    }

    fn is_dpop(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"dpop")
    }

    pub(crate) fn has_error(&self, code: &str) -> bool {
        self.error
            .is_some_and(|error| unescaped(error).eq(code.bytes()))
    }

    /// The scopes that it takes, if it names any.
    pub(crate) fn scopes(&self) -> Option<Vec<String>> {
        let text = String::from_utf8(unescaped(self.scope?).collect()).ok()?;
        let scopes: Vec<_> = text.split_ascii_whitespace().map(Into::into).collect();
        (!scopes.is_empty()).then_some(scopes)
    }

    /// The claims that it asks for: a JSON object in base64.
    pub(crate) fn claims(&self) -> Option<Map<String, Value>> {
        let text: Vec<u8> = unescaped(self.claims?)
            // By either alphabet: what is said of the header is base64, and what is sent may be base64url.
            .map(|byte| match byte {
                b'-' => b'+',
                b'_' => b'/',
                byte => byte,
            })
            .collect();
        serde_json::from_slice(&PADDED_OR_NOT.decode(text).ok()?).ok()
    }
}

impl<'a> Challenge<'a> {
    fn parameter(&mut self, name: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        Some(match name {
            name if name.eq_ignore_ascii_case(b"error") => &mut self.error,
            name if name.eq_ignore_ascii_case(b"scope") => &mut self.scope,
            name if name.eq_ignore_ascii_case(b"claims") => &mut self.claims,
            _ => return None,
        })
    }
}

/// The errors about a DPoP proof, at an API and at a token endpoint.
pub(crate) const PROOF_REJECTIONS: [&str; 2] = ["use_dpop_nonce", "invalid_dpop_proof"];

const PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The challenges of one header value, in order.
pub(crate) fn challenges(value: &[u8]) -> impl Iterator<Item = Challenge<'_>> {
    let mut words = Words { left: value };
    let mut begun: Option<Challenge<'_>> = None;
    // A word right after a scheme is its `token68`, and not the next scheme.
    let mut follows_scheme = false;
    std::iter::from_fn(move || {
        loop {
            match words.next() {
                None => return begun.take(),
                Some(Word::Comma) => follows_scheme = false,
                Some(Word::Parameter(name, value)) => {
                    follows_scheme = false;
                    if let Some(challenge) = &mut begun
                        && let Some(parameter) = challenge.parameter(name)
                    {
                        *parameter = parameter.or(value);
                    }
                }
                Some(Word::Alone(_)) if follows_scheme => follows_scheme = false,
                Some(Word::Alone(scheme)) => {
                    follows_scheme = true;
                    let next = Challenge {
                        scheme,
                        error: None,
                        scope: None,
                        claims: None,
                    };
                    if let Some(challenge) = begun.replace(next) {
                        return Some(challenge);
                    }
                }
            }
        }
    })
}

/// The challenges of a response, but for values that are too long to be read.
pub(crate) fn challenges_in(headers: &HeaderMap) -> impl Iterator<Item = Challenge<'_>> {
    let values = headers.get_all(WWW_AUTHENTICATE).into_iter();
    values
        .filter(|value| value.len() <= LONGEST_READ)
        .flat_map(|value| challenges(value.as_bytes()))
}

enum Word<'a> {
    Comma,
    /// A scheme, or a `token68` without padding.
    Alone(&'a [u8]),
    /// A name, and its value, if it has one that can be read. A `token68` with its padding looks like one without.
    Parameter(&'a [u8], Option<&'a [u8]>),
}

struct Words<'a> {
    left: &'a [u8],
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        self.skip_space();
        match *self.left.first()? {
            b',' => {
                self.left = &self.left[1..];
                return Some(Word::Comma);
            }
            b'"' => return Some(Word::Parameter(b"", self.quoted())),
            _ => {}
        }
        let name = self.word();
        self.skip_space();
        if self.left.first() != Some(&b'=') {
            return Some(Word::Alone(name));
        }
        while let [b'=', left @ ..] = self.left {
            self.left = left;
        }
        self.skip_space();
        let value = match self.left.first() {
            None | Some(b',') => None,
            Some(b'"') => self.quoted(),
            Some(_) => Some(self.word()),
        };
        Some(Word::Parameter(name, value))
    }
}

impl<'a> Words<'a> {
    fn skip_space(&mut self) {
        self.left = self.left.trim_ascii_start();
    }

    /// All up to what ends a word.
    fn word(&mut self) -> &'a [u8] {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b",=\"".contains(byte);
        let end = self.left.iter().position(ends);
        let (word, left) = self.left.split_at(end.unwrap_or(self.left.len()));
        self.left = left;
        word
    }

    /// What is between this quote and the next that has no backslash before it. Without such a one, all that is left cannot be
    /// read.
    fn quoted(&mut self) -> Option<&'a [u8]> {
        let text = &self.left[1..];
        let mut is_escaped = false;
        let end = text.iter().position(|&byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        });
        self.left = end.map_or(&[], |end| &text[end + 1..]);
        end.map(|end| &text[..end])
    }
}

fn unescaped(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut bytes = text.iter().copied();
    std::iter::from_fn(move || match bytes.next()? {
        b'\\' => bytes.next(),
        byte => Some(byte),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(value: &str) -> Vec<(&str, Option<&str>)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        challenges(value.as_bytes())
            .map(|challenge| (text(challenge.scheme), challenge.error.map(text)))
            .collect()
    }

    /// Promise: R8
    #[test]
    fn challenges_are_read_as_the_rfc_says_and_as_servers_send_them() {
        for (value, challenges) in [
            ("", vec![]),
            (" , ,", vec![]),
            ("Bearer", vec![("Bearer", None)]),
            ("Bearer error=a", vec![("Bearer", Some("a"))]),
            ("Bearer  ERROR = \"a\"", vec![("Bearer", Some("a"))]),
            ("Bearer realm=r,error=a,x=y", vec![("Bearer", Some("a"))]),
            (
                "Bearer realm=\"r\" error=\"a\"",
                vec![("Bearer", Some("a"))],
            ),
            ("Bearer, error=a", vec![("Bearer", Some("a"))]),
            ("Bearer error=a, error=b", vec![("Bearer", Some("a"))]),
            (
                "Bearer realm=\"x, Basic error=b\", error=a",
                vec![("Bearer", Some("a"))],
            ),
            (
                "Bearer realm=\"\\\"\", error=a",
                vec![("Bearer", Some("a"))],
            ),
            ("Negotiate YII", vec![("Negotiate", None)]),
            (
                "Negotiate YII=, Bearer error=a",
                vec![("Negotiate", None), ("Bearer", Some("a"))],
            ),
            (
                "Negotiate YII==,Bearer error=a",
                vec![("Negotiate", None), ("Bearer", Some("a"))],
            ),
            (
                "Negotiate YII, Bearer error=a",
                vec![("Negotiate", None), ("Bearer", Some("a"))],
            ),
            (
                "Negotiate, Bearer error=a",
                vec![("Negotiate", None), ("Bearer", Some("a"))],
            ),
            (
                "Basic realm=r Bearer error=a",
                vec![("Basic", None), ("Bearer", Some("a"))],
            ),
            ("Bearer error=\"a", vec![("Bearer", None)]),
            ("error=a", vec![]),
            ("\"Bearer\" error=a", vec![]),
        ] {
            assert_eq!(read(value), challenges, "{value}");
        }
    }

    proptest! {
        /// Promise: R8
        #[test]
        fn any_bytes_are_read_to_their_end(value: Vec<u8>) {
            prop_assert!(challenges(&value).count() <= value.len());
        }
    }
}
