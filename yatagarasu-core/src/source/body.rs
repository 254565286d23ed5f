//! The body of an object as a stream that checks its length.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use crate::source::error::SourceError;
use crate::source::metered::BodyMeter;

/// A boxed stream of an object's bytes.
pub type BoxedStream = Pin<Box<dyn Stream<Item = Result<Bytes, SourceError>> + Send>>;

/// A stream whose bytes the kernel can move into a pipe without copying them through this process (`splice(2)`).
pub trait Spliced: Stream<Item = Result<Bytes, SourceError>> + Send {
    /// Returns `true` if the next bytes can be moved.
    fn is_movable(&self) -> bool;

    /// Returns `true` if bytes have arrived, and the stream waits until it may [move](crate::turns) them.
    fn awaits_turn(&self) -> bool;

    /// Raises the limit of the receive buffer to about `bytes` until the stream is dropped, unless it is higher.
    fn widen(self: Pin<&mut Self>, bytes: usize);

    /// Makes the stream, which was opened for many ([`Traffic::Shared`](crate::source::Traffic)), one for a single
    /// client.
    ///
    /// Returns `false` if the source keeps its last connections for others: drop the stream then.
    fn dedicate(self: Pin<&mut Self>) -> bool;

    /// Moves at most `limit` of the next bytes into `pipe`, which must be empty. Returns the number of bytes moved.
    ///
    /// Returns `None` if it cannot move them, and at the end of the stream. Poll the stream for its next item then.
    fn poll_splice(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        limit: usize,
    ) -> Poll<Option<Result<usize, SourceError>>>;
}

/// The body of an object: a stream of its bytes in order.
///
/// If the length is known, yields exactly that many bytes or ends with an error. Dropping it cancels the transfer from
/// the source and leaves no task running.
pub struct ObjectBody {
    bytes: Origin,
    /// Bytes still to come; `None` if the source did not send the length.
    remaining: Option<u64>,
    ended: bool,
    /// Called with the error that ends the body, if one does.
    on_failure: Option<OnFailure>,
    /// Counts received bytes, if set.
    meter: Option<BodyMeter>,
}

type OnFailure = Box<dyn FnOnce(&SourceError) + Send>;

enum Origin {
    Stream(BoxedStream),
    Spliced(Pin<Box<dyn Spliced>>),
}

impl ObjectBody {
    /// Wraps the stream of a source. `length` is its length in bytes, if known.
    pub fn new(stream: BoxedStream, length: Option<u64>) -> Self {
        Self { bytes: Origin::Stream(stream), remaining: length, ended: false, on_failure: None, meter: None }
    }

    /// Wraps a stream that can splice. `length` is its length in bytes, if known.
    pub fn spliced(stream: Pin<Box<dyn Spliced>>, length: Option<u64>) -> Self {
        Self {
            bytes: Origin::Spliced(stream),
            remaining: length,
            ended: false,
            on_failure: None,
            meter: None,
        }
    }

    /// Calls `on_failure` with the error that ends the body, if one does.
    #[must_use]
    pub fn on_failure(self, on_failure: impl FnOnce(&SourceError) + Send + 'static) -> Self {
        Self { on_failure: Some(Box::new(on_failure)), ..self }
    }

    /// Has `meter` count the bytes that arrive, until the body is dropped.
    #[must_use]
    pub(super) fn metered(self, meter: BodyMeter) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// Returns the number of bytes still to come, or `None` if the length is unknown.
    pub fn remaining(&self) -> Option<u64> {
        self.remaining
    }

    /// Waits for the next chunk. Returns `None` at the end of the body.
    ///
    /// # Cancel safety
    ///
    /// No bytes are lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Bytes, SourceError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Calls [`Spliced::is_movable`]. Returns `false` if the stream does not implement [`Spliced`].
    pub fn is_movable(&self) -> bool {
        match &self.bytes {
            Origin::Spliced(stream) => stream.is_movable(),
            Origin::Stream(_) => false,
        }
    }

    /// Calls [`Spliced::awaits_turn`]. Returns `false` if the stream does not implement [`Spliced`].
    pub fn awaits_turn(&self) -> bool {
        match &self.bytes {
            Origin::Spliced(stream) => stream.awaits_turn(),
            Origin::Stream(_) => false,
        }
    }

    /// Calls [`Spliced::widen`], if the stream implements [`Spliced`].
    pub fn widen(&mut self, bytes: usize) {
        match &mut self.bytes {
            Origin::Spliced(stream) => stream.as_mut().widen(bytes),
            Origin::Stream(_) => {}
        }
    }

    /// Calls [`Spliced::dedicate`]. Returns `true` if the stream does not implement [`Spliced`].
    pub fn dedicate(&mut self) -> bool {
        match &mut self.bytes {
            Origin::Spliced(stream) => stream.as_mut().dedicate(),
            Origin::Stream(_) => true,
        }
    }

    /// Calls [`Spliced::poll_splice`] and checks the length.
    ///
    /// Returns `None` also if the stream does not implement [`Spliced`].
    ///
    /// The pipe may hold bytes after an error.
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
                // `None` need not be the end of the body, so it is not counted. The next item of the stream tells.
                Poll::Ready(moved.and_then(|moved| self.account(Some(moved), |moved| *moved)))
            }
            Origin::Spliced(_) | Origin::Stream(_) => Poll::Ready(None),
        }
    }

    /// Counts the bytes of `item`. Returns an error if the body is shorter or longer than its length.
    fn account<T>(
        &mut self,
        item: Option<Result<T, SourceError>>,
        length: impl Fn(&T) -> usize,
    ) -> Option<Result<T, SourceError>> {
        if let (Some(Ok(chunk)), Some(meter)) = (&item, &mut self.meter) {
            meter.arrived(length(chunk));
        }
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
        if let Some(Err(error)) = &item
            && let Some(on_failure) = self.on_failure.take()
        {
            on_failure(error);
        }
        item
    }
}

impl Stream for ObjectBody {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // The body ends with its last promised byte, so the source need not signal the end.
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

    /// Claims to move this many bytes on each call, whatever the limit.
    struct Moving(usize);

    impl Stream for Moving {
        type Item = Result<Bytes, SourceError>;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(None)
        }
    }

    impl Spliced for Moving {
        fn dedicate(self: Pin<&mut Self>) -> bool {
            true
        }

        fn is_movable(&self) -> bool {
            true
        }

        fn awaits_turn(&self) -> bool {
            false
        }

        fn widen(self: Pin<&mut Self>, _: usize) {}

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
