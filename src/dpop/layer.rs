//! The layer that adds proofs to requests to an API.

use tower_layer::Layer;

use super::{prover::Prover, service::Dpop};
use crate::{
    client_credentials::dpop::{key::DpopKey, proof::Htu},
    error::Error,
    replay::{CloneBody, ReplayPolicy},
};

/// Adds a DPoP proof ([RFC 9449 §7]) to each request whose token is bound to a key.
///
/// It belongs *below* the [`BearerAuthLayer`](crate::BearerAuthLayer), so that a retry after a rejected token has a proof of its own,
/// and below whatever else sends a request again: a server takes each proof once. See [`Dpop`] for what happens to a request.
///
/// Clones of a layer, and the services that they make, share the nonces of the APIs.
///
/// # Example
/// Bodies that are not `Clone`:
/// ```
/// use tower_bearer::{dpop::{DpopKey, DpopLayer}, replay::Buffered};
///
/// let key = DpopKey::generate()?;
/// let layer = DpopLayer::new(key).replay(Buffered::up_to(64 * 1024));
/// # let _ = layer;
/// # Ok::<(), tower_bearer::Error>(())
/// ```
///
/// # Deployment caveat
/// The URI in a proof is that of the request as this layer sees it: scheme, host, port and path. An API behind a proxy that changes
/// them must know its public URI, as it does for links. If the client reaches it by another name than it knows, use
/// [`origin`](Self::origin). A client below that follows redirects takes the proof along, which the next server rejects.
///
/// [RFC 9449 §7]: https://www.rfc-editor.org/rfc/rfc9449#section-7
#[derive(Clone, Debug)]
pub struct DpopLayer<Rp = CloneBody> {
    prover: Prover,
    replay: Rp,
}

impl DpopLayer {
    /// A layer that proves by this key: the one of the credentials.
    #[must_use]
    pub fn new(key: DpopKey) -> Self {
        Self {
            prover: Prover::new(key),
            replay: CloneBody,
        }
    }
}

impl<Rp> DpopLayer<Rp> {
    /// How a request body is replayed when the API asks for a nonce: [`Buffered`](crate::replay::Buffered),
    /// [`NoReplay`](crate::replay::NoReplay), or another [`Replay`](crate::replay::Replay). [`CloneBody`] by default.
    ///
    /// Usually the same policy as the layer above has.
    #[must_use]
    pub fn replay<T: ReplayPolicy>(self, replay: T) -> DpopLayer<T> {
        DpopLayer {
            prover: self.prover,
            replay,
        }
    }

    /// Sets the origin of the URI in each proof, such as `https://api.example.com`, instead of the request's own.
    ///
    /// For requests that have no host, such as those of a tonic client, and for an API that is reached by another name than it
    /// knows. A layer with an origin is for one API.
    ///
    /// # Errors
    /// It is not an http or https origin: a scheme, a host, and a port if it is not the scheme's own.
    pub fn origin(self, origin: &str) -> Result<Self, Error> {
        let htu = Htu::of_origin(origin).ok_or_else(|| {
            Error::configuration(format!(
                "{origin:?} is not an origin; use a scheme and a host, as in https://api.example.com"
            ))
        })?;
        Ok(Self {
            prover: self.prover.at(htu.origin()),
            ..self
        })
    }

    #[cfg(feature = "reqwest-middleware")]
    pub(crate) fn replays_by(&self) -> &Rp {
        &self.replay
    }
}

impl<S: Clone, Rp: Clone> Layer<S> for DpopLayer<Rp> {
    type Service = Dpop<S, Rp>;

    fn layer(&self, inner: S) -> Dpop<S, Rp> {
        Dpop::new(inner, self.prover.clone(), self.replay.clone())
    }
}
