//! A reverse proxy that adds access tokens: a sidecar for programs without OAuth.
//!
//! ```sh
//! # A demonstration, against servers that run in this process:
//! cargo run --example axum_proxy
//!
//! # The proxy, until SIGINT or SIGTERM:
//! export UPSTREAM=http://127.0.0.1:9000 TOKEN_URL=https://auth.example.com/oauth2/token
//! export CLIENT_ID=… CLIENT_SECRET=… SCOPES='billing credits'
//! cargo run --example axum_proxy
//! curl http://127.0.0.1:8080/invoices
//! ```
//! `--help` lists the variables. The proxy accepts HTTP/1.1 and HTTP/2 without TLS, and speaks HTTP/1.1 to the upstream.
//! [`proxy`](proxy::proxy) says what it does with a request.
//!
//! # Deployment caveat
//! A program that reaches the proxy calls with its token. So let it listen where only its own programs can connect; the
//! default is this machine. It speaks no TLS. So an upstream on another machine is an error, unless you say that the network
//! encrypts.

#[path = "axum_proxy/configuration.rs"]
mod configuration;
#[path = "axum_proxy/demonstration.rs"]
mod demonstration;
mod embedded;
#[path = "axum_proxy/proxy.rs"]
mod proxy;

use std::{env, io, process::ExitCode, time::Duration};

use axum::{ServiceExt, serve::ListenerExt};
use tokio::{net::TcpListener, signal, sync::oneshot, time::sleep};
use tower::BoxError;
use tower_bearer::TokenCache;

use self::configuration::{Configuration, USAGE, start_log};

#[tokio::main]
async fn main() -> ExitCode {
    match env::args_os().nth(1) {
        Some(argument) if argument == "-h" || argument == "--help" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some(_) => {
            eprintln!("error: it takes no arguments\n\n{USAGE}");
            return ExitCode::from(2);
        }
        None => {}
    }
    let configuration = start_log().and_then(|()| Configuration::from_environment());
    let outcome = match configuration {
        Ok(None) => demonstration::run().await,
        Ok(Some(configuration)) => serve(configuration).await,
        Err(mistake) => {
            eprintln!("error: {mistake}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// Serves until a signal. Then it finishes the requests in flight, within a few seconds.
async fn serve(configuration: Configuration) -> Result<ExitCode, BoxError> {
    let stop = stop()?;
    let tokens = TokenCache::new(configuration.credentials);
    let proxy = proxy::proxy(configuration.upstream, tokens, PATIENCE);
    let listener = TcpListener::bind(&configuration.listen)
        .await
        .map_err(|error| format!("LISTEN: cannot listen on {}: {error}", configuration.listen))?;
    println!("listening on http://{}", listener.local_addr()?);

    let listener = listener.tap_io(|connection| {
        // An error here costs latency only.
        let _ = connection.set_nodelay(true);
    });
    let (stopping, stopped) = oneshot::channel();
    let serving = axum::serve(listener, proxy.into_make_service()).with_graceful_shutdown(async {
        stop.await;
        let _ = stopping.send(());
    });
    tokio::select! {
        served = serving.into_future() => served?,
        () = async { let _ = stopped.await; sleep(GRACE).await; } => {
            tracing::warn!("requests that were under way for another {GRACE:?} are cut off");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Completes at SIGINT or SIGTERM. It counts signals from this call on, not only while it is awaited.
#[cfg(unix)]
fn stop() -> io::Result<impl Future<Output = ()>> {
    use signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Completes at Ctrl-C.
#[cfg(not(unix))]
fn stop() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = signal::ctrl_c().await;
    })
}

/// How long the upstream may be silent when an answer is due.
const PATIENCE: Duration = Duration::from_secs(60);

const GRACE: Duration = Duration::from_secs(5);
