//! `examples/axum_proxy` over real sockets, in this process and as the program it is: every figure is counted at the
//! servers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![cfg(all(feature = "rustls", feature = "tracing"))]

#[path = "../examples/embedded/mod.rs"]
mod embedded;
#[path = "../examples/axum_proxy/proxy.rs"]
mod proxy;
#[path = "support/sockets.rs"]
mod sockets;

use std::{
    collections::HashSet,
    env, fs,
    future::pending,
    io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use axum::{Router, body::Body, routing::post};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version,
    header::{AUTHORIZATION, COOKIE, VIA, WWW_AUTHENTICATE},
};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, pause, resume, sleep, timeout},
};
use tower_bearer::{ClientCredentials, TokenCache};

use self::{
    embedded::{Gateway, Hydra, Registration, TENANT},
    proxy::patience,
    sockets::{
        FLAT, PATIENCE, PIECE, PIECES, REFUSAL, Server, Sink, VERSIONS, allocated, alone,
        among_others, client, nobody, piece, read_slowly, send_slowly, streamed, until,
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
            let proxy = proxy_to(&gateway.origin(), tokens(&hydra)).await;
            let token_request = hydra.hold();

            let client = client(version);
            let mut calls = JoinSet::new();
            for number in 0..CROWD {
                calls.spawn(call(client.clone(), cart(&proxy, number)));
            }
            token_request.arrived(1).await.unwrap();
            assert_eq!(gateway.connections(), 0, "nothing goes out without a token");
            token_request.open();

            for answer in calls.join_all().await {
                assert_eq!(answer.0, StatusCode::OK);
            }
            assert_eq!(hydra.token_requests(), 1);
            assert_eq!(gateway.answered(), CROWD as u64);
        }
    });
}

#[test]
fn a_warm_call_is_one_call_over_connections_that_are_there() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, gateway) = servers().await;
            let proxy = proxy_to(&gateway.origin(), tokens(&hydra)).await;
            let client = client(version);
            for number in 0..20 {
                let (status, body) = call(client.clone(), cart(&proxy, number)).await;
                assert_eq!(status, StatusCode::OK);
                assert!(body.contains(&format!(r#""cart":"{number}""#)), "{body}");
            }
            assert_eq!((hydra.token_requests(), gateway.answered()), (1, 20));
            assert_eq!(
                (proxy.connections(), gateway.connections()),
                (1, 1),
                "{version:?}"
            );
        }
    });
}

/// Promise: R2
#[test]
fn a_token_revoked_in_flight_costs_one_token_request_and_a_retry_each() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, gateway) = servers().await;
            let proxy = proxy_to(&gateway.origin(), warm(&hydra).await).await;

            let gate = gateway.hold();
            let client = client(version);
            let mut calls = JoinSet::new();
            for number in 0..CROWD {
                calls.spawn(call(client.clone(), cart(&proxy, number)));
            }
            gate.arrived(CROWD).await.unwrap();
            hydra.revoke_all();
            gate.open();

            for answer in calls.join_all().await {
                assert_eq!(answer.0, StatusCode::OK);
            }
            assert_eq!(hydra.token_requests(), 2);
            let rejected = gateway.answered_with(StatusCode::UNAUTHORIZED);
            assert_eq!(rejected, CROWD as u64);
            assert_eq!(gateway.answered(), 2 * CROWD as u64);
        }
    });
}

/// Promise: B2
#[test]
fn a_streamed_body_is_said_again() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, gateway) = servers().await;
            let proxy = proxy_to(&gateway.origin(), warm(&hydra).await).await;
            hydra.revoke_all();

            let json = ["{\"amount\"", ":", " 63}"];
            let pieces = json.map(|piece| Ok::<_, io::Error>(Frame::data(Bytes::from(piece))));
            let body = Body::new(StreamBody::new(tokio_stream::iter(pieces)));
            let path = format!("/ecommerce/public/{TENANT}/orders/7/credits/apply");
            let request = Request::post(format!("{}{path}", proxy.origin))
                .header("content-type", "application/json")
                .body(body);
            let (status, _) = call(client(version), request.unwrap()).await;
            assert_eq!(status, StatusCode::OK);
            let bodies: Vec<_> = gateway.calls().into_iter().map(|call| call.body).collect();
            assert_eq!(bodies, [json.concat(), json.concat()]);
            assert_eq!(hydra.token_requests(), 2);
        }
    });
}

