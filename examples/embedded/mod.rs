//! An authorization server and an API gateway on loopback sockets in this process: what the main job needs of IPXO's two
//! servers, without an account.
//!
//! ```text
//! client ──POST /oauth2/token──▶ Hydra ◀──is this token valid?── Gateway ◀──Authorization: Bearer── client
//! ```
//! Both count what reaches them, so a figure is what a server saw. Both run until their runtime ends.

#![allow(dead_code, reason = "each example and test uses its own part of it")]
#![allow(unused_imports, reason = "as above")]

mod gate;
mod gateway;
mod hydra;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{Router, serve::ListenerExt};
use tokio::net::TcpSocket;

pub(crate) use self::{
    gate::Held,
    gateway::{Call, Gateway, TENANT},
    hydra::{Hydra, Registration},
};

/// A server under way.
#[derive(Clone, Debug)]
struct Served {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
}

impl Served {
    /// Serves `router` on a free port.
    async fn start(router: Router) -> io::Result<Self> {
        let connections = Arc::new(AtomicU64::new(0));
        let accepted = Arc::clone(&connections);
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        // The usual backlog of 128 overflows in a crowd, and a client that does not get in waits a whole second.
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let listener = listener.tap_io(move |connection| {
            accepted.fetch_add(1, Ordering::Relaxed);
            // Only latency is lost without it.
            let _ = connection.set_nodelay(true);
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            address,
            connections,
        })
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

const BACKLOG: u32 = 4096;
