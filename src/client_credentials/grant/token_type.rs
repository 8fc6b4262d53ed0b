//! The types of tokens that are exchanged.

use std::fmt;

/// The type of a token that is exchanged: an identifier of [RFC 8693 §3].
///
/// A string converts into it, and is an absolute URI.
///
/// | variant | identifier |
/// | --- | --- |
/// | [`AccessToken`](Self::AccessToken) | `urn:ietf:params:oauth:token-type:access_token` |
/// | [`IdToken`](Self::IdToken) | `urn:ietf:params:oauth:token-type:id_token` |
/// | [`Jwt`](Self::Jwt) | `urn:ietf:params:oauth:token-type:jwt` |
/// | [`Saml1`](Self::Saml1), [`Saml2`](Self::Saml2) | `urn:ietf:params:oauth:token-type:saml1`, `…:saml2` |
///
/// [RFC 8693 §3]: https://www.rfc-editor.org/rfc/rfc8693#section-3
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenType {
    /// An access token of the server that is asked. Its form is that server's own affair.
    AccessToken,
    /// An ID token of OpenID Connect.
    IdToken,
    /// A JWT of any kind, as platforms give them to workloads.
    Jwt,
    /// A SAML 1.1 assertion, in base64url.
    Saml1,
    /// A SAML 2.0 assertion, in base64url.
    Saml2,
    /// This URI.
    Other(String),
}

impl TokenType {
    const NAMED: [Self; 5] = [
        Self::AccessToken,
        Self::IdToken,
        Self::Jwt,
        Self::Saml1,
        Self::Saml2,
    ];

    /// Returns the identifier, a URI.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
            Self::Saml1 => "urn:ietf:params:oauth:token-type:saml1",
            Self::Saml2 => "urn:ietf:params:oauth:token-type:saml2",
            Self::Other(uri) => uri,
        }
    }
}

impl From<&str> for TokenType {
    fn from(uri: &str) -> Self {
        let named = Self::NAMED.into_iter().find(|it| it.as_str() == uri);
        named.unwrap_or_else(|| Self::Other(uri.to_owned()))
    }
}

impl From<String> for TokenType {
    fn from(uri: String) -> Self {
        uri.as_str().into()
    }
}

impl fmt::Display for TokenType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
