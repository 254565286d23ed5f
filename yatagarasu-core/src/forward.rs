//! Which request fields reach a source: ranges, conditions and those a bucket names, nothing else.

use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::range::requested;
use crate::validator::{EntityTag, date};
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
/// They are sent in the one form every source reads, and what would be ignored on a hit is not sent on a miss
/// either: a range of a HEAD (RFC 9110 14.2), several ranges, dates that cannot be read (13.1.3).
pub fn pass(request: &Request, forward_headers: &[HeaderName]) -> SourceRequest {
    let mut asked = fill(request, forward_headers);
    for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
        if let Some(list) = joined(&request.headers, &name) {
            asked.headers.insert(name, list);
        }
    }
    for name in [header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE] {
        if let Some(at) = date(&request.headers, &name) {
            asked.headers.insert(name, date_field(at));
        }
    }
    if let (Method::Get, Some(range)) = (request.method, requested(&request.headers)) {
        match if_range(&request.headers) {
            IfRange::Unconditional => {}
            IfRange::Validator(validator) => {
                asked.headers.insert(header::IF_RANGE, validator);
            }
            IfRange::Unreadable => return asked,
        }
        asked.headers.insert(header::RANGE, range.field());
    }
    asked
}

/// What `If-Range` makes of a range (RFC 9110 13.1.5).
enum IfRange {
    /// There is none.
    Unconditional,
    /// The range applies to the version this names.
    Validator(HeaderValue),
    /// It names no version, so that the range never applies.
    Unreadable,
}

fn if_range(headers: &HeaderMap) -> IfRange {
    match headers.get(header::IF_RANGE) {
        None => IfRange::Unconditional,
        Some(tag) if EntityTag::parse(tag.as_bytes()).is_some() => IfRange::Validator(tag.clone()),
        Some(_) => match date(headers, &header::IF_RANGE) {
            Some(at) => IfRange::Validator(date_field(at)),
            None => IfRange::Unreadable,
        },
    }
}

/// Puts the fields of one name into one (RFC 9110 5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let values: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    if values.is_empty() {
        return None;
    }
    Some(HeaderValue::from_bytes(&values.join(&b", "[..])).expect("values joined are a value"))
}

/// Writes a date in the form that is to be sent (RFC 9110 5.6.7).
fn date_field(at: SystemTime) -> HeaderValue {
    HeaderValue::try_from(httpdate::fmt_http_date(at)).expect("a date is a value")
}

/// Makes the request a source gets when the whole object is wanted, whatever the client's conditions.
pub fn fill(request: &Request, forward_headers: &[HeaderName]) -> SourceRequest {
    let mut headers = HeaderMap::new();
    for name in forward_headers {
        for value in request.headers.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    SourceRequest { headers, query: request.key.query.clone() }
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

    #[track_caller]
    fn check(fields: &[(&'static str, &str)], expected: &[(&str, &str)]) {
        let mut asked = request(Method::Get, "k");
        for (name, value) in fields {
            asked.headers.append(*name, value.parse().unwrap());
        }
        let sent = pass(&asked, &[]).headers;
        let mut sent: Vec<_> =
            sent.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        sent.sort_unstable();
        assert_eq!(sent, expected, "{fields:?}");
    }

    #[test]
    fn ranges_and_conditions_are_sent_in_one_form() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        check(&[("range", "Bytes = ,0 - 4,")], &[("range", "bytes=0-4")]);
        check(&[("range", "bytes=-99999999999999999999")], &[("range", "bytes=-9223372036854775807")]);
        check(&[("range", "bytes=5-99999999999999999999")], &[("range", "bytes=5-")]);
        check(&[("range", "bytes=5-")], &[("range", "bytes=5-")]);
        check(
            &[("if-none-match", "\"a\""), ("if-none-match", "\"b\"")],
            &[("if-none-match", "\"a\", \"b\"")],
        );
        check(&[("if-modified-since", "garbage"), ("if-unmodified-since", "0")], &[]);
        check(&[("if-modified-since", date), ("if-modified-since", date)], &[]);
        check(&[("if-modified-since", "Sun Nov  6 08:49:37 1994")], &[("if-modified-since", date)]);
        check(&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")], &[("if-modified-since", date)]);
        check(
            &[("range", "bytes=0-1"), ("if-range", "Sun Nov  6 08:49:37 1994")],
            &[("if-range", date), ("range", "bytes=0-1")],
        );
        check(&[("range", "bytes=0-1"), ("if-range", "nonsense")], &[]);
    }

    #[test]
    fn identity_and_signed_fields_cannot_be_named() {
        for name in ["authorization", "cookie", "host", "x-amz-acl", "range", "if-match", "connection"] {
            assert!(!may_forward(&HeaderName::from_static(name)), "{name}");
        }
        assert!(may_forward(&header::ORIGIN));
    }
}
