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

pub(crate) mod event_queue;
pub mod handover;
#[cfg(feature = "http3")]
mod http3;
#[cfg(not(feature = "http3"))]
#[path = "server/no_http3.rs"]
mod http3;
pub mod reload;
pub(crate) mod warm_restart;
mod worker;

pub use crate::listener::socket::ListenAddress;

use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::{Arc, Weak};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;
use yatagarasu_sys::pages::are_shareable;
use yatagarasu_sys::process::open_files_left;

use crate::admin::{Admin, State};
use crate::build::{Memory, StartError, buckets};
use crate::config::{Config, ConfigErrors, ListenerConfig};
use crate::connection::admission::Admission;
use crate::connection::limits::ConnectionLimits;
use crate::listener::given::Given;
use crate::listener::renewal::renew;
use crate::listener::socket::{ListeningSocket, SocketAccess};
use crate::listener::terms::Terms;
use crate::listener::{Listener, accept};
use crate::service::handler::RequestHandler;
use crate::supervisor::watch as watch_over;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::counters::Metrics;
use crate::trim::keep_small;

use handover::{Handover, Keys, Passed};
use http3::Http3;
use reload::{Parts, Reloader};
use worker::{Accepted, Arrived, Workers};

/// The settings of the listeners for operators, which are also their names for another process.
const ADMIN: [&str; 2] = ["admin.address", "admin.socket"];

/// Number of attempts to find a port that is free for TCP and UDP, if any will do.
const FREE_PORT_ATTEMPTS: u32 = 16;

/// What a server is asked to do about its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Drain first: tell load balancers, and go on serving for the configured time.
    Drain,
    /// Close the listener at once, and let running responses end.
    Now,
    /// Leave the listeners to another process at once, and drain.
    HandedOver,
}

/// The phase that a server is in. Each one follows the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Serves.
    Serving,
    /// Another process serves the same addresses. Ends each HTTP/1 connection with its next response.
    HandedOver,
    /// Serves, but is not ready, and ends each HTTP/1 connection with its next response.
    Draining,
    /// Accepts nothing, ends idle connections, and lets running responses end.
    Stopping,
}

