//! Tests of buckets that are websites: pages of folders, clean URLs, applications in the browser, and pages for what is
//! not there.

use std::fmt::Write;

use yatagarasu_server::Config;
use yatagarasu_server::config::Environment;
use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::{Origin, Reply};

use crate::site::{Site, bucket, document};
use crate::tls::Files;
use crate::tls::client::TlsClient;

const PAGE: (&str, &str) = ("content-type", "text/html");

/// What a browser sends when it goes to a page.
const NAVIGATION: [(&str, &str); 1] = [("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")];

/// Starts a gateway with a website under `/` and another one under `/docs`, with these keys of `site`.
async fn website(site: &str) -> Site {
    let origin = Origin::start().await;
    for key in [
        "index.html",
        "about.html",
        "a/index.html",
        "a/b.html",
        "app.js",
        "404.html",
        "app.html",
        "docs/index.html",
    ] {
        origin.objects().put(key, &[PAGE], key.to_owned());
    }
    // The marker of a folder, as some tools make it.
    origin.objects().put("a/", &[], "");
    let cache = "max_item_size: \"1MB\", max_size: \"64MB\", negative_ttl: \"1m\"";
    let mut root = bucket(&origin.endpoint(), "www", "/", "", cache);
    writeln!(root, "    site: {{ {site} }}").unwrap();
    let mut docs = bucket(&origin.endpoint(), "docs", "/docs", "", cache);
    docs.push_str("    site: {}\n    key_prefix: \"docs/\"\n    hosts: [\"docs.example\"]\n");
    let yaml = document("", &[root, docs]);
    Site::run(origin, &yaml).await
}

