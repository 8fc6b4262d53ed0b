//! Credentials: where to keep secrets, a private CA, many credentials behind one layer.
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
