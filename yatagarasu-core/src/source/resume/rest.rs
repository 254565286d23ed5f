//! The part of a body that has not arrived yet.

use std::ops::Range;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::http::content_range::parse_content_range;
use crate::http::fields::CONDITIONS;
use crate::http::range::ByteRange;
use crate::http::validator::EntityTag;
use crate::object::key::ObjectKey;
use crate::object::meta::ObjectMeta;
use crate::source::body::ObjectBody;
use crate::source::error::SourceError;
use crate::source::{Answer, Object, ObjectSource, SourceRequest};

/// Most bytes that are read and dropped if the source answers with the whole object. For more, the client had better
/// begin again.
const SKIPPED_BYTES_MAX: u64 = 1 << 20;

/// The bytes of one version of an object that have not arrived yet.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    key: ObjectKey,
    /// The request for the body, without its range and conditions.
    pub(super) request: SourceRequest,
    tag: HeaderValue,
    /// The bytes to come, and the length of the object if it is known.
    pub(super) range: Range<u64>,
    complete: Option<u64>,
}

/// The answer to a request for the rest of a body.
pub(super) enum Opened {
    /// Its first bytes, if some have arrived, and the others.
    Rest(Option<Bytes>, ObjectBody),
    /// The rest cannot be had, for this reason.
    Impossible(&'static str),
    /// It broke off before the byte at which the body goes on.
    Broken(SourceError),
}

impl Rest {
    /// Returns all of a body that is `length` bytes long. Returns `None` if it could not be continued.
    pub(super) fn of(
        key: &ObjectKey,
        request: &SourceRequest,
        meta: &ObjectMeta,
        length: Option<u64>,
    ) -> Option<Self> {
        let length = length.filter(|length| *length > 0)?;
        let headers = meta.headers();
        let tag = headers.get(header::ETAG)?;
        if EntityTag::parse(tag.as_bytes())?.is_weak() {
            return None;
        }
        let (range, complete) = if meta.is_partial() {
            parse_content_range(headers.get(header::CONTENT_RANGE)?)?
        } else {
            (0..length, Some(length))
        };
        if range.end - range.start != length {
            return None;
        }
        Some(Self { key: key.clone(), request: bare(request), tag: copied(tag), range, complete })
    }

    /// Asks for the rest. Takes it only if it is of the same version.
    pub(super) async fn open(self, source: &dyn ObjectSource) -> Result<Opened, SourceError> {
        let mut request = self.request.clone();
        let range = ByteRange::Within(self.range.start, self.range.end - 1);
        request.headers.insert(header::RANGE, range.field());
        request.headers.insert(header::IF_MATCH, self.tag.clone());
        let Answer::Object(Object { meta, mut body }) = source.get(&self.key, &request).await? else {
            return Ok(Opened::Impossible("the source answered 304"));
        };
        let headers = meta.headers();
        if headers.get(header::ETAG) != Some(&self.tag) {
            return Ok(Opened::Impossible("the object has changed"));
        }
        let left = self.range.end - self.range.start;
        if meta.is_partial() {
            let found = headers.get(header::CONTENT_RANGE).and_then(parse_content_range);
            let is_rest = found.is_some_and(|(range, complete)| {
                range == self.range && (complete.is_none() || complete == self.complete)
            });
            if !is_rest || body.remaining() != Some(left) {
                return Ok(Opened::Impossible("the source sent another range"));
            }
            return Ok(Opened::Rest(None, body));
        }
        if body.remaining() != self.complete || self.range.end != self.complete.unwrap_or_default() {
            return Ok(Opened::Impossible("the object has changed"));
        }
        if self.range.start > SKIPPED_BYTES_MAX {
            return Ok(Opened::Impossible("the source sends no ranges, and too much would be sent again"));
        }
        Ok(match skip(&mut body, self.range.start).await {
            Ok(early) => Opened::Rest(early, body),
            Err(error) => Opened::Broken(error),
        })
    }
}

/// Reads `count` bytes, which the client has already, and returns the rest.
async fn skip(body: &mut ObjectBody, count: u64) -> Result<Option<Bytes>, SourceError> {
    let mut left = count;
    while left > 0 {
        let ended = || SourceError::broken("the body ended before the byte at which it had broken off");
        let mut chunk = body.next().await.ok_or_else(ended)??;
        let taken = left.min(chunk.len() as u64);
        left -= taken;
        if left == 0 {
            let rest = chunk.split_off(usize::try_from(taken).expect("no more than a chunk"));
            return Ok((!rest.is_empty()).then_some(rest));
        }
    }
    Ok(None)
}

/// Returns a request for the same object without a range, without conditions, and for no part of a multipart upload:
/// `Range` says which bytes are meant.
fn bare(request: &SourceRequest) -> SourceRequest {
    let of_the_whole = |name: &HeaderName| {
        CONDITIONS.iter().chain([&header::IF_RANGE, &header::RANGE]).any(|other| name == other)
    };
    let headers = request.headers.iter().filter(|(name, _)| !of_the_whole(name));
    let headers: HeaderMap = headers.map(|(name, value)| (name.clone(), copied(value))).collect();
    let is_part =
        |pair: &&str| pair.split('=').next().is_some_and(|name| name.eq_ignore_ascii_case("partNumber"));
    let query = request
        .query
        .as_deref()
        .map(|query| query.split('&').filter(|pair| !is_part(pair)).collect::<Vec<_>>().join("&"));
    let query = query.filter(|query| !query.is_empty()).map(Into::into);
    SourceRequest { headers, query, traffic: request.traffic, trace: request.trace.clone() }
}

/// Returns a copy of a value that does not keep the buffer alive that it was read into.
fn copied(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).expect("a header value stays one")
}
