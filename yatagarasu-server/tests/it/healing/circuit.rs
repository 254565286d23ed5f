//! A source that is down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::Connection;
use yatagarasu_testing::origin::{Gate, Reply};

use super::metric;
use crate::site::Site;

/// Closes all connections of a source while it is told to.
fn down(site: &Site) -> Arc<AtomicBool> {
    let down = Arc::new(AtomicBool::new(false));
    let closed = Arc::clone(&down);
    site.origin.decide(move |_| closed.load(Ordering::SeqCst).then(Reply::closes));
    down
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_down_is_not_asked_until_it_is_back() {
    let site = Site::healing("", "").await;
    for key in ["hot", "cold"] {
        site.put(key, &[], "here");
    }
    site.store("/static/hot").await;
    let down = down(&site);
    down.store(true, Ordering::SeqCst);
    let mut statuses = Vec::new();
    let opened = async {
        while statuses.last() != Some(&503) {
            statuses.push(site.client.get("/static/cold").await.status);
        }
    };
    timeout(PATIENCE, opened).await.expect("the circuit opens");
    assert!(statuses.len() > 2 && statuses.iter().rev().skip(1).all(|status| *status == 502), "{statuses:?}");
    assert_eq!(metric(&site, "yatagarasu_source_up", "assets").await, 0);
    // Nobody waits for it, and it is left alone.
    let (before, began) = (site.origin.requests().len(), Instant::now());
    for _ in 0..200 {
        let refused = site.client.get("/static/cold").await;
        assert_eq!((refused.status, refused.field("retry-after")), (503, "1"));
        assert_eq!(site.client.get("/static/hot").await.field("x-cache"), "HIT");
    }
    let probes = site.origin.requests().len() - before;
    assert!(probes as u64 <= began.elapsed().as_secs() + 1, "{probes} in {:?}", began.elapsed());
    assert!(metric(&site, "yatagarasu_source_refused_total", "assets").await >= 200);
    down.store(false, Ordering::SeqCst);
    let back = async { while site.client.get("/static/cold").await.status != 200 {} };
    timeout(PATIENCE, back).await.expect("it is asked again");
    assert_eq!(site.client.get("/static/other").await.status, 404);
}

/// Nobody has the patience of the timeouts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_silent_is_down_too() {
    let site = Site::healing("deadline: \"1100ms\"", "").await;
    site.origin.decide(|_| Some(Reply::ok("never").head_at(&Gate::default())));
    let clients: Vec<_> = (0..12).map(|number| site.begin(&format!("/media/{number}"))).collect();
    for client in clients {
        assert_eq!(client.await.unwrap().status, 504);
    }
    // The probes wait for as long as they do.
    let opened = async { while metric(&site, "yatagarasu_source_up", "videos").await == 1 {} };
    timeout(PATIENCE, opened).await.expect("the circuit opens");
    assert_eq!(site.client.get("/media/k").await.status, 503);
}

/// Requests for one broken object say nothing about the others.
#[tokio::test]
async fn one_broken_object_does_not_make_the_source_unavailable() {
    let site = Site::healing("attempts: 1", "").await;
    site.put("good", &[], "here");
    site.origin.answer("bad", [Reply::status(500)]);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        for _ in 0..20 {
            assert_eq!(site.client.get("/media/bad").await.status, 502);
        }
        assert_eq!(site.client.get("/media/good").await.status, 200);
    }
    assert_eq!(metric(&site, "yatagarasu_source_up", "videos").await, 1);
    assert_eq!(metric(&site, "yatagarasu_source_refused_total", "videos").await, 0);
}

#[tokio::test]
async fn a_source_that_is_back_for_probes_only_is_found_out_again() {
    let site = Site::healing("attempts: 1", "").await;
    let down = down(&site);
    down.store(true, Ordering::SeqCst);
    for round in 0..2 {
        let opened = async { while site.client.get("/media/k").await.status != 503 {} };
        timeout(PATIENCE, opened).await.unwrap_or_else(|_| panic!("it opens in round {round}"));
        down.store(false, Ordering::SeqCst);
        let closed = async { while site.client.get("/media/k").await.status != 404 {} };
        timeout(PATIENCE, closed).await.expect("it closes");
        down.store(true, Ordering::SeqCst);
    }
}

