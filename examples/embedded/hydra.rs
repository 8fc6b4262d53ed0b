//! An authorization server that answers as Ory Hydra does, for one client that authenticates in the form body.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, response::Response, routing::post};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, PRAGMA},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use url::form_urlencoded;

use super::{
    Served,
    gate::{Gate, Held},
};

/// The client that the server knows, and how the server treats it.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    /// The scopes that the client may ask for.
    pub(crate) scopes: Vec<String>,
    pub(crate) token_lifetime: Duration,
    /// How long the server takes for each token request.
    pub(crate) token_request_delay: Duration,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            client_id: "embedded-client".into(),
            // With characters that have to be encoded on their way.
            client_secret: "s3cret+/=&%~ of the embedded client".into(),
            scopes: ["billing", "credits", "ecommerce"].map(Into::into).into(),
            token_lifetime: Duration::from_secs(24 * 60 * 60),
            token_request_delay: Duration::ZERO,
        }
    }
}

/// A running authorization server. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub(crate) struct Hydra {
    served: Served,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    registration: Registration,
    gate: Gate,
    live: Mutex<HashMap<String, Grant>>,
    token_requests: AtomicU64,
    issued: AtomicU64,
}

/// What a token allows.
#[derive(Debug)]
struct Grant {
    scopes: Vec<String>,
    expires_at: Instant,
}

impl Hydra {
    pub(crate) async fn start(registration: Registration) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            registration,
            gate: Gate::default(),
            live: Mutex::default(),
            token_requests: AtomicU64::new(0),
            issued: AtomicU64::new(0),
        });
        let router = Router::new()
            .route("/oauth2/token", post(token))
            .with_state(Arc::clone(&shared));
        let served = Served::start(router).await?;
        Ok(Self { served, shared })
    }

    pub(crate) fn token_url(&self) -> String {
        format!("{}/oauth2/token", self.served.origin())
    }

    pub(crate) fn registration(&self) -> &Registration {
        &self.shared.registration
    }

    /// How often the token endpoint was called.
    pub(crate) fn token_requests(&self) -> u64 {
        self.shared.token_requests.load(Ordering::Relaxed)
    }

    /// How many of them got a token.
    pub(crate) fn issued(&self) -> u64 {
        self.shared.issued.load(Ordering::Relaxed)
    }

    /// Holds token requests in flight: each has arrived and is counted, and waits.
    pub(crate) fn hold(&self) -> Held {
        self.shared.gate.hold()
    }

    /// Ends the life of every token that was issued so far.
    pub(crate) fn revoke_all(&self) {
        self.shared.live().clear();
    }

    /// The scopes of a token; `None` if it is unknown, revoked or expired.
    pub(crate) fn scopes_of(&self, token: &str) -> Option<Vec<String>> {
        let live = self.shared.live();
        let grant = live.get(token)?;
        (Instant::now() < grant.expires_at).then(|| grant.scopes.clone())
    }
}

async fn token(State(hydra): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    hydra.token_requests.fetch_add(1, Ordering::Relaxed);
    hydra.gate.pass().await;
    sleep(hydra.registration.token_request_delay).await;
    match hydra.token_request(&headers, &body) {
        Ok(token) => {
            hydra.issued.fetch_add(1, Ordering::Relaxed);
            answer(StatusCode::OK, &token)
        }
        Err(Rejection(status, code, description)) => {
            let error = json!({"error": code, "error_description": description});
            answer(status, &error)
        }
    }
}

/// Status, `error` and `error_description`.
struct Rejection(StatusCode, &'static str, String);

impl Shared {
    /// The checks in Hydra's order.
    fn token_request(&self, headers: &HeaderMap, body: &[u8]) -> Result<Value, Rejection> {
        let is_form = headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(FORM.as_bytes()));
        if !is_form || body.is_empty() {
            return Err(malformed("The POST body can not be empty."));
        }
        let form: HashMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
        let Some(grant_type) = form.get("grant_type") else {
            return Err(malformed("Request parameter 'grant_type' is missing"));
        };
        self.authenticate(headers, &form)?;
        if grant_type != "client_credentials" {
            return Err(malformed("This grant type is not supported here."));
        }
        let scopes = self.allow(form.get("scope").map_or("", String::as_str))?;
        Ok(self.issue(scopes))
    }

    fn authenticate(
        &self,
        headers: &HeaderMap,
        form: &HashMap<String, String>,
    ) -> Result<(), Rejection> {
        // The method counts before the secret: a right secret sent the wrong way is rejected as well.
        if headers.contains_key(AUTHORIZATION) {
            return Err(unauthenticated(
                " The OAuth 2.0 Client supports client authentication method 'client_secret_post', but method \
                 'client_secret_basic' was requested.",
            ));
        }
        let Some(client_id) = form.get("client_id") else {
            return Err(malformed(
                "Client credentials missing or malformed in both HTTP Authorization header and HTTP POST body.",
            ));
        };
        let known = &self.registration;
        if *client_id == known.client_id && form.get("client_secret") == Some(&known.client_secret)
        {
            Ok(())
        } else {
            Err(unauthenticated(""))
        }
    }

    /// The requested scopes, if the client may have all of them. A client that asks for none gets none; that is not an error.
    fn allow(&self, asked: &str) -> Result<Vec<String>, Rejection> {
        let asked: Vec<String> = asked.split_whitespace().map(Into::into).collect();
        match asked
            .iter()
            .find(|scope| !self.registration.scopes.contains(scope))
        {
            Some(scope) => Err(Rejection(
                StatusCode::BAD_REQUEST,
                "invalid_scope",
                format!("The OAuth 2.0 Client is not allowed to request scope '{scope}'."),
            )),
            None => Ok(asked),
        }
    }

    fn issue(&self, scopes: Vec<String>) -> Value {
        let expires_at = Instant::now() + self.registration.token_lifetime;
        let token = format!("ory_at_{}.{}", random_part(), random_part());
        let scope = scopes.join(" ");
        let grant = Grant { scopes, expires_at };
        self.live().insert(token.clone(), grant);
        // Computed from the end of the token's life and truncated: of 24 hours it says 86399.
        let expires_in = (expires_at - Instant::now()).as_secs();
        json!({"access_token": token, "expires_in": expires_in, "scope": scope, "token_type": "bearer"})
    }

    fn live(&self) -> MutexGuard<'_, HashMap<String, Grant>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random_part() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(std::array::from_fn::<u8, 32, _>(|_| fastrand::u8(..)))
}

fn malformed(detail: &str) -> Rejection {
    Rejection(
        StatusCode::BAD_REQUEST,
        "invalid_request",
        format!(
            "The request lacks a parameter, has one twice, or is otherwise malformed. {detail}"
        ),
    )
}

/// 401, and without the `WWW-Authenticate` that a reader of RFC 9110 might look for: Hydra sends none.
fn unauthenticated(detail: &str) -> Rejection {
    Rejection(
        StatusCode::UNAUTHORIZED,
        "invalid_client",
        format!(
            "Client authentication failed (e.g., unknown client, no client authentication included, or unsupported \
             authentication method).{detail}"
        ),
    )
}

fn answer(status: StatusCode, json: &Value) -> Response {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json;charset=UTF-8")
        .header(CACHE_CONTROL, "no-store")
        .header(PRAGMA, "no-cache")
        .body(json.to_string().into())
        .expect("constant headers are valid")
}

const FORM: &str = "application/x-www-form-urlencoded";
