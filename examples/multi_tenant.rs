//! A thousand companies behind one layer: each call carries its own company's token, each company costs one token request,
//! and a company that is slow or fails does not affect the others.
//!
//! ```sh
//! cargo run --example multi_tenant
//! ```
//! [`connect`] makes the layer. The example prints what the embedded servers counted, and fails at the first wrong figure.

#[path = "embedded/companies.rs"]
mod companies;

use std::{alloc::System, collections::HashMap, convert::Infallible};
use std::{mem, ops::RangeInclusive, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuth, BearerAuthLayer, Error, Token, TokenCache,
    cache::Keyed,
    ipxo,
    replay::CloneBody,
    token::{Lookup, TokenRequest},
    unauthorized::BearerChallenge,
};

use self::companies::Servers;

type Http = Client<HttpConnector, Full<Bytes>>;
type Api = BearerAuth<Http, ipxo::ByTenant, BearerChallenge, CloneBody, Keyed<String>>;
/// In place of a vault: each company's id and secret.
type Vault = HashMap<String, (String, String)>;

/// Puts one layer for all companies on an HTTP client. This is all that a program needs.
fn connect(vault: Vault, token_url: &str, client: Http) -> (Keyed<String>, Api) {
    // All token requests share one client; a client per company would be a connection pool per company.
    let shared = Arc::new((vault, token_url.to_owned(), client.clone()));
    let companies = Keyed::new(move |tenant: &String| {
        let (tenant, shared) = (tenant.clone(), Arc::clone(&shared));
        TokenCache::new(Lookup::new(move || {
            let (tenant, shared) = (tenant.clone(), Arc::clone(&shared));
            async move {
                let (vault, token_url, transport) = &*shared;
                // A real vault is called over the network.
                tokio::task::yield_now().await;
                let (id, secret) = vault
                    .get(&tenant)
                    .ok_or("the vault knows no such company")?;
                let credentials = ipxo::credentials(id, &**secret, [ipxo::scope::ECOMMERCE]);
                let credentials = credentials.token_url(token_url);
                Ok(credentials.build_with(transport.clone())?)
            }
        }))
    });
    // As in `/ecommerce/public/{tenant}/cart`. For the real API, `ipxo::tenants` also keeps to its origin.
    let layer = BearerAuthLayer::keyed(companies.clone(), ipxo::ByTenant);
    (companies, layer.layer(client))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let registered = (0..COMPANIES).map(|n| (format!("id-{n}"), format!("secret-{n}")));
    let vault: HashMap<_, _> = tenants(COMPANIES).zip(registered).collect();
    let servers = Servers::start(&vault).await?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (companies, api) = connect(vault, &servers.token_url, client);
    let story = Story(api, servers.clone());

    story.step("1. all cold", everyone(), |_| 1..=1).await?;
    story.step("2. all warm", everyone(), |_| 0..=0).await?;

    servers.change(REVOKED, |company| company.revoked = company.issued);
    let once = |of: &str| if of == REVOKED { 1..=1 } else { 0..=0 };
    story.step("3. one is revoked", everyone(), once).await?;

    // Cold both times: the others' token requests must not wait for the slow one's either.
    let forget_all = || tenants(COMPANIES).for_each(|tenant| companies.remove(&tenant));
    forget_all();
    let calls = others_until(tokio::spawn(sleep(SLOW_BY)).abort_handle());
    story.step("4. all but two, cold", calls, |_| 0..=1).await?;
    servers.change(SLOW, |company| company.delay = SLOW_BY);
    servers.change(FAILING, |company| company.fails = true);
    forget_all();
    let slow = tokio::spawn(story.clone().call(SLOW.to_owned()));
    let failing = tokio::spawn(story.clone().fail_until(slow.abort_handle()));
    let calls = others_until(slow.abort_handle());
    let few = |of: &str| match of {
        SLOW => 1..=1,
        // Each wait is at least a tenth of its step: of 1, 2, 4, 8 and 16 s. A request without a token that fails in passing is
        // tried once more, so a step costs two.
        FAILING => 2..=12,
        _ => 0..=1,
    };
    let p99 = story.step("   and beside those two", calls, few).await?;
    slow.await??;
    println!("   the failing one: {}", failing.await??);
    ensure(p99 < SLOW_BY, "the others waited for the slow one")?;

    let bytes = bytes_per_company().await?;
    println!("5. a company takes {bytes} bytes beyond its token, its key included");
    ensure(bytes <= 512, "that is more than 512")?;
    let n: u64 = servers.books().companies.values().map(|of| of.issued).sum();
    println!(
        "summary: companies={COMPANIES} token_requests={n} mismatches=0 bytes_per_company={bytes}"
    );
    Ok(())
}

/// The layer's client, and the servers.
#[derive(Clone)]
struct Story(Api, Servers);

