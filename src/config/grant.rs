//! Grants in a configuration.

use serde::Deserialize;

#[cfg(feature = "jwt")]
use super::client_auth;
use super::value::{Field, Given, secret, wrong};
#[cfg(feature = "jwt")]
use crate::client_credentials::{JwtBearer, Secret, google_service_account};
use crate::{
    client_credentials::{ClientCredentialsBuilder, Grant, TokenExchange, TokenType},
    error::Error,
};

type Named = Field<&'static str>;

macro_rules! field {
    ($fields:ident.$table:ident.$name:ident) => {
        Field(
            concat!(stringify!($table), ".", stringify!($name)),
            $fields.$name,
        )
    };
}

/// `[token_exchange]`
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename = "token_exchange")]
pub(super) struct Exchange {
    subject_token_file: Option<Given>,
    subject_token_env: Option<Given>,
    subject_token_type: Option<Given>,
    actor_token_file: Option<Given>,
    actor_token_env: Option<Given>,
    actor_token_type: Option<Given>,
    requested_token_type: Option<Given>,
}

/// `[jwt_bearer]`
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename = "jwt_bearer")]
pub(super) struct Assertion {
    assertion_file: Option<Given>,
    assertion_env: Option<Given>,
    private_key_file: Option<Given>,
    private_key_jwk_file: Option<Given>,
    algorithm: Option<Given>,
    key_id: Option<Given>,
    issuer: Option<Given>,
    subject: Option<Given>,
    omit_subject: Option<Given>,
    audience: Option<Given>,
    typ: Option<Given>,
    claims: Option<Given>,
    lifetime: Option<Given>,
    scopes_as_claim: Option<Given>,
}

/// The grant that is given; client credentials if there is none.
pub(super) fn read(
    name: Named,
    exchange: Option<Exchange>,
    assertion: Option<Assertion>,
) -> Result<Option<Grant>, Error> {
    match (name.is_given(), exchange, assertion) {
        (false, None, None) => Ok(None),
        (true, None, None) => Ok(name.text()?.map(Grant::named)),
        (false, Some(exchange), None) => exchange.read().map(Some),
        (false, None, Some(assertion)) => assertion.read().map(Some),
        _ => Err(wrong(
            "token_exchange",
            "cannot be used with `jwt_bearer` or `grant_type`, nor they with each other; a token request has one grant",
        )),
    }
}

impl Exchange {
    fn read(self) -> Result<Grant, Error> {
        let subject = secret([
            field!(self.token_exchange.subject_token_file),
            field!(self.token_exchange.subject_token_env),
        ])?;
        let subject = subject.ok_or_else(|| {
            wrong(
                "token_exchange.subject_token_file",
                "is missing, and so is `subject_token_env`; give one of them",
            )
        })?;
        let kind = field!(self.token_exchange.subject_token_type).required()?;
        let mut exchange = TokenExchange::new(subject, token_type(kind));
        let actor = secret([
            field!(self.token_exchange.actor_token_file),
            field!(self.token_exchange.actor_token_env),
        ])?;
        let kind = field!(self.token_exchange.actor_token_type);
        exchange = match (actor, kind.is_given()) {
            (Some(actor), _) => exchange.with_actor(actor, token_type(kind.required()?)),
            (None, true) => {
                return Err(wrong(
                    kind.0,
                    "is given without an actor token; add `actor_token_file` or `actor_token_env`, or remove it",
                ));
            }
            (None, false) => exchange,
        };
        if let Some(kind) = field!(self.token_exchange.requested_token_type).text()? {
            exchange = exchange.with_requested_type(token_type(kind));
        }
        Ok(exchange.into())
    }
}

/// A URI, or the last word of those of RFC 8693.
fn token_type(text: String) -> TokenType {
    match text.contains(':') {
        true => text.into(),
        false => format!("urn:ietf:params:oauth:token-type:{text}").into(),
    }
}

