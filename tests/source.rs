//! Sources of tokens: tower's own layers around one, a closure, a fixed token.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{HeaderValue, Response, header::WWW_AUTHENTICATE};
use tokio::time::{Instant, sleep};
use tower::{
    BoxError, Layer, ServiceBuilder, ServiceExt,
    limit::ConcurrencyLimit,
    retry::{Policy, RetryLayer},
    service_fn,
    timeout::error::Elapsed,
};
use tower_bearer::{
    BearerAuthLayer, Error, ErrorKind, Token, TokenCache,
    token::{FixedToken, Lookup, Reason, TokenRequest},
};

use self::support::{Api, Body, TokenEndpoint, answer, get, lock, token};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn towers_timeout_around_a_source_ends_a_token_request() {
    let endpoint = TokenEndpoint::new(|_| pending());
    let source = ServiceBuilder::new()
        .timeout(SECOND * 3)
        .service(endpoint.credentials());
    let cache = TokenCache::new(source);
    let started = Instant::now();

    let error = cache.get().await.unwrap_err();

    assert_eq!(started.elapsed(), SECOND * 3);
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(error.is_transient());
    let cause = std::error::Error::source(&error).unwrap();
    assert!(cause.is::<Elapsed>());
    assert_eq!(endpoint.token_requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn towers_rate_limit_around_a_source_caps_its_token_requests() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let source = ServiceBuilder::new()
        .rate_limit(2, SECOND * 60)
        .service(endpoint.credentials());
    let cache = TokenCache::builder(source)
        .token_request_timeout(SECOND * 300)
        .build()
        .unwrap();
    let started = Instant::now();

    for _ in 0..2 {
        cache.refresh().await.unwrap();
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    cache.refresh().await.unwrap();
    assert!(started.elapsed() >= SECOND * 60);
    assert_eq!(endpoint.token_requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn towers_retry_around_a_source_tries_again_within_one_flight() {
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 | 2 => answer(503, ""),
            _ => token("t3", 3600),
        }
    });
    let source = ServiceBuilder::new()
        .layer(RetryLayer::new(WhileTransient { left: 3 }))
        .service(endpoint.credentials());
    let cache = TokenCache::new(source);

    assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t3");
    assert_eq!(endpoint.token_requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn kind_and_class_of_an_error_survive_the_layers_around_its_source() {
    let endpoint = TokenEndpoint::new(|_| async { answer(400, r#"{"error":"invalid_scope"}"#) });
    let source = ServiceBuilder::new()
        .buffer(1)
        .timeout(SECOND)
        .service(endpoint.credentials());
    let error = TokenCache::new(source).get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(!error.is_transient());
    assert_eq!(error.oauth_code(), Some("invalid_scope"));
}

#[tokio::test(start_paused = true)]
async fn a_closure_is_a_source() {
    let source = service_fn(|request: TokenRequest| async move {
        assert_eq!(request.reason(), Reason::Cold);
        Token::new("from-a-closure")
    });
    let token = TokenCache::new(source).get().await.unwrap();
    assert_eq!(bearer(&token), "Bearer from-a-closure");
}

#[tokio::test(start_paused = true)]
async fn a_source_is_told_which_token_it_replaces() {
    let asked: Arc<Mutex<Vec<_>>> = Arc::default();
    let told = Arc::clone(&asked);
    let cache = TokenCache::new(service_fn(move |request: TokenRequest| {
        let mut told = told.lock().unwrap();
        let text = |token: Option<&Token>| token.map(|token| bearer(token).to_owned());
        told.push((
            request.reason(),
            text(request.current_token()),
            text(request.rejected_token()),
        ));
        let token = Token::new(format!("t{}", told.len()));
        async move { Ok::<_, Error>(token?.with_lifetime(SECOND * 3600)) }
    }));
    let layer = BearerAuthLayer::from_cache(cache.clone());
    let api = Api::accepting(["t2"]);

    cache.get().await.unwrap();
    cache.refresh().await.unwrap();
    for accepted in ["t2", "t3"] {
        api.accept_only([accepted]);
        let service = layer.layer(api.service());
        assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 200);
    }

    let t = |text: &str| Some(format!("Bearer {text}"));
    let expected = [
        (Reason::Cold, None, None),
        (Reason::Refresh, t("t1"), None),
        (Reason::Rejected, t("t2"), t("t2")),
    ];
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_fixed_token_is_a_source() {
    let token = Token::new("fixed").unwrap();
    let cache = TokenCache::new(FixedToken::from(token));
    for _ in 0..3 {
        assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer fixed");
        sleep(SECOND * 3600).await;
    }
}

/// Promise: L11
#[tokio::test(start_paused = true)]
async fn a_source_says_whether_its_failure_passes_how_long_to_wait_and_why() {
    type Fail = fn() -> Error;
    let disk = || std::io::Error::other("the disk is gone");
    let cases: [(Fail, bool, u64, u64); 4] = [
        (|| Error::transient("busy"), true, 0, 1),
        (|| Error::permanent("no role"), false, 3, 30),
        (
            || Error::transient("sealed").with_retry_after(SECOND * 20),
            true,
            20,
            20,
        ),
        (
            || Error::permanent("gone").with_retry_after(Duration::MAX),
            false,
            300,
            300,
        ),
    ];
    for (fail, is_transient, least, most) in cases {
        let source = service_fn(move |_: TokenRequest| async move {
            Err::<Token, _>(fail().with_source(disk()))
        });
        let cache = TokenCache::new(source);

        let error = cache.get().await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Source);
        assert_eq!(error.is_transient(), is_transient);
        assert_eq!(error.to_string(), fail().to_string());
        let cause = std::error::Error::source(&error).unwrap();
        assert_eq!(cause.to_string(), "the disk is gone");
        let left = cache.state().error().unwrap().retry_after().unwrap();
        let least = Duration::from_secs(least) * 9 / 10;
        assert!(
            left >= least && left <= SECOND * u32::try_from(most).unwrap(),
            "{left:?}"
        );
    }
}

/// An error that is shared already keeps what it was.
#[test]
fn what_is_added_to_an_error_is_not_added_to_its_clones() {
    let error = Error::transient("busy");
    let later = error.clone().with_retry_after(SECOND);
    assert_eq!(
        (error.retry_after(), later.retry_after()),
        (None, Some(SECOND))
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_is_told_why_it_is_asked_with_which_token_and_what_the_api_said_of_it() {
    let asked = Arc::<Mutex<Vec<TokenRequest>>>::default();
    let source = {
        let asked = Arc::clone(&asked);
        service_fn(move |request: TokenRequest| {
            let mut asked = lock(&asked);
            asked.push(request);
            let token = Token::new(format!("t{}", asked.len()));
            async { Ok::<_, Error>(token?.with_lifetime(SECOND * 3600)) }
        })
    };
    let api = service_fn(|request: http::Request<Body>| async move {
        // An accepted token is on trial no more, and a rejection of it is one.
        let is_good =
            request.uri().path() == "/warm" || request.headers()["authorization"] == "Bearer t3";
        let mut response = answer(if is_good { 200 } else { 401 }, "");
        for challenge in ["Basic realm=r", "Bearer error=invalid_token"] {
            let value = HeaderValue::from_static(challenge);
            response.headers_mut().append(WWW_AUTHENTICATE, value);
        }
        Ok::<Response<Body>, Error>(response)
    });
    let cache = TokenCache::new(source);
    let service = BearerAuthLayer::from_cache(cache.clone()).layer(api);

    cache.get().await.unwrap();
    cache.refresh().await.unwrap();
    service.clone().oneshot(get("/warm")).await.unwrap();
    let response = service.oneshot(get("/")).await.unwrap();
    assert_eq!(response.status(), 200);

    let asked = lock(&asked);
    let [cold, refresh, rejected] = &asked[..] else {
        panic!("{} token requests", asked.len());
    };
    assert_eq!(cold.reason(), Reason::Cold);
    assert!(cold.current_token().is_none());
    assert_eq!(refresh.reason(), Reason::Refresh);
    assert_eq!(bearer(refresh.current_token().unwrap()), "Bearer t1");
    assert!(refresh.rejected_token().is_none() && refresh.challenges().is_empty());
    assert_eq!(rejected.reason(), Reason::Rejected);
    assert_eq!(bearer(rejected.rejected_token().unwrap()), "Bearer t2");
    assert_eq!(bearer(rejected.current_token().unwrap()), "Bearer t2");
    assert_eq!(
        rejected.challenges(),
        ["Basic realm=r", "Bearer error=invalid_token"]
    );
}

#[test]
fn a_source_is_told_a_bounded_part_of_what_the_api_said() {
    let request = |sizes: &[usize]| {
        let values = sizes.iter().map(|size| "c".repeat(*size));
        let values = values.map(|value| HeaderValue::try_from(value).unwrap());
        let request = TokenRequest::new(Reason::Rejected).with_challenges(values);
        request.challenges().len()
    };
    assert_eq!(request(&[8192]), 1);
    assert_eq!(request(&[8193]), 0);
    assert_eq!(request(&[4096, 4096, 1]), 2);
    assert_eq!(request(&[0; 17]), 16);
}

#[test]
fn a_token_request_shows_neither_its_token_nor_its_challenges() {
    let request = TokenRequest::new(Reason::Rejected)
        .with_current_token(Token::new("ory_at_4jSH").unwrap())
        .with_challenges([HeaderValue::from_static("Bearer realm=ory_at_4jSH")]);
    let shown = format!("{request:?}");
    assert!(!shown.contains("4jSH"), "{shown}");
}

/// A service that limits its calls panics if it is called before it is ready.
#[tokio::test(start_paused = true)]
async fn a_source_that_is_looked_up_is_made_ready_before_it_is_called() {
    let source = Lookup::new(|| async {
        let source = FixedToken::new("looked-up")?;
        Ok::<_, BoxError>(ConcurrencyLimit::new(source, 1))
    });
    let token = TokenCache::new(source).get().await.unwrap();
    assert_eq!(bearer(&token), "Bearer looked-up");
}

#[derive(Clone)]
struct WhileTransient {
    left: usize,
}

impl Policy<TokenRequest, Token, Error> for WhileTransient {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut TokenRequest,
        result: &mut Result<Token, Error>,
    ) -> Option<Self::Future> {
        let again = self.left > 0 && result.as_ref().is_err_and(Error::is_transient);
        self.left = self.left.saturating_sub(1);
        again.then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &TokenRequest) -> Option<TokenRequest> {
        Some(request.clone())
    }
}

fn bearer(token: &Token) -> &str {
    token.authorization().to_str().unwrap()
}
