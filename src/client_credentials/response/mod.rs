//! The answers of token endpoints, read as leniently as real servers require.

mod error;
mod explanation;
mod extra;
mod life;

use std::{mem, sync::OnceLock, time::Duration};

use bytes::Bytes;
use http::Response;
use oauth2::{AccessToken, RefreshToken, Scope, TokenResponse, basic::BasicTokenType};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use zeroize::Zeroize;

pub(crate) use self::error::{encoding, explanation_in, is_wrong_place, retry_after};
use crate::{
    client_credentials::{auth::carried, redact},
    error::Error,
    token::{BEARER, DPOP, Token},
    util::{clock, wiped::Wiped},
};

/// The secret is wrong, or the client unknown (RFC 6749 §5.2).
pub(crate) const INVALID_CLIENT: &str = "invalid_client";

/// What is shown for the grant is not valid: an assertion ([RFC 7521 §4.1.1](https://www.rfc-editor.org/rfc/rfc7521#section-4.1.1)).
pub(crate) const INVALID_GRANT: &str = "invalid_grant";

/// The same of a token that is exchanged ([RFC 8693 §2.2.2](https://www.rfc-editor.org/rfc/rfc8693#section-2.2.2)).
pub(crate) const INVALID_REQUEST: &str = "invalid_request";

/// The type of a token that is for the token endpoint alone ([RFC 8693 §3](https://www.rfc-editor.org/rfc/rfc8693#section-3)).
pub(crate) const REFRESH_TOKEN: &str = "urn:ietf:params:oauth:token-type:refresh_token";

/// A short text, such as the name of a token type, is cut here, in characters.
const LONGEST_NAME: usize = 100;

/// An answer of the token endpoint ([RFC 6749 §5.1] and [§5.2]), read leniently: any JSON object is accepted,
/// and [`into_token`](Self::into_token) reports what it lacks.
///
/// [RFC 6749 §5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
/// [§5.2]: https://www.rfc-editor.org/rfc/rfc6749#section-5.2
#[derive(Debug, Deserialize)]
#[serde(from = "Fields")]
pub(crate) struct Answer {
    access_token: AccessToken,
    token_type: BasicTokenType,
    /// RFC 8693 §2.2.1.
    issued_token_type: Option<String>,
    expires_in: Option<Duration>,
    refresh_in: Option<Duration>,
    scopes: Option<Vec<Scope>>,
    error: Option<String>,
}

/// The fields, of any JSON type. A duplicate field is an error, because it is ambiguous.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    access_token: Value,
    token_type: Value,
    issued_token_type: Value,
    expires_in: Value,
    /// Microsoft Entra ID.
    refresh_in: Value,
    /// Managed identities of Azure, some of which have no `expires_in`.
    expires_on: Value,
    /// Keystone, and others.
    expires: Value,
    scope: Value,
    error: Value,
}

impl From<Fields> for Answer {
    fn from(fields: Fields) -> Self {
        Self {
            access_token: AccessToken::new(text(fields.access_token).unwrap_or_default()),
            token_type: token_type(text(fields.token_type)),
            issued_token_type: text(fields.issued_token_type),
            expires_in: life::seconds(&fields.expires_in).or_else(|| {
                let now = clock::wall();
                let mut ends = [&fields.expires_on, &fields.expires].into_iter();
                ends.find_map(|end| life::left_until(end, now))
            }),
            refresh_in: life::seconds(&fields.refresh_in),
            scopes: scopes(fields.scope),
            // Some servers have an empty one beside a token.
            error: text(fields.error).filter(|error| !error.trim().is_empty()),
        }
    }
}

impl Answer {
    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(json_object(body)?).ok()
    }

    /// The token in it.
    pub(crate) fn into_token(mut self, sent: &Sent) -> Result<Token, Error> {
        // A proof-of-possession token sent as a bearer token would be rejected, and could be misused in transit.
        let is_dpop = matches!(&self.token_type, BasicTokenType::Extension(name) if name.eq_ignore_ascii_case(DPOP));
        let accepts_dpop = sent.types != TokenTypes::Bearer;
        if let BasicTokenType::Extension(name) = &self.token_type
            && !(is_dpop && accepts_dpop)
            && !(sent.asks_for_another_type && name.eq_ignore_ascii_case(NOT_APPLICABLE))
        {
            let token = carried::alone_in_all_forms(self.access_token.secret());
            let hidden = sent.hidden.iter().chain(&token);
            return Err(Error::not_bearer(&redact::clean(
                name,
                LONGEST_NAME,
                hidden,
            )));
        }
        if self.issued_token_type.as_deref() == Some(REFRESH_TOKEN) {
            return Err(Error::not_bearer("refresh_token"));
        }
        if !is_dpop && sent.types == TokenTypes::Dpop && !sent.asks_for_another_type {
            return Err(Error::not_bound());
        }
        let scheme = if is_dpop { DPOP } else { BEARER };
        let token = Token::of_type(scheme, self.access_token.secret()).map_err(|error| {
            Error::invalid_answer(format!(
                "the token endpoint returned no usable token: {error}"
            ))
        })?;
        let token = match self.expires_in {
            Some(lifetime) => token.with_lifetime(lifetime.min(sent.at_most.unwrap_or(lifetime))),
            None => token,
        };
        let token = match sent.at_most {
            Some(at_most) => token.with_longest_lifetime(at_most),
            None => token,
        };
        let token = match self.refresh_in {
            Some(after) => token.with_refresh_in(after),
            None => token,
        };
        let token = match self.scopes.take() {
            Some(scopes) => token.with_scopes(scopes.into_iter().map(|scope| scope.to_string())),
            None => token,
        };
        let kept = sent.kept.get().into_iter().flatten();
        Ok(kept.fold(token, |token, (name, value)| token.with_extra(name, value)))
    }
}

