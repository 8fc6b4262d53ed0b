//! The JWT bearer grant with an assertion that is signed here.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::Asked;
#[cfg(feature = "shared")]
use crate::util::parts::Add;
use crate::{
    client_credentials::{
        auth::jwt::{AssertionAudience, Jwt, Members, ReadKey, SigningKey, assertion},
        discovery::endpoint::Target,
        redact::{self, LONGEST_TEXT},
    },
    error::Error,
    util::wiped::Wiped,
};

/// The JWT bearer grant ([RFC 7523 §2.1]): an assertion that this crate signs is exchanged for a token.
///
/// It converts into a [`Grant`](super::Grant). For one that a third party signs use
/// [`Grant::jwt_bearer`](super::Grant::jwt_bearer), and for the key file of a Google service account
/// [`google_service_account`](super::google_service_account).
///
/// An [`Assertion`](crate::client_credentials::Assertion) is something else: it authenticates the client. A token request can
/// have both.
///
/// # Header
/// | member | value |
/// | --- | --- |
/// | `alg` | the key's [algorithm](crate::client_credentials::SigningAlgorithm) |
/// | `typ` | `JWT` |
/// | `kid`, `x5t#S256`, `x5c` | if the [key](SigningKey) has them |
///
/// # Claims
/// | claim | value |
/// | --- | --- |
/// | `iss` | the issuer |
/// | `sub` | the issuer |
/// | `aud` | the server's issuer, after [discovery](crate::ClientCredentials::discover); otherwise the token URL |
/// | `iat`, `nbf` | 10 seconds before the machine's clock |
/// | `exp` | 60 seconds after `iat` |
/// | `jti` | 128 random bits, new for each HTTP request to the token endpoint |
///
/// The lifetime of the assertion says nothing about that of the token.
///
/// # Example
/// A server that acts for a user of its own:
/// ```
/// use tower_bearer::{
///     ClientAuth, ClientCredentials, Secret,
///     client_credentials::{JwtBearer, SigningAlgorithm, SigningKey},
/// };
///
/// let key = SigningKey::from_pem(SigningAlgorithm::Rs256, Secret::from_file("/run/keys/robot.pem"));
/// let robot = JwtBearer::signed_by(key.with_key_id("2026-11"), "robot@example.com")
///     .with_subject("user@example.com");
/// let credentials = ClientCredentials::builder(
///     "https://auth.example.com/oauth2/token",
///     "my-client",
///     ClientAuth::none(),
/// )
/// .grant(robot);
/// # let _ = credentials;
/// ```
///
/// [RFC 7523 §2.1]: https://www.rfc-editor.org/rfc/rfc7523#section-2.1
#[derive(Clone)]
#[must_use = "a grant does nothing until it is given to a builder"]
pub struct JwtBearer {
    key: SigningKey,
    issuer: String,
    subject: Option<String>,
    audience: Option<AssertionAudience>,
    typ: Option<String>,
    lifetime: Duration,
    scopes_as_claim: bool,
    header: Members,
    claims: Members,
}

impl JwtBearer {
    /// Creates an assertion that this key signs, for this issuer: `iss`, and `sub` unless another subject is set.
    pub fn signed_by(key: impl Into<SigningKey>, issuer: impl Into<String>) -> Self {
        let issuer = issuer.into();
        Self {
            key: key.into(),
            subject: Some(issuer.clone()),
            issuer,
            audience: None,
            typ: None,
            lifetime: LIFETIME,
            scopes_as_claim: false,
            header: Members::default(),
            claims: Members::default(),
        }
    }

    /// Sets whom the token is for: `sub`.
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Leaves `sub` out. [RFC 7523 §3] requires it, but Google's servers take it for a user that the issuer stands in for.
    ///
    /// [RFC 7523 §3]: https://www.rfc-editor.org/rfc/rfc7523#section-3
    pub fn without_subject(mut self) -> Self {
        self.subject = None;
        self
    }

