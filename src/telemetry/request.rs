//! One token request, as operators see it.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, Ordering},
};

use super::{
    events::{self, Span},
    who::Who,
};
use crate::error::{Error, Requester};

/// A token request under way.
#[derive(Debug)]
pub(crate) struct RequestReport {
    span: Span,
    who: Who,
    pub(super) reason: &'static str,
    attempts: AtomicU32,
    /// Set by the source, once it knows.
    requester: Arc<OnceLock<Requester>>,
}

impl RequestReport {
    pub(super) fn new(who: Who, reason: &'static str, requester: Arc<OnceLock<Requester>>) -> Self {
        Self {
            span: Span::new(&who, reason),
            who,
            reason,
            attempts: AtomicU32::new(1),
            requester,
        }
    }

    /// Polls the source in the span, so that the spans of its transport are inside.
    pub(crate) fn within<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.span.within(poll)
    }

    /// The first attempt failed, and another follows.
    pub(crate) fn another_attempt(&self, error: &Error) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        events::attempts_again(&self.who(), error);
    }

    /// A caller took over: what comes of it is of no interest.
    pub(crate) fn given_up(&self) {
        self.over(&self.who(), "given_up", None);
    }

    pub(super) fn over(&self, who: &Who, outcome: &'static str, error: Option<&Error>) {
        let attempts = self.attempts.load(Ordering::Relaxed);
        self.span.over(who, attempts, outcome, error);
    }

    pub(super) fn who(&self) -> Who {
        let known = self.requester.get().or(self.who.requester.as_ref());
        Who {
            requester: known.cloned(),
            ..self.who.clone()
        }
    }
}
