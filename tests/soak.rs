//! An hour of load in paused time, one fault a test: how many token requests it costs, who fails, and who waits how long.
//!
//! ```text
//! cargo test --test soak                                                        # 50 requests a second
//! SOAK_RATE=10000 cargo test --release --test soak -- --nocapture               # 36 million requests a row
//! SOAK_SEED=… cargo test --test soak -- --nocapture                             # the run with this seed again
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    alloc::System,
    collections::BTreeMap,
    convert::Infallible,
    env, fmt,
    future::pending,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use fastrand::Rng;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{Empty, Full};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{Instant, Sleep, sleep, sleep_until},
};
use tower::{BoxError, Layer, Service, service_fn};
use tower_bearer::{BearerAuthLayer, ClientCredentials, Error};

/// Counts what is allocated, and what of it was freed again.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Requests come in bunches, so that time need not be moved for each.
const TICK: Duration = Duration::from_millis(100);

/// What is asked for, in turn. Each is a route of its own.
const PATHS: [&str; 5] = [
    "/orders/17",
    "/carts/a9/items",
    "/users",
    "/invoices/2",
    FAILING,
];

/// The path of the route that goes wrong where one does.
const FAILING: &str = "/reports";

// The numbers of a cache, as `TokenCache` and `TokenCacheBuilder` document them. The bounds follow from these alone.

/// The earliest refresh: 80 % of the lifetime, less 5 %.
const EARLIEST_REFRESH: f64 = 0.75;
/// The latest refresh: 80 % of the lifetime, and 5 % more.
const LATEST_REFRESH: f64 = 0.85;
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
const TRANSIENT_BACKOFF: (u32, u32) = (1, 60);
/// The part of a backoff that jitter leaves.
const SHORTEST_JITTER: f64 = 0.1;
const REFUSAL_COOL_DOWN: (u32, u32) = (1, 300);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Promise: L2
#[test]
fn a_healthy_server_is_asked_once_per_token_and_nobody_waits_but_for_the_first() {
    let row = Soak::new("healthy", |_| Plan::token(300, SECOND / 10)).run();

    row.bound(at_most_every(300.0 * EARLIEST_REFRESH));
    row.longest_wait(SECOND / 10);
    row.everyone_is_served();
    row.nobody_waits_after(SECOND);
    // And not so seldom either: a request, a tick and the token request after the latest point at the latest.
    let at_least = HOUR.as_secs_f64() / (300.0 * LATEST_REFRESH + 0.2);
    assert!(row.token_requests > at_least as usize, "{row:?}");
}

/// Promise: L3, L4, L5, L11
#[test]
fn a_server_down_for_random_stretches_is_asked_by_the_backoff_and_is_back_within_a_step() {
    let mut rng = rng();
    let outages = stretches(&mut rng, 100..400, 20..600);
    let hangs: Vec<bool> = outages.iter().map(|_| rng.bool()).collect();
    let at_hand = outages.clone();
    let row = Soak::new("server down at random", move |at| {
        match at_hand.iter().position(|outage| outage.covers(at)) {
            None => Plan::token(300, SECOND / 10),
            Some(outage) if hangs[outage] => Plan::never(),
            Some(_) => Plan::status(503),
        }
    })
    .run();

    let failures: usize = outages
        .iter()
        .map(|outage| 1 + steps_within(TRANSIENT_BACKOFF, SHORTEST_JITTER, outage.length()))
        .sum();
    row.bound(failures + at_most_every(300.0 * EARLIEST_REFRESH));
    row.longest_wait(EXCHANGE_TIMEOUT);
    assert_eq!(row.rejected, 0, "{row:?}");
    // Within one step of the backoff, after an attempt that the end of the outage overtook.
    let back = MINUTE + EXCHANGE_TIMEOUT;
    row.fails_only_in(|at| outages.iter().any(|outage| outage.covers_until(at, back)));
}

