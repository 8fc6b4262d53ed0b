//! gRPC with tonic: a unary call and a server's stream, with a token on each.
//!
//! ```sh
//! cargo run --example tonic
//! cargo test --example tonic
//! ```
//! [`connect`] is all that a program needs. `main` calls servers of the test kit, which run in this process and count what
//! reaches them. The tests at the end are those that a program of yours would have.

use std::time::Duration;

use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::{
    pb::{HealthCheckRequest, health_client::HealthClient},
    server::{HealthReporter, health_reporter},
};
use tower::{BoxError, Layer};
use tower_bearer::{
    ClientCredentials, TokenSource,
    adapter::tonic::{GrpcAuth, GrpcAuthLayer},
    test_util::{AuthorizationServer, ProtectedApi, Served},
};

/// Any client that tonic generates, over a channel with a token on each call.
type Client = HealthClient<GrpcAuth<Channel>>;

fn connect(api: &str, source: impl TokenSource) -> Result<Client, BoxError> {
    let channel = Endpoint::from_shared(api.to_owned())?.connect_lazy();
    Ok(HealthClient::new(GrpcAuthLayer::new(source).layer(channel)))
}

/// A unary call: the status of the server.
async fn check(mut client: Client) -> Result<i32, Status> {
    let mut request = Request::new(HealthCheckRequest::default());
    // It covers the wait for a token too.
    request.set_timeout(Duration::from_secs(5));
    Ok(client.check(request).await?.into_inner().status)
}

/// A server's stream: its first `messages` messages.
async fn watch(mut client: Client, messages: usize) -> Result<Vec<i32>, Status> {
    let answer = client.watch(HealthCheckRequest::default()).await?;
    let mut stream = answer.into_inner();
    let mut statuses = Vec::new();
    while statuses.len() < messages
        && let Some(message) = stream.message().await?
    {
        statuses.push(message.status);
    }
    Ok(statuses)
}

/// A gRPC server for those who have a valid token.
async fn serve(
    server: &AuthorizationServer,
) -> Result<(ProtectedApi, Served, HealthReporter), BoxError> {
    let (reporter, health) = health_reporter();
    let api = ProtectedApi::with_handler(server, health);
    let served = api.serve().await?;
    Ok((api, served, reporter))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = AuthorizationServer::new();
    let auth = server.serve().await?;
    let (api, served, _reporter) = serve(&server).await?;
    let source = ClientCredentials::builder(auth.url(), "client", "secret").build()?;
    let client = connect(served.url(), source)?;

    let (status, watched) = tokio::try_join!(check(client.clone()), watch(client.clone(), 1))?;
    println!("the status is {status}, the stream says {watched:?}");
    server.assert_token_requests(1);

    server.revoke_all();
    tokio::try_join!(check(client.clone()), watch(client, 1))?;
    println!("two more calls, with a revoked token, are both retried:");
    for call in api.calls() {
        println!("  {call}, grpc with the token {:?}", call.token());
    }
    server.assert_token_requests(2);
    api.assert_calls(6);
    Ok(())
}

#[cfg(test)]
mod tests {
    use tower_bearer::{
        Error, ErrorKind,
        test_util::{self, ScriptedSource},
    };

    use tonic_health::ServingStatus;

    use super::*;

    #[tokio::test]
    async fn a_stream_goes_on_with_the_token_that_it_began_with() -> Result<(), BoxError> {
        let server = AuthorizationServer::new();
        let (api, served, reporter) = serve(&server).await?;
        let client = connect(served.url(), server.credentials())?;
        let mut stream = {
            let mut client = client.clone();
            client
                .watch(HealthCheckRequest::default())
                .await?
                .into_inner()
        };
        let first = stream.message().await?.map(|message| message.status);
        assert_eq!(first, Some(1));

        // The token is checked when a call begins.
        server.revoke_all();
        reporter
            .set_service_status("", ServingStatus::NotServing)
            .await;
        let second = stream.message().await?.map(|message| message.status);
        assert_eq!(second, Some(2));
        api.assert_calls(1);

        assert_eq!(check(client).await?, 2);
        server.assert_token_requests(2);
        Ok(())
    }

    #[tokio::test]
    async fn a_call_without_a_token_fails_with_the_reason() -> Result<(), BoxError> {
        let server = AuthorizationServer::new();
        let (api, served, _reporter) = serve(&server).await?;
        let source = ScriptedSource::new([Err(test_util::error(ErrorKind::Denied))]);
        let client = connect(served.url(), source)?;
        let status = check(client).await.expect_err("no token");
        let error = Error::find_in(&status).expect("an error of this crate");
        assert!(error.is_denied());
        api.assert_calls(0);
        Ok(())
    }
}
