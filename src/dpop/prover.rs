//! What the services of one layer share: the key, and what each API said about proofs.

use std::{fmt, sync::Arc};

use http::{
    HeaderMap, Response,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
    request::Parts,
};

use crate::{
    client_credentials::dpop::{
        key::DpopKey,
        nonces::{Known, Nonces},
        proof::{About, Htu, Unsigned},
    },
    error::Error,
    token::challenge::{Challenge, challenges_in},
};

#[derive(Clone)]
pub(crate) struct Prover {
    key: DpopKey,
    nonces: Arc<Nonces>,
    /// Instead of a request's own.
    origin: Option<Arc<str>>,
}

/// What a request was sent with, to read its answer by.
#[derive(Clone)]
pub(crate) struct Asked {
    htu: Htu,
    known: Known,
}

impl Prover {
    pub(crate) fn new(key: DpopKey) -> Self {
        Self {
            key,
            nonces: Arc::default(),
            origin: None,
        }
    }

    pub(crate) fn at(self, origin: &str) -> Self {
        Self {
            origin: Some(origin.into()),
            ..self
        }
    }

    /// A new proof for a request with such a token.
    ///
    /// # Errors
    /// The request does not say where it goes, or the key cannot sign.
    pub(crate) fn prove(&self, head: &Parts) -> Result<(Unsigned, Asked), Error> {
        let htu = match &self.origin {
            Some(origin) => Htu::at(origin, &head.uri),
            None => Htu::of_request(head).ok_or_else(Error::without_host)?,
        };
        let known = self.nonces.of(htu.origin());
        let about = About {
            method: &head.method,
            htu: &htu,
            token: token_in(&head.headers),
            known: &known,
        };
        // A credential's own, if there are many.
        let key = head.extensions.get().unwrap_or(&self.key);
        let proof = about.prove(key)?;
        Ok((proof, Asked { htu, known }))
    }

    /// Keeps what an answer says about proofs.
    pub(crate) fn learn<R>(&self, asked: &Asked, answer: &Response<R>) {
        let origin = asked.htu.origin();
        self.nonces
            .learn(origin, &asked.known, answer.status(), answer.headers());
    }

    /// Whether the API has said since what a better proof has.
    pub(crate) fn can_do_better(&self, asked: &Asked) -> bool {
        self.nonces.of(asked.htu.origin()) != asked.known
    }
}

impl fmt::Debug for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prover")
            .field("key", &self.key)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// The token of a request that needs a proof.
pub(crate) fn token_in(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme
        .eq_ignore_ascii_case(SCHEME)
        .then(|| token.trim_ascii())
}

/// Whether an API rejected the proof, and not the token. A gRPC server says so in an answer of status 200.
pub(crate) fn rejects_proof<R>(answer: &Response<R>) -> bool {
    let headers = answer.headers();
    let may_reject = !answer.status().is_success() || headers.contains_key("grpc-status");
    may_reject
        && headers.contains_key(WWW_AUTHENTICATE)
        && challenges_in(headers).any(|challenge| Challenge::rejects_proof(&challenge))
}

/// With the space after it.
const SCHEME: &[u8] = b"DPoP ";
