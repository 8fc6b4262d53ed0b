//! gRPC with tonic: a unary call and a stream. The token is fetched once, and replaced when it is revoked.
//!
//! ```sh
//! cargo run --example tonic
//! ```
//! The authorization server and the gRPC server run in this process. [`connect`] is all that a program needs.

mod embedded;
#[path = "embedded/grpc.rs"]
mod grpc;

use std::{process::ExitCode, time::Duration};

use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::{
    pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
    server::health_reporter,
};
use tower::{BoxError, Layer};
use tower_bearer::{
    ClientCredentials, Error,
    adapter::tonic::{GrpcAuth, GrpcAuthLayer},
};

use self::{
    embedded::{Hydra, Registration},
    grpc::Guard,
};

/// Any client that tonic generates, over a channel with a token on each call.
type Client = HealthClient<GrpcAuth<Channel>>;

fn connect(api: String, source: ClientCredentials) -> Result<Client, BoxError> {
    let channel = Endpoint::from_shared(api)?.connect_lazy();
    Ok(HealthClient::new(GrpcAuthLayer::new(source).layer(channel)))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    let hydra = Hydra::start(Registration::default()).await?;
    let (_, health) = health_reporter();
    let tokens = hydra.clone();
    let server = Guard::new(move |token| tokens.scopes_of(token).is_some(), health);

    let known = hydra.registration();
    let source =
        ClientCredentials::builder(hydra.token_url(), &known.client_id, &known.client_secret)
            .build()?;
    let client = connect(server.serve().await?, source)?;

    let told = "token requests and calls, as the servers counted them";
    println!("Two calls, without a token yet:");
    call_both_ways(&client).await?;
    check(told, (hydra.token_requests(), server.calls().len()), (1, 2))?;

    println!("Two calls with a revoked token:");
    hydra.revoke_all();
    call_both_ways(&client).await?;
    check(told, (hydra.token_requests(), server.calls().len()), (2, 6))?;

    check("connections", server.connections(), 1)
}

/// Makes a unary call, and reads a stream's first message, both at the same time.
async fn call_both_ways(client: &Client) -> Result<(), BoxError> {
    let (mut checking, mut watching) = (client.clone(), client.clone());
    let mut request = Request::new(HealthCheckRequest::default());
    // It covers the wait for a token too.
    request.set_timeout(Duration::from_secs(5));
    let calls = tokio::try_join!(checking.check(request), async {
        let answer = watching.watch(HealthCheckRequest::default()).await?;
        answer.into_inner().message().await
    });
    let (checked, watched) = calls.map_err(explain)?;
    let watched = watched.ok_or("the stream is empty")?;
    let serving = ServingStatus::Serving;
    check("unary call", checked.get_ref().status(), serving)?;
    check("stream", watched.status(), serving)
}

/// The status, or this crate's error behind it if there is no token.
fn explain(status: Status) -> BoxError {
    let source = std::error::Error::source(&status);
    match source.and_then(|source| source.downcast_ref::<Error>()) {
        Some(error) => format!("no token ({:?}): {error}", error.kind()).into(),
        None => status.into(),
    }
}

fn check<T: PartialEq + std::fmt::Debug>(what: &str, is: T, ought: T) -> Result<(), BoxError> {
    println!("  {what}: {is:?}");
    (is == ought)
        .then_some(())
        .ok_or_else(|| format!("{what}: not {ought:?}").into())
}
