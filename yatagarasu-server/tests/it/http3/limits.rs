//! Tests of the limits of connections and requests, which are the same over QUIC.

use bytes::Buf;
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Connection, Http2};
use yatagarasu_testing::origin::Origin;

use super::client::{Dial, NAME, whole};
use super::relay::Relay;
use crate::operating::process::Process;
use crate::site::{bucket, document};
use crate::tls::client::tunnel;
use crate::tls::{Files, TlsSite};

async fn refused(secure: &TlsSite, limit: &str) -> u64 {
    let metrics = secure.site.admin.get("/metrics").await;
    let name = format!("yatagarasu_connections_refused_total{{limit={limit:?}}} ");
    let value = metrics.text().lines().find_map(|line| line.strip_prefix(&name)).expect("the metric");
    value.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_refused() {
    let secure = TlsSite::of_http3_by_hand("connections_max: 2").await;
    let (mut first, mut second) = (secure.http3().await, secure.http3().await);
    // Idle ones would make room.
    let _running = [first.begin("GET", "/media/a", &[]).await, second.begin("GET", "/media/b", &[]).await];
    let error = secure.dial().quic(secure.secure).await.unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
    assert_eq!(refused(&secure, "connections_max").await, 1);
    first.connection.close(0_u32.into(), b"");
    let again = async { while secure.dial().quic(secure.secure).await.is_err() {} };
    timeout(PATIENCE, again).await.expect("a connection that has ended counts no more");
}

/// Anybody can send datagrams in the name of others: clients have to answer first.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_so_many_connections_and_no_more() {
    let secure = TlsSite::of_http3("connections_per_client: 2").await;
    secure.site.put("k", &[], "hello");
    let (mut first, second) = (secure.http3().await, secure.http3().await);
    assert_eq!(first.get("/static/k").await.unwrap().body, "hello");
    assert!(secure.dial().quic(secure.secure).await.is_err());
    // Those over TCP count with them.
    let tcp = tunnel(&secure.client, secure.secure, NAME).await;
    assert_eq!(Connection::get(tcp, "/static/k").await.head().await.status, 429);
    assert!(refused(&secure, "connections_per_client").await >= 2);
    second.connection.close(0_u32.into(), b"");
    let again = async { while secure.dial().quic(secure.secure).await.is_err() {} };
    timeout(PATIENCE, again).await.expect("a connection that has ended counts no more");
}

