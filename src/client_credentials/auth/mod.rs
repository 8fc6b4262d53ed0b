//! How a client proves at the token endpoint who it is.

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

/// What a secret signs by.
pub(crate) const HS256: &str = "HS256";

/// How a client proves at the token endpoint who it is, and what it proves it with.
///
/// Servers commonly enforce the method that a client is registered with, and say `invalid_client` to the others.
///
/// | constructor | method, as servers name it ([RFC 8414 §2]) | what is sent |
/// | --- | --- | --- |
/// | [`post`](Self::post) | `client_secret_post` | id and secret in the form |
/// | [`basic`](Self::basic), [`basic_raw`](Self::basic_raw) | `client_secret_basic` | id and secret in a Basic header |
#[cfg_attr(
    feature = "jwt",
    doc = "| [`secret_jwt`](Self::secret_jwt) | `client_secret_jwt` | an assertion that is signed with the secret |"
)]
#[cfg_attr(
    feature = "jwt",
    doc = "| [`private_key_jwt`](Self::private_key_jwt) | `private_key_jwt` | an assertion that is signed with a private key |"
)]
/// | [`assertion`](Self::assertion), [`assertion_file`](Self::assertion_file) | `private_key_jwt` | an assertion that somebody else has signed |
/// | [`tls`](Self::tls) | `tls_client_auth`, `self_signed_tls_client_auth` | the id, over TLS with a client certificate |
/// | [`none`](Self::none) | `none` | the id |
///
/// A string or a [`Secret`] alone stands for a secret whose method is left open; it goes into the form, as by `post`, unless
/// the server's metadata offers better ([`ClientCredentials::discover`](crate::ClientCredentials::discover)).
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

/// How a secret that is sent is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SecretMethod {
    /// By whichever the server takes.
    Open,
    Post,
    Basic,
    BasicRaw,
}

impl ClientAuth {
    /// Id and secret in the form body, `client_secret_post` ([RFC 6749 §2.3.1]). No encoding is disputed.
    ///
    /// [RFC 6749 §2.3.1]: https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
    pub fn post(secret: impl Into<Secret>) -> Self {
        Self(Kind::Secret(SecretMethod::Post, secret.into()))
    }

    /// Id and secret in a Basic header as the RFC has it, `client_secret_basic` ([RFC 6749 §2.3.1]): they are form-encoded
    /// first. Hydra, oidc-provider and django-oauth-toolkit need it so.
    ///
    /// [RFC 6749 §2.3.1]: https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
    pub fn basic(secret: impl Into<Secret>) -> Self {
        Self(Kind::Secret(SecretMethod::Basic, secret.into()))
    }

    /// Id and secret in a Basic header as other Basic headers are ([RFC 7617 §2]), without the form encoding. glewlwyd and
    /// node-oauth2-server need it so; it differs from [`basic`](Self::basic) only where id or secret have special
    /// characters.
    ///
    /// [RFC 7617 §2]: https://www.rfc-editor.org/rfc/rfc7617#section-2
    pub fn basic_raw(secret: impl Into<Secret>) -> Self {
        Self(Kind::Secret(SecretMethod::BasicRaw, secret.into()))
    }

    /// An assertion that is signed with the secret by HS256, `client_secret_jwt` ([RFC 7523 §2.2], [OpenID Connect Core
    /// §9]): the secret itself is not sent. See [`private_key_jwt`](Self::private_key_jwt) for what the assertion says.
    ///
    /// [RFC 7523 §2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
    /// [OpenID Connect Core §9]: https://openid.net/specs/openid-connect-core-1_0.html#ClientAuthentication
    #[cfg(feature = "jwt")]
    pub fn secret_jwt(secret: impl Into<Secret>) -> Self {
        Self(Kind::SecretJwt(secret.into()))
    }

    /// An assertion that is signed with a private key, `private_key_jwt` ([RFC 7523 §2.2], [OpenID Connect Core §9]). The
    /// key is here, or a [`Signer`](crate::client_credentials::Signer) holds it.
    ///
    /// # What the assertion says
    /// `iss` and `sub` are the client id. `aud` is the token URL, or what
    /// [`assertion_audience`](crate::client_credentials::ClientCredentialsBuilder::assertion_audience) says. `iat` and `nbf` are 10 seconds ago
    /// by the machine's clock, for servers whose clock is behind, and `exp` is 60 seconds after that: the longest that the
    /// strictest servers take. So the machine's clock may be 10 seconds ahead of the server's, or 50 behind. `jti` is 128 random bits, fresh for each
    /// request to the token endpoint, also within one token request.
    ///
    /// [RFC 7523 §2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
    /// [OpenID Connect Core §9]: https://openid.net/specs/openid-connect-core-1_0.html#ClientAuthentication
    #[cfg(feature = "jwt")]
    pub fn private_key_jwt(key: impl Into<SigningKey>) -> Self {
        Self(Kind::PrivateKeyJwt(key.into()))
    }

