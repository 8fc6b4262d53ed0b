//! What it takes to fit the stacks that are no tower services of plain HTTP requests. Each is behind a feature.
//!
//! | stack | feature | composition |
//! | --- | --- | --- |
//! | hyper-util's client, axum's handlers and proxies, any tower service | none | [`BearerAuthLayer`](crate::BearerAuthLayer) around it |
#![cfg_attr(
    feature = "reqwest",
    doc = "| reqwest's `Client` | `reqwest` | the layer around a [`ReqwestService`](reqwest::ReqwestService) |"
)]
#![cfg_attr(
    feature = "reqwest-middleware",
    doc = "| reqwest-middleware's `ClientBuilder` | `reqwest-middleware` | [the layer as a middleware](reqwest_middleware) |"
)]
#![cfg_attr(
    feature = "tonic",
    doc = "| tonic's clients | `tonic` | a [`GrpcAuthLayer`](tonic::GrpcAuthLayer) around the `Channel` |"
)]

#[cfg(feature = "reqwest")]
pub mod reqwest;
#[cfg(feature = "reqwest-middleware")]
pub mod reqwest_middleware;
#[cfg(feature = "tonic")]
pub mod tonic;
