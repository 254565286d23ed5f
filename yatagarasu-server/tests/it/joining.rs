//! Tests of requests that join a running fill.

use tokio::task::JoinHandle;
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Connection, Http2, Response};
use yatagarasu_testing::origin::{Gate, Reply};

use crate::site::{Site, until, until_metric};

const HALF: usize = 100_000;

/// Returns a body with parts that all differ.
fn content(length: u32) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

fn tagged(body: Vec<u8>) -> Reply {
    Reply::ok(body).with("etag", "\"e\"").with("content-type", "text/plain")
}

/// Lets a request join a GET that waits for the source's head. Returns its response, after checking that the source saw
/// one GET.
async fn joined(method: &str, headers: &[(&str, &str)]) -> Response {
    let site = Site::start().await;
    let gate = Gate::default();
    site.origin.answer("k", [tagged(content(10_000)).head_at(&gate)]);
    let mut crowd = Http2::connect(site.address).await;
    let first = crowd.get("/static/k");
    site.origin.wait_asked("k", 1).await;
    let second = crowd.send(method, "/static/k", headers);
    crowd.begun().await;
    gate.open();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert!(first.status == 200 && first.body == content(10_000));
    let methods: Vec<_> = site.origin.asked("k").into_iter().map(|asked| asked.method).collect();
    assert_eq!(methods, ["GET"]);
    second
}

#[tokio::test]
async fn a_get_joins_before_the_head_is_there() {
    let answer = joined("GET", &[]).await;
    assert_eq!((answer.status, answer.field("content-type")), (200, "text/plain"));
    assert!(answer.body == content(10_000));
}

/// RFC 9111 5.2.2.7: a field named by `private` is for the client that the response was requested for.
#[tokio::test]
async fn what_is_for_the_beginner_alone_reaches_no_one_who_joins() {
    let site = Site::start().await;
    let gate = Gate::default();
    let answer =
        tagged(content(10_000)).with("cache-control", "max-age=60, private=\"x-mine\"").with("x-mine", "1");
    site.origin.answer("k", [answer.head_at(&gate)]);
    let mut crowd = Http2::connect(site.address).await;
    let first = crowd.get("/static/k");
    site.origin.wait_asked("k", 1).await;
    let second = crowd.get("/static/k");
    crowd.begun().await;
    gate.open();
    // In either order, whoever takes the fields first.
    let (second, first) = (second.await.unwrap(), first.await.unwrap());
    assert_eq!((first.field("x-mine"), second.field("x-mine")), ("1", ""));
    assert_eq!(site.client.get("/static/k").await.field("x-mine"), "");
    assert_eq!(site.origin.asked("k").len(), 1);
}

#[tokio::test]
async fn a_head_joins_a_fetch() {
    let answer = joined("HEAD", &[]).await;
    assert_eq!((answer.status, answer.field("content-length"), answer.body.len()), (200, "10000", 0));
}

#[tokio::test]
async fn a_range_joins_a_fetch() {
    let answer = joined("GET", &[("range", "bytes=500-599")]).await;
    assert_eq!((answer.status, answer.field("content-range")), (206, "bytes 500-599/10000"));
    assert!(answer.body == content(10_000)[500..600]);
    let beyond = joined("GET", &[("range", "bytes=10000-")]).await;
    assert_eq!((beyond.status, beyond.field("content-range")), (416, "bytes */10000"));
}

#[tokio::test]
async fn several_ranges_join_a_fetch() {
    let answer = joined("GET", &[("range", "bytes=0-9,5000-5009")]).await;
    let kind = answer.field("content-type");
    assert!(answer.status == 206 && kind.starts_with("multipart/byteranges; boundary="), "{kind}");
    assert_eq!(answer.field("content-length"), answer.body.len().to_string());
}

#[tokio::test]
async fn conditions_join_a_fetch_and_are_decided_from_its_head() {
    for (condition, status) in [
        (("if-none-match", "W/\"e\""), 304),
        (("if-none-match", "\"other\""), 200),
        (("if-match", "\"other\""), 412),
    ] {
        assert_eq!(joined("GET", &[condition]).await.status, status, "{condition:?}");
        assert_eq!(joined("HEAD", &[condition]).await.status, status, "HEAD {condition:?}");
    }
    let other = joined("GET", &[("range", "bytes=0-9"), ("if-range", "\"other\"")]).await;
    assert_eq!((other.status, other.body.len()), (200, 10_000));
}

