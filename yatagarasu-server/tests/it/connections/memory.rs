//! Tests of the memory of the running server, in bytes over its idle state, and of the kernel's memory for its sockets.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::time::{sleep, timeout};
use yatagarasu_sys::process::raise_open_files_limit;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Connection, Http2};
use yatagarasu_testing::origin::{MemoryObjects, Origin};

use crate::operating::process::Process;
use crate::site::{Site, bucket, document};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Bytes that a client reads at a time.
const PIECE: u64 = 256 * KIB;

async fn serving(length: u64) -> (Origin, Process) {
    let s3 = Origin::start().await;
    s3.objects().put_pattern("large", length);
    s3.objects().put("small", &[], "x");
    let yaml = document("", &[bucket(&s3.endpoint(), "assets", "/static", "", "max_item_size: \"1MB\"")]);
    let process = Process::start(&yaml, &[("YATAGARASU_LOG", "info,yatagarasu::access=off")]);
    // Warm up, so that connections, buffers and the allocator's arenas no longer change.
    for _ in 0..4 {
        Connection::begin(process.address, "/static/small").await.take(1).await;
    }
    (s3, process)
}

/// Returns the digest of a pattern object without holding the object in memory.
fn pattern_digest(length: u64) -> Vec<u8> {
    let mut digest = Sha256::new();
    let mut offset = 0;
    while offset < length {
        let next = length.min(offset + MIB);
        digest.update(MemoryObjects::pattern(offset, next));
        offset = next;
    }
    digest.finalize().to_vec()
}

/// Returns the bytes of memory the process has taken since it was idle.
fn over(process: &Process, idle: u64) -> u64 {
    process.memory().saturating_sub(idle)
}

/// Passes each piece of `/static/large` with its offset to `look`. Returns the most memory taken meanwhile.
async fn drain(process: &Process, length: u64, mut look: impl FnMut(u64, &[u8])) -> u64 {
    let idle = process.memory();
    let mut client = Connection::get(process.address, "/static/large").await;
    assert_eq!(client.head().await.field("content-length"), length.to_string());
    let (mut offset, mut peak) = (0_u64, 0_u64);
    while offset < length {
        let piece = client.take(usize::try_from(PIECE.min(length - offset)).unwrap()).await;
        look(offset, &piece);
        offset += piece.len() as u64;
        if offset.is_multiple_of(64 * MIB) {
            peak = peak.max(over(process, idle));
        }
    }
    println!("{} GiB streamed: {} KiB over idle", length >> 30, peak / KIB);
    peak
}

