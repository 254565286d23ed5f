//! The bytes of all objects: one repeated pattern, from a position that depends on the object.

use std::io::IoSlice;
use std::sync::LazyLock;

/// Length of the pattern: the largest prime under 64 KiB.
///
/// If a piece of a usual size is lost, doubled or moved, the bytes behind it therefore differ.
pub(super) const PERIOD: usize = 65_521;

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    std::iter::repeat_with(next).take(PERIOD).collect()
});

/// A position in an object's bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor {
    phase: usize,
    left: u64,
}

impl Cursor {
    /// Returns a cursor at the start of `length` bytes. The first is byte `phase` of the pattern.
    pub(super) fn new(phase: usize, length: u64) -> Self {
        Self { phase: phase % PERIOD, left: length }
    }

    /// Returns the number of bytes from here to the end.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Advances by `count` bytes.
    pub(crate) fn advance(&mut self, count: usize) {
        self.phase = (self.phase + count) % PERIOD;
        self.left = self.left.saturating_sub(count as u64);
    }

    /// Points `slices` at the next bytes and copies nothing. Returns the number of slices used.
    pub(crate) fn name(&self, slices: &mut [IoSlice<'_>]) -> usize {
        let mut ahead = *self;
        let mut named = 0;
        for slice in slices {
            let piece = ahead.piece();
            if piece.is_empty() {
                break;
            }
            *slice = IoSlice::new(piece);
            ahead.advance(piece.len());
            named += 1;
        }
        named
    }

    /// Returns whether `bytes` come next. If so, advances past them.
    pub(crate) fn passes(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let piece = self.piece();
            let (here, behind) = bytes.split_at(bytes.len().min(piece.len()));
            if here.is_empty() || here != &piece[..here.len()] {
                return false;
            }
            self.advance(here.len());
            bytes = behind;
        }
        true
    }

    /// Returns the next bytes that are contiguous in the pattern.
    fn piece(&self) -> &'static [u8] {
        let row = &PATTERN[self.phase..];
        &row[..usize::try_from(self.left).map_or(row.len(), |left| left.min(row.len()))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(phase: usize, length: u64) -> Vec<u8> {
        let mut cursor = Cursor::new(phase, length);
        let mut bytes = Vec::new();
        while cursor.left() > 0 {
            let mut slices = [IoSlice::new(&[]); 3];
            let named = cursor.name(&mut slices);
            assert!(named > 0);
            for slice in &slices[..named] {
                bytes.extend_from_slice(slice);
                cursor.advance(slice.len());
            }
        }
        bytes
    }

    #[test]
    fn what_is_sent_is_what_is_expected() {
        for (phase, length) in [(0, 0), (7, 1), (PERIOD - 1, 2), (9, 10 * 1024), (65_000, 1 << 20)] {
            let bytes = bytes(phase, length);
            assert_eq!(bytes.len() as u64, length);
            let mut cursor = Cursor::new(phase, length);
            assert!(bytes.chunks(30_000).all(|chunk| cursor.passes(chunk)), "{phase} {length}");
            assert_eq!(cursor.left(), 0);
            assert!(!cursor.passes(b"x"), "nothing follows the end");
        }
    }

    #[test]
    fn what_is_lost_doubled_or_changed_shows() {
        let whole = bytes(5, 1 << 20);
        for piece in [16, 4096, 16 * 1024, 32 * 1024, 64 * 1024] {
            assert!(!Cursor::new(5, 1 << 20).passes(&whole[piece..]), "{piece} lost");
            let doubled = [&whole[..piece], &whole[..piece]].concat();
            assert!(!Cursor::new(5, 1 << 20).passes(&doubled), "{piece} doubled");
        }
        let mut changed = whole;
        changed[700_000] ^= 1;
        assert!(!Cursor::new(5, 1 << 20).passes(&changed));
        assert!(!Cursor::new(6, 1 << 20).passes(&bytes(5, 100)), "another object's");
    }
}
