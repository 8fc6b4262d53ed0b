//! The layer: what to compose into a stack.

use http::Request;
use tower_layer::Layer;

use crate::{
    cache::{Caches, TokenCache},
    middleware::{
        admission::{Admission, Verdict},
        attempt::Rules,
        service::BearerAuth,
    },
    replay::CloneBody,
    select::{Always, ExistingAuthorization, Select},
    token::TokenSource,
    unauthorized::{BearerChallenge, Unauthorized},
};

/// Puts a bearer token on every request of the service below it, and sends a request once more with a fresh token when
/// the server rejects the first ([RFC 6750]).
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
/// use tower_bearer::{token::FixedToken, BearerAuthLayer, Token};
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
    /// A layer around `source` with a cache of its own, with the defaults.
    pub fn new(source: impl TokenSource) -> Self {
        Self::from_cache(TokenCache::new(source))
    }
}

impl<C: Caches> BearerAuthLayer<Always, BearerChallenge, CloneBody, C> {
    /// A layer that shares a cache, or that has many of them by key.
    #[must_use]
    pub fn from_cache(cache: C) -> Self {
        Self {
            plan: Plan {
                cache,
                select: Always,
                unauthorized: BearerChallenge,
                replay: CloneBody,
                admission: Admission::default(),
            },
        }
    }
}

impl<Sel, U, Rp, C> BearerAuthLayer<Sel, U, Rp, C> {
    /// Which requests get a token: an [`Origins`](crate::select::Origins), a closure, or another
    /// [`Select`](crate::select::Select). All of them by default.
    #[must_use]
    pub fn select<T: Select>(self, select: T) -> BearerAuthLayer<T, U, Rp, C> {
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

    /// Which answers mean that the token was rejected: a closure, or another
    /// [`Unauthorized`](crate::unauthorized::Unauthorized). [`BearerChallenge`] by default. It is cloned for each request.
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

    /// How a body is said again for the retry: [`NoReplay`](crate::replay::NoReplay), or another
    /// [`Replay`](crate::replay::Replay). A clone by default. It is cloned for each request.
    #[must_use]
    pub fn replay<T>(self, replay: T) -> BearerAuthLayer<Sel, U, T, C> {
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

    /// What happens to a selected request that has an `Authorization` already. It passes untouched by default.
    #[must_use]
    pub fn existing_authorization(mut self, existing: ExistingAuthorization) -> Self {
        self.plan.admission.existing = existing;
        self
    }

    /// Sends no request that is not [selected](Self::select): its caller gets an [`Error`](crate::Error) of kind
    /// [`NotAllowed`](crate::ErrorKind::NotAllowed). By default such a request passes untouched, without a token.
    ///
    /// For a stack that talks to its own API only, so that a URL from elsewhere, of a redirect or of a user, leads nowhere.
    /// A request that says [`NoToken`](crate::extension::NoToken) is sent all the same, wherever it goes.
    ///
    /// # Example
    /// ```
    /// use tower_bearer::{select::Origins, token::FixedToken, BearerAuthLayer, Token};
    ///
    /// # let source = FixedToken::new("t")?;
    /// let layer = BearerAuthLayer::new(source)
    ///     .select(Origins::new(["https://api.example.com"])?)
    ///     .deny_unselected();
    /// # let _ = layer;
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    #[must_use]
    pub fn deny_unselected(mut self) -> Self {
        self.plan.admission.denies_unselected = true;
        self
    }

    /// Sends tokens over plain http, to any host that is selected.
    ///
    /// Whoever is on the way can read such a token and use it as its own until it expires ([RFC 6750 §5.3]). By default a
    /// request whose URI has a scheme that is neither `https` nor `wss` gets one only if its host is loopback, and is not sent
    /// otherwise. This is for networks
    /// that encrypt underneath, as a service mesh does whose proxies take plain http and speak TLS to each other.
    ///
    /// # Deployment caveat
    /// A request whose URI has no scheme, as below a client or on a connection that was made by hand, does not say how it
    /// travels: it gets its token, and it is for whoever made that connection to have used TLS.
    ///
    /// [RFC 6750 §5.3]: https://www.rfc-editor.org/rfc/rfc6750#section-5.3
    #[must_use]
    pub fn danger_allow_tokens_over_plain_http(mut self) -> Self {
        self.plan.admission.allows_plain_http = true;
        self
    }

    /// The cache, or the caches, to share or to look after.
    #[must_use]
    pub fn cache(&self) -> &C {
        &self.plan.cache
    }

    #[cfg(feature = "reqwest-middleware")]
    pub(crate) fn replays_by(&self) -> &Rp {
        &self.plan.replay
    }
}

impl<S, Sel, U, Rp, C> Layer<S> for BearerAuthLayer<Sel, U, Rp, C>
where
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

/// What a layer and its services know.
#[derive(Clone, Debug)]
pub(crate) struct Plan<Sel, U, Rp, C> {
    pub(crate) cache: C,
    pub(crate) select: Sel,
    pub(crate) unauthorized: U,
    pub(crate) replay: Rp,
    pub(crate) admission: Admission,
}

impl<Sel, U, Rp, C> Plan<Sel, U, Rp, C> {
    /// What is done with this request.
    pub(crate) fn admit<B>(&self, request: &Request<B>) -> Verdict<Sel::Key>
    where
        Sel: Select,
    {
        self.admission.admit(&self.select, request)
    }

    /// For a request with this credential.
    pub(crate) fn rules(&self, key: C::Key) -> Rules<U, Rp>
    where
        U: Clone,
        Rp: Clone,
        C: Caches,
    {
        Rules {
            cache: self.cache.cache_of(key),
            unauthorized: self.unauthorized.clone(),
            replay: self.replay.clone(),
        }
    }
}
