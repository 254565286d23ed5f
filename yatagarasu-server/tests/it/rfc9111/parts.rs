//! RFC 9111 3.3, 3.4: stored parts of objects, and how they are reused, combined and replaced.

use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::Reply;

use super::{Bed, Object, aged, says, summary};

/// Returns the part `content` from byte `first` on, of an object of 10 bytes.
fn part(content: &'static str, first: u64, etag: &str) -> Reply {
    Reply::part(content, first, 10).with("etag", etag)
}

async fn range(object: &Object<'_>, range: &str) -> Response {
    object.get_with(&[("range", range)]).await
}

/// Waits until a range is answered from the cache. The source must not be asked for it.
async fn stored(object: &Object<'_>, range: &str) -> Response {
    let asked = object.times_asked();
    let answer = object.stored_only(&[("range", range)]).await;
    assert_eq!(object.times_asked(), asked, "{range}");
    answer
}

#[tokio::test]
async fn a_part_is_stored_and_reused() {
    let bed = Bed::start("", "").await;
    let object =
        bed.object([part("23456", 2, "\"e\"").with("content-type", "text/plain").with("x-kept", "1")]);
    assert_eq!(summary(&range(&object, "bytes=2-6").await), (206, "MISS", "23456"));
    assert_eq!(object.asked(0).field("range"), "bytes=2-6");
    for (wanted, content, content_range) in [
        ("bytes=2-6", "23456", "bytes 2-6/10"),
        ("bytes=3-5", "345", "bytes 3-5/10"),
        ("bytes=6-6", "6", "bytes 6-6/10"),
    ] {
        let answer = stored(&object, wanted).await;
        assert_eq!(summary(&answer), (206, "HIT", content), "{wanted}");
        assert_eq!(answer.field("content-range"), content_range);
        assert_eq!((answer.field("content-type"), answer.field("x-kept")), ("text/plain", "1"), "{wanted}");
        assert_eq!(
            (answer.field("etag"), answer.field("content-length")),
            ("\"e\"", &*content.len().to_string())
        );
    }
    assert_eq!(object.times_asked(), 1);
}

/// The stored part tells the object's length, and with it the start of a suffix.
#[tokio::test]
async fn suffixes_and_open_ranges_are_answered_by_the_part_that_has_them() {
    let bed = Bed::start("", "").await;
    let object = bed.object([part("6789", 6, "\"e\"")]);
    range(&object, "bytes=6-").await;
    for (wanted, content) in [("bytes=-2", "89"), ("bytes=7-", "789"), ("bytes=8-99", "89")] {
        assert_eq!(summary(&stored(&object, wanted).await), (206, "HIT", content), "{wanted}");
    }
    assert_eq!(object.times_asked(), 1);
}

#[tokio::test]
async fn what_lies_outside_of_the_stored_parts_is_asked_for() {
    let bed = Bed::start("", "").await;
    let object = bed.object([part("01234", 0, "\"e\""), part("45678", 4, "\"e\"")]);
    range(&object, "bytes=0-4").await;
    stored(&object, "bytes=0-4").await;
    let outside = range(&object, "bytes=4-8").await;
    assert_eq!(summary(&outside), (206, "MISS", "45678"));
    assert!(says(&outside, "fwd=partial"), "{}", outside.field("cache-status"));
    assert_eq!(object.times_asked(), 2);
}

/// RFC 9111 3.4
#[tokio::test]
async fn parts_are_put_together() {
    let bed = Bed::start("", "").await;
    for (second, first_byte) in [("56789", 5), ("3456789", 3)] {
        let object = bed.object([part("01234", 0, "\"e\""), part(second, first_byte, "\"e\"")]);
        range(&object, "bytes=0-4").await;
        stored(&object, "bytes=0-4").await;
        range(&object, &format!("bytes={first_byte}-9")).await;
        assert_eq!(summary(&stored(&object, "bytes=3-7").await), (206, "HIT", "34567"), "{second}");
        assert_eq!(summary(&stored(&object, "bytes=0-").await), (206, "HIT", "0123456789"), "{second}");
        assert_eq!(object.times_asked(), 2, "{second}");
    }
}

/// RFC 9111 3.3: once no byte is missing, the object is complete.
#[tokio::test]
async fn parts_that_are_the_whole_object_serve_as_such() {
    let bed = Bed::start("", "").await;
    let object = bed.object([part("789", 7, "\"e\""), part("0123", 0, "\"e\""), part("3456", 3, "\"e\"")]);
    for wanted in ["bytes=7-9", "bytes=0-3", "bytes=3-6"] {
        range(&object, wanted).await;
        stored(&object, wanted).await;
    }
    let whole = object.stored_only(&[]).await;
    assert_eq!(summary(&whole), (200, "HIT", "0123456789"));
    assert_eq!((whole.field("content-length"), whole.field("etag")), ("10", "\"e\""));
    assert!(!whole.headers.contains_key("content-range"));
    assert_eq!(object.get_with(&[("if-none-match", "\"e\"")]).await.status, 304);
    assert_eq!(object.times_asked(), 3);
}

