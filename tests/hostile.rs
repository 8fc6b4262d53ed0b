//! What servers can do to a client: answers that do not end, that are anything at all, or that cost more to read than to
//! send. Time is bounded, and so is memory, which is counted by the allocator.
//!
//! ```text
//! cargo test --test hostile                                               # 500 lives
//! FUZZ_CASES=20000 cargo test --release --test hostile
//! ```

#![cfg(all(feature = "reqwest", feature = "rustls"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    alloc::System,
    convert::Infallible,
    env,
    future::pending,
    io,
    net::Ipv4Addr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version,
    header::WWW_AUTHENTICATE,
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{TestError, TestRunner},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    time::{Instant, Sleep, sleep, timeout},
};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, ClientCredentials, Error, ErrorKind, Token, TokenCache,
    client_credentials::ClientCredentialsBuilder,
    extension::Deadline,
    unauthorized::{BearerChallenge, ResponseHead, Unauthorized},
};

/// Counts what is allocated, and what of it was freed again.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

mod answers {
    //! Whatever the API and the token endpoint answer, in paused time.

    use super::*;

    /// Promise: E1, R1, R5, R8, R10, R12, R14
    #[test]
    fn any_answers_end_in_one_of_them_or_in_an_error_after_two_calls_at_the_most() {
        let _alone = alone();
        let cases = env::var("FUZZ_CASES").map_or(500, |cases| cases.parse().unwrap());
        let mut runner = TestRunner::new(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(cases)
        });
        let result = runner.run(&life(), |life| {
            live(life);
            Ok(())
        });
        match result {
            Ok(()) => println!("{cases} lives"),
            Err(TestError::Fail(reason, life)) => panic!("{reason}, with {life:#?}"),
            Err(TestError::Abort(reason)) => panic!("{reason}"),
        }
    }

    /// Promise: E1
    #[test]
    fn parts_of_a_token_answer_are_not_kept_and_count_though_they_are_empty() {
        let _alone = alone();
        for size in [0, 1] {
            let most = Arc::new(AtomicUsize::new(allocated()));
            let before = allocated();
            let seen = Arc::clone(&most);
            let transport = service_fn(move |_: Request<Full<Bytes>>| {
                let seen = Arc::clone(&seen);
                let parts = std::iter::repeat_with(move || {
                    seen.fetch_max(allocated(), Ordering::SeqCst);
                    Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; size])))
                });
                // An end, for time stands still meanwhile.
                let parts = tokio_stream::iter(parts.take(100_000));
                async move { Ok::<_, Infallible>(Response::new(StreamBody::new(parts))) }
            });
            let source = ClientCredentials::builder("https://auth.test/", "id", "secret")
                .build_with(transport)
                .unwrap();
            let error = paused().block_on(async { TokenCache::new(source).get().await });
            let error = error.unwrap_err();
            assert!(error.to_string().contains("larger than 64 KiB"), "{error}");
            let grown = most.load(Ordering::SeqCst) - before;
            assert!(grown < MEMORY, "{grown} bytes");
        }
    }

    /// What is sent to a client, one answer after the other, and the last one for ever.
    #[derive(Clone, Debug)]
    struct Life {
        api: Vec<Answer>,
        endpoint: Vec<Grant>,
        /// What a request is given as its time, for each of them.
        requests: Vec<Option<u64>>,
    }

    #[derive(Clone, Debug)]
    struct Answer {
        /// In milliseconds.
        late: u64,
        /// The connection breaks instead.
        broken: bool,
        status: u16,
        version: Version,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Script,
    }

    /// What a body says.
    #[derive(Clone, Debug)]
    struct Script {
        steps: Vec<Step>,
        end: End,
        /// How much it says that there is, which may be untrue.
        claims: u64,
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Data(usize),
        Trailers,
        /// In milliseconds.
        Late(u64),
    }

    #[derive(Clone, Copy, Debug)]
    enum End {
        Proper,
        Broken,
        /// Nothing comes any more, and no end either.
        Silent,
        /// Parts of this size, for ever.
        Endless(usize),
    }

    #[derive(Clone, Debug)]
    enum Grant {
        /// With its lifetime.
        Token(u64),
        /// The same token again.
        Same,
        Anything(u16, Vec<u8>),
        Body(u16, Script),
        Silence,
    }

    fn life() -> impl Strategy<Value = Life> {
        let grant = prop_oneof![
            4 => (3600..100_000_u64).prop_map(Grant::Token),
            1 => (0..120_u64).prop_map(Grant::Token),
            1 => Just(Grant::Same),
            1 => (200..600_u16, prop::collection::vec(any::<u8>(), 0..300))
                .prop_map(|(status, body)| Grant::Anything(status, body)),
            1 => (200..600_u16, script()).prop_map(|(status, body)| Grant::Body(status, body)),
            1 => Just(Grant::Silence),
        ];
        let patience = prop_oneof![3 => Just(None), 1 => (0..12_000_u64).prop_map(Some)];
        (
            prop::collection::vec(answer(), 1..6),
            prop::collection::vec(grant, 1..5),
            prop::collection::vec(patience, 1..5),
        )
            .prop_map(|(api, endpoint, requests)| Life {
                api,
                endpoint,
                requests,
            })
    }

    fn answer() -> impl Strategy<Value = Answer> {
        let status = prop_oneof![4 => Just(401), 1 => 100..1000_u16];
        let version = select(vec![Version::HTTP_10, Version::HTTP_11, Version::HTTP_2]);
        (
            prop_oneof![3 => Just(0), 1 => 0..300_u64],
            prop::bool::weighted(0.1),
            status,
            version,
            prop::collection::vec(header(), 0..6),
            script(),
        )
            .prop_map(|(late, broken, status, version, headers, body)| Answer {
                late,
                broken,
                status,
                version,
                headers,
                body,
            })
    }

    fn header() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
        const WORDS: [&str; 14] = [
            "Bearer ",
            "Basic ",
            "error=",
            "\"invalid_token\"",
            "insufficient_scope",
            "realm=\"",
            "\"",
            "\\",
            ",",
            ", ",
            "=",
            " ",
            "\t",
            "\u{E9}",
        ];
        let name = select(vec![
            WWW_AUTHENTICATE,
            WWW_AUTHENTICATE,
            HeaderName::from_static("retry-after"),
            HeaderName::from_static("content-length"),
            HeaderName::from_static("transfer-encoding"),
            HeaderName::from_static("connection"),
            HeaderName::from_static("x-any"),
        ]);
        let words = prop::collection::vec(select(&WORDS[..]), 0..12).prop_map(|it| it.concat());
        let bytes = prop::collection::vec(any::<u8>(), 0..200);
        let value = prop_oneof![words.prop_map(String::into_bytes), bytes];
        (name, value, 1..40_usize).prop_map(|(name, value, times)| {
            let value: Vec<u8> = value
                .repeat(times)
                .into_iter()
                .map(|byte| {
                    if byte < b' ' || byte == 0x7F {
                        b'"'
                    } else {
                        byte
                    }
                })
                .collect();
            (name, HeaderValue::from_bytes(&value).unwrap())
        })
    }

    fn script() -> impl Strategy<Value = Script> {
        let step = prop_oneof![
            3 => (0..40_000_usize).prop_map(Step::Data),
            1 => Just(Step::Trailers),
            1 => (0..200_u64).prop_map(Step::Late),
        ];
        let end = prop_oneof![
            3 => Just(End::Proper),
            1 => Just(End::Broken),
            1 => Just(End::Silent),
            1 => prop_oneof![Just(0), Just(1), 0..20_000_usize].prop_map(End::Endless),
        ];
        let claims = prop_oneof![3 => Just(0), 1 => any::<u64>()];
        (prop::collection::vec(step, 0..6), end, claims).prop_map(|(steps, end, claims)| Script {
            steps,
            end,
            claims,
        })
    }

    fn live(life: Life) {
        let before = allocated();
        let runtime = paused();
        let Life {
            api,
            endpoint,
            requests,
        } = life;
        let lasting = endpoint
            .iter()
            .all(|grant| matches!(grant, Grant::Token(3600..)));
        let token_requests = Arc::new(AtomicUsize::new(0));
        let transport = endpoint_of(endpoint, Arc::clone(&token_requests));
        let source = ClientCredentials::builder("https://auth.test/", "id", "secret")
            .build_with(transport)
            .unwrap();
        let layer = BearerAuthLayer::new(source);
        let calls = Arc::new(AtomicUsize::new(0));
        let service = layer.layer(api_of(api.clone(), Arc::clone(&calls)));
        let mut rejections = 0;
        runtime.block_on(async {
            for patience in &requests {
                let mut request = Request::new(Full::new(Bytes::from_static(b"body")));
                if let Some(patience) = patience {
                    let deadline = Deadline::after(Duration::from_millis(*patience));
                    request.extensions_mut().insert(deadline);
                }
                let first = calls.load(Ordering::SeqCst);
                MOST.store(allocated(), Ordering::SeqCst);
                let begun = allocated();
                let called = timeout(LONGEST, service.clone().oneshot(request));
                let answered = called.await.expect("an answer or an error in time");

                let grown = MOST.load(Ordering::SeqCst).saturating_sub(begun);
                assert!(grown < MEMORY, "{grown} bytes on the way");
                let last = calls.load(Ordering::SeqCst);
                assert!(last - first <= 2, "{} calls", last - first);
                let given = |call: usize| &api[(call - 1).min(api.len() - 1)];
                let rejected = |call: usize| !given(call).broken && is_rejection(given(call));
                rejections += (first + 1..=last).filter(|call| rejected(*call)).count();
                if last - first == 2 {
                    assert!(rejected(first + 1), "sent again without a rejection");
                }
                match answered {
                    Ok(answer) => is_as_given(answer, given(last)).await,
                    // The client's own.
                    Err(error) if error.is::<io::Error>() => assert!(given(last).broken),
                    Err(error) => drop(error.downcast::<Error>().unwrap()),
                }
            }
        });
        let token_requests = token_requests.load(Ordering::SeqCst);
        // Each rejection is worth one, and where tokens do not last each request another two.
        let most = rejections
            + match lasting {
                true => 1,
                false => 2 * requests.len(),
            };
        assert!(token_requests <= most, "{token_requests} token requests");
        drop((service, layer, runtime, api));
        let kept = allocated().saturating_sub(before);
        assert!(kept < SLACK, "{kept} bytes were kept");
    }

    fn paused() -> Runtime {
        Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    }

    fn is_rejection(answer: &Answer) -> bool {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
        for (name, value) in &answer.headers {
            response.headers_mut().append(name, value.clone());
        }
        BearerChallenge.is_rejection(&ResponseHead::from(&response))
    }

    /// Nothing is lost of an answer that is handed on.
    async fn is_as_given(answer: Response<Saying>, given: &Answer) {
        assert!(!given.broken);
        assert_eq!(answer.status().as_u16(), given.status);
        assert_eq!(answer.version(), given.version);
        let headers: Vec<_> = answer.headers().values().cloned().collect();
        assert_eq!(headers.len(), given.headers.len());
        let said = |step: &Step| match step {
            Step::Data(bytes) => *bytes,
            Step::Trailers | Step::Late(_) => 0,
        };
        let whole: usize = given.body.steps.iter().map(said).sum();
        let mut body = answer.into_body();
        let mut read = 0;
        // An endless one is endless still.
        while read < whole {
            let frame = body.frame().await.expect("the body goes on").unwrap();
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    }

    fn api_of(
        answers: Vec<Answer>,
        calls: Arc<AtomicUsize>,
    ) -> impl Service<
        Request<Full<Bytes>>,
        Response = Response<Saying>,
        Error = io::Error,
        Future: Send,
    > + Clone {
        let answers = Arc::new(answers);
        service_fn(move |request: Request<Full<Bytes>>| {
            assert_eq!(request.headers().len(), 1);
            let call = calls.fetch_add(1, Ordering::SeqCst);
            let answers = Arc::clone(&answers);
            async move {
                let answer = &answers[call.min(answers.len() - 1)];
                sleep(Duration::from_millis(answer.late)).await;
                if answer.broken {
                    return Err(io::Error::other("broken"));
                }
                let mut response = Response::new(Saying::new(&answer.body));
                *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
                *response.version_mut() = answer.version;
                for (name, value) in &answer.headers {
                    response.headers_mut().append(name, value.clone());
                }
                Ok(response)
            }
        })
    }

    fn endpoint_of(
        grants: Vec<Grant>,
        token_requests: Arc<AtomicUsize>,
    ) -> impl Service<
        Request<Full<Bytes>>,
        Response = Response<Saying>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync {
        let grants = Arc::new(grants);
        service_fn(move |_: Request<Full<Bytes>>| {
            let post = token_requests.fetch_add(1, Ordering::SeqCst);
            let grants = Arc::clone(&grants);
            async move {
                let token = |name: &str, lifetime: u64| {
                    let json = format!(r#"{{"access_token":"{name}","expires_in":{lifetime}}}"#);
                    Response::new(Saying::bytes(json.into()))
                };
                Ok(match &grants[post.min(grants.len() - 1)] {
                    Grant::Token(lifetime) => token(&format!("t{post}"), *lifetime),
                    Grant::Same => token("same", 3600),
                    Grant::Anything(status, body) => {
                        let mut answer = Response::new(Saying::bytes(body.clone().into()));
                        *answer.status_mut() = StatusCode::from_u16(*status).unwrap();
                        answer
                    }
                    Grant::Body(status, script) => {
                        let mut answer = Response::new(Saying::new(script));
                        *answer.status_mut() = StatusCode::from_u16(*status).unwrap();
                        answer
                    }
                    Grant::Silence => pending().await,
                })
            }
        })
    }

    /// A body that says its script, each part anew from the allocator.
    struct Saying {
        bytes: Option<Bytes>,
        steps: std::vec::IntoIter<Step>,
        late: Option<Pin<Box<Sleep>>>,
        end: End,
        turns: usize,
        claims: u64,
    }

    impl Saying {
        fn new(script: &Script) -> Self {
            Self {
                bytes: None,
                steps: script.steps.clone().into_iter(),
                late: None,
                end: script.end,
                turns: 0,
                claims: script.claims,
            }
        }

        fn bytes(bytes: Bytes) -> Self {
            let script = Script {
                steps: Vec::new(),
                end: End::Proper,
                claims: 0,
            };
            Self {
                bytes: Some(bytes),
                ..Self::new(&script)
            }
        }
    }

    impl Body for Saying {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
            let data = |size: usize| Frame::data(Bytes::from(vec![b'x'; size]));
            MOST.fetch_max(allocated(), Ordering::SeqCst);
            if let Some(bytes) = self.bytes.take() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            loop {
                if let Some(late) = &mut self.late {
                    ready!(late.as_mut().poll(cx));
                    self.late = None;
                }
                return match self.steps.next() {
                    Some(Step::Data(size)) => Poll::Ready(Some(Ok(data(size)))),
                    Some(Step::Trailers) => {
                        Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new()))))
                    }
                    Some(Step::Late(by)) => {
                        self.late = Some(Box::pin(sleep(Duration::from_millis(by))));
                        continue;
                    }
                    None => match self.end {
                        End::Proper => Poll::Ready(None),
                        End::Broken => Poll::Ready(Some(Err(io::Error::other("broken")))),
                        End::Silent => Poll::Pending,
                        End::Endless(size) => {
                            // Else time would stand still, which a socket never makes it.
                            self.turns += 1;
                            if self.turns.is_multiple_of(256) {
                                self.late = Some(Box::pin(sleep(Duration::from_millis(100))));
                                continue;
                            }
                            Poll::Ready(Some(Ok(data(size))))
                        }
                    },
                };
            }
        }

        fn size_hint(&self) -> SizeHint {
            let mut hint = SizeHint::new();
            hint.set_lower(self.claims);
            hint
        }
    }

    /// The most that was allocated since it was set.
    static MOST: AtomicUsize = AtomicUsize::new(0);

    /// Two token requests that hang, a wait for a token that expired meanwhile, and what is late.
    const LONGEST: Duration = Duration::from_secs(32);

    /// An answer of the token endpoint at its limit, twice over as it is put together, and two parts on their way.
    const MEMORY: usize = 256 * KIB;
}

