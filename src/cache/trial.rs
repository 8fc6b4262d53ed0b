//! A refreshed token that no API has accepted yet.

use std::{sync::Arc, time::Duration};

use super::need::{Held, Need};
use crate::util::clock::Moment;

/// A refreshed token that no API has accepted yet, and the one before it, which is still good. Some APIs learn of new tokens late.
/// Where such a one is rejected, the one before it is used for [`TRY_AGAIN_AFTER`], and then the new one is tried again.
/// After [`KNOWN_AFTER`] a rejection means that the new token was revoked.
pub(super) struct Trial {
    previous: Arc<Held>,
    next: Arc<Held>,
    ends_at: Moment,
}

impl Trial {
    /// A trial of `next`, if the token before it is still good. `rejected` is the newest token that was rejected.
    pub(super) fn begin(
        last: Option<Box<Self>>,
        current: Option<Arc<Held>>,
        next: &Arc<Held>,
        rejected: u64,
        now: Moment,
    ) -> Option<Self> {
        // One that was on trial itself stands behind the one before it.
        let previous = last.map(|trial| trial.previous).or(current)?;
        let generation = previous.token.generation();
        let is_good = generation != next.token.generation()
            && generation > rejected
            && !previous.unusable_at.is_over(now);
        is_good.then(|| Self {
            previous,
            next: Arc::clone(next),
            ends_at: now.after(KNOWN_AFTER),
        })
    }

    pub(super) fn is_of_previous(&self, generation: u64) -> bool {
        self.previous.token.generation() == generation
    }

    pub(super) fn is_of_next(&self, generation: u64) -> bool {
        self.next.token.generation() == generation
    }

    pub(super) fn into_next(self) -> Arc<Held> {
        self.next
    }

    /// The other of the two tokens, if it meets the need: the one before, where the new one was just rejected; the new one,
    /// where the one before is due or was rejected too.
    pub(super) fn other_than(
        &self,
        current: &Held,
        need: Need<'_>,
        now: Moment,
    ) -> Option<Arc<Held>> {
        let held = if self.is_of_previous(current.token.generation()) {
            Arc::clone(&self.next)
        } else {
            let Need::Other { than, .. } = need else {
                return None;
            };
            let is_late = self.is_of_next(than) && !self.ends_at.is_over(now);
            if !is_late || self.previous.unusable_at.is_over(now) {
                return None;
            }
            Arc::new(Held {
                refresh_at: now.after(TRY_AGAIN_AFTER),
                ..Held::clone(&self.previous)
            })
        };
        held.meets(need, now).then_some(held)
    }
}

/// By then each API knows a new token: those that are late are so by seconds.
const KNOWN_AFTER: Duration = Duration::from_secs(30);

/// A token that the API does not know yet is tried again after this.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
