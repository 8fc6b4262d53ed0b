//! The arguments say what to do; the environment says where.

use std::{env, ffi::OsString, net::IpAddr};

use http::{Method, Uri};
use tower_bearer::{
    ipxo::{self, scope},
    select::Origins,
};

use crate::embedded::{Gateway, Hydra};

pub(crate) const USAGE: &str = "\
usage: cargo run --example ipxo [-- METHOD PATH [JSON]]

without arguments     the main job against embedded servers; with credentials, what they are valid for
METHOD PATH [JSON]    one call, for example GET /ecommerce/public/{tenant}/cart

IPXO_CLIENT_ID        id and secret from the portal's Integrations page: with them, the call goes
IPXO_CLIENT_SECRET    to the real API; without them, to the embedded servers
IPXO_SCOPES           the scopes to ask for, separated by spaces (billing credits ecommerce)
IPXO_TOKEN_URL        another token endpoint (https://hydra.ipxo.com/oauth2/token)
IPXO_API              another API origin (https://apigw.ipxo.com)";

/// What this run is for.
pub(crate) enum Command {
    Help,
    MainJob,
    /// Fetch a token and describe it.
    Describe(Account),
    /// One call, to the embedded servers if there is no account.
    Call(Option<Account>, Call),
}

/// Who calls, and where. Without `Debug`, which would show the secret.
pub(crate) struct Account {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) token_url: String,
    /// The API's origin.
    pub(crate) api: String,
}

/// One call to make.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// With the query, if there is one.
    pub(crate) path: String,
    pub(crate) json: Option<String>,
}

impl Command {
    /// Reads arguments and environment.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without the value of a variable: it may be the secret.
    pub(crate) fn read() -> Result<Self, String> {
        let arguments: Vec<String> = env::args_os()
            .skip(1)
            .map(OsString::into_string)
            .collect::<Result<_, _>>()
            .map_err(|_| misused("an argument is not UTF-8"))?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let call = match arguments[..] {
            [] => None,
            ["-h" | "--help"] => return Ok(Self::Help),
            [method, path] => Some(Call::new(method, path, None)?),
            [method, path, json] => Some(Call::new(method, path, Some(json))?),
            [_] => return Err(misused("a call takes a method and a path")),
            [..] => return Err(misused("too many arguments; is the JSON in quotes?")),
        };
        match (Account::from_environment()?, call) {
            (None, None) => Ok(Self::MainJob),
            (Some(account), None) => Ok(Self::Describe(account)),
            (None, Some(call)) => Ok(Self::Call(None, call)),
            (Some(_), Some(call)) if call.path.contains(['{', '}']) => Err(misused(
                "the path has a placeholder; the real API needs your own UUID in its place",
            )),
            (Some(account), Some(call)) => Ok(Self::Call(Some(account), call)),
        }
    }
}

impl Call {
    fn new(method: &str, path: &str, json: Option<&str>) -> Result<Self, String> {
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes())
            .map_err(|_| misused(&format!("{method:?} is not an HTTP method")))?;
        if !path.starts_with('/') || path.parse::<Uri>().is_err() {
            return Err(misused(&format!(
                "{path:?} is not a path; a path starts with a slash and follows the API's origin"
            )));
        }
        if let Some(json) = json {
            serde_json::from_str::<serde_json::Value>(json)
                .map_err(|error| misused(&format!("the body is not JSON: {error}")))?;
        }
        Ok(Self {
            method,
            path: path.into(),
            json: json.map(Into::into),
        })
    }
}

impl Account {
    /// The client that the embedded servers know.
    pub(crate) fn embedded(hydra: &Hydra, gateway: &Gateway) -> Self {
        let client = hydra.registration();
        Self {
            client_id: client.client_id.clone(),
            client_secret: client.client_secret.clone(),
            scopes: client.scopes.clone(),
            token_url: hydra.token_url(),
            api: gateway.origin(),
        }
    }

    /// `None` if no variable is set. If one is set, even to nothing, the real API is meant, and both id and secret are
    /// required.
    fn from_environment() -> Result<Option<Self>, String> {
        if VARIABLES.iter().all(|name| env::var_os(name).is_none()) {
            return Ok(None);
        }
        let (client_id, client_secret) = match (variable(CLIENT_ID)?, variable(CLIENT_SECRET)?) {
            (Some(client_id), Some(client_secret)) => (client_id, client_secret),
            (Some(_), None) => return Err(incomplete(CLIENT_SECRET)),
            (None, Some(_)) => return Err(incomplete(CLIENT_ID)),
            (None, None) => return Err(incomplete("IPXO_CLIENT_ID and IPXO_CLIENT_SECRET")),
        };
        let scopes = match variable(SCOPES)? {
            Some(scopes) => scopes.split_whitespace().map(Into::into).collect(),
            None => [scope::BILLING, scope::CREDITS, scope::ECOMMERCE]
                .map(Into::into)
                .into(),
        };
        let api = variable(API)?.unwrap_or_else(|| ipxo::API.into());
        let account = Self {
            client_id,
            client_secret,
            scopes,
            token_url: variable(TOKEN_URL)?.unwrap_or_else(|| ipxo::TOKEN_URL.into()),
            api: api.trim_end_matches('/').into(),
        };
        Origins::new([&account.api]).map_err(|error| format!("error: {API}: {error}"))?;
        if account.is_plain() && !is_loopback(&account.api) {
            return Err(format!(
                "error: {API} is not https, so the token would be sent unencrypted; use https, or an API on this machine"
            ));
        }
        Ok(Some(account))
    }

    /// Whether the API has no TLS.
    pub(crate) fn is_plain(&self) -> bool {
        self.api.starts_with("http://")
    }
}

/// A variable's value; `None` if it is not set or empty.
fn variable(name: &str) -> Result<Option<String>, String> {
    let value = env::var_os(name).unwrap_or_default().into_string();
    let value = value.map_err(|_| format!("error: {name} is not UTF-8"))?;
    Ok(Some(value).filter(|value| !value.is_empty()))
}

fn incomplete(missing: &str) -> String {
    format!(
        "error: missing or empty: {missing}. The real API needs both an id and a secret; for the embedded servers, set \
         no IPXO_ variable at all"
    )
}

fn is_loopback(origin: &str) -> bool {
    let uri: Option<Uri> = origin.parse().ok();
    uri.as_ref().and_then(Uri::host).is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

fn misused(why: &str) -> String {
    format!("error: {why}\n\n{USAGE}")
}

const CLIENT_ID: &str = "IPXO_CLIENT_ID";
const CLIENT_SECRET: &str = "IPXO_CLIENT_SECRET";
const SCOPES: &str = "IPXO_SCOPES";
const TOKEN_URL: &str = "IPXO_TOKEN_URL";
const API: &str = "IPXO_API";
const VARIABLES: [&str; 5] = [CLIENT_ID, CLIENT_SECRET, SCOPES, TOKEN_URL, API];
