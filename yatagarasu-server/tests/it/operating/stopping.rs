//! Tests of how a server stops.

use std::time::Duration;

use tokio::time::Instant;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::Connection;
use yatagarasu_testing::origin::Origin;

use crate::site::{Site, metric, until_metric};

/// Kubernetes and load balancers send clients on for seconds after they have told a server to stop.
#[tokio::test]
async fn a_server_that_drains_is_not_ready_serves_on_and_ends_connections_between_two_responses() {
    let mut site = Site::over(Origin::start().await, "drain: \"2s\"", "", "").await;
    site.put("k", &[], "hello");
    site.store("/static/k").await;
    assert_eq!(site.admin.get("/ready").await.status, 200);
    let mut idle = Connection::get(site.address, "/static/k").await;
    assert_eq!(idle.head().await.field("connection"), "");
    assert_eq!(idle.take(5).await, b"hello");
    let begun = Instant::now();
    let running = site.drain();
    while site.admin.get("/ready").await.status == 200 {}
    idle.get_again("/static/k").await;
    let last = idle.head().await;
    assert_eq!((last.status, last.field("connection"), last.field("x-cache")), (200, "close", "HIT"));
    assert_eq!(idle.end().await, b"hello");
    // New connections are served, each for one response.
    let mut late =
        Connection::send(site.address, "GET /static/k HTTP/1.1\r\nhost: a\r\nrange: bytes=1-2\r\n\r\n").await;
    let head = late.head().await;
    assert_eq!((head.status, head.field("connection")), (206, "close"));
    assert_eq!(late.end().await, b"el");
    refuses(site.address).await;
    assert!(begun.elapsed() > Duration::from_millis(1500), "{:?}", begun.elapsed());
    assert!(running.await.unwrap());
}

/// Operators have to see how a server stops.
#[tokio::test]
async fn the_admin_api_is_there_until_the_last_response_has_ended() {
    let mut site = Site::by_hand("").await;
    let (mut client, mut exchange) =
        site.answered("HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n").await;
    let running = site.stop();
    refuses(site.address).await;
    assert_eq!((site.admin.get("/health").await.status, site.admin.get("/ready").await.status), (200, 503));
    assert_eq!(metric(&site.admin, "yatagarasu_connections").await, 1);
    exchange.write(vec![7; 2_000_000]).await;
    assert_eq!(client.end().await.len(), 2_000_000);
    assert!(running.await.unwrap());
}

#[tokio::test]
async fn stopping_lets_responses_end_and_accepts_no_more() {
    let mut site = Site::by_hand("").await;
    let (mut client, mut exchange) =
        site.answered("HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n").await;
    let idle = Connection::begin(site.address, "/nowhere").await;
    let running = site.stop();
    // Connections are refused as soon as the listener is closed.
    refuses(site.address).await;
    assert!(!running.is_finished());
    exchange.write(vec![7; 2_000_000]).await;
    assert_eq!(client.end().await.len(), 2_000_000);
    assert!(running.await.unwrap(), "all responses ended by themselves");
    drop(idle);
}

#[tokio::test]
async fn stopping_does_not_wait_longer_than_it_may() {
    let origin = Origin::by_hand().await;
    let mut site = Site::over(origin, "shutdown_grace: \"50ms\"", "", "").await;
    let (_client, mut exchange) = site.answered("HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n").await;
    assert!(!site.stop().await.unwrap(), "one response was cut off");
    exchange.closed().await;
}

#[tokio::test]
async fn stopping_goes_on_with_what_another_thread_began() {
    let mut site = Site::by_hand("").await;
    // One client connects to each of the two threads. The first starts the fill and leaves.
    let (first, mut exchange) = site.answered("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    let mut second = Connection::begin(site.address, "/static/k").await;
    drop(first);
    until_metric(&site.admin, "yatagarasu_connections", |open| open == 1).await;
    let running = site.stop();
    refuses(site.address).await;
    exchange.write("world").await;
    assert_eq!(second.end().await, b"helloworld");
    assert!(running.await.unwrap());
}

/// Waits until the listener refuses connections.
async fn refuses(address: std::net::SocketAddr) {
    let refused = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("the listener closes");
}
