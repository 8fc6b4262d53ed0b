//! Many credentials: a bounded map from keys to caches.

use std::{
    fmt,
    hash::{Hash, RandomState},
    num::NonZeroUsize,
    sync::Arc,
};

use quick_cache::{Lifecycle, UnitWeighter};

use super::{
    TokenCache,
    caches::{Caches, sealed},
    rt::Map,
};
use crate::error::Error;

/// A [`TokenCache`] for each key, such as a tenant, a user or an origin. For
/// [`BearerAuthLayer::keyed`](crate::BearerAuthLayer::keyed).
///
/// A cache is made when its key is first used. Caches are independent: a key whose token requests are slow or fail delays no
/// other. Clones share the caches. For a fixed set of keys, an `Arc<HashMap<K, TokenCache>>` is enough: see
/// [`Caches`](super::Caches).
///
/// # Bounds
/// It keeps up to 10,000 caches, or [as many as you set](Self::with_capacity). The map has several parts, and one may be full
/// before the others: set a quarter more than there are keys. When it is full, the least used caches are dropped with their
/// tokens (S3-FIFO); a key that comes back costs a token request.
///
/// A cache stays while it is in use: by a request that waits for its token, by a token request, or by a clone of it. So there
/// may be more caches than the capacity, by at most the number of requests under way. A cache takes about 500 bytes, beside its
/// key, its source and its token.
///
/// # Telemetry
/// Give all of them one [name](super::TokenCacheBuilder::name), and each its [key](super::TokenCacheBuilder::key), which spans and
/// events show. Metrics are those of all together: how many fail, of how many.
///
/// # Cost
/// A read takes a shared lock on one part of the map, and then a read of a [`TokenCache`]. The key's `Hash`, `Eq` and `Clone`
/// run under that lock, and must not panic.
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
/// A scope for each request: the scopes are the key, and each set of them has its own token.
/// ```
/// use tower_bearer::{cache::Keyed, select::ByExtension, token::Lookup, BearerAuthLayer, ClientCredentials, TokenCache};
///
/// #[derive(Clone, PartialEq, Eq, Hash)]
/// struct Scope(&'static str);
///
/// # fn layer<T>(transport: T) -> Result<(), http::Error>
/// # where T: tower::Service<http::Request<http_body_util::Full<bytes::Bytes>>, Response = http::Response<String>, Error = std::io::Error, Future: Send> + Clone + Send + Sync + 'static
/// # {
/// let caches = Keyed::new(move |Scope(scope): &Scope| {
///     let credentials = ClientCredentials::builder("https://auth.example.com/token", "my-client", "my-secret")
///         .scope(*scope); // or `.audience(…)`, `.resource(…)`
///     let transport = transport.clone();
///     TokenCache::new(Lookup::new(move || {
///         let source = credentials.clone().build_with(transport.clone());
///         async move { Ok(source?) }
///     }))
/// });
/// let layer = BearerAuthLayer::keyed(caches, ByExtension::<Scope>::new());
///
/// let request = http::Request::get("https://api.example.com/invoices")
///     .extension(Scope("invoices:read"))
///     .body(())?;
/// # let _ = (layer, request);
/// # Ok(())
/// # }
/// ```
/// The keys must be the program's own: a caller that chooses scopes freely chooses how many tokens are requested.
pub struct Keyed<K> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    make: Box<dyn Fn(&K) -> TokenCache + Send + Sync>,
    caches: Map<K, TokenCache, UnitWeighter, RandomState, InUse>,
}

impl<K> Keyed<K>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    /// Keeps up to 10,000 caches, which `make` makes.
    ///
    /// `make` runs in the request that uses a key for the first time, or again after its cache was dropped. It must not block,
    /// and must not ask for its own key. What has to be waited for belongs in the cache's source, such as a
    /// [`Lookup`](crate::token::Lookup).
    pub fn new(make: impl Fn(&K) -> TokenCache + Send + Sync + 'static) -> Self {
        Self::with_capacity(CAPACITY, make)
    }

    /// Keeps up to `capacity` caches.
    pub fn with_capacity(
        capacity: NonZeroUsize,
        make: impl Fn(&K) -> TokenCache + Send + Sync + 'static,
    ) -> Self {
        let capacity = capacity.get();
        Self {
            inner: Arc::new(Inner {
                make: Box::new(make),
                caches: Map::with(
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

    /// The cache of this key. It is made if there is none.
    pub fn get(&self, key: &K) -> TokenCache {
        let Inner { make, caches } = &*self.inner;
        // `make` runs outside of the map's locks. Two that come at once for a new key: the second waits for what the first
        // one makes, so that they share one cache and its one token request.
        let cache = caches.get_or_insert_with(key, || {
            let cache = make(key);
            cache.reporter().is_one_of_many();
            Ok::<_, std::convert::Infallible>(cache)
        });
        match cache {
            Ok(cache) => cache,
            Err(never) => match never {},
        }
    }

    /// Removes a key and its token. Requests already in flight may finish with the old one.
    pub fn remove(&self, key: &K) {
        self.inner.caches.remove(key);
    }

    /// The keys that have a cache now, and their caches: for metrics and health checks.
    ///
    /// It makes no cache, and does not count as a use of one. A key that comes or goes meanwhile may be in it or not. A
    /// cache that is kept from it counts as in use.
    ///
    /// # Example
    /// ```
    /// # use tower_bearer::{cache::Keyed, token::FixedToken, TokenCache};
    /// # let token = FixedToken::new("t")?;
    /// # let caches = Keyed::new(move |_: &u32| TokenCache::new(token.clone()));
    /// let failing = caches.iter().filter(|(_, cache)| cache.state().error().is_some());
    /// assert_eq!(failing.count(), 0);
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (K, TokenCache)> + '_ {
        self.inner.caches.iter()
    }

    /// The number of keys that have a cache now.
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
    fn cache_of(&self, key: K) -> Result<TokenCache, Error> {
        Ok(self.get(&key))
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

/// Keeps a cache that is in use. That the map's lock is held exclusively while it is asked settles the interleaving: A
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
