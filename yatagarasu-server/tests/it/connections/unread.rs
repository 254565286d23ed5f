//! Tests of clients that stop reading: the server ends their responses, and the memory comes back.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use yatagarasu_sys::process::raise_open_files_limit;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Connection, Http2};
use yatagarasu_testing::origin::{MemoryObjects, Origin};

use crate::connections::memory::stalled;
use crate::operating::process::Process;
use crate::site::{Site, bucket, document, metric, until, until_metric};

const MIB: u64 = 1 << 20;

/// Long enough that a pause of the machine is not taken for a client that stops.
const SEND_TIMEOUT: &str = "send_timeout: \"500ms\"";

/// Starts a gateway with these settings of `server`: `/static` stores objects of up to 32 MB, `/media` nothing.
async fn site(server: &str) -> Site {
    let site = Site::configured(server, "", "max_item_size: \"32MB\", max_size: \"512MB\"").await;
    let objects = site.origin.objects();
    objects.put_pattern("large", 256 * MIB);
    objects.put_pattern("stored", 24 * MIB);
    objects.put("small", &[], "x");
    site
}

const TIMEOUTS: &str = "yatagarasu_send_timeouts_total";

async fn until_timeouts(site: &Site, count: u64) {
    until_metric(&site.admin, TIMEOUTS, |timeouts| timeouts >= count).await;
    assert_eq!(metric(&site.admin, TIMEOUTS).await, count);
}

