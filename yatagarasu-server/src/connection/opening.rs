//! What comes before the first request of a connection: the header of the PROXY protocol, and the handshake of TLS.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;

use rustls::server::Acceptor;
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use crate::connection::opening::proxy_protocol::Header;
use crate::connection::state::{ConnectionState, Order};
use crate::connection::transport::{BelowTls, Transport};
use crate::connection::{Place, Unserved};
use crate::telemetry::counters::{Counters, Handshake};
use crate::tls::acme::challenges::PROTOCOL;
use crate::tls::setup::TlsSetup;

pub(crate) mod proxy_protocol;

/// The byte that begins each record of a handshake (RFC 8446 5.1).
const HANDSHAKE: u8 = 0x16;

/// Bytes that are read before the first record is known.
const FIRST_BYTES: usize = 1024;

/// Maximum number of encrypted bytes that wait for the client. The next ones are not encrypted before.
const TLS_BUFFER_BYTES: usize = 32 * 1024;

/// Opens a connection. Records in `place` why it is not served, if it is not, and bytes of the first request that were
/// read. Returns `None` if the connection ends before: the client has left, is too slow, or has failed.
pub(super) async fn open(
    mut socket: TcpStream,
    place: &mut Place,
    state: &ConnectionState,
    counters: &Counters,
) -> Option<Transport> {
    let is_proxied = place.limits.client_address.is_proxied(place.peer);
    let tls = place.terms.tls.clone();
    if !is_proxied {
        state.identify(place.peer.to_canonical());
        if tls.is_none() {
            return Some(Transport::Plain(socket));
        }
    }
    // Boxed, because most connections have neither, and there are many.
    let opening = Box::pin(async {
        if is_proxied {
            let client = read_header(&mut socket, place).await?;
            identify(client, place, state);
        }
        match tls {
            Some(tls) if place.unserved != Some(Unserved::NotProxied) => {
                handshake(tls, socket, place, state, counters).await
            }
            Some(_) | None => Some(Transport::Plain(socket)),
        }
    });
    until_told(state, opening).await
}

/// Runs `opening`. Returns `None` if the connection gets an order to end first.
pub(super) async fn until_told<T>(
    state: &ConnectionState,
    opening: impl Future<Output = Option<T>>,
) -> Option<T> {
    let mut opening = pin!(opening);
    poll_fn(|cx| match state.poll_order(cx) {
        Order::Serve | Order::Last => opening.as_mut().poll(cx),
        Order::Drain | Order::Leave | Order::Cut => Poll::Ready(None),
    })
    .await
}

/// Reads the header of the PROXY protocol. Returns the client that it names, if there is a valid one. Returns `None` if
/// the connection ends before.
async fn read_header(socket: &mut TcpStream, place: &mut Place) -> Option<Option<IpAddr>> {
    loop {
        match proxy_protocol::read(&place.received) {
            Header::Complete { client, length } => {
                place.received.drain(..length);
                return Some(Some(client.unwrap_or(place.peer)));
            }
            Header::Partial if place.received.len() < place.limits.header_size => {
                if socket.read_buf(&mut place.received).await.ok()? == 0 {
                    return None;
                }
            }
            Header::Partial | Header::Invalid => return Some(None),
        }
    }
}

/// Records who the client is, and counts the connection for it.
fn identify(client: Option<IpAddr>, place: &mut Place, state: &ConnectionState) {
    state.identify(client.unwrap_or(place.peer));
    match client {
        // It exceeds another limit already.
        _ if place.unserved.is_some() => {}
        None => place.unserved = Some(Unserved::NotProxied),
        Some(client) => {
            if let Err(excess) = place.slot.identify(client, &place.limits) {
                place.slot.admission().note(excess, client);
                place.unserved = Some(Unserved::Excess(excess));
            }
        }
    }
}

async fn handshake(
    tls: TlsSetup,
    mut socket: TcpStream,
    place: &mut Place,
    state: &ConnectionState,
    counters: &Counters,
) -> Option<Transport> {
    if place.received.is_empty() {
        place.received.reserve(FIRST_BYTES);
        socket.read_buf(&mut place.received).await.ok()?;
    }
    if *place.received.first()? != HANDSHAKE {
        // It gets an answer that a client without TLS can read.
        place.unserved.get_or_insert(Unserved::NotTls);
        return Some(Transport::Plain(socket));
    }
    let mut end = Ending { counters, end: Handshake::Failed };
    let socket = BelowTls::new(std::mem::take(&mut place.received), socket);
    let accepted = async {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
        let config = tls.for_client(&begun.client_hello(), place.unserved.is_none());
        begun.into_stream_with(config, |session| session.set_buffer_limit(Some(TLS_BUFFER_BYTES))).await
    };
    match accepted.await {
        // The handshake was all that the authority wanted (RFC 8737 3).
        Ok(mut stream) if stream.get_ref().1.alpn_protocol() == Some(PROTOCOL) => {
            end.end = Handshake::Full;
            let _ = stream.shutdown().await;
            None
        }
        Ok(mut stream) => {
            let (socket, session) = stream.get_mut();
            // Before TLS 1.3, the server's part comes last.
            socket.open(session.protocol_version() != Some(ProtocolVersion::TLSv1_3));
            end.end = match stream.get_ref().1.handshake_kind() {
                Some(HandshakeKind::Resumed) => Handshake::Resumed,
                Some(_) | None => Handshake::Full,
            };
            Some(Transport::Tls(Box::new(stream)))
        }
        Err(error) => {
            tracing::debug!(client = %state.client(), %error, "a TLS handshake has failed");
            None
        }
    }
}

/// Counts a handshake when dropped, also if it is ended because the client is too slow.
pub(super) struct Ending<'a> {
    pub(super) counters: &'a Counters,
    pub(super) end: Handshake,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.counters.shook_hands(self.end);
    }
}
