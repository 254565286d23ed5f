//! A port at which nobody listens.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

/// A port that refuses connections, and that no other process gets while this value lives.
#[derive(Debug)]
pub struct ClosedPort(Socket);

impl ClosedPort {
    /// Takes a free port.
    #[expect(clippy::new_without_default, reason = "a port is taken, not made up")]
    pub fn new() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Takes the port of a listener that has been closed.
    pub(super) fn at(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // Connections of the former listener may not have ended yet.
        socket.set_reuse_address(true).expect("an option of sockets");
        socket.bind(&address.into()).expect("a free port");
        Self(socket)
    }

    /// Returns the endpoint of an S3 server that cannot be reached.
    pub fn endpoint(&self) -> String {
        let address = self.0.local_addr().expect("a bound socket");
        format!("http://{}", address.as_socket().expect("an IP address"))
    }
}
