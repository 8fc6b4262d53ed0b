//! The layer over a store in memory, in paused time. Each process is a cache with a layer and a breaker of its own.

use std::{
    convert::Infallible,
    future::pending,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use tokio::{
    sync::Barrier,
    task::JoinSet,
    time::{Instant, advance, sleep, timeout},
};
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Identity, SealingKeys, SharedLayer, SharedStore,
    memory::{Health, KEY, Memory, NEXT_KEY},
};
use crate::{
    cache::{Route, TokenCache},
    client_credentials::ClientCredentials,
    error::{Error, ErrorKind},
    token::{Reason, Token, TokenRequest, challenge::Challenges},
    util::clock::set_wall,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

type Answer = Pin<Box<dyn Future<Output = Result<Token, Error>> + Send>>;

/// A token endpoint that counts, and answers the n-th token request (from 1) as it is told to.
#[derive(Clone)]
struct Endpoint {
    answer: Arc<dyn Fn(usize) -> Answer + Send + Sync>,
    token_requests: Arc<Mutex<usize>>,
}

impl Endpoint {
    fn new<F>(answer: impl Fn(usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Token, Error>> + Send + 'static,
    {
        Self {
            answer: Arc::new(move |n| Box::pin(answer(n))),
            token_requests: Arc::default(),
        }
    }

    /// Gives `t1`, `t2`, … after 100 ms.
    fn healthy(lifetime: Duration) -> Self {
        Self::new(move |n| async move {
            sleep(SECOND / 10).await;
            token(n, lifetime)
        })
    }

    fn token_requests(&self) -> usize {
        *self.token_requests.lock().unwrap()
    }

    fn source(&self) -> impl crate::token::TokenSource + use<> {
        let this = self.clone();
        service_fn(move |_: TokenRequest| {
            let n = {
                let mut count = this.token_requests.lock().unwrap();
                *count += 1;
                *count
            };
            (this.answer)(n)
        })
    }

    fn process(&self, store: SharedStore) -> TokenCache {
        TokenCache::new(SharedLayer::new(Identity::named("client"), store).layer(self.source()))
    }

    fn processes(&self, count: usize, memory: &Memory) -> Vec<TokenCache> {
        let process = |_| self.process(memory.store());
        (0..count).map(process).collect()
    }
}

fn token(n: usize, lifetime: Duration) -> Result<Token, Error> {
    Ok(Token::new(format!("t{n}"))?.with_lifetime(lifetime))
}

fn denied() -> Error {
    let status = StatusCode::UNAUTHORIZED;
    Error::answered(status, "wrong secret".into(), Some("invalid_client"), None)
}

fn unavailable() -> Error {
    Error::answered(StatusCode::SERVICE_UNAVAILABLE, "503".into(), None, None)
}

/// What each process gets, all at once.
async fn all(processes: &[TokenCache]) -> Vec<Result<String, Error>> {
    let mut tasks = JoinSet::new();
    for (index, cache) in processes.iter().cloned().enumerate() {
        tasks.spawn(async move { (index, cache.get().await) });
    }
    let mut results = tasks.join_all().await;
    results.sort_by_key(|(index, _)| *index);
    let text = |token: Token| token.expose_secret().to_owned();
    results
        .into_iter()
        .map(|(_, result)| result.map(text))
        .collect()
}

async fn tokens(processes: &[TokenCache]) -> Vec<String> {
    all(processes)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

/// Promise: D1
#[tokio::test(start_paused = true)]
async fn fifty_cold_processes_make_one_token_request() {
    let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
    let processes = endpoint.processes(50, &memory);
    let started = Instant::now();
    assert_eq!(tokens(&processes).await, vec!["t1"; 50]);
    assert_eq!(endpoint.token_requests(), 1);
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_later_takes_what_is_left_of_the_token() {
    let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
    tokens(&endpoint.processes(1, &memory)).await;
    advance(HOUR / 2).await;
    let late = endpoint.process(memory.store());
    let token = late.get().await.unwrap();
    let left = token.lifetime().unwrap();
    assert!(left <= HOUR / 2 && left > HOUR / 2 - SECOND, "{left:?}");
    // In its last stretch it is of no use to one who starts.
    advance(HOUR / 2 - SECOND * 20).await;
    tokens(&endpoint.processes(5, &memory)).await;
    assert_eq!(endpoint.token_requests(), 2);
}

/// One round trip for the lease, one to store.
#[tokio::test(start_paused = true)]
async fn the_common_cold_case_is_one_round_trip_before_the_token_request() {
    let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
    tokens(&endpoint.processes(1, &memory)).await;
    assert_eq!(memory.operations(), 2);
    tokens(&endpoint.processes(1, &memory)).await;
    assert_eq!(memory.operations(), 3);
}

/// Promise: D1
#[tokio::test(start_paused = true)]
async fn if_the_holder_dies_another_requests_after_the_lease_and_all_are_served() {
    let memory = Memory::new();
    let endpoint = Endpoint::new(|n| async move {
        match n {
            1 => pending().await,
            _ => token(n, HOUR),
        }
    });
    let dies = endpoint.process(memory.store());
    let layer = SharedLayer::new(Identity::named("client"), memory.store());
    let dying = layer
        .layer(endpoint.source())
        .oneshot(TokenRequest::new(Reason::Cold));
    assert!(timeout(SECOND * 3, dying).await.is_err());
    drop(dies);
    let started = Instant::now();
    assert_eq!(
        tokens(&endpoint.processes(20, &memory)).await,
        vec!["t2"; 20]
    );
    assert_eq!(endpoint.token_requests(), 2);
    let waited = started.elapsed();
    assert!(SECOND < waited && waited < SECOND * 3, "{waited:?}");
}

/// The lease is renewed.
///
/// Promise: D1
#[tokio::test(start_paused = true)]
async fn a_slow_token_request_keeps_its_lease() {
    let memory = Memory::new();
    let endpoint = Endpoint::new(|n| async move {
        sleep(SECOND * 4).await;
        token(n, HOUR)
    });
    assert_eq!(
        tokens(&endpoint.processes(20, &memory)).await,
        vec!["t1"; 20]
    );
    assert_eq!(endpoint.token_requests(), 1);
}

/// Promise: D2
#[tokio::test(start_paused = true)]
async fn those_whose_patience_ends_request_for_themselves() {
    let memory = Memory::new();
    let endpoint = Endpoint::new(|n| async move {
        match n {
            1 => pending().await,
            _ => token(n, HOUR),
        }
    });
    let results = all(&endpoint.processes(3, &memory)).await;
    let (served, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(served.len(), 2);
    // The one whose own token request hangs.
    assert_eq!(failed[0].as_ref().unwrap_err().kind(), ErrorKind::Timeout);
}

/// Promise: D2
#[tokio::test(start_paused = true)]
async fn no_trouble_of_the_store_is_one_of_the_caller() {
    for health in [
        Health::Down,
        Health::Hangs,
        Health::Panics,
        Health::Confused,
    ] {
        let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
        memory.be(health);
        let started = Instant::now();
        let processes = endpoint.processes(5, &memory);
        assert_eq!(tokens(&processes).await.len(), 5);
        assert_eq!(endpoint.token_requests(), 5, "{health:?}");
        assert!(started.elapsed() < SECOND, "{health:?}");
    }
}

/// Promise: D2
#[tokio::test(start_paused = true)]
async fn a_dead_store_costs_its_timeout_once() {
    let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
    memory.be(Health::Hangs);
    let cache = endpoint.process(memory.store());
    cache.get().await.unwrap();
    let started = Instant::now();
    cache.refresh().await.unwrap();
    assert_eq!(started.elapsed(), SECOND / 10);
    assert_eq!(memory.operations(), 1);
    // And it is found again once it is back.
    memory.be(Health::Well);
    advance(SECOND * 2).await;
    cache.refresh().await.unwrap();
    assert_eq!(memory.operations(), 3);
}

/// With the times of the store alone it would wait for 10 s, and then for others for 100 s.
///
/// Promise: D2
#[tokio::test(start_paused = true)]
async fn a_store_that_may_take_longer_than_the_cache_waits_leaves_time_for_a_token_request() {
    let process = |endpoint: &Endpoint, memory: &Memory| {
        let store = memory.store().timeout(SECOND * 10);
        let layer = SharedLayer::new(Identity::named("client"), store);
        let cache = TokenCache::builder(layer.layer(endpoint.source()));
        cache.token_request_timeout(SECOND * 2).build().unwrap()
    };
    let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
    memory.be(Health::Hangs);
    let started = Instant::now();
    assert_eq!(tokens(&[process(&endpoint, &memory)]).await, ["t1"]);
    assert_eq!(started.elapsed(), SECOND / 10 + SECOND / 10);

    let endpoint = Endpoint::new(|n| async move {
        match n {
            1 => pending().await,
            _ => token(n, HOUR),
        }
    });
    let (memory, started) = (Memory::new(), Instant::now());
    let hangs = tokio::spawn({
        let cache = process(&endpoint, &memory);
        async move { cache.get().await }
    });
    sleep(SECOND / 10).await;
    assert_eq!(tokens(&[process(&endpoint, &memory)]).await, ["t2"]);
    assert!(started.elapsed() < SECOND * 2, "{:?}", started.elapsed());
    assert!(hangs.await.unwrap().is_err());
}

/// Promise: D2
#[tokio::test(start_paused = true)]
async fn a_store_that_dies_during_the_token_request_costs_its_timeout_and_no_token() {
    let memory = Memory::new();
    let dies = memory.clone();
    let endpoint = Endpoint::new(move |n| {
        dies.be(Health::Hangs);
        async move { token(n, HOUR) }
    });
    let started = Instant::now();
    assert_eq!(tokens(&endpoint.processes(1, &memory)).await, ["t1"]);
    assert!(started.elapsed() < SECOND);
}

/// The token comes with 50 ms left. To store it may take 100 ms.
///
/// Promise: D2
#[tokio::test(start_paused = true)]
async fn a_token_that_comes_late_is_not_lost_to_a_store_that_hangs() {
    let memory = Memory::new();
    let dies = memory.clone();
    let endpoint = Endpoint::new(move |n| {
        let dies = dies.clone();
        async move {
            sleep(SECOND * 195 / 100).await;
            dies.be(Health::Hangs);
            token(n, HOUR)
        }
    });
    let layer = SharedLayer::new(Identity::named("client"), memory.store());
    let cache = TokenCache::builder(layer.layer(endpoint.source()));
    let cache = cache.token_request_timeout(SECOND * 2).build().unwrap();
    assert_eq!(tokens(&[cache]).await, ["t1"]);
    assert_eq!(endpoint.token_requests(), 1);
}

/// Promise: D2
#[tokio::test(start_paused = true)]
async fn a_foreign_entry_is_a_miss_that_heals() {
    let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
    tokens(&endpoint.processes(1, &memory)).await;
    memory.shelves(|shelves| {
        for shelf in shelves.values_mut() {
            let sealed = &mut shelf.value.as_mut().unwrap().sealed;
            *sealed = b"something else".to_vec();
        }
    });
    assert_eq!(tokens(&endpoint.processes(5, &memory)).await, ["t2"; 5]);
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: D3
#[tokio::test(start_paused = true)]
async fn a_warm_request_asks_no_store() {
    let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
    let cache = endpoint.process(memory.store());
    cache.get().await.unwrap();
    let operations = memory.operations();
    for _ in 0..1000 {
        cache.get().await.unwrap();
        advance(SECOND).await;
    }
    assert_eq!(memory.operations(), operations);
}

/// Promise: D4
#[tokio::test(start_paused = true)]
async fn a_token_that_is_rejected_everywhere_is_replaced_once() {
    let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
    let together = Arc::new(Barrier::new(20));
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let layer = SharedLayer::new(Identity::named("client"), memory.store());
        let mut source = layer.layer(endpoint.source());
        let together = Arc::clone(&together);
        tasks.spawn(async move {
            let request = TokenRequest::new(Reason::Cold);
            let first = source.ready().await?.call(request).await?;
            together.wait().await;
            let request = TokenRequest::new(Reason::Rejected).with_current_token(first);
            let second = source.ready().await?.call(request).await?;
            Ok::<_, Error>(second.expose_secret().to_owned())
        });
    }
    for token in tasks.join_all().await {
        assert_eq!(token.unwrap(), "t2");
    }
    assert_eq!(endpoint.token_requests(), 2);
}

/// As by a source that is made anew for each token request.
///
/// Promise: D4
#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_not_given_again_by_a_layer_that_never_gave_it() {
    let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
    tokens(&endpoint.processes(1, &memory)).await;
    let rejected = token(1, HOUR).unwrap();
    let request = TokenRequest::new(Reason::Rejected).with_current_token(rejected);
    let layer = SharedLayer::new(Identity::named("client"), memory.store());
    let token = layer.layer(endpoint.source()).oneshot(request);
    assert_eq!(token.await.unwrap().expose_secret(), "t2");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_invalidated_does_not_come_back() {
    let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
    let cache = endpoint.process(memory.store());
    let first = cache.get().await.unwrap();
    cache.invalidate(&first);
    assert!(!cache.get().await.unwrap().is_same_credential(&first));
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: D4
#[tokio::test(start_paused = true)]
async fn a_refresh_is_made_by_one_and_picked_up_by_the_others() {
    let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
    let processes = endpoint.processes(20, &memory);
    tokens(&processes).await;
    for minute in 1..=120 {
        advance(SECOND * 60).await;
        tokens(&processes).await;
        // Those whose refresh is under way.
        sleep(SECOND).await;
        let used = tokens(&processes).await;
        let mut different = used.clone();
        different.sort_unstable();
        different.dedup();
        assert!(different.len() <= 2, "{minute}: {used:?}");
    }
    let token_requests = endpoint.token_requests();
    assert!((3..=4).contains(&token_requests), "{token_requests}");
}

/// As long as it repeats a token, one asks it for all.
#[tokio::test(start_paused = true)]
async fn a_server_that_repeats_its_token_is_asked_by_one_for_all() {
    let memory = Memory::new();
    let started = Instant::now();
    let endpoint = Endpoint::new(move |_| async move { token(0, HOUR - started.elapsed()) });
    let processes = endpoint.processes(20, &memory);
    tokens(&processes).await;
    advance(HOUR * 86 / 100).await;
    tokens(&processes).await;
    sleep(SECOND).await;
    assert_eq!(endpoint.token_requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_of_the_store_nobody_goes_back_to_an_older_token() {
    let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
    tokens(&endpoint.processes(1, &memory)).await;
    advance(HOUR / 2).await;
    memory.be(Health::Down);
    let cache = endpoint.process(memory.store());
    cache.get().await.unwrap();
    memory.be(Health::Well);
    advance(SECOND * 60).await;
    let refreshed = cache.refresh().await.unwrap();
    assert_eq!(refreshed.expose_secret(), "t3");
    assert_eq!(tokens(&endpoint.processes(3, &memory)).await, ["t3"; 3]);
}

/// Promise: D5
#[tokio::test(start_paused = true)]
async fn keys_are_rotated_without_a_token_request() {
    let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
    let steps = [
        SealingKeys::new(KEY),
        SealingKeys::new(KEY).and_open_with(NEXT_KEY),
        SealingKeys::new(NEXT_KEY).and_open_with(KEY),
    ];
    for keys in &steps {
        let process = endpoint.process(memory.store_with(keys.clone()));
        assert_eq!(tokens(&[process]).await, ["t1"]);
    }
    // A refresh by each of them, while both are in use, is found by the other.
    for (number, keys) in ["t2", "t3"].into_iter().zip(&steps[1..]) {
        let process = endpoint.process(memory.store_with(keys.clone()));
        process.get().await.unwrap();
        process.refresh().await.unwrap();
        for keys in &steps[1..] {
            let process = endpoint.process(memory.store_with(keys.clone()));
            assert_eq!(tokens(&[process]).await, [number]);
        }
    }
    let last = endpoint.process(memory.store_with(SealingKeys::new(NEXT_KEY)));
    assert_eq!(tokens(&[last]).await, ["t3"]);
}

/// Promise: D5
#[tokio::test(start_paused = true)]
async fn neither_names_nor_values_show_the_token_or_whose_it_is() {
    // Random bytes do not show it by chance.
    const LONG_TOKEN: &str = "ory_at_4jSH-long-enough";
    let memory = Memory::new();
    let endpoint = Endpoint::new(|_| async { Token::new(LONG_TOKEN) });
    tokens(&endpoint.processes(1, &memory)).await;
    memory.shelves(|shelves| {
        let (name, shelf) = shelves.iter().next().unwrap();
        let value = shelf.value.as_ref().unwrap();
        for hidden in [LONG_TOKEN, "client"] {
            assert!(!name.contains(hidden));
            let sealed = &value.sealed;
            assert!(
                !sealed
                    .windows(hidden.len())
                    .any(|part| part == hidden.as_bytes())
            );
        }
    });
}

/// Promise: D6
#[tokio::test(start_paused = true)]
async fn a_processs_own_clock_neither_lengthens_nor_shortens_a_life() {
    const DAY: i64 = 24 * 60 * 60;
    for skew in [-DAY, 0, DAY] {
        set_wall(0);
        let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
        tokens(&endpoint.processes(1, &memory)).await;
        advance(HOUR / 2).await;
        set_wall(skew);
        let late = endpoint.process(memory.store());
        let left = late.get().await.unwrap().lifetime().unwrap();
        assert!(left <= HOUR / 2 && left > HOUR / 2 - SECOND, "{left:?}");
        assert_eq!(endpoint.token_requests(), 1);
    }
    set_wall(0);
}

/// Promise: D6
#[tokio::test(start_paused = true)]
async fn a_store_whose_clock_is_set_back_lengthens_no_life() {
    let (memory, endpoint) = (Memory::new(), Endpoint::healthy(HOUR));
    tokens(&endpoint.processes(1, &memory)).await;
    advance(HOUR / 2).await;
    // A failover to a server whose clock is behind.
    memory.shift(-40 * 60 * 1000);
    let processes = endpoint.processes(5, &memory);
    assert_eq!(tokens(&processes).await, ["t2"; 5]);
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: D7
#[tokio::test(start_paused = true)]
async fn two_hundred_processes_with_a_wrong_secret_make_few_token_requests_in_an_hour() {
    let memory = Memory::new();
    let endpoint = Endpoint::new(|_| async {
        sleep(SECOND / 10).await;
        Err(denied())
    });
    let processes = endpoint.processes(200, &memory);
    for second in (0..3600).step_by(10) {
        for result in all(&processes).await {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied);
            assert_eq!(error.oauth_code(), Some("invalid_client"), "{second}");
        }
        if second == 0 {
            assert_eq!(endpoint.token_requests(), 1);
        }
        advance(SECOND * 10).await;
    }
    // A failure is told for 30 s: ten in the longest step of the backoff, 5 minutes.
    let token_requests = endpoint.token_requests();
    assert!((12..=121).contains(&token_requests), "{token_requests}");
}

/// Without a store the second attempt is made by the process itself.
///
/// Promise: F15
#[tokio::test(start_paused = true)]
async fn a_failure_that_passes_is_tried_once_more_before_the_fleet_is_told() {
    let memory = Memory::new();
    let endpoint = Endpoint::new(|n| async move {
        sleep(SECOND / 100).await;
        match n {
            1 => Err(unavailable()),
            _ => token(n, HOUR),
        }
    });
    assert_eq!(tokens(&endpoint.processes(20, &memory)).await, ["t2"; 20]);
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: D7
#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_told_to_all_who_wait() {
    let memory = Memory::new();
    let endpoint = Endpoint::new(|_| async {
        sleep(SECOND / 10).await;
        Err(unavailable())
    });
    let started = Instant::now();
    for result in all(&endpoint.processes(100, &memory)).await {
        let error = result.unwrap_err();
        assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert!(error.is_transient());
    }
    assert!(started.elapsed() < SECOND * 2, "{:?}", started.elapsed());
    let token_requests = endpoint.token_requests();
    assert!(token_requests <= 4, "{token_requests}");
}

#[tokio::test(start_paused = true)]
async fn a_short_token_lasts_for_those_who_waited_long_for_it() {
    let memory = Memory::new();
    let endpoint = Endpoint::new(|n| async move {
        sleep(SECOND * 4).await;
        token(n, SECOND * 6)
    });
    // Counted from when each of them came, 4 s ago, 2 s would be left; counted twice, none.
    assert_eq!(tokens(&endpoint.processes(10, &memory)).await, ["t1"; 10]);
    assert_eq!(endpoint.token_requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_that_is_known_of_a_token_is_shared() {
    let memory = Memory::new();
    let endpoint = Endpoint::new(|n| async move {
        let token = token(n, HOUR)?.with_scopes(["a", "b"]);
        Ok(token
            .with_extra("instance_url", "https://i")
            .with_refresh_in(HOUR / 2))
    });
    tokens(&endpoint.processes(1, &memory)).await;
    let token = endpoint.process(memory.store()).get().await.unwrap();
    assert_eq!(token.scopes().unwrap().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(token.extra("instance_url"), Some("https://i"));
    assert!(token.refresh_in().unwrap() <= HOUR / 2);
    assert_eq!(endpoint.token_requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_unknown_life_is_shared_for_five_minutes() {
    let memory = Memory::new();
    let endpoint = Endpoint::new(|n| async move { Token::new(format!("t{n}")) });
    tokens(&endpoint.processes(1, &memory)).await;
    advance(SECOND * 240).await;
    let token = endpoint.process(memory.store()).get().await.unwrap();
    assert!(token.lifetime().unwrap() <= SECOND * 60);
    assert_eq!(endpoint.token_requests(), 1);
}

/// What the source is told is what the cache asked.
#[tokio::test(start_paused = true)]
async fn a_source_below_is_told_the_reason() {
    let memory = Memory::new();
    let asked: Arc<Mutex<Vec<Reason>>> = Arc::default();
    let told = Arc::clone(&asked);
    let source = service_fn(move |request: TokenRequest| {
        told.lock().unwrap().push(request.reason());
        async { Ok::<_, Error>(Token::new("t")?.with_lifetime(HOUR)) }
    });
    let layer = SharedLayer::new(Identity::named("client"), memory.store());
    let cache = TokenCache::new(layer.layer(source));
    cache.get().await.unwrap();
    cache.refresh().await.unwrap();
    assert_eq!(*asked.lock().unwrap(), [Reason::Cold, Reason::Refresh]);
}

/// A token out of the store may have been requested without the scopes that were added here: it is not taken for one that has
/// them.
///
/// Promise: R1
#[tokio::test(start_paused = true)]
async fn a_token_of_another_process_steps_up_too() {
    let memory = Memory::new();
    let asked = Arc::<Mutex<Vec<bool>>>::default();
    let process = || {
        let asked = Arc::clone(&asked);
        let transport = service_fn(move |request: http::Request<Full<Bytes>>| {
            let asked = Arc::clone(&asked);
            async move {
                let form = request.into_body().collect().await?.to_bytes();
                let mut asked = asked.lock().unwrap();
                asked.push(form.windows(5).any(|text| text == b"write"));
                let token = format!(r#"{{"access_token":"t{}","expires_in":3600}}"#, asked.len());
                Ok::<_, Infallible>(http::Response::new(token))
            }
        });
        let credentials = ClientCredentials::builder("https://auth.test/token", "id", "secret")
            .scope("read")
            .step_up_scopes(["write"])
            .build_with(transport)
            .unwrap();
        let layer = SharedLayer::new(&credentials, memory.store());
        TokenCache::new(layer.layer(credentials))
    };
    // What a layer does for an API that wants it: whether the token that it gets in the end has it.
    let call = async |cache: &TokenCache| {
        let has_it = |token: &Token| {
            let number: usize = token.expose_secret()[1..].parse().unwrap();
            asked.lock().unwrap()[number - 1]
        };
        let token = cache.get().await.unwrap();
        let challenge = r#"Bearer error="insufficient_scope", scope="write""#;
        let challenges: Challenges = [challenge.parse().unwrap()].into_iter().collect();
        if has_it(&token) || !cache.challenged(token.generation(), &challenges) {
            return has_it(&token);
        }
        let another = cache.rejected(token.generation(), Route::UNSEEN, &challenges);
        has_it(&another.await.unwrap().unwrap().token)
    };
    let (one, two) = (process(), process());
    one.get().await.unwrap();
    assert!(call(&two).await);
    assert_eq!(*asked.lock().unwrap(), [false, true]);

    // The one learns nothing of it, and its next token request brings all of them a token that has less.
    one.refresh().await.unwrap();
    one.refresh().await.unwrap();
    two.refresh().await.unwrap();
    assert_eq!(*asked.lock().unwrap(), [false, true, false]);
    // Within the cool-down of the first time it would not.
    sleep(SECOND).await;
    assert!(call(&two).await);
    assert_eq!(*asked.lock().unwrap(), [false, true, false, true]);
}

/// Promise: D8
#[tokio::test(start_paused = true)]
async fn a_client_that_may_step_up_shares_no_token_with_one_that_may_not() {
    let digest = async |scopes: &[&str]| {
        let transport = service_fn(async |_: http::Request<Full<Bytes>>| {
            Ok::<_, Infallible>(http::Response::new(String::new()))
        });
        let credentials = ClientCredentials::builder("https://auth.test/token", "id", "secret")
            .step_up_scopes(scopes.iter().copied())
            .build_with(transport)
            .unwrap();
        Identity::from(&credentials).digest().await.unwrap()
    };
    assert!(digest(&[]).await != digest(&["write"]).await);
    assert!(digest(&["a", "b"]).await == digest(&["b", "a"]).await);
}
