//! Reads credentials, origins and cache settings from a service's configuration.

mod client_auth;
mod dpop;
mod fields;
mod grant;
#[cfg(feature = "shared")]
mod shared;
mod value;

use http::HeaderName;
use serde::Deserialize;
#[cfg(all(feature = "rustls-no-provider", feature = "shared"))]
use tower_layer::Layer;

#[cfg(feature = "dpop")]
use crate::dpop::{DpopKey, DpopLayer};
#[cfg(feature = "shared")]
use crate::shared::{Identity, SharedLayer};
use crate::{
    cache::{Schedule, TokenCache, TokenCacheBuilder},
    client_credentials::ClientCredentialsBuilder,
    error::Error,
    middleware::BearerAuthLayer,
    select::{Origins, RequestHead, Select},
    token::TokenSource,
};

/// Credentials, origins and cache settings, as part of a service's own configuration.
///
/// It deserializes from TOML, YAML, JSON, the environment, and any other self-describing format of serde.
///
/// # Example
/// ```
/// # #[cfg(feature = "rustls")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_bearer::config::Configuration;
///
/// #[derive(serde::Deserialize)]
/// struct Settings {
///     listen: std::net::SocketAddr,
///     auth: Configuration,
/// }
///
/// let settings = r#"{
///     "listen": "[::1]:8080",
///     "auth": {
///         "token_url": "https://auth.example.com/oauth2/token",
///         "client_id": "my-client",
///         "client_secret_env": "MY_CLIENT_SECRET",
///         "scopes": "billing ecommerce",
///         "origins": ["https://api.example.com"],
///         "cache": { "token_request_timeout": "5s" }
///     }
/// }"#;
/// let settings: Settings = serde_json::from_str(settings)?;
/// # // The variable is not set.
/// # let build = |settings: Settings| -> Result<(), tower_bearer::Error> {
/// let layer = settings.auth.layer()?;
/// # let _ = (layer, settings.listen);
/// # Ok(())
/// # };
/// # assert!(build(settings).unwrap_err().to_string().contains("MY_CLIENT_SECRET"));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "rustls"))]
/// # fn main() {}
/// ```
///
/// # Fields
/// Required: `client_id`, and one of `token_url` and `issuer`; but see [grants](#grants). Unknown fields and contradictory combinations are errors.
///
/// In a struct that flattens it (`#[serde(flatten)]`) it is not shown the fields that it does not know. There, put
/// `#[serde(deny_unknown_fields)]` on that struct, which then rejects them.
///
/// | field | meaning |
/// | --- | --- |
/// | `token_url`, `issuer` | the token endpoint; or the issuer, whose metadata names it: see [`ClientCredentials::discover`](crate::ClientCredentials::discover) |
/// | **`client_id`** | as for [`ClientCredentials::builder`](crate::ClientCredentials::builder) |
/// | `client_secret`, `client_secret_file`, `client_secret_env` | the secret itself, a file with it, or the name of an environment variable with it: see [`Secret`](crate::Secret) |
/// | `assertion_file` | a file with an assertion that another process keeps fresh: see [`ClientAuth::assertion_file`](crate::ClientAuth::assertion_file) |
/// | `private_key_file`, `private_key_jwk_file` | a file with a private key, in PEM or as a JWK (feature `jwt`) |
/// | `algorithm` | required with `private_key_file`: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA` or `Ed25519`; with `secret_jwt`: `HS256` (the default), `HS384` or `HS512` |
/// | `key_id`, `key_certificate_file`, `key_certificate_chain_file` | identify the private key: its `kid`, and its certificate in PEM, for `x5t#S256`; or the whole chain, for `x5c` as well |
/// | `assertion_audience` | the `aud` of an assertion that this crate signs: `"issuer"` (the default with `issuer`), `"token_endpoint"` (the default with `token_url`), or other text |
/// | `assertion_typ` | its `typ`: `"JWT"` or `"client-authentication+jwt"`, which is the default for the audience `"issuer"` |
/// | `assertion_claims` | a table of additional claims; a value is a string |
/// | `client_assertion_type` | the type of any assertion: see [`with_assertion_type`](crate::ClientAuth::with_assertion_type) |
/// | `omit_client_id` | `true`: an assertion is sent without the client id, see [`without_client_id`](crate::ClientAuth::without_client_id) |
/// | `client_auth` | the client authentication method: see below |
/// | `client_certificate_file`, `client_certificate_key_file` | the client certificate of the TLS connection and its key, in PEM (feature `rustls`) |
/// | `root_certificates_file` | trusted root certificates in PEM, instead of the platform's roots (feature `rustls`) |
/// | `proxy` | the URL of an HTTP proxy: see [`proxy`](ClientCredentialsBuilder#method.proxy) (feature `proxy`) |
/// | `proxy_from_environment` | `true`: see [`proxy_from_environment`](ClientCredentialsBuilder#method.proxy_from_environment) (feature `proxy`) |
/// | `grant_type` | another name of the client credentials grant: see [`grant_type`](ClientCredentialsBuilder::grant_type) |
/// | `token_exchange`, `jwt_bearer`, `google_service_account_file` | another grant: see [below](#grants) |
/// | `dpop` | `true`: tokens are bound to a generated key (feature `dpop`): see [`dpop`](Self#method.dpop) |
/// | `dpop_key_file`, `dpop_key_jwk_file` | a file with the key instead, in PEM or as a JWK, read when the configuration is deserialized |
/// | `dpop_algorithm` | of a generated key, or of `dpop_key_file`; `ES256` by default |
/// | `accept_bearer_tokens` | `true`: a token that is not bound is accepted too |
/// | `scopes`, `audience`, `resource` | lists, as for the [builder](ClientCredentialsBuilder) |
/// | `params` | a table of additional parameters; a value is a string or a list of strings |
/// | `keep` | a list of members of the token endpoint's answer: see [`keep`](ClientCredentialsBuilder::keep) |
/// | `user_agent`, `headers` | the `User-Agent` of requests to the authorization server, and a table of additional headers; a value is a string or a list of strings |
/// | `require_all_scopes` | `true`: see [`require_all_scopes`](ClientCredentialsBuilder::require_all_scopes) |
/// | `step_up_scopes` | a list: see [`step_up_scopes`](ClientCredentialsBuilder::step_up_scopes) |
/// | `answer_claims_challenges` | `true`: see [`answer_claims_challenges`](ClientCredentialsBuilder::answer_claims_challenges) |
/// | `token_header` | the header that the token goes into; `Authorization` by default: see [`header_name`](BearerAuthLayer::header_name) |
/// | `origins` | a list of the [origins](Origins) that the token is sent to, or `"any"` |
/// | `danger_allow_secret_over_plain_http`, `danger_allow_tokens_over_plain_http` | `true`: see [the builder](ClientCredentialsBuilder::danger_allow_secret_over_plain_http) and [the layer](BearerAuthLayer::danger_allow_tokens_over_plain_http) |
/// | `shared` | a table with the store of a fleet that shares one token (feature `shared`): see below |
/// | `cache` | a table of the settings of a [`TokenCacheBuilder`]: see below |
///
/// Give at most one of `client_secret…`, `assertion_file` and `private_key…`. Give none of them if the client authenticates
/// by its certificate alone, or not at all.
///
/// `client_auth` is one of these methods. The names that servers use, such as `client_secret_basic`, are accepted as well.
/// See [`ClientAuth`](crate::ClientAuth).
///
/// | credential | `client_auth` | default |
/// | --- | --- | --- |
/// | a secret | `post`, `basic`, `basic_raw`, `secret_jwt` (feature `jwt`) | not set: the secret is sent in the form |
/// | a private key | `private_key_jwt` | `private_key_jwt` |
/// | an assertion | `assertion`, `spiffe_jwt` | `assertion` |
/// | a client certificate alone | `tls` | `tls` |
/// | none | `none` | must be given |
///
/// # Grants
/// By default the grant is client credentials. At most one of these can be given instead. See the
/// [grants](crate::client_credentials::grant). With `token_url` and another grant, `client_id` may be left out: no client is sent
/// then. A public client has `client_auth = "none"`.
///
/// The table `token_exchange` has `subject_token_file` or `subject_token_env`, with `subject_token_type`; optionally
/// `actor_token_file` or `actor_token_env`, with `actor_token_type`; and `requested_token_type`. A type is a URI, or one of
/// `access_token`, `id_token`, `jwt`, `saml1` and `saml2`.
///
/// The table `jwt_bearer` has `assertion_file` or `assertion_env`, which a third party signs. Or the assertion is signed here
/// (feature `jwt`): `private_key_file` with `algorithm`, or `private_key_jwk_file`; `issuer`; and optionally `key_id`, `subject` or
/// `omit_subject`, `audience` (as `assertion_audience`), `typ`, `claims`, `lifetime` and `scopes_as_claim`.
///
/// `google_service_account_file` is the key file of a Google service account (feature `jwt`). It has the token URL and the account,
/// so neither `token_url` nor `client_id` is given. It is read when the configuration is deserialized.
///
/// # Tables
/// The table `cache` has the durations `token_request_timeout`, `default_lifetime`, `hard_margin`,
/// `transient_backoff`, `transient_backoff_max`, `permanent_backoff`, `permanent_backoff_max`, `longest_retry_after`,
/// `rejection_cool_down`, `rejection_cool_down_max` and `rejection_allowance_interval`; the fractions `refresh_at`,
/// `refresh_jitter` and `hard_margin_fraction`; the number `rejection_allowance`; and the `name` that
/// operators know the cache by. Omitted fields have the defaults of
/// [`TokenCacheBuilder`].
///
/// The table `shared` has the store, the key that seals what is in it, and its
/// `timeout`: 500 ms by default, and at most a twentieth of `token_request_timeout`. The store is `folder`, or a
/// Redis (feature `redis`): `redis_url`, `redis_url_file` or `redis_url_env`. Behind Sentinels they are `redis_sentinels`,
/// `redis_sentinels_file` or `redis_sentinels_env`, and the URL has the master's name for its address; for a Cluster,
/// `redis_cluster` is true. The URLs are those of [`SharedStore`](crate::shared::SharedStore). The key is `sealing_key`, `sealing_key_file` or
/// `sealing_key_env`. While keys are rotated, a second one that opens is `old_sealing_key`, `old_sealing_key_file` or
/// `old_sealing_key_env`.
///
/// # Value formats
/// - A duration includes its unit: `"10s"`, `"500ms"`, `"1h 30m"`.
/// - A list may be one string, with white space between its members. Numbers and booleans may be strings. Both help with
///   environment variables. The crate that reads the variables decides how they map to nested fields, as in
///   `APP__AUTH__CACHE__TOKEN_REQUEST_TIMEOUT`.
/// - A string field does not accept a number. Readers that convert number-like text, such as figment's `Env`, drop the
///   zeros of a secret such as `0042`. With figment, put quotes around the value in the variable.
/// - Most readers of environment variables convert the keys of `params` to lower case.
///
/// # Secrets
/// The type has no `Serialize`, so a dump of a service's settings cannot contain a secret. [`Debug`](std::fmt::Debug) shows
/// no secret, and errors quote no value of a field that may hold one. A format's parser may quote the line with the error,
/// as `toml` does. If the whole section is on one line, that includes its secret. Keep secrets in a file or an environment
/// variable.
///
/// A secret from a vault ([`Secret::from_provider`](crate::Secret::from_provider)), or a key in an external signer, cannot be
/// configured as text. Use [`ClientCredentials::builder`](crate::ClientCredentials::builder).
///
/// # Errors
/// Deserializing fails, and names the field, if a value is not valid or fields contradict each other. Files and the content
/// of values, such as an https URL, are checked when the credentials or the layer are built.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "fields::Fields")]
pub struct Configuration {
    credentials: ClientCredentialsBuilder,
    #[cfg(feature = "rustls-no-provider")]
    lacks_certificate: bool,
    /// `None` if `origins` is not given.
    destinations: Option<Destinations>,
    /// `None` for the usual one.
    token_header: Option<HeaderName>,
    tokens_over_plain_http: bool,
    #[cfg(feature = "dpop")]
    dpop_key: Option<DpopKey>,
    cache_name: Option<String>,
    schedule: Schedule,
    #[cfg(feature = "shared")]
    shared: Option<shared::Shared>,
}

