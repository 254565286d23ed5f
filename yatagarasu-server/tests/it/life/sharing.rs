//! Many clients ask for one object at once. One copy serves all that may share it.

use tokio::task::JoinHandle;
use yatagarasu_testing::client::{Connection, Http2, Response};
use yatagarasu_testing::origin::{Gate, Reply};

use crate::site::{Site, until};

const LENGTH: usize = 200_000;
const HALF: usize = LENGTH / 2;

fn content() -> Vec<u8> {
    (0..=250_u8).cycle().take(LENGTH).collect()
}

fn object(control: &str) -> Reply {
    Reply::ok(content()).with("etag", "\"e\"").with("cache-control", control)
}

/// Starts `count` requests, and returns once the gateway has all of them.
async fn crowd(site: &Site, count: usize, fields: &[(&str, &str)]) -> (Http2, Vec<JoinHandle<Response>>) {
    let mut crowd = Http2::connect(site.address).await;
    let clients = (0..count).map(|_| crowd.send("GET", "/static/k", fields)).collect();
    crowd.begun().await;
    (crowd, clients)
}

/// Each client that came while the object arrived fetched it whole.
#[tokio::test]
async fn what_is_stale_on_arrival_is_validated_once_while_it_arrives() {
    for control in ["no-cache", "max-age=0", "s-maxage=0"] {
        let site = Site::start().await;
        let (gate, head) = (Gate::default(), Gate::default());
        let confirmed = Reply::status(304).with("etag", "\"e\"").with("cache-control", control);
        let broken = Reply::status(500);
        site.origin.answer(
            "k",
            [object(control).rest_at(HALF, &gate), confirmed.clone().head_at(&head), confirmed, broken],
        );
        let mut first = Connection::get(site.address, "/static/k").await;
        assert!(first.head().await.status == 200 && first.take(HALF).await == content()[..HALF]);
        let (_crowd, clients) = crowd(&site, 8, &[]).await;
        site.origin.wait_asked("k", 2).await;
        head.open();
        // The fetch that arrives takes its place back, and the next to come validate it again.
        let mut later = Connection::get(site.address, "/static/k").await;
        assert_eq!(later.head().await.field("x-cache"), "REVALIDATED");
        gate.open();
        for client in clients {
            let answer = client.await.unwrap();
            assert_eq!((answer.status, answer.field("x-cache")), (200, "REVALIDATED"), "{control}");
            assert!(answer.body == content());
        }
        assert!(later.take(LENGTH).await == content() && first.take(HALF).await == content()[HALF..]);
        let asked = site.origin.asked("k");
        assert!((2..=3).contains(&asked.len()), "{control}: {}", asked.len());
        assert!(asked[1..].iter().all(|asked| asked.field("if-none-match") == "\"e\""));
        until(&site, |stats| stats["buckets"][0]["objects"] == 1).await;
    }
}

#[tokio::test]
async fn a_new_version_found_while_the_old_one_arrives_is_shared_too() {
    let site = Site::start().await;
    let gate = Gate::default();
    site.origin.answer(
        "k",
        [object("no-cache").rest_at(HALF, &gate), Reply::ok("new").with("etag", "\"n\"").head_at(&gate)],
    );
    let mut first = Connection::get(site.address, "/static/k").await;
    assert_eq!(first.head().await.status, 200);
    let (_crowd, clients) = crowd(&site, 8, &[]).await;
    site.origin.wait_asked("k", 2).await;
    gate.open();
    for client in clients {
        assert_eq!(client.await.unwrap().body, "new");
    }
    assert!(first.take(LENGTH).await == content(), "the old version to its end");
    until(&site, |stats| stats["fill_memory"]["bytes"] == 0).await;
    assert_eq!(site.client.get("/static/k").await.body, "new");
    assert_eq!(site.origin.asked("k").len(), 2);
}

/// Starts a client that wants what arrives validated, and a fresh object that S3 suspends at half.
async fn validating(answer: Reply) -> (Site, Gate, Connection, Connection) {
    let site = Site::start().await;
    let gate = Gate::default();
    site.origin.answer("k", [object("max-age=60").rest_at(HALF, &gate), answer, Reply::status(500)]);
    let mut first = Connection::get(site.address, "/static/k").await;
    assert!(first.head().await.status == 200 && first.take(HALF).await == content()[..HALF]);
    let text = "GET /static/k HTTP/1.1\r\nhost: test\r\ncache-control: no-cache\r\n\r\n";
    let second = Connection::send(site.address, text).await;
    site.origin.wait_asked("k", 2).await;
    (site, gate, first, second)
}