/// Promise: L4, L11
#[test]
fn a_server_dead_for_an_hour_is_asked_about_twice_a_minute() {
    let row = Soak::new("server dead for an hour", |at| match at.as_secs() {
        0 => Plan::token(300, SECOND / 10),
        _ => Plan::status(503),
    })
    .run();

    // Jitter takes from none to nine tenths of a step, so 0.55 of it stay on average. Over a hundred steps that is good
    // to a few percent; a quarter more is more than five standard deviations.
    let on_average = steps_within(TRANSIENT_BACKOFF, (1.0 + SHORTEST_JITTER) / 2.0, HOUR);
    // Each but for the refreshes is tried twice.
    row.bound(1 + 2 * on_average * 5 / 4);
    row.longest_wait(SECOND / 2);
    // The token is sent until its end, neither longer nor shorter.
    row.fails_only_in(|at| at >= 300 * SECOND);
    assert!(row.failed >= row.requests / 3600 * (3600 - 301), "{row:?}");
}

/// Promise: L1, L2
#[test]
fn a_slow_server_keeps_nobody_waiting_longer_than_one_token_request() {
    let mut rng = rng();
    let slowest = 8 * SECOND;
    let row = Soak::new("slow server, 60 s tokens", move |_| {
        Plan::token(60, Duration::from_millis(rng.u64(100..=8000)))
    })
    .run();

    // Given up 6 s before its end, and refreshed two token requests before that if the last one was slow.
    let earliest = (60.0 * EARLIEST_REFRESH).min(60.0 - 6.0 - 2.0 * slowest.as_secs_f64());
    row.bound(at_most_every(earliest));
    row.longest_wait(slowest);
    row.everyone_is_served();
}

/// Promise: L11
#[test]
fn retry_after_is_kept_to_the_second() {
    let outages = stretches(&mut rng(), 100..400, 20..900);
    let early = Arc::new(AtomicUsize::new(0));
    let (at_hand, too_early) = (outages.clone(), Arc::clone(&early));
    let mut closed_until = Duration::ZERO;
    let row = Soak::new("429 with Retry-After", move |at| {
        if at < closed_until {
            too_early.fetch_add(1, Ordering::Relaxed);
        }
        match at_hand.iter().find(|outage| outage.covers(at)) {
            None => Plan::token(300, SECOND / 10),
            Some(outage) => {
                let asked = (outage.to - at).as_secs() + 1;
                closed_until = at + LONGEST_RETRY_AFTER.min(SECOND * asked as u32);
                Plan::retry_after(asked)
            }
        }
    })
    .run();

    let failures: u64 = outages
        .iter()
        .map(|outage| 1 + outage.length().as_secs() / LONGEST_RETRY_AFTER.as_secs())
        .sum();
    row.bound(failures as usize + at_most_every(300.0 * EARLIEST_REFRESH));
    row.longest_wait(SECOND / 10);
    assert_eq!(early.load(Ordering::Relaxed), 0, "asked too early");
    // What is asked for is kept, up to 5 minutes: so much later than the server is back, and a backoff's last step.
    let back = LONGEST_RETRY_AFTER + SECOND;
    row.fails_only_in(|at| outages.iter().any(|outage| outage.covers_until(at, back)));
}

/// Promise: L9
#[test]
fn a_token_given_again_until_it_expires_makes_no_tight_loop() {
    let row = Soak::new("sticky tokens", |_| Plan {
        takes: SECOND / 10,
        answer: Answer::Sticky { lifetime: 300 },
    })
    .run();

    // Each time a part of what is left, until less than a second is, which is too little to say; then the backoff.
    let mut left = 300.0_f64;
    let mut of_one_token = 0;
    while left >= 1.0 {
        // Not before 70 %: one token request takes a tenth of a second.
        left -= 0.7 * left.floor();
        of_one_token += 1;
    }
    of_one_token += 1 + steps_within(TRANSIENT_BACKOFF, SHORTEST_JITTER, SECOND);
    let tokens = 1 + HOUR.as_secs() as usize / 300;
    row.bound(of_one_token * tokens);
    row.longest_wait(SECOND / 10);
    assert_eq!(row.rejected, 0, "{row:?}");
    // In a token's last second nothing can be had. As many failures as fit into it, and the wait after the last.
    let issued = row.issued.clone();
    row.fails_only_in(|at| {
        issued
            .iter()
            .any(|issued| Stretch::of(*issued + 298 * SECOND, 12 * SECOND).covers(at))
    });
}

