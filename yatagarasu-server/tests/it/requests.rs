//! Tests of requests: keys, prefixes, methods, header fields, ids and parameters.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use yatagarasu_testing::client::Connection;
use yatagarasu_testing::odd_keys;
use yatagarasu_testing::origin::Origin;

use crate::site::{Site, bucket, document};

#[tokio::test]
async fn two_hundred_odd_keys_are_served_and_stored_byte_for_byte() {
    let site = Site::start().await;
    let keys = odd_keys();
    assert_eq!(keys.len(), 200);
    for (index, key) in keys.iter().enumerate() {
        site.put(key, &[], format!("content {index}"));
    }
    for expected in ["MISS", "HIT"] {
        for (index, key) in keys.iter().enumerate() {
            let path = format!("/static/{}", utf8_percent_encode(key, NON_ALPHANUMERIC));
            let answer = site.client.get(&path).await;
            assert_eq!((answer.status, answer.field("x-cache")), (200, expected), "{key:?}");
            assert_eq!(answer.body, format!("content {index}"), "{key:?}");
        }
    }
    assert_eq!(site.origin.objects().gets(), 200);
}

#[tokio::test]
async fn the_longest_prefix_wins() {
    let s3 = Origin::start().await;
    let endpoint = s3.endpoint();
    let entry = |name, prefix| bucket(&endpoint, name, prefix, "", "enabled: false");
    let yaml = document("", &[entry("all", "/"), entry("static", "/static"), entry("img", "/static/img/")]);
    let site = Site::run(s3, &yaml).await;
    site.put("static/a", &[], "root");
    site.put("a", &[], "a");
    site.put("img/a", &[], "img");
    for (path, content) in
        [("/static/a", "a"), ("/static/img/a", "a"), ("/img/a", "img"), ("/static%2Fimg/a", "a")]
    {
        let answer = site.client.get(path).await;
        assert_eq!((answer.status, &answer.body[..]), (200, content.as_bytes()), "{path}");
    }
    assert_eq!(site.client.get("/static").await.status, 404, "the object `static` of the bucket at /");
}

#[tokio::test]
async fn a_gateway_only_reads() {
    let site = Site::start().await;
    for method in ["PUT", "POST", "DELETE", "PATCH", "PURGE", "TRACE"] {
        let answer = site.client.send(method, "/static/k", &[], "x".into()).await;
        assert_eq!((answer.status, answer.field("allow")), (405, "GET, HEAD, OPTIONS"), "{method}");
        assert_eq!(answer.field("content-type"), "application/problem+json");
    }
    let answer = site.client.send("OPTIONS", "/static/k", &[], "".into()).await;
    assert_eq!((answer.status, answer.field("allow")), (204, "GET, HEAD, OPTIONS"));
    assert!(!answer.field("x-request-id").is_empty());
    assert!(site.origin.requests().is_empty());
}

