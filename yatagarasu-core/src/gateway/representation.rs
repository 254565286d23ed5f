use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::cache::entry::{Content, StoredObject};
use crate::gateway::fill::reader::FillReader;
use crate::gateway::outcome::body::ReplyBody;
use crate::gateway::outcome::multipart::{MultipartBody, PartContent};
use crate::gateway::outcome::stored_body::StoredBody;
use crate::gateway::outcome::{Refusal, Reply};
use crate::gateway::request::Request;
use crate::http::conditional::{Verdict, evaluate, range_applies};
use crate::http::content_range::content_range;
use crate::http::fields::CONDITIONS;
use crate::http::method::Method;
use crate::http::multipart::{Layout, boundary};
use crate::http::range::{Selection, requested, select};
use crate::http::validator::Validators;
use crate::object::meta::{ObjectMeta, content_length};
use crate::source::Object;
use crate::source::error::SourceError;

/// Fields that describe the content a 304 does not have (RFC 9110 15.4.5).
const CONTENT_FIELDS: [HeaderName; 5] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
];

/// `Age`, `Content-Length` and `Content-Range`, and what the server says of itself and the cache.
const FIELDS_ADDED: usize = 7;

/// Fields for which a map has room that is used again.
const ROOM_MAX: usize = 64;

/// What a request makes of an object whose fields and length are known.
enum Choice {
    /// The client has it.
    NotModified,
    /// These bytes, which are all of it.
    Whole(Range<u64>),
    /// These.
    Part(Range<u64>),
    /// These, several.
    Parts(Vec<Range<u64>>),
}

/// Where the bytes come from.
pub(super) enum Bytes {
    Stored(Arc<StoredObject>),
    Filling(FillReader),
}

/// Answers from memory: the object, parts of it, or what the client's conditions make of it.
pub(super) fn stored(
    request: &Request,
    stored: Arc<StoredObject>,
    now: SystemTime,
) -> Result<Reply, Refusal> {
    let choice = chosen(request, &stored)?;
    let headers = fields(HeaderMap::new(), &stored, now);
    Ok(reply(request.method, choice, headers, stored.length(), Bytes::Stored(stored)))
}

/// The same in the room of the request's own fields, which nobody needs any more then: the server puts the next
/// request's fields where the answer's were, so that a connection's hits share one map.
pub(super) fn recalled(
    request: &mut Request,
    stored: Arc<StoredObject>,
    now: SystemTime,
) -> Result<Reply, Refusal> {
    let choice = chosen(request, &stored)?;
    let room = std::mem::take(&mut request.headers);
    // A request of many fields must not make its connection larger for good.
    let room = if room.capacity() > ROOM_MAX { HeaderMap::new() } else { room };
    let headers = fields(room, &stored, now);
    Ok(reply(request.method, choice, headers, stored.length(), Bytes::Stored(stored)))
}

fn chosen(request: &Request, stored: &StoredObject) -> Result<Choice, Refusal> {
    match stored.content() {
        Content::Refusal(error) => Err(Refusal::Source((**error).clone())),
        Content::Whole(_) | Content::Parts(_) | Content::Variants(_) | Content::Passed => {
            Ok(choose(request, stored.meta().headers(), stored.length())?)
        }
    }
}

/// Puts what is stored of an object's fields, and its age, into `map`.
fn fields(mut map: HeaderMap, stored: &StoredObject, now: SystemTime) -> HeaderMap {
    let stored_fields = stored.meta().headers();
    map.clear();
    // A map that grows is copied.
    map.reserve(stored_fields.len() + FIELDS_ADDED);
    map.extend(stored_fields.iter().map(|(name, value)| (name.clone(), value.clone())));
    map.insert(header::AGE, number(stored.age(now).as_secs()));
    map
}

/// Writes a number in one allocation of its size.
fn number(value: u64) -> HeaderValue {
    HeaderValue::from_str(itoa::Buffer::new().format(value)).expect("digits are a value")
}

