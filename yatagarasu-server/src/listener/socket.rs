//! Sockets that listen: for TCP, or on the path of a Unix socket.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream as StdTcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, UnixListener};

/// Number of connections that the kernel may queue until they are accepted.
const BACKLOG: i32 = 4096;

/// Time without a byte after which the kernel asks whether a peer is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// Time between two such questions. After several without an answer the connection ends.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// The permissions of a Unix socket. Those of its folder say who can reach it.
const SOCKET_MODE: u32 = 0o666;

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An address of TCP.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl ListeningSocket {
    /// Binds `address` and listens on it. Accepts no connection yet.
    pub(crate) fn bind(address: &ListenAddress) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => bind_tcp(*address).map(Self::Tcp),
            ListenAddress::Unix(path) => bind_unix(path).map(|listener| Self::Unix(listener, path.clone())),
        }
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> ListenAddress {
        match self {
            Self::Tcp(listener) => {
                ListenAddress::Tcp(listener.local_addr().expect("a listener has an address"))
            }
            Self::Unix(_, path) => ListenAddress::Unix(path.clone()),
        }
    }

    /// Waits for a connection. Returns its socket, which does not block, and the address of the peer.
    ///
    /// A Unix socket is returned as one of TCP: all that is asked of one is reading, writing and waiting, and options
    /// that it does not have change nothing. Its peer is this machine.
    pub(crate) async fn accept(&self) -> io::Result<(StdTcpStream, IpAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                Ok((socket.into_std()?, peer.ip()))
            }
            Self::Unix(listener, _) => {
                let (socket, _) = listener.accept().await?;
                Ok((StdTcpStream::from(OwnedFd::from(socket.into_std()?)), Ipv4Addr::LOCALHOST.into()))
            }
        }
    }

    /// Removes the file of a Unix socket that nobody listens on from now on.
    pub(crate) fn remove(&self) {
        if let Self::Unix(_, path) = self {
            // Somebody may have removed it already.
            let _ = fs::remove_file(path);
        }
    }
}

impl AsFd for ListeningSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Allows a port in TIME_WAIT to be bound again at once. A port with a listener stays refused.
    socket.set_reuse_address(true)?;
    // A client whose machine is gone holds no connection for hours. Accepted sockets inherit this.
    socket
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    // A process that was killed has left its socket behind. Anything else at the path stays.
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && StdUnixStream::connect(path).is_err_and(refused) {
        fs::remove_file(path)?;
    }
    let listener = StdUnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}
