//! Microsoft Entra ID: secrets, certificates, federated and managed identities, agent identities.
//!
//! # A secret
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
//! - Entra sends `refresh_in` with long tokens. The token is refreshed no later than that.
//! - For *continuous access evaluation*, announce `cp1` and answer the API's challenges: see
//!   [`answer_claims_challenges`].
//!
//! *Checked against* "Microsoft identity platform and the OAuth 2.0 client credentials
//! flow" on 2026-11-25.
//!
//! # A federated credential
//! It needs no secret. Entra trusts the issuer of a file, for the
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
//!
//! *Checked against* "Microsoft identity platform and the OAuth 2.0 client credentials
//! flow" (third case) on 2026-11-25.
//!
//! # A certificate
//! It signs an assertion by PS256 (feature `jwt`). The certificate's SHA-256 is
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
//! *Checked against* "Microsoft identity platform application authentication
//! certificate credentials" on 2026-11-25.
//!
//! # The v1.0 endpoint
//! Token endpoint: `https://login.microsoftonline.com/{tenant}/oauth2/token`, for APIs that accept
//! its tokens only. It takes no scopes: the API is named by `resource`, its application ID URI or
//! its GUID. [`param`] sends either; [`resource`] sends URIs only.
//! ```
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials, Secret,
//! };
//!
//! let url = "https://login.microsoftonline.com/\
//!     {tenant}/oauth2/token";
//! let auth =
//!     ClientAuth::post(Secret::from_env("ENTRA_SECRET"));
//! let version_1 = ClientCredentials::builder(
//!     url,
//!     "{client_id}",
//!     auth,
//! )
//! .param("resource", "{api}");
//! # let _ = version_1;
//! ```
//! The lifetime comes as `expires_in` and `expires_on`, both as strings. Both are understood.
//!
//! *Checked against* "Service to service calls using client credentials" (Azure AD
//! v1.0) on 2026-11-25.
//!
//! # A managed identity
//! Azure's machines ask their metadata service, which needs no secret. It speaks its own
//! protocol, so it is a [source](super::super::writing_a_source) of a few lines. `client_id` in
//! the query is only needed if the machine has several identities.
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::{BodyExt, Empty, Limited};
//! use hyper_util::{
//!     client::legacy::{
//!         Client, connect::HttpConnector,
//!     },
//!     rt::TokioExecutor,
//! };
//! use tower::{BoxError, service_fn};
//! use tower_bearer::{
//!     Error, Token, TokenCache, token::TokenRequest,
//! };
//!
//! const URL: &str = "http://169.254.169.254/metadata\
//!     /identity/oauth2/token?api-version=2018-02-01";
//!
//! type Http = Client<HttpConnector, Empty<Bytes>>;
//!
//! #[derive(serde::Deserialize)]
//! struct Answer {
//!     access_token: String,
//!     expires_in: String,
//! }
//!
//! fn managed_identity(
//!     resource: &'static str,
//! ) -> TokenCache {
//!     let http: Http =
//!         Client::builder(TokioExecutor::new())
//!             .build_http();
//!     TokenCache::new(service_fn(
//!         move |_: TokenRequest| {
//!             fetch(http.clone(), resource)
//!         },
//!     ))
//! }
//!
//! async fn fetch(
//!     http: Http,
//!     resource: &str,
//! ) -> Result<Token, BoxError> {
//!     let url = format!("{URL}&resource={resource}");
//!     let request = Request::get(url)
//!         .header("metadata", "true")
//!         .body(Empty::new())?;
//!     let answer = http.request(request).await?;
//!     let status = answer.status();
//!     if status == 400 {
//!         return Err(Error::permanent(
//!             "no managed identity for this resource",
//!         )
//!         .into());
//!     }
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
//!     let seconds = answer.expires_in.parse()?;
//!     Ok(Token::new(answer.access_token)?
//!         .with_lifetime(Duration::from_secs(seconds)))
//! }
//! # let _ = managed_identity;
//! ```
//! Its token may also be the proof of another application, which trusts the managed identity by
//! a federated credential: `ClientAuth::assertion(Secret::from_cache(cache))`, where `cache` is
//! that of the resource `api://AzureADTokenExchange`.
//!
//! *Checked against* "How to use managed identities for Azure resources on an Azure VM
//! to acquire an access token" on 2026-11-25.
//!
//! # An agent identity
//! An *agent identity* has no credential of its own. Its *blueprint*, an application, requests a
//! token for it, named by `fmi_path`. That token is the agent identity's assertion.
//! [`Secret::from_cache`](crate::Secret::from_cache) joins the two.
//! ```
//! # #[cfg(feature = "rustls")] {
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials, Error,
//!     Secret, TokenCache,
//! };
//!
//! # fn example(managed_identity: TokenCache) -> Result<(), Error> {
//! let url = "https://login.microsoftonline.com/\
//!     {tenant}/oauth2/v2.0/token";
//! // The blueprint's own proof; here the token of a
//! // managed identity, as above. A certificate works too.
//! let proof = Secret::from_cache(managed_identity);
//! let blueprint = ClientCredentials::builder(
//!     url,
//!     "{blueprint}",
//!     ClientAuth::assertion(proof),
//! )
//! .scopes(["api://AzureADTokenExchange/.default"])
//! .param("fmi_path", "{agent_identity}")
//! .build()?;
//!
//! let proof =
//!     Secret::from_cache(TokenCache::new(blueprint));
//! let agent_identity = ClientCredentials::builder(
//!     url,
//!     "{agent_identity}",
//!     ClientAuth::assertion(proof),
//! )
//! .scopes(["https://graph.microsoft.com/.default"]);
//! # let _ = agent_identity;
//! # Ok(()) }
//! # let _ = example; }
//! ```
//! Each agent identity needs a blueprint's token of its own, and so a cache of its own: see
//! [many credentials](super::super::credentials#many-credentials).
//!
//! *Checked against* "Authenticate and acquire tokens for autonomous agents" of the
//! Entra Agent ID documentation on 2026-11-25.
//!
//! [`answer_claims_challenges`]: crate::client_credentials::ClientCredentialsBuilder::answer_claims_challenges
//! [`param`]: crate::client_credentials::ClientCredentialsBuilder::param
//! [`resource`]: crate::client_credentials::ClientCredentialsBuilder::resource
