//! How much a connection may take. Few and small, because there are many connections.

use std::sync::Arc;
use std::time::Duration;

use yatagarasu_core::Budget;

/// What the configuration allows a client's connection.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits {
    /// Longest wait for a complete request head, idle connections included.
    pub(crate) header_timeout: Duration,
    /// Longest time in which a client takes nothing of what it is sent; `None` for no limit.
    pub(crate) send_timeout: Option<Duration>,
    /// Bytes the system takes before it has sent them; `None` leaves it to the system.
    pub(crate) notsent_lowat: Option<u32>,
    /// What the sockets of fast streams may hold together.
    pub(crate) socket_memory: Arc<Budget>,
}

/// Most bytes kept of a connection each way, by hyper and by the express lane before it: a request head has to fit, and one chunk of a response is
/// queued at most, which is what makes a slow client slow the source down.
pub(super) const CONNECTION_BUFFER_BYTES: usize = 16 * 1024;

/// What a fast stream's socket may take for the client before it has sent it.
pub(super) const WIDE_UNSENT_BYTES: u32 = 4 << 20;

/// The size of the receive buffer of a fast stream's socket to S3, which the system doubles.
pub(super) const WIDE_RECEIVED_BYTES: usize = 2 << 20;

/// Bytes of one HTTP/2 stream that may be queued.
pub(super) const STREAM_BUFFER_BYTES: usize = 64 * 1024;

/// Most bytes of a body that are handed to HTTP/2 at a time: one frame.
pub(super) const STREAM_PIECE_BYTES: usize = 16 * 1024;

/// Bytes a client may send over HTTP/2 that nobody has read: a read-only gateway reads no contents. The protocol has no
/// smaller window for a connection (RFC 9113 6.9.2).
pub(super) const REQUEST_WINDOW_BYTES: u32 = 65_535;

/// HTTP/2 streams a client may have open.
pub(super) const STREAMS_MAX: u32 = 128;

/// Longest list of HTTP/2 header fields, in bytes.
pub(super) const HEADER_LIST_BYTES: u32 = 16 * 1024;
