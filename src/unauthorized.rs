//! Which answers mean that the token was rejected.

use std::{fmt, sync::Arc};

use http::{Extensions, HeaderMap, HeaderName, Response, StatusCode, Version};

use crate::token::challenge::challenges_in;

/// Decides from an answer's head whether the server rejected the token, so that another one would help.
///
/// Closures `Fn(&ResponseHead<'_>) -> bool` are such decisions. It is called once for each response, under no lock.
///
/// # Panics
/// A panic is that of the request's future. It harms no other request, and no token.
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
#[derive(Clone, Copy)]
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

/// Without the values of the headers, of which one may set a cookie.
impl fmt::Debug for ResponseHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .field("version", &self.version)
            .field(
                "headers",
                &self
                    .headers
                    .keys()
                    .map(HeaderName::as_str)
                    .collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
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

/// Status 401, unless `WWW-Authenticate` ([RFC 9110 §11.6.1]) says that a new token would not help. The default.
///
/// | 401 with | means |
/// | --- | --- |
/// | Bearer and DPoP challenges that all say `insufficient_scope`, `insufficient_user_authentication` ([RFC 9470 §3]) or `insufficient_claims` (Entra ID) | not rejected: every token of this client would be as little use |
/// | a DPoP challenge that says `use_dpop_nonce` or `invalid_dpop_proof` ([RFC 9449 §9]) | not rejected: the proof is at fault, not the token |
/// | anything else: no challenge, another error ([RFC 6750 §3.1]) or none, other schemes only, one that cannot be read | rejected |
///
/// Other schemes do not count, because servers that take Bearer tokens answer with them all the same (`OAuth2`, `Basic`). Where
/// a new token does not help, the cool-down bounds what it costs. Any other status, 403 and 407 among them, is no rejection.
///
/// A source may be told to answer `insufficient_claims` and `insufficient_scope`. Then they count as rejections, by whatever
/// policy: see [`answer_claims_challenges`] and [`step_up_scopes`].
///
/// [`answer_claims_challenges`]: crate::client_credentials::ClientCredentialsBuilder::answer_claims_challenges
/// [`step_up_scopes`]: crate::client_credentials::ClientCredentialsBuilder::step_up_scopes
///
/// [RFC 6750 §3.1]: https://www.rfc-editor.org/rfc/rfc6750#section-3.1
/// [RFC 9110 §11.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1
/// [RFC 9449 §9]: https://www.rfc-editor.org/rfc/rfc9449#section-9
/// [RFC 9470 §3]: https://www.rfc-editor.org/rfc/rfc9470#section-3
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "named as a value, it has nothing to add to"
)]
pub struct BearerChallenge;

impl Unauthorized for BearerChallenge {
    fn is_rejection(&self, response: &ResponseHead<'_>) -> bool {
        response.status == StatusCode::UNAUTHORIZED && !is_past_help(response.headers)
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

/// Whether the challenges say that another token would not help: each of those about the token does; or one is about the proof,
/// and none rejects the token.
fn is_past_help(headers: &HeaderMap) -> bool {
    let (mut rejects_proof, mut is_past_help) = (false, false);
    let (mut rejects_token, mut is_offered) = (false, false);
    for challenge in challenges_in(headers) {
        if challenge.rejects_proof() {
            rejects_proof = true;
        } else if challenge.is_about_token() {
            match PAST_HELP.iter().any(|code| challenge.has_error(code)) {
                true => is_past_help = true,
                false if challenge.has_any_error() => rejects_token = true,
                false => is_offered = true,
            }
        }
    }
    !rejects_token && (rejects_proof || (is_past_help && !is_offered))
}

/// The errors that every token of this client would meet.
const PAST_HELP: [&str; 3] = [
    "insufficient_scope",
    "insufficient_user_authentication",
    "insufficient_claims",
];

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::WWW_AUTHENTICATE};

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
        let cases: [&[&[u8]]; 24] = [
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
            &[br#"Bearer error="insufficient_scope"#],
            // Other schemes, from servers that take Bearer tokens.
            &[br#"OAuth2 realm="WSO2", error="invalid_token""#],
            &[br#"Basic realm="Artifactory""#],
            &[b"Negotiate YIIB+/8=="],
            &[br#"DPoP error="invalid_token", algs="ES256""#],
            &[br#"DPoP error="insufficient_scope", Bearer error="invalid_token""#],
            &[br#"Bearer error="use_dpop_nonce""#],
            &[br#"dpop error=use_dpop_nonce, Bearer error=invalid_token"#],
            &[br#"Basic realm="Bearer", error="insufficient_scope""#, br#"Digest nonce="x""#],
            // Parameters without commas.
            &[br#"Bearer realm="Planning Center" error="invalid_token""#],
        ];
        for challenges in cases {
            assert!(rejected(401, challenges), "{challenges:?}");
        }
    }

    /// Promise: R8
    #[test]
    fn a_challenge_that_is_too_long_to_be_one_is_not_read() {
        let realm = "r".repeat(8 * 1024);
        let rest = r#"Bearer error=insufficient_scope, realm="#;
        let read = format!("{rest}{}", &realm[..8192 - rest.len()]);
        assert!(!rejected(401, &[read.as_bytes()]));
        let long = format!("{rest}{}", &realm[..8193 - rest.len()]);
        assert!(rejected(401, &[long.as_bytes()]));
    }

    /// Promise: R8
    #[test]
    fn what_no_token_of_this_client_would_cure_is_none() {
        let hopeless: [&[&[u8]]; 14] = [
            &[br#"DPoP error="insufficient_scope", scope="admin""#],
            &[br#"DPoP error="use_dpop_nonce", error_description="x""#],
            &[
                br#"Bearer realm="api""#,
                br#"DPoP algs="ES256", error="invalid_dpop_proof""#,
            ],
            &[br#"Bearer realm="", error="insufficient_claims", claims="e30=""#],
            &[br#"Bearer error="insufficient_scope", scope="admin""#],
            &[br#"bearer error="insufficient_user_authentication""#],
            &[br#"Bearer realm="a,b", error=insufficient_scope"#],
            &[br#"Bearer error="insufficient\_scope""#],
            &[br#"Bearer  realm="two spaces",error="insufficient_scope""#],
            &[br#"Bearer realm="no commas" error="insufficient_scope""#],
            &[br#"Negotiate YII=, Bearer error="insufficient_scope""#],
            &[br#"Basic realm="login", Bearer error="insufficient_scope""#],
            &[
                br#"DPoP algs="ES256""#,
                br#"Bearer error="insufficient_scope""#,
            ],
            &[b"Bearer realm=\"caf\xE9\", error=\"insufficient_scope\""],
        ];
        for challenges in hopeless {
            assert!(!rejected(401, challenges), "{challenges:?}");
        }
        for status in [200, 400, 403, 407, 419, 500] {
            assert!(!rejected(status, &[br#"Bearer error="invalid_token""#]));
        }
    }
}