/// Promise: B3
#[test]
fn a_body_that_is_too_long_is_sent_once_and_its_rejection_handed_on_as_it_came() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, _) = servers().await;
            let sink = Sink::start(&hydra).await;
            let tokens = warm(&hydra).await;
            let proxy = proxy_to(&sink.server.origin, tokens.clone()).await;
            hydra.revoke_all();
            let mut changes = tokens.changes();

            // A piece is as long as what is kept; two of them are too much.
            let long = || {
                let body = Body::new(StreamBody::new(tokio_stream::iter([piece(), piece()])));
                Request::post(&proxy.origin).body(body).unwrap()
            };
            let answer = client(version).request(long()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(answer.headers()[WWW_AUTHENTICATE], REFUSAL);
            assert_eq!(text(answer).await, "no good");
            assert_eq!(sink.ended(), [Ok(2 * PIECE as u64)]);

            // Another token comes by itself, for the next request to find.
            timeout(PATIENCE, changes.next()).await.unwrap();
            assert_eq!(call(client(version), long()).await.0, StatusCode::OK);
            assert_eq!(sink.ended(), [Ok(2 * PIECE as u64); 2]);
            assert_eq!(hydra.token_requests(), 2);
        }
    });
}

/// Promise: B2
#[test]
fn a_hundred_mebibytes_go_up_slowly_and_are_not_kept() {
    alone(async {
        for version in VERSIONS {
            let (hydra, _) = servers().await;
            let sink = Sink::start(&hydra).await;
            let proxy = proxy_to(&sink.server.origin, warm(&hydra).await).await;

            let (pieces, body) = streamed();
            let request = Request::post(&proxy.origin).body(body).unwrap();
            let (answer, grown) =
                tokio::join!(call(client(version), request), send_slowly(pieces, &sink));
            assert_eq!(answer, (StatusCode::OK, "taken in".into()));
            assert_eq!(sink.ended(), [Ok((PIECES * PIECE) as u64)]);
            assert!(grown < FLAT, "{grown} bytes more over {version:?}");
        }
    });
}

#[test]
fn a_hundred_mebibytes_come_down_slowly_and_are_not_kept() {
    alone(async {
        for version in VERSIONS {
            let (hydra, _) = servers().await;
            let sink = Sink::start(&hydra).await;
            let proxy = proxy_to(&sink.server.origin, warm(&hydra).await).await;

            let (pieces, body) = streamed();
            sink.gives(body);
            let answer = client(version).request(get(&proxy.origin)).await.unwrap();
            let grown = read_slowly(answer.into_body(), pieces).await;
            assert!(grown < FLAT, "{grown} bytes more over {version:?}");
        }
    });
}

#[test]
fn trailers_pass_both_ways() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, _) = servers().await;
            let sink = Sink::start(&hydra).await;
            let proxy = proxy_to(&sink.server.origin, warm(&hydra).await).await;

            let sum = HeaderName::from_static("x-sum");
            let trailers = HeaderMap::from_iter([(sum, HeaderValue::from_static("6"))]);
            let frames = [Frame::data("a body".into()), Frame::trailers(trailers)];
            let body = Body::new(StreamBody::new(tokio_stream::iter(
                frames.map(Ok::<_, io::Error>),
            )));
            let request = Request::post(&proxy.origin)
                .header("trailer", "x-sum")
                .header("te", "trailers")
                .body(body);
            // The sink says the trailers that it was told.
            let answer = client(version).request(request.unwrap()).await.unwrap();
            let answer = answer.into_body().collect().await.unwrap();
            assert_eq!(answer.trailers().unwrap()["x-sum"], "6", "{version:?}");
            assert_eq!(answer.to_bytes(), "taken in");
        }
    });
}

