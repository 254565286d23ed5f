//! RFC 9111 5.2.1: the effect of a client's directives on stored objects.

use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::Reply;

use super::{Bed, Object, aged, near, says, stale, summary, ttl};

/// Returns an object that is 50 seconds old and fresh for 50 more.
fn half_way() -> Reply {
    Reply::ok("x").with("etag", "\"e\"").with("cache-control", "max-age=100").with("age", "50")
}

/// Stores an object that the source confirms whenever it is asked again.
async fn stored(bed: &Bed, reply: Reply) -> Object<'_> {
    let object = bed.object([reply, Reply::status(304)]);
    assert_eq!(object.get().await.field("x-cache"), "MISS");
    object
}

async fn ask(object: &Object<'_>, directives: &str) -> Response {
    object.get_with(&[("cache-control", directives)]).await
}

/// Checks that a client with these directives gets a fresh object without a request to the source.
async fn check_hit(bed: &Bed, directives: &str) {
    let object = stored(bed, half_way()).await;
    let answer = ask(&object, directives).await;
    assert_eq!((summary(&answer), object.times_asked()), ((200, "HIT", "x"), 1), "{directives}");
}

/// Checks that a client with these directives gets a fresh object only once the source has confirmed it.
async fn check_validated(bed: &Bed, directives: &str) {
    let object = stored(bed, half_way()).await;
    let answer = ask(&object, directives).await;
    assert_eq!((summary(&answer), object.times_asked()), ((200, "REVALIDATED", "x"), 2), "{directives}");
    assert!(says(&answer, "fwd=request"), "{directives}: {}", answer.field("cache-status"));
    assert_eq!(object.asked(1).field("if-none-match"), "\"e\"", "{directives}");
}

/// RFC 9111 5.2.1.4
#[tokio::test]
async fn no_cache_has_a_fresh_object_validated() {
    let bed = Bed::start("", "").await;
    for directives in ["no-cache", "No-Cache", "max-stale, no-cache"] {
        check_validated(&bed, directives).await;
    }
    let object = stored(&bed, half_way()).await;
    let fields = [("cache-control", "max-stale"), ("cache-control", "no-cache")];
    assert_eq!(object.get_with(&fields).await.field("x-cache"), "REVALIDATED", "two fields");
}

/// RFC 9111 5.2.1.4: the source's response replaces the stored object.
#[tokio::test]
async fn no_cache_replaces_what_has_changed() {
    let bed = Bed::start("", "").await;
    for validator in ["\"e\"", ""] {
        let old = Reply::ok("old").with("cache-control", "max-age=100");
        let old = if validator.is_empty() { old } else { old.with("etag", validator) };
        let object = bed.object([old, Reply::ok("new").with("etag", "\"f\"")]);
        object.get().await;
        assert_eq!(summary(&ask(&object, "no-cache").await), (200, "MISS", "new"), "{validator}");
        assert_eq!(object.asked(1).field("if-none-match"), validator);
        assert_eq!(summary(&object.get().await), (200, "HIT", "new"), "{validator}");
    }
}

/// RFC 9111 5.2.1.1
#[tokio::test]
async fn max_age_is_the_greatest_age_a_client_takes() {
    let bed = Bed::start("", "").await;
    for directives in ["max-age=2147483648", "Max-Age=\"1000\"", "max-age=99999999999999999999"] {
        check_hit(&bed, directives).await;
    }
    for directives in ["max-age=0", "max-age=10", "MAX-AGE=\"10\"", "max-age=1000, max-age=10"] {
        check_validated(&bed, directives).await;
    }
}

/// RFC 9111 5.2.1.3
#[tokio::test]
async fn min_fresh_is_how_long_an_object_must_stay_fresh() {
    let bed = Bed::start("", "").await;
    for directives in ["min-fresh=0", "min-fresh=5", "Min-Fresh=\"5\", max-age=1000"] {
        check_hit(&bed, directives).await;
    }
    for directives in
        ["min-fresh=51", "min-fresh=\"60\"", "min-fresh=99999999999999999999", "max-age=1000, min-fresh=60"]
    {
        check_validated(&bed, directives).await;
    }
}

