//! A partial entry: the stored bytes of an object, in slots.
//!
//! A slot stands for one segment of the object. It holds runs of bytes until they are complete, and then the segment.
//! So an object whose slots are complete is whole without another copy, and joining a part touches only its own slots.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::cache::segment::{Growing, Segment};
use crate::cache::segments::{SEGMENT_BYTES, Segments};

/// Maximum number of runs in a slot. If there are more, those that follow each other become one. If there are still
/// more, only the new ones stay, because looking for bytes among so many costs more than fetching them.
///
/// It bounds the bytes that are copied for each joined part: a slot divided by this number, on average.
const RUNS_MAX: usize = 64;

/// The memory that a run takes besides its bytes and its place in the list, in bytes: counts and the allocator's share.
const RUN_BYTES: usize = 96;

/// The stored bytes of an object, not necessarily all of them.
#[derive(Debug, Clone)]
pub struct Parts {
    complete_length: u64,
    /// One for each segment of the object.
    slots: Vec<Slot>,
}

/// The stored bytes of one segment of the object: runs in order, none empty, and no two that overlap.
#[derive(Debug, Clone, Default)]
struct Slot(Arc<[Run]>);

/// Contiguous bytes, and their start in the slot.
#[derive(Debug, Clone)]
struct Run {
    start: usize,
    bytes: Segment,
}

impl Parts {
    /// Creates parts from the bytes that start at `start` in an object of `complete_length` bytes.
    ///
    /// They must lie within the object.
    pub fn new(complete_length: u64, start: u64, segments: &Segments) -> Self {
        let end = start.saturating_add(segments.length());
        debug_assert!(end <= complete_length, "a part lies within its object");
        let count = usize::try_from(complete_length.div_ceil(SEGMENT_BYTES as u64)).unwrap_or(usize::MAX);
        let mut slots = vec![Slot::default(); count];
        for (slot, within) in slots_of(&(start..end)) {
            let first = slot as u64 * SEGMENT_BYTES as u64 + within.start as u64 - start;
            let bytes = cut(segments, first..first + within.len() as u64);
            slots[slot] = Slot([Run { start: within.start, bytes }].into());
        }
        Self { complete_length, slots }
    }

    /// Returns the complete length of the object in bytes.
    pub fn complete_length(&self) -> u64 {
        self.complete_length
    }

    /// Returns `true` if all bytes of `range` are stored, or if `range` is empty.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        let within = range.end <= self.complete_length || range.is_empty();
        within && slots_of(range).all(|(slot, within)| self.slots[slot].covers(&within))
    }

    /// Returns `true` if all bytes of the object are stored.
    pub fn is_whole(&self) -> bool {
        self.covers(&(0..self.complete_length))
    }

    /// Returns stored bytes from `range.start` on, as far as they lie in `range` and in one allocation.
    ///
    /// Returns no bytes if `range` is empty or the byte at `range.start` is not stored.
    pub fn slice(&self, range: &Range<u64>) -> Bytes {
        let first = slots_of(range).next();
        let found = first.and_then(|(slot, within)| Some((self.slots.get(slot)?, within)));
        found.map_or_else(Bytes::new, |(slot, within)| slot.slice(&within))
    }

    /// Returns the union of two sets of parts of the same version of an object.
    ///
    /// Bytes of `self` are kept; of `other`, only bytes that `self` lacks are taken. If a slot has more than 64
    /// separate runs, only those of `other` stay in it.
    ///
    /// Returns `None` if the complete lengths differ.
    pub fn joined(&self, other: &Self) -> Option<Self> {
        if self.complete_length != other.complete_length {
            return None;
        }
        let lengths = (0..self.slots.len()).map(|slot| self.slot_length(slot));
        let pairs = self.slots.iter().zip(&other.slots).zip(lengths);
        let slots = pairs.map(|((known, new), length)| known.joined(new, length)).collect();
        Some(Self { complete_length: self.complete_length, slots })
    }

    /// Returns the bytes of the object if all of them are stored.
    pub fn whole(&self) -> Option<Segments> {
        let segment = |(slot, index): (&Slot, usize)| match &*slot.0 {
            [run] if run.bytes.len() == self.slot_length(index) => Some(run.bytes.clone()),
            _ => None,
        };
        let segments: Option<Vec<Segment>> = self.slots.iter().zip(0..).map(segment).collect();
        segments.map(Segments::of)
    }

    /// Returns the number of bytes stored.
    #[cfg(test)]
    fn bytes(&self) -> u64 {
        self.slots.iter().flat_map(|slot| &*slot.0).map(|run| run.bytes.len() as u64).sum()
    }

    /// Returns the memory taken in bytes, lists included.
    pub fn allocated(&self) -> usize {
        let runs = self.slots.iter().flat_map(|slot| &*slot.0);
        let bytes: usize = runs.map(|run| size_of::<Run>() + RUN_BYTES + run.bytes.allocated()).sum();
        self.slots.capacity() * size_of::<Slot>() + bytes
    }

    fn slot_length(&self, slot: usize) -> usize {
        let rest = self.complete_length.saturating_sub(slot as u64 * SEGMENT_BYTES as u64);
        usize::try_from(rest).unwrap_or(usize::MAX).min(SEGMENT_BYTES)
    }
}

