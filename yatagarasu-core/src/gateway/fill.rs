use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::budget::Reservation;
use crate::stored::SegmentsBuilder;
use crate::{Object, ObjectMeta, SourceError, StoredObject};

/// One object being fetched, and everyone who waits for it.
#[derive(Debug, Default)]
pub(super) struct Fill {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    /// Readers that wait for the next stage or the next bytes.
    waiting: HashMap<u64, Waker>,
    readers: usize,
    last_reader: u64,
    /// Whether the reader that began the fill has left.
    beginner_left: bool,
    /// The memory the object takes, until its last reader has left.
    reservation: Option<Reservation>,
    /// Who fetches the object, waiting to hear that nobody wants it any more.
    lead: Option<Waker>,
}

#[derive(Debug, Default)]
enum Stage {
    /// The source has not answered yet.
    #[default]
    Asking,
    /// The object is small enough: its bytes arrive here, `length` in all.
    Receiving { meta: Arc<ObjectMeta>, length: u64, bytes: SegmentsBuilder },
    /// All of it is here.
    Complete(Arc<StoredObject>),
    /// It will not be stored. The open object is for the reader that began the fill, whose request fields it was
    /// asked with; the others ask for themselves.
    Released(Option<Object>),
    /// The source failed, after its head or before.
    Failed(SourceError),
}

/// What a reader finds once the source has answered.
#[derive(Debug)]
pub(super) enum Opened {
    /// The object's fields; the reader will give its bytes.
    Receiving(Arc<ObjectMeta>),
    /// The object, to be streamed by this reader's client alone.
    Streaming(Object),
    /// Nothing: the reader's client has to ask for itself.
    Released,
    /// The source's failure.
    Failed(SourceError),
}

impl Fill {
    /// The object, if all of it is here.
    pub(super) fn complete(&self) -> Option<Arc<StoredObject>> {
        match &self.state().stage {
            Stage::Complete(stored) => Some(Arc::clone(stored)),
            Stage::Asking | Stage::Receiving { .. } | Stage::Released(_) | Stage::Failed(_) => None,
        }
    }

    /// Whether nobody reads.
    pub(super) fn is_deserted(&self) -> bool {
        self.state().readers == 0
    }

    /// Waits until nobody reads. Only the fill's lead may wait.
    pub(super) async fn deserted(&self) {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.readers == 0 {
                return Poll::Ready(());
            }
            state.lead = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Says that `length` bytes will arrive here, in memory that is reserved for as long as anyone reads them.
    pub(super) fn receive(&self, meta: Arc<ObjectMeta>, length: u64, reservation: Reservation) {
        self.state().reservation = Some(reservation);
        self.advance(Stage::Receiving { meta, length, bytes: SegmentsBuilder::new(Some(length)) });
    }

    /// Takes the next bytes.
    pub(super) fn push(&self, chunk: &[u8]) {
        let mut state = self.state();
        let Stage::Receiving { bytes, .. } = &mut state.stage else {
            unreachable!("bytes arrive while receiving only")
        };
        bytes.push(chunk);
        wake(state);
    }

    /// Ends the object: `store` makes of its bytes what is served and stored from now on.
    pub(super) fn finish(
        &self,
        store: impl FnOnce(SegmentsBuilder) -> Arc<StoredObject>,
    ) -> Arc<StoredObject> {
        let mut state = self.state();
        let Stage::Receiving { bytes, .. } = &mut state.stage else {
            unreachable!("what ends was being received")
        };
        let stored = store(std::mem::take(bytes));
        state.stage = Stage::Complete(Arc::clone(&stored));
        wake(state);
        stored
    }

    /// Gives the readers an object that is stored already.
    pub(super) fn complete_with(&self, stored: Arc<StoredObject>) {
        self.advance(Stage::Complete(stored));
    }

    /// Gives the open object to the reader that began the fill and sends the others to the source.
    pub(super) fn release(&self, object: Object) {
        let mut state = self.state();
        let (given, unwanted) = if state.beginner_left { (None, Some(object)) } else { (Some(object), None) };
        state.stage = Stage::Released(given);
        wake(state);
        drop(unwanted);
    }

    /// Shares the source's failure.
    pub(super) fn fail(&self, error: SourceError) {
        self.advance(Stage::Failed(error));
    }

    /// Ends a fill that its lead has left in the middle: those who wait would wait for ever.
    pub(super) fn abandon(&self) {
        let unfinished = match self.state().stage {
            Stage::Asking | Stage::Receiving { .. } => true,
            Stage::Complete(_) | Stage::Released(_) | Stage::Failed(_) => false,
        };
        if unfinished {
            self.fail(SourceError::broken("the fetch was given up"));
        }
    }

    fn advance(&self, stage: Stage) {
        let mut state = self.state();
        state.stage = stage;
        wake(state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the readers, after the lock is gone, so that none of them runs into it.
fn wake(mut state: MutexGuard<'_, State>) {
    let waiting = std::mem::take(&mut state.waiting);
    drop(state);
    waiting.into_values().for_each(Waker::wake);
}

/// The reader that begins a fill.
const BEGINNER: u64 = 1;

/// One client's place in a fill. Goes at its own pace; of the segment that still grows it is handed copies.
pub struct FillReader {
    fill: Arc<Fill>,
    id: u64,
    offset: u64,
    length: u64,
}

impl FillReader {
    pub(super) fn new(fill: Arc<Fill>) -> Self {
        let mut state = fill.state();
        state.readers += 1;
        state.last_reader += 1;
        let id = state.last_reader;
        drop(state);
        Self { fill, id, offset: 0, length: 0 }
    }

    pub(super) fn fill(&self) -> Arc<Fill> {
        Arc::clone(&self.fill)
    }

    /// Begins to read what is known to be received.
    pub(super) fn receiving(mut self, length: u64) -> Self {
        self.length = length;
        self
    }

    /// The bytes this client has not read yet.
    pub fn remaining(&self) -> u64 {
        self.length - self.offset
    }

    /// Waits for the source's answer.
    pub(super) async fn opened(&mut self) -> Opened {
        poll_fn(|cx| {
            let mut state = self.fill.state();
            let (opened, length) = match &mut state.stage {
                Stage::Asking => {
                    state.waiting.insert(self.id, cx.waker().clone());
                    return Poll::Pending;
                }
                Stage::Receiving { meta, length, .. } => (Opened::Receiving(Arc::clone(meta)), *length),
                Stage::Complete(stored) => {
                    (Opened::Receiving(Arc::new(stored.meta().clone())), stored.body().length())
                }
                Stage::Released(object) if self.id == BEGINNER => {
                    (object.take().map_or(Opened::Released, Opened::Streaming), 0)
                }
                Stage::Released(_) => (Opened::Released, 0),
                Stage::Failed(error) => (Opened::Failed(error.clone()), 0),
            };
            drop(state);
            self.length = length;
            Poll::Ready(opened)
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
            Stage::Receiving { bytes, .. } => bytes.read(self.offset),
            Stage::Complete(stored) => stored.body().slice(&(self.offset..self.length)),
            Stage::Failed(error) => {
                let error = error.clone();
                drop(state);
                self.offset = self.length;
                return Poll::Ready(Some(Err(error)));
            }
            Stage::Asking | Stage::Released(_) => unreachable!("a reader reads what it found receiving"),
        };
        if bytes.is_empty() {
            state.waiting.insert(self.id, cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        self.offset += bytes.len() as u64;
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
            Stage::Released(object) if beginner_left => object.take(),
            Stage::Released(_)
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
        f.debug_struct("FillReader")
            .field("offset", &self.offset)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
