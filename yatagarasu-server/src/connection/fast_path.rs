//! The fast path: answers plain requests below hyper.
//!
//! Most requests are GETs of a stored object without a condition, a range or a cache directive. Building one header map
//! for such a request and one for its response takes as long as all decisions about it. The fast path recognizes
//! such a request in the raw bytes and writes the response to the socket. If nothing is stored, it waits for the response, and
//! sends it if it is a whole object that was stored meanwhile. Any other one goes to hyper, with the head of its request.
//!
//! All other requests go to hyper, one head at a time and without a byte of the next one. hyper gets the next head only
//! when its last response has left its buffers. It therefore has nothing to write while the fast path answers a
//! request, and responses cannot overtake each other. Every head is checked here, whatever came before it on the
//! connection: a proxy in front sends the requests of many clients over it. The preface of HTTP/2, at the beginning, leads it to
//! [`http2`](crate::connection::http2). Bytes that are no request get a [`refusal`] here: hyper would close the
//! connection without a log line, a request id or a reason.
//!
//! The content of a request is not read, because a read-only gateway has no use for it. Its connection ends with its
//! response.

mod hit_writer;
mod refusal;
pub(crate) mod request_head;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use yatagarasu_core::gateway::outcome::held::Held;

use crate::connection::admission::Slot;
use crate::connection::fast_path::hit_writer::HitWriter;
use crate::connection::fast_path::refusal::Refusal;
use crate::connection::fast_path::request_head::{Invalidity, RequestHead, escaped, without_upgrade};
use crate::connection::limits::ConnectionLimits;
use crate::connection::state::{ConnectionState, InFlight};
use crate::connection::transport::Transport;
use crate::connection::{Place, Unserved};
use crate::listener::terms::{Front, Terms};
use crate::service::handler::{Found, Hit, Plain, RequestHandler};
use crate::service::response;
use crate::service::task::Settling;

/// Maximum number of bytes per read.
const READ_BYTES: usize = 16 * 1024;

/// Maximum capacity of the buffer that an idle connection keeps for its next request.
const IDLE_BYTES_MAX: usize = 1024;

/// How long a client that has closed its side waits for the first bytes after that. It may have closed one direction
/// only (`nc -N`), or be gone: only bytes that are sent to it tell. Most are gone, and their requests to S3 end with
/// this wait. It is also the time between two looks whether the client has reset the connection.
const HALF_CLOSED_WAIT: Duration = Duration::from_millis(75);

/// How long a connection is read on after its end while nothing comes. A client that still sends would otherwise get a
/// reset, which takes the last bytes of the response away.
const LINGER_QUIET: Duration = Duration::from_secs(5);

/// How long a connection is read on after its end in any case.
const LINGER_MAX: Duration = Duration::from_secs(30);

thread_local! {
    /// Read buffer. One connection at a time uses it.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// Bytes received from a client and not answered yet, and the response being sent by the fast path.
pub(super) struct FastPath {
    handler: Arc<RequestHandler>,
    limits: Arc<ConnectionLimits>,
    terms: Arc<Terms>,
    /// Held until the connection ends.
    _slot: Slot,
    received: Vec<u8>,
    missing: Option<Missing>,
    sending: Option<HitWriter>,
    refusing: Option<Refusal>,
    /// Whether the client has closed its side.
    half_closed: bool,
    /// Whether hyper has written bytes since it flushed.
    unflushed: bool,
    /// Whether bytes were written since.
    wrote_since: bool,
    /// Ends the wait for a half-closed client, or for the end of a connection.
    timer: Option<Pin<Box<Sleep>>>,
    /// When the reading after the end began.
    lingering_since: Option<Instant>,
    turn: Turn,
    /// Number of request heads handed to hyper.
    handed: usize,
}

/// A plain request for an object that is not stored, until there is a response.
struct Missing {
    answering: Settling,
    running: InFlight,
    /// Length of the request head, which is the first of the received bytes.
    length: usize,
}

/// The side that handles the connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The fast path: hyper has neither a request nor anything to write.
    FastPath,
    /// hyper: it gets this many more bytes of a request head, at least one.
    Hand(usize),
    /// hyper: it has a whole head. It gets no byte of the next one before its response has left its buffers.
    Await,
    /// The side above, until the connection ends.
    Pass,
    /// Nobody, until [`http2`](crate::connection::http2) has the connection.
    Http2,
}

