//! The way of bytes to a client's socket that may go past the process: out of S3's socket into a pipe, out of the pipe
//! into the client's socket (`splice(2)`).
//!
//! That costs less than reading and writing only where the system may queue megabytes each way, which is more than
//! there is for every stream. So a stream is read and written through small buffers until it has shown that its client
//! is [fast](pace); then it takes a part of the memory that all such streams share, if there is any left, its sockets
//! are widened, and its bytes are moved.
//!
//! hyper has no part for that: it writes what a body hands it. A body whose next bytes are in a pipe hands it a
//! [*ticket*](ticket) for them, which hyper queues like any bytes, and where the ticket's turn comes, the socket takes
//! as many bytes out of the pipe.

mod flow;
mod pace;
mod ticket;

use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::TcpStream;
use yatagarasu_core::{Budget, Reservation};
use yatagarasu_sys::pipe::Pipe;
use yatagarasu_sys::tcp;

use super::limits::{ConnectionLimits, WIDE_UNSENT_BYTES};

pub(super) use flow::Flow;
pub(super) use ticket::{Next, next};

/// What a connection has on its way past the process.
#[derive(Debug)]
pub(super) struct Outlet {
    /// Bytes the socket may take before it has sent them, unless it is wide.
    notsent_lowat: Option<u32>,
    socket_memory: Arc<Budget>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// One as long as there is something in it, and how many bytes, for which a ticket is out.
    pipe: Option<(Pipe, usize)>,
    /// Whether a stream has given something that is not written yet.
    unwritten: bool,
    /// The stream that waits until it is.
    waiting: Option<Waker>,
    width: Width,
}

/// How much the client's socket may take.
#[derive(Debug, Default)]
enum Width {
    /// What every socket may.
    #[default]
    Bound,
    /// More, as soon as something is moved.
    Widening(Reservation),
    /// More.
    Wide(Reservation),
    /// What every socket may, as soon as all is written; the memory is given back when no more is left in the socket.
    Narrowing(Reservation),
}

impl Outlet {
    /// Bounds what the system takes for a client before it has sent it, so that one that reads slowly leaves it with
    /// us, and so with S3.
    pub(super) fn of(socket: &TcpStream, limits: &ConnectionLimits) -> Self {
        let outlet = Self {
            notsent_lowat: limits.notsent_lowat,
            socket_memory: Arc::clone(&limits.socket_memory),
            held: Mutex::default(),
        };
        outlet.bound(socket);
        outlet
    }

    /// The way of one response.
    pub(super) fn flow(outlet: &Arc<Self>) -> Flow {
        Flow::new(Arc::clone(outlet))
    }

    /// Redeems a ticket for `length` bytes, or for as many as the socket takes.
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
        let (pipe, bytes) = held.pipe.as_mut().expect("a ticket is given for what is in a pipe");
        let moved = loop {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_io(Interest::WRITABLE, || pipe.drain(socket, length, false)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                moved => break moved?,
            }
        };
        *bytes -= moved;
        if *bytes == 0
            && let Some((pipe, _)) = held.pipe.take()
        {
            pipe.give_back();
        }
        Poll::Ready(Ok(moved))
    }

    /// Notes that all there was is written. Where a stream was wide, waits until the socket holds no more than any
    /// other may.
    pub(super) fn poll_flushed(&self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.held();
        if let Width::Narrowing(_) = held.width {
            self.bound(socket);
            loop {
                ready!(socket.poll_write_ready(cx))?;
                match socket.try_io(Interest::WRITABLE, || takes_more(socket)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    taken => break taken?,
                }
            }
            held.width = Width::Bound;
        }
        held.unwritten = false;
        let waiting = held.waiting.take();
        drop(held);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until what a stream has given is written.
    fn poll_written(&self, cx: &Context<'_>) -> Poll<()> {
        let mut held = self.held();
        if !held.unwritten {
            return Poll::Ready(());
        }
        held.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Notes that a stream has given so many bytes.
    fn gave(&self, bytes: usize) {
        // What is nothing is not written either.
        self.held().unwritten = bytes > 0;
    }

    /// Keeps what is in a pipe until its ticket comes.
    fn hold(&self, pipe: Pipe, bytes: usize) {
        self.held().pipe = Some((pipe, bytes));
    }

    /// Lets the socket take more.
    fn widen(&self, reservation: Reservation) {
        self.held().width = Width::Widening(reservation);
    }

    /// Lets the socket take no more than any other, once all is written.
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

/// Whether the socket takes more at once.
fn takes_more(socket: &TcpStream) -> io::Result<()> {
    let mut polled = [PollFd::new(socket, PollFlags::OUT)];
    match poll(&mut polled, Some(&Timespec::default())) {
        // A signal may come instead of the answer that there is no room.
        Ok(0) | Err(Errno::INTR) => Err(io::ErrorKind::WouldBlock.into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
