//! Maps S3's error responses to source errors (Amazon S3 API reference, "Error responses").

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};
use yatagarasu_core::{ErrorKind, ErrorResponse, SourceError};

use crate::client::error_document::ErrorDocument;

/// What a request asked for, as far as the meaning of its refusal depends on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) method: What,
    pub(crate) conditional: bool,
    pub(crate) ranged: bool,
}

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Get,
    Head,
    List,
    Preflight,
}

impl Asked {
    /// Describes a request with these fields and this query.
    pub(crate) fn of(method: &Method, headers: &HeaderMap, query: Option<&str>) -> Self {
        let method = match *method {
            Method::HEAD => What::Head,
            Method::OPTIONS => What::Preflight,
            _ => What::Get,
        };
        let has = |name| headers.contains_key(name);
        Self {
            method,
            conditional: has(header::IF_MATCH) || has(header::IF_UNMODIFIED_SINCE),
            ranged: has(header::RANGE) || query.is_some_and(|query| query.contains("partNumber=")),
        }
    }
}

/// Codes that refuse the gateway's credentials or clock, with any status.
const UNAUTHENTICATED: [&str; 20] = [
    "AccountProblem",
    "AuthFailure",
    "AuthorizationQueryParametersError",
    "CredentialsNotSupported",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidToken",
    "MissingAuthenticationToken",
    "MissingSecurityHeader",
    "NotSignedUp",
    "RequestExpired",
    "RequestInTheFuture",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnauthorizedAccess",
    "UnrecognizedClientException",
    "XAmzContentSHA256Mismatch",
];

/// Codes of a request that was sent to the wrong place, with any status.
const MISCONFIGURED: [&str; 8] = [
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "IncorrectEndpoint",
    "InvalidBucketName",
    "InvalidRegion",
    "PermanentRedirect",
    "Redirect",
    "TemporaryRedirect",
];

/// Codes that ask for fewer requests, with any status.
const THROTTLED: [&str; 9] = [
    "BandwidthLimitExceeded",
    "KMS.ThrottlingException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
];

/// Codes of a failure within S3, with any status.
const UNAVAILABLE: [&str; 5] = [
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "XMinioServerNotInitialized",
];

/// Codes of a policy that keeps an object back, with any status.
const DENIED: [&str; 4] = ["AccessDenied", "AccessForbidden", "AllAccessDisabled", "InvalidPayer"];

/// Returns the kind of an error response. `docs/src/semantics.md` shows the same table.
pub(crate) fn kind(asked: Asked, status: StatusCode, code: &str) -> ErrorKind {
    let is = |codes: &[&str]| codes.contains(&code);
    if is(&UNAUTHENTICATED) {
        return ErrorKind::Unauthenticated;
    }
    if is(&MISCONFIGURED) {
        return ErrorKind::Misconfigured;
    }
    if is(&THROTTLED) {
        return ErrorKind::Throttled { retry_after: None };
    }
    if is(&UNAVAILABLE) {
        return ErrorKind::Unavailable;
    }
    if is(&DENIED) || code.starts_with("KMS.") {
        return ErrorKind::Denied;
    }
    if code == "InvalidObjectState" {
        return ErrorKind::Archived;
    }
    match (status.as_u16(), code) {
        (301 | 302 | 303 | 307 | 308, _) => ErrorKind::Misconfigured,
        (400, "") | (403, _) => ErrorKind::Unexplained(status),
        (400, _) => ErrorKind::Invalid(StatusCode::BAD_REQUEST),
        (401 | 402, _) => ErrorKind::Unauthenticated,
        (404 | 410, "NoSuchBucket" | "NoSuchAccessPoint") => ErrorKind::NoSuchBucket,
        (404 | 410, _) => ErrorKind::NotFound,
        (405 | 501, _) if asked.method == What::Preflight => ErrorKind::Denied,
        (412, _) if asked.conditional => ErrorKind::PreconditionFailed,
        (413 | 414 | 431, _) => ErrorKind::Invalid(status),
        (416, _) if asked.ranged => ErrorKind::RangeNotSatisfiable { complete_length: None },
        (429 | 503, _) => ErrorKind::Throttled { retry_after: None },
        (451, _) => ErrorKind::Denied,
        (501, _) => ErrorKind::Broken,
        (408 | 409 | 421 | 425 | 500..=599, _) => ErrorKind::Unavailable,
        _ => ErrorKind::Broken,
    }
}

