//! Requests that have an `Authorization` header already.

/// What happens to a selected request that has an `Authorization` already, of its caller's.
///
/// Whatever is chosen, no request goes out with two. It is about requests that would get a token: one that says
/// [`NoToken`](crate::extension::NoToken) is sent as it is.
///
/// # Example
/// ```
/// use tower_bearer::{select::ExistingAuthorization, token::FixedToken, BearerAuthLayer, Token};
///
/// # let source = FixedToken::new("t")?;
/// let layer = BearerAuthLayer::new(source).existing_authorization(ExistingAuthorization::Deny);
/// # let _ = layer;
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExistingAuthorization {
    /// The request passes untouched: whoever set it means it. The default.
    #[default]
    Keep,
    /// The token takes its place, in both tries: for a proxy whose callers' credentials are not the API's.
    Replace,
    /// The request is not sent, and its caller gets an [`Error`] of kind [`NotAllowed`](crate::ErrorKind::NotAllowed): for
    /// a stack in which nobody else is to authenticate.
    Deny,
}
