//! RFC 9111 3, 4.2: remembered refusals. RFC 9110 15.1 lets a 404 be stored; for a 403, the bucket decides.

use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::Reply;

use super::{Bed, Object, says, summary, ttl, with_fields};

/// Returns an object that S3 refuses at first and has from the second request on.
fn refused<'a>(bed: &'a Bed, status: u16, fields: &[(&str, &str)]) -> Object<'a> {
    bed.object([with_fields(Reply::status(status), fields), Reply::ok("there")])
}

#[track_caller]
fn check_remembered(answer: &Response, status: u16, case: &str) {
    let found = (answer.status, answer.field("x-cache"), answer.field("content-type"));
    assert_eq!(found, (status, "HIT", "application/problem+json"), "{case}");
    assert!(says(answer, "detail=negative"), "{case}: {}", answer.field("cache-status"));
}

#[tokio::test]
async fn a_404_is_remembered() {
    let bed = Bed::start("", "negative_ttl: 60").await;
    let object = refused(&bed, 404, &[]);
    let first = object.get().await;
    assert_eq!((first.status, first.field("x-cache")), (404, "MISS"));
    let second = object.stored_only(&[]).await;
    check_remembered(&second, 404, "GET");
    check_remembered(&object.get().await, 404, "GET");
    assert!((1..=60).contains(&ttl(&second)), "{}", second.field("cache-status"));
    check_remembered(&object.get_with(&[("range", "bytes=0-0")]).await, 404, "a range");
    check_remembered(&object.get_with(&[("if-none-match", "\"e\"")]).await, 404, "a condition");
    let head = object.head_with(&[]).await;
    assert_eq!((head.status, head.field("x-cache"), head.body.len()), (404, "HIT", 0));
    assert_eq!(object.times_asked(), 1);
}

#[tokio::test]
async fn nothing_is_remembered_unless_the_bucket_says_so() {
    for cache in ["", "negative_ttl: 0", "negative_statuses: [404, 403]"] {
        let bed = Bed::start("", cache).await;
        for status in [404, 403] {
            let object = refused(&bed, status, &[]);
            assert_eq!(object.get().await.status, status, "{cache}");
            assert_eq!(summary(&object.get().await), (200, "MISS", "there"), "{cache} {status}");
        }
    }
}

#[tokio::test]
async fn only_the_statuses_named_are_remembered() {
    for (statuses, missing, denied) in [
        ("", true, false),
        (", negative_statuses: [404, 403]", true, true),
        (", negative_statuses: [403]", false, true),
    ] {
        let bed = Bed::start("", &format!("negative_ttl: 60{statuses}")).await;
        for (status, remembered) in [(404, missing), (403, denied)] {
            let object = refused(&bed, status, &[]);
            assert_eq!(object.get().await.status, status, "{statuses}");
            if remembered {
                check_remembered(&object.stored_only(&[]).await, status, statuses);
                assert_eq!(object.times_asked(), 1, "{statuses} {status}");
            } else {
                assert_eq!(summary(&object.get().await), (200, "MISS", "there"), "{statuses} {status}");
            }
        }
    }
}

#[tokio::test]
async fn failures_are_never_remembered() {
    let bed = Bed::start("", "negative_ttl: 60, negative_statuses: [404, 403]").await;
    for status in [400, 429, 500, 502, 503, 504] {
        let object = refused(&bed, status, &[]);
        let failed = object.get().await.status;
        assert!(if status == 400 { failed == 400 } else { failed >= 500 }, "{status}: {failed}");
        assert_eq!(summary(&object.get().await), (200, "MISS", "there"), "{status}");
    }
}

/// A refusal that forbids storing, or is stale on arrival, is not remembered.
#[tokio::test]
async fn a_refusal_may_forbid_that_it_is_remembered() {
    let bed = Bed::start("", "negative_ttl: 60, negative_statuses: [404, 403]").await;
    for control in ["no-store", "private", "no-cache", "max-age=0", "s-maxage=0, max-age=60", "max-age=soon"]
    {
        for status in [404, 403] {
            let object = refused(&bed, status, &[("cache-control", control)]);
            assert_eq!(object.get().await.status, status, "{control}");
            assert_eq!(summary(&object.get().await), (200, "MISS", "there"), "{control} {status}");
        }
    }
}

#[tokio::test]
async fn a_refusal_may_say_for_how_long_it_holds() {
    let bed = Bed::start("", "negative_ttl: 600").await;
    for control in ["max-age=60", "max-age=900, s-maxage=60"] {
        let object = refused(&bed, 404, &[("cache-control", control)]);
        object.get().await;
        let second = object.stored_only(&[]).await;
        check_remembered(&second, 404, control);
        assert!((1..=60).contains(&ttl(&second)), "{control}: {}", second.field("cache-status"));
    }
}

#[tokio::test]
async fn a_purge_forgets_refusals() {
    let bed = Bed::start("", "negative_ttl: 60").await;
    for selector in ["\"key\":\"KEY\"", "\"prefix\":\"KEY\"", "\"all\":true", "\"key\":\"KEY\",\"soft\":true"]
    {
        let object = refused(&bed, 404, &[]);
        object.get().await;
        check_remembered(&object.stored_only(&[]).await, 404, selector);
        bed.purge(&selector.replace("KEY", &object.key)).await;
        assert_eq!(summary(&object.get().await), (200, "MISS", "there"), "{selector}");
    }
}

/// RFC 9111 5.2.1.4
#[tokio::test]
async fn a_client_may_ask_whether_it_still_holds() {
    let bed = Bed::start("", "negative_ttl: 60").await;
    let object = refused(&bed, 404, &[]);
    object.get().await;
    check_remembered(&object.stored_only(&[]).await, 404, "remembered");
    let asked = object.get_with(&[("cache-control", "no-cache")]).await;
    assert_eq!(summary(&asked), (200, "MISS", "there"));
    assert_eq!(summary(&object.get().await), (200, "HIT", "there"));
}

/// A HEAD that S3 refuses without a reason leaves the stored object as it was, whatever the bucket remembers.
#[tokio::test]
async fn nobody_empties_the_cache_by_refused_heads() {
    for cache in ["", "negative_ttl: 60, negative_statuses: [404, 403]"] {
        let bed = Bed::start("", cache).await;
        let object = bed.object([Reply::ok("stored"), Reply::status(403)]);
        object.store().await;
        for _ in 0..3 {
            assert_eq!(object.head_with(&[("cache-control", "no-cache")]).await.status, 403);
            assert_eq!(summary(&object.get().await), (200, "HIT", "stored"), "{cache}");
        }
        assert_eq!(object.times_asked(), 4);
    }
}
