//! Client authentication in a configuration.

use super::value::{Field, wrong};
#[cfg(feature = "jwt")]
use crate::client_credentials::{Assertion, AssertionAudience, SigningAlgorithm, SigningKey};
use crate::{
    client_credentials::{ClientAuth, Secret},
    error::Error,
};

type Named = Field<&'static str>;

pub(super) struct Fields {
    pub(super) method: Option<String>,
    /// At most one may be given.
    pub(super) proofs: [Named; 6],
    pub(super) algorithm: Named,
    pub(super) key_id: Named,
    pub(super) key_certificate_file: Named,
    pub(super) key_certificate_chain_file: Named,
    pub(super) audience: Named,
    pub(super) typ: Named,
    pub(super) claims: Named,
    pub(super) assertion_type: Named,
    pub(super) omit_client_id: Named,
    pub(super) certificate: Named,
    pub(super) certificate_key: Named,
}

pub(super) struct Proven {
    pub(super) auth: ClientAuth,
    #[cfg(feature = "rustls-no-provider")]
    pub(super) certificate: Option<(Secret, Secret)>,
    /// Whether the method needs a certificate, and none is given.
    #[cfg(feature = "rustls-no-provider")]
    pub(super) lacks_certificate: bool,
}

enum Proof {
    Secret(Secret),
    Assertion(Secret),
    /// The field of a private key's file.
    #[cfg(feature = "jwt")]
    Key(Named),
}

impl Fields {
    pub(super) fn read(self) -> Result<Proven, Error> {
        let mut given = self.proofs.into_iter().filter(Field::is_given);
        let (first, others) = (given.next(), given.map(|it| it.0).collect::<Vec<_>>());
        if let (Some(first), false) = (&first, others.is_empty()) {
            return Err(Error::configuration(format!(
                "`{}` and `{}` are given, but a client has only one credential; remove all but one",
                first.0,
                others.join("`, `")
            )));
        }
        let name = first.as_ref().map(|first| first.0);
        let is_key = name.is_some_and(|name| name.starts_with("private_key"));
        for field in [
            &self.key_id,
            &self.key_certificate_file,
            &self.key_certificate_chain_file,
        ] {
            if field.is_given() && !is_key {
                return Err(wrong(
                    field.0,
                    "is given without a private key; add `private_key_file` or `private_key_jwk_file`, or remove it",
                ));
            }
        }
        let certificate = certificate(self.certificate, self.certificate_key)?;
        let method = self.method.filter(|method| !method.trim().is_empty());
        let method = match (&method, name) {
            (Some(method), _) => method.trim(),
            (None, Some("assertion_file")) => "assertion",
            (None, Some(_)) if is_key => "private_key_jwt",
            (None, Some(_)) => OPEN,
            (None, None) if certificate.is_some() => "tls",
            (None, None) => {
                return Err(Error::configuration(
                    "there is no client credential; give `client_secret`, `client_secret_file`, \
                     `client_secret_env`, `assertion_file`, `private_key_file`, `private_key_jwk_file`, \
                     `client_certificate_file`, or `client_auth = \"none\"`",
                ));
            }
        };
        // Accepts the names that servers use as well.
        let method = match method {
            "client_secret_post" => "post",
            "client_secret_basic" => "basic",
            "client_secret_jwt" => "secret_jwt",
            "tls_client_auth" | "self_signed_tls_client_auth" => "tls",
            method => method,
        };
        let signs = matches!(method, "secret_jwt" | "private_key_jwt");
        for field in [&self.algorithm, &self.audience, &self.typ, &self.claims] {
            if field.is_given() && !signs {
                return Err(wrong(
                    field.0,
                    "is only for a `client_auth` of secret_jwt or private_key_jwt; change `client_auth`, or remove it",
                ));
            }
        }
        for field in [&self.assertion_type, &self.omit_client_id] {
            if field.is_given() && !signs && !matches!(method, "assertion" | "spiffe_jwt") {
                return Err(wrong(
                    field.0,
                    "is only for a `client_auth` of assertion, spiffe_jwt, secret_jwt or private_key_jwt; change `client_auth`, or \
                     remove it",
                ));
            }
        }
        #[cfg(not(feature = "jwt"))]
        match first.as_ref().filter(|_| is_key) {
            Some(field) => return Err(wrong(field.0, NEEDS_JWT)),
            None if signs => return Err(wrong("client_auth", NEEDS_JWT)),
            None => {}
        }
        let proof = match first {
            #[cfg(feature = "jwt")]
            Some(field) if is_key => Some(Proof::Key(field)),
            Some(field) => Some(plain(field)?),
            None => None,
        };
        let mut auth = match (method, proof) {
            (OPEN, Some(Proof::Secret(secret))) => secret.into(),
            ("post", Some(Proof::Secret(secret))) => ClientAuth::post(secret),
            ("basic", Some(Proof::Secret(secret))) => ClientAuth::basic(secret),
            ("basic_raw", Some(Proof::Secret(secret))) => ClientAuth::basic_raw(secret),
            #[cfg(feature = "jwt")]
            ("secret_jwt", Some(Proof::Secret(secret))) => {
                let key = secret_key(self.algorithm, secret)?;
                assertion(key, self.audience, self.typ, self.claims)?.into()
            }
            #[cfg(feature = "jwt")]
            ("private_key_jwt", Some(Proof::Key(file))) => {
                let key = key(file, self.algorithm, self.key_id)?;
                let key = certified(
                    key,
                    self.key_certificate_file,
                    self.key_certificate_chain_file,
                )?;
                assertion(key, self.audience, self.typ, self.claims)?.into()
            }
            ("assertion", Some(Proof::Assertion(assertion))) => ClientAuth::assertion(assertion),
            ("spiffe_jwt", Some(Proof::Assertion(svid))) => ClientAuth::spiffe_jwt(svid),
            ("tls", None) => ClientAuth::tls(),
            ("none", None) => ClientAuth::none(),
            (method, _) => return Err(mismatch(method, name)),
        };
        if let Some(assertion_type) = self.assertion_type.text()? {
            auth = auth.with_assertion_type(assertion_type);
        }
        if let Some(true) = self.omit_client_id.parsed("true or false")? {
            auth = auth.without_client_id();
        }
        #[cfg(not(feature = "rustls-no-provider"))]
        if certificate.is_some() {
            return Err(wrong("client_certificate_file", NEEDS_RUSTLS));
        }
        Ok(Proven {
            auth,
            #[cfg(feature = "rustls-no-provider")]
            lacks_certificate: method == "tls" && certificate.is_none(),
            #[cfg(feature = "rustls-no-provider")]
            certificate,
        })
    }
}

