//! A DPoP proof: a JWT for one request ([RFC 9449 §4.2]).
//!
//! [RFC 9449 §4.2]: https://www.rfc-editor.org/rfc/rfc9449#section-4.2

use std::time::SystemTime;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{
    HeaderValue, Method, Uri,
    header::HOST,
    request::Parts,
    uri::{Authority, Scheme},
};
use ring::digest::{SHA256, digest};
use serde::Serialize;
use url::Url;

use super::{
    key::{DpopKey, Signing},
    nonces::Known,
};
use crate::{
    client_credentials::auth::{carried, jwt},
    error::Error,
    util::{clock, wiped::Wiped},
};

/// Where a request goes: its `htu`, which begins with its origin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Htu {
    text: String,
    origin: usize,
}

impl Htu {
    fn new(mut origin: String, path: &str) -> Self {
        let length = origin.len();
        origin.push_str(if path.is_empty() { "/" } else { path });
        Self {
            text: origin,
            origin: length,
        }
    }

    pub(crate) fn of_url(url: &Url) -> Self {
        Self::new(url.origin().ascii_serialization(), url.path())
    }

    /// The URI of a request as it is sent: its `Host` comes before the authority of its URI, as servers read it. `None` if it has
    /// neither. A path alone does not say the scheme; then it is https.
    pub(crate) fn of_request(head: &Parts) -> Option<Self> {
        let uri = &head.uri;
        let host = head.headers.get(HOST);
        let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let authority = host.as_ref().or(uri.authority())?;
        let scheme = uri.scheme().unwrap_or(&Scheme::HTTPS);
        Some(Self::new(origin(scheme, authority), uri.path()))
    }

    /// Only an origin. `None` if the text is not that alone.
    pub(crate) fn of_origin(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let scheme = uri
            .scheme()
            .filter(|it| matches!(it.as_str(), "http" | "https"))?;
        let authority = uri.authority().filter(|it| !it.as_str().contains('@'))?;
        let is_alone = uri.path() == "/" && uri.query().is_none() && !text.contains('#');
        is_alone.then(|| Self::new(origin(scheme, authority), ""))
    }

    /// The path of a request at this origin.
    pub(crate) fn at(origin: &str, uri: &Uri) -> Self {
        Self::new(origin.to_owned(), uri.path())
    }

    pub(crate) fn origin(&self) -> &str {
        &self.text[..self.origin]
    }
}

/// In lower case, without user info and without the scheme's own port: the form that servers compare ([RFC 9449 §4.3]).
///
/// [RFC 9449 §4.3]: https://www.rfc-editor.org/rfc/rfc9449#section-4.3
fn origin(scheme: &Scheme, authority: &Authority) -> String {
    let (scheme, own_port) = match scheme.as_str() {
        "https" | "wss" => ("https", Some(443)),
        "http" | "ws" => ("http", Some(80)),
        other => (other, None),
    };
    let mut origin = format!("{scheme}://{}", authority.host());
    origin.make_ascii_lowercase();
    if let Some(port) = authority.port_u16().filter(|port| Some(*port) != own_port) {
        origin.push_str(&format!(":{port}"));
    }
    origin
}

#[derive(Serialize)]
struct Claims<'a> {
    jti: &'a str,
    htm: &'a str,
    htu: &'a str,
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

/// What a proof is about.
pub(crate) struct About<'a> {
    pub(crate) method: &'a Method,
    pub(crate) htu: &'a Htu,
    /// The token beside it, at an API.
    pub(crate) token: Option<&'a [u8]>,
    /// What the server said before.
    pub(crate) known: &'a Known,
}

/// A proof that is still to be signed, or its signature to be waited for.
pub(crate) struct Unsigned {
    input: String,
    pub(crate) signing: Signing,
}

impl About<'_> {
    /// Writes a new proof, with a `jti` and an `iat` of its own, and has the key sign it.
    pub(crate) fn prove(&self, key: &DpopKey) -> Result<Unsigned, Error> {
        let claims = Claims {
            jti: &jwt::unique()?,
            htm: self.method.as_str(),
            htu: &self.htu.text,
            iat: self.known.time_there(clock::wall()),
            ath: self.token.map(hash),
            nonce: self.known.nonce(),
        };
        let input = format!("{}.{}", key.header(), jwt::part(&claims)?);
        let signing = key.sign(&input);
        Ok(Unsigned { input, signing })
    }
}

