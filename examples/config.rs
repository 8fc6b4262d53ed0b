//! A service with its settings in a TOML file: one section has the credentials of an API, and the environment overrides some
//! of them.
//!
//! ```sh
//! cargo run --example config
//! ```
//! The reader is the crate `config`; any other serde reader works too.

mod embedded;

use std::collections::HashMap;

use bytes::Bytes;
use config::{Config, ConfigError, Environment, File, FileFormat};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::Deserialize;
use tower::{BoxError, Layer, ServiceExt};
use tower_bearer::config::Configuration;

use self::embedded::{Gateway, Hydra, Registration, TENANT};

/// The service's own settings.
#[derive(Debug, Deserialize)]
struct Settings {
    api: Api,
}

#[derive(Debug, Deserialize)]
struct Api {
    url: String,
    auth: Configuration,
}

/// Reads the file, then the environment, which overrides it: `SHOP__API__AUTH__SCOPES` is `api.auth.scopes`.
fn read(file: &str, variables: HashMap<String, String>) -> Result<Settings, ConfigError> {
    let environment = Environment::with_prefix("SHOP").separator("__");
    Config::builder()
        .add_source(File::from_str(file, FileFormat::Toml))
        // Leave out `source` to read the environment of the process.
        .add_source(environment.source(Some(variables)))
        .build()?
        .try_deserialize()
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let hydra = Hydra::start(Registration::default()).await?;
    let gateway = Gateway::start(&hydra).await?;
    let (token_url, api) = (hydra.token_url(), gateway.origin());
    let account = hydra.registration();
    let client_id = &account.client_id;

    let file = format!(
        r#"
        [api]
        url = "{api}"

        [api.auth]
        token_url = "{token_url}"
        client_id = "{client_id}"
        client_auth = "post"
        scopes = ["billing"]
        origins = ["{api}"]
        cache.token_request_timeout = "5s"
        "#
    );
    let environment = [
        (
            "SHOP__API__AUTH__CLIENT_SECRET",
            account.client_secret.as_str(),
        ),
        ("SHOP__API__AUTH__SCOPES", "ecommerce credits"),
        ("SHOP__API__AUTH__CACHE__REFRESH_AT", "0.7"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = read(&file, environment.into())?;
    println!("{settings:#?}");

    let layer = settings.api.auth.layer()?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let cart = format!("{}/ecommerce/public/{TENANT}/cart", settings.api.url);
    let request = Request::get(cart).body(Full::<Bytes>::default())?;
    let response = layer.layer(client).oneshot(request).await?;
    println!(
        "{} by {} token request",
        response.status(),
        hydra.token_requests()
    );
    assert_eq!(
        (response.status(), hydra.token_requests()),
        (StatusCode::OK, 1)
    );
    assert!(!format!("{settings:?}").contains(&account.client_secret));
    Ok(())
}
