//! Bodies that cannot be cloned, kept while they are sent.

use std::{
    array, fmt,
    pin::Pin,
    sync::{Arc, OnceLock, Weak},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

use super::Replay;

/// Keeps a copy of a body while it is sent, up to so many bytes.
///
/// For bodies that are not `Clone`: `axum::body::Body`, `hyper::body::Incoming`, boxed bodies, streams. The body flows as it
/// comes: its frames and trailers and its size hint are untouched, nothing waits for it to be complete, and a slow server
/// slows it down. Only its start, if it is at hand, is taken before the request is sent: up to two parts, or one and
/// what comes after it. So a short body is known whole however early a server rejects the request, as one does that looks
/// at the head only.
///
/// | body | retry |
/// | --- | --- |
/// | had been sent to its end when the rejection came, within the limit | yes, byte for byte, trailers included |
/// | is larger than the limit | no: the caller gets the rejection |
/// | was still being sent when the rejection came | no: the caller gets the rejection |
///
/// The token is replaced in any case, for requests that come once that token request is over.
///
/// # Cost
/// A copy of the body, so that memory is bounded by the limit however large the buffers are that its frames are cut from;
/// and the parts that were taken ahead. A body that passes the limit frees what was kept of it at once. One whose request is
/// over, with an answer that is no rejection, frees it with the next part that is sent, and one that is dropped, then. So a
/// layer keeps `bytes` and two parts times the requests in flight at the most.
///
/// A body that is not `Unpin`, such as an `async` block's stream, has to be boxed.
///
/// # Example
/// Clients that take one type of body only, such as a boxed one, get it by tower-http's `MapRequestBodyLayer`:
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
    type Recording = Recording;

    fn pass(&self, body: B) -> ReplayBody<B> {
        ReplayBody::live(body, None)
    }

    fn record(&self, body: B) -> (ReplayBody<B>, Option<Recording>) {
        let size = body.size_hint();
        if size.lower() > self.limit as u64 {
            return (self.pass(body), None);
        }
        let whole = Arc::new(OnceLock::new());
        let recorder = Recorder::new(self.limit, &size, &whole);
        let mut body = ReplayBody::live(body, Some(recorder));
        body.look_ahead();
        (body, Some(Recording(whole)))
    }

    fn rewind(&self, recording: Recording) -> Option<ReplayBody<B>> {
        let whole = recording.0.get()?.clone();
        Some(ReplayBody(Saying::Again(whole)))
    }
}

/// What [`Buffered`] keeps of a body. It can be said again once the body has been sent to its end.
#[derive(Debug)]
pub struct Recording(Arc<OnceLock<Whole>>);

/// All that a body said.
#[derive(Clone)]
struct Whole {
    data: Bytes,
    trailers: Option<HeaderMap>,
    /// Whether its length was known beforehand. If not, the retry does not tell it either.
    sized: bool,
}

impl fmt::Debug for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Whole")
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// A body under way that may have to be said again, or one that is said again. Made by [`Buffered`].
pub struct ReplayBody<B: Body>(Saying<B>);

#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are live, and a box would be an allocation for each"
)]
enum Saying<B: Body> {
    Live(Live<B>),
    /// What is left of the copy.
    Again(Whole),
}

/// The caller's body, and what it takes to keep a copy, until it is known that none is needed.
struct Live<B: Body> {
    body: B,
    recorder: Option<Recorder>,
    /// What it answered before it was asked by whoever sends it: at the most two parts, or one and what
    /// comes after it.
    ahead: [Option<Frames<B>>; 2],
}

/// What a body answers when it is asked for a frame.
type Frames<B> = Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

// Its frames and errors are never pinned.
impl<B: Body + Unpin> Unpin for ReplayBody<B> {}

impl<B: Body> ReplayBody<B> {
    fn live(body: B, recorder: Option<Recorder>) -> Self {
        Self(Saying::Live(Live {
            body,
            recorder,
            ahead: array::from_fn(|_| None),
        }))
    }
}

impl<B: Body<Data = Bytes> + Unpin> ReplayBody<B> {
    /// Takes what is at hand of a body's start.
    fn look_ahead(&mut self) {
        let Saying::Live(live) = &mut self.0 else {
            return;
        };
        for slot in 0..live.ahead.len() {
            if live.recorder.is_none() || live.body.is_end_stream() {
                break;
            }
            // Whoever sends the body asks again, with a waker of its own.
            let mut nobody = Context::from_waker(Waker::noop());
            match live.poll_body(&mut nobody) {
                Poll::Ready(answer) => live.ahead[slot] = Some(answer),
                Poll::Pending => break,
            }
        }
        live.finish_at_end();
    }
}