#[tokio::test]
async fn who_takes_what_arrives_does_not_wait_for_one_who_wants_it_validated() {
    let (site, gate, mut first, second) = validating(Reply::status(304).head_at(&Gate::default())).await;
    let mut third = Connection::get(site.address, "/static/k").await;
    assert!(third.head().await.status == 200 && third.take(HALF).await == content()[..HALF]);
    assert_eq!(site.client.head("/static/k").await.status, 200);
    // When the one who wanted it has left, later requests join what arrives.
    drop(second);
    gate.open();
    for client in [&mut first, &mut third] {
        assert!(client.take(HALF).await == content()[HALF..]);
    }
    until(&site, |stats| stats["buckets"][0]["objects"] == 1).await;
    assert_eq!(site.client.get("/static/k").await.field("x-cache"), "HIT");
    assert_eq!(site.origin.asked("k").len(), 2);
}

#[tokio::test]
async fn a_validation_that_fails_leaves_what_arrives_as_it_is() {
    let (site, gate, mut first, mut second) = validating(Reply::status(503)).await;
    assert_eq!(second.head().await.status, 503);
    let mut third = Connection::get(site.address, "/static/k").await;
    assert!(third.head().await.status == 200 && third.take(HALF).await == content()[..HALF]);
    gate.open();
    assert!(first.take(HALF).await == content()[HALF..] && third.take(HALF).await == content()[HALF..]);
    assert_eq!(site.origin.asked("k").len(), 2);
}

#[tokio::test]
async fn what_breaks_off_while_it_is_validated_is_fetched_anew() {
    const BEGUN: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 10\r\netag: \"e\"\r\ncache-control: no-cache\r\n\r\nhello";
    let site = Site::start().await;
    let (gate, head) = (Gate::default(), Gate::default());
    site.origin.answer(
        "k",
        [
            Reply::raw(BEGUN).rest_at(BEGUN.len(), &gate),
            Reply::status(304).with("etag", "\"e\"").head_at(&head),
            Reply::ok("0123456789").with("etag", "\"e\""),
        ],
    );
    let mut first = Connection::get(site.address, "/static/k").await;
    assert!(first.head().await.status == 200 && first.take(5).await == b"hello");
    let (_crowd, clients) = crowd(&site, 3, &[]).await;
    site.origin.wait_asked("k", 2).await;
    gate.open();
    first.rest().await;
    head.open();
    for client in clients {
        assert_eq!(client.await.unwrap().body, "0123456789");
    }
    assert_eq!(site.origin.asked("k").len(), 3);
}

/// Browsers, ffmpeg and VLC begin a video with this range. Each had a GET and a copy of its own.
#[tokio::test]
async fn those_who_ask_for_all_bytes_as_a_range_share_one_copy() {
    let site = Site::start().await;
    let gate = Gate::default();
    site.origin.answer("k", [object("max-age=60").head_at(&gate)]);
    let (_crowd, clients) = crowd(&site, 8, &[("range", "bytes=0-")]).await;
    site.origin.wait_asked("k", 1).await;
    gate.open();
    for client in clients {
        let answer = client.await.unwrap();
        assert_eq!((answer.status, answer.field("content-range")), (206, "bytes 0-199999/200000"));
        assert!(answer.body == content());
    }
    assert_eq!(site.origin.asked("k").len(), 1);
}

