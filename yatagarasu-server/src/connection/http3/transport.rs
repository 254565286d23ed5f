//! The streams of a QUIC connection, as `h3` asks for them.
//!
//! They are made here, and not by `h3-quinn`, for three things that it does not give: when a client gives up a response,
//! or has all of it; how fast it takes bytes; and how many bytes may wait for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{ConnectionError, ReadError, StoppedError, VarInt, WriteError};

use crate::connection::http3::frames::{Frames, TooLong};
use crate::connection::limits::STREAM_BUFFER_BYTES;
use crate::connection::state::ConnectionState;
use crate::connection::stream::Stream;

/// Bytes that are read at a time: a request head.
const READ_BYTES: usize = 2 * 1024;

/// Bytes that a response writes before the others of its connection have their turn.
const SHARE_BYTES: usize = 4 * 1024;

/// Maximum number of bytes that wait for the client, or for its acknowledgement.
const WINDOW_MAX: u64 = 4 << 20;

/// Maximum length of a frame on a stream that has no requests, such as the settings of a client.
const INSTRUCTION_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a frame beside those of the fields in it.
const FRAME_BYTES: usize = 1024;

/// Resolves when the client has all bytes of a stream (`None`), or wants no more of it.
pub(super) type Stopped = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send>>;

type Pending<T> = Pin<Box<dyn Future<Output = Result<T, ConnectionError>> + Send + Sync>>;

/// A connection.
pub(super) struct Transport {
    link: Arc<Link>,
    requests: Pending<(quinn::SendStream, quinn::RecvStream)>,
    received: Pending<quinn::RecvStream>,
    opening: Option<Pending<quinn::SendStream>>,
}

/// The parts of a connection that all of its streams use.
pub(super) struct Link {
    connection: quinn::Connection,
    state: Arc<ConnectionState>,
    /// Number of bytes that may wait for the client, or for its acknowledgement.
    window: AtomicU64,
    /// Maximum length of the fields of a request.
    header_size: usize,
    /// Whether no more requests are answered.
    draining: AtomicBool,
    /// The stream of the latest request, and when it is stopped, until they are taken.
    latest: Mutex<Option<(Arc<Stream>, Stopped)>>,
}

impl Link {
    pub(super) fn new(
        connection: quinn::Connection,
        state: Arc<ConnectionState>,
        header_size: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            connection,
            state,
            window: AtomicU64::new(0),
            header_size,
            draining: AtomicBool::new(false),
            latest: Mutex::default(),
        })
    }

    /// Has requests rejected from now on (RFC 9114 5.2).
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Returns how often the client has acknowledged anything.
    pub(super) fn acknowledgements(&self) -> u64 {
        self.connection.stats().frame_rx.acks
    }

    /// Returns how long the client and its answers are on their way.
    pub(super) fn round_trip(&self) -> Duration {
        self.connection.rtt()
    }

    /// Returns `true` if the connection has ended.
    pub(super) fn is_lost(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    /// Takes the stream of the request that was accepted last.
    pub(super) fn take_latest(&self) -> Option<(Arc<Stream>, Stopped)> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Records that QUIC has taken bytes for the client. Sets the window to the path's congestion window and 64 KiB: with less
    /// the path is not full, and more is memory without use.
    fn sent(&self, bytes: usize) {
        self.state.took(bytes);
        let before = self.window.load(Ordering::Relaxed);
        let wanted = (self.connection.stats().path.cwnd + STREAM_BUFFER_BYTES as u64).min(WINDOW_MAX);
        // It shrinks by at most half of the bytes, so that the client's next acknowledgements let writes through. The reaper
        // takes a client without writes for one that has stalled.
        let wanted = wanted.max(before.saturating_sub(bytes as u64 / 2));
        if wanted < before || wanted - before > before / 4 {
            self.window.store(wanted, Ordering::Relaxed);
            self.connection.set_send_window(wanted);
        }
    }
}

impl Transport {
    pub(super) fn new(link: Arc<Link>) -> Self {
        let (requests, received) = (requests(&link), received(&link));
        Self { link, requests, received, opening: None }
    }
}

fn requests(link: &Link) -> Pending<(quinn::SendStream, quinn::RecvStream)> {
    let connection = link.connection.clone();
    Box::pin(async move { connection.accept_bi().await })
}

fn received(link: &Link) -> Pending<quinn::RecvStream> {
    let connection = link.connection.clone();
    Box::pin(async move { connection.accept_uni().await })
}

impl quic::Connection<Bytes> for Transport {
    type RecvStream = Receiving;
    type OpenStreams = Self;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::RecvStream, ConnectionErrorIncoming>> {
        let accepted = ready!(self.received.as_mut().poll(cx));
        self.received = received(&self.link);
        let receiving = |stream| Receiving { stream, frames: Frames::new(INSTRUCTION_BYTES_MAX, true) };
        Poll::Ready(accepted.map(receiving).map_err(lost))
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::BidiStream, ConnectionErrorIncoming>> {
        let (send, receive) = loop {
            let accepted = ready!(self.requests.as_mut().poll(cx));
            self.requests = requests(&self.link);
            let (mut send, mut receive) = accepted.map_err(lost)?;
            if !self.link.draining.load(Ordering::Relaxed) {
                break (send, receive);
            }
            let rejected = var_int(Code::H3_REQUEST_REJECTED.value());
            // The client may have given it up.
            let _ = (send.reset(rejected), receive.stop(rejected));
        };
        let (watched, stopped): (_, Stopped) = (Arc::<Stream>::default(), Box::pin(send.stopped()));
        *self.link.latest.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Arc::clone(&watched), stopped));
        let mut sending = Sending::new(send, &self.link);
        sending.watched = Some(watched);
        let frames = Frames::new(2 * self.link.header_size + FRAME_BYTES, false);
        Poll::Ready(Ok(Exchange { sending, receiving: Receiving { stream: receive, frames } }))
    }

    fn opener(&self) -> Self::OpenStreams {
        Self::new(Arc::clone(&self.link))
    }
}

