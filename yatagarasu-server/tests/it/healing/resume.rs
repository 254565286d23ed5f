//! Bodies that break off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use yatagarasu_testing::client::{Connection, Http2};
use yatagarasu_testing::origin::{Fault, Origin, Reply, Request, Version};

use super::metric;
use crate::site::{Site, bucket, document};
use crate::tls_front::{TlsFront, self_signed};

pub(super) const PIECE: usize = 64 << 10;

/// Returns bytes that are nowhere the same.
pub(super) fn content(length: usize) -> Bytes {
    let word = |number: usize| (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    (0..length.div_ceil(8)).flat_map(word).take(length).collect()
}

/// Answers all keys with a version. Each answer that begins before the byte `at` breaks off there, as `fault` says, for
/// the first `times` times.
fn cut_at(origin: &Origin, version: &Version, fault: fn(usize) -> Fault, at: usize, times: usize) {
    let (version, left) = (version.clone(), AtomicUsize::new(times));
    origin.decide(move |request| {
        let reply = version.answer(request);
        let first = first(request);
        let cut = first <= at
            && left.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        Some(if cut { reply.failing(fault(at - first)) } else { reply })
    });
}

/// Returns the first byte that a request asks for.
pub(super) fn first(request: &Request) -> usize {
    let range = request.field("range").strip_prefix("bytes=");
    range.map_or(0, |range| range.split('-').next().unwrap().parse().unwrap())
}

/// Fetches an object `clients` times at once. Returns how many got it whole; others broke off.
async fn fetch(site: &Site, path: &str, clients: usize, content: &Bytes) -> usize {
    let fetching: Vec<_> = (0..clients)
        .map(|_| {
            let (client, path) = (site.client.clone(), path.to_owned());
            tokio::spawn(async move { client.try_send("GET", &path, &[], Bytes::new()).await.ok() })
        })
        .collect();
    let mut whole = 0;
    for client in fetching {
        if let Some(answer) = client.await.unwrap() {
            assert!(answer.status == 200 && answer.body == content, "{path}: another body");
            whole += 1;
        }
    }
    whole
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_off_at_any_boundary_goes_on() {
    let site = Site::healing("", "max_item_size: \"4MB\"").await;
    for (prefix, length) in [("static", 3 << 20), ("media", 5 << 20)] {
        let content = content(length);
        for (number, at) in (0..length).step_by(PIECE).enumerate() {
            let version = Version::new(&format!("{prefix}{number}"), content.clone());
            let (fault, clients): (fn(usize) -> Fault, _) = match number % 3 {
                0 => (Fault::Cut, 1),
                1 => (Fault::Reset, 8),
                _ => (Fault::Cut, 3),
            };
            for times in [1, 2] {
                // Streams do not share a request: each breaks off as often.
                let sharing = if prefix == "static" { clients } else { 1 };
                cut_at(&site.origin, &version, fault, at, times);
                let path = format!("/{prefix}/{number}-{times}");
                assert_eq!(fetch(&site, &path, sharing, &content).await, sharing, "{path} at {at}");
            }
        }
    }
    assert!(metric(&site, "yatagarasu_source_resumed_total", "assets").await >= 3 * 48);
    assert!(metric(&site, "yatagarasu_source_resumed_bytes_total", "videos").await > 100 << 20);
    assert_eq!(metric(&site, "yatagarasu_source_broken_total", "videos").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_always_breaks_off_in_one_place_breaks_its_clients() {
    let site = Site::healing("", "max_item_size: \"4MB\"").await;
    let content = content(1 << 20);
    for (prefix, clients) in [("static", 8), ("media", 1)] {
        for at in [0, 1, PIECE, (1 << 20) - 1] {
            let version = Version::new(&format!("{prefix}{at}"), content.clone());
            cut_at(&site.origin, &version, Fault::Cut, at, usize::MAX);
            assert_eq!(fetch(&site, &format!("/{prefix}/{at}"), clients, &content).await, 0, "{prefix} {at}");
        }
    }
    assert_eq!(metric(&site, "yatagarasu_source_broken_total", "videos").await, 4);
    assert_eq!(site.admin.get("/stats").await.json()["buckets"][0]["objects"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_goes_on_as_often_as_it_gets_on() {
    let site = Site::healing("", "").await;
    let (content, asked) = (content(64 << 20), Arc::new(AtomicUsize::new(0)));
    let (version, count) = (Version::new("e", content.clone()), Arc::clone(&asked));
    // Every answer breaks off after a random number of bytes.
    site.origin.decide(move |request| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let end = PIECE + (number * 7_654_321) % (3 << 20);
        let fault = if number % 2 == 0 { Fault::Cut(end) } else { Fault::Reset(end) };
        Some(version.answer(request).failing(fault))
    });
    assert_eq!(fetch(&site, "/media/k", 1, &content).await, 1);
    assert!(asked.load(Ordering::SeqCst) > 20);
}

#[tokio::test]
async fn a_source_that_brings_one_byte_each_time_is_given_up() {
    let site = Site::healing("", "").await;
    let version = Version::new("e", content(1000));
    site.origin.decide(move |request| Some(version.answer(request).failing(Fault::Cut(1))));
    assert_eq!(fetch(&site, "/media/k", 1, &Bytes::new()).await, 0);
    assert_eq!(site.origin.asked("k").len(), 3);
}

#[tokio::test]
async fn an_answer_may_come_a_byte_at_a_time() {
    let site = Site::healing("", "").await;
    let content = content(30_000);
    for (number, reply) in [
        Reply::ok(content.clone()).with("etag", "\"e\""),
        Reply::raw(
            [
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7530\r\n",
                &content[..],
                b"\r\n0\r\n\r\n",
            ]
            .concat(),
        ),
        Reply::raw([b"HTTP/1.0 200 OK\r\n\r\n", &content[..]].concat()),
    ]
    .into_iter()
    .enumerate()
    {
        for (prefix, clients) in [("static", 8), ("media", 1)] {
            let key = format!("{number}-{prefix}");
            site.origin.answer(&key, [reply.clone().failing(Fault::Dribble)]);
            assert_eq!(fetch(&site, &format!("/{prefix}/{key}"), clients, &content).await, clients, "{key}");
            // Nobody joins what has no length.
            assert!(site.origin.asked(&key).len() <= if number == 0 { 1 } else { clients }, "{key}");
        }
    }
    for name in ["yatagarasu_source_retries_total", "yatagarasu_source_resumed_total"] {
        assert_eq!(metric(&site, name, "assets").await + metric(&site, name, "videos").await, 0, "{name}");
    }
}

#[tokio::test]
async fn a_body_that_stops_goes_on() {
    for (prefix, length) in [("static", 500_000), ("media", 5_000_000)] {
        let site = Site::healing("idle_timeout: \"100ms\"", "").await;
        let (content, version) = (content(length), Version::new("e", content(length)));
        cut_at(&site.origin, &version, Fault::Stall, 300_001, 1);
        assert_eq!(fetch(&site, &format!("/{prefix}/k"), 1, &content).await, 1, "{prefix}");
        assert_eq!(site.origin.asked("k").len(), 2);
    }
}

/// The connection that has stalled is closed before the rest is asked for.
#[tokio::test]
async fn a_body_that_stops_needs_no_second_connection() {
    let s3 = "attempts: 3, idle_timeout: \"100ms\", connect_timeout: \"500ms\", connections_max: 1";
    let site = Site::healing(s3, "").await;
    let (content, version) = (content(2 << 20), Version::new("e", content(2 << 20)));
    cut_at(&site.origin, &version, Fault::Stall, 700_000, 1);
    assert_eq!(fetch(&site, "/media/k", 1, &content).await, 1);
}

#[tokio::test]
async fn ranges_and_parts_go_on_where_they_were() {
    let site = Site::healing("", "").await;
    let (content, version) = (content(2 << 20), Version::new("e", content(2 << 20)));
    for (range, expected) in [
        ("bytes=100000-900000", 100_000..900_001),
        ("bytes=1500000-", 1_500_000..2 << 20),
        ("bytes=-700000", (2 << 20) - 700_000..2 << 20),
    ] {
        let (left, version) = (AtomicUsize::new(1), version.clone());
        site.origin.decide(move |request| {
            let reply = version.answer(request);
            let cut = left.swap(0, Ordering::SeqCst) == 1;
            Some(if cut { reply.failing(Fault::Cut(333_333)) } else { reply })
        });
        let answer = site.client.get_with("/media/k", &[("range", range)]).await;
        assert_eq!(answer.status, 206);
        assert!(answer.body == content[expected], "{range}");
        let asked = site.origin.asked("k");
        assert_eq!(asked.last().unwrap().field("if-match"), "\"e\"");
    }
}

#[tokio::test]
async fn bytes_of_two_versions_are_never_mixed() {
    for prefix in ["static", "media"] {
        let site = Site::healing("", "").await;
        let versions = [Version::new("old", content(800_000)), Version::new("new", vec![0; 800_000])];
        let asked = AtomicUsize::new(0);
        let both = versions.clone();
        site.origin.decide(move |request| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Some(both[0].answer(request).failing(Fault::Cut(200_000))),
            _ => Some(both[1].answer(request)),
        });
        let path = format!("/{prefix}/k");
        let mut client = Connection::begin(site.address, &path).await;
        let body = client.rest().await;
        assert!(body == versions[0].content()[..body.len()] && body.len() <= 200_000, "{prefix}");
        assert_eq!(site.origin.asked("k")[1].field("if-match"), "\"old\"");
        // Whoever asks then gets the new one.
        assert!(site.client.get(&path).await.body == versions[1].content());
    }
}

/// Answers the first request with `first` bytes of an object, and all others by `then`.
fn then(
    origin: &Origin,
    object: Reply,
    first: usize,
    then: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) {
    let asked = AtomicUsize::new(0);
    origin.decide(move |request| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Some(object.clone().failing(Fault::Cut(first))),
        _ => Some(then(request)),
    });
}

#[tokio::test]
async fn what_is_sent_again_from_the_start_is_skipped_if_it_is_little() {
    let (content, tagged) =
        (content(3 << 20), |reply: Reply| reply.with("etag", "\"e\"").with("accept-ranges", "none"));
    for (at, healed) in [(900_000, 1), (2_000_000, 0)] {
        let site = Site::healing("", "").await;
        let whole = tagged(Reply::ok(content.clone()));
        then(&site.origin, whole.clone(), at, move |_| whole.clone());
        assert_eq!(fetch(&site, "/media/k", 1, &content).await, healed, "{at}");
        assert_eq!(site.origin.asked("k").len(), 2);
    }
}

#[tokio::test]
async fn only_the_rest_of_the_same_version_is_taken() {
    let content = content(400_000);
    let part = |first: usize, end: usize, tag: &str| {
        Reply::part(content.slice(first..end), first as u64, 400_000).with("etag", tag)
    };
    let whole = Reply::ok(content.clone()).with("etag", "\"e\"");
    for (what, reply) in [
        ("another part", part(100_001, 400_000, "\"e\"")),
        ("a shorter part", part(100_000, 399_999, "\"e\"")),
        ("another tag", part(100_000, 400_000, "\"f\"")),
        ("a weak tag", part(100_000, 400_000, "W/\"e\"")),
        ("no tag", Reply::part(content.slice(100_000..), 100_000, 400_000)),
        ("another length", Reply::part(content.slice(100_000..), 100_000, 400_001).with("etag", "\"e\"")),
        ("a whole of another length", Reply::ok(content.slice(1..)).with("etag", "\"e\"")),
        ("a whole of another version", Reply::ok(content.clone()).with("etag", "\"f\"")),
        ("nothing any more", Reply::status(404)),
        ("no permission any more", Reply::status(403)),
        ("nothing new", Reply::status(304)),
    ] {
        let site = Site::healing("", "").await;
        then(&site.origin, whole.clone(), 100_000, move |_| reply.clone());
        assert_eq!(fetch(&site, "/media/k", 1, &content).await, 0, "{what}");
        assert_eq!(site.origin.asked("k").len(), 2, "{what}");
    }
}

#[tokio::test]
async fn what_has_no_strong_tag_or_no_length_is_not_continued() {
    let content = content(400_000);
    for (what, reply) in [
        ("no tag", Reply::ok(content.clone())),
        ("a weak tag", Reply::ok(content.clone()).with("etag", "W/\"e\"")),
    ] {
        let site = Site::healing("", "").await;
        then(&site.origin, reply, 100_000, |_| panic!("it is not asked for"));
        assert_eq!(fetch(&site, "/media/k", 1, &content).await, 0, "{what}");
    }
}

#[tokio::test]
async fn a_continuation_that_fails_is_tried_again() {
    let (content, version) = (content(900_000), Version::new("e", content(900_000)));
    let site = Site::healing("", "").await;
    let (rest, asked) = (version.clone(), AtomicUsize::new(0));
    let whole = Reply::ok(content.clone()).with("etag", "\"e\"");
    then(&site.origin, whole, 100_000, move |request| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::closes(),
        1 => Reply::status(503),
        2 => rest.answer(request).failing(Fault::Reset(0)),
        _ => rest.answer(request),
    });
    assert_eq!(fetch(&site, "/static/k", 4, &content).await, 4);
}

#[tokio::test]
async fn clients_of_http2_get_the_whole_as_well() {
    let site = Site::healing("", "").await;
    let (content, version) = (content(5 << 20), Version::new("e", content(5 << 20)));
    cut_at(&site.origin, &version, Fault::Cut, 3_333_333, 2);
    let mut client = Http2::connect(site.address).await;
    assert!(client.get("/media/k").await.unwrap().body == content);
}

#[tokio::test]
async fn a_source_with_tls_is_asked_for_the_rest_too() {
    let origin = Origin::start().await;
    let (content, version) = (content(5 << 20), Version::new("e", content(5 << 20)));
    cut_at(&origin, &version, Fault::Cut, 3_333_333, 2);
    let certified = self_signed(&["127.0.0.1"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certified.cert.pem()).unwrap();
    let front = TlsFront::start(&origin, &certified).await;
    let s3 = format!("attempts: 3, tls: {{ ca_file: {file:?}, pin_self_signed: true }}");
    let endpoint = format!("https://{}", front.authority());
    let entry = bucket(&endpoint, "videos", "/media", &s3, "enabled: false");
    let site = Site::run(origin, &document("", &[entry])).await;
    assert_eq!(fetch(&site, "/media/k", 1, &content).await, 1);
}
