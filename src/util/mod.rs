//! Shared utilities: clocks, timers, loopback hosts, and memory that is overwritten on drop.

pub(crate) mod clock;
pub(crate) mod loopback;
#[cfg(feature = "shared")]
pub(crate) mod parts;
pub(crate) mod timer;
pub(crate) mod wiped;
