//! Keeping a token warm that nobody uses.

use std::sync::{Arc, Weak};

use tokio::{sync::watch, time::timeout_at};

use super::{flight::SingleFlight, held::Need};
use crate::{error::Error, rt::Spawner};

/// Starts the task that refreshes the token when it is due, if there is none yet.
pub(super) fn keep(flight: &Arc<SingleFlight>) -> Result<(), Error> {
    let Some(spawner) = Spawner::current() else {
        return Err(Error::no_runtime());
    };
    if flight.becomes_warm() {
        spawner.spawn(tend(Arc::downgrade(flight), flight.changes()));
    }
    Ok(())
}

/// Holds the cache weakly, and so ends with its last handle: the change it then waits for cannot come any more.
async fn tend(flight: Weak<SingleFlight>, mut changes: watch::Receiver<()>) {
    loop {
        let due = {
            let Some(flight) = flight.upgrade() else {
                return;
            };
            // Marked as seen before looking: a landing between the two is then one look too many, not one too few.
            changes.borrow_and_update();
            drop(flight.join(Need::Fresh));
            flight.due()
        };
        let ended = match due {
            Some(due) => matches!(timeout_at(due, changes.changed()).await, Ok(Err(_))),
            None => changes.changed().await.is_err(),
        };
        if ended {
            return;
        }
    }
}
