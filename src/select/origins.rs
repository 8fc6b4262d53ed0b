//! By where a request goes.

use std::{fmt, sync::Arc};

use http::{Request, Uri, uri::Scheme};

use super::{And, Select};
use crate::error::Error;

/// Requests to these origins (scheme, host and port, [RFC 6454]) get the token; others pass untouched.
///
/// For clients that talk to more than one server. With [`keyed`](Self::keyed), each origin has a credential of its own. A request without an absolute URI, as services below a client see
/// them, has no origin and gets no token.
///
/// # Example
/// ```
/// use tower_bearer::{BearerAuthLayer, FixedToken, Origins, Token};
///
/// # let source = FixedToken::new(Token::new("t")?);
/// let layer = BearerAuthLayer::new(source).select(Origins::new(["https://apigw.ipxo.com"])?);
/// # let _ = layer;
/// # Ok::<(), tower_bearer::Error>(())
/// ```
///
/// [RFC 6454]: https://www.rfc-editor.org/rfc/rfc6454#section-4
#[derive(Clone)]
pub struct Origins<K = ()>(Arc<[(Origin, K)]>);

#[derive(PartialEq)]
struct Origin {
    scheme: Scheme,
    host: Box<str>,
    port: u16,
}

impl Origins {
    /// These origins, each as `scheme://host` or `scheme://host:port`, without a path.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) when there is none, or when one is no origin.
    pub fn new<I>(origins: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::keyed(origins.into_iter().map(|origin| (origin, ())))
    }

    /// Only these origins, and of the requests to them what `other` selects, by its key.
    pub fn and<T>(self, other: T) -> And<Self, T> {
        And::new(self, other)
    }

    /// The https origin of a host that is known to be one.
    pub(crate) fn https(host: &'static str) -> Self {
        let origin = Origin {
            scheme: Scheme::HTTPS,
            host: host.into(),
            port: HTTPS_PORT,
        };
        Self(Arc::new([(origin, ())]))
    }
}

impl<K> Origins<K> {
    /// These origins, each with what names its credential.
    ///
    /// # Errors
    /// As for [`new`](Origins::new).
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
                "an origin is given twice, and can have one credential only",
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

impl<B, K: Clone> Select<B> for Origins<K> {
    type Key = K;

    fn select(&self, request: &Request<B>) -> Option<K> {
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
        let refuse = |why: &str| {
            // What may be a password is not repeated.
            let shown = if text.contains('@') { "…@…" } else { text };
            Error::configuration(format!(
                "the origin {shown:?} {why}; write scheme, host and, if it is not the usual one, port, as in \
                 https://api.example.com"
            ))
        };
        let uri: Uri = text.parse().map_err(|_| refuse("does not parse"))?;
        let (Some(scheme), Some(host), Some(port)) = (uri.scheme(), uri.host(), port(&uri)) else {
            return Err(refuse(
                "has no scheme or no host, or a scheme without a usual port",
            ));
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(refuse("has a path"));
        }
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(refuse("has credentials in it"));
        }
        Ok(Self {
            scheme: scheme.clone(),
            host: host.to_ascii_lowercase().into(),
            port,
        })
    }

    fn is_of(&self, uri: &Uri) -> bool {
        uri.scheme() == Some(&self.scheme)
            && uri
                .host()
                .is_some_and(|host| host.eq_ignore_ascii_case(&self.host))
            && port(uri) == Some(self.port)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

/// `None` if it is none, such as 99999, and where the scheme has no usual one.
fn port(uri: &Uri) -> Option<u16> {
    if let Some(port) = uri.port_u16() {
        return Some(port);
    }
    let authority = uri.authority()?.as_str();
    if !authority.ends_with(uri.host()?) {
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
    use super::*;
    use crate::select::PathSegment;

    fn picked(origins: &Origins, uri: &str) -> bool {
        let request = Request::get(uri).body(()).unwrap();
        origins.select(&request).is_some()
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_in_any_case_of_letters() {
        let origins = Origins::new(["https://API.example.com", "http://[::1]:8080"]).unwrap();
        for uri in [
            "https://api.example.com/a",
            "https://api.EXAMPLE.com:443/",
            "http://[::1]:8080/?q",
        ] {
            assert!(picked(&origins, uri), "{uri}");
        }
        for uri in [
            "http://api.example.com/",
            "https://api.example.com:8443/",
            "https://api.example.com.evil.test/",
            "https://api.example.com@evil.test/",
            "https://example.com/",
            "https://api.example.com:99999/",
            "https://api.example.com:/",
            "http://[::1]/",
            "/a",
        ] {
            assert!(!picked(&origins, uri), "{uri}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_with_a_sentence() {
        for (text, why) in [
            ("", "does not parse"),
            ("api.example.com", "no scheme"),
            ("https://api.example.com/v1", "has a path"),
            ("https://me:pw@api.example.com", "has credentials"),
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
        let key = |uri| origins.select(&Request::get(uri).body(()).unwrap());
        assert_eq!(key("https://a.test/x"), Some(1));
        assert_eq!(key("https://b.test:8443/x"), Some(2));
        assert_eq!(key("https://b.test/x"), None);
    }

    #[test]
    fn origins_and_tenants_compose() {
        let origins = Origins::new(["https://a.test"]).unwrap();
        let select = origins.and(PathSegment::nth(0));
        let key = |uri| select.select(&Request::get(uri).body(()).unwrap());
        assert_eq!(key("https://a.test/t1/x").as_deref(), Some("t1"));
        assert_eq!(key("https://a.test/"), None);
        assert_eq!(key("https://b.test/t1/x"), None);
    }
}
