//! Where the layer belongs in a stack: what tower's and tower-http's layers do above it and below it.
//!
//! Above is nearer to the caller, and comes first in a `ServiceBuilder`. Below is nearer to the client. A request passes
//! the layers above once; those below see a call for each try, so two if the token is rejected.
//!
//! | layer | above | below | put it, and why |
//! | --- | --- | --- | --- |
//! | `Trace` | one span per request, with the wait for the token in it and no token to see | one span per call, in which the token is `Sensitive` | above, for it shows what the caller sees; below as well to see each call |
//! | `SetSensitiveHeaders` | marks what the caller set, and what the answer holds | no token needs it: that is marked already | above, for the caller's own secrets |
//! | `Timeout` (tower) | ends a request wherever it is; the token request goes on for the others | counts each call alone, and no wait for a token | above, for only there it bounds the whole; with a [`Deadline`](crate::extension::Deadline) of the same length as well, no retry is begun that it is likely to cut |
//! | `Timeout` (tower-http) | the same, but the caller gets an answer with the status you chose | its answer is taken for the API's | above if at all: it is made for servers, and needs a response body with a `Default`, which hyper's `Incoming` lacks |
//! | `LoadShed` | sheds before anything is sent; whoever was let in waits for a second call | sheds the second call as well: the caller gets `Overloaded` in place of its answer | above, so that a request is shed at once or not at all |
//! | `ConcurrencyLimit` | one permit per request, from the wait for the token to the last answer | one per call; it is held during the wait for the first token, and given back for the wait for another | above: the API sees no more calls at once than there are permits, and [no token request needs one](#permits-and-the-token request) |
//! | `RateLimit` | counts requests, some of which are two calls | counts calls; it is not `Clone`, so a `Buffer` has to be over it | below, under a `Buffer`, if the API counts calls |
//! | `Buffer` | an [`Error`](crate::Error) comes through as it is, not as a `ServiceError` | a wait for the first token holds one of its places, and no permit of the layers under it | below, over a client or a limit that is not `Clone`; with as many places as there may be requests at once |
//! | `Retry` | each attempt has the token of its time, and a retry of its own | sends the token that the first attempt had, be it run out or rejected; and both tries have all attempts | above, for anything but 401: a policy that minds 401 makes up to two calls per attempt, and as many token requests as the [cool-down](super::lifetime#rejections) lets it |
//! | `FollowRedirect` | each hop is a request of its own | the layer sees the first request and the last answer | above, with [`Origins`](crate::select::Origins): see [below](#redirects) |
//! | `Decompression` | a rejection that is followed by a retry never reaches it | every rejection passes through it | above, to the same effect with less work; below does no harm |
//! | `MapRequestBody` | the body that it makes is said again | the caller's body is said again, and mapped once more | below, if the client's body type is not `Clone` |
//! | what sets `Authorization` (`AddAuthorization`, `SetRequestHeader`) | the request passes untouched, with neither token nor retry | takes the token's place, or stands beside it; and a rejection of it is taken for one of the token | on no request that this layer is to serve |
//!
//! What is said of `Timeout`, `LoadShed`, `ConcurrencyLimit`, `Buffer`, `Retry` and `FollowRedirect` is proven in
//! `tests/composition.rs`.
//!
//! # Permits and the token request
//! A request that waits for its first token has the service below ready, and with it the permit or the place that this
//! took. If the token request goes through the same service, requests that wait for it may hold all that it needs: it ends at
//! its own deadline (10 s by default), and they fail. It happens again with the next
//! token request. Give the token request a transport of its own, as the one is that
//! [`ClientCredentials`](crate::ClientCredentials) brings along.
//!
//! # Redirects
//! - Followed below, by tower-http's standard policy, the token goes to no other origin. That is the work of
//!   `FilterCredentials`; a policy of your own has to hold it, or `SameOrigin`. If the other origin answers with a 401, the
//!   layer takes the token for rejected, although that origin never saw it: it makes a token request and sends the request
//!   again.
//! - Followed above, a hop gets the token if it is selected. With [`Origins`](crate::select::Origins) another origin gets none, and
//!   its 401 means nothing. With [`Always`](crate::select::Always), which is for clients that talk to one API only, any origin that
//!   the API redirects to gets the token.
//! - On the way to another origin, the standard policy takes off what the caller said of the request:
//!   [`NoToken`](crate::extension::NoToken), [`NoRetry`](crate::extension::NoRetry), [`Deadline`](crate::extension::Deadline), and an `Authorization` of its
//!   own. If such a hop is selected, it gets the token after all. `FilterCredentials::allow_extension::<NoToken>` keeps
//!   what you name.
//!
//! # A whole stack
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use tokio::time::{Sleep, sleep};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, retry::{Policy, RetryLayer}};
//! use tower_bearer::{select::Origins, BearerAuthLayer, ClientCredentials};
//! use tower_http::{
//!     decompression::DecompressionLayer, follow_redirect::FollowRedirectLayer,
//!     map_request_body::MapRequestBodyLayer, trace::TraceLayer,
//! };
//!
//! /// Sends a request again where the API was too busy for it.
//! #[derive(Clone)]
//! struct WhenBusy {
//!     left: u32,
//! }
//!
//! impl<B: Clone, R, E> Policy<Request<B>, Response<R>, E> for WhenBusy {
//!     type Future = Sleep;
//!
//!     fn retry(&mut self, _: &mut Request<B>, result: &mut Result<Response<R>, E>) -> Option<Sleep> {
//!         let answer = result.as_ref().ok()?;
//!         if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
//!             return None;
//!         }
//!         self.left = self.left.checked_sub(1)?;
//!         Some(sleep(Duration::from_secs(1)))
//!     }
//!
//!     fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
//!         Some(request.clone())
//!     }
//! }
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
//! let source = ClientCredentials::builder("https://auth.example.com/oauth2/token", "my-client", "my-secret")
//!     // A client of its own, which shares no permit with the one at the bottom of the stack.
//!     .build_with(token_client)?;
//! let service = ServiceBuilder::new()
//!     .layer(TraceLayer::new_for_http())
//!     .load_shed()
//!     .concurrency_limit(100)
//!     .timeout(Duration::from_secs(30))
//!     .layer(RetryLayer::new(WhenBusy { left: 2 }))
//!     .layer(FollowRedirectLayer::new())
//!     .layer(DecompressionLayer::new())
//!     .layer(BearerAuthLayer::new(source).select(Origins::new(["https://api.example.com"])?))
//!     .layer(MapRequestBodyLayer::new(|body: Full<Bytes>| body.map_err(BoxError::from).boxed_unsync()))
//!     .service(client);
//!
//! let request = Request::get("https://api.example.com/orders").body(Full::default())?;
//! let response = service.oneshot(request).await?;
//! # assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
