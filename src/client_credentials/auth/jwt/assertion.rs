//! The assertion that a client signs to authenticate.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{Jwt, Members, ReadKey, SigningKey};
#[cfg(feature = "shared")]
use crate::util::parts::Add;
use crate::{
    client_credentials::{
        discovery::endpoint::Target,
        redact::{self, LONGEST_TEXT},
    },
    error::Error,
    util::wiped::Wiped,
};

/// An assertion that the client signs to authenticate: a JWT ([RFC 7523 §3]).
///
/// [`ClientAuth::private_key_jwt`](crate::ClientAuth::private_key_jwt) and
/// [`ClientAuth::secret_jwt`](crate::ClientAuth::secret_jwt) sign one with the defaults below. Use this type to change them. It
/// converts into a [`ClientAuth`](crate::ClientAuth).
///
/// # Header
/// | member | value |
/// | --- | --- |
/// | `alg` | the key's [algorithm](super::SigningAlgorithm) |
/// | `typ` | `client-authentication+jwt` if the audience is the issuer, otherwise `JWT` |
/// | `kid`, `x5t#S256`, `x5c` | if the [key](SigningKey) has them |
///
/// # Claims
/// | claim | value |
/// | --- | --- |
/// | `iss`, `sub` | the client id |
/// | `aud` | the issuer, after [discovery](crate::ClientCredentials::discover); otherwise the token URL |
/// | `iat`, `nbf` | 10 seconds before the machine's clock, for servers whose clock is behind |
/// | `exp` | 60 seconds after `iat`, the longest lifetime that the strictest servers accept; so the machine's clock may be 10 seconds ahead of the server's, or 50 behind |
/// | `jti` | 128 random bits, new for each HTTP request to the token endpoint, retries included |
///
/// # Which form a server wants
/// [RFC 7523 §3] lets the audience be the token URL, and names no `typ`. Its successor, [draft-ietf-oauth-rfc7523bis] (approved,
/// not yet published), allows the issuer alone, and adds the `typ` `client-authentication+jwt`. Strict servers require the newer
/// form: OpenIddict 7, Authelia, PingFederate 13.1. Others know the older form only: Entra ID, Hydra, SMART Backend Services.
///
/// # Example
/// The newer form without discovery, and a claim that the server asks for:
/// ```
/// use tower_bearer::{
///     ClientCredentials, Secret,
///     client_credentials::{Assertion, SigningAlgorithm, SigningKey},
/// };
///
/// let key = SigningKey::from_pem(SigningAlgorithm::Es384, Secret::from_file("/run/keys/client.pem"));
/// let assertion = Assertion::signed_by(key)
///     .with_audience("https://auth.example.com")
///     .with_typ("client-authentication+jwt")
///     .with_claim("tenant", "7");
/// let credentials = ClientCredentials::builder("https://auth.example.com/oauth2/token", "my-client", assertion);
/// # let _ = credentials;
/// ```
///
/// [RFC 7523 §3]: https://www.rfc-editor.org/rfc/rfc7523#section-3
/// [draft-ietf-oauth-rfc7523bis]: https://datatracker.ietf.org/doc/draft-ietf-oauth-rfc7523bis/
#[derive(Clone)]
#[must_use = "an assertion does nothing until it is a client's authentication"]
pub struct Assertion {
    key: SigningKey,
    audience: Option<AssertionAudience>,
    typ: Option<String>,
    header: Members,
    claims: Members,
}

/// The audience of an [`Assertion`]: its `aud`.
///
/// A string converts into [`Other`](Self::Other).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssertionAudience {
    /// The issuer, as given to [`ClientCredentials::discover`](crate::ClientCredentials::discover). Without discovery it is not
    /// known: use [`Other`](Self::Other).
    Issuer,
    /// The token URL, given or discovered.
    TokenEndpoint,
    /// This text.
    Other(String),
}

impl Assertion {
    /// Creates an assertion that this key signs.
    pub fn signed_by(key: impl Into<SigningKey>) -> Self {
        Self {
            key: key.into(),
            audience: None,
            typ: None,
            header: Members::default(),
            claims: Members::default(),
        }
    }

