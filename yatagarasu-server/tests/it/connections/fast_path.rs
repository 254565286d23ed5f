//! Tests of requests answered by the fast path, below hyper, beside requests that hyper answers.

use std::fmt::Write;

use http::HeaderMap;
use yatagarasu_testing::client::{Connection, Response, plain_get};

use crate::site::{Site, metric, until_metric};

/// Returns a request that means the same as a plain GET but has to go through hyper.
fn through_hyper(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\nx-unknown: 1\r\n\r\n")
}

/// Returns the fields without those that differ between responses, and without seconds that may have passed.
fn lasting(mut headers: HeaderMap) -> Vec<(String, String)> {
    for name in ["age", "x-request-id"] {
        assert_eq!(headers.get_all(name).iter().count(), 1, "{name}");
        headers.remove(name);
    }
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let statuses: Vec<_> = headers.get_all("cache-status").iter().map(text).collect();
    assert_eq!((statuses.len(), statuses[0].as_str()), (2, "elsewhere; hit"));
    assert!(statuses[1].starts_with("Yatagarasu; hit; ttl="), "{statuses:?}");
    headers.remove("cache-status");
    let mut fields: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    fields.sort();
    fields
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251).to_le_bytes()[0]).collect()
}

#[tokio::test]
async fn the_express_lane_answers_as_hyper_does() {
    let site = Site::start().await;
    let fields = [
        ("x-cache", "Miss from elsewhere"),
        ("x-request-id", "theirs"),
        ("via", "1.1 elsewhere"),
        ("cache-status", "elsewhere; hit"),
        ("age", "3"),
        ("content-type", "text/css"),
        ("etag", "\"e\""),
        ("cache-control", "max-age=3600"),
        ("x-amz-meta-a", "b"),
        ("content-language", "de"),
    ];
    for length in [0, 1, 10_000, 20_000, 131_072, 200_000, 262_144, 262_145, 270_000, 300_000, 1_000_000] {
        let (key, content) = (length.to_string(), pattern(length));
        site.put(&key, &fields, content.clone());
        let path = format!("/static/{key}");
        site.store(&path).await;
        let mut express = Connection::get(site.address, &path).await;
        let mut hyper = Connection::send(site.address, &through_hyper(&path)).await;
        let (one, other) = (express.head().await, hyper.head().await);
        assert_eq!((one.status, other.status), (200, 200), "{length}");
        assert_eq!(one.field("content-length"), length.to_string());
        assert_eq!(lasting(one.headers), lasting(other.headers), "{length}");
        assert!(express.take(length).await == content && hyper.take(length).await == content, "{length}");
    }
}

#[tokio::test]
async fn nothing_of_a_request_is_in_its_answer() {
    let site = Site::start().await;
    site.put("k", &[("etag", "\"e\"")], "0123456789");
    site.store("/static/k").await;
    let secret = "cookie: a=secret\r\nuser-agent: secret\r\nreferer: secret";
    let hypers =
        "authorization: secret\r\nx-unknown: secret\r\ncache-control: max-age=10\r\ncookie: b=secret";
    for more in [
        secret.to_owned(),
        format!("{secret}\r\n{hypers}"),
        format!("{hypers}\r\nrange: bytes=1-2"),
        format!("{hypers}\r\nif-none-match: \"e\""),
    ] {
        for method in ["GET", "HEAD"] {
            let request = format!("{method} /static/k HTTP/1.1\r\nhost: secret\r\n{more}\r\n\r\n");
            let answer = Connection::send(site.address, &request).await.head().await;
            assert!([200, 206, 304].contains(&answer.status), "{request}");
            assert_eq!(answer.field("x-cache"), "HIT", "{request}");
            let text = format!("{:?}", answer.headers);
            assert!(!text.contains("secret") && !text.contains("max-age=10"), "{request}: {text}");
        }
    }
}

