//! How it compares: other crates for outbound calls, and the proof of each claim.
//!
//! The tests of this crate are named as `file::test` below `tests/` of the repository, and a test checks that they exist and run.
//! Figures are in `benches/README.md`, each with the command that makes it.
//!
//! <style>
//! .docblock td { vertical-align: top; }
//! .docblock td code { overflow-wrap: anywhere; white-space: normal; }
//! </style>
//!
#![doc = include_str!("comparison.md")]