/// Promise: R6
#[test]
fn an_api_that_always_answers_401_costs_what_the_cool_down_allows() {
    let row = always_rejecting("always 401, one route").on_routes(1).run();
    everyone_is_rejected(&row);
    // The cold one, the first after a rejection, and one after each cool-down.
    row.bound(2 + steps_within(REFUSAL_COOL_DOWN, 1.0, HOUR));
}

/// Promise: R6, R15
#[test]
fn an_api_whose_every_route_answers_401_costs_what_one_cool_down_allows() {
    // Few requests: with more of them the routes are rejected together, and share their token requests.
    let row = always_rejecting("always 401, five routes").at_rate(2).run();
    everyone_is_rejected(&row);
    // The cold one; one or two for each route, until more than four are failing; and one after each cool-down.
    row.bound(1 + 2 * PATHS.len() + steps_within(REFUSAL_COOL_DOWN, 1.0, HOUR));
}

fn always_rejecting(name: &'static str) -> Soak {
    let mut rng = rng();
    Soak::new(name, move |_| {
        Plan::token(3600, Duration::from_millis(rng.u64(100..=1000)))
    })
    .rejecting(|_| true)
}

fn everyone_is_rejected(row: &Row) {
    row.longest_wait(2 * SECOND);
    assert_eq!((row.ok, row.failed), (0, 0), "{row:?}");
    // Once latched, one call per request, but for those that waited for a token request.
    assert!(row.calls - row.requests <= row.waited, "{row:?}");
}

/// Promise: R15
#[test]
fn one_route_that_always_answers_401_leaves_the_others_alone_and_a_revocation_heals_at_once() {
    let row = Soak::new("one route answers 401", |_| Plan::token(3600, SECOND / 10))
        .rejecting(|path| path == FAILING)
        .revoking([HOUR / 2])
        .run();

    // As for an API that rejects everything, and one for the revocation.
    row.bound(2 + steps_within(REFUSAL_COOL_DOWN, 1.0, HOUR) + 1);
    row.longest_wait(SECOND / 5);
    assert_eq!(row.failed, 0, "{row:?}");
    assert_eq!(
        row.rejected, row.failing,
        "a healthy route was rejected: {row:?}"
    );
}

/// Promise: R2, R3, R4, R6
#[test]
fn revocations_at_random_moments_cost_a_token_request_each_and_heal_at_once() {
    let mut rng = rng();
    let mut revocations = Vec::new();
    let mut at = SECOND;
    while at < HOUR {
        revocations.push(at);
        at += Duration::from_millis(rng.u64(1_500..120_000));
    }
    let row = Soak::new("revoked at random", move |_| {
        Plan::token(300, Duration::from_millis(rng.u64(100..=1000)))
    })
    .revoking(revocations.clone())
    .answering_late()
    .run();

    row.bound(revocations.len() + at_most_every(300.0 * EARLIEST_REFRESH));
    row.longest_wait(2 * SECOND + 2 * SLOWEST_ANSWER);
    assert_eq!(row.failed, 0, "{row:?}");
    // A revocation within a token request takes the fresh token too, which is the caller's 401, and one cool-down.
    row.is_rejected_only_in(|at| {
        revocations
            .iter()
            .any(|revoked| Stretch::of(*revoked, 3 * SECOND + SLOWEST_ANSWER).covers(at))
    });
    assert!(row.rejected * 1000 < row.requests, "{row:?}");
}

/// How many token requests an hour has, if one comes at most every so many seconds after the first.
fn at_most_every(seconds: f64) -> usize {
    1 + (HOUR.as_secs_f64() / seconds) as usize
}

