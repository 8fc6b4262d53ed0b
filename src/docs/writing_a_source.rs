//! Writing a source: tokens that do not come from the client credentials grant.
//!
//! A *source* is a tower service from [`TokenRequest`](crate::token::TokenRequest) to
//! [`Token`](crate::Token). There is no trait to implement:
//! [`TokenSource`](crate::TokenSource) is another name for that service.
//!
//! # From a function
//! ```
//! use std::time::Duration;
//!
//! use tower::{BoxError, service_fn};
//! use tower_bearer::{
//!     BearerAuthLayer, Token, token::TokenRequest,
//! };
//!
//! async fn fetch(
//!     _: TokenRequest,
//! ) -> Result<Token, BoxError> {
//!     // Call your own token service here.
//!     let (access_token, seconds) =
//!         ("from-somewhere-else", 3600);
//!     let lifetime = Duration::from_secs(seconds);
//!     Ok(Token::new(access_token)?
//!         .with_lifetime(lifetime))
//! }
//!
//! let layer =
//!     BearerAuthLayer::new(service_fn(fetch));
//! # let _ = layer;
//! ```
//! [`Token::new`](crate::Token::new) fails if the text cannot be in a header. Without
//! [`with_lifetime`](crate::Token::with_lifetime), the token lives 5 minutes.
//!
//! # From a type of your own
//! Implement `Service`. The cache owns the source and makes one call at a time, so the source
//! needs no `Clone` and no lock.
//! ```
//! use std::{
//!     future::{Future, Ready, ready},
//!     task::{Context, Poll},
//! };
//!
//! use tower::Service;
//! use tower_bearer::{
//!     Error, Token, TokenCache, token::TokenRequest,
//! };
//!
//! struct Numbered {
//!     next: u64,
//! }
//!
//! impl Service<TokenRequest> for Numbered {
//!     type Response = Token;
//!     type Error = Error;
//!     type Future = Ready<Result<Token, Error>>;
//!
//!     fn poll_ready(
//!         &mut self,
//!         _: &mut Context<'_>,
//!     ) -> Poll<Result<(), Error>> {
//!         Poll::Ready(Ok(()))
//!     }
//!
//!     fn call(
//!         &mut self,
//!         _: TokenRequest,
//!     ) -> Self::Future {
//!         self.next += 1;
//!         ready(Token::new(format!(
//!             "token-{}",
//!             self.next
//!         )))
//!     }
//! }
//!
//! let cache = TokenCache::new(Numbered { next: 0 });
//! # let _ = cache;
//! ```
//!
//! # What the cache expects
//! - **Errors.** [`Error::transient`](crate::Error::transient) and
//!   [`Error::permanent`](crate::Error::permanent) say whether the same call may succeed a
//!   little later. They have different backoffs: 1 s doubling to 60 s, and 30 s doubling to
//!   5 minutes. Any other error that is `Into<BoxError>` is transient, and becomes the
//!   [`source`](std::error::Error::source) of an `Error`. Put no secret into an error.
//! - **Time.** A call has 10 s
//!   ([`token_request_timeout`](crate::cache::TokenCacheBuilder::token_request_timeout)).
//! - **Cancellation.** The future of a call may be dropped at any await. A call on a runtime
//!   that nothing drives is abandoned, and the next call starts while its future still exists.
//! - **Panics.** The callers get an error; the next call starts anew.
//! - **A rejected token.**
//!   [`TokenRequest::rejected_token`](crate::token::TokenRequest::rejected_token) is the token
//!   that the API rejected. A source with a store must not return that one again.
//!   [`current_token`](crate::token::TokenRequest::current_token) names the token to replace,
//!   at a refresh as well.
//!   [`reason`](crate::token::TokenRequest::reason) says why the source is called.
//! - **A challenge.** [`challenges`](crate::token::TokenRequest::challenges) is what the API
//!   said of a rejected token (`WWW-Authenticate`), for example which scope or claims it
//!   wants. A 401 with `insufficient_scope` or `insufficient_claims` is a rejection only if
//!   the layer is told so:
//!   [`unauthorized`](crate::BearerAuthLayer::unauthorized).
//! - **No cycle.** Do not hold a handle to the cache in its own source: the two would keep
//!   each other alive.
//!
//! # A vault
//! The errors say what may pass by itself, and what the operator has to change.
//! ```
//! use std::time::Duration;
//!
//! use tower::service_fn;
//! use tower_bearer::{
//!     Error, Token, TokenCache, token::TokenRequest,
//! };
//! # #[derive(Debug)] enum VaultError { NoRole, Sealed, Unreachable }
//! # impl std::fmt::Display for VaultError { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{self:?}") } }
//! # impl std::error::Error for VaultError {}
//! # struct Lease { token: String, seconds: u64 }
//! # #[derive(Clone)] struct Vault;
//! # impl Vault { async fn lease(&self, _: &str) -> Result<Lease, VaultError> { Err(VaultError::NoRole) } }
//!
//! async fn from_vault(
//!     vault: Vault,
//! ) -> Result<Token, Error> {
//!     let lease = vault.lease("my-role").await;
//!     let lease = lease.map_err(|error| {
//!         match error {
//!             VaultError::NoRole => Error::permanent(
//!                 "the vault has no `my-role`; add it",
//!             ),
//!             VaultError::Sealed => Error::transient(
//!                 "the vault is sealed",
//!             )
//!             .with_retry_after(Duration::from_secs(20)),
//!             _ => Error::transient("no vault"),
//!         }
//!         .with_source(error)
//!     })?;
//!     let seconds = lease.seconds;
//!     let lifetime = Duration::from_secs(seconds);
//!     Ok(Token::new(lease.token)?
//!         .with_lifetime(lifetime))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let vault = Vault;
//! let source = service_fn(move |_: TokenRequest| {
//!     from_vault(vault.clone())
//! });
//! let cache = TokenCache::new(source);
//! # let error = cache.get().await.unwrap_err();
//! # assert!(!error.is_transient());
//! # }
//! ```
//!
//! # A metadata server
//! Clouds give a machine's own token over HTTP without a secret. `client` stands for your
//! HTTP client. This is Google's:
//! ```
//! use std::time::Duration;
//!
//! use http::Request;
//! use tower::{BoxError, service_fn};
//! use tower_bearer::{
//!     Error, Token, TokenCache, token::TokenRequest,
//! };
//!
//! const URL: &str = "http://metadata.google.internal\
//!     /computeMetadata/v1/instance\
//!     /service-accounts/default/token";
//!
//! #[derive(serde::Deserialize)]
//! struct Answer {
//!     access_token: String,
//!     expires_in: u64,
//! }
//! # async fn client(request: Request<String>) -> Result<http::Response<String>, BoxError> {
//! #     assert_eq!(request.uri().path(), "/computeMetadata/v1/instance/service-accounts/default/token");
//! #     Ok(http::Response::new(r#"{"access_token":"ya29","expires_in":3599,"token_type":"Bearer"}"#.to_owned()))
//! # }
//!
//! async fn fetch(
//!     _: TokenRequest,
//! ) -> Result<Token, BoxError> {
//!     let request = Request::get(URL)
//!         .header("metadata-flavor", "Google")
//!         .body(String::new())?;
//!     let answer = client(request).await?;
//!     if answer.status() == 404 {
//!         return Err(Error::permanent(
//!             "this machine has no service account",
//!         )
//!         .into());
//!     }
//!     let answer: Answer =
//!         serde_json::from_str(answer.body())?;
//!     let seconds = answer.expires_in;
//!     let lifetime = Duration::from_secs(seconds);
//!     Ok(Token::new(answer.access_token)?
//!         .with_lifetime(lifetime))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let cache = TokenCache::new(service_fn(fetch));
//! # assert_eq!(cache.get().await?.authorization(), "Bearer ya29");
//! # Ok(())
//! # }
//! ```
//! These servers repeat a token until a few minutes before the end. The cache knows that:
//! a repeated token keeps its end, and causes no tight loop.
//!
//! # A chained credential
//! One credential's token is what another presents, as
//! [Entra ID's agent identities](super::providers::entra#an-agent-identity) do. The
//! second cache takes it from the first at each of its token requests.
//! ```
//! # #[cfg(feature = "rustls")] {
//! use tower_bearer::{
//!     BearerAuthLayer, ClientAuth,
//!     ClientCredentials, Secret, TokenCache,
//! };
//!
//! # fn layer(blueprint: TokenCache) -> Result<BearerAuthLayer, tower_bearer::Error> {
//! // `blueprint` is the cache of the first credential.
//! let assertion = Secret::from_cache(blueprint);
//! let agent = ClientCredentials::builder(
//!     "https://auth.example.com/oauth2/token",
//!     "my-agent",
//!     ClientAuth::assertion(assertion),
//! )
//! .build()?;
//! let layer = BearerAuthLayer::new(agent);
//! # Ok(layer) }
//! # }
//! ```
//!
//! # A store that survives restarts
//! A source around another one: a new process takes the stored token, and asks for one only
//! if that has ended. `Store` stands for yours.
//! ```
//! use std::time::{Duration, SystemTime};
//!
//! use tower::{BoxError, ServiceExt, service_fn};
//! use tower_bearer::{
//!     Token, TokenCache, TokenSource,
//!     token::{Reason, TokenRequest},
//! };
//! # use std::sync::{Arc, Mutex, atomic::{AtomicUsize, Ordering}};
//! # type Entry = (String, SystemTime);
//! # #[derive(Clone, Default)] struct Store(Arc<Mutex<Option<Entry>>>);
//! # impl Store {
//! #     async fn load(&self) -> Result<Option<Entry>, BoxError> { Ok(self.0.lock().unwrap().clone()) }
//! #     async fn save(&self, text: &str, ends_at: SystemTime) -> Result<(), BoxError> {
//! #         *self.0.lock().unwrap() = Some((text.to_owned(), ends_at));
//! #         Ok(())
//! #     }
//! # }
//!
//! async fn stored(
//!     store: Store,
//!     source: impl TokenSource,
//!     request: TokenRequest,
//! ) -> Result<Token, BoxError> {
//!     // At a refresh and after a rejection, the stored
//!     // token is the one to replace. And a broken store
//!     // is no reason to fail: it is as good as empty.
//!     let is_cold = request.reason() == Reason::Cold;
//!     if is_cold
//!         && let Ok(Some(entry)) = store.load().await
//!     {
//!         let (text, ends_at) = entry;
//!         let now = SystemTime::now();
//!         if let Ok(left) = ends_at.duration_since(now)
//!             && left > Duration::from_secs(60)
//!         {
//!             return Ok(Token::new(text)?
//!                 .with_lifetime(left));
//!         }
//!     }
//!     // Before the token request: its life counts from here.
//!     let started = SystemTime::now();
//!     let token = source.oneshot(request).await;
//!     let token = token.map_err(Into::into)?;
//!     if let Some(lifetime) = token.lifetime() {
//!         let ends_at = started + lifetime;
//!         let text = token.expose_secret();
//!         let _ = store.save(text, ends_at).await;
//!     }
//!     Ok(token)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_bearer::Error> {
//! # let store = Store::default();
//! # let calls = Arc::new(AtomicUsize::new(0));
//! # let process = || {
//! # let store = store.clone();
//! # let calls = Arc::clone(&calls);
//! # let credentials = service_fn(move |_: TokenRequest| {
//! #     let call = calls.fetch_add(1, Ordering::SeqCst);
//! #     async move { Ok::<_, tower_bearer::Error>(Token::new(format!("t{call}"))?.with_lifetime(Duration::from_secs(3600))) }
//! # });
//! let source =
//!     service_fn(move |request: TokenRequest| {
//!         let store = store.clone();
//!         stored(store, credentials.clone(), request)
//!     });
//! let cache = TokenCache::new(source);
//! # cache
//! # };
//! # for _ in 0..2 { assert_eq!(process().get().await?.authorization(), "Bearer t0"); }
//! # assert_eq!(calls.load(Ordering::SeqCst), 1);
//! # process().refresh().await?;
//! # // The process found no current token of its own, so it took the stored one.
//! # Ok(())
//! # }
//! ```
//! A stored token is a secret: anyone who reads the store can use it until it ends. Encrypt it,
//! or keep it where only this service can read it.
//!
//! # Layers around a source
//! Each tower layer also works around a source. At most 10 token requests a minute, each with
//! 3 seconds:
//! ```
//! use std::time::Duration;
//!
//! use tower::{
//!     BoxError, ServiceBuilder, service_fn,
//! };
//! use tower_bearer::{
//!     BearerAuthLayer, Token, token::TokenRequest,
//! };
//!
//! # async fn fetch(_: TokenRequest) -> Result<Token, BoxError> { unimplemented!() }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let source = ServiceBuilder::new()
//!     .rate_limit(10, Duration::from_secs(60))
//!     .timeout(Duration::from_secs(3))
//!     .service(service_fn(fetch));
//! let layer = BearerAuthLayer::new(source);
//! # let _ = layer;
//! # }
//! ```
//!
//! tower's `Retry` tries again within one token request, and so within its timeout. The cache
//! itself repeats a first token request once, if no server was reached.
//! ```
//! use std::future::{Ready, ready};
//!
//! use tower::{
//!     ServiceBuilder,
//!     retry::{Policy, RetryLayer},
//!     service_fn,
//! };
//! use tower_bearer::{
//!     Error, Token, TokenCache, token::TokenRequest,
//! };
//!
//! #[derive(Clone)]
//! struct WhileTransient {
//!     left: usize,
//! }
//!
//! impl Policy<TokenRequest, Token, Error>
//!     for WhileTransient
//! {
//!     type Future = Ready<()>;
//!
//!     fn retry(
//!         &mut self,
//!         _: &mut TokenRequest,
//!         result: &mut Result<Token, Error>,
//!     ) -> Option<Ready<()>> {
//!         let Err(error) = result else { return None };
//!         // A server that says when to come again means it.
//!         let may_pass = error.is_transient()
//!             && error.retry_after().is_none();
//!         let left = self.left.checked_sub(1)?;
//!         self.left = left;
//!         may_pass.then(|| ready(()))
//!     }
//!
//!     fn clone_request(
//!         &mut self,
//!         request: &TokenRequest,
//!     ) -> Option<TokenRequest> {
//!         Some(request.clone())
//!     }
//! }
//!
//! # let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
//! # let counted = calls.clone();
//! # let fetch = move |_: TokenRequest| {
//! #     let call = counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
//! #     async move { if call < 2 { Err(Error::transient("busy")) } else { Token::new("t") } }
//! # };
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn run(fetch: impl FnMut(TokenRequest) -> std::pin::Pin<Box<dyn Future<Output = Result<Token, Error>> + Send>> + Clone + Send + 'static) -> Result<(), Error> {
//! let policy = WhileTransient { left: 2 };
//! let source = ServiceBuilder::new()
//!     .layer(RetryLayer::new(policy))
//!     .service(service_fn(fetch));
//! let cache = TokenCache::new(source);
//! # cache.get().await?;
//! # Ok(())
//! # }
//! # run(move |request| Box::pin(fetch(request)))?;
//! # assert_eq!(calls.load(std::sync::atomic::Ordering::SeqCst), 3);
//! # Ok::<(), Error>(())
//! ```
//!
//! # Credentials that are looked up
//! [`Lookup`](crate::token::Lookup) finds a source at each token request, in a database or a
//! vault: see [many credentials](super::credentials#many-credentials). If only the secret is
//! looked up, [`Secret::from_provider`](crate::Secret::from_provider) is simpler.
//!
//! # Testing a source
//! A test makes its own [`TokenRequest`](crate::token::TokenRequest), and calls the source
//! with it: see the example there.
//!
//! # A token without a source
//! [`FixedToken`](crate::token::FixedToken) always gives the same token.
//! [`TokenCache::get`](crate::TokenCache::get) gives the token to code that is not a tower
//! service; call [`invalidate`](crate::TokenCache::invalidate) if the API rejects it.
