//! Errors as a cache and a layer return them.

use http::StatusCode;
use url::Url;

use std::time::Duration;

use crate::error::{Error, ErrorKind, Requester};

/// An error of this kind, with the message, the status and the OAuth code of a typical one.
///
/// Use it to test what your service makes of errors: its status codes, its alerts, its logs. For a source that fails with one,
/// see [`ScriptedSource`](super::ScriptedSource).
///
/// # Example
/// ```
/// use tower_bearer::{Error, ErrorKind, test_util};
///
/// fn status(error: &Error) -> u16 {
///     match error.kind() {
///         ErrorKind::Timeout => 504,
///         _ if error.is_transient() => 503,
///         _ => 502,
///     }
/// }
/// assert_eq!(status(&test_util::error(ErrorKind::Timeout)), 504);
/// assert_eq!(status(&test_util::error(ErrorKind::Unavailable)), 503);
/// assert_eq!(status(&test_util::error(ErrorKind::Denied)), 502);
/// ```
#[must_use]
pub fn error(kind: ErrorKind) -> Error {
    const SOON: Duration = Duration::from_secs(5);

    let answered =
        |status, code, message: &str| Error::answered(status, message.into(), code, None);
    let error = match kind {
        ErrorKind::Configuration => {
            return Error::configuration(
                "the token URL is not a URL; write it as https://auth.test/token",
            );
        }
        ErrorKind::Denied => answered(
            StatusCode::UNAUTHORIZED,
            Some("invalid_client"),
            "the token endpoint answered 401 invalid_client: check the secret",
        ),
        ErrorKind::Unavailable => answered(
            StatusCode::SERVICE_UNAVAILABLE,
            None,
            "the token endpoint answered 503",
        ),
        ErrorKind::Timeout => Error::timeout(SOON),
        ErrorKind::InvalidAnswer => {
            Error::invalid_answer("the token endpoint's answer is not JSON")
        }
        ErrorKind::Source => return Error::transient("the token source failed"),
        ErrorKind::Interrupted => Error::interrupted(),
        ErrorKind::Rejected => return Error::rejected_too(SOON),
        ErrorKind::NoRuntime => return Error::no_runtime(),
        ErrorKind::NotAllowed => return Error::in_the_clear("http://api.test"),
    };
    match Url::parse(super::authorization_server::TOKEN_URL) {
        Ok(token_url) => error.of(&Requester::new(super::clients::CLIENT_ID, &token_url)),
        Err(_) => error,
    }
}
