//! The layer around hyper-util's client, and a token that is revoked between two calls.
//!
//! ```sh
//! cargo run --example hyper
//! ```
//! [`connect`] is all that a program needs. The servers are those of the test kit, which count what reaches them.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{BoxError, Layer, ServiceExt};
use tower_bearer::{
    BearerAuth, BearerAuthLayer, ClientCredentials, Error,
    select::Origins,
    test_util::{AuthorizationServer, ProtectedApi},
};

type Api = BearerAuth<Client<HttpConnector, Full<Bytes>>, Origins>;

fn connect(token_url: &str, origin: &str) -> Result<Api, Error> {
    let source = ClientCredentials::builder(token_url, "client", "secret")
        .scopes(["ecommerce"])
        .build()?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    Ok(BearerAuthLayer::new(source)
        .origins([origin])?
        .layer(client))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = AuthorizationServer::new();
    let api = ProtectedApi::new(&server);
    let (auth, served) = (server.serve().await?, api.serve().await?);
    let client = connect(auth.url(), served.url())?;

    // The client is cloned for each call, and its clones share connections and token.
    let status = call(client.clone(), served.url()).await?;
    println!("the first call fetches a token: {status}");
    server.assert_token_requests(1);
    api.assert_calls(1);

    server.revoke_all();
    let status = call(client.clone(), served.url()).await?;
    println!("the token is revoked; the next call is retried: {status}");
    server.assert_token_requests(2);
    api.assert_calls(3);

    let status = call(client, served.url()).await?;
    println!("the call after it uses the new token: {status}");
    server.assert_token_requests(2);
    api.assert_calls(4);
    Ok(())
}

async fn call(client: Api, origin: &str) -> Result<StatusCode, BoxError> {
    let request = Request::get(format!("{origin}/carts/7")).body(Full::default())?;
    let response = client.oneshot(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}
