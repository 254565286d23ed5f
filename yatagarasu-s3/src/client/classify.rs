//! Maps S3 error responses to source errors (Amazon S3 API reference, "Error responses").

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use yatagarasu_core::SourceError;
use yatagarasu_core::caching::cache_control::CacheControl;
use yatagarasu_core::caching::vary::Vary;
use yatagarasu_core::source::error::NegativeCaching;

/// Maximum number of bytes read of an error document.
pub(crate) const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Returns the text of an element in S3's XML: its ASCII letters and digits, at most 64. Returns an empty string if
/// the element is missing, as in a response to HEAD.
fn element(document: &[u8], name: &str) -> String {
    let document = String::from_utf8_lossy(document);
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let content = document.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end));
    content
        .map(|(content, _)| content.trim().chars().filter(char::is_ascii_alphanumeric).take(64).collect())
        .unwrap_or_default()
}

/// Maps an error response to a [`SourceError`]. `document` is the XML in its body, or empty.
pub(crate) fn failure(status: StatusCode, headers: &HeaderMap, document: &[u8]) -> SourceError {
    let code = element(document, "Code");
    match (status.as_u16(), code.as_str()) {
        (503 | 429, _) | (_, "SlowDown" | "RequestLimitExceeded" | "TooManyRequests") => {
            SourceError::Throttled { status, retry_after: retry_after(headers) }
        }
        (404, _) => SourceError::NotFound { code, caching: Box::new(caching(headers)) },
        (403, _) | (400, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
            SourceError::Denied { code, caching: Box::new(caching(headers)) }
        }
        (412, _) => SourceError::PreconditionFailed,
        (416, _) => {
            let complete_length =
                complete_length(headers).or_else(|| element(document, "ActualObjectSize").parse().ok());
            SourceError::RangeNotSatisfiable { complete_length }
        }
        (500 | 502 | 504, _) => SourceError::Unavailable {
            status: Some(status),
            reason: format!("it answered {}", words(status, &code)),
            cause: None,
        },
        (301 | 307 | 308, _) | (400, "AuthorizationHeaderMalformed") => SourceError::broken(format!(
            "it answered {}: `region` or `endpoint` of the bucket is wrong",
            words(status, &code)
        )),
        _ => SourceError::broken(format!("it answered {}", words(status, &code))),
    }
}

fn words(status: StatusCode, code: &str) -> String {
    if code.is_empty() { status.as_u16().to_string() } else { format!("{} {code}", status.as_u16()) }
}

/// Returns the directives for caching this response: `Cache-Control` and `Vary`.
fn caching(headers: &HeaderMap) -> NegativeCaching {
    NegativeCaching { control: CacheControl::of(headers), vary: Vary::of(headers) }
}

/// Parses `Retry-After` if it is a number of seconds (RFC 9110 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Parses `Content-Range: bytes */LENGTH` (RFC 9110 14.4).
fn complete_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes */")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, code: &str, expected: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
        headers.insert(header::CONTENT_RANGE, "bytes */12".parse().unwrap());
        let document = format!("<Error><Code>{code}</Code></Error>");
        let error = failure(StatusCode::from_u16(status).unwrap(), &headers, document.as_bytes());
        assert_eq!(format!("{error:?}").split([' ', '{']).next().unwrap(), expected, "{status} {code}");
    }

    #[test]
    fn every_answer_has_its_meaning() {
        check(404, "NoSuchKey", "NotFound");
        check(403, "SignatureDoesNotMatch", "Denied");
        check(400, "ExpiredToken", "Denied");
        check(412, "", "PreconditionFailed");
        check(416, "InvalidRange", "RangeNotSatisfiable");
        check(503, "SlowDown", "Throttled");
        check(429, "", "Throttled");
        check(500, "InternalError", "Unavailable");
        check(301, "PermanentRedirect", "Broken");
        check(400, "InvalidArgument", "Broken");
        check(204, "", "Broken");
    }

    #[test]
    fn codes_are_found_and_kept_harmless() {
        let document = b"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>x</Message></Error>";
        assert_eq!(element(document, "Code"), "NoSuchKey");
        assert_eq!(element(b"", "Code"), "");
        assert_eq!(element(b"<Code>a\r\nb\"</Code>", "Code"), "ab");
        assert_eq!(element(b"<Code>unended", "Code"), "");
    }

    #[test]
    fn the_length_is_found_where_s3_says_it() {
        let document = b"<Error><Code>InvalidRange</Code><ActualObjectSize>3</ActualObjectSize></Error>";
        let length = |headers: &HeaderMap, document| match failure(
            StatusCode::RANGE_NOT_SATISFIABLE,
            headers,
            document,
        ) {
            SourceError::RangeNotSatisfiable { complete_length } => complete_length,
            other => panic!("{other:?}"),
        };
        assert_eq!(length(&HeaderMap::new(), document), Some(3));
        assert_eq!(length(&HeaderMap::new(), b""), None);
        let headers = [(header::CONTENT_RANGE, "bytes */9".parse().unwrap())].into_iter().collect();
        assert_eq!(length(&headers, document), Some(9));
    }
}
