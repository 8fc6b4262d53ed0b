//! What operators see: spans and events by `tracing` (feature `tracing`), numbers by `metrics` (feature `metrics`).
//!
//! Call sites have no `cfg`. `events` owns every event and its fields, `metrics` the name and the unit of every metric, and they
//! alone know the features: without them their functions are empty. `reporter` knows what is news of a cache, `request` tells
//! of one token request, and `who` is whose it is. No event and no label holds a token or a secret.

#![cfg_attr(
    not(all(feature = "tracing", feature = "metrics")),
    allow(dead_code, unused_variables, reason = "there are fewer to tell")
)]

mod events;
mod metrics;
mod reporter;
mod request;
mod who;

#[cfg(feature = "dpop")]
pub(crate) use self::events::proof_rejected;
#[cfg(feature = "shared")]
pub(crate) use self::events::{not_shared, shared_again};
pub(crate) use self::{
    events::{
        metadata_not_renewed, metadata_renewed, narrowed, rejected_without_token, secret_changed,
        without_token,
    },
    reporter::{Landed, Reporter},
    request::RequestReport,
    who::Names,
};

/// What the store of a fleet was good for: another process's token, a token request for all, or none.
#[cfg(feature = "shared")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Hit,
    Leased,
    Alone,
}

/// A process of a fleet needed a token.
#[cfg(feature = "shared")]
pub(crate) fn shared_lookup(lookup: Lookup) {
    if lookup == Lookup::Hit {
        events::shared_token_used();
    }
    metrics::shared_lookup(match lookup {
        Lookup::Hit => "hit",
        Lookup::Leased => "leased",
        Lookup::Alone => "alone",
    });
}
