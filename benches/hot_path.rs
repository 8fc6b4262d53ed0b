//! What a warm request costs over the service below the layer, in memory.
//!
//! `cargo bench --bench hot_path`. Ratios of one run count; single times do not.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::{convert::Infallible, hint::black_box};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::runtime::Builder;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::{BearerAuthLayer, FixedToken, NoReplay, Token};

type Body = Full<Bytes>;

fn warm_request(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let token = Token::new("ory_at_4jSHq0y1hV8sQzR2mXw.k2dWn7tB9pLc").unwrap();
    let api = service_fn(|request: Request<Body>| async move {
        black_box(&request);
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let layer = BearerAuthLayer::new(FixedToken::new(token.clone()));

    let mut group = c.benchmark_group("warm request");
    let mut measure = |name: &str, call: &mut dyn FnMut(Request<Body>)| {
        group.bench_function(name, |b| {
            b.iter_batched(request, &mut *call, BatchSize::SmallInput);
        });
    };

    let mut bare = api;
    measure("bare", &mut |request| {
        runtime
            .block_on(async { bare.call(request).await })
            .unwrap();
    });

    let authorization: HeaderValue = token.authorization().clone();
    let mut by_hand = api;
    measure("header by hand, no retry", &mut |mut request| {
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, authorization.clone());
        runtime
            .block_on(async { by_hand.call(request).await })
            .unwrap();
    });

    let mut once = layer.clone().replay(NoReplay).layer(api);
    measure("BearerAuth, NoReplay", &mut |request| {
        runtime
            .block_on(async { once.ready().await?.call(request).await })
            .unwrap();
    });

    let mut retrying = layer.layer(api);
    measure("BearerAuth", &mut |request| {
        runtime
            .block_on(async { retrying.ready().await?.call(request).await })
            .unwrap();
    });
}

/// Six headers and 256 bytes of body.
fn request() -> Request<Body> {
    Request::post("https://apigw.ipxo.com/ecommerce/public/6f1c/cart")
        .header("accept", "application/json")
        .header("accept-encoding", "gzip, br")
        .header("content-type", "application/json")
        .header("user-agent", "tower-bearer-bench/1")
        .header("x-request-id", "7f9c24e8-3b12-4fef-91e0-5a2b6c7d8e9f")
        .header(
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
        .body(Full::new(Bytes::from_static(&[b'x'; 256])))
        .unwrap()
}

criterion_group!(benches, warm_request);
criterion_main!(benches);