mod heads {
    //! What the heads of answers cost.

    use super::*;

    /// Promise: R8
    #[test]
    fn a_challenge_takes_no_more_memory_than_so_many_times_its_length_and_a_long_one_none() {
        let _alone = alone();
        for pattern in PATTERNS {
            for (length, most) in [(1024 * KIB, 0), (8 * KIB - 32, 48 * 8 * KIB)] {
                let value = [long(pattern, length)];
                let before = ALLOCATOR.stats();
                let _ = rejects(&value);
                let after = ALLOCATOR.stats();
                // All that was allocated on the way, freed or not, but for the headers that they are handed over in.
                let taken = after.bytes_allocated - before.bytes_allocated;
                println!("{pattern:?}: {taken} bytes for {} KiB", length / KIB);
                assert!(taken <= most + SLACK, "{pattern:?}: {taken} bytes");
                let kept = after.bytes_allocated - after.bytes_deallocated;
                let had = before.bytes_allocated - before.bytes_deallocated;
                assert!(kept <= had + SLACK, "{pattern:?}");
            }
        }
    }

    /// Promise: R8
    #[test]
    fn ten_thousand_challenges_in_as_many_headers_are_all_read() {
        let _alone = alone();
        let mut values =
            vec![HeaderValue::from_static(r#"Bearer error="insufficient_scope""#); 9_999];
        assert!(!rejects(&values));
        values.push(HeaderValue::from_static(r#"Bearer error="invalid_token""#));
        assert!(rejects(&values));
        let before = allocated();
        let _ = rejects(&values);
        assert!(allocated() <= before + SLACK);
    }

    const PATTERNS: [&str; 14] = [
        ",",
        "\"",
        "\\",
        " ",
        "=",
        "a",
        "a,",
        "a=b,",
        "a=\"b\",",
        "Bearer a=b,",
        "Bearer error=\"\\i\",",
        "Bearer ,",
        ", ",
        "Bearer error=\"a\\\"",
    ];

    fn long(pattern: &str, length: usize) -> HeaderValue {
        let text = format!("Bearer x=y, {}", pattern.repeat(length / pattern.len()));
        HeaderValue::from_str(&text).unwrap()
    }

    fn rejects(values: &[HeaderValue]) -> bool {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        for value in values {
            response
                .headers_mut()
                .append(WWW_AUTHENTICATE, value.clone());
        }
        BearerChallenge.is_rejection(&ResponseHead::from(&response))
    }
}

mod sockets {
    //! The token endpoint over real sockets, by the default transport, reqwest's and one of HTTP/2.

    use super::*;

    /// Promise: E1, E5
    #[test]
    fn an_endless_answer_over_http_1_ends_in_an_error_and_takes_no_more_memory_than_is_read() {
        let _alone = alone();
        let line = format!("x: {}\r\n", "y".repeat(1000));
        let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
        let many = format!("{}content-length: 2\r\n\r\n{{}}", "x: y\r\n".repeat(5000));
        let cases = [
            ("header lines", OK, line.as_str()),
            (
                "a header",
                "HTTP/1.1 200 OK\r\nx: ",
                "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
            ),
            ("5,000 headers", OK, &many),
            ("a status line", "HTTP/1.1 200 ", "O"),
            ("empty lines", "", "\r\n"),
            (
                "interim answers",
                "",
                "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
            ),
            ("chunks", CHUNKED, &chunk),
            ("chunks of a byte", CHUNKED, "1\r\nx\r\n"),
            (
                "a chunk's extension",
                &format!("{CHUNKED}1;x="),
                "yyyyyyyyyyyyyyyy",
            ),
            (
                "trailers",
                &format!("{CHUNKED}2\r\n{{}}\r\n0\r\n"),
                "t: yyyyyyyyyyyyy\r\n",
            ),
            (
                "a trailer",
                &format!("{CHUNKED}2\r\n{{}}\r\n0\r\nt: "),
                "yyyyyyyyyyyyyyyy",
            ),
            (
                "a body until the end",
                &format!("{OK}\r\n"),
                "xxxxxxxxxxxxxxxxxxxxxxxx",
            ),
        ];
        for (case, begins, goes_on) in cases {
            for by in [By::Default, By::Reqwest] {
                let goes_on = goes_on.repeat((16 * KIB).div_ceil(goes_on.len()));
                let (begins, goes_on) = (begins.as_bytes().to_vec(), goes_on.into_bytes());
                endless(case, by, move |mut socket| async move {
                    begun(&mut socket).await?;
                    socket.write_all(&begins).await?;
                    for_ever(socket, &goes_on).await
                });
            }
        }
    }

    /// Promise: E1, E5
    #[test]
    fn an_endless_answer_over_http_2_ends_in_an_error_and_takes_no_more_memory_than_is_read() {
        let _alone = alone();
        // `:status`, as a literal, and a header.
        let ok = [b"\x08\x03200".as_slice(), &header(8)].concat();
        let large = header(1000).repeat(16);
        let whole = frame(HEADERS, END_HEADERS, &ok);
        let cases = [
            (
                "header frames",
                frame(HEADERS, 0, &ok),
                frame(CONTINUATION, 0, &large),
            ),
            (
                "empty header frames",
                frame(HEADERS, 0, &ok),
                frame(CONTINUATION, 0, &[]),
            ),
            (
                "5,000 headers",
                frame(HEADERS, 0, &ok),
                [
                    frame(CONTINUATION, 0, &header(1).repeat(5000)[..16_000]),
                    frame(CONTINUATION, END_HEADERS, &[]),
                ]
                .concat(),
            ),
            ("data", whole.clone(), frame(DATA, 0, &[b'x'; 1024])),
            ("data of a byte", whole.clone(), frame(DATA, 0, b"x")),
            ("empty data", whole.clone(), frame(DATA, 0, b"")),
            (
                "trailers",
                [
                    whole.clone(),
                    frame(DATA, 0, b"{}"),
                    frame(HEADERS, END_STREAM, &header(8)),
                ]
                .concat(),
                frame(CONTINUATION, 0, &large),
            ),
            ("pings", Vec::new(), of_connection(PING, &[0; 8])),
            ("settings", Vec::new(), of_connection(SETTINGS, &[])),
            ("resets", whole, frame(RST_STREAM, 0, &[0, 0, 0, 8])),
        ];
        for (case, begins, goes_on) in cases {
            endless(case, By::Http2, over_http_2(begins, &goes_on));
        }
    }

    /// h2 keeps interim answers until somebody reads them, which nobody does. All that can be done here is to end it.
    ///
    /// Promise: E5
    #[test]
    fn interim_answers_without_an_end_over_http_2_end_at_the_deadline_and_leave_nothing_behind() {
        let _alone = alone();
        let interim = [b"\x08\x03103".as_slice(), &header(8)].concat();
        let goes_on = frame(HEADERS, END_HEADERS, &interim);
        let speak = over_http_2(Vec::new(), &goes_on);
        let life = life("interim answers", By::Http2, speak);
        assert_eq!(life.error.kind(), ErrorKind::Timeout);
        assert!(life.left < MEMORY, "{} bytes", life.left);
    }

    /// Whoever speaks HTTP/2, after the request has come.
    fn over_http_2(
        begins: Vec<u8>,
        goes_on: &[u8],
    ) -> impl FnOnce(TcpStream) -> Spoken + Clone + Send + 'static {
        let goes_on = goes_on.repeat((16 * KIB).div_ceil(goes_on.len()));
        move |mut socket| {
            Box::pin(async move {
                let mut seen = Vec::new();
                // Its preface and settings, and the request's head after ours.
                socket.write_all(&of_connection(SETTINGS, &[])).await?;
                while !seen.windows(6).any(|six| six == b"secret") {
                    if socket.read_buf(&mut seen).await? == 0 {
                        return Ok(());
                    }
                }
                socket.write_all(&begins).await?;
                for_ever(socket, &goes_on).await
            })
        }
    }

    type Spoken = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    /// Promise: E5
    #[test]
    fn an_answer_of_a_byte_at_a_time_is_cut_by_the_token_requests_deadline() {
        let _alone = alone();
        for (case, begins, goes_on) in [
            ("a status line", "HTTP/1.1 200 ", "y"),
            ("a header", "HTTP/1.1 200 OK\r\nx: ", "y"),
            ("a chunk's size", CHUNKED, "0"),
            ("a trailer", &format!("{CHUNKED}2\r\n{{}}\r\n0\r\nt: "), "y"),
        ] {
            for by in [By::Default, By::Reqwest] {
                let begins = begins.as_bytes().to_vec();
                let error = endless(case, by, move |mut socket| async move {
                    begun(&mut socket).await?;
                    socket.write_all(&begins).await?;
                    loop {
                        sleep(Duration::from_millis(20)).await;
                        socket.write_all(goes_on.as_bytes()).await?;
                    }
                });
                assert_eq!(error.kind(), ErrorKind::Timeout, "{case}");
            }
        }
    }

    /// The API's head is read by the client below the layer, whose limits hold for the retry as for the first.
    ///
    /// Promise: R12
    #[test]
    fn an_endless_rejection_of_an_api_is_given_up_and_the_retry_is_made() {
        let _alone = alone();
        let rejection = "HTTP/1.1 401 No\r\ntransfer-encoding: chunked\r\n\r\n";
        let parts = format!("400\r\n{}\r\n", "x".repeat(1024)).repeat(16);
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let calls = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&calls);
            let origin = serve(move |mut socket| {
                let parts = parts.clone();
                let call = count.fetch_add(1, Ordering::SeqCst);
                async move {
                    begun(&mut socket).await?;
                    if call > 0 {
                        let fine = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        return socket.write_all(fine.as_bytes()).await;
                    }
                    socket.write_all(rejection.as_bytes()).await?;
                    for_ever(socket, parts.as_bytes()).await
                }
            })
            .await;
            let source = service_fn(|request: tower_bearer::token::TokenRequest| async move {
                Token::new(match request.rejected_token() {
                    None => "old",
                    Some(_) => "new",
                })
            });
            let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
            let service = BearerAuthLayer::new(source).layer(client);
            let before = allocated();
            MOST.store(before, Ordering::SeqCst);
            let request = Request::get(origin).body(Full::default()).unwrap();
            let called = timeout(PATIENCE, service.oneshot(request)).await;
            assert_eq!(called.unwrap().unwrap().status(), 200);
            assert_eq!(calls.load(Ordering::SeqCst), 2);
            let grown = MOST.load(Ordering::SeqCst) - before;
            assert!(grown < MEMORY, "{grown} bytes");
        });
    }

