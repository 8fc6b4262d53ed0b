//! Sources of tokens: tower's own layers around one, a closure, a fixed token.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower::{
    Layer, ServiceBuilder, ServiceExt,
    retry::{Policy, RetryLayer},
    service_fn,
    timeout::error::Elapsed,
};
use tower_bearer::{
    BearerAuthLayer, Error, ErrorKind, Token, TokenCache,
    token::{FixedToken, Reason, TokenRequest},
};

use self::support::{Api, TokenEndpoint, answer, get, token};

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
