//! Tests of the dashboard, of the events that it shows, and of the list of entries.

use serde_json::{Value, json};
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Connection, Response};
use yatagarasu_testing::origin::{Origin, Reply};

use crate::site::{Site, bucket, document, until_metric};

/// A client of `/live`.
struct Viewer {
    connection: Connection,
    received: String,
}

impl Viewer {
    async fn begin(site: &Site, fields: &str) -> (Response, Self) {
        let request = format!("GET /live HTTP/1.1\r\nhost: 127.0.0.1\r\n{fields}\r\n");
        let mut connection = Connection::send(site.admin.address(), request).await;
        (connection.head().await, Self { connection, received: String::new() })
    }

    /// Returns the next event, or `None` if there are no more.
    async fn next(&mut self) -> Option<Value> {
        loop {
            let data = self.received.split_once("data: ").and_then(|(_, rest)| rest.split_once("\n\n"));
            if let Some((event, rest)) = data {
                // Pieces of the chunked coding stand between the lines of events, not in them.
                let snapshot = serde_json::from_str(event).expect("JSON");
                self.received = rest.to_string();
                return Some(snapshot);
            }
            // The last piece of the chunked coding.
            if self.received.ends_with("\r\n0\r\n\r\n") {
                return None;
            }
            let more = self.connection.arrived(64 << 10).await.unwrap_or_default();
            if more.is_empty() {
                return None;
            }
            self.received.push_str(std::str::from_utf8(&more).expect("text"));
        }
    }

    /// Waits for an event that is as wanted.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let seen = async {
            loop {
                let event = self.next().await.expect("an event");
                if wanted(&event) {
                    return event;
                }
            }
        };
        timeout(PATIENCE, seen).await.expect("an event as wanted")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_what_the_server_does() {
    let site = Site::start().await;
    site.put("a/k", &[], "hello");
    site.put("large", &[], vec![b'x'; 8_000_000]);
    site.origin.answer("broken", [Reply::status(500)]);
    let (head, mut viewer) = Viewer::begin(&site, "").await;
    assert_eq!((head.status, head.field("content-type")), (200, "text/event-stream"));
    assert_eq!(head.field("cache-control"), "no-store");
    let first = viewer.next().await.expect("the first event comes at once");
    assert_eq!(first["requests"]["hit"], 0);

    for _ in 0..20 {
        site.client.get("/static/a/k").await;
    }
    let failed = site.client.get("/static/broken").await;
    let mut stream = Connection::narrow(site.address, "/media/large").await;
    let event = viewer.until(|event| event["streams"][0]["sent"].as_u64() > Some(0)).await;
    let at = |pointer: &str| event.pointer(pointer).unwrap_or_else(|| panic!("{pointer} in {event}"));
    assert_eq!(
        (at("/requests/hit"), at("/requests/miss"), at("/statuses/5xx")),
        (&json!(19), &json!(1), &json!(1))
    );
    assert_eq!((at("/bytes/hit"), at("/running")), (&json!(95), &json!(1)));
    assert_eq!(at("/source/requests"), &json!(3));
    assert_eq!(at("/source/failed"), &json!(1));
    assert!(at("/uptime_seconds").as_f64() > first["uptime_seconds"].as_f64());
    assert_eq!(at("/prices"), &json!({ "request": 0.4 / 1e6, "gigabyte": 0.09, "currency": "USD" }));
    let counts = at("/latency/memory").as_array().expect("a list");
    assert_eq!(counts.len(), at("/latency/bounds").as_array().expect("a list").len() + 1);
    assert_eq!(counts.iter().filter_map(Value::as_u64).sum::<u64>(), 19);
    let assets = at("/buckets/0");
    assert_eq!(
        (&assets["bucket"], &assets["requests"], &assets["hits"]),
        (&json!("assets"), &json!(21), &json!(19))
    );
    assert_eq!(
        (&assets["objects"], &assets["up"], &assets["credentials_valid"]),
        (&json!(1), &json!(true), &json!(true))
    );
    assert_eq!(at("/hottest/0"), &json!({ "bucket": "assets", "key": "a/k", "requests": 20 }));
    assert_eq!((at("/streams/0/bucket"), at("/streams/0/key")), (&json!("videos"), &json!("large")));
    assert_eq!(at("/streams/0/length"), &json!(8_000_000));
    let error = at("/errors/0");
    assert_eq!((&error["status"], &error["bucket"]), (&json!(502), &json!("assets")));
    assert_eq!(error["request_id"], failed.field("x-request-id"));

    stream.head().await;
    stream.take(6_000_000).await;
    // Its bytes count before its end.
    viewer.until(|event| event["bytes"]["pass"].as_u64() >= Some(3_000_000)).await;
    stream.take(2_000_000).await;
    let all = Some(8_000_000 + failed.body.len() as u64);
    viewer.until(|event| event["running"] == 0 && event["bytes"]["pass"].as_u64() == all).await;
    viewer.until(|event| event["streams"] == json!([]) && event["running"] == 0).await;
}

