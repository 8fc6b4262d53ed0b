//! What trouble costs: crowds without a token, a revoked token, an authorization server that is down; and many threads,
//! and many credentials.
//!
//! ```sh
//! cargo bench --bench storm
//! ```

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]
#![allow(
    clippy::disallowed_types,
    reason = "what is measured here is real time"
)]

mod support;

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use http::{Request, Response};
use tokio::{
    runtime::Builder,
    task::yield_now,
    time::{advance, sleep},
};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, Token, TokenCache,
    cache::Keyed,
    replay::NoReplay,
    select::ByExtension,
    token::{FixedToken, TokenRequest},
};
use tower_http::auth::AddAuthorizationLayer;

use self::support::{
    herd::{Peer, trouble},
    options::Options,
    table::{Table, ratio},
    turns::{Times, median, quantile},
    warm::{BARE, Body, Drivers, ONCE, RETRYING, STATIC, TOKEN, answer_bare, api, request},
};

fn main() {
    let options = Options::from_command_line();
    trouble(
        &[Peer::tower_bearer(), Peer::floor()],
        &options,
        "storm_trouble",
    );

    let mut table = Table::new(
        "The authorization server is dead, and the token good",
        ["figure", "value"],
    );
    let [healthy, dead, quotient] = dead(&options);
    table.row([
        "p99 of a request, all well, ns".to_owned(),
        format!("{healthy:.0}"),
    ]);
    table.row([
        "p99 of a request, server dead, ns".to_owned(),
        format!("{dead:.0}"),
    ]);
    table.row(["the quotient, turn by turn".to_owned(), ratio(quotient)]);
    let tried = tried_in_an_hour(&options);
    table.row([
        "token requests tried in an hour, median".to_owned(),
        format!("{:.0}", median(tried.iter().copied())),
    ]);
    table.row([
        "token requests tried in an hour, most".to_owned(),
        format!("{:.0}", quantile(tried, 1.0)),
    ]);
    table.done("storm_dead", &options);

    let mut table = Table::new(
        "Warm requests a second and thread: two threads, in parts of one thread's",
        ["driver", "one thread, ns", "two threads, ns", "two by one"],
    );
    for (driver, [one, two, quotient]) in threads(&options) {
        table.row([
            driver.to_owned(),
            format!("{one:.0}"),
            format!("{two:.0}"),
            ratio(quotient),
        ]);
    }
    table.done("storm_threads", &options);

    many_credentials(&options);
}

/// The 99th percentile of a warm request's time where all is well, and where the token is due and no other can be had; and
/// the median of their quotients.
fn dead(options: &Options) -> [f64; 3] {
    let (turns, requests) = if options.test { (3, 100) } else { (400, 1_000) };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut healthy = layer_of(Duration::from_secs(7200), None).await.layer(api());
        // Due at once, good for two hours.
        let mut dead = layer_of(Duration::from_secs(7200), Some(0.0001))
            .await
            .layer(api());
        sleep(Duration::from_secs(1)).await;

        let mut p99 = [Vec::new(), Vec::new()];
        for turn in 0..turns {
            for place in 0..2 {
                let which = (turn + place) % 2;
                let service = if which == 0 { &mut healthy } else { &mut dead };
                let mut took = Vec::with_capacity(requests);
                for _ in 0..requests {
                    let request = request();
                    let started = Instant::now();
                    let answer = service.ready().await.unwrap().call(request).await;
                    took.push(started.elapsed().as_nanos() as f64);
                    answer.unwrap();
                }
                p99[which].push(quantile(took, 0.99));
                // The token requests that were started have their turn.
                yield_now().await;
            }
        }
        let [healthy, dead] = &p99;
        let quotients = dead.iter().zip(healthy).map(|(dead, well)| dead / well);
        [
            median(healthy.iter().copied()),
            median(dead.iter().copied()),
            median(quotients),
        ]
    })
}

/// A layer that has a token. Its server gave that one and no more, if the token is refreshed at a part of its life.
async fn layer_of(lifetime: Duration, refresh_at: Option<f64>) -> BearerAuthLayer {
    let asked = AtomicUsize::new(0);
    let source = tower::service_fn(move |_: TokenRequest| {
        let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            match first {
                true => Ok::<_, BoxError>(Token::new(TOKEN)?.with_lifetime(lifetime)),
                false => Err("connection refused".into()),
            }
        }
    });
    let cache = match refresh_at {
        Some(part) => TokenCache::builder(source).refresh_at(part, 0.0).build(),
        None => Ok(TokenCache::new(source)),
    };
    let cache = cache.unwrap();
    cache.get().await.unwrap();
    BearerAuthLayer::from_cache(cache)
}