#[tokio::test]
async fn answers_come_in_the_order_of_their_requests() {
    let site = Site::start().await;
    let large: Vec<u8> = (0..700_000_u32).map(|index| (index % 251) as u8).collect();
    for (key, content) in [("small", b"small".to_vec()), ("large", large.clone()), ("cold", b"cold".to_vec())]
    {
        site.put(key, &[], content);
    }
    for key in ["small", "large"] {
        site.store(&format!("/static/{key}")).await;
    }
    let requests = [
        plain_get("/static/small"),
        "GET /static/small HTTP/1.1\r\nhost: test\r\nrange: bytes=1-2\r\n\r\n".to_owned(),
        plain_get("/static/large"),
        plain_get("/static/small"),
        "HEAD /static/large HTTP/1.1\r\nhost: test\r\n\r\n".to_owned(),
        plain_get("/static/small"),
        plain_get("/static/missing"),
        plain_get("/static/cold"),
        plain_get("/static/small"),
        "GET /static/small HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n".to_owned(),
    ];
    let expected: [(u16, &[u8]); 10] = [
        (200, b"small"),
        (206, b"ma"),
        (200, &large),
        (200, b"small"),
        (200, b""),
        (200, b"small"),
        (404, b""),
        (200, b"cold"),
        (200, b"small"),
        (200, b"small"),
    ];
    let all = requests.concat();
    // Sent whole (a cut at 0), and cut into two parts.
    for cut in [0, 1, 30, all.len() / 2, all.len() - 1] {
        let mut client = Connection::send(site.address, &all[..cut]).await;
        client.say(&all[cut..]).await;
        for (index, (status, content)) in expected.iter().enumerate() {
            let answer = client.head().await;
            assert_eq!(answer.status, *status, "{index} of those cut at {cut}");
            let length: usize = answer.field("content-length").parse().unwrap();
            if index == 4 {
                assert_eq!(length, large.len());
                continue;
            }
            let bytes = client.take(length).await;
            assert!(*status == 404 || bytes == *content, "{index} of those cut at {cut}");
        }
        assert_eq!(client.rest().await, b"", "the last was to close the connection");
    }
}

/// Starts a gateway that has stored objects of these lengths, and not the object `cold`. Each is full of its key's
/// first letter.
async fn stocked(objects: &[(&str, usize)]) -> Site {
    let site = Site::with("", "max_item_size: \"5MB\", max_size: \"128MB\"").await;
    for (key, length) in objects {
        site.put(key, &[], vec![key.as_bytes()[0]; *length]);
        site.store(&format!("/static/{key}")).await;
    }
    site.put("cold", &[], vec![b'c'; 1000]);
    site
}

/// Reads a response and returns the letter it is full of.
async fn letter(client: &mut Connection, length: usize) -> char {
    let answer = client.head().await;
    assert_eq!((answer.status, answer.field("content-length")), (200, length.to_string().as_str()));
    let content = client.take(length).await;
    assert!(content.iter().all(|byte| *byte == content[0]), "of one letter");
    char::from(content[0])
}

#[tokio::test]
async fn no_answer_overtakes_one_that_hyper_has_not_written() {
    const HUGE: usize = 3_000_000;
    let plain = |key: &str| plain_get(&format!("/static/{key}"));
    let hyper = |key: &str| through_hyper(&format!("/static/{key}"));
    for requests in [
        [hyper("huge"), hyper("cold"), plain("tiny"), plain("small")],
        [hyper("huge"), hyper("huge"), plain("tiny"), plain("small")],
        [plain("huge"), plain("huge"), plain("tiny"), hyper("huge")],
        [plain("huge"), plain("cold"), hyper("tiny"), plain("small")],
    ] {
        let site = stocked(&[("huge", HUGE), ("tiny", 10), ("small", 2000)]).await;
        let lengths = requests.each_ref().map(|request| match request {
            request if request.contains("huge") => ('h', HUGE),
            request if request.contains("tiny") => ('t', 10),
            request if request.contains("small") => ('s', 2000),
            _ => ('c', 1000),
        });
        // Send all at once, or send the others while the first responses are on their way.
        for together in [4, 1, 2] {
            let mut client = Connection::narrow(site.address, "/static/tiny").await;
            assert_eq!(letter(&mut client, 10).await, 't');
            client.say(&requests[..together].concat()).await;
            let mut said = together;
            for (index, (expected, length)) in lengths.iter().enumerate() {
                let answer = client.head().await;
                assert_eq!(answer.field("content-length"), length.to_string(), "{index}: {requests:?}");
                let begun = client.take(length / 2).await;
                while said < 4 && said <= index + 1 {
                    client.say(&requests[said]).await;
                    said += 1;
                }
                let rest = client.take(length - begun.len()).await;
                let all = begun.iter().chain(&rest).all(|byte| char::from(*byte) == *expected);
                assert!(all, "{index}: {requests:?}");
            }
        }
    }
}

