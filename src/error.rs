//! What can go wrong between a request and its token.

use std::{borrow::Cow, error::Error as StdError, fmt, io, path::Path, sync::Arc, time::Duration};

use http::StatusCode;
use tower::BoxError;

/// Why a token could not be had, or a builder could not build.
///
/// Cheap to clone: everyone who waited for the same token request gets the same error. `Display` speaks for its own level;
/// the cause is in [`source`](StdError::source). It holds no secret and no token, whatever the server answered.
///
/// Through [`BearerAuth`](crate::BearerAuth) it arrives as a [`BoxError`] to downcast; when a rejected token could not
/// be replaced, the caller gets the server's own 401 with this error in its extensions.
///
/// # Example
/// ```
/// use tower_bearer::{ClientCredentials, ErrorKind};
///
/// let error = ClientCredentials::builder("http://auth.example.com/token", "id", "secret")
///     .build()
///     .unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Configuration);
/// assert!(error.to_string().contains("https"));
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    transient: bool,
    message: Cow<'static, str>,
    status: Option<StatusCode>,
    code: Option<Box<str>>,
    retry_after: Option<Duration>,
    source: Option<BoxError>,
}

/// What kind of thing went wrong, for a program to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A builder was given something that cannot work. The message says what to change.
    Configuration,
    /// The token endpoint answered that this client gets no token: wrong secret, scope or grant, and other 4xx or 3xx.
    /// Or the server's metadata says so beforehand.
    Denied,
    /// The token endpoint, or what tells where it is, could not be reached or could not answer: no connection, 408, 409,
    /// 429, 5xx.
    Unavailable,
    /// The token request took longer than it may, or than the request's [`Deadline`](crate::extension::Deadline) leaves.
    Timeout,
    /// The token endpoint's answer holds no usable bearer token, or the server's metadata does not do.
    InvalidAnswer,
    /// A [`TokenSource`](crate::TokenSource), or what provides a secret or a signature for one, failed with an error of its
    /// own; it is the [`source`](StdError::source).
    Source,
    /// The token request was cut off: its task panicked, or its runtime was shut down.
    Interrupted,
    /// The API rejected the token, and no other is got for now: one was got a moment ago for the same route, or fresh ones
    /// are rejected there too.
    Rejected,
    /// There is no Tokio runtime here to run the token request on.
    NoRuntime,
    /// The layer does not send such a request: its token would travel in the clear, or the layer was told to reject it. The
    /// message says which.
    NotAllowed,
}

