//! Writes and parses the `Content-Range` field (RFC 9110 14.4).

use std::ops::Range;

use http::HeaderValue;

use crate::http::range::digits;

/// Returns `Content-Range` for a non-empty part of an object of `length` bytes (RFC 9110 14.4).
pub fn content_range(part: &Range<u64>, length: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes {}-{}/{length}", part.start, part.end - 1))
        .expect("digits are a value")
}

/// Returns `Content-Range` for a 416 response about an object of `length` bytes (RFC 9110 15.5.17).
pub fn unsatisfied_range(length: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes */{length}")).expect("digits are a value")
}

/// Parses `Content-Range`. Returns the part and the complete length, which is `None` if the field has `*`.
///
/// Returns `None` for a unit other than bytes, for an unsatisfied range, and for a malformed or contradictory value.
/// Such a response must not be recombined (RFC 9110 14.4).
pub fn parse_content_range(value: &HeaderValue) -> Option<(Range<u64>, Option<u64>)> {
    let (unit, range) = value.to_str().ok()?.trim().split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (positions, complete) = range.split_once('/')?;
    let (first, last) = positions.split_once('-')?;
    let number = |text| digits(text)?.parse::<u64>().ok();
    let part = number(first)?..number(last)?.checked_add(1)?;
    let complete = match complete {
        "*" => None,
        complete => Some(number(complete)?),
    };
    let fits = part.start < part.end && complete.is_none_or(|complete| part.end <= complete);
    fits.then_some((part, complete))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(field: &str, part: Range<u64>, length: Option<u64>) {
        assert_eq!(parse_content_range(&field.parse().unwrap()), Some((part, length)), "{field}");
    }

    #[test]
    fn parts_are_read() {
        check("bytes 0-0/1", 0..1, Some(1));
        check("Bytes 2-5/10", 2..6, Some(10));
        check("bytes 2-5/*", 2..6, None);
        check("bytes 0-18446744073709551614/18446744073709551615", 0..u64::MAX, Some(u64::MAX));
    }

    #[test]
    fn what_is_no_part_is_not_read() {
        for field in [
            "",
            "bytes",
            "bytes ",
            "bytes */10",
            "bytes 0-1",
            "bytes 0-1/",
            "bytes -1/10",
            "bytes 0-/10",
            "bytes 0/10",
            "bytes=0-1/10",
            "items 0-1/10",
            "bytes 5-2/10",
            "bytes 2-10/10",
            "bytes 0-0/0",
            "bytes +0-1/10",
            "bytes 0-1/1x",
            "bytes 0-1/10/11",
            "bytes 0-1-2/10",
            "bytes 0-18446744073709551615/*",
            "bytes 0-1/99999999999999999999",
        ] {
            assert_eq!(parse_content_range(&field.parse().unwrap()), None, "{field}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(first in 0u64..1 << 40, span in 1u64..1 << 40, rest in 0u64..1 << 40) {
            let (part, complete) = (first..first + span, first + span + rest);
            let read = parse_content_range(&content_range(&part, complete));
            prop_assert_eq!(read, Some((part, Some(complete))));
            prop_assert_eq!(parse_content_range(&unsatisfied_range(complete)), None);
        }

        #[test]
        fn any_bytes_are_taken_without_panic(field in proptest::collection::vec(32u8..=255, 0..40)) {
            prop_assume!(!field.contains(&127));
            let _ = parse_content_range(&HeaderValue::from_bytes(&field).unwrap());
        }
    }
}
