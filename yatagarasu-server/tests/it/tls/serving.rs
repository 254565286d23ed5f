//! Tests of requests over TLS: all that works without works with it.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Connection, plain_get};

use super::TlsSite;
use super::client::tunnel;

const NAME: &str = "www.example";

/// Names of protocols, the preferred one first.
type Protocols = &'static [&'static [u8]];

/// Both protocols, and what a client has to offer for each.
const PROTOCOLS: [(Protocols, Option<&[u8]>); 4] = [
    (&[b"h2", b"http/1.1"], Some(b"h2")),
    (&[b"http/1.1", b"h2"], Some(b"h2")),
    (&[b"http/1.1"], Some(b"http/1.1")),
    (&[], None),
];

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251).to_le_bytes()[0]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_all_lengths_are_served_in_both_protocols() {
    let secure = TlsSite::start().await;
    for length in [0, 1, 1_000, 16_384, 20_000, 300_000, 3_000_000] {
        let (key, content) = (format!("o{length}"), content(length));
        secure.site.put(&key, &[], content.clone());
        for (offered, protocol) in PROTOCOLS {
            let client = secure.client.offering(offered);
            for prefix in ["static", "media"] {
                // The second one may be a hit.
                for _ in 0..2 {
                    let path = format!("/{prefix}/{key}");
                    let answer = client.get(secure.secure, NAME, &path).await.unwrap();
                    assert_eq!(
                        (answer.response.status, answer.protocol.as_deref()),
                        (200, protocol),
                        "{path}"
                    );
                    assert!(answer.response.body == content, "{path}");
                    let head = client.send(secure.secure, NAME, "HEAD", &path).await.unwrap().response;
                    assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_come_from_the_fast_path_and_many_fit_on_one_connection() {
    let secure = TlsSite::start().await;
    secure.site.put("k", &[], content(1_000));
    secure.site.put("long", &[], content(900_000));
    secure.site.store("/static/k").await;
    secure.site.store("/static/long").await;
    let address = tunnel(&secure.client, secure.secure, NAME).await;
    let mut client = Connection::send(address, "").await;
    for round in 0..50 {
        // Several at once, which are answered in order.
        client
            .say([plain_get("/static/k"), plain_get("/static/long"), plain_get("/static/k")].concat())
            .await;
        for length in [1_000, 900_000, 1_000] {
            let head = client.head().await;
            assert_eq!((head.status, head.field("x-cache")), (200, "HIT"), "{round}");
            assert!(client.take(length).await == content(length), "{round}");
        }
    }
}

/// The bytes wait at S3, and neither in the process nor encrypted.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_for_its_client_and_goes_on() {
    let secure = TlsSite::start().await;
    secure.site.origin.objects().put_pattern("large", 64 << 20);
    let mut stream = secure.client.connect(secure.secure, NAME).await.unwrap();
    stream.write_all(plain_get("/media/large").as_bytes()).await.unwrap();
    let mut first = vec![0; 100_000];
    stream.read_exact(&mut first).await.unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let mut rest = 0;
    let mut room = vec![0; 1 << 20];
    let head = first.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    while rest + first.len() - head < 64 << 20 {
        let read = timeout(PATIENCE, stream.read(&mut room)).await.unwrap().unwrap();
        assert!(read > 0, "{rest}");
        rest += read;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_at_once_get_their_own_objects() {
    let secure = Arc::new(TlsSite::start().await);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..100_usize {
        let (key, length) = (format!("n{number}"), number * 3_001);
        secure.site.put(&key, &[], vec![number.to_le_bytes()[0]; length]);
        let secure = Arc::clone(&secure);
        clients.spawn(async move {
            let client = secure.client.offering(if number % 2 == 0 { &[b"h2"] } else { &[b"http/1.1"] });
            for prefix in ["static", "media"] {
                let answer = client.get(secure.secure, NAME, &format!("/{prefix}/{key}")).await.unwrap();
                assert!(answer.response.body == vec![number.to_le_bytes()[0]; length], "{prefix}/{key}");
            }
        });
    }
    clients.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hsts_is_on_every_response_and_only_over_tls() {
    let secure = TlsSite::with("", "hsts: \"365d\"").await;
    secure.site.put("k", &[], "hello");
    for offered in [&b"h2"[..], b"http/1.1"] {
        let client = secure.client.offering(&[offered]);
        for (path, status) in [
            ("/static/k", 200),
            ("/static/k", 200),
            ("/static/none", 404),
            ("/nowhere", 404),
            ("/static/%zz", 400),
        ] {
            let answer = client.get(secure.secure, NAME, path).await.unwrap().response;
            let hsts = answer.field("strict-transport-security");
            assert_eq!((answer.status, hsts), (status, "max-age=31536000"), "{path}");
        }
        secure.site.store("/static/k").await;
    }
    // What is no request gets it, too.
    let address = tunnel(&secure.client, secure.secure, NAME).await;
    let refused = Connection::send(address, "nonsense\r\n\r\n").await.head().await;
    assert_eq!((refused.status, refused.field("strict-transport-security")), (400, "max-age=31536000"));
    let plain = secure.site.client.get("/static/k").await;
    assert_eq!((plain.field("x-cache"), plain.field("strict-transport-security")), ("HIT", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_in_any_way_is_let_go() {
    let secure = TlsSite::start().await;
    secure.site.put("k", &[], "hello");
    for is_polite in [true, false] {
        let mut stream = secure.client.connect(secure.secure, NAME).await.unwrap();
        stream.write_all(plain_get("/static/k").as_bytes()).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        if is_polite {
            stream.shutdown().await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert!(rest.ends_with(b"hello"));
        }
    }
    crate::site::until_metric(&secure.site.admin, "yatagarasu_connections", |open| open == 0).await;
}
