//! What is stored of a token, and of a failure, before it is sealed.

use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{
    keys::{Kind, Seal},
    shelf::{Put, in_millis},
};
use crate::{
    error::{Error, ErrorKind},
    token::{BEARER, DPOP, Token},
};

/// A token out of a store.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) token: Token,
    pub(super) generation: u64,
    /// What is left of it, by the store's clock.
    pub(super) left: Duration,
    pub(super) lifetime: Duration,
    pub(super) age: Duration,
}

impl Opened {
    /// Whether it is worth having: a cache waits for another one in a token's last stretch.
    pub(super) fn is_worth_having(&self) -> bool {
        self.left > LAST_STRETCH.min(self.lifetime / 10)
    }

    /// The token with what is left of its life, for a cache that counts it from `waited` ago.
    pub(super) fn into_token(self, waited: Duration) -> Token {
        let refresh_in = self.token.refresh_in();
        let token = self.token.with_lifetime(self.left + waited);
        match refresh_in {
            Some(refresh_in) => token.with_refresh_in(refresh_in.saturating_sub(self.age) + waited),
            None => token,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredToken {
    token: String,
    /// Whether it is bound to a key, which those who open it must have.
    #[serde(default)]
    dpop: bool,
    /// When its holder took the lease, by the store's clock: before the token was requested.
    taken_at: u64,
    lifetime: u64,
    #[serde(default)]
    refresh_in: Option<u64>,
    #[serde(default)]
    scopes: Option<Vec<String>>,
    #[serde(default)]
    extra: Vec<(String, String)>,
}

/// Seals a token that was requested under a lease. Its life is counted from when the lease was taken, by the store's clock. `None`
/// if it cannot be stored.
pub(super) fn seal_token(
    seal: &Seal,
    token: &Token,
    generation: u64,
    taken_at: u64,
) -> Option<Put> {
    let lifetime = in_millis(token.lifetime_or(UNKNOWN_LIFETIME));
    let stored = StoredToken {
        token: token.expose_secret().to_owned(),
        dpop: token.scheme() == DPOP,
        taken_at,
        lifetime,
        refresh_in: token.refresh_in().map(in_millis),
        scopes: token
            .scopes()
            .map(|scopes| scopes.map(ToOwned::to_owned).collect()),
        extra: token
            .extras()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    };
    let plain = serde_json::to_vec(&stored).ok()?;
    Some(Put::Value {
        generation,
        sealed: seal.seal(Kind::Token(generation), &plain)?,
        ends_at: taken_at + lifetime,
    })
}

/// Opens a token. `None` if it is not one that this fleet stored for this identity, or if it is over by the store's clock.
pub(super) fn open_token(seal: &Seal, generation: u64, sealed: &[u8], now: u64) -> Option<Opened> {
    let plain = seal.open(Kind::Token(generation), sealed)?;
    let stored: StoredToken = serde_json::from_slice(&plain).ok()?;
    // A token from the future: the store's clock was set back, and nothing is known of what is left.
    let age = now.checked_sub(stored.taken_at)?;
    let left = stored.lifetime.checked_sub(age).filter(|left| *left > 0)?;
    let mut token = Token::of_type(if stored.dpop { DPOP } else { BEARER }, &stored.token).ok()?;
    if let Some(scopes) = stored.scopes {
        token = token.with_scopes(scopes);
    }
    if let Some(refresh_in) = stored.refresh_in {
        token = token.with_refresh_in(Duration::from_millis(refresh_in));
    }
    for (name, value) in stored.extra {
        token = token.with_extra(name, value);
    }
    Some(Opened {
        token,
        generation,
        left: Duration::from_millis(left),
        lifetime: Duration::from_millis(stored.lifetime),
        age: Duration::from_millis(age),
    })
}

#[derive(Serialize, Deserialize)]
struct StoredFailure {
    kind: Shared,
    transient: bool,
    message: String,
    status: Option<u16>,
    code: Option<String>,
    /// Whether the server said when to come again.
    retry_after: bool,
}

/// The kinds of failures that concern every process.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Shared {
    Denied,
    Unavailable,
    InvalidAnswer,
}

/// Seals a failure, if it concerns the fleet: what the token endpoint answered, or that it does not. What fails within this process
/// is its own.
pub(super) fn seal_failure(seal: &Seal, error: &Error) -> Put {
    let kind = match error.kind() {
        ErrorKind::Denied => Shared::Denied,
        ErrorKind::Unavailable => Shared::Unavailable,
        ErrorKind::InvalidAnswer => Shared::InvalidAnswer,
        _ => return Put::Nothing,
    };
    let lasts = match (error.retry_after(), error.is_transient()) {
        (Some(retry_after), _) => retry_after.min(LONGEST_RETRY_AFTER),
        (None, true) => TRANSIENT_LASTS,
        (None, false) => PERMANENT_LASTS,
    };
    let stored = StoredFailure {
        kind,
        transient: error.is_transient(),
        message: error.to_string(),
        status: error.status().map(|status| status.as_u16()),
        code: error.oauth_code().map(ToOwned::to_owned),
        retry_after: error.retry_after().is_some(),
    };
    let sealed = serde_json::to_vec(&stored)
        .ok()
        .and_then(|plain| seal.seal(Kind::Failure, &plain));
    match sealed {
        Some(sealed) => Put::Failure {
            sealed,
            // One that passes is tried once more, as without a store, by the first process that comes.
            told_from: if error.is_worth_another_attempt() {
                2
            } else {
                1
            },
            lasts,
        },
        None => Put::Nothing,
    }
}

/// Opens a failure that is told for as long as `left`.
pub(super) fn open_failure(seal: &Seal, sealed: &[u8], left: Duration) -> Option<Error> {
    let plain = seal.open(Kind::Failure, sealed)?;
    let stored: StoredFailure = serde_json::from_slice(&plain).ok()?;
    let kind = match stored.kind {
        Shared::Denied => ErrorKind::Denied,
        Shared::Unavailable => ErrorKind::Unavailable,
        Shared::InvalidAnswer => ErrorKind::InvalidAnswer,
    };
    let status = stored
        .status
        .and_then(|status| StatusCode::from_u16(status).ok());
    Some(Error::shared(
        kind,
        stored.transient,
        &stored.message,
        status,
        stored.code.as_deref(),
        stored.retry_after.then_some(left),
    ))
}

/// The last stretch of a token's life, as caches have it by default.
const LAST_STRETCH: Duration = Duration::from_secs(30);

/// The life of a token whose server does not say it: the default of a cache.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// For how long a failure is told to others: the first step of a cache's backoff.
const TRANSIENT_LASTS: Duration = Duration::from_secs(1);
const PERMANENT_LASTS: Duration = Duration::from_secs(30);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);
