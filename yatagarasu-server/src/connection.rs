//! Client connections: the sockets, and everything between them and the answer to a request.
//!
//! [`admission`] decides which connections are served. [`serve`] runs one of them. Its [`opening`] reads what comes
//! before the first request, and gives the [`transport`]: TCP, or TLS over it. hyper speaks HTTP/1.1 and HTTP/2 over a
//! [`client_socket`]. Below hyper, the [`fast_path`] answers plain GETs of stored objects straight from the
//! bytes of the request, and [`splice`] moves streams from S3's socket to the client's past the process. The [`state`]
//! of a connection says what it waits for; the [`idle_reaper`] of the thread looks at it now and then and ends
//! connections that are idle or whose clients take nothing. Streams of HTTP/2 and HTTP/3 have a state of their own in
//! [`stream`]; [`http2_executor`] runs the tasks of the former. `http3` serves connections over QUIC. An
//! [`answering_body`] is a response body as hyper asks for it. [`limits`] bound what one connection may hold.

pub(crate) mod admission;
mod answering_body;
mod client_socket;
pub(crate) mod fast_path;
mod held;
mod http2_executor;
#[cfg(feature = "http3")]
pub(crate) mod http3;
pub(crate) mod idle_reaper;
pub(crate) mod limits;
pub(crate) mod opening;
mod splice;
pub(crate) mod state;
mod stream;
mod transport;

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::CONNECTION;
use http::{HeaderValue, Version};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::connection::admission::{Admission, Excess, Slot};
use crate::connection::answering_body::{AnsweringBody, Way};
use crate::connection::client_socket::ClientSocket;
use crate::connection::fast_path::FastPath;
use crate::connection::http2_executor::StreamExecutor;
use crate::connection::limits::{
    CONNECTION_BUFFER_BYTES, ConnectionLimits, FIELDS_MAX, REQUEST_WINDOW_BYTES, STREAM_BUFFER_BYTES,
    STREAMS_MAX,
};
use crate::connection::splice::SpliceWriter;
use crate::connection::splice::stream::SpliceStream;
use crate::connection::state::{ConnectionState, Order};
use crate::connection::stream::Stream;
use crate::connection::transport::Transport;
use crate::listener::terms::Terms;
use crate::service::body::ResponseBody;
use crate::service::handler::RequestHandler;

/// Serves one client's connection, HTTP/1.1 or HTTP/2, until it ends or has to end.
///
/// Not an `async fn`: its future would hold the arguments twice, and there are many connections.
pub(crate) fn serve(
    socket: TcpStream,
    handler: Arc<RequestHandler>,
    mut place: Place,
    state: Arc<ConnectionState>,
) -> impl Future<Output = ()> + use<> {
    // This fails only if the connection is closed, and serving it then ends at once.
    let _ = socket.set_nodelay(true);
    async move {
        let opened = opening::open(socket, &mut place, &state, handler.counters()).await;
        if let Some(transport) = opened {
            let writer = Arc::new(SpliceWriter::of(&transport, &place.limits));
            converse(transport, handler, place, writer, state).await;
        }
    }
}

/// What a connection may take.
pub(crate) struct Place {
    pub(crate) limits: Arc<ConnectionLimits>,
    /// The terms of its listener.
    pub(crate) terms: Arc<Terms>,
    /// The address of the peer.
    pub(crate) peer: IpAddr,
    pub(crate) slot: Slot,
    /// Why it is not served, if it is not. It gets a response that says so, and ends.
    pub(crate) unserved: Option<Unserved>,
    /// Bytes that were read and belong to the first request.
    pub(crate) received: Vec<u8>,
}

/// The reason why a connection is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// It exceeds a limit.
    Excess(Excess),
    /// Its proxy does not say who the client is.
    NotProxied,
    /// The client does not speak TLS.
    NotTls,
}

