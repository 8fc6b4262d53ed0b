//! Selection by where a request goes.

use std::{fmt, net::Ipv6Addr, sync::Arc};

use http::{Uri, uri::Scheme};

use super::{And, RequestHead, Select};
use crate::error::Error;

/// Selects requests to these origins: scheme, host and port ([RFC 6454]).
///
/// For clients that talk to more than one server. Requests to other origins are sent without a token, or
/// [denied](crate::BearerAuthLayer::deny_unselected). With [`keyed`](Self::keyed), each origin has a credential of its own.
///
/// # What is the same origin
/// In doubt it is another origin, and the request gets no token.
///
/// | a request's URI has | result |
/// | --- | --- |
/// | upper-case letters in scheme or host | the same as lower-case ones |
/// | no port | the scheme's usual one, 443 or 80 |
/// | an empty or invalid port, as in `https://api.example.com:` | another origin |
/// | an IPv6 address | compared as an address: `[::1]` is `[0:0:0:0:0:0:0:1]` |
/// | an IPv4 address | compared as text: `127.1` is not `127.0.0.1`, and neither is `[::ffff:127.0.0.1]` |
/// | a dot at the end, as in `api.example.com.` | another host: resolvers and certificates tell the two apart |
/// | user or password in it, as in `https://me@api.example.com` | another origin: such a URI is made to be misread ([RFC 9110 §4.2.4]) |
/// | a host with letters beyond ASCII | cannot occur: URIs have the ASCII form, `xn--…` ([RFC 5890 §2.3.2.1]), and so must the origins here |
/// | a different `Host` header | the header is ignored: a client connects by the URI |
/// | no scheme or no host, as below a client or on a hand-made connection | no origin: such a stack talks to one server, so use [`Always`](crate::select::Always) |
///
/// # Example
/// ```
/// use tower_bearer::{select::Origins, token::FixedToken, BearerAuthLayer};
///
/// # let source = FixedToken::new("t")?;
/// let layer = BearerAuthLayer::new(source).select(Origins::new(["https://apigw.ipxo.com"])?);
/// # let _ = layer;
/// # Ok::<(), tower_bearer::Error>(())
/// ```
///
/// [RFC 6454]: https://www.rfc-editor.org/rfc/rfc6454#section-4
/// [RFC 9110 §4.2.4]: https://www.rfc-editor.org/rfc/rfc9110#section-4.2.4
/// [RFC 5890 §2.3.2.1]: https://www.rfc-editor.org/rfc/rfc5890#section-2.3.2.1
#[derive(Clone)]
pub struct Origins<K = ()>(Arc<[(Origin, K)]>);

#[derive(PartialEq)]
struct Origin {
    scheme: Scheme,
    host: Host,
    port: u16,
}

#[derive(PartialEq)]
enum Host {
    /// A name, or whatever else is compared by the letter; in lower case.
    Name(Box<str>),
    V6(Ipv6Addr),
}

impl Origins {
    /// Selects requests to these origins, each as `scheme://host` or `scheme://host:port`, without a path.
    ///
    /// An `http` origin can be named, but gets a token only if it is loopback or the layer
    /// [allows it](crate::BearerAuthLayer::danger_allow_tokens_over_plain_http).
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if there are none, or if one is not an origin or not
    /// ASCII.
    pub fn new<I>(origins: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::keyed(origins.into_iter().map(|origin| (origin, ())))
    }

    /// Selects, of the requests to these origins, those that `other` selects, by its key.
    pub fn and<T>(self, other: T) -> And<Self, T> {
        And::new(self, other)
    }

    /// The https origin of a host that is known to be one.
    pub(crate) fn https(host: &'static str) -> Self {
        let origin = Origin {
            scheme: Scheme::HTTPS,
            host: Host::Name(host.into()),
            port: HTTPS_PORT,
        };
        Self(Arc::new([(origin, ())]))
    }
}

impl<K> Origins<K> {
    /// Selects requests to these origins, each with the key of its credential.
    ///
    /// # Errors
    /// As for [`new`](Origins::new), and if an origin is given twice.
    pub fn keyed<I, O>(origins: I) -> Result<Self, Error>
    where
        I: IntoIterator<Item = (O, K)>,
        O: AsRef<str>,
    {
        let origins: Arc<[_]> = origins
            .into_iter()
            .map(|(origin, key)| Ok((Origin::parse(origin.as_ref())?, key)))
            .collect::<Result<_, Error>>()?;
        let twice = |(n, (origin, _)): (usize, &(Origin, K))| {
            origins[..n].iter().any(|(other, _)| other == origin)
        };
        if origins.iter().enumerate().any(twice) {
            return Err(Error::configuration(
                "an origin is given twice, and can have one credential only; remove one of the two",
            ));
        }
        if origins.is_empty() {
            return Err(Error::configuration(
                "no origin is given, so no request would get a token; name one, as in https://api.example.com",
            ));
        }
        Ok(Self(origins))
    }
}

impl<K: Clone> Select for Origins<K> {
    type Key = K;

    fn select(&self, request: &RequestHead<'_>) -> Option<K> {
        let origin = |(origin, _): &&(Origin, K)| origin.is_of(request.uri());
        self.0.iter().find(origin).map(|(_, key)| key.clone())
    }
}

impl<K> fmt::Debug for Origins<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins = self.0.iter().map(|(origin, _)| origin);
        f.debug_list().entries(origins).finish()
    }
}

