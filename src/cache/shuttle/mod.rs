//! The cache under a model checker: see [`interleavings`] and [`keys`].
//!
//! ```text
//! .ci/interleavings
//! ```
//!
//! `SHUTTLE_ITERATIONS` sets how many programs each test runs. A failure prints the program and a schedule;
//! `SHUTTLE_SCHEDULE=<that schedule>` runs it again, step by step the same.

mod interleavings;
#[cfg(feature = "keyed")]
mod keys;
pub(crate) mod model;

use std::{
    cell::RefCell,
    env,
    fmt::Debug,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use shuttle::{
    Config, MaxSteps, Runner,
    scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler},
};

/// Runs a program again and again, whichever thread goes next.
fn check_any_order(program: fn()) {
    check(RandomScheduler::new(iterations()), program);
}

/// The same with few changes between threads.
fn check_few_changes(program: fn()) {
    check(PctScheduler::new(4, iterations()), program);
}

fn iterations() -> usize {
    match env::var("SHUTTLE_ITERATIONS") {
        Ok(iterations) => iterations.parse().unwrap(),
        Err(_) => 10_000,
    }
}

fn check(scheduler: impl Scheduler + 'static, program: fn()) {
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    // That atomics are taken to be sequentially consistent is said in `model`.
    config.silence_warnings = true;
    // Some hundred are usual, so this is a livelock.
    config.max_steps = MaxSteps::FailAfter(50_000);
    let checked = catch_unwind(AssertUnwindSafe(|| match env::var("SHUTTLE_SCHEDULE") {
        Ok(schedule) => {
            let schedule: String = schedule.split_whitespace().collect();
            let mut again = ReplayScheduler::new_from_encoded(&schedule);
            // It ends where the failure is, before everything is unwound.
            again.set_allow_incomplete();
            Runner::new(again, config).run(program)
        }
        Err(_) => Runner::new(scheduler, config).run(program),
    }));
    if let Err(panic) = checked {
        PROGRAM.with_borrow(|program| eprintln!("with the program {program}"));
        resume_unwind(panic);
    }
}

thread_local! {
    /// The one that runs.
    static PROGRAM: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Notes down what is about to run.
fn runs(program: &impl Debug) {
    PROGRAM.set(format!("{program:#?}"));
}
