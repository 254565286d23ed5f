//! Pages of the system's: those of Linux stay with whom they were lent to when they are given back.

#[cfg(target_os = "linux")]
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

/// Bytes of a page.
pub(super) fn page_bytes() -> usize {
    rustix::param::page_size()
}

/// Gets addresses of whole pages, for good.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "what is given back page by page cannot be the allocator's")]
pub(super) fn map(bytes: usize) -> Option<&'static mut [u8]> {
    let (access, kind) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: the system chooses addresses that nobody has, and nothing ever unmaps them.
    let memory = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, access, kind) }.ok()?;
    // A large page would have to be split where a part of it is given back. It does no harm if there is none.
    // SAFETY: it changes nothing that can be read there.
    let _ = unsafe { madvise(memory, bytes, Advice::LinuxNoHugepage) };
    // SAFETY: so many bytes are there, all zero, and there is no other way to them.
    Some(unsafe { std::slice::from_raw_parts_mut(memory.cast(), bytes) })
}

/// Gives whole pages back to the system, which puts others, all zero, in their place once they are written to; says
/// whether that was done.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no safe function forgets bytes")]
pub(super) fn empty(span: &mut [u8]) -> bool {
    // SAFETY: who calls has these bytes to itself; they become zero.
    unsafe { madvise(span.as_mut_ptr().cast(), span.len(), Advice::LinuxDontNeed) }.is_ok()
}

/// Has memory put behind all addresses at once, which takes less time than when each page is written to first. Linux
/// before 5.14 does it then.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no safe function touches pages")]
pub(super) fn back(span: &mut [u8]) {
    // SAFETY: it changes nothing that can be read there.
    let _ = unsafe { madvise(span.as_mut_ptr().cast(), span.len(), Advice::LinuxPopulateWrite) };
}

/// Gets none where they would not stay with whom they are lent to.
#[cfg(not(target_os = "linux"))]
pub(super) fn map(_: usize) -> Option<&'static mut [u8]> {
    None
}

/// There are none to give back.
#[cfg(not(target_os = "linux"))]
pub(super) fn empty(_: &mut [u8]) -> bool {
    false
}

/// There is nothing to put memory behind.
#[cfg(not(target_os = "linux"))]
pub(super) fn back(_: &mut [u8]) {}
