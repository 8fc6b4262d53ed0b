//! Performance and limits: what a request costs, what is bounded, what is not supported.
//!
//! # A warm request
//! A request with a valid token takes no lock, awaits nothing and allocates once: what the
//! retry needs of the request's head. With [`NoReplay`](crate::replay::NoReplay), it allocates
//! nothing, if the header map has room for one more. The token's header value is built once
//! and shared.
//!
//! | driver | 401 retry | over the service alone, ns | instructions |
//! | --- | --- | ---: | ---: |
//! | tower-http's `AddAuthorizationLayer` | no | 179 | 1627 |
//! | tower-bearer, `NoReplay` | no | 276 | 2254 |
//! | tower-bearer | yes | 567 | 3463 |
//!
//! One run on two shared cores of an x86_64 server (AMD EPYC), 24 November 2026, rustc 1.95.0:
//! `cargo run --release --manifest-path benches/peers/Cargo.toml`. A time can differ by a third
//! on another day; the instructions repeat. `benches/README.md` in the repository has the
//! method, the other figures, and the goals that are not reached.
//!
//! # What things cost
//! | what | cost |
//! | --- | --- |
//! | a body that is `Clone` | its clone |
//! | [`Buffered::up_to(n)`](crate::replay::Buffered) | a copy of the body while it is sent, at most `n` bytes per request in flight |
//! | a retry | the request's head again; up to 64 KiB and 50 ms of the rejected response are read, so that an HTTP/1.1 connection can be reused |
//! | one of many credentials | about 500 bytes beside the key, the source and the token; about 150 more with the feature `tracing` or `metrics` |
//! | an idle cache | no task, no timer |
//! | `keep_warm` | one task per cache and runtime |
//!
//! # What is bounded
//! | what | bound | change it with |
//! | --- | --- | --- |
//! | a token request | 10 s | [`token_request_timeout`](crate::cache::TokenCacheBuilder::token_request_timeout) |
//! | a token endpoint's answer | 64 KiB | |
//! | token requests at the same time | one per cache | |
//! | tries of a request | two | [`NoRetry`](crate::extension::NoRetry): one |
//! | `Retry-After` | 5 minutes | [`longest_retry_after`](crate::cache::TokenCacheBuilder::longest_retry_after) |
//! | token requests because of rejections | 30, and one every 10 s | [`rejection_allowance`](crate::cache::TokenCacheBuilder::rejection_allowance) |
//! | a `WWW-Authenticate` that is read | 8 KiB | |
//! | challenges that a source is told of | 16, and 8 KiB of them | |
//! | scopes that an API adds by step-up | those that are allowed, each once | [`step_up_scopes`](crate::client_credentials::ClientCredentialsBuilder::step_up_scopes) |
//! | origins whose DPoP nonces are kept | 64 per layer and per credential; a nonce of 1 KiB | |
//! | caches of a `Keyed` | 10,000 | `Keyed::with_capacity` |
//! | the values of a metric's label `cache` | the names and credentials that the program gives; never keys of a `Keyed` | [`name`](crate::cache::TokenCacheBuilder::name) |
//! | the length of a secret's, key's or certificate's file | 64 KiB | |
//!
//! [Token lifetime](super::token_lifetime#the-bounds) has the token requests per hour for each
//! kind of failure.
//!
//! # What is not supported
//! - **Grants for users.** There are no authorization codes, passwords or refresh tokens. Fetch
//!   such tokens in a [source of your own](super::writing_a_source). For machines there are
//!   client credentials, token exchange and JWT bearer:
//!   [`grant`](crate::client_credentials::grant).
//! - **Retries of other failures.** Use tower's `Retry`: see
//!   [composition](super::composition#retries).
//! - **Runtimes other than Tokio.**