impl quic::OpenStreams<Bytes> for Transport {
    type BidiStream = Exchange;
    type SendStream = Sending;

    fn poll_open_bidi(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<Result<Self::BidiStream, StreamErrorIncoming>> {
        // RFC 9114 6.1: only clients open such streams.
        let error = ConnectionErrorIncoming::InternalError("a server opens no requests".to_owned());
        Poll::Ready(Err(StreamErrorIncoming::ConnectionErrorIncoming { connection_error: error }))
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::SendStream, StreamErrorIncoming>> {
        let opening = self.opening.get_or_insert_with(|| {
            let connection = self.link.connection.clone();
            Box::pin(async move { connection.open_uni().await })
        });
        let opened = ready!(opening.as_mut().poll(cx));
        self.opening = None;
        let stream = opened.map_err(|error| StreamErrorIncoming::ConnectionErrorIncoming {
            connection_error: lost(error),
        })?;
        Poll::Ready(Ok(Sending::new(stream, &self.link)))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.link.connection.close(var_int(code.value()), reason);
    }
}

/// The stream of a request and its response.
pub(super) struct Exchange {
    sending: Sending,
    receiving: Receiving,
}

impl quic::SendStream<Bytes> for Exchange {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.sending.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.sending.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.sending.poll_finish(cx)
    }

    fn reset(&mut self, reset_code: u64) {
        self.sending.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.sending.send_id()
    }
}

impl quic::RecvStream for Exchange {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.receiving.poll_data(cx)
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.receiving.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.receiving.recv_id()
    }
}

/// A stream of bytes to the client.
pub(super) struct Sending {
    stream: quinn::SendStream,
    link: Arc<Link>,
    /// The frame that is being sent.
    unsent: Option<WriteBuf<Bytes>>,
    /// Whether a frame was sent.
    is_begun: bool,
    /// The stream for the reaper, of a response.
    watched: Option<Arc<Stream>>,
}

impl Sending {
    fn new(stream: quinn::SendStream, link: &Arc<Link>) -> Self {
        Self { stream, link: Arc::clone(link), unsent: None, is_begun: false, watched: None }
    }
}

impl Drop for Sending {
    /// A stream without a response is reset. QUIC would end it as if it had one.
    fn drop(&mut self) {
        if !self.is_begun {
            let _ = self.stream.reset(var_int(Code::H3_REQUEST_INCOMPLETE.value()));
        }
    }
}

impl quic::SendStream<Bytes> for Sending {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(unsent) = self.unsent.as_mut().filter(|unsent| WriteBuf::has_remaining(unsent)) {
            let is_alone = self.link.state.waiting_streams() < 2;
            let bytes = unsent.chunk();
            let bytes = if is_alone { bytes } else { &bytes[..bytes.len().min(SHARE_BYTES)] };
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
            let written = written.map_err(unwritten)?;
            unsent.advance(written);
            self.link.sent(written);
            self.watched.iter().for_each(|stream| stream.give());
            if !is_alone && unsent.has_remaining() {
                // All wait for the same room. The one that is woken first would take it each time.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        self.unsent = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        debug_assert!(self.unsent.is_none(), "h3 waits until a frame is sent");
        self.unsent = Some(data.into());
        self.watched.iter().for_each(|stream| stream.give());
        self.is_begun = true;
        Ok(())
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        ready!(self.poll_ready(cx))?;
        Poll::Ready(self.stream.finish().map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, reset_code: u64) {
        self.is_begun = true;
        // It may have ended.
        let _ = self.stream.reset(var_int(reset_code));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

/// A stream of bytes from the client.
pub(super) struct Receiving {
    stream: quinn::RecvStream,
    frames: Frames,
}

impl quic::RecvStream for Receiving {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        loop {
            match self.frames.next() {
                Ok(None) => {}
                Ok(frame) => return Poll::Ready(Ok(frame)),
                Err(TooLong) => {
                    let code = Code::H3_EXCESSIVE_LOAD.value();
                    self.stop_sending(code);
                    return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code: code }));
                }
            }
            let mut buffer = [0; READ_BYTES];
            let length = ready!(self.stream.poll_read(cx, &mut buffer)).map_err(unread)?;
            if length == 0 {
                let rest = self.frames.rest();
                return Poll::Ready(Ok((!rest.is_empty()).then_some(rest)));
            }
            self.frames.receive(&buffer[..length]);
        }
    }

    fn stop_sending(&mut self, error_code: u64) {
        // It may have ended.
        let _ = self.stream.stop(var_int(error_code));
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

fn stream_id(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(u64::from(VarInt::from(id))).expect("both have 62 bits")
}

fn var_int(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

fn lost(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into_inner() }
        }
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

fn unread(error: ReadError) -> StreamErrorIncoming {
    match error {
        ReadError::Reset(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        ReadError::ConnectionLost(error) => {
            StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
        }
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}

fn unwritten(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        WriteError::ConnectionLost(error) => {
            StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
        }
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}
