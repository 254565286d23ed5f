//! Stale objects, where S3 fails or takes long.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::origin::{Gate, Origin, Reply};

use crate::site::{Site, bucket, document};

const SLOW: &str = "stale-if-slow";

/// Starts a gateway whose object is stale at once, and that waits for S3 for `wait` then.
async fn stale(wait: &str, fields: &[(&str, &str)], next: Reply) -> Site {
    let site = Site::with("", &format!("ttl: 0, stale_if_error: 60, stale_wait: {wait:?}")).await;
    let old = fields.iter().fold(Reply::ok("old"), |reply, (name, value)| reply.with(name, value));
    site.origin.answer("k", [old.with("etag", "\"old\""), next]);
    assert_eq!(site.client.get("/static/k").await.body, "old");
    crate::site::until(&site, |stats| stats["buckets"][0]["objects"] == 1).await;
    site
}

#[tokio::test]
async fn a_stale_object_is_served_if_s3_takes_long_and_then_at_once() {
    let gate = Gate::default();
    let new = Reply::ok("new").with("etag", "\"new\"").with("cache-control", "max-age=60");
    let site = stale("300ms", &[], new.head_at(&gate)).await;
    let began = Instant::now();
    let first = site.client.get("/static/k").await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!((first.field("x-cache"), &first.body[..]), ("STALE", &b"old"[..]));
    assert!(first.field("cache-status").contains(SLOW), "{}", first.field("cache-status"));
    // Nobody waits as long again. A busy machine may take as long, but not each time.
    let (mut sent, ranged) = (1, [("range", "bytes=1-")]);
    for (method, fields) in [("GET", &[][..]), ("HEAD", &[]), ("GET", &ranged)] {
        let at_once = async {
            loop {
                let began = Instant::now();
                let later = site.client.send(method, "/static/k", fields, Bytes::new()).await;
                assert!(later.field("cache-status").contains(SLOW), "{}", later.field("cache-status"));
                assert_eq!(later.status, if fields.is_empty() { 200 } else { 206 });
                sent += 1;
                if began.elapsed() < Duration::from_millis(300) {
                    break;
                }
            }
        };
        timeout(PATIENCE, at_once).await.expect("nobody waits");
    }
    assert_eq!(site.origin.asked("k").len(), 2, "one validation for all");
    let stale = "yatagarasu_requests_total{bucket=\"assets\",cache=\"stale\"}";
    crate::site::until_metric(&site.admin, stale, |count| count == sent).await;
    // The answer comes at last, though nobody waits for it.
    gate.open();
    let hit = async { while site.client.get("/static/k").await.body != "new" {} };
    timeout(PATIENCE, hit).await.expect("it is stored");
    assert_eq!(site.origin.asked("k").len(), 2);
}

#[tokio::test]
async fn a_head_alone_has_the_object_validated() {
    let gate = Gate::default();
    let site =
        stale("100ms", &[], Reply::status(304).with("cache-control", "max-age=60").head_at(&gate)).await;
    assert_eq!(site.client.head("/static/k").await.field("x-cache"), "STALE");
    // The HEAD, and the validation in its place.
    site.origin.wait_asked("k", 3).await;
    assert_eq!(site.origin.asked("k")[2].field("if-none-match"), "\"old\"");
    gate.open();
    site.store("/static/k").await;
}

#[tokio::test]
async fn what_must_not_be_served_stale_is_waited_for() {
    for fields in
        [&[("cache-control", "max-age=0, must-revalidate")][..], &[("cache-control", "stale-if-error=0")]]
    {
        let gate = Gate::default();
        let site = stale("50ms", fields, Reply::ok("new").head_at(&gate)).await;
        let mut waiting = site.begin("/static/k");
        site.origin.wait_asked("k", 2).await;
        assert!(timeout(Duration::from_millis(200), &mut waiting).await.is_err(), "{fields:?}");
        gate.open();
        assert_eq!(waiting.await.unwrap().body, "new");
    }
}

#[tokio::test]
async fn what_was_purged_meanwhile_is_not_served() {
    let gate = Gate::default();
    let site = stale("3s", &[], Reply::ok("new").head_at(&gate)).await;
    let waiting = site.begin("/static/k");
    site.origin.wait_asked("k", 2).await;
    let purged = site.purge(r#"{"bucket":"assets","all":true}"#).await;
    assert_eq!(purged.status, 200, "{}", purged.text());
    site.origin.wait_asked("k", 3).await;
    gate.open();
    assert_eq!(waiting.await.unwrap().body, "new");
}

#[tokio::test]
async fn without_a_limit_s3_is_waited_for() {
    let gate = Gate::default();
    let site = stale("0", &[], Reply::ok("new").head_at(&gate)).await;
    let waiting = site.begin("/static/k");
    site.origin.wait_asked("k", 2).await;
    gate.open();
    assert_eq!(waiting.await.unwrap().body, "new");
}

/// A gateway in front of a store that is down for an hour shows what it has.
#[tokio::test]
async fn by_default_an_outage_of_an_hour_is_bridged() {
    let origin = Origin::start().await;
    let old = |age: &str| Reply::ok("old").with("etag", "\"e\"").with("age", age);
    origin.answer("k", [old("3500"), Reply::status(500)]);
    origin.answer("older", [old("3700"), Reply::status(500)]);
    let entry = bucket(&origin.endpoint(), "assets", "/static", "", "ttl: 0");
    let site = Site::run(origin, &document("", &[entry])).await;
    for key in ["k", "older"] {
        assert_eq!(site.client.get(&format!("/static/{key}")).await.body, "old");
    }
    crate::site::until(&site, |stats| stats["buckets"][0]["objects"] == 2).await;
    assert_eq!(site.client.get("/static/k").await.field("x-cache"), "STALE");
    assert_eq!(site.client.get("/static/older").await.status, 502);
}
