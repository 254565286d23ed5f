//! Header fields at an intermediary, and the messages around them (RFC 9110 5 to 10, 15.2).

use yatagarasu_testing::client::{Connection, Response};
use yatagarasu_testing::origin::Reply;

use super::{AFTER, LONG, WRITTEN, stored};
use crate::site::Site;

/// Returns all values of a field.
fn all(answer: &Response, name: &str) -> Vec<String> {
    let values = answer.headers.get_all(name).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

/// Returns a response of every kind.
async fn responses() -> Vec<(&'static str, Response)> {
    let site = Site::start().await;
    site.origin.answer("k", [Reply::ok("0123456789").with("etag", "\"e\"")]);
    site.origin.answer("unstored", [Reply::ok("x").with("cache-control", "no-store")]);
    site.origin.answer("denied", [Reply::status(403)]);
    site.origin.answer("broken", [Reply::closes()]);
    let get = async |path| site.client.get(path).await;
    let k = async |name, value| site.client.get_with("/static/k", &[(name, value)]).await;
    vec![
        ("a miss", get("/static/k").await),
        ("a hit", get("/static/k").await),
        ("a hit of HEAD", site.client.head("/static/k").await),
        ("a part", k("range", "bytes=0-1").await),
        ("a condition that holds", k("if-none-match", "\"e\"").await),
        ("a condition that fails", k("if-match", "\"other\"").await),
        ("a range beyond the end", k("range", "bytes=99-").await),
        ("what is not stored", get("/static/unstored").await),
        ("what is missing", get("/static/missing").await),
        ("what is denied", get("/static/denied").await),
        ("a source that fails", get("/static/broken").await),
        ("a path to nowhere", get("/nowhere").await),
        ("a bad path", get("/static/%zz").await),
        ("OPTIONS", site.client.send("OPTIONS", "/static/k", &[], "".into()).await),
        ("another method", site.client.send("DELETE", "/static/k", &[], "".into()).await),
    ]
}

/// RFC 9110 6.6.1
#[tokio::test]
async fn every_response_has_one_date() {
    for (kind, answer) in responses().await {
        assert_eq!(all(&answer, "date").len(), 1, "{kind}: {}", answer.status);
    }
}

/// RFC 9110 6.6.1
#[tokio::test]
async fn the_sources_date_is_kept() {
    let site = Site::start().await;
    site.origin.answer("k", [Reply::ok("x").with("date", WRITTEN).with("cache-control", LONG)]);
    for place in ["on a miss", "on a hit"] {
        assert_eq!(all(&site.client.get("/static/k").await, "date"), [WRITTEN], "{place}");
    }
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// RFC 9110 6.6.1, 8.8.2.2
#[tokio::test]
async fn an_object_without_a_date_gets_the_one_it_was_received_at() {
    // A modification date is a strong validator if the object is known to have been sent later.
    let site = stored(Reply::ok("0123456789").with("last-modified", WRITTEN)).await;
    let fields = [("range", "bytes=0-1"), ("if-range", WRITTEN)];
    assert_eq!(site.client.get_with("/static/k", &fields).await.status, 206);
}

/// RFC 9110 7.6.3
#[tokio::test]
async fn every_response_says_which_way_it_came() {
    for (kind, answer) in responses().await {
        assert_eq!(all(&answer, "via").join(", "), "1.1 yatagarasu", "{kind}: {}", answer.status);
    }
}

/// RFC 9110 7.6.3
#[tokio::test]
async fn via_is_added_behind_the_sources_own_and_once() {
    let site = Site::start().await;
    site.origin.answer("k", [Reply::ok("x").with("via", "1.0 far").with("via", "2.0 near (a comment)")]);
    for place in ["on a miss", "on a hit", "on another hit"] {
        let via = all(&site.client.get("/static/k").await, "via").join(", ");
        assert_eq!(via, "1.0 far, 2.0 near (a comment), 1.1 yatagarasu", "{place}");
    }
}

/// RFC 9110 7.6.3
#[tokio::test]
async fn every_request_to_the_source_says_which_way_it_came() {
    let site = Site::with("forward_headers: [\"*\"]", "").await;
    site.origin.answer("k", [Reply::status(404)]);
    let own = [("via", "1.0 a-proxy-of-the-client")];
    site.client.get("/static/k").await;
    site.client.head("/static/k").await;
    site.client.get_with("/static/k", &[("range", "bytes=0-1")]).await;
    site.client.get_with("/static/k", &own).await;
    let asked = site.origin.asked("k");
    assert_eq!(asked.len(), 4);
    for asked in &asked[..3] {
        assert_eq!(asked.field("via"), "1.1 yatagarasu", "{} {}", asked.method, asked.field("range"));
    }
    assert!(asked[3].field("via").ends_with("1.1 yatagarasu"), "{}", asked[3].field("via"));
}

/// RFC 9111 5.1, 4.2.3
#[tokio::test]
async fn age_counts_from_when_the_object_was_generated() {
    let site = Site::start().await;
    let object = Reply::ok("0123456789").with("etag", "\"e\"").with("cache-control", LONG);
    site.origin.answer("aged", [object.clone().with("age", "100")]);
    site.origin.answer("dated", [object.with("date", WRITTEN)]);
    for (key, ages) in [("aged", 100..160), ("dated", 900_000_000..2_000_000_000u64)] {
        let path = format!("/static/{key}");
        site.client.get(&path).await;
        for (kind, answer) in [
            ("the whole", site.client.get(&path).await),
            ("HEAD", site.client.head(&path).await),
            ("a part", site.client.get_with(&path, &[("range", "bytes=0-1")]).await),
            ("304", site.client.get_with(&path, &[("if-none-match", "\"e\"")]).await),
        ] {
            let age = all(&answer, "age");
            assert_eq!((age.len(), answer.field("x-cache")), (1, "HIT"), "{key} {kind}");
            assert!(ages.contains(&age[0].parse::<u64>().unwrap()), "{key} {kind}: {age:?}");
        }
    }
}

/// RFC 9110 7.6.1
#[tokio::test]
async fn fields_of_the_sources_connection_go_no_further() {
    const HOP_BY_HOP: [(&str, &str); 8] = [
        ("connection", "keep-alive, X-Hop"),
        ("connection", "x-other-hop"),
        ("x-hop", "1"),
        ("x-other-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("trailer", "x-checksum"),
        ("upgrade", "h2c"),
    ];
    let site = Site::start().await;
    let object = HOP_BY_HOP.iter().fold(Reply::ok("x"), |reply, (name, value)| reply.with(name, value));
    site.origin.answer("k", [object.with("x-end-to-end", "1")]);
    for place in ["on a miss", "on a hit"] {
        let answer = site.client.get("/static/k").await;
        assert_eq!((answer.status, answer.field("x-end-to-end")), (200, "1"), "{place}");
        for (name, _) in HOP_BY_HOP {
            assert!(!answer.headers.contains_key(name), "{place}: {name}");
        }
    }
}

/// RFC 9110 7.6.1
#[tokio::test]
async fn fields_of_the_clients_connection_go_no_further() {
    let site = Site::with("forward_headers: [\"*\"]", "").await;
    site.origin.answer("k", [Reply::ok("x")]);
    let request = "GET /static/k HTTP/1.1\r\nhost: test\r\nconnection: keep-alive, X-Hop\r\n\
                   connection: x-other-hop, te\r\nx-hop: 1\r\nx-other-hop: 1\r\nkeep-alive: timeout=5\r\n\
                   proxy-connection: keep-alive\r\nproxy-authorization: Basic of-the-client\r\n\
                   te: trailers\r\ntrailer: x\r\nupgrade: h2c\r\nx-end-to-end: 1\r\n\r\n";
    assert_eq!(Connection::send(site.address, request).await.head().await.status, 200);
    let asked = &site.origin.asked("k")[0];
    assert_eq!(asked.field("x-end-to-end"), "1");
    for name in [
        "connection",
        "x-hop",
        "x-other-hop",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "trailer",
        "upgrade",
    ] {
        assert_eq!(asked.field(name), "", "{name}");
    }
}

/// RFC 9110 7.6
#[tokio::test]
async fn a_source_that_takes_all_fields_gets_all_but_the_clients_identity() {
    const FORWARDED: [(&str, &str); 5] = [
        ("user-agent", "a-client/1.0"),
        ("referer", "https://example.com/"),
        ("accept-language", "de"),
        ("origin", "https://example.com"),
        ("x-custom", "a, b"),
    ];
    const KEPT: [(&str, &str); 4] = [
        ("authorization", "Bearer of-the-client"),
        ("cookie", "session=of-the-client"),
        ("x-amz-content-sha256", "of-the-client"),
        ("x-amz-security-token", "of-the-client"),
    ];
    let site = Site::with("forward_headers: [\"*\"]", "").await;
    site.origin.answer("k", [Reply::ok("x")]);
    let headers: Vec<_> = FORWARDED.into_iter().chain(KEPT).collect();
    assert_eq!(site.client.get_with("/static/k", &headers).await.status, 200);
    let asked = &site.origin.asked("k")[0];
    for (name, value) in FORWARDED {
        assert_eq!(asked.field(name), value, "{name}");
    }
    for (name, value) in &asked.headers {
        assert!(!String::from_utf8_lossy(value.as_bytes()).contains("of-the-client"), "{name}");
    }
    let signature = asked.field("authorization");
    assert!(signature.starts_with("AWS4-HMAC-SHA256 "), "{signature}");
    assert_eq!(asked.headers.get_all("host").iter().count(), 1);
    assert_ne!(asked.field("host"), site.address.to_string());
}

/// RFC 9110 13.2.1
#[tokio::test]
async fn one_clients_conditions_never_reach_a_fetch_for_all() {
    let site = Site::with("forward_headers: [\"*\"]", "").await;
    site.origin.answer("k", [Reply::ok("x").with("etag", "\"e\"").with("last-modified", WRITTEN)]);
    let conditions = [
        ("if-none-match", "\"other\""),
        ("if-modified-since", WRITTEN),
        ("if-match", "\"e\""),
        ("if-unmodified-since", AFTER),
        ("if-range", "\"e\""),
    ];
    assert_eq!(site.client.get_with("/static/k", &conditions).await.body, "x");
    let asked = &site.origin.asked("k")[0];
    for (name, _) in conditions {
        assert_eq!(asked.field(name), "", "{name}");
    }
}

/// RFC 9110 15.2
#[tokio::test]
async fn interim_responses_are_not_taken_for_the_last_one() {
    let site = Site::start().await;
    let wire = "HTTP/1.1 100 Continue\r\n\r\n\
                HTTP/1.1 103 Early Hints\r\nlink: </early.css>; rel=preload\r\n\r\n\
                HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    site.origin.answer("k", [Reply::raw(wire)]);
    for place in ["on a miss", "on a hit"] {
        let answer = site.client.get("/static/k").await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]), "{place}");
        assert_eq!(answer.field("link"), "", "{place}");
    }
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// RFC 9110 6.5.1
#[tokio::test]
async fn trailers_are_not_taken_for_header_fields() {
    let site = Site::start().await;
    let wire = "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntrailer: x-late\r\n\r\n\
                5\r\nhello\r\n0\r\nx-late: 1\r\netag: \"late\"\r\n\r\n";
    site.origin.answer("k", [Reply::raw(wire)]);
    for place in ["on a miss", "on a hit"] {
        let answer = site.client.get("/static/k").await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]), "{place}");
        assert_eq!((answer.field("x-late"), answer.field("etag")), ("", ""), "{place}");
    }
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// RFC 9111 5.5
#[tokio::test]
async fn no_warning_is_ever_made() {
    let site = Site::start().await;
    let aged = Reply::ok("x").with("etag", "\"e\"").with("age", "100");
    site.origin
        .answer("k", [aged.with("cache-control", "max-age=60, stale-if-error=600"), Reply::status(503)]);
    site.client.get("/static/k").await;
    let asked_for = site.client.get_with("/static/k", &[("cache-control", "max-stale=600")]).await;
    let instead = site.client.get("/static/k").await;
    for (answer, x_cache) in [(asked_for, "HIT"), (instead, "STALE")] {
        assert_eq!((answer.status, answer.field("x-cache"), answer.field("warning")), (200, x_cache, ""));
    }
}

