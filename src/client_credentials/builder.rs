//! The builder of client credentials.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, header::USER_AGENT};
use http_body::Body;
use oauth2::{Scope, TokenUrl};
use tower::BoxError;
use tower_service::Service;
use url::Url;

#[cfg(feature = "dpop")]
use crate::client_credentials::dpop::{Binding, key::DpopKey};
#[cfg(feature = "rustls-no-provider")]
use crate::client_credentials::{
    auth::secret::Secret,
    transport::{
        client_certificate::ClientCertificate, connect::Connector, roots::RootCertificates, rustls,
    },
};
#[cfg(feature = "proxy")]
use crate::{client_credentials::transport::proxy, util::wiped::Wiped};
use crate::{
    client_credentials::{
        ClientCredentials,
        auth::ClientAuth,
        check::{self, CLAIMS, PlainHttp},
        discovery::{
            Discovery,
            endpoint::{Endpoint, Given, Target},
            metadata::Capabilities,
        },
        grant::Grant,
        headers,
        request::Credential,
        transport::{self, Transport},
    },
    error::{Error, Requester},
    token::remedies::Remedies,
};

/// Builds [`ClientCredentials`].
#[derive(Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientCredentialsBuilder {
    endpoint: Endpoint<String, String>,
    client_id: String,
    auth: ClientAuth,
    grant: Grant,
    scopes: Vec<String>,
    all_scopes: bool,
    resources: Vec<String>,
    params: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    answers_claims: bool,
    step_up_scopes: Vec<String>,
    keep: Vec<String>,
    plain_http: PlainHttp,
    #[cfg(feature = "dpop")]
    dpop: Option<DpopKey>,
    #[cfg(feature = "dpop")]
    accepts_bearer_tokens: bool,
    #[cfg(feature = "rustls-no-provider")]
    certificate: Option<ClientCertificate>,
    #[cfg(feature = "rustls-no-provider")]
    roots: Option<RootCertificates>,
    #[cfg(feature = "proxy")]
    proxy: Option<proxy::Chosen>,
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
            grant: Grant::default(),
            scopes: Vec::new(),
            all_scopes: false,
            resources: Vec::new(),
            params: Vec::new(),
            headers: Vec::new(),
            answers_claims: false,
            step_up_scopes: Vec::new(),
            keep: Vec::new(),
            plain_http: PlainHttp::default(),
            #[cfg(feature = "dpop")]
            dpop: None,
            #[cfg(feature = "dpop")]
            accepts_bearer_tokens: false,
            #[cfg(feature = "rustls-no-provider")]
            certificate: None,
            #[cfg(feature = "rustls-no-provider")]
            roots: None,
            #[cfg(feature = "proxy")]
            proxy: None,
        }
    }

    /// Sets the token URL and turns discovery off.
    ///
    /// It must be an absolute URL, and https unless its host is loopback.
    pub fn token_url(mut self, token_url: impl Into<String>) -> Self {
        self.endpoint = Endpoint::Known(token_url.into());
        self
    }

    /// Sends another `grant_type` than `client_credentials`. Everything else stays as it is for that grant.
    ///
    /// For servers that have the client credentials grant by another name. For another grant see [`grant`](Self::grant).
    ///
    /// # Example
    /// Zoom's server-to-server applications:
    /// ```
    /// use tower_bearer::{ClientAuth, ClientCredentials};
    ///
    /// let credentials = ClientCredentials::builder(
    ///     "https://zoom.us/oauth/token",
    ///     "my-client",
    ///     ClientAuth::basic("my-secret"),
    /// )
    /// .grant_type("account_credentials")
    /// .param("account_id", "my-account");
    /// # let _ = credentials;
    /// ```
    pub fn grant_type(mut self, grant_type: impl Into<String>) -> Self {
        self.grant = Grant::named(grant_type.into());
        self
    }

    /// Asks for the token by another [grant](crate::client_credentials::grant): token exchange, or JWT bearer.
    ///
    /// The client authentication stays as it is. The last call counts.
    ///
    /// # Example
    /// One credential's token is exchanged for one of another API:
    /// ```
    /// use tower_bearer::{
    ///     ClientCredentials, Secret, TokenCache,
    ///     client_credentials::{TokenExchange, TokenType},
    /// };
    ///
    /// # fn example(gateway: ClientCredentials) {
    /// let gateway = TokenCache::new(gateway);
    /// let url = "https://auth.example.com/oauth2/token";
    /// let orders = ClientCredentials::builder(url, "my-client", "my-secret")
    ///     .grant(TokenExchange::new(Secret::from_cache(gateway), TokenType::AccessToken))
    ///     .audience("orders");
    /// # let _ = orders;
    /// # }
    /// ```
    pub fn grant(mut self, grant: impl Into<Grant>) -> Self {
        self.grant = grant.into();
        self
    }

    /// Adds one scope to request. Without any, the server decides.
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.scopes([scope])
    }

    /// Adds scopes to request, one per item. Without any, the server decides.
    pub fn scopes<I>(mut self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Rejects a token that was granted with fewer scopes than requested.
    ///
    /// By default the token is used and a warning is logged (feature `tracing`). [`Token::scopes`](crate::Token::scopes)
    /// lists the granted scopes.
    ///
    /// # Deployment caveat
    /// A response without `scope` means that all scopes were granted ([RFC 6749 §5.1]). Some servers, such as
    /// oidc-provider, drop scopes and still omit it. This crate cannot detect that; the API then answers 403.
    ///
    /// [RFC 6749 §5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
    pub fn require_all_scopes(mut self) -> Self {
        self.all_scopes = true;
        self
    }

    /// Adds an `audience`: the API that the token is for. May be repeated.
    ///
    /// [RFC 8693 §2.1] defines it for token exchange. For client credentials no RFC does, but Auth0, Hydra and others use it.
    ///
    /// [RFC 8693 §2.1]: https://www.rfc-editor.org/rfc/rfc8693#section-2.1
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.param(check::AUDIENCE, audience)
    }

    /// Adds a `resource`: the API that the token is for ([RFC 8707 §2]). May be repeated.
    ///
    /// It must be an absolute URI without a fragment. Some servers want an id instead, such as Entra ID v1 and AD FS: use
    /// [`param`](Self::param) with the name `resource`, which takes any text.
    ///
    /// [RFC 8707 §2]: https://www.rfc-editor.org/rfc/rfc8707#section-2
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        self.resources.push(resource.into());
        self
    }

    /// Adds any other parameter to the token request. May be repeated.
    ///
    /// With [`ClientAuth::basic`] and [`ClientAuth::basic_raw`] it may be `client_id`, because some servers want it in the form
    /// too. With any other method it is sent anyway.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push((name.into(), value.into()));
        self
    }

    /// Sets the `User-Agent` of the requests to the authorization server.
    ///
    /// The default is `tower-bearer/` and this crate's version: firewalls often block requests without one. It takes the place
    /// of the HTTP client's own, such as that of reqwest's `user_agent`.
    pub fn user_agent(self, user_agent: impl Into<String>) -> Self {
        self.header(USER_AGENT.as_str(), user_agent)
    }

    /// Adds a header to the requests to the authorization server: the token request, and the request for its metadata. May be
    /// repeated.
    ///
    /// Use it for what a gateway in front of the server wants, such as a key. The value is marked sensitive, and no error shows
    /// it. `Accept`, `Authorization`, `Connection`, `Content-Length`, `Content-Type`, `Host` and `Transfer-Encoding` are set
    /// already, so they are errors.
    ///
    /// # Example
    /// ```
    /// use tower_bearer::ClientCredentials;
    ///
    /// let credentials = ClientCredentials::builder("https://auth.example.com/oauth2/token", "my-client", "my-secret")
    ///     .user_agent("billing/2.1")
    ///     .header("X-Api-Key", "key-of-the-gateway");
    /// # let _ = credentials;
    /// ```
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Keeps these members of the token endpoint's answer with the token, for [`Token::extra`](crate::Token::extra).
    ///
    /// Some servers say beside the token where it is good: Salesforce as `instance_url`, Zoom as `api_url`. Members that are
    /// not named here are not kept.
    ///
    /// # Example
    /// ```
    /// use tower_bearer::{ClientCredentials, TokenCache};
    ///
    /// # async fn instance(transport: impl tower::Service<http::Request<http_body_util::Full<bytes::Bytes>>,
    /// #     Response = http::Response<String>, Error = std::io::Error, Future: Send> + Clone + Send + Sync + 'static)
    /// # -> Result<(), tower_bearer::Error> {
    /// let source = ClientCredentials::builder("https://my.salesforce.com/services/oauth2/token", "my-client", "my-secret")
    ///     .keep(["instance_url"])
    ///     .build_with(transport)?;
    /// let cache = TokenCache::new(source);
    /// let instance = cache.get().await?.extra("instance_url").map(str::to_owned);
    /// # let _ = instance;
    /// # Ok(())
    /// # }
    /// ```
    pub fn keep<I>(mut self, members: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.keep.extend(members.into_iter().map(Into::into));
        self
    }

    /// Answers claims challenges: the claims that an API asks for are sent with the next token request.
    ///
    /// For continuous access evaluation by Microsoft Entra ID. An API that answers 401 with `error="insufficient_claims",
    /// claims="…"` rejects the token, and a token without those claims would be of no use. By default such a 401 causes no
    /// token request, and the caller gets it.
    ///
    /// The claims, a JSON object, are the `claims` of one token request. A [`param`](Self::param) of that name is merged into
    /// it, and where both name a claim, the param's stays. The cool-down bounds what repeated challenges cost.
    ///
    /// # Errors
    /// The next token request fails if the server denies it with and without the claims.
    /// [`build`](Self::build_with) fails if a param `claims` is not a JSON object.
    ///
    /// # Example
    /// Entra ID has APIs send such challenges only to clients with the capability `cp1`:
    /// ```
    /// use tower_bearer::ClientCredentials;
    ///
    /// let credentials = ClientCredentials::builder(
    ///     "https://login.microsoftonline.com/my-tenant/oauth2/v2.0/token",
    ///     "my-client",
    ///     "my-secret",
    /// )
    /// .scope("https://graph.microsoft.com/.default")
    /// .param("claims", r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#)
    /// .answer_claims_challenges();
    /// # let _ = credentials;
    /// ```
    pub fn answer_claims_challenges(mut self) -> Self {
        self.answers_claims = true;
        self
    }

    /// Allows APIs to have these scopes requested, in addition to [`scopes`](Self::scopes): step-up, as MCP servers ask
    /// for it.
    ///
    /// An API that answers 403 or 401 with `error="insufficient_scope", scope="…"` ([RFC 6750 §3.1]) then has its scopes
    /// requested, if all of them are allowed, and the request is retried once. By default such an answer causes no token
    /// request, and the caller gets it.
    ///
    /// Scopes that were added stay: each later token request asks for them as well. Each is added once, so a challenge for
    /// what was requested already causes no token request. If the server denies them, a token without them is requested in
    /// their place, and they are forgotten until an API asks again; the cool-down bounds how often.
    ///
    /// # Deployment caveat
    /// The API chooses when to ask. From then on every request of this credential carries the wider token.
    ///
    /// # Example
    /// ```
    /// use tower_bearer::ClientCredentials;
    ///
    /// let credentials = ClientCredentials::discover("https://auth.example.com", "my-client", "my-secret")
    ///     .scopes(["files:read"])
    ///     .step_up_scopes(["files:write"]);
    /// # let _ = credentials;
    /// ```
    ///
    /// [RFC 6750 §3.1]: https://www.rfc-editor.org/rfc/rfc6750#section-3.1
    pub fn step_up_scopes<I>(mut self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.step_up_scopes
            .extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Requests tokens that are bound to this key ([RFC 9449]), so that they are of no use to others.
    ///
    /// Each token request has a proof by the key. Put a [`DpopLayer`](crate::dpop::DpopLayer) with the same key below the layer that
    /// uses these credentials: each request to the API needs a proof as well. See [DPoP](crate::docs::dpop).
    ///
    /// If the server asks for a nonce, or says that this machine's clock is off, the token request is sent again once, with a new
    /// proof and a new assertion.
    ///
    /// # Errors
    /// A token request fails if the server answers with a bearer token: see
    /// [`accept_bearer_tokens`](Self::accept_bearer_tokens).
    ///
    /// # Example
    /// ```
    /// use tower_bearer::{ClientCredentials, dpop::DpopKey};
    ///
    /// let key = DpopKey::generate()?;
    /// let credentials = ClientCredentials::builder("https://auth.example.com/oauth2/token", "my-client", "my-secret")
    ///     .dpop(key.clone());
    /// # let _ = credentials;
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    ///
    /// [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449
    #[cfg(feature = "dpop")]
    pub fn dpop(mut self, key: DpopKey) -> Self {
        self.dpop = Some(key);
        self
    }

    /// Accepts a bearer token from a server that was sent a [DPoP](Self::dpop) proof.
    ///
    /// A thief can use such a token. By default it is an error, since a server that is set up otherwise by mistake
    /// would not be noticed. Use it while servers are being switched over.
    #[cfg(feature = "dpop")]
    pub fn accept_bearer_tokens(mut self) -> Self {
        self.accepts_bearer_tokens = true;
        self
    }

    /// Allows sending the secret over plain HTTP, to any host.
    ///
    /// An attacker on the network path can then read the secret, and request tokens as this client until the secret is
    /// changed. [RFC 6749 §3.2] requires TLS. By default the token URL, the issuer and the discovered token endpoint must
    /// be https, unless their host is loopback.
    ///
    /// Use it only where the network itself encrypts, such as a service mesh whose proxies accept plain HTTP and speak TLS
    /// to each other. An https issuer must still name an https token endpoint.
    ///
    /// [RFC 6749 §3.2]: https://www.rfc-editor.org/rfc/rfc6749#section-3.2
    pub fn danger_allow_secret_over_plain_http(mut self) -> Self {
        self.plain_http = PlainHttp::Anywhere;
        self
    }

    /// Sets the client certificate and private key of the default transport.
    ///
    /// The certificate is PEM with its chain. The key is PEM: PKCS#8, PKCS#1 or SEC1. [`ClientAuth::tls`] requires a
    /// certificate; any other method can be combined with one.
    ///
    /// Both are stored like a [`Secret`] and read for each connection. Each request to the token endpoint opens a new
    /// connection, so a certificate that is rotated in its file is picked up.
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
    /// .client_certificate(Secret::from_file("/run/tls/tls.crt"), Secret::from_file("/run/tls/tls.key"));
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

    /// Sets the roots that the default transport trusts *instead of* the platform's.
    ///
    /// They apply to the token endpoint and to the issuer's metadata. The value is one or more certificates in PEM, at most
    /// 64 KiB. Usually they belong to a private CA. A server's self-signed certificate works too, unless it is marked as a
    /// CA certificate.
    ///
    /// They are stored like a [`Secret`], although they are not secret, and read for each connection. Each request opens a
    /// new connection, so a CA that is replaced in its file is picked up.
    ///
    /// To trust a CA *in addition to* the platform's roots, install it on the platform. With an OpenSSL-style store, the
    /// variable `SSL_CERT_FILE` can name another file.
    ///
    /// # Example
    /// ```
    /// use tower_bearer::{ClientCredentials, Secret};
    ///
    /// let credentials = ClientCredentials::builder("https://auth.internal/oauth2/token", "my-client", "my-secret")
    ///     .root_certificates(Secret::from_file("/run/tls/ca.crt"));
    /// # let _ = credentials;
    /// ```
    #[cfg(feature = "rustls-no-provider")]
    pub fn root_certificates(mut self, pem: impl Into<Secret>) -> Self {
        self.roots = Some(RootCertificates::new(pem.into()));
        self
    }

    /// Sends the requests of the default transport through this HTTP proxy, by CONNECT.
    ///
    /// The URL is like `http://proxy.example.com:3128`, and may have a user and a password. TLS is inside the tunnel: the
    /// proxy sees the host's name, and not the secret. The proxy must allow CONNECT to the port of the token endpoint. A server on
    /// loopback is reached without it.
    ///
    /// Without this call and [`proxy_from_environment`](Self::proxy_from_environment) there is no proxy. The last call counts.
    /// For another kind of proxy, pass your own client to [`build_with`](Self::build_with).
    ///
    /// # Example
    /// ```
    /// use tower_bearer::ClientCredentials;
    ///
    /// let credentials = ClientCredentials::builder("https://auth.example.com/oauth2/token", "my-client", "my-secret")
    ///     .proxy("http://proxy.example.com:3128");
    /// # let _ = credentials;
    /// ```
    #[cfg(feature = "proxy")]
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(proxy::Chosen::Url(Wiped::from(url)));
        self
    }

    /// Sends the requests of the default transport through the proxy that the environment names.
    ///
    /// The variables are those of curl, in either case of letters: `HTTPS_PROXY`, or `HTTP_PROXY` if the token URL is http;
    /// else `ALL_PROXY`. The hosts of `NO_PROXY` are reached without a proxy, and so is loopback. They are read by
    /// [`build`](Self::build), and not at all in a CGI program, where a client could set `HTTP_PROXY` by a header.
    ///
    /// For the kind of proxy, see [`proxy`](Self::proxy). Another kind in a variable is an error.
    #[cfg(feature = "proxy")]
    pub fn proxy_from_environment(mut self) -> Self {
        self.proxy = Some(proxy::Chosen::Environment);
        self
    }

    /// Builds the credentials with the default transport.
    ///
    /// The default transport is hyper-util's client over rustls: HTTP/1.1, a 5 s connect timeout, no redirects, and no proxy
    /// unless one is set (feature `proxy`). It trusts the platform's TLS roots, or those of [`root_certificates`](Self::root_certificates).
    ///
    /// The platform's roots are used rather than a bundle because they include a company's own CA, and because a withdrawn
    /// root is removed by a system update and a restart, without a rebuild. They are loaded once per process.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), with a message that says what to change:
    ///
    /// - The token URL or issuer does not parse, is not https (except on loopback), or contains a fragment or credentials.
    /// - The issuer contains a query.
    /// - The client id, the secret or a scope is blank or contains an invalid character.
    /// - The client id begins or ends with white space.
    /// - The grant type is blank, or what the grant shows cannot be read or is not valid.
    /// - There is no client, and the grant is client credentials.
    /// - A key cannot be used with its algorithm.
    /// - A parameter or a header is one that this crate sets, or a resource is not an absolute URI.
    /// - A header's name or value is not valid.
    /// - A member to keep is empty, or is the access token.
    /// - The proxy is not an HTTP proxy.
    /// - The platform's TLS roots cannot be loaded, or the given roots are not valid.
    ///
    /// # Cost
    /// Secrets in files are read once, which blocks on the file system. A provider is not called.
    #[cfg(feature = "rustls-no-provider")]
    pub fn build(self) -> Result<ClientCredentials, Error> {
        let endpoint = self.checked_endpoint()?;
        let certificate = self.checked_certificate(&endpoint)?;
        let roots = self.checked_roots(&endpoint)?;
        let connector = self.connector(&endpoint)?;
        let transport = rustls::standard(&endpoint, certificate, roots, connector)?;
        self.build_over(endpoint, transport)
    }

    /// Builds the credentials over your own HTTP client.
    ///
    /// The client is any tower service whose request body can be made from [`Bytes`]. It must not follow redirects.
    /// Responses are read up to 64 KiB.
    ///
    /// The client should not retry requests if the client authentication is an assertion: a server accepts each assertion
    /// only once.
    ///
    /// # Deployment caveat
    /// Do not wrap the client in the layer that uses these credentials: a token request would wait for itself until its
    /// deadline. The client should not share a concurrency limit with the calls that wait for the token.
    ///
    /// # Errors
    /// The same as for `build`, except for the TLS roots.
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
            (self.certificate.is_some(), "a client certificate"),
            (self.roots.is_some(), "root certificates"),
            #[cfg(feature = "proxy")]
            (self.proxy.is_some(), "a proxy"),
        ] {
            if is_given {
                return Err(Error::configuration(format!(
                    "the builder has {what}, which only the default transport uses; configure your own transport with {what} \
                     instead"
                )));
            }
        }
        self.build_over(endpoint, transport::erase(transport))
    }

    /// Whether the token URL or the issuer is plain http, and plain http is allowed on loopback only.
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
                    "there is a client certificate, but the token URL is not https; use https or remove the certificate",
                ))
            }
            (Some(certificate), _) => {
                certificate.check()?;
                Ok(Some(certificate.clone()))
            }
            (None, _) if self.auth.is_by_certificate() => Err(Error::configuration(
                "`ClientAuth::tls` proves nothing without a certificate; set one with `client_certificate`, or pass a \
                 transport that has one to `build_with`",
            )),
            (None, _) => Ok(None),
        }
    }

    #[cfg(feature = "rustls-no-provider")]
    #[cfg_attr(not(feature = "proxy"), expect(unused_variables))]
    fn connector(&self, endpoint: &Endpoint<Given, Given>) -> Result<Connector, Error> {
        #[cfg(feature = "proxy")]
        if let Some(proxy) = &self.proxy {
            let (Endpoint::Known(given) | Endpoint::Discovered(given)) = endpoint;
            let proxy = proxy.read(given.url.scheme())?;
            return Ok(Connector::default().through(proxy));
        }
        Ok(Connector::default())
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
                "there are root certificates, but the token URL is not https; use https or remove them",
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
        let headers = headers::checked(&self.headers)?;
        let transport = headers::added_by(transport, headers.clone());
        let requester = match &endpoint {
            Endpoint::Known(given) | Endpoint::Discovered(given) => {
                Requester::new(&self.client_id, &given.url)
            }
        };
        let by_certificate = self.auth.is_by_certificate();
        #[cfg(feature = "rustls-no-provider")]
        let by_certificate = by_certificate || self.certificate.is_some();
        let endpoint = match endpoint {
            Endpoint::Known(known) => Endpoint::Known(Arc::new(Target {
                token_url: TokenUrl::from_url(known.url),
                token_endpoint: known.text,
                issuer: None,
                method: None,
                algorithms: None,
            })),
            Endpoint::Discovered(issuer) => {
                let client = Capabilities::new(&self.auth, by_certificate, self.plain_http);
                Endpoint::Discovered(Discovery::new(issuer, client))
            }
        };
        let resources = self.resources.into_iter();
        let resources = resources.map(|resource| (check::RESOURCE.to_owned(), resource));
        let remedies = Remedies::new(
            self.answers_claims,
            self.scopes.clone(),
            self.step_up_scopes,
        );
        let credential = Credential {
            remedies: remedies.map(Arc::new),
            endpoint,
            client_id: self.client_id,
            auth: self.auth,
            grant: self.grant,
            scopes: self.scopes.into_iter().map(Scope::new).collect(),
            all_scopes: self.all_scopes,
            params: resources.chain(self.params).collect(),
            headers,
            keep: self.keep,
            #[cfg(all(feature = "shared", feature = "rustls-no-provider"))]
            certificate: self.certificate,
            #[cfg(feature = "dpop")]
            dpop: self
                .dpop
                .map(|key| Binding::new(key, self.accepts_bearer_tokens)),
            requester,
            given: Mutex::new(None),
        };
        Ok(ClientCredentials::new(credential, transport))
    }

    fn check(&self) -> Result<(), Error> {
        if self.auth.has_client() {
            check::client_id(&self.client_id)?;
        } else if self.grant.is_client_credentials() {
            return Err(Error::configuration(
                "there is no client, so there are no client credentials; set a `grant`, or use `ClientCredentials::builder`",
            ));
        }
        let discovers = matches!(self.endpoint, Endpoint::Discovered(_));
        self.auth.check(&self.client_id, discovers)?;
        self.grant.check(discovers)?;
        let mut scopes = self.scopes.iter().chain(&self.step_up_scopes);
        scopes.try_for_each(|it| check::scope(it))?;
        if self.answers_claims {
            let mut claims = self.params.iter().filter(|(name, _)| name == CLAIMS);
            claims.try_for_each(|(_, claims)| check::claims(claims))?;
        }
        self.keep.iter().try_for_each(|it| check::member(it))?;
        self.resources
            .iter()
            .try_for_each(|it| check::resource(it))?;
        let id_in_header = self.auth.has_id_in_header();
        self.params.iter().try_for_each(|(name, value)| {
            check::param(name, value, id_in_header, self.grant.params())
        })
    }
}

fn given(text: &str, url: Url) -> Given {
    Given {
        text: text.trim().to_owned(),
        url,
    }
}

impl fmt::Debug for ClientCredentialsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentialsBuilder")
            .field("client_id", &self.client_id)
            .field("auth", &self.auth)
            .field("grant", &self.grant)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
