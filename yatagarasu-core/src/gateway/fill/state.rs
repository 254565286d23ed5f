//! The state of one fill, shared between the task that fetches and the readers that wait for it.

use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::budget::Reservation;
use crate::cache::CacheKey;
use crate::cache::entry::CacheEntry;
use crate::cache::segments::SegmentsBuilder;
use crate::caching::storability::NotStoredReason;
use crate::gateway::fill::waiting::Waiting;
use crate::gateway::lookup::Selecting;
use crate::object::meta::ObjectMeta;
use crate::source::Object;
use crate::source::error::SourceError;
use crate::source::trace::SourceTrace;
use crate::sync::{Mutex, MutexGuard};

/// The keys that a fill is listed under: mostly one.
pub(in crate::gateway) type Keys = SmallVec<[CacheKey; 1]>;

/// The id of the reader that began a fill.
pub(in crate::gateway) const BEGINNER: u64 = 1;

/// One object being fetched or revalidated, shared by all requests that wait for it.
#[derive(Debug)]
pub(in crate::gateway) struct Fill {
    begun: Instant,
    trace: Arc<SourceTrace>,
    state: Mutex<State>,
    /// The keys it is listed under. Changed only while the lock of the fill table is held.
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
pub(in crate::gateway) struct State {
    pub(in crate::gateway) stage: Stage,
    /// The fill that it has replaced in the table. `None` once the source has answered.
    earlier: Option<Arc<Fill>>,
    /// Wakers of the readers that wait for the next stage or the next bytes, by reader id.
    pub(in crate::gateway) waiting: Waiting,
    pub(in crate::gateway) readers: usize,
    pub(in crate::gateway) last_reader: u64,
    /// Whether the reader that began the fill is gone.
    pub(in crate::gateway) beginner_left: bool,
    /// Whether it goes on without readers, even before the source has answered.
    goes_on: bool,
    /// Budget for the object's memory. Held until the object is stored or the fill is dropped.
    reservation: Option<Reservation>,
    /// Waker of the fill task, woken when the last reader leaves.
    pub(in crate::gateway) task: Option<Waker>,
}

#[derive(Debug, Default)]
pub(in crate::gateway) enum Stage {
    /// The source has not answered yet.
    #[default]
    Asking,
    /// The object is small enough to store; its bytes arrive here.
    Receiving { head: Arc<Head>, bytes: SegmentsBuilder },
    /// The whole object is available.
    Complete(Completed),
    /// The object is not received into this fill. The open object goes to the reader that began the fill, because
    /// it was requested with that reader's fields; the other readers send requests of their own.
    Released(Option<Object>, Option<NotStoredReason>),
    /// The source confirmed the object that this earlier fill receives.
    Confirmed(Arc<Fill>),
    /// The source failed before or after its response head. Holds the variant that its answer is.
    Failed(SourceError, Option<Selecting>),
}

/// Everything known about an object once its response head has arrived.
#[derive(Debug)]
pub(in crate::gateway) struct Head {
    /// The fields as they were received, with those that are not stored, until the client that began the fill takes them.
    pub(in crate::gateway) received: Mutex<Option<ObjectMeta>>,
    /// Length of the content in bytes.
    pub(in crate::gateway) length: u64,
    /// Whether the content is a part of the object, which was asked for by a range.
    pub(in crate::gateway) is_part: bool,
    /// The object without its bytes.
    pub(in crate::gateway) object: CacheEntry,
    /// The variant it is. `None` if no forwarded field selects one.
    pub(in crate::gateway) selecting: Option<Selecting>,
}

/// The result of a successful fill.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Completed {
    pub(in crate::gateway) stored: Arc<CacheEntry>,
    /// The head of the source's response. `None` if the source confirmed the stored object (304).
    pub(in crate::gateway) head: Option<Arc<Head>>,
}

impl Completed {
    /// Returns `true` if it is a part of the object.
    pub(in crate::gateway) fn is_part(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.is_part)
    }

    /// Returns the variant it is. Returns `None` if the variant need not be checked.
    pub(in crate::gateway) fn selecting(&self) -> Option<&Selecting> {
        self.head.as_ref().and_then(|head| head.selecting.as_ref())
    }
}

impl Default for Fill {
    fn default() -> Self {
        Self::of(State::default())
    }
}

impl State {
    fn is_deserted(&self) -> bool {
        self.readers == 0 && !self.goes_on
    }
}

impl Fill {
    /// Creates a fill that goes on without readers. A reader that joins it later is never the beginner.
    pub(in crate::gateway) fn unread() -> Self {
        Self::of(State { last_reader: BEGINNER, beginner_left: true, goes_on: true, ..State::default() })
    }

    /// Creates a fill that takes the place of `earlier`.
    pub(in crate::gateway) fn following(earlier: Arc<Self>) -> Self {
        Self::of(State { earlier: Some(earlier), ..State::default() })
    }

    fn of(state: State) -> Self {
        Self {
            begun: Instant::now(),
            trace: Arc::default(),
            state: Mutex::new(state),
            keys: Mutex::default(),
        }
    }

    /// Returns the trace of the requests to the source that are made for it.
    pub(in crate::gateway) fn trace(&self) -> &Arc<SourceTrace> {
        &self.trace
    }

    /// Returns since when it waits for the source. Returns `None` once the source has answered.
    pub(in crate::gateway) fn asking_since(&self) -> Option<Instant> {
        matches!(self.state().stage, Stage::Asking).then_some(self.begun)
    }

    /// Makes it go on without readers.
    pub(in crate::gateway) fn go_on(&self) {
        self.state().goes_on = true;
    }

