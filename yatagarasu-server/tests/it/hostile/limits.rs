//! Tests of the limits on connections and requests.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use yatagarasu_sys::process::raise_open_files_limit;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Client, Connection, Http2};
use yatagarasu_testing::origin::Origin;

use crate::operating::process::Process;
use crate::site::{Site, bucket, document, metric, until_metric};

/// Returns a site whose server has further settings, with an object that is stored.
async fn limited(server: &str) -> Site {
    let site = Site::over(Origin::start().await, server, "", "").await;
    site.put("k", &[], "hello");
    site.store("/static/k").await;
    site
}

async fn refused(site: &Site, limit: &str) -> u64 {
    let metrics = site.admin.get("/metrics").await;
    let name = format!("yatagarasu_connections_refused_total{{limit={limit:?}}} ");
    let value = metrics.text().lines().find_map(|line| line.strip_prefix(&name)).expect("the metric");
    value.parse().unwrap()
}

#[tokio::test]
async fn a_client_beyond_the_limit_is_told_to_come_back_and_others_are_served() {
    let site = limited("connections_max: 2").await;
    until_metric(&site.admin, "yatagarasu_connections", |open| open <= 1).await;
    // The pool of the site's client has one.
    let mut held = Connection::begin(site.address, "/static/k").await;
    held.take(5).await;
    let mut third = Connection::get(site.address, "/static/k").await;
    let answer = third.head().await;
    assert_eq!((answer.status, answer.field("retry-after"), answer.field("connection")), (503, "1", "close"));
    assert!(String::from_utf8(third.end().await).unwrap().contains("as many clients as it takes"));
    assert_eq!(refused(&site, "connections_max").await, 1);
    assert_eq!(site.admin.get("/health").await.status, 200);
    // Both are idle: they make room.
    until_metric(&site.admin, "yatagarasu_connections", |open| open == 0).await;
    assert_eq!(Client::unpooled(site.address).get("/static/k").await.status, 200);
}

#[tokio::test]
async fn a_client_has_so_many_connections_and_no_more() {
    let site = limited("connections_per_client: 2").await;
    let mut held = Connection::begin(site.address, "/static/k").await;
    let mut third = Connection::get(site.address, "/static/k").await;
    let answer = third.head().await;
    assert_eq!((answer.status, answer.field("retry-after")), (429, "1"));
    third.end().await;
    held.take(5).await;
    held.finish().await;
    held.end().await;
    let again =
        async { while Connection::get(site.address, "/static/k").await.head().await.status != 200 {} };
    timeout(PATIENCE, again).await.expect("a connection that has ended counts no more");
}

#[tokio::test]
async fn a_connection_ends_after_so_many_requests() {
    let site = limited("requests_per_connection: 3").await;
    let get = "GET /static/k HTTP/1.1\r\nhost: a\r\n\r\n";
    let ranged = "GET /static/k HTTP/1.1\r\nhost: a\r\nrange: bytes=0-4\r\n\r\n";
    for requests in [[get, get, get], [ranged, get, ranged], [get, ranged, get]] {
        let mut client = Connection::send(site.address, requests[0]).await;
        for (index, next) in [Some(requests[1]), Some(requests[2]), None].into_iter().enumerate() {
            let head = client.head().await;
            let last = if index == 2 { "close" } else { "" };
            assert_eq!(head.field("connection"), last, "{index} of {requests:?}");
            match next {
                Some(next) => {
                    client.take(5).await;
                    client.say(next).await;
                }
                None => assert_eq!(client.end().await, b"hello"),
            }
        }
    }
    let mut client = Http2::connect(site.address).await;
    for _ in 0..3 {
        assert_eq!(client.get("/static/k").await.unwrap().status, 200);
    }
    timeout(PATIENCE, client.closed()).await.expect("the connection ends");
}

