//! What happens to one request: the layer, its service, and the future of a response.

mod admission;
mod attempt;
mod carrier;
mod drain;
pub mod extension;
mod future;
mod head;
mod layer;
mod plan;
mod route;
mod service;
mod template;

#[cfg(any(feature = "dpop", feature = "tonic"))]
pub(crate) use self::attempt::deadline_of;
#[cfg(feature = "dpop")]
pub(crate) use self::{
    drain::Drain,
    future::{Wait, poll_deadline, within},
    head::Snapshot,
};
pub use self::{future::ResponseFuture, layer::BearerAuthLayer, service::BearerAuth};
