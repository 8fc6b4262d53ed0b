//! A fleet of processes shares one token.
//!
//! ```sh
//! cargo run --example fleet                                  # starts a Redis of its own, if one is installed
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example fleet # or uses this one
//! ```
//! Each process of the fleet is a child process of this program. Without any Redis they share a folder. It prints what the
//! authorization server saw, and fails if that is not what was promised.

#[path = "fleet/redis.rs"]
#[allow(dead_code, reason = "what the tests use")]
mod redis;

use std::{
    env, fs,
    process::{ExitCode, Stdio},
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::Instant,
};
use tower::{BoxError, Layer};
use tower_bearer::{
    ClientCredentials, TokenCache,
    shared::{SealingKeys, SharedLayer, SharedStore},
    test_util::{AuthorizationServer, Served},
};

use self::redis::RedisServer;

const PROCESSES: usize = 50;

/// `openssl rand -base64 32`
const KEYS: [&str; 2] = [
    "k8Zy1mP0hXnV3pYw7qRr5sTtUuVvWwXxYyZz0123456=",
    "M4xT9dK2sLfQ8vBn6cJj1gHhGgFfEeDdCcBbAa98765=",
];

/// What a process of the fleet does: this, and nothing else, is what your service needs.
async fn work() -> Result<String, BoxError> {
    let credentials = ClientCredentials::builder(
        env::var("TOKEN_URL")?,
        env::var("CLIENT_ID")?,
        env::var("CLIENT_SECRET")?,
    )
    .build()?;
    let cache = match env::var("STORE")?.as_str() {
        "" => TokenCache::new(credentials),
        store => {
            let keys = env::var("KEYS")?;
            let mut keys = keys.split(' ').map(ToOwned::to_owned);
            let first = SealingKeys::new(keys.next().unwrap_or_default());
            let keys = keys.fold(first, SealingKeys::and_open_with);
            let store = match store.starts_with("redis") {
                true => SharedStore::redis(store, keys)?,
                false => SharedStore::folder(store, keys)?,
            };
            TokenCache::new(SharedLayer::new(&credentials, store).layer(credentials))
        }
    };
    Ok(cache.get().await?.expose_secret().to_owned())
}

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    if env::var_os("TOKEN_URL").is_some() {
        println!("{}", work().await?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut own = None;
    let folder = env::temp_dir().join(format!("tower-bearer-fleet-{}", std::process::id()));
    let store = match env::var("REDIS_URL") {
        Ok(url) => url,
        Err(_) => {
            own = RedisServer::start(&[])?;
            match &own {
                Some(server) => server.url(),
                None => folder.display().to_string(),
            }
        }
    };
    println!(
        "store: {}",
        if store.starts_with("redis") {
            "Redis"
        } else {
            "a folder, for there is no Redis"
        }
    );
    println!(
        "{:<58} {:>9} {:>14} {:>8}",
        "what happens", "processes", "token requests", "time"
    );
    let demonstrated = demonstrate(&store, own.as_mut()).await;
    let _ = fs::remove_dir_all(folder);
    demonstrated?;
    Ok(ExitCode::SUCCESS)
}

async fn demonstrate(store: &str, redis: Option<&mut RedisServer>) -> Result<(), BoxError> {
    let alone = Fleet::new("").await?;
    alone
        .starts("each for itself", PROCESSES, &KEYS[..1], PROCESSES)
        .await?;

    let fleet = Fleet::new(store).await?;
    fleet.starts("sharing", PROCESSES, &KEYS[..1], 1).await?;
    fleet
        .starts(
            "sharing: a deploy while the token is valid",
            PROCESSES,
            &KEYS[..1],
            0,
        )
        .await?;

    // The new key is added, becomes the first, and the old one goes.
    let turned = [KEYS[1], KEYS[0]];
    fleet
        .starts("the new sealing key opens", 10, &KEYS, 0)
        .await?;
    fleet
        .starts("the new sealing key seals", 10, &turned, 0)
        .await?;

    // Another client secret would do as well: this one has nothing in the store yet.
    let fleet = Fleet::new(store).await?;
    let held = fleet.server.hold();
    let mut holder = fleet.process(&KEYS[..1])?;
    held.arrived(1).await?;
    holder.kill().await?;
    drop(held);
    fleet
        .starts(
            "the process that requests the token is killed",
            10,
            &KEYS[..1],
            1,
        )
        .await?;

    if let Some(redis) = redis {
        redis.stop();
        fleet
            .starts("Redis is killed: each for itself", 10, &KEYS[..1], 10)
            .await?;
        redis.restart()?;
        fleet
            .starts("Redis is back, empty", 10, &KEYS[..1], 1)
            .await?;
    }
    Ok(())
}

/// Processes, and the authorization server that they ask.
struct Fleet {
    server: AuthorizationServer,
    served: Served,
    store: String,
}

impl Fleet {
    async fn new(store: &str) -> Result<Self, BoxError> {
        let server = AuthorizationServer::new();
        server.delay(Duration::from_millis(120));
        Ok(Self {
            served: server.serve().await?,
            server,
            store: store.to_owned(),
        })
    }

    fn process(&self, keys: &[&str]) -> Result<Child, BoxError> {
        let child = Command::new(env::current_exe()?)
            .env("TOKEN_URL", self.served.url())
            .env("CLIENT_ID", "client")
            .env("CLIENT_SECRET", "secret")
            .env("STORE", &self.store)
            .env("KEYS", keys.join(" "))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        Ok(child)
    }

    /// Starts processes at once, and prints how many token requests all of them made.
    async fn starts(
        &self,
        what: &str,
        processes: usize,
        keys: &[&str],
        expected: usize,
    ) -> Result<(), BoxError> {
        let (before, started) = (self.server.token_requests(), Instant::now());
        let mut children = JoinSet::new();
        for _ in 0..processes {
            children.spawn(self.process(keys)?.wait_with_output());
        }
        while let Some(output) = children.join_next().await {
            let output = output??;
            if !output.status.success() || output.stdout.is_empty() {
                return Err(format!("a process has no token: {output:?}").into());
            }
        }
        let token_requests = self.server.token_requests() - before;
        let seconds = started.elapsed().as_secs_f64();
        println!("{what:<58} {processes:>9} {token_requests:>14} {seconds:>6.1} s");
        match token_requests == expected {
            true => Ok(()),
            false => Err(format!("{expected} token requests were promised").into()),
        }
    }
}
