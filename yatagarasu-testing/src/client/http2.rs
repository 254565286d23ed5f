//! Many requests on one HTTP/2 connection (RFC 9113), which a test drives step by step.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Response, request};
use crate::PATIENCE;

/// An HTTP/2 connection. The server starts its requests in the order they were sent.
#[derive(Debug)]
pub struct Http2 {
    sender: SendRequest<Empty<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
    address: SocketAddr,
}

impl Http2 {
    /// Connects with prior knowledge.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::handshake(&Builder::new(TokioExecutor::new()), address).await
    }

    /// Connects, and lets the server send `window` bytes of each stream before it must wait for the client.
    pub async fn with_window(address: SocketAddr, window: u32) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window).initial_connection_window_size(16 << 20);
        Self::handshake(&builder, address).await
    }

    async fn handshake(builder: &Builder<TokioExecutor>, address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.expect("the server accepts connections");
        let (sender, connection) = builder.handshake(TokioIo::new(socket)).await.expect("a handshake");
        #[expect(clippy::disallowed_methods, reason = "it ends with its requests and the sender")]
        let connection = tokio::spawn(connection);
        Self { sender, connection, address }
    }

    /// Sends a GET. The handle returns the whole response.
    pub fn get(&mut self, path: &str) -> JoinHandle<Response> {
        self.send("GET", path, &[])
    }

    /// Sends a request. The handle returns the whole response; aborting the handle makes the client leave.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> JoinHandle<Response> {
        let response = self.request(method, path, headers);
        let whole = async move {
            let response = response.await.expect("a response head");
            Response::read(response).await.expect("a whole response")
        };
        #[expect(clippy::disallowed_methods, reason = "it ends within `PATIENCE`")]
        tokio::spawn(async move { timeout(PATIENCE, whole).await.expect("a response in time") })
    }

    /// Sends a GET. The future returns the response with its body unread; dropping the body resets the stream.
    pub fn begin(
        &mut self,
        path: &str,
    ) -> impl Future<Output = hyper::Result<http::Response<Incoming>>> + use<> {
        self.request("GET", path, &[])
    }

    /// Sends a request at once, even if the returned future is polled later.
    fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> impl Future<Output = hyper::Result<http::Response<Incoming>>> + use<> {
        let request = request(method, format!("http://{}{path}", self.address), headers);
        self.sender.send_request(request.body(Empty::new()).expect("a test sends valid requests"))
    }

    /// Waits until the server has started all requests sent so far. It must have nothing at `/nowhere`.
    pub async fn begun(&mut self) {
        assert_eq!(self.get("/nowhere").await.expect("it is not aborted").status, 404);
    }

    /// Waits until the server closes the connection.
    pub async fn closed(self) {
        let ended = timeout(PATIENCE, self.connection).await.expect("the server closes the connection");
        // In order or not: both are an end.
        let _ = ended.expect("it is not aborted");
    }
}
