//! Bodies that cannot be cloned: what goes on the wire, what is said again, and when.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/script.rs"]
mod script;
mod support;

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_LENGTH, request::Parts};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use proptest::{
    collection::vec, option, prelude::any, prop_assert, prop_assert_eq, proptest, sample::select,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::{StreamExt, iter, wrappers::ReceiverStream};
use tokio_test::{assert_pending, task::spawn};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, ErrorKind, Token, TokenCache,
    extension::{Deadline, MinValidity, NoRetry},
    replay::{Buffered, Replay, ReplayBody},
};

use self::{
    script::{Script, Step},
    support::{Api, TokenEndpoint, answer, token},
};

const LIMIT: usize = 100;
const SECOND: Duration = Duration::from_secs(1);

/// Promise: B1
#[tokio::test(start_paused = true)]
async fn an_empty_body_of_a_type_that_is_not_clone_is_replayed() {
    for body in [boxed(Empty::new()), frames(vec![])] {
        let (statuses, bodies) = call_with(Buffered::up_to(0), body).await;
        assert_eq!(statuses, [401, 200]);
        assert_eq!(bodies, ["", ""]);
    }
}

/// Promise: B1
#[tokio::test(start_paused = true)]
async fn a_limit_of_zero_sends_any_other_body_once_and_whole() {
    let body = frames(vec![data("not "), data("empty")]);
    let (statuses, bodies) = call_with(Buffered::up_to(0), body).await;
    assert_eq!(statuses, [401]);
    assert_eq!(bodies, ["not empty"]);
}

/// Promise: B2
#[tokio::test(start_paused = true)]
async fn a_streamed_body_within_the_limit_is_replayed_byte_for_byte() {
    let body = frames(vec![data("a stream "), data(""), data("in parts")]);
    let (statuses, bodies) = call_with(Buffered::up_to(LIMIT), body).await;
    assert_eq!(statuses, [401, 200]);
    assert_eq!(bodies, ["a stream in parts", "a stream in parts"]);
}

/// Promise: B2
#[tokio::test(start_paused = true)]
async fn a_streamed_body_past_the_limit_is_sent_whole_and_once() {
    let parts = vec![data(&"x".repeat(LIMIT)), data("y"), data("z")];
    let (statuses, bodies) = call_with(Buffered::up_to(LIMIT), frames(parts)).await;
    assert_eq!(statuses, [401]);
    assert_eq!(bodies, ["x".repeat(LIMIT) + "yz"]);
}

/// Promise: R13
#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_a_request_that_is_not_to_be_sent_again() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t2"]);
    let service = BearerAuthLayer::new(endpoint.credentials())
        .replay(Buffered::up_to(LIMIT))
        .layer(reading(&api));
    let mut request = Request::new(frames(vec![data("once")]));
    request.extensions_mut().insert(NoRetry);

    let response = service.oneshot(request).await.unwrap();

    assert_eq!(response.status(), 401);
    assert_eq!(api.calls().len(), 1);
    assert_eq!(api.calls()[0].body, "once");
}

/// A server may reject on the head, while the body is still being sent.
///
/// Promise: B3
#[tokio::test(start_paused = true)]
async fn a_body_that_is_still_under_way_is_not_said_again_and_the_next_request_has_a_new_token() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t2"]);
    let rejecting = service_fn({
        let api = api.clone();
        move |request: Request<ReplayBody<UnsyncBoxBody<Bytes, io::Error>>>| {
            let api = api.clone();
            async move {
                let (head, mut body) = request.into_parts();
                // One part, and the rest stays where it is.
                let part = body.frame().await.unwrap().unwrap().into_data().unwrap();
                let answer = api.handle(Request::from_parts(head, Full::new(part))).await;
                Ok::<_, Infallible>(answer)
            }
        }
    });
    let mut service = BearerAuthLayer::new(endpoint.credentials())
        .replay(Buffered::up_to(LIMIT))
        .layer(rejecting);

    for (expected, token_requests) in [(401, 1), (200, 2)] {
        let body = frames(vec![data("first part"), data("second part")]);
        let request = Request::new(body);
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), expected);
        assert_eq!(endpoint.token_requests(), token_requests);
        // The token request for the next request, which nobody waits for.
        tokio::time::sleep(2 * SECOND).await;
    }
    assert_eq!(api.tokens(), ["t1", "t2"]);
}

