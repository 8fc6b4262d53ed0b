//! A fleet over a real Redis and over a folder, with real processes.
//!
//! Those that need `redis-server` are run by `tests/servers/run`, which installs it. Each starts one of its own. Time is real.

#![cfg(all(feature = "redis", feature = "rustls"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../examples/fleet/redis.rs"]
mod redis_server;

use std::{
    env, fs,
    net::Ipv4Addr,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::{Barrier, Notify},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::{Layer, Service, ServiceExt};
use tower_bearer::{
    ClientCredentials, ErrorKind, TokenCache,
    shared::{Identity, SealingKeys, Shared, SharedLayer, SharedStore},
    token::{Reason, TokenRequest},
};

use self::redis_server::RedisServer;

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const SECOND: Duration = Duration::from_secs(1);

/// A token endpoint on loopback. It counts, and gives `t1`, `t2`, … after a delay.
#[derive(Clone)]
struct Endpoint {
    url: String,
    state: Arc<Counted>,
}

/// The answer to the n-th token request, after a delay.
type Answer = Box<dyn Fn(usize) -> (Duration, StatusCode, String) + Send + Sync>;

struct Counted {
    token_requests: AtomicUsize,
    answer: Answer,
    /// Told of each token request that came.
    came: Notify,
}

impl Endpoint {
    async fn start(delay: Duration) -> Self {
        Self::start_with(move |n| (delay, StatusCode::OK, token(n))).await
    }

    async fn start_with(
        answer: impl Fn(usize) -> (Duration, StatusCode, String) + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::new(Counted {
            token_requests: AtomicUsize::new(0),
            answer: Box::new(answer),
            came: Notify::new(),
        });
        let app = Router::new()
            .route("/token", post(token_request))
            .with_state(Arc::clone(&state));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, state }
    }

    fn token_requests(&self) -> usize {
        self.state.token_requests.load(Ordering::SeqCst)
    }

    /// As good as a process: a cache with a store of its own.
    fn process(&self, redis: &str) -> TokenCache {
        cache(&self.url, redis, "my-secret")
    }

    fn processes(&self, count: usize, redis: &str) -> Vec<TokenCache> {
        (0..count).map(|_| self.process(redis)).collect()
    }

    /// With a store that is not one server alone.
    fn processes_in(&self, count: usize, store: impl Fn() -> SharedStore) -> Vec<TokenCache> {
        let process = |_| TokenCache::new(source(&self.url, store(), "my-secret"));
        (0..count).map(process).collect()
    }
}

async fn token_request(State(state): State<Arc<Counted>>) -> (StatusCode, String) {
    let n = state.token_requests.fetch_add(1, Ordering::SeqCst) + 1;
    state.came.notify_one();
    let (delay, status, body) = (state.answer)(n);
    sleep(delay).await;
    (status, body)
}

fn token(n: usize) -> String {
    format!(r#"{{"access_token":"t{n}","token_type":"bearer","expires_in":3600}}"#)
}

fn cache(token_url: &str, redis: &str, secret: &str) -> TokenCache {
    let store = SharedStore::redis(redis, SealingKeys::new(KEY)).unwrap();
    TokenCache::new(source(token_url, store, secret))
}

fn source(token_url: &str, store: SharedStore, secret: &str) -> Shared<ClientCredentials> {
    let credentials = ClientCredentials::builder(token_url, "my-client", secret);
    let credentials = credentials.build().unwrap();
    SharedLayer::new(&credentials, store).layer(credentials)
}

/// What each gets, all at once.
async fn tokens(processes: &[TokenCache]) -> Vec<String> {
    let mut tasks = JoinSet::new();
    for cache in processes {
        let cache = cache.clone();
        tasks.spawn(async move { cache.get().await.unwrap().expose_secret().to_owned() });
    }
    let mut tokens = tasks.join_all().await;
    tokens.sort_unstable();
    tokens
}

fn redis(options: &[&str]) -> RedisServer {
    let server = RedisServer::start(options).unwrap();
    server.expect("redis-server is installed: see tests/servers/run")
}

/// A connection beside those of the fleet, to look and to meddle.
fn meddler(redis: &RedisServer) -> redis::Connection {
    let client = redis::Client::open(redis.url()).unwrap();
    client.get_connection().unwrap()
}

fn keys(meddler: &mut redis::Connection, pattern: &str) -> Vec<String> {
    redis::cmd("KEYS").arg(pattern).query(meddler).unwrap()
}

/// Not a test: one process of the fleet. It prints its token.
#[tokio::test]
#[ignore = "a process that other tests start"]
async fn child() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (Ok(token_url), Ok(redis)) = (env::var("FLEET_TOKEN_URL"), env::var("FLEET_REDIS")) else {
        return;
    };
    let mut store = SharedStore::redis(redis.as_str(), SealingKeys::new(KEY)).unwrap();
    if redis.starts_with("rediss") {
        // A handshake takes a while in a debug build, more so on a busy machine.
        store = store.timeout(SECOND * 3);
    }
    let cache = TokenCache::builder(source(&token_url, store, "my-secret"));
    let cache = cache.token_request_timeout(SECOND * 60).build().unwrap();
    println!("TOKEN {}", cache.get().await.unwrap().expose_secret());
}

