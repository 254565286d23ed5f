//! Listeners that this process was given at its start.

use std::mem;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::net::UnixListener as StdUnixListener;

use listenfd::ListenFd;
use tokio::net::TcpListener;

use crate::build::StartError;
use crate::listener::socket::{ListenAddress, ListeningSocket, UnixSocket};

/// Listeners that this process was given at its start: by systemd (socket activation), or by the process that it
/// replaces.
#[derive(Debug, Default)]
pub(crate) struct Given(Vec<(String, ListeningSocket)>);

impl Given {
    /// Takes those that `LISTEN_FDS` announces, with their names in `LISTEN_FDNAMES`. Call it before there are threads.
    ///
    /// # Errors
    ///
    /// Returns an error if one is no listener for TCP or on a Unix socket.
    #[expect(clippy::disallowed_methods, reason = "no configuration: the supervisor says what it passes on")]
    pub(crate) fn take() -> Result<Self, StartError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        // systemd keeps its sockets, and their files, beyond this process. Another process leaves them to this one.
        let is_kept = std::env::var_os("LISTEN_PID").is_some();
        let mut given = ListenFd::from_env();
        let mut names = names.split(':');
        let mut listeners = Vec::new();
        for index in 0..given.len() {
            // A socket of the other kind is left at its place.
            let unix = given.take_unix_listener(index).ok().flatten();
            let listener = match unix {
                Some(listener) => Some(adopt_unix(listener, is_kept)),
                None => given.take_tcp_listener(index).map_err(StartError::Given)?.map(adopt_tcp),
            };
            let name = names.next().unwrap_or_default().to_owned();
            if let Some(listener) = listener {
                listeners.push((name, listener.map_err(StartError::Given)?));
            }
        }
        Ok(Self(listeners))
    }

    /// Returns the listener for the setting `key`: the one on this address, else one with this name, else a new one. A
    /// listener on an address of `wanted` is for the setting with that address, whatever its name is: settings in a list
    /// change their places.
    pub(crate) fn listen(
        &mut self,
        key: &str,
        address: &ListenAddress,
        wanted: &[ListenAddress],
    ) -> Result<ListeningSocket, StartError> {
        let is_at = |(_, listener): &(String, ListeningSocket)| listener.address() == *address;
        let is_named = |(name, listener): &(String, ListeningSocket)| {
            let at = listener.address();
            name == key && !wanted.contains(&at) && mem::discriminant(&at) == mem::discriminant(address)
        };
        match self.0.iter().position(is_at).or_else(|| self.0.iter().position(is_named)) {
            Some(index) => Ok(self.0.swap_remove(index).1),
            None => ListeningSocket::bind(address).map_err(|cause| StartError::Bind {
                key: key.to_owned(),
                address: address.clone(),
                cause,
            }),
        }
    }

    /// Checks that all were taken.
    ///
    /// # Errors
    ///
    /// Returns the address of one that nobody serves: its clients would wait forever.
    pub(crate) fn end(self) -> Result<(), StartError> {
        match self.0.first() {
            None => Ok(()),
            Some((_, listener)) => Err(StartError::Unserved(listener.address())),
        }
    }
}

fn adopt_tcp(listener: StdTcpListener) -> std::io::Result<ListeningSocket> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).map(ListeningSocket::Tcp)
}

fn adopt_unix(listener: StdUnixListener, is_kept: bool) -> std::io::Result<ListeningSocket> {
    let path = listener.local_addr()?.as_pathname().unwrap_or_else(|| "".as_ref()).to_owned();
    UnixSocket::adopt(listener, path, is_kept).map(ListeningSocket::Unix)
}
