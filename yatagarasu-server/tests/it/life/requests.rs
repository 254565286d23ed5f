//! Every request is seen: answered with a reason, logged with an id, and counted.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use yatagarasu_testing::client::{Client, Connection};
use yatagarasu_testing::origin::{Gate, Origin, Reply};

use crate::operating::process::Process;
use crate::site::{Site, bucket, document, metric};

/// Returns the response and what follows it to the end of the connection.
async fn answer(site: &Site, bytes: impl AsRef<[u8]>) -> (yatagarasu_testing::client::Response, String) {
    let mut client = Connection::send(site.address, bytes).await;
    let head = client.head().await;
    let body = String::from_utf8(client.rest().await).unwrap();
    (head, body)
}

/// eclipse-ee4j/glassfish#26163: odd bytes and a TLS client on the plain port got an empty answer or none.
#[tokio::test]
async fn what_is_no_request_gets_a_problem_with_an_id() {
    let site = Site::start().await;
    for (bytes, detail) in [
        (&b"nonsense\r\n\r\n"[..], "the bytes are no HTTP request"),
        (b"GET /static/k HTTP/1.1\r\nhost : a\r\n\r\n", "the bytes are no HTTP request"),
        (b"GET /static/k HTTP/4.0\r\n\r\n", "the bytes are no HTTP request"),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            "this port speaks plain HTTP, and the bytes are TLS",
        ),
        (b"GET :// HTTP/1.1\r\nhost: a\r\n\r\n", "the target of the request is no path"),
        (
            b"POST /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
            "the length of the content is invalid or contradictory",
        ),
        (
            b"GET /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "the length of the content is invalid or contradictory",
        ),
    ] {
        let (head, body) = answer(&site, bytes).await;
        assert_eq!((head.status, head.field("content-type")), (400, "application/problem+json"), "{detail}");
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["detail"], detail);
        assert_eq!(problem["request_id"], head.field("x-request-id"));
        for (name, value) in
            [("connection", "close"), ("cache-control", "no-store"), ("via", "1.1 yatagarasu")]
        {
            assert_eq!(head.field(name), value);
        }
        assert!(!head.field("date").is_empty());
    }
    assert_eq!(site.origin.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_logged_and_counted() {
    let origin = Origin::start().await;
    let process =
        Process::start(&document("", &[bucket(&origin.endpoint(), "assets", "/static", "", "")]), &[]);
    // The second is refused by hyper itself: after a POST, the connection is hyper's for good.
    let post = "POST /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\nno request at all\r\n\r\n";
    for bytes in ["nonsense\r\n\r\n", post] {
        let mut client = Connection::send(process.address, bytes).await;
        client.rest().await;
    }
    let lines = process.log().filter(|line| line["target"] == "yatagarasu::access");
    // Each connection has a thread of its own.
    let mut found: Vec<_> = lines
        .take(3)
        .map(|line| {
            assert!(!line["request_id"].as_str().unwrap().is_empty());
            (line["method"].as_str().unwrap().to_owned(), line["status"].as_u64().unwrap())
        })
        .collect();
    found.sort();
    let expected =
        [("-", 400), ("-", 400), ("POST", 405)].map(|(method, status)| (method.to_owned(), status));
    assert_eq!(found, expected);
    let counted = metric(&Client::new(process.admin), "yatagarasu_requests_total{status=\"4xx\"}").await;
    assert_eq!(counted, 3);
}

/// micronaut-projects/micronaut-core#7027: `[` in a path hung. Browsers send such bytes and mean them.
#[tokio::test]
async fn every_byte_of_a_path_gets_an_answer() {
    let site = Site::start().await;
    for byte in 0x21..=0x7e_u8 {
        let key = format!("a{}b", char::from(byte));
        let means_itself = !b"#?%/".contains(&byte);
        if means_itself {
            site.put(&key, &[], "x");
        }
        let request =
            [b"GET /static/a".as_slice(), &[byte], b"b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"]
                .concat();
        let (head, _) = answer(&site, request).await;
        assert_eq!(
            head.status,
            match byte {
                _ if means_itself => 200,
                b'%' => 400,
                _ => 404,
            },
            "{byte:#x}"
        );
    }
    site.put("caf\u{e9}", &[], "x");
    let (head, _) =
        answer(&site, "GET /static/caf\u{e9} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert_eq!(head.status, 200);
    for byte in [0x00, 0x01, 0x1f, 0x7f, 0x80, 0xff] {
        let request = [b"GET /static/a".as_slice(), &[byte], b" HTTP/1.1\r\nhost: a\r\n\r\n"].concat();
        assert_eq!(answer(&site, request).await.0.status, 400, "{byte:#x}");
    }
}

/// `Host: a b` was answered with 200 (RFC 9112 3.2).
#[tokio::test]
async fn a_host_that_is_none_is_refused_on_either_way() {
    let site = Site::start().await;
    site.put("k", &[], "x");
    site.client.get("/static/k").await;
    site.store("/static/k").await;
    for (host, status) in [
        ("a b", 400),
        ("a/b", 400),
        ("a@b", 400),
        ("a:b", 400),
        ("", 200),
        ("[::1]:80", 200),
        ("a_b.example:80", 200),
    ] {
        for more in ["", "x-unknown: 1\r\n"] {
            let request =
                format!("GET /static/k HTTP/1.1\r\nhost: {host}\r\n{more}connection: close\r\n\r\n");
            assert_eq!(answer(&site, request).await.0.status, status, "{host:?}");
            let kept = format!("GET /static/k HTTP/1.1\r\nhost: {host}\r\n{more}\r\n");
            let mut client = Connection::send(site.address, kept).await;
            assert_eq!(client.head().await.status, status, "{host:?}, kept alive");
        }
    }
}

/// envoyproxy/envoy#2066: a client that closes its side after the request (`nc -N`) got a part of the answer.
#[tokio::test]
async fn a_half_closed_client_gets_the_whole_answer() {
    let site = Site::start().await;
    let content = "x".repeat(8_000_000);
    site.put("large", &[], content.clone());
    site.put("small", &[], "0123456789".repeat(50_000));
    for (path, length) in
        [("/static/small", 500_000), ("/static/large", 8_000_000), ("/media/large", 8_000_000)]
    {
        for request in [
            format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"),
            format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-unknown: 1\r\n\r\n"),
            format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
            format!("GET {path} HTTP/1.0\r\n\r\n"),
        ] {
            for slow in [false, true] {
                let mut client = Connection::narrow_send(site.address, &request).await;
                client.finish().await;
                assert_eq!(client.head().await.status, 200, "{request}");
                if slow {
                    // Longer than the gateway waits for S3: it is the client that takes its time.
                    client.take(1000).await;
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                let left = length - if slow { 1000 } else { 0 };
                assert_eq!(client.end().await.len(), left, "{request}, slow: {slow}");
            }
        }
        site.store("/static/small").await;
    }
}

/// A loss on the way from S3 takes longer than the time after which a client without a sign of life is gone.
#[tokio::test]
async fn a_half_closed_client_waits_for_s3_as_any_other() {
    let site = Site::start().await;
    let gate = Gate::default();
    site.origin.answer("k", [Reply::ok("x".repeat(200_000)).rest_at(100_000, &gate)]);
    let mut client = Connection::get(site.address, "/static/k").await;
    client.finish().await;
    assert_eq!(client.head().await.status, 200);
    client.take(100_000).await;
    // S3 takes its time.
    tokio::time::sleep(Duration::from_millis(600)).await;
    gate.open();
    assert_eq!(client.end().await.len(), 100_000);
}

/// An HTTP/1.0 client could not tell a broken body from a whole one: the end of the connection ended both.
#[tokio::test]
async fn a_body_that_breaks_off_is_reset_for_an_old_client() {
    let site = Site::start().await;
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    site.origin.answer("broken", [Reply::raw(chunked)]);
    site.origin.answer("whole", [Reply::raw(format!("{chunked}0\r\n\r\n"))]);
    let mut client = Connection::send(site.address, "GET /media/broken HTTP/1.0\r\n\r\n").await;
    client.reset().await;
    let mut client = Connection::send(site.address, "GET /media/whole HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.end().await, b"hello");
}

/// haproxy/haproxy#2749: bytes of the client that nobody reads turn the end into a reset, which takes the last bytes away.
#[tokio::test]
async fn bytes_behind_the_last_request_do_not_cost_the_end_of_the_answer() {
    let site = Site::start().await;
    let content = "x".repeat(900_000);
    site.put("k", &[], content.clone());
    let request = "GET /static/k HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let mut client = Connection::narrow_send(site.address, format!("{request}{}", "j".repeat(30_000))).await;
    assert_eq!(client.head().await.status, 200);
    let mut received = 0;
    let mut room = vec![0; 20_000];
    while let Ok(count @ 1..) = client.socket.read(&mut room).await {
        received += count;
        let _ = client.socket.write_all(b"more").await;
    }
    assert_eq!(received, content.len());
}
