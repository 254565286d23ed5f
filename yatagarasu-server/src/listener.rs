//! TCP listeners: binds addresses and accepts connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use yatagarasu_core::LogLimit;
use yatagarasu_sys::process::is_out_of_files;

use crate::build::StartError;

/// Number of connections that the kernel may queue until they are accepted.
const BACKLOG: i32 = 4096;

/// Pause after a failed `accept`, because file descriptors or memory may be free again by then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections forever and passes each one to `take`, with the address of the peer. `key` names the setting of
/// the listener in the log.
pub(crate) async fn accept(
    key: &'static str,
    listener: &TcpListener,
    mut take: impl FnMut(TcpStream, SocketAddr),
) {
    let log = LogLimit::default();
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => take(socket, peer),
            // The client has left before its connection was accepted. That is not an error of the server.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if let Some(failures) = log.due() {
                    let advice = if is_out_of_files(&error) {
                        ": no file descriptors are left: raise the limit (`LimitNOFILE`, `ulimit -n`)"
                    } else {
                        ""
                    };
                    tracing::error!(listener = key, %error, failures, "connections cannot be accepted{advice}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Binds `address` and listens on it. Accepts no connection yet. `key` names the setting in the error.
pub(crate) fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Allows a port in TIME_WAIT to be bound again at once. A port with a listener stays refused.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|cause| StartError::Bind { key, address, cause })
}
