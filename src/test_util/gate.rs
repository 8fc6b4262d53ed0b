//! Holds requests for as long as a test needs them there.

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
    /// Closes the gate, until what this returns is dropped.
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

/// A server that holds its requests: they have arrived and are counted, and wait. Dropping it lets them go on.
#[derive(Debug)]
#[must_use = "dropping it lets the requests go on"]
pub struct Held(Gate);

impl Held {
    /// Waits until this many requests have arrived since the server was held.
    ///
    /// # Errors
    /// If they do not arrive within 10 seconds, so that a test does not hang. The message says how many did.
    ///
    /// # Cancellation
    /// Dropping the future changes nothing: the requests are still held.
    pub async fn arrived(&self, requests: usize) -> Result<(), String> {
        let mut arrived = self.0.0.arrived.subscribe();
        let all = arrived.wait_for(|arrived| *arrived >= requests);
        if timeout(PATIENCE, all).await.is_ok() {
            return Ok(());
        }
        let some = *self.0.0.arrived.borrow();
        Err(format!(
            "only {some} of {requests} requests reached the server within {PATIENCE:?}"
        ))
    }

    /// Lets the requests go on.
    pub fn open(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.closed.send_replace(false);
    }
}

/// Only a failure takes that long.
const PATIENCE: Duration = Duration::from_secs(10);
