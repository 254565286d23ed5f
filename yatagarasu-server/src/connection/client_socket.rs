//! The socket of a client, wrapped for hyper.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connection::fast_path::ExpressLane;
use crate::connection::splice::Outlet;
use crate::connection::splice::placeholder::{Next, next};
use crate::connection::state::Activity;

/// A client's socket as hyper sees it. It hides the requests that the express lane answers, and redeems tickets for
/// bytes in pipes. It also records whether bytes wait for the client, so that the sweeper can tell a stalled client
/// from an idle one.
pub(super) struct WatchedSocket {
    socket: TcpStream,
    express: ExpressLane,
    outlet: Arc<Outlet>,
    activity: Arc<Activity>,
}

impl WatchedSocket {
    pub(super) fn new(
        socket: TcpStream,
        express: ExpressLane,
        outlet: Arc<Outlet>,
        activity: Arc<Activity>,
    ) -> Self {
        Self { socket, express, outlet, activity }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.express.poll_send(&mut self.socket, &self.activity, cx)
    }
}

impl AsyncRead for WatchedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, express, activity, .. } = &mut *self;
        express.poll_read(socket, activity, cx, buffer)
    }
}

impl AsyncWrite for WatchedSocket {
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
            Next::Bytes(count) => Pin::new(&mut this.socket).poll_write_vectored(cx, &slices[..count]),
            Next::Ticket(length) => this.outlet.poll_drain(&this.socket, cx, length),
        };
        this.activity.note(&written, &this.socket);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        let Self { socket, express, outlet, activity } = &mut *self;
        let flushed = outlet.poll_flushed(socket, cx);
        activity.note_last(flushed.is_pending(), socket);
        ready!(flushed)?;
        express.flushed(activity, cx);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Drop for WatchedSocket {
    fn drop(&mut self) {
        if self.activity.is_cut() {
            self.express.cut();
            // Resets the connection. The kernel then frees the bytes it holds for the client, and the client cannot
            // take a part of a body for all of it.
            let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        }
    }
}
