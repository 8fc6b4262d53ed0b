//! Many credentials behind one layer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    cell::RefCell,
    collections::HashMap,
    convert::Infallible,
    hash::{Hash, Hasher},
    io,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, Error, ErrorKind, Token, TokenCache,
    cache::Keyed,
    extension::NoToken,
    select::{ByExtension, Origins, RequestHead},
    token::{FixedToken, Lookup, TokenRequest},
};

use self::support::{TokenEndpoint, lock, settle, token};

const SECOND: Duration = Duration::from_secs(1);

/// The tenant of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Tenant(u32);

/// Promise: K1
#[tokio::test(start_paused = true)]
async fn a_million_interleaved_requests_of_a_thousand_tenants_each_carry_their_own_tenants_token() {
    const TENANTS: u32 = 1000;
    let token_requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&token_requests);
    let keyed = Keyed::new(move |tenant: &Tenant| {
        let (tenant, counted) = (*tenant, Arc::clone(&counted));
        TokenCache::new(service_fn(move |_: TokenRequest| {
            counted.fetch_add(1, SeqCst);
            async move { tagged(tenant) }
        }))
    });
    let seen = Arc::new(AtomicUsize::new(0));
    let mut service =
        BearerAuthLayer::keyed(keyed, ByExtension::<Tenant>::new()).layer(checking(&seen));
    for request in 0..1_000_000_u32 {
        // Every tenant meets every other: a step that shares no divisor with their number, and another one each round.
        let tenant = (request * 7 + request / TENANTS) % TENANTS;
        let mut call = tokio_test::task::spawn(service.call(for_tenant(tenant)));
        if call.poll().is_pending() {
            // The first of its tenant, which waits for the token request.
            call.await.unwrap();
        }
    }
    assert_eq!(seen.load(SeqCst), 1_000_000);
    assert_eq!(token_requests.load(SeqCst), TENANTS as usize);
}

/// Promise: K2
#[tokio::test(start_paused = true)]
async fn a_key_that_hangs_and_one_that_fails_delay_no_other() {
    let keyed = Keyed::new(|tenant: &Tenant| {
        let tenant = *tenant;
        TokenCache::new(service_fn(move |_: TokenRequest| async move {
            match tenant {
                Tenant(0) => std::future::pending().await,
                Tenant(1) => Err(io::Error::other("no such company").into()),
                other => tagged(other).map_err(BoxError::from),
            }
        }))
    });
    let seen = Arc::new(AtomicUsize::new(0));
    let service =
        BearerAuthLayer::keyed(keyed, ByExtension::<Tenant>::new()).layer(checking(&seen));
    let hanging = tokio::spawn(service.clone().oneshot(for_tenant(0)));
    settle().await;

    let started = Instant::now();
    for tenant in 2..100 {
        service.clone().oneshot(for_tenant(tenant)).await.unwrap();
    }
    let failed = service.clone().oneshot(for_tenant(1)).await.unwrap_err();
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(seen.load(SeqCst), 98);
    let failed = failed.downcast::<Error>().unwrap();
    assert_eq!(failed.kind(), ErrorKind::Source);
    let hung = hanging.await.unwrap().unwrap_err();
    assert_eq!(hung.downcast::<Error>().unwrap().kind(), ErrorKind::Timeout);
}

/// Promise: K2, F1
#[tokio::test(start_paused = true)]
async fn a_crowd_for_a_new_key_makes_one_cache_and_one_token_request() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let made = Arc::new(AtomicUsize::new(0));
    let (counted, source) = (Arc::clone(&made), endpoint.clone());
    let keyed = Keyed::new(move |_: &Tenant| {
        counted.fetch_add(1, SeqCst);
        TokenCache::new(source.credentials())
    });
    let crowd: Vec<_> = (0..1000)
        .map(|_| {
            let keyed = keyed.clone();
            tokio::spawn(async move { keyed.get(&Tenant(7)).get().await.unwrap() })
        })
        .collect();
    for caller in crowd {
        assert_eq!(header(&caller.await.unwrap()), "Bearer t1");
    }
    assert_eq!((made.load(SeqCst), endpoint.token_requests()), (1, 1));
}

