//! The bytes of an object as a list of segments, and the builder that fills it.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::cache::segment::{Growing, Segment};

/// Length in bytes of every segment but the last.
///
/// It is large enough to write a hit in few system calls. It is small enough that copying a segment during a fill does
/// not block the other clients of the thread for long.
pub const SEGMENT_BYTES: usize = 256 * 1024;

/// Maximum number of bytes copied for one read from the open segment.
const COPY_BYTES_MAX: usize = 16 * 1024;

/// The bytes of an object in their own memory. They do not keep the read buffers they came from alive.
#[derive(Debug, Clone, Default)]
pub struct Segments {
    /// Most objects have one, which needs no allocation.
    segments: SmallVec<[Segment; 1]>,
}

impl Segments {
    /// Creates the object that these segments make up. All but the last must be [`SEGMENT_BYTES`] long.
    pub(super) fn of(segments: impl IntoIterator<Item = Segment>) -> Self {
        Self { segments: segments.into_iter().collect() }
    }

    /// Returns the length of the object in bytes.
    pub fn length(&self) -> u64 {
        let Some((last, others)) = self.segments.split_last() else { return 0 };
        others.len() as u64 * SEGMENT_BYTES as u64 + last.len() as u64
    }

    /// Returns the segments from the one with `offset` on, and the position of `offset` in the first of them.
    ///
    /// If `offset` is not below the length, there are no segments or the position is not in the first of them.
    pub fn from(&self, offset: u64) -> (&[Segment], usize) {
        let (index, offset) = locate(offset);
        (self.segments.get(index..).unwrap_or_default(), offset)
    }

    /// Returns the memory taken in bytes, the list of segments included.
    pub fn allocated(&self) -> usize {
        let bytes: usize = self.segments.iter().map(Segment::allocated).sum();
        let list = if self.segments.spilled() { self.segments.capacity() * size_of::<Segment>() } else { 0 };
        bytes + list
    }

    /// Returns the bytes from `range.start` on, as far as they lie in `range` and in one segment.
    ///
    /// Returns no bytes if `range` is empty or starts beyond the object.
    pub fn slice(&self, range: &Range<u64>) -> Bytes {
        let (index, offset) = locate(range.start);
        match self.segments.get(index) {
            Some(segment) if range.start < range.end => {
                let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                segment.part(offset.min(segment.len())..segment.len().min(offset.saturating_add(wanted)))
            }
            _ => Bytes::new(),
        }
    }
}

/// Returns the index of the segment with `offset`, and the position in that segment.
fn locate(offset: u64) -> (usize, usize) {
    let segment = SEGMENT_BYTES as u64;
    let index = usize::try_from(offset / segment).unwrap_or(usize::MAX);
    (index, usize::try_from(offset % segment).expect("less than a segment"))
}

/// Copies received bytes into segments. Followers of the fill can read them while it runs.
#[derive(Debug, Default)]
pub struct SegmentsBuilder {
    sealed: Segments,
    open: Growing,
    /// Length of the object, if known, so that the last segment is allocated to size.
    promised: Option<u64>,
}

impl SegmentsBuilder {
    /// Creates an empty builder for an object of `length` bytes, if that is known.
    pub fn new(length: Option<u64>) -> Self {
        let segments = length.map_or(0, |length| locate(length).0 + 1);
        let sealed = Segments { segments: SmallVec::with_capacity(segments) };
        Self { sealed, open: Growing::default(), promised: length }
    }

    /// Returns the number of bytes pushed so far.
    pub fn length(&self) -> u64 {
        self.sealed.length() + self.open.len() as u64
    }

