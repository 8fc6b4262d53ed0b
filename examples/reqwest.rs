//! reqwest's client with a token on each request, and reqwest as the transport of the token request.
//!
//! ```sh
//! cargo run --example reqwest
//! ```
//! It calls an authorization server and an API that run in this process and count what reaches them.

mod embedded;

use std::time::Duration;

use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use reqwest::{Body, Client};
use tokio::task::JoinSet;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, ClientCredentials, Error,
    adapter::reqwest::{ReqwestService, ReusableBody},
    select::Origins,
};

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
        // This client has the proxies, TLS roots and timeouts for token requests.
        .build_with_reqwest(Client::builder().connect_timeout(Duration::from_secs(5)))?;
    let bearer = BearerAuthLayer::new(source)
        // The token goes to this origin only.
        .select(Origins::new([gateway.origin()])?)
        // Bodies of bytes or text are replayed after a 401; streams are not.
        .replay(ReusableBody);
    let api = ServiceBuilder::new()
        // Above the layer, so that it times the whole call: the wait for a token and the retry included.
        .timeout(Duration::from_secs(30))
        .layer(bearer)
        .service(ReqwestService::new(Client::new()));

    let mut calls = JoinSet::new();
    for number in 0..20 {
        let request = Request::get(format!("{tenant}/cart/{number}")).body(Body::default())?;
        calls.spawn(send(api.clone(), request));
    }
    let ok = calls.join_all().await.into_iter().flatten();
    let ok = ok.filter(|status| status.is_success()).count();
    let seen = (hydra.token_requests(), gateway.answered());
    println!("20 calls at once, without a token yet: {ok} ok");
    expect(seen, (1, 20))?;

    hydra.revoke_all();
    let request = Request::post(format!("{tenant}/orders/7/credits/apply"))
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(r#"{"amount": 63}"#))?;
    let status = send(api, request).await?;
    let rejected = gateway.answered_with(StatusCode::UNAUTHORIZED);
    println!("another one, with a revoked token: {status}, after {rejected} rejection");
    expect((hydra.token_requests(), gateway.answered()), (2, 22))
}

/// Makes a call and reads its answer.
async fn send<S>(api: S, request: Request<Body>) -> Result<StatusCode, BoxError>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError>,
{
    let response = match api.oneshot(request).await {
        Ok(response) => reqwest::Response::from(response),
        Err(error) if error.is::<Error>() => return Err(format!("no token: {error}").into()),
        // Of reqwest, or of the timeout.
        Err(error) => return Err(error),
    };
    let status = response.status();
    response.text().await?;
    Ok(status)
}

/// Prints what the servers counted so far, and fails if it is wrong.
fn expect(seen: (u64, u64), expected: (u64, u64)) -> Result<(), BoxError> {
    println!("  token requests: {}, calls to the API: {}", seen.0, seen.1);
    match seen == expected {
        true => Ok(()),
        false => Err(format!("should be {expected:?}").into()),
    }
}
