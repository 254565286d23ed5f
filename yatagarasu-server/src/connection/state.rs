//! The state of one connection, which the reaper watches.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::net::TcpStream;
use tokio::time::Instant;
use yatagarasu_sys::tcp::unacknowledged;

use crate::connection::admission::Excess;
use crate::connection::held::HeldObject;
use crate::connection::limits::ConnectionLimits;
use crate::connection::stream::{Stream, Streams};
use crate::service::handler::Found;

/// Value of `unacknowledged` if the socket was not queried since bytes began to wait.
const NOT_ASKED: u32 = u32::MAX;

/// The state of a connection for the [`IdleReaper`](crate::connection::idle_reaper::IdleReaper) of its thread, and the
/// reaper's orders to it.
///
/// A connection and its reaper run on one thread. Relaxed atomics therefore suffice.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    /// The client, as the connection tells it.
    client: OnceLock<IpAddr>,
    /// Number of requests.
    requests: AtomicU32,
    /// Number of streams of HTTP/2 and HTTP/3 that the client has reset before their responses had ended.
    resets: AtomicU32,
    /// The second of the latest stream, and the number of streams that began in it.
    streams_in_second: [AtomicU32; 2],
    /// Whether a request has content. It is not read.
    content: AtomicBool,
    /// Number of requests that hyper has begun.
    begun: AtomicUsize,
    /// Number of requests that hyper is processing.
    running: AtomicUsize,
    /// Whether a response of the fast path waits for the client.
    sending: AtomicBool,
    /// Whether bytes wait for the client. The last bytes of a response may, after its body has ended.
    waiting: AtomicBool,
    /// Whether a request was answered since the last look of the reaper.
    answered: AtomicBool,
    /// Whether the client took bytes since the last look.
    taken: AtomicBool,
    /// Number of bytes that the socket took, or QUIC.
    written: AtomicU64,
    /// Number of responses over HTTP/3 that wait for the client.
    waiting_streams: AtomicUsize,
    /// Whether the reaper asks for a query of the unacknowledged bytes.
    probed: AtomicBool,
    /// Number of unacknowledged bytes at the last query of the socket, or [`NOT_ASKED`].
    unacknowledged: AtomicU32,
    /// The stored object that the response in progress sends over HTTP/1.
    held: HeldObject,
    /// The streams of HTTP/2 and HTTP/3. Set when the client begins with the preface of the former, or a stream of the latter.
    streams: OnceLock<Box<Streams>>,
    /// What the fast path found for the request that hyper gets next.
    found: Mutex<Option<Found>>,
    order: AtomicU8,
    /// Wakes the connection's task.
    waker: OnceLock<Waker>,
}

/// An order to a connection. A higher value overrides a lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Process requests.
    Serve = 0,
    /// Over HTTP/1, close after the next response, which says so.
    Last = 1,
    /// Close once the running requests have ended.
    Drain = 2,
    /// Close at once.
    Leave = 3,
    /// Reset at once, and drop the bytes that the client has not taken.
    Cut = 4,
}

/// The state of a connection since the last look of the reaper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// No request is or was being answered, and no bytes wait.
    Idle,
    /// A request is or was being answered, and no bytes wait.
    Busy,
    /// Bytes wait, and the client has taken some.
    Sending,
    /// Bytes wait, and the client has taken none.
    Stalled,
}

impl Look {
    /// All states, with their names in metrics.
    pub(crate) const ALL: [(Self, &str); 4] =
        [(Self::Idle, "idle"), (Self::Busy, "busy"), (Self::Sending, "sending"), (Self::Stalled, "stalled")];
}

/// A request that hyper is processing. It ends when dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    state: Arc<ConnectionState>,
    /// Whether the response has ended, or is known not to end because of its source.
    ended: bool,
}

impl ConnectionState {
    /// Records who the client is.
    pub(super) fn identify(&self, client: IpAddr) {
        self.client.get_or_init(|| client);
    }

