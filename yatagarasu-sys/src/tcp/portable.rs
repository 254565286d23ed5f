//! Sockets without the options of Linux.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Does nothing: the window follows the buffer.
pub(super) fn lift_window_clamp(_socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}

pub(super) fn window_clamp(_socket: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(usize::MAX)
}

pub(super) fn set_notsent_lowat(_socket: BorrowedFd<'_>, _bytes: u32) {}

pub(super) fn acknowledge_at_once(_socket: BorrowedFd<'_>) {}

pub(super) fn end_if_stalled(_socket: BorrowedFd<'_>, _time: Duration) {}

pub(super) fn unacknowledged(_socket: BorrowedFd<'_>) -> Option<u32> {
    None
}

pub(super) fn send_more(_socket: BorrowedFd<'_>, _bytes: &[u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
