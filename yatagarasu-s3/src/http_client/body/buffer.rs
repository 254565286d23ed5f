//! Read buffers, reused per thread.
//!
//! A stream holds a buffer only while it has received bytes in hand. A stream that waits for the network holds none.
//! So memory use grows with the data on its way to clients, not with the number of open streams.

use std::cell::RefCell;
use std::io;
use std::mem;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::http_client::socket::Socket;

/// Size of a read buffer, and so of one read, in bytes. A stream with a slow client holds one such piece, and over
/// HTTP/2 a second one.
const READ_BYTES: usize = 32 * 1024;

/// Content shorter than this is copied, so that a few bytes do not hold a whole buffer.
const COPIED_BYTES_MAX: usize = READ_BYTES / 4;

/// Maximum number of unused buffers per thread.
const SPARE_MAX: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer and its filled part. Dropping it returns the buffer to the spare ones of the current thread.
#[derive(Debug)]
pub(in crate::http_client) struct ReadBuffer {
    bytes: Box<[u8]>,
    begin: usize,
    end: usize,
}

impl ReadBuffer {
    /// Takes the most recently used buffer, because the processor's cache may still hold it.
    fn take() -> Self {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        let bytes = spare.unwrap_or_else(|| vec![0; READ_BYTES].into_boxed_slice());
        Self { bytes, begin: 0, end: 0 }
    }

    /// Reads from `socket` into a new chunk. No buffer is held while the read is pending. An empty chunk is the end
    /// of the stream.
    pub(in crate::http_client) fn poll_read(
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Self>> {
        let mut chunk = Self::take();
        ready!(chunk.poll_more(socket, cx))?;
        Poll::Ready(Ok(chunk))
    }

    /// Reads more bytes after the filled part, as far as there is room. Returns the number of bytes read.
    pub(in crate::http_client) fn poll_more(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let read = ready!(socket.poll_read(cx, &mut self.bytes[self.end..]))?;
        self.end += read;
        Poll::Ready(Ok(read))
    }

    pub(in crate::http_client) fn filled(&self) -> &[u8] {
        &self.bytes[self.begin..self.end]
    }

    pub(in crate::http_client) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.begin..self.end]
    }

    pub(in crate::http_client) fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    /// Removes the first `length` bytes of the filled part.
    pub(in crate::http_client) fn skip(&mut self, length: usize) {
        self.begin += length;
        debug_assert!(self.begin <= self.end, "only what is filled can be skipped");
    }

    /// Makes room after the filled part. Returns `false` if the buffer would have to exceed `bytes_max`.
    pub(in crate::http_client) fn make_room(&mut self, bytes_max: usize) -> bool {
        if self.end < self.bytes.len() {
            return true;
        }
        let length = self.end - self.begin;
        if self.begin > 0 {
            self.bytes.copy_within(self.begin..self.end, 0);
        } else if length < bytes_max {
            let mut larger = vec![0; bytes_max].into_boxed_slice();
            larger[..length].copy_from_slice(&self.bytes);
            recycle(mem::replace(&mut self.bytes, larger));
        } else {
            return false;
        }
        (self.begin, self.end) = (0, length);
        true
    }

    /// Returns the first `length` bytes of the filled part.
    pub(in crate::http_client) fn into_bytes(mut self, length: usize) -> Bytes {
        self.end = self.begin + length;
        if length < COPIED_BYTES_MAX {
            return Bytes::copy_from_slice(self.filled());
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        self.filled()
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        recycle(mem::take(&mut self.bytes));
    }
}

/// Keeps a buffer for the next read on this thread, unless it was enlarged or the thread has enough.
fn recycle(bytes: Box<[u8]>) {
    if bytes.len() != READ_BYTES {
        return;
    }
    // The thread-local list is gone if the thread is ending. The buffer is then freed.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(bytes);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(content: &[u8]) -> ReadBuffer {
        let mut chunk = ReadBuffer::take();
        chunk.bytes[..content.len()].copy_from_slice(content);
        chunk.end = content.len();
        chunk
    }

    /// Clears the spare buffers that another test may have left on this thread.
    fn begin_without() {
        SPARE.with(|spare| spare.borrow_mut().clear());
    }

    fn spare() -> usize {
        SPARE.with(|spare| spare.borrow().len())
    }

    #[test]
    fn a_buffer_is_held_by_much_and_not_by_little() {
        begin_without();
        drop(chunk(b""));
        assert_eq!(spare(), 1);
        let little = chunk(b"little").into_bytes(6);
        assert_eq!((&little[..], spare()), (&b"little"[..], 1));
        let much = chunk(&vec![7; READ_BYTES]).into_bytes(COPIED_BYTES_MAX);
        assert_eq!((much.len(), spare()), (COPIED_BYTES_MAX, 0));
        drop(much);
        assert_eq!(spare(), 1);
    }

    #[test]
    fn no_more_are_kept_than_a_thread_may_keep() {
        begin_without();
        let chunks: Vec<_> = (0..=SPARE_MAX).map(|_| chunk(b"x")).collect();
        drop(chunks);
        assert_eq!(spare(), SPARE_MAX);
    }

    #[test]
    fn room_is_made_by_moving_then_by_growing_up_to_the_limit() {
        let mut chunk = chunk(&vec![1; READ_BYTES]);
        chunk.skip(READ_BYTES - 3);
        assert!(chunk.make_room(2 * READ_BYTES));
        assert_eq!((chunk.filled(), chunk.bytes.len()), (&[1; 3][..], READ_BYTES));
        chunk.end = READ_BYTES;
        assert!(chunk.make_room(2 * READ_BYTES));
        assert_eq!((chunk.filled().len(), chunk.bytes.len()), (READ_BYTES, 2 * READ_BYTES));
        assert_eq!(chunk.filled()[..3], [1; 3]);
        chunk.end = 2 * READ_BYTES;
        assert!(!chunk.make_room(2 * READ_BYTES));
    }
}