/// A server that is bound to its addresses and has started its workers. It accepts no connection before
/// [`run`](Self::run).
#[derive(Debug)]
pub struct Server {
    listeners: Arc<[Listener]>,
    /// The sockets of the listeners.
    sockets: Vec<Arc<ListeningSocket>>,
    http3: Http3,
    /// The sockets for operators: on `admin.address`, and on `admin.socket` if there is one.
    admin_sockets: Vec<Arc<ListeningSocket>>,
    admin: Arc<Admin>,
    workers: Workers,
    admission: Arc<Admission>,
    phase: watch::Sender<Phase>,
    /// What a reload changes.
    parts: Arc<Parts>,
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
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let mut given = Given::take()?;
        let operators = [Some(ListenAddress::Tcp(config.admin.address)), config.admin.socket.clone()];
        let public = config.server.listeners.iter().map(|listener| listener.address.clone());
        let wanted: Vec<_> = public.chain(operators.iter().flatten().cloned()).collect();
        let (mut listeners, mut sockets, mut quic) = (Vec::new(), Vec::new(), Vec::new());
        for listener in &config.server.listeners {
            let (socket, datagrams) = listen(&mut given, listener, &wanted)?;
            let terms = Terms::load(listener, socket.address().port())
                .map_err(|cause| StartError::Tls { key: listener.key.clone(), cause })?;
            sockets.push(Arc::new(socket));
            quic.push(datagrams);
            listeners.push(Listener::new(listener.clone(), terms));
        }
        let listeners: Arc<[_]> = listeners.into();
        let http3 = Http3::start(&listeners, quic).map_err(StartError::Thread)?;
        let mut admin_sockets = Vec::new();
        for (key, address) in ADMIN.iter().zip(operators.iter().flatten()) {
            admin_sockets.push(Arc::new(given.listen(key, address, &wanted, SocketAccess::Group)?));
        }
        given.end()?;
        let memory = Memory::new(config);
        memory.tracing.turn_to(&config.tracing);
        let metrics = Arc::new(Metrics::new(config.server.threads.max(1), &memory.tracing));
        let buckets = buckets(config, &memory, &[]).await?;
        let log = AccessLog::start(&config.log)
            .map_err(|(output, cause)| StartError::Log { output: output.name(), cause })?;
        metrics.log_to(log.as_ref());
        let descriptors = open_files_left();
        let limits = Arc::new(ConnectionLimits::new(&config.server, &memory.sockets, descriptors));
        let ((limits, limited), (phase, phases)) = (watch::channel(limits), watch::channel(Phase::Serving));
        let (running, config_running) = watch::channel(Arc::new(config.clone()));
        let handler = |counters| {
            Arc::new(RequestHandler::new(Arc::clone(&buckets), Arc::clone(counters), phases.clone()))
        };
        let handlers: Vec<_> = metrics.threads().iter().map(handler).collect();
        let workers = Workers::start(&handlers, &metrics, &limited, &phases).map_err(StartError::Thread)?;
        let admission = Arc::<Admission>::default();
        let state = State {
            metrics: Arc::clone(&metrics),
            memory: memory.clone(),
            admission: Arc::clone(&admission),
            limits: limited,
            phase: phases,
            config: config_running,
            listeners: Arc::clone(&listeners),
        };
        let admin = Arc::new(Admin::new(buckets, state, config.admin.token.clone()));
        let parts = Arc::new(Parts {
            handlers,
            listeners: Arc::clone(&listeners),
            admin: Arc::downgrade(&admin),
            metrics,
            memory,
            limits,
            descriptors,
            config: running,
        });
        Ok(Self { listeners, sockets, http3, admin_sockets, admin, workers, admission, phase, parts })
    }

    /// Returns a way to have another process take over the listeners.
    pub fn handover(&self) -> Handover {
        let pass = |name: &str, socket: &Arc<ListeningSocket>| {
            let is_kept = socket.is_kept();
            let socket: Weak<ListeningSocket> = Arc::downgrade(socket);
            Passed { name: name.to_owned(), socket, is_kept }
        };
        let public = self.listeners.iter().zip(&self.sockets);
        let public = public.map(|(one, socket)| pass(&one.config().key, socket));
        let operators = ADMIN.iter().zip(&self.admin_sockets).map(|(key, socket)| pass(key, socket));
        let datagrams = self.http3.sockets(&self.listeners);
        let keys = Keys { admin: Arc::downgrade(&self.admin), settings: self.parts.config.subscribe() };
        Handover::new(public.chain(operators).chain(datagrams).collect(), keys)
    }

    /// Has the server read its configuration with `load` when it is told to reload, by the returned value or by its
    /// admin API. Call it once.
    pub fn reloading(
        &self,
        load: impl Fn() -> Result<Config, ConfigErrors> + Send + Sync + 'static,
    ) -> Arc<Reloader> {
        let reloader = Arc::new(Reloader::new(load, Arc::clone(&self.parts)));
        Arc::clone(self.admin.reloader.get_or_init(|| reloader))
    }

    /// Returns the addresses of the listeners for clients, in the order of the configuration.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.sockets.iter().map(|socket| socket.address()).collect()
    }

    /// Returns the address of the first listener for TCP clients. Panics if there is none.
    pub fn address(&self) -> SocketAddr {
        let tcp = |address| match address {
            ListenAddress::Tcp(address) => Some(address),
            ListenAddress::Unix(_) => None,
        };
        self.addresses().into_iter().find_map(tcp).expect("a listener for TCP")
    }

    /// Returns the address of the admin listener.
    pub fn admin_address(&self) -> SocketAddr {
        match self.admin_sockets[0].address() {
            ListenAddress::Tcp(address) => address,
            ListenAddress::Unix(_) => unreachable!("its setting is an address of TCP"),
        }
    }

    /// Serves until `until` resolves, and then stops. The admin API is served to the end. Returns `true` if all
    /// responses ended within the configured grace period.
    pub async fn run(self, until: impl Future<Output = Stop>) -> bool {
        let Self { listeners, sockets, http3, admin_sockets, admin, workers, admission, phase, parts } = self;
        let (handed_over, is_handed_over) = watch::channel(false);
        // From now on, the files of the Unix sockets that another process has passed on are those of this one.
        leave(sockets.iter().chain(&admin_sockets), false);
        let operators = serve_operators(&admin, admin_sockets, is_handed_over);
        let served = async {
            {
                let hand = |accepted| workers.hand(accepted, &admission, &parts.limits.borrow());
                let accepting = async {
                    tokio::join!(
                        accept_all(&listeners, &sockets, hand),
                        http3.accept(&listeners, &admission, &parts.limits, hand)
                    );
                };
                let (mut accepting, trimming) = (pin!(accepting), keep_small(|| workers.connections()));
                // Boxed to end it before the rest. Never begun anew: the queue may give a message to a request that was given up.
                let mut reading = Box::pin(event_queue::read(Arc::clone(&admin), parts.config.subscribe()));
                let stop = tokio::select! {
                    never = watch_over(|| workers.beat()) => match never {},
                    () = &mut accepting => Stop::Now,
                    () = trimming => Stop::Now,
                    () = renew(&listeners) => Stop::Now,
                    () = keep_certificates(&listeners) => Stop::Now,
                    () = warm_up(&admin, &parts.config) => Stop::Now,
                    () = &mut reading => Stop::Now,
                    stop = until => stop,
                };
                let drain = parts.config.borrow().server.drain;
                match stop {
                    Stop::Drain if !drain.is_zero() => {
                        tracing::info!(
                            seconds = drain.as_secs_f32(),
                            "draining: not ready, but still serving"
                        );
                        phase.send_replace(Phase::Draining);
                        // They have ended if it times out, too. What clients still get has to be purged.
                        let _ = timeout(drain, async { tokio::join!(accepting, reading) }).await;
                    }
                    Stop::HandedOver => {
                        drop(reading);
                        http3.leave();
                        handed_over.send_replace(true);
                        phase.send_replace(Phase::HandedOver);
                        // Clients of HTTP/3 that are still served here get nowhere else with their next connections.
                        let accepting = http3.accept(&listeners, &admission, &parts.limits, hand);
                        let _ = timeout(drain, accepting).await;
                        leave(&sockets, true);
                    }
                    Stop::Drain | Stop::Now => {}
                }
            }
            drop(sockets);
            let grace = parts.config.borrow().server.shutdown_grace;
            tracing::info!(
                seconds = grace.as_secs_f32(),
                "stopping: running responses have this long to end"
            );
            phase.send_replace(Phase::Stopping);
            // Concurrently: the supervisor may kill the process before the grace period is over.
            let save = save_keys(&admin, &parts.config, &handed_over);
            let finish = async { tokio::join!(workers.finish(grace, http3.farewells()), save).0 };
            let whole = tokio::select! {
                whole = finish => whole,
                () = http3.refuse() => unreachable!("it refuses for ever"),
            };
            parts.memory.tracing.stop().await;
            whole
        };
        tokio::select! {
            whole = served => whole,
            never = operators => match never {},
        }
    }
}

