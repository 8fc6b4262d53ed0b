//! What the servers write down of each request.

use std::{fmt, sync::Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version, header::AUTHORIZATION};
use url::form_urlencoded;

use super::{lock, serve::Connection};

/// A request that reached a server, and what came of it.
///
/// `Debug` shows no header values and no body, because they hold tokens and secrets.
#[derive(Clone)]
#[non_exhaustive]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The URI: whole in memory and over HTTP/2, else the path and the query.
    pub uri: Uri,
    /// The HTTP version.
    pub version: Version,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, to its end.
    pub body: Bytes,
    /// The certificate that the client showed over TLS, in DER.
    pub certificate: Option<Bytes>,
    /// The client that the server recognized, by its authentication or by its token.
    pub client_id: Option<String>,
    /// The status of the answer; `None` if there is none yet.
    pub status: Option<StatusCode>,
}

impl Call {
    /// The token of the `Authorization` header, without `Bearer`; `None` if there is not exactly one.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        token(&self.headers)
    }

    /// The value of a form's parameter, the first if there are several, such as `scope` of a token request.
    #[must_use]
    pub fn form(&self, name: &str) -> Option<String> {
        let mut form = form_urlencoded::parse(&self.body);
        let (_, value) = form.find(|(other, _)| other == name)?;
        Some(value.into_owned())
    }
}

/// The token of the one `Authorization` header.
pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (scheme, token) = values.next()?.to_str().ok()?.split_once(' ')?;
    (values.next().is_none() && scheme.eq_ignore_ascii_case("bearer")).then_some(token)
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.uri.path())?;
        match &self.client_id {
            Some(client_id) => write!(f, " of {client_id:?}")?,
            None => f.write_str(" of no known client")?,
        }
        match self.status {
            Some(status) => write!(f, ": {}", status.as_u16()),
            None => f.write_str(": no answer"),
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("path", &self.uri.path())
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("client_id", &self.client_id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// The requests of a server, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Vec<Call>>);

impl Log {
    /// Writes down a request that has come. Returns its place.
    pub(super) fn arrived(&self, request: &Request<Bytes>) -> usize {
        let connection = request.extensions().get::<Connection>();
        let call = Call {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
            body: request.body().clone(),
            certificate: connection.and_then(|connection| connection.certificate.clone()),
            client_id: None,
            status: None,
        };
        let mut calls = lock(&self.0);
        calls.push(call);
        calls.len() - 1
    }

    pub(super) fn recognized(&self, place: usize, client_id: &str) {
        lock(&self.0)[place].client_id = Some(client_id.to_owned());
    }

    pub(super) fn answered(&self, place: usize, status: StatusCode) {
        lock(&self.0)[place].status = Some(status);
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        lock(&self.0).clone()
    }
}

/// Panics with a list of what came if it is not as much as expected.
#[track_caller]
pub(super) fn assert_count(what: &str, expected: usize, calls: &[Call]) {
    assert!(
        calls.len() == expected,
        "expected {what}: {expected}, but there were {}{}",
        calls.len(),
        calls
            .iter()
            .zip(1..)
            .map(|(call, number)| format!("\n  {number}. {call}"))
            .collect::<String>()
    );
}
