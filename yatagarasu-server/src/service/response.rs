//! Builds the responses to public requests. All of them get the same fields about the gateway and its cache here.

use std::cell::Cell;
use std::io::Write;
use std::sync::Arc;

use http::header::{
    AGE, CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, VIA,
};
use http::{Method, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::time::Instant;
use yatagarasu_core::caching::cache_status::Detail;
use yatagarasu_core::gateway::hit::PlainHit;
use yatagarasu_core::http::coding::{varies_by_coding, vary_by_coding};
use yatagarasu_core::http::cors::CorsRules;
use yatagarasu_core::http::fields::OF_OBJECTS;
use yatagarasu_core::http::response_fields::{ResponseFields, varies, vary_by_origin};
use yatagarasu_core::http::validator::date_field;
use yatagarasu_core::{CacheStatus, Clock, GatewayError, ObjectKey, Outcome, SourceTrace, SystemClock};

use crate::listener::terms::Front;
use crate::service::body::ResponseBody;
use crate::service::handler::Hit;
use crate::service::own::OwnAnswer;
use crate::service::problem::{ALLOW, Problem};
use crate::service::site::Page;
use crate::service::site::rules::fields::PathFields;
use crate::telemetry::access_log::write::millis;
use crate::telemetry::access_log::{Entry, Waited};
use crate::telemetry::request_id::{RequestId, X_REQUEST_ID};

/// `HIT`, `REVALIDATED`, `STALE` or `MISS`, for people and for tools that do not know `Cache-Status`.
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// W3C Server Timing 2.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// RFC 9211.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Maximum length of the gateway's member of `Cache-Status`, without a key.
const CACHE_STATUS_BYTES_MAX: usize = 192;

/// Capacity that most response heads fit in.
const HEAD_BYTES: usize = 768;

/// Capacity that most values of `Server-Timing` fit in.
const SERVER_TIMING_BYTES: usize = 64;

/// Maximum capacity of the buffer that a thread keeps for its next response head.
const HEAD_BYTES_KEPT: usize = 4 * 1024;

thread_local! {
    /// The buffer of a response head that has been sent, for reuse.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The gateway's entry in `Via` (RFC 9110 7.6.3).
const PSEUDONYM: &str = "1.1 yatagarasu";

/// Further fields of a list that stay as they are. Its policy allows its own style only.
const OF_LISTS: [HeaderName; 3] = [CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE];

/// What a response needs to know of its request.
pub(crate) struct ResponseContext {
    pub(crate) request_id: RequestId,
    /// The cache key to show to the client, if any.
    pub(crate) key: Option<String>,
    pub(crate) entry: Entry,
    /// The wait for the source, if the request was sent to one.
    pub(crate) waited: Option<Waited>,
    /// What the bucket changes about the fields of the response. `None` if no bucket is meant.
    pub(crate) changes: Option<Changes>,
}

impl ResponseContext {
    /// Records the wait for the source since `begun`, if the outcome is one of that.
    pub(crate) fn note_wait(&mut self, outcome: &Outcome, begun: Instant, trace: Arc<SourceTrace>) {
        if let CacheStatus::Forwarded(_) = outcome.handling {
            self.waited = Some(Waited { time: begun.elapsed(), trace });
        }
    }
}

/// What a bucket changes about the fields of a response.
pub(crate) struct Changes {
    pub(crate) fields: Arc<ResponseFields>,
    /// The object's key.
    pub(crate) key: ObjectKey,
    /// Whether the content is a list of a folder.
    pub(crate) is_list: bool,
    /// What the rules of a website change about the fields.
    pub(crate) of_site: Option<PathFields>,
    /// The `Content-Disposition` that the client has asked for.
    pub(crate) disposition: Option<HeaderValue>,
    /// The bucket's own rules for pages of other origins, and the page's origin.
    pub(crate) cors: Option<(Arc<CorsRules>, Option<HeaderValue>)>,
}

impl Changes {
    /// Applies the changes to a list instead of an object. `key` is that of the folder's page.
    pub(crate) fn turn_to_list(&mut self, key: ObjectKey) {
        (self.key, self.is_list, self.disposition) = (key, true, None);
    }

    /// Changes the fields of a response with an object, or of a redirect to one.
    ///
    /// On an error, the fields of objects stay as they are: browsers would keep for a year that there is nothing. So do those of a list,
    /// which is no file that a rule could be meant for.
    fn apply(&self, status: StatusCode, headers: &mut HeaderMap) {
        if status.as_u16() >= 400 {
            self.apply_but(&OF_OBJECTS, headers);
        } else if self.is_list {
            self.apply_but(&[&OF_OBJECTS[..], &OF_LISTS].concat(), headers);
        } else {
            self.apply_all(headers);
        }
    }

    /// Changes the fields of a response whose content the gateway has written.
    fn apply_to_document(&self, headers: &mut HeaderMap) {
        self.apply_but(&[&OF_OBJECTS[..], &[CONTENT_LANGUAGE, CONTENT_TYPE]].concat(), headers);
    }

    fn apply_but(&self, kept: &[HeaderName], headers: &mut HeaderMap) {
        let own: HeaderMap = kept.iter().flat_map(|name| fields(headers, name)).collect();
        self.apply_all(headers);
        for name in kept {
            headers.remove(name);
        }
        headers.extend(own);
    }

    fn apply_all(&self, headers: &mut HeaderMap) {
        self.fields.apply(Some(self.key.as_str()), headers);
        if let Some(fields) = &self.of_site {
            let (by_coding, by_origin) = (varies_by_coding(headers), varies(headers));
            fields.apply(headers);
            // A website must not have caches give one client's answer to another.
            if by_coding {
                vary_by_coding(headers);
            }
            if by_origin {
                vary_by_origin(headers);
            }
        }
        if let Some((rules, origin)) = &self.cors {
            rules.write(origin.as_ref(), headers);
        }
    }
}

/// Returns the fields of a name.
fn fields(headers: &HeaderMap, name: &HeaderName) -> Vec<(HeaderName, HeaderValue)> {
    headers.get_all(name).iter().map(|value| (name.clone(), value.clone())).collect()
}

/// Returns the response for an outcome.
pub(crate) fn outcome(outcome: Outcome, context: ResponseContext) -> Response<ResponseBody> {
    let Outcome { handling, reply } = outcome;
    match reply {
        Ok(reply) => {
            let handling = handling.beside(reply.status);
            let ResponseContext { request_id, key, entry, waited, changes } = context;
            let entry = entry.waited(waited.as_ref()).answered(reply.status, handling);
            let mut response = Response::new(ResponseBody::reply(reply.body, entry));
            *response.status_mut() = reply.status;
            *response.headers_mut() = reply.headers;
            if let Some(changes) = changes {
                changes.apply(reply.status, response.headers_mut());
                if let Some(disposition) = changes.disposition.filter(|_| reply.status.as_u16() < 400) {
                    response.headers_mut().insert(CONTENT_DISPOSITION, disposition);
                }
            }
            sign(response.headers_mut(), &handling, key.as_deref(), &request_id);
            time(response.headers_mut(), waited.as_ref());
            response
        }
        Err(refusal) => {
            let problem = Problem::of(&refusal);
            let handling = handling.beside(problem.status());
            let entry = context.entry.refused(&refusal);
            rendered(&problem, handling, ResponseContext { entry, ..context })
        }
    }
}

/// Returns the response to a request that is itself at fault.
pub(crate) fn problem(problem: &Problem<'_>, context: ResponseContext) -> Response<ResponseBody> {
    let entry = context.entry.invalid(problem.detail());
    rendered(problem, CacheStatus::Own(Detail::Local), ResponseContext { entry, ..context })
}

/// Returns the response with the page of a website for an error.
pub(crate) fn error_page(
    refusal: &GatewayError,
    handling: CacheStatus,
    page: &Page,
    context: ResponseContext,
) -> Response<ResponseBody> {
    let problem = Problem::of(refusal);
    let mut response = problem.render(&context.request_id).map(|_| page.content.clone());
    for (name, value) in &page.headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    let entry = context.entry.refused(refusal);
    local(response, handling.beside(problem.status()), ResponseContext { entry, ..context })
}

fn rendered(
    problem: &Problem<'_>,
    handling: CacheStatus,
    context: ResponseContext,
) -> Response<ResponseBody> {
    let response = problem.render(&context.request_id);
    local(response, handling, context)
}

/// Returns a response with a document of the gateway.
fn local(
    response: Response<bytes::Bytes>,
    handling: CacheStatus,
    context: ResponseContext,
) -> Response<ResponseBody> {
    let ResponseContext { request_id, key, entry, waited, changes } = context;
    let entry = entry.waited(waited.as_ref()).answered(response.status(), handling);
    let mut response = response.map(|document| ResponseBody::document(document, entry));
    changes.inspect(|changes| changes.apply_to_document(response.headers_mut()));
    sign(response.headers_mut(), &handling, key.as_deref(), &request_id);
    time(response.headers_mut(), waited.as_ref());
    response
}

/// Returns the whole response to bytes that are no request, as it goes over the wire, and the entry of the access log.
/// The connection ends with it.
pub(crate) fn refusal(
    problem: &Problem<'_>,
    front: &Front,
    request_id: &RequestId,
    entry: Entry,
) -> (Vec<u8>, Entry) {
    let handling = CacheStatus::Own(Detail::Local);
    let (mut head, document) = problem.render(request_id).into_parts();
    let mut entry = entry.invalid(problem.detail()).answered(head.status, handling);
    sign(&mut head.headers, &handling, None, request_id);
    front.mark(&mut head.headers);
    head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(document.len()));
    let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        bytes.add(name.clone(), FieldValue::Bytes(value.as_bytes()));
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&document);
    entry.sent(document.len() as u64);
    (bytes, entry)
}