impl Configuration {
    /// Returns the credentials, to add settings or to use a custom transport.
    pub fn credentials(&self) -> ClientCredentialsBuilder {
        self.credentials.clone()
    }

    /// Creates a cache builder around `source` with the settings of `cache`.
    pub fn cache<S: TokenSource>(&self, source: S) -> TokenCacheBuilder<S> {
        let cache = TokenCache::builder(source).schedule(self.schedule.clone());
        match &self.cache_name {
            Some(name) => cache.name(name),
            None => cache,
        }
    }

    /// Returns the layer that shares tokens as the table `shared` says, to put around a source. `None` if there is no such table.
    ///
    /// [`layer`](Self::layer) has it already. Use it with [`tower::util::option_layer`] around a source that you create.
    ///
    /// # Errors
    /// As for [`SharedStore`](crate::shared::SharedStore)'s constructors.
    #[cfg(feature = "shared")]
    pub fn shared(&self, identity: impl Into<Identity>) -> Result<Option<SharedLayer>, Error> {
        let Some(shared) = &self.shared else {
            return Ok(None);
        };
        Ok(Some(SharedLayer::new(
            identity,
            shared.store(self.schedule.token_request_timeout)?,
        )))
    }

    /// Returns the layer for the proofs at the API, to put below [`layer`](Self::layer). `None` if tokens are not bound to a key.
    ///
    /// Use it with [`tower::util::option_layer`], or `?` if the configuration must have a key.
    #[cfg(feature = "dpop")]
    #[must_use]
    pub fn dpop(&self) -> Option<DpopLayer> {
        self.dpop_key.clone().map(DpopLayer::new)
    }