#[tokio::test]
async fn events_need_the_token_and_end_when_it_changes() {
    let config = document("", &[bucket("http://127.0.0.1:1", "a", "/a", "", "")]).replace(
        "admin: { ",
        "admin: { token: \"right\", prices: { million_requests: 5, gigabyte: \"0.01\", currency: EUR }, ",
    );
    let process = crate::operating::process::Process::start(&config, &[]);
    let site = |token: &str| format!("authorization: Bearer {token}\r\n");
    let send = async |fields: &str| {
        let request = format!("GET /live HTTP/1.1\r\nhost: admin.example\r\n{fields}\r\n");
        let mut connection = Connection::send(process.admin, request).await;
        (connection.head().await, Viewer { connection, received: String::new() })
    };
    for wrong in ["", &site("wrong")] {
        let (refused, _) = send(wrong).await;
        assert_eq!((refused.status, refused.field("content-type")), (401, "application/problem+json"));
    }
    let (head, mut viewer) = send(&site("right")).await;
    assert_eq!(head.status, 200);
    let event = viewer.next().await.expect("an event");
    assert_eq!(event["prices"], json!({ "request": 5.0 / 1e6, "gigabyte": 0.01, "currency": "EUR" }));
    process.rewrite(&config.replace("right", "another"));
    process.signal("-HUP");
    let ended = async { while viewer.next().await.is_some() {} };
    timeout(PATIENCE, ended).await.expect("whoever had the old token sees no more");
}

#[tokio::test]
async fn pages_of_other_origins_see_nothing() {
    let site = Site::start().await;
    for (fields, status) in [
        ("sec-fetch-site: cross-site\r\n", 401),
        ("sec-fetch-site: same-site\r\n", 401),
        ("sec-fetch-site: same-origin\r\n", 200),
    ] {
        assert_eq!(Viewer::begin(&site, fields).await.0.status, status, "{fields}");
    }
}

#[tokio::test]
async fn only_so_many_clients_look() {
    let site = Site::start().await;
    let mut viewers = Vec::new();
    for _ in 0..16 {
        let (head, viewer) = Viewer::begin(&site, "").await;
        assert_eq!(head.status, 200);
        viewers.push(viewer);
    }
    assert_eq!(Viewer::begin(&site, "").await.0.status, 503);
    viewers.pop();
    let again = async { while Viewer::begin(&site, "").await.0.status != 200 {} };
    timeout(PATIENCE, again).await.expect("one has left");
}

#[tokio::test]
async fn a_client_that_stops_reading_loses_its_place() {
    let site = Site::configured("send_timeout: \"1s\"", "", "").await;
    let mut viewers = Vec::new();
    for _ in 0..16 {
        let request = "GET /live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
        // So small that the first event closes its window.
        let mut viewer = Connection::buffered(site.admin.address(), 2048, request).await;
        assert_eq!(viewer.head().await.status, 200);
        viewers.push(viewer);
    }
    let again = async { while Viewer::begin(&site, "").await.0.status != 200 {} };
    timeout(PATIENCE, again).await.expect("one has lost its place");
    drop(viewers);
}