#[tokio::test]
async fn all_end_to_end_fields_pass_and_no_others() {
    const FIELDS: [(&str, &str); 11] = [
        ("content-type", "text/css"),
        ("content-encoding", "br"),
        ("content-language", "de"),
        ("content-disposition", "attachment"),
        ("cache-control", "max-age=60"),
        ("etag", "\"0123\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("x-amz-meta-colour", "green"),
        ("x-amz-version-id", "3HL4kqtJvjVBH40Nrjfkd"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-unknown", "kept"),
    ];
    let site = Site::start().await;
    site.put("k", &FIELDS, "body");
    for path in ["/static/k", "/static/k", "/media/k"] {
        for method in ["GET", "HEAD"] {
            let answer = site.client.send(method, path, &[], "".into()).await;
            for (name, value) in FIELDS {
                assert_eq!(answer.field(name), value, "{method} {path} {name}");
            }
            assert_eq!(answer.field("content-length"), "4");
            for name in ["x-amz-request-id", "x-amz-id-2", "transfer-encoding", "keep-alive"] {
                assert!(!answer.headers.contains_key(name), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn every_response_has_an_id_of_its_own_or_the_clients() {
    let site = Site::start().await;
    site.put("k", &[], "x");
    let mut seen = std::collections::HashSet::new();
    for path in ["/static/k", "/static/k", "/static/missing", "/nowhere", "/static/%zz"] {
        assert!(seen.insert(site.client.get(path).await.field("x-request-id").to_owned()), "{path}");
    }
    assert!(!seen.contains(""));
    let given = site.client.get_with("/static/k", &[("x-request-id", "from-the-proxy-1")]).await;
    assert_eq!(given.field("x-request-id"), "from-the-proxy-1");
    let odd = site.client.get_with("/static/k", &[("x-request-id", "with a space")]).await;
    assert_ne!(odd.field("x-request-id"), "with a space");
}

#[tokio::test]
async fn nothing_of_the_client_reaches_s3_but_what_is_meant_to() {
    let site = Site::by_hand("forward_headers: [\"origin\"], forward_query: [\"versionId\", \"v\"]").await;
    let client = site.client.clone();
    let asked = tokio::spawn(async move {
        let headers = [
            ("authorization", "Bearer of-the-client"),
            ("cookie", "session=1"),
            ("x-amz-acl", "public-read"),
            ("accept-language", "de"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("tracestate", "rojo=00f067aa0ba902b7"),
            ("origin", "https://example.com"),
            ("range", "bytes=0-3"),
            ("if-none-match", "\"x\""),
        ];
        client.get_with("/static/k?acl&versionId=a%2Fb&uploads&v=1&x-id=GetObject", &headers).await
    });
    let mut exchange = site.origin.next().await;
    let request = exchange.request.to_ascii_lowercase();
    assert!(request.starts_with("get /bucket/k?v=1&versionid=a%2fb http/1.1\r\n"), "{request}");
    for sent in [
        "origin: https://example.com",
        "range: bytes=0-3",
        "if-none-match: \"x\"",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate: rojo=00f067aa0ba902b7",
        "aws4-hmac-sha256",
    ] {
        assert!(request.contains(sent), "{sent} in {request}");
    }
    for kept in ["of-the-client", "cookie", "x-amz-acl", "accept-language", "x-id"] {
        assert!(!request.contains(kept), "{kept} in {request}");
    }
    exchange
        .write("HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-3/9\r\ncontent-length: 4\r\n\r\nbody")
        .await;
    let answer = asked.await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (206, &b"body"[..]));
}

#[tokio::test]
async fn forwarded_parameters_make_another_object() {
    let site = Site::with("forward_query: [\"v\"]", "").await;
    site.put("k", &[], "x");
    for (query, expected) in
        [("", "MISS"), ("?v=1", "MISS"), ("?v=2", "MISS"), ("?other=1", "HIT"), ("?a=b&v=1", "HIT")]
    {
        assert_eq!(site.client.get(&format!("/static/k{query}")).await.field("x-cache"), expected, "{query}");
    }
    assert_eq!(site.purge("{\"bucket\":\"assets\",\"key\":\"k\"}").await.json()["purged"], 3);
}

#[tokio::test]
async fn a_request_says_once_whom_it_is_for() {
    let site = Site::start().await;
    site.put("k", &[], "x");
    for (head, status) in [
        ("GET /static/k HTTP/1.1\r\nconnection: close", "HTTP/1.1 400"),
        ("GET /static/k HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close", "HTTP/1.1 400"),
        ("GET /static/k HTTP/1.1\r\nhost: a\r\nconnection: close", "HTTP/1.1 200"),
        ("GET /static/k HTTP/1.0", "HTTP/1.0 200"),
    ] {
        let answer = Connection::send(site.address, format!("{head}\r\n\r\n")).await.end().await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(status), "{head}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_has_a_name_where_it_is_configured() {
    for (keys, is_on) in [("download: true", true), ("download: false", false), ("", false)] {
        let origin = Origin::start().await;
        origin.objects().put("a/b c.txt", &[("content-disposition", "inline")], "hello");
        let mut entry =
            bucket(&origin.endpoint(), "static", "/static", "", "max_item_size: \"1MB\", max_size: \"64MB\"");
        entry.extend(["    ", keys, "\n"]);
        let site = Site::run(origin, &document("", &[entry])).await;
        site.store("/static/a/b%20c.txt").await;
        let own = "attachment; filename=\"b c.txt\"; filename*=UTF-8''b%20c.txt";
        let given = "attachment; filename=\"x.y\"; filename*=UTF-8''x.y";
        for (query, expected) in
            [("", "inline"), ("?v=1", "inline"), ("?download", own), ("?v=1&download=x.y", given)]
        {
            let expected = if is_on { expected } else { "inline" };
            let path = format!("/static/a/b%20c.txt{query}");
            for answer in [site.client.get(&path).await, site.client.head(&path).await] {
                assert_eq!((answer.status, answer.field("content-disposition")), (200, expected), "{path}");
                assert_eq!(answer.field("x-cache"), "HIT");
            }
            let part = site.client.get_with(&path, &[("range", "bytes=1-2")]).await;
            assert_eq!((part.status, part.text(), part.field("content-disposition")), (206, "el", expected));
        }
        let missing = site.client.get("/static/none?download").await;
        assert_eq!((missing.status, missing.field("content-disposition")), (404, ""));
        assert_eq!(site.origin.asked("a/b c.txt").len(), 1);
    }
}
