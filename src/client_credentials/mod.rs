//! The client credentials grant ([RFC 6749 §4.4]), by the `oauth2` crate over any HTTP client.
//!
//! [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4

pub(crate) mod auth;
mod builder;
mod check;
pub(crate) mod discovery;
mod response;
mod transport;

use std::{
    collections::HashSet,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use http::StatusCode;
use oauth2::{
    ClientId, EndpointNotSet, EndpointSet, RequestTokenError, Scope, StandardRevocableToken,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse},
};
use tower::ServiceExt;
use tower_service::Service;
use url::Url;

use crate::{
    client_credentials::{
        auth::{evidence::Evidence, proof},
        discovery::{
            Discovery,
            endpoint::{Endpoint, LONGEST_TEXT, Target},
        },
        response::{Answer, Sent},
        transport::Transport,
    },
    error::{Error, ErrorKind},
    telemetry,
    token::{Token, TokenRequest},
    util::wiped::Wiped,
};

#[cfg(feature = "jwt")]
pub use self::auth::jwt::{Signer, SigningAlgorithm, SigningKey};
pub use self::{
    auth::{ClientAuth, secret::Secret},
    builder::ClientCredentialsBuilder,
};

/// A [`TokenSource`](crate::TokenSource) that token requests a client's own credentials for a token, at each call.
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
/// let auth = ClientAuth::basic("my-secret");
/// let source = ClientCredentials::builder("https://auth.example.com/oauth2/token", "my-client", auth)
///     .scopes(["billing", "ecommerce"])
///     .audience("https://api.example.com")
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
/// # How it proves who it is
/// See [`ClientAuth`]. What is kept elsewhere, in a file or behind a [`Secret::provider`](crate::Secret::provider), is read
/// at each token request. When the server says `invalid_client` it is read once more; if it has changed, the token request is tried
/// again at once.
///
/// [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
#[derive(Clone)]
pub struct ClientCredentials {
    credential: Arc<Credential>,
    transport: Transport,
}

pub(crate) struct Credential {
    pub(crate) endpoint: Endpoint<Arc<Target>, Discovery>,
    pub(crate) client_id: String,
    pub(crate) auth: ClientAuth,
    pub(crate) scopes: Vec<Scope>,
    /// Whether each of them has to be granted.
    pub(crate) all_scopes: bool,
    pub(crate) params: Vec<(String, String)>,
    /// The last token that was given, so that no error shows it.
    pub(crate) given: Mutex<Option<Token>>,
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
    /// Starts with where the token endpoint is, who the client is, and how it proves that: a secret, or any other
    /// [`ClientAuth`].
    ///
    /// Nothing is checked before [`build`](ClientCredentialsBuilder::build_with).
    pub fn builder(
        token_url: impl Into<String>,
        client_id: impl Into<String>,
        auth: impl Into<ClientAuth>,
    ) -> ClientCredentialsBuilder {
        let endpoint = Endpoint::Known(token_url.into());
        ClientCredentialsBuilder::new(endpoint, client_id.into(), auth.into())
    }

    /// Starts with who the issuer is: where its token endpoint is, and what it takes there, is looked up in the metadata
    /// that it publishes ([RFC 8414], or [OpenID Connect Discovery]).
    ///
    /// # When it is looked up
    /// At the first token request, within its deadline and over its transport; again when that was an hour ago, and after the
    /// token endpoint has answered 404, 405 or 410 or could not be reached, at the next token request. When the metadata cannot
    /// be had again because of an outage, what is known of it is used on.
    ///
    /// # What is made of it
    /// The metadata's issuer has to be the same as this one, to the letter. A secret whose method is left open goes by the
    /// first that is offered of `client_secret_basic`, `client_secret_post` and `client_secret_jwt` (feature `jwt`). Any other
    /// [`ClientAuth`] has to be offered, or each token request fails with an error that says what is. With [`ClientAuth::tls`] or
    /// a client certificate the endpoint for clients with a certificate is used, if there is one ([RFC 8705 §5]).
    ///
    /// # Deployment caveat
    /// Servers announce what some client of theirs may use, and commonly enforce the one method that this client is
    /// registered with. A method that is known is better given, as by [`ClientAuth::basic`].
    ///
    /// # Example
    /// ```
    /// use tower_bearer::ClientCredentials;
    ///
    /// # fn main() -> Result<(), tower_bearer::Error> {
    /// # #[cfg(feature = "rustls")] {
    /// let source = ClientCredentials::discover("https://auth.example.com/realms/main", "my-client", "my-secret")
    ///     .scopes(["billing"])
    ///     .build()?;
    /// # let _ = source;
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
    /// [OpenID Connect Discovery]: https://openid.net/specs/openid-connect-discovery-1_0.html
    /// [RFC 8705 §5]: https://www.rfc-editor.org/rfc/rfc8705#section-5
    pub fn discover(
        issuer: impl Into<String>,
        client_id: impl Into<String>,
        auth: impl Into<ClientAuth>,
    ) -> ClientCredentialsBuilder {
        let endpoint = Endpoint::Discovered(issuer.into());
        ClientCredentialsBuilder::new(endpoint, client_id.into(), auth.into())
    }

