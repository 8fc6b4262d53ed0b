//! A token's last stretch, and servers that repeat a token until it ends: L13, L14 and L17, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::{BearerAuthLayer, ErrorKind, Token, TokenCache, cache::TokenState};

use self::support::{Api, Body, TokenEndpoint, answer, bearer, get, lock, settle, token};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Tokens of 300 s have their hard margin from 270 s on. Nobody has asked since the beginning.
async fn in_the_hard_margin(endpoint: &TokenEndpoint) -> TokenCache {
    let cache = TokenCache::new(endpoint.credentials());
    cache.get().await.unwrap();
    advance(SECOND * 275).await;
    cache
}

/// Promise: L13
#[tokio::test(start_paused = true)]
async fn in_the_hard_margin_a_request_waits_for_the_new_token() {
    let endpoint = TokenEndpoint::new(|post| async move {
        sleep(SECOND).await;
        token(&format!("t{post}"), 300)
    });
    let cache = in_the_hard_margin(&endpoint).await;
    let before = Instant::now();
    assert_eq!(text(&cache.get().await.unwrap()), "Bearer t2");
    assert_eq!(before.elapsed(), SECOND);
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: L13, L3, F15
#[tokio::test(start_paused = true)]
async fn in_the_hard_margin_a_failed_token_request_leaves_the_token_in_use_until_its_end() {
    let endpoint = TokenEndpoint::new(|post| async move {
        if post > 1 {
            sleep(SECOND).await;
            return answer(503, "");
        }
        token("t1", 300)
    });
    let api = Api::accepting(["t1"]);
    let cache = in_the_hard_margin(&endpoint).await;
    let service = BearerAuthLayer::from_cache(cache.clone()).layer(api.service());
    let born = Instant::now() - SECOND * 275;

    let before = Instant::now();
    assert_eq!(text(&cache.get().await.unwrap()), "Bearer t1");
    assert_eq!(before.elapsed(), SECOND);
    assert_eq!(
        endpoint.token_requests(),
        2,
        "there is a token to send: it is not tried twice"
    );
    // Held off by the backoff, nobody waits.
    let before = Instant::now();
    for _ in 0..100 {
        assert_eq!(text(&cache.get().await.unwrap()), "Bearer t1");
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(endpoint.token_requests(), 2);

    while born.elapsed() < SECOND * 297 {
        let response = service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(response.status(), 200);
        sleep(SECOND / 10).await;
    }
    advance(SECOND * 300 - born.elapsed() - MILLISECOND).await;
    let last = service.clone().oneshot(get("/"));
    let before_the_end = api.calls().len();
    let _ = last.await;
    advance(MILLISECOND).await;
    let sent = api.calls().len();
    assert!(sent <= before_the_end + 1);
    for _ in 0..100 {
        service.clone().oneshot(get("/")).await.unwrap_err();
        sleep(SECOND / 10).await;
    }
    assert_eq!(api.calls().len(), sent, "it has ended");
    assert!(
        endpoint.token_requests() < 20,
        "{}",
        endpoint.token_requests()
    );
}

/// Promise: L13
#[tokio::test(start_paused = true)]
async fn in_the_hard_margin_a_permanent_failure_leaves_the_token_in_use_as_well() {
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 300),
            _ => answer(401, r#"{"error":"invalid_client"}"#),
        }
    });
    let cache = in_the_hard_margin(&endpoint).await;
    for _ in 0..24 {
        assert_eq!(text(&cache.get().await.unwrap()), "Bearer t1");
        sleep(SECOND).await;
    }
    sleep(SECOND).await;
    let error = cache.get().await.unwrap_err();
    assert_eq!(error.oauth_code(), Some("invalid_client"));
}

/// Promise: L13, F7
#[tokio::test(start_paused = true)]
async fn in_the_hard_margin_a_hanging_token_request_ends_with_the_token_that_is_there() {
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 300),
            _ => pending().await,
        }
    });
    let cache = in_the_hard_margin(&endpoint).await;
    let before = Instant::now();
    assert_eq!(text(&cache.get().await.unwrap()), "Bearer t1");
    assert_eq!(before.elapsed(), SECOND * 10);

    // The next one hangs past the end.
    sleep(SECOND * 10).await;
    let error = cache.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

