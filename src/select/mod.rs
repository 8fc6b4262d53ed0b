//! Which requests get a token, and which token.
//!
//! | the credential is named by | use | key |
//! | --- | --- | --- |
//! | nothing: there is one, and one API | [`Always`], the default | `()` |
//! | nothing, but the client talks to other servers as well | [`Origins`] | `()` |
//! | the server | [`Origins::keyed`] | what you give for each origin |
//! | the request's sender | [`ByExtension`] | the extension |
//! | anything else | a closure | what it gives |
//!
//! [`And`] composes: only to these origins, and by that tenant. Keys are for many credentials, see `Keyed`.

mod and;
mod by_extension;
mod existing;
mod origins;
mod request_head;

use std::sync::Arc;

pub use self::{
    and::And, by_extension::ByExtension, existing::ExistingAuthorization, origins::Origins,
    request_head::RequestHead,
};

/// Decides which token, if any, a request gets.
///
/// `Some` names the credential (`()` where there is only one), `None` leaves the request exactly as it came. Closures
/// `Fn(&RequestHead<'_>) -> Option<Key>` are selections.
///
/// # Example
/// ```
/// use tower_bearer::{BearerAuthLayer, select::RequestHead, token::FixedToken};
///
/// # let source = FixedToken::new("t")?;
/// let layer = BearerAuthLayer::new(source)
///     .select(|request: &RequestHead<'_>| request.uri().path().starts_with("/v2/").then_some(()));
/// # let _ = layer;
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not select requests",
    label = "not a `Select`",
    note = "`select` takes an `Origins`, a `ByExtension`, or a closure whose argument has its type written out: `|request: &RequestHead<'_>| -> Option<Key>`; `Key` is `()` where there is one credential"
)]
pub trait Select {
    /// What names a credential.
    type Key;

    /// The credential for this request.
    fn select(&self, request: &RequestHead<'_>) -> Option<Self::Key>;
}

impl<K, F> Select for F
where
    F: Fn(&RequestHead<'_>) -> Option<K>,
{
    type Key = K;

    fn select(&self, request: &RequestHead<'_>) -> Option<K> {
        self(request)
    }
}

/// So that a policy can be shared, or chosen at run time: `Arc<dyn Select<Key = ()> + Send + Sync>`.
impl<T: Select + ?Sized> Select for Arc<T> {
    type Key = T::Key;

    fn select(&self, request: &RequestHead<'_>) -> Option<T::Key> {
        (**self).select(request)
    }
}

/// Every request gets the token, wherever it goes. For clients that talk to one API only.
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "named as a value, it has nothing to add to"
)]
pub struct Always;

impl Select for Always {
    type Key = ();

    fn select(&self, _: &RequestHead<'_>) -> Option<()> {
        Some(())
    }
}
