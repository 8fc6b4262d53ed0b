//! One token for a fleet of processes.
//!
//! Feature `shared`: over a folder, for the processes of one machine. Feature `redis`: over Redis or Valkey. The guide is
//! [a fleet](crate::docs::fleet).
//!
//! Knows no cache: [`SharedLayer`] is a layer around a source. In `round` is the protocol, step by step, and in `shelf` what a store
//! does, as arithmetic. `redis` and `folder` are the stores, `keys` seals what is in them, and `store` bounds what they cost.

mod breaker;
mod entry;
mod folder;
mod identity;
mod keys;
mod layer;
#[cfg(test)]
mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(all(test, feature = "redis"))]
#[path = "../../examples/fleet/redis.rs"]
#[allow(dead_code, reason = "what other tests use")]
mod redis_server;
mod round;
mod shelf;
#[cfg(test)]
mod simulation;
mod store;
#[cfg(test)]
mod tests;

#[cfg(feature = "config")]
pub(crate) use self::store::SHARE_OF_TIME;
pub use self::{
    identity::Identity,
    keys::SealingKeys,
    layer::{Shared, SharedLayer},
    store::SharedStore,
};
