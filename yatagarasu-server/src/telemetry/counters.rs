//! Counts responses and connections, for each thread by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use http::StatusCode;

use crate::telemetry::access_log::AccessLog;

/// The counters of all worker threads.
#[derive(Debug)]
pub struct Metrics(Vec<Arc<Counters>>);

/// The counters of one thread. Reading sums them up over all threads, because threads that write to one cache line wait
/// for each other.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Responses by status class: 1xx to 5xx.
    pub(crate) responses: [Tally; 5],
    pub(crate) body_bytes: Tally,
    pub(crate) send_timeouts: Tally,
    /// Responses ended because of the memory that they held.
    pub(crate) response_memory_cuts: Tally,
    /// Handshakes of TLS, in the order of [`Handshake::ALL`].
    pub(crate) handshakes: [Tally; Handshake::ALL.len()],
    connections: AtomicU64,
    /// The access log of the thread, if it is on.
    pub(crate) access_log: ArcSwapOption<AccessLog>,
}

/// A counter that one thread increments and any thread reads. It uses a load and a store, because an atomic addition
/// takes ten times as long and each request increments several counters.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    /// Adds `count` and returns the previous value. Must be called by one thread only.
    pub(crate) fn add(&self, count: u64) -> u64 {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(count), Ordering::Relaxed);
        before
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    /// Creates counters for `threads` threads.
    pub(crate) fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| Arc::default()).collect())
    }

    /// Returns the counters of each thread.
    pub(crate) fn threads(&self) -> &[Arc<Counters>] {
        &self.0
    }

    /// Turns all threads to an access log, or to none.
    pub(crate) fn log_to(&self, log: Option<&AccessLog>) {
        for thread in &self.0 {
            // Each thread has its own, because they would contend for its count of references.
            thread.access_log.store(log.map(|log| Arc::new(log.for_thread())));
        }
    }

    /// Returns the sum of a counter over all threads.
    pub(crate) fn sum(&self, counter: impl Fn(&Counters) -> u64) -> u64 {
        self.0.iter().map(|thread| counter(thread)).sum()
    }
}

/// How a handshake of TLS has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// The client has got the certificate.
    Full,
    /// The client has resumed an earlier session.
    Resumed,
    /// There is no session.
    Failed,
    /// The handshake was one of QUIC, which does not say whether a session was resumed.
    Quic,
}

impl Handshake {
    /// All ends, with their names in metrics.
    pub(crate) const ALL: [(Self, &str); 4] =
        [(Self::Full, "full"), (Self::Resumed, "resumed"), (Self::Failed, "failed"), (Self::Quic, "quic")];
}

impl Counters {
    /// Counts a handshake of TLS.
    pub(crate) fn shook_hands(&self, end: Handshake) {
        self.handshakes[end as usize].add(1);
    }

    /// Counts a response that has ended, and the bytes of its body.
    pub(crate) fn responded(&self, status: StatusCode, bytes: u64) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.responses[class].add(1);
        self.body_bytes.add(bytes);
    }

    /// Counts connections and streams that were ended because their clients took nothing.
    pub(crate) fn timed_out(&self, count: u64) {
        self.send_timeouts.add(count);
    }

    /// Returns how many connections are open.
    pub(crate) fn open(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts a connection until the returned value is dropped.
    pub(crate) fn connected(self: &Arc<Self>) -> Connection {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connection(Arc::clone(self))
    }
}

/// Counts one open connection until dropped.
#[derive(Debug)]
pub(crate) struct Connection(Arc<Counters>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
