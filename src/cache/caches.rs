//! The caches behind a layer: one, or one for each key.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use super::TokenCache;
use crate::error::Error;

/// What a layer takes tokens from. It is sealed. The layer's [`Select`](crate::select::Select) gives the key.
///
/// | credentials | use | an unknown key |
/// | --- | --- | --- |
/// | one | [`TokenCache`] | – |
/// | many, all known beforehand | `Arc<HashMap<K, TokenCache>>` | the request is not sent: [`NotAllowed`](crate::ErrorKind::NotAllowed) |
/// | many, made at their first use | `Keyed<K>` (feature `keyed`) | its cache is made; a [`Lookup`](crate::token::Lookup) in it may fail |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a cache of tokens",
    note = "a layer takes a `TokenCache`, for one credential, or a `Keyed` or an `Arc<HashMap<_, TokenCache>>`, for many"
)]
pub trait Caches: sealed::CacheOf<<Self as Caches>::Key> {
    /// What names a credential; `()` where there is only one.
    type Key;
}

impl Caches for TokenCache {
    type Key = ();
}

impl sealed::CacheOf<()> for TokenCache {
    fn cache_of(&self, (): ()) -> Result<TokenCache, Error> {
        Ok(self.clone())
    }
}

impl<K: Eq + Hash, H: BuildHasher> Caches for Arc<HashMap<K, TokenCache, H>> {
    type Key = K;
}

impl<K: Eq + Hash, H: BuildHasher> sealed::CacheOf<K> for Arc<HashMap<K, TokenCache, H>> {
    fn cache_of(&self, key: K) -> Result<TokenCache, Error> {
        self.get(&key).cloned().ok_or_else(Error::unknown_key)
    }
}

pub(super) mod sealed {
    use super::{Error, TokenCache};

    /// Seals [`Caches`](super::Caches), with the method that only a layer's services call.
    pub trait CacheOf<K> {
        fn cache_of(&self, key: K) -> Result<TokenCache, Error>;
    }
}
