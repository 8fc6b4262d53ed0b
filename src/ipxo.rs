//! Preset for the IPXO APIs.
//!
//! The IPXO portal issues client credentials under Integrations: one client per company. Tokens are valid for a day, within
//! their scopes.
//!
//! # Example
//! ```
//! use tower_bearer::ipxo::{self, scope};
//!
//! # fn main() -> Result<(), tower_bearer::Error> {
//! # #[cfg(feature = "rustls")] {
//! let source = ipxo::credentials("client-id", "client-secret", [scope::BILLING, scope::ECOMMERCE]).build()?;
//! let layer = ipxo::layer(source);
//! # let _ = layer;
//! # }
//! # Ok(())
//! # }
//! ```
//! To use another token URL, change it on the builder that [`credentials`] returns. To use another origin, call
//! [`BearerAuthLayer::select`]. For another client authentication method, start with [`ClientCredentials::builder`] and
//! [`TOKEN_URL`].
//!
//! Source: <https://apidocs.ipxo.com/guides/auth>.

#[cfg(feature = "keyed")]
use crate::{
    cache::Keyed,
    replay::CloneBody,
    select::{And, RequestHead, Select},
    unauthorized::BearerChallenge,
};
use crate::{
    client_credentials::{ClientAuth, ClientCredentials, ClientCredentialsBuilder, Secret},
    middleware::BearerAuthLayer,
    select::Origins,
    token::TokenSource,
};

/// The token endpoint, an Ory Hydra server.
pub const TOKEN_URL: &str = "https://hydra.ipxo.com/oauth2/token";

/// The origin of the API gateway.
pub const API: &str = "https://apigw.ipxo.com";

const API_HOST: &str = "apigw.ipxo.com";

/// Scopes that IPXO's guides name; any other string is accepted as well.
pub mod scope {
    /// Invoices and payments.
    pub const BILLING: &str = "billing";
    /// Credits, as in `POST …/orders/{order}/credits/apply`.
    pub const CREDITS: &str = "credits";
    /// DNS; named in an older guide.
    pub const DNS: &str = "dns";
    /// Carts and orders.
    pub const ECOMMERCE: &str = "ecommerce";
    /// Network data.
    pub const NETHUB_DATA: &str = "nethub-data";
}

/// Creates credentials for [`TOKEN_URL`], with the id and the secret in the form body.
///
/// Request each scope that you need. A missing scope causes no error here; the API answers 403 later.
pub fn credentials<I>(
    client_id: impl Into<String>,
    client_secret: impl Into<Secret>,
    scopes: I,
) -> ClientCredentialsBuilder
where
    I: IntoIterator,
    I::Item: Into<String>,
{
    ClientCredentials::builder(TOKEN_URL, client_id, ClientAuth::post(client_secret)).scopes(scopes)
}

/// Creates a layer that sends its token only to [`API`].
pub fn layer(source: impl TokenSource) -> BearerAuthLayer<Origins> {
    BearerAuthLayer::new(source).select(Origins::https(API_HOST))
}

/// Creates a layer for many companies, which selects the token by the tenant in the path.
///
/// An example of a path is `/ecommerce/public/{tenant_uuid}/cart`. Tokens are sent only to [`API`]; a request without a
/// tenant in its path gets no token.
///
/// # Deployment caveat
/// As for [`ByTenant`]: the path of a request decides which company's token it gets.
///
/// # Example
/// ```
/// use tower_bearer::{cache::Keyed, ipxo, token::Lookup, TokenCache};
///
/// # #[derive(Clone)] struct Vault;
/// # impl Vault { async fn credentials_of(&self, _: &str) -> Result<(String, String), std::io::Error> { unimplemented!() } }
/// # #[cfg(feature = "rustls")]
/// # fn layer(vault: Vault) -> impl Sized {
/// let companies = Keyed::new(move |tenant: &String| {
///     let (tenant, vault) = (tenant.clone(), vault.clone());
///     TokenCache::new(Lookup::new(move || {
///         let (tenant, vault) = (tenant.clone(), vault.clone());
///         async move {
///             let (id, secret) = vault.credentials_of(&tenant).await?;
///             Ok(ipxo::credentials(id, secret, [ipxo::scope::ECOMMERCE]).build()?)
///         }
///     }))
/// });
/// let layer = ipxo::tenants(companies);
/// # layer
/// # }
/// ```
#[cfg(feature = "keyed")]
pub fn tenants(
    companies: Keyed<String>,
) -> BearerAuthLayer<And<Origins, ByTenant>, BearerChallenge, CloneBody, Keyed<String>> {
    BearerAuthLayer::keyed(companies, Origins::https(API_HOST).and(ByTenant))
}

/// Selects requests by the tenant in their path, `/{api}/public/{tenant}/…`.
///
/// It does not check the host; combine it with [`Origins`]. A request with any other path gets no token.
///
/// # Deployment caveat
/// Do not use it for untrusted paths: a request gets the token of the tenant that its path names. A proxy that forwards paths
/// must first check that its caller may act for the tenant.
///
/// # Example
/// ```
/// use tower_bearer::{ipxo::ByTenant, select::{RequestHead, Select}};
///
/// let tenant_of = |uri: &str| {
///     let request = http::Request::get(uri).body(())?;
///     Ok::<_, http::Error>(ByTenant.select(&RequestHead::from(&request)))
/// };
/// assert_eq!(tenant_of("/ecommerce/public/3f0c8c8e/cart")?.as_deref(), Some("3f0c8c8e"));
/// assert_eq!(tenant_of("/ecommerce/orders/17/checkout")?, None);
/// # Ok::<(), http::Error>(())
/// ```
#[cfg(feature = "keyed")]
#[derive(Clone, Copy, Debug)]
#[allow(
    clippy::exhaustive_structs,
    reason = "named as a value, it has nothing to add to"
)]
pub struct ByTenant;

#[cfg(feature = "keyed")]
impl Select for ByTenant {
    type Key = String;

    fn select(&self, request: &RequestHead<'_>) -> Option<String> {
        let mut segments = request.uri().path().split('/').skip(2);
        let (public, tenant) = (segments.next()?, segments.next()?);
        (public == "public" && !tenant.is_empty()).then(|| tenant.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::select::{RequestHead, Select};

    #[test]
    fn the_layers_origin_is_the_gateways() {
        let request = Request::get(format!("{API}/ecommerce/public/t/cart"))
            .body(())
            .unwrap();
        assert!(
            Origins::https(API_HOST)
                .select(&RequestHead::from(&request))
                .is_some()
        );
    }
}
