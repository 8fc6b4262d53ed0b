//! The errors for answers that bring no token.
//!
//! An error contains only an answer's status, its OAuth error and a bounded, cleaned text for people: a body may hold a
//! token.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_ENCODING, DATE, LOCATION, RETRY_AFTER},
};
use url::Url;

use super::{
    Answer, INVALID_CLIENT, INVALID_GRANT, INVALID_REQUEST, LONGEST_NAME, Sent, TokenTypes,
    explanation::{self, Explanation},
    json_object, without_mark,
};
use crate::{
    client_credentials::{
        auth::{ClientAuth, carried},
        redact::{self, LONGEST_TEXT},
    },
    error::{Error, SET_UP_DPOP},
    token::challenge::PROOF_REJECTIONS,
    util::{clock, wiped::Wiped},
};

/// A `Retry-After` is read as no longer than this, so that adding it to a clock does not overflow.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// More than an assertion's `iat` is in the past, plus the network delay and the date's rounding.
const TOO_FAR_AHEAD: Duration = Duration::from_secs(15);

/// Slightly less than what remains of an assertion's lifetime.
const TOO_FAR_BEHIND: Duration = Duration::from_secs(45);

/// The error for a successful answer that is not a JSON object. It tells the body's size, and whether it is a web page.
pub(super) fn unreadable(headers: &HeaderMap, body: &[u8], sent: &Sent) -> Error {
    let encoded = encoding(headers, &sent.hidden);
    let what = match without_mark(body).trim_ascii_start().first() {
        None => "with an empty body".to_owned(),
        _ if encoded.is_some() => "with something that cannot be read".to_owned(),
        Some(b'<') => match explanation::title(&String::from_utf8_lossy(body)) {
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
pub(super) fn without_token(body: &[u8], sent: &Sent) -> Error {
    Error::invalid_answer(format!(
        "there is no access_token in the answer of the token endpoint{} [check the token URL]",
        explanation_in(body, &sent.hidden)
    ))
}

/// What a body says to people, after a colon.
pub(crate) fn explanation_in(body: &[u8], hidden: &[Wiped]) -> String {
    match Explanation::read(without_mark(body)).text {
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
pub(super) fn denied(
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
        Some(answer) => carried::alone_in_all_forms(answer.access_token.secret()),
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
    let explanation = match &answer {
        // It cannot be read, so its token is not known, and its text may hold it.
        None if json_object(body).is_some() => Explanation::default(),
        _ => Explanation::read(without_mark(body)),
    };
    let mut advice = None;
    if let Some(text) = &explanation.text {
        message.push_str(": ");
        message.push_str(&redact::clean(text, LONGEST_TEXT, hidden()));
        advice = ClientAuth::advised_by(text).map(Into::into);
    }
    if let Some(uri) = &explanation.uri {
        let uri = redact::clean(uri, LONGEST_NAME, hidden());
        message.push_str(&format!(" (see {uri})"));
    }
    if answer.is_none() {
        message.push_str(&encoding(headers, &sent.hidden).unwrap_or_default());
    }
    if status == StatusCode::UNAUTHORIZED || code.as_deref() == Some(INVALID_CLIENT) {
        advice = Some(on_authentication(sent, headers, now, advice));
    }
    if let Some(INVALID_GRANT | INVALID_REQUEST) = code.as_deref() {
        advice = advice.or_else(|| sent.advice.clone());
    }
    if code.is_none() && is_wrong_place(status) {
        advice = Some("is the token URL right?".to_owned());
    }
    if sent.types == TokenTypes::Bearer
        && code
            .as_deref()
            .is_some_and(|code| PROOF_REJECTIONS.contains(&code))
    {
        advice = Some(format!(
            "the server requires DPoP of this client; {SET_UP_DPOP}"
        ));
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

pub(super) fn redirected(status: StatusCode, headers: &HeaderMap, hidden: &[Wiped]) -> Error {
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
