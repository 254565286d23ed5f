//! Parses byte ranges and selects the parts of an object (RFC 9110 14).

use std::ops::Range;

use http::header::{self, HeaderMap, HeaderValue};

/// Maximum number of ranges in a request. `Range` is ignored if it has more, so the response has the whole object
/// (RFC 9110 14.2).
pub const RANGES_MAX: usize = 64;

/// Widest gap, in bytes, between two ranges that are sent as one part.
///
/// It is about the size of the head that a second part would need (RFC 9110 15.3.7.2).
pub const GAP_BYTES_MAX: u64 = 128;

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
        // A position above `u64::MAX` lies beyond any object.
        let number = |text| Some(digits(text)?.parse().unwrap_or(u64::MAX));
        match (first.trim(), last.trim()) {
            ("", last) => Some(Self::Suffix(number(last)?)),
            (first, "") => Some(Self::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Within(first, last))
            }
        }
    }

    /// Returns the range in an object of `length` bytes, or `None` if the object has none of these bytes.
    pub fn resolve(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::Within(first, last) => first..last.saturating_add(1).min(length),
            Self::From(first) => first..length,
            Self::Suffix(suffix) => length.saturating_sub(suffix)..length,
        };
        (range.start < range.end).then_some(range)
    }

    /// Returns the value of a `Range` field for this range.
    ///
    /// Limits positions to `i64::MAX`: some sources parse signed numbers, and no object is longer.
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

/// The ranges of a `Range` field in field order: at least one, at most [`RANGES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeSet(Vec<ByteRange>);

impl RangeSet {
    fn parse(field: &HeaderValue) -> Option<Self> {
        let (unit, set) = field.to_str().ok()?.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let members = set.split(',').map(str::trim).filter(|member| !member.is_empty());
        let ranges: Vec<_> = members.take(RANGES_MAX + 1).map(ByteRange::parse).collect::<Option<_>>()?;
        (1..=RANGES_MAX).contains(&ranges.len()).then_some(Self(ranges))
    }

    /// Returns the range if there is exactly one.
    pub fn single(&self) -> Option<ByteRange> {
        match self.0.as_slice() {
            [range] => Some(*range),
            _ => None,
        }
    }

    /// Returns the selection from an object of `length` bytes; never [`Selection::Whole`].
    ///
    /// Drops ranges outside the object. Merges ranges that overlap, touch or lie at most [`GAP_BYTES_MAX`] bytes apart.
    /// The merged range takes the position of the first of them in the field (RFC 9110 14.2, 15.3.7.2).
    pub fn select(&self, length: u64) -> Selection {
        let parts = coalesced(self.0.iter().filter_map(|range| range.resolve(length)));
        match parts.as_slice() {
            [] => Selection::Unsatisfiable,
            [part] => Selection::Part(part.clone()),
            [_, _, ..] => Selection::Parts(parts),
        }
    }
}

/// The bytes that a request selects from an object of known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The whole object: the request has no `Range`, or it is ignored (RFC 9110 14.2).
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// At least two parts in the order of the request, each more than [`GAP_BYTES_MAX`] bytes from the others.
    Parts(Vec<Range<u64>>),
    /// No byte of the object: respond 416.
    Unsatisfiable,
}

/// Parses the `Range` field of a request.
///
/// Returns `None` if there is none, if there are several, for a unit other than bytes, if a member is malformed, and
/// for more than [`RANGES_MAX`] ranges. A server may ignore `Range` (RFC 9110 14.2).
pub fn requested(headers: &HeaderMap) -> Option<RangeSet> {
    let mut fields = headers.get_all(header::RANGE).iter();
    let (field, None) = (fields.next()?, fields.next()) else { return None };
    RangeSet::parse(field)
}

/// Returns the selection that a request with `headers` makes from an object of `length` bytes.
pub fn select(headers: &HeaderMap, length: u64) -> Selection {
    requested(headers).map_or(Selection::Whole, |ranges| ranges.select(length))
}

/// Merges parts at most [`GAP_BYTES_MAX`] bytes apart. Returns them in the order of first appearance.
fn coalesced(parts: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut asked: Vec<(usize, Range<u64>)> = parts.enumerate().collect();
    asked.sort_unstable_by_key(|(_, part)| part.start);
    let mut joined: Vec<(usize, Range<u64>)> = Vec::with_capacity(asked.len());
    for (place, part) in asked {
        match joined.last_mut() {
            Some((first, last)) if part.start <= last.end.saturating_add(GAP_BYTES_MAX) => {
                *first = (*first).min(place);
                last.end = last.end.max(part.end);
            }
            _ => joined.push((place, part)),
        }
    }
    joined.sort_unstable_by_key(|(place, _)| *place);
    joined.into_iter().map(|(_, part)| part).collect()
}

