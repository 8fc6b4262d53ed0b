//! Grants: what a token request asks for, for machines that have something else to show than a client's own credentials.
//!
//! The usual grant is client credentials, and it needs nothing from here. Any other goes to
//! [`ClientCredentialsBuilder::grant`]. All else stays: the token URL or discovery, the client authentication, the transport,
//! scopes, parameters, retries.
//!
//! | grant | what is shown | how |
//! | --- | --- | --- |
//! | client credentials ([RFC 6749 §4.4]) | the client authentication alone | nothing to do |
//! | the same by another name | the same | [`ClientCredentialsBuilder::grant_type`] |
//! | token exchange ([RFC 8693]) | a token of another server, or of another credential | [`TokenExchange`] |
//! | JWT bearer ([RFC 7523 §2.1]) | an assertion that a third party signs | [`Grant::jwt_bearer`] |
#![cfg_attr(
    feature = "jwt",
    doc = "| JWT bearer ([RFC 7523 §2.1]) | an assertion that this crate signs | [`JwtBearer`], [`google_service_account`] |"
)]
//!
//! Without a client, as Google's servers have it, begin with
//! [`ClientCredentials::without_client`](crate::ClientCredentials::without_client). A public client sends its id alone:
//! [`ClientAuth::none`](crate::ClientAuth::none).
//!
//! # Which one?
//! - A workload has a token of its platform (Kubernetes, SPIFFE, GitHub, AWS, Azure), and Google Cloud or another server trusts
//!   that platform: [`TokenExchange`].
//! - The platform's token stands for the *client*, as Entra ID and Keycloak have it: no grant, but
//!   [`ClientAuth::assertion`](crate::ClientAuth::assertion).
//! - You have the key file of a Google service account, or a server that takes signed assertions as grants: JWT bearer.
//!
//! # When the server rejects what is shown
//! Tokens and assertions are read anew for each token request. If the server answers `invalid_grant` or `invalid_request`, they
//! are read again, and the token request is retried once, immediately, if they have changed. A
//! [`Secret::from_cache`](crate::Secret::from_cache) forgets the rejected token first.
//!
//! # Lifetime
//! A token is used no longer than what it was given for is good: the subject token or the third party's assertion. Its end is
//! what the cache knows, or the `exp` of a JWT. This crate does not verify the JWT: the server does.
//!
//! [`ClientCredentialsBuilder::grant`]: crate::client_credentials::ClientCredentialsBuilder::grant
//! [`ClientCredentialsBuilder::grant_type`]: crate::client_credentials::ClientCredentialsBuilder::grant_type
//! [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
//! [RFC 7523 §2.1]: https://www.rfc-editor.org/rfc/rfc7523#section-2.1
//! [RFC 8693]: https://www.rfc-editor.org/rfc/rfc8693

#[cfg(feature = "jwt")]
mod google;
#[cfg(feature = "jwt")]
pub(crate) mod jwt_bearer;
mod subject;
pub(crate) mod token_exchange;
mod token_type;

use std::{borrow::Cow, time::Duration};

#[cfg(feature = "jwt")]
use self::jwt_bearer::ReadJwtBearer;
#[cfg(feature = "jwt")]
pub use self::{google::google_service_account, jwt_bearer::JwtBearer};
use self::{subject::Subject, token_exchange::ReadExchange};
pub use self::{token_exchange::TokenExchange, token_type::TokenType};
use crate::{
    client_credentials::{auth::secret::Secret, discovery::endpoint::Target},
    error::Error,
    util::wiped::Wiped,
};

