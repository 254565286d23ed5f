//! Tests of `POST /explain`: what a request would get, without a request to S3.

use serde_json::{Value, json};
use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::Origin;

use crate::site::{Site, bucket, document};

/// Starts a gateway with a website for a host, and a bucket without a cache.
async fn start() -> Site {
    let origin = Origin::start().await;
    for (key, content) in [
        ("www/index.html", "home"),
        ("www/_redirects", "/gone /index.html 302!\n/moved https://b.example/\nbad\n/* /x 999\n/p /q\n/q /p"),
        ("www/_headers", "/*\n  X-A: 1\n  Date: now"),
    ] {
        origin.objects().put(key, &[("cache-control", "max-age=60, stale-if-error=5")], content);
    }
    let cache = "max_item_size: \"1MB\", max_size: \"64MB\", ttl: \"7m\", stale_if_error: \"0\"";
    let mut www = bucket(
        &origin.endpoint(),
        "www",
        "/",
        "forward_query: [\"v\"], request_headers: { X-B: s3cret }",
        cache,
    );
    www.push_str(
        "    hosts: [\"www.example.com\"]\n    key_prefix: \"www/\"\n    rewrite: [{ from: \"/a/{b}\", to: \"/b/{b}\" }, { \
         from: \"/c\", to: \"/d\", status: 308 }]\n    site: { clean_urls: true, spa: \"app.html\", redirects: \"_redirects\", \
         headers: \"_headers\" }\n",
    );
    let data = bucket(&origin.endpoint(), "data", "/data", "", "enabled: false");
    let server = "health_path: \"/up\", answers: [{ path: \"/robots.txt\", content: \"x\" }]";
    Site::run(origin, &document(server, &[www, data])).await
}

