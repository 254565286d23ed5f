//! Limits of a connection. They are small, because there are many connections.

use std::sync::Arc;
use std::time::Duration;

use yatagarasu_core::Budget;

use crate::config::ServerConfig;
use crate::service::client_address::ClientAddress;

/// The configured limits of clients' connections.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits {
    /// Maximum number of connections.
    pub(crate) connections_max: usize,
    /// Maximum number of connections of one client. `None` means no limit.
    pub(crate) connections_per_client: Option<u32>,
    /// Number of requests after which a connection ends. `None` means no limit.
    pub(crate) requests_per_connection: Option<u32>,
    /// Maximum length of a request head, in bytes.
    pub(crate) header_size: usize,
    /// Maximum number of streams that one HTTP/2 connection may begin in a second. `None` means no limit.
    pub(crate) http2_streams_per_second: Option<u32>,
    /// Maximum number of streams of one HTTP/2 connection that its client may reset before their responses have ended,
    /// unless they are fewer than half. `None` means no limit.
    pub(crate) http2_resets_max: Option<u32>,
    /// Where the address of a client comes from.
    pub(crate) client_address: ClientAddress,
    /// Maximum number of bytes of objects that responses hold and no cache does any more.
    pub(crate) response_memory: u64,
    /// Longest wait for a complete request head. Applies to idle connections too.
    pub(crate) header_timeout: Duration,
    /// Longest time in which a client takes none of the bytes sent to it. `None` means no limit.
    pub(crate) send_timeout: Option<Duration>,
    /// Minimum rate at which a client takes bytes that wait for it, in bytes per second. 0 means no limit.
    pub(crate) send_rate_min: u64,
    /// Maximum number of unsent bytes in the kernel. `None` leaves it to the system.
    pub(crate) notsent_lowat: Option<u32>,
    /// Memory budget of the sockets of all fast streams.
    pub(crate) socket_memory: Arc<Budget>,
}

impl ConnectionLimits {
    /// Returns the limits of a configuration. `descriptors` is the number of file descriptors that are left, if that is
    /// limited.
    pub(crate) fn new(config: &ServerConfig, socket_memory: &Arc<Budget>, descriptors: Option<u64>) -> Self {
        // A request may take a connection to S3 as well. The reserve is for operators, files and pipes.
        let half = descriptors.map_or(CONNECTIONS_MAX, |left| left.saturating_sub(DESCRIPTORS_RESERVED) / 2);
        let half = usize::try_from(half.min(CONNECTIONS_MAX)).unwrap_or(usize::MAX).max(1);
        Self {
            connections_max: config.connections_max.unwrap_or(half),
            connections_per_client: config.connections_per_client,
            requests_per_connection: config.requests_per_connection,
            header_size: config.header_size,
            http2_streams_per_second: config.http2_streams_per_second,
            http2_resets_max: config.http2_resets_max,
            client_address: config.client_address.clone(),
            response_memory: config.response_memory,
            header_timeout: config.header_timeout,
            send_timeout: config.send_timeout,
            send_rate_min: config.send_rate_min,
            notsent_lowat: config.notsent_lowat,
            socket_memory: Arc::clone(socket_memory),
        }
    }
}

#[cfg(test)]
impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: 1000,
            connections_per_client: None,
            requests_per_connection: None,
            header_size: CONNECTION_BUFFER_BYTES,
            http2_streams_per_second: None,
            http2_resets_max: None,
            client_address: ClientAddress::default(),
            response_memory: u64::MAX,
            header_timeout: Duration::from_secs(60),
            send_timeout: None,
            send_rate_min: 0,
            notsent_lowat: None,
            socket_memory: Arc::new(Budget::new(0)),
        }
    }
}

/// The reason in the access log if a client takes nothing.
pub(super) const CUT: &str =
    "the client took too little (`server.send_timeout`, `send_rate_min`, `response_memory`)";

/// Number of file descriptors that no client's connection takes.
const DESCRIPTORS_RESERVED: u64 = 32;

/// Maximum number of connections if file descriptors are not limited.
const CONNECTIONS_MAX: u64 = 1 << 20;

/// Maximum number of buffered response bytes per connection in hyper, and number of request bytes unless a request head
/// is longer. At most one chunk of a response is queued. `SpliceStream` holds a stream from S3 back further.
pub(super) const CONNECTION_BUFFER_BYTES: usize = 16 * 1024;

/// Maximum number of header fields of a request.
pub(crate) const FIELDS_MAX: usize = 512;

/// Maximum number of unsent bytes in the client's socket of a fast stream.
pub(super) const WIDE_UNSENT_BYTES: u32 = 4 << 20;

/// Receive buffer of a fast stream's socket to S3, in bytes. The kernel doubles it.
pub(super) const WIDE_RECEIVED_BYTES: usize = 2 << 20;

/// Maximum number of queued bytes per HTTP/2 stream.
pub(crate) const STREAM_BUFFER_BYTES: usize = 64 * 1024;

/// Maximum number of body bytes handed to HTTP/2 at a time: one frame.
pub(super) const STREAM_PIECE_BYTES: usize = 16 * 1024;

/// Number of request content bytes that an HTTP/2 client may send unread. A read-only gateway reads no content, and the
/// protocol allows no smaller initial window for a connection (RFC 9113 6.9.2).
pub(crate) const REQUEST_WINDOW_BYTES: u32 = 65_535;

/// Maximum number of concurrent HTTP/2 streams per connection.
pub(crate) const STREAMS_MAX: u32 = 128;
