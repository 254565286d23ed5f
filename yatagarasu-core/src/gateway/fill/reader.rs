//! A client's read position in a fill.

use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::caching::storability::NotStoredReason;
use crate::gateway::fill::state::{BEGINNER, Completed, Fill, Head, Stage};
use crate::gateway::lookup::Selecting;
use crate::source::Object;
use crate::source::error::SourceError;
use crate::source::trace::SourceTrace;
use crate::turns::BodyTurn;

/// One client's read position in a fill. It advances at the client's pace. Bytes of the segment that is still
/// growing are copied.
pub struct FillReader {
    fill: Arc<Fill>,
    id: u64,
    rest: Range<u64>,
    /// Whether the response head had arrived when this reader joined.
    late: bool,
    turn: BodyTurn,
}

/// The state of a fill once the source has answered.
#[derive(Debug)]
pub(in crate::gateway) enum Opened {
    /// The response head; the reader yields the bytes.
    Receiving(Arc<Head>),
    /// The whole object.
    Complete(Completed),
    /// The open object, to be streamed to this reader's client alone.
    Streaming(Object, Option<NotStoredReason>),
    /// No object: the reader's client must send a request of its own.
    Released(Option<NotStoredReason>),
    /// The source confirmed the object that another fill receives. A reader of that fill.
    Confirmed(FillReader),
    /// The source's error, and the variant that it answers.
    Failed(SourceError, Option<Selecting>),
}

impl FillReader {
    pub(in crate::gateway) fn new(fill: Arc<Fill>) -> Self {
        let mut state = fill.state();
        state.readers += 1;
        state.last_reader += 1;
        let (id, late) =
            (state.last_reader, matches!(state.stage, Stage::Receiving { .. } | Stage::Complete(_)));
        drop(state);
        Self { fill, id, rest: 0..0, late, turn: BodyTurn::default() }
    }

    pub(in crate::gateway) fn fill(&self) -> Arc<Fill> {
        Arc::clone(&self.fill)
    }

    /// Returns the trace of the requests to the source that are made for the fill.
    pub(in crate::gateway) fn trace(&self) -> Arc<SourceTrace> {
        Arc::clone(self.fill.trace())
    }

    /// Returns `true` if the source request was made from this reader's request.
    pub(in crate::gateway) fn is_beginner(&self) -> bool {
        self.id == BEGINNER
    }

    /// Returns `true` if the reader joined after the source had answered.
    pub(in crate::gateway) fn is_late(&self) -> bool {
        self.late
    }

    /// Sets the bytes to read next.
    pub(crate) fn select(&mut self, range: Range<u64>) {
        self.rest = range;
    }

    /// Returns the number of bytes still to read.
    pub fn remaining(&self) -> u64 {
        self.rest.end - self.rest.start
    }

    /// Waits for the source's answer.
    pub(in crate::gateway) async fn opened(&self) -> Opened {
        poll_fn(|cx| {
            let mut state = self.fill.state();
            Poll::Ready(match &mut state.stage {
                Stage::Asking => {
                    state.waiting.insert(self.id, cx.waker());
                    return Poll::Pending;
                }
                Stage::Receiving { head, .. } => Opened::Receiving(Arc::clone(head)),
                Stage::Complete(completed) => Opened::Complete(completed.clone()),
                Stage::Released(object, obstacle) if self.id == BEGINNER => match object.take() {
                    Some(object) => Opened::Streaming(object, *obstacle),
                    None => Opened::Released(*obstacle),
                },
                Stage::Released(_, obstacle) => Opened::Released(*obstacle),
                Stage::Confirmed(earlier) => Opened::Confirmed(Self::new(Arc::clone(earlier))),
                Stage::Failed(error, selecting) => Opened::Failed(error.clone(), selecting.clone()),
            })
        })
        .await
    }

    /// Returns the next bytes that have arrived, at most up to the end of a segment, in the body's turn. Waits if there
    /// are none; returns `None` at the end of the range.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, SourceError>>> {
        if self.remaining() == 0 {
            return Poll::Ready(None);
        }
        let fill = Arc::clone(&self.fill);
        let mut state = fill.state();
        let bytes = match &state.stage {
            Stage::Receiving { bytes, .. } if bytes.length() <= self.rest.start => {
                state.waiting.insert(self.id, cx.waker());
                return Poll::Pending;
            }
            // Only in its turn: it may be a copy.
            Stage::Receiving { bytes, .. } => {
                ready!(self.turn.poll(cx));
                bytes.read(&self.rest)
            }
            Stage::Complete(completed) => {
                ready!(self.turn.poll(cx));
                completed.stored.slice(&self.rest)
            }
            Stage::Failed(error, _) => {
                let error = error.clone();
                drop(state);
                self.rest.start = self.rest.end;
                return Poll::Ready(Some(Err(error)));
            }
            Stage::Asking | Stage::Released(..) | Stage::Confirmed(_) => {
                unreachable!("a reader reads what it found receiving")
            }
        };
        drop(state);
        self.turn.moved(bytes.len());
        self.rest.start += bytes.len() as u64;
        Poll::Ready(Some(Ok(bytes)))
    }
}

impl Drop for FillReader {
    fn drop(&mut self) {
        let mut state = self.fill.state();
        state.readers -= 1;
        state.waiting.remove(self.id);
        state.beginner_left |= self.id == BEGINNER;
        let task = if state.readers == 0 { state.task.take() } else { None };
        let beginner_left = state.beginner_left;
        let unwanted = match &mut state.stage {
            Stage::Released(object, _) if beginner_left => object.take(),
            Stage::Released(..)
            | Stage::Asking
            | Stage::Receiving { .. }
            | Stage::Complete(_)
            | Stage::Confirmed(_)
            | Stage::Failed(..) => None,
        };
        drop(state);
        // Dropping an open body abandons its source request; do that without the lock.
        drop(unwanted);
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl fmt::Debug for FillReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FillReader").field("rest", &self.rest).finish_non_exhaustive()
    }
}
