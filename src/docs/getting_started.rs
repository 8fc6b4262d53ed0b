//! Getting started: the layer around each kind of client.
//!
//! There are three steps:
//!
//! 1. Build a *source*. It fetches tokens. Usually that is
//!    [`ClientCredentials`](crate::ClientCredentials).
//! 2. Put the source into a [`BearerAuthLayer`](crate::BearerAuthLayer).
//! 3. Put the layer around your client, once. Clone the result for each call: the clones
//!    share the token and the connections.
//!
//! | your client | feature | section |
//! | --- | --- | --- |
//! | hyper-util's `Client` | | [hyper-util](#hyper-util) |
//! | reqwest's `Client` | `reqwest` | [reqwest](#reqwest) |
//! | reqwest-middleware's `ClientBuilder` | `reqwest-middleware` | [reqwest-middleware](#reqwest-middleware) |
//! | a client in an axum service | | [axum](#axum) |
//! | a gRPC client | `tonic` | [tonic](#tonic) |
//! | another tower service | | [any tower service](#any-tower-service) |
//!
//! The repository has a complete program for each, `cargo run --example hyper` and so on.
//! They run against a server of their own and print what it counted. Most have tests as yours
//! may be: see [testing](super::testing).
//!
//! # hyper-util
//! ```toml
//! [dependencies]
//! tower-bearer = "0.1"
//! bytes = "1"
//! http = "1"
//! http-body-util = "0.1"
//! hyper-util = { version = "0.1", features = [
//!     "client-legacy", "http1", "http2", "tokio",
//! ] }
//! hyper-rustls = { version = "0.27", features = [
//!     "aws-lc-rs", "http1", "http2", "tls12",
//!     "rustls-platform-verifier",
//! ], default-features = false }
//! tokio = { version = "1", features = [
//!     "macros", "rt-multi-thread",
//! ] }
//! tower = { version = "0.5", features = ["util"] }
//! ```
//! ```no_run
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::Full;
//! use hyper_rustls::HttpsConnectorBuilder;
//! use hyper_util::{
//!     client::legacy::Client, rt::TokioExecutor,
//! };
//! use tower::{
//!     BoxError, ServiceBuilder, ServiceExt,
//! };
//! use tower_bearer::{
//!     BearerAuthLayer, ClientCredentials,
//! };
//!
//! # #[cfg(not(feature = "rustls"))] fn main() {}
//! # #[cfg(feature = "rustls")]
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let source = ClientCredentials::builder(
//!         "https://auth.example.com/oauth2/token",
//!         "my-client",
//!         "my-secret",
//!     )
//!     .scopes(["billing"])
//!     .build()?;
//!     let https = HttpsConnectorBuilder::new()
//!         .try_with_platform_verifier()?
//!         .https_only()
//!         .enable_all_versions()
//!         .build();
//!     let client =
//!         Client::builder(TokioExecutor::new())
//!             .build(https);
//!     let service = ServiceBuilder::new()
//!         .layer(BearerAuthLayer::new(source))
//!         .service(client);
//!
//!     let url = "https://api.example.com/invoices";
//!     let request = Request::get(url)
//!         .body(Full::<Bytes>::default())?;
//!     let response =
//!         service.clone().oneshot(request).await?;
//!     println!("{}", response.status());
//!     Ok(())
//! }
//! ```
//! Request bodies must be `Clone`, as `Full<Bytes>` is. For other bodies see [axum](#axum).
//!
//! # reqwest
//! ```toml
//! [dependencies]
//! tower-bearer = { version = "0.1", features = [
//!     "reqwest",
//! ] }
//! http = "1"
//! reqwest = "0.13"
//! tokio = { version = "1", features = [
//!     "macros", "rt-multi-thread",
//! ] }
//! tower = { version = "0.5", features = ["util"] }
//! ```
//! ```no_run
//! use http::Request;
//! use reqwest::{Body, Client, Response};
//! use tower::{BoxError, Layer, ServiceExt};
//! use tower_bearer::{
//!     BearerAuthLayer, ClientCredentials,
//!     adapter::reqwest::{
//!         ReqwestService, ReusableBody,
//!     },
//! };
//!
//! # #[cfg(not(feature = "reqwest"))] fn main() {}
//! # #[cfg(feature = "reqwest")]
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let source = ClientCredentials::builder(
//!         "https://auth.example.com/oauth2/token",
//!         "my-client",
//!         "my-secret",
//!     )
//!     .build_with_reqwest(Client::builder())?;
//!     let layer = BearerAuthLayer::new(source)
//!         .origins(["https://api.example.com"])?
//!         .replay(ReusableBody);
//!     let service = layer.layer(
//!         ReqwestService::new(Client::new()),
//!     );
//!
//!     let url = "https://api.example.com/invoices";
//!     let request =
//!         Request::get(url).body(Body::default())?;
//!     let response =
//!         service.clone().oneshot(request).await?;
//!     let response = Response::from(response);
//!     println!("{}", response.text().await?);
//!     Ok(())
//! }
//! ```
//! `build_with_reqwest` sends token requests with reqwest too. You can then switch off the
//! default transport: `default-features = false` for `tower-bearer`.
//!
//! # reqwest-middleware
//! ```toml
//! [dependencies]
//! tower-bearer = { version = "0.1", features = [
//!     "reqwest-middleware",
//! ] }
//! reqwest = "0.13"
//! reqwest-middleware = "0.5"
//! tokio = { version = "1", features = [
//!     "macros", "rt-multi-thread",
//! ] }
//! tower = "0.5"
//! ```
//! ```no_run
//! use reqwest::Client;
//! use reqwest_middleware::ClientBuilder;
//! use tower::BoxError;
//! use tower_bearer::{
//!     BearerAuthLayer, ClientCredentials,
//! };
//!
//! # #[cfg(not(feature = "reqwest-middleware"))] fn main() {}
//! # #[cfg(feature = "reqwest-middleware")]
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let source = ClientCredentials::builder(
//!         "https://auth.example.com/oauth2/token",
//!         "my-client",
//!         "my-secret",
//!     )
//!     .build_with_reqwest(Client::builder())?;
//!     let layer = BearerAuthLayer::new(source)
//!         .origins(["https://api.example.com"])?;
//!     let client =
//!         ClientBuilder::new(Client::new())
//!             .with(layer)
//!             .build();
//!
//!     let url = "https://api.example.com/invoices";
//!     let response = client.get(url).send().await?;
//!     println!("{}", response.text().await?);
//!     Ok(())
//! }
//! ```
//! The layer is a middleware as it is. Add `reqwest-retry` before it and `reqwest-tracing`
//! after it. `.replay(Buffered::up_to(65536))` also replays streams and multipart forms.
//!
//! # axum
//! This is for a client that handlers call. The body `axum::body::Body` is not `Clone`, so
//! [`Buffered`](crate::replay::Buffered) keeps a copy of up to 64 KiB while the body is sent.
//! A larger body is sent all the same; only the retry is lost.
//! ```toml
//! [dependencies]
//! tower-bearer = "0.1"
//! axum = "0.8"
//! hyper-util = { version = "0.1", features = [
//!     "client-legacy", "http1", "tokio",
//! ] }
//! tokio = { version = "1", features = [
//!     "macros", "net", "rt-multi-thread",
//! ] }
//! tower = { version = "0.5", features = ["util"] }
//! ```
//! ```no_run
//! use axum::{
//!     Router,
//!     body::Body,
//!     extract::State,
//!     http::{Request, StatusCode},
//!     response::Response,
//!     routing::get,
//! };
//! use hyper_util::{
//!     client::legacy::{
//!         Client, connect::HttpConnector,
//!     },
//!     rt::TokioExecutor,
//! };
//! use tokio::net::TcpListener;
//! use tower::{BoxError, Layer, ServiceExt};
//! use tower_bearer::{
//!     BearerAuth, BearerAuthLayer,
//!     ClientCredentials,
//!     replay::{Buffered, ReplayBody},
//!     select::Origins,
//!     unauthorized::BearerChallenge,
//! };
//!
//! const UPSTREAM: &str = "http://127.0.0.1:9000";
//!
//! type Http =
//!     Client<HttpConnector, ReplayBody<Body>>;
//! type Api = BearerAuth<
//!     Http,
//!     Origins,
//!     BearerChallenge,
//!     Buffered,
//! >;
//!
//! # #[cfg(not(feature = "rustls"))] fn main() {}
//! # #[cfg(feature = "rustls")]
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let source = ClientCredentials::builder(
//!         "https://auth.example.com/oauth2/token",
//!         "my-client",
//!         "my-secret",
//!     )
//!     .build()?;
//!     let layer = BearerAuthLayer::new(source)
//!         .origins([UPSTREAM])?
//!         .deny_unselected()
//!         .replay(Buffered::up_to(64 * 1024));
//!     let http =
//!         Client::builder(TokioExecutor::new())
//!             .build_http();
//!     let api: Api = layer.layer(http);
//!
//!     let app = Router::new()
//!         .route("/invoices", get(invoices))
//!         .with_state(api);
//!     let listener =
//!         TcpListener::bind("127.0.0.1:8080")
//!             .await?;
//!     axum::serve(listener, app).await?;
//!     Ok(())
//! }
//!
//! async fn invoices(
//!     State(api): State<Api>,
//! ) -> Result<Response, StatusCode> {
//!     let failed = StatusCode::BAD_GATEWAY;
//!     let url = format!("{UPSTREAM}/invoices");
//!     let request = Request::get(url)
//!         .body(Body::empty())
//!         .or(Err(failed))?;
//!     let response = api.oneshot(request).await;
//!     Ok(response.or(Err(failed))?.map(Body::new))
//! }
//! ```
//! `deny_unselected` sends no request to another server, whatever URL a handler is given.
//! For an upstream with https, build the client as under [hyper-util](#hyper-util).
//!
//! A reverse proxy has to remove its callers' `Host` and `Authorization`. The example
//! `axum_proxy` does that.
//!
//! # tonic
//! ```toml
//! [dependencies]
//! tower-bearer = { version = "0.1", features = [
//!     "tonic",
//! ] }
//! tokio = { version = "1", features = [
//!     "macros", "rt-multi-thread",
//! ] }
//! tonic = { version = "0.14", features = [
//!     "tls-native-roots", "tls-aws-lc",
//! ] }
//! tonic-health = "0.14" # or your own service
//! tower = "0.5"
//! ```
//! ```no_run
//! use tonic::transport::Endpoint;
//! use tonic_health::pb::{
//!     HealthCheckRequest,
//!     health_client::HealthClient,
//! };
//! use tower::{BoxError, Layer};
//! use tower_bearer::{
//!     ClientCredentials,
//!     adapter::tonic::GrpcAuthLayer,
//! };
//!
//! # #[cfg(not(all(feature = "tonic", feature = "rustls")))] fn main() {}
//! # #[cfg(all(feature = "tonic", feature = "rustls"))]
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let source = ClientCredentials::builder(
//!         "https://auth.example.com/oauth2/token",
//!         "my-client",
//!         "my-secret",
//!     )
//!     .build()?;
//!     let url = "https://api.example.com";
//!     let channel =
//!         Endpoint::from_static(url).connect_lazy();
//!     let service =
//!         GrpcAuthLayer::new(source).layer(channel);
//!     let mut client = HealthClient::new(service);
//!
//!     let answer = client
//!         .check(HealthCheckRequest::default())
//!         .await?;
//!     println!("{answer:?}");
//!     Ok(())
//! }
//! ```
//! For https, tonic also needs
//! `.tls_config(ClientTlsConfig::new().with_native_roots())?` on the endpoint.
//!
//! # Any tower service
//! The service needs four things:
//!
//! - `Service<Request<B>, Response = Response<R>>`, with `R: http_body::Body`;
//! - an error that is `Into<tower::BoxError>`;
//! - `Clone`; put tower's `Buffer` around a service that is not;
//! - a request body that is `Clone`, or a [`replay`](crate::replay) policy for other bodies.
//!
//! ```
//! use http::{Request, Response};
//! use tower::{
//!     BoxError, Layer, ServiceExt, service_fn,
//! };
//! use tower_bearer::{
//!     BearerAuthLayer, token::FixedToken,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let service = service_fn(
//!     async |request: Request<String>| {
//!         Ok::<_, BoxError>(Response::new(
//!             request.into_body(),
//!         ))
//!     },
//! );
//! let layer = BearerAuthLayer::new(
//!     FixedToken::new("a-token")?,
//! );
//! let service = layer.layer(service);
//!
//! let request =
//!     Request::post("https://api.example.com/")
//!         .body("hello".to_owned())?;
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.body(), "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Next
//! - **Pin the origins.** By default *each* request of the client gets the token. If the
//!   client talks to more than one server, use [`origins`](crate::BearerAuthLayer::origins).
//! - **Set a timeout** above the layer, so that it covers the wait for a token and the retry:
//!   [composition](super::composition).
//! - **Read the settings** from your service's own TOML or environment, with the feature
//!   `config`: `tower_bearer::config::Configuration`.
//! - **Find your authorization server** under [providers](super::providers).
