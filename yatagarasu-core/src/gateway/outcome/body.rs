//! The body of a reply: from the cache, a running fill or the source.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use crate::cache::entry::CacheEntry;
use crate::gateway::fill::reader::FillReader;
use crate::gateway::outcome::held::Held;
use crate::gateway::outcome::multipart::MultipartBody;
use crate::gateway::outcome::stored_body::StoredBody;
use crate::source::body::ObjectBody;
use crate::source::error::SourceError;

/// The body of a response.
#[derive(Debug)]
pub enum ReplyBody {
    /// No content.
    Empty,
    /// Bytes of a stored object.
    Stored(StoredBody),
    /// Bytes of a running fill, as they arrive.
    Filling(FillReader),
    /// Several parts of a stored object or a running fill.
    Multipart(Box<MultipartBody>),
    /// The source's body, streamed to this client alone.
    Streamed(ObjectBody),
}

impl ReplyBody {
    /// Returns the number of bytes still to come, if known.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Stored(body) => Some(body.remaining()),
            Self::Filling(reader) => Some(reader.remaining()),
            Self::Multipart(body) => Some(body.remaining()),
            Self::Streamed(body) => body.remaining(),
        }
    }

    /// Returns the cached object the body keeps in memory, or `None` if it reads from no cache entry or fill.
    pub fn held(&self) -> Option<Held> {
        match self {
            Self::Stored(body) => Some(Held::stored(body.object())),
            Self::Filling(reader) => Some(Held::filling(&reader.fill())),
            Self::Multipart(body) => Some(body.held()),
            Self::Empty | Self::Streamed(_) => None,
        }
    }

    /// Returns the stored object if the body is all of it, and nothing was read yet.
    pub fn whole(&self) -> Option<&Arc<CacheEntry>> {
        match self {
            Self::Stored(body) if body.is_whole() => Some(body.object()),
            Self::Stored(_) | Self::Empty | Self::Filling(_) | Self::Multipart(_) | Self::Streamed(_) => None,
        }
    }

    /// Waits for the next bytes. Returns `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, SourceError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for ReplyBody {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Stored(body) => body.poll_next(cx).map(|item| item.map(Ok)),
            Self::Filling(reader) => reader.poll_next(cx),
            Self::Multipart(body) => body.poll_next(cx),
            Self::Streamed(body) => Pin::new(body).poll_next(cx),
        }
    }
}