fn spawn_child(token_url: &str, redis: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env("FLEET_TOKEN_URL", token_url)
        .env("FLEET_REDIS", redis)
        .env(
            "SSL_CERT_FILE",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/ca.crt"),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn token_of(child: Child) -> String {
    let output = child.wait_with_output().await.unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let mut lines = output.lines();
    let token = lines.find_map(|line| line.split("TOKEN ").nth(1));
    token.unwrap_or("none").to_owned()
}

/// Promise: D1
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn fifty_cold_processes_make_one_token_request() {
    let (redis, endpoint) = (redis(&[]), Endpoint::start(SECOND / 5).await);
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        tasks.spawn(token_of(spawn_child(&endpoint.url, &redis.url())));
    }
    assert_eq!(tasks.join_all().await, vec!["t1"; 50]);
    assert_eq!(endpoint.token_requests(), 1);
}

/// Promise: D1
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn over_tls_as_a_user_who_may_do_no_more_than_is_needed() {
    const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/");
    // As in the guide.
    const ALLOWED: &str =
        "~tower-bearer:* +eval +time +get +set +del +pttl +pexpire +pexpireat +hset +hmget";
    let tls_port = redis_server::free_port().unwrap().to_string();
    let (certificate, key) = (format!("{KEYS}server.crt"), format!("{KEYS}server.key"));
    let mut options = vec!["--tls-port", &tls_port, "--tls-auth-clients", "no"];
    options.extend(["--tls-cert-file", &certificate, "--tls-key-file", &key]);
    options.extend(["--user", "default", "off"]);
    options.extend(["--user", "fleet", "on", ">pass:word"]);
    options.extend(ALLOWED.split(' '));
    let _redis = redis(&options);
    let endpoint = Endpoint::start(SECOND / 5).await;
    let url = format!("rediss://fleet:pass%3Aword@localhost:{tls_port}");
    let mut tasks = JoinSet::new();
    for _ in 0..5 {
        tasks.spawn(token_of(spawn_child(&endpoint.url, &url)));
    }
    assert_eq!(tasks.join_all().await, ["t1"; 5]);
    assert_eq!(endpoint.token_requests(), 1);
}

/// What a proxy does with the n-th script of a victim.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fatal {
    Unsent(usize),
    Unanswered(usize),
}

/// A proxy before Redis that tells when the victim is to be killed, and carries nothing more.
async fn deadly_proxy(redis: u16, fatal: Fatal, now: Arc<Notify>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let now = Arc::clone(&now);
            tokio::spawn(async move {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, redis))
                    .await
                    .unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let is_over = Arc::new(AtomicBool::new(false));
                let withheld = Arc::clone(&is_over);
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 * 1024];
                    while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                        if withheld.load(Ordering::SeqCst) {
                            // The connection stays open.
                            std::future::pending::<()>().await;
                        }
                        to_client.write_all(&bytes[..count]).await.unwrap();
                    }
                });
                let (mut bytes, mut scripts) = (vec![0; 64 * 1024], 0);
                while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
                    let is_script = bytes[..count].windows(4).any(|part| part == b"EVAL");
                    scripts += usize::from(is_script);
                    match fatal {
                        Fatal::Unsent(n) if is_script && scripts == n => {
                            now.notify_one();
                            std::future::pending::<()>().await;
                        }
                        Fatal::Unanswered(n) if is_script && scripts == n => {
                            is_over.store(true, Ordering::SeqCst);
                            to_server.write_all(&bytes[..count]).await.unwrap();
                            sleep(SECOND / 10).await;
                            now.notify_one();
                            std::future::pending::<()>().await;
                        }
                        _ => to_server.write_all(&bytes[..count]).await.unwrap(),
                    }
                }
            });
        }
    });
    url
}

