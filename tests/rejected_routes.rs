//! R15 and R17: failing routes beside healthy ones, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::{BearerAuthLayer, ErrorKind, TokenCache, replay::NoReplay, token::FixedToken};

use self::support::{Body, TokenEndpoint, answer, bearer, get, settle};

const SECOND: Duration = Duration::from_secs(1);

/// An API that knows the tokens from one number on, and whose routes below `/failing` reject all of them.
#[derive(Clone, Default)]
struct Site {
    valid_from: Arc<AtomicUsize>,
}

impl Site {
    /// Revokes all tokens that were requested so far.
    fn revoke(&self, endpoint: &TokenEndpoint) {
        let next = endpoint.token_requests() + 1;
        self.valid_from.store(next, Ordering::SeqCst);
    }

    fn service(
        &self,
    ) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static {
        let this = self.clone();
        service_fn(move |request: Request<Body>| {
            let token = bearer(request.headers()).unwrap();
            let number: usize = token.trim_start_matches('t').parse().unwrap();
            let is_good = number >= this.valid_from.load(Ordering::SeqCst)
                && !request.uri().path().starts_with("/failing");
            async move { Ok(answer(if is_good { 200 } else { 401 }, "")) }
        })
    }
}

/// Whoever chooses the paths chooses what is rejected: five slugs, or others each time.
///
/// Promise: R15, R17
#[tokio::test(start_paused = true)]
async fn however_many_routes_fail_a_revocation_heals_the_healthy_ones_at_once() {
    for slugs in [5, usize::MAX] {
        let endpoint = TokenEndpoint::healthy(Duration::ZERO);
        let site = Site::default();
        let service = BearerAuthLayer::new(endpoint.credentials()).layer(site.service());
        for tick in 0..6000 {
            // Every 97 s and a bit, once the failing routes had ten seconds for their worst.
            if tick % 971 == 100 {
                site.revoke(&endpoint);
            }
            for failing in 0..5 {
                let path = format!("/failing/{}", letters((5 * tick + failing) % slugs));
                let failing = service.clone().oneshot(get(&path)).await.unwrap();
                assert_eq!(failing.status(), 401);
            }
            let healthy = service.clone().oneshot(get("/carts")).await.unwrap();
            assert_eq!(healthy.status(), 200, "{slugs} slugs, tick {tick}");
            advance(SECOND / 10).await;
        }
        // Ten minutes of them, and the cold one.
        let token_requests = endpoint.token_requests();
        assert!(token_requests <= 30 + 60 + 1, "{token_requests}");
    }
}

/// Promise: R15, R17
#[tokio::test(start_paused = true)]
async fn however_many_routes_fail_a_revocation_heals_where_nothing_is_retried() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let site = Site::default();
    let layer = BearerAuthLayer::new(endpoint.credentials()).replay(NoReplay);
    let service = layer.layer(site.service());
    let mut rejected = 0;
    for tick in 0..6000 {
        if tick % 971 == 100 {
            site.revoke(&endpoint);
            rejected = 0;
        }
        for failing in 0..5 {
            let path = format!("/failing/{}", letters(5 * tick + failing));
            service.clone().oneshot(get(&path)).await.unwrap();
            settle().await;
        }
        let healthy = service.clone().oneshot(get("/carts")).await.unwrap();
        settle().await;
        rejected += usize::from(healthy.status() == 401);
        assert!(rejected <= 1, "tick {tick}");
        advance(SECOND / 10).await;
    }
    let token_requests = endpoint.token_requests();
    assert!(token_requests <= 30 + 60 + 1, "{token_requests}");
}

/// A route that never accepted a token has no claim to what is kept for those that did.
///
/// Promise: R17
#[tokio::test(start_paused = true)]
async fn the_last_third_of_the_allowance_is_for_routes_that_accepted_a_token() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let cache = TokenCache::builder(endpoint.credentials())
        .rejection_allowance(3, SECOND * 1000)
        .build()
        .unwrap();
    let site = Site::default();
    let service = BearerAuthLayer::from_cache(cache).layer(site.service());
    let status = async |path: &str| service.clone().oneshot(get(path)).await.unwrap().status();
    for path in ["/failing/a", "/failing/b", "/failing/c"] {
        assert_eq!(status(path).await, 401);
    }
    assert_eq!(endpoint.token_requests(), 1 + 2);
    assert_eq!(status("/carts").await, 200);

    site.revoke(&endpoint);
    assert_eq!(status("/orders").await, 401, "never seen to work");
    assert_eq!(status("/carts").await, 200);
    assert_eq!(endpoint.token_requests(), 1 + 3);
    site.revoke(&endpoint);
    assert_eq!(status("/carts").await, 401, "all of it is spent");
    // An interval later there is one more.
    advance(SECOND * 1000).await;
    assert_eq!(status("/carts").await, 200);
    assert_eq!(endpoint.token_requests(), 1 + 4);
}

#[test]
fn a_number_beyond_the_range_of_clocks_is_an_error_when_the_cache_is_built() {
    let builder = || TokenCache::builder(FixedToken::new("t").unwrap());
    let year = SECOND * 367 * 86_400;
    for builder in [
        builder().rejection_allowance(1, Duration::MAX),
        builder().rejection_allowance(u32::MAX, SECOND),
        builder().token_request_timeout(Duration::MAX),
        builder().rejection_cool_down(SECOND, year),
        builder().transient_backoff(SECOND, year),
        builder().permanent_backoff(SECOND, year),
        builder().longest_retry_after(year),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
    }
    // What is capped instead.
    let capped = builder()
        .default_lifetime(Duration::MAX)
        .hard_margin(Duration::MAX, 0.1);
    capped.build().unwrap();
}

/// A name of letters alone for each number.
fn letters(mut number: usize) -> String {
    let mut name = String::new();
    loop {
        name.push(char::from(b'a' + u8::try_from(number % 26).unwrap()));
        number /= 26;
        if number == 0 {
            return name;
        }
    }
}
