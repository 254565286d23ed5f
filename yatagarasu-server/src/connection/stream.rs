//! Streams of HTTP/2 and HTTP/3: detects those whose clients take nothing.
//!
//! A client may stop taking one stream and go on with others, because each has its own flow-control window (RFC 9113
//! 5.2, RFC 9000 4.1). A body is polled for its next piece when the protocol has taken the last one, which it does not
//! while the window is shut. A stream is therefore stalled if its body is not polled. The reaper ends the task of such a
//! stream, which resets the stream.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Poll, Waker};

use crate::connection::held::HeldObject;

/// Minimum number of looks from one cut stream to the next. The stream that was cut may have used up the window that
/// all streams of the connection share. The client restores the window when it receives the reset.
const LOOKS_BETWEEN: u32 = 2;

/// One stream, from its request to the end of its response.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Whether a piece of the body waits for the client.
    waiting: AtomicBool,
    /// Number of consecutive looks that found the same piece waiting. It is lowered when another stream was cut.
    stalled_looks: AtomicU32,
    /// The same number, never lowered.
    waited_looks: AtomicU32,
    cut: AtomicBool,
    held: HeldObject,
    /// Wakes the stream's task.
    waker: OnceLock<Waker>,
}

impl Stream {
    /// Records that the protocol asks for the next piece.
    pub(super) fn ask(&self) {
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// Records that the protocol got a piece.
    pub(super) fn give(&self) {
        self.stalled_looks.store(0, Ordering::Relaxed);
        self.waited_looks.store(0, Ordering::Relaxed);
        self.waiting.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if the stream is reset because its client takes nothing.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Returns the stored object that the stream sends.
    pub(super) fn held(&self) -> &HeldObject {
        &self.held
    }

    /// Returns for how many looks the client has taken nothing.
    fn waited_looks(&self) -> u32 {
        if self.is_cut() { 0 } else { self.waited_looks.load(Ordering::Relaxed) }
    }

    /// Returns the number of consecutive looks, this one included, that found the same piece waiting.
    fn look(&self) -> u32 {
        if self.is_cut() || !self.waiting.load(Ordering::Relaxed) {
            return 0;
        }
        self.waited_looks.fetch_add(1, Ordering::Relaxed);
        self.stalled_looks.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Waits until the stream is cut.
    pub(super) async fn until_cut(&self) {
        poll_fn(|cx| {
            // The waker of a task stays the same for the task's lifetime.
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
    /// Watches a stream that begins.
    pub(super) fn watch(&self, stream: &Arc<Stream>) {
        let mut open = self.open();
        // Dropping ended streams only when the vector is full makes the cost per stream negligible.
        if open.len() == open.capacity() {
            open.retain(|stream| stream.strong_count() > 0);
        }
        open.push(Arc::downgrade(stream));
    }

    /// Looks at all streams. Cuts the one that has been stalled longest, if it has been for `looks_max` looks, and all
    /// that have been for twice as many. Returns the number of streams cut.
    pub(super) fn cut_stalled(&self, looks_max: u32) -> u64 {
        let mut longest: Option<(u32, Arc<Stream>)> = None;
        let mut cut = 0;
        let mut open = self.open();
        open.retain(|stream| {
            let Some(stream) = stream.upgrade() else { return false };
            let looks = stream.look();
            if stream.waited_looks.load(Ordering::Relaxed) >= looks_max.saturating_mul(2) && looks > 0 {
                stream.cut();
                cut += 1;
                return true;
            }
            if looks >= looks_max && longest.as_ref().is_none_or(|(most, _)| looks > *most) {
                longest = Some((looks, stream));
            }
            true
        });
        let Some((_, longest)) = longest else { return cut };
        longest.cut();
        for stream in open.iter().filter_map(Weak::upgrade) {
            let looks = looks_max.saturating_sub(LOOKS_BETWEEN);
            stream.stalled_looks.fetch_min(looks, Ordering::Relaxed);
        }
        cut + 1
    }

    /// Returns the bytes of the objects of all streams that no cache holds any more.
    pub(super) fn retired_bytes(&self) -> u64 {
        let open = self.open();
        open.iter().filter_map(Weak::upgrade).map(|stream| stream.held.retired_bytes()).sum()
    }

    /// Returns the streams whose clients take nothing and that hold objects that no cache holds any more: for how many
    /// looks, how many bytes.
    pub(super) fn holding(&self) -> Vec<(u32, u64, Arc<Stream>)> {
        let open = self.open();
        let open = open.iter().filter_map(Weak::upgrade);
        let holding = open.map(|stream| (stream.waited_looks(), stream.held.retired_bytes(), stream));
        holding.filter(|(looks, bytes, _)| *looks > 0 && *bytes > 0).collect()
    }

    fn open(&self) -> MutexGuard<'_, Vec<Weak<Stream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