    /// Sets the audience: `aud`.
    pub fn with_audience(mut self, audience: impl Into<AssertionAudience>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets the type in the header: `typ` ([RFC 7515 §4.1.9]), such as `JWT` or `client-authentication+jwt`.
    ///
    /// [RFC 7515 §4.1.9]: https://www.rfc-editor.org/rfc/rfc7515#section-4.1.9
    pub fn with_typ(mut self, typ: impl Into<String>) -> Self {
        self.typ = Some(typ.into());
        self
    }

    /// Adds a claim, or replaces `iss` or `sub`.
    ///
    /// The value is anything that serializes to JSON. The claims `aud`, `exp`, `iat`, `nbf` and `jti` are reserved. If one of
    /// them is given, or the value is not JSON, building the credentials fails.
    pub fn with_claim(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.claims.insert(name.into(), value);
        self
    }

    /// Adds a member to the header.
    ///
    /// The value is anything that serializes to JSON. The members `alg`, `typ`, `crit` and `b64` are reserved, and so are those
    /// that the key has: see [`SigningKey::with_key_id`] and [`SigningKey::with_certificate`]. If one of them is given, or the
    /// value is not JSON, building the credentials fails.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.header.insert(name.into(), value);
        self
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Checks it once, when a credential is built, without calling providers. `discovers` says whether the issuer is known.
    pub(crate) fn check(&self, discovers: bool) -> Result<(), Error> {
        self.key.check(&self.header)?;
        check_header(&self.header, self.typ.as_deref())?;
        self.claims.check(
            "claim",
            &[
                ("aud", "use `with_audience`"),
                ("exp", "it is a minute after `iat`"),
                ("iat", "it is the time of signing"),
                ("nbf", "it is the time of signing"),
                ("jti", "it is new for each request"),
            ],
        )?;
        check_audience(self.audience.as_ref(), discovers)
    }

    /// Reads its key for one token request.
    pub(crate) async fn read(&self) -> Result<ReadAssertion, Error> {
        Ok(ReadAssertion {
            key: self.key.read().await?,
            assertion: self.clone(),
        })
    }
}

impl From<&str> for AssertionAudience {
    fn from(text: &str) -> Self {
        Self::Other(text.to_owned())
    }
}

impl From<String> for AssertionAudience {
    fn from(text: String) -> Self {
        Self::Other(text)
    }
}

impl From<&String> for AssertionAudience {
    fn from(text: &String) -> Self {
        Self::Other(text.clone())
    }
}

/// Without the query of a URL, which may hold a key.
impl fmt::Debug for AssertionAudience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issuer => f.write_str("Issuer"),
            Self::TokenEndpoint => f.write_str("TokenEndpoint"),
            Self::Other(text) => {
                let (text, _) = text.split_once('?').unwrap_or((text, ""));
                f.debug_tuple("Other").field(&text).finish()
            }
        }
    }
}

/// Values are left out: they may be secret.
impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertion")
            .field("key", &self.key)
            .field("audience", &self.audience)
            .field("typ", &self.typ)
            .field("header", &self.header.names())
            .field("claims", &self.claims.names())
            .finish()
    }
}

/// An assertion with its key as it was when it was read.
pub(crate) struct ReadAssertion {
    assertion: Assertion,
    pub(crate) key: ReadKey,
}

impl ReadAssertion {
    /// Names what tells this client from others: its key, and what its assertions say.
    #[cfg(feature = "shared")]
    pub(crate) fn identify(&self, add: Add<'_>) {
        let Assertion {
            key: _,
            audience,
            typ,
            header,
            claims,
        } = &self.assertion;
        self.key.identify(add);
        identify_audience(audience.as_ref(), add);
        add("typ", typ.as_deref().unwrap_or_default().as_bytes());
        header.identify("header", add);
        claims.identify("claim", add);
    }

    /// Signs it for one attempt.
    ///
    /// # Errors
    /// The server lists the algorithms that it accepts, and the key's is not among them.
    pub(crate) async fn sign(
        &self,
        target: &Target,
        client_id: &str,
        hidden: &[Wiped],
    ) -> Result<Wiped, Error> {
        let algorithm = self.name_of_algorithm(target, hidden)?;
        let assertion = &self.assertion;
        let default_typ = match assertion.is_for_issuer(target) {
            true => CLIENT_AUTHENTICATION_JWT,
            false => JWT,
        };
        let jwt = Jwt {
            typ: assertion.typ.as_deref().unwrap_or(default_typ),
            issuer: client_id,
            subject: Some(client_id),
            audience: self.audience(target),
            lifetime: LIFETIME,
            header: &assertion.header,
            claims: &assertion.claims,
        };
        jwt.sign(&self.key, algorithm).await
    }

