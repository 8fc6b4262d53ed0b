//! The answers of token endpoints, read as leniently as real servers require.
//!
//! An error contains only an answer's status, its OAuth error and a bounded, cleaned text for people: a body may hold a
//! token.

mod kept;
mod life;
mod said;

use std::{
    mem,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, Response, StatusCode,
    header::{CONTENT_ENCODING, DATE, LOCATION, RETRY_AFTER},
};
use oauth2::{AccessToken, RefreshToken, Scope, TokenResponse, basic::BasicTokenType};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use url::Url;
use zeroize::Zeroize;

use self::said::Said;
use crate::{
    client_credentials::{
        auth::{ClientAuth, proof},
        redact::{self, LONGEST_TEXT},
    },
    error::Error,
    token::Token,
    util::{clock, wiped::Wiped},
};

/// The secret is wrong, or the client unknown (RFC 6749 §5.2).
pub(crate) const INVALID_CLIENT: &str = "invalid_client";

/// A short text, such as the name of a token type, is cut here, in characters.
const LONGEST_NAME: usize = 100;

/// A `Retry-After` is read as no longer than this, so that adding it to a clock does not overflow.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// More than an assertion's `iat` is in the past, plus the network delay and the date's rounding.
const TOO_FAR_AHEAD: Duration = Duration::from_secs(15);

/// Slightly less than what remains of an assertion's lifetime.
const TOO_FAR_BEHIND: Duration = Duration::from_secs(45);

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
        if let BasicTokenType::Extension(name) = &self.token_type {
            let token = proof::alone_in_all_forms(self.access_token.secret());
            let hidden = sent.hidden.iter().chain(&token);
            return Err(Error::not_bearer(&redact::clean(
                name,
                LONGEST_NAME,
                hidden,
            )));
        }
        let token = Token::new(self.access_token.secret()).map_err(|error| {
            Error::invalid_answer(format!(
                "the token endpoint returned no usable token: {error}"
            ))
        })?;
        let token = match self.expires_in {
            Some(lifetime) => token.with_lifetime(lifetime),
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
        return Err(redirected(head.status, &head.headers, &sent.hidden));
    }
    let answer = Answer::read(&body);
    let is_error = answer.as_ref().is_some_and(|answer| answer.error.is_some());
    if is_error || !head.status.is_success() {
        return Err(denied(head.status, &head.headers, &body, answer, sent));
    }
    match (answer, json_object(&body)) {
        (Some(answer), Some(_)) if answer.access_token.secret().is_empty() => {
            Err(without_token(&body, sent))
        }
        (Some(_), Some(json)) => {
            // Only one request is sent for each, so it is not set yet.
            let _ = sent.kept.set(kept::read(json, &sent.keep));
            Ok(Response::new(json.to_vec()))
        }
        _ => Err(unreadable(&head.headers, &body, sent)),
    }
}

/// The error for a successful answer that is not a JSON object. It tells the body's size, and whether it is a web page.
fn unreadable(headers: &HeaderMap, body: &[u8], sent: &Sent) -> Error {
    let encoded = encoding(headers, &sent.hidden);
    let what = match without_mark(body).trim_ascii_start().first() {
        None => "with an empty body".to_owned(),
        _ if encoded.is_some() => "with something that cannot be read".to_owned(),
        Some(b'<') => match said::title(&String::from_utf8_lossy(body)) {
            Some(title) => {
                let title = redact::clean(&title, LONGEST_TEXT, &sent.hidden);
                format!("with a web page titled {title:?} (check the token URL)")
            }
            None => "with a web page (check the token URL)".to_owned(),
        },
        Some(_) => "with something that is not a JSON token response".to_owned(),
    };
    Error::invalid_answer(format!(
        "the token endpoint answered {what}, {} bytes{}",
        body.len(),
        encoded.unwrap_or_default()
    ))
}

/// The error for a successful answer that is a JSON object and holds no token.
fn without_token(body: &[u8], sent: &Sent) -> Error {
    Error::invalid_answer(format!(
        "there is no access_token in the answer of the token endpoint{} [check the token URL]",
        said(body, &sent.hidden)
    ))
}

/// What a body says to people, after a colon.
pub(crate) fn said(body: &[u8], hidden: &[Wiped]) -> String {
    match Said::read(without_mark(body)).text {
        Some(text) => format!(": {}", redact::clean(&text, LONGEST_TEXT, hidden)),
        None => String::new(),
    }
}

/// Says that a body is compressed, which was not asked for. A transport that asks for it decompresses, and removes the
/// header.
pub(crate) fn encoding(headers: &HeaderMap, hidden: &[Wiped]) -> Option<String> {
    let name = headers.get(CONTENT_ENCODING)?.to_str().ok()?.trim();
    let is_encoded = !name.is_empty() && !name.eq_ignore_ascii_case("identity");
    is_encoded.then(|| {
        format!(
            ", with `Content-Encoding: {}`, which was not asked for; turn compression off there, or use a client that \
             decompresses",
            redact::clean(name, LONGEST_NAME, hidden)
        )
    })
}

