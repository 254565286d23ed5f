//! Connections of HTTP/3: requests over the streams of QUIC.
//!
//! [`serve`] makes the handshake, takes the requests of one connection, and answers each one in a task of its own. The
//! [`RequestHandler`], the state for the reaper and the limits are those of other versions. `h3` reads and writes frames,
//! over the streams of [`transport`]. [`frames`] bounds the memory of frames that are incomplete. A stream that breaks off
//! is reset, so that no client takes a part for the whole.

mod frames;
mod transport;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h3::error::{Code, StreamError};
use h3::server::{Connection, RequestResolver, RequestStream};
use http::header::{CONNECTION, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};
use http_body::Body;
use quinn::{Incoming, VarInt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::connection::answering_body::{AnsweringBody, Way, complete};
use crate::connection::http3::transport::{Exchange, Link, Stopped, Transport};
use crate::connection::limits::FIELDS_MAX;
use crate::connection::opening::{Ending, until_told};
use crate::connection::state::{ConnectionState, Order};
use crate::connection::stream::Stream;
use crate::connection::{Place, turn_away};
use crate::listener::quic::Arrival;
use crate::service::handler::RequestHandler;
use crate::telemetry::counters::{Handshake, Multiplexed};

/// Fields about a connection, which no request has over HTTP/3 (RFC 9114 4.2).
const OF_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Maximum length of the fields of a request, as they are counted (RFC 9114 4.2.2): each field counts as 32 bytes at
/// least, and a map takes 24,576 of them.
const SECTION_BYTES_MAX: usize = 24_000 * 32;

/// Minimum time limit for the last bytes of a response: one congestion window of them.
const TAIL: Duration = Duration::from_secs(10);

/// Number of such time limits for a client that acknowledges bytes within each.
const TAILS_MAX: u32 = 8;

/// Longest wait for requests that a client has sent before it knows that it has to go elsewhere.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// Serves one client's connection until it ends or has to end.
pub(crate) async fn serve(
    arrival: Arrival,
    handler: Arc<RequestHandler>,
    place: Place,
    state: Arc<ConnectionState>,
) {
    let Arrival { incoming, registered, unproven } = arrival;
    state.identify(place.peer.to_canonical());
    let _speaking = handler.counters().speaks(Multiplexed::Http3);
    let Some(config) = place.terms.tls.as_ref().and_then(|tls| tls.quic.clone()) else {
        return incoming.refuse();
    };
    let mut end = Ending { counters: handler.counters(), end: Handshake::Failed };
    let opened = until_told(&state, async {
        match shake_hands(incoming, config, place.limits.header_size, &state).await {
            Ok(opened) => Some(opened),
            Err(error) => {
                tracing::debug!(client = %state.client(), %error, "a QUIC handshake has failed");
                None
            }
        }
    });
    let Some((connection, link, mut requests)) = opened.await else { return };
    end.end = Handshake::Quic;
    // The client has answered from its address.
    drop((end, unproven));
    registered.open(&connection);
    let conversation = Conversation { handler, place, state, begun: Instant::now(), link };
    let code = converse(&mut requests, Arc::new(conversation)).await;
    connection.close(VarInt::from_u64(code.value()).expect("codes are short"), b"");
}

async fn shake_hands(
    incoming: Incoming,
    config: Arc<quinn::ServerConfig>,
    header_size: usize,
    state: &Arc<ConnectionState>,
) -> anyhow::Result<(quinn::Connection, Arc<Link>, Connection<Transport, Bytes>)> {
    let connection = incoming.accept_with(config)?.await?;
    let link = Link::new(connection.clone(), Arc::clone(state), header_size);
    let mut builder = h3::server::builder();
    let section_max = header_size.min(SECTION_BYTES_MAX) as u64;
    builder.max_field_section_size(section_max).send_grease(false);
    let requests = builder.build(Transport::new(Arc::clone(&link))).await?;
    Ok((connection, link, requests))
}

/// The parts of a connection that all of its requests use.
struct Conversation {
    handler: Arc<RequestHandler>,
    place: Place,
    state: Arc<ConnectionState>,
    begun: Instant,
    link: Arc<Link>,
}

/// Answers requests until the connection ends or has to end. Returns the code to close it with.
async fn converse(requests: &mut Connection<Transport, Bytes>, conversation: Arc<Conversation>) -> Code {
    let link = &conversation.link;
    let mut answers = JoinSet::new();
    let mut draining = false;
    loop {
        tokio::select! {
            order = told(&conversation.state, draining) => {
                if order != Order::Drain {
                    return if order == Order::Cut { Code::H3_EXCESSIVE_LOAD } else { Code::H3_NO_ERROR };
                }
                // The client goes elsewhere with its next requests. Those that run end first.
                draining = true;
                link.drain();
                tokio::select! {
                    // The first request that is not answered is the one after the last (RFC 9114 5.2).
                    sent = requests.shutdown(1) => if sent.is_err() { return Code::H3_NO_ERROR },
                    _ = told(&conversation.state, true) => return Code::H3_NO_ERROR,
                }
            }
            accepted = requests.accept() => match accepted {
                // Requests may have come before the end.
                Ok(Some(_)) if link.is_lost() => return Code::H3_NO_ERROR,
                Ok(Some(request)) => {
                    let (stream, stopped) = link.take_latest().expect("the stream of the request");
                    let Conversation { place, state, begun, .. } = &*conversation;
                    if let Some(excess) = state.begin_stream(&stream, &place.limits, *begun) {
                        turn_away(state, place.slot.admission(), excess);
                    }
                    answers.spawn(exchange(request, stopped, stream, Arc::clone(&conversation)));
                }
                // The client has left, or is about to and has all responses.
                Ok(None) | Err(_) => return Code::H3_NO_ERROR,
            },
            Some(_) = answers.join_next() => {}
            () = async { sleep(LINGER_MAX.min(3 * link.round_trip())).await }, if draining && answers.is_empty() => {
                return Code::H3_NO_ERROR;
            }
        }
    }
}

/// Waits for an order to end: at once, or after the running requests if the connection is not `draining` yet.
async fn told(state: &ConnectionState, draining: bool) -> Order {
    poll_fn(|cx| match state.poll_order(cx) {
        order @ (Order::Leave | Order::Cut) => Poll::Ready(order),
        order @ Order::Drain if !draining => Poll::Ready(order),
        Order::Serve | Order::Last | Order::Drain => Poll::Pending,
    })
    .await
}

/// Answers one request.
async fn exchange(
    resolver: RequestResolver<Transport, Bytes>,
    mut stopped: Stopped,
    watched: Arc<Stream>,
    conversation: Arc<Conversation>,
) {
    let Conversation { handler, place, state, .. } = &*conversation;
    let read = timeout(place.limits.header_timeout, resolver.resolve_request()).await;
    // A stream without a request counts as one that its client has reset.
    let running = state.begin();
    let Ok(read) = read else { return };
    let (request, mut stream) = match read {
        Ok((request, stream)) => (request, ResponseStream { stream, ended: false }),
        Err(
            StreamError::HeaderTooBig { .. }
            | StreamError::RemoteTerminate { code: Code::H3_EXCESSIVE_LOAD, .. },
        ) => {
            return handler.refused(true, state.client());
        }
        Err(StreamError::StreamError { .. }) => return handler.refused(false, state.client()),
        // The client has left.
        Err(_) => return,
    };
    if has_field_of_connection(request.headers()) {
        handler.refused(false, state.client());
        return stream.reset(Code::H3_MESSAGE_ERROR);
    }
    if request.headers().len() > FIELDS_MAX {
        handler.refused(true, state.client());
        let refusing = stream.refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        // The client may not take it.
        let _ = timeout(TAIL, refusing).await;
        return;
    }
    let method = request.method().clone();
    let answering = async {
        let rules = &place.limits.client_address;
        let response =
            handler.answer(request, None, state.client(), rules, &place.terms.front).await.map(|body| {
                watched.held().set(body.held());
                let way = Way::Stream { stream: Arc::clone(&watched), rest: Bytes::new() };
                Box::pin(AnsweringBody::new(body, running, way))
            });
        send(response, &method, &mut stream, state).await
    };
    let sent = tokio::select! {
        biased;
        sent = answering => sent,
        _ = until_gone(&mut stopped, &watched) => None,
    };
    // The entry of the access log is complete, and the connection may end, when the client has the last byte.
    if let Some(_body) = sent {
        stream.ended = conversation.until_taken(&mut stopped, &watched).await;
    }
}

impl Conversation {
    /// Waits until the client has the last bytes of a response, one congestion window of them. Returns whether it has.
    async fn until_taken(&self, stopped: &mut Stopped, stream: &Stream) -> bool {
        let Some(limit) = self.place.limits.send_timeout else { return until_gone(stopped, stream).await };
        for _ in 0..TAILS_MAX {
            let before = self.link.acknowledgements();
            match timeout(limit.max(TAIL), until_gone(stopped, stream)).await {
                Ok(whole) => return whole,
                Err(_) if self.link.acknowledgements() > before => {}
                Err(_) => break,
            }
        }
        stream.cut();
        self.handler.counters().timed_out(1);
        false
    }
}

/// Waits until the client has all bytes, wants no more, or takes nothing for too long. Returns whether it has them.
async fn until_gone(stopped: &mut Stopped, stream: &Stream) -> bool {
    tokio::select! {
        stopped = stopped => matches!(stopped, Ok(None)),
        () = stream.until_cut() => false,
    }
}

/// Returns `true` if a request has a field that none has over HTTP/3.
fn has_field_of_connection(fields: &HeaderMap) -> bool {
    OF_CONNECTION.iter().any(|name| fields.contains_key(name))
        || fields.get_all(TE).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"trailers"))
}