/// SIGKILL before and after each script of the holder, and in the middle of its token request.
///
/// Promise: D1
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn a_holder_that_is_killed_at_any_step_holds_nobody_up() {
    for fatal in [
        Fatal::Unsent(1),
        Fatal::Unanswered(1),
        Fatal::Unsent(2),
        Fatal::Unanswered(2),
    ] {
        let (redis, endpoint) = (redis(&[]), Endpoint::start(SECOND / 20).await);
        let now = Arc::new(Notify::new());
        let proxy = deadly_proxy(redis.port(), fatal, Arc::clone(&now)).await;
        let mut victim = spawn_child(&endpoint.url, &proxy);
        now.notified().await;
        victim.kill().await.unwrap();
        let started = Instant::now();
        let of_the_others = tokens(&endpoint.processes(10, &redis.url())).await;
        assert_eq!(
            of_the_others,
            vec![of_the_others[0].clone(); 10],
            "{fatal:?}"
        );
        let token_requests = endpoint.token_requests();
        // The token that was never stored is requested once more.
        let expected = if fatal == Fatal::Unsent(2) { 2 } else { 1 };
        assert_eq!(token_requests, expected, "{fatal:?}");
        assert!(started.elapsed() < SECOND * 4, "{fatal:?}");
    }

    let (redis, endpoint) = (redis(&[]), Endpoint::start(SECOND / 2).await);
    let mut victim = spawn_child(&endpoint.url, &redis.url());
    endpoint.state.came.notified().await;
    victim.kill().await.unwrap();
    let of_the_others = tokens(&endpoint.processes(10, &redis.url())).await;
    assert_eq!(of_the_others, vec!["t2"; 10]);
    assert_eq!(endpoint.token_requests(), 2);
}

/// Each process is served by a token request of its own, soon.
async fn is_passed_over(what: &str, redis: &str) {
    let store = || SharedStore::redis(redis, SealingKeys::new(KEY));
    is_passed_over_in(what, || store().unwrap()).await;
}

async fn is_passed_over_in(what: &str, store: impl Fn() -> SharedStore) {
    let endpoint = Endpoint::start(SECOND / 20).await;
    let started = Instant::now();
    assert_eq!(
        tokens(&endpoint.processes_in(3, store)).await,
        ["t1", "t2", "t3"],
        "{what}"
    );
    assert!(
        started.elapsed() < SECOND * 2,
        "{what}: {:?}",
        started.elapsed()
    );
}

/// Promise: D2
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn a_redis_in_any_trouble_is_passed_over() {
    let mut stopped = redis(&[]);
    stopped.stop();
    is_passed_over("stopped", &stopped.url()).await;

    let paused = redis(&[]);
    let () = redis::cmd("CLIENT")
        .arg("PAUSE")
        .arg(20_000)
        .query(&mut meddler(&paused))
        .unwrap();
    is_passed_over("paused", &paused.url()).await;

    let full = redis(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    is_passed_over("full", &full.url()).await;

    let locked = redis(&["--requirepass", "right"]);
    let url = format!("redis://:wrong@127.0.0.1:{}", locked.port());
    is_passed_over("wrong password", &url).await;
    is_passed_over("no password", &locked.url()).await;

    is_passed_over("nobody listens", "redis://127.0.0.1:1").await;
    for garbage in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
        "*-7\r\n",
        "$9999999999\r\nx",
        "*2\r\n$5\r\nvalue\r\n:-1\r\n",
        "\0\u{1}\u{2}",
        "",
    ] {
        is_passed_over(garbage, &babbler(garbage).await).await;
    }
}

/// What it sends is kept in memory until it ends.
///
/// Promise: D2
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_whose_answer_never_ends_is_hung_up_on() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let hung_up = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 64 * 1024];
        let mut read = stream.read(&mut bytes).await.unwrap();
        while !bytes[..read].windows(4).any(|part| part == b"EVAL") {
            stream.write_all(b"+OK\r\n+OK\r\n").await.unwrap();
            read = stream.read(&mut bytes).await.unwrap();
        }
        let mut answer = b"$9999999999\r\n".to_vec();
        while stream.write_all(&answer).await.is_ok() {
            answer = vec![0; 1024];
            sleep(SECOND / 100).await;
        }
    });
    let endpoint = Endpoint::start(Duration::ZERO).await;
    let process = endpoint.processes(1, &url);
    assert_eq!(tokens(&process).await, ["t1"]);
    timeout(SECOND * 5, hung_up).await.unwrap().unwrap();
}