/// Promise: L13
#[tokio::test(start_paused = true)]
async fn in_the_hard_margin_the_same_token_again_is_used_and_not_waited_for_again() {
    let born = Instant::now();
    let endpoint = TokenEndpoint::new(move |_| async move {
        sleep(SECOND / 10).await;
        token("t", 300 - born.elapsed().as_secs())
    });
    let cache = in_the_hard_margin(&endpoint).await;
    cache.get().await.unwrap();
    assert_eq!(endpoint.token_requests(), 2);
    while born.elapsed() < SECOND * 299 {
        let before = Instant::now();
        assert_eq!(text(&cache.get().await.unwrap()), "Bearer t");
        assert_eq!(before.elapsed(), Duration::ZERO);
        sleep(SECOND / 20).await;
    }
    // 24 s, of which a part is let go by each time, a second at the least.
    assert!(
        (3..=8).contains(&endpoint.token_requests()),
        "{}",
        endpoint.token_requests()
    );
}

/// A server like this has one token for a client at a time, gives it to whoever asks until it ends, and says in whole seconds
/// what is left of it.
#[derive(Clone)]
struct Repeats {
    lifetime: Duration,
    number: Arc<Mutex<usize>>,
    ends: Arc<Mutex<Instant>>,
}

impl Repeats {
    fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            number: Arc::default(),
            ends: Arc::new(Mutex::new(Instant::now())),
        }
    }

    fn endpoint(&self, way: Duration) -> TokenEndpoint {
        let this = self.clone();
        TokenEndpoint::new(move |_| {
            let this = this.clone();
            async move {
                sleep(way).await;
                let (number, left) = this.give();
                sleep(way).await;
                token(&format!("t{number}"), left.as_secs())
            }
        })
    }

    fn give(&self) -> (usize, Duration) {
        let (mut number, mut ends) = (lock(&self.number), lock(&self.ends));
        let now = Instant::now();
        if now >= *ends {
            *number += 1;
            *ends = now + self.lifetime;
        }
        (*number, *ends - now)
    }

    fn accepts(&self, token: &str) -> bool {
        let number = *lock(&self.number);
        token == format!("t{number}") && Instant::now() < *lock(&self.ends)
    }
}

/// Promise: L14, L9
#[tokio::test(start_paused = true)]
async fn a_hundred_lives_of_a_five_second_token_that_is_repeated_fail_no_request() {
    live_through(SECOND * 5, 100, MILLISECOND * 47, 4).await;
}

/// Promise: L14, L9
#[tokio::test(start_paused = true)]
async fn a_hundred_lives_of_a_minute_of_a_token_that_is_repeated_fail_no_request() {
    live_through(SECOND * 60, 100, MILLISECOND * 331, 6).await;
}

/// Promise: L14, L9
#[tokio::test(start_paused = true)]
async fn a_hundred_lives_of_half_an_hour_of_a_token_that_is_repeated_fail_no_request() {
    live_through(SECOND * 1800, 100, MILLISECOND * 15_919, 6).await;
}

/// Promise: L14, L9
#[tokio::test(start_paused = true)]
async fn a_token_that_is_repeated_is_not_asked_for_in_a_loop_however_many_requests_there_are() {
    live_through(SECOND * 5, 2, MILLISECOND, 6).await;
    live_through(SECOND * 60, 1, MILLISECOND * 11, 8).await;
}

