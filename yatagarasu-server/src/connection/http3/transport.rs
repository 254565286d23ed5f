//! The streams of a QUIC connection, as `h3` asks for them.
//!
//! They are made here, and not by `h3-quinn`, for three things that it does not give: when a client gives up a response,
//! or has all of it; how fast it takes bytes; and how many bytes may wait for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{ConnectionError, ReadError, StoppedError, VarInt, WriteError};

use crate::connection::limits::STREAM_BUFFER_BYTES;
use crate::connection::state::ConnectionState;

/// Bytes that are read at a time: a request head.
const READ_BYTES: usize = 2 * 1024;

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

/// What the streams of a connection share.
pub(super) struct Link {
    connection: quinn::Connection,
    state: Arc<ConnectionState>,
    /// Maximum number of bytes that wait for the client, or for its acknowledgement.
    window: AtomicU64,
    /// When the latest request's stream is stopped, until it is taken.
    latest: Mutex<Option<Stopped>>,
}

impl Link {
    pub(super) fn new(connection: quinn::Connection, state: Arc<ConnectionState>) -> Arc<Self> {
        Arc::new(Self { connection, state, window: AtomicU64::new(0), latest: Mutex::default() })
    }

    /// Returns `true` if the connection has ended.
    pub(super) fn is_lost(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    /// Takes the future of the request that was accepted last.
    pub(super) fn take_stopped(&self) -> Option<Stopped> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Records that the client has been sent bytes. What waits for it is what the path takes at a time, and a little more:
    /// with less the path is not full, and more is memory without use.
    fn sent(&self, bytes: usize) {
        self.state.took(bytes);
        let before = self.window.load(Ordering::Relaxed);
        let wanted = self.connection.stats().path.cwnd + STREAM_BUFFER_BYTES as u64;
        if wanted.abs_diff(before) > before / 4 {
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
        Poll::Ready(accepted.map(Receiving).map_err(lost))
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::BidiStream, ConnectionErrorIncoming>> {
        let accepted = ready!(self.requests.as_mut().poll(cx));
        self.requests = requests(&self.link);
        let (send, receive) = accepted.map_err(lost)?;
        let stopped: Stopped = Box::pin(send.stopped());
        *self.link.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(stopped);
        let sending = Sending { stream: send, link: Arc::clone(&self.link), unsent: None };
        Poll::Ready(Ok(Exchange { sending, receiving: Receiving(receive) }))
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
        Poll::Ready(Ok(Sending { stream, link: Arc::clone(&self.link), unsent: None }))
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
}

impl quic::SendStream<Bytes> for Sending {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(unsent) = self.unsent.as_mut().filter(|unsent| WriteBuf::has_remaining(unsent)) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, unsent.chunk()));
            let written = written.map_err(unwritten)?;
            unsent.advance(written);
            self.link.sent(written);
        }
        self.unsent = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        debug_assert!(self.unsent.is_none(), "h3 waits until a frame is sent");
        self.unsent = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        ready!(self.poll_ready(cx))?;
        Poll::Ready(self.stream.finish().map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, reset_code: u64) {
        // It may have ended.
        let _ = self.stream.reset(var_int(reset_code));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

/// A stream of bytes from the client.
pub(super) struct Receiving(quinn::RecvStream);

impl quic::RecvStream for Receiving {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let mut buffer = BytesMut::zeroed(READ_BYTES);
        let length = ready!(self.0.poll_read(cx, &mut buffer)).map_err(unread)?;
        buffer.truncate(length);
        Poll::Ready(Ok((length > 0).then(|| buffer.freeze())))
    }

    fn stop_sending(&mut self, error_code: u64) {
        // It may have ended.
        let _ = self.0.stop(var_int(error_code));
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.0.id())
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
