//! Runtimes and serverless: blocking code, a runtime per call, tests, AWS Lambda, paused time.
//!
//! A token request is a Tokio task. It runs on the runtime of the request that needs it first.
//! You need a Tokio runtime with timers (`enable_all` or `enable_time`); `#[tokio::main]` and
//! `#[tokio::test]` have them. Without one, a request that needs a token fails with
//! [`NoRuntime`](crate::ErrorKind::NoRuntime), and the message says what to do.
//!
//! One cache can serve many runtimes. Its callers depend on their own runtime only:
//!
//! | what happens to the runtime that runs the token request | the callers on other runtimes |
//! | --- | --- |
//! | nothing drives it any more: `block_on` has returned | take the token request over, within their own timeout |
//! | its thread is blocked | take the token request over |
//! | it is shut down | start or join another token request |
//! | the process was frozen | start anew at once; the freeze does not count as a failure |
//!
//! A token request that shows no sign of life for about 0.65 s is taken over. None of these
//! cases causes a backoff.
//!
//! # Platforms
//! Every platform of Tokio's that has clocks and timers is supported. WebAssembly in a browser
//! (`wasm32-unknown-unknown`) is not: it has no clock that this crate can read. Other runtimes
//! (smol, for one) work where a Tokio runtime that is driven does the token requests: name it
//! with [`runtime`](crate::cache::TokenCacheBuilder::runtime).
//!
//! # Blocking code
//! A blocking facade calls `block_on` on a runtime of its own. Use one runtime and one cache
//! for all calls:
//! ```
//! use tokio::runtime::{Builder, Runtime};
//! use tower_bearer::{Error, Token, TokenCache};
//!
//! struct Tokens {
//!     runtime: Runtime,
//!     cache: TokenCache,
//! }
//!
//! impl Tokens {
//!     fn new(
//!         cache: TokenCache,
//!     ) -> std::io::Result<Self> {
//!         let runtime =
//!             Builder::new_current_thread()
//!                 .enable_all()
//!                 .build()?;
//!         Ok(Self { runtime, cache })
//!     }
//!
//!     fn get(&self) -> Result<Token, Error> {
//!         self.runtime.block_on(self.cache.get())
//!     }
//! }
//! # let source = tower_bearer::token::FixedToken::new("t")?;
//! # assert!(Tokens::new(TokenCache::new(source))?.get().is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! Between two calls, nothing drives a current-thread runtime, so a background refresh pauses.
//! The next call continues it, or replaces it. If refreshes should go on between calls, use a
//! multi-thread runtime with one worker: `Builder::new_multi_thread().worker_threads(1)`.
//!
//! Do not call `block_on` in async code: Tokio panics. Use `spawn_blocking` there.
//!
//! # A runtime per call
//! `Runtime::new()?.block_on(…)` in each call works, with the cache outside:
//! ```
//! use std::sync::LazyLock;
//! use tower_bearer::{
//!     Token, TokenCache, token::FixedToken,
//! };
//!
//! static TOKENS: LazyLock<TokenCache> =
//!     LazyLock::new(|| {
//!         // Usually `ClientCredentials`.
//!         TokenCache::new(
//!             FixedToken::new("a-token")
//!                 .expect("a valid token"),
//!         )
//!     });
//!
//! fn token()
//! -> Result<Token, Box<dyn std::error::Error>> {
//!     let runtime = tokio::runtime::Runtime::new()?;
//!     Ok(runtime.block_on(TOKENS.get())?)
//! }
//! # assert!(token().is_ok());
//! ```
//! A refresh that starts near the end of a call stops with its runtime. The next call starts
//! it again.
//!
//! Share the cache and not the HTTP client: a client's pooled connections belong to the
//! runtime that opened them.
//!
//! # Tests with a static client
//! `#[tokio::test]` makes a runtime per test and shuts it down at the end. A static cache is
//! shared by tests that run in parallel. That works: a test that waits for a token of another
//! test's token request gets one, even if the other test ends first. Usually a cache per test
//! is better, since tests then do not depend on each other. See [testing](super::testing).
//!
//! # AWS Lambda
//! Create the cache once, outside the handler, and keep it between invocations. Lambda freezes
//! the process when the handler returns. After the thaw:
//!
//! - The wall clock shows how long the freeze was. A token that expired meanwhile is not sent.
//! - A token request that was under way is abandoned. The next call starts a new one at once.
//! - Connections may be dead. The client opens new ones.
//!
//! Do not call `keep_warm` there: it runs only while the handler runs.
//!
//! # Threads that block
//! A handler that blocks its thread for seconds (a lock, a file, a long computation) also
//! delays a token request on that thread. Other runtimes are not affected. On the same
//! runtime, use `spawn_blocking`.
//!
//! # `keep_warm` on several runtimes
//! [`keep_warm`](crate::TokenCache::keep_warm) runs on the runtime that calls it. Call it on
//! several runtimes, and it lasts until the last of them is gone. A second call on the same
//! runtime adds nothing.
//!
//! # Pin token requests to one runtime
//! [`TokenCacheBuilder::runtime`](crate::cache::TokenCacheBuilder::runtime) runs all token
//! requests on a runtime that you choose. Use it if callers come from many short-lived
//! runtimes, or from threads without a runtime, and one runtime outlives them all:
//! ```
//! use tokio::runtime::Handle;
//! use tower_bearer::{
//!     Error, TokenCache, TokenSource,
//! };
//!
//! fn pinned(
//!     source: impl TokenSource,
//!     background: Handle,
//! ) -> Result<TokenCache, Error> {
//!     TokenCache::builder(source)
//!         .runtime(background)
//!         .build()
//! }
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # let source = tower_bearer::token::FixedToken::new("t")?;
//! # let cache = pinned(source, runtime.handle().clone())?;
//! # assert!(runtime.block_on(cache.get()).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! Something must drive that runtime: a multi-thread runtime does so itself. Callers do not
//! take token requests over from it.
//!
//! # Paused time
//! All waits use Tokio's clock. With `#[tokio::test(start_paused = true)]`,
//! `tokio::time::advance` moves the expiry of tokens and the ends of backoffs:
//! ```
//! use std::time::Duration;
//! use tower_bearer::{
//!     Error, Token, TokenCache, token::TokenRequest,
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Error> {
//! let source =
//!     tower::service_fn(async |_: TokenRequest| {
//!         let token = Token::new("a-token")?;
//!         Ok::<_, Error>(token.with_lifetime(
//!             Duration::from_secs(300),
//!         ))
//!     });
//! let cache = TokenCache::new(source);
//! cache.get().await?;
//! assert!(cache.state().is_usable());
//!
//! tokio::time::advance(Duration::from_secs(300))
//!     .await;
//! assert!(!cache.state().is_usable());
//! # Ok(())
//! # }
//! ```
