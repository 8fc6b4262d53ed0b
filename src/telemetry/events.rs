//! Every span and event. The guide `docs::telemetry` has a table of them, which a test compares with what is told.

use std::time::Duration;

use super::who::Who;
#[cfg(feature = "tracing")]
use super::who::error_type;
use crate::{
    error::{Error, Requester},
    token::Token,
};

/// An event of a cache: who it is, then what happened.
macro_rules! tell {
    ($level:ident, $who:expr, $message:literal $(, $($field:tt)+)?) => {
        #[cfg(feature = "tracing")]
        {
            let who: &Who = $who;
            let (address, port) = who.server();
            tracing::event!(
                target: "tower_bearer",
                tracing::Level::$level,
                cache = who.names.name.as_deref(),
                key = who.names.key.as_deref(),
                client_id = who.client_id(),
                server.address = address,
                server.port = port,
                $($($field)+,)?
                $message
            );
        }
    };
}

/// An event of something else.
macro_rules! tell_only {
    ($level:ident, $message:literal $(, $($field:tt)+)?) => {
        #[cfg(feature = "tracing")]
        tracing::event!(
            target: "tower_bearer",
            tracing::Level::$level,
            $($($field)+,)?
            $message
        );
    };
}

/// The span of a token request. The source's own spans are inside it.
#[derive(Clone, Debug)]
pub(super) struct Span(#[cfg(feature = "tracing")] tracing::Span);

impl Span {
    /// It outlives the request that caused it, so that is no parent of it.
    pub(super) fn new(who: &Who, reason: &'static str) -> Self {
        #[cfg(feature = "tracing")]
        {
            use tracing::field::Empty;

            let span = tracing::info_span!(
                target: "tower_bearer",
                parent: None,
                "token_request",
                cache = who.names.name.as_deref(),
                key = who.names.key.as_deref(),
                client_id = Empty,
                server.address = Empty,
                server.port = Empty,
                reason,
                attempt = Empty,
                outcome = Empty,
                error.type = Empty,
            );
            span.follows_from(tracing::Span::current());
            Self(span)
        }
        #[cfg(not(feature = "tracing"))]
        Self()
    }

    /// Does this in the span.
    pub(super) fn within<T>(&self, run: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        let _entered = self.0.enter();
        run()
    }

    pub(super) fn over(
        &self,
        who: &Who,
        attempt: u32,
        outcome: &'static str,
        error: Option<&Error>,
    ) {
        #[cfg(feature = "tracing")]
        {
            let (address, port) = who.server();
            self.0.record("client_id", who.client_id());
            self.0.record("server.address", address);
            self.0.record("server.port", port);
            self.0.record("attempt", attempt);
            self.0.record("outcome", outcome);
            self.0.record("error.type", error.map(error_type));
        }
    }
}

/// A token request brought a token.
pub(super) fn requested(who: &Who, token: &Token, reason: &'static str, took: Duration) {
    tell!(
        DEBUG,
        who,
        "requested an access token",
        reason,
        lifetime = token.lifetime().map(tracing::field::debug),
        ?took
    );
}

/// How a token request failed, and what that means for requests.
pub(super) struct Failed<'a> {
    pub(super) error: &'a Error,
    pub(super) reason: &'static str,
    pub(super) took: Duration,
    /// Until the next token request is allowed.
    pub(super) retry_in: Duration,
    /// How long the current token can still be sent.
    pub(super) usable_for: Duration,
}

/// A token request failed, and the one before it did not, or not like this.
pub(super) fn fails(who: &Who, failed: &Failed<'_>) {
    let Failed { error, .. } = *failed;
    tell!(
        WARN,
        who,
        "token requests fail",
        error = error as &dyn std::error::Error,
        error.type = error_type(error),
        is_transient = error.is_transient(),
        reason = failed.reason,
        took = ?failed.took,
        retry_in = ?failed.retry_in,
        usable_for = ?failed.usable_for
    );
}

/// A token request failed, like the one before it.
pub(super) fn fails_still(who: &Who, failed: &Failed<'_>) {
    let Failed { error, .. } = *failed;
    tell!(
        DEBUG,
        who,
        "a token request failed again",
        error = error as &dyn std::error::Error,
        error.type = error_type(error),
        is_transient = error.is_transient(),
        reason = failed.reason,
        took = ?failed.took,
        retry_in = ?failed.retry_in,
        usable_for = ?failed.usable_for
    );
}

/// A token request brought a token, and the one before it failed.
pub(super) fn succeeds_again(who: &Who, failed_for: Duration) {
    tell!(INFO, who, "token requests succeed again", ?failed_for);
}