/// Starts a client that requests `path` and reads only the first bytes.
async fn begin(address: SocketAddr, path: &str) -> Connection {
    let mut client = Connection::begin(address, path).await;
    client.take(1).await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_of_a_stream_is_let_go_and_so_is_s3() {
    let site = Site::over(Origin::by_hand().await, SEND_TIMEOUT, "", "").await;
    let (mut client, mut exchange) =
        site.answered(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 1_u64 << 40)).await;
    let sending = async { while exchange.socket.write(&[0; 16384]).await.is_ok() {} };
    timeout(PATIENCE, sending).await.expect("the connection to S3 is closed");
    until_timeouts(&site, 1).await;
    client.reset().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_of_a_stored_object_is_let_go() {
    let site = site(SEND_TIMEOUT).await;
    assert_eq!(site.client.get("/static/stored").await.status, 200);
    let mut plain = begin(site.address, "/static/stored").await;
    // A field that may matter sends the request through hyper.
    let head = "GET /static/stored HTTP/1.1\r\nhost: test\r\nx-unknown: 1\r\n\r\n";
    let mut other = Connection::send(site.address, head).await;
    assert_eq!(other.head().await.field("x-cache"), "HIT");
    until_timeouts(&site, 2).await;
    plain.reset().await;
    other.reset().await;
}

/// A response that its socket has no room for takes no turns.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_nothing_take_no_time() {
    let s3 = Origin::start().await;
    s3.objects().put_pattern("large", 256 * MIB);
    s3.objects().put_pattern("stored", 24 * MIB);
    let yaml = document("", &[bucket(&s3.endpoint(), "assets", "/static", "", "max_item_size: \"32MB\"")]);
    let process = Process::start(&yaml.replace("threads: 2", "threads: 1"), &[]);
    let mut first = Connection::get(process.address, "/static/stored").await;
    assert_eq!(first.head().await.status, 200);
    first.take(24 << 20).await;
    let plain = "GET /static/stored HTTP/1.1\r\nhost: test\r\n\r\n";
    // A field that may matter sends the request through hyper.
    let other = "GET /static/stored HTTP/1.1\r\nhost: test\r\nx-unknown: 1\r\n\r\n";
    let stream = "GET /static/large HTTP/1.1\r\nhost: test\r\n\r\n";
    for request in [plain, other, stream] {
        let beginning = (0..8).map(|_| async {
            let mut client = Connection::send(process.address, request).await;
            client.take(1 << 20).await;
            client
        });
        let clients = join_all(beginning).await;
        // What the sockets take is sent first.
        stalled(&s3).await;
        process.assert_idle().await;
        drop(clients);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_client_that_stops_is_let_go_and_the_memory_of_its_sockets_comes_back() {
    let site = site(SEND_TIMEOUT).await;
    let mut client = Connection::narrow(site.address, "/media/large").await;
    assert_eq!(client.head().await.status, 200);
    let mut offset = 0;
    let is_fast = |stats: &serde_json::Value| stats["socket_memory"]["bytes"].as_u64().unwrap() > 0;
    while !is_fast(&site.admin.get("/stats").await.json()) {
        assert!(offset < 192 * MIB, "the stream is never fast");
        assert!(client.take(1 << 20).await == MemoryObjects::pattern(offset, offset + MIB));
        offset += MIB;
    }
    until(&site, |stats| !is_fast(stats)).await;
    until_timeouts(&site, 1).await;
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_stream_that_is_not_taken_is_reset_and_the_others_go_on() {
    let site = site(SEND_TIMEOUT).await;
    assert_eq!(site.client.get("/static/stored").await.status, 200);
    for window in [0, 1, 65_535] {
        let before = metric(&site.admin, TIMEOUTS).await;
        let mut client = Http2::with_window(site.address, window).await;
        let mut unread = Vec::new();
        for path in ["/static/stored", "/media/large"] {
            let response = client.begin(path).await.unwrap();
            assert_eq!(response.status(), 200);
            unread.push(response.into_body());
        }
        until_timeouts(&site, before + 2).await;
        for body in unread {
            let broken = body.collect().await.unwrap_err();
            assert!(format!("{broken:?}").contains("CANCEL"), "{broken:?}");
        }
        // A response head needs no window.
        assert_eq!(client.send("HEAD", "/static/small", &[]).await.unwrap().status, 200);
    }
}

/// The last bytes count as well: the server has handed nothing over that the window does not cover.
#[tokio::test(flavor = "multi_thread")]
async fn an_http2_stream_whose_last_byte_is_not_taken_is_reset() {
    const LENGTH: u32 = 64 * 1024;
    let site = site(SEND_TIMEOUT).await;
    site.origin.objects().put_pattern("short", LENGTH.into());
    assert_eq!(site.client.get("/static/short").await.status, 200);
    let mut client = Http2::with_window(site.address, LENGTH - 1).await;
    let mut body = client.begin("/static/short").await.unwrap().into_body();
    until_timeouts(&site, 1).await;
    let mut taken = 0;
    let broken = loop {
        match body.frame().await.expect("it does not end") {
            Ok(frame) => taken += frame.into_data().unwrap().len(),
            Err(broken) => break format!("{broken:?}"),
        }
    };
    assert!(taken < LENGTH as usize && broken.contains("CANCEL"), "{taken}: {broken}");
}

/// Reads the next bytes of the pattern from `offset` on. Returns the offset after them.
async fn read_on(body: &mut Incoming, offset: u64) -> u64 {
    let frame = timeout(PATIENCE, body.frame()).await.expect("the stream goes on");
    let bytes = frame.expect("the stream goes on").expect("the stream goes on").into_data().unwrap();
    let end = offset + bytes.len() as u64;
    assert!(bytes == MemoryObjects::pattern(offset, end), "from {offset} on");
    end
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_stream_that_is_taken_slowly_goes_on_while_another_is_reset() {
    let site = site(SEND_TIMEOUT).await;
    let mut client = Http2::with_window(site.address, 65_535).await;
    let unread = client.begin("/media/large").await.unwrap().into_body();
    let mut slow = client.begin("/media/large").await.unwrap().into_body();
    let mut offset = 0;
    while metric(&site.admin, TIMEOUTS).await == 0 {
        offset = read_on(&mut slow, offset).await;
        sleep(Duration::from_millis(20)).await;
    }
    let broken = unread.collect().await.unwrap_err();
    assert!(format!("{broken:?}").contains("CANCEL"), "{broken:?}");
    let end = offset + 8 * MIB;
    while offset < end {
        offset = read_on(&mut slow, offset).await;
    }
    assert_eq!(metric(&site.admin, TIMEOUTS).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_connection_that_is_not_read_is_let_go() {
    let site = site(SEND_TIMEOUT).await;
    // The preface, SETTINGS with a window of 2^31 - 1, a WINDOW_UPDATE for the connection, and a GET of /media/large.
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(*b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x7f\xff\xff\xff");
    bytes.extend(*b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\x00\x00\x00");
    let fields = b"\x82\x86\x04\x0c/media/large\x01\x04test";
    bytes.extend([0, 0, u8::try_from(fields.len()).unwrap(), 1, 5, 0, 0, 0, 1]);
    bytes.extend(fields);
    let mut client = Connection::buffered(site.address, 64 * 1024, bytes).await;
    until_timeouts(&site, 1).await;
    client.reset().await;
}

/// A client that takes a little now and then would hold its part for hours.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_below_the_minimum_rate_is_let_go() {
    let site = site("send_timeout: 1s, send_rate_min: \"10MB\"").await;
    site.client.get("/static/stored").await;
    let mut client = begin(site.address, "/static/stored").await;
    let slow = async {
        while client.socket.read_exact(&mut vec![0; 64 * 1024]).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, slow).await.expect("it is cut off");
    until_timeouts(&site, 1).await;
}

/// The client's kernel acknowledges bytes long before the server's socket takes more.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_a_little_now_and_then_gets_everything() {
    let server = format!("{SEND_TIMEOUT}, notsent_lowat: 0");
    let site = site(&server).await;
    assert_eq!(site.client.get("/static/stored").await.status, 200);
    for path in ["/static/stored", "/media/stored"] {
        let mut client = Connection::narrow(site.address, path).await;
        assert_eq!(client.head().await.status, 200);
        let (mut offset, end) = (0, 24 * MIB);
        while offset < end {
            // Slowly for three seconds, which is six times the limit.
            let slow = offset < 60 * 64 * 1024;
            if slow {
                sleep(Duration::from_millis(50)).await;
            }
            let length = if slow { 64 * 1024 } else { MIB.min(end - offset) };
            let piece = client.take(usize::try_from(length).unwrap()).await;
            assert!(piece == MemoryObjects::pattern(offset, offset + length), "from {offset} on");
            offset += length;
        }
    }
    assert_eq!(metric(&site.admin, TIMEOUTS).await, 0);
}

/// Objects that the cache has evicted stay in memory with the responses that send them.
#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_clients_that_never_read_comes_back() {
    const CLIENTS: u64 = 60;
    raise_open_files_limit();
    let s3 = Origin::start().await;
    for index in 0..CLIENTS {
        s3.objects().put_pattern(&format!("{index}"), 9_000_000);
    }
    s3.objects().put("small", &[], "x");
    let cache = "max_item_size: \"10MB\", max_size: \"100MB\"";
    let yaml = document("send_timeout: \"3s\"", &[bucket(&s3.endpoint(), "assets", "/static", "", cache)]);
    let process = Process::start(&yaml, &[("YATAGARASU_LOG", "info")]);
    begin(process.address, "/static/small").await;
    let idle = process.memory();
    let mut clients = Vec::new();
    for index in 0..CLIENTS {
        let mut client = Connection::narrow(process.address, &format!("/static/{index}")).await;
        assert_eq!(client.head().await.status, 200);
        clients.push(client);
    }
    stalled(&s3).await;
    let held = process.memory() - idle;
    assert!(held > 200_000_000, "there is something to give back: {held}");
    let back = async {
        while process.memory() - idle > 130_000_000 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let came_back = timeout(PATIENCE, back).await.is_ok();
    let left = process.memory() - idle;
    println!("{CLIENTS} clients that never read: {held} bytes over idle, {left} after they were let go");
    assert!(came_back, "{left} over idle, {held} before");
    let line = process.log().find(|line| line["error"].is_string()).expect("a line says why");
    assert_eq!(
        line["error"],
        "the client took too little (`server.send_timeout`, `send_rate_min`, `response_memory`)"
    );
    assert_eq!((&line["status"], &line["whole"]), (&200.into(), &false.into()), "{line}");
}
