//! Which requests get a token, and which token.
//!
//! | the credential is named by | use | key |
//! | --- | --- | --- |
//! | nothing: there is one, and one API | [`Always`], the default | `()` |
//! | nothing, but the client talks to other servers as well | [`Origins`] | `()` |
//! | the server | [`Origins::keyed`] | what you give for each origin |
//! | the request's sender | [`ByExtension`] | the extension |
//! | the path, as in `/ecommerce/public/{tenant_uuid}/cart` | [`PathSegment`] | the segment |
//! | anything else | a closure | what it gives |
//!
//! [`And`] composes: only to these origins, and by that tenant. Keys are for many credentials, see `Keyed`.

mod and;
mod by_extension;
mod origins;
mod path_segment;

use http::Request;

pub use self::{and::And, by_extension::ByExtension, origins::Origins, path_segment::PathSegment};

/// Decides which token, if any, a request gets.
///
/// `Some` names the credential (`()` where there is only one), `None` leaves the request exactly as it came. Closures
/// `Fn(&Request<B>) -> Option<Key>` are selections.
///
/// # Example
/// ```
/// use http::Request;
/// use tower_bearer::{BearerAuthLayer, FixedToken, Token};
///
/// # let source = FixedToken::new(Token::new("t")?);
/// let layer = BearerAuthLayer::new(source)
///     .select(|request: &Request<String>| request.uri().path().starts_with("/v2/").then_some(()));
/// # let _ = layer;
/// # Ok::<(), tower_bearer::Error>(())
/// ```
pub trait Select<B> {
    /// What names a credential.
    type Key;

    /// The credential for this request.
    fn select(&self, request: &Request<B>) -> Option<Self::Key>;
}

impl<B, K, F> Select<B> for F
where
    F: Fn(&Request<B>) -> Option<K>,
{
    type Key = K;

    fn select(&self, request: &Request<B>) -> Option<K> {
        self(request)
    }
}

/// Every request gets the token, wherever it goes. For clients that talk to one API only.
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "named as a value, it has nothing to add to"
)]
pub struct Always;

impl<B> Select<B> for Always {
    type Key = ();

    fn select(&self, _: &Request<B>) -> Option<()> {
        Some(())
    }
}
