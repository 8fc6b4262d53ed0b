//! F3: what runs for a cache, and that none of it outlives the cache. A runtime counts its tasks.
//!
//! One task makes the token request under way, and nothing else runs. When the last handle to a cache is dropped, that task goes on
//! to the end of its token request, at its deadline at the latest, and takes the cache and its source with it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    future::pending,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{runtime::Handle, time::sleep};
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, ServiceExt};
use tower_bearer::{BearerAuthLayer, Token, TokenCache, cache::Keyed, token::TokenRequest};

use self::support::{Api, TokenEndpoint, answer, get, settle};

const SECOND: Duration = Duration::from_secs(1);

/// How long a token request may take, if nothing else is said.
const DEADLINE: Duration = Duration::from_secs(10);

/// Promise: F3
#[tokio::test(start_paused = true)]
async fn nothing_runs_until_a_token_is_asked_for() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    let layer = BearerAuthLayer::from_cache(cache.clone());
    let service = layer.layer(Api::accepting(["t1"]).service());
    let changes = cache.changes();
    let request = service.clone().oneshot(get("/"));
    sleep(SECOND * 3600).await;

    assert_eq!(alive_tasks(), 0);
    drop((changes, request, service, layer, cache));
    assert_eq!(endpoint.token_requests(), 0);
}

/// Promise: F3
#[tokio::test(start_paused = true)]
async fn a_cache_that_is_dropped_during_a_token_request_goes_with_its_source_when_that_ends() {
    for outcome in [true, false] {
        let (source, alive) = Held::new(SECOND, outcome);
        let cache = TokenCache::new(source);
        let layer = BearerAuthLayer::from_cache(cache.clone());
        let service = layer.layer(Api::accepting(["t"]).service());
        let mut request = task::spawn(service.clone().oneshot(get("/")));
        assert_pending!(request.poll());
        let changes = cache.changes();
        settle().await;

        drop((request, service, layer, cache, changes));
        settle().await;
        assert_eq!(alive_tasks(), 1, "the token request goes on alone");
        assert!(alive.upgrade().is_some());

        sleep(SECOND).await;
        settle().await;
        assert_eq!(alive_tasks(), 0);
        assert!(alive.upgrade().is_none());
    }
}

/// Promise: F3, F7
#[tokio::test(start_paused = true)]
async fn a_hanging_token_request_of_a_cache_that_is_gone_ends_at_its_deadline() {
    let (source, alive) = Held::new(Duration::MAX, true);
    let cache = TokenCache::new(source);
    let mut caller = task::spawn(cache.get());
    assert_pending!(caller.poll());
    settle().await;
    drop(caller);
    drop(cache);

    sleep(DEADLINE - SECOND / 1000).await;
    assert_eq!(alive_tasks(), 1);
    assert!(alive.upgrade().is_some());
    sleep(SECOND / 1000).await;
    settle().await;
    assert_eq!(alive_tasks(), 0);
    assert!(alive.upgrade().is_none());
}

/// Promise: F3
#[tokio::test(start_paused = true)]
async fn a_cache_that_is_dropped_between_token_requests_is_gone_at_once() {
    let (source, alive) = Held::new(Duration::ZERO, true);
    let cache = TokenCache::new(source);
    cache.get().await.unwrap();
    settle().await;
    assert_eq!(alive_tasks(), 0);
    drop(cache);
    assert!(alive.upgrade().is_none());
}

/// A refresh in the background is a task while it lasts. Nothing waits for the next one: the next use looks at the clock.
///
/// Promise: F3, L1
#[tokio::test(start_paused = true)]
async fn no_task_waits_from_one_refresh_to_the_next() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    cache.get().await.unwrap();
    for refresh in 2..10 {
        settle().await;
        assert_eq!(alive_tasks(), 0, "before refresh {refresh}");
        // Past 85 % of an hour, and short of the token's end.
        sleep(SECOND * 3200).await;
        assert_eq!(alive_tasks(), 0, "none is due by itself");

        for _ in 0..100 {
            cache.get().await.unwrap();
        }
        assert_eq!(alive_tasks(), 1);
        sleep(SECOND * 2).await;
        assert_eq!(endpoint.token_requests(), refresh);
    }

    sleep(SECOND * 3200).await;
    cache.get().await.unwrap();
    drop(cache);
    assert_eq!(alive_tasks(), 1, "a refresh under way");
    sleep(SECOND * 2).await;
    assert_eq!(alive_tasks(), 0);
}

/// Promise: F3, L3
#[tokio::test(start_paused = true)]
async fn no_task_waits_for_the_end_of_a_backoff() {
    let endpoint = TokenEndpoint::new(|_| async { answer(503, "") });
    let cache = TokenCache::new(endpoint.credentials());
    for _ in 0..10 {
        cache.get().await.unwrap_err();
        settle().await;
        assert_eq!(alive_tasks(), 0);
        sleep(SECOND * 60).await;
    }
    assert!(endpoint.token_requests() > 1);
}

