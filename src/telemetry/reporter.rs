//! One cache, as operators see it: what is news of it.

use std::{
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    events::{self, Failed},
    metrics::{self, InState},
    request::RequestReport,
    who::{Names, Who},
};
use crate::{
    error::{Error, Requester},
    token::{Reason, Token, TokenRequest},
    util::clock::{Moment, steady},
};

/// Whether anybody can hear.
const IS_HEARD: bool = cfg!(any(feature = "tracing", feature = "metrics"));

/// Tells of one cache: what happens each time at DEBUG, a change of its state once.
///
/// Neither a subscriber nor a recorder is called under its lock: they are the user's.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    names: Option<Box<Names>>,
    is_keyed: AtomicBool,
    /// From the first token request on.
    seen: Mutex<Option<Box<Seen>>>,
}

/// What was told last.
#[derive(Debug, Default)]
struct Seen {
    requester: Option<Requester>,
    token: Option<SeenToken>,
    was_forgotten: bool,
    failing: Option<Failing>,
    rejects_fresh_tokens: bool,
    /// The newest token whose rejection was told.
    rejected: u64,
    state: InState,
}

#[derive(Clone, Copy, Debug)]
struct SeenToken {
    generation: u64,
    since: Instant,
    ends_at: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    is_transient: bool,
    since: Instant,
}

/// How a token request ended.
#[derive(Debug)]
pub(crate) enum Landed<'a> {
    Token {
        token: &'a Token,
        ends_at: Moment,
    },
    Failed {
        error: &'a Error,
        /// No token request is made until then.
        until: Instant,
    },
    Cut(&'a Error),
}

impl Reporter {
    pub(crate) fn new(names: Names) -> Self {
        let is_named = names.name.is_some() || names.key.is_some();
        Self {
            names: is_named.then(|| Box::new(names)),
            ..Self::default()
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.names.as_ref()?.name.as_deref()
    }

    /// Its cache is one of the many of a `Keyed`.
    #[cfg(feature = "keyed")]
    pub(crate) fn is_one_of_many(&self) {
        self.is_keyed.store(true, Ordering::Relaxed);
    }

    /// A token request begins.
    pub(crate) fn request(&self, request: &TokenRequest) -> RequestReport {
        let reason = match request.reason() {
            Reason::Refresh => "refresh",
            Reason::Rejected => "rejected",
            Reason::Cold => match self.seen().as_deref() {
                Some(seen) if seen.was_forgotten => "invalidated",
                Some(seen) if seen.token.is_some() => "expired",
                _ => "first",
            },
        };
        RequestReport::new(self.who(), reason, request.requester().clone())
    }

    /// A token request ended.
    pub(crate) fn landed(&self, request: &RequestReport, landed: Landed<'_>, took: Duration) {
        if !IS_HEARD {
            return;
        }
        let (who, reason) = (request.who(), request.reason);
        metrics::describe();
        let now = Moment::now();
        match landed {
            Landed::Token { token, ends_at } => {
                let failed_since = self.has_token(&who, token.generation(), ends_at, now);
                request.over(&who, "token", None);
                request.within(|| {
                    events::requested(&who, token, reason, took);
                    if let Some(since) = failed_since {
                        events::succeeds_again(&who, now.steady() - since);
                    }
                });
                metrics::token_request(&who, reason, took, None);
                metrics::expiry(&who, Some(ends_at.wall()));
                metrics::backoff(&who, None);
                self.count(&who, "ok");
            }
            Landed::Failed { error, until } => {
                let (is_news, usable_for) = self.fails(&who, error, now);
                let failed = Failed {
                    error,
                    reason,
                    took,
                    retry_in: until.saturating_duration_since(now.steady()),
                    usable_for,
                };
                request.over(&who, "failed", Some(error));
                request.within(|| match is_news {
                    true => events::fails(&who, &failed),
                    false => events::fails_still(&who, &failed),
                });
                metrics::token_request(&who, reason, took, Some(error));
                metrics::backoff(&who, Some(now.after(failed.retry_in).wall()));
                self.count(&who, "failing");
            }
            Landed::Cut(error) => {
                request.over(&who, "cut_off", Some(error));
                request.within(|| events::cut_off(&who, error, took));
                metrics::token_request(&who, reason, took, Some(error));
            }
        }
    }

    /// Notes a new token. Since when token requests failed, if they did.
    fn has_token(
        &self,
        who: &Who,
        generation: u64,
        ends_at: Moment,
        now: Moment,
    ) -> Option<Instant> {
        let mut seen = self.seen();
        let seen = seen.get_or_insert_default();
        seen.requester.clone_from(&who.requester);
        seen.was_forgotten = false;
        // A source may give the same token again.
        let known = seen.token.filter(|known| known.generation == generation);
        seen.token = Some(SeenToken {
            generation,
            since: known.map_or(now.steady(), |known| known.since),
            ends_at,
        });
        Some(seen.failing.take()?.since)
    }

    /// Notes a failure: whether it is news, and how long the current token can still be sent.
    fn fails(&self, who: &Who, error: &Error, now: Moment) -> (bool, Duration) {
        let mut seen = self.seen();
        let seen = seen.get_or_insert_default();
        seen.requester.clone_from(&who.requester);
        let is_transient = error.is_transient();
        let is_news = seen
            .failing
            .is_none_or(|failing| failing.is_transient != is_transient);
        seen.failing = Some(Failing {
            is_transient,
            since: seen.failing.map_or(now.steady(), |failing| failing.since),
        });
        let usable_for = seen.token.map(|token| token.ends_at.left(now));
        (is_news, usable_for.unwrap_or_default())
    }

    /// Counted even if it is in that state already, for a recorder that was installed meanwhile.
    fn count(&self, who: &Who, state: &'static str) {
        let counted = InState::count(who, state);
        let last = {
            let mut seen = self.seen();
            mem::replace(&mut seen.get_or_insert_default().state, counted)
        };
        drop(last);
    }

    /// The current token is forgotten.
    pub(crate) fn forgot(&self) {
        let had_one = self.seen().as_deref_mut().is_some_and(|seen| {
            seen.was_forgotten = true;
            seen.token.take().is_some()
        });
        if had_one {
            metrics::expiry(&self.who(), None);
        }
    }

    /// A request begins to wait for a token.
    pub(crate) fn waiting(&self) -> Waiting<'_> {
        Waiting {
            reporter: self,
            since: IS_HEARD.then(steady),
        }
    }

