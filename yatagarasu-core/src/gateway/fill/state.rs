use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::budget::Reservation;
use crate::cache::CacheKey;
use crate::cache::entry::StoredObject;
use crate::cache::segments::SegmentsBuilder;
use crate::caching::storability::Obstacle;
use crate::gateway::lookup::Selecting;
use crate::object::meta::ObjectMeta;
use crate::source::Object;
use crate::source::error::SourceError;

/// The reader that begins a fill.
pub(in crate::gateway) const BEGINNER: u64 = 1;

/// One object being fetched or confirmed, and everyone who waits for it.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Fill {
    state: Mutex<State>,
    /// Where it is listed: the table's lock is held to change that.
    keys: Mutex<Vec<CacheKey>>,
}

#[derive(Debug, Default)]
pub(in crate::gateway) struct State {
    pub(in crate::gateway) stage: Stage,
    /// Readers that wait for the next stage or the next bytes.
    pub(in crate::gateway) waiting: HashMap<u64, Waker>,
    pub(in crate::gateway) readers: usize,
    pub(in crate::gateway) last_reader: u64,
    /// Whether the reader that began the fill has left.
    pub(in crate::gateway) beginner_left: bool,
    /// The memory the object takes, until its last reader has left.
    reservation: Option<Reservation>,
    /// Who fetches the object, waiting to hear that nobody wants it any more.
    pub(in crate::gateway) lead: Option<Waker>,
}

#[derive(Debug, Default)]
pub(in crate::gateway) enum Stage {
    /// The source has not answered yet.
    #[default]
    Asking,
    /// The object is small enough: its bytes arrive here.
    Receiving { head: Arc<Head>, bytes: SegmentsBuilder },
    /// All of it is here.
    Complete(Completed),
    /// It will not be stored. The open object is for the reader that began the fill, whose request fields it was
    /// asked with; the others ask for themselves.
    Released(Option<Object>, Option<Obstacle>),
    /// The source failed, after its head or before.
    Failed(SourceError),
}

/// What is known of an object once its head is here.
#[derive(Debug)]
pub(in crate::gateway) struct Head {
    /// The fields that the client gets in whose name the object was asked for, where these are others.
    pub(in crate::gateway) private: Option<ObjectMeta>,
    /// Bytes of the content.
    pub(in crate::gateway) length: u64,
    /// The object, but for its bytes.
    pub(in crate::gateway) object: StoredObject,
    /// Which variant it is.
    pub(in crate::gateway) selecting: Option<Selecting>,
}

/// A fill that has ended well.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Completed {
    pub(in crate::gateway) stored: Arc<StoredObject>,
    pub(in crate::gateway) how: How,
}

/// How a fill came by its object.
#[derive(Debug, Clone)]
pub(in crate::gateway) enum How {
    /// The source sent it, with this head.
    Fetched(Arc<Head>),
    /// The source confirmed what was stored.
    Confirmed,
    /// Another fill had just stored it.
    Found,
}

impl Completed {
    /// Whether it was stored before, by somebody else.
    pub(in crate::gateway) fn is_found(&self) -> bool {
        matches!(self.how, How::Found)
    }

    /// Which variant of its object it is, where that is to be checked.
    pub(in crate::gateway) fn selecting(&self) -> Option<&Selecting> {
        match &self.how {
            How::Fetched(head) => head.selecting.as_ref(),
            How::Confirmed | How::Found => None,
        }
    }
}

impl Fill {
    /// One that nobody reads: whoever joins it did not begin it.
    pub(in crate::gateway) fn unread() -> Self {
        let state = State { last_reader: BEGINNER, beginner_left: true, ..State::default() };
        Self { state: Mutex::new(state), keys: Mutex::default() }
    }

    /// Where it is listed.
    pub(in crate::gateway) fn keys(&self) -> MutexGuard<'_, Vec<CacheKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody reads.
    pub(in crate::gateway) fn is_deserted(&self) -> bool {
        self.state().readers == 0
    }

    /// Waits until nobody reads. Only the fill's lead may wait.
    pub(in crate::gateway) async fn deserted(&self) {
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

    /// Says that bytes will arrive here, in memory that is reserved for as long as anyone reads them.
    pub(in crate::gateway) fn receive(&self, head: Arc<Head>, reservation: Reservation) {
        self.state().reservation = Some(reservation);
        let bytes = SegmentsBuilder::new(Some(head.length));
        self.advance(Stage::Receiving { head, bytes });
    }

    /// Takes the next bytes.
    pub(in crate::gateway) fn push(&self, chunk: &[u8]) {
        let mut state = self.state();
        let Stage::Receiving { bytes, .. } = &mut state.stage else {
            unreachable!("bytes arrive while receiving only")
        };
        bytes.push(chunk);
        wake(state);
    }

    /// Gives the memory back: the cache's bounds hold for the object now.
    pub(in crate::gateway) fn unreserve(&self) {
        self.state().reservation = None;
    }

    /// Sends all readers to the source.
    pub(in crate::gateway) fn release_all(&self, obstacle: Option<Obstacle>) {
        self.advance(Stage::Released(None, obstacle));
    }

    /// Ends the object: `store` makes of its bytes what is served from now on.
    pub(in crate::gateway) fn finish(
        &self,
        store: impl FnOnce(&Head, SegmentsBuilder) -> Arc<StoredObject>,
    ) -> Arc<StoredObject> {
        let mut state = self.state();
        let Stage::Receiving { head, bytes } = &mut state.stage else {
            unreachable!("what ends was being received")
        };
        let stored = store(head, std::mem::take(bytes));
        let how = How::Fetched(Arc::clone(head));
        state.stage = Stage::Complete(Completed { stored: Arc::clone(&stored), how });
        wake(state);
        stored
    }

    /// Gives the readers what need not be received.
    pub(in crate::gateway) fn complete_with(&self, completed: Completed) {
        self.advance(Stage::Complete(completed));
    }

    /// Gives the open object to the reader that began the fill and sends the others to the source.
    pub(in crate::gateway) fn release(&self, object: Object, obstacle: Option<Obstacle>) {
        let mut state = self.state();
        let (given, unwanted) = if state.beginner_left { (None, Some(object)) } else { (Some(object), None) };
        state.stage = Stage::Released(given, obstacle);
        wake(state);
        drop(unwanted);
    }

    /// Shares the source's failure.
    pub(in crate::gateway) fn fail(&self, error: SourceError) {
        self.advance(Stage::Failed(error));
    }

    /// Ends a fill that its lead has left in the middle: those who wait would wait for ever.
    pub(in crate::gateway) fn abandon(&self) {
        let unfinished = match self.state().stage {
            Stage::Asking | Stage::Receiving { .. } => true,
            Stage::Complete(_) | Stage::Released(..) | Stage::Failed(_) => false,
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

    pub(in crate::gateway) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the readers, after the lock is gone, so that none of them runs into it.
fn wake(mut state: MutexGuard<'_, State>) {
    let waiting = std::mem::take(&mut state.waiting);
    drop(state);
    waiting.into_values().for_each(Waker::wake);
}
