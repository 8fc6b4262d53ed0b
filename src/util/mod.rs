//! What any of the rest may need: clocks and timers, which hosts are this machine, and memory that is overwritten.

pub(crate) mod clock;
pub(crate) mod loopback;
pub(crate) mod timer;
pub(crate) mod wiped;
