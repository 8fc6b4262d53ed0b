//! gRPC by tonic: over loopback sockets, and, where a deadline is the point, in paused time.

#![cfg(all(feature = "rustls", feature = "tonic"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../examples/embedded/mod.rs"]
mod embedded;
#[path = "support/grpc.rs"]
mod grpc;
mod support;

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    error::Error as StdError,
    future::{pending, ready},
    io,
    net::TcpListener,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
    uri::PathAndQuery,
};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::{
    io::{copy_bidirectional, duplex},
    sync::{mpsc, oneshot, watch},
    task::{JoinSet, yield_now},
    time::{Instant, sleep, timeout},
};
use tokio_stream::{Stream, StreamExt, iter, wrappers::ReceiverStream};
use tokio_test::{assert_pending, task};
use tonic::{
    Code, IntoRequest, Request, Response, Status, Streaming,
    body::Body,
    client::{Grpc, GrpcService},
    metadata::MetadataValue,
    transport::{Channel, Endpoint, Server},
};
use tonic_health::{
    pb::{HealthCheckRequest, health_client::HealthClient},
    server::health_reporter,
};
use tonic_prost::ProstCodec;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::{
    ClientCredentials, Error, ErrorKind, TokenCache,
    adapter::tonic::{GrpcAuth, GrpcAuthLayer},
    extension::{Deadline, NoRetry, NoToken},
    select::{Origins, RequestHead},
    token::FixedToken,
    unauthorized::ResponseHead,
};

use self::{
    embedded::{Hydra, Registration},
    grpc::{Call, Guard, REJECTION},
    support::{TokenEndpoint, answer, token},
};

type Client = Grpc<GrpcAuth<Channel>>;

const CROWD: usize = 200;
const SECOND: Duration = Duration::from_secs(1);

/// Promise: F1
#[tokio::test]
async fn two_hundred_cold_calls_are_one_token_request_and_one_connection() {
    let (hydra, api, client) = everything().await;
    let token_request = hydra.hold();

    // Polled once each, so that all of them wait for a token before the first token request is answered.
    let mut calls = JoinSet::new();
    for number in 0..CROWD {
        let mut call = task::spawn(Box::pin(echo(client.clone(), note(number))));
        assert_pending!(call.poll());
        calls.spawn(call.into_inner());
    }
    token_request.arrived(1).await.unwrap();
    assert_eq!(api.calls().len(), 0, "no call goes out without a token");
    token_request.open();

    for answer in calls.join_all().await {
        answer.unwrap();
    }
    assert_eq!(hydra.token_requests(), 1);
    let calls = api.calls();
    assert_eq!(calls.len(), CROWD);
    assert_eq!(calls.iter().map(bearer).collect::<HashSet<_>>().len(), 1);
    assert!(calls.iter().all(|call| call.version == Version::HTTP_2));
    assert_eq!(api.connections(), 1);
}

#[tokio::test]
async fn warm_calls_cost_no_token_request() {
    let (hydra, api, client) = everything().await;
    for number in 0..50 {
        let answer = echo(client.clone(), note(number)).await.unwrap();
        assert_eq!(*answer.get_ref(), note(number));
    }
    assert_eq!((hydra.token_requests(), api.calls().len()), (1, 50));
    assert_eq!(api.connections(), 1);
}

/// The layer keeps a handle to the channel for retries, but for no longer than there are clients.
#[tokio::test(start_paused = true)]
async fn the_connection_is_closed_with_the_last_client() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let (told, mut is_closed) = oneshot::channel();
    let mut told = Some(told);
    let connect = service_fn(move |_: Uri| {
        let (here, mut client) = duplex(64 * 1024);
        let (mut server, there) = duplex(64 * 1024);
        let incoming = tokio_stream::once(Ok::<_, io::Error>(there));
        let serve = Server::builder().serve_with_incoming(Slow(Duration::ZERO), incoming);
        tokio::spawn(serve);
        let told = told.take();
        tokio::spawn(async move {
            let _ = copy_bidirectional(&mut client, &mut server).await;
            told.map(|told| told.send(()))
        });
        ready(Ok::<_, io::Error>(TokioIo::new(here)))
    });
    let channel = Endpoint::from_static("http://api.test").connect_with_connector_lazy(connect);
    let client = in_process(&endpoint, channel);
    echo(client.clone(), note(0)).await.unwrap();
    yield_now().await;
    assert!(is_closed.try_recv().is_err());
    drop(client);
    timeout(SECOND, is_closed).await.unwrap().unwrap();
}

#[tokio::test]
async fn generated_clients_get_their_token_too() {
    let (hydra, source) = hydra().await;
    let (_, health) = health_reporter();
    let api = Guard::new(is_good(&hydra), health);
    let channel = channel(&api.serve().await.unwrap());
    let mut client = HealthClient::new(GrpcAuthLayer::new(source).layer(channel));

    for round in 1..=2 {
        client.check(HealthCheckRequest::default()).await.unwrap();
        let watch = client.watch(HealthCheckRequest::default()).await.unwrap();
        assert!(watch.into_inner().message().await.unwrap().is_some());
        assert_eq!(hydra.token_requests(), round);
        hydra.revoke_all();
    }
    assert_eq!((api.calls().len(), api.connections()), (2 + 3, 1));
}

