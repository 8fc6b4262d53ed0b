//! A Cluster: which node has a hash slot is learned from the nodes' redirections.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value,
};
use tokio::time::Instant;
use tower::BoxError;

use super::{
    Servers,
    server::{Server, is_answer},
    url::moved_to,
};
use crate::util::timer::timer;

pub(super) struct Cluster(Mutex<Nodes>);

struct Nodes {
    /// The nodes of the URL, then those that nodes told of.
    all: Vec<Arc<Server>>,
    of_the_url: usize,
    by_slot: HashMap<u16, Arc<Server>>,
    turn: usize,
}

impl Cluster {
    pub(super) fn new(nodes: Vec<ConnectionInfo>) -> RedisResult<Self> {
        let nodes = nodes
            .into_iter()
            .map(|node| Server::new(node).map(Arc::new));
        let all = nodes.collect::<RedisResult<Vec<_>>>()?;
        Ok(Self(Mutex::new(Nodes {
            of_the_url: all.len(),
            all,
            by_slot: HashMap::new(),
            turn: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Nodes> {
        // What a panic leaves is a node too few.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Nodes {
    /// The node that has the slot, as far as is known, or any: it tells which one has it.
    fn of_slot(&mut self, slot: u16) -> Option<Arc<Server>> {
        match self.by_slot.get(&slot) {
            Some(node) if node.is_well() => Some(Arc::clone(node)),
            _ => self.any(),
        }
    }

    /// Another one each time, for one that does not answer takes all the time there is; and none that is known to be gone.
    fn any(&mut self) -> Option<Arc<Server>> {
        let first = self.turn % self.all.len().max(1);
        self.turn = first + 1;
        let (before, after) = self.all.split_at(first);
        let mut in_turn = after.iter().chain(before);
        let well = in_turn.clone().find(|node| node.is_well());
        well.or_else(|| in_turn.next()).cloned()
    }

    /// The node that another names in a redirection.
    fn moved(&mut self, slot: u16, by: &Server, error: &RedisError) -> Option<Arc<Server>> {
        let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
        let host = match (host, by.info().addr()) {
            // It does not know its own name.
            ("" | "?", ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) => host,
            _ => host.trim_matches(['[', ']']),
        };
        let info = moved_to(by.info(), host, port.parse().ok()?);
        let mut known = self.all.iter();
        let node = match known.find(|node| node.info().addr() == info.addr()) {
            Some(node) => Arc::clone(node),
            None => {
                let node = Arc::new(Server::new(info).ok()?);
                if self.all.len() >= MOST_NODES {
                    self.all.truncate(self.of_the_url);
                }
                self.all.push(Arc::clone(&node));
                node
            }
        };
        self.by_slot.insert(slot, Arc::clone(&node));
        Some(node)
    }
}

impl Servers for Cluster {
    async fn send(&self, name: &str, command: &Cmd) -> Result<Value, BoxError> {
        let slot = slot(name);
        let mut node = self.lock().of_slot(slot);
        for _ in 0..MOST_TRIES {
            let Some(asked) = &node else { break };
            let error = match asked.query(command).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            node = match error.kind() {
                ErrorKind::Server(ServerErrorKind::Moved) => self.lock().moved(slot, asked, &error),
                // The slot is on its way. A script has several keys, and has to wait until they are all there.
                ErrorKind::Server(ServerErrorKind::Ask | ServerErrorKind::TryAgain) => {
                    match timer(Instant::now() + PAUSE) {
                        Some(pause) => pause.await,
                        None => return Err(error.into()),
                    }
                    node
                }
                _ if is_answer(&error) => return Err(error.into()),
                // The node is gone. Others know who has taken over.
                _ => self.lock().any(),
            };
        }
        Err("no node of the cluster has the hash slot, as far as they say".into())
    }
}

/// The hash slot of the keys with this name in braces: CRC-16 (XMODEM).
fn slot(name: &str) -> u16 {
    let crc = name.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => crc << 1 ^ 0x1021,
        })
    });
    crc % 16384
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.lock().all).finish()
    }
}

/// As many as a cluster should have.
const MOST_NODES: usize = 1000;

/// Redirections, and what else is tried again. The store bounds their time.
const MOST_TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::slot;

    /// As the specification of Redis Cluster has it, and `CLUSTER KEYSLOT`.
    #[test]
    fn a_name_has_the_slot_that_the_cluster_gives_it() {
        assert_eq!(slot("123456789"), 0x31C3);
        assert_eq!(slot("foo"), 12182);
        assert_eq!(slot(""), 0);
    }
}
