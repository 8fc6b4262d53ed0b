//! What the source of a token can do about a challenge, beside requesting another token.
//!
//! A token has it from its source, so that the layer knows whether a challenge is worth a token request; the source has it to
//! know what to ask for. It is bounded: a challenge adds no scope that is not allowed, and each scope is added once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use serde_json::{Map, Value};

use super::challenge::{Challenge, challenges};

/// For one credential, shared by all its tokens.
#[derive(Debug)]
pub(crate) struct Remedies {
    answers_claims: bool,
    /// The scopes of each token request.
    always: Vec<String>,
    /// The scopes that an API may ask for.
    allowed: Vec<String>,
    /// Those of them that an API asked for, and that were granted as far as is known.
    added: Mutex<Vec<String>>,
}

/// Who requested a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The source that the remedies are of.
    Here,
    /// Another process, which may have asked for other scopes.
    #[cfg(feature = "shared")]
    Elsewhere,
}

/// What a token request asks for because of a challenge, now or before.
#[derive(Debug, Default)]
pub(crate) struct Additions {
    pub(crate) claims: Option<Map<String, Value>>,
    pub(crate) scopes: Vec<String>,
}

impl Additions {
    pub(crate) fn is_empty(&self) -> bool {
        self.claims.is_none() && self.scopes.is_empty()
    }
}

impl Remedies {
    /// `None` for a source that was not told to answer challenges.
    pub(crate) fn new(
        answers_claims: bool,
        always: Vec<String>,
        allowed: Vec<String>,
    ) -> Option<Self> {
        (answers_claims || !allowed.is_empty()).then(|| Self {
            answers_claims,
            always,
            allowed,
            added: Mutex::default(),
        })
    }

    /// Whether a token request can help a request that met these challenges. `is_known` says whether its token was requested
    /// with all that was added so far: then no scope of those helps. Else the current one may have them, or the next one.
    pub(crate) fn help(&self, values: &[HeaderValue], is_known: bool) -> bool {
        let is_news = |scope: &String| !self.always.contains(scope) && !self.lock().contains(scope);
        self.claims(values).is_some()
            || self
                .scopes(values)
                .is_some_and(|scopes| !is_known || scopes.iter().any(is_news))
    }

    /// The scopes that an API may ask for.
    #[cfg(feature = "shared")]
    pub(crate) fn allowed(&self) -> &[String] {
        &self.allowed
    }

    /// What the next token request asks for beyond what each of them does.
    pub(crate) fn additions(&self, values: &[HeaderValue]) -> Additions {
        let mut scopes = self.lock().clone();
        for scope in self.scopes(values).into_iter().flatten() {
            if !self.always.contains(&scope) && !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        Additions {
            claims: self.claims(values),
            scopes,
        }
    }

    /// They were granted: from now on each token request asks for these scopes, or the next refresh would lose them.
    pub(crate) fn granted(&self, additions: Additions) {
        *self.lock() = additions.scopes;
    }

    /// They were denied: no token request asks for them until an API does so again.
    pub(crate) fn denied(&self) {
        self.lock().clear();
    }

    fn claims(&self, values: &[HeaderValue]) -> Option<Map<String, Value>> {
        let mut asking = bearer(values).filter(|_| self.answers_claims);
        asking.find_map(|challenge| {
            let is_about_claims = challenge.has_error("insufficient_claims");
            is_about_claims.then(|| challenge.claims()).flatten()
        })
    }

    /// The scopes that are asked for, if all of them are allowed: with fewer, the request would fail all the same.
    fn scopes(&self, values: &[HeaderValue]) -> Option<Vec<String>> {
        let mut asking = bearer(values).filter(|it| it.has_error("insufficient_scope"));
        let scopes = asking.find_map(|challenge| challenge.scopes())?;
        let is_allowed = |scope| self.always.contains(scope) || self.allowed.contains(scope);
        scopes.iter().all(is_allowed).then_some(scopes)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        // A lock around a single value is never left half-changed.
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bearer(values: &[HeaderValue]) -> impl Iterator<Item = Challenge<'_>> {
    values
        .iter()
        .flat_map(|value| challenges(value.as_bytes()))
        .filter(Challenge::is_about_token)
}