fn plain(field: Named) -> Result<Proof, Error> {
    let name = field.0;
    let value = field.required_secret()?;
    Ok(match name {
        "client_secret_file" => Proof::Secret(Secret::from_file(value.into_text())),
        "client_secret_env" => Proof::Secret(Secret::from_env(value.into_text())),
        "assertion_file" => Proof::Assertion(Secret::from_file(value.into_text())),
        _ => Proof::Secret(Secret::of(value)),
    })
}

#[cfg(feature = "jwt")]
pub(super) fn key(file: Named, algorithm: Named, key_id: Named) -> Result<SigningKey, Error> {
    let (is_jwk, name) = (file.0.ends_with("private_key_jwk_file"), algorithm.0);
    let file = Secret::from_file(file.required()?);
    let key = match (is_jwk, algorithm.text()?) {
        (true, None) => SigningKey::from_jwk(file),
        (true, Some(_)) => {
            return Err(wrong(
                name,
                "cannot be used with `private_key_jwk_file`, because the JWK has its own `alg`; remove it",
            ));
        }
        (false, given) => {
            let algorithm = algorithm_named(given).filter(|it| !it.is_symmetric());
            let algorithm = algorithm.ok_or_else(|| {
                wrong(
                    name,
                    "must be RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA or Ed25519 if `private_key_file` is given",
                )
            })?;
            SigningKey::from_pem(algorithm, file)
        }
    };
    Ok(match key_id.text()? {
        Some(key_id) => key.with_key_id(key_id),
        None => key,
    })
}