#[tokio::test]
async fn the_dashboard_has_all_of_its_files_and_a_strict_policy() {
    let site = Site::start().await;
    let page = site.admin.get("/").await;
    assert_eq!((page.status, page.field("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.field("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.field("x-content-type-options"), "nosniff");
    let mut wanted = vec!["/dashboard.css".to_owned(), "/dashboard.js".to_owned()];
    let mut seen = Vec::new();
    while let Some(path) = wanted.pop() {
        let file = site.admin.get(&path).await;
        assert_eq!(file.status, 200, "{path}");
        // `from "./dashboard/chart.js"` and `from "./format.js"` are of the file's folder.
        let folder = &path[..=path.rfind('/').expect("a path")];
        for name in file.text().split("from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
            let path = format!("{folder}{name}");
            if !seen.contains(&path) && !wanted.contains(&path) {
                wanted.push(path);
            }
        }
        seen.push(path);
    }
    assert!(seen.len() >= 10, "{seen:?}");
    for name in page.text().split(['"', '\'']).filter(|text| text.starts_with("/dashboard")) {
        assert_eq!(site.admin.get(name).await.status, 200, "{name}");
    }
    assert_eq!(site.admin.get("/dashboard/other.js").await.status, 404);
    assert_eq!(site.client.get("/dashboard.js").await.status, 404, "clients of objects do not get it");
}

#[tokio::test]
async fn a_purge_can_be_counted_first() {
    let site = Site::start().await;
    for key in ["a/1", "a/2", "b"] {
        site.put(key, &[("x-amz-meta-cache-tag", "red")], "x");
        site.store(&format!("/static/{key}")).await;
    }
    for (order, selected) in [
        (r#"{"bucket":"assets","prefix":"a/","dry_run":true}"#, 2),
        (r#"{"bucket":"assets","key":"b","dry_run":true}"#, 1),
        (r#"{"tag":"red","dry_run":true}"#, 3),
        (r#"{"all":true,"soft":true,"dry_run":true}"#, 3),
        (r#"{"bucket":"videos","all":true,"dry_run":true}"#, 0),
    ] {
        let counted = site.purge(order).await;
        assert_eq!((counted.status, counted.json()), (200, json!({ "selected": selected })), "{order}");
    }
    assert_eq!(site.client.get("/static/b").await.field("x-cache"), "HIT", "nothing has gone");
    assert_eq!(site.purge(r#"{"bucket":"assets","prefix":"a/"}"#).await.json(), json!({ "purged": 2 }));
}

async fn entries(site: &Site, order: &str) -> Response {
    let json = [("content-type", "application/json")];
    site.admin.send("POST", "/entries", &json, order.to_owned().into()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_entries_are_listed_with_what_is_known_of_them() {
    let s3 = Origin::start().await;
    let cache =
        "max_item_size: \"1MB\", max_size: \"64MB\", ttl: 60, negative_ttl: 60, negative_statuses: [404]";
    let assets = bucket(&s3.endpoint(), "assets", "/static", "", cache);
    let site = Site::run(s3, &document("", &[assets])).await;
    let fields = [("content-type", "text/css"), ("etag", "\"one\""), ("cache-control", "max-age=600")];
    site.put("css/a.css", &fields, "hello");
    site.store("/static/css/a.css").await;
    site.client.get("/static/css/missing").await;
    until_metric(&site.admin, "yatagarasu_cache_objects{bucket=\"assets\"}", |objects| objects >= 1).await;
    let all = entries(&site, r#"{"bucket":"assets"}"#).await.json();
    assert_eq!(all["next"], Value::Null);
    let [object, missing] = all["entries"].as_array().expect("a list").as_slice() else { panic!("{all}") };
    assert_eq!(
        (&object["key"], &object["kind"], &object["bytes"]),
        (&json!("css/a.css"), &json!("object"), &json!(5))
    );
    let ttl = object["ttl"].as_i64().expect("a number");
    assert!((590..=600).contains(&ttl) && object["memory"].as_u64() > Some(5), "{object}");
    assert_eq!((&missing["key"], &missing["kind"]), (&json!("css/missing"), &json!("error")));

    let one = entries(&site, r#"{"bucket":"assets","key":"css/a.css"}"#).await.json();
    let shown = &one["entries"][0]["fields"];
    assert!(shown.as_array().expect("a list").contains(&json!(["etag", "\"one\""])), "{one}");
    site.purge(r#"{"bucket":"assets","key":"css/a.css","soft":true}"#).await;
    let one = entries(&site, r#"{"bucket":"assets","key":"css/a.css"}"#).await.json();
    assert!(one["entries"][0]["ttl"].as_i64() <= Some(0), "{one}");
    for (order, status) in [
        (r#"{"bucket":"none"}"#, 404),
        (r#"{"bucket":"assets","key":"a","prefix":"b"}"#, 400),
        (r#"{"bucket":"assets","key":""}"#, 400),
        ("{}", 400),
    ] {
        assert_eq!(entries(&site, order).await.status, status, "{order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_entries_come_in_pages() {
    let site = Site::start().await;
    let fetch = |index: usize| {
        let site = &site;
        async move {
            let key = format!("k/{index:04}");
            site.put(&key, &[], "x");
            site.client.get(&format!("/static/{key}")).await;
        }
    };
    for at in (0..2_600).step_by(50) {
        futures_util::future::join_all((at..at + 50).map(fetch)).await;
    }
    until_metric(&site.admin, "yatagarasu_cache_objects{bucket=\"assets\"}", |objects| objects == 2_600)
        .await;
    let (mut seen, mut pages, mut after) = (Vec::new(), 0, Value::Null);
    loop {
        let order = json!({ "bucket": "assets", "prefix": "k/", "after": after });
        let page = entries(&site, &order.to_string()).await.json();
        let keys = page["entries"].as_array().expect("a list").iter();
        seen.extend(keys.map(|entry| entry["key"].as_str().expect("text").to_owned()));
        pages += 1;
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert!((2..=4).contains(&pages), "{pages}");
    assert!(seen.len() == 2_600 && seen.is_sorted(), "{}", seen.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_hits_are_listed_while_they_are_sent() {
    let site = Site::with("", "max_item_size: \"10MB\", max_size: \"64MB\"").await;
    site.put("large", &[], vec![b'x'; 9_000_000]);
    site.store("/static/large").await;
    let (_, mut viewer) = Viewer::begin(&site, "").await;
    let _slow = Connection::narrow(site.address, "/static/large").await;
    let event = viewer.until(|event| event["streams"][0]["key"] == "large").await;
    assert_eq!(event["streams"][0]["length"], 9_000_000);
}

/// A browser leaves a video for each jump in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_a_stream_is_no_error() {
    let site = Site::start().await;
    // More than sockets hold: else the response may end by itself.
    site.origin.objects().put_pattern("large", 1 << 30);
    let (_, mut viewer) = Viewer::begin(&site, "").await;
    let mut client = Connection::begin(site.address, "/media/large").await;
    client.take(5_000_000).await;
    viewer.until(|event| event["streams"][0]["sent"].as_u64() > Some(5_000_000)).await;
    drop(client);
    let event = viewer.until(|event| event["running"] == 0).await;
    assert_eq!(event["errors"], json!([]));
}
