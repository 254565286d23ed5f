//! Tests of several ranges at once: `multipart/byteranges` (RFC 9110 14.6).

use std::fmt::Write;
use std::ops::Range;

use http::HeaderMap;
use yatagarasu_testing::client::Response;
use yatagarasu_testing::message::fields;
use yatagarasu_testing::origin::Reply;

use super::{content, ranged, stored};
use crate::site::Site;

/// One part of a response.
struct Part {
    fields: HeaderMap,
    range: Range<usize>,
    bytes: Vec<u8>,
}

/// Splits a response into its parts, to its last byte.
#[track_caller]
fn parts(answer: &Response) -> Vec<Part> {
    assert_eq!(answer.status, 206);
    // RFC 9110 15.3.7.2: if the parts have a `Content-Range`, the response must have none.
    assert!(!answer.headers.contains_key("content-range"));
    assert_eq!(answer.field("content-length"), answer.body.len().to_string());
    let boundary = answer.field("content-type").strip_prefix("multipart/byteranges; boundary=");
    let boundary = boundary.expect("the parts' boundary").trim_matches('"');
    assert!((1..=70).contains(&boundary.len()), "{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let first = delimiter.trim_start();

    let mut rest = &answer.body[..];
    rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    rest = rest.strip_prefix(first.as_bytes()).expect("a first delimiter");
    let mut parts = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            assert!(end.is_empty() || end == b"\r\n", "something follows the last delimiter");
            return parts;
        }
        rest = rest.strip_prefix(b"\r\n").expect("a line's end");
        let head = rest.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("an empty line");
        let fields = fields(&rest[..head]);
        rest = &rest[head + 4..];
        let range = position(&fields);
        let (bytes, behind) = rest.split_at(range.len());
        parts.push(Part { fields, range, bytes: bytes.to_vec() });
        rest = behind.strip_prefix(delimiter.as_bytes()).expect("a delimiter");
    }
}

/// Parses a part's `Content-Range`.
#[track_caller]
fn position(fields: &HeaderMap) -> Range<usize> {
    assert_eq!(fields.get_all("content-range").iter().count(), 1);
    let text = fields["content-range"].to_str().unwrap();
    let positions = text.strip_prefix("bytes ").and_then(|text| text.strip_suffix("/10000"));
    let (first, last) = positions.and_then(|positions| positions.split_once('-')).expect("positions");
    Range { start: first.parse().unwrap(), end: last.parse::<usize>().unwrap() + 1 }
}

#[track_caller]
fn check_parts(answer: &Response, expected: &[Range<usize>]) {
    let parts = parts(answer);
    let ranges: Vec<_> = parts.iter().map(|part| part.range.clone()).collect();
    assert_eq!(ranges, expected);
    let content = content();
    for part in parts {
        assert!(part.bytes == content[part.range.clone()], "{:?}", part.range);
    }
}

#[track_caller]
fn check_one(answer: &Response, expected: Range<usize>) {
    let position = format!("bytes {}-{}/10000", expected.start, expected.end - 1);
    assert_eq!((answer.status, answer.field("content-range")), (206, position.as_str()));
    assert!(!answer.field("content-type").starts_with("multipart/"));
    assert_eq!(answer.field("content-length"), expected.len().to_string());
    assert!(answer.body == content()[expected]);
}

