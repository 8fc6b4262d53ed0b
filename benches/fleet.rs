//! What sharing costs a cold process, and what it saves the authorization server.
//!
//! ```sh
//! cargo bench --bench fleet
//! ```
//! It starts a Redis of its own, if one is installed. Each process is a cache with a connection of its own, in this process.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]
#![allow(
    clippy::disallowed_types,
    reason = "what is measured here is real time"
)]

mod support;

#[path = "../examples/fleet/redis.rs"]
#[allow(dead_code, reason = "what others use")]
mod redis;

use std::{
    env, fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, task::JoinSet, time::sleep};
use tower::{Layer, service_fn};
use tower_bearer::{
    Error, Token, TokenCache,
    shared::{Identity, SealingKeys, SharedLayer, SharedStore},
    token::{TokenRequest, TokenSource},
};

use self::{
    redis::RedisServer,
    support::{options::Options, table::Table, turns::median},
};

const KEY: &str = "k8Zy1mP0hXnV3pYw7qRr5sTtUuVvWwXxYyZz0123456=";

/// What a token request takes.
const TAKES: Duration = Duration::from_millis(50);

/// Opens the store as one process has it.
type OfProcess<'a> = dyn Fn() -> Option<SharedStore> + 'a;

fn main() {
    let options = Options::from_command_line();
    let runs = if options.test { 1 } else { 21 };
    let runtime = Runtime::new().unwrap();
    let server = RedisServer::start(&[]).unwrap();
    let folder = env::temp_dir().join(format!("tower-bearer-bench-{}", std::process::id()));
    let keys = || SealingKeys::new(KEY);
    let redis = server.as_ref().map(RedisServer::url);
    let mut stores: Vec<(_, Box<OfProcess<'_>>)> = vec![("each for itself", Box::new(|| None))];
    if let Some(url) = &redis {
        let store = move || Some(SharedStore::redis(url.as_str(), keys()).unwrap());
        stores.push(("Redis", Box::new(store)));
    }
    stores.push((
        "a folder",
        Box::new(|| Some(SharedStore::folder(&folder, keys()).unwrap())),
    ));

    let mut table = Table::new(
        "Cold processes, a token request of 50 ms",
        [
            "store",
            "processes",
            "token requests",
            "ms until all are served",
        ],
    );
    for processes in [1, 10, 50] {
        for (name, store) in &stores {
            let (mut times, mut token_requests) = (Vec::new(), 0);
            for _ in 0..runs {
                let (took, made) = runtime.block_on(cold(processes, store.as_ref()));
                times.push(took.as_secs_f64() * 1000.0);
                token_requests = token_requests.max(made);
            }
            table.row([
                (*name).to_owned(),
                processes.to_string(),
                token_requests.to_string(),
                format!("{:.1}", median(times)),
            ]);
        }
    }
    table.done("fleet", &options);
    let _ = fs::remove_dir_all(&folder);
}

/// Starts processes of a new client at once.
async fn cold(processes: usize, store: &OfProcess<'_>) -> (Duration, usize) {
    static CLIENTS: AtomicUsize = AtomicUsize::new(0);
    let client = format!("client {}", CLIENTS.fetch_add(1, Ordering::Relaxed));
    let token_requests = Arc::new(AtomicUsize::new(0));
    let caches: Vec<_> = (0..processes)
        .map(|_| match store() {
            Some(store) => TokenCache::new(
                SharedLayer::new(Identity::named(&client), store).layer(source(&token_requests)),
            ),
            None => TokenCache::new(source(&token_requests)),
        })
        .collect();
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for cache in caches {
        tasks.spawn(async move { cache.get().await.unwrap() });
    }
    tasks.join_all().await;
    (started.elapsed(), token_requests.load(Ordering::Relaxed))
}

fn source(token_requests: &Arc<AtomicUsize>) -> impl TokenSource + use<> {
    let token_requests = Arc::clone(token_requests);
    service_fn(move |_: TokenRequest| {
        token_requests.fetch_add(1, Ordering::Relaxed);
        async {
            sleep(TAKES).await;
            Ok::<_, Error>(Token::new("a-token")?.with_lifetime(Duration::from_secs(3600)))
        }
    })
}
