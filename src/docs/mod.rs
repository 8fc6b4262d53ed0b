//! The guide, in chapters.
//!
//! 1. [Getting started](getting_started): the layer around hyper-util, reqwest,
//!    reqwest-middleware, axum, tonic, or any other tower service.
//! 2. [Providers](providers): credentials for Entra ID, Auth0, Okta, Keycloak, Google,
//!    Kubernetes and IPXO, and where to keep secrets.
//! 3. [Quirks of servers](quirks): what they do in use, what this crate does about it, and
//!    the test of each.
//! 4. [Token lifetime](token_lifetime): when a token is fetched, refreshed and replaced,
//!    what each failure costs, and how to watch it.
//! 5. [Composition](composition): the layer beside timeouts, retries, limits, redirects.
//! 6. [Runtimes and serverless](runtimes): blocking code, a runtime per call, tests,
//!    AWS Lambda, paused time.
//! 7. [Writing a source](writing_a_source): tokens from somewhere else.
//! 8. [Testing](testing): your service without an authorization server.
//! 9. [Troubleshooting](troubleshooting): compile errors and errors at run time.
//! 10. [Security](security): the threat model.
//! 11. [Performance and limits](performance): what a request costs, and what is bounded.
#![cfg_attr(
    feature = "shared",
    doc = "12. [A fleet](fleet): many processes share one token."
)]

pub mod composition;
#[cfg(feature = "shared")]
pub mod fleet;
pub mod getting_started;
pub mod performance;
pub mod providers;
pub mod quirks;
pub mod runtimes;
pub mod security;
pub mod testing;
pub mod token_lifetime;
pub mod troubleshooting;
pub mod writing_a_source;