/// Threads that look at one moment, find nothing, and then make: all but one of them must wait for what that one makes.
///
/// Promise: K2, F1
#[test]
fn threads_that_ask_for_a_new_key_at_once_share_one_cache() {
    const THREADS: usize = 8;
    for _ in 0..20 {
        let made = Arc::new(AtomicUsize::new(0));
        let asking = Arc::new(AtomicUsize::new(0));
        let (counted, arrived) = (Arc::clone(&made), Arc::clone(&asking));
        let keyed = Keyed::new(move |_: &Tenant| {
            counted.fetch_add(1, SeqCst);
            // The first one makes its cache once all the others are about to ask as well.
            while arrived.load(SeqCst) < THREADS {
                std::thread::yield_now();
            }
            TokenCache::new(service_fn(|_: TokenRequest| async { Token::new("t") }))
        });
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (keyed, asking) = (keyed.clone(), Arc::clone(&asking));
                std::thread::spawn(move || {
                    asking.fetch_add(1, SeqCst);
                    keyed.get(&Tenant(7))
                })
            })
            .collect();
        let caches: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(made.load(SeqCst), 1);
        assert_eq!(keyed.len(), 1);
        assert_eq!(caches.len(), THREADS);
    }
}

/// Promise: K1
#[tokio::test(start_paused = true)]
async fn a_key_that_is_removed_is_forgotten_with_its_token_and_no_other_is() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let source = endpoint.clone();
    let keyed = Keyed::new(move |_: &Tenant| TokenCache::new(source.credentials()));
    let api = service_fn(|request: Request<Full<Bytes>>| async move {
        let token = support::bearer(request.headers()).unwrap();
        Ok::<_, Infallible>(support::answer(200, &token))
    });
    let service = BearerAuthLayer::keyed(keyed.clone(), ByExtension::<Tenant>::new()).layer(api);
    let token_of = async |tenant| {
        let response = service.clone().oneshot(for_tenant(tenant)).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    };
    assert_eq!(token_of(1).await, "t1");
    assert_eq!(token_of(2).await, "t2");
    assert!(!keyed.is_empty());

    let held = keyed.get(&Tenant(1));
    keyed.remove(&Tenant(1));
    assert_eq!(keyed.len(), 1);
    assert_eq!(endpoint.token_requests(), 2);
    assert_eq!(token_of(1).await, "t3");
    assert_eq!(token_of(2).await, "t2");
    // Who has it already may end with it.
    assert_eq!(header(&held.get().await.unwrap()), "Bearer t1");
    assert_eq!(endpoint.token_requests(), 3);
    // Of a key that is not there, nothing.
    keyed.remove(&Tenant(9));
    assert_eq!(keyed.len(), 2);
}

/// Promise: K3
#[tokio::test(start_paused = true)]
async fn the_map_is_bounded_and_a_key_that_was_given_up_comes_back_with_one_token_request() {
    let made = Arc::new(Mutex::new(Vec::new()));
    let counted = Arc::clone(&made);
    let keyed = Keyed::with_capacity(NonZeroUsize::new(100).unwrap(), move |tenant: &Tenant| {
        lock(&counted).push(*tenant);
        let tenant = *tenant;
        TokenCache::new(service_fn(
            move |_: TokenRequest| async move { tagged(tenant) },
        ))
    });
    for tenant in 0..10_000 {
        keyed.get(&Tenant(tenant)).get().await.unwrap();
        // It is kept in parts, each with its share.
        assert!(keyed.len() <= 128, "{}", keyed.len());
    }
    assert!(keyed.len() >= 64, "{}", keyed.len());
    assert_eq!(lock(&made).len(), 10_000);

    // Which ones are gone is the map's business.
    let back = (0..200).map(Tenant).find(|tenant| {
        keyed.get(tenant);
        lock(&made).len() > 10_000
    });
    let back = back.unwrap();
    for _ in 0..100 {
        let token = keyed.get(&back).get().await.unwrap();
        assert_eq!(header(&token), format!("Bearer tenant-{}", back.0));
    }
    assert_eq!(lock(&made).len(), 10_001);
}

