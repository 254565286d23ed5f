//! Parses and compares validators: entity tags and modification dates (RFC 9110 8.8).

use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderValue};

/// An entity tag (RFC 9110 8.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag<'a> {
    weak: bool,
    /// The bytes between the quotes.
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Parses a text that is exactly one entity tag.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::take(text.trim_ascii())?;
        rest.is_empty().then_some(tag)
    }

    /// Parses a text that is exactly one entity tag, or what S3's clients send for one: the same without quotes.
    pub fn parse_bare(text: &'a [u8]) -> Option<Self> {
        let text = text.trim_ascii();
        Self::parse(text).or_else(|| Self::bare(text))
    }

    /// Parses a tag without quotes. It is one word, and `*` is none.
    fn bare(text: &'a [u8]) -> Option<Self> {
        let (weak, opaque) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let word =
            !opaque.is_empty() && opaque.iter().all(|&byte| byte > b' ' && !b"\",\x7f".contains(&byte));
        (word && opaque != b"*").then_some(Self { weak, opaque })
    }

    /// Returns the tag as it is in a field, with quotes.
    pub fn field(&self) -> HeaderValue {
        let weak: &[u8] = if self.weak { b"W/" } else { b"" };
        HeaderValue::from_bytes(&[weak, b"\"", self.opaque, b"\""].concat()).expect("it was one before")
    }

    /// Parses the entity tag at the start of `text`. Returns the tag and the rest of the text.
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

    /// Returns `true` if the tag is weak: equal tags then do not imply equal bytes (RFC 9110 8.8.1).
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Returns `true` if both tags are strong and equal (RFC 9110 8.8.3.2).
    pub fn strong_eq(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Returns `true` if the tags are equal, weak or not (RFC 9110 8.8.3.2).
    pub fn weak_eq(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

/// The value of `If-Match` or `If-None-Match`: `*` or entity tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagList<'a> {
    /// `*`: any current representation.
    Any,
    /// One of these tags. Malformed members are left out.
    Tags(Vec<EntityTag<'a>>),
}

impl<'a> TagList<'a> {
    /// Parses all fields with this name. Returns `None` if there are none.
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
                // Skip to the next member: past the comma, and past anything before it that is not a tag.
                let end = text.iter().position(|&byte| byte == b',');
                tags.extend(EntityTag::bare(text[..end.unwrap_or(text.len())].trim_ascii_end()));
                text = end.map_or(&b""[..], |comma| text[comma + 1..].trim_ascii_start());
            }
        }
        present.then_some(Self::Tags(tags))
    }

    /// Returns the tag if there is exactly one, and it is a strong one.
    pub fn single_strong(&self) -> Option<EntityTag<'a>> {
        match self {
            Self::Tags(tags) => match tags.as_slice() {
                [tag] if !tag.weak => Some(*tag),
                _ => None,
            },
            Self::Any => None,
        }
    }
}

/// The validators of one representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validators<'a> {
    /// `ETag`.
    pub etag: Option<EntityTag<'a>>,
    /// `Last-Modified`.
    pub last_modified: Option<SystemTime>,
    /// `Date`: the time at which the response was generated.
    pub date: Option<SystemTime>,
}

impl<'a> Validators<'a> {
    /// Parses the validators of a response.
    pub fn of(headers: &'a HeaderMap) -> Self {
        Self {
            etag: headers.get(header::ETAG).and_then(|value| EntityTag::parse(value.as_bytes())),
            last_modified: date(headers, &header::LAST_MODIFIED),
            date: date(headers, &header::DATE),
        }
    }
}

/// Returns the HTTP date in the field `name` (RFC 9110 5.6.7).
///
/// Returns `None` if the field is missing, repeated or malformed.
pub fn date(headers: &HeaderMap, name: &header::HeaderName) -> Option<SystemTime> {
    only_date(headers.get_all(name).iter().map(HeaderValue::as_bytes))
}

/// Returns the date of a field with these values. Returns `None` unless there is one value, and it is a date.
pub fn only_date<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<SystemTime> {
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    httpdate::parse_http_date(text).or_else(|_| httpdate::parse_http_date(&in_one_case(text))).ok()
}

/// Returns the date with the names of days, months and the zone in the case of RFC 9110 5.6.7.
///
/// A cache must accept them in any case (RFC 9111 4.2).
fn in_one_case(text: &str) -> String {
    let mut within = false;
    let word = text.chars().map(|letter| {
        let first = !std::mem::replace(&mut within, letter.is_ascii_alphabetic());
        if first { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    });
    word.collect::<String>().replace("Gmt", "GMT")
}

/// Returns a field value with the date as an IMF-fixdate, the form to send (RFC 9110 5.6.7).
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
        check(&[",, no sense , \"a\""], &["\"a\""]);
        check(&["\"a"], &[]);
    }

    #[test]
    fn tags_without_quotes_are_read_as_s3_reads_them() {
        check(&["abc", "W/d , \"e\""], &["\"abc\"", "W/\"d\"", "\"e\""]);
        for (text, is_tag) in
            [("abc", true), ("Sun, 06 Nov 1994", false), ("*", false), ("", false), ("\"a", false)]
        {
            assert_eq!(EntityTag::parse_bare(text.as_bytes()).is_some(), is_tag, "{text}");
        }
    }
}
