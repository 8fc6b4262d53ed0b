//! What a command line asks for.

use std::env;

/// The options of all benches. Those that make no sense for one are ignored by it, so that `cargo bench -- --test` reaches
/// them all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// A short run, whose figures mean nothing: does it still build and run?
    pub(crate) test: bool,
    /// Count instructions, under valgrind, and take no times.
    pub(crate) instructions: bool,
    /// Compare with the figures in the tree, and fail if the warm path has grown.
    pub(crate) guard: bool,
    /// Write the figures in the tree anew.
    pub(crate) update: bool,
    /// What `--instructions` runs: one driver, so many requests.
    pub(crate) count: Option<(String, u32)>,
}

impl Options {
    /// Those of this process. Ends it with a usage if there is one that is unknown.
    pub(crate) fn from_command_line() -> Self {
        let mut options = Self::default();
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--test" => options.test = true,
                "--instructions" => options.instructions = true,
                "--guard" => options.guard = true,
                "--update" => options.update = true,
                "--count" => {
                    let driver = arguments.next().unwrap_or_default();
                    let requests = arguments.next().and_then(|number| number.parse().ok());
                    options.count = requests.map(|requests| (driver, requests));
                }
                unknown => {
                    eprintln!("{unknown}: unknown\n\n{USAGE}");
                    std::process::exit(2);
                }
            }
        }
        options
    }
}

const USAGE: &str = "\
--test          a short run, to see that it runs
--instructions  count instructions and allocations, under valgrind
--guard         compare counts with benches/baseline.csv, and fail if the warm path has grown
--update        with --guard: write benches/baseline.csv";
