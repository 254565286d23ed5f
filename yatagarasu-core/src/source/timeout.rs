//! Timeouts for a source: the wait for a response head and the wait for each chunk of a body.

use std::future::Future;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::object::key::ObjectKey;
use crate::object::meta::ObjectMeta;
use crate::source::body::{ObjectBody, Spliced};
use crate::source::error::SourceError;
use crate::source::list::{ListPage, Listing};
use crate::source::{Answer, Object, ObjectSource, SourceRequest};

/// Limits the time a source may stay silent.
///
/// Only the time spent waiting for the source counts. The time a slow client takes to read does not.
#[derive(Debug)]
pub struct Timed {
    inner: Arc<dyn ObjectSource>,
    answer: Duration,
    idle: Duration,
}

impl Timed {
    /// Wraps `inner`. `answer` limits the wait for a response head, and `idle` the wait for each chunk of a body.
    pub fn new(inner: Arc<dyn ObjectSource>, answer: Duration, idle: Duration) -> Self {
        Self { inner, answer, idle }
    }

    async fn within<T>(&self, asked: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        let answered = tokio::time::timeout(self.answer, asked).await;
        answered.unwrap_or_else(|_| {
            Err(SourceError::timed_out(self.answer, "no response head (`response_timeout`)"))
        })
    }
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper that inherits a method bypasses the wrapped value\'s"
)]
impl ObjectSource for Timed {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        Ok(match self.within(self.inner.get(key, request)).await? {
            Answer::Object(Object { meta, body }) => {
                let length = body.remaining();
                let body = TimedBody { body, idle: self.idle, timer: None, waiting: false };
                Answer::Object(Object { meta, body: ObjectBody::spliced(Box::pin(body), length) })
            }
            Answer::NotModified(meta) => Answer::NotModified(meta),
        })
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        self.within(self.inner.head(key, request)).await
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        self.within(self.inner.preflight(key, request)).await
    }

    async fn list(&self, listing: &Listing, request: &SourceRequest) -> Result<ListPage, SourceError> {
        self.within(self.inner.list(listing, request)).await
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.within(self.inner.probe()).await
    }
}

struct TimedBody {
    body: ObjectBody,
    idle: Duration,
    /// Made with the first wait: most short bodies come with their heads.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the timer is running for the chunk awaited now.
    waiting: bool,
}

impl Stream for TimedBody {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = Pin::new(&mut self.body).poll_next(cx);
        self.in_time(item, cx)
    }
}

impl Spliced for TimedBody {
    fn is_movable(&self) -> bool {
        self.body.is_movable()
    }

    fn awaits_turn(&self) -> bool {
        self.body.awaits_turn()
    }

    fn widen(mut self: Pin<&mut Self>, bytes: usize) {
        self.body.widen(bytes);
    }

    fn dedicate(mut self: Pin<&mut Self>) -> bool {
        self.body.dedicate()
    }

    fn poll_splice(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        limit: usize,
    ) -> Poll<Option<Result<usize, SourceError>>> {
        let moved = self.body.poll_splice(cx, pipe, limit);
        self.in_time(moved, cx)
    }
}

impl TimedBody {
    /// Returns [`ErrorKind::TimedOut`](crate::source::error::ErrorKind::TimedOut) if the poll has been pending for
    /// longer than `idle`.
    fn in_time<T>(
        &mut self,
        polled: Poll<Option<Result<T, SourceError>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<T, SourceError>>> {
        // A body that waits for its turn does not wait for the source.
        if polled.is_ready() || self.body.awaits_turn() {
            self.waiting = false;
            return polled;
        }
        let deadline = Instant::now() + self.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if !self.waiting {
            timer.as_mut().reset(deadline);
            self.waiting = true;
        }
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Some(Err(SourceError::timed_out(self.idle, "the body stopped (`idle_timeout`)"))))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// A body that gives nothing, because it waits for its turn or because its source is silent.
    struct Quiet {
        awaits_turn: bool,
    }

    impl Stream for Quiet {
        type Item = Result<Bytes, SourceError>;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Pending
        }
    }

    impl Spliced for Quiet {
        fn is_movable(&self) -> bool {
            false
        }

        fn awaits_turn(&self) -> bool {
            self.awaits_turn
        }

        fn widen(self: Pin<&mut Self>, _: usize) {}

        fn dedicate(self: Pin<&mut Self>) -> bool {
            true
        }

        fn poll_splice(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: BorrowedFd<'_>,
            _: usize,
        ) -> Poll<Option<Result<usize, SourceError>>> {
            Poll::Ready(None)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_wait_for_the_source_counts() {
        const IDLE: Duration = Duration::from_secs(1);
        for awaits_turn in [false, true] {
            let body = ObjectBody::spliced(Box::pin(Quiet { awaits_turn }), Some(1));
            let mut timed = TimedBody { body, idle: IDLE, timer: None, waiting: false };
            let next = poll_fn(|cx| Pin::new(&mut timed).poll_next(cx));
            let ended = tokio::time::timeout(10 * IDLE, next).await;
            assert_eq!(ended.is_ok(), !awaits_turn, "{ended:?}");
        }
    }
}
