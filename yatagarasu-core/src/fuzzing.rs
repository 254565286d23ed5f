//! Checks for arbitrary input. The targets in `fuzz/` and the tests of past findings call them.
//!
//! Each check takes what a client or S3 may have sent. It panics if the code under it does, or contradicts itself.

use std::ops::Range;
use std::time::Duration;

use http::header::{CACHE_CONTROL, DATE, IF_MATCH, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::caching::cache_control::{CacheControl, RequestControl, withheld};
use crate::http::coding::{Accepted, Coding};
use crate::http::content_range::{content_range, parse_content_range};
use crate::http::range::{GAP_BYTES_MAX, RANGES_MAX, Selection, requested, select};
use crate::http::validator::{self, EntityTag, TagList, date_field};

/// Length of the object that [`range`] takes bytes of.
const OBJECT_BYTES: u64 = 1000;

/// Takes a `Range` field, or a `Content-Range` field.
pub fn range(input: &[u8]) {
    let Some(fields) = fields(&RANGE, &[input]) else { return };
    let parts = match select(&fields, OBJECT_BYTES) {
        Selection::Whole | Selection::Unsatisfiable => Vec::new(),
        Selection::Part(part) => vec![part],
        Selection::Parts(parts) => parts,
    };
    assert!(parts.len() <= RANGES_MAX);
    assert!(parts.iter().all(|part| part.start < part.end && part.end <= OBJECT_BYTES), "{parts:?}");
    let apart = |one: &Range<u64>, other: &Range<u64>| {
        one.end + GAP_BYTES_MAX < other.start || other.end + GAP_BYTES_MAX < one.start
    };
    for (place, part) in parts.iter().enumerate() {
        assert!(parts[..place].iter().all(|other| apart(part, other)), "{parts:?}");
        let field = content_range(part, OBJECT_BYTES);
        assert_eq!(parse_content_range(&field), Some((part.clone(), Some(OBJECT_BYTES))));
    }
    if let Some(single) = requested(&fields).and_then(|ranges| ranges.single()) {
        let again: HeaderMap = [(RANGE, single.field())].into_iter().collect();
        assert_eq!(select(&again, OBJECT_BYTES), select(&fields, OBJECT_BYTES), "{single:?}");
    }
    if let Some((part, Some(length))) = parse_content_range(&fields[RANGE]) {
        assert!(part.start < part.end && part.end <= length);
        assert_eq!(parse_content_range(&content_range(&part, length)), Some((part, Some(length))));
    }
}

/// Takes the lines of `Cache-Control` fields.
pub fn cache_control(input: &[u8]) {
    let lines: Vec<_> = input.split(|byte| *byte == b'\n').collect();
    let Some(plain) = fields(&CACHE_CONTROL, &lines) else { return };
    let (response, request) = (CacheControl::of(&plain), RequestControl::of(&plain));
    let _ = withheld(&plain);
    // Nothing in front of a directive or behind it hides it, and no directive makes another one milder.
    let stricter = b"no-store, max-age=1, max-stale=1".as_slice();
    for (first, second) in [(stricter, input), (input, stricter)] {
        let text = [first, b", ", second].concat();
        let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
        // White space at an end, which is none of a field, may be none that a field can have within.
        let Some(fields) = fields(&CACHE_CONTROL, &lines) else { return };
        let (with, asked) = (CacheControl::of(&fields), RequestControl::of(&fields));
        assert!(with.no_store && with.max_age.is_some_and(|age| age <= Duration::from_secs(1)), "{with:?}");
        assert!(with.max_age <= response.max_age.or(with.max_age), "{with:?} and {response:?}");
        assert!(asked.no_store && asked.max_age <= Some(Duration::from_secs(1)), "{asked:?}");
        assert!(asked.max_stale <= Some(Duration::from_secs(1)), "{asked:?} and {request:?}");
        assert!(with.no_cache || !response.no_cache, "{with:?} and {response:?}");
        assert!(with.private || !response.private, "{with:?} and {response:?}");
    }
}

/// Takes a date.
pub fn date(input: &[u8]) {
    let Some(fields) = fields(&DATE, &[input]) else { return };
    let Some(time) = validator::date(&fields, &DATE) else { return };
    let written: HeaderMap = [(DATE, date_field(time))].into_iter().collect();
    assert_eq!(validator::date(&written, &DATE), Some(time));
    for text in [input.to_ascii_lowercase(), input.to_ascii_uppercase()] {
        let fields = self::fields(&DATE, &[&text]).expect("it was a field before");
        assert_eq!(validator::date(&fields, &DATE), Some(time), "{}", text.escape_ascii());
    }
}

/// Takes the lines of `If-Match` fields.
pub fn entity_tags(input: &[u8]) {
    let lines: Vec<_> = input.split(|byte| *byte == b'\n').collect();
    let Some(fields) = fields(&IF_MATCH, &lines) else { return };
    let Some(TagList::Tags(tags)) = TagList::of(&fields, &IF_MATCH) else { return };
    let mut written = HeaderMap::new();
    for tag in &tags {
        let field = tag.field();
        assert_eq!(EntityTag::parse(field.as_bytes()), Some(*tag));
        assert_eq!(tag.strong_eq(tag), !tag.is_weak());
        written.append(IF_MATCH, field);
    }
    if !tags.is_empty() {
        assert_eq!(TagList::of(&written, &IF_MATCH), Some(TagList::Tags(tags)));
    }
}

/// Takes the lines of `Accept-Encoding` fields.
pub fn accept_encoding(input: &[u8]) {
    let lines: Vec<_> = input.split(|byte| *byte == b'\n').collect();
    let accepted = Accepted::parse(lines.iter().copied());
    let codings: Vec<_> = accepted.codings().collect();
    assert!((1..codings.len()).all(|place| !codings[..place].contains(&codings[place])), "{codings:?}");
    // The case of letters says nothing, and neither do codings that nobody knows.
    let upper = input.to_ascii_uppercase();
    let upper: Vec<_> = upper.split(|byte| *byte == b'\n').chain([&b"unknown;q=1"[..]]).collect();
    assert_eq!(Accepted::parse(upper.into_iter()), accepted);
    // Refusing the object as it is takes no coding away.
    let least = Accepted::parse(lines.iter().copied().chain([&b"identity;q=0"[..]]));
    assert!(codings.iter().all(|coding| least.codings().any(|other| other == *coding)), "{codings:?}");
    // What is refused last is not accepted.
    for coding in Coding::ALL {
        let refused = format!("{};q=0", coding.name());
        let with = Accepted::parse(lines.iter().copied().chain([refused.as_bytes()]));
        assert!(with.codings().all(|other| other != coding), "{coding:?}");
    }
}

/// Returns fields with these values, or `None` if one of them is none.
fn fields(name: &HeaderName, values: &[&[u8]]) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for value in values {
        // A parser of requests takes the space around a value away.
        fields.append(name, HeaderValue::from_bytes(value.trim_ascii()).ok()?);
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use yatagarasu_testing::replay;

    #[test]
    fn what_fuzzing_has_found_is_right() {
        replay("range", super::range);
        replay("cache_control", super::cache_control);
        replay("date", super::date);
        replay("entity_tags", super::entity_tags);
        replay("accept_encoding", super::accept_encoding);
    }
}
