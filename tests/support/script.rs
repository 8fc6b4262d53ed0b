//! A body that answers as it is told to, and that is not `Clone`.

#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// What a body answers when it is asked.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    /// Nothing yet. It is ready when it is asked again.
    Pause,
}

/// Answers step by step, and then that there is no more. It never says beforehand that it is at its end.
#[derive(Debug)]
pub(crate) struct Script {
    steps: VecDeque<Step>,
    /// Whether it knows its length.
    is_sized: bool,
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            is_sized: false,
        }
    }

    /// The same with a length that is known: an exact size hint.
    pub(crate) fn sized(self) -> Self {
        Self {
            is_sized: true,
            ..self
        }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match self.steps.pop_front() {
            Some(Step::Data(data)) => Some(Frame::data(data)),
            Some(Step::Trailers(trailers)) => Some(Frame::trailers(trailers)),
            Some(Step::Pause) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => None,
        };
        Poll::Ready(frame.map(Ok))
    }

    fn size_hint(&self) -> SizeHint {
        if !self.is_sized {
            return SizeHint::default();
        }
        let sizes = self.steps.iter().map(|step| match step {
            Step::Data(data) => data.len() as u64,
            Step::Trailers(_) | Step::Pause => 0,
        });
        SizeHint::with_exact(sizes.sum())
    }
}
