//! Proofs of possession ([RFC 9449]): the key, its proofs, and the token request's side.
//!
//! [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449

pub(crate) mod key;
pub(crate) mod nonces;
pub(crate) mod proof;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, Method, Request};
use tower::{ServiceExt, util::BoxCloneSyncService};
use url::Url;

use self::{
    key::DpopKey,
    nonces::{Known, Nonces},
    proof::{About, Htu},
};
use crate::{
    client_credentials::transport::Transport, error::Error, token::challenge::PROOF_REJECTIONS,
    util::wiped::Wiped,
};

pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The key that a credential's tokens are bound to, and what the token endpoint said about proofs.
#[derive(Clone)]
pub(crate) struct Binding {
    pub(crate) key: DpopKey,
    /// Whether a token that is not bound to it is taken too.
    pub(crate) accepts_bearer: bool,
    nonces: Arc<Nonces>,
}

impl Binding {
    pub(crate) fn new(key: DpopKey, accepts_bearer: bool) -> Self {
        Self {
            key,
            accepts_bearer,
            nonces: Arc::default(),
        }
    }

    /// What the token endpoint said so far.
    pub(crate) fn known(&self, token_url: &Url) -> Known {
        self.nonces.of(Htu::of_url(token_url).origin())
    }

    /// Whether the server rejected a proof in its answer, and has said since what a better one has.
    pub(crate) fn can_do_better(&self, error: &Error, token_url: &Url, known: &Known) -> bool {
        let is_about_proof = error
            .oauth_code()
            .is_some_and(|code| PROOF_REJECTIONS.contains(&code));
        is_about_proof && self.known(token_url) != *known
    }

    /// The transport for one token request, with a proof for it, and the texts of the proof that no error may show.
    ///
    /// # Errors
    /// The key cannot sign.
    pub(crate) async fn proving(
        &self,
        transport: &Transport,
        token_url: &Url,
    ) -> Result<(Transport, Vec<Wiped>), Error> {
        let htu = Htu::of_url(token_url);
        let known = self.nonces.of(htu.origin());
        let about = About {
            method: &Method::POST,
            htu: &htu,
            token: None,
            known: &known,
        };
        let proof = about.prove(&self.key)?.signed().await?;
        let hidden = proof.hidden();
        let (nonces, transport) = (Arc::clone(&self.nonces), transport.clone());
        let proving = tower::service_fn(move |mut request: Request<Bytes>| {
            request.headers_mut().insert(DPOP, proof.clone().value());
            let (nonces, htu, known) = (Arc::clone(&nonces), htu.clone(), known.clone());
            let answer = transport.clone().oneshot(request);
            async move {
                let answer = answer.await?;
                nonces.learn(htu.origin(), &known, answer.status(), answer.headers());
                Ok(answer)
            }
        });
        Ok((BoxCloneSyncService::new(proving), hidden))
    }
}
