//! The token exchange grant.

use std::{borrow::Cow, time::Duration};

use url::Url;

use super::{Asked, subject::Subject, token_type::TokenType};
#[cfg(feature = "shared")]
use crate::util::parts::Add;
use crate::{
    client_credentials::{auth::secret::Secret, response::REFRESH_TOKEN},
    error::Error,
};

/// Token exchange ([RFC 8693]): a token of another server, or of another credential, is exchanged for the one to use.
///
/// It converts into a [`Grant`](super::Grant). What the new token is for is set on the builder, as for any grant:
/// [`audience`](crate::client_credentials::ClientCredentialsBuilder::audience),
/// [`resource`](crate::client_credentials::ClientCredentialsBuilder::resource) and
/// [`scopes`](crate::client_credentials::ClientCredentialsBuilder::scopes).
///
/// # The subject token
/// It says on whose behalf the token is requested: for a machine, usually the workload itself. It is a
/// [`Secret`], read at each token request:
///
/// - a file that the platform keeps fresh: [`Secret::from_file`], for Kubernetes and SPIFFE;
/// - a call to the platform: [`Secret::from_provider`], for GitHub Actions and metadata servers;
/// - the current token of another credential: [`Secret::from_cache`].
///
/// # The new token
/// It is sent as a bearer token. Its lifetime is that of the answer, but no longer than the subject token's. An answer with the
/// `token_type` `N_A` says that it is no access token: an error, unless another type was
/// [requested](Self::with_requested_type). A refresh token is an error. `issued_token_type` is kept if the builder
/// [keeps](crate::client_credentials::ClientCredentialsBuilder::keep) it.
///
/// # Example
/// A workload in Kubernetes, for Google Cloud. The server knows no client:
/// ```
/// use tower_bearer::{
///     ClientCredentials, Secret,
///     client_credentials::{TokenExchange, TokenType},
/// };
///
/// let service_account = Secret::from_file("/var/run/secrets/tokens/google");
/// let credentials = ClientCredentials::without_client("https://sts.googleapis.com/v1/token")
///     .grant(
///         TokenExchange::new(service_account, TokenType::Jwt)
///             .with_requested_type(TokenType::AccessToken),
///     )
///     .audience(
///         "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/my-pool/providers/my-cluster",
///     )
///     .scopes(["https://www.googleapis.com/auth/cloud-platform"]);
/// # let _ = credentials;
/// ```
///
/// [RFC 8693]: https://www.rfc-editor.org/rfc/rfc8693
#[derive(Clone, Debug)]
#[must_use = "a grant does nothing until it is given to a builder"]
pub struct TokenExchange {
    subject: Typed,
    actor: Option<Typed>,
    requested: Option<TokenType>,
}

/// A token that is shown, and its type.
#[derive(Clone, Debug)]
struct Typed {
    token: Secret,
    kind: TokenType,
}

impl TokenExchange {
    /// Exchanges this token, which is of this type: `subject_token` and `subject_token_type`.
    pub fn new(subject: impl Into<Secret>, subject_type: impl Into<TokenType>) -> Self {
        Self {
            subject: Typed {
                token: subject.into(),
                kind: subject_type.into(),
            },
            actor: None,
            requested: None,
        }
    }

    /// Adds the token of the party that acts for the subject: `actor_token` and `actor_token_type`.
    ///
    /// Without one, the client acts.
    pub fn with_actor(
        mut self,
        actor: impl Into<Secret>,
        actor_type: impl Into<TokenType>,
    ) -> Self {
        self.actor = Some(Typed {
            token: actor.into(),
            kind: actor_type.into(),
        });
        self
    }

