//! An error is an answer to a browser, too; and invented origins fill no cache.

use std::time::Duration;

use tokio::time::Instant;
use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::{Gate, Origin, Reply, Request};

use crate::site::Site;

const A: &str = "https://a.example";
const B: &str = "https://b.example";

/// Returns an answer as S3 gives it for a bucket whose rules allow `allowed`: the CORS fields come only with an answer to
/// a request with that `Origin`.
fn ruled(reply: Reply, request: &Request, allowed: &[&str]) -> Reply {
    let origin = request.field("origin");
    if !allowed.contains(&origin) {
        return reply;
    }
    reply
        .with("access-control-allow-origin", origin)
        .with("access-control-expose-headers", "ETag, Content-Range")
        .with("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
}

async fn site(keys: &str, cache: &str, allowed: &'static [&'static str]) -> Site {
    let origin = Origin::start().await;
    origin.decide(move |request| {
        let reply = match request.key.as_str() {
            "missing" => Reply::status(404),
            "denied" => Reply::status(403),
            _ => Reply::ok("0123456789").with("etag", "\"e\"").with("cache-control", "max-age=600"),
        };
        Some(ruled(reply, request, allowed))
    });
    Site::of_bucket(origin, keys, "", cache).await
}

async fn from(site: &Site, path: &str, origin: &str) -> Response {
    site.client.get_with(path, &[("origin", origin)]).await
}

#[track_caller]
fn check(answer: &Response, status: u16, allowed: &str) {
    assert_eq!((answer.status, answer.field("access-control-allow-origin")), (status, allowed));
    assert!(answer.field("vary").contains("Origin"), "{:?}", answer.headers);
}

/// zarr-developers/zarr-python#1115 and protomaps/PMTiles#79 are of this kind: a reader takes 404 for "empty", and gets a
/// network error.
#[tokio::test]
async fn a_page_sees_that_an_object_is_missing_or_has_changed() {
    let site = site("", "negative_ttl: 60, negative_statuses: [404, 403]", &[A]).await;
    for (path, status) in [("/static/missing", 404), ("/static/denied", 403)] {
        for _ in ["asked", "remembered"] {
            let answer = from(&site, path, A).await;
            check(&answer, status, A);
            assert_eq!(answer.field("access-control-expose-headers"), "ETag, Content-Range");
            let head = site.client.send("HEAD", path, &[("origin", A)], "".into()).await;
            check(&head, status, A);
        }
    }
    site.client.get_with("/static/k", &[("origin", A)]).await;
    for _ in ["from the fill", "stored"] {
        let changed = [("origin", A), ("if-match", "\"other\"")];
        check(&site.client.get_with("/static/k", &changed).await, 412, A);
        check(&site.client.get_with("/static/k", &[("origin", A), ("range", "bytes=90-")]).await, 416, A);
        let part = site.client.get_with("/static/k", &[("origin", A), ("range", "bytes=0-1")]).await;
        check(&part, 206, A);
        assert_eq!(part.field("access-control-expose-headers"), "ETag, Content-Range");
    }
}

/// apache/trafficserver#3954: S3 names `Origin` in `Vary` only if the request has one, so the copy of a request without
/// one answered pages.
#[tokio::test]
async fn a_copy_fetched_without_an_origin_answers_no_page() {
    let site = site("", "", &[A]).await;
    let plain = site.client.get("/static/k").await;
    check(&plain, 200, "");
    check(&from(&site, "/static/k", A).await, 200, A);
    site.store("/static/k").await;
    let again = site.client.get("/static/k").await;
    check(&again, 200, "");
    assert_eq!(again.field("x-cache"), "HIT");
    assert_eq!(site.origin.asked("k").len(), 2);
}

/// expressjs/cors#106: the answer to a refused origin took the place of the good one.
#[tokio::test]
async fn a_refused_origin_spoils_nothing_for_an_allowed_one() {
    let site = site("", "", &[A, B]).await;
    check(&from(&site, "/static/k", A).await, 200, A);
    check(&from(&site, "/static/k", "https://evil.example").await, 200, "");
    check(&from(&site, "/static/k", B).await, 200, B);
    for origin in [A, B] {
        let again = from(&site, "/static/k", origin).await;
        check(&again, 200, origin);
        assert_eq!(again.field("x-cache"), "HIT");
    }
    check(&from(&site, "/static/k", "https://evil.example").await, 200, "");
    let gets = |key| site.origin.asked(key).iter().filter(|request| request.method == "GET").count();
    assert_eq!(gets("k"), 3, "one for each answer of S3");
    // What S3 has said of the origins holds for every object.
    site.client.get_with("/static/other", &[("origin", "https://evil.example")]).await;
    check(&from(&site, "/static/other", "https://evil.example").await, 200, "");
    check(&from(&site, "/static/other", B).await, 200, B);
    assert_eq!(gets("other"), 2);
}

