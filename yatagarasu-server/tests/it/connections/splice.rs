//! Tests of streams to fast clients: their sockets may hold more, and their bytes bypass the process.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::sleep;
use yatagarasu_testing::client::{Connection, plain_get};
use yatagarasu_testing::origin::{Gate, MemoryObjects, Origin, Reply};

use crate::connections::memory::{stalled, until_waiting, waiting};
use crate::operating::process::Process;
use crate::site::{Site, bucket, document, until};

const MIB: u64 = 1 << 20;

/// Bytes that both sockets of a fast stream may hold together.
const WIDE: u64 = 8 * MIB;

/// Longer than the sockets on the way can hold, so that a stream goes on until its client has read it.
const LENGTH: u64 = 128 * MIB;

/// Starts a gateway with these settings of `server`, in front of large objects.
async fn site(server: &str) -> Site {
    site_of(2, server).await
}

/// Starts the same with `threads` threads.
async fn site_of(threads: usize, server: &str) -> Site {
    let s3 = Origin::start().await;
    s3.objects().put_pattern("large", LENGTH);
    s3.objects().put_pattern("other", LENGTH);
    s3.objects().put("small", &[], "x");
    let yaml = document(server, &[bucket(&s3.endpoint(), "assets", "/static", "", "max_item_size: \"1MB\"")]);
    Site::run(s3, &yaml.replace("threads: 2", &format!("threads: {threads}"))).await
}

fn reserved(stats: &Value) -> u64 {
    stats["socket_memory"]["bytes"].as_u64().unwrap()
}

async fn reserved_now(site: &Site) -> u64 {
    reserved(&site.admin.get("/stats").await.json())
}

/// Reads an object from `from` up to `to` and checks its bytes.
async fn assert_takes(client: &mut Connection, from: u64, to: u64) {
    let mut offset = from;
    while offset < to {
        let end = to.min(offset + MIB);
        let piece = client.take(usize::try_from(end - offset).unwrap()).await;
        assert!(piece == MemoryObjects::pattern(offset, end), "other bytes from {offset} on");
        offset = end;
    }
}

/// Reads on until `expected` bytes are reserved. One piece may not be enough: a stream is not fast in a second in which
/// the machine pauses.
async fn until_fast(site: &Site, client: &mut Connection, offset: &mut u64, expected: u64) {
    while reserved_now(site).await != expected {
        assert!(*offset < LENGTH - 16 * MIB, "{expected} bytes are never reserved");
        assert_takes(client, *offset, *offset + MIB).await;
        *offset += MIB;
    }
}

