//! A partial entry: the stored pieces of an object.

use std::iter::once;
use std::ops::Range;

use bytes::Bytes;

use crate::cache::segments::{Segments, SegmentsBuilder};

/// Maximum number of pieces of an object; the documentation of `joined` repeats the number.
///
/// Finding bytes among more pieces would cost more than fetching them.
const PIECES_MAX: usize = 64;

/// Up to this many pieces, adjacent ones are not merged, because merging copies them.
const PIECES_LOOSE_MAX: usize = 16;

/// The stored bytes of an object, not necessarily all of them.
#[derive(Debug, Clone)]
pub struct Parts {
    complete_length: u64,
    /// Sorted by start. No piece is empty and no two overlap.
    pieces: Vec<Piece>,
}

/// Contiguous bytes and their start in the object.
#[derive(Debug, Clone)]
struct Piece {
    start: u64,
    segments: Segments,
}

impl Parts {
    /// Creates parts with one piece, which starts at `start` in an object of `complete_length` bytes.
    ///
    /// The piece must lie within the object.
    pub fn new(complete_length: u64, start: u64, segments: Segments) -> Self {
        let piece = Piece { start, segments };
        debug_assert!(piece.range().end <= complete_length, "a part lies within its object");
        let pieces = if piece.range().is_empty() { Vec::new() } else { vec![piece] };
        Self { complete_length, pieces }
    }

    /// Returns the complete length of the object in bytes.
    pub fn complete_length(&self) -> u64 {
        self.complete_length
    }

    /// Returns `true` if all bytes of `range` are stored, or if `range` is empty.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        let mut known = range.start;
        for piece in self.pieces.iter().map(Piece::range) {
            if piece.contains(&known) {
                known = piece.end;
            }
        }
        known >= range.end
    }

    /// Returns `true` if all bytes of the object are stored.
    pub fn is_whole(&self) -> bool {
        self.covers(&(0..self.complete_length))
    }

    /// Returns stored bytes from `range.start` on, as far as they lie in `range` and in one allocation.
    ///
    /// Returns no bytes if `range` is empty or the byte at `range.start` is not stored.
    pub fn slice(&self, range: &Range<u64>) -> Bytes {
        let after = self.pieces.partition_point(|piece| piece.start <= range.start);
        let piece = after.checked_sub(1).and_then(|index| self.pieces.get(index));
        piece.map_or_else(Bytes::new, |piece| piece.slice(range))
    }

    /// Returns the union of two sets of parts of the same version of an object.
    ///
    /// The pieces of `self` are shared. Of `other`, only bytes that `self` lacks are taken. If there are more than 16
    /// pieces, adjacent ones are merged.
    ///
    /// Returns `None` if the complete lengths differ or if more than 64 pieces remain.
    pub fn joined(&self, other: &Self) -> Option<Self> {
        if self.complete_length != other.complete_length {
            return None;
        }
        let mut missing: Vec<(&Piece, Range<u64>)> = Vec::new();
        for gap in self.gaps() {
            let within = other.pieces.iter().map(|piece| (piece, piece.within(&gap)));
            missing.extend(within.filter(|(_, range)| !range.is_empty()));
        }
        let mut pieces = Vec::with_capacity(self.pieces.len() + missing.len());
        pieces.extend_from_slice(&self.pieces);
        pieces.extend(missing.into_iter().map(|(piece, range)| piece.cut(&range)));
        pieces.sort_unstable_by_key(|piece| piece.start);
        if pieces.len() > PIECES_LOOSE_MAX {
            pieces = pieces.chunk_by(|one, next| one.range().end == next.start).map(Piece::merged).collect();
        }
        (pieces.len() <= PIECES_MAX).then_some(Self { complete_length: self.complete_length, pieces })
    }

    /// Returns the bytes of the object if all of them are stored. Copies them unless they are one piece.
    pub fn whole(&self) -> Option<Segments> {
        self.is_whole().then(|| Piece::merged(&self.pieces).segments)
    }

    /// Returns the number of bytes stored.
    #[cfg(test)]
    fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.segments.length()).sum()
    }

    /// Returns the memory taken in bytes, lists included.
    pub fn allocated(&self) -> usize {
        let segments: usize = self.pieces.iter().map(|piece| piece.segments.allocated()).sum();
        segments + self.pieces.capacity() * size_of::<Piece>()
    }

    /// Returns the ranges of the object that are not stored, in order.
    fn gaps(&self) -> impl Iterator<Item = Range<u64>> {
        let starts = once(0).chain(self.pieces.iter().map(|piece| piece.range().end));
        let ends = self.pieces.iter().map(|piece| piece.start).chain(once(self.complete_length));
        starts.zip(ends).map(|(start, end)| start..end).filter(|gap| !gap.is_empty())
    }
}

