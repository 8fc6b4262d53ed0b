//! The headers that a program adds to each request to the authorization server.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request,
    header::{
        ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING,
        USER_AGENT,
    },
};
use tower::{ServiceExt, util::BoxCloneSyncService};

use crate::{client_credentials::transport::Transport, error::Error};

/// Firewalls often block requests without a `User-Agent`.
const OWN_USER_AGENT: &str = concat!("tower-bearer/", env!("CARGO_PKG_VERSION"));

/// Set by this crate or by the HTTP client.
const TAKEN: [HeaderName; 7] = [
    ACCEPT,
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    TRANSFER_ENCODING,
];

/// Parses names and values, and adds a `User-Agent` if there is none.
///
/// # Errors
/// A name or a value is not valid, or the name is taken. No value is quoted: it may be a secret.
pub(crate) fn checked(given: &[(String, String)]) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(OWN_USER_AGENT));
    for (name, value) in given {
        let name = HeaderName::try_from(name).map_err(|_| {
            Error::configuration(format!(
                "{name:?} is not the name of a header; use letters, digits and hyphens"
            ))
        })?;
        if TAKEN.contains(&name) {
            return Err(Error::configuration(format!(
                "the header {name} is set by this crate or by the HTTP client; remove it"
            )));
        }
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            Error::configuration(format!(
                "the value of the header {name} has a character that is not visible ASCII (a line end?); remove it"
            ))
        })?;
        if name == USER_AGENT {
            headers.insert(name, value);
        } else {
            // It may be a gateway's key.
            value.set_sensitive(true);
            headers.append(name, value);
        }
    }
    Ok(headers)
}

/// Adds the headers to each request, whatever it is for.
pub(crate) fn added_by(transport: Transport, headers: HeaderMap) -> Transport {
    BoxCloneSyncService::new(transport.map_request(move |mut request: Request<Bytes>| {
        request.headers_mut().extend(headers.clone());
        request
    }))
}
