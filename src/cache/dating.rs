//! The stages of a token that has just come, as points in time.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    need::Held,
    schedule::{LONGEST_LIFETIME, Schedule},
};
use crate::{error::Error, token::Token, util::clock::Moment};

impl Schedule {
    /// Dates the token, from before it was asked for. One that is over already is an error: held as valid it would be
    /// sent, and held as expired it would be requested again at once.
    ///
    /// `current` is the token that is held already, which the server may have given again.
    pub(super) fn hold(
        &self,
        token: Token,
        current: Option<&Held>,
        started: Moment,
        now: Moment,
    ) -> Result<Held, Error> {
        let took = now.steady().saturating_duration_since(started.steady());
        let again = current.filter(|held| held.token.is_same_credential(&token));
        // A lifetime of nothing says as little as none, but for a token that is known to live.
        let lifetime = token.lifetime().filter(|lifetime| !lifetime.is_zero());
        let held = match again {
            Some(held) if held.is_dated => self.hold_again(held, token, lifetime, started, now),
            _ => {
                let is_dated = lifetime.is_some();
                let lifetime = token.lifetime_or(self.default_lifetime);
                let stages = self.stages(lifetime, token.refresh_in(), took, fastrand::f64());
                let held = Held {
                    landing: LANDINGS.fetch_add(1, Ordering::Relaxed),
                    token,
                    is_dated,
                    young_above_ms: in_millis(
                        stages.unusable_after.saturating_sub(stages.renewable_after),
                    ),
                    refresh_at: started.after(stages.refresh_after),
                    unusable_at: started.after(stages.unusable_after),
                    ends_at: started.after(stages.ends_after),
                };
                if held.ends_at.is_over(now) {
                    return Err(Error::expired_on_arrival(lifetime, took));
                }
                held
            }
        };
        // A server that gives the rejected token again has given no other one: it stays the token it was.
        let generation = again.map_or(held.landing, |held| held.token.generation());
        Ok(Held {
            token: held
                .token
                .with_generation(generation)
                .with_end(held.ends_at),
            ..held
        })
    }

    /// The same token again, as from servers that repeat it until it ends. What is known of its end is not forgotten for what
    /// they say in whole seconds. No request waits for another in its last stretch, for there is none to be had; and they are asked
    /// no more than once a second.
    fn hold_again(
        &self,
        known: &Held,
        token: Token,
        lifetime: Option<Duration>,
        started: Moment,
        now: Moment,
    ) -> Held {
        let said = match lifetime {
            Some(lifetime) => started.after(lifetime.min(LONGEST_LIFETIME)),
            // Less than a second is left, by the server's clock. By ours it may be over already.
            None if known.ends_at.is_over(now) => now.after(LAST_STRETCH),
            None => known.ends_at,
        };
        let ends_at = said.later(known.ends_at);
        let stages = self.stages(
            ends_at.left(now),
            token.refresh_in(),
            Duration::ZERO,
            fastrand::f64(),
        );
        Held {
            landing: LANDINGS.fetch_add(1, Ordering::Relaxed),
            token,
            is_dated: true,
            young_above_ms: in_millis(
                stages
                    .ends_after
                    .saturating_sub(stages.renewable_after.max(SHORTEST_REPEAT)),
            ),
            refresh_at: now.after(stages.refresh_after.max(SHORTEST_REPEAT)),
            unusable_at: ends_at,
            ends_at,
        }
    }
}

/// Numbers the landings of the process, so that no token of one cache is taken for one of another.
static LANDINGS: AtomicU64 = AtomicU64::new(1);

/// Up to seven weeks, which is as good as more.
fn in_millis(duration: Duration) -> u32 {
    duration.as_millis().try_into().unwrap_or(u32::MAX)
}

/// A server that repeats a token is asked again no earlier.
const SHORTEST_REPEAT: Duration = Duration::from_secs(1);