/// Promise: D2
#[tokio::test(flavor = "multi_thread")]
async fn sentinels_and_nodes_that_tell_nonsense_are_passed_over() {
    for garbage in [
        "*-1\r\n",
        "*2\r\n$9\r\n127.0.0.1\r\n$1\r\n1\r\n",
        "*2\r\n$9\r\n127.0.0.1\r\n$6\r\n999999\r\n",
        "*2\r\n$1\r\n \r\n$1\r\n1\r\n",
        "*1\r\n*1\r\n*1\r\n+OK\r\n",
    ] {
        let sentinels = babbler(garbage).await;
        let store = || {
            let keys = SealingKeys::new(KEY);
            SharedStore::redis_sentinel("redis://mymaster", sentinels.as_str(), keys).unwrap()
        };
        is_passed_over_in(garbage, store).await;
    }
    for garbage in [
        // In circles.
        "-MOVED 1 127.0.0.1:PORT\r\n",
        "-MOVED 1 :PORT\r\n",
        "-MOVED 1 127.0.0.1:1\r\n",
        "-MOVED 1\r\n",
        "-MOVED 1 nowhere\r\n",
        "-MOVED 99999999 [::1]:99999999\r\n",
        "-ASK 1 127.0.0.1:PORT\r\n",
        "-TRYAGAIN\r\n",
        "-CLUSTERDOWN\r\n",
    ] {
        let nodes = babbler(garbage).await;
        let store = || SharedStore::redis_cluster(nodes.as_str(), SealingKeys::new(KEY));
        is_passed_over_in(garbage, || store().unwrap()).await;
    }
}

