use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};
use yatagarasu_core::SourceError;

use super::body::ResponseBody;

/// What a connection is doing: so that one timer for each connection, which is seldom set, does for what would take one
/// for each request.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    /// Requests that are being answered.
    running: AtomicUsize,
    /// Whether bytes wait until the client takes them: the last of an answer may, when its body has ended.
    waiting: AtomicBool,
    /// When the client last took something, in milliseconds after the connection was opened.
    idle_since_ms: AtomicU64,
}

/// One request being answered; ended when dropped.
#[derive(Debug)]
pub(super) struct Running(Arc<Activity>);

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            running: AtomicUsize::new(0),
            waiting: AtomicBool::new(false),
            idle_since_ms: AtomicU64::new(0),
        })
    }

    /// Notes that a request's head is complete.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    /// Notes that the client takes nothing more at the moment.
    pub(super) fn wait(&self) {
        self.waiting.store(true, Ordering::Relaxed);
    }

    /// Notes that the client has taken something.
    pub(super) fn taken(&self) {
        self.waiting.store(false, Ordering::Relaxed);
        self.note();
    }

    fn note(&self) {
        let since = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.idle_since_ms.store(since, Ordering::Relaxed);
    }

    /// Waits until no complete head has come for `limit`, while nothing is being answered, or waits to be taken.
    pub(super) async fn idle_for(&self, limit: Duration) {
        loop {
            let since = Duration::from_millis(self.idle_since_ms.load(Ordering::Relaxed));
            let busy = self.running.load(Ordering::Relaxed) > 0 || self.waiting.load(Ordering::Relaxed);
            let deadline = if busy { Instant::now() + limit } else { self.opened + since + limit };
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.note();
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of a response, whose request is being answered as long as it lasts.
#[derive(Debug)]
pub(super) struct AnsweringBody {
    pub(super) body: ResponseBody,
    pub(super) _running: Running,
}

impl Body for AnsweringBody {
    type Data = Bytes;
    type Error = SourceError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
