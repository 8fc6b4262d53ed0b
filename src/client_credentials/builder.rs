//! What credentials are made of.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use oauth2::{Scope, TokenUrl};
use tower::BoxError;
use tower_service::Service;
use url::Url;

#[cfg(feature = "rustls-no-provider")]
use crate::client_credentials::{
    auth::secret::Secret,
    transport::{client_certificate::ClientCertificate, roots::RootCertificates, rustls},
};
use crate::{
    client_credentials::{
        ClientCredentials, Credential,
        auth::ClientAuth,
        check::{self, PlainHttp},
        discovery::{
            Discovery,
            endpoint::{Endpoint, Given, Target},
            metadata::Capabilities,
        },
        transport::{self, Transport},
    },
    error::Error,
};

/// Builds [`ClientCredentials`].
#[derive(Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientCredentialsBuilder {
    endpoint: Endpoint<String, String>,
    client_id: String,
    auth: ClientAuth,
    audience: Option<String>,
    scopes: Vec<String>,
    all_scopes: bool,
    params: Vec<(String, String)>,
    plain_http: PlainHttp,
    #[cfg(feature = "rustls-no-provider")]
    certificate: Option<ClientCertificate>,
    #[cfg(feature = "rustls-no-provider")]
    roots: Option<RootCertificates>,
}

impl ClientCredentialsBuilder {
    pub(crate) fn new(
        endpoint: Endpoint<String, String>,
        client_id: String,
        auth: ClientAuth,
    ) -> Self {
        Self {
            endpoint,
            client_id,
            auth,
            audience: None,
            scopes: Vec::new(),
            all_scopes: false,
            params: Vec::new(),
            plain_http: PlainHttp::default(),
            #[cfg(feature = "rustls-no-provider")]
            certificate: None,
            #[cfg(feature = "rustls-no-provider")]
            roots: None,
        }
    }

    /// Another token endpoint: an absolute URL, https unless its host is loopback. Nothing is discovered then.
    pub fn token_url(mut self, token_url: impl Into<String>) -> Self {
        self.endpoint = Endpoint::Known(token_url.into());
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

    /// Makes it an error when the server says that it granted fewer scopes than were asked for. By default such a token is
    /// used, its [`scopes`](crate::Token::scopes) tell, and a warning is logged (feature `tracing`).
    ///
    /// # Deployment caveat
    /// A server that does not say what it granted says that it granted all ([RFC 6749 §5.1]), but some servers, as
    /// oidc-provider, leave out scopes and say nothing. That cannot be told here; the API's answer is 403.
    ///
    /// [RFC 6749 §5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
    pub fn require_all_scopes(mut self) -> Self {
        self.all_scopes = true;
        self
    }

    /// Whom an assertion that is signed here is for, its `aud`: the token URL by default, given or discovered
    /// ([RFC 7523 §3]). Some servers want their issuer's identifier there, which the FAPI 2.0 profile asks for, or a name of
    /// their own.
    ///
    /// [RFC 7523 §3]: https://www.rfc-editor.org/rfc/rfc7523#section-3
    #[cfg(feature = "jwt")]
    pub fn assertion_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Adds an `audience`: whom the token is for. No RFC has it for this grant, but Auth0, Hydra and others do. May be
    /// repeated.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.param(check::AUDIENCE, audience)
    }

    /// Adds a `resource`: what the token is for, an absolute URI without a fragment ([RFC 8707 §2]). May be repeated.
    ///
    /// [RFC 8707 §2]: https://www.rfc-editor.org/rfc/rfc8707#section-2
    pub fn resource(self, resource: impl Into<String>) -> Self {
        self.param(check::RESOURCE, resource)
    }

