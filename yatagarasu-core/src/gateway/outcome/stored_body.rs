//! A body from memory.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::cache::entry::StoredObject;

/// A part of a stored object on its way to a client. Holds no memory but the object's own.
#[derive(Debug)]
pub struct StoredBody {
    object: Arc<StoredObject>,
    rest: Range<u64>,
}

impl StoredBody {
    /// Serves `range` of `object`.
    pub fn new(object: Arc<StoredObject>, range: Range<u64>) -> Self {
        Self { object, rest: range }
    }

    /// The bytes still to come.
    pub(super) fn remaining(&self) -> u64 {
        self.rest.end - self.rest.start
    }

    /// Goes on with another part.
    pub(super) fn select(&mut self, range: Range<u64>) {
        self.rest = range;
    }

    pub(super) fn next(&mut self) -> Option<Bytes> {
        let slice = self.object.slice(&self.rest);
        self.rest.start += slice.len() as u64;
        (!slice.is_empty()).then_some(slice)
    }
}
