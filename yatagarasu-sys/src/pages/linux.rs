//! Page runs on Linux: anonymous private memory that is returned with `madvise(2)`.

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

use super::page_bytes;

/// Reserves addresses for whole pages, for the life of the process. Returns `None` if the system has none.
#[expect(unsafe_code, reason = "the allocator's memory cannot be returned page by page")]
pub(super) fn map(bytes: usize) -> Option<&'static mut [u8]> {
    let (access, kind) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: the system chooses addresses that nothing else uses, and nothing ever unmaps them.
    let memory = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, access, kind) }.ok()?;
    // A large page would have to be split when a part of it is returned. It does no harm if there is none.
    // SAFETY: the advice changes no byte.
    let _ = unsafe { madvise(memory, bytes, Advice::LinuxNoHugepage) };
    // SAFETY: the mapping has this many bytes, all of them zero, lives as long as the process, and this is the only
    // reference to it.
    Some(unsafe { std::slice::from_raw_parts_mut(memory.cast(), bytes) })
}

/// Returns the memory of whole pages to the system, which puts zeroed pages in their place at the next write. Pipes and
/// sockets that refer to the old pages keep them. Returns whether the system did so.
#[expect(unsafe_code, reason = "no safe function discards memory")]
pub(super) fn discard(run: &mut [u8]) -> bool {
    let page = page_bytes();
    assert!(run.as_ptr().addr().is_multiple_of(page) && run.len().is_multiple_of(page), "whole pages");
    // SAFETY: the bytes are whole pages of an anonymous private mapping, so no byte beside them changes. The exclusive
    // reference shows that nothing else in the process reads them; they become zero, which is a valid value.
    unsafe { madvise(run.as_mut_ptr().cast(), run.len(), Advice::LinuxDontNeed) }.is_ok()
}

/// Puts memory behind all pages at once, which takes less time than a fault for each. Linux before 5.14 does not know
/// the advice, and then each page faults when it is written.
#[expect(unsafe_code, reason = "no safe function populates pages")]
pub(super) fn populate(run: &mut [u8]) {
    // SAFETY: the advice changes no byte.
    let _ = unsafe { madvise(run.as_mut_ptr().cast(), run.len(), Advice::LinuxPopulateWrite) };
}
