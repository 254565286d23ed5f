//! Free ports to listen on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// First port of the range, below the ports that the kernel gives to clients.
///
/// A client that connects to a port without a listener could be given that same port, and be connected with itself.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// Offset of the next port to try. It starts at the process id, so that another run tries other ports.
static NEXT: LazyLock<AtomicU16> =
    LazyLock::new(|| AtomicU16::new(u16::try_from(process::id() % u32::from(COUNT)).unwrap_or(0)));

/// Returns an unused port on loopback, which is not returned again soon.
pub(super) fn free() -> io::Result<SocketAddr> {
    let mut tried = Ok(());
    for _ in 0..COUNT {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return listener.local_addr(),
            Err(error) => tried = Err(error),
        }
    }
    tried.and(Err(io::ErrorKind::AddrInUse.into()))
}
