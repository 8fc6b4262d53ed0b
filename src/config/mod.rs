//! What a service's own configuration says of its tokens.

mod client_auth;
mod fields;
mod value;

use serde::Deserialize;

use crate::{
    cache::{Schedule, TokenCache, TokenCacheBuilder},
    client_credentials::ClientCredentialsBuilder,
    error::Error,
    middleware::BearerAuthLayer,
    select::{Origins, RequestHead, Select},
    token::TokenSource,
};

/// Credentials, the origins that the token goes to, and a cache's numbers, as part of a service's own configuration: TOML,
/// YAML, JSON, the environment, or whatever else serde reads and says its own types of.
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
/// All of them are optional but for the one in bold type, and one of the first two. Others are errors, as is what does not
/// go together.
///
/// | field | is |
/// | --- | --- |
/// | `token_url`, `issuer` | the token endpoint, or whose metadata names it: see [`ClientCredentials::discover`](crate::ClientCredentials::discover) |
/// | **`client_id`** | as for [`ClientCredentials::builder`](crate::ClientCredentials::builder) |
/// | `client_secret`, `client_secret_file`, `client_secret_env` | the secret; its file; the environment variable that it is in: [`Secret`](crate::Secret) |
/// | `assertion_file` | an assertion that somebody else keeps fresh: [`ClientAuth::assertion_file`](crate::ClientAuth::assertion_file) |
/// | `private_key_file`, `private_key_jwk_file` | a private key in PEM, or as a JWK (feature `jwt`) |
/// | `algorithm` | beside `private_key_file`, where it has to be: `RS256`, `PS256`, `ES256` or `EdDSA` |
/// | `key_id`, `key_certificate_file` | what names the private key: `kid`, and `x5t#S256` by its certificate in PEM |
/// | `assertion_audience` | the `aud` of an assertion that is signed here; the token URL by default |
/// | `client_auth` | how the proof is sent: see below |
/// | `client_certificate_file`, `client_certificate_key_file` | the connection's client certificate, in PEM, and its key (feature `rustls`) |
/// | `root_certificates_file` | what the connection trusts in place of the platform's roots, in PEM (feature `rustls`) |
/// | `scopes`, `audience`, `resource` | lists, as for the [builder](ClientCredentialsBuilder) |
/// | `params` | a table of more parameters; the value is a string, or a list of them |
/// | `require_all_scopes` | `true`: see [`require_all_scopes`](ClientCredentialsBuilder::require_all_scopes) |
/// | `origins` | a list of the [origins](Origins) that the token goes to, or `"any"` |
/// | `danger_allow_secret_over_plain_http`, `danger_allow_tokens_over_plain_http` | `true`: see [the builder](ClientCredentialsBuilder::danger_allow_secret_over_plain_http) and [the layer](BearerAuthLayer::danger_allow_tokens_over_plain_http) |
/// | `cache` | a table of the numbers of a [`TokenCacheBuilder`]: see below |
///
/// Of `client_secret…`, `assertion_file` and `private_key…` there is one, or none where a client certificate is the proof.
///
/// `client_auth` is `post`, `basic`, `basic_raw` or `secret_jwt` (feature `jwt`) beside a secret, which is left open by
/// default and then goes into the form; `private_key_jwt` beside a private key and `assertion` beside an assertion, where
/// nothing else can be; `tls` beside a client certificate alone; or `none`, for a client without a proof, which has to be
/// said. The names that servers have for them, such as `client_secret_basic`, do as well. See
/// [`ClientAuth`](crate::ClientAuth).
///
/// In `cache` are, each by its own: the durations `token_request_timeout`, `default_lifetime`, `hard_margin`,
/// `transient_backoff`, `transient_backoff_max`, `permanent_backoff`, `permanent_backoff_max`, `longest_retry_after`,
/// `rejection_cool_down`, `rejection_cool_down_max` and `rejection_allowance_interval`; the fractions `refresh_at`,
/// `refresh_jitter` and `hard_margin_fraction`; and the number `rejection_allowance`. What is left out is as it is by default.
///
/// # How values are written
/// - A duration has its unit: `"10s"`, `"500ms"`, `"1h 30m"`.
/// - A list may be one string with white space between its members, as the environment has it. Numbers and booleans may be
///   strings. Where nested fields are variables, as `APP__AUTH__CACHE__EXCHANGE_TIMEOUT`, is the business of the crate that
///   reads them.
/// - A string must be one: a source that makes numbers of what looks like them, as figment's `Env` does, has lost the zeros
///   of a secret such as `0042` by then. It is an error here; with figment such a value has quotes in the variable.
/// - The keys of `params` come from the environment in whatever case its reader makes of them: mostly lower case.
///
/// # Secrets
/// It can be read, and not written: there is no `Serialize`, so that no dump of a service's settings has a secret in it, and
/// none that leaves the secret out is taken for a configuration that works. [`Debug`](std::fmt::Debug) shows none, and the
/// errors quote no value of a field that may hold one. A format's reader may add the line that an error is about, as `toml`
/// does, and with a section on a single line that is all of it: a secret is better kept in a file or a variable of its own.
///
/// A secret from a vault ([`Secret::provider`](crate::Secret::provider)), or a key that somebody else holds, cannot be said
/// in text: use [`ClientCredentials::builder`](crate::ClientCredentials::builder).
///
/// # Errors
/// What is wrong with a field, or goes with another, is an error when it is read, with the field's name. What a field refers
/// to, such as a file, and what its content has to be, such as an https URL, is looked at when something is built of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "fields::Fields")]
pub struct Configuration {
    credentials: ClientCredentialsBuilder,
    #[cfg(feature = "rustls-no-provider")]
    lacks_certificate: bool,
    /// `None` if nothing is said of them.
    destinations: Option<Destinations>,
    tokens_over_plain_http: bool,
    schedule: Schedule,
}

