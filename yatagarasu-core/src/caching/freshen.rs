//! Updates stored header fields from a 304 or a HEAD response (RFC 9111 3.2, 4.3.4, 4.3.5).

use http::header::{self, HeaderName};

use crate::http::validator::{EntityTag, Validators};
use crate::object::meta::ObjectMeta;

/// Fields that keep their stored values in an update (RFC 9111 3.2).
///
/// They describe the encoding or the length of the stored bytes, so a response without these bytes cannot change them.
const KEPT: [HeaderName; 4] =
    [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::CONTENT_RANGE, header::TRANSFER_ENCODING];

/// Returns `true` if a 304 confirms the stored response (RFC 9111 4.3.4).
///
/// A strong entity tag in the 304 must equal the stored one. A weak tag must match the stored tag if there is one.
/// Without a tag, `Last-Modified` must match if both responses have it.
///
/// S3 keeps the tag of an object whose metadata is replaced, and answers with a later `Last-Modified`: such a 304 does
/// not confirm the stored fields. Nor does one with another length; 0 is said by stores that mean their empty 304.
pub fn confirms(stored: &ObjectMeta, not_modified: &ObjectMeta) -> bool {
    let (ours, theirs) = (stored.headers(), not_modified.headers());
    let (ours, theirs) = (Validators::of(&ours), Validators::of(&theirs));
    let is_later = match (theirs.last_modified, ours.last_modified) {
        (Some(theirs), Some(ours)) => theirs > ours,
        (Some(_) | None, _) => false,
    };
    let lengths = not_modified.content_length().filter(|length| *length > 0).zip(stored.content_length());
    if is_later || lengths.is_some_and(|(theirs, ours)| theirs != ours) {
        return false;
    }
    match (theirs.etag, ours.etag) {
        (Some(theirs), Some(ours)) => {
            if theirs.is_weak() {
                theirs.weak_eq(&ours)
            } else {
                theirs.strong_eq(&ours)
            }
        }
        (Some(theirs), None) => theirs.is_weak(),
        (None, _) => match (theirs.last_modified, ours.last_modified) {
            (Some(theirs), Some(ours)) => theirs == ours,
            (Some(_) | None, _) => true,
        },
    }
}

/// Returns `true` if a 304 leaves open whether the metadata of the stored object has been replaced. The object was
/// asked for by its tag, which stays the same, and the 304 has no date.
pub fn is_silent(stored: &ObjectMeta, not_modified: &ObjectMeta) -> bool {
    let (ours, theirs) = (stored.headers(), not_modified.headers());
    let (ours, theirs) = (Validators::of(&ours), Validators::of(&theirs));
    ours.etag.is_some() && ours.last_modified.is_some() && theirs.last_modified.is_none()
}

