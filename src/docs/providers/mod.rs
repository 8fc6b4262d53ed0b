//! Providers: recipes for well-known authorization servers.
//!
//! Replace what is in braces. Scopes and audiences are examples. Each recipe ends before
//! `build`, which is the same for all. Servers change; their own documentation is decisive.
//! Each recipe names the page that it was checked against, and the day.
//!
//! | server | client authentication | what is special |
//! | --- | --- | --- |
//! | [Amazon Cognito](platforms#amazon-cognito) | secret by Basic | scopes of a resource server; tokens cost money |
//! | [Apigee](apis#apigee) | secret | `token_type` is `BearerToken` |
//! | [Auth0](platforms#auth0) | secret or private key | `audience`; tokens cost money |
//! | [Cloud Foundry UAA](platforms#cloud-foundry-uaa) | secret by Basic | opaque tokens by a parameter |
//! | [Google](workloads#google) | none, or a key | token exchange, JWT bearer, or a metadata server |
//! | [IPXO](apis#ipxo) | secret in the form | one credential a company; [a preset](crate::ipxo) |
//! | [Keycloak](platforms#keycloak) | secret, private key, certificate, federated assertion | the assertion's audience |
//! | [Kubernetes](workloads#kubernetes) | a projected token | the client id, or none |
//! | [MCP servers](apis#mcp-servers) | secret or private key | `resource`, step-up scopes |
//! | [Microsoft Entra ID](entra) | secret, certificate, federated assertion, managed identity | one scope that ends in `/.default` |
//! | [Okta](platforms#okta) | private key; secret for custom servers | DPoP by default |
//! | [Salesforce](apis#salesforce) | secret in the form, or a key | no lifetime; the API's host is in the answer |
//! | [ServiceNow](apis#servicenow) | secret in the form | off by default |
//! | [SMART on FHIR](apis#smart-on-fhir) | private key, RS384 or ES384 | the token URL as audience |
//! | [SPIFFE](workloads#spiffe) | a JWT-SVID or a certificate | another assertion type |
//! | [Zoom](apis#zoom) | secret by Basic | another `grant_type` |
//! | [any other](#any-other-server) | secret | |
//!
//! Where secrets are kept, a private CA, and many credentials behind one layer are in the
//! chapter [credentials](super::credentials). What servers do otherwise than the standards say is
//! in the table of [quirks](super::quirks).
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
//! If the server answers `invalid_client`, see
//! [troubleshooting](super::troubleshooting#invalid_client).

pub mod apis;
pub mod entra;
pub mod platforms;
pub mod workloads;