/// Promise: B2
#[tokio::test]
async fn frames_and_trailers_pass_unchanged_and_are_said_again() {
    let trailers = HeaderMap::from_iter([(
        "x-checksum".parse().unwrap(),
        HeaderValue::from_static("17"),
    )]);
    let parts = vec![data("one"), data("two"), Frame::trailers(trailers.clone())];
    let (mut wire, recording) = Buffered::up_to(LIMIT).record(&no_headers(), frames(parts));
    for expected in ["one", "two"] {
        let frame = wire.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), expected);
    }
    let last = wire.frame().await.unwrap().unwrap();
    assert_eq!(last.into_trailers().unwrap(), trailers);
    assert!(wire.frame().await.is_none());

    let again: ReplayBody<Boxed> = Buffered::up_to(LIMIT).rewind(recording.unwrap()).unwrap();
    let again = again.collect().await.unwrap();
    assert_eq!(again.trailers(), Some(&trailers));
    assert_eq!(again.to_bytes(), "onetwo");
}

/// Promise: B2
#[tokio::test]
async fn trailers_past_the_limit_cost_the_retry_only() {
    let value = HeaderValue::from_str(&"x".repeat(LIMIT)).unwrap();
    let trailers = HeaderMap::from_iter([("x-long".parse().unwrap(), value)]);
    let parts = vec![data("one"), Frame::trailers(trailers.clone())];
    let (wire, recording) = Buffered::up_to(LIMIT).record(&no_headers(), frames(parts));
    let sent = wire.collect().await.unwrap();
    assert_eq!(sent.trailers(), Some(&trailers));
    assert!(rewound(recording.unwrap()).is_none());
}

/// Promise: B2
#[tokio::test]
async fn size_hint_and_end_of_stream_are_the_bodys_own() {
    let (mut wire, _recording) =
        Buffered::up_to(LIMIT).record(&no_headers(), boxed(Full::from("12345")));
    assert_eq!(wire.size_hint().exact(), Some(5));
    assert!(!wire.is_end_stream());
    wire.frame().await.unwrap().unwrap();
    assert_eq!(wire.size_hint().exact(), Some(0));
    assert!(wire.is_end_stream());

    let (wire, recording) = Buffered::up_to(LIMIT).record(&no_headers(), boxed(Empty::new()));
    assert!(wire.is_end_stream());
    let again = rewound(recording.unwrap()).unwrap();
    assert!(again.is_end_stream());
    assert_eq!(again.size_hint().exact(), Some(0));

    let (wire, _recording) =
        Buffered::up_to(LIMIT).record(&no_headers(), frames(vec![data("unknown")]));
    assert_eq!(wire.size_hint().exact(), None);
}

/// Promise: B2
#[tokio::test]
async fn each_part_goes_out_when_it_comes() {
    let (producer, parts) = mpsc::channel(1);
    let body: Boxed = UnsyncBoxBody::new(StreamBody::new(ReceiverStream::new(parts)));
    let (wire, recording) = Buffered::up_to(LIMIT).record(&no_headers(), body);
    let mut wire = spawn(wire);
    assert_pending!(poll_frame(&mut wire));
    producer.send(Ok(data("first"))).await.unwrap();
    assert!(wire.is_woken());
    let Poll::Ready(Some(Ok(frame))) = poll_frame(&mut wire) else {
        panic!("the first part was held back");
    };
    assert_eq!(frame.into_data().unwrap(), "first");
    assert_pending!(poll_frame(&mut wire));
    assert!(
        rewound(recording.unwrap()).is_none(),
        "said again before its end"
    );
}

/// A body is asked for a part when the client wants one, so that a slow server slows the producer; but for the few that are
/// taken ahead.
///
/// Promise: B2
#[tokio::test]
async fn a_body_is_asked_only_as_often_as_the_client_asks() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let parts = std::iter::repeat_with(move || {
        counted.fetch_add(1, SeqCst);
        Ok::<_, io::Error>(data("part"))
    });
    let (mut wire, _recording) =
        Buffered::up_to(LIMIT).record(&no_headers(), StreamBody::new(iter(parts)));
    assert_eq!(asked.load(SeqCst), 2);
    for sent in 1..=50 {
        wire.frame().await.unwrap().unwrap();
        assert_eq!(asked.load(SeqCst), sent.max(2));
    }
}

