//! Tests of clients and sources that leave, stall, or send too little.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use yatagarasu_testing::client::Connection;

use crate::site::Site;

const LARGE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\nfirst";

/// Returns the time that the gateway takes to end a request at S3 after its client has left, before the head or in the
/// body.
///
/// It is the best of five tries, because other tests use the processor too.
async fn time_to_leave(answer: &str) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let site = Site::by_hand("").await;
        let mut client = Connection::get(site.address, "/static/k").await;
        let mut exchange = site.origin.next().await;
        exchange.write(answer).await;
        if !answer.is_empty() {
            client.head().await;
        }
        drop(client);
        let left = Instant::now();
        exchange.closed().await;
        best = best.min(left.elapsed());
    }
    best
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_ends_it_at_s3_within_100_ms() {
    let taken = time_to_leave(LARGE).await;
    assert!(taken < Duration::from_millis(100), "{taken:?}");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_ends_the_request_within_100_ms() {
    let taken = time_to_leave("").await;
    assert!(taken < Duration::from_millis(100), "{taken:?}");
}

#[tokio::test]
async fn a_fill_goes_on_for_those_who_wait() {
    let site = Site::by_hand("").await;
    let (first, mut exchange) = site.answered("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    let mut second = Connection::begin(site.address, "/static/k").await;
    drop(first);
    exchange.write("world").await;
    assert_eq!(second.take(10).await, b"helloworld");
    let hit = site.client.get("/static/k").await;
    assert_eq!((hit.field("x-cache"), &hit.body[..]), ("HIT", &b"helloworld"[..]));
}

#[tokio::test]
async fn a_body_cut_short_breaks_the_clients_connection_and_stores_nothing() {
    for length in [10, 100_000_000] {
        let site = Site::by_hand("").await;
        let (mut client, exchange) =
            site.answered(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nhello")).await;
        drop(exchange);
        // The connection is closed or reset, in either case before the promised length.
        assert!(client.rest().await.len() <= 5, "{length}");
        assert_eq!(site.admin.get("/stats").await.json()["buckets"][0]["objects"], 0);
    }
}

#[tokio::test]
async fn a_chunked_body_cut_short_is_not_taken_for_whole() {
    let site = Site::by_hand("").await;
    let (mut client, exchange) =
        site.answered("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    drop(exchange);
    let body = client.rest().await;
    assert!(!body.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&body));
    assert_eq!(site.admin.get("/stats").await.json()["buckets"][0]["objects"], 0);
}

#[tokio::test]
async fn a_chunked_body_that_ends_within_the_limit_is_stored() {
    let site = Site::by_hand("").await;
    let asked = site.begin("/static/k");
    let mut exchange = site.origin.next().await;
    exchange.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    assert_eq!(asked.await.unwrap().body, "hello");
    let hit = site.client.get("/static/k").await;
    assert_eq!((hit.field("x-cache"), hit.field("content-length")), ("HIT", "5"));
}

#[tokio::test]
async fn a_source_that_falls_silent_breaks_the_connection() {
    let site = Site::by_hand("idle_timeout: \"100ms\"").await;
    let (mut client, mut exchange) = site.answered(LARGE).await;
    assert!(client.rest().await.len() <= 5);
    exchange.closed().await;
}

#[tokio::test]
async fn a_slow_client_slows_s3_down() {
    let site = Site::by_hand("").await;
    let client = tokio::spawn(Connection::begin(site.address, "/static/k"));
    let mut exchange = site.origin.next().await;
    // Small kernel buffers on the way, so that the test measures the gateway's own buffers.
    let socket = socket2::SockRef::from(&exchange.socket);
    socket.set_send_buffer_size(64 * 1024).unwrap();
    exchange.write("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
    let client = client.await.unwrap();
    let mut taken = 0;
    let chunk = vec![0; 64 * 1024];
    // Write until nothing is taken for a while. The buffers of the kernel and the gateway are full then.
    while let Ok(written) = timeout(Duration::from_millis(500), exchange.socket.write(&chunk)).await {
        taken += written.unwrap();
        assert!(taken < 64 << 20, "S3 is read although the client does not read");
    }
    drop(client);
    exchange.closed().await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let site = Site::configured("header_timeout: \"200ms\"", "", "").await;
    site.put("k", &[], "x");
    for said in ["", "G", "GET /static/k HTTP/1.1\r\nhost:"] {
        let mut client = Connection::send(site.address, said).await;
        let ended = timeout(Duration::from_secs(10), client.rest()).await;
        assert!(ended.is_ok(), "after {said:?}");
    }
    // A head that arrives byte by byte counts as no head.
    let client = Connection::send(site.address, "").await;
    let (mut reading, mut writing) = client.socket.into_inner().into_split();
    let drip = async {
        while writing.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    let ended = async {
        // Closed or reset, depending on when the last byte arrives.
        let _ = reading.read_to_end(&mut Vec::new()).await;
    };
    let ended = async {
        tokio::select! {
            () = ended => {}
            () = drip => {}
        }
    };
    timeout(Duration::from_secs(10), ended).await.expect("closed in time");
    // A connection that is idle between two requests is closed as well.
    let mut client = Connection::begin(site.address, "/static/k").await;
    assert_eq!(timeout(Duration::from_secs(10), client.end()).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_not_let_go() {
    let site = Site::configured("header_timeout: \"200ms\"", "", "max_item_size: \"10MB\"").await;
    site.put("k", &[], vec![7; 9_000_000]);
    site.client.get("/static/k").await;
    let mut client = Connection::begin(site.address, "/static/k").await;
    let (mut piece, mut read) = (vec![0; 100_000], 0);
    while read < 9_000_000 {
        // At least nine times the limit in all.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let taken = client.socket.read(&mut piece).await.unwrap();
        assert!(taken > 0, "cut off after {read} bytes");
        read += taken;
    }
}

#[tokio::test]
async fn a_purge_wins_over_a_fill_that_began_before_it() {
    let site = Site::by_hand("").await;
    let (mut client, mut exchange) = site.answered("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nol").await;
    assert_eq!(site.purge("{\"bucket\":\"assets\",\"key\":\"k\"}").await.json()["purged"], 0);
    exchange.write("d").await;
    assert_eq!(client.take(3).await, b"old");

    let again = site.begin("/static/k");
    // The gateway may reuse the connection of the first request.
    let new = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nnew";
    tokio::select! {
        mut next = site.origin.next() => next.write(new).await,
        () = exchange.next_request() => exchange.write(new).await,
    }
    let again = again.await.unwrap();
    assert_eq!((again.field("x-cache"), &again.body[..]), ("MISS", &b"new"[..]));
}
