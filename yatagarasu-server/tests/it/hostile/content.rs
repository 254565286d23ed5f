//! Tests of requests with content, which a read-only gateway does not read.

use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::Connection;

use crate::site::{Site, until_metric};

/// The answer was lost in the reset that bytes cause when they arrive after the end.
#[tokio::test]
async fn an_answer_is_whole_if_the_content_comes_late() {
    let site = Site::start().await;
    let object: Vec<u8> = (0..200_000_u32).map(|index| (index % 251).to_le_bytes()[0]).collect();
    site.put("k", &[], object.clone());
    site.store("/static/k").await;
    for (fields, content) in [
        ("content-length: 1000", vec!["x".repeat(500), "x".repeat(500)]),
        ("transfer-encoding: chunked", vec!["5\r\nabcde\r\n".to_owned(), "0\r\n\r\n".to_owned()]),
    ] {
        let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
        for (line, before, more, status, expected) in [
            ("GET /static/k", "", "", 200, Some(&object)),
            ("PUT /static/k", "", "", 405, None),
            ("CONNECT a:80", "", "", 405, None),
            // hyper ends a connection by other rules once a protocol was offered.
            ("GET /static/k", "", upgrade, 200, Some(&object)),
            ("PUT /static/k", upgrade, "", 405, None),
        ] {
            let mut client = Connection::narrow_send(site.address, "").await;
            if !before.is_empty() {
                client.say(format!("HEAD /static/k HTTP/1.1\r\nhost: a\r\n{before}\r\n")).await;
                assert_eq!(client.head().await.status, 200);
            }
            client.say(format!("{line} HTTP/1.1\r\nhost: a\r\n{more}{fields}\r\n\r\n")).await;
            let head = client.head().await;
            assert_eq!((head.status, head.field("connection")), (status, "close"));
            // The server has its last bytes in its socket, and the client sends on.
            for part in content.clone() {
                client.say(part).await;
            }
            let body = client.end().await;
            assert!(expected.is_none_or(|object| *object == body), "{} bytes", body.len());
        }
    }
    until_metric(&site.admin, "yatagarasu_connections", |open| open <= 1).await;
}

/// A client that has sent a request and a part of the next one has left all the same.
#[tokio::test]
async fn a_client_that_leaves_with_bytes_unread_ends_its_request() {
    let site = Site::by_hand("").await;
    let client = Connection::send(site.address, "GET /media/k HTTP/1.1\r\nhost: a\r\n\r\nX").await;
    let mut exchange = site.origin.next().await;
    socket2::SockRef::from(client.socket.get_ref()).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    timeout(PATIENCE, exchange.closed()).await.expect("the request to S3 ends");
}

/// What follows the head does not count for its length.
#[tokio::test]
async fn a_head_with_odd_bytes_is_as_long_as_it_is() {
    let site = Site::start().await;
    let content = "x".repeat(16_300);
    let head = format!("GET /static/a<b HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", content.len());
    let mut client = Connection::send(site.address, format!("{head}{content}")).await;
    assert_eq!(client.head().await.status, 404);
    client.rest().await;
    let long = format!("GET /static/k?{} HTTP/1.1\r\nhost: a\r\n\r\n", "<".repeat(6000));
    let mut client = Connection::send(site.address, long).await;
    assert_eq!(client.head().await.status, 431, "it is longer when it is escaped");
}
