//! Tests of request heads that are odd or hostile. Each is answered alike, whatever came before it on its connection,
//! and what follows is never read as a part of it.

use std::net::SocketAddr;

use yatagarasu_testing::client::Connection;

use crate::site::Site;
use crate::tls::TlsSite;
use crate::tls::client::tunnel;

/// Requests after which a connection was once read by other rules.
const BEFORE: [&str; 8] = [
    "",
    "GET /static/k HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET /static/k HTTP/1.1\r\nhost: a\r\nrange: bytes=0-0\r\n\r\n",
    "POST /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
    "DELETE /static/k HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET /static/k HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\n",
    "GET /static/k HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
    "GET /static/k HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
];

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The next request is answered.
    Open,
    /// It ends, and nothing of what follows is answered.
    Closed,
}

use Then::{Closed, Open};

/// Heads, without the empty line at their end, with the status and what becomes of the connection.
#[rustfmt::skip]
const HEADS: [(&str, u16, Then); 64] = [
    // Targets (RFC 9112 3.2).
    ("GET /static/k HTTP/1.1\r\nhost: a", 200, Open),
    ("GET http://a/static/k HTTP/1.1\r\nhost: b", 200, Open),
    ("GET HTTPS://a/static/k HTTP/1.1\r\nhost: a", 200, Open),
    ("GET 1http://a/static/k HTTP/1.1\r\nhost: a", 400, Open),
    ("GET ftp://a/static/k HTTP/1.1\r\nhost: a", 400, Open),
    ("GET http://u:p@a/static/k HTTP/1.1\r\nhost: a", 400, Open),
    ("GET http://a:x/static/k HTTP/1.1\r\nhost: a", 400, Open),
    ("GET /static/k#f HTTP/1.1\r\nhost: a", 200, Open),
    ("GET /static/k?<#f< HTTP/1.1\r\nhost: a", 200, Open),
    ("GET /static/<>`{}|^[] HTTP/1.1\r\nhost: a", 404, Open),
    ("GET /static/%00 HTTP/1.1\r\nhost: a", 400, Open),
    ("GET /static/%zz HTTP/1.1\r\nhost: a", 400, Open),
    ("GET /static/%c0%ae%c0%ae/x HTTP/1.1\r\nhost: a", 400, Open),
    ("GET /static/../x HTTP/1.1\r\nhost: a", 400, Open),
    ("GET /static/%2e%2e/x HTTP/1.1\r\nhost: a", 400, Open),
    ("GET /static/a%2Fb HTTP/1.1\r\nhost: a", 404, Open),
    ("GET * HTTP/1.1\r\nhost: a", 400, Open),
    ("OPTIONS * HTTP/1.1\r\nhost: a", 204, Open),
    ("CONNECT a:80 HTTP/1.1\r\nhost: a", 405, Closed),
    ("GET /static/k x HTTP/1.1\r\nhost: a", 400, Closed),
    ("GET\t/static/k\tHTTP/1.1\r\nhost: a", 400, Closed),
    ("GET /static/k", 400, Closed),
    ("GET /static/k HTTP/1.2\r\nhost: a", 400, Closed),
    ("GET /static/k HTTP/2.0\r\nhost: a", 400, Closed),
    // Host (RFC 9112 3.2).
    ("GET /static/k HTTP/1.1", 400, Open),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\nhost: a", 400, Open),
    ("GET /static/k HTTP/1.1\r\nhost: a/b", 400, Open),
    ("GET /static/k HTTP/1.1\r\nhost: u@a", 400, Open),
    ("GET /static/k HTTP/1.0\r\nconnection: keep-alive\r\nhost: a\r\nhost: b", 400, Open),
    ("GET /static/k HTTP/1.0\r\nhost: a", 200, Closed),
    // Field lines (RFC 9112 5).
    ("GET /static/k HTTP/1.1\r\nhost : a", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\nx : y", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\n x: y", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\nx: y\r\n z", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\n: y", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\nx", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\nx: a\u{0}b", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\nx: a\rb", 400, Closed),
    ("GET /static/k HTTP/1.1\nhost: a\nx: y", 200, Open),
    ("\r\n\r\nGET /static/k HTTP/1.1\r\nhost: a", 200, Open),
    // Framing (RFC 9112 6). A request with content is answered, and is the last one.
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: 0", 200, Open),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ncontent-length: 0", 200, Open),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: 5", 200, Closed),
    ("POST /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: 5", 405, Closed),
    ("PUT /static/k HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked", 405, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked", 200, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 05", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 5", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: +5", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: -1", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: 0x5", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ncontent-length:", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551621", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ntransfer-encoding:", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\u{ff}, chunked", 400, Closed),
    ("GET /static/k HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked", 400, Closed),
    // Others.
    ("get /static/k HTTP/1.1\r\nhost: a", 405, Open),
    ("G@T /static/k HTTP/1.1\r\nhost: a", 400, Closed),
    ("GET /static/k HTTP/1.1\r\nhost: a\r\nconnection: close", 200, Closed),
];

