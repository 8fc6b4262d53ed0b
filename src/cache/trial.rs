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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::{Route, Schedule},
        token::{Token, challenge::Challenges},
    };

    const SECOND: Duration = Duration::from_secs(1);

    /// A token of 300 s, of which the last 30 s are its hard margin.
    fn held(token: &str, from: Moment) -> Arc<Held> {
        let token = Token::new(token).unwrap().with_lifetime(SECOND * 300);
        let held = Schedule::default().hold(token, None, from, from);
        Arc::new(held.unwrap())
    }

    fn begin(previous: &Arc<Held>, next: &Arc<Held>, rejected: u64, now: Moment) -> Option<Trial> {
        Trial::begin(None, Some(Arc::clone(previous)), next, rejected, now)
    }

    /// The token that takes the place of a rejected one.
    fn instead_of(rejected: &Held, trial: &Trial, current: &Held, now: Moment) -> Option<u64> {
        let need = Need::Other {
            than: rejected.token.generation(),
            route: Route::UNSEEN,
            is_retried: true,
            challenges: &Challenges::default(),
        };
        let other = trial.other_than(current, need, now);
        other.map(|held| held.token.generation())
    }

    /// Promise: R16
    #[test]
    fn the_token_before_a_trial_is_one_that_is_good_and_another() {
        let now = Moment::now();
        let (first, second) = (held("t1", now), held("t2", now));
        let generation = first.token.generation();
        assert!(begin(&first, &second, generation - 1, now).is_some());
        assert!(
            begin(&first, &second, generation, now).is_none(),
            "it was rejected"
        );
        assert!(begin(&first, &first, 0, now).is_none(), "it is the same");
        let margin = now.after(SECOND * 270);
        assert!(begin(&first, &second, 0, margin).is_none(), "it is due");
    }

    /// The second is refreshed before any API accepted it.
    ///
    /// Promise: R16
    #[test]
    fn behind_a_token_that_was_on_trial_stands_the_one_that_was_accepted() {
        let now = Moment::now();
        let [first, second, third] = ["t1", "t2", "t3"].map(|token| held(token, now));
        let trial = begin(&first, &second, 0, now).map(Box::new);
        let trial = Trial::begin(trial, Some(second), &third, 0, now).unwrap();
        let first = first.token.generation();
        assert_eq!(instead_of(&third, &trial, &third, now), Some(first));
    }

    /// Promise: R16
    #[test]
    fn the_token_before_is_not_gone_back_to_in_its_hard_margin() {
        let born = Moment::now();
        let now = born.after(SECOND * 260);
        let (first, second) = (held("t1", born), held("t2", now));
        let trial = begin(&first, &second, 0, now).unwrap();
        let after = |seconds| instead_of(&second, &trial, &second, born.after(SECOND * seconds));
        assert_eq!(after(269), Some(first.token.generation()));
        assert_eq!(after(270), None);
    }

    /// Promise: R16
    #[test]
    fn the_new_token_does_not_take_its_own_place_when_it_was_rejected() {
        let now = Moment::now();
        let (first, second) = (held("t1", now), held("t2", now));
        let trial = begin(&first, &second, 0, now).unwrap();
        assert_eq!(instead_of(&second, &trial, &first, now), None);
        let next = second.token.generation();
        assert_eq!(instead_of(&first, &trial, &first, now), Some(next));
    }
}