/// The answer is there before the whole body was sent. What has all of its length would be asked for its end.
///
/// Promise: B2
#[tokio::test]
async fn no_copy_is_kept_of_a_body_whose_request_is_over() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let parts = std::iter::repeat_with(move || {
        counted.fetch_add(1, SeqCst);
        Ok::<_, io::Error>(data("part"))
    });
    let (mut wire, recording) =
        Buffered::up_to(LIMIT).record(&length(16), StreamBody::new(iter(parts)));
    drop(recording);
    for sent in 1..=4 {
        wire.frame().await.unwrap().unwrap();
        assert_eq!(asked.load(SeqCst), sent.max(2));
    }
}

/// The server rejects on the head, before anybody has asked for the body.
///
/// Promise: B1
#[tokio::test(start_paused = true)]
async fn a_short_body_that_is_at_hand_is_replayed_however_early_the_rejection_comes() {
    let trailers =
        HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))]);
    for parts in [
        vec![],
        vec![data("short")],
        vec![Frame::trailers(trailers.clone())],
        vec![data("short"), Frame::trailers(trailers.clone())],
    ] {
        let expected = told(frames(parts.iter().map(clone_of).collect())).await;
        let (wire, recording) = Buffered::up_to(LIMIT).record(&no_headers(), frames(parts));
        assert_eq!(told(rewound(recording.unwrap()).unwrap()).await, expected);
        // And what goes out is whole, should anybody ask after all.
        assert_eq!(told(wire).await, expected);
    }
}

/// Nor does a chunked body get a length by being sent again, which would be another header.
///
/// Promise: R14
#[tokio::test]
async fn the_retry_knows_the_length_if_and_only_if_the_first_one_did() {
    for (body, length) in [
        (frames(vec![data("12345")]), None),
        (boxed(Full::from("12345")), Some(5)),
    ] {
        let (wire, recording) = Buffered::up_to(LIMIT).record(&no_headers(), body);
        assert_eq!(wire.size_hint().exact(), length);
        let again = rewound(recording.unwrap()).unwrap();
        assert_eq!(again.size_hint().exact(), length);
    }
}

/// A client that was told the length need not ask for the end. A server that rejects then has seen it all.
///
/// Promise: B1
#[tokio::test]
async fn a_body_that_is_dropped_when_its_length_was_sent_is_replayed() {
    let (mut wire, recording) = Buffered::up_to(LIMIT).record(
        &no_headers(),
        Sized {
            left: vec!["five ", "more ", "than ", "four"],
        },
    );
    for _ in 0..4 {
        wire.frame().await.unwrap().unwrap();
    }
    drop(wire);
    let again = Replay::<Sized>::rewind(&Buffered::up_to(LIMIT), recording.unwrap()).unwrap();
    assert_eq!(
        again.collect().await.unwrap().to_bytes(),
        "five more than four"
    );
}

/// Promise: B2
#[tokio::test]
async fn a_body_that_is_dropped_before_its_trailers_is_not_said_again_without_them() {
    let trailers =
        HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))]);
    let (producer, parts) = mpsc::channel(1);
    let body = Full::from("data").map_err(|never: Infallible| match never {});
    // Its length is known, and its trailers come later.
    let body = UnsyncBoxBody::new(
        body.with_trailers(async move { ReceiverStream::new(parts).next().await }),
    );
    let (mut wire, recording) = Buffered::up_to(LIMIT).record(&no_headers(), body);
    wire.frame().await.unwrap().unwrap();
    drop(wire);
    assert!(rewound(recording.unwrap()).is_none());
    producer.send(Ok(trailers)).await.unwrap_err();
}

/// A length is what a stranger says.
///
/// Promise: B2
#[test]
fn a_declared_length_reserves_nothing() {
    struct Boastful;
    impl Body for Boastful {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(u64::MAX)
        }
    }
    let (wire, recording) = Buffered::up_to(usize::MAX).record(&no_headers(), Boastful);
    assert!(recording.is_some());
    assert_eq!(wire.size_hint().exact(), Some(u64::MAX));
}

/// Promise: B3
#[tokio::test]
async fn a_body_that_is_dropped_before_its_end_or_fails_is_not_said_again() {
    let (mut wire, recording) =
        Buffered::up_to(LIMIT).record(&no_headers(), frames(vec![data("a"), data("b")]));
    wire.frame().await.unwrap().unwrap();
    drop(wire);
    assert!(rewound(recording.unwrap()).is_none());

    let failing = iter([Ok(data("a")), Err(io::Error::other("gone"))]);
    let body = UnsyncBoxBody::new(StreamBody::new(failing));
    let (mut wire, recording) = Buffered::up_to(LIMIT).record(&no_headers(), body);
    wire.frame().await.unwrap().unwrap();
    assert_eq!(wire.frame().await.unwrap().unwrap_err().to_string(), "gone");
    assert!(wire.frame().await.is_none());
    assert!(rewound(recording.unwrap()).is_none());
}

