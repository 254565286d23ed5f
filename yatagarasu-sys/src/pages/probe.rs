//! The proof, once for each process, that the system keeps shared pages as they were.

use rustix::io::read;

use super::system;
use crate::pipe::{Pipe, can_share};
use crate::shared::SharedPages;

/// Shares a page with a pipe, returns it to the system, writes to the same addresses, and reads the pipe. Returns whether
/// the old bytes come out, and whether the returned page was zero. Returns `None` if that could not be tried now, as
/// without a free file descriptor.
///
/// Linux promises both. An emulator or a sandbox may accept the calls and do neither, and then clients would get bytes of
/// other objects.
#[expect(unsafe_code, reason = "makes the promise that it tests")]
pub(super) fn shared_pages_stay(page: &mut [u8]) -> Option<bool> {
    const OLD: u8 = 1;
    page.fill(OLD);
    // SAFETY: the page is discarded before it is written again; if that fails, nothing else is ever stored in it.
    let Ok((pipe, shared)) = Pipe::of_shared(unsafe { SharedPages::promised(page) }) else {
        return if can_share() { None } else { Some(false) };
    };
    if shared != page.len() || !system::discard(page) || page[0] != 0 {
        return Some(false);
    }
    page.fill(OLD + 1);
    let mut seen = vec![0; page.len()];
    let mut length = 0;
    while length < seen.len() {
        match read(pipe.outlet(), &mut seen[length..]) {
            Ok(0) | Err(_) => return Some(false),
            Ok(more) => length += more,
        }
    }
    // A system that zeroes in place still refers to the page: nothing else may be stored in it then.
    Some(system::discard(page) && seen.iter().all(|byte| *byte == OLD))
}
