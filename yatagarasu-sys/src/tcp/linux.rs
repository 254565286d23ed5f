//! Options of tcp(7).

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use libc::{IPPROTO_TCP, TCP_WINDOW_CLAMP, getsockopt, setsockopt, socklen_t};
use rustix::ioctl::{Getter, Opcode, ioctl};
use rustix::net::{SendFlags, send};
use socket2::SockRef;

/// More than any buffer.
static NO_CLAMP: c_int = 1 << 30;

/// The length of the option `TCP_WINDOW_CLAMP`.
const LENGTH: socklen_t = 4;

/// Lifts the largest window that there may be whatever the buffer is.
#[expect(unsafe_code, reason = "no crate has this option")]
pub(super) fn lift_window_clamp(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the system reads one integer of this length, and it is static.
    let set = unsafe {
        setsockopt(socket.as_raw_fd(), IPPROTO_TCP, TCP_WINDOW_CLAMP, (&raw const NO_CLAMP).cast(), LENGTH)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns that window.
#[expect(unsafe_code, reason = "no crate has this option")]
pub(super) fn window_clamp(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let (mut bytes, mut length): (c_int, _) = (0, LENGTH);
    // SAFETY: the system writes an integer into one, and no more than the length that it is given.
    let got = unsafe {
        let bytes = (&raw mut bytes).cast();
        getsockopt(socket.as_raw_fd(), IPPROTO_TCP, TCP_WINDOW_CLAMP, bytes, &raw mut length)
    };
    if got == 0 { Ok(usize::try_from(bytes).unwrap_or_default()) } else { Err(io::Error::last_os_error()) }
}

pub(super) fn set_notsent_lowat(socket: BorrowedFd<'_>, bytes: u32) {
    let _ = SockRef::from(&socket).set_tcp_notsent_lowat(bytes);
}

pub(super) fn acknowledge_at_once(socket: BorrowedFd<'_>) {
    let _ = SockRef::from(&socket).set_tcp_quickack(true);
}

pub(super) fn end_if_stalled(socket: BorrowedFd<'_>, time: Duration) {
    let _ = SockRef::from(&socket).set_tcp_user_timeout(Some(time));
}

#[expect(unsafe_code, reason = "rustix has no name for this request of ioctl(2)")]
pub(super) fn unacknowledged(socket: BorrowedFd<'_>) -> Option<u32> {
    /// `SIOCOUTQ`, which has the number of `TIOCOUTQ`.
    #[expect(clippy::cast_possible_truncation, reason = "requests of ioctl(2) have 32 bits")]
    const OUTPUT_QUEUE: Opcode = libc::TIOCOUTQ as Opcode;

    // SAFETY: the request writes one `int` and nothing else (tcp(7), "Ioctls").
    let bytes = unsafe { ioctl(socket, Getter::<OUTPUT_QUEUE, c_int>::new()) };
    bytes.ok().and_then(|bytes| u32::try_from(bytes).ok())
}

pub(super) fn send_more(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(socket, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
}
