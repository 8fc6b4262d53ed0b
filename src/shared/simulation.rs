//! The protocol under delay, loss, crashes, pauses and clocks that go at different speeds: a simulation, told by a seed.
//!
//! `FLEET_RUNS=100000 cargo test --all-features --lib simulation` runs more of them; a failure names its seed.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    env,
    time::Duration,
};

use fastrand::Rng;
use tokio::time::Instant;

use super::{
    entry::Opened,
    round::{Event, Lease, Round, Step},
    shelf::{Answer, Ask, Put, Shelf},
    store::{Operation, Reply},
};
use crate::token::Token;

const TIMEOUT: u64 = 500;
const LEASE: u64 = 4 * TIMEOUT;
const PATIENCE: u64 = 10 * TIMEOUT;
const LIFETIME: u64 = 60_000;
/// A token request takes up to this.
const SLOWEST: u64 = 6_000;

/// What may go wrong, each in so many of a hundred cases.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    /// An operation or its answer is lost.
    lost: u8,
    /// A process dies at a step.
    crash: u8,
    /// A process stands still at a step, for up to 10 s.
    pause: u8,
    /// The store forgets all.
    flush: u8,
}

#[derive(Debug)]
enum Happening {
    Starts,
    /// An operation comes to the store.
    Arrives(u64, Operation),
    /// Its answer comes back.
    Answered(u64, Reply),
    TimesOut(u64),
    Wakes,
    /// A token request ends: the token's number, and when it was sent.
    Requested(Option<Lease>, u64),
    Renews(u64),
}

struct Process {
    round: Round,
    owner: String,
    /// How fast its clock goes, in percent.
    speed: u64,
    /// The operation that it waits for.
    waits_for: u64,
    /// The token request under way.
    requests: u64,
    started: u64,
    rejected: Option<u64>,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Waiting,
    /// With the token of this number, of this generation.
    Served(u64, u64),
    Crashed,
}

struct World {
    seed: u64,
    random: Rng,
    faults: Faults,
    /// By the store's clock.
    now: u64,
    began: Instant,
    shelf: Shelf,
    /// What happens when, to whom.
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, (usize, Happening)>,
    count: u64,
    processes: Vec<Process>,
    /// The generation and the lease's time of the newest token that was stored since the last flush.
    newest: (u64, u64),
    token_requests: u64,
    under_lease: u64,
    went_wrong: u64,
}

