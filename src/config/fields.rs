//! Fields of a configuration, and how they are combined.

use serde::Deserialize;

#[cfg(feature = "shared")]
use super::shared;
use super::{
    Configuration, Destinations, client_auth, dpop, grant,
    value::{Field, Given, wrong},
};
#[cfg(feature = "rustls-no-provider")]
use crate::client_credentials::Secret;
use crate::{
    cache::Schedule, client_credentials::ClientCredentials, error::Error, select::Origins,
};

macro_rules! field {
    ($fields:ident.$name:ident) => {
        Field(stringify!($name), $fields.$name)
    };
    ($fields:ident.cache.$name:ident) => {
        Field(concat!("cache.", stringify!($name)), $fields.$name)
    };
}

/// `[cache]`
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename = "cache")]
struct Cache {
    name: Option<Given>,
    token_request_timeout: Option<Given>,
    default_lifetime: Option<Given>,
    refresh_at: Option<Given>,
    refresh_jitter: Option<Given>,
    hard_margin: Option<Given>,
    hard_margin_fraction: Option<Given>,
    transient_backoff: Option<Given>,
    transient_backoff_max: Option<Given>,
    permanent_backoff: Option<Given>,
    permanent_backoff_max: Option<Given>,
    longest_retry_after: Option<Given>,
    rejection_cool_down: Option<Given>,
    rejection_cool_down_max: Option<Given>,
    rejection_allowance: Option<Given>,
    rejection_allowance_interval: Option<Given>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename = "Configuration")]
pub(super) struct Fields {
    token_url: Option<Given>,
    issuer: Option<Given>,
    client_id: Option<Given>,
    client_auth: Option<Given>,
    grant_type: Option<Given>,
    token_exchange: Option<grant::Exchange>,
    jwt_bearer: Option<grant::Assertion>,
    google_service_account_file: Option<Given>,
    client_secret: Option<Given>,
    client_secret_file: Option<Given>,
    client_secret_env: Option<Given>,
    assertion_file: Option<Given>,
    private_key_file: Option<Given>,
    private_key_jwk_file: Option<Given>,
    algorithm: Option<Given>,
    key_id: Option<Given>,
    key_certificate_file: Option<Given>,
    key_certificate_chain_file: Option<Given>,
    assertion_audience: Option<Given>,
    assertion_typ: Option<Given>,
    assertion_claims: Option<Given>,
    client_assertion_type: Option<Given>,
    omit_client_id: Option<Given>,
    client_certificate_file: Option<Given>,
    client_certificate_key_file: Option<Given>,
    root_certificates_file: Option<Given>,
    proxy: Option<Given>,
    proxy_from_environment: Option<Given>,
    dpop: Option<Given>,
    dpop_key_file: Option<Given>,
    dpop_key_jwk_file: Option<Given>,
    dpop_algorithm: Option<Given>,
    accept_bearer_tokens: Option<Given>,
    scopes: Option<Given>,
    require_all_scopes: Option<Given>,
    step_up_scopes: Option<Given>,
    answer_claims_challenges: Option<Given>,
    audience: Option<Given>,
    resource: Option<Given>,
    params: Option<Given>,
    user_agent: Option<Given>,
    headers: Option<Given>,
    keep: Option<Given>,
    origins: Option<Given>,
    token_header: Option<Given>,
    danger_allow_secret_over_plain_http: Option<Given>,
    danger_allow_tokens_over_plain_http: Option<Given>,
    cache: Option<Cache>,
    #[cfg(feature = "shared")]
    shared: Option<shared::Fields>,
    #[cfg(not(feature = "shared"))]
    shared: Option<Given>,
}

impl TryFrom<Fields> for Configuration {
    type Error = Error;