#[tokio::test]
async fn heads_may_be_as_long_as_the_server_says() {
    let head = |length: usize| {
        format!("GET /static/k HTTP/1.1\r\nhost: a\r\ncookie: {}\r\n\r\n", "c".repeat(length))
    };
    let site = limited("header_size: 64KiB").await;
    for (length, status) in [(10_000, 200), (60_000, 200), (70_000, 431)] {
        let mut client = Connection::send(site.address, head(length)).await;
        assert_eq!(client.head().await.status, status, "{length}");
    }
    let site = limited("header_size: 8KiB").await;
    let mut client = Connection::send(site.address, head(10_000)).await;
    assert_eq!(client.head().await.status, 431);
}

/// CVE-2023-44487: each request that is reset at once costs one to S3.
#[tokio::test]
async fn a_client_that_resets_what_it_asks_for_is_let_go() {
    let site = Site::over(Origin::by_hand().await, "http2_resets_max: 20", "", "").await;
    let mut client = Http2::connect(site.address).await;
    for index in 0..21 {
        let request = client.get(&format!("/media/{index}"));
        let mut exchange = site.origin.next().await;
        request.abort();
        exchange.closed().await;
    }
    assert_eq!(refused(&site, "http2_resets_max").await, 0);
    let last = client.begin("/media/last");
    timeout(PATIENCE, client.closed()).await.expect("the connection is closed");
    assert!(last.await.is_err());
    assert_eq!(refused(&site, "http2_resets_max").await, 1);
}

#[tokio::test]
async fn a_client_may_begin_so_many_streams_in_a_second() {
    let site = limited("http2_streams_per_second: 5").await;
    let mut client = Http2::connect(site.address).await;
    let mut requests = Vec::new();
    for _ in 0..6 {
        requests.push(client.get("/static/k"));
    }
    for request in requests {
        assert_eq!(request.await.unwrap().status, 200, "what has begun is answered");
    }
    timeout(PATIENCE, client.closed()).await.expect("the connection ends");
    assert_eq!(refused(&site, "http2_streams_per_second").await, 1);
}

/// A client that acknowledges nothing could otherwise go on with new streams for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_heed_goaway_is_let_go() {
    let site = limited("requests_per_connection: 1").await;
    let mut client = TcpStream::connect(site.address).await.unwrap();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut begun = 0_u32;
    // GET of `/` at the host `a`, by RFC 7541 C.3, and what is read while the connection lasts.
    let talk = async {
        loop {
            let id = (2 * begun + 1).to_be_bytes();
            let frame = [&[0, 0, 6, 1, 5][..], &id, &[0x82, 0x86, 0x84, 0x41, 1, b'a']].concat();
            if client.write_all(&frame).await.is_err()
                || !matches!(client.read(&mut [0; 4096]).await, Ok(1..))
            {
                return;
            }
            begun += 1;
        }
    };
    timeout(PATIENCE, talk).await.expect("the connection ends");
    assert!(begun < 1000, "{begun}");
}

/// Operators could not even ask what was wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_leaves_descriptors_for_operators_and_hits() {
    raise_open_files_limit();
    let s3 = Origin::start().await;
    s3.objects().put("k", &[], "hello");
    let yaml = document("", &[bucket(&s3.endpoint(), "assets", "/static", "", "")]);
    let process = Process::start_limited(&yaml, 64);
    let client = Client::unpooled(process.address);
    while client.get("/static/k").await.field("x-cache") != "HIT" {}
    let crowd: Vec<_> = (0..1000).map(|_| tokio::net::TcpStream::connect(process.address)).collect();
    let _crowd = futures_util::future::join_all(crowd).await;
    let admin = Client::unpooled(process.admin);
    for path in ["/health", "/ready", "/stats", "/metrics"] {
        let answer = timeout(Duration::from_secs(5), admin.get(path)).await.expect("an answer in time");
        assert_eq!(answer.status, 200, "{path}");
    }
    // Those who say nothing make room for those who ask.
    let admin = Client::new(process.admin);
    let max = metric(&admin, "yatagarasu_connections_max").await;
    until_metric(&admin, "yatagarasu_connections", |open| open + 2 <= max).await;
    assert_eq!(client.get("/static/k").await.field("x-cache"), "HIT");
}
