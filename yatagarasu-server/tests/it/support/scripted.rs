//! An S3 server that misbehaves as a test wants.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::origin::S3Server;

use crate::support::site::{Site, bucket, document};

/// A listener in the place of S3.
pub(crate) struct Scripted {
    listener: TcpListener,
}

/// A request that reached the listener, and its connection.
pub(crate) struct Exchange {
    pub(crate) request: String,
    pub(crate) socket: TcpStream,
}

impl Scripted {
    /// Starts a gateway with the listener as its source. `s3` are further settings of the bucket.
    pub(crate) async fn start(s3: &str) -> (Self, Site) {
        Self::with("", s3).await
    }

    /// Starts both with these settings of `server`.
    pub(crate) async fn with(server: &str, s3: &str) -> (Self, Site) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let cache = "max_item_size: \"1MB\", max_size: \"64MB\"";
        let yaml = document(server, &[bucket(&endpoint, "assets", "/static", s3, cache)]);
        (Self { listener }, Site::run(S3Server::start().await.unwrap(), &yaml).await)
    }

    /// Returns the address the listener listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Accepts the next connection and reads its first request.
    pub(crate) async fn next(&self) -> Exchange {
        let (socket, _) = self.listener.accept().await.unwrap();
        let mut exchange = Exchange { request: String::new(), socket };
        exchange.read_request().await;
        exchange
    }
}

impl Exchange {
    async fn read_request(&mut self) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(self.socket.read_u8().await.unwrap());
        }
        self.request = String::from_utf8(request).unwrap();
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Waits until the gateway has closed the connection.
    pub(crate) async fn closed(&mut self) {
        let mut rest = [0; 1024];
        let read = async { while self.socket.read(&mut rest).await.unwrap_or(0) > 0 {} };
        timeout(PATIENCE, read).await.expect("the gateway closes the connection");
    }
}

/// A port without a listener, which no other process gets while this value lives.
pub(crate) struct Nobody(socket2::Socket);

impl Nobody {
    pub(crate) fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self(socket)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap().as_socket().unwrap())
    }
}
