//! The listeners of HTTP/3 of a server.

use std::io;
use std::net::UdpSocket;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::connection::admission::Admission;
use crate::connection::limits::ConnectionLimits;
use crate::listener::Listener;
use crate::listener::quic::{QuicListener, QuicThread};
use crate::server::handover::Passed;
use crate::server::worker::{Accepted, Arrived};

/// The suffix of a listener's key in the name of its QUIC socket, for another process.
const NAME_END: &str = "/udp";

/// Longest wait for clients to know that their connections are closed: three timeouts of a probe (RFC 9000 10.2).
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// The listeners of HTTP/3. Dropping this ends their connections.
#[derive(Debug)]
pub(super) struct Http3 {
    /// Those of the listeners of a server, in their order.
    listeners: Vec<Option<Arc<QuicListener>>>,
    /// Dropped after them.
    _thread: Option<QuicThread>,
}

impl Http3 {
    /// Makes the listeners of these sockets.
    pub(super) fn start(listeners: &[Listener], sockets: Vec<Option<UdpSocket>>) -> io::Result<Self> {
        let (mut all, mut thread) = (Vec::new(), None);
        for (listener, socket) in listeners.iter().zip(sockets) {
            let config = listener.terms().tls.as_ref().and_then(|tls| tls.quic.clone());
            let (Some(config), Some(socket)) = (config, socket) else {
                all.push(None);
                continue;
            };
            let thread = match &mut thread {
                Some(thread) => thread,
                None => thread.insert(QuicThread::start()?),
            };
            all.push(Some(Arc::new(QuicListener::new(socket, (*config).clone(), thread)?)));
        }
        Ok(Self { listeners: all, _thread: thread })
    }

    /// Returns the sockets with their names, for another process.
    pub(super) fn sockets(&self, listeners: &[Listener]) -> Vec<Passed> {
        let named = |(listener, quic): (&Listener, &Option<Arc<QuicListener>>)| {
            let socket: Weak<QuicListener> = Arc::downgrade(quic.as_ref()?);
            let name = format!("{}{NAME_END}", listener.config().key);
            Some(Passed { name, socket, is_kept: false })
        };
        listeners.iter().zip(&self.listeners).filter_map(named).collect()
    }

    /// Accepts connections of all listeners forever.
    pub(super) async fn accept(
        &self,
        listeners: &[Listener],
        admission: &Arc<Admission>,
        limits: &watch::Sender<Arc<ConnectionLimits>>,
        hand: impl Fn(Accepted),
    ) {
        let accepting = listeners.iter().zip(&self.listeners).map(async |(listener, quic)| {
            let Some(quic) = quic else { return };
            quic.open();
            loop {
                let arrival = quic.accept().await;
                // A crowd must not keep this thread from everything else.
                tokio::task::yield_now().await;
                let Some(arrival) = arrival.admitted(admission, &limits.borrow()) else { continue };
                let peer = arrival.peer();
                let arrived = Arrived::Quic(Box::new(arrival));
                hand(Accepted { arrived, peer, is_local: false, terms: listener.terms() });
            }
        });
        join_all(accepting).await;
        // There may be none.
        std::future::pending::<()>().await;
    }

    /// Refuses new connections forever.
    pub(super) async fn refuse(&self) {
        let refusing = self.listeners.iter().flatten().map(async |quic| {
            loop {
                drop(quic.accept().await);
                tokio::task::yield_now().await;
            }
        });
        join_all(refusing).await;
        std::future::pending::<()>().await;
    }

    /// Waits until clients know that their connections are closed, or for some time.
    pub(super) async fn farewells(&self) {
        let idle = self.listeners.iter().flatten().map(|quic| quic.end());
        // A client that is gone does not answer.
        let _ = timeout(FAREWELL_MAX, join_all(idle)).await;
    }

    /// Leaves the sockets to another process. Open connections go on.
    pub(super) fn leave(&self) {
        self.listeners.iter().flatten().for_each(|quic| quic.leave());
    }
}
