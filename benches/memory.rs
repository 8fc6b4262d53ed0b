//! What a request and a credential take in memory, by a counting allocator. Exact: no figure here depends on the machine.
//!
//! ```sh
//! cargo bench --bench memory
//! cargo bench --bench memory -- --guard       # has it grown over benches/baseline.csv?
//! ```

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

#[path = "support/client.rs"]
mod client;
mod support;

use std::{
    alloc::System,
    future::pending,
    mem::size_of_val,
    pin::Pin,
    task::{Context, Waker},
};

use http::Request;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use tokio::runtime::Builder;
use tower::{Layer, Service};
use tower_bearer::{
    BearerAuthLayer, Token, TokenCache, cache::Keyed, replay::NoReplay, token::FixedToken,
};

use self::{
    client::client,
    support::{
        baseline::{Guarded, guard},
        options::Options,
        table::{NONE, Table, ratio},
        warm::{Body, Drivers, TOKEN, api, request},
    },
};

/// Counts what is allocated, and what of it was freed again.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let options = Options::from_command_line();
    let requests = if options.test { 100 } else { 10_000 };

    let mut drivers = Drivers::new(&options);
    drivers.add_yardsticks();
    drivers.add_tower_bearer();
    let mut table = Table::new(
        "A warm request: calls of the allocator, and what they ask for",
        ["driver", "allocations", "over alone", "bytes", "over alone"],
    );
    let mut alone = None;
    for driver in &mut drivers.drivers {
        driver.send(100);
        let region = Region::new(ALLOCATOR);
        driver.send(requests);
        let [calls, bytes] =
            asked_for(&region.change()).map(|sum| sum as f64 / f64::from(requests));
        let [alone_calls, alone_bytes] = *alone.get_or_insert([calls, bytes]);
        table.row([
            driver.name.to_owned(),
            format!("{calls:.1}"),
            format!("{:.1}", calls - alone_calls),
            format!("{bytes:.0}"),
            format!("{:.0}", bytes - alone_bytes),
        ]);
    }
    table.done("memory_request", &options);

    let mut figures = futures(&options);
    figures.push(waiters(&options));
    figures.push(credentials(&options));
    if options.guard {
        guard(&options, &figures);
    }
}

/// How large the future of a warm request is.
fn futures(options: &Options) -> Vec<Guarded> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let layer = BearerAuthLayer::new(FixedToken::new(TOKEN).unwrap());
    let mut table = Table::new(
        "The future of a warm request, in bytes",
        ["driver", "future", "over the inner one", "in requests"],
    );
    let of_request = size_of::<Request<Body>>();
    let once = layer.clone().replay(NoReplay);
    let alone = size_of_val(&api().call(request()));
    let of_client = size_of_val(&client().call(request()));
    let over_client = size_of_val(&layer.layer(client()).call(request()));
    for (name, future, inner) in [
        ("the service alone", alone, alone),
        (
            "tower-bearer, NoReplay",
            size_of_val(&once.layer(api()).call(request())),
            alone,
        ),
        (
            "tower-bearer",
            size_of_val(&layer.layer(api()).call(request())),
            alone,
        ),
        ("hyper's client", of_client, of_client),
        (
            "tower-bearer, NoReplay, over hyper's client",
            size_of_val(&once.layer(client()).call(request())),
            of_client,
        ),
        ("tower-bearer, over hyper's client", over_client, of_client),
    ] {
        table.row([
            name.to_owned(),
            future.to_string(),
            (future - inner).to_string(),
            ratio((future - inner) as f64 / of_request as f64),
        ]);
    }
    table.row([
        "a request, for comparison".to_owned(),
        of_request.to_string(),
        NONE.into(),
        NONE.into(),
    ]);
    table.done("memory_future", options);
    vec![Guarded {
        name: "tower-bearer over hyper's client: bytes of a future over hyper's".to_owned(),
        value: (over_client - of_client) as f64,
    }]
}

/// What a request takes that waits for a token, its own head and body aside.
fn waiters(options: &Options) -> Guarded {
    let callers = if options.test { 10 } else { 1_000 };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let cx = &mut Context::from_waker(Waker::noop());

    let region = Region::new(ALLOCATOR);
    let requests: Vec<_> = (0..callers).map(|_| request()).collect();
    let of_requests = kept(&region.change()) / callers - size_of::<Request<Body>>();
    drop(requests);

    let source = tower::service_fn(|_| pending::<Result<Token, tower_bearer::Error>>());
    let mut service = BearerAuthLayer::new(source).layer(client());
    let mut wait = || {
        let mut waiter: Pin<Box<dyn Future<Output = _>>> = Box::pin(service.call(request()));
        assert!(waiter.as_mut().poll(cx).is_pending());
        waiter
    };
    // The one that starts the token request.
    let first = wait();
    let region = Region::new(ALLOCATOR);
    let waiters: Vec<_> = (0..callers).map(|_| wait()).collect();
    let of_waiters = kept(&region.change()) / callers - size_of_val(&waiters[0]);
    drop((first, waiters));

    let mut table = Table::new(
        "A request over hyper's client that waits for a token, in bytes",
        [
            "waiting",
            "in all",
            "of these its head and body",
            "beyond them",
        ],
    );
    let own = of_requests + size_of::<Request<Body>>();
    table.row([
        callers.to_string(),
        of_waiters.to_string(),
        own.to_string(),
        (of_waiters - own).to_string(),
    ]);
    table.done("memory_waiter", options);
    Guarded {
        name: "tower-bearer: bytes of a request that waits for a token beyond its own".to_owned(),
        value: (of_waiters - own) as f64,
    }
}

/// What a keyed cache takes for each credential, its token aside.
fn credentials(options: &Options) -> Guarded {
    let companies = if options.test { 1_000 } else { 100_000 };
    let token = |number| Token::new(format!("{TOKEN}{number}")).unwrap();

    let region = Region::new(ALLOCATOR);
    let tokens: Vec<_> = (0..companies).map(token).collect();
    let of_tokens = kept(&region.change()) / companies;
    drop(tokens);

    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let region = Region::new(ALLOCATOR);
    let keyed = runtime.block_on(async {
        // A quarter more room than there are keys, as the documentation advises.
        let keyed = Keyed::with_capacity(
            (companies * 5 / 4).try_into().unwrap(),
            move |company: &u128| {
                let company = *company;
                // No secret and no client: those are the source's own.
                TokenCache::new(tower::service_fn(move |_| {
                    std::future::ready(Token::new(format!("{TOKEN}{company}")))
                }))
            },
        );
        for company in 0..companies as u128 {
            keyed.get(&company).get().await.unwrap();
        }
        keyed
    });
    assert_eq!(keyed.len(), companies);
    drop(runtime);
    let of_caches = kept(&region.change()) / companies;

    let mut table = Table::new(
        "Many credentials: bytes for each, keys of 16 bytes",
        [
            "credentials",
            "bytes for each",
            "of these its token",
            "beyond it",
        ],
    );
    table.row([
        companies.to_string(),
        of_caches.to_string(),
        of_tokens.to_string(),
        (of_caches - of_tokens).to_string(),
    ]);
    table.done("memory_keyed", options);
    Guarded {
        name: "tower-bearer: bytes of a credential beyond its token".to_owned(),
        value: (of_caches - of_tokens) as f64,
    }
}

fn asked_for(change: &Stats) -> [usize; 2] {
    [
        change.allocations + change.reallocations,
        change.bytes_allocated,
    ]
}

fn kept(change: &Stats) -> usize {
    change.bytes_allocated - change.bytes_deallocated
}
