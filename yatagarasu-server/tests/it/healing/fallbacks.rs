//! Further sources of the same objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use yatagarasu_server::Config;
use yatagarasu_server::config::{Environment, show};
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::origin::{Fault, Origin, Reply};

use super::{fallback, metric};
use crate::site::{Site, bucket, document};

/// Returns the configuration of a bucket with fallbacks.
fn configuration(first: &Origin, fallbacks: &[String], cache: &str) -> String {
    let entry = bucket(&first.endpoint(), "assets", "/static", "", cache);
    document("", &[format!("{entry}    fallbacks:\n{}", fallbacks.concat())])
}

/// Starts a gateway with one fallback.
async fn with_fallback(when: &str) -> (Site, Origin) {
    let (first, second) = (Origin::start().await, Origin::start().await);
    let yaml = configuration(&first, &[fallback(&second, when, "attempts: 1")], "stale_if_error: 0, ttl: 0");
    (Site::run(first, &yaml).await, second)
}

fn refused(code: u16) -> Reply {
    Reply::status(code)
}

#[tokio::test]
async fn a_fallback_answers_where_the_first_source_cannot() {
    for failure in
        [refused(500), refused(503), Reply::closes(), Reply::ok("x").failing(Fault::ResetInHead(3))]
    {
        let (site, second) = with_fallback("unavailable").await;
        site.origin.answer("k", [failure]);
        second.objects().put("k", &[], "of the second");
        for method in ["GET", "HEAD", "GET"] {
            let answer = site.client.send(method, "/static/k", &[], "".into()).await;
            assert_eq!(answer.status, 200, "{method}");
            assert!(method == "HEAD" || answer.body == "of the second");
        }
        assert_eq!(metric(&site, "yatagarasu_source_failover_total", "assets").await, 3);
        // The signature of each source is right: it is checked.
        assert!(second.asked("k").iter().all(|asked| asked.target.starts_with("/bucket/")));
    }
}

#[tokio::test]
async fn a_fallback_has_what_is_not_migrated_yet() {
    let (site, second) = with_fallback("not_found").await;
    site.put("new", &[], "new");
    second.objects().put("old", &[("etag", "\"old\"")], "old");
    assert_eq!(site.client.get("/static/new").await.body, "new");
    assert_eq!(site.client.get("/static/old").await.body, "old");
    assert_eq!(site.client.get("/static/none").await.status, 404);
    assert_eq!(second.asked("new").len(), 0);
    // It is moved.
    site.put("old", &[("etag", "\"new\"")], "moved");
    assert_eq!(site.client.get("/static/old").await.body, "moved");
    // Where the first source fails, nobody knows whether it has the object.
    site.origin.answer("old", [refused(500)]);
    assert_eq!(site.client.get("/static/old").await.status, 502);
}

#[tokio::test]
async fn an_object_that_may_exist_is_not_said_to_be_missing() {
    let (site, second) = with_fallback("unavailable, not_found").await;
    site.origin.answer("k", [refused(500)]);
    assert_eq!(site.client.get("/static/k").await.status, 502, "the second has none, the first is silent");
    site.origin.answer("l", [refused(404)]);
    second.answer("l", [refused(503)]);
    assert_eq!(site.client.get("/static/l").await.status, 503, "the first has none, the second is silent");
    second.answer("l", [refused(404)]);
    assert_eq!(site.client.get("/static/l").await.status, 404);
}

#[tokio::test]
async fn what_concerns_the_client_or_the_object_is_not_asked_for_elsewhere() {
    let (site, second) = with_fallback("unavailable, not_found").await;
    for (code, expected) in [(403, 403), (416, 416), (400, 400)] {
        let key = code.to_string();
        site.origin.answer(&key, [Reply::ok("<Error><Code>InvalidArgument</Code></Error>").of_status(code)]);
        let answer = site.client.get_with(&format!("/static/{key}"), &[("range", "bytes=9-")]).await;
        assert_eq!(answer.status, expected);
        assert_eq!(second.asked(&key).len(), 0);
    }
}

