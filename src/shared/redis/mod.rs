//! A store over Redis or Valkey: a script for each operation. It may be one server, one behind Sentinels, or a Cluster.

mod cluster;
mod script;
mod sentinel;
mod server;
#[cfg(test)]
mod tests;
mod url;

use std::fmt;

use redis::{Cmd, Value};
use tower::BoxError;

use self::{cluster::Cluster, sentinel::Sentinel, server::Server};
use super::{
    keys::SealingKeys,
    store::{Backend, Operation, Performed, SharedStore},
};
use crate::{client_credentials::Secret, error::Error};

/// Redis or Valkey, version 6 or newer, for processes on many machines.
///
/// # URLs
/// A URL is `redis://` or, over TLS, `rediss://`, with an ACL user and a password if there are any:
/// `rediss://user:password@redis.example.com:6379/0`. It is stored like a [`Secret`] and read once, by the constructor. Use TLS
/// wherever the network is not yours alone: without it the password is sent unencrypted. What is stored is sealed in any case.
///
/// Nothing connects until a token is needed.
///
/// # TLS
/// `rediss://` needs one of this crate's features `rustls…`, and trusts the platform's roots. It uses the provider of
/// cryptography that the program has installed with rustls' `CryptoProvider::install_default`. There must be one.
///
/// # Deployment caveat
/// A Redis whose memory is full must evict (`maxmemory-policy`) or it stores nothing more, and each process requests tokens for
/// itself.
impl SharedStore {
    /// One server, or the address of a proxy before several.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the URL is not valid, a key is not, or `rediss://` has no
    /// TLS.
    pub fn redis(url: impl Into<Secret>, keys: SealingKeys) -> Result<Self, Error> {
        let server = url::one(url.into())?;
        Self::new(Redis(Server::new(server).map_err(url::invalid)?), keys)
    }

    /// The master that Sentinels watch over. After a failover they tell which one it is.
    ///
    /// `url` says how to log in to the master, as for [`redis`](Self::redis), with the name that the Sentinels have for it in the
    /// place of its address: `rediss://user:password@mymaster/0`. `sentinels` says where they are, separated by commas, and how to
    /// log in there: `rediss://user:password@sentinel-1:26379,sentinel-2:26379`.
    ///
    /// The master's password goes to the address that a Sentinel tells, so use TLS for both.
    ///
    /// # Errors
    /// As for [`redis`](Self::redis).
    pub fn redis_sentinel(
        url: impl Into<Secret>,
        sentinels: impl Into<Secret>,
        keys: SealingKeys,
    ) -> Result<Self, Error> {
        let master = url::one(url.into())?;
        let sentinels = url::all(sentinels.into())?;
        let sentinels = Sentinel::new(master, sentinels).map_err(url::invalid)?;
        Self::new(Redis(sentinels), keys)
    }

    /// A Cluster. What is stored of one identity has one hash slot.
    ///
    /// `url` names one node or, separated by commas, several, for one may be down: `rediss://user:password@node-1:6379,node-2:6379`.
    /// The others are learned from them.
    ///
    /// The password goes to every node that a node names, so use TLS. Then nodes must name each other as their certificates do
    /// (`cluster-preferred-endpoint-type hostname`).
    ///
    /// # Errors
    /// As for [`redis`](Self::redis).
    pub fn redis_cluster(url: impl Into<Secret>, keys: SealingKeys) -> Result<Self, Error> {
        let nodes = url::all(url.into())?;
        let cluster = Cluster::new(nodes).map_err(url::invalid)?;
        Self::new(Redis(cluster), keys)
    }
}

struct Redis<T>(T);

/// Where commands are sent.
trait Servers: fmt::Debug + Send + Sync + 'static {
    /// Sends a command to the server that has what is stored under this name. It may come there twice.
    fn send(
        &self,
        name: &str,
        command: &Cmd,
    ) -> impl Future<Output = Result<Value, BoxError>> + Send;
}

impl<T: Servers> Backend for Redis<T> {
    fn perform<'a>(&'a self, names: &'a [String], operation: Operation) -> Performed<'a> {
        Box::pin(async move {
            let [name, older @ ..] = names else {
                return Err("there is no sealing key".into());
            };
            // By themselves, for they may be on other servers of a cluster. A token that comes between this and the script costs
            // a token request more, and only while keys are rotated.
            let mut known = None;
            if let Operation::Ask(_) = operation {
                for name in older {
                    let look = self.0.send(name, &script::look(name)).await;
                    // What cannot be read is not there.
                    known = known.max(look.ok().and_then(script::seen));
                }
            }
            let command = script::command(name, &operation, known);
            let answer = self.0.send(name, &command).await?;
            script::reply(&answer).ok_or_else(|| "Redis gave an answer that is none".into())
        })
    }
}

impl<T: fmt::Debug> fmt::Debug for Redis<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.0).finish()
    }
}
