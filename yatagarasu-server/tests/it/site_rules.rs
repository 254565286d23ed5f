//! Tests of the rules that a website brings with it: redirects and header fields.

use std::fmt::Write;

use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::{Origin, Reply};

use crate::site::{Site, bucket, document};

const PAGE: (&str, &str) = ("content-type", "text/html");

const PROBLEM: &str = "application/problem+json";

const REDIRECTS: &str = "# moved
/old/* /new/:splat
/there /index.html
/first /index.html 302!
/posts/:year/:slug /:slug-:year.html 308
/away https://b.example/x?y=1 307
/app/* /app.html 200
/gone /gone.html 410
/nothing/* /404.html 404
/broken
/folder-of /docs/ 200
";

const FIELDS: &str = "/*
  X-Frame-Options: DENY
  ! x-amz-meta-secret
/app.js
  Cache-Control: public, max-age=31536000, immutable
/files/*
  Cache-Control: max-age=9
  Content-Type: text/x
  X-File: 1
";

/// Starts a gateway with a website with rules, and further keys of its bucket.
async fn website(path_prefix: &str, bucket_keys: &str) -> Site {
    let origin = Origin::start().await;
    for key in ["index.html", "there", "first", "app.html", "gone.html", "404.html", "docs/index.html"] {
        origin.objects().put(key, &[PAGE, ("x-amz-meta-secret", "1")], key.to_owned());
    }
    origin.objects().put("app.js", &[("content-type", "text/javascript")], "js");
    origin.objects().put("_redirects", &[], REDIRECTS);
    origin.objects().put("_headers", &[], FIELDS);
    let cache = "max_item_size: \"1MB\", max_size: \"64MB\", negative_ttl: \"1m\", stale_if_error: \"0\"";
    let mut entry = bucket(&origin.endpoint(), "www", path_prefix, "", cache);
    entry.push_str(
        "    site: { not_found: \"404.html\", redirects: \"_redirects\", headers: \"_headers\" }\n",
    );
    writeln!(entry, "    {bucket_keys}").unwrap();
    Site::run(origin, &document("", &[entry])).await
}

async fn get(site: &Site, path: &str) -> Response {
    site.client.get(path).await
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_lead_where_their_lines_say() {
    let site = website("/", "").await;
    for (path, status, location) in [
        ("/old/a%20b/c?x=1", 301, "/new/a%20b/c?x=1"),
        ("/old", 301, "/new/"),
        ("/first", 302, "/index.html"),
        ("/./first", 302, "/index.html"),
        ("/posts/2020/a", 308, "/a-2020.html"),
        ("/away?z", 307, "https://b.example/x?y=1"),
    ] {
        for method in ["GET", "HEAD", "GET"] {
            let answer = site.client.send(method, path, &[], bytes::Bytes::new()).await;
            assert_eq!((answer.status, answer.field("location")), (status, location), "{method} {path}");
        }
    }
    for (path, status, content) in [
        ("/there", 200, "there"),
        ("/app/x/y", 200, "app.html"),
        ("/folder-of", 200, "docs/index.html"),
        ("/gone", 410, "gone.html"),
        ("/nothing/x", 404, "404.html"),
        ("/broken", 404, "404.html"),
        ("/none", 404, "404.html"),
        // As at static hosts, the rules are no pages.
        ("/_redirects", 404, "404.html"),
        ("/_headers", 404, "404.html"),
    ] {
        for _ in 0..2 {
            let answer = get(&site, path).await;
            assert_eq!((answer.status, answer.text()), (status, content), "{path}");
        }
    }
    let part = site.client.get_with("/app/x", &[("range", "bytes=0-2")]).await;
    assert_eq!((part.status, part.text()), (206, "app"));
    let part = site.client.get_with("/gone", &[("range", "bytes=0-2")]).await;
    assert_eq!((part.status, part.text()), (410, "gone.html"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_with_a_mark_goes_before_a_stored_object() {
    let site = website("/", "").await;
    assert_eq!(get(&site, "/there").await.status, 200);
    site.store("/there").await;
    site.put("_redirects", &[], "/there /index.html 302!\n");
    reread(&site, "/there", 302).await;
    // The page of the website stays while S3 cannot be asked for it, and so do its rules.
    site.origin.decide(|_| Some(Reply::ok("").of_status(503)));
    site.purge("{\"all\": true}").await;
    for _ in 0..3 {
        assert_eq!(get(&site, "/there").await.status, 302);
    }
}

/// Purges what is stored and asks until the rules have been read again.
async fn reread(site: &Site, path: &str, status: u16) {
    site.purge("{\"all\": true}").await;
    let begun = tokio::time::Instant::now();
    while get(site, path).await.status != status {
        assert!(begun.elapsed() < yatagarasu_testing::PATIENCE, "the rules are not read again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_paths_of_rules_begin_at_the_root_of_the_website() {
    for keys in ["", "strip_prefix: true"] {
        let site = website("/caf\u{e9}/x", keys).await;
        let answer = get(&site, "/caf%C3%A9/x/old/a").await;
        assert_eq!((answer.status, answer.field("location")), (301, "/caf%C3%A9/x/new/a"));
        let answer = get(&site, "/caf%C3%A9/x/first").await;
        assert_eq!((answer.status, answer.field("location")), (302, "/caf%C3%A9/x/index.html"));
        assert_eq!(get(&site, "/caf%C3%A9/x/away").await.field("location"), "https://b.example/x?y=1");
        assert_eq!(get(&site, "/caf%C3%A9/x/app/x").await.text(), "app.html");
        let answer = get(&site, "/caf%C3%A9/x/app.js").await;
        assert!(answer.field("cache-control").contains("immutable"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_may_have_the_prefix_of_the_paths() {
    let site = website("/docs", "strip_prefix: false").await;
    assert_eq!(get(&site, "/docs/").await.text(), "docs/index.html");
    site.put("docs/app.html", &[PAGE], "docs/app.html");
    assert_eq!(get(&site, "/docs/app/x").await.text(), "docs/app.html");
    assert_eq!(get(&site, "/docs/old/x").await.field("location"), "/docs/new/x");
}

/// Browsers would keep for a year that there is nothing.
#[tokio::test(flavor = "multi_thread")]
async fn no_error_is_kept_as_long_as_files_are() {
    let rules =
        "download: true\n    response_headers: [{ keys: \"*\", set: { Expires: \"0\", X-All: \"1\" } }]";
    let site = website("/", rules).await;
    let out_of_order = Reply::status(503);
    site.origin.decide(move |request| request.target.contains("/down").then(|| out_of_order.clone()));
    for (path, field, status, content_type) in [
        ("/app.js", ("range", "bytes=100-"), 416, PROBLEM),
        ("/app.js", ("if-match", "\"q\""), 412, PROBLEM),
        ("/files/none?download", ("accept", "*/*"), 404, "text/x"),
        ("/files/down", ("accept", "*/*"), 503, PROBLEM),
    ] {
        let answer = site.client.get_with(path, &[field]).await;
        assert_eq!((answer.status, answer.field("content-type")), (status, content_type), "{path}");
        assert_eq!((answer.field("cache-control"), answer.field("expires")), ("no-store", ""), "{path}");
        assert_eq!(answer.field("content-disposition"), "", "{path}");
        assert_eq!(answer.field("x-all"), "1", "other fields are on errors, too: {path}");
    }
    let found = get(&site, "/app.js?download").await;
    assert_eq!((found.status, found.field("expires")), (200, "0"));
    assert_eq!(found.field("cache-control"), "public, max-age=31536000, immutable");
    assert!(found.field("content-disposition").starts_with("attachment"));
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_those_of_all_rules_for_a_path() {
    let site = website("/", "").await;
    for (path, status) in
        [("/", 200), ("/app.js", 200), ("/none", 404), ("/app/x", 200), ("/gone", 410), ("/old/x", 301)]
    {
        for _ in 0..3 {
            let answer = get(&site, path).await;
            assert_eq!((answer.status, answer.field("x-frame-options")), (status, "DENY"), "{path}");
            assert!(answer.headers.get("x-amz-meta-secret").is_none(), "{path}");
            let lasts = answer.field("cache-control").contains("immutable");
            assert_eq!(lasts, path == "/app.js", "{path}");
        }
    }
    site.store("/app.js").await;
    let answer = get(&site, "/app.js").await;
    assert!(
        answer.field("cache-status").contains("hit") && answer.field("cache-control").contains("immutable")
    );
    site.put("_headers", &[], "/app.js\n  X-New: 1\n");
    site.put("_redirects", &[], "/first /other 303!\n");
    reread(&site, "/first", 303).await;
    let begun = tokio::time::Instant::now();
    while get(&site, "/app.js").await.field("x-new") != "1" {
        assert!(begun.elapsed() < yatagarasu_testing::PATIENCE, "the fields are not read again");
    }
    site.store("/there").await;
    assert!(get(&site, "/there").await.headers.get("x-frame-options").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_host_has_rules_of_its_own() {
    let origin = Origin::start().await;
    for (key, content) in [("a/_redirects", "/x /of-a"), ("b/_redirects", "/x /of-b"), ("c/index.html", "c")]
    {
        origin.objects().put(key, &[], content);
    }
    let cache = "max_item_size: \"1MB\", max_size: \"64MB\", stale_if_error: \"0\"";
    let mut entry = bucket(&origin.endpoint(), "www", "/", "", cache);
    entry.push_str(
        "    hosts: [\"*.example\"]\n    key_prefix: \"{label}/\"\n    site: { redirects: \"_redirects\" }\n",
    );
    let site = Site::run(origin, &document("", &[entry])).await;
    for (host, location) in [("a.example", "/of-a"), ("b.example:80", "/of-b"), ("c.example", "")] {
        for _ in 0..2 {
            let answer = site.client.get_with("/x", &[("host", host)]).await;
            assert_eq!(
                answer.headers.get("location").map_or("", |to| to.to_str().unwrap()),
                location,
                "{host}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_what_rules_may_forbid_while_they_cannot_be_read() {
    let site = website("/", "").await;
    site.origin.answer("_redirects", [Reply::ok("").of_status(500)]);
    for _ in 0..3 {
        assert_eq!(get(&site, "/there").await.status, 502);
    }
    let cached = [("cache-control", "only-if-cached")];
    assert_eq!(site.client.get_with("/there", &cached).await.status, 504);
    site.origin.answer("_redirects", [Reply::ok("/there /index.html 302!\n")]);
    reread(&site, "/there", 302).await;
    assert_eq!(site.client.get_with("/there", &cached).await.status, 302, "a rule needs no object");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_s3_refuses_are_none() {
    let site = website("/", "").await;
    // Without the right to list the bucket, S3 says so of what is not there.
    let refused = Reply::ok("<Error><Code>AccessDenied</Code></Error>").of_status(403);
    site.origin.answer("_headers", [refused.with("content-type", "application/xml")]);
    assert_eq!(get(&site, "/there").await.status, 200);
    assert_eq!(get(&site, "/first").await.status, 302);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_rule_that_cannot_be_had_is_no_other_page() {
    let site = website("/", "").await;
    site.origin.answer("gone.html", [Reply::ok("").of_status(500)]);
    assert_eq!(get(&site, "/gone").await.status, 502);
    site.origin.answer("gone.html", [Reply::ok("").of_status(404)]);
    site.purge("{\"all\": true}").await;
    assert_eq!(get(&site, "/gone").await.status, 410);
    site.put("_redirects", &[], "/raw/* /:splat 200\n/first /new 303!\n");
    reread(&site, "/first", 303).await;
    assert_eq!(get(&site, "/raw/there").await.text(), "there");
    assert_eq!(get(&site, "/raw/_redirects").await.status, 404, "rules are no pages");
}