    /// Adds any other parameter to the request. May be repeated.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push((name.into(), value.into()));
        self
    }

    /// Sends the secret over plain http, to any host.
    ///
    /// Whoever is on the way can read it, and get tokens as this client until it is changed ([RFC 6749 §3.2] wants TLS). By
    /// default the token URL, the issuer and what that names have to be https, unless their host is loopback. This is for
    /// networks that encrypt underneath, as a service mesh does whose proxies take plain http and speak TLS to each other.
    /// An issuer that is https may name no token endpoint that is not, all the same.
    ///
    /// [RFC 6749 §3.2]: https://www.rfc-editor.org/rfc/rfc6749#section-3.2
    pub fn danger_allow_secret_over_plain_http(mut self) -> Self {
        self.plain_http = PlainHttp::Anywhere;
        self
    }

    /// The client certificate of the default transport, in PEM with the chain that belongs to it, and its private key, in PEM
    /// as PKCS#8, PKCS#1 or SEC1. For [`ClientAuth::tls`], and beside any other method.
    ///
    /// Both are kept as a [`Secret`] is, and are read for each connection, which is one for each request to the token
    /// endpoint: a certificate that is rotated in its file is picked up.
    ///
    /// # Example
    /// ```
    /// use tower_bearer::{ClientAuth, ClientCredentials, Secret};
    ///
    /// let credentials = ClientCredentials::builder(
    ///     "https://mtls.auth.example.com/oauth2/token",
    ///     "my-client",
    ///     ClientAuth::tls(),
    /// )
    /// .client_certificate(Secret::file("/run/tls/tls.crt"), Secret::file("/run/tls/tls.key"));
    /// # let _ = credentials;
    /// ```
    #[cfg(feature = "rustls-no-provider")]
    pub fn client_certificate(
        mut self,
        certificate: impl Into<Secret>,
        key: impl Into<Secret>,
    ) -> Self {
        self.certificate = Some(ClientCertificate::new(certificate.into(), key.into()));
        self
    }

    /// What the default transport trusts *in place of* the platform's roots, for the token endpoint and for the issuer's
    /// metadata: one or more certificates in PEM, at most 64 KiB of it. As a rule they are those of a private CA; a server's
    /// own certificate that is self-signed will do, if it is not made out as one of a CA.
    ///
    /// They are kept as a [`Secret`] is, though they are none, and are read for each connection, which is one for each
    /// request: a CA that is replaced in its file is picked up.
    ///
    /// A CA that is to be trusted *beside* the others is installed on the platform: where there is OpenSSL's kind of store,
    /// the variable `SSL_CERT_FILE` names another one.
    ///
    /// # Example
    /// ```
    /// use tower_bearer::{ClientCredentials, Secret};
    ///
    /// let credentials = ClientCredentials::builder("https://auth.internal/oauth2/token", "my-client", "my-secret")
    ///     .root_certificates(Secret::file("/run/tls/ca.crt"));
    /// # let _ = credentials;
    /// ```
    #[cfg(feature = "rustls-no-provider")]
    pub fn root_certificates(mut self, pem: impl Into<Secret>) -> Self {
        self.roots = Some(RootCertificates::new(pem.into()));
        self
    }

    /// Builds with the default transport: hyper-util's client over rustls, with the platform's TLS roots or those of
    /// [`root_certificates`](Self::root_certificates), HTTP/1.1, a 5 s connect timeout, no redirects and no proxy.
    ///
    /// The platform's roots, and not a bundle: they include a company's own CA, and one that is withdrawn is gone with the
    /// system's update and a restart, without a rebuild. They are loaded once in a process.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), with a message that says what to change: when the
    /// token URL or issuer does not parse, is not https (loopback apart), or has a fragment or credentials in it, or the
    /// issuer a query; when id, secret or a scope is empty or has a character that it must not have; when a key does not do
    /// for its algorithm; when a parameter is one that this crate sets, or a resource is no absolute URI; when the
    /// platform's TLS roots cannot be loaded, or those that are given are none. What is kept in a file is read once, there and then, which blocks on the file system; a
    /// provider is not asked.
    #[cfg(feature = "rustls-no-provider")]
    pub fn build(self) -> Result<ClientCredentials, Error> {
        let endpoint = self.checked_endpoint()?;
        let certificate = self.checked_certificate(&endpoint)?;
        let roots = self.checked_roots(&endpoint)?;
        let transport = rustls::standard(&endpoint, certificate, roots)?;
        self.build_over(endpoint, transport)
    }

    /// Builds over an HTTP client of your own: any tower service whose request body can be made from [`Bytes`]. It must
    /// not follow redirects. Answers are read up to 64 KiB.
    ///
    /// Nor should it send a request again where the client proves itself by an assertion: a server takes each only once.
    ///
    /// # Deployment caveat
    /// The client must not go through the layer that gets its tokens by it: a token request would wait for itself, until its
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
        let endpoint = self.checked_endpoint()?;
        #[cfg(feature = "rustls-no-provider")]
        for (is_given, what) in [
            (self.certificate.is_some(), "a client certificate goes"),
            (self.roots.is_some(), "root certificates go"),
        ] {
            if is_given {
                return Err(Error::configuration(format!(
                    "{what} with the default transport only; your own transport has to be given that itself"
                )));
            }
        }
        self.build_over(endpoint, transport::erase(transport))
    }

    /// Whether the token endpoint, or the issuer, is spoken to over plain http, and on loopback only.
    #[cfg(feature = "reqwest")]
    pub(crate) fn is_plain_http_on_loopback(&self) -> Result<bool, Error> {
        let is_http = match self.checked_endpoint()? {
            Endpoint::Known(it) | Endpoint::Discovered(it) => it.url.scheme() == "http",
        };
        Ok(is_http && matches!(self.plain_http, PlainHttp::OnLoopback))
    }

    fn checked_endpoint(&self) -> Result<Endpoint<Given, Given>, Error> {
        Ok(match &self.endpoint {
            Endpoint::Known(text) => {
                Endpoint::Known(given(text, check::token_url(text, self.plain_http)?))
            }
            Endpoint::Discovered(text) => {
                Endpoint::Discovered(given(text, check::issuer(text, self.plain_http)?))
            }
        })
    }

    #[cfg(feature = "rustls-no-provider")]
    fn checked_certificate(
        &self,
        endpoint: &Endpoint<Given, Given>,
    ) -> Result<Option<ClientCertificate>, Error> {
        match (&self.certificate, endpoint) {
            (Some(_), Endpoint::Known(known)) if known.url.scheme() != "https" => {
                Err(Error::configuration(
                    "there is a client certificate, but the token URL is not https",
                ))
            }
            (Some(certificate), _) => {
                certificate.check()?;
                Ok(Some(certificate.clone()))
            }
            (None, _) if self.auth.is_by_certificate() => Err(Error::configuration(
                "`ClientAuth::tls` proves nothing without a certificate; give one to `client_certificate`, or bring a \
                 transport that has one to `build_with`",
            )),
            (None, _) => Ok(None),
        }
    }

    #[cfg(feature = "rustls-no-provider")]
    fn checked_roots(
        &self,
        endpoint: &Endpoint<Given, Given>,
    ) -> Result<Option<RootCertificates>, Error> {
        let Some(roots) = &self.roots else {
            return Ok(None);
        };
        if matches!(endpoint, Endpoint::Known(known) if known.url.scheme() != "https") {
            return Err(Error::configuration(
                "there are root certificates, but the token URL is not https",
            ));
        }
        roots.check()?;
        Ok(Some(roots.clone()))
    }

    fn build_over(
        self,
        endpoint: Endpoint<Given, Given>,
        transport: Transport,
    ) -> Result<ClientCredentials, Error> {
        self.check()?;
        let by_certificate = self.auth.is_by_certificate();
        #[cfg(feature = "rustls-no-provider")]
        let by_certificate = by_certificate || self.certificate.is_some();
        let endpoint = match endpoint {
            Endpoint::Known(known) => Endpoint::Known(Arc::new(Target {
                token_url: TokenUrl::from_url(known.url),
                audience: self.audience.unwrap_or(known.text),
                method: None,
                algorithms: None,
            })),
            Endpoint::Discovered(issuer) => {
                let client =
                    Capabilities::new(&self.auth, by_certificate, self.audience, self.plain_http);
                Endpoint::Discovered(Discovery::new(issuer, client))
            }
        };
        let credential = Credential {
            endpoint,
            client_id: self.client_id,
            auth: self.auth,
            scopes: self.scopes.into_iter().map(Scope::new).collect(),
            all_scopes: self.all_scopes,
            params: self.params,
            given: Mutex::new(None),
        };
        Ok(ClientCredentials::new(credential, transport))
    }

    fn check(&self) -> Result<(), Error> {
        check::client_id(&self.client_id)?;
        self.auth.check(&self.client_id)?;
        #[cfg(feature = "jwt")]
        self.check_assertion_audience()?;
        self.scopes.iter().try_for_each(|it| check::scope(it))?;
        self.params
            .iter()
            .try_for_each(|(name, value)| check::param(name, value))
    }
}

fn given(text: &str, url: Url) -> Given {
    Given {
        text: text.trim().to_owned(),
        url,
    }
}

#[cfg(feature = "jwt")]
impl ClientCredentialsBuilder {
    fn check_assertion_audience(&self) -> Result<(), Error> {
        match &self.audience {
            Some(audience) if audience.is_empty() => Err(Error::configuration(
                "the assertion's audience is empty; leave it out for the token URL",
            )),
            Some(_) if !self.auth.signs() => Err(Error::configuration(
                "there is an audience for an assertion, but none is signed here; use `ClientAuth::private_key_jwt` or \
                 `ClientAuth::secret_jwt`, or leave the audience out",
            )),
            _ => Ok(()),
        }
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
