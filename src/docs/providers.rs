//! Providers: recipes for well-known authorization servers, and where to keep secrets.
//!
//! Replace what is in braces. Scopes and audiences are examples. Each recipe ends before
//! `build`, which is the same for all. Servers change; their own documentation is decisive.
//!
//! | server | client authentication | also needed |
//! | --- | --- | --- |
//! | [IPXO](#ipxo) | secret in the form | scopes |
//! | [Microsoft Entra ID](#microsoft-entra-id) | secret, certificate, or federated assertion | one scope that ends in `/.default` |
//! | [Auth0](#auth0) | secret or private key | `audience` |
//! | [Okta](#okta) | private key; secret for custom servers | scopes |
//! | [Keycloak](#keycloak) | secret, private key, certificate, or federated assertion | |
//! | [Salesforce](#salesforce) | secret | `keep` for the API's host, `default_lifetime` |
//! | [Google](#google) | another grant: use a source of your own | |
//! | [any other](#any-other-server) | secret | |
//!
//! # Any other server
//! Look up the token endpoint and how your client is registered. Servers usually accept only
//! the one method that a client is registered with.
//! ```
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials,
//! };
//!
//! let url = "https://auth.example.com/oauth2/token";
//! // `client_secret_post`: in the form.
//! let in_the_form = ClientCredentials::builder(
//!     url,
//!     "{client_id}",
//!     ClientAuth::post("{client_secret}"),
//! );
//! // `client_secret_basic`: in a header.
//! let in_a_header = ClientCredentials::builder(
//!     url,
//!     "{client_id}",
//!     ClientAuth::basic("{client_secret}"),
//! );
//! // Or look it up in the server's metadata.
//! let discovered = ClientCredentials::discover(
//!     "https://auth.example.com",
//!     "{client_id}",
//!     "{client_secret}",
//! );
//! # let _ = (in_the_form, in_a_header, discovered);
//! ```
//!
//! # IPXO
//! Token endpoint: [`ipxo::TOKEN_URL`](crate::ipxo::TOKEN_URL), which is the default here.
//! ```
//! use tower_bearer::ipxo::{self, scope};
//!
//! let credentials = ipxo::credentials(
//!     "{client_id}",
//!     "{client_secret}",
//!     [scope::BILLING, scope::ECOMMERCE],
//! );
//! # let _ = credentials;
//! ```
//! [`ipxo::layer`](crate::ipxo::layer) sends the token to IPXO's gateway and nowhere else.
//!
//! # Microsoft Entra ID
//! Token endpoint: `https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token`.
//!
//! The scope is the API's application ID URI with `/.default` at its end: everything that an
//! administrator has consented to. One credential has one such scope. Another API needs
//! another credential. The v2.0 endpoint takes no `resource`.
//! ```
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials, Secret,
//! };
//!
//! let url = "https://login.microsoftonline.com/\
//!     {tenant}/oauth2/v2.0/token";
//! let auth =
//!     ClientAuth::post(Secret::from_env("ENTRA_SECRET"));
//! let by_secret = ClientCredentials::builder(
//!     url,
//!     "{client_id}",
//!     auth,
//! )
//! .scopes(["api://{api}/.default"]);
//! # let _ = by_secret;
//! ```
//! A *federated credential* needs no secret. Entra trusts the issuer of a file, for the
//! audience `api://AzureADTokenExchange`. On AKS with workload identity, the variable
//! `AZURE_FEDERATED_TOKEN_FILE` holds the path.
//! ```
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials,
//! };
//!
//! let url = "https://login.microsoftonline.com/\
//!     {tenant}/oauth2/v2.0/token";
//! let file = "/var/run/secrets/azure/tokens\
//!     /azure-identity-token";
//! let auth = ClientAuth::assertion_file(file);
//! let federated = ClientCredentials::builder(
//!     url,
//!     "{client_id}",
//!     auth,
//! )
//! .scopes(["https://graph.microsoft.com/.default"]);
//! # let _ = federated;
//! ```
//! A *certificate* signs an assertion by PS256 (feature `jwt`). The certificate's SHA-256 is
//! sent as `x5t#S256`. Entra requires the older form of an assertion: the token URL as
//! audience and the type `JWT`, the defaults for a token URL. For *subject name and issuer*
//! authentication, use `with_certificate_chain`: it sends the whole chain as `x5c`.
//! ```
//! # #[cfg(feature = "jwt")] {
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials, Secret,
//!     client_credentials::{
//!         SigningAlgorithm, SigningKey,
//!     },
//! };
//!
//! let url = "https://login.microsoftonline.com/\
//!     {tenant}/oauth2/v2.0/token";
//! let pem = Secret::from_file("/run/entra/tls.key");
//! let key = SigningKey::from_pem(
//!     SigningAlgorithm::Ps256,
//!     pem,
//! )
//! .with_certificate(Secret::from_file(
//!     "/run/entra/tls.crt",
//! ));
//! let auth = ClientAuth::private_key_jwt(key);
//! let by_certificate = ClientCredentials::builder(
//!     url,
//!     "{client_id}",
//!     auth,
//! )
//! .scopes(["api://{api}/.default"]);
//! # let _ = by_certificate; }
//! ```
//!
//! # Auth0
//! Token endpoint: `https://{tenant}.auth0.com/oauth/token`.
//!
//! `audience` is the API's identifier. It is required unless the tenant has a default
//! audience. Without scopes, the token has all scopes that the application is granted.
//! ```
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials,
//! };
//!
//! let url =
//!     "https://{tenant}.auth0.com/oauth/token";
//! let auth = ClientAuth::post("{client_secret}");
//! let by_secret = ClientCredentials::builder(
//!     url,
//!     "{client_id}",
//!     auth,
//! )
//! .audience("https://api.example.com");
//! # let _ = by_secret;
//! ```
//! With a private key (feature `jwt`), the assertion's audience is the tenant's URL with a
//! slash at its end. `kid` is the key id that Auth0 shows.
//! ```
//! # #[cfg(feature = "jwt")] {
//! use tower_bearer::{
//!     ClientCredentials, Secret,
//!     client_credentials::{
//!         Assertion, SigningAlgorithm, SigningKey,
//!     },
//! };
//!
//! let url =
//!     "https://{tenant}.auth0.com/oauth/token";
//! let pem = Secret::from_file("/run/keys/auth0.pem");
//! let key = SigningKey::from_pem(
//!     SigningAlgorithm::Rs256,
//!     pem,
//! )
//! .with_key_id("{kid}");
//! let assertion = Assertion::signed_by(key)
//!     .with_audience("https://{tenant}.auth0.com/");
//! let by_key = ClientCredentials::builder(
//!     url,
//!     "{client_id}",
//!     assertion,
//! )
//! .audience("https://api.example.com");
//! # let _ = by_key; }
//! ```
//!
//! # Okta
//! Okta's own APIs accept `private_key_jwt` only (feature `jwt`). Ask for each scope by name,
//! and grant it to the app. New service apps require DPoP, which this crate does not support:
//! switch off "Require Demonstrating Proof of Possession (DPoP) header in token requests".
//!
//! For your own APIs, use a custom authorization server, `/oauth2/{server}/v1/token`, for
//! example `/oauth2/default/v1/token`. It accepts a secret as well.
//! ```
//! # #[cfg(feature = "jwt")] {
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials, Secret,
//!     client_credentials::SigningKey,
//! };
//!
//! // The JWK contains its `kid`.
//! let jwk = Secret::from_file("/run/keys/okta.jwk.json");
//! let auth = ClientAuth::private_key_jwt(
//!     SigningKey::from_jwk(jwk),
//! );
//! let url =
//!     "https://{domain}.okta.com/oauth2/v1/token";
//! let by_key = ClientCredentials::builder(
//!     url,
//!     "{client_id}",
//!     auth,
//! )
//! .scopes(["okta.users.read", "okta.groups.read"]);
//! # let _ = by_key; }
//! ```
//!
//! # Keycloak
//! Token endpoint: `https://{host}/realms/{realm}/protocol/openid-connect/token`.
//!
//! Switch on "Service accounts roles" for the client. Roles and client scopes decide what the
//! token may do. Before version 17, the path began with `/auth`.
//! ```
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials,
//! };
//!
//! let url = "https://{host}/realms/{realm}\
//!     /protocol/openid-connect/token";
//! let auth = ClientAuth::basic("{client_secret}");
//! let by_secret = ClientCredentials::builder(
//!     url,
//!     "{client_id}",
//!     auth,
//! );
//! # let _ = by_secret;
//! ```
//! "Signed JWT" (feature `jwt`): use the realm's URL, its issuer, as the assertion's audience.
//! Since 26.2, Keycloak accepts one audience only; the token URL also works.
//! ```
//! # #[cfg(feature = "jwt")] {
//! use tower_bearer::{
//!     ClientCredentials, Secret,
//!     client_credentials::{
//!         Assertion, SigningAlgorithm,
//!         SigningKey,
//!     },
//! };
//!
//! let url = "https://{host}/realms/{realm}\
//!     /protocol/openid-connect/token";
//! let pem = Secret::from_file("/run/keys/keycloak.pem");
//! let key = SigningKey::from_pem(
//!     SigningAlgorithm::Es256,
//!     pem,
//! )
//! .with_key_id("{kid}");
//! let assertion = Assertion::signed_by(key)
//!     .with_audience(
//!         "https://{host}/realms/{realm}",
//!     );
//! let by_key = ClientCredentials::builder(
//!     url,
//!     "{client_id}",
//!     assertion,
//! );
//! # let _ = by_key; }
//! ```
//! "X509 Certificate": Keycloak, or the proxy in front of it, has to request the client
//! certificate.
//! ```
//! # #[cfg(feature = "rustls")] {
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials, Secret,
//! };
//!
//! let url = "https://{host}/realms/{realm}\
//!     /protocol/openid-connect/token";
//! let auth = ClientAuth::tls();
//! let by_certificate = ClientCredentials::builder(
//!     url,
//!     "{client_id}",
//!     auth,
//! )
//! .client_certificate(
//!     Secret::from_file("/run/tls/tls.crt"),
//!     Secret::from_file("/run/tls/tls.key"),
//! );
//! # let _ = by_certificate; }
//! ```
//!
//! # Salesforce
//! Token endpoint: `https://{my_domain}.my.salesforce.com/services/oauth2/token`.
//!
//! Enable the client credentials flow of the external client app, and choose the user that it
//! runs as. The answer says where the API is, and gives no lifetime: a token lasts as long as
//! a session of that user. Set
//! [`default_lifetime`](crate::cache::TokenCacheBuilder::default_lifetime) to the session
//! timeout that your organization has. (Salesforce Help, "OAuth 2.0 Client Credentials Flow
//! for Server-to-Server Integration", read on 2026-11-25.)
//! ```
//! use tower_bearer::ClientCredentials;
//!
//! let url = "https://{my_domain}.my.salesforce.com\
//!     /services/oauth2/token";
//! let credentials = ClientCredentials::builder(
//!     url,
//!     "{consumer_key}",
//!     "{consumer_secret}",
//! )
//! .keep(["instance_url"]);
//! # let _ = credentials;
//! ```
//! [`Token::extra`](crate::Token::extra)`("instance_url")` of the cache's token is the API's
//! base URL.
//!
//! # Google
//! Google's APIs have no client credentials grant, so
//! [`ClientCredentials`](crate::ClientCredentials) does not fit. A service account signs a JWT
//! that *is* the grant ([RFC 7523 §2.1]); workload identity federation is a token exchange
//! ([RFC 8693]). Neither is supported here. Any code that fetches such a token can be a
//! source. On Google's own machines, ask the metadata server:
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::{BodyExt, Empty, Limited};
//! use hyper_util::client::legacy::{
//!     Client, connect::HttpConnector,
//! };
//! use tower::{BoxError, service_fn};
//! use tower_bearer::{
//!     Token, TokenSource, token::TokenRequest,
//! };
//!
//! const URL: &str =
//!     "http://metadata.google.internal\
//!     /computeMetadata/v1/instance\
//!     /service-accounts/default/token";
//!
//! type Http = Client<HttpConnector, Empty<Bytes>>;
//!
//! #[derive(serde::Deserialize)]
//! struct Answer {
//!     access_token: String,
//!     expires_in: u64,
//! }
//!
//! fn metadata_server(
//!     http: Http,
//! ) -> impl TokenSource {
//!     service_fn(move |_: TokenRequest| {
//!         fetch(http.clone())
//!     })
//! }
//!
//! async fn fetch(
//!     http: Http,
//! ) -> Result<Token, BoxError> {
//!     let request = Request::get(URL)
//!         .header("Metadata-Flavor", "Google")
//!         .body(Empty::new())?;
//!     let answer = http.request(request).await?;
//!     let status = answer.status();
//!     if !status.is_success() {
//!         return Err(
//!             format!("status {status}").into()
//!         );
//!     }
//!     let body = Limited::new(
//!         answer.into_body(),
//!         64 * 1024,
//!     );
//!     let bytes = body.collect().await?.to_bytes();
//!     let answer: Answer =
//!         serde_json::from_slice(&bytes)?;
//!     let lifetime =
//!         Duration::from_secs(answer.expires_in);
//!     Ok(Token::new(answer.access_token)?
//!         .with_lifetime(lifetime))
//! }
//! # let _ = metadata_server;
//! ```
//!
//! # A token that Kubernetes projects
//! A `serviceAccountToken` volume holds a JWT for the audience in the pod's manifest. The
//! kubelet replaces it in time. The file is read at each token request.
//! ```
//! use tower_bearer::ClientAuth;
//!
//! let auth = ClientAuth::assertion_file(
//!     "/var/run/secrets/tokens/auth-server",
//! );
//! # let _ = auth;
//! ```
//! The authorization server has to trust the cluster as an issuer. Entra does so by a
//! federated credential; Keycloak by "Signed JWT - Federated" (a preview since 26.4, supported
//! since 26.6).
//!
//! By [RFC 7523 §3], the client id is the JWT's `sub`:
//! `system:serviceaccount:{namespace}:{name}`. Entra maps it to another client id, and requires
//! that one in the request. Keycloak maps it if the request has no client id; with one, the
//! client in Keycloak needs the name of the `sub`.
//! ```
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials,
//! };
//!
//! let url = "https://{host}/realms/{realm}\
//!     /protocol/openid-connect/token";
//! let auth = ClientAuth::assertion_file(
//!     "/var/run/secrets/tokens/keycloak",
//! )
//! .without_client_id();
//! // The client id is in errors and in logs.
//! let federated = ClientCredentials::builder(
//!     url,
//!     "{client_id}",
//!     auth,
//! );
//! # let _ = federated;
//! ```
//!
//! # SPIFFE
//! A JWT-SVID authenticates a workload where the server trusts its trust domain: Keycloak
//! (a preview, by its feature `spiffe`) and others. The client id is the SPIFFE ID, or what the
//! server maps it to. `spiffe-helper` writes the JWT-SVID to a file and keeps it fresh; its
//! audience is the server's issuer.
//! ```
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials, Secret,
//! };
//!
//! let svid =
//!     Secret::from_file("/run/spiffe/jwt_svid");
//! let by_svid = ClientCredentials::builder(
//!     "https://auth.example.com/token",
//!     "spiffe://example.org/billing",
//!     ClientAuth::spiffe_jwt(svid),
//! );
//! # let _ = by_svid;
//! ```
//! An X.509-SVID is a client certificate: [`ClientAuth::tls`](crate::ClientAuth::tls).
//!
//! # Secrets that rotate
//! ```
//! use tower_bearer::{ClientAuth, Secret};
//!
//! let from_a_file = ClientAuth::basic(
//!     Secret::from_file("/run/secrets/my-client"),
//! );
//!
//! # async fn read_from_vault(_: &str) -> Result<String, std::io::Error> { Ok("secret".to_owned()) }
//! let from_a_vault =
//!     ClientAuth::basic(Secret::from_provider(|| {
//!         read_from_vault("kv/my-client")
//!     }));
//! # let _ = (from_a_file, from_a_vault);
//! ```
//! A file or a provider is read at each token request, and once more when the server answers
//! `invalid_client`. So a new secret needs no restart. A secret in text or in an environment
//! variable does. The connection's client certificate and root certificates are read for each
//! connection.
//!
//! # A private CA
//! The default transport trusts the platform's root certificates. They include a company's own
//! CA where it is installed. In a container, the CA is often a file:
//! ```
//! # #[cfg(feature = "rustls")] {
//! use tower_bearer::{ClientCredentials, Secret};
//!
//! let credentials = ClientCredentials::builder(
//!     "https://auth.internal/token",
//!     "my-client",
//!     Secret::from_file("/run/secrets/my-client"),
//! )
//! .root_certificates(Secret::from_file(
//!     "/run/tls/ca.crt",
//! ));
//! # let _ = credentials; }
//! ```
//! `root_certificates` *replaces* the platform's roots, for the token endpoint and for the
//! issuer's metadata. Your API client has its own roots. A server with an untrusted
//! certificate never sees the secret. The error says why: wrong host name, expired, not yet
//! valid, self-signed, or unknown CA.
//!
//! # Many credentials
//! `Keyed` (feature `keyed`) has one cache for each key. If all keys are known when the program
//! starts, an `Arc<HashMap<K, TokenCache>>` is enough, and an unknown key is an error:
//! [`BearerAuthLayer::keyed`](crate::BearerAuthLayer::keyed).
//! [`Lookup`](crate::token::Lookup) finds a key's credentials at each token request. A
//! [`Select`](crate::select::Select) policy names the key of a request; here the request says
//! it in an extension.
//! ```
//! # #[cfg(all(feature = "keyed", feature = "rustls"))] {
//! use tower::BoxError;
//! use tower_bearer::{
//!     BearerAuthLayer, ClientCredentials,
//!     TokenCache,
//!     cache::Keyed,
//!     select::{ByExtension, Origins},
//!     token::Lookup,
//! };
//!
//! #[derive(Clone, PartialEq, Eq, Hash)]
//! struct Customer(u64);
//!
//! # async fn look_up(_: Customer) -> Result<(String, String), std::io::Error> { unimplemented!() }
//! async fn credentials(
//!     customer: Customer,
//! ) -> Result<ClientCredentials, BoxError> {
//!     // In your database, for example.
//!     let (id, secret) = look_up(customer).await?;
//!     let url =
//!         "https://auth.example.com/oauth2/token";
//!     Ok(ClientCredentials::builder(
//!         url, id, secret,
//!     )
//!     .build()?)
//! }
//!
//! let customers =
//!     Keyed::new(|customer: &Customer| {
//!         let customer = customer.clone();
//!         TokenCache::new(Lookup::new(move || {
//!             credentials(customer.clone())
//!         }))
//!     });
//! let select =
//!     Origins::new(["https://api.example.com"])?
//!         .and(ByExtension::<Customer>::new());
//! let layer =
//!     BearerAuthLayer::keyed(customers, select);
//!
//! let request = http::Request::get(
//!     "https://api.example.com/invoices",
//! )
//! .extension(Customer(7))
//! .body(())?;
//! # let _ = (layer, request); }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [RFC 7523 §2.1]: https://www.rfc-editor.org/rfc/rfc7523#section-2.1
//! [RFC 7523 §3]: https://www.rfc-editor.org/rfc/rfc7523#section-3
//! [RFC 8693]: https://www.rfc-editor.org/rfc/rfc8693