    /// An assertion that somebody else has signed ([RFC 7523 §2.2]): the client's identity is federated, and there is
    /// nothing to keep secret. A [`Secret::provider`] asks for one at each token request, as from a cloud's metadata server.
    ///
    /// [RFC 7523 §2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
    pub fn assertion(assertion: impl Into<Secret>) -> Self {
        Self(Kind::Assertion(assertion.into()))
    }

    /// An assertion that somebody else signs and keeps fresh in this file, which is read at each token request: a Kubernetes
    /// service account token that is projected for the server as its audience, or a cloud's workload identity.
    pub fn assertion_file(path: impl Into<PathBuf>) -> Self {
        Self::assertion(Secret::file(path))
    }

    /// The client id alone; the proof is the client certificate of the connection ([RFC 8705 §2]), of a certification
    /// authority or self-signed.
    ///
    /// The certificate is the transport's, and can go along with any other method as well, as for tokens that are bound to
    /// it ([RFC 8705 §3]).
    ///
    /// [RFC 8705 §2]: https://www.rfc-editor.org/rfc/rfc8705#section-2
    /// [RFC 8705 §3]: https://www.rfc-editor.org/rfc/rfc8705#section-3
    #[cfg_attr(
        feature = "rustls-no-provider",
        doc = "\n\nFor the default transport it is given by [`client_certificate`](crate::client_credentials::ClientCredentialsBuilder::client_certificate)."
    )]
    #[must_use]
    pub fn tls() -> Self {
        Self(Kind::Tls)
    }

    /// The client id alone, with no proof: `none` ([RFC 7591 §2]). The grant is for confidential clients ([RFC 6749 §4.4]),
    /// so this is for servers that know their clients in some other way, such as by the network.
    ///
    /// [RFC 7591 §2]: https://www.rfc-editor.org/rfc/rfc7591#section-2
    /// [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
    #[must_use]
    pub fn none() -> Self {
        Self(Kind::None)
    }

    /// The methods that this can be, by the names that servers announce ([RFC 8414 §2]), best first.
    ///
    /// [RFC 8414 §2]: https://www.rfc-editor.org/rfc/rfc8414#section-2
    pub(crate) fn methods(&self) -> &'static [&'static str] {
        match &self.0 {
            // Sent where it can be: what a secret is used for must not change because some other crate switches the
            // feature on. By an assertion it goes where nothing else is offered, or by name.
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

    /// Looks at it once, when a credential is built, as far as can be done without waiting for others.
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

    /// Reads what the client proves itself with, for one token request.
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

    /// Whether reading it again may give another one.
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

    /// What to do about a rejected client authentication, where the server's description tells.
    ///
    /// Hydra names the method it wants: "… supports client authentication method 'client_secret_post', but method …".
    /// Hydra and oidc-provider also tell when a Basic header is raw and should not be: "… could not be decoded from
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

/// A secret whose method is left open.
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

/// What a raw Basic header cannot carry is told at once.
fn check_raw(client_id: &str, secret: &str) -> Result<(), Error> {
    if client_id.contains(':') {
        return Err(Error::configuration(
            "the client id has a colon, which ends the id in a raw Basic header; use `ClientAuth::basic` or `ClientAuth::post`",
        ));
    }
    if client_id.contains(char::is_control) || secret.contains(char::is_control) {
        return Err(Error::configuration(
            "the client id or secret has a control character (a trailing newline?), which a raw Basic header cannot carry (RFC 7617 section 2)",
        ));
    }
    Ok(())
}

pub(crate) const CLIENT_SECRET_JWT: &str = "client_secret_jwt";
pub(crate) const CLIENT_SECRET_BASIC: &str = "client_secret_basic";
const CLIENT_SECRET_POST: &str = "client_secret_post";

const CLIENT_SECRET: &str = "client secret";
const ASSERTION: &str = "client assertion";
