//! The token endpoint and what is known about it.

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

/// A token endpoint that is known, or that is discovered from its issuer.
#[derive(Clone)]
pub(crate) enum Endpoint<Known, Issuer> {
    Known(Known),
    Discovered(Issuer),
}

/// A URL and its original text. The text is compared and signed, because parsing may change it.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) text: String,
    pub(crate) url: Url,
}

/// The destination of a token request and what the server accepts there.
pub(crate) struct Target {
    pub(crate) token_url: TokenUrl,
    /// The audience of an assertion that this client signs.
    pub(crate) audience: String,
    /// The method picked from the server's metadata, for a secret without one.
    pub(crate) method: Option<&'static str>,
    /// The algorithms that the server accepts for assertions, if it lists them.
    pub(crate) algorithms: Option<Vec<String>>,
}

impl Target {
    /// # Errors
    /// The server lists its algorithms, and this credential's is not among them.
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
            "the server's metadata says that its token endpoint accepts assertions signed with {}, but this \
             credential's are signed with {algorithm}; use a key for one of those",
            redact::clean(&algorithms.join(", "), LONGEST_TEXT, hidden)
        )))
    }
}