async fn explain(site: &Site, asked: &Value) -> Value {
    let answer = ask(site, asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn ask(site: &Site, asked: &Value) -> Response {
    let fields = [("content-type", "application/json")];
    site.admin.send("POST", "/explain", &fields, asked.to_string().into()).await
}

fn www(path: &str) -> Value {
    json!({ "url": format!("http://www.example.com{path}") })
}

#[tokio::test]
async fn bucket_key_decision_and_request_are_those_of_the_request() {
    let site = start().await;
    let before = site.admin.get("/stats").await.text().to_owned();
    let found = explain(&site, &www("/a/x y?v=1&w=2")).await;
    assert_eq!(found["request"], "GET http://www.example.com/a/x y?v=1&w=2");
    assert!(found["listener"]["because"].as_str().unwrap().contains("without TLS"), "{found}");
    assert_eq!(found["bucket"]["is"], "www");
    assert_eq!(found["key"]["is"], "www/b/x y");
    assert!(
        found["key"]["because"].as_str().unwrap().contains("rewritten to `/b/x y`, behind `www/`"),
        "{found}"
    );
    assert_eq!(found["decision"]["is"], "fill");
    assert_eq!(found["s3"]["url"], format!("{}/bucket/www/b/x%20y?v=1", site.origin.endpoint()));
    assert_eq!(found["lifetime"]["is"], "420 s");
    assert_eq!((&found["stored"], found["rules"][0]["rules"].is_null()), (&Value::Null, true));
    let notes = found["notes"].to_string();
    for note in [
        "`www/b/x y.html` (`site.clean_urls`)",
        "`app.html` for browsers",
        "`x-b` (`s3.request_headers`)",
        "has the port 80",
    ] {
        assert!(notes.contains(note), "{note}: {notes}");
    }
    assert!(!found.to_string().contains("s3cret"), "{found}");
    let part = json!({ "url": "/data/k", "method": "HEAD", "headers": [["Range", "bytes=0-1"], ["If-Match", "\"e\""]] });
    let found = explain(&site, &part).await;
    assert_eq!((&found["bucket"]["is"], &found["decision"]["is"]), (&json!("data"), &json!("pass")));
    assert_eq!(found["s3"]["method"], "HEAD");
    assert_eq!(found["s3"]["headers"], json!({ "if-match": "\"e\"" }));
    assert_eq!(found["lifetime"]["is"], "none");
    assert!(site.origin.requests().is_empty(), "S3 is asked nothing");
    assert_eq!(site.admin.get("/stats").await.text(), before, "nothing is counted");
}

#[tokio::test]
async fn what_is_stored_and_the_rules_that_were_read_are_shown() {
    let site = start().await;
    let host = [("host", "www.example.com")];
    while site.client.get_with("/", &host).await.field("x-cache") != "HIT" {}
    let asked = site.origin.requests().len();
    let found = explain(&site, &www("/")).await;
    assert_eq!(found["decision"]["is"], "serve");
    let stored = &found["stored"];
    assert_eq!((&stored["content"], &stored["bytes"]), (&json!("object"), &json!(4)));
    assert_eq!((&stored["lifetime"], &stored["stale_if_error"]), (&json!(60), &json!(5)));
    assert!(stored["fresh_for"].as_u64().unwrap() <= 60 && stored["stale_for"].is_null());
    let redirects = &found["rules"][0];
    assert_eq!((&redirects["key"], &redirects["rules"]), (&json!("www/_redirects"), &json!(4)));
    assert_eq!((&redirects["left_out"][0][0], &redirects["left_out"][1][0]), (&json!(3), &json!(4)));
    assert_eq!(redirects["endless"], json!([5, 6]));
    let fields = &found["rules"][1];
    assert_eq!((&fields["matching"], &fields["left_out"][0][0]), (&json!([1]), &json!(3)));
    let validated = json!({ "url": "http://www.example.com/", "headers": [["Cache-Control", "no-cache"]] });
    let found = explain(&site, &validated).await;
    assert_eq!(found["decision"]["is"], "fill");
    assert!(found["s3"]["headers"]["if-none-match"].is_string(), "{found}");
    let only = json!({ "url": "http://www.example.com/x", "headers": [["Cache-Control", "only-if-cached"]] });
    let found = explain(&site, &only).await;
    assert_eq!((&found["decision"]["is"], &found["status"]), (&json!("refuse"), &json!(504)));
    let found = explain(&site, &www("/moved")).await;
    assert!(
        found["notes"]
            .to_string()
            .contains("by line 2 of the website's redirects, 301 to `https://b.example/`"),
        "{found}"
    );
    assert_eq!(site.origin.requests().len(), asked, "S3 is asked nothing");
}

#[tokio::test]
async fn what_a_website_makes_of_what_is_stored_is_explained() {
    let origin = Origin::start().await;
    origin.objects().put("old", &[("x-amz-website-redirect-location", "/new")], "");
    origin.objects().put("404.html", &[], "nothing");
    let cache = "max_item_size: \"1MB\", max_size: \"64MB\", negative_ttl: \"1h\"";
    let mut www = bucket(&origin.endpoint(), "www", "/app", "", cache);
    www.push_str("    site: { listing: html, not_found: \"404.html\" }\n");
    let site = Site::run(origin, &document("", &[www])).await;
    site.store("/app/old").await;
    let answer = site.client.get("/app/old").await;
    let found = explain(&site, &json!({ "url": "/app/old" })).await;
    assert_eq!((answer.status, answer.field("location")), (301, "/app/new"));
    assert_eq!(
        (&found["decision"]["is"], &found["status"], &found["location"]),
        (&json!("redirect"), &json!(301), &json!("/app/new"))
    );
    assert_eq!(site.client.get("/app/none").await.text(), "nothing");
    let found = explain(&site, &json!({ "url": "/app/none" })).await;
    assert_eq!((&found["decision"]["is"], &found["status"]), (&json!("instead"), &Value::Null));
    let notes = found["notes"].to_string();
    assert!(notes.contains("if there is `none/index.html` or the folder has objects"), "{notes}");
    assert!(notes.contains("`404.html` with 404"), "{notes}");
}

#[tokio::test]
async fn what_is_for_no_object_is_explained_as_it_is_answered() {
    let site = start().await;
    let host = [("host", "www.example.com")];
    site.client.get_with("/", &host).await;
    for (asked, decision, status, location) in [
        (www("/c?x"), "redirect", Some(308), Some("/d?x")),
        (www("/gone"), "redirect", Some(302), Some("/index.html")),
        (www("/_headers"), "not_found", Some(404), None),
        (www("/robots.txt"), "own_answer", Some(200), None),
        (www("/up"), "own_answer", None, None),
        (www("/../x"), "refuse", Some(400), None),
        (json!({ "url": "http://nobody.example/" }), "refuse", Some(404), None),
        (json!({ "url": "http://www.example.com/", "method": "POST" }), "refuse", Some(405), None),
        (json!({ "url": "http://www.example.com/", "method": "OPTIONS" }), "own_answer", Some(204), None),
        (
            json!({ "url": "/data/k", "method": "OPTIONS", "headers": [["Origin", "https://a"], ["Access-Control-Request-Method", "GET"]] }),
            "preflight",
            None,
            None,
        ),
    ] {
        let found = explain(&site, &asked).await;
        assert_eq!(found["decision"]["is"], decision, "{asked}: {found}");
        assert_eq!(
            (found["status"].as_u64(), found["location"].as_str()),
            (status, location),
            "{asked}: {found}"
        );
    }
    let found = explain(&site, &json!({ "url": "http://nobody.example/" })).await;
    assert!(
        found["notes"].to_string().contains("the bucket `www` is for `/` of `www.example.com`"),
        "{found}"
    );
}

#[tokio::test]
async fn content_codings_are_explained() {
    let origin = Origin::start().await;
    let mut entry = bucket(
        &origin.endpoint(),
        "a",
        "/",
        "",
        "negative_ttl: \"1m\", max_size: \"64MB\", max_item_size: \"1MB\"",
    );
    entry.push_str("    compression: { precompressed: true }\n");
    let site = Site::run(origin, &document("", &[entry])).await;
    for (path, codings, note) in [
        ("/a.js", "gzip, br", "before it, `a.js.br`, then `a.js.gz` (`compression.precompressed`)"),
        ("/a", "br", "in `br` once that has been made"),
    ] {
        let found = explain(&site, &json!({ "url": path, "headers": [["Accept-Encoding", codings]] })).await;
        assert!(found["notes"].to_string().contains(note), "{found}");
    }
    assert!(!explain(&site, &json!({ "url": "/a.js" })).await.to_string().contains("before it"));
    while site.client.get("/none").await.field("x-cache") != "HIT" {}
    let found = explain(&site, &json!({ "url": "/none" })).await;
    assert_eq!((&found["stored"]["content"], &found["status"]), (&json!("error"), &json!(404)));
}

#[tokio::test]
async fn what_is_no_request_is_refused_with_advice() {
    let site = start().await;
    for (asked, expected) in [
        (json!({ "url": "ftp://a/" }), "expected a URL such as"),
        (json!({ "url": "" }), "expected a URL such as"),
        (json!({ "url": "/a", "method": "G ET" }), "is no method"),
        (json!({ "url": "/a", "headers": [["a b", "c"]] }), "is no name of a header field"),
        (json!({ "url": "/a", "headers": [["a", "\n"]] }), "is no value of a header field"),
        (json!({ "uri": "/a" }), r#"expected {\"url\": URL}"#),
    ] {
        let answer = ask(&site, &asked).await;
        assert!(answer.status == 400 && answer.text().contains(expected), "{asked}: {}", answer.text());
    }
    assert_eq!(site.admin.get("/explain").await.status, 405);
    assert_eq!(site.admin.send("POST", "/explain", &[], "{}".into()).await.status, 415);
}