#[tokio::test]
async fn a_range_of_all_bytes_of_what_is_too_large_to_store_is_asked_for_once() {
    let site = Site::with("", "max_item_size: 100KiB").await;
    let crc = object("max-age=60").with("x-amz-checksum-crc32", "AAAAAA==");
    site.origin.answer("k", [crc, Reply::status(500)]);
    let answer = site.client.get_with("/static/k", &[("range", "bytes=0-")]).await;
    assert_eq!((answer.status, answer.field("content-range")), (206, "bytes 0-199999/200000"));
    assert_eq!((answer.field("content-length"), answer.field("x-amz-checksum-crc32")), ("200000", ""));
    assert!(answer.body == content());
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// The head of a Parquet file, the directory of a map, Safari's first two bytes: all ask for the same few bytes first.
#[tokio::test]
async fn those_who_ask_for_the_same_range_share_one_copy() {
    let site = Site::start().await;
    let gate = Gate::default();
    let part = |first: usize, last: usize, etag: &str| {
        Reply::part(content()[first..=last].to_vec(), first as u64, LENGTH as u64).with("etag", etag)
    };
    site.origin.answer("k", [part(0, 49_999, "\"e\"").head_at(&gate), part(50_000, 99_999, "\"e\"")]);
    let (mut crowd, clients) = crowd(&site, 8, &[("range", "bytes=0-49999")]).await;
    site.origin.wait_asked("k", 1).await;
    // Another range, and the same one with a condition, have requests of their own.
    let other = crowd.send("GET", "/static/k", &[("range", "bytes=50000-99999")]);
    assert!(other.await.unwrap().body == content()[50_000..100_000]);
    gate.open();
    for client in clients {
        let answer = client.await.unwrap();
        assert_eq!((answer.status, answer.field("content-range")), (206, "bytes 0-49999/200000"));
        assert_eq!(answer.field("content-length"), "50000");
        assert!(answer.body == content()[..50_000]);
    }
    assert_eq!(site.origin.asked("k").len(), 2);
    until(&site, |stats| stats["fill_memory"]["bytes"] == 0).await;
    let stored = site.client.get_with("/static/k", &[("range", "bytes=40000-59999")]).await;
    assert_eq!((stored.status, stored.field("x-cache")), (206, "HIT"));
    assert!(stored.body == content()[40_000..60_000]);
}

#[tokio::test]
async fn those_who_ask_for_the_same_range_of_what_is_not_stored_get_it_each() {
    for (cache, reply) in [
        (
            "max_item_size: 100KiB",
            Reply::part(content()[..10].to_vec(), 0, LENGTH as u64).with("etag", "\"e\""),
        ),
        ("", Reply::part(content()[..10].to_vec(), 0, LENGTH as u64)),
        ("", Reply::part(content()[..10].to_vec(), 0, LENGTH as u64).with("cache-control", "no-store")),
        ("", Reply::ok(content())),
    ] {
        let site = Site::with("", cache).await;
        let gate = Gate::default();
        site.origin.answer("k", [reply.clone().head_at(&gate), reply]);
        let (_crowd, clients) = crowd(&site, 4, &[("range", "bytes=0-9")]).await;
        site.origin.wait_asked("k", 1).await;
        gate.open();
        for client in clients {
            let answer = client.await.unwrap();
            assert_eq!((answer.status, answer.field("content-range")), (206, "bytes 0-9/200000"));
            assert!(answer.body == content()[..10]);
        }
        assert!(site.origin.asked("k").iter().all(|asked| asked.field("range") == "bytes=0-9"));
    }
}

#[tokio::test]
async fn a_range_that_is_refused_is_refused_to_all_who_asked_for_it() {
    let site = Site::start().await;
    let gate = Gate::default();
    let refusal = Reply::status(416).with("content-range", "bytes */10");
    site.origin.answer("k", [refusal.head_at(&gate), Reply::status(500)]);
    let (_crowd, clients) = crowd(&site, 4, &[("range", "bytes=50-59")]).await;
    site.origin.wait_asked("k", 1).await;
    gate.open();
    for client in clients {
        let answer = client.await.unwrap();
        assert_eq!((answer.status, answer.field("content-range")), (416, "bytes */10"));
    }
    assert_eq!(site.origin.asked("k").len(), 1);
}

#[tokio::test]
async fn a_refusal_reaches_only_those_it_was_meant_for() {
    for (refusal, fields) in [
        (Reply::status(404).with("vary", "Accept-Language"), ("accept-language", "fr")),
        (Reply::status(403).with("vary", "*"), ("accept-language", "de")),
    ] {
        let site = Site::with("forward_headers: [\"accept-language\"]", "").await;
        let gate = Gate::default();
        site.origin.answer("k", [refusal.head_at(&gate), Reply::ok("french")]);
        let mut crowd = Http2::connect(site.address).await;
        let first = crowd.send("GET", "/static/k", &[("accept-language", "de")]);
        site.origin.wait_asked("k", 1).await;
        let other = crowd.send("GET", "/static/k", &[fields]);
        crowd.begun().await;
        gate.open();
        assert!(first.await.unwrap().status >= 400);
        assert_eq!(other.await.unwrap().body, "french");
    }
}

/// A quote without its end hid what came after it, so that a private object was shared for a day.
#[tokio::test]
async fn a_quote_without_its_end_hides_nothing_and_makes_it_stale() {
    for (control, x_cache) in [("x=\"a, max-age=60", "REVALIDATED"), ("x=\"a, private", "MISS")] {
        let site = Site::with("", "ttl: 1d").await;
        let again = [Reply::status(304).with("etag", "\"e\""), object(control)];
        let again = again.into_iter().skip(usize::from(x_cache == "MISS"));
        site.origin.answer("k", std::iter::once(object(control)).chain(again));
        for expected in ["MISS", x_cache] {
            assert_eq!(site.client.get("/static/k").await.field("x-cache"), expected, "{control}");
            until(&site, |stats| stats["fill_memory"]["bytes"] == 0).await;
        }
    }
}