#[test]
fn what_concerns_one_hop_goes_no_further_and_all_else_stays_as_it_is() {
    among_others(async {
        let (hydra, _) = servers().await;
        let mut upstream = Raw::start(
        "HTTP/1.1 203 As It Were\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n\
         Proxy-Authenticate: Basic\r\nProxy-Authentication-Info: a=b\r\nUpgrade: h2c\r\n\
         Transfer-Encoding: chunked\r\nTrailer: x-sum\r\nDate: today\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
         WWW-Authenticate: Bearer realm=\"elsewhere\"\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    )
    .await;
        let tokens = warm(&hydra).await;
        let proxy = proxy_to(&upstream.origin, tokens.clone()).await;

        let target = "/a%2Fb//c/../%e2%82%ac?x=%20&&y=%2B+;z='~!$&=?/";
        let answer = raw(
        &proxy.origin,
        &format!(
            "PATCH {target} HTTP/1.1\r\nHost: the-proxys.name\r\nConnection: keep-alive, X-One ,upgrade\r\n\
             Connection: x-two,,close\r\nX-One: 1\r\nX-Two: 2\r\nKeep-Alive: timeout=5\r\nUpgrade: websocket\r\n\
             Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic bWU6cHc=\r\nTE: gzip;q=1, Trailers\r\n\
             Transfer-Encoding: chunked\r\nTrailer: x-sum\r\nAuthorization: Bearer the-callers-own\r\n\
             X-Tag: one\r\nX-Tag: two, three\r\nX-Empty:\r\nCookie: a=b; c=d\r\nVia: 1.0 before\r\n\r\n\
             2\r\nhi\r\n0\r\n\r\n"
        ),
    )
    .await;

        let token = tokens.get().await.unwrap();
        let sent = upstream.requests.recv().await.unwrap();
        let (first, mut sent) = lines(&sent);
        assert_eq!(first, format!("PATCH {target} HTTP/1.1"));
        sent.sort_unstable();
        let host = upstream.origin.trim_start_matches("http://");
        let expected = [
            &format!("authorization: {}", token.authorization().to_str().unwrap()),
            "connection: te",
            "cookie: a=b; c=d",
            &format!("host: {host}"),
            "te: trailers",
            "trailer: x-sum",
            "transfer-encoding: chunked",
            "via: 1.0 before",
            "via: 1.1 axum_proxy",
            "x-empty: ",
            "x-tag: one",
            "x-tag: two, three",
        ];
        assert_eq!(sent, expected);

        let (first, mut answered) = lines(&answer);
        assert_eq!(first, "HTTP/1.1 203 As It Were");
        answered.sort_unstable();
        let expected = [
            // Its own, for the caller said that it was the last request.
            "connection: close",
            "date: today",
            "set-cookie: a=1",
            "set-cookie: b=2",
            "trailer: x-sum",
            "transfer-encoding: chunked",
            "www-authenticate: Bearer realm=\"elsewhere\"",
        ];
        assert_eq!(answered, expected);
        assert!(answer.ends_with("\r\n\r\n2\r\nok\r\n0\r\n\r\n"), "{answer}");
    });
}

#[test]
fn an_answer_without_a_body_keeps_the_length_it_has_and_is_given_none() {
    among_others(async {
        let (hydra, _) = servers().await;
        let tokens = warm(&hydra).await;
        for (answer, length) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
                Some("1234"),
            ),
            ("HTTP/1.1 200 OK\r\nETag: a\r\n\r\n", None),
            ("HTTP/1.1 304 Not Modified\r\nETag: a\r\n\r\n", None),
        ] {
            let upstream = Raw::start(answer).await;
            let proxy = proxy_to(&upstream.origin, tokens.clone()).await;
            let request = Request::head(&proxy.origin).body(Body::empty()).unwrap();
            let answer = client(Version::HTTP_11).request(request).await.unwrap();
            let seen = answer.headers().get("content-length");
            assert_eq!(seen.map(|length| length.to_str().unwrap()), length);
        }
    });
}

#[test]
fn a_cookie_that_came_in_pieces_goes_out_whole() {
    among_others(async {
        let (hydra, _) = servers().await;
        let sink = Sink::start(&hydra).await;
        let proxy = proxy_to(&sink.server.origin, warm(&hydra).await).await;
        let request = Request::get(&proxy.origin)
            .header(COOKIE, "a=b")
            .header(COOKIE, "c=d")
            .body(Body::empty());
        let (status, _) = call(client(Version::HTTP_2), request.unwrap()).await;
        assert_eq!(status, StatusCode::OK);
        let headers = sink.last();
        let cookies: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=b; c=d"]);
        assert_eq!(headers[VIA], "2 axum_proxy");
    });
}

