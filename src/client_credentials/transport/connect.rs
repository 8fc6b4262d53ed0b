//! Connections of the default transport: direct ones, or through a proxy.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tower::BoxError;
use tower_service::Service;

#[cfg(feature = "proxy")]
use crate::client_credentials::transport::proxy::Proxy;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens connections for hyper-util's client.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    #[cfg(feature = "proxy")]
    proxy: Option<Proxy>,
}

impl Default for Connector {
    fn default() -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        // TLS is above it.
        tcp.enforce_http(false);
        Self {
            tcp,
            #[cfg(feature = "proxy")]
            proxy: None,
        }
    }
}

#[cfg(feature = "proxy")]
impl Connector {
    pub(crate) fn through(self, proxy: Proxy) -> Self {
        Self {
            proxy: Some(proxy),
            ..self
        }
    }
}

type Connection = <HttpConnector as Service<Uri>>::Response;

impl Service<Uri> for Connector {
    type Response = Connection;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Connection, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        #[cfg(feature = "proxy")]
        if let Some(tunnel) = self.proxy.as_ref().and_then(|proxy| proxy.tunnel(&to)) {
            let tcp = self.tcp.clone();
            return Box::pin(async move { Ok(tunnel.open(tcp).await?) });
        }
        let connecting = self.tcp.call(to);
        Box::pin(async move { Ok(connecting.await?) })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::{
        net::{TcpListener, TcpSocket, TcpStream},
        time::{Instant, timeout},
    };
    use tower::ServiceExt;

    use super::*;

    fn uri(server: SocketAddr) -> Uri {
        format!("http://{server}").parse().unwrap()
    }

    #[tokio::test]
    async fn small_requests_are_not_held_back_to_be_sent_together() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = server.local_addr().unwrap();
        let connection = Connector::default().oneshot(uri(address)).await.unwrap();
        assert!(connection.inner().nodelay().unwrap());
    }

    /// Linux lets no more connections wait than the server asked for, and answers none beyond them.
    #[cfg(target_os = "linux")]
    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_no_connection_is_given_up_after_five_seconds() {
        let server = TcpSocket::new_v4().unwrap();
        server.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let server = server.listen(1).unwrap();
        let address = server.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(connection) = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            waiting.push(connection.unwrap());
        }

        let started = Instant::now();
        let connected = timeout(
            CONNECT_TIMEOUT * 2,
            Connector::default().oneshot(uri(address)),
        )
        .await;
        connected.expect("it is given up").unwrap_err();
        assert_eq!(started.elapsed(), CONNECT_TIMEOUT);
    }
}