/// Promise: B2
#[test]
fn a_body_that_says_it_is_larger_than_the_limit_is_not_kept_from_the_start() {
    let body = boxed(Full::from("x".repeat(LIMIT + 1)));
    let (_, recording) = Buffered::up_to(LIMIT).record(&no_headers(), body);
    assert!(recording.is_none());
}

proptest! {
    /// Promise: B2
    #[test]
    fn any_body_goes_out_as_it_is_and_is_replayed_if_and_only_if_it_is_within_the_limit(
        parts in vec(vec(any::<u8>(), 0..40), 0..8), limit in 0_usize..120,
    ) {
        let whole = parts.concat();
        let (wire, recording) = Buffered::up_to(limit)
            .record(&no_headers(), frames(parts.into_iter().map(|part| Frame::data(part.into())).collect()));
        prop_assert_eq!(&collected_now(wire), &whole);
        let again = recording.and_then(rewound).map(collected_now);
        prop_assert_eq!(again, (whole.len() <= limit).then_some(whole));
    }
}

/// An HTTP/1.1 client sends as many bytes as the head declares, and drops the body without asking for its end.
///
/// Promise: B5
#[tokio::test]
async fn a_body_that_is_dropped_when_its_declared_length_was_sent_is_replayed() {
    let ends: [(&[Step], bool); 5] = [
        (&[], false),
        (&[Step::Pause], false),
        (&[step("")], false),
        (&[step(""), Step::Pause, step("")], false),
        (&[Step::Pause, Step::Trailers(sum())], true),
    ];
    for sized in [false, true] {
        for frames in [1, 2, 3, 5] {
            for (end, has_trailers) in &ends {
                let steps = vec![step("abc"); frames].into_iter();
                let script = Script::new(steps.chain(end.iter().cloned()));
                let (head, script) = match sized {
                    true => (no_headers(), script.sized()),
                    false => (length(3 * frames), script),
                };
                let (mut wire, recording) = Buffered::up_to(LIMIT).record(&head, script);
                for _ in 0..frames {
                    let frame = wire.frame().await.unwrap().unwrap();
                    assert_eq!(frame.into_data().unwrap(), "abc");
                }
                drop(wire);
                let case = format!("sized: {sized}, {frames} frames, {end:?}");
                let again = replayed(recording).expect(&case);
                assert_eq!(again.size_hint().exact().is_some(), sized, "{case}");
                let (trailers, data) = told(again).await;
                assert_eq!(data, "abc".repeat(frames), "{case}");
                assert_eq!(trailers, has_trailers.then(sum), "{case}");
            }
        }
    }
}

/// Promise: B2, B5
#[tokio::test]
async fn a_body_of_known_length_keeps_its_trailers_however_many_frames_it_has() {
    for frames in 1..6 {
        for later in [false, true] {
            let mut steps = vec![step("abc"); frames];
            steps.extend(later.then_some(Step::Pause));
            steps.push(Step::Trailers(sum()));
            let expected = (Some(sum()), Bytes::from("abc".repeat(frames)));
            let script = Script::new(steps).sized();
            let (wire, recording) = Buffered::up_to(LIMIT).record(&no_headers(), script);
            assert_eq!(told(wire).await, expected);
            assert_eq!(told(replayed(recording).unwrap()).await, expected);
        }
    }
}

/// Promise: B3
#[tokio::test]
async fn a_body_that_has_more_than_its_declared_length_is_not_replayed_short() {
    for more in [step("more"), Step::Data(Bytes::from("x".repeat(LIMIT)))] {
        for pauses in [0, 1] {
            let mut steps = vec![step("abc"); 3];
            steps.extend(vec![Step::Pause; pauses]);
            steps.push(more.clone());
            let (mut wire, recording) =
                Buffered::up_to(LIMIT).record(&length(9), Script::new(steps));
            for _ in 0..3 {
                wire.frame().await.unwrap().unwrap();
            }
            drop(wire);
            assert!(replayed(recording).is_none());
        }
    }
}