#[tokio::test]
async fn fallbacks_are_asked_in_order() {
    let [first, second, third] = [Origin::start().await, Origin::start().await, Origin::start().await];
    second.answer("k", [refused(500)]);
    third.objects().put("k", &[], "of the third");
    first.answer("k", [refused(500)]);
    let fallbacks =
        [fallback(&second, "unavailable", "attempts: 1"), fallback(&third, "unavailable", "attempts: 1")];
    let yaml = configuration(&first, &fallbacks, "");
    let site = Site::run(first, &yaml).await;
    assert_eq!(site.client.get("/static/k").await.body, "of the third");
    assert_eq!([site.origin.asked("k").len(), second.asked("k").len()], [1, 1]);
    // A purge does not ask who has answered.
    site.store("/static/k").await;
    assert_eq!(site.purge(r#"{"bucket":"assets","key":"k"}"#).await.json()["purged"], 1);
    assert_eq!(site.client.get("/static/k").await.field("x-cache"), "MISS");
}

/// A body goes on at the source that it began at, and breaks if that is gone.
#[tokio::test]
async fn a_body_is_of_one_source() {
    let (site, second) = with_fallback("unavailable").await;
    let body = |byte: u8| Reply::ok(vec![byte; 400_000]).with("etag", "\"same\"");
    site.origin.answer("k", [body(1).failing(Fault::Cut(200_000)), Reply::closes()]);
    second.answer("k", [body(2)]);
    let answer = site.client.try_send("GET", "/static/k", &[], "".into()).await;
    // If the body broke off before the client got the head, there is still an error to tell.
    assert!(
        answer.is_err() || answer.is_ok_and(|answer| answer.status == 502),
        "the rest is of another source"
    );
    assert_eq!(site.client.get("/static/k").await.body, vec![2; 400_000], "it is whole where it comes from");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_moves_on_and_comes_back() {
    let (site, second) = with_fallback("unavailable").await;
    let down = Arc::new(AtomicBool::new(true));
    let closed = Arc::clone(&down);
    site.put("k", &[("etag", "\"1\"")], "first");
    second.objects().put("k", &[("etag", "\"2\"")], "second");
    site.origin.decide(move |_| closed.load(Ordering::SeqCst).then(Reply::closes));
    let moved = async {
        loop {
            let before = site.origin.asked("k").len();
            assert_eq!(site.client.get("/static/k").await.body, "second", "no request fails");
            if site.origin.asked("k").len() == before {
                return;
            }
        }
    };
    timeout(PATIENCE, moved).await.expect("the first source is not asked any more");
    assert_eq!(metric(&site, "yatagarasu_source_up", "assets").await, 0);
    assert_eq!(metric(&site, "yatagarasu_source_up", "assets (fallback 1)").await, 1);
    assert_eq!(site.admin.get("/ready").await.status, 200, "clients are served");
    down.store(false, Ordering::SeqCst);
    let began = Instant::now();
    let mut bodies = Vec::new();
    let back = async {
        while bodies.iter().rev().take(50).filter(|body| *body == "first").count() < 50 {
            bodies.push(site.client.get("/static/k").await.text().to_owned());
        }
    };
    timeout(PATIENCE, back).await.expect("all come back");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn fallbacks_are_checked_and_shown() {
    let load = |fallbacks: &str| {
        let yaml = format!(
            "buckets:\n  - {{ name: a, path_prefix: /a, s3: {{ endpoint: \"http://a\", anonymous: true }}, \
             fallbacks: {fallbacks} }}"
        );
        let loaded = Config::from_yaml("f.yaml", &yaml, &Environment::default());
        loaded.map_err(|errors| errors.to_string())
    };
    let one = load("{ s3: { endpoint: \"http://b\", anonymous: true, bucket: other } }").unwrap();
    let fallback = &one.buckets[0].fallbacks[0];
    assert_eq!(fallback.origin.source.bucket, "other");
    assert_eq!(&*fallback.origin.source.name, "a (fallback 1)");
    let shown = show(&one);
    assert_eq!(show(&Config::from_yaml("shown", &shown, &Environment::default()).unwrap()), shown);
    let same = load("[{ when: [not_found], s3: { endpoint: \"http://b\", anonymous: true } }]").unwrap();
    assert_eq!(same.buckets[0].fallbacks[0].origin.source.bucket, "a", "the name at the first source");
    for (wrong, message) in [
        ("[{ when: [], s3: { anonymous: true } }]", "fallbacks[0].when: is empty"),
        (
            "[{ when: [slow], s3: { anonymous: true } }]",
            "fallbacks[0].when[0]: expected `unavailable` or `not_found`",
        ),
        (
            "[{ s3: { anonymous: true, forward_query: [v] } }]",
            "fallbacks[0].s3.forward_query: is for all sources",
        ),
        ("[{ s3: { anonymous: true, attempts: 0 } }]", "fallbacks[0].s3.attempts: expected 1 to 10"),
        ("[{ s3: { anonymous: true, connect_timeout: 0 } }]", "fallbacks[0].s3.connect_timeout"),
        (
            "[{ s3: { anonymous: true, endpont: x } }]",
            "fallbacks[0].s3.endpont: unknown key: expected one of backend",
        ),
        ("[{ if: [unavailable] }]", "fallbacks[0].if: unknown key: expected one of when, s3"),
        ("3", "fallbacks"),
    ] {
        let errors = load(wrong).unwrap_err();
        assert!(errors.contains(message), "{wrong}: {errors}");
    }
}
