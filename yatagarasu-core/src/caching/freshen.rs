//! Bringing stored fields up to date (RFC 9111 3.2, 4.3.4, 4.3.5).

use http::header::{self, HeaderMap, HeaderName};

use crate::http::validator::{EntityTag, Validators};
use crate::object::meta::ObjectMeta;

/// Fields that say how the stored bytes are to be read, or how many they are: a response without these bytes
/// cannot change them (RFC 9111 3.2).
const KEPT: [HeaderName; 4] =
    [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::CONTENT_RANGE, header::TRANSFER_ENCODING];

/// Whether a 304 speaks of the stored response (RFC 9111 4.3.4): a strong entity tag in it must be the stored one; a
/// weak one, or without any the modification date, must match where both have it.
pub fn confirms(stored: &ObjectMeta, not_modified: &ObjectMeta) -> bool {
    let (ours, theirs) = (Validators::of(stored.headers()), Validators::of(not_modified.headers()));
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

/// Whether a HEAD's answer describes the stored object: the same validators, of which there must be one, and the same
/// length where it says one (RFC 9111 4.3.5).
pub fn describes(stored: &ObjectMeta, length: u64, head: &ObjectMeta) -> bool {
    let (ours, theirs) = (Validators::of(stored.headers()), Validators::of(head.headers()));
    let same_tag = match (ours.etag, theirs.etag) {
        (Some(ours), Some(theirs)) => ours == theirs,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let validated = ours.etag.is_some() || ours.last_modified.is_some();
    let same_length = head.content_length().is_none_or(|theirs| theirs == length);
    validated && same_tag && ours.last_modified == theirs.last_modified && same_length
}

/// Puts the fields of `update` in the place of the stored ones of the same names.
#[must_use]
pub fn freshened(stored: &ObjectMeta, update: &ObjectMeta) -> ObjectMeta {
    let mut headers: HeaderMap = stored.headers().clone();
    // An age belongs to the answer it came with.
    headers.remove(header::AGE);
    for name in update.headers().keys().filter(|name| !KEPT.contains(name)) {
        headers.remove(name);
        for value in update.headers().get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    ObjectMeta::new(headers)
}

/// Whether two responses have parts of the same representation: the same strong entity tag (RFC 9111 3.4).
pub fn same_strong_tag(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    let tags = |meta: &'_ ObjectMeta| meta.headers().get(header::ETAG).cloned();
    match (tags(one), tags(other)) {
        (Some(one), Some(other)) => {
            let (one, other) = (EntityTag::parse(one.as_bytes()), EntityTag::parse(other.as_bytes()));
            one.zip(other).is_some_and(|(one, other)| one.strong_eq(&other))
        }
        (None | Some(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
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
