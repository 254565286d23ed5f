//! RFC 9111 4.3.5: the effect of a response to HEAD on a stored object.

use yatagarasu_testing::origin::Reply;

use super::{Bed, near, stale, summary, ttl, with_fields};

const NO_CACHE: [(&str, &str); 1] = [("cache-control", "no-cache")];

#[tokio::test]
async fn a_head_that_finds_the_same_object_freshens_it() {
    const UPDATE: [(&str, &str); 4] =
        [("cache-control", "max-age=300"), ("etag", "\"e\""), ("content-type", "text/html"), ("x-new", "1")];
    let bed = Bed::start("", "").await;
    let old = stale("hello", "\"e\"").with("content-type", "text/plain").with("x-kept", "1");
    let object = bed.object([old, with_fields(Reply::ok("HELLO"), &UPDATE)]);
    object.store().await;
    let head = object.head_with(&[]).await;
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, "5", 0));
    assert_eq!(object.asked(1).method, "HEAD");
    let hit = object.stored_only(&[]).await;
    assert_eq!(summary(&hit), (200, "HIT", "hello"));
    for (name, value) in UPDATE.iter().chain(&[("x-kept", "1")]) {
        assert_eq!(hit.field(name), *value, "{name}");
    }
    assert!(near(ttl(&hit), 300), "{}", hit.field("cache-status"));
    assert_eq!(object.times_asked(), 2);
}

#[tokio::test]
async fn a_head_changes_neither_length_nor_coding_of_what_it_freshens() {
    let bed = Bed::start("", "").await;
    let old = stale("hello", "\"e\"").with("content-encoding", "gzip");
    let update = Reply::ok("HELLO").with("etag", "\"e\"").with("content-encoding", "br");
    let object = bed.object([old, update]);
    object.store().await;
    object.head_with(&[]).await;
    let hit = object.stored_only(&[]).await;
    assert_eq!(summary(&hit), (200, "HIT", "hello"));
    assert_eq!((hit.field("content-length"), hit.field("content-encoding")), ("5", "gzip"));
}

#[tokio::test]
async fn a_head_that_finds_another_object_makes_the_stored_one_stale() {
    const MODIFIED: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    const LATER: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:49:38 GMT");
    const TAG: (&str, &str) = ("etag", "\"e\"");
    let bed = Bed::start("", "").await;
    for (stored, content, found) in [
        (TAG, "hello", ("etag", "\"f\"")),
        (TAG, "hello!", TAG),
        (MODIFIED, "hello", LATER),
        (MODIFIED, "hello!", MODIFIED),
    ] {
        // Fresh for an hour, except for the effect of the HEAD.
        let object = bed.object([
            Reply::ok("hello").with(stored.0, stored.1),
            Reply::ok(content).with(found.0, found.1),
            Reply::ok("another").with("etag", "\"g\""),
        ]);
        object.store().await;
        assert_eq!(summary(&object.get().await), (200, "HIT", "hello"), "{found:?}");
        assert_eq!(object.head_with(&NO_CACHE).await.status, 200, "{found:?}");
        assert_eq!((object.times_asked(), &*object.asked(1).method), (2, "HEAD"), "{found:?}");
        assert_eq!(summary(&object.get().await), (200, "MISS", "another"), "{content} {found:?}");
        assert_eq!((object.times_asked(), &*object.asked(2).method), (3, "GET"), "{found:?}");
    }
}

#[tokio::test]
async fn a_head_that_finds_the_same_object_leaves_it_fresh() {
    let bed = Bed::start("", "").await;
    let object = bed.object([Reply::ok("hello").with("etag", "\"e\"")]);
    object.store().await;
    assert_eq!(object.head_with(&NO_CACHE).await.status, 200);
    assert_eq!(summary(&object.stored_only(&[]).await), (200, "HIT", "hello"));
    assert_eq!((object.times_asked(), &*object.asked(1).method), (2, "HEAD"));
}

/// RFC 9111 3: a HEAD returns no content to store.
#[tokio::test]
async fn the_answer_to_a_head_is_no_object() {
    let bed = Bed::start("", "").await;
    let object = bed.object([Reply::ok("hello").with("etag", "\"e\"")]);
    for count in 1..=2 {
        let head = object.head_with(&[]).await;
        assert_eq!((head.status, head.field("x-cache"), object.times_asked()), (200, "MISS", count));
    }
    assert_eq!(summary(&object.get().await), (200, "MISS", "hello"));
    let methods: Vec<String> = (0..3).map(|index| object.asked(index).method).collect();
    assert_eq!(methods, ["HEAD", "HEAD", "GET"]);
    assert_eq!(object.asked(2).field("if-none-match"), "");
}

/// RFC 9111 4: a stored object also answers a HEAD.
#[tokio::test]
async fn a_head_for_a_fresh_object_is_answered_stored_only() {
    let bed = Bed::start("", "").await;
    let object = bed.object([Reply::ok("hello").with("etag", "\"e\"")]);
    object.store().await;
    let head = object.head_with(&[]).await;
    assert_eq!((head.status, head.field("x-cache"), head.body.len()), (200, "HIT", 0));
    assert_eq!((head.field("content-length"), head.field("etag")), ("5", "\"e\""));
    assert_eq!(object.times_asked(), 1);
}
