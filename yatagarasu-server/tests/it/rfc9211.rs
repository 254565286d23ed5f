//! `Cache-Status` (RFC 9211), and `X-Cache` beside it.

use std::collections::HashSet;
use yatagarasu_testing::client::{Client, Http2, Response};
use yatagarasu_testing::origin::{Gate, Reply};

use crate::site::Site;

/// Returns the members of a response's `Cache-Status`, in order.
fn members(answer: &Response) -> Vec<String> {
    let fields = answer.headers.get_all("cache-status").iter().map(|field| field.to_str().expect("text"));
    let list = fields.collect::<Vec<_>>().join(",");
    let (mut members, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for c in list.chars() {
        match c {
            ',' if !quoted => {
                members.push(String::new());
                continue;
            }
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        members.last_mut().expect("one at least").push(c);
    }
    members.iter().map(|member| member.trim().to_owned()).collect()
}

/// Returns the gateway's member of `Cache-Status`, which must be the only one.
#[track_caller]
fn said(answer: &Response) -> String {
    let members = members(answer);
    assert_eq!(members.len(), 1, "{members:?}");
    members[0].strip_prefix("Yatagarasu; ").expect("the gateway's member").to_owned()
}

/// Compares the gateway's member with `expected`. `ttl=N` stands for `ttl`, or for less by up to 50 seconds.
#[track_caller]
fn check(answer: &Response, expected: &str, ttl: i64) {
    let said = said(answer);
    let parameters: Vec<_> = said
        .split("; ")
        .map(|parameter| match parameter.strip_prefix("ttl=") {
            Some(number) => {
                let number: i64 = number.parse().expect("seconds");
                assert!((ttl - 50..=ttl).contains(&number), "about {ttl} in {said}");
                "ttl=N"
            }
            None => parameter,
        })
        .collect();
    assert_eq!(parameters.join("; "), expected, "with {}", answer.status);
}

fn fresh(seconds: u64) -> Reply {
    Reply::ok("0123456789").with("etag", "\"e\"").with("cache-control", &format!("max-age={seconds}"))
}

/// Returns an object that is stale by 40 seconds on arrival. `control` adds directives.
fn stale(control: &str) -> Reply {
    let object = Reply::ok("0123456789").with("etag", "\"e\"").with("age", "100");
    object.with("cache-control", &format!("max-age=60{control}"))
}

fn still(seconds: u64) -> Reply {
    let same = Reply::status(304).with("etag", "\"e\"").with("age", "0");
    same.with("cache-control", &format!("max-age={seconds}"))
}

/// RFC 9211 2.1, 2.4
#[tokio::test]
async fn a_hit_says_how_long_the_object_stays_fresh() {
    let site = Site::start().await;
    site.origin.answer("k", [fresh(500)]);
    site.client.get("/static/k").await;
    check(&site.client.get("/static/k").await, "hit; ttl=N", 500);
    check(&site.client.head("/static/k").await, "hit; ttl=N", 500);
    let part = site.client.get_with("/static/k", &[("range", "bytes=0-1")]).await;
    check(&part, "hit; ttl=N", 500);
    let same = site.client.get_with("/static/k", &[("if-none-match", "\"e\"")]).await;
    check(&same, "hit; ttl=N", 500);
}

/// RFC 9211 2.4
#[tokio::test]
async fn a_stale_hit_says_since_when() {
    let site = Site::start().await;
    site.origin.answer("k", [stale("")]);
    site.client.get("/static/k").await;
    let answer = site.client.get_with("/static/k", &[("cache-control", "max-stale=600")]).await;
    check(&answer, "hit; ttl=N; detail=max-stale", -40);
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// RFC 9211 2.4, 2.8
#[tokio::test]
async fn a_hit_while_the_object_is_revalidated_says_so() {
    let site = Site::start().await;
    site.origin.answer("k", [stale(", stale-while-revalidate=600"), still(500)]);
    site.client.get("/static/k").await;
    check(&site.client.get("/static/k").await, "hit; ttl=N; detail=stale-while-revalidate", -40);
    site.origin.wait_asked("k", 2).await;
}

/// RFC 9211 2.2
#[tokio::test]
async fn nothing_stored_is_a_uri_miss() {
    let site = Site::start().await;
    site.origin.answer("k", [fresh(500)]);
    check(&site.client.head("/static/k").await, "fwd=uri-miss", 0);
    check(&site.client.get("/static/k").await, "fwd=uri-miss; ttl=N; stored", 500);
}

/// RFC 9211 2.2
#[tokio::test]
async fn a_bucket_without_a_cache_bypasses_it() {
    let site = Site::with("", "enabled: false").await;
    site.origin.answer("k", [fresh(500)]);
    for _ in 0..2 {
        check(&site.client.get("/static/k").await, "fwd=bypass", 0);
    }
}

/// RFC 9211 2.2
#[tokio::test]
async fn an_object_stored_for_other_fields_is_a_vary_miss() {
    let site = Site::with("forward_headers: [\"accept-language\"]", "").await;
    site.origin.answer("k", [fresh(500).with("vary", "accept-language")]);
    let get = async |language| site.client.get_with("/static/k", &[("accept-language", language)]).await;
    check(&get("de").await, "fwd=uri-miss; ttl=N; stored", 500);
    check(&get("fr").await, "fwd=vary-miss; ttl=N; stored", 500);
    check(&get("de").await, "hit; ttl=N", 500);
}

/// RFC 9211 2.2, 2.3
#[tokio::test]
async fn a_stale_object_that_is_still_right_names_the_sources_304() {
    let site = Site::start().await;
    site.origin.answer("k", [stale(""), still(500)]);
    site.client.get("/static/k").await;
    let answer = site.client.get("/static/k").await;
    let said = said(&answer);
    assert!(said.starts_with("fwd=stale; fwd-status=304; ttl="), "{said}");
    assert_eq!((answer.status, answer.field("x-cache")), (200, "REVALIDATED"));
    check(&site.client.get("/static/k").await, "hit; ttl=N", 500);
}

/// RFC 9211 2.2, 2.3
#[tokio::test]
async fn a_stale_object_that_is_replaced_is_stored_anew() {
    let site = Site::start().await;
    site.origin.answer("k", [stale(""), fresh(500).with("x-version", "2")]);
    site.client.get("/static/k").await;
    let answer = site.client.get("/static/k").await;
    check(&answer, "fwd=stale; ttl=N; stored", 500);
    assert_eq!((answer.field("x-version"), answer.field("x-cache")), ("2", "MISS"));
}

/// RFC 9211 2.2
#[tokio::test]
async fn a_client_that_wants_no_stored_answer_is_the_reason() {
    let site = Site::start().await;
    site.origin.answer("k", [fresh(500), still(500)]);
    site.client.get("/static/k").await;
    let said = said(&site.client.get_with("/static/k", &[("cache-control", "no-cache")]).await);
    assert!(said.starts_with("fwd=request; fwd-status=304; ttl="), "{said}");
}

/// RFC 9211 2.2
#[tokio::test]
async fn a_range_outside_what_is_stored_is_partial() {
    let site = Site::start().await;
    let part = |first| Reply::part("0123456789", first, 100).with("etag", "\"e\"");
    site.origin.answer("k", [part(0), part(50)]);
    let get = async |range| site.client.get_with("/static/k", &[("range", range)]).await;
    let first = said(&get("bytes=0-9").await);
    assert!(first.starts_with("fwd=uri-miss"), "{first}");
    let inside = said(&get("bytes=2-5").await);
    assert!(inside.starts_with("hit; ttl="), "{inside}");
    let outside = said(&get("bytes=50-59").await);
    assert!(outside.starts_with("fwd=partial"), "{outside}");
    assert_eq!(site.origin.asked("k").len(), 2);
}

/// RFC 9211 2.3
#[tokio::test]
async fn the_sources_status_is_said_where_the_client_gets_another() {
    let site = Site::start().await;
    site.origin.answer("same", [fresh(500)]);
    let same = site.client.get_with("/static/same", &[("if-none-match", "\"e\"")]).await;
    check(&same, "fwd=uri-miss; fwd-status=200; ttl=N; stored", 500);
    assert_eq!(same.status, 304);
    site.origin.answer("failed", [fresh(500)]);
    let failed = site.client.get_with("/static/failed", &[("if-match", "\"other\"")]).await;
    check(&failed, "fwd=uri-miss; fwd-status=200; ttl=N; stored", 500);
    assert_eq!(failed.status, 412);
    site.origin.answer("parts", [Reply::ok(vec![7; 10_000]).with("cache-control", "max-age=500")]);
    let parts = site.client.get_with("/static/parts", &[("range", "bytes=0-9,5000-5009")]).await;
    check(&parts, "fwd=uri-miss; fwd-status=200; ttl=N; stored", 500);
    assert_eq!(parts.status, 206);
    site.origin.answer("part", [Reply::part("0123456789", 0, 100)]);
    let part = site.client.get_with("/static/part", &[("range", "bytes=0-9")]).await;
    assert_eq!((part.status, said(&part).contains("fwd-status")), (206, false));
}

/// RFC 9211 2.3, 2.8
#[tokio::test]
async fn a_stale_object_instead_of_an_error_says_what_the_source_said() {
    let site = Site::start().await;
    site.origin.answer("k", [stale(", stale-if-error=600"), Reply::status(503)]);
    site.client.get("/static/k").await;
    let answer = site.client.get("/static/k").await;
    let said = said(&answer);
    assert!(
        said.starts_with("fwd=stale; fwd-status=503") && said.ends_with("; detail=stale-if-error"),
        "{said}"
    );
    assert_eq!((answer.status, answer.field("x-cache")), (200, "STALE"));
}

/// RFC 9211 2.6
#[tokio::test]
async fn who_joins_a_fetch_is_collapsed_into_it() {
    let site = Site::start().await;
    let gate = Gate::default();
    site.origin.answer("k", [fresh(500).head_at(&gate)]);
    let mut crowd = Http2::connect(site.address).await;
    let first = crowd.get("/static/k");
    site.origin.wait_asked("k", 1).await;
    let second = crowd.get("/static/k");
    crowd.begun().await;
    gate.open();
    check(&first.await.unwrap(), "fwd=uri-miss; ttl=N; stored", 500);
    let second = said(&second.await.unwrap());
    assert!(second.starts_with("fwd=uri-miss") && second.contains("; collapsed"), "{second}");
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// RFC 9211 2.8
#[tokio::test]
async fn why_an_object_is_not_stored_is_said() {
    let site = Site::configured("fill_memory: \"2KB\"", "", "").await;
    site.origin.answer("too-large", [Reply::ok(vec![7; 1_000_001])]);
    site.origin.answer("no-fill-memory", [Reply::ok(vec![7; 2_001])]);
    site.origin.answer("not-storable", [Reply::ok("x").with("cache-control", "no-store")]);
    for detail in ["too-large", "no-fill-memory", "not-storable"] {
        let answer = site.client.get(&format!("/static/{detail}")).await;
        check(&answer, &format!("fwd=uri-miss; detail={detail}"), 0);
        assert_eq!((answer.status, answer.field("x-cache")), (200, "MISS"));
    }
}

/// RFC 9211 2.8
#[tokio::test]
async fn a_remembered_404_is_a_hit_that_says_so() {
    let site = Site::with("", "negative_ttl: 500").await;
    assert_eq!(site.client.get("/static/missing").await.status, 404);
    let answer = site.client.get("/static/missing").await;
    check(&answer, "hit; ttl=N; detail=negative", 500);
    assert_eq!((answer.status, answer.field("x-cache")), (404, "HIT"));
    assert_eq!(site.origin.asked("missing").len(), 1);
}

/// RFC 9211 2.8
#[tokio::test]
async fn what_the_client_wants_from_memory_only_is_never_forwarded() {
    let site = Site::start().await;
    site.origin.answer("k", [fresh(500)]);
    let answer = site.client.get_with("/static/k", &[("cache-control", "only-if-cached")]).await;
    check(&answer, "detail=only-if-cached", 0);
    assert_eq!((answer.status, answer.field("content-type")), (504, "application/problem+json"));
    assert!(site.origin.asked("k").is_empty());
}

/// RFC 9211 2.8
#[tokio::test]
async fn what_the_gateway_answers_by_itself_is_local() {
    let site = Site::start().await;
    for (method, path, status) in [
        ("GET", "/static/%zz", 400),
        ("GET", "/nowhere", 404),
        ("HEAD", "/nowhere", 404),
        ("GET", "/static/", 404),
        ("PUT", "/static/k", 405),
        ("OPTIONS", "/static/k", 204),
    ] {
        let answer = site.client.send(method, path, &[], "".into()).await;
        assert_eq!(answer.status, status, "{method} {path}");
        check(&answer, "detail=local", 0);
    }
    assert!(site.origin.asked("k").is_empty());
}

/// RFC 9211 2
#[tokio::test]
async fn errors_have_a_status_too() {
    let site = Site::start().await;
    site.origin.answer("denied", [Reply::status(403)]);
    site.origin.answer("busy", [Reply::status(503)]);
    site.origin.answer("busier", [Reply::status(429)]);
    site.origin.answer("ill", [Reply::status(500)]);
    site.origin.answer("broken", [Reply::closes()]);
    for (key, status, expected) in [
        ("missing", 404, "fwd=uri-miss"),
        ("denied", 403, "fwd=uri-miss"),
        ("busy", 503, "fwd=uri-miss"),
        ("busier", 503, "fwd=uri-miss; fwd-status=429"),
        ("ill", 502, "fwd=uri-miss; fwd-status=500"),
        ("broken", 502, "fwd=uri-miss"),
    ] {
        let answer = site.client.get(&format!("/static/{key}")).await;
        check(&answer, expected, 0);
        assert_eq!((answer.status, answer.field("x-cache")), (status, "MISS"), "{key}");
    }
    site.origin.answer("k", [fresh(500)]);
    site.client.get("/static/k").await;
    for (condition, status) in [(("if-match", "\"other\""), 412), (("range", "bytes=10-"), 416)] {
        let answer = site.client.get_with("/static/k", &[condition]).await;
        check(&answer, "hit; ttl=N", 500);
        assert_eq!((answer.status, answer.field("x-cache")), (status, "HIT"), "{condition:?}");
    }
}

/// RFC 9211 2
#[tokio::test]
async fn the_gateway_speaks_after_the_caches_behind_it() {
    let site = Site::start().await;
    let near = "\"a, cache\"; fwd=stale; detail=\"with, a \\\"comma\"";
    site.origin.answer("k", [fresh(500).with("cache-status", "Far; hit; ttl=9").with("cache-status", near)]);
    for own in ["Yatagarasu; fwd=uri-miss", "Yatagarasu; hit", "Yatagarasu; hit"] {
        let members = members(&site.client.get("/static/k").await);
        assert_eq!(members[..2], ["Far; hit; ttl=9", near]);
        assert_eq!(members.len(), 3, "{members:?}");
        assert!(members[2].starts_with(own), "{members:?}");
    }
}

/// Returns the `key` of the gateway's member, which is its last parameter.
#[track_caller]
fn key(answer: &Response) -> String {
    let said = said(answer);
    let (_, string) = said.split_once("; key=").expect("a key");
    unquoted(string)
}

/// Parses a string with nothing behind it (RFC 9651 3.3.3).
#[track_caller]
fn unquoted(string: &str) -> String {
    let inner = string.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).expect("quotes");
    let (mut text, mut chars) = (String::new(), inner.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next().expect("a character behind the backslash");
                assert!(matches!(escaped, '"' | '\\'), "{string}");
                text.push(escaped);
            }
            ' ' | '!' | '#'..='[' | ']'..='~' => text.push(c),
            other => panic!("{other:?} may not stand in {string}"),
        }
    }
    text
}

/// RFC 9211 2.7
#[tokio::test]
async fn the_key_is_said_where_it_is_wanted() {
    let site = Site::with("", "status_key: true").await;
    let odd = "a \"b\\c";
    site.origin.answer(odd, [fresh(500)]);
    for reason in ["fwd=uri-miss", "hit"] {
        let answer = site.client.get("/static/a%20%22b%5Cc").await;
        assert!(said(&answer).starts_with(reason), "{}", said(&answer));
        assert!(key(&answer).contains(odd), "{}", key(&answer));
    }
    let missing = site.client.get("/static/missing").await;
    assert_eq!((missing.status, key(&missing).contains("missing")), (404, true));
}

/// RFC 9211 2.7, RFC 9651 3.3.3
#[tokio::test]
async fn keys_that_no_string_can_hold_are_told_apart_all_the_same() {
    let site = Site::with("", "status_key: true").await;
    let mut said = HashSet::new();
    for (object, path) in
        [("\u{e9}", "%C3%A9"), ("\u{e8}", "%C3%A8"), ("\u{1f426}", "%F0%9F%90%A6"), ("\t", "%09")]
    {
        site.origin.answer(object, [fresh(500)]);
        let answer = site.client.get(&format!("/static/{path}")).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(said.insert(key(&answer)), "{path}: {}", key(&answer));
    }
}

/// RFC 9211 2.7
#[tokio::test]
async fn the_key_is_not_said_unless_it_is_wanted() {
    let site = Site::start().await;
    site.origin.answer("k", [fresh(500)]);
    for _ in ["on a miss", "on a hit"] {
        let said = said(&site.client.get("/static/k").await);
        assert!(!said.contains("key="), "{said}");
    }
}

#[tokio::test]
async fn x_cache_says_in_a_word_where_the_answer_came_from() {
    const CONTROL: &str = "max-age=60, stale-if-error=600";
    let site = Site::start().await;
    let same = Reply::status(304).with("etag", "\"e\"").with("age", "100").with("cache-control", CONTROL);
    site.origin.answer("k", [stale(", stale-if-error=600"), same, Reply::status(503), fresh(500)]);
    for x_cache in ["MISS", "REVALIDATED", "STALE", "MISS", "HIT"] {
        assert_eq!(site.client.get("/static/k").await.field("x-cache"), x_cache);
    }
    assert_eq!(site.origin.asked("k").len(), 4);
}

/// RFC 9211 2
#[tokio::test]
async fn http2_says_the_same() {
    let site = Site::start().await;
    site.origin.answer("k", [fresh(500)]);
    let client = Client::http2(site.address);
    check(&client.get("/static/k").await, "fwd=uri-miss; ttl=N; stored", 500);
    check(&client.get("/static/k").await, "hit; ttl=N", 500);
}
