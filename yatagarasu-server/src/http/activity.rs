use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use yatagarasu_core::SourceError;

use super::body::ResponseBody;
use super::outlet::Flow;

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
    /// Whether the client has taken something, or a request was answered, since the sweeper last looked.
    stirred: AtomicBool,
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

    /// Notes whether the client has taken something, or takes nothing more at the moment. What it is sent besides
    /// answers, such as HTTP/2's acknowledgements, does not count.
    pub(super) fn note(&self, written: &Poll<io::Result<usize>>) {
        let waited = self.waiting.swap(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() && (waited || self.is_answering()) {
            self.stirred.store(true, Ordering::Relaxed);
        }
    }

    /// Notes whether a stream's last bytes wait until the client takes them.
    pub(super) fn wait(&self, pending: bool) {
        if self.waiting.swap(pending, Ordering::Relaxed) && !pending {
            self.stirred.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that a request was answered without having begun.
    pub(super) fn answered(&self) {
        self.stirred.store(true, Ordering::Relaxed);
    }

    /// Requests that hyper has begun with so far.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    /// Notes whether an answer of the express lane waits until the client takes it.
    pub(super) fn set_sending(&self, sending: bool) {
        self.sending.store(sending, Ordering::Relaxed);
    }

    /// Whether one does.
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

    /// Whether something was going on since this was last asked.
    pub(super) fn was_busy(&self) -> bool {
        let stirred = self.stirred.swap(false, Ordering::Relaxed);
        stirred || self.is_answering() || self.waiting.load(Ordering::Relaxed)
    }

    /// Tells the connection what to do.
    pub(super) fn tell(&self, order: Order) {
        // Who has to leave need not drain any more.
        self.order.fetch_max(order as u8, Ordering::Relaxed);
        // A connection that has not been polled yet reads it when it is.
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
            _ => Order::Leave,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stirred.store(true, Ordering::Relaxed);
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of a response, whose request is being answered as long as it lasts.
#[derive(Debug)]
pub(super) struct AnsweringBody {
    pub(super) body: ResponseBody,
    pub(super) _running: Running,
    /// How its bytes may go past the process, where the connection can do that. Dropped after the body, so that the
    /// memory of S3's socket is given back when the socket is closed.
    pub(super) flow: Option<Flow>,
}

impl Body for AnsweringBody {
    type Data = Bytes;
    type Error = SourceError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        let Self { body, flow, .. } = &mut *self;
        body.poll_next(flow.as_mut(), cx).map(|item| item.map(|item| item.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.remaining() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