/// RFC 9110 5.1
#[tokio::test]
async fn fields_nobody_knows_arrive_as_they_were_sent() {
    const UNKNOWN: [(&str, &str); 6] = [
        ("x-many", "first"),
        ("x-many", "second, third"),
        ("x-empty", ""),
        ("x-odd", "caf\u{e9}; q=\"a\\\"b\" <>"),
        ("x_under.score", "1"),
        ("warning", "199 - \"of the source\""),
    ];
    let site = Site::start().await;
    let object = UNKNOWN.iter().fold(Reply::ok("x"), |reply, (name, value)| reply.with(name, value));
    site.origin.answer("k", [object]);
    for place in ["on a miss", "on a hit"] {
        let answer = site.client.get("/static/k").await;
        assert_eq!(all(&answer, "x-many"), ["first", "second, third"], "{place}");
        for (name, value) in &UNKNOWN[2..] {
            assert_eq!(all(&answer, name), [*value], "{place}: {name}");
        }
    }
}

/// RFC 9110 4.2
#[tokio::test]
async fn a_source_that_takes_all_parameters_gets_all_but_sub_resources_and_signatures() {
    let site = Site::with("forward_query: [\"*\"]", "").await;
    site.origin.answer("k", [Reply::ok("x")]);
    let get =
        async |query: &str| site.client.get(&format!("/static/k?{query}")).await.field("x-cache").to_owned();
    assert_eq!(get("b=2&acl&a=1&uploadId=x&X-Amz-Signature=s&versionId=3&TAGGING=").await, "MISS");
    assert_eq!(site.origin.asked("k")[0].query, "a=1&b=2&versionId=3");
    assert_eq!(get("versionId=3&b=2&a=1").await, "HIT");
    assert_eq!(get("a=2").await, "MISS");
    assert_eq!(site.origin.asked("k")[1].query, "a=2");
}

