//! An API in memory that wants a token.

use std::{
    fmt, io,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_TYPE, WWW_AUTHENTICATE},
};
use http_body_util::BodyExt;
use tower::{BoxError, ServiceExt, util::BoxCloneSyncService};
use tower_service::Service;

use super::{
    Answering,
    authorization_server::{AuthorizationServer, without_body},
    body::Body,
    call::{Call, Log, assert_count, token},
    gate::{Gate, Held},
    serve::{Served, serve},
};

/// An API for tests: it lets in requests with a valid token of its [`AuthorizationServer`], and counts calls.
///
/// It is a tower service for the layer to wrap, and [`serve`](Self::serve) puts it on a socket. Other requests get 401 with a
/// `Bearer` challenge (RFC 6750), and those of gRPC the status `UNAUTHENTICATED`. A request's body is read to its end first.
/// Clones are handles of one API.
///
/// # Example
/// A handler may be any tower service, such as an axum router. This one says whose token came:
/// ```
/// use http::{Request, Response};
/// use http_body_util::BodyExt;
/// use tower::{
///     BoxError, Layer, ServiceExt, service_fn,
/// };
/// use tower_bearer::{
///     BearerAuthLayer,
///     test_util::{
///         AuthorizationServer, Body, Grant,
///         ProtectedApi,
///     },
/// };
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), BoxError> {
/// let server = AuthorizationServer::new();
/// let api = ProtectedApi::with_handler(
///     &server,
///     service_fn(async |request: Request<Body>| {
///         let grant =
///             request.extensions().get::<Grant>();
///         let id = grant
///             .map(|grant| grant.client_id.clone())
///             .ok_or("no grant")?;
///         Ok::<_, BoxError>(Response::new(id))
///     }),
/// );
/// let layer =
///     BearerAuthLayer::new(server.credentials());
/// let client = layer.layer(api);
///
/// let request = Request::get("https://api.test/")
///     .body(String::new())?;
/// let response = client.oneshot(request).await?;
/// let body = response.into_body().collect().await?;
/// assert_eq!(body.to_bytes(), "client");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ProtectedApi(Arc<Shared>);

struct Shared {
    server: AuthorizationServer,
    handler: Handler,
    gate: Gate,
    log: Log,
}

type Handler = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

impl ProtectedApi {
    /// Creates an API that answers 200 with no body.
    #[must_use]
    pub fn new(server: &AuthorizationServer) -> Self {
        Self::with_handler(
            server,
            tower::service_fn(async |_: Request<Body>| {
                Ok::<_, BoxError>(Response::new(Body::default()))
            }),
        )
    }

    /// Creates an API whose answers are this service's. It is called for requests with a valid token only, whose
    /// [`Grant`](super::Grant) is in the request's extensions.
    pub fn with_handler<S, B>(server: &AuthorizationServer, handler: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let handler = handler
            .map_err(Into::into)
            .map_response(|response: Response<B>| response.map(Body::new));
        Self(Arc::new(Shared {
            server: server.clone(),
            handler: BoxCloneSyncService::new(handler),
            gate: Gate::default(),
            log: Log::default(),
        }))
    }

    /// Holds calls: each has arrived and is counted, and its token is checked when what this returns is dropped.
    pub fn hold(&self) -> Held {
        self.0.gate.hold()
    }

    /// The calls so far, in the order in which they came, with or without a valid token.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.0.log.calls()
    }

    /// Checks how many calls came, with or without a valid token. A retry is a call.
    ///
    /// # Panics
    /// If it was another number. The message lists them.
    #[track_caller]
    pub fn assert_calls(&self, expected: usize) {
        assert_count("calls", expected, &self.calls());
    }

    /// Serves on a free port of this machine, over plain HTTP/1.1 and HTTP/2.
    ///
    /// Do not pause time: it also moves the timeouts of real sockets.
    ///
    /// # Errors
    /// If there is no free port.
    ///
    /// # Cancellation
    /// Dropping the future starts no server.
    pub async fn serve(&self) -> io::Result<Served> {
        let this = self.clone();
        serve(move |request| this.answer(request)).await
    }

    /// Serves over TLS, with a certificate of [`ROOT_CERTIFICATE`](super::ROOT_CERTIFICATE).
    ///
    /// # Errors
    /// If there is no free port, or no provider of cryptography.
    ///
    /// # Cancellation
    /// Dropping the future starts no server.
    #[cfg(feature = "rustls-no-provider")]
    pub async fn serve_tls(&self) -> io::Result<Served> {
        let this = self.clone();
        super::tls::serve(move |request| this.answer(request)).await
    }

    fn answer(&self, request: Request<Bytes>) -> Answering {
        let this = Arc::clone(&self.0);
        Box::pin(async move {
            let place = this.log.arrived(&request);
            this.gate.pass().await;
            let response = this.admit(place, request).await?;
            this.log.answered(place, response.status());
            Ok(response)
        })
    }
}

impl Shared {
    async fn admit(
        &self,
        place: usize,
        request: Request<Bytes>,
    ) -> Result<Response<Body>, BoxError> {
        let token = token(request.headers());
        let Some(grant) = token.and_then(|token| self.server.grant(token)) else {
            return Ok(rejection(request.headers()));
        };
        self.log.recognized(place, &grant.client_id);
        let mut request = request.map(Body::from);
        request.extensions_mut().insert(grant);
        self.handler.clone().oneshot(request).await
    }
}

fn rejection(request: &HeaderMap) -> Response<Body> {
    let kind = request.get(CONTENT_TYPE);
    if let Some(kind) = kind.filter(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        let mut response = without_body(StatusCode::OK);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, kind.clone());
        headers.insert("grpc-status", HeaderValue::from_static("16"));
        headers.insert(
            "grpc-message",
            HeaderValue::from_static("the token is not valid"),
        );
        return response;
    }
    let challenge = match token(request) {
        Some(_) => r#"Bearer error="invalid_token""#,
        None => "Bearer",
    };
    let mut response = without_body(StatusCode::UNAUTHORIZED);
    let challenge = HeaderValue::from_static(challenge);
    let headers = response.headers_mut();
    headers.insert(WWW_AUTHENTICATE, challenge);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.map(|_| r#"{"message":"Unauthorized"}"#.into())
}

impl<B> Service<Request<B>> for ProtectedApi
where
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(Into::into)?.to_bytes();
            this.answer(Request::from_parts(head, body)).await
        })
    }
}

impl fmt::Debug for ProtectedApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectedApi")
            .field("calls", &self.calls().len())
            .finish_non_exhaustive()
    }
}
