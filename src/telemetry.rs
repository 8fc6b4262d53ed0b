//! What is told to operators, by `tracing` events where the feature is on.
//!
//! The one place that knows about it: call sites have no `cfg`. No event holds a token or a secret.

use std::time::Duration;

use crate::{error::Error, middleware::extension::NotRetried, token::Token};

/// A token request ended, well or not.
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
            "could not token request an access token"
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

/// A server's metadata could not be had again, and is used as it is known.
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

/// A rejected request is not retried, so that the caller gets the rejection. The cause of an error is told where it happened,
/// once, and not for each request that it happens to.
pub(crate) fn not_retried(reason: NotRetried, error: Option<&Error>) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        ?reason,
        error = error.map(|error| error as &dyn std::error::Error),
        "a rejected request is not retried"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (reason, error);
}
