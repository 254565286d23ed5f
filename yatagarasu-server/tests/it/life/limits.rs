//! No limit that S3 does not have; and beyond a bound the answer says which one.

use std::fmt::Write;

use yatagarasu_testing::client::Connection;
use yatagarasu_testing::origin::Reply;

use crate::site::Site;

/// hyperium/hyper#3283: 2 KB of metadata can be hundreds of fields, and so can a client's.
#[tokio::test]
async fn many_small_fields_pass_in_both_directions() {
    let site = Site::start().await;
    let reply =
        (0..400).fold(Reply::ok("x"), |reply, number| reply.with(&format!("x-amz-meta-{number}"), "v"));
    site.origin.answer("k", [reply]);
    for x_cache in ["MISS", "HIT"] {
        let mut client = Connection::get(site.address, "/static/k").await;
        let answer = client.head().await;
        assert_eq!(
            (answer.status, answer.field("x-amz-meta-399"), answer.field("x-cache")),
            (200, "v", x_cache)
        );
        crate::site::until(&site, |stats| stats["buckets"][0]["objects"] == 1).await;
    }
    let mut head = "GET /static/k HTTP/1.1\r\nhost: a\r\n".to_owned();
    for number in 0..400 {
        write!(head, "x-f{number}: v\r\n").unwrap();
    }
    let mut client = Connection::send(site.address, head + "\r\n").await;
    assert_eq!(client.head().await.status, 200);
}

/// scality/cloudserver#2119 and others: old objects have metadata beyond S3's 2 KB.
#[tokio::test]
async fn large_heads_of_s3_pass_and_larger_ones_say_the_bound() {
    let site = Site::start().await;
    site.origin.answer("k", [Reply::ok("x").with("x-amz-meta-long", &"v".repeat(60_000))]);
    assert_eq!(site.client.get("/media/k").await.field("x-amz-meta-long").len(), 60_000);
    site.origin.answer("larger", [Reply::ok("x").with("x-amz-meta-long", &"v".repeat(1_000_000))]);
    assert_eq!(site.client.get("/media/larger").await.status, 502);
}

/// s3fs-fuse/s3fs-fuse#1602: keys may have 1,024 bytes, three times as many when escaped.
#[tokio::test]
async fn keys_of_1024_bytes_are_served_stored_and_purged() {
    let site = Site::start().await;
    let key = "\u{3042}".repeat(341) + "x";
    assert_eq!(key.len(), 1024);
    site.put(&key, &[], "x");
    let escaped: String = key.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"));
    let path = format!("/static/{escaped}");
    assert_eq!(site.client.get(&path).await.status, 200);
    site.store(&path).await;
    assert_eq!(site.client.head(&path).await.field("x-cache"), "HIT");
    let order = serde_json::json!({ "bucket": "assets", "key": key }).to_string();
    assert_eq!(site.purge(&order).await.json()["purged"], 1);
    for method in ["GET", "HEAD"] {
        let longer = site.client.send(method, &format!("{path}x"), &[], "".into()).await;
        assert_eq!(longer.status, 400, "{method}");
    }
}

#[tokio::test]
async fn a_head_beyond_the_bound_is_told_which_one() {
    let site = Site::start().await;
    let long = format!("GET /static/k HTTP/1.1\r\nhost: a\r\ncookie: {}\r\n\r\n", "c".repeat(20_000));
    let many = format!("GET /static/k HTTP/1.1\r\nhost: a\r\n{}\r\n", "a:b\r\n".repeat(600));
    for (head, detail) in [
        (long, "the request head is longer than 16384 bytes"),
        (many, "the request has more than 512 fields"),
    ] {
        let mut client = Connection::send(site.address, head).await;
        let answer = client.head().await;
        assert_eq!(answer.status, 431);
        let body: serde_json::Value = serde_json::from_slice(&client.end().await).unwrap();
        assert_eq!(body["detail"], detail);
    }
}
