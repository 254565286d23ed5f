//! An allocator that counts, for tests that compare with it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, and how many bytes are allocated.
#[derive(Debug, Default)]
pub struct CountingAllocator(AtomicUsize);

impl CountingAllocator {
    /// Begins to count.
    pub const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Returns the bytes that are allocated now, with what glibc adds to each allocation.
    pub fn allocated(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Returns what glibc takes for an allocation: 8 bytes more, rounded up to 16, and at least 32.
fn gross(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(16).max(32)
}

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.fetch_add(gross(layout), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.0.fetch_sub(gross(layout), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}
