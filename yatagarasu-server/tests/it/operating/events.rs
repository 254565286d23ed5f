//! Tests of the notifications of changed objects.

use serde_json::{Value, json};
use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::Origin;

use crate::site::{Site, bucket, document, metric};

async fn site() -> Site {
    let s3 = Origin::start().await;
    let cache = "max_item_size: \"1MB\", max_size: \"64MB\", negative_ttl: 1h, stale_if_error: 0";
    let buckets =
        [bucket(&s3.endpoint(), "one", "/one", "", cache), bucket(&s3.endpoint(), "two", "/two", "", cache)];
    let yaml = document("", &buckets).replace("buckets:\n", "events: { token: s3cret }\nbuckets:\n");
    Site::run(s3, &yaml).await
}

async fn told(site: &Site, token: &str, body: &str) -> Response {
    let fields = [("authorization", token), ("content-type", "application/json")];
    site.admin.send("POST", "/events", &fields, body.to_owned().into()).await
}

fn record(event: &str, bucket: &str, key: &str) -> String {
    let s3 = json!({ "bucket": { "name": bucket }, "object": { "key": key } });
    json!({ "Records": [{ "eventName": event, "s3": s3 }] }).to_string()
}

#[tokio::test]
async fn changed_objects_are_purged_from_all_buckets_that_read_them() {
    let site = site().await;
    site.put("a b/c", &[], "old");
    site.put("other", &[], "other");
    for path in ["/one/a%20b/c", "/two/a%20b/c", "/one/other"] {
        site.store(path).await;
    }
    // A missing object is remembered, and then it is there.
    assert_eq!(site.client.get("/one/new").await.status, 404);
    site.put("new", &[], "new");
    assert_eq!(site.client.get("/one/new").await.status, 404, "it is remembered");
    site.put("a b/c", &[], "now");
    for (event, key, purged) in [
        ("ObjectCreated:Put", "a+b/c", 2),
        ("ObjectCreated:Put", "new", 0),
        // The same once more, and one that is late: harmless.
        ("ObjectCreated:Put", "a+b/c", 0),
        ("ObjectRemoved:Delete", "gone", 0),
    ] {
        let answer = told(&site, "Bearer s3cret", &record(event, "bucket", key)).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "purged": purged, "ignored": 0 })), "{key}");
    }
    for (path, body) in [("/one/a%20b/c", "now"), ("/two/a%20b/c", "now"), ("/one/new", "new")] {
        assert_eq!(site.client.get(path).await.body, body, "{path}");
    }
    assert_eq!(site.client.get("/one/other").await.field("x-cache"), "HIT");
    assert_eq!(metric(&site.admin, "yatagarasu_purges_total{bucket=\"one\",by=\"event\"}").await, 4);

    for (event, bucket, key) in [
        ("ObjectCreated:Put", "another", "other"),
        ("ObjectCreated:Put", "bucket", "a/../b"),
        ("s3:ObjectAccessed:Get", "bucket", "other"),
    ] {
        let answer = told(&site, "Bearer s3cret", &record(event, bucket, key)).await;
        assert_eq!((answer.status, &answer.json()["purged"]), (200, &json!(0)), "{event} {bucket} {key}");
    }
    assert_eq!(site.client.get("/one/other").await.field("x-cache"), "HIT", "nothing has happened to it");
    // Ceph sends keys as they are.
    site.put("100%25+", &[], "as it is");
    site.store("/one/100%2525+").await;
    let answer = told(&site, "Bearer s3cret", &record("s3:ObjectCreated:Put", "bucket", "100%25+")).await;
    assert_eq!(answer.json()["purged"], 1, "{}", answer.text());
    let event_bridge = json!({ "source": "aws.s3", "detail": { "bucket": { "name": "bucket" }, "object": { "key": "other" } } });
    assert_eq!(told(&site, "s3cret", &event_bridge.to_string()).await.json()["purged"], 1);
}

#[tokio::test]
async fn a_record_that_tells_of_no_object_does_not_hide_the_others() {
    let site = site().await;
    site.put("a", &[], "old");
    site.store("/one/a").await;
    let good: Value = serde_json::from_str(&record("ObjectCreated:Put", "bucket", "a")).unwrap();
    for bad in [json!(7), json!({ "eventName": "ObjectCreated:Put" }), json!({ "eventName": 1, "s3": {} })] {
        let alone = json!({ "Records": [bad] }).to_string();
        assert_eq!(told(&site, "s3cret", &alone).await.status, 400, "{bad}");
        site.store("/one/a").await;
        let both = json!({ "Records": [bad, good["Records"][0]] }).to_string();
        let answer = told(&site, "s3cret", &both).await;
        assert_eq!((answer.status, &answer.json()["purged"]), (200, &json!(1)), "{bad}");
    }
}

#[tokio::test]
async fn notifications_need_a_token_that_allows_nothing_else() {
    let site = site().await;
    for token in ["", "Bearer wrong"] {
        assert_eq!(
            told(&site, token, &record("ObjectCreated:Put", "bucket", "k")).await.status,
            401,
            "{token}"
        );
    }
    assert_eq!(told(&site, "Bearer s3cret", "{}").await.status, 400);
    assert_eq!(site.admin.get("/events").await.status, 405);
    // Without a name of this machine, the admin API needs its own token.
    let fields =
        [("authorization", "Bearer s3cret"), ("host", "admin.example"), ("content-type", "application/json")];
    assert_eq!(site.admin.send("POST", "/purge", &fields, r#"{"all":true}"#.into()).await.status, 401);
    // SNS asks without its password first, whenever it asks, and sends it if it is asked for.
    for _ in 0..20 {
        let asked = site.admin.send("POST", "/events", &[], "{}".into()).await;
        assert_eq!(asked.status, 401);
        let challenges: Vec<_> = asked.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(challenges, ["Bearer", "Basic realm=\"events\""]);
    }
    for guess in 0..10 {
        told(&site, &format!("Bearer wrong{guess}"), "{}").await;
    }
    assert_eq!(told(&site, "Bearer wrong", "{}").await.status, 429);
    assert_eq!(told(&site, "Bearer s3cret", "{}").await.status, 400, "who errs keeps nobody else out");
    assert_eq!(site.admin.get("/stats").await.status, 200, "nor the operators");
    let off = Site::start().await;
    let answer = told(&off, "Bearer s3cret", "{}").await;
    assert!(answer.status == 404 && answer.text().contains("events.token"), "{}", answer.text());
}
