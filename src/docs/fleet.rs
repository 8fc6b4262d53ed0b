//! A fleet: many processes share one token.
//!
//! 200 pods with one credential are 200 token requests at each deploy. That costs money
//! where tokens are counted, runs into rate limits, and locks the client out if its
//! secret is wrong. A [`SharedLayer`](crate::shared::SharedLayer) around the source makes it
//! one token request: the first process requests a token, and the others take it from a
//! store. A single process needs none of this.
//!
#![doc = include_str!("img/fleet.svg")]
//!
//! ```
//! # #[cfg(all(feature = "redis", feature = "rustls"))]
//! # fn example() -> Result<tower_bearer::BearerAuthLayer, tower_bearer::Error> {
//! use tower::ServiceBuilder;
//! use tower_bearer::{
//!     BearerAuthLayer, ClientCredentials, Secret,
//!     shared::{
//!         SealingKeys, SharedLayer, SharedStore,
//!     },
//! };
//!
//! let credentials = ClientCredentials::builder(
//!     "https://auth.example.com/oauth2/token",
//!     "my-client",
//!     Secret::from_env("MY_CLIENT_SECRET"),
//! )
//! .build()?;
//! let key = Secret::from_file("/run/secrets/key");
//! let keys = SealingKeys::new(key);
//! let url = Secret::from_env("REDIS_URL");
//! let store = SharedStore::redis(url, keys)?;
//! let source = ServiceBuilder::new()
//!     .layer(SharedLayer::new(&credentials, store))
//!     .service(credentials);
//! let layer = BearerAuthLayer::new(source);
//! # Ok(layer)
//! # }
//! ```
//!
//! A sealing key is 32 random bytes: `openssl rand -base64 32`. Every process has the same.
//! In a `Configuration` (feature `config`) it is the table `shared`.
//!
//! # Which store
//! | processes | store | feature |
//! | --- | --- | --- |
//! | on many machines | `SharedStore::redis`: Redis or Valkey, from version 6 on | `redis` |
//! | the same, behind Sentinels or as a Cluster | `SharedStore::redis_sentinel`, `SharedStore::redis_cluster` | `redis` |
//! | on one machine: command-line tools, functions that start often | [`SharedStore::folder`](crate::shared::SharedStore::folder): a folder on a local disk | `shared` |
//!
//! # What is promised
//! - **One token request.** However many processes start, one requests the token. The others
//!   wait and take it. The same at a refresh, and after a 401: a rejected token is replaced
//!   once.
//! - **No store, no harm.** A store that is slow, full, wrong, hostile or gone costs a process
//!   half a second, and then it requests a token for itself. It is tried again after a second,
//!   doubled up to 30 s.
//! - **No I/O when warm.** A request with a valid token never asks the store.
//! - **The holder may die.** The process that requests the token holds a lease. If it dies,
//!   another takes over within two seconds.
//! - **Newest wins.** An older token never replaces a newer one.
//! - **Failures are shared.** An answer such as `invalid_client` is told to all processes for
//!   30 s, one such as 503 for a second, after a second try. A `Retry-After` is kept by all.
//! - **Clocks may differ.** What is left of a token is counted by the store's clock.
//! - **Sealed.** Tokens are encrypted and authenticated (AES-256-GCM). One that was changed, moved,
//!   or written for another client, counts as missing. Names are keyed hashes.
//! - **No mix-up.** Processes share a token if their
//!   [identity](crate::shared::Identity) is the same: endpoint, client, secret, scopes,
//!   audiences, all parameters.
//!
//! # What is not promised
//! - Redis is no consensus store. After a failover, after the end of a lease whose holder
//!   was only paused, or when a waiting process runs out of patience (5 s), there may be a
//!   second token request. It does no harm: both tokens are valid.
//! - Processes that request tokens for themselves while the store is down do not share those.
//! - [`TokenCache::refresh`](crate::TokenCache::refresh) takes a token that another process
//!   requested after this one's.
//! - Anyone with a sealing key can read the tokens. Anyone who can write to the store cannot
//!   make a token, but can remove all of them, or put back an older one that is still valid.
//!
//! # Settings
//! One: [`SharedStore::timeout`](crate::shared::SharedStore::timeout), 500 ms. The lease lasts
//! four times as long and is renewed while the token request is under way; others wait ten
//! times as long. If the store is far away, raise it together with the cache's
//! [`token_request_timeout`](crate::cache::TokenCacheBuilder::token_request_timeout). It is at
//! most a twentieth of that: half of the time is left for a token request of the process's own.
//!
//! # Sizing
//! A cold process costs the store one script. The one that requests the token costs one more,
//! and one for each half second that the request takes. One that waits asks again after
//! 25 ms, after 50 ms more, and so on up to 250 ms, each with jitter.
//!
//! | a token request takes | scripts of a process | from the token until one that waits has it |
//! | ---: | ---: | ---: |
//! | 50 ms | 2.3 | 60 ms |
//! | 500 ms | 6.8 | 90 ms |
//! | 2 s | 13.5 | 140 ms |
//!
//! These are means of 50 processes (`cargo bench --bench fleet`). A message (`PUBLISH`) would
//! be sooner, over a second connection of each process. But a process has to ask all the same:
//! the script that brings the token is the one that takes over the lease of a process that
//! died. So nothing is published.
//!
//! A value is less than 10 KiB, and ends with its token. A thousand processes are a few
//! thousand scripts at a deploy, and next to nothing after it. Each holds one connection; in a
//! Cluster, one to each node that it asks. Let Redis evict (`maxmemory-policy allkeys-lru`): a
//! full one that does not, stores nothing.
//!
//! An ACL user needs these rights:
//! `~tower-bearer:* +eval +time +get +set +del +pttl +pexpire +pexpireat +hset +hmget`.
//!
//! # Rotating keys
//! See [`SealingKeys`](crate::shared::SealingKeys): add the new key as one that opens, make it
//! the first, remove the old one. No token request is made for it. A key that comes from a
//! file is read at each use, so no process is restarted.
//!
//! A *client secret* that is rotated needs nothing: the processes that have the new one share
//! a token of their own.
//!
//! # What to watch
//! With the feature `tracing`: a warning, *the store of the shared token cannot be used*, once for
//! each outage, with the cause; a debug event for each token that came from another process.
//! At the authorization server, token requests go from one a process to one a fleet.
