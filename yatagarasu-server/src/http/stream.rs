//! HTTP/2 streams: whether their clients take what they are sent, and the tasks that answer them.
//!
//! A client may stop taking one stream and go on with others, by the windows of flow control (RFC 9113 5.2). hyper asks
//! for a body's next piece when h2 has taken the last, which it does not if the window is shut. So a stream whose client
//! takes nothing is one whose body is not asked. The sweeper ends the task that answers it, which resets the stream.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Poll, Waker};

use hyper::rt::Executor;

use super::activity::Activity;

/// Looks by which streams outlast the one that is cut off. It may have used up the window that all streams of the
/// connection share: its client gives that back when it hears of the reset.
const LOOKS_BETWEEN: u32 = 2;

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
    /// Notes that hyper asks for the next piece.
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

    /// Looks at the stream. Returns how many looks in a row have found the same piece waiting.
    fn look(&self) -> u32 {
        if self.is_cut() || !self.waiting.load(Ordering::Relaxed) {
            return 0;
        }
        self.stalled_looks.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
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
    /// The stream whose request hyper has just handed to the service: it starts the stream's task next.
    begun: Mutex<Option<Arc<Stream>>>,
}

impl Streams {
    /// Begins a stream, which the next task answers.
    pub(super) fn begin(&self) -> Arc<Stream> {
        let stream = Arc::<Stream>::default();
        let mut open = self.open();
        // Forgetting those that have ended when there is no room costs next to nothing for each.
        if open.len() == open.capacity() {
            open.retain(|stream| stream.strong_count() > 0);
        }
        open.push(Arc::downgrade(&stream));
        *self.begun() = Some(Arc::clone(&stream));
        stream
    }

    /// Looks at all streams, and ends the one that has waited longest if that is for `looks_max` looks. Returns how many
    /// it ended.
    pub(super) fn cut_stalled(&self, looks_max: u32) -> u64 {
        let mut longest: Option<(u32, Arc<Stream>)> = None;
        let mut open = self.open();
        open.retain(|stream| {
            let Some(stream) = stream.upgrade() else { return false };
            let looks = stream.look();
            if looks >= looks_max && longest.as_ref().is_none_or(|(most, _)| looks > *most) {
                longest = Some((looks, stream));
            }
            true
        });
        let Some((_, longest)) = longest else { return 0 };
        longest.cut();
        for stream in open.iter().filter_map(Weak::upgrade) {
            let looks = looks_max.saturating_sub(LOOKS_BETWEEN);
            stream.stalled_looks.fetch_min(looks, Ordering::Relaxed);
        }
        1
    }

    fn begun(&self) -> MutexGuard<'_, Option<Arc<Stream>>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, Vec<Weak<Stream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the tasks of one connection's streams.
#[derive(Debug, Clone)]
pub(super) struct StreamExecutor(pub(super) Arc<Activity>);

impl<F> Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    #[expect(clippy::disallowed_methods, reason = "ends with its stream, or with the connection")]
    fn execute(&self, task: F) {
        let Some(stream) = self.0.streams().and_then(|streams| streams.begun().take()) else {
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
