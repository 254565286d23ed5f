//! TCP sockets: how much the kernel holds for either side.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::SockRef;

#[cfg(all(target_os = "linux", not(yatagarasu_portable)))]
#[path = "tcp/linux.rs"]
mod system;
#[cfg(not(all(target_os = "linux", not(yatagarasu_portable))))]
#[path = "tcp/portable.rs"]
mod system;

/// Bounds the receive buffer of a connection to `bytes`, which Linux doubles.
///
/// Call it once the connection is open and before any response arrives. A size set earlier makes both sides agree on
/// windows that are never larger (RFC 7323 2), and only the buffer is to bound the window.
///
/// # Errors
///
/// The system refuses the size.
pub fn bound_receive_buffer(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    SockRef::from(socket).set_recv_buffer_size(bytes)?;
    system::lift_window_clamp(socket.as_fd())
}

/// Makes a bounded receive buffer larger. It cannot be made smaller again: bytes sent for the window that was offered
/// would be dropped, and sent again only after seconds.
///
/// # Errors
///
/// The system refuses the size.
pub fn widen_receive_buffer(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    SockRef::from(socket).set_recv_buffer_size(bytes)?;
    // Some versions of Linux derive the clamp from the buffer now and then. Others must not be told again while the
    // window is closed: it would never open (3aa7857fe1d7, mended in Linux 6.7).
    if system::window_clamp(socket.as_fd())? < bytes {
        system::lift_window_clamp(socket.as_fd())
    } else {
        Ok(())
    }
}

/// Bounds the bytes that the kernel takes for the peer before it has sent them (`TCP_NOTSENT_LOWAT`). Does nothing on a
/// system without that option, or on a closed socket.
pub fn set_notsent_lowat(socket: &impl AsFd, bytes: u32) {
    system::set_notsent_lowat(socket.as_fd(), bytes);
}

/// Acknowledges the bytes that arrive next without delay (`TCP_QUICKACK`). The system returns to delays by itself. Does
/// nothing on a system without that option.
pub fn acknowledge_at_once(socket: &impl AsFd) {
    system::acknowledge_at_once(socket.as_fd());
}

/// Makes the system end the connection if the peer takes nothing, or acknowledges nothing, for `time` while bytes wait for
/// it (`TCP_USER_TIMEOUT`, RFC 5482). Does nothing on a system without that option, or on a socket that is not TCP's.
pub fn end_if_stalled(socket: &impl AsFd, time: Duration) {
    system::end_if_stalled(socket.as_fd(), time);
}

/// Returns the bytes that the kernel has taken for the peer and that the peer has not acknowledged. Returns `None` if
/// the system does not tell.
pub fn unacknowledged(socket: &impl AsFd) -> Option<u32> {
    system::unacknowledged(socket.as_fd())
}

/// Sends bytes that others follow at once, without waiting: the system waits for those before it sends a short packet.
/// Returns how many the socket took.
///
/// # Errors
///
/// `WouldBlock` if the socket is full; `Unsupported` on a system without that option.
pub fn send_more(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    system::send_more(socket.as_fd(), bytes)
}
