//! What failed last, and until when no token request is sent.

use std::time::Duration;

use super::{rt::Instant, schedule::Schedule};
use crate::error::{Error, ErrorKind};

/// The last token requests failed; until `until` none is sent. Boxed, like what is known of rejections, for caches by
/// the thousand that have none.
pub(super) struct Failure {
    /// The cause that callers are told.
    error: Error,
    in_a_row: u32,
    pub(super) until: Instant,
    /// What those are told who waited for a request that brought no answer, where an earlier one is the cause.
    stands_for_another: bool,
}

impl Failure {
    pub(super) fn new(
        error: Error,
        last: Option<&Self>,
        schedule: &Schedule,
        now: Instant,
    ) -> Self {
        let last = last.filter(|last| now < last.until + schedule.remembered());
        if let Some(last) = last
            && !last.error.is_transient()
            && error.is_unanswered()
        {
            // No answer is no news: some servers delay what they have to say to a wrong secret. What they said last stays
            // the cause, and its backoff goes on where it was.
            let delay = schedule.backoff(false, last.in_a_row, None, fastrand::f64());
            return Self {
                error: last.error.clone(),
                in_a_row: last.in_a_row,
                until: now + delay,
                stands_for_another: true,
            };
        }
        let in_a_row = last
            .filter(|last| last.error.is_transient() == error.is_transient())
            .map_or(1, |last| last.in_a_row.saturating_add(1));
        let delay = match (error.kind(), in_a_row) {
            // A source that panicked says nothing about the server: the next call starts anew. But only once, so that one
            // that always panics does not spin.
            (ErrorKind::Interrupted, 1) => Duration::ZERO,
            _ => schedule.backoff(
                error.is_transient(),
                in_a_row,
                error.retry_after(),
                fastrand::f64(),
            ),
        };
        Self {
            error,
            in_a_row,
            until: now + delay,
            stands_for_another: false,
        }
    }

    /// The error for those who waited for this request.
    pub(super) fn told(&self, now: Instant) -> Error {
        match self.stands_for_another {
            true => Error::backing_off(&self.error, self.until.saturating_duration_since(now)),
            false => self.error.clone(),
        }
    }

    pub(super) fn is_transient(&self) -> bool {
        self.error.is_transient()
    }

    /// The error for a caller who comes at `now`, if it is too early to ask again.
    pub(super) fn error_at(&self, now: Instant) -> Option<Error> {
        (now < self.until).then(|| Error::backing_off(&self.error, self.until - now))
    }

    /// The server's last definite answer, if it is remembered at `now`: the likely cause of whatever else goes wrong.
    pub(super) fn definite_at(&self, now: Instant, schedule: &Schedule) -> Option<Error> {
        let is_remembered = now < self.until + schedule.remembered();
        let left = self.until.saturating_duration_since(now);
        (is_remembered && !self.is_transient()).then(|| Error::backing_off(&self.error, left))
    }
}