/// Returns the slots that `range` touches, each with the range in it.
fn slots_of(range: &Range<u64>) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
    let (slot_bytes, range) = (SEGMENT_BYTES as u64, range.clone());
    let slots =
        if range.is_empty() { 0..0 } else { range.start / slot_bytes..range.end.div_ceil(slot_bytes) };
    slots.map(move |slot| {
        let place = |offset: u64| {
            let within = offset.saturating_sub(slot * slot_bytes).min(slot_bytes);
            usize::try_from(within).expect("at most a segment")
        };
        (usize::try_from(slot).unwrap_or(usize::MAX), place(range.start)..place(range.end))
    })
}

/// Returns the bytes in `range` as a segment. Shares them if they are a whole segment. Copies them otherwise, so that
/// the others do not stay in memory.
fn cut(segments: &Segments, mut range: Range<u64>) -> Segment {
    let length = usize::try_from(range.end - range.start).expect("at most a segment");
    if let ([segment, ..], 0) = segments.from(range.start)
        && segment.len() == length
    {
        return segment.clone();
    }
    let mut growing = Growing::with_room_for(length);
    while range.start < range.end {
        let slice = segments.slice(&range);
        growing.push(&slice);
        range.start += slice.len() as u64;
    }
    growing.seal()
}

impl Slot {
    fn covers(&self, range: &Range<usize>) -> bool {
        let mut known = range.start;
        for run in &*self.0 {
            if run.range().contains(&known) {
                known = run.range().end;
            }
        }
        known >= range.end
    }

    fn slice(&self, range: &Range<usize>) -> Bytes {
        let after = self.0.partition_point(|run| run.start <= range.start);
        let run = after.checked_sub(1).and_then(|index| self.0.get(index));
        run.filter(|run| run.range().contains(&range.start)).map_or_else(Bytes::new, |run| {
            run.bytes.part(range.start - run.start..range.end.min(run.range().end) - run.start)
        })
    }

    /// Returns the union of two slots of `length` bytes.
    fn joined(&self, new: &Self, length: usize) -> Self {
        if new.0.is_empty() || self.covers(&(0..length)) {
            return self.clone();
        }
        let mut runs: Vec<Run> = self.0.to_vec();
        for gap in self.gaps(length) {
            runs.extend(new.0.iter().filter_map(|run| run.within(&gap)));
        }
        runs.sort_unstable_by_key(|run| run.start);
        let complete = runs.iter().map(|run| run.bytes.len()).sum::<usize>() == length;
        if complete || runs.len() > RUNS_MAX {
            runs = runs.chunk_by(|one, next| one.range().end == next.start).map(Run::merged).collect();
        }
        if runs.len() > RUNS_MAX { new.clone() } else { Self(runs.into()) }
    }

    /// Returns the ranges that are not stored, in order.
    fn gaps(&self, length: usize) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(0).chain(self.0.iter().map(|run| run.range().end));
        let ends = self.0.iter().map(|run| run.start).chain(std::iter::once(length));
        starts.zip(ends).map(|(start, end)| start..end).filter(|gap| !gap.is_empty())
    }
}

impl Run {
    fn range(&self) -> Range<usize> {
        self.start..self.start + self.bytes.len()
    }

    /// Returns the bytes that lie in `gap`. Copies them unless they are all.
    fn within(&self, gap: &Range<usize>) -> Option<Self> {
        let Range { start, end } = self.range();
        let (start, end) = (start.max(gap.start), end.min(gap.end));
        if (start..end) == self.range() {
            return Some(self.clone());
        }
        (start < end)
            .then(|| Self { start, bytes: copied(&[&self.bytes[start - self.start..end - self.start]]) })
    }

    /// Merges runs that follow each other into one. Copies them unless there is only one.
    fn merged(runs: &[Self]) -> Self {
        if let [run] = runs {
            return run.clone();
        }
        let pieces: Vec<&[u8]> = runs.iter().map(|run| &*run.bytes).collect();
        Self { start: runs.first().map_or(0, |run| run.start), bytes: copied(&pieces) }
    }
}