#[cfg(feature = "jwt")]
fn certified(key: SigningKey, certificate: Named, chain: Named) -> Result<SigningKey, Error> {
    let names = (certificate.0, chain.0);
    match (certificate.text()?, chain.text()?) {
        (None, None) => Ok(key),
        (Some(file), None) => Ok(key.with_certificate(Secret::from_file(file))),
        (None, Some(file)) => Ok(key.with_certificate_chain(Secret::from_file(file))),
        (Some(_), Some(_)) => Err(wrong(
            names.0,
            &format!("cannot be used with `{}`; remove one of them", names.1),
        )),
    }
}

#[cfg(feature = "jwt")]
fn secret_key(algorithm: Named, secret: Secret) -> Result<SigningKey, Error> {
    let name = algorithm.0;
    let algorithm = match algorithm.text()? {
        None => Some(SigningAlgorithm::Hs256),
        given => algorithm_named(given).filter(|it| it.is_symmetric()),
    };
    let algorithm = algorithm.ok_or_else(|| {
        wrong(
            name,
            "must be HS256, HS384 or HS512 if `client_auth` is secret_jwt",
        )
    })?;
    Ok(SigningKey::from_secret(algorithm, secret))
}

#[cfg(feature = "jwt")]
fn algorithm_named(name: Option<String>) -> Option<SigningAlgorithm> {
    SigningAlgorithm::named(name?.trim())
}

#[cfg(feature = "jwt")]
fn assertion(
    key: SigningKey,
    audience: Named,
    typ: Named,
    claims: Named,
) -> Result<Assertion, Error> {
    let mut assertion = Assertion::signed_by(key);
    if let Some(audience) = self::audience(audience)? {
        assertion = assertion.with_audience(audience);
    }
    if let Some(typ) = typ.text()? {
        assertion = assertion.with_typ(typ);
    }
    for (name, value) in claims.texts()? {
        assertion = assertion.with_claim(name, value);
    }
    Ok(assertion)
}

#[cfg(feature = "jwt")]
pub(super) fn audience(audience: Named) -> Result<Option<AssertionAudience>, Error> {
    Ok(audience.text()?.map(|text| match &*text {
        "issuer" => AssertionAudience::Issuer,
        "token_endpoint" => AssertionAudience::TokenEndpoint,
        _ => AssertionAudience::Other(text),
    }))
}

/// The client certificate of the TLS connection, and its key.
fn certificate(certificate: Named, key: Named) -> Result<Option<(Secret, Secret)>, Error> {
    let names = (certificate.0, key.0);
    match (certificate.text()?, key.text()?) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some((
            Secret::from_file(certificate),
            Secret::from_file(key),
        ))),
        (Some(_), None) => Err(wrong(
            names.1,
            &format!(
                "is missing, but `{}` is given; give both or neither",
                names.0
            ),
        )),
        (None, Some(_)) => Err(wrong(
            names.0,
            &format!(
                "is missing, but `{}` is given; give both or neither",
                names.1
            ),
        )),
    }
}

fn mismatch(method: &str, proof: Option<&str>) -> Error {
    let needed = match method {
        "post" | "basic" | "basic_raw" | "secret_jwt" => {
            "needs one of `client_secret`, `client_secret_file` and `client_secret_env`"
        }
        "private_key_jwt" => "needs a `private_key_file` or a `private_key_jwk_file`",
        "assertion" | "spiffe_jwt" => "needs an `assertion_file`",
        "tls" | "none" => "needs no credential of that kind",
        // The value is not quoted: it may be a misplaced secret.
        _ => {
            return wrong(
                "client_auth",
                "must be post, basic, basic_raw, secret_jwt, private_key_jwt, assertion, spiffe_jwt, tls or none",
            );
        }
    };
    let given = proof.map_or_else(|| "none".to_owned(), |name| format!("`{name}`"));
    wrong(
        "client_auth",
        &format!("is {method:?}, which {needed}; given: {given}"),
    )
}

/// A secret without a method. No configuration can contain this value.
const OPEN: &str = "";

#[cfg(not(feature = "jwt"))]
pub(super) const NEEDS_JWT: &str = "needs the crate feature `jwt`; enable it";

#[cfg(not(feature = "rustls-no-provider"))]
pub(super) const NEEDS_RUSTLS: &str =
    "needs the default transport; enable the crate feature `rustls`";
