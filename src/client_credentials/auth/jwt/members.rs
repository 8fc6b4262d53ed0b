//! Members of one's own in the header or the claims of a JWT.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Error;
#[cfg(feature = "shared")]
use crate::util::parts::Add;

/// Names and values. What is wrong with one is kept until the credential is built.
#[derive(Clone, Default)]
pub(crate) struct Members {
    members: Map<String, Value>,
    /// The first name whose value is not JSON.
    unfit: Option<String>,
}

impl Members {
    pub(crate) fn insert(&mut self, name: String, value: impl Serialize) {
        match serde_json::to_value(value) {
            Ok(value) => {
                self.members.insert(name, value);
            }
            Err(_) => self.unfit = self.unfit.take().or(Some(name)),
        }
    }

    #[cfg(feature = "shared")]
    pub(crate) fn identify(&self, what: &str, add: Add<'_>) {
        for (name, value) in &self.members {
            add(what, name.as_bytes());
            add("value", value.to_string().as_bytes());
        }
    }

    /// Checks the names and values. `what` is `claim` or `header member`, and `reserved` says what sets such a name.
    pub(crate) fn check(&self, what: &str, reserved: &[(&str, &str)]) -> Result<(), Error> {
        if let Some(name) = &self.unfit {
            return Err(Error::configuration(format!(
                "the value of the assertion's {what} {name:?} cannot be written as JSON; use text, a number, a boolean, or lists and \
                 maps of them"
            )));
        }
        for (name, instead) in reserved {
            if self.contains(name) {
                return Err(Error::configuration(format!(
                    "the assertion's {what} {name:?} is reserved; {instead}"
                )));
            }
        }
        match self.contains("") {
            true => Err(Error::configuration(format!(
                "a {what} of the assertion has no name; name it or remove it"
            ))),
            false => Ok(()),
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The names alone, since a value may be secret.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.members.keys().map(String::as_str).collect()
    }

    /// These members over `others`.
    pub(crate) fn over(&self, mut others: Map<String, Value>) -> Map<String, Value> {
        others.extend(self.members.clone());
        others
    }
}