/// Promise: B2
#[tokio::test]
async fn an_end_that_does_not_come_costs_the_retry_only_and_is_asked_for_a_bounded_number_of_times()
{
    let asked = Arc::new(AtomicUsize::new(0));
    struct Endless(Arc<AtomicUsize>, bool);
    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match std::mem::replace(&mut self.1, true) {
                false => Poll::Ready(Some(Ok(data("abc")))),
                true => {
                    self.0.fetch_add(1, SeqCst);
                    Poll::Ready(Some(Ok(data(""))))
                }
            }
        }
    }
    let body = Endless(Arc::clone(&asked), false);
    let (mut wire, recording) = Buffered::up_to(LIMIT).record(&length(3), body);
    wire.frame().await.unwrap().unwrap();
    drop(wire);
    let again: Option<ReplayBody<Endless>> = Buffered::up_to(LIMIT).rewind(recording.unwrap());
    assert!(again.is_none());
    assert!(asked.load(SeqCst) < 50);
}

/// Promise: B2
#[test]
fn a_body_whose_head_declares_more_than_the_limit_is_not_kept_from_the_start() {
    let (_, recording) = Buffered::up_to(LIMIT).record(&length(LIMIT + 1), frames(vec![]));
    assert!(recording.is_none());
    let (_, recording) = Buffered::up_to(LIMIT).record(&length(LIMIT), frames(vec![]));
    assert!(recording.is_some());
}

/// Promise: B2
#[tokio::test]
async fn trailers_count_by_their_names_and_values_together() {
    // A name of five bytes and a value of two, after three bytes.
    for (limit, is_kept) in [(9, false), (10, true)] {
        let steps = [step("abc"), Step::Trailers(sum())];
        let (wire, recording) = Buffered::up_to(limit).record(&no_headers(), Script::new(steps));
        wire.collect().await.unwrap();
        assert_eq!(replayed(recording).is_some(), is_kept);
    }
}

/// Promise: B2
#[test]
fn a_body_is_not_asked_ahead_when_no_copy_is_kept_any_more_or_when_it_is_at_its_end() {
    /// Frames of this size, and then the end, of which it tells.
    struct Told {
        size: usize,
        left: usize,
    }
    impl Body for Told {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.left = self.left.checked_sub(1).expect("asked after its end");
            Poll::Ready(Some(Ok(data(&"x".repeat(self.size)))))
        }
        fn is_end_stream(&self) -> bool {
            self.left == 0
        }
    }
    for left in [0, 1] {
        let (_, recording) = Buffered::up_to(LIMIT).record(&no_headers(), Told { size: 3, left });
        let again: Option<ReplayBody<Told>> = Buffered::up_to(LIMIT).rewind(recording.unwrap());
        assert!(again.is_some());
    }
    let large = Told {
        size: LIMIT + 1,
        left: 9,
    };
    let (wire, _recording) = Buffered::up_to(LIMIT).record(&no_headers(), large);
    let ahead = wire.size_hint().lower();
    assert_eq!(ahead, LIMIT as u64 + 1, "one frame, and no more");
}

proptest! {
    /// Whatever the client does with a body, and whatever is declared of it.
    ///
    /// Promise: B3, B5
    #[test]
    fn a_replay_is_whole_or_it_is_not(
        steps in vec(select(vec![step("abc"), step(""), Step::Pause, step("d")]), 0..8),
        has_trailers in any::<bool>(),
        sized in any::<bool>(),
        declared in option::of(0_usize..30),
        asked in 0..12_usize,
    ) {
        let mut steps = steps;
        steps.extend(has_trailers.then(|| Step::Trailers(sum())));
        let whole: Vec<u8> = steps.iter().flat_map(|step| match step {
            Step::Data(data) => data.to_vec(),
            Step::Trailers(_) | Step::Pause => vec![],
        }).collect();
        let head = declared.map_or_else(no_headers, length);
        let script = Script::new(steps);
        let script = if sized { script.sized() } else { script };
        let known = declared.map(|length| length as u64).or(script.size_hint().exact());
        let (wire, recording) = Buffered::up_to(LIMIT).record(&head, script);
        let mut wire = spawn(wire);
        let (mut sent, mut ended) = (vec![], false);
        for _ in 0..asked {
            match poll_frame(&mut wire) {
                Poll::Pending => {}
                Poll::Ready(None) => ended = true,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => sent.extend_from_slice(&data),
                    Err(_) => ended = true,
                }
            }
        }
        prop_assert!(whole.starts_with(&sent));
        drop(wire);
        let again = replayed(recording);
        if ended || (sent.len() == whole.len() && known == Some(whole.len() as u64)) {
            prop_assert!(again.is_some());
        }
        if let Some(again) = again {
            let (trailers, data) = tokio_test::block_on(told(again));
            prop_assert_eq!(&data[..], &whole[..]);
            prop_assert_eq!(trailers.is_some(), has_trailers);
        }
    }
}

