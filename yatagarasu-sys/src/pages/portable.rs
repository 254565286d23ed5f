//! No page runs: a system that does not promise that shared pages stay as they are gets none.

pub(super) fn map(_bytes: usize) -> Option<&'static mut [u8]> {
    None
}

pub(super) fn discard(_run: &mut [u8]) -> bool {
    false
}

pub(super) fn populate(_run: &mut [u8]) {}
