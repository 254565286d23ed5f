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

    /// Returns the bytes that are allocated now, with what mimalloc adds to each allocation.
    pub fn allocated(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Returns the bytes that mimalloc takes for an allocation. Both programs use it.
#[expect(unsafe_code, reason = "the crate has no safe wrapper")]
fn gross(layout: Layout) -> usize {
    // SAFETY: it only computes.
    unsafe { libmimalloc_sys::mi_good_size(layout.size()) }
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