/// Returns `true` if the response to a HEAD describes the stored object of `length` bytes (RFC 9111 4.3.5).
///
/// Both must have the same validators, at least one. If the response has `Content-Length`, it must equal `length`.
pub fn describes(stored: &ObjectMeta, length: u64, head: &ObjectMeta) -> bool {
    let (ours, theirs) = (stored.headers(), head.headers());
    let (ours, theirs) = (Validators::of(&ours), Validators::of(&theirs));
    let same_tag = match (ours.etag, theirs.etag) {
        (Some(ours), Some(theirs)) => ours == theirs,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let validated = ours.etag.is_some() || ours.last_modified.is_some();
    let same_length = head.content_length().is_none_or(|theirs| theirs == length);
    validated && same_tag && ours.last_modified == theirs.last_modified && same_length
}

/// Returns the stored fields with those of `update` in place of the stored ones of the same name.
///
/// Fields about the stored bytes keep their values, such as `Content-Length` and `Content-Encoding`. The stored `Age`
/// is dropped.
#[must_use]
pub fn freshened(stored: &ObjectMeta, update: &ObjectMeta) -> ObjectMeta {
    let mut headers = stored.headers().into_owned();
    // `Age` describes the response it arrived with.
    headers.remove(header::AGE);
    let update = update.headers();
    for name in update.keys().filter(|name| !KEPT.contains(name)) {
        headers.remove(name);
        for value in update.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    ObjectMeta::new(headers)
}

/// Returns `true` if both responses have the same strong entity tag.
///
/// Only then may their parts be combined (RFC 9111 3.4).
pub fn same_strong_tag(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    let name = header::ETAG.as_str();
    match (one.values(name).next(), other.values(name).next()) {
        (Some(one), Some(other)) => {
            let (one, other) = (EntityTag::parse(one), EntityTag::parse(other));
            one.zip(other).is_some_and(|(one, other)| one.strong_eq(&other))
        }
        (None | Some(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderMap;

    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn meta(fields: &[(&'static str, &str)]) -> ObjectMeta {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        ObjectMeta::new(headers)
    }

    #[test]
    fn a_304_speaks_of_what_it_names() {
        let check = |stored: &[(&'static str, &str)], update: &[(&'static str, &str)], expected| {
            assert_eq!(confirms(&meta(stored), &meta(update)), expected, "{stored:?} {update:?}");
        };
        check(&[("etag", "\"a\"")], &[("etag", "\"a\"")], true);
        check(&[("etag", "\"a\"")], &[("etag", "\"b\"")], false);
        check(&[("etag", "W/\"a\"")], &[("etag", "\"a\"")], false);
        check(&[("etag", "\"a\"")], &[("etag", "W/\"a\"")], true);
        check(&[("etag", "\"a\"")], &[("etag", "W/\"b\"")], false);
        check(&[("etag", "\"a\"")], &[], true);
        check(&[("last-modified", DATE)], &[("etag", "\"b\"")], false);
        check(&[("last-modified", DATE)], &[("last-modified", DATE)], true);
        check(&[("last-modified", DATE)], &[("last-modified", LATER)], false);
        let stored = [("etag", "\"a\""), ("last-modified", DATE), ("content-length", "5")];
        check(&stored, &[("etag", "\"a\""), ("last-modified", LATER)], false);
        check(&stored, &[("etag", "\"a\""), ("last-modified", DATE), ("content-length", "0")], true);
        check(&stored, &[("etag", "\"a\""), ("content-length", "6")], false);
    }

    #[test]
    fn a_head_describes_what_has_its_validators_and_length() {
        let stored = meta(&[("etag", "\"a\""), ("last-modified", DATE)]);
        let check = |head: &[(&'static str, &str)], expected| {
            assert_eq!(describes(&stored, 5, &meta(head)), expected, "{head:?}");
        };
        let same = [("etag", "\"a\""), ("last-modified", DATE)];
        check(&same, true);
        check(&[&same[..], &[("content-length", "5")]].concat(), true);
        check(&[&same[..], &[("content-length", "6")]].concat(), false);
        check(&[("etag", "\"b\""), ("last-modified", DATE)], false);
        check(&[("etag", "\"a\""), ("last-modified", LATER)], false);
        check(&[], false);
        assert!(!describes(&meta(&[]), 5, &meta(&[("content-length", "5")])), "of an unknown version");
    }

    #[test]
    fn every_field_is_replaced_but_those_about_the_bytes() {
        let stored = meta(&[
            ("etag", "\"a\""),
            ("x-kept", "1"),
            ("x-list", "1"),
            ("age", "9"),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
        ]);
        let update = meta(&[
            ("x-list", "2"),
            ("x-list", "3"),
            ("x-new", "1"),
            ("content-length", "0"),
            ("content-encoding", "br"),
            ("cache-control", "max-age=5"),
        ]);
        let expected = meta(&[
            ("etag", "\"a\""),
            ("x-kept", "1"),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("x-list", "2"),
            ("x-list", "3"),
            ("x-new", "1"),
            ("cache-control", "max-age=5"),
        ]);
        assert_eq!(freshened(&stored, &update), expected);
    }
}