/// Answers with an object that has just been fetched, or is being received, with these fields.
pub(super) fn fetched(
    request: &Request,
    headers: HeaderMap,
    length: u64,
    bytes: Bytes,
) -> Result<Reply, Refusal> {
    let choice = choose(request, &headers, length)?;
    Ok(reply(request.method, choice, headers, length, bytes))
}

fn reply(method: Method, choice: Choice, mut headers: HeaderMap, length: u64, bytes: Bytes) -> Reply {
    let (status, body) = match choice {
        Choice::NotModified => return not_modified(headers),
        Choice::Whole(range) => {
            if content_length(&headers) != Some(length) {
                headers.insert(header::CONTENT_LENGTH, number(length));
            }
            (StatusCode::OK, single(bytes, range))
        }
        Choice::Part(part) => {
            headers.insert(header::CONTENT_RANGE, content_range(&part, length));
            headers.insert(header::CONTENT_LENGTH, number(part.end - part.start));
            (StatusCode::PARTIAL_CONTENT, single(bytes, part))
        }
        Choice::Parts(parts) => {
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

/// Carries out conditions, then ranges (RFC 9110 13.2.2, 14.2).
fn choose(request: &Request, headers: &HeaderMap, length: u64) -> Result<Choice, SourceError> {
    if !is_selective(&request.headers) {
        return Ok(Choice::Whole(0..length));
    }
    let validators = Validators::of(headers);
    match evaluate(&request.headers, &validators) {
        Verdict::PreconditionFailed => return Err(SourceError::PreconditionFailed),
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
        Selection::Unsatisfiable => Err(SourceError::RangeNotSatisfiable { complete_length: Some(length) }),
    }
}

/// Whether a request has conditions or a range: most have neither, and reading validators takes time.
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

/// Answers with what a source sends, as it comes.
pub(super) fn streamed(object: Object) -> Reply {
    let status = if object.meta.is_partial() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    Reply { status, headers: object.meta.into_headers(), body: ReplyBody::Streamed(object.body) }
}

/// Answers with a part of an object that is being received.
pub(super) fn part(headers: HeaderMap, reader: FillReader) -> Reply {
    Reply { status: StatusCode::PARTIAL_CONTENT, headers, body: ReplyBody::Filling(reader) }
}

/// Answers with the fields of an object, or with what the client's conditions make of it.
pub(super) fn head(request: &Request, meta: ObjectMeta) -> Result<Reply, Refusal> {
    conditional(request, &meta)?.map_or_else(
        || Ok(Reply { status: StatusCode::OK, headers: meta.into_headers(), body: ReplyBody::Empty }),
        Ok,
    )
}

/// What the client's conditions make of an object, if they do not let it have it.
pub(super) fn conditional(request: &Request, meta: &ObjectMeta) -> Result<Option<Reply>, Refusal> {
    match evaluate(&request.headers, &Validators::of(meta.headers())) {
        Verdict::Proceed => Ok(None),
        Verdict::NotModified => Ok(Some(not_modified(meta.headers().clone()))),
        Verdict::PreconditionFailed => Err(SourceError::PreconditionFailed.into()),
    }
}

/// Whether a client wants one part of an object that its source can send by itself.
pub(super) fn wants_one_part(request: &Request, meta: &ObjectMeta) -> bool {
    let one = requested(&request.headers).and_then(|ranges| ranges.single()).is_some();
    one && range_applies(request.method, &request.headers, &Validators::of(meta.headers()))
}

/// Says that the client has the object already (RFC 9110 15.4.5).
pub(super) fn not_modified(mut headers: HeaderMap) -> Reply {
    for name in CONTENT_FIELDS {
        headers.remove(name);
    }
    Reply { status: StatusCode::NOT_MODIFIED, headers, body: ReplyBody::Empty }
}
