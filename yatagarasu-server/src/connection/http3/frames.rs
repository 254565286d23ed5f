//! Splits the bytes of a stream into frames (RFC 9114 7.1), and bounds them.
//!
//! `h3` keeps all bytes of a frame until it is whole, in as many pieces as they came, and looks at its length only then.

use bytes::{Bytes, BytesMut};

/// The type of frames with content (RFC 9114 7.2.1). They are not kept.
const DATA: u64 = 0;

/// The frames of a stream that is being read.
#[derive(Debug)]
pub(super) struct Frames {
    /// Maximum length of a frame, but for content.
    max: usize,
    /// Whether the type of the stream comes first (RFC 9114 6.2).
    is_typed: bool,
    /// Bytes of content that are still to come.
    content: u64,
    received: BytesMut,
}

/// A frame is longer than any may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Frames {
    /// Reads frames of at most `max` bytes. `is_typed` says that the type of the stream comes first.
    pub(super) fn new(max: usize, is_typed: bool) -> Self {
        Self { max, is_typed, content: 0, received: BytesMut::new() }
    }

    /// Takes bytes as they have come.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// Returns the rest at the end of the stream: an incomplete frame, or nothing.
    pub(super) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.received).freeze()
    }

    /// Returns the next bytes that can be passed on: a whole frame, or some content. Returns `None` if more have to come.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        let length = match self.whole()? {
            0 => return Ok(None),
            length => length,
        };
        Ok(Some(self.received.split_to(length).freeze()))
    }

    /// Returns how many bytes can be passed on.
    fn whole(&mut self) -> Result<usize, TooLong> {
        if self.content > 0 {
            let here = self.content.min(self.received.len() as u64);
            self.content -= here;
            return Ok(usize::try_from(here).unwrap_or(usize::MAX));
        }
        let Some((kind, after_kind)) = integer(&self.received) else { return Ok(0) };
        if self.is_typed {
            self.is_typed = false;
            return Ok(after_kind);
        }
        let Some((length, after_length)) = integer(&self.received[after_kind..]) else { return Ok(0) };
        let head = after_kind + after_length;
        if kind == DATA {
            self.content = length;
            return Ok(head);
        }
        let whole = usize::try_from(length).ok().filter(|length| *length <= self.max).ok_or(TooLong)? + head;
        Ok(if self.received.len() < whole { 0 } else { whole })
    }
}

/// Returns an integer (RFC 9000 16) and its length, or `None` if it is not there as a whole.
fn integer(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1 << (first >> 6);
    let rest = bytes.get(1..length)?;
    Some((rest.iter().fold(u64::from(first & 63), |value, byte| value << 8 | u64::from(*byte)), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the pieces that are passed on if the bytes arrive in pieces of this length.
    fn split(frames: &mut Frames, bytes: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut out = Vec::new();
        for piece in bytes.chunks(piece) {
            frames.receive(piece);
            while let Some(frame) = frames.next()? {
                out.push(frame.to_vec());
            }
        }
        Ok(out)
    }

    #[test]
    fn frames_come_whole_and_content_as_it_comes() {
        // Two frames, one with a length of two bytes; content; and the beginning of a frame.
        let bytes = [&[1, 2, 7, 7, 4, 0x40, 1, 9][..], &[0, 3, 5, 5, 5], &[1, 9, 1]].concat();
        for piece in 1..bytes.len() {
            let mut frames = Frames::new(10, false);
            let out = split(&mut frames, &bytes, piece).unwrap();
            assert_eq!(out[..2], [vec![1, 2, 7, 7], vec![4, 0x40, 1, 9]], "{piece}");
            assert_eq!(out[2..].concat(), [0, 3, 5, 5, 5], "{piece}");
            assert_eq!(frames.rest(), [1, 9, 1][..], "{piece}");
        }
    }

    #[test]
    fn the_type_of_a_stream_comes_first() {
        let out = split(&mut Frames::new(10, true), &[0, 4, 1, 9], 1).unwrap();
        assert_eq!(out, [vec![0], vec![4, 1, 9]]);
    }

    #[test]
    fn a_frame_that_is_too_long_is_known_by_its_head() {
        let mut frames = Frames::new(100, false);
        assert_eq!(split(&mut frames, &[1, 0x40, 101], 3), Err(TooLong));
        let mut frames = Frames::new(100, false);
        assert_eq!(
            split(&mut frames, &[0xC0, 0, 0, 0, 0, 0, 0, 33, 0xFF, 255, 255, 255, 255, 255, 255, 255], 16),
            Err(TooLong)
        );
        let mut frames = Frames::new(100, false);
        let out = split(&mut frames, &[0, 0xFF, 255, 255, 255, 255, 255, 255, 255, 1, 2], 16).unwrap();
        assert_eq!(out.concat().len(), 11, "content may have any length");
    }
}
