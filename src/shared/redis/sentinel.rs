//! The master that Sentinels watch over.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use redis::{Cmd, ConnectionAddr, ConnectionInfo, RedisResult, Value};
use tower::BoxError;

use super::{Servers, server::Server, url::moved_to};

pub(super) struct Sentinel {
    name: String,
    /// How to log in to the master.
    login: ConnectionInfo,
    sentinels: Vec<Server>,
    /// Which is asked first: another one each time, for one that does not answer takes all the time there is.
    turn: AtomicUsize,
    master: Mutex<Option<Arc<Server>>>,
}

impl Sentinel {
    /// The address in `login` is the master's name.
    pub(super) fn new(login: ConnectionInfo, sentinels: Vec<ConnectionInfo>) -> RedisResult<Self> {
        let name = match login.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
            _ => String::new(),
        };
        let sentinels: RedisResult<_> = sentinels.into_iter().map(Server::new).collect();
        Ok(Self {
            name,
            login,
            sentinels: sentinels?,
            turn: AtomicUsize::new(0),
            master: Mutex::new(None),
        })
    }

    async fn find_master(&self) -> Result<Arc<Server>, BoxError> {
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.sentinels.len().max(1);
        let (after, before) = self.sentinels.split_at(first);
        let mut trouble = BoxError::from("no Sentinel is known");
        for sentinel in before.iter().chain(after) {
            let answer = sentinel.query(&command).await;
            match answer.and_then(|answer| Ok(redis::from_redis_value(answer)?)) {
                Ok(Some((host, port))) => return self.master_at(host, port),
                Ok(None) => trouble = format!("Sentinel knows no master {}", self.name).into(),
                Err(error) => trouble = error.into(),
            }
        }
        Err(trouble)
    }

    fn master_at(&self, host: String, port: u16) -> Result<Arc<Server>, BoxError> {
        let info = moved_to(&self.login, &host, port);
        let mut master = self.lock();
        let known = master.as_ref();
        let is_same = known.is_some_and(|known| known.info().addr() == info.addr());
        match known.filter(|_| is_same) {
            Some(known) => Ok(Arc::clone(known)),
            None => Ok(Arc::clone(master.insert(Arc::new(Server::new(info)?)))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Server>>> {
        // A lock around a single value is never left half-changed.
        self.master.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Servers for Sentinel {
    async fn send(&self, _: &str, command: &Cmd) -> Result<Value, BoxError> {
        let known = self.lock().clone();
        // Whatever is wrong, as with one that is a replica now: there may be another master.
        if let Some(master) = known.filter(|master| master.is_well())
            && let Ok(answer) = master.query(command).await
        {
            return Ok(answer);
        }
        let master = self.find_master().await?;
        Ok(master.query(command).await?)
    }
}

impl fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinel")
            .field("master", &self.name)
            .field("sentinels", &self.sentinels)
            .finish()
    }
}
