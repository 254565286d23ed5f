//! What a response and its line in the log say of the source.

use yatagarasu_testing::client::{Client, Http2, Response};
use yatagarasu_testing::origin::{Fault, Gate, Origin, Reply};

use super::fallback;
use super::resume::content;
use crate::operating::process::Process;
use crate::site::{Site, bucket, document};

/// Returns what `Server-Timing` says of the requests to the source, and checks that it has a duration.
#[track_caller]
fn timing(answer: &Response) -> &str {
    let metric = answer.field("server-timing");
    let described = metric.strip_prefix("s3;dur=").and_then(|rest| rest.split_once(";desc=\""));
    let (duration, description) = described.unwrap_or_else(|| panic!("{metric}"));
    assert!(duration.parse::<f64>().unwrap() < 60_000.0, "{metric}");
    description.strip_suffix('"').unwrap()
}

#[tokio::test]
async fn a_response_says_how_often_the_source_was_asked_for_it() {
    let site = Site::healing("", "negative_ttl: 60").await;
    site.put("k", &[], "there");
    for prefix in ["static", "media"] {
        let answer = site.client.get(&format!("/{prefix}/k")).await;
        assert_eq!(timing(&answer), "attempts=1", "{prefix}");
        site.origin.answer("again", [Reply::status(500), Reply::status(503), Reply::ok("there")]);
        let healed = site.client.get(&format!("/{prefix}/again")).await;
        assert_eq!(timing(&healed), "attempts=3, retried=2", "{prefix}");
        let missing = site.client.get(&format!("/{prefix}/none")).await;
        assert_eq!((missing.status, timing(&missing)), (404, "attempts=1"), "{prefix}");
        let head = site.client.head(&format!("/{prefix}/other")).await;
        assert_eq!((head.status, timing(&head)), (404, "attempts=1"), "{prefix}");
    }
    let preflight = [("origin", "https://a.example"), ("access-control-request-method", "GET")];
    let preflight = site.client.send("OPTIONS", "/media/k", &preflight, "".into()).await;
    assert_eq!(timing(&preflight), "attempts=1");
    for stored in ["/static/k", "/static/none"] {
        let hit = site.client.get(stored).await;
        assert_eq!((hit.field("x-cache"), hit.field("server-timing")), ("HIT", ""), "{stored}");
    }
}

#[tokio::test]
async fn those_who_join_a_fill_say_what_it_took() {
    let site = Site::healing("", "").await;
    let gate = Gate::default();
    site.origin.answer("k", [Reply::status(500), Reply::ok("there").head_at(&gate)]);
    let mut crowd = Http2::connect(site.address).await;
    let first = crowd.get("/static/k");
    site.origin.wait_asked("k", 2).await;
    let joined = crowd.get("/static/k");
    crowd.begun().await;
    gate.open();
    for answer in [first, joined] {
        assert_eq!(timing(&answer.await.unwrap()), "attempts=2, retried=1");
    }
    assert_eq!(site.origin.asked("k").len(), 2);
}

#[tokio::test]
async fn a_fallbacks_answer_says_so() {
    let (first, second) = (Origin::start().await, Origin::start().await);
    second.objects().put("k", &[], "there");
    first.answer("k", [Reply::status(500)]);
    let entry = bucket(&first.endpoint(), "assets", "/static", "attempts: 1", "");
    let fallbacks = fallback(&second, "unavailable", "attempts: 1");
    let site = Site::run(first, &document("", &[format!("{entry}    fallbacks:\n{fallbacks}")])).await;
    assert_eq!(timing(&site.client.get("/static/k").await), "attempts=2, fallback");
}

/// A body that goes on does so after the head, so the log alone can tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_the_log_says_what_was_healed_to_the_end_of_the_body() {
    let s3 = Origin::start().await;
    let content = content(3 << 20);
    for (key, cut) in [("stored", 1 << 20), ("streamed", 2 << 20)] {
        let whole = Reply::ok(content.clone()).with("etag", "\"v\"").failing(Fault::Cut(cut));
        let rest = Reply::part(content.slice(cut..), cut as u64, content.len() as u64).with("etag", "\"v\"");
        s3.answer(key, [Reply::status(503), whole, rest]);
    }
    let buckets = [
        bucket(&s3.endpoint(), "assets", "/static", "attempts: 3", ""),
        bucket(&s3.endpoint(), "videos", "/media", "attempts: 3", "enabled: false"),
    ];
    let process = Process::start(&document("", &buckets), &[]);
    for path in ["/static/stored", "/media/streamed"] {
        assert!(Client::new(process.address).get(path).await.body == content, "{path}");
        let line = process.log().find(|line| line["message"] == "response").unwrap();
        assert_eq!(line["healed"], "retried=1, resumed=1", "{line}");
        assert_eq!(line["source_attempts"], 3, "{line}");
        assert!(line["source_ms"].as_f64().unwrap() <= line["duration_ms"].as_f64().unwrap(), "{line}");
    }
}
