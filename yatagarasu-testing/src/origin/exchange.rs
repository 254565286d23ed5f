//! A connection that a test answers by hand.

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::PATIENCE;
use crate::message::read_head;

/// A request and its connection. Dropping it closes the connection.
#[derive(Debug)]
pub struct Exchange {
    /// The head of the request, without the empty line at its end.
    pub request: String,
    /// The connection. Everything up to the end of the request has been read from it.
    pub socket: TcpStream,
}

impl Exchange {
    pub(super) fn new(head: &[u8], socket: BufReader<TcpStream>) -> Self {
        assert!(socket.buffer().is_empty(), "a source sends no request before it has a response");
        Self { request: String::from_utf8_lossy(head).into_owned(), socket: socket.into_inner() }
    }

    /// Reads another request from the connection.
    pub async fn next_request(&mut self) {
        let mut socket = BufReader::new(&mut self.socket);
        let head = read_head(&mut socket).await.expect("another request");
        assert!(socket.buffer().is_empty(), "a source sends no request before it has a response");
        self.request = String::from_utf8_lossy(&head).into_owned();
    }

    /// Sends these bytes.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.expect("the source reads");
    }

    /// Waits until the source has closed the connection.
    pub async fn closed(&mut self) {
        let mut rest = [0; 1024];
        let read = async { while self.socket.read(&mut rest).await.unwrap_or(0) > 0 {} };
        timeout(PATIENCE, read).await.expect("the source closes the connection");
    }
}
