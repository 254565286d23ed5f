//! Write-once memory that the kernel may read at any later time.
//!
//! Bytes that were lent to a socket are read until the client has acknowledged them, and nothing tells when that is. So
//! they must never change. Whole pages can promise that: if their memory is returned to the system, pipes and sockets
//! that refer to the old pages keep them, and the next write to these addresses gets other pages. [`pool`] manages the
//! addresses; [`probe`] proves at the start that the system keeps the promise.

mod pool;
mod probe;

#[cfg(all(target_os = "linux", not(yatagarasu_portable)))]
#[path = "pages/linux.rs"]
mod system;
#[cfg(not(all(target_os = "linux", not(yatagarasu_portable))))]
#[path = "pages/portable.rs"]
mod system;

use std::fmt::{self, Debug, Formatter};
use std::mem;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

use pool::{POOL, PageRun};

use crate::shared::SharedPages;

/// Shortest run, in pages. Shorter objects would leave up to a page empty, and lending takes longer than copying.
const PAGES_MIN: usize = 4;

/// Bytes that shared pages take besides their memory: two reference counts and the value itself.
const SHARED_BYTES: usize = 2 * size_of::<usize>() + size_of::<Pages>();

/// Returns the bytes of a page.
pub fn page_bytes() -> usize {
    rustix::param::page_size()
}

/// Returns whether pages can be shared with the kernel here. The first call proves it, in some 20 µs.
pub fn are_shareable() -> bool {
    pool::is_trusted(&POOL)
}

/// Bytes in whole pages of their own, appended once and never changed.
pub struct Pages {
    memory: PageRun,
    /// Bytes that are written.
    length: usize,
    /// Whether the kernel may still refer to them.
    shared: AtomicBool,
}

impl Pages {
    /// Makes room for `length` bytes. Returns `None` if `length` is too short or too long for pages, or if there are
    /// none: 16 KiB to 256 KiB where a page has 4 KiB.
    pub fn with_room_for(length: usize) -> Option<Self> {
        let page = page_bytes();
        if length < PAGES_MIN * page {
            return None;
        }
        let memory = pool::take(&POOL, length.div_ceil(page))?;
        Some(Self { memory, length: 0, shared: AtomicBool::new(false) })
    }

    /// Returns how many more bytes there is room for.
    pub fn room(&self) -> usize {
        self.memory.len() - self.length
    }

    /// Appends bytes, which [`room`](Self::room) must have room for.
    pub fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.memory[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }

    /// Returns the bytes of memory they take, with the counts of an [`Arc`](std::sync::Arc) around them.
    pub fn allocated(&self) -> usize {
        self.memory.len() + SHARED_BYTES
    }

    /// Shares the bytes from `offset` on with the kernel.
    #[expect(unsafe_code, reason = "makes the promise")]
    pub fn share(&self, offset: usize) -> SharedPages<'_> {
        // A store for each send would take the cache line away from other threads that send the same object.
        if !self.shared.load(Ordering::Relaxed) {
            self.shared.store(true, Ordering::Relaxed);
        }
        // SAFETY: `push` writes only behind these bytes, and the flag makes the pool discard the run's memory before the
        // run is used again.
        unsafe { SharedPages::promised(&self[offset..]) }
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Debug for Pages {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        pool::give_back(&POOL, mem::take(&mut self.memory), *self.shared.get_mut());
    }
}

#[cfg(all(test, target_os = "linux", not(yatagarasu_portable)))]
mod tests {
    use rustix::io::read;

    use super::*;
    use crate::pipe::Pipe;

    fn filled(byte: u8, length: usize) -> Pages {
        let mut pages = Pages::with_room_for(length).expect("pages for so many");
        pages.push(&vec![byte; length]);
        pages
    }

    #[test]
    fn pages_are_for_objects_of_some_length() {
        assert!(are_shareable());
        for (length, good) in [(0, false), (16_383, false), (16_384, true), (262_144, true)] {
            // Larger pages make the shortest object longer.
            let good = good && length >= PAGES_MIN * page_bytes();
            assert_eq!(Pages::with_room_for(length).is_some(), good, "{length}");
        }
    }

    #[test]
    fn they_hold_what_is_pushed() {
        let length = 5 * page_bytes() - 1;
        let pages = filled(b'a', length);
        assert_eq!((pages.len(), pages.allocated()), (length, length + 1 + SHARED_BYTES));
        assert!(pages.iter().all(|byte| *byte == b'a'));
    }

    #[test]
    fn shared_bytes_stay_when_their_pages_are_gone_and_others_take_their_place() {
        let length = 4 * page_bytes();
        for round in 0..20 {
            let pages = filled(b'a', length);
            let address = pages.as_ptr();
            let (pipe, shared) = Pipe::of_shared(pages.share(0)).unwrap();
            assert_eq!(shared, length);
            drop(pages);
            let others = [filled(b'b', length), filled(b'c', length)];
            let again = others.iter().any(|other| other.as_ptr() == address);
            assert!(again || round < 19, "the addresses are used again");
            let mut read_back = vec![0; length];
            let mut filled = 0;
            while filled < length {
                filled += read(pipe.outlet(), &mut read_back[filled..]).unwrap();
            }
            assert!(read_back.iter().all(|byte| *byte == b'a'), "round {round}");
            if again {
                return;
            }
        }
    }
}
