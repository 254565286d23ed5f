//! A load over HTTP/2 with prior knowledge: each stream of each connection is followed by the next one at once.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::Request;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Wanted, Window};

/// Flow-control windows of a stream and of a connection, in bytes: no proxy has to wait for them.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// Requests `wanted` over `streams` streams of each of `connections` connections until the window ends. Returns the
/// number of responses received within it.
pub(crate) async fn multiplexed(
    address: SocketAddr,
    connections: usize,
    streams: usize,
    wanted: &Wanted,
    window: Window,
) -> anyhow::Result<u64> {
    let (mut clients, mut driven) = (JoinSet::new(), JoinSet::new());
    for _ in 0..connections {
        let socket = TcpStream::connect(address).await.context("cannot connect")?;
        socket.set_nodelay(true).context("a socket option cannot be set")?;
        let mut builder = Builder::new();
        builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        let (requests, connection) = builder.handshake(socket).await.context("no HTTP/2")?;
        driven.spawn(connection);
        for _ in 0..streams {
            clients.spawn(client(requests.clone(), wanted.clone(), window));
        }
    }
    let mut answers = 0;
    while let Some(ended) = clients.join_next().await {
        answers += ended.context("a client panicked")??;
    }
    Ok(answers)
}

async fn client(requests: SendRequest<Bytes>, wanted: Wanted, window: Window) -> anyhow::Result<u64> {
    let mut requests = requests.ready().await.context("no HTTP/2")?;
    let mut answers = 0;
    loop {
        exchange(&mut requests, &wanted).await?;
        let now = Instant::now();
        if now >= window.end {
            return Ok(answers);
        }
        answers += u64::from(window.holds(now));
    }
}

async fn exchange(requests: &mut SendRequest<Bytes>, wanted: &Wanted) -> anyhow::Result<()> {
    let request = Request::get(&wanted.url).body(()).context("no request")?;
    let (response, _) = requests.send_request(request, true).context("a request cannot be sent")?;
    let response = response.await.context("no response")?;
    ensure!(response.status() == 200, "status {}", response.status());
    let (mut body, mut received) = (response.into_body(), 0);
    while let Some(piece) = body.data().await {
        let piece = piece.context("the response broke off")?;
        received += piece.len() as u64;
        let _ = body.flow_control().release_capacity(piece.len());
    }
    ensure!(received == wanted.object.length, "{received} bytes instead of {}", wanted.object.length);
    Ok(())
}
