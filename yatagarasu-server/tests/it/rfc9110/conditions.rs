//! Tests of conditional requests (RFC 9110 13).

use yatagarasu_testing::origin::Reply;

use super::{AFTER, BEFORE, WRITTEN, stored};
use crate::site::Site;

const CONTENT: &str = "0123456789";

/// A gateway and its source for all cases of a test, each with its own keys.
struct Bench {
    site: Site,
    cases: usize,
}

/// State of the cache when a case begins.
enum Beforehand {
    Nothing,
    Stored,
}

impl Bench {
    async fn start() -> Self {
        let site = Site::start().await;
        Self { site, cases: 0 }
    }

    /// Requests `object` with `conditions` and checks the status.
    ///
    /// It does so before the object is stored, when the source's head decides, and after, when the cache decides. The
    /// source must see one request, without conditions.
    async fn check(&mut self, object: &Reply, conditions: &[(&str, &str)], status: u16) {
        self.cases += 1;
        let client = &self.site.client;
        for (place, method, beforehand) in [
            ("a fetch", "GET", Beforehand::Nothing),
            ("a passed HEAD", "HEAD", Beforehand::Nothing),
            ("a hit", "GET", Beforehand::Stored),
            ("a hit of HEAD", "HEAD", Beforehand::Stored),
        ] {
            let key = format!("{place}{}", self.cases).replace(' ', "-");
            let path = format!("/static/{key}");
            self.site.origin.answer(&key, [object.clone()]);
            let asked = match beforehand {
                Beforehand::Nothing => method,
                Beforehand::Stored => {
                    assert_eq!(client.get(&path).await.status, 200);
                    "GET"
                }
            };
            let answer = client.send(method, &path, conditions, "".into()).await;
            assert_eq!(answer.status, status, "{place} of {object:?} on {conditions:?}");
            let whole = status == 200 && method == "GET";
            assert_eq!(answer.body == CONTENT, whole, "{place} of {object:?} on {conditions:?}");
            let requests = self.site.origin.asked(&key);
            assert_eq!(requests.len(), 1, "{place} of {object:?} on {conditions:?}");
            for name in ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"] {
                assert_eq!((&*requests[0].method, requests[0].field(name)), (asked, ""), "{conditions:?}");
            }
        }
    }
}

fn tagged(etag: &str) -> Reply {
    Reply::ok(CONTENT).with("etag", etag)
}

fn dated() -> Reply {
    Reply::ok(CONTENT).with("last-modified", WRITTEN)
}

/// RFC 9110 13.1.1, 8.8.3.2
#[tokio::test]
async fn if_match_compares_strongly() {
    let mut bench = Bench::start().await;
    bench.check(&tagged("\"e\""), &[("if-match", "\"e\"")], 200).await;
    bench.check(&tagged("\"e\""), &[("if-match", "\"other\"")], 412).await;
    bench.check(&tagged("\"e\""), &[("if-match", "W/\"e\"")], 412).await;
    bench.check(&tagged("W/\"e\""), &[("if-match", "\"e\"")], 412).await;
    bench.check(&tagged("W/\"e\""), &[("if-match", "W/\"e\"")], 412).await;
    bench.check(&dated(), &[("if-match", "\"e\"")], 412).await;
}

/// RFC 9110 13.1.1
#[tokio::test]
async fn if_match_with_a_star_holds_for_any_object() {
    let mut bench = Bench::start().await;
    bench.check(&tagged("W/\"e\""), &[("if-match", "*")], 200).await;
    bench.check(&Reply::ok(CONTENT), &[("if-match", "*")], 200).await;
}

/// RFC 9110 13.1.2, 8.8.3.2
#[tokio::test]
async fn if_none_match_compares_weakly() {
    let mut bench = Bench::start().await;
    bench.check(&tagged("\"e\""), &[("if-none-match", "\"e\"")], 304).await;
    bench.check(&tagged("\"e\""), &[("if-none-match", "W/\"e\"")], 304).await;
    bench.check(&tagged("W/\"e\""), &[("if-none-match", "\"e\"")], 304).await;
    bench.check(&tagged("W/\"e\""), &[("if-none-match", "W/\"e\"")], 304).await;
    bench.check(&tagged("\"e\""), &[("if-none-match", "\"other\"")], 200).await;
    bench.check(&dated(), &[("if-none-match", "\"e\"")], 200).await;
}

/// RFC 9110 13.1.2
#[tokio::test]
async fn if_none_match_with_a_star_fails_for_any_object() {
    let mut bench = Bench::start().await;
    bench.check(&tagged("\"e\""), &[("if-none-match", "*")], 304).await;
    bench.check(&Reply::ok(CONTENT), &[("if-none-match", "*")], 304).await;
}