/// The `oauth2` crate's token type does not wipe itself.
impl Drop for Answer {
    fn drop(&mut self) {
        let token = AccessToken::new(String::new());
        mem::replace(&mut self.access_token, token)
            .into_secret()
            .zeroize();
    }
}

/// The types of token that a request is for.
#[derive(Clone, Copy, PartialEq)]
#[cfg_attr(
    not(feature = "dpop"),
    allow(dead_code, reason = "a DPoP key makes the others")
)]
pub(crate) enum TokenTypes {
    Bearer,
    /// Bound to a key.
    Dpop,
    Either,
}

/// What reading an answer needs to know about its request.
pub(crate) struct Sent {
    /// Texts that no error may show.
    pub(crate) hidden: Vec<Wiped>,
    /// What the assertion was signed with, if one was signed for it.
    pub(crate) signed: Option<String>,
    /// The method, if it was picked from what the server offers.
    pub(crate) picked: Option<&'static str>,
    /// How the client authenticated.
    pub(crate) proven: &'static str,
    /// What to do if the server does not accept that.
    pub(crate) other_ways: &'static str,
    /// What to check if the server does not accept what the grant shows.
    pub(crate) advice: Option<String>,
    /// Whether something else than an access token was asked for.
    pub(crate) asks_for_another_type: bool,
    /// A token lives no longer, whatever the answer says.
    pub(crate) at_most: Option<Duration>,
    /// The types of token that are accepted.
    pub(crate) types: TokenTypes,
    /// The names of the members to keep beside the token.
    pub(crate) keep: Vec<String>,
    /// Those members, once there is an answer: the `oauth2` crate's reading of it has no place for them.
    pub(crate) kept: OnceLock<Vec<(String, String)>>,
}

/// Makes an answer that the `oauth2` crate reads: it insists on status 200 and on a content type that not every server
/// has.
///
/// # Errors
/// For an answer that is no success, or that is an error in spite of its status, with what the crate would lose: the
/// status and `Retry-After`.
pub(crate) fn accept(answer: Response<Bytes>, sent: &Sent) -> Result<oauth2::HttpResponse, Error> {
    let (head, body) = answer.into_parts();
    if head.status.is_redirection() {
        return Err(error::redirected(head.status, &head.headers, &sent.hidden));
    }
    let answer = Answer::read(&body);
    let is_error = answer.as_ref().is_some_and(|answer| answer.error.is_some());
    if is_error || !head.status.is_success() {
        return Err(error::denied(
            head.status,
            &head.headers,
            &body,
            answer,
            sent,
        ));
    }
    match (answer, json_object(&body)) {
        (Some(answer), Some(_)) if answer.access_token.secret().is_empty() => {
            Err(error::without_token(&body, sent))
        }
        (Some(_), Some(json)) => {
            // Only one request is sent for each, so it is not set yet.
            let _ = sent.kept.set(extra::read(json, &sent.keep));
            Ok(Response::new(json.to_vec()))
        }
        _ => Err(error::unreadable(&head.headers, &body, sent)),
    }
}

/// Returns the body without a byte order mark if it may be a JSON object. `serde` would read an array as a list of fields.
pub(crate) fn json_object(body: &[u8]) -> Option<&[u8]> {
    let json = without_mark(body);
    json.trim_ascii_start().starts_with(b"{").then_some(json)
}

fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Case-insensitive. The field is required, but some servers omit it, leave it empty or spell it in their own way, and
/// mean Bearer.
fn token_type(value: Option<String>) -> BasicTokenType {
    let is_bearer = |name: &String| {
        let names = ["", "bearer", "bearertoken"];
        names.iter().any(|own| name.eq_ignore_ascii_case(own))
    };
    match value.filter(|name| !is_bearer(name)) {
        Some(name) => BasicTokenType::Extension(name),
        None => BasicTokenType::Bearer,
    }
}

/// The `token_type` of what is no access token ([RFC 8693 §2.2.1](https://www.rfc-editor.org/rfc/rfc8693#section-2.2.1)).
const NOT_APPLICABLE: &str = "N_A";

/// `scope` as the standard's string with spaces, or as an array of strings.
fn scopes(value: Value) -> Option<Vec<Scope>> {
    match value {
        Value::String(text) => Some(
            text.split_whitespace()
                .map(|s| Scope::new(s.to_owned()))
                .collect(),
        ),
        Value::Array(values) => Some(
            values
                .into_iter()
                .filter_map(text)
                .map(Scope::new)
                .collect(),
        ),
        _ => None,
    }
}

impl TokenResponse for Answer {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        None
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        self.scopes.as_ref()
    }
}

/// [`TokenResponse`] asks for it. An answer is never written out.
impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}
