//! Names of header fields, and what they mean to a gateway.

use http::header::{self, HeaderMap, HeaderName};

/// The conditions of RFC 9110 13.1 that a source evaluates. `If-Range` is not among them; it is treated as part
/// of a range.
pub const CONDITIONS: [HeaderName; 4] =
    [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE];

/// Fields of requests and responses that are for one hop only (RFC 9110 7.6.1).
pub const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Returns `true` for a field of a response that the gateway writes itself or goes by, or that is for one hop only. The
/// others say something that an operator or a website may say otherwise.
pub fn is_own_of_responses(name: &HeaderName) -> bool {
    let own = [
        header::ACCEPT_RANGES,
        header::AGE,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::DATE,
        header::ETAG,
        header::LAST_MODIFIED,
        header::LOCATION,
        header::VIA,
    ];
    let named = ["cache-status", "x-cache", "x-request-id"];
    own.contains(name) || named.contains(&name.as_str()) || HOP_BY_HOP.contains(&name.as_str())
}

/// Fields that tell how long an object may be kept, or how it is coded. On an error they would be those of what is not
/// there.
pub const OF_OBJECTS: [HeaderName; 8] = [
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::EXPIRES,
    header::PRAGMA,
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("x-accel-expires"),
];

/// More fields that are never forwarded, even if a bucket asks for them: the client's identity, and fields that the
/// gateway sets itself.
const NEVER: [&str; 9] = [
    "authorization",
    "content-length",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "if-range",
    "range",
    "via",
];

/// Returns `true` if a bucket may forward the field `name`. `x-amz-*` fields would have to be signed, and could
/// give a client access it should not have.
///
/// An underscore counts as a hyphen: some servers take `transfer_encoding` for the field with the hyphen.
pub fn may_forward(name: &HeaderName) -> bool {
    let text = name.as_str().replace('_', "-");
    let text = text.as_str();
    !HOP_BY_HOP.contains(&text)
        && !NEVER.contains(&text)
        && !text.starts_with("x-amz-")
        && !CONDITIONS.contains(name)
}

/// The CORS request fields. They are always forwarded, so that the source's `Access-Control-Allow-Origin` is
/// right.
pub const CORS: [HeaderName; 3] =
    [header::ORIGIN, header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_REQUEST_HEADERS];

/// Returns `true` for a CORS request field. These are part of every key, and S3 often names them in `Vary`.
pub fn is_cors(name: &HeaderName) -> bool {
    CORS.contains(name)
}

/// Returns the field names of this length that never change an answer. Grouping by length keeps comparisons few.
///
/// Only `Vary` could make these fields matter, and the variants of an object are stored under keys of their own.
fn immaterial(length: usize) -> &'static [&'static str] {
    match length {
        3 => &["dnt", "via"],
        4 => &["from", "host"],
        6 => &["accept", "cookie", "pragma"],
        7 => &["purpose", "referer"],
        8 => &["cdn-loop", "priority"],
        9 => &["forwarded", "save-data", "x-real-ip"],
        10 => &["keep-alive", "tracestate", "user-agent"],
        11 => &["traceparent"],
        15 => &["accept-encoding", "accept-language", "x-amzn-trace-id"],
        16 => &["x-correlation-id", "x-requested-with"],
        25 => &["upgrade-insecure-requests"],
        _ => &[],
    }
}

/// Returns `true` if a request field of this name changes no answer. The case of letters is ignored. A request
/// for an object without variants has the same answer with or without such a field.
pub fn is_immaterial(name: &str) -> bool {
    let begins =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    immaterial(name.len()).iter().any(|known| name.eq_ignore_ascii_case(known))
        || begins("sec-")
        || begins("x-forwarded-")
}

/// Returns `true` for a field that is true of the whole object only: a digest of all of its bytes. A part or a 304 does
/// not have it. `Repr-Digest` is not among them: it is of the object in every response (RFC 9530 3).
pub fn is_of_the_whole(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.starts_with("x-amz-checksum-")
        || matches!(
            text,
            "content-md5" | "content-digest" | "digest" | "x-goog-hash" | "x-oss-hash-crc64ecma"
        )
}

/// Removes the fields that are true of the whole object only.
pub fn drop_whole_only(headers: &mut HeaderMap) {
    let names: Vec<_> = headers.keys().filter(|name| is_of_the_whole(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Removes the fields that `Connection` names, which are for one hop only (RFC 9110 7.6.1).
///
/// Call it before any decision is made, because a field that is not forwarded must not be part of a key either.
pub fn drop_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_and_signed_fields_cannot_be_named() {
        for name in ["authorization", "cookie", "host", "x-amz-acl", "range", "if-match", "connection"] {
            assert!(!may_forward(&HeaderName::from_static(name)), "{name}");
        }
        assert!(may_forward(&header::ORIGIN));
    }

    #[test]
    fn every_name_is_found_at_its_length() {
        let mut count = 0;
        for length in 0..64 {
            for name in immaterial(length) {
                assert!(name.len() == length && is_immaterial(&name.to_uppercase()), "{name}");
                count += 1;
            }
        }
        assert_eq!(count, 24);
        assert!(is_immaterial("Sec-Fetch-Mode") && is_immaterial("x-forwarded-for"));
        assert!(!is_immaterial("") && !is_immaterial("range") && !is_immaterial("x-unknown"));
    }
}
