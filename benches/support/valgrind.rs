//! Instructions and allocations of one request, exactly: valgrind runs this program once more for each driver, for so many
//! requests and for twice as many. The difference is the requests', and what it takes to start is in neither.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{options::Options, table::figures, turns::Driver};

/// What one request takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) instructions: f64,
    /// Calls of the allocator that ask for memory.
    pub(crate) allocations: f64,
}

impl Count {
    pub(crate) fn over(&self, bare: &Self) -> Self {
        Self {
            instructions: self.instructions - bare.instructions,
            allocations: self.allocations - bare.allocations,
        }
    }
}

/// Counts for all drivers; `None` where there is no valgrind.
pub(crate) fn count(drivers: &[Driver], options: &Options) -> Option<Vec<Count>> {
    let there = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !there.is_ok_and(|status| status.success()) {
        println!("instructions are counted by valgrind, which is not here");
        return None;
    }
    let requests = if options.test { 50 } else { 2_000 };
    let counts = drivers.iter().map(|driver| {
        let once = run(driver.name, requests, "once", options);
        let twice = run(driver.name, 2 * requests, "twice", options);
        let one = |many: fn(&Count) -> f64| (many(&twice) - many(&once)) / f64::from(requests);
        Count {
            instructions: one(|count| count.instructions),
            allocations: one(|count| count.allocations),
        }
    });
    Some(counts.collect())
}

/// Runs one driver. What callgrind writes stays, for those who ask where the instructions go.
fn run(driver: &str, requests: u32, which: &str, options: &Options) -> Count {
    let out = profile_of(driver, which, options);
    let program = env::current_exe().unwrap();
    let status = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args(["--count", driver, &requests.to_string()])
        .status();
    assert!(status.unwrap().success(), "{driver} under valgrind");
    read(&out)
}

/// `target/figures/callgrind.tower-bearer.tower-bearer-NoReplay.once.out`, say.
fn profile_of(driver: &str, which: &str, options: &Options) -> PathBuf {
    let words: Vec<_> = driver
        .split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    // Those of the package's own bench have lines, which the peers' have not.
    let package = env!("CARGO_PKG_NAME");
    let driver = words.join("-");
    figures(options).join(format!("callgrind.{package}.{driver}.{which}.out"))
}

/// Reads [callgrind's own format](https://valgrind.org/docs/manual/cl-format.html).
fn read(profile: &Path) -> Count {
    let text = fs::read_to_string(profile).unwrap();
    let mut instructions = 0.0;
    let mut allocations = 0.0;
    let mut allocators: HashMap<&str, bool> = HashMap::new();
    let mut callee = "";
    for line in text.lines() {
        if let Some(total) = line.strip_prefix("totals: ") {
            instructions = total.parse().unwrap();
        } else if let Some(function) = line.strip_prefix("fn=").or(line.strip_prefix("cfn=")) {
            // `(id) name` the first time, and `(id)` from then on.
            let (id, name) = function.split_once(' ').unwrap_or((function, ""));
            if !name.is_empty() {
                allocators.insert(id, ALLOCATORS.contains(&name));
            }
            if line.starts_with('c') {
                callee = id;
            }
        } else if let Some(calls) = line.strip_prefix("calls=")
            && allocators.get(callee).is_some_and(|is_one| *is_one)
        {
            let times = calls.split(' ').next().unwrap();
            allocations += times.parse::<f64>().unwrap();
        }
    }
    Count {
        instructions,
        allocations,
    }
}

const ALLOCATORS: [&str; 5] = [
    "malloc",
    "calloc",
    "realloc",
    "aligned_alloc",
    "posix_memalign",
];
