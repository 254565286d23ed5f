//! Listeners of QUIC, for HTTP/3: a UDP socket beside the one of TCP, at the same port.
//!
//! All datagrams of a listener come to one socket. A thread of its own reads them and passes each one to its connection,
//! which runs on a worker like any other: the reading thread decrypts nothing. [`udp`] is the socket, and how another
//! process takes it over.

mod udp;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use quinn::{Endpoint, EndpointConfig, Incoming, TokioRuntime};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::connection::admission::{Admission, Unproven};
use crate::connection::limits::ConnectionLimits;
use crate::listener::quic::udp::SharedSocket;

/// The thread that reads the datagrams of all listeners. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct QuicThread {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl QuicThread {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            // It ends with this, or if this is dropped.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("quic".to_owned()).spawn(run)?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for QuicThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread for QUIC had panicked");
        }
    }
}

/// A listener of QUIC.
#[derive(Debug)]
pub(crate) struct QuicListener {
    endpoint: Endpoint,
    socket: Arc<SharedSocket>,
    handle: Handle,
    open: Arc<Open>,
}

/// The connections of a listener that are open, for the time when another process takes its socket over.
#[derive(Debug, Default)]
pub(crate) struct Open(Mutex<HashMap<usize, quinn::Connection>>);

/// A connection that is open, until dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    open: Arc<Open>,
    id: usize,
}

/// A client that has arrived. Dropping this refuses it.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The first datagrams of its connection.
    pub(crate) incoming: Incoming,
    /// Where its connection is registered once it is open.
    pub(crate) open: Arc<Open>,
    /// Dropped when its address is known to be its own, unless that is known already.
    pub(crate) unproven: Option<Unproven>,
}

impl Arrival {
    /// Returns the address of the client.
    pub(crate) fn peer(&self) -> IpAddr {
        self.incoming.remote_address().ip()
    }

    /// Returns `None` if the client has to show first that it is at its address, or cannot say who it is.
    pub(crate) fn admitted(mut self, admission: &Arc<Admission>, limits: &ConnectionLimits) -> Option<Self> {
        // The PROXY protocol is one of TCP.
        if limits.client_address.is_proxied(self.peer()) {
            return None;
        }
        if !self.incoming.remote_address_validated() {
            self.unproven = admission.trust(limits);
            if self.unproven.is_none() {
                // An address that is not validated may always be asked about.
                let _ = self.incoming.retry();
                return None;
            }
        }
        Some(self)
    }
}

impl QuicListener {
    /// Makes a listener of a bound socket. It reads nothing before [`open`](Self::open): the process before may still do.
    pub(crate) fn new(
        socket: UdpSocket,
        config: quinn::ServerConfig,
        thread: &QuicThread,
    ) -> io::Result<Self> {
        let _entered = thread.handle.enter();
        let socket = Arc::new(SharedSocket::new(socket)?);
        let endpoint = Endpoint::new_with_abstract_socket(
            EndpointConfig::default(),
            Some(config),
            Arc::clone(&socket) as _,
            Arc::new(TokioRuntime),
        )?;
        Ok(Self { endpoint, socket, handle: thread.handle.clone(), open: Arc::default() })
    }

    /// Reads datagrams from now on.
    pub(crate) fn open(&self) {
        self.socket.open();
    }

    /// Waits for a client.
    pub(crate) async fn accept(&self) -> Arrival {
        match self.endpoint.accept().await {
            Some(incoming) => Arrival { incoming, open: Arc::clone(&self.open), unproven: None },
            // The endpoint is never closed as a whole.
            None => std::future::pending().await,
        }
    }

    /// Waits until all connections are closed, and their clients know it.
    pub(crate) async fn idle(&self) {
        self.endpoint.wait_idle().await;
    }

    /// Leaves the socket to another process. Open connections go on over sockets of their own.
    pub(crate) fn leave(&self) {
        let _entered = self.handle.enter();
        let clients: Vec<_> =
            self.open.connections().values().map(|c| (c.remote_address(), c.local_ip())).collect();
        self.socket.leave(&clients);
    }
}

impl AsFd for QuicListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.socket().as_fd()
    }
}

impl Open {
    /// Registers a connection until the returned value is dropped.
    pub(crate) fn register(self: &Arc<Self>, connection: &quinn::Connection) -> Registered {
        let id = connection.stable_id();
        self.connections().insert(id, connection.clone());
        Registered { open: Arc::clone(self), id }
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<usize, quinn::Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.open.connections().remove(&self.id);
    }
}