/// Promise: F3, R1
#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_after_a_401_leaves_one_token_request_which_ends() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    let api = Api::accepting(["t2"]);
    let service = BearerAuthLayer::from_cache(cache.clone()).layer(api.service());
    cache.get().await.unwrap();

    let mut request = task::spawn(service.clone().oneshot(get("/")));
    assert_pending!(request.poll());
    settle().await;
    drop((request, service, cache));
    assert_eq!(api.tokens(), ["t1"]);
    assert_eq!(alive_tasks(), 1);

    sleep(SECOND).await;
    settle().await;
    assert_eq!(alive_tasks(), 0);
    assert_eq!(endpoint.token_requests(), 2);
}

/// The one task that a cache can be asked to have.
///
/// Promise: F3
#[tokio::test(start_paused = true)]
async fn keeping_warm_ends_with_the_token_request_that_the_last_handle_left_behind() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    cache.keep_warm().unwrap();
    settle().await;
    assert_eq!(endpoint.token_requests(), 1);
    assert_eq!(alive_tasks(), 2, "the keeper, and the token request");
    drop(cache);

    sleep(SECOND).await;
    settle().await;
    assert_eq!(alive_tasks(), 0);
    sleep(SECOND * 7200).await;
    assert_eq!(endpoint.token_requests(), 1, "nobody goes on");
}

/// Promise: F3
#[tokio::test(start_paused = true)]
async fn a_panic_leaves_no_task_and_no_source() {
    let alive = {
        let (source, alive) = Held::new(SECOND, true);
        let cache = TokenCache::new(source.map_response(|_| panic!("in the source")));
        cache.get().await.unwrap_err();
        alive
    };
    settle().await;
    assert_eq!(alive_tasks(), 0);
    assert!(alive.upgrade().is_none());
}

/// Promise: F3
#[tokio::test(start_paused = true)]
async fn a_thousand_idle_credentials_have_no_task_and_are_gone_with_their_map() {
    const KEYS: usize = 1000;
    let all = Arc::new(());
    let counted = Arc::downgrade(&all);
    let keyed = Keyed::new(move |_: &usize| {
        let (all, delay) = (Arc::clone(&all), SECOND);
        TokenCache::new(Held {
            _alive: all,
            delay,
            gives: true,
        })
    });
    let ask = |key: usize| {
        let mut call = task::spawn({
            let keyed = keyed.clone();
            async move { keyed.get(&key).get().await }
        });
        assert_pending!(call.poll());
        call
    };

    let calls: Vec<_> = (0..KEYS).map(ask).collect();
    settle().await;
    assert_eq!(alive_tasks(), KEYS, "a token request each");
    sleep(SECOND * 2).await;
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(keyed.len(), KEYS);
    assert_eq!(alive_tasks(), 0);

    // Once more for half of them, and the map goes meanwhile.
    let refreshed: Vec<_> = (0..KEYS / 2)
        .map(|key| {
            let mut call = task::spawn({
                let cache = keyed.get(&key);
                async move { cache.refresh().await }
            });
            assert_pending!(call.poll());
            call
        })
        .collect();
    drop((refreshed, keyed));
    assert_eq!(alive_tasks(), KEYS / 2);
    assert_eq!(
        counted.strong_count(),
        KEYS / 2,
        "the idle ones are gone, and the map with what it makes them from"
    );
    sleep(SECOND * 2).await;
    assert_eq!(alive_tasks(), 0);
    assert_eq!(counted.strong_count(), 0);
}

/// Nor a connection of the transport that works out of the box, which would have a task.
///
/// Promise: F3
#[cfg(feature = "rustls")]
#[tokio::test]
async fn no_connection_to_the_token_endpoint_is_kept_for_the_next_token_request() {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut some = [0; 1024];
        // What the form ends with.
        while !request.ends_with(b"client_secret=secret") {
            let read = connection.read(&mut some).unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&request));
            request.extend_from_slice(&some[..read]);
        }
        let body = r#"{"access_token":"t1","token_type":"bearer","expires_in":3600}"#;
        let length = body.len();
        write!(
            connection,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        connection.read(&mut some).unwrap()
    });

    let source = tower_bearer::ClientCredentials::builder(url, "id", "secret")
        .build()
        .unwrap();
    let cache = TokenCache::new(source);
    cache.get().await.unwrap();

    let over = async {
        while alive_tasks() > 0 || !server.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(SECOND * 20, over).await.unwrap();
    assert_eq!(server.join().unwrap(), 0, "the client has hung up");
    drop(cache);
}

/// A source that tells whether it is still there.
struct Held {
    _alive: Arc<()>,
    delay: Duration,
    gives: bool,
}

impl Held {
    /// Gives a token, or an error, after `delay`; for [`Duration::MAX`], never.
    fn new(delay: Duration, gives: bool) -> (Self, Weak<()>) {
        let here = Arc::new(());
        let alive = Arc::downgrade(&here);
        let source = Self {
            _alive: here,
            delay,
            gives,
        };
        (source, alive)
    }
}

impl Service<TokenRequest> for Held {
    type Response = Token;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Token, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: TokenRequest) -> Self::Future {
        let (delay, gives) = (self.delay, self.gives);
        Box::pin(async move {
            match delay {
                Duration::MAX => pending().await,
                _ => sleep(delay).await,
            }
            if gives {
                Ok(Token::new("t").unwrap())
            } else {
                Err(std::io::Error::other("none to be had"))
            }
        })
    }
}

fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}
