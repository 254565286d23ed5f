//! Makes the configuration of a listener for QUIC.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{ServerConfig, TransportConfig, VarInt};

use crate::connection::limits::{REQUEST_WINDOW_BYTES, STREAM_BUFFER_BYTES, STREAMS_MAX};

/// The protocol that is offered (RFC 9114 3.1).
const PROTOCOL: &[u8] = b"h3";

/// Time without a datagram after which a client is taken to be gone. The reaper of a thread ends idle connections before.
const GONE_AFTER: Duration = Duration::from_secs(60);

/// Streams for instructions, which a client opens beside those for requests: three (RFC 9114 6.2, RFC 9204 4.2), and some
/// that mean nothing.
const INSTRUCTIONS_MAX: u8 = 8;

/// Maximum number of connections whose first datagrams wait for a worker, and of the bytes of them all.
const WAITING_MAX: usize = 1024;
const WAITING_BYTES_MAX: u64 = 4 << 20;

/// Returns the configuration for clients of HTTP/3, with the certificates and the authorities of `rustls`.
pub(super) fn config(mut rustls: rustls::ServerConfig) -> Result<Arc<ServerConfig>, rustls::Error> {
    rustls.alpn_protocols = vec![PROTOCOL.to_vec()];
    let crypto = QuicServerConfig::try_from(rustls)
        .map_err(|error| rustls::Error::General(format!("QUIC cannot be set up: {error}")))?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .max_incoming(WAITING_MAX)
        .incoming_buffer_size(u64::from(REQUEST_WINDOW_BYTES))
        .incoming_buffer_size_total(WAITING_BYTES_MAX);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from(INSTRUCTIONS_MAX))
        .stream_receive_window(VarInt::from(REQUEST_WINDOW_BYTES))
        .receive_window(VarInt::from(REQUEST_WINDOW_BYTES))
        // It grows with the path.
        .send_window(STREAM_BUFFER_BYTES as u64)
        .max_idle_timeout(Some(GONE_AFTER.try_into().expect("a short time")))
        .datagram_receive_buffer_size(None);
    config.transport_config(Arc::new(transport));
    Ok(Arc::new(config))
}