/// RFC 9111 5.2.1.2
#[tokio::test]
async fn max_stale_takes_a_stale_object() {
    let bed = Bed::start("", "").await;
    for directives in
        ["max-stale", "Max-Stale", "max-stale=1000", "max-stale=\"1000\"", "max-stale=99999999999999999999"]
    {
        let object = stored(&bed, stale("old", "\"e\"")).await;
        let answer = ask(&object, directives).await;
        assert_eq!((summary(&answer), object.times_asked()), ((200, "HIT", "old"), 1), "{directives}");
        assert!(near(ttl(&answer), -40), "{directives}: {}", answer.field("cache-status"));
        assert!(says(&answer, "detail=max-stale"), "{directives}: {}", answer.field("cache-status"));
    }
}

/// RFC 9111 5.2.1.2
#[tokio::test]
async fn max_stale_takes_no_object_that_is_stale_for_longer() {
    let bed = Bed::start("", "").await;
    for directives in [
        "max-stale=10",
        "max-stale=0",
        "max-stale=1000, max-stale=10",
        "max-stale, max-age=50",
        "max-stale, min-fresh=1",
    ] {
        let object = stored(&bed, stale("old", "\"e\"")).await;
        let answer = ask(&object, directives).await;
        assert_eq!(
            (summary(&answer), object.times_asked()),
            ((200, "REVALIDATED", "old"), 2),
            "{directives}"
        );
        assert!(says(&answer, "fwd=stale"), "{directives}: {}", answer.field("cache-status"));
    }
}

/// RFC 9111 4.2.4, 5.2.2.2, 5.2.2.4, 5.2.2.8, 5.2.2.10
#[tokio::test]
async fn max_stale_takes_nothing_that_forbids_it() {
    let bed = Bed::start("", "").await;
    for control in
        ["max-age=60, must-revalidate", "max-age=60, Proxy-Revalidate", "s-maxage=60", "max-age=60, no-cache"]
    {
        let object = stored(&bed, aged(Reply::ok("old").with("etag", "\"e\""), control)).await;
        let answer = ask(&object, "max-stale").await;
        assert_eq!((summary(&answer), object.times_asked()), ((200, "REVALIDATED", "old"), 2), "{control}");
    }
}

/// RFC 9111 5.2.1.5
#[tokio::test]
async fn no_store_keeps_what_it_brings_from_being_stored() {
    let bed = Bed::start("", "").await;
    for directives in ["no-store", "No-Store, max-age=0"] {
        bed.object([half_way()]).is_never_stored(&[("cache-control", directives)], directives).await;
    }
}

/// RFC 9111 5.2.1.5: this is about the request and its response, so objects stored by others stay.
#[tokio::test]
async fn no_store_leaves_what_is_stored() {
    let bed = Bed::start("", "").await;
    let object = bed.object([half_way(), Reply::ok("new")]);
    object.get().await;
    for directives in ["no-store", "no-store, no-cache"] {
        assert_eq!(ask(&object, directives).await.status, 200);
        assert_eq!(summary(&object.get().await), (200, "HIT", "x"), "{directives}");
    }
}

/// Checks that a request that must not be forwarded is refused, and that it is not forwarded.
async fn check_refused(object: &Object<'_>, method: &str, fields: &[(&str, &str)]) {
    let asked = object.times_asked();
    let answer = object.bed.site.client.send(method, &object.path(), fields, "".into()).await;
    assert_eq!(
        (answer.status, answer.field("content-type")),
        (504, "application/problem+json"),
        "{fields:?}"
    );
    assert_eq!(answer.field("cache-status"), "Yatagarasu; detail=only-if-cached", "{fields:?}");
    assert_eq!(object.times_asked(), asked, "{fields:?}");
}

/// RFC 9111 5.2.1.7
#[tokio::test]
async fn only_if_cached_is_504_where_nothing_stored_may_be_used() {
    const ONLY: (&str, &str) = ("cache-control", "Only-If-Cached");
    let bed = Bed::start("", "").await;
    let missing = bed.object([Reply::ok("x")]);
    check_refused(&missing, "GET", &[ONLY]).await;
    check_refused(&missing, "HEAD", &[ONLY]).await;
    check_refused(&missing, "GET", &[ONLY, ("range", "bytes=0-0")]).await;
    check_refused(&missing, "GET", &[ONLY, ("if-none-match", "\"e\"")]).await;
    let object = stored(&bed, stale("old", "\"e\"")).await;
    check_refused(&object, "GET", &[ONLY]).await;
    let object = stored(&bed, half_way()).await;
    check_refused(&object, "GET", &[("cache-control", "only-if-cached, max-age=10")]).await;
    check_refused(&object, "GET", &[("cache-control", "only-if-cached, no-cache")]).await;
}

