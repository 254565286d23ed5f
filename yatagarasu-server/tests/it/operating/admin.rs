//! Tests of the admin API: purges, readiness, the token, and metrics.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Client, Connection};
use yatagarasu_testing::origin::{ClosedPort, Origin};

use crate::site::{Site, bucket, document, sum, until};

#[tokio::test]
async fn purges_say_how_many_objects_went() {
    let site = Site::start().await;
    for key in ["a", "css/1", "css/2", "b c"] {
        site.put(key, &[], key.to_owned());
        let path = format!("/static/{}", key.replace(' ', "%20"));
        site.client.get(&path).await;
    }
    let check = async |order: &str, purged: u64| {
        let answer = site.purge(order).await;
        assert_eq!((answer.status, &answer.json()["purged"]), (200, &purged.into()), "{order}");
    };
    check(r#"{"bucket":"assets","key":"b c"}"#, 1).await;
    check(r#"{"bucket":"assets","key":"b c"}"#, 0).await;
    assert_eq!(site.client.get("/static/b%20c").await.field("x-cache"), "MISS");
    check(r#"{"bucket":"assets","prefix":"css/"}"#, 2).await;
    check(r#"{"bucket":"assets","all":true}"#, 2).await;
    check(r#"{"bucket":"videos","all":true}"#, 0).await;
}

/// Asks the admin API on a Unix socket. Returns the response as text.
pub(crate) async fn ask(path: &Path, request: &str) -> String {
    let mut operator = UnixStream::connect(path).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: gateway.example\r\nconnection: close\r\n\r\n");
    operator.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, operator.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_open_the_unix_socket_needs_no_token() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("admin.sock");
    let origin = Origin::start().await;
    let entry = bucket(&origin.endpoint(), "assets", "/static", "", "");
    let admin = format!("admin: {{ address: \"127.0.0.1:0\", token: \"t0ken\", socket: {path:?} }}");
    let yaml = document("", &[entry]).replace("admin: { address: \"127.0.0.1:0\" }", &admin);
    let mut site = Site::run(origin, &yaml).await;
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "the owner and the group");
    site.put("k", &[], "hello");
    site.client.get("/static/k").await;
    for request in ["GET /stats", "GET /metrics", "GET /config", "PURGE /static/k"] {
        let answer = ask(&path, request).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{request}: {answer}");
        let (method, target) = request.split_once(' ').unwrap();
        let answer = Client::new(site.admin.address()).send(method, target, &[], "".into()).await;
        assert_eq!(answer.status, 401, "{request}, over TCP");
    }
    assert_eq!(site.client.get("/static/k").await.field("x-cache"), "MISS", "it was purged");
    // Notifications have a token of their own. There is none here.
    assert!(ask(&path, "POST /events").await.starts_with("HTTP/1.1 4"));
    assert!(site.stop().await.unwrap());
    assert!(!path.exists(), "it is removed");
}

#[tokio::test]
async fn purges_go_by_tag() {
    let site = Site::start().await;
    for (key, tags) in [("a", "red"), ("b", "red, round"), ("c", "round"), ("d", "reddish")] {
        site.put(key, &[("x-amz-meta-cache-tag", tags)], key);
        site.client.get(&format!("/static/{key}")).await;
    }
    assert_eq!(site.purge(r#"{"bucket":"assets","tag":"red"}"#).await.json()["purged"], 2);
    assert_eq!(site.purge(r#"{"bucket":"assets","tag":"red"}"#).await.json()["purged"], 0);
    for (key, expected) in [("a", "MISS"), ("b", "MISS"), ("c", "HIT"), ("d", "HIT")] {
        assert_eq!(site.client.get(&format!("/static/{key}")).await.field("x-cache"), expected, "{key}");
    }
}

#[tokio::test]
async fn soft_purges_have_s3_asked_whether_the_object_has_changed() {
    let site = Site::start().await;
    for key in ["same", "changed", "gone"] {
        site.put(key, &[("etag", "\"old\"")], "old");
        site.client.get(&format!("/static/{key}")).await;
    }
    let purged = site.purge(r#"{"bucket":"assets","all":true,"soft":true}"#).await;
    assert_eq!((purged.status, &purged.json()["purged"]), (200, &3.into()));
    site.put("changed", &[("etag", "\"new\"")], "new");
    site.origin.objects().remove("gone");
    for (key, status, expected, content) in
        [("same", 200, "REVALIDATED", "old"), ("changed", 200, "MISS", "new"), ("gone", 404, "MISS", "")]
    {
        let answer = site.client.get(&format!("/static/{key}")).await;
        assert_eq!((answer.status, answer.field("x-cache")), (status, expected), "{key}");
        assert!(status == 404 || answer.body == content, "{key}");
    }
    assert_eq!(site.client.get("/static/same").await.field("x-cache"), "HIT", "it is fresh again");
}

#[tokio::test]
async fn tags_and_everything_are_purged_from_all_buckets_at_once() {
    let s3 = Origin::start().await;
    let cache = "max_item_size: \"1MB\", max_size: \"64MB\"";
    let entry = |name, prefix| bucket(&s3.endpoint(), name, prefix, "", cache);
    let yaml = document("", &[entry("one", "/one"), entry("two", "/two")]);
    let site = Site::run(s3, &yaml).await;
    site.put("a", &[("x-amz-meta-cache-tag", "red")], "a");
    site.put("b", &[], "b");
    let fetch = async |expected: [&str; 4]| {
        for (path, expected) in ["/one/a", "/one/b", "/two/a", "/two/b"].into_iter().zip(expected) {
            assert_eq!(site.client.get(path).await.field("x-cache"), expected, "{path}");
        }
    };
    fetch(["MISS"; 4]).await;
    assert_eq!(site.purge(r#"{"tag":"red"}"#).await.json()["purged"], 2);
    fetch(["MISS", "HIT", "MISS", "HIT"]).await;
    assert_eq!(site.purge(r#"{"tag":"red","soft":true}"#).await.json()["purged"], 2);
    fetch(["REVALIDATED", "HIT", "REVALIDATED", "HIT"]).await;
    assert_eq!(site.purge(r#"{"all":true}"#).await.json()["purged"], 4);
    fetch(["MISS"; 4]).await;
}

#[tokio::test]
async fn an_operator_who_leaves_does_not_end_a_purge() {
    const BUCKETS: usize = 64;
    let s3 = Origin::start().await;
    let cache = "max_item_size: \"1MB\", max_size: \"64MB\"";
    let entries: Vec<_> = (0..BUCKETS)
        .map(|index| bucket(&s3.endpoint(), &format!("b{index}"), &format!("/{index}"), "", cache))
        .collect();
    let site = Site::run(s3, &document("", &entries)).await;
    site.put("a", &[], "a");
    for index in 0..BUCKETS {
        site.store(&format!("/{index}/a")).await;
    }
    let objects = |stats: &Value| -> Vec<u64> {
        let buckets = stats["buckets"].as_array().unwrap();
        buckets.iter().map(|bucket| bucket["objects"].as_u64().unwrap()).collect()
    };
    let order = r#"{"all":true}"#;
    let fields =
        format!("host: localhost\r\ncontent-type: application/json\r\ncontent-length: {}", order.len());
    let request = format!("POST /purge HTTP/1.1\r\n{fields}\r\n\r\n{order}");
    let operator = Connection::send(site.admin.address(), request).await;
    // The purge has begun, and most of it is still to do.
    until(&site, |stats| objects(stats)[0] == 0).await;
    drop(operator);
    until(&site, |stats| objects(stats) == [0; BUCKETS]).await;
}

#[tokio::test]
async fn the_method_purges_what_a_public_path_leads_to() {
    let s3 = Origin::start().await;
    let cache = "max_item_size: \"1MB\", max_size: \"64MB\"";
    let entry = |name, prefix| bucket(&s3.endpoint(), name, prefix, "forward_query: [\"v\"]", cache);
    let yaml = document("", &[entry("all", "/stats"), entry("inner", "/stats/in")]);
    let site = Site::run(s3, &yaml).await;
    for key in ["b c", "in/k", "k"] {
        site.put(key, &[], key);
    }
    let fetch = async |path: &str| site.client.get(path).await.field("x-cache").to_owned();
    let purge = async |path: &str, headers: &[(&str, &str)]| {
        let answer = site.admin.send("PURGE", path, headers, "".into()).await;
        (answer.status, answer.json()["purged"].as_u64())
    };
    for path in ["/stats/b%20c", "/stats/b%20c?v=1", "/stats/b%20c?v=2", "/stats/k", "/stats/in/k"] {
        fetch(path).await;
    }
    assert_eq!(purge("/stats/b%20c?v=9", &[]).await, (200, Some(3)), "whatever the query");
    assert_eq!(purge("/stats/%62%20c", &[]).await, (200, Some(0)));
    assert_eq!(purge("/stats/in/k", &[]).await, (200, Some(1)));
    assert_eq!((fetch("/stats/in/k").await, fetch("/stats/k").await), ("MISS".into(), "HIT".into()));
    assert_eq!(purge("/stats/k", &[("soft-purge", "1")]).await, (200, Some(1)));
    assert_eq!((fetch("/stats/k").await, fetch("/stats/k").await), ("REVALIDATED".into(), "HIT".into()));
    assert_eq!(purge("/stats/k", &[("soft-purge", "0")]).await, (200, Some(1)));
    assert_eq!(fetch("/stats/k").await, "MISS");

    for (path, status, words) in [
        ("/nowhere/k", 404, "no bucket's `path_prefix` and key match this path"),
        ("/stats", 404, "no bucket's `path_prefix` and key match this path"),
        ("/health", 404, "no bucket's `path_prefix` and key match this path"),
        ("/purge", 404, "no bucket's `path_prefix` and key match this path"),
        ("/stats/a/../b", 400, "segment"),
        ("/stats/%zz", 400, "hexadecimal"),
    ] {
        let answer = site.admin.send("PURGE", path, &[], "".into()).await;
        assert_eq!((answer.status, answer.field("content-type")), (status, "application/problem+json"));
        assert!(answer.json()["detail"].as_str().unwrap().contains(words), "{path}");
    }
    assert_eq!(site.client.send("PURGE", "/stats/k", &[], "".into()).await.status, 405, "never in public");
    assert_eq!(fetch("/stats/k").await, "HIT");
}

#[tokio::test]
async fn bad_orders_say_what_is_expected() {
    let site = Site::start().await;
    for (order, status, words) in [
        ("", 400, "expected {\"bucket\""),
        ("{\"bucket\":\"assets\"}", 400, "\"all\": true"),
        (r#"{"bucket":"assets","key":"a","all":true}"#, 400, "one of"),
        (r#"{"bucket":"assets","kee":"a"}"#, 400, "unknown field"),
        (r#"{"bucket":"assets","key":"a/../b"}"#, 400, "segment"),
        (r#"{"bucket":"assets","prefix":""}"#, 400, "say \"all\": true"),
        (r#"{"bucket":"assets","tag":""}"#, 400, "the tag is empty"),
        (r#"{"bucket":"assets","tag":"t","all":true}"#, 400, "one of"),
        (r#"{"bucket":"assets","all":true,"soft":"yes"}"#, 400, "expected a boolean"),
        (r#"{"bucket":null,"all":true}"#, 400, "invalid type: null"),
        (r#"{"key":"a"}"#, 400, "expected \"bucket\": NAME: only a tag and all objects"),
        (r#"{"prefix":"a","soft":true}"#, 400, "expected \"bucket\": NAME: only a tag and all objects"),
        (r#"{"soft":true}"#, 400, "one of"),
        (r#"{"bucket":"other","all":true}"#, 404, "there are: assets, videos"),
    ] {
        let answer = site.purge(order).await;
        let detail = answer.json()["detail"].to_string();
        assert_eq!(answer.status, status, "{order}");
        assert!(detail.replace('\\', "").contains(words), "{order}: {detail}");
    }
    assert_eq!(site.admin.send("POST", "/purge", &[], "{}".into()).await.status, 415);
    let get = site.admin.get("/purge").await;
    assert_eq!((get.status, get.field("allow")), (405, "POST"));
    assert_eq!(site.admin.send("DELETE", "/stats", &[], "".into()).await.status, 405);
    assert_eq!(site.admin.get("/static/k").await.status, 404);
    assert_eq!(site.client.get("/stats").await.status, 404, "never on the public listener");
}

#[tokio::test]
async fn readiness_asks_every_source() {
    let s3 = Origin::start().await;
    s3.objects().put("k", &[], "x");
    let endpoint = s3.endpoint();
    let good = bucket(&endpoint, "good", "/good", "", "");
    let nobody = ClosedPort::new();
    let unreachable = bucket(&nobody.endpoint(), "unreachable", "/unreachable", "", "");
    let denied = bucket(&endpoint, "denied", "/denied", "session_token: \"unknown\"", "");
    let site = Site::run(s3, &document("", std::slice::from_ref(&good))).await;
    assert_eq!((site.admin.get("/health").await.status, site.admin.get("/ready").await.status), (200, 200));
    let s3 = Origin::start().await;
    let site = Site::run(s3, &document("", &[good, unreachable, denied])).await;
    let answer = site.admin.get("/ready").await;
    assert_eq!(answer.status, 503);
    let list = answer.json()["buckets"].clone();
    assert_eq!(
        (&list[0]["ready"], &list[1]["ready"], &list[2]["ready"]),
        (&true.into(), &false.into(), &false.into())
    );
    assert!(list[1]["reason"].as_str().unwrap().contains("cannot connect"), "{list}");
    assert_eq!(site.admin.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_token_guards_what_is_not_for_everyone() {
    let s3 = Origin::start().await;
    s3.objects().put("k", &[], "x");
    let yaml = document("", &[bucket(&s3.endpoint(), "assets", "/static", "", "")]).replace(
        "admin: { address: \"127.0.0.1:0\" }",
        "admin: { address: \"0.0.0.0:0\", token: \"s3cret\" }",
    );
    let site = Site::run(s3, &yaml).await;
    assert_eq!(site.admin.get("/stats").await.status, 200);
    assert_eq!(site.admin.send("PURGE", "/static/k", &[], "".into()).await.status, 200);
    let stranger = site.admin.clone().bearing(None);
    let guesser = site.admin.clone().bearing(Some("guess".to_owned()));
    for client in [stranger, guesser] {
        for path in ["/stats", "/metrics", "/purge"] {
            let answer = client.get(path).await;
            assert_eq!((answer.status, answer.field("www-authenticate")), (401, "Bearer"), "{path}");
        }
        assert_eq!(client.send("PURGE", "/static/k", &[], "".into()).await.status, 401);
        assert_eq!((client.get("/health").await.status, client.get("/ready").await.status), (200, 200));
    }
}

#[tokio::test]
async fn what_happens_is_counted() {
    let site = Site::start().await;
    site.put("k", &[], "hello");
    for path in ["/static/k", "/static/k", "/static/missing", "/nowhere"] {
        site.client.get(path).await;
    }
    let stats = site.admin.get("/stats").await.json();
    let assets = &stats["buckets"][0];
    let count = |name: &str| assets[name].as_u64().unwrap();
    assert_eq!(
        (count("hits"), count("forwards"), count("errors"), count("stored"), count("objects")),
        (1, 2, 1, 1, 1)
    );
    assert_eq!(stats["fill_memory"]["max_bytes"], 256_000_000);
    assert_eq!(stats["socket_memory"], serde_json::json!({ "bytes": 0, "max_bytes": 134_217_728 }));
    // A response is counted when its body has ended, so poll until it is.
    let metrics = loop {
        let metrics = site.admin.get("/metrics").await;
        let text = String::from_utf8(metrics.body.to_vec()).unwrap();
        if sum(&text, "yatagarasu_requests_total{status=\"4xx\"}") == Some(2) {
            break text;
        }
    };
    for line in [
        "yatagarasu_requests_total{bucket=\"assets\",method=\"GET\",status=\"2xx\",cache=\"hit\"} 1",
        "yatagarasu_requests_total{bucket=\"assets\",method=\"GET\",status=\"2xx\",cache=\"miss\"} 1",
        "yatagarasu_cache_objects{bucket=\"assets\"} 1",
        "yatagarasu_credentials_valid{bucket=\"assets\"} 1",
        "# TYPE yatagarasu_cache_bytes gauge",
        "yatagarasu_wide_socket_bytes 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
}

/// A load balancer in each zone asks each second, and each probe is a request to S3.
#[tokio::test]
async fn readiness_probes_share_one_request_to_s3() {
    let site = Site::start().await;
    let ready = async || assert_eq!(site.admin.get("/ready").await.status, 200);
    futures_util::future::join_all((0..20).map(|_| ready())).await;
    // One for each bucket.
    assert_eq!(site.origin.requests().len(), 2);
    let page = [("host", "evil.example")];
    assert_eq!(site.admin.send("GET", "/ready", &page, "".into()).await.status, 401);
    let renewed = async {
        while site.origin.requests().len() == 2 {
            ready().await;
        }
    };
    timeout(PATIENCE, renewed).await.expect("the result is kept for a second only");
}

/// Starts a server with the token `right`, whose S3 does not answer.
async fn guarded() -> Site {
    let config = document("", &[bucket("http://127.0.0.1:1", "a", "/a", "", "")])
        .replace("admin: { ", "admin: { token: \"right\", ");
    Site::run(Origin::start().await, &config).await
}

#[tokio::test]
async fn a_token_cannot_be_guessed_quickly() {
    let site = guarded().await;
    let guess = async |token: &str| {
        let fields = [("authorization", format!("Bearer {token}"))];
        let fields = fields.each_ref().map(|(name, value)| (*name, &**value));
        site.admin.clone().bearing(None).send("GET", "/stats", &fields, "".into()).await
    };
    assert_eq!(guess("right").await.status, 200);
    // A monitor with the token of yesterday locks nobody out.
    for _ in 0..20 {
        assert_eq!(guess("of-yesterday").await.status, 401);
    }
    assert_eq!(guess("right").await.status, 200);
    for number in 1..10 {
        assert_eq!(guess(&format!("wrong{number}")).await.status, 401);
    }
    let refused = guess("right").await;
    assert_eq!((refused.status, refused.field("retry-after")), (429, "60"));
    // Probes need no token, and may show one.
    for token in [None, Some("right".to_owned())] {
        let probe = site.admin.clone().bearing(token);
        assert_eq!(probe.get("/health").await.status, 200);
        assert!(!probe.get("/ready").await.text().contains("127.0.0.1"), "no reasons meanwhile");
    }
}

#[tokio::test]
async fn a_probe_is_no_way_to_guess_a_token() {
    let site = guarded().await;
    for number in 0..10 {
        site.admin.clone().bearing(Some(format!("wrong{number}"))).get("/ready").await;
    }
    assert_eq!(site.admin.clone().bearing(Some("right".to_owned())).get("/stats").await.status, 429);
}
