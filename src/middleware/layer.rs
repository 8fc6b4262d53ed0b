//! The layer: what to compose into a stack.

use http::HeaderName;
use tower_layer::Layer;

use crate::{
    cache::{Caches, TokenCache},
    error::Error,
    middleware::{admission::Admission, carrier::Carrier, plan::Plan, service::BearerAuth},
    replay::{CloneBody, ReplayPolicy},
    select::{Always, ExistingAuthorization, Origins, Select},
    token::TokenSource,
    unauthorized::{BearerChallenge, Unauthorized},
};

/// Puts a bearer token on every request of the service below it, and retries once with a new token when the server rejects
/// the first ([RFC 6750]).
///
/// All services made by a layer and its clones share one [`TokenCache`]. See [`BearerAuth`] for what happens to a
/// request.
///
/// # When to use
/// Below anything that counts or times whole calls (tracing, timeouts, retries of other failures), above the client.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, ServiceExt};
/// use tower_bearer::{token::FixedToken, BearerAuthLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// # let client = tower::service_fn(|request: http::Request<String>| async move {
/// #     assert_eq!(request.headers()["authorization"], "Bearer ory_at_4jSH.k2dW");
/// #     Ok::<_, std::io::Error>(http::Response::new(String::new()))
/// # });
/// let source = FixedToken::new("ory_at_4jSH.k2dW")?;
/// let service = ServiceBuilder::new()
///     .layer(BearerAuthLayer::new(source))
///     .service(client);
///
/// let request = http::Request::get("https://apigw.ipxo.com/").body(String::new())?;
/// let response = service.oneshot(request).await?;
/// # assert_eq!(response.status(), 200);
/// # Ok(())
/// # }
/// ```
///
/// [RFC 6750]: https://www.rfc-editor.org/rfc/rfc6750
#[derive(Clone, Debug)]
pub struct BearerAuthLayer<Sel = Always, U = BearerChallenge, Rp = CloneBody, C = TokenCache> {
    plan: Plan<Sel, U, Rp, C>,
}

impl BearerAuthLayer {
    /// A layer around `source`, with a cache of its own and the defaults.
    pub fn new(source: impl TokenSource) -> Self {
        Self::from_cache(TokenCache::new(source))
    }

    /// A layer that shares `cache`. For many caches by key, see [`keyed`](Self::keyed).
    #[must_use]
    pub fn from_cache(cache: TokenCache) -> Self {
        Self::of(cache, Always)
    }
}

impl<Sel, C> BearerAuthLayer<Sel, BearerChallenge, CloneBody, C>
where
    Sel: Select<Key = C::Key>,
    C: Caches,
{
    /// A layer for many credentials: `select` gives a request's key, and `caches` has the cache of that key.
    ///
    /// `caches` is an `Arc<HashMap>` if all keys are known beforehand, and a `Keyed` (feature `keyed`) if not: see
    /// [`Caches`].
    ///
    /// # Example
    /// ```
    /// use std::{collections::HashMap, sync::Arc};
    /// use tower_bearer::{select::ByExtension, token::FixedToken, BearerAuthLayer, TokenCache};
    ///
    /// #[derive(Clone, PartialEq, Eq, Hash)]
    /// enum Region { Europe, America }
    ///
    /// let caches = Arc::new(HashMap::from([
    ///     (Region::Europe, TokenCache::new(FixedToken::new("eu")?)),
    ///     (Region::America, TokenCache::new(FixedToken::new("us")?)),
    /// ]));
    /// let layer = BearerAuthLayer::keyed(Arc::clone(&caches), ByExtension::<Region>::new());
    /// # let _ = layer;
    ///
    /// // A readiness probe, over all of them.
    /// let ready = caches.values().all(|cache| cache.state().error().is_none());
    /// # assert!(ready);
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    #[must_use]
    pub fn keyed(caches: C, select: Sel) -> Self {
        Self::of(caches, select)
    }
}

impl<Sel, C> BearerAuthLayer<Sel, BearerChallenge, CloneBody, C> {
    fn of(cache: C, select: Sel) -> Self {
        Self {
            plan: Plan {
                cache,
                select,
                unauthorized: BearerChallenge,
                replay: CloneBody,
                admission: Admission::default(),
            },
        }
    }
}

impl<Sel, U, Rp, C> BearerAuthLayer<Sel, U, Rp, C> {
    /// Which requests get a token: [`Origins`], a closure, or another [`Select`]. By default every request does.
    #[must_use]
    #[doc(alias = "filter")]
    pub fn select<T>(self, select: T) -> BearerAuthLayer<T, U, Rp, C>
    where
        T: Select<Key = C::Key>,
        C: Caches,
    {
        self.selecting(select)
    }

    /// Only requests to these origins get a token: short for [`select`](Self::select) with [`Origins::new`].
    ///
    /// # Errors
    /// As for [`Origins::new`].
    ///
    /// # Example
    /// ```
    /// use tower_bearer::{token::FixedToken, BearerAuthLayer};
    ///
    /// # let source = FixedToken::new("t")?;
    /// let layer = BearerAuthLayer::new(source).origins(["https://api.example.com"])?;
    /// # let _ = layer;
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    pub fn origins<I>(self, origins: I) -> Result<BearerAuthLayer<Origins, U, Rp, C>, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
        C: Caches<Key = ()>,
    {
        Ok(self.selecting(Origins::new(origins)?))
    }

    fn selecting<T>(self, select: T) -> BearerAuthLayer<T, U, Rp, C> {
        let Plan {
            cache,
            unauthorized,
            replay,
            admission,
            ..
        } = self.plan;
        BearerAuthLayer {
            plan: Plan {
                cache,
                select,
                unauthorized,
                replay,
                admission,
            },
        }
    }