    /// The name by which the server knows the key's algorithm.
    fn name_of_algorithm(&self, target: &Target, hidden: &[Wiped]) -> Result<&'static str, Error> {
        let algorithm = self.key.algorithm();
        target.listed(algorithm.names()).ok_or_else(|| {
            let listed = target.algorithms.as_deref().unwrap_or_default().join(", ");
            Error::unsupported(format!(
                "the server's metadata says that its token endpoint accepts assertions signed with {}, but this \
                 credential's are signed with {algorithm}; use a key for one of those",
                redact::clean(&listed, LONGEST_TEXT, hidden)
            ))
        })
    }

    /// Describes it, for the error if the server rejects it.
    pub(crate) fn description(&self, target: &Target, hidden: &[Wiped]) -> String {
        // The query of a token URL may hold a key.
        let audience = self.audience(target).split('?').next().unwrap_or_default();
        // It may be from the server's metadata.
        let audience = redact::clean(audience, LONGEST_TEXT, hidden);
        format!("{}, for the audience {audience:?}", self.key.description())
    }

    /// The audience at this server.
    fn audience<'a>(&'a self, target: &'a Target) -> &'a str {
        audience_at(self.assertion.audience.as_ref(), target)
    }
}

impl Assertion {
    fn is_for_issuer(&self, target: &Target) -> bool {
        let by_name = matches!(self.audience, None | Some(AssertionAudience::Issuer));
        by_name && target.issuer.is_some()
    }
}

/// Checks what a builder may set in the header of any assertion.
pub(crate) fn check_header(header: &Members, typ: Option<&str>) -> Result<(), Error> {
    header.check(
        "header member",
        &[
            ("alg", "it is the algorithm of the key"),
            ("typ", "use `with_typ`"),
            (
                "crit",
                "this crate has no extension that a server has to understand",
            ),
            ("b64", "the payload is always encoded"),
        ],
    )?;
    match typ {
        Some(typ) if !is_media_type(typ) => Err(Error::configuration(
            "the assertion's `typ` is empty or not a media type; use `JWT` or `client-authentication+jwt`, or remove it",
        )),
        _ => Ok(()),
    }
}

/// The same for its audience. `discovers` says whether the issuer is known.
pub(crate) fn check_audience(
    audience: Option<&AssertionAudience>,
    discovers: bool,
) -> Result<(), Error> {
    match audience {
        Some(AssertionAudience::Issuer) if !discovers => Err(Error::configuration(
            "the assertion's audience is the issuer, which a token URL does not name; give the issuer's text as audience, or \
             use `ClientCredentials::discover`",
        )),
        Some(AssertionAudience::Other(text)) if text.is_empty() => Err(Error::configuration(
            "the assertion's audience is empty; remove it to use the default",
        )),
        _ => Ok(()),
    }
}

/// The audience of an assertion at this server.
pub(crate) fn audience_at<'a>(
    audience: Option<&'a AssertionAudience>,
    target: &'a Target,
) -> &'a str {
    match (audience, &target.issuer) {
        (Some(AssertionAudience::Other(text)), _) => text,
        (None | Some(AssertionAudience::Issuer), Some(issuer)) => issuer,
        // The builder has checked that the issuer is known where it is named.
        (Some(AssertionAudience::TokenEndpoint | AssertionAudience::Issuer) | None, _) => {
            &target.token_endpoint
        }
    }
}

#[cfg(feature = "shared")]
pub(crate) fn identify_audience(audience: Option<&AssertionAudience>, add: Add<'_>) {
    match audience {
        Some(AssertionAudience::Issuer) => add("audience", b"issuer"),
        Some(AssertionAudience::TokenEndpoint) => add("audience", b"token endpoint"),
        Some(AssertionAudience::Other(audience)) => add("other audience", audience.as_bytes()),
        None => {}
    }
}

/// `type-name` or `subtype` of RFC 6838 §4.2, with an optional prefix.
fn is_media_type(typ: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"/!#$&-^_.+".contains(&byte);
    !typ.is_empty() && typ.bytes().all(is_name)
}

const JWT: &str = "JWT";

/// [IANA's registry of media types](https://www.iana.org/assignments/media-types/application/client-authentication+jwt) has it.
const CLIENT_AUTHENTICATION_JWT: &str = "client-authentication+jwt";

/// From `iat` to `exp`. Servers with an upper limit accept at least this.
const LIFETIME: Duration = Duration::from_secs(60);
