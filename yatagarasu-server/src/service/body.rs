//! Bodies of public responses, with the access log entries that they complete.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use yatagarasu_core::gateway::outcome::held::Held;
use yatagarasu_core::{CacheEntry, ObjectBody, ReplyBody, SourceError};

use crate::telemetry::access_log::Entry;

/// The body of a public response. Dropping it, at its end or before, writes the access log entry.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    content: Content,
    /// `None` once it was taken.
    entry: Option<Entry>,
}

#[derive(Debug)]
enum Content {
    Document(Bytes),
    Reply(ReplyBody),
}

impl ResponseBody {
    pub(crate) fn document(document: Bytes, entry: Entry) -> Self {
        Self::new(Content::Document(document), entry)
    }

    pub(crate) fn reply(reply: ReplyBody, entry: Entry) -> Self {
        Self::new(Content::Reply(reply), entry)
    }

    fn new(content: Content, entry: Entry) -> Self {
        let mut body = Self { content, entry: None };
        let mut entry = entry;
        entry.promised(body.remaining());
        body.entry = Some(entry);
        body
    }

    /// Returns the length of the document. Returns `None` if the body is no document or is empty.
    pub(crate) fn document_length(&self) -> Option<u64> {
        match &self.content {
            Content::Document(document) if !document.is_empty() => Some(document.len() as u64),
            Content::Document(_) | Content::Reply(_) => None,
        }
    }

    /// Returns the same body without its bytes.
    pub(crate) fn emptied(self) -> Self {
        let Self { entry, .. } = self;
        match entry {
            Some(entry) => Self::new(Content::Document(Bytes::new()), entry),
            None => Self { content: Content::Document(Bytes::new()), entry },
        }
    }

    /// Returns the cached object the body keeps in memory, or `None` if it reads from no cache entry or fill.
    pub(crate) fn held(&self) -> Option<Held> {
        match &self.content {
            Content::Document(_) => None,
            Content::Reply(reply) => reply.held(),
        }
    }

    /// Returns the stored object if the body is all of it, and nothing was read yet.
    pub(crate) fn whole(&self) -> Option<&Arc<CacheEntry>> {
        match &self.content {
            Content::Document(_) => None,
            Content::Reply(reply) => reply.whole(),
        }
    }

    /// Takes the entry of the access log, to complete it once the client's socket has all bytes.
    pub(crate) fn take_entry(&mut self) -> Option<Entry> {
        self.entry.take()
    }

    /// Returns the next bytes.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, SourceError>>> {
        self.poll_next_by(cx, |object, cx| Pin::new(object).poll_next(cx))
    }

    /// Returns the next bytes, and asks `poll` for those of an object that is streamed.
    pub(crate) fn poll_next_by(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut ObjectBody, &mut Context<'_>) -> Poll<Option<Result<Bytes, SourceError>>>,
    ) -> Poll<Option<Result<Bytes, SourceError>>> {
        let item = match &mut self.content {
            Content::Document(document) => {
                let document = std::mem::take(document);
                (!document.is_empty()).then_some(Ok(document))
            }
            Content::Reply(ReplyBody::Streamed(object)) => ready!(poll(object, cx)),
            Content::Reply(reply) => ready!(Pin::new(reply).poll_next(cx)),
        };
        if let Some(entry) = &mut self.entry {
            match &item {
                Some(Ok(chunk)) => entry.sent(chunk.len() as u64),
                Some(Err(error)) => entry.broken(error),
                None => entry.ended(),
            }
        }
        Poll::Ready(item)
    }

    /// Records in the access log why the client gets no more.
    pub(crate) fn cut(&mut self, reason: &str) {
        if let Some(entry) = &mut self.entry {
            entry.cut(reason);
        }
    }

    /// Returns the number of bytes still to come, if it is known.
    pub(crate) fn remaining(&self) -> Option<u64> {
        match &self.content {
            Content::Document(document) => Some(document.len() as u64),
            Content::Reply(reply) => reply.remaining(),
        }
    }
}
