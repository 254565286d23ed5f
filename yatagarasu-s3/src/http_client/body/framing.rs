//! How far the body of a response reaches (RFC 9112 6.3).

use crate::http_client::body::chunked::{Accepted, Decoder};

/// What says where a body ends, and how much of it is still to come.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http_client) enum Framing {
    /// So many bytes more.
    Length(u64),
    /// Chunks that say it themselves.
    Chunked(Decoder),
    /// The end of the connection.
    UntilClose,
}

impl Framing {
    /// Takes in that so many bytes of content went elsewhere; says whether the body ends with them.
    pub(in crate::http_client) fn skip(&mut self, content: usize) -> bool {
        match self {
            Self::Length(left) => {
                *left -= content as u64;
                *left == 0
            }
            Self::Chunked(_) | Self::UntilClose => false,
        }
    }

    /// Takes in bytes as they came, and moves the content among them together at the front.
    pub(in crate::http_client) fn accept(&mut self, bytes: &mut [u8]) -> Result<Accepted, &'static str> {
        match self {
            Self::Length(left) => {
                let content = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= content as u64;
                Ok(Accepted { content, ended: *left == 0, surplus: content < bytes.len() })
            }
            Self::Chunked(decoder) => decoder.accept(bytes),
            Self::UntilClose => Ok(Accepted { content: bytes.len(), ended: false, surplus: false }),
        }
    }
}
