//! Memory that the system may send from.
//!
//! What is lent to a socket is read for as long as its client has not taken it, and nobody is told when that ends. So
//! it must never be written again. Of whole pages that can be said: given back to the system, they stay with whom
//! they were lent to, and others take their place when the memory is used again.

mod pool;
mod system;

use std::fmt::{self, Debug, Formatter};
use std::mem;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

use pool::{POOL, Span};

/// Fewer pages than this are not worth it: up to a page of them is left empty, and lending takes longer than copying.
const PAGES_MIN: usize = 4;

/// What shared pages take besides their memory: two counts, and what they are.
const SHARED_BYTES: usize = 2 * size_of::<usize>() + size_of::<Pages>();

/// Bytes for the system to read whenever it likes, also when they are gone from here: nothing is written where they are
/// as long as it holds on to its pages.
#[derive(Debug, Clone, Copy)]
pub struct Lent<'a>(&'a [u8]);

/// Bytes in pages of their own.
pub struct Pages {
    /// Whole pages, as many as are needed for what is to come.
    memory: Span,
    /// Bytes that are written. They never change.
    length: usize,
    lent: AtomicBool,
}

impl Pages {
    /// Makes room for `length` bytes, where pages are good for so many and there are any.
    pub(super) fn with_room_for(length: usize) -> Option<Self> {
        let page = system::page_bytes();
        if length < PAGES_MIN * page {
            return None;
        }
        let memory = pool::take(&POOL, length.div_ceil(page))?;
        Some(Self { memory, length: 0, lent: AtomicBool::new(false) })
    }

    /// Bytes there is room for.
    pub(super) fn room(&self) -> usize {
        self.memory.len() - self.length
    }

    /// Takes the next bytes, for which there has to be room.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.memory[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }

    /// Bytes of memory taken, with the counts of those who share these pages.
    pub(super) fn allocated(&self) -> usize {
        self.memory.len() + SHARED_BYTES
    }

    /// Lends the bytes from `offset` on.
    pub fn lend(&self, offset: usize) -> Lent<'_> {
        self.lent.store(true, Ordering::Relaxed);
        Lent(&self[offset..])
    }
}

impl Deref for Lent<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
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
        pool::give_back(&POOL, mem::take(&mut self.memory), *self.lent.get_mut());
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::io::read;
    use rustix::pipe::{IoSliceRaw, SpliceFlags, pipe, vmsplice};

    use super::*;

    fn filled(byte: u8, length: usize) -> Pages {
        let mut pages = Pages::with_room_for(length).expect("pages for so many");
        pages.push(&vec![byte; length]);
        pages
    }

    #[test]
    fn pages_are_for_objects_of_some_length() {
        for (length, good) in [(0, false), (16_383, false), (16_384, true), (262_144, true)] {
            // Where pages are larger, so are the shortest objects that are kept in them.
            let good = good && length >= PAGES_MIN * system::page_bytes();
            assert_eq!(Pages::with_room_for(length).is_some(), good, "{length}");
        }
    }

    #[test]
    fn they_hold_what_is_pushed() {
        let length = 5 * system::page_bytes() - 1;
        let pages = filled(b'a', length);
        assert_eq!((pages.len(), pages.allocated()), (length, length + 1 + SHARED_BYTES));
        assert!(pages.iter().all(|byte| *byte == b'a'));
    }

    #[test]
    #[expect(unsafe_code, reason = "lends to a pipe, as is done to send")]
    fn what_is_lent_stays_when_they_are_gone_and_others_take_their_place() {
        let length = 4 * system::page_bytes();
        for round in 0..20 {
            let (outlet, inlet) = pipe().unwrap();
            let pages = filled(b'a', length);
            let address = pages.as_ptr();
            let bytes = pages.lend(0);
            let bytes = IoSliceRaw::from_slice(&bytes);
            // SAFETY: that is what pages that are lent are good for, and what is tested here.
            let lent = unsafe { vmsplice(&inlet, &[bytes], SpliceFlags::NONBLOCK) }.unwrap();
            assert_eq!(lent, length);
            drop(pages);
            let others = [filled(b'b', length), filled(b'c', length)];
            let again = others.iter().any(|other| other.as_ptr() == address);
            assert!(again || round < 19, "the addresses are used again");
            let mut read_back = vec![0; length];
            let mut filled = 0;
            while filled < length {
                filled += read(&outlet, &mut read_back[filled..]).unwrap();
            }
            assert!(read_back.iter().all(|byte| *byte == b'a'), "round {round}");
            if again {
                return;
            }
        }
    }
}