    /// Appends the next bytes. More than the known length are accepted.
    pub fn push(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            if self.open.is_empty() {
                let rest = self.promised.map_or(0, |promised| promised.saturating_sub(self.sealed.length()));
                let length = usize::try_from(rest).unwrap_or(usize::MAX).min(SEGMENT_BYTES);
                self.open = Growing::with_room_for(length);
            }
            let (now, later) = chunk.split_at(chunk.len().min(SEGMENT_BYTES - self.open.len()));
            self.open.push(now);
            chunk = later;
            if self.open.len() == SEGMENT_BYTES {
                self.seal();
            }
        }
    }

    /// Returns bytes from `range.start` on, as far as they have arrived. Returns no bytes if none has.
    ///
    /// Sealed segments are shared. Bytes of the open segment are copied, at most 16 KiB at a time, because a client
    /// that does not read keeps the copy in memory.
    pub fn read(&self, range: &Range<u64>) -> Bytes {
        let Some(into) = range.start.checked_sub(self.sealed.length()) else {
            return self.sealed.slice(&(range.start..range.end.min(self.sealed.length())));
        };
        let bound = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(self.open.len());
        let begin = bound(into);
        let end = bound(range.end.saturating_sub(self.sealed.length())).min(begin + COPY_BYTES_MAX);
        self.open.get(begin..end).map_or_else(Bytes::new, Bytes::copy_from_slice)
    }

    /// Seals the last segment and returns all segments.
    #[must_use]
    pub fn finish(mut self) -> Segments {
        self.seal();
        self.sealed.segments.shrink_to_fit();
        self.sealed
    }

    fn seal(&mut self) {
        if !self.open.is_empty() {
            let segment = std::mem::take(&mut self.open).seal();
            self.sealed.segments.push(segment);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use yatagarasu_sys::pages::{Pages, are_shareable, page_bytes};

    use super::*;

    fn bound(offset: u64) -> usize {
        usize::try_from(offset).unwrap()
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index % 251).to_le_bytes()[0]).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn whatever_is_pushed_is_read(
            length in prop_oneof![0usize..3 * SEGMENT_BYTES, 0..SEGMENT_BYTES],
            step in 1usize..100_000,
            start in 0u64..800_000,
            span in 0u64..800_000,
            known: bool,
        ) {
            let content = bytes(length);
            let mut builder = SegmentsBuilder::new(known.then_some(length as u64));
            let mut seen = Vec::new();
            for chunk in content.chunks(step) {
                builder.push(chunk);
                while (seen.len() as u64) < builder.length() {
                    seen.extend_from_slice(&builder.read(&(seen.len() as u64..builder.length())));
                }
            }
            prop_assert_eq!(&seen, &content);
            let segments = builder.finish();
            prop_assert_eq!(segments.length(), length as u64);
            let lists = (length / SEGMENT_BYTES + 2) * (size_of::<Segment>() + size_of::<Pages>() + 2 * size_of::<usize>());
            // A run of pages may be a ninth longer than its content.
            let waste = SEGMENT_BYTES / 9;
            prop_assert!(segments.allocated() <= length.next_multiple_of(page_bytes()) + waste + lists);

            let mut range = start.min(length as u64)..start.saturating_add(span).min(length as u64);
            let expected = content[bound(range.start)..bound(range.end)].to_vec();
            let mut part = Vec::new();
            while range.start < range.end {
                let slice = segments.slice(&range);
                prop_assert!(!slice.is_empty());
                range.start += slice.len() as u64;
                part.extend_from_slice(&slice);
            }
            prop_assert_eq!(part, expected);
        }
    }

    #[test]
    fn all_segments_of_a_length_that_is_known_can_be_lent_but_for_a_short_last_one() {
        if !are_shareable() {
            return;
        }
        let last = 4 * page_bytes();
        for (length, short) in [(2 * SEGMENT_BYTES + last, false), (2 * SEGMENT_BYTES + last - 1, true)] {
            let mut builder = SegmentsBuilder::new(Some(length as u64));
            builder.push(&bytes(length));
            let segments = builder.finish();
            let in_pages: Vec<_> =
                segments.from(0).0.iter().map(|segment| matches!(segment, Segment::Pages(_))).collect();
            assert_eq!(in_pages, [true, true, !short], "{length}");
        }
    }

    #[test]
    fn more_than_was_promised_is_taken_too() {
        for promised in [20_000, 100_000, 200_000] {
            let content = bytes(250_000);
            let mut builder = SegmentsBuilder::new(Some(promised));
            content.chunks(7000).for_each(|chunk| builder.push(chunk));
            let segments = builder.finish();
            assert!(*segments.slice(&(0..250_000)) == *content, "{promised}");
        }
    }
}
