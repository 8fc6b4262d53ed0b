//! What is told to operators, down to TRACE and by the layers below too, and what is not.

#![cfg(all(feature = "rustls", feature = "tracing"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../examples/embedded/mod.rs"]
mod embedded;

use std::{
    io,
    sync::{Arc, Mutex},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{ServiceBuilder, ServiceExt};
use tower_bearer::{BearerAuthLayer, ClientAuth, ClientCredentials, TokenCache, ipxo};
use tower_http::trace::TraceLayer;
use tracing_subscriber::fmt::MakeWriter;
use url::form_urlencoded::byte_serialize;

use self::embedded::{Gateway, Hydra, Registration, TENANT};

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Told {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Told {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn random(prefix: &str) -> String {
    let text = std::iter::repeat_with(fastrand::alphanumeric).take(24);
    text.fold(prefix.to_owned(), |all, next| all + &String::from(next))
}

/// A token got, refused and replaced, and one denied, over real sockets with a `TraceLayer` above and below.
///
/// Promise: S4, R9
#[tokio::test]
async fn events_tell_what_happened_and_neither_secret_nor_token() {
    let told = Told::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(told.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let secret = random("s+/ecret-");
    let hydra = Hydra::start(Registration {
        client_secret: secret.clone(),
        ..Registration::default()
    })
    .await
    .unwrap();
    let gateway = Gateway::start(&hydra).await.unwrap();
    let client_id = hydra.registration().client_id.clone();
    let credentials = |secret: &str| {
        ipxo::credentials(&client_id, secret, ["ecommerce"]).token_url(hydra.token_url())
    };

    let cache = TokenCache::new(credentials(&secret).build().unwrap());
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(BearerAuthLayer::from_cache(cache.clone()))
        .layer(TraceLayer::new_for_http())
        .service(client);
    let uri = format!("{}/ecommerce/public/{TENANT}/cart", gateway.origin());
    let request = || Request::get(&uri).body(Full::default()).unwrap();
    assert_eq!(
        service.clone().oneshot(request()).await.unwrap().status(),
        200
    );
    let first = cache.get().await.unwrap();
    hydra.revoke_all();
    assert_eq!(
        service.clone().oneshot(request()).await.unwrap().status(),
        200
    );
    let second = cache.get().await.unwrap();

    let wrong = random("wr+/ong-");
    for auth in [
        ClientAuth::post(&wrong),
        ClientAuth::basic(&wrong),
        ClientAuth::basic_raw(&wrong),
        ClientAuth::secret_jwt(&wrong),
        ClientAuth::assertion(&wrong),
    ] {
        let source = ClientCredentials::builder(hydra.token_url(), &client_id, auth)
            .build()
            .unwrap();
        TokenCache::new(source).get().await.unwrap_err();
    }

    let told = told.text();
    for event in [
        "exchanged an access token",
        "the access token was refused",
        "could not exchange an access token",
        "started processing request",
    ] {
        assert!(told.contains(event), "{event} is not in {told}");
    }
    let token = |token: &tower_bearer::Token| {
        let value = token.authorization().to_str().unwrap();
        value.strip_prefix("Bearer ").unwrap().to_owned()
    };
    for hidden in [secret, wrong, token(&first), token(&second)] {
        let encoded: String = byte_serialize(hidden.as_bytes()).collect();
        for shown in [
            hidden.clone(),
            encoded.clone(),
            BASE64_STANDARD.encode(&hidden),
            BASE64_STANDARD.encode(format!("{client_id}:{hidden}")),
            BASE64_STANDARD.encode(format!("{client_id}:{encoded}")),
        ] {
            assert!(!told.contains(&shown), "{shown} is in {told}");
        }
    }
}
