//! The body of one HTTP/1 response on its way out. It gives the next bytes only when the last are written, so that a
//! slow client slows its source down, and it decides whether they are copied or moved.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use yatagarasu_core::{ObjectBody, Reservation, SourceError};
use yatagarasu_sys::pipe::{CAPACITY, Pipe};

use crate::connection::limits::{WIDE_RECEIVED_BYTES, WIDE_UNSENT_BYTES};
use crate::connection::splice::SpliceWriter;
use crate::connection::splice::placeholder::placeholder;
use crate::connection::splice::throughput::{Stretch, Throughput};
use crate::telemetry::access_log::Entry;

/// Passes the bytes of one response to the client: past the process if they can be moved, else through it. Dropping it
/// narrows the client's socket again.
#[derive(Debug)]
pub(crate) struct SpliceStream {
    writer: Arc<SpliceWriter>,
    pace: Throughput,
    /// The memory reserved for the widened socket to the source. That socket is not narrowed before the body is dropped,
    /// because the kernel would drop bytes that S3 sends for a window already offered.
    received: Option<Reservation>,
    /// Whether the client's socket is wide.
    wide: bool,
}

impl SpliceStream {
    pub(in crate::connection) fn new(writer: Arc<SpliceWriter>) -> Self {
        Self { writer, pace: Throughput::default(), received: None, wide: false }
    }

    /// Returns the next bytes, or a placeholder for them. First waits until the last ones are written and the client's
    /// socket has room, so that a stream with a slow client holds nothing.
    pub(crate) fn poll_next(
        &mut self,
        body: &mut ObjectBody,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, SourceError>>> {
        ready!(self.writer.poll_written(cx));
        let moved = if self.moves(body) { ready!(self.poll_move(body, cx)) } else { None };
        let item = match moved {
            Some(moved) => Some(moved),
            None => ready!(Pin::new(&mut *body).poll_next(cx)),
        };
        if let Some(Ok(bytes)) = &item {
            self.writer.gave(bytes.len(), !self.wide);
            match (self.pace.went(bytes.len()), self.wide) {
                (Some(Stretch::Fast), false) => self.widen(body),
                (Some(Stretch::Slow), true) => self.narrow(),
                (Some(Stretch::Fast), true) | (Some(Stretch::Slow), false) | (None, _) => {}
            }
        }
        Poll::Ready(item)
    }

    /// Widens both sockets if bytes are moved, enough are to come, and the memory budget allows it.
    fn widen(&mut self, body: &mut ObjectBody) {
        let little = body.remaining().is_some_and(|left| left < WIDE_UNSENT_BYTES.into());
        if little || !self.moves(body) {
            return;
        }
        let memory = &self.writer.socket_memory;
        let Some(unsent) = memory.reserve(WIDE_UNSENT_BYTES.into()) else { return };
        if self.received.is_none() {
            let Some(received) = memory.reserve(2 * WIDE_RECEIVED_BYTES as u64) else { return };
            body.widen(WIDE_RECEIVED_BYTES);
            self.received = Some(received);
        }
        self.writer.widen(unsent);
        self.wide = true;
    }

    /// Returns whether the bytes of a body can be moved to the client.
    fn moves(&self, body: &ObjectBody) -> bool {
        self.writer.is_plain && body.is_movable()
    }

    /// Completes the log entry of the response once its last bytes are written.
    pub(in crate::connection) fn end(&self, entry: Entry) {
        self.writer.end(entry);
    }

    fn narrow(&mut self) {
        self.writer.narrow();
        self.wide = false;
    }

    /// Moves the next bytes into a pipe and returns a placeholder for them. Returns `None` if they cannot be moved, and
    /// at the end of the body.
    fn poll_move(
        &self,
        body: &mut ObjectBody,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, SourceError>>> {
        // If there are too many pipes already, the bytes are read and written instead.
        let Ok(pipe) = Pipe::take() else { return Poll::Ready(None) };
        match body.poll_splice(cx, pipe.inlet(), CAPACITY) {
            Poll::Ready(Some(Ok(bytes))) => {
                self.writer.hold(pipe, bytes);
                Poll::Ready(Some(Ok(placeholder(bytes))))
            }
            // The pipe is dropped, because it may not be empty.
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => {
                pipe.give_back();
                Poll::Ready(None)
            }
            Poll::Pending => {
                pipe.give_back();
                Poll::Pending
            }
        }
    }
}

impl Drop for SpliceStream {
    fn drop(&mut self) {
        self.writer.ended();
        if self.wide {
            self.narrow();
        }
    }
}
