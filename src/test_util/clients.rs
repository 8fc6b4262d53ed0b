//! The clients that a server knows, and how it recognizes them.

#[cfg(feature = "jwt")]
use std::collections::HashSet;
use std::{collections::HashMap, sync::Mutex};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Request, header::AUTHORIZATION};
use url::form_urlencoded;

use super::{lock, serve::Connection};
use crate::client_credentials::{
    ClientAuth,
    auth::{carried::CarriedAuth, read::ReadAuth},
};

/// The client that every server knows, and its secret.
pub(super) const CLIENT_ID: &str = "client";
pub(super) const CLIENT_SECRET: &str = "secret";

#[derive(Debug)]
pub(super) struct Clients {
    known: Mutex<HashMap<String, ClientAuth>>,
    /// The ids of assertions that were used.
    #[cfg(feature = "jwt")]
    used: Mutex<HashSet<String>>,
}

impl Default for Clients {
    fn default() -> Self {
        let known = HashMap::from([(CLIENT_ID.to_owned(), CLIENT_SECRET.into())]);
        Self {
            known: Mutex::new(known),
            #[cfg(feature = "jwt")]
            used: Mutex::default(),
        }
    }
}

/// What a token request shows of the client's authentication.
struct Shown<'a> {
    form: HashMap<String, String>,
    /// The Basic header, decoded.
    basic: Option<String>,
    /// `None` in memory, where nothing is known of certificates.
    connection: Option<&'a Connection>,
}

impl Clients {
    pub(super) fn register(&self, client_id: String, auth: ClientAuth) {
        lock(&self.known).insert(client_id, auth);
    }

    pub(super) fn remove(&self, client_id: &str) {
        lock(&self.known).remove(client_id);
    }

    /// The id of the client that the request is of.
    ///
    /// # Errors
    /// Why the client is not recognized.
    pub(super) async fn recognize<B>(
        &self,
        request: &Request<B>,
        form: HashMap<String, String>,
    ) -> Result<String, String> {
        let shown = Shown::new(request, form);
        let (client_id, auth) = {
            let known = lock(&self.known);
            let mut ids = shown.client_ids().into_iter();
            ids.find_map(|id| known.get(&id).cloned().map(|auth| (id, auth)))
                .ok_or("The client is not registered.")?
        };
        let method = shown.method();
        let methods = auth.methods();
        if !methods.iter().any(|it| method.contains(it)) {
            // In the words of Ory Hydra.
            return Err(format!(
                "The OAuth 2.0 Client supports client authentication method '{}', but method '{}' was requested.",
                methods[0], method[0]
            ));
        }
        let evidence = auth.read().await.map_err(|error| error.to_string())?;
        let is_proven = match &evidence {
            ReadAuth::Open(secret) => match &shown.basic {
                Some(basic) => is_pair(basic, &client_id, secret),
                None => shown.form("client_secret") == Some(secret),
            },
            ReadAuth::Ready(CarriedAuth::Post(secret)) => {
                shown.form("client_secret") == Some(secret)
            }
            ReadAuth::Ready(CarriedAuth::Basic(secret)) => {
                let basic = shown.basic.as_deref().unwrap_or_default();
                is_pair(basic, &client_id, secret)
            }
            ReadAuth::Ready(CarriedAuth::BasicRaw(secret)) => {
                let basic = shown.basic.as_deref().and_then(|it| it.split_once(':'));
                basic == Some((&client_id, secret))
            }
            ReadAuth::Ready(CarriedAuth::Assertion(assertion, beside)) => {
                shown.form("client_assertion") == Some(assertion)
                    && shown.form("client_assertion_type") == Some(&beside.kind)
            }
            ReadAuth::Ready(CarriedAuth::ClientId) => {
                let is_seen = |connection: &Connection| connection.certificate.is_some();
                !auth.is_by_certificate() || shown.connection.is_none_or(is_seen)
            }
            // Without an id there is no client to register.
            ReadAuth::Ready(CarriedAuth::Nothing) => false,
            #[cfg(feature = "jwt")]
            ReadAuth::Signed(assertion, beside) => {
                shown.form("client_assertion_type") == Some(&beside.kind)
                    && shown.form("client_assertion").is_some_and(|jwt| {
                        self.is_new(jwt) && is_signed_for(jwt, &client_id, &assertion.key)
                    })
            }
        };
        match is_proven {
            true => Ok(client_id),
            false => Err(format!(
                "The proof of the client {client_id:?} is not valid."
            )),
        }
    }

