use std::fmt;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use crate::source::error::SourceError;

/// A stream of an object's bytes on the heap.
pub type BoxedStream = Pin<Box<dyn Stream<Item = Result<Bytes, SourceError>> + Send>>;

/// A stream whose bytes the system can move on without this process reading them (`splice(2)`).
pub trait Spliced: Stream<Item = Result<Bytes, SourceError>> + Send {
    /// Says whether bytes can be moved, and if so lets the system hold about `bytes` that have arrived and were not
    /// taken, where it was held to fewer, until the stream is dropped.
    fn widen(self: Pin<&mut Self>, bytes: usize) -> bool;

    /// Moves at most `limit` of the bytes that are next into `pipe`, which is empty, and says how many. `None` where it
    /// cannot: the stream's next item has them. Nothing is moved, and `None` said, at the stream's end.
    fn poll_splice(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        limit: usize,
    ) -> Poll<Option<Result<usize, SourceError>>>;
}

/// An object's bytes, in the order they stand in it.
///
/// Yields exactly the bytes that were promised, or ends in an error. Dropping it abandons the rest at the
/// source and leaves nothing running.
pub struct ObjectBody {
    bytes: Origin,
    /// What is still to come, where the source said how long the content is.
    remaining: Option<u64>,
    ended: bool,
}

enum Origin {
    Stream(BoxedStream),
    Spliced(Pin<Box<dyn Spliced>>),
}

impl ObjectBody {
    /// Wraps the bytes a source sends, `length` of them where that is known.
    pub fn new(stream: BoxedStream, length: Option<u64>) -> Self {
        Self { bytes: Origin::Stream(stream), remaining: length, ended: false }
    }

    /// Wraps bytes that can be moved through a pipe, `length` of them where that is known.
    pub fn spliced(stream: Pin<Box<dyn Spliced>>, length: Option<u64>) -> Self {
        Self { bytes: Origin::Spliced(stream), remaining: length, ended: false }
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

    /// The same as [`Spliced::widen`] of a body that may not be one of these.
    pub fn widen(&mut self, bytes: usize) -> bool {
        match &mut self.bytes {
            Origin::Spliced(stream) => stream.as_mut().widen(bytes),
            Origin::Stream(_) => false,
        }
    }

    /// The same as [`Spliced::poll_splice`] of a body that may not be one of these. After an error there may be bytes in
    /// the pipe.
    pub fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        limit: usize,
    ) -> Poll<Option<Result<usize, SourceError>>> {
        match &mut self.bytes {
            Origin::Spliced(stream) if !self.ended && self.remaining != Some(0) => {
                let left = self.remaining.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
                let moved = ready!(stream.as_mut().poll_splice(cx, pipe, limit.min(left)));
                // Whether the body has ended, its stream says.
                Poll::Ready(moved.and_then(|moved| self.account(Some(moved), |moved| *moved)))
            }
            Origin::Spliced(_) | Origin::Stream(_) => Poll::Ready(None),
        }
    }

    /// Holds the source to its promise: short and long bodies end in an error.
    fn account<T>(
        &mut self,
        item: Option<Result<T, SourceError>>,
        length: impl FnOnce(&T) -> usize,
    ) -> Option<Result<T, SourceError>> {
        let item = match (item, self.remaining) {
            (Some(Ok(chunk)), Some(remaining)) => match remaining.checked_sub(length(&chunk) as u64) {
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
        let item = ready!(match &mut self.bytes {
            Origin::Stream(stream) => stream.as_mut().poll_next(cx),
            Origin::Spliced(stream) => stream.as_mut().poll_next(cx),
        });
        Poll::Ready(self.account(item, Bytes::len))
    }
}

impl fmt::Debug for ObjectBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectBody").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::task::Waker;

    use super::*;

    /// Says that it moves as much, each time it is asked.
    struct Moving(usize);

    impl Stream for Moving {
        type Item = Result<Bytes, SourceError>;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(None)
        }
    }

    impl Spliced for Moving {
        fn widen(self: Pin<&mut Self>, _: usize) -> bool {
            true
        }

        fn poll_splice(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: BorrowedFd<'_>,
            _: usize,
        ) -> Poll<Option<Result<usize, SourceError>>> {
            Poll::Ready((self.0 > 0).then_some(Ok(self.0)))
        }
    }

    #[test]
    fn what_is_moved_is_held_to_the_promise_too() {
        let (_outlet, inlet) = std::io::pipe().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut body = ObjectBody::spliced(Box::pin(Moving(6)), Some(10));
        let mut moved = |body: &mut ObjectBody| body.poll_splice(&mut cx, inlet.as_fd(), 100);
        assert!(matches!(moved(&mut body), Poll::Ready(Some(Ok(6)))));
        assert_eq!(body.remaining(), Some(4));
        let Poll::Ready(Some(Err(error))) = moved(&mut body) else { panic!("six are more than four") };
        assert!(error.to_string().contains("longer"), "{error}");
        assert!(matches!(moved(&mut body), Poll::Ready(None)), "it has ended");

        let mut body = ObjectBody::spliced(Box::pin(Moving(0)), Some(10));
        assert!(matches!(moved(&mut body), Poll::Ready(None)), "whether that is the end, the stream says");
        let Poll::Ready(Some(Err(error))) = Pin::new(&mut body).poll_next(&mut cx) else {
            panic!("nothing is less than ten")
        };
        assert!(error.to_string().contains("10 bytes short"), "{error}");
    }
}
