//! Keeping a token warm that no request uses.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{flight::SingleFlight, need::Need, rt::RuntimeId};
use crate::error::Error;

/// Starts the task that refreshes the token when it is due, if this runtime has none yet. Each runtime has its own, for it may
/// stop, or not be driven, while others go on; the flight sees to it that they make one token request together.
pub(super) fn keep(flight: &Arc<SingleFlight>) -> Result<(), Error> {
    let spawner = flight.spawner()?;
    if spawner.timer(Instant::now()).is_none() {
        return Err(Error::no_runtime());
    }
    let runtime = spawner.id();
    if flight.watched_changes().keep(runtime) {
        let keeper = Keeper {
            flight: Arc::downgrade(flight),
            runtime,
        };
        spawner.spawn(tend(keeper, flight.changes()));
    }
    Ok(())
}

/// A suspended machine's timers stand still, so the wall clock is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Holds the cache weakly, and so ends with its last handle: the change it then waits for cannot come any more.
async fn tend(keeper: Keeper, mut changes: watch::Receiver<()>) {
    loop {
        let due = {
            let Some(flight) = keeper.flight.upgrade() else {
                return;
            };
            // A landing since the last look, this one's own too, is one look too many, not one too few.
            // Waits, so as to take over from a runtime that is not driven. What comes of it is for `due` to say.
            let _ = flight.wait(Need::Fresh).await;
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
struct Keeper {
    flight: Weak<SingleFlight>,
    runtime: RuntimeId,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(flight) = self.flight.upgrade() {
            flight.watched_changes().let_go(self.runtime);
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use tokio::{runtime::Builder, task::yield_now};

    use crate::{TokenCache, token::FixedToken};

    /// Programs with a runtime for each call have them by the thousand.
    ///
    /// Promise: F14
    #[test]
    fn a_runtime_that_is_gone_is_not_remembered() {
        let cache = TokenCache::new(FixedToken::new("t").unwrap());
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            cache.keep_warm().unwrap();
            yield_now().await;
        });
        let id = runtime.handle().id();
        assert!(!cache.flight.watched_changes().keep(id), "it is there");
        drop(runtime);
        assert!(cache.flight.watched_changes().keep(id), "and gone");
    }
}
