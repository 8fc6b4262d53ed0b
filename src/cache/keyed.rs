//! Many credentials: a bounded map from keys to caches.

use std::{
    fmt,
    hash::{Hash, RandomState},
    num::NonZeroUsize,
    sync::Arc,
};

use quick_cache::{Lifecycle, UnitWeighter, sync};

use super::{
    TokenCache,
    caches::{Caches, sealed},
};

/// Many credentials, each with a [`TokenCache`] of its own, by a key: a company, a user, an origin.
///
/// A cache is made when its key is first asked for, and each is on its own: a key whose token requests are slow or fail delays no
/// other. Clones share the caches.
///
/// # Bounds
/// It keeps 10,000 caches, or as many as you [say](Self::with_capacity). They are kept in several parts, of which one may be
/// full before the others: leave a quarter more room than there are keys. Past that, those that are used least go
/// (S3-FIFO), with their tokens: a key that comes back costs a token request. A cache that is in use stays, by a request that
/// has not got its token yet, by a token request, or by whoever holds a clone of it; so there may be more caches than that, by as
/// many as there are requests under way. A cache takes about 400 bytes, its place in the map included, beyond its key, its
/// source and its token.
///
/// Reading takes a shared lock of one part of the map, and then what reading a [`TokenCache`] takes. The key's `Hash`, `Eq`
/// and `Clone` run under that lock, and must not panic.
///
/// # Example
/// One layer for all companies, each with credentials from a vault. The request says which it is for:
/// ```
/// use tower_bearer::{cache::Keyed, ipxo, select::ByExtension, token::Lookup, BearerAuthLayer, TokenCache};
///
/// #[derive(Clone, PartialEq, Eq, Hash)]
/// struct Company(String);
/// # #[derive(Clone)] struct Vault;
/// # impl Vault { async fn secret_of(&self, _: &Company) -> Result<String, std::io::Error> { unimplemented!() } }
/// # fn layer<T>(vault: Vault, transport: T) -> impl Sized
/// # where T: tower::Service<http::Request<http_body_util::Full<bytes::Bytes>>, Response = http::Response<String>, Error = std::io::Error, Future: Send> + Clone + Send + Sync + 'static
/// # {
///
/// let companies = Keyed::new(move |company: &Company| {
///     let (company, vault, transport) = (company.clone(), vault.clone(), transport.clone());
///     TokenCache::new(Lookup::new(move || {
///         let (company, vault, transport) = (company.clone(), vault.clone(), transport.clone());
///         async move {
///             let secret = vault.secret_of(&company).await?;
///             let credentials = ipxo::credentials(company.0, secret, [ipxo::scope::BILLING]);
///             Ok(credentials.build_with(transport)?)
///         }
///     }))
/// });
/// let layer = BearerAuthLayer::keyed(companies, ByExtension::<Company>::new());
/// # layer
/// # }
/// ```
pub struct Keyed<K> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    make: Box<dyn Fn(&K) -> TokenCache + Send + Sync>,
    caches: sync::Cache<K, TokenCache, UnitWeighter, RandomState, InUse>,
}

impl<K> Keyed<K>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    /// Caches that `make` makes, 10,000 at the most. It is called for a key that is new or was given up, by the request that
    /// asks; it must neither block nor ask for its own key, and what has to be waited for belongs into the cache's source,
    /// such as a [`Lookup`](crate::token::Lookup).
    pub fn new(make: impl Fn(&K) -> TokenCache + Send + Sync + 'static) -> Self {
        Self::with_capacity(CAPACITY, make)
    }

    /// As many of them as you say.
    pub fn with_capacity(
        capacity: NonZeroUsize,
        make: impl Fn(&K) -> TokenCache + Send + Sync + 'static,
    ) -> Self {
        let capacity = capacity.get();
        Self {
            inner: Arc::new(Inner {
                make: Box::new(make),
                caches: sync::Cache::with(
                    capacity,
                    capacity as u64,
                    UnitWeighter,
                    // Keys may be an attacker's choice.
                    RandomState::new(),
                    InUse,
                ),
            }),
        }
    }

    /// The cache of this key, made if there is none.
    pub fn get(&self, key: &K) -> TokenCache {
        let Inner { make, caches } = &*self.inner;
        // `make` runs outside of the map's locks. Two that come at once for a new key: the second waits for what the first
        // one makes, so that they share one cache and its one token request.
        let cache = caches.get_or_insert_with(key, || Ok::<_, std::convert::Infallible>(make(key)));
        match cache {
            Ok(cache) => cache,
            Err(never) => match never {},
        }
    }

    /// Forgets a key and its token, as when a company leaves. Whoever uses its cache just then may end with it.
    pub fn remove(&self, key: &K) {
        self.inner.caches.remove(key);
    }

    /// How many keys have a cache now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.caches.len()
    }

    /// Whether no key has a cache now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

const CAPACITY: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

impl<K> Caches for Keyed<K>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    type Key = K;
}

impl<K> sealed::CacheOf<K> for Keyed<K>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    fn cache_of(&self, key: K) -> TokenCache {
        self.get(&key)
    }
}

impl<K> Clone for Keyed<K> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<K> fmt::Debug for Keyed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}

/// Keeps a cache that somebody has. That the map's lock is held exclusively while it is asked settles the interleaving: A
/// gets a cache and is not polled yet; a crowd of other keys comes; B gets another cache for A's key, and token requests as well.
#[derive(Clone, Copy)]
struct InUse;

impl<K> Lifecycle<K, TokenCache> for InUse {
    /// What was given up in one call. It is dropped after the map's lock is let go, for it may drop a user's source.
    type RequestState = Vec<(K, TokenCache)>;

    fn is_pinned(&self, _: &K, cache: &TokenCache) -> bool {
        cache.is_in_use()
    }

    fn on_evict(&self, given_up: &mut Vec<(K, TokenCache)>, key: K, cache: TokenCache) {
        given_up.push((key, cache));
    }
}