/// Opens `streams` streams of `/static/large`. Their clients read one piece each and then stop.
async fn stop_reading(address: SocketAddr, streams: u64) -> Vec<Connection> {
    let start = MemoryObjects::pattern(0, PIECE);
    let mut clients = Vec::new();
    for _ in 0..streams {
        // Narrow, because bytes that wait in sockets are the kernel's memory and only take S3 time.
        let mut client = Connection::narrow(address, "/static/large").await;
        assert_eq!(client.head().await.status, 200);
        assert!(client.take(start.len()).await == start);
        clients.push(client);
    }
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_arrives_whole_through_little_memory() {
    const LENGTH: u64 = 1 << 30;
    let (_s3, process) = serving(LENGTH).await;
    let mut digest = Sha256::new();
    let peak = drain(&process, LENGTH, |_, piece| digest.update(piece)).await;
    assert_eq!(digest.finalize().to_vec(), pattern_digest(LENGTH));
    assert!(peak < MIB, "{peak} over idle");
}

#[tokio::test(flavor = "multi_thread")]
async fn four_gibibytes_take_no_more_memory_than_one() {
    const LENGTH: u64 = 4 << 30;
    let (_s3, process) = serving(LENGTH).await;
    let same = |offset: u64, piece: &[u8]| {
        let expected = MemoryObjects::pattern(offset, offset + piece.len() as u64);
        assert!(piece == expected, "other bytes from {offset} on");
    };
    let peak = drain(&process, LENGTH, same).await;
    assert!(peak < MIB, "{peak} over idle");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_gibibytes_to_a_slow_client_take_no_more_than_a_few_buffers() {
    let (s3, process) = serving(10 << 30).await;
    let idle = process.memory();
    let mut client = Connection::begin(process.address, "/static/large").await;
    let (mut peak, mut read) = (idle, 0);
    for _ in 0..10 {
        stalled(&s3).await;
        peak = peak.max(process.memory());
        read += client.take(4 << 20).await.len() as u64;
    }
    println!("a slow client of 10 GiB: {} KiB over idle", (peak - idle) / 1024);
    assert!(peak - idle < 768 * 1024, "{idle} idle, {peak} at most");
    // Bytes that S3 has sent and the client has not read are in the sockets' buffers, not in the gateway, as just
    // shown.
    assert!(s3.objects().pattern_bytes() - read < 64 * MIB, "S3 is slowed down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_client_does_not_read_takes_less_than_48_kib() {
    const STREAMS: u64 = 200;
    raise_open_files_limit();
    let (s3, process) = serving(1 << 30).await;
    let idle = process.memory();
    let _clients = stop_reading(process.address, STREAMS).await;
    stalled(&s3).await;
    assert!(s3.objects().gets() > STREAMS, "a stream for each client");
    // The bytes wait in the sockets: only a stream whose last move the socket took a part of holds a pipe. On a busy machine
    // these may be some, but not all, as if no stream waited for room.
    let pipes = process.open_files("pipe:") as u64 / 2;
    let each = over(&process, idle) / STREAMS;
    println!("a stalled stream: {} KiB over idle, {pipes} pipes", each / KIB);
    assert!(each < 48 * KIB, "{each} over idle for each of {STREAMS}");
    assert!(pipes < STREAMS * 3 / 4, "{pipes} pipes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_over_http2_is_bounded_alike() {
    const STREAMS: u64 = 100;
    raise_open_files_limit();
    let (s3, process) = serving(1 << 30).await;
    let idle = process.memory();
    let mut clients = Vec::new();
    for _ in 0..STREAMS {
        let mut client = Http2::connect(process.address).await;
        let response = client.begin("/static/large").await.unwrap();
        let (mut body, mut read) = (response.into_body(), 0);
        while read < PIECE {
            let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
            read += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        clients.push((client, body));
    }
    stalled(&s3).await;
    let each = over(&process, idle) / STREAMS;
    println!("a stalled stream over HTTP/2: {} KiB over idle", each / KIB);
    assert!(s3.objects().gets() > STREAMS, "a stream for each client");
    assert!(each < 128 * KIB, "{each} over idle for each of {STREAMS}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_comes_back_when_clients_that_do_not_read_leave() {
    // So many streams that, with 20 KiB each, they hold much more than may be left.
    const STREAMS: u64 = 1000;
    const LEFT: u64 = 8_000_000;
    raise_open_files_limit();
    let (s3, process) = serving(1 << 30).await;
    let idle = process.memory();
    let clients = stop_reading(process.address, STREAMS).await;
    stalled(&s3).await;
    let held = over(&process, idle);
    drop(clients);
    let back = async {
        while over(&process, idle) > LEFT {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let came_back = timeout(PATIENCE, back).await.is_ok();
    let left = over(&process, idle);
    println!("{STREAMS} stalled streams: {} KiB over idle, {} after they left", held / KIB, left / KIB);
    assert!(held > 2 * LEFT, "there is something to give back: {held}");
    assert!(came_back, "{left} over idle, {held} before");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_takes_less_than_32_kib() {
    const CONNECTIONS: u64 = 1000;
    raise_open_files_limit();
    let (_s3, process) = serving(1).await;
    let idle = process.memory();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Connection::get(process.address, "/static/small").await;
        assert_hit(&mut client).await;
        clients.push(client);
    }
    let each = over(&process, idle) / CONNECTIONS;
    println!("an idle connection: {} KiB over idle", each / KIB);
    // This shows that none of them was closed meanwhile.
    for client in &mut clients {
        client.get_again("/static/small").await;
        assert_hit(client).await;
    }
    assert!(each < 32 * KIB, "{each} over idle for each of {CONNECTIONS}");
}

async fn assert_hit(client: &mut Connection) {
    assert_eq!(client.head().await.field("x-cache"), "HIT");
    assert_eq!(client.take(1).await, b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_of_one_cold_object_share_one_get_and_one_copy() {
    const LENGTH: u64 = 8_000_000;
    raise_open_files_limit();
    let s3 = Origin::start().await;
    s3.objects().put_pattern("cold", LENGTH);
    s3.objects().put("small", &[], "x");
    let yaml = document("", &[bucket(&s3.endpoint(), "assets", "/static", "", "")]);
    let process = Process::start(&yaml, &[("YATAGARASU_LOG", "info,yatagarasu::access=off")]);
    Connection::begin(process.address, "/static/small").await;
    let idle = process.memory();
    let content: Arc<[u8]> = MemoryObjects::pattern(0, LENGTH).into();
    let clients: Vec<_> = (0..1000)
        .map(|_| {
            let (address, content) = (process.address, Arc::clone(&content));
            tokio::spawn(async move {
                let mut client = Connection::begin(address, "/static/cold").await;
                for piece in content.chunks(64 * 1024) {
                    assert!(client.take(piece.len()).await == piece);
                }
            })
        })
        .collect();
    let mut peak = idle;
    for client in clients {
        client.await.unwrap();
        peak = peak.max(process.memory());
    }
    println!("1,000 clients of 8 MB: {} KiB over idle", (peak - idle) / 1024);
    assert_eq!(s3.objects().gets(), 2, "one for each object");
    // Besides the one copy, each client has its connection and a piece of the segment that was growing as it read.
    assert!(peak - idle < LENGTH + 1000 * 64 * 1024, "{idle} idle, {peak} at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn little_waits_in_the_kernel_for_a_client_that_does_not_read() {
    let (site, client) = unread("").await;
    stalled(&site.origin).await;
    let bytes = waiting(site.address, client.address());
    println!("a client that does not read: {} KiB in the kernel", bytes / 1024);
    // 128 KiB, and up to two of the kernel's pieces, which are as large over loopback.
    assert!(bytes > 0 && bytes < MIB / 2, "{bytes} bytes wait");

    let (site, client) = unread("notsent_lowat: 0").await;
    until_waiting(site.address, client.address(), |bytes| bytes >= MIB).await;
}

/// Waits until `enough` accepts the number of bytes that [`waiting`] returns.
pub(crate) async fn until_waiting(from: SocketAddr, to: SocketAddr, enough: impl Fn(u64) -> bool) {
    let waited = async {
        while !enough(waiting(from, to)) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waited).await.expect("the system takes what it may");
}

/// Starts a gateway with these settings of `server`, and a client that requests a large object and reads only its head.
async fn unread(server: &str) -> (Site, Connection) {
    let site = Site::configured(server, "", "enabled: false").await;
    site.origin.objects().put_pattern("large", 64 * MIB);
    let client = Connection::begin(site.address, "/static/large").await;
    (site, client)
}

/// Returns the number of bytes from `from` to `to` that the kernel holds: not acknowledged, whether sent or not.
pub(crate) fn waiting(from: SocketAddr, to: SocketAddr) -> u64 {
    let port = |address: SocketAddr| format!(":{:04X}", address.port());
    let (from, to) = (port(from), port(to));
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    // The columns are number, local address, remote address, state and `transmit:receive`, all in hexadecimal.
    let queues = sockets.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        (fields[1].ends_with(&from) && fields[2].ends_with(&to)).then(|| fields[4])
    });
    let (transmit, _) = queues.expect("the connection is there").split_once(':').unwrap();
    u64::from_str_radix(transmit, 16).unwrap()
}

/// Waits until S3 is asked for no more bytes. Every buffer on the way is full then.
pub(crate) async fn stalled(s3: &Origin) {
    let mut quiet = 0;
    let mut sent = s3.objects().pattern_bytes();
    while quiet < 10 {
        sleep(Duration::from_millis(20)).await;
        let now = s3.objects().pattern_bytes();
        quiet = if now == sent && now > 0 { quiet + 1 } else { 0 };
        sent = now;
    }
}
