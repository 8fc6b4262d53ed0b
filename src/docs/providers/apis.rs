//! APIs with an authorization server of their own: Apigee, IPXO, MCP servers, Salesforce,
//! ServiceNow, SMART on FHIR and Zoom.
//!
//! # Apigee
//! The owner of the API's proxy chooses the token endpoint, and whether the secret goes into a
//! Basic header or into the form. Some proxies want the grant type in the query of the URL: write it
//! into the token URL.
//! ```
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials,
//! };
//!
//! let credentials = ClientCredentials::builder(
//!     "https://{host}/oauth/token",
//!     "{consumer_key}",
//!     ClientAuth::basic("{consumer_secret}"),
//! );
//! # let _ = credentials;
//! ```
//! The answer's `token_type` is `BearerToken`, unless the policy sets
//! `RFCCompliantRequestResponse`, and its numbers may be strings. Both are understood.
//!
//! *Checked against* "OAuthV2 policy" of the Apigee documentation on 2026-11-25.
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
//! - A credential belongs to one company. With several companies, use several credentials:
//!   [many credentials](super::super::credentials#many-credentials).
//! - A scope that is not requested is not granted, and the API answers 403 later.
//! - A token lasts 24 hours. If its scopes change, or it is revoked, the API's 401 replaces it.
//!
//! *Checked against* "API Authorization" of developer.ipxo.com, and apidocs.ipxo.com/guides/auth,
//! on 2026-11-25.
//!
//! # MCP servers
//! The extension *OAuth client credentials* of the Model Context Protocol. The MCP server's
//! protected resource metadata ([RFC 9728]) names the authorization server: look it up once, and
//! write its issuer down. `resource` is the MCP server's own URL ([RFC 8707]).
//! ```
//! use tower_bearer::ClientCredentials;
//!
//! let credentials = ClientCredentials::discover(
//!     "https://{issuer}",
//!     "{client_id}",
//!     "{client_secret}",
//! )
//! .resource("https://{host}/mcp")
//! .scopes(["mcp:read"])
//! .step_up_scopes(["mcp:write"]);
//! # let _ = credentials;
//! ```
//! - A server that needs more scopes for a call answers 403 with `insufficient_scope`.
//!   [`step_up_scopes`] says which of them may then be requested, and the call is retried once.
//! - With discovery, the secret goes where the server's metadata says: usually into a Basic
//!   header, although the extension's example has it in the form. If the server wants the client
//!   id there as well, add `.param("client_id", "{client_id}")` to
//!   [`ClientAuth::basic`](crate::ClientAuth::basic).
//! - The extension recommends a private key (feature `jwt`), and leaves the client id out:
//!   `ClientAuth::private_key_jwt(key).without_client_id()`. After discovery, the assertion's
//!   audience is the issuer.
//! - Pin the MCP server's origin: [`origins`](crate::BearerAuthLayer::origins). A token must not
//!   go to another server.
//!
//! *Checked against* "Authorization" and "OAuth Client Credentials Extension" of the
//! Model Context Protocol (2026-07-28) on 2026-11-25.
//!
//! [RFC 8707]: https://www.rfc-editor.org/rfc/rfc8707
//! [RFC 9728]: https://www.rfc-editor.org/rfc/rfc9728
//! [`step_up_scopes`]: crate::client_credentials::ClientCredentialsBuilder::step_up_scopes
//!
//! # Salesforce
//! Token endpoint: `https://{my_domain}.my.salesforce.com/services/oauth2/token`.
//!
//! Enable the client credentials flow of the external client app, and choose the user that it
//! runs as. The answer says where the API is, and gives no lifetime: a token lasts as long as
//! a session of that user. Set
//! [`default_lifetime`](crate::cache::TokenCacheBuilder::default_lifetime) to the session
//! timeout that your organization has.
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
//! With a certificate instead of a secret, use the JWT bearer grant (feature `jwt`): the app's key
//! signs for a user who has approved it beforehand.
//! ```
//! # #[cfg(feature = "jwt")] {
//! use tower_bearer::{
//!     ClientCredentials, Secret,
//!     client_credentials::{
//!         JwtBearer, SigningAlgorithm, SigningKey,
//!     },
//! };
//!
//! let pem = Secret::from_file("/run/keys/app.pem");
//! let key = SigningKey::from_pem(
//!     SigningAlgorithm::Rs256,
//!     pem,
//! );
//! let user =
//!     JwtBearer::signed_by(key, "{consumer_key}")
//!         .with_subject("{user}")
//!         .with_audience("https://login.salesforce.com");
//! let url = "https://{my_domain}.my.salesforce.com\
//!     /services/oauth2/token";
//! let credentials =
//!     ClientCredentials::without_client(url)
//!         .grant(user)
//!         .keep(["instance_url"]);
//! # let _ = credentials; }
//! ```
//! The audience of a sandbox is `https://test.salesforce.com`.
//!
//! *Checked against* "Step Three: Connect to Connect REST API Using OAuth" and "OAuth 2.0 JWT Bearer
//! Flow for Server-to-Server Integration" of the Salesforce documentation on 2026-11-25.
//!
//! # ServiceNow
//! Token endpoint: `https://{instance}.service-now.com/oauth_token.do`.
//!
//! The grant is off by default. An administrator sets the system property
//! `glide.oauth.inbound.client.credential.grant_type.enabled`, and names the *OAuth application
//! user* in the application registry: the token acts as that user.
//! ```
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials,
//! };
//!
//! let url = "https://{instance}.service-now.com\
//!     /oauth_token.do";
//! let credentials = ClientCredentials::builder(
//!     url,
//!     "{client_id}",
//!     ClientAuth::post("{client_secret}"),
//! );
//! # let _ = credentials;
//! ```
//!
//! *Checked against* "Client Credentials" of the ServiceNow platform security
//! documentation, and its knowledge article KB2058936, on 2026-11-25.
//!
//! # SMART on FHIR
//! *Backend services* authenticate by a private key (feature `jwt`), with RS384 or ES384, and
//! request `system/` scopes. The FHIR server's `.well-known/smart-configuration` names the token
//! endpoint. [`discover`](crate::ClientCredentials::discover) does not look there: write the token
//! URL down.
//! ```
//! # #[cfg(feature = "jwt")] {
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials, Secret,
//!     client_credentials::{
//!         SigningAlgorithm, SigningKey,
//!     },
//! };
//!
//! let pem = Secret::from_file("/run/keys/fhir.pem");
//! let key = SigningKey::from_pem(
//!     SigningAlgorithm::Es384,
//!     pem,
//! )
//! .with_key_id("{kid}");
//! let auth = ClientAuth::private_key_jwt(key)
//!     .without_client_id();
//! let credentials = ClientCredentials::builder(
//!     "https://{host}/auth/token",
//!     "{client_id}",
//!     auth,
//! )
//! .scopes(["system/Patient.rs"]);
//! # let _ = credentials; }
//! ```
//! - The assertion has the older form: the token URL as audience, and the type `JWT`. Those are
//!   the defaults for a token URL.
//! - The profile's request has no `client_id` in the form. Servers that want one are told by
//!   leaving out `without_client_id`.
//! - The recommended lifetime of a token is five minutes. No request waits for its refresh.
//!
//! *Checked against* "Backend Services" and "Example Backend Services Flow" of SMART
//! App Launch 2.2.0 on 2026-11-25.
//!
//! # Zoom
//! Token endpoint: `https://zoom.us/oauth/token`.
//!
//! A *server-to-server OAuth* app has the client credentials grant by another name. The scopes
//! are chosen in the app. The answer says where the API is.
//! ```
//! use tower_bearer::{
//!     ClientAuth, ClientCredentials,
//! };
//!
//! let credentials = ClientCredentials::builder(
//!     "https://zoom.us/oauth/token",
//!     "{client_id}",
//!     ClientAuth::basic("{client_secret}"),
//! )
//! .grant_type("account_credentials")
//! .param("account_id", "{account_id}")
//! .keep(["api_url"]);
//! # let _ = credentials;
//! ```
//! A token lasts one hour, and stops working when the app is deactivated.
//!
//! *Checked against* "Server-to-Server OAuth" of the Zoom developer documentation on
//! 2026-11-25.
