//! An authorization server in memory.

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::{Value, json};
use tower::BoxError;
use tower_service::Service;
use url::form_urlencoded;

use super::{
    Answering,
    answer::Answer,
    body::Body,
    call::{Call, Log, assert_count},
    clients::{CLIENT_ID, CLIENT_SECRET, Clients},
    gate::{Gate, Held},
    lock,
    serve::{Connection, Served, serve},
    tokens::{Grant, Tokens},
};
use crate::client_credentials::{ClientAuth, ClientCredentials};

/// An authorization server for tests: it issues tokens, counts token requests, and fails as it is told to.
///
/// It is a tower service, so it can be the transport of
/// [`build_with`](crate::client_credentials::ClientCredentialsBuilder::build_with), and [`serve`](Self::serve) puts it on a
/// socket. A `POST` to any path is a token request, of any grant. A `GET` of `/.well-known/…` gets metadata, for
/// [`ClientCredentials::discover`]. Clones are handles of one server. What is set holds from then on.
///
/// Tokens are named after the client: the first one of `billing` is `billing.1`. They are valid for an hour.
///
/// # Example
/// Your own client authentication and scopes:
/// ```
/// use tower_bearer::{
///     ClientAuth, ClientCredentials, TokenCache,
///     test_util::AuthorizationServer,
/// };
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower_bearer::Error> {
/// let server = AuthorizationServer::new();
/// server.register("billing", ClientAuth::basic("s3cret"));
///
/// let source = ClientCredentials::builder(
///     "https://auth.example.com/oauth2/token",
///     "billing",
///     ClientAuth::basic("s3cret"),
/// )
/// .scopes(["invoices"])
/// .build_with(server.clone())?;
///
/// let token = TokenCache::new(source).get().await?;
/// assert_eq!(token.expose_secret(), "billing.1");
/// let request = &server.calls()[0];
/// assert_eq!(request.form("scope").as_deref(), Some("invoices"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AuthorizationServer(Arc<Shared>);

struct Shared {
    clients: Clients,
    tokens: Tokens,
    conduct: Mutex<Conduct>,
    gate: Gate,
    log: Log,
}

/// How the server treats token requests.
struct Conduct {
    lifetime: Duration,
    delay: Duration,
    denial: Option<String>,
    script: VecDeque<Answer>,
}

impl AuthorizationServer {
    /// Creates a server that knows one client, `client` with the secret `secret`.
    #[must_use]
    pub fn new() -> Self {
        let conduct = Conduct {
            lifetime: Duration::from_secs(60 * 60),
            delay: Duration::ZERO,
            denial: None,
            script: VecDeque::new(),
        };
        Self(Arc::new(Shared {
            clients: Clients::default(),
            tokens: Tokens::default(),
            conduct: Mutex::new(conduct),
            gate: Gate::default(),
            log: Log::default(),
        }))
    }

    /// The credentials of `client`, which request tokens from this server in memory.
    #[must_use]
    pub fn credentials(&self) -> ClientCredentials {
        ClientCredentials::builder(TOKEN_URL, CLIENT_ID, CLIENT_SECRET)
            .build_with(self.clone())
            .expect("constants are valid")
    }

    /// Registers a client, or changes how it authenticates. Give what the client has: the same secret, key or assertion.
    ///
    /// A text is a secret in the form or in a Basic header. A signed assertion is checked for its signature, its issuer, its
    /// subject, its time, and for being new, but not for its audience. For [`ClientAuth::tls`] the client must show a
    /// certificate over TLS, any one, which is [`Call::certificate`]; in memory it is taken at its word.
    pub fn register(&self, client_id: impl Into<String>, auth: impl Into<ClientAuth>) {
        self.0.clients.register(client_id.into(), auth.into());
    }

    /// Forgets a client: its token requests are answered with `invalid_client`. Its tokens stay valid.
    pub fn unregister(&self, client_id: &str) {
        self.0.clients.remove(client_id);
    }

    /// Sets how long new tokens are valid, in whole seconds: an hour at first.
    pub fn lifetime(&self, lifetime: Duration) {
        lock(&self.0.conduct).lifetime = lifetime;
    }

    /// Sets how long the server takes for an answer: no time at first.
    pub fn delay(&self, delay: Duration) {
        lock(&self.0.conduct).delay = delay;
    }

    /// Denies tokens, with this OAuth error code, until [`allow`](Self::allow): 401 for `invalid_client`, else 400.
    pub fn deny(&self, code: impl Into<String>) {
        lock(&self.0.conduct).denial = Some(code.into());
    }

    /// Ends [`deny`](Self::deny).
    pub fn allow(&self) {
        lock(&self.0.conduct).denial = None;
    }

    /// Answers the next token requests like this, one each, and then as usual. It replaces what is left of the last script.
    ///
    /// # Example
    /// A server that is down for a moment is asked again:
    /// ```
    /// use tower_bearer::{
    ///     TokenCache,
    ///     test_util::{Answer, AuthorizationServer},
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), tower_bearer::Error> {
    /// let server = AuthorizationServer::new();
    /// server.script([Answer::Unavailable]);
    /// let cache = TokenCache::new(server.credentials());
    /// assert_eq!(cache.get().await?.expose_secret(), "client.1");
    /// server.assert_token_requests(2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.0.conduct).script = answers.into_iter().collect();
    }

    /// Ends the life of every token issued so far. Clients are not told: the API rejects the tokens.
    pub fn revoke_all(&self) {
        self.0.tokens.revoke(|_| true);
    }

    /// Ends the life of the tokens of one client.
    pub fn revoke(&self, client_id: &str) {
        self.0.tokens.revoke(|grant| grant.client_id == client_id);
    }

    /// What a token allows, for an API of your own; `None` if it is not valid now.
    #[must_use]
    pub fn grant(&self, token: &str) -> Option<Grant> {
        self.0.tokens.grant(token)
    }

    /// Holds token requests: each has arrived and is counted, and waits until what this returns is dropped.
    pub fn hold(&self) -> Held {
        self.0.gate.hold()
    }

    /// How many token requests came, answered or not.
    #[must_use]
    pub fn token_requests(&self) -> usize {
        self.calls_by_post().len()
    }

    /// What came so far, in order, answered or not: token requests, and requests for metadata.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.0.log.calls()
    }

    fn calls_by_post(&self) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.method == Method::POST);
        calls
    }

    /// Checks how many token requests came.
    ///
    /// # Panics
    /// If it was another number. The message lists them.
    #[track_caller]
    pub fn assert_token_requests(&self, expected: usize) {
        assert_count("token requests", expected, &self.calls_by_post());
    }

    /// Serves on a free port of this machine, over plain HTTP/1.1 and HTTP/2.
    ///
    /// The token endpoint is `/token`, or any other path. Do not pause time: it also moves the timeouts of real sockets.
    ///
    /// # Errors
    /// If there is no free port.
    ///
    /// # Cancellation
    /// Dropping the future starts no server.
    pub async fn serve(&self) -> io::Result<Served> {
        let this = self.clone();
        serve(move |request| this.answer(request)).await
    }

    /// Serves over TLS, with a certificate of [`ROOT_CERTIFICATE`](super::ROOT_CERTIFICATE).
    ///
    /// # Errors
    /// If there is no free port, or no provider of cryptography.
    ///
    /// # Cancellation
    /// Dropping the future starts no server.
    #[cfg(feature = "rustls-no-provider")]
    pub async fn serve_tls(&self) -> io::Result<Served> {
        let this = self.clone();
        super::tls::serve(move |request| this.answer(request)).await
    }

    fn answer(&self, request: Request<Bytes>) -> Answering {
        let this = Arc::clone(&self.0);
        Box::pin(async move {
            let place = this.log.arrived(&request);
            let response = match *request.method() {
                Method::POST => this.token_request(place, &request).await?,
                Method::GET if request.uri().path().contains("/.well-known/") => metadata(&request),
                _ => answer(
                    StatusCode::METHOD_NOT_ALLOWED,
                    &json!({"error": "invalid_request"}),
                ),
            };
            this.log.answered(place, response.status());
            Ok(response)
        })
    }
}