/// Starts a fill of 200 kB that the source suspends at half. The client has read all bytes there are.
async fn stopped_at_half() -> (Site, Gate, Connection) {
    let site = Site::start().await;
    let gate = Gate::default();
    site.origin.answer("k", [tagged(content(200_000)).rest_at(HALF, &gate)]);
    let mut first = Connection::get(site.address, "/static/k").await;
    assert_eq!(first.head().await.status, 200);
    assert!(first.take(HALF).await == content(200_000)[..HALF]);
    (site, gate, first)
}

#[tokio::test]
async fn who_joins_at_half_gets_the_first_50_kb_at_once() {
    let (site, gate, mut first) = stopped_at_half().await;
    let whole = content(200_000);
    let mut second = Connection::get(site.address, "/static/k").await;
    let head = second.head().await;
    assert_eq!((head.status, head.field("content-length")), (200, "200000"));
    assert!(second.take(50_000).await == whole[..50_000]);
    // All bytes come from the running fill, up to the point at which the source has stopped.
    assert_eq!(site.origin.asked("k").len(), 1);
    assert!(second.take(50_000).await == whole[50_000..HALF]);
    gate.open();
    for client in [&mut first, &mut second] {
        assert!(client.take(HALF).await == whole[HALF..]);
    }
    assert_eq!(site.origin.asked("k").len(), 1);
}

#[tokio::test]
async fn what_is_there_already_is_answered_while_the_source_stands_still() {
    let (site, gate, mut first) = stopped_at_half().await;
    let whole = content(200_000);
    let answers = async {
        let head = site.client.head("/static/k").await;
        assert_eq!((head.status, head.field("content-length")), (200, "200000"));
        let part = site.client.get_with("/static/k", &[("range", "bytes=50000-99999")]).await;
        assert_eq!((part.status, part.field("content-range")), (206, "bytes 50000-99999/200000"));
        assert!(part.body == whole[50_000..HALF]);
        let same = site.client.get_with("/static/k", &[("if-none-match", "\"e\"")]).await;
        assert_eq!(same.status, 304);
        let other = site.client.get_with("/static/k", &[("if-match", "\"other\"")]).await;
        assert_eq!(other.status, 412);
    };
    timeout(PATIENCE, answers).await.expect("answered without the rest");
    gate.open();
    assert!(first.take(HALF).await == whole[HALF..]);
    assert_eq!(site.origin.asked("k").len(), 1);
}

#[tokio::test]
async fn a_range_waits_for_its_own_bytes() {
    let (site, gate, _first) = stopped_at_half().await;
    let text = "GET /static/k HTTP/1.1\r\nhost: test\r\nrange: bytes=90000-109999\r\n\r\n";
    let mut client = Connection::send(site.address, text).await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("content-range")), (206, "bytes 90000-109999/200000"));
    assert!(client.take(10_000).await == content(200_000)[90_000..HALF]);
    gate.open();
    assert!(client.take(10_000).await == content(200_000)[HALF..110_000]);
    assert_eq!(site.origin.asked("k").len(), 1);
}

