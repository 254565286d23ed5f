//! A path for datagrams between one client and a server, which a test listens to and cuts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// A path. Dropping it ends it.
pub(crate) struct Relay {
    /// The address to connect to.
    pub(crate) address: SocketAddr,
    watched: Arc<Watched>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Watched {
    /// Whether the server has asked the client to prove its address: a Retry (RFC 9000 17.2.5).
    retried: AtomicBool,
    is_silent: AtomicBool,
}

impl Relay {
    /// Begins a path to a server.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        outside.connect(server).await.unwrap();
        let (address, watched) = (inside.local_addr().unwrap(), Arc::<Watched>::default());
        let task = tokio::spawn(pass(inside, outside, Arc::clone(&watched)));
        Self { address, watched, task }
    }

    /// Returns whether the server has asked the client to prove its address.
    pub(crate) fn has_retried(&self) -> bool {
        self.watched.retried.load(Ordering::Relaxed)
    }

    /// Drops the datagrams of the client from now on.
    pub(crate) fn silence(&self) {
        self.watched.is_silent.store(true, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(inside: UdpSocket, outside: UdpSocket, watched: Arc<Watched>) {
    let (mut here, mut there) = ([0; 2048], [0; 2048]);
    let mut client = None;
    loop {
        tokio::select! {
            Ok((length, from)) = inside.recv_from(&mut here) => {
                client = Some(from);
                if !watched.is_silent.load(Ordering::Relaxed) {
                    outside.send(&here[..length]).await.unwrap();
                }
            }
            Ok(length) = outside.recv(&mut there) => {
                if there[0] & 0xF0 == 0xF0 {
                    watched.retried.store(true, Ordering::Relaxed);
                }
                inside.send_to(&there[..length], client.unwrap()).await.unwrap();
            }
        }
    }
}
