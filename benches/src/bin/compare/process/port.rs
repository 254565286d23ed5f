//! Ports to listen on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those the system gives to clients: a client of a port that nobody listens on yet could be given that port
/// itself, and be connected with itself.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// Where to look next: not where another run looks.
static NEXT: LazyLock<AtomicU16> =
    LazyLock::new(|| AtomicU16::new(u16::try_from(process::id() % u32::from(COUNT)).unwrap_or(0)));

/// A port on loopback that nobody listens on, and that is not given out again soon.
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
