//! The layer around a source, and what it does at a token request.

use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    entry::{open_failure, open_token, seal_failure, seal_token},
    identity::Identity,
    round::{Event, Lease, Round, Step},
    shelf::{Answer, Ask},
    store::{Place, SharedStore},
};
use crate::{
    error::Error,
    telemetry::{self, Lookup},
    token::{Reason, Token, TokenRequest, TokenSource},
    util::timer::{timer, until},
};

/// A layer around a [`TokenSource`]: processes with the same identity, store and keys share one token.
///
/// # When to use
/// Many processes, such as pods, use one credential, and the token requests of all of them are too many. A single process needs
/// none of this: its [`TokenCache`](crate::TokenCache) makes one token request for all who wait. The guide
/// [a fleet](crate::docs::fleet) says what is promised and how to set it up.
///
/// # Example
/// ```
/// use tower::ServiceBuilder;
/// use tower_bearer::{
///     BearerAuthLayer, ClientCredentials, Secret,
///     shared::{SealingKeys, SharedLayer, SharedStore},
/// };
///
/// # fn example(credentials: ClientCredentials) -> Result<BearerAuthLayer, tower_bearer::Error> {
/// let keys = SealingKeys::new(Secret::from_env("SEALING_KEY"));
#[cfg_attr(
    feature = "redis",
    doc = "let store = SharedStore::redis(Secret::from_env(\"REDIS_URL\"), keys)?;"
)]
#[cfg_attr(
    not(feature = "redis"),
    doc = "let store = SharedStore::folder(\"/var/cache/my-tool\", keys)?;"
)]
/// let source = ServiceBuilder::new()
///     .layer(SharedLayer::new(&credentials, store))
///     .service(credentials);
/// let layer = BearerAuthLayer::new(source);
/// # Ok(layer)
/// # }
/// ```
///
/// # Errors
/// Those of the source. A failure that another process of the fleet had a moment ago is told again, with the same kind, status and
/// OAuth error. No trouble of the store is an error.
///
/// # Cancellation
/// A dropped token request gives up its lease when that is over: [`SharedStore::timeout`].
#[derive(Clone, Debug)]
pub struct SharedLayer {
    identity: Identity,
    store: SharedStore,
}

impl SharedLayer {
    /// Shares the tokens of this identity, usually `&credentials`, in this store.
    pub fn new(identity: impl Into<Identity>, store: SharedStore) -> Self {
        Self {
            identity: identity.into(),
            store,
        }
    }
}

impl<S> Layer<S> for SharedLayer {
    type Service = Shared<S>;

    fn layer(&self, source: S) -> Shared<S> {
        Shared(Arc::new(Inner {
            source: Mutex::new(source),
            layer: self.clone(),
            last: Mutex::new(None),
        }))
    }
}

/// The source that [`SharedLayer`] makes.
pub struct Shared<S>(Arc<Inner<S>>);

struct Inner<S> {
    /// A source need not be `Clone`, and is called after an await.
    source: Mutex<S>,
    layer: SharedLayer,
    /// The token that was given last.
    last: Mutex<Option<Last>>,
}

#[derive(Clone)]
struct Last {
    token: Token,
    /// 0 if the store does not know it.
    generation: u64,
    ends_at: Instant,
}

impl<S: TokenSource> Service<TokenRequest> for Shared<S> {
    type Response = Token;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Token, Error>> + Send>>;

    /// Always ready: the source is made ready when it is needed.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.token(request).await })
    }
}

impl<S: TokenSource> Inner<S> {
    async fn token(&self, request: TokenRequest) -> Result<Token, Error> {
        let started = Instant::now();
        let store = &self.layer.store;
        let place = store.place(&self.layer.identity, request.time_left()).await;
        let Some(place) = place else {
            return self.request_alone(request, started).await;
        };
        let owner = format!("{:032x}", fastrand::u128(..));
        let mut round = self.round(&request, started + place.patience());
        let mut step = round.begin();
        let mut asked = started;
        loop {
            let event = match step {
                Step::Ask { above } => {
                    asked = Instant::now();
                    let ask = Ask {
                        above,
                        owner: owner.clone(),
                        lease: place.lease(),
                    };
                    answered(&place, place.ask(ask).await)
                }
                Step::Pause(pause) => {
                    // Without timers it cannot wait for others.
                    match timer(Instant::now() + pause) {
                        Some(timer) => timer.await,
                        None => return self.request_alone(request, started).await,
                    }
                    Event::Paused
                }
                Step::Request(lease) => {
                    return self
                        .request_for_all(request, &place, &owner, lease, started)
                        .await;
                }
                Step::RequestAlone => return self.request_alone(request, started).await,
                Step::Use(opened) => {
                    telemetry::shared_lookup(Lookup::Hit);
                    // Counted from before the store was asked, whose clock was read later.
                    let (generation, ends_at) =
                        (opened.generation, asked + opened.left.min(LONGEST));
                    let token = opened.into_token(asked - started);
                    let token = self.layer.identity.equip(token);
                    self.remember(&token, generation, ends_at);
                    return Ok(token);
                }
                Step::Fail(error) => return Err(error),
            };
            step = round.next(event, Instant::now());
        }
    }