/// How many token requests are tried in an hour at a request a second, run by run, in simulated time: a token of a day, an hour
/// of it when it is due and the server dead.
fn tried_in_an_hour(options: &Options) -> Vec<f64> {
    let runs = if options.test { 1 } else { 20 };
    let hour = || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let asked = Arc::new(AtomicUsize::new(0));
            let source = {
                let asked = Arc::clone(&asked);
                tower::service_fn(move |_: TokenRequest| {
                    let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
                    async move {
                        match first {
                            true => Ok::<_, BoxError>(Token::new(TOKEN)?.with_lifetime(DAY)),
                            false => Err("connection refused".into()),
                        }
                    }
                })
            };
            let layer = BearerAuthLayer::new(source);
            layer.cache().get().await.unwrap();
            let mut service = layer.layer(api());
            // The latest that it can be due, with all jitter.
            advance(DAY * 9 / 10).await;
            for _ in 0..3600 {
                let answer = service.ready().await.unwrap().call(request()).await;
                answer.unwrap();
                yield_now().await;
                advance(Duration::from_secs(1)).await;
            }
            (asked.load(Ordering::SeqCst) - 1) as f64
        })
    };
    (0..runs).map(|_| hour()).collect()
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// By driver: a request's time on one thread, on two at once, and the median of the quotients of their requests a second.
fn threads(options: &Options) -> Vec<(&'static str, [f64; 3])> {
    let (turns, requests) = if options.test { (2, 100) } else { (200, 4_000) };
    let layer = || BearerAuthLayer::new(FixedToken::new(TOKEN).unwrap());
    let fixed = AddAuthorizationLayer::bearer(TOKEN).as_sensitive(true);
    vec![
        (
            BARE,
            scaling(tower::service_fn(answer_bare), turns, requests),
        ),
        (STATIC, scaling(fixed.layer(api()), turns, requests)),
        (
            ONCE,
            scaling(layer().replay(NoReplay).layer(api()), turns, requests),
        ),
        (RETRYING, scaling(layer().layer(api()), turns, requests)),
    ]
}

fn scaling<S>(service: S, turns: usize, requests: usize) -> [f64; 3]
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send,
    S::Error: std::fmt::Debug,
{
    let times = (0..turns).map(|_| (on(1, &service, requests), on(2, &service, requests)));
    let (one, two): (Vec<_>, Vec<_>) = times.unzip();
    let quotients = one.iter().zip(&two).map(|(one, two)| one / two);
    [
        median(one.iter().copied()),
        median(two.iter().copied()),
        median(quotients),
    ]
}

/// A request's time on so many threads at once, each with a clone of the service.
fn on<S>(threads: usize, service: &S, requests: usize) -> f64
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send,
    S::Error: std::fmt::Debug,
{
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (mut service, start) = (service.clone(), &start);
                scope.spawn(move || {
                    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async {
                        // Warm before it counts.
                        send(&mut service, 100).await;
                        start.wait();
                        let started = Instant::now();
                        send(&mut service, requests).await;
                        started.elapsed().as_nanos() as f64 / requests as f64
                    })
                })
            })
            .collect();
        let times: Vec<_> = workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect();
        times.iter().sum::<f64>() / times.len() as f64
    })
}

async fn send<S>(service: &mut S, requests: usize)
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: std::fmt::Debug,
{
    for _ in 0..requests {
        let answer = service.ready().await.unwrap().call(request()).await;
        answer.unwrap();
    }
}

/// What choosing one of 100,000 credentials takes over having one.
fn many_credentials(options: &Options) {
    let companies = if options.test { 1_000 } else { 100_000 };
    let keyed = Keyed::with_capacity(
        // A quarter more than there are.
        (companies * 5 / 4).try_into().unwrap(),
        |Company(number)| {
            let token = Token::new(format!("{TOKEN}{number}")).unwrap();
            TokenCache::new(FixedToken::from(token.with_lifetime(DAY)))
        },
    );
    let mut drivers = Drivers::new(options);
    drivers.add_over(ONE, "yes", ONE, async || {
        let token = Token::new(TOKEN).unwrap().with_lifetime(DAY);
        let layer = BearerAuthLayer::new(FixedToken::from(token));
        layer.cache().get().await.unwrap();
        company_by_company(layer.layer(api()), companies, companies)
    });
    for (name, in_use) in [
        ("any of 100,000", companies),
        ("any of 100 of the 100,000", 100),
    ] {
        let keyed = keyed.clone();
        drivers.add_over(name, "yes", ONE, async || {
            for number in 0..companies {
                keyed.get(&Company::new(number)).get().await.unwrap();
            }
            let layer = BearerAuthLayer::keyed(keyed, ByExtension::<Company>::new());
            company_by_company(layer.layer(api()), companies, in_use)
        });
    }
    assert_eq!(keyed.len(), companies);

    let times = Times::take(&mut drivers.drivers, options);
    let mut table = Table::new(
        "Many credentials: a warm request that says which",
        ["credentials", "ns", "ns over one"],
    );
    for (place, driver) in drivers.drivers.iter().enumerate() {
        table.row([
            driver.name.to_owned(),
            format!("{:.0}", times.of(place)),
            format!("{:.0}", times.over(place, 0)),
        ]);
    }
    table.done("storm_keyed", options);
}

const ONE: &str = "one, for all companies";

/// As long as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Company(u128);

impl Company {
    fn new(number: usize) -> Self {
        Self(number as u128)
    }
}

/// Sends a request for one company after another, in an order that no cache of the processor foresees.
fn company_by_company<S>(mut service: S, companies: usize, in_use: usize) -> impl AsyncFnMut()
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: std::fmt::Debug,
{
    let step = companies / in_use;
    let mut next = 0;
    async move || {
        // A prime: all of them come, once each, before any comes again.
        next = (next + 7_919) % in_use;
        let mut request = request();
        let company = Company::new(next * step);
        request.extensions_mut().insert(company);
        let answer = service.ready().await.unwrap().call(request).await;
        answer.unwrap();
    }
}