/// For how long a token is used that should be over, and that the server gave once more just now, with no whole second left.
const LAST_STRETCH: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::need::Need;

    const SECOND: Duration = Duration::from_secs(1);

    /// The token request took a twentieth of the lifetime.
    ///
    /// Promise: L7
    #[test]
    fn every_stage_is_counted_from_before_the_token_request() {
        let started = Moment::now();
        let token = Token::new("t").unwrap().with_lifetime(SECOND * 100);
        let arrived = started.after(SECOND * 5);
        let held = Schedule::default().hold(token, None, started, arrived);
        let held = held.unwrap();
        assert!(held.refresh_at.left(started) >= SECOND * 75);
        assert!(held.refresh_at.left(started) <= SECOND * 80);
        assert_eq!(held.unusable_at.left(started), SECOND * 90);
        assert_eq!(held.ends_at.left(started), SECOND * 100);
    }

    /// Promise: L2
    #[test]
    fn each_token_has_a_refresh_point_of_its_own() {
        let started = Moment::now();
        let mut points: Vec<_> = (0..20)
            .map(|_| {
                let token = Token::new("t").unwrap().with_lifetime(SECOND * 100);
                let held = Schedule::default().hold(token, None, started, started);
                held.unwrap().refresh_at.left(started)
            })
            .collect();
        points.sort();
        points.dedup();
        assert!(points.len() > 1, "{points:?}");
    }

    /// A held token, and the same one given again so long after it was asked for first.
    fn given_again(first: Token, after: Duration, again: Token) -> (Held, Held, Moment) {
        let started = Moment::now();
        let schedule = Schedule::default();
        let first = schedule.hold(first, None, started, started).unwrap();
        let now = started.after(after);
        let again = schedule.hold(again, Some(&first), now, now).unwrap();
        (first, again, now)
    }

    /// Its first life is a guess, so it says nothing of the next.
    ///
    /// Promise: L17
    #[test]
    fn a_token_of_unknown_life_that_comes_again_has_its_default_lifetime_again() {
        let token = Token::new("t").unwrap();
        let (first, again, now) = given_again(token.clone(), SECOND * 100, token);
        assert_eq!(again.ends_at.left(now), SECOND * 300);
        assert_eq!(again.token.generation(), first.token.generation());
        assert!(again.landing > first.landing);
    }

    /// Promise: L9, L14
    #[test]
    fn a_token_that_comes_again_ends_no_earlier_than_was_said_before() {
        let token = Token::new("t").unwrap();
        for (says, left) in [(49, 50), (60, 60), (0, 50)] {
            let first = token.clone().with_lifetime(SECOND * 100);
            let again = token.clone().with_lifetime(SECOND * says);
            let (first, again, now) = given_again(first, SECOND * 50, again);
            assert_eq!(again.ends_at.left(now), SECOND * left, "{says}");
            assert_eq!(again.unusable_at.left(now), SECOND * left, "{says}");
            assert_eq!(again.token.generation(), first.token.generation());
        }
    }

    /// Promise: L14
    #[test]
    fn a_token_that_comes_again_when_it_should_be_over_is_used_for_a_last_stretch() {
        let left = |after| {
            let first = Token::new("t").unwrap().with_lifetime(SECOND * 100);
            let again = first.clone().with_lifetime(Duration::ZERO);
            let (_, again, now) = given_again(first, after, again);
            again.ends_at.left(now)
        };
        assert_eq!(left(SECOND * 100), LAST_STRETCH);
        assert_eq!(left(SECOND * 999 / 10), SECOND / 10);
    }

    /// Promise: L9, L14
    #[test]
    fn a_token_that_comes_again_is_asked_for_no_more_than_once_a_second() {
        let first = Token::new("t").unwrap().with_lifetime(SECOND * 100);
        let again = first.clone().with_lifetime(Duration::ZERO);
        let (_, again, now) = given_again(first, SECOND * 989 / 10, again);
        assert_eq!(again.ends_at.left(now), SECOND * 11 / 10);
        assert_eq!(again.refresh_at.left(now), SECOND);
        // Nor by a request that needs more than is left.
        let lasting = Need::Lasting(SECOND * 10);
        assert!(again.meets(lasting, now.after(SECOND * 9 / 10)));
        assert!(!again.meets(lasting, now.after(SECOND)));
    }
}
