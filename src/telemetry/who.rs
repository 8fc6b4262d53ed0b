//! What tells one cache from another, for people and as a label.

use std::sync::Arc;

use crate::error::{Error, Requester};

/// The names that a builder gave a cache.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) key: Option<Arc<str>>,
}

/// Whose event or number it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Who {
    pub(super) names: Names,
    /// Whether the cache is one of the many of a `Keyed`.
    pub(super) is_keyed: bool,
    /// Known from the first token request on, unless the source is the user's own.
    pub(super) requester: Option<Requester>,
}

impl Who {
    pub(super) fn of(requester: &Requester) -> Self {
        Self {
            requester: Some(requester.clone()),
            ..Self::default()
        }
    }

    /// The label of its metrics: of as many values as the program has names and credentials, never one for each key.
    pub(super) fn label(&self) -> Arc<str> {
        match (&self.names.name, &self.requester) {
            (Some(name), _) => Arc::clone(name),
            (None, _) if self.is_keyed => "keyed".into(),
            (None, Some(requester)) => {
                let (client_id, endpoint) = requester.parts();
                format!("{client_id}@{endpoint}").into()
            }
            (None, None) => "unnamed".into(),
        }
    }

    /// Whether others have the same label, so that a time of this one alone says nothing.
    pub(super) fn is_one_of_many(&self) -> bool {
        self.names.key.is_some() || (self.is_keyed && self.names.name.is_none())
    }

    pub(super) fn client_id(&self) -> Option<&str> {
        Some(self.requester.as_ref()?.parts().0)
    }

    /// The token endpoint's host, and its port if it is not the scheme's.
    pub(super) fn server(&self) -> (Option<&str>, Option<u16>) {
        let Some(requester) = &self.requester else {
            return (None, None);
        };
        let (_, endpoint) = requester.parts();
        let split = endpoint.rsplit_once(':');
        match split.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(endpoint), None),
        }
    }
}

/// The stable name of what went wrong: `error.type`.
pub(super) fn error_type(error: &Error) -> &'static str {
    error.kind().name()
}