/// Returns the response to OPTIONS, with the supported methods (RFC 9110 9.3.7).
pub(crate) fn options(context: ResponseContext) -> Response<ResponseBody> {
    let ResponseContext { request_id, entry, .. } = context;
    let handling = CacheStatus::Own(Detail::Local);
    let entry = entry.answered(StatusCode::NO_CONTENT, handling);
    let mut response = Response::new(ResponseBody::document(bytes::Bytes::new(), entry));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(http::header::ALLOW, ALLOW);
    sign(response.headers_mut(), &handling, None, &request_id);
    response
}

/// Returns the response with an answer of the gateway itself.
pub(crate) fn own(answer: OwnAnswer, context: ResponseContext) -> Response<ResponseBody> {
    let OwnAnswer { status, content_type, content } = answer;
    let mut response = Response::new(content);
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    local(response, CacheStatus::Own(Detail::Local), context)
}

/// Returns the response that sends a client to another URL for good.
pub(crate) fn moved(
    method: &Method,
    location: HeaderValue,
    context: ResponseContext,
) -> Response<ResponseBody> {
    redirect(moved_for_good(method), location, CacheStatus::Own(Detail::Local), context)
}

/// Returns the status of a redirect for good. Clients may turn other methods into GET, unless the status forbids it (RFC 9110
/// 15.4.2, 15.4.9).
pub(crate) fn moved_for_good(method: &Method) -> StatusCode {
    match *method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    }
}

