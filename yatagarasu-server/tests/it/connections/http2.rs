//! Tests of HTTP/2 on the same port as HTTP/1.1.

use http_body_util::BodyExt;
use yatagarasu_testing::client::{Client, Http2};

use crate::site::Site;

#[tokio::test]
async fn http2_with_prior_knowledge_is_served_on_the_same_port() {
    let site = Site::start().await;
    let content: Vec<u8> = (0..700_000u32).map(|index| (index % 255) as u8).collect();
    site.put("k", &[("content-type", "text/plain")], content.clone());
    let client = Client::http2(site.address);
    for expected in ["MISS", "HIT"] {
        let answer = client.get("/static/k").await;
        assert_eq!((answer.status, answer.field("x-cache")), (200, expected));
        assert!(answer.body == content);
    }
    let many: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.get_with("/static/k", &[("range", "bytes=1-2")]).await })
        })
        .collect();
    for one in many {
        assert_eq!(one.await.unwrap().body[..], [1, 2]);
    }
    assert_eq!(client.get("/static/missing").await.status, 404);
}

#[tokio::test]
async fn a_body_cut_short_resets_the_stream() {
    let site = Site::by_hand("").await;
    let mut client = Http2::connect(site.address).await;
    let response = tokio::spawn(client.begin("/static/k"));
    let mut exchange = site.origin.next().await;
    exchange.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    // Wait for the head: until it is sent, a broken response would turn into another status.
    let response = response.await.unwrap().unwrap();
    drop(exchange);
    let broken = response.into_body().collect().await.unwrap_err();
    assert!(format!("{broken:?}").contains("INTERNAL_ERROR"), "{broken:?}");
}

#[tokio::test]
async fn a_head_has_no_content_whatever_the_status() {
    let site = Site::start().await;
    site.put("k", &[("etag", "\"e\"")], "0123456789");
    let client = Client::http2(site.address);
    for (path, status, length) in [
        ("/static/k", 200, "10"),
        ("/static/missing", 404, ""),
        ("/nowhere", 404, ""),
        ("/static/%zz", 400, ""),
    ] {
        let answer = client.head(path).await;
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{path}");
        if !length.is_empty() {
            assert_eq!(answer.field("content-length"), length);
        }
        let whole = client.get(path).await;
        assert_eq!(answer.field("content-length"), whole.body.len().to_string(), "{path}");
    }
}

#[tokio::test]
async fn a_reset_ends_the_request_at_s3() {
    let site = Site::by_hand("").await;
    let mut client = Http2::connect(site.address).await;
    let response = tokio::spawn(client.begin("/static/k"));
    let mut exchange = site.origin.next().await;
    exchange.write("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\nfirst").await;
    // Dropping a body before its end resets its stream. The connection stays open.
    drop(response.await.unwrap().unwrap());
    exchange.closed().await;
    drop(client);
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let site = Site::configured("header_timeout: \"200ms\"", "", "").await;
    site.put("k", &[], "x");
    let mut client = Http2::connect(site.address).await;
    assert_eq!(client.get("/static/k").await.unwrap().body, "x");
    client.closed().await;
}