    pub(crate) fn new(credential: Credential, transport: Transport) -> Self {
        Self {
            credential: Arc::new(credential),
            transport,
        }
    }
}

impl Credential {
    /// `rejected` is the token that this is about, if an API rejected one.
    async fn token_request(
        self: Arc<Self>,
        rejected: Option<Token>,
        transport: Transport,
    ) -> Result<Token, Error> {
        let evidence = self.auth.read().await?;
        let mut hidden = self.hidden(&evidence);
        hidden.extend(rejected.iter().flat_map(in_all_forms));
        let target = self.target(&transport, &hidden).await?;
        let outcome = self
            .attempt(&evidence, &target, &transport, hidden.clone())
            .await;
        if let (Endpoint::Discovered(discovery), Err(error)) = (&self.endpoint, &outcome)
            && may_have_moved(error)
        {
            discovery.doubt(&target);
        }
        let error = match outcome {
            Err(error) if self.auth.may_change() && error.oauth_code() == Some(INVALID_CLIENT) => {
                error
            }
            outcome => return outcome,
        };
        // It may have been rotated between the reading and the sending, or the server is ahead of us by a little. If it
        // cannot be read now, the server's answer says more.
        let Ok(reread) = self.auth.read().await else {
            return Err(error);
        };
        if reread.is_same(&evidence) {
            return Err(error);
        }
        // What was sent before is still as secret.
        hidden.extend(self.hidden(&reread));
        self.attempt(&reread, &target, &transport, hidden).await
    }

    async fn target(&self, transport: &Transport, hidden: &[Wiped]) -> Result<Arc<Target>, Error> {
        match &self.endpoint {
            Endpoint::Known(target) => Ok(Arc::clone(target)),
            // What the server was sent before it could put into its metadata.
            Endpoint::Discovered(discovery) => discovery.target(transport, hidden).await,
        }
    }

    /// One POST to the token endpoint.
    async fn attempt(
        self: &Arc<Self>,
        evidence: &Evidence,
        target: &Target,
        transport: &Transport,
        mut hidden: Vec<Wiped>,
    ) -> Result<Token, Error> {
        target.check(evidence, &hidden)?;
        let proof = evidence
            .proof(target.method, &self.client_id, &target.audience)
            .await?;
        hidden.extend(proof.hidden(&self.client_id));
        let sent = Arc::new(Sent {
            // A query may hold a key.
            signed: evidence.signed_with(target.method).map(|with| {
                let audience = target.audience.split('?').next().unwrap_or_default();
                // It may be from the server's metadata.
                let audience = response::clean(audience, LONGEST_TEXT, &hidden);
                format!("{with}, for the audience {audience:?}")
            }),
            picked: target
                .method
                .filter(|_| matches!(evidence, Evidence::Open(_))),
            hidden,
        });
        let (auth_type, secret) = proof.stand_in();
        let mut client: Client = oauth2::Client::new(ClientId::new(self.client_id.clone()))
            .set_auth_type(auth_type)
            .set_token_uri(target.token_url.clone());
        if let Some(secret) = secret {
            client = client.set_client_secret(secret);
        }
        let mut token_request = client.exchange_client_credentials();
        for scope in &self.scopes {
            token_request = token_request.add_scope(scope.clone());
        }
        for (name, value) in &self.params {
            token_request = token_request.add_extra_param(name, value);
        }
        let send = {
            let (this, proof) = (Arc::clone(self), proof.clone());
            let transport = transport.clone();
            move |request: oauth2::HttpRequest| {
                let (request, lent) = proof.add_to(request, &this.client_id);
                let (transport, sent) = (transport.clone(), Arc::clone(&sent));
                async move {
                    // Outlives the request, also where the token request is cut off.
                    let _lent = lent;
                    response::accept(transport.oneshot(request).await?, &sent)
                }
            }
        };
        match token_request.request_async(&send).await {
            Ok(answer) => self.granted(answer.into_token()?),
            Err(RequestTokenError::Request(error)) => Err(error),
            // It holds the body, token and all. It ends here.
            Err(RequestTokenError::Parse(_, body)) => Err(response::unreadable(&body)),
            // `accept` leaves only successes, so what is left is an empty body.
            Err(RequestTokenError::ServerResponse(_) | RequestTokenError::Other(_)) => {
                Err(response::unreadable(&[]))
            }
        }
    }

