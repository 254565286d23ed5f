//! What hyper makes of the bytes of a client.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;

use crate::connection::limits::FIELDS_MAX;

/// Returns the methods and targets of the requests that hyper gives to a service on a connection with these bytes.
pub(super) fn heard(bytes: &[u8]) -> Vec<(String, String)> {
    let heard = RefCell::new(Vec::new());
    let service = service_fn(|request: Request<Incoming>| {
        heard.borrow_mut().push((request.method().to_string(), request.uri().to_string()));
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_headers(FIELDS_MAX);
    // It waits for nothing: all bytes are there, and it takes turns only to let others run.
    let mut connection = pin!(builder.serve_connection(Client(bytes.to_vec()), service));
    for _ in 0..8 {
        if connection.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            break;
        }
    }
    heard.take()
}

/// A client that has sent these bytes and sends no more.
struct Client(Vec<u8>);

impl Read for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.0.len().min(to.remaining());
        if count == 0 {
            return Poll::Pending;
        }
        to.put_slice(&self.0[..count]);
        self.0.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl Write for Client {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
