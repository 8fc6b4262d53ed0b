//! What an answer that brings no token explains to people, in whatever shape it does.

use serde_json::Value;

/// The members that hold a text for people, best first: OAuth's, Okta's, those of gateways and AWS, and those of
/// [RFC 9457].
///
/// [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457
const TEXTS: [&str; 6] = [
    "error_description",
    "errorSummary",
    "message",
    "Message",
    "detail",
    "title",
];

/// The members that hold an object with such a text, or a list of them: Azure's and Google's, and Cloudflare's.
const NESTED: [&str; 2] = ["error", "errors"];

/// What the server says. It is data: it has to be cleaned before it is shown, and is never followed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Explanation {
    pub(super) text: Option<String>,
    /// A page about the error (`error_uri`).
    pub(super) uri: Option<String>,
}

impl Explanation {
    pub(super) fn read(body: &[u8]) -> Self {
        let Ok(body) = str::from_utf8(body) else {
            return Self::default();
        };
        let body = body.trim();
        match body.as_bytes().first() {
            Some(b'{' | b'[') => serde_json::from_str(body).map_or_else(
                |_| Self::default(),
                |json| Self {
                    text: in_json(&json).map(Into::into),
                    uri: member(&json, "error_uri").map(Into::into),
                },
            ),
            Some(b'<') => Self {
                text: title(body),
                uri: None,
            },
            Some(_) if is_plain(body) => Self {
                text: Some(body.to_owned()),
                uri: None,
            },
            _ => Self::default(),
        }
    }
}

fn in_json(json: &Value) -> Option<&str> {
    if let Value::Array(items) = json {
        return in_json(items.first()?);
    }
    TEXTS
        .iter()
        .find_map(|name| member(json, name))
        .or_else(|| NESTED.iter().find_map(|name| in_json(json.get(name)?)))
}

fn member<'a>(json: &'a Value, name: &str) -> Option<&'a str> {
    let text = json.get(name)?.as_str()?.trim();
    (!text.is_empty()).then_some(text)
}

/// The title of a web page, which alone is a sentence for people.
pub(super) fn title(page: &str) -> Option<String> {
    let names = page.to_ascii_lowercase();
    let (_, rest) = names.split_once("<title")?;
    let (_, rest) = rest.split_once('>')?;
    let (title, _) = rest.split_once("</title")?;
    let start = names.len() - rest.len();
    let title = page.get(start..start + title.len())?.trim();
    (!title.is_empty()).then(|| unescaped(title))
}

/// The characters that a page has to escape, so that a secret with one of them is found.
fn unescaped(text: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (name, character)| {
        text.replace(name, character)
    })
}

/// Whether it is text, and no token answer in a format that is not read here.
fn is_plain(body: &str) -> bool {
    let is_text = body.chars().all(|c| !c.is_control() || c.is_whitespace());
    is_text && !body.starts_with('"') && !body.contains("access_token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_found_between_its_tags_whatever_stands_around_it() {
        for (page, title_of_it) in [
            ("<title>Sign in</title>", Some("Sign in")),
            (
                "<!doctype html>\n<HTML><Title lang=en>\n 403 &amp; out </TITLE><p>İ",
                Some("403 & out"),
            ),
            ("<p>İ<title>İ</title>", Some("İ")),
            ("<title></title>", None),
            ("<title>cut", None),
            ("<title", None),
            ("<Error><Message>denied</Message></Error>", None),
        ] {
            assert_eq!(title(page).as_deref(), title_of_it, "{page}");
        }
    }
}
