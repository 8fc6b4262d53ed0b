//! The single flight under every interleaving that a checker can think of: the code itself, between threads that [shuttle]
//! runs in an order of its own, with a clock that the threads move.
//!
//! What can come in between, and what is taken for one step, is said in [`crate::cache::shuttle::model`].
//!
//! [shuttle]: https://docs.rs/shuttle

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

use shuttle::{
    future::block_on,
    rand::{Rng, RngCore, rngs::ThreadRng, thread_rng},
    thread,
};
use tower_service::Service;

use crate::{
    cache::{
        Route, TokenCache, TokenState,
        flight::SingleFlight,
        shuttle::{
            check_any_order, check_few_changes,
            model::{self, Instant},
            runs,
        },
    },
    error::Error,
    token::{Reason, Token, TokenRequest, challenge::Challenges},
};

/// Promise: F2, F3, F5, F6, F7, F8, F10, F11, F12, F13, F17, L13, R1, R4, R16
#[test]
fn a_flight_keeps_its_promises_whichever_thread_goes_next() {
    check_any_order(run_any_program);
}

/// The same with few changes between threads, each at the worst point for somebody.
///
/// Promise: F2, F3, F5, F6, F7, F8, F10, F11, F12, F13, F17, L13, R1, R4, R16
#[test]
fn a_flight_keeps_its_promises_when_one_thread_is_held_up_at_any_point() {
    check_few_changes(run_any_program);
}

/// What lands while another token is looked at, and before it is taken away. Threads that take turns at random do not come there.
///
/// Promise: F10, R4
#[test]
fn a_token_that_lands_while_the_one_before_it_is_invalidated_stays() {
    check_few_changes(|| {
        let invalidates = [Operation::Get, Operation::Forget].repeat(2);
        let refreshes = [Operation::Get, Operation::Refresh].repeat(2);
        run(Program {
            threads: vec![invalidates, refreshes],
            sticky: false,
            unruly: false,
        });
    });
}