    /// Sets the audience: `aud`.
    pub fn with_audience(mut self, audience: impl Into<AssertionAudience>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets the type in the header: `typ` ([RFC 7515 §4.1.9]).
    ///
    /// [RFC 7515 §4.1.9]: https://www.rfc-editor.org/rfc/rfc7515#section-4.1.9
    pub fn with_typ(mut self, typ: impl Into<String>) -> Self {
        self.typ = Some(typ.into());
        self
    }

    /// Sets the time from `iat` to `exp`, more than 10 seconds. Servers have an upper limit; Google's is an hour.
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Puts the scopes into the assertion, as the claim `scope`, and not into the form. Google's servers want it so.
    pub fn with_scopes_as_claim(mut self) -> Self {
        self.scopes_as_claim = true;
        self
    }

    /// Adds a claim.
    ///
    /// The value is anything that serializes to JSON. The claims `iss`, `sub`, `aud`, `exp`, `iat`, `nbf` and `jti` are reserved. If
    /// one of them is given, or the value is not JSON, building the credentials fails.
    pub fn with_claim(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.claims.insert(name.into(), value);
        self
    }

    /// Adds a member to the header, as [`Assertion::with_header`](crate::client_credentials::Assertion::with_header).
    pub fn with_header(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.header.insert(name.into(), value);
        self
    }

    pub(super) fn check(&self, discovers: bool) -> Result<(), Error> {
        self.key.check(&self.header)?;
        assertion::check_header(&self.header, self.typ.as_deref())?;
        assertion::check_audience(self.audience.as_ref(), discovers)?;
        self.claims.check(
            "claim",
            &[
                ("iss", "give it to `signed_by`"),
                ("sub", "use `with_subject`"),
                ("aud", "use `with_audience`"),
                ("exp", "use `with_lifetime`"),
                ("iat", "it is the time of signing"),
                ("nbf", "it is the time of signing"),
                ("jti", "it is new for each request"),
            ],
        )?;
        if self.scopes_as_claim && self.claims.contains(SCOPE) {
            return Err(Error::configuration(
                "the assertion's claim \"scope\" is also made of the scopes; remove it or `with_scopes_as_claim`",
            ));
        }
        let subject = self.subject.as_deref();
        for (name, text) in [("issuer", Some(&*self.issuer)), ("subject", subject)] {
            if text.is_some_and(|text| text.trim().is_empty()) {
                return Err(Error::configuration(format!(
                    "the {name} of the assertion is empty or blank; check that the variable it comes from is set"
                )));
            }
        }
        match self.lifetime > SHORTEST_LIFETIME {
            true => Ok(()),
            false => Err(Error::configuration(
                "the lifetime of the assertion is too short: it begins 10 s before it is signed; use a minute",
            )),
        }
    }

    pub(super) async fn read(&self) -> Result<ReadJwtBearer, Error> {
        Ok(ReadJwtBearer {
            key: self.key.read().await?,
            grant: self.clone(),
        })
    }
}

/// Values are left out: they may be secret.
impl fmt::Debug for JwtBearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtBearer")
            .field("key", &self.key)
            .field("issuer", &self.issuer)
            .field("subject", &self.subject)
            .field("audience", &self.audience)
            .field("header", &self.header.names())
            .field("claims", &self.claims.names())
            .finish_non_exhaustive()
    }
}

/// The grant with its key as it was when it was read.
pub(crate) struct ReadJwtBearer {
    pub(crate) key: ReadKey,
    grant: JwtBearer,
}

impl ReadJwtBearer {
    /// Signs an assertion for one attempt.
    pub(super) async fn ask(
        &self,
        target: &Target,
        scopes: &[&str],
        hidden: &[Wiped],
    ) -> Result<Asked, Error> {
        let grant = &self.grant;
        let mut claims = grant.claims.clone();
        if grant.scopes_as_claim && !scopes.is_empty() {
            claims.insert(SCOPE.to_owned(), scopes.join(" "));
        }
        let audience = assertion::audience_at(grant.audience.as_ref(), target);
        let jwt = Jwt {
            typ: grant.typ.as_deref().unwrap_or("JWT"),
            issuer: &grant.issuer,
            subject: grant.subject.as_deref(),
            audience,
            lifetime: grant.lifetime,
            header: &grant.header,
            claims: &claims,
        };
        let signed = jwt.sign(&self.key, self.key.algorithm().name()).await?;
        // The query of a token URL may hold a key, and it may be from the server's metadata.
        let audience = audience.split('?').next().unwrap_or_default();
        let audience = redact::clean(audience, LONGEST_TEXT, hidden);
        let advice = format!(
            "the assertion was signed with {}, for the audience {audience:?}; check the issuer, the key, and this machine's clock",
            self.key.description()
        );
        Ok(Asked {
            has_scopes: grant.scopes_as_claim,
            ..Asked::with_assertion(signed, advice)
        })
    }

    /// Names what its assertions say, and the key.
    #[cfg(feature = "shared")]
    pub(crate) fn identify(&self, add: Add<'_>) {
        let JwtBearer {
            key: _,
            issuer,
            subject,
            audience,
            typ,
            // How long the server may take to read it.
            lifetime: _,
            scopes_as_claim,
            header,
            claims,
        } = &self.grant;
        self.key.identify(add);
        add("issuer", issuer.as_bytes());
        add("subject", subject.as_deref().unwrap_or_default().as_bytes());
        assertion::identify_audience(audience.as_ref(), add);
        add("typ", typ.as_deref().unwrap_or_default().as_bytes());
        add("scopes_as_claim", &[u8::from(*scopes_as_claim)]);
        header.identify("header", add);
        claims.identify("claim", add);
    }
}

const SCOPE: &str = "scope";

/// From `iat` to `exp`.
const LIFETIME: Duration = Duration::from_secs(60);

/// `iat` is so long ago.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(10);