impl Configuration {
    /// The credentials, for what is to be added to them or for a transport of your own.
    pub fn credentials(&self) -> ClientCredentialsBuilder {
        self.credentials.clone()
    }

    /// A cache around `source` with the numbers of `cache`.
    pub fn cache<S: TokenSource>(&self, source: S) -> TokenCacheBuilder<S> {
        TokenCache::builder(source).schedule(self.schedule.clone())
    }

    /// Where the token goes.
    ///
    /// # Errors
    /// When there are no `origins`.
    pub fn destinations(&self) -> Result<Destinations, Error> {
        self.destinations.clone().ok_or_else(|| {
            Error::configuration(
                "`origins` is missing: name the origins that the token goes to, as in [\"https://api.example.com\"], or say \
                 \"any\" for a client that talks to one API only",
            )
        })
    }

    /// All of it: the credentials over the default transport, in a cache, in a layer whose token goes to the origins.
    ///
    /// # Errors
    /// As for [`ClientCredentialsBuilder::build`], and when there are no `origins`.
    #[cfg(feature = "rustls-no-provider")]
    pub fn layer(&self) -> Result<BearerAuthLayer<Destinations>, Error> {
        // What is said of the origins comes before files are read.
        self.destinations()?;
        if self.lacks_certificate {
            return Err(Error::configuration(
                "`client_auth` is by client certificate, and there is none; give `client_certificate_file` and \
                 `client_certificate_key_file`",
            ));
        }
        self.layer_around(self.credentials().build()?)
    }

    /// The same around a source that is made of the [`credentials`](Self::credentials), such as with a transport of your
    /// own.
    ///
    /// # Errors
    /// When there are no `origins`.
    pub fn layer_around(
        &self,
        source: impl TokenSource,
    ) -> Result<BearerAuthLayer<Destinations>, Error> {
        let destinations = self.destinations()?;
        let cache = self.cache(source).build()?;
        let layer = BearerAuthLayer::from_cache(cache).select(destinations);
        Ok(match self.tokens_over_plain_http {
            true => layer.danger_allow_tokens_over_plain_http(),
            false => layer,
        })
    }
}

/// Where a [`Configuration`] lets its token go: to its `origins`, or, where these are `"any"`, with every request.
#[derive(Clone, Debug)]
pub struct Destinations(
    /// `None` for any.
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
