//! A store in memory, for tests: its clock is Tokio's, and it fails when it is told to.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    keys::SealingKeys,
    shelf::Shelf,
    store::{Backend, Operation, Performed, Reply, SharedStore},
};

/// Clones are the same store.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    shelves: HashMap<String, Shelf>,
    began: Instant,
    /// Milliseconds that its clock is ahead of 1970.
    ahead: u64,
    health: Health,
    operations: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Health {
    Well,
    Down,
    Hangs,
    Panics,
    /// Answers what does not answer the question.
    Confused,
}

pub(super) const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
pub(super) const NEXT_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

impl Memory {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            shelves: HashMap::new(),
            began: Instant::now(),
            ahead: 1_800_000_000_000,
            health: Health::Well,
            operations: 0,
        })))
    }

    /// The store as one process sees it: with a breaker of its own.
    pub(super) fn store(&self) -> SharedStore {
        self.store_with(SealingKeys::new(KEY))
    }

    pub(super) fn store_with(&self, keys: SealingKeys) -> SharedStore {
        SharedStore::new(self.clone(), keys).unwrap()
    }

    pub(super) fn be(&self, health: Health) {
        self.0.lock().unwrap().health = health;
    }

    pub(super) fn operations(&self) -> usize {
        self.0.lock().unwrap().operations
    }

    /// Sets its clock.
    pub(super) fn shift(&self, by: i64) {
        let mut state = self.0.lock().unwrap();
        state.ahead = state.ahead.checked_add_signed(by).unwrap();
    }

    /// What is stored, by name.
    pub(super) fn shelves<T>(&self, with: impl FnOnce(&mut HashMap<String, Shelf>) -> T) -> T {
        with(&mut self.0.lock().unwrap().shelves)
    }
}

impl Backend for Memory {
    fn perform<'a>(&'a self, names: &'a [String], operation: Operation) -> Performed<'a> {
        Box::pin(async move {
            let health = {
                let mut state = self.0.lock().unwrap();
                state.operations += 1;
                state.health
            };
            match health {
                Health::Well => sleep(Duration::from_millis(1)).await,
                Health::Down => return Err("connection refused".into()),
                Health::Hangs => pending().await,
                Health::Panics => panic!("as a client of a store may"),
                Health::Confused => return Ok(Reply::Renewed(true)),
            }
            let mut state = self.0.lock().unwrap();
            let now = state.ahead + state.began.elapsed().as_millis() as u64;
            let older: Vec<_> = names[1..]
                .iter()
                .map(|name| state.shelves.get(name).cloned().unwrap_or_default())
                .collect();
            let shelf = state.shelves.entry(names[0].clone()).or_default();
            Ok(shelf.perform(&operation, &older, now))
        })
    }
}