async fn converse(
    transport: Transport,
    handler: Arc<RequestHandler>,
    place: Place,
    writer: Arc<SpliceWriter>,
    state: Arc<ConnectionState>,
) {
    let (limits, admission) = (Arc::clone(&place.limits), Arc::clone(place.slot.admission()));
    let terms = Arc::clone(&place.terms);
    let begun = Instant::now();
    let builder = builder(StreamExecutor(Arc::clone(&state)), &limits);
    let fast_path = FastPath::new(Arc::clone(&handler), place, &state);
    let service = service_fn({
        let (state, writer, answering) = (Arc::clone(&state), Arc::clone(&writer), Arc::clone(&handler));
        move |request: http::Request<Incoming>| {
            let running = state.begin();
            if request.version() < Version::HTTP_2 && !request.body().is_end_stream() {
                state.note_content();
            }
            // Placeholders work over HTTP/1 only: HTTP/2 puts frames around the bytes.
            let way = if request.version() < Version::HTTP_2 {
                state.count(&limits);
                Way::Connection { stream: SpliceStream::new(Arc::clone(&writer)), version: request.version() }
            } else {
                let stream = Arc::<Stream>::default();
                if let Some(excess) = state.begin_stream(&stream, &limits, begun) {
                    turn_away(&state, &admission, excess);
                }
                // hyper spawns its task next.
                state.streams().inspect(|streams| *streams.begun() = Some(Arc::clone(&stream)));
                Way::Stream { stream, rest: Bytes::new() }
            };
            let version = request.version();
            answering
                .answer(request, state.handed(), state.client(), &limits.client_address, &terms.front)
                .map(move |mut response| {
                    if version < Version::HTTP_2 && running.state().is_last() {
                        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    let answering = |body: ResponseBody| {
                        match &way {
                            Way::Connection { .. } => running.state().held().set(body.held()),
                            Way::Stream { stream, .. } => stream.held().set(body.held()),
                        }
                        AnsweringBody::new(body, running, way)
                    };
                    Ok::<_, Infallible>(response.map(answering))
                })
        }
    });
    let socket = ClientSocket::new(transport, fast_path, writer, Arc::clone(&state));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let mut draining = false;
    std::future::poll_fn(|cx| {
        let order = state.poll_order(cx);
        // The client is idle, sends its request head too slowly, or takes nothing.
        if let Order::Leave | Order::Cut = order {
            return Poll::Ready(());
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            // Any other error means that the client has left or the source has failed. The access log has it.
            if let Some(error) = ended.err().and_then(|error| error.downcast::<hyper::Error>().ok())
                && error.is_parse()
            {
                handler.refused(error.is_parse_too_large(), state.client());
            }
            return Poll::Ready(());
        }
        // hyper does not know of the response that the fast path is sending: it must end first.
        if order == Order::Drain && !draining && !state.is_sending() {
            draining = true;
            connection.as_mut().graceful_shutdown();
            return connection.as_mut().poll(cx).map(drop);
        }
        Poll::Pending
    })
    .await;
}

/// Ends a connection whose client exceeds a limit with its streams.
fn turn_away(state: &ConnectionState, admission: &Admission, excess: Excess) {
    admission.note(excess, state.client());
    // Many streams may be honest: those that run end first.
    state.tell(if excess == Excess::Streams { Order::Drain } else { Order::Leave });
}

fn builder(executor: StreamExecutor, limits: &ConnectionLimits) -> Builder<StreamExecutor> {
    let mut builder = Builder::new(executor);
    // With `writev`, hyper queues the placeholders. It would otherwise copy their bytes.
    builder
        .http1()
        .header_read_timeout(None)
        .max_headers(FIELDS_MAX)
        .max_buf_size(limits.header_size.max(CONNECTION_BUFFER_BYTES))
        .writev(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_send_buf_size(STREAM_BUFFER_BYTES)
        .initial_stream_window_size(REQUEST_WINDOW_BYTES)
        .initial_connection_window_size(REQUEST_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(u32::MAX));
    builder
}
