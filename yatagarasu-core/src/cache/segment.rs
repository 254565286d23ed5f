use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;
use yatagarasu_sys::pages::Pages;

/// Bytes that lie in one piece, shared.
#[derive(Debug, Clone)]
pub enum Segment {
    /// In an allocation.
    Heap(Bytes),
    /// In pages of their own.
    Pages(Arc<Pages>),
}

/// A segment that still grows.
#[derive(Debug)]
pub(super) enum Growing {
    Heap(Vec<u8>),
    Pages(Pages),
}

impl Segment {
    /// Shares some of the bytes.
    pub(super) fn part(&self, range: Range<usize>) -> Bytes {
        match self {
            Self::Heap(bytes) => bytes.slice(range),
            Self::Pages(pages) => Bytes::from_owner(Shared(Arc::clone(pages))).slice(range),
        }
    }

    /// Bytes of memory taken.
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

/// Pages as what bytes are a part of.
struct Shared(Arc<Pages>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Growing {
    /// Begins one of `length` bytes.
    pub(super) fn with_room_for(length: usize) -> Self {
        Pages::with_room_for(length).map_or_else(|| Self::Heap(Vec::with_capacity(length)), Self::Pages)
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Pages(pages) if pages.room() >= bytes.len() => pages.push(bytes),
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