    /// Returns the origins that the token is sent to.
    ///
    /// # Errors
    /// If `origins` is not given.
    pub fn destinations(&self) -> Result<Destinations, Error> {
        self.destinations.clone().ok_or_else(|| {
            Error::configuration(
                "`origins` is missing; list the origins that the token is sent to, as in [\"https://api.example.com\"], or use \
                 \"any\" if the client talks to one API only",
            )
        })
    }

    /// Builds the layer: credentials over the default transport, cache and origins.
    ///
    /// # Errors
    /// As for [`ClientCredentialsBuilder::build`], and if `origins` is not given.
    #[cfg(feature = "rustls-no-provider")]
    pub fn layer(&self) -> Result<BearerAuthLayer<Destinations>, Error> {
        if self.lacks_certificate {
            return Err(Error::configuration(
                "`client_auth` is tls, but there is no client certificate; give `client_certificate_file` and \
                 `client_certificate_key_file`",
            ));
        }
        let credentials = self.credentials().build()?;
        #[cfg(feature = "shared")]
        if let Some(shared) = self.shared(&credentials)? {
            return self.layer_around(shared.layer(credentials));
        }
        self.layer_around(credentials)
    }

    /// Builds the layer around a source that you create, usually from [`credentials`](Self::credentials).
    ///
    /// Use it for a custom transport. It does not share tokens by itself.
    ///
    /// # Errors
    /// If `origins` is not given.
    pub fn layer_around(
        &self,
        source: impl TokenSource,
    ) -> Result<BearerAuthLayer<Destinations>, Error> {
        let destinations = self.destinations()?;
        let cache = self.cache(source).build()?;
        let mut layer = BearerAuthLayer::from_cache(cache).select(destinations);
        if let Some(name) = &self.token_header {
            layer = layer.header_name(name.clone());
        }
        Ok(match self.tokens_over_plain_http {
            true => layer.danger_allow_tokens_over_plain_http(),
            false => layer,
        })
    }
}

/// Selects the requests to the `origins` of a [`Configuration`], or all if it is `"any"`.
#[derive(Clone, Debug)]
pub struct Destinations(
    /// `None` selects every request.
    Option<Origins>,
);

impl Select for Destinations {
    type Key = ();

    fn select(&self, request: &RequestHead<'_>) -> Option<()> {
        match &self.0 {
            Some(origins) => origins.select(request),
            None => Some(()),
        }
    }
}
