//! HTTP/2 streams: whether their clients take what they are sent, and the tasks that answer them.
//!
//! A client may stop taking one stream and go on with others, by the windows of flow control (RFC 9113 5.2). hyper asks
//! for a body's next piece only when the client has room for the last, so a stream whose client takes nothing is one
//! whose body is not asked. The task that answers such a stream is ended by the sweeper, which resets the stream.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Poll, Waker};

use hyper::rt::Executor;

/// One stream, from its request to the end of its response.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Whether a piece of the body waits for the client.
    waiting: AtomicBool,
    /// Looks in a row that found the same piece waiting.
    stalled_looks: AtomicU32,
    cut: AtomicBool,
    /// Wakes the task that answers it.
    waker: OnceLock<Waker>,
}

impl Stream {
    /// Notes that hyper asks for the next piece: the client has taken the last.
    pub(super) fn ask(&self) {
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// Notes that hyper has got a piece.
    pub(super) fn give(&self) {
        self.stalled_looks.store(0, Ordering::Relaxed);
        self.waiting.store(true, Ordering::Relaxed);
    }

    /// Whether it ends because its client takes nothing.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Ends the stream if its client has taken nothing for so many looks. Returns whether it does so now.
    fn cut_if_stalled(&self, looks_max: u32) -> bool {
        let waiting = self.waiting.load(Ordering::Relaxed);
        if !waiting || self.stalled_looks.fetch_add(1, Ordering::Relaxed) + 1 < looks_max {
            return false;
        }
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
        !self.cut.swap(true, Ordering::Relaxed)
    }

    /// Waits until the stream is cut.
    async fn until_cut(&self) {
        poll_fn(|cx| {
            // A task has one waker for as long as it lives.
            self.waker.get_or_init(|| cx.waker().clone());
            if self.is_cut() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// The streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Mutex<Vec<Weak<Stream>>>,
}

impl Streams {
    pub(super) fn begin(&self) -> Arc<Stream> {
        let stream = Arc::<Stream>::default();
        let mut open = self.open();
        // Forgetting those that have ended when there is no room costs next to nothing for each.
        if open.len() == open.capacity() {
            open.retain(|stream| stream.strong_count() > 0);
        }
        open.push(Arc::downgrade(&stream));
        stream
    }

    /// Ends the streams whose clients have taken nothing for so many looks. Returns how many.
    pub(super) fn cut_stalled(&self, looks_max: u32) -> u64 {
        let mut cut = 0;
        self.open().retain(|stream| {
            let stream = stream.upgrade();
            cut += u64::from(stream.as_ref().is_some_and(|stream| stream.cut_if_stalled(looks_max)));
            stream.is_some()
        });
        cut
    }

    fn open(&self) -> MutexGuard<'_, Vec<Weak<Stream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the tasks of one connection's streams.
#[derive(Debug, Clone, Default)]
pub(super) struct StreamExecutor {
    /// The stream whose request hyper has just handed to the service: it starts the stream's task next.
    begun: Arc<Mutex<Option<Arc<Stream>>>>,
}

impl StreamExecutor {
    /// Notes that the next task answers this stream.
    pub(super) fn begin(&self, stream: Arc<Stream>) {
        *self.begun() = Some(stream);
    }

    fn begun(&self) -> MutexGuard<'_, Option<Arc<Stream>>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    #[expect(clippy::disallowed_methods, reason = "ends with its stream, or with the connection")]
    fn execute(&self, task: F) {
        let Some(stream) = self.begun().take() else {
            tokio::spawn(task);
            return;
        };
        tokio::spawn(async move {
            let mut task = pin!(task);
            // Dropping the task resets the stream.
            tokio::select! {
                biased;
                _ = &mut task => {}
                () = stream.until_cut() => {}
            }
        });
    }
}
