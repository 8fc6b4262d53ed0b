//! A service that its operators can watch: three credentials, one of which fails.
//!
//! ```sh
//! cargo run --example observed          # a few seconds, then the numbers, and one trace
//! cargo run --example observed -- 3000  # goes on, with /metrics and /ready on this port
//! ```
//! [`telemetry`] installs logs in JSON, traces, and the recorder of metrics: three lines that your service has already, or
//! needs. [`service`] is the service: each cache has a name, `/ready` asks each for its state, `/metrics` is for Prometheus.
//! `dashboard.json` is for Grafana, and `alerts.yml` for Prometheus.

mod service;
mod telemetry;
mod traces;

use std::{env, net::Ipv4Addr, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use tokio::{net::TcpListener, time::sleep};
use tower::{BoxError, ServiceExt};
use tower_bearer::{
    ClientCredentials,
    test_util::{AuthorizationServer, ProtectedApi},
};

use self::{service::Shop, telemetry::Telemetry};

const CREDENTIALS: [&str; 3] = ["billing", "credits", "ecommerce"];

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let telemetry = Telemetry::install()?;

    // The servers that the service calls, on loopback.
    let server = AuthorizationServer::new();
    server.lifetime(Duration::from_secs(4));
    server.delay(Duration::from_millis(50));
    let api = ProtectedApi::new(&server);
    let (auth, api) = (server.serve().await?, api.serve().await?);

    let mut shop = Shop::new(api.url(), telemetry.metrics.clone());
    for name in CREDENTIALS {
        server.register(name, "s3cret");
        let token_url = format!("{}/token", auth.url());
        let credentials = ClientCredentials::builder(token_url, name, "s3cret");
        shop.add(name, credentials)?;
    }
    let routes = shop.routes();
    let port = env::args().nth(1);
    if let Some(port) = &port {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?)).await?;
        let routes = routes.clone();
        tokio::spawn(async move { axum::serve(listener, routes).await });
    }

    println!("--- the logs, from INFO on");
    let mut rounds = 0;
    while port.is_some() || rounds < ROUNDS {
        match rounds % ROUNDS {
            // An operator deletes the client of one credential: its token is used until it ends.
            4 => server.unregister("ecommerce"),
            // The API forgets a token: one request is retried.
            12 => server.revoke("billing"),
            // And an operator registers the client again.
            30 => server.register("ecommerce", "s3cret"),
            31 => drop(ask(&routes, "/refresh/ecommerce").await?),
            _ => {}
        }
        for name in CREDENTIALS {
            ask(&routes, &format!("/orders/{name}")).await?;
        }
        if rounds == 28 {
            let (status, ready) = ask(&routes, "/ready").await?;
            println!("--- /ready is {status}: {ready}\n--- the logs go on");
        }
        rounds += 1;
        sleep(Duration::from_millis(250)).await;
    }

    let (_, metrics) = ask(&routes, "/metrics").await?;
    println!("--- /metrics, without buckets");
    for line in metrics.lines() {
        if !line.starts_with('#') && !line.contains("_bucket") && !line.is_empty() {
            println!("{line}");
        }
    }
    println!("--- a request that waited for a token, and the token request that follows from it");
    print!("{}", telemetry.traces.of_the_first_token_request());
    is_as_promised(&metrics)
}

/// What `/metrics` has to say of this run.
fn is_as_promised(metrics: &str) -> Result<(), BoxError> {
    for promised in [
        r#"tower_bearer_caches{cache="ecommerce",state="ok"} 1"#,
        r#"tower_bearer_rejections_total{cache="billing",outcome="accepted"} 1"#,
        r#"_count{cache="ecommerce",reason="refresh",error_type="denied"}"#,
    ] {
        if !metrics.contains(promised) {
            return Err(format!("{promised} is not in the metrics").into());
        }
    }
    Ok(())
}

const ROUNDS: u32 = 36;

/// What a caller of the service sees.
async fn ask(routes: &Router, path: &str) -> Result<(StatusCode, String), BoxError> {
    let request = Request::get(path).body(Body::empty())?;
    let response = routes.clone().oneshot(request).await?;
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