/// How many waits fit into `time` that double from the first to the last, of each of which `part` is waited.
fn steps_within((first, last): (u32, u32), part: f64, time: Duration) -> usize {
    let (mut step, mut passed, mut steps) = (f64::from(first), 0.0, 0);
    loop {
        passed += step * part;
        if passed > time.as_secs_f64() {
            return steps;
        }
        steps += 1;
        step = f64::from(last).min(step * 2.0);
    }
}

/// A stretch of the hour.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: Duration,
    to: Duration,
}

impl Stretch {
    fn of(from: Duration, length: Duration) -> Self {
        let to = from + length;
        Self { from, to }
    }

    fn length(self) -> Duration {
        self.to - self.from
    }

    fn covers(self, at: Duration) -> bool {
        self.covers_until(at, Duration::ZERO)
    }

    fn covers_until(self, at: Duration, later: Duration) -> bool {
        (self.from..self.to + later).contains(&at)
    }
}

/// Stretches of the hour in which the server is down, with others between them in which it is up, of random lengths.
fn stretches(rng: &mut Rng, up: std::ops::Range<u64>, down: std::ops::Range<u64>) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += SECOND * rng.u64(up.clone()) as u32;
        if at >= HOUR {
            return stretches;
        }
        let stretch = Stretch::of(at, SECOND * rng.u64(down.clone()) as u32);
        at = stretch.to;
        stretches.push(stretch);
    }
}

/// What the authorization server does with one token request.
struct Plan {
    takes: Duration,
    answer: Answer,
}

enum Answer {
    Token {
        lifetime: u64,
    },
    /// The last token once more, until it expires.
    Sticky {
        lifetime: u64,
    },
    Status(u16),
    RetryAfter(u64),
    Never,
}

impl Plan {
    fn token(lifetime: u64, takes: Duration) -> Self {
        let answer = Answer::Token { lifetime };
        Self { takes, answer }
    }

    fn at_once(answer: Answer) -> Self {
        let takes = Duration::ZERO;
        Self { takes, answer }
    }

    fn status(status: u16) -> Self {
        Self::at_once(Answer::Status(status))
    }

    fn retry_after(seconds: u64) -> Self {
        Self::at_once(Answer::RetryAfter(seconds))
    }

    fn never() -> Self {
        Self::at_once(Answer::Never)
    }
}

/// The authorization server and the API: what the one issued, and what the other saw.
struct World {
    started: Instant,
    plan: Box<dyn FnMut(Duration) -> Plan + Send>,
    rejects: fn(&str) -> bool,
    answers_late: bool,
    rng: Rng,
    /// When each token was asked for and when it ends. Its number is its place.
    tokens: Vec<Stretch>,
    revoked_before: usize,
    token_requests: usize,
    calls: u64,
    /// Calls with a token that is over, or with none. There must be none.
    unlawful: u64,
}

/// One call in so many is answered late, where some are.
const LATE: u32 = 64;
const SLOWEST_ANSWER: Duration = Duration::from_secs(3);

impl World {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// A token request arrives. Its token is as old as this, however long the answer takes.
    fn token_request(&mut self) -> (Duration, Option<Response<Full<Bytes>>>) {
        self.token_requests += 1;
        let now = self.now();
        let plan = (self.plan)(now);
        let response = match plan.answer {
            Answer::Token { lifetime } => self.issue(now, lifetime),
            Answer::Sticky { lifetime } => match self.tokens.last() {
                Some(last) if last.to > now => self.last_token((last.to - now).as_secs()),
                _ => self.issue(now, lifetime),
            },
            Answer::Status(status) => respond(status, ""),
            Answer::RetryAfter(seconds) => {
                let mut response = respond(429, "");
                response.headers_mut().insert("retry-after", seconds.into());
                response
            }
            Answer::Never => return (plan.takes, None),
        };
        (plan.takes, Some(response))
    }

    fn issue(&mut self, now: Duration, lifetime: u64) -> Response<Full<Bytes>> {
        self.tokens.push(Stretch::of(now, SECOND * lifetime as u32));
        self.last_token(lifetime)
    }

