//! Checks the content of answers: whole objects, parts, and ranges outside of the object.

use std::ops::Range;

use bytes::Bytes;
use yatagarasu_core::Method;

use super::ask::{Ask, End, Given};
use super::edition::{Edition, resolve, text};

/// Checks an answer with the whole object, or with its beginning if it was not read to the end.
pub(super) fn check_whole(ask: &Ask, edition: &Edition, given: &Given) {
    let content = match ask.request.method {
        Method::Get => edition.content(&ask.asker.language),
        Method::Head => Bytes::new(),
    };
    check_bytes(&content, given, &given.bytes);
    if let Some(length) = text(&given.headers, "content-length") {
        assert_eq!(length, edition.length.to_string());
    }
    assert!(!given.headers.contains_key("content-range"));
    let one = ask.ranges().len() == 1 && text(&ask.request.headers, "if-range").is_none();
    assert!(!one, "the whole instead of a part");
}

/// Checks an answer with the requested parts, alone or as `multipart/byteranges`.
pub(super) fn check_part(ask: &Ask, edition: &Edition, given: &Given) {
    let (language, content) = (ask.asker.language.as_str(), edition.content(&ask.asker.language));
    assert!(!ask.ranges().is_empty(), "a part nobody asked for");
    assert!(edition.range_applies(&ask.request.headers, language), "a part of another version");
    let ranges = ask.ranges();
    let asked: Vec<Range<usize>> = ranges.iter().filter_map(|one| resolve(one, edition.length)).collect();
    let kind = text(&given.headers, "content-type").unwrap();
    let parts = match kind.split_once("multipart/byteranges; boundary=") {
        None => {
            let part = part_of(text(&given.headers, "content-range").unwrap(), edition.length);
            check_bytes(&content[part.clone()], given, &given.bytes);
            assert_eq!(text(&given.headers, "content-length"), Some(part.len().to_string().as_str()));
            if ranges.len() == 1 {
                assert_eq!(asked, std::slice::from_ref(&part));
            }
            vec![part]
        }
        // A body that was cut off cannot be split into parts.
        Some(_) if given.end != End::Whole => return,
        Some((_, boundary)) => {
            let length = given.bytes.len().to_string();
            assert_eq!(text(&given.headers, "content-length"), Some(length.as_str()));
            let parts = taken_apart(&given.bytes, boundary, edition.length);
            for (part, bytes) in &parts {
                assert!(content[part.clone()] == **bytes, "other bytes in {part:?} of {edition:?}");
            }
            assert!(parts.len() > 1, "several parts of which there is one");
            parts.into_iter().map(|(part, _)| part).collect()
        }
    };
    for range in asked {
        let held = parts.iter().any(|part| part.start <= range.start && range.end <= part.end);
        assert!(held, "{range:?} is missing in {parts:?}");
    }
}

/// Checks that one of `editions` has this length and none of the requested ranges.
pub(super) fn check_unsatisfiable<'e>(
    ask: &Ask,
    complete_length: Option<u64>,
    mut editions: impl Iterator<Item = &'e Edition>,
) {
    assert_eq!(ask.request.method, Method::Get);
    let outside = editions.any(|edition| {
        let none = ask.ranges().iter().all(|one| resolve(one, edition.length).is_none());
        none && complete_length == Some(edition.length as u64)
    });
    assert!(outside && !ask.ranges().is_empty(), "416 of {complete_length:?}");
}

/// Checks that a body read to its end is all of `content`, and that any other body is the beginning of it.
fn check_bytes(content: &[u8], given: &Given, bytes: &[u8]) {
    match given.end {
        End::Whole => assert!(content == bytes, "{} bytes, not the {} there are", bytes.len(), content.len()),
        End::Torn | End::Left => assert!(content.starts_with(bytes), "other bytes"),
    }
}

/// Parses `Content-Range`.
fn part_of(field: &str, complete_length: usize) -> Range<usize> {
    let (range, complete) = field.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
    assert_eq!(complete, complete_length.to_string());
    let (first, last) = range.split_once('-').unwrap();
    let end = last.parse::<usize>().unwrap() + 1;
    first.parse().unwrap()..end
}

/// Splits a `multipart/byteranges` body into its parts (RFC 9110 14.6).
fn taken_apart<'b>(
    mut body: &'b [u8],
    boundary: &str,
    complete_length: usize,
) -> Vec<(Range<usize>, &'b [u8])> {
    let mut parts = Vec::new();
    let mut delimiter = format!("--{boundary}\r\n");
    while let Some(rest) = body.strip_prefix(delimiter.as_bytes()) {
        let blank = rest.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&rest[..blank]).unwrap();
        let field = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Range: ")).unwrap();
        let part = part_of(field, complete_length);
        let (bytes, rest) = rest[blank + 4..].split_at(part.len());
        parts.push((part, bytes));
        body = rest;
        delimiter = format!("\r\n--{boundary}\r\n");
    }
    assert_eq!(body, format!("\r\n--{boundary}--\r\n").as_bytes());
    parts
}
