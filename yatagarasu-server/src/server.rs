//! A running server: its listeners, its worker threads, and how it stops.
//!
//! The thread that calls [`Server::run`] accepts connections and serves the admin API. It hands each connection to the
//! worker with the fewest connections. A connection stays with its worker: a thread with its own single-threaded
//! runtime. All reads and writes of a client therefore stay on one core.
//!
//! All workers share one listener instead of one listener each with `SO_REUSEPORT`. One listener spreads even a few
//! connections evenly, and keeps a second server from sharing the port unnoticed.
//!
//! A server stops in three [phases](Phase). A load balancer that asks `/ready` sends no more clients before the
//! listener closes, connections are closed between two responses, and operators can watch until the end.

mod worker;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use yatagarasu_sys::pages::are_shareable;
use yatagarasu_sys::process::open_files_left;

use crate::admin::{Admin, State};
use crate::build::{StartError, build};
use crate::config::Config;
use crate::connection::admission::Admission;
use crate::connection::limits::ConnectionLimits;
use crate::listener::{accept, listen};
use crate::telemetry::access_log::AccessLog;
use crate::trim::keep_small;

use worker::Workers;

/// What a server is asked to do about its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Drain first: tell load balancers, and go on serving for the configured time.
    Drain,
    /// Close the listener at once, and let running responses end.
    Now,
}

/// The phase that a server is in. Each one follows the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Serves.
    Serving,
    /// Serves, but is not ready, and ends each HTTP/1 connection with its next response.
    Draining,
    /// Accepts nothing, ends idle connections, and lets running responses end.
    Stopping,
}

/// A server that is bound to its addresses and has started its workers. It accepts no connection before
/// [`run`](Self::run).
#[derive(Debug)]
pub struct Server {
    public: TcpListener,
    admin_listener: TcpListener,
    admin: Arc<Admin>,
    workers: Workers,
    admission: Arc<Admission>,
    limits: watch::Sender<Arc<ConnectionLimits>>,
    phase: watch::Sender<Phase>,
    drain: Duration,
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
        let log = AccessLog::start(&config.log)
            .map_err(|(output, cause)| StartError::Log { output: output.name(), cause })?;
        assembly.metrics.log_to(log.as_ref());
        let (limits, limited) = watch::channel(Arc::new(ConnectionLimits::new(
            &config.server,
            &assembly.memory.sockets,
            open_files_left(),
        )));
        let (phase, phases) = watch::channel(Phase::Serving);
        let workers = Workers::start(&assembly.buckets, &assembly.metrics, &limited, &phases)
            .map_err(StartError::Thread)?;
        let token = config.admin.token.clone();
        let admission = Arc::<Admission>::default();
        let state = State {
            metrics: assembly.metrics,
            memory: assembly.memory,
            admission: Arc::clone(&admission),
            limits: limited.clone(),
            phase: phases,
        };
        let admin = Admin::new(assembly.buckets, state, token);
        let (drain, grace) = (config.server.drain, config.server.shutdown_grace);
        Ok(Self {
            public,
            admin_listener,
            admin: Arc::new(admin),
            workers,
            admission,
            limits,
            phase,
            drain,
            grace,
        })
    }

    /// Returns the address of the public listener.
    pub fn address(&self) -> SocketAddr {
        self.public.local_addr().expect("a listener has an address")
    }

    /// Returns the address of the admin listener.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_listener.local_addr().expect("a listener has an address")
    }

    /// Serves until `until` resolves, and then stops. The admin API is served to the end. Returns `true` if all
    /// responses ended within the configured grace period.
    pub async fn run(self, until: impl Future<Output = Stop>) -> bool {
        let Self { public, admin_listener, admin, workers, admission, limits, phase, drain, grace } = self;
        let operators = admin.serve(&admin_listener);
        let served = async {
            {
                let accepting = accept("server.address", &public, |socket, peer| {
                    workers.hand(socket, peer.ip(), &admission, &limits.borrow());
                });
                let (mut accepting, trimming) = (pin!(accepting), keep_small(|| workers.connections()));
                let stop = tokio::select! {
                    () = &mut accepting => Stop::Now,
                    () = trimming => Stop::Now,
                    stop = until => stop,
                };
                if stop == Stop::Drain && !drain.is_zero() {
                    tracing::info!(seconds = drain.as_secs_f32(), "draining: not ready, but still serving");
                    phase.send_replace(Phase::Draining);
                    // It has ended if it times out, too.
                    let _ = timeout(drain, accepting).await;
                }
            }
            drop(public);
            tracing::info!(
                seconds = grace.as_secs_f32(),
                "stopping: running responses have this long to end"
            );
            phase.send_replace(Phase::Stopping);
            workers.finish(grace).await
        };
        tokio::select! {
            whole = served => whole,
            () = operators => false,
        }
    }
}
