//! Building replies from stored objects, running fills and open source bodies.

use crate::clock::Moment;
use std::ops::Range;
use std::sync::Arc;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::cache::entry::{CacheEntry, EntryKind};
use crate::gateway::fill::reader::FillReader;
use crate::gateway::outcome::body::ReplyBody;
use crate::gateway::outcome::multipart::{MultipartBody, PartContent};
use crate::gateway::outcome::stored_body::StoredBody;
use crate::gateway::outcome::{GatewayError, Reply};
use crate::gateway::request::Request;
use crate::http::conditional::{Verdict, evaluate, range_applies};
use crate::http::content_range::content_range;
use crate::http::fields::{CONDITIONS, drop_whole_only};
use crate::http::method::Method;
use crate::http::multipart::{Layout, boundary};
use crate::http::range::{Selection, requested, select};
use crate::http::validator::Validators;
use crate::object::meta::{ObjectMeta, content_length};
use crate::source::Object;
use crate::source::error::SourceError;

/// Fields that describe content, which a 304 does not have (RFC 9110 15.4.5).
const CONTENT_FIELDS: [HeaderName; 5] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
];

/// Room for the added fields: `Age`, `Content-Length`, `Content-Range`, and the server's own fields.
const FIELDS_ADDED: usize = 7;

/// Largest capacity, in fields, of a header map that is reused.
const ROOM_MAX: usize = 64;

/// The representation that a request selects from an object of known fields and length.
enum Choice {
    /// 304: the client already has it.
    NotModified,
    /// The whole object; the range covers all of it.
    Whole(Range<u64>),
    /// A single range.
    Part(Range<u64>),
    /// Several ranges.
    Parts(Vec<Range<u64>>),
}

/// The content of an object, and its length in bytes.
pub(super) struct Content {
    pub(super) bytes: Bytes,
    pub(super) length: u64,
}

/// The source of the body's bytes.
pub(super) enum Bytes {
    Stored(Arc<CacheEntry>),
    Filling(FillReader),
}

impl Content {
    fn stored(entry: Arc<CacheEntry>) -> Self {
        Self { length: entry.length(), bytes: Bytes::Stored(entry) }
    }
}

/// Answers from a stored entry: the object, parts of it, a 304, or an error.
pub(super) fn stored(request: &Request, stored: Arc<CacheEntry>, now: Moment) -> Result<Reply, GatewayError> {
    check(&stored)?;
    let mut headers = fields(HeaderMap::new(), &stored, now);
    let choice = choose(request, &headers, stored.length())?;
    if let Choice::NotModified = choice {
        stored.meta().append_vary(&mut headers);
    }
    Ok(reply(request.method, choice, headers, Content::stored(stored)))
}

/// Like [`stored`], but builds the reply's fields in the request's own header map. The server puts the next
/// request's fields into the map that the reply used, so that a connection's hits share one allocation.
pub(super) fn stored_in_place(
    request: Request,
    stored: Arc<CacheEntry>,
    now: Moment,
) -> Result<Reply, GatewayError> {
    // What selects a representation is still needed. Do not let one request with many fields enlarge its connection's
    // memory for good.
    if is_selective(&request.headers) || request.headers.capacity() > ROOM_MAX {
        return self::stored(&request, stored, now);
    }
    check(&stored)?;
    let headers = fields(request.headers, &stored, now);
    Ok(reply(request.method, Choice::Whole(0..stored.length()), headers, Content::stored(stored)))
}

/// Returns the error that a negative entry holds.
fn check(stored: &CacheEntry) -> Result<(), GatewayError> {
    match stored.kind() {
        EntryKind::Negative(error) => Err(GatewayError::Source(error.clone())),
        EntryKind::Full(_)
        | EntryKind::Coded(_)
        | EntryKind::Partial(_)
        | EntryKind::VaryMarker(_)
        | EntryKind::HitForPass => Ok(()),
    }
}

