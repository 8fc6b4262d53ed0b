//! An API gateway with the calls of IPXO's guide, open to requests with a valid token.
//!
//! Paths, methods and the body of `credits/apply` are those of IPXO's guide. The answers are invented.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{
    HeaderMap, Method, StatusCode, Uri, Version,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
    request::Parts,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Served,
    gate::{Gate, Held},
    hydra::Hydra,
};

/// A tenant to call for. Any other is served as well.
pub(crate) const TENANT: &str = "3f0c8c8e-5b7a-4c0e-9d39-6a1f2b7c4d10";

/// A running gateway. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    served: Served,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    hydra: Hydra,
    gate: Gate,
    calls: Mutex<Vec<Call>>,
}

/// A call as it came, and the status that it was answered with.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) status: StatusCode,
}

impl Gateway {
    /// A gateway that lets in whom `hydra` gave a token.
    pub(crate) async fn start(hydra: &Hydra) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            hydra: hydra.clone(),
            gate: Gate::default(),
            calls: Mutex::default(),
        });
        let tenant = Router::new()
            .route("/cart", get(carts))
            .route("/cart/{cart}", get(cart))
            .route("/orders/{order}/credits/apply", post(apply_credits))
            .route("/orders/{order}/checkout", post(checkout));
        let router = Router::new()
            .nest("/ecommerce/public/{tenant}", tenant)
            .layer(from_fn_with_state(Arc::clone(&shared), guard));
        let served = Served::start(router).await?;
        Ok(Self { served, shared })
    }

    /// Scheme, host and port, as in `http://127.0.0.1:8080`.
    pub(crate) fn origin(&self) -> String {
        self.served.origin()
    }

    /// How many calls were answered, with any status.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.calls().len() as u64
    }

    /// How many calls were answered with this status.
    pub(crate) fn answered_with(&self, status: StatusCode) -> u64 {
        let calls = self.shared.calls();
        calls.iter().filter(|call| call.status == status).count() as u64
    }

    /// The calls in the order of their answers.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls().clone()
    }

    /// How many TCP connections were accepted.
    pub(crate) fn connections(&self) -> u64 {
        self.served.connections.load(Ordering::Relaxed)
    }

    /// Holds calls in flight: each has arrived, and its token is looked at when the gate opens.
    pub(crate) fn hold(&self) -> Held {
        self.shared.gate.hold()
    }
}

impl Shared {
    /// The answer to a request whose token is missing, not valid, or lacks a scope.
    fn rejection(&self, request: &Parts) -> Option<Response> {
        let credentials = request.headers.get(AUTHORIZATION);
        let token = credentials
            .and_then(|credentials| credentials.to_str().ok())
            .and_then(|credentials| credentials.strip_prefix("Bearer "));
        let Some(token) = token else {
            return Some(reject(StatusCode::UNAUTHORIZED, "Bearer"));
        };
        let Some(scopes) = self.hydra.scopes_of(token) else {
            let challenge = r#"Bearer error="invalid_token""#;
            return Some(reject(StatusCode::UNAUTHORIZED, challenge));
        };
        let needed = scope_for(request.uri.path());
        if !scopes.iter().any(|scope| scope == needed) {
            let challenge = format!(r#"Bearer error="insufficient_scope", scope="{needed}""#);
            return Some(reject(StatusCode::FORBIDDEN, &challenge));
        }
        None
    }

    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stands before every call: holds it if the gate is closed, looks at its token, and writes it down before it is
/// answered, so that a client that has its answer finds its call counted.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    shared.gate.pass().await;
    let response = match shared.rejection(&head) {
        Some(rejection) => rejection,
        None => {
            let request = Request::from_parts(head.clone(), Body::from(body.clone()));
            next.run(request).await
        }
    };
    let call = Call {
        method: head.method,
        uri: head.uri,
        version: head.version,
        headers: head.headers,
        body,
        status: response.status(),
    };
    shared.calls().push(call);
    response
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

fn scope_for(path: &str) -> &'static str {
    if path.ends_with("/credits/apply") {
        "credits"
    } else {
        "ecommerce"
    }
}

fn reject(status: StatusCode, challenge: &str) -> Response {
    let why = json!({"message": status.canonical_reason()});
    (status, [(WWW_AUTHENTICATE, challenge)], Json(why)).into_response()
}

const LARGEST_BODY: usize = 1024 * 1024;
