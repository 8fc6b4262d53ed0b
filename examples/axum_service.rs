//! An axum service whose handlers call a protected API, through a client in its state.
//!
//! ```sh
//! cargo run --example axum_service
//! cargo test --example axum_service
//! ```
//! [`Shop`] is the state. [`Failure`] is what a caller sees when there is no token. [`ready`] is the readiness probe. The tests at
//! the end are those that a service of yours would have. The example `observed` adds metrics, logs and a trace.

use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, body::Body, body::to_bytes, routing::get};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tower::{BoxError, Layer, ServiceExt};
use tower_bearer::test_util::{AuthorizationServer, ProtectedApi, Served};
use tower_bearer::{BearerAuth, BearerAuthLayer, ClientCredentials};
use tower_bearer::{Error, ErrorKind, TokenCache, select::Origins};

/// Cheap to clone: the clones share connections and token.
#[derive(Clone)]
struct Shop {
    api: BearerAuth<Client<HttpConnector, String>, Origins>,
    tokens: TokenCache,
    origin: String,
}

impl Shop {
    fn new(token_url: &str, secret: &str, origin: &str) -> Result<Self, Error> {
        let source = ClientCredentials::builder(token_url, "client", secret);
        let bearer =
            BearerAuthLayer::new(source.scopes(["ecommerce"]).build()?).origins([origin])?;
        Ok(Self {
            tokens: bearer.cache().clone(),
            api: bearer.layer(Client::builder(TokioExecutor::new()).build_http()),
            origin: origin.to_owned(),
        })
    }

    fn routes(self) -> Router {
        let routes = Router::new().route("/carts/{cart}", get(cart));
        routes.route("/ready", get(ready)).with_state(self)
    }
}

async fn cart(State(shop): State<Shop>, Path(cart): Path<u32>) -> Result<Json<Value>, Failure> {
    let uri = format!("{}/carts/{cart}", shop.origin);
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

/// An authorization server, and an API that has a cart for everybody with a token.
async fn servers() -> Result<(AuthorizationServer, ProtectedApi, [Served; 2]), BoxError> {
    let server = AuthorizationServer::new();
    let carts = Router::new().route(
        "/carts/{cart}",
        get(async |Path(cart): Path<u32>| Json(json!({"cart": cart, "items": []}))),
    );
    let api = ProtectedApi::with_handler(&server, carts);
    let served = [server.serve().await?, api.serve().await?];
    Ok((server, api, served))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (server, api, [auth, served]) = servers().await?;
    // Your own service continues with `axum::serve(listener, shop.routes())`.
    let shop = Shop::new(auth.url(), "secret", served.url())?.routes();
    println!("GET /carts/7: {:?}", ask(&shop, "/carts/7").await?);
    server.revoke_all();
    println!("GET /carts/8: {:?}", ask(&shop, "/carts/8").await?);
    println!("GET /ready:   {:?}", ask(&shop, "/ready").await?);
    server.assert_token_requests(2);
    api.assert_calls(3);
    Ok(())
}

/// What a caller of the service sees.
async fn ask(routes: &Router, path: &str) -> Result<(u16, String), BoxError> {
    let request = Request::get(path).body(Body::empty())?;
    let answer = routes.clone().oneshot(request).await?;
    let status = answer.status().as_u16();
    let body = to_bytes(answer.into_body(), 1 << 20).await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use tower_bearer::test_util::Answer;

    use super::*;

    #[tokio::test]
    async fn a_callers_request_survives_a_revoked_token() -> Result<(), BoxError> {
        let (server, api, [auth, served]) = servers().await?;
        let shop = Shop::new(auth.url(), "secret", served.url())?.routes();
        assert_eq!(ask(&shop, "/carts/7").await?.0, 200);
        server.revoke_all();
        let (status, body) = ask(&shop, "/carts/8").await?;
        assert_eq!((status, &*body), (200, r#"{"cart":8,"items":[]}"#));
        api.assert_calls(3);
        Ok(())
    }

    #[tokio::test]
    async fn callers_are_told_that_there_is_no_token_and_the_probe_as_well() -> Result<(), BoxError>
    {
        let (server, api, [auth, served]) = servers().await?;
        let shop = Shop::new(auth.url(), "yesterday's secret", served.url())?.routes();
        assert_eq!(ask(&shop, "/ready").await?.0, 200);
        let (status, why) = ask(&shop, "/carts/7").await?;
        assert_eq!((status, &*why), (502, "no token for the API"));
        assert_eq!(ask(&shop, "/ready").await?.0, 503);
        server.assert_token_requests(1);
        api.assert_calls(0);
        Ok(())
    }

    #[tokio::test]
    async fn a_token_endpoint_that_is_busy_is_not_the_callers_fault() -> Result<(), BoxError> {
        let (server, _, [auth, served]) = servers().await?;
        server.script([Answer::TooManyRequests(std::time::Duration::from_secs(9))]);
        let shop = Shop::new(auth.url(), "secret", served.url())?.routes();
        let (status, why) = ask(&shop, "/carts/7").await?;
        assert_eq!((status, &*why), (503, "no token for now"));
        Ok(())
    }
}
