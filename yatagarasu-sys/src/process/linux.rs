//! The allocator of glibc.

#[expect(unsafe_code, reason = "the C library's function has no safe wrapper")]
pub(super) fn release_free_memory() {
    // SAFETY: it asks nothing of its caller, and touches only free memory under the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
}
