//! Evaluates the conditions of a request against a known representation (RFC 9110 13).

use http::header::{self, HeaderMap};

use crate::http::method::Method;
use crate::http::validator::{EntityTag, TagList, Validators, date};

/// The result of evaluating the conditions of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Perform the request: every condition holds.
    Proceed,
    /// Respond 304: the client already has this representation.
    NotModified,
    /// Respond 412: `If-Match` or `If-Unmodified-Since` does not hold.
    PreconditionFailed,
}

/// Evaluates the conditions of a GET or HEAD in the order of RFC 9110 13.2.2.
pub fn evaluate(headers: &HeaderMap, validators: &Validators<'_>) -> Verdict {
    let failed = match TagList::of(headers, &header::IF_MATCH) {
        Some(list) => !matches(&list, validators, |tag, etag| tag.strong_eq(etag)),
        None => date(headers, &header::IF_UNMODIFIED_SINCE)
            .is_some_and(|limit| validators.last_modified.is_some_and(|modified| modified > limit)),
    };
    if failed {
        return Verdict::PreconditionFailed;
    }
    let unchanged = match TagList::of(headers, &header::IF_NONE_MATCH) {
        Some(list) => matches(&list, validators, |tag, etag| tag.weak_eq(etag)),
        None => date(headers, &header::IF_MODIFIED_SINCE).is_some_and(|since| {
            // Without `Last-Modified`, `Date` counts: a response sent by then was not modified later (RFC 9111 4.3.2).
            validators.last_modified.or(validators.date).is_some_and(|modified| modified <= since)
        }),
    };
    if unchanged { Verdict::NotModified } else { Verdict::Proceed }
}

fn matches<'a>(
    list: &TagList<'a>,
    validators: &Validators<'a>,
    same: impl Fn(&EntityTag<'a>, &EntityTag<'a>) -> bool,
) -> bool {
    match list {
        TagList::Any => true,
        TagList::Tags(tags) => {
            validators.etag.as_ref().is_some_and(|etag| tags.iter().any(|tag| same(tag, etag)))
        }
    }
}

/// Returns `true` if the `Range` field applies to this representation (RFC 9110 13.1.5, 14.2).
///
/// The request must be a GET with a `Range` field. If it has `If-Range`, that must match the representation by a
/// strong comparison.
pub fn range_applies(method: Method, headers: &HeaderMap, validators: &Validators<'_>) -> bool {
    if method != Method::Get || !headers.contains_key(header::RANGE) {
        return false;
    }
    let Some(condition) = headers.get(header::IF_RANGE) else { return true };
    if let Some(tag) = EntityTag::parse_bare(condition.as_bytes()) {
        return validators.etag.is_some_and(|etag| etag.strong_eq(&tag));
    }
    // `Last-Modified` is a strong validator only if `Date` is later: an object may change twice in a second (8.8.2.2).
    let settled = match (validators.last_modified, validators.date) {
        (Some(modified), Some(sent)) => sent > modified,
        (Some(_), None) => false,
        (None, _) => return false,
    };
    settled && date(headers, &header::IF_RANGE) == validators.last_modified
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG_AGO: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn fields(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[track_caller]
    fn check(stored: &[(&'static str, &str)], request: &[(&'static str, &str)], expected: Verdict) {
        let stored = fields(stored);
        assert_eq!(evaluate(&fields(request), &Validators::of(&stored)), expected, "{request:?}");
    }

    #[test]
    fn tags_come_before_dates() {
        let stored = [("etag", "\"a\""), ("last-modified", LONG_AGO)];
        check(&stored, &[], Verdict::Proceed);
        check(&stored, &[("if-none-match", "\"a\"")], Verdict::NotModified);
        check(&stored, &[("if-none-match", "W/\"a\"")], Verdict::NotModified);
        check(&stored, &[("if-none-match", "*")], Verdict::NotModified);
        check(&stored, &[("if-none-match", "\"b\""), ("if-modified-since", LATER)], Verdict::Proceed);
        check(&stored, &[("if-modified-since", LONG_AGO)], Verdict::NotModified);
        check(&stored, &[("if-modified-since", "yesterday")], Verdict::Proceed);
        check(&stored, &[("if-match", "\"a\"")], Verdict::Proceed);
        check(&stored, &[("if-match", "W/\"a\"")], Verdict::PreconditionFailed);
        check(&stored, &[("if-match", "\"a\""), ("if-none-match", "\"a\"")], Verdict::NotModified);
        check(&stored, &[("if-match", "\"b\""), ("if-none-match", "\"a\"")], Verdict::PreconditionFailed);
        check(&stored, &[("if-unmodified-since", LONG_AGO)], Verdict::Proceed);
        check(&[("last-modified", LATER)], &[("if-unmodified-since", LONG_AGO)], Verdict::PreconditionFailed);
        check(&[], &[("if-match", "*")], Verdict::Proceed);
        check(&[], &[("if-match", "\"a\"")], Verdict::PreconditionFailed);
    }

    #[track_caller]
    fn check_range(stored: &[(&'static str, &str)], if_range: &str, expected: bool) {
        let stored = fields(stored);
        let request = fields(&[("range", "bytes=0-1"), ("if-range", if_range)]);
        let validators = Validators::of(&stored);
        assert_eq!(range_applies(Method::Get, &request, &validators), expected, "{if_range}");
        assert!(!range_applies(Method::Head, &request, &validators));
    }

    #[test]
    fn if_range_wants_a_strong_match() {
        check_range(&[("etag", "\"a\"")], "\"a\"", true);
        check_range(&[("etag", "\"a\"")], "\"b\"", false);
        check_range(&[("etag", "W/\"a\"")], "W/\"a\"", false);
        check_range(&[("last-modified", LONG_AGO), ("date", LATER)], LONG_AGO, true);
        check_range(&[("last-modified", LONG_AGO), ("date", LONG_AGO)], LONG_AGO, false);
        check_range(&[("last-modified", LONG_AGO), ("date", LATER)], LATER, false);
    }
}