#[test]
fn the_callers_existing_authorization_does_not_decide() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, gateway) = servers().await;
            let proxy = proxy_to(&gateway.origin(), tokens(&hydra)).await;
            for own in ["Bearer the-callers-own", "Basic bWU6cHc=", ""] {
                let mut request = cart(&proxy, 0);
                let own = HeaderValue::from_static(own);
                request.headers_mut().append(AUTHORIZATION, own.clone());
                request.headers_mut().append(AUTHORIZATION, own);
                assert_eq!(call(client(version), request).await.0, StatusCode::OK);
            }
            let tokens: HashSet<_> = gateway
                .calls()
                .into_iter()
                .map(|mut call| {
                    let token = call.headers.remove(AUTHORIZATION);
                    let two = call.headers.get_all(AUTHORIZATION).iter().count();
                    (token.unwrap(), two)
                })
                .collect();
            assert_eq!(tokens.len(), 1);
            assert_eq!(hydra.token_requests(), 1);
        }
    });
}

#[test]
fn what_would_say_the_token_back_or_has_no_place_for_one_is_not_forwarded() {
    among_others(async {
        let (hydra, gateway) = servers().await;
        let proxy = proxy_to(&gateway.origin(), warm(&hydra).await).await;
        for request in [
            "TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n",
        ] {
            let answer = raw(&proxy.origin, request).await;
            assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");
        }
        assert_eq!(gateway.connections(), 0);
    });
}

#[test]
fn no_token_is_a_502_with_a_plain_reason() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, gateway) = servers().await;
            let proxy = proxy_to(&gateway.origin(), TokenCache::new(denied(&hydra))).await;
            for why in ["401 invalid_client", "the next token request is allowed in"] {
                let (status, told) = call(client(version), cart(&proxy, 0)).await;
                assert_eq!(status, StatusCode::BAD_GATEWAY);
                assert!(told.starts_with("there is no access token: "), "{told}");
                assert!(told.contains(why), "{told}");
                assert!(told.contains("Client authentication failed"), "{told}");
                is_plain(&told, &hydra);
            }
            assert_eq!((hydra.token_requests(), gateway.connections()), (1, 0));
        }
    });
}

#[test]
fn a_token_endpoint_that_is_not_there_is_a_502_with_a_plain_reason() {
    among_others(async {
        let (hydra, gateway) = servers().await;
        let (_port, nobody) = nobody();
        let known = hydra.registration();
        let token_url = format!("{nobody}/oauth2/token?key=not-to-be-told");
        let source = ClientCredentials::builder(token_url, &known.client_id, &known.client_secret);
        let tokens = TokenCache::new(source.build().unwrap());
        let proxy = proxy_to(&gateway.origin(), tokens).await;
        for _ in 0..2 {
            let (status, told) = call(client(Version::HTTP_11), cart(&proxy, 0)).await;
            assert_eq!(status, StatusCode::BAD_GATEWAY);
            assert!(told.contains("could not get an answer"), "{told}");
            assert!(!told.contains("not-to-be-told") && !told.contains(&nobody));
            is_plain(&told, &hydra);
        }
        assert_eq!(gateway.connections(), 0);
    });
}

#[test]
fn a_token_answer_that_is_no_token_is_a_502_with_a_plain_reason() {
    among_others(async {
        let (hydra, gateway) = servers().await;
        let known = hydra.registration();
        // It says back what it was told, the secret included.
        let routes = Router::new().route("/", post(async |body: String| body));
        let endpoint = Server::start(routes).await;
        let source =
            ClientCredentials::builder(&endpoint.origin, &known.client_id, &known.client_secret);
        let tokens = TokenCache::new(source.build().unwrap());
        let proxy = proxy_to(&gateway.origin(), tokens).await;
        let (status, told) = call(client(Version::HTTP_11), cart(&proxy, 0)).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY);
        is_plain(&told, &hydra);
        assert_eq!(gateway.connections(), 0);
    });
}

#[test]
fn a_token_that_does_not_come_is_a_504_with_a_plain_reason() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, gateway) = servers().await;
            let proxy = proxy_to(&gateway.origin(), tokens(&hydra)).await;
            let token_request = hydra.hold();
            // Time goes on once all wait. By the machine's own, a token request that ends late for want of a turn is an
            // interruption, and no timeout.
            pause();
            let (status, told) = call(client(version), cart(&proxy, 0)).await;
            resume();
            assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
            assert!(told.contains("did not finish within 10s"), "{told}");
            is_plain(&told, &hydra);
            assert_eq!(gateway.connections(), 0);
            token_request.open();
        }
    });
}

