//! Bodies that cannot be cloned: a copy is kept while they are sent.

use std::{
    array, fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_LENGTH, request::Parts};
use http_body::{Body, Frame, SizeHint};

use super::Replay;

/// Keeps a copy of a body while it is sent, up to a number of bytes.
///
/// For bodies that are not `Clone`: `axum::body::Body`, `hyper::body::Incoming`, boxed bodies, streams. The body goes out
/// unchanged: frames, trailers and size hint are its own, the first byte leaves as soon as it is there, and a slow server
/// slows the body down.
///
/// | the body, when the API rejects the token | retry |
/// | --- | --- |
/// | was sent whole, within the limit | yes, byte for byte, trailers included |
/// | is short: its end comes with its first two frames, within the limit | yes, also if the server did not read it |
/// | is larger than the limit | no: the caller gets the 401 |
/// | was still being sent | no: the caller gets the 401 |
/// | has given its declared length, and does not say yet whether trailers follow | no: the caller gets the 401 |
///
/// In each of these cases the token is replaced for later requests. The framing is kept: a retry has a `Content-Length` if
/// and only if the first attempt had one.
///
/// # Cost
/// A copy of each body, and up to two frames that are read before the client asks for them. So a layer keeps at most
/// `bytes` and two frames for each request in flight, however large the buffers are that the frames are cut from.
///
/// A body that passes the limit frees its copy at once. The copy is also freed when the response is not a 401 (at the next
/// frame), and when the client drops the body before its end.
///
/// A body that is not `Unpin`, such as the stream of an `async` block, must be boxed.
///
/// # Example
/// A client that takes one type of body only, such as a boxed one, gets it by tower-http's `MapRequestBodyLayer`:
/// ```
/// use axum::body::Body;
/// use tower::ServiceBuilder;
/// use tower_bearer::{replay::Buffered, token::FixedToken, BearerAuthLayer, Token};
/// use tower_http::map_request_body::MapRequestBodyLayer;
///
/// # let source = FixedToken::new("t")?;
/// # let client = tower::service_fn(|_: http::Request<Body>| async { Ok::<_, std::io::Error>(http::Response::new(Body::empty())) });
/// let service = ServiceBuilder::new()
///     .layer(BearerAuthLayer::new(source).replay(Buffered::up_to(64 * 1024)))
///     .layer(MapRequestBodyLayer::new(Body::new))
///     .service(client);
/// # fn is_a_service<S: tower::Service<http::Request<Body>>>(_: S) {}
/// # is_a_service(service);
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Buffered {
    limit: usize,
}

impl Buffered {
    /// Keeps bodies of up to `bytes` bytes, trailers included.
    #[must_use]
    pub const fn up_to(bytes: usize) -> Self {
        Self { limit: bytes }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Replay<B> for Buffered {
    type Body = ReplayBody<B>;
    type Recording = Recording<B>;

    fn pass(&self, body: B) -> ReplayBody<B> {
        ReplayBody::original(body, None)
    }

    fn record(&self, head: &Parts, body: B) -> (ReplayBody<B>, Option<Recording<B>>) {
        let size = body.size_hint();
        let length = declared_length(&head.headers, &size);
        if size.lower().max(length.unwrap_or(0)) > self.limit as u64 {
            return (self.pass(body), None);
        }
        let outcome = Arc::new(Mutex::new(Outcome::Incomplete));
        let recorder = Recorder {
            copy: BodyCopy::new(self.limit, &size, length),
            outcome: Arc::downgrade(&outcome),
        };
        let mut body = ReplayBody::original(body, Some(recorder));
        body.look_ahead();
        (body, Some(Recording(outcome)))
    }

    fn rewind(&self, recording: Recording<B>) -> Option<ReplayBody<B>> {
        let whole = recording.into_whole()?;
        Some(ReplayBody(State::Replay(whole)))
    }
}

/// How many bytes the client sends, where that is declared: by the head, which goes first for HTTP/1.1 clients, or by the
/// body.
fn declared_length(headers: &HeaderMap, size: &SizeHint) -> Option<u64> {
    let header = headers.get(CONTENT_LENGTH);
    let length = header.and_then(|length| length.to_str().ok()?.trim().parse().ok());
    length.or_else(|| size.exact())
}

/// What [`Buffered`] keeps of a body of type `B` while the request is under way.
pub struct Recording<B>(Arc<Mutex<Outcome<B>>>);

/// How the first attempt left the body.
enum Outcome<B> {
    /// It is still being sent, was dropped before its end, failed, or is too large.
    Incomplete,
    /// Its declared length was sent, then the client dropped it. `rest` tells whether that was its end.
    AtLength { copy: BodyCopy, rest: B },
    /// It was read to its end.
    Whole(Whole),
}

impl<B: Body<Data = Bytes> + Unpin> Recording<B> {
    fn into_whole(self) -> Option<Whole> {
        // The lock is released before the rest is asked, which is the caller's code.
        let outcome = mem::replace(&mut *lock(&self.0), Outcome::Incomplete);
        match outcome {
            Outcome::Incomplete => None,
            Outcome::AtLength { copy, rest } => copy.complete(rest),
            Outcome::Whole(whole) => Some(whole),
        }
    }
}

impl<B> fmt::Debug for Recording<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}

fn lock<B>(outcome: &Mutex<Outcome<B>>) -> MutexGuard<'_, Outcome<B>> {
    outcome.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request body whose copy is kept while it is sent, or the replay of that copy. Made by [`Buffered`].
pub struct ReplayBody<B: Body>(State<B>);

#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are originals, and a box would be an allocation for each"
)]
enum State<B: Body> {
    Original(Original<B>),
    /// What is left of the copy.
    Replay(Whole),
}

