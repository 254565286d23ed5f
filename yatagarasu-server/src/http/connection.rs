use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;

use super::activity::{Activity, AnsweringBody, Order};
use super::desk::Desk;
use super::express::ExpressLane;
use super::limits::{
    CONNECTION_BUFFER_BYTES, HEADER_LIST_BYTES, REQUEST_WINDOW_BYTES, STREAM_BUFFER_BYTES, STREAMS_MAX,
};
use super::watched::WatchedSocket;

/// Serves one client's connection, HTTP/1.1 or HTTP/2 with prior knowledge, until it ends or has to.
pub(crate) async fn serve(
    socket: TcpStream,
    desk: Arc<Desk>,
    notsent_lowat: Option<u32>,
    activity: Arc<Activity>,
) {
    // A connection that fails here is closed already: serving it will say so.
    let _ = socket.set_nodelay(true);
    if let Some(bytes) = notsent_lowat {
        bound_unsent(&socket, bytes);
    }
    let express = ExpressLane::new(Arc::clone(&desk));
    let service = service_fn({
        let activity = Arc::clone(&activity);
        move |request: http::Request<Incoming>| {
            let running = activity.begin();
            desk.answer(request).map(|response| {
                Ok::<_, Infallible>(response.map(|body| AnsweringBody { body, _running: running }))
            })
        }
    });
    let socket = WatchedSocket::new(socket, express, Arc::clone(&activity));
    let builder = builder();
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let mut draining = false;
    std::future::poll_fn(|cx| {
        let order = activity.poll_order(cx);
        // A client that says nothing, or a head byte by byte.
        if order == Order::Leave {
            return Poll::Ready(());
        }
        // A client that leaves, or a source that breaks off, ends the connection: the access log has it.
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // hyper does not know of what is sent beside it.
        if order == Order::Drain && !draining && !activity.is_sending() {
            draining = true;
            connection.as_mut().graceful_shutdown();
            return connection.as_mut().poll(cx).map(drop);
        }
        Poll::Pending
    })
    .await;
}

/// Bounds what the system takes before it has sent it, so that a client that reads slowly leaves it with us, and so
/// with S3.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn bound_unsent(socket: &TcpStream, bytes: u32) {
    // A system that does not know the option serves all the same, with more memory.
    let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(bytes);
}

/// Leaves it to the system, which has no such bound.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn bound_unsent(_socket: &TcpStream, _bytes: u32) {}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().header_read_timeout(None).max_buf_size(CONNECTION_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_send_buf_size(STREAM_BUFFER_BYTES)
        .initial_stream_window_size(REQUEST_WINDOW_BYTES)
        .initial_connection_window_size(REQUEST_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES);
    builder
}