/// Promise: R2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_revoked_with_two_hundred_calls_in_flight_costs_one_token_request_and_one_retry_each()
 {
    let (hydra, api, client) = everything().await;
    // So that what was said the first time is seen.
    api.read_first();
    echo(client.clone(), note(CROWD)).await.unwrap();

    let gate = api.hold();
    let calls = crowd(&client);
    gate.arrived(CROWD).await.unwrap();
    hydra.revoke_all();
    gate.open();

    for answer in calls.join_all().await {
        answer.unwrap();
    }
    assert_eq!(hydra.token_requests(), 2);
    let mut by_body = HashMap::<_, Vec<_>>::new();
    for call in api.calls() {
        by_body.entry(call.body.clone()).or_default().push(call);
    }
    assert_eq!(by_body.remove(&framed(&note(CROWD))).unwrap().len(), 1);
    let mut successors = HashSet::new();
    for number in 0..CROWD {
        // Twice byte for byte, or there would be two entries.
        let calls = by_body.remove(&framed(&note(number))).unwrap();
        let [first, second] = &calls[..] else {
            panic!("sent {} times", calls.len());
        };
        assert!(first.rejected && !second.rejected);
        successors.insert(bearer(second));
    }
    assert_eq!((by_body.len(), successors.len()), (0, 1));
    assert_eq!(api.connections(), 1);
}

/// As interceptors do.
///
/// Promise: R2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_sent_again_to_a_server_that_rejects_them_unread() {
    let (hydra, api, client) = everything().await;
    echo(client.clone(), note(CROWD)).await.unwrap();

    let gate = api.hold();
    let calls = crowd(&client);
    gate.arrived(CROWD).await.unwrap();
    hydra.revoke_all();
    gate.open();

    let mut echoes = HashSet::new();
    for answer in calls.join_all().await {
        echoes.insert(answer.unwrap().into_inner().text);
    }
    assert_eq!(echoes.len(), CROWD);
    assert_eq!(
        (hydra.token_requests(), api.calls().len()),
        (2, 1 + 2 * CROWD)
    );
}

/// As a server may that is quick, where the client's threads are not.
///
/// Promise: R2
#[tokio::test]
async fn a_unary_call_rejected_before_its_message_was_taken_is_sent_again_too() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    // In process, nobody takes a message but the service itself.
    let api = Guard::new(|token| token == "t2", Notes);
    let client = in_process(&endpoint, api.clone());
    let answer = echo(client, note(1)).await;
    assert_eq!(answer.unwrap().get_ref(), &note(1));
    assert_eq!(
        (endpoint.token_requests(), rejected(&api)),
        (2, vec![true, false])
    );
}

/// As a large upload that the server is slow to read makes them wait, on the same connection.
///
/// Promise: R2
#[tokio::test]
async fn a_unary_call_whose_message_waits_for_the_window_is_sent_again_too() {
    let (hydra, api, client) = everything().await;
    echo(client.clone(), note(0)).await.unwrap();

    // The server takes a megabyte of what it does not read: when as much has been sent and one more is asked for, no other
    // message gets out.
    const LARGE: usize = 60 * 1024;
    const MANY: usize = 1024 * 1024 / LARGE + 2;
    let (asked, mut asked_for) = watch::channel(0);
    let endless = iter(1..).map(move |number| {
        asked.send_replace(number);
        of_size(LARGE)
    });
    let upload = tokio::spawn(stall(client.clone(), endless));
    let full = async {
        asked_for.wait_for(|number| *number >= MANY).await.unwrap();
        while rejected(&api) != [false, false] {
            yield_now().await;
        }
    };
    timeout(SECOND * 10, full).await.unwrap();

    hydra.revoke_all();
    let token_request = hydra.hold();
    let call = tokio::spawn(echo(client, note(1)));
    // The rejection has come.
    token_request.arrived(1).await.unwrap();
    upload.abort();
    token_request.open();
    assert_eq!(call.await.unwrap().unwrap().get_ref(), &note(1));
    assert_eq!(hydra.token_requests(), 2);
    assert_eq!(rejected(&api), [false, false, true, false]);
}

/// Promise: B1, R1, R14
#[tokio::test]
async fn a_call_sent_again_is_the_same_but_for_its_token() {
    let (hydra, api, client) = everything().await;
    api.read_first();
    echo(client.clone(), note(0)).await.unwrap();
    hydra.revoke_all();

    let said = Note {
        text: "\u{1F4B3}\0\r\n".into(),
        data: (0..=255).collect(),
    };
    let mut request = Request::new(said.clone());
    let metadata = request.metadata_mut();
    for tag in ["one", "two, three", "", "one"] {
        metadata.append("x-tag", tag.parse().unwrap());
    }
    metadata.append_bin("x-raw-bin", MetadataValue::from_bytes(b"\0\xFF"));
    request.set_timeout(SECOND * 60);
    let answer = echo(client, request).await.unwrap();
    assert_eq!(answer.into_inner(), said);

    assert_eq!(hydra.token_requests(), 2);
    let calls = api.calls();
    let [_, first, second] = &calls[..] else {
        panic!("{} calls", calls.len());
    };
    assert!(first.rejected && !second.rejected);
    assert_ne!(bearer(first), bearer(second));
    for call in [first, second] {
        assert_eq!(call.path, ECHO);
        assert_eq!(call.body, framed(&said));
        let tags: Vec<_> = call.headers.get_all("x-tag").iter().collect();
        assert_eq!(tags, ["one", "two, three", "", "one"]);
        assert_eq!(call.headers["grpc-timeout"], "60000000u");
    }
}

/// Promise: R14
#[tokio::test]
async fn a_call_sent_again_has_the_headers_of_the_first_and_no_others() {
    let (hydra, api, client) = everything().await;
    echo(client.clone(), note(0)).await.unwrap();
    hydra.revoke_all();
    echo(client, note(1)).await.unwrap();
    let calls = api.calls();
    assert_eq!(
        all_but_the_token(&calls[1].headers),
        all_but_the_token(&calls[2].headers)
    );
}

#[tokio::test]
async fn metadata_and_trailers_of_an_answer_come_as_they_were_sent() {
    let (hydra, api, client) = everything().await;
    for calls in [1, 3] {
        let answer = echo(client.clone(), note(0)).await.unwrap();
        let metadata = answer.metadata();
        assert_eq!(metadata.get("x-in-the-head").unwrap(), "a head");
        assert_eq!(metadata.get("x-in-the-trailers").unwrap(), "a trailer");
        assert_eq!(metadata.get("grpc-status").unwrap(), "0");
        assert_eq!(api.calls().len(), calls);
        hydra.revoke_all();
    }
}