/// Returns `text` if it has only digits, at least one: no sign, no space.
pub(super) fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asking(field: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, field.parse().unwrap());
        headers
    }

    #[track_caller]
    fn check(field: &str, length: u64, expected: &Selection) {
        assert_eq!(&select(&asking(field), length), expected, "{field} of {length}");
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
    fn several_ranges_are_parts_in_the_order_asked_for() {
        check("bytes=0-9,500-509", 1000, &Selection::Parts(vec![0..10, 500..510]));
        check("bytes=500-509, 0-9", 1000, &Selection::Parts(vec![500..510, 0..10]));
        check("bytes=-1,0-0,300-", 600, &Selection::Parts(vec![300..600, 0..1]));
        check("bytes=0-0,1000-,500-", 600, &Selection::Parts(vec![0..1, 500..600]));
        check("bytes=0-0,1000-", 600, &Selection::Part(0..1));
    }

    #[test]
    fn parts_near_each_other_are_one() {
        check("bytes=0-1,3-4", 10, &Selection::Part(0..5));
        check("bytes=0-99,50-149", 1000, &Selection::Part(0..150));
        check("bytes=0-99,10-19", 1000, &Selection::Part(0..100));
        check("bytes=0-9,138-147", 1000, &Selection::Part(0..148));
        check("bytes=0-9,139-147", 1000, &Selection::Parts(vec![0..10, 139..148]));
        // The third joins the first two, and the whole takes the place of the first.
        check("bytes=400-409,0-9,10-399,900-", 1000, &Selection::Parts(vec![0..410, 900..1000]));
        check("bytes=900-,0-9,900-", 1000, &Selection::Parts(vec![900..1000, 0..10]));
    }

    #[test]
    fn ranges_the_object_does_not_have_are_unsatisfiable() {
        check("bytes=10-", 10, &Selection::Unsatisfiable);
        check("bytes=-0", 10, &Selection::Unsatisfiable);
        check("bytes=0-", 0, &Selection::Unsatisfiable);
        check("bytes=0-0,5-,-5", 0, &Selection::Unsatisfiable);
        check("bytes=10-,-0", 10, &Selection::Unsatisfiable);
        check("bytes=99999999999999999999-", 10, &Selection::Unsatisfiable);
    }

    #[test]
    fn what_is_no_range_is_ignored() {
        for field in [
            "items=0-1",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=-",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=+1-2",
            "bytes=0-1,x",
            "bytes=0-1,5-2",
            "bytes=0-1;3-4",
        ] {
            check(field, 10, &Selection::Whole);
        }
        let mut headers = asking("bytes=0-1");
        headers.append(header::RANGE, "bytes=3-4".parse().unwrap());
        assert_eq!(requested(&headers), None);
    }

    #[test]
    fn too_many_ranges_are_ignored() {
        let field = |count: usize| format!("bytes={}", vec!["0-0"; count].join(","));
        check(&field(RANGES_MAX), 10, &Selection::Part(0..1));
        check(&field(RANGES_MAX + 1), 10, &Selection::Whole);
    }

    #[test]
    fn only_one_member_is_a_single_range() {
        let single = |field: &str| requested(&asking(field)).unwrap().single();
        assert_eq!(single("bytes=1-"), Some(ByteRange::From(1)));
        assert_eq!(single("bytes=,-7,"), Some(ByteRange::Suffix(7)));
        assert_eq!(single("bytes=1-2,1-2"), None);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_object(field in "bytes=[0-9]{0,3}-[0-9]{0,3}", length in 0u64..1200) {
            if let Selection::Part(part) = select(&asking(&field), length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }

        #[test]
        fn parts_hold_all_that_is_asked_for_once(
            pairs in proptest::collection::vec((0u64..3000, 0u64..300), 1..RANGES_MAX),
            length in 0u64..3000,
        ) {
            let within = |&(first, more): &(u64, u64)| ByteRange::Within(first, first + more);
            let set = RangeSet(pairs.iter().map(within).collect());
            let members: Vec<_> = set.0.iter().filter_map(|range| range.resolve(length)).collect();
            let parts = match set.select(length) {
                Selection::Whole => panic!("ranges are never ignored here"),
                Selection::Unsatisfiable => vec![],
                Selection::Part(part) => vec![part],
                Selection::Parts(parts) => parts,
            };
            let holds = |part: &Range<u64>, member: &Range<u64>| {
                part.start <= member.start && member.end <= part.end
            };
            for member in &members {
                prop_assert_eq!(parts.iter().filter(|part| holds(part, member)).count(), 1);
            }
            let first = |part: &Range<u64>| members.iter().position(|member| holds(part, member));
            prop_assert!(parts.iter().all(|part| first(part).is_some() && part.end <= length));
            prop_assert!(parts.is_sorted_by_key(first));
            let mut sorted = parts.clone();
            sorted.sort_unstable_by_key(|part| part.start);
            prop_assert!(sorted.windows(2).all(|pair| pair[0].end + GAP_BYTES_MAX < pair[1].start));
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
