//! The warm request: six headers, 256 bytes of body, a token at hand, and a service below that answers at once.

use std::{convert::Infallible, fmt::Debug, hint::black_box, rc::Rc};

use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, ServiceExt};
use tower_bearer::{BearerAuthLayer, Token, replay::NoReplay, token::FixedToken};
use tower_http::auth::AddAuthorizationLayer;

use super::{
    options::Options,
    table::{NONE, Table, ratio},
    turns::{Driver, Times},
    valgrind::{self, Count},
};

pub(crate) type Body = Full<Bytes>;

/// As long as those of Hydra, an authorization server.
pub(crate) const TOKEN: &str = "ory_at_4jSHq0y1hV8sQzR2mXwJ5cTz7bN3uKpE6gYfL9aDvRi.k2dWn7tB9pLcQ4xZ8mVyH1sJ6fGuE3oXrT5wKqNzPbA";

pub(crate) const BARE: &str = "the service alone";
pub(crate) const STATIC: &str = "tower-http AddAuthorizationLayer";
pub(crate) const ONCE: &str = "tower-bearer, NoReplay";
pub(crate) const RETRYING: &str = "tower-bearer";

pub(crate) fn request() -> Request<Body> {
    Request::post("https://apigw.ipxo.com/ecommerce/public/0d4f2c1e-aaaa-bbbb-cccc-0123456789ab/orders/77/credits/apply")
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("user-agent", "svc/1.2.3")
        .header("x-request-id", "7f1d0a52-3b5e-4a4e-9f6d-0123456789ab")
        .header(
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
        .header("idempotency-key", "abc-123-def")
        .body(Full::new(Bytes::from_static(&BODY)))
        .unwrap()
}

pub(crate) static BODY: [u8; 256] = [b'x'; 256];

/// The service below: answers at once, to requests with a token.
pub(crate) async fn answer<E>(request: Request<Body>) -> Result<Response<Body>, E> {
    assert!(request.headers().contains_key(AUTHORIZATION));
    Ok(Response::new(Full::default()))
}

/// The same to any request.
pub(crate) async fn answer_bare(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    // What the other does, with another outcome.
    assert!(!request.headers().contains_key(AUTHORIZATION));
    Ok(Response::new(Full::default()))
}

/// The drivers of one run. All of them are driven on one thread, by one runtime.
pub(crate) struct Drivers {
    runtime: Rc<Runtime>,
    /// The only one that is wanted, if not all are.
    wanted: Option<String>,
    pub(crate) drivers: Vec<Driver>,
}

impl Drivers {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            runtime: Rc::new(Builder::new_current_thread().enable_all().build().unwrap()),
            wanted: options.count.as_ref().map(|(driver, _)| driver.clone()),
            drivers: Vec::new(),
        }
    }

    /// Adds one that `make` makes, on the runtime: an async closure that sends one request that it is given.
    pub(crate) fn add<F: AsyncFnMut(Request<Body>) + 'static>(
        &mut self,
        name: &'static str,
        retries: &'static str,
        make: impl AsyncFnOnce() -> F,
    ) {
        self.add_over(name, retries, BARE, async || {
            let mut send = make().await;
            async move || send(request()).await
        });
    }

    /// Adds one whose requests are its own, and so is what it is compared with.
    pub(crate) fn add_over<F: AsyncFnMut() + 'static>(
        &mut self,
        name: &'static str,
        retries: &'static str,
        bare: &'static str,
        make: impl AsyncFnOnce() -> F,
    ) {
        if self.wanted.as_ref().is_some_and(|wanted| wanted != name) {
            return;
        }
        let mut send = self.runtime.block_on(make());
        let runtime = Rc::clone(&self.runtime);
        let driver = Driver::new(name, retries, bare, move |requests| {
            runtime.block_on(async {
                for _ in 0..requests {
                    send().await;
                }
            });
        });
        self.drivers.push(driver);
    }

    /// Adds a service.
    pub(crate) fn add_service<S>(
        &mut self,
        name: &'static str,
        retries: &'static str,
        make: impl AsyncFnOnce() -> S,
    ) where
        S: Service<Request<Body>, Error: Debug> + 'static,
    {
        self.add_service_over(name, retries, BARE, make);
    }

    /// Adds a service that is compared with another one.
    pub(crate) fn add_service_over<S>(
        &mut self,
        name: &'static str,
        retries: &'static str,
        bare: &'static str,
        make: impl AsyncFnOnce() -> S,
    ) where
        S: Service<Request<Body>, Error: Debug> + 'static,
    {
        self.add_over(name, retries, bare, async || {
            let mut service = make().await;
            async move || {
                let answer = service.ready().await.unwrap().call(request()).await;
                black_box(answer.unwrap());
            }
        });
    }

    /// The drivers, and what each is compared with.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.drivers.iter().map(|driver| (driver.name, driver.bare))
    }

    /// Adds the yardsticks: the service alone, and a header that never changes.
    pub(crate) fn add_yardsticks(&mut self) {
        self.add_service(BARE, NONE, async || tower::service_fn(answer_bare));
        self.add_service(STATIC, "no", async || {
            let layer = AddAuthorizationLayer::bearer(TOKEN).as_sensitive(true);
            layer.layer(api())
        });
    }

    /// Adds tower-bearer, without and with its retry.
    pub(crate) fn add_tower_bearer(&mut self) {
        self.add_service(ONCE, "no", async || {
            warm().await.replay(NoReplay).layer(api())
        });
        self.add_service(RETRYING, "yes", async || warm().await.layer(api()));
    }

    /// Does what the command line asks for, and gives what was counted, if it was. The first driver is the service alone,
    /// and the second the header that never changes.
    pub(crate) fn run(mut self, options: &Options, title: Titles) -> Option<Vec<Count>> {
        if let Some((_, requests)) = &options.count {
            let [driver] = &mut self.drivers[..] else {
                panic!("there is no such driver");
            };
            driver.send(*requests);
            return None;
        }
        if options.instructions || options.guard {
            return valgrind::count(&self.drivers, options)
                .inspect(|counts| self.counts(counts).done(title.counts_file, options));
        }
        let times = Times::take(&mut self.drivers, options);
        self.times(&times, title.times)
            .done(title.times_file, options);
        None
    }

    fn times(&self, times: &Times, title: &'static str) -> Table {
        let mut table = Table::new(
            title,
            [
                "driver",
                "401 retry",
                "ns",
                "ns over alone",
                "ratio to tower-http",
            ],
        );
        let yardstick = times.over(1, 0);
        for (place, driver) in self.drivers.iter().enumerate() {
            let over = times.over(place, self.bare_of(driver));
            table.row([
                driver.name.to_owned(),
                driver.retries.to_owned(),
                format!("{:.0}", times.of(place)),
                match self.is_bare(driver) {
                    true => NONE.into(),
                    false => format!("{over:.0}"),
                },
                match self.is_bare(driver) {
                    true => NONE.into(),
                    false => ratio(over / yardstick),
                },
            ]);
        }
        table
    }

    fn counts(&self, counts: &[Count]) -> Table {
        let mut table = Table::new(
            "A warm request, counted: instructions, and calls of the allocator",
            [
                "driver",
                "401 retry",
                "instructions",
                "over alone",
                "ratio to tower-http",
                "allocations over alone",
            ],
        );
        let yardstick = counts[1].over(&counts[0]);
        for (driver, count) in self.drivers.iter().zip(counts) {
            let over = count.over(&counts[self.bare_of(driver)]);
            let none = || NONE.to_owned();
            table.row([
                driver.name.to_owned(),
                driver.retries.to_owned(),
                format!("{:.0}", count.instructions),
                match self.is_bare(driver) {
                    true => none(),
                    false => format!("{:.0}", over.instructions),
                },
                match self.is_bare(driver) {
                    true => none(),
                    false => ratio(over.instructions / yardstick.instructions),
                },
                match self.is_bare(driver) {
                    true => none(),
                    false => format!("{:.1}", over.allocations),
                },
            ]);
        }
        table
    }

    fn bare_of(&self, driver: &Driver) -> usize {
        let place = self.drivers.iter().position(|one| one.name == driver.bare);
        place.expect("what it is compared with is a driver")
    }

    fn is_bare(&self, driver: &Driver) -> bool {
        driver.name == driver.bare
    }
}

/// What a bench's tables are called.
pub(crate) struct Titles {
    pub(crate) times: &'static str,
    pub(crate) times_file: &'static str,
    pub(crate) counts_file: &'static str,
}

/// A layer that has its token.
pub(crate) async fn warm() -> BearerAuthLayer {
    let token = Token::new(TOKEN).unwrap();
    let layer = BearerAuthLayer::new(FixedToken::from(token));
    layer.cache().get().await.unwrap();
    layer
}

/// The service below, as a value that can be named.
pub(crate) fn api()
-> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone {
    tower::service_fn(answer::<Infallible>)
}