/// What a token request asks for: its `grant_type`, and what is shown for it.
///
/// The [module](self) lists the grants.
#[derive(Clone, Debug, Default)]
pub struct Grant(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// The client credentials grant, by this name.
    ClientCredentials(Cow<'static, str>),
    TokenExchange(Box<TokenExchange>),
    /// An assertion that a third party signs.
    Assertion(Secret),
    #[cfg(feature = "jwt")]
    Signed(Box<JwtBearer>),
}

impl Default for Kind {
    fn default() -> Self {
        Self::ClientCredentials(Cow::Borrowed("client_credentials"))
    }
}

impl Grant {
    /// Shows an assertion that a third party signs, and keeps fresh: `urn:ietf:params:oauth:grant-type:jwt-bearer`
    /// ([RFC 7523 §2.1]).
    ///
    /// It is read at each token request, as any [`Secret`].
    ///
    /// # Example
    /// ```
    /// use tower_bearer::{ClientAuth, ClientCredentials, Secret, client_credentials::Grant};
    ///
    /// let credentials = ClientCredentials::builder(
    ///     "https://auth.example.com/oauth2/token",
    ///     "my-client",
    ///     ClientAuth::none(),
    /// )
    /// .grant(Grant::jwt_bearer(Secret::from_file("/var/run/secrets/tokens/assertion")));
    /// # let _ = credentials;
    /// ```
    ///
    /// [RFC 7523 §2.1]: https://www.rfc-editor.org/rfc/rfc7523#section-2.1
    pub fn jwt_bearer(assertion: impl Into<Secret>) -> Self {
        Self(Kind::Assertion(assertion.into()))
    }

    pub(crate) fn named(grant_type: String) -> Self {
        Self(Kind::ClientCredentials(grant_type.into()))
    }

    /// Whether it asks with the client's credentials alone.
    pub(crate) fn is_client_credentials(&self) -> bool {
        matches!(self.0, Kind::ClientCredentials(_))
    }

    /// The parameters that it sets.
    pub(crate) fn params(&self) -> &'static [&'static str] {
        match &self.0 {
            Kind::ClientCredentials(_) => &[],
            Kind::TokenExchange(_) => &token_exchange::PARAMS,
            Kind::Assertion(_) => &[ASSERTION],
            #[cfg(feature = "jwt")]
            Kind::Signed(_) => &[ASSERTION],
        }
    }

    /// Checks it once, when a credential is built, without calling providers. `discovers` says whether the issuer is known.
    #[cfg_attr(not(feature = "jwt"), expect(unused_variables))]
    pub(crate) fn check(&self, discovers: bool) -> Result<(), Error> {
        match &self.0 {
            Kind::ClientCredentials(grant_type) if grant_type.trim().is_empty() => {
                Err(Error::configuration(
                    "the grant type is empty or blank; remove `grant_type`, or give the server's name of the grant",
                ))
            }
            Kind::ClientCredentials(_) => Ok(()),
            Kind::TokenExchange(exchange) => exchange.check(),
            Kind::Assertion(assertion) => assertion.peek(ASSERTION).map(drop),
            #[cfg(feature = "jwt")]
            Kind::Signed(assertion) => assertion.check(discovers),
        }
    }

    /// Reads what is shown, for one token request.
    pub(crate) async fn read(&self) -> Result<ReadGrant, Error> {
        Ok(match &self.0 {
            Kind::ClientCredentials(name) => ReadGrant::ClientCredentials(name.clone()),
            Kind::TokenExchange(exchange) => {
                ReadGrant::TokenExchange(Box::new(exchange.read().await?))
            }
            Kind::Assertion(assertion) => {
                ReadGrant::Assertion(Subject::read(assertion, ASSERTION).await?)
            }
            #[cfg(feature = "jwt")]
            Kind::Signed(assertion) => ReadGrant::Signed(Box::new(assertion.read().await?)),
        })
    }

    /// The server rejected what was read here.
    pub(crate) fn reject(&self, read: &ReadGrant) {
        match (&self.0, read) {
            (Kind::TokenExchange(exchange), ReadGrant::TokenExchange(read)) => {
                exchange.reject(read);
            }
            (Kind::Assertion(assertion), ReadGrant::Assertion(read)) => {
                assertion.reject(&read.text);
            }
            _ => {}
        }
    }
}

impl From<TokenExchange> for Grant {
    fn from(exchange: TokenExchange) -> Self {
        Self(Kind::TokenExchange(Box::new(exchange)))
    }
}

#[cfg(feature = "jwt")]
impl From<JwtBearer> for Grant {
    fn from(assertion: JwtBearer) -> Self {
        Self(Kind::Signed(Box::new(assertion)))
    }
}