impl Story {
    /// Makes these calls, a limited number at a time, and prints what the servers counted: whose token came with each call,
    /// and how often each company called the token endpoint. Returns the 99th percentile of the calls' times.
    async fn step<I>(&self, what: &str, calls: I, told: TokenRequests) -> Result<Duration, BoxError>
    where
        I: Iterator<Item = String> + Clone + Send + 'static,
    {
        let mut callers = JoinSet::new();
        for first in 0..IN_FLIGHT {
            let (this, calls) = (self.clone(), calls.clone().skip(first));
            callers.spawn(async move {
                let mut took = Vec::new();
                for tenant in calls.step_by(IN_FLIGHT) {
                    let started = Instant::now();
                    this.clone().call(tenant).await?;
                    took.push(started.elapsed());
                }
                Ok(took)
            });
        }
        let took: Result<Vec<_>, BoxError> = callers.join_all().await.into_iter().collect();
        let mismatches = self.1.books().mismatches;
        ensure(mismatches == 0, "a call came without its company's token")?;
        let mut took = took?.concat();
        took.sort_unstable();
        let [p50, p99] = [50, 99].map(|percent| took[took.len() * percent / 100]);

        let (mut books, mut token_requests) = (self.1.books(), 0);
        for (tenant, company) in &mut books.companies {
            let times = mem::take(&mut company.token_requests);
            let sentence = format!("{what}: {times} token requests for {tenant}");
            ensure(told(tenant).contains(&times), &sentence)?;
            token_requests += times;
        }
        let calls = mem::take(&mut books.calls);
        println!(
            "{what}: calls={calls} mismatches={mismatches} token_requests={token_requests} p50={p50:.0?} p99={p99:.0?}"
        );
        Ok(p99)
    }

    async fn call(self, tenant: String) -> Result<(), BoxError> {
        let cart = format!("{}/ecommerce/public/{tenant}/cart", self.1.api);
        let request = Request::get(cart).body(Full::default())?;
        let response = self.0.oneshot(request).await?;
        let status = response.status();
        ensure(status == 200, &format!("a call was answered {status}"))?;
        Ok(response.into_body().collect().await.map(drop)?)
    }

    /// Calls for the failing company until this task is over, and describes the result.
    async fn fail_until(self, task: AbortHandle) -> Result<String, BoxError> {
        let token_requests = || self.1.books().companies[FAILING].issued;
        let (before, mut errors) = (token_requests(), Vec::new());
        while !task.is_finished() {
            errors.extend(self.clone().call(FAILING.to_owned()).await.err());
            sleep(Duration::from_millis(5)).await;
        }
        let ours = errors.iter().filter_map(|error| Error::find_in(&**error));
        let backed_off = ours.rev().find(|error| error.retry_after().is_some());
        let error = backed_off.ok_or("the failing company was not backed off from")?;
        let (calls, token_requests) = (errors.len(), token_requests() - before);
        Ok(format!(
            "{calls} calls, {token_requests} token requests: {error}"
        ))
    }
}

/// What as many caches as `Keyed` keeps by default take, each with its key.
async fn bytes_per_company() -> Result<usize, BoxError> {
    // One for all, so that its text is not in the figure.
    let token: &'static Token = Box::leak(Box::new(Token::new("everyone's")?));
    let before = ALLOCATOR.stats();
    let companies = Keyed::new(move |_: &String| {
        let source = move |_: TokenRequest| async { Ok::<_, Infallible>(token.clone()) };
        TokenCache::new(service_fn(source))
    });
    for tenant in tenants(10_000) {
        companies.get(&tenant).get().await?;
    }
    let taken = ALLOCATOR.stats() - before;
    Ok((taken.bytes_allocated - taken.bytes_deallocated) / companies.len())
}

/// Names of companies, as long as UUIDs.
fn tenants(number: usize) -> impl Iterator<Item = String> + Clone {
    (0..number).map(|number| format!("3f0c8c8e-5b7a-4c0e-9d39-{number:012}"))
}

/// Four calls for every company, in random order.
fn everyone() -> std::vec::IntoIter<String> {
    let mut calls: Vec<_> = (0..4).flat_map(|_| tenants(COMPANIES)).collect();
    fastrand::shuffle(&mut calls);
    calls.into_iter()
}

/// Calls for all but the slow and the failing company, by turns, until this task is over.
fn others_until(task: AbortHandle) -> impl Iterator<Item = String> + Clone {
    let others = tenants(COMPANIES).filter(|tenant| ![SLOW, FAILING].contains(&&**tenant));
    others.cycle().take_while(move |_| !task.is_finished())
}

fn ensure(holds: bool, otherwise: &str) -> Result<(), BoxError> {
    holds.then_some(()).ok_or_else(|| otherwise.into())
}

/// How often a company may be at the token endpoint in a step.
type TokenRequests = fn(&str) -> RangeInclusive<u64>;

const COMPANIES: usize = 1_000;
const SLOW: &str = "3f0c8c8e-5b7a-4c0e-9d39-000000000001";
const SLOW_BY: Duration = Duration::from_secs(2);
const FAILING: &str = "3f0c8c8e-5b7a-4c0e-9d39-000000000002";
const REVOKED: &str = "3f0c8c8e-5b7a-4c0e-9d39-000000000003";
const IN_FLIGHT: usize = 64; // which no listener's backlog is too small for

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;
