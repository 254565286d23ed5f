//! Limits of a connection. They are small, because there are many connections.

use std::sync::Arc;
use std::time::Duration;

use yatagarasu_core::Budget;

/// The configured limits of a client's connection.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits {
    /// Longest wait for a complete request head. Applies to idle connections too.
    pub(crate) header_timeout: Duration,
    /// Longest time in which a client takes none of the bytes sent to it. `None` means no limit.
    pub(crate) send_timeout: Option<Duration>,
    /// Maximum number of unsent bytes in the kernel. `None` leaves it to the system.
    pub(crate) notsent_lowat: Option<u32>,
    /// Memory budget of the sockets of all fast streams.
    pub(crate) socket_memory: Arc<Budget>,
}

/// Maximum number of buffered bytes per connection and direction, in hyper and in the fast path. A request head has
/// to fit. At most one chunk of a response is queued. `SpliceStream` holds a stream from S3 back further.
pub(super) const CONNECTION_BUFFER_BYTES: usize = 16 * 1024;

/// Maximum number of header fields of a request.
pub(super) const FIELDS_MAX: usize = 512;

/// Maximum number of unsent bytes in the client's socket of a fast stream.
pub(super) const WIDE_UNSENT_BYTES: u32 = 4 << 20;

/// Receive buffer of a fast stream's socket to S3, in bytes. The kernel doubles it.
pub(super) const WIDE_RECEIVED_BYTES: usize = 2 << 20;

/// Maximum number of queued bytes per HTTP/2 stream.
pub(super) const STREAM_BUFFER_BYTES: usize = 64 * 1024;

/// Maximum number of body bytes handed to HTTP/2 at a time: one frame.
pub(super) const STREAM_PIECE_BYTES: usize = 16 * 1024;

/// Number of request content bytes that an HTTP/2 client may send unread. A read-only gateway reads no content, and the
/// protocol allows no smaller initial window for a connection (RFC 9113 6.9.2).
pub(super) const REQUEST_WINDOW_BYTES: u32 = 65_535;

/// Maximum number of concurrent HTTP/2 streams per connection.
pub(super) const STREAMS_MAX: u32 = 128;

/// Maximum size of an HTTP/2 header list, in bytes.
pub(super) const HEADER_LIST_BYTES: u32 = 16 * 1024;
