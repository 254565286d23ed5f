//! Listeners that this process was given at its start.

use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener as StdTcpListener, UdpSocket};
use std::os::unix::net::UnixListener as StdUnixListener;

use listenfd::ListenFd;
use tokio::net::TcpListener;

use crate::build::StartError;
use crate::listener::socket::{ListenAddress, ListeningSocket, SocketAccess, UnixSocket, bind_udp};

/// The variable with the names of the Unix sockets whose files the supervisor keeps, as `LISTEN_FDNAMES` has them. A process
/// sets it for the one that replaces it.
pub(crate) const KEPT_NAMES: &str = "YATAGARASU_KEPT_FDNAMES";

/// Listeners that this process was given at its start: by systemd (socket activation), or by the process that it
/// replaces.
#[derive(Debug, Default)]
pub(crate) struct Given {
    listeners: Vec<(String, ListeningSocket)>,
    /// Sockets for QUIC, and their addresses.
    datagrams: Vec<(SocketAddr, UdpSocket)>,
}

impl Given {
    /// Takes those that `LISTEN_FDS` announces, with their names in `LISTEN_FDNAMES`. Call it before there are threads.
    ///
    /// # Errors
    ///
    /// Returns an error if one is no listener for TCP or on a Unix socket, and no socket for UDP.
    #[expect(clippy::disallowed_methods, reason = "no configuration: the supervisor says what it passes on")]
    pub(crate) fn take() -> Result<Self, StartError> {
        let [names, kept] =
            ["LISTEN_FDNAMES", KEPT_NAMES].map(|name| std::env::var(name).unwrap_or_default());
        // systemd keeps its sockets, and their files, beyond this process. The process that this one replaces says which are
        // such, and leaves the others to this one.
        let by_systemd = std::env::var_os("LISTEN_PID").is_some();
        let mut given = ListenFd::from_env();
        let mut names = names.split(':');
        let (mut listeners, mut datagrams) = (Vec::new(), Vec::new());
        for index in 0..given.len() {
            // A socket of another kind is left at its place.
            if let Some(socket) = given.take_udp_socket(index).ok().flatten() {
                names.next();
                let address = socket.local_addr().and_then(|address| {
                    socket.set_nonblocking(true)?;
                    Ok(address)
                });
                datagrams.push((address.map_err(StartError::Given)?, socket));
                continue;
            }
            let name = names.next().unwrap_or_default().to_owned();
            let unix = given.take_unix_listener(index).ok().flatten();
            let listener = match unix {
                Some(listener) => {
                    Some(adopt_unix(listener, by_systemd || kept.split(':').any(|kept| kept == name)))
                }
                None => given.take_tcp_listener(index).map_err(StartError::Given)?.map(adopt_tcp),
            };
            if let Some(listener) = listener {
                listeners.push((name, listener.map_err(StartError::Given)?));
            }
        }
        Ok(Self { listeners, datagrams })
    }

    /// Returns the listener for the setting `key`: the one on this address, else one with this name, else a new one. A
    /// listener on an address of `wanted` is for the setting with that address, whatever its name is: settings in a list
    /// change their places. A Unix socket has to have this `access`.
    pub(crate) fn listen(
        &mut self,
        key: &str,
        address: &ListenAddress,
        wanted: &[ListenAddress],
        access: SocketAccess,
    ) -> Result<ListeningSocket, StartError> {
        let is_at = |(_, listener): &(String, ListeningSocket)| listener.address() == *address;
        let is_named = |(name, listener): &(String, ListeningSocket)| {
            let at = listener.address();
            name == key && !wanted.contains(&at) && mem::discriminant(&at) == mem::discriminant(address)
        };
        let place = self.listeners.iter().position(is_at);
        match place.or_else(|| self.listeners.iter().position(is_named)) {
            Some(index) => {
                let listener = self.listeners.swap_remove(index).1;
                if access == SocketAccess::Group && listener.is_open_to_all() {
                    return Err(StartError::OpenToAll { key: key.to_owned(), address: listener.address() });
                }
                Ok(listener)
            }
            None => ListeningSocket::bind(address, access).map_err(|cause| StartError::Bind {
                key: key.to_owned(),
                address: address.clone(),
                cause,
            }),
        }
    }

    /// Returns the socket for datagrams on this address: a given one, else a new one.
    pub(crate) fn listen_udp(&mut self, address: SocketAddr) -> io::Result<UdpSocket> {
        match self.datagrams.iter().position(|(at, _)| *at == address) {
            Some(index) => Ok(self.datagrams.swap_remove(index).1),
            None => bind_udp(address),
        }
    }

    /// Checks that all were taken.
    ///
    /// # Errors
    ///
    /// Returns the address of one that nobody serves: its clients would wait forever.
    pub(crate) fn end(self) -> Result<(), StartError> {
        if let Some((address, _)) = self.datagrams.first() {
            return Err(StartError::UnservedUdp(*address));
        }
        match self.listeners.first() {
            None => Ok(()),
            Some((_, listener)) => Err(StartError::Unserved(listener.address())),
        }
    }
}

fn adopt_tcp(listener: StdTcpListener) -> io::Result<ListeningSocket> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).map(ListeningSocket::Tcp)
}

fn adopt_unix(listener: StdUnixListener, is_kept: bool) -> io::Result<ListeningSocket> {
    let path = listener.local_addr()?.as_pathname().unwrap_or_else(|| "".as_ref()).to_owned();
    UnixSocket::adopt(listener, path, is_kept).map(ListeningSocket::Unix)
}
