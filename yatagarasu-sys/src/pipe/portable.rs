//! No pipes: bytes are read and written.

use std::io;
use std::os::fd::BorrowedFd;

use super::{Counted, Pipe};
use crate::shared::SharedPages;

pub(super) const CAN_SPLICE: bool = false;

pub(super) fn open(_counted: Counted) -> io::Result<Pipe> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn lend(_pipe: &Pipe, _shared: SharedPages<'_>) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn drain(_pipe: &Pipe, _socket: BorrowedFd<'_>, _length: usize, _more: bool) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn fill(_pipe: BorrowedFd<'_>, _socket: BorrowedFd<'_>, _limit: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
