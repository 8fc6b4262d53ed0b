//! A proxy between the default transport and the authorization server.

use std::{env, error::Error as StdError, fmt, sync::Arc};

use http::{Uri, uri::Scheme};
use hyper_util::client::{
    legacy::connect::{HttpConnector, proxy::Tunnel as Handshake},
    proxy::matcher::{Intercept, Matcher},
};
use tower::{BoxError, ServiceExt};
use tower_service::Service;

use crate::{
    error::Error,
    util::{loopback::is_loopback, wiped::Wiped},
};

/// Which proxy a program wants.
#[derive(Clone)]
pub(crate) enum Chosen {
    /// This one. Its URL may hold a password.
    Url(Wiped),
    /// That of the environment.
    Environment,
}

impl Chosen {
    /// `scheme` is that of the authorization server's URL.
    ///
    /// # Errors
    /// The URL, or the variable for `scheme`, is not that of an HTTP proxy. The messages do not quote it.
    pub(crate) fn read(&self, scheme: &str) -> Result<Proxy, Error> {
        let matcher = match self {
            Self::Url(url) => {
                all_to(url).ok_or_else(|| Error::configuration(format!("the proxy {WRONG}")))?
            }
            Self::Environment => {
                check_variable(scheme)?;
                Matcher::from_env()
            }
        };
        Ok(Proxy(Arc::new(matcher)))
    }
}

/// Sends everything to the proxy of this URL, if it is one.
fn all_to(url: &str) -> Option<Matcher> {
    let matcher = Matcher::builder().all(url).build();
    let proxy = matcher.intercept(&Uri::from_static("https://auth.example.com"))?;
    (proxy.uri().scheme() == Some(&Scheme::HTTP)).then_some(matcher)
}

/// The matcher would go on without a proxy.
fn check_variable(scheme: &str) -> Result<(), Error> {
    let own = match scheme {
        "http" => ["HTTP_PROXY", "http_proxy"],
        _ => ["HTTPS_PROXY", "https_proxy"],
    };
    let names = own.into_iter().chain(["ALL_PROXY", "all_proxy"]);
    let mut set = names.filter_map(|name| Some((name, env::var(name).ok()?)));
    match set.find(|(_, url)| !url.is_empty()) {
        Some((name, url)) if all_to(&url).is_none() => Err(Error::configuration(format!(
            "the proxy of the environment variable {name} {WRONG}"
        ))),
        _ => Ok(()),
    }
}

const WRONG: &str = "is not the URL of an HTTP proxy, such as http://proxy.example.com:3128; use one, or pass a client that \
                     knows another kind of proxy to `build_with`";

/// A proxy, and which servers are reached without it.
#[derive(Clone)]
pub(crate) struct Proxy(Arc<Matcher>);

impl Proxy {
    /// The tunnel to take to a server; `None` if the connection is direct.
    pub(crate) fn tunnel(&self, to: &Uri) -> Option<Tunnel> {
        // Another machine would look for it on itself.
        if to.host().is_none_or(is_loopback) {
            return None;
        }
        let proxy = self.0.intercept(to)?;
        Some(Tunnel {
            proxy,
            to: with_port(to.clone()),
        })
    }
}

/// A connection through a proxy, by CONNECT ([RFC 9110 §9.3.6]). TLS is inside it, so the proxy does not see the secret.
///
/// [RFC 9110 §9.3.6]: https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
pub(crate) struct Tunnel {
    proxy: Intercept,
    to: Uri,
}

impl Tunnel {
    pub(crate) async fn open(
        self,
        tcp: HttpConnector,
    ) -> Result<<HttpConnector as Service<Uri>>::Response, NoTunnel> {
        let mut handshake = Handshake::new(self.proxy.uri().clone(), tcp);
        if let Some(password) = self.proxy.basic_auth() {
            handshake = handshake.with_auth(password.clone());
        }
        handshake.oneshot(self.to).await.map_err(|why| NoTunnel {
            proxy: self.proxy.uri().clone(),
            why: why.into(),
        })
    }
}

/// The handshake takes a URI without a port for one of https.
fn with_port(to: Uri) -> Uri {
    match (to.scheme_str(), to.host(), to.port()) {
        (Some("http"), Some(host), None) => {
            let with_port = Uri::builder()
                .scheme("http")
                .authority(format!("{host}:80"))
                .path_and_query("/");
            with_port.build().unwrap_or(to)
        }
        _ => to,
    }
}

/// Why there is no connection through a proxy.
#[derive(Debug)]
pub(crate) struct NoTunnel {
    /// Without its password.
    proxy: Uri,
    why: BoxError,
}

impl fmt::Display for NoTunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = self.proxy.authority().map_or("", |proxy| proxy.as_str());
        write!(f, "the proxy {proxy} opens no tunnel to it")
    }
}

impl StdError for NoTunnel {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.why)
    }
}

/// What is wrong, if it is the proxy.
pub(crate) fn problem(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut level = Some(error);
    while let Some(current) = level {
        if let Some(no_tunnel) = current.downcast_ref::<NoTunnel>() {
            return Some(format!("{no_tunnel} ({})", no_tunnel.why));
        }
        level = current.source();
    }
    None
}