impl Shared {
    async fn token_request(
        &self,
        place: usize,
        request: &Request<Bytes>,
    ) -> Result<Response<Body>, BoxError> {
        // Taken when it arrives, so that the order of the answers is that of the requests.
        let (scripted, delay) = {
            let mut conduct = lock(&self.conduct);
            (conduct.script.pop_front(), conduct.delay)
        };
        self.gate.pass().await;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let denial = lock(&self.conduct).denial.clone();
        let late = match scripted {
            Some(Answer::Hang) => std::future::pending().await,
            Some(Answer::Disconnected) => return Err("the connection failed, as scripted".into()),
            Some(Answer::Garbage) => return Ok(garbage()),
            Some(Answer::Custom(response)) => return Ok(response.map(Body::from)),
            Some(Answer::Unavailable) => return Ok(without_body(StatusCode::SERVICE_UNAVAILABLE)),
            Some(Answer::TooManyRequests(retry_after)) => {
                let mut answer = without_body(StatusCode::TOO_MANY_REQUESTS);
                let seconds = retry_after.as_secs().into();
                answer.headers_mut().insert(RETRY_AFTER, seconds);
                return Ok(answer);
            }
            Some(Answer::Denied(code)) => return Ok(denied(code, "As scripted.")),
            Some(Answer::Token) => Some(Duration::ZERO),
            Some(Answer::LateToken(delay)) => Some(delay),
            Some(Answer::SameToken) => None,
            None => match denial {
                Some(code) => return Ok(denied(&code, "As told by `deny`.")),
                None => Some(Duration::ZERO),
            },
        };
        let form: HashMap<String, String> = form_urlencoded::parse(request.body())
            .into_owned()
            .collect();
        if !form.contains_key("grant_type") {
            return Ok(denied("invalid_request", "The form has no grant_type."));
        }
        let scopes = form.get("scope").cloned().unwrap_or_default();
        let client_id = match self.clients.recognize(request, form).await {
            Ok(client_id) => client_id,
            Err(why) => {
                let why = format!("Client authentication failed. {why}");
                return Ok(denied("invalid_client", &why));
            }
        };
        self.log.recognized(place, &client_id);
        let lifetime = lock(&self.conduct).lifetime;
        let issue = |late| {
            let scopes = scopes.split_whitespace().map(Into::into).collect();
            let client_id = client_id.clone();
            self.tokens
                .issue(Grant { client_id, scopes }, lifetime, late)
        };
        let token = match late {
            Some(late) => issue(late),
            None => self
                .tokens
                .last(&client_id)
                .unwrap_or_else(|| issue(Duration::ZERO)),
        };
        let mut granted = json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": lifetime.as_secs(),
        });
        if !scopes.is_empty() {
            granted["scope"] = scopes.into();
        }
        Ok(answer(StatusCode::OK, &granted))
    }
}

