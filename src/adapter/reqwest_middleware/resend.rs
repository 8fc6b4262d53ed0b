//! How a request of reqwest is replayed.

use std::{error::Error as StdError, fmt};

use http::request::Parts;
use http_body_util::BodyExt;
use reqwest::Body;

use crate::{
    adapter::reqwest::ReusableBody,
    replay::{Buffered, CloneBody, NoReplay, Recording, Replay, ReplayBody, ReplayPolicy},
};

/// The replay policies that the layer can have as a middleware.
///
/// | policy | retried |
/// | --- | --- |
/// | [`CloneBody`], the layer's default, and [`ReusableBody`] | bodies of bytes or text, and empty ones |
/// | [`Buffered`] | these, and streams and multipart forms up to its limit |
/// | [`NoReplay`] | none |
///
/// It cannot be implemented for other types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the replay policy of a reqwest middleware",
    label = "not a replay policy for reqwest's bodies",
    note = "leave `.replay(…)` away to retry bodies of bytes or text, use `.replay(Buffered::up_to(64 * 1024))` for streams and multipart forms as well, or `.replay(NoReplay)`"
)]
pub trait Resend: Sealed {}

impl Resend for CloneBody {}
impl Resend for ReusableBody {}
impl Resend for Buffered {}
impl Resend for NoReplay {}

/// The policy as one for reqwest's bodies, which are not `Clone`. It seals [`Resend`], for nothing outside can name it.
pub trait Sealed {
    /// What it is for reqwest's bodies.
    type Replay: Replay<Body, Body = Body, Recording: Send> + Clone + Send + Sync;

    /// This policy for reqwest's bodies.
    fn for_reqwest(&self) -> Self::Replay;
}

impl Sealed for CloneBody {
    type Replay = ReusableBody;

    fn for_reqwest(&self) -> ReusableBody {
        ReusableBody
    }
}

impl Sealed for ReusableBody {
    type Replay = Self;

    fn for_reqwest(&self) -> Self {
        *self
    }
}

impl Sealed for Buffered {
    type Replay = BufferedBody;

    fn for_reqwest(&self) -> BufferedBody {
        BufferedBody(*self)
    }
}

impl Sealed for NoReplay {
    type Replay = Self;

    fn for_reqwest(&self) -> Self {
        *self
    }
}

/// [`Buffered`] for reqwest's bodies: a clone of what can be cloned, and a copy of the rest while it is sent.
#[derive(Clone, Copy, Debug)]
pub struct BufferedBody(Buffered);

/// What is kept of one of reqwest's bodies.
#[derive(Debug)]
pub enum Kept {
    /// For bodies of bytes.
    Clone(Body),
    /// For streams.
    Copy(Recording<Body>),
}

impl ReplayPolicy for BufferedBody {}

impl Replay<Body> for BufferedBody {
    type Body = Body;
    type Recording = Kept;

    fn pass(&self, body: Body) -> Body {
        body
    }

    fn record(&self, head: &Parts, body: Body) -> (Body, Option<Kept>) {
        // Bytes stay bytes, so that what is below can clone them too: reqwest for a redirect, other middlewares for a retry.
        if body.as_bytes().is_some() {
            let (body, clone) = ReusableBody.record(head, body);
            return (body, clone.map(Kept::Clone));
        }
        match self.0.record(head, body) {
            (body, Some(recording)) => (wrap(body), Some(Kept::Copy(recording))),
            (body, None) => (wrap(body), None),
        }
    }

    fn rewind(&self, kept: Kept) -> Option<Body> {
        match kept {
            Kept::Clone(body) => Some(body),
            Kept::Copy(recording) => self.0.rewind(recording).map(wrap),
        }
    }
}

/// As one of reqwest's bodies.
fn wrap(body: ReplayBody<Body>) -> Body {
    Body::wrap(body.map_err(BodyError))
}

/// The error of one of reqwest's bodies inside another. Both would say the same, one after the other.
#[derive(Debug)]
struct BodyError(reqwest::Error);

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream of the request's body failed")
    }
}

impl StdError for BodyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
