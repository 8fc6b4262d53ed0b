//! Grants: what a token request asks for.

use std::borrow::Cow;

use crate::error::Error;

/// What a token request asks for: its `grant_type`, and what belongs to it.
#[derive(Clone, Debug)]
pub(crate) enum Grant {
    /// The client credentials grant, by this name.
    ClientCredentials(Cow<'static, str>),
}

impl Grant {
    pub(crate) fn named(grant_type: String) -> Self {
        Self::ClientCredentials(grant_type.into())
    }

    /// Checks it once, when a credential is built.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self::ClientCredentials(grant_type) = self;
        match grant_type.trim().is_empty() {
            true => Err(Error::configuration(
                "the grant type is empty or blank; remove `grant_type`, or give the server's name of the grant",
            )),
            false => Ok(()),
        }
    }

    /// The `grant_type` in the form.
    pub(crate) fn grant_type(&self) -> &str {
        let Self::ClientCredentials(grant_type) = self;
        grant_type
    }
}

impl Default for Grant {
    fn default() -> Self {
        Self::ClientCredentials(Cow::Borrowed("client_credentials"))
    }
}