#[test]
fn an_upstream_that_is_not_there_or_not_http_is_a_502_with_a_plain_reason() {
    among_others(async {
        let (hydra, _) = servers().await;
        let tokens = warm(&hydra).await;
        let (_port, nobody) = nobody();
        let upgraded =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        for (upstream, why) in [
            (nobody, "takes no connection"),
            (Raw::start("").await.origin, "broke off"),
            (
                Raw::start("220 mail.example\r\n").await.origin,
                "not answer in HTTP",
            ),
            (Raw::start(upgraded).await.origin, "switched protocols"),
        ] {
            let proxy = proxy_to(&upstream, tokens.clone()).await;
            for version in VERSIONS {
                let (status, told) = call(client(version), cart(&proxy, 0)).await;
                assert_eq!(status, StatusCode::BAD_GATEWAY, "{why}");
                assert!(told.contains(why), "{told}");
                is_plain(&told, &hydra);
            }
        }
    });
}

/// The address of no machine in particular leads back to this one, and is no loopback by the letter.
///
/// Promise: S2
#[test]
fn another_machine_gets_no_token_over_plain_http_unless_its_network_encrypts() {
    among_others(async {
        let (hydra, gateway) = servers().await;
        let elsewhere = gateway.origin().replace("127.0.0.1", "0.0.0.0");
        let proxy = proxy_to(&elsewhere, warm(&hydra).await).await;
        let (status, told) = call(client(Version::HTTP_11), cart(&proxy, 0)).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY);
        assert!(told.contains("sent unencrypted"), "{told}");
        assert_eq!(gateway.connections(), 0);

        let upstream: proxy::Upstream = elsewhere.parse().unwrap();
        let upstream = upstream.over_a_network_that_encrypts();
        let service = proxy::proxy(upstream, warm(&hydra).await, PATIENCE);
        let proxy = Server::start(service).await;
        let (status, _) = call(client(Version::HTTP_11), cart(&proxy, 0)).await;
        assert_eq!(status, StatusCode::OK);
    });
}

#[test]
fn an_upstream_that_is_silent_is_a_504_with_a_plain_reason() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, gateway) = servers().await;
            let upstream = gateway.origin().parse().unwrap();
            let limit = Duration::from_millis(50);
            let service = proxy::proxy(upstream, warm(&hydra).await, limit);
            let proxy = Server::start(service).await;
            let gate = gateway.hold();
            let (status, told) = call(client(version), cart(&proxy, 0)).await;
            assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
            assert_eq!(told, "the upstream did not answer within 50ms\n");
            gate.open();
        }
    });
}

#[tokio::test(start_paused = true)]
async fn an_upstream_has_so_much_time_from_the_last_piece_of_the_body_on() {
    let started = Instant::now();
    let (pieces, body) = streamed();
    let (mut body, turn) = patience::watch(body);
    let sending = async {
        for _ in 0..3 {
            sleep(SECOND * 9).await;
            pieces.send(piece()).await.unwrap();
        }
        drop(pieces);
    };
    // It takes the whole body, and says nothing.
    let silent = async {
        while let Some(piece) = body.frame().await {
            piece.unwrap();
        }
        pending::<()>().await
    };
    let both = async { tokio::join!(turn.wait(SECOND * 10, silent), sending).0 };
    assert_eq!(timeout(SECOND * 3600, both).await.unwrap(), None);
    let waited = started.elapsed();
    assert_eq!(waited.as_secs(), 3 * 9 + 10, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_is_slow_does_not_use_up_the_upstreams_time() {
    let (pieces, body) = streamed();
    let (body, turn) = patience::watch(body);
    let sending = async {
        sleep(SECOND * 3600).await;
        pieces.send(piece()).await.unwrap();
        drop(pieces);
    };
    let both = async { tokio::join!(turn.wait(SECOND * 10, body.collect()), sending).0 };
    let answer = timeout(SECOND * 7200, both).await.unwrap();
    assert_eq!(answer.unwrap().unwrap().to_bytes().len(), PIECE);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_take_the_body_has_so_much_time() {
    let started = Instant::now();
    let (_body, turn) = patience::watch(Body::from("never asked for"));
    let answer = turn.wait(SECOND * 10, pending::<()>());
    assert_eq!(timeout(SECOND * 3600, answer).await.unwrap(), None);
    assert_eq!(started.elapsed().as_secs(), 10);
}

#[test]
fn callers_who_hang_up_in_the_middle_of_their_bodies_leave_nothing_behind() {
    alone(callers_who_go_away(Version::HTTP_11));
}

#[test]
fn callers_who_reset_streams_in_the_middle_of_their_bodies_leave_nothing_behind() {
    alone(callers_who_go_away(Version::HTTP_2));
}

async fn callers_who_go_away(version: Version) {
    const CALLERS: usize = 50;
    // What is kept for retries, at the least.
    const KEPT: usize = CALLERS * PIECE;

    let (hydra, _) = servers().await;
    let sink = Sink::start(&hydra).await;
    let proxy = proxy_to(&sink.server.origin, warm(&hydra).await).await;
    let client = client(version);
    let before = allocated();
    for round in 1..=3 {
        let mut calls = JoinSet::new();
        let mut bodies = Vec::new();
        for _ in 0..CALLERS {
            let (pieces, body) = streamed();
            let request = Request::post(&proxy.origin).body(body).unwrap();
            calls.spawn(call(client.clone(), request));
            pieces.send(piece()).await.unwrap();
            bodies.push(pieces);
        }
        sink.received((round * KEPT) as u64).await;
        assert!(allocated() > before + KEPT);

        // The bodies do not end by it.
        calls.shutdown().await;
        sink.bodies(round * CALLERS).await;
        drop(bodies);
        // The runtime and the clients keep some room for next time.
        until("all of it is freed", || allocated() < before + KEPT / 8).await;
    }
    assert_eq!(sink.ended(), [Err(PIECE as u64); 3 * CALLERS]);
}

#[test]
fn a_call_that_nobody_waits_for_any_more_is_given_up_upstream() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, _) = servers().await;
            // Each call holds one of these until it is over, and never is by itself.
            let (came, mut calls) = mpsc::unbounded_channel();
            let upstream = Server::start(Router::new().fallback(async move || {
                let (over, call) = mpsc::channel::<()>(1);
                came.send(over).unwrap();
                pending::<()>().await;
                drop(call);
            }))
            .await;
            let proxy = proxy_to(&upstream.origin, warm(&hydra).await).await;

            let waiting = tokio::spawn(call(client(version), get(&proxy.origin)));
            let over = timeout(PATIENCE, calls.recv()).await.unwrap().unwrap();
            waiting.abort();
            timeout(PATIENCE, over.closed()).await.unwrap();
        }
    });
}