impl<B: Body<Data = Bytes> + Unpin> Live<B> {
    /// Asks the body, and keeps a copy.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Frames<B>> {
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

impl<B: Body> Live<B> {
    /// How many bytes were taken ahead and are still to be sent.
    fn bytes_ahead(&self) -> u64 {
        let frames = self.ahead.iter().flatten().flatten().flatten();
        let bytes = frames
            .filter_map(Frame::data_ref)
            .map(bytes::Buf::remaining);
        bytes.sum::<usize>() as u64
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Frames<B>> {
        match &mut self.get_mut().0 {
            Saying::Live(live) => {
                if live.recorder.as_ref().is_some_and(Recorder::is_for_nobody) {
                    live.recorder = None;
                }
                if let Some(answer) = live.ahead.iter_mut().find_map(Option::take) {
                    return Poll::Ready(answer);
                }
                let answer = ready!(live.poll_body(cx));
                // A client that was told the length stops asking when it has sent so much, and would never learn whether
                // that was the end, or whether trailers follow.
                if live.recorder.is_some()
                    && live.body.size_hint().exact() == Some(0)
                    && let Poll::Ready(next) = live.poll_body(cx)
                {
                    live.ahead[0] = Some(next);
                }
                Poll::Ready(answer)
            }
            Saying::Again(whole) => {
                let frame = if whole.data.is_empty() {
                    whole.trailers.take().map(Frame::trailers)
                } else {
                    Some(Frame::data(std::mem::take(&mut whole.data)))
                };
                Poll::Ready(frame.map(Ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Saying::Live(live) => match live.ahead.iter().flatten().next() {
                Some(answer) => answer.is_none(),
                None => live.body.is_end_stream(),
            },
            Saying::Again(whole) => whole.data.is_empty() && whole.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Saying::Live(live) => {
                let (ahead, rest) = (live.bytes_ahead(), live.body.size_hint());
                let mut size = SizeHint::new();
                if let Some(upper) = rest.upper() {
                    size.set_upper(upper.saturating_add(ahead));
                }
                size.set_lower(rest.lower().saturating_add(ahead));
                size
            }
            Saying::Again(whole) if whole.sized => SizeHint::with_exact(whole.data.len() as u64),
            Saying::Again(_) => SizeHint::default(),
        }
    }
}

impl<B: Body> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let saying = match &self.0 {
            Saying::Live(_) => "for the first time",
            Saying::Again(_) => "again",
        };
        f.debug_tuple("ReplayBody").field(&saying).finish()
    }
}

/// Copies what a body says. Its own until the end, so that nothing is shared while the body flows.
struct Recorder {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    sized: bool,
    /// How many more bytes may be kept.
    left: usize,
    /// Where the copy goes when it is complete. Gone when nobody will ask for it.
    whole: Weak<OnceLock<Whole>>,
}

impl Recorder {
    fn new(limit: usize, size: &SizeHint, whole: &Arc<OnceLock<Whole>>) -> Self {
        let exact = size.exact().and_then(|exact| usize::try_from(exact).ok());
        Self {
            // No more than that for what a length says: it may be a stranger's.
            data: Vec::with_capacity(exact.unwrap_or(0).min(limit).min(FIRST)),
            trailers: None,
            sized: exact.is_some(),
            left: limit,
            whole: Arc::downgrade(whole),
        }
    }

    /// Whether the request is over, so that nobody will ask for the copy.
    fn is_for_nobody(&self) -> bool {
        self.whole.strong_count() == 0
    }

    /// Itself with this frame, unless that is too much.
    fn keep(mut self, frame: &Frame<Bytes>) -> Option<Self> {
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

    fn finish(self) {
        if let Some(whole) = self.whole.upgrade() {
            // It is set once: there is one recorder, and this takes it.
            let _ = whole.set(Whole {
                data: self.data.into(),
                trailers: self.trailers,
                sized: self.sized,
            });
        }
    }
}

/// In bytes.
const FIRST: usize = 16 * 1024;

fn size_of_headers(headers: &HeaderMap) -> usize {
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    headers.iter().map(size).sum()
}
