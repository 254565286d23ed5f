//! Error responses: `application/problem+json` (RFC 9457).

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;
use yatagarasu_core::http::content_range::unsatisfied_range;
use yatagarasu_core::{ErrorKind, GatewayError, SourceError};

use crate::telemetry::request_id::RequestId;

/// The methods of a read-only gateway.
pub(crate) const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Value of `Retry-After` if S3 gave none.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The reason why a request gets no object.
#[derive(Debug)]
pub(crate) enum Problem<'a> {
    /// The request is invalid, for this reason.
    BadRequest(&'static str),
    /// The request head exceeds this limit.
    TooLarge(Cow<'static, str>),
    /// The client has too many of something, for this reason.
    TooMany(&'static str),
    /// The server has as many clients as it takes.
    Busy,
    /// No bucket has a prefix of the path.
    NoSuchPrefix,
    /// No bucket is for the host (RFC 9110 15.5.20).
    Misdirected,
    /// A rule of the website says that it is gone for good.
    Gone,
    /// The gateway is read-only.
    MethodNotAllowed,
    /// The request has `only-if-cached`, and no usable response is stored.
    OnlyIfCached,
    /// The source returned an error.
    Source(&'a SourceError),
}

impl<'a> Problem<'a> {
    /// Returns the problem for a refusal.
    pub(crate) fn of(refusal: &'a GatewayError) -> Self {
        match refusal {
            GatewayError::OnlyIfCached => Self::OnlyIfCached,
            GatewayError::Source(error) => Self::Source(error),
        }
    }

    /// Returns the status code.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoSuchPrefix => StatusCode::NOT_FOUND,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Gone => StatusCode::GONE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::OnlyIfCached => StatusCode::GATEWAY_TIMEOUT,
            Self::Source(error) => error.consequences().status,
        }
    }

    /// Returns the explanation for the client. It never has the source's address, credentials or messages.
    pub(crate) fn detail(&self) -> &str {
        match self {
            Self::BadRequest(reason) | Self::TooMany(reason) => reason,
            Self::TooLarge(reason) => reason,
            Self::Busy => "the server has as many clients as it takes: try again soon",
            Self::NoSuchPrefix => "nothing is served at this path",
            Self::Misdirected => "nothing is served for this host",
            Self::Gone => "this is gone for good",
            Self::MethodNotAllowed => "this gateway only reads: use GET, HEAD or OPTIONS",
            Self::OnlyIfCached => "nothing stored may be used, and only that was asked for",
            Self::Source(error) => match error.kind() {
                ErrorKind::NotFound
                | ErrorKind::NoSuchBucket
                | ErrorKind::Unexplained(StatusCode::NOT_FOUND) => "there is no such object",
                ErrorKind::Archived => "the object is archived: it has to be restored first",
                ErrorKind::Denied | ErrorKind::Unexplained(StatusCode::FORBIDDEN) => {
                    "the source denied access to the object"
                }
                ErrorKind::Unexplained(_) => "the source refused the request without a reason",
                ErrorKind::Invalid(_) => "the source cannot do what the request asks for",
                ErrorKind::PreconditionFailed => "a condition of the request does not hold",
                ErrorKind::RangeNotSatisfiable { .. } => "the range lies outside the object",
                ErrorKind::Throttled { .. } => "the source asks to slow down",
                ErrorKind::TimedOut(_) => "the source did not answer in time",
                ErrorKind::Unavailable | ErrorKind::Down => "the source is unavailable",
                ErrorKind::Saturated => "the gateway is too busy",
                ErrorKind::NoCredentials | ErrorKind::Unauthenticated => {
                    "the gateway has no valid credentials for the source"
                }
                ErrorKind::Misconfigured => "the gateway's configuration does not fit the source",
                ErrorKind::Broken => "the response of the source was incomplete or invalid",
            },
        }
    }

    fn fields(&self, headers: &mut HeaderMap) {
        match self {
            Self::MethodNotAllowed => {
                headers.insert(header::ALLOW, ALLOW);
            }
            Self::Source(error) => {
                headers.extend(error.shown().iter().map(|(name, value)| (name.clone(), value.clone())));
                match error.kind() {
                    ErrorKind::RangeNotSatisfiable { complete_length: Some(length) } => {
                        headers.insert(header::CONTENT_RANGE, unsatisfied_range(length));
                    }
                    ErrorKind::Throttled { retry_after } => {
                        let seconds = retry_after.unwrap_or(RETRY_AFTER).as_secs().max(1);
                        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                    }
                    ErrorKind::Saturated | ErrorKind::Down => {
                        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
                    }
                    _ => {}
                }
            }
            Self::TooMany(_) | Self::Busy => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
            }
            Self::BadRequest(_)
            | Self::TooLarge(_)
            | Self::NoSuchPrefix
            | Self::Gone
            | Self::Misdirected
            | Self::OnlyIfCached => {}
        }
    }

    /// Returns the response. It includes the request id, under which the log has the details.
    pub(crate) fn render(&self, request_id: &RequestId) -> Response<Bytes> {
        let status = self.status();
        let document = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.detail(),
            "request_id": request_id.to_string(),
        });
        let mut response = Response::new(Bytes::from(format!("{document}\n")));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.fields(headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(problem: &Problem<'_>, status: u16, field: Option<(&str, &str)>) {
        let response = problem.render(&RequestId::Given(HeaderValue::from_static("id-1")));
        assert_eq!(response.status().as_u16(), status, "{problem:?}");
        if let Some((name, value)) = field {
            assert_eq!(response.headers()[name], value);
        }
        let document: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!((&document["status"], &document["request_id"]), (&json!(status), &json!("id-1")));
        assert!(!document.to_string().contains("10.0.0.1"), "{document}");
    }

    #[test]
    fn every_error_has_its_status() {
        check(&Problem::BadRequest("x"), 400, None);
        check(&Problem::NoSuchPrefix, 404, None);
        check(&Problem::MethodNotAllowed, 405, Some(("allow", "GET, HEAD, OPTIONS")));
        let source = |kind, status, field| check(&Problem::Source(&SourceError::new(kind)), status, field);
        source(ErrorKind::NotFound, 404, None);
        source(ErrorKind::NoSuchBucket, 404, None);
        source(ErrorKind::Denied, 403, None);
        source(ErrorKind::Unexplained(StatusCode::FORBIDDEN), 403, None);
        source(ErrorKind::Unexplained(StatusCode::NOT_FOUND), 404, None);
        source(ErrorKind::Invalid(StatusCode::BAD_REQUEST), 400, None);
        source(ErrorKind::PreconditionFailed, 412, None);
        let range = Some(("content-range", "bytes */9"));
        source(ErrorKind::RangeNotSatisfiable { complete_length: Some(9) }, 416, range);
        check(&Problem::OnlyIfCached, 504, None);
        source(ErrorKind::Throttled { retry_after: None }, 503, Some(("retry-after", "1")));
        let after = ErrorKind::Throttled { retry_after: Some(Duration::from_secs(7)) };
        source(after, 503, Some(("retry-after", "7")));
        source(ErrorKind::TimedOut(RETRY_AFTER), 504, None);
        source(ErrorKind::Unauthenticated, 502, None);
        source(ErrorKind::NoCredentials, 502, None);
        source(ErrorKind::Misconfigured, 502, None);
        check(&Problem::Source(&SourceError::unavailable("10.0.0.1 refused")), 502, None);
        check(&Problem::Source(&SourceError::broken("10.0.0.1 said nonsense")), 502, None);
    }
}
