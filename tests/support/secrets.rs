//! Random secrets and tokens, and a search for them, for any form of them and for any piece of those.

#![allow(
    dead_code,
    reason = "every test file is a crate of its own and uses a part of this"
)]

use std::{collections::HashSet, env};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{header::AUTHORIZATION, request::Parts};
use url::form_urlencoded::byte_serialize;

/// As random as its seed, which it says.
pub(crate) struct Random(fastrand::Rng);

impl Random {
    pub(crate) fn new() -> Self {
        let seed = match env::var("PROPTEST_RNG_SEED") {
            Ok(seed) => seed.parse().expect("PROPTEST_RNG_SEED is a number"),
            Err(_) => fastrand::u64(..),
        };
        println!("PROPTEST_RNG_SEED={seed}");
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Printable ASCII, with blanks inside only, since servers and people trim.
    fn text(&mut self, length: std::ops::Range<usize>, blanks: bool) -> String {
        let length = self.0.usize(length);
        (0..length)
            .map(|at| match blanks && at > 0 && at + 1 < length {
                true => char::from(self.0.u8(b' '..=b'~')),
                false => char::from(self.0.u8(b'!'..=b'~')),
            })
            .collect()
    }
}

/// A client, and what nobody may read of it.
pub(crate) struct Hidden {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) tokens: [String; 3],
    more: Vec<String>,
}

impl Hidden {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            id: format!("client-{}", random.0.u32(..)),
            secret: random.text(16..48, true),
            tokens: std::array::from_fn(|_| random.text(20..90, false)),
            more: Vec::new(),
        }
    }

    /// Looks for this as well.
    pub(crate) fn and(&mut self, text: &str) {
        self.more.push(text.to_owned());
    }

    /// What a token endpoint was sent has a secret in it: the client's own, or an assertion, which is looked for as well.
    pub(crate) fn sent_in(&mut self, head: &Parts, form: &[u8]) {
        let form: Vec<_> = url::form_urlencoded::parse(form).collect();
        let shown = ["client_assertion", "assertion", "subject_token"];
        let assertion = form.iter().find(|(name, _)| shown.contains(&&**name));
        if let Some((_, assertion)) = assertion {
            self.and(assertion);
            return;
        }
        let given = form.iter().find(|(name, _)| name == "client_secret");
        match given {
            Some((_, secret)) => assert_eq!(*secret, self.secret),
            None => assert!(head.headers.contains_key(AUTHORIZATION), "{form:?}"),
        }
    }

    pub(crate) fn assert_not_in(&self, shown: &str) {
        if let Some(piece) = self.found_in(shown) {
            let at = shown.find(&piece).unwrap();
            let line = shown[at..].lines().next().unwrap();
            let before = shown[..at].lines().next_back().unwrap_or_default();
            panic!("{piece:?} is in {before}{line}");
        }
    }

    /// A piece of what is hidden that is in the text, if there is one.
    pub(crate) fn found_in(&self, shown: &str) -> Option<String> {
        let forms = self.forms();
        let pieces: HashSet<&[u8]> = forms
            .iter()
            .flat_map(|form| form.as_bytes().windows(PIECE))
            .collect();
        // Most of the text is ruled out by two characters, for there are megabytes of it.
        let two = |piece: &[u8]| usize::from(u16::from_ne_bytes([piece[0], piece[1]]));
        let mut begins = vec![false; 1 << 16];
        for piece in &pieces {
            begins[two(piece)] = true;
        }
        let piece = shown
            .as_bytes()
            .windows(PIECE)
            .find(|piece| begins[two(piece)] && pieces.contains(piece));
        if let Some(piece) = piece {
            return Some(String::from_utf8_lossy(piece).into_owned());
        }
        // What `Debug` makes of bytes: a piece of it is a few numbers, as any list has them.
        self.texts()
            .flat_map(|text| [list(text), list(&text[..PIECE]), list(&base64(text))])
            .find(|list| shown.contains(list))
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let tokens = self.tokens.iter().map(String::as_str);
        let more = self.more.iter().map(String::as_str);
        [self.secret.as_str()].into_iter().chain(tokens).chain(more)
    }

    /// All that is hidden as it goes over wires, and as it is printed.
    fn forms(&self) -> HashSet<String> {
        let mut forms = HashSet::new();
        for text in self.texts() {
            let encoded = form_encoded(text);
            let plain = [
                text.to_owned(),
                encoded.replace('+', "%20"),
                encoded.to_lowercase(),
                encoded.clone(),
            ];
            // Where what is encoded begins decides what it looks like, and a header says what it is.
            let shifted = [
                text.to_owned(),
                format!("{}:{text}", self.id),
                format!("{}:{encoded}", form_encoded(&self.id)),
                format!("Bearer {text}"),
            ];
            for form in plain {
                forms.insert(form.escape_debug().to_string());
                forms.insert(form.escape_default().to_string());
                forms.insert(form);
            }
            for text in shifted {
                let from = base64(&text);
                // The id before the secret may be read.
                let public = match text.starts_with(&self.id) {
                    true => (self.id.len() + 1).div_ceil(3) * 4,
                    false => 0,
                };
                let from = from[public..].to_owned();
                forms.insert(from.replace('+', "-").replace('/', "_"));
                forms.insert(form_encoded(&from));
                forms.insert(from);
            }
        }
        forms
    }
}

pub(crate) fn base64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn form_encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// What `Debug` makes of bytes, without the brackets.
fn list(text: &str) -> String {
    let list = format!("{:?}", text.as_bytes());
    list.trim_matches(['[', ']']).to_owned()
}

/// So many characters in a row are no coincidence.
pub(crate) const PIECE: usize = 8;
