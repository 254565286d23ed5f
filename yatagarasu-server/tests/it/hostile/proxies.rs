//! Tests of the address of clients behind proxies.

use std::net::SocketAddr;

use serde_json::Value;
use yatagarasu_testing::client::{Connection, plain_get};
use yatagarasu_testing::origin::Origin;

use crate::operating::process::Process;
use crate::site::{bucket, document};

/// A server that believes the proxies on this machine, and an object that is stored.
async fn behind(from: &str, more: &str) -> (Origin, Process) {
    let s3 = Origin::start().await;
    s3.objects().put("k", &[], "hello");
    let server =
        format!("client_address: {{ from: {from:?}, trusted: [\"127.0.0.0/8\", \"10.0.0.0/8\"] }}, {more}");
    let process =
        Process::start(&document(&server, &[bucket(&s3.endpoint(), "assets", "/static", "", "")]), &[]);
    (s3, process)
}

/// Sends bytes on a connection of their own and returns the status and the client in the access log.
async fn client_of(process: &Process, bytes: impl AsRef<[u8]>) -> (u16, Value) {
    let status = status_of(process.address, bytes).await;
    let line = process.log().find(|line| line["message"] == "response").unwrap();
    (status, line["client"].clone())
}

async fn status_of(address: SocketAddr, bytes: impl AsRef<[u8]>) -> u16 {
    let mut client = Connection::send(address, bytes).await;
    let status = client.head().await.status;
    client.finish().await;
    client.rest().await;
    status
}

fn get(fields: &str) -> String {
    format!("GET /static/k HTTP/1.1\r\nhost: a\r\n{fields}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_client_that_a_trusted_proxy_names() {
    for (from, field) in [
        ("x-forwarded-for", "x-forwarded-for: 203.0.113.9, 192.0.2.7, 10.0.0.2\r\n"),
        ("forwarded", "Forwarded: for=203.0.113.9\r\nforwarded: for=\"192.0.2.7:4711\"\r\n"),
    ] {
        let (_s3, process) = behind(from, "").await;
        // A miss, through hyper; a hit, past it; and a request with a field that matters.
        for more in ["", "", "range: bytes=0-0\r\n"] {
            let (_, client) = client_of(&process, get(&format!("{field}{more}"))).await;
            assert_eq!(client, "192.0.2.7", "{from} {more}");
        }
        assert_eq!(client_of(&process, get("")).await, (200, "127.0.0.1".into()), "a client without a proxy");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_names_the_client_of_a_connection() {
    let (_s3, process) = behind("proxy_protocol", "connections_per_client: 1").await;
    let header = "PROXY TCP4 192.0.2.7 10.0.0.1 51234 80\r\n";
    let request = format!("{header}{}", get(""));
    for _ in 0..2 {
        assert_eq!(client_of(&process, &request).await, (200, "192.0.2.7".into()));
    }
    let plain = get("");
    let binary = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C"[..],
        &[198, 51, 100, 1, 10, 0, 0, 1, 0xC8, 0x22, 0, 80],
        plain.as_bytes(),
    ];
    assert_eq!(client_of(&process, binary.concat()).await, (200, "198.51.100.1".into()));
    // A health check of the proxy itself.
    let local = [&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], get("").as_bytes()].concat();
    assert_eq!(client_of(&process, local).await, (200, "127.0.0.1".into()));
    assert_eq!(client_of(&process, get("")).await.0, 400, "a proxy that says nothing");

    // The client counts, not the proxy.
    let mut held = Connection::send(process.address, &request).await;
    assert_eq!(held.head().await.status, 200);
    assert_eq!(status_of(process.address, &request).await, 429);
    let other = request.replace("192.0.2.7", "192.0.2.8");
    assert_eq!(status_of(process.address, &other).await, 200);
    held.take(5).await;
    held.get_again("/static/k").await;
    assert_eq!(held.head().await.status, 200, "the connection goes on");
}

/// Anybody could hide otherwise, or have another one locked out.
#[tokio::test(flavor = "multi_thread")]
async fn others_are_not_believed() {
    let s3 = Origin::start().await;
    s3.objects().put("k", &[], "hello");
    let entry = bucket(&s3.endpoint(), "assets", "/static", "", "");
    for from in ["x-forwarded-for", "proxy_protocol"] {
        let server = format!("client_address: {{ from: {from:?}, trusted: [\"192.0.2.0/24\"] }}");
        let process = Process::start(&document(&server, std::slice::from_ref(&entry)), &[]);
        let claimed = get("x-forwarded-for: 203.0.113.9\r\n");
        assert_eq!(client_of(&process, claimed).await, (200, "127.0.0.1".into()));
        let header = format!("PROXY TCP4 203.0.113.9 10.0.0.1 51234 80\r\n{}", plain_get("/static/k"));
        assert_eq!(client_of(&process, header).await, (400, "127.0.0.1".into()));
    }
}