/// Returns whether a server asks a new client to prove its address.
async fn asks_for_a_proof(secure: &TlsSite) -> bool {
    let relay = Relay::to(secure.secure).await;
    let mut client = secure.dial().http3(relay.address).await.unwrap();
    assert_eq!(client.get("/nowhere").await.unwrap().status, 404);
    relay.has_retried()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_that_they_are_at_their_addresses_if_these_count() {
    assert!(!asks_for_a_proof(&TlsSite::of_http3("").await).await);
    assert!(asks_for_a_proof(&TlsSite::of_http3("connections_per_client: 100").await).await);
    // Most connections are taken.
    let secure = TlsSite::of_http3_by_hand("connections_max: 2").await;
    let mut first = secure.http3().await;
    let _running = first.begin("GET", "/media/a", &[]).await;
    assert!(asks_for_a_proof(&secure).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_after_so_many_requests() {
    for requests in [1, 3] {
        let secure = TlsSite::of_http3(&format!("requests_per_connection: {requests}")).await;
        let mut client = secure.http3().await;
        for _ in 0..requests {
            assert_eq!(client.get("/nowhere").await.unwrap().status, 404);
        }
        timeout(PATIENCE, &mut client.driver).await.expect("the connection ends").unwrap();
        let mut client = Http2::connect(secure.site.address).await;
        for _ in 0..requests {
            assert_eq!(client.get("/nowhere").await.unwrap().status, 404);
        }
        timeout(PATIENCE, client.closed()).await.expect("the connection ends");
    }
}

/// Streams without a request took no place in any count.
#[tokio::test(flavor = "multi_thread")]
async fn streams_without_a_request_count_too() {
    let secure = TlsSite::of_http3("http2_resets_max: 20").await;
    let (_endpoint, connection) = secure.dial().quic(secure.secure).await.unwrap();
    let mut control = connection.open_uni().await.unwrap();
    control.write_all(&[0, 4, 0]).await.unwrap();
    let flood = async {
        while let Ok((mut stream, _)) = connection.open_bi().await {
            let _ = stream.finish();
        }
    };
    timeout(PATIENCE, flood).await.expect("the connection ends");
    // Others may have been on their way.
    assert!(refused(&secure, "http2_resets_max").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_begin_so_many_streams_in_a_second() {
    let secure = TlsSite::of_http3("http2_streams_per_second: 5").await;
    let mut client = secure.http3().await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        streams.push(client.begin("GET", "/nowhere", &[]).await.unwrap());
    }
    for stream in streams {
        assert_eq!(whole(stream).await.unwrap().status, 404, "what has begun is answered");
    }
    timeout(PATIENCE, client.driver).await.expect("the connection ends").unwrap();
    assert_eq!(refused(&secure, "http2_streams_per_second").await, 1);
}

/// CVE-2023-44487: each request that is reset at once costs one to S3.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gives_up_what_it_asks_for_is_let_go() {
    let secure = TlsSite::of_http3_by_hand("http2_resets_max: 20").await;
    let mut client = secure.http3().await;
    for index in 0..21 {
        let path = format!("/media/{index}");
        let (stream, mut exchange) = tokio::join!(client.begin("GET", &path, &[]), secure.site.origin.next());
        stream.unwrap().stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
        exchange.closed().await;
    }
    assert_eq!(refused(&secure, "http2_resets_max").await, 0);
    let _ = client.begin("GET", "/media/last", &[]).await;
    timeout(PATIENCE, client.driver).await.expect("the connection ends").unwrap();
    assert_eq!(refused(&secure, "http2_resets_max").await, 1);
}

/// Bytes that the client has not acknowledged stay in the process. Their number has a limit, whatever the length of the
/// object and the window of the client.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_fall_silent_hold_little_memory() {
    const CLIENTS: usize = 10;
    let (files, origin) = (Files::new(), Origin::start().await);
    origin.objects().put_pattern("large", 1 << 30);
    let certificate = files.make("www", &["www.example"]);
    let entry = bucket(&origin.endpoint(), "videos", "/media", "", "enabled: false");
    let server = format!("listeners: [{}]", files.listener(&["www"], "http3: true"));
    let yaml = document(&server, &[entry]).replace("address: \"127.0.0.1:0\", threads: 2, ", "threads: 2, ");
    let process = Process::start(&yaml, &[]);
    let connect = async || {
        let relay = Relay::to(process.address).await;
        let mut client = Dial::trusting(&certificate).window(64 << 20).http3(relay.address).await.unwrap();
        assert_eq!(client.get("/nowhere").await.unwrap().status, 404);
        (relay, client)
    };
    // What is allocated once.
    let _first = connect().await;
    let before = process.memory();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(connect().await);
    }
    let idle = process.memory();
    let mut streams = Vec::new();
    for (relay, client) in &mut clients {
        let mut stream = client.begin("GET", "/media/large", &[]).await.unwrap();
        assert_eq!(stream.recv_response().await.unwrap().status(), 200);
        let mut length = 0;
        while length < 1 << 20 {
            length += timeout(PATIENCE, stream.recv_data()).await.unwrap().unwrap().unwrap().remaining();
        }
        relay.silence();
        streams.push(stream);
    }
    process.assert_idle().await;
    let each = |from: u64, to: u64| to.saturating_sub(from) / CLIENTS as u64;
    let (idle_each, silent_each) = (each(before, idle), each(idle, process.memory()));
    println!(
        "HTTP/3: an idle client takes {} KiB, a silent one {} KiB more",
        idle_each / 1024,
        silent_each / 1024
    );
    assert!(idle_each < 256 << 10, "{idle_each} bytes");
    assert!(silent_each < 5 << 20, "{silent_each} bytes");
}