/// A grant with what is shown for it, as it was when it was read.
pub(crate) enum ReadGrant {
    ClientCredentials(Cow<'static, str>),
    TokenExchange(Box<ReadExchange>),
    Assertion(Subject),
    /// Signed for each attempt.
    #[cfg(feature = "jwt")]
    Signed(Box<ReadJwtBearer>),
}

/// What one attempt asks, in its form.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) grant_type: Cow<'static, str>,
    pub(crate) pairs: Vec<(&'static str, Wiped)>,
    /// Whether the scopes are in it, and so not in the form.
    pub(crate) has_scopes: bool,
    /// What to check if the server rejects what is shown.
    pub(crate) advice: Option<String>,
}

impl ReadGrant {
    /// What one attempt asks of this server.
    #[cfg_attr(not(feature = "jwt"), expect(clippy::unused_async, unused_variables))]
    pub(crate) async fn ask(
        &self,
        target: &Target,
        scopes: &[&str],
        hidden: &[Wiped],
    ) -> Result<Asked, Error> {
        Ok(match self {
            Self::ClientCredentials(name) => Asked {
                grant_type: name.clone(),
                pairs: Vec::new(),
                has_scopes: false,
                advice: None,
            },
            Self::TokenExchange(exchange) => exchange.ask(),
            Self::Assertion(assertion) => Asked::with_assertion(
                assertion.text.clone(),
                "check the assertion: its audience, its end, and whether the server trusts its issuer".to_owned(),
            ),
            #[cfg(feature = "jwt")]
            Self::Signed(assertion) => assertion.ask(target, scopes, hidden).await?,
        })
    }

    /// Texts that no error may show.
    pub(crate) fn secrets(&self) -> Vec<&Wiped> {
        match self {
            Self::TokenExchange(exchange) => exchange.tokens().map(|it| &it.text).collect(),
            Self::Assertion(assertion) => vec![&assertion.text],
            Self::ClientCredentials(_) => Vec::new(),
            // A server cannot echo the key.
            #[cfg(feature = "jwt")]
            Self::Signed(_) => Vec::new(),
        }
    }

    /// Whether both reads returned the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::ClientCredentials(_), Self::ClientCredentials(_)) => true,
            (Self::TokenExchange(one), Self::TokenExchange(other)) => one.is_same(other),
            (Self::Assertion(one), Self::Assertion(other)) => one.text == other.text,
            #[cfg(feature = "jwt")]
            (Self::Signed(one), Self::Signed(other)) => one.key.is_same(&other.key),
            _ => false,
        }
    }

    /// What was left of what is shown when it was read, if that is known. A token that is given for it lives no longer.
    pub(crate) fn left(&self) -> Option<Duration> {
        match self {
            Self::TokenExchange(exchange) => exchange.left(),
            Self::Assertion(assertion) => assertion.left,
            Self::ClientCredentials(_) => None,
            // It says whom a token is for, not for how long.
            #[cfg(feature = "jwt")]
            Self::Signed(_) => None,
        }
    }

    /// Whether something else than an access token was asked for, so that the answer's `token_type` may be `N_A`.
    pub(crate) fn asks_for_another_type(&self) -> bool {
        matches!(self, Self::TokenExchange(exchange) if exchange.asks_for_another_type())
    }
}

impl Asked {
    /// The grant of [RFC 7523 §2.1].
    ///
    /// [RFC 7523 §2.1]: https://www.rfc-editor.org/rfc/rfc7523#section-2.1
    fn with_assertion(assertion: Wiped, advice: String) -> Self {
        Self {
            grant_type: Cow::Borrowed("urn:ietf:params:oauth:grant-type:jwt-bearer"),
            pairs: vec![(ASSERTION, assertion)],
            has_scopes: false,
            advice: Some(advice),
        }
    }

    /// Its pairs, as they are added to a form.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (*name, &**value))
    }

    /// An assertion, which may have been signed for it. No error may show it.
    pub(crate) fn assertion(&self) -> Option<&str> {
        let mut pairs = self.pairs();
        pairs.find_map(|(name, value)| (name == ASSERTION).then_some(value))
    }
}

const ASSERTION: &str = "assertion";
