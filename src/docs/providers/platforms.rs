//! Identity platforms: Amazon Cognito, Auth0, Cloud Foundry UAA, Keycloak and Okta.
//!
//! # Amazon Cognito
//! Token endpoint: `https://{domain}/oauth2/token`, with the domain of the user pool, such as
//! `example.auth.eu-west-1.amazoncognito.com`.
//!
//! The app client needs a secret and the client credentials grant. A scope is one of a resource
//! server, `{identifier}/{scope}`. Without scopes, the token has all that the app client is
//! allowed. With resource binding, [`resource`] puts the API's URL into the token's `aud`.
//! ```
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials,
//! };
//!
//! let credentials = ClientCredentials::builder(
//!     "https://{domain}/oauth2/token",
//!     "{client_id}",
//!     ClientAuth::basic("{client_secret}"),
//! )
//! .scopes(["orders/read", "orders/write"]);
//! # let _ = credentials;
//! ```
//! The answer names no scopes. If the app client is not allowed one, the API answers 403 later.
//! Amazon counts machine-to-machine tokens, and they cost money: let a fleet share one (feature
//! `shared`).
//!
//! *Checked against* "The token issuer endpoint" and "Scopes, M2M, and resource
//! servers" of the Amazon Cognito developer guide on 2026-11-25.
//!
//! [`resource`]: crate::client_credentials::ClientCredentialsBuilder::resource
//!
//! # Auth0
//! Token endpoint: `https://{tenant}.auth0.com/oauth/token`.
//!
//! `audience` is the API's identifier. It is required unless the tenant has a default
//! audience. Without scopes, the token has all scopes that the application is granted.
//! Auth0 counts machine-to-machine tokens, and they cost money: let a fleet share one (feature
//! `shared`).
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
//! *Checked against* "Call Your API Using the Client Credentials Flow" and
//! "Authenticate with Private Key JWT" of the Auth0 documentation on 2026-11-25.
//!
//! # Cloud Foundry UAA
//! Token endpoint: `https://uaa.{system_domain}/oauth/token`; some installations put it on
//! `login.{system_domain}`.
//!
//! The client needs `client_credentials` among its `authorized_grant_types`. Its
//! `authorities`, not its `scope`, are what the token may do. `token_format=opaque` asks for a
//! short token that the UAA can revoke; the default is a JWT.
//! ```
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials,
//! };
//!
//! let credentials = ClientCredentials::builder(
//!     "https://uaa.{system_domain}/oauth/token",
//!     "{client_id}",
//!     ClientAuth::basic("{client_secret}"),
//! )
//! .param("token_format", "opaque");
//! # let _ = credentials;
//! ```
//! Newer versions accept the secret in the form as well; old ones answer 401 to that.
//!
//! *Checked against* "UAA API Reference" of the Cloud Foundry documentation on
//! 2026-11-25.
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
//! Since 26.2, Keycloak accepts one audience only; the token URL also works. Keycloak accepts
//! assertions up to 60 seconds old, which those of this crate are not.
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
//! *Checked against* "Confidential client credentials" of the Keycloak server
//! administration guide on 2026-11-25.
//!
//! # Okta
//! Okta's own APIs accept `private_key_jwt` only (feature `jwt`). Ask for each scope by name,
//! and grant it to the app. New service apps require DPoP: see [below](#okta-with-dpop), or switch
//! off "Require Demonstrating Proof of Possession (DPoP) header in token requests".
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
//! ## Okta with DPoP
//! With the feature `dpop`, the same credentials request tokens that are bound to a key, and a
//! `DpopLayer` below the layer proves it to the API:
//! ```
//! # #[cfg(feature = "dpop")] {
//! use tower::ServiceBuilder;
//! use tower_bearer::{
//!     BearerAuthLayer, ClientAuth,
//!     ClientCredentials, Secret,
//!     client_credentials::SigningKey,
//!     dpop::{DpopKey, DpopLayer},
//! };
//!
//! # fn example<C: Clone>(client: C) -> Result<(), tower_bearer::Error> {
//! # #[cfg(feature = "rustls")] {
//! let jwk = Secret::from_file("/run/keys/okta.jwk.json");
//! let auth = ClientAuth::private_key_jwt(
//!     SigningKey::from_jwk(jwk),
//! );
//! let key = DpopKey::generate()?;
//! let credentials = ClientCredentials::builder(
//!     "https://{domain}.okta.com/oauth2/v1/token",
//!     "{client_id}",
//!     auth,
//! )
//! .scopes(["okta.users.read"])
//! .dpop(key.clone())
//! .build()?;
//! let service = ServiceBuilder::new()
//!     .layer(BearerAuthLayer::new(credentials))
//!     .layer(DpopLayer::new(key))
//!     .service(client);
//! # let _ = service; }
//! # Ok(()) }
//! # let _ = example::<()>; }
//! ```
//!
//! *Checked against* "Implement OAuth for Okta with a service app" of the Okta
//! developer documentation on 2026-11-25.
