//! The body of a response as it arrives.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use yatagarasu_core::SourceError;

use super::buffer::Chunk;
use super::exchange::closed;
use super::framing::Framing;
use super::innermost;
use super::pool::Connection;

/// Most bytes read in a row before others on the thread have their turn.
const IN_A_ROW_BYTES_MAX: usize = 256 * 1024;

/// The bytes of a response as they arrive. Reads no more than one buffer ahead, and only when asked.
///
/// The last bytes leave the connection to the next request; whatever else ends the stream closes it.
#[derive(Debug)]
pub(crate) struct Content {
    /// What came along with the head.
    early: Option<Bytes>,
    /// Gone when the body has ended.
    connection: Option<Connection>,
    framing: Framing,
    in_a_row: usize,
}

impl Content {
    /// Begins the body whose first bytes are in `chunk`.
    pub(super) fn begin(connection: Connection, framing: Framing, chunk: Chunk) -> Result<Self, SourceError> {
        let mut content = Self { early: None, connection: Some(connection), framing, in_a_row: 0 };
        content.early = content.accept(chunk)?;
        Ok(content)
    }

    /// Finds the content among bytes received. At its end the connection goes back at once, because nobody
    /// asks for more than was promised.
    fn accept(&mut self, mut chunk: Chunk) -> Result<Option<Bytes>, SourceError> {
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
    fn receive(&mut self, read: io::Result<Chunk>) -> Option<Result<Bytes, SourceError>> {
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
}

impl Stream for Content {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(early) = this.early.take() {
            return Poll::Ready(Some(Ok(early)));
        }
        while let Some(connection) = &mut this.connection {
            if this.in_a_row >= IN_A_ROW_BYTES_MAX {
                this.in_a_row = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Poll::Ready(read) = Chunk::poll_read(&mut connection.socket, cx) else {
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
