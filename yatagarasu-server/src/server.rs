//! A running server: its listeners, its threads, its end.
//!
//! The thread that calls [`Server::run`] accepts connections and answers the admin API. Each connection is handed
//! to the worker with the fewest, and stays there: a worker is a thread with a single-threaded runtime of its own,
//! so that what a client sends and gets stays on one core. One listener for all of them, rather than one each with
//! `SO_REUSEPORT`, spreads few connections evenly and leaves a second server no chance to share the port unseen.

mod worker;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use yatagarasu_sys::pages::are_shareable;

use crate::admin::Admin;
use crate::assemble::{StartError, assemble};
use crate::config::Config;
use crate::heap::keep_small;
use crate::http::ConnectionLimits;
use crate::listener::{accept, listen};

use worker::Workers;

/// A server whose addresses are taken and whose threads run, but which accepts nothing before [`run`](Self::run).
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
    /// Starts a server. Leaves nothing behind where it fails.
    ///
    /// # Errors
    ///
    /// What of the configuration cannot be had on this machine.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        // The proof at the start, not at the first object.
        if !are_shareable() {
            tracing::info!(
                "memory cannot be shared with the kernel here: stored objects are sent by copying"
            );
        }
        let public = listen("server.address", config.server.address)?;
        let admin_listener = listen("admin.address", config.admin.address)?;
        let assembly = assemble(config).await?;
        let limits = ConnectionLimits {
            header_timeout: config.server.header_timeout,
            send_timeout: config.server.send_timeout,
            notsent_lowat: config.server.notsent_lowat,
            socket_memory: Arc::clone(&assembly.memory.sockets),
        };
        let (stop, stopped) = watch::channel(false);
        let workers = Workers::start(&assembly.front, &assembly.metrics, &limits, &stopped)
            .map_err(StartError::Thread)?;
        let admin = Admin::new(assembly.front, assembly.metrics, assembly.memory, config.admin.token.clone());
        let grace = config.server.shutdown_grace;
        Ok(Self { public, admin_listener, admin: Arc::new(admin), workers, stop, grace })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.public.local_addr().expect("a listener has an address")
    }

    /// Where operators connect.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_listener.local_addr().expect("a listener has an address")
    }

    /// Serves until `until` ends, then stops accepting and lets running responses go on for the time configured.
    /// Says whether all of them ended by themselves.
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
