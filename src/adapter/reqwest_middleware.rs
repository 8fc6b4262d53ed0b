//! The layer as a middleware of reqwest-middleware: [`BearerAuthLayer`] goes into `ClientBuilder::with` as it is.
//!
//! ```
//! use reqwest_middleware::ClientBuilder;
//! use tower_bearer::{BearerAuthLayer, ClientCredentials};
//!
//! # async fn call() -> Result<(), tower::BoxError> {
//! let source = ClientCredentials::builder("https://auth.example.com/oauth2/token", "my-client", "my-secret")
//!     .build_with_reqwest(reqwest::Client::builder())?;
//! let client = ClientBuilder::new(reqwest::Client::new())
//!     .with(BearerAuthLayer::new(source))
//!     .build();
//!
//! let invoices = client.get("https://api.example.com/invoices").send().await?.text().await?;
//! # let _ = invoices;
//! # Ok(())
//! # }
//! ```
//! The middleware runs the code of the tower service, over the middlewares after it: the rules are those of [`BearerAuth`], and
//! the cache may be shared with tower services.
//!
//! - **Bodies.** Bodies of bytes or text are retried. Streams and multipart forms are sent once, unless the layer keeps a copy:
//!   `.replay(Buffered::up_to(64 * 1024))`. See [`Resend`].
//! - **Extensions.** [`NoToken`](crate::extension::NoToken), [`NoRetry`](crate::extension::NoRetry), [`Deadline`] and
//!   [`MinValidity`](crate::extension::MinValidity) are given by `RequestBuilder::with_extension`; the layer's [`Select`] sees what is
//!   given there. Why a rejected request was not retried is in the extensions of its response.
//! - **Timeouts.** A request's own `timeout()` bounds the waits for a token and both attempts, until the head of the answer. An
//!   explicit [`Deadline`] takes precedence. Each attempt is also bounded by reqwest's own timer, which covers its body.
//!   `ClientBuilder::timeout` bounds each attempt only: the layer cannot see it.
//!
//! # Example
//! Multipart forms of up to 1 MiB are retried:
//! ```
//! use reqwest_middleware::ClientBuilder;
//! use tower_bearer::{BearerAuthLayer, replay::Buffered, token::FixedToken};
//!
//! # let source = FixedToken::new("t")?;
//! let client = ClientBuilder::new(reqwest::Client::new())
//!     .with(BearerAuthLayer::new(source).replay(Buffered::up_to(1024 * 1024)))
//!     .build();
//! # let _ = client;
//! # Ok::<(), tower_bearer::Error>(())
//! ```
//!
//! # Deployment caveat
//! A client that is used for several servers needs [`Origins`](crate::select::Origins): the layer's default gives its token to every
//! request. And reqwest goes by the proxy that the environment names, to loopback as well: with plain http to loopback the
//! token travels to that proxy, unless the client was told `no_proxy`.
//!
//! # Errors
//! When no token can be fetched, or the time is over: `reqwest_middleware::Error::Middleware` with an [`Error`] to downcast. All others are as the
//! middlewares below gave them. With `reqwest-retry` before the layer, it puts that error into its own, a
//! `reqwest_retry::RetryError`, which is to be downcast first.
//!
//! # Which order
//! The middleware that is added first sees a request first.
//!
//! | beside it | added before | added after |
//! | --- | --- | --- |
//! | `reqwest-retry` | Each of its attempts asks for the current token, and may be sent twice for a 401. It does not retry a 401, nor an error of this crate, which has had its backoff already. | Transient failures of each try are retried below, with the same token. |
//! | `reqwest-tracing` | One span for the call, its retry and its wait for a token included. | One span for each try, and the first one ends with the 401. |
//!
//! In either order `reqwest-retry` rejects a request whose body is a stream, as it cannot be cloned, before anything is sent.
//!
//! Both orders are sound. Retries before and tracing after are what most services want.

mod resend;

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use async_trait::async_trait;
use http::{Extensions, Request, Response};
use reqwest::Body;
use reqwest_middleware::{Error as MiddlewareError, Middleware, Next};
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