/// Promise: B4
#[tokio::test(start_paused = true)]
async fn a_one_shot_body_can_ask_for_a_token_that_lasts() {
    let endpoint = TokenEndpoint::new(|post| async move { token(&format!("t{post}"), 100) });
    let api = Api::accepting(["t1", "t2"]);
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let mut call = async |lasting| {
        let mut request = Request::new(Full::default());
        if let Some(lasting) = lasting {
            request.extensions_mut().insert(MinValidity::of(lasting));
        }
        service.ready().await.unwrap().call(request).await.unwrap();
        endpoint.token_requests()
    };

    // It lasts 90 s: the rest of its 100 s is the margin.
    assert_eq!(call(Some(80 * SECOND)).await, 1);
    tokio::time::sleep(40 * SECOND).await;
    // Short of it, but in its first half: another would hardly be newer.
    assert_eq!(call(Some(80 * SECOND)).await, 1);
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(call(None).await, 1);
    assert_eq!(call(Some(30 * SECOND)).await, 1);
    assert_eq!(call(Some(31 * SECOND)).await, 2);
    // More than any token offers: no token request per request.
    assert_eq!(call(Some(500 * SECOND)).await, 2);
    assert_eq!(api.tokens(), ["t1", "t1", "t1", "t1", "t2", "t2"]);
}

/// Promise: B4, L3
#[tokio::test(start_paused = true)]
async fn where_no_token_that_lasts_can_be_had_the_current_one_has_to_do() {
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 100),
            _ => answer(503, ""),
        }
    });
    let api = Api::accepting(["t1"]);
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let mut call = async || {
        let mut request = Request::new(Full::default());
        request
            .extensions_mut()
            .insert(MinValidity::of(60 * SECOND));
        service.ready().await.unwrap().call(request).await
    };

    call().await.unwrap();
    tokio::time::sleep(60 * SECOND).await;
    for _ in 0..100 {
        assert_eq!(call().await.unwrap().status(), 200);
    }
    assert_eq!(endpoint.token_requests(), 2);
    // And not when it is over.
    tokio::time::sleep(60 * SECOND).await;
    let error = call().await.unwrap_err();
    let error = error.downcast::<tower_bearer::Error>().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// Promise: B4
#[tokio::test(start_paused = true)]
async fn a_token_request_that_hangs_costs_a_request_that_wants_a_lasting_token_no_more_than_it_can_spare()
 {
    // How long the token has left when the request comes, how long the request has, and how long it waits.
    for (left, deadline, waits) in [(30, None, 10), (8, None, 4), (30, Some(4), 2)] {
        let endpoint = TokenEndpoint::new(|post| async move {
            if post > 1 {
                std::future::pending::<()>().await;
            }
            token("t1", 100)
        });
        let api = Api::accepting(["t1"]);
        let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
        let mut call = async |request| {
            service.ready().await.unwrap().call(request).await.unwrap();
        };
        call(Request::default()).await;
        // It lasts 90 s: the rest of its 100 s is the margin.
        tokio::time::sleep((90 - left) * SECOND).await;
        let mut request = Request::default();
        let extensions = request.extensions_mut();
        extensions.insert(MinValidity::of(60 * SECOND));
        if let Some(deadline) = deadline {
            extensions.insert(Deadline::after(deadline * SECOND));
        }
        let started = Instant::now();
        call(request).await;
        assert_eq!(started.elapsed().as_secs(), waits);
        assert_eq!(api.tokens(), ["t1", "t1"]);
        assert_eq!(endpoint.token_requests(), 2);
    }
}