/// The caller's body, and its recorder until it is known that no copy is needed.
struct Original<B: Body> {
    body: B,
    recorder: Option<Recorder<B>>,
    /// What the body answered before the client asked.
    ahead: [Option<Answer<B>>; 2],
}

/// What a body answers when it is asked for a frame.
type Answer<B> = Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

// Its frames and errors are never pinned.
impl<B: Body + Unpin> Unpin for ReplayBody<B> {}

impl<B: Body> ReplayBody<B> {
    fn original(body: B, recorder: Option<Recorder<B>>) -> Self {
        Self(State::Original(Original {
            body,
            recorder,
            ahead: array::from_fn(|_| None),
        }))
    }
}

impl<B: Body<Data = Bytes> + Unpin> ReplayBody<B> {
    /// Reads the first frames, if they are at hand. So a short body is known whole, however early the server rejects it.
    fn look_ahead(&mut self) {
        let State::Original(original) = &mut self.0 else {
            return;
        };
        for slot in 0..original.ahead.len() {
            original.finish_at_end();
            if original.recorder.is_none() {
                break;
            }
            // The client asks again, with a waker of its own.
            let mut no_waker = Context::from_waker(Waker::noop());
            match original.poll_body(&mut no_waker) {
                Poll::Ready(answer) => original.ahead[slot] = Some(answer),
                Poll::Pending => break,
            }
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Original<B> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Answer<B>> {
        self.recorder.take_if(|recorder| recorder.has_no_reader());
        let answer = match self.ahead.iter_mut().find_map(Option::take) {
            Some(answer) => answer,
            None => ready!(self.poll_body(cx)),
        };
        // HTTP/1.1 clients drop the body once its declared length is sent, without asking for its end. So the body is asked
        // before the client has the last of these bytes: what comes next is the end, trailers, or not known yet.
        let is_at_length = self.recorder.as_ref().is_some_and(Recorder::is_at_length);
        if is_at_length
            && self.ahead.iter().all(Option::is_none)
            && let Poll::Ready(next) = self.poll_body(cx)
        {
            self.ahead[0] = Some(next);
        }
        Poll::Ready(answer)
    }

    /// Asks the body, and keeps a copy.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Answer<B>> {
        let answer = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(recorder) = self.recorder.take() {
            match &answer {
                // Nothing comes after trailers, and clients do not ask.
                Some(Ok(frame)) if frame.is_trailers() => {
                    recorder.keep(frame).into_iter().for_each(Recorder::finish);
                }
                Some(Ok(frame)) => self.recorder = recorder.keep(frame),
                Some(Err(_)) => {}
                None => recorder.finish(),
            }
        }
        self.finish_at_end();
        Poll::Ready(answer)
    }

    /// A client that sees the end coming need not ask for it.
    fn finish_at_end(&mut self) {
        if self.body.is_end_stream() {
            self.recorder.take().into_iter().for_each(Recorder::finish);
        }
    }
}

impl<B: Body> Original<B> {
    /// How many bytes were read ahead and are still to be sent.
    fn bytes_ahead(&self) -> u64 {
        let frames = self.ahead.iter().flatten().flatten().flatten();
        let bytes = frames
            .filter_map(Frame::data_ref)
            .map(bytes::Buf::remaining);
        bytes.sum::<usize>() as u64
    }

    /// Whether the client has all bytes that were declared, and the body's end is not known.
    fn is_sent_to_its_length(&self) -> bool {
        let is_at_length = self.recorder.as_ref().is_some_and(Recorder::is_at_length);
        is_at_length && self.bytes_ahead() == 0
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer<B>> {
        match &mut self.get_mut().0 {
            State::Original(original) => original.poll_frame(cx),
            State::Replay(whole) => Poll::Ready(whole.next_frame().map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Original(original) => match original.ahead.iter().flatten().next() {
                Some(answer) => answer.is_none(),
                None => original.body.is_end_stream(),
            },
            State::Replay(whole) => whole.data.is_empty() && whole.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Original(original) => {
                let (ahead, rest) = (original.bytes_ahead(), original.body.size_hint());
                let mut size = SizeHint::new();
                if let Some(upper) = rest.upper() {
                    size.set_upper(upper.saturating_add(ahead));
                }
                size.set_lower(rest.lower().saturating_add(ahead));
                size
            }
            State::Replay(whole) if whole.is_sized => SizeHint::with_exact(whole.data.len() as u64),
            State::Replay(_) => SizeHint::default(),
        }
    }
}

/// Leaves a body whose declared length was sent to the recording, which asks it for its end if there is to be a retry: by
/// then a file, say, has found out that nothing is left of it.
impl<B: Body> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        if !matches!(&self.0, State::Original(original) if original.is_sent_to_its_length()) {
            return;
        }
        let state = mem::replace(&mut self.0, State::Replay(Whole::default()));
        if let State::Original(Original {
            body: rest,
            recorder: Some(Recorder { copy, outcome }),
            ..
        }) = state
            && let Some(outcome) = outcome.upgrade()
        {
            *lock(&outcome) = Outcome::AtLength { copy, rest };
        }
    }
}

impl<B: Body> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            State::Original(_) => "original",
            State::Replay(_) => "replay",
        };
        f.debug_tuple("ReplayBody").field(&state).finish()
    }
}

