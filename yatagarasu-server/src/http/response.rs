//! One rendering of what became of a request.

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use yatagarasu_core::{Handling, Outcome};

use super::body::ResponseBody;
use super::problem::{ALLOW, Problem};
use super::request_id::X_REQUEST_ID;
use crate::access_log::Entry;

/// `HIT` or `MISS`, for people and for tools that know no `Cache-Status`.
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// RFC 9211.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Renders an outcome.
pub(super) fn outcome(
    outcome: Outcome,
    request_id: &HeaderValue,
    mut entry: Entry,
) -> Response<ResponseBody> {
    let Outcome { handling, reply } = outcome;
    let mut response = match reply {
        Ok(reply) => {
            entry.status(reply.status);
            let mut response = Response::new(ResponseBody::reply(reply.body, entry));
            *response.status_mut() = reply.status;
            *response.headers_mut() = reply.headers;
            identify(response.headers_mut(), request_id);
            response
        }
        Err(error) => problem(&Problem::Source(&error), request_id, entry),
    };
    cache_fields(response.headers_mut(), &handling);
    response
}

/// Renders a problem.
pub(super) fn problem(
    problem: &Problem<'_>,
    request_id: &HeaderValue,
    mut entry: Entry,
) -> Response<ResponseBody> {
    let response = problem.render(request_id);
    entry.status(response.status());
    let mut response = response.map(|document| ResponseBody::document(document, entry));
    identify(response.headers_mut(), request_id);
    response
}

/// Says which methods there are (RFC 9110 9.3.7).
pub(super) fn options(request_id: &HeaderValue, mut entry: Entry) -> Response<ResponseBody> {
    entry.status(StatusCode::NO_CONTENT);
    let mut response = Response::new(ResponseBody::document(bytes::Bytes::new(), entry));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(http::header::ALLOW, ALLOW);
    identify(response.headers_mut(), request_id);
    response
}

/// Takes the content out, and leaves the fields that describe it.
pub(super) fn without_body(response: Response<ResponseBody>) -> Response<ResponseBody> {
    let (mut head, body) = response.into_parts();
    if let (Some(length), false) = (body.document_length(), head.headers.contains_key(CONTENT_LENGTH)) {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, body.emptied())
}

fn identify(headers: &mut HeaderMap, request_id: &HeaderValue) {
    headers.insert(X_REQUEST_ID, request_id.clone());
}

fn cache_fields(headers: &mut HeaderMap, handling: &Handling) {
    let x_cache = if handling.is_hit() { "HIT" } else { "MISS" };
    headers.insert(X_CACHE, HeaderValue::from_static(x_cache));
    let status =
        HeaderValue::try_from(format!("Yatagarasu; {handling}")).expect("tokens and digits are a value");
    headers.append(CACHE_STATUS, status);
}
