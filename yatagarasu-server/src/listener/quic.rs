//! Listeners of QUIC, for HTTP/3: a UDP socket beside the one of TCP, at the same port.
//!
//! All datagrams of a listener come to one socket. A thread of its own reads them and passes each one to its connection,
//! which runs on a worker like any other: the reading thread decrypts nothing. [`udp`] is the socket, and how another
//! process takes it over.

mod udp;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use quinn::{Endpoint, EndpointConfig, Incoming, TokioRuntime, VarInt};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::connection::admission::{Admission, Unproven};
use crate::connection::limits::ConnectionLimits;
use crate::listener::quic::udp::SharedSocket;

/// The end of a connection without an error (`H3_NO_ERROR`, RFC 9114 8.1).
const NO_ERROR: u32 = 0x100;

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
    clients: Arc<Clients>,
}

/// The clients of a listener that are being served, for the time when another process takes its socket over.
#[derive(Debug)]
struct Clients {
    all: Mutex<HashMap<u64, Client>>,
    /// The number of the next one.
    next: AtomicU64,
    socket: Arc<SharedSocket>,
}

#[derive(Debug)]
struct Client {
    /// Its address, and that of this machine by which it knows it, at the beginning.
    addresses: (SocketAddr, Option<IpAddr>),
    /// Its connection, once that is open. Its addresses may change.
    connection: Option<quinn::Connection>,
}

impl Client {
    fn addresses(&self) -> (SocketAddr, Option<IpAddr>) {
        let connection = self.connection.as_ref();
        connection.map_or(self.addresses, |open| (open.remote_address(), open.local_ip()))
    }
}

/// A client that is being served, until dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    clients: Arc<Clients>,
    number: u64,
}

/// A client that has arrived. Dropping this refuses it.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The first datagrams of its connection.
    pub(crate) incoming: Incoming,
    pub(crate) registered: Registered,
    /// Dropped when its address is known to be its own, unless that is known already.
    pub(crate) unproven: Option<Unproven>,
}

impl Arrival {
    /// Returns the address of the client.
    pub(crate) fn peer(&self) -> IpAddr {
        self.incoming.remote_address().ip()
    }

    /// Returns `None` if the client must prove its address first, or is a proxy that cannot name its client.
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
        let clients = Clients { all: Mutex::default(), next: AtomicU64::new(0), socket: Arc::clone(&socket) };
        Ok(Self { endpoint, socket, handle: thread.handle.clone(), clients: Arc::new(clients) })
    }

    /// Reads datagrams from now on.
    pub(crate) fn open(&self) {
        self.socket.open();
    }

    /// Waits for a client.
    pub(crate) async fn accept(&self) -> Arrival {
        loop {
            // The endpoint is closed as a whole when the server ends.
            let Some(incoming) = self.endpoint.accept().await else { return std::future::pending().await };
            if self.socket.is_left_by(incoming.remote_address()) {
                // It tries again, and gets to the other process.
                incoming.ignore();
                continue;
            }
            let registered = self.clients.register(&incoming);
            return Arrival { incoming, registered, unproven: None };
        }
    }

    /// Closes the connections that are left, and waits until the clients of all know.
    pub(crate) async fn end(&self) {
        self.endpoint.close(VarInt::from_u32(NO_ERROR), b"");
        self.endpoint.wait_idle().await;
    }

    /// Leaves the socket to another process. Open connections go on over sockets of their own.
    pub(crate) fn leave(&self) {
        let _entered = self.handle.enter();
        let clients: Vec<_> = self.clients.all().values().map(Client::addresses).collect();
        self.socket.leave(&clients);
    }
}

impl AsFd for QuicListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.socket().as_fd()
    }
}

impl Clients {
    fn register(self: &Arc<Self>, incoming: &Incoming) -> Registered {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let addresses = (incoming.remote_address(), incoming.local_ip());
        self.all().insert(number, Client { addresses, connection: None });
        Registered { clients: Arc::clone(self), number }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<u64, Client>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    /// Records that the connection is open.
    pub(crate) fn open(&self, connection: &quinn::Connection) {
        if let Some(client) = self.clients.all().get_mut(&self.number) {
            client.connection = Some(connection.clone());
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut all = self.clients.all();
        let Some(client) = all.remove(&self.number) else { return };
        if self.clients.socket.is_left() {
            let (address, _) = client.addresses();
            if all.values().all(|other| other.addresses().0 != address) {
                // With its next connection, the client gets to the other process.
                self.clients.socket.forget(address);
            }
        }
    }
}