    /// How the token request is made.
    #[derive(Clone, Copy, Debug)]
    enum By {
        Default,
        Reqwest,
        Http2,
    }

    /// The error of a token request with a server that speaks like this, which takes little memory.
    fn endless<F>(
        case: &str,
        by: By,
        speak: impl FnOnce(TcpStream) -> F + Clone + Send + 'static,
    ) -> Error
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let Life { error, most, .. } = life(case, by, speak);
        assert!(most < MEMORY, "{case} by {by:?}: {most} bytes");
        error
    }

    /// What came of a token request.
    struct Life {
        error: Error,
        /// In bytes, at the most.
        most: usize,
        /// In bytes, when all is over.
        left: usize,
    }

    fn life<F>(
        case: &str,
        by: By,
        speak: impl FnOnce(TcpStream) -> F + Clone + Send + 'static,
    ) -> Life
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let before = allocated();
        MOST.store(before, Ordering::SeqCst);
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (error, most) = runtime.block_on(async {
            let origin = serve(speak).await;
            let source = build(ClientCredentials::builder(origin, "id", "secret"), by);
            let cache = TokenCache::builder(source).token_request_timeout(DEADLINE);
            let cache = cache.build().unwrap();
            let started = Instant::now();
            let error = timeout(PATIENCE, cache.get()).await.expect("an end");
            let error = error.expect_err(case);
            let grown = MOST.load(Ordering::SeqCst) - before;
            println!(
                "{case} by {by:?}: {} KiB, {:?}: {error}",
                grown / KIB,
                started.elapsed()
            );
            assert!(error.is_transient(), "{case}: {error}");
            (error, grown)
        });
        drop(runtime);
        let left = allocated().saturating_sub(before);
        Life { error, most, left }
    }

    fn build(builder: ClientCredentialsBuilder, by: By) -> ClientCredentials {
        match by {
            By::Default => builder.build(),
            By::Reqwest => builder.build_with_reqwest(reqwest::Client::builder()),
            By::Http2 => {
                let client = Client::builder(TokioExecutor::new())
                    .http2_only(true)
                    .build_http::<Full<Bytes>>();
                builder.build_with(client)
            }
        }
        .unwrap()
    }

    async fn serve<F>(speak: impl FnOnce(TcpStream) -> F + Clone + Send + 'static) -> String
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(speak.clone()(socket));
            }
        });
        origin
    }

    /// When a request has begun to come.
    async fn begun(socket: &mut TcpStream) -> io::Result<()> {
        socket.read(&mut [0; 4096]).await.map(drop)
    }

    /// Until the other side has enough of it.
    async fn for_ever(mut socket: TcpStream, part: &[u8]) -> io::Result<()> {
        loop {
            socket.write_all(part).await?;
            MOST.fetch_max(allocated(), Ordering::SeqCst);
        }
    }

    /// A header as HPACK has it in plain text.
    fn header(length: usize) -> Vec<u8> {
        let mut header = vec![0, 1, b'x'];
        match length {
            0..127 => header.push(u8::try_from(length).unwrap()),
            _ => {
                let rest = length - 127;
                header.extend([127, u8::try_from(rest % 128).unwrap() | 128]);
                header.push(u8::try_from(rest / 128).unwrap());
            }
        }
        header.extend(vec![b'y'; length]);
        header
    }

    /// A frame of the first stream.
    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        framed(kind, flags, 1, payload)
    }

    fn of_connection(kind: u8, payload: &[u8]) -> Vec<u8> {
        framed(kind, 0, 0, payload)
    }

    fn framed(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, stream]);
        frame.extend_from_slice(payload);
        frame
    }

    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const CONTINUATION: u8 = 9;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;

    const OK: &str = "HTTP/1.1 200 OK\r\n";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

    /// The most that was allocated since it was set.
    static MOST: AtomicUsize = AtomicUsize::new(0);

    const DEADLINE: Duration = Duration::from_millis(300);

    /// Only a failure takes that long.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// The buffers of the connection and what a client reads ahead, and not the megabytes that are sent.
    const MEMORY: usize = 4096 * KIB;
}

/// What is not a server's: a few boxes, and the test runner's own.
const SLACK: usize = 16 * KIB;

const KIB: usize = 1024;

/// How many bytes are allocated and not freed.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Taken by every test here: one at a time from its first line to its last, because the memory is the process's, and what a test
/// reads, prints and frees between its measurements would be seen in another's.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}
