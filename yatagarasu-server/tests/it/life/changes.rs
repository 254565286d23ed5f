//! S3 changes what the entity tag does not tell, and says what belongs to other representations.

use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::{Origin, Reply};

use crate::site::{Site, until};

const BEFORE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Sun, 06 Nov 1994 09:00:00 GMT";

/// Returns a version with this tag, to be validated at each request.
fn version(modified: &str) -> Reply {
    Reply::ok("body{}").with("etag", "\"e\"").with("last-modified", modified)
}

async fn site() -> Site {
    Site::with("", "ttl: 0").await
}

async fn stored(site: &Site) {
    site.client.get("/static/k").await;
    until(site, |stats| stats["buckets"][0]["objects"] == 1).await;
}

/// Metadata is mended in place by a copy onto itself: the tag stays, and the old type stayed for ever.
#[tokio::test]
async fn mended_metadata_arrives_although_the_tag_is_the_same() {
    let site = site().await;
    let confirmed = Reply::status(304).with("etag", "\"e\"").with("last-modified", LATER);
    site.origin.answer(
        "k",
        [
            version(BEFORE).with("content-type", "binary/octet-stream").with("cache-tag", "old"),
            confirmed,
            version(LATER).with("content-type", "text/css").with("cache-tag", "new"),
        ],
    );
    stored(&site).await;
    let mended = site.client.get("/static/k").await;
    assert_eq!(
        (mended.status, mended.field("content-type"), mended.field("cache-tag")),
        (200, "text/css", "new")
    );
    let asked = site.origin.asked("k");
    assert_eq!((asked.len(), asked[2].field("if-none-match")), (3, ""), "without conditions");
}

/// Ceph's radosgw and moto answer a condition with a 304 without a date, so that replaced metadata never arrived.
#[tokio::test]
async fn mended_metadata_arrives_although_the_304_says_nothing() {
    for (head_date, expected) in [(BEFORE, ["REVALIDATED", "text/plain"]), (LATER, ["MISS", "text/css"])] {
        let site = site().await;
        site.origin.answer("k", [version(BEFORE).with("content-type", "text/plain")]);
        stored(&site).await;
        site.origin.decide(move |request| {
            let kind = if head_date == LATER { "text/css" } else { "text/plain" };
            let whole = version(head_date).with("content-type", kind);
            Some(if request.field("if-none-match").is_empty() { whole } else { Reply::status(304) })
        });
        site.origin.answer("k", []);
        let answer = site.client.get("/static/k").await;
        assert_eq!([answer.field("x-cache"), answer.field("content-type")], expected);
        assert_eq!(answer.body, "body{}");
        let methods: Vec<_> = site.origin.requests().into_iter().map(|request| request.method).collect();
        let expected = if head_date == LATER { "GET GET HEAD GET" } else { "GET GET HEAD" };
        assert_eq!(methods.join(" "), expected);
    }
}

/// s3rver lets a date win over a tag, and called a new version of the same second unchanged.
#[tokio::test]
async fn a_new_version_of_the_same_second_arrives() {
    let origin = Origin::start().await;
    let versions = std::sync::atomic::AtomicU32::new(0);
    origin.decide(move |request| {
        if !request.field("if-modified-since").is_empty() {
            return Some(Reply::status(304));
        }
        let number = versions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Some(
            Reply::ok(format!("{number}"))
                .with("etag", &format!("\"{number}\""))
                .with("last-modified", BEFORE),
        )
    });
    let site = Site::over(origin, "", "", "ttl: 0").await;
    stored(&site).await;
    assert_eq!(site.client.get("/static/k").await.body, "1");
}

/// nitrojs/nitro#1700: a 304 made by an error path has the type of an error document, and CSS became XML.
#[tokio::test]
async fn a_304_does_not_change_the_type() {
    for kind in ["application/xml", "text/html"] {
        let site = site().await;
        let confirmed = Reply::status(304).with("etag", "\"e\"").with("last-modified", BEFORE);
        site.origin.answer(
            "k",
            [version(BEFORE).with("content-type", "text/css"), confirmed.with("content-type", kind)],
        );
        stored(&site).await;
        for _ in 0..2 {
            let answer = site.client.get("/static/k").await;
            assert_eq!((answer.field("x-cache"), answer.field("content-type")), ("REVALIDATED", "text/css"));
        }
    }
}

/// supabase/storage#1419: a 304 with `Content-Length: 0` emptied objects. Another length is a doubt.
#[tokio::test]
async fn the_length_of_a_304_empties_nothing_and_a_wrong_one_is_a_doubt() {
    let site = site().await;
    let confirmed = |length: &str| Reply::status(304).with("etag", "\"e\"").with("content-length", length);
    site.origin.answer("k", [version(BEFORE), confirmed("0"), confirmed("7"), version(BEFORE)]);
    stored(&site).await;
    for x_cache in ["REVALIDATED", "MISS"] {
        let answer = site.client.get("/static/k").await;
        assert_eq!((answer.field("x-cache"), &answer.body[..]), (x_cache, &b"body{}"[..]));
    }
    assert_eq!(site.origin.asked("k").len(), 4);
}

