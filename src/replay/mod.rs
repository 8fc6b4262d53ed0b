//! How a request's body can be said again.
//!
//! | request bodies | use | costs |
//! | --- | --- | --- |
//! | `Clone`: `Full<Bytes>`, `String`, `Empty` | [`CloneBody`], the default | a clone |
//! | any other, mostly small | [`Buffered`] | a copy of up to so many bytes |
//! | any other, mostly empty | [`Buffered::up_to(0)`](Buffered::up_to) | next to nothing |
//! | any | [`NoReplay`] | nothing, and there is no retry |

mod buffered;

use std::{convert::Infallible, sync::Arc};

pub use self::buffered::{Buffered, Recording, ReplayBody};

/// Keeps what it takes to send a request's body a second time.
///
/// A body that cannot be said again costs its request the retry, never the request itself.
///
/// [`record`](Self::record) is asked when the request is sent, and [`rewind`](Self::rewind) when it was rejected: the body may
/// still be under way then.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot send a request body of type `{B}` a second time",
    label = "cannot replay this body",
    note = "`CloneBody`, the default, needs a body that is `Clone`, such as `http_body_util::Full<Bytes>` or `String`",
    note = "for any other body, keep a copy while it is sent: `BearerAuthLayer::new(source).replay(Buffered::up_to(64 * 1024))`",
    note = "or say again empty bodies only, `.replay(Buffered::up_to(0))`, or give up the retry and nothing else, `.replay(NoReplay)`"
)]
pub trait Replay<B>: ReplayPolicy {
    /// The body that goes on the wire.
    type Body;
    /// What is kept while the request is under way.
    type Recording;

    /// The body of a request that will not be sent again.
    fn pass(&self, body: B) -> Self::Body;

    /// The body for the first try, and what is kept for a second; `None` if there can be no second.
    fn record(&self, body: B) -> (Self::Body, Option<Self::Recording>);

    /// The body for the retry; `None` if it turned out that there can be none.
    fn rewind(&self, recording: Self::Recording) -> Option<Self::Body>;
}

/// What [`BearerAuthLayer::replay`](crate::BearerAuthLayer::replay) takes: a [`Replay`] of some body.
///
/// A layer does not know the body yet. With this it knows a policy all the same, and something else in its place is an error
/// where the layer is composed, and not at the first request. A policy of your own has one line more:
/// `impl ReplayPolicy for MyReplay {}`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not replay request bodies",
    label = "not a replay policy",
    note = "`replay` takes a `CloneBody`, a `Buffered::up_to(64 * 1024)` or a `NoReplay`",
    note = "a `Replay` of your own is one by `impl ReplayPolicy for {Self} {{}}`"
)]
pub trait ReplayPolicy {}

impl<T: ReplayPolicy + ?Sized> ReplayPolicy for Arc<T> {}
impl ReplayPolicy for CloneBody {}
impl ReplayPolicy for NoReplay {}
impl ReplayPolicy for Buffered {}

/// So that a policy can be shared, or chosen at run time.
impl<B, T: Replay<B> + ?Sized> Replay<B> for Arc<T> {
    type Body = T::Body;
    type Recording = T::Recording;

    fn pass(&self, body: B) -> T::Body {
        (**self).pass(body)
    }

    fn record(&self, body: B) -> (T::Body, Option<T::Recording>) {
        (**self).record(body)
    }

    fn rewind(&self, recording: T::Recording) -> Option<T::Body> {
        (**self).rewind(recording)
    }
}

/// Sends a clone. The default: for bodies that are cheap to clone.
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "named as a value, it has nothing to add to"
)]
pub struct CloneBody;

// So that the compiler's error is about the body and `Replay`, with the notes above, and not about `Clone`.
#[diagnostic::do_not_recommend]
impl<B: Clone> Replay<B> for CloneBody {
    type Body = B;
    type Recording = B;

    fn pass(&self, body: B) -> B {
        body
    }

    fn record(&self, body: B) -> (B, Option<B>) {
        (body.clone(), Some(body))
    }

    fn rewind(&self, recording: B) -> Option<B> {
        Some(recording)
    }
}

/// Keeps nothing: a request is sent once. A rejected token is still replaced, for requests that come once that token request is
/// over.
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "named as a value, it has nothing to add to"
)]
pub struct NoReplay;

impl<B> Replay<B> for NoReplay {
    type Body = B;
    type Recording = Infallible;

    fn pass(&self, body: B) -> B {
        body
    }

    fn record(&self, body: B) -> (B, Option<Infallible>) {
        (body, None)
    }

    fn rewind(&self, recording: Infallible) -> Option<B> {
        match recording {}
    }
}
