//! The place that a fleet shares: its operations, their time, and their trouble.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, time::Instant};
use tower::BoxError;

use super::{
    breaker::Breaker,
    identity::Identity,
    keys::{Seal, SealingKeys},
    shelf::{Answer, Ask, Put, Shelf},
};
use crate::{error::Error, telemetry, util::timer::until};

/// Where a fleet keeps its tokens: a Redis, or a folder of one machine. Clones are the same store.
///
/// Everything in it is sealed by [`SealingKeys`]. Names are keyed hashes: they show neither clients nor servers.
///
/// A store is never the reason for a failed request. One that is slow, full, wrong or gone is passed over, with a `tracing` event,
/// and the process requests a token for itself. After a failure the store is left alone for a second, doubled up to 30 s.
#[derive(Clone)]
pub struct SharedStore {
    backend: Arc<dyn Backend>,
    keys: SealingKeys,
    breaker: Arc<Mutex<Breaker>>,
    /// Whether the names of a place could not be had the last time.
    lacks_names: Arc<AtomicBool>,
    timeout: Duration,
}

impl SharedStore {
    pub(super) fn new(backend: impl Backend, keys: SealingKeys) -> Result<Self, Error> {
        keys.check()?;
        Ok(Self {
            backend: Arc::new(backend),
            keys,
            breaker: Arc::default(),
            lacks_names: Arc::default(),
            timeout: Duration::from_millis(500),
        })
    }

    /// Sets how long one operation of the store may take, connecting included. Default: 500 ms. Reading the client's secret and the
    /// sealing keys, to find the place in the store, may take as long.
    ///
    /// The other times follow. A process that requests a token holds the lease for four times this, renewed while the request goes
    /// on: if the process dies, another takes over after that. Those who wait for it wait for ten times this, and then request a
    /// token for themselves.
    ///
    /// For that they need time. So this is at most a twentieth of the cache's
    /// [`token_request_timeout`](crate::cache::TokenCacheBuilder::token_request_timeout), whatever is set here: half of that time
    /// is left for the process's own token request. To wait longer for a store that is far away, raise both.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Opens one identity's place in the store, for a process that has `time_left` for all it does. `None` if its names cannot be
    /// had, for lack of a key or of the client's secret.
    pub(super) async fn place(
        &self,
        identity: &Identity,
        time_left: Option<Duration>,
    ) -> Option<Place> {
        let longest = time_left.map_or(Duration::MAX, |left| left / SHARE_OF_TIME);
        let timeout = self.timeout.min(longest);
        let read = async {
            let keys = self.keys.read().await?;
            Ok::<_, Error>(Seal::new(keys, identity.digest().await?))
        };
        let within = Instant::now() + timeout;
        let error = match until(within, read).await {
            Some(Ok(seal)) => {
                if self.lacks_names.swap(false, Ordering::Relaxed) {
                    telemetry::shared_again();
                }
                return Some(Place {
                    names: seal.names().into(),
                    seal,
                    store: self.clone(),
                    timeout,
                });
            }
            Some(Err(error)) => BoxError::from(error),
            None => "the sealing key or the client's secret was not read in time".into(),
        };
        if !self.lacks_names.swap(true, Ordering::Relaxed) {
            telemetry::not_shared(&error);
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        // No user code runs under the lock.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore")
            .field("at", &self.backend)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// One identity's place in a store.
pub(super) struct Place {
    store: SharedStore,
    names: Arc<[String]>,
    pub(super) seal: Seal,
    /// Of one operation.
    timeout: Duration,
}

impl Place {
    pub(super) fn lease(&self) -> Duration {
        self.timeout.saturating_mul(4)
    }

    pub(super) fn renewal(&self) -> Duration {
        self.timeout
    }

    pub(super) fn patience(&self) -> Duration {
        self.timeout.saturating_mul(10)
    }

    /// `None` if the store is of no help now.
    pub(super) async fn ask(&self, ask: Ask) -> Option<Answer> {
        match self.perform(Operation::Ask(ask)).await? {
            Reply::Answer(answer) => Some(answer),
            Reply::Renewed(_) | Reply::Done => None,
        }
    }

    /// Whether the lease is still held, as far as is known.
    pub(super) async fn renew(&self, owner: &str) -> bool {
        let owner = owner.to_owned();
        let lease = self.lease();
        let reply = self.perform(Operation::Renew { owner, lease }).await;
        !matches!(reply, Some(Reply::Renewed(false)))
    }

    pub(super) async fn put(&self, owner: &str, put: Put) {
        let owner = owner.to_owned();
        self.perform(Operation::Put { owner, put }).await;
    }

    /// Runs one operation within its time.
    async fn perform(&self, operation: Operation) -> Option<Reply> {
        let started = Instant::now();
        if !self.store.lock().lets_through(started, self.timeout) {
            return None;
        }
        let trouble = match self.run(operation, started).await {
            Ok(reply) => {
                if self.store.lock().succeeded() {
                    telemetry::shared_again();
                }
                return Some(reply);
            }
            Err(trouble) => trouble,
        };
        if self.store.lock().failed(Instant::now()) {
            telemetry::not_shared(&trouble);
        }
        None
    }

    /// In a task of its own: what panics in a client of the store is no panic of the caller.
    async fn run(&self, operation: Operation, started: Instant) -> Result<Reply, BoxError> {
        let runtime = Handle::try_current()?;
        let (backend, names) = (Arc::clone(&self.store.backend), Arc::clone(&self.names));
        let task = runtime.spawn(async move { backend.perform(&names, operation).await });
        let abort = task.abort_handle();
        match until(started + self.timeout, task).await {
            Some(done) => done?,
            None => {
                abort.abort();
                Err(format!("the store did not answer within {:?}", self.timeout).into())
            }
        }
    }
}

/// What one operation may take of the time for a token request. A process waits ten times that for others, which is half of it.
pub(crate) const SHARE_OF_TIME: u32 = 20;

/// Does operations on what is stored under names: the first is read and written, the others, by older keys, are read.
///
/// Each operation is atomic, and does what [`Shelf::perform`] does.
pub(super) trait Backend: fmt::Debug + Send + Sync + 'static {
    fn perform<'a>(&'a self, names: &'a [String], operation: Operation) -> Performed<'a>;
}

pub(super) type Performed<'a> = Pin<Box<dyn Future<Output = Result<Reply, BoxError>> + Send + 'a>>;

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Ask(Ask),
    Renew { owner: String, lease: Duration },
    Put { owner: String, put: Put },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    Answer(Answer),
    Renewed(bool),
    Done,
}

impl Shelf {
    pub(super) fn perform(&mut self, operation: &Operation, older: &[Self], now: u64) -> Reply {
        match operation {
            Operation::Ask(ask) => Reply::Answer(self.ask(ask, older, now)),
            Operation::Renew { owner, lease } => Reply::Renewed(self.renew(owner, *lease, now)),
            Operation::Put { owner, put } => {
                self.put(owner, put, now);
                Reply::Done
            }
        }
    }
}