impl Piece {
    fn range(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.segments.length())
    }

    /// Merges adjacent pieces into one. Copies them unless there is only one.
    fn merged(pieces: &[Self]) -> Self {
        let (start, end) = match (pieces.first(), pieces.last()) {
            (Some(first), Some(last)) => (first.start, last.range().end),
            (None, _) | (_, None) => (0, 0),
        };
        if let [piece] = pieces {
            return piece.clone();
        }
        let mut builder = SegmentsBuilder::new(Some(end - start));
        for piece in pieces {
            let mut rest = 0..piece.segments.length();
            while rest.start < rest.end {
                let slice = piece.segments.slice(&rest);
                builder.push(&slice);
                rest.start += slice.len() as u64;
            }
        }
        Self { start, segments: builder.finish() }
    }

    fn within(&self, gap: &Range<u64>) -> Range<u64> {
        let range = self.range();
        range.start.max(gap.start)..range.end.min(gap.end)
    }

    fn slice(&self, range: &Range<u64>) -> Bytes {
        match range.start.checked_sub(self.start) {
            Some(start) => self.segments.slice(&(start..range.end.saturating_sub(self.start))),
            None => Bytes::new(),
        }
    }

    /// Returns the bytes in `range` as a piece.
    ///
    /// Copies them, so that the others do not stay in memory. Shares them if `range` is the whole piece.
    fn cut(&self, range: &Range<u64>) -> Self {
        if *range == self.range() {
            return self.clone();
        }
        let mut builder = SegmentsBuilder::new(Some(range.end - range.start));
        let mut rest = range.clone();
        loop {
            let slice = self.slice(&rest);
            if slice.is_empty() {
                return Self { start: range.start, segments: builder.finish() };
            }
            builder.push(&slice);
            rest.start += slice.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::segments::SEGMENT_BYTES;

    const LENGTH: u64 = 100;

    /// The reference model: each byte of the object, or `None` if it is not stored.
    type Model = Vec<Option<u8>>;

    fn place(offset: u64) -> usize {
        usize::try_from(offset).unwrap()
    }

    fn segments(bytes: &[u8]) -> Segments {
        let mut builder = SegmentsBuilder::new(Some(bytes.len() as u64));
        builder.push(bytes);
        builder.finish()
    }

    /// Reads from `range.start` to the end of the range or to the first missing byte.
    fn read(parts: &Parts, mut range: Range<u64>) -> Vec<u8> {
        let mut read = Vec::new();
        loop {
            let slice = parts.slice(&range);
            if slice.is_empty() {
                return read;
            }
            range.start += slice.len() as u64;
            read.extend_from_slice(&slice);
        }
    }

    /// Joins one part for each step `(start, length, byte)`. Returns the parts and their model.
    fn built(steps: &[(u64, u64, u8)]) -> (Parts, Model) {
        let mut parts = Parts::new(LENGTH, 0, Segments::default());
        let mut model: Model = vec![None; place(LENGTH)];
        for &(start, span, byte) in steps {
            let range = start..(start + span).min(LENGTH);
            let content = vec![byte; place(range.end - range.start)];
            parts = parts.joined(&Parts::new(LENGTH, start, segments(&content))).unwrap();
            for known in &mut model[place(range.start)..place(range.end)] {
                *known = known.or(Some(byte));
            }
        }
        (parts, model)
    }

    fn steps() -> impl Strategy<Value = Vec<(u64, u64, u8)>> {
        proptest::collection::vec((0..LENGTH, 0u64..40, any::<u8>()), 0..10)
    }

    #[test]
    fn an_empty_object_is_whole() {
        let parts = Parts::new(0, 0, Segments::default());
        assert!(parts.is_whole() && parts.covers(&(0..0)));
        assert!(parts.slice(&(0..1)).is_empty());
    }

    #[test]
    fn adjacent_pieces_are_covered_together() {
        let (parts, _) = built(&[(50, 50, 2), (0, 25, 1)]);
        assert!(parts.covers(&(0..25)) && parts.covers(&(60..100)));
        assert!(!parts.covers(&(20..60)) && !parts.covers(&(99..101)) && !parts.is_whole());
        let whole = parts.joined(&Parts::new(LENGTH, 25, segments(&[3; 25]))).unwrap();
        assert!(whole.is_whole() && whole.covers(&(20..60)));
        assert_eq!(read(&whole, 24..51), [&[1u8][..], &[3; 25], &[2]].concat());
    }

    #[test]
    fn objects_of_other_length_are_not_joined() {
        let one = Parts::new(10, 0, segments(b"ab"));
        assert!(one.joined(&Parts::new(11, 2, segments(b"cd"))).is_none());
    }

    #[test]
    fn pieces_are_counted() {
        let length = 4 * PIECES_MAX as u64;
        let piece = |index: usize| Parts::new(length, 2 * index as u64, segments(b"x"));
        let full = (1..PIECES_MAX).fold(piece(0), |parts, index| parts.joined(&piece(index)).unwrap());
        assert_eq!(full.bytes(), PIECES_MAX as u64);
        assert!(full.joined(&piece(PIECES_MAX)).is_none());
        assert!(full.joined(&piece(0)).is_some());
    }

    #[test]
    fn pieces_that_follow_each_other_become_one_and_the_whole() {
        let length = 1000;
        let piece = |index: u64| Parts::new(length, index * 10, segments(&[index.to_le_bytes()[0]; 10]));
        let whole = (1..100).fold(piece(0), |parts, index| parts.joined(&piece(index)).unwrap());
        let content: Vec<u8> = (0..length).map(|offset| (offset / 10).to_le_bytes()[0]).collect();
        assert_eq!(read(&whole, 0..length), content);
        let segments = whole.whole().unwrap();
        assert_eq!((segments.length(), segments.slice(&(0..length))), (length, content.into()));
        assert!(piece(0).whole().is_none());
    }

    #[test]
    fn a_piece_is_cut_across_its_segments() {
        let content: Vec<u8> =
            (0..3 * SEGMENT_BYTES + 7).map(|index| (index % 251).to_le_bytes()[0]).collect();
        let length = content.len() as u64;
        let middle = SEGMENT_BYTES - 5..2 * SEGMENT_BYTES + 11;
        let known = Parts::new(length, middle.start as u64, segments(&content[middle]));
        let whole = known.joined(&Parts::new(length, 0, segments(&content))).unwrap();
        assert!(whole.is_whole());
        assert_eq!(whole.bytes(), length);
        assert!(whole.allocated() < content.len() + 1024);
        assert!(read(&whole, 0..length) == content);
    }

    proptest! {
        #[test]
        fn parts_are_as_the_model(
            here in steps(),
            there in steps(),
            start in 0..LENGTH,
            span in 0..LENGTH,
        ) {
            let ((here, mut model), (there, other)) = (built(&here), built(&there));
            for (known, other) in model.iter_mut().zip(other) {
                *known = known.or(other);
            }
            let parts = here.joined(&there).unwrap();
            prop_assert_eq!(parts.bytes(), model.iter().flatten().count() as u64);
            prop_assert!(parts.allocated() as u64 >= parts.bytes());
            prop_assert_eq!(parts.is_whole(), model.iter().all(Option::is_some));
            let range = start..(start + span).min(LENGTH);
            let wanted = &model[place(range.start)..place(range.end)];
            prop_assert_eq!(parts.covers(&range), wanted.iter().all(Option::is_some));
            let expected: Vec<u8> = wanted.iter().map_while(|known| *known).collect();
            prop_assert_eq!(read(&parts, range), expected);
        }
    }
}