    /// Looks at what a token is good for, which may be less than was asked for.
    ///
    /// # Errors
    /// Where it is less, and may not be.
    fn granted(&self, token: Token) -> Result<Token, Error> {
        *self.lock_given() = Some(token.clone());
        let missing = self.missing_from(&token);
        if missing.is_empty() {
            return Ok(token);
        }
        if self.all_scopes {
            return Err(Error::narrowed(&missing));
        }
        telemetry::narrowed(&missing);
        Ok(token)
    }

    /// The scopes that were asked for and that the server says it did not grant. A server that says nothing says that it
    /// granted them all ([RFC 6749 §5.1]).
    ///
    /// [RFC 6749 §5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
    fn missing_from(&self, token: &Token) -> Vec<&str> {
        let Some(granted) = token.scopes() else {
            return Vec::new();
        };
        let granted: HashSet<&str> = granted.collect();
        let asked = self.scopes.iter().map(|scope| scope.as_str());
        asked.filter(|scope| !granted.contains(scope)).collect()
    }

    /// What no error may show, in every form in which a server could echo it: the evidence, the parameters that may be one,
    /// and the last token.
    fn hidden(&self, evidence: &Evidence) -> Vec<Wiped> {
        let mut hidden = evidence.hidden(&self.client_id);
        for (_, value) in self.params.iter().filter(|(name, value)| {
            // A word of a few letters is no secret, and would blot out the server's own.
            ![check::AUDIENCE, check::RESOURCE].contains(&&**name) && value.len() >= 8
        }) {
            hidden.extend(proof::in_all_forms(&self.client_id, value));
        }
        hidden.extend(self.lock_given().iter().flat_map(in_all_forms));
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

    /// Always ready: the transport is made ready within the call, under the token request's deadline.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let rejected = request.rejected_token().cloned();
        let credential = Arc::clone(&self.credential);
        Box::pin(credential.token_request(rejected, self.transport.clone()))
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ClientCredentials");
        match &self.credential.endpoint {
            Endpoint::Known(target) => {
                out.field("token_url", &without_query(target.token_url.url()))
            }
            Endpoint::Discovered(discovery) => out.field("issuer", &discovery.issuer()),
        };
        out.field("client_id", &self.credential.client_id)
            .field("auth", &self.credential.auth)
            .field("scopes", &self.credential.scopes)
            .finish_non_exhaustive()
    }
}

fn in_all_forms(token: &Token) -> Vec<Wiped> {
    proof::alone_in_all_forms(token.access_token())
}

/// Whether the token endpoint may be elsewhere by now, or take something else.
fn may_have_moved(error: &Error) -> bool {
    match error.status() {
        Some(status) => matches!(
            status,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE
        ),
        // There was no answer, or the metadata said that there was no use in asking.
        None => matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Denied),
    }
}

/// A query may hold a key.
fn without_query(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// RFC 6749 §5.2: the secret is wrong, or the client unknown.
pub(crate) const INVALID_CLIENT: &str = "invalid_client";
