//! A body from memory.

use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::cache::entry::CacheEntry;
use crate::turns::BodyTurn;

/// A range of a stored object on its way to a client. It shares the object's memory and copies nothing.
#[derive(Debug)]
pub struct StoredBody {
    object: Arc<CacheEntry>,
    rest: Range<u64>,
    turn: BodyTurn,
}

impl StoredBody {
    /// Serves `range` of `object`.
    pub fn new(object: Arc<CacheEntry>, range: Range<u64>) -> Self {
        Self { object, rest: range, turn: BodyTurn::default() }
    }

    /// Returns the object.
    pub(super) fn object(&self) -> &Arc<CacheEntry> {
        &self.object
    }

    /// Returns `true` if all bytes of the object are still to come.
    pub(super) fn is_whole(&self) -> bool {
        self.object.whole().is_some() && self.rest == (0..self.object.length())
    }

    /// Returns the number of bytes still to come.
    pub(super) fn remaining(&self) -> u64 {
        self.rest.end - self.rest.start
    }

    /// Sets the range to serve next.
    pub(super) fn select(&mut self, range: Range<u64>) {
        self.rest = range;
    }

    /// Returns the next bytes in the body's turn, and `None` at the end.
    pub(super) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let slice = self.object.slice(&self.rest);
        if slice.is_empty() {
            return Poll::Ready(None);
        }
        ready!(self.turn.poll(cx));
        self.turn.moved(slice.len());
        self.rest.start += slice.len() as u64;
        Poll::Ready(Some(slice))
    }
}
