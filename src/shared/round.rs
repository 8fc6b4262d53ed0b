//! The protocol of one process that needs a token, step by step. It knows neither Redis nor files, neither tasks nor clocks.
//!
//! ```text
//!         ┌─────────────── an answer that is of no use ───────────────┐
//!         ▼                                                           │
//!       Ask ──▶ a token ─────────────────────────────────────────▶ Use it
//!         │──▶ a failure of a moment ago ────────────────────────▶ Fail
//!         │──▶ the lease ──▶ Request, and store how it ended
//!         │──▶ held by another ──▶ Pause ──▶ Ask … until patience ends ──▶ Request alone
//!         └──▶ unreachable ─────────────────────────────────────▶ Request alone
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::entry::Opened;
use crate::{error::Error, token::Token};

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Step {
    /// Ask for a token above this generation, or for the lease.
    Ask { above: u64 },
    /// Another process is at it: wait this long, then ask again.
    Pause(Duration),
    /// Request a token, and store how that ended.
    Request(Lease),
    /// Request a token, and store nothing.
    RequestAlone,
    /// Use this token.
    Use(Opened),
    /// Another process's token request failed a moment ago.
    Fail(Error),
}

/// What came of a step.
#[derive(Debug)]
pub(super) enum Event {
    Value(Opened),
    /// A value that is not to be used: changed, foreign, or over.
    Unreadable {
        generation: u64,
    },
    Held,
    Failed(Error),
    Taken(Lease),
    Unreachable,
    Paused,
}

/// The right to request a token for the fleet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    /// The token's generation.
    pub(super) generation: u64,
    /// When it was taken, by the store's clock.
    pub(super) taken_at: u64,
}

/// One process's way to a token.
#[derive(Debug)]
pub(super) struct Round {
    /// The newest generation that is of no use.
    above: u64,
    /// A token that is of no use, whatever its generation.
    rejected: Option<Token>,
    /// When the token to replace ends, if the store does not know it: an older one in the store is of no use.
    ends_at: Option<Instant>,
    /// When it stops to wait for others.
    patience: Instant,
    pauses: u32,
}

impl Round {
    /// Any token will do.
    pub(super) fn for_any(patience: Instant) -> Self {
        Self {
            above: 0,
            rejected: None,
            ends_at: None,
            patience,
            pauses: 0,
        }
    }

    /// One that is newer than this generation.
    pub(super) fn above(self, generation: u64) -> Self {
        Self {
            above: generation,
            ..self
        }
    }

    /// Another one than this, which was rejected.
    pub(super) fn other_than(self, rejected: Token) -> Self {
        Self {
            rejected: Some(rejected),
            ..self
        }
    }

    /// One that ends after this.
    pub(super) fn outliving(self, ends_at: Instant) -> Self {
        Self {
            ends_at: Some(ends_at),
            ..self
        }
    }

    pub(super) fn begin(&self) -> Step {
        Step::Ask { above: self.above }
    }

    pub(super) fn next(&mut self, event: Event, now: Instant) -> Step {
        match event {
            Event::Value(opened) if self.accepts(&opened, now) => Step::Use(opened),
            Event::Value(Opened { generation, .. }) | Event::Unreadable { generation } => {
                // Each question asks for more than the one before, and patience bounds them.
                if generation <= self.above || now >= self.patience {
                    return Step::RequestAlone;
                }
                self.above = generation;
                Step::Ask { above: self.above }
            }
            Event::Failed(error) => Step::Fail(error),
            Event::Taken(lease) => Step::Request(lease),
            Event::Unreachable => Step::RequestAlone,
            Event::Held if now >= self.patience => Step::RequestAlone,
            Event::Held => {
                self.pauses += 1;
                let pause = SHORTEST_PAUSE * self.pauses.min(MOST_PAUSES);
                // Those who wait do not come all at once.
                let pause = pause.mul_f64(0.5 + fastrand::f64());
                Step::Pause(pause.min(self.patience - now))
            }
            Event::Paused => Step::Ask { above: self.above },
        }
    }

    fn accepts(&self, opened: &Opened, now: Instant) -> bool {
        let is_rejected = |rejected: &Token| opened.token.is_same_credential(rejected);
        let is_older = |ends_at: Instant| now + opened.left <= ends_at;
        opened.is_worth_having()
            && !self.rejected.as_ref().is_some_and(is_rejected)
            && !self.ends_at.is_some_and(is_older)
    }
}

/// Each pause is longer than the one before by this, up to a quarter of a second: most token requests are over soon.
const SHORTEST_PAUSE: Duration = Duration::from_millis(25);
const MOST_PAUSES: u32 = 10;