/// Returns the error for an error response. `document` is its body, or empty.
pub(crate) fn failure(asked: Asked, status: StatusCode, headers: &HeaderMap, document: &[u8]) -> SourceError {
    let text = |name: &str| headers.get(name).map(|value| printable(value.as_bytes())).unwrap_or_default();
    let read = ErrorDocument::parse(document);
    // MinIO names the code of a HEAD's refusal in a field.
    let code = if read.code.is_empty() { text("x-minio-error-code") } else { read.code };
    let first = |names: &[&str], read: String| {
        names.iter().map(|name| text(name)).find(|id| !id.is_empty()).unwrap_or(read)
    };
    let id = first(&["x-amz-request-id", "x-amzn-requestid", "x-trans-id"], read.request_id);
    let host_id = first(&["x-amz-id-2"], read.host_id);
    let response = ErrorResponse {
        code,
        message: read.message,
        request_id: if host_id.is_empty() { id } else { format!("{id} {host_id}") },
        ..ErrorResponse::new(status, headers)
    };
    if is_foreign(status, headers, &response) {
        let reason = "an intermediary answered in the place of S3, with a page of HTML";
        return SourceError::unavailable(reason).answered(response);
    }
    let deleted = headers.get("x-amz-delete-marker").is_some_and(|value| value == "true");
    let kind = match kind(asked, status, &response.code) {
        // A version that is a delete marker is answered with 405.
        _ if status == StatusCode::METHOD_NOT_ALLOWED && deleted => ErrorKind::NotFound,
        ErrorKind::Throttled { .. } => ErrorKind::Throttled { retry_after: retry_after(headers) },
        ErrorKind::RangeNotSatisfiable { .. } => ErrorKind::RangeNotSatisfiable {
            complete_length: complete_length(headers).or_else(|| read.actual_object_size.parse().ok()),
        },
        kind => kind,
    };
    let error = SourceError::new(kind).answered(response);
    match (kind, region(headers, &read.region)) {
        (ErrorKind::Misconfigured, Some(region)) => {
            error.because(format!("the bucket is in the region `{region}`: set `s3.region` to it"))
        }
        (ErrorKind::Misconfigured, None) => error.because("check `s3.region` and `s3.endpoint`"),
        _ => error,
    }
}

/// Returns `true` for a page of HTML that says neither a code nor a request id of S3: a proxy or a filter sent it. Where
/// the page is empty, there is none: some servers set the type all the same.
fn is_foreign(status: StatusCode, headers: &HeaderMap, response: &ErrorResponse) -> bool {
    let is = |name, text: &[u8]| headers.get(name).is_some_and(|value| value.as_bytes().starts_with(text));
    let html = is(header::CONTENT_TYPE, b"text/html") && !is(header::CONTENT_LENGTH, b"0");
    matches!(status.as_u16(), 403 | 404 | 407)
        && html
        && response.code.is_empty()
        && response.request_id.is_empty()
}

/// Returns the region that S3 names in a refusal, if it is a valid name.
pub(crate) fn region(headers: &HeaderMap, of_document: &str) -> Option<String> {
    let field = headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok());
    let region = field.unwrap_or(of_document).trim();
    let valid = !region.is_empty() && region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    valid.then(|| region.to_owned())
}

