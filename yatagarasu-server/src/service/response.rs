//! Builds the responses to public requests. All of them get the same fields about the gateway and its cache here.

use std::cell::Cell;
use std::io::Write;

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, VIA};
use http::{Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use yatagarasu_core::caching::cache_status::Detail;
use yatagarasu_core::gateway::PlainHit;
use yatagarasu_core::{CacheStatus, Outcome};

use crate::service::body::ResponseBody;
use crate::service::problem::{ALLOW, Problem};
use crate::telemetry::access_log::Entry;
use crate::telemetry::request_id::{RequestId, X_REQUEST_ID};

/// `HIT`, `REVALIDATED`, `STALE` or `MISS`, for people and for tools that do not know `Cache-Status`.
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// RFC 9211.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Maximum length of the gateway's member of `Cache-Status`, without a key.
const CACHE_STATUS_BYTES_MAX: usize = 192;

/// Capacity that most response heads fit in.
const HEAD_BYTES: usize = 768;

/// Maximum capacity of the buffer that a thread keeps for its next response head.
const HEAD_BYTES_KEPT: usize = 4 * 1024;

thread_local! {
    /// The buffer of a response head that has been sent, for reuse.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The gateway's entry in `Via` (RFC 9110 7.6.3).
const PSEUDONYM: &str = "1.1 yatagarasu";

/// Returns the response for an outcome. `key` is the cache key to show to clients, if any.
pub(crate) fn outcome(
    outcome: Outcome,
    key: Option<&str>,
    request_id: &RequestId,
    entry: Entry,
) -> Response<ResponseBody> {
    let Outcome { handling, reply } = outcome;
    match reply {
        Ok(reply) => {
            let handling = handling.beside(reply.status);
            let entry = entry.answered(reply.status, handling);
            let mut response = Response::new(ResponseBody::reply(reply.body, entry));
            *response.status_mut() = reply.status;
            *response.headers_mut() = reply.headers;
            sign(response.headers_mut(), &handling, key, request_id);
            response
        }
        Err(refusal) => {
            let problem = Problem::of(&refusal);
            let handling = handling.beside(problem.status());
            let entry = entry.refused(&refusal);
            rendered(&problem, handling, key, request_id, entry)
        }
    }
}

/// Returns the response to a request that is itself at fault.
pub(crate) fn problem(problem: &Problem<'_>, request_id: &RequestId, entry: Entry) -> Response<ResponseBody> {
    rendered(problem, CacheStatus::Own(Detail::Local), None, request_id, entry)
}

fn rendered(
    problem: &Problem<'_>,
    handling: CacheStatus,
    key: Option<&str>,
    request_id: &RequestId,
    entry: Entry,
) -> Response<ResponseBody> {
    let response = problem.render(request_id);
    let entry = entry.answered(response.status(), handling);
    let mut response = response.map(|document| ResponseBody::document(document, entry));
    sign(response.headers_mut(), &handling, key, request_id);
    response
}

/// Returns the response to OPTIONS, with the supported methods (RFC 9110 9.3.7).
pub(crate) fn options(request_id: &RequestId, entry: Entry) -> Response<ResponseBody> {
    let handling = CacheStatus::Own(Detail::Local);
    let entry = entry.answered(StatusCode::NO_CONTENT, handling);
    let mut response = Response::new(ResponseBody::document(bytes::Bytes::new(), entry));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(http::header::ALLOW, ALLOW);
    sign(response.headers_mut(), &handling, None, request_id);
    response
}

/// Removes the content and keeps the fields that describe it, as for HEAD.
pub(crate) fn without_body(response: Response<ResponseBody>) -> Response<ResponseBody> {
    let (mut head, body) = response.into_parts();
    if let (Some(length), false) = (body.document_length(), head.headers.contains_key(CONTENT_LENGTH)) {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, body.emptied())
}

/// Adds the fields that every response has: the request id, `Via`, `X-Cache` and `Cache-Status`.
fn sign(headers: &mut HeaderMap, handling: &CacheStatus, key: Option<&str>, request_id: &RequestId) {
    headers.insert(X_REQUEST_ID, request_id.field());
    headers.append(VIA, HeaderValue::from_static(PSEUDONYM));
    headers.insert(X_CACHE, HeaderValue::from_static(handling.x_cache()));
    headers.append(CACHE_STATUS, cache_status(handling, key));
}

/// Returns the response head for a plain GET (RFC 9112 4), with the same fields as [`outcome`] gives the same object.
pub(crate) fn head(recalled: &PlainHit, request_id: &RequestId) -> Vec<u8> {
    let mut head = ROOM.take();
    head.reserve(HEAD_BYTES);
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    head.extend_from_slice(recalled.stored.meta().lines());
    let mut digits = itoa::Buffer::new();
    head.extend_from_slice(b"age: ");
    head.extend_from_slice(digits.format(recalled.age.as_secs()).as_bytes());
    head.extend_from_slice(b"\r\ncontent-length: ");
    head.extend_from_slice(digits.format(recalled.stored.length()).as_bytes());
    head.extend_from_slice(b"\r\nx-request-id: ");
    request_id.written(|id| head.extend_from_slice(id));
    head.extend_from_slice(b"\r\nvia: ");
    head.extend_from_slice(PSEUDONYM.as_bytes());
    head.extend_from_slice(b"\r\nx-cache: ");
    head.extend_from_slice(recalled.handling.x_cache().as_bytes());
    head.extend_from_slice(b"\r\ncache-status: ");
    with_member(&recalled.handling, |member| head.extend_from_slice(member));
    head.extend_from_slice(b"\r\n\r\n");
    head
}

/// Keeps the buffer of a sent response head for the next one.
pub(crate) fn head_sent(mut head: Vec<u8>) {
    if head.capacity() <= HEAD_BYTES_KEPT {
        head.clear();
        ROOM.set(head);
    }
}

/// Returns the gateway's member of `Cache-Status`. Without a key it takes one allocation of the exact size.
fn cache_status(handling: &CacheStatus, key: Option<&str>) -> HeaderValue {
    match key {
        Some(key) => {
            let member = format!("Yatagarasu; {handling}; key=\"{}\"", text(key));
            HeaderValue::try_from(member).expect("tokens and text are a value")
        }
        None => with_member(handling, HeaderValue::from_bytes).expect("tokens are a value"),
    }
}

/// Calls `look` with the member without a key.
fn with_member<T>(handling: &CacheStatus, look: impl FnOnce(&[u8]) -> T) -> T {
    let mut member = [0; CACHE_STATUS_BYTES_MAX];
    let mut rest = &mut member[..];
    write!(rest, "Yatagarasu; {handling}").expect("it has room for all that can be said");
    let unused = rest.len();
    look(&member[..CACHE_STATUS_BYTES_MAX - unused])
}

/// Returns a text escaped for a string of RFC 9651 3.3.3. Such a string is printable ASCII: other bytes and the percent
/// sign are percent-encoded.
fn text(key: &str) -> String {
    let printable = utf8_percent_encode(key, UNPRINTABLE).to_string();
    printable.replace('\\', "\\\\").replace('"', "\\\"")
}

const UNPRINTABLE: &AsciiSet = &CONTROLS.add(b'%');

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use yatagarasu_core::caching::cache_status::{ForwardReason, Forwarding};
    use yatagarasu_core::caching::freshness::Freshness;

    use super::*;

    #[test]
    fn the_longest_member_of_cache_status_has_room() {
        let longest = CacheStatus::Forwarded(Forwarding {
            status: Some(StatusCode::NOT_MODIFIED),
            freshness: Some(Freshness::Stale(Duration::MAX)),
            stored: true,
            collapsed: true,
            detail: Some(Detail::WhileRevalidating),
            ..Forwarding::new(ForwardReason::VaryMiss)
        });
        assert_eq!(cache_status(&longest, None), format!("Yatagarasu; {longest}"));
        let keyed = cache_status(&longest, Some("b/k"));
        assert_eq!(keyed, format!("Yatagarasu; {longest}; key=\"b/k\""));
    }

    #[test]
    fn any_key_is_a_text() {
        assert_eq!(text("css/a b.css"), "css/a b.css");
        assert_eq!(text("a\"b\\c%d\u{e9}\n"), "a\\\"b\\\\c%25d%C3%A9%0A");
    }
}