/// Copies the stored fields and the current `Age` into `map`.
fn fields(mut map: HeaderMap, stored: &CacheEntry, now: Moment) -> HeaderMap {
    map.clear();
    stored.meta().append_to(&mut map, FIELDS_ADDED);
    map.insert(header::AGE, number(stored.age(now).as_secs()));
    map
}

/// Returns a number as a header value, in one allocation of its exact size.
fn number(value: u64) -> HeaderValue {
    HeaderValue::from_str(itoa::Buffer::new().format(value)).expect("digits are a value")
}

/// Answers with these fields and bytes, which were fetched just now or are still arriving.
pub(super) fn fetched(
    request: &Request,
    headers: HeaderMap,
    content: Content,
) -> Result<Reply, GatewayError> {
    let choice = choose(request, &headers, content.length)?;
    Ok(reply(request.method, choice, headers, content))
}

fn reply(method: Method, choice: Choice, mut headers: HeaderMap, content: Content) -> Reply {
    let Content { bytes, length } = content;
    let (status, body) = match choice {
        Choice::NotModified => return not_modified(headers),
        Choice::Whole(range) => {
            if content_length(&headers) != Some(length) {
                headers.insert(header::CONTENT_LENGTH, number(length));
            }
            (StatusCode::OK, single(bytes, range))
        }
        Choice::Part(part) => {
            drop_whole_only(&mut headers);
            headers.insert(header::CONTENT_RANGE, content_range(&part, length));
            headers.insert(header::CONTENT_LENGTH, number(part.end - part.start));
            (StatusCode::PARTIAL_CONTENT, single(bytes, part))
        }
        Choice::Parts(parts) => {
            drop_whole_only(&mut headers);
            let layout = Layout::new(parts, headers.get(header::CONTENT_TYPE), length, boundary());
            headers.insert(header::CONTENT_TYPE, layout.content_type());
            headers.insert(header::CONTENT_LENGTH, number(layout.length()));
            (StatusCode::PARTIAL_CONTENT, several(bytes, layout))
        }
    };
    let body = match method {
        Method::Get => body,
        Method::Head => ReplyBody::Empty,
    };
    Reply { status, headers, body }
}

/// Evaluates conditions, then ranges (RFC 9110 13.2.2, 14.2).
fn choose(request: &Request, headers: &HeaderMap, length: u64) -> Result<Choice, SourceError> {
    if !is_selective(&request.headers) {
        return Ok(Choice::Whole(0..length));
    }
    let validators = Validators::of(headers);
    match evaluate(&request.headers, &validators) {
        Verdict::PreconditionFailed => return Err(SourceError::precondition_failed(headers)),
        Verdict::NotModified => return Ok(Choice::NotModified),
        Verdict::Proceed => {}
    }
    if !range_applies(request.method, &request.headers, &validators) {
        return Ok(Choice::Whole(0..length));
    }
    match select(&request.headers, length) {
        Selection::Whole => Ok(Choice::Whole(0..length)),
        Selection::Part(part) => Ok(Choice::Part(part)),
        Selection::Parts(parts) => Ok(Choice::Parts(parts)),
        Selection::Unsatisfiable => Err(SourceError::range_not_satisfiable(headers, length)),
    }
}

/// Returns `true` if a request has conditions or a range. Most have neither, and parsing validators takes time.
fn is_selective(asked: &HeaderMap) -> bool {
    asked.contains_key(header::RANGE) || CONDITIONS.iter().any(|name| asked.contains_key(name))
}

fn single(bytes: Bytes, range: Range<u64>) -> ReplyBody {
    match bytes {
        Bytes::Stored(stored) => ReplyBody::Stored(StoredBody::new(stored, range)),
        Bytes::Filling(mut reader) => {
            reader.select(range);
            ReplyBody::Filling(reader)
        }
    }
}