type Answer = Pin<Box<AnsweringBody>>;

/// Sends a response. Returns its body if all of it was sent. Dropping that completes the entry of the access log.
async fn send(
    response: Response<Answer>,
    method: &Method,
    stream: &mut ResponseStream,
    state: &ConnectionState,
) -> Option<Answer> {
    let (mut head, mut body) = response.into_parts();
    complete(&mut head, &body, method);
    let waits = state.wait_for_client();
    stream.stream.send_response(Response::from_parts(head, ())).await.ok()?;
    drop(waits);
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(bytes) = frame.ok()?.into_data() else { continue };
        let _waits = state.wait_for_client();
        stream.stream.send_data(bytes).await.ok()?;
    }
    stream.finish().await.ok()?;
    Some(body)
}

/// The stream of a response. Dropped before the client has all of it, it is reset: without that, QUIC would end it as if it
/// were whole. `h3` counts its request as running until then.
struct ResponseStream {
    stream: RequestStream<Exchange, Bytes>,
    ended: bool,
}

impl ResponseStream {
    /// Writes the end of a response that is whole.
    async fn finish(&mut self) -> Result<(), StreamError> {
        // RFC 9114 4.1: the rest of the request is not needed.
        self.stream.stop_sending(Code::H3_NO_ERROR);
        self.stream.finish().await
    }

    /// Answers with nothing but a status.
    async fn refuse(mut self, status: StatusCode) {
        let mut response = Response::new(());
        *response.status_mut() = status;
        self.ended = self.stream.send_response(response).await.is_ok() && self.finish().await.is_ok();
    }

    /// Answers with nothing but an error.
    fn reset(mut self, code: Code) {
        self.stream.stop_sending(code);
        self.stream.stop_stream(code);
        self.ended = true;
    }
}

impl Drop for ResponseStream {
    fn drop(&mut self) {
        if !self.ended {
            self.stream.stop_sending(Code::H3_NO_ERROR);
            self.stream.stop_stream(Code::H3_INTERNAL_ERROR);
        }
    }
}
