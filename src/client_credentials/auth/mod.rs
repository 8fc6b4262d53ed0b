//! Client authentication at the token endpoint.

pub(crate) mod evidence;
#[cfg(feature = "jwt")]
pub(crate) mod jwt;
pub(crate) mod proof;
pub(crate) mod secret;

use std::{fmt, path::PathBuf};

#[cfg(feature = "jwt")]
use crate::client_credentials::auth::jwt::SigningKey;
use crate::{
    client_credentials::auth::{evidence::Evidence, proof::Proof, secret::Secret},
    error::Error,
};

/// The algorithm that signs with a secret.
pub(crate) const HS256: &str = "HS256";

/// The client authentication: a method, and the secret, key or assertion for it.
///
/// Servers usually enforce the method that a client is registered with, and answer any other with `invalid_client`.
///
/// | constructor | method, as servers name it ([RFC 8414 §2]) | what is sent |
/// | --- | --- | --- |
/// | [`post`](Self::post) | `client_secret_post` | id and secret in the form |
/// | [`basic`](Self::basic), [`basic_raw`](Self::basic_raw) | `client_secret_basic` | id and secret in a Basic header |
#[cfg_attr(
    feature = "jwt",
    doc = "| [`secret_jwt`](Self::secret_jwt) | `client_secret_jwt` | an assertion signed with the secret |"
)]
#[cfg_attr(
    feature = "jwt",
    doc = "| [`private_key_jwt`](Self::private_key_jwt) | `private_key_jwt` | an assertion signed with a private key |"
)]
/// | [`assertion`](Self::assertion), [`assertion_file`](Self::assertion_file) | `private_key_jwt` | an assertion signed by a third party |
/// | [`tls`](Self::tls) | `tls_client_auth`, `self_signed_tls_client_auth` | the id, over TLS with a client certificate |
/// | [`none`](Self::none) | `none` | the id |
///
/// A string or a [`Secret`] converts into a secret without a method. It is sent in the form, like `post`, unless discovery
/// ([`ClientCredentials::discover`](crate::ClientCredentials::discover)) picks another method from the server's metadata.
///
/// # Example
/// ```
/// use tower_bearer::{ClientAuth, ClientCredentials, Secret};
///
/// let url = "https://auth.example.com/oauth2/token";
/// let in_the_form = ClientCredentials::builder(url, "my-client", "my-secret");
/// let by_basic = ClientCredentials::builder(url, "my-client", ClientAuth::basic("my-secret"));
/// let by_kubernetes = ClientCredentials::builder(
///     url,
///     "my-client",
///     ClientAuth::assertion_file("/var/run/secrets/tokens/auth-server"),
/// );
/// # let _ = (in_the_form, by_basic, by_kubernetes);
/// ```
///
/// [RFC 8414 §2]: https://www.rfc-editor.org/rfc/rfc8414#section-2
#[derive(Clone)]
pub struct ClientAuth(Kind);

#[derive(Clone)]
enum Kind {
    Secret(SecretMethod, Secret),
    #[cfg(feature = "jwt")]
    SecretJwt(Secret),
    #[cfg(feature = "jwt")]
    PrivateKeyJwt(SigningKey),
    Assertion(Secret),
    Tls,
    None,
}

/// How a secret is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SecretMethod {
    /// Picked from what the server offers; in the form by default.
    Open,
    Post,
    Basic,
    BasicRaw,
}

impl ClientAuth {
    /// Sends id and secret in the form body: `client_secret_post` ([RFC 6749 §2.3.1]).
    ///
    /// Servers agree on the encoding of the form, unlike that of the Basic header.
    ///
    /// [RFC 6749 §2.3.1]: https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
    pub fn post(secret: impl Into<Secret>) -> Self {
        Self(Kind::Secret(SecretMethod::Post, secret.into()))
    }

    /// Sends id and secret, form-encoded, in a Basic header: `client_secret_basic` ([RFC 6749 §2.3.1]).
    ///
    /// Hydra, oidc-provider and django-oauth-toolkit require the form encoding.
    ///
    /// [RFC 6749 §2.3.1]: https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
    pub fn basic(secret: impl Into<Secret>) -> Self {
        Self(Kind::Secret(SecretMethod::Basic, secret.into()))
    }

