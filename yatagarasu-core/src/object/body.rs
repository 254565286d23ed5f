use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use crate::SourceError;

/// A stream of an object's bytes on the heap.
pub type BoxedStream = Pin<Box<dyn Stream<Item = Result<Bytes, SourceError>> + Send>>;

/// An object's bytes, in the order they stand in it.
///
/// Yields exactly the bytes that were promised, or ends in an error. Dropping it abandons the rest at the
/// source and leaves nothing running.
pub struct ObjectBody {
    stream: BoxedStream,
    /// What is still to come, where the source said how long the content is.
    remaining: Option<u64>,
    ended: bool,
}

impl ObjectBody {
    /// Wraps the bytes a source sends, `length` of them where that is known.
    pub fn new(stream: BoxedStream, length: Option<u64>) -> Self {
        Self { stream, remaining: length, ended: false }
    }

    /// The bytes still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        self.remaining
    }

    /// Waits for the next bytes.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Bytes, SourceError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Holds the source to its promise: short and long bodies end in an error.
    fn account(&mut self, item: Option<Result<Bytes, SourceError>>) -> Option<Result<Bytes, SourceError>> {
        let item = match (item, self.remaining) {
            (Some(Ok(chunk)), Some(remaining)) => match remaining.checked_sub(chunk.len() as u64) {
                Some(rest) => {
                    self.remaining = Some(rest);
                    Some(Ok(chunk))
                }
                None => Some(Err(SourceError::broken("the body is longer than its content-length"))),
            },
            (None, Some(remaining)) if remaining > 0 => {
                Some(Err(SourceError::broken(format!("the body ended {remaining} bytes short"))))
            }
            (item, _) => item,
        };
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

impl Stream for ObjectBody {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // The last promised byte is the end: a source need not say so once more.
        if self.ended || self.remaining == Some(0) {
            return Poll::Ready(None);
        }
        self.stream.as_mut().poll_next(cx).map(|item| self.account(item))
    }
}

impl fmt::Debug for ObjectBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectBody").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}