    /// Returns `true` if the reader that began it is still there.
    pub(in crate::gateway) fn has_beginner(&self) -> bool {
        !self.state().beginner_left
    }

    /// Returns the fill that it has replaced in the table. Returns `None` once the source has answered.
    pub(in crate::gateway) fn earlier(&self) -> Option<Arc<Self>> {
        self.state().earlier.clone()
    }

    /// Locks and returns the keys it is listed under.
    pub(in crate::gateway) fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if it has no readers, and does not go on without any.
    pub(in crate::gateway) fn is_deserted(&self) -> bool {
        self.state().is_deserted()
    }

    /// Waits until it is deserted. Only the fill task may call it, because one waker is kept.
    pub(in crate::gateway) async fn deserted(&self) {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.is_deserted() {
                return Poll::Ready(());
            }
            state.task = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Enters the receiving stage. `reservation` covers the object's memory.
    pub(in crate::gateway) fn receive(&self, head: Arc<Head>, reservation: Reservation) {
        self.state().reservation = Some(reservation);
        let bytes = SegmentsBuilder::new(Some(head.length));
        self.advance(Stage::Receiving { head, bytes });
    }

    /// Appends the next bytes and wakes the readers.
    pub(in crate::gateway) fn push(&self, chunk: &[u8]) {
        let mut state = self.state();
        let Stage::Receiving { bytes, .. } = &mut state.stage else {
            unreachable!("bytes arrive while receiving only")
        };
        bytes.push(chunk);
        wake(state);
    }

    /// Releases the budget: the object is stored, and the cache's capacity accounts for it now.
    pub(in crate::gateway) fn unreserve(&self) {
        self.state().reservation = None;
    }

    /// Ends the fill without an object; every reader sends a request of its own.
    pub(in crate::gateway) fn release_all(&self, obstacle: Option<NotStoredReason>) {
        self.advance(Stage::Released(None, obstacle));
    }

    /// Ends the body. `store` builds the object that readers are served from now on; it is returned.
    pub(in crate::gateway) fn finish(
        &self,
        store: impl FnOnce(&Head, SegmentsBuilder) -> Arc<CacheEntry>,
    ) -> Arc<CacheEntry> {
        let mut state = self.state();
        let Stage::Receiving { head, bytes } = &mut state.stage else {
            unreachable!("what ends was being received")
        };
        let stored = store(head, std::mem::take(bytes));
        let head = Some(Arc::clone(head));
        state.stage = Stage::Complete(Completed { stored: Arc::clone(&stored), head });
        wake(state);
        stored
    }

    /// Completes the fill with an object that need not be received.
    pub(in crate::gateway) fn complete_with(&self, completed: Completed) {
        self.advance(Stage::Complete(completed));
    }

    /// Gives the open object to the reader that began the fill. The other readers send requests of their own.
    pub(in crate::gateway) fn release(&self, object: Object, obstacle: Option<NotStoredReason>) {
        let mut state = self.state();
        let (given, unwanted) = if state.beginner_left { (None, Some(object)) } else { (Some(object), None) };
        state.stage = Stage::Released(given, obstacle);
        let earlier = state.earlier.take();
        wake(state);
        drop((unwanted, earlier));
    }

    /// Ends the fill: its readers read from `earlier`, which still receives the object.
    pub(in crate::gateway) fn confirm(&self, earlier: Arc<Fill>) {
        self.advance(Stage::Confirmed(earlier));
    }

    /// Returns `true` if the object is being received, or has been.
    pub(in crate::gateway) fn has_object(&self) -> bool {
        matches!(self.state().stage, Stage::Receiving { .. } | Stage::Complete(_))
    }

    /// Returns the object once all of it is there.
    pub(in crate::gateway) fn complete(&self) -> Option<Arc<CacheEntry>> {
        match &self.state().stage {
            Stage::Complete(completed) => Some(Arc::clone(&completed.stored)),
            Stage::Asking
            | Stage::Receiving { .. }
            | Stage::Released(..)
            | Stage::Confirmed(_)
            | Stage::Failed(..) => None,
        }
    }

    /// Returns the head of the object while it is being received.
    pub(in crate::gateway) fn receiving(&self) -> Option<Arc<Head>> {
        match &self.state().stage {
            Stage::Receiving { head, .. } => Some(Arc::clone(head)),
            Stage::Asking
            | Stage::Complete(_)
            | Stage::Released(..)
            | Stage::Confirmed(_)
            | Stage::Failed(..) => None,
        }
    }

    /// Ends the fill with the source's error. All readers share it that select the same variant.
    pub(in crate::gateway) fn fail(&self, error: SourceError, selecting: Option<Selecting>) {
        self.advance(Stage::Failed(error, selecting));
    }

    /// Fails a fill that its task left unfinished. Its readers would wait forever otherwise.
    pub(in crate::gateway) fn abandon(&self) {
        let unfinished = match self.state().stage {
            Stage::Asking | Stage::Receiving { .. } => true,
            Stage::Complete(_) | Stage::Released(..) | Stage::Confirmed(_) | Stage::Failed(..) => false,
        };
        if unfinished {
            self.fail(SourceError::unavailable("the gateway stopped fetching the object"), None);
        }
    }

    fn advance(&self, stage: Stage) {
        let mut state = self.state();
        state.stage = stage;
        let earlier = state.earlier.take();
        wake(state);
        // It may hold the last reference to an object, which is freed without the lock.
        drop(earlier);
    }

    pub(in crate::gateway) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Releases the lock, then wakes the readers, so that none of them blocks on it.
fn wake(mut state: MutexGuard<'_, State>) {
    let waiting = std::mem::take(&mut state.waiting);
    drop(state);
    waiting.wake();
}
