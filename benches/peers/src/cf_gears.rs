//! `cf-gears-toolkit-auth`: the nearest relative, two layers. The service below must have its own error type.

use std::sync::Arc;

use http::Request;
use toolkit_auth::oauth2::{
    BearerAuthAutoRefreshLayer, BearerAuthLayer, OAuthClientConfig, SecretString, TokenProvider,
};
use toolkit_http::{HttpClientConfig, HttpError};
use tower::Layer;

use crate::{
    endpoint,
    support::{
        herd::{Caller, Peer, calls},
        warm::{Body, Drivers, answer},
    },
};

pub(crate) fn add(drivers: &mut Drivers) {
    let warm = async || {
        let tokens = tokens(endpoint::start());
        tokens.get().await.unwrap();
        tokens
    };
    let api = || tower::service_fn(answer::<HttpError>);
    drivers.add_service("cf-gears BearerAuthLayer", "no", async || {
        BearerAuthLayer::new(warm().await).layer(api())
    });
    drivers.add_service(RETRYING, "yes", async || {
        BearerAuthAutoRefreshLayer::new(warm().await).layer(api())
    });
}

const RETRYING: &str = "cf-gears BearerAuthAutoRefreshLayer";

fn tokens(token_endpoint: url::Url) -> TokenProvider {
    TokenProvider::new(OAuthClientConfig {
        token_endpoint: Some(token_endpoint),
        client_id: "id".into(),
        client_secret: SecretString::new("secret"),
        http_config: Some(HttpClientConfig::for_testing()),
        ..OAuthClientConfig::default()
    })
    .unwrap()
}

pub(crate) fn peer() -> Peer {
    Peer::new(RETRYING, true, |token_request, api| -> Caller {
        let url = endpoint::serve(move || {
            let token_request = Arc::clone(&token_request);
            async move { token_request.token().await }
        });
        let layer = BearerAuthAutoRefreshLayer::new(tokens(url));
        calls(
            layer.layer(tower::service_fn(move |request: Request<Body>| {
                let api = Arc::clone(&api);
                async move { Ok::<_, HttpError>(api.answer(request).await) }
            })),
        )
    })
}