/// `curl -H "Origin: https://$RANDOM"` made a copy each time.
#[tokio::test]
async fn invented_origins_do_not_defeat_the_cache() {
    let site = site("", "negative_ttl: 60", &[]).await;
    from(&site, "/static/k", "https://first.example").await;
    let mut hits = 0;
    for number in 0..50 {
        let answer = from(&site, "/static/k", &format!("https://{number}.example")).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"0123456789"[..]));
        hits += usize::from(answer.field("x-cache") == "HIT");
        from(&site, "/static/missing", &format!("https://{number}.example")).await;
    }
    assert!(hits >= 49, "{hits}");
    let gets = |key| site.origin.asked(key).iter().filter(|request| request.method == "GET").count();
    assert_eq!((gets("k"), gets("missing")), (1, 1));
}

/// Each page of an origin that is not known waited for a source that was silent, while the copy was there.
#[tokio::test]
async fn a_silent_source_delays_one_page_and_no_others() {
    let origin = Origin::start().await;
    origin.decide(|request| {
        let reply = Reply::ok("x").with("etag", "\"e\"").with("cache-control", "max-age=600");
        Some(if request.method == "HEAD" { reply.head_at(&Gate::default()) } else { reply })
    });
    let site = Site::of_bucket(origin, "", "", "").await;
    from(&site, "/static/k", A).await;
    let heads = || site.origin.asked("k").iter().filter(|request| request.method == "HEAD").count();
    let mut slow = 0;
    for number in 0..4 {
        let begun = Instant::now();
        let answer = from(&site, "/static/k", &format!("https://{number}.example")).await;
        assert_eq!((answer.status, answer.field("x-cache")), (200, "HIT"));
        slow += usize::from(begun.elapsed() > Duration::from_secs(2));
    }
    assert_eq!((slow, heads()), (1, 1));
}

