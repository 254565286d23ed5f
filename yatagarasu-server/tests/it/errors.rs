//! Tests of the status of error responses.

use std::time::Duration;
use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::{ClosedPort, Origin, Reply};

use crate::site::{Site, bucket, document};

#[track_caller]
fn check(answer: &Response, status: u16) {
    assert_eq!((answer.status, answer.field("content-type")), (status, "application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"], answer.field("x-request-id"));
    let text = String::from_utf8_lossy(&answer.body);
    for leak in ["<", "AKID", "127.0.0.1", "Signature", "SlowDown", "bucket/"] {
        assert!(!text.contains(leak), "{leak} in {text}");
    }
}

#[tokio::test]
async fn bad_paths_are_400() {
    let site = Site::start().await;
    for path in ["/static/../media/k", "/static/%2e%2e/k", "/static/a%00b", "/static/%zz", "/static/%ff"] {
        check(&site.client.get(path).await, 400);
    }
    check(&site.client.get(&format!("/static/{}", "k".repeat(1025))).await, 400);
    assert!(site.origin.requests().is_empty());
}

#[tokio::test]
async fn missing_objects_and_prefixes_are_404() {
    let site = Site::start().await;
    site.put("k", &[], "x");
    check(&site.client.get("/static/missing").await, 404);
    check(&site.client.get("/media/missing").await, 404);
    check(&site.client.get("/nowhere/k").await, 404);
    check(&site.client.get("/static/").await, 404);
    let head = site.client.head("/static/missing").await;
    assert_eq!((head.status, head.body.len()), (404, 0));
}

#[tokio::test]
async fn refused_credentials_are_502() {
    let site = Site::with("session_token: \"of-somebody-else\"", "").await;
    site.put("k", &[], "x");
    check(&site.client.get("/static/k").await, 502);
    check(&site.client.get_with("/static/k", &[("range", "bytes=0-0")]).await, 502);
}

#[tokio::test]
async fn conditions_and_ranges_that_fail_are_412_and_416() {
    let site = Site::start().await;
    site.put("k", &[("etag", "\"e\"")], "0123456789");
    for _ in ["on a miss", "on a hit"] {
        check(&site.client.get_with("/static/k", &[("if-match", "\"other\"")]).await, 412);
        let beyond = site.client.get_with("/static/k", &[("range", "bytes=10-")]).await;
        check(&beyond, 416);
        assert_eq!(beyond.field("content-range"), "bytes */10");
        site.client.get("/static/k").await;
    }
}

#[tokio::test]
async fn an_unreachable_source_is_502() {
    let nobody = ClosedPort::new();
    let s3 = Origin::start().await;
    let entry = bucket(&nobody.endpoint(), "assets", "/static", "", "enabled: true");
    let site = Site::run(s3, &document("", &[entry])).await;
    check(&site.client.get("/static/k").await, 502);
    assert_eq!(site.client.head("/static/k").await.status, 502);
}

#[tokio::test]
async fn what_s3_answers_becomes_the_right_status() {
    let xml =
        |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>");
    for (line, code, status) in [
        ("500 Internal Server Error", "InternalError", 502),
        ("301 Moved Permanently", "PermanentRedirect", 502),
        ("400 Bad Request", "AuthorizationHeaderMalformed", 502),
        ("400 Bad Request", "ExpiredToken", 502),
        ("400 Bad Request", "InvalidArgument", 400),
        ("403 Forbidden", "InvalidAccessKeyId", 502),
        ("403 Forbidden", "AccessDenied", 403),
        ("403 Forbidden", "InvalidObjectState", 403),
        ("404 Not Found", "NoSuchBucket", 404),
        ("503 Slow Down", "SlowDown", 503),
        ("429 Too Many Requests", "", 503),
    ] {
        let site = Site::start().await;
        let body = xml(code);
        let head = format!(
            "HTTP/1.1 {line}\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nretry-after: 9\r\n\r\n",
            body.len()
        );
        site.origin.answer("k", [Reply::raw(head + &body)]);
        let answer = site.client.get("/static/k").await;
        check(&answer, status);
        if status == 503 {
            assert_eq!(answer.field("retry-after"), "9");
        }
    }
}

#[tokio::test]
async fn nonsense_is_502_and_so_is_a_connection_that_closes() {
    for nonsense in ["SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", ""] {
        // The gateway would repeat a request on a pooled connection; this request is on a new one.
        let site = Site::start().await;
        site.origin.answer("k", [Reply::raw(nonsense)]);
        check(&site.client.get("/static/k").await, 502);
    }
}

#[tokio::test]
async fn silence_is_504() {
    let site = Site::by_hand("response_timeout: \"100ms\"").await;
    let asked = site.begin("/static/k");
    let mut exchange = site.origin.next().await;
    check(&asked.await.unwrap(), 504);
    exchange.closed().await;
}

#[tokio::test]
async fn connecting_for_too_long_is_504() {
    // A listener with a full queue neither accepts nor refuses connections.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _waiting: Vec<_> = (0..4)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address.into());
            socket
        })
        .collect();
    let s3 = Origin::start().await;
    let timeouts = "connect_timeout: \"200ms\", response_timeout: \"20s\"";
    let entry = bucket(&format!("http://{address}"), "assets", "/static", timeouts, "enabled: true");
    let site = Site::run(s3, &document("", &[entry])).await;
    let begun = tokio::time::Instant::now();
    check(&site.client.get("/static/k").await, 504);
    assert!(begun.elapsed() < Duration::from_secs(10), "by connect_timeout, not by response_timeout");
}
