//! Tests of responses: whole, partial, conditional, and broken off.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Buf;
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;

use super::client::{NAME, whole};
use crate::tls::TlsSite;

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251).to_le_bytes()[0]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_all_lengths_are_served() {
    let secure = TlsSite::of_http3("").await;
    let mut client = secure.http3().await;
    for length in [0, 1, 1_000, 16_384, 20_000, 300_000, 3_000_000] {
        let (key, content) = (format!("o{length}"), content(length));
        secure.site.put(&key, &[("content-type", "text/x")], content.clone());
        for prefix in ["static", "media"] {
            // The second one may be a hit.
            for _ in 0..2 {
                let path = format!("/{prefix}/{key}");
                let answer = client.get(&path).await.unwrap();
                let fields = (answer.status, answer.field("content-type"), answer.field("content-length"));
                assert_eq!(fields, (200, "text/x", &*length.to_string()), "{path}");
                assert!(answer.body == content, "{path}");
                let head = client.send("HEAD", &path, &[]).await.unwrap();
                assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
                assert_eq!(head.field("content-length"), length.to_string(), "{path}");
            }
        }
    }
}

/// One handler answers requests of all versions. Only what is about the connection may differ.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_gets_what_it_gets_over_http2() {
    let secure = TlsSite::of_http3("").await;
    secure.site.put("k", &[("etag", "\"e\""), ("cache-control", "max-age=60")], "0123456789");
    secure.site.store("/static/k").await;
    let mut client = secure.http3().await;
    let other = secure.client.offering(&[b"h2"]);
    for (path, status) in [
        ("/static/k", 200),
        ("/static/missing", 404),
        ("/nowhere", 404),
        ("/static/%zz", 400),
        ("/static/a%00", 400),
    ] {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            let here = client.send(method, path, &[]).await.unwrap();
            let there = other.send(secure.secure, NAME, method, path).await.unwrap().response;
            assert_eq!((here.status, here.body.len()), (there.status, there.body.len()), "{method} {path}");
            if method == "GET" {
                assert_eq!(here.status, status, "{path}");
            }
            for (name, value) in &there.headers {
                let own = ["age", "cache-status", "date", "x-request-id", "server-timing"];
                if !own.contains(&name.as_str()) {
                    assert_eq!(here.headers.get(name), Some(value), "{method} {path}");
                }
            }
            for name in here.headers.keys() {
                assert!(there.headers.contains_key(name), "{method} {path}: {name}");
            }
        }
    }
    for (fields, status, body, length) in [
        ([("range", "bytes=2-4")], 206, "234", "3"),
        ([("range", "bytes=20-")], 416, "", ""),
        ([("if-none-match", "\"e\"")], 304, "", ""),
        ([("if-match", "\"x\"")], 412, "", ""),
    ] {
        let answer = client.send("GET", "/static/k", &fields).await.unwrap();
        assert_eq!(answer.status, status, "{fields:?}");
        if status == 206 {
            assert_eq!((answer.text(), answer.field("content-length")), (body, length));
        }
        if status == 304 {
            assert_eq!((answer.body.len(), answer.headers.contains_key("content-length")), (0, false));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_on_many_connections_get_their_own_objects() {
    let secure = Arc::new(TlsSite::of_http3("").await);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..20_usize {
        let (key, length) = (format!("n{number}"), number * 5_001);
        secure.site.put(&key, &[], vec![number.to_le_bytes()[0]; length]);
        let secure = Arc::clone(&secure);
        clients.spawn(async move {
            let mut client = secure.http3().await;
            let mut streams = Vec::new();
            for round in 0..20 {
                let prefix = if round % 2 == 0 { "static" } else { "media" };
                streams.push(client.begin("GET", &format!("/{prefix}/{key}"), &[]).await.unwrap());
            }
            for answer in futures_util::future::join_all(streams.into_iter().map(whole)).await {
                assert!(answer.unwrap().body == vec![number.to_le_bytes()[0]; length], "{key}");
            }
        });
    }
    timeout(PATIENCE, clients.join_all()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_cut_short_resets_the_stream() {
    let secure = TlsSite::of_http3_by_hand("").await;
    let mut client = secure.http3().await;
    // With a length, and without.
    for head in ["content-length: 10", "transfer-encoding: chunked"] {
        let begun = client.begin("GET", "/media/k", &[]);
        let (mut stream, mut exchange) = {
            let (stream, exchange) = tokio::join!(begun, secure.site.origin.next());
            (stream.unwrap(), exchange)
        };
        let first = if head.contains("chunked") { "5\r\nhello\r\n" } else { "hello" };
        exchange.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{first}")).await;
        assert_eq!(stream.recv_response().await.unwrap().status(), 200);
        let part = timeout(PATIENCE, stream.recv_data()).await.unwrap().unwrap().unwrap();
        assert_eq!(part.chunk(), b"hello");
        drop(exchange);
        let broken = timeout(PATIENCE, stream.recv_data()).await.unwrap();
        let broken = broken.map(|part| part.is_some()).unwrap_err().to_string();
        assert!(broken.contains("H3_INTERNAL_ERROR"), "{head}: {broken}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gives_up_ends_its_request_at_s3() {
    let secure = TlsSite::of_http3_by_hand("").await;
    let mut client = secure.http3().await;
    // Before the head, after it, and when S3 is silent in the middle.
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfirst",
    ] {
        let (stream, mut exchange) =
            tokio::join!(client.begin("GET", "/media/k", &[]), secure.site.origin.next());
        let mut stream = stream.unwrap();
        exchange.write(answer).await;
        if !answer.is_empty() {
            stream.recv_response().await.unwrap();
        }
        stream.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
        exchange.closed().await;
    }
    // The connection goes on.
    assert_eq!(client.get("/nowhere").await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_of_a_request_is_not_read_and_the_connection_goes_on() {
    let secure = TlsSite::of_http3("").await;
    let mut client = secure.http3().await;
    for round in 0..3 {
        let request = http::Request::builder().method("POST").uri(format!("https://{NAME}/static/k"));
        let mut stream = client.requests().send_request(request.body(()).unwrap()).await.unwrap();
        // More than the server's window takes.
        let content = async {
            for _ in 0..100 {
                if stream.send_data(vec![0; 16 * 1024].into()).await.is_err() {
                    return;
                }
            }
            panic!("all of it was taken");
        };
        timeout(PATIENCE, content).await.unwrap();
        assert_eq!(stream.recv_response().await.unwrap().status(), 405, "{round}");
    }
    assert_eq!(client.get("/nowhere").await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_for_its_client_and_goes_on() {
    let secure = TlsSite::of_http3("").await;
    secure.site.origin.objects().put_pattern("large", 32 << 20);
    let mut client = secure.http3().await;
    let mut stream = client.begin("GET", "/media/large", &[]).await.unwrap();
    assert_eq!(stream.recv_response().await.unwrap().status(), 200);
    // Other streams are served meanwhile.
    secure.site.put("k", &[], "hello");
    assert_eq!(client.get("/static/k").await.unwrap().body, "hello");
    let (mut length, mut sent) = (0_u64, 0_u64);
    while let Some(mut part) = timeout(PATIENCE, stream.recv_data()).await.unwrap().unwrap() {
        let part = part.copy_to_bytes(part.remaining());
        let expected = yatagarasu_testing::origin::MemoryObjects::pattern(length, length + part.len() as u64);
        assert!(part == expected, "from {length} on");
        length += part.len() as u64;
        sent += 1;
    }
    assert!(length == 32 << 20 && sent > 1, "{length}");
}

/// All responses of a connection wait for the same room, and the first one that is woken would take it each time.
#[tokio::test(flavor = "multi_thread")]
async fn responses_of_one_connection_get_equal_shares() {
    const LENGTH: u64 = 900_000;
    let secure = TlsSite::of_http3("").await;
    secure.site.origin.objects().put_pattern("k", LENGTH);
    secure.site.store("/static/k").await;
    let mut client = secure.http3().await;
    for _ in 0..5 {
        let mut streams = Vec::new();
        for _ in 0..6 {
            streams.push(client.begin("GET", "/static/k", &[]).await.unwrap());
        }
        let received = [0; 6].map(AtomicU64::new);
        let least = || received.iter().map(|one| one.load(Ordering::Relaxed)).min().unwrap();
        let at_first_end = OnceLock::new();
        let reading = streams.into_iter().zip(&received).map(async |(mut stream, received)| {
            stream.recv_response().await.unwrap();
            while let Some(part) = stream.recv_data().await.unwrap() {
                received.fetch_add(part.remaining() as u64, Ordering::Relaxed);
            }
            at_first_end.get_or_init(least);
        });
        timeout(PATIENCE, futures_util::future::join_all(reading)).await.unwrap();
        let least = at_first_end.get().unwrap();
        assert!(*least > LENGTH / 10, "{least} when the first one has all of it");
    }
}
