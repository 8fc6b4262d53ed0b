//! Events for operators, by `tracing` (feature `tracing`).
//!
//! Call sites have no `cfg`: this is the one place that knows about the feature. No event holds a token or a secret.

use std::{fmt, time::Duration};

use crate::{error::Error, token::Token};

/// A token request ended.
pub(crate) fn token_request_over(outcome: Result<&Token, &Error>, took: Duration) {
    #[cfg(feature = "tracing")]
    match outcome {
        Ok(token) => tracing::debug!(
            lifetime = ?token.lifetime(),
            ?took,
            "requested an access token"
        ),
        Err(error) => tracing::warn!(
            error = error as &dyn std::error::Error,
            ?took,
            "a token request failed"
        ),
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (outcome, took);
}

/// The server granted less than it was asked for.
pub(crate) fn narrowed(missing: &[&str]) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        missing = missing.join(" "),
        "the token endpoint granted fewer scopes than were asked for"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = missing;
}

/// A server's metadata could not be fetched again. What is known of it stays in use.
pub(crate) fn metadata_not_renewed(error: &Error) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "could not renew the authorization server's metadata"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = error;
}

/// The API rejected a token.
pub(crate) fn rejected(will_retry: bool) {
    #[cfg(feature = "tracing")]
    tracing::debug!(will_retry, "the access token was rejected");
    #[cfg(not(feature = "tracing"))]
    let _ = will_retry;
}

/// A rejected request is not retried, and its caller gets the rejection. The cause of an error has an event of its own, where it
/// happened: one, however many requests it concerns.
pub(crate) fn not_retried(reason: impl fmt::Debug, error: Option<&Error>) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        ?reason,
        error = error.map(|error| error as &dyn std::error::Error),
        "a rejected request is not retried"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (reason, error);
}

/// A token of another process of the fleet is used.
#[cfg(feature = "shared")]
pub(crate) fn shared_token_used() {
    #[cfg(feature = "tracing")]
    tracing::debug!("use the access token that another process requested");
}

/// The store of the fleet is passed over, for now. This process requests tokens for itself.
#[cfg(feature = "shared")]
pub(crate) fn not_shared(trouble: &tower::BoxError) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        error = &**trouble as &dyn std::error::Error,
        "the store of the shared token cannot be used; this process requests tokens for itself"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = trouble;
}
