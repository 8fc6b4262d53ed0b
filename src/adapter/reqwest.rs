//! reqwest's client as a tower service of HTTP requests.
//!
//! ```
//! use reqwest::{Body, Client};
//! use tower::{Layer, Service, ServiceExt};
//! use tower_bearer::{adapter::reqwest::{ReqwestService, ReusableBody}, BearerAuthLayer, ClientCredentials};
//!
//! # async fn call() -> Result<(), tower::BoxError> {
//! let source = ClientCredentials::builder("https://auth.example.com/oauth2/token", "my-client", "my-secret")
//!     .build_with_reqwest(Client::builder())?;
//! let layer = BearerAuthLayer::new(source).replay(ReusableBody);
//! let mut service = layer.layer(ReqwestService::new(Client::new()));
//!
//! let request = http::Request::post("https://api.example.com/invoices").body(Body::from("…"))?;
//! let response = service.ready().await?.call(request).await?;
//! let text = reqwest::Response::from(response).text().await?;
//! # let _ = text;
//! # Ok(())
//! # }
//! ```
//!
//! The adapter crate `tower-reqwest` does the same and more; it is not used because it needs a newer Rust than this crate
//! (1.92 for reqwest 0.13), and its types would be in this crate's interface.
//!
//! # Deployment caveat
//! A client that is used for several servers needs [`Origins`](crate::select::Origins): the layer's default gives its token to every
//! request. And reqwest goes by the proxy that the environment names, to loopback as well: with plain http to loopback the
//! token travels to that proxy, unless the client was told `no_proxy`.
//!
//! # Redirects
//! reqwest follows them below the layer, and takes `Authorization` away when one leads to another scheme, host or port. Of another
//! [`header_name`](crate::BearerAuthLayer::header_name) it takes away `Proxy-Authorization` only: turn redirects off for others. If that
//! other server answers 401, the layer takes its own token for rejected: it makes a token request and sends the request again.
//!
//! # Timeouts
//! reqwest's own timeouts bound each attempt, and not the wait for a token: the layer cannot see them. A
//! [`Deadline`](crate::extension::Deadline), or a timeout around the layer, bounds the whole.

use std::{
    fmt,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use http::{Method, Request, Response, request::Parts};
use pin_project_lite::pin_project;
use reqwest::{Body, Client, ResponseBuilderExt, Url};
use tower::ServiceBuilder;
use tower_service::Service;

use crate::{
    client_credentials::{ClientCredentials, ClientCredentialsBuilder},
    error::Error,
    replay::{Replay, ReplayPolicy},
};

/// reqwest's client as a tower service of [`http::Request`]s.
#[derive(Clone, Debug)]
pub struct ReqwestService {
    client: Client,
}

impl ReqwestService {
    /// Sends requests by this client, with its pool, its redirects, its timeouts and its proxies.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

impl Service<Request<Body>> for ReqwestService {
    type Response = Response<Body>;
    type Error = reqwest::Error;
    type Future = ReqwestFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), reqwest::Error>> {
        self.client.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> ReqwestFuture {
        let state = match reqwest::Request::try_from(request) {
            Ok(request) => State::Sent {
                response: self.client.call(request),
            },
            Err(error) => State::Rejected { error: Some(error) },
        };
        ReqwestFuture { state }
    }
}

pin_project! {
    /// The future of [`ReqwestService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ReqwestFuture {
        #[pin]
        state: State,
    }
}

pin_project! {
    #[project = StateProj]
    enum State {
        Sent {
            #[pin]
            response: <Client as Service<reqwest::Request>>::Future,
        },
        // The request's URI is none that reqwest can send to.
        Rejected { error: Option<reqwest::Error> },
    }
}

impl Future for ReqwestFuture {
    type Output = Result<Response<Body>, reqwest::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Sent { response } => response.poll(cx).map_ok(to_http),
            StateProj::Rejected { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
    }
}

/// The response with its URL, which the other way, [`reqwest::Response::from`], finds in the extensions.
pub(super) fn to_http(response: reqwest::Response) -> Response<Body> {
    let url = response.url().clone();
    let mut response = Response::from(response);
    // Nothing that was given to the builder can be wrong.
    if let Ok(carrier) = Response::builder().url(url).body(()) {
        let extensions = carrier.into_parts().0.extensions;
        response.extensions_mut().extend(extensions);
    }
    response
}

impl fmt::Debug for ReqwestFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestFuture").finish_non_exhaustive()
    }
}

impl ClientCredentialsBuilder {
    /// Builds with a reqwest client that is made for these credentials.
    ///
    /// `client` brings proxies, TLS roots and timeouts. Redirects are switched off, because the secret must reach one host
    /// only. No connection is kept between token requests, and no bytes are logged. A token endpoint on loopback is
    /// requested over plain http without a proxy.
    ///
    /// https needs one of reqwest's own features for TLS, such as `rustls`; without it each token request fails.
    ///
    /// # Errors
    /// As for [`build_with`](Self::build_with), and where reqwest cannot build the client.
    ///
    /// # Example
    /// ```
    /// use tower_bearer::ClientCredentials;
    ///
    /// # fn main() -> Result<(), tower_bearer::Error> {
    /// let source = ClientCredentials::builder("https://auth.example.com/token", "id", "secret")
    ///     .build_with_reqwest(reqwest::Client::builder())?;
    /// # let _ = source;
    /// # Ok(())
    /// # }
    /// ```
    pub fn build_with_reqwest(
        self,
        client: reqwest::ClientBuilder,
    ) -> Result<ClientCredentials, Error> {
        // A proxy on another machine would make plain http to loopback travel after all.
        let client = match self.is_plain_http_on_loopback()? {
            true => client.no_proxy(),
            false => client,
        };
        let client = client
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            // It would log every byte, secret and token among them.
            .connection_verbose(false)
            .build()
            .map_err(Error::client)?;
        let service = ServiceBuilder::new()
            // The URL may hold a secret.
            .map_err(reqwest::Error::without_url)
            .service(ReqwestService::new(client));
        self.build_with(service)
    }
}

/// Replays what reqwest's own [`try_clone`](reqwest::Request::try_clone) can clone: bodies of bytes or text, and empty ones.
///
/// A stream is sent once. To keep a copy of streams as well, use [`Buffered`](crate::replay::Buffered), with tower-http's `MapRequestBodyLayer` of
/// [`Body::wrap`] below it.
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "named as a value, it has nothing to add to"
)]
pub struct ReusableBody;

impl ReplayPolicy for ReusableBody {}

impl Replay<Body> for ReusableBody {
    type Body = Body;
    type Recording = Body;

    fn pass(&self, body: Body) -> Body {
        body
    }

    fn record(&self, _: &Parts, body: Body) -> (Body, Option<Body>) {
        // A body alone cannot be asked for a clone, but a request can.
        static ANYWHERE: LazyLock<Url> =
            LazyLock::new(|| Url::parse("http://localhost").expect("a constant, and a URL"));
        let mut request = reqwest::Request::new(Method::GET, ANYWHERE.clone());
        *request.body_mut() = Some(body);
        let clone = request.try_clone();
        let recording = clone.and_then(|mut clone| clone.body_mut().take());
        (request.body_mut().take().unwrap_or_default(), recording)
    }

    fn rewind(&self, recording: Body) -> Option<Body> {
        Some(recording)
    }
}