/// RFC 9110 5.3, 8.8.3
#[tokio::test]
async fn lists_of_tags_may_span_several_fields() {
    let mut bench = Bench::start().await;
    let object = tagged("\"e\"");
    for (name, found) in [("if-match", 200), ("if-none-match", 304)] {
        bench.check(&object, &[(name, "\"a\", W/\"b\" , \"e\"")], found).await;
        bench.check(&object, &[(name, "\"a\", \"b\""), (name, "\"e\"")], found).await;
        bench.check(&object, &[(name, ",, \"e\",")], found).await;
    }
    let missed = [("if-none-match", "\"a\", \"b\""), ("if-none-match", "\"c\"")];
    bench.check(&object, &missed, 200).await;
    // A comma within quotes is no separator.
    bench.check(&tagged("\"a,b\""), &[("if-none-match", "\"x\", \"a,b\"")], 304).await;
    bench.check(&tagged("\"b\""), &[("if-none-match", "\"a,b\"")], 200).await;
}

/// RFC 9110 13.1.3, 5.6.7
#[tokio::test]
async fn if_modified_since_is_read_in_three_formats() {
    let mut bench = Bench::start().await;
    for date in [WRITTEN, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", AFTER] {
        bench.check(&dated(), &[("if-modified-since", date)], 304).await;
    }
    for date in [BEFORE, "Saturday, 05-Nov-94 08:49:37 GMT", "Sat Nov  5 08:49:37 1994"] {
        bench.check(&dated(), &[("if-modified-since", date)], 200).await;
    }
}

/// RFC 9110 13.1.4, 5.6.7
#[tokio::test]
async fn if_unmodified_since_is_read_in_three_formats() {
    let mut bench = Bench::start().await;
    for date in [WRITTEN, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", AFTER] {
        bench.check(&dated(), &[("if-unmodified-since", date)], 200).await;
    }
    for date in [BEFORE, "Saturday, 05-Nov-94 08:49:37 GMT", "Sat Nov  5 08:49:37 1994"] {
        bench.check(&dated(), &[("if-unmodified-since", date)], 412).await;
    }
}

/// RFC 9110 13.1.3, 13.1.4
#[tokio::test]
async fn dates_that_cannot_be_read_are_no_conditions() {
    let mut bench = Bench::start().await;
    for date in ["yesterday", "1994-11-05T08:49:37Z", "Sat, 05 Nov 1994", "0"] {
        bench.check(&dated(), &[("if-unmodified-since", date)], 200).await;
    }
    for date in ["tomorrow", "2094-11-06T08:49:37Z", "Mon, 07 Nov 1994"] {
        bench.check(&dated(), &[("if-modified-since", date)], 200).await;
    }
    let twice = [("if-modified-since", WRITTEN), ("if-modified-since", WRITTEN)];
    bench.check(&dated(), &twice, 200).await;
    let twice = [("if-unmodified-since", BEFORE), ("if-unmodified-since", BEFORE)];
    bench.check(&dated(), &twice, 200).await;
}

/// RFC 9110 13.1.4
#[tokio::test]
async fn an_object_of_unknown_age_is_never_too_new() {
    let mut bench = Bench::start().await;
    bench.check(&tagged("\"e\""), &[("if-unmodified-since", BEFORE)], 200).await;
}

/// RFC 9110 13.2.2, steps 1 and 2
#[tokio::test]
async fn if_match_comes_before_if_unmodified_since() {
    let mut bench = Bench::start().await;
    let object = tagged("\"e\"").with("last-modified", WRITTEN);
    let holds = [("if-unmodified-since", BEFORE), ("if-match", "\"e\"")];
    bench.check(&object, &holds, 200).await;
    let fails = [("if-unmodified-since", AFTER), ("if-match", "\"other\"")];
    bench.check(&object, &fails, 412).await;
}

/// RFC 9110 13.2.2, steps 3 and 4
#[tokio::test]
async fn if_none_match_comes_before_if_modified_since() {
    let mut bench = Bench::start().await;
    let object = tagged("\"e\"").with("last-modified", WRITTEN);
    let changed = [("if-modified-since", AFTER), ("if-none-match", "\"other\"")];
    bench.check(&object, &changed, 200).await;
    let same = [("if-modified-since", BEFORE), ("if-none-match", "\"e\"")];
    bench.check(&object, &same, 304).await;
}

