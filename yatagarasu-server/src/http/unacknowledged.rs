//! What the kernel holds for a client.

use tokio::net::TcpStream;

/// Returns the bytes that the kernel has taken for the client and that the client's system has not acknowledged. `None`
/// where the system does not tell.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "rustix has no name for this request of ioctl(2)")]
pub(super) fn unacknowledged(socket: &TcpStream) -> Option<u32> {
    use rustix::ioctl::{Getter, Opcode, ioctl};

    /// `SIOCOUTQ` of tcp(7), which has the same number.
    #[expect(clippy::cast_possible_truncation, reason = "requests of ioctl(2) have 32 bits")]
    const OUTPUT_QUEUE: Opcode = libc::TIOCOUTQ as Opcode;

    // SAFETY: the request writes one `int` and nothing else (tcp(7), "Ioctls").
    let bytes = unsafe { ioctl(socket, Getter::<OUTPUT_QUEUE, libc::c_int>::new()) };
    bytes.ok().and_then(|bytes| u32::try_from(bytes).ok())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn unacknowledged(_socket: &TcpStream) -> Option<u32> {
    None
}