impl World {
    fn new(seed: u64, faults: Faults) -> Self {
        fastrand::seed(seed);
        Self {
            seed,
            random: Rng::with_seed(seed),
            faults,
            now: 1_800_000_000_000,
            began: Instant::now(),
            shelf: Shelf::default(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            count: 0,
            processes: Vec::new(),
            newest: (0, 0),
            token_requests: 0,
            under_lease: 0,
            went_wrong: 0,
        }
    }

    fn happens(&mut self, after: u64, who: usize, what: Happening) -> u64 {
        self.count += 1;
        self.queue.push(Reverse((self.now + after, self.count)));
        self.happenings.insert(self.count, (who, what));
        self.count
    }

    fn chance(&mut self, percent: u8) -> bool {
        let happens = self.random.u8(..100) < percent;
        self.went_wrong += u64::from(happens);
        happens
    }

    /// What the process's clock says.
    fn clock(&self, who: usize) -> Instant {
        let Process { speed, started, .. } = &self.processes[who];
        self.began + Duration::from_millis((self.now - started) * speed / 100)
    }

    fn join(&mut self, rejected: Option<(u64, u64)>, after: u64) {
        let patience = self.began + Duration::from_millis(PATIENCE);
        let round = Round::for_any(patience);
        let round = match rejected {
            Some((number, generation)) => round.above(generation).other_than(token(number)),
            None => round,
        };
        let who = self.processes.len();
        self.processes.push(Process {
            round,
            owner: format!("p{who}"),
            speed: self.random.choice([50, 100, 200]).unwrap(),
            waits_for: 0,
            requests: 0,
            started: self.now + after,
            rejected: rejected.map(|(number, _)| number),
            state: State::Waiting,
        });
        self.happens(after, who, Happening::Starts);
    }

    fn run(&mut self) {
        while let Some(Reverse((at, number))) = self.queue.pop() {
            self.now = at;
            let (who, what) = self.happenings.remove(&number).unwrap();
            if self.chance(self.faults.flush) {
                self.shelf = Shelf::default();
                self.newest = (0, 0);
            }
            // What is under way goes on without the process.
            if let Happening::Arrives(operation, what) = what {
                self.arrives(who, operation, &what);
                continue;
            }
            if self.processes[who].state != State::Waiting {
                continue;
            }
            if self.chance(self.faults.crash) {
                self.processes[who].state = State::Crashed;
                continue;
            }
            if self.chance(self.faults.pause) {
                let pause = self.random.u64(1..10_000);
                self.happens(pause, who, what);
                continue;
            }
            self.goes_on(who, what);
        }
        for (who, process) in self.processes.iter().enumerate() {
            assert!(
                process.state != State::Waiting,
                "{}: {who} hangs",
                self.seed
            );
        }
    }

    fn goes_on(&mut self, who: usize, what: Happening) {
        let event = match what {
            Happening::Starts => {
                let step = self.processes[who].round.begin();
                return self.steps(who, step);
            }
            Happening::Wakes => Event::Paused,
            Happening::Answered(operation, reply) => {
                if self.processes[who].waits_for != operation {
                    return;
                }
                match reply {
                    Reply::Answer(answer) => meaning(answer),
                    Reply::Renewed(_) | Reply::Done => return,
                }
            }
            Happening::TimesOut(operation) => {
                if self.processes[who].waits_for != operation {
                    return;
                }
                Event::Unreachable
            }
            Happening::Requested(lease, number) => return self.requested(who, lease, number),
            Happening::Renews(number) => {
                if self.processes[who].requests == number {
                    let owner = self.processes[who].owner.clone();
                    let lease = Duration::from_millis(LEASE);
                    self.operates(who, Operation::Renew { owner, lease });
                    self.happens(TIMEOUT, who, Happening::Renews(number));
                }
                return;
            }
            Happening::Arrives(..) => unreachable!("the store's"),
        };
        self.processes[who].waits_for = 0;
        let clock = self.clock(who);
        let step = self.processes[who].round.next(event, clock);
        self.steps(who, step);
    }

    fn steps(&mut self, who: usize, step: Step) {
        match step {
            Step::Ask { above } => {
                let ask = Ask {
                    above,
                    owner: self.processes[who].owner.clone(),
                    lease: Duration::from_millis(LEASE),
                };
                let operation = self.operates(who, Operation::Ask(ask));
                self.processes[who].waits_for = operation;
                self.happens(TIMEOUT, who, Happening::TimesOut(operation));
            }
            Step::Pause(pause) => {
                let pause = pause.as_millis() as u64 * 100 / self.processes[who].speed;
                self.happens(pause.max(1), who, Happening::Wakes);
            }
            Step::Request(lease) => {
                self.under_lease += 1;
                self.requests(who, Some(lease));
            }
            Step::RequestAlone => self.requests(who, None),
            Step::Use(opened) => {
                let number = number_of(&opened.token);
                assert_ne!(Some(number), self.processes[who].rejected, "{}", self.seed);
                self.processes[who].state = State::Served(number, opened.generation);
            }
            Step::Fail(error) => panic!("{}: nothing failed: {error}", self.seed),
        }
    }

    fn requests(&mut self, who: usize, lease: Option<Lease>) {
        self.token_requests += 1;
        let number = self.token_requests;
        self.processes[who].requests = number;
        let takes = self.random.u64(1..SLOWEST);
        self.happens(takes, who, Happening::Requested(lease, number));
        if lease.is_some() {
            self.happens(TIMEOUT, who, Happening::Renews(number));
        }
    }

    fn requested(&mut self, who: usize, lease: Option<Lease>, number: u64) {
        self.processes[who].requests = 0;
        let generation = lease.map_or(0, |lease| lease.generation);
        self.processes[who].state = State::Served(number, generation);
        if let Some(Lease {
            generation,
            taken_at,
        }) = lease
        {
            let sealed = [number.to_be_bytes(), taken_at.to_be_bytes()].concat();
            let ends_at = taken_at + LIFETIME;
            let put = Put::Value {
                generation,
                sealed,
                ends_at,
            };
            let owner = self.processes[who].owner.clone();
            self.operates(who, Operation::Put { owner, put });
        }
    }

    /// Sends an operation. It may be lost on its way, and so may its answer.
    fn operates(&mut self, who: usize, operation: Operation) -> u64 {
        let takes = self.random.u64(..TIMEOUT / 4);
        // The number of the operation is that of its arrival.
        let number = self.count + 1;
        if self.chance(self.faults.lost) {
            self.count += 1;
            return number;
        }
        self.happens(takes, who, Happening::Arrives(number, operation))
    }

    fn arrives(&mut self, who: usize, number: u64, operation: &Operation) {
        let reply = self.shelf.perform(operation, &[], self.now);
        if let Some(value) = &self.shelf.value {
            // An older token never overwrites a newer one. A token is as old as its lease, from which its life is counted: a holder
            // that stood still may have requested it later.
            let stored = (value.generation, numbers(&value.sealed).1);
            assert!(stored.0 >= self.newest.0, "{}: {stored:?}", self.seed);
            assert!(stored.1 >= self.newest.1, "{}: {stored:?}", self.seed);
            self.newest = stored;
        }
        if !self.chance(self.faults.lost) {
            let takes = self.random.u64(..TIMEOUT / 4);
            self.happens(takes, who, Happening::Answered(number, reply));
        }
    }
}

fn token(number: u64) -> Token {
    Token::new(format!("t{number}")).unwrap()
}

fn number_of(token: &Token) -> u64 {
    token.expose_secret()[1..].parse().unwrap()
}

fn numbers(sealed: &[u8]) -> (u64, u64) {
    let (number, taken_at) = sealed.split_at(8);
    let read = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
    (read(number), read(taken_at))
}

fn meaning(answer: Answer) -> Event {
    match answer {
        Answer::Value {
            generation,
            sealed,
            now,
        } => {
            let (number, taken_at) = numbers(&sealed);
            let age = now - taken_at;
            Event::Value(Opened {
                token: token(number),
                generation,
                left: Duration::from_millis(LIFETIME - age),
                lifetime: Duration::from_millis(LIFETIME),
                age: Duration::from_millis(age),
            })
        }
        Answer::Held => Event::Held,
        Answer::Failed { .. } => Event::Unreachable,
        Answer::Taken { generation, now } => Event::Taken(Lease {
            generation,
            taken_at: now,
        }),
    }
}

fn runs() -> u64 {
    let runs = env::var("FLEET_RUNS").ok();
    runs.and_then(|runs| runs.parse().ok()).unwrap_or(1000)
}

/// Half of the processes that were served find their token rejected.
fn reject_some(world: &mut World) {
    let served: Vec<_> = world
        .processes
        .iter()
        .filter_map(|process| match process.state {
            State::Served(number, generation) => Some((number, generation)),
            _ => None,
        })
        .collect();
    for rejected in served {
        if world.random.bool() {
            let after = world.random.u64(..2000);
            world.join(Some(rejected), after);
        }
    }
}

/// Promise: D1, D4
#[test]
fn without_faults_there_is_one_token_request_and_one_more_for_all_rejections() {
    for seed in 0..runs() {
        let mut world = World::new(seed, Faults::default());
        for _ in 0..world.random.usize(1..30) {
            let after = world.random.u64(..100);
            world.join(None, after);
        }
        world.run();
        // Those who are out of patience before a slow token request ends have one of their own.
        assert_eq!(world.under_lease, 1, "{seed}");
        let (tokens, all) = (world.token_requests, world.processes.len());
        reject_some(&mut world);
        let rejections = world.processes.len() - all;
        world.run();
        let more = u64::from(rejections > 0);
        // But for those whose token is none of the store's.
        let own = tokens - 1;
        assert!(world.under_lease <= 1 + more + own, "{seed}");
    }
}

/// Promise: D1, D4
#[test]
fn whatever_goes_wrong_everyone_is_served_and_no_older_token_overwrites_a_newer_one() {
    for seed in 0..runs() {
        let mut random = Rng::with_seed(!seed);
        let mut some = |most| random.u8(..=most) * random.u8(..2);
        let faults = Faults {
            lost: some(30),
            crash: some(10),
            pause: some(10),
            flush: some(2),
        };
        let mut world = World::new(seed, faults);
        for _ in 0..world.random.usize(1..20) {
            let after = world.random.u64(..5000);
            world.join(None, after);
        }
        world.run();
        // Each token request under a lease but the first is one that something went wrong for.
        let (leases, wrong) = (world.under_lease, world.went_wrong);
        assert!(leases <= 1 + wrong, "{seed}: {leases}, {wrong}");
        reject_some(&mut world);
        world.run();
    }
}
