//! The proof, once for each process, that the system keeps shared pages as they were.

use rustix::io::read;

use super::system;
use crate::pipe::Pipe;
use crate::shared::SharedPages;

/// Shares a page with a pipe, returns it to the system, writes to the same addresses, and reads the pipe. Returns
/// whether the old bytes come out, and whether the returned page was zero.
///
/// Linux promises both. An emulator or a sandbox may accept the calls and do neither, and then clients would get bytes
/// of other objects.
pub(super) fn shared_pages_stay(page: &mut [u8]) -> bool {
    const OLD: u8 = 1;
    page.fill(OLD);
    let Ok((pipe, shared)) = Pipe::of_shared(SharedPages::promised(page)) else { return false };
    if shared != page.len() || !system::discard(page) || page[0] != 0 {
        return false;
    }
    page.fill(OLD + 1);
    let mut seen = vec![0; page.len()];
    let mut length = 0;
    while length < seen.len() {
        match read(pipe.outlet(), &mut seen[length..]) {
            Ok(0) | Err(_) => return false,
            Ok(more) => length += more,
        }
    }
    // The page may be shared still, by a system that zeroes in place: it is not used for anything else yet.
    system::discard(page) && seen.iter().all(|byte| *byte == OLD)
}
