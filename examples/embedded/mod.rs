//! What the main job needs of IPXO's two servers, without an account: the test kit's, on loopback sockets in this process.
//!
//! ```text
//! client ──POST /oauth2/token──▶ Hydra ◀──is this token valid?── Gateway ◀──Authorization: Bearer── client
//! ```
//! Both count what reaches them, so a figure is what a server saw. Paths, methods and the body of `credits/apply` are those of
//! IPXO's guide. The answers are invented.

#![allow(dead_code, reason = "each example and test uses its own part of it")]
#![allow(unused_imports, reason = "as above")]

use std::{io, sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{Path, Request},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, header::WWW_AUTHENTICATE};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_bearer::{
    ClientAuth,
    test_util::{AuthorizationServer, Grant, ProtectedApi, Served},
};

pub(crate) use tower_bearer::test_util::{Call, Held};

/// A tenant to call for. Any other is served as well.
pub(crate) const TENANT: &str = "3f0c8c8e-5b7a-4c0e-9d39-6a1f2b7c4d10";

/// The client that the server knows, and how the server treats it.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
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

/// A running authorization server, for one client that authenticates in the form body. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub(crate) struct Hydra {
    registration: Arc<Registration>,
    server: AuthorizationServer,
    served: Arc<Served>,
}

impl Hydra {
    pub(crate) async fn start(registration: Registration) -> io::Result<Self> {
        let server = AuthorizationServer::new();
        server.register(
            &registration.client_id,
            ClientAuth::post(&registration.client_secret),
        );
        server.lifetime(registration.token_lifetime);
        server.delay(registration.token_request_delay);
        Ok(Self {
            registration: Arc::new(registration),
            served: Arc::new(server.serve().await?),
            server,
        })
    }

    pub(crate) fn token_url(&self) -> String {
        format!("{}/oauth2/token", self.served.url())
    }

    pub(crate) fn registration(&self) -> &Registration {
        &self.registration
    }

    pub(crate) fn token_requests(&self) -> u64 {
        self.server.token_requests() as u64
    }

    /// Holds token requests in flight: each has arrived and is counted, and waits.
    pub(crate) fn hold(&self) -> Held {
        self.server.hold()
    }

    /// Ends the life of every token that was issued so far.
    pub(crate) fn revoke_all(&self) {
        self.server.revoke_all();
    }

    /// The scopes of a token; `None` if it is unknown, revoked or expired.
    pub(crate) fn scopes_of(&self, token: &str) -> Option<Vec<String>> {
        Some(self.server.grant(token)?.scopes)
    }
}

/// A running gateway. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    api: ProtectedApi,
    served: Arc<Served>,
}

impl Gateway {
    /// A gateway that lets in whom `hydra` gave a token.
    pub(crate) async fn start(hydra: &Hydra) -> io::Result<Self> {
        let api = ProtectedApi::with_handler(&hydra.server, routes());
        let served = Arc::new(api.serve().await?);
        Ok(Self { api, served })
    }

    /// Scheme, host and port, as in `http://127.0.0.1:8080`.
    pub(crate) fn origin(&self) -> String {
        self.served.url().to_owned()
    }

    /// How many calls were answered, with any status.
    pub(crate) fn answered(&self) -> u64 {
        let calls = self.calls();
        calls.iter().filter(|call| call.status.is_some()).count() as u64
    }

    /// How many calls were answered with this status.
    pub(crate) fn answered_with(&self, status: StatusCode) -> u64 {
        let calls = self.calls();
        let answered = calls.iter().filter(|call| call.status == Some(status));
        answered.count() as u64
    }

    /// The calls in the order in which they came.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.api.calls()
    }

    /// How many TCP connections were accepted.
    pub(crate) fn connections(&self) -> u64 {
        self.served.connections() as u64
    }

    /// Holds calls in flight: each has arrived, and its token is looked at when the gate opens.
    pub(crate) fn hold(&self) -> Held {
        self.api.hold()
    }
}

/// The calls of IPXO's guide, for those who have a token.
fn routes() -> Router {
    let tenant = Router::new()
        .route("/cart", get(carts))
        .route("/cart/{cart}", get(cart))
        .route("/orders/{order}/credits/apply", post(apply_credits))
        .route("/orders/{order}/checkout", post(checkout));
    Router::new()
        .nest("/ecommerce/public/{tenant}", tenant)
        .layer(from_fn(check_scope))
}

/// Lets requests through whose token has the scope for them.
async fn check_scope(Extension(grant): Extension<Grant>, request: Request, next: Next) -> Response {
    let needed = match request.uri().path().ends_with("/credits/apply") {
        true => "credits",
        false => "ecommerce",
    };
    if grant.scopes.iter().any(|scope| scope == needed) {
        return next.run(request).await;
    }
    let challenge = format!(r#"Bearer error="insufficient_scope", scope="{needed}""#);
    (StatusCode::FORBIDDEN, [(WWW_AUTHENTICATE, challenge)]).into_response()
}

async fn carts(Path(tenant): Path<String>) -> Json<Value> {
    Json(json!({"tenant": tenant, "carts": []}))
}

async fn cart(Path((tenant, cart)): Path<(String, String)>) -> Json<Value> {
    Json(json!({"tenant": tenant, "cart": cart, "items": []}))
}

#[derive(Deserialize)]
struct Credits {
    amount: u64,
}

async fn apply_credits(
    Path((_tenant, order)): Path<(String, String)>,
    Json(credits): Json<Credits>,
) -> Json<Value> {
    Json(json!({"order": order, "applied": credits.amount}))
}

async fn checkout(Path((_tenant, order)): Path<(String, String)>) -> Json<Value> {
    Json(json!({"order": order, "checked_out": true}))
}
