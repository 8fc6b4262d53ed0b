//! The settings, from the environment.

use std::env;

use tower::BoxError;
use tower_bearer::{ClientAuth, ClientCredentials};
use tracing_subscriber::{
    Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::proxy::Upstream;

pub(crate) const USAGE: &str = "\
usage: cargo run --example axum_proxy

UPSTREAM        the origin of the API, for example http://127.0.0.1:9000; without any variable, a demonstration
PLAIN_HTTP      allow, if UPSTREAM is another machine and the network encrypts, as a service mesh does
TOKEN_URL       the token endpoint, for example https://auth.example.com/oauth2/token
CLIENT_ID       the client's id
CLIENT_SECRET   and its secret
SCOPES          the scopes to ask for, separated by spaces (none)
CLIENT_AUTH     how id and secret are sent: post, basic or basic_raw (post)
LISTEN          host and port to listen on, port 0 for a free one (127.0.0.1:8080)
RUST_LOG        what is logged on stderr: error, warn, info, debug or trace, or target=level, separated by commas (warn)";

/// A proxy to run.
pub(crate) struct Configuration {
    pub(crate) listen: String,
    pub(crate) upstream: Upstream,
    pub(crate) credentials: ClientCredentials,
}

impl Configuration {
    /// `None` if no variable is set. If one is set, a real upstream is meant.
    ///
    /// # Errors
    /// A sentence that names the variable, without a value that may be secret.
    pub(crate) fn from_environment() -> Result<Option<Self>, BoxError> {
        if VARIABLES.iter().all(|name| env::var_os(name).is_none()) {
            return Ok(None);
        }
        let upstream = upstream()?;
        let token_url = required(TOKEN_URL)?;
        let client_id = required(CLIENT_ID)?;
        let secret = required(CLIENT_SECRET)?;
        let auth = match optional(CLIENT_AUTH)?.as_deref() {
            None | Some("post") => ClientAuth::post(secret),
            Some("basic") => ClientAuth::basic(secret),
            Some("basic_raw") => ClientAuth::basic_raw(secret),
            Some(_) => return Err(format!("{CLIENT_AUTH} is not post, basic or basic_raw").into()),
        };
        let scopes = optional(SCOPES)?.unwrap_or_default();
        let credentials = ClientCredentials::builder(token_url, client_id, auth)
            .scopes(scopes.split_whitespace())
            .build()
            .map_err(|error| {
                format!("{TOKEN_URL}, {CLIENT_ID}, {CLIENT_SECRET} or {SCOPES}: {error}")
            })?;
        Ok(Some(Self {
            listen: optional(LISTEN)?.unwrap_or_else(|| "127.0.0.1:8080".into()),
            upstream,
            credentials,
        }))
    }
}

fn upstream() -> Result<Upstream, BoxError> {
    let upstream: Upstream = required(UPSTREAM)?
        .parse()
        .map_err(|error| format!("{UPSTREAM}: {error}"))?;
    match optional(PLAIN_HTTP)?.as_deref() {
        Some("allow") => Ok(upstream.over_a_network_that_encrypts()),
        None if upstream.is_loopback() => Ok(upstream),
        None => Err(format!(
            "{UPSTREAM} is another machine, and the token would be sent there unencrypted; if the network encrypts, \
             set {PLAIN_HTTP}=allow"
        )
        .into()),
        Some(_) => Err(format!("{PLAIN_HTTP} is set, and its only value is allow").into()),
    }
}

/// Writes the events that `RUST_LOG` asks for to stderr.
///
/// # Errors
/// When it cannot be parsed.
pub(crate) fn start_log() -> Result<(), BoxError> {
    let wanted = optional(RUST_LOG)?.unwrap_or_else(|| "warn".into());
    let targets: Targets = wanted
        .parse()
        .map_err(|error| format!("{RUST_LOG}: {error}"))?;
    let stderr = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry()
        .with(stderr.with_filter(targets))
        .init();
    Ok(())
}

fn required(name: &str) -> Result<String, BoxError> {
    optional(name)?.ok_or_else(|| format!("{name} is missing or empty").into())
}

/// A variable's value; `None` if it is not set or empty.
fn optional(name: &str) -> Result<Option<String>, BoxError> {
    let value = env::var_os(name).unwrap_or_default().into_string();
    let value = value.map_err(|_| format!("{name} is not UTF-8"))?;
    Ok(Some(value).filter(|value| !value.is_empty()))
}

const UPSTREAM: &str = "UPSTREAM";
const PLAIN_HTTP: &str = "PLAIN_HTTP";
const TOKEN_URL: &str = "TOKEN_URL";
const CLIENT_ID: &str = "CLIENT_ID";
const CLIENT_SECRET: &str = "CLIENT_SECRET";
const SCOPES: &str = "SCOPES";
const CLIENT_AUTH: &str = "CLIENT_AUTH";
const LISTEN: &str = "LISTEN";
const RUST_LOG: &str = "RUST_LOG";
const VARIABLES: [&str; 8] = [
    UPSTREAM,
    PLAIN_HTTP,
    TOKEN_URL,
    CLIENT_ID,
    CLIENT_SECRET,
    SCOPES,
    CLIENT_AUTH,
    LISTEN,
];