/// A server that answers whatever comes with the same bytes.
async fn babbler(garbage: &'static str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let garbage: Arc<str> = garbage.replace("PORT", &port).into();
    let url = format!("redis://127.0.0.1:{port}");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let garbage = Arc::clone(&garbage);
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(1..) = stream.read(&mut bytes).await {
                    if stream.write_all(garbage.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// Promise: D2
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn a_redis_that_was_flushed_or_restarted_is_shared_again() {
    let (mut redis, endpoint) = (redis(&[]), Endpoint::start(SECOND / 20).await);
    let old = endpoint.process(&redis.url());
    tokens(std::slice::from_ref(&old)).await;
    let () = redis::cmd("FLUSHALL").query(&mut meddler(&redis)).unwrap();
    assert_eq!(
        tokens(&endpoint.processes(5, &redis.url())).await,
        ["t2"; 5]
    );
    redis.restart().unwrap();
    // Its connection is gone, and it has a token that nobody else has.
    assert_eq!(old.refresh().await.unwrap().expose_secret(), "t3");
    assert_eq!(
        tokens(&endpoint.processes(5, &redis.url())).await,
        ["t3"; 5]
    );
    assert_eq!(endpoint.token_requests(), 3);
}

/// A command of words, without spaces in them.
fn words(words: &str) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    words.split(' ').for_each(|word| {
        command.arg(word);
    });
    command
}

/// Asks a server until it answers that.
async fn until<T: redis::FromRedisValue>(
    server: &RedisServer,
    command: &str,
    is_it: impl Fn(T) -> bool,
) {
    let mut meddler = meddler(server);
    let started = Instant::now();
    loop {
        let answer = words(command).query(&mut meddler);
        if answer.is_ok_and(&is_it) {
            return;
        }
        assert!(started.elapsed() < SECOND * 40, "{command}");
        sleep(SECOND / 20).await;
    }
}

/// A master that has become a replica, and keeps its connections; and one that is killed.
///
/// Promise: D1, D2
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn after_a_failover_the_master_that_sentinels_tell_is_shared() {
    const MASTER: &str = "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster";
    let soon = ["--repl-diskless-sync-delay", "0"];
    let one = redis(&soon);
    let replica_of = format!("--replicaof 127.0.0.1 {}", one.port());
    let replica_of = replica_of.split(' ').chain(soon);
    let mut other = redis(&replica_of.collect::<Vec<_>>());
    let in_step = |state: String| state.contains("master_link_status:up");
    until(&other, "INFO replication", in_step).await;
    let sentinel = one.start_sentinel().unwrap().unwrap();
    until(&sentinel, "SENTINEL DEBUG info-period 100", |_: String| {
        true
    })
    .await;

    let endpoint = Endpoint::start(SECOND / 20).await;
    let sentinels = format!("redis://127.0.0.1:1,127.0.0.1:{}", sentinel.port());
    let store = || {
        let keys = SealingKeys::new(KEY);
        SharedStore::redis_sentinel("redis://mymaster", sentinels.as_str(), keys).unwrap()
    };
    let early = endpoint.processes_in(5, store);
    assert_eq!(tokens(&early).await, ["t1"; 5]);

    until(&sentinel, "SENTINEL FAILOVER mymaster", |_: String| true).await;
    let is_other = |at: (String, u16)| at.1 == other.port();
    until(&sentinel, MASTER, is_other).await;
    // As the Sentinel does after some seconds.
    let demote = format!("REPLICAOF 127.0.0.1 {}", other.port());
    until(&one, &demote, |_: String| true).await;
    assert_eq!(early[0].refresh().await.unwrap().expose_secret(), "t2");
    assert_eq!(tokens(&endpoint.processes_in(5, store)).await, ["t2"; 5]);

    until(&one, "INFO replication", in_step).await;
    other.stop();
    assert_eq!(tokens(&endpoint.processes_in(1, store)).await, ["t3"]);
    until(&sentinel, MASTER, |at: (String, u16)| at.1 == one.port()).await;
    assert_eq!(tokens(&endpoint.processes_in(5, store)).await, ["t2"; 5]);
    assert_eq!(endpoint.token_requests(), 3);
}

/// Three nodes, each with a third of the hash slots.
async fn cluster() -> Vec<RedisServer> {
    let mut nodes = Vec::new();
    for slots in ["0 5460", "5461 10922", "10923 16383"] {
        let bus = redis_server::free_port().unwrap().to_string();
        let node = redis(&["--cluster-enabled", "yes", "--cluster-port", &bus]);
        let is_done = |_: String| true;
        until(&node, &format!("CLUSTER ADDSLOTSRANGE {slots}"), is_done).await;
        nodes.push((node, bus));
    }
    let (first, bus) = &nodes[0];
    let meet = format!("CLUSTER MEET 127.0.0.1 {} {bus}", first.port());
    for (node, _) in &nodes[1..] {
        until(node, &meet, |_: String| true).await;
    }
    let nodes: Vec<_> = nodes.into_iter().map(|(node, _)| node).collect();
    for node in &nodes {
        let all = |info: String| {
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        until(node, "CLUSTER INFO", all).await;
    }
    nodes
}

/// With one node named, and with a first one that is down. While a slot is on its way, each process is on its own.
///
/// Promise: D1, D2
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn a_cluster_shares_a_token_and_its_slot_may_move() {
    let nodes = cluster().await;
    let endpoint = Endpoint::start(SECOND / 20).await;
    let store = || {
        let url = format!("redis://127.0.0.1:1,127.0.0.1:{}", nodes[0].port());
        SharedStore::redis_cluster(url, SealingKeys::new(KEY)).unwrap()
    };
    let early = endpoint.processes_in(5, store);
    assert_eq!(tokens(&early).await, ["t1"; 5]);

    let mut meddlers: Vec<_> = nodes.iter().map(meddler).collect();
    let keys: Vec<_> = meddlers.iter_mut().map(|node| keys(node, "*")).collect();
    let from = keys.iter().position(|keys| !keys.is_empty()).unwrap();
    let to = (from + 1) % 3;
    let key = &keys[from][0];
    let mut tell = |node: usize, command: String| -> String {
        let command = words(&command);
        let answer: redis::Value = command.query(&mut meddlers[node]).unwrap();
        redis::from_redis_value(answer).unwrap()
    };
    let slot = tell(from, format!("CLUSTER KEYSLOT {key}"));
    let ids = [from, to].map(|node| tell(node, "CLUSTER MYID".to_owned()));
    tell(to, format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[0]));
    tell(from, format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[1]));
    assert_eq!(tokens(&endpoint.processes_in(1, store)).await, ["t2"]);
    let port = nodes[to].port();
    tell(from, format!("MIGRATE 127.0.0.1 {port} {key} 0 5000"));
    for node in [to, from] {
        tell(node, format!("CLUSTER SETSLOT {slot} NODE {}", ids[1]));
    }

    assert_eq!(tokens(&endpoint.processes_in(5, store)).await, ["t1"; 5]);
    // It knows the node from before.
    assert_eq!(early[0].refresh().await.unwrap().expose_secret(), "t3");
    assert_eq!(tokens(&endpoint.processes_in(5, store)).await, ["t3"; 5]);
    assert_eq!(endpoint.token_requests(), 3);
}

/// The names by two keys have two slots.
///
/// Promise: D5
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn keys_are_rotated_in_a_cluster_without_a_token_request() {
    const NEXT_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let nodes = cluster().await;
    let endpoint = Endpoint::start(Duration::ZERO).await;
    for keys in [
        SealingKeys::new(KEY),
        SealingKeys::new(KEY).and_open_with(NEXT_KEY),
        SealingKeys::new(NEXT_KEY).and_open_with(KEY),
    ] {
        let url = format!("redis://127.0.0.1:{}", nodes[1].port());
        let store = || SharedStore::redis_cluster(url.as_str(), keys.clone()).unwrap();
        assert_eq!(tokens(&endpoint.processes_in(2, store)).await, ["t1"; 2]);
    }
    assert_eq!(endpoint.token_requests(), 1);
}

/// An hour in 36 s: the backoff of the processes is a hundredth of the default, and what is told in the store, 30 s, is cut to it.
/// As good as processes: 200 caches, each with a connection of its own.
///
/// Promise: D7
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn two_hundred_processes_with_a_wrong_secret_make_few_token_requests_in_an_hour() {
    const TOLD: Duration = Duration::from_millis(300);
    let redis = redis(&[]);
    let endpoint = Endpoint::start_with(|_| {
        let error = r#"{"error":"invalid_client"}"#;
        (SECOND / 20, StatusCode::UNAUTHORIZED, error.to_owned())
    });
    let endpoint = endpoint.await;
    let mut processes = JoinSet::new();
    let started = Instant::now();
    for _ in 0..200 {
        // On a busy machine 200 connections take a while, and whoever passes the store over is not what this is about.
        let store = SharedStore::redis(redis.url(), SealingKeys::new(KEY)).unwrap();
        let store = store.timeout(SECOND * 3);
        let cache = TokenCache::builder(source(&endpoint.url, store, "wrong"))
            .token_request_timeout(SECOND * 60)
            .permanent_backoff(TOLD, TOLD * 10)
            .build()
            .unwrap();
        processes.spawn(async move {
            let mut told = 0;
            while started.elapsed() < SECOND * 36 {
                let error = cache.get().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
                assert_eq!(error.oauth_code(), Some("invalid_client"));
                told += 1;
                sleep(SECOND / 10).await;
            }
            told
        });
    }
    let mut meddler = meddler(&redis);
    let hurry = tokio::task::spawn_blocking(move || {
        while started.elapsed() < SECOND * 36 {
            for key in keys(&mut meddler, "*:failure") {
                let left: i64 = redis::cmd("PTTL").arg(&key).query(&mut meddler).unwrap();
                if left > TOLD.as_millis() as i64 {
                    let mut expire = redis::cmd("PEXPIRE");
                    expire.arg(&key).arg(TOLD.as_millis() as i64);
                    let () = expire.query(&mut meddler).unwrap();
                }
            }
            std::thread::sleep(SECOND / 200);
        }
    });
    let told = processes.join_all().await;
    hurry.await.unwrap();
    assert!(told.iter().all(|told| *told > 30), "{told:?}");
    // 120 times 30 s, and the first; less where nobody asks at once.
    let token_requests = endpoint.token_requests();
    assert!((12..=121).contains(&token_requests), "{token_requests}");
}

/// Promise: D5
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn a_value_with_a_changed_byte_is_a_miss_and_one_that_outlives_its_token_too() {
    const FLIP: &str = "local v = redis.call('HGET', KEYS[1], 'sealed') \
         local i = tonumber(ARGV[1]) \
         redis.call('HSET', KEYS[1], 'sealed', v:sub(1, i) .. string.char(bit.bxor(v:byte(i + 1), 1)) .. v:sub(i + 2)) \
         return #v";
    let (redis, endpoint) = (redis(&[]), Endpoint::start(Duration::ZERO).await);
    let mut meddler = meddler(&redis);
    tokens(&endpoint.processes(1, &redis.url())).await;
    let key = keys(&mut meddler, "*:token").remove(0);
    let mut flip = |byte: usize| -> usize {
        let mut eval = redis::cmd("EVAL");
        eval.arg(FLIP).arg(1).arg(&key).arg(byte);
        eval.query(&mut meddler).unwrap()
    };
    let length = flip(0);
    assert_eq!(tokens(&endpoint.processes(1, &redis.url())).await, ["t2"]);
    for byte in 1..length {
        flip(byte);
        let expected = format!("t{}", byte + 2);
        assert_eq!(
            tokens(&endpoint.processes(1, &redis.url())).await,
            [expected]
        );
    }
}

/// Promise: D5
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn what_is_stored_ends_with_its_token_and_shows_nothing() {
    let endpoint = Endpoint::start_with(|_| (Duration::ZERO, StatusCode::OK, long_token()));
    let (redis, endpoint) = (redis(&[]), endpoint.await);
    let mut meddler = meddler(&redis);
    tokens(&endpoint.processes(1, &redis.url())).await;
    let all = keys(&mut meddler, "*");
    assert_eq!(all.len(), 1, "{all:?}");
    let key = &all[0];
    assert!(!key.contains("my-client") && !key.contains("127.0.0.1"));
    let ttl: u64 = redis::cmd("PTTL").arg(key).query(&mut meddler).unwrap();
    assert!((3_590_000..=3_600_000).contains(&ttl), "{ttl}");
    let sealed: Vec<u8> = redis::cmd("HGET")
        .arg(key)
        .arg("sealed")
        .query(&mut meddler)
        .unwrap();
    assert!(sealed.len() > 100 && !shows(&sealed, LONG_TOKEN));
}

/// Promise: D5, D8
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn a_value_that_was_moved_to_another_client_is_a_miss() {
    let (redis, endpoint) = (redis(&[]), Endpoint::start(Duration::ZERO).await);
    let mut meddler = meddler(&redis);
    let other = || cache(&endpoint.url, &redis.url(), "another-secret");
    tokens(&endpoint.processes(1, &redis.url())).await;
    let first = keys(&mut meddler, "*:token").remove(0);
    assert_eq!(tokens(&[other()]).await, ["t2"]);
    let of_both = keys(&mut meddler, "*:token");
    let second = of_both.iter().find(|key| **key != first).unwrap();
    let () = redis::cmd("RENAME")
        .arg(&first)
        .arg(second)
        .query(&mut meddler)
        .unwrap();
    assert_eq!(tokens(&[other()]).await, ["t3"]);
}

/// Promise: D4
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn a_token_that_is_rejected_everywhere_is_replaced_once() {
    let (redis, endpoint) = (redis(&[]), Endpoint::start(SECOND / 20).await);
    let together = Arc::new(Barrier::new(20));
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let store = SharedStore::redis(redis.url(), SealingKeys::new(KEY)).unwrap();
        let mut source = source(&endpoint.url, store, "my-secret");
        let together = Arc::clone(&together);
        tasks.spawn(async move {
            let request = TokenRequest::new(Reason::Cold);
            let first = source.ready().await.unwrap().call(request).await.unwrap();
            together.wait().await;
            let request = TokenRequest::new(Reason::Rejected).with_current_token(first);
            let second = source.ready().await.unwrap().call(request).await.unwrap();
            second.expose_secret().to_owned()
        });
    }
    assert_eq!(tasks.join_all().await, ["t2"; 20]);
    assert_eq!(endpoint.token_requests(), 2);
}

