//! Tests of what leads to a bucket: hosts, path prefixes, and what stands before keys.

use std::fmt::Write;

use yatagarasu_server::Config;
use yatagarasu_server::config::Environment;
use yatagarasu_testing::client::{Connection, Http2};
use yatagarasu_testing::origin::Origin;

use crate::site::{Site, bucket, document};
use crate::tls::client::TlsClient;
use crate::tls::{Files, tcp};

/// Returns a bucket with further keys.
fn entry(origin: &Origin, name: &str, prefix: &str, keys: &[&str]) -> String {
    let mut entry =
        bucket(&origin.endpoint(), name, prefix, "", "max_item_size: \"1MB\", max_size: \"64MB\"");
    for key in keys {
        writeln!(entry, "    {key}").unwrap();
    }
    entry
}

/// Sends a GET for a host. Returns the status, the content, and whether it was a hit.
async fn get(site: &Site, host: &str, path: &str) -> (u16, String, bool) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let mut client = Connection::send(site.address, request).await;
    let head = client.head().await;
    let length = head.field("content-length").parse().unwrap_or(0);
    let content = String::from_utf8(client.take(length).await).unwrap();
    (head.status, content, head.field("x-cache") == "HIT")
}

async fn sites(with_default: bool) -> Site {
    let origin = Origin::start().await;
    for key in ["k", "www/k", "www/img/k", "sites/a/k", "sites/b/k", "hosts/x.example.net/k"] {
        origin.objects().put(key, &[], key.to_owned());
    }
    let mut buckets = vec![
        entry(
            &origin,
            "www",
            "/",
            &["hosts: [\"www.example.com\", \"example.com\"]", "key_prefix: \"www/\""],
        ),
        entry(&origin, "many", "/", &["hosts: [\"*.example.org\"]", "key_prefix: \"sites/{label}/\""]),
        entry(&origin, "hosts", "/", &["hosts: [\"*.example.net\"]", "key_prefix: \"hosts/{host}/\""]),
    ];
    if with_default {
        buckets.push(entry(&origin, "other", "/", &[]));
    }
    Site::run(origin, &document("", &buckets)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_and_the_path_pick_the_bucket_and_the_key() {
    let site = sites(true).await;
    for (host, path, key) in [
        ("www.example.com", "/k", "www/k"),
        ("example.com:8080", "/img/k", "www/img/k"),
        ("WWW.EXAMPLE.COM.", "/k", "www/k"),
        ("a.example.org", "/k", "sites/a/k"),
        ("b.example.org", "/k", "sites/b/k"),
        ("x.example.net", "/k", "hosts/x.example.net/k"),
        ("a.b.example.org", "/k", "k"),
        ("127.0.0.1", "/k", "k"),
        ("other.example", "/www/k", "www/k"),
    ] {
        // Until it is stored: by the slow path and by the fast one.
        let (status, content, _) = get(&site, host, path).await;
        assert_eq!((status, content.as_str()), (200, key), "{host}{path}");
        loop {
            let (status, content, is_hit) = get(&site, host, path).await;
            assert_eq!((status, content.as_str()), (200, key), "{host}{path}");
            if is_hit {
                break;
            }
        }
    }
    assert_eq!(get(&site, "c.example.org", "/k").await.0, 404);
    let answer = Http2::connect(site.address).await.get("/k").await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "k"), "127.0.0.1 is the authority");
    // An absolute target overrides the field.
    let request = "GET http://a.example.org/k HTTP/1.1\r\nhost: www.example.com\r\n\r\n";
    let mut client = Connection::send(site.address, request).await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.take("sites/a/k".len()).await, b"sites/a/k");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_nobody_serves_are_misdirected() {
    let site = sites(false).await;
    assert_eq!(get(&site, "www.example.com", "/k").await.0, 200);
    for host in [
        "other.example",
        "example.org",
        "a.b.example.org",
        "127.0.0.1",
        "..",
        "..example.org",
        "a%2f..example.net",
    ] {
        let (status, content, _) = get(&site, host, "/k").await;
        assert!(
            status == 421 && content.contains("nothing is served for this host"),
            "{host}: {status} {content}"
        );
    }
    let no_host = Connection::send(site.address, "GET /k HTTP/1.0\r\n\r\n").await.head().await;
    assert_eq!(no_host.status, 421);
    let asked: Vec<_> = site.origin.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_and_statistics_know_hosts() {
    let origin = Origin::start().await;
    origin.objects().put("www/k", &[], "1");
    origin.objects().put("k", &[], "2");
    let buckets = [
        entry(&origin, "www", "/", &["hosts: [\"www.example.com\"]", "key_prefix: \"www/\""]),
        entry(&origin, "other", "/", &[]),
    ];
    let yaml = document("", &buckets).replace("admin: { address", "admin: { token: \"t\", address");
    let site = Site::run(origin, &yaml).await;
    let store = async |host| while !get(&site, host, "/k").await.2 {};
    store("www.example.com").await;
    store("other.example").await;
    let purge = async |host: &str| {
        let request = format!(
            "PURGE /k HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer t\r\nconnection: close\r\n\r\n"
        );
        let answer = Connection::send(site.admin.address(), request).await.end().await;
        String::from_utf8(answer).unwrap()
    };
    let answer = purge("www.example.com").await;
    assert!(answer.trim_end().ends_with("{\"purged\":1}"), "{answer}");
    assert!(!get(&site, "www.example.com", "/k").await.2);
    assert!(get(&site, "other.example", "/k").await.2, "another object");
    store("www.example.com").await;
    // By key it is the key at S3.
    let purged = site.purge("{\"bucket\": \"www\", \"key\": \"www/k\"}").await;
    assert_eq!(purged.json()["purged"], 1);
    let stats = site.admin.get("/stats").await.json();
    assert_eq!(stats["buckets"][0]["hosts"], serde_json::json!(["www.example.com"]));
    assert_eq!(stats["buckets"][1]["hosts"], serde_json::json!([]));
}

/// The certificate is chosen by one name, and the bucket by the other, which is the same for every honest client.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_work_over_tls_and_http2() {
    let (origin, files) = (Origin::start().await, Files::new());
    origin.objects().put("a/k", &[], "of a");
    origin.objects().put("b/k", &[], "of b");
    let certificate = files.make("any", &["*.example.org"]);
    let buckets = [
        entry(&origin, "a", "/", &["hosts: [\"a.example.org\"]", "key_prefix: \"a/\""]),
        entry(&origin, "b", "/", &["hosts: [\"b.example.org\"]", "key_prefix: \"b/\""]),
    ];
    let server = format!("listeners: [{}]", files.listener(&["any"], ""));
    let site = Site::run(origin, &document(&server, &buckets)).await;
    for protocol in [&b"h2"[..], b"http/1.1"] {
        let client = TlsClient::trusting(std::slice::from_ref(&certificate)).offering(&[protocol]);
        for (name, status, content) in
            [("a.example.org", 200, "of a"), ("b.example.org", 200, "of b"), ("c.example.org", 421, "")]
        {
            let answer = client.get(tcp(&site, 1), name, "/k").await.unwrap().response;
            assert_eq!(answer.status, status, "{name}");
            assert!(status != 200 || answer.text() == content, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rewritten_paths_lead_to_other_objects_or_redirect() {
    let origin = Origin::start().await;
    for key in ["static/new/a b", "static/k", "www/k"] {
        origin.objects().put(key, &[], key.to_owned());
    }
    let rules = "rewrite: [{ from: \"/static/old/{rest}\", to: \"/static/new/{rest}\" }, \
                 { from: \"/static/moved/{year}/{name}.html\", to: \"/blog/{name}?y={year}\", status: 302 }, \
                 { from: \"/static/shop/{rest}\", to: \"https://shop.example/{rest}\", status: \"308\" }, \
                 { from: \"/static/fixed\", to: \"/static/k\", status: none }]";
    let kept = entry(&origin, "kept", "/static", &["strip_prefix: false", rules]);
    let site = Site::run(origin, &document("", &[kept])).await;
    for (path, key) in
        [("/static/old/a%20b", "static/new/a b"), ("/static/fixed", "static/k"), ("/static/k", "static/k")]
    {
        while !get(&site, "any", path).await.2 {}
        let (status, content, _) = get(&site, "any", path).await;
        assert_eq!((status, content.as_str()), (200, key), "{path}");
    }
    assert_eq!(site.origin.asked("static/k").len(), 1, "two paths of one object");
    for (path, status, location) in [
        ("/static/moved/2020/a%22b.html", 302, "/blog/a%22b?y=2020"),
        ("/static/moved/2020/a.html?q", 302, "/blog/a?y=2020"),
        ("/static/shop//evil/?q=1", 308, "https://shop.example//evil/?q=1"),
        ("/static/shop/", 308, "https://shop.example/"),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = site.client.send(method, path, &[], bytes::Bytes::new()).await;
            assert_eq!((answer.status, answer.field("location")), (status, location), "{method} {path}");
            assert!(!answer.field("x-request-id").is_empty(), "{path}");
        }
    }
    assert_eq!(get(&site, "any", "/static/moved/2020/a/b.html").await.0, 404);
    assert_eq!(get(&site, "any", "/static/shop/../k").await.0, 400);
}

/// Returns the errors of a configuration with these buckets.
fn errors(buckets: &[&str]) -> Result<(), String> {
    let buckets: Vec<_> =
        buckets.iter().map(|keys| format!("  - {{ path_prefix: \"/a/\", {keys} }}\n")).collect();
    let loaded = Config::from_yaml("f.yaml", &document("", &buckets), &Environment::default());
    loaded.map(|_| ()).map_err(|errors| errors.to_string())
}

/// Checks that each of these keys of a bucket leads to an error that begins so.
#[track_caller]
fn check_errors(cases: &[(&str, &str)]) {
    for (keys, expected) in cases {
        let found = errors(&[&format!("name: a, {keys}")]).unwrap_err();
        assert!(found.starts_with(&format!("f.yaml: {expected}")), "{keys}: {found}");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    check_errors(&[
        (
            "hosts: [\"https://a\"]",
            "buckets[0].hosts[0]: expected a host without `https://`; found `https://a`",
        ),
        ("hosts: [\"a\", \"a:80\"]", "buckets[0].hosts[1]: expected a host without a port; found `a:80`"),
        ("hosts: [\"a.*.b\"]", "buckets[0].hosts[0]: expected `*` as the first label only"),
        (
            "key_prefix: \"/a/\"",
            "buckets[0].key_prefix: expected a folder with a `/` at its end such as \"sites/www/\", found `/a/`",
        ),
        ("key_prefix: \"a/../b/\"", "buckets[0].key_prefix: expected a folder with a `/` at its end"),
        ("key_prefix: \"sites\"", "buckets[0].key_prefix: expected a folder with a `/` at its end"),
        (
            "response_headers: { keys: \"*\", set: { ETag: x } }",
            "buckets[0].response_headers.set.ETag: `etag` is the gateway's or the object's own",
        ),
        (
            "compression: {}, response_headers: { keys: \"*\", set: { Content-Encoding: gzip } }",
            "buckets[0].response_headers.set.Content-Encoding: `content-encoding` is the gateway's",
        ),
        ("hosts: [\"::1\"]", "buckets[0].hosts[0]: expected an address in brackets, such as `[::1]`"),
        ("key_prefix: \"a}/\"", "buckets[0].key_prefix: expected `{` before `}`"),
        ("key_prefix: \"{name}/\"", "buckets[0].key_prefix: expected `{host}` or `{label}`, found `{name}`"),
        (
            "key_prefix: \"{label}/\"",
            "buckets[0].key_prefix: `{label}` is what the `*` in `hosts` stands for",
        ),
        ("hosts: [\"*.a\", \"b.a\"], key_prefix: \"{label}/\"", "buckets[0].key_prefix: `{label}` is"),
    ]);
}

#[test]
fn rewrites_that_cannot_be_are_errors() {
    check_errors(&[
        (
            "rewrite: { from: \"/b/{x}\", to: \"/a/\" }",
            "buckets[0].rewrite.from: expected a path below `/a/`, which is the bucket's; found `/b/{x}`",
        ),
        (
            "rewrite: [{ from: \"/a/b\", to: \"/b\" }, {}]",
            "buckets[0].rewrite[0].to: expected a path below `/a/`, which is the bucket's; found `/b`: set `status`",
        ),
        (
            "rewrite: [{ from: \"/a/b\", to: \"/a/c\" }, {}]",
            "buckets[0].rewrite[1].from: expected a path such as",
        ),
        ("rewrite: { from: \"/a/b\", to: \"/{x}\" }", "buckets[0].rewrite.to: `{x}` is not in `from`"),
        (
            "rewrite: { from: \"/a/b\", to: \"/a/b?c\", status: 301 }",
            "buckets[0].rewrite: redirects without an end: `/a/b` leads to `/a/b?c`, and on",
        ),
        (
            "hosts: [w.example], rewrite: { from: \"/a/{b}\", to: \"https://w.example/a/{b}\", status: 301 }",
            "buckets[0].rewrite: redirects without an end: `/a/{b}` leads to `https://w.example/a/{b}`, and on",
        ),
        (
            "rewrite: { from: \"/a/b\", to: \"/\", status: 200 }",
            "buckets[0].rewrite.status: expected `none`, `301`, `302`",
        ),
        (
            "rewrite: { from: \"/a/b?c=1\", to: \"/a/c\" }",
            "buckets[0].rewrite.from: expected a path without a query or a fragment; found `/a/b?c=1`",
        ),
        (
            "rewrite: { from: \"/a/b%20c\", to: \"/a/c\" }",
            "buckets[0].rewrite.from: expected a path that is not escaped; found `/a/b%20c`",
        ),
        (
            "rewrite: { from: \"/a/b\", to: \"/a/c?d\" }",
            "buckets[0].rewrite.to: expected a path without a query or a fragment, which no `status` redirects to",
        ),
        (
            "rewrite: { from: \"/a/b\", to: \"/a/../c\" }",
            "buckets[0].rewrite.to: expected a path without `.` and `..`, which no `status` redirects to",
        ),
        (
            "rewrite: [{ from: \"/a/b\", to: \"/a/c\" }, { from: \"/a/b\", to: \"/a/d\" }]",
            "buckets[0].rewrite[1].from: `/a/b` is taken by a rule before",
        ),
    ]);
}

#[test]
fn two_buckets_have_not_the_same_place() {
    for (first, second, expected) in [
        ("", "", Some("buckets[1].path_prefix: `/a` is taken by buckets[0] already")),
        (
            "hosts: [x, y]",
            "hosts: [z, Y]",
            Some("buckets[1].path_prefix: `/a` is taken by buckets[0] already for the host `y`"),
        ),
        ("hosts: [x]", "", None),
        ("hosts: [x]", "hosts: [\"*.x\"]", None),
    ] {
        let found = errors(&[&format!("name: a, {first}"), &format!("name: b, {second}")]);
        match expected {
            None => assert_eq!(found, Ok(()), "{first} {second}"),
            Some(expected) => assert_eq!(found, Err(format!("f.yaml: {expected}")), "{first} {second}"),
        }
    }
}

const MANUAL: &str = include_str!("../../../docs/src/routing.md");

/// The configurations of the page on routing are loaded and run, and each request of the table below one gets what the table
/// says.
#[tokio::test(flavor = "multi_thread")]
async fn each_request_on_the_page_gets_what_it_says() {
    let mut requests = 0;
    for block in MANUAL.split("```yaml\n").skip(1) {
        let (yaml, rest) = block.split_once("```").unwrap();
        let rows =
            rest.lines().skip_while(|line| !line.starts_with("| `")).take_while(|line| line.starts_with('|'));
        let origin = Origin::start().await;
        let source = bucket(&origin.endpoint(), "x", "/x", "", "");
        let source = source.lines().find_map(|line| line.trim().strip_prefix("s3: ")).unwrap();
        let yaml = yaml.replace("{ bucket: \"websites\" }", source);
        let yaml = match yaml.strip_prefix("server:\n") {
            Some(rest) => format!("server:\n  address: \"127.0.0.1:0\"\n{rest}"),
            None => format!("server: {{ address: \"127.0.0.1:0\" }}\n{yaml}"),
        };
        let site = Site::run(origin, &format!("admin: {{ address: \"127.0.0.1:0\" }}\n{yaml}")).await;
        for row in rows {
            let cells: Vec<_> =
                row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let [url, name, expected] = *cells.as_slice() else { panic!("{row}") };
            let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
            if name != "none" {
                site.put(expected, &[], expected.to_owned());
            }
            let answer = site.client.get_with(&format!("/{path}"), &[("host", host)]).await;
            let location = answer.headers.get("location").map(|value| value.to_str().unwrap());
            match expected.split_once(" to `") {
                _ if name != "none" => assert_eq!((answer.status, answer.text()), (200, expected), "{row}"),
                Some((status, to)) => {
                    assert_eq!((answer.status.to_string().as_str(), location), (status, Some(to)), "{row}");
                }
                None => assert_eq!(answer.status.to_string(), expected, "{row}"),
            }
            let asked = serde_json::json!({ "url": url }).to_string();
            let json = [("content-type", "application/json")];
            let found = site.admin.send("POST", "/explain", &json, asked.into()).await.json();
            let is = |field: &str| found[field]["is"].as_str().unwrap_or("none").to_owned();
            let key = if name == "none" { "none" } else { expected };
            assert_eq!((is("bucket").as_str(), is("key").as_str()), (name, key), "{row}: {found}");
            requests += 1;
        }
    }
    assert_eq!(requests, 21);
}
