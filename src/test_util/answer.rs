//! What a token endpoint is told to answer.

use std::time::Duration;

use bytes::Bytes;
use http::Response;

/// An answer of the token endpoint, for [`AuthorizationServer::script`](super::AuthorizationServer::script).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// A new token, if the client is known: the answer of a server that is well.
    Token,
    /// The token that the client was given before, valid or not, as a server with a cache gives it.
    SameToken,
    /// A new token that the APIs accept after this time only, as if it took so long to reach them.
    LateToken(Duration),
    /// This OAuth error code: 401 for `invalid_client`, else 400.
    Denied(&'static str),
    /// 429 with this `Retry-After`, in whole seconds.
    TooManyRequests(Duration),
    /// 503, as a gateway sends it in front of a server that is down.
    Unavailable,
    /// 200 with a web page in place of a token.
    Garbage,
    /// This response: what your provider answered, for example.
    Custom(Response<Bytes>),
    /// No answer: the connection fails.
    Disconnected,
    /// No answer, for ever.
    Hang,
}