/// Answers an S3 request for anything but `k` with a 404.
async fn site() -> Site {
    let site = Site::start().await;
    site.put("k", &[], "hello");
    site.store("/static/k").await;
    site
}

/// Reads one response. `headless` says that it has no content whatever its fields say.
async fn read(client: &mut Connection) -> Option<(u16, Vec<u8>)> {
    let head = client.try_head().await?;
    let length = head.field("content-length").parse().unwrap_or(0);
    Some((head.status, client.take(length).await))
}

#[tokio::test]
async fn each_head_is_answered_alike_whatever_came_before() {
    let site = site().await;
    check_heads(&site, site.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_head_is_answered_alike_over_tls() {
    let secure = TlsSite::start().await;
    secure.site.put("k", &[], "hello");
    secure.site.store("/static/k").await;
    let address = tunnel(&secure.client, secure.secure, "www.example").await;
    check_heads(&secure.site, address).await;
}

async fn check_heads(site: &Site, address: SocketAddr) {
    let marker = "GET /static/marker HTTP/1.1\r\nhost: marker\r\n\r\n";
    for (head, status, then) in HEADS {
        for before in BEFORE {
            // What follows is sent at once, so that a wrong end of the head makes it a request, or hides it.
            let mut client = Connection::send(address, before).await;
            if !before.is_empty() {
                read(&mut client).await.expect("an answer to what comes before");
            }
            client.say(format!("{head}\r\n\r\n{marker}")).await;
            let context = format!("{head:?} after {before:?}");
            let (found, content) = read(&mut client).await.expect(&context);
            assert_eq!(found, status, "{context}");
            if status == 200 {
                assert_eq!(content, b"hello", "{context}");
            } else if status >= 400 {
                let document: serde_json::Value = serde_json::from_slice(&content).expect(&context);
                assert!(document["request_id"].is_string() && document["detail"].is_string(), "{context}");
            }
            let next = read(&mut client).await.map(|(status, _)| status);
            let expected = match then {
                Open => Some(404),
                Closed => None,
            };
            assert_eq!(next, expected, "what follows {context}");
        }
    }
    let asked: Vec<_> = site.origin.requests().into_iter().map(|request| request.target).collect();
    assert!(asked.iter().all(|target| !target.contains("%00") && !target.contains("..")), "{asked:?}");
}

/// RFC 9113 8.3.1.
#[tokio::test]
async fn over_http2_host_and_authority_say_the_same() {
    let site = site().await;
    let mut client = yatagarasu_testing::client::Http2::connect(site.address).await;
    let own = site.address.to_string();
    for (host, status) in [(own.as_str(), 200), ("other.example", 400), ("a/b", 400)] {
        let answer = client.send("GET", "/static/k", &[("host", host)]).await.unwrap();
        assert_eq!(answer.status, status, "{host}");
    }
}

#[tokio::test]
async fn the_preface_of_http2_may_come_in_pieces_and_only_at_the_beginning() {
    let site = site().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for split in 1..preface.len() {
        let mut client = Connection::send(site.address, &preface[..split]).await;
        // Both writes must arrive apart: the answer to a request on another connection shows that the first has.
        site.client.get("/nowhere").await;
        client.say([&preface[split..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).await;
        // A frame of SETTINGS.
        assert_eq!(client.take(9).await[3], 4, "{split}");
    }
    let mut client = Connection::begin(site.address, "/static/k").await;
    client.take(5).await;
    client.say(preface).await;
    assert_eq!(client.head().await.status, 400);
}
