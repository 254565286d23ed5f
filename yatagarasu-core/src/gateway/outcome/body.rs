use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use crate::gateway::fill::reader::FillReader;
use crate::gateway::outcome::multipart::MultipartBody;
use crate::gateway::outcome::stored_body::StoredBody;
use crate::source::body::ObjectBody;
use crate::source::error::SourceError;

/// The content of a response, wherever it comes from.
#[derive(Debug)]
pub enum ReplyBody {
    /// Nothing.
    Empty,
    /// From memory.
    Stored(StoredBody),
    /// From memory, while it arrives there.
    Filling(FillReader),
    /// Several parts of what is in memory, or arrives there.
    Multipart(Box<MultipartBody>),
    /// From the source, through this one client's buffers.
    Streamed(ObjectBody),
}

impl ReplyBody {
    /// The bytes still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Stored(body) => Some(body.remaining()),
            Self::Filling(reader) => Some(reader.remaining()),
            Self::Multipart(body) => Some(body.remaining()),
            Self::Streamed(body) => body.remaining(),
        }
    }

    /// Waits for the next bytes.
    pub async fn next(&mut self) -> Option<Result<Bytes, SourceError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for ReplyBody {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Stored(body) => Poll::Ready(body.next().map(Ok)),
            Self::Filling(reader) => reader.poll_next(cx),
            Self::Multipart(body) => body.poll_next(cx),
            Self::Streamed(body) => Pin::new(body).poll_next(cx),
        }
    }
}