    fn last_token(&self, expires_in: u64) -> Response<Full<Bytes>> {
        let number = self.tokens.len() - 1;
        respond(
            200,
            &format!(
                r#"{{"access_token":"{number}","token_type":"bearer","expires_in":{expires_in}}}"#
            ),
        )
    }

    /// A call arrives at the API.
    fn call(&mut self, request: &Request<Empty<Bytes>>) -> Answering {
        self.calls += 1;
        let number = request.headers().get(AUTHORIZATION).and_then(|value| {
            let number = value.as_bytes().strip_prefix(b"Bearer ")?;
            std::str::from_utf8(number).ok()?.parse::<usize>().ok()
        });
        let now = self.now();
        let token = number.and_then(|number| self.tokens.get(number));
        let lawful = token.is_some_and(|token| now < token.to);
        if !lawful {
            self.unlawful += 1;
        }
        let accepted =
            lawful && number >= Some(self.revoked_before) && !(self.rejects)(request.uri().path());
        Answering {
            accepted,
            late: (self.answers_late && self.rng.u32(..LATE) == 0).then(|| {
                let longest = SLOWEST_ANSWER.as_millis() as u64;
                Box::pin(sleep(Duration::from_millis(self.rng.u64(..longest))))
            }),
        }
    }
}

fn respond(status: u16, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// The API, as the service below the layer.
#[derive(Clone)]
struct Api(Arc<Mutex<World>>);

impl Service<Request<Empty<Bytes>>> for Api {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Answering {
        lock(&self.0).call(&request)
    }
}

/// An answer of the API: judged when the call came, and as a rule there at once.
struct Answering {
    accepted: bool,
    late: Option<Pin<Box<Sleep>>>,
}

impl Future for Answering {
    type Output = Result<Response<Empty<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(late) = &mut self.late {
            ready!(late.as_mut().poll(cx));
        }
        let mut response = Response::new(Empty::new());
        if !self.accepted {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        Poll::Ready(Ok(response))
    }
}

/// An hour of load, and the fault that comes with it.
struct Soak {
    name: &'static str,
    world: World,
    revocations: Vec<Duration>,
    rate: u64,
    routes: usize,
}

impl Soak {
    /// What the server does with a token request that arrives so long after the start.
    fn new(name: &'static str, plan: impl FnMut(Duration) -> Plan + Send + 'static) -> Self {
        // The layer's own draws are of this thread as well.
        let mut rng = rng();
        fastrand::seed(rng.u64(..));
        Self {
            name,
            world: World {
                // Set anew when the hour starts.
                started: Instant::now(),
                plan: Box::new(plan),
                rejects: |_| false,
                answers_late: false,
                rng,
                tokens: Vec::new(),
                revoked_before: 0,
                token_requests: 0,
                calls: 0,
                unlawful: 0,
            },
            revocations: Vec::new(),
            rate: rate(),
            routes: PATHS.len(),
        }
    }

    /// The paths that the API answers 401 on, whatever the token.
    fn rejecting(mut self, rejects: fn(&str) -> bool) -> Self {
        self.world.rejects = rejects;
        self
    }

    /// When every token issued so far is revoked.
    fn revoking(mut self, at: impl IntoIterator<Item = Duration>) -> Self {
        self.revocations = at.into_iter().collect();
        self
    }

    /// Some of the API's answers are late, so that rejections come in after the token was replaced.
    fn answering_late(mut self) -> Self {
        self.world.answers_late = true;
        self
    }

    fn run(self) -> Row {
        // One at a time, for the memory is the process's.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let turn = lock(&ONE_AT_A_TIME);
        // Without I/O: a tick then asks nothing of the system.
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let real = SystemTime::now();
        let mut row = runtime.block_on(self.load());
        row.real = real.elapsed().unwrap_or_default();
        row.turn = Some(turn);
        row
    }

    /// So many requests a second, whatever is asked for by `SOAK_RATE`.
    fn at_rate(mut self, rate: u64) -> Self {
        self.rate = rate;
        self
    }

    /// Only the first so many of [`PATHS`] are asked for.
    fn on_routes(mut self, routes: usize) -> Self {
        self.routes = routes;
        self
    }

    async fn load(self) -> Row {
        let rate = self.rate;
        let started = Instant::now();
        let name = self.name;
        let mut revocations = self.revocations.into_iter().peekable();
        let world = Arc::new(Mutex::new(World {
            started,
            ..self.world
        }));
        let mut service = BearerAuthLayer::new(credentials(&world)).layer(Api(Arc::clone(&world)));
        // Made once: what is measured is the layer, and not the parsing of URLs.
        let requests: Vec<_> = PATHS[..self.routes]
            .iter()
            .map(|path| {
                Request::get(format!("https://api.test{path}"))
                    .body(Empty::<Bytes>::new())
                    .unwrap()
            })
            .collect();

        let mut row = Row::default();
        let mut waiting = JoinSet::new();
        let before = allocated();
        let mut tick = 0_u32;
        while TICK * tick < HOUR {
            tick += 1;
            sleep_until(started + TICK * tick).await;
            let now = Instant::now() - started;
            if revocations.next_if(|at| *at <= now).is_some() {
                let mut world = lock(&world);
                world.revoked_before = world.tokens.len();
            }
            let due = rate * u64::from(tick) * TICK.as_millis() as u64 / 1000;
            while row.requests < due {
                let route = row.requests as usize % requests.len();
                row.requests += 1;
                row.failing += u64::from(PATHS[route] == FAILING);
                let mut call = service.call(requests[route].clone());
                // Most are over at the first poll, and only the others are worth a task.
                match Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(result) => row.over(result, now, now),
                    Poll::Pending => {
                        row.waited += 1;
                        waiting.spawn(async move { (call.await, now, started.elapsed()) });
                    }
                }
            }
            while let Some(over) = waiting.try_join_next() {
                let (result, from, to) = over.unwrap();
                row.over(result, from, to);
            }
        }
        while let Some(over) = waiting.join_next().await {
            let (result, from, to) = over.unwrap();
            row.over(result, from, to);
        }
        drop(waiting);

        let world = lock(&world);
        row.name = name;
        row.token_requests = world.token_requests;
        row.calls = world.calls;
        row.issued = world.tokens.iter().map(|token| token.from).collect();
        // Nobody waits any more: what is allocated now is what an hour leaves behind.
        row.grown = allocated().saturating_sub(before);
        assert_eq!(row.requests, rate * HOUR.as_secs());
        assert_eq!(row.ok + row.rejected + row.failed, row.requests);
        assert_eq!(
            world.unlawful, 0,
            "a call came with no token, or an old one"
        );
        row
    }
}

