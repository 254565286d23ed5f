//! How much the system may hold of what a server sends.

use std::io;

use socket2::SockRef;
use tokio::net::TcpStream;

/// Holds the system to a receive buffer of `bytes`, which it doubles.
///
/// That is done once a connection is open, and before any response comes: a buffer of a size given before has the two
/// sides agree on windows that are never larger (RFC 7323 2). The buffer alone is to bound the window.
pub(super) fn bound(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    SockRef::from(stream).set_recv_buffer_size(bytes)?;
    clamp::lift(stream)
}

/// Gives a bounded buffer a larger size. It keeps it: what comes for the window that was offered would be dropped, and
/// sent again only after seconds.
pub(super) fn widen(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    SockRef::from(stream).set_recv_buffer_size(bytes)?;
    // Some versions of Linux derive the clamp from the buffer now and then. Others must not be told anew while the window
    // is closed: it would never open again (3aa7857fe1d7, which Linux 6.7 mends).
    if clamp::get(stream)? < bytes { clamp::lift(stream) } else { Ok(()) }
}

/// The largest window there may be whatever the buffer.
#[cfg(target_os = "linux")]
mod clamp {
    use std::ffi::c_int;
    use std::io;
    use std::os::fd::AsRawFd;

    use libc::{IPPROTO_TCP, TCP_WINDOW_CLAMP, getsockopt, setsockopt, socklen_t};
    use tokio::net::TcpStream;

    /// More than any buffer.
    static LIFTED: c_int = 1 << 30;

    /// The length of the option.
    const LENGTH: socklen_t = 4;

    #[expect(unsafe_code, reason = "no crate has this option")]
    pub(super) fn lift(stream: &TcpStream) -> io::Result<()> {
        // SAFETY: the system reads an integer, which outlives the call.
        let set = unsafe {
            setsockopt(stream.as_raw_fd(), IPPROTO_TCP, TCP_WINDOW_CLAMP, (&raw const LIFTED).cast(), LENGTH)
        };
        if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    #[expect(unsafe_code, reason = "no crate has this option")]
    pub(super) fn get(stream: &TcpStream) -> io::Result<usize> {
        let (mut bytes, mut length): (c_int, _) = (0, LENGTH);
        // SAFETY: the system writes an integer where one is, and no more than the length that it is given.
        let got = unsafe {
            let bytes = (&raw mut bytes).cast();
            getsockopt(stream.as_raw_fd(), IPPROTO_TCP, TCP_WINDOW_CLAMP, bytes, &raw mut length)
        };
        if got == 0 {
            Ok(usize::try_from(bytes).unwrap_or_default())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// The window follows the buffer.
#[cfg(not(target_os = "linux"))]
mod clamp {
    use std::io;

    use tokio::net::TcpStream;

    pub(super) fn lift(_stream: &TcpStream) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn get(_stream: &TcpStream) -> io::Result<usize> {
        Ok(usize::MAX)
    }
}
