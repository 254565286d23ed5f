//! Tests of content codings: objects that stand beside others, and stored ones that are compressed in the background.

use std::fmt::Write;
use std::io::Read;

use bytes::Bytes;
use yatagarasu_server::Config;
use yatagarasu_server::config::Environment;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::Origin;

use crate::site::{Site, bucket, document};

const SCRIPT: [(&str, &str); 2] = [("content-type", "text/javascript"), ("etag", "\"v1\"")];

fn script() -> String {
    "function answer() { return 42; }\n".repeat(3000)
}

/// Starts a gateway with these settings of `compression`, and further keys of the bucket.
async fn start(compression: &str, keys: &str) -> Site {
    let origin = Origin::start().await;
    let cache = "max_item_size: \"1MB\", max_size: \"64MB\", negative_ttl: \"1m\", stale_if_error: \"0\"";
    let mut entry = bucket(&origin.endpoint(), "www", "/", "", cache);
    writeln!(entry, "    compression: {{ {compression} }}\n    {keys}").unwrap();
    Site::run(origin, &document("", &[entry])).await
}

async fn get(site: &Site, path: &str, codings: &str) -> Response {
    site.client.get_with(path, &[("accept-encoding", codings)]).await
}

/// Returns whether the answer says, once, that it depends on the codings that a client accepts.
fn varies(answer: &Response) -> bool {
    let values = answer.headers.get_all("vary").iter();
    values.filter(|value| *value == "Accept-Encoding").count() == 1
}

