//! The client credentials grant ([RFC 6749 §4.4]), by the `oauth2` crate over any HTTP client.
//!
//! [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use oauth2::{
    ClientId, ClientSecret, EndpointNotSet, EndpointSet, RequestTokenError, Scope,
    StandardRevocableToken, TokenUrl,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse},
};
use tokio::task::spawn_blocking;
use tower::ServiceExt;
use tower_service::Service;
use url::{Url, form_urlencoded::byte_serialize};

use super::{
    TokenRequest,
    builder::ClientCredentialsBuilder,
    client_auth::ClientAuth,
    response::{self, Answer},
    secret::Secret,
    transport::Transport,
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

pub(super) struct Credential {
    pub(super) token_url: TokenUrl,
    pub(super) client_id: String,
    pub(super) secret: Secret,
    pub(super) auth: ClientAuth,
    pub(super) scopes: Vec<Scope>,
    pub(super) params: Vec<(String, String)>,
    /// The last token that was given, so that no error shows it.
    pub(super) given: Mutex<Option<Token>>,
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
        ClientCredentialsBuilder::new(token_url.into(), client_id.into(), client_secret.into())
    }

    pub(super) fn new(credential: Credential, transport: Transport) -> Self {
        Self {
            credential: Arc::new(credential),
            transport,
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

/// A query may hold a key.
fn without_query(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// RFC 6749 §5.2: the secret is wrong, or the client unknown.
const INVALID_CLIENT: &str = "invalid_client";
