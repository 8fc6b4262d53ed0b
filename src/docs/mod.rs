//! The guide, in chapters.
//!
//! 1. [Getting started](getting_started): the layer around hyper-util, reqwest,
//!    reqwest-middleware, axum, tonic, or any other tower service.
//! 2. [Providers](providers): recipes for Entra ID, Auth0, Okta, Keycloak, Cognito, Google,
//!    Kubernetes, Salesforce, IPXO and others.
//! 3. [Credentials](credentials): where to keep secrets, a private CA, many credentials.
//! 4. [Quirks of servers](quirks): what they do in use, what this crate does about it, and
//!    the test of each.
//! 5. [Token lifetime](token_lifetime): when a token is fetched, refreshed and replaced,
//!    what each failure costs, and how to watch it.
//! 6. [Composition](composition): the layer beside timeouts, retries, limits, redirects.
//! 7. [Runtimes and serverless](runtimes): blocking code, a runtime per call, tests,
//!    AWS Lambda, paused time.
//! 8. [Writing a source](writing_a_source): tokens from somewhere else.
//! 9. [Testing](testing): your service without an authorization server.
//! 10. [Troubleshooting](troubleshooting): compile errors and errors at run time.
//! 11. [Security](security): the threat model.
//! 12. [Performance and limits](performance): what a request costs, and what is bounded.
//! 13. [How it compares](comparison): other crates, and the proof of each claim.
//! 14. [Migrating](migrating): from a mutex, `middle`, reqwest-middleware, tower-http.
//! 15. [Telemetry](telemetry): spans, events, metrics, a dashboard and alerts.
#![cfg_attr(
    feature = "shared",
    doc = "16. [A fleet](fleet): many processes share one token."
)]
#![cfg_attr(
    feature = "dpop",
    doc = "17. [DPoP](dpop): tokens that are of no use to a thief."
)]

pub mod comparison;
pub mod composition;
pub mod credentials;
#[cfg(feature = "dpop")]
pub mod dpop;
#[cfg(feature = "shared")]
pub mod fleet;
pub mod getting_started;
pub mod migrating;
pub mod performance;
pub mod providers;
pub mod quirks;
pub mod runtimes;
pub mod security;
pub mod telemetry;
pub mod testing;
pub mod token_lifetime;
pub mod troubleshooting;
pub mod writing_a_source;