/// Requests that find no connection say nothing of S3, and the probes need none of theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_silent_is_down_though_all_connections_are_in_use() {
    let s3 = "attempts: 1, connections_max: 2, connect_timeout: \"100ms\", response_timeout: \"300ms\"";
    let site = Site::healing(s3, "").await;
    site.origin.decide(|_| Some(Reply::ok("never").head_at(&Gate::default())));
    let opened = async {
        while metric(&site, "yatagarasu_source_up", "videos").await == 1 {
            let clients: Vec<_> = (0..8).map(|number| site.begin(&format!("/media/{number}"))).collect();
            for client in clients {
                assert!(matches!(client.await.unwrap().status, 503 | 504));
            }
        }
    };
    timeout(PATIENCE, opened).await.expect("the circuit opens");
}

/// A filter before the store answers with pages of its own.
#[tokio::test]
async fn refusals_of_a_filter_are_answers() {
    let site = Site::healing("attempts: 1", "").await;
    site.put("good", &[], "here");
    site.origin.decide(|request| {
        let page = Reply::ok("<html>no</html>").of_status(403).with("content-type", "text/html");
        (request.key != "good").then_some(page)
    });
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        for _ in 0..10 {
            assert_eq!(site.client.get("/media/bad").await.status, 502);
        }
    }
    assert_eq!(site.client.get("/media/good").await.status, 200);
    assert_eq!(metric(&site, "yatagarasu_source_up", "videos").await, 1);
}

/// Streams may take hours. They leave connections for what is stored, and for everybody who waits for it.
#[tokio::test]
async fn streams_leave_connections_for_what_is_stored() {
    // A range of an object that is not stored is for one client alone from the beginning. An object turns out to be too
    // large to store when its head is there, and one of unknown length is copied at the pace of its client.
    for (number, (fields, reply)) in [
        ("range: bytes=1-\r\nif-range: \"x\"\r\n", Reply::ok(vec![0; 100_000])),
        ("", Reply::ok(vec![0; 100_000])),
        ("", Reply::raw([b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &vec![0; 100_000]].concat())),
    ]
    .into_iter()
    .enumerate()
    {
        streams_leave_connections(number, fields, reply).await;
    }
}

async fn streams_leave_connections(kind: usize, fields: &str, reply: Reply) {
    let s3 = "connections_max: 8, connect_timeout: \"200ms\"";
    let site = Site::with(s3, "max_item_size: \"1KB\"").await;
    let gate = Gate::default();
    site.origin.decide(move |request| {
        let is_stream = request.key.parse::<u32>().is_ok();
        is_stream.then(|| reply.clone().rest_at(50_000, &gate))
    });
    site.put("small", &[], "small");
    let begin = async |number: u32| {
        let request = format!("GET /static/{number} HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
        let mut stream = Connection::send(site.address, request).await;
        (stream.head().await, stream)
    };
    let mut streams = Vec::new();
    for number in 0..7 {
        let (head, stream) = begin(number).await;
        assert_eq!(head.status, 200, "{kind}: {number}");
        streams.push(stream);
    }
    let (refused, _) = begin(8).await;
    assert_eq!((refused.status, refused.field("retry-after")), (503, "1"), "{kind}");
    assert_eq!(site.client.get("/static/small").await.body, "small", "{kind}");
    streams.pop();
    let again = async { while begin(9).await.0.status == 503 {} };
    timeout(PATIENCE, again).await.expect("a stream that has ended makes room");
}

/// Nobody waits behind more requests than there are connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_for_connections_is_bounded() {
    let s3 = "attempts: 1, connections_max: 2, connect_timeout: \"10s\"";
    let site = Site::healing(s3, "").await;
    let gate = Gate::default();
    let held = gate.clone();
    site.origin.decide(move |_| Some(Reply::ok("late").head_at(&held)));
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..12 {
        let (client, told) = (site.client.clone(), told.clone());
        tokio::spawn(async move { told.send(client.get(&format!("/media/{number}")).await.status) });
    }
    let mut next = async || timeout(Duration::from_secs(5), tell.recv()).await.expect("in time").unwrap();
    for _ in 0..8 {
        assert_eq!(next().await, 503, "two are on their way, and two wait");
    }
    gate.open();
    for _ in 0..4 {
        assert_eq!(next().await, 200, "those in the queue get their turn");
    }
}
