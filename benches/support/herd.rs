//! Crowds of callers in trouble: no token yet, a token request that fails, a token that is revoked while they are under way.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use tokio::{
    runtime::Builder,
    sync::Notify,
    time::{sleep, timeout},
};
use tower::{Layer, Service};
use tower_bearer::{BearerAuthLayer, Error, Token, token::TokenRequest};

use super::{
    options::Options,
    table::{NONE, Table, ratio},
    warm::{Body, request},
};

/// How long a token request takes.
pub(crate) const TOKEN_REQUEST_TAKES: Duration = Duration::from_millis(50);

/// An authorization server, in a word.
#[derive(Debug, Default)]
pub(crate) struct TokenEndpoint {
    asked: AtomicUsize,
    fails: AtomicBool,
}

impl TokenEndpoint {
    /// Takes its time, and gives a token or fails.
    pub(crate) async fn token(&self) -> Result<String, &'static str> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        sleep(TOKEN_REQUEST_TAKES).await;
        match self.fails.load(Ordering::SeqCst) {
            true => Err("the authorization server is down"),
            false => Ok(format!("t{number}")),
        }
    }
}

/// An API that answers at once, until it has to reject: its rejections come scattered over two token requests.
#[derive(Debug, Default)]
pub(crate) struct Api {
    calls: AtomicUsize,
    rejected: AtomicUsize,
    /// Tokens up to this number are not good any more.
    revoked: AtomicUsize,
}

impl Api {
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.accepts(&request) {
            return Response::default();
        }
        let place = self.rejected.fetch_add(1, Ordering::SeqCst);
        sleep(2 * TOKEN_REQUEST_TAKES * ((place * 37 % 100) as u32) / 100).await;
        Response::builder()
            .status(401)
            .header("www-authenticate", r#"Bearer error="invalid_token""#)
            .body(Body::default())
            .unwrap()
    }

    fn accepts(&self, request: &Request<Body>) -> bool {
        let token = request.headers()[AUTHORIZATION].to_str().unwrap();
        let number: usize = token.strip_prefix("Bearer t").unwrap().parse().unwrap();
        number > self.revoked.load(Ordering::SeqCst)
    }
}

/// Sends one request, and says whether it was answered with 200.
pub(crate) type Caller = Box<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send>;

/// Someone whose callers come in crowds.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) retries: bool,
    #[allow(clippy::type_complexity, reason = "it is named here")]
    pub(crate) make: Box<dyn Fn(Arc<TokenEndpoint>, Arc<Api>) -> Caller>,
}

impl Peer {
    pub(crate) fn new(
        name: &'static str,
        retries: bool,
        make: impl Fn(Arc<TokenEndpoint>, Arc<Api>) -> Caller + 'static,
    ) -> Self {
        Self {
            name,
            retries,
            make: Box::new(make),
        }
    }

    pub(crate) fn tower_bearer() -> Self {
        Self::new("tower-bearer", true, |token_request, api| {
            let source = tower::service_fn(move |_: TokenRequest| {
                let token_request = Arc::clone(&token_request);
                async move {
                    let token = token_request.token().await.map_err(tower::BoxError::from)?;
                    let token: Result<_, Error> = Token::new(token);
                    Ok::<_, tower::BoxError>(token?.with_lifetime(Duration::from_secs(36_000)))
                }
            });
            let api = tower::service_fn(move |request| {
                let api = Arc::clone(&api);
                async move { Ok::<_, Infallible>(api.answer(request).await) }
            });
            calls(BearerAuthLayer::new(source).layer(api))
        })
    }
}

impl Peer {
    /// What a crowd of its own takes: each caller waits as long as a token request takes, by itself, and calls.
    pub(crate) fn floor() -> Self {
        Self::new(
            "a wait of 50 ms each, no token",
            false,
            |token_request, api| {
                Box::new(move || {
                    let (token_request, api) = (Arc::clone(&token_request), Arc::clone(&api));
                    Box::pin(async move {
                        sleep(TOKEN_REQUEST_TAKES).await;
                        if token_request.fails.load(Ordering::SeqCst) {
                            return false;
                        }
                        let mut request = request();
                        let headers = request.headers_mut();
                        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer t1"));
                        api.answer(request).await.status() == 200
                    })
                })
            },
        )
    }
}

/// A caller of a service.
pub(crate) fn calls<S, B>(service: S) -> Caller
where
    S: Service<Request<Body>, Response = Response<B>, Future: Send> + Clone + Send + 'static,
    S::Error: Send,
    B: Send,
{
    Box::new(move || {
        let mut service = service.clone();
        Box::pin(async move {
            if poll_fn(|cx| service.poll_ready(cx)).await.is_err() {
                return false;
            }
            let answer = service.call(request()).await;
            answer.is_ok_and(|answer| answer.status() == 200)
        })
    })
}

/// What became of a crowd.
struct Crowd {
    answered: usize,
    /// When the last had its answer; `None` if some had none by the end of our patience.
    slowest: Option<Duration>,
}

