//! The transport that works out of the box: hyper-util's client over rustls, HTTP/1.1.
//!
//! Each token request has a connection of its own, on which HTTP/2 would gain nothing.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Builder, Client},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, ConfigBuilder, WantsVerifier,
    client::{ResolvesClientCert, Resumption, WantsClientCert},
};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::{
    client_credentials::{
        discovery::endpoint::{Endpoint, Given},
        transport::{
            Transport,
            client_certificate::{ClientCertificate, Presented, is_outdated},
            connect::Connector,
            erase,
            provider::provider,
            roots::RootCertificates,
        },
    },
    error::{Error, ErrorKind},
};

/// It trusts what the platform trusts, if no `roots` are given: on a company's machine or container that includes the
/// company's own CA, and a root that was withdrawn is gone with the system's update and a restart, without a rebuild.
///
/// # Errors
/// When the platform's roots cannot be loaded.
pub(crate) fn standard(
    endpoint: &Endpoint<Given, Given>,
    certificate: Option<ClientCertificate>,
    roots: Option<RootCertificates>,
    connector: Connector,
) -> Result<Transport, Error> {
    if matches!(endpoint, Endpoint::Known(given) if given.url.scheme() == "http") {
        // Loopback, or an explicit `danger_…` call elsewhere. It needs no roots, which a minimal container may lack.
        return Ok(erase(client().build::<_, Full<Bytes>>(connector)));
    }
    let presented = certificate.map(|certificate| Arc::new(Presented::new(certificate)));
    let tls = Tls {
        // What is not https is made sure of before it is asked.
        or_http: matches!(endpoint, Endpoint::Discovered(_)),
        presented: presented.clone(),
        connector,
    };
    let transport = match roots {
        Some(roots) => trusting(Arc::new(roots), tls),
        None => tls.over(with_platform_roots()?),
    };
    Ok(match presented {
        Some(presented) => presenting(presented, transport),
        None => transport,
    })
}

/// What connections are made with, but for the roots.
#[derive(Clone)]
struct Tls {
    /// Whether what is http is asked as well.
    or_http: bool,
    presented: Option<Arc<Presented>>,
    connector: Connector,
}

impl Tls {
    fn over(&self, roots: WithRoots) -> Transport {
        let tls = match &self.presented {
            Some(presented) => {
                let resolver: Arc<dyn ResolvesClientCert> = Arc::clone(presented) as _;
                let mut tls = roots.with_client_cert_resolver(resolver);
                // A session that is resumed keeps the certificate that it began with.
                tls.resumption = Resumption::disabled();
                tls
            }
            None => roots.with_no_client_auth(),
        };
        let https = HttpsConnectorBuilder::new().with_tls_config(tls);
        let https = match self.or_http {
            true => https.https_or_http(),
            false => https.https_only(),
        };
        let connector = self.connector.clone();
        let https = https.enable_http1().wrap_connector(connector);
        erase(client().build::<_, Full<Bytes>>(https))
    }
}

/// Reads the roots for each connection, which is one for each request.
fn trusting(roots: Arc<RootCertificates>, tls: Tls) -> Transport {
    BoxCloneSyncService::new(service_fn(move |request| {
        let (roots, tls) = (Arc::clone(&roots), tls.clone());
        async move {
            let roots = roots.read().await?;
            let transport = tls.over(with_verifier()?.with_root_certificates(roots));
            transport.oneshot(request).await
        }
    }))
}

/// Reads the client certificate for each connection.
fn presenting(presented: Arc<Presented>, transport: Transport) -> Transport {
    BoxCloneSyncService::new(service_fn(move |request| {
        let (presented, transport) = (Arc::clone(&presented), transport.clone());
        async move {
            presented.renew().await?;
            let answer = transport.oneshot(request).await;
            answer.map_err(|error| match presented.resolve(&[], &[]) {
                Some(shown) if error.kind() == ErrorKind::Unavailable && is_outdated(&shown) => {
                    let message = format!("{error}, {OUTDATED}");
                    error.retold(message)
                }
                _ => error,
            })
        }
    }))
}

const OUTDATED: &str = "and the client certificate has expired or is not valid yet";

fn client() -> Builder {
    let mut client = Client::builder(TokioExecutor::new());
    // Token requests are minutes or hours apart. A connection kept for the next one would be closed by then, and the POST that
    // finds it closing would fail.
    client.pool_max_idle_per_host(0);
    client
}

type WithRoots = ConfigBuilder<ClientConfig, WantsClientCert>;

/// TLS with the platform's roots, which are loaded once in a process: it takes milliseconds of blocking, and there may be a
/// credential to build for each of thousands of companies.
fn with_platform_roots() -> Result<WithRoots, Error> {
    static LOADED: OnceLock<WithRoots> = OnceLock::new();
    if let Some(loaded) = LOADED.get() {
        return Ok(loaded.clone());
    }
    let loaded = with_verifier()?.try_with_platform_verifier().map_err(|error| {
        Error::configuration(format!(
            "the platform's TLS roots cannot be loaded ({error}); install its CA certificates, or give those to trust to \
             `root_certificates`"
        ))
    })?;
    // Of two that load them at once, either's do.
    Ok(LOADED.get_or_init(|| loaded).clone())
}

fn with_verifier() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(provider()?)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::configuration(format!("TLS cannot be set up ({error})")))
}
