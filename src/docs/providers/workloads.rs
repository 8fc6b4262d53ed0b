//! Workload identities: Google, Kubernetes and SPIFFE. No secret is kept.
//!
//! # Google
//! Google's token endpoints have no client credentials grant. Three ways lead to a token:
//!
//! | where the program runs | use |
//! | --- | --- |
//! | on Google's machines | [the metadata server](#the-metadata-server) |
//! | elsewhere, with an identity of its platform | [workload identity federation](#workload-identity-federation) |
//! | elsewhere, with a key file | [a service account's key](#a-service-accounts-key) |
//!
//! ## The metadata server
//! It gives a machine's token without a secret, by a protocol of its own:
//! [a metadata server](super::super::writing_a_source#a-metadata-server) has the code.
//!
//! ## Workload identity federation
//! A token exchange ([RFC 8693]): Google trusts the issuer of a token that the workload has, here
//! the projected token of a pod in any Kubernetes. There is no client. `audience` is the full name
//! of the provider in the pool, without `https:`.
//! ```
//! use tower_bearer::{
//!     ClientCredentials, Secret,
//!     client_credentials::{
//!         TokenExchange, TokenType,
//!     },
//! };
//!
//! let pool = "//iam.googleapis.com/projects\
//!     /{project_number}/locations/global\
//!     /workloadIdentityPools/{pool}\
//!     /providers/{provider}";
//! let pod = Secret::from_file(
//!     "/var/run/secrets/tokens/google",
//! );
//! let exchange =
//!     TokenExchange::new(pod, TokenType::Jwt)
//!         .with_requested_type(TokenType::AccessToken);
//! let federated = ClientCredentials::without_client(
//!     "https://sts.googleapis.com/v1/token",
//! )
//! .grant(exchange)
//! .audience(pool)
//! .scopes([
//!     "https://www.googleapis.com/auth/cloud-platform",
//! ]);
//! # let _ = federated;
//! ```
//! - The token is used no longer than the subject token is valid.
//! - From Azure, the subject token is that of a managed identity,
//!   [`Secret::from_cache`](crate::Secret::from_cache) of
//!   [its cache](super::entra#a-managed-identity). In GitHub Actions, fetch it with
//!   [`Secret::from_provider`](crate::Secret::from_provider).
//! - The pool's principal needs access to the API itself. *Service account impersonation* is one
//!   more call, in JSON: write a [source](super::super::writing_a_source) that has this
//!   credential's cache.
//!
//! *Checked against* "Method: token" of the Security Token Service API on 2026-11-25.
//!
//! ## A service account's key
//! The account signs a JWT that *is* the grant ([RFC 7523 §2.1]; feature `jwt`). Google advises
//! against key files where one of the other ways is possible.
//! ```
//! # #[cfg(feature = "jwt")]
//! # fn example() -> Result<(), tower_bearer::Error> {
//! use tower_bearer::{
//!     Secret,
//!     client_credentials::google_service_account,
//! };
//!
//! let file =
//!     Secret::from_file("/run/secrets/google.json");
//! let account = google_service_account(file)?
//!     .scopes([
//!         "https://www.googleapis.com/auth/cloud-platform",
//!     ]);
//! # let _ = account;
//! # Ok(())
//! # }
//! ```
//! For *domain-wide delegation*, sign for the user with `JwtBearer::with_subject`, and put the
//! scopes into the assertion: `with_scopes_as_claim`.
//!
//! *Checked against* "Using OAuth 2.0 for Server to Server Applications" (Google Identity) on
//! 2026-11-25.
//!
//! [RFC 7523 §2.1]: https://www.rfc-editor.org/rfc/rfc7523#section-2.1
//! [RFC 8693]: https://www.rfc-editor.org/rfc/rfc8693
//!
//! # Kubernetes
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
//! *Checked against* "Confidential client credentials" of the Keycloak server administration
//! guide on 2026-11-25; not checked against Kubernetes' own documentation.
//!
//! [RFC 7523 §3]: https://www.rfc-editor.org/rfc/rfc7523#section-3
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
//! Not checked against SPIRE's documentation.
