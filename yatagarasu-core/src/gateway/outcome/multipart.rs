//! The body of a reply with several ranges.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::gateway::fill::reader::FillReader;
use crate::gateway::outcome::held::Held;
use crate::gateway::outcome::stored_body::StoredBody;
use crate::http::multipart::Layout;
use crate::source::error::SourceError;

/// Several ranges of one object on their way to a client, as `multipart/byteranges` (RFC 9110 14.6).
#[derive(Debug)]
pub struct MultipartBody {
    layout: Layout,
    content: PartContent,
    stage: Stage,
    remaining: u64,
}

impl MultipartBody {
    /// Returns the stored object that the parts are of, if they are of one.
    pub(super) fn held(&self) -> Held {
        match &self.content {
            PartContent::Stored(body) => Held::stored(body.object()),
            PartContent::Filling(reader) => Held::filling(&reader.fill()),
        }
    }
}

/// The origin of the parts' bytes.
#[derive(Debug)]
pub enum PartContent {
    /// A stored object.
    Stored(StoredBody),
    /// A running fill, as its bytes arrive.
    Filling(FillReader),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before the head of a part, or the closing delimiter.
    Between,
    /// Within a part.
    Within,
    /// After the closing delimiter, or after an error.
    Ended,
}

impl MultipartBody {
    /// Serves the parts that `layout` names.
    pub fn new(layout: Layout, content: PartContent) -> Self {
        let remaining = layout.length();
        Self { layout, content, stage: Stage::Between, remaining }
    }

    /// Returns the number of bytes still to come, delimiters included.
    pub(super) fn remaining(&self) -> u64 {
        self.remaining
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, SourceError>>> {
        let item = loop {
            break match self.stage {
                Stage::Ended => None,
                Stage::Between => Some(Ok(self.delimiter())),
                Stage::Within => match std::task::ready!(self.content.poll_next(cx)) {
                    None => {
                        self.stage = Stage::Between;
                        continue;
                    }
                    item => item,
                },
            };
        };
        if let Some(Ok(bytes)) = &item {
            self.remaining = self.remaining.saturating_sub(bytes.len() as u64);
        }
        if let Some(Err(_)) = &item {
            (self.stage, self.remaining) = (Stage::Ended, 0);
        }
        Poll::Ready(item)
    }

    /// Returns the head of the next part, or the closing delimiter after the last part.
    fn delimiter(&mut self) -> Bytes {
        let Some((head, range)) = self.layout.next_part() else {
            self.stage = Stage::Ended;
            return self.layout.end();
        };
        self.content.select(range);
        self.stage = Stage::Within;
        head
    }
}

impl PartContent {
    fn select(&mut self, range: std::ops::Range<u64>) {
        match self {
            Self::Stored(body) => body.select(range),
            Self::Filling(reader) => reader.select(range),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, SourceError>>> {
        match self {
            Self::Stored(body) => body.poll_next(cx).map(|item| item.map(Ok)),
            Self::Filling(reader) => reader.poll_next(cx),
        }
    }
}