/// Returns the response that sends a client to another URL.
pub(crate) fn redirect(
    status: StatusCode,
    location: HeaderValue,
    handling: CacheStatus,
    context: ResponseContext,
) -> Response<ResponseBody> {
    let ResponseContext { request_id, entry, changes, .. } = context;
    let entry = entry.answered(status, handling);
    let mut response = Response::new(ResponseBody::document(bytes::Bytes::new(), entry));
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, location);
    changes.inspect(|changes| changes.apply(status, response.headers_mut()));
    sign(response.headers_mut(), &handling, None, &request_id);
    response
}

/// Returns the gateway's own response to a preflight: the fields of the rules, or none if the request is not allowed.
pub(crate) fn preflight(
    rules: &CorsRules,
    asked: &HeaderMap,
    context: ResponseContext,
) -> Response<ResponseBody> {
    let mut response = options(context);
    // Browsers ask for a success, and refuse by themselves if the fields are not there (Fetch, "CORS-preflight fetch").
    response.headers_mut().extend(rules.preflight(asked).unwrap_or_default());
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

/// Where a response head is written to.
trait HeadSink {
    /// Writes a field in place of the stored object's own field of that name.
    fn set(&mut self, name: HeaderName, value: FieldValue<'_>);

    /// Writes a field beside the stored object's own ones of that name.
    fn add(&mut self, name: HeaderName, value: FieldValue<'_>);

    /// Writes `Date` if the object has none (RFC 9110 6.6.1).
    fn date(&mut self);
}

/// The value of a field that the gateway writes: visible ASCII characters and spaces.
enum FieldValue<'a> {
    Static(&'static str),
    Bytes(&'a [u8]),
}

/// The head of a response that hyper sends.
impl HeadSink for HeaderMap {
    fn set(&mut self, name: HeaderName, value: FieldValue<'_>) {
        self.insert(name, value.into());
    }

    fn add(&mut self, name: HeaderName, value: FieldValue<'_>) {
        self.append(name, value.into());
    }

    /// hyper would write it as well, but after the clock is set back it keeps the time before.
    fn date(&mut self) {
        self.entry(DATE).or_insert_with(|| date_field(SystemClock.date()));
    }
}

/// The head of a response that the fast path sends, as it goes over the wire (RFC 9112 5). The fields of a stored
/// object that the gateway sets itself are not among its lines
/// ([`ObjectMeta::lines`](yatagarasu_core::ObjectMeta::lines)).
impl HeadSink for Vec<u8> {
    fn set(&mut self, name: HeaderName, value: FieldValue<'_>) {
        self.add(name, value);
    }

    fn add(&mut self, name: HeaderName, value: FieldValue<'_>) {
        self.extend_from_slice(name.as_str().as_bytes());
        self.extend_from_slice(b": ");
        self.extend_from_slice(match value {
            FieldValue::Static(text) => text.as_bytes(),
            FieldValue::Bytes(bytes) => bytes,
        });
        self.extend_from_slice(b"\r\n");
    }

    /// A stored object has one.
    fn date(&mut self) {}
}

impl From<FieldValue<'_>> for HeaderValue {
    fn from(value: FieldValue<'_>) -> Self {
        match value {
            FieldValue::Static(text) => Self::from_static(text),
            FieldValue::Bytes(bytes) => Self::from_bytes(bytes).expect("visible ASCII is a value"),
        }
    }
}

/// Writes the fields that every response has: the request id, `Via`, `X-Cache` and `Cache-Status`.
fn sign(head: &mut impl HeadSink, handling: &CacheStatus, key: Option<&str>, request_id: &RequestId) {
    request_id.written(|id| head.set(X_REQUEST_ID, FieldValue::Bytes(id)));
    head.add(VIA, FieldValue::Static(PSEUDONYM));
    head.set(X_CACHE, FieldValue::Static(handling.x_cache()));
    with_member(handling, key, |member| head.add(CACHE_STATUS, FieldValue::Bytes(member)));
    head.date();
}

/// Writes how long the request waited for the source, how often that was asked, and what was healed (W3C Server
/// Timing).
fn time(head: &mut HeaderMap, waited: Option<&Waited>) {
    let Some(Waited { time, trace }) = waited else { return };
    let counts = trace.counts();
    let separator = if counts.is_healed() { ", " } else { "" };
    let mut metric = Vec::with_capacity(SERVER_TIMING_BYTES);
    metric.extend_from_slice(b"s3;dur=");
    millis(*time, &mut metric);
    write!(metric, ";desc=\"attempts={}{separator}{counts}\"", counts.sent).expect("a vector takes it");
    head.add(SERVER_TIMING, FieldValue::Bytes(&metric));
}

/// Returns the response head for a plain GET (RFC 9112 4), with the same fields as [`outcome`] gives the same object.
pub(crate) fn head(hit: &PlainHit, front: &Front, request_id: &RequestId) -> Vec<u8> {
    let mut head = ROOM.take();
    head.reserve(HEAD_BYTES);
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    // Clients go by the first one, if S3 sends one as well (RFC 6797 8.1).
    for (name, value) in front.fields() {
        head.set(name, FieldValue::Bytes(value.as_bytes()));
    }
    head.extend_from_slice(hit.stored.meta().lines());
    let mut digits = itoa::Buffer::new();
    head.set(AGE, FieldValue::Bytes(digits.format(hit.age.as_secs()).as_bytes()));
    head.set(CONTENT_LENGTH, FieldValue::Bytes(digits.format(hit.stored.length()).as_bytes()));
    sign(&mut head, &hit.handling, None, request_id);
    head.extend_from_slice(b"\r\n");
    head
}

/// Returns the response for the fast path to send, if it is one with a whole stored object.
///
/// # Errors
///
/// Returns any other response.
pub(crate) fn plain(response: Response<ResponseBody>) -> Result<Hit, Box<Response<ResponseBody>>> {
    let (fields, mut body) = response.into_parts();
    let stored = body.whole().filter(|_| fields.status == StatusCode::OK).map(Arc::clone);
    let hit = stored.and_then(|stored| Some((stored, body.take_entry()?)));
    let Some((stored, entry)) = hit else {
        return Err(Box::new(Response::from_parts(fields, body)));
    };
    let mut head = ROOM.take();
    head.reserve(HEAD_BYTES);
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    for (name, value) in fields.headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH) {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.set(CONTENT_LENGTH, FieldValue::Bytes(itoa::Buffer::new().format(stored.length()).as_bytes()));
    head.extend_from_slice(b"\r\n");
    Ok(Hit { head, stored, entry })
}

/// Keeps the buffer of a sent response head for the next one.
pub(crate) fn head_sent(mut head: Vec<u8>) {
    if head.capacity() <= HEAD_BYTES_KEPT {
        head.clear();
        ROOM.set(head);
    }
}

/// Calls `look` with the gateway's member of `Cache-Status`. Without a key it allocates nothing.
fn with_member<T>(handling: &CacheStatus, key: Option<&str>, look: impl FnOnce(&[u8]) -> T) -> T {
    if let Some(key) = key {
        return look(format!("Yatagarasu; {handling}; key=\"{}\"", text(key)).as_bytes());
    }
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
        let member = |key| with_member(&longest, key, |member| String::from_utf8_lossy(member).into_owned());
        assert_eq!(member(None), format!("Yatagarasu; {longest}"));
        assert_eq!(member(Some("b/k")), format!("Yatagarasu; {longest}; key=\"b/k\""));
    }

    #[test]
    fn any_key_is_a_text() {
        assert_eq!(text("css/a b.css"), "css/a b.css");
        assert_eq!(text("a\"b\\c%d\u{e9}\n"), "a\\\"b\\\\c%25d%C3%A9%0A");
    }
}
