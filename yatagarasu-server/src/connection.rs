//! Client connections: the sockets, and everything between them and the answer to a request.
//!
//! [`admission`] decides which connections are served. [`serve`] runs one of them. Its [`opening`] reads what comes
//! before the first request, and gives the [`transport`]: TCP, or TLS over it. hyper speaks HTTP/1.1 over a
//! [`client_socket`]. Below hyper, the [`fast_path`] answers plain GETs of stored objects straight from the
//! bytes of the request, and [`splice`] moves streams from S3's socket to the client's past the process. [`http2`] takes
//! the socket over if the client begins with the preface of HTTP/2, and `http3` serves connections over QUIC. The [`state`]
//! of a connection says what it waits for; the [`idle_reaper`] of the thread looks at it now and then and ends
//! connections that are idle or whose clients take nothing. Streams of HTTP/2 and HTTP/3 have a state of their own in
//! [`stream`]. An [`answering_body`] is a response body as all of them ask for it. [`limits`] bound what one connection may
//! hold.

pub(crate) mod admission;
mod answering_body;
mod client_socket;
pub(crate) mod fast_path;
mod held;
mod http2;
#[cfg(feature = "http3")]
pub(crate) mod http3;
pub(crate) mod idle_reaper;
pub(crate) mod limits;
pub(crate) mod opening;
pub(crate) mod splice;
pub(crate) mod state;
mod stream;
mod transport;

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::FutureExt;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::connection::admission::{Admission, Excess, Slot};
use crate::connection::answering_body::{AnsweringBody, Way};
use crate::connection::client_socket::ClientSocket;
use crate::connection::fast_path::FastPath;
use crate::connection::limits::{CONNECTION_BUFFER_BYTES, ConnectionLimits, FIELDS_MAX};
use crate::connection::splice::SpliceWriter;
use crate::connection::splice::stream::SpliceStream;
use crate::connection::state::{ConnectionState, Order};
use crate::connection::transport::Transport;
use crate::listener::terms::Terms;
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

/// What all requests of a connection use.
struct Conversation {
    handler: Arc<RequestHandler>,
    limits: Arc<ConnectionLimits>,
    admission: Arc<Admission>,
    terms: Arc<Terms>,
    state: Arc<ConnectionState>,
    begun: Instant,
}

async fn converse(
    transport: Transport,
    handler: Arc<RequestHandler>,
    place: Place,
    writer: Arc<SpliceWriter>,
    state: Arc<ConnectionState>,
) {
    let conversation = Arc::new(Conversation {
        handler: Arc::clone(&handler),
        limits: Arc::clone(&place.limits),
        admission: Arc::clone(place.slot.admission()),
        terms: Arc::clone(&place.terms),
        state: Arc::clone(&state),
        begun: Instant::now(),
    });
    let fast_path = FastPath::new(handler, place, &state);
    let mut socket = ClientSocket::new(transport, fast_path, Arc::clone(&writer), state);
    if conversation.answer_plain(&mut socket).await.is_break() {
        return;
    }
    // Boxed, because many connections have plain requests only.
    if conversation.state.streams().is_some() {
        Box::pin(http2::serve(socket, conversation)).await;
    } else {
        Box::pin(conversation.serve_http1(socket, writer)).await;
    }
}

impl Conversation {
    /// Lets the fast path answer requests until there is one that it does not answer, or the server stops. Returns
    /// `Break` if the connection ends before.
    ///
    /// hyper comes later, because it allocates 16 KiB of buffers at once.
    async fn answer_plain(&self, socket: &mut ClientSocket) -> ControlFlow<()> {
        poll_fn(|cx| {
            let order = self.state.poll_order(cx);
            if let Order::Leave | Order::Cut = order {
                return Poll::Ready(ControlFlow::Break(()));
            }
            match socket.poll_plain(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(ControlFlow::Continue(())),
                Poll::Ready(Err(_)) => Poll::Ready(ControlFlow::Break(())),
                // After the response that was on its way, if there was one.
                Poll::Pending if order == Order::Drain && !self.state.is_sending() => {
                    Poll::Ready(ControlFlow::Continue(()))
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Serves requests over HTTP/1 by hyper.
    async fn serve_http1(&self, socket: ClientSocket, writer: Arc<SpliceWriter>) {
        let service = service_fn(|request| self.answer(request, &writer));
        let mut connection = builder(&self.limits).serve_connection(TokioIo::new(socket), service);
        let mut draining = false;
        poll_fn(|cx| {
            let order = self.state.poll_order(cx);
            // The client is idle, sends its request head too slowly, or takes nothing.
            if let Order::Leave | Order::Cut = order {
                return Poll::Ready(());
            }
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                // Any other error means that the client has left or the source has failed. The access log has it.
                if let Some(error) = ended.err()
                    && error.is_parse()
                {
                    self.handler.refused(error.is_parse_too_large(), self.state.client());
                }
                return Poll::Ready(());
            }
            // hyper does not know of the response that the fast path is sending: it must end first.
            if order == Order::Drain && !draining && !self.state.is_sending() {
                draining = true;
                Pin::new(&mut connection).graceful_shutdown();
                return Pin::new(&mut connection).poll(cx).map(drop);
            }
            Poll::Pending
        })
        .await;
    }

    /// Answers a request over HTTP/1 that the fast path has left to hyper.
    fn answer(
        &self,
        request: Request<Incoming>,
        writer: &Arc<SpliceWriter>,
    ) -> impl Future<Output = Result<Response<AnsweringBody>, Infallible>> + use<> {
        let Self { handler, limits, state, terms, .. } = self;
        let running = state.begin();
        if !request.body().is_end_stream() {
            state.note_content();
        }
        state.count(limits);
        let stream = SpliceStream::new(Arc::clone(writer));
        let way = Way::Connection { stream, version: request.version() };
        handler.answer(request, state.handed(), state.client(), &limits.client_address, &terms.front).map(
            move |mut response| {
                if running.state().is_last() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok(response.map(|body| {
                    running.state().held().set(body.held());
                    AnsweringBody::new(body, running, way)
                }))
            },
        )
    }
}

/// Ends a connection whose client exceeds a limit with its streams.
fn turn_away(state: &ConnectionState, admission: &Admission, excess: Excess) {
    admission.note(excess, state.client());
    // Many streams may be honest: those that run end first.
    state.tell(if excess == Excess::Streams { Order::Drain } else { Order::Leave });
}

fn builder(limits: &ConnectionLimits) -> Builder {
    let mut builder = Builder::new();
    // With `writev`, hyper queues the placeholders. It would otherwise copy their bytes.
    builder
        .header_read_timeout(None)
        .max_headers(FIELDS_MAX)
        .max_buf_size(limits.header_size.max(CONNECTION_BUFFER_BYTES))
        .writev(true);
    builder
}