impl Assertion {
    fn read(self) -> Result<Grant, Error> {
        let ready = secret([
            field!(self.jwt_bearer.assertion_file),
            field!(self.jwt_bearer.assertion_env),
        ])?;
        let keys = [
            field!(self.jwt_bearer.private_key_file),
            field!(self.jwt_bearer.private_key_jwk_file),
        ];
        let of_signing = [
            field!(self.jwt_bearer.algorithm),
            field!(self.jwt_bearer.key_id),
            field!(self.jwt_bearer.issuer),
            field!(self.jwt_bearer.subject),
            field!(self.jwt_bearer.omit_subject),
            field!(self.jwt_bearer.audience),
            field!(self.jwt_bearer.typ),
            field!(self.jwt_bearer.claims),
            field!(self.jwt_bearer.lifetime),
            field!(self.jwt_bearer.scopes_as_claim),
        ];
        match ready {
            Some(ready) => match keys.iter().chain(&of_signing).find(|it| it.is_given()) {
                None => Ok(Grant::jwt_bearer(ready)),
                Some(field) => Err(wrong(
                    field.0,
                    "is for an assertion that is signed here; remove it, or the one that is ready",
                )),
            },
            None => signed(keys, of_signing),
        }
    }
}

#[cfg(not(feature = "jwt"))]
fn signed(keys: [Named; 2], _: [Named; 10]) -> Result<Grant, Error> {
    match keys.iter().find(|it| it.is_given()) {
        Some(key) => Err(wrong(key.0, super::client_auth::NEEDS_JWT)),
        None => Err(nothing_to_show()),
    }
}

#[cfg(feature = "jwt")]
fn signed(keys: [Named; 2], of_signing: [Named; 10]) -> Result<Grant, Error> {
    let [
        algorithm,
        key_id,
        issuer,
        subject,
        omit_subject,
        audience,
        typ,
        claims,
        lifetime,
        scopes_as_claim,
    ] = of_signing;
    let [pem, jwk] = keys;
    let file = match (pem.is_given(), jwk.is_given()) {
        (true, false) => pem,
        (false, true) => jwk,
        (true, true) => {
            return Err(wrong(
                jwk.0,
                "cannot be used with `private_key_file`; remove one of them",
            ));
        }
        (false, false) => return Err(nothing_to_show()),
    };
    let key = client_auth::key(file, algorithm, key_id)?;
    let mut grant = JwtBearer::signed_by(key, issuer.required()?);
    let names = (subject.0, omit_subject.0);
    grant = match (subject.text()?, omit_subject.parsed("true or false")?) {
        (Some(_), Some(true)) => {
            return Err(wrong(
                names.1,
                &format!("cannot be used with `{}`; remove one of them", names.0),
            ));
        }
        (Some(subject), _) => grant.with_subject(subject),
        (None, Some(true)) => grant.without_subject(),
        (None, _) => grant,
    };
    if let Some(audience) = client_auth::audience(audience)? {
        grant = grant.with_audience(audience);
    }
    if let Some(typ) = typ.text()? {
        grant = grant.with_typ(typ);
    }
    for (name, value) in claims.texts()? {
        grant = grant.with_claim(name, value);
    }
    if let Some(lifetime) = lifetime.duration()? {
        grant = grant.with_lifetime(lifetime);
    }
    if let Some(true) = scopes_as_claim.parsed("true or false")? {
        grant = grant.with_scopes_as_claim();
    }
    Ok(grant.into())
}

fn nothing_to_show() -> Error {
    wrong(
        "jwt_bearer.assertion_file",
        "is missing, and so are `assertion_env`, `private_key_file` and `private_key_jwk_file`; give one of them",
    )
}

/// A Google service account by its key file.
#[cfg(feature = "jwt")]
pub(super) fn google(file: String) -> Result<ClientCredentialsBuilder, Error> {
    google_service_account(Secret::from_file(file)).map_err(|error| {
        wrong(
            "google_service_account_file",
            &format!("is not valid: {error}"),
        )
    })
}

#[cfg(not(feature = "jwt"))]
pub(super) fn google(_: String) -> Result<ClientCredentialsBuilder, Error> {
    Err(wrong(
        "google_service_account_file",
        super::client_auth::NEEDS_JWT,
    ))
}