/// gaul/s3proxy#343: "all origins" was echoed as the origin that asked, so that nothing could be shared.
#[tokio::test]
async fn an_answer_for_all_origins_is_shared_by_all() {
    let origin = Origin::start().await;
    origin.decide(|request| {
        let reply = Reply::ok("x").with("etag", "\"e\"");
        let vary = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
        let is_page = !request.field("origin").is_empty();
        Some(if is_page { reply.with("access-control-allow-origin", "*").with("vary", vary) } else { reply })
    });
    let site = Site::of_bucket(origin, "", "", "").await;
    for number in 0..20 {
        check(&from(&site, "/static/k", &format!("https://{number}.example")).await, 200, "*");
    }
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// mozilla/addons-frontend#9925: S3 leaves the CORS fields out of an answer to a GET with a preflight's fields.
#[tokio::test]
async fn what_a_preflight_asks_is_not_asked_with_a_get() {
    let site = site("", "", &[A]).await;
    let odd = [("origin", A), ("access-control-request-method", "PUT")];
    check(&site.client.get_with("/static/k", &odd).await, 200, A);
    assert_eq!(site.origin.asked("k")[0].field("access-control-request-method"), "");
    check(&from(&site, "/static/k", A).await, 200, A);
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// jsdelivr/jsdelivr#2038: the proxy's own errors had no CORS fields, so that pages saw a network error.
#[tokio::test]
async fn an_outage_is_visible_to_a_page_that_s3_has_allowed() {
    let mut site = site("", "", &[A]).await;
    check(&from(&site, "/static/k", A).await, 200, A);
    site.origin.refuse().await;
    let answer = from(&site, "/static/other", A).await;
    check(&answer, 502, A);
    assert_eq!(answer.field("cache-control"), "no-store");
    assert_eq!(
        from(&site, "/static/other", "https://evil.example").await.field("access-control-allow-origin"),
        ""
    );
}

#[tokio::test]
async fn with_cors_off_s3_is_not_told_the_origin_and_there_is_one_copy() {
    let site = site("cors: off", "", &[A]).await;
    for origin in [A, B, "https://c.example"] {
        let answer = from(&site, "/static/k", origin).await;
        assert_eq!((answer.field("access-control-allow-origin"), answer.field("vary")), ("", ""));
    }
    let asked = site.origin.asked("k");
    assert_eq!((asked.len(), asked[0].field("origin")), (1, ""));
    let preflight = [("origin", A), ("access-control-request-method", "GET")];
    let answer = site.client.send("OPTIONS", "/static/k", &preflight, "".into()).await;
    assert_eq!((answer.status, answer.field("access-control-allow-origin")), (204, ""));
    assert_eq!(site.origin.asked("k").len(), 1);
}

#[tokio::test]
async fn the_gateways_own_rules_hold_for_errors_and_for_one_stored_copy() {
    const RULES: &str = "cors: { allow_origins: [\"https://*.example\"], expose_headers: [\"etag\"], max_age: 60, \
                         allow_headers: [\"range\"], allow_methods: [\"GET\"], credentials: true }";
    let mut site = site(RULES, "", &[]).await;
    for origin in [A, B] {
        for (path, status) in [("/static/k", 200), ("/static/missing", 404), ("/static/../x", 400)] {
            let answer = from(&site, path, origin).await;
            if status == 400 {
                continue;
            }
            check(&answer, status, origin);
            let fields = ["access-control-expose-headers", "access-control-allow-credentials"];
            assert_eq!(fields.map(|name| answer.field(name)), ["etag", "true"]);
        }
    }
    check(&from(&site, "/static/k", "https://evil").await, 200, "");
    // A plain request comes from the fast path.
    site.store("/static/k").await;
    assert_eq!(site.client.get("/static/k").await.field("vary"), "Origin");
    assert_eq!(site.origin.asked("k").len(), 1);
    let preflight = |headers: &'static str| {
        let fields = [
            ("origin", A),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", headers),
        ];
        let client = site.client.clone();
        async move { client.send("OPTIONS", "/static/k", &fields, "".into()).await }
    };
    let answer = preflight("range").await;
    check(&answer, 204, A);
    let fields = ["access-control-allow-methods", "access-control-allow-headers", "access-control-max-age"];
    assert_eq!(fields.map(|name| answer.field(name)), ["GET", "range", "60"]);
    assert_eq!(preflight("x-other").await.field("access-control-allow-origin"), "");
    assert_eq!(site.origin.requests().iter().filter(|request| request.method == "OPTIONS").count(), 0);
    site.origin.refuse().await;
    check(&from(&site, "/static/new", A).await, 502, A);
}

/// Operators do not want to name their account to the world.
#[tokio::test]
async fn fields_of_the_account_stay_in_and_others_are_changed_as_configured() {
    const KEYS: &str = "response_headers:\n\
                        - { remove: [\"x-amz-meta-internal-*\", \"cache-tag\"], set: { X-Frame-Options: \"DENY\" } }\n\
                        - { keys: \"*.html\", set: { Cache-Control: \"no-cache\", x-page: \"1\" } }";
    let origin = Origin::start().await;
    origin.decide(|request| {
        let found = Reply::ok("x")
            .with("etag", "\"e\"")
            .with("cache-control", "max-age=600")
            .with("cache-tag", "news")
            .with("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:eu-west-1:123456789012:key/k")
            .with("x-amz-expiration", "rule-id=\"internal\"")
            .with("x-amz-meta-internal-owner", "me")
            .with("x-amz-meta-shown", "yes");
        Some(if request.key == "missing" { Reply::status(404) } else { found })
    });
    let site = Site::of_bucket(origin, KEYS, "", "").await;
    for x_cache in ["MISS", "HIT"] {
        for (path, control, page) in
            [("/static/a.html", "no-cache", "1"), ("/static/a.css", "max-age=600", "")]
        {
            let answers =
                [site.client.get(path).await, site.client.get_with(path, &[("x-unknown", "1")]).await];
            for answer in answers.iter().skip(usize::from(x_cache == "MISS")) {
                let fields = ["cache-control", "x-page", "x-frame-options", "x-amz-meta-shown"];
                assert_eq!(fields.map(|name| answer.field(name)), [control, page, "DENY", "yes"], "{path}");
                for hidden in [
                    "cache-tag",
                    "x-amz-server-side-encryption-aws-kms-key-id",
                    "x-amz-expiration",
                    "x-amz-meta-internal-owner",
                ] {
                    assert!(!answer.headers.contains_key(hidden), "{hidden} of {path}, {x_cache}");
                }
            }
            site.store(path).await;
        }
    }
    assert_eq!(site.client.get("/static/missing").await.field("x-frame-options"), "DENY");
    assert_eq!(site.origin.asked("a.html").len(), 1, "the changed field does not count for the cache");
    let purged = site.purge("{\"bucket\":\"assets\",\"tag\":\"news\"}").await;
    assert_eq!(purged.json()["purged"], 2, "removed tags select");
}

#[tokio::test]
async fn a_bucket_may_show_everything() {
    let origin = Origin::start().await;
    origin.decide(|_| Some(Reply::ok("x").with("x-amz-expiration", "rule")));
    let site = Site::of_bucket(origin, "hide_headers: []", "", "").await;
    assert_eq!(site.client.get("/static/k").await.field("x-amz-expiration"), "rule");
}
