//! A store over Redis or Valkey: one multiplexed connection, and a script for each operation.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, Value, aio::MultiplexedConnection,
};
use tokio::{sync::Mutex, time::Instant};
use tower::BoxError;

use super::{
    keys::SealingKeys,
    shelf::{Answer, Put, in_millis},
    store::{Backend, Operation, Performed, Reply, SharedStore},
};
use crate::{client_credentials::Secret, error::Error};

impl SharedStore {
    /// A Redis or a Valkey, version 6 or newer, for processes on many machines.
    ///
    /// The URL is `redis://` or, over TLS, `rediss://`, with an ACL user and a password if there are any:
    /// `rediss://user:password@redis.example.com:6379/0`. It is stored like a [`Secret`] and read once, here. Use TLS wherever the
    /// network is not yours alone: without it the password is sent unencrypted. What is stored is sealed in any case.
    ///
    /// Nothing connects until a token is needed.
    ///
    /// # TLS
    /// `rediss://` needs one of this crate's features `rustls…`, and trusts the platform's roots. It uses the provider of
    /// cryptography that the program has installed with rustls' `CryptoProvider::install_default`. There must be one.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the URL is not valid, a key is not, or `rediss://` has no TLS.
    ///
    /// # Deployment caveat
    /// Sentinel and Cluster are not known: give the address of one server, or of a proxy. A Redis whose memory is full must evict
    /// (`maxmemory-policy`) or it stores nothing more, and each process requests tokens for itself.
    pub fn redis(url: impl Into<Secret>, keys: SealingKeys) -> Result<Self, Error> {
        let url = url.into().peek(URL)?;
        let url = url.ok_or_else(|| {
            Error::configuration("the URL of Redis comes from a provider, which is not supported; give text, a file or a variable")
        })?;
        let url = url.trim();
        if url.starts_with("rediss:") || url.starts_with("valkeys:") {
            check_tls()?;
        }
        // Its own error may quote the URL, with the password.
        let client = Client::open(url).map_err(|_| {
            Error::configuration("the URL of Redis is not valid; it must be as in rediss://user:password@redis.example.com:6379/0")
        })?;
        Self::new(
            Redis {
                client,
                connection: Mutex::default(),
            },
            keys,
        )
    }
}

/// The redis crate leaves the choice of a provider to rustls, which panics if a program has two and has installed neither.
#[cfg(feature = "rustls-no-provider")]
fn check_tls() -> Result<(), Error> {
    match rustls::crypto::CryptoProvider::get_default() {
        Some(_) => Ok(()),
        None => Err(Error::configuration(
            "TLS to Redis has no provider of cryptography; install one at the start of the program with rustls' \
             `CryptoProvider::install_default`",
        )),
    }
}

#[cfg(not(feature = "rustls-no-provider"))]
fn check_tls() -> Result<(), Error> {
    Err(Error::configuration(
        "the URL of Redis is `rediss://`, which needs TLS; switch on a feature `rustls…` of tower-bearer",
    ))
}

struct Redis {
    client: Client,
    connection: Mutex<Option<Connection>>,
}

#[derive(Clone)]
struct Connection {
    multiplexed: MultiplexedConnection,
    used_at: Instant,
    is_broken: Arc<AtomicBool>,
}

impl Backend for Redis {
    fn perform<'a>(&'a self, names: &'a [String], operation: Operation) -> Performed<'a> {
        let command = command(names, &operation);
        Box::pin(async move {
            let value = match self.known().await {
                Some(connection) => match run(connection, &command).await {
                    // It was closed from the other side. Each operation may come twice.
                    Err(error) if !matches!(error.kind(), ErrorKind::Server(_)) => {
                        run(self.connect().await?, &command).await
                    }
                    done => done,
                },
                None => run(self.connect().await?, &command).await,
            };
            reply(value?).ok_or_else(|| "Redis gave an answer that is none".into())
        })
    }
}

impl Redis {
    /// The connection, if it can be trusted. What lies between may have forgotten one that was idle, without a word.
    async fn known(&self) -> Option<Connection> {
        let mut slot = self.connection.lock().await;
        let connection = slot.as_mut().filter(|known| {
            !known.is_broken.load(Ordering::Relaxed) && known.used_at.elapsed() < LONGEST_IDLE
        })?;
        connection.used_at = Instant::now();
        Some(connection.clone())
    }