fn credentials(world: &Arc<Mutex<World>>) -> ClientCredentials {
    let world = Arc::clone(world);
    let transport = service_fn(move |_: Request<Full<Bytes>>| {
        let (takes, response) = lock(&world).token_request();
        async move {
            sleep(takes).await;
            match response {
                Some(response) => Ok::<_, Infallible>(response),
                None => pending().await,
            }
        }
    });
    ClientCredentials::builder("https://auth.test/token", "id", "secret")
        .build_with(transport)
        .unwrap()
}

/// What an hour came to.
#[derive(Debug, Default)]
struct Row {
    name: &'static str,
    requests: u64,
    /// Those of them on the route that may go wrong.
    failing: u64,
    ok: u64,
    /// Ended with the API's 401.
    rejected: u64,
    /// Ended with an error, for want of a token.
    failed: u64,
    /// Were not over at once.
    waited: u64,
    token_requests: usize,
    calls: u64,
    /// When each token was asked for.
    issued: Vec<Duration>,
    longest_wait: Duration,
    /// When the last one began that was not over at once.
    last_waited: Duration,
    /// How many failed and how many were rejected in which second.
    failed_at: Seconds,
    rejected_at: Seconds,
    /// How many bytes more were allocated at the end than at the start.
    grown: usize,
    real: Duration,
    /// Kept until the row was looked at: a panic takes memory too.
    turn: Option<MutexGuard<'static, ()>>,
}

