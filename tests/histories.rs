//! Any history of requests, of what the servers do and of time that passes, against a model of what the promises allow; and any
//! history of runtimes that stop, stall and go on.
//!
//! `PROPTEST_CASES` sets how many histories; a failure prints the shortest one found that fails.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    collections::HashMap,
    convert::Infallible,
    env,
    fmt::Write as _,
    future::pending,
    mem,
    panic::resume_unwind,
    sync::{Arc, Mutex},
    task::Poll,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Request, Response};
use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, prop_oneof},
    prop_assert, proptest,
    sample::select,
};
use tokio::{
    runtime::Builder,
    time::{Instant, advance, sleep},
};
use tokio_test::task;
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};
use tower_bearer::{BearerAuth, BearerAuthLayer, Error, Token, TokenCache};

use self::support::{ApiService, Body, TokenEndpoint, answer, bearer, get, lock, settle, token};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Operation {
    /// So many requests at once, which nobody waits for before the history goes on.
    Requests(usize, Route),
    /// A request that is polled so often, with a little time in between, and dropped.
    LeftRequest(usize),
    /// Asks for the token, and does not wait if there is none.
    Get,
    Refresh,
    /// Invalidates the token that `Get` got last.
    Invalidate,
    /// The authorization server revokes the token that it gave last.
    Revoke,
    /// From here on the authorization server does so.
    Answer(Answer),
    /// Time passes, and everything goes its way meanwhile.
    Pass(Duration),
    /// Time passes at once, as on a machine that stands still.
    Stall(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Route {
    /// Accepts each token that is good.
    Sweet,
    /// Rejects every token.
    Sour,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Token { seconds: u64, after: Duration },
    Unavailable,
    Denied,
    Hang,
    Panic,
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let route = prop_oneof![3 => Just(Route::Sweet), 1 => Just(Route::Sour)];
    prop_oneof![
        6 => (select(&[1, 1, 2, 20][..]), route).prop_map(|(n, route)| Operation::Requests(n, route)),
        2 => (1..4_usize).prop_map(Operation::LeftRequest),
        2 => Just(Operation::Get),
        1 => Just(Operation::Refresh),
        1 => Just(Operation::Invalidate),
        2 => Just(Operation::Revoke),
        3 => any_answer().prop_map(Operation::Answer),
        6 => any_time().prop_map(Operation::Pass),
        1 => any_time().prop_map(Operation::Stall),
    ]
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let seconds = select(&[0, 1, 2, 60, 3600][..]);
    let after = select(&[0, 100, 3000][..]).prop_map(Duration::from_millis);
    prop_oneof![
        6 => (seconds, after).prop_map(|(seconds, after)| Answer::Token { seconds, after }),
        1 => Just(Answer::Unavailable),
        1 => Just(Answer::Denied),
        1 => Just(Answer::Hang),
        1 => Just(Answer::Panic),
    ]
}

fn any_time() -> impl Strategy<Value = Duration> {
    let times = &[10, 150, 700, 1500, 5000, 20_000, 50_000, 400_000, 3_000_000];
    select(&times[..]).prop_map(Duration::from_millis)
}

proptest! {
    #![proptest_config(config())]

    /// Promise: F1, F2, F3, F6, F7, L3, L4, L5, L6, L7, L10, L11, R3, S6
    #[test]
    fn any_history_keeps_the_promises(seed: u64, history in vec(any_operation(), 1..40)) {
        // The jitter is a part of the history.
        fastrand::seed(seed);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let world = runtime.block_on(live_through(history));
        let broken = &lock(&world).broken;
        prop_assert!(broken.is_empty(), "{broken}");
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        // Some seconds, for whoever runs all tests.
        cases: match env::var("PROPTEST_CASES") {
            Ok(cases) => cases.parse().unwrap(),
            Err(_) => 1000,
        },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

async fn live_through(history: Vec<Operation>) -> Shared {
    let world = Shared::default();
    let endpoint = authorization_server(&world);
    let cache = TokenCache::new(endpoint.credentials());
    let mut client = Client {
        service: BearerAuthLayer::from_cache(cache.clone()).layer(api(&world)),
        cache,
        world: Arc::clone(&world),
        last: None,
    };
    for operation in history {
        client.live_through(operation).await;
        settle().await;
    }

    client.heal().await;
    world
}

struct Client {
    service: BearerAuth<ApiService>,
    cache: TokenCache,
    world: Shared,
    last: Option<Token>,
}

impl Client {
    async fn live_through(&mut self, operation: Operation) {
        match operation {
            Operation::Requests(n, route) => {
                for _ in 0..n {
                    tokio::spawn(self.request(route));
                }
            }
            Operation::LeftRequest(polls) => {
                let mut request = task::spawn(self.request(Route::Sweet));
                for _ in 0..polls {
                    if request.poll().is_ready() {
                        return;
                    }
                    sleep(Duration::from_millis(40)).await;
                }
                drop(request);
                lock(&self.world).waiting -= 1;
            }
            Operation::Get => {
                let mut getting = task::spawn(self.cache.get());
                if let Poll::Ready(Ok(token)) = getting.poll() {
                    drop(getting);
                    self.last = Some(token);
                }
            }
            Operation::Refresh => {
                // A call that is turned away, or joins others, asks for nothing more.
                lock(&self.world).model.refreshes = true;
                let cache = self.cache.clone();
                tokio::spawn(async move { cache.refresh().await });
                settle().await;
                lock(&self.world).model.refreshes = false;
            }
            Operation::Invalidate => {
                if let Some(token) = &self.last {
                    lock(&self.world).model.forgets(token.authorization());
                    self.cache.invalidate(token);
                }
            }
            Operation::Revoke => lock(&self.world).revoke(),
            Operation::Answer(answer) => lock(&self.world).answer = answer,
            Operation::Pass(time) => sleep(time).await,
            Operation::Stall(time) => {
                {
                    let mut world = lock(&self.world);
                    world.stalls += 1;
                    world.model.restarts |= world.requesting.is_some();
                    if let Some(until) = &mut world.model.second_until {
                        *until += time;
                        world.model.restarts = true;
                    }
                }
                advance(time).await;
            }
        }
    }

    /// Sends a request, and looks at its answer.
    fn request(&self, route: Route) -> impl Future<Output = ()> + Send + 'static {
        let number = {
            let mut world = lock(&self.world);
            world.requests += 1;
            world.waiting += 1;
            world.requests
        };
        let mut request = get(match route {
            Route::Sweet => "/sweet",
            Route::Sour => "/failing",
        });
        request.extensions_mut().insert(Number(number));
        let answer = self.service.clone().oneshot(request);
        let world = Arc::clone(&self.world);
        async move {
            let answer = answer.await;
            lock(&world).answered(number, route, answer);
        }
    }

    /// The authorization server is well again, and so is this client when the longest backoff is over.
    async fn heal(&mut self) {
        let healthy = Answer::Token {
            seconds: 3600,
            after: Duration::ZERO,
        };
        lock(&self.world).answer = healthy;
        // Time for the token request under way to end, and for another one if who waits is then rejected.
        sleep(Duration::from_secs(60)).await;
        {
            let mut world = lock(&self.world);
            let waiting = world.waiting;
            world.claim(waiting == 0, "a request is not answered");
        }
        // The longest backoff in all, with the jitter that lengthens some.
        sleep(Duration::from_secs(280)).await;

        let before = lock(&self.world).answers_200;
        self.request(Route::Sweet).await;
        let mut world = lock(&self.world);
        let healed = world.answers_200 == before + 1;
        world.claim(healed, "it does not heal");
    }
}

#[derive(Clone, Copy)]
struct Number(usize);

type Shared = Arc<Mutex<World>>;

/// Both servers, and what is known of the client from the outside.
#[derive(Default)]
struct World {
    model: Model,
    answer: Answer,
    /// The token request under way whose answer counts, and how many times the machine had stood still when it began.
    requesting: Option<(usize, usize)>,
    posts: usize,
    stalls: usize,
    /// By `Authorization` value.
    issued: HashMap<HeaderValue, Issued>,
    latest: Option<HeaderValue>,
    /// By request, its calls to the API: whether each was let in.
    calls: HashMap<usize, Vec<bool>>,
    requests: usize,
    waiting: usize,
    answers_200: usize,
    ever_revoked: bool,
    ever_failed: bool,
    /// Whether a token request was left without an answer. Its waiters may be out of time a little before it is.
    ever_hung: bool,
    /// The promises that were broken.
    broken: String,
}

struct Issued {
    ends: Instant,
    revoked: bool,
}

impl Default for Answer {
    fn default() -> Self {
        Self::Token {
            seconds: 60,
            after: Duration::from_millis(100),
        }
    }
}

impl World {
    fn claim(&mut self, holds: bool, otherwise: &str) {
        if !holds {
            writeln!(self.broken, "{otherwise}").unwrap();
        }
    }

    fn revoke(&mut self) {
        self.ever_revoked = true;
        if let Some(latest) = &self.latest
            && let Some(issued) = self.issued.get_mut(latest)
        {
            issued.revoked = true;
        }
    }

    /// A request came to the API; whether it is let in.
    fn called(&mut self, number: usize, route: Route, authorization: Option<&HeaderValue>) -> bool {
        let Some(authorization) = authorization else {
            self.claim(false, "a request went out bare");
            return false;
        };
        let now = Instant::now();
        let (known, over, revoked) = match self.issued.get(authorization) {
            Some(issued) => (true, now >= issued.ends, issued.revoked),
            None => (false, false, false),
        };
        self.claim(known, "the API saw a token that was never issued");
        self.claim(!over, "the API saw a token that was over");
        let accepted = known && !over && !revoked && route == Route::Sweet;
        if !accepted {
            self.model.rejects(authorization, revoked);
        }
        let calls = self.calls.entry(number).or_default();
        calls.push(accepted);
        let calls = calls.len();
        self.claim(calls <= 2, "a request was sent a third time");
        accepted
    }

    /// A request was answered, as its caller sees it.
    fn answered<E: Into<tower::BoxError>>(
        &mut self,
        number: usize,
        route: Route,
        answer: Result<Response<Body>, E>,
    ) {
        self.waiting -= 1;
        match answer {
            Ok(answer) if answer.status() == 200 => {
                self.answers_200 += 1;
                let accepted = self.calls[&number].last() == Some(&true);
                self.claim(accepted, "a 200 that the API did not give");
            }
            Ok(_) => {
                let for_a_reason = self.ever_revoked || route == Route::Sour;
                self.claim(for_a_reason, "a 401 for a token that was good");
            }
            Err(error) => {
                let error: tower::BoxError = error.into();
                self.claim(error.is::<Error>(), "an error that is not the crate's");
                let for_a_reason = self.ever_failed || self.ever_hung;
                self.claim(for_a_reason, "an error, and no token request failed");
            }
        }
    }
}

fn api(world: &Shared) -> ApiService {
    let world = Arc::clone(world);
    BoxCloneSyncService::new(tower::service_fn(move |request: Request<Body>| {
        let number = request.extensions().get::<Number>().unwrap().0;
        let route = match request.uri().path() {
            "/failing" => Route::Sour,
            _ => Route::Sweet,
        };
        let _one = bearer(request.headers());
        let authorization = request.headers().get("authorization");
        let accepted = lock(&world).called(number, route, authorization);
        async move {
            sleep(Duration::from_millis(20)).await;
            Ok::<_, Infallible>(answer(if accepted { 200 } else { 401 }, ""))
        }
    }))
}

fn authorization_server(world: &Shared) -> TokenEndpoint {
    let world = Arc::clone(world);
    TokenEndpoint::new(move |post| {
        let begun = UnderWay::begin(&world);
        let world = Arc::clone(&world);
        async move {
            // All of it, and not just the fields that are used.
            let mut token_request = begun;
            let (status, body) = match token_request.answer {
                Answer::Token { seconds, after } => {
                    sleep(after).await;
                    token_request.ending = Ending::Token { seconds };
                    return lock(&world).issue(post, seconds);
                }
                Answer::Unavailable => {
                    token_request.ending = Ending::Unavailable;
                    (503, "")
                }
                Answer::Denied => {
                    token_request.ending = Ending::Denied;
                    (400, r#"{"error":"invalid_scope"}"#)
                }
                Answer::Hang => pending().await,
                Answer::Panic => {
                    token_request.ending = Ending::Panic;
                    // A panic that is meant, past the hook that would print it.
                    resume_unwind(Box::new(()))
                }
            };
            answer(status, body)
        }
    })
}

impl World {
    fn issue(&mut self, post: usize, seconds: u64) -> Response<Body> {
        let name = format!("t{post}");
        let authorization = HeaderValue::try_from(format!("Bearer {name}")).unwrap();
        let issued = Issued {
            ends: Instant::now() + lifetime(seconds),
            revoked: false,
        };
        self.issued.insert(authorization.clone(), issued);
        self.latest = Some(authorization);
        token(&name, seconds)
    }
}

/// Of nothing, it says nothing: the default.
fn lifetime(seconds: u64) -> Duration {
    Duration::from_secs(if seconds == 0 { 300 } else { seconds })
}

/// A token request under way, however it ends.
struct UnderWay {
    world: Shared,
    answer: Answer,
    began: Moment,
    number: usize,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Token {
        seconds: u64,
    },
    Denied,
    Panic,
    Unavailable,
    /// Cut off, by the client's deadline or because it gave up.
    Cut,
}

impl UnderWay {
    fn begin(world: &Shared) -> Self {
        let began = Moment::now();
        let mut locked = lock(world);
        let stalls = locked.stalls;
        if let Some((_, stalls_then)) = locked.requesting {
            // After a standstill one that is silent may be given up for another.
            locked.claim(stalls_then != stalls, "two token requests at once");
            locked.model.restarts = true;
        }
        locked.ever_hung |= locked.answer == Answer::Hang;
        locked.posts += 1;
        let number = locked.posts;
        locked.requesting = Some((number, stalls));
        if let Err(reason) = locked.model.token_requests(began) {
            locked.claim(false, reason);
        }
        Self {
            world: Arc::clone(world),
            answer: locked.answer,
            began,
            number,
            ending: Ending::Cut,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut world = lock(&self.world);
        let stood_still = match world.requesting {
            Some((number, stalls)) if number == self.number => stalls != world.stalls,
            // It was given up.
            _ => return,
        };
        world.requesting = None;
        if stood_still && self.ending == Ending::Cut {
            // That is no failure of the server's.
            world.model.restarts = true;
            return;
        }
        let authorization = world.latest.clone();
        let failed = world.model.ends(self.began, self.ending, authorization);
        world.ever_failed |= failed;
    }
}

/// What the promises allow the client, told of what can be seen from the outside.
#[derive(Default)]
struct Model {
    /// The token that the client must have.
    held: Option<Known>,
    failure: Option<Failure>,
    /// Whether `refresh` is being called.
    refreshes: bool,
    /// The next token request stands for one that was cut off.
    restarts: bool,
    /// Until when the next token request is the second attempt of one that failed in passing, and the failure before it.
    second_until: Option<Instant>,
    before_second: Option<Failure>,
    /// Whether that is under way.
    is_second: bool,
    /// When a token request was last made for no other reason than a rejection of a token that was good.
    last_in_vain: Option<Instant>,
}

/// The last failures, all of one kind.
struct Failure {
    permanent: bool,
    in_a_row: u32,
    /// No token request before.
    until: Instant,
}

struct Known {
    authorization: HeaderValue,
    began: Moment,
    /// No refresh before this age.
    fresh_for: Duration,
    forgotten: bool,
    rejected: bool,
    revoked: bool,
}

impl Model {
    /// A token request begins: was there a reason?
    fn token_requests(&mut self, now: Moment) -> Result<(), &'static str> {
        let is_second = self
            .second_until
            .take()
            .is_some_and(|until| now.steady <= until);
        self.is_second = is_second;
        let before_second = self.before_second.take();
        if is_second {
            // The two of them count as one.
            self.failure = before_second;
        }
        if is_second || mem::take(&mut self.restarts) {
            return Ok(());
        }
        // Whoever calls `refresh` may have changed what a permanent failure is about.
        let ended = |failure: &&Failure| !(self.refreshes && failure.permanent);
        if self
            .failure
            .as_ref()
            .filter(ended)
            .is_some_and(|failure| now.steady < failure.until)
        {
            return Err("a token request within the backoff");
        }
        match &self.held {
            None => Ok(()),
            _ if self.refreshes => Ok(()),
            Some(held) if held.forgotten || held.revoked && held.rejected => Ok(()),
            Some(held) if now.since(held.began) >= held.fresh_for => Ok(()),
            Some(held) if held.rejected => {
                let last = self.last_in_vain.replace(now.steady);
                let soon = last.is_some_and(|last| now.steady < last + Duration::from_millis(500));
                if soon {
                    return Err("a token request for each request that no token heals");
                }
                Ok(())
            }
            Some(_) => Err("a token request without a reason"),
        }
    }

    /// It ends; whether it failed.
    fn ends(&mut self, began: Moment, ending: Ending, token: Option<HeaderValue>) -> bool {
        let now = Moment::now();
        let took = now.since(began);
        let step = |first: u64, last: u64, times: u32| {
            Duration::from_secs(first.saturating_mul(1 << (times - 1).min(20)).min(last))
        };
        if let Ending::Token { seconds } = ending
            && let Some(authorization) = token
        {
            let lifetime = lifetime(seconds);
            let usable_for = lifetime - (lifetime / 10).min(Duration::from_secs(30));
            if took < lifetime {
                let in_time = usable_for.saturating_sub(took * 2);
                self.held = Some(Known {
                    authorization,
                    began,
                    fresh_for: (lifetime * 3 / 4).min(in_time).max(lifetime / 2),
                    forgotten: false,
                    rejected: false,
                    revoked: false,
                });
                self.failure = None;
                return false;
            }
        }
        let last = self
            .failure
            .as_ref()
            .filter(|last| now.steady < last.until + Duration::from_secs(300));
        let (permanent, in_a_row) = match last {
            // No answer: the last definite one stays the cause.
            Some(last) if last.permanent && ending == Ending::Cut => (true, last.in_a_row),
            Some(last) if last.permanent == (ending == Ending::Denied) => {
                (last.permanent, last.in_a_row + 1)
            }
            _ => (ending == Ending::Denied, 1),
        };
        let backoff = match (ending, permanent, in_a_row) {
            (Ending::Panic, _, 1) => Duration::ZERO,
            (_, true, failures) => step(30, 300, failures) / 10,
            (_, false, failures) => step(1, 60, failures) / 10,
        };
        let before = self.failure.replace(Failure {
            permanent,
            in_a_row,
            until: now.steady + backoff,
        });
        if ending == Ending::Unavailable && !mem::take(&mut self.is_second) {
            self.second_until = Some(now.steady + Duration::from_millis(201));
            self.before_second = before;
        }
        true
    }

    fn rejects(&mut self, authorization: &HeaderValue, revoked: bool) {
        if let Some(held) = &mut self.held
            && held.authorization == authorization
        {
            held.rejected = true;
            held.revoked |= revoked;
        }
    }

    fn forgets(&mut self, authorization: &HeaderValue) {
        if let Some(held) = &mut self.held
            && held.authorization == authorization
        {
            held.forgotten = true;
        }
    }
}

/// Both clocks, as the client has them: the wall clock goes on by itself even here.
#[derive(Clone, Copy)]
struct Moment {
    steady: Instant,
    wall: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Self {
            steady: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    fn since(self, earlier: Self) -> Duration {
        let by_wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        (self.steady - earlier.steady).max(by_wall)
    }
}

/// One cache and several runtimes, of which some are not driven. Each has its own paused clock, and the history moves them
/// together, by steps that are too short for a pilot to seem silent.
mod runtimes {
    use proptest::prelude::any;
    use tokio::{runtime::Runtime, time::sleep_until};
    use tower::service_fn;
    use tower_bearer::{
        cache::CacheState,
        token::{TokenRequest, TokenSource},
    };

    use super::*;

    const RUNTIMES: usize = 3;
    const STEP: Duration = Duration::from_millis(250);

    /// What a caller waits at the most: the time limit of a token request, and what it takes to see that it is over.
    const LONGEST: Duration = Duration::from_millis(10_500);

    /// What one interruption costs: it is noticed within 650 ms and a step, and then comes a token request.
    const INTERRUPTION: Duration = Duration::from_millis(1500);

    #[derive(Clone, Debug)]
    enum Event {
        /// So many calls on this runtime, which nobody waits for.
        Get(usize, usize),
        /// A call that is dropped when it was polled once.
        LeftGet(usize),
        Refresh(usize),
        /// Invalidates the token that was given last.
        Invalidate,
        KeepWarm(usize),
        /// From here on nobody drives it.
        Stall(usize),
        /// It is driven again: its timers are late.
        Resume(usize),
        /// It is shut down, and another takes its place.
        Stop(usize),
        Answer(Answer),
        Pass(Duration),
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let runtime = || 0..RUNTIMES;
        let times = select(&[10, 150, 700, 1500, 5000, 11_000][..]);
        prop_oneof![
            5 => (select(&[1, 1, 2, 10][..]), runtime()).prop_map(|(n, at)| Event::Get(n, at)),
            1 => runtime().prop_map(Event::LeftGet),
            1 => runtime().prop_map(Event::Refresh),
            2 => Just(Event::Invalidate),
            1 => runtime().prop_map(Event::KeepWarm),
            3 => runtime().prop_map(Event::Stall),
            3 => runtime().prop_map(Event::Resume),
            2 => runtime().prop_map(Event::Stop),
            2 => any_answer().prop_map(Event::Answer),
            6 => times.prop_map(Duration::from_millis).prop_map(Event::Pass),
        ]
    }

    fn any_answer() -> impl Strategy<Value = Answer> {
        let after = select(&[0, 100, 400][..]).prop_map(Duration::from_millis);
        prop_oneof![
            4 => after.prop_map(|after| Answer::Token { seconds: 60, after }),
            1 => Just(Answer::Unavailable),
            1 => Just(Answer::Hang),
            1 => Just(Answer::Panic),
        ]
    }

    proptest! {
        #![proptest_config(config())]

        /// Promise: F8, F11, F12, F13, F14
        #[test]
        fn any_history_of_runtimes_keeps_the_promises(
            seed: u64, is_healthy in any::<bool>(), history in vec(any_event(), 1..25),
        ) {
            fastrand::seed(seed);
            let mut fleet = Fleet::new(is_healthy);
            for event in history {
                fleet.live_through(event);
            }
            fleet.end();
            let broken = &lock(&fleet.world).broken;
            prop_assert!(broken.is_empty(), "{broken}");
        }
    }

    struct Fleet {
        homes: Vec<Home>,
        /// What time it is on the runtimes that are driven.
        now: Instant,
        cache: TokenCache,
        world: Shared,
        is_healthy: bool,
    }

    struct Home {
        runtime: Runtime,
        is_driven: bool,
        keeps_warm: bool,
    }

    type Shared = Arc<Mutex<World>>;

    #[derive(Default)]
    struct World {
        answer: Answer,
        is_healthy: bool,
        tokens: usize,
        last: Option<Token>,
        /// Calls that are not over, by runtime.
        waiting: [usize; RUNTIMES],
        /// How often a runtime was not driven any more, or a token was invalidated.
        disturbances: u32,
        /// How often this runtime was not driven.
        stalls: [u32; RUNTIMES],
        broken: String,
    }

    impl Fleet {
        fn new(is_healthy: bool) -> Self {
            let homes: Vec<_> = (0..RUNTIMES).map(|_| Home::new()).collect();
            let now = homes.iter().map(Home::now).max().unwrap();
            let world = Shared::default();
            lock(&world).is_healthy = is_healthy;
            let fleet = Self {
                homes,
                now,
                cache: TokenCache::new(source(&world)),
                world,
                is_healthy,
            };
            fleet.homes.iter().for_each(|home| home.catch_up(now));
            fleet
        }

        fn live_through(&mut self, event: Event) {
            match event {
                Event::Get(calls, at) => {
                    for _ in 0..calls {
                        let cache = self.cache.clone();
                        self.call(at, async move { cache.get().await });
                    }
                }
                Event::LeftGet(at) if self.homes[at].is_driven => {
                    self.homes[at].runtime.block_on(async {
                        let mut get = task::spawn(self.cache.get());
                        let _ = get.poll();
                    });
                }
                Event::Refresh(at) => {
                    let cache = self.cache.clone();
                    self.call(at, async move { cache.refresh().await });
                }
                Event::Invalidate => {
                    let last = lock(&self.world).last.clone();
                    if let Some(token) = last {
                        lock(&self.world).disturbances += 1;
                        self.cache.invalidate(&token);
                    }
                }
                Event::KeepWarm(at) if self.homes[at].is_driven => {
                    let cache = &self.cache;
                    let home = &mut self.homes[at];
                    home.keeps_warm = true;
                    home.runtime.block_on(async { cache.keep_warm() }).unwrap();
                }
                Event::Stall(at) if self.homes[at].is_driven => {
                    let mut world = lock(&self.world);
                    world.disturbances += 1;
                    world.stalls[at] += 1;
                    self.homes[at].is_driven = false;
                }
                Event::Resume(at) => {
                    self.homes[at].catch_up(self.now);
                    self.homes[at].is_driven = true;
                }
                Event::Stop(at) => {
                    self.homes[at] = Home::new();
                    let mut world = lock(&self.world);
                    world.disturbances += 1;
                    world.stalls[at] += 1;
                    drop(world);
                    self.homes[at].catch_up(self.now);
                }
                Event::Answer(answer) => {
                    let is_token = matches!(answer, Answer::Token { .. });
                    if is_token || !self.is_healthy {
                        lock(&self.world).answer = answer;
                    }
                }
                Event::Pass(time) => self.pass(time),
                Event::LeftGet(_) | Event::KeepWarm(_) | Event::Stall(_) => {}
            }
            self.settle();
        }

        /// A call on this runtime, if it is driven: it begins now, and is looked at when it ends.
        fn call(
            &self,
            at: usize,
            call: impl Future<Output = Result<Token, Error>> + Send + 'static,
        ) {
            if !self.homes[at].is_driven {
                return;
            }
            let waits = Waits::new(&self.world, at);
            let undriven = self.homes.iter().filter(|home| !home.is_driven).count();
            let (disturbances, stalls) = {
                let world = lock(&self.world);
                (world.disturbances, world.stalls[at])
            };
            self.homes[at].runtime.spawn(async move {
                let began = Instant::now();
                let got = call.await;
                let mut world = lock(&waits.world);
                let times = world.disturbances - disturbances + undriven as u32 + 1;
                if world.stalls[at] == stalls {
                    let took = began.elapsed();
                    world.claim(took <= LONGEST, "a call outlasts its time");
                    let is_soon = !world.is_healthy || took <= INTERRUPTION * times;
                    world.claim(is_soon, "a call waits for a runtime that is not its own");
                }
                match got {
                    Ok(token) => world.last = Some(token),
                    Err(error) if world.is_healthy => {
                        world.claim(false, &format!("no token of a healthy endpoint: {error}"));
                    }
                    Err(_) => {}
                }
                drop(world);
                drop(waits);
            });
        }

        fn pass(&mut self, time: Duration) {
            let end = self.now + time;
            while self.now < end {
                self.now = end.min(self.now + STEP);
                for home in self.homes.iter().filter(|home| home.is_driven) {
                    home.live_until(self.now);
                }
                self.look();
            }
        }

        /// Lets everyone who can go on do so, also where one wakes another on a different runtime.
        fn settle(&self) {
            for _ in 0..2 {
                for home in self.homes.iter().filter(|home| home.is_driven) {
                    home.runtime.block_on(settle());
                }
            }
            self.look();
        }

        /// What holds at any time.
        fn look(&self) {
            let backs_off = self.state().is_some_and(|state| state.error().is_some());
            let mut world = lock(&self.world);
            let is_sound = !world.is_healthy || !backs_off;
            world.claim(is_sound, "a backoff, and the endpoint is healthy");
        }

        /// By the clock of a runtime that is driven.
        fn state(&self) -> Option<CacheState> {
            let home = self.homes.iter().find(|home| home.is_driven)?;
            let _within = home.runtime.enter();
            Some(self.cache.state())
        }

        fn end(&mut self) {
            self.pass(LONGEST + STEP);
            for at in 0..RUNTIMES {
                let is_over = !self.homes[at].is_driven || lock(&self.world).waiting[at] == 0;
                lock(&self.world).claim(is_over, "a call on a runtime that is driven does not end");
            }
            for at in 0..RUNTIMES {
                self.live_through(Event::Resume(at));
            }
            self.pass(LONGEST + STEP);
            let waiting = lock(&self.world).waiting;
            lock(&self.world).claim(waiting == [0; RUNTIMES], "a call does not end");

            if !self.is_healthy {
                // The longest backoff.
                lock(&self.world).answer = Answer::default();
                self.pass(Duration::from_secs(60));
                lock(&self.world).is_healthy = true;
            }
            let is_kept_warm = self.homes.iter().any(|home| home.keeps_warm);
            let is_usable = self.state().is_some_and(|state| state.is_usable());
            lock(&self.world).claim(is_usable || !is_kept_warm, "nobody keeps it warm");
            for at in 0..RUNTIMES {
                self.live_through(Event::Get(1, at));
            }
            self.pass(STEP * 2);
            let waiting = lock(&self.world).waiting;
            lock(&self.world).claim(waiting == [0; RUNTIMES], "it does not heal");
        }
    }

    impl Home {
        fn new() -> Self {
            let mut builder = Builder::new_current_thread();
            let runtime = builder.enable_time().start_paused(true).build().unwrap();
            Self {
                runtime,
                is_driven: true,
                keeps_warm: false,
            }
        }

        fn now(&self) -> Instant {
            let _within = self.runtime.enter();
            Instant::now()
        }

        /// Its clock stood still until now. No timer went off in time.
        fn catch_up(&self, now: Instant) {
            let missed = now.saturating_duration_since(self.now());
            self.runtime.block_on(async { advance(missed).await });
        }

        fn live_until(&self, then: Instant) {
            self.runtime.block_on(async { sleep_until(then).await });
        }
    }

    impl World {
        fn claim(&mut self, holds: bool, otherwise: &str) {
            if !holds {
                writeln!(self.broken, "{otherwise}").unwrap();
            }
        }
    }

    /// A call that is not over, however it ends.
    struct Waits {
        world: Shared,
        at: usize,
    }

    impl Waits {
        fn new(world: &Shared, at: usize) -> Self {
            lock(world).waiting[at] += 1;
            Self {
                world: Arc::clone(world),
                at,
            }
        }
    }

    impl Drop for Waits {
        fn drop(&mut self) {
            lock(&self.world).waiting[self.at] -= 1;
        }
    }

    fn source(world: &Shared) -> impl TokenSource + use<> {
        let world = Arc::clone(world);
        service_fn(move |_: TokenRequest| {
            let answer = lock(&world).answer;
            let world = Arc::clone(&world);
            async move {
                match answer {
                    Answer::Token { seconds, after } => {
                        sleep(after).await;
                        let number = {
                            let mut world = lock(&world);
                            world.tokens += 1;
                            world.tokens
                        };
                        let token = Token::new(format!("t{number}"))?;
                        Ok::<_, tower::BoxError>(token.with_lifetime(Duration::from_secs(seconds)))
                    }
                    Answer::Unavailable | Answer::Denied => Err("503".into()),
                    Answer::Hang => pending().await,
                    Answer::Panic => resume_unwind(Box::new(())),
                }
            }
        })
    }
}
