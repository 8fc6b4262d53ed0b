//! A thousand processes that start together, and when each of them comes for its second token.
//!
//! `cargo test --test fleet_start -- --nocapture` draws it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    runtime::Builder,
    time::{Instant, sleep_until},
};
use tower::service_fn;
use tower_bearer::{Error, Token, TokenCache, token::TokenRequest};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const PROCESSES: usize = 1000;

/// The refresh point as `TokenCacheBuilder::refresh_at` documents it: from 75 % to 85 % of a day, in minutes.
const WINDOW: std::ops::Range<usize> = 1080..1224;

/// The most token requests that a minute may see. Uniform over the window's 144 minutes, 1,000 points are 6.9 a minute, with
/// a standard deviation of 2.6. A minute with more than 24 comes in fewer than one run in 10,000, over all minutes.
const PEAK: usize = 24;

/// Promise: L2
#[test]
fn a_thousand_processes_started_together_do_not_refresh_together() {
    // Without I/O: paused time then asks nothing of the system.
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let token_requests = runtime.block_on(a_day_of(PROCESSES));

    let at_start = token_requests
        .iter()
        .filter(|token_request| token_request.at.is_zero());
    assert_eq!(at_start.count(), PROCESSES);
    let mut by_minute = vec![0; WINDOW.end + 60];
    let mut by_process = vec![0; PROCESSES];
    for token_request in token_requests
        .iter()
        .filter(|token_request| !token_request.at.is_zero())
    {
        by_minute[(token_request.at.as_secs() / 60) as usize] += 1;
        by_process[token_request.process] += 1;
    }
    draw(&by_minute);

    assert_eq!(by_process, [1; PROCESSES], "one refresh per process");
    // A point in the window's last minute is seen by the process's next request, a minute later at most.
    let seen = WINDOW.start..WINDOW.end + 1;
    let in_window: usize = by_minute[seen.clone()].iter().sum();
    assert_eq!(in_window, PROCESSES, "no token request outside the window");
    let peak = *by_minute.iter().max().unwrap();
    assert!(peak <= PEAK, "{peak} token requests in one minute");
    // All of the window is used: five minutes without any have a chance of e^-35.
    for minutes in by_minute[WINDOW].windows(5) {
        assert!(minutes.iter().sum::<usize>() > 0, "a gap in the window");
    }
}

/// A token request, so long after the start.
#[derive(Clone, Copy)]
struct UnderWay {
    process: usize,
    at: Duration,
}

/// Starts the processes at once, each with a cache of its own and a token for a day, and lets each ask for its token
/// once a minute, in a second of its own, until an hour after the window.
async fn a_day_of(processes: usize) -> Vec<UnderWay> {
    let started = Instant::now();
    let token_requests: Arc<Mutex<Vec<UnderWay>>> = Arc::default();
    let caches: Vec<_> = (0..processes)
        .map(|process| {
            let token_requests = Arc::clone(&token_requests);
            TokenCache::new(service_fn(move |_: TokenRequest| {
                let at = started.elapsed();
                token_requests
                    .lock()
                    .unwrap()
                    .push(UnderWay { process, at });
                async { Ok::<_, Error>(Token::new("token")?.with_lifetime(DAY)) }
            }))
        })
        .collect();
    for cache in &caches {
        cache.get().await.unwrap();
    }

    for minute in 0..(WINDOW.end + 60) as u32 - 1 {
        for second in 0..60 {
            sleep_until(started + MINUTE * minute + Duration::from_secs(second as u64)).await;
            for cache in caches.iter().skip(second).step_by(60) {
                cache.get().await.unwrap();
            }
        }
    }
    let token_requests = token_requests.lock().unwrap();
    token_requests.clone()
}

/// Draws the window, a line for every four minutes and a mark for every token request.
fn draw(by_minute: &[usize]) {
    println!("token requests after the start, by minute (four to a line)");
    for (line, minutes) in by_minute.chunks(4).enumerate() {
        let minute = line * 4;
        if (WINDOW.start - 8..WINDOW.end + 8).contains(&minute) {
            let token_requests = minutes.iter().sum();
            println!(
                "{minute:>5} {token_requests:>3} {}",
                "#".repeat(token_requests)
            );
        }
    }
    let peak = by_minute.iter().max().unwrap();
    println!("peak: {peak} in one minute; {PEAK} at most");
}
