use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};
use yatagarasu_core::{ReplyBody, SourceError};

use crate::access_log::Entry;

/// The body of a public response. Its end, or that it was dropped before, is what the access log waits for.
#[derive(Debug)]
pub struct ResponseBody {
    content: Content,
    entry: Entry,
}

#[derive(Debug)]
enum Content {
    Document(Bytes),
    Reply(ReplyBody),
}

impl ResponseBody {
    pub(super) fn document(document: Bytes, entry: Entry) -> Self {
        Self::new(Content::Document(document), entry)
    }

    pub(super) fn reply(reply: ReplyBody, entry: Entry) -> Self {
        Self::new(Content::Reply(reply), entry)
    }

    fn new(content: Content, entry: Entry) -> Self {
        let mut body = Self { content, entry };
        let length = body.remaining();
        body.entry.promised(length);
        body
    }

    /// Bytes of the document, where the body is one and has any.
    pub(super) fn document_length(&self) -> Option<u64> {
        match &self.content {
            Content::Document(document) if !document.is_empty() => Some(document.len() as u64),
            Content::Document(_) | Content::Reply(_) => None,
        }
    }

    /// The same without its bytes.
    pub(super) fn emptied(self) -> Self {
        Self::new(Content::Document(Bytes::new()), self.entry)
    }

    fn remaining(&self) -> Option<u64> {
        match &self.content {
            Content::Document(document) => Some(document.len() as u64),
            Content::Reply(reply) => reply.remaining(),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = SourceError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        let item = match &mut self.content {
            Content::Document(document) => {
                let document = std::mem::take(document);
                (!document.is_empty()).then_some(Ok(document))
            }
            Content::Reply(reply) => std::task::ready!(Pin::new(reply).poll_next(cx)),
        };
        match &item {
            Some(Ok(chunk)) => self.entry.sent(chunk.len() as u64),
            Some(Err(error)) => self.entry.broken(error),
            None => self.entry.ended(),
        }
        Poll::Ready(item.map(|item| item.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
