//! DPoP: tokens that are of no use to a thief.
//!
//! A bearer token is good for anyone who has it: from a log, a proxy, a memory dump. A token that
//! is bound to a key ([RFC 9449]) needs a proof by that key with each request, and the key
//! does not leave the client.
//!
//! # When to use it
//! - The authorization server or the API demands it: Okta does by default for new API
//!   services, and FAPI 2.0 demands it or mTLS.
//! - Others may see a token on its way or at rest, and its lifetime cannot be short enough.
//!
//! mTLS ([`ClientAuth::tls`](crate::ClientAuth::tls)) binds tokens as well. It signs once for
//! each connection, but needs TLS from the client to the API without a proxy that ends it.
//!
//! # How
//! One [`DpopKey`](crate::dpop::DpopKey), in two places:
//! ```
//! use tower::ServiceBuilder;
//! use tower_bearer::{
//!     BearerAuthLayer, ClientCredentials,
//!     dpop::{DpopKey, DpopLayer},
//! };
//!
//! # fn main() -> Result<(), tower_bearer::Error> {
//! # #[cfg(feature = "rustls")] {
//! # let client = tower::service_fn(|_: http::Request<String>| async { Ok::<_, std::io::Error>(http::Response::new(String::new())) });
//! let key = DpopKey::generate()?;
//! let url = "https://auth.example.com/token";
//! let source = ClientCredentials::builder(url, "id", "secret")
//!     .dpop(key.clone())
//!     .build()?;
//! let service = ServiceBuilder::new()
//!     .layer(BearerAuthLayer::new(source))
//!     .layer(DpopLayer::new(key))
//!     .service(client);
//! # fn is_a_service<S: tower::Service<http::Request<String>>>(_: S) {}
//! # is_a_service(service);
//! # }
//! # Ok(())
//! # }
//! ```
//! The [`DpopLayer`](crate::dpop::DpopLayer) is *below* the
//! [`BearerAuthLayer`](crate::BearerAuthLayer), and below whatever else sends a request again:
//! a server takes each proof once. So no client below it may retry or follow redirects.
//!
//! | stack | how |
//! | --- | --- |
//! | hyper-util, any tower client | as above |
//! | reqwest | both layers around a `ReqwestService`, both with `.replay(ReusableBody)` |
//! | reqwest-middleware | `.with(BearerAuthLayer::new(source)).with(DpopLayer::new(key))`, and `reqwest-retry` before them |
//! | tonic | a `GrpcAuthLayer`, and a `DpopLayer` with `.replay(Messages::up_to(65536))` and the API's [`origin`](crate::dpop::DpopLayer::origin) |
//!
//! The example `dpop` in the repository has a complete program, with servers that check proofs
//! and change their nonces.
//!
//! # Nonces and clocks
//! A server may demand a nonce of its own in each proof (`use_dpop_nonce`), and it rejects
//! proofs whose time is off. Then the proof is made again once, with the nonce, or with the
//! time of the server's `Date`. The newest nonce of each origin is kept from any response. A
//! proof that is rejected is no rejection of the token: it causes no token request.
//!
//! # What it costs
//! - A signature for each request, on the thread that sends: 33 µs with ES256, 44 µs with
//!   EdDSA, 0.6 to 0.8 ms with ES384, RS256 and PS256 (`cargo bench --bench dpop`,
//!   25 November 2026, AMD EPYC).
//! - If the API demands nonces, the first request to each origin is sent twice, and so is one
//!   that meets a new nonce. At worst, a request is sent four times: two proofs and the token
//!   rejected.
//! - What a retry needs of the request, a second time: [`Buffered`](crate::replay::Buffered)
//!   keeps another copy of the body.
//!
//! # Many credentials, many processes
//! One key can serve all credentials of a process. For a key per credential, put it into the
//! request's extensions: a [`DpopKey`](crate::dpop::DpopKey) there takes precedence over the
//! layer's.
//!
//! A token that is shared by a fleet is of use to holders of its key alone. So
//! the processes need one key, from a file or a signer. With a generated key, nothing is
//! shared: each process requests tokens for itself, and an event says so.
//!
//! # Proxies
//! The URI in a proof (`htu`) is that of the request as the layer sees it: scheme, host, port
//! and path, without the query. A `Host` header comes before the URI's own host. An API behind
//! a proxy must know its public URI. If the client reaches it by another name, set the
//! [`origin`](crate::dpop::DpopLayer::origin).
//!
//! # Recipes
//! | server | what to set there | here |
//! | --- | --- | --- |
//! | Okta | nothing: *Require DPoP* is on for new API services | `ClientAuth::private_key_jwt`, `.dpop(key)`; the token endpoint demands a nonce |
//! | Auth0 | *Require Token Sender-Constraining* by DPoP, of the application or the API | `.audience(…)`, `.dpop(key)` |
//! | Keycloak 26.4 or later | *Require DPoP bound tokens* of the client | `.dpop(key)`; proofs are good for ten seconds |
//! | FAPI 2.0 | the profile demands `private_key_jwt` or mTLS, and the issuer as audience | see below |
//!
//! Not run against Okta, Auth0 or Keycloak; oidc-provider is, with nonces and without.
//!
//! A FAPI 2.0 client:
//! ```
//! use tower_bearer::{
//!     ClientCredentials, Secret,
//!     client_credentials::{Assertion, AssertionAudience, SigningAlgorithm, SigningKey},
//!     dpop::DpopKey,
//! };
//!
//! # fn main() -> Result<(), tower_bearer::Error> {
//! let client_key = Secret::from_file("/run/keys/client.pem");
//! let client_key = SigningKey::from_pem(SigningAlgorithm::Ps256, client_key);
//! let assertion = Assertion::signed_by(client_key).with_audience(AssertionAudience::Issuer);
//! let issuer = "https://auth.example.com";
//! let credentials = ClientCredentials::discover(issuer, "my-client", assertion)
//!     .scopes(["accounts"])
//!     .dpop(DpopKey::generate()?);
//! # let _ = credentials;
//! # Ok(())
//! # }
//! ```
//!
//! # If it fails
//! | error | reason |
//! | --- | --- |
//! | `the server requires DPoP of this client` | the credentials have no key: `.dpop(key)` |
//! | `… was sent a DPoP proof and returned a bearer token` | the server does not bind this client's tokens: change that, or `accept_bearer_tokens` |
//! | 401 of the API, `invalid_token`, with each token | the layer has another key than the credentials, or there is no `DpopLayer` |
//! | 401 of the API, `invalid_dpop_proof` | usually the API knows itself by another URI: see [proxies](#proxies) |
//!
//! [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449
