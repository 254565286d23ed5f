//! Clients that a test drives step by step, if the order of events matters.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::client::Answer;
use crate::support::scripted::PATIENCE;

/// Many clients on one HTTP/2 connection. The gateway starts their requests in the order they were sent.
pub(crate) struct Crowd {
    sender: SendRequest<Empty<Bytes>>,
    address: SocketAddr,
}

impl Crowd {
    pub(crate) async fn gather(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, address }
    }

    pub(crate) fn get(&mut self, path: &str) -> JoinHandle<Answer> {
        self.ask("GET", path, &[])
    }

    /// Sends a request. The handle returns the whole response; aborting the handle makes the client leave.
    pub(crate) fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> JoinHandle<Answer> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // This sends the request now, even if the response is polled later.
        let response = self.sender.send_request(request.body(Empty::new()).unwrap());
        let answer = async move {
            let (head, body) = response.await.expect("a response head").into_parts();
            let body = body.collect().await.expect("a whole response").to_bytes();
            Answer { status: head.status.as_u16(), headers: head.headers, body }
        };
        tokio::spawn(async move { timeout(PATIENCE, answer).await.expect("an answer in time") })
    }

    /// Waits until the gateway has started all requests sent so far.
    pub(crate) async fn begun(&mut self) {
        assert_eq!(self.get("/nowhere").await.unwrap().status, 404);
    }
}

/// A client on an HTTP/1.1 connection of its own that reads only as much as it is told to.
pub(crate) struct Wire {
    pub(crate) socket: BufReader<TcpStream>,
}

impl Wire {
    /// Connects and sends a GET.
    pub(crate) async fn get(address: SocketAddr, path: &str) -> Self {
        Self::send(address, &plain_get(path)).await
    }

    /// Connects and sends these bytes.
    pub(crate) async fn send(address: SocketAddr, request: &str) -> Self {
        Self::over(TcpSocket::new_v4().unwrap(), address, request).await
    }

    /// Connects with a small receive buffer and sends a GET. Unread bytes stay with the gateway, except for about 4 MB
    /// in sockets.
    pub(crate) async fn narrow(address: SocketAddr, path: &str) -> Self {
        Self::narrow_send(address, &plain_get(path)).await
    }

    /// Connects with a small receive buffer and sends these bytes.
    pub(crate) async fn narrow_send(address: SocketAddr, request: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // More than a segment of the loopback interface, because every window would wait for a timer otherwise.
        socket.set_recv_buffer_size(128 * 1024).unwrap();
        Self::over(socket, address, request).await
    }

    async fn over(socket: TcpSocket, address: SocketAddr, request: &str) -> Self {
        let mut socket = socket.connect(address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        Self { socket: BufReader::new(socket) }
    }

    /// Returns the address of the client.
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.get_ref().local_addr().unwrap()
    }

    /// Sends another GET on the same connection.
    pub(crate) async fn get_again(&mut self, path: &str) {
        self.say(&plain_get(path)).await;
    }

    /// Sends more bytes on the same connection.
    pub(crate) async fn say(&mut self, bytes: &str) {
        self.socket.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Reads the next response head and returns it as an answer without content.
    pub(crate) async fn head(&mut self) -> Answer {
        let head = timeout(PATIENCE, read_head(&mut self.socket)).await.expect("a head in time");
        let head = head.expect("a response head");
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, headers: fields(lines), body: Bytes::new() }
    }

    /// Reads the next `length` bytes.
    pub(crate) async fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = timeout(PATIENCE, self.socket.read_exact(&mut bytes)).await.expect("bytes in time");
        read.expect("so many bytes");
        bytes
    }

    /// Reads all bytes until the connection is closed or breaks.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Closed or reset: the bytes before that count.
        let _ = timeout(PATIENCE, self.socket.read_to_end(&mut bytes)).await.expect("an end in time");
        bytes
    }
}

fn plain_get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}

/// Reads the head of a message, without the empty line at its end. Returns `None` if the connection ends before.
pub(crate) async fn read_head(socket: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_until(b'\n', &mut head).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    head.truncate(head.len() - 4);
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Parses header fields, one on each line.
pub(crate) fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').expect("a field");
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a field's name");
        fields.append(name, HeaderValue::from_bytes(value.trim().as_bytes()).expect("a field's value"));
    }
    fields
}
