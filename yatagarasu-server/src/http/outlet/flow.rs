use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use yatagarasu_core::{ObjectBody, SourceError};

use super::Outlet;
use super::pace::{Pace, Stretch};
use super::pipe::{CAPACITY, Pipe};
use super::ticket::ticket;
use crate::http::limits::{WIDE_BYTES, WIDE_RECEIVED_BYTES};

/// How the bytes of one response go to a client: through the process, or past it as long as they are fast. Ended when
/// dropped.
#[derive(Debug)]
pub(crate) struct Flow {
    outlet: Arc<Outlet>,
    pace: Pace,
    /// Whether the sockets may hold more.
    wide: bool,
}

impl Flow {
    pub(super) fn new(outlet: Arc<Outlet>) -> Self {
        Self { outlet, pace: Pace::default(), wide: false }
    }

    /// Waits for the next bytes, or for a ticket for them; first until the last are written, so that a stream whose
    /// client is slow holds no more than one piece.
    pub(crate) fn poll_next(
        &mut self,
        body: &mut ObjectBody,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, SourceError>>> {
        ready!(self.outlet.poll_written(cx));
        let moved = if self.wide { ready!(self.poll_move(body, cx)) } else { None };
        let item = match moved {
            Some(moved) => Some(moved),
            None => ready!(Pin::new(&mut *body).poll_next(cx)),
        };
        if let Some(Ok(bytes)) = &item {
            self.outlet.gave(bytes.len());
            match (self.pace.went(bytes.len()), self.wide) {
                (Some(Stretch::Fast), false) => self.widen(body),
                (Some(Stretch::Slow), true) => {
                    self.narrow();
                    body.narrow();
                }
                (Some(Stretch::Fast), true) | (Some(Stretch::Slow), false) | (None, _) => {}
            }
        }
        Poll::Ready(item)
    }

    /// Lets the sockets hold more, if there is memory left for it and enough to come.
    fn widen(&mut self, body: &mut ObjectBody) {
        if body.remaining().is_some_and(|left| left < WIDE_BYTES) {
            return;
        }
        if let Some(reservation) = self.outlet.socket_memory.reserve(WIDE_BYTES)
            && body.widen(WIDE_RECEIVED_BYTES)
        {
            self.outlet.widen(reservation);
            self.wide = true;
        }
    }

    fn narrow(&mut self) {
        self.outlet.narrow();
        self.wide = false;
    }

    /// Moves the next bytes into a pipe and gives a ticket for them. `None` where that cannot be, or at the end.
    fn poll_move(
        &self,
        body: &mut ObjectBody,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, SourceError>>> {
        // Without a pipe, because there are too many already, bytes are read and written.
        let Some(pipe) = Pipe::take() else { return Poll::Ready(None) };
        match body.poll_splice(cx, pipe.inlet(), CAPACITY) {
            Poll::Ready(Some(Ok(bytes))) => {
                self.outlet.hold(pipe, bytes);
                Poll::Ready(Some(Ok(ticket(bytes))))
            }
            // There may be something in it.
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

impl Drop for Flow {
    fn drop(&mut self) {
        if self.wide {
            self.narrow();
        }
    }
}
