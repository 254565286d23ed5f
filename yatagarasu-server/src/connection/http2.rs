//! Connections of HTTP/2: requests over the streams of one connection.
//!
//! [`serve`] takes the requests of a connection. A response that is there at once, as a hit is, goes out in the task of
//! the connection, with the others that were asked for together. A response that has to wait, for S3 or for its client,
//! gets a task of its own. `h2` reads and writes the frames, and [`output`] sends them together.
//!
//! hyper's server for HTTP/2 does less: it hands a piece to `h2` as soon as the window covers one byte of it, so that nobody
//! sees whether the client takes the rest, and it has a task for each stream.

mod output;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::Either;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response};
use http_body::Body;

use crate::connection::answering_body::{AnsweringBody, Way, complete};
use crate::connection::client_socket::ClientSocket;
use crate::connection::http2::output::Output;
use crate::connection::limits::{REQUEST_WINDOW_BYTES, STREAM_BUFFER_BYTES, STREAMS_MAX};
use crate::connection::state::{InFlight, Order};
use crate::connection::stream::Stream;
use crate::connection::{Conversation, turn_away};
use crate::service::body::ResponseBody;
use crate::telemetry::counters::Multiplexed;

/// Serves a client that has sent the preface of HTTP/2, until its connection ends or has to end.
pub(super) async fn serve(mut socket: ClientSocket, conversation: Arc<Conversation>) {
    socket.pass_all();
    let _speaking = conversation.handler.counters().speaks(Multiplexed::Http2);
    let limits = &conversation.limits;
    let mut builder = Builder::new();
    builder
        .max_send_buffer_size(STREAM_BUFFER_BYTES)
        .initial_window_size(REQUEST_WINDOW_BYTES)
        .initial_connection_window_size(REQUEST_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(u32::MAX));
    let output = Output::new(socket);
    let connection = unless_left(&conversation, builder.handshake(output.clone())).await;
    // An error means that the client has left.
    let Some(Ok(connection)) = connection else { return };
    let mut serving =
        Serving { conversation: Arc::clone(&conversation), connection, output, begun_after_goaway: None };
    unless_left(&conversation, poll_fn(|cx| serving.poll(cx))).await;
}

/// Runs `conversing`. Returns `None` if the connection is told to end at once, not if it is told to drain.
async fn unless_left<T>(conversation: &Conversation, conversing: impl Future<Output = T>) -> Option<T> {
    let mut conversing = pin!(conversing);
    poll_fn(|cx| match conversation.state.poll_order(cx) {
        Order::Leave | Order::Cut => Poll::Ready(None),
        Order::Serve | Order::Last | Order::Drain => conversing.as_mut().poll(cx).map(Some),
    })
    .await
}

/// A connection that takes requests.
struct Serving {
    conversation: Arc<Conversation>,
    connection: Connection<Output<ClientSocket>, Bytes>,
    output: Output<ClientSocket>,
    /// Number of requests that have begun since the client was told to begin no more, if it was.
    begun_after_goaway: Option<u32>,
}