async fn begin(address: SocketAddr, path: &str) -> Connection {
    // A narrow client, so that little more is sent than is read.
    let mut client = Connection::narrow(address, path).await;
    assert_eq!(client.head().await.status, 200);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_stream_takes_a_part_of_the_memory_there_is_until_it_ends() {
    let site = site("").await;
    let mut client = begin(site.address, "/static/large").await;
    assert_takes(&mut client, 0, MIB).await;
    assert_eq!(reserved_now(&site).await, 0, "nobody has seen how fast it is");
    let mut offset = MIB;
    until_fast(&site, &mut client, &mut offset, WIDE).await;
    until_waiting(site.address, client.address(), |bytes| bytes > MIB).await;
    assert_takes(&mut client, offset, LENGTH).await;
    until(&site, |stats| reserved(stats) == 0).await;

    // Later responses on the connection begin with small buffers again.
    client.get_again("/static/small").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.take(1).await, b"x");
    client.get_again("/static/other").await;
    assert_eq!(client.head().await.status, 200);
    stalled(&site.origin).await;
    assert!(waiting(site.address, client.address()) < MIB);
    assert_takes(&mut client, 0, LENGTH).await;
    assert_eq!(site.origin.objects().gets(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_meanwhile_follows() {
    let site = site("").await;
    let requests = ["large", "small", "other"].map(|key| plain_get(&format!("/static/{key}")));
    let mut client = Connection::narrow_send(site.address, requests.concat()).await;
    assert_eq!(client.head().await.status, 200);
    let mut offset = 0;
    until_fast(&site, &mut client, &mut offset, WIDE).await;
    assert_takes(&mut client, offset, LENGTH).await;
    assert_eq!(client.head().await.field("content-length"), "1");
    assert_eq!(client.take(1).await, b"x");
    assert_eq!(client.head().await.status, 200);
    assert_takes(&mut client, 0, LENGTH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_goes_the_same_way() {
    let site = site("").await;
    let (first, last) = (1_234_567, LENGTH - 3);
    let range = format!("GET /static/large HTTP/1.1\r\nhost: test\r\nrange: bytes={first}-{last}\r\n\r\n");
    let mut client = Connection::narrow_send(site.address, &range).await;
    assert_eq!(client.head().await.status, 206);
    let mut offset = first;
    until_fast(&site, &mut client, &mut offset, WIDE).await;
    assert_takes(&mut client, offset, last + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_as_many_are_fast_as_there_is_memory_for() {
    for (memory, expected) in [("0", 0), ("15MiB", WIDE), ("16MiB", 2 * WIDE)] {
        let site = site(&format!("socket_memory: \"{memory}\"")).await;
        let mut first = begin(site.address, "/static/large").await;
        let mut of_first = 0;
        until_fast(&site, &mut first, &mut of_first, expected.min(WIDE)).await;
        let mut second = begin(site.address, "/static/other").await;
        let mut of_second = 0;
        until_fast(&site, &mut second, &mut of_second, expected).await;
        assert_takes(&mut second, of_second, of_second + 16 * MIB).await;
        assert!(reserved_now(&site).await <= expected, "{memory}");
        assert_takes(&mut first, of_first, LENGTH).await;
        assert_takes(&mut second, of_second + 16 * MIB, LENGTH).await;
        until(&site, |stats| reserved(stats) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_gives_its_part_back() {
    let site = site("").await;
    let mut client = begin(site.address, "/static/large").await;
    until_fast(&site, &mut client, &mut 0, WIDE).await;
    drop(client);
    until(&site, |stats| reserved(stats) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_the_last_bytes_slowly_keeps_its_part_so_long() {
    let site = site("").await;
    let mut client = begin(site.address, "/static/large").await;
    let mut rest;
    loop {
        let mut offset = 0;
        until_fast(&site, &mut client, &mut offset, WIDE).await;
        // The kernel counts its own bookkeeping towards a socket's limit, so the rest is far below it.
        rest = LENGTH - 3 * MIB / 2;
        assert_takes(&mut client, offset, rest).await;
        // The response ends, and with it the connection to S3, when the client's socket holds the rest. If the machine has
        // paused, the kernel gives the socket less.
        while !ends_soon(&site).await {
            assert!(rest < LENGTH - MIB / 4, "the socket holds no more than that of a slow stream");
            assert_takes(&mut client, rest, rest + MIB / 8).await;
            rest += MIB / 8;
        }
        stalled(&site.origin).await;
        if reserved_now(&site).await == WIDE / 2 {
            break;
        }
        // The machine has paused near the end, so that the stream was no longer fast then.
        assert!(site.origin.objects().gets() < 10, "the part is given back at the end");
        assert_takes(&mut client, rest, LENGTH).await;
        client.get_again("/static/large").await;
        assert_eq!(client.head().await.status, 200);
    }
    assert_takes(&mut client, rest, LENGTH).await;
    until(&site, |stats| reserved(stats) == 0).await;
}

/// Returns whether the response ends within some looks: the part of S3's socket is given back then.
async fn ends_soon(site: &Site) -> bool {
    for _ in 0..100 {
        if reserved_now(site).await <= WIDE / 2 {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_becomes_slow_gives_its_part_back() {
    let site = site("").await;
    let mut client = begin(site.address, "/static/large").await;
    let (mut offset, pause) = (0, Duration::from_millis(100));
    until_fast(&site, &mut client, &mut offset, WIDE).await;
    // At this pace the sockets on the way are emptied first. The socket to S3 keeps its reservation until the end.
    while reserved_now(&site).await > WIDE / 2 {
        assert!(offset < LENGTH, "it is fast for ever");
        assert_takes(&mut client, offset, offset + MIB / 4).await;
        offset += MIB / 4;
        sleep(pause).await;
    }
    assert_takes(&mut client, offset, LENGTH).await;
    until(&site, |stats| reserved(stats) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_leaves_behind_reaches_no_other() {
    let site = site_of(1, "").await;
    for _ in 0..3 {
        // One client leaves with bytes on their way; two others go on in turn.
        let mut leaving = begin(site.address, "/static/large").await;
        let mut first = begin(site.address, "/static/large").await;
        let mut second = begin(site.address, "/static/other").await;
        until_fast(&site, &mut leaving, &mut 0, WIDE).await;
        drop(leaving);
        until(&site, |stats| reserved(stats) == 0).await;
        let (mut of_first, mut of_second) = (0, 0);
        until_fast(&site, &mut first, &mut of_first, WIDE).await;
        until_fast(&site, &mut second, &mut of_second, 2 * WIDE).await;
        for _ in 0..32 {
            assert_takes(&mut first, of_first, of_first + MIB).await;
            assert_takes(&mut second, of_second, of_second + MIB).await;
            (of_first, of_second) = (of_first + MIB, of_second + MIB);
        }
        drop((first, second));
        until(&site, |stats| reserved(stats) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_ends_where_it_is_to_end() {
    let site = site("").await;
    for request in [
        "GET /static/large HTTP/1.0\r\nhost: test\r\n\r\n",
        "GET /static/large HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n",
    ] {
        let mut client = Connection::narrow_send(site.address, request).await;
        assert_eq!(client.head().await.status, 200);
        let mut offset = 0;
        until_fast(&site, &mut client, &mut offset, WIDE).await;
        assert_takes(&mut client, offset, LENGTH).await;
        assert_eq!(client.rest().await, b"");
        until(&site, |stats| reserved(stats) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_stream_that_breaks_off_is_not_taken_for_whole() {
    let site = Site::with("", "enabled: false").await;
    let gate = Gate::default();
    let sent = MemoryObjects::pattern(0, 48 * MIB);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n").into_bytes();
    let length = head.len() + sent.len() - 1;
    let raw = [head, sent].concat();
    site.origin.answer("k", [Reply::raw(raw).rest_at(length, &gate)]);
    let mut client = begin(site.address, "/static/k").await;
    let mut offset = 0;
    until_fast(&site, &mut client, &mut offset, WIDE).await;
    gate.open();
    // The client gets all bytes that had arrived. Then the connection ends, before the body does.
    assert!(client.rest().await == MemoryObjects::pattern(offset, 48 * MIB));
    until(&site, |stats| reserved(stats) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_a_stream_go_through_a_pipe_from_the_beginning() {
    let s3 = Origin::start().await;
    s3.objects().put_pattern("large", LENGTH);
    let yaml = document("", &[bucket(&s3.endpoint(), "assets", "/static", "", "enabled: false")]);
    let process = Process::start(&yaml, &[]);
    let before = process.open_files("pipe:");
    let mut client = begin(process.address, "/static/large").await;
    assert_takes(&mut client, 0, MIB).await;
    assert_eq!(process.open_files("pipe:"), before + 2, "both ends of one");
    assert_takes(&mut client, MIB, LENGTH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_content_alone_is_read_and_written() {
    let s3 = Origin::start().await;
    let content = MemoryObjects::pattern(0, 2 * MIB);
    let chunks = content
        .chunks(10_000)
        .map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    let body = [chunks.collect::<Vec<_>>().concat(), b"0\r\n\r\n".to_vec()].concat();
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    s3.answer("k", [Reply::raw([head, body].concat())]);
    let yaml = document("", &[bucket(&s3.endpoint(), "assets", "/static", "", "enabled: false")]);
    let process = Process::start(&yaml, &[]);
    let before = process.open_files("pipe:");
    let request = "GET /static/k HTTP/1.0\r\nhost: test\r\n\r\n";
    let mut client = Connection::narrow_send(process.address, request).await;
    assert_eq!(client.head().await.status, 200);
    assert!(client.rest().await == content);
    assert_eq!(process.open_files("pipe:"), before);
}

/// Bodies that have nothing to move take no turns: eight of them once kept a thread busy with nothing.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_wait_for_s3_take_no_time() {
    const STREAMS: usize = 8;
    const SENT: u64 = 32 * MIB;
    let s3 = Origin::start().await;
    let gate = Gate::default();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n").into_bytes();
    let (sent, rest_at) =
        ([head.clone(), MemoryObjects::pattern(0, SENT)].concat(), head.len() + 32 * (1 << 20) - 1);
    for number in 0..STREAMS {
        s3.answer(&format!("k{number}"), [Reply::raw(sent.clone()).rest_at(rest_at, &gate)]);
    }
    let yaml = document("", &[bucket(&s3.endpoint(), "assets", "/static", "", "enabled: false")]);
    let process = Process::start(&yaml.replace("threads: 2", "threads: 1"), &[]);
    let address = process.address;
    let reading = (0..STREAMS).map(|number| async move {
        let mut client = Connection::get(address, &format!("/static/k{number}")).await;
        assert_eq!(client.head().await.status, 200);
        client.take(usize::try_from(SENT - 1).unwrap()).await;
        client
    });
    let clients = join_all(reading).await;
    process.assert_idle().await;
    drop(clients);
}
