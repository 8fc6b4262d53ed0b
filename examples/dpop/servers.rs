//! An authorization server and an API on loopback, which take tokens with proofs only.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, Method, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use tokio::net::TcpListener;

use crate::checker::{Checker, Problem};

#[derive(Clone)]
pub(crate) struct Servers(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    auth: Checker,
    api: Checker,
    /// The thumbprint of each token's key.
    bound: Mutex<HashMap<String, String>>,
    issued: AtomicUsize,
    nonces: AtomicUsize,
    posts: AtomicUsize,
    calls: AtomicUsize,
}

impl Servers {
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let this = Self(Arc::new(Inner {
            address: listener.local_addr()?,
            auth: Checker::default(),
            api: Checker::default(),
            bound: Mutex::default(),
            issued: AtomicUsize::new(0),
            nonces: AtomicUsize::new(0),
            posts: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
        }));
        this.0.auth.require("of-the-token-endpoint");
        this.forget_nonces();
        let routes = Router::new()
            .route("/token", post(token))
            .route("/invoices", get(invoices))
            .with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(this)
    }

    pub(crate) fn token_url(&self) -> String {
        format!("http://{}/token", self.0.address)
    }

    pub(crate) fn api_url(&self) -> String {
        format!("http://{}/invoices", self.0.address)
    }

    /// How many token requests came, and how many calls.
    pub(crate) fn counted(&self) -> [usize; 2] {
        [&self.0.posts, &self.0.calls].map(|count| count.load(Ordering::Relaxed))
    }

    /// From now on the API knows none of the nonces that it gave.
    pub(crate) fn forget_nonces(&self) {
        let number = self.0.nonces.fetch_add(1, Ordering::Relaxed);
        self.0.api.require(&format!("nonce-{number}"));
    }

    pub(crate) fn revoke_all(&self) {
        self.bound(HashMap::clear);
    }

    fn bound<T>(&self, look: impl FnOnce(&mut HashMap<String, String>) -> T) -> T {
        look(
            &mut self
                .0
                .bound
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}

/// Binds a token to the key of the proof.
async fn token(State(servers): State<Servers>, method: Method, headers: HeaderMap) -> Response {
    let inner = &servers.0;
    inner.posts.fetch_add(1, Ordering::Relaxed);
    let answer = match inner
        .auth
        .check(&headers, &method, &servers.token_url(), None)
    {
        Ok(proof) => {
            let token = format!("token-{}", inner.issued.fetch_add(1, Ordering::Relaxed));
            servers.bound(|bound| bound.insert(token.clone(), proof.thumbprint));
            Json(json!({"access_token": token, "token_type": "DPoP", "expires_in": 3600}))
                .into_response()
        }
        Err(problem) => {
            let error = Json(json!({"error": problem.code()}));
            (StatusCode::BAD_REQUEST, error).into_response()
        }
    };
    with_nonce(answer, &inner.auth)
}

/// Answers those who have a token, and prove that it is theirs.
async fn invoices(State(servers): State<Servers>, method: Method, headers: HeaderMap) -> Response {
    let inner = &servers.0;
    inner.calls.fetch_add(1, Ordering::Relaxed);
    let token = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
    let token = token.and_then(|it| it.strip_prefix("DPoP "));
    let outcome = match token {
        None => Err(Problem::Invalid("the scheme")),
        token => inner
            .api
            .check(&headers, &method, &servers.api_url(), token),
    };
    let key = servers.bound(|bound| bound.get(token.unwrap_or_default()).cloned());
    let error = match outcome {
        Ok(proof) if key.as_ref() == Some(&proof.thumbprint) => None,
        Ok(_) => Some("invalid_token"),
        Err(problem) => Some(problem.code()),
    };
    let answer = match error {
        None => {
            // Each answer has the nonce for the next request.
            servers.forget_nonces();
            "63 EUR".into_response()
        }
        Some(error) => {
            let challenge = format!(r#"DPoP algs="ES256", error="{error}""#);
            (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response()
        }
    };
    with_nonce(answer, &inner.api)
}

fn with_nonce(mut answer: Response, of: &Checker) -> Response {
    if let Some(Ok(nonce)) = of.nonce().map(TryInto::try_into) {
        answer.headers_mut().insert("dpop-nonce", nonce);
    }
    answer
}
