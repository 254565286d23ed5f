//! What became of a request: the one value the response, the metrics and the log line are made from.

pub mod body;
pub mod multipart;
pub mod stored_body;

use http::{HeaderMap, StatusCode};

use crate::source::error::SourceError;

use crate::caching::cache_status::Handling;
use body::ReplyBody;

/// The end of one request.
#[derive(Debug)]
pub struct Outcome {
    /// How the cache took part.
    pub handling: Handling,
    /// What the client gets, or why it gets nothing.
    pub reply: Result<Reply, Refusal>,
}

/// A response, but for the fields that concern this connection only.
#[derive(Debug)]
pub struct Reply {
    /// 200, 206 or 304.
    pub status: StatusCode,
    /// End-to-end fields.
    pub headers: HeaderMap,
    /// The content.
    pub body: ReplyBody,
}

/// Why a client gets no object.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// It wants what is stored only, and nothing is that may be used (RFC 9111 5.2.1.7).
    #[error("nothing stored may be used")]
    OnlyIfCached,
    /// The source does not give it, or it fails a condition.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl Refusal {
    /// Whether the same request may well succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::OnlyIfCached => false,
            Self::Source(error) => error.is_transient(),
        }
    }
}