/// RFC 9111 5.2.1.7
#[tokio::test]
async fn only_if_cached_is_answered_from_what_is_stored() {
    let bed = Bed::start("", "").await;
    for (reply, content, directives) in [
        (half_way(), "x", "only-if-cached"),
        (half_way(), "x", "only-if-cached, max-age=1000"),
        (stale("old", "\"e\""), "old", "only-if-cached, max-stale"),
    ] {
        let object = bed.object([reply, Reply::status(304)]);
        object.store().await;
        assert_eq!(summary(&ask(&object, directives).await), (200, "HIT", content), "{directives}");
        assert_eq!(object.times_asked(), 1, "{directives}");
    }
}

/// RFC 9111 5.2.1: a directive with an invalid argument accepts fewer stored objects.
#[tokio::test]
async fn directives_that_cannot_be_read_accept_less() {
    let bed = Bed::start("", "").await;
    for directives in [
        "max-age",
        "max-age=soon",
        "max-age=-1",
        "max-age=1000.5",
        "min-fresh",
        "min-fresh=soon",
        "max-age=1000, max-age=x",
    ] {
        check_validated(&bed, directives).await;
    }
    for directives in ["max-stale=soon", "max-stale=", "max-stale=-1"] {
        let object = stored(&bed, stale("old", "\"e\"")).await;
        assert_eq!(ask(&object, directives).await.field("x-cache"), "REVALIDATED", "{directives}");
    }
}

/// RFC 9111 5.2.3
#[tokio::test]
async fn directives_that_nobody_knows_change_nothing() {
    let bed = Bed::start("", "").await;
    for directives in [
        "",
        ",",
        "no-transform",
        "x-no-cache, y=\"no-cache, max-age=0\"",
        "s-maxage=0",
        "must-revalidate",
        "private",
    ] {
        check_hit(&bed, directives).await;
    }
}

/// Directives also apply to `HEAD` and to ranges.
#[tokio::test]
async fn directives_count_for_heads_and_ranges() {
    let bed = Bed::start("", "").await;
    let object = stored(&bed, half_way()).await;
    assert_eq!(object.head_with(&[("cache-control", "max-age=1000")]).await.field("x-cache"), "HIT");
    assert_eq!(object.times_asked(), 1);
    object.answers([Reply::ok("x").with("etag", "\"e\"")]);
    let head = object.head_with(&[("cache-control", "max-age=10")]).await;
    assert!(says(&head, "fwd=request"), "{}", head.field("cache-status"));

    let object = stored(&bed, half_way()).await;
    let range = ("range", "bytes=0-0");
    let hit = object.get_with(&[range, ("cache-control", "max-age=1000")]).await;
    assert_eq!((summary(&hit), object.times_asked()), ((206, "HIT", "x"), 1));
    let confirmed = object.get_with(&[range, ("cache-control", "max-age=10")]).await;
    assert_eq!((summary(&confirmed), object.times_asked()), ((206, "REVALIDATED", "x"), 2));
    assert!(says(&confirmed, "fwd=request"), "{}", confirmed.field("cache-status"));
}

#[tokio::test]
async fn client_cache_control_ignore_makes_them_all_mean_nothing() {
    let bed = Bed::start("", "client_cache_control: ignore").await;
    for directives in ["no-cache", "max-age=0", "min-fresh=1000", "no-store", "only-if-cached"] {
        check_hit(&bed, directives).await;
    }
    let object = stored(&bed, stale("old", "\"e\"")).await;
    assert_eq!(summary(&ask(&object, "max-stale").await), (200, "REVALIDATED", "old"));
    for directives in ["only-if-cached", "no-store"] {
        let object = bed.object([half_way()]);
        assert_eq!(summary(&ask(&object, directives).await), (200, "MISS", "x"), "{directives}");
        assert_eq!(summary(&ask(&object, directives).await), (200, "HIT", "x"), "{directives}");
        assert_eq!(object.times_asked(), 1, "{directives}");
    }
}
