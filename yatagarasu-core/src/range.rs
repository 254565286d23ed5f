//! Byte ranges (RFC 9110 14).

use std::ops::Range;

use http::header::{self, HeaderMap, HeaderValue};

/// One `int-range` or `suffix-range` of a `Range` field (RFC 9110 14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `first-last`, both included.
    Within(u64, u64),
    /// `first-`
    From(u64),
    /// `-length`
    Suffix(u64),
}

impl ByteRange {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            // A position too large to count lies beyond any object.
            digits.then(|| text.parse().unwrap_or(u64::MAX))
        };
        match (first.trim(), last.trim()) {
            ("", last) => Some(Self::Suffix(number(last)?)),
            (first, "") => Some(Self::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Within(first, last))
            }
        }
    }

    /// Finds the bytes of an object of `length` bytes that are meant; `None` where it has none of them.
    pub fn resolve(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::Within(first, last) => first..last.saturating_add(1).min(length),
            Self::From(first) => first..length,
            Self::Suffix(suffix) => length.saturating_sub(suffix)..length,
        };
        (range.start < range.end).then_some(range)
    }
}

impl ByteRange {
    /// Writes it in its one form. No object is longer than a signed number counts, and some sources read no other.
    pub fn field(self) -> HeaderValue {
        const LAST: u64 = i64::MAX.unsigned_abs();
        let text = match self {
            Self::Within(first, last) if last < LAST => format!("bytes={first}-{last}"),
            Self::Within(first, _) | Self::From(first) => format!("bytes={}-", first.min(LAST)),
            Self::Suffix(length) => format!("bytes=-{}", length.min(LAST)),
        };
        HeaderValue::try_from(text).expect("digits are a value")
    }
}

/// What a request's `Range` field asks of an object of known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The whole object: no range, or one that is to be ignored (RFC 9110 14.2).
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Nothing the object has.
    Unsatisfiable,
}

/// Reads the one range of bytes that `headers` ask for.
///
/// Other units, malformed ranges and requests for several ranges at once count as no range: a server may
/// ignore `Range` (RFC 9110 14.2), and S3 answers them with the whole object too.
pub fn requested(headers: &HeaderMap) -> Option<ByteRange> {
    let mut fields = headers.get_all(header::RANGE).iter();
    let (field, None) = (fields.next()?, fields.next()) else { return None };
    single(field)
}

/// Decides what `headers` select of an object of `length` bytes.
pub fn select(headers: &HeaderMap, length: u64) -> Selection {
    let Some(range) = requested(headers) else { return Selection::Whole };
    match range.resolve(length) {
        Some(part) => Selection::Part(part),
        None => Selection::Unsatisfiable,
    }
}

/// Reads a field that asks for exactly one range of bytes.
fn single(field: &HeaderValue) -> Option<ByteRange> {
    let (unit, set) = field.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges = set.split(',').map(str::trim).filter(|range| !range.is_empty());
    let range = ByteRange::parse(ranges.next()?)?;
    ranges.next().is_none().then_some(range)
}

/// Writes `Content-Range` for a part of an object of `length` bytes (RFC 9110 14.4).
pub fn content_range(part: &Range<u64>, length: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes {}-{}/{length}", part.start, part.end - 1))
        .expect("digits are a value")
}

/// Writes `Content-Range` for a range that an object of `length` bytes, where known, does not have.
pub fn unsatisfied_range(length: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes */{length}")).expect("digits are a value")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(field: &str, length: u64, expected: &Selection) {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, field.parse().unwrap());
        assert_eq!(&select(&headers, length), expected, "{field} of {length}");
    }

    #[test]
    fn single_ranges_are_cut_to_the_object() {
        check("bytes=0-0", 10, &Selection::Part(0..1));
        check("Bytes = 2 - 5", 10, &Selection::Part(2..6));
        check("bytes=2-99", 10, &Selection::Part(2..10));
        check("bytes=9-", 10, &Selection::Part(9..10));
        check("bytes=-3", 10, &Selection::Part(7..10));
        check("bytes=-30", 10, &Selection::Part(0..10));
        check("bytes=0-18446744073709551615", 10, &Selection::Part(0..10));
        check("bytes=,0-1,", 10, &Selection::Part(0..2));
    }

    #[test]
    fn ranges_the_object_does_not_have_are_unsatisfiable() {
        check("bytes=10-", 10, &Selection::Unsatisfiable);
        check("bytes=-0", 10, &Selection::Unsatisfiable);
        check("bytes=0-", 0, &Selection::Unsatisfiable);
        check("bytes=99999999999999999999-", 10, &Selection::Unsatisfiable);
    }

    #[test]
    fn what_is_no_single_range_is_ignored() {
        for field in
            ["items=0-1", "bytes=5-2", "bytes=a-b", "bytes=-", "bytes", "bytes=0-1,3-4", "bytes=+1-2"]
        {
            check(field, 10, &Selection::Whole);
        }
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_object(field in "bytes=[0-9]{0,3}-[0-9]{0,3}", length in 0u64..1200) {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, field.parse().unwrap());
            if let Selection::Part(part) = select(&headers, length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }

        #[test]
        fn any_bytes_are_taken_without_panic(field in proptest::collection::vec(32u8..=255, 0..40), length: u64) {
            prop_assume!(!field.contains(&127));
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_bytes(&field).unwrap());
            let _ = select(&headers, length);
        }
    }
}