impl FastPath {
    pub(super) fn new(handler: Arc<RequestHandler>, place: Place, state: &ConnectionState) -> Self {
        let Place { limits, peer: _, slot, unserved, received, terms } = place;
        let refusing = unserved.map(|unserved| {
            // Over TLS, unless the client does not speak it.
            let front = if unserved == Unserved::NotTls { &Front::default() } else { &terms.front };
            Refusal::of_unserved(unserved, &handler, state.client(), front)
        });
        Self {
            handler,
            limits,
            terms,
            _slot: slot,
            received,
            missing: None,
            sending: None,
            refusing,
            half_closed: false,
            wrote_since: false,
            unflushed: false,
            timer: None,
            lingering_since: None,
            turn: Turn::FastPath,
            handed: 0,
        }
    }

    /// Passes on everything that the client sends from now on.
    pub(super) fn pass_all(&mut self) {
        self.turn = Turn::Pass;
    }

    /// Reads for hyper. Answers plain requests on the way, and passes on the bytes of all others. With an empty buffer,
    /// returns when there are some, or none can come.
    pub(super) fn poll_read(
        &mut self,
        transport: &mut Transport,
        state: &Arc<ConnectionState>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.poll_send(transport, state, cx)?.is_pending() {
                return self.poll_left(transport, state, cx);
            }
            if let Some(refusal) = &mut self.refusing {
                ready!(refusal.poll_send(transport, cx))?;
                self.received.clear();
                ready!(Pin::new(&mut *transport).poll_shutdown(cx))?;
                return self.poll_linger(transport, state, cx);
            }
            if self.missing.is_some() {
                ready!(self.poll_missing(transport, state, cx))?;
                continue;
            }
            match self.turn {
                Turn::Pass => return self.poll_pass(transport, state, cx, buffer),
                Turn::Http2 => return Poll::Ready(Ok(())),
                Turn::Await => return self.poll_end(transport, state, cx),
                Turn::Hand(_) => return self.hand(buffer),
                // The connection shuts down gracefully after this poll. Until then it starts no further request.
                Turn::FastPath if state.is_draining() => return Poll::Pending,
                Turn::FastPath => {
                    let is_more_needed = self.take_head(state);
                    if is_more_needed && (self.half_closed || ready!(self.poll_receive(transport, cx))? == 0)
                    {
                        self.turn = Turn::Pass;
                    }
                }
            }
        }
    }

    /// Begins the answer to the request at the front of the received bytes, or decides who gives it. Returns `true` if
    /// its head is incomplete.
    fn take_head(&mut self, state: &Arc<ConnectionState>) -> bool {
        let (limits, front) = (&self.limits, &self.terms.front);
        let refusal = match RequestHead::of(&self.received) {
            RequestHead::Partial if self.received.len() < limits.header_size => return true,
            RequestHead::Partial => {
                Refusal::too_large(limits.header_size, &self.handler, state.client(), front)
            }
            // hyper closes the connection after the last response.
            RequestHead::Plain(target, length) if !state.is_last() && !state.has_one_left(limits) => {
                let (client, head) = (state.client(), &self.received[..length]);
                match self.handler.answer_plain(target, client, &limits.client_address, head, front) {
                    Ok(Plain::Hit(hit)) => self.begin_sending(hit, length, state),
                    Ok(Plain::Miss(answering)) => {
                        self.missing = Some(Missing { answering, running: state.begin(), length });
                        self.handed += 1;
                        // It has to be answered before the connection may end.
                        state.set_sending(true);
                    }
                    Err(routed) => self.hand_over(routed.map(Found::Routed), length, state),
                }
                return false;
            }
            RequestHead::Plain(_, length) | RequestHead::Head(length) => {
                self.hand_over(None, length, state);
                return false;
            }
            RequestHead::Odd(place, length) => {
                let target = escaped(&self.received[place.clone()]);
                let length = length - place.len() + target.len();
                self.received.splice(place, target);
                // hyper takes no longer head.
                if length <= limits.header_size {
                    return false;
                }
                Refusal::too_large(limits.header_size, &self.handler, state.client(), front)
            }
            RequestHead::Upgrade(length) => {
                let head = without_upgrade(&self.received[..length]);
                self.received.splice(..length, head);
                return false;
            }
            RequestHead::Http2 if state.is_new() => {
                state.begin_http2();
                self.turn = Turn::Http2;
                return false;
            }
            RequestHead::Http2 => Refusal::of(Invalidity::NotHttp, &self.handler, state.client(), front),
            RequestHead::Invalid(invalidity) => Refusal::of(invalidity, &self.handler, state.client(), front),
        };
        self.refusing = Some(refusal);
        false
    }

    /// Lets hyper have the next head, of `length` bytes.
    fn hand_over(&mut self, found: Option<Found>, length: usize, state: &ConnectionState) {
        state.hand(found);
        self.turn = Turn::Hand(length);
    }

    /// Begins to send the response to a request with a head of `length` bytes.
    fn begin_sending(&mut self, hit: Hit, length: usize, state: &ConnectionState) {
        state.count(&self.limits);
        self.sending = Some(HitWriter::new(hit));
        self.taken(length);
    }

    /// Waits for the response to a request for an object that was not stored, if there is one. Sends it if the whole object
    /// is stored by then, and hands any other response to hyper. Returns an error if the client leaves before.
    fn poll_missing(
        &mut self,
        transport: &mut Transport,
        state: &ConnectionState,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(missing) = &mut self.missing else { return Poll::Ready(Ok(())) };
        let answered = missing.answering.as_mut().poll(cx);
        if answered.is_pending() {
            // Only reading on tells that the client has left.
            ready!(self.poll_end(transport, state, cx))?;
        }
        let missing = self.missing.take();
        self.timer = None;
        state.set_sending(false);
        let (Poll::Ready(response), Some(Missing { mut running, length, .. })) = (answered, missing) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        running.end();
        // hyper says in a last response that it is the last one.
        let hit = if state.is_last() { Err(Box::new(response)) } else { response::plain(response) };
        match hit {
            Ok(hit) => self.begin_sending(hit, length, state),
            Err(response) => self.hand_over(Some(Found::Answered(response)), length, state),
        }
        Poll::Ready(Ok(()))
    }

    /// Sends the response of the fast path, if there is one.
    pub(super) fn poll_send(
        &mut self,
        transport: &mut Transport,
        state: &ConnectionState,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(sending) = &mut self.sending {
            if !sending.is_done() {
                if sending.poll_turn(transport.socket(), cx).is_pending() {
                    state.set_sending(true);
                    // The client's socket has room: it is not the client that is slow.
                    state.note_last(false, transport.socket());
                    return Poll::Pending;
                }
                let sent = sending.poll_send(transport, cx);
                if sent.is_pending() {
                    state.held().set(Some(Held::stored(sending.stored())));
                }
                state.note(&sent, transport.socket());
                state.set_sending(sent.is_pending());
                ready!(sent)?;
                if !sending.is_done() {
                    continue;
                }
            }
            // TLS may hold the last bytes.
            let flushed = Pin::new(&mut *transport).poll_flush(cx);
            if flushed.is_pending() {
                state.held().set(Some(Held::stored(sending.stored())));
            }
            state.note_last(flushed.is_pending(), transport.socket());
            state.set_sending(flushed.is_pending());
            ready!(flushed)?;
            sending.end();
            self.sending = None;
            state.answered();
        }
        Poll::Ready(Ok(()))
    }

    /// Records that hyper has flushed. If it has begun and ended every request it was handed, the fast path takes
    /// over again.
    pub(super) fn flushed(&mut self, state: &ConnectionState, cx: &Context<'_>) {
        self.unflushed = false;
        // What follows the head of a request with content is no request.
        let is_done = state.begun() >= self.handed && !state.is_answering() && !state.has_content();
        if self.turn == Turn::Await && is_done {
            self.turn = Turn::FastPath;
            self.timer = None;
            // hyper waits to be woken for its next read.
            if !self.received.is_empty() || self.half_closed {
                cx.waker().wake_by_ref();
            }
        }
    }

    /// Records in the access log why the client gets no more.
    pub(super) fn cut(&mut self, reason: &str) {
        if let Some(sending) = &mut self.sending {
            sending.cut(reason);
        }
    }

    /// Hands hyper the next bytes of a request head.
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

    /// Passes on all received bytes, and then reads from the socket.
    fn poll_pass(
        &mut self,
        transport: &mut Transport,
        state: &ConnectionState,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.received.is_empty() {
            let before = buffer.filled().len();
            if !self.half_closed {
                ready!(Pin::new(&mut *transport).poll_read(cx, buffer))?;
                self.half_closed = buffer.filled().len() == before && buffer.remaining() > 0;
            }
            // HTTP/2 has ends of its own for each direction.
            let answering = state.is_answering() || self.unflushed;
            return if self.half_closed && answering && state.streams().is_none() {
                self.poll_half_closed(transport, state, cx)
            } else {
                Poll::Ready(Ok(()))
            };
        }
        let length = self.received.len().min(buffer.remaining());
        buffer.put_slice(&self.received[..length]);
        self.taken(length);
        Poll::Ready(Ok(()))
    }

    /// Reads while hyper answers, to notice if the client leaves. Keeps the bytes of the next request.
    fn poll_end(
        &mut self,
        transport: &mut Transport,
        state: &ConnectionState,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        // Also if bytes of the next request are there: only reading on tells that the client has left.
        while !self.half_closed && self.received.len() < self.limits.header_size {
            self.half_closed = ready!(self.poll_receive(transport, cx))? == 0;
        }
        if self.half_closed {
            return self.poll_half_closed(transport, state, cx);
        }
        // `flushed` wakes the task when hyper has answered.
        Poll::Pending
    }

    /// Waits while a half-closed client gets its response. Returns the end of the stream, which makes hyper close the
    /// connection, once the client is known to be gone, or nothing was sent to it for some time.
    ///
    /// A client that has taken bytes and has not reset the connection is there, and waits as long as any other.
    fn poll_half_closed(
        &mut self,
        transport: &Transport,
        state: &ConnectionState,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(HALF_CLOSED_WAIT)));
            ready!(timer.as_mut().poll(cx));
            let is_reset = transport.socket().take_error().is_ok_and(|error| error.is_some());
            let is_there = self.wrote_since || state.is_waiting();
            if is_reset || !is_there {
                return Poll::Ready(Ok(()));
            }
            timer.as_mut().reset(Instant::now() + HALF_CLOSED_WAIT);
        }
    }

    /// Records that the socket has taken bytes of a response.
    pub(super) fn wrote(&mut self) {
        self.unflushed = true;
        self.wrote_since |= self.half_closed;
    }

    /// Reads on after the end of the connection if the client still sends, or has announced content.
    pub(super) fn poll_linger(
        &mut self,
        transport: &mut Transport,
        state: &ConnectionState,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let sends = self.refusing.is_some() || !self.received.is_empty() || state.has_content();
        self.received.clear();
        if self.lingering_since.is_none() && !sends || self.half_closed {
            return Poll::Ready(Ok(()));
        }
        let since = *self.lingering_since.get_or_insert_with(|| {
            self.timer = None;
            Instant::now()
        });
        // A server that stops waits for nobody who only sends.
        let (quiet, max) =
            if state.is_draining() { (LINGER_QUIET / 5, LINGER_QUIET) } else { (LINGER_QUIET, LINGER_MAX) };
        loop {
            match self.poll_receive(transport, cx) {
                Poll::Ready(Ok(1..)) if since.elapsed() < max => {
                    self.received.clear();
                    self.timer = None;
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    let left = max.saturating_sub(since.elapsed());
                    let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(quiet.min(left))));
                    ready!(timer.as_mut().poll(cx));
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Reads while a response is being sent, to notice if the connection breaks. Returns an error if it does, so that
    /// hyper closes it.
    fn poll_left(
        &mut self,
        transport: &mut Transport,
        state: &ConnectionState,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.half_closed || self.received.len() >= self.limits.header_size {
                return Poll::Pending;
            }
            match ready!(self.poll_receive(transport, cx)) {
                // Only reading on tells that the client has left.
                Ok(1..) => {}
                // It may have closed one direction only. If it is gone, the next bytes cannot be sent.
                Ok(0) => self.half_closed = true,
                Err(_) => break,
            }
        }
        // The rest of the response would delay the end of the connection.
        self.sending = None;
        state.set_sending(false);
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }

    fn poll_receive(&mut self, transport: &mut Transport, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let limit = self.limits.header_size.saturating_sub(self.received.len()).clamp(1, READ_BYTES);
        READ.with_borrow_mut(|room| {
            let mut buffer = ReadBuf::new(&mut room[..limit]);
            ready!(Pin::new(transport).poll_read(cx, &mut buffer))?;
            self.received.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Drops the first `length` received bytes.
    fn taken(&mut self, length: usize) {
        self.received.drain(..length);
        if self.received.is_empty() && self.received.capacity() > IDLE_BYTES_MAX {
            self.received = Vec::new();
        }
    }
}
