//! Which answers mean that the token was rejected.

use std::sync::Arc;

use http::{
    Extensions, HeaderMap, HeaderValue, Response, StatusCode, Version, header::WWW_AUTHENTICATE,
};
use http_auth::{ChallengeRef, parser::ChallengeParser};

/// Decides from an answer's head whether the server rejected the token, so that another one would help.
///
/// Closures `Fn(&ResponseHead<'_>) -> bool` are such decisions.
///
/// # Example
/// A server that rejects tokens by 403:
/// ```
/// use http::StatusCode;
/// use tower_bearer::{BearerAuthLayer, token::FixedToken, unauthorized::ResponseHead};
///
/// # let source = FixedToken::new("t")?;
/// let layer = BearerAuthLayer::new(source).unauthorized(|response: &ResponseHead<'_>| {
///     matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
/// });
/// # let _ = layer;
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not decide which responses reject a token",
    label = "not an `Unauthorized`",
    note = "`unauthorized` takes a `BearerChallenge`, a `GrpcUnauthenticated`, or a closure whose argument has its type written out: `|response: &ResponseHead<'_>| -> bool`"
)]
pub trait Unauthorized {
    /// Whether the token was rejected.
    fn is_rejection(&self, response: &ResponseHead<'_>) -> bool;
}

impl<F> Unauthorized for F
where
    F: Fn(&ResponseHead<'_>) -> bool,
{
    fn is_rejection(&self, response: &ResponseHead<'_>) -> bool {
        self(response)
    }
}

/// So that a policy can be shared, or chosen at run time: `Arc<dyn Unauthorized + Send + Sync>`.
impl<T: Unauthorized + ?Sized> Unauthorized for Arc<T> {
    fn is_rejection(&self, response: &ResponseHead<'_>) -> bool {
        (**self).is_rejection(response)
    }
}

/// A response without its body, as an [`Unauthorized`] sees it.
///
/// # Example
/// ```
/// use tower_bearer::unauthorized::ResponseHead;
///
/// let response = http::Response::builder().status(403).body("a body")?;
/// assert_eq!(ResponseHead::from(&response).status(), 403);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    status: StatusCode,
    version: Version,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> ResponseHead<'a> {
    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The HTTP version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The extensions.
    #[must_use]
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }
}

impl<'a, B> From<&'a Response<B>> for ResponseHead<'a> {
    fn from(response: &'a Response<B>) -> Self {
        Self {
            status: response.status(),
            version: response.version(),
            headers: response.headers(),
            extensions: response.extensions(),
        }
    }
}

/// Status 401 whose `WWW-Authenticate` ([RFC 9110 §11.6.1]) leaves hope that another token would do. The default.
///
/// | 401 with | means |
/// | --- | --- |
/// | no challenge, or one that cannot be read | rejected |
/// | a Bearer challenge without an error, with `invalid_token` ([RFC 6750 §3.1]) or with one not named here | rejected |
/// | Bearer challenges with `insufficient_scope` or `insufficient_user_authentication` ([RFC 9470 §3]) only | not rejected: every token of this client would be as little use |
/// | challenges of other schemes only | not rejected: no token is asked for |
///
/// Any other status, 403 and 407 among them, is no rejection.
///
/// [RFC 6750 §3.1]: https://www.rfc-editor.org/rfc/rfc6750#section-3.1
/// [RFC 9110 §11.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1
/// [RFC 9470 §3]: https://www.rfc-editor.org/rfc/rfc9470#section-3
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "named as a value, it has nothing to add to"
)]
pub struct BearerChallenge;

impl Unauthorized for BearerChallenge {
    fn is_rejection(&self, response: &ResponseHead<'_>) -> bool {
        response.status == StatusCode::UNAUTHORIZED && Offer::of(response.headers).leaves_hope()
    }
}

/// gRPC status `UNAUTHENTICATED` (16) in an answer that is nothing but trailers ([gRPC over HTTP/2]), or what [`BearerChallenge`]
/// calls a rejection, as proxies in front of gRPC servers send it.
///
/// A status that comes after the head is none: the call may have been answered in part, and the caller has seen it.
///
/// [gRPC over HTTP/2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "named as a value, it has nothing to add to"
)]
pub struct GrpcUnauthenticated;

impl Unauthorized for GrpcUnauthenticated {
    fn is_rejection(&self, response: &ResponseHead<'_>) -> bool {
        // They are the head then.
        let is_unauthenticated = response
            .headers
            .get("grpc-status")
            .is_some_and(|status| status == "16");
        is_unauthenticated || BearerChallenge.is_rejection(response)
    }
}

/// What the challenges of an answer come to.
#[derive(Default)]
struct Offer {
    /// One that another token may meet.
    hopeful: bool,
    /// One that it will not meet.
    hopeless: bool,
}

impl Offer {
    fn of(headers: &HeaderMap) -> Self {
        let mut offer = Self::default();
        for value in headers.get_all(WWW_AUTHENTICATE) {
            offer.read(value);
        }
        offer
    }

