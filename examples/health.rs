//! A service that tells a load balancer and its operators the state of its token.
//!
//! ```sh
//! cargo run --example health
//! ```
//! `/ready` is two lines: see [`ready`]. The example calls it before and after a token request, with the right and a wrong
//! secret.

use std::error::Error as StdError;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Request, StatusCode},
    routing::get,
};
use http_body_util::BodyExt;
use tower::{BoxError, ServiceExt};
use tower_bearer::{
    ClientCredentials, TokenCache, cache::TokenState, test_util::AuthorizationServer,
};

/// Ready with a usable token, or if no token request has failed.
async fn ready(State(cache): State<TokenCache>) -> StatusCode {
    let state = cache.state();
    match state.is_usable() || state.error().is_none() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The state for people.
async fn health(State(cache): State<TokenCache>) -> String {
    let state = cache.state();
    let token = match state.token() {
        TokenState::Absent => "there is no token yet".to_owned(),
        TokenState::Fresh { usable_for } => format!("the token is valid for {usable_for:.0?}"),
        TokenState::Stale { usable_for } => {
            format!("the token is valid for {usable_for:.0?}, and due for refresh")
        }
        TokenState::Expired => "the token has expired".to_owned(),
        _ => "the token is in another state".to_owned(),
    };
    match state.error() {
        None => token,
        Some(error) => match error.source() {
            Some(cause) => format!("{token}; {error}, because {cause}"),
            None => format!("{token}; {error}"),
        },
    }
}

fn routes(cache: TokenCache) -> Router {
    Router::new()
        .route("/ready", get(ready))
        .route("/health", get(health))
        .with_state(cache)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = AuthorizationServer::new();
    let auth = server.serve().await?;
    for secret in ["secret", "not the secret"] {
        let source = ClientCredentials::builder(auth.url(), "client", secret).build()?;
        let cache = TokenCache::new(source);
        println!("before the first token request: {}", ask(&cache).await?);

        let mut changes = cache.changes();
        // A service starts without a token too: `/ready` says so, and the next call tries again.
        let warmed = cache.get().await;
        println!(
            "changed: usable is now {}",
            changes.next().await.is_usable()
        );
        println!(
            "after {}: {}\n",
            if warmed.is_ok() { "it" } else { "it failed" },
            ask(&cache).await?
        );
    }
    Ok(())
}

/// What a load balancer and a person see.
async fn ask(cache: &TokenCache) -> Result<String, BoxError> {
    let routes = routes(cache.clone());
    let ready = routes
        .clone()
        .oneshot(Request::get("/ready").body(Body::empty())?)
        .await?;
    let health = routes
        .oneshot(Request::get("/health").body(Body::empty())?)
        .await?;
    let health = health.into_body().collect().await?.to_bytes();
    Ok(format!(
        "/ready is {}; {}",
        ready.status(),
        String::from_utf8_lossy(&health)
    ))
}
