//! Tests of what the gateway answers itself, without a bucket.

use bytes::Bytes;
use yatagarasu_server::Config;
use yatagarasu_server::config::Environment;
use yatagarasu_testing::client::{Client, Connection};
use yatagarasu_testing::origin::Origin;

use crate::site::{Site, bucket, document};
use crate::tls::tcp;

const ANSWERS: &str = "health_path: \"/healthz\", answers: [{ path: \"/robots.txt\", content: \"User-agent: *\\nDisallow:\\n\" }, \
                       { path: \"/favicon.ico\", status: 204 }, \
                       { path: \"/old%20api\", status: 410, content: \"{}\", content_type: \"application/json\" }]";

#[tokio::test(flavor = "multi_thread")]
async fn no_bucket_is_asked_for_what_the_gateway_answers_itself() {
    let origin = Origin::start().await;
    for key in ["robots.txt", "healthz", "old api", ".well-known/x", "robots.txt/x"] {
        origin.objects().put(key, &[], "of the bucket");
    }
    let mut root = bucket(&origin.endpoint(), "www", "/", "", "max_item_size: \"1MB\", max_size: \"64MB\"");
    root.push_str("    hosts: [\"www.example\"]\n");
    let site = Site::run(origin, &document(ANSWERS, &[root])).await;
    for host in ["www.example", "nobody.example"] {
        for (path, status, content, media_type) in [
            ("/robots.txt", 200, "User-agent: *\nDisallow:\n", "text/plain; charset=utf-8"),
            ("/robots.txt?x", 200, "User-agent: *\nDisallow:\n", "text/plain; charset=utf-8"),
            ("/favicon.ico", 204, "", ""),
            ("/old%20api", 410, "{}", "application/json"),
            ("/healthz", 200, "ok\n", "text/plain; charset=utf-8"),
        ] {
            let answer = site.client.get_with(path, &[("host", host)]).await;
            assert_eq!((answer.status, answer.text()), (status, content), "{path}");
            assert_eq!(answer.field("content-type"), media_type, "{path}");
            assert!(!answer.field("x-request-id").is_empty(), "{path}");
            let head = site.client.send("HEAD", path, &[("host", host)], Bytes::new()).await;
            assert_eq!((head.status, head.body.len()), (status, 0), "{path}");
        }
    }
    assert_eq!(site.client.send("POST", "/healthz", &[], Bytes::new()).await.status, 405);
    let preflight =
        [("host", "www.example"), ("origin", "https://a.example"), ("access-control-request-method", "GET")];
    let answer = site.client.send("OPTIONS", "/healthz", &preflight, Bytes::new()).await;
    assert_eq!((answer.status, answer.field("access-control-allow-origin")), (204, ""));
    // What is the same path once decoded is the bucket's: paths are compared as they stand in requests.
    for path in ["/.well-known/x", "/robots.txt/x", "/%72obots.txt"] {
        let answer = site.client.get_with(path, &[("host", "www.example")]).await;
        assert_eq!((answer.status, answer.text()), (200, "of the bucket"), "{path}");
    }
    let asked: Vec<_> = site.origin.requests().into_iter().map(|request| request.key).collect();
    assert_eq!(asked, [".well-known/x", "robots.txt/x", "robots.txt"]);
}

/// A load balancer asks the listener that it sends clients to, also one that only redirects.
#[tokio::test(flavor = "multi_thread")]
async fn the_health_of_a_server_that_stops_is_503() {
    let listeners = "drain: \"30s\", health_path: \"/healthz\", \
                     listeners: { address: \"127.0.0.1:0\", https_redirect: 443 }";
    let mut site = Site::over(Origin::start().await, listeners, "", "").await;
    let redirecting = Client::new(tcp(&site, 1));
    assert_eq!(redirecting.get("/healthz").await.status, 200);
    assert_eq!(redirecting.get("/health").await.status, 301);
    assert_eq!(site.client.get("/healthz").await.status, 200);
    let running = site.drain();
    while site.admin.get("/ready").await.status == 200 {}
    for address in [site.address, tcp(&site, 1)] {
        let mut client = Connection::get(address, "/healthz").await;
        assert_eq!(client.head().await.status, 503);
        assert_eq!(client.end().await, b"the server stops\n");
    }
    running.abort();
}

#[test]
fn what_is_no_answer_is_an_error() {
    for (keys, expected) in [
        ("health_path: \"healthz\"", "server.health_path: expected a path as it stands in requests"),
        ("answers: { content: x }", "server.answers.path: expected a path as it stands in requests"),
        ("answers: { path: \"/a<b\" }", "server.answers.path: expected a path as it stands in requests"),
        ("answers: { path: \"/a?b\" }", "server.answers.path: expected a path as it stands in requests"),
        ("answers: [{ path: \"/a\" }, { path: \"/a b\" }]", "server.answers[1].path: expected a path"),
        (
            "answers: [{ path: \"/a\" }, { path: \"/a\" }]",
            "server.answers[1].path: `/a` has an answer already",
        ),
        ("health_path: \"/a\", answers: { path: \"/a\" }", "server.answers.path: `/a` has an answer already"),
        ("answers: { path: \"/a\", status: 301 }", "server.answers.status: expected a status such as 200"),
        ("answers: { path: \"/a\", status: 99 }", "server.answers.status: expected a status such as 200"),
        ("answers: { path: \"/a\", content_type: text }", "server.answers.content_type: expected a type"),
        (
            "answers: { path: \"/a\", status: 204, content: x }",
            "server.answers.content: expected up to 64 KiB",
        ),
    ] {
        let yaml = document(keys, &["  - { name: a, path_prefix: / }\n".to_owned()]);
        let found = Config::from_yaml("f.yaml", &yaml, &Environment::default()).unwrap_err().to_string();
        assert!(found.starts_with(&format!("f.yaml: {expected}")), "{keys}: {found}");
    }
}
