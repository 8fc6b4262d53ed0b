//! The layer around hyper-util's client, and a token that is revoked between two calls.
//!
//! ```sh
//! cargo run --example hyper
//! ```

mod embedded;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_bearer::{BearerAuth, BearerAuthLayer, ClientCredentials, Error, select::Origins};

use self::embedded::{Gateway, Hydra, Registration, TENANT};

type Api = BearerAuth<Client<HttpConnector, Full<Bytes>>, Origins>;

fn connect(hydra: &Hydra, gateway: &Gateway) -> Result<Api, Error> {
    let known = hydra.registration();
    let source =
        ClientCredentials::builder(hydra.token_url(), &known.client_id, &known.client_secret)
            .scopes(["ecommerce"])
            .build()?;
    Ok(ServiceBuilder::new()
        .layer(BearerAuthLayer::new(source).select(Origins::new([gateway.origin()])?))
        .service(Client::builder(TokioExecutor::new()).build_http()))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let hydra = Hydra::start(Registration::default()).await?;
    let gateway = Gateway::start(&hydra).await?;
    let api = connect(&hydra, &gateway)?;

    // The client is cloned for each call, and its clones share connections and token.
    let (status, body) = call(api.clone(), &gateway).await?;
    println!("the first call fetches a token: {status} {body}");
    check("a token request and a call", &hydra, &gateway, [1, 1, 0])?;

    hydra.revoke_all();
    let (status, _) = call(api.clone(), &gateway).await?;
    println!("the token is revoked; the next call is retried: {status}");
    check("another token request, a 401", &hydra, &gateway, [2, 3, 1])?;

    let (status, _) = call(api, &gateway).await?;
    println!("the call after it uses the new token: {status}");
    check("a call and nothing else", &hydra, &gateway, [2, 4, 1])?;
    Ok(())
}

async fn call(api: Api, gateway: &Gateway) -> Result<(StatusCode, String), BoxError> {
    let request = Request::get(format!(
        "{}/ecommerce/public/{TENANT}/cart",
        gateway.origin()
    ))
    .body(Full::default())?;
    let response = api.oneshot(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status != StatusCode::OK {
        return Err(format!("the call should be answered 200, and is {status}").into());
    }
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Compares token requests, calls and rejections with what the servers counted.
fn check(what: &str, hydra: &Hydra, gateway: &Gateway, told: [u64; 3]) -> Result<(), BoxError> {
    let rejected = gateway.answered_with(StatusCode::UNAUTHORIZED);
    let seen = [hydra.token_requests(), gateway.answered(), rejected];
    println!("    {what}: token requests, calls and rejections are now {seen:?}");
    (seen == told)
        .then_some(())
        .ok_or_else(|| format!("{what}: should be {told:?}, is {seen:?}").into())
}
