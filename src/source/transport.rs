//! How an exchange's request reaches the token endpoint.

use std::pin::pin;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tower::{BoxError, ServiceExt, util::BoxCloneSyncService};
use tower_service::Service;

#[cfg(feature = "rustls")]
use super::{
    certificate::ClientCertificate,
    endpoint::{Endpoint, Given},
};
use crate::error::Error;
#[cfg(feature = "rustls")]
use crate::error::ErrorKind;

/// Any HTTP client, without its type: it is called once per expiry, where a box costs nothing that counts.
pub(super) type Transport = BoxCloneSyncService<Request<Bytes>, Response<Bytes>, Error>;

/// An answer larger than this is an error, before it is in memory. Token answers are below 10 KiB.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Erases a client's type and reads its answers, up to a limit.
pub(super) fn erase<T, Q, A>(client: T) -> Transport
where
    T: Service<Request<Q>, Response = Response<A>> + Clone + Send + Sync + 'static,
    T::Error: Into<BoxError>,
    T::Future: Send + 'static,
    Q: From<Bytes> + Send + 'static,
    A: Body + Send + 'static,
    A::Data: Send,
    A::Error: Into<BoxError>,
{
    BoxCloneSyncService::new(tower::service_fn(move |request: Request<Bytes>| {
        let client = client.clone();
        async move {
            let answer = client
                .oneshot(request.map(Q::from))
                .await
                .map_err(|error| Error::transport(error.into()))?;
            let (head, body) = answer.into_parts();
            let body = match read(body).await {
                Ok(Some(body)) => body,
                // Its status and its headers say enough.
                _ if !head.status.is_success() => Bytes::new(),
                Ok(None) => {
                    return Err(Error::invalid_answer(
                        "the token endpoint's answer is larger than 64 KiB",
                    ));
                }
                Err(error) => return Err(Error::transport(error)),
            };
            Ok(Response::from_parts(head, body))
        }
    }))
}

/// Reads a body to its end, or nothing if it is too large. Its parts are not kept: one of a byte takes far more than that.
async fn read<A>(body: A) -> Result<Option<Bytes>, BoxError>
where
    A: Body<Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    let mut whole = BytesMut::new();
    let mut left = LARGEST_ANSWER;
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(Into::into)?.into_data().ok();
        // A part without any data counts too: there may be no end of them.
        let length = data.as_ref().map_or(0, Buf::remaining);
        match left.checked_sub(length.max(1)) {
            Some(rest) => left = rest,
            None => return Ok(None),
        }
        if let Some(data) = data {
            whole.put(data);
        }
    }
    Ok(Some(whole.freeze()))
}

/// The transport that works out of the box: hyper-util's client over rustls (on ring), HTTP/1.1 and HTTP/2.
///
/// It trusts what the platform trusts: on a company's machine or container that includes the company's own CA, and a
/// root that was withdrawn is gone with the system's update and a restart, without a rebuild.
///
/// # Errors
/// When the platform's roots cannot be loaded.
#[cfg(feature = "rustls")]
pub(super) fn platform(
    endpoint: &Endpoint<Given, Given>,
    certificate: Option<ClientCertificate>,
) -> Result<Transport, Error> {
    use std::{sync::Arc, time::Duration};

    use http_body_util::Full;
    use hyper_rustls::HttpsConnectorBuilder;
    use hyper_util::{
        client::legacy::{Client, connect::HttpConnector},
        rt::TokioExecutor,
    };
    use rustls::client::{ResolvesClientCert, Resumption};

    use super::certificate::{Presented, is_outdated};

    const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

    let mut client = Client::builder(TokioExecutor::new());
    // Exchanges are minutes or hours apart. A connection kept for the next one would be closed by then, and the POST that
    // finds it closing would fail.
    client.pool_max_idle_per_host(0);
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    if matches!(endpoint, Endpoint::Known(given) if given.url.scheme() == "http") {
        // Loopback, as was made sure of. It needs no roots, which a bare container may lack.
        return Ok(erase(client.build::<_, Full<Bytes>>(tcp)));
    }
    tcp.enforce_http(false);
    let tls = with_platform_roots()?;
    let over = |tls| {
        let https = HttpsConnectorBuilder::new().with_tls_config(tls);
        let https = match endpoint {
            Endpoint::Known(_) => https.https_only(),
            // Either is loopback where it is not https, and each is made sure of before it is asked.
            Endpoint::Discovered(_) => https.https_or_http(),
        };
        let https = https.enable_all_versions().wrap_connector(tcp);
        erase(client.build::<_, Full<Bytes>>(https))
    };
    let Some(certificate) = certificate else {
        return Ok(over(tls.with_no_client_auth()));
    };
    let presented = Arc::new(Presented::new(certificate));
    let resolver: Arc<dyn ResolvesClientCert> = Arc::clone(&presented) as _;
    let mut tls = tls.with_client_cert_resolver(resolver);
    // A session that is resumed keeps the certificate that it began with.
    tls.resumption = Resumption::disabled();
    let transport = over(tls);
    Ok(BoxCloneSyncService::new(tower::service_fn(
        move |request| {
            let (presented, transport) = (Arc::clone(&presented), transport.clone());
            async move {
                presented.renew().await?;
                let answer = transport.oneshot(request).await;
                answer.map_err(|error| match presented.resolve(&[], &[]) {
                    Some(shown)
                        if error.kind() == ErrorKind::Unavailable && is_outdated(&shown) =>
                    {
                        error.retold(OUTDATED.into())
                    }
                    _ => error,
                })
            }
        },
    )))
}

#[cfg(feature = "rustls")]
type WithRoots = rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>;

/// TLS with the platform's roots, which are loaded once in a process: it takes milliseconds of blocking, and there may be a
/// credential to build for each of thousands of companies.
#[cfg(feature = "rustls")]
fn with_platform_roots() -> Result<WithRoots, Error> {
    use std::sync::{Arc, OnceLock};

    use hyper_rustls::ConfigBuilderExt;
    use rustls::{ClientConfig, crypto::ring};

    static LOADED: OnceLock<WithRoots> = OnceLock::new();
    if let Some(loaded) = LOADED.get() {
        return Ok(loaded.clone());
    }
    // Named, so that no other crate's choice of a process-wide provider, or lack of one, can fail the handshake.
    let loaded = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(ConfigBuilderExt::try_with_platform_verifier)
        .map_err(|error| {
            Error::configuration(format!(
                "the platform's TLS roots cannot be loaded ({error}); install its CA certificates, or bring a \
                 transport with roots of your own to `build_with`"
            ))
        })?;
    // Of two that load them at once, either's do.
    Ok(LOADED.get_or_init(|| loaded).clone())
}

#[cfg(feature = "rustls")]
const OUTDATED: &str = "could not get an answer from the token endpoint, and the client certificate has expired or is not \
                        valid yet";
