//! Every metric: its name, its unit, its labels. The guide `docs::telemetry` has a table of them, which a test compares with what
//! is exported.
//!
//! There is no convention for tokens. These follow OpenTelemetry's general rules: base units, `error.type` only where something
//! failed, a histogram's count instead of a counter beside it. Nothing is counted for a request that finds a valid token and is
//! accepted: it would have to load a recorder each time.
//!
//! Handles are got anew for each value, so a recorder that is installed late hears all that comes after. So are descriptions, with
//! each token request: exporters take the unit into the name.

use std::time::{Duration, SystemTime};

use super::who::Who;
#[cfg(feature = "metrics")]
use super::who::error_type;
use crate::error::Error;

#[cfg(feature = "metrics")]
mod names {
    pub(super) const TOKEN_REQUEST_DURATION: &str = "tower_bearer.token_request.duration";
    pub(super) const WAIT_DURATION: &str = "tower_bearer.wait.duration";
    pub(super) const REJECTIONS: &str = "tower_bearer.rejections";
    pub(super) const REJECTED_TOKEN_AGE: &str = "tower_bearer.rejected_token.age";
    pub(super) const TOKEN_EXPIRY: &str = "tower_bearer.token.expiry";
    pub(super) const BACKOFF_END: &str = "tower_bearer.backoff.end";
    pub(super) const CACHES: &str = "tower_bearer.caches";
    pub(super) const SHARED_LOOKUPS: &str = "tower_bearer.shared.lookups";

    pub(super) const CACHE: &str = "cache";
    pub(super) const REASON: &str = "reason";
    pub(super) const OUTCOME: &str = "outcome";
    pub(super) const STATE: &str = "state";
    pub(super) const ERROR_TYPE: &str = "error.type";
}

#[cfg(feature = "metrics")]
use self::names::*;

/// Tells the recorder what the metrics are.
pub(super) fn describe() {
    #[cfg(feature = "metrics")]
    {
        use metrics::{
            Unit::{Count, Seconds},
            describe_counter, describe_gauge, describe_histogram,
        };

        describe_histogram!(
            TOKEN_REQUEST_DURATION,
            Seconds,
            "The duration of token requests"
        );
        describe_histogram!(
            WAIT_DURATION,
            Seconds,
            "How long requests waited for a token"
        );
        describe_counter!(
            REJECTIONS,
            Count,
            "Requests whose token the API rejected, by what became of them"
        );
        describe_histogram!(
            REJECTED_TOKEN_AGE,
            Seconds,
            "The age of tokens when the API first rejected them"
        );
        describe_gauge!(
            TOKEN_EXPIRY,
            Seconds,
            "When the current token ends, in Unix time; 0 without a token"
        );
        describe_gauge!(
            BACKOFF_END,
            Seconds,
            "Until when no token request is made after a failure, in Unix time; 0 without a failure"
        );
        describe_gauge!(
            CACHES,
            Count,
            "Caches that have requested a token, by their state"
        );
        describe_counter!(
            SHARED_LOOKUPS,
            Count,
            "Token requests of a fleet's processes, by what the shared store was good for"
        );
    }
}

/// A token request ended.
pub(super) fn token_request(
    who: &Who,
    reason: &'static str,
    took: Duration,
    error: Option<&Error>,
) {
    #[cfg(feature = "metrics")]
    {
        let mut labels = vec![of(who), metrics::Label::new(REASON, reason)];
        labels.extend(error.map(|error| metrics::Label::new(ERROR_TYPE, error_type(error))));
        metrics::histogram!(TOKEN_REQUEST_DURATION, labels).record(took);
    }
}

/// A request waited for a token.
pub(super) fn waited(who: &Who, took: Duration, error_type: Option<&'static str>) {
    #[cfg(feature = "metrics")]
    {
        let mut labels = vec![of(who)];
        labels.extend(error_type.map(|name| metrics::Label::new(ERROR_TYPE, name)));
        metrics::histogram!(WAIT_DURATION, labels).record(took);
    }
}

/// What became of a request whose token was rejected.
pub(super) fn rejection(who: &Who, outcome: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!(
        REJECTIONS,
        vec![of(who), metrics::Label::new(OUTCOME, outcome)]
    )
    .increment(1);
}

/// A token was rejected for the first time.
pub(super) fn rejected(who: &Who, age: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!(REJECTED_TOKEN_AGE, vec![of(who)]).record(age);
}

/// When the current token ends, if there is one. The time left would be wrong by the time of a look.
pub(super) fn expiry(who: &Who, at: Option<SystemTime>) {
    #[cfg(feature = "metrics")]
    set_time(TOKEN_EXPIRY, who, at);
}

/// Until when no token request is made, after a failure.
pub(super) fn backoff(who: &Who, until: Option<SystemTime>) {
    #[cfg(feature = "metrics")]
    set_time(BACKOFF_END, who, until);
}

/// What a fleet's store was good for.
#[cfg(feature = "shared")]
pub(super) fn shared_lookup(outcome: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!(SHARED_LOOKUPS, OUTCOME => outcome).increment(1);
}

/// Counts one cache as being in a state, until it is dropped. It takes back what it counted where it counted it: with a recorder
/// that was installed meanwhile, no number falls below zero.
#[derive(Debug, Default)]
pub(super) struct InState(#[cfg(feature = "metrics")] Option<metrics::Gauge>);

impl InState {
    pub(super) fn count(who: &Who, state: &'static str) -> Self {
        #[cfg(feature = "metrics")]
        {
            let gauge = metrics::gauge!(CACHES, vec![of(who), metrics::Label::new(STATE, state)]);
            gauge.increment(1.0);
            Self(Some(gauge))
        }
        #[cfg(not(feature = "metrics"))]
        Self()
    }
}

impl Drop for InState {
    fn drop(&mut self) {
        #[cfg(feature = "metrics")]
        if let Some(gauge) = &self.0 {
            gauge.decrement(1.0);
        }
    }
}

#[cfg(feature = "metrics")]
fn of(who: &Who) -> metrics::Label {
    metrics::Label::new(CACHE, who.label())
}

/// Caches that share a label would overwrite each other's.
#[cfg(feature = "metrics")]
fn set_time(name: &'static str, who: &Who, at: Option<SystemTime>) {
    if who.is_one_of_many() {
        return;
    }
    let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    metrics::gauge!(name, vec![of(who)]).set(since.unwrap_or_default().as_secs_f64());
}