impl Error {
    /// The kind, for a program.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same token request may well succeed a little later, with nothing changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.transient
    }

    /// The token endpoint's HTTP status, where it answered with an error, or the one that came in place of its metadata.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// The OAuth error code, such as `invalid_client` ([RFC 6749 §5.2]), where the token endpoint gave one.
    ///
    /// [RFC 6749 §5.2]: https://www.rfc-editor.org/rfc/rfc6749#section-5.2
    #[must_use]
    pub fn oauth_code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// How long until the token endpoint may be asked again: while backing off, what is left of it; on the failure
    /// itself, what the server's `Retry-After` asked for, up to a day.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    pub(crate) fn configuration(message: impl Into<Cow<'static, str>>) -> Self {
        Inner::new(ErrorKind::Configuration, false, message).into()
    }

    #[cfg(feature = "reqwest")]
    pub(crate) fn client(source: reqwest::Error) -> Self {
        Inner {
            source: Some(source.into()),
            ..Inner::new(
                ErrorKind::Configuration,
                false,
                "the client for the token endpoint cannot be built",
            )
        }
        .into()
    }

    /// The file of a secret, or of whatever else proves who a client is, does not do.
    pub(crate) fn secret_file(
        what: &str,
        path: &Path,
        problem: &str,
        source: Option<io::Error>,
    ) -> Self {
        Inner {
            source: source.map(Into::into),
            // It may be in the middle of being replaced.
            ..Inner::new(
                ErrorKind::Configuration,
                true,
                format!("the {what}'s file {} {problem}", path.display()),
            )
        }
        .into()
    }

    /// What was read at a token request does not do: it may be in the middle of being replaced.
    #[cfg(any(feature = "jwt", feature = "rustls"))]
    pub(crate) fn half_written(message: String) -> Self {
        Inner::new(ErrorKind::Configuration, true, message).into()
    }

    #[cfg(feature = "jwt")]
    pub(crate) fn unsigned(message: &'static str) -> Self {
        Inner::new(ErrorKind::Source, true, message).into()
    }

    /// Code of the user's, that is to provide a secret or a signature, did not.
    pub(crate) fn provided(message: String, source: Option<BoxError>) -> Self {
        Inner {
            source,
            ..Inner::new(ErrorKind::Source, true, message)
        }
        .into()
    }

    /// The token endpoint answered with an error status, or with an error in a successful one.
    pub(crate) fn answered(
        status: StatusCode,
        message: String,
        code: Option<&str>,
        retry_after: Option<Duration>,
    ) -> Self {
        let transient = matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS
        ) || status.is_server_error()
            || matches!(code, Some("server_error" | "temporarily_unavailable"));
        let kind = if transient {
            ErrorKind::Unavailable
        } else {
            ErrorKind::Denied
        };
        Inner {
            status: Some(status),
            code: code.map(Into::into),
            retry_after,
            ..Inner::new(kind, transient, message)
        }
        .into()
    }

    pub(crate) fn transport(source: BoxError) -> Self {
        Inner {
            source: Some(source),
            ..Inner::new(ErrorKind::Unavailable, true, UNANSWERED)
        }
        .into()
    }

    /// The same, where it is not the token endpoint that gave no answer.
    pub(crate) fn unanswered_by(self, whom: &str) -> Self {
        match self.0.message.strip_prefix(UNANSWERED) {
            Some(why) => {
                let message = format!("could not get an answer from {whom}{why}");
                self.retold(message)
            }
            None => self,
        }
    }

    /// The server says beforehand that it does not take what this credential has. It would say so at each token request, until
    /// one of the two is set up otherwise.
    pub(crate) fn unsupported(message: String) -> Self {
        Inner::new(ErrorKind::Denied, false, message).into()
    }

    /// The same, in words that fit better where it happened.
    pub(crate) fn retold(self, message: String) -> Self {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => Inner {
                message: message.into(),
                ..inner
            }
            .into(),
            Err(shared) => Self(shared),
        }
    }

    /// The server granted less than it was asked for, and all of it is needed.
    pub(crate) fn narrowed(missing: &[&str]) -> Self {
        let message = format!(
            "the token endpoint granted fewer scopes than were asked for, without {}",
            missing.join(" ")
        );
        Inner::new(ErrorKind::Denied, false, message).into()
    }

    pub(crate) fn invalid_answer(message: impl Into<Cow<'static, str>>) -> Self {
        Inner::new(ErrorKind::InvalidAnswer, true, message).into()
    }

    pub(crate) fn unusable_token(message: &'static str) -> Self {
        Inner::new(ErrorKind::InvalidAnswer, true, message).into()
    }

    pub(crate) fn expired_on_arrival(lifetime: Duration, token_request: Duration) -> Self {
        let message = format!(
            "the token was already too old to send when it came: good for {lifetime:?}, after a token request of {token_request:?}"
        );
        Inner::new(ErrorKind::InvalidAnswer, true, message).into()
    }

    pub(crate) fn timeout(after: Duration) -> Self {
        let message = format!("the token request did not finish within {after:?}");
        Inner::new(ErrorKind::Timeout, true, message).into()
    }

    pub(crate) fn deadline() -> Self {
        Inner::new(ErrorKind::Timeout, true, "the request's deadline has come").into()
    }

    pub(crate) fn rejected_too(retry_after: Duration) -> Self {
        Inner {
            retry_after: Some(retry_after),
            ..Inner::new(
                ErrorKind::Rejected,
                true,
                format!(
                    "the API rejected the token, and no other is got on that account for another {:.1} s",
                    retry_after.as_secs_f64()
                ),
            )
        }
        .into()
    }

    pub(crate) fn in_the_clear(origin: &str) -> Self {
        let message = format!(
            "the request goes to {origin}, which is not https, so its token would travel in the clear; only a loopback host \
             may do without, or a layer with `danger_allow_tokens_over_plain_http`"
        );
        Inner::new(ErrorKind::NotAllowed, false, message).into()
    }

    pub(crate) fn unselected(origin: &str) -> Self {
        let message = format!(
            "the request goes to {origin} and is not one of those that get a token, and this layer sends no others"
        );
        Inner::new(ErrorKind::NotAllowed, false, message).into()
    }

    pub(crate) fn authorized_already() -> Self {
        Inner::new(
            ErrorKind::NotAllowed,
            false,
            "the request has an Authorization of its own, and this layer sends no such requests",
        )
        .into()
    }

    pub(crate) fn panicked() -> Self {
        Inner::new(
            ErrorKind::Interrupted,
            true,
            "the token source panicked during the token request",
        )
        .into()
    }

    pub(crate) fn interrupted() -> Self {
        Inner::new(
            ErrorKind::Interrupted,
            true,
            "the token request was cut off: its runtime was shut down, or stood still",
        )
        .into()
    }

    /// Whether it came without any answer of the server: nothing new is known then.
    pub(crate) fn is_unanswered(&self) -> bool {
        matches!(self.kind(), ErrorKind::Timeout | ErrorKind::Unavailable)
            && self.status().is_none()
    }

    /// Whether the server may well answer a moment later: it could not be reached, or a gateway said that it cannot serve just
    /// now, and not when to come again.
    pub(crate) fn is_worth_another_attempt(&self) -> bool {
        let is_passing = match self.status() {
            None => true,
            Some(status) => matches!(
                status,
                StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
        };
        self.kind() == ErrorKind::Unavailable && is_passing && self.retry_after().is_none()
    }

    pub(crate) fn no_runtime() -> Self {
        Inner::new(
            ErrorKind::NoRuntime,
            false,
            "a token request needs a Tokio runtime with timers, and there is none here; call it from one that was built with \
             `enable_all`, or name one by `TokenCacheBuilder::runtime`",
        )
        .into()
    }

    /// The token endpoint is not asked for now, because of `cause`.
    pub(crate) fn backing_off(cause: &Self, retry_after: Duration) -> Self {
        Inner {
            status: cause.status(),
            code: cause.0.code.clone(),
            retry_after: Some(retry_after),
            source: Some(Box::new(cause.clone())),
            ..Inner::new(
                cause.kind(),
                cause.is_transient(),
                format!(
                    "no token: the last token request failed and the next try is due in {:.1} s",
                    retry_after.as_secs_f64()
                ),
            )
        }
        .into()
    }

    /// Whether it was made by [`backing_off`](Self::backing_off), which alone wraps one of ours.
    pub(crate) fn is_backing_off(&self) -> bool {
        let source = self.0.source.as_ref();
        source.is_some_and(|source| source.is::<Self>())
    }

    /// Ours if `error` is or wraps one of ours, so that kind and class survive tower's layers around a source.
    pub(crate) fn from_source(error: BoxError) -> Self {
        let mut level: Option<&(dyn StdError + 'static)> = Some(&*error);
        while let Some(current) = level {
            if let Some(ours) = current.downcast_ref::<Self>() {
                return ours.clone();
            }
            level = current.source();
        }
        Inner {
            source: Some(error),
            ..Inner::new(ErrorKind::Source, true, "the token source failed")
        }
        .into()
    }
}

impl Inner {
    fn new(kind: ErrorKind, transient: bool, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            transient,
            message: message.into(),
            status: None,
            code: None,
            retry_after: None,
            source: None,
        }
    }
}

impl From<Inner> for Error {
    fn from(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind)
            .field("message", &self.0.message);
        if let Some(status) = self.0.status {
            out.field("status", &status.as_u16());
        }
        if let Some(retry_after) = self.0.retry_after {
            out.field("retry_after", &retry_after);
        }
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&**self.0.source.as_ref()?)
    }
}

/// What may follow says why.
const UNANSWERED: &str = "could not get an answer from the token endpoint";
