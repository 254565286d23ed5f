//! A running server: its listeners, its worker threads, and its shutdown.
//!
//! The thread that calls [`Server::run`] accepts connections and serves the admin API. It hands each connection to the
//! worker with the fewest connections. A connection stays with its worker: a thread with its own single-threaded
//! runtime. All reads and writes of a client therefore stay on one core.
//!
//! All workers share one listener instead of one listener each with `SO_REUSEPORT`. One listener spreads even a few
//! connections evenly, and keeps a second server from sharing the port unnoticed.

mod worker;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use yatagarasu_sys::pages::are_shareable;

use crate::admin::Admin;
use crate::build::{StartError, build};
use crate::config::Config;
use crate::connection::limits::ConnectionLimits;
use crate::listener::{accept, listen};
use crate::trim::keep_small;

use worker::Workers;

/// A server that is bound to its addresses and has started its workers. It accepts no connection before
/// [`run`](Self::run).
#[derive(Debug)]
pub struct Server {
    public: TcpListener,
    admin_listener: TcpListener,
    admin: Arc<Admin>,
    workers: Workers,
    stop: watch::Sender<bool>,
    grace: Duration,
}

impl Server {
    /// Binds the addresses, connects the buckets, and starts the workers. Leaves nothing behind if it fails.
    ///
    /// # Errors
    ///
    /// Returns an error if this machine cannot provide a part of the configuration: an address, a source, a cache, or a
    /// thread.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        // The proof at the start, not at the first object.
        if !are_shareable() {
            tracing::info!(
                "memory cannot be shared with the kernel here: stored objects are sent by copying"
            );
        }
        let public = listen("server.address", config.server.address)?;
        let admin_listener = listen("admin.address", config.admin.address)?;
        let assembly = build(config).await?;
        let limits = ConnectionLimits {
            header_timeout: config.server.header_timeout,
            send_timeout: config.server.send_timeout,
            notsent_lowat: config.server.notsent_lowat,
            socket_memory: Arc::clone(&assembly.memory.sockets),
        };
        let (stop, stopped) = watch::channel(false);
        let workers = Workers::start(&assembly.buckets, &assembly.metrics, &limits, &stopped)
            .map_err(StartError::Thread)?;
        let admin =
            Admin::new(assembly.buckets, assembly.metrics, assembly.memory, config.admin.token.clone());
        let grace = config.server.shutdown_grace;
        Ok(Self { public, admin_listener, admin: Arc::new(admin), workers, stop, grace })
    }

    /// Returns the address of the public listener.
    pub fn address(&self) -> SocketAddr {
        self.public.local_addr().expect("a listener has an address")
    }

    /// Returns the address of the admin listener.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_listener.local_addr().expect("a listener has an address")
    }

    /// Serves until `until` resolves, then stops accepting and gives running responses the configured grace period.
    /// Returns `true` if all of them ended within it.
    pub async fn run(self, until: impl Future<Output = ()>) -> bool {
        let Self { public, admin_listener, admin, workers, stop, grace } = self;
        tokio::select! {
            () = accept(&public, |socket| workers.hand(socket)) => {}
            () = admin.serve(&admin_listener) => {}
            () = keep_small(|| workers.connections()) => {}
            () = until => {}
        }
        drop((public, admin_listener));
        tracing::info!(seconds = grace.as_secs(), "stopping: running responses may end");
        stop.send_replace(true);
        workers.finish(grace).await
    }
}
