//! Sockets that listen: for TCP, or on the path of a Unix socket.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream as StdTcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, UnixListener};

/// Number of connections that the kernel may queue until they are accepted.
const BACKLOG: i32 = 4096;

/// Time without a byte after which the kernel asks whether a peer is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// Time between two such questions. After several without an answer the connection ends.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// Size of the buffers of a socket for datagrams, in bytes: those of many connections wait there.
const DATAGRAM_BUFFER_BYTES: usize = 2 << 20;

/// The Unix socket of the admin API at which commands look for a server.
pub const ADMIN_SOCKET: &str = "/run/yatagarasu/admin.sock";

/// The users that may open a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketAccess {
    /// All users, as far as the permissions of its folder let them.
    All,
    /// The owner and the group of this process.
    Group,
}

impl SocketAccess {
    fn mode(self) -> u32 {
        match self {
            Self::All => 0o666,
            Self::Group => 0o660,
        }
    }
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An address of TCP.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Returns the path of a Unix socket, or `None` for an address of TCP.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }

    /// Returns the port, or `None` for a Unix socket.
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
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
    Unix(UnixSocket),
}

/// A listener on the path of a Unix socket. Dropping it removes the file, if the file is its own.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file, if nobody else has made it. Another process may have put its own there.
    own: Option<(u64, u64)>,
    /// Whether another process serves it from now on.
    is_left: AtomicBool,
}

impl UnixSocket {
    fn new(listener: StdUnixListener, path: PathBuf) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let (listener, own) = (UnixListener::from_std(listener)?, identity(&path));
        Ok(Self { listener, path, own, is_left: AtomicBool::new(false) })
    }

    /// Takes a listener that another process has made. It still serves it, until this one is known to. `is_kept` says that
    /// the file stays in any case.
    pub(super) fn adopt(listener: StdUnixListener, path: PathBuf, is_kept: bool) -> io::Result<Self> {
        let mut adopted = Self::new(listener, path)?;
        adopted.is_left = AtomicBool::new(true);
        if is_kept {
            adopted.own = None;
        }
        Ok(adopted)
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if self.own.is_some() && !self.is_left.load(Ordering::Relaxed) && identity(&self.path) == self.own {
            // Somebody may have removed it already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

impl ListeningSocket {
    /// Binds `address` and listens on it. Accepts no connection yet. `access` is for a Unix socket.
    pub(crate) fn bind(address: &ListenAddress, access: SocketAccess) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => bind_tcp(*address).map(Self::Tcp),
            ListenAddress::Unix(path) => {
                UnixSocket::new(bind_unix(path, access)?, path.clone()).map(Self::Unix)
            }
        }
    }

    /// Returns the address that it listens on.
    pub(crate) fn address(&self) -> ListenAddress {
        match self {
            Self::Tcp(listener) => {
                ListenAddress::Tcp(listener.local_addr().expect("a listener has an address"))
            }
            Self::Unix(socket) => ListenAddress::Unix(socket.path.clone()),
        }
    }

    /// Waits for a connection. Returns its socket, which does not block, and the address of the peer.
    ///
    /// A Unix socket is returned as one of TCP: all that is asked of one is reading, writing and waiting, and options
    /// that it does not have change nothing. Its peer is this machine. Closing it is no reset: a body of unknown length
    /// over HTTP/1.0 that breaks off looks whole to a client on a Unix socket.
    pub(crate) async fn accept(&self) -> io::Result<(StdTcpStream, IpAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                Ok((socket.into_std()?, peer.ip()))
            }
            Self::Unix(socket) => {
                let (socket, _) = socket.listener.accept().await?;
                Ok((StdTcpStream::from(OwnedFd::from(socket.into_std()?)), Ipv4Addr::LOCALHOST.into()))
            }
        }
    }

    /// Returns `true` for a Unix socket that others than its owner and its group may open, or that has no file.
    pub(crate) fn is_open_to_all(&self) -> bool {
        let Self::Unix(socket) = self else { return false };
        fs::metadata(&socket.path).map_or(true, |found| found.permissions().mode() & 0o007 != 0)
    }

    /// Returns whether it is a Unix socket.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Returns whether it is a Unix socket whose file somebody else keeps.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self, Self::Unix(UnixSocket { own: None, .. }))
    }

    /// Records whether another process serves a Unix socket from now on, and has its file.
    pub(crate) fn leave(&self, is_left: bool) {
        if let Self::Unix(socket) = self {
            socket.is_left.store(is_left, Ordering::Relaxed);
        }
    }
}

impl AsFd for ListeningSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(socket) => socket.listener.as_fd(),
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

/// Binds a socket for datagrams.
pub(super) fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // The system may limit the sizes. The socket works with any.
    let _ = socket.set_recv_buffer_size(DATAGRAM_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(DATAGRAM_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn bind_unix(path: &Path, access: SocketAccess) -> io::Result<StdUnixListener> {
    // A process that was killed has left its socket behind. Anything else at the path stays.
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && is_abandoned(path)? {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody can connect before it listens.
    fs::set_permissions(path, fs::Permissions::from_mode(access.mode()))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Returns `true` if nobody listens on a Unix socket. Does not wait for one who does not accept.
fn is_abandoned(path: &Path) -> io::Result<bool> {
    Ok(connected(path)?.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

/// Returns `true` if a server listens on a Unix socket that this user may open. Does not wait for one who does not accept.
pub fn is_served(path: &Path) -> bool {
    // With a full queue it would have to wait.
    connected(path)
        .is_ok_and(|done| done.map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |()| true))
}

fn connected(path: &Path) -> io::Result<io::Result<()>> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket.connect(&SockAddr::unix(path)?))
}