#[test]
fn an_answer_that_nobody_reads_any_more_is_given_up_upstream() {
    among_others(async {
        for version in VERSIONS {
            let (hydra, _) = servers().await;
            let sink = Sink::start(&hydra).await;
            let proxy = proxy_to(&sink.server.origin, warm(&hydra).await).await;
            let (pieces, body) = streamed();
            sink.gives(body);
            let client = client(version);
            let answer = client.request(get(&proxy.origin)).await.unwrap();
            pieces.send(piece()).await.unwrap();
            drop((answer, client));
            timeout(PATIENCE, pieces.closed()).await.unwrap();
        }
    });
}

#[test]
fn an_upstream_that_is_no_http_origin_is_rejected() {
    for (upstream, why) in [
        ("https://api.example.com", "not http"),
        ("http://api.example.com/v1", "has a path"),
        ("http://me:pw@api.example.com", "has credentials"),
        ("api.example.com", "no scheme"),
        ("", "does not parse"),
    ] {
        let rejected = upstream.parse::<proxy::Upstream>().err().unwrap();
        assert!(rejected.to_string().contains(why), "{rejected}");
        assert!(!rejected.to_string().contains("pw"), "{rejected}");
    }
    let is_loopback = |origin: &str| origin.parse::<proxy::Upstream>().unwrap().is_loopback();
    assert!(is_loopback("http://127.0.0.1:9000"));
    assert!(is_loopback("http://[::1]/"));
    assert!(is_loopback("http://localhost"));
    assert!(!is_loopback("http://10.0.0.1"));
    assert!(!is_loopback("http://localhost.example.com"));
}

#[cfg(unix)]
#[test]
fn the_program_answers_what_is_under_way_when_it_is_told_to_stop_and_exits_with_0() {
    among_others(async {
        let Some(program) = program() else { return };
        for signal in ["-TERM", "-INT"] {
            for version in VERSIONS {
                let (hydra, gateway) = servers().await;
                let mut running = Running::start(&program, "post", &hydra, &gateway).await;
                let client = client(version);
                let warm = call(client.clone(), cart(&running.server, 0)).await;
                assert_eq!(warm.0, StatusCode::OK);

                let gate = gateway.hold();
                let under_way = tokio::spawn(call(client, cart(&running.server, 1)));
                gate.arrived(1).await.unwrap();
                running.signal(signal).await;
                gate.open();
                assert_eq!(under_way.await.unwrap().0, StatusCode::OK);
                let (code, log) = running.end().await;
                assert_eq!(code, Some(0), "{log}");
                assert_eq!((hydra.token_requests(), gateway.answered()), (1, 2));

                assert!(log.contains("requested an access token"), "{log}");
                is_plain(&log, &hydra);
                for call in gateway.calls() {
                    let token = call.headers[AUTHORIZATION].to_str().unwrap();
                    let token = token.strip_prefix("Bearer ").unwrap();
                    assert!(!log.contains(token), "the token is in the log");
                }
            }
        }
    });
}