/// Sends random requests. Every response must match its request, in order, whichever path answers it and however the
/// bytes are cut.
#[tokio::test]
async fn random_conversations_are_kept_in_order() {
    const LENGTHS: [(&str, usize); 5] =
        [("huge", 900_000), ("large", 240_000), ("medium", 100_000), ("small", 2000), ("tiny", 10)];
    let seed =
        std::env::var("YATAGARASU_FAST_PATH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("YATAGARASU_FAST_PATH_SEED={seed}");
    let mut random = Random(seed);
    let site = stocked(&LENGTHS).await;
    for round in 0..60 {
        let (mut text, mut expected) = (String::new(), Vec::new());
        for _ in 0..12 {
            let (key, length) = LENGTHS[random.below(5)];
            let (line, field, content) = match random.below(8) {
                0 => ("HEAD", "", 0),
                1 => ("GET", "range: bytes=0-6\r\n", 7),
                2 | 3 => ("GET", "x-unknown: 1\r\n", length),
                _ => ("GET", "", length),
            };
            write!(text, "{line} /static/{key} HTTP/1.1\r\nhost: test\r\n{field}\r\n").unwrap();
            expected.push((key.as_bytes()[0], content));
        }
        let mut client = Connection::narrow(site.address, "/static/tiny").await;
        assert_eq!(letter(&mut client, 10).await, 't');
        let mut said = 0;
        for (index, (first, content)) in expected.iter().enumerate() {
            // At least up to the end of the request answered next, and some bytes of the requests after it.
            let end = text.match_indices("\r\n\r\n").nth(index).unwrap().0 + 4;
            let until = (end + random.below(200)).min(text.len()).max(said);
            let cut = said + random.below(until - said + 1);
            client.say(&text[said..cut]).await;
            client.say(&text[cut..until]).await;
            said = until;
            let answer = client.head().await;
            assert!([200, 206].contains(&answer.status), "{round}, {index}: {text}");
            let bytes = client.take(*content).await;
            assert!(bytes.iter().all(|byte| byte == first), "{round}, {index}: {text}");
        }
    }
}

/// A request line and fields that leave a GET plain, at random.
fn random_request(random: &mut Random, cold: usize) -> String {
    const TARGETS: [&str; 14] = [
        "/static/stored",
        "/static/st%6fred",
        "/static/stored?v=1",
        "/static/stored?v=%31&w=2",
        "/static/stored?w=2",
        "/static/odd%20name%25",
        "/static/long",
        "/static/tagged",
        "/static/private",
        "/static/missing",
        "/static/%zz",
        "/static/a/%2e%2e/stored",
        "/media/stored",
        "/nowhere",
    ];
    const FIELDS: [&str; 6] = [
        "accept: text/css\r\n",
        "accept-encoding: gzip\r\n",
        "cookie: a=b\r\n",
        "user-agent: someone\r\n",
        "sec-fetch-mode: no-cors\r\n",
        "connection: keep-alive\r\n",
    ];
    let target = match random.below(8) {
        0 => format!("/static/cold-{cold}"),
        _ => TARGETS[random.below(TARGETS.len())].to_owned(),
    };
    let fields: String = FIELDS.iter().filter(|_| random.below(3) == 0).copied().collect();
    format!("GET {target} HTTP/1.1\r\nhost: test\r\n{fields}")
}

/// Returns the status and the fields that two servers send alike, whenever they send them.
fn comparable(answer: &Response) -> (u16, Vec<(String, String)>) {
    let varies =
        |name: &str| ["age", "date", "last-modified", "server-timing", "x-request-id"].contains(&name);
    let fields = answer.headers.iter().filter(|(name, _)| !varies(name.as_str())).map(|(name, value)| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let (before, after) = text.split_once("ttl=").unwrap_or((&text, ""));
        (name.to_string(), format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit())))
    });
    let mut fields: Vec<_> = fields.collect();
    fields.sort();
    (answer.status, fields)
}

