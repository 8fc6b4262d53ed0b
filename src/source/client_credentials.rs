//! The client credentials grant ([RFC 6749 §4.4]), by the `oauth2` crate over any HTTP client.
//!
//! [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4

use std::{
    fmt,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use oauth2::{
    ClientId, ClientSecret, EndpointNotSet, EndpointSet, RequestTokenError, Scope,
    StandardRevocableToken, TokenUrl,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse},
};
use tokio::task::spawn_blocking;
use tower::{BoxError, ServiceExt};
use tower_service::Service;
use url::{Host, Url, form_urlencoded::byte_serialize};

use super::{
    TokenRequest,
    client_auth::ClientAuth,
    response::{self, Answer},
    secret::Secret,
    transport::{self, Transport},
};
use crate::{error::Error, token::Token};

/// A [`TokenSource`](crate::TokenSource) that exchanges a client id and secret for a token, at each call.
///
/// # When to use
/// For calls from server to server, with no user: the client credentials grant, [RFC 6749 §4.4].
///
/// # Example
/// ```
/// use tower_bearer::{BearerAuthLayer, ClientAuth, ClientCredentials};
///
/// # fn main() -> Result<(), tower_bearer::Error> {
/// # #[cfg(feature = "rustls")] {
/// let source = ClientCredentials::builder("https://auth.example.com/oauth2/token", "my-client", "my-secret")
///     .scopes(["billing", "ecommerce"])
///     .param("audience", "https://api.example.com")
///     .auth(ClientAuth::Basic)
///     .build()?;
/// let layer = BearerAuthLayer::new(source);
/// # let _ = layer;
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # What it accepts
/// Any 2xx status and any content type, as long as the body is a JSON object of at most 64 KiB. `expires_in` may be a
/// number, a float or a string; `scope` a string or an array. A missing `token_type` is taken for `Bearer`, in any case
/// of letters. Any other token type, and an access token that is empty or not visible ASCII, is an error.
///
/// Redirects are never followed: they would take the secret to another host.
///
/// [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
#[derive(Clone)]
pub struct ClientCredentials {
    credential: Arc<Credential>,
    transport: Transport,
}

struct Credential {
    token_url: TokenUrl,
    client_id: String,
    secret: Secret,
    auth: ClientAuth,
    scopes: Vec<Scope>,
    params: Vec<(String, String)>,
    /// The last token that was given, so that no error shows it.
    given: Mutex<Option<Token>>,
}

/// The `oauth2` crate's client, which knows its endpoints by type.
type Client = oauth2::Client<
    BasicErrorResponse,
    Answer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl ClientCredentials {
    /// Starts with where the token endpoint is and who the client is.
    ///
    /// Nothing is checked before [`build`](ClientCredentialsBuilder::build_with).
    pub fn builder(
        token_url: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<Secret>,
    ) -> ClientCredentialsBuilder {
        ClientCredentialsBuilder {
            token_url: token_url.into(),
            client_id: client_id.into(),
            secret: client_secret.into(),
            auth: ClientAuth::default(),
            scopes: Vec::new(),
            params: Vec::new(),
        }
    }
}

impl Credential {
    async fn exchange(self: Arc<Self>, transport: Transport) -> Result<Token, Error> {
        let secret = self.read_secret().await?;
        let error = match Arc::clone(&self).attempt(&secret, &transport).await {
            Err(error)
                if self.secret.may_change() && error.oauth_code() == Some(INVALID_CLIENT) =>
            {
                error
            }
            outcome => return outcome,
        };
        // It may have been rotated between the reading and the sending, or the server is ahead of the file by a little.
        let reread = self.read_secret().await?;
        if reread == secret {
            return Err(error);
        }
        self.attempt(&reread, &transport).await
    }

    async fn read_secret(&self) -> Result<String, Error> {
        if !self.secret.may_change() {
            return self.secret.read();
        }
        let secret = self.secret.clone();
        spawn_blocking(move || secret.read())
            .await
            .unwrap_or_else(|_| Err(Error::shut_down()))
    }

