//! Telemetry: what operators see of tokens.
//!
//! With the feature `tracing` there is a span for each token request, and an event for what
//! happens to tokens. With the feature `metrics` there are numbers, by the facade
//! [`metrics`](https://docs.rs/metrics): whichever exporter your program installs gets them.
//! No event, span or label contains a token or a secret. A request that finds a valid token,
//! and whose token is accepted, tells nothing and costs nothing.
//!
//! # Name your caches
//! A program with several credentials gives each cache a name:
//! ```
//! use tower_bearer::{BearerAuthLayer, TokenCache};
//!
//! # let credentials = tower_bearer::token::FixedToken::new("t")?;
//! let cache = TokenCache::builder(credentials)
//!     .name("billing")
//!     .build()?;
//! let layer = BearerAuthLayer::from_cache(cache);
//! # let _ = layer;
//! # Ok::<(), tower_bearer::Error>(())
//! ```
//! With `Configuration`, that is `name` in the table `cache`.
//!
//! The caches of a `Keyed`, such as one for each tenant, have a name together, and each its
//! [`key`](crate::cache::TokenCacheBuilder::key). Spans and events show the key. Metrics have
//! no label for it, because there may be 10,000 tenants. For a few tenants, put the tenant
//! into the name instead.
//!
//! # The span
//! Each token request is a span `token_request`, at INFO, with the target `tower_bearer`.
//! Spans of the transport are inside it. The token request may outlive the request that
//! causes it, and serve many others, so it is not a child of that request's span: it
//! [follows from](https://docs.rs/tracing/latest/tracing/struct.Span.html#method.follows_from)
//! it, which OpenTelemetry shows as a link.
//!
//! | field | value |
//! | --- | --- |
//! | `cache`, `key` | as the builder named the cache |
//! | `client_id`, `server.address`, `server.port` | the client, and the token endpoint's host; its port unless that is the scheme's default |
//! | `reason` | `first`, `expired`, `invalidated`, `refresh` or `rejected` |
//! | `attempt` | how many attempts it took: 1 or 2 |
//! | `outcome` | `token`, `failed`, `cut_off` (by a shutdown), or `given_up` (another took its place, because its runtime stood still) |
//! | `error.type` | the kind of the [`Error`](crate::ErrorKind), in snake case |
//!
//! `client_id`, `server.…`, `attempt`, `outcome` and `error.type` are set when it ends. With a
//! [`TokenSource`](crate::TokenSource) of your own there is no `client_id` and no `server.…`.
//!
//! # Events
//! All have the target `tower_bearer`. *Of the cache* means the fields `cache`, `key`,
//! `client_id`, `server.address` and `server.port`, as far as they are known. A change for
//! the worse is a warning, once, and one for the better is INFO. What happens to each request
//! or token request is DEBUG. An ordinary shutdown warns of nothing.
//!
//! | event | level | fields |
//! | --- | --- | --- |
//! | `requested an access token` | DEBUG | of the cache, `reason`, `lifetime`, `took` |
//! | `token requests fail` | WARN | of the cache, `reason`, `error`, `error.type`, `is_transient`, `took`, `retry_in`, `usable_for` |
//! | `a token request failed again` | DEBUG | of the cache, `reason`, `error`, `error.type`, `is_transient`, `took`, `retry_in`, `usable_for` |
//! | `token requests succeed again` | INFO | of the cache, `failed_for` |
//! | `a token request was cut off` | DEBUG | of the cache, `error`, `took` |
//! | `the first attempt of a token request failed, and another follows` | DEBUG | of the cache, `error`, `error.type` |
//! | `the token endpoint granted fewer scopes than were asked for` | WARN | of the cache, `missing` |
//! | `the token endpoint granted fewer scopes again` | DEBUG | of the cache, `missing` |
//! | `the token endpoint rejected the client's secret; it has changed, and the new one is tried` | INFO | of the cache |
//! | `could not renew the authorization server's metadata` | WARN | `issuer`, `error`, `error.type` |
//! | `could not renew the authorization server's metadata again` | DEBUG | `issuer`, `error`, `error.type` |
//! | `the authorization server's metadata is renewed` | INFO | `issuer` |
//! | `the access token was rejected` | DEBUG | of the cache, `will_retry`, `age` |
//! | `the DPoP proof was rejected` | DEBUG | `will_retry` |
//! | `a rejected request was retried` | DEBUG | of the cache, `outcome` |
//! | `a rejected request is not retried` | DEBUG | of the cache, `reason`, `error`, `error.type`, `retry_in` |
//! | `the API rejects fresh tokens too; check their scopes and audience` | WARN | of the cache |
//! | `the API accepts fresh tokens again` | INFO | of the cache |
//! | `a request is sent without a token` | DEBUG | `reason`, `server.address` |
//! | `a request without a token was answered 401` | DEBUG | |
//! | `use the access token that another process requested` | DEBUG | |
//! | `the store of the shared token cannot be used; this process requests tokens for itself` | WARN | `error` |
//! | `the store of the shared token can be used again` | INFO | |
//!
//! - `retry_in` is the backoff or cool-down that is left: no token request is made for so
//!   long. `usable_for` is how long the current token can still be sent: until then requests
//!   do not notice. `token requests fail` is told again if a transient failure becomes
//!   a permanent one, or the other way round (`is_transient`).
//! - The `reason` of a request that is not retried is a
//!   [`NotRetried`](crate::extension::NotRetried) in snake case. That of a request without
//!   a token is `not_selected`, `has_authorization` or `opted_out`.
//! - The `outcome` of a retry is `accepted`, `rejected_again`, or `retry_failed` if there was
//!   no answer.
//! - Inside the span, events of the source have no `cache` and no `key`. The span has them.
//!
//! # Metrics
//! There is no convention for tokens. These follow OpenTelemetry's general rules. The label
//! `cache` is the cache's name; without one it is the client id and the token endpoint's host,
//! as in `my-client@auth.example.com`, or `keyed` for the caches of a `Keyed`, or `unnamed`
//! with a source of your own. `error.type` is there only if something failed.
//!
//! | metric | kind | unit | labels |
//! | --- | --- | --- | --- |
//! | `tower_bearer.token_request.duration` | histogram | s | `cache`, `reason`, `error.type` |
//! | `tower_bearer.wait.duration` | histogram | s | `cache`, `error.type` |
//! | `tower_bearer.rejections` | counter | {request} | `cache`, `outcome` |
//! | `tower_bearer.rejected_token.age` | histogram | s | `cache` |
//! | `tower_bearer.token.expiry` | gauge | s | `cache` |
//! | `tower_bearer.backoff.end` | gauge | s | `cache` |
//! | `tower_bearer.caches` | gauge | {cache} | `cache`, `state` |
//! | `tower_bearer.shared.lookups` | counter | {token request} | `outcome` |
//!
//! - A **token request**'s count is the histogram's count.
//! - A **wait** is a request that found no token that it could send, and waited for one; its
//!   `error.type` is `dropped` if its caller gave up, by a timeout for example. Waits with an
//!   `error.type` are the requests that fail for want of a token. During a backoff they fail at
//!   once. A rejected request that waits for another token is among the rejections.
//! - **Rejections** are counted by what became of the request: `accepted`, `rejected_again` and
//!   `retry_failed` after a retry, or a [`NotRetried`](crate::extension::NotRetried) in snake
//!   case. Retries are the first three.
//! - The **age** of a rejected token is that when the API first rejected it. Ages that are all
//!   alike tell of an API that accepts tokens for a shorter time than it says.
//! - **Expiry** and the **backoff's end** are times (Unix), and 0 if there is none. They change
//!   with a token request. A query computes the seconds left:
//!   `tower_bearer_token_expiry_seconds - time()`. Caches that share a label have none of them.
//! - **Caches** are counted from their first token request until they are dropped; `state` is
//!   `ok` or `failing`, by the last token request. The sum is the number of caches of
//!   a `Keyed`.
//! - **Lookups** in the store of a fleet: a `hit` is another process's token, `leased` is a token
//!   request for all, and `alone` is one for this process only.
//!
//! Install the recorder first. One that is installed later gets everything that happens from then
//! on, and units and descriptions at the next token request.
//!
//! # An example
//! `cargo run --example observed` is an axum service with three credentials, one of which
//! fails. It has readiness, `/metrics` for Prometheus, logs in JSON, and traces. In its folder,
//! `examples/observed`, are two files to start from:
//!
//! - `dashboard.json`, for Grafana: which credential fails, since when, why, and whether
//!   requests suffer; then times, durations, rejections.
//! - `alerts.yml`, for Prometheus: token requests fail, requests end without a token, the API
//!   rejects fresh tokens, a refresh is late.
//!
//! Both use the names that `metrics-exporter-prometheus` gives with
//! `with_recommended_naming(true)`: with the unit, as in `tower_bearer_token_expiry_seconds`.
//! Give durations buckets, as the example does.
//!
//! For a probe, or for numbers of your own without a recorder, see
//! [readiness](super::token_lifetime#readiness-metrics-and-logs).
