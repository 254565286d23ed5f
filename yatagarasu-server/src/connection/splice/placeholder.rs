//! Tickets: slices that stand for as many bytes in a pipe. A ticket is recognized by its address; its own bytes are
//! never read.

use std::io::IoSlice;

use bytes::Bytes;
use yatagarasu_sys::pipe::CAPACITY;

static TICKETS: [u8; CAPACITY] = [0; CAPACITY];

/// The front of a list of slices to write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This many slices of ordinary bytes.
    Bytes(usize),
    /// A ticket for this many bytes.
    Ticket(usize),
}

/// Returns a ticket for `bytes` bytes. Panics if that is more than [`CAPACITY`].
pub(in crate::connection) fn ticket(bytes: usize) -> Bytes {
    Bytes::from_static(&TICKETS[..bytes])
}

/// Returns the kind of the first slices: ordinary bytes up to the first ticket, or a ticket.
pub(crate) fn next(slices: &[IoSlice<'_>]) -> Next {
    match slices.iter().position(|slice| is_ticket(slice)) {
        Some(0) => Next::Ticket(slices[0].len()),
        Some(bytes) => Next::Bytes(bytes),
        None => Next::Bytes(slices.len()),
    }
}

fn is_ticket(slice: &[u8]) -> bool {
    !slice.is_empty() && TICKETS.as_ptr_range().contains(&slice.as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_told_from_bytes_by_their_address() {
        let (bytes, nothing) = (IoSlice::new(&[0; 8]), IoSlice::new(&[]));
        let ticket = ticket(100);
        let rest = ticket.slice(99..);
        let (ticket, rest) = (IoSlice::new(&ticket), IoSlice::new(&rest));
        assert_eq!(next(&[bytes, bytes]), Next::Bytes(2));
        assert_eq!(next(&[bytes, nothing, ticket, bytes]), Next::Bytes(2));
        assert_eq!(next(&[ticket, rest]), Next::Ticket(100));
        assert_eq!(next(&[rest, bytes]), Next::Ticket(1));
        assert_eq!(next(&[]), Next::Bytes(0));
    }
}
