//! The outcome of a request: the one value that the response, the metrics and the log line are made from.

pub mod body;
pub mod held;
pub mod multipart;
pub mod stored_body;

use http::{HeaderMap, StatusCode};

use crate::source::error::SourceError;

use crate::caching::cache_status::CacheStatus;
use body::ReplyBody;

/// The outcome of one request.
#[derive(Debug)]
pub struct Outcome {
    /// How the cache handled the request.
    pub handling: CacheStatus,
    /// The reply, or the reason why there is none.
    pub reply: Result<Reply, GatewayError>,
}

/// A response without the fields that concern only the connection.
#[derive(Debug)]
pub struct Reply {
    /// 200, 206 or 304.
    pub status: StatusCode,
    /// End-to-end fields.
    pub headers: HeaderMap,
    /// The content.
    pub body: ReplyBody,
}

/// The reason why a client gets no object.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GatewayError {
    /// The client sent `only-if-cached`, and no stored entry may be used (RFC 9111 5.2.1.7).
    #[error("nothing stored may be used")]
    OnlyIfCached,
    /// The source returned an error, or the object fails a condition or range of the request.
    #[error(transparent)]
    Source(#[from] SourceError),
}
