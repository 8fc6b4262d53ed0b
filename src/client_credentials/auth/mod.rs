//! Client authentication at the token endpoint.

pub(crate) mod carried;
#[cfg(feature = "jwt")]
pub(crate) mod jwt;
pub(crate) mod read;
pub(crate) mod secret;

use std::{fmt, path::PathBuf};

use url::Url;

#[cfg(feature = "jwt")]
use crate::client_credentials::auth::jwt::{Assertion, SigningAlgorithm, SigningKey};
use crate::{
    client_credentials::auth::{
        carried::{AssertionForm, CarriedAuth},
        read::ReadAuth,
        secret::Secret,
    },
    error::Error,
};

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
/// | [`spiffe_jwt`](Self::spiffe_jwt) | `spiffe_jwt` | a JWT-SVID of SPIFFE |
/// | [`tls`](Self::tls) | `tls_client_auth`, `self_signed_tls_client_auth` | the id, over TLS with a client certificate |
/// | [`none`](Self::none) | `none` | the id |
///
#[cfg_attr(
    feature = "jwt",
    doc = "An [`Assertion`](crate::client_credentials::Assertion) converts into `secret_jwt` or `private_key_jwt`, with another audience, type, claims or header.\n"
)]
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
pub struct ClientAuth {
    kind: Kind,
    /// Differs from the default for assertions only.
    form: AssertionForm,
}

