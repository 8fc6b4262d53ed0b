//! Reading the rest of a refusal that nobody will see.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use http::{Response, Version};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

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
    /// Takes what there is to read of a response that nobody will see, until `latest` at the most. None if it is better
    /// dropped at once: where there is nothing to read, or more than is worth it, or where it has a stream of its own
    /// (HTTP/2), which is reset and holds up no connection.
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
            until: Box::pin(sleep_until(until)),
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

/// A new connection takes no longer than this, as a rule.
const LONGEST: Duration = Duration::from_millis(50);
