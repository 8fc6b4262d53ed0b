//! The layer around hyper-util's client, over real sockets: every figure is counted at the servers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![cfg(feature = "rustls")]

#[path = "../examples/embedded/mod.rs"]
mod embedded;
#[path = "support/sockets.rs"]
mod sockets;

use std::{collections::HashSet, error::Error as StdError, io, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::client::legacy::{self, Client, connect::HttpConnector};
use tokio::{task::JoinSet, time::timeout};
use tokio_test::{assert_pending, task};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};
use tower_bearer::{
    BearerAuth, BearerAuthLayer, ClientCredentials, Error, ErrorKind, TokenCache,
    extension::Deadline,
    replay::{Buffered, NoReplay, ReplayBody},
    select::Origins,
    unauthorized::BearerChallenge,
};

use self::{
    embedded::{Call, Gateway, Hydra, Registration, TENANT},
    sockets::{
        FLAT, PATIENCE, PIECE, PIECES, REFUSAL, Sink, VERSIONS, alone, among_others, client,
        nobody, read_slowly, send_slowly, streamed,
    },
};

/// As many streams as hyper's server allows on one connection.
const CROWD: usize = 200;

/// Promise: F1
#[test]
fn a_cold_herd_makes_one_token_request() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, gateway) = servers().await;
            let api = api(&hydra, &gateway.origin(), version);
            let token_request = hydra.hold();

            // Polled once each, so that all of them wait for a token before the first token request is answered.
            let mut calls = JoinSet::new();
            for number in 0..CROWD {
                let mut call = task::spawn(api.clone().oneshot(cart(&gateway, number)));
                assert_pending!(call.poll());
                calls.spawn(async move { status(call.into_inner().await).await });
            }
            token_request.arrived(1).await.unwrap();
            assert_eq!(gateway.connections(), 0, "nothing goes out without a token");
            token_request.open();

            assert_eq!(calls.join_all().await, [StatusCode::OK; CROWD]);
            assert_eq!(hydra.token_requests(), 1);
            assert_eq!(gateway.answered(), CROWD as u64);
            assert_eq!(tokens(&gateway.calls()).len(), 1);
            if version == Version::HTTP_2 {
                assert_eq!(gateway.connections(), 1);
            }
        }
    });
}

#[test]
fn a_warm_call_is_one_call_and_no_new_connection() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, gateway) = servers().await;
            let api = api(&hydra, &gateway.origin(), version);

            for number in 0..20 {
                let call = api.clone().oneshot(cart(&gateway, number));
                assert_eq!(status(call.await).await, StatusCode::OK);
            }
            assert_eq!((hydra.token_requests(), gateway.answered()), (1, 20));
            assert_eq!(gateway.connections(), 1, "{version:?}");
            assert!(gateway.calls().iter().all(|call| call.version == version));
        }
    });
}

/// Promise: R2
#[test]
fn a_token_revoked_in_flight_costs_one_token_request_and_a_retry_each() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, gateway) = servers().await;
            let api = api(&hydra, &gateway.origin(), version);
            let warm = api.clone().oneshot(cart(&gateway, CROWD));
            assert_eq!(status(warm.await).await, StatusCode::OK);

            let gate = gateway.hold();
            let mut calls = JoinSet::new();
            for number in 0..CROWD {
                let call = api.clone().oneshot(cart(&gateway, number));
                calls.spawn(async move { status(call.await).await });
            }
            gate.arrived(CROWD).await.unwrap();
            hydra.revoke_all();
            gate.open();

            assert_eq!(calls.join_all().await, [StatusCode::OK; CROWD]);
            assert_eq!(hydra.token_requests(), 2);
            assert_eq!(
                gateway.answered_with(StatusCode::UNAUTHORIZED),
                CROWD as u64
            );
            assert_eq!(gateway.answered(), 1 + 2 * CROWD as u64);
            assert_eq!(tokens(&gateway.calls()).len(), 2);
        }
    });
}

/// Promise: R1
#[test]
fn a_retry_goes_over_the_connection_of_the_first() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, gateway) = servers().await;
            let api = api(&hydra, &gateway.origin(), version);
            for number in 0..5 {
                let call = api.clone().oneshot(cart(&gateway, number));
                assert_eq!(status(call.await).await, StatusCode::OK);
                // The next one goes out with a token that is no good.
                if number == 2 {
                    hydra.revoke_all();
                }
            }
            assert_eq!((hydra.token_requests(), gateway.answered()), (2, 6));
            assert_eq!(gateway.connections(), 1, "{version:?}");
        }
    });
}

