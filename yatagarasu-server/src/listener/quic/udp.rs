//! A UDP socket that another process can take over.
//!
//! The kernel knows no connections of QUIC. A process that reads the socket gets the datagrams of all of them. When another
//! process takes the socket over, this one stops reading it and opens a socket for each client that it still serves. It is
//! bound to the same port and connected to the client. The kernel prefers it for the datagrams of this client (`udp(7)`).

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use arc_swap::ArcSwapOption;
use futures_util::task::AtomicWaker;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// The socket of one client.
#[derive(Debug, Clone)]
struct Own {
    client: SocketAddr,
    socket: Arc<dyn AsyncUdpSocket>,
}

/// The socket of a listener.
pub(super) struct SharedSocket {
    socket: UdpSocket,
    shared: Arc<dyn AsyncUdpSocket>,
    is_open: AtomicBool,
    /// The sockets of the clients, once the shared one was left.
    own: ArcSwapOption<Vec<Own>>,
    /// The one of these that is read first next time.
    next: AtomicUsize,
    /// Wakes the task that reads.
    reader: AtomicWaker,
}

impl fmt::Debug for SharedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSocket").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl SharedSocket {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let shared = TokioRuntime.wrap_udp_socket(socket.try_clone()?)?;
        Ok(Self {
            socket,
            shared,
            is_open: AtomicBool::new(false),
            own: ArcSwapOption::empty(),
            next: AtomicUsize::new(0),
            reader: AtomicWaker::new(),
        })
    }

    /// Returns the socket.
    pub(super) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Reads it from now on.
    pub(super) fn open(&self) {
        self.is_open.store(true, Ordering::Release);
        self.reader.wake();
    }

    /// Reads it no more, but sockets for these clients: their addresses, and those that they know this machine by.
    pub(super) fn leave(&self, clients: &[(SocketAddr, Option<IpAddr>)]) {
        let (mut own, mut lost): (Vec<Own>, Vec<io::Error>) = (Vec::new(), Vec::new());
        // A client may have several connections.
        let clients: HashMap<_, _> = clients.iter().map(|(client, local)| (client, local)).collect();
        for (client, local) in clients {
            match self.connected(*client, *local) {
                Ok(socket) => own.push(Own { client: *client, socket }),
                Err(error) => lost.push(error),
            }
        }
        if let Some(error) = lost.first() {
            let connections = lost.len();
            tracing::warn!(
                connections, %error,
                "connections of HTTP/3 are lost: no more sockets can be opened at the port of the listener"
            );
        }
        self.own.store(Some(Arc::new(own)));
        self.reader.wake();
    }

    /// Returns `true` if another process reads it.
    pub(super) fn is_left(&self) -> bool {
        self.own.load().is_some()
    }

    /// Returns `true` if another process gets the datagrams of a client.
    pub(super) fn is_left_by(&self, client: SocketAddr) -> bool {
        self.own.load().as_ref().is_some_and(|own| own.iter().all(|own| own.client != client))
    }

    /// Closes the socket of a client that is not served any more.
    pub(super) fn forget(&self, client: SocketAddr) {
        self.own.rcu(|own| {
            let others = own.as_ref()?.iter().filter(|own| own.client != client).cloned().collect();
            Some(Arc::new(others))
        });
    }

    fn connected(&self, client: SocketAddr, local: Option<IpAddr>) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let mut address = self.socket.local_addr()?;
        if let Some(local) = local {
            let mapped = |local: IpAddr| match local {
                IpAddr::V4(v4) if address.is_ipv6() => v4.to_ipv6_mapped().into(),
                local => local,
            };
            address.set_ip(mapped(local));
        }
        // An address of one link means nothing without it.
        if let (SocketAddr::V6(address), SocketAddr::V6(client)) = (&mut address, client) {
            address.set_scope_id(client.scope_id());
        }
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        // Both, so that the kernel lets them share the port.
        SockRef::from(&self.socket).set_reuse_address(true)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.connect(&client.into())?;
        TokioRuntime.wrap_udp_socket(socket.into())
    }
}

impl AsyncUdpSocket for SharedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.shared).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.shared.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.reader.register(cx.waker());
        if let Some(own) = &*self.own.load() {
            // A busy client does not keep the others waiting.
            let first = self.next.load(Ordering::Relaxed);
            for place in (0..own.len()).map(|index| first.wrapping_add(index) % own.len()) {
                if let read @ Poll::Ready(_) = own[place].socket.poll_recv(cx, buffers, meta) {
                    self.next.store(place + 1, Ordering::Relaxed);
                    return read;
                }
            }
            return Poll::Pending;
        }
        if self.is_open.load(Ordering::Acquire) {
            self.shared.poll_recv(cx, buffers, meta)
        } else {
            Poll::Pending
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.shared.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.shared.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.shared.may_fragment()
    }
}