/// Sends a request each time that so much time is over. None fails, and none is answered by a 401.
///
/// `most` token requests make up a life: one when it begins, one when it is due, and from then on one each time that four
/// fifths of what is left are over, a second at the least; and in the last second, of which the server says that none is left,
/// two more.
async fn live_through(lifetime: Duration, lives: u32, every: Duration, most: usize) {
    for way in [Duration::ZERO, MILLISECOND * 40] {
        let server = Repeats::new(lifetime);
        let endpoint = server.endpoint(way);
        let api = {
            let server = server.clone();
            service_fn(move |request: Request<Body>| {
                let accepts = server.accepts(&bearer(request.headers()).unwrap());
                async move { Ok::<_, Infallible>(answer(if accepts { 200 } else { 401 }, "")) }
            })
        };
        let service = BearerAuthLayer::new(endpoint.credentials()).layer(api);
        let begun = Instant::now();
        while begun.elapsed() < lifetime * lives {
            let response: Result<Response<Body>, _> = service.clone().oneshot(get("/")).await;
            match response {
                Ok(response) if response.status() == 200 => {}
                other => panic!("after {:?}: {other:?}", begun.elapsed()),
            }
            sleep(every).await;
        }
        let made = endpoint.token_requests();
        let lived = *lock(&server.number);
        assert!(lived >= lives as usize * 9 / 10, "{lived}");
        assert!(made <= (lived + 1) * most, "{made} in {lived} lives");
    }
}

/// As several servers mean it: for ever, or unknown.
///
/// Promise: L17
#[tokio::test(start_paused = true)]
async fn a_token_that_is_good_for_nothing_is_taken_for_one_of_unknown_life() {
    for expires_in in ["0", "-1", "-3600", "\"0\"", "0.0"] {
        for before in [None, Some(300)] {
            let endpoint = TokenEndpoint::new(move |post| async move {
                match (post, before) {
                    (1, Some(lifetime)) => token("before", lifetime),
                    _ => answer(
                        200,
                        &format!(r#"{{"access_token":"t{post}","expires_in":{expires_in}}}"#),
                    ),
                }
            });
            let cache = TokenCache::builder(endpoint.credentials())
                .refresh_at(0.75, 0.0)
                .build()
                .unwrap();
            if before.is_some() {
                cache.get().await.unwrap();
            }
            let first = usize::from(before.is_some()) + 1;
            let got = cache.refresh().await.unwrap();
            assert_eq!(text(&got), format!("Bearer t{first}"), "{expires_in}");
            let TokenState::Fresh { usable_for } = cache.state().token() else {
                panic!("{expires_in}: {:?}", cache.state());
            };
            assert!(
                usable_for > SECOND * 299 && usable_for <= SECOND * 300,
                "{usable_for:?}"
            );

            advance(SECOND * 224).await;
            cache.get().await.unwrap();
            settle().await;
            assert_eq!(endpoint.token_requests(), first, "{expires_in}");
            advance(SECOND * 2).await;
            cache.get().await.unwrap();
            settle().await;
            assert_eq!(endpoint.token_requests(), first + 1, "{expires_in}");
        }
    }
}

/// Promise: L17, R1
#[tokio::test(start_paused = true)]
async fn a_401_heals_a_token_of_unknown_life() {
    let endpoint = TokenEndpoint::new(|post| async move {
        answer(
            200,
            &format!(r#"{{"access_token":"t{post}","expires_in":0}}"#),
        )
    });
    let api = Api::accepting(["t1"]);
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    service.clone().oneshot(get("/")).await.unwrap();
    advance(SECOND * 10).await;
    api.accept_only(["t2"]);
    for _ in 0..100 {
        let response = service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(endpoint.token_requests(), 2);
    assert_eq!(api.tokens()[..3], ["t1", "t1", "t2"]);
}

/// Promise: R1, L1
#[tokio::test(start_paused = true)]
async fn a_401_that_comes_during_a_refresh_joins_it() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    cache.get().await.unwrap();
    advance(SECOND * 3100).await;
    let api = Api::accepting(["t2"]);
    let service = BearerAuthLayer::from_cache(cache.clone()).layer(api.service());

    let mut requests: Vec<_> = (0..10)
        .map(|_| task::spawn(service.clone().oneshot(get("/"))))
        .collect();
    for request in &mut requests {
        assert_pending!(request.poll());
    }
    settle().await;
    assert_eq!((endpoint.token_requests(), api.calls().len()), (2, 10));
    for request in requests {
        assert_eq!(request.await.unwrap().status(), 200);
    }
    assert_eq!(endpoint.token_requests(), 2);
    assert_eq!(api.calls().len(), 20);
}

fn text(token: &Token) -> &str {
    token.authorization().to_str().unwrap()
}
