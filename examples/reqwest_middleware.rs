//! The layer as a middleware of reqwest-middleware, between its retries and its tracing.
//!
//! ```sh
//! cargo run --example reqwest_middleware
//! ```
//! It calls an authorization server and an API that run in this process and count what reaches them.

mod embedded;

use http::{StatusCode, header::CONTENT_TYPE};
use reqwest::Client;
use reqwest_middleware::ClientBuilder;
use reqwest_retry::{RetryTransientMiddleware, policies::ExponentialBackoff};
use reqwest_tracing::TracingMiddleware;
use tokio::task::JoinSet;
use tower::BoxError;
use tower_bearer::{BearerAuthLayer, ClientCredentials, extension::NoToken, select::Origins};

use self::embedded::{Gateway, Hydra, Registration, TENANT};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let hydra = Hydra::start(Registration::default()).await?;
    let gateway = Gateway::start(&hydra).await?;
    let known = hydra.registration();
    let tenant = format!("{}/ecommerce/public/{TENANT}", gateway.origin());

    let id = &known.client_id;
    let source = ClientCredentials::builder(hydra.token_url(), id, &*known.client_secret)
        .scopes(["ecommerce", "credits"])
        .build_with_reqwest(Client::builder())?;
    // The token goes to this origin only.
    let bearer = BearerAuthLayer::new(source).select(Origins::new([gateway.origin()])?);
    let backoff = ExponentialBackoff::builder().build_with_max_retries(3);
    let api = ClientBuilder::new(Client::new())
        // Before the layer, so that each attempt has the current token.
        .with(RetryTransientMiddleware::new_with_policy(backoff))
        .with(bearer)
        // After it, so that each try has a span of its own.
        .with(TracingMiddleware::default())
        .build();

    let mut calls = JoinSet::new();
    for number in 0..20 {
        let call = api.get(format!("{tenant}/cart/{number}")).send();
        calls.spawn(async { Ok::<_, BoxError>(call.await?.text().await?) });
    }
    let ok = calls.join_all().await.iter().flatten().count();
    println!("20 calls at once, without a token yet: {ok} ok");
    expect((hydra.token_requests(), gateway.answered()), (1, 20))?;

    hydra.revoke_all();
    let call = api
        .post(format!("{tenant}/orders/7/credits/apply"))
        .header(CONTENT_TYPE, "application/json")
        .body(r#"{"amount": 63}"#);
    let status = call.send().await?.status();
    let rejected = gateway.answered_with(StatusCode::UNAUTHORIZED);
    println!("another one, with a revoked token: {status}, after {rejected} rejection");
    expect((hydra.token_requests(), gateway.answered()), (2, 22))?;

    let call = api.get(format!("{tenant}/cart")).with_extension(NoToken);
    let status = call.send().await?.status();
    println!("a call with `NoToken`: {status}");
    expect((hydra.token_requests(), gateway.answered()), (2, 23))
}

/// Prints what the servers counted so far, and fails if it is wrong.
fn expect(seen: (u64, u64), expected: (u64, u64)) -> Result<(), BoxError> {
    println!("  token requests: {}, calls to the API: {}", seen.0, seen.1);
    match seen == expected {
        true => Ok(()),
        false => Err(format!("should be {expected:?}").into()),
    }
}
