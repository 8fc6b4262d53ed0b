//! What a request keeps in memory while its body streams, counted by the allocator.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    alloc::System,
    convert::Infallible,
    iter,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, request::Parts as Head};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tower_bearer::replay::{Buffered, Replay};

/// Counts what is allocated, and what of it was freed again.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LIMIT: usize = 64 * KIB;
const KIB: usize = 1024;

/// What is not the copy: a few small boxes, and the test runner's own.
const SLACK: usize = 8 * KIB;

/// Promise: B2
#[test]
fn a_stream_of_100_mib_takes_no_more_than_the_limit_and_then_nothing() {
    let _alone = alone();
    let before = allocated();
    let (mut wire, _recording) = Buffered::up_to(LIMIT).record(&no_headers(), parts(16 * KIB));
    let mut most = 0;
    for part in 0..100 * KIB / 16 {
        let frame = next(&mut wire).unwrap();
        assert_eq!(frame.into_data().unwrap().len(), 16 * KIB);
        most = most.max(allocated().saturating_sub(before));
        if part >= LIMIT / (16 * KIB) {
            assert!(
                allocated().saturating_sub(before) < SLACK,
                "kept past the limit"
            );
        }
    }
    // The part on its way is there as well.
    assert!(most >= LIMIT - SLACK, "{most} bytes: nothing was kept");
    assert!(most <= LIMIT + 16 * KIB + SLACK, "{most} bytes at the most");
}

/// A body's parts may be cut from larger buffers, which must not be kept for them.
///
/// Promise: B2
#[test]
fn parts_that_are_cut_from_large_buffers_take_no_more_than_they_say() {
    let _alone = alone();
    let before = allocated();
    let slices = iter::repeat_with(|| Bytes::from(vec![7; 16 * KIB]).split_to(1));
    let (mut wire, recording) = Buffered::up_to(LIMIT).record(&no_headers(), stream(slices));
    for _ in 0..LIMIT {
        next(&mut wire).unwrap();
    }
    let kept = allocated().saturating_sub(before);
    assert!(
        (LIMIT - SLACK..=LIMIT + SLACK).contains(&kept),
        "{kept} bytes"
    );
    drop((wire, recording));
    assert!(allocated().saturating_sub(before) < SLACK);
}

/// A body of unknown length grows its copy by doubling, but not past the limit.
///
/// Promise: B2
#[test]
fn a_copy_never_has_room_for_more_than_the_limit() {
    let _alone = alone();
    let before = allocated();
    let (mut wire, _recording) = Buffered::up_to(LIMIT).record(&no_headers(), parts(KIB));
    for _ in 0..LIMIT / KIB {
        next(&mut wire).unwrap();
        let kept = allocated().saturating_sub(before);
        assert!(kept <= LIMIT + SLACK, "{kept} bytes");
    }
}

/// Promise: B2
#[test]
fn a_request_that_is_over_or_dropped_frees_what_was_kept_of_it() {
    let _alone = alone();
    let before = allocated();

    // Over: nobody will ask for the body again, which still streams.
    let (mut wire, recording) = Buffered::up_to(LIMIT).record(&no_headers(), parts(16 * KIB));
    next(&mut wire).unwrap();
    drop(recording);
    next(&mut wire).unwrap();
    assert!(allocated().saturating_sub(before) < SLACK);

    // Dropped: the client drops the body.
    let (mut wire, _recording) = Buffered::up_to(LIMIT).record(&no_headers(), parts(16 * KIB));
    next(&mut wire).unwrap();
    assert!(allocated().saturating_sub(before) >= 16 * KIB - SLACK);
    drop(wire);
    assert!(allocated().saturating_sub(before) < SLACK);
}

/// The head of a request that says nothing about its body.
fn no_headers() -> Head {
    Request::new(()).into_parts().0
}

type Parts<I> = StreamBody<tokio_stream::Iter<I>>;

/// An endless body of parts of this size.
fn parts(size: usize) -> Parts<impl Iterator<Item = Result<Frame<Bytes>, Infallible>>> {
    stream(iter::repeat_with(move || Bytes::from(vec![7; size])))
}

fn stream<I>(parts: I) -> Parts<impl Iterator<Item = Result<Frame<Bytes>, Infallible>>>
where
    I: Iterator<Item = Bytes>,
{
    StreamBody::new(tokio_stream::iter(parts.map(|part| Ok(Frame::data(part)))))
}

fn next<B>(body: &mut B) -> Option<Frame<Bytes>>
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Unpin,
{
    let mut frame = body.frame();
    loop {
        // Not for want of a part: an iterator as a stream lets others go first now and then.
        if let Poll::Ready(frame) =
            Pin::new(&mut frame).poll(&mut Context::from_waker(Waker::noop()))
        {
            return frame.map(|frame| frame.unwrap());
        }
    }
}

/// How many bytes are allocated and not freed.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// One at a time, for the memory is the process's.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}
