//! What a store does, as arithmetic: the reference for the scripts of Redis, and the whole of the file's.
//!
//! Times are the store's own, in milliseconds since 1970. No process's clock counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is stored for one name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Shelf {
    pub(super) value: Option<Value>,
    pub(super) lease: Option<Lease>,
    pub(super) failure: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Value {
    pub(super) generation: u64,
    pub(super) sealed: Vec<u8>,
    pub(super) ends_at: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Lease {
    pub(super) owner: String,
    pub(super) ends_at: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) sealed: Vec<u8>,
    /// How many token requests failed in a row, each soon after the one before.
    pub(super) in_a_row: u64,
    /// From how many on others are told.
    pub(super) told_from: u64,
    pub(super) ends_at: u64,
}

/// A process asks for a token that is newer than a generation, or for the lease.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// The newest generation that is of no use. 0: any token will do.
    pub(super) above: u64,
    /// Random, new for each round.
    pub(super) owner: String,
    pub(super) lease: Duration,
}

/// What a store answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// A token, and the store's time.
    Value {
        generation: u64,
        sealed: Vec<u8>,
        now: u64,
    },
    /// Another process asks the token endpoint.
    Held,
    /// A token request failed a moment ago. It is told this long.
    Failed { sealed: Vec<u8>, left: Duration },
    /// The lease: this process asks the token endpoint, and stores its token under this generation.
    Taken { generation: u64, now: u64 },
}

/// How a token request under a lease ended.
#[derive(Clone, Debug)]
pub(super) enum Put {
    Value {
        generation: u64,
        sealed: Vec<u8>,
        ends_at: u64,
    },
    Failure {
        sealed: Vec<u8>,
        told_from: u64,
        lasts: Duration,
    },
    /// Nothing that concerns others.
    Nothing,
}

impl Shelf {
    /// One question, one answer, one round trip: a token, what others do, or the lease. `older` are the shelves of names by older
    /// keys, which are read and not written.
    pub(super) fn ask(&mut self, ask: &Ask, older: &[Self], now: u64) -> Answer {
        let newest = older
            .iter()
            .rev()
            .chain([&*self])
            .filter_map(|shelf| shelf.value_at(now))
            .max_by_key(|value| value.generation)
            .map(|value| (value.generation, value.sealed.clone()));
        let last = match newest {
            Some((generation, sealed)) if generation > ask.above => {
                return Answer::Value {
                    generation,
                    sealed,
                    now,
                };
            }
            newest => newest.map_or(0, |(generation, _)| generation),
        };
        // A request under way goes before the failure of the one before.
        // Its own lease is one whose answer was lost.
        let is_held = |lease: &Lease| lease.ends_at > now && lease.owner != ask.owner;
        if self.lease.as_ref().is_some_and(is_held) {
            return Answer::Held;
        }
        if let Some(failure) = &self.failure
            && failure.ends_at > now
            && failure.in_a_row >= failure.told_from
        {
            return Answer::Failed {
                sealed: failure.sealed.clone(),
                left: Duration::from_millis(failure.ends_at - now),
            };
        }
        self.lease = Some(Lease {
            owner: ask.owner.clone(),
            ends_at: now + in_millis(ask.lease),
        });
        Answer::Taken {
            generation: now.max(last + 1),
            now,
        }
    }

    /// Makes the lease last from now on, if it is still held. Tells whether it is.
    pub(super) fn renew(&mut self, owner: &str, lease: Duration, now: u64) -> bool {
        match &mut self.lease {
            Some(held) if held.owner == owner && held.ends_at > now => {
                held.ends_at = now + in_millis(lease);
                true
            }
            _ => false,
        }
    }

    /// Stores how a token request ended and gives the lease back, if it is still this process's.
    ///
    /// An older token never overwrites a newer one: a holder that was paused, and whose lease is over, comes with a generation below
    /// that of the process that took the next.
    pub(super) fn put(&mut self, owner: &str, put: &Put, now: u64) {
        let is_ours = self
            .lease
            .as_ref()
            .is_some_and(|lease| lease.owner == owner && lease.ends_at > now);
        if is_ours {
            self.lease = None;
        }
        match put {
            Put::Value {
                generation,
                sealed,
                ends_at,
            } => {
                let is_newer = |value: &Value| *generation > value.generation;
                if self.value_at(now).is_none_or(is_newer) && *ends_at > now {
                    self.value = Some(Value {
                        generation: *generation,
                        sealed: sealed.clone(),
                        ends_at: *ends_at,
                    });
                    self.failure = None;
                }
            }
            Put::Failure {
                sealed,
                told_from,
                lasts,
            } if is_ours => {
                let last = self.failure.as_ref().filter(|last| last.ends_at > now);
                self.failure = Some(Failure {
                    sealed: sealed.clone(),
                    in_a_row: last.map_or(1, |last| last.in_a_row + 1),
                    told_from: *told_from,
                    ends_at: now + in_millis(*lasts),
                });
            }
            Put::Failure { .. } | Put::Nothing => {}
        }
    }

    /// A generation is a time. One from far ahead was changed, or the clock was set back far: it is not there.
    fn value_at(&self, now: u64) -> Option<&Value> {
        let value = self.value.as_ref()?;
        (value.ends_at > now && value.generation <= now + FAR_AHEAD).then_some(value)
    }
}

/// An hour.
pub(super) const FAR_AHEAD: u64 = 60 * 60 * 1000;

pub(super) fn in_millis(duration: Duration) -> u64 {
    // Beyond this, sums would not fit what Lua counts with.
    const MOST: u64 = 1 << 50;
    duration
        .as_millis()
        .try_into()
        .map_or(MOST, |millis: u64| millis.min(MOST))
}
