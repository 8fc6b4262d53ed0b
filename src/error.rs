//! What can go wrong between a request and its token.

use std::{borrow::Cow, error::Error as StdError, fmt, io, path::Path, sync::Arc, time::Duration};

use http::StatusCode;
use tower::BoxError;
use url::Url;

/// Why there is no token, why a request was not sent, or why a builder cannot build.
///
/// Cheap to clone: all callers who wait for one token request get the same error. `Display` tells this level only; the cause
/// is the [`source`](StdError::source). It names the client id and the token endpoint's host, and holds no secret and no token,
/// whatever the server answered.
///
/// [`BearerAuth`](crate::BearerAuth) returns it as a [`BoxError`]. [`find_in`](Self::find_in) finds it there, and in the errors
/// of the libraries between. When a rejected token cannot be replaced, the
/// caller gets the server's own 401, with this error in the response's extensions.
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

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    transient: bool,
    message: Cow<'static, str>,
    status: Option<StatusCode>,
    code: Option<Box<str>>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    /// Whether it tells of the last failure, because no token is requested until `retry_after`.
    backing_off: bool,
    requester: Option<Requester>,
}

/// Who requests the token: what tells one credential's errors from another's.
#[derive(Clone, Debug)]
pub(crate) struct Requester {
    client_id: Arc<str>,
    /// Its host, and its port if it is not the scheme's.
    token_endpoint: Arc<str>,
}

impl Requester {
    /// The client id, and the token endpoint's host.
    pub(crate) fn parts(&self) -> (&str, &str) {
        (&self.client_id, &self.token_endpoint)
    }

    pub(crate) fn new(client_id: &str, token_endpoint: &Url) -> Self {
        let host = token_endpoint.host_str().unwrap_or_default();
        Self {
            client_id: client_id.into(),
            token_endpoint: match token_endpoint.port() {
                Some(port) => format!("{host}:{port}").into(),
                None => host.into(),
            },
        }
    }
}

/// What went wrong, for a program to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A builder or a configuration was given a value that cannot work. The message says what to change.
    Configuration,
    /// The authorization server denies this client a token: wrong secret, scope or grant, a redirect, or another 4xx with an
    /// OAuth error in it. The server's metadata may say so before the token request.
    Denied,
    /// The token endpoint, or the metadata that names it, cannot be reached or cannot answer: no connection, 408, 409, 429,
    /// 5xx, or a 4xx without an OAuth error, as a gateway in front of it sends.
    Unavailable,
    /// The token request took longer than its timeout, or the request longer than its
    /// [`Deadline`](crate::extension::Deadline).
    Timeout,
    /// The token endpoint's answer holds no usable bearer token, or the server's metadata is not valid.
    InvalidAnswer,
    /// A [`TokenSource`](crate::TokenSource), or a provider of a secret or signature, failed. Its own error is the
    /// [`source`](StdError::source), unless it was made by [`Error::transient`] or [`Error::permanent`].
    Source,
    /// The token request was cut off: its task panicked, or its runtime was shut down or stood still.
    Interrupted,
    /// The API rejected the token, and no new token is fetched yet: this route was refreshed a moment ago, or rejects fresh
    /// tokens as well.
    Rejected,
    /// The token request needs a Tokio runtime with timers, and the caller has none.
    NoRuntime,
    /// The layer does not send this request: its token would be sent unencrypted, its key is unknown, or the layer was told to
    /// deny it. The message says which.
    NotAllowed,
}

impl ErrorKind {
    /// Its stable name in events and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::InvalidAnswer => "invalid_answer",
            Self::Source => "source",
            Self::Interrupted => "interrupted",
            Self::Rejected => "rejected",
            Self::NoRuntime => "no_runtime",
            Self::NotAllowed => "not_allowed",
        }
    }
}

impl Error {
    /// Creates an error of a source: it failed in passing, and the same call may succeed a little later.
    ///
    /// The backoff is that of a transient failure: 1 s, doubled up to 60 s. The kind is [`ErrorKind::Source`]. Any other error
    /// of a source, such as a [`std::io::Error`], counts as transient as well.
    ///
    /// `message` is shown and logged: put no secret into it.
    ///
    /// # Example
    /// ```
    /// use std::time::Duration;
    /// use tower_bearer::Error;
    ///
    /// let error = Error::transient("the vault is sealed")
    ///     .with_retry_after(Duration::from_secs(20));
    /// assert!(error.is_transient());
    /// ```
    #[must_use]
    pub fn transient(message: impl Into<Cow<'static, str>>) -> Self {
        Inner::new(ErrorKind::Source, true, message).into()
    }

