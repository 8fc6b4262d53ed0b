//! Keeps a store that does not answer from costing each token request its timeout.

use std::{mem, time::Duration};

use tokio::time::Instant;

/// After a failure the store is left alone: for a second, doubled by each further failure up to half a minute. Then one operation
/// tries it.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    in_a_row: u32,
    until: Option<Instant>,
}

impl Breaker {
    /// Whether an operation may try the store now. One that may is the only one for as long as it takes.
    pub(super) fn lets_through(&mut self, now: Instant, takes: Duration) -> bool {
        match self.until {
            Some(until) if now < until => false,
            Some(_) => {
                self.until = Some(now + takes);
                true
            }
            None => true,
        }
    }

    /// Tells whether that is news.
    pub(super) fn succeeded(&mut self) -> bool {
        mem::take(self).in_a_row > 0
    }

    /// Tells whether that is news.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let doublings = (self.in_a_row - 1).min(5);
        let pause = (FIRST * (1 << doublings)).min(LONGEST);
        self.until = Some(now + pause.mul_f64(0.5 + fastrand::f64() / 2.0));
        self.in_a_row == 1
    }
}

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_store_is_tried_by_one_operation_at_a_time_and_ever_more_seldom() {
        let mut breaker = Breaker::default();
        let mut now = Instant::now();
        let (mut tries, takes) = (0, Duration::from_millis(500));
        let end = now + Duration::from_secs(600);
        while now < end {
            if breaker.lets_through(now, takes) {
                tries += 1;
                assert!(!breaker.lets_through(now, takes) || tries == 1);
                breaker.failed(now);
            }
            now += Duration::from_millis(10);
        }
        assert!((20..=45).contains(&tries), "{tries}");
        assert!(breaker.succeeded() && !breaker.succeeded(), "told once");
        assert!(breaker.lets_through(now, takes) && breaker.lets_through(now, takes));
    }
}