/// Promise: B2, R14
#[test]
fn an_axum_body_is_said_again_with_its_trailers() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, _) = servers().await;
            let sink = Sink::start(&hydra).await;
            let api = buffered(&hydra, &sink.server.origin, version);
            warm(&api, &sink.server.origin).await;
            hydra.revoke_all();

            let (pieces, body) = streamed();
            let say = async {
                for piece in ["not all ", "at once"] {
                    pieces.send(Ok(Frame::data(piece.into()))).await.unwrap();
                }
                let mut trailers = http::HeaderMap::new();
                trailers.insert("x-sum", "15".parse().unwrap());
                pieces.send(Ok(Frame::trailers(trailers))).await.unwrap();
                drop(pieces);
            };
            let request = Request::post(&sink.server.origin)
                .header("trailer", "x-sum")
                .header("te", "trailers")
                .body(body)
                .unwrap();
            let (answer, ()) = tokio::join!(api.oneshot(request), say);
            let answer = answer.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            // The sink says the trailers of the body that it accepted.
            let answer = answer.into_body().collect().await.unwrap();
            assert_eq!(answer.trailers().unwrap()["x-sum"], "15", "{version:?}");
            assert_eq!(sink.ended(), [Ok(0), Ok(15), Ok(15)]);
            assert_eq!(hydra.token_requests(), 2);
        }
    });
}

/// Promise: B2
#[test]
fn the_body_of_an_answer_is_passed_on_and_said_again() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, gateway) = servers().await;
            // What a proxy has in its hands: hyper's own `Incoming`, which is not `Clone`.
            let bearer = bearer(&hydra, &gateway.origin());
            let from: Api = bearer.layer(client(version));
            let body = from.oneshot(cart(&gateway, 7)).await.unwrap().into_body();
            let to = bearer.replay(Buffered::up_to(LIMIT)).layer(client(version));
            hydra.revoke_all();

            let checkout = format!(
                "{}/ecommerce/public/{TENANT}/orders/7/checkout",
                gateway.origin()
            );
            let request = Request::post(checkout).body(body).unwrap();
            assert_eq!(status(to.oneshot(request).await).await, StatusCode::OK);
            let calls = gateway.calls();
            let [_, first, second] = &calls[..] else {
                panic!("{} calls", calls.len());
            };
            assert_eq!(first.status, Some(StatusCode::UNAUTHORIZED));
            assert_eq!(first.body, second.body);
            let json: serde_json::Value = serde_json::from_slice(&second.body).unwrap();
            assert_eq!(json["cart"], "7");
        }
    });
}

/// Promise: B3
#[test]
fn a_body_that_cannot_be_said_again_is_sent_whole_and_its_rejection_handed_on() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, _) = servers().await;
            let sink = Sink::start(&hydra).await;
            let too_long = bearer(&hydra, &sink.server.origin).replay(Buffered::up_to(LIMIT));
            let cache = too_long.cache();
            sent_once(&too_long.layer(client(version)), cache, &hydra, &sink).await;
            let never = bearer(&hydra, &sink.server.origin).replay(NoReplay);
            let cache = never.cache();
            sent_once(&never.layer(client(version)), cache, &hydra, &sink).await;
        }
    });
}

/// Sends a body with a token that is no good, and once more with the next token.
async fn sent_once<S, R>(api: &S, cache: &TokenCache, hydra: &Hydra, sink: &Sink)
where
    S: Service<Request<Body>, Response = Response<R>, Error = BoxError> + Clone,
    R: http_body::Body<Error: std::fmt::Debug>,
{
    cache.get().await.unwrap();
    hydra.revoke_all();
    let (token_requests, bodies) = (hydra.token_requests(), sink.ended().len());
    let mut changes = cache.changes();
    let long = LIMIT + 1;
    let post = || Request::post(&sink.server.origin).body(in_pieces(long));

    let answer = api.clone().oneshot(post().unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()["www-authenticate"], REFUSAL);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "no good");
    assert_eq!(sink.ended()[bodies..], [Ok(long as u64)]);

    // Another token comes by itself, for the next request to find.
    timeout(PATIENCE, changes.next()).await.unwrap();
    let answer = api.clone().oneshot(post().unwrap()).await;
    assert_eq!(status(answer).await, StatusCode::OK);
    assert_eq!(sink.ended()[bodies..], [Ok(long as u64); 2]);
    assert_eq!(hydra.token_requests(), token_requests + 1);
}

