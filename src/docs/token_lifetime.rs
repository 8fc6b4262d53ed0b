//! Token lifetime: when a token is fetched, refreshed, backed off from and replaced.
//!
//! The numbers here are the defaults.
//! [`TokenCacheBuilder`](crate::cache::TokenCacheBuilder) changes each of them.
//!
//! # The stages
//! | stage | from | to | what a request does |
//! | --- | --- | --- | --- |
//! | no token | the start | the first token | waits for the one token request |
//! | fresh | the token request was sent | the *refresh point*: 75–85 % of the lifetime | uses the token |
//! | stale | the refresh point | the *hard margin*: 10 % of the lifetime, at most 30 s | uses the token; the first use starts a refresh in the background |
//! | last stretch | the hard margin | the end | waits for the refresh; if it fails, uses the token |
//! | expired | the end | the next token | waits for the token request; if it fails, gets its error |
//!
//! - **A lifetime counts from before the token request was sent**, so a slow answer does not
//!   make a token look younger. A server may say `expires_in`, or when the token expires
//!   (`expires_on`, `expires`); that is compared with this machine's wall clock. If the server
//!   gives no lifetime, or one of 0 or less, it is 5 minutes.
//! - **The refresh point** is drawn once per token, at random, so that many processes do not
//!   refresh together. It is earlier, but not before half of the lifetime, if two token
//!   requests as slow as the last one would not fit before the end. If the server says
//!   `refresh_in`, it is no later than that, and at least 1 s.
//! - **Two clocks.** A token is expired when the monotonic clock or the wall clock says so.
//!   The monotonic clock stops while a machine sleeps; the wall clock can be set back. Setting
//!   it forward costs one token request.
//! - **An idle cache does nothing.** No task runs for it. To refresh without requests, call
//!   [`keep_warm`](crate::TokenCache::keep_warm).
//!
//! A request with a fresh token:
#![doc = include_str!("img/warm.svg")]
//!
//! A request with a stale token:
#![doc = include_str!("img/refresh.svg")]
//!
//! # One token request for all
//! However many requests need a token, one token request is sent. It belongs to none of them:
//! a request that times out or is dropped changes nothing for the others. All get the same
//! token, or the same error, at the same time. A token request has a timeout of its own, 10 s.
//!
#![doc = include_str!("img/cold.svg")]
//!
//! If there is no token yet and the token endpoint is down for a moment (no connection, or a
//! status of 502, 503 or 504 without `Retry-After`), the token request is sent again after 0.1
//! to 0.2 s, within the same timeout.
//!
//! # Backoff
//! After a failed token request, no token request is sent until the *backoff* is over.
//! Meanwhile, requests use the token if it is still valid. Otherwise they get the last error
//! at once; [`retry_after`](crate::Error::retry_after) says how long the backoff lasts. After
//! it, the next request starts a token request.
//!
//! A *transient* failure may pass by itself. After a *permanent* one, the operator has to
//! change something.
//!
//! | failure | class | backoff |
//! | --- | --- | --- |
//! | no connection, timeout, 408, 409, 429, 5xx | transient | 1, 2, 4 … 60 s |
//! | an answer without a usable token; a 4xx without an OAuth error | transient | 1, 2, 4 … 60 s |
//! | an error of your own source, secret provider or signer | transient | 1, 2, 4 … 60 s |
//! | `invalid_client`, `invalid_scope`, other 4xx with an OAuth error; a redirect; a token that is not a bearer token | permanent | 30, 60 … 300 s |
//! | the source panicked | | none the first time, then as transient |
//! | the runtime was shut down or stalled | | none |
//!
//! Each backoff is shortened at random, by up to 90 %. `Retry-After` is a lower bound, up to
//! 5 minutes. After a permanent failure, call [`refresh`](crate::TokenCache::refresh) when you
//! have fixed the cause: it skips the backoff. A timeout after an `invalid_client` does not
//! hide it: the error that requests get still says `invalid_client`.
//!
//! A secret in a [file](crate::Secret::from_file) or behind a
//! [provider](crate::Secret::from_provider) is read again when the server answers
//! `invalid_client`. If it changed, the token request is retried at once.
//!
//! # Rejected tokens
//! An API *rejects* a token by the status 401, unless its `WWW-Authenticate` says that another
//! token would not help, for example `insufficient_scope`. See
//! [`BearerChallenge`](crate::unauthorized::BearerChallenge). A credential can be told to
//! request the [claims] or the [scopes] that an API asks for; then that counts as a rejection
//! too, also with the status 403. What happens:
//!
//! [claims]: crate::client_credentials::ClientCredentialsBuilder::answer_claims_challenges
//! [scopes]: crate::client_credentials::ClientCredentialsBuilder::step_up_scopes
//!
//! 1. If a newer token is there already, the request is retried with it. No token request.
//! 2. Otherwise one token request is sent, for all requests with that token. Then each of
//!    them is retried.
//! 3. A request is retried once. Its caller gets the second answer, whatever it is. The retry
//!    equals the first try except for the token.
//!
#![doc = include_str!("img/rejected.svg")]
//!
//! A rejection counts for the token that was sent. A late 401 for an older token never removes
//! a newer one.
//!
//! **When there is no retry**, the caller gets the 401 as it came, with its body.
//! [`NotRetried`](crate::extension::NotRetried) in the response's
//! [extensions](http::Response::extensions) says why: the token request failed or is in
//! backoff, the body cannot be replayed, no time is left, or the cool-down is on.
//!
//! **Cool-down.** A 401 can also be the route's fault: the scope is missing, or the audience
//! is wrong. The new token shows it. If a route rejects a new token too, that route causes no
//! token request for 1 s, then 2 s, 4 s … 5 minutes. Meanwhile its requests are sent once. The
//! cool-down ends when the route accepts a newer token. A route is method, authority and path;
//! path segments with a digit in them count as equal. Other routes are not affected: after a
//! real revocation they get a new token at once.
//!
//! **Allowance.** Whatever the routes say, rejections cause at most 30 token requests at a
//! stretch, and one more every 10 s. The last 10 of the 30 are for routes that accepted a
//! token recently.
//!
//! **An API that learns of new tokens late**, by replication for example, rejects a refreshed
//! token for a moment. While the token before it is still valid, requests are retried with
//! that one, and no token request is sent. The new token is tried again after a second. A
//! request that cannot be retried is not sent with a rejected token while the request for
//! another is under way: it waits for that.
//!
//! # Readiness, metrics and logs
//! [`BearerAuthLayer::cache`](crate::BearerAuthLayer::cache) gives the
//! [`TokenCache`](crate::TokenCache), and [`state`](crate::TokenCache::state) says how it is.
//!
//! **Readiness.** A service is ready if it has a usable token, or if no token request has
//! failed. So a service that has just started is ready too:
//! ```
//! use tower_bearer::TokenCache;
//!
//! fn is_ready(cache: &TokenCache) -> bool {
//!     let state = cache.state();
//!     state.is_usable() || state.error().is_none()
//! }
//! # let source = tower_bearer::token::FixedToken::new("t")?;
//! # assert!(is_ready(&TokenCache::new(source)));
//! # Ok::<(), tower_bearer::Error>(())
//! ```
//! To fetch the first token before the first request, await
//! [`get`](crate::TokenCache::get) when the service starts.
//!
//! **Numbers of your own.** [`changes`](crate::TokenCache::changes) waits for the next change. Feed your
//! own gauges and counters with it:
//! ```
//! use std::time::Duration;
//! use tower_bearer::{
//!     TokenCache,
//!     cache::TokenState::{Fresh, Stale},
//! };
//!
//! async fn watch(
//!     cache: TokenCache,
//!     gauge: impl Fn(&str, f64),
//! ) {
//!     let mut changes = cache.changes();
//!     loop {
//!         let state = changes.next().await;
//!         let left = match state.token() {
//!             Fresh { usable_for } => usable_for,
//!             Stale { usable_for } => usable_for,
//!             _ => Duration::ZERO,
//!         };
//!         gauge(
//!             "token_seconds_left",
//!             left.as_secs_f64(),
//!         );
//!         let failing = state.error().is_some();
//!         gauge(
//!             "token_failing",
//!             f64::from(failing),
//!         );
//!     }
//! }
//! # let _ = watch(TokenCache::new(tower_bearer::token::FixedToken::new("t")?), |_, _| {});
//! # Ok::<(), tower_bearer::Error>(())
//! ```
//! With the feature `metrics` there are numbers without any code of yours, and with the feature
//! `tracing` spans and logs: see [telemetry](super::telemetry).
//!
//! # The bounds
//! Token requests in an hour, at most, with the defaults. Each row is measured by a test,
//! listed in `tests/bounds.md`.
//!
//! | fault | token requests in an hour | what requests see |
//! | --- | --- | --- |
//! | none; tokens of 5 minutes | one per 225 s: 17 | 200; only the first one waits |
//! | the server is dead, the token expired | 286 (about 220 on average) | the last error, at once |
//! | the server is down or hangs, for random stretches | the backoff's while it is down, else one per 225 s | 200 while the token lasts, then the last error; 200 again at most 60 s after the recovery |
//! | no token yet, and the server cannot be reached once, or answers 502, 503 or 504 once | 2 at the start | 200, up to 0.2 s later |
//! | an ingress answers 404 in the server's place for 2 minutes, no token yet | 29 until it is over | the last error; 200 at most 60 s after the recovery |
//! | `invalid_client`, then no answers at all | 278 (about 140 on average) | `invalid_client` |
//! | the server takes up to 8 s, tokens of 60 s | one per 38 s: 95 | 200, after at most one token request |
//! | 429 with `Retry-After` | one per `Retry-After`, or per 5 minutes if that is shorter | 200 while the token lasts, then the last error |
//! | the server repeats a token of 5 minutes until it expires | 10 per token | 200 |
//! | the server repeats a token and rounds its lifetime down to 0 s | 4 per token of 5 s, 6 per token of a minute or more | 200 |
//! | tokens with an `expires_in` of 0 or less | one per 225 s: 17 | 200 |
//! | the runtime of a token request is not driven, or its thread blocks | one more each time | 200, after at most 1 s and one token request |
//! | the process is frozen during a refresh | one more each time | 200 |
//! | an API that always answers 401, on one route | 21 | its 401 |
//! | an API that always answers 401, on five routes | 30 | its 401 |
//! | one route that always answers 401 among others | 21, and those of the others | 401 there, 200 elsewhere |
//! | any number of routes that always answer 401 among others, and tokens are revoked | 91 in 10 minutes, 391 in an hour | 401 there, 200 elsewhere |
//! | an API learns of refreshed tokens up to 5 s late, tokens of 10 minutes | one per 450 s: 8 | 200 |
//! | a revocation, and bodies that can be sent only once | one per revocation | 401 once; those after it wait, then 200 |
//! | good tokens are rejected at random | 391 | 200, or the 401 |
//! | tokens are revoked at random | one per revocation | 200 |
//!
//! 1,000 processes that start together with tokens of a day send one token request each at
//! their first refresh, spread over 144 minutes.
