//! TCP listeners: binds addresses and accepts connections.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::time::Duration;

use listenfd::ListenFd;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use yatagarasu_core::LogLimit;
use yatagarasu_sys::process::is_out_of_files;

use crate::build::StartError;

/// Number of connections that the kernel may queue until they are accepted.
const BACKLOG: i32 = 4096;

/// Time without a byte after which the kernel asks whether a peer is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// Time between two such questions. After several without an answer the connection ends.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

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

/// Listeners that this process was given at its start: by systemd (socket activation), or by the process that it
/// replaces.
#[derive(Debug, Default)]
pub(crate) struct Given(Vec<(String, StdTcpListener)>);

impl Given {
    /// Takes those that `LISTEN_FDS` announces, with their names in `LISTEN_FDNAMES`. Call it before there are threads.
    ///
    /// # Errors
    ///
    /// Returns an error if one is no TCP listener.
    #[expect(clippy::disallowed_methods, reason = "no configuration: the supervisor says what it passes on")]
    pub(crate) fn take() -> Result<Self, StartError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut given = ListenFd::from_env();
        let mut names = names.split(':');
        let mut listeners = Vec::new();
        for index in 0..given.len() {
            let listener = given.take_tcp_listener(index).map_err(StartError::Given)?;
            listeners
                .extend(listener.map(|listener| (names.next().unwrap_or_default().to_owned(), listener)));
        }
        Ok(Self(listeners))
    }

    /// Returns the listener for the setting `key`: the one with this name, else the one on this address, else a new one.
    pub(crate) fn listen(
        &mut self,
        key: &'static str,
        address: SocketAddr,
    ) -> Result<TcpListener, StartError> {
        let is_named = |(name, _): &(String, StdTcpListener)| name == key;
        let is_at =
            |(_, listener): &(String, StdTcpListener)| listener.local_addr().is_ok_and(|at| at == address);
        let index = self.0.iter().position(is_named).or_else(|| self.0.iter().position(is_at));
        let Some(index) = index else { return listen(key, address) };
        let (_, listener) = self.0.swap_remove(index);
        let adopted = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
        adopted.map_err(StartError::Given)
    }

    /// Checks that all were taken.
    ///
    /// # Errors
    ///
    /// Returns the address of one that nobody serves: its clients would wait forever.
    pub(crate) fn end(self) -> Result<(), StartError> {
        match self.0.first() {
            None => Ok(()),
            Some((_, listener)) => {
                Err(StartError::Unserved(listener.local_addr().map_err(StartError::Given)?))
            }
        }
    }
}

/// Binds `address` and listens on it. Accepts no connection yet. `key` names the setting in the error.
fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Allows a port in TIME_WAIT to be bound again at once. A port with a listener stays refused.
        socket.set_reuse_address(true)?;
        // A client whose machine is gone holds no connection for hours. Accepted sockets inherit this.
        socket.set_tcp_keepalive(
            &TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY),
        )?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|cause| StartError::Bind { key, address, cause })
}