    /// Sends id and secret in a plain Basic header, without form encoding ([RFC 7617 §2]).
    ///
    /// glewlwyd and node-oauth2-server require this form. It differs from [`basic`](Self::basic) only if the id or secret
    /// has special characters.
    ///
    /// [RFC 7617 §2]: https://www.rfc-editor.org/rfc/rfc7617#section-2
    pub fn basic_raw(secret: impl Into<Secret>) -> Self {
        Self(Kind::Secret(SecretMethod::BasicRaw, secret.into()))
    }

    /// Sends an assertion signed with the secret by HS256: `client_secret_jwt` ([RFC 7523 §2.2], [OpenID Connect Core §9]).
    ///
    /// The secret itself is not sent. See [`private_key_jwt`](Self::private_key_jwt) for the claims.
    ///
    /// [RFC 7523 §2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
    /// [OpenID Connect Core §9]: https://openid.net/specs/openid-connect-core-1_0.html#ClientAuthentication
    #[cfg(feature = "jwt")]
    pub fn secret_jwt(secret: impl Into<Secret>) -> Self {
        Self(Kind::SecretJwt(secret.into()))
    }

    /// Sends an assertion signed with a private key: `private_key_jwt` ([RFC 7523 §2.2], [OpenID Connect Core §9]).
    ///
    /// The key is local, or a [`Signer`](crate::client_credentials::Signer) holds it.
    ///
    /// # Claims
    /// - `iss` and `sub` are the client id.
    /// - `aud` is the token URL, or the value of
    ///   [`assertion_audience`](crate::client_credentials::ClientCredentialsBuilder::assertion_audience).
    /// - `iat` and `nbf` are 10 seconds before the machine's clock, for servers whose clock is behind.
    /// - `exp` is 60 seconds after `iat`, the longest lifetime that the strictest servers accept. So the machine's clock may
    ///   be 10 seconds ahead of the server's, or 50 behind.
    /// - `jti` is 128 random bits, new for each HTTP request to the token endpoint, retries included.
    ///
    /// [RFC 7523 §2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
    /// [OpenID Connect Core §9]: https://openid.net/specs/openid-connect-core-1_0.html#ClientAuthentication
    #[cfg(feature = "jwt")]
    pub fn private_key_jwt(key: impl Into<SigningKey>) -> Self {
        Self(Kind::PrivateKeyJwt(key.into()))
    }

    /// Sends an assertion signed by a third party ([RFC 7523 §2.2]).
    ///
    /// Use it for federated identities: the client has no secret of its own. A [`Secret::from_provider`] can fetch an assertion at
    /// each token request, for example from a cloud's metadata server.
    ///
    /// [RFC 7523 §2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
    pub fn assertion(assertion: impl Into<Secret>) -> Self {
        Self(Kind::Assertion(assertion.into()))
    }

    /// Sends the assertion in this file, which a third party signs and keeps fresh.
    ///
    /// The file is read at each token request. Use it for a projected Kubernetes service account token whose audience is the
    /// server, or for a cloud's workload identity.
    pub fn assertion_file(path: impl Into<PathBuf>) -> Self {
        Self::assertion(Secret::from_file(path))
    }