/// Promise: K3
#[tokio::test(start_paused = true)]
async fn a_cache_that_is_in_use_stays_whatever_comes() {
    let made = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Semaphore::new(0));
    let (counted, opening) = (Arc::clone(&made), Arc::clone(&gate));
    let keyed = Keyed::with_capacity(NonZeroUsize::new(32).unwrap(), move |tenant: &Tenant| {
        counted.fetch_add(usize::from(tenant.0 == 0), SeqCst);
        let (tenant, gate) = (*tenant, Arc::clone(&opening));
        TokenCache::new(service_fn(move |_: TokenRequest| {
            let gate = Arc::clone(&gate);
            async move {
                if tenant.0 == 0 {
                    gate.acquire().await.unwrap().forget();
                }
                tagged(tenant)
            }
        }))
    });
    for tenant in 1..100 {
        keyed.get(&Tenant(tenant)).get().await.unwrap();
    }
    // The newest of a full map, and so the first to go.
    let first = keyed.clone();
    // It has its cache and has not been polled yet, so that nothing is under way.
    let newest = first.get(&Tenant(0));
    for tenant in 100..1000 {
        keyed.get(&Tenant(tenant)).get().await.unwrap();
    }
    let waiting = tokio::spawn(async move { newest.get().await.unwrap() });
    settle().await;
    for tenant in 100..1000 {
        keyed.get(&Tenant(tenant)).get().await.unwrap();
    }
    let joining = keyed.clone();
    let joined = tokio::spawn(async move { joining.get(&Tenant(0)).get().await.unwrap() });
    settle().await;
    gate.add_permits(1);
    let token = waiting.await.unwrap();
    assert_eq!(header(&token), header(&joined.await.unwrap()));
    assert_eq!(made.load(SeqCst), 1, "its flight was lost");
}

/// Promise: F10
#[tokio::test(start_paused = true)]
async fn a_cache_that_is_given_up_may_ask_the_map_while_it_goes() {
    struct Goodbye(Arc<Mutex<Option<Keyed<Tenant>>>>, Arc<AtomicUsize>);
    impl Drop for Goodbye {
        fn drop(&mut self) {
            if let Some(keyed) = lock(&self.0).clone() {
                // Would wait for itself if it were dropped under the map's lock.
                let _ = keyed.len();
                self.1.fetch_add(1, SeqCst);
            }
        }
    }
    let slot: Arc<Mutex<Option<Keyed<Tenant>>>> = Arc::default();
    let gone = Arc::new(AtomicUsize::new(0));
    let (into, counted) = (Arc::clone(&slot), Arc::clone(&gone));
    let keyed = Keyed::with_capacity(NonZeroUsize::new(32).unwrap(), move |tenant: &Tenant| {
        let (tenant, goodbye) = (*tenant, Goodbye(Arc::clone(&into), Arc::clone(&counted)));
        TokenCache::new(service_fn(move |_: TokenRequest| {
            let _ = &goodbye;
            async move { tagged(tenant) }
        }))
    });
    *lock(&slot) = Some(keyed.clone());
    for tenant in 0..100 {
        keyed.get(&Tenant(tenant)).get().await.unwrap();
    }
    assert!(gone.load(SeqCst) >= 50);
    *lock(&slot) = None;
}

