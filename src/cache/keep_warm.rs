//! Keeping a token warm that nobody uses.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{flight::SingleFlight, need::Need};
use crate::{cache::rt::Spawner, error::Error};

/// Starts the task that refreshes the token when it is due, if there is none yet.
pub(super) fn keep(flight: &Arc<SingleFlight>) -> Result<(), Error> {
    let Some(spawner) = Spawner::current() else {
        return Err(Error::no_runtime());
    };
    if flight.set_kept_warm(true) {
        spawner.spawn(tend(Keeper(Arc::downgrade(flight)), flight.changes()));
    }
    Ok(())
}

/// A suspended machine's timers stand still, so the wall clock is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Holds the cache weakly, and so ends with its last handle: the change it then waits for cannot come any more.
async fn tend(keeper: Keeper, mut changes: watch::Receiver<()>) {
    loop {
        let due = {
            let Some(flight) = keeper.0.upgrade() else {
                return;
            };
            // Marked as seen before looking: a landing between the two is then one look too many, not one too few.
            changes.borrow_and_update();
            drop(flight.join(Need::Fresh));
            flight.due()
        };
        let look_again = Instant::now() + LOOK_AGAIN;
        let due = due.map_or(look_again, |due| due.min(look_again));
        if let Ok(Err(_all_handles_are_gone)) = timeout_at(due, changes.changed()).await {
            return;
        }
    }
}

/// The task, should it end before the cache, as with its runtime: then another may be started.
struct Keeper(Weak<SingleFlight>);

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(flight) = self.0.upgrade() {
            flight.set_kept_warm(false);
        }
    }
}