    /// Returns the client as the connection tells it: the peer, or whom a proxy names at its beginning.
    pub(super) fn client(&self) -> IpAddr {
        *self.client.get().unwrap_or(&IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// Returns `true` if there was no request yet.
    pub(super) fn is_new(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0
    }

    /// Records that a request has content, and that it is the last one over HTTP/1.
    pub(super) fn note_content(&self) {
        self.content.store(true, Ordering::Relaxed);
        self.tell(Order::Last);
    }

    /// Returns `true` if a request has content.
    pub(super) fn has_content(&self) -> bool {
        self.content.load(Ordering::Relaxed)
    }

    /// Counts a request. The last one that the connection may have ends it.
    pub(super) fn count(&self, limits: &ConnectionLimits) {
        let last = self.has_one_left(limits);
        self.requests.fetch_add(1, Ordering::Relaxed);
        if last {
            // Over HTTP/2, `Last` has no meaning: streams end, and the connection with them.
            self.tell(if self.streams().is_some() { Order::Drain } else { Order::Last });
        }
    }

    /// Returns `true` if the next request is the last one that the connection may have.
    pub(super) fn has_one_left(&self, limits: &ConnectionLimits) -> bool {
        let requests = self.requests.load(Ordering::Relaxed) + 1;
        limits.requests_per_connection.is_some_and(|max| requests >= max)
    }

    /// Returns the limit that the client exceeds by beginning another stream in this second, which is counted from any
    /// time.
    fn excess(&self, limits: &ConnectionLimits, second: u32) -> Option<Excess> {
        let [latest, count] = &self.streams_in_second;
        if latest.swap(second, Ordering::Relaxed) != second {
            count.store(0, Ordering::Relaxed);
        }
        let streams = count.fetch_add(1, Ordering::Relaxed) + 1;
        let (resets, begun) = (self.resets.load(Ordering::Relaxed), self.begun());
        if limits.http2_resets_max.is_some_and(|max| resets > max) && resets as usize > begun / 2 {
            return Some(Excess::Resets);
        }
        limits.http2_streams_per_second.is_some_and(|max| streams > max).then_some(Excess::Streams)
    }

    /// Records that a request head is complete.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        InFlight { state: Arc::clone(self), ended: false }
    }

    /// Keeps what the fast path found for the request that hyper gets next, if it found anything.
    pub(super) fn hand(&self, found: Option<Found>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// Returns what the fast path found for the request that hyper has just got.
    pub(super) fn handed(&self) -> Option<Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the stored object that the response in progress sends over HTTP/1.
    pub(super) fn held(&self) -> &HeldObject {
        &self.held
    }

    /// Begins a stream of HTTP/2 or HTTP/3 on a connection that was `begun` then. Returns the limit that the client
    /// exceeds by it.
    pub(super) fn begin_stream(
        &self,
        stream: &Arc<Stream>,
        limits: &ConnectionLimits,
        begun: Instant,
    ) -> Option<Excess> {
        self.watch(stream);
        self.count(limits);
        let second = u32::try_from(begun.elapsed().as_secs()).unwrap_or(u32::MAX);
        self.excess(limits, second)
    }

    /// Records that the client speaks HTTP/2.
    pub(super) fn begin_http2(&self) {
        self.streams.get_or_init(Box::default);
    }

    /// Has the reaper watch a stream.
    pub(super) fn watch(&self, stream: &Arc<Stream>) {
        self.streams.get_or_init(Box::default).watch(stream);
    }

    /// Returns the streams of HTTP/2 and HTTP/3, or `None` if the client speaks neither.
    pub(super) fn streams(&self) -> Option<&Streams> {
        self.streams.get().map(|streams| &**streams)
    }

    /// Records the result of a write: the client took bytes, or takes no more now. Bytes that belong to no response,
    /// such as HTTP/2's acknowledgements, do not count.
    pub(super) fn note(&self, written: &Poll<io::Result<usize>>, socket: &TcpStream) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.written.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        let waited = self.wait(written.is_pending(), socket);
        if written.is_ready() && (waited || self.is_answering()) {
            self.taken.store(true, Ordering::Relaxed);
        }
    }

    /// Records whether the last bytes of a stream wait for the client.
    pub(super) fn note_last(&self, pending: bool, socket: &TcpStream) {
        if self.wait(pending, socket) && !pending {
            self.taken.store(true, Ordering::Relaxed);
        }
    }

    /// Records whether bytes wait. Returns whether bytes waited before.
    fn wait(&self, pending: bool, socket: &TcpStream) -> bool {
        let waited = self.waiting.swap(pending, Ordering::Relaxed);
        if pending && !waited {
            self.unacknowledged.store(NOT_ASKED, Ordering::Relaxed);
        }
        if pending && self.probed.swap(false, Ordering::Relaxed) {
            self.ask(socket);
        }
        waited
    }

    /// Records whether the client has acknowledged bytes since the last query. A full socket takes no more until a
    /// third of its buffer is free. That may be megabytes, for which a slow client needs minutes.
    fn ask(&self, socket: &TcpStream) {
        let Some(bytes) = unacknowledged(socket) else { return };
        let before = self.unacknowledged.swap(bytes, Ordering::Relaxed);
        if before != NOT_ASKED && before != bytes {
            self.taken.store(true, Ordering::Relaxed);
        }
    }

    /// Records that the client is about to get bytes over HTTP/3, if it has not taken what it got before. The response
    /// waits until the returned value is dropped.
    #[cfg(feature = "http3")]
    pub(super) fn wait_for_client(&self) -> StreamWaits<'_> {
        self.waiting_streams.fetch_add(1, Ordering::Relaxed);
        StreamWaits(self)
    }

