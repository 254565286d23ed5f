//! What became of a request: the one value the response, the metrics and the log line are made from.

mod body;

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::SourceError;

pub use body::{ReplyBody, StoredBody};

/// The end of one request.
#[derive(Debug)]
pub struct Outcome {
    /// How the cache took part.
    pub handling: Handling,
    /// What the client gets, or why it gets nothing.
    pub reply: Result<Reply, SourceError>,
}

/// A response, but for the fields that concern this connection only.
#[derive(Debug)]
pub struct Reply {
    /// 200, 206, 304, 412 or 416.
    pub status: StatusCode,
    /// End-to-end fields.
    pub headers: HeaderMap,
    /// The content.
    pub body: ReplyBody,
}

/// How the cache took part in a request; its text is a member of `Cache-Status` (RFC 9211 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Answered from what is stored, which stays fresh for this long.
    Hit {
        /// Rest of its lifetime.
        ttl: Duration,
    },
    /// Answered by the source.
    Forwarded {
        /// Why the cache could not answer.
        reason: Forward,
        /// Whether the request joined one that was under way.
        collapsed: bool,
        /// Whether the object is being stored.
        stored: bool,
    },
}

/// Why a request went forward (RFC 9211 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// The bucket has no cache.
    Bypass,
    /// Nothing is stored under the key.
    UriMiss,
    /// What is stored is stale.
    Stale,
}

impl Handling {
    /// A plain forward.
    pub fn forwarded(reason: Forward) -> Self {
        Self::Forwarded { reason, collapsed: false, stored: false }
    }

    /// `HIT` or `MISS`, as `X-Cache` has it.
    pub fn is_hit(&self) -> bool {
        matches!(self, Self::Hit { .. })
    }
}

impl fmt::Display for Handling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Hit { ttl } => write!(f, "hit; ttl={}", ttl.as_secs()),
            Self::Forwarded { reason, collapsed, stored } => {
                let reason = match reason {
                    Forward::Bypass => "bypass",
                    Forward::UriMiss => "uri-miss",
                    Forward::Stale => "stale",
                };
                write!(f, "fwd={reason}")?;
                if stored {
                    f.write_str("; stored")?;
                }
                if collapsed {
                    f.write_str("; collapsed")?;
                }
                Ok(())
            }
        }
    }
}
