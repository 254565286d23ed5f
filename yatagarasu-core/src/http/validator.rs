//! Validators of a representation: entity tags and modification dates (RFC 9110 8.8).

use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderValue};

/// An entity tag (RFC 9110 8.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag<'a> {
    weak: bool,
    /// What stands between the quotes.
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads one tag and nothing else.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::take(text.trim_ascii())?;
        rest.is_empty().then_some(tag)
    }

    /// Reads the tag `text` begins with; returns what follows it.
    fn take(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let inner = quoted.strip_prefix(b"\"")?;
        let end = inner.iter().position(|&byte| byte == b'"')?;
        let opaque = &inner[..end];
        opaque
            .iter()
            .all(|&byte| byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80)
            .then_some((Self { weak, opaque }, &inner[end + 1..]))
    }

    /// Whether it says less than that the bytes are the same (RFC 9110 8.8.1).
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Both are strong and the same (RFC 9110 8.8.3.2).
    pub fn strong_eq(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Both are the same, weak or not (RFC 9110 8.8.3.2).
    pub fn weak_eq(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

/// The value of `If-Match` or `If-None-Match`: `*` or entity tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagList<'a> {
    /// Any current representation.
    Any,
    /// One of these. What could not be read as a tag is left out.
    Tags(Vec<EntityTag<'a>>),
}

impl<'a> TagList<'a> {
    /// Reads all fields of one name, or `None` where there is none.
    pub fn of(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<Self> {
        let mut present = false;
        let mut tags = Vec::new();
        for value in headers.get_all(name) {
            present = true;
            let mut text = value.as_bytes().trim_ascii();
            if text == b"*" {
                return Some(Self::Any);
            }
            while !text.is_empty() {
                if let Some((tag, rest)) = EntityTag::take(text) {
                    tags.push(tag);
                    text = rest.trim_ascii_start();
                }
                // Over the comma, or over what is no tag, up to the next element.
                text = match text.iter().position(|&byte| byte == b',') {
                    Some(comma) => text[comma + 1..].trim_ascii_start(),
                    None => b"",
                };
            }
        }
        present.then_some(Self::Tags(tags))
    }
}

/// The validators of one representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validators<'a> {
    /// `ETag`.
    pub etag: Option<EntityTag<'a>>,
    /// `Last-Modified`.
    pub last_modified: Option<SystemTime>,
    /// `Date`: when the response was made.
    pub date: Option<SystemTime>,
}

impl<'a> Validators<'a> {
    /// Reads the validators of a response.
    pub fn of(headers: &'a HeaderMap) -> Self {
        Self {
            etag: headers.get(header::ETAG).and_then(|value| EntityTag::parse(value.as_bytes())),
            last_modified: date(headers, &header::LAST_MODIFIED),
            date: date(headers, &header::DATE),
        }
    }
}

/// Reads an HTTP date (RFC 9110 5.6.7); a field that is missing, repeated or malformed is none.
pub fn date(headers: &HeaderMap, name: &header::HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let text = value.to_str().ok()?;
    httpdate::parse_http_date(text).or_else(|_| httpdate::parse_http_date(&in_one_case(text))).ok()
}

/// Writes the names of days, months and the zone as RFC 9110 5.6.7 has them: a cache reads them in any case (RFC 9111
/// 4.2).
fn in_one_case(text: &str) -> String {
    let mut within = false;
    let word = text.chars().map(|letter| {
        let first = !std::mem::replace(&mut within, letter.is_ascii_alphabetic());
        if first { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    });
    word.collect::<String>().replace("Gmt", "GMT")
}

/// Writes a date in the form that is to be sent (RFC 9110 5.6.7).
pub fn date_field(at: SystemTime) -> HeaderValue {
    HeaderValue::try_from(httpdate::fmt_http_date(at)).expect("a date is a value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_with_their_strength() {
        let strong = EntityTag::parse(b"\"a\"").unwrap();
        let weak = EntityTag::parse(b"W/\"a\"").unwrap();
        assert!(strong.strong_eq(&strong) && strong.weak_eq(&weak));
        assert!(!strong.strong_eq(&weak) && !weak.strong_eq(&weak));
        for bad in ["a", "\"a", "w/\"a\"", "\"a\"b", "\"a b\""] {
            assert_eq!(EntityTag::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[track_caller]
    fn check(values: &[&str], expected: &[&str]) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, value.parse().unwrap());
        }
        let expected = expected.iter().map(|tag| EntityTag::parse(tag.as_bytes()).unwrap()).collect();
        assert_eq!(TagList::of(&headers, &header::IF_MATCH), Some(TagList::Tags(expected)));
    }

    #[test]
    fn lists_span_fields_and_skip_what_is_no_tag() {
        check(&["\"a\", W/\"b\"", "\"c,d\""], &["\"a\"", "W/\"b\"", "\"c,d\""]);
        check(&[",, nonsense , \"a\""], &["\"a\""]);
        check(&["\"a"], &[]);
    }
}
