//! Workload identities: Google, Kubernetes and SPIFFE. No secret is kept.
//!
//! # Google
//! Google's APIs have no client credentials grant, so
//! [`ClientCredentials`](crate::ClientCredentials) alone does not fit. On Google's own machines,
//! the metadata server gives a token without a secret:
//! [a metadata server](super::super::writing_a_source#a-metadata-server) has the code.
//!
//! Elsewhere, a service account signs a JWT that *is* the grant ([RFC 7523 §2.1]); workload
//! identity federation is a token exchange ([RFC 8693]).
//!
//! *Checked against* "Using OAuth 2.0 for Server to Server Applications" (Google
//! Identity) and "Method: token" (Security Token Service API) on 2026-11-25.
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
