//! Reading the rest of a rejection that the caller will not see.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use http::{Response, Version};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use crate::util::timer::timer;

pin_project! {
    /// Reads a body to its end, so that an HTTP/1.1 connection can be used again; ready when that is done, or not worth more.
    pub(crate) struct Drain<R> {
        #[pin]
        body: R,
        left: usize,
        until: Pin<Box<Sleep>>,
    }
}

impl<R: Body> Drain<R> {
    /// Takes what there is to read of a response that the caller will not see, until `latest` at the most. None if it is better
    /// dropped at once: where there is nothing to read, or more than is worth it, or where it has a stream of its own
    /// (HTTP/2), which is reset and holds up no connection; or where no timer would end it.
    pub(crate) fn of(response: Response<R>, latest: Option<Instant>) -> Option<Self> {
        let version = response.version();
        let body = response.into_body();
        if version > Version::HTTP_11
            || body.is_end_stream()
            || body.size_hint().lower() > MOST as u64
        {
            return None;
        }
        let longest = Instant::now() + LONGEST;
        let until = latest.map_or(longest, |latest| latest.min(longest));
        Some(Self {
            body,
            left: MOST,
            until: timer(until)?,
        })
    }
}

impl<R: Body> Future for Drain<R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        while let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) {
            let Some(Ok(frame)) = frame else {
                return Poll::Ready(());
            };
            let data = frame.data_ref().map_or(0, Buf::remaining);
            // A frame without any data counts too: there may be no end of them.
            match this.left.checked_sub(data.max(1)) {
                Some(left) => *this.left = left,
                None => return Poll::Ready(()),
            }
            if this.body.is_end_stream() {
                return Poll::Ready(());
            }
        }
        ready!(this.until.as_mut().poll(cx));
        Poll::Ready(())
    }
}

/// In bytes. An error page is smaller, and a connection that has more to say is cheaper to open anew.
const MOST: usize = 64 * 1024;

/// A new connection usually takes no longer than this.
const LONGEST: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{Empty, Full};

    use super::*;

    /// Ready parts of this size for as long as there are any, and then nothing, without an end.
    struct Parts {
        size: usize,
        left: usize,
    }

    impl Body for Parts {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.left.checked_sub(1) {
                Some(left) => self.left = left,
                None => return Poll::Pending,
            }
            let part = Bytes::from(vec![b'x'; self.size]);
            Poll::Ready(Some(Ok(Frame::data(part))))
        }
    }

    /// How long reading it takes, and how many parts are left then.
    async fn drained(parts: Parts, latest: Option<Duration>) -> (Duration, usize) {
        let started = Instant::now();
        let latest = latest.map(|latest| started + latest);
        let mut drain = Box::pin(Drain::of(Response::new(parts), latest).unwrap());
        drain.as_mut().await;
        let left = drain.as_mut().project().body.left;
        (started.elapsed(), left)
    }

    /// Promise: R12
    #[tokio::test(start_paused = true)]
    async fn a_rejection_that_does_not_end_is_read_for_50_ms() {
        let parts = Parts { size: 1, left: 3 };
        let (took, left) = drained(parts, None).await;
        // The timer goes by milliseconds.
        assert!((50..=52).contains(&took.as_millis()), "{took:?}");
        assert_eq!(left, 0);
    }

    /// Promise: R12
    #[tokio::test(start_paused = true)]
    async fn an_endless_rejection_is_read_up_to_64_kib_whatever_it_is_cut_into() {
        for (size, read) in [(1024, 65), (0, 64 * 1024 + 1), (64 * 1024 + 1, 1)] {
            let parts = Parts {
                size,
                left: 100_000,
            };
            let (took, left) = drained(parts, None).await;
            assert_eq!(took, Duration::ZERO);
            assert_eq!(100_000 - left, read);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejection_is_not_read_past_the_time_for_a_retry() {
        let parts = Parts { size: 1, left: 0 };
        let (took, _) = drained(parts, Some(Duration::from_millis(7))).await;
        assert!((7..=9).contains(&took.as_millis()), "{took:?}");
    }

    /// Promise: R12
    #[tokio::test(start_paused = true)]
    async fn what_is_not_worth_reading_is_dropped_at_once() {
        assert!(Drain::of(Response::new(Empty::<Bytes>::new()), None).is_none());
        let large = Full::new(Bytes::from(vec![b'x'; MOST + 1]));
        assert!(Drain::of(Response::new(large), None).is_none());
        let mut http2 = Response::new(Full::new(Bytes::from("small")));
        *http2.version_mut() = Version::HTTP_2;
        assert!(Drain::of(http2, None).is_none());
    }
}