/// minio/minio#4082: dates in other forms than the RFC's reached S3, which answered errors.
#[tokio::test]
async fn dates_are_sent_in_the_form_that_every_s3_reads() {
    let site = site().await;
    site.origin.answer(
        "k",
        [Reply::ok("x").with("last-modified", "Sunday, 06-Nov-94 08:49:37 GMT"), Reply::status(304)],
    );
    stored(&site).await;
    assert_eq!(site.client.get("/static/k").await.field("x-cache"), "REVALIDATED");
    assert_eq!(site.origin.asked("k")[1].field("if-modified-since"), BEFORE);
    for odd in ["Thu, 03 Jul 2025 03:40:28 UTC", "1994-11-15T12:45:26.000Z", "Jul 09 2013 14:01:46 GMT+0200"]
    {
        for name in ["if-modified-since", "if-unmodified-since"] {
            let site = Site::start().await;
            site.put("k", &[], "x");
            assert_eq!(site.client.get_with("/media/k", &[(name, odd)]).await.status, 200, "{name}: {odd}");
            assert_eq!(site.origin.asked("k")[0].field(name), "");
        }
    }
}

/// aws/aws-sdk-ruby#1184: S3 returns whatever an uploader wrote as `Expires`.
#[tokio::test]
async fn an_expiry_that_is_no_date_breaks_nothing() {
    for odd in ["5d", "0", "1632280617", "2023-01-01"] {
        let site = Site::start().await;
        site.origin.answer("k", [version(BEFORE).with("expires", odd), Reply::status(304)]);
        stored(&site).await;
        let answer = site.client.get("/static/k").await;
        assert_eq!(
            (answer.status, answer.field("x-cache"), answer.field("expires")),
            (200, "REVALIDATED", odd)
        );
    }
}

/// minio/minio-go#604: an empty tag names no version.
#[tokio::test]
async fn an_empty_tag_is_no_validator() {
    let site = Site::with("", "ttl: 0, stale_while_revalidate: 0").await;
    site.origin.answer("k", [Reply::ok("one").with("etag", "\"\""), Reply::ok("two").with("etag", "\"\"")]);
    assert_eq!(site.client.get("/static/k").await.body, "one");
    assert_eq!(site.client.get("/static/k").await.body, "two");
    assert!(site.origin.asked("k").iter().all(|request| request.field("if-none-match").is_empty()));
}

/// boto/botocore#3346: a part with the digest of the whole makes SDKs fail.
#[tokio::test]
async fn parts_and_304s_have_no_digest_of_the_whole() {
    const DIGESTS: [&str; 4] = ["x-amz-checksum-crc32", "content-md5", "digest", "content-digest"];
    #[track_caller]
    fn check(answer: &Response, status: u16, there: bool) {
        assert_eq!(answer.status, status);
        for name in DIGESTS {
            assert_eq!(answer.headers.contains_key(name), there, "{name} of a {status}");
        }
        assert!(answer.headers.contains_key("repr-digest"), "it is of the object in every response");
    }
    let with_digests = |reply: Reply| {
        DIGESTS.iter().fold(reply.with("repr-digest", "sha-256=:x:"), |reply, name| reply.with(name, "x"))
    };
    let origin = Origin::start().await;
    origin.decide(move |request| {
        let reply = match request.field("range") {
            "" => Reply::ok("0123456789"),
            _ => Reply::part("01234", 0, 10),
        };
        Some(with_digests(reply.with("etag", "\"e\"")))
    });
    let site = Site::of_bucket(origin, "", "", "").await;
    check(&site.client.get_with("/static/part", &[("range", "bytes=0-4")]).await, 206, false);
    check(&site.client.get("/static/k").await, 200, true);
    site.store("/static/k").await;
    check(&site.client.get("/static/k").await, 200, true);
    for range in ["bytes=0-4", "bytes=0-", "bytes=0-0,5-5"] {
        check(&site.client.get_with("/static/k", &[("range", range)]).await, 206, false);
    }
    check(&site.client.get_with("/static/k", &[("if-none-match", "\"e\"")]).await, 304, false);
}

/// aws/aws-sdk-net#559: `aws-chunked` is a detail of uploads, and browsers fail on it.
#[tokio::test]
async fn codings_of_uploads_do_not_reach_clients() {
    for (given, left) in
        [("aws-chunked", ""), ("", ""), ("gzip,aws-chunked", "gzip"), ("AWS-Chunked, br", "br")]
    {
        let site = Site::start().await;
        site.origin.answer("k", [Reply::ok("x").with("content-encoding", given)]);
        for path in ["/static/k", "/media/k"] {
            assert_eq!(site.client.get(path).await.field("content-encoding"), left, "{given}");
        }
    }
}

/// apache/opendal#6131: metadata that is not ASCII was dropped; tags and purges did not agree on the text.
#[tokio::test]
async fn metadata_that_is_not_ascii_passes_and_its_tags_are_found() {
    let site = Site::start().await;
    for (key, value) in
        [("raw", "caf\u{e9}"), ("encoded", "=?UTF-8?Q?caf=C3=A9?="), ("base64", "=?UTF-8?B?Y2Fmw6k=?=")]
    {
        site.origin.answer(key, [Reply::ok("x").with("x-amz-meta-cache-tag", value)]);
        for _ in 0..2 {
            let answer = site.client.get(&format!("/static/{key}")).await;
            assert_eq!(answer.headers["x-amz-meta-cache-tag"].as_bytes(), value.as_bytes(), "{key}");
            site.store(&format!("/static/{key}")).await;
        }
    }
    let purged = site.purge("{\"bucket\":\"assets\",\"tag\":\"caf\u{e9}\"}").await;
    assert_eq!(purged.json()["purged"], 3);
}
