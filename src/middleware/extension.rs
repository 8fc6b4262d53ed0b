//! Options for a single request, set as its [extensions](http::Request::extensions), and what the layer says of a response.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind};

/// Sends the request unchanged and without a token, whatever the layer's other rules say.
///
/// # Example
/// ```
/// use tower_bearer::extension::NoToken;
///
/// let request = http::Request::get("https://api.example.com/health").extension(NoToken).body(())?;
/// # let _ = request;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "named as a value, it has nothing to add to"
)]
pub struct NoToken;

/// Sends the request once: the caller gets the rejection.
///
/// A rejected token is still replaced, for later requests.
///
/// # Example
/// ```
/// use tower_bearer::extension::NoRetry;
///
/// let request = http::Request::post("https://api.example.com/orders").extension(NoRetry).body(())?;
/// # let _ = request;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "named as a value, it has nothing to add to"
)]
pub struct NoRetry;

/// Sends the request with a token that is valid for at least this long. If the current one is not, the request waits for a
/// token request.
///
/// For a long upload, or another body that cannot be replayed, to a server that checks the token again at its end.
///
/// Best effort: it never fails a request. A token in the first half of its life always qualifies. If fetching one fails, or
/// takes longer than half of the current token's remaining life or than the [`Deadline`], the current token is used.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_bearer::extension::MinValidity;
///
/// let request = http::Request::put("https://api.example.com/backups/7")
///     .extension(MinValidity::of(Duration::from_secs(120)))
///     .body(())?;
/// # let _ = request;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MinValidity(pub(crate) Duration);

impl MinValidity {
    /// Valid for `duration`, counted from when the request is sent.
    #[must_use]
    pub fn of(duration: Duration) -> Self {
        Self(duration)
    }
}

/// The time by which the request must be over. Waits for a token and retries end by then.
///
/// - A wait for the first token ends with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout). The token request goes on.
/// - A wait for a new token after a rejection ends with that rejection.
/// - A retry is not sent if less time is left than the first request took. The caller gets the rejection.
/// - A retry in flight ends with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
///
/// It does not cut the first request: put a timeout around the layer for that. The layer for gRPC has one.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_bearer::extension::Deadline;
///
/// let request = http::Request::get("https://api.example.com/")
///     .extension(Deadline::after(Duration::from_secs(2)))
///     .body(())?;
/// # let _ = request;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub(crate) Instant);

impl Deadline {
    /// `duration` from now; saturates.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        let now = Instant::now();
        Self(now.checked_add(duration).unwrap_or(now + FAR))
    }
}

/// Why a rejected request was not retried: an extension of the response that the caller gets in the end.
///
/// Where a token request was needed and did not do, an [`Error`](crate::Error) beside it says more.
///
/// # Example
/// ```
/// use tower_bearer::extension::NotRetried;
///
/// # let response = http::Response::builder().extension(NotRetried::CannotBeReplayed).body(())?;
/// if let Some(NotRetried::CannotBeReplayed) = response.extensions().get() {
///     // The token is replaced by now, or soon: make the request anew.
/// }
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotRetried {
    /// The request said [`NoRetry`].
    OptedOut,
    /// The request's body cannot be replayed. The next request has another token.
    CannotBeReplayed,
    /// The request's [`Deadline`] leaves no time for it.
    NoTimeLeft,
    /// Fresh tokens are rejected as well, so that no token is requested for now.
    CoolDown,
    /// The last token request failed, and the next one is not due yet.
    Backoff,
    /// The token request that the rejection caused failed.
    TokenRequestFailed,
    /// The source gave the rejected token again.
    SameToken,
}

impl NotRetried {
    pub(crate) fn because_of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Rejected => Self::CoolDown,
            _ if error.is_backing_off() => Self::Backoff,
            _ => Self::TokenRequestFailed,
        }
    }

    /// Its stable name in events and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OptedOut => "opted_out",
            Self::CannotBeReplayed => "cannot_be_replayed",
            Self::NoTimeLeft => "no_time_left",
            Self::CoolDown => "cool_down",
            Self::Backoff => "backoff",
            Self::TokenRequestFailed => "token_request_failed",
            Self::SameToken => "same_token",
        }
    }
}

/// Further than any request lives.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
