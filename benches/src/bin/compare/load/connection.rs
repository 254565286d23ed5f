//! A client's HTTP connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;

use anyhow::{Context, bail};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::response::{Checking, Response};
use super::wanted::Wanted;

/// Most bytes read at a time.
pub(crate) const READ_BYTES_MAX: usize = 256 * 1024;

thread_local! {
    /// Read buffer that all connections of a thread share. Each read is processed before the next one.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES_MAX]);
}

/// A connection that stays open from one request to the next.
#[derive(Debug)]
pub(crate) struct Connection<S = TcpStream>(S);

impl Connection {
    /// Connects to `address`.
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4().context("there is no socket")?;
        Self::connect(socket, address).await
    }

    /// Connects to `address` with a receive buffer of `bytes` bytes, which the kernel doubles.
    pub(crate) async fn open_with_buffer(address: SocketAddr, bytes: u32) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4().context("there is no socket")?;
        socket.set_recv_buffer_size(bytes).context("a receive buffer cannot be set")?;
        Self::connect(socket, address).await
    }

    /// Returns the underlying non-blocking socket, for a caller that polls it itself.
    pub(super) fn into_std(self) -> anyhow::Result<std::net::TcpStream> {
        self.0.into_std().context("a connection cannot be taken over")
    }

    /// Opens `count` connections to `address`.
    pub(crate) async fn open_many(address: SocketAddr, count: usize) -> anyhow::Result<Vec<Self>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Self::open(address).await?);
        }
        Ok(connections)
    }

    async fn connect(socket: TcpSocket, address: SocketAddr) -> anyhow::Result<Self> {
        let stream = socket.connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true).context("a socket option cannot be set")?;
        Ok(Self(stream))
    }

    /// Speaks TLS over the connection.
    pub(crate) async fn secured(
        self,
        connector: &TlsConnector,
    ) -> anyhow::Result<Connection<TlsStream<TcpStream>>> {
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        connector.connect(name, self.0).await.map(Connection).context("no TLS")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends a request and receives the whole response.
    pub(crate) async fn exchange(&mut self, wanted: &Wanted, checking: Checking) -> anyhow::Result<()> {
        self.send(wanted).await?;
        let mut response = Response::new(wanted.object, checking);
        while !self.receive(READ_BYTES_MAX, &mut response).await? {}
        Ok(())
    }

    /// Sends a request.
    pub(crate) async fn send(&mut self, wanted: &Wanted) -> anyhow::Result<()> {
        self.0.write_all(&wanted.request).await.context("a request cannot be sent")?;
        self.0.flush().await.context("a request cannot be sent")
    }

    /// Receives at least one and at most `at_most` bytes of a response. Returns whether the response is complete.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no bytes.
    pub(crate) async fn receive(&mut self, at_most: usize, response: &mut Response) -> anyhow::Result<bool> {
        let socket = &mut self.0;
        poll_fn(|context| {
            SCRATCH.with_borrow_mut(|scratch| {
                let room = at_most.min(scratch.len());
                let mut buffer = ReadBuf::new(&mut scratch[..room]);
                match Pin::new(&mut *socket).poll_read(context, &mut buffer) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(read) => Poll::Ready(taken(read, buffer.filled(), response)),
                }
            })
        })
        .await
    }
}

fn taken(read: std::io::Result<()>, bytes: &[u8], response: &mut Response) -> anyhow::Result<bool> {
    read.context("the connection broke")?;
    if bytes.is_empty() {
        bail!("the connection was closed after {} bytes of the body", response.body_bytes());
    }
    response.take(bytes)
}
