use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::activity::{Activity, AnsweringBody};
use super::front::Front;
use super::limits::{
    CONNECTION_BUFFER_BYTES, ConnectionLimits, HEADER_LIST_BYTES, STREAM_BUFFER_BYTES, STREAMS_MAX,
};
use super::watched::WatchedSocket;

/// Serves one client's connection, HTTP/1.1 or HTTP/2 with prior knowledge, until it ends or `stop` turns true and
/// its running responses have ended.
pub(crate) async fn serve(
    socket: TcpStream,
    front: Arc<Front>,
    limits: ConnectionLimits,
    mut stop: watch::Receiver<bool>,
) {
    // A connection that fails here is closed already: serving it will say so.
    let _ = socket.set_nodelay(true);
    if let Some(bytes) = limits.notsent_lowat {
        bound_unsent(&socket, bytes);
    }
    let activity = Activity::new();
    let service = service_fn({
        let activity = Arc::clone(&activity);
        move |request: http::Request<Incoming>| {
            let (front, running) = (Arc::clone(&front), activity.begin());
            async move {
                let response = front.answer(request).await;
                Ok::<_, Infallible>(response.map(|body| AnsweringBody { body, _running: running }))
            }
        }
    });
    let socket = WatchedSocket::new(socket, Arc::clone(&activity));
    let builder = builder();
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let mut idle = pin!(activity.idle_for(limits.header_timeout));
    let mut stopping = false;
    loop {
        tokio::select! {
            // A client that leaves, or a source that breaks off, ends the connection: the access log has it.
            _ = connection.as_mut() => return,
            // A client that says nothing, or a head byte by byte.
            () = idle.as_mut() => return,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
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
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES);
    builder
}
