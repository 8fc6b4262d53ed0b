//! Holds requests in flight for as long as a test needs them there.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

/// A gate that every request of a server goes through. It is open until it is [held](Self::hold).
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<Leaves>);

#[derive(Debug, Default)]
struct Leaves {
    closed: watch::Sender<bool>,
    /// How many requests have come to the gate since it was last closed.
    arrived: watch::Sender<usize>,
}

impl Gate {
    /// Closes the gate, until what this gives is dropped.
    pub(super) fn hold(&self) -> Held {
        self.0.arrived.send_replace(0);
        self.0.closed.send_replace(true);
        Held(self.clone())
    }

    /// Goes through, at once or when the gate is opened.
    pub(super) async fn pass(&self) {
        let mut closed = self.0.closed.subscribe();
        self.0.arrived.send_modify(|arrived| *arrived += 1);
        // An error would mean that the gate is gone, and `self` holds it.
        let _ = closed.wait_for(|closed| !closed).await;
    }
}

/// A closed gate. Dropping it opens the gate, so that a test that fails does not hang.
#[derive(Debug)]
#[must_use = "dropping it opens the gate"]
pub(crate) struct Held(Gate);

impl Held {
    /// Waits until `requests` are at the gate.
    ///
    /// # Errors
    /// When they do not arrive, so that a test does not wait for ever.
    pub(crate) async fn arrived(&self, requests: usize) -> Result<(), String> {
        let mut arrived = self.0.0.arrived.subscribe();
        let all = arrived.wait_for(|arrived| *arrived >= requests);
        if timeout(PATIENCE, all).await.is_ok() {
            return Ok(());
        }
        let some = *self.0.0.arrived.borrow();
        Err(format!(
            "only {some} of {requests} requests came to the server within {PATIENCE:?}"
        ))
    }

    /// Lets all through.
    pub(crate) fn open(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.closed.send_replace(false);
    }
}

/// Only a failure takes that long.
const PATIENCE: Duration = Duration::from_secs(10);
