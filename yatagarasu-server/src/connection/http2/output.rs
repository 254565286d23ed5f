//! Collects the frames of many streams, so that one system call sends them.
//!
//! `h2` writes each frame of content by itself and flushes the socket after it. The system call takes about as long for
//! ten small responses as for one. So [`Output`] keeps what `h2` writes until the connection has nothing more to do, or
//! the buffer is full. Over TLS, the frames then share records, too.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Number of bytes at which the buffer is sent. A client that takes nothing holds no more.
const FULL_BYTES: usize = 128 * 1024;

thread_local! {
    /// A buffer for the next connection that writes.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The socket of a client as `h2` sees it. Clones share it.
pub(super) struct Output<S>(Arc<Mutex<Collected<S>>>);

struct Collected<S> {
    socket: S,
    bytes: Vec<u8>,
    /// Number of these bytes that the socket has taken.
    sent: usize,
}

impl<S> Clone for Output<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: AsyncWrite + Unpin> Output<S> {
    pub(super) fn new(socket: S) -> Self {
        Self(Arc::new(Mutex::new(Collected { socket, bytes: Vec::new(), sent: 0 })))
    }

    /// Sends all bytes, including those that TLS holds.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut collected = self.collected();
        ready!(collected.poll_send(cx))?;
        Pin::new(&mut collected.socket).poll_flush(cx)
    }
}

impl<S> Output<S> {
    fn collected(&self) -> MutexGuard<'_, Collected<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Collected<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            let taken = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.bytes[self.sent..]))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += taken;
        }
        self.sent = 0;
        if !self.bytes.is_empty() {
            self.bytes.clear();
            SPARE.set(std::mem::take(&mut self.bytes));
        }
        Poll::Ready(Ok(()))
    }

    /// Appends as many bytes as there is room for.
    fn append(&mut self, slices: &[IoSlice<'_>]) -> usize {
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE.take();
            self.bytes.reserve_exact(FULL_BYTES);
        }
        let before = self.bytes.len();
        for slice in slices {
            let room = FULL_BYTES - self.bytes.len();
            self.bytes.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        self.bytes.len() - before
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Output<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.collected().socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Output<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut collected = self.collected();
        if collected.bytes.len() == FULL_BYTES {
            ready!(collected.poll_send(cx))?;
        }
        Poll::Ready(Ok(collected.append(slices)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Sends nothing: [`poll_send`](Output::poll_send) does, for all frames together.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut collected = self.collected();
        ready!(collected.poll_send(cx))?;
        Pin::new(&mut collected.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// A socket with room for so many bytes, and the writes that it took.
    #[derive(Default)]
    struct Socket {
        room: usize,
        taken: Vec<Vec<u8>>,
        shut: bool,
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.room == 0 {
                return Poll::Pending;
            }
            let length = bytes.len().min(self.room);
            self.room -= length;
            self.taken.push(bytes[..length].to_vec());
            Poll::Ready(Ok(length))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.shut = true;
            Poll::Ready(Ok(()))
        }
    }

    fn output(room: usize) -> Output<Socket> {
        Output::new(Socket { room, ..Socket::default() })
    }

    fn send(output: &Output<Socket>) -> Poll<()> {
        output.poll_send(&mut Context::from_waker(Waker::noop())).map(Result::unwrap)
    }

    #[tokio::test]
    async fn frames_go_out_together() {
        let mut output = output(usize::MAX);
        for frame in [&b"head"[..], b"content", b"head"] {
            output.write_all(frame).await.unwrap();
            output.flush().await.unwrap();
        }
        assert!(output.collected().socket.taken.is_empty());
        assert_eq!(send(&output), Poll::Ready(()));
        assert_eq!(output.collected().socket.taken, [b"headcontenthead"]);
        assert_eq!(send(&output), Poll::Ready(()));
        assert_eq!(output.collected().socket.taken.len(), 1, "there is nothing to send");
    }

    #[tokio::test]
    async fn a_full_buffer_goes_out_and_no_more_is_taken_before() {
        let mut output = output(FULL_BYTES + 1);
        let bytes: Vec<u8> = (0..3 * FULL_BYTES).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut written = 0;
        while let Poll::Ready(more) = Pin::new(&mut output).poll_write(cx, &bytes[written..]) {
            written += more.unwrap();
        }
        assert_eq!(written, 2 * FULL_BYTES, "the socket has taken one and a byte, and one waits");
        assert_eq!(send(&output), Poll::Pending);
        output.collected().socket.room = usize::MAX;
        output.write_all(&bytes[written..]).await.unwrap();
        output.shutdown().await.unwrap();
        let collected = output.collected();
        assert!(collected.socket.shut && collected.socket.taken.concat() == bytes);
    }
}