    /// Sends the client id alone; the connection's client certificate authenticates the client ([RFC 8705 §2]).
    ///
    /// The certificate is issued by a CA or self-signed, and belongs to the transport. It can be combined with any other
    /// method, for example for certificate-bound tokens ([RFC 8705 §3]).
    ///
    /// [RFC 8705 §2]: https://www.rfc-editor.org/rfc/rfc8705#section-2
    /// [RFC 8705 §3]: https://www.rfc-editor.org/rfc/rfc8705#section-3
    #[cfg_attr(
        feature = "rustls-no-provider",
        doc = "\n\nFor the default transport, set it with [`client_certificate`](crate::client_credentials::ClientCredentialsBuilder::client_certificate)."
    )]
    #[must_use]
    pub fn tls() -> Self {
        Self(Kind::Tls)
    }

    /// Sends the client id alone, without authentication: `none` ([RFC 7591 §2]).
    ///
    /// The grant requires confidential clients ([RFC 6749 §4.4]). Use this only with servers that identify clients in some
    /// other way, such as by network.
    ///
    /// [RFC 7591 §2]: https://www.rfc-editor.org/rfc/rfc7591#section-2
    /// [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
    #[must_use]
    pub fn none() -> Self {
        Self(Kind::None)
    }

    /// The possible methods, by the names that servers announce ([RFC 8414 §2]), best first.
    ///
    /// [RFC 8414 §2]: https://www.rfc-editor.org/rfc/rfc8414#section-2
    pub(crate) fn methods(&self) -> &'static [&'static str] {
        match &self.0 {
            // Sending comes first: how a secret is used must not change when another crate enables the feature. An
            // assertion is used only if nothing else is offered, or if it is chosen explicitly.
            #[cfg(feature = "jwt")]
            Kind::Secret(SecretMethod::Open, _) => {
                &[CLIENT_SECRET_BASIC, CLIENT_SECRET_POST, CLIENT_SECRET_JWT]
            }
            #[cfg(not(feature = "jwt"))]
            Kind::Secret(SecretMethod::Open, _) => &[CLIENT_SECRET_BASIC, CLIENT_SECRET_POST],
            Kind::Secret(SecretMethod::Post, _) => &[CLIENT_SECRET_POST],
            Kind::Secret(SecretMethod::Basic | SecretMethod::BasicRaw, _) => &[CLIENT_SECRET_BASIC],
            #[cfg(feature = "jwt")]
            Kind::SecretJwt(_) => &[CLIENT_SECRET_JWT],
            #[cfg(feature = "jwt")]
            Kind::PrivateKeyJwt(_) => &["private_key_jwt"],
            Kind::Assertion(_) => &["private_key_jwt"],
            Kind::Tls => &["tls_client_auth", "self_signed_tls_client_auth"],
            Kind::None => &["none"],
        }
    }

    /// Whether the proof is the connection's client certificate.
    pub(crate) fn is_by_certificate(&self) -> bool {
        matches!(self.0, Kind::Tls)
    }

    /// Whether the client signs an assertion itself.
    #[cfg(feature = "jwt")]
    pub(crate) fn signs(&self) -> bool {
        matches!(self.0, Kind::SecretJwt(_) | Kind::PrivateKeyJwt(_))
    }

    /// Checks it once, when a credential is built, without calling providers.
    pub(crate) fn check(&self, client_id: &str) -> Result<(), Error> {
        match &self.0 {
            Kind::Secret(method, secret) => {
                let secret = secret.peek(CLIENT_SECRET)?.unwrap_or_default();
                match method {
                    SecretMethod::BasicRaw => check_raw(client_id, &secret),
                    SecretMethod::Open | SecretMethod::Post | SecretMethod::Basic => Ok(()),
                }
            }
            #[cfg(feature = "jwt")]
            Kind::SecretJwt(secret) => secret.peek(CLIENT_SECRET).map(drop),
            #[cfg(feature = "jwt")]
            Kind::PrivateKeyJwt(key) => key.check(),
            Kind::Assertion(assertion) => assertion.peek(ASSERTION).map(drop),
            Kind::Tls | Kind::None => Ok(()),
        }
    }

    /// Reads the client authentication for one token request.
    pub(crate) async fn read(&self) -> Result<Evidence, Error> {
        Ok(match &self.0 {
            Kind::Secret(method, secret) => {
                let secret = secret.read(CLIENT_SECRET).await?;
                match method {
                    SecretMethod::Open => Evidence::Open(secret),
                    SecretMethod::Post => Evidence::Ready(Proof::Post(secret)),
                    SecretMethod::Basic => Evidence::Ready(Proof::Basic(secret)),
                    SecretMethod::BasicRaw => Evidence::Ready(Proof::BasicRaw(secret)),
                }
            }
            #[cfg(feature = "jwt")]
            Kind::SecretJwt(secret) => Evidence::Secret(secret.read(CLIENT_SECRET).await?),
            #[cfg(feature = "jwt")]
            Kind::PrivateKeyJwt(key) => Evidence::Key(key.read().await?),
            Kind::Assertion(assertion) => {
                Evidence::Ready(Proof::Assertion(assertion.read(ASSERTION).await?))
            }
            Kind::Tls | Kind::None => Evidence::Ready(Proof::ClientId),
        })
    }

    /// Whether another read may return a different value.
    pub(crate) fn may_change(&self) -> bool {
        match &self.0 {
            Kind::Secret(_, secret) | Kind::Assertion(secret) => secret.may_change(),
            #[cfg(feature = "jwt")]
            Kind::SecretJwt(secret) => secret.may_change(),
            #[cfg(feature = "jwt")]
            Kind::PrivateKeyJwt(key) => key.may_change(),
            Kind::Tls | Kind::None => false,
        }
    }

    /// What to do about a rejected client authentication, if the server's description says so.
    ///
    /// Hydra names the method it wants: "… supports client authentication method 'client_secret_post', but method …".
    /// Hydra and oidc-provider also say when a Basic header is raw and should not be: "… could not be decoded from
    /// 'application/x-www-form-urlencoded'", "… are not properly encoded".
    pub(crate) fn advised_by(description: &str) -> Option<&'static str> {
        const NAMED: &str = "supports client authentication method '";
        if let Some((_, rest)) = description.split_once(NAMED) {
            return match rest.split_once('\'') {
                Some(("client_secret_post", _)) => Some("use `ClientAuth::post`"),
                Some(("client_secret_basic", _)) => Some("use `ClientAuth::basic`"),
                Some(("client_secret_jwt", _)) => Some("use `ClientAuth::secret_jwt`"),
                Some(("private_key_jwt", _)) => Some("use `ClientAuth::private_key_jwt`"),
                Some(("tls_client_auth" | "self_signed_tls_client_auth", _)) => {
                    Some("use `ClientAuth::tls`")
                }
                Some(("none", _)) => Some("use `ClientAuth::none`"),
                _ => None,
            };
        }
        [
            "not properly encoded",
            "could not be decoded from 'application/x-www-form-urlencoded'",
        ]
        .iter()
        .any(|told| description.contains(told))
        .then_some("use `ClientAuth::basic`")
    }
}

