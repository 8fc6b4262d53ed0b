//! R16 and R19: tokens that the API does not know yet, and tokens that are known to be rejected, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuth, BearerAuthLayer, Token, TokenCache, extension::Deadline, replay::NoReplay,
};

use self::support::{
    Api, ApiService, Body, TokenEndpoint, answer, bearer, get, lock, settle, token,
};

const SECOND: Duration = Duration::from_secs(1);

/// An authorization server, and an API that knows its tokens only so long after they were given. The tokens last ten minutes.
struct LateApi {
    endpoint: TokenEndpoint,
    given_at: Arc<Mutex<Vec<Instant>>>,
    lag: Duration,
}

impl LateApi {
    fn new(lag: Duration) -> Self {
        let given_at = Arc::<Mutex<Vec<Instant>>>::default();
        let gives = Arc::clone(&given_at);
        let endpoint = TokenEndpoint::new(move |post| {
            lock(&gives).push(Instant::now());
            async move { token(&format!("t{post}"), 600) }
        });
        Self {
            endpoint,
            given_at,
            lag,
        }
    }

    fn service(
        &self,
    ) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static {
        let given_at = Arc::clone(&self.given_at);
        let lag = self.lag;
        service_fn(move |request: Request<Body>| {
            let token = bearer(request.headers()).unwrap();
            let number: usize = token.trim_start_matches('t').parse().unwrap();
            let age = lock(&given_at)[number - 1].elapsed();
            let is_good = (lag..SECOND * 600).contains(&age);
            async move { Ok(answer(if is_good { 200 } else { 401 }, "")) }
        })
    }
}

/// Promise: R16
#[tokio::test(start_paused = true)]
async fn a_refreshed_token_that_the_api_does_not_know_yet_fails_no_request_and_costs_no_token_request()
 {
    for lag in [SECOND * 3 / 2, SECOND * 5] {
        let api = LateApi::new(lag);
        let service = BearerAuthLayer::new(api.endpoint.credentials()).layer(api.service());
        // Cold: there is no token before it.
        service.clone().oneshot(get("/")).await.unwrap();
        advance(SECOND * 10).await;
        while service.clone().oneshot(get("/")).await.unwrap().status() != 200 {
            advance(SECOND / 10).await;
        }
        let cold = api.endpoint.token_requests();
        for tick in 0..36_000 {
            let response = service.clone().oneshot(get("/")).await.unwrap();
            assert_eq!(response.status(), 200, "tick {tick}");
            settle().await;
            advance(SECOND / 10).await;
        }
        // An hour of tokens that are refreshed after 7.5 to 8.5 minutes each.
        let refreshes = api.endpoint.token_requests() - cold;
        assert!((6..=8).contains(&refreshes), "{refreshes}");
    }
}

/// With one try for each request, the new token is tried once a second, by a request that could do no better.
///
/// Promise: R16
#[tokio::test(start_paused = true)]
async fn a_late_token_costs_requests_that_are_not_retried_one_rejection_a_second() {
    let api = LateApi::new(SECOND * 3 / 2);
    let layer = BearerAuthLayer::new(api.endpoint.credentials()).replay(NoReplay);
    let service = layer.layer(api.service());
    service.clone().oneshot(get("/")).await.unwrap();
    advance(SECOND * 10).await;
    while service.clone().oneshot(get("/")).await.unwrap().status() != 200 {
        settle().await;
        advance(SECOND / 10).await;
    }
    let cold = api.endpoint.token_requests();
    let mut rejected = 0;
    for _ in 0..30_000 {
        let response = service.clone().oneshot(get("/")).await.unwrap();
        rejected += usize::from(response.status() == 401);
        settle().await;
        advance(SECOND / 10).await;
    }
    let refreshes = api.endpoint.token_requests() - cold;
    assert!((5..=7).contains(&refreshes), "{refreshes}");
    assert!(rejected <= 2 * refreshes, "{rejected}");
}

/// A token that was refreshed just now: `t2` is in use, and `t1` was accepted before it.
struct Refreshed {
    endpoint: TokenEndpoint,
    cache: TokenCache,
    /// Accepts `t1`.
    api: Api,
    service: BearerAuth<ApiService>,
    first: Token,
    second: Token,
}

impl Refreshed {
    async fn new() -> Self {
        let endpoint = TokenEndpoint::new(|post| async move { token(&format!("t{post}"), 600) });
        let cache = TokenCache::new(endpoint.credentials());
        let api = Api::accepting(["t1"]);
        let service = BearerAuthLayer::from_cache(cache.clone()).layer(api.service());
        service.clone().oneshot(get("/")).await.unwrap();
        let first = cache.get().await.unwrap();
        advance(SECOND * 520).await;
        service.clone().oneshot(get("/")).await.unwrap();
        settle().await;
        assert_eq!(endpoint.token_requests(), 2);
        let second = cache.get().await.unwrap();
        Self {
            endpoint,
            cache,
            api,
            service,
            first,
            second,
        }
    }