/// RFC 9110 9.3.7
#[tokio::test]
async fn options_are_answered_without_the_source() {
    let site = Site::start().await;
    let fields = [("origin", "https://example.com")];
    let answer = site.client.send("OPTIONS", "/static/k", &fields, "".into()).await;
    assert_eq!((answer.status, answer.field("allow"), answer.body.len()), (204, "GET, HEAD, OPTIONS", 0));
    let server =
        Connection::send(site.address, "OPTIONS * HTTP/1.1\r\nhost: test\r\n\r\n").await.head().await;
    assert_eq!((server.status, server.field("allow")), (204, "GET, HEAD, OPTIONS"));
    assert!(site.origin.asked("k").is_empty());
}

/// RFC 9110 7.6.1: a field that is not forwarded is not part of the key either.
#[tokio::test]
async fn a_field_of_the_clients_connection_makes_no_other_variant() {
    let site = Site::start().await;
    site.origin.answer("k", [Reply::ok("for anyone"), Reply::ok("for the page")]);
    let request =
        "GET /static/k HTTP/1.1\r\nhost: test\r\norigin: https://a.example\r\nconnection: origin\r\n\r\n";
    assert_eq!(Connection::send(site.address, request).await.head().await.status, 200);
    let page = site.client.get_with("/static/k", &[("origin", "https://a.example")]).await;
    assert_eq!((page.field("x-cache"), &page.body[..]), ("MISS", &b"for the page"[..]));
    let asked = site.origin.asked("k");
    assert_eq!((asked[0].field("origin"), asked[1].field("origin")), ("", "https://a.example"));
}