    /// The API rejected the token of this generation.
    pub(crate) fn rejected(&self, generation: u64, will_retry: bool) {
        if !IS_HEARD {
            return;
        }
        let (age, is_news) = {
            let mut seen = self.seen();
            let seen = seen.get_or_insert_default();
            let token = seen.token.filter(|token| token.generation == generation);
            let is_news = generation > seen.rejected;
            seen.rejected = seen.rejected.max(generation);
            (
                token.map(|token| steady().saturating_duration_since(token.since)),
                is_news,
            )
        };
        let who = self.who();
        events::rejected(&who, will_retry, age);
        if let Some(age) = age.filter(|_| is_news) {
            metrics::rejected(&who, age);
        }
    }

    /// A rejected request is not retried. `reason` is its stable name.
    pub(crate) fn not_retried(&self, reason: &'static str, error: Option<&Error>) {
        if IS_HEARD {
            let who = self.who();
            events::not_retried(&who, reason, error);
            metrics::rejection(&who, reason);
        }
    }

    /// A rejected request was sent again. `is_rejected`: that token too; `None` if there was no answer.
    pub(crate) fn retried(&self, is_rejected: Option<bool>) {
        if IS_HEARD {
            let outcome = match is_rejected {
                Some(false) => "accepted",
                Some(true) => "rejected_again",
                None => "retry_failed",
            };
            let who = self.who();
            events::retried(&who, outcome);
            metrics::rejection(&who, outcome);
        }
    }

    /// Whether a fresh token helped a rejected request.
    pub(crate) fn fresh_token_helped(&self, it_did: bool) {
        if !IS_HEARD {
            return;
        }
        let is_news = {
            let mut seen = self.seen();
            let seen = seen.get_or_insert_default();
            mem::replace(&mut seen.rejects_fresh_tokens, !it_did) == it_did
        };
        match (is_news, it_did) {
            (true, true) => events::accepts_fresh_tokens(&self.who()),
            (true, false) => events::rejects_fresh_tokens(&self.who()),
            (false, _) => {}
        }
    }

    fn who(&self) -> Who {
        let requester = self.seen().as_ref().and_then(|seen| seen.requester.clone());
        Who {
            names: self.names.as_deref().cloned().unwrap_or_default(),
            is_keyed: self.is_keyed.load(Ordering::Relaxed),
            requester,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Option<Box<Seen>>> {
        // No user code runs under the lock, so a poisoned one was not left half-changed.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for a token. One that is dropped was given up by its caller, at a timeout for one.
pub(crate) struct Waiting<'a> {
    reporter: &'a Reporter,
    /// `None` once it is told.
    since: Option<Instant>,
}

impl Waiting<'_> {
    pub(crate) fn over<T>(mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        self.tell(outcome.as_ref().err().map(|error| error.kind().name()));
        outcome
    }

    fn tell(&mut self, error_type: Option<&'static str>) {
        if let Some(since) = self.since.take() {
            let took = steady().saturating_duration_since(since);
            metrics::waited(&self.reporter.who(), took, error_type);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.tell(Some("dropped"));
    }
}