/// Promise: K1
#[tokio::test(start_paused = true)]
async fn a_request_of_no_tenant_passes_untouched() {
    let keyed = Keyed::new(|_: &Tenant| -> TokenCache { panic!("nobody asked") });
    let untouched = service_fn(|request: Request<Full<Bytes>>| async move {
        assert!(!request.headers().contains_key(AUTHORIZATION));
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = BearerAuthLayer::keyed(keyed, ByExtension::<Tenant>::new()).layer(untouched);
    service.clone().oneshot(support::get("/")).await.unwrap();
    let mut request = for_tenant(1);
    request.extensions_mut().insert(NoToken);
    service.oneshot(request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_keys_and_their_caches_are_listed_and_none_is_made_for_it() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let source = endpoint.clone();
    let keyed = Keyed::new(move |_: &Tenant| TokenCache::new(source.credentials()));
    assert_eq!(keyed.iter().count(), 0);
    for tenant in 0..100 {
        keyed.get(&Tenant(tenant)).get().await.unwrap();
    }
    keyed.remove(&Tenant(7));
    let mut listed: Vec<u32> = keyed
        .iter()
        .inspect(|(_, cache)| assert!(cache.state().is_usable()))
        .map(|(Tenant(tenant), _)| tenant)
        .collect();
    listed.sort_unstable();
    let known: Vec<u32> = (0..100).filter(|tenant| *tenant != 7).collect();
    assert_eq!(listed, known);
    assert_eq!((keyed.len(), endpoint.token_requests()), (99, 100));
}

/// Promise: K1, S6
#[tokio::test(start_paused = true)]
async fn a_request_whose_key_is_not_in_a_fixed_map_is_not_sent() {
    let cache = |tenant| TokenCache::new(FixedToken::from(tagged(Tenant(tenant)).unwrap()));
    let caches = Arc::new(HashMap::from([1, 2].map(|it| (Tenant(it), cache(it)))));
    let seen = Arc::new(AtomicUsize::new(0));
    let layer = BearerAuthLayer::keyed(Arc::clone(&caches), ByExtension::<Tenant>::new());
    let limited = ServiceBuilder::new()
        .layer(layer)
        .concurrency_limit(1)
        .service(checking(&seen));
    for tenant in [1, 2, 1] {
        limited.clone().oneshot(for_tenant(tenant)).await.unwrap();
    }
    let mut limited = limited;
    let told = limited.ready().await.unwrap().call(for_tenant(3)).await;
    let error: Box<Error> = told.unwrap_err().downcast().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotAllowed);
    assert!(!error.is_transient());
    assert_eq!(seen.load(SeqCst), 3);
    // And it gave back what `poll_ready` reserved.
    timeout(SECOND, limited.clone().oneshot(for_tenant(2)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(caches.len(), 2);
}

/// A revocation of one tenant's tokens is no other's business.
///
/// Promise: K1, R1
#[tokio::test(start_paused = true)]
async fn a_rejection_token_requests_the_token_of_its_own_key_only() {
    let keyed = Keyed::new(|tenant: &String| {
        let tenant = tenant.clone();
        let token_requests = AtomicUsize::new(0);
        TokenCache::new(service_fn(move |_: TokenRequest| {
            let token_request = token_requests.fetch_add(1, SeqCst);
            let token = Token::new(format!("{tenant}-{token_request}"));
            async move { token }
        }))
    });
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tokens);
    let api = service_fn(move |request: Request<Full<Bytes>>| {
        let token = support::bearer(request.headers()).unwrap();
        let rejected = token == "a-0" && lock(&seen).contains(&"a-0".to_owned());
        lock(&seen).push(token);
        async move { Ok::<_, Infallible>(support::answer(if rejected { 401 } else { 200 }, "")) }
    });
    let select = Origins::new(["https://api.test"])
        .unwrap()
        .and(|request: &RequestHead<'_>| request.uri().path().split('/').nth(2).map(str::to_owned));
    let service = BearerAuthLayer::keyed(keyed, select).layer(api);
    for path in ["/v1/a", "/v1/b", "/v1/a/x", "/v1/b/x", "/v1/a"] {
        let response = service.clone().oneshot(support::get(path)).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(*lock(&tokens), ["a-0", "b-0", "a-0", "a-1", "b-0", "a-1"]);
}

/// Promise: L11
#[tokio::test(start_paused = true)]
async fn a_lookup_that_fails_is_backed_off_from_and_told_with_its_cause() {
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lookups);
    let cache = TokenCache::new(Lookup::new(move || {
        counted.fetch_add(1, SeqCst);
        async { Err::<tower_bearer::token::FixedToken, _>(BoxError::from("the vault is sealed")) }
    }));
    for _ in 0..100 {
        let error = cache.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source);
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        assert_eq!(cause.to_string(), "the vault is sealed");
    }
    assert_eq!(lookups.load(SeqCst), 1);
    sleep(2 * SECOND).await;
    cache.get().await.unwrap_err();
    assert_eq!(lookups.load(SeqCst), 2);
}

/// Promise: F7
#[tokio::test(start_paused = true)]
async fn a_lookup_that_hangs_is_ended_by_the_token_requests_deadline() {
    let cache = TokenCache::new(Lookup::new(
        std::future::pending::<Result<tower_bearer::token::FixedToken, BoxError>>,
    ));
    let error = timeout(11 * SECOND, cache.get())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_changed_at_the_lookup_is_used_by_the_next_token_request() {
    let endpoint = TokenEndpoint::new(|post| async move { token(&format!("t{post}"), 100) });
    let lookups = Arc::new(AtomicUsize::new(0));
    let (counted, source) = (Arc::clone(&lookups), endpoint.clone());
    let cache = TokenCache::new(Lookup::new(move || {
        counted.fetch_add(1, SeqCst);
        let credentials = source.credentials();
        async move { Ok(credentials) }
    }));
    cache.get().await.unwrap();
    sleep(100 * SECOND).await;
    cache.get().await.unwrap();
    assert_eq!((lookups.load(SeqCst), endpoint.token_requests()), (2, 2));
}

fn tagged(tenant: Tenant) -> Result<Token, Error> {
    Token::new(format!("tenant-{}", tenant.0))
}

fn header(token: &Token) -> &str {
    token.authorization().to_str().unwrap()
}

fn for_tenant(tenant: u32) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    request.extensions_mut().insert(Tenant(tenant));
    request
}

/// An API that knows whose token each request must carry.
fn checking(
    seen: &Arc<AtomicUsize>,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let seen = Arc::clone(seen);
    service_fn(move |request: Request<Full<Bytes>>| {
        let Tenant(tenant) = request.extensions().get().unwrap();
        let expected = format!("Bearer tenant-{tenant}");
        assert_eq!(request.headers()[AUTHORIZATION], expected.as_str());
        seen.fetch_add(1, SeqCst);
        async { Ok(Response::new(Full::default())) }
    })
}

/// Promise: K4
#[test]
fn a_warm_key_is_read_while_another_reader_has_the_map() {
    thread_local! {
        static HELD_UP: RefCell<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>> = const { RefCell::new(None) };
    }
    #[derive(Clone, Eq)]
    struct Key(u32);
    impl Hash for Key {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }
    impl PartialEq for Key {
        // Runs under the map's lock.
        fn eq(&self, other: &Self) -> bool {
            HELD_UP.with_borrow_mut(|held_up| {
                if let Some((there, go_on)) = held_up.take() {
                    there.send(()).unwrap();
                    go_on.recv().unwrap();
                }
            });
            self.0 == other.0
        }
    }
    let keyed = Keyed::new(|_: &Key| {
        TokenCache::new(service_fn(|_: TokenRequest| async { Token::new("t") }))
    });
    keyed.get(&Key(1));
    let (tell, there) = mpsc::channel();
    let (go_on, wait) = mpsc::channel();
    let other = keyed.clone();
    let held_up = std::thread::spawn(move || {
        HELD_UP.set(Some((tell, wait)));
        other.get(&Key(1));
    });
    there.recv().unwrap();
    let (tell, read) = mpsc::channel();
    std::thread::spawn(move || {
        keyed.get(&Key(1));
        tell.send(()).unwrap();
    });
    read.recv_timeout(10 * SECOND).unwrap();
    go_on.send(()).unwrap();
    held_up.join().unwrap();
}

/// With more keys than there is room for, keys that are removed, and four threads.
///
/// Promise: K1
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_comes_and_goes_each_request_carries_its_own_tenants_token() {
    let room = NonZeroUsize::new(64).unwrap();
    let keyed = Keyed::with_capacity(room, |tenant: &Tenant| {
        let tenant = *tenant;
        TokenCache::new(service_fn(move |_: TokenRequest| async move {
            tokio::task::yield_now().await;
            tagged(tenant)
        }))
    });
    let seen = Arc::new(AtomicUsize::new(0));
    let service =
        BearerAuthLayer::keyed(keyed.clone(), ByExtension::<Tenant>::new()).layer(checking(&seen));
    let callers: Vec<_> = (0..8_u32)
        .map(|caller| {
            let (mut service, keyed) = (service.clone(), keyed.clone());
            tokio::spawn(async move {
                for n in 0..5_000_u32 {
                    let tenant = (n * 31 + caller * 17) % 300;
                    service.call(for_tenant(tenant)).await.unwrap();
                    if n % 50 == 0 {
                        keyed.remove(&Tenant((tenant + 1) % 300));
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(seen.load(SeqCst), 40_000);
}
