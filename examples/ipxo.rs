//! The main job: calls to the IPXO APIs, with tokens got, shared and replaced on the way.
//!
//! ```sh
//! # The whole job, timed and counted, against servers that run in this process:
//! cargo run --example ipxo
//!
//! # One call, to the same servers:
//! cargo run --example ipxo -- GET /ecommerce/public/{tenant}/cart
//! cargo run --example ipxo -- POST /ecommerce/public/{tenant}/orders/7/credits/apply '{"amount": 63}'
//!
//! # The real API, with credentials from the portal's Integrations page:
//! export IPXO_CLIENT_ID=… IPXO_CLIENT_SECRET=… IPXO_SCOPES='ecommerce credits'
//! cargo run --example ipxo                       # is the credential good, and what for?
//! cargo run --example ipxo -- GET /ecommerce/public/<your tenant's UUID>/cart
//! ```
//! `--help` tells the rest. The start of it all is [`connect`].

#[path = "ipxo/command.rs"]
mod command;
mod embedded;
#[path = "ipxo/main_job.rs"]
mod main_job;

use std::{error::Error as StdError, io, process::ExitCode, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimit, timeout::Timeout,
};
use tower_bearer::{
    BearerAuth, BearerAuthLayer, ClientCredentials, Error, TokenCache, ipxo, select::Origins,
};

use self::{
    command::{Account, Call, Command},
    embedded::{Gateway, Hydra, Registration, TENANT},
};

/// An HTTP client over the connections of `C`, with a token on each request.
type Api<C> = ConcurrencyLimit<Timeout<BearerAuth<Client<C, Full<Bytes>>, Origins>>>;

/// Puts the layer on an HTTP client. This is all that a program needs.
fn connect<C: Clone>(account: &Account, client: Client<C, Full<Bytes>>) -> Result<Api<C>, Error> {
    let bearer = BearerAuthLayer::new(credentials(account)?)
        // The token goes to this origin and nowhere else. For the real one, `ipxo::layer` says the same.
        .select(Origins::new([&account.api])?);
    Ok(ServiceBuilder::new()
        .concurrency_limit(200)
        // Above the layer, so that it times the whole call: the wait for a token and the retry included.
        .timeout(Duration::from_secs(30))
        .layer(bearer)
        .service(client))
}

fn credentials(account: &Account) -> Result<ClientCredentials, Error> {
    ipxo::credentials(&account.client_id, &account.client_secret, &account.scopes)
        .token_url(&account.token_url)
        .build()
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = match Command::read() {
        Ok(command) => command,
        Err(mistake) => {
            eprintln!("{mistake}");
            return ExitCode::from(2);
        }
    };
    let outcome = match command {
        Command::Help => {
            println!("{}", command::USAGE);
            Ok(ExitCode::SUCCESS)
        }
        Command::MainJob => main_job::run().await,
        Command::Describe(account) => describe_token(&account).await,
        Command::Call(Some(account), call) => call_api(&account, call).await,
        Command::Call(None, call) => call_embedded(call).await,
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{}", explain(&*error));
        ExitCode::FAILURE
    })
}

/// Fetches a token and tells what it is good for, without showing it.
async fn describe_token(account: &Account) -> Result<ExitCode, BoxError> {
    let token = TokenCache::new(credentials(account)?).get().await?;
    println!("{} gave a token.", account.token_url);
    match token.lifetime() {
        Some(lifetime) => println!("good for:       {} s", lifetime.as_secs()),
        None => println!("good for:       it does not say"),
    }
    match token.scopes() {
        Some(granted) => {
            let granted: Vec<_> = granted.collect();
            let is_missing = |asked: &&String| !granted.contains(&asked.as_str());
            let missing: Vec<_> = account.scopes.iter().filter(is_missing).cloned().collect();
            println!("scopes granted: {}", granted.join(" "));
            if !missing.is_empty() {
                println!("not granted:    {}", missing.join(" "));
            }
        }
        // RFC 6749 section 5.1
        None => println!("scopes granted: {} (as asked)", account.scopes.join(" ")),
    }
    println!(
        "Name a call to make it: cargo run --example ipxo -- GET /ecommerce/public/<tenant UUID>/cart"
    );
    Ok(ExitCode::SUCCESS)
}

/// Makes one call to the embedded servers.
async fn call_embedded(mut call: Call) -> Result<ExitCode, BoxError> {
    let hydra = Hydra::start(Registration::default()).await?;
    let gateway = Gateway::start(&hydra).await?;
    call.path = call.path.replace("{tenant}", TENANT);
    call_api(&Account::embedded(&hydra, &gateway), call).await
}

/// Makes one call and prints its status and body.
async fn call_api(account: &Account, call: Call) -> Result<ExitCode, BoxError> {
    let mut request = Request::builder()
        .method(call.method)
        .uri(format!("{}{}", account.api, call.path));
    if call.json.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::from(call.json.unwrap_or_default()))?;

    let (status, body) = if account.is_plain() {
        send(connect(account, plain_client())?, request).await?
    } else {
        send(connect(account, tls_client()?)?, request).await?
    };
    println!("{status}\n{}", String::from_utf8_lossy(&body));
    if status == StatusCode::FORBIDDEN {
        eprintln!(
            "Scopes asked for: {}. Does this call need another?",
            account.scopes.join(" ")
        );
    }
    Ok(if status.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Sends a request and reads the answer to its end.
async fn send<S, B>(api: S, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = BoxError>,
    B: http_body::Body<Error: Into<BoxError>>,
{
    let response = api.oneshot(request).await?;
    if let Some(error) = response.extensions().get::<Error>() {
        eprintln!(
            "The token was rejected, and no other could be had: {}",
            explain(error)
        );
    }
    let status = response.status();
    let body = response.into_body().collect().await.map_err(Into::into)?;
    Ok((status, body.to_bytes()))
}

/// HTTP/1.1 in the clear, for servers on this machine.
fn plain_client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// HTTP/1.1 or HTTP/2 over TLS, with the platform's roots.
fn tls_client() -> io::Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let https = HttpsConnectorBuilder::new()
        .with_provider_and_platform_verifier(ring)?
        .https_only()
        .enable_all_versions()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(https))
}

/// An error and the errors behind it, a line each.
fn explain(error: &dyn StdError) -> String {
    let mut lines = format!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        lines.push_str(&format!("\n  caused by: {cause}"));
        source = cause.source();
    }
    lines
}
