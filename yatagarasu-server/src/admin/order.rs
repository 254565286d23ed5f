//! Orders in JSON, in the body of a request.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::admin::problem;

/// Maximum length of a request body.
const BYTES_MAX: usize = 256 * 1024;

/// Longest wait for a complete request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

const JSON: &[u8] = b"application/json";

/// Reads an order. `expected` says what one looks like.
///
/// # Errors
///
/// Returns the response that says what is wrong with it.
pub(super) async fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Incoming,
    expected: &str,
) -> Result<T, Response<Full<Bytes>>> {
    if !is_json(headers) {
        return Err(not_json());
    }
    parse(body, expected).await
}

/// Parses the body as JSON, whatever its `Content-Type`.
///
/// # Errors
///
/// Returns the response that says what is wrong with it.
pub(super) async fn parse<T: DeserializeOwned>(
    body: Incoming,
    expected: &str,
) -> Result<T, Response<Full<Bytes>>> {
    let body = Limited::new(body, BYTES_MAX).collect();
    let body = timeout(BODY_TIMEOUT, body)
        .await
        .map_err(|_| problem(StatusCode::REQUEST_TIMEOUT, "the body did not come within 30 s"))?;
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() {
            problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 256 KiB")
        } else {
            problem(StatusCode::BAD_REQUEST, "the body could not be read to its end")
        }
    })?;
    serde_json::from_slice(&body.to_bytes())
        .map_err(|error| problem(StatusCode::BAD_REQUEST, &format!("{error}; {expected}")))
}

/// Returns `true` if a request says that it has JSON. A browser sends that, or the method PURGE, to another origin only
/// after a preflight, so that no web page can give orders.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.as_bytes().get(..JSON.len()));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(JSON))
}

pub(super) fn not_json() -> Response<Full<Bytes>> {
    problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected `Content-Type: application/json`")
}
