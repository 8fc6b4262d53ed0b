//! A token request by way of a forward proxy, over real sockets.

#![cfg(feature = "reqwest")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/site.rs"]
mod site;

use std::sync::{Arc, Mutex};

use reqwest::{Client, Proxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tower_bearer::{ClientCredentials, ErrorKind, TokenCache};

use self::site::{Nobody, Site, soon, text};

const TOKEN: &str = r#"{"access_token":"t1","token_type":"bearer","expires_in":3600}"#;

#[tokio::test]
async fn a_token_request_goes_through_a_forward_proxy_and_back() {
    let endpoint = Site::answering(|_| text(200, TOKEN)).await;
    let (proxy, targets) = forward_to(&endpoint).await;
    let token = soon(cache_by(&proxy).get()).await.unwrap();

    assert_eq!(token.authorization().to_str().unwrap(), "Bearer t1");
    assert_eq!(
        *targets.lock().unwrap(),
        ["POST http://auth.test/token HTTP/1.1"]
    );
    let [post] = &endpoint.seen()[..] else {
        panic!("one token request comes through");
    };
    assert_eq!(post.headers["host"], "auth.test");
    let form = String::from_utf8(post.body.to_vec()).unwrap();
    assert!(form.contains("grant_type=client_credentials"), "{form}");
}

#[tokio::test]
async fn a_proxy_that_is_down_is_an_outage() {
    let proxy = Nobody::new();
    let error = soon(cache_by(&proxy.origin()).get()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_transient());
}

fn cache_by(proxy: &str) -> TokenCache {
    let client = Client::builder().proxy(Proxy::all(proxy).unwrap());
    let source = ClientCredentials::builder("http://auth.test/token", "id", "the-secret")
        .danger_allow_secret_over_plain_http()
        .build_with_reqwest(client)
        .unwrap();
    TokenCache::new(source)
}

/// A proxy that takes every host for this one, and the first line of what came over each connection.
async fn forward_to(site: &Site) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let target = site.origin.strip_prefix("http://").unwrap().to_owned();
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&lines);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(client.read_u8().await.unwrap());
            }
            let text = String::from_utf8(line.clone()).unwrap();
            seen.lock().unwrap().push(text.trim_end().to_owned());
            let mut server = TcpStream::connect(&target).await.unwrap();
            server.write_all(&line).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    (origin, lines)
}