/// A secret without a method.
impl<T: Into<Secret>> From<T> for ClientAuth {
    fn from(secret: T) -> Self {
        Self(Kind::Secret(SecretMethod::Open, secret.into()))
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ClientAuth");
        out.field("methods", &self.methods());
        match &self.0 {
            Kind::Secret(_, secret) => out.field("secret", secret),
            #[cfg(feature = "jwt")]
            Kind::SecretJwt(secret) => out.field("secret", secret),
            #[cfg(feature = "jwt")]
            Kind::PrivateKeyJwt(key) => out.field("key", key),
            Kind::Assertion(assertion) => out.field("assertion", assertion),
            Kind::Tls | Kind::None => &mut out,
        };
        out.finish()
    }
}

/// Rejects an id or secret that a raw Basic header cannot carry.
fn check_raw(client_id: &str, secret: &str) -> Result<(), Error> {
    if client_id.contains(':') {
        return Err(Error::configuration(
            "the client id has a colon, which ends the id in a raw Basic header; use `ClientAuth::basic` or `ClientAuth::post`",
        ));
    }
    if client_id.contains(char::is_control) || secret.contains(char::is_control) {
        return Err(Error::configuration(
            "the client id or secret has a control character (a trailing newline?), which a raw Basic header cannot carry (RFC 7617 section 2); remove it",
        ));
    }
    Ok(())
}

pub(crate) const CLIENT_SECRET_JWT: &str = "client_secret_jwt";
pub(crate) const CLIENT_SECRET_BASIC: &str = "client_secret_basic";
const CLIENT_SECRET_POST: &str = "client_secret_post";

const CLIENT_SECRET: &str = "client secret";
const ASSERTION: &str = "client assertion";