#[derive(Clone)]
enum Kind {
    Secret(SecretMethod, Secret),
    #[cfg(feature = "jwt")]
    Signed(Box<Assertion>),
    Assertion(Secret),
    Tls,
    None,
    /// There is no client, and nothing is sent.
    NoClient,
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
        Self::new(Kind::Secret(SecretMethod::Post, secret.into()))
    }

    /// Sends id and secret, form-encoded, in a Basic header: `client_secret_basic` ([RFC 6749 §2.3.1]).
    ///
    /// Hydra, oidc-provider and django-oauth-toolkit require the form encoding.
    ///
    /// [RFC 6749 §2.3.1]: https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
    pub fn basic(secret: impl Into<Secret>) -> Self {
        Self::new(Kind::Secret(SecretMethod::Basic, secret.into()))
    }

    /// Sends id and secret in a plain Basic header, without form encoding ([RFC 7617 §2]).
    ///
    /// glewlwyd and node-oauth2-server require this form. It differs from [`basic`](Self::basic) only if the id or secret
    /// has special characters.
    ///
    /// [RFC 7617 §2]: https://www.rfc-editor.org/rfc/rfc7617#section-2
    pub fn basic_raw(secret: impl Into<Secret>) -> Self {
        Self::new(Kind::Secret(SecretMethod::BasicRaw, secret.into()))
    }

    /// Sends an assertion signed with the secret by HS256: `client_secret_jwt` ([RFC 7523 §2.2], [OpenID Connect Core §9]).
    ///
    /// The secret itself is not sent. [`Assertion`](crate::client_credentials::Assertion) lists the claims, and changes them.
    /// For HS384 and HS512 see [`SigningKey::from_secret`](crate::client_credentials::SigningKey::from_secret).
    ///
    /// [RFC 7523 §2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
    /// [OpenID Connect Core §9]: https://openid.net/specs/openid-connect-core-1_0.html#ClientAuthentication
    #[cfg(feature = "jwt")]
    pub fn secret_jwt(secret: impl Into<Secret>) -> Self {
        Assertion::signed_by(SigningKey::from_secret(SigningAlgorithm::Hs256, secret)).into()
    }

    /// Sends an assertion signed with a private key: `private_key_jwt` ([RFC 7523 §2.2], [OpenID Connect Core §9]).
    ///
    /// The key is local, or a [`Signer`](crate::client_credentials::Signer) holds it.
    /// [`Assertion`](crate::client_credentials::Assertion) lists the claims, and changes them.
    ///
    /// [RFC 7523 §2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
    /// [OpenID Connect Core §9]: https://openid.net/specs/openid-connect-core-1_0.html#ClientAuthentication
    #[cfg(feature = "jwt")]
    pub fn private_key_jwt(key: impl Into<SigningKey>) -> Self {
        Assertion::signed_by(key).into()
    }

    /// Sends an assertion signed by a third party ([RFC 7523 §2.2]).
    ///
    /// Use it for federated identities: the client has no secret of its own. A [`Secret::from_provider`] can fetch an assertion at
    /// each token request, for example from a cloud's metadata server.
    ///
    /// [RFC 7523 §2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
    pub fn assertion(assertion: impl Into<Secret>) -> Self {
        Self::new(Kind::Assertion(assertion.into()))
    }

    /// Sends the assertion in this file, which a third party signs and keeps fresh.
    ///
    /// The file is read at each token request. Use it for a projected Kubernetes service account token whose audience is the
    /// server, or for a cloud's workload identity.
    pub fn assertion_file(path: impl Into<PathBuf>) -> Self {
        Self::assertion(Secret::from_file(path))
    }

    /// Sends a JWT-SVID of SPIFFE ([draft-ietf-oauth-spiffe-client-auth]): `spiffe_jwt`.
    ///
    /// SPIRE's agent or a helper keeps it fresh, in a file or behind a [`Secret::from_provider`]. Its audience is the server. The
    /// client id is usually the SPIFFE ID.
    ///
    /// [draft-ietf-oauth-spiffe-client-auth]: https://datatracker.ietf.org/doc/draft-ietf-oauth-spiffe-client-auth/
    pub fn spiffe_jwt(svid: impl Into<Secret>) -> Self {
        Self::assertion(svid).with_assertion_type(JWT_SPIFFE)
    }

    /// Replaces the `client_assertion_type` of an assertion, which is
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer` ([RFC 7521 §4.2]).
    ///
    /// It must be an absolute URI. If there is no assertion, building the credentials fails.
    ///
    /// [RFC 7521 §4.2]: https://www.rfc-editor.org/rfc/rfc7521#section-4.2
    #[must_use]
    pub fn with_assertion_type(mut self, assertion_type: impl Into<String>) -> Self {
        self.form.kind = assertion_type.into().into();
        self
    }

    /// Leaves the client id out of the form, because the assertion names the client ([RFC 7521 §4.2]).
    ///
    /// Keycloak's federated client authentication, for example, finds the client by the assertion's `sub`. Other servers, such
    /// as Entra ID and Spring Authorization Server, require the client id. If there is no assertion, building the credentials
    /// fails.
    ///
    /// [RFC 7521 §4.2]: https://www.rfc-editor.org/rfc/rfc7521#section-4.2
    #[must_use]
    pub fn without_client_id(mut self) -> Self {
        self.form.with_client_id = false;
        self
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
        Self::new(Kind::Tls)
    }

    /// Sends the client id alone, without authentication: `none` ([RFC 7591 §2]).
    ///
    /// Client credentials require confidential clients ([RFC 6749 §4.4]). Use this with another
    /// [grant](crate::client_credentials::grant), or with servers that identify clients in some other way, such as by network.
    ///
    /// [RFC 7591 §2]: https://www.rfc-editor.org/rfc/rfc7591#section-2
    /// [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
    #[must_use]
    pub fn none() -> Self {
        Self::new(Kind::None)
    }

    /// There is no client: nothing is sent, not even an id.
    pub(crate) fn no_client() -> Self {
        Self::new(Kind::NoClient)
    }

    /// Whether there is a client to authenticate.
    pub(crate) fn has_client(&self) -> bool {
        !matches!(self.kind, Kind::NoClient)
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            form: AssertionForm::default(),
        }
    }

    /// The possible methods, by the names that servers announce ([RFC 8414 §2]), best first.
    ///
    /// [RFC 8414 §2]: https://www.rfc-editor.org/rfc/rfc8414#section-2
    pub(crate) fn methods(&self) -> &'static [&'static str] {
        match &self.kind {
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
            Kind::Signed(assertion) if assertion.key().is_symmetric() => &[CLIENT_SECRET_JWT],
            #[cfg(feature = "jwt")]
            Kind::Signed(_) => &["private_key_jwt"],
            Kind::Assertion(_) if self.form.kind == JWT_SPIFFE => &["spiffe_jwt"],
            Kind::Assertion(_) => &["private_key_jwt"],
            Kind::Tls => &["tls_client_auth", "self_signed_tls_client_auth"],
            Kind::None | Kind::NoClient => &["none"],
        }
    }

    /// Whether the proof is the connection's client certificate.
    pub(crate) fn is_by_certificate(&self) -> bool {
        matches!(self.kind, Kind::Tls)
    }

    /// Whether the client id is in a header, and so not in the form.
    pub(crate) fn has_id_in_header(&self) -> bool {
        matches!(
            self.kind,
            Kind::Secret(SecretMethod::Basic | SecretMethod::BasicRaw, _)
        )
    }

    /// Checks it once, when a credential is built, without calling providers. `discovers` says whether the issuer is known.
    #[cfg_attr(not(feature = "jwt"), expect(unused_variables))]
    pub(crate) fn check(&self, client_id: &str, discovers: bool) -> Result<(), Error> {
        self.check_form()?;
        match &self.kind {
            Kind::Secret(method, secret) => {
                let secret = secret.peek(CLIENT_SECRET)?.unwrap_or_default();
                match method {
                    SecretMethod::BasicRaw => check_raw(client_id, &secret),
                    SecretMethod::Open | SecretMethod::Post | SecretMethod::Basic => Ok(()),
                }
            }
            #[cfg(feature = "jwt")]
            Kind::Signed(assertion) => assertion.check(discovers),
            Kind::Assertion(assertion) => assertion.peek(ASSERTION).map(drop),
            Kind::Tls | Kind::None | Kind::NoClient => Ok(()),
        }
    }

    fn check_form(&self) -> Result<(), Error> {
        let has_assertion = match &self.kind {
            #[cfg(feature = "jwt")]
            Kind::Signed(_) => true,
            Kind::Assertion(_) => true,
            Kind::Secret(..) | Kind::Tls | Kind::None | Kind::NoClient => false,
        };
        if !has_assertion && self.form != AssertionForm::default() {
            return Err(Error::configuration(
                "only an assertion can have an assertion type or go without the client id; remove `with_assertion_type` and \
                 `without_client_id`, or use `ClientAuth::assertion`",
            ));
        }
        match Url::parse(&self.form.kind) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::configuration(
                "the assertion type is not an absolute URI (RFC 7521 section 4.2); use one such as \
                 urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
            )),
        }
    }

    /// Reads the client authentication for one token request.
    pub(crate) async fn read(&self) -> Result<ReadAuth, Error> {
        Ok(match &self.kind {
            Kind::Secret(method, secret) => {
                let secret = secret.read(CLIENT_SECRET).await?;
                match method {
                    SecretMethod::Open => ReadAuth::Open(secret),
                    SecretMethod::Post => ReadAuth::Ready(CarriedAuth::Post(secret)),
                    SecretMethod::Basic => ReadAuth::Ready(CarriedAuth::Basic(secret)),
                    SecretMethod::BasicRaw => ReadAuth::Ready(CarriedAuth::BasicRaw(secret)),
                }
            }
            #[cfg(feature = "jwt")]
            Kind::Signed(assertion) => {
                ReadAuth::Signed(Box::new(assertion.read().await?), self.form.clone())
            }
            Kind::Assertion(assertion) => {
                let assertion = assertion.read(ASSERTION).await?;
                ReadAuth::Ready(CarriedAuth::Assertion(assertion, self.form.clone()))
            }
            Kind::Tls | Kind::None => ReadAuth::Ready(CarriedAuth::ClientId),
            Kind::NoClient => ReadAuth::Ready(CarriedAuth::Nothing),
        })
    }

    /// The server rejected this, which was read here.
    pub(crate) fn reject(&self, auth: &ReadAuth) {
        if let (Kind::Assertion(assertion), ReadAuth::Ready(CarriedAuth::Assertion(text, _))) =
            (&self.kind, auth)
        {
            assertion.reject(text);
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
        Self::new(Kind::Secret(SecretMethod::Open, secret.into()))
    }
}

#[cfg(feature = "jwt")]
impl From<Assertion> for ClientAuth {
    fn from(assertion: Assertion) -> Self {
        Self::new(Kind::Signed(Box::new(assertion)))
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ClientAuth");
        out.field("methods", &self.methods());
        match &self.kind {
            Kind::Secret(_, secret) => out.field("secret", secret),
            #[cfg(feature = "jwt")]
            Kind::Signed(assertion) => out.field("assertion", assertion),
            Kind::Assertion(assertion) => out.field("assertion", assertion),
            Kind::Tls | Kind::None | Kind::NoClient => &mut out,
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

#[cfg(feature = "jwt")]
pub(crate) const CLIENT_SECRET_JWT: &str = "client_secret_jwt";
pub(crate) const CLIENT_SECRET_BASIC: &str = "client_secret_basic";
const CLIENT_SECRET_POST: &str = "client_secret_post";

/// The assertion type of draft-ietf-oauth-spiffe-client-auth, section 3.1.
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

const CLIENT_SECRET: &str = "client secret";
const ASSERTION: &str = "client assertion";