/// Promise: B2
#[test]
fn a_hundred_mebibytes_stream_slowly_and_are_not_kept() {
    alone(async {
        for version in VERSIONS {
            let (hydra, _) = servers().await;
            let sink = Sink::start(&hydra).await;
            let api = buffered(&hydra, &sink.server.origin, version);
            warm(&api, &sink.server.origin).await;

            let (pieces, body) = streamed();
            let request = Request::post(&sink.server.origin).body(body).unwrap();
            let call = api.clone().oneshot(request);
            let (answer, grown) = tokio::join!(call, send_slowly(pieces, &sink));
            assert_eq!(status(answer).await, StatusCode::OK);
            assert_eq!(sink.ended()[1..], [Ok((PIECES * PIECE) as u64)]);
            assert!(grown < FLAT, "{grown} bytes more over {version:?}");

            let (pieces, body) = streamed();
            sink.gives(body);
            let request = Request::get(&sink.server.origin).body(Body::empty());
            let answer = api.oneshot(request.unwrap()).await.unwrap();
            let grown = read_slowly(answer.into_body(), pieces).await;
            assert!(grown < FLAT, "{grown} bytes more over {version:?}");
        }
    });
}

#[test]
fn the_clients_own_error_is_there_to_downcast() {
    among_others(async {
        let (hydra, _) = servers().await;
        for version in VERSIONS {
            let (_port, nobody) = nobody();
            let api = api(&hydra, &nobody, version);
            let error = failure(api.oneshot(get(&nobody)).await);
            let client = error.downcast_ref::<legacy::Error>().unwrap();
            assert!(client.is_connect());
            assert!(!error.is::<Error>());
        }
    });
}

/// Promise: S6
#[test]
fn a_denied_token_is_an_error_to_downcast_and_no_request_to_the_api() {
    among_others(async {
        let (hydra, gateway) = servers().await;
        for version in VERSIONS {
            let source = credentials(&hydra, "yesterday's secret");
            let api = BearerAuthLayer::new(source).layer(client(version));
            // However the layers above it box the error.
            let stack = ServiceBuilder::new()
                .buffer(8)
                .timeout(Duration::from_secs(60))
                .service(api);
            let error = failure(stack.oneshot(cart(&gateway, 0)).await);
            let error = error.downcast_ref::<Error>().unwrap();
            assert_eq!(error.kind(), ErrorKind::Denied);
            assert_eq!(error.oauth_code(), Some("invalid_client"));
            assert_eq!(error.status(), Some(StatusCode::UNAUTHORIZED));
            assert!(!error.is_transient());
        }
        assert_eq!((hydra.token_requests(), gateway.connections()), (2, 0));
    });
}

#[test]
fn a_token_endpoint_that_cannot_be_reached_is_an_error_to_downcast_with_its_cause() {
    among_others(async {
        let (_, gateway) = servers().await;
        let (_port, nobody) = nobody();
        let token_url = format!("{nobody}/oauth2/token");
        let source = ClientCredentials::builder(token_url, "id", "secret").build();
        let api = BearerAuthLayer::new(source.unwrap()).layer(client(Version::HTTP_11));

        let error = failure(api.oneshot(cart(&gateway, 0)).await);
        let error = error.downcast_ref::<Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_transient());
        // The transport's own error is there as well: hyper-util's client again.
        let cause = error.source().and_then(|cause| cause.downcast_ref());
        assert!(legacy::Error::is_connect(cause.unwrap()));
    });
}

#[test]
fn a_token_that_comes_too_late_for_a_request_is_an_error_to_downcast() {
    among_others(async {
        let (hydra, gateway) = servers().await;
        let api = api(&hydra, &gateway.origin(), Version::HTTP_11);
        let token_request = hydra.hold();

        let mut request = cart(&gateway, 0);
        let deadline = Deadline::after(Duration::from_millis(20));
        request.extensions_mut().insert(deadline);
        let error = failure(api.oneshot(request).await);
        let error = error.downcast_ref::<Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(gateway.connections(), 0);
        token_request.open();
    });
}

