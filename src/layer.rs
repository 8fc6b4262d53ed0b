//! The layer: what to compose into a stack.

use tower_layer::Layer;

use crate::{
    cache::{Caches, TokenCache},
    replay::CloneBody,
    rules::Plan,
    select::Always,
    service::BearerAuth,
    source::TokenSource,
    unauthorized::BearerChallenge,
};

/// Puts a bearer token on every request of the service below it, and sends a request once more with a fresh token when
/// the server refuses the first ([RFC 6750]).
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
/// use tower_bearer::{BearerAuthLayer, FixedToken, Token};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// # let client = tower::service_fn(|request: http::Request<String>| async move {
/// #     assert_eq!(request.headers()["authorization"], "Bearer ory_at_4jSH.k2dW");
/// #     Ok::<_, std::io::Error>(http::Response::new(String::new()))
/// # });
/// let source = FixedToken::new(Token::new("ory_at_4jSH.k2dW")?);
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
            },
        }
    }
}

impl<Sel, U, Rp, C> BearerAuthLayer<Sel, U, Rp, C> {
    /// Which requests get a token: an [`Origins`](crate::Origins), a closure, or another
    /// [`Select`](crate::select::Select). All of them by default.
    #[must_use]
    pub fn select<T>(self, select: T) -> BearerAuthLayer<T, U, Rp, C> {
        let Plan {
            cache,
            unauthorized,
            replay,
            ..
        } = self.plan;
        BearerAuthLayer {
            plan: Plan {
                cache,
                select,
                unauthorized,
                replay,
            },
        }
    }

    /// Which answers mean that the token was refused: a closure, or another
    /// [`Unauthorized`](crate::unauthorized::Unauthorized). [`BearerChallenge`] by default. It is cloned for each request.
    #[must_use]
    pub fn unauthorized<T>(self, unauthorized: T) -> BearerAuthLayer<Sel, T, Rp, C> {
        let Plan {
            cache,
            select,
            replay,
            ..
        } = self.plan;
        BearerAuthLayer {
            plan: Plan {
                cache,
                select,
                unauthorized,
                replay,
            },
        }
    }

    /// How a body is said again for the second try: [`NoReplay`](crate::NoReplay), or another
    /// [`Replay`](crate::replay::Replay). A clone by default. It is cloned for each request.
    #[must_use]
    pub fn replay<T>(self, replay: T) -> BearerAuthLayer<Sel, U, T, C> {
        let Plan {
            cache,
            select,
            unauthorized,
            ..
        } = self.plan;
        BearerAuthLayer {
            plan: Plan {
                cache,
                select,
                unauthorized,
                replay,
            },
        }
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
