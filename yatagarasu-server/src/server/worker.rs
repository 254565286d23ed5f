//! Worker threads: each one serves its connections on a single-threaded runtime.

use std::io;
use std::net::{IpAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use yatagarasu_core::cache::retired::retired_bytes;
use yatagarasu_core::turns;

use crate::connection::admission::{Admission, Admitted, Excess, Slot};
#[cfg(feature = "http3")]
use crate::connection::http3;
use crate::connection::idle_reaper::IdleReaper;
use crate::connection::limits::ConnectionLimits;
use crate::connection::state::Order;
use crate::connection::{Place, Unserved, serve};
#[cfg(feature = "http3")]
use crate::listener::quic::Arrival;
use crate::listener::terms::Terms;
use crate::server::Phase;
use crate::service::handler::RequestHandler;
use crate::telemetry::counters::{Counters, Metrics};
use crate::telemetry::log::flush;

/// Exit status of a process whose worker thread has panicked, as of a program in Rust that panics.
const WORKER_DIED: i32 = 101;

/// The worker threads, which serve clients.
#[derive(Debug)]
pub(super) struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    sockets: mpsc::UnboundedSender<Handed>,
    /// Number of connections handed to this worker that have not ended.
    load: Arc<AtomicUsize>,
    /// Resolves when all connections of this worker have ended.
    ended: oneshot::Receiver<()>,
    /// Ends the thread even if fills still run on it. Sent when all workers are done, or when the grace period is over.
    abandon: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Workers {
    /// Starts one worker for each of `handlers`, which counts in the element of `metrics.threads()` with its index.
    pub(super) fn start(
        handlers: &[Arc<RequestHandler>],
        metrics: &Metrics,
        limits: &watch::Receiver<Arc<ConnectionLimits>>,
        phase: &watch::Receiver<Phase>,
    ) -> io::Result<Self> {
        let worker = |(index, (handler, counters)): (usize, (&Arc<RequestHandler>, &Arc<Counters>))| {
            let work = Work {
                handler: Arc::clone(handler),
                counters: Arc::clone(counters),
                limits: limits.clone(),
                phase: phase.clone(),
                load: Arc::default(),
            };
            Worker::start(index, work)
        };
        let threads = handlers.iter().zip(metrics.threads());
        threads.enumerate().map(worker).collect::<io::Result<_>>().map(Self)
    }

    /// Returns the number of open connections.
    pub(super) fn connections(&self) -> usize {
        self.0.iter().map(|worker| worker.load.load(Ordering::Relaxed)).sum()
    }

    /// Waits until each worker has had a turn.
    pub(super) async fn beat(&self) {
        let asked = self.0.iter().map(|worker| {
            let (answer, answered) = oneshot::channel();
            let _ = worker.sockets.send(Handed::Beat(answer));
            answered
        });
        for answered in asked.collect::<Vec<_>>() {
            if answered.await.is_err() {
                // It has ended, and the process with it.
                return std::future::pending().await;
            }
        }
    }

    /// Hands a connection to the worker with the fewest connections, unless there are too many.
    pub(super) fn hand(&self, accepted: Accepted, admission: &Arc<Admission>, limits: &ConnectionLimits) {
        let Accepted { arrived, peer, is_local, terms } = accepted;
        let (slot, excess) = match admission.admit(peer, is_local, limits) {
            Admitted::Served(slot) => (slot, None),
            Admitted::Refused(slot, excess) if matches!(arrived, Arrived::Tcp(_)) => (slot, Some(excess)),
            // Dropping a connection of QUIC tells the client.
            Admitted::Refused(..) | Admitted::Closed => return,
        };
        let least = self.0.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed));
        let worker = least.expect("there is at least one worker");
        worker.load.fetch_add(1, Ordering::Relaxed);
        // A worker that has ended drops the connection: the process is shutting down.
        let _ = worker.sockets.send(Handed::Connection(NewConnection { arrived, peer, terms, slot, excess }));
    }

    /// Waits at most `grace` until all connections have ended, and for `farewells` then, and stops the threads. Returns
    /// `true` if all connections ended in time.
    pub(super) async fn finish(self, grace: Duration, farewells: impl Future<Output = ()>) -> bool {
        let mut waiting = Vec::new();
        let mut threads = Vec::new();
        for Worker { sockets, ended, abandon, thread, .. } in self.0 {
            drop(sockets);
            waiting.push(ended);
            threads.push((abandon, thread));
        }
        let all_ended = async {
            for ended in waiting {
                // An error means that the worker has ended, and its connections with it.
                let _ = ended.await;
            }
        };
        let whole = tokio::time::timeout(grace, all_ended).await.is_ok();
        farewells.await;
        for (abandon, thread) in threads {
            let _ = abandon.send(());
            if thread.join().is_err() {
                tracing::error!("a worker thread had panicked");
            }
        }
        whole
    }
}

impl Worker {
    /// Starts the thread that does `work`.
    fn start(index: usize, work: Work) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().on_thread_unpark(turns::begin).build()?;
        let (sockets, received) = mpsc::unbounded_channel();
        let (ended_sender, ended) = oneshot::channel();
        let (abandon, abandoned) = oneshot::channel();
        let load = Arc::clone(&work.load);
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let _ends_with_it = EndsProcess;
            runtime.block_on(async {
                divide_into_turns();
                let work = async {
                    work.until_ended(received).await;
                    let _ = ended_sender.send(());
                    // Clients of other workers may still wait for a fill that runs on this thread.
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = work => {}
                    _ = abandoned => {}
                }
            });
            // Aborts the remaining fills: no client waits for them any more.
            runtime.shutdown_background();
        })?;
        Ok(Self { sockets, load, ended, abandon, thread })
    }
}