    /// One connects, however many wait.
    async fn connect(&self) -> Result<Connection, BoxError> {
        let started = Instant::now();
        let mut slot = self.connection.lock().await;
        if let Some(known) = &*slot
            && known.used_at >= started
            && !known.is_broken.load(Ordering::Relaxed)
        {
            return Ok(known.clone());
        }
        // The store bounds the whole operation.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let multiplexed = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let connection = Connection {
            multiplexed,
            used_at: Instant::now(),
            is_broken: Arc::default(),
        };
        *slot = Some(connection.clone());
        Ok(connection)
    }
}

/// Runs a command. A connection on which it does not come to an end, or fails, is not used again.
async fn run(mut connection: Connection, command: &Cmd) -> Result<Value, RedisError> {
    let was_broken = connection.is_broken.swap(true, Ordering::Relaxed);
    let value = command.query_async(&mut connection.multiplexed).await;
    let is_fine = match &value {
        Ok(_) => true,
        Err(error) => matches!(error.kind(), ErrorKind::Server(_)),
    };
    connection
        .is_broken
        .store(was_broken || !is_fine, Ordering::Relaxed);
    value
}

fn command(names: &[String], operation: &Operation) -> Cmd {
    let script = match operation {
        Operation::Ask(_) => include_str!("scripts/ask.lua"),
        Operation::Renew { .. } => include_str!("scripts/renew.lua"),
        Operation::Put { .. } => include_str!("scripts/put.lua"),
    };
    let (name, older) = match names {
        [name, older @ ..] => (name.as_str(), older),
        [] => ("", names),
    };
    let token = |name: &str| format!("tower-bearer:{{{name}}}:token");
    let mut command = redis::cmd("EVAL");
    command
        .arg(script)
        .arg(3 + older.len())
        .arg(token(name))
        .arg(format!("tower-bearer:{{{name}}}:lease"))
        .arg(format!("tower-bearer:{{{name}}}:failure"));
    for name in older {
        command.arg(token(name));
    }
    match operation {
        Operation::Ask(ask) => command
            .arg(ask.above)
            .arg(&ask.owner)
            .arg(in_millis(ask.lease)),
        Operation::Renew { owner, lease } => command.arg(owner).arg(in_millis(*lease)),
        Operation::Put { owner, put } => {
            command.arg(owner);
            match put {
                Put::Value {
                    generation,
                    sealed,
                    ends_at,
                } => command
                    .arg("value")
                    .arg(*generation)
                    .arg(&sealed[..])
                    .arg(*ends_at),
                Put::Failure {
                    sealed,
                    told_from,
                    lasts,
                } => command
                    .arg("failure")
                    .arg(*told_from)
                    .arg(&sealed[..])
                    .arg(in_millis(*lasts).max(1)),
                Put::Nothing => command.arg("nothing"),
            }
        }
    };
    command
}

/// `None` if it is no answer of a script.
fn reply(value: Value) -> Option<Reply> {
    let Value::Array(parts) = value else {
        return None;
    };
    let mut parts = parts.into_iter();
    let mut bytes = || match parts.next()? {
        Value::BulkString(bytes) => Some(Part::Bytes(bytes)),
        Value::Int(number) => Some(Part::Number(number.try_into().ok()?)),
        _ => None,
    };
    let what = bytes()?.bytes()?;
    Some(match &*what {
        b"value" => Reply::Answer(Answer::Value {
            generation: bytes()?.number()?,
            sealed: bytes()?.bytes()?,
            now: bytes()?.number()?,
        }),
        b"held" => Reply::Answer(Answer::Held),
        b"failed" => Reply::Answer(Answer::Failed {
            sealed: bytes()?.bytes()?,
            left: Duration::from_millis(bytes()?.number()?),
        }),
        b"taken" => Reply::Answer(Answer::Taken {
            generation: bytes()?.number()?,
            now: bytes()?.number()?,
        }),
        b"renewed" => Reply::Renewed(true),
        b"lost" => Reply::Renewed(false),
        b"done" => Reply::Done,
        _ => return None,
    })
}

enum Part {
    Bytes(Vec<u8>),
    Number(u64),
}

impl Part {
    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Number(_) => None,
        }
    }

    fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Bytes(_) => None,
        }
    }
}

