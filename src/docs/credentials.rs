//! Recipes: the credentials of well-known servers, and where secrets are kept.
//!
//! What stands in braces is yours; scopes and audiences are examples. Each recipe ends before `build`, which is the same for
//! all. What servers ask for changes, and their own documentation has the last word.
//!
//! | server | proof | beside it |
//! | --- | --- | --- |
//! | [IPXO](#ipxo) | secret, in the form | scopes |
//! | [Microsoft Entra ID](#microsoft-entra-id) | secret, certificate, or another issuer's assertion | one scope, which ends in `/.default` |
//! | [Auth0](#auth0) | secret, or a private key | `audience` |
//! | [Okta](#okta) | private key; a secret for its custom servers | scopes, named one by one |
//! | [Keycloak](#keycloak) | secret, private key, certificate, or another issuer's assertion | nothing |
//! | [Google](#google) | none: it is another grant | |
//!
//! # IPXO
//! ```
//! use tower_bearer::ipxo::{self, scope};
//!
//! let credentials = ipxo::credentials("{client_id}", "{client_secret}", [scope::BILLING, scope::ECOMMERCE]);
//! # let _ = credentials;
//! ```
//! [`ipxo::layer`](crate::ipxo::layer) lets the token go to IPXO's gateway and nowhere else.
//!
//! # Microsoft Entra ID
//! The scope is what the API calls itself, its application ID URI, with `/.default`: all that an administrator has consented
//! to. There is one of it, for one API; another API is another credential. The v2.0 endpoint takes no `resource`.
//! ```
//! use tower_bearer::{ClientAuth, ClientCredentials, Secret};
//!
//! let url = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token";
//! let by_secret = ClientCredentials::builder(url, "{client_id}", ClientAuth::post(Secret::env("ENTRA_SECRET")))
//!     .scopes(["api://{api}/.default"]);
//!
//! // A federated credential: Entra trusts the issuer of this file, for the audience `api://AzureADTokenExchange`. On AKS
//! // with workload identity the path is also in AZURE_FEDERATED_TOKEN_FILE.
//! let file = "/var/run/secrets/azure/tokens/azure-identity-token";
//! let by_federation = ClientCredentials::builder(url, "{client_id}", ClientAuth::assertion_file(file))
//!     .scopes(["https://graph.microsoft.com/.default"]);
//! # let _ = (by_secret, by_federation);
//! ```
//! By certificate it is `private_key_jwt`, signed by PS256, with the certificate's SHA-256 as `x5t#S256` and the token URL as
//! its audience, which is the default. Microsoft's documentation calls `jti` a GUID; here it is 128 random bits in base64url.
//! ```
//! # #[cfg(feature = "jwt")] {
//! use tower_bearer::{
//!     client_credentials::{SigningAlgorithm, SigningKey},
//!     ClientAuth,
//!     ClientCredentials,
//!     Secret,
//! };
//!
//! let url = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token";
//! let key = SigningKey::from_pem(SigningAlgorithm::Ps256, Secret::file("/run/entra/tls.key"))
//!     .with_certificate(Secret::file("/run/entra/tls.crt"));
//! let by_certificate = ClientCredentials::builder(url, "{client_id}", ClientAuth::private_key_jwt(key))
//!     .scopes(["api://{api}/.default"]);
//! # let _ = by_certificate; }
//! ```
//!
//! # Auth0
//! `audience` is the API's identifier, and has to be there unless the tenant has a default one. Without scopes the token has
//! all that the application is granted. An assertion is for the tenant's URL, with the slash at its end; the key may be named
//! by the `kid` that Auth0 gave it.
//! ```
//! use tower_bearer::{ClientAuth, ClientCredentials};
//!
//! let url = "https://{tenant}.auth0.com/oauth/token";
//! let by_secret = ClientCredentials::builder(url, "{client_id}", ClientAuth::post("{client_secret}"))
//!     .audience("https://api.example.com");
//! # #[cfg(feature = "jwt")] { use tower_bearer::{Secret, client_credentials::{SigningAlgorithm, SigningKey}};
//! let key = SigningKey::from_pem(SigningAlgorithm::Rs256, Secret::file("/run/keys/auth0.pem")).with_key_id("{kid}");
//! let by_key = ClientCredentials::builder(url, "{client_id}", ClientAuth::private_key_jwt(key))
//!     .assertion_audience("https://{tenant}.auth0.com/")
//!     .audience("https://api.example.com");
//! # let _ = (&by_secret, by_key); }
//! ```
//!
//! # Okta
//! For Okta's own APIs, at the org's server, `private_key_jwt` is the only method. Scopes have to be asked for and granted to
//! the app. New service apps ask for DPoP, which this crate has not: switch off "Require Demonstrating Proof of Possession
//! (DPoP) header in token requests". For your own APIs the server is a custom one, `/oauth2/{server}/v1/token`, such as
//! `default`; it takes a secret as well.
//! ```
//! # #[cfg(feature = "jwt")] {
//! use tower_bearer::{client_credentials::SigningKey, ClientAuth, ClientCredentials, Secret};
//!
//! // The JWK brings its `kid` along.
//! let key = SigningKey::from_jwk(Secret::file("/run/keys/okta.jwk.json"));
//! let url = "https://{domain}.okta.com/oauth2/v1/token";
//! let by_key = ClientCredentials::builder(url, "{client_id}", ClientAuth::private_key_jwt(key))
//!     .scopes(["okta.users.read", "okta.groups.read"]);
//! # let _ = by_key; }
//! ```
//!
//! # Keycloak
//! The client has "Service accounts roles" switched on; what the token is good for comes from roles and client scopes. Before
//! version 17 the path began with `/auth`. An assertion is best for the realm's URL, its issuer: that is what [RFC 10070]
//! asks for. Since 26.2 it may have one audience only, for which the token URL still does.
//! ```
//! use tower_bearer::{ClientAuth, ClientCredentials};
//!
//! let url = "https://{host}/realms/{realm}/protocol/openid-connect/token";
//! let by_secret = ClientCredentials::builder(url, "{client_id}", ClientAuth::basic("{client_secret}"));
//! # use tower_bearer::Secret;
//! # #[cfg(feature = "jwt")] { use tower_bearer::client_credentials::{SigningAlgorithm, SigningKey};
//! // "Signed JWT"
//! let key = SigningKey::from_pem(SigningAlgorithm::Es256, Secret::file("/run/keys/keycloak.pem")).with_key_id("{kid}");
//! let by_key = ClientCredentials::builder(url, "{client_id}", ClientAuth::private_key_jwt(key))
//!     .assertion_audience("https://{host}/realms/{realm}");
//! # let _ = (&by_secret, by_key); }
//! # #[cfg(feature = "rustls")] {
//! // "X509 Certificate", which Keycloak, or the proxy before it, has to ask for.
//! let by_certificate = ClientCredentials::builder(url, "{client_id}", ClientAuth::tls())
//!     .client_certificate(Secret::file("/run/tls/tls.crt"), Secret::file("/run/tls/tls.key"));
//! # let _ = by_certificate; }
//! ```
//!
//! # Google
//! Google's APIs have no client credentials grant, so [`ClientCredentials`](crate::ClientCredentials) does not fit. A service
//! account's key signs a JWT that *is* the grant ([RFC 7523 §2.1]), where here a JWT only proves who the client is (§2.2).
//! Workload identity federation is token request ([RFC 8693]) at `sts.googleapis.com`, often with one more request to act as
//! a service account. Neither is supported. Whatever code gets such a token is a source all the same, as a closure. On
//! Google's own machines the metadata server has it:
//! ```
//! use std::time::Duration;
//! use http_body_util::{BodyExt, Empty, Limited};
//! use tower::{BoxError, ServiceExt};
//! use tower_bearer::{token::TokenRequest, Token, TokenCache};
//!
//! #[derive(serde::Deserialize)]
//! struct Answer { access_token: String, expires_in: u64 }
//! # fn cache<C, B>(client: C) -> TokenCache
//! # where C: tower::Service<http::Request<Empty<bytes::Bytes>>, Response = http::Response<B>, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static,
//! #     B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send {
//! const URL: &str = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";
//! let source = tower::service_fn(move |_: TokenRequest| {
//!     let client = client.clone();
//!     async move {
//!         let request = http::Request::get(URL).header("Metadata-Flavor", "Google").body(Empty::new())?;
//!         let answer = client.oneshot(request).await.map_err(Into::into)?;
//!         if !answer.status().is_success() {
//!             return Err(format!("the metadata server answered {}", answer.status()).into());
//!         }
//!         let body = Limited::new(answer.into_body(), 64 * 1024).collect().await?.to_bytes();
//!         let answer: Answer = serde_json::from_slice(&body)?;
//!         Ok::<_, BoxError>(Token::new(answer.access_token)?.with_lifetime(Duration::from_secs(answer.expires_in)))
//!     }
//! });
//! TokenCache::new(source)
//! # }
//! ```
//!
//! # A token that Kubernetes projects
//! A `serviceAccountToken` volume holds a JWT for the audience that the pod's manifest names; the kubelet replaces it in time,
//! and it is read at each token request. The server has to trust the cluster as an issuer: Entra by a federated credential,
//! Keycloak (from 26.4 as a preview, in full since 26.6) by "Signed JWT - Federated". By [RFC 7523 §3] the client id is the
//! JWT's `sub`, `system:serviceaccount:{namespace}:{name}`. Entra maps it to another one; Keycloak 26.6 does not where a
//! `client_id` is sent as well, which it is here: there the client has to bear that name.
//! ```
//! let auth = tower_bearer::ClientAuth::assertion_file("/var/run/secrets/tokens/auth-server");
//! # let _ = auth;
//! ```
//!
//! # Secrets that rotate
//! A file, such as one of Kubernetes' secrets or one that a vault's agent writes, is read at each token request, and again when the
//! server says `invalid_client`; so is a provider. A secret, a key or a certificate that is replaced there needs no restart,
//! where one in a text or in the environment does. The client certificate and the root certificates of the connection are
//! read for each connection, and so not again before the next token request.
//! ```
//! use tower_bearer::{ClientAuth, Secret};
//!
//! let from_a_file = ClientAuth::basic(Secret::file("/run/secrets/my-client"));
//! # async fn read_from_vault(_: &str) -> Result<String, std::io::Error> { Ok("secret".to_owned()) }
//! let from_a_vault = ClientAuth::basic(Secret::provider(|| read_from_vault("kv/my-client")));
//! # let _ = (from_a_file, from_a_vault);
//! ```
//!
//! # A private CA
//! The default transport trusts what the platform trusts, a company's own CA included where it is installed. In a container
//! it often is a file beside the secret: `root_certificates` trusts that *in place of* the platform's roots, for the token
//! endpoint and the issuer's metadata. The API's own client has roots of its own. A server that is not trusted is not sent
//! the secret, and the error says why: another host name, expired, not valid yet, self-signed or of an unknown CA.
//! ```
//! # #[cfg(feature = "rustls")] {
//! use tower_bearer::{ClientCredentials, Secret};
//!
//! let credentials = ClientCredentials::builder("https://auth.internal/token", "my-client", Secret::file("/run/secrets/my-client"))
//!     .root_certificates(Secret::file("/run/tls/ca.crt"));
//! # let _ = credentials; }
//! ```
//!
//! # Many credentials
//! `Keyed` (feature `keyed`) has a cache for each key, and [`Lookup`](crate::token::Lookup) finds a key's credentials at each
//! token request. What selects a request names its key ([`select`](crate::select)); here the request says it in an extension.
//! ```
//! # #[cfg(all(feature = "keyed", feature = "rustls"))] {
//! use tower_bearer::{
//!     cache::Keyed,
//!     select::{ByExtension, Origins},
//!     token::Lookup,
//!     BearerAuthLayer,
//!     ClientCredentials,
//!     TokenCache,
//! };
//!
//! #[derive(Clone, PartialEq, Eq, Hash)]
//! struct Customer(u64);
//!
//! # async fn credentials_of(_: &Customer) -> Result<(String, String), std::io::Error> { unimplemented!() }
//! const URL: &str = "https://auth.example.com/oauth2/token";
//! let customers = Keyed::new(|customer: &Customer| {
//!     let customer = customer.clone();
//!     TokenCache::new(Lookup::new(move || {
//!         let customer = customer.clone();
//!         async move {
//!             let (id, secret) = credentials_of(&customer).await?;
//!             Ok(ClientCredentials::builder(URL, id, secret).build()?)
//!         }
//!     }))
//! });
//! let select = Origins::new(["https://api.example.com"])?.and(ByExtension::<Customer>::new());
//! let layer = BearerAuthLayer::keyed(customers, select);
//! # let _ = layer; }
//! # Ok::<(), tower_bearer::Error>(())
//! ```
//!
//! [RFC 7523 §2.1]: https://www.rfc-editor.org/rfc/rfc7523#section-2.1
//! [RFC 7523 §3]: https://www.rfc-editor.org/rfc/rfc7523#section-3
//! [RFC 8693]: https://www.rfc-editor.org/rfc/rfc8693
//! [RFC 10070]: https://www.rfc-editor.org/rfc/rfc10070
