//! What a caller may say of a single request, as an [extension](http::Request::extensions) of it, and what the layer says of a
//! response.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind};

/// The request is sent as it is, without a token, wherever it goes and whatever `Authorization` it has: the layer's other
/// rules are not asked.
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

/// The request is sent once: a rejection is the caller's. A rejected token is still replaced, for requests that come once that
/// token request is over.
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "named as a value, it has nothing to add to"
)]
pub struct NoRetry;

/// The token that this request is sent with lasts at least so long; where the current one does not, the request waits for
/// a token request.
///
/// For a long upload or another body that cannot be said again, where a server that looks at the token once more at the
/// end would cost the whole request. It is a wish, and makes no request fail: a token that is in the first half of its life is
/// as good as can be had, and where the token request fails, or takes longer than half of the time that the current token has left,
/// or that a [`Deadline`] leaves, the current token is used.
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
    /// So long, counted from when the request is sent.
    #[must_use]
    pub fn of(duration: Duration) -> Self {
        Self(duration)
    }
}

/// When the request must be over. Neither a wait for a token nor a retry runs past it.
///
/// - A wait for the first token ends with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout); the token request goes on.
/// - A wait for another token, after a rejection, ends with that rejection.
/// - A retry that has less time left than the first one took, when the other token is there, is not begun: the caller
///   gets the rejection.
/// - A retry that is under way ends with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
///
/// The first try is not cut: that is the work of a timeout around the layer, which this spares the wasted retry. (The
/// layer for gRPC is one.)
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
    /// So long from now. A time beyond the clock's range is as good as none.
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
}

/// Further than any request lives.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