/// A token request was cut off, by a shutdown for one. It says nothing of the server, and needs no attention.
pub(super) fn cut_off(who: &Who, error: &Error, took: Duration) {
    tell!(
        DEBUG,
        who,
        "a token request was cut off",
        error = error as &dyn std::error::Error,
        ?took
    );
}

/// The server could not serve just now, and a caller waits for a first token.
pub(super) fn attempts_again(who: &Who, error: &Error) {
    tell!(
        DEBUG,
        who,
        "the first attempt of a token request failed, and another follows",
        error = error as &dyn std::error::Error,
        error.type = error_type(error)
    );
}

/// The server granted less than it was asked for; `is_news` if it granted more the last time.
pub(crate) fn narrowed(requester: &Requester, missing: &[&str], is_news: bool) {
    let (who, missing) = (&Who::of(requester), missing.join(" "));
    if is_news {
        tell!(
            WARN,
            who,
            "the token endpoint granted fewer scopes than were asked for",
            missing
        );
    } else {
        tell!(
            DEBUG,
            who,
            "the token endpoint granted fewer scopes again",
            missing
        );
    }
}

/// A server's metadata could not be fetched again. What is known of it stays in use.
pub(crate) fn metadata_not_renewed(issuer: &str, error: &Error, is_news: bool) {
    if is_news {
        tell_only!(
            WARN,
            "could not renew the authorization server's metadata",
            issuer,
            error = error as &dyn std::error::Error,
            error.type = error_type(error)
        );
    } else {
        tell_only!(
            DEBUG,
            "could not renew the authorization server's metadata again",
            issuer,
            error = error as &dyn std::error::Error,
            error.type = error_type(error)
        );
    }
}

/// It could.
pub(crate) fn metadata_renewed(issuer: &str) {
    tell_only!(
        INFO,
        "the authorization server's metadata is renewed",
        issuer
    );
}

/// The server did not take the client's secret, and there is another one now.
pub(crate) fn secret_changed(requester: &Requester) {
    let who = &Who::of(requester);
    tell!(
        INFO,
        who,
        "the token endpoint rejected the client's secret; it has changed, and the new one is tried"
    );
}

/// The API rejected a token.
pub(super) fn rejected(who: &Who, will_retry: bool, age: Option<Duration>) {
    tell!(
        DEBUG,
        who,
        "the access token was rejected",
        will_retry,
        age = age.map(tracing::field::debug)
    );
}

/// The API rejected the DPoP proof of a request, and not its token.
#[cfg(feature = "dpop")]
pub(crate) fn proof_rejected(will_retry: bool) {
    tell_only!(DEBUG, "the DPoP proof was rejected", will_retry);
}

/// A rejected request is not retried, and its caller gets the rejection. The cause of an error has an event of its own, where it
/// happened: one, however many requests it concerns.
pub(super) fn not_retried(who: &Who, reason: &'static str, error: Option<&Error>) {
    tell!(
        DEBUG,
        who,
        "a rejected request is not retried",
        reason,
        error = error.map(|error| error as &dyn std::error::Error),
        error.type = error.map(error_type),
        retry_in = error.and_then(Error::retry_after).map(tracing::field::debug)
    );
}

/// A rejected request was sent again with another token.
pub(super) fn retried(who: &Who, outcome: &'static str) {
    tell!(DEBUG, who, "a rejected request was retried", outcome);
}

/// A new token did not help a rejected request, as it did until now.
pub(super) fn rejects_fresh_tokens(who: &Who) {
    tell!(
        WARN,
        who,
        "the API rejects fresh tokens too; check their scopes and audience"
    );
}

/// A new token did, for the first time since.
pub(super) fn accepts_fresh_tokens(who: &Who) {
    tell!(INFO, who, "the API accepts fresh tokens again");
}

/// A request passes the layer as it is.
pub(crate) fn without_token(reason: &'static str, host: Option<&str>) {
    tell_only!(
        DEBUG,
        "a request is sent without a token",
        reason,
        server.address = host
    );
}

/// Such a request was answered 401: maybe it should have been selected.
pub(crate) fn rejected_without_token() {
    tell_only!(DEBUG, "a request without a token was answered 401");
}

/// A token of another process of the fleet is used.
#[cfg(feature = "shared")]
pub(super) fn shared_token_used() {
    tell_only!(DEBUG, "use the access token that another process requested");
}

/// The store of the fleet is passed over, for now. This process requests tokens for itself.
#[cfg(feature = "shared")]
pub(crate) fn not_shared(trouble: &tower::BoxError) {
    tell_only!(
        WARN,
        "the store of the shared token cannot be used; this process requests tokens for itself",
        error = &**trouble as &dyn std::error::Error
    );
}

/// It can be used again.
#[cfg(feature = "shared")]
pub(crate) fn shared_again() {
    tell_only!(INFO, "the store of the shared token can be used again");
}