    fn read(&mut self, value: &HeaderValue) {
        if value.len() > LONGEST_READ {
            // Challenges have some hundred bytes. This may be anything, and no server is to choose how long it is read.
            self.hopeful = true;
            return;
        }
        // Bytes that are not ASCII are in free text, if anywhere; the parser rejects them.
        let text: String = value
            .as_bytes()
            .iter()
            .map(|byte| {
                if byte.is_ascii() {
                    char::from(*byte)
                } else {
                    '?'
                }
            })
            .collect();
        if is_token68(&text) {
            self.hopeless = true;
            return;
        }
        for challenge in ChallengeParser::new(&text) {
            match challenge {
                Ok(challenge) if is_met_by_a_token(&challenge) => self.hopeful = true,
                Ok(_) => self.hopeless = true,
                // The rest cannot be read, and may be anything.
                Err(_) => self.hopeful = true,
            }
        }
    }

    fn leaves_hope(&self) -> bool {
        self.hopeful || !self.hopeless
    }
}

/// In bytes.
const LONGEST_READ: usize = 8 * 1024;

/// Whether this is a scheme with a `token68`, as Negotiate and NTLM send it, which the parser has no notion of. Bearer has
/// parameters, so it is another scheme's.
fn is_token68(text: &str) -> bool {
    let Some((scheme, value)) = text.trim().split_once(' ') else {
        return false;
    };
    let value = value.trim().trim_end_matches('=');
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_value = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !value.is_empty()
        && !scheme.eq_ignore_ascii_case("bearer")
        && scheme.bytes().all(is_scheme)
        && value.bytes().all(is_value)
}

fn is_met_by_a_token(challenge: &ChallengeRef<'_>) -> bool {
    if !challenge.scheme.eq_ignore_ascii_case("bearer") {
        return false;
    }
    let error = challenge
        .params
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("error"));
    error.is_none_or(|(_, error)| {
        !matches!(
            error.to_unescaped().as_str(),
            "insufficient_scope" | "insufficient_user_authentication"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(status: u16, challenges: &[&[u8]]) -> bool {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for challenge in challenges {
            let value = HeaderValue::from_bytes(challenge).unwrap();
            response.headers_mut().append(WWW_AUTHENTICATE, value);
        }
        BearerChallenge.is_rejection(&ResponseHead::from(&response))
    }

    /// Promise: R8
    #[test]
    fn a_401_that_another_token_may_cure_is_a_rejection() {
        let cases: [&[&[u8]]; 14] = [
            &[],
            &[b""],
            &[b"Bearer"],
            &[b"bearer error=invalid_token"],
            &[br#"Bearer realm="api", error="invalid_token""#],
            // Hydra: no space after the comma.
            &[br#"Bearer error="invalid_token",error_description="The access token expired""#],
            &[br#"Bearer error="something_new""#],
            // oidc-provider: two headers.
            &[br#"DPoP algs="ES256""#, br#"Bearer realm="r", error="invalid_token""#],
            // Several in one header.
            &[br#"Basic realm="a, Bearer error=\"insufficient_scope\"", Bearer error="invalid_token""#],
            &[br#"Bearer error="insufficient_scope", Bearer error="invalid_token""#],
            // Quoted commas and quotes.
            &[br#"Bearer realm="a, \"b\", c", error="invalid_token""#],
            // Bytes that are no ASCII, in free text.
            &[b"Bearer realm=\"caf\xE9\", error=\"invalid_token\""],
            // Cannot be read.
            &[b"\xFF\xFE="],
            &[br#"Bearer error="insufficient"#],
        ];
        for challenges in cases {
            assert!(rejected(401, challenges), "{challenges:?}");
        }
    }

    /// Promise: R8
    #[test]
    fn a_challenge_that_is_too_long_to_be_one_is_not_read() {
        let realm = "r".repeat(8 * 1024);
        let hopeless = format!(r#"Basic realm="{}""#, &realm[..8000]);
        assert!(!rejected(401, &[hopeless.as_bytes()]));
        let long = format!(r#"Basic realm="{realm}""#);
        assert!(rejected(401, &[long.as_bytes()]));
    }

    /// Promise: R8
    #[test]
    fn what_no_token_of_this_client_would_cure_is_none() {
        let hopeless: [&[&[u8]]; 9] = [
            &[b"Negotiate"],
            &[b"Negotiate YIIB+/8=="],
            &[br#"Bearer error="insufficient_scope", scope="admin""#],
            &[br#"bearer error="insufficient_user_authentication""#],
            &[br#"Bearer realm="a,b", error=insufficient_scope"#],
            &[br#"Bearer error="insufficient\_scope""#],
            &[br#"Basic realm="login""#],
            &[br#"Basic realm="Bearer""#, br#"Digest nonce="x""#],
            &[br#"DPoP error="invalid_token""#],
        ];
        for challenges in hopeless {
            assert!(!rejected(401, challenges), "{challenges:?}");
        }
        for status in [200, 400, 403, 407, 419, 500] {
            assert!(!rejected(status, &[br#"Bearer error="invalid_token""#]));
        }
    }
}
