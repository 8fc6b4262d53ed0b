//! Which requests get a token, and which token.
//!
//! | credentials | use | key |
//! | --- | --- | --- |
//! | one, for a client that talks to one API | [`Always`], the default | `()` |
//! | one, for a client that also talks to other servers | [`Origins`] | `()` |
//! | one per server | [`Origins::keyed`] | yours, one per origin |
//! | one per tenant or user, set on each request | [`ByExtension`] | the extension |
//! | another rule | a closure | what it returns |
//!
//! [`Origins::and`] combines two: only to these origins, and by that tenant. Keys other than `()` need a cache per key: see
//! `Keyed` (feature `keyed`).

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

/// Decides whether a request gets a token, and which one.
///
/// `Some` is the credential's key (`()` if there is only one). `None` means that the request is sent without a token. A closure
/// `Fn(&RequestHead<'_>) -> Option<Key>` is a `Select`; its argument's type has to be written out.
///
/// It is called for each request, under no lock. It decides from the request's head alone: what a stranger chooses there, a
/// path or a `Host` header, must not choose whose token is sent.
///
/// # Panics
/// A panic is that of the request's `call`. It harms no other request, and no token.
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

    /// The key of the credential for this request; `None` for no token.
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

/// Shares a policy, or chooses it at run time: `Arc<dyn Select<Key = ()> + Send + Sync>`.
impl<T: Select + ?Sized> Select for Arc<T> {
    type Key = T::Key;

    fn select(&self, request: &RequestHead<'_>) -> Option<T::Key> {
        (**self).select(request)
    }
}

/// Selects every request, wherever it goes. The default, for clients that talk to one API only.
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
