//! Requests that already have an `Authorization` header.

/// What happens to a selected request that already has an `Authorization` header, or the one of
/// [`header_name`](crate::BearerAuthLayer::header_name).
///
/// No request is sent with two. A request with [`NoToken`](crate::extension::NoToken) is sent unchanged.
///
/// # Example
/// ```
/// use tower_bearer::{select::ExistingAuthorization, token::FixedToken, BearerAuthLayer};
///
/// # let source = FixedToken::new("t")?;
/// let layer = BearerAuthLayer::new(source).existing_authorization(ExistingAuthorization::Deny);
/// # let _ = layer;
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExistingAuthorization {
    /// The request is sent unchanged, with the caller's header and without a token. The default.
    #[default]
    Keep,
    /// The token replaces the header, at the first request and at the retry. For a proxy whose callers' credentials are not
    /// the API's.
    Replace,
    /// The request is not sent, and the caller gets an [`Error`](crate::Error) of kind
    /// [`NotAllowed`](crate::ErrorKind::NotAllowed). For a stack in which only this layer authenticates.
    Deny,
}