/// RFC 8414: of the origin at which it is asked for.
fn metadata(request: &Request<Bytes>) -> Response<Body> {
    let uri = request.uri();
    let issuer = match request.extensions().get::<Connection>() {
        Some(connection) => connection.origin.to_string(),
        None => format!(
            "{}://{}",
            uri.scheme_str().unwrap_or("https"),
            uri.authority()
                .map_or("auth.test", |authority| authority.as_str())
        ),
    };
    let metadata = json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/token"),
        "token_endpoint_auth_methods_supported": [
            "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt",
            "spiffe_jwt", "tls_client_auth", "self_signed_tls_client_auth", "none",
        ],
    });
    answer(StatusCode::OK, &metadata)
}

fn denied(code: &str, description: &str) -> Response<Body> {
    let status = match code {
        "invalid_client" => StatusCode::UNAUTHORIZED,
        _ => StatusCode::BAD_REQUEST,
    };
    answer(
        status,
        &json!({"error": code, "error_description": description}),
    )
}

fn garbage() -> Response<Body> {
    Response::new("<html>It works!</html>".into())
}

fn answer(status: StatusCode, json: &Value) -> Response<Body> {
    let mut answer = without_body(status);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.map(|_| json.to_string().into())
}

pub(super) fn without_body(status: StatusCode) -> Response<Body> {
    let mut answer = Response::<Body>::default();
    *answer.status_mut() = status;
    answer
}

impl Default for AuthorizationServer {
    fn default() -> Self {
        Self::new()
    }
}

impl Service<Request<Bytes>> for AuthorizationServer {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        self.answer(request)
    }
}

impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationServer")
            .field("token_requests", &self.token_requests())
            .finish_non_exhaustive()
    }
}

/// Where it is in memory.
pub(super) const TOKEN_URL: &str = "https://auth.test/token";
