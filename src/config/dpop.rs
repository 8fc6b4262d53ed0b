//! The key that tokens are bound to, in a configuration.

use super::value::{Field, wrong};
use crate::error::Error;
#[cfg(feature = "dpop")]
use crate::{
    client_credentials::{Secret, SigningAlgorithm},
    dpop::DpopKey,
};

type Named = Field<&'static str>;

pub(super) struct Fields {
    pub(super) generate: Named,
    pub(super) file: Named,
    pub(super) jwk_file: Named,
    pub(super) algorithm: Named,
    pub(super) accept_bearer_tokens: Named,
}

impl Fields {
    #[cfg(not(feature = "dpop"))]
    pub(super) fn read(self) -> Result<(), Error> {
        for field in [
            self.generate,
            self.file,
            self.jwk_file,
            self.algorithm,
            self.accept_bearer_tokens,
        ] {
            if field.is_given() {
                return Err(wrong(field.0, "needs the crate feature `dpop`; enable it"));
            }
        }
        Ok(())
    }

    /// The key, and whether bearer tokens are accepted.
    #[cfg(feature = "dpop")]
    pub(super) fn read(self) -> Result<Option<(DpopKey, bool)>, Error> {
        let names = (
            self.generate.0,
            self.algorithm.0,
            self.accept_bearer_tokens.0,
        );
        let generates = self.generate.parsed("true or false")?.unwrap_or(false);
        let algorithm = match self.algorithm.text()? {
            None => None,
            Some(name) => Some(SigningAlgorithm::named(name.trim()).ok_or_else(|| {
                wrong(
                    names.1,
                    "must be the name of an algorithm, such as ES256, EdDSA or PS256",
                )
            })?),
        };
        let accepts_bearer = self.accept_bearer_tokens.parsed("true or false")?;
        let key = match (generates, self.file.text()?, self.jwk_file.text()?) {
            (false, None, None) if algorithm.is_some() || accepts_bearer == Some(true) => {
                let name = if algorithm.is_some() {
                    names.1
                } else {
                    names.2
                };
                return Err(wrong(
                    name,
                    "is given without a key; add `dpop = true`, `dpop_key_file` or `dpop_key_jwk_file`",
                ));
            }
            (false, None, None) => return Ok(None),
            (true, None, None) => {
                DpopKey::generate_for(algorithm.unwrap_or(SigningAlgorithm::Es256))
            }
            (_, Some(file), None) => DpopKey::from_pem(
                algorithm.unwrap_or(SigningAlgorithm::Es256),
                Secret::from_file(file),
            ),
            (_, None, Some(file)) if algorithm.is_none() => {
                DpopKey::from_jwk(Secret::from_file(file))
            }
            (_, None, Some(_)) => {
                return Err(wrong(
                    names.1,
                    "cannot be used with `dpop_key_jwk_file`, because the JWK has its own `alg`; remove it",
                ));
            }
            (_, Some(_), Some(_)) => {
                return Err(wrong(
                    "dpop_key_file",
                    "cannot be used with `dpop_key_jwk_file`; remove one of them",
                ));
            }
        };
        let key =
            key.map_err(|error| wrong(names.0, &format!("has no key that can be used: {error}")))?;
        Ok(Some((key, accepts_bearer.unwrap_or(false))))
    }
}
