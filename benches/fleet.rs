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
        Arc, Mutex,
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

/// Opens the store as one process has it.
type OfProcess<'a> = dyn Fn() -> Option<SharedStore> + 'a;

fn main() {
    let options = Options::from_command_line();
    let runs = if options.test { 1 } else { 11 };
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
        "Cold processes",
        [
            "a token request takes, ms",
            "store",
            "processes",
            "token requests",
            "scripts of a process",
            "ms until all are served",
            "mean ms from the token to one that waits",
        ],
    );
    let in_millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let scripts = || redis.as_deref().map_or(0, scripts);
    for (takes, processes) in [(50, 1), (50, 10), (50, 50), (500, 50), (2000, 50)] {
        for (name, store) in &stores {
            let (mut times, mut waits, mut token_requests) = (Vec::new(), Vec::new(), 0);
            let before = scripts();
            for _ in 0..runs {
                let takes = Duration::from_millis(takes);
                let start = runtime.block_on(cold(takes, processes, store.as_ref()));
                times.push(in_millis(start.until_all_are_served));
                waits.extend(start.waited_after_the_token.map(in_millis));
                token_requests = token_requests.max(start.token_requests);
            }
            let scripts = (scripts() - before) as f64 / (runs * processes) as f64;
            let is_redis = *name == "Redis";
            let waits = Some(waits).filter(|waits| !waits.is_empty() && *name != "each for itself");
            let or_none = |figure: Option<String>| figure.unwrap_or_else(|| "–".to_owned());
            table.row([
                takes.to_string(),
                (*name).to_owned(),
                processes.to_string(),
                token_requests.to_string(),
                or_none(is_redis.then(|| format!("{scripts:.1}"))),
                format!("{:.1}", median(times)),
                or_none(waits.map(|waits| format!("{:.0}", median(waits)))),
            ]);
        }
    }
    table.done("fleet", &options);
    let _ = fs::remove_dir_all(&folder);
}

/// How many scripts a Redis has run.
fn scripts(url: &str) -> u64 {
    let mut connection = ::redis::Client::open(url)
        .unwrap()
        .get_connection()
        .unwrap();
    let mut info = ::redis::cmd("INFO");
    let info: String = info.arg("commandstats").query(&mut connection).unwrap();
    let calls = info.split("cmdstat_eval:calls=").nth(1);
    let calls = calls.and_then(|calls| calls.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

struct Start {
    until_all_are_served: Duration,
    /// In the mean. `None` if none has waited.
    waited_after_the_token: Option<Duration>,
    token_requests: usize,
}

/// The token requests of a fleet.
#[derive(Clone, Default)]
struct TokenRequests {
    made: Arc<AtomicUsize>,
    last_came_at: Arc<Mutex<Option<Instant>>>,
}

/// Starts processes of a new client at once.
async fn cold(takes: Duration, processes: usize, store: &OfProcess<'_>) -> Start {
    static CLIENTS: AtomicUsize = AtomicUsize::new(0);
    let client = format!("client {}", CLIENTS.fetch_add(1, Ordering::Relaxed));
    let token_requests = TokenRequests::default();
    let source = || source(takes, &token_requests);
    let caches: Vec<_> = (0..processes)
        .map(|_| match store() {
            Some(store) => {
                TokenCache::new(SharedLayer::new(Identity::named(&client), store).layer(source()))
            }
            None => TokenCache::new(source()),
        })
        .collect();
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for cache in caches {
        tasks.spawn(async move {
            cache.get().await.unwrap();
            Instant::now()
        });
    }
    let mut served_at = tasks.join_all().await;
    served_at.sort_unstable();
    let came_at = token_requests.last_came_at.lock().unwrap().unwrap();
    // The first is the one that requested it.
    let waits = served_at[1..]
        .iter()
        .map(|at| at.saturating_duration_since(came_at));
    let waited: Duration = waits.sum();
    Start {
        until_all_are_served: *served_at.last().unwrap() - started,
        waited_after_the_token: waited.checked_div(processes as u32 - 1),
        token_requests: token_requests.made.load(Ordering::Relaxed),
    }
}

fn source(takes: Duration, token_requests: &TokenRequests) -> impl TokenSource + use<> {
    let token_requests = token_requests.clone();
    service_fn(move |_: TokenRequest| {
        token_requests.made.fetch_add(1, Ordering::Relaxed);
        let last_came_at = Arc::clone(&token_requests.last_came_at);
        async move {
            sleep(takes).await;
            *last_came_at.lock().unwrap() = Some(Instant::now());
            Ok::<_, Error>(Token::new("a-token")?.with_lifetime(Duration::from_secs(3600)))
        }
    })
}