/// The holder of a lease that was lost comes late.
///
/// Promise: D4
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn an_older_token_does_not_overwrite_a_newer_one() {
    let redis = redis(&[]);
    let endpoint = Endpoint::start_with(|n| {
        let delay = if n == 1 { SECOND } else { Duration::ZERO };
        (delay, StatusCode::OK, token(n))
    });
    let endpoint = endpoint.await;
    let late = endpoint.process(&redis.url());
    let late = tokio::spawn(async move { tokens(&[late]).await });
    endpoint.state.came.notified().await;
    let () = redis::cmd("FLUSHALL").query(&mut meddler(&redis)).unwrap();
    assert_eq!(tokens(&endpoint.processes(1, &redis.url())).await, ["t2"]);
    assert_eq!(late.await.unwrap(), ["t1"]);
    assert_eq!(
        tokens(&endpoint.processes(5, &redis.url())).await,
        ["t2"; 5]
    );
}

/// Promise: D3
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server: tests/servers/run"]
async fn a_warm_request_asks_no_redis() {
    let (redis, endpoint) = (redis(&[]), Endpoint::start(Duration::ZERO).await);
    let cache = endpoint.process(&redis.url());
    cache.get().await.unwrap();
    let mut meddler = meddler(&redis);
    let mut scripts = move || {
        let stats: String = redis::cmd("INFO")
            .arg("commandstats")
            .query(&mut meddler)
            .unwrap();
        let eval = stats.lines().find(|line| line.starts_with("cmdstat_eval:"));
        eval.map(ToOwned::to_owned)
    };
    let before = scripts();
    assert!(before.is_some());
    for _ in 0..10_000 {
        cache.get().await.unwrap();
    }
    assert_eq!(scripts(), before);
}

