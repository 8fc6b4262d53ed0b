//! An authorization server and an API for many companies, on loopback sockets in this process.
//!
//! A company's tokens bear its name, so that the API can tell whose token comes with a call. Both servers keep the same
//! books, and run until their runtime ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{collections::HashMap, io, net::Ipv4Addr, time::Duration};

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep};

#[derive(Clone, Default)]
pub(crate) struct Servers {
    pub(crate) token_url: String,
    pub(crate) api: String,
    books: Arc<Mutex<Books>>,
}

/// Whom the servers know, and what they have counted.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) companies: HashMap<String, Company>,
    /// Calls that reached the API.
    pub(crate) calls: u64,
    /// Those of them without a token of the company that is in their path.
    pub(crate) mismatches: u64,
}

#[derive(Default)]
pub(crate) struct Company {
    credentials: (String, String),
    /// How often it called the token endpoint.
    pub(crate) token_requests: u64,
    /// The number of its last token, and of the last one that the API takes no more.
    pub(crate) issued: u64,
    pub(crate) revoked: u64,
    /// How long the token endpoint takes for its token requests, and whether it then answers 503.
    pub(crate) delay: Duration,
    pub(crate) fails: bool,
}

impl Servers {
    /// Serves the companies of a vault, each with its id and its secret.
    pub(crate) async fn start(vault: &HashMap<String, (String, String)>) -> io::Result<Self> {
        let mut servers = Self::default();
        for (tenant, credentials) in vault {
            let mut books = servers.books();
            let company = books.companies.entry(tenant.clone()).or_default();
            company.credentials = credentials.clone();
        }
        let hydra = Router::new().route("/oauth2/token", post(token));
        let api = Router::new().route("/ecommerce/public/{tenant}/cart", get(cart));
        servers.token_url = servers.serve(hydra).await? + "/oauth2/token";
        servers.api = servers.serve(api).await?;
        Ok(servers)
    }

    /// Serves on a free port, and gives its origin.
    async fn serve(&self, router: Router<Self>) -> io::Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let router = router.with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(origin)
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change(&self, tenant: &str, change: impl FnOnce(&mut Company)) {
        self.books().companies.get_mut(tenant).map(change);
    }
}

type Answer = Result<Json<Value>, StatusCode>;

async fn token(servers: State<Servers>, Form(mut form): Form<HashMap<String, String>>) -> Answer {
    let mut field = |name| form.remove(name).unwrap_or_default();
    let asked = (field("client_id"), field("client_secret"));
    let (token, delay, fails) = {
        let mut books = servers.books();
        let mut companies = books.companies.iter_mut();
        let asking = companies.find(|(_, company)| company.credentials == asked);
        let (tenant, company) = asking.ok_or(StatusCode::UNAUTHORIZED)?;
        company.token_requests += 1;
        company.issued += 1;
        let token = format!("{tenant}.{}", company.issued);
        (token, company.delay, company.fails)
    };
    sleep(delay).await;
    let answer = Json(json!({"access_token": token, "expires_in": 86_399}));
    if fails {
        Err(StatusCode::SERVICE_UNAVAILABLE)
    } else {
        Ok(answer)
    }
}

async fn cart(servers: State<Servers>, Path(tenant): Path<String>, head: HeaderMap) -> Answer {
    let number = head.get(AUTHORIZATION).and_then(|authorization| {
        let token = authorization.to_str().ok()?.strip_prefix("Bearer ")?;
        let number = token.strip_prefix(&tenant)?.strip_prefix('.')?;
        number.parse::<u64>().ok()
    });
    let mut books = servers.books();
    books.calls += 1;
    let Some((number, company)) = number.zip(books.companies.get(&tenant)) else {
        books.mismatches += 1;
        return Err(StatusCode::FORBIDDEN);
    };
    let answer = Json(json!({"tenant": tenant, "carts": []}));
    let is_good = number > company.revoked;
    is_good.then_some(answer).ok_or(StatusCode::UNAUTHORIZED)
}
