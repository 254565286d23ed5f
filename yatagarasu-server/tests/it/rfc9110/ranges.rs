//! Tests of single ranges (RFC 9110 14).

use std::ops::Range;
use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::Reply;

use super::{AFTER, BEFORE, LONG, WRITTEN, content, ranged, stored};
use crate::site::Site;

#[track_caller]
fn check_part(answer: &Response, part: Range<usize>) {
    let position = format!("bytes {}-{}/10000", part.start, part.end - 1);
    assert_eq!((answer.status, answer.field("content-range")), (206, position.as_str()));
    assert_eq!(answer.field("content-length"), part.len().to_string());
    assert!(answer.body == content()[part], "{position}");
}

#[track_caller]
fn check_whole(answer: &Response, reason: &str) {
    assert_eq!((answer.status, answer.field("content-range")), (200, ""), "{reason}");
    assert_eq!(answer.field("content-length"), "10000", "{reason}");
    assert!(answer.body == content(), "{reason}");
}

/// RFC 9110 14.1.2
#[tokio::test]
async fn a_first_and_a_last_position_select_what_lies_between() {
    let site = stored(Reply::ok(content())).await;
    check_part(&ranged(&site, "bytes=0-0").await, 0..1);
    check_part(&ranged(&site, "bytes=500-999").await, 500..1000);
    check_part(&ranged(&site, "bytes=9999-9999").await, 9999..10_000);
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// RFC 9110 14.1.2
#[tokio::test]
async fn a_last_position_beyond_the_end_means_the_end() {
    let site = stored(Reply::ok(content())).await;
    check_part(&ranged(&site, "bytes=9990-10000").await, 9990..10_000);
    check_part(&ranged(&site, "bytes=0-99999999999999999999999").await, 0..10_000);
}

/// RFC 9110 14.1.2
#[tokio::test]
async fn without_a_last_position_all_the_rest_is_meant() {
    let site = stored(Reply::ok(content())).await;
    check_part(&ranged(&site, "bytes=9000-").await, 9000..10_000);
    check_part(&ranged(&site, "bytes=0-").await, 0..10_000);
}

/// RFC 9110 14.1.2
#[tokio::test]
async fn a_suffix_counts_from_the_end() {
    let site = stored(Reply::ok(content())).await;
    check_part(&ranged(&site, "bytes=-1").await, 9999..10_000);
    check_part(&ranged(&site, "bytes=-500").await, 9500..10_000);
    check_part(&ranged(&site, "bytes=-20000").await, 0..10_000);
}

/// RFC 9110 14.1
#[tokio::test]
async fn the_unit_is_read_in_any_case() {
    let site = stored(Reply::ok(content())).await;
    check_part(&ranged(&site, "BYTES=5-9").await, 5..10);
}

/// RFC 9110 14.2
#[tokio::test]
async fn units_that_are_not_known_are_ignored() {
    let site = stored(Reply::ok(content())).await;
    for range in ["items=0-1", "none=0-1", "lines=0-1,4-5", "byte=0-1"] {
        check_whole(&ranged(&site, range).await, range);
    }
}

/// RFC 9110 14.2
#[tokio::test]
async fn ranges_that_cannot_be_read_are_ignored() {
    let site = stored(Reply::ok(content())).await;
    for range in ["bytes=5-2", "bytes=a-b", "bytes=-", "bytes=", "bytes", "bytes 0-1", "bytes=+1-2"] {
        check_whole(&ranged(&site, range).await, range);
    }
    // One invalid member makes the whole set invalid.
    for range in ["bytes=0-1,x", "bytes=0-1,5000-4000"] {
        check_whole(&ranged(&site, range).await, range);
    }
    let twice = site.client.get_with("/static/k", &[("range", "bytes=0-1"), ("range", "bytes=5-6")]).await;
    check_whole(&twice, "not a list");
}

/// RFC 9110 14.4, 15.5.17
#[tokio::test]
async fn a_range_the_object_does_not_have_is_416_with_its_length() {
    let site = stored(Reply::ok(content())).await;
    for range in ["bytes=10000-", "bytes=10000-10001", "bytes=99999999999999999999999-", "bytes=-0"] {
        let answer = ranged(&site, range).await;
        assert_eq!((answer.status, answer.field("content-range")), (416, "bytes */10000"), "{range}");
    }
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// RFC 9110 14.1.2, 15.5.17
#[tokio::test]
async fn an_empty_object_has_no_first_byte() {
    let site = stored(Reply::ok("")).await;
    let answer = ranged(&site, "bytes=0-").await;
    assert_eq!((answer.status, answer.field("content-range")), (416, "bytes */0"));
}

/// RFC 9110 15.3.7
#[tokio::test]
async fn a_part_has_the_fields_of_the_whole() {
    const SENT: [(&str, &str); 7] = [
        ("etag", "\"e\""),
        ("last-modified", WRITTEN),
        ("cache-control", "max-age=600"),
        ("content-location", "/k.txt"),
        ("content-type", "text/css"),
        ("content-language", "de"),
        ("x-unknown", "kept"),
    ];
    let object = SENT.iter().fold(Reply::ok(content()), |reply, (name, value)| reply.with(name, value));
    let site = stored(object).await;
    let answer = ranged(&site, "bytes=5-9").await;
    for (name, value) in SENT {
        assert_eq!(answer.field(name), value);
    }
    assert!(!answer.field("date").is_empty());
    check_part(&answer, 5..10);
}

/// RFC 9110 14.2
#[tokio::test]
async fn a_range_of_a_head_is_ignored() {
    let site = Site::start().await;
    site.origin.answer("k", [Reply::ok(content())]);
    for place in ["on a miss", "on a hit"] {
        for range in ["bytes=0-1", "bytes=10000-", "bytes=0-1,500-501"] {
            let answer = site.client.send("HEAD", "/static/k", &[("range", range)], "".into()).await;
            assert_eq!((answer.status, answer.field("content-length")), (200, "10000"), "{place}: {range}");
            assert!(!answer.headers.contains_key("content-range"), "{place}: {range}");
        }
        assert_eq!(site.client.get("/static/k").await.status, 200);
    }
    for asked in site.origin.asked("k") {
        assert_eq!(asked.field("range"), "");
    }
}

/// RFC 9110 13.1.5
#[tokio::test]
async fn if_range_with_the_objects_strong_tag_lets_the_range_apply() {
    let site = stored(Reply::ok(content()).with("etag", "\"e\"")).await;
    let range = ("range", "bytes=5-9");
    let get = async |tag| site.client.get_with("/static/k", &[range, ("if-range", tag)]).await;
    check_part(&get("\"e\"").await, 5..10);
    check_whole(&get("\"other\"").await, "another version");
    check_whole(&get("W/\"e\"").await, "a weak tag names no bytes");
    check_part(&get("e").await, 5..10);
    check_whole(&get("no tag").await, "no tag and no date");
}

/// RFC 9110 13.1.5
#[tokio::test]
async fn if_range_with_a_weak_tag_never_lets_the_range_apply() {
    let site = stored(Reply::ok(content()).with("etag", "W/\"e\"")).await;
    for tag in ["W/\"e\"", "\"e\""] {
        let fields = [("range", "bytes=5-9"), ("if-range", tag)];
        check_whole(&site.client.get_with("/static/k", &fields).await, tag);
    }
}

/// RFC 9110 13.1.5, 8.8.2.2
#[tokio::test]
async fn if_range_with_a_date_wants_this_very_date() {
    let object = Reply::ok(content()).with("last-modified", WRITTEN);
    let site = stored(object.with("date", AFTER).with("cache-control", LONG)).await;
    let range = ("range", "bytes=5-9");
    let get = async |date| site.client.get_with("/static/k", &[range, ("if-range", date)]).await;
    check_part(&get(WRITTEN).await, 5..10);
    check_part(&get("Sun Nov  6 08:49:37 1994").await, 5..10);
    check_whole(&get(AFTER).await, "a later date is another one");
    check_whole(&get(BEFORE).await, "an earlier date is another one");
}

/// RFC 9110 8.8.2.2
#[tokio::test]
async fn a_date_of_the_second_the_object_was_sent_is_no_strong_validator() {
    let object = Reply::ok(content()).with("last-modified", WRITTEN);
    let site = stored(object.with("date", WRITTEN).with("cache-control", LONG)).await;
    let fields = [("range", "bytes=5-9"), ("if-range", WRITTEN)];
    check_whole(&site.client.get_with("/static/k", &fields).await, "it may have changed within the second");
}

/// RFC 9110 13.1.5
#[tokio::test]
async fn if_range_comes_after_the_other_conditions_and_makes_nothing_unsatisfiable() {
    let site = stored(Reply::ok(content()).with("etag", "\"e\"")).await;
    let beyond = ("range", "bytes=10000-");
    let other = site.client.get_with("/static/k", &[beyond, ("if-range", "\"other\"")]).await;
    check_whole(&other, "no range applies");
    let same = site.client.get_with("/static/k", &[beyond, ("if-range", "\"e\"")]).await;
    assert_eq!(same.status, 416);
    let known = [("range", "bytes=5-9"), ("if-range", "\"other\""), ("if-none-match", "\"e\"")];
    assert_eq!(site.client.get_with("/static/k", &known).await.status, 304);
}

/// RFC 9110 13.1.5
#[tokio::test]
async fn if_range_without_a_range_is_ignored() {
    let site = stored(Reply::ok(content()).with("etag", "\"e\"")).await;
    for tag in ["\"e\"", "\"other\""] {
        check_whole(&site.client.get_with("/static/k", &[("if-range", tag)]).await, tag);
    }
}