/// A folder, for processes of one machine.
///
/// Promise: D1
#[tokio::test(flavor = "multi_thread")]
async fn processes_share_a_token_in_a_folder() {
    let endpoint = Endpoint::start(SECOND / 5).await;
    let folder = Folder::new("shares");
    let caches: Vec<_> = (0..10).map(|_| folder.cache(&endpoint)).collect();
    assert_eq!(tokens(&caches).await, ["t1"; 10]);
    assert_eq!(endpoint.token_requests(), 1);
    #[cfg(unix)]
    for file in folder.files() {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file:?}");
    }
}

/// Promise: D5
#[tokio::test]
async fn a_file_shows_no_token() {
    let endpoint = Endpoint::start_with(|_| (Duration::ZERO, StatusCode::OK, long_token()));
    let (endpoint, folder) = (endpoint.await, Folder::new("shows"));
    tokens(&[folder.cache(&endpoint)]).await;
    for file in folder.files() {
        let content = fs::read_to_string(file).unwrap();
        // Bytes are numbers there.
        let numbers = content.split(|c: char| !c.is_ascii_digit());
        let bytes: Vec<u8> = numbers.filter_map(|number| number.parse().ok()).collect();
        assert!(bytes.len() > 100, "{content}");
        assert!(!shows(&bytes, LONG_TOKEN) && !shows(content.as_bytes(), LONG_TOKEN));
    }
}