async fn crowd(callers: usize, call: &Caller) -> Crowd {
    let progress = Arc::new(Progress {
        left: AtomicUsize::new(callers),
        answered: AtomicUsize::new(0),
        ended: Notify::new(),
    });
    let started = Instant::now();
    for _ in 0..callers {
        let (call, progress) = (call(), Arc::clone(&progress));
        tokio::spawn(async move {
            if call.await {
                progress.answered.fetch_add(1, Ordering::SeqCst);
            }
            // Only the last one wakes us: the crowd has the processors for itself.
            if progress.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                progress.ended.notify_one();
            }
        });
    }
    let ended = timeout(PATIENCE, progress.ended.notified()).await;
    Crowd {
        slowest: ended.ok().map(|()| started.elapsed()),
        answered: progress.answered.load(Ordering::SeqCst),
    }
}

struct Progress {
    left: AtomicUsize,
    answered: AtomicUsize,
    ended: Notify,
}

/// A hundred token requests in a row.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends crowds at all of them, a few times each; the best time counts, and the most token requests.
pub(crate) fn trouble(peers: &[Peer], options: &Options, file: &str) {
    let (many, some, times) = match options.test {
        true => (100, 20, 1),
        false => (10_000, 1_000, 5),
    };
    let mut table = Table::new(
        "Trouble: token requests take 50 ms",
        [
            "trouble",
            "driver",
            "callers",
            "answered 200",
            "token_requests",
            "slowest, ms",
            "in token requests",
            "API calls a request",
        ],
    );
    let troubles = [
        ("no token yet", many),
        ("the token request fails", some),
        ("the token is revoked", some),
    ];
    for (trouble, callers) in troubles {
        let revoked = trouble == "the token is revoked";
        for peer in peers.iter().filter(|peer| peer.retries || !revoked) {
            let mut best: Option<Seen> = None;
            for _ in 0..times {
                let seen = run(peer, callers, trouble == "the token request fails", revoked);
                let slow = seen.crowd.slowest.is_none();
                best = Some(match best.take() {
                    None => seen,
                    Some(best) => best.and(seen),
                });
                if slow {
                    // Once is enough of that.
                    break;
                }
            }
            let seen = best.unwrap();
            let slowest = seen.crowd.slowest.map(|slowest| slowest.as_secs_f64());
            let all = if slowest.is_some() { "" } else { "+" };
            table.row([
                trouble.to_owned(),
                peer.name.to_owned(),
                callers.to_string(),
                seen.crowd.answered.to_string(),
                format!("{}{all}", seen.token_requests),
                match slowest {
                    Some(seconds) => format!("{:.0}", seconds * 1e3),
                    None => format!("{:.0}+", PATIENCE.as_secs_f64() * 1e3),
                },
                match slowest {
                    // The API takes its time as well.
                    _ if revoked => NONE.to_owned(),
                    Some(seconds) => ratio(seconds / TOKEN_REQUEST_TAKES.as_secs_f64()),
                    None => format!(
                        "{:.0}+",
                        PATIENCE.as_secs_f64() / TOKEN_REQUEST_TAKES.as_secs_f64()
                    ),
                },
                match seen.calls {
                    // None went out, or to an API of its own kind.
                    0 => NONE.to_owned(),
                    calls => ratio(calls as f64 / callers as f64),
                },
            ]);
        }
    }
    table.done(file, options);
}

struct Seen {
    crowd: Crowd,
    token_requests: usize,
    calls: usize,
}

impl Seen {
    fn and(self, other: Self) -> Self {
        Self {
            crowd: Crowd {
                answered: self.crowd.answered.min(other.crowd.answered),
                slowest: self.crowd.slowest.min(other.crowd.slowest),
            },
            token_requests: self.token_requests.max(other.token_requests),
            calls: self.calls.max(other.calls),
        }
    }
}

/// On a runtime of its own, so that nothing of the crowd before is left.
fn run(peer: &Peer, callers: usize, fails: bool, revoked: bool) -> Seen {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let seen = runtime.block_on(async {
        let (token_request, api) = (Arc::new(TokenEndpoint::default()), Arc::new(Api::default()));
        token_request.fails.store(fails, Ordering::SeqCst);
        let call = (peer.make)(Arc::clone(&token_request), Arc::clone(&api));
        if revoked {
            assert!(call().await, "{}: no answer to warm up", peer.name);
            // Tokens are numbered: those to come are good.
            api.revoked
                .store(token_request.asked.load(Ordering::SeqCst), Ordering::SeqCst);
            api.calls.store(0, Ordering::SeqCst);
        }
        let before = token_request.asked.load(Ordering::SeqCst);
        let crowd = crowd(callers, &call).await;
        Seen {
            crowd,
            token_requests: token_request.asked.load(Ordering::SeqCst) - before,
            calls: api.calls.load(Ordering::SeqCst),
        }
    });
    runtime.shutdown_background();
    seen
}