#[tokio::test]
async fn random_requests_are_answered_alike_on_either_way() {
    let mut random = Random(11);
    let sites =
        [Site::with("forward_query: [\"v\"]", "").await, Site::with("forward_query: [\"v\"]", "").await];
    for site in &sites {
        for (key, fields, length) in [
            ("stored", &[("etag", "\"e\""), ("x-cache", "theirs")][..], 10),
            ("odd name%", &[("cache-control", "max-age=3600"), ("via", "1.1 elsewhere")], 3),
            ("long", &[("etag", "\"l\""), ("age", "5")], 300_000),
            ("tagged", &[("surrogate-key", "a b"), ("content-type", "text/css")], 2000),
            ("private", &[("cache-control", "private")], 7),
        ] {
            site.put(key, fields, pattern(length));
        }
        for target in ["stored", "stored?v=1", "odd%20name%25", "long", "tagged"] {
            site.store(&format!("/static/{target}")).await;
        }
        // From its second request on, it is known not to be stored.
        site.client.get("/static/private").await;
    }
    let mut fast = Connection::get(sites[0].address, "/static/stored").await;
    let mut hyper = Connection::get(sites[1].address, "/static/stored").await;
    for client in [&mut fast, &mut hyper] {
        client.head().await;
        client.take(10).await;
    }
    for cold in 0..400 {
        for site in &sites {
            site.put(&format!("cold-{cold}"), &[("etag", "\"c\"")], pattern(100));
        }
        let request = random_request(&mut random, cold);
        fast.say(format!("{request}\r\n")).await;
        hyper.say(format!("{request}x-unknown: 1\r\n\r\n")).await;
        let (one, other) = (fast.head().await, hyper.head().await);
        assert_eq!(comparable(&one), comparable(&other), "{cold}: {request}");
        let length = |answer: &Response| answer.field("content-length").parse().unwrap();
        let (mut one, mut other) = (fast.take(length(&one)).await, hyper.take(length(&other)).await);
        for body in [&mut one, &mut other] {
            if let Some(id) = body.windows(13).position(|text| text == b"\"request_id\":") {
                body.truncate(id);
            }
        }
        assert!(one == other, "{cold}: {request}");
    }
}

/// Pseudo-random numbers by splitmix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}

#[tokio::test]
async fn the_order_holds_wherever_a_thread_takes_turns() {
    // The runtime interrupts a task after 128 steps.
    for hits in 120..135 {
        let site = stocked(&[("tiny", 10), ("small", 2000)]).await;
        let plain = |key: &str| plain_get(&format!("/static/{key}"));
        let mut client = Connection::get(site.address, "/static/tiny").await;
        let more = [plain("tiny").repeat(hits), through_hyper("/static/small"), plain("cold"), plain("tiny")];
        client.say(&more.concat()).await;
        for _ in 0..=hits {
            assert_eq!(letter(&mut client, 10).await, 't');
        }
        assert_eq!(letter(&mut client, 2000).await, 's', "after {hits}");
        assert_eq!(letter(&mut client, 1000).await, 'c', "after {hits}");
        assert_eq!(letter(&mut client, 10).await, 't', "after {hits}");
    }
}

