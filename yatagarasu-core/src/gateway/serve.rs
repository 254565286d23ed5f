use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::fill::FillReader;
use crate::conditional::{Verdict, evaluate, range_applies};
use crate::freshness::Freshness;
use crate::outcome::StoredBody;
use crate::range::{Selection, content_range, select};
use crate::validator::Validators;
use crate::{
    Handling, Method, Object, ObjectMeta, Outcome, Reply, ReplyBody, Request, SourceError, StoredObject,
};

/// Fields that describe the content a 304 does not have (RFC 9110 15.4.5).
const CONTENT_FIELDS: [HeaderName; 5] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
];

/// Answers from memory: the object, a part of it, or what the client's conditions make of it.
pub(super) fn from_stored(request: &Request, stored: Arc<StoredObject>, now: SystemTime) -> Outcome {
    let ttl = match stored.freshness(now) {
        Freshness::Fresh(rest) => rest,
        Freshness::Stale => std::time::Duration::ZERO,
    };
    Outcome { handling: Handling::Hit { ttl }, reply: reply(request, stored, now) }
}

fn reply(request: &Request, stored: Arc<StoredObject>, now: SystemTime) -> Result<Reply, SourceError> {
    let validators = Validators::of(stored.meta().headers());
    let verdict = evaluate(&request.headers, &validators);
    let part = range_applies(request.method, &request.headers, &validators);
    let length = stored.body().length();

    let mut headers = stored.meta().headers().clone();
    headers.insert(header::AGE, HeaderValue::from(stored.age(now).as_secs()));
    let selection = match verdict {
        Verdict::PreconditionFailed => return Err(SourceError::PreconditionFailed),
        Verdict::NotModified => return Ok(not_modified(headers)),
        Verdict::Proceed if part => select(&request.headers, length),
        Verdict::Proceed => Selection::Whole,
    };
    let (status, range) = match selection {
        Selection::Whole => (StatusCode::OK, 0..length),
        Selection::Part(part) => {
            headers.insert(header::CONTENT_RANGE, content_range(&part, length));
            (StatusCode::PARTIAL_CONTENT, part)
        }
        Selection::Unsatisfiable => {
            return Err(SourceError::RangeNotSatisfiable { complete_length: Some(length) });
        }
    };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    let body = match request.method {
        Method::Get => ReplyBody::Stored(StoredBody::new(stored, range)),
        Method::Head => ReplyBody::Empty,
    };
    Ok(Reply { status, headers, body })
}

/// Answers with what a source sends, as it comes.
pub(super) fn streamed(object: Object) -> Reply {
    let status = if object.meta.is_partial() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    Reply { status, headers: object.meta.into_headers(), body: ReplyBody::Streamed(object.body) }
}

/// Answers with an object that is being received.
pub(super) fn filling(meta: &ObjectMeta, reader: FillReader) -> Reply {
    Reply { status: StatusCode::OK, headers: meta.headers().clone(), body: ReplyBody::Filling(reader) }
}

/// Answers a HEAD with what a source says.
pub(super) fn head(meta: ObjectMeta) -> Reply {
    Reply { status: StatusCode::OK, headers: meta.into_headers(), body: ReplyBody::Empty }
}

/// Says that the client has the object already (RFC 9110 15.4.5).
pub(super) fn not_modified(mut headers: HeaderMap) -> Reply {
    for name in CONTENT_FIELDS {
        headers.remove(name);
    }
    Reply { status: StatusCode::NOT_MODIFIED, headers, body: ReplyBody::Empty }
}
