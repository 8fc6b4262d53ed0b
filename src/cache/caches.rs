//! The caches behind a layer: one, or one for each key.

use super::TokenCache;

/// What a layer takes tokens from: a [`TokenCache`], or a `Keyed` (feature `keyed`) with a cache for each key.
///
/// It is sealed. The layer's [`Select`](crate::select::Select) gives the key.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a cache of tokens",
    note = "a layer takes a `TokenCache`, for one credential, or a `Keyed`, for many"
)]
pub trait Caches: sealed::CacheOf<<Self as Caches>::Key> {
    /// What names a credential; `()` where there is only one.
    type Key;
}

impl Caches for TokenCache {
    type Key = ();
}

impl sealed::CacheOf<()> for TokenCache {
    fn cache_of(&self, (): ()) -> TokenCache {
        self.clone()
    }
}

pub(super) mod sealed {
    use super::TokenCache;

    /// Seals [`Caches`](super::Caches), with the method that only a layer's services call.
    pub trait CacheOf<K> {
        fn cache_of(&self, key: K) -> TokenCache;
    }
}
