//! Counts responses and connections, for each thread by itself.
//!
//! The counters of responses are in [`Traffic`], one for each bucket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::connection::state::Look;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::hottest::Hottest;
use crate::telemetry::recent::Recent;
use crate::telemetry::spans::Tracing;
use crate::telemetry::traffic::{Ended, Traffic, TrafficSum};

/// The counters of all worker threads.
#[derive(Debug)]
pub struct Metrics(Vec<Arc<Counters>>);

/// The counters of one thread. Reading sums them up over all threads, because threads that write to one cache line wait
/// for each other.
#[derive(Debug)]
pub(crate) struct Counters {
    /// The responses of each bucket that is or was served.
    buckets: ArcSwap<Vec<Arc<Traffic>>>,
    /// The responses to requests that no bucket is for.
    unrouted: Arc<Traffic>,
    /// Requests whose responses have not ended.
    running: Tally,
    /// The most requested objects.
    pub(crate) hottest: Hottest,
    /// The latest errors, and the long responses on their way.
    pub(crate) recent: Recent,
    pub(crate) send_timeouts: Tally,
    /// Responses ended because of the memory that they held.
    pub(crate) response_memory_cuts: Tally,
    /// Handshakes of TLS, in the order of [`Handshake::ALL`].
    pub(crate) handshakes: [Tally; Handshake::ALL.len()],
    connections: AtomicU64,
    /// Connections of HTTP/2 and HTTP/3, in the order of [`Multiplexed::ALL`].
    multiplexed: [AtomicU64; Multiplexed::ALL.len()],
    /// Connections by what the last look at them has found, in the order of [`Look::ALL`].
    looks: [AtomicU64; Look::ALL.len()],
    /// The traces of requests, if they are on.
    pub(crate) tracing: Arc<Tracing>,
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
    /// Creates counters for `threads` threads, whose requests are traced by `tracing`.
    pub(crate) fn new(threads: usize, tracing: &Arc<Tracing>) -> Self {
        Self((0..threads).map(|_| Arc::new(Counters::new(Arc::clone(tracing)))).collect())
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

    /// Returns the responses of each bucket by its name, and of requests that no bucket is for by an empty one.
    pub(crate) fn traffic(&self) -> BTreeMap<Arc<str>, TrafficSum> {
        let mut sums = BTreeMap::new();
        for thread in &self.0 {
            let buckets = thread.buckets.load();
            for traffic in buckets.iter().chain([&thread.unrouted]) {
                let sum = sums.entry(Arc::clone(&traffic.bucket));
                sum.or_insert_with(|| TrafficSum::new(Arc::clone(&traffic.bucket))).add(traffic);
            }
        }
        sums
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

/// A protocol whose connections have several requests at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Multiplexed {
    Http2,
    Http3,
}

impl Multiplexed {
    /// Both protocols, with their names in metrics.
    pub(crate) const ALL: [(Self, &str); 2] = [(Self::Http2, "http2"), (Self::Http3, "http3")];
}

impl Counters {
    /// Counts a handshake of TLS.
    pub(crate) fn shook_hands(&self, end: Handshake) {
        self.handshakes[end as usize].add(1);
    }

    fn new(tracing: Arc<Tracing>) -> Self {
        Self {
            buckets: ArcSwap::default(),
            unrouted: Arc::new(Traffic::new("".into())),
            running: Tally::default(),
            hottest: Hottest::new(),
            recent: Recent::default(),
            send_timeouts: Tally::default(),
            response_memory_cuts: Tally::default(),
            handshakes: Default::default(),
            connections: AtomicU64::default(),
            multiplexed: Default::default(),
            looks: Default::default(),
            tracing,
            access_log: ArcSwapOption::default(),
        }
    }

    /// Returns the counters of these buckets, in their order. Those of a bucket that was served before go on. Those of
    /// buckets that are served no more stay, so that no sum ever falls.
    pub(crate) fn serve(&self, buckets: impl Iterator<Item = impl AsRef<str>>) -> Vec<Arc<Traffic>> {
        let mut all = Vec::clone(&self.buckets.load());
        let mut served = Vec::new();
        for name in buckets {
            let known = all.iter().position(|traffic| *traffic.bucket == *name.as_ref());
            let index = known.unwrap_or_else(|| {
                all.push(Arc::new(Traffic::new(name.as_ref().into())));
                all.len() - 1
            });
            served.push(Arc::clone(&all[index]));
        }
        self.buckets.store(Arc::new(all));
        served
    }

    /// Counts a request until [`ended`](Self::ended).
    pub(crate) fn begun(&self) {
        self.running.add(1);
    }

    /// Counts a response that has ended, in the traffic of its bucket, if there is one.
    pub(crate) fn ended(&self, traffic: Option<&Traffic>, ended: &Ended) {
        traffic.unwrap_or(&self.unrouted).record(ended);
        // Whoever sees that it runs no more finds it counted.
        self.running.add(u64::MAX);
    }

    /// Returns the number of requests whose responses have not ended.
    pub(crate) fn running(&self) -> u64 {
        self.running.read()
    }

    /// Counts a connection of HTTP/2 or HTTP/3 until the returned value is dropped.
    pub(crate) fn speaks(self: &Arc<Self>, protocol: Multiplexed) -> Speaking {
        self.multiplexed[protocol as usize].fetch_add(1, Ordering::Relaxed);
        Speaking(Arc::clone(self), protocol)
    }

    /// Returns the number of connections of HTTP/2 or HTTP/3.
    pub(crate) fn speaking(&self, protocol: Multiplexed) -> u64 {
        self.multiplexed[protocol as usize].load(Ordering::Relaxed)
    }

    /// Records how many connections each look has found.
    pub(crate) fn looked(&self, looks: [u64; Look::ALL.len()]) {
        self.looks.iter().zip(looks).for_each(|(count, found)| count.store(found, Ordering::Relaxed));
    }

    /// Returns how many connections the last looks have found to be so.
    pub(crate) fn found(&self, look: Look) -> u64 {
        self.looks[look as usize].load(Ordering::Relaxed)
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

/// Counts one connection of HTTP/2 or HTTP/3 until dropped.
#[derive(Debug)]
pub(crate) struct Speaking(Arc<Counters>, Multiplexed);

impl Drop for Speaking {
    fn drop(&mut self) {
        self.0.multiplexed[self.1 as usize].fetch_sub(1, Ordering::Relaxed);
    }
}
