use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::net::TcpStream;
use yatagarasu_sys::tcp::unacknowledged;

use super::stream::{Stream, Streams};

/// The socket has not been asked since bytes began to wait.
const NOT_ASKED: u32 = u32::MAX;

/// What a connection is doing, for its thread's [`Sweeper`](super::Sweeper), and what that has ordered it to do.
///
/// A connection and its sweeper run on one thread: nothing here has to be ordered between threads.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Requests that hyper has begun with.
    begun: AtomicUsize,
    /// Those of them that are being answered.
    running: AtomicUsize,
    /// Whether an answer of the express lane waits until the client takes it.
    sending: AtomicBool,
    /// Whether bytes wait until the client takes them: the last of an answer may, when its body has ended.
    waiting: AtomicBool,
    /// Whether a request was answered since the sweeper last looked.
    answered: AtomicBool,
    /// Whether the client has taken something since then.
    taken: AtomicBool,
    /// Whether the sweeper wants to know if the client's system has taken something.
    probed: AtomicBool,
    /// Bytes that the client's system had not acknowledged when the socket was last asked, or [`NOT_ASKED`].
    unacknowledged: AtomicU32,
    /// HTTP/2 streams, if there ever were any.
    streams: OnceLock<Box<Streams>>,
    order: AtomicU8,
    /// Wakes the connection's task.
    waker: OnceLock<Waker>,
}

/// What a connection is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Answer requests.
    Serve = 0,
    /// End once what is being answered has ended.
    Drain = 1,
    /// End at once.
    Leave = 2,
    /// End at once, and forget what the client has not taken.
    Cut = 3,
}

/// What a connection has done since the sweeper last looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing was asked, answered or left to take.
    Idle,
    /// A request is being answered or was, and nothing waits for the client.
    Busy,
    /// Bytes wait for the client, which has taken some.
    Sending,
    /// Bytes wait for the client, and it has taken none.
    Stalled,
}

/// One request being answered; ended when dropped.
#[derive(Debug)]
pub(super) struct Running(Arc<Activity>);

impl Activity {
    /// Notes that a request's head is complete.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    /// Begins an HTTP/2 stream.
    pub(super) fn begin_stream(&self) -> Arc<Stream> {
        self.streams.get_or_init(Box::default).begin()
    }

    /// The HTTP/2 streams, if there ever were any.
    pub(super) fn streams(&self) -> Option<&Streams> {
        self.streams.get().map(|streams| &**streams)
    }

    /// Notes whether the client has taken something, or takes nothing more at the moment. What it is sent besides
    /// answers, such as HTTP/2's acknowledgements, does not count.
    pub(super) fn note(&self, written: &Poll<io::Result<usize>>, socket: &TcpStream) {
        let waited = self.wait(written.is_pending(), socket);
        if written.is_ready() && (waited || self.is_answering()) {
            self.taken.store(true, Ordering::Relaxed);
        }
    }

    /// Notes whether a stream's last bytes wait until the client takes them.
    pub(super) fn note_last(&self, pending: bool, socket: &TcpStream) {
        if self.wait(pending, socket) && !pending {
            self.taken.store(true, Ordering::Relaxed);
        }
    }

    /// Notes whether bytes wait. Returns whether they did before.
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

    /// Notes whether the client's system has acknowledged something since the socket was last asked. A socket takes no
    /// more before a third of its buffer is free, which may be megabytes: a slow client needs minutes for them.
    fn ask(&self, socket: &TcpStream) {
        let Some(bytes) = unacknowledged(socket) else { return };
        let before = self.unacknowledged.swap(bytes, Ordering::Relaxed);
        if before != NOT_ASKED && before != bytes {
            self.taken.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that a request was answered without having begun.
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Requests that hyper has begun with so far.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    /// Notes whether an answer of the express lane waits until the client takes it.
    pub(super) fn set_sending(&self, sending: bool) {
        self.sending.store(sending, Ordering::Relaxed);
    }

    /// Returns whether an answer of the express lane waits.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Relaxed)
    }

    /// Whether the connection is to end.
    pub(super) fn is_draining(&self) -> bool {
        self.order.load(Ordering::Relaxed) > Order::Serve as u8
    }

    /// Whether hyper is answering a request.
    pub(super) fn is_answering(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    /// Returns what the connection has done since the last look.
    pub(super) fn look(&self) -> Look {
        let answered = self.answered.swap(false, Ordering::Relaxed);
        let taken = self.taken.swap(false, Ordering::Relaxed);
        if self.waiting.load(Ordering::Relaxed) {
            if taken {
                return Look::Sending;
            }
            // A client may ask for more and take nothing: that it asks does not count.
            self.probed.store(true, Ordering::Relaxed);
            self.wake();
            return Look::Stalled;
        }
        if answered || taken || self.is_answering() { Look::Busy } else { Look::Idle }
    }

    /// Whether the connection ends because its client takes nothing.
    pub(super) fn is_cut(&self) -> bool {
        self.order.load(Ordering::Relaxed) == Order::Cut as u8
    }

    /// Tells the connection what to do.
    pub(super) fn tell(&self, order: Order) {
        // Who has to leave need not drain any more.
        self.order.fetch_max(order as u8, Ordering::Relaxed);
        self.wake();
    }

    /// Has the connection polled. One that has not been polled yet reads what is new when it is.
    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// What the connection, which polls, is to do; a later order wakes it.
    pub(super) fn poll_order(&self, cx: &Context<'_>) -> Order {
        // A task has one waker for as long as it lives.
        self.waker.get_or_init(|| cx.waker().clone());
        match self.order.load(Ordering::Relaxed) {
            0 => Order::Serve,
            1 => Order::Drain,
            2 => Order::Leave,
            _ => Order::Cut,
        }
    }
}

impl Running {
    /// What the request's connection is doing.
    pub(super) fn activity(&self) -> &Activity {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.answered.store(true, Ordering::Relaxed);
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
