//! Tokens that are bound to a key (RFC 9449): proofs at the token endpoint and at the API, with nonces that change.
//!
//! ```sh
//! cargo run --example dpop
//! ```
//! [`connect`] makes the client. The embedded servers check each proof with another library, and take each one once. The example
//! prints what they counted, and fails at the first wrong figure.

#[path = "dpop/checker.rs"]
#[allow(dead_code, reason = "what the tests use")]
mod checker;
#[path = "dpop/servers.rs"]
mod servers;

use bytes::Bytes;
use http::{Request, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_bearer::{
    BearerAuth, BearerAuthLayer, ClientCredentials, TokenCache,
    dpop::{Dpop, DpopKey, DpopLayer},
};

use self::servers::Servers;

type Http = Client<HttpConnector, Full<Bytes>>;
type Api = BearerAuth<Dpop<Http>>;

/// Puts both layers on an HTTP client, with one key. This is all that a program needs.
fn connect(
    token_url: &str,
    key: &DpopKey,
    client: Http,
) -> Result<(TokenCache, Api), tower_bearer::Error> {
    let source = ClientCredentials::builder(token_url, "my-client", "my-secret")
        .dpop(key.clone())
        .build_with(client.clone())?;
    let cache = TokenCache::new(source);
    let api = ServiceBuilder::new()
        .layer(BearerAuthLayer::from_cache(cache.clone()))
        // Below, so that each request has a proof of its own, a retry included.
        .layer(DpopLayer::new(key.clone()))
        .service(client);
    Ok((cache, api))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let servers = Servers::start().await?;
    let client: Http = Client::builder(TokioExecutor::new()).build_http();
    let key = DpopKey::generate()?;
    println!("the key: {} {}", key.algorithm(), key.thumbprint());
    let (cache, api) = connect(&servers.token_url(), &key, client.clone())?;
    let story = Story { servers, api };

    story
        .step("1. both servers ask for a nonce", 1, [2, 2])
        .await?;
    story
        .step(
            "2. five calls, and each answer has the next nonce",
            5,
            [0, 5],
        )
        .await?;
    story.servers.forget_nonces();
    story
        .step("3. the API forgets its nonces", 1, [0, 2])
        .await?;
    story.servers.revoke_all();
    story.step("4. the token is revoked", 1, [1, 2]).await?;
    cache.invalidate(&cache.get().await?);
    story.servers.forget_nonces();
    story
        .step("5. no token, and an old nonce", 1, [1, 2])
        .await?;

    let stolen = cache.get().await?;
    let as_bearer = format!("Bearer {}", stolen.expose_secret());
    let request = Request::get(story.servers.api_url());
    let request = request.header(AUTHORIZATION, as_bearer);
    let answer = client.request(request.body(Full::default())?).await?;
    println!("6. the token alone, stolen: {}", answer.status());
    ensure(answer.status() == StatusCode::UNAUTHORIZED, "it was taken")?;
    let thief = DpopLayer::new(DpopKey::generate()?);
    let thief = ServiceBuilder::new().layer(thief).service(client);
    let request = Request::get(story.servers.api_url());
    let request = request.header(AUTHORIZATION, stolen.authorization().clone());
    let answer = thief.oneshot(request.body(Full::default())?).await?;
    println!("7. the token with another key: {}", answer.status());
    ensure(answer.status() == StatusCode::UNAUTHORIZED, "it was taken")?;

    let [token_requests, calls] = story.servers.counted();
    println!("summary: calls={calls} token_requests={token_requests} proofs_used_twice=0");
    Ok(())
}

/// The client, and the servers.
struct Story {
    servers: Servers,
    api: Api,
}

impl Story {
    /// Makes calls, and prints what reached the token endpoint and the API.
    async fn step(&self, what: &str, calls: usize, expected: [usize; 2]) -> Result<(), BoxError> {
        let before = self.servers.counted();
        for _ in 0..calls {
            let request = Request::get(self.servers.api_url()).body(Full::default())?;
            let answer = self.api.clone().oneshot(request).await?;
            let status = answer.status();
            answer.into_body().collect().await?;
            ensure(status == StatusCode::OK, "a call failed")?;
        }
        let after = self.servers.counted();
        let came = [after[0] - before[0], after[1] - before[1]];
        println!("{what}: {} token requests, {} calls", came[0], came[1]);
        ensure(came == expected, "that is not what was expected")
    }
}

fn ensure(holds: bool, otherwise: &'static str) -> Result<(), BoxError> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}
