//! Addresses that are listened on.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::assemble::StartError;

/// Connections the system may hold for us to accept.
const BACKLOG: i32 = 4096;

/// Pause after the system refused a connection for lack of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections for ever.
pub(crate) async fn accept(listener: &TcpListener, mut take: impl FnMut(TcpStream)) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => take(socket),
            // A client that left before it was accepted is nobody's failure; a lack of descriptors passes.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Takes an address. Nothing is accepted yet.
pub(crate) fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A port in TIME_WAIT may be taken again at once; one that is listened on may not.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|cause| StartError::Bind { key, address, cause })
}