    /// Creates an error of a source: it fails until the operator changes something, such as a wrong role or an unknown tenant.
    ///
    /// The backoff is that of a permanent failure: 30 s, doubled up to 5 minutes. The kind is [`ErrorKind::Source`].
    ///
    /// `message` is shown and logged: put no secret into it.
    ///
    /// # Example
    /// ```
    /// use tower_bearer::Error;
    ///
    /// let error = Error::permanent("the vault has no role for this service; create one");
    /// assert!(!error.is_transient());
    /// ```
    #[must_use]
    pub fn permanent(message: impl Into<Cow<'static, str>>) -> Self {
        Inner::new(ErrorKind::Source, false, message).into()
    }

    /// Sets the time until the next token request is allowed, as from a server's `Retry-After`.
    ///
    /// The cache waits at least this long, and at most
    /// [`longest_retry_after`](crate::cache::TokenCacheBuilder::longest_retry_after).
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        Arc::make_mut(&mut self.0).retry_after = Some(retry_after);
        self
    }

    /// Sets the cause, which becomes the [`source`](StdError::source).
    ///
    /// It is shown and logged: it must hold no secret.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        Arc::make_mut(&mut self.0).source = Some(source.into().into());
        self
    }

    /// What went wrong, for a program to act on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed a little later, with nothing changed.
    #[must_use]
    #[doc(alias = "is_retryable")]
    #[doc(alias = "is_temporary")]
    pub fn is_transient(&self) -> bool {
        self.0.transient
    }

    /// Whether the token request or the request ran out of time: [`ErrorKind::Timeout`].
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::Timeout
    }

    /// Whether the authorization server denies this client a token: [`ErrorKind::Denied`].
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.kind() == ErrorKind::Denied
    }

    /// The HTTP status, if the token endpoint answered with an error, or the server of its metadata did.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// The OAuth error code, such as `invalid_client` ([RFC 6749 §5.2]), if the token endpoint gave one.
    ///
    /// [RFC 6749 §5.2]: https://www.rfc-editor.org/rfc/rfc6749#section-5.2
    #[must_use]
    #[doc(alias = "code")]
    pub fn oauth_code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The time until the next token request is allowed, counted from when the error was made.
    ///
    /// During a backoff or a cool-down it is what remains of it. On the failure itself it is the server's `Retry-After`, if it
    /// sent one: at most a day.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The client id of the credential, if this is an error of its token request.
    ///
    /// An error of a [`TokenSource`](crate::TokenSource) of your own has none, and neither has one of a builder, or of a credential
    /// without a client.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        let client_id = &*self.0.requester.as_ref()?.client_id;
        (!client_id.is_empty()).then_some(client_id)
    }

    /// The host of the token endpoint, if this is an error of a credential's token request; with its port, unless that is the
    /// scheme's default. It is the issuer's host as long as the token endpoint is not [discovered].
    ///
    /// [discovered]: crate::ClientCredentials::discover
    #[must_use]
    #[doc(alias = "host")]
    pub fn token_endpoint(&self) -> Option<&str> {
        Some(&self.0.requester.as_ref()?.token_endpoint)
    }

    /// Finds this crate's error in `error` or among its causes.
    ///
    /// It also looks into the errors that do not name their cause as their source: those of reqwest-middleware (feature
    /// `reqwest-middleware`) and of [`std::io`].
    ///
    /// # Example
    /// ```
    /// use tower::BoxError;
    /// use tower_bearer::Error;
    ///
    /// fn is_our_fault(error: &BoxError) -> bool {
    ///     Error::find_in(&**error).is_some_and(|error| !error.is_transient())
    /// }
    /// # assert!(is_our_fault(&Error::permanent("no such role").into()));
    /// # assert!(!is_our_fault(&"down".into()));
    /// ```
    #[must_use]
    #[doc(alias = "downcast_ref")]
    #[doc(alias = "from_status")]
    pub fn find_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut level = Some(error);
        while let Some(current) = level {
            if let Some(ours) = current.downcast_ref() {
                return Some(ours);
            }
            level = below(current);
        }
        None
    }

    /// Says who requested the token, unless it is known.
    pub(crate) fn of(mut self, requester: &Requester) -> Self {
        if self.0.requester.is_none() {
            Arc::make_mut(&mut self.0).requester = Some(requester.clone());
        }
        self
    }

    pub(crate) fn configuration(message: impl Into<Cow<'static, str>>) -> Self {
        Inner::new(ErrorKind::Configuration, false, message).into()
    }

    #[cfg(feature = "reqwest")]
    pub(crate) fn client(source: reqwest::Error) -> Self {
        Inner {
            source: Some(Arc::new(source)),
            ..Inner::new(
                ErrorKind::Configuration,
                false,
                "the client for the token endpoint cannot be built; the cause says which of its options to change",
            )
        }
        .into()
    }

    /// The file of a secret, or of another proof of who a client is, cannot be used.
    pub(crate) fn secret_file(
        what: &str,
        path: &Path,
        problem: &str,
        source: Option<io::Error>,
    ) -> Self {
        Inner {
            source: source.map(|source| Arc::new(source) as _),
            // It may be in the middle of being replaced.
            ..Inner::new(
                ErrorKind::Configuration,
                true,
                format!("the {what}'s file {} {problem}", path.display()),
            )
        }
        .into()
    }

    /// What was read at a token request cannot be used: it may be in the middle of being replaced.
    #[cfg(any(feature = "jwt", feature = "rustls-no-provider"))]
    pub(crate) fn half_written(message: String) -> Self {
        Inner::new(ErrorKind::Configuration, true, message).into()
    }

    #[cfg(feature = "jwt")]
    pub(crate) fn unsigned(message: &'static str) -> Self {
        Inner::new(ErrorKind::Source, true, message).into()
    }

    /// Code of the user's did not provide the secret or signature that it is for.
    pub(crate) fn provided(message: String, source: Option<BoxError>) -> Self {
        let error = Self::transient(message);
        match source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }

    /// The token endpoint answered with an error status, or with an error in a successful one.
    pub(crate) fn answered(
        status: StatusCode,
        message: String,
        code: Option<&str>,
        retry_after: Option<Duration>,
    ) -> Self {
        // Without an OAuth error in it, a 4xx is a gateway's in front of the token endpoint: an ingress's 404 during a rollout,
        // a firewall's page. It passes, and a permanent failure's backoff would outlast it by minutes.
        let is_not_its_own = status.is_client_error() && code.is_none();
        let transient = is_not_its_own
            || matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS
            )
            || status.is_server_error()
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

    /// The token endpoint told this to another process of the fleet.
    #[cfg(feature = "shared")]
    pub(crate) fn shared(
        kind: ErrorKind,
        transient: bool,
        message: &str,
        status: Option<StatusCode>,
        code: Option<&str>,
        retry_after: Option<Duration>,
    ) -> Self {
        const BY: &str = "by another process that shares this token: ";
        let message = message.strip_prefix(BY).unwrap_or(message);
        Inner {
            status,
            code: code.map(Into::into),
            retry_after,
            ..Inner::new(kind, transient, format!("{BY}{message}"))
        }
        .into()
    }

    pub(crate) fn transport(source: BoxError) -> Self {
        Inner {
            source: Some(source.into()),
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
    pub(crate) fn retold(mut self, message: String) -> Self {
        Arc::make_mut(&mut self.0).message = message.into();
        self
    }

    /// The server granted less than it was asked for, and all of it is needed.
    pub(crate) fn narrowed(missing: &[&str]) -> Self {
        let message = format!(
            "the token endpoint granted fewer scopes than were asked for, without {}; register the client for all of them, or \
             do without `require_all_scopes`",
            missing.join(" ")
        );
        Inner::new(ErrorKind::Denied, false, message).into()
    }

    pub(crate) fn invalid_answer(message: impl Into<Cow<'static, str>>) -> Self {
        Inner::new(ErrorKind::InvalidAnswer, true, message).into()
    }

    /// The token is of another type. It will be, until the server is set up otherwise.
    pub(crate) fn not_bearer(token_type: &str) -> Self {
        let or = match token_type.eq_ignore_ascii_case("DPoP") {
            true => format!(", or {SET_UP_DPOP}"),
            false => String::new(),
        };
        let message = format!(
            "the token endpoint returned a token of the type {token_type:?}, which cannot be sent as a Bearer token; configure \
             the server to issue Bearer tokens{or}"
        );
        Inner::new(ErrorKind::InvalidAnswer, false, message).into()
    }

    /// The token is a bearer token, and was to be bound to a key. It will be, until the server is set up otherwise.
    pub(crate) fn not_bound() -> Self {
        let message = "the token endpoint was sent a DPoP proof and returned a bearer token, which anybody could use who gets \
                       hold of it; configure the server to bind this client's tokens, or allow it by `accept_bearer_tokens`";
        Inner::new(ErrorKind::InvalidAnswer, false, message).into()
    }

    pub(crate) fn unusable_token(message: &'static str) -> Self {
        Inner::new(ErrorKind::InvalidAnswer, true, message).into()
    }

    pub(crate) fn expired_on_arrival(lifetime: Duration, token_request: Duration) -> Self {
        let message = format!(
            "the token expired on its way: its lifetime is {lifetime:?}, and the token request took {token_request:?}; set a \
             longer lifetime at the authorization server"
        );
        Inner::new(ErrorKind::InvalidAnswer, true, message).into()
    }

    pub(crate) fn timeout(after: Duration) -> Self {
        let message = format!(
            "the token request did not finish within {after:?}; if the token endpoint is that slow, raise \
             `token_request_timeout`"
        );
        Inner::new(ErrorKind::Timeout, true, message).into()
    }

    pub(crate) fn deadline() -> Self {
        Inner::new(
            ErrorKind::Timeout,
            true,
            "the request did not finish before its deadline; allow it more time, or find out what took so long",
        )
        .into()
    }

    pub(crate) fn rejected_too(retry_after: Duration) -> Self {
        Inner {
            retry_after: Some(retry_after),
            ..Inner::new(
                ErrorKind::Rejected,
                true,
                format!(
                    "the API rejected the access token; the next refresh for this reason is allowed in {:.1} s. If it rejects \
                     fresh tokens too, check their scopes and audience",
                    retry_after.as_secs_f64()
                ),
            )
        }
        .into()
    }

    pub(crate) fn in_the_clear(origin: &str) -> Self {
        let message = format!(
            "the request goes to {origin}, which is not https, so its token would be sent unencrypted. Use https or a loopback \
             host, or opt out with `danger_allow_tokens_over_plain_http`"
        );
        Inner::new(ErrorKind::NotAllowed, false, message).into()
    }

    pub(crate) fn unselected(origin: &str) -> Self {
        let message = format!(
            "the request goes to {origin} and is not selected for a token, and this layer denies such requests. Select it, or \
             mark it with `NoToken`"
        );
        Inner::new(ErrorKind::NotAllowed, false, message).into()
    }

    #[cfg(feature = "dpop")]
    pub(crate) fn without_host() -> Self {
        let message = "the request has a token that needs a DPoP proof, and says in no header and no URI to which host it goes; give \
                       it an absolute URI, or the layer an `origin`";
        Inner::new(ErrorKind::NotAllowed, false, message).into()
    }

    pub(crate) fn authorized_already(header: &str) -> Self {
        let message = format!(
            "the request already has the header {header}, and this layer denies such requests. Remove it, or choose \
             `ExistingAuthorization::Replace`"
        );
        Inner::new(ErrorKind::NotAllowed, false, message).into()
    }

    /// The request's key is none that the layer has a cache for. It is not shown: it may come from a caller.
    pub(crate) fn unknown_key() -> Self {
        Inner::new(
            ErrorKind::NotAllowed,
            false,
            "there are no credentials for the request's key, and the keys are a fixed map. Add the key to the map, or do not \
             select such requests",
        )
        .into()
    }

    pub(crate) fn panicked() -> Self {
        Inner::new(
            ErrorKind::Interrupted,
            true,
            "the token source panicked during the token request; the panic's own message says where",
        )
        .into()
    }

    pub(crate) fn interrupted() -> Self {
        Inner::new(
            ErrorKind::Interrupted,
            true,
            "the token request was cut off: its runtime was shut down, or stood still. Call again, or name a runtime that \
             outlives it by `TokenCacheBuilder::runtime`",
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

    /// No token is requested now, because of `cause`.
    pub(crate) fn backing_off(cause: &Self, retry_after: Duration) -> Self {
        Inner {
            retry_after: Some(retry_after),
            backing_off: true,
            ..Inner::clone(&cause.0)
        }
        .into()
    }

    /// Whether it was made by [`backing_off`](Self::backing_off).
    pub(crate) fn is_backing_off(&self) -> bool {
        self.0.backing_off
    }

    /// Ours if `error` is or wraps one of ours, so that kind and class survive tower's layers around a source.
    pub(crate) fn from_source(error: BoxError) -> Self {
        if let Some(ours) = Self::find_in(&*error) {
            return ours.clone();
        }
        Self::transient("the token source failed; its own error is the cause").with_source(error)
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
            backing_off: false,
            requester: None,
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
        let Inner {
            message, requester, ..
        } = &*self.0;
        let held_off = self.0.retry_after.filter(|_| self.0.backing_off);
        if held_off.is_some() {
            f.write_str("no token: ")?;
        }
        f.write_str(message)?;
        if let Some(requester) = requester {
            f.write_str(" (")?;
            if let Some(client_id) = self.client_id() {
                write!(f, "client_id {}, ", client_id.escape_debug())?;
            }
            write!(f, "{})", requester.token_endpoint)?;
        }
        match held_off {
            Some(left) => {
                let left = left.as_secs_f64();
                write!(f, "; the next token request is allowed in {left:.1} s")
            }
            None => Ok(()),
        }
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
        if let Some(requester) = &self.0.requester {
            out.field("client_id", &requester.client_id)
                .field("token_endpoint", &requester.token_endpoint);
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

/// The cause of an error, also where it is not its source.
fn below<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return error.get_ref().map(|inner| inner as _);
    }
    #[cfg(feature = "reqwest-middleware")]
    if let Some(reqwest_middleware::Error::Middleware(inner)) = error.downcast_ref() {
        return Some(&**inner);
    }
    error.source()
}

/// What may follow says why.
const UNANSWERED: &str = "could not get an answer from the token endpoint";

/// What a client does that has no key, for a server that wants one.
pub(crate) const SET_UP_DPOP: &str = "give the credentials a key by `dpop`, and the requests to the API a `DpopLayer` (crate feature `dpop`)";

#[cfg(test)]
mod tests {
    use super::*;

    /// Each level's text of an error and its causes.
    fn levels(error: &Error) -> Vec<String> {
        let mut levels = vec![error.to_string()];
        let mut cause = error.source();
        while let Some(current) = cause {
            levels.push(current.to_string());
            cause = current.source();
        }
        levels
    }

    #[test]
    fn what_passes_by_itself_is_transient_and_what_somebody_has_to_change_is_not() {
        let second = Duration::from_secs(1);
        let answered = |status, code| {
            let status = StatusCode::from_u16(status).unwrap();
            Error::answered(status, String::new(), code, None)
        };
        use ErrorKind::*;
        for (error, kind, is_transient) in [
            (Error::unusable_token("empty"), InvalidAnswer, true),
            (Error::invalid_answer("empty"), InvalidAnswer, true),
            (Error::not_bearer("DPoP"), InvalidAnswer, false),
            (
                Error::expired_on_arrival(second, second),
                InvalidAnswer,
                true,
            ),
            (Error::timeout(second), Timeout, true),
            (Error::deadline(), Timeout, true),
            (Error::rejected_too(second), Rejected, true),
            (Error::panicked(), Interrupted, true),
            (Error::interrupted(), Interrupted, true),
            (Error::transport("down".into()), Unavailable, true),
            (Error::from_source("down".into()), Source, true),
            (Error::provided(String::new(), None), Source, true),
            (Error::no_runtime(), NoRuntime, false),
            (Error::configuration("wrong"), Configuration, false),
            (Error::unsupported(String::new()), Denied, false),
            (Error::narrowed(&["a"]), Denied, false),
            (Error::in_the_clear("http://a.test"), NotAllowed, false),
            (Error::unselected("https://a.test"), NotAllowed, false),
            (
                Error::authorized_already("Authorization"),
                NotAllowed,
                false,
            ),
            (Error::unknown_key(), NotAllowed, false),
            (answered(400, Some("invalid_client")), Denied, false),
            (answered(401, Some("invalid_client")), Denied, false),
            (answered(403, Some("x_custom")), Denied, false),
            (answered(302, None), Denied, false),
            (answered(500, Some("invalid_client")), Unavailable, true),
            (answered(400, Some("server_error")), Unavailable, true),
            (answered(429, Some("slow_down")), Unavailable, true),
            (answered(503, None), Unavailable, true),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
            assert_eq!(error.is_transient(), is_transient, "{error}");
            assert_eq!(error.is_timeout(), kind == Timeout, "{error}");
            assert_eq!(error.is_denied(), kind == Denied, "{error}");
            // What it is about does not change by waiting.
            let later = Error::backing_off(&error, second);
            assert_eq!(later.kind(), kind);
            assert_eq!(later.is_transient(), is_transient);
        }
    }

    /// Promise: L16
    #[test]
    fn a_4xx_without_an_oauth_error_is_a_gateways_and_passes() {
        for status in (400..500).filter_map(|status| StatusCode::from_u16(status).ok()) {
            let error = Error::answered(status, String::new(), None, None);
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{status}");
            assert!(error.is_transient(), "{status}");
        }
    }

    #[cfg(feature = "reqwest")]
    #[test]
    fn a_client_that_cannot_be_built_stays_so() {
        let theirs = reqwest::Client::builder().user_agent("\n").build();
        let error = Error::client(theirs.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(!error.is_transient());
        assert!(error.source().is_some());
    }

    #[test]
    fn an_error_is_found_wherever_the_libraries_between_put_it() {
        let ours = || Error::permanent("no such role");
        #[derive(Debug)]
        struct Wrapper(BoxError);
        impl fmt::Display for Wrapper {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("wrapped")
            }
        }
        impl StdError for Wrapper {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&*self.0)
            }
        }
        let wrapped = || Wrapper(ours().into());
        let in_io = || io::Error::other(ours());
        for error in [
            BoxError::from(ours()),
            wrapped().into(),
            in_io().into(),
            io::Error::other(wrapped()).into(),
            Wrapper(in_io().into()).into(),
            #[cfg(feature = "reqwest-middleware")]
            reqwest_middleware::Error::middleware(ours()).into(),
            #[cfg(feature = "reqwest-middleware")]
            reqwest_middleware::Error::middleware(in_io()).into(),
            #[cfg(feature = "tonic")]
            tonic::Status::from_error(wrapped().into()).into(),
        ] {
            let found = Error::find_in(&*error);
            assert_eq!(found.unwrap().to_string(), "no such role", "{error:?}");
        }
        for other in [
            BoxError::from("down"),
            io::Error::other("down").into(),
            io::Error::from(io::ErrorKind::NotFound).into(),
            Wrapper("down".into()).into(),
        ] {
            assert!(Error::find_in(&*other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn no_level_of_an_error_tells_what_another_one_tells() {
        let second = Duration::from_secs(1);
        let io = || io::Error::other("the disk is gone");
        let unavailable = Error::transport(io().into());
        let chains = [
            unavailable.clone(),
            unavailable.unanswered_by("https://auth.test/metadata"),
            Error::from_source(io().into()),
            Error::provided("the secret's provider failed".to_owned(), Some(io().into())),
            Error::secret_file("secret", Path::new("/a"), "cannot be read", Some(io())),
        ];
        for error in chains {
            // Of a backoff, twice: another cache's error may be a source's.
            let later = Error::backing_off(&error, second);
            let from_another =
                Error::backing_off(&Error::from_source(later.clone().into()), second * 2);
            for error in [error, later, from_another] {
                let levels = levels(&error);
                assert_eq!(levels.last().unwrap(), "the disk is gone");
                for (n, level) in levels.iter().enumerate() {
                    for (m, other) in levels.iter().enumerate() {
                        assert!(n == m || !level.contains(other), "{levels:#?}");
                    }
                }
            }
        }
    }
}