/// What some threads do with one cache.
#[derive(Clone, Debug)]
struct Program {
    threads: Vec<Vec<Operation>>,
    /// Whether the source may give the same token again.
    sticky: bool,
    /// Whether token requests may fail, panic, hang and be dropped.
    unruly: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Get,
    /// Polls a `get` so often, then leaves it.
    LeaveGet(usize),
    Refresh,
    LeaveRefresh(usize),
    /// Sees the last token rejected on a route, and wants another to try once more. What becomes of that:
    Replace(Route, Retry),
    /// Sees the last token rejected, and cannot try once more.
    StartReplacing,
    Forget,
    Pass(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Retry {
    Rejected,
    Accepted,
}

/// What every token is good for.
const LIFETIME: Duration = Duration::from_secs(100);

/// Times to pass: within a token's life, past its refresh point, into its hard margin, past its end.
const TIMES: [Duration; 4] = [
    Duration::from_secs(7),
    Duration::from_secs(86),
    Duration::from_secs(91),
    Duration::from_secs(101),
];

/// Past the end of each token and of each backoff.
const LONG: Duration = Duration::from_secs(3600);

impl Program {
    fn any(random: &mut ThreadRng) -> Self {
        // A program with a few kinds of operation has more of the few than one with all of them.
        let kinds: Vec<_> = (0..4).map(|_| random.gen_range(0..KINDS)).collect();
        let threads = random.gen_range(2..=4);
        Self {
            threads: (0..threads)
                .map(|_| {
                    let operations = random.gen_range(1..=5);
                    (0..operations)
                        .map(|_| Operation::any(kinds[random.gen_range(0..kinds.len())], random))
                        .collect()
                })
                .collect(),
            sticky: random.gen_ratio(1, 4),
            unruly: random.gen_ratio(1, 2),
        }
    }

    fn passes(&self) -> bool {
        let mut operations = self.threads.iter().flatten();
        operations.any(|operation| matches!(operation, Operation::Pass(_)))
    }

    fn refreshes(&self) -> bool {
        self.threads
            .iter()
            .flatten()
            .any(|operation| matches!(operation, Operation::Refresh | Operation::LeaveRefresh(_)))
    }
}

/// The kinds of operation, for [`Operation::any`].
const KINDS: usize = 9;

impl Operation {
    fn any(kind: usize, random: &mut ThreadRng) -> Self {
        match kind {
            0 | 1 => Self::Get,
            2 => Self::LeaveGet(random.gen_range(1..4)),
            3 => Self::Refresh,
            4 => Self::LeaveRefresh(random.gen_range(1..4)),
            5 => {
                let retry = if random.gen_ratio(1, 4) {
                    Retry::Rejected
                } else {
                    Retry::Accepted
                };
                Self::Replace(Route::new(random.gen_range(1..3)), retry)
            }
            6 => Self::StartReplacing,
            7 => Self::Forget,
            _ => Self::Pass(TIMES[random.gen_range(0..TIMES.len())]),
        }
    }
}

fn run_any_program() {
    run(Program::any(&mut thread_rng()));
}

fn run(program: Program) {
    runs(&program);
    // The jitter is part of the run too.
    fastrand::seed(thread_rng().next_u64());
    model::begin(program.unruly);

    let ledger = Arc::new(Ledger::new(&program));
    let cache = TokenCache::new(Tokens(Arc::clone(&ledger)));
    ledger.notes().cache = Arc::downgrade(&cache.flight);
    let threads: Vec<_> = program
        .threads
        .into_iter()
        .map(|operations| {
            let mut client = Client {
                cache: cache.clone(),
                ledger: Arc::clone(&ledger),
                last: None,
            };
            thread::spawn(move || block_on(client.run(operations)))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    make_sure_of_a_sound_end(cache, &ledger);
}

/// Nobody asks any more, but a token request may be under way that everyone left.
fn make_sure_of_a_sound_end(cache: TokenCache, ledger: &Ledger) {
    model::calm();
    ledger.notes().healthy = true;
    // A flight that was given up ends by itself. While it calls the source, the ledger reads the cache for it, and a read may start
    // another one.
    wait_until(|| ledger.notes().under_way == 0 && !cache.state().is_requesting());
    ledger.make_sure_of_the_last_token(&cache);

    model::pass(LONG);
    let (known, token_requests) = {
        let notes = ledger.notes();
        (notes.known(), notes.token_requests)
    };
    let (token, at) = block_on(timed(cache.get()));
    ledger.saw_usable(&token.unwrap(), &known, at);
    assert_eq!(ledger.notes().token_requests, token_requests + 1);

    // Past the refresh point. Nobody waits, so nobody would miss the token request.
    model::pass(TIMES[1]);
    assert!(cache.read(|_| ()).is_some());
    wait_until(|| ledger.notes().token_requests == token_requests + 2);

    let flight = Arc::downgrade(&cache.flight);
    drop(cache);
    wait_until(|| flight.strong_count() == 0);
}

/// Waits for what must come true with nobody's help.
fn wait_until(condition: impl Fn() -> bool) {
    let mut tries = 0;
    while !condition() {
        tries += 1;
        assert!(tries < 1000, "it does not come true");
        thread::yield_now();
    }
}

/// One thread.
struct Client {
    cache: TokenCache,
    ledger: Arc<Ledger>,
    /// The last token that it had.
    last: Option<Token>,
}

impl Client {
    async fn run(&mut self, operations: Vec<Operation>) {
        for operation in operations {
            let known = self.ledger.notes().known();
            match (operation, self.last.clone()) {
                (Operation::Pass(time), _) => model::pass(time),
                (Operation::LeaveGet(after), _) => leave(self.cache.get(), after).await,
                (Operation::LeaveRefresh(after), _) => leave(self.cache.refresh(), after).await,
                (Operation::Refresh, _) => {
                    if let Ok(token) = self.cache.refresh().await {
                        self.ledger.saw(&token, &known);
                        self.last = Some(token);
                    }
                }
                (Operation::Replace(route, retry), Some(rejected)) => {
                    self.replace(&rejected, route, retry).await;
                }
                (Operation::StartReplacing, Some(rejected)) => {
                    self.ledger.rejected(&rejected);
                    let route = Route::new(3);
                    self.cache.rejected_for_good(
                        rejected.generation(),
                        route,
                        &Challenges::default(),
                    );
                }
                (Operation::Forget, Some(last)) => {
                    {
                        let mut notes = self.ledger.notes();
                        notes.forgotten.insert(last.generation());
                        let value = last.authorization().as_bytes().to_vec();
                        notes.forgotten_values.insert(value);
                    }
                    self.cache.invalidate(&last);
                    self.ledger.notes().gone.insert(last.generation());
                }
                // The last three do something with a token, and there is none yet.
                _ => {
                    let got = got(&self.ledger, self.cache.get()).await;
                    let at = got.began;
                    if let Ok(token) = got.output {
                        assert!(
                            !got.gone.contains(&token.generation()),
                            "a token that was invalidated before"
                        );
                        // Where none fails and none is given up, there is a token in its place.
                        let has_waited = got.has_waited && !self.ledger.sticky;
                        assert!(
                            !has_waited
                                || self.ledger.may_give_up
                                || !got.replaced.contains(&token.generation()),
                            "whoever waited was given a token that was rejected before"
                        );
                        self.ledger.saw_usable(&token, &known, at);
                        self.last = Some(token);
                    }
                }
            }
        }
    }

    /// As `ResponseFuture` does, from a rejection to the end of the retry.
    async fn replace(&mut self, rejected: &Token, route: Route, retry: Retry) {
        let known = self.ledger.rejected(rejected);
        let generation = rejected.generation();
        match self
            .cache
            .rejected(generation, route, &Challenges::default())
            .await
        {
            Ok(Some(other)) => {
                assert!(other.token.generation() != generation, "the same one");
                self.ledger.saw(&other.token, &known);
                let known = self.ledger.notes().known();
                let (token, at) = timed(async { self.cache.read(Token::clone) }).await;
                if let Some(token) = token {
                    self.ledger.saw_usable(&token, &known, at);
                    let is_rejected = retry == Retry::Rejected;
                    if is_rejected {
                        self.ledger.rejected(&token);
                    }
                    self.cache.retry(route, token.generation(), is_rejected);
                    self.last = Some(token);
                }
            }
            Ok(None) => assert!(
                self.ledger.sticky,
                "the rejected token was given again, and not by the source"
            ),
            Err(_) => {}
        }
    }
}

/// The output of a future, and what time it was when the poll that gave it began.
async fn timed<T>(future: impl Future<Output = T>) -> (T, Instant) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let began = model::look_at_clock();
        future.as_mut().poll(cx).map(|output| (output, began))
    })
    .await
}

/// What became of a call, and what was known when the poll that ended it began.
struct Got<T> {
    output: T,
    began: Instant,
    gone: HashSet<u64>,
    replaced: HashSet<u64>,
    has_waited: bool,
}

async fn got<T>(ledger: &Ledger, future: impl Future<Output = T>) -> Got<T> {
    let mut future = pin!(future);
    let mut has_waited = false;
    poll_fn(|cx| {
        let began = model::look_at_clock();
        let (gone, replaced) = {
            let notes = ledger.notes();
            (notes.gone.clone(), notes.replaced.clone())
        };
        let polled = future.as_mut().poll(cx).map(|output| Got {
            output,
            began,
            gone,
            replaced,
            has_waited,
        });
        has_waited = true;
        polled
    })
    .await
}

/// Polls a future so often, whether it was woken or not, and drops it.
async fn leave<T>(future: impl Future<Output = T>, after: usize) {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|cx: &mut Context<'_>| {
        if polls == after || future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        polls += 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What everyone notes down, in steps of no time.
struct Ledger {
    sticky: bool,
    /// Whether time passes by itself or at any point, so that a pilot may seem silent.
    may_give_up: bool,
    refreshes: bool,
    notes: Mutex<Notes>,
}

struct Notes {
    cache: Weak<SingleFlight>,
    healthy: bool,
    token_requests: u64,
    under_way: usize,
    /// When the last token request was over.
    over: Instant,
    /// When the source was called last, and when it was called before that.
    last_call: Instant,
    call_before: Instant,
    /// By `Authorization` value.
    lives: HashMap<Vec<u8>, Life>,
    /// The newest token that anybody had.
    newest: Option<(u64, Life)>,
    /// What the source gave last.
    given: Option<Vec<u8>>,
    forgotten: HashSet<u64>,
    forgotten_values: HashSet<Vec<u8>>,
    /// Those of them that nobody is to be given any more.
    gone: HashSet<u64>,
    rejected: HashSet<u64>,
    rejected_values: HashSet<Vec<u8>>,
    /// Those of them that another token was requested for.
    replaced: HashSet<u64>,
}

/// A token's life begins between the two.
#[derive(Clone, Copy, Debug)]
struct Life {
    not_before: Instant,
    not_after: Instant,
}

/// What was known when an operation began.
struct Known {
    /// The newest token that anybody had.
    newest: Option<(u64, Life)>,
    /// The rejected ones that another was requested for, and that were not in use. One that is in use is given until the other one
    /// has landed, and may be on its way to its caller then.
    replaced: HashSet<u64>,
}

impl Ledger {
    fn new(program: &Program) -> Self {
        Self {
            sticky: program.sticky,
            may_give_up: program.unruly || program.passes(),
            refreshes: program.refreshes(),
            notes: Mutex::new(Notes {
                cache: Weak::new(),
                healthy: !program.unruly,
                token_requests: 0,
                under_way: 0,
                over: model::look_at_clock(),
                last_call: model::look_at_clock(),
                call_before: model::look_at_clock(),
                lives: HashMap::new(),
                newest: None,
                given: None,
                forgotten: HashSet::new(),
                forgotten_values: HashSet::new(),
                gone: HashSet::new(),
                rejected: HashSet::new(),
                rejected_values: HashSet::new(),
                replaced: HashSet::new(),
            }),
        }
    }

    /// Never held while another thread may come in.
    fn notes(&self) -> MutexGuard<'_, Notes> {
        // Poisoned if a thread that unwinds is held up while another one is here.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token is about to be told rejected. What was known before.
    fn rejected(&self, token: &Token) -> Known {
        let mut notes = self.notes();
        notes.rejected.insert(token.generation());
        let value = token.authorization().as_bytes().to_vec();
        notes.rejected_values.insert(value);
        notes.known()
    }

    /// A token came of an operation that began when this was known.
    fn saw(&self, token: &Token, known: &Known) {
        let generation = token.generation();
        if let Some((newest, _)) = known.newest {
            let is_before_the_rejected =
                self.notes().rejected.contains(&newest) && !known.replaced.contains(&generation);
            assert!(
                generation >= newest || is_before_the_rejected,
                "{generation} after {newest}: an older token came back"
            );
        }
        let mut notes = self.notes();
        let life = notes.lives[token.authorization().as_bytes()];
        if notes.newest.is_none_or(|(newest, _)| newest <= generation) {
            notes.newest = Some((generation, life));
        }
    }

    /// The same, and it was to be sent `at` that time.
    fn saw_usable(&self, token: &Token, known: &Known, at: Instant) {
        self.saw(token, known);
        let life = self.notes().lives[token.authorization().as_bytes()];
        assert!(
            at < life.not_after + LIFETIME,
            "a token that was over was to be sent"
        );
    }

    /// Whether there was any need for a token request. It is looked at when the token request is under way, so the token that was
    /// there when it took off is there still, or there is none.
    fn make_sure_of_the_need(&self, request: &TokenRequest) {
        let Some(flight) = self.notes().cache.upgrade() else {
            return;
        };
        let cache = TokenCache { flight };
        let state = cache.state();
        // A flight may be given up while its source is called. Then nobody looks at what comes of it.
        assert!(state.is_requesting() || self.may_give_up);
        let asked = request.current_token().map(Token::generation);
        match request.reason() {
            Reason::Cold => {
                assert!(
                    !state.is_usable(),
                    "there is a token that would have met the need"
                );
                let notes = self.notes();
                let now = model::look_at_clock();
                if let Some((newest, life)) = notes.newest {
                    // One that was rejected may stand back for the one before it. When that one is over, a refresh by name
                    // finds no current token.
                    let stands_back = self.refreshes && notes.rejected.contains(&newest);
                    assert!(
                        stands_back
                            || now >= life.not_before + LIFETIME
                            || notes.forgotten.contains(&newest),
                        "token {newest} was lost"
                    );
                }
                // Nobody may have seen it yet. It may be of a flight that was given up.
                if let Some(given) = notes.given.as_ref().filter(|_| !self.may_give_up) {
                    assert!(
                        now >= notes.lives[given].not_before + LIFETIME
                            || notes.forgotten_values.contains(given),
                        "the last token was lost"
                    );
                }
            }
            Reason::Refresh => {
                // The one before a rejected one, which may be in use meanwhile, counts as fresh for a second.
                let is_rejected = asked.is_some_and(|asked| self.notes().rejected.contains(&asked));
                assert!(
                    is_rejected
                        || self.refreshes
                        || !matches!(state.token(), TokenState::Fresh { .. }),
                    "the token is not due for refresh"
                );
            }
            Reason::Rejected => {
                self.notes().replaced.extend(asked);
                let current = cache.read(Token::generation);
                assert!(
                    current.is_none() || current == asked,
                    "there is another token than the rejected one"
                );
            }
        }
    }

    /// When nobody does anything any more, the last token that came is in use.
    fn make_sure_of_the_last_token(&self, cache: &TokenCache) {
        let notes = self.notes();
        let Some(given) = notes.given.as_ref().filter(|_| !self.may_give_up) else {
            return;
        };
        let held = cache.flight.usable();
        let is_held = held.is_some_and(|held| held.token.authorization().as_bytes() == &given[..]);
        assert!(
            is_held
                || notes.forgotten_values.contains(given)
                || notes.rejected_values.contains(given),
            "the last token is not in use"
        );
    }
}

impl Notes {
    fn known(&self) -> Known {
        let in_use = self.cache.upgrade().and_then(|flight| flight.in_use());
        let mut replaced = self.replaced.clone();
        replaced.retain(|generation| Some(*generation) != in_use);
        Known {
            newest: self.newest,
            replaced,
        }
    }
}

/// A source that does anything.
struct Tokens(Arc<Ledger>);

enum Ending {
    Token(Token),
    Error,
    Panic,
    Hang,
}

impl Tokens {
    /// The end of a token request that begins now.
    fn any_ending(&self) -> Ending {
        let now = model::look_at_clock();
        let mut random = thread_rng();
        let mut notes = self.0.notes();
        notes.token_requests += 1;
        let not_before = match self.0.may_give_up {
            // The pilot that calls may have taken off while another one, which was given up, had the source. That one took off
            // after the call before had been made.
            true => notes.call_before,
            false => notes.over,
        };
        notes.call_before = mem::replace(&mut notes.last_call, now);
        if !notes.healthy {
            match random.gen_range(0..7) {
                0 => return Ending::Error,
                1 => return Ending::Panic,
                2 => return Ending::Hang,
                _ => {}
            }
        }
        let again = self.0.sticky && random.gen_ratio(1, 2);
        let number = if again && notes.token_requests > 1 {
            notes.token_requests - 1
        } else {
            notes.token_requests
        };
        let token = Token::new(format!("t{number}")).unwrap();
        let authorization = token.authorization().as_bytes().to_vec();
        let life = notes.lives.entry(authorization).or_insert(Life {
            not_before,
            not_after: now,
        });
        life.not_after = now;
        notes.given = Some(token.authorization().as_bytes().to_vec());
        Ending::Token(token.with_lifetime(LIFETIME))
    }
}

impl Service<TokenRequest> for Tokens {
    type Response = Token;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Token, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let under_way = UnderWay::new(Arc::clone(&self.0));
        self.0.make_sure_of_the_need(&request);
        let ending = self.any_ending();
        let mut random = thread_rng();
        let polls = random.gen_range(0..3);
        if matches!(ending, Ending::Panic) && polls == 0 {
            model::meant_panic();
        }
        Box::pin(async move {
            let _under_way = under_way;
            for _ in 0..polls {
                shuttle::future::yield_now().await;
            }
            match ending {
                Ending::Token(token) => Ok(token),
                Ending::Error => Err(Error::from_source("not now".into())),
                Ending::Panic => model::meant_panic(),
                Ending::Hang => std::future::pending().await,
            }
        })
    }
}

/// Counts a token request for as long as it is under way.
struct UnderWay(Arc<Ledger>);

impl UnderWay {
    fn new(ledger: Arc<Ledger>) -> Self {
        let mut notes = ledger.notes();
        notes.under_way += 1;
        // One of them was given up, where timers go off at any point.
        assert!(
            notes.under_way == 1 || ledger.may_give_up,
            "two token requests at once"
        );
        drop(notes);
        Self(ledger)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut notes = self.0.notes();
        notes.under_way -= 1;
        notes.over = model::look_at_clock();
    }
}
