//! Where the token endpoint is, and what is known of it.

use oauth2::TokenUrl;
use url::Url;

use crate::{
    client_credentials::{
        auth::evidence::Evidence,
        redact::{self, LONGEST_TEXT},
    },
    error::Error,
    util::wiped::Wiped,
};

/// A token endpoint that is known, or that its issuer has to be asked for.
#[derive(Clone)]
pub(crate) enum Endpoint<Known, Issuer> {
    Known(Known),
    Discovered(Issuer),
}

/// A URL, and its text as it was given, which is what is compared and signed: parsing may change it.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) text: String,
    pub(crate) url: Url,
}

/// Where a token request goes, and what the server takes there.
pub(crate) struct Target {
    pub(crate) token_url: TokenUrl,
    /// Whom an assertion that is signed here is for.
    pub(crate) audience: String,
    /// By which method a secret goes whose method is left open, where the server says what it takes.
    pub(crate) method: Option<&'static str>,
    /// What an assertion may be signed with, where the server says so.
    pub(crate) algorithms: Option<Vec<String>>,
}

impl Target {
    /// # Errors
    /// Where the server says that it does not take what the assertion would be signed with.
    pub(crate) fn check(&self, evidence: &Evidence, hidden: &[Wiped]) -> Result<(), Error> {
        let (Some(algorithms), Some(algorithm)) =
            (&self.algorithms, evidence.algorithm(self.method))
        else {
            return Ok(());
        };
        if algorithms.iter().any(|taken| taken == algorithm) {
            return Ok(());
        }
        Err(Error::unsupported(format!(
            "the server's metadata says that its token endpoint takes assertions signed with {}, and this credential's is \
             signed with {algorithm}; use a key for one of those",
            redact::clean(&algorithms.join(", "), LONGEST_TEXT, hidden)
        )))
    }
}