    /// Whether an assertion has an id that was not used before.
    #[cfg(feature = "jwt")]
    fn is_new(&self, jwt: &str) -> bool {
        let id = claims(jwt).and_then(|claims| Some(claims["jti"].as_str()?.to_owned()));
        id.is_some_and(|id| lock(&self.used).insert(id))
    }
}

impl<'a> Shown<'a> {
    fn new<B>(request: &'a Request<B>, form: HashMap<String, String>) -> Self {
        let basic = request.headers().get(AUTHORIZATION).and_then(|value| {
            let pair = value.to_str().ok()?.strip_prefix("Basic ")?;
            String::from_utf8(BASE64_STANDARD.decode(pair).ok()?).ok()
        });
        Self {
            form,
            basic,
            connection: request.extensions().get(),
        }
    }

    fn form(&self, name: &str) -> Option<&str> {
        self.form.get(name).map(String::as_str)
    }

    /// What may be the client's id. That of a Basic header is form-encoded or not.
    fn client_ids(&self) -> Vec<String> {
        if let Some((id, _)) = self.basic.as_deref().and_then(|it| it.split_once(':')) {
            return vec![id.to_owned(), decoded(id)];
        }
        let assertion = || {
            claims(self.form("client_assertion")?)?["sub"]
                .as_str()
                .map(Into::into)
        };
        let id = self.form("client_id").map(Into::into);
        id.or_else(assertion).into_iter().collect()
    }

    /// The methods that look like this.
    fn method(&self) -> &'static [&'static str] {
        if self.basic.is_some() {
            return &["client_secret_basic"];
        }
        if self.form.contains_key("client_assertion") {
            return &["private_key_jwt", "client_secret_jwt", "spiffe_jwt"];
        }
        match self.form.contains_key("client_secret") {
            true => &["client_secret_post"],
            false => &["none", "tls_client_auth"],
        }
    }
}

/// Whether it is this id and this secret, form-encoded.
fn is_pair(basic: &str, client_id: &str, secret: &str) -> bool {
    basic
        .split_once(':')
        .is_some_and(|(id, rest)| decoded(id) == client_id && decoded(rest) == secret)
}

fn decoded(text: &str) -> String {
    let text = form_urlencoded::parse(text.as_bytes()).next();
    text.map(|(text, _)| text.into_owned()).unwrap_or_default()
}

/// The claims of a JWT, by whichever key it was signed.
fn claims(jwt: &str) -> Option<serde_json::Value> {
    let claims = jwt.split('.').nth(1)?;
    let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(claims);
    serde_json::from_slice(&claims.ok()?).ok()
}

/// Whether the client signed it about itself, for a time that is not over. Whom it is for is not looked at: the server does not
/// know what it is called.
#[cfg(feature = "jwt")]
fn is_signed_for(
    jwt: &str,
    client_id: &str,
    key: &crate::client_credentials::auth::jwt::ReadKey,
) -> bool {
    let Some((input, signature)) = jwt.rsplit_once('.') else {
        return false;
    };
    let (Some(claims), Ok(signature)) = (
        claims(jwt),
        base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(signature),
    ) else {
        return false;
    };
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    claims["iss"] == client_id
        && claims["sub"] == client_id
        && claims["exp"].as_u64().is_some_and(|end| now < end)
        && key.verifies(input.as_bytes(), &signature)
}
