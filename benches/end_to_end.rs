//! What the layer costs over loopback sockets: a client with 64 requests in flight, by HTTP/1.1 and by HTTP/2, and the
//! reverse proxy of `examples/axum_proxy`.
//!
//! ```sh
//! cargo bench --bench end_to_end
//! ```
//! With and without the layer in turn, in short turns; what counts is the median of the turns' quotients.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]
#![allow(
    clippy::disallowed_types,
    reason = "what is measured here is real time"
)]

#[allow(dead_code, reason = "the example itself uses the rest of it")]
#[path = "../examples/axum_proxy/proxy.rs"]
mod proxy;
mod support;

use std::{
    fmt::Debug,
    net::SocketAddr,
    rc::Rc,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use axum::{Router, ServiceExt, serve::ListenerExt};
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    task::JoinSet,
};
use tower::{Layer, Service, ServiceExt as _};
use tower_bearer::{BearerAuthLayer, Token, TokenCache, replay::NoReplay, token::FixedToken};
use tower_http::auth::AddAuthorizationLayer;

use self::support::{
    options::Options,
    table::{Table, ratio},
    turns::{median, quantile},
    warm::{self, Body, TOKEN},
};

fn main() {
    let options = Options::from_command_line();
    let runtime = Rc::new(Builder::new_current_thread().enable_all().build().unwrap());
    let mut table = Table::new(
        "Over loopback, 64 requests in flight",
        [
            "over",
            "driver",
            "requests a second",
            "in parts of without",
            "p99, us",
            "in parts of without",
        ],
    );

    // The server has a thread of its own, and the client the other.
    let server = on_a_thread_of_its_own(|| Router::new().fallback(take_in));
    for (name, version) in [("HTTP/1.1", Version::HTTP_11), ("HTTP/2", Version::HTTP_2)] {
        let mut loads = [
            Load::new("without", &runtime, server, client(version)),
            Load::new("tower-http AddAuthorizationLayer", &runtime, server, {
                let layer = AddAuthorizationLayer::bearer(TOKEN).as_sensitive(true);
                layer.layer(client(version))
            }),
            Load::new("tower-bearer, NoReplay", &runtime, server, {
                let layer = BearerAuthLayer::from_cache(tokens());
                layer.replay(NoReplay).layer(client(version))
            }),
            Load::new("tower-bearer", &runtime, server, {
                BearerAuthLayer::from_cache(tokens()).layer(client(version))
            }),
        ];
        compare(name, &mut loads, &options, &mut table);
    }

    // The proxy has a thread of its own; whom it talks to, on both sides, share the other.
    let upstream = runtime.block_on(serve(Router::new().fallback(take_in)));
    let origin = format!("http://{upstream}");
    let without = on_a_thread_of_its_own(move || {
        let authority = upstream.to_string().parse().unwrap();
        proxy::proxy_over(proxy::client(), authority, PATIENCE)
    });
    let with =
        on_a_thread_of_its_own(move || proxy::proxy(origin.parse().unwrap(), tokens(), PATIENCE));
    let mut loads = [
        Load::new("without", &runtime, without, client(Version::HTTP_11)),
        Load::new("tower-bearer", &runtime, with, client(Version::HTTP_11)),
    ];
    compare("the proxy", &mut loads, &options, &mut table);
    table.done("end_to_end", &options);
}

