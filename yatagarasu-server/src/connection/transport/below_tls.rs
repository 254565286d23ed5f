//! The socket below TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Maximum number of slices that are written at once.
const SLICES_MAX: usize = 16;

/// A socket below TLS, of which some bytes may have been read already. They come first.
///
/// The bytes of a handshake are held until a read would wait for the client. No client waits for the ticket that ends a
/// handshake of TLS 1.3. It goes with the next write, which is mostly the first response: one `send` less.
#[derive(Debug)]
pub(crate) struct BelowTls {
    socket: TcpStream,
    received: Vec<u8>,
    held: Vec<u8>,
    /// Whether the handshake has ended.
    is_open: bool,
    /// Whether the client may wait for the held bytes.
    is_awaited: bool,
    /// Whether the client has closed its side without ending TLS, and nothing was written since.
    is_left: bool,
}

impl BelowTls {
    pub(crate) fn new(received: Vec<u8>, socket: TcpStream) -> Self {
        Self { socket, received, held: Vec::new(), is_open: false, is_awaited: true, is_left: false }
    }

    /// Returns the socket, for what it says about itself and for its options.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Records that the handshake has ended, and whether the client may wait for the end of it.
    pub(crate) fn open(&mut self, is_awaited: bool) {
        self.is_open = true;
        self.is_awaited = is_awaited;
    }

    /// Records that the client has closed its side without ending TLS.
    pub(crate) fn leave(&mut self) {
        self.is_left = true;
    }

    /// Returns `true` if the client has closed its side without ending TLS, and nothing was written since: it does not
    /// wait to hear that TLS ends.
    pub(crate) fn is_left(&self) -> bool {
        self.is_left
    }

    /// Writes the held bytes and `slices` after them. Returns the number of bytes of `slices` written.
    fn poll_write_held(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let mut all = [IoSlice::new(&[]); SLICES_MAX];
            let held = std::iter::once(IoSlice::new(&self.held));
            let mut length = 0;
            for (slot, slice) in all.iter_mut().zip(held.chain(slices.iter().copied())) {
                *slot = slice;
                length += 1;
            }
            let written = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, &all[..length]))?;
            let held = self.held.len();
            if written >= held {
                self.held = Vec::new();
                if written > held || slices.iter().all(|slice| slice.is_empty()) {
                    return Poll::Ready(Ok(written - held));
                }
                return Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
            }
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.drain(..written);
        }
    }

    fn poll_send_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.poll_write_held(cx, &[]).map_ok(drop)
    }
}

impl AsyncRead for BelowTls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.received.is_empty() {
            let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
            // An error comes again with the next write.
            if read.is_pending() && self.is_awaited && !self.held.is_empty() {
                let _ = self.poll_send_held(cx);
            }
            return read;
        }
        let length = self.received.len().min(buffer.remaining());
        buffer.put_slice(&self.received[..length]);
        self.received.drain(..length);
        if self.received.is_empty() {
            self.received = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BelowTls {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_left = false;
        if !self.is_open {
            let before = self.held.len();
            for slice in slices {
                self.held.extend_from_slice(slice);
            }
            return Poll::Ready(Ok(self.held.len() - before));
        }
        if self.held.is_empty() {
            return Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        }
        self.poll_write_held(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_open {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send_held(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_held(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Drop for BelowTls {
    /// Sends the alert of a handshake that has failed, if there is room for it.
    fn drop(&mut self) {
        if !self.held.is_empty() {
            let _ = self.socket.try_write(&self.held);
        }
    }
}
