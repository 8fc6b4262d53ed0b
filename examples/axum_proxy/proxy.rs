//! The proxy, a service for `axum::serve`: what happens to a request, to its answer, and when there is no answer.

mod headers;
pub(crate) mod patience;

use std::{
    convert::Infallible, error::Error as StdError, io, net::IpAddr, str::FromStr, time::Duration,
};

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{Method, StatusCode, Uri, Version, uri::Authority, uri::Scheme};
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, Error, ErrorKind, TokenCache, replay::Buffered, select::Origins,
};

use self::patience::Watched;

/// Forwards each request to the upstream, with a token of `tokens`.
///
/// Bodies stream both ways. Method, path, query, headers and trailers stay, except hop-by-hop headers and the caller's
/// `Authorization`: see [`headers::for_upstream`]. The caller gets the upstream's answer, and a 401 too if a new token does
/// not help. It gets 502 or 504 with a plain reason if there is no token, or no answer within `patience`.
///
/// WebSockets and other tunnels are not supported.
pub(crate) fn proxy(
    upstream: Upstream,
    tokens: TokenCache,
    patience: Duration,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send {
    let layer = BearerAuthLayer::from_cache(tokens)
        // The token goes to this origin only, and so does each request.
        .select(upstream.origin)
        .deny_unselected()
        .replay(Buffered::up_to(KEPT));
    let layer = match upstream.network_encrypts {
        true => layer.danger_allow_tokens_over_plain_http(),
        false => layer,
    };
    let api = layer.layer(client());
    proxy_over(api, upstream.authority, patience)
}

/// The same over any client. The bench compares it with one that has no layer.
pub(crate) fn proxy_over<S, B>(
    api: S,
    authority: Authority,
    patience: Duration,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send
where
    S: Service<http::Request<Watched<Body>>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    service_fn(move |request| {
        let answer = forward(api.clone(), authority.clone(), patience, request);
        async move { Ok(answer.await.unwrap_or_else(Failure::into_response)) }
    })
}

/// The origin that requests go to, over HTTP.
pub(crate) struct Upstream {
    authority: Authority,
    origin: Origins,
    network_encrypts: bool,
}

impl FromStr for Upstream {
    type Err = BoxError;

    fn from_str(text: &str) -> Result<Self, BoxError> {
        let origin = Origins::new([text])?;
        let parts = text.parse::<Uri>()?.into_parts();
        match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority)) if scheme == Scheme::HTTP => Ok(Self {
                authority,
                origin,
                network_encrypts: false,
            }),
            _ => Err("the origin is not http, and this proxy speaks no TLS to it".into()),
        }
    }
}

impl Upstream {
    /// On another machine, over plain HTTP that the network encrypts, as a service mesh does.
    pub(crate) fn over_a_network_that_encrypts(self) -> Self {
        Self {
            network_encrypts: true,
            ..self
        }
    }

    /// Whether it is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.authority.host();
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

pub(crate) fn client<B>() -> Client<HttpConnector, B>
where
    B: http_body::Body<Data: Send> + Send,
{
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(tcp)
}

async fn forward<S, B>(
    api: S,
    authority: Authority,
    patience: Duration,
    request: Request,
) -> Result<Response, Failure>
where
    S: Service<http::Request<Watched<Body>>, Response = http::Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    // An upstream that answers TRACE would show the token to the caller, and a tunnel carries no token.
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        let why = format!("{} is not forwarded", request.method());
        return Err(Failure(StatusCode::NOT_IMPLEMENTED, why));
    }
    let (mut head, body) = request.into_parts();
    headers::for_upstream(&mut head.headers, head.version);
    let mut uri = head.uri.into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(authority);
    head.uri = Uri::from_parts(uri).map_err(|_| Failure::bad_request())?;
    head.version = Version::HTTP_11;
    // They are about the connection of the request.
    head.extensions.clear();

    let (body, turn) = patience::watch(body);
    let answer = api.oneshot(Request::from_parts(head, body));
    let Some(answer) = turn.wait(patience, answer).await else {
        let why = format!("the upstream did not answer within {patience:?}");
        tracing::warn!("{why}");
        return Err(Failure(StatusCode::GATEWAY_TIMEOUT, why));
    };
    let mut answer = answer.map_err(|error| Failure::of(&error.into()))?;
    if answer.status().is_informational() {
        let why = "the upstream switched protocols without being asked";
        return Err(Failure(StatusCode::BAD_GATEWAY, why.into()));
    }
    headers::for_caller(answer.headers_mut());
    *answer.version_mut() = Version::HTTP_11;
    Ok(answer.map(Body::new))
}

/// Why the caller does not get what it asked for: a status and a plain reason.
struct Failure(StatusCode, String);

impl Failure {
    fn bad_request() -> Self {
        let why = "the request target has no path";
        Self(StatusCode::BAD_REQUEST, why.into())
    }

    fn of(error: &BoxError) -> Self {
        if let Some(error) = error.downcast_ref::<Error>() {
            let status = match error.kind() {
                ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::BAD_GATEWAY,
            };
            return Self(status, no_token(error));
        }
        let (status, why) = match error.downcast_ref::<legacy::Error>() {
            Some(error) if error.is_connect() && timed_out(error) => (
                StatusCode::GATEWAY_TIMEOUT,
                "the upstream cannot be reached: it let the connection time out",
            ),
            Some(error) if error.is_connect() => (
                StatusCode::BAD_GATEWAY,
                "the upstream cannot be reached: it takes no connection",
            ),
            _ => (
                StatusCode::BAD_GATEWAY,
                "the upstream broke off, or did not answer in HTTP",
            ),
        };
        tracing::warn!(error = &**error as &dyn StdError, "{why}");
        Self(status, why.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, self.1 + "\n").into_response()
    }
}

/// What [`Error`] says of itself, and of its causes where they are its own: there is no secret and no token in it. What a
/// transport says is for the log, where the layer has put it.
fn no_token(error: &Error) -> String {
    let mut why = format!("there is no access token: {error}");
    let mut source = error.source();
    while let Some(cause) = source.and_then(|source| source.downcast_ref::<Error>()) {
        why.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    why
}

fn timed_out(error: &legacy::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        let io = cause.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        source = cause.source();
    }
    false
}

/// How many bytes of a request's body are kept while it is sent, for a retry.
const KEPT: usize = 64 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Shorter than the 60 s and more after which most servers close a connection, so that few requests meet one that closes.
const IDLE: Duration = Duration::from_secs(30);
