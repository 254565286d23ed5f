//! The express lane: plain requests for what is stored are answered below hyper.
//!
//! Most requests are GETs of a stored object without a condition, a range or a directive. Making a map of their fields
//! and another of their answers' takes as long as all that is decided about them. Here such a request is recognised in
//! the bytes as they came and answered into the socket. All others go on to hyper, one head at a time and never a byte
//! of the next, so that hyper has nothing to say while a request is answered here: it gets the next head only when
//! the last answer has left its buffers. What hyper has to find the end of goes on to it for good.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use super::activity::Activity;
use super::desk::Desk;
use super::limits::CONNECTION_BUFFER_BYTES;
use super::opening::Opening;
use super::sending::Sending;

/// Most bytes read at a time.
const READ_BYTES: usize = 16 * 1024;

/// Room that an idle connection may keep for the next request.
const IDLE_BYTES_MAX: usize = 1024;

thread_local! {
    /// What is read into, by one connection at a time.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// What a client has sent that is not answered, and what it is sent from here.
pub(super) struct ExpressLane {
    desk: Arc<Desk>,
    received: Vec<u8>,
    sending: Option<Sending>,
    turn: Turn,
    /// Heads that hyper was handed.
    handed: usize,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The express lane's: hyper has neither a request nor anything to write.
    Express,
    /// hyper's: it gets so many bytes more of a head, at least one.
    Hand(usize),
    /// hyper's: it has a head, and nothing of the next before its answer has left its buffers.
    Await,
    /// hyper's, until the connection ends.
    HyperForGood,
}

impl ExpressLane {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        Self { desk, received: Vec::new(), sending: None, turn: Turn::Express, handed: 0 }
    }

    /// Reads for hyper what is not answered here.
    pub(super) fn poll_read(
        &mut self,
        socket: &mut TcpStream,
        activity: &Activity,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.poll_send(socket, activity, cx)?.is_pending() {
                return self.poll_left(socket, activity, cx);
            }
            match self.turn {
                Turn::HyperForGood => return self.poll_pass(socket, cx, buffer),
                Turn::Await => return self.poll_end(socket, cx),
                Turn::Hand(_) => return self.hand(buffer),
                // The connection is told so once it has been polled.
                Turn::Express if activity.is_draining() => return Poll::Pending,
                Turn::Express => {}
            }
            match Opening::of(&self.received) {
                Opening::Plain(target, length) => match self.desk.recall(target) {
                    Some(sending) => {
                        self.sending = Some(sending);
                        self.taken(length);
                    }
                    None => self.turn = Turn::Hand(length),
                },
                Opening::Head(length) => self.turn = Turn::Hand(length),
                Opening::Other => self.turn = Turn::HyperForGood,
                Opening::Partial if self.received.len() >= CONNECTION_BUFFER_BYTES => {
                    self.turn = Turn::HyperForGood;
                }
                Opening::Partial => {
                    if ready!(self.poll_receive(socket, cx))? == 0 {
                        self.turn = Turn::HyperForGood;
                    }
                }
            }
        }
    }

    /// Sends what is answered here.
    pub(super) fn poll_send(
        &mut self,
        socket: &mut TcpStream,
        activity: &Activity,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(sending) = &mut self.sending {
            let sent = sending.poll_send(socket, cx);
            activity.note(&sent, socket);
            activity.set_sending(sent.is_pending());
            ready!(sent)?;
            if sending.is_done() {
                sending.end();
                self.sending = None;
                activity.answered();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Notes that hyper has written all it has: where it has begun with every head it was handed, and ended, it has
    /// nothing left.
    pub(super) fn flushed(&mut self, activity: &Activity, cx: &Context<'_>) {
        if self.turn == Turn::Await && activity.begun() >= self.handed && !activity.is_answering() {
            self.turn = Turn::Express;
            // hyper waits to be told that there is something to read.
            if !self.received.is_empty() {
                cx.waker().wake_by_ref();
            }
        }
    }

    /// Notes that the client has taken nothing for too long, and gets no more.
    pub(super) fn cut(&mut self) {
        if let Some(sending) = &mut self.sending {
            sending.cut();
        }
    }

    /// Hands hyper what it is to get of a head.
    fn hand(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Turn::Hand(left) = self.turn {
            let length = left.min(buffer.remaining());
            buffer.put_slice(&self.received[..length]);
            self.taken(length);
            self.turn = Turn::Hand(left - length);
            if left == length {
                self.turn = Turn::Await;
                self.handed += 1;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Hands hyper all there is.
    fn poll_pass(
        &mut self,
        socket: &mut TcpStream,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.received.is_empty() {
            return Pin::new(socket).poll_read(cx, buffer);
        }
        let length = self.received.len().min(buffer.remaining());
        buffer.put_slice(&self.received[..length]);
        self.taken(length);
        Poll::Ready(Ok(()))
    }

    /// Waits until the client leaves, while hyper answers, or sends its next request, which has to wait.
    fn poll_end(&mut self, socket: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.received.is_empty() && ready!(self.poll_receive(socket, cx))? == 0 {
            return Poll::Ready(Ok(()));
        }
        // It is woken when it has answered.
        Poll::Pending
    }

    /// Waits until the client takes more, or has left: then it takes nothing more, as far as hyper is concerned either.
    fn poll_left(
        &mut self,
        socket: &mut TcpStream,
        activity: &Activity,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.received.is_empty() || matches!(ready!(self.poll_receive(socket, cx)), Ok(1..)) {
            return Poll::Pending;
        }
        // What is left to send would hold the connection's end up.
        self.sending = None;
        activity.set_sending(false);
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }

    fn poll_receive(&mut self, socket: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let limit = CONNECTION_BUFFER_BYTES.saturating_sub(self.received.len()).clamp(1, READ_BYTES);
        READ.with_borrow_mut(|room| {
            let mut buffer = ReadBuf::new(&mut room[..limit]);
            ready!(Pin::new(socket).poll_read(cx, &mut buffer))?;
            self.received.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Forgets the first `length` bytes.
    fn taken(&mut self, length: usize) {
        self.received.drain(..length);
        if self.received.is_empty() && self.received.capacity() > IDLE_BYTES_MAX {
            self.received = Vec::new();
        }
    }
}