#[tokio::test]
async fn who_reads_late_gets_everything() {
    const ANSWERS: usize = 60;
    let site = Site::start().await;
    let content = pattern(700_000);
    site.put("k", &[], content.clone());
    site.store("/static/k").await;
    let mut client = Connection::narrow(site.address, "/static/k").await;
    for _ in 1..ANSWERS {
        client.get_again("/static/k").await;
    }
    for index in 0..ANSWERS {
        assert_eq!(client.head().await.field("content-length"), "700000", "{index}");
        assert!(client.take(content.len()).await == content, "{index}");
    }
}

/// Bytes that a client has not read are in the memory of an object that may be gone. Objects stored later must not
/// overwrite them.
#[tokio::test]
async fn what_is_on_its_way_stays_as_it_was() {
    const LENGTH: usize = 120_000;
    const SENT: &str = "yatagarasu_response_body_bytes_total";
    let site = stocked(&[("k", LENGTH)]).await;
    let before = metric(&site.admin, SENT).await;
    let mut client = Connection::get(site.address, "/static/k").await;
    until_metric(&site.admin, SENT, |sent| sent >= before + LENGTH as u64).await;
    for other in b'l'..=b'p' {
        assert_eq!(site.purge(r#"{"bucket":"assets","all":true}"#).await.json()["purged"], 1);
        site.put("k", &[], vec![other; LENGTH]);
        site.store("/static/k").await;
    }
    assert_eq!(letter(&mut client, LENGTH).await, 'k');
}

#[tokio::test]
async fn the_rest_of_a_long_object_stays_as_it_was() {
    const LENGTH: usize = 3_000_000;
    let site = stocked(&[("k", LENGTH)]).await;
    let mut client = Connection::narrow(site.address, "/static/k").await;
    assert_eq!(client.head().await.status, 200);
    let mut content = client.take(LENGTH / 2).await;
    for other in b'l'..=b'n' {
        assert_eq!(site.purge(r#"{"bucket":"assets","all":true}"#).await.json()["purged"], 1);
        site.put("k", &[], vec![other; LENGTH]);
        site.store("/static/k").await;
    }
    content.extend(client.take(LENGTH - LENGTH / 2).await);
    assert!(content.iter().all(|byte| *byte == b'k'));
}

/// Waits until `count` connections are open.
async fn connections(site: &Site, count: u64) {
    until_metric(&site.admin, "yatagarasu_connections", |open| open == count).await;
}

#[tokio::test]
async fn a_client_that_leaves_without_reading_is_let_go() {
    let site = stocked(&[("k", 3_000_000)]).await;
    for first in [String::new(), through_hyper("/static/missing")] {
        // The one connection is that of the client that filled the cache.
        connections(&site, 1).await;
        let mut client = Connection::buffered(site.address, 4096, &first).await;
        if !first.is_empty() {
            client.head().await;
        }
        connections(&site, 2).await;
        client.get_again("/static/k").await;
        drop(client);
        connections(&site, 1).await;
    }
}

#[tokio::test]
async fn a_server_that_stops_takes_no_further_requests_of_a_connection() {
    const ASKED: usize = 100;
    let mut site = stocked(&[("k", 200_000)]).await;
    let mut client = Connection::narrow(site.address, "/static/k").await;
    for _ in 1..ASKED {
        client.get_again("/static/k").await;
    }
    assert_eq!(letter(&mut client, 200_000).await, 'k');
    let stopped = site.stop();
    let rest = client.rest().await;
    assert!(rest.len() < (ASKED - 1) * 200_000, "{} bytes", rest.len());
    assert!(stopped.await.unwrap(), "it ended by itself");
}

#[tokio::test]
async fn an_answer_on_its_way_ends_before_the_server_does() {
    let mut site = Site::start().await;
    let content = pattern(900_000);
    site.put("k", &[], content.clone());
    site.store("/static/k").await;
    let mut client = Connection::narrow(site.address, "/static/k").await;
    assert_eq!(client.head().await.status, 200);
    let stopped = site.stop();
    assert!(client.take(content.len()).await == content);
    assert_eq!(client.rest().await, b"");
    assert!(stopped.await.unwrap(), "it ended by itself");
}