    /// One POST to the token endpoint.
    async fn attempt(self: Arc<Self>, secret: &str, transport: &Transport) -> Result<Token, Error> {
        let hidden: Arc<[String]> = self.hidden(secret).into();
        let client: Client = oauth2::Client::new(ClientId::new(self.client_id.clone()))
            .set_client_secret(ClientSecret::new(secret.to_owned()))
            .set_auth_type(self.auth.auth_type())
            .set_token_uri(self.token_url.clone());
        let send = {
            let (this, secret) = (Arc::clone(&self), secret.to_owned());
            let transport = transport.clone();
            move |request: oauth2::HttpRequest| {
                let mut request = request.map(Bytes::from);
                this.auth.finish(&mut request, &this.client_id, &secret);
                let (transport, hidden) = (transport.clone(), Arc::clone(&hidden));
                async move { response::accept(transport.oneshot(request).await?, &hidden) }
            }
        };
        let mut exchange = client.exchange_client_credentials();
        for scope in &self.scopes {
            exchange = exchange.add_scope(scope.clone());
        }
        for (name, value) in &self.params {
            exchange = exchange.add_extra_param(name, value);
        }
        match exchange.request_async(&send).await {
            Ok(answer) => {
                let token = answer.into_token()?;
                *self.lock_given() = Some(token.clone());
                Ok(token)
            }
            Err(RequestTokenError::Request(error)) => Err(error),
            // It holds the body, token and all. It ends here.
            Err(RequestTokenError::Parse(_, body)) => Err(response::unreadable(&body)),
            // `accept` leaves only successes, so what is left is an empty body.
            Err(RequestTokenError::ServerResponse(_) | RequestTokenError::Other(_)) => {
                Err(response::unreadable(&[]))
            }
        }
    }
}

impl Credential {
    /// What no error may show, in every form in which a server could echo it: the secret, and the last token.
    fn hidden(&self, secret: &str) -> Vec<String> {
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let (id, encoded_secret) = (encode(&self.client_id), encode(secret));
        let mut hidden = vec![
            BASE64_STANDARD.encode(format!("{}:{secret}", self.client_id)),
            BASE64_STANDARD.encode(format!("{id}:{encoded_secret}")),
            encoded_secret,
            secret.to_owned(),
        ];
        hidden.extend(
            self.lock_given()
                .as_ref()
                .map(|token| token.access_token().to_owned()),
        );
        hidden
    }

    fn lock_given(&self) -> MutexGuard<'_, Option<Token>> {
        // A lock around a single value is never left half-changed.
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service<TokenRequest> for ClientCredentials {
    type Response = Token;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Token, Error>> + Send>>;

    /// Always ready: the transport is made ready within the call, under the exchange's deadline.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: TokenRequest) -> Self::Future {
        Box::pin(Arc::clone(&self.credential).exchange(self.transport.clone()))
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials")
            .field("token_url", &without_query(self.credential.token_url.url()))
            .field("client_id", &self.credential.client_id)
            .field("auth", &self.credential.auth)
            .field("scopes", &self.credential.scopes)
            .finish_non_exhaustive()
    }
}

/// Builds [`ClientCredentials`].
#[derive(Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientCredentialsBuilder {
    token_url: String,
    client_id: String,
    secret: Secret,
    auth: ClientAuth,
    scopes: Vec<String>,
    params: Vec<(String, String)>,
}

impl ClientCredentialsBuilder {
    /// Another token endpoint: an absolute URL, https unless its host is loopback.
    pub fn token_url(mut self, token_url: impl Into<String>) -> Self {
        self.token_url = token_url.into();
        self
    }

    /// How id and secret are sent. [`ClientAuth::Post`] by default.
    pub fn auth(mut self, auth: ClientAuth) -> Self {
        self.auth = auth;
        self
    }

    /// Adds scopes to ask for, each on its own. Without any, the server decides.
    pub fn scopes<I>(mut self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Adds a parameter to the request, such as `audience` or `resource` ([RFC 8707]). May be repeated.
    ///
    /// [RFC 8707]: https://www.rfc-editor.org/rfc/rfc8707
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push((name.into(), value.into()));
        self
    }

    /// Builds with the default transport: hyper-util's client over rustls, with the platform's TLS roots, HTTP/1.1 and
    /// HTTP/2, a 5 s connect timeout, no redirects and no proxy.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), with a message that says what to change: when the
    /// token URL does not parse, is not https (loopback apart), or has a fragment or credentials in it; when id, secret
    /// or a scope is empty or has a character that it must not have; when a parameter is one that this crate sets; when
    /// the platform's TLS roots cannot be loaded. A secret that is kept in a file is read once, there and then, which
    /// blocks on the file system.
    #[cfg(feature = "rustls")]
    pub fn build(self) -> Result<ClientCredentials, Error> {
        let token_url = self.checked_token_url()?;
        let transport = transport::platform(&token_url)?;
        self.build_over(token_url, transport)
    }

