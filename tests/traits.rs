//! What public types can do: be sent, shared, cloned and moved while they are polled.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_bearer::{
    BearerAuth, BearerAuthLayer, ClientAuth, ClientCredentials, Error, ErrorKind, ResponseFuture,
    Secret, Token, TokenCache,
    cache::{CacheState, Keyed, StateChanges, TokenCacheBuilder, TokenState},
    client_credentials::ClientCredentialsBuilder,
    extension::{Deadline, MinValidity, NoRetry, NoToken},
    replay::{Buffered, CloneBody, NoReplay, Recording, ReplayBody},
    select::{Always, And, ByExtension, ExistingAuthorization, Origins, RequestHead, Select},
    token::{FixedToken, Lookup, Reason, TokenRequest},
    unauthorized::{BearerChallenge, GrpcUnauthenticated, ResponseHead, Unauthorized},
};

type Body = Full<Bytes>;
type Client = tower::util::BoxCloneSyncService<Request<ReplayBody<Body>>, Response<Body>, BoxError>;
type Api = tower::util::BoxCloneService<Request<Body>, Response<Body>, BoxError>;
type Shared = Arc<dyn Select<Key = ()> + Send + Sync>;
type Verdict = Arc<dyn Unauthorized + Send + Sync>;

fn is_a_value<T: Send + Sync + Unpin + Clone + std::fmt::Debug + 'static>() {}
fn is_shared<T: Send + Sync + Unpin + 'static>() {}

#[test]
fn public_types_are_sent_shared_cloned_shown_and_moved() {
    is_a_value::<BearerAuthLayer>();
    is_a_value::<BearerAuthLayer<Origins, GrpcUnauthenticated, Buffered, Keyed<String>>>();
    is_a_value::<BearerAuth<Client, And<Origins, ByExtension<String>>, BearerChallenge, NoReplay>>(
    );
    is_a_value::<TokenCache>();
    is_a_value::<TokenCacheBuilder<FixedToken>>();
    is_a_value::<Keyed<String>>();
    is_a_value::<CacheState>();
    is_a_value::<TokenState>();
    is_a_value::<StateChanges>();
    is_a_value::<Token>();
    is_a_value::<TokenRequest>();
    is_a_value::<Reason>();
    is_a_value::<FixedToken>();
    is_a_value::<ClientCredentials>();
    is_a_value::<ClientCredentialsBuilder>();
    is_a_value::<ClientAuth>();
    is_a_value::<Secret>();
    is_a_value::<Error>();
    is_a_value::<ErrorKind>();
    is_a_value::<NoToken>();
    is_a_value::<NoRetry>();
    is_a_value::<Deadline>();
    is_a_value::<MinValidity>();
    is_a_value::<Always>();
    is_a_value::<Origins>();
    is_a_value::<ExistingAuthorization>();
    is_a_value::<RequestHead<'static>>();
    is_a_value::<ResponseHead<'static>>();
    is_a_value::<CloneBody>();
    is_a_value::<NoReplay>();
    is_a_value::<Buffered>();
}

/// What goes with one request: `spawn` needs it `Send`.
#[test]
fn what_is_made_for_a_request_is_sent_to_other_threads() {
    fn is_sent<T: Send + 'static>() {}
    is_sent::<ResponseFuture<Client, Body, Body, BearerChallenge, Buffered>>();
    // A client need not be shared by threads.
    is_sent::<ResponseFuture<Api, Body, Body, BearerChallenge, CloneBody>>();
    is_sent::<BearerAuth<Api>>();
    is_sent::<ReplayBody<Body>>();
    is_sent::<Recording<http_body_util::Full<bytes::Bytes>>>();
    is_shared::<Lookup<fn()>>();
}

/// A key that is neither `Sync` nor shown takes nothing from what only names it.
#[test]
fn a_selection_by_extension_is_a_value_whatever_it_selects_by() {
    struct Nothing(#[allow(dead_code, reason = "never made")] std::cell::Cell<u8>);
    is_a_value::<ByExtension<Nothing>>();
}

/// Closures and shared policies, in one stack: both are asked, and what they say is done.
///
/// Promise: R8, S1
#[tokio::test(start_paused = true)]
async fn closures_and_shared_policies_decide_as_the_policies_do() {
    let select = |head: &RequestHead<'_>| head.uri().path().starts_with("/v2").then_some(());
    let teapot = |head: &ResponseHead<'_>| head.status() == StatusCode::IM_A_TEAPOT;
    let tokens = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let layer = || {
        let tokens = Arc::clone(&tokens);
        BearerAuthLayer::new(tower::service_fn(move |_: TokenRequest| {
            let n = tokens.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            async move { Token::new(format!("t{n}")) }
        }))
    };
    let answers = async |service: Api| {
        let mut seen = Vec::new();
        for path in ["/v2", "/v1"] {
            let request = Request::get(path).body(Body::default()).unwrap();
            seen.push(
                service
                    .clone()
                    .oneshot(request)
                    .await
                    .unwrap()
                    .status()
                    .as_u16(),
            );
        }
        seen
    };
    for status in [418, 401] {
        let by_closure = layer()
            .select(select)
            .unauthorized(teapot)
            .layer(rejecting(status));
        let shared: (Shared, Verdict) = (Arc::new(select), Arc::new(teapot));
        let by_arc = layer()
            .select(shared.0)
            .unauthorized(shared.1)
            .layer(rejecting(status));
        let expected = match status {
            // Rejected, and healed by the retry. Without a token, it is the server's own.
            418 => [200, 418],
            // No rejection by these, whatever the default says.
            _ => [401, 401],
        };
        assert_eq!(answers(Api::new(by_closure)).await, expected);
        assert_eq!(answers(Api::new(by_arc)).await, expected);
    }
}

/// An API that answers `status` to the first token and to none, and 200 to any other.
fn rejecting(
    status: u16,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>
+ Clone
+ Send
+ 'static {
    let first = Arc::new(std::sync::OnceLock::new());
    tower::service_fn(move |request: Request<Body>| {
        let token = request.headers().get("authorization").cloned();
        let is_good = token.is_some_and(|token| *first.get_or_init(|| token.clone()) != token);
        let mut response = Response::new(Body::default());
        if !is_good {
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
        }
        async { Ok(response) }
    })
}
