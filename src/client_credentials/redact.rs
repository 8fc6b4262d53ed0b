//! Cleans text from a server for use in a message.
//!
//! Only text for people is searched for secrets. What a program reads stays as the server sent it.

use crate::util::wiped::Wiped;

/// Text from a server is cut here, in characters.
pub(crate) const LONGEST_TEXT: usize = 300;

/// An error code is cut here, in characters. Registered ones have 30 at most.
const LONGEST_CODE: usize = 100;

/// The codes of RFC 6749 §5.2, RFC 8707 §2 and, for a server that is down, RFC 6749 §4.1.2.1.
const REGISTERED: [&str; 9] = [
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
];

/// A shorter text, in bytes, is no secret, and hiding it would garble the server's text.
const SHORTEST_SECRET: usize = 4;

/// Returns an OAuth error code for a program to compare.
///
/// One in the shape of the registered codes stays as it is, also if a secret happens to be one of its words. Anything else,
/// and the secret itself, is text for people.
pub(crate) fn code<'a, I>(code: &str, hidden: impl Fn() -> I) -> String
where
    I: Iterator<Item = &'a Wiped>,
{
    let is_word = code
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let is_echo = || !REGISTERED.contains(&code) && hidden().any(|hidden| **hidden == *code);
    if is_word && code.len() <= LONGEST_CODE && !is_echo() {
        return code.to_owned();
    }
    clean(code, LONGEST_CODE, hidden())
}

/// Returns text from a server bounded, on one line, and without the `hidden` texts, which a server may echo.
pub(crate) fn clean<'a>(
    text: &str,
    longest: usize,
    hidden: impl IntoIterator<Item = &'a Wiped>,
) -> String {
    let mut text = text.to_owned();
    for hidden in hidden
        .into_iter()
        .filter(|hidden| hidden.len() >= SHORTEST_SECRET)
    {
        text = text.replace(&**hidden, "[redacted]");
    }
    let mut characters = text.chars().map(|c| if breaks_lines(c) { ' ' } else { c });
    let mut cleaned: String = characters.by_ref().take(longest).collect();
    if characters.next().is_some() {
        cleaned.push('…');
    }
    cleaned
}

/// Control characters, and those of Unicode that break a line or turn its direction.
fn breaks_lines(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}