/// Returns the printable ASCII characters of a field's value, at most 200.
fn printable(value: &[u8]) -> String {
    value.iter().filter(|byte| byte.is_ascii_graphic()).take(200).copied().map(char::from).collect()
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

    const GET: Asked = Asked { method: What::Get, conditional: true, ranged: true };
    const PLAIN: Asked = Asked { conditional: false, ranged: false, ..GET };

    #[track_caller]
    fn check(asked: Asked, status: u16, code: &str, expected: &str) {
        let kind = kind(asked, StatusCode::from_u16(status).unwrap(), code);
        let name = format!("{kind:?}");
        assert_eq!(name.split(['(', ' ']).next(), Some(expected), "{asked:?} {status} {code}");
    }

    #[test]
    fn conditions_and_ranges_fail_only_where_there_are_some() {
        check(GET, 412, "PreconditionFailed", "PreconditionFailed");
        check(PLAIN, 412, "PreconditionFailed", "Broken");
        check(GET, 416, "InvalidRange", "RangeNotSatisfiable");
        check(PLAIN, 416, "InvalidRange", "Broken");
        check(GET, 405, "MethodNotAllowed", "Broken");
        check(Asked { method: What::Preflight, ..PLAIN }, 405, "MethodNotAllowed", "Denied");
        check(PLAIN, 204, "", "Broken");
    }

    #[test]
    fn the_documentation_shows_the_table() {
        let page = include_str!("../../../docs/src/semantics.md");
        let table = page.split("| S3's status | S3's code | meaning |").nth(1).expect("the table");
        let mut rows = 0;
        for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [statuses, codes, meaning] = cells[..] else { panic!("{row}") };
            let statuses: Vec<u16> = match statuses {
                "any" => vec![400, 403, 503],
                list => list.split(", ").map(|status| status.parse().unwrap()).collect(),
            };
            let codes = match codes {
                "any other" => vec!["SomethingElse"],
                "none" => vec![""],
                "any" => vec!["", "SomethingElse"],
                list => list.split(", ").map(|code| code.trim_matches('`')).collect(),
            };
            for status in &statuses {
                for code in &codes {
                    check(GET, *status, code, meaning.trim_matches('`'));
                    rows += 1;
                }
            }
        }
        assert!(rows > 80, "{rows} combinations");
    }

    #[test]
    fn the_log_gets_what_support_asks_for() {
        let fields = [("x-amz-request-id", "R"), ("x-amz-id-2", "H/+=")];
        let headers =
            fields.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let document =
            b"<Error><Code>AccessDenied</Code><Message>no</Message><RequestId>other</RequestId></Error>";
        let error = failure(GET, StatusCode::FORBIDDEN, &headers, document);
        assert_eq!(
            error.to_string(),
            "the source denied access to the object (403 AccessDenied: no; request id R H/+=)"
        );
        let error = failure(GET, StatusCode::FORBIDDEN, &HeaderMap::new(), document);
        assert!(error.to_string().ends_with("request id other)"), "{error}");
    }

    #[test]
    fn the_region_that_s3_names_is_in_the_message() {
        let headers =
            [("x-amz-bucket-region".parse().unwrap(), "eu-west-1".parse().unwrap())].into_iter().collect();
        let asked = Asked { method: What::Head, ..PLAIN };
        let error = failure(asked, StatusCode::MOVED_PERMANENTLY, &headers, b"");
        assert!(error.to_string().contains("in the region `eu-west-1`"), "{error}");
        let document = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>garage</Region></Error>";
        let error = failure(GET, StatusCode::BAD_REQUEST, &HeaderMap::new(), document);
        assert!(error.to_string().contains("in the region `garage`"), "{error}");
    }

    #[test]
    fn a_page_of_a_proxy_is_not_s3s_word() {
        let html =
            [(header::CONTENT_TYPE, "text/html; charset=utf-8".parse().unwrap())].into_iter().collect();
        let error = failure(GET, StatusCode::NOT_FOUND, &html, b"<html>no</html>");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let mut website = html.clone();
        website.insert("x-amz-request-id", "R".parse().unwrap());
        assert_eq!(failure(GET, StatusCode::NOT_FOUND, &website, b"").kind(), ErrorKind::NotFound);
    }

    #[test]
    fn the_length_is_found_where_s3_says_it() {
        let document = b"<Error><Code>InvalidRange</Code><ActualObjectSize>3</ActualObjectSize></Error>";
        let length = |headers: &HeaderMap, document| match failure(
            GET,
            StatusCode::RANGE_NOT_SATISFIABLE,
            headers,
            document,
        )
        .kind()
        {
            ErrorKind::RangeNotSatisfiable { complete_length } => complete_length,
            other => panic!("{other:?}"),
        };
        assert_eq!(length(&HeaderMap::new(), document), Some(3));
        assert_eq!(length(&HeaderMap::new(), b""), None);
        let headers = [(header::CONTENT_RANGE, "bytes */9".parse().unwrap())].into_iter().collect();
        assert_eq!(length(&headers, document), Some(9));
    }
}
