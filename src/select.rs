//! Which requests get a token.

use std::{fmt, sync::Arc};

use http::{Request, Uri, uri::Scheme};

use crate::error::Error;

/// Decides which token, if any, a request gets.
///
/// `Some` names the credential (`()` where there is only one), `None` leaves the request exactly as it came. Closures
/// `Fn(&Request<B>) -> Option<Key>` are selections.
///
/// # Example
/// ```
/// use http::Request;
/// use tower_bearer::{BearerAuthLayer, FixedToken, Token};
///
/// # let source = FixedToken::new(Token::new("t")?);
/// let layer = BearerAuthLayer::new(source)
///     .select(|request: &Request<String>| request.uri().path().starts_with("/v2/").then_some(()));
/// # let _ = layer;
/// # Ok::<(), tower_bearer::Error>(())
/// ```
pub trait Select<B> {
    /// What names a credential.
    type Key;

    /// The credential for this request.
    fn select(&self, request: &Request<B>) -> Option<Self::Key>;
}

impl<B, K, F> Select<B> for F
where
    F: Fn(&Request<B>) -> Option<K>,
{
    type Key = K;

    fn select(&self, request: &Request<B>) -> Option<K> {
        self(request)
    }
}

/// Every request gets the token, wherever it goes. For clients that talk to one API only.
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "named as a value, it has nothing to add to"
)]
pub struct Always;

impl<B> Select<B> for Always {
    type Key = ();

    fn select(&self, _: &Request<B>) -> Option<()> {
        Some(())
    }
}

/// Requests to these origins (scheme, host and port, [RFC 6454]) get the token; others pass untouched.
///
/// For clients that talk to more than one server. A request without an absolute URI, as services below a client see
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
pub struct Origins(Arc<[Origin]>);

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
        let origins: Arc<[Origin]> = origins
            .into_iter()
            .map(|origin| Origin::parse(origin.as_ref()))
            .collect::<Result<_, _>>()?;
        if origins.is_empty() {
            return Err(Error::configuration(
                "no origin is given, so no request would get a token; name one, as in https://api.example.com",
            ));
        }
        Ok(Self(origins))
    }

    /// The https origin of a host that is known to be one.
    pub(crate) fn https(host: &'static str) -> Self {
        Self(Arc::new([Origin {
            scheme: Scheme::HTTPS,
            host: host.into(),
            port: HTTPS_PORT,
        }]))
    }
}

impl<B> Select<B> for Origins {
    type Key = ();

    fn select(&self, request: &Request<B>) -> Option<()> {
        self.0
            .iter()
            .any(|origin| origin.is_of(request.uri()))
            .then_some(())
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.0).finish()
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
            host: host.into(),
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

fn port(uri: &Uri) -> Option<u16> {
    uri.port_u16().or_else(|| match uri.scheme_str() {
        Some("https") => Some(HTTPS_PORT),
        Some("http") => Some(80),
        _ => None,
    })
}

const HTTPS_PORT: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
