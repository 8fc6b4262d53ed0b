//! What a source is asked.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::HeaderValue;
use tokio::time::Instant;

use super::{Token, challenge::Challenges};
use crate::error::Requester;

/// The request that a [`TokenSource`](crate::TokenSource) receives.
///
/// The cache makes it. A test of a source makes its own.
///
/// # Example
/// ```
/// use http::HeaderValue;
/// use tower::{ServiceExt, service_fn};
/// use tower_bearer::{Error, Token, token::{Reason, TokenRequest}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// // The source under test: it must not give a rejected token again.
/// let source = service_fn(|request: TokenRequest| async move {
///     let rejected = request.rejected_token().is_some();
///     Token::new(if rejected { "new" } else { "stored" })
/// });
///
/// let request = TokenRequest::new(Reason::Rejected)
///     .with_current_token(Token::new("stored")?)
///     .with_challenges([HeaderValue::from_static(r#"Bearer error="invalid_token""#)]);
/// let token = source.oneshot(request).await?;
/// assert_eq!(token.authorization(), "Bearer new");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TokenRequest {
    reason: Reason,
    current: Option<Token>,
    challenges: Challenges,
    requester: Arc<OnceLock<Requester>>,
    deadline: Option<Instant>,
}

/// The reason for a token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The cache has no valid token, and a caller waits for one.
    Cold,
    /// The current token is still valid, but due for replacement.
    Refresh,
    /// The API rejected the current token, or asks for one that has more: [`TokenRequest::challenges`].
    Rejected,
}

impl TokenRequest {
    /// Creates a request without a current token, for a test.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self {
            reason,
            current: None,
            challenges: Challenges::default(),
            requester: Arc::default(),
            deadline: None,
        }
    }

    /// Sets the current token. It is the rejected one if the reason is [`Reason::Rejected`].
    #[must_use]
    pub fn with_current_token(mut self, current: Token) -> Self {
        self.current = Some(current);
        self
    }

    /// Sets the values of `WWW-Authenticate` in the response that rejected the token.
    ///
    /// The first 16 are kept, and no more than 8 KiB of them.
    #[must_use]
    pub fn with_challenges(mut self, values: impl IntoIterator<Item = HeaderValue>) -> Self {
        self.challenges = values.into_iter().collect();
        self
    }

    pub(crate) fn challenged_by(mut self, challenges: Challenges) -> Self {
        self.challenges = challenges;
        self
    }

    /// Sets when the cache stops to wait for it.
    pub(crate) fn due(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// How long the cache still waits for it. `None` if it is not a cache's.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Where a source says who requests the token, for errors that are not its own, such as a timeout.
    pub(crate) fn requester(&self) -> &Arc<OnceLock<Requester>> {
        &self.requester
    }

    /// Returns the reason for this token request.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the token to replace, for [`Reason::Refresh`] and [`Reason::Rejected`].
    ///
    /// A source with its own store tells by it which of its tokens are newer.
    #[must_use]
    pub fn current_token(&self) -> Option<&Token> {
        self.current.as_ref()
    }

    /// Returns the token that the API rejected: the current one, if the reason is [`Reason::Rejected`].
    ///
    /// A source with its own store must not return this token again.
    #[must_use]
    pub fn rejected_token(&self) -> Option<&Token> {
        let is_rejected = self.reason == Reason::Rejected;
        self.current.as_ref().filter(|_| is_rejected)
    }

    /// Returns the values of `WWW-Authenticate` ([RFC 9110 §11.6.1]) in the response that rejected the token, as the API
    /// sent them. Empty for other reasons.
    ///
    /// They are the API's word: do not log them, and do not follow a URL in them. They are bounded: the first 16 values,
    /// and no more than 8 KiB of them. Of several responses that reject one token, they are the first one's.
    ///
    /// [RFC 9110 §11.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1
    #[must_use]
    #[doc(alias = "www_authenticate")]
    pub fn challenges(&self) -> &[HeaderValue] {
        self.challenges.values()
    }
}

/// Without the text of the challenges, in which a server may repeat a token.
impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("reason", &self.reason)
            .field("current_token", &self.current)
            .field("challenges", &self.challenges.values().len())
            .field("time_left", &self.time_left())
            .finish()
    }
}
