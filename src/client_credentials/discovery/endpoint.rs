//! The token endpoint and what is known about it.

use oauth2::TokenUrl;
use url::Url;

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
#[cfg_attr(
    not(feature = "jwt"),
    expect(dead_code, reason = "assertions are signed for it")
)]
pub(crate) struct Target {
    pub(crate) token_url: TokenUrl,
    /// The token URL as it was given.
    pub(crate) token_endpoint: String,
    /// The issuer as it was given, if the endpoint was discovered.
    pub(crate) issuer: Option<String>,
    /// The method picked from the server's metadata, for a secret without one.
    pub(crate) method: Option<&'static str>,
    /// The algorithms that the server accepts for assertions, if it lists them.
    pub(crate) algorithms: Option<Vec<String>>,
}

#[cfg(feature = "jwt")]
impl Target {
    /// The first of these names of algorithms that the server accepts. If it lists none, it accepts all.
    pub(crate) fn listed(
        &self,
        names: impl IntoIterator<Item = &'static str>,
    ) -> Option<&'static str> {
        let is_listed = |name: &&str| match &self.algorithms {
            Some(listed) => listed.iter().any(|it| it == name),
            None => true,
        };
        names.into_iter().find(is_listed)
    }
}
