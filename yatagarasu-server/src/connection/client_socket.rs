//! The socket of a client, wrapped for hyper and `h2`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::fast_path::FastPath;
use crate::connection::limits::CUT;
use crate::connection::splice::SpliceWriter;
use crate::connection::splice::placeholder::{Next, next};
use crate::connection::state::ConnectionState;
use crate::connection::transport::Transport;

/// A client's socket as hyper sees it. It hides the requests that the fast path answers, and redeems placeholders for
/// bytes in pipes. It also records whether bytes wait for the client, so that the reaper can tell a stalled client
/// from an idle one.
pub(super) struct ClientSocket {
    transport: Transport,
    fast_path: FastPath,
    writer: Arc<SpliceWriter>,
    state: Arc<ConnectionState>,
}

impl ClientSocket {
    pub(super) fn new(
        transport: Transport,
        fast_path: FastPath,
        writer: Arc<SpliceWriter>,
        state: Arc<ConnectionState>,
    ) -> Self {
        Self { transport, fast_path, writer, state }
    }

    /// Answers plain requests until there is one that hyper or `h2` has to answer, or the client has left.
    pub(super) fn poll_plain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fast_path.poll_read(&mut self.transport, &self.state, cx, &mut ReadBuf::new(&mut []))
    }

    /// Passes on everything that the client sends from now on.
    pub(super) fn pass_all(&mut self) {
        self.fast_path.pass_all();
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fast_path.poll_send(&mut self.transport, &self.state, cx)
    }

    /// Records that bytes that TLS has taken wait for the client.
    fn note_tail(&self, flushed: &Poll<io::Result<()>>) {
        if flushed.is_pending() {
            self.state.note_last(true, self.transport.socket());
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { transport, fast_path, state, .. } = &mut *self;
        fast_path.poll_read(transport, state, cx, buffer)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = match next(slices) {
            Next::Bytes(count) => Pin::new(&mut this.transport).poll_write_vectored(cx, &slices[..count]),
            Next::Placeholder(length) => this.writer.poll_drain(this.transport.socket(), cx, length),
        };
        this.state.note(&written, this.transport.socket());
        if written.is_ready() {
            this.fast_path.wrote();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        let flushed = Pin::new(&mut self.transport).poll_flush(cx);
        self.note_tail(&flushed);
        ready!(flushed)?;
        let Self { transport, fast_path, writer, state } = &mut *self;
        let socket = transport.socket();
        // hyper flushes the socket only if its own buffer is empty. So all that the stream has returned is written.
        let flushed = writer.poll_flushed(socket, cx);
        state.note_last(flushed.is_pending(), socket);
        ready!(flushed)?;
        fast_path.flushed(state, cx);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        let shut = Pin::new(&mut self.transport).poll_shutdown(cx);
        self.note_tail(&shut);
        ready!(shut)?;
        let Self { transport, fast_path, state, .. } = &mut *self;
        state.note_last(false, transport.socket());
        fast_path.poll_linger(transport, state, cx)
    }
}

impl Drop for ClientSocket {
    fn drop(&mut self) {
        if self.state.is_cut() {
            self.fast_path.cut(CUT);
            // Resets the connection. The kernel then frees the bytes it holds for the client, and the client cannot
            // take a part of a body for all of it.
            let _ = SockRef::from(self.transport.socket()).set_linger(Some(Duration::ZERO));
        }
    }
}