#[test]
fn the_program_sends_id_and_secret_as_it_is_told() {
    among_others(async {
        let Some(program) = program() else { return };
        for auth in ["basic", "basic_raw"] {
            let (hydra, gateway) = servers().await;
            let running = Running::start(&program, auth, &hydra, &gateway).await;
            // This server takes them in the form only, and says what it got.
            let (status, told) = call(client(Version::HTTP_11), cart(&running.server, 0)).await;
            assert_eq!(status, StatusCode::BAD_GATEWAY);
            assert!(
                told.contains("'client_secret_basic' was requested"),
                "{told}"
            );
            is_plain(&told, &hydra);
            assert_eq!(gateway.connections(), 0);
        }
    });
}

#[test]
fn the_program_says_which_variable_is_wrong_and_never_the_secret() {
    among_others(async {
        let Some(program) = program() else { return };
        for (name, value) in [
            ("UPSTREAM", None),
            ("UPSTREAM", Some("https://api.example.com")),
            ("UPSTREAM", Some("http://127.0.0.1:9000/v1")),
            ("UPSTREAM", Some("http://api.example.com")),
            ("PLAIN_HTTP", Some("maybe")),
            ("TOKEN_URL", None),
            ("TOKEN_URL", Some("http://auth.example.com/token")),
            ("CLIENT_ID", None),
            ("CLIENT_SECRET", None),
            ("CLIENT_SECRET", Some("")),
            ("SCOPES", Some("billing \"credits\"")),
            ("CLIENT_AUTH", Some("digest")),
            ("LISTEN", Some("nowhere")),
            ("RUST_LOG", Some("tower_bearer=loud")),
        ] {
            let mut command = Command::new(&program);
            command
                .env_clear()
                .env("UPSTREAM", "http://127.0.0.1:9000")
                .env("TOKEN_URL", "http://127.0.0.1:9001/oauth2/token")
                .env("CLIENT_ID", "id")
                .env("CLIENT_SECRET", "not-to-be-told")
                .env("LISTEN", "127.0.0.1:0");
            match value {
                None => command.env_remove(name),
                Some(value) => command.env(name, value),
            };
            let output = finish(command).await;
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{name}={value:?}");
            let mistake = told.lines().next().unwrap();
            assert!(mistake.contains(name), "{name}={value:?}: {mistake}");
            assert!(!told.contains("not-to-be-told"), "{told}");
            assert!(output.stdout.is_empty());
        }
    });
}

#[test]
fn the_program_demonstrates_itself_when_nothing_is_set() {
    among_others(async {
        let Some(program) = program() else { return };
        let mut command = Command::new(program);
        command.env_clear();
        let output = finish(command).await;
        assert!(output.status.success(), "{output:?}");
    });
}

const SECOND: Duration = Duration::from_secs(1);

async fn servers() -> (Hydra, Gateway) {
    let hydra = Hydra::start(Registration::default()).await.unwrap();
    let gateway = Gateway::start(&hydra).await.unwrap();
    (hydra, gateway)
}

fn credentials(hydra: &Hydra) -> ClientCredentials {
    let known = hydra.registration();
    ClientCredentials::builder(hydra.token_url(), &known.client_id, &known.client_secret)
        .scopes(&known.scopes)
        .build()
        .unwrap()
}

/// As the server knows them, but for the secret's last character.
fn denied(hydra: &Hydra) -> ClientCredentials {
    let known = hydra.registration();
    let secret = format!("{}s", known.client_secret);
    ClientCredentials::builder(hydra.token_url(), &known.client_id, secret)
        .build()
        .unwrap()
}

fn tokens(hydra: &Hydra) -> TokenCache {
    TokenCache::new(credentials(hydra))
}

async fn warm(hydra: &Hydra) -> TokenCache {
    let tokens = tokens(hydra);
    tokens.get().await.unwrap();
    tokens
}