/// The error for an unsuccessful answer.
fn denied(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    answer: Option<Answer>,
    sent: &Sent,
) -> Error {
    let now = clock::wall();
    let retry_after = retry_after(headers, now);
    let mut message = format!("the token endpoint answered {}", status.as_u16());
    let token = match &answer {
        Some(answer) => proof::alone_in_all_forms(answer.access_token.secret()),
        None => Vec::new(),
    };
    let hidden = || sent.hidden.iter().chain(&token);
    let code = answer
        .as_ref()
        .and_then(|answer| answer.error.as_deref())
        // A framework's error page as JSON: the status in words is no OAuth error.
        .filter(|error| status.canonical_reason() != Some(*error))
        .map(|code| redact::code(code, hidden));
    if let Some(code) = &code {
        message.push(' ');
        message.push_str(code);
    }
    let said = match &answer {
        // It cannot be read, so its token is not known, and its text may hold it.
        None if json_object(body).is_some() => Said::default(),
        _ => Said::read(without_mark(body)),
    };
    let mut advice = None;
    if let Some(text) = &said.text {
        message.push_str(": ");
        message.push_str(&redact::clean(text, LONGEST_TEXT, hidden()));
        advice = ClientAuth::advised_by(text).map(Into::into);
    }
    if let Some(uri) = &said.uri {
        let uri = redact::clean(uri, LONGEST_NAME, hidden());
        message.push_str(&format!(" (see {uri})"));
    }
    if answer.is_none() {
        message.push_str(&encoding(headers, &sent.hidden).unwrap_or_default());
    }
    if status == StatusCode::UNAUTHORIZED || code.as_deref() == Some(INVALID_CLIENT) {
        advice = Some(on_authentication(sent, headers, now, advice));
    }
    if code.is_none() && is_wrong_place(status) {
        advice = Some("is the token URL right?".to_owned());
    }
    if let Some(advice) = advice {
        message.push_str(" [");
        message.push_str(&advice);
        message.push(']');
    }
    Error::answered(status, message, code.as_deref(), retry_after)
}

/// Whether the server says that there is nothing to POST to at this URL.
pub(crate) fn is_wrong_place(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE
    )
}

/// How the client authenticated, and what to do: `advice` is what the server says.
fn on_authentication(
    sent: &Sent,
    headers: &HeaderMap,
    now: SystemTime,
    advice: Option<String>,
) -> String {
    let signed = sent.signed.as_ref();
    let with = signed.map_or_else(String::new, |with| format!(", signed with {with}"));
    let picked = sent.picked.map_or_else(String::new, |method| {
        format!("; {method} was picked from what the server offers")
    });
    let what_to_do = advice
        .or_else(|| signed.and_then(|_| clock_off(headers, now)))
        .unwrap_or_else(|| sent.other_ways.to_owned());
    format!("{}{with}{picked}; {what_to_do}", sent.proven)
}

/// Whether the machine's clock differs too much from the server's for any assertion to be valid. Most servers send their
/// time ([RFC 9110 §6.6.1]); none says that it rejects an assertion for this reason.
///
/// [RFC 9110 §6.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1
fn clock_off(headers: &HeaderMap, now: SystemTime) -> Option<String> {
    let server = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let (off, which, too_far) = match now.duration_since(server) {
        Ok(ahead) => (ahead, "ahead of", TOO_FAR_AHEAD),
        Err(behind) => (behind.duration(), "behind", TOO_FAR_BEHIND),
    };
    (off > too_far).then(|| {
        format!(
            "this machine's clock is {} s {which} the server's, and an assertion is valid for a minute: set the clock",
            off.as_secs()
        )
    })
}

fn redirected(status: StatusCode, headers: &HeaderMap, hidden: &[Wiped]) -> Error {
    let target = headers
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| Url::parse(location).ok())
        .and_then(|location| {
            Some(format!(
                " to {}",
                redact::clean(location.host_str()?, LONGEST_TEXT, hidden)
            ))
        })
        .unwrap_or_default();
    let message = format!(
        "the token endpoint answered {} (a redirect{target}), which is not followed: it would send the client secret \
         elsewhere; set the token URL to the endpoint's real location",
        status.as_u16(),
    );
    Error::answered(status, message, None, None)
}

/// `Retry-After` ([RFC 9110 §10.2.3]): seconds, or a date.
///
/// [RFC 9110 §10.2.3]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            date.duration_since(now).unwrap_or_default()
        }
    };
    Some(asked.min(LONGEST_RETRY_AFTER))
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
