//! The service: an axum server that calls an API with one of several credentials.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt};
use tower_bearer::{
    BearerAuth, BearerAuthLayer, Error, TokenCache, client_credentials::ClientCredentialsBuilder,
};
use tower_http::trace::{DefaultMakeSpan, TraceLayer};
use tracing::{Instrument, Level, info_span};

type Api = BearerAuth<Client<HttpConnector, String>>;

/// One client of the API for each credential, by its name.
#[derive(Clone)]
pub(crate) struct Shop {
    clients: Arc<BTreeMap<String, (Api, TokenCache)>>,
    api: String,
    metrics: PrometheusHandle,
}

impl Shop {
    pub(crate) fn new(api: &str, metrics: PrometheusHandle) -> Self {
        Self {
            clients: Arc::default(),
            api: api.to_owned(),
            metrics,
        }
    }

    /// The name of the cache is what operators see.
    pub(crate) fn add(
        &mut self,
        name: &str,
        credentials: ClientCredentialsBuilder,
    ) -> Result<(), Error> {
        // The spans of this transport are inside the token request's.
        let spans =
            TraceLayer::new_for_http().make_span_with(DefaultMakeSpan::new().level(Level::INFO));
        let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let source = credentials.build_with(ServiceBuilder::new().layer(spans).service(http))?;
        let cache = TokenCache::builder(source).name(name).build()?;
        let layer = BearerAuthLayer::from_cache(cache.clone());
        let api = layer.layer(Client::builder(TokioExecutor::new()).build_http());
        Arc::make_mut(&mut self.clients).insert(name.to_owned(), (api, cache));
        Ok(())
    }

    pub(crate) fn routes(self) -> Router {
        Router::new()
            .route("/orders/{credential}", get(orders))
            .route("/refresh/{credential}", get(refresh))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self)
    }
}

/// Calls the API with this credential. The log says why there is no token; the caller learns only that there is none.
async fn orders(State(shop): State<Shop>, Path(name): Path<String>) -> Result<(), StatusCode> {
    let (api, _) = shop.clients.get(&name).ok_or(StatusCode::NOT_FOUND)?;
    let request = Request::get(format!("{}/orders", shop.api)).body(String::new());
    let request = request.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let called = api.clone().oneshot(request);
    let answer: Result<_, BoxError> = called.instrument(info_span!("orders", name)).await;
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(()),
        _ => Err(StatusCode::BAD_GATEWAY),
    }
}

/// For an operator who has mended a credential: it does not wait for the backoff after a permanent failure.
async fn refresh(State(shop): State<Shop>, Path(name): Path<String>) -> Result<(), StatusCode> {
    let (_, cache) = shop.clients.get(&name).ok_or(StatusCode::NOT_FOUND)?;
    let token = cache.refresh().await;
    token.map(drop).map_err(|_| StatusCode::BAD_GATEWAY)
}

/// Ready while any credential can be used, or has not failed. Without the others it answers some requests; taken out of service
/// with all its siblings, it would answer none.
async fn ready(State(shop): State<Shop>) -> Response {
    let states: BTreeMap<_, _> = shop
        .clients
        .iter()
        .map(|(name, (_, cache))| {
            let state = cache.state();
            let is_ready = state.is_usable() || state.error().is_none();
            (name.clone(), if is_ready { "ready" } else { "failing" })
        })
        .collect();
    let status = match states.values().any(|state| *state == "ready") {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(states)).into_response()
}

/// For Prometheus.
async fn metrics(State(shop): State<Shop>) -> String {
    shop.metrics.run_upkeep();
    shop.metrics.render()
}
