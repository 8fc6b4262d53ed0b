//! One harness for all benches, the peers' included: what is compared is run in turn, in one run, and ratios are taken
//! within a turn. A machine that is busy with something else slows all of them alike.
//!
//! ```text
//! options   what a command line asks for          warm     the warm request, and what is driven with it
//! turns     drivers in turn, and their times      herd     crowds of callers
//! valgrind  instructions and allocations          table    printed, and written as CSV under `target/figures/`
//! baseline  figures kept in the tree, as a guard
//! ```

#![allow(
    dead_code,
    reason = "every bench is a crate of its own and uses a part of this"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot go on has failed, and says where"
)]
#![allow(
    clippy::disallowed_types,
    reason = "what is measured here is real time"
)]

pub(crate) mod baseline;
pub(crate) mod herd;
pub(crate) mod options;
pub(crate) mod table;
pub(crate) mod turns;
pub(crate) mod valgrind;
pub(crate) mod warm;