impl Serving {
    /// Begins requests and sends responses until the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ended = self.poll_requests(cx);
        match self.output.poll_send(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(())) | Poll::Pending => ended,
        }
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { conversation, connection, begun_after_goaway, .. } = self;
        if conversation.state.is_draining() && begun_after_goaway.is_none() {
            *begun_after_goaway = Some(0);
            connection.graceful_shutdown();
        }
        for _ in 0..STREAMS_MAX {
            let Some(Ok((request, respond))) = ready!(connection.poll_accept(cx)) else {
                return Poll::Ready(());
            };
            // Requests that were on their way may come. A client that goes on does not heed it.
            if let Some(begun) = begun_after_goaway {
                *begun += 1;
                if *begun > STREAMS_MAX {
                    conversation.state.tell(Order::Leave);
                }
            }
            conversation.begin(request, respond, cx);
        }
        // The other connections of the thread have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Conversation {
    /// Begins a request, and answers it if that takes no wait.
    #[expect(clippy::disallowed_methods, reason = "ends with its stream, or with the connection")]
    fn begin(
        self: &Arc<Self>,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        cx: &mut Context<'_>,
    ) {
        let running = self.state.begin();
        let stream = Arc::<Stream>::default();
        if let Some(excess) = self.state.begin_stream(&stream, &self.limits, self.begun) {
            turn_away(&self.state, &self.admission, excess);
        }
        let method = request.method().clone();
        let exchange = Exchange { respond, method, running, stream: Arc::clone(&stream) };
        let (rules, front) = (&self.limits.client_address, &self.terms.front);
        match self.handler.answer(request, None, self.state.client(), rules, front) {
            Either::Left(response) => {
                let Some(mut sending) = exchange.send(response.into_inner()) else { return };
                if sending.poll(cx).is_pending() {
                    tokio::spawn(until_cut(stream, async move { poll_fn(|cx| sending.poll(cx)).await }));
                }
            }
            Either::Right(answering) => {
                tokio::spawn(until_cut(stream, exchange.answer(answering)));
            }
        }
    }
}

/// Runs the rest of a stream until it has ended or is cut. Dropping it resets the stream.
async fn until_cut(stream: Arc<Stream>, rest: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = rest => {}
        () = stream.until_cut() => {}
    }
}

/// A request whose response has not begun.
struct Exchange {
    respond: SendResponse<Bytes>,
    method: Method,
    running: InFlight,
    stream: Arc<Stream>,
}

impl Exchange {
    /// Waits for the response and sends it, unless the client resets the stream before.
    async fn answer(mut self, answering: impl Future<Output = Response<ResponseBody>>) {
        let response = tokio::select! {
            biased;
            response = answering => response,
            _ = poll_fn(|cx| self.respond.poll_reset(cx)) => return,
        };
        if let Some(mut sending) = self.send(response) {
            poll_fn(|cx| sending.poll(cx)).await;
        }
    }

    /// Sends the head of the response. Returns its body, or `None` if it has none or the stream is reset.
    fn send(mut self, response: Response<ResponseBody>) -> Option<Sending> {
        let (mut head, body) = response.into_parts();
        self.stream.held().set(body.held());
        let way = Way::Stream { stream: self.stream, rest: Bytes::new() };
        let body = AnsweringBody::new(body, self.running, way);
        complete(&mut head, &body, &self.method);
        let ended = body.is_end_stream();
        let stream = self.respond.send_response(Response::from_parts(head, ()), ended).ok()?;
        (!ended).then_some(Sending { stream, body, piece: Bytes::new() })
    }
}

/// The body of a response on its way out.
struct Sending {
    stream: SendStream<Bytes>,
    body: AnsweringBody,
    /// What is left of a piece that waits for the client's windows.
    piece: Bytes,
}

impl Sending {
    /// Sends pieces until the body has ended or the client has reset the stream.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let sent = self.poll_send(cx);
        if sent.is_pending() && self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(());
        }
        sent.map(drop)
    }

    /// Sends pieces until the body has ended. Returns an error if the stream has ended before.
    ///
    /// `h2` gets no byte that the client's windows do not cover. It would keep it after the response has ended here, and
    /// nobody would see that its client takes it slowly or not at all.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            while !self.piece.is_empty() {
                let capacity = self.stream.capacity();
                if capacity == 0 {
                    match ready!(self.stream.poll_capacity(cx)) {
                        Some(capacity) => drop(capacity?),
                        None => return Poll::Ready(Ok(())),
                    }
                    continue;
                }
                let part = self.piece.split_to(capacity.min(self.piece.len()));
                let ended = self.piece.is_empty() && self.body.is_end_stream();
                self.stream.send_data(part, ended)?;
                if ended {
                    return Poll::Ready(Ok(()));
                }
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    self.piece = frame.into_data().unwrap_or_default();
                    self.stream.reserve_capacity(self.piece.len());
                }
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(Ok(()));
                }
                None => return Poll::Ready(self.stream.send_data(Bytes::new(), true)),
            }
        }
    }
}
