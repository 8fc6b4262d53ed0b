//! The header that carries the token.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};

/// `Authorization`, unless the layer was told another name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carrier(Option<Arc<HeaderName>>);

impl Carrier {
    pub(crate) fn new(name: HeaderName) -> Self {
        Self((name != AUTHORIZATION).then(|| Arc::new(name)))
    }

    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        // Requests have few headers: a scan is faster than a lookup.
        let mut names = headers.keys();
        match &self.0 {
            None => names.any(|name| name == AUTHORIZATION),
            Some(own) => names.any(|name| *name == **own),
        }
    }

    /// Puts the token there, instead of what is there.
    pub(crate) fn put(&self, headers: &mut HeaderMap, token: HeaderValue) {
        match &self.0 {
            None => headers.insert(AUTHORIZATION, token),
            Some(own) => headers.insert(&**own, token),
        };
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            None => "Authorization",
            Some(own) => own.as_str(),
        })
    }
}
