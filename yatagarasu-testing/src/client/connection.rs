//! An HTTP/1.1 connection of which a test sends and reads as much as it wants.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy, sink};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::Response;
use crate::PATIENCE;
use crate::message::{fields, first_line, read_head};

/// Bytes that the receive buffer of a narrow client holds. It is more than a segment of the loopback interface, because
/// every window would wait for a timer otherwise.
const NARROW: u32 = 128 * 1024;

/// A connection that reads only as much as it is told to.
#[derive(Debug)]
pub struct Connection {
    /// The socket, and the bytes that were read from it and not taken yet.
    pub socket: BufReader<TcpStream>,
}

impl Connection {
    /// Connects and sends a GET.
    pub async fn get(address: SocketAddr, path: &str) -> Self {
        Self::send(address, plain_get(path)).await
    }

    /// Connects, sends a GET and reads the response head.
    pub async fn begin(address: SocketAddr, path: &str) -> Self {
        let mut client = Self::get(address, path).await;
        client.head().await;
        client
    }

    /// Connects and sends these bytes.
    pub async fn send(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Self {
        Self::over(tcp(), address, bytes.as_ref()).await
    }

    /// Connects with a small receive buffer and sends a GET. Unread bytes stay with the server, except for about 4 MB
    /// in sockets.
    pub async fn narrow(address: SocketAddr, path: &str) -> Self {
        Self::narrow_send(address, plain_get(path)).await
    }

    /// Connects with a small receive buffer and sends these bytes.
    pub async fn narrow_send(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Self {
        Self::buffered(address, NARROW, bytes).await
    }

    /// Connects with a receive buffer of `buffer` bytes and sends these bytes.
    pub async fn buffered(address: SocketAddr, buffer: u32, bytes: impl AsRef<[u8]>) -> Self {
        let socket = tcp();
        socket.set_recv_buffer_size(buffer).expect("a buffer size");
        Self::over(socket, address, bytes.as_ref()).await
    }

    async fn over(socket: TcpSocket, address: SocketAddr, bytes: &[u8]) -> Self {
        let socket = socket.connect(address).await.expect("the server accepts connections");
        let mut client = Self { socket: BufReader::new(socket) };
        client.say(bytes).await;
        client
    }

    /// Returns the address of the client.
    pub fn address(&self) -> SocketAddr {
        self.socket.get_ref().local_addr().expect("a connected socket")
    }

    /// Sends another GET on the same connection.
    pub async fn get_again(&mut self, path: &str) {
        self.say(plain_get(path)).await;
    }

    /// Sends more bytes on the same connection.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.expect("the server reads");
    }

    /// Tells the server that no more requests follow.
    pub async fn finish(&mut self) {
        self.socket.shutdown().await.expect("the connection is open");
    }

    /// Reads the next response head and returns it as a response without content.
    pub async fn head(&mut self) -> Response {
        let head = timeout(PATIENCE, read_head(&mut self.socket)).await.expect("a head in time");
        let head = head.expect("a response head");
        let (line, rest) = first_line(&head);
        let line = std::str::from_utf8(line).expect("a status line");
        let status = line.split(' ').nth(1).expect("a status line").parse().expect("a status code");
        Response { status, headers: fields(rest), body: Bytes::new() }
    }

    /// Reads the next response head. Returns `None` if the connection ends or breaks instead.
    pub async fn try_head(&mut self) -> Option<Response> {
        let more = timeout(PATIENCE, self.socket.fill_buf()).await.expect("bytes or an end in time");
        if more.is_ok_and(|more| !more.is_empty()) { Some(self.head().await) } else { None }
    }

    /// Reads the next `length` bytes.
    pub async fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = timeout(PATIENCE, self.socket.read_exact(&mut bytes)).await.expect("bytes in time");
        read.expect("so many bytes");
        bytes
    }

    /// Reads at most `most` of the bytes that have arrived, or waits for one. Returns none at the end of the
    /// connection.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection breaks.
    pub async fn arrived(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let read = timeout(PATIENCE, self.socket.read(&mut bytes)).await.expect("bytes or an end in time")?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Reads all bytes until the server closes the connection, which must not break before.
    pub async fn end(&mut self) -> Vec<u8> {
        let (bytes, ended) = self.read_on().await;
        ended.expect("an end in order");
        bytes
    }

    /// Reads all bytes until the connection is closed or breaks.
    pub async fn rest(&mut self) -> Vec<u8> {
        self.read_on().await.0
    }

    /// Reads until the server resets the connection, which must not end otherwise.
    pub async fn reset(&mut self) {
        let ended = self.read_on().await.1;
        assert_eq!(ended.expect_err("a broken connection").kind(), io::ErrorKind::ConnectionReset);
    }

    /// Discards all bytes until the server closes the connection. Returns their number.
    pub async fn drain(&mut self) -> u64 {
        copy(&mut self.socket, &mut sink()).await.expect("an end in order")
    }

    async fn read_on(&mut self) -> (Vec<u8>, io::Result<usize>) {
        let mut bytes = Vec::new();
        let ended = timeout(PATIENCE, self.socket.read_to_end(&mut bytes)).await.expect("an end in time");
        (bytes, ended)
    }
}

fn tcp() -> TcpSocket {
    TcpSocket::new_v4().expect("a socket")
}

/// Returns a GET for `path` with the fewest fields.
pub fn plain_get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}