/// RFC 9110 13.2.2
#[tokio::test]
async fn what_must_hold_comes_before_what_must_not() {
    let mut bench = Bench::start().await;
    let object = tagged("\"e\"").with("last-modified", WRITTEN);
    bench.check(&object, &[("if-none-match", "\"e\""), ("if-match", "\"other\"")], 412).await;
    bench.check(&object, &[("if-none-match", "\"e\""), ("if-match", "\"e\"")], 304).await;
    bench.check(&object, &[("if-none-match", "\"e\""), ("if-unmodified-since", BEFORE)], 412).await;
    bench.check(&object, &[("if-modified-since", AFTER), ("if-unmodified-since", AFTER)], 304).await;
    bench.check(&object, &[("if-modified-since", AFTER), ("if-match", "\"other\"")], 412).await;
}

/// RFC 9110 13.2.2, step 5
#[tokio::test]
async fn conditions_come_before_ranges() {
    let site = stored(tagged("\"e\"").with("last-modified", WRITTEN)).await;
    for (condition, range, status) in [
        (("if-none-match", "\"e\""), "bytes=0-1", 304),
        (("if-none-match", "\"e\""), "bytes=99-", 304),
        (("if-modified-since", WRITTEN), "bytes=0-1", 304),
        (("if-match", "\"other\""), "bytes=0-1", 412),
        (("if-match", "\"other\""), "bytes=99-", 412),
        (("if-unmodified-since", BEFORE), "bytes=0-1", 412),
        (("if-none-match", "\"other\""), "bytes=0-1", 206),
        (("if-match", "\"e\""), "bytes=99-", 416),
    ] {
        let answer = site.client.get_with("/static/k", &[condition, ("range", range)]).await;
        assert_eq!(answer.status, status, "{condition:?} {range}");
    }
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// RFC 9110 13.2.1
#[tokio::test]
async fn a_missing_object_is_missing_on_any_condition() {
    let site = Site::start().await;
    for condition in [("if-match", "\"e\""), ("if-match", "*"), ("if-none-match", "*")] {
        for method in ["GET", "HEAD"] {
            let answer = site.client.send(method, "/static/missing", &[condition], "".into()).await;
            assert_eq!(answer.status, 404, "{method} {condition:?}");
        }
    }
}

/// RFC 9110 15.4.5
#[tokio::test]
async fn a_304_has_the_fields_that_identify_and_keep_an_object() {
    const SENT: [(&str, &str); 6] = [
        ("etag", "\"e\""),
        ("cache-control", "max-age=600"),
        ("content-location", "/k.txt"),
        ("expires", AFTER),
        ("vary", "origin"),
        ("last-modified", WRITTEN),
    ];
    let site = Site::start().await;
    let object = SENT.iter().fold(Reply::ok(CONTENT), |reply, (name, value)| reply.with(name, value));
    site.origin.answer("k", [object]);
    for place in ["from the head of a fetch", "from memory"] {
        let answer = site.client.get_with("/static/k", &[("if-none-match", "\"e\"")]).await;
        assert_eq!(answer.status, 304, "{place}");
        for (name, value) in SENT {
            assert_eq!(answer.field(name), value, "{place}");
        }
        assert!(!answer.field("date").is_empty(), "{place}");
    }
}

/// RFC 9110 15.4.5
#[tokio::test]
async fn a_304_describes_no_content() {
    let site = Site::start().await;
    let described = [("content-type", "text/css"), ("content-encoding", "br"), ("content-language", "de")];
    let object = described.iter().fold(tagged("\"e\""), |reply, (name, value)| reply.with(name, value));
    site.origin.answer("k", [object]);
    for place in ["from the head of a fetch", "from memory"] {
        let answer = site.client.get_with("/static/k", &[("if-none-match", "\"e\"")]).await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{place}");
        for name in described.map(|(name, _)| name).into_iter().chain(["content-length", "content-range"]) {
            assert!(!answer.headers.contains_key(name), "{place}: {name}");
        }
    }
}

/// RFC 9110 13.1.2
#[tokio::test]
async fn a_304_from_the_head_of_a_fetch_costs_the_next_client_nothing() {
    let site = Site::start().await;
    site.origin.answer("k", [tagged("\"e\"")]);
    let same = site.client.get_with("/static/k", &[("if-none-match", "\"e\"")]).await;
    assert_eq!(same.status, 304);
    let whole = site.client.get("/static/k").await;
    assert_eq!((whole.status, &whole.body[..]), (200, CONTENT.as_bytes()));
    assert_eq!(site.origin.asked("k").len(), 1);
}