/// Asks until the answer is in a coding.
async fn coded(site: &Site, path: &str, coding: &str) -> Response {
    let begun = tokio::time::Instant::now();
    loop {
        let answer = get(site, path, coding).await;
        if answer.headers.get("content-encoding").is_some_and(|value| value == coding) {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{path} is not compressed");
        tokio::task::yield_now().await;
    }
}

fn decoded(coding: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    match coding {
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_string(&mut text),
        "zstd" => zstd::Decoder::new(bytes).unwrap().read_to_string(&mut text),
        _ => flate2::read::GzDecoder::new(bytes).read_to_string(&mut text),
    }
    .unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_text_is_compressed_for_those_who_accept_it() {
    let site = start("", "").await;
    site.put("a.js", &SCRIPT, script());
    let first = get(&site, "/a.js", "br").await;
    assert_eq!((first.text(), varies(&first), first.field("etag")), (&*script(), true, "\"v1\""));
    for coding in ["br", "zstd", "gzip"] {
        let answer = coded(&site, "/a.js", coding).await;
        assert_eq!(decoded(coding, &answer.body), script(), "{coding}");
        assert_eq!(answer.field("content-length"), answer.body.len().to_string());
        assert!(answer.body.len() < 2000, "{coding}: {}", answer.body.len());
        assert_eq!((answer.field("etag"), varies(&answer)), ("W/\"v1\"", true), "{coding}");
        assert_eq!((answer.field("content-type"), answer.field("x-cache")), ("text/javascript", "HIT"));
        assert!(answer.headers.get("accept-ranges").is_none());
        let accept = ("accept-encoding", coding);
        let head = site.client.send("HEAD", "/a.js", &[accept], Bytes::new()).await;
        assert_eq!(head.field("content-length"), answer.field("content-length"));
        let same = site.client.get_with("/a.js", &[accept, ("if-none-match", "W/\"v1\"")]).await;
        assert_eq!((same.status, same.field("etag"), varies(&same)), (304, "W/\"v1\"", true));
        let part = site.client.get_with("/a.js", &[accept, ("range", "bytes=0-7")]).await;
        assert_eq!((part.status, part.text(), part.field("etag")), (206, "function", "\"v1\""));
        let mixed =
            site.client.get_with("/a.js", &[accept, ("range", "bytes=0-7"), ("if-range", "W/\"v1\"")]).await;
        assert_eq!((mixed.status, mixed.text()), (200, &*script()), "bytes of two forms are not mixed");
    }
    for codings in ["", "identity", "deflate", "br;q=0, *;q=0", "br;q=0.5, identity"] {
        let answer = get(&site, "/a.js", codings).await;
        assert_eq!((answer.text(), answer.field("etag"), varies(&answer)), (&*script(), "\"v1\"", true));
    }
    let plain = site.client.get("/a.js").await;
    assert_eq!((plain.text(), plain.field("accept-ranges")), (&*script(), "bytes"));
    assert_eq!(site.origin.asked("a.js").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_named_types_above_a_size_are_compressed() {
    let site = start("types: [\"text/*\"], min_size: \"2KiB\", codings: [\"gzip\"]", "").await;
    site.put("a.js", &SCRIPT, script());
    site.put("small", &SCRIPT, "x".repeat(2047));
    site.put("data", &[("content-type", "application/json")], script());
    site.put("packed", &[("content-type", "text/css"), ("content-encoding", "br")], script());
    site.put(
        "fixed",
        &[("content-type", "text/css"), ("cache-control", "no-transform, max-age=60")],
        script(),
    );
    for path in ["/small", "/data", "/packed", "/fixed"] {
        site.store(path).await;
        get(&site, path, "gzip").await;
    }
    assert_eq!(decoded("gzip", &coded(&site, "/a.js", "gzip").await.body), script());
    for (path, named) in [("/small", true), ("/data", false), ("/packed", false), ("/fixed", false)] {
        let answer = get(&site, path, "gzip, br").await;
        assert_ne!(
            answer.headers.get("content-encoding").map(http::HeaderValue::as_bytes),
            Some(&b"gzip"[..]),
            "{path}"
        );
        assert_eq!(varies(&answer), named, "{path}");
    }
    assert!(
        get(&site, "/a.js", "br").await.headers.get("content-encoding").is_none(),
        "it is not configured"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_go_with_what_they_are_of() {
    let site = start("", "").await;
    site.put("a.js", &SCRIPT, script());
    coded(&site, "/a.js", "br").await;
    site.put("a.js", &[SCRIPT[0], ("etag", "\"v2\"")], script().replace("42", "43"));
    assert_eq!(site.purge("{\"bucket\":\"www\",\"key\":\"a.js\"}").await.json()["purged"], 1);
    let answer = get(&site, "/a.js", "br").await;
    assert_eq!((answer.text(), answer.field("etag")), (&*script().replace("42", "43"), "\"v2\""));
    let answer = coded(&site, "/a.js", "br").await;
    assert_eq!(
        (decoded("br", &answer.body), answer.field("etag")),
        (script().replace("42", "43"), "W/\"v2\"")
    );
    // A soft purge has it confirmed.
    assert_eq!(site.purge("{\"bucket\":\"www\",\"all\":true,\"soft\":true}").await.json()["purged"], 1);
    let answer = get(&site, "/a.js", "br").await;
    assert_eq!((answer.field("x-cache"), answer.field("content-encoding")), ("REVALIDATED", "br"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_beside_an_object_is_served_in_its_place() {
    let site = start("precompressed: true, compress: false", "site: { index: \"index.html\" }").await;
    site.put("a.js", &[SCRIPT[0], SCRIPT[1], ("content-language", "de")], "plain");
    site.put("a.js.br", &[("content-type", "binary/octet-stream"), ("etag", "\"br\"")], "in brotli");
    site.put("a.js.gz", &[("content-type", "text/javascript; charset=x"), ("etag", "\"gz\"")], "in gzip");
    site.put("index.html", &[("content-type", "text/html")], "page");
    site.put("index.html.zst", &[], "page in zstd");
    site.put("a.png", &[("content-type", "image/png")], "picture");
    site.put("a.png.br", &[], "no");
    for (path, codings, content, coding, content_type, tag) in [
        ("/a.js", "gzip, br", "in brotli", "br", "text/javascript; charset=utf-8", "\"br\""),
        ("/a.js", "gzip", "in gzip", "gzip", "text/javascript; charset=x", "\"gz\""),
        ("/a.js", "gzip;q=1, br;q=0.5", "in gzip", "gzip", "text/javascript; charset=x", "\"gz\""),
        ("/a.js", "zstd", "plain", "", "text/javascript", "\"v1\""),
        ("/a.js", "", "plain", "", "text/javascript", "\"v1\""),
        ("/", "zstd", "page in zstd", "zstd", "text/html; charset=utf-8", ""),
        ("/", "br", "page", "", "text/html", ""),
    ] {
        for round in 0..3 {
            let answer = get(&site, path, codings).await;
            let field = |name| answer.headers.get(name).map_or("", |value| value.to_str().unwrap());
            assert_eq!((answer.status, answer.text()), (200, content), "{path} {codings} {round}");
            assert_eq!(
                (field("content-encoding"), field("content-type")),
                (coding, content_type),
                "{path} {codings}"
            );
            assert!(varies(&answer), "{path} {codings}");
            assert!(tag.is_empty() || field("etag") == tag, "{path} {codings}");
        }
    }
    assert_eq!(get(&site, "/a.png", "br").await.text(), "picture");
    assert_eq!(site.origin.asked("a.png.br").len(), 0);
    let br = ("accept-encoding", "br");
    let head = site.client.send("HEAD", "/a.js", &[br], Bytes::new()).await;
    assert_eq!((head.field("content-length"), head.field("content-encoding")), ("9", "br"));
    let same = site.client.get_with("/a.js", &[br, ("if-none-match", "\"br\"")]).await;
    assert_eq!((same.status, varies(&same)), (304, true));
    let part = site.client.get_with("/a.js", &[br, ("range", "bytes=0-1")]).await;
    assert_eq!((part.status, part.text(), part.field("etag")), (206, "pl", "\"v1\""));
    let none = get(&site, "/none.js", "br, gzip").await;
    assert_eq!(none.status, 404);
    assert_eq!(site.origin.asked("a.js.zst").len(), 1, "what is not there is remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_beside_an_object_is_not_compressed_again() {
    let site = start("precompressed: true", "").await;
    // As simple tools upload it: with the type of what is packed.
    site.put("a.js", &SCRIPT, "plain");
    site.put("a.js.gz", &SCRIPT, script());
    for _ in 0..20 {
        let answer = get(&site, "/a.js", "br, gzip").await;
        assert_eq!((answer.field("content-encoding"), answer.text()), ("gzip", &*script()));
    }
    let log = site.admin.get("/stats").await.json();
    let counts = &log["buckets"][0];
    assert_eq!(counts["hits"].as_u64().unwrap() + counts["forwards"].as_u64().unwrap(), 20, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_beside_an_object_leaves_the_object() {
    let site = start("precompressed: true, compress: false", "").await;
    site.put("a.js", &SCRIPT, "plain");
    site.store("/a.js").await;
    let failing = yatagarasu_testing::origin::Reply::ok("").of_status(503);
    site.origin.answer("a.js.br", [failing]);
    let answer = get(&site, "/a.js", "br, zstd, gzip").await;
    assert_eq!((answer.status, answer.text(), answer.field("x-cache")), (200, "plain", "HIT"));
    assert_eq!(site.origin.asked("a.js.zst").len(), 0);
}

#[test]
fn what_does_not_fit_is_an_error() {
    for (compression, expected) in [
        (
            "codings: [\"deflate\"]",
            "compression.codings[0]: expected `br`, `zstd` or `gzip`, found `deflate`",
        ),
        ("codings: []", "compression.codings: expected `br`, `zstd` or `gzip`"),
        ("types: [\"text/css; charset=x\"]", "compression.types[0]: expected a media type"),
        ("types: [\"[\"]", "compression.types[0]: expected a media type"),
        ("min_size: \"x\"", "compression.min_size: "),
        (
            "level: 5",
            "compression.level: unknown key: expected one of codings, precompressed, compress, types, min_size",
        ),
    ] {
        let yaml = document(
            "",
            &[format!("  - {{ name: a, path_prefix: /a, compression: {{ {compression} }} }}\n")],
        );
        let found = Config::from_yaml("f.yaml", &yaml, &Environment::default()).unwrap_err().to_string();
        assert!(found.starts_with(&format!("f.yaml: buckets[0].{expected}")), "{compression}: {found}");
    }
}
