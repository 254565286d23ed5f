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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Returns the server's end of a connection, and the client's.
    async fn ends() -> (BelowTls, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (BelowTls::new(Vec::new(), listener.accept().await.unwrap().0), client)
    }

    /// Polls a read that finds nothing.
    fn read_nothing(server: &mut BelowTls) {
        let (mut room, cx) = ([0; 8], &mut Context::from_waker(std::task::Waker::noop()));
        assert!(Pin::new(server).poll_read(cx, &mut ReadBuf::new(&mut room)).is_pending());
    }

    /// Returns the bytes that the client gets at once.
    async fn got(client: &mut TcpStream) -> Vec<u8> {
        let mut room = [0; 64];
        let length = client.read(&mut room).await.unwrap();
        room[..length].to_vec()
    }

    #[tokio::test]
    async fn a_handshake_is_sent_when_it_waits_for_the_client() {
        let (mut server, mut client) = ends().await;
        server.write_all(b"hello, ").await.unwrap();
        server.write_all(b"certificate").await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(client.try_read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        read_nothing(&mut server);
        assert_eq!(got(&mut client).await, b"hello, certificate");
    }

    #[tokio::test]
    async fn the_end_of_a_handshake_goes_with_the_response_unless_it_is_awaited() {
        for is_awaited in [false, true] {
            let (mut server, mut client) = ends().await;
            server.write_all(b"ticket, ").await.unwrap();
            server.open(is_awaited);
            read_nothing(&mut server);
            if is_awaited {
                assert_eq!(got(&mut client).await, b"ticket, ");
            }
            let slices = [IoSlice::new(b"head, "), IoSlice::new(b"content")];
            assert_eq!(server.write_vectored(&slices).await.unwrap(), 13);
            let expected: &[u8] = if is_awaited { b"head, content" } else { b"ticket, head, content" };
            assert_eq!(got(&mut client).await, expected);
        }
    }

    #[tokio::test]
    async fn the_alert_of_a_handshake_that_fails_is_sent() {
        let (mut server, mut client) = ends().await;
        server.write_all(b"alert").await.unwrap();
        drop(server);
        assert_eq!(got(&mut client).await, b"alert");
    }
}