/// What random bytes do not show by chance.
const LONG_TOKEN: &str = "ory_at_4jSH-long-enough";

fn long_token() -> String {
    format!(r#"{{"access_token":"{LONG_TOKEN}","token_type":"bearer","expires_in":3600}}"#)
}

fn shows(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

/// Promise: D2
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_is_a_miss_that_heals() {
    let endpoint = Endpoint::start(Duration::ZERO).await;
    let folder = Folder::new("broken");
    tokens(&[folder.cache(&endpoint)]).await;
    let whole = fs::read(&folder.files()[0]).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    let broken = [
        Vec::new(),
        half,
        b"{}".to_vec(),
        vec![0xff; 100],
        vec![b'['; 100_000],
    ];
    for (n, content) in broken.into_iter().enumerate() {
        fs::write(&folder.files()[0], content).unwrap();
        let caches = [folder.cache(&endpoint), folder.cache(&endpoint)];
        assert_eq!(tokens(&caches).await, vec![format!("t{}", n + 2); 2]);
    }
}

/// Promise: D2
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_a_killed_process_left_is_broken_open() {
    let endpoint = Endpoint::start(Duration::ZERO).await;
    let folder = Folder::new("lock");
    tokens(&[folder.cache(&endpoint)]).await;
    let lock = folder.files()[0].with_extension("lock");
    let left = fs::File::create(&lock).unwrap();
    // In the way of others it is passed over.
    assert_eq!(tokens(&[folder.cache(&endpoint)]).await, ["t2"]);
    left.set_modified(std::time::SystemTime::now() - SECOND * 10)
        .unwrap();
    assert_eq!(tokens(&[folder.cache(&endpoint)]).await, ["t1"]);
    assert!(!lock.exists());
}

#[tokio::test]
async fn a_store_that_cannot_work_is_an_error_when_it_is_made() {
    let keys = || SealingKeys::new(KEY);
    for (error, expected) in [
        (
            SharedStore::redis("localhost", keys()).unwrap_err(),
            "redis",
        ),
        (
            SharedStore::redis("redis://a,b", keys()).unwrap_err(),
            "redis_cluster",
        ),
        (
            SharedStore::redis_sentinel("redis://mymaster", "rediss://s", keys()).unwrap_err(),
            "install_default",
        ),
        (
            SharedStore::redis("redis://127.0.0.1", SealingKeys::new("secret")).unwrap_err(),
            "openssl rand -base64 32",
        ),
        (
            SharedStore::redis("redis://127.0.0.1", keys().and_open_with("old")).unwrap_err(),
            "openssl rand -base64 32",
        ),
        (
            SharedStore::redis("rediss://127.0.0.1", keys()).unwrap_err(),
            "install_default",
        ),
        (
            SharedStore::folder("/dev/null/tokens", keys()).unwrap_err(),
            "/dev/null/tokens",
        ),
    ] {
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn debug_shows_neither_the_password_of_redis_nor_a_key() {
    let url = "redis://user:hunter2-hunter2@127.0.0.1:6379";
    let store = SharedStore::redis(url, SealingKeys::new(KEY)).unwrap();
    let layer = SharedLayer::new(Identity::named("mine"), store);
    let shown = format!("{layer:?} {:?}", SealingKeys::new(KEY));
    assert!(shown.contains("127.0.0.1:6379"), "{shown}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("AAAA"),
        "{shown}"
    );
}

/// A temporary folder, removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("tower-bearer-fleet-{}-{name}", std::process::id());
        Self(env::temp_dir().join(name))
    }

    fn cache(&self, endpoint: &Endpoint) -> TokenCache {
        let credentials = ClientCredentials::builder(&endpoint.url, "my-client", "my-secret");
        let credentials = credentials.build().unwrap();
        let store = SharedStore::folder(&self.0, SealingKeys::new(KEY)).unwrap();
        TokenCache::new(SharedLayer::new(&credentials, store).layer(credentials))
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(&self.0).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