/// Returns the socket of a listener, and the one for HTTP/3 at the same port if it speaks that.
fn listen(
    given: &mut Given,
    listener: &ListenerConfig,
    wanted: &[ListenAddress],
) -> Result<(ListeningSocket, Option<UdpSocket>), StartError> {
    let mut attempts = 1..=FREE_PORT_ATTEMPTS;
    loop {
        let socket = given.listen(&listener.key, &listener.address, wanted, SocketAccess::All)?;
        let ListenAddress::Tcp(address) = socket.address() else { return Ok((socket, None)) };
        if !listener.tls.as_ref().is_some_and(|tls| tls.http3) {
            return Ok((socket, None));
        }
        match given.listen_udp(address) {
            Ok(datagrams) => return Ok((socket, Some(datagrams))),
            // A port that is free for TCP may be taken for UDP.
            Err(_) if listener.address.port() == Some(0) && attempts.next().is_some() => {}
            Err(cause) => return Err(StartError::BindUdp { key: listener.key.clone(), address, cause }),
        }
    }
}

/// Records whether another process serves these sockets from now on.
fn leave<'a>(sockets: impl IntoIterator<Item = &'a Arc<ListeningSocket>>, is_left: bool) {
    for socket in sockets {
        socket.leave(is_left);
    }
}

/// Serves operators, until another process does.
async fn serve_operators(
    admin: &Arc<Admin>,
    sockets: Vec<Arc<ListeningSocket>>,
    mut is_handed_over: watch::Receiver<bool>,
) -> Infallible {
    let serving = join_all(ADMIN.iter().zip(&sockets).map(|(key, socket)| admin.serve(key, socket)));
    // In this order: a connection that is accepted now would be dropped at once.
    tokio::select! {
        biased;
        _ = is_handed_over.wait_for(|handed_over| *handed_over) => {}
        _ = serving => {}
    }
    leave(&sockets, true);
    drop(sockets);
    pending().await
}

/// Accepts connections of all listeners forever.
async fn accept_all(listeners: &[Listener], sockets: &[Arc<ListeningSocket>], hand: impl Fn(Accepted)) {
    let accepting = listeners.iter().zip(sockets).map(async |(listener, socket)| {
        let take = |accepted, peer| {
            hand(Accepted {
                arrived: Arrived::Tcp(accepted),
                peer,
                is_local: socket.is_local(),
                terms: listener.terms(),
            });
        };
        accept(&listener.config().key, socket, take).await;
    });
    join_all(accepting).await;
}

/// Warms the caches if the configuration says so. Never returns.
async fn warm_up(admin: &Arc<Admin>, config: &watch::Sender<Arc<Config>>) {
    let settings = config.borrow().server.warm_restart.clone();
    match warm_restart::Source::find(&settings) {
        Some(source) if settings.rate > 0 => {
            warm_restart::run(source, Arc::clone(admin), config.subscribe()).await;
        }
        Some(source) => source.forget(),
        None => {}
    }
    pending::<()>().await;
}

/// Writes the list for the next start. After a handover the other process writes its own.
async fn save_keys(admin: &Admin, config: &watch::Sender<Arc<Config>>, handed_over: &watch::Sender<bool>) {
    if !*handed_over.borrow() {
        let settings = config.borrow().server.warm_restart.clone();
        warm_restart::save(admin, settings).await;
    }
}

/// Has the certificates of listeners renewed by their authorities, for ever.
async fn keep_certificates(listeners: &[Listener]) {
    #[cfg(feature = "acme")]
    crate::tls::acme::keeper::keep(listeners).await;
    #[cfg(not(feature = "acme"))]
    let _ = listeners;
    // There may be no listener.
    pending::<()>().await;
}
