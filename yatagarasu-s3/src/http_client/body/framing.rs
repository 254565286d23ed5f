//! Determines the end of a response body (RFC 9112 6.3).

use crate::http_client::body::chunked::{Accepted, Decoder};

/// The framing of a body, and how much of it is still to come.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http_client) enum Framing {
    /// This many more bytes.
    Length(u64),
    /// Chunks; the body ends with a chunk of size 0 and trailers.
    Chunked(Decoder),
    /// The body ends with the connection.
    UntilClose,
}

impl Framing {
    /// Records that `content` bytes were moved elsewhere. Returns `true` if the body ends with them.
    pub(in crate::http_client) fn skip(&mut self, content: usize) -> bool {
        match self {
            Self::Length(left) => {
                *left -= content as u64;
                *left == 0
            }
            Self::Chunked(_) | Self::UntilClose => false,
        }
    }

    /// Decodes bytes as received, and moves their content together at the front.
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
