//! The tokens that a server has issued: their text names the client and counts.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use tokio::time::Instant;

use super::lock;

/// What a token allows. A handler of [`ProtectedApi`](super::ProtectedApi) finds it in the request's extensions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Grant {
    /// The client that the token was issued to.
    pub client_id: String,
    /// The scopes that the client asked for.
    pub scopes: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    valid: HashMap<String, Valid>,
    issued: HashMap<String, u64>,
}

#[derive(Debug)]
struct Valid {
    grant: Grant,
    /// `None` is beyond the clock, here and below.
    from: Option<Instant>,
    until: Option<Instant>,
}

impl Tokens {
    /// Issues the client's next token. It is valid after `delay`.
    pub(super) fn issue(&self, grant: Grant, lifetime: Duration, delay: Duration) -> String {
        let now = Instant::now();
        let mut books = lock(&self.0);
        let issued = books.issued.entry(grant.client_id.clone()).or_default();
        *issued += 1;
        let token = text(&grant.client_id, *issued);
        let valid = Valid {
            grant,
            from: now.checked_add(delay),
            until: now.checked_add(lifetime),
        };
        books.valid.insert(token.clone(), valid);
        token
    }

    /// The client's last token, if it has one.
    pub(super) fn last(&self, client_id: &str) -> Option<String> {
        let books = lock(&self.0);
        Some(text(client_id, *books.issued.get(client_id)?))
    }

    pub(super) fn revoke(&self, is_revoked: impl Fn(&Grant) -> bool) {
        lock(&self.0)
            .valid
            .retain(|_, valid| !is_revoked(&valid.grant));
    }

    /// What a token allows; `None` if it is not valid now.
    pub(super) fn grant(&self, token: &str) -> Option<Grant> {
        let now = Instant::now();
        let books = lock(&self.0);
        let valid = books.valid.get(token)?;
        let has_begun = valid.from.is_some_and(|from| from <= now);
        let is_valid = has_begun && valid.until.is_none_or(|until| now < until);
        is_valid.then(|| valid.grant.clone())
    }
}

/// With what a token may have (RFC 6750 section 2.1) of the client's id.
fn text(client_id: &str, number: u64) -> String {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "-._~".contains(letter);
    let client_id = client_id.replace(|letter| !is_allowed(letter), "_");
    format!("{client_id}.{number}")
}
