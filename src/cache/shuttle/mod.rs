//! The single flight under a model checker: see [`interleavings`].

mod interleavings;
pub(crate) mod model;
