//! Cleans text from a server for use in a message.

use crate::util::wiped::Wiped;

/// Text from a server is cut here, in characters.
pub(crate) const LONGEST_TEXT: usize = 300;

/// Returns text from a server bounded, on one line, and without the `hidden` texts, which a server may echo.
pub(crate) fn clean<'a>(
    text: &str,
    longest: usize,
    hidden: impl IntoIterator<Item = &'a Wiped>,
) -> String {
    let mut text = text.to_owned();
    for hidden in hidden.into_iter().filter(|hidden| !hidden.is_empty()) {
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
