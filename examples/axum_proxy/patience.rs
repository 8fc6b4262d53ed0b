//! How long an upstream may keep a caller waiting.
//!
//! A plain timeout would cut a long upload. Here the time runs only while it is the upstream's turn. It does not run while the
//! proxy waits for the caller's next piece of the body, and it starts again with each piece.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, timeout_at};

/// Watches a request's body, for [`wait`](Patience::wait).
pub(crate) fn watch<B>(body: B) -> (Watched<B>, Patience) {
    let turn = Arc::new(Turn(Mutex::new(Some(Instant::now()))));
    let patience = Patience(Arc::clone(&turn));
    (Watched { body, turn }, patience)
}

/// Since when it is the upstream's turn; `None` while it is the caller's.
struct Turn(Mutex<Option<Instant>>);

impl Turn {
    fn set(&self, turn: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }

    fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Patience(Arc<Turn>);

impl Patience {
    /// Waits for an answer; `None` if it was the upstream's turn for longer than `limit`.
    pub(crate) async fn wait<T>(
        self,
        limit: Duration,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        let mut answer = pin!(answer);
        let mut due = Instant::now() + limit;
        loop {
            if let Ok(answer) = timeout_at(due, answer.as_mut()).await {
                return Some(answer);
            }
            let now = Instant::now();
            due = self.0.get().unwrap_or(now) + limit;
            if due <= now {
                return None;
            }
        }
    }
}

pin_project! {
    /// A body that says whose turn it is.
    pub(crate) struct Watched<B> {
        #[pin]
        body: B,
        turn: Arc<Turn>,
    }
}

impl<B: Body> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = this.body.poll_frame(cx);
        this.turn.set(frame.is_ready().then(Instant::now));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
