//! A segment of stored bytes, in an allocation or in pages.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;
use yatagarasu_sys::pages::Pages;

/// Contiguous stored bytes. Clones share them.
#[derive(Debug, Clone)]
pub enum Segment {
    /// Bytes on the heap.
    Heap(Bytes),
    /// Bytes in pages of their own, which can be sent without a copy.
    Pages(Arc<Pages>),
}

/// A segment that still grows. `seal` makes it a [`Segment`].
#[derive(Debug)]
pub(super) enum Growing {
    Heap(Vec<u8>),
    Pages(Pages),
}

impl Segment {
    /// Returns the bytes in `range` without a copy.
    pub(super) fn part(&self, range: Range<usize>) -> Bytes {
        match self {
            Self::Heap(bytes) => bytes.slice(range),
            Self::Pages(pages) => Bytes::from_owner(Shared(Arc::clone(pages))).slice(range),
        }
    }

    /// Returns the memory taken in bytes.
    pub(super) fn allocated(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.len(),
            Self::Pages(pages) => pages.allocated(),
        }
    }
}

impl Deref for Segment {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Pages(pages) => pages,
        }
    }
}

/// The owner of [`Bytes`] that lie in pages.
struct Shared(Arc<Pages>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Growing {
    /// Creates a segment with room for `length` bytes, in pages if they suit that length and are available.
    pub(super) fn with_room_for(length: usize) -> Self {
        Pages::with_room_for(length).map_or_else(|| Self::Heap(Vec::with_capacity(length)), Self::Pages)
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Pages(pages) if pages.room() >= bytes.len() => pages.push(bytes),
            // The source sent more than it promised. Pages cannot grow.
            Self::Pages(pages) => *self = Self::Heap([&**pages, bytes].concat()),
            Self::Heap(vec) => vec.extend_from_slice(bytes),
        }
    }

    pub(super) fn seal(self) -> Segment {
        match self {
            Self::Heap(mut bytes) => {
                bytes.shrink_to_fit();
                Segment::Heap(Bytes::from(bytes))
            }
            Self::Pages(pages) => Segment::Pages(Arc::new(pages)),
        }
    }
}

impl Deref for Growing {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Pages(pages) => pages,
        }
    }
}

impl Default for Growing {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}