/// Promise: B4
#[test]
fn a_token_that_lasts_needs_no_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let endpoint = TokenEndpoint::new(|_| async { token("t1", 100) });
    let api = Api::accepting(["t1"]);
    let cache = TokenCache::new(endpoint.credentials());
    runtime.block_on(cache.get()).unwrap();
    let mut request = Request::default();
    request
        .extensions_mut()
        .insert(MinValidity::of(80 * SECOND));
    let call = BearerAuthLayer::from_cache(cache)
        .layer(api.service())
        .oneshot(request);
    let response = spawn(call).poll();
    assert!(matches!(response, Poll::Ready(Ok(_))), "{response:?}");
}

/// The head of a request that says nothing about its body.
fn no_headers() -> Parts {
    Request::new(()).into_parts().0
}

/// The head of a request that declares so many bytes.
fn length(bytes: usize) -> Parts {
    let request = Request::post("/").header(CONTENT_LENGTH, bytes);
    request.body(()).unwrap().into_parts().0
}

fn step(text: &'static str) -> Step {
    Step::Data(Bytes::from(text))
}

fn sum() -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("17"))])
}

fn replayed(
    recording: Option<<Buffered as Replay<Script>>::Recording>,
) -> Option<ReplayBody<Script>> {
    Buffered::up_to(LIMIT).rewind(recording?)
}

type Boxed = UnsyncBoxBody<Bytes, io::Error>;

fn boxed<B>(body: B) -> Boxed
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    UnsyncBoxBody::new(body.map_err(|never| match never {}))
}

/// A body of which nothing is known beforehand.
fn frames(frames: Vec<Frame<Bytes>>) -> Boxed {
    UnsyncBoxBody::new(StreamBody::new(iter(frames.into_iter().map(Ok))))
}

fn data(text: &str) -> Frame<Bytes> {
    Frame::data(Bytes::copy_from_slice(text.as_bytes()))
}

async fn told<B>(body: B) -> (Option<HeaderMap>, Bytes)
where
    B: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let body = body.collect().await.unwrap();
    (body.trailers().cloned(), body.to_bytes())
}

fn clone_of(frame: &Frame<Bytes>) -> Frame<Bytes> {
    match frame.data_ref() {
        Some(data) => Frame::data(data.clone()),
        None => Frame::trailers(frame.trailers_ref().unwrap().clone()),
    }
}

fn rewound(recording: <Buffered as Replay<Boxed>>::Recording) -> Option<ReplayBody<Boxed>> {
    Buffered::up_to(LIMIT).rewind(recording)
}

fn collected_now(body: ReplayBody<Boxed>) -> Vec<u8> {
    let collected = tokio_test::block_on(body.collect()).unwrap();
    collected.to_bytes().into()
}

fn poll_frame<B: Body<Data = Bytes> + Unpin>(
    body: &mut tokio_test::task::Spawn<B>,
) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
    body.enter(|context, body| body.poll_frame(context))
}

/// An API that reads a body to its end and then looks at the token.
fn reading(
    api: &Api,
) -> impl Service<
    Request<ReplayBody<Boxed>>,
    Response = Response<support::Body>,
    Error = Infallible,
    Future: Send,
> + Clone {
    let api = api.clone();
    service_fn(move |request| {
        let answer = api.clone().handle(request);
        async move { Ok(answer.await) }
    })
}

/// Sends a body to an API that rejects the first token: the statuses and the bodies that it saw of each try.
async fn call_with<Rp>(replay: Rp, body: Boxed) -> (Vec<u16>, Vec<Bytes>)
where
    Rp: Replay<Boxed, Body = ReplayBody<Boxed>> + Clone,
{
    let source = service_fn(|request: tower_bearer::token::TokenRequest| async move {
        Token::new(match request.rejected_token() {
            None => "t1",
            Some(_) => "t2",
        })
    });
    let api = Api::accepting(["t2"]);
    let service = BearerAuthLayer::new(source)
        .replay(replay)
        .layer(reading(&api));
    let response = service.oneshot(Request::new(body)).await.unwrap();
    let calls = api.calls();
    let statuses: Vec<u16> = api
        .tokens()
        .iter()
        .map(|token| if token == "t2" { 200 } else { 401 })
        .collect();
    assert_eq!(statuses.last(), Some(&response.status().as_u16()));
    (statuses, calls.into_iter().map(|call| call.body).collect())
}

/// A body of known length that does not say when it is at its end.
struct Sized {
    left: Vec<&'static str>,
}

impl Body for Sized {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = (!self.left.is_empty()).then(|| Ok(data(self.left.remove(0))));
        Poll::Ready(next)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.iter().map(|part| part.len() as u64).sum())
    }
}
