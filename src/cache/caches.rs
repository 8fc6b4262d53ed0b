//! The caches behind a layer: one, or one for each key.

use super::TokenCache;

/// The cache of one credential, or the caches of many by key: [`TokenCache`], and `Keyed` with the feature of that name.
///
/// There is nothing to implement. A layer's [`Select`](crate::select::Select) gives the key.
#[diagnostic::on_unimplemented(
    message = "`{Self}` holds no tokens",
    note = "a layer takes a `TokenCache`, for one credential, or a `Keyed`, for many"
)]
pub trait Caches: sealed::Sealed {
    /// What names a credential; `()` where there is only one.
    type Key;

    #[doc(hidden)]
    fn cache_of(&self, key: Self::Key) -> TokenCache;
}

impl Caches for TokenCache {
    type Key = ();

    fn cache_of(&self, (): ()) -> TokenCache {
        self.clone()
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::TokenCache {}
    #[cfg(feature = "keyed")]
    impl<K> Sealed for crate::cache::Keyed<K> {}
}
