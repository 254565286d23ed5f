//! The output of an HTTP/1 connection. It holds a stream back until its last piece is written and the client's socket
//! has room, and moves the bytes past the process: from S3's socket into a pipe, and from the pipe into the client's
//! socket (`splice(2)`).
//!
//! The sockets are bounded, because there may be thousands of streams. A client that has proved to be
//! [fast](throughput) costs less if the kernel may queue megabytes in each direction. So its stream reserves a part of
//! the memory budget that all such streams share. If the budget allows it, both sockets are widened.
//!
//! hyper has no interface for this: it writes the bytes that a body returns. A body whose next bytes are in a pipe
//! returns a [*placeholder*](placeholder) for them. hyper queues the placeholder like any bytes. When hyper writes the
//! placeholder, the socket takes as many bytes out of the pipe.

pub(super) mod placeholder;
pub(super) mod stream;
mod throughput;

use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::TcpStream;
use yatagarasu_core::{Budget, Reservation};
use yatagarasu_sys::pipe::Pipe;
use yatagarasu_sys::tcp;

use crate::connection::limits::{ConnectionLimits, WIDE_UNSENT_BYTES};
use crate::connection::transport::Transport;
use crate::telemetry::access_log::Entry;

/// Number of spliced bytes.
static SPLICED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of spliced bytes.
pub(crate) fn spliced_bytes() -> u64 {
    SPLICED.load(Ordering::Relaxed)
}

/// State of a connection's output that may bypass the process.
#[derive(Debug)]
pub(super) struct SpliceWriter {
    /// Whether the bytes go over the socket as they are. Those of TLS are encrypted by the process.
    is_plain: bool,
    /// Maximum number of unsent bytes in the socket, unless it is wide.
    notsent_lowat: Option<u32>,
    socket_memory: Arc<Budget>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// A pipe that is not empty, and the number of bytes in it. A placeholder for them has been issued.
    pipe: Option<(Pipe, usize)>,
    /// Number of bytes that a stream has returned last and that are not written yet.
    unwritten: usize,
    /// Whether the stream waits until its last piece is written.
    has_piece: bool,
    /// Whether the stream goes on only when the socket has room: the bytes then wait at the source, not in a pipe.
    awaits_room: bool,
    /// The log entry of a response whose last bytes are not written yet.
    ending: Option<Entry>,
    /// Wakes the stream that waits until they are.
    waiting: Option<Waker>,
    width: Width,
}

/// The bound on the unsent bytes in the client's socket.
#[derive(Debug, Default)]
enum Width {
    /// The bound of every socket.
    #[default]
    Bound,
    /// A higher bound, from the next moved bytes on.
    Widening(Reservation),
    /// A higher bound.
    Wide(Reservation),
    /// The bound of every socket, once everything is written. The reservation is released when the socket holds no more
    /// than that.
    Narrowing(Reservation),
}

impl SpliceWriter {
    /// Bounds the unsent bytes that the kernel holds for a client. The bytes that a slow client does not read then stay
    /// at S3.
    pub(super) fn of(transport: &Transport, limits: &ConnectionLimits) -> Self {
        let writer = Self {
            is_plain: transport.plain().is_some(),
            notsent_lowat: limits.notsent_lowat,
            socket_memory: Arc::clone(&limits.socket_memory),
            held: Mutex::default(),
        };
        writer.bound(transport.socket());
        writer
    }