/// Promise: R9
#[test]
fn a_rejection_without_another_token_is_handed_on_with_the_error_in_its_extensions() {
    among_others(async {
        for version in VERSIONS {
            let (_, gateway) = servers().await;
            // A token that no Hydra gave, and then none at all.
            let source =
                tower::service_fn(|request: tower_bearer::token::TokenRequest| async move {
                    match request.rejected_token() {
                        None => Ok(tower_bearer::Token::new("made-up")?),
                        Some(_) => Err(BoxError::from("no other token today")),
                    }
                });
            let api = BearerAuthLayer::new(source).layer(client(version));

            let answer = api.oneshot(cart(&gateway, 0)).await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            let error = answer.extensions().get::<Error>().unwrap();
            assert_eq!(error.kind(), ErrorKind::Source);
            let cause = error.source().unwrap().to_string();
            assert_eq!(cause, "no other token today");
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, r#"{"message":"Unauthorized"}"#);
            assert_eq!(gateway.answered(), 1);
        }
    });
}

/// How much of a body is kept.
const LIMIT: usize = 64 * 1024;

type Api = BearerAuth<Client<HttpConnector, Full<Bytes>>, Origins>;
type BufferedApi =
    BearerAuth<Client<HttpConnector, ReplayBody<Body>>, Origins, BearerChallenge, Buffered>;

async fn servers() -> (Hydra, Gateway) {
    let hydra = Hydra::start(Registration::default()).await.unwrap();
    let gateway = Gateway::start(&hydra).await.unwrap();
    (hydra, gateway)
}

fn credentials(hydra: &Hydra, secret: &str) -> ClientCredentials {
    ClientCredentials::builder(hydra.token_url(), &hydra.registration().client_id, secret)
        .scopes(["ecommerce"])
        .build()
        .unwrap()
}

fn bearer(hydra: &Hydra, origin: &str) -> BearerAuthLayer<Origins> {
    BearerAuthLayer::new(credentials(hydra, &hydra.registration().client_secret))
        .select(Origins::new([origin]).unwrap())
}

/// For bodies that are `Clone`.
fn api(hydra: &Hydra, origin: &str, version: Version) -> Api {
    bearer(hydra, origin).layer(client(version))
}

/// For axum's bodies.
fn buffered(hydra: &Hydra, origin: &str, version: Version) -> BufferedApi {
    bearer(hydra, origin)
        .replay(Buffered::up_to(LIMIT))
        .layer(client(version))
}

/// A body whose length is not known beforehand.
fn in_pieces(bytes: usize) -> Body {
    let pieces = vec![b'x'; bytes];
    let pieces: Vec<_> = pieces.chunks(1000).map(Bytes::copy_from_slice).collect();
    let pieces = pieces
        .into_iter()
        .map(|piece| Ok::<_, io::Error>(Frame::data(piece)));
    Body::new(StreamBody::new(tokio_stream::iter(pieces)))
}

fn cart(gateway: &Gateway, number: usize) -> Request<Full<Bytes>> {
    let origin = gateway.origin();
    get(&format!("{origin}/ecommerce/public/{TENANT}/cart/{number}"))
}

fn get(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

/// Lets `api` have its token.
async fn warm<S, R>(api: &S, origin: &str)
where
    S: Service<Request<Body>, Response = Response<R>, Error = BoxError> + Clone,
    R: http_body::Body<Error: std::fmt::Debug>,
{
    let request = Request::get(origin).body(Body::empty()).unwrap();
    assert_eq!(
        status(api.clone().oneshot(request).await).await,
        StatusCode::OK
    );
}

/// The status of an answer, once the answer is read to its end.
async fn status<B>(answer: Result<Response<B>, BoxError>) -> StatusCode
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let answer = answer.unwrap();
    let status = answer.status();
    answer.into_body().collect().await.unwrap();
    status
}

fn failure<B>(answer: Result<Response<B>, BoxError>) -> BoxError {
    answer.err().expect("an error where there is an answer")
}

/// The tokens that came, each once.
fn tokens(calls: &[Call]) -> HashSet<&http::HeaderValue> {
    let tokens = calls.iter().map(|call| {
        let mut values = call.headers.get_all("authorization").iter();
        let token = values.next().expect("a token");
        assert!(values.next().is_none(), "two Authorization headers");
        token
    });
    tokens.collect()
}