/// Divides the time of a worker's thread among the bodies of its responses.
#[expect(clippy::disallowed_methods, reason = "ends with the runtime of the worker")]
fn divide_into_turns() {
    tokio::spawn(turns::divide());
}

/// A connection that a listener has accepted.
pub(super) struct Accepted {
    pub(super) arrived: Arrived,
    /// The address of the peer.
    pub(super) peer: IpAddr,
    /// Whether it came over a Unix socket.
    pub(super) is_local: bool,
    pub(super) terms: Arc<Terms>,
}

/// A new connection of a listener.
pub(super) enum Arrived {
    /// A connection of TCP.
    Tcp(StdStream),
    /// The first datagrams of a connection of QUIC.
    #[cfg(feature = "http3")]
    Quic(Box<Arrival>),
}

/// What is handed to a worker.
enum Handed {
    /// A connection to serve.
    Connection(NewConnection),
    /// A question whether it is alive.
    Beat(oneshot::Sender<()>),
}

struct NewConnection {
    arrived: Arrived,
    peer: IpAddr,
    terms: Arc<Terms>,
    slot: Slot,
    excess: Option<Excess>,
}

struct Work {
    handler: Arc<RequestHandler>,
    counters: Arc<Counters>,
    limits: watch::Receiver<Arc<ConnectionLimits>>,
    phase: watch::Receiver<Phase>,
    load: Arc<AtomicUsize>,
}

impl Work {
    /// Serves connections until the channel is closed and all connections have ended.
    async fn until_ended(self, mut received: mpsc::UnboundedReceiver<Handed>) {
        let mut connections = JoinSet::new();
        let mut limits = self.limits.clone();
        let mut current = Arc::clone(&limits.borrow_and_update());
        let mut crowd: Option<Arc<Admission>> = None;
        let mut reaper = IdleReaper::new(current.header_timeout, current.send_timeout);
        reaper.limit(current.header_timeout, current.send_timeout, current.send_rate_min);
        let mut looks = interval(reaper.period());
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut phase = self.phase.clone();
        let mut open = true;
        while open || !connections.is_empty() {
            tokio::select! {
                socket = received.recv(), if open => match socket {
                    Some(Handed::Connection(new)) => {
                        crowd.get_or_insert_with(|| Arc::clone(new.slot.admission()));
                        self.begin(new, &current, &mut connections, &mut reaper);
                    }
                    Some(Handed::Beat(answer)) => {
                        let _ = answer.send(());
                    }
                    None => open = false,
                },
                Some(_) = connections.join_next() => {}
                _ = looks.tick(), if !reaper.is_empty() => {
                    let crowded = crowd.as_ref().is_some_and(|crowd| crowd.is_crowded(&current));
                    self.counters.timed_out(reaper.reap(crowded));
                    self.counters.looked(reaper.found());
                    let excess = retired_bytes().saturating_sub(current.response_memory);
                    if excess > 0 {
                        let ended = reaper.free(excess);
                        self.counters.response_memory_cuts.add(ended);
                    }
                }
                Ok(()) = limits.changed() => {
                    current = Arc::clone(&limits.borrow_and_update());
                    reaper.limit(current.header_timeout, current.send_timeout, current.send_rate_min);
                    looks = interval(reaper.period());
                    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                }
                Ok(()) = phase.changed() => reaper.tell(match *phase.borrow_and_update() {
                    Phase::Serving => Order::Serve,
                    Phase::HandedOver | Phase::Draining => Order::Last,
                    Phase::Stopping => Order::Drain,
                }),
            }
        }
    }

    fn begin(
        &self,
        new: NewConnection,
        limits: &Arc<ConnectionLimits>,
        connections: &mut JoinSet<()>,
        reaper: &mut IdleReaper,
    ) {
        let NewConnection { arrived, peer, terms, slot, excess } = new;
        let counted = (Load(Arc::clone(&self.load)), self.counters.connected());
        let (limits, unserved) = (Arc::clone(limits), excess.map(Unserved::Excess));
        let place = Place { limits, terms, peer, slot, unserved, received: Vec::new() };
        let handler = Arc::clone(&self.handler);
        match arrived {
            Arrived::Tcp(socket) => {
                let socket = match TcpStream::from_std(socket) {
                    Ok(socket) => socket,
                    Err(error) => {
                        return tracing::error!(%error, "a connection cannot be served: it is closed");
                    }
                };
                let serving = serve(socket, handler, place, reaper.watch());
                connections.spawn(async move {
                    serving.await;
                    drop(counted);
                });
            }
            #[cfg(feature = "http3")]
            Arrived::Quic(arrival) => {
                let serving = http3::serve(*arrival, handler, place, reaper.watch());
                connections.spawn(async move {
                    serving.await;
                    drop(counted);
                });
            }
        }
    }
}

/// Ends the process if the thread that owns this panics. Its share of the connections would be accepted and never
/// answered. A panic in the answer to one request does not end the thread.
struct EndsProcess;

impl Drop for EndsProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("a worker thread has ended: the process ends, so that it is started again");
            flush();
            std::process::exit(WORKER_DIED);
        }
    }
}

/// Counts one connection of a worker until dropped.
struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