/// RFC 9110 14.6, 15.3.7.2
#[tokio::test]
async fn several_ranges_are_sent_in_parts() {
    let site = stored(Reply::ok(content())).await;
    check_parts(&ranged(&site, "bytes=0-9,5000-5099,-10").await, &[0..10, 5000..5100, 9990..10_000]);
    check_parts(&ranged(&site, "bytes= 0-9 , 9000-").await, &[0..10, 9000..10_000]);
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// RFC 9110 15.3.7.2
#[tokio::test]
async fn each_part_has_the_objects_type() {
    let object = Reply::ok(content()).with("content-type", "text/css; charset=utf-8");
    let site = stored(object).await;
    let parts = parts(&ranged(&site, "bytes=0-9,5000-5099").await);
    assert_eq!(parts.len(), 2);
    for part in parts {
        assert_eq!(part.fields["content-type"], "text/css; charset=utf-8", "{:?}", part.range);
    }
}

/// RFC 9110 15.3.7.2
#[tokio::test]
async fn parts_of_an_object_without_a_type_have_none() {
    let site = stored(Reply::ok(content())).await;
    let parts = parts(&ranged(&site, "bytes=0-9,5000-5099").await);
    assert_eq!(parts.len(), 2);
    assert!(parts.iter().all(|part| !part.fields.contains_key("content-type")));
}

/// RFC 9110 15.3.7
#[tokio::test]
async fn parts_come_with_the_fields_of_the_whole() {
    let object = Reply::ok(content()).with("etag", "\"e\"").with("x-unknown", "kept");
    let site = stored(object).await;
    let answer = ranged(&site, "bytes=0-9,5000-5099").await;
    assert_eq!((answer.field("etag"), answer.field("x-unknown")), ("\"e\"", "kept"));
    assert_eq!(parts(&answer).len(), 2);
}

/// RFC 9110 15.3.7.2
#[tokio::test]
async fn parts_come_in_the_order_asked_for() {
    let site = stored(Reply::ok(content())).await;
    check_parts(&ranged(&site, "bytes=5000-5099,0-9").await, &[5000..5100, 0..10]);
}

/// RFC 9110 15.3.7.2
#[tokio::test]
async fn ranges_that_overlap_are_sent_once() {
    let site = stored(Reply::ok(content())).await;
    check_parts(&ranged(&site, "bytes=0-99,50-149,5000-5099").await, &[0..150, 5000..5100]);
    check_parts(&ranged(&site, "bytes=0-9,5000-5099,5020-5029").await, &[0..10, 5000..5100]);
}

/// RFC 9110 15.3.7.2
#[tokio::test]
async fn what_is_one_range_after_all_is_sent_as_one() {
    let site = stored(Reply::ok(content())).await;
    check_one(&ranged(&site, "bytes=0-99,50-149").await, 0..150);
    check_one(&ranged(&site, "bytes=500-599,500-599").await, 500..600);
    check_one(&ranged(&site, "bytes=,500-599,").await, 500..600);
}

/// RFC 9110 14.1.2, 15.3.7.2
#[tokio::test]
async fn ranges_the_object_does_not_have_are_left_out() {
    let site = stored(Reply::ok(content())).await;
    check_parts(&ranged(&site, "bytes=0-9,20000-,5000-5099").await, &[0..10, 5000..5100]);
    check_one(&ranged(&site, "bytes=20000-,5000-5099,-0").await, 5000..5100);
}

/// RFC 9110 15.5.17
#[tokio::test]
async fn several_ranges_of_which_the_object_has_none_are_416() {
    let site = stored(Reply::ok(content())).await;
    let answer = ranged(&site, "bytes=10000-,20000-20001,-0").await;
    assert_eq!((answer.status, answer.field("content-range")), (416, "bytes */10000"));
}

/// RFC 9110 14.2, 17.15
#[tokio::test]
async fn more_than_sixty_four_ranges_are_ignored() {
    let site = stored(Reply::ok(content())).await;
    let far_apart = |count: usize| {
        let mut range = "bytes=0-0".to_owned();
        for index in 1..count {
            write!(range, ",{first}-{first}", first = index * 150).expect("a string takes what is written");
        }
        range
    };
    let most: Vec<_> = (0..64).map(|index| Range { start: index * 150, end: index * 150 + 1 }).collect();
    check_parts(&ranged(&site, &far_apart(64)).await, &most);
    let answer = ranged(&site, &far_apart(65)).await;
    assert_eq!((answer.status, answer.field("content-range")), (200, ""));
    assert!(answer.body == content());
}

/// RFC 9110 13.1.5
#[tokio::test]
async fn if_range_holds_for_several_ranges_too() {
    let site = stored(Reply::ok(content()).with("etag", "\"e\"")).await;
    let range = ("range", "bytes=0-9,5000-5099");
    let same = site.client.get_with("/static/k", &[range, ("if-range", "\"e\"")]).await;
    check_parts(&same, &[0..10, 5000..5100]);
    let other = site.client.get_with("/static/k", &[range, ("if-range", "\"other\"")]).await;
    assert_eq!((other.status, other.body.len()), (200, 10_000));
}

/// RFC 9110 14.2
#[tokio::test]
async fn several_ranges_that_find_nothing_fetch_the_whole_once() {
    let site = Site::start().await;
    site.origin.answer("k", [Reply::ok(content())]);
    check_parts(&ranged(&site, "bytes=0-9,5000-5099").await, &[0..10, 5000..5100]);
    check_one(&ranged(&site, "bytes=7000-7009").await, 7000..7010);
    let asked = site.origin.asked("k");
    assert_eq!((asked.len(), asked[0].field("range")), (1, ""));
}

/// RFC 9110 14.2
#[tokio::test]
async fn several_ranges_of_what_is_not_stored_are_ignored() {
    let site = Site::start().await;
    site.origin.answer("k", [Reply::ok(content()).with("cache-control", "no-store")]);
    for _ in ["found out", "remembered"] {
        let answer = ranged(&site, "bytes=0-9,5000-5099").await;
        assert_eq!((answer.status, answer.field("content-range")), (200, ""));
        assert!(answer.body == content());
    }
    assert_eq!(site.origin.asked("k").len(), 2);
}
