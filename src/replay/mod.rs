//! How a request body is replayed for the retry.
//!
//! | request bodies | use | costs |
//! | --- | --- | --- |
//! | `Clone`: `Full<Bytes>`, `String`, `Empty` | [`CloneBody`], the default | a clone |
//! | any other, mostly small | [`Buffered`] | a copy, up to a limit |
//! | any other, mostly empty | [`Buffered::up_to(0)`](Buffered::up_to) | next to nothing |
//! | any | [`NoReplay`] | nothing, and there is no retry |
//!
//! A body that cannot be replayed is sent all the same: if the API rejects the token, the caller gets the 401.

mod buffered;

use std::{convert::Infallible, sync::Arc};

use http::request::Parts;

pub use self::buffered::{Buffered, Recording, ReplayBody};

/// Keeps what it takes to send a request body a second time.
///
/// The layer calls [`record`](Self::record) when it sends a request, and [`rewind`](Self::rewind) when the API rejected the
/// token. The client may still be sending the body then.
///
/// # Panics
/// A panic in [`record`](Self::record) is that of the request's `call`, one in [`rewind`](Self::rewind) that of its future. It
/// harms no other request, and no token.
///
/// # Cancellation
/// What is recorded is dropped with the request's future, and as soon as the response is no rejection.
///
/// # Example
/// A policy that replays requests of idempotent methods only:
/// ```
/// use http::request::Parts;
/// use tower_bearer::{BearerAuthLayer, replay::Replay, token::FixedToken};
///
/// #[derive(Clone)]
/// struct Idempotent;
///
/// impl tower_bearer::replay::ReplayPolicy for Idempotent {}
///
/// impl<B: Clone> Replay<B> for Idempotent {
///     type Body = B;
///     type Recording = B;
///
///     fn pass(&self, body: B) -> B {
///         body
///     }
///
///     fn record(&self, head: &Parts, body: B) -> (B, Option<B>) {
///         let copy = head.method.is_idempotent().then(|| body.clone());
///         (body, copy)
///     }
///
///     fn rewind(&self, copy: B) -> Option<B> {
///         Some(copy)
///     }
/// }
///
/// # let source = FixedToken::new("t")?;
/// let layer = BearerAuthLayer::new(source).replay(Idempotent);
/// # let _ = layer;
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot send a request body of type `{B}` a second time",
    label = "cannot replay this body",
    note = "`CloneBody`, the default, needs a body that is `Clone`, such as `http_body_util::Full<Bytes>` or `String`",
    note = "for any other body, keep a copy while it is sent: `BearerAuthLayer::new(source).replay(Buffered::up_to(64 * 1024))`",
    note = "or replay empty bodies only, `.replay(Buffered::up_to(0))`, or give up the retry and nothing else, `.replay(NoReplay)`"
)]
pub trait Replay<B>: ReplayPolicy {
    /// The body that is sent.
    type Body;
    /// What is kept while the request is under way.
    type Recording;

    /// The body of a request that is never retried.
    fn pass(&self, body: B) -> Self::Body;

    /// The body for the first attempt, and what is kept for the retry; `None` if there can be none. `head` is the request's,
    /// without the token.
    fn record(&self, head: &Parts, body: B) -> (Self::Body, Option<Self::Recording>);

    /// The body for the retry; `None` if it cannot be replayed after all.
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

/// Lets a policy be shared, or chosen at run time.
impl<B, T: Replay<B> + ?Sized> Replay<B> for Arc<T> {
    type Body = T::Body;
    type Recording = T::Recording;

    fn pass(&self, body: B) -> T::Body {
        (**self).pass(body)
    }

    fn record(&self, head: &Parts, body: B) -> (T::Body, Option<T::Recording>) {
        (**self).record(head, body)
    }

    fn rewind(&self, recording: T::Recording) -> Option<T::Body> {
        (**self).rewind(recording)
    }
}

/// Sends a clone: the default, for bodies that are cheap to clone.
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

    fn record(&self, _: &Parts, body: B) -> (B, Option<B>) {
        (body.clone(), Some(body))
    }

    fn rewind(&self, recording: B) -> Option<B> {
        Some(recording)
    }
}

/// Keeps nothing: each request is sent once. A rejected token is still replaced, for later requests.
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

    fn record(&self, _: &Parts, body: B) -> (B, Option<Infallible>) {
        (body, None)
    }

    fn rewind(&self, recording: Infallible) -> Option<B> {
        match recording {}
    }
}