    /// Builds over an HTTP client of your own: any tower service whose request body can be made from [`Bytes`]. It must
    /// not follow redirects. Answers are read up to 64 KiB.
    ///
    /// # Deployment caveat
    /// The client must not go through the layer that gets its tokens by it: an exchange would wait for itself, until its
    /// deadline. Nor should it share a limit with the calls that wait for the token.
    ///
    /// # Errors
    /// As for `build`, but for the TLS roots.
    ///
    /// # Example
    /// ```
    /// use bytes::Bytes;
    /// use http_body_util::Full;
    /// use tower_bearer::ClientCredentials;
    ///
    /// # fn main() -> Result<(), tower_bearer::Error> {
    /// let client = tower::service_fn(|request: http::Request<Full<Bytes>>| async move {
    ///     // … any HTTP client
    ///     # let _ = request;
    ///     Ok::<_, std::io::Error>(http::Response::new(Full::new(Bytes::new())))
    /// });
    /// let source = ClientCredentials::builder("https://auth.example.com/token", "id", "secret").build_with(client)?;
    /// # let _ = source;
    /// # Ok(())
    /// # }
    /// ```
    pub fn build_with<T, Q, A>(self, transport: T) -> Result<ClientCredentials, Error>
    where
        T: Service<Request<Q>, Response = Response<A>> + Clone + Send + Sync + 'static,
        T::Error: Into<BoxError>,
        T::Future: Send + 'static,
        Q: From<Bytes> + Send + 'static,
        A: Body + Send + 'static,
        A::Data: Send,
        A::Error: Into<BoxError>,
    {
        let token_url = self.checked_token_url()?;
        self.build_over(token_url, transport::erase(transport))
    }

    fn build_over(self, token_url: Url, transport: Transport) -> Result<ClientCredentials, Error> {
        self.check()?;
        let credential = Credential {
            token_url: TokenUrl::from_url(token_url),
            client_id: self.client_id,
            secret: self.secret,
            auth: self.auth,
            scopes: self.scopes.into_iter().map(Scope::new).collect(),
            params: self.params,
            given: Mutex::new(None),
        };
        Ok(ClientCredentials {
            credential: Arc::new(credential),
            transport,
        })
    }

    fn checked_token_url(&self) -> Result<Url, Error> {
        // The URL itself is not in the messages: somebody may have put a secret into it.
        let url = Url::parse(&self.token_url).map_err(|error| {
            Error::configuration(format!(
                "the token URL does not parse ({error}); it must be absolute, as in https://auth.example.com/oauth2/token"
            ))
        })?;
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
            return Err(Error::configuration(
                "the token URL is not https, so the client secret would travel in the clear; only a loopback host may do without",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::configuration(
                "the token URL has credentials in it; give them as client id and secret instead",
            ));
        }
        if url.fragment().is_some() {
            return Err(Error::configuration(
                "the token URL has a fragment (#…), which RFC 6749 section 3.2 does not allow; leave it out",
            ));
        }
        Ok(url)
    }

    fn check(&self) -> Result<(), Error> {
        if self.client_id.is_empty() {
            return Err(Error::configuration(
                "the client id is empty; is the variable that it comes from set?",
            ));
        }
        self.auth.check(&self.client_id, &self.secret.read()?)?;
        if let Some(scope) = self.scopes.iter().find(|scope| !is_scope_token(scope)) {
            return Err(Error::configuration(format!(
                "the scope {scope:?} is empty or has a space, a quote, a backslash or a character that is not visible \
                 ASCII (RFC 6749 section 3.3); give each scope on its own"
            )));
        }
        if let Some((name, _)) = self
            .params
            .iter()
            .find(|(name, _)| name.is_empty() || OWN_PARAMS.contains(&name.as_str()))
        {
            return Err(Error::configuration(format!(
                "the parameter {name:?} is empty or one that this crate sets itself; use the builder's own calls for \
                 client id, secret and scopes"
            )));
        }
        Ok(())
    }
}

impl fmt::Debug for ClientCredentialsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentialsBuilder")
            .field("client_id", &self.client_id)
            .field("auth", &self.auth)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// A query may hold a key.
fn without_query(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// `scope-token` of RFC 6749 §3.3.
fn is_scope_token(scope: &str) -> bool {
    !scope.is_empty()
        && scope
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// RFC 6749 §5.2: the secret is wrong, or the client unknown.
const INVALID_CLIENT: &str = "invalid_client";

const OWN_PARAMS: [&str; 4] = ["grant_type", "client_id", "client_secret", "scope"];