fn tokens() -> TokenCache {
    let token = Token::new(TOKEN).unwrap();
    TokenCache::new(FixedToken::from(token.with_lifetime(DAY)))
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests of a kind, many at once.
struct Load {
    name: &'static str,
    send: Box<dyn FnMut(usize) -> Turn>,
}

/// What one turn of a load took.
struct Turn {
    seconds: f64,
    /// Of each request, in nanoseconds.
    latencies: Vec<f64>,
}

impl Load {
    /// Requests that a service sends to a server.
    fn new<S, B>(name: &'static str, runtime: &Rc<Runtime>, to: SocketAddr, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Debug,
        S::Future: Send,
        B: http_body::Body<Error: Debug, Data: Send> + Send,
    {
        let runtime = Rc::clone(runtime);
        Self {
            name,
            send: Box::new(move |each| runtime.block_on(load(&service, to, each))),
        }
    }
}

/// Sends so many requests one after another, 64 times at once.
async fn load<S, B>(service: &S, to: SocketAddr, each: usize) -> Turn
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Debug,
    S::Future: Send,
    B: http_body::Body<Error: Debug, Data: Send> + Send,
{
    let started = Instant::now();
    let mut all = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let mut service = service.clone();
        all.spawn(async move {
            let mut latencies = Vec::with_capacity(each);
            for _ in 0..each {
                let request = request(to);
                let started = Instant::now();
                let answer = service.ready().await.unwrap().call(request).await.unwrap();
                assert_eq!(answer.status(), 200);
                answer.into_body().collect().await.unwrap();
                latencies.push(started.elapsed().as_nanos() as f64);
            }
            latencies
        });
    }
    let latencies = all.join_all().await.concat();
    Turn {
        seconds: started.elapsed().as_secs_f64(),
        latencies,
    }
}

const IN_FLIGHT: usize = 64;

/// The warm request, to this server.
fn request(to: SocketAddr) -> Request<Body> {
    let mut request = warm::request();
    let path = request.uri().path().to_owned();
    *request.uri_mut() = format!("http://{to}{path}").parse().unwrap();
    request
}

fn client(version: Version) -> Client<HttpConnector, Body> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .http2_only(version == Version::HTTP_2)
        .build(tcp)
}

/// Runs the loads in turn; the first is the one that the others are compared with.
fn compare(over: &str, loads: &mut [Load], options: &Options, table: &mut Table) {
    let (turns, each) = if options.test { (2, 2) } else { (150, 16) };
    for load in &mut *loads {
        // Connects, and warms up.
        (load.send)(each);
    }
    let mut rates = vec![Vec::new(); loads.len()];
    let mut p99 = rates.clone();
    for turn in 0..turns {
        for place in 0..loads.len() {
            let which = (place + turn) % loads.len();
            let Turn { seconds, latencies } = (loads[which].send)(each);
            rates[which].push(latencies.len() as f64 / seconds);
            p99[which].push(quantile(latencies, 0.99));
        }
    }
    let quotients = |values: &[Vec<f64>], which: usize| {
        let turns = values[which].iter().zip(&values[0]);
        ratio(median(turns.map(|(with, without)| with / without)))
    };
    for (which, load) in loads.iter().enumerate() {
        table.row([
            over.to_owned(),
            load.name.to_owned(),
            format!("{:.0}", median(rates[which].iter().copied())),
            quotients(&rates, which),
            format!("{:.0}", median(p99[which].iter().copied()) / 1e3),
            quotients(&p99, which),
        ]);
    }
}

/// An API that reads a request, and answers.
async fn take_in(_: Bytes) -> &'static str {
    r#"{"ok":true}"#
}

/// Serves what `make` makes on a thread and a runtime of its own, until this process ends; where.
fn on_a_thread_of_its_own<S>(make: impl FnOnce() -> S + Send + 'static) -> SocketAddr
where
    S: Service<
            axum::extract::Request,
            Response = axum::response::Response,
            Error = std::convert::Infallible,
        > + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let (told, address) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            told.send(serve(make()).await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    address.recv().unwrap()
}

/// Serves on a free port, until the runtime ends; where.
async fn serve<S>(service: S) -> SocketAddr
where
    S: Service<
            axum::extract::Request,
            Response = axum::response::Response,
            Error = std::convert::Infallible,
        > + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = listener.tap_io(|connection| {
        // Only latency is lost without it.
        let _ = connection.set_nodelay(true);
    });
    let service = service.into_make_service();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}
