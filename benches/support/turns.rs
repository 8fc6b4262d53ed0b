//! Drivers in turn.

use std::time::Instant;

use super::options::Options;

/// Something that sends requests one after another.
pub(crate) struct Driver {
    pub(crate) name: &'static str,
    /// What it does about a 401, in a word.
    pub(crate) retries: &'static str,
    /// The driver that does the same without a token.
    pub(crate) bare: &'static str,
    send: Box<dyn FnMut(u32)>,
}

impl Driver {
    pub(crate) fn new(
        name: &'static str,
        retries: &'static str,
        bare: &'static str,
        send: impl FnMut(u32) + 'static,
    ) -> Self {
        Self {
            name,
            retries,
            bare,
            send: Box::new(send),
        }
    }

    pub(crate) fn send(&mut self, requests: u32) {
        (self.send)(requests);
    }
}

/// How long a driver's request took, in nanoseconds, turn by turn.
pub(crate) struct Times {
    pub(crate) by_driver: Vec<Vec<f64>>,
}

impl Times {
    /// Runs all drivers in turn, over and over. The first in one turn goes last in the next, for what comes first
    /// finds other caches than what comes last.
    pub(crate) fn take(drivers: &mut [Driver], options: &Options) -> Self {
        let (turns, requests) = match options.test {
            true => (3, 20),
            false => (TURNS, REQUESTS),
        };
        for driver in &mut *drivers {
            driver.send(requests);
        }
        let mut by_driver = vec![Vec::new(); drivers.len()];
        for turn in 0..turns {
            for place in 0..drivers.len() {
                let driver = (place + turn) % drivers.len();
                let started = Instant::now();
                drivers[driver].send(requests);
                let took = started.elapsed().as_nanos() as f64;
                by_driver[driver].push(took / f64::from(requests));
            }
        }
        Self { by_driver }
    }

    /// A driver's time: the median of its turns.
    pub(crate) fn of(&self, driver: usize) -> f64 {
        median(self.by_driver[driver].iter().copied())
    }

    /// What a driver takes over another one: the median of the differences within a turn.
    pub(crate) fn over(&self, driver: usize, bare: usize) -> f64 {
        let turns = self.by_driver[driver].iter().zip(&self.by_driver[bare]);
        median(turns.map(|(with, without)| with - without))
    }
}

/// Short turns, so that what disturbs one disturbs few, and many of them.
const TURNS: usize = 400;
const REQUESTS: u32 = 1_000;

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

/// The value that this part of them does not exceed.
pub(crate) fn quantile(values: impl IntoIterator<Item = f64>, part: f64) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        some => values[((some - 1) as f64 * part).round() as usize],
    }
}
