//! Which request fields reach a source: ranges, conditions and those a bucket names, nothing else.

use http::header::{self, HeaderMap, HeaderName};

use crate::range::requested;
use crate::{Method, Request, SourceRequest};

/// Conditions of RFC 9110 13.1 that a source evaluates; `If-Range` counts as part of a range.
pub const CONDITIONS: [HeaderName; 4] =
    [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE];

/// Fields that never cross, whatever a bucket asks for: the client's identity, what the gateway sets by
/// itself, and hop-by-hop fields (RFC 9110 7.6.1).
const NEVER: [&str; 17] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "if-range",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "range",
];

/// Whether a bucket may ask for `name` to be forwarded. `x-amz-*` would have to be signed and could reach
/// what the client is not meant to.
pub fn may_forward(name: &HeaderName) -> bool {
    !NEVER.contains(&name.as_str()) && !name.as_str().starts_with("x-amz-") && !CONDITIONS.contains(name)
}

/// Makes the fields a bucket forwards part of what an object is stored under; `None` where the request has none.
pub fn keyed(request: &Request, forward_headers: &[HeaderName]) -> Option<Request> {
    let mut lines = String::new();
    for name in forward_headers {
        for value in request.headers.get_all(name) {
            lines.push_str(name.as_str());
            lines.push('=');
            // One character for each byte: other bytes are another key.
            lines.extend(value.as_bytes().iter().map(|&byte| char::from(byte)));
            lines.push('\n');
        }
    }
    (!lines.is_empty()).then(|| {
        let mut request = request.clone();
        request.key.fields = Some(lines.into());
        request
    })
}

/// Makes the request a source gets when the client's own range and conditions are to be decided there.
///
/// A range means something for GET only, and one that would be ignored on a hit is not sent on a miss either
/// (RFC 9110 14.2).
pub fn pass(request: &Request, forward_headers: &[HeaderName]) -> SourceRequest {
    let mut headers = fill(request, forward_headers).headers;
    copy(&request.headers, &CONDITIONS, &mut headers);
    if request.method == Method::Get && requested(&request.headers).is_some() {
        copy(&request.headers, &[header::RANGE, header::IF_RANGE], &mut headers);
    }
    SourceRequest { headers, query: request.key.query.clone() }
}

/// Makes the request a source gets when the whole object is wanted, whatever the client's conditions.
pub fn fill(request: &Request, forward_headers: &[HeaderName]) -> SourceRequest {
    let mut headers = HeaderMap::new();
    copy(&request.headers, forward_headers, &mut headers);
    SourceRequest { headers, query: request.key.query.clone() }
}

fn copy(from: &HeaderMap, names: &[HeaderName], to: &mut HeaderMap) {
    for name in names {
        for value in from.get_all(name) {
            to.append(name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;

    #[test]
    fn only_ranges_conditions_and_named_fields_cross() {
        let mut asked = request(Method::Get, "k");
        for (name, value) in [
            ("authorization", "Bearer t"),
            ("cookie", "c"),
            ("accept-language", "de"),
            ("origin", "https://a"),
            ("range", "bytes=0-1"),
            ("if-range", "\"e\""),
            ("if-none-match", "\"e\""),
        ] {
            asked.headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let names = |request: &SourceRequest| {
            let mut names: Vec<_> = request.headers.keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        let forwarded = [HeaderName::from_static("origin")];
        assert_eq!(names(&pass(&asked, &forwarded)), ["if-none-match", "if-range", "origin", "range"]);
        assert_eq!(names(&fill(&asked, &forwarded)), ["origin"]);
        asked.headers.insert(header::RANGE, "bytes=0-1,3-4".parse().unwrap());
        assert_eq!(names(&pass(&asked, &[])), ["if-none-match"]);
        asked.method = Method::Head;
        assert_eq!(names(&pass(&asked, &[])), ["if-none-match"]);
    }

    #[test]
    fn identity_and_signed_fields_cannot_be_named() {
        for name in ["authorization", "cookie", "host", "x-amz-acl", "range", "if-match", "connection"] {
            assert!(!may_forward(&HeaderName::from_static(name)), "{name}");
        }
        assert!(may_forward(&header::ORIGIN));
    }
}