pub use self::resend::Resend;
#[cfg(feature = "dpop")]
use crate::dpop::DpopLayer;
use crate::{
    adapter::reqwest::to_http,
    cache::Caches,
    error::Error,
    middleware::{BearerAuthLayer, extension::Deadline},
    select::Select,
    unauthorized::Unauthorized,
};
#[cfg(doc)]
use crate::{
    middleware::BearerAuth,
    replay::{Buffered, CloneBody, NoReplay},
};

#[async_trait]
impl<Sel, U, Rp, C> Middleware for BearerAuthLayer<Sel, U, Rp, C>
where
    Sel: Select<Key = C::Key> + Clone + Send + Sync + 'static,
    U: Unauthorized + Clone + Send + Sync + 'static,
    Rp: Resend + Clone + Send + Sync + 'static,
    C: Caches + Clone + Send + Sync + 'static,
{
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response, MiddlewareError> {
        // One that is called from here only: the rest of the middlewares are always ready.
        let layer = self.clone().replay(self.replays_by().for_reqwest());
        run(&layer, request, extensions, next).await
    }
}

/// A bound token needs a proof with each request: after the [`BearerAuthLayer`] and whatever else sends a request again.
#[cfg(feature = "dpop")]
#[async_trait]
impl<Rp> Middleware for DpopLayer<Rp>
where
    Rp: Resend + Clone + Send + Sync + 'static,
{
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response, MiddlewareError> {
        let layer = self.clone().replay(self.replays_by().for_reqwest());
        run(&layer, request, extensions, next).await
    }
}

/// Sends a request through the layer's service, around the rest of the middlewares.
async fn run<'a, L>(
    layer: &L,
    request: reqwest::Request,
    extensions: &mut Extensions,
    next: Next<'a>,
) -> Result<reqwest::Response, MiddlewareError>
where
    L: Layer<Rest<'a>>,
    L::Service: Service<Request<Body>, Response = Response<Body>, Error = BoxError>,
{
    let shared = Shared::default();
    let url = request.url().clone();
    let timeout = request.timeout().copied();
    let mut request = Request::try_from(request).map_err(|error| error.with_url(url))?;
    request.extensions_mut().extend(extensions.clone());
    if let Some(timeout) = timeout {
        let extensions = request.extensions_mut();
        extensions.get_or_insert_with(|| Deadline::after(timeout));
    }
    shared.put(extensions.clone());
    let rest = Rest {
        next,
        extensions: shared.clone(),
    };
    let answer = layer.layer(rest).call(request).await;
    *extensions = shared.get();
    answer.map(reqwest::Response::from).map_err(told)
}

/// The middlewares after this one, and the client, as a tower service.
#[derive(Clone)]
struct Rest<'a> {
    next: Next<'a>,
    extensions: Shared,
}

impl<'a> Service<Request<Body>> for Rest<'a> {
    type Response = Response<Body>;
    type Error = MiddlewareError;
    type Future =
        Pin<Box<dyn Future<Output = Result<Response<Body>, MiddlewareError>> + Send + 'a>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), MiddlewareError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { next, extensions } = self.clone();
        Box::pin(async move {
            let request = reqwest::Request::try_from(request)?;
            // The retry sees what the first one left. One that is cut off leaves nothing.
            let mut left = extensions.get();
            let response = next.run(request, &mut left).await;
            extensions.put(left);
            Ok(to_http(response?))
        })
    }
}

/// What the middlewares tell each other about a request. They are handed it one after the other, never two at once.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Extensions>>);

impl Shared {
    fn get(&self) -> Extensions {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn put(&self, extensions: Extensions) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = extensions;
    }
}

/// The error as the middlewares below gave it, or as this one has it.
fn told(error: BoxError) -> MiddlewareError {
    let ours = match error.downcast::<MiddlewareError>() {
        Ok(theirs) => return *theirs,
        Err(ours) => ours,
    };
    match ours.downcast::<Error>() {
        Ok(error) => MiddlewareError::middleware(*error),
        Err(other) => MiddlewareError::middleware(io::Error::other(other)),
    }
}