fn copied(pieces: &[&[u8]]) -> Segment {
    let mut growing = Growing::with_room_for(pieces.iter().map(|piece| piece.len()).sum());
    for piece in pieces {
        growing.push(piece);
    }
    growing.seal()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::segments::SegmentsBuilder;

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
        let mut parts = Parts::new(LENGTH, 0, &Segments::default());
        let mut model: Model = vec![None; place(LENGTH)];
        for &(start, span, byte) in steps {
            let range = start..(start + span).min(LENGTH);
            let content = vec![byte; place(range.end - range.start)];
            parts = parts.joined(&Parts::new(LENGTH, start, &segments(&content))).unwrap();
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
        let parts = Parts::new(0, 0, &Segments::default());
        assert!(parts.is_whole() && parts.covers(&(0..0)));
        assert!(parts.slice(&(0..1)).is_empty());
    }

    #[test]
    fn adjacent_pieces_are_covered_together() {
        let (parts, _) = built(&[(50, 50, 2), (0, 25, 1)]);
        assert!(parts.covers(&(0..25)) && parts.covers(&(60..100)));
        assert!(!parts.covers(&(20..60)) && !parts.covers(&(99..101)) && !parts.is_whole());
        let whole = parts.joined(&Parts::new(LENGTH, 25, &segments(&[3; 25]))).unwrap();
        assert!(whole.is_whole() && whole.covers(&(20..60)));
        assert_eq!(read(&whole, 24..51), [&[1u8][..], &[3; 25], &[2]].concat());
    }

    #[test]
    fn objects_of_other_length_are_not_joined() {
        let one = Parts::new(10, 0, &segments(b"ab"));
        assert!(one.joined(&Parts::new(11, 2, &segments(b"cd"))).is_none());
    }

    #[test]
    fn too_many_runs_make_room_for_the_new_one() {
        let length = 4 * RUNS_MAX as u64;
        let run = |index: usize| Parts::new(length, 2 * index as u64, &segments(b"x"));
        let full = (1..RUNS_MAX).fold(run(0), |parts, index| parts.joined(&run(index)).unwrap());
        assert_eq!(full.bytes(), RUNS_MAX as u64);
        let anew = full.joined(&run(RUNS_MAX)).unwrap();
        assert_eq!(anew.bytes(), 1);
        assert!(anew.covers(&(2 * RUNS_MAX as u64..2 * RUNS_MAX as u64 + 1)));
        assert_eq!(full.joined(&run(0)).unwrap().bytes(), RUNS_MAX as u64);
    }

    #[test]
    fn parts_of_many_slots_in_any_order_become_the_whole() {
        const PART: usize = 4096;
        let length = 3 * SEGMENT_BYTES + 1000;
        let content: Vec<u8> = (0..length).map(|index| (index % 251).to_le_bytes()[0]).collect();
        let count = length.div_ceil(PART);
        let part = |index: usize| {
            // Begins a little earlier than the part before has ended.
            let start = (index * PART).saturating_sub(10);
            Parts::new(
                length as u64,
                start as u64,
                &segments(&content[start..length.min((index + 1) * PART)]),
            )
        };
        let mut parts = Parts::new(length as u64, 0, &Segments::default());
        // 7 has no divisor in common with the number of parts.
        assert_ne!(count % 7, 0);
        for step in 0..count {
            parts = parts.joined(&part(step * 7 % count)).unwrap();
        }
        assert_eq!(parts.bytes(), length as u64);
        let whole = parts.whole().unwrap();
        assert_eq!(whole.length(), length as u64);
        let mut rest = 0..length as u64;
        while rest.start < rest.end {
            let slice = whole.slice(&rest);
            assert!(slice == content[place(rest.start)..place(rest.start) + slice.len()]);
            rest.start += slice.len() as u64;
        }
    }

    #[test]
    fn no_run_is_copied_more_than_a_few_times() {
        const PART: usize = 1024;
        let count = SEGMENT_BYTES / PART;
        let part =
            |index: usize| Parts::new(SEGMENT_BYTES as u64, (index * PART) as u64, &segments(&[7; PART]));
        let (mut parts, mut copied) = (part(0), 0);
        for index in 1..count {
            let joined = parts.joined(&part(index)).unwrap();
            // Runs that were not there before are copies, but for the part itself.
            let known: Vec<*const u8> = parts.slots[0].0.iter().map(|run| run.bytes.as_ptr()).collect();
            let new = joined.slots[0].0.iter().filter(|run| !known.contains(&run.bytes.as_ptr()));
            copied += new.map(|run| run.bytes.len()).filter(|length| *length > PART).sum::<usize>();
            parts = joined;
        }
        assert!(parts.is_whole());
        assert!(copied <= 4 * SEGMENT_BYTES, "{copied}");
    }

    #[test]
    fn pieces_that_follow_each_other_become_one_and_the_whole() {
        let length = 1000;
        let piece = |index: u64| Parts::new(length, index * 10, &segments(&[index.to_le_bytes()[0]; 10]));
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
        let known = Parts::new(length, middle.start as u64, &segments(&content[middle]));
        let whole = known.joined(&Parts::new(length, 0, &segments(&content))).unwrap();
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
