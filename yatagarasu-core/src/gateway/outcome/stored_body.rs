//! A body from memory.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::cache::entry::CacheEntry;

/// A range of a stored object on its way to a client. It shares the object's memory and copies nothing.
#[derive(Debug)]
pub struct StoredBody {
    object: Arc<CacheEntry>,
    rest: Range<u64>,
}

impl StoredBody {
    /// Serves `range` of `object`.
    pub fn new(object: Arc<CacheEntry>, range: Range<u64>) -> Self {
        Self { object, rest: range }
    }

    /// Returns the object.
    pub(super) fn object(&self) -> &Arc<CacheEntry> {
        &self.object
    }

    /// Returns the number of bytes still to come.
    pub(super) fn remaining(&self) -> u64 {
        self.rest.end - self.rest.start
    }

    /// Sets the range to serve next.
    pub(super) fn select(&mut self, range: Range<u64>) {
        self.rest = range;
    }

    pub(super) fn next(&mut self) -> Option<Bytes> {
        let slice = self.object.slice(&self.rest);
        self.rest.start += slice.len() as u64;
        (!slice.is_empty()).then_some(slice)
    }
}
