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
//! It is the tower service's own code that runs, over the rest of the middlewares instead of a client: the cache is the
//! layer's, and may be shared with tower services; the rules are those of [`BearerAuth`].
//!
//! - Bodies of bytes or text are sent again, streams are not (see [`ReusableBody`]).
//! - [`NoToken`](crate::NoToken), [`NoRetry`](crate::NoRetry) and [`Deadline`](crate::Deadline) are given by
//!   `RequestBuilder::with_extension`; the layer's [`Select`] sees what is given there.
//!
//! - reqwest's timeouts bound each try, and not the wait for a token; a `Deadline` bounds the whole.
//!
//! # Errors
//! When no token can be had: `reqwest_middleware::Error::Middleware` with an [`Error`] to downcast. All others are as the
//! middlewares below gave them. With `reqwest-retry` before the layer, it puts that error into its own, a
//! `reqwest_retry::RetryError`, which is to be downcast first.
//!
//! # Which order
//! The middleware that is added first sees a request first.
//!
//! | beside it | added before | added after |
//! | --- | --- | --- |
//! | `reqwest-retry` | Each of its attempts asks for the current token, and may be sent twice for a 401. It does not retry a 401, nor an error of this crate, which has had its backoff already. | Transient failures of each try are retried below, with the same token. |
//! | `reqwest-tracing` | One span for the call, its second try and its wait for a token included. | One span for each try, and the first one ends with the 401. |
//!
//! In either order `reqwest-retry` refuses a request whose body is a stream, as it cannot be cloned, before anything is sent.
//!
//! Both orders are sound. Retries before and tracing after are what most services want.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use async_trait::async_trait;
use http::{Extensions, Request, Response};
use reqwest::{Body, ResponseBuilderExt, Url};
use reqwest_middleware::{Error as MiddlewareError, Middleware, Next};
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

#[cfg(doc)]
use crate::BearerAuth;
use crate::{
    adapter::reqwest::ReusableBody, cache::Caches, error::Error, layer::BearerAuthLayer,
    replay::CloneBody, select::Select, unauthorized::Unauthorized,
};

#[async_trait]
impl<Sel, U, C> Middleware for BearerAuthLayer<Sel, U, CloneBody, C>
where
    Sel: Select<Body, Key = C::Key> + Clone + Send + Sync + 'static,
    U: Unauthorized + Clone + Send + Sync + 'static,
    C: Caches + Clone + Send + Sync + 'static,
{
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response, MiddlewareError> {
        let shared = Shared::default();
        let url = request.url().clone();
        let mut request = Request::try_from(request).map_err(|error| error.with_url(url))?;
        request.extensions_mut().extend(extensions.clone());
        shared.put(extensions.clone());
        let rest = Rest {
            next,
            extensions: shared.clone(),
        };
        // One that nobody else calls: the rest of the middlewares are always ready.
        let answer = self.clone().replay(ReusableBody).layer(rest).call(request);
        let answer = answer.await;
        *extensions = shared.get();
        answer.map(from_http).map_err(told)
    }
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
            // The second try sees what the first one left. One that is cut off leaves nothing.
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

/// Where a response came from, which a [`Response`] has no place for.
#[derive(Clone)]
struct Origin(Url);

fn to_http(response: reqwest::Response) -> Response<Body> {
    let url = response.url().clone();
    let mut response = Response::from(response);
    response.extensions_mut().insert(Origin(url));
    response
}

fn from_http(response: Response<Body>) -> reqwest::Response {
    let (mut head, body) = response.into_parts();
    let mut builder = Response::builder();
    if let Some(Origin(url)) = head.extensions.remove() {
        builder = builder.url(url);
    }
    // Nothing that was given to the builder can be wrong.
    let mut response = builder.body(body).unwrap_or_default();
    *response.status_mut() = head.status;
    *response.version_mut() = head.version;
    *response.headers_mut() = head.headers;
    response.extensions_mut().extend(head.extensions);
    response.into()
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