/// Fetch, "CORS-preflight request"
#[tokio::test]
async fn a_preflight_is_answered_by_the_source() {
    let site = Site::start().await;
    let fields = [
        ("origin", "https://example.com"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "range"),
        ("cookie", "mine"),
    ];
    let allowed = Reply::ok("not for a client").with("access-control-allow-headers", "range");
    site.origin.answer("k", [allowed, Reply::status(403)]);
    let answer = site.client.send("OPTIONS", "/static/k", &fields, "".into()).await;
    assert_eq!((answer.status, answer.field("access-control-allow-headers")), (200, "range"));
    assert_eq!((answer.body.len(), answer.field("cache-status")), (0, "Yatagarasu; fwd=method"));
    assert_eq!(site.client.send("OPTIONS", "/static/k", &fields, "".into()).await.status, 403, "not stored");
    let asked = &site.origin.asked("k")[0];
    for (name, value) in &fields[..3] {
        assert_eq!(asked.field(name), *value);
    }
    assert_eq!((asked.method.as_str(), asked.field("cookie")), ("OPTIONS", ""));
}

/// RFC 9110 10.1.1
#[tokio::test]
async fn a_client_that_expects_100_continue_is_answered() {
    let site = Site::with("forward_headers: [\"*\"]", "").await;
    site.origin.answer("k", [Reply::ok("hello")]);
    let request = "GET /static/k HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    let mut client = Connection::send(site.address, request).await;
    let mut head = client.head().await;
    if head.status == 100 {
        head = client.head().await;
    }
    assert_eq!((head.status, &client.take(5).await[..]), (200, &b"hello"[..]));
    assert_eq!(site.origin.asked("k")[0].field("expect"), "");
}

/// RFC 9110 9.3.1
#[tokio::test]
async fn the_content_of_a_get_means_nothing() {
    let site = Site::with("forward_headers: [\"*\"]", "").await;
    site.origin.answer("k", [Reply::ok("hello")]);
    let request = "GET /static/k HTTP/1.1\r\nhost: test\r\ncontent-length: 7\r\n\r\ncontent";
    for outcome in ["MISS", "HIT"] {
        let mut client = Connection::send(site.address, request).await;
        let head = client.head().await;
        assert_eq!((head.status, head.field("x-cache")), (200, outcome));
        assert_eq!(client.take(5).await, b"hello");
    }
    let asked = site.origin.asked("k");
    assert_eq!((asked.len(), asked[0].field("content-length")), (1, ""));
    assert_eq!(asked[0].field("transfer-encoding"), "");
}
