//! Composition: where the layer belongs among tower's and tower-http's layers.
//!
//! *Above* means nearer to the caller: earlier in a `ServiceBuilder`. *Below* means nearer to
//! the client. A layer above sees a request once. A layer below sees each try: two, if the
//! token is rejected.
//!
//! | layer | put it | because |
//! | --- | --- | --- |
//! | `Trace` | above | its span covers the wait for the token, both tries, and shows no token |
//! | `SetSensitiveHeaders` | above | it marks the caller's own headers; the token is marked already |
//! | `Timeout` (tower) | above | it bounds the whole call; see [timeouts](#timeouts) |
//! | `Timeout` (tower-http) | above | it needs a response body with a `Default`; see [timeouts](#timeouts) |
//! | `LoadShed` | above | a request is shed at once or not at all; below, the retry could be shed |
//! | `ConcurrencyLimit` | above | one permit covers both tries; see [permits](#permits) |
//! | `RateLimit` | below, under a `Buffer` | it then counts each call to the API |
//! | `Buffer` | below | it makes a client `Clone`; see [permits](#permits) |
//! | `Retry` | above | each attempt has the current token; see [retries](#retries) |
//! | `FollowRedirect` | above, with `Origins` | see [redirects](#redirects) |
//! | `Decompression` | above | it does not see the rejected response |
//! | `MapRequestBody` | below | it makes the client's body type from the body that is replayed |
//! | `AddAuthorization`, `SetRequestHeader` for `Authorization` | nowhere | above, the request passes without a token; below, it replaces the token |
//!
//! # Timeouts
//! - tower's `Timeout` above the layer ends the request at any point. The token request goes
//!   on for the other requests. Below the layer, it would bound each try, and no wait for a
//!   token.
//! - tower-http's `Timeout` answers with a status. Above, the caller gets that response.
//!   Below, it would look like a response of the API.
//! - Add a [`Deadline`](crate::extension::Deadline) of the same length to the request. Then no
//!   retry is started that has no time left.
//!
//! # Permits
//! A request that waits for its first token keeps the service below ready. So it keeps the
//! permit of a `ConcurrencyLimit`, or the place in a `Buffer`, below the layer. If the token
//! request goes through the same service, the waiting requests can hold all permits, and the
//! token request fails at its timeout of 10 s.
//!
//! - Put `ConcurrencyLimit` above the layer.
//! - Give a `Buffer` below the layer as many places as there are requests at the same time.
//! - Give token requests a transport of their own. `build` and `build_with_reqwest` do.
//!
//! The errors of this crate pass through layers above as they are. A `Buffer` above the layer
//! would wrap them in a `ServiceError`.
//!
//! # Retries
//! tower's `Retry` above the layer retries what is not a 401: a 503, a broken connection. Do
//! not let it retry a 401. The layer has done that already, and each attempt makes up to two
//! calls. Below the layer, each attempt would have the first attempt's token, even if it
//! expires.
//!
//! # Redirects
//! **Followed above the layer**, each hop is a request. With
//! [`Origins`](crate::select::Origins), another origin gets no token. With
//! [`Always`](crate::select::Always), the default, each origin that the API redirects to gets
//! it.
//!
//! **Followed below the layer**, by tower-http's standard policy or by reqwest, the token goes
//! to no other origin. If that origin answers 401, the layer takes its own token for rejected:
//! it sends a token request and retries. A policy of your own has to contain
//! `FilterCredentials` or `SameOrigin`.
//!
//! On the way to another origin, tower-http's standard policy removes the request's
//! `Authorization` and its extensions, such as [`NoToken`](crate::extension::NoToken).
//! `FilterCredentials::allow_extension::<NoToken>` keeps it.
//!
//! # A whole stack
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::{BodyExt, Full};
//! use tower::{
//!     BoxError, ServiceBuilder, ServiceExt,
//!     retry::RetryLayer,
//! };
//! use tower_bearer::{
//!     BearerAuthLayer, ClientCredentials,
//!     select::Origins,
//! };
//! use tower_http::{
//!     decompression::DecompressionLayer,
//!     follow_redirect::FollowRedirectLayer,
//!     map_request_body::MapRequestBodyLayer,
//!     trace::TraceLayer,
//! };
//! # use http::{Response, StatusCode};
//! # use tokio::time::{Sleep, sleep};
//! # use tower::retry::Policy;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! # let token_client = tower::service_fn(|_: Request<Full<Bytes>>| async {
//! #     let token = r#"{"access_token":"ory_at_4jSH.k2dW","token_type":"bearer","expires_in":300}"#;
//! #     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(token)))
//! # });
//! # let client = tower::service_fn(|request: Request<http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>>| async move {
//! #     assert_eq!(request.headers()["authorization"], "Bearer ory_at_4jSH.k2dW");
//! #     Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
//! # });
//! let source = ClientCredentials::builder(
//!     "https://auth.example.com/oauth2/token",
//!     "my-client",
//!     "my-secret",
//! )
//! // A client that shares no permit with the API's.
//! .build_with(token_client)?;
//! let origins =
//!     Origins::new(["https://api.example.com"])?;
//! let service = ServiceBuilder::new()
//!     .layer(TraceLayer::new_for_http())
//!     .load_shed()
//!     .concurrency_limit(100)
//!     .timeout(Duration::from_secs(30))
//!     .layer(RetryLayer::new(WhenBusy { left: 2 }))
//!     .layer(FollowRedirectLayer::new())
//!     .layer(DecompressionLayer::new())
//!     .layer(
//!         BearerAuthLayer::new(source)
//!             .select(origins),
//!     )
//!     .layer(MapRequestBodyLayer::new(
//!         |body: Full<Bytes>| {
//!             body.map_err(BoxError::from)
//!                 .boxed_unsync()
//!         },
//!     ))
//!     .service(client);
//!
//! let request = Request::get(
//!     "https://api.example.com/orders",
//! )
//! .body(Full::default())?;
//! let response = service.oneshot(request).await?;
//! # assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! #
//! # #[derive(Clone)]
//! # struct WhenBusy {
//! #     left: u32,
//! # }
//! # impl<B: Clone, R, E> Policy<Request<B>, Response<R>, E> for WhenBusy {
//! #     type Future = Sleep;
//! #     fn retry(&mut self, _: &mut Request<B>, result: &mut Result<Response<R>, E>) -> Option<Sleep> {
//! #         let response = result.as_ref().ok()?;
//! #         if response.status() != StatusCode::SERVICE_UNAVAILABLE {
//! #             return None;
//! #         }
//! #         self.left = self.left.checked_sub(1)?;
//! #         Some(sleep(Duration::from_secs(1)))
//! #     }
//! #     fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
//! #         Some(request.clone())
//! #     }
//! # }
//! ```
//! `WhenBusy` is a [`tower::retry::Policy`](https://docs.rs/tower/0.5/tower/retry/trait.Policy.html) of yours: it retries a 503 twice, after a second.
//!
//! # reqwest-middleware
//! `BearerAuthLayer` is a middleware there. The order of `with` is the order in which a request
//! passes. Add `reqwest-retry` before it, so that each attempt has the current token. Add
//! `reqwest-tracing` after it, so that each try has a span.
//!
//! `tests/composition.rs` proves what this chapter says about `Timeout`, `LoadShed`,
//! `ConcurrencyLimit`, `Buffer`, `Retry` and `FollowRedirect`.
