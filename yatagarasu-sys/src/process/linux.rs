//! The allocator of glibc, and the priorities of threads.

use rustix::process::nice;

/// The lowest priority (nice(2)).
const LOWEST: i32 = 19;

#[expect(unsafe_code, reason = "the C library's function has no safe wrapper")]
pub(super) fn release_free_memory() {
    // SAFETY: it asks nothing of its caller, and touches only free memory under the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
}

pub(super) fn yield_to_other_threads() {
    // On Linux it is about the calling thread. Lowering the priority is always allowed.
    let _ = nice(LOWEST);
}