async fn get(site: &Site, path: &str) -> Response {
    site.client.get(path).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_its_page_and_a_path_without_the_slash_leads_there() {
    let site = website("").await;
    for (path, key) in
        [("/", "index.html"), ("/a/", "a/index.html"), ("/a/b.html", "a/b.html"), ("/app.js", "app.js")]
    {
        for _ in 0..3 {
            let answer = get(&site, path).await;
            assert_eq!((answer.status, answer.text()), (200, key), "{path}");
        }
        site.store(path).await;
    }
    for (path, location) in [("/a", "/a/"), ("/a?b=c&d", "/a/?b=c&d"), ("/%61", "/%61/")] {
        for _ in 0..2 {
            let answer = get(&site, path).await;
            assert_eq!((answer.status, answer.field("location")), (301, location), "{path}");
        }
    }
    let head = site.client.send("HEAD", "/a", &[], bytes::Bytes::new()).await;
    assert_eq!((head.status, head.field("location")), (301, "/a/"));
    for path in ["/none", "/none/", "/about", "//a", "/a/b", "/a/index.html/"] {
        let answer = get(&site, path).await;
        assert_eq!(
            (answer.status, answer.field("content-type")),
            (404, "application/problem+json"),
            "{path}"
        );
    }
    let docs = [("host", "docs.example")];
    let answer = site.client.get_with("/docs/", &docs).await;
    assert_eq!((answer.status, answer.text()), (200, "docs/index.html"));
    let answer = site.client.get_with("/docs?x", &docs).await;
    assert_eq!((answer.status, answer.field("location")), (301, "/docs/?x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_or_none_is_the_page_of_a_folder() {
    let site = website("index: \"b.html\"").await;
    assert_eq!(get(&site, "/a/").await.text(), "a/b.html");
    assert_eq!(get(&site, "/").await.status, 404);
    let site = website("index: \"\"").await;
    assert_eq!(get(&site, "/a/").await.status, 200, "the marker");
    assert_eq!((get(&site, "/a").await.status, get(&site, "/").await.status), (404, 404));
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_urls_are_pages_with_their_ranges_and_conditions() {
    let site = website("clean_urls: true").await;
    for (path, key) in [("/about", "about.html"), ("/a/b", "a/b.html"), ("/about.html", "about.html")] {
        for _ in 0..2 {
            let answer = get(&site, path).await;
            assert_eq!((answer.status, answer.text()), (200, key), "{path}");
        }
    }
    let part = site.client.get_with("/about", &[("range", "bytes=0-4")]).await;
    assert_eq!((part.status, part.text()), (206, "about"));
    let tag = part.field("etag").to_owned();
    assert_eq!(site.client.get_with("/about", &[("if-none-match", &tag)]).await.status, 304);
    assert_eq!(get(&site, "/a").await.status, 301);
    assert_eq!((get(&site, "/about/").await.status, get(&site, "/none").await.status), (404, 404));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_has_a_page_with_its_status() {
    let site = website("not_found: \"404.html\"").await;
    for path in ["/none", "/none/", "/none.css", "/a/none"] {
        for fields in
            [&[][..], &[("range", "bytes=0-1")], &[("if-none-match", "*")], &[("if-match", "\"x\"")]]
        {
            let answer = site.client.get_with(path, fields).await;
            assert_eq!((answer.status, answer.text()), (404, "404.html"), "{path} {fields:?}");
            assert_eq!(answer.field("content-type"), "text/html");
            assert_eq!(answer.field("cache-control"), "no-store", "the object may come at any time");
            for name in ["etag", "last-modified", "accept-ranges", "content-range", "age", "expires"] {
                assert_eq!(answer.field(name), "", "{name}");
            }
        }
        let head = site.client.send("HEAD", path, &[], bytes::Bytes::new()).await;
        assert_eq!((head.status, head.field("content-length"), head.body.len()), (404, "8", 0));
    }
    assert_eq!(get(&site, "/a").await.status, 301);
    assert_eq!(get(&site, "/%zz").await.field("content-type"), "application/problem+json");
    let asked = site.origin.asked("404.html").len();
    assert_eq!(asked, 1, "it is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_not_there_either_is_no_endless_search() {
    let site = website("not_found: \"none.html\", spa: \"none.html\", clean_urls: true").await;
    let answer = site.client.get_with("/none", &NAVIGATION).await;
    assert_eq!((answer.status, answer.field("content-type")), (404, "application/problem+json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_gets_the_paths_that_are_no_files() {
    let site = website("spa: \"app.html\", not_found: \"404.html\"").await;
    for path in ["/users/7", "/none/", "/v1.2/x"] {
        let answer = site.client.get_with(path, &NAVIGATION).await;
        assert_eq!((answer.status, answer.text()), (200, "app.html"), "{path}");
        assert!(answer.headers.get_all("vary").iter().any(|value| value == "Accept"), "{:?}", answer.headers);
    }
    for (path, fields) in
        [("/none.js", &NAVIGATION[..]), ("/users/7", &[("accept", "application/json")]), ("/users/7", &[])]
    {
        let answer = site.client.get_with(path, fields).await;
        assert_eq!((answer.status, answer.text()), (404, "404.html"), "{path} {fields:?}");
    }
    assert_eq!(site.client.get_with("/app.js", &NAVIGATION).await.text(), "app.js");
}

/// Faults of S3 are not what is not there, wherever they come in the search.
#[tokio::test(flavor = "multi_thread")]
async fn failures_are_no_pages() {
    let site = website("spa: \"app.html\", not_found: \"404.html\", clean_urls: true").await;
    for (path, broken) in [("/x", "x"), ("/y", "y.html"), ("/z", "z/index.html")] {
        let fails = Reply::status(500);
        site.origin.answer(broken, [fails.clone(), fails.clone(), fails]);
        let answer = site.client.get_with(path, &NAVIGATION).await;
        assert_eq!(
            (answer.status, answer.field("content-type")),
            (502, "application/problem+json"),
            "{broken}"
        );
    }
    // Without the page, a document says that there is nothing.
    let site = website("not_found: \"404.html\"").await;
    site.origin.answer("404.html", [Reply::status(500)]);
    let answer = get(&site, "/none").await;
    assert_eq!((answer.status, answer.field("content-type")), (404, "application/problem+json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_and_ranges_of_pages_are_those_of_the_pages() {
    let site = website("spa: \"app.html\", clean_urls: true").await;
    let failed = site.client.get_with("/about", &[("if-match", "\"x\"")]).await;
    assert_eq!(failed.status, 412);
    assert_eq!(site.client.get_with("/about", &[("range", "bytes=900-")]).await.status, 416);
    let whole = site.client.get_with("/users/7", &[NAVIGATION[0], ("range", "bytes=0-1")]).await;
    assert_eq!((whole.status, whole.text()), (200, "app.html"), "no part of another thing");
    let tag = whole.field("etag").to_owned();
    let same = site.client.get_with("/users/8", &[NAVIGATION[0], ("if-none-match", &tag)]).await;
    assert_eq!(same.status, 304, "the browser has the application");
    let asked = site.origin.requests().len();
    let cached =
        site.client.get_with("/users/7", &[NAVIGATION[0], ("cache-control", "Only-If-Cached")]).await;
    assert!(cached.status == 404 || cached.status == 504, "{}", cached.status);
    assert_eq!(site.origin.requests().len(), asked, "S3 is not asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_for_fields_are_those_for_what_is_served() {
    let origin = Origin::start().await;
    for key in ["about.html", "a/index.html", "404.html"] {
        origin.objects().put(key, &[PAGE], key.to_owned());
    }
    let keys = "site: { clean_urls: true, not_found: \"404.html\" }\ncors: { allow_origins: [\"https://app.example\"] }\n\
                response_headers: { keys: \"*.html\", set: { content-security-policy: \"default-src 'self'\" } }";
    let site = Site::of_bucket(origin, keys, "", "").await;
    let fields = [("origin", "https://app.example")];
    for (path, status, policy) in [
        ("/static/about", 200, true),
        ("/static/none", 404, true),
        ("/static/a", 301, false),
        ("/static/a/", 200, true),
    ] {
        let answer = site.client.get_with(path, &fields).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.field("content-security-policy") == "default-src 'self'", policy, "{path}");
        assert_eq!(answer.field("access-control-allow-origin"), "https://app.example", "{path}");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    for (site, expected) in [
        ("index: \"a/b\"", "site.index: expected a name without `/` such as \"index.html\", found `a/b`"),
        ("not_found: \"../x\"", "site.not_found: expected the key of an object at S3"),
        (
            "not_found: \"/404.html\"",
            "site.not_found: expected the key of an object at S3, without `/` at its front: `404.html`",
        ),
        (
            "errors: { 416: \"a\" }",
            "site.errors.416: expected a status such as `403`, or `4xx` or `5xx`, found `416`; those about conditions",
        ),
        ("spa: \"\"", "site.spa: expected the key of an object at S3"),
        (
            "errors: { 404: \"a\" }",
            "site.errors.404: expected a status such as `403`, or `4xx` or `5xx`, found `404`; \
            the page for 404 is `not_found`",
        ),
        ("index: \"\", listing: html", "site.listing: needs `index`"),
        ("listing: xml", "site.listing: expected `off`, `html` or `json`, found `xml`"),
        ("errors: { 200: \"a\" }", "site.errors.200: expected a status such as `403`"),
        (
            "errors: { 200: \"a\", abc: \"b\" }",
            "site.errors.200: expected a status such as `403`, or `4xx` or `5xx`, found `200`\n\
             f.yaml: buckets[0].site.errors.abc: expected a status",
        ),
        ("errors: { 5xx: \"../a\" }", "site.errors.5xx: expected the key of an object at S3"),
        (
            "indx: \"x\"",
            "site.indx: unknown key: expected one of index, clean_urls, spa, not_found, content_types, listing, errors, \
             redirects, headers",
        ),
    ] {
        let yaml = document("", &[format!("  - {{ name: a, path_prefix: /a, site: {{ {site} }} }}\n")]);
        let found = Config::from_yaml("f.yaml", &yaml, &Environment::default()).unwrap_err().to_string();
        assert!(found.starts_with(&format!("f.yaml: buckets[0].{expected}")), "{site}: {found}");
    }
}

const MANUAL: &str = include_str!("../../../docs/src/website.md");

/// The configurations of the page on websites are loaded and run, in front of an S3 server of the test.
#[tokio::test(flavor = "multi_thread")]
async fn each_configuration_on_the_page_serves_what_it_says() {
    let blocks: Vec<_> =
        MANUAL.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 7);
    for (block, host, path, key, content) in [
        (blocks[0], "www.example.com", "/", "www/index.html", "home"),
        (blocks[1], "any.example", "/downloads/2026/", "2026/a.txt", "<a href=\"./a.txt\">a.txt</a>"),
        (blocks[2], "any.example", "/", "index.html", "home"),
        (blocks[3], "any.example", "/", "index.html", "home"),
        (blocks[4], "any.example", "/", "index.html", "home"),
        (blocks[6], "any.example", "/", "index.html", "home"),
        (blocks[5], "a.example.org", "/", "customers/a/index.html", "home"),
    ] {
        let (files, origin) = (Files::new(), Origin::start().await);
        files.make("www.example.com", &["www.example.com"]);
        origin.objects().put(key, &[PAGE], "home");
        let source = bucket(&origin.endpoint(), "x", "/x", "", "");
        let source = source.lines().find_map(|line| line.trim().strip_prefix("s3: ")).unwrap();
        let here = block.replace("0.0.0.0:443", "127.0.0.1:0").replace("0.0.0.0:80", "127.0.0.1:0");
        let here = here.replace("/etc/yatagarasu", files.path("").to_str().unwrap().trim_end_matches('/'));
        let here = here.replace("{ bucket: \"websites\" }", source);
        let server = if here.contains("server:") { "" } else { "server: { address: \"127.0.0.1:0\" }\n" };
        let yaml = format!("admin: {{ address: \"127.0.0.1:0\" }}\n{server}{here}");
        let site = Site::run(origin, &yaml).await;
        let answer = if server.is_empty() {
            let client = TlsClient::trusting(&[files.certificate("www.example.com")]);
            client.get(site.address, host, path).await.unwrap().response
        } else {
            site.client.get_with(path, &[("host", host)]).await
        };
        assert!(answer.status == 200 && answer.text().contains(content), "{block}: {}", answer.text());
    }
}

/// Asks until the answer has this content, as what is read in the background has to arrive first.
async fn until(site: &Site, path: &str, fields: &[(&str, &str)], content: &str) -> Response {
    loop {
        let answer = site.client.get_with(path, fields).await;
        if answer.text() == content {
            return answer;
        }
        assert_eq!(answer.field("content-type"), "application/problem+json", "{path}");
        tokio::task::yield_now().await;
    }
}

fn refused(status: u16, code: &str) -> Reply {
    let document = format!("<Error><Code>{code}</Code></Error>");
    Reply::ok(document).of_status(status).with("content-type", "application/xml")
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_pages_with_their_status() {
    let site = website("errors: { 403: \"about.html\", 5xx: \"a/b.html\", 4xx: \"404.html\" }").await;
    let fields: [&[(&str, &str)]; 4] =
        [&[], &[("range", "bytes=0-1")], &[("if-none-match", "*")], &[("if-modified-since", "x")]];
    for (status, code, page) in [
        (403, "AccessDenied", "about.html"),
        (503, "ServiceUnavailable", "a/b.html"),
        (500, "InternalError", "a/b.html"),
    ] {
        let shown = if status == 500 { 502 } else { status };
        site.origin.decide(move |request| request.target.ends_with("/secret").then(|| refused(status, code)));
        for fields in fields {
            let answer = until(&site, "/secret", fields, page).await;
            assert_eq!(answer.status, shown, "{fields:?}");
            assert_eq!(answer.field("content-type"), "text/html");
            assert_eq!(answer.field("cache-control"), "no-store");
            for name in ["etag", "content-range", "last-modified", "age"] {
                assert_eq!(answer.field(name), "", "{name}");
            }
        }
        let head = site.client.send("HEAD", "/secret", &[], bytes::Bytes::new()).await;
        assert_eq!((head.status, head.body.len()), (shown, 0));
        assert_eq!(head.field("content-length"), page.len().to_string());
    }
    assert_eq!(site.origin.asked("about.html").len(), 1, "it is stored");
    // Programs read these.
    let part = site.client.get_with("/app.js", &[("range", "bytes=100-")]).await;
    assert_eq!((part.status, part.field("content-type")), (416, "application/problem+json"));
    let answer = site.client.get_with("/app.js", &[("if-match", "\"x\"")]).await;
    assert_eq!((answer.status, answer.field("content-type")), (412, "application/problem+json"));
    assert_eq!(get(&site, "/none").await.text(), "404.html", "a class has 404, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_failures_is_there_while_s3_is_not() {
    let site = website("errors: { 5xx: \"about.html\" }").await;
    site.origin.decide(|request| request.target.ends_with("/down").then(|| refused(503, "SlowDown")));
    until(&site, "/down", &[], "about.html").await;
    site.origin.decide(|_| Some(refused(503, "ServiceUnavailable")));
    site.purge("{\"all\": true}").await;
    for path in ["/app.js", "/none", "/a"] {
        let answer = get(&site, path).await;
        assert_eq!((answer.status, answer.text()), (503, "about.html"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_may_be_a_redirect() {
    let site = website("clean_urls: true").await;
    let put = |key: &str, location: &str| {
        site.origin.objects().put(key, &[("x-amz-website-redirect-location", location)], "moved");
    };
    put("old", "/new?x");
    put("old.css", "https://cdn.example/a.css");
    put("clean.html", "/clean/");
    put("bad", "javascript:alert(1)");
    let fields = [("x-amz-website-redirect-location", "/x"), ("cache-control", "max-age=60")];
    site.origin.objects().put("short", &fields, "");
    let answer = site.client.get_with("/short", &[("range", "bytes=0-")]).await;
    assert_eq!((answer.status, answer.field("cache-control")), (301, "max-age=60"));
    while get(&site, "/short").await.field("x-cache") != "HIT" {}
    assert!(!get(&site, "/short").await.field("age").is_empty(), "it is as old as the object");
    for (path, location) in
        [("/old", "/new?x"), ("/old.css", "https://cdn.example/a.css"), ("/clean", "/clean/")]
    {
        for _ in 0..20 {
            let answer = get(&site, path).await;
            assert_eq!(
                (answer.status, answer.field("location"), answer.text()),
                (301, location, ""),
                "{path}"
            );
        }
        let head = site.client.send("HEAD", path, &[], bytes::Bytes::new()).await;
        assert_eq!((head.status, head.field("location")), (301, location));
        for field in [("range", "bytes=0-1"), ("range", "bytes=100-"), ("if-match", "\"x\"")] {
            let part = site.client.get_with(path, &[field]).await;
            assert_eq!((part.status, part.field("location")), (301, location), "{path} {field:?}");
        }
    }
    assert_eq!(site.origin.asked("old").len(), 1, "it is stored");
    let answer = get(&site, "/bad").await;
    assert_eq!((answer.status, answer.text()), (200, "moved"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_host_has_pages_of_its_own() {
    let origin = Origin::start().await;
    for host in ["a", "b"] {
        for page in ["404.html", "5xx.html", "app.html"] {
            origin.objects().put(&format!("sites/{host}/{page}"), &[PAGE], format!("{page} of {host}"));
        }
    }
    let mut many = bucket(&origin.endpoint(), "many", "/", "", "max_item_size: \"1MB\", max_size: \"64MB\"");
    many.push_str("    hosts: [\"*.example\"]\n    key_prefix: \"sites/{label}/\"\n");
    many.push_str(
        "    site: { not_found: \"404.html\", spa: \"app.html\", errors: { 5xx: \"5xx.html\" } }\n",
    );
    let site = Site::run(origin, &document("", &[many])).await;
    site.origin.decide(|request| request.target.ends_with("/down").then(|| refused(503, "SlowDown")));
    for host in ["a", "b"] {
        let name = format!("{host}.example:80");
        let fields = [("host", name.as_str()), NAVIGATION[0]];
        let answer = site.client.get_with("/none", &fields[..1]).await;
        assert_eq!((answer.status, answer.text()), (404, &*format!("404.html of {host}")));
        let answer = site.client.get_with("/users/7", &fields).await;
        assert_eq!((answer.status, answer.text()), (200, &*format!("app.html of {host}")));
        let answer = until(&site, "/down", &fields[..1], &format!("5xx.html of {host}")).await;
        assert_eq!(answer.status, 503);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_type_gets_one_by_its_extension() {
    let put = |site: &Site| {
        let unknown = ("content-type", "binary/octet-stream");
        for (key, fields) in [
            ("page.html", &[unknown, ("cache-control", "no-cache")][..]),
            ("a.css", &[unknown]),
            ("b.css", &[("content-type", "text/plain")]),
            ("none", &[unknown]),
        ] {
            site.origin.objects().put(key, fields, "x");
        }
    };
    let site = website("").await;
    put(&site);
    for (path, expected) in [
        ("/page.html", "text/html; charset=utf-8"),
        ("/a.css", "text/css; charset=utf-8"),
        ("/b.css", "text/plain"),
        ("/none", "binary/octet-stream"),
    ] {
        assert_eq!(site.client.head(path).await.field("content-type"), expected, "HEAD {path}");
        // From S3, from the cache, and after a validation.
        for _ in 0..5 {
            let answer = get(&site, path).await;
            assert_eq!((answer.status, answer.field("content-type")), (200, expected), "{path}");
        }
    }
    let site = website("content_types: false").await;
    put(&site);
    assert_eq!(get(&site, "/a.css").await.field("content-type"), "binary/octet-stream");
}