#[tokio::test]
async fn the_client_who_began_may_leave_before_the_head() {
    let site = Site::start().await;
    let gate = Gate::default();
    site.origin.answer("k", [Reply::ok("hello").head_at(&gate)]);
    let first = Connection::get(site.address, "/static/k").await;
    site.origin.wait_asked("k", 1).await;
    let mut crowd = Http2::connect(site.address).await;
    let others: Vec<_> = (0..5).map(|_| crowd.get("/static/k")).collect();
    crowd.begun().await;
    drop(first);
    // The gateway sees the client leave.
    until_metric(&site.admin, "yatagarasu_connections", |open| open == 1).await;
    gate.open();
    for other in others {
        assert_eq!(other.await.unwrap().body, "hello");
    }
    assert_eq!(site.origin.asked("k").len(), 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_no_one() {
    let site = Site::with("", "max_item_size: \"8MB\"").await;
    let whole = content(8_000_000);
    site.origin.answer("k", [Reply::ok(whole.clone())]);
    let mut slow = Connection::narrow(site.address, "/static/k").await;
    site.origin.wait_asked("k", 1).await;
    let quick = timeout(PATIENCE, site.client.get("/static/k")).await.expect("not held up");
    assert!(quick.body == whole);
    // A hit, or the end of the same fill.
    let again = timeout(PATIENCE, site.client.get("/static/k")).await.expect("not held up");
    assert!(again.body == whole);
    assert_eq!(slow.head().await.status, 200);
    assert!(slow.take(8_000_000).await == whole);
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// Starts a fill with one client and lets five others join it.
async fn six(site: &Site) -> (Http2, JoinHandle<Response>, Vec<JoinHandle<Response>>) {
    let mut crowd = Http2::connect(site.address).await;
    let first = crowd.get("/static/k");
    site.origin.wait_asked("k", 1).await;
    let others = (0..5).map(|_| crowd.get("/static/k")).collect();
    crowd.begun().await;
    (crowd, first, others)
}

#[tokio::test]
async fn a_fetch_that_fails_before_its_head_is_sent_again_for_all_who_wait() {
    for success in [true, false] {
        let site = Site::with("attempts: 2", "").await;
        let gate = Gate::default();
        let last = if success { Reply::ok("hello") } else { Reply::closes() };
        site.origin.answer("k", [Reply::closes().head_at(&gate), last]);
        let (_crowd, first, others) = six(&site).await;
        gate.open();
        for client in std::iter::once(first).chain(others) {
            assert_eq!(client.await.unwrap().status, if success { 200 } else { 502 });
        }
        assert_eq!(site.origin.asked("k").len(), 2);
    }
}

#[tokio::test]
async fn a_refusal_is_everyones_and_nobody_asks_again() {
    for (refusal, status) in [(404, 404), (403, 403), (503, 503), (429, 503)] {
        let site = Site::start().await;
        let gate = Gate::default();
        site.origin.answer("k", [Reply::status(refusal).head_at(&gate), Reply::ok("too late")]);
        let (_crowd, first, others) = six(&site).await;
        gate.open();
        for client in std::iter::once(first).chain(others) {
            assert_eq!(client.await.unwrap().status, status);
        }
        assert_eq!(site.origin.asked("k").len(), 1);
    }
}

#[tokio::test]
async fn a_fetch_that_breaks_breaks_the_connections_of_all_who_have_bytes() {
    const BEGUN: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 10\r\n\r\nhello";
    let site = Site::start().await;
    let gate = Gate::default();
    site.origin.answer("k", [Reply::raw(BEGUN).rest_at(BEGUN.len(), &gate), Reply::ok("0123456789")]);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Connection::get(site.address, "/static/k").await;
        assert_eq!(client.head().await.field("content-length"), "10");
        assert_eq!(client.take(5).await, b"hello");
        clients.push(client);
    }
    assert_eq!(site.origin.asked("k").len(), 1);
    gate.open();
    for mut client in clients {
        assert_eq!(client.rest().await, b"");
    }
    let again = site.client.get("/static/k").await;
    assert_eq!((again.field("x-cache"), &again.body[..]), ("MISS", &b"0123456789"[..]));
    assert_eq!(site.origin.asked("k").len(), 2);
}

/// Returns a body one byte longer than the longest stored object.
fn large() -> Vec<u8> {
    content(1_000_001)
}

#[tokio::test]
async fn those_who_wait_for_what_proves_too_large_stream_it_each_by_itself() {
    let site = Site::start().await;
    let gate = Gate::default();
    site.origin.answer("k", [Reply::ok(large()).head_at(&gate), Reply::ok(large())]);
    let (_crowd, first, others) = six(&site).await;
    gate.open();
    for client in std::iter::once(first).chain(others) {
        let answer = client.await.unwrap();
        assert!(answer.status == 200 && answer.body == large());
    }
    // The object that was already open goes to the first client, so six clients cost six requests.
    assert_eq!(site.origin.asked("k").len(), 6);
    assert_eq!(site.admin.get("/stats").await.json()["buckets"][0]["stored"], 0);
}

#[tokio::test]
async fn nobody_waits_for_what_is_known_to_be_too_large() {
    let site = Site::start().await;
    let gate = Gate::default();
    site.origin.answer("k", [Reply::ok(large()), Reply::ok(large()).head_at(&gate)]);
    assert!(site.client.get("/static/k").await.body == large());
    let mut crowd = Http2::connect(site.address).await;
    let clients = [crowd.get("/static/k"), crowd.get("/static/k"), crowd.get("/static/k")];
    site.origin.wait_asked("k", 4).await;
    gate.open();
    for client in clients {
        assert!(client.await.unwrap().body == large());
    }
    assert_eq!(site.origin.asked("k").len(), 4);
}

#[tokio::test]
async fn the_source_decides_the_conditions_on_what_is_known_to_be_too_large() {
    let site = Site::start().await;
    let part = Reply::part("0123456789", 500, 1_000_001).with("etag", "\"e\"");
    site.origin.answer("k", [Reply::ok(large()), Reply::status(304).with("etag", "\"e\""), part]);
    site.client.get("/static/k").await;
    let same = site.client.get_with("/static/k", &[("if-none-match", "\"e\"")]).await;
    assert_eq!(same.status, 304);
    let part = site.client.get_with("/static/k", &[("range", "bytes=500-509")]).await;
    assert_eq!((part.status, part.field("content-range")), (206, "bytes 500-509/1000001"));
    let asked = site.origin.asked("k");
    assert_eq!((asked.len(), asked[0].field("if-none-match"), asked[0].field("range")), (3, "", ""));
    assert_eq!((asked[1].field("if-none-match"), asked[2].field("range")), ("\"e\"", "bytes=500-509"));
}

#[tokio::test]
async fn what_was_too_large_is_stored_once_it_is_small() {
    let site = Site::start().await;
    site.origin.answer("k", [Reply::ok(large()), Reply::ok("small")]);
    assert!(site.client.get("/static/k").await.body == large());
    assert_eq!(site.client.get("/static/k").await.body, "small");
    until(&site, |stats| stats["buckets"][0]["stored"] == 1).await;
    let hit = site.client.get("/static/k").await;
    assert_eq!((hit.field("x-cache"), &hit.body[..]), ("HIT", &b"small"[..]));
    assert_eq!(site.origin.asked("k").len(), 2);
}

#[tokio::test]
async fn fetches_beyond_the_memory_there_is_are_passed() {
    let site = Site::configured("fill_memory: \"1MB\"", "", "").await;
    let (gate, whole) = (Gate::default(), content(600_000));
    site.origin.answer("a", [Reply::ok(whole.clone()).rest_at(1, &gate)]);
    site.origin.answer("b", [Reply::ok(whole.clone())]);
    let mut first = Connection::get(site.address, "/static/a").await;
    assert_eq!(first.head().await.status, 200);
    let passed = timeout(PATIENCE, site.client.get("/static/b")).await.expect("not held up");
    assert!(passed.status == 200 && passed.body == whole);
    gate.open();
    assert!(first.take(600_000).await == whole);
    // Only the first of the two objects is stored.
    until(&site, |stats| stats["fill_memory"]["bytes"] == 0 && stats["buckets"][0]["stored"] == 1).await;
    assert!(site.client.get("/static/b").await.body == whole);
    until(&site, |stats| stats["buckets"][0]["stored"] == 2).await;
    assert_eq!((site.origin.asked("a").len(), site.origin.asked("b").len()), (1, 2));
}

#[tokio::test]
async fn a_head_that_varies_sends_those_with_other_values_to_a_fetch_of_their_own() {
    let site = Site::with("forward_headers: [\"accept-language\"]", "").await;
    let gate = Gate::default();
    let object = |language: &'static str| Reply::ok(language).with("vary", "Accept-Language");
    site.origin.answer("k", [object("german").head_at(&gate), object("french")]);
    let mut crowd = Http2::connect(site.address).await;
    let mut ask = |language| crowd.send("GET", "/static/k", &[("accept-language", language)]);
    let first = ask("de");
    site.origin.wait_asked("k", 1).await;
    let clients =
        [("german", ask("de")), ("french", ask("fr")), ("german", ask("de")), ("french", ask("fr"))];
    crowd.begun().await;
    gate.open();
    assert_eq!(first.await.unwrap().body, "german");
    for (language, client) in clients {
        assert_eq!(client.await.unwrap().body, language);
    }
    let asked = site.origin.asked("k");
    assert_eq!((asked.len(), asked[0].field("accept-language")), (2, "de"));
    assert_eq!(asked[1].field("accept-language"), "fr");
}
