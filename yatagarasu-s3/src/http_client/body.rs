//! The body of a response as it arrives.

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
use yatagarasu_core::SourceError;
use yatagarasu_core::source::body::Spliced;

use crate::http_client::body::buffer::ReadBuffer;
use crate::http_client::body::framing::Framing;
use crate::http_client::cause::innermost;
use crate::http_client::pool::Connection;
use crate::http_client::socket::closed;

/// Most bytes read in a row before others on the thread have their turn.
const IN_A_ROW_BYTES_MAX: usize = 256 * 1024;

/// The bytes of a response as they arrive. Reads no more than one buffer ahead, and only when asked.
///
/// The last bytes leave the connection to the next request; whatever else ends the stream closes it.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    /// What came along with the head.
    early: Option<Bytes>,
    /// Gone when the body has ended.
    connection: Option<Connection>,
    framing: Framing,
    in_a_row: usize,
}

impl ResponseBody {
    /// Begins the body whose first bytes are in `chunk`.
    pub(super) fn begin(
        connection: Connection,
        framing: Framing,
        chunk: ReadBuffer,
    ) -> Result<Self, SourceError> {
        let mut content = Self { early: None, connection: Some(connection), framing, in_a_row: 0 };
        content.early = content.accept(chunk)?;
        Ok(content)
    }

    /// Finds the content among bytes received. At its end the connection goes back at once, because nobody
    /// asks for more than was promised.
    fn accept(&mut self, mut chunk: ReadBuffer) -> Result<Option<Bytes>, SourceError> {
        let accepted = self
            .framing
            .accept(chunk.filled_mut())
            .map_err(|reason| SourceError::broken(format!("the body broke off: {reason}")))?;
        if accepted.ended
            && let Some(connection) = self.connection.take()
            && !accepted.surplus
        {
            connection.give_back();
        }
        Ok((accepted.content > 0).then(|| chunk.into_bytes(accepted.content)))
    }

    /// Takes in what was read; `None` where there is no content in it.
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
                self.in_a_row += chunk.filled().len();
                self.accept(chunk)
            }
            Err(error) => Err(broke_off(error)),
        };
        if received.is_err() {
            self.connection = None;
        }
        received.transpose()
    }

    /// Lets others on the thread have their turn after much was read in a row.
    fn poll_turn(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.in_a_row < IN_A_ROW_BYTES_MAX {
            return Poll::Ready(());
        }
        self.in_a_row = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes in that so many bytes of content were moved elsewhere; none is the connection's end.
    fn moved(&mut self, moved: io::Result<usize>) -> Result<usize, SourceError> {
        let moved = match moved {
            Ok(0) => Err(closed()),
            moved => moved,
        };
        let moved = moved.map_err(|error| {
            self.connection = None;
            broke_off(error)
        })?;
        self.in_a_row += moved;
        if self.framing.skip(moved)
            && let Some(connection) = self.connection.take()
        {
            connection.give_back();
        }
        Ok(moved)
    }
}

impl Spliced for ResponseBody {
    fn widen(mut self: Pin<&mut Self>, bytes: usize) -> bool {
        let Self { connection: Some(connection), framing: Framing::Length(_), .. } = &mut *self else {
            return false;
        };
        let spliced = connection.socket.widen(bytes);
        if spliced {
            // The window that was offered cannot be taken back: the next response gets another connection.
            connection.persists = false;
        }
        spliced
    }

    fn poll_splice(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        limit: usize,
    ) -> Poll<Option<Result<usize, SourceError>>> {
        let this = &mut *self;
        // Only where every byte is content, and none has been read.
        let (None, Framing::Length(left)) = (&this.early, &this.framing) else { return Poll::Ready(None) };
        let limit = usize::try_from(*left).unwrap_or(usize::MAX).min(limit);
        ready!(this.poll_turn(cx));
        let Some(connection) = &mut this.connection else { return Poll::Ready(None) };
        let Some(splicing) = connection.socket.poll_splice(cx, pipe, limit) else { return Poll::Ready(None) };
        let Poll::Ready(moved) = splicing else {
            this.in_a_row = 0;
            return Poll::Pending;
        };
        Poll::Ready(Some(this.moved(moved)))
    }
}

impl Stream for ResponseBody {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(early) = this.early.take() {
            return Poll::Ready(Some(Ok(early)));
        }
        while this.connection.is_some() {
            ready!(this.poll_turn(cx));
            let Some(connection) = &mut this.connection else { break };
            let Poll::Ready(read) = ReadBuffer::poll_read(&mut connection.socket, cx) else {
                this.in_a_row = 0;
                return Poll::Pending;
            };
            if let Some(item) = this.receive(read) {
                return Poll::Ready(Some(item));
            }
        }
        Poll::Ready(None)
    }
}

fn broke_off(error: io::Error) -> SourceError {
    let reason = format!("the body broke off: {}", innermost(&error));
    SourceError::Broken { reason, cause: Some(Arc::new(error)) }
}
