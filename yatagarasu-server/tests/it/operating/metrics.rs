//! Tests of the metrics: they add up to what clients have got and S3 was asked for.

use std::collections::BTreeMap;

use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Client, Connection, Http2, plain_get};
use yatagarasu_testing::origin::Origin;

use crate::operating::process::Process;
use crate::site::{Site, bucket, document, metric, sum, until_metric};

/// What a client has counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Responses by method and class of status.
    responses: BTreeMap<(&'static str, String), u64>,
    hits: u64,
    bytes: u64,
}

async fn ask(client: &Client, seed: u64, seen: &mut Seen) {
    let mut seed = seed;
    for _ in 0..80 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let object = format!("/static/{}", (seed >> 33) % 10);
        let range = [("range", "bytes=0-9")];
        let (method, path, fields): (_, &str, &[_]) = match (seed >> 59) % 8 {
            0 => ("HEAD", &object, &[]),
            1 => ("GET", &object, &range),
            2 => ("GET", "/static/missing", &[]),
            3 => ("GET", "/nowhere", &[]),
            4 => ("GET", "/media/0", &[]),
            5 => ("OPTIONS", &object, &[]),
            _ => ("GET", &object, &[]),
        };
        let answer = client.send(method, path, fields, "".into()).await;
        *seen.responses.entry((method, format!("{}xx", answer.status / 100))).or_default() += 1;
        seen.hits += u64::from(answer.headers.get("x-cache").is_some_and(|value| value == "HIT"));
        seen.bytes += answer.body.len() as u64;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_get_adds_up() {
    let site = Site::start().await;
    for index in 0..10 {
        site.put(&index.to_string(), &[], vec![b'x'; 1000 * (index + 1)]);
    }
    let asking = (0..8).map(|client| {
        let site = &site;
        async move {
            let mut seen = Seen::default();
            ask(&site.client, client, &mut seen).await;
            seen
        }
    });
    let mut total = Seen::default();
    for seen in futures_util::future::join_all(asking).await {
        for (key, count) in seen.responses {
            *total.responses.entry(key).or_default() += count;
        }
        total.hits += seen.hits;
        total.bytes += seen.bytes;
    }
    // A response is counted once its last byte is written.
    until_metric(&site.admin, "yatagarasu_requests_running", |running| running == 0).await;
    until_metric(&site.admin, "yatagarasu_source_requests_running", |running| running == 0).await;
    let metrics = site.admin.get("/metrics").await;
    let value = |sample: &str| sum(metrics.text(), sample).unwrap_or_else(|| panic!("{sample}"));
    let requests = "yatagarasu_requests_total";
    for ((method, status), count) in &total.responses {
        let sample = format!("{requests}{{method=\"{method}\",status=\"{status}\"}}");
        assert_eq!(value(&sample), *count, "{sample}");
    }
    assert_eq!(value(requests), 8 * 80);
    assert!(total.hits > 100, "{total:?}");
    assert_eq!(value(&format!("{requests}{{cache=\"hit\"}}")), total.hits);
    assert_eq!(value("yatagarasu_response_body_bytes_total"), total.bytes);
    for histogram in ["yatagarasu_request_duration_seconds", "yatagarasu_time_to_first_byte_seconds"] {
        assert_eq!(value(&format!("{histogram}_count")), 640, "{histogram}");
        assert_eq!(value(&format!("{histogram}_bucket{{le=\"+Inf\"}}")), 640, "{histogram}");
        let sums: Vec<_> =
            metrics.text().lines().filter(|line| line.starts_with(&format!("{histogram}_sum"))).collect();
        assert!(!sums.is_empty() && !sums.iter().any(|line| line.ends_with(" 0.0")), "{sums:?}");
        assert_eq!(value(&format!("{histogram}_count{{from=\"memory\"}}")), total.hits, "{histogram}");
    }
    assert_eq!(value("yatagarasu_source_requests_total"), site.origin.requests().len() as u64);
    let passed = sum(metrics.text(), "yatagarasu_response_body_bytes_total{bucket=\"videos\"}");
    assert_eq!(sum(metrics.text(), "yatagarasu_source_body_bytes_total{bucket=\"videos\"}"), passed);
    let nowhere = format!("{requests}{{bucket=\"\",cache=\"own\",status=\"4xx\"}}");
    assert!(value(&nowhere) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_into_the_cache_and_leaves_it_is_counted() {
    let site = Site::with("", "max_item_size: \"100KB\", max_size: \"1MB\", stale_if_error: 0").await;
    for index in 0..60 {
        site.put(&format!("k/{index}"), &[], vec![b'x'; 50_000]);
        site.client.get(&format!("/static/k/{index}")).await;
    }
    until_metric(&site.admin, "yatagarasu_cache_stored_total{bucket=\"assets\"}", |stored| stored == 60)
        .await;
    let of = async |sample: &str| metric(&site.admin, &format!("yatagarasu_{sample}")).await;
    let evicted = of("cache_removed_total{bucket=\"assets\",reason=\"evicted\"}").await;
    let left = of("cache_objects{bucket=\"assets\"}").await;
    assert!(evicted > 30 && left > 5, "{evicted} {left}");
    assert_eq!(evicted + left, 60);
    assert_eq!(of("cache_eviction_age_seconds_count{bucket=\"assets\"}").await, evicted);
    assert!(of("cache_bytes{bucket=\"assets\"}").await <= of("cache_bytes_max{bucket=\"assets\"}").await);

    site.purge(r#"{"bucket":"assets","key":"k/59"}"#).await;
    site.purge(r#"{"bucket":"assets","prefix":"k/","soft":true}"#).await;
    site.purge(r#"{"all":true}"#).await;
    for (by, count) in [("key", 1), ("prefix", 1), ("tag", 0), ("all", 1)] {
        assert_eq!(of(&format!("purges_total{{bucket=\"assets\",by=\"{by}\"}}")).await, count, "{by}");
    }
    assert_eq!(of("purged_objects_total{bucket=\"assets\"}").await, 2 * left - 1);
    assert_eq!(of("cache_removed_total{bucket=\"assets\",reason=\"removed\"}").await, left);
    assert_eq!(of("cache_objects{bucket=\"assets\"}").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_s3_are_counted_with_their_results() {
    let s3 = Origin::start().await;
    let buckets = [bucket(&s3.endpoint(), "assets", "/a", "", "enabled: false")];
    let site = Site::run(s3, &document("", &buckets)).await;
    site.put("k", &[("etag", "\"one\"")], "hello");
    site.client.get("/a/k").await;
    site.client.send("GET", "/a/k", &[("if-none-match", "\"one\"")], "".into()).await;
    site.client.send("HEAD", "/a/missing", &[], "".into()).await;
    site.client.get("/a/missing").await;
    for (operation, result) in
        [("get", "ok"), ("get", "not_modified"), ("get", "not_found"), ("head", "not_found")]
    {
        let labels = format!("{{bucket=\"assets\",operation=\"{operation}\",result=\"{result}\"}}");
        let counted = metric(&site.admin, &format!("yatagarasu_source_requests_total{labels}")).await;
        assert_eq!(counted, 1, "{labels}");
    }
    assert_eq!(metric(&site.admin, "yatagarasu_source_time_to_first_byte_seconds_count").await, 4);
    let ended = "yatagarasu_source_request_duration_seconds_count";
    until_metric(&site.admin, ended, |count| count == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_forgets_no_count() {
    let s3 = Origin::start().await;
    let assets = |s3_settings: &str| bucket(&s3.endpoint(), "assets", "/assets", s3_settings, "");
    let process = Process::start(&document("", &[assets("")]), &[]);
    let (admin, client) = (Client::new(process.admin), Client::new(process.address));
    client.get("/assets/missing").await;
    let requests = "yatagarasu_requests_total{bucket=\"assets\"}";
    let asked = "yatagarasu_source_requests_total{bucket=\"assets\"}";
    until_metric(&admin, requests, |count| count == 1).await;
    assert_eq!(metric(&admin, asked).await, 1);
    let reload = async |yaml: String| {
        process.rewrite(&yaml);
        let json = [("content-type", "application/json")];
        assert_eq!(admin.send("POST", "/reload", &json, "".into()).await.status, 200);
    };
    // The source is another one then, with the same name.
    reload(document("", &[assets("response_timeout: 7s")])).await;
    client.get("/assets/missing").await;
    until_metric(&admin, requests, |count| count == 2).await;
    assert_eq!(metric(&admin, asked).await, 2);
    // What was counted for a bucket that is gone is no less true.
    reload(document("", &[bucket(&s3.endpoint(), "other", "/other", "", "")])).await;
    assert_eq!(metric(&admin, requests).await, 2);
    reload(document("", &[assets("")])).await;
    client.get("/assets/missing").await;
    until_metric(&admin, requests, |count| count == 3).await;
}

#[tokio::test]
async fn connections_are_counted_by_what_they_do() {
    let site = Site::start().await;
    site.put("k", &[], vec![b'x'; 900_000]);
    site.store("/static/k").await;
    let mut idle = Connection::begin(site.address, "/static/k").await;
    idle.take(900_000).await;
    // The responses are more than sockets hold, and it reads none.
    let _stalled = Connection::narrow_send(site.address, plain_get("/static/k").repeat(20)).await;
    let mut http2 = Http2::connect(site.address).await;
    assert_eq!(http2.get("/static/k").await.unwrap().status, 200);
    let state = |state| format!("yatagarasu_connections_by_state{{state=\"{state}\"}}");
    let seen = async {
        while metric(&site.admin, &state("idle")).await == 0
            || metric(&site.admin, &state("stalled")).await != 1
        {}
    };
    timeout(PATIENCE, seen).await.expect("the reaper looks each second");
    assert!(metric(&site.admin, "yatagarasu_connections{protocol=\"http1\"}").await >= 2);
    assert_eq!(metric(&site.admin, "yatagarasu_connections{protocol=\"http2\"}").await, 1);
    drop(http2);
    until_metric(&site.admin, "yatagarasu_connections{protocol=\"http2\"}", |open| open == 0).await;
}

/// Returns the families with their types, in order.
fn families(text: &str) -> Vec<(&str, &str)> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

#[tokio::test]
async fn metrics_come_in_both_formats() {
    let site = Site::start().await;
    site.put("k", &[], "hello");
    site.client.get("/static/k").await;
    until_metric(&site.admin, "yatagarasu_requests_total", |count| count == 1).await;
    let classic = site.admin.get("/metrics").await;
    assert_eq!(classic.field("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(!classic.text().contains("# EOF"));
    // What Prometheus 3 sends.
    let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5";
    let open = site.admin.send("GET", "/metrics", &[("accept", accept)], "".into()).await;
    assert_eq!(open.field("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(open.field("vary"), "Accept");
    assert!(open.text().ends_with("\n# EOF\n"));
    for text in [classic.text(), open.text()] {
        let families = families(text);
        let mut names: Vec<_> = families.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), families.len(), "a family comes once");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().expect("a name");
            let stem = |end: &str| name.strip_suffix(end);
            let stems = ["", "_total", "_bucket", "_sum", "_count", "_info"].into_iter().filter_map(stem);
            assert!(stems.into_iter().any(|stem| names.contains(&stem)), "{line}");
        }
    }
    for (name, kind) in [
        ("yatagarasu_requests", "counter"),
        ("yatagarasu_build", "info"),
        ("yatagarasu_time_to_first_byte_seconds", "histogram"),
        ("process_cpu_seconds", "counter"),
        ("process_resident_memory_bytes", "gauge"),
    ] {
        assert!(families(open.text()).contains(&(name, kind)), "{name} in {}", open.text());
    }
    let version = format!("yatagarasu_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(open.text().contains(&version));
}

/// A client chooses the name of a host, of a key and of a method, and none of them may become a label.
#[tokio::test]
async fn clients_make_no_labels() {
    let site = Site::start().await;
    let before = site.admin.get("/metrics").await.text().lines().count();
    for index in 0..200 {
        let request = format!("BREW{index} /static/{index} HTTP/1.1\r\nhost: h{index}.example\r\n\r\n");
        assert_eq!(Connection::send(site.address, request).await.head().await.status, 405);
    }
    let after = site.admin.get("/metrics").await.text().lines().count();
    assert!(after < before + 150, "{before} lines, then {after}");
}

/// A client that leaves while S3 is silent gets no error, and neither does the gateway.
#[tokio::test]
async fn requests_to_s3_that_nobody_waits_for_are_counted_with_their_time() {
    let site = Site::by_hand("").await;
    let client = Connection::get(site.address, "/media/k").await;
    let _asked = site.origin.next().await;
    drop(client);
    let abandoned =
        "yatagarasu_source_requests_total{bucket=\"videos\",operation=\"get\",result=\"abandoned\"}";
    until_metric(&site.admin, abandoned, |count| count == 1).await;
    assert_eq!(
        metric(&site.admin, "yatagarasu_source_time_to_first_byte_seconds_count{bucket=\"videos\"}").await,
        1
    );
    let waited = "yatagarasu_request_duration_seconds_count{bucket=\"videos\",from=\"source\"}";
    until_metric(&site.admin, waited, |count| count == 1).await;
}