fn several(bytes: Bytes, layout: Layout) -> ReplyBody {
    let content = match bytes {
        Bytes::Stored(stored) => PartContent::Stored(StoredBody::new(stored, 0..0)),
        Bytes::Filling(reader) => PartContent::Filling(reader),
    };
    ReplyBody::Multipart(Box::new(MultipartBody::new(layout, content)))
}

/// Answers with the source's response, streamed as it arrives.
pub(super) fn streamed(object: Object) -> Reply {
    let (status, headers) = passed(object.meta);
    Reply { status, headers, body: ReplyBody::Streamed(object.body) }
}

/// Returns the status and the fields of a source's response that is passed on. S3 sends the digest of the whole with a
/// part, too.
fn passed(meta: ObjectMeta) -> (StatusCode, HeaderMap) {
    let is_partial = meta.is_partial();
    let mut headers = meta.into_headers();
    if !is_partial {
        return (StatusCode::OK, headers);
    }
    drop_whole_only(&mut headers);
    (StatusCode::PARTIAL_CONTENT, headers)
}

/// Answers with a part of an object, as the source sent it or still sends it.
pub(super) fn part(mut headers: HeaderMap, content: Content) -> Reply {
    drop_whole_only(&mut headers);
    let body = single(content.bytes, 0..content.length);
    Reply { status: StatusCode::PARTIAL_CONTENT, headers, body }
}

/// Answers a HEAD with an object's fields, or as its conditions require.
pub(super) fn head(request: &Request, meta: ObjectMeta) -> Result<Reply, GatewayError> {
    if let Some(reply) = conditional(request, &meta)? {
        return Ok(reply);
    }
    let (status, headers) = passed(meta);
    Ok(Reply { status, headers, body: ReplyBody::Empty })
}

/// Evaluates the client's conditions. Returns `None` if they let it have the object, a 304, or an error.
pub(super) fn conditional(request: &Request, meta: &ObjectMeta) -> Result<Option<Reply>, GatewayError> {
    if !CONDITIONS.iter().any(|name| request.headers.contains_key(name)) {
        return Ok(None);
    }
    let headers = meta.headers();
    match evaluate(&request.headers, &Validators::of(&headers)) {
        Verdict::Proceed => Ok(None),
        Verdict::NotModified => Ok(Some(not_modified(headers.into_owned()))),
        Verdict::PreconditionFailed => Err(SourceError::precondition_failed(&headers).into()),
    }
}

/// Returns `true` if the client wants exactly one range, which the source can send by itself.
pub(super) fn wants_one_part(request: &Request, meta: &ObjectMeta) -> bool {
    let one = requested(&request.headers).and_then(|ranges| ranges.single()).is_some();
    one && range_applies(request.method, &request.headers, &Validators::of(&meta.headers()))
}

/// Returns `true` if the client wants one range, and that is the whole object.
pub(super) fn covers_range(request: &Request, meta: &ObjectMeta) -> bool {
    let Some(length) = meta.content_length().filter(|_| wants_one_part(request, meta)) else { return false };
    matches!(select(&request.headers, length), Selection::Part(part) if part == (0..length))
}

/// Answers a range that is the whole object with the object, streamed as it arrives.
pub(super) fn streamed_range(object: Object) -> Reply {
    let length = object.meta.content_length();
    let mut headers = object.meta.into_headers();
    drop_whole_only(&mut headers);
    if let Some(length) = length {
        headers.insert(header::CONTENT_RANGE, content_range(&(0..length), length));
    }
    Reply { status: StatusCode::PARTIAL_CONTENT, headers, body: ReplyBody::Streamed(object.body) }
}

/// Returns a 304 with these fields, except those that describe content (RFC 9110 15.4.5).
pub(super) fn not_modified(mut headers: HeaderMap) -> Reply {
    for name in CONTENT_FIELDS {
        headers.remove(name);
    }
    drop_whole_only(&mut headers);
    Reply { status: StatusCode::NOT_MODIFIED, headers, body: ReplyBody::Empty }
}
