//! An axum service whose handlers call a protected API, through a client in its state.
//!
//! ```sh
//! cargo run --example axum_service
//! ```
//! [`Shop`] is the state. [`Failure`] is what a caller sees when there is no token. [`ready`] is the readiness probe.

mod embedded;

use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, body::Body, body::to_bytes, routing::get};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tower::{BoxError, Layer, ServiceExt};
use tower_bearer::{BearerAuth, BearerAuthLayer, ClientCredentials};
use tower_bearer::{Error, ErrorKind, TokenCache, select::Origins};

use self::embedded::{Gateway, Hydra, Registration, TENANT};

/// Cheap to clone: the clones share connections and token.
#[derive(Clone)]
struct Shop {
    api: BearerAuth<Client<HttpConnector, String>, Origins>,
    tokens: TokenCache,
    origin: String,
}

impl Shop {
    fn new(hydra: &Hydra, secret: &str, gateway: &Gateway) -> Result<Self, Error> {
        let client_id = &hydra.registration().client_id;
        let source = ClientCredentials::builder(hydra.token_url(), client_id, secret);
        let bearer = BearerAuthLayer::new(source.scopes(["ecommerce"]).build()?)
            .select(Origins::new([gateway.origin()])?);
        Ok(Self {
            tokens: bearer.cache().clone(),
            api: bearer.layer(Client::builder(TokioExecutor::new()).build_http()),
            origin: gateway.origin(),
        })
    }

    fn routes(self) -> Router {
        let routes = Router::new().route("/carts/{cart}", get(cart));
        routes.route("/ready", get(ready)).with_state(self)
    }
}

async fn cart(State(shop): State<Shop>, Path(cart): Path<u32>) -> Result<Json<Value>, Failure> {
    let uri = format!("{}/ecommerce/public/{TENANT}/cart/{cart}", shop.origin);
    let answer = shop.api.oneshot(Request::get(uri).body("".into())?).await?;
    let status = answer.status();
    let body = to_bytes(Body::new(answer.into_body()), 1 << 20).await?;
    // A 401 of the API is about our token, not about the caller, so the caller does not get it.
    if status != StatusCode::OK {
        return Err(BoxError::from(format!("the API answered {status}")).into());
    }
    Ok(Json(serde_json::from_slice(&body)?))
}

/// Ready with a usable token, or if no token request has failed.
async fn ready(State(shop): State<Shop>) -> Result<(), StatusCode> {
    let state = shop.tokens.state();
    let ready = state.is_usable() || state.error().is_none();
    ready.then_some(()).ok_or(StatusCode::SERVICE_UNAVAILABLE)
}

/// Why there is no answer. The caller gets a plain reason; the log gets what the token endpoint said.
struct Failure(BoxError);

impl<E: Into<BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        eprintln!("    [log] {}", self.0);
        let (status, why) = match self.0.downcast_ref().map(Error::kind) {
            Some(ErrorKind::Timeout) => (StatusCode::GATEWAY_TIMEOUT, "no token in time"),
            Some(ErrorKind::Unavailable) => (StatusCode::SERVICE_UNAVAILABLE, "no token for now"),
            Some(_) => (StatusCode::BAD_GATEWAY, "no token for the API"),
            None => (StatusCode::BAD_GATEWAY, "no answer of use from the API"),
        };
        (status, why).into_response()
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let hydra = Hydra::start(Registration::default()).await?;
    let gateway = Gateway::start(&hydra).await?;
    // Your own service continues with `axum::serve(listener, shop.routes())`.
    let shop = Shop::new(&hydra, &hydra.registration().client_secret, &gateway)?;
    let (good, mut answers) = (shop.routes(), Vec::new());
    answers.push(ask(&good, "/carts/7").await?);
    hydra.revoke_all();
    answers.push(ask(&good, "/carts/8").await?);
    answers.push(ask(&good, "/ready").await?);
    let denied = Shop::new(&hydra, "yesterday's secret", &gateway)?.routes();
    answers.push(ask(&denied, "/carts/9").await?);
    answers.push(ask(&denied, "/ready").await?);

    let seen = (answers, hydra.token_requests(), gateway.answered());
    println!("statuses, token requests, calls of the API: {seen:?}");
    let told = (vec![200, 200, 200, 502, 503], 3, 3);
    let as_told = (seen == told).then_some(());
    as_told.ok_or_else(|| format!("they should be {told:?}").into())
}

async fn ask(routes: &Router, path: &str) -> Result<u16, BoxError> {
    let request = Request::get(path).body(Body::empty())?;
    let answer = routes.clone().oneshot(request).await?;
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 1 << 20).await?;
    println!("GET {path}: {status} {}", String::from_utf8_lossy(&body));
    Ok(status.as_u16())
}