    /// Sets the type of the new token: `requested_token_type`. Without one, the server decides. Google's requires it.
    ///
    /// A token of a type other than an access token, such as a JWT for one API, is sent as a bearer token too.
    pub fn with_requested_type(mut self, requested: impl Into<TokenType>) -> Self {
        self.requested = Some(requested.into());
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        for (typed, what) in self.shown() {
            typed.token.peek(what)?;
        }
        let shown = self.shown().map(|(typed, what)| (&typed.kind, what));
        let requested = self.requested.iter().map(|it| (it, "requested token"));
        for (kind, what) in shown.chain(requested) {
            if Url::parse(kind.as_str()).is_err() {
                return Err(Error::configuration(format!(
                    "the type of the {what} is not an absolute URI (RFC 8693 section 3); use `TokenType::Jwt` or another one, or \
                     the URI that the server documents"
                )));
            }
        }
        match &self.requested {
            Some(requested) if requested.as_str() == REFRESH_TOKEN => Err(Error::configuration(
                "the requested type is a refresh token, which is no token for an API; request an access token",
            )),
            _ => Ok(()),
        }
    }

    fn shown(&self) -> impl Iterator<Item = (&Typed, &'static str)> {
        let actor = self.actor.iter().map(|actor| (actor, "actor token"));
        [(&self.subject, "subject token")].into_iter().chain(actor)
    }

    pub(super) async fn read(&self) -> Result<ReadExchange, Error> {
        let subject = Subject::read(&self.subject.token, "subject token").await?;
        let actor = match &self.actor {
            Some(actor) => Some(Subject::read(&actor.token, "actor token").await?),
            None => None,
        };
        Ok(ReadExchange {
            exchange: self.clone(),
            subject,
            actor,
        })
    }

    pub(super) fn reject(&self, read: &ReadExchange) {
        self.subject.token.reject(&read.subject.text);
        if let (Some(actor), Some(read)) = (&self.actor, &read.actor) {
            actor.token.reject(&read.text);
        }
    }
}

/// A token exchange with its tokens as they were when they were read.
pub(crate) struct ReadExchange {
    exchange: TokenExchange,
    subject: Subject,
    actor: Option<Subject>,
}

impl ReadExchange {
    pub(super) fn ask(&self) -> Asked {
        let TokenExchange {
            subject,
            actor,
            requested,
        } = &self.exchange;
        let mut pairs = vec![
            ("subject_token", self.subject.text.clone()),
            ("subject_token_type", subject.kind.as_str().into()),
        ];
        if let (Some(actor), Some(read)) = (actor, &self.actor) {
            pairs.push(("actor_token", read.text.clone()));
            pairs.push(("actor_token_type", actor.kind.as_str().into()));
        }
        if let Some(requested) = requested {
            pairs.push(("requested_token_type", requested.as_str().into()));
        }
        Asked {
            grant_type: Cow::Borrowed("urn:ietf:params:oauth:grant-type:token-exchange"),
            pairs,
            has_scopes: false,
            advice: Some(format!(
                "the subject token was sent as {}; check its type, its audience, its end, and whether the server trusts its issuer",
                subject.kind
            )),
        }
    }

    /// What is shown, the subject token first.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &Subject> {
        [&self.subject].into_iter().chain(&self.actor)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        let texts = |it: &Self| it.tokens().map(|it| it.text.clone()).collect::<Vec<_>>();
        texts(self) == texts(other)
    }

    /// Names what is asked for, beside the tokens.
    #[cfg(feature = "shared")]
    pub(crate) fn identify(&self, add: Add<'_>) {
        let TokenExchange {
            subject,
            actor,
            requested,
        } = &self.exchange;
        add("subject_type", subject.kind.as_str().as_bytes());
        if let Some(actor) = actor {
            add("actor_type", actor.kind.as_str().as_bytes());
        }
        if let Some(requested) = requested {
            add("requested_type", requested.as_str().as_bytes());
        }
    }

    pub(super) fn left(&self) -> Option<Duration> {
        self.subject.left
    }

    pub(super) fn asks_for_another_type(&self) -> bool {
        let requested = &self.exchange.requested;
        requested
            .as_ref()
            .is_some_and(|it| *it != TokenType::AccessToken)
    }
}

/// Set by the grant itself.
pub(super) const PARAMS: [&str; 5] = [
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
];
