//! Redirects to another origin, over real sockets: two servers on two ports. Whoever follows them, and wherever it stands,
//! the other one sees no token and no secret.
//!
//! That the token endpoint's redirects are not followed is in `tests/token_endpoint.rs` and `tests/reqwest.rs`, and what
//! reqwest's own client does below the layer is in the latter too.

#![cfg(all(feature = "reqwest-middleware", feature = "rustls"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/site.rs"]
mod site;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{
    HeaderName, Request, StatusCode,
    header::{HOST, PROXY_AUTHORIZATION},
};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use tower::{BoxError, Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_bearer::{
    BearerAuthLayer, ClientCredentials, ErrorKind, Token, TokenCache,
    adapter::reqwest::{ReqwestService, ReusableBody},
    select::Origins,
    token::TokenRequest,
};
use tower_http::follow_redirect::FollowRedirectLayer;

use self::site::{Site, redirect, soon, text};

/// Promise: S1
#[tokio::test]
async fn a_redirect_followed_below_takes_the_token_to_no_other_origin() {
    for code in CODES {
        for below in [hyper_below(numbered()), reqwest_below(), middleware_below()] {
            let elsewhere = Site::answering(|_| text(200, "elsewhere")).await;
            for there in names_of(&elsewhere) {
                let seen = elsewhere.seen().len();
                let api = Site::answering(move |call| match call {
                    1 => redirect(code, "/moved"),
                    _ => redirect(code, &there),
                })
                .await;
                assert_eq!(call(&below, &api.origin).await, 200);
                // A redirect within the origin keeps its token.
                assert_eq!(api.tokens(), ["Bearer t1"; 2], "{code}");
                assert_eq!(elsewhere.tokens()[seen..], [""], "{code}");
            }
            none_in(&elsewhere);
        }
    }
}

/// By another name it is another origin, though the server is the same.
///
/// Promise: S1
#[tokio::test]
async fn a_redirect_followed_below_takes_the_token_to_no_other_name_of_the_same_server() {
    for code in CODES {
        for below in [hyper_below(numbered()), reqwest_below(), middleware_below()] {
            let port = Arc::new(OnceLock::<String>::new());
            let known = Arc::clone(&port);
            let api = Site::answering(move |call| match call {
                1 => redirect(code, &format!("http://localhost:{}/", known.get().unwrap())),
                _ => text(200, ""),
            })
            .await;
            let number = api.origin.rsplit_once(':').unwrap().1.to_owned();
            port.set(number).unwrap();
            assert_eq!(call(&below, &api.origin).await, 200);
            assert_eq!(api.tokens(), ["Bearer t1", ""], "{code}");
            let host = &api.seen()[1].headers[HOST];
            assert!(host.to_str().unwrap().starts_with("localhost:"));
        }
    }
}

/// Promise: R1, S1
#[tokio::test]
async fn a_retry_that_is_redirected_takes_the_next_token_to_no_other_origin() {
    for below in [hyper_below(numbered()), reqwest_below(), middleware_below()] {
        let elsewhere = Site::answering(|_| text(200, "elsewhere")).await;
        let there = elsewhere.origin.clone();
        let api = Site::answering(move |call| match call {
            1 => text(401, ""),
            _ => redirect(307, &there),
        })
        .await;
        assert_eq!(call(&below, &api.origin).await, 200);
        assert_eq!(api.tokens(), ["Bearer t1", "Bearer t2"]);
        assert_eq!(elsewhere.tokens(), [""]);
        none_in(&elsewhere);
    }
}

/// Promise: S1
#[tokio::test]
async fn a_redirect_there_and_back_shows_the_other_origin_nothing() {
    for stack in [
        |_: &str| hyper_below(numbered()),
        |_: &str| reqwest_below(),
        |_: &str| middleware_below(),
        |origin: &str| above(numbered().select(Origins::new([origin]).unwrap())),
    ] {
        let home = Arc::new(OnceLock::<String>::new());
        let back = Arc::clone(&home);
        let elsewhere = Site::answering(move |_| redirect(302, back.get().unwrap())).await;
        let there = elsewhere.origin.clone();
        let api = Site::answering(move |call| match call {
            1 => redirect(302, &there),
            _ => text(200, "home"),
        })
        .await;
        home.set(api.origin.clone()).unwrap();
        assert_eq!(call(&stack(&api.origin), &api.origin).await, 200);
        assert_eq!(api.tokens()[0], "Bearer t1");
        assert_eq!(elsewhere.tokens(), [""]);
        none_in(&elsewhere);
    }
}

/// Promise: S1
#[tokio::test]
async fn a_redirect_followed_above_goes_without_a_token_where_origins_does_not_name_it() {
    for code in CODES {
        let elsewhere = Site::answering(|_| text(200, "elsewhere")).await;
        for there in names_of(&elsewhere) {
            let seen = elsewhere.seen().len();
            let api = Site::answering(move |call| match call {
                1 => redirect(code, "/moved"),
                _ => redirect(code, &there),
            })
            .await;
            let origins = Origins::new([&api.origin]).unwrap();
            let pinned = above(numbered().select(origins));
            assert_eq!(call(&pinned, &api.origin).await, 200);
            assert_eq!(api.tokens(), ["Bearer t1"; 2], "{code}");
            assert_eq!(elsewhere.tokens()[seen..], [""], "{code}");
        }
        none_in(&elsewhere);
    }
}

/// Promise: S1
#[tokio::test]
async fn a_token_in_another_header_is_taken_to_no_other_origin_either() {
    // Followed below, where the client knows the header; and above, where the layer pins origins, whatever its name.
    type Stack = fn(&str) -> Below;
    let below: Stack = |_| hyper_below(numbered().header_name(PROXY_AUTHORIZATION));
    let by_reqwest: Stack = |_| {
        let layer = numbered().header_name(PROXY_AUTHORIZATION);
        boxed(layer.replay(ReusableBody).layer(reqwest_client()))
    };
    let above: Stack = |origin| {
        let layer = numbered().header_name(HeaderName::from_static("x-serverless-authorization"));
        above(layer.select(Origins::new([origin]).unwrap()))
    };
    for (stack, name) in [
        (below, "proxy-authorization"),
        (by_reqwest, "proxy-authorization"),
        (above, "x-serverless-authorization"),
    ] {
        for code in CODES {
            let elsewhere = Site::answering(|_| text(200, "elsewhere")).await;
            let there = elsewhere.origin.clone();
            let api = Site::answering(move |_| redirect(code, &there)).await;
            assert_eq!(call(&stack(&api.origin), &api.origin).await, 200);
            assert_eq!(api.seen()[0].headers[name], "Bearer t1", "{code}");
            assert_eq!(elsewhere.seen().len(), 1);
            none_in(&elsewhere);
        }
    }
}

/// The caveat of `Always`: to the layer a redirect followed above it is a request like any other.
#[tokio::test]
async fn a_redirect_followed_above_takes_the_token_along_where_all_requests_have_one() {
    for code in CODES {
        let elsewhere = Site::answering(|_| text(200, "elsewhere")).await;
        let there = elsewhere.origin.clone();
        let api = Site::answering(move |_| redirect(code, &there)).await;
        let always = FollowRedirectLayer::new().layer(numbered().layer(client()));
        let request = Request::get(&api.origin).body(Full::default()).unwrap();
        let answer = soon(always.oneshot(request)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(elsewhere.tokens(), ["Bearer t1"], "{code}");
    }
}

/// Promise: R6
#[tokio::test]
async fn a_401_of_another_origin_behind_a_redirect_costs_a_token_request_and_not_one_for_each_request()
 {
    for below in [hyper_below as fn(BearerAuthLayer) -> Below, |layer| {
        boxed(layer.replay(ReusableBody).layer(reqwest_client()))
    }] {
        let elsewhere = Site::answering(|_| text(401, "")).await;
        let there = elsewhere.origin.clone();
        let api = Site::answering(move |_| redirect(307, &there)).await;
        let layer = numbered();
        let cache = layer.cache().clone();
        let below = below(layer);
        for _ in 0..50 {
            assert_eq!(call(&below, &api.origin).await, 401);
        }
        let token_requests = number_of(&cache.get().await.unwrap());
        // The first token, one more at once, and one for each second or so that this takes.
        assert!((2..=4).contains(&token_requests), "{token_requests}");
        assert!(api.seen().len() < 50 + token_requests);
        none_in(&elsewhere);
    }
}

/// Promise: E4
#[tokio::test]
async fn a_redirect_of_the_metadata_is_followed_by_no_transport() {
    for code in CODES {
        for by_reqwest in [false, true] {
            let elsewhere = Site::answering(|_| text(200, "{}")).await;
            for there in names_of(&elsewhere) {
                let issuer = Site::answering(move |_| redirect(code, &there)).await;
                let builder = ClientCredentials::discover(&issuer.origin, "id", "the-secret");
                let source = match by_reqwest {
                    true => {
                        let policy = reqwest::redirect::Policy::limited(10);
                        builder.build_with_reqwest(reqwest::Client::builder().redirect(policy))
                    }
                    false => builder.build(),
                };
                let cache = TokenCache::new(source.unwrap());
                let error = soon(cache.get()).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Denied);
                assert!(
                    error
                        .to_string()
                        .contains("redirect, which is not followed"),
                    "{error}"
                );
                // Both of its places were looked at, and nothing was posted.
                let methods: Vec<_> = issuer.seen().into_iter().map(|it| it.method).collect();
                assert_eq!(methods, ["GET", "GET"]);
            }
            assert_eq!(elsewhere.connections(), 0, "{code}");
        }
    }
}

const CODES: [u16; 5] = [301, 302, 303, 307, 308];

/// A client with the layer in it: the status of what a request to this URL comes to.
type Below = BoxCloneSyncService<String, StatusCode, BoxError>;

async fn call(below: &Below, url: &str) -> u16 {
    let status = soon(below.clone().oneshot(url.to_owned())).await;
    status.unwrap().as_u16()
}

/// A layer whose tokens are numbered.
fn numbered() -> BearerAuthLayer {
    let mut token_requests = 0;
    BearerAuthLayer::new(service_fn(move |_: TokenRequest| {
        token_requests += 1;
        let token = Token::new(format!("t{token_requests}"));
        async { token }
    }))
}

fn number_of(token: &Token) -> usize {
    let token = token.authorization().to_str().unwrap();
    token.strip_prefix("Bearer t").unwrap().parse().unwrap()
}

fn hyper_below(layer: BearerAuthLayer) -> Below {
    boxed(layer.layer(FollowRedirectLayer::new().layer(client())))
}

fn above<S>(layer: BearerAuthLayer<S>) -> Below
where
    S: tower_bearer::select::Select<Key = ()> + Clone + Send + Sync + 'static,
{
    let service = FollowRedirectLayer::new().layer(layer.layer(client()));
    boxed(service)
}

fn reqwest_below() -> Below {
    boxed(numbered().replay(ReusableBody).layer(reqwest_client()))
}

fn middleware_below() -> Below {
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(numbered())
        .build();
    BoxCloneSyncService::new(service_fn(move |url: String| {
        let client: ClientWithMiddleware = client.clone();
        async move { Ok::<_, BoxError>(client.get(url).send().await?.status()) }
    }))
}

fn boxed<S, B, R>(service: S) -> Below
where
    S: tower::Service<Request<B>, Response = http::Response<R>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Default + Send + 'static,
    R: Send,
{
    BoxCloneSyncService::new(service_fn(move |url: String| {
        let service = service.clone();
        async move {
            let request = Request::get(url).body(B::default())?;
            let answer = service.oneshot(request).await.map_err(Into::into)?;
            Ok::<_, BoxError>(answer.status())
        }
    }))
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

fn reqwest_client() -> ReqwestService {
    ReqwestService::new(reqwest::Client::new())
}

/// How a `Location` can name a server.
fn names_of(site: &Site) -> [String; 3] {
    let host = site.origin.strip_prefix("http://").unwrap();
    [
        site.origin.clone(),
        format!("//{host}/"),
        // What is before the @ is no host.
        format!("http://127.0.0.1@{host}/"),
    ]
}

/// Nor is there a token anywhere else in what came.
fn none_in(site: &Site) {
    for seen in site.seen() {
        let shown = format!("{seen:?}");
        assert!(!shown.contains("Bearer"), "{shown}");
    }
}
