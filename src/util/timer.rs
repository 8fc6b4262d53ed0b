//! Timers of the Tokio runtime, if there is one and it has timers.

use std::{future::poll_fn, panic::catch_unwind, pin::Pin, pin::pin, task::Poll};

use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, sleep_until},
};

/// Creates a timer; `None` outside a Tokio runtime, or if it was built without timers.
pub(crate) fn timer(at: Instant) -> Option<Pin<Box<Sleep>>> {
    Handle::try_current().ok()?;
    // Tokio panics if there are no timers, and offers no way to check first.
    catch_unwind(|| Box::pin(sleep_until(at))).ok()
}

/// Waits until `at` at the latest, and returns `None` then. Without timers it waits without a limit.
pub(crate) async fn until<T>(at: Instant, wait: impl Future<Output = T>) -> Option<T> {
    let mut wait = pin!(wait);
    let Some(mut timer) = timer(at) else {
        return Some(wait.await);
    };
    poll_fn(|cx| match wait.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
    })
    .await
}