/// What an hour may leave behind, in bytes: the runtime's queue, which may have held 100,000 woken requests at once, keeps
/// its room, 1 MiB; and this file counts by the second. The rest is a fiftieth of a byte per request at full rate.
const FLAT: usize = 2 << 20;

impl Row {
    fn over(
        &mut self,
        result: Result<Response<Empty<Bytes>>, BoxError>,
        from: Duration,
        to: Duration,
    ) {
        self.longest_wait = self.longest_wait.max(to - from);
        if to > from {
            self.last_waited = self.last_waited.max(from);
        }
        match result {
            Ok(response) if response.status() == StatusCode::OK => self.ok += 1,
            Ok(response) => {
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
                self.rejected += 1;
                self.rejected_at.count(to);
            }
            Err(error) => {
                assert!(error.is::<Error>(), "{error}");
                self.failed += 1;
                self.failed_at.count(to);
            }
        }
    }

    /// Prints the row, and fails if there were more token requests than this, or if memory grew.
    fn bound(&self, bound: usize) {
        let grown = format!("{:.1} KiB", self.grown as f64 / 1024.0);
        println!(
            "| {:<24} | {:>10} requests | {:>10} ok | {:>10} failed | {:>10} rejected | {:>4} token requests | {:>4} bound | \
             {:>7.3} s longest wait | {:>10} API calls | {grown:>9} grown | {:>5.1} s real |",
            self.name,
            self.requests,
            self.ok,
            self.failed,
            self.rejected,
            self.token_requests,
            bound,
            self.longest_wait.as_secs_f64(),
            self.calls,
            self.real.as_secs_f64(),
        );
        assert!(
            self.token_requests <= bound,
            "{} token requests, {bound} at most: {self:?}",
            self.token_requests
        );
        assert!(self.grown <= FLAT, "{grown}");
    }

    /// The bound holds but for the timer, which goes by milliseconds.
    fn longest_wait(&self, bound: Duration) {
        assert!(
            self.longest_wait <= bound + Duration::from_millis(2),
            "{:?}, {bound:?} at most: {self:?}",
            self.longest_wait
        );
    }

    fn everyone_is_served(&self) {
        assert_eq!((self.failed, self.rejected), (0, 0), "{self:?}");
    }

    fn nobody_waits_after(&self, at: Duration) {
        assert!(self.last_waited <= at, "{self:?}");
    }

    fn fails_only_in(&self, may: impl Fn(Duration) -> bool) {
        self.failed_at.only_in(may, "failed");
    }

    fn is_rejected_only_in(&self, may: impl Fn(Duration) -> bool) {
        self.rejected_at.only_in(may, "rejected");
    }
}

/// How many requests ended in one way, second by second.
#[derive(Default)]
struct Seconds(BTreeMap<u64, u64>);

impl Seconds {
    fn count(&mut self, at: Duration) {
        *self.0.entry(at.as_secs()).or_default() += 1;
    }

    /// Fails unless every second with any of them may have some.
    fn only_in(&self, may: impl Fn(Duration) -> bool, what: &str) {
        for (second, requests) in &self.0 {
            let from = SECOND * *second as u32;
            assert!(
                may(from) || may(from + Duration::from_millis(999)),
                "{requests} requests {what} in second {second}, where none should"
            );
        }
    }
}

impl fmt::Debug for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in {} seconds", self.0.len())
    }
}

/// Requests a second.
fn rate() -> u64 {
    let rate = env::var("SOAK_RATE").map_or(50, |rate| rate.parse().unwrap());
    assert!(rate >= 1, "SOAK_RATE is the number of requests a second");
    rate
}

/// The same sequence for the same `SOAK_SEED`; another one each time without.
fn rng() -> Rng {
    let seed =
        env::var("SOAK_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("SOAK_SEED={seed}");
    Rng::with_seed(seed)
}

/// How many bytes are allocated and not freed.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