    /// Redeems a placeholder: moves up to `length` bytes from the pipe to the socket, and returns how many it took.
    pub(super) fn poll_drain(
        &self,
        socket: &TcpStream,
        cx: &mut Context<'_>,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        let mut held = self.held();
        held.width = match mem::take(&mut held.width) {
            Width::Widening(reservation) => {
                if self.notsent_lowat.is_some_and(|bytes| bytes < WIDE_UNSENT_BYTES) {
                    tcp::set_notsent_lowat(socket, WIDE_UNSENT_BYTES);
                }
                Width::Wide(reservation)
            }
            width => width,
        };
        let (pipe, bytes) = held.pipe.as_mut().expect("a placeholder is given for what is in a pipe");
        let moved = loop {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_io(Interest::WRITABLE, || pipe.drain(socket, length, false)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                moved => break moved?,
            }
        };
        *bytes -= moved;
        SPLICED.fetch_add(moved as u64, Ordering::Relaxed);
        if *bytes == 0
            && let Some((pipe, _)) = held.pipe.take()
        {
            pipe.give_back();
        }
        Poll::Ready(Ok(moved))
    }

    /// Records that everything is written. First waits until the socket has room if a stream goes on that asks for it,
    /// and until it holds no more than any other socket may if a stream was wide.
    pub(super) fn poll_flushed(&self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.held();
        let narrowing = matches!(held.width, Width::Narrowing(_));
        if narrowing {
            self.bound(socket);
        }
        held.unwritten = 0;
        // hyper may flush more than once. Each look is a system call.
        if narrowing || (held.awaits_room && held.has_piece) {
            loop {
                ready!(socket.poll_write_ready(cx))?;
                match socket.try_io(Interest::WRITABLE, || takes_more(socket)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    taken => break taken?,
                }
            }
        }
        if narrowing {
            held.width = Width::Bound;
        }
        held.has_piece = false;
        let (waiting, ending) = (held.waiting.take(), held.ending.take());
        drop(held);
        drop(ending);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until the last bytes of the stream have been written.
    fn poll_written(&self, cx: &Context<'_>) -> Poll<()> {
        let mut held = self.held();
        if !held.has_piece {
            return Poll::Ready(());
        }
        held.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Records that the stream has returned `bytes` bytes, and whether it goes on only when the socket has room.
    fn gave(&self, bytes: usize, awaits_room: bool) {
        let mut held = self.held();
        // An empty piece is never written.
        (held.unwritten, held.has_piece) = (bytes, bytes > 0);
        held.awaits_room = awaits_room;
    }

    /// Records that the stream has ended: what follows waits for nothing but its last bytes.
    fn ended(&self) {
        self.held().awaits_room = false;
    }

    /// Completes the log entry of a response once its last bytes are written.
    fn end(&self, entry: Entry) {
        let earlier = self.held().ending.replace(entry);
        drop(earlier);
    }

    /// Keeps a pipe until its placeholder is redeemed.
    fn hold(&self, pipe: Pipe, bytes: usize) {
        self.held().pipe = Some((pipe, bytes));
    }

    /// Raises the bound of the socket from the next moved bytes on.
    fn widen(&self, reservation: Reservation) {
        self.held().width = Width::Widening(reservation);
    }

    /// Lowers the bound of the socket again once everything is written.
    fn narrow(&self) {
        let mut held = self.held();
        held.width = match mem::take(&mut held.width) {
            Width::Wide(reservation) | Width::Narrowing(reservation) => Width::Narrowing(reservation),
            Width::Bound | Width::Widening(_) => Width::Bound,
        };
    }

    fn bound(&self, socket: &TcpStream) {
        if let Some(bytes) = self.notsent_lowat {
            tcp::set_notsent_lowat(socket, bytes);
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SpliceWriter {
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The connection has broken before the last bytes were written.
        if let Some(entry) = &mut held.ending {
            entry.unsent(held.unwritten as u64);
        }
    }
}

/// Returns `WouldBlock` if the socket takes no more bytes now.
fn takes_more(socket: &TcpStream) -> io::Result<()> {
    let mut polled = [PollFd::new(socket, PollFlags::OUT)];
    match poll(&mut polled, Some(&Timespec::default())) {
        // A signal may interrupt the call although the socket is full.
        Ok(0) | Err(Errno::INTR) => Err(io::ErrorKind::WouldBlock.into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
