//! The source: a server that speaks S3, path style, and does not check signatures.

mod answer;
mod objects;
mod pattern;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(crate) use objects::{BUCKET, MIXED, Object, SMALL};
pub(crate) use pattern::Cursor;
pub(crate) use tls::Identity;

/// Connections that the kernel may queue for the source to accept.
const BACKLOG: u32 = 4096;

/// Send buffer of a connection, which the kernel doubles.
///
/// Without a fixed size it grows to 4 MiB. A thousand streams would then use up the kernel's memory for TCP before the
/// proxies do.
const SEND_BUFFER: u32 = 256 * 1024;

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A source as a proxy reaches it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upstream<'a> {
    pub(crate) address: SocketAddr,
    /// File with the certificate that the source shows, if it speaks TLS.
    pub(crate) certificate: Option<&'a Path>,
}

/// A running source. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Source {
    plain: SocketAddr,
    over_tls: SocketAddr,
    identity: Identity,
    requests: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Source {
    /// Starts a source on its own thread, on the core of the calling thread.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_all().build().context("a runtime cannot be started")?;
        let (plain, over_tls) = {
            let _inside = runtime.enter();
            (listen().context("the source cannot listen")?, listen().context("the source cannot listen")?)
        };
        let of = |listener: &TcpListener| listener.local_addr().context("the source has no address");
        let (plain_address, over_tls_address) = (of(&plain)?, of(&over_tls)?);
        let identity = Identity::new()?;
        let acceptor = identity.acceptor()?;
        let requests = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = oneshot::channel();
        let counted = Arc::clone(&requests);
        let thread = thread::Builder::new().name("source".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(&plain, &counted, None) => {}
                    () = accept(&over_tls, &counted, Some(&acceptor)) => {}
                    _ = stopped => {}
                }
            });
        });
        let thread = thread.context("the source's thread cannot be started")?;
        Ok(Self {
            plain: plain_address,
            over_tls: over_tls_address,
            identity,
            requests,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Returns the source without TLS.
    pub(crate) fn plain(&self) -> Upstream<'_> {
        Upstream { address: self.plain, certificate: None }
    }

    /// Returns the certificate of the source, which the proxies have as well.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the source over TLS 1.2 and 1.3.
    pub(crate) fn over_tls(&self) -> Upstream<'_> {
        Upstream { address: self.over_tls, certificate: Some(&self.identity.cert_file) }
    }

    /// Returns the number of requests received so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the source had panicked");
        }
    }
}

fn listen() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(BACKLOG)
}

/// Accepts connections for ever, over TLS if there is an acceptor. Dropping the future ends the open ones.
async fn accept(listener: &TcpListener, requests: &Arc<AtomicU64>, tls: Option<&TlsAcceptor>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let (requests, tls) = (Arc::clone(requests), tls.cloned());
        connections.spawn(async move {
            let _ = socket.set_nodelay(true);
            // An error means that the client has left, which is no failure of the source.
            let _ = match tls {
                None => answer::answer(socket, &requests).await,
                Some(tls) => match tls.accept(socket).await {
                    Ok(stream) => answer::answer(stream, &requests).await,
                    Err(error) => Err(error),
                },
            };
        });
    }
}
