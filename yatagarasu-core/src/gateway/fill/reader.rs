use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::caching::storability::Obstacle;
use crate::gateway::fill::state::{BEGINNER, Completed, Fill, Head, Stage};
use crate::source::Object;
use crate::source::error::SourceError;

/// One client's place in a fill. Goes at its own pace; of the segment that still grows it is handed copies.
pub struct FillReader {
    fill: Arc<Fill>,
    id: u64,
    rest: Range<u64>,
    /// Whether the object's head was here when this reader came.
    late: bool,
}

/// What a reader finds once the source has answered.
#[derive(Debug)]
pub(in crate::gateway) enum Opened {
    /// The object's head; the reader will give its bytes.
    Receiving(Arc<Head>),
    /// The whole object.
    Complete(Completed),
    /// The object, to be streamed by this reader's client alone.
    Streaming(Object, Option<Obstacle>),
    /// Nothing: the reader's client has to ask for itself.
    Released(Option<Obstacle>),
    /// The source's failure.
    Failed(SourceError),
}

impl FillReader {
    pub(in crate::gateway) fn new(fill: Arc<Fill>) -> Self {
        let mut state = fill.state();
        state.readers += 1;
        state.last_reader += 1;
        let (id, late) =
            (state.last_reader, matches!(state.stage, Stage::Receiving { .. } | Stage::Complete(_)));
        drop(state);
        Self { fill, id, rest: 0..0, late }
    }

    pub(in crate::gateway) fn fill(&self) -> Arc<Fill> {
        Arc::clone(&self.fill)
    }

    /// Whether the object was asked for in this reader's name.
    pub(in crate::gateway) fn is_beginner(&self) -> bool {
        self.id == BEGINNER
    }

    /// Whether it joined a fill after the source had answered.
    pub(in crate::gateway) fn is_late(&self) -> bool {
        self.late
    }

    /// Reads these bytes from now on.
    pub(crate) fn select(&mut self, range: Range<u64>) {
        self.rest = range;
    }

    /// The bytes this client has not read yet.
    pub fn remaining(&self) -> u64 {
        self.rest.end - self.rest.start
    }

    /// Waits for the source's answer.
    pub(in crate::gateway) async fn opened(&self) -> Opened {
        poll_fn(|cx| {
            let mut state = self.fill.state();
            Poll::Ready(match &mut state.stage {
                Stage::Asking => {
                    state.waiting.insert(self.id, cx.waker().clone());
                    return Poll::Pending;
                }
                Stage::Receiving { head, .. } => Opened::Receiving(Arc::clone(head)),
                Stage::Complete(completed) => Opened::Complete(completed.clone()),
                Stage::Released(object, obstacle) if self.id == BEGINNER => match object.take() {
                    Some(object) => Opened::Streaming(object, *obstacle),
                    None => Opened::Released(*obstacle),
                },
                Stage::Released(_, obstacle) => Opened::Released(*obstacle),
                Stage::Failed(error) => Opened::Failed(error.clone()),
            })
        })
        .await
    }

    /// Gives the next bytes that are here, all of them up to the end of a segment.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, SourceError>>> {
        if self.remaining() == 0 {
            return Poll::Ready(None);
        }
        let mut state = self.fill.state();
        let bytes = match &state.stage {
            Stage::Receiving { bytes, .. } => bytes.read(&self.rest),
            Stage::Complete(completed) => completed.stored.slice(&self.rest),
            Stage::Failed(error) => {
                let error = error.clone();
                drop(state);
                self.rest.start = self.rest.end;
                return Poll::Ready(Some(Err(error)));
            }
            Stage::Asking | Stage::Released(..) => unreachable!("a reader reads what it found receiving"),
        };
        if bytes.is_empty() {
            state.waiting.insert(self.id, cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        self.rest.start += bytes.len() as u64;
        Poll::Ready(Some(Ok(bytes)))
    }
}

impl Drop for FillReader {
    fn drop(&mut self) {
        let mut state = self.fill.state();
        state.readers -= 1;
        state.waiting.remove(&self.id);
        state.beginner_left |= self.id == BEGINNER;
        let lead = if state.readers == 0 { state.lead.take() } else { None };
        let beginner_left = state.beginner_left;
        let unwanted = match &mut state.stage {
            Stage::Released(object, _) if beginner_left => object.take(),
            Stage::Released(..)
            | Stage::Asking
            | Stage::Receiving { .. }
            | Stage::Complete(_)
            | Stage::Failed(_) => None,
        };
        drop(state);
        drop(unwanted);
        if let Some(lead) = lead {
            lead.wake();
        }
    }
}

impl fmt::Debug for FillReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FillReader").field("rest", &self.rest).finish_non_exhaustive()
    }
}