    fn try_from(fields: Fields) -> Result<Self, Error> {
        let grant = grant::read(
            field!(fields.grant_type),
            fields.token_exchange,
            fields.jwt_bearer,
        )?;
        let client_id = field!(fields.client_id);
        let account = field!(fields.google_service_account_file);
        // Another grant can do without a client, where the token URL is known.
        let is_other_grant = grant.as_ref().is_some_and(|it| !it.is_client_credentials());
        let method = field!(fields.client_auth).text()?;
        let is_client = client_id.is_given() || method.as_ref().is_some_and(|it| it != NONE);
        let has_client = !account.is_given() && (is_client || !is_other_grant);
        let method = method.or_else(|| (!has_client).then(|| NONE.to_owned()));
        let proven = client_auth::Fields {
            method,
            proofs: [
                field!(fields.client_secret),
                field!(fields.client_secret_file),
                field!(fields.client_secret_env),
                field!(fields.assertion_file),
                field!(fields.private_key_file),
                field!(fields.private_key_jwk_file),
            ],
            algorithm: field!(fields.algorithm),
            key_id: field!(fields.key_id),
            key_certificate_file: field!(fields.key_certificate_file),
            key_certificate_chain_file: field!(fields.key_certificate_chain_file),
            audience: field!(fields.assertion_audience),
            typ: field!(fields.assertion_typ),
            claims: field!(fields.assertion_claims),
            assertion_type: field!(fields.client_assertion_type),
            omit_client_id: field!(fields.omit_client_id),
            certificate: field!(fields.client_certificate_file),
            certificate_key: field!(fields.client_certificate_key_file),
        }
        .read()?;
        let credentials = match (
            field!(fields.token_url).text()?,
            field!(fields.issuer).text()?,
            account.text()?,
        ) {
            (Some(token_url), None, None) if !has_client => {
                ClientCredentials::without_client(token_url)
            }
            (Some(token_url), None, None) => {
                ClientCredentials::builder(token_url, client_id.required()?, proven.auth)
            }
            (None, Some(issuer), None) => {
                ClientCredentials::discover(issuer, client_id.required()?, proven.auth)
            }
            (None, None, Some(file)) if !client_id.is_given() && grant.is_none() => {
                grant::google(file)?
            }
            (_, _, Some(_)) => {
                return Err(wrong(
                    "google_service_account_file",
                    "names the token URL and the account, and is a grant; remove `token_url`, `issuer`, `client_id`, `grant_type`, \
                     `token_exchange` and `jwt_bearer`",
                ));
            }
            (Some(_), Some(_), None) => {
                return Err(wrong(
                    "issuer",
                    "cannot be used with `token_url`; remove one of them",
                ));
            }
            (None, None, None) => {
                return Err(wrong(
                    "token_url",
                    "is missing, and so is `issuer`; give one of them",
                ));
            }
        };
        let mut credentials = match grant {
            Some(grant) => credentials.grant(grant),
            None => credentials,
        };
        credentials = credentials.scopes(field!(fields.scopes).list()?);
        if let Some(true) = field!(fields.require_all_scopes).parsed(BOOLEAN)? {
            credentials = credentials.require_all_scopes();
        }
        credentials = credentials.step_up_scopes(field!(fields.step_up_scopes).list()?);
        if let Some(true) = field!(fields.answer_claims_challenges).parsed(BOOLEAN)? {
            credentials = credentials.answer_claims_challenges();
        }
        let secret_over_plain_http =
            field!(fields.danger_allow_secret_over_plain_http).parsed(BOOLEAN)?;
        if let Some(true) = secret_over_plain_http {
            credentials = credentials.danger_allow_secret_over_plain_http();
        }
        for audience in field!(fields.audience).list()? {
            credentials = credentials.audience(audience);
        }
        for resource in field!(fields.resource).list()? {
            credentials = credentials.resource(resource);
        }
        for (name, value) in field!(fields.params).map()? {
            credentials = credentials.param(name, value);
        }
        if let Some(user_agent) = field!(fields.user_agent).text()? {
            credentials = credentials.user_agent(user_agent);
        }
        for (name, value) in field!(fields.headers).map()? {
            credentials = credentials.header(name, value);
        }
        credentials = credentials.keep(field!(fields.keep).list()?);
        #[cfg(feature = "rustls-no-provider")]
        if let Some((certificate, key)) = proven.certificate {
            credentials = credentials.client_certificate(certificate, key);
        }
        let roots = field!(fields.root_certificates_file);
        #[cfg(not(feature = "rustls-no-provider"))]
        if roots.is_given() {
            return Err(wrong(roots.0, client_auth::NEEDS_RUSTLS));
        }
        #[cfg(feature = "rustls-no-provider")]
        if let Some(file) = roots.text()? {
            credentials = credentials.root_certificates(Secret::from_file(file));
        }
        let proxy = field!(fields.proxy);
        let from_environment = field!(fields.proxy_from_environment);
        #[cfg(not(feature = "proxy"))]
        for field in [proxy, from_environment] {
            if field.is_given() {
                return Err(wrong(field.0, "needs the crate feature `proxy`; enable it"));
            }
        }
        #[cfg(feature = "proxy")]
        match (proxy.secret()?, from_environment.parsed(BOOLEAN)?) {
            (Some(_), Some(true)) => {
                return Err(wrong(
                    "proxy_from_environment",
                    "cannot be used with `proxy`; remove one of them",
                ));
            }
            (Some(url), _) => credentials = credentials.proxy(&*url),
            (None, Some(true)) => credentials = credentials.proxy_from_environment(),
            (None, _) => {}
        }
        #[cfg(not(feature = "shared"))]
        if field!(fields.shared).is_given() {
            return Err(wrong(
                "shared",
                "needs the crate feature `shared`; enable it",
            ));
        }
        let mut cache = fields.cache.unwrap_or_default();
        let bound = dpop::Fields {
            generate: field!(fields.dpop),
            file: field!(fields.dpop_key_file),
            jwk_file: field!(fields.dpop_key_jwk_file),
            algorithm: field!(fields.dpop_algorithm),
            accept_bearer_tokens: field!(fields.accept_bearer_tokens),
        };
        #[cfg(not(feature = "dpop"))]
        bound.read()?;
        #[cfg(feature = "dpop")]
        let bound = bound.read()?;
        #[cfg(feature = "dpop")]
        if let Some((key, accepts_bearer)) = &bound {
            credentials = credentials.dpop(key.clone());
            if *accepts_bearer {
                credentials = credentials.accept_bearer_tokens();
            }
            #[cfg(feature = "shared")]
            if key.is_generated() && fields.shared.is_some() {
                return Err(wrong(
                    "dpop",
                    "generates a key in each process, which cannot be used with `shared`; give all processes one key, by \
                     `dpop_key_file` or `dpop_key_jwk_file`",
                ));
            }
        }
        Ok(Self {
            credentials,
            #[cfg(feature = "rustls-no-provider")]
            lacks_certificate: proven.lacks_certificate,
            destinations: destinations(field!(fields.origins))?,
            token_header: field!(fields.token_header).parsed(HEADER_NAME)?,
            tokens_over_plain_http: field!(fields.danger_allow_tokens_over_plain_http)
                .parsed(BOOLEAN)?
                .unwrap_or(false),
            #[cfg(feature = "dpop")]
            dpop_key: bound.map(|(key, _)| key),
            cache_name: Field("cache.name", cache.name.take()).text()?,
            schedule: schedule(cache)?,
            #[cfg(feature = "shared")]
            shared: fields.shared.map(shared::Fields::read).transpose()?,
        })
    }
}