    /// The status of a request.
    async fn status(&self) -> u16 {
        let response = self.service.clone().oneshot(get("/")).await.unwrap();
        settle().await;
        response.status().as_u16()
    }
}

/// The new token and the one before it are revoked together, before any request used the new one.
///
/// Promise: R16
#[tokio::test(start_paused = true)]
async fn the_token_before_is_no_help_where_it_was_revoked_too() {
    let it = Refreshed::new().await;
    it.api.accept_only(["t3"]);
    assert_eq!(it.status().await, 401);
    advance(SECOND * 6 / 5).await;
    assert_eq!(it.status().await, 200);
    assert_eq!(it.api.tokens(), ["t1", "t1", "t2", "t1", "t2", "t3"]);
}

/// Half a minute later the API knows the new token: its rejection is a revocation, and the token before it is not tried.
///
/// Promise: R1
#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_new_any_more_is_replaced_at_its_first_rejection() {
    let it = Refreshed::new().await;
    it.api.accept_only(["t3"]);
    advance(SECOND * 30).await;
    assert_eq!(it.status().await, 200);
    assert_eq!(it.api.tokens(), ["t1", "t1", "t2", "t3"]);
}

/// Promise: R16, F17
#[tokio::test(start_paused = true)]
async fn the_token_before_is_not_used_again_once_it_was_invalidated() {
    let it = Refreshed::new().await;
    it.cache.invalidate(&it.first);
    assert_eq!(it.status().await, 401);
    assert_eq!(it.api.tokens(), ["t1", "t1", "t2", "t3"]);
}

/// Promise: R16, F17
#[tokio::test(start_paused = true)]
async fn a_new_token_that_was_invalidated_is_not_tried_again() {
    let it = Refreshed::new().await;
    assert_eq!(it.status().await, 200);
    it.cache.invalidate(&it.second);
    // The token before it is used on, and is due for refresh again.
    advance(SECOND * 6 / 5).await;
    assert_eq!(it.status().await, 200);
    assert_eq!(it.endpoint.token_requests(), 3);
    it.api.accept_only(["t3"]);
    assert_eq!(it.status().await, 200);
    assert_eq!(it.api.tokens(), ["t1", "t1", "t2", "t1", "t1", "t3"]);
}

/// Promise: R16, F17
#[tokio::test(start_paused = true)]
async fn the_new_token_takes_the_place_of_the_one_before_when_that_is_invalidated() {
    let it = Refreshed::new().await;
    assert_eq!(it.status().await, 200);
    it.cache.invalidate(&it.first);
    it.api.accept_only(["t2"]);
    assert_eq!(it.status().await, 200);
    assert_eq!(it.api.tokens(), ["t1", "t1", "t2", "t1", "t2"]);
    assert_eq!(it.endpoint.token_requests(), 2);
}

/// Promise: R19
#[tokio::test(start_paused = true)]
async fn a_request_that_is_sent_once_is_not_spent_on_a_token_that_is_being_replaced() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t2"]);
    let layer = BearerAuthLayer::new(endpoint.credentials()).replay(NoReplay);
    let service = layer.layer(api.service());

    let rejected = service.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(rejected.status(), 401);
    // Until its own time is over, if it has one.
    let mut hasty = get("/");
    hasty.extensions_mut().insert(Deadline::after(SECOND / 10));
    service.clone().oneshot(hasty).await.unwrap_err();
    sleep(SECOND / 10).await;
    let healed = service.oneshot(get("/")).await.unwrap();
    assert_eq!(healed.status(), 200);
    assert_eq!(api.tokens(), ["t1", "t2"]);
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: R19
#[tokio::test(start_paused = true)]
async fn a_request_that_is_sent_once_is_sent_all_the_same_where_no_other_token_comes() {
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 3600),
            _ => {
                sleep(SECOND).await;
                answer(400, "")
            }
        }
    });
    let api = Api::default();
    let layer = BearerAuthLayer::new(endpoint.credentials()).replay(NoReplay);
    let service = layer.layer(api.service());
    for _ in 0..3 {
        let rejected = service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(rejected.status(), 401);
    }
    assert_eq!(api.tokens(), ["t1"; 3]);
    assert_eq!(endpoint.token_requests(), 2);
}