async fn proxy_to(upstream: &str, tokens: TokenCache) -> Server {
    let upstream = upstream.parse().unwrap();
    Server::start(proxy::proxy(upstream, tokens, PATIENCE)).await
}

fn get(uri: &str) -> Request<Body> {
    Request::get(uri).body(Body::empty()).unwrap()
}

fn cart(proxy: &Server, number: usize) -> Request<Body> {
    let origin = &proxy.origin;
    get(&format!("{origin}/ecommerce/public/{TENANT}/cart/{number}"))
}

/// Status and body of an answer.
async fn call(client: Client<HttpConnector, Body>, request: Request<Body>) -> (StatusCode, String) {
    let answer = timeout(PATIENCE, client.request(request)).await;
    let answer = answer.unwrap().unwrap();
    (answer.status(), text(answer).await)
}

async fn text<B>(answer: Response<B>) -> String
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Fails if the secret is in it, as it is or encoded.
fn is_plain(text: &str, hydra: &Hydra) {
    let secret = &hydra.registration().client_secret;
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    for secret in [secret, &encoded, &BASE64_STANDARD.encode(secret)] {
        assert!(!text.contains(secret), "{text}");
    }
}

/// A server that says the same to everyone, whatever it is asked, and closes; no answer at all where that is empty.
struct Raw {
    origin: String,
    /// The heads of the requests that came.
    requests: mpsc::UnboundedReceiver<String>,
}

impl Raw {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (came, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    request.push(connection.read_u8().await.unwrap());
                }
                let _ = came.send(String::from_utf8(request).unwrap());
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { origin, requests }
    }
}

/// All that is answered to a request until the connection is closed.
async fn raw(origin: &str, request: &str) -> String {
    let address = origin.trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = connection.read_to_string(&mut answer);
    timeout(PATIENCE, read).await.unwrap().unwrap();
    answer
}

/// The first line of a head, and the others.
fn lines(head: &str) -> (&str, Vec<&str>) {
    let (head, _) = head.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    (lines.next().unwrap(), lines.collect())
}

/// The example as a program, which `cargo test` builds before the tests run. `None` where it was not asked to.
fn program() -> Option<PathBuf> {
    let here = env::current_exe().unwrap();
    let program = here
        .parent()
        .unwrap()
        .with_file_name("examples")
        .join(format!("axum_proxy{}", env::consts::EXE_SUFFIX));
    if fs::exists(&program).unwrap() {
        return Some(program);
    }
    eprintln!("skipped: build the program with `cargo build --example axum_proxy --all-features`");
    None
}

/// The program under way.
struct Running {
    child: Child,
    server: Server,
    log: tokio::task::JoinHandle<String>,
}

impl Running {
    async fn start(program: &Path, auth: &str, hydra: &Hydra, gateway: &Gateway) -> Self {
        let known = hydra.registration();
        let mut child = Command::new(program)
            .env_clear()
            .env("UPSTREAM", gateway.origin())
            .env("TOKEN_URL", hydra.token_url())
            .env("CLIENT_ID", &known.client_id)
            .env("CLIENT_SECRET", &known.client_secret)
            .env("CLIENT_AUTH", auth)
            .env("SCOPES", known.scopes.join(" "))
            .env("LISTEN", "127.0.0.1:0")
            .env("RUST_LOG", "trace")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = tokio::spawn(async move {
            let mut log = String::new();
            stderr.read_to_string(&mut log).await.unwrap();
            log
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, stdout.next_line()).await.unwrap();
        let line = line.unwrap().unwrap();
        let origin = line.strip_prefix("listening on ").unwrap();
        Self {
            child,
            server: Server::elsewhere(origin),
            log,
        }
    }

    /// Sends a signal, and waits until the program takes no more connections.
    async fn signal(&mut self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().await;
        assert!(sent.unwrap().success());
        let address = self.server.origin.trim_start_matches("http://");
        let closed = async { while TcpStream::connect(address).await.is_ok() {} };
        timeout(PATIENCE, closed).await.unwrap();
    }

    /// Its exit code and what it logged.
    async fn end(mut self) -> (Option<i32>, String) {
        let status = timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        (status.code(), self.log.await.unwrap())
    }
}

/// Runs a program to its end.
async fn finish(mut command: Command) -> Output {
    let output = command.kill_on_drop(true).output();
    timeout(PATIENCE, output).await.unwrap().unwrap()
}
