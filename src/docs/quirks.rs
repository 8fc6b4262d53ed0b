//! Quirks of servers: what they do in use, and what this crate does about it.
//!
//! Each row names the test that has the quirk's small input, as `file::test` below `tests/` of the repository. A test there
//! checks that each of these exists and runs, and that no test of a quirk is missing here.
//!
//! A method of the third column is one of
//! [`ClientCredentialsBuilder`](crate::client_credentials::ClientCredentialsBuilder), if the table does not say otherwise.
//! `Assertion`, `SigningKey` and `Signer` need the feature `jwt`, `proxy` the feature `proxy`, and `GrpcAuthLayer` the feature
//! `tonic`.
//!
//! <style>
//! .docblock table { table-layout: fixed; width: 100%; display: table; }
//! .docblock td { vertical-align: top; }
//! .docblock td code { overflow-wrap: anywhere; white-space: normal; }
//! .docblock th:nth-child(3) { width: 18%; }
//! .docblock th:last-child { width: 30%; }
//! .docblock td:last-child code { font-size: 0.75rem; }
//! </style>
//!
#![doc = include_str!("quirks.md")]
