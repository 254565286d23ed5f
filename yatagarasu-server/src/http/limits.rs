//! How much a connection may take. Few and small, because there are many connections.

/// Most bytes hyper keeps of a connection each way: a request head has to fit, and one chunk of a response is
/// queued at most, which is what makes a slow client slow the source down.
pub(super) const CONNECTION_BUFFER_BYTES: usize = 16 * 1024;

/// Bytes of one HTTP/2 stream that may be queued.
pub(super) const STREAM_BUFFER_BYTES: usize = 64 * 1024;

/// HTTP/2 streams a client may have open.
pub(super) const STREAMS_MAX: u32 = 128;

/// Longest list of HTTP/2 header fields, in bytes.
pub(super) const HEADER_LIST_BYTES: u32 = 16 * 1024;
