//! One version of an object, served with ranges and conditions.

use bytes::Bytes;

use super::{Reply, Request};

/// A version of an object. Unlike [`MemoryObjects`](super::MemoryObjects), it makes [`Reply`]s, in which faults can
/// happen.
#[derive(Debug, Clone)]
pub struct Version {
    tag: String,
    content: Bytes,
}

impl Version {
    /// Returns a version with the strong entity tag `"tag"`.
    pub fn new(tag: &str, content: impl Into<Bytes>) -> Self {
        Self { tag: format!("\"{tag}\""), content: content.into() }
    }

    /// Returns its bytes.
    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// Returns the answer to a request: the whole, one range, a 304, 412 or 416.
    pub fn answer(&self, request: &Request) -> Reply {
        let tagged = |reply: Reply| reply.with("etag", &self.tag).with("accept-ranges", "bytes");
        let names = |field| request.field(field).split(", ").any(|tag| tag == self.tag || tag == "*");
        if !request.field("if-match").is_empty() && !names("if-match") {
            return Reply::status(412);
        }
        if names("if-none-match") {
            return tagged(Reply::status(304));
        }
        let length = self.content.len();
        let Some(range) = request.field("range").strip_prefix("bytes=") else {
            return tagged(Reply::ok(self.content.clone()));
        };
        let (first, last) = range.split_once('-').expect("one range");
        let number = |text: &str| text.parse::<usize>().ok();
        let (first, end) = match (number(first), number(last)) {
            (Some(first), last) => (first, last.map_or(length, |last| (last + 1).min(length))),
            (None, Some(suffix)) => (length.saturating_sub(suffix), length),
            (None, None) => panic!("no range: {range}"),
        };
        if first >= length {
            return Reply::status(416).with("content-range", &format!("bytes */{length}"));
        }
        tagged(Reply::part(self.content.slice(first..end), first as u64, length as u64))
    }
}