/// Without the URL, which may hold a password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.client.get_connection_info().addr();
        f.debug_tuple("Redis")
            .field(&format_args!("{address}"))
            .finish()
    }
}

const URL: &str = "URL of Redis";

/// Half of what the most impatient of load balancers allow.
const LONGEST_IDLE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use tokio::time::timeout;

    use super::{
        super::{
            redis_server::RedisServer,
            shelf::{Ask, Lease, Shelf},
        },
        *,
    };

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        in_millis(now)
    }

    /// Without what hangs on the millisecond.
    fn kind(reply: &Reply) -> String {
        match reply {
            Reply::Answer(Answer::Value { sealed, .. }) => format!("value {sealed:?}"),
            Reply::Answer(Answer::Failed { sealed, .. }) => format!("failed {sealed:?}"),
            Reply::Answer(Answer::Taken { .. }) => "taken".to_owned(),
            reply => format!("{reply:?}"),
        }
    }

    /// What the scripts do is what `Shelf` does, for random histories of three processes. What ends by time alone is taken away by
    /// hand, in both.
    #[tokio::test]
    #[ignore = "needs redis-server: tests/servers/run"]
    async fn the_scripts_do_what_the_shelf_does() {
        let server = RedisServer::start(&[]).unwrap().unwrap();
        let redis = Redis {
            client: Client::open(server.url()).unwrap(),
            connection: Mutex::default(),
        };
        let mut random = fastrand::Rng::with_seed(7);
        for history in 0..200 {
            let names = [format!("new-{history}"), format!("old-{history}")];
            let (mut shelf, mut older) = (Shelf::default(), Shelf::default());
            let (mut taken, mut last_value) = ([0; 3], 0);
            for step in 0..40_u8 {
                let who = random.usize(..3);
                let owner = format!("{history}-{who}");
                // Now and then by the old key alone.
                let by_old_key = random.u8(..8) == 0;
                let names = if by_old_key { &names[1..] } else { &names[..] };
                let operation = match random.u8(..10) {
                    0..4 => Operation::Ask(Ask {
                        above: random.choice([0, last_value, u64::MAX >> 12]).unwrap(),
                        owner: owner.clone(),
                        lease: HOUR,
                    }),
                    4 => Operation::Renew {
                        owner: owner.clone(),
                        lease: HOUR,
                    },
                    5..8 => {
                        let generation = taken[who].max(1_u64);
                        Operation::Put {
                            owner: owner.clone(),
                            put: Put::Value {
                                generation,
                                sealed: vec![step, 0, 255],
                                ends_at: random.choice([now() + 3_600_000, now() - 1]).unwrap(),
                            },
                        }
                    }
                    8 => Operation::Put {
                        owner: owner.clone(),
                        put: Put::Failure {
                            sealed: vec![step],
                            told_from: random.u64(1..3),
                            lasts: HOUR,
                        },
                    },
                    _ => {
                        // A lease and a failure end.
                        let name = &names[0];
                        let gone = if by_old_key { &mut older } else { &mut shelf };
                        (gone.lease, gone.failure) = (None, None);
                        let mut delete = redis::cmd("DEL");
                        delete
                            .arg(format!("tower-bearer:{{{name}}}:lease"))
                            .arg(format!("tower-bearer:{{{name}}}:failure"));
                        run(redis.connect().await.unwrap(), &delete).await.unwrap();
                        continue;
                    }
                };
                let reply = timeout(HOUR, redis.perform(names, operation.clone()));
                let reply = reply.await.unwrap().unwrap();
                let expected = match by_old_key {
                    true => older.perform(&operation, &[], now()),
                    false => shelf.perform(&operation, std::slice::from_ref(&older), now()),
                };
                assert_eq!(
                    kind(&reply),
                    kind(&expected),
                    "{history}.{step} {operation:?}"
                );
                match reply {
                    Reply::Answer(Answer::Taken { generation, .. }) => {
                        taken[who] = generation;
                        // The one of the shelf may be a millisecond later.
                        let gone = if by_old_key { &mut older } else { &mut shelf };
                        assert!(
                            matches!(&gone.lease, Some(Lease { owner: held, .. }) if *held == owner)
                        );
                    }
                    Reply::Answer(Answer::Value { generation, .. }) => last_value = generation,
                    _ => {}
                }
            }
        }
    }
}