impl Unsigned {
    /// Waits for the signature, if it is not here yet.
    pub(crate) async fn signed(self) -> Result<Proof, Error> {
        let signature = match self.signing {
            Signing::Done(signature) => signature,
            Signing::Pending(signing) => signing.await,
        };
        Proof::new(&self.input, &signature?)
    }

    /// The proof, or itself if it is to be waited for.
    pub(crate) fn now(self) -> Result<Result<Proof, Error>, Self> {
        match self.signing {
            Signing::Done(signature) => Ok(signature.and_then(|it| Proof::new(&self.input, &it))),
            Signing::Pending(_) => Err(self),
        }
    }
}

/// The header's value, marked sensitive: it is good for one request only, but is for that request alone.
#[derive(Clone)]
pub(crate) struct Proof(HeaderValue);

impl Proof {
    fn new(input: &str, signature: &[u8]) -> Result<Self, Error> {
        let mut text = String::with_capacity(input.len() + 1 + signature.len().div_ceil(3) * 4);
        text.push_str(input);
        text.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| Error::unsigned("the proof cannot be put in a header"))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    pub(crate) fn value(self) -> HeaderValue {
        self.0
    }

    /// Texts that no error may show, if the server repeats them.
    pub(crate) fn hidden(&self) -> Vec<Wiped> {
        let text = self.0.to_str().unwrap_or_default();
        let mut hidden = carried::alone_in_all_forms(text);
        let signature = text.rsplit_once('.').map(|(_, signature)| signature);
        hidden.extend(signature.map(Into::into));
        hidden
    }
}

/// `ath`: SHA-256 of the token, in base64url.
fn hash(token: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, token))
}

impl Known {
    /// The server's time, in seconds since 1970.
    fn time_there(&self, here: SystemTime) -> u64 {
        let here = here.duration_since(SystemTime::UNIX_EPOCH);
        here.unwrap_or_default()
            .as_secs()
            .saturating_add_signed(self.ahead())
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn htu(request: http::request::Builder) -> Option<String> {
        let head = request.body(()).unwrap().into_parts().0;
        Some(Htu::of_request(&head)?.text)
    }

    #[test]
    fn htu_is_the_uri_of_the_request_as_it_is_sent_without_query_and_user() {
        for (uri, wanted) in [
            ("https://api.test/a/B?c=d", "https://api.test/a/B"),
            ("HTTPS://API.Test:443/a", "https://api.test/a"),
            ("https://api.test:8443?q", "https://api.test:8443/"),
            ("http://user:pw@[::1]:80/%7Ea", "http://[::1]/%7Ea"),
            ("http://api.test:443/", "http://api.test:443/"),
            ("https://api.test:80/", "https://api.test:80/"),
            ("wss://api.test/socket", "https://api.test/socket"),
        ] {
            assert_eq!(htu(Request::get(uri)).as_deref(), Some(wanted), "{uri}");
        }
    }

    #[test]
    fn the_host_of_a_request_is_where_it_is_sent_to() {
        for (uri, host, wanted) in [
            ("/a?b", "API.test", "https://api.test/a"),
            ("https://10.0.0.7:8443/a", "api.test", "https://api.test/a"),
            (
                "http://10.0.0.7/a",
                "api.test:8080",
                "http://api.test:8080/a",
            ),
            // One that is none.
            ("https://api.test/a", "a b", "https://api.test/a"),
        ] {
            let request = Request::get(uri).header(HOST, host);
            assert_eq!(htu(request).as_deref(), Some(wanted), "{uri} {host}");
        }
        assert_eq!(htu(Request::get("/a")), None);
    }

    /// Example of RFC 9449 §7.1.
    #[test]
    fn ath_is_that_of_the_rfc() {
        let token = b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
        assert_eq!(hash(token), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    }
}
