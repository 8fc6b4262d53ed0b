//! One server, and the connection to it.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::{sync, time::Instant};
use tower::BoxError;

use super::Servers;

pub(super) struct Server {
    client: Client,
    connection: Mutex<Option<Connection>>,
    /// One connects, however many wait.
    connecting: sync::Mutex<()>,
    is_well: AtomicBool,
}

struct Connection {
    multiplexed: MultiplexedConnection,
    used_at: Instant,
}

impl Server {
    pub(super) fn new(at: impl IntoConnectionInfo) -> RedisResult<Self> {
        Ok(Self {
            client: Client::open(at)?,
            connection: Mutex::default(),
            connecting: sync::Mutex::default(),
            is_well: AtomicBool::new(true),
        })
    }

    pub(super) fn info(&self) -> &ConnectionInfo {
        self.client.get_connection_info()
    }

    /// Whether the last command had an answer.
    pub(super) fn is_well(&self) -> bool {
        self.is_well.load(Ordering::Relaxed)
    }

    pub(super) async fn query(&self, command: &Cmd) -> RedisResult<Value> {
        let mut ending = Ending {
            of: self,
            has_answer: false,
        };
        let result = match self.known() {
            Some(connection) => match run(connection, command).await {
                // It was closed from the other side.
                Err(error) if !is_answer(&error) => run(self.connect().await?, command).await,
                done => done,
            },
            None => run(self.connect().await?, command).await,
        };
        ending.has_answer = result.as_ref().err().is_none_or(is_answer);
        result
    }

    /// The connection, if it can be trusted. What lies between may have forgotten one that was idle, without a word.
    fn known(&self) -> Option<MultiplexedConnection> {
        let mut slot = self.lock();
        let connection = slot.as_mut();
        let connection = connection.filter(|known| known.used_at.elapsed() < LONGEST_IDLE)?;
        connection.used_at = Instant::now();
        Some(connection.multiplexed.clone())
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let started = Instant::now();
        let _turn = self.connecting.lock().await;
        if let Some(known) = self.lock().as_ref()
            && known.used_at >= started
        {
            return Ok(known.multiplexed.clone());
        }
        // The store bounds the whole operation.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let client = &self.client;
        let multiplexed = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        *self.lock() = Some(Connection {
            multiplexed: multiplexed.clone(),
            used_at: Instant::now(),
        });
        self.is_well.store(true, Ordering::Relaxed);
        Ok(multiplexed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        // A lock around a single value is never left half-changed.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Servers for Server {
    async fn send(&self, _: &str, command: &Cmd) -> Result<Value, BoxError> {
        let answer = self.query(command).await;
        answer.map_err(|error| match error.redirect_node() {
            Some(_) => "Redis is a cluster; use `redis_cluster`".into(),
            None => error.into(),
        })
    }
}

async fn run(mut connection: MultiplexedConnection, command: &Cmd) -> RedisResult<Value> {
    command.query_async(&mut connection).await
}

/// Whether it is the server that says so, over a connection that is in order.
pub(super) fn is_answer(error: &RedisError) -> bool {
    // An extension is what servers answer that the redis crate has no name for.
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// How a command ends. One that is dropped has no answer: then the server is hung up on, which may be sending an endless one.
struct Ending<'a> {
    of: &'a Server,
    has_answer: bool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.of.is_well.store(self.has_answer, Ordering::Relaxed);
        if !self.has_answer {
            *self.of.lock() = None;
        }
    }
}

/// Without the login.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.info().addr())
    }
}

/// Half of what the most impatient of load balancers allow.
const LONGEST_IDLE: Duration = Duration::from_secs(30);
