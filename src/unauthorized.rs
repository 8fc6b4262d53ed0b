//! Which answers mean that the token was refused.

use http::{HeaderMap, StatusCode};

/// Decides from an answer's head whether the server refused the token, so that another one would help.
///
/// Closures `Fn(StatusCode, &HeaderMap) -> bool` are such decisions.
///
/// # Example
/// A server that refuses tokens by 403:
/// ```
/// use http::{HeaderMap, StatusCode};
/// use tower_bearer::{BearerAuthLayer, FixedToken, Token};
///
/// # let source = FixedToken::new(Token::new("t")?);
/// let layer = BearerAuthLayer::new(source).unauthorized(|status: StatusCode, _: &HeaderMap| {
///     matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
/// });
/// # let _ = layer;
/// # Ok::<(), tower_bearer::Error>(())
/// ```
pub trait Unauthorized {
    /// Whether the token was refused.
    fn is_refusal(&self, status: StatusCode, headers: &HeaderMap) -> bool;
}

impl<F> Unauthorized for F
where
    F: Fn(StatusCode, &HeaderMap) -> bool,
{
    fn is_refusal(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        self(status, headers)
    }
}

/// Status 401 ([RFC 9110 §15.5.2]) is a refusal, and nothing else is.
///
/// [RFC 9110 §15.5.2]: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.2
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "named as a value, it has nothing to add to"
)]
pub struct Status401;

impl Unauthorized for Status401 {
    fn is_refusal(&self, status: StatusCode, _: &HeaderMap) -> bool {
        status == StatusCode::UNAUTHORIZED
    }
}
