//! The content of an object: given bytes, or a pattern that needs no memory.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream;
use s3s::dto::StreamingBlob;

#[derive(Debug, Clone)]
pub(super) enum Content {
    Bytes(Bytes),
    /// This many bytes, each the low byte of its offset divided by [`PATTERN_RUN`]. They are generated, so that large
    /// objects need no memory.
    Pattern(u64),
}

/// Size of one piece of a pattern, in bytes.
const PATTERN_CHUNK: u64 = 64 * 1024;

/// Number of equal bytes in a row. It is a prime, so that no usual buffer length is a multiple of it.
const PATTERN_RUN: usize = 1021;

/// Returns the bytes of a pattern from `start` to `end`.
pub(super) fn pattern(start: u64, end: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(usize::try_from(end - start).expect("within memory"));
    let mut offset = start;
    // Written in runs: an unoptimized build takes far too long to write gibibytes byte by byte.
    while offset < end {
        let number = offset / PATTERN_RUN as u64;
        let next = end.min((number + 1) * PATTERN_RUN as u64);
        let run = [number.to_le_bytes()[0]; PATTERN_RUN];
        bytes.extend_from_slice(&run[..usize::try_from(next - offset).expect("within a run")]);
        offset = next;
    }
    bytes
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Pattern(length) => *length,
        }
    }

    /// Streams a part. Adds the bytes of a pattern to `sent`.
    pub(super) fn part(&self, part: Range<u64>, sent: &Arc<AtomicU64>) -> StreamingBlob {
        match self {
            Self::Bytes(bytes) => {
                let bound = |offset| usize::try_from(offset).expect("within memory");
                StreamingBlob::from(s3s::Body::from(bytes.slice(bound(part.start)..bound(part.end))))
            }
            Self::Pattern(_) => {
                StreamingBlob::wrap(stream::unfold((part, Arc::clone(sent)), |(mut part, sent)| async move {
                    let next = part.end.min(part.start + PATTERN_CHUNK);
                    sent.fetch_add(next - part.start, Ordering::Relaxed);
                    let chunk = pattern(part.start, next);
                    part.start = next;
                    (!chunk.is_empty()).then_some((Ok::<_, std::io::Error>(Bytes::from(chunk)), (part, sent)))
                }))
            }
        }
    }
}
