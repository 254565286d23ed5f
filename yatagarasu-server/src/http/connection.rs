use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::front::Front;
use super::limits::{CONNECTION_BUFFER_BYTES, HEADER_LIST_BYTES, STREAM_BUFFER_BYTES, STREAMS_MAX};

/// Serves one client's connection, HTTP/1.1 or HTTP/2 with prior knowledge, until it ends or `stop` turns true and
/// its running responses have ended.
pub(crate) async fn serve(
    socket: TcpStream,
    front: Arc<Front>,
    header_timeout: Duration,
    mut stop: watch::Receiver<bool>,
) {
    // A connection that fails here is closed already: serving it will say so.
    let _ = socket.set_nodelay(true);
    let spoken = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let spoken = Arc::clone(&spoken);
        move |request: http::Request<Incoming>| {
            spoken.store(true, Ordering::Relaxed);
            let front = Arc::clone(&front);
            async move { Ok::<_, Infallible>(front.answer(request).await) }
        }
    });
    let builder = builder(header_timeout);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    // hyper's own timer begins once it knows the protocol, which takes a first byte.
    let mut silence = pin!(tokio::time::sleep(header_timeout));
    let mut stopping = false;
    loop {
        tokio::select! {
            // A client that leaves, or a source that breaks off, ends the connection: the access log has it.
            _ = connection.as_mut() => return,
            () = silence.as_mut(), if !silence.is_elapsed() => {
                if !spoken.load(Ordering::Relaxed) {
                    return;
                }
            }
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn builder(header_timeout: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(CONNECTION_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_send_buf_size(STREAM_BUFFER_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES);
    builder
}
