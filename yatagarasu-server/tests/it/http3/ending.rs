//! Tests of how connections end: idle ones, those of a server that stops, and those that another process takes over.

use bytes::Buf;
use quinn::ConnectionError;
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::origin::{MemoryObjects, Origin};

use super::client::{Dial, Exchange, Http3};
use crate::operating::process::Process;
use crate::site::{bucket, document, metric, until_metric};
use crate::tls::{Files, TlsSite};

/// Waits until the server closes the connection. Returns the code.
async fn closed(client: &Http3) -> u64 {
    match timeout(PATIENCE, client.connection.closed()).await.expect("an end") {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("{other}"),
    }
}

/// `H3_NO_ERROR`.
const NO_ERROR: u64 = 0x100;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_requests_is_closed() {
    let secure = TlsSite::of_http3("header_timeout: \"200ms\"").await;
    secure.site.put("k", &[], "x");
    let mut client = secure.http3().await;
    assert_eq!(client.get("/static/k").await.unwrap().body, "x");
    assert_eq!(closed(&client).await, NO_ERROR);
    // A stream on which no request comes counts as none.
    let silent = secure.http3().await;
    let (mut stream, _) = silent.connection.open_bi().await.unwrap();
    stream.write_all(&[1]).await.unwrap();
    assert_eq!(closed(&silent).await, NO_ERROR);
    // Nor does a connection without HTTP/3, or without the end of its handshake.
    let (_endpoint, connection) = secure.dial().quic(secure.secure).await.unwrap();
    let ended = timeout(PATIENCE, connection.closed()).await.expect("an end");
    assert!(matches!(ended, ConnectionError::ApplicationClosed(_)), "{ended}");
    until_metric(&secure.site.admin, "yatagarasu_connections", |open| open == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_noticed() {
    let secure = TlsSite::of_http3_by_hand("").await;
    let mut client = secure.http3().await;
    let (stream, mut exchange) =
        tokio::join!(client.begin("GET", "/media/k", &[]), secure.site.origin.next());
    let _stream = stream.unwrap();
    client.connection.close(0_u32.into(), b"");
    exchange.closed().await;
    until_metric(&secure.site.admin, "yatagarasu_connections", |open| open == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_lets_responses_end_and_takes_no_more() {
    let mut secure = TlsSite::of_http3_by_hand("").await;
    let mut client = secure.http3().await;
    let idle = secure.http3().await;
    let (stream, mut exchange) =
        tokio::join!(client.begin("GET", "/media/k", &[]), secure.site.origin.next());
    let mut stream = stream.unwrap();
    exchange.write("HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\nfirst").await;
    assert_eq!(stream.recv_response().await.unwrap().status(), 200);
    let running = secure.site.stop();
    // Those without a request end soon.
    assert_eq!(closed(&idle).await, NO_ERROR);
    let late = secure.dial().quic(secure.secure).await.unwrap_err().to_string();
    assert!(late.contains("refused"), "{late}");
    assert!(client.get("/nowhere").await.is_err(), "the client is told to go elsewhere");
    exchange.write(vec![7; 2_000_000 - 5]).await;
    let mut length = 0;
    while let Some(part) = timeout(PATIENCE, stream.recv_data()).await.unwrap().unwrap() {
        length += part.remaining();
    }
    assert_eq!(length, 2_000_000);
    assert!(timeout(PATIENCE, running).await.unwrap().unwrap());
    assert_eq!(closed(&client).await, NO_ERROR);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drains_serves_on() {
    let mut secure = TlsSite::of_http3("drain: \"2s\"").await;
    secure.site.put("k", &[], "hello");
    let mut client = secure.http3().await;
    assert_eq!(client.get("/static/k").await.unwrap().body, "hello");
    let running = secure.site.drain();
    while secure.site.admin.get("/ready").await.status == 200 {}
    assert_eq!(client.get("/static/k").await.unwrap().body, "hello");
    assert_eq!(secure.http3().await.get("/static/k").await.unwrap().body, "hello");
    assert_eq!(closed(&client).await, NO_ERROR);
    assert!(timeout(PATIENCE, running).await.unwrap().unwrap());
}

/// Reads `length` bytes, and no more than come with the last of them.
async fn read(stream: &mut Exchange, from: u64, length: u64) -> u64 {
    let mut offset = from;
    while offset < from + length {
        let mut part = timeout(PATIENCE, stream.recv_data()).await.unwrap().unwrap().expect("more");
        let part = part.copy_to_bytes(part.remaining());
        assert!(part == MemoryObjects::pattern(offset, offset + part.len() as u64), "from {offset} on");
        offset += part.len() as u64;
    }
    offset
}

/// The kernel knows no connections of QUIC: without care, the datagrams of running downloads would go to the successor.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_takes_over_and_no_download_breaks_off() {
    const LENGTH: u64 = 24 << 20;
    let (files, origin) = (Files::new(), Origin::start().await);
    origin.objects().put_pattern("large", LENGTH);
    origin.objects().put("k", &[], "hello");
    let certificate = files.make("www", &["www.example"]);
    let entry = bucket(&origin.endpoint(), "videos", "/media", "", "enabled: false");
    let server = format!("drain: \"10s\", listeners: [{}]", files.listener(&["www"], "http3: true"));
    let yaml = document(&server, &[entry]).replace("address: \"127.0.0.1:0\", threads: 2, ", "threads: 2, ");
    let mut first = Process::start(&yaml, &[]);
    let dial = || Dial::trusting(&certificate).window(64 * 1024);
    let (mut clients, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let mut client = dial().http3(first.address).await.unwrap();
        let mut stream = client.begin("GET", "/media/large", &[]).await.unwrap();
        assert_eq!(stream.recv_response().await.unwrap().status(), 200);
        let offset = read(&mut stream, 0, 1 << 20).await;
        clients.push(client);
        streams.push((stream, offset));
    }
    let _successor = first.hand_over();
    // The kernel still gives the datagrams from this port to the process before, which takes new clients while it drains.
    let mut again = dial().over(&clients[0]).http3(first.address).await.unwrap();
    assert_eq!(again.get("/media/k").await.unwrap().body, "hello");
    // Others get to the successor, and all of them are served.
    for _ in 0..10 {
        let mut client = dial().http3(first.address).await.unwrap();
        assert_eq!(client.get("/media/k").await.unwrap().body, "hello");
    }
    for (mut stream, offset) in streams {
        assert_eq!(read(&mut stream, offset, LENGTH - offset).await, LENGTH);
        assert!(timeout(PATIENCE, stream.recv_data()).await.unwrap().unwrap().is_none());
    }
    for client in &clients {
        assert_eq!(closed(client).await, NO_ERROR);
    }
    let mut again = dial().over(&clients[1]).http3(first.address).await.unwrap();
    assert_eq!(again.get("/media/k").await.unwrap().body, "hello");
    assert_eq!(tokio::task::spawn_blocking(move || first.ended()).await.unwrap(), Some(0));
}

/// Reads a response until it breaks off. Returns the reason.
async fn broken(stream: &mut Exchange) -> String {
    let reading = async {
        loop {
            match stream.recv_data().await {
                Ok(part) => assert!(part.is_some(), "it has ended as if it were whole"),
                Err(error) => return error.to_string(),
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("an end")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_stream_is_cut_and_others_go_on() {
    let secure = TlsSite::of_http3("send_timeout: \"500ms\"").await;
    secure.site.origin.objects().put_pattern("large", 256 << 20);
    secure.site.put("k", &[], "hello");
    let mut client = secure.dial().window(64 * 1024).http3(secure.secure).await.unwrap();
    let mut stalled = client.begin("GET", "/media/large", &[]).await.unwrap();
    assert_eq!(stalled.recv_response().await.unwrap().status(), 200);
    let timeouts = "yatagarasu_send_timeouts_total";
    let mut requests = 0;
    while metric(&secure.site.admin, timeouts).await == 0 {
        assert_eq!(client.get("/static/k").await.unwrap().body, "hello");
        requests += 1;
    }
    assert!(requests > 1, "{requests}");
    assert!(broken(&mut stalled).await.contains("H3_INTERNAL_ERROR"));
    assert_eq!(client.get("/static/k").await.unwrap().body, "hello");
}

/// A client that takes a little now and then would hold its part for hours.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_below_the_minimum_rate_is_let_go() {
    let secure = TlsSite::of_http3("send_timeout: 1s, send_rate_min: \"10MB\"").await;
    secure.site.origin.objects().put_pattern("large", 256 << 20);
    let mut client = secure.dial().window(64 * 1024).http3(secure.secure).await.unwrap();
    let mut stream = client.begin("GET", "/media/large", &[]).await.unwrap();
    assert_eq!(stream.recv_response().await.unwrap().status(), 200);
    let slow = async {
        while let Ok(Some(_)) = stream.recv_data().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, slow).await.expect("it is cut off");
    assert_eq!(closed(&client).await, 0x107, "H3_EXCESSIVE_LOAD");
    until_metric(&secure.site.admin, "yatagarasu_send_timeouts_total", |count| count == 1).await;
}

/// All streams of the connection wait for the client then, and one of them gets on.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_stream_is_cut_beside_one_that_trickles() {
    let secure = TlsSite::of_http3("send_timeout: \"1s\"").await;
    secure.site.origin.objects().put_pattern("large", 256 << 20);
    let mut client = secure.dial().window(64 * 1024).http3(secure.secure).await.unwrap();
    let mut stalled = client.begin("GET", "/media/large", &[]).await.unwrap();
    let mut slow = client.begin("GET", "/media/large", &[]).await.unwrap();
    for stream in [&mut stalled, &mut slow] {
        assert_eq!(stream.recv_response().await.unwrap().status(), 200);
    }
    let trickle = async {
        loop {
            slow.recv_data().await.unwrap().expect("more");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let cut = until_metric(&secure.site.admin, "yatagarasu_send_timeouts_total", |count| count == 1);
    tokio::select! {
        () = trickle => unreachable!("it has no end"),
        () = cut => {}
    }
    slow.recv_data().await.unwrap().expect("the other one goes on");
    assert!(broken(&mut stalled).await.contains("H3_INTERNAL_ERROR"));
}
