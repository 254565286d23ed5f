//! Clients that go step by step, for tests in which the order of things matters.

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

use crate::client::Answer;
use crate::scripted::PATIENCE;

/// Many clients on one HTTP/2 connection. The gateway begins with what they ask in the order they ask it.
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

    /// Asks; the handle has the whole answer. A client leaves when its handle is aborted.
    pub(crate) fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> JoinHandle<Answer> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // Sent now, whenever the answer is looked at.
        let response = self.sender.send_request(request.body(Empty::new()).unwrap());
        let answer = async move {
            let (head, body) = response.await.expect("a response head").into_parts();
            let body = body.collect().await.expect("a whole response").to_bytes();
            Answer { status: head.status.as_u16(), headers: head.headers, body }
        };
        tokio::spawn(async move { timeout(PATIENCE, answer).await.expect("an answer in time") })
    }

    /// Waits until the gateway has begun with all that was asked so far.
    pub(crate) async fn begun(&mut self) {
        assert_eq!(self.get("/nowhere").await.unwrap().status, 404);
    }
}

/// A client on an HTTP/1.1 connection of its own that reads no more than it is told to.
pub(crate) struct Wire {
    socket: BufReader<TcpStream>,
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

    /// Connects and sends a GET. What is not read stays with the gateway, but for the 4 MB or so of sockets.
    pub(crate) async fn narrow(address: SocketAddr, path: &str) -> Self {
        Self::narrow_send(address, &plain_get(path)).await
    }

    /// The same with these bytes.
    pub(crate) async fn narrow_send(address: SocketAddr, request: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // More than a segment of the loopback interface, or every window would wait for a timer.
        socket.set_recv_buffer_size(128 * 1024).unwrap();
        Self::over(socket, address, request).await
    }

    async fn over(socket: TcpSocket, address: SocketAddr, request: &str) -> Self {
        let mut socket = socket.connect(address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        Self { socket: BufReader::new(socket) }
    }

    /// Where the client is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.get_ref().local_addr().unwrap()
    }

    /// Sends a further GET on the same connection.
    pub(crate) async fn get_again(&mut self, path: &str) {
        self.say(&plain_get(path)).await;
    }

    /// Sends further bytes on the same connection.
    pub(crate) async fn say(&mut self, bytes: &str) {
        self.socket.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// The next response head.
    pub(crate) async fn head(&mut self) -> Answer {
        let head = timeout(PATIENCE, read_head(&mut self.socket)).await.expect("a head in time");
        let head = head.expect("a response head");
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, headers: fields(lines), body: Bytes::new() }
    }

    /// So many further bytes.
    pub(crate) async fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = timeout(PATIENCE, self.socket.read_exact(&mut bytes)).await.expect("bytes in time");
        read.expect("so many bytes");
        bytes
    }

    /// All bytes until the connection is closed or breaks.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Closed or reset: what came before counts.
        let _ = timeout(PATIENCE, self.socket.read_to_end(&mut bytes)).await.expect("an end in time");
        bytes
    }
}

fn plain_get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}

/// Reads a message's head without the empty line at its end; `None` where the connection ends before.
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

/// Reads header fields, a line each.
pub(crate) fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').expect("a field");
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a field's name");
        fields.append(name, HeaderValue::from_bytes(value.trim().as_bytes()).expect("a field's value"));
    }
    fields
}