    /// Returns the number of responses over HTTP/3 that wait for the client.
    #[cfg(feature = "http3")]
    pub(super) fn waiting_streams(&self) -> usize {
        self.waiting_streams.load(Ordering::Relaxed)
    }

    /// Records that QUIC took bytes.
    #[cfg(feature = "http3")]
    pub(super) fn took(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        self.taken.store(true, Ordering::Relaxed);
    }

    /// Returns the number of bytes that the socket took so far, or QUIC.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Records that the fast path has answered a request, for which `begin` was not called.
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Returns the number of requests that hyper has begun so far.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    /// Records whether a response of the fast path waits for the client.
    pub(super) fn set_sending(&self, sending: bool) {
        self.sending.store(sending, Ordering::Relaxed);
    }

    /// Returns `true` if a response of the fast path waits for the client.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Relaxed)
    }

    /// Returns `true` if bytes wait for the client. Over HTTP/3, no response gets on then.
    pub(super) fn is_waiting(&self) -> bool {
        let streams = self.waiting_streams.load(Ordering::Relaxed);
        self.waiting.load(Ordering::Relaxed)
            || (streams > 0 && streams >= self.running.load(Ordering::Relaxed))
    }

    /// Returns `true` if bytes of the connection as a whole wait for the client: its socket is full.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Returns `true` if the connection has an order to end, in any way, before its next request.
    pub(super) fn is_draining(&self) -> bool {
        self.order.load(Ordering::Relaxed) >= Order::Drain as u8
    }

    /// Returns `true` if the next response over HTTP/1 is the last one.
    pub(super) fn is_last(&self) -> bool {
        self.order.load(Ordering::Relaxed) >= Order::Last as u8
    }

    /// Returns `true` if hyper is processing a request.
    pub(super) fn is_answering(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    /// Returns the state since the last look, and resets it.
    pub(super) fn look(&self) -> Look {
        let answered = self.answered.swap(false, Ordering::Relaxed);
        let taken = self.taken.swap(false, Ordering::Relaxed);
        if self.is_waiting() {
            if taken {
                return Look::Sending;
            }
            // A client may send requests and take nothing, so that requests do not count as progress.
            self.probed.store(true, Ordering::Relaxed);
            self.wake();
            return Look::Stalled;
        }
        if answered || taken || self.is_answering() { Look::Busy } else { Look::Idle }
    }

    /// Returns `true` if the connection is reset because its client takes nothing.
    pub(super) fn is_cut(&self) -> bool {
        self.order.load(Ordering::Relaxed) == Order::Cut as u8
    }

    /// Gives the connection an order, unless it has a stronger one.
    pub(super) fn tell(&self, order: Order) {
        // A later `Drain` must not weaken `Leave` or `Cut`.
        self.order.fetch_max(order as u8, Ordering::Relaxed);
        self.wake();
    }

    /// Wakes the connection's task. A task that was not polled yet has no waker, but sees the change in its first poll.
    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Returns the current order. A later one wakes the task.
    pub(super) fn poll_order(&self, cx: &Context<'_>) -> Order {
        // The waker of a task stays the same for the task's lifetime.
        self.waker.get_or_init(|| cx.waker().clone());
        match self.order.load(Ordering::Relaxed) {
            0 => Order::Serve,
            1 => Order::Last,
            2 => Order::Drain,
            3 => Order::Leave,
            _ => Order::Cut,
        }
    }
}

/// A response over HTTP/3 that waits for its client, until dropped.
#[cfg(feature = "http3")]
pub(super) struct StreamWaits<'a>(&'a ConnectionState);

#[cfg(feature = "http3")]
impl Drop for StreamWaits<'_> {
    fn drop(&mut self) {
        self.0.waiting_streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InFlight {
    /// Returns the state of the request's connection.
    pub(super) fn state(&self) -> &ConnectionState {
        &self.state
    }

    /// Records that the response has ended, or breaks off because of its source.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.state.answered.store(true, Ordering::Relaxed);
        self.state.running.fetch_sub(1, Ordering::Relaxed);
        if !self.ended {
            self.state.resets.fetch_add(1, Ordering::Relaxed);
        }
    }
}