impl Origin {
    fn parse(text: &str) -> Result<Self, Error> {
        let reject = |why: &str| {
            // What may be a password is not repeated.
            let shown = if text.contains('@') { "…@…" } else { text };
            Error::configuration(format!(
                "the origin {shown:?} {why}; write scheme, host and, if it is not the usual one, port, as in \
                 https://api.example.com"
            ))
        };
        if !text.is_ascii() {
            return Err(reject(
                "has a letter beyond ASCII, which no request's URI has; write the host's ASCII form, xn--…",
            ));
        }
        let uri: Uri = text.parse().map_err(|_| reject("does not parse"))?;
        if text.contains('@') {
            return Err(reject("has credentials in it"));
        }
        let (Some(scheme), Some(host), Some(port)) = (uri.scheme(), uri.host(), port(&uri)) else {
            return Err(reject(
                "has no scheme or no host, or a scheme without a usual port",
            ));
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(reject("has a path"));
        }
        Ok(Self {
            scheme: scheme.clone(),
            host: Host::parse(host),
            port,
        })
    }

    fn is_of(&self, uri: &Uri) -> bool {
        uri.scheme() == Some(&self.scheme)
            && uri.host().is_some_and(|host| self.host.is(host))
            && port(uri) == Some(self.port)
    }
}

impl Host {
    fn parse(host: &str) -> Self {
        match v6(host) {
            Some(address) => Self::V6(address),
            None => Self::Name(host.to_ascii_lowercase().into()),
        }
    }

    fn is(&self, host: &str) -> bool {
        match self {
            Self::Name(name) => host.eq_ignore_ascii_case(name),
            Self::V6(address) => v6(host).as_ref() == Some(address),
        }
    }
}

/// The address in brackets.
fn v6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        match host {
            Host::Name(name) => write!(f, "{scheme}://{name}:{port}"),
            Host::V6(address) => write!(f, "{scheme}://[{address}]:{port}"),
        }
    }
}

/// `None` if it is none, such as 99999, where the scheme has no usual one, and where there is a user before the host.
fn port(uri: &Uri) -> Option<u16> {
    let authority = uri.authority()?;
    if let Some(port) = authority.port() {
        let is_all_else =
            authority.as_str().len() == authority.host().len() + 1 + port.as_str().len();
        return is_all_else.then_some(port.as_u16());
    }
    if authority.as_str() != authority.host() {
        return None;
    }
    match uri.scheme_str() {
        Some("https") => Some(HTTPS_PORT),
        Some("http") => Some(80),
        _ => None,
    }
}

const HTTPS_PORT: u16 = 443;

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn picked(origins: &Origins, uri: &str) -> bool {
        let request = Request::get(uri).body(()).unwrap();
        origins.select(&RequestHead::from(&request)).is_some()
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_in_any_case_of_letters() {
        let origins = Origins::new([
            "https://API.example.com",
            "http://[::1]:8080",
            "http://localhost",
        ])
        .unwrap();
        for uri in [
            "https://api.example.com/a",
            "https://api.EXAMPLE.com:443/",
            "HTTPS://api.example.com/",
            "http://[::1]:8080/?q",
            "http://[0:0:0:0:0:0:0:1]:8080/",
            "http://localhost:80/",
        ] {
            assert!(picked(&origins, uri), "{uri}");
        }
        for uri in [
            "http://api.example.com/",
            "https://api.example.com:8443/",
            "https://api.example.com.evil.test/",
            "https://api.example.com@evil.test/",
            "https://me@api.example.com/",
            "https://me:pw@api.example.com:443/",
            "https://@api.example.com/",
            "https://api.example.com./",
            "https://xn--api-example.com/",
            "https://example.com/",
            "https://api.example.com:99999/",
            "https://api.example.com:/",
            "http://[::1]/",
            "http://[::2]:8080/",
            "http://[::ffff:127.0.0.1]:8080/",
            "/a",
            "*",
            "api.example.com:443",
        ] {
            assert!(!picked(&origins, uri), "{uri}");
        }
    }

    #[test]
    fn what_is_no_origin_is_rejected_with_a_sentence() {
        for (text, why) in [
            ("", "does not parse"),
            ("api.example.com", "no scheme"),
            ("https://api.example.com/v1", "has a path"),
            ("https://me:pw@api.example.com", "has credentials"),
            ("https://bücher.example", "xn--"),
            ("ftp://api.example.com", "without a usual port"),
        ] {
            let error = Origins::new([text]).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(Origins::new([""; 0]).is_err());
        assert!(Origins::new(["https://a.test:99999"]).is_err());
        let twice = [("https://a.test", 1), ("https://A.test:443/", 2)];
        let error = Origins::keyed(twice).unwrap_err().to_string();
        assert!(error.contains("twice"), "{error}");
    }

    #[test]
    fn each_origin_can_have_a_key_of_its_own() {
        let origins = Origins::keyed([("https://a.test", 1), ("https://b.test:8443", 2)]).unwrap();
        let key = |uri| origins.select(&RequestHead::from(&Request::get(uri).body(()).unwrap()));
        assert_eq!(key("https://a.test/x"), Some(1));
        assert_eq!(key("https://b.test:8443/x"), Some(2));
        assert_eq!(key("https://b.test/x"), None);
    }

    #[test]
    fn origins_and_tenants_compose() {
        let origins = Origins::new(["https://a.test"]).unwrap();
        let select = origins.and(|request: &RequestHead<'_>| {
            let segment = request.uri().path().split('/').nth(1)?;
            (!segment.is_empty()).then(|| segment.to_owned())
        });
        let key = |uri| select.select(&RequestHead::from(&Request::get(uri).body(()).unwrap()));
        assert_eq!(key("https://a.test/t1/x").as_deref(), Some("t1"));
        assert_eq!(key("https://a.test/"), None);
        assert_eq!(key("https://b.test/t1/x"), None);
    }
}
