//! Placeholders: slices that stand for as many bytes in a pipe. A placeholder is recognized by its address; its own
//! bytes are never read.

use std::io::IoSlice;

use bytes::Bytes;
use yatagarasu_sys::pipe::CAPACITY;

static PLACEHOLDERS: [u8; CAPACITY] = [0; CAPACITY];

/// The front of a list of slices to write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This many slices of ordinary bytes.
    Bytes(usize),
    /// A placeholder for this many bytes.
    Placeholder(usize),
}

/// Returns a placeholder for `bytes` bytes. Panics if that is more than [`CAPACITY`].
pub(in crate::connection) fn placeholder(bytes: usize) -> Bytes {
    Bytes::from_static(&PLACEHOLDERS[..bytes])
}

/// Returns the kind of the first slices: ordinary bytes up to the first placeholder, or a placeholder.
pub(crate) fn next(slices: &[IoSlice<'_>]) -> Next {
    match slices.iter().position(|slice| is_placeholder(slice)) {
        Some(0) => Next::Placeholder(slices[0].len()),
        Some(bytes) => Next::Bytes(bytes),
        None => Next::Bytes(slices.len()),
    }
}

fn is_placeholder(slice: &[u8]) -> bool {
    !slice.is_empty() && PLACEHOLDERS.as_ptr_range().contains(&slice.as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_told_from_bytes_by_their_address() {
        let (bytes, nothing) = (IoSlice::new(&[0; 8]), IoSlice::new(&[]));
        let placeholder = placeholder(100);
        let rest = placeholder.slice(99..);
        let (placeholder, rest) = (IoSlice::new(&placeholder), IoSlice::new(&rest));
        assert_eq!(next(&[bytes, bytes]), Next::Bytes(2));
        assert_eq!(next(&[bytes, nothing, placeholder, bytes]), Next::Bytes(2));
        assert_eq!(next(&[placeholder, rest]), Next::Placeholder(100));
        assert_eq!(next(&[rest, bytes]), Next::Placeholder(1));
        assert_eq!(next(&[]), Next::Bytes(0));
    }
}
