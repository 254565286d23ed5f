//! An open connection as bytes, with or without TLS.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use yatagarasu_sys::{pipe, tcp};

/// A connection to a server.
#[derive(Debug)]
pub(super) enum Socket {
    Plain {
        stream: TcpStream,
        /// The bound on its receive buffer in bytes, if it has one.
        receive_buffer: Option<usize>,
    },
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Waits until bytes may have arrived.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain { stream, .. } => stream.poll_read_ready(cx),
            Self::Tls(stream) => match stream.get_ref() {
                (socket, session) if session.wants_read() => socket.poll_read_ready(cx),
                // There are decrypted bytes.
                _ => Poll::Ready(Ok(())),
            },
        }
    }

    /// Reads the bytes that have arrived, as far as there is room. Returns 0 at the end of the stream.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(room);
        let read = match self {
            Self::Plain { stream, .. } => Pin::new(stream).poll_read(cx, &mut buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        };
        read.map_ok(|()| buffer.filled().len())
    }

    /// Returns whether the bytes can be moved into a pipe. Those of TLS cannot: they are not the content.
    pub(super) fn is_spliceable(&self) -> bool {
        matches!(self, Self::Plain { .. }) && pipe::can_splice()
    }

    /// Makes a bounded receive buffer larger. Returns `false` if it stays as it is.
    pub(super) fn widen(&mut self, bytes: usize) -> bool {
        match self {
            Self::Plain { stream, receive_buffer: Some(before) } if *before < bytes => {
                // The system may refuse, and have done a part of it.
                let _ = tcp::widen_receive_buffer(stream, bytes);
                true
            }
            Self::Plain { .. } | Self::Tls(_) => false,
        }
    }

    /// Moves at most `limit` bytes that have arrived into an empty pipe. Returns 0 at the end of the stream, and `None`
    /// unless [`is_spliceable`](Self::is_spliceable).
    pub(super) fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        limit: usize,
    ) -> Option<Poll<io::Result<usize>>> {
        match self {
            Self::Plain { stream, .. } if pipe::can_splice() => Some(splice(stream, cx, pipe, limit)),
            Self::Plain { .. } | Self::Tls(_) => None,
        }
    }

    /// Writes all of `bytes`.
    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain { stream, .. } => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain { stream, .. } => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// Acknowledges the bytes that have arrived, and those that arrive next, without delay. The system returns to delays by
    /// itself.
    ///
    /// Some servers send a small response in two packets, and the second one only when the first is acknowledged. A response that
    /// is there as a whole needs no acknowledgement but the next request: one of its own costs 2 us.
    pub(super) fn acknowledge_at_once(&self) {
        let stream = match self {
            Self::Plain { stream, .. } => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        tcp::acknowledge_at_once(stream);
    }

    /// Returns whether the server has neither sent anything nor closed the connection. Asks the system, because the
    /// runtime may not have heard of it yet. A TLS connection with unread bytes is not reused, whatever they are.
    pub(super) fn is_quiet(&self) -> bool {
        let stream = match self {
            Self::Plain { stream, .. } => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        let peeked = SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

fn splice(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    pipe: BorrowedFd<'_>,
    limit: usize,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        // The pipe is empty: only the socket can block.
        match stream.try_io(Interest::READABLE, || pipe::fill(pipe, stream, limit)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            moved => return Poll::Ready(moved),
        }
    }
}

/// Returns the error for a connection that ends too early.
pub(super) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")
}
