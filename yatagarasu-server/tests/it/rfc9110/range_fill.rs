//! Tests of ranges in buckets with `range_fill`: the gateway fetches the whole object and answers from it.

use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::origin::{Gate, Reply};

use super::{content, ranged};
use crate::site::Site;

const RANGE_FILL: &str = "range_fill: true";

#[tokio::test]
async fn a_range_that_finds_nothing_fetches_the_whole_once() {
    let site = Site::with("", RANGE_FILL).await;
    site.origin.answer("k", [Reply::ok(content())]);
    let part = ranged(&site, "bytes=500-599").await;
    assert_eq!((part.status, part.field("content-range")), (206, "bytes 500-599/10000"));
    assert_eq!(part.field("content-length"), "100");
    assert!(part.body == content()[500..600]);
    let other = ranged(&site, "bytes=-100").await;
    assert_eq!((other.status, other.field("content-range")), (206, "bytes 9900-9999/10000"));
    assert!(other.body == content()[9900..]);
    assert!(site.client.get("/static/k").await.body == content());
    let asked = site.origin.asked("k");
    assert_eq!((asked.len(), &*asked[0].method, asked[0].field("range")), (1, "GET", ""));
}

#[tokio::test]
async fn what_a_range_has_fetched_is_stored() {
    let site = Site::with("", RANGE_FILL).await;
    site.origin.answer("k", [Reply::ok(content())]);
    // The last byte arrives when the whole object has.
    assert_eq!(ranged(&site, "bytes=-1").await.status, 206);
    let whole = site.client.get("/static/k").await;
    assert_eq!((whole.status, whole.field("x-cache")), (200, "HIT"));
    assert_eq!(site.origin.asked("k").len(), 1);
}

#[tokio::test]
async fn a_range_is_answered_as_soon_as_its_bytes_are_there() {
    let site = Site::with("", RANGE_FILL).await;
    let gate = Gate::default();
    site.origin.answer("k", [Reply::ok(content()).rest_at(5000, &gate)]);
    for range in [0..100, 4900..5000] {
        let field = format!("bytes={}-{}", range.start, range.end - 1);
        let part = timeout(PATIENCE, ranged(&site, &field)).await.expect("not held up by the rest");
        assert_eq!(part.status, 206, "{field}");
        assert!(part.body == content()[range], "{field}");
    }
    gate.open();
    assert!(ranged(&site, "bytes=4900-5099").await.body == content()[4900..5100]);
    assert_eq!(site.origin.asked("k").len(), 1);
}

#[tokio::test]
async fn an_object_too_large_to_store_is_passed_in_ranges() {
    let site = Site::with("", RANGE_FILL).await;
    site.origin.answer("k", [Reply::ok(vec![7; 1_000_001]), Reply::part("0123456789", 500, 1_000_001)]);
    for (place, requests) in [("found out", 2), ("remembered", 3)] {
        let answer = ranged(&site, "bytes=500-509").await;
        assert_eq!((answer.status, answer.field("content-range")), (206, "bytes 500-509/1000001"), "{place}");
        assert_eq!(answer.body, "0123456789", "{place}");
        assert_eq!(site.origin.asked("k").len(), requests, "{place}");
    }
    let ranges: Vec<_> = site.origin.asked("k").iter().map(|asked| asked.field("range").to_owned()).collect();
    assert_eq!(ranges, ["", "bytes=500-509", "bytes=500-509"]);
}

#[tokio::test]
async fn if_range_is_decided_from_the_head_of_the_whole() {
    let site = Site::with("", RANGE_FILL).await;
    let object = Reply::ok(content()).with("etag", "\"e\"");
    site.origin.answer("same", [object.clone()]);
    site.origin.answer("other", [object]);
    let range = ("range", "bytes=500-599");
    let same = site.client.get_with("/static/same", &[range, ("if-range", "\"e\"")]).await;
    assert_eq!((same.status, same.body.len()), (206, 100));
    let other = site.client.get_with("/static/other", &[range, ("if-range", "\"old\"")]).await;
    assert_eq!((other.status, other.body.len()), (200, 10_000));
    for key in ["same", "other"] {
        let asked = site.origin.asked(key);
        assert_eq!((asked.len(), asked[0].field("range"), asked[0].field("if-range")), (1, "", ""), "{key}");
    }
}

#[tokio::test]
async fn a_range_beyond_the_end_is_decided_from_the_head_of_the_whole() {
    let site = Site::with("", RANGE_FILL).await;
    site.origin.answer("k", [Reply::ok(content())]);
    let beyond = ranged(&site, "bytes=10000-").await;
    assert_eq!((beyond.status, beyond.field("content-range")), (416, "bytes */10000"));
    assert!(site.client.get("/static/k").await.body == content());
    assert_eq!(site.origin.asked("k").len(), 1);
}

#[tokio::test]
async fn a_range_of_a_missing_object_costs_one_request() {
    let site = Site::with("", RANGE_FILL).await;
    assert_eq!(ranged(&site, "bytes=0-9").await.status, 404);
    assert_eq!(site.origin.asked("k").len(), 1);
}

#[tokio::test]
async fn a_head_fetches_nothing() {
    let site = Site::with("", RANGE_FILL).await;
    site.origin.answer("k", [Reply::ok(content())]);
    let head = site.client.send("HEAD", "/static/k", &[("range", "bytes=0-9")], "".into()).await;
    assert_eq!((head.status, head.field("content-length")), (200, "10000"));
    let methods: Vec<_> = site.origin.asked("k").into_iter().map(|asked| asked.method).collect();
    assert_eq!(methods, ["HEAD"]);
}