/// Promise: R1
#[tokio::test]
async fn a_call_answered_by_a_stream_is_sent_again_and_the_stream_is_whole() {
    let (hydra, api, client) = everything().await;
    echo(client.clone(), note(0)).await.unwrap();
    hydra.revoke_all();

    let mut stream = list(client, "three").await.unwrap();
    for number in 0..3 {
        assert_eq!(stream.message().await.unwrap(), Some(note(number)));
    }
    assert_eq!(stream.message().await.unwrap(), None);
    let trailers = stream.trailers().await.unwrap().unwrap();
    assert_eq!(trailers.get("x-in-the-trailers").unwrap(), "a trailer");

    assert_eq!(hydra.token_requests(), 2);
    assert_eq!(rejected(&api), [false, true, false]);
    assert_eq!(api.connections(), 1);
}

/// Promise: B3
#[tokio::test]
async fn a_stream_of_requests_under_way_is_not_sent_again_and_the_next_call_has_another_token() {
    let (hydra, api, client, cache) = everything_and_the_cache().await;
    echo(client.clone(), note(0)).await.unwrap();
    hydra.revoke_all();

    let (say, said) = mpsc::channel(1);
    say.send(note(1)).await.unwrap();
    let status = collect(client.clone(), ReceiverStream::new(said))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unauthenticated, REJECTION)
    );
    assert!(status.source().is_none());
    drop(say);

    replaced(&cache).await;
    echo(client, note(2)).await.unwrap();
    assert_eq!(hydra.token_requests(), 2);
    assert_eq!(rejected(&api), [false, true, false]);
    assert_eq!(api.connections(), 1);
}

/// Promise: B3
#[tokio::test]
async fn a_conversation_under_way_is_not_begun_again_and_the_next_one_has_another_token() {
    let (hydra, api, client, cache) = everything_and_the_cache().await;
    echo(client.clone(), note(0)).await.unwrap();
    hydra.revoke_all();

    let (say, said) = mpsc::channel(1);
    say.send(note(1)).await.unwrap();
    let status = talk(client.clone(), said).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unauthenticated, REJECTION)
    );

    replaced(&cache).await;
    let (say, said) = mpsc::channel(1);
    let mut answers = talk(client, said).await.unwrap();
    for number in 2..5 {
        // Nothing that is said waits for what is not yet said.
        say.send(note(number)).await.unwrap();
        assert_eq!(answers.message().await.unwrap(), Some(note(number)));
    }
    drop(say);
    assert_eq!(answers.message().await.unwrap(), None);
    assert_eq!(hydra.token_requests(), 2);
    assert_eq!(rejected(&api), [false, true, false]);
}

/// Promise: B2
#[tokio::test]
async fn a_stream_of_requests_that_was_sent_to_its_end_is_sent_again() {
    let (hydra, api, client) = everything().await;
    api.read_first();
    echo(client.clone(), note(0)).await.unwrap();
    hydra.revoke_all();

    let answer = collect(client, iter((1..=20).map(note))).await.unwrap();
    assert_eq!(answer.get_ref().text, "20");
    assert_eq!(rejected(&api), [false, true, false]);
    let calls = api.calls();
    assert_eq!(calls[1].body, calls[2].body);
}

/// Promise: B3
#[tokio::test]
async fn a_message_larger_than_what_is_kept_is_sent_once_and_whole() {
    const KEPT: usize = 1000;
    for (over, again) in [(0, true), (1, false)] {
        let (hydra, source) = hydra().await;
        let api = Guard::new(is_good(&hydra), Notes);
        let layer = GrpcAuthLayer::new(source).keep_up_to(KEPT);
        let cache = layer.cache().clone();
        let client = client(layer, &api).await;
        api.read_first();
        echo(client.clone(), note(0)).await.unwrap();
        hydra.revoke_all();

        let size = (0..KEPT).find(|size| framed(&of_size(*size)).len() == KEPT + over);
        let said = of_size(size.unwrap());
        let answer = echo(client.clone(), said.clone()).await;
        if again {
            assert_eq!(answer.unwrap().get_ref(), &said);
            assert_eq!(rejected(&api), [false, true, false]);
        } else {
            assert_eq!(answer.unwrap_err().code(), Code::Unauthenticated);
            assert_eq!(rejected(&api), [false, true]);
            replaced(&cache).await;
            echo(client, note(0)).await.unwrap();
            assert_eq!(rejected(&api), [false, true, false]);
        }
        assert_eq!(api.calls()[1].body, framed(&said));
        assert_eq!(hydra.token_requests(), 2);
    }
}

/// Promise: R5
#[tokio::test]
async fn a_fresh_token_that_is_rejected_too_is_not_a_third_call() {
    let (hydra, source) = hydra().await;
    let api = Guard::new(|_| false, Notes);
    let client = client(GrpcAuthLayer::new(source), &api).await;
    let details = b"why".as_slice();
    api.reject_with(move || {
        Status::with_details(Code::Unauthenticated, "wrong audience", details.into()).into_http()
    });

    let status = echo(client, note(0)).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unauthenticated, "wrong audience")
    );
    assert_eq!(status.details(), details);
    assert!(status.source().is_none());
    assert_eq!((hydra.token_requests(), rejected(&api).len()), (2, 2));
}

#[tokio::test]
async fn a_401_of_something_in_front_of_the_server_is_a_rejection_as_well() {
    let (hydra, api, client) = everything().await;
    api.reject_with(|| plain(StatusCode::UNAUTHORIZED, "who are you?"));
    echo(client.clone(), note(0)).await.unwrap();
    hydra.revoke_all();
    echo(client, note(1)).await.unwrap();
    assert_eq!(hydra.token_requests(), 2);
    assert_eq!(rejected(&api), [false, true, false]);
    assert_eq!(api.connections(), 1);
}

