//! Tests of several listeners: redirects to TLS, Unix sockets, and the PROXY protocol in front of TLS.

use std::os::unix::net::UnixListener;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use yatagarasu_server::config::Environment;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Client, Connection, Http2, plain_get};
use yatagarasu_testing::origin::Origin;

use super::client::TlsClient;
use super::{Files, run, tcp};
use crate::operating::process::Process;
use crate::site::{bucket, document};

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_redirected_to_tls() {
    let listeners = "listeners: [{ address: \"127.0.0.1:0\", https_redirect: 443 }, { address: \"127.0.0.1:0\", https_redirect: 8443 }]";
    let site = run(Origin::start().await, listeners).await;
    site.put("k", &[], "hello");
    site.store("/static/k").await;
    let [usual, other] = [tcp(&site, 1), tcp(&site, 2)];
    for (address, request, status, location) in [
        (usual, "GET /static/k HTTP/1.1\r\nhost: www.example", 301, "https://www.example/static/k"),
        (usual, "HEAD /a%20b?c=d&e HTTP/1.1\r\nhost: www.example:80", 301, "https://www.example/a%20b?c=d&e"),
        (
            usual,
            "POST /form HTTP/1.1\r\nhost: www.example\r\ncontent-length: 0",
            308,
            "https://www.example/form",
        ),
        (usual, "GET / HTTP/1.1\r\nhost: [::1]:80", 301, "https://[::1]/"),
        (usual, "GET http://www.example/x HTTP/1.1\r\nhost: www.example", 301, "https://www.example/x"),
        (other, "GET /x HTTP/1.1\r\nhost: www.example", 301, "https://www.example:8443/x"),
        (usual, "OPTIONS * HTTP/1.1\r\nhost: www.example", 308, "https://www.example/"),
        (usual, "GET /x HTTP/1.1\r\nhost: :80", 400, ""),
        (usual, "GET /x HTTP/1.1", 400, ""),
        (usual, "GET /x HTTP/1.0", 400, ""),
        (usual, "GET /x HTTP/1.1\r\nhost: a/b", 400, ""),
    ] {
        let head = Connection::send(address, format!("{request}\r\n\r\n")).await.head().await;
        assert_eq!((head.status, head.field("location")), (status, location), "{request}");
    }
    let answer = Http2::connect(usual).await.get("/static/k?x").await.unwrap();
    assert_eq!((answer.status, answer.field("location")), (301, "https://127.0.0.1/static/k?x"));
    assert_eq!(site.origin.requests().len(), 1, "S3 is not asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_serves_as_any_other() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("http.sock");
    // A process that was killed has left it behind.
    drop(UnixListener::bind(&path).unwrap());
    let listeners = format!("listeners: [{{ address: \"unix:{}\" }}]", path.display());
    let mut site = run(Origin::start().await, &listeners).await;
    site.put("k", &[], "hello");
    site.origin.objects().put_pattern("large", 5_000_000);
    for path_and_length in [("/static/k", 5), ("/static/k", 5), ("/media/large", 5_000_000)] {
        let (target, length) = path_and_length;
        let mut client = UnixStream::connect(&path).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, client.read_to_end(&mut answer)).await.unwrap().unwrap();
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.len() - head == length, "{target}");
    }
    // Hits, one after the other.
    let mut client = UnixStream::connect(&path).await.unwrap();
    for _ in 0..3 {
        client.write_all(plain_get("/static/k").as_bytes()).await.unwrap();
        let mut answer = vec![0; 1024];
        let read = client.read(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(text.contains("x-cache: HIT\r\n") && text.ends_with("hello"), "{text}");
    }
    assert!(site.stop().await.unwrap());
    assert!(!path.exists(), "it is removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_that_is_served_is_left_alone() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("http.sock");
    let _served = UnixListener::bind(&path).unwrap();
    let origin = Origin::start().await;
    let entry = bucket(&origin.endpoint(), "assets", "/static", "", "");
    let listeners = format!("listeners: [{{ address: \"unix:{}\" }}]", path.display());
    let yaml = document(&listeners, &[entry]);
    let config = yatagarasu_server::Config::from_yaml("f.yaml", &yaml, &Environment::default()).unwrap();
    let error = yatagarasu_server::Server::start(&config).await.unwrap_err().to_string();
    assert!(
        error.contains("server.listeners[0]: cannot listen on unix:") && error.contains("the path is in use"),
        "{error}"
    );
}

/// A load balancer in front passes the bytes of TLS on, and says who the client is before.
#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_comes_before_tls() {
    let (files, origin) = (Files::new(), Origin::start().await);
    origin.objects().put("k", &[], "hello");
    let certificate = files.make("www", &["www.example"]);
    let entry = bucket(&origin.endpoint(), "assets", "/static", "", "");
    let rules = "client_address: { from: \"proxy_protocol\", trusted: [\"127.0.0.1\"] }";
    let server = format!("listeners: [{}], {rules}", files.listener(&["www"], ""));
    let yaml = document(&server, &[entry]).replace("address: \"127.0.0.1:0\", threads: 2, ", "threads: 2, ");
    let process = Process::start(&yaml, &[]);
    let client = TlsClient::trusting(&[certificate]);
    let mut socket = TcpStream::connect(process.address).await.unwrap();
    socket.write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n").await.unwrap();
    let mut stream = client.over(socket, "www.example").await.unwrap();
    stream.write_all(b"GET /static/k HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with(b"hello"));
    let line = process.log().find(|line| line["status"] == 200).expect("a line of the access log");
    assert_eq!(line["client"], "192.0.2.7");
    // Without the header, the answer is one that the proxy can read.
    let answer = Client::new(process.address).get("/static/k").await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("PROXY protocol"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_on_a_unix_socket_has_the_connections_of_many_clients() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("http.sock");
    let server =
        format!("listeners: [{{ address: \"unix:{}\" }}], connections_per_client: 1", path.display());
    let _site = run(Origin::start().await, &server).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(plain_get("/nowhere").as_bytes()).await.unwrap();
        let mut status = [0; 12];
        timeout(PATIENCE, client.read_exact(&mut status)).await.unwrap().unwrap();
        assert_eq!(&status, b"HTTP/1.1 404");
        clients.push(client);
    }
}

/// An upgrade: another order of the listeners in the file, and the process is told to hand over.
#[tokio::test(flavor = "multi_thread")]
async fn a_successor_gets_each_listener_by_its_address() {
    let (files, origin) = (Files::new(), Origin::start().await);
    origin.objects().put("k", &[], "hello");
    let certificate = files.make("www", &["www.example"]);
    let ports = [free_port().await, free_port().await];
    let path = files.path("http.sock");
    let secure = files.listener(&["www"], "").replace("127.0.0.1:0", &format!("127.0.0.1:{}", ports[0]));
    let redirecting = format!("{{ address: \"127.0.0.1:{}\", https_redirect: 443 }}", ports[1]);
    let unix = format!("{{ address: \"unix:{}\" }}", path.display());
    let entry = bucket(&origin.endpoint(), "assets", "/static", "", "");
    let yaml = |listeners: [&str; 3]| {
        let yaml = document(
            &format!("drain: 0, listeners: [{}]", listeners.join(", ")),
            std::slice::from_ref(&entry),
        );
        yaml.replace("address: \"127.0.0.1:0\", threads: 2, ", "threads: 2, ")
    };
    let mut process = Process::start(&yaml([&secure, &redirecting, &unix]), &[]);
    process.rewrite(&yaml([&redirecting, &unix, &secure]));
    let successor = process.hand_over();
    timeout(PATIENCE, async {
        while process.ended().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("an end");
    let client = TlsClient::trusting(&[certificate]);
    let address = format!("127.0.0.1:{}", ports[0]).parse().unwrap();
    assert_eq!(client.get(address, "www.example", "/static/k").await.unwrap().response.status, 200);
    let plain = format!("127.0.0.1:{}", ports[1]).parse().unwrap();
    assert_eq!(Connection::get(plain, "/static/k").await.head().await.status, 301);
    let mut local = UnixStream::connect(&path).await.expect("its file is still there");
    local.write_all(plain_get("/static/k").as_bytes()).await.unwrap();
    let mut status = [0; 12];
    timeout(PATIENCE, local.read_exact(&mut status)).await.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    successor.signal("-TERM");
    timeout(PATIENCE, async {
        while path.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is removed");
}

/// Returns a port that nobody listens on.
async fn free_port() -> u16 {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}
