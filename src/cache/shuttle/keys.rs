//! [`Keyed`] under every interleaving: the code itself, over a map that the checker can look into (see [`model::Map`]).

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use shuttle::{
    future::block_on,
    rand::{Rng, RngCore, thread_rng},
    thread,
};
use tower_service::Service;

use super::{check_any_order, check_few_changes, model, runs};
use crate::{
    cache::{Keyed, TokenCache},
    error::Error,
    token::{Token, TokenRequest},
};

/// Promise: F1, K3
#[test]
fn a_key_has_one_token_request_whichever_thread_goes_next() {
    check_any_order(run_any_program);
}

/// Promise: F1, K3
#[test]
fn a_key_has_one_token_request_when_one_thread_is_held_up_at_any_point() {
    check_few_changes(run_any_program);
}

/// By thread, the keys that it gets a token for, one after the other.
type Program = Vec<Vec<u8>>;

/// More keys than the map has room for, and as many at once as there are threads.
const KEYS: u8 = 3;
const CAPACITY: NonZeroUsize = NonZeroUsize::new(1).unwrap();

fn run_any_program() {
    let mut random = thread_rng();
    let threads = random.gen_range(2..=3);
    let program: Program = (0..threads)
        .map(|_| {
            let calls = random.gen_range(1..=3);
            (0..calls).map(|_| random.gen_range(0..KEYS)).collect()
        })
        .collect();
    runs(&program);
    fastrand::seed(random.next_u64());
    model::begin(false);

    let keys = Keys::default();
    let made = keys.clone();
    let caches = Keyed::with_capacity(CAPACITY, move |key: &u8| {
        model::interleave();
        TokenCache::new(Tokens {
            key: *key,
            keys: made.clone(),
        })
    });
    let threads: Vec<_> = program
        .into_iter()
        .map(|calls| {
            let (caches, keys) = (caches.clone(), keys.clone());
            thread::spawn(move || {
                for key in calls {
                    let cache = caches.get(&key);
                    keys.hold(key, &cache);
                    block_on(cache.get()).unwrap();
                    keys.let_go(key);
                    drop(cache);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// What is known of each key, in steps of no time.
#[derive(Clone, Default)]
struct Keys(Arc<Mutex<HashMap<u8, Known>>>);

#[derive(Default)]
struct Known {
    /// How many threads have its cache.
    held: usize,
    /// Where that cache is, while any of them has it.
    at: usize,
    /// Token requests since the first of them had it.
    token_requests: usize,
}

impl Keys {
    fn hold(&self, key: u8, cache: &TokenCache) {
        let at = Arc::as_ptr(&cache.flight).addr();
        let mut keys = self.lock();
        let known = keys.entry(key).or_default();
        if known.held == 0 {
            *known = Known {
                at,
                ..Known::default()
            };
        }
        assert_eq!(known.at, at, "a second cache for the same key");
        known.held += 1;
    }

    fn let_go(&self, key: u8) {
        self.lock().entry(key).or_default().held -= 1;
    }

    fn requests(&self, key: u8) {
        let mut keys = self.lock();
        let known = keys.entry(key).or_default();
        known.token_requests += 1;
        assert_eq!(known.token_requests, 1, "a second token request");
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u8, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Tokens {
    key: u8,
    keys: Keys,
}

impl Service<TokenRequest> for Tokens {
    type Response = Token;
    type Error = Error;
    type Future = std::future::Ready<Result<Token, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: TokenRequest) -> Self::Future {
        self.keys.requests(self.key);
        let token = Token::new("t").unwrap();
        std::future::ready(Ok(token.with_lifetime(Duration::from_secs(100))))
    }
}