/// Promise: R8
#[tokio::test]
async fn a_401_that_no_token_of_this_client_would_cure_is_handed_on() {
    let (hydra, api, client) = everything().await;
    api.reject_with(|| {
        let mut answer = plain(StatusCode::UNAUTHORIZED, "");
        let challenge = HeaderValue::from_static(r#"Bearer error="insufficient_scope""#);
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        answer
    });
    echo(client.clone(), note(0)).await.unwrap();
    hydra.revoke_all();
    let status = echo(client, note(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(hydra.token_requests(), 1);
    assert_eq!(rejected(&api), [false, true]);
}

/// Promise: R8
#[tokio::test]
async fn no_other_status_is_a_rejection() {
    let (hydra, source) = hydra().await;
    let api = Guard::new(|_| false, Notes);
    let client = client(GrpcAuthLayer::new(source), &api).await;
    let codes = (1..=16).map(Code::from_i32);
    let others: Vec<_> = codes
        .filter(|code| *code != Code::Unauthenticated)
        .collect();
    assert!(others.contains(&Code::PermissionDenied));
    for code in &others {
        let code = *code;
        api.reject_with(move || Status::new(code, "told so").into_http());
        let status = echo(client.clone(), note(0)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, "told so"));
    }
    api.reject_with(|| plain(StatusCode::FORBIDDEN, ""));
    let status = echo(client, note(0)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        (hydra.token_requests(), api.calls().len()),
        (1, others.len() + 1)
    );
}

/// ZITADEL and etcd answer so for a token that has expired; gateways answer 403.
///
/// Promise: R1, R8
#[tokio::test]
async fn a_status_that_the_layer_is_told_of_is_a_rejection() {
    let rejections: [fn() -> http::Response<Body>; 2] = [
        || Status::permission_denied("token expired").into_http(),
        || plain(StatusCode::FORBIDDEN, ""),
    ];
    for rejection in rejections {
        let (hydra, source) = hydra().await;
        let api = Guard::new(is_good(&hydra), Notes);
        let layer = GrpcAuthLayer::new(source).unauthorized(|response: &ResponseHead<'_>| {
            let status = response.headers().get("grpc-status");
            response.status() == StatusCode::FORBIDDEN || status.is_some_and(|it| it == "7")
        });
        let origin = api.serve().await.unwrap();
        let client = Grpc::new(layer.layer(channel(&origin)));
        echo(client.clone(), note(0)).await.unwrap();
        hydra.revoke_all();
        api.reject_with(rejection);
        echo(client, note(1)).await.unwrap();
        assert_eq!(hydra.token_requests(), 2);
        assert_eq!(rejected(&api), [false, true, false]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_403_whose_token_request_failed_is_permission_denied_with_the_cause_behind_it() {
    let endpoint = TokenEndpoint::new(async |post| match post {
        1 => token("t1", 3600),
        _ => answer(503, ""),
    });
    let layer = GrpcAuthLayer::new(endpoint.credentials())
        .unauthorized(|response: &ResponseHead<'_>| response.status() == StatusCode::FORBIDDEN);
    let api = service_fn(async |_: http::Request<Body>| {
        Ok::<_, Infallible>(plain(StatusCode::FORBIDDEN, ""))
    });
    let status = echo(Grpc::new(layer.layer(api)), note(0))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(ours(&status).kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_unauthenticated_that_comes_after_messages_is_the_callers_and_no_rejection() {
    let (hydra, api, client) = everything().await;
    let mut stream = list(client.clone(), SPOILT).await.unwrap();
    for number in 0..2 {
        assert_eq!(stream.message().await.unwrap(), Some(note(number)));
    }
    let status = stream.message().await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unauthenticated, "in the end")
    );
    echo(client, note(0)).await.unwrap();
    assert_eq!((hydra.token_requests(), api.calls().len()), (1, 2));
}

/// Promise: R13, S3
#[tokio::test]
async fn a_call_can_say_that_it_wants_no_token_or_no_retry_or_bring_its_own_token() {
    let (hydra, api, client, cache) = everything_and_the_cache().await;
    let mut bare = Request::new(note(0));
    bare.extensions_mut().insert(NoToken);
    let status = echo(client.clone(), bare).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(!api.calls()[0].headers.contains_key(AUTHORIZATION));

    let mut own = Request::new(note(1));
    own.metadata_mut()
        .insert("authorization", "Bearer own".parse().unwrap());
    let status = echo(client.clone(), own).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(bearer(&api.calls()[1]), "Bearer own");
    assert_eq!((hydra.token_requests(), api.calls().len()), (0, 2));

    echo(client.clone(), note(2)).await.unwrap();
    hydra.revoke_all();
    let mut once = Request::new(note(3));
    once.extensions_mut().insert(NoRetry);
    let status = echo(client.clone(), once).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    replaced(&cache).await;
    echo(client, note(4)).await.unwrap();
    assert_eq!(rejected(&api)[2..], [false, true, false]);
    assert_eq!(hydra.token_requests(), 2);
}

/// A channel knows where it goes, and the calls above it do not, unless the client is told.
///
/// Promise: S1
#[tokio::test]
async fn origins_are_told_apart_if_the_client_knows_its_own() {
    let (hydra, source) = hydra().await;
    let api = Guard::new(is_good(&hydra), Notes);
    let origin = api.serve().await.unwrap();
    let layer = GrpcAuthLayer::new(source);
    for (trusted, code) in [
        (&*origin, Code::Ok),
        ("https://api.test", Code::Unauthenticated),
    ] {
        let layer = layer.clone().select(Origins::new([trusted]).unwrap());
        let channel = layer.layer(channel(&origin));
        let client = Grpc::with_origin(channel, origin.parse().unwrap());
        assert_eq!(code_of(&echo(client, note(0)).await), code);
    }
    assert_eq!(rejected(&api), [false, true]);
    assert!(!api.calls()[1].headers.contains_key(AUTHORIZATION));
}

#[tokio::test]
async fn calls_that_are_not_selected_go_as_they_are() {
    let (hydra, source) = hydra().await;
    let api = Guard::new(is_good(&hydra), Notes);
    let layer = GrpcAuthLayer::new(source)
        .select(|call: &RequestHead<'_>| (call.uri().path() == ECHO).then_some(()));
    let client = Grpc::new(layer.layer(channel(&api.serve().await.unwrap())));
    echo(client.clone(), note(0)).await.unwrap();
    let status = list(client, "three").await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(!api.calls()[1].headers.contains_key(AUTHORIZATION));
}

// Errors: what callers see.

/// Promise: S6
#[tokio::test]
async fn a_token_endpoint_that_is_down_is_unavailable_with_the_cause_behind_it() {
    let source = ClientCredentials::builder(format!("{}/token", closed()), "id", "secret")
        .build()
        .unwrap();
    let api = Guard::new(|_| true, Notes);
    let client = client(GrpcAuthLayer::new(source), &api).await;

    // The failure itself, and what is left of its backoff.
    for retry_after in [false, true] {
        let status = echo(client.clone(), note(0)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let error = ours(&status);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.retry_after().is_some(), retry_after);
        assert_eq!(status.message(), error.to_string());
        assert!(error.source().is_some());
    }
    assert_eq!((api.calls().len(), api.connections()), (0, 0));
}

/// The call itself still has time, or all the time in the world.
///
/// Promise: F7
#[tokio::test(start_paused = true)]
async fn a_token_request_that_times_out_before_the_call_does_is_unavailable() {
    for timeout in [None, Some(SECOND * 60)] {
        let endpoint = TokenEndpoint::new(|_| pending());
        let client = in_process(&endpoint, Guard::new(|_| true, Notes));
        let mut request = Request::new(note(0));
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        let started = Instant::now();
        let status = echo(client, request).await.unwrap_err();
        assert_eq!(started.elapsed(), SECOND * 10);
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(ours(&status).kind(), ErrorKind::Timeout);
        assert_eq!(endpoint.token_requests(), 1);
    }
}

/// Promise: F5, S4, S6
#[tokio::test]
async fn a_wrong_secret_is_unauthenticated_and_shown_nowhere() {
    let hydra = Hydra::start(Registration::default()).await.unwrap();
    let secret = "yesterday's+secret";
    let client_id = &hydra.registration().client_id;
    let source = ClientCredentials::builder(hydra.token_url(), client_id, secret)
        .build()
        .unwrap();
    let api = Guard::new(is_good(&hydra), Notes);
    let client = client(GrpcAuthLayer::new(source), &api).await;
    let token_request = hydra.hold();
    let calls = crowd(&client);
    token_request.arrived(1).await.unwrap();
    token_request.open();

    for answer in calls.join_all().await {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        let error = ours(&status);
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert_eq!(error.oauth_code(), Some("invalid_client"));
        assert_eq!(error.status(), Some(StatusCode::UNAUTHORIZED));
        let mut shown = format!("{status} {status:?} {error} {error:?}");
        let mut source = error.source();
        while let Some(cause) = source {
            shown += &format!("{cause} {cause:?}");
            source = cause.source();
        }
        for form in [secret, "yesterday%27s%2Bsecret", "yesterday"] {
            assert!(!shown.contains(form), "{shown}");
        }
    }
    assert_eq!(hydra.token_requests(), 1);
    assert_eq!((api.calls().len(), api.connections()), (0, 0));
}

/// Promise: R9
#[tokio::test]
async fn a_rejection_whose_token_request_failed_is_the_servers_own_status_with_the_cause_behind_it()
{
    let (endpoint, api, client) = revoked_for_good(|| {
        let mut status = Status::unauthenticated("the server's own words: 100 %");
        status
            .metadata_mut()
            .insert("x-why", "revoked".parse().unwrap());
        status.into_http()
    })
    .await;
    let status = echo(client, note(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "the server's own words: 100 %");
    assert_eq!(status.metadata().get("x-why").unwrap(), "revoked");
    assert_eq!(ours(&status).kind(), ErrorKind::Unavailable);
    assert_eq!(
        ours(&status).status(),
        Some(StatusCode::SERVICE_UNAVAILABLE)
    );
    assert_eq!((endpoint.token_requests(), api.calls().len()), (2, 2));
}

/// Promise: R9
#[tokio::test]
async fn the_details_of_a_rejection_whose_token_request_failed_are_kept() {
    let details = b"\0\x01why\xFF".as_slice();
    let (_, _, client) = revoked_for_good(move || {
        Status::with_details(Code::Unauthenticated, REJECTION, details.into()).into_http()
    })
    .await;
    let status = echo(client, note(1)).await.unwrap_err();
    assert_eq!(status.details(), details);
    assert_eq!(ours(&status).kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn details_that_are_no_base64_are_no_panic() {
    let (_, _, client) = revoked_for_good(|| {
        let mut answer = Status::unauthenticated(REJECTION).into_http();
        let details = HeaderValue::from_static("?!");
        answer
            .headers_mut()
            .insert("grpc-status-details-bin", details);
        answer
    })
    .await;
    let status = echo(client, note(1)).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unauthenticated, REJECTION)
    );
    assert!(status.details().is_empty());
    assert_eq!(ours(&status).kind(), ErrorKind::Unavailable);
}

/// Promise: R9
#[tokio::test]
async fn a_401_whose_token_request_failed_has_the_cause_behind_it_too() {
    let (endpoint, api, client) = revoked_for_good(|| plain(StatusCode::UNAUTHORIZED, "")).await;
    let status = echo(client, note(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!((endpoint.token_requests(), api.calls().len()), (2, 2));
    assert_eq!(ours(&status).kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_error_of_the_channel_is_what_it_is_without_this_layer() {
    let api = closed();
    let source = FixedToken::new("t1").unwrap();
    let client = Grpc::new(GrpcAuthLayer::new(source).layer(channel(&api)));
    let with = echo(client, note(0)).await.unwrap_err();
    let without = echo(Grpc::new(channel(&api)), note(0)).await.unwrap_err();
    assert_eq!(with.code(), Code::Unavailable);
    assert_eq!(with.code(), without.code());
    assert_eq!(with.message(), without.message());
    assert!(with.source().unwrap().is::<tonic::transport::Error>());
    assert!(without.source().unwrap().is::<tonic::transport::Error>());
}

// Deadlines.

#[tokio::test]
async fn a_wait_for_the_first_token_ends_at_the_calls_timeout_and_the_token_request_goes_on() {
    let (hydra, api, client) = everything().await;
    let token_request = hydra.hold();
    let started = Instant::now();
    let status = echo(client.clone(), within(SECOND / 5)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(ours(&status).kind(), ErrorKind::Timeout);
    assert!(
        started.elapsed() < SECOND * 5,
        "long before the token request's own deadline"
    );
    assert_eq!(api.calls().len(), 0);

    token_request.arrived(1).await.unwrap();
    token_request.open();
    echo(client, note(0)).await.unwrap();
    assert_eq!((hydra.token_requests(), api.calls().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_first_token_is_as_long_as_the_calls_timeout_to_the_millisecond() {
    let endpoint = TokenEndpoint::healthy(SECOND * 9);
    let api = Guard::new(|_| true, Notes);
    let client = in_process(&endpoint, api.clone());
    let started = Instant::now();
    let status = echo(client.clone(), within(SECOND * 2)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(ours(&status).kind(), ErrorKind::Timeout);
    assert_eq!((started.elapsed(), api.calls().len()), (SECOND * 2, 0));

    echo(client, within(SECOND * 8)).await.unwrap();
    assert_eq!(started.elapsed(), SECOND * 9);
    assert_eq!(endpoint.token_requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_unit_of_a_timeout_is_understood() {
    let hour = SECOND * 60 * 60;
    for (timeout, ought) in [
        ("2H", hour * 2),
        ("99999999H", hour * 3),
        ("2M", SECOND * 2 * 60),
        ("2S", SECOND * 2),
        ("00000002S", SECOND * 2),
        ("2000m", SECOND * 2),
        ("2000000u", SECOND * 2),
        ("99999999n", Duration::from_millis(100)),
        ("0n", Duration::ZERO),
    ] {
        let endpoint = TokenEndpoint::healthy(Duration::ZERO);
        // Rejects the first token at once, and thinks about the call of the second for three hours.
        let api = Guard::new(|token| token == "t2", Slow(hour * 3));
        api.read_first();
        let client = in_process(&endpoint, api);
        let mut request = Request::new(note(0));
        let value = timeout.parse().unwrap();
        request.metadata_mut().insert("grpc-timeout", value);
        let started = Instant::now();
        let code = code_of(&echo(client, request).await);
        let code_ought = match ought < hour * 3 {
            true => Code::DeadlineExceeded,
            false => Code::Ok,
        };
        assert_eq!(code, code_ought, "{timeout}");
        // Tokio's timer counts in milliseconds.
        let late = started.elapsed() - ought;
        assert!(late <= Duration::from_millis(1), "{timeout}: {late:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_that_is_none_is_none() {
    for timeout in [
        "",
        "2",
        "S",
        "2s",
        "2 S",
        " 2S",
        "+2S",
        "-2S",
        "1.5S",
        "2SS",
        "123456789n",
        "٢S",
        "2§",
    ] {
        let endpoint = TokenEndpoint::healthy(SECOND * 9);
        let layer = GrpcAuthLayer::new(endpoint.credentials());
        let service = layer.layer(Guard::new(|_| true, Notes));
        // Not by tonic's metadata, which would not take all of them.
        let timeout = HeaderValue::from_bytes(timeout.as_bytes()).unwrap();
        let request = http::Request::post(ECHO).header("grpc-timeout", &timeout);
        let started = Instant::now();
        let request = request.body(Body::empty()).unwrap();
        service.oneshot(request).await.unwrap();
        assert_eq!(started.elapsed(), SECOND * 9, "{timeout:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_a_call_has_of_its_own_goes_before_its_timeout() {
    for (own, timeout) in [(1, 3), (3, 1)] {
        let endpoint = TokenEndpoint::healthy(SECOND * 9);
        let client = in_process(&endpoint, Guard::new(|_| true, Notes));
        let mut request = within(SECOND * timeout);
        request
            .extensions_mut()
            .insert(Deadline::after(SECOND * own));
        let started = Instant::now();
        let status = echo(client, request).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(started.elapsed(), SECOND * own);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_another_token_ends_at_the_calls_timeout_with_the_rejection() {
    let endpoint = TokenEndpoint::healthy(SECOND * 5);
    let api = Guard::new(|_| false, Notes);
    // There is no socket that would take the message without it.
    api.read_first();
    let client = in_process(&endpoint, api.clone());
    let started = Instant::now();
    let status = echo(client, within(SECOND * 7)).await.unwrap_err();
    assert_eq!(started.elapsed(), SECOND * 7);
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unauthenticated, REJECTION)
    );
    assert_eq!(ours(&status).kind(), ErrorKind::Timeout);
    assert_eq!(api.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_under_way_ends_at_the_calls_timeout() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    // Rejects the first token at once, and thinks about the call of the second for a minute.
    let api = Guard::new(|token| token == "t2", Slow(SECOND * 60));
    // There is no socket that would take the message without it.
    api.read_first();
    let client = in_process(&endpoint, api.clone());
    let started = Instant::now();
    let status = echo(client, within(SECOND * 3)).await.unwrap_err();
    assert_eq!(started.elapsed(), SECOND * 3);
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(ours(&status).kind(), ErrorKind::Timeout);
    assert_eq!(rejected(&api), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waited_for_its_token_is_over_at_its_timeout_all_the_same() {
    let endpoint = TokenEndpoint::healthy(SECOND * 3);
    let layer = GrpcAuthLayer::new(endpoint.credentials());
    let client = Grpc::new(layer.layer(pipe(Slow(SECOND * 3))));
    let started = Instant::now();
    // Three for the token are within four, and three for the call alone are too.
    let answer = echo(client, within(SECOND * 4)).await;
    assert_eq!(started.elapsed(), SECOND * 4);
    assert_eq!(answer.unwrap_err().code(), Code::DeadlineExceeded);
}

/// The channel has a timer for it as well, and says that the call was cancelled.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_over_at_its_timeout_says_so_whichever_timer_was_first() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let layer = GrpcAuthLayer::new(endpoint.credentials());
    for _ in 0..100 {
        let client = Grpc::new(layer.layer(pipe(Slow(SECOND * 60))));
        let status = echo(client, within(SECOND)).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
}

// The service, as it would be generated, and calls of it.

#[derive(Clone, PartialEq, Message)]
struct Note {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

/// Says notes again, one or many, as its methods have it.
#[derive(Clone, Debug)]
struct Notes;

const ECHO: &str = "/test.Notes/Echo";
const LIST: &str = "/test.Notes/List";
const COLLECT: &str = "/test.Notes/Collect";
const STALL: &str = "/test.Notes/Stall";
const TALK: &str = "/test.Notes/Talk";

type Codec = ProstCodec<Note, Note>;
type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl Service<http::Request<Body>> for Notes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: http::Request<Body>) -> Answering {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Codec::default());
            let answer = match call.uri().path() {
                ECHO => grpc.unary(service_fn(say_again), call).await,
                LIST => grpc.server_streaming(service_fn(say_three), call).await,
                COLLECT => grpc.client_streaming(service_fn(count), call).await,
                STALL => pending().await,
                TALK => grpc.streaming(service_fn(say_each_again), call).await,
                _ => Status::unimplemented("").into_http(),
            };
            Ok(answer.map(|body| {
                Body::new(body.map_frame(|mut frame| {
                    if let Some(trailers) = frame.trailers_mut() {
                        let value = HeaderValue::from_static("a trailer");
                        trailers.insert("x-in-the-trailers", value);
                    }
                    frame
                }))
            }))
        })
    }
}

async fn say_again(request: Request<Note>) -> Result<Response<Note>, Status> {
    let mut answer = Response::new(request.into_inner());
    let head = "a head".parse().unwrap();
    answer.metadata_mut().insert("x-in-the-head", head);
    Ok(answer)
}

async fn say_three(
    request: Request<Note>,
) -> Result<Response<impl Stream<Item = Result<Note, Status>>>, Status> {
    let mut notes: Vec<_> = (0..3).map(|number| Ok(note(number))).collect();
    if request.get_ref().text == SPOILT {
        notes[2] = Err(Status::unauthenticated("in the end"));
    }
    Ok(Response::new(iter(notes)))
}

async fn count(request: Request<Streaming<Note>>) -> Result<Response<Note>, Status> {
    let mut notes = request.into_inner();
    let mut count = 0;
    while notes.message().await?.is_some() {
        count += 1;
    }
    Ok(Response::new(note(count)))
}

async fn say_each_again(
    request: Request<Streaming<Note>>,
) -> Result<Response<Streaming<Note>>, Status> {
    Ok(Response::new(request.into_inner()))
}

/// The same service, and so long before each answer.
#[derive(Clone, Debug)]
struct Slow(Duration);

impl Service<http::Request<Body>> for Slow {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: http::Request<Body>) -> Answering {
        let before = sleep(self.0);
        Box::pin(async move {
            before.await;
            Notes.oneshot(call).await
        })
    }
}

async fn echo<T: GrpcService<Body, ResponseBody = Body>>(
    mut client: Grpc<T>,
    request: impl IntoRequest<Note>,
) -> Result<Response<Note>, Status> {
    let request = request.into_request();
    client
        .ready()
        .await
        .map_err(|error| Status::from_error(error.into()))?;
    client
        .unary(request, PathAndQuery::from_static(ECHO), Codec::default())
        .await
}

async fn list<T: GrpcService<Body, ResponseBody = Body>>(
    mut client: Grpc<T>,
    what: &str,
) -> Result<Streaming<Note>, Status> {
    let request = Note {
        text: what.into(),
        data: Vec::new(),
    };
    client
        .ready()
        .await
        .map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static(LIST);
    let answer = client
        .server_streaming(Request::new(request), path, Codec::default())
        .await;
    answer.map(Response::into_inner)
}

async fn collect(
    mut client: Client,
    notes: impl Stream<Item = Note> + Send + 'static,
) -> Result<Response<Note>, Status> {
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static(COLLECT);
    client
        .client_streaming(Request::new(notes), path, Codec::default())
        .await
}

/// Says notes to somebody who reads none of them.
async fn stall(
    mut client: Client,
    notes: impl Stream<Item = Note> + Send + 'static,
) -> Result<Response<Note>, Status> {
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static(STALL);
    client
        .client_streaming(Request::new(notes), path, Codec::default())
        .await
}

async fn talk(mut client: Client, notes: mpsc::Receiver<Note>) -> Result<Streaming<Note>, Status> {
    client.ready().await.unwrap();
    let notes = Request::new(ReceiverStream::new(notes));
    let answer = client
        .streaming(notes, PathAndQuery::from_static(TALK), Codec::default())
        .await;
    answer.map(Response::into_inner)
}

/// A crowd's calls, each with a note of its own.
fn crowd(client: &Client) -> JoinSet<Result<Response<Note>, Status>> {
    (0..CROWD)
        .map(|number| echo(client.clone(), note(number)))
        .collect()
}

fn note(number: usize) -> Note {
    Note {
        text: number.to_string(),
        data: Vec::new(),
    }
}

fn of_size(bytes: usize) -> Note {
    Note {
        text: String::new(),
        data: vec![b'n'; bytes],
    }
}

fn within(timeout: Duration) -> Request<Note> {
    let mut request = Request::new(note(0));
    request.set_timeout(timeout);
    request
}

/// A note as it is on the wire: not compressed, its length, itself.
fn framed(note: &Note) -> Bytes {
    let note = note.encode_to_vec();
    let length = u32::try_from(note.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], &note].concat().into()
}

const SPOILT: &str = "two, and UNAUTHENTICATED in the end";

// Servers and channels.

/// An authorization server, a server of notes that asks it, and a client of both.
async fn everything() -> (Hydra, Guard<Notes>, Client) {
    let (hydra, api, client, _) = everything_and_the_cache().await;
    (hydra, api, client)
}

async fn everything_and_the_cache() -> (Hydra, Guard<Notes>, Client, TokenCache) {
    let (hydra, source) = hydra().await;
    let api = Guard::new(is_good(&hydra), Notes);
    let layer = GrpcAuthLayer::new(source);
    let cache = layer.cache().clone();
    let client = client(layer, &api).await;
    (hydra, api, client, cache)
}

async fn hydra() -> (Hydra, ClientCredentials) {
    let hydra = Hydra::start(Registration::default()).await.unwrap();
    let known = hydra.registration();
    let source =
        ClientCredentials::builder(hydra.token_url(), &known.client_id, &known.client_secret)
            .build()
            .unwrap();
    (hydra, source)
}

fn is_good(hydra: &Hydra) -> impl Fn(&str) -> bool + Send + Sync + 'static {
    let hydra = hydra.clone();
    move |token| hydra.scopes_of(token).is_some()
}

async fn client(layer: GrpcAuthLayer, api: &Guard<Notes>) -> Client {
    let origin = api.serve().await.unwrap();
    Grpc::new(layer.layer(channel(&origin)))
}

fn channel(origin: &str) -> Channel {
    Endpoint::from_shared(origin.to_owned())
        .unwrap()
        .connect_lazy()
}

/// A client whose one token was rejected with this answer, at a token endpoint that has no other.
async fn revoked_for_good(
    rejection: impl Fn() -> http::Response<Body> + Send + Sync + 'static,
) -> (TokenEndpoint, Guard<Notes>, Client) {
    let endpoint = TokenEndpoint::new(async |post| match post {
        1 => token("t1", 3600),
        _ => answer(503, ""),
    });
    let is_revoked = Arc::new(AtomicBool::new(false));
    let revoked = Arc::clone(&is_revoked);
    let api = Guard::new(move |_| !revoked.load(SeqCst), Notes);
    let client = client(GrpcAuthLayer::new(endpoint.credentials()), &api).await;
    echo(client.clone(), note(0)).await.unwrap();
    is_revoked.store(true, SeqCst);
    api.reject_with(rejection);
    (endpoint, api, client)
}

/// A client whose calls arrive at once, for paused time.
fn in_process<S: Clone>(endpoint: &TokenEndpoint, api: S) -> Grpc<GrpcAuth<S>> {
    Grpc::new(GrpcAuthLayer::new(endpoint.credentials()).layer(api))
}

/// A channel to `service` over a pipe in memory, for paused time.
fn pipe(service: Slow) -> Channel {
    let connect = service_fn(move |_: Uri| {
        let (here, there) = duplex(64 * 1024);
        let incoming = tokio_stream::once(Ok::<_, io::Error>(there));
        tokio::spawn(Server::builder().serve_with_incoming(service.clone(), incoming));
        ready(Ok::<_, io::Error>(TokioIo::new(here)))
    });
    Endpoint::from_static("http://api.test").connect_with_connector_lazy(connect)
}

/// An origin where nobody listens.
fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// An answer of somebody who knows nothing of gRPC.
fn plain(status: StatusCode, body: &'static str) -> http::Response<Body> {
    let mut answer = http::Response::new(Body::new(Full::from(body)));
    *answer.status_mut() = status;
    answer
}

// What came of it.

/// Waits until the token request under way is over. Until then, the token that was rejected is all there is.
async fn replaced(cache: &TokenCache) {
    let mut changes = cache.changes();
    while cache.state().is_requesting() {
        changes.next().await;
    }
}

/// Of each call, whether its token was rejected.
fn rejected<S>(api: &Guard<S>) -> Vec<bool> {
    api.calls().iter().map(|call| call.rejected).collect()
}

/// The one `Authorization` of a call.
fn bearer(call: &Call) -> HeaderValue {
    let mut values = call.headers.get_all(AUTHORIZATION).iter();
    let value = values.next().unwrap();
    assert!(values.next().is_none(), "two Authorization headers");
    value.clone()
}

/// In their order, `Authorization` with its place and without its value.
fn all_but_the_token(headers: &HeaderMap) -> Vec<(&HeaderName, Option<&HeaderValue>)> {
    headers
        .iter()
        .map(|(name, value)| (name, (name != AUTHORIZATION).then_some(value)))
        .collect()
}

/// This crate's error, behind a status.
fn ours(status: &Status) -> &Error {
    let source = status.source().expect("a cause");
    source.downcast_ref().expect("an error of this crate")
}

fn code_of<T>(answer: &Result<T, Status>) -> Code {
    answer.as_ref().map_or_else(Status::code, |_| Code::Ok)
}