/// Copies a body. It owns the copy until the end, so that nothing is shared while the body is sent.
struct Recorder<B> {
    copy: BodyCopy,
    /// Where the copy goes when it is complete. Gone when the request is over.
    outcome: Weak<Mutex<Outcome<B>>>,
}

impl<B> Recorder<B> {
    /// Whether the request is over, so that no retry will ask for the copy.
    fn has_no_reader(&self) -> bool {
        self.outcome.strong_count() == 0
    }

    fn is_at_length(&self) -> bool {
        self.copy.length == Some(self.copy.data.len() as u64)
    }

    /// Itself with this frame, unless that is too much.
    fn keep(self, frame: &Frame<Bytes>) -> Option<Self> {
        let copy = self.copy.with(frame)?;
        Some(Self { copy, ..self })
    }

    fn finish(self) {
        if let Some(outcome) = self.outcome.upgrade() {
            *lock(&outcome) = Outcome::Whole(self.copy.into_whole());
        }
    }
}

/// What a body gave so far.
struct BodyCopy {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// How many more bytes may be kept.
    left: usize,
    /// How many bytes were declared.
    length: Option<u64>,
    /// Whether the body itself knew its length.
    is_sized: bool,
}

impl BodyCopy {
    fn new(limit: usize, size: &SizeHint, length: Option<u64>) -> Self {
        let room = usize::try_from(length.unwrap_or(0)).unwrap_or(usize::MAX);
        Self {
            // No more than that for a declared length: it may come from another machine, and be wrong.
            data: Vec::with_capacity(room.min(limit).min(FIRST)),
            trailers: None,
            left: limit,
            length,
            is_sized: size.exact().is_some(),
        }
    }

    /// Itself with this frame, unless that is too much.
    fn with(mut self, frame: &Frame<Bytes>) -> Option<Self> {
        if let Some(data) = frame.data_ref() {
            self.left = self.left.checked_sub(data.len())?;
            self.make_room_for(data.len());
            self.data.extend_from_slice(data);
        } else if let Some(trailers) = frame.trailers_ref() {
            self.left = self.left.checked_sub(size_of_headers(trailers))?;
            self.trailers = Some(trailers.clone());
        }
        Some(self)
    }

    /// Grows by doubling, but never past what may be kept.
    fn make_room_for(&mut self, bytes: usize) {
        if bytes > self.data.capacity() - self.data.len() {
            let most = bytes + self.left;
            let doubled = bytes.max(self.data.len());
            self.data.reserve_exact(doubled.min(most));
        }
    }

    /// The whole body, if nothing but trailers is left of it. `rest` is asked now: nothing is waited for.
    fn complete<B: Body<Data = Bytes> + Unpin>(self, mut rest: B) -> Option<Whole> {
        let mut no_waker = Context::from_waker(Waker::noop());
        // A stream may answer without anything, or that it is not ready, to let others go first. There may be no end of that.
        for _ in 0..QUESTIONS {
            match Pin::new(&mut rest).poll_frame(&mut no_waker) {
                Poll::Pending => {}
                Poll::Ready(None) => return Some(self.into_whole()),
                Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                    return self.with(&frame).map(Self::into_whole);
                }
                Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
                Poll::Ready(Some(_)) => return None,
            }
        }
        None
    }

    fn into_whole(self) -> Whole {
        Whole {
            data: self.data.into(),
            trailers: self.trailers,
            is_sized: self.is_sized,
        }
    }
}

/// In bytes.
const FIRST: usize = 16 * 1024;

const QUESTIONS: usize = 16;

fn size_of_headers(headers: &HeaderMap) -> usize {
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    headers.iter().map(size).sum()
}

/// A body to its end.
#[derive(Default)]
struct Whole {
    data: Bytes,
    trailers: Option<HeaderMap>,
    /// Whether the body knew its length. If not, its replay does not either: the framing stays the same.
    is_sized: bool,
}

impl Whole {
    fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        if self.data.is_empty() {
            return self.trailers.take().map(Frame::trailers);
        }
        Some(Frame::data(mem::take(&mut self.data)))
    }
}