    /// What would do for this request.
    fn round(&self, request: &TokenRequest, patience: Instant) -> Round {
        let round = Round::for_any(patience);
        let last = self.lock().clone();
        match (request.reason(), request.current_token()) {
            (Reason::Cold, _) => match last {
                // It was forgotten before its end, as by `TokenCache::invalidate`: it is not to come back.
                Some(last) if last.ends_at > Instant::now() => {
                    round.above(last.generation).other_than(last.token)
                }
                _ => round,
            },
            (reason, Some(current)) => {
                let last = last.filter(|last| last.token.is_same_credential(current));
                let generation = last.as_ref().map_or(0, |last| last.generation);
                let round = round.above(generation);
                match last {
                    _ if reason == Reason::Rejected => round.other_than(current.clone()),
                    Some(last) if last.generation == 0 => round.outliving(last.ends_at),
                    Some(_) => round,
                    None => round.other_than(current.clone()),
                }
            }
            (_, None) => round,
        }
    }

    /// Requests a token under a lease, which is renewed meanwhile, and stores how that ended.
    async fn request_for_all(
        &self,
        request: TokenRequest,
        place: &Place,
        owner: &str,
        lease: Lease,
        started: Instant,
    ) -> Result<Token, Error> {
        telemetry::shared_lookup(Lookup::Leased);
        let asked = Instant::now();
        let deadline = asked + request.time_left().unwrap_or(LONGEST);
        let renewal = place.renewal();
        let renewing = async {
            while let Some(pause) = timer(Instant::now() + renewal) {
                pause.await;
                if !place.renew(owner).await {
                    break;
                }
            }
        };
        let result = beside(self.request(request), renewing).await;
        let put = match &result {
            Ok(token) => seal_token(&place.seal, token, lease.generation, lease.taken_at),
            Err(error) => Some(seal_failure(&place.seal, error)),
        };
        if let Some(put) = put {
            // The cache must not time out now that there is a token. The store goes on with what is given up here.
            let left = deadline.saturating_duration_since(Instant::now());
            until(Instant::now() + left / 2, place.put(owner, put)).await;
        }
        Ok(self.given(result?, lease.generation, asked, started))
    }

    async fn request_alone(&self, request: TokenRequest, started: Instant) -> Result<Token, Error> {
        telemetry::shared_lookup(Lookup::Alone);
        let asked = Instant::now();
        let token = self.request(request).await?;
        Ok(self.given(token, 0, asked, started))
    }

    async fn request(&self, request: TokenRequest) -> Result<Token, Error> {
        let ours = |error: S::Error| Error::from_source(error.into());
        let mut request = Some(request);
        // Locked for one poll at a time: an attempt that is not driven any more must not keep the source from the next.
        let answer = poll_fn(|cx| {
            let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            ready!(source.poll_ready(cx))?;
            match request.take() {
                Some(request) => Poll::Ready(Ok(source.call(request))),
                None => Poll::Pending,
            }
        });
        answer.await.map_err(ours)?.await.map_err(ours)
    }

    /// The token, for a cache that counts its life from `started`, though it was requested later.
    fn given(&self, token: Token, generation: u64, asked: Instant, started: Instant) -> Token {
        let waited = asked - started;
        let lifetime = token.lifetime().filter(|lifetime| !lifetime.is_zero());
        let token = match lifetime {
            Some(lifetime) => token.with_lifetime(lifetime.saturating_add(waited)),
            None => token,
        };
        let lasts = lifetime.unwrap_or_default().min(LONGEST);
        self.remember(&token, generation, asked + lasts);
        token
    }

    fn remember(&self, token: &Token, generation: u64, ends_at: Instant) {
        *self.lock() = Some(Last {
            token: token.clone(),
            generation,
            ends_at,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Option<Last>> {
        // A lock around a single value is never left half-changed.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a store's answer means, once it is opened.
fn answered(place: &Place, answer: Option<Answer>) -> Event {
    match answer {
        Some(Answer::Value {
            generation,
            sealed,
            now,
        }) => match open_token(&place.seal, generation, &sealed, now) {
            Some(opened) => Event::Value(opened),
            None => Event::Unreadable { generation },
        },
        Some(Answer::Held) => Event::Held,
        Some(Answer::Failed { sealed, left }) => match open_failure(&place.seal, &sealed, left) {
            Some(error) => Event::Failed(error),
            None => Event::Unreachable,
        },
        Some(Answer::Taken { generation, now }) => Event::Taken(Lease {
            generation,
            taken_at: now,
        }),
        None => Event::Unreachable,
    }
}

/// Waits for the one, and runs the other meanwhile.
async fn beside<T>(main: impl Future<Output = T>, other: impl Future<Output = ()>) -> T {
    let (mut main, mut other) = (pin!(main), pin!(other));
    let mut other_is_over = false;
    poll_fn(|cx| {
        if let Poll::Ready(result) = main.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        other_is_over = other_is_over || other.as_mut().poll(cx).is_ready();
        Poll::Pending
    })
    .await
}

impl<S> fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("layer", &self.0.layer)
            .finish_non_exhaustive()
    }
}

/// As good as for ever, and within the clock's range.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