fn destinations(origins: Field<&'static str>) -> Result<Option<Destinations>, Error> {
    if !origins.is_given() {
        return Ok(None);
    }
    let name = origins.0;
    let origins = origins.list()?;
    if origins == [ANY] {
        return Ok(Some(Destinations(None)));
    }
    let origins =
        Origins::new(origins).map_err(|error| wrong(name, &format!("is not valid: {error}")))?;
    Ok(Some(Destinations(Some(origins))))
}

fn schedule(given: Cache) -> Result<Schedule, Error> {
    const NUMBER: &str = "a number, such as 0.8";
    let mut schedule = Schedule::default();
    for (field, number) in [
        (
            field!(given.cache.token_request_timeout),
            &mut schedule.token_request_timeout,
        ),
        (
            field!(given.cache.default_lifetime),
            &mut schedule.default_lifetime,
        ),
        (field!(given.cache.hard_margin), &mut schedule.hard_margin),
        (
            field!(given.cache.transient_backoff),
            &mut schedule.transient.first,
        ),
        (
            field!(given.cache.transient_backoff_max),
            &mut schedule.transient.last,
        ),
        (
            field!(given.cache.permanent_backoff),
            &mut schedule.permanent.first,
        ),
        (
            field!(given.cache.permanent_backoff_max),
            &mut schedule.permanent.last,
        ),
        (
            field!(given.cache.longest_retry_after),
            &mut schedule.longest_retry_after,
        ),
        (
            field!(given.cache.rejection_cool_down),
            &mut schedule.rejected.first,
        ),
        (
            field!(given.cache.rejection_cool_down_max),
            &mut schedule.rejected.last,
        ),
        (
            field!(given.cache.rejection_allowance_interval),
            &mut schedule.rejection_allowance_interval,
        ),
    ] {
        *number = field.duration()?.unwrap_or(*number);
    }
    for (field, number) in [
        (field!(given.cache.refresh_at), &mut schedule.refresh_at),
        (
            field!(given.cache.refresh_jitter),
            &mut schedule.refresh_jitter,
        ),
        (
            field!(given.cache.hard_margin_fraction),
            &mut schedule.hard_margin_fraction,
        ),
    ] {
        *number = field.parsed(NUMBER)?.unwrap_or(*number);
    }
    let allowance = field!(given.cache.rejection_allowance).parsed("a whole number")?;
    schedule.rejection_allowance = allowance.unwrap_or(schedule.rejection_allowance);
    let in_the_cache = |error| wrong("cache", &format!("is not valid: {error}"));
    schedule.check().map_err(in_the_cache)?;
    Ok(schedule)
}

/// The method of those who have nothing to prove.
const NONE: &str = "none";
const BOOLEAN: &str = "true or false";
const HEADER_NAME: &str = "the name of a header, such as X-Serverless-Authorization";

/// Stands for every origin. It cannot be an origin itself: it has no scheme.
const ANY: &str = "any";
