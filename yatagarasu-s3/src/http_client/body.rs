//! Streams a response body as it arrives.

pub(super) mod buffer;
pub(super) mod chunked;
pub(super) mod framing;

use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use yatagarasu_core::source::body::Spliced;
use yatagarasu_core::turns::BodyTurn;
use yatagarasu_core::{SourceError, innermost};

use crate::http_client::body::buffer::ReadBuffer;
use crate::http_client::body::framing::Framing;
use crate::http_client::pool::Connection;
use crate::http_client::socket::closed;

/// A stream of the bytes of a response body. Reads at most one buffer ahead, and only when polled.
///
/// The connection returns to the pool after the last byte. It is closed if the stream ends for any other reason.
#[derive(Debug)]
pub(crate) struct BodyReader {
    /// Content that arrived with the response head.
    early: Option<Bytes>,
    /// `None` once the body has ended.
    connection: Option<Connection>,
    framing: Framing,
    turn: BodyTurn,
}

impl BodyReader {
    /// Creates the stream. `chunk` holds the bytes that arrived after the head.
    pub(super) fn begin(
        connection: Connection,
        framing: Framing,
        chunk: ReadBuffer,
    ) -> Result<Self, SourceError> {
        let mut content =
            Self { early: None, connection: Some(connection), framing, turn: BodyTurn::default() };
        content.early = content.accept(chunk)?;
        if let Some(connection) = content.connection.as_ref().filter(|connection| connection.reused) {
            connection.socket.acknowledge_at_once();
        }
        Ok(content)
    }

    /// Extracts the content from the bytes received.
    ///
    /// At the end of the body the connection returns to the pool at once, because a consumer that knows the length
    /// does not poll again.
    fn accept(&mut self, mut chunk: ReadBuffer) -> Result<Option<Bytes>, SourceError> {
        let accepted = self
            .framing
            .accept(chunk.filled_mut())
            .map_err(|reason| SourceError::broken(format!("the body is invalid: {reason}")))?;
        if accepted.ended
            && let Some(connection) = self.connection.take()
            && !accepted.surplus
        {
            connection.give_back();
        }
        Ok((accepted.content > 0).then(|| chunk.into_bytes(accepted.content)))
    }

    /// Waits until bytes have arrived and this body may move its next piece. In this order: a body that has nothing to
    /// move takes no turn.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(connection) = &mut self.connection {
            ready!(connection.socket.poll_readable(cx))?;
        }
        self.turn.poll(cx).map(Ok)
    }

    /// Processes the result of a read. Returns `None` if it contains no content.
    fn receive(&mut self, read: io::Result<ReadBuffer>) -> Option<Result<Bytes, SourceError>> {
        let received = match read {
            Ok(chunk) if chunk.is_empty() => match self.framing {
                Framing::UntilClose => {
                    self.connection = None;
                    Ok(None)
                }
                Framing::Length(_) | Framing::Chunked(_) => Err(broke_off(closed())),
            },
            Ok(chunk) => {
                self.turn.moved(chunk.filled().len());
                self.accept(chunk)
            }
            Err(error) => Err(broke_off(error)),
        };
        if received.is_err() {
            self.connection = None;
        }
        received.transpose()
    }

    /// Processes the result of a splice. Returns the number of content bytes moved. 0 bytes mean that the connection
    /// has ended too early, which is an error.
    fn moved(&mut self, moved: io::Result<usize>) -> Result<usize, SourceError> {
        let moved = match moved {
            Ok(0) => Err(closed()),
            moved => moved,
        };
        let moved = moved.map_err(|error| {
            self.connection = None;
            broke_off(error)
        })?;
        self.turn.moved(moved);
        if self.framing.skip(moved)
            && let Some(connection) = self.connection.take()
        {
            connection.give_back();
        }
        Ok(moved)
    }
}

impl Spliced for BodyReader {
    /// Every byte must be content, and no byte read ahead.
    fn is_movable(&self) -> bool {
        matches!(self.framing, Framing::Length(_))
            && self.early.is_none()
            && self.connection.as_ref().is_some_and(|connection| connection.socket.is_spliceable())
    }

    fn awaits_turn(&self) -> bool {
        self.turn.is_waiting()
    }

    fn widen(mut self: Pin<&mut Self>, bytes: usize) {
        if let Some(connection) = &mut self.connection
            && connection.socket.widen(bytes)
        {
            // A TCP window that was offered cannot be withdrawn. So this connection is not reused.
            connection.persists = false;
        }
    }

    fn dedicate(self: Pin<&mut Self>) -> bool {
        self.connection.as_ref().is_none_or(Connection::dedicate)
    }

    fn poll_splice(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        limit: usize,
    ) -> Poll<Option<Result<usize, SourceError>>> {
        let this = &mut *self;
        // Splicing needs a body in which every byte is content, and no byte read ahead.
        let (None, Framing::Length(left)) = (&this.early, &this.framing) else { return Poll::Ready(None) };
        let limit = usize::try_from(*left).unwrap_or(usize::MAX).min(limit);
        if let Err(error) = ready!(this.poll_turn(cx)) {
            return Poll::Ready(Some(this.moved(Err(error))));
        }
        let Some(connection) = &mut this.connection else { return Poll::Ready(None) };
        let Some(splicing) = connection.socket.poll_splice(cx, pipe, limit) else { return Poll::Ready(None) };
        let moved = ready!(splicing);
        Poll::Ready(Some(this.moved(moved)))
    }
}

impl Stream for BodyReader {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(early) = this.early.take() {
            return Poll::Ready(Some(Ok(early)));
        }
        while this.connection.is_some() {
            let turn = ready!(this.poll_turn(cx));
            let Some(connection) = &mut this.connection else { break };
            let read = match turn {
                Ok(()) => ready!(ReadBuffer::poll_read(&mut connection.socket, cx)),
                Err(error) => Err(error),
            };
            if let Some(item) = this.receive(read) {
                return Poll::Ready(Some(item));
            }
        }
        Poll::Ready(None)
    }
}

fn broke_off(error: io::Error) -> SourceError {
    let reason = format!("the body ended early: {}", innermost(&error));
    SourceError::broken(reason).caused_by(Arc::new(error))
}