    /// Which responses mean that the token was rejected: a closure, or another [`Unauthorized`]. [`BearerChallenge`] by
    /// default. It is cloned for each request.
    #[must_use]
    pub fn unauthorized<T: Unauthorized>(self, unauthorized: T) -> BearerAuthLayer<Sel, T, Rp, C> {
        let Plan {
            cache,
            select,
            replay,
            admission,
            ..
        } = self.plan;
        BearerAuthLayer {
            plan: Plan {
                cache,
                select,
                unauthorized,
                replay,
                admission,
            },
        }
    }

    /// How a request body is replayed for the retry: [`Buffered`](crate::replay::Buffered),
    /// [`NoReplay`](crate::replay::NoReplay), or another [`Replay`](crate::replay::Replay). [`CloneBody`] by default. It is
    /// cloned for each request.
    #[must_use]
    #[doc(alias = "retry")]
    pub fn replay<T: ReplayPolicy>(self, replay: T) -> BearerAuthLayer<Sel, U, T, C> {
        let Plan {
            cache,
            select,
            unauthorized,
            admission,
            ..
        } = self.plan;
        BearerAuthLayer {
            plan: Plan {
                cache,
                select,
                unauthorized,
                replay,
                admission,
            },
        }
    }

    /// The header that the token goes into, `Authorization` by default.
    ///
    /// For gateways that take their token beside the caller's own credentials: `X-Serverless-Authorization` (Google Cloud
    /// Run), [`Proxy-Authorization`](http::header::PROXY_AUTHORIZATION) (Google's Identity-Aware Proxy). The value is
    /// `Bearer …`, and marked sensitive. The request's `Authorization` is then left alone, and
    /// [`existing_authorization`](Self::existing_authorization) is about the header of this name.
    ///
    /// # Deployment caveat
    /// A client that follows redirects takes `Authorization` and `Proxy-Authorization` away when one leads to another origin.
    /// Headers of other names it takes along, **with the token**. Turn redirects off in that client, or follow them above
    /// this layer with [`origins`](Self::origins).
    ///
    /// # Example
    /// ```
    /// use http::HeaderName;
    /// use tower_bearer::{token::FixedToken, BearerAuthLayer};
    ///
    /// # let source = FixedToken::new("t")?;
    /// let layer = BearerAuthLayer::new(source)
    ///     .header_name(HeaderName::from_static("x-serverless-authorization"));
    /// # let _ = layer;
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    #[must_use]
    pub fn header_name(mut self, name: HeaderName) -> Self {
        self.plan.admission.carrier = Carrier::new(name);
        self
    }

    /// What happens to a selected request that already has an `Authorization` header, or the one of
    /// [`header_name`](Self::header_name). By default it is sent unchanged.
    #[must_use]
    pub fn existing_authorization(mut self, existing: ExistingAuthorization) -> Self {
        self.plan.admission.existing = existing;
        self
    }

    /// Sends no request that is not [selected](Self::select): the caller gets an [`Error`] of kind
    /// [`NotAllowed`](crate::ErrorKind::NotAllowed). By default, it is sent without a token.
    ///
    /// For a stack that talks to its own API only: a URL from a redirect or from a user then leads nowhere. A request with
    /// [`NoToken`](crate::extension::NoToken) is still sent, wherever it goes.
    ///
    /// # Example
    /// ```
    /// use tower_bearer::{token::FixedToken, BearerAuthLayer};
    ///
    /// # let source = FixedToken::new("t")?;
    /// let layer = BearerAuthLayer::new(source)
    ///     .origins(["https://api.example.com"])?
    ///     .deny_unselected();
    /// # let _ = layer;
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    #[must_use]
    pub fn deny_unselected(mut self) -> Self {
        self.plan.admission.denies_unselected = true;
        self
    }

    /// Sends tokens over plain HTTP too, to any host that is selected.
    ///
    /// By default, a request whose URI has a scheme other than `https` and `wss` gets a token only if its host is loopback,
    /// and is not sent otherwise: a token that is sent unencrypted can be read on its way, and used until it expires
    /// ([RFC 6750 §5.3]). This is for networks that encrypt underneath, such as a service mesh whose proxies speak TLS to each
    /// other.
    ///
    /// # Deployment caveat
    /// A URI without a scheme does not say how it travels. That is what a service below a client sees, or one on a hand-made
    /// connection. It gets its token: use TLS on that connection.
    ///
    /// [RFC 6750 §5.3]: https://www.rfc-editor.org/rfc/rfc6750#section-5.3
    #[must_use]
    pub fn danger_allow_tokens_over_plain_http(mut self) -> Self {
        self.plan.admission.allows_plain_http = true;
        self
    }

    /// The cache, or the caches by key, to share or to observe.
    #[must_use]
    pub fn cache(&self) -> &C {
        &self.plan.cache
    }

    #[cfg(feature = "reqwest-middleware")]
    pub(crate) fn replays_by(&self) -> &Rp {
        &self.plan.replay
    }
}

// `S: Clone` is not needed to make the service but to call it: with the bound here, a client that is not `Clone` is told
// where the stack is composed, and not at its first call.
impl<S, Sel, U, Rp, C> Layer<S> for BearerAuthLayer<Sel, U, Rp, C>
where
    S: Clone,
    Sel: Clone,
    U: Clone,
    Rp: Clone,
    C: Clone,
{
    type Service = BearerAuth<S, Sel, U, Rp, C>;

    fn layer(&self, inner: S) -> Self::Service {
        BearerAuth::new(inner, self.plan.clone())
    }
}