/// RFC 9111 3.3: a part must not be served as the whole object.
#[tokio::test]
async fn while_bytes_are_missing_the_whole_is_fetched_and_takes_the_place_of_the_parts() {
    let bed = Bed::start("", "").await;
    let object = bed.object([part("01234", 0, "\"e\""), Reply::ok("0123456789").with("etag", "\"e\"")]);
    range(&object, "bytes=0-4").await;
    stored(&object, "bytes=0-4").await;
    assert_eq!(summary(&object.get().await), (200, "MISS", "0123456789"));
    assert_eq!(summary(&object.get().await), (200, "HIT", "0123456789"));
    assert_eq!(summary(&stored(&object, "bytes=4-6").await), (206, "HIT", "456"));
    assert_eq!(object.times_asked(), 2);
}

/// RFC 9111 3.4: bytes of two versions are never combined.
#[tokio::test]
async fn a_part_with_another_strong_validator_replaces_those_before_it() {
    let bed = Bed::start("", "").await;
    let object =
        bed.object([part("aaaaa", 0, "\"a\""), part("bbbbb", 5, "\"b\""), part("BBBBB", 0, "\"b\"")]);
    range(&object, "bytes=0-4").await;
    stored(&object, "bytes=0-4").await;
    range(&object, "bytes=5-9").await;
    let new = stored(&object, "bytes=5-9").await;
    assert_eq!((summary(&new), new.field("etag")), ((206, "HIT", "bbbbb"), "\"b\""));
    assert_eq!(summary(&range(&object, "bytes=0-4").await), (206, "MISS", "BBBBB"), "what it was is gone");
    assert_eq!(summary(&object.stored_only(&[]).await), (200, "HIT", "BBBBBbbbbb"));
    assert_eq!(object.times_asked(), 3);
}

/// Checks that every request for a part reaches the source.
async fn check_not_reused(bed: &Bed, reply: Reply, case: &str) {
    let object = bed.object([reply]);
    for count in 1..=3 {
        let answer = range(&object, "bytes=0-4").await;
        assert_eq!(
            (answer.status, answer.field("x-cache"), object.times_asked()),
            (206, "MISS", count),
            "{case}"
        );
    }
}

/// RFC 9111 3.4: without a strong validator it is unknown which parts belong together.
#[tokio::test]
async fn parts_without_a_strong_validator_are_not_stored() {
    let bed = Bed::start("", "").await;
    let bare = || Reply::part("01234", 0, 10);
    check_not_reused(&bed, bare(), "none").await;
    check_not_reused(&bed, bare().with("etag", "W/\"e\""), "weak").await;
    check_not_reused(&bed, bare().with("etag", "no tag"), "no entity tag").await;
    check_not_reused(&bed, bare().with("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"), "a date").await;
}

#[tokio::test]
async fn parts_of_objects_too_large_to_store_are_not_stored() {
    let bed = Bed::start("", "").await;
    let of = |complete| Reply::part("01234", 0, complete).with("etag", "\"e\"");
    check_not_reused(&bed, of(1_000_001), "a byte too long").await;
    let unknown = "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-4/*\r\ncontent-length: 5\r\netag: \"e\"\r\n\
                   connection: close\r\n\r\n01234";
    check_not_reused(&bed, Reply::raw(unknown), "of unknown length").await;
    let object = bed.object([of(1_000_000)]);
    range(&object, "bytes=0-4").await;
    assert_eq!(summary(&stored(&object, "bytes=1-2").await), (206, "HIT", "12"));
}

/// RFC 9111 3
#[tokio::test]
async fn parts_that_forbid_storing_are_not_stored() {
    let bed = Bed::start("", "").await;
    for control in ["no-store", "private"] {
        check_not_reused(&bed, part("01234", 0, "\"e\"").with("cache-control", control), control).await;
    }
    check_not_reused(&bed, part("01234", 0, "\"e\"").with("vary", "*"), "vary").await;
}

/// RFC 9111 4.2
#[tokio::test]
async fn a_stale_part_is_not_reused() {
    let bed = Bed::start("", "").await;
    check_not_reused(&bed, aged(part("01234", 0, "\"e\""), "max-age=60"), "stale").await;
}

#[tokio::test]
async fn a_purge_drops_parts() {
    let bed = Bed::start("", "").await;
    let object = bed.object([part("01234", 0, "\"e\""), part("abcde", 0, "\"e\"")]);
    range(&object, "bytes=0-4").await;
    stored(&object, "bytes=0-4").await;
    assert_eq!(bed.purge(&format!("\"key\":{:?}", object.key)).await, 1);
    assert_eq!(summary(&range(&object, "bytes=0-4").await), (206, "MISS", "abcde"));
}
